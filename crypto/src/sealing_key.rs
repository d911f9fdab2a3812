//! A data key in the role of sealing, and the writer of stored messages.
//!
//! A [`SealingKey`] exists only for a data key that this process generated: there is no way from an unwrapped
//! key to one. That, and the counter inside it, is why no nonce repeats under a key.

use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::{
    data_key::{DataKey, TAG_BYTES},
    nonce::{NONCE_BYTES, NonceCounter},
    opening_key::OpeningKey,
    sealed_message::{
        ALGORITHM_AES_256_GCM, ALGORITHM_PLAIN, CLEAR_BYTES_MAX, FLAG_SEALED, HEADER_BYTES, Header, MAGIC,
        MD5_BYTES, MESSAGE_ID_BYTES, Mode, PLAINTEXT_BYTES_MAX, VERSION,
    },
    wrapped_key::{DATA_KEY_ID_BYTES, WrappedKey},
};

/// A message about to be stored.
#[derive(Clone, Copy)]
pub struct DraftMessage<'a> {
    /// Its id.
    pub message_id: [u8; MESSAGE_ID_BYTES],
    /// When it was sent, ms since 1970.
    pub sent_at_ms: u64,
    /// Stream number of the queue that it was sent to.
    pub origin_stream: u32,
    /// ARN of that queue. Sealing under a key of another context is refused.
    pub context_arn: &'a str,
    /// The section that needs no key (attributes and the like), at most [`CLEAR_BYTES_MAX`] bytes.
    pub clear: &'a [u8],
    /// The body, at most [`PLAINTEXT_BYTES_MAX`] bytes.
    pub body: &'a [u8],
    /// MD5 of the body; sealed with it.
    pub body_md5: [u8; MD5_BYTES],
}

/// A data key that this process generated, with its nonce counter.
#[derive(Debug)]
pub struct SealingKey {
    key: Arc<DataKey>,
    names: Arc<WrappedKey>,
    nonces: NonceCounter,
    generated_at_ms: u64,
}

impl SealingKey {
    /// Only for a key that was generated in this process, and only once for each.
    pub(crate) fn for_generated_key(key: Arc<DataKey>, names: Arc<WrappedKey>, generated_at_ms: u64) -> Self {
        Self { key, names, nonces: NonceCounter::for_new_key(), generated_at_ms }
    }

    /// Appends the stored form of `draft` to `out`. On an error `out` is as before.
    ///
    /// # Errors
    /// [`SealError`]; after [`SealError::KeyRetired`] ask for another key.
    pub fn seal(&self, draft: &DraftMessage<'_>, out: &mut Vec<u8>) -> Result<(), SealError> {
        check_lengths(draft)?;
        if draft.context_arn != self.names.context_arn() {
            return Err(SealError::OtherContext {
                key_context: self.names.context_arn().to_owned(),
                message_context: draft.context_arn.to_owned(),
            });
        }
        let nonce = self.nonces.next().ok_or(SealError::KeyRetired)?;

        let start = out.len();
        let fields = self.names.fields();
        out.reserve(
            HEADER_BYTES + fields.len() + draft.clear.len() + draft.body.len() + MD5_BYTES + TAG_BYTES,
        );
        let header = Header {
            algorithm: ALGORITHM_AES_256_GCM,
            mode: self.names.mode() as u8,
            flags: FLAG_SEALED,
            key_arn_len: (self.names.key_arn().len() as u16).into(),
            context_arn_len: (self.names.context_arn().len() as u16).into(),
            data_key_id: *self.names.id(),
            wrapped_key_len: (self.names.wrapped().len() as u16).into(),
            nonce: *nonce.as_bytes(),
            ..plain_header(draft)
        };
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(fields);
        out.extend_from_slice(draft.clear);
        let ciphertext_at = out.len() - start;
        out.extend_from_slice(draft.body);
        out.extend_from_slice(&draft.body_md5);

        let (aad, text) = out[start..].split_at_mut(ciphertext_at);
        match self.key.seal_in_place(&nonce, aad, text) {
            Some(tag) => {
                out.extend_from_slice(&tag);
                Ok(())
            }
            None => {
                out.truncate(start);
                Err(SealError::TooLong { part: "body", len: draft.body.len(), max: PLAINTEXT_BYTES_MAX })
            }
        }
    }

