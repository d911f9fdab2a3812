//! A data key in the role of opening, and the reader of stored bodies.
//!
//! It can be had any number of times for one wrapped key, in any process. It cannot seal.

use std::{ops::Range, sync::Arc};

use crate::{
    data_key::{DataKey, TAG_BYTES},
    sealed_message::{MD5_BYTES, Mode, SealedMessage},
    wrapped_key::WrappedKey,
};

/// A data key that opens what was sealed under it.
#[derive(Debug)]
pub struct OpeningKey {
    key: Arc<DataKey>,
    names: Arc<WrappedKey>,
}

impl OpeningKey {
    pub(crate) fn new(key: Arc<DataKey>, names: Arc<WrappedKey>) -> Self {
        Self { key, names }
    }

    /// Appends the body of `message` to `out`. On an error `out` is as before: no byte of a body leaves
    /// unless every byte of the record is as it was sealed.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, message: &SealedMessage<'_>, out: &mut Vec<u8>) -> Result<OpenedBody, OpenError> {
        if message.mode() == Mode::None {
            return Err(OpenError::NotSealed);
        }
        if !self.opens(message) {
            return Err(OpenError::OtherKey);
        }
        let (ciphertext, tag) =
            message.ciphertext().split_last_chunk::<TAG_BYTES>().ok_or(OpenError::TagMismatch)?;
        let start = out.len();
        out.extend_from_slice(ciphertext);
        if !self.key.open_in_place(&message.nonce(), message.aad(), &mut out[start..], tag) {
            out.truncate(start);
            return Err(OpenError::TagMismatch);
        }
        split_md5(start, out)
    }

    /// Whether `message` names this key: same wrapped bytes, same key ARN, same context.
    pub fn opens(&self, message: &SealedMessage<'_>) -> bool {
        self.names.mode() == message.mode()
            && self.names.id() == message.data_key_id()
            && self.names.wrapped() == message.wrapped_key()
            && self.names.key_arn() == message.key_arn()
            && self.names.context_arn() == message.context_arn()
    }

    /// The same key under other names, as if a changed record had been unwrapped to it.
    #[cfg(test)]
    pub(crate) fn with_names(&self, names: Arc<WrappedKey>) -> Self {
        Self { key: Arc::clone(&self.key), names }
    }

    /// Its names and wrapped form.
    pub fn wrapped_key(&self) -> &WrappedKey {
        &self.names
    }
}

/// Appends the body of a plain message to `out`. On an error `out` is as before.
///
/// # Errors
/// [`OpenError::Sealed`] for a message that needs a key.
pub fn open_plain(message: &SealedMessage<'_>, out: &mut Vec<u8>) -> Result<OpenedBody, OpenError> {
    if message.mode() != Mode::None {
        return Err(OpenError::Sealed);
    }
    let start = out.len();
    out.extend_from_slice(message.ciphertext());
    split_md5(start, out)
}

/// Takes the MD5 off the end of the text that starts at `start`.
fn split_md5(start: usize, out: &mut Vec<u8>) -> Result<OpenedBody, OpenError> {
    let Some((body, md5)) = out[start..].split_last_chunk::<MD5_BYTES>() else {
        out.truncate(start);
        return Err(OpenError::TagMismatch);
    };
    let (md5, end) = (*md5, start + body.len());
    out.truncate(end);
    Ok(OpenedBody { body: start..end, md5 })
}

/// Where an opened body lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedBody {
    /// Its place in the buffer that was given.
    pub body: Range<usize>,
    /// MD5 of the body, as the sender's request had it.
    pub md5: [u8; MD5_BYTES],
}

/// Why a body was not opened. Says nothing about the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The record is not as it was sealed, or the key is another one.
    #[error("the record is not as it was sealed")]
    TagMismatch,
    /// The record names another data key.
    #[error("the record names another data key")]
    OtherKey,
    /// The record is plain.
    #[error("the record is not sealed")]
    NotSealed,
    /// The record is sealed.
    #[error("the record is sealed")]
    Sealed,
}
