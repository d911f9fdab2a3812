//! What the fuzz targets do with one input: each function panics if something happens that never may.
//!
//! `receipt_handle` and `session_token` need the whole broker and are no part of this library. The broker's tests run the same functions over
//! the corpora and over random inputs, without a fuzzer.

mod attributes;
mod checkpoint;
mod frames;
mod json;
mod policy;
mod query;
mod sealed_message;
mod sigv4;
mod xml;

pub use attributes::attributes;
pub use checkpoint::checkpoint;
pub use frames::frames;
pub use json::json;
pub use policy::policy;
pub use query::query;
pub use sealed_message::sealed_message;
pub use sigv4::sigv4;
pub use xml::xml;

/// A target with its name, which is that of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("attributes", attributes),
    ("checkpoint", checkpoint),
    ("frames", frames),
    ("json", json),
    ("policy", policy),
    ("query", query),
    ("sealed_message", sealed_message),
    ("sigv4", sigv4),
    ("xml", xml),
];
