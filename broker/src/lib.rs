//! The broker: queue engine, HTTP front, authorization, KMS providers.
//!
//! The only crate that knows all the others.

pub mod announcement;
pub mod audit;
pub mod authenticate;
pub mod authorize;
#[cfg(feature = "kms-aws")]
pub mod aws_keys;
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
#[cfg(feature = "kms-network")]
pub mod key_endpoint;
pub mod key_provider;
pub mod kms;
pub mod listener;
pub mod logging;
pub mod metrics_exporter;
#[cfg(feature = "kms-openbao")]
pub mod openbao_keys;
pub mod operator;
pub mod queues;
pub mod receipt_handle;
#[cfg(feature = "kms-network")]
pub mod remote_keys;
pub mod root_rotation;
pub mod service;
pub mod session;
pub mod shard;
pub mod signals;
pub mod sqs;
pub mod sts;
pub mod tls;
