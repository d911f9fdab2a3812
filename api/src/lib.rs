//! The wire protocols, pure: bytes in, typed requests out; typed replies in, bytes out.
//!
//! Holds no state, does no I/O and never reads a clock: whatever depends on time or on another queue is passed in.
#![forbid(unsafe_code)]

pub mod arn;
pub mod digest;
pub mod error;
pub mod form;
pub mod iam;
pub mod json;
pub mod kms;
pub mod queue_name;
mod shape;
pub mod sigv4;
pub mod sqs;
pub mod sts;
pub mod xml;