    /// The same data key in the role of opening.
    pub(crate) fn opening_key(&self) -> OpeningKey {
        OpeningKey::new(Arc::clone(&self.key), Arc::clone(&self.names))
    }

    /// Its names and wrapped form.
    pub fn wrapped_key(&self) -> &WrappedKey {
        &self.names
    }

    /// When it was generated, ms since 1970; its reuse period runs from here.
    pub fn generated_at_ms(&self) -> u64 {
        self.generated_at_ms
    }

    /// Whether it has sealed as many messages as a data key may.
    pub fn retired(&self) -> bool {
        self.nonces.spent()
    }

    /// The key as if it had sealed `used` messages.
    #[cfg(test)]
    pub(crate) fn nearly_spent_copy(&self, used: u64) -> Self {
        Self {
            key: Arc::clone(&self.key),
            names: Arc::clone(&self.names),
            nonces: NonceCounter::nearly_spent(used),
            generated_at_ms: self.generated_at_ms,
        }
    }
}

/// Appends the stored form of `draft` without encryption: same layout, algorithm 0. The context ARN is not
/// stored, as nothing is bound to it. On an error `out` is as before.
///
/// # Errors
/// [`SealError::TooLong`].
pub fn store_plain(draft: &DraftMessage<'_>, out: &mut Vec<u8>) -> Result<(), SealError> {
    check_lengths(draft)?;
    out.reserve(HEADER_BYTES + draft.clear.len() + draft.body.len() + MD5_BYTES);
    out.extend_from_slice(plain_header(draft).as_bytes());
    out.extend_from_slice(draft.clear);
    out.extend_from_slice(draft.body);
    out.extend_from_slice(&draft.body_md5);
    Ok(())
}

fn plain_header(draft: &DraftMessage<'_>) -> Header {
    Header {
        magic: MAGIC,
        version: VERSION,
        algorithm: ALGORITHM_PLAIN,
        mode: Mode::None as u8,
        flags: 0,
        plaintext_len: (draft.body.len() as u32).into(),
        key_arn_len: 0.into(),
        context_arn_len: 0.into(),
        message_id: draft.message_id,
        data_key_id: [0; DATA_KEY_ID_BYTES],
        sent_at_ms: draft.sent_at_ms.into(),
        origin_stream: draft.origin_stream.into(),
        wrapped_key_len: 0.into(),
        zero: 0.into(),
        nonce: [0; NONCE_BYTES],
        clear_len: (draft.clear.len() as u32).into(),
    }
}

fn check_lengths(draft: &DraftMessage<'_>) -> Result<(), SealError> {
    for (part, len, max) in [
        ("body", draft.body.len(), PLAINTEXT_BYTES_MAX),
        ("clear section", draft.clear.len(), CLEAR_BYTES_MAX),
    ] {
        if len > max {
            return Err(SealError::TooLong { part, len, max });
        }
    }
    Ok(())
}

/// Why a message was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key has sealed as many messages as it may.
    #[error("the data key has sealed as many messages as it may")]
    KeyRetired,
    /// The key belongs to another queue.
    #[error("the data key is bound to {key_context}, the message to {message_context}")]
    OtherContext {
        /// Queue ARN in the key's encryption context.
        key_context: String,
        /// Queue ARN of the message.
        message_context: String,
    },
    /// A part is longer than the layout holds.
    #[error("the {part} has {len} bytes; at most {max} are possible")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its length, bytes.
        len: usize,
        /// Greatest length, bytes.
        max: usize,
    },
}
