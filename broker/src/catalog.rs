//! What the broker keeps in the log's catalog, under which key, in which form.
//!
//! Keys: `queue/<account>/<name>`, `deleted/<account>/<name>`, `move/<stream>/<task>`, `attempt/<stream>/<slot>`,
//! `dedup-from/<stream>`, `sealq/…`; those of the key service start with `kms/` and are its own. Values: a version
//! byte, then bincode with a size limit.

use std::collections::BTreeMap;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use sealq_api::sqs::attributes::QueueSettings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Largest catalog value that is read.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

const VERSION: u8 = 1;

/// Highest stream number given out; streams are never used again.
pub const LAST_STREAM_KEY: &[u8] = b"sealq/last-stream";

/// A catalog value cannot be read.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// Written by a later version.
    #[error("catalog entry {key} has format {found}, this version reads {VERSION}")]
    Version {
        /// The entry.
        key: String,
        /// The version byte found.
        found: u8,
    },
    /// Not what it should be.
    #[error("catalog entry {key} is damaged: {reason}")]
    Damaged {
        /// The entry.
        key: String,
        /// What the decoder says.
        reason: String,
    },
}

/// A queue as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Owner.
    pub account: String,
    /// Region of the ARN.
    pub region: String,
    /// Name, with `.fifo` if it is one.
    pub name: String,
    /// The queue's stream in the log: its incarnation.
    pub stream: u32,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// Milliseconds since 1970.
    pub modified_at_ms: u64,
    /// Last purge, milliseconds since 1970; 0 for never.
    pub purged_at_ms: u64,
    /// Deduplication by group, as it was at creation (the contract lets later changes have no effect).
    pub dedup_by_group: bool,
    /// Attributes.
    pub settings: QueueSettings,
    /// Unique ids of the users and roles that the policy names, as they were when it was set: a namesake made later
    /// does not inherit it.
    pub policy_ids: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl QueueRecord {
    /// Key of a queue.
    pub fn key(account: &str, name: &str) -> Vec<u8> {
        format!("queue/{account}/{name}").into_bytes()
    }

    /// Key of the note that a queue was deleted.
    pub fn deleted_key(account: &str, name: &str) -> Vec<u8> {
        format!("deleted/{account}/{name}").into_bytes()
    }

    /// Reads one entry if its key is a queue's.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Result<Self, CatalogError>> {
        key.starts_with(b"queue/").then(|| decode(key, value))
    }
}

/// Encodes a value.
pub fn encode<V: Serialize>(value: &V) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    // Encoding into a Vec fails only for types that these records do not have.
    bytes.extend(bincode::serde::encode_to_vec(value, config()).expect("plain records encode"));
    bytes
}

/// Decodes a value.
pub fn decode<V: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<V, CatalogError> {
    let name = || String::from_utf8_lossy(key).into_owned();
    match value.split_first() {
        Some((&VERSION, rest)) => bincode::serde::decode_from_slice(rest, config())
            .map(|(decoded, _)| decoded)
            .map_err(|error| CatalogError::Damaged { key: name(), reason: error.to_string() }),
        Some((&found, _)) => Err(CatalogError::Version { key: name(), found }),
        None => Err(CatalogError::Damaged { key: name(), reason: "empty".into() }),
    }
}

fn config() -> Configuration<LittleEndian, Fixint, Limit<VALUE_BYTES_MAX>> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<VALUE_BYTES_MAX>()
}
