//! The broker: queue engine, HTTP front, authorization, KMS providers.
//!
//! The only crate that knows all the others.

pub mod catalog;
pub mod clock;
pub mod engine;
pub mod extension;
pub mod inbound;
pub mod receipt_handle;
pub mod shard;
