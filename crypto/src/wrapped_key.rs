//! A data key as it is stored: wrapped, with the names of what wrapped it.
//!
//! Nothing here is secret. It is the part of a key that every record under it repeats.

use sha2::{Digest, Sha256};

use crate::sealed_message::{CONTEXT_ARN_BYTES_MAX, KEY_ARN_BYTES_MAX, Mode, WRAPPED_KEY_BYTES_MAX};

/// Length of a data key's id, bytes.
pub const DATA_KEY_ID_BYTES: usize = 16;

/// The first 16 bytes of the SHA-256 of the wrapped key: equal for equal wrapped keys, in every process.
pub type DataKeyId = [u8; DATA_KEY_ID_BYTES];

/// The id of a wrapped key.
pub fn data_key_id(wrapped: &[u8]) -> DataKeyId {
    let digest = Sha256::digest(wrapped);
    let mut id = [0; DATA_KEY_ID_BYTES];
    id.copy_from_slice(&digest[..DATA_KEY_ID_BYTES]);
    id
}

/// A key ARN and a context ARN, by digest: the question that one Decrypt answers for every data key of the same
/// key and context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyScope([u8; 32]);

impl KeyScope {
    pub(crate) fn of(key_arn: &str, context_arn: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update((key_arn.len() as u64).to_le_bytes());
        digest.update(key_arn);
        digest.update(context_arn);
        Self(digest.finalize().into())
    }
}

/// A wrapped data key and its names, within the limits of the stored layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    mode: Mode,
    id: DataKeyId,
    scope: KeyScope,
    // Key ARN, context ARN and wrapped bytes, as they stand in a record: sealing copies them at once.
    fields: Box<[u8]>,
    key_arn: Box<str>,
    context_arn: Box<str>,
}

impl WrappedKey {
    /// Checks the limits.
    ///
    /// # Errors
    /// [`WrappedKeyError`] for a part that the layout cannot hold.
    pub fn new(
        mode: Mode,
        key_arn: &str,
        context_arn: &str,
        wrapped: &[u8],
    ) -> Result<Self, WrappedKeyError> {
        let limits = [
            ("key ARN", key_arn.len(), usize::from(mode == Mode::Kms), KEY_ARN_BYTES_MAX),
            ("context ARN", context_arn.len(), 1, CONTEXT_ARN_BYTES_MAX),
            ("wrapped key", wrapped.len(), 1, WRAPPED_KEY_BYTES_MAX),
        ];
        for (part, len, min, max) in limits {
            if len < min || len > max {
                return Err(WrappedKeyError::Length { part, len, min, max });
            }
        }
        match mode {
            Mode::None => return Err(WrappedKeyError::NoKeyInMode { mode }),
            Mode::Managed if !key_arn.is_empty() => return Err(WrappedKeyError::NoKeyInMode { mode }),
            Mode::Managed | Mode::Kms => {}
        }
        Ok(Self {
            mode,
            id: data_key_id(wrapped),
            scope: KeyScope::of(key_arn, context_arn),
            fields: [key_arn.as_bytes(), context_arn.as_bytes(), wrapped].concat().into(),
            key_arn: key_arn.into(),
            context_arn: context_arn.into(),
        })
    }

    /// Who wrapped it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its id.
    pub fn id(&self) -> &DataKeyId {
        &self.id
    }

    /// Its key ARN and context.
    pub(crate) fn scope(&self) -> &KeyScope {
        &self.scope
    }

    /// ARN of the wrapping key; empty in [`Mode::Managed`].
    pub fn key_arn(&self) -> &str {
        &self.key_arn
    }

    /// ARN of the queue in the encryption context.
    pub fn context_arn(&self) -> &str {
        &self.context_arn
    }

    /// The wrapped bytes.
    pub fn wrapped(&self) -> &[u8] {
        &self.fields[self.key_arn.len() + self.context_arn.len()..]
    }

    /// Key ARN, context ARN and wrapped bytes, one after the other.
    pub(crate) fn fields(&self) -> &[u8] {
        &self.fields
    }
}

/// Why a wrapped key cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WrappedKeyError {
    /// A part is too short or too long.
    #[error("the {part} has {len} bytes; the layout holds {min} to {max}")]
    Length {
        /// Which part.
        part: &'static str,
        /// Its length, bytes.
        len: usize,
        /// Least length, bytes.
        min: usize,
        /// Greatest length, bytes.
        max: usize,
    },
    /// The mode has no data key, or names no key ARN.
    #[error("mode {mode:?} does not take this key")]
    NoKeyInMode {
        /// The mode given.
        mode: Mode,
    },
}
