//! The broker: queue engine, HTTP front, authorization, KMS providers.
//!
//! The only crate that knows all the others.

pub mod announcement;
pub mod audit;
pub mod authenticate;
pub mod authorize;
pub mod caller;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod embedded_keys;
pub mod engine;
pub mod envelope;
pub mod extension;
pub mod first_start;
pub mod health;
pub mod identity;
pub mod inbound;
pub mod key_audit;
pub mod key_control;
pub mod kms;
pub mod listener;
pub mod logging;
pub mod metrics_exporter;
pub mod operator;
pub mod queues;
pub mod receipt_handle;
pub mod root_rotation;
pub mod service;
pub mod session;
pub mod shard;
pub mod signals;
pub mod sqs;
pub mod sts;
pub mod tls;
