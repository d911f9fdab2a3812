//! The bytes of a stored message: layout version 1 and its parser.
//!
//! ```text
//! offset  size  field
//!      0     4  magic "SQMB"
//!      4     1  version, 1
//!      5     1  algorithm: 0 plain, 1 AES-256-GCM
//!      6     1  mode: 0 none, 1 managed, 2 kms
//!      7     1  flags: bit 0 sealed; the others are 0
//!      8     4  plaintext length: the body without its MD5, bytes
//!     12     2  key ARN length
//!     14     2  context ARN length
//!     16    16  message id that it was sent under
//!     32    16  data key id: SHA-256(wrapped key)[..16]
//!     48     8  sent at, ms since 1970
//!     56     4  origin stream
//!     60     2  wrapped key length
//!     62     2  zero
//!     64    12  nonce
//!     76     4  clear section length
//!     80        key ARN, context ARN, wrapped key, clear section
//!               ciphertext of (body, MD5 of the body), then the 16-byte tag
//! ```
//! Integers are little-endian. The associated data is exactly every byte before the ciphertext. A plain message
//! (algorithm 0) has the same layout with no ARN, no wrapped key, zero id and nonce, the body and its MD5 as
//! they are, and no tag.
//!
//! The parser takes any bytes; whatever it accepts has consistent lengths and fields, but only a key proves
//! that nobody changed them. Never knows a key, a queue or a file.

use std::{mem::offset_of, str};

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

use crate::{
    data_key::TAG_BYTES,
    nonce::{NONCE_BYTES, Nonce},
    wrapped_key::{DATA_KEY_ID_BYTES, DataKeyId},
};

/// First bytes of every stored message.
pub const MAGIC: [u8; 4] = *b"SQMB";
/// The layout described above.
pub const VERSION: u8 = 1;
/// Length of the fixed header, bytes.
pub const HEADER_BYTES: usize = 80;
/// Length of the body's MD5, bytes.
pub const MD5_BYTES: usize = 16;
/// Length of a message id, bytes (a UUID).
pub const MESSAGE_ID_BYTES: usize = 16;
/// Greatest body, bytes: 1 MiB, the greatest message of the API.
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 20;
/// Greatest clear section, bytes: attributes count toward the message's 1 MiB; twice that leaves room for
/// their framing.
pub const CLEAR_BYTES_MAX: usize = 2 << 20;
/// Greatest key ARN, bytes (KMS: 2,048).
pub const KEY_ARN_BYTES_MAX: usize = 2_048;
/// Greatest context ARN, bytes.
pub const CONTEXT_ARN_BYTES_MAX: usize = 2_048;
/// Greatest wrapped key, bytes (KMS: a ciphertext has up to 6,144).
pub const WRAPPED_KEY_BYTES_MAX: usize = 6_144;

pub(crate) const ALGORITHM_PLAIN: u8 = 0;
pub(crate) const ALGORITHM_AES_256_GCM: u8 = 1;
pub(crate) const FLAG_SEALED: u8 = 1;

/// Who holds the key of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Nobody: the body is stored as it is.
    None = 0,
    /// The broker's own service key (SSE-SQS).
    Managed = 1,
    /// A key management service (SSE-KMS).
    Kms = 2,
}

/// The fixed header as it lies in the record.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u8,
    pub(crate) algorithm: u8,
    pub(crate) mode: u8,
    pub(crate) flags: u8,
    pub(crate) plaintext_len: U32,
    pub(crate) key_arn_len: U16,
    pub(crate) context_arn_len: U16,
    pub(crate) message_id: [u8; MESSAGE_ID_BYTES],
    pub(crate) data_key_id: DataKeyId,
    pub(crate) sent_at_ms: U64,
    pub(crate) origin_stream: U32,
    pub(crate) wrapped_key_len: U16,
    pub(crate) zero: U16,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) clear_len: U32,
}

const _: () = {
    assert!(size_of::<Header>() == HEADER_BYTES);
    assert!(offset_of!(Header, version) == 4);
    assert!(offset_of!(Header, algorithm) == 5);
    assert!(offset_of!(Header, mode) == 6);
    assert!(offset_of!(Header, flags) == 7);
    assert!(offset_of!(Header, plaintext_len) == 8);
    assert!(offset_of!(Header, key_arn_len) == 12);
    assert!(offset_of!(Header, context_arn_len) == 14);
    assert!(offset_of!(Header, message_id) == 16);
    assert!(offset_of!(Header, data_key_id) == 32);
    assert!(offset_of!(Header, sent_at_ms) == 48);
    assert!(offset_of!(Header, origin_stream) == 56);
    assert!(offset_of!(Header, wrapped_key_len) == 60);
    assert!(offset_of!(Header, zero) == 62);
    assert!(offset_of!(Header, nonce) == 64);
    assert!(offset_of!(Header, clear_len) == 76);
    assert!(KEY_ARN_BYTES_MAX <= u16::MAX as usize);
    assert!(CONTEXT_ARN_BYTES_MAX <= u16::MAX as usize);
    assert!(WRAPPED_KEY_BYTES_MAX <= u16::MAX as usize);
    assert!(PLAINTEXT_BYTES_MAX <= u32::MAX as usize);
    assert!(CLEAR_BYTES_MAX <= u32::MAX as usize);
};

/// A stored message, borrowed from its bytes.
#[derive(Clone, Copy)]
pub struct SealedMessage<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    mode: Mode,
    key_arn: &'a str,
    context_arn: &'a str,
    wrapped_key_at: usize,
    clear_at: usize,
    ciphertext_at: usize,
}

impl<'a> SealedMessage<'a> {
    /// Reads the layout of `bytes`, which must be one message from its first byte to its last.
    ///
    /// # Errors
    /// [`ParseError`], for any bytes that are not a message of a known version.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (header, _) = Header::ref_from_prefix(bytes)
            .map_err(|_| ParseError::Truncated { need: HEADER_BYTES, have: bytes.len() })?;
        if header.magic != MAGIC {
            return Err(ParseError::Magic { found: header.magic });
        }
        if header.version != VERSION {
            return Err(ParseError::Version { found: header.version });
        }
        let mode = mode_of(header)?;
        let lens = Lens::of(header)?;

        let tag_len = if mode == Mode::None { 0 } else { TAG_BYTES };
        let context_at = HEADER_BYTES + lens.key_arn;
        let wrapped_key_at = context_at + lens.context_arn;
        let clear_at = wrapped_key_at + lens.wrapped_key;
        let ciphertext_at = clear_at + lens.clear;
        let need = ciphertext_at + lens.plaintext + MD5_BYTES + tag_len;
        if need > bytes.len() {
            return Err(ParseError::Truncated { need, have: bytes.len() });
        }
        if need < bytes.len() {
            return Err(ParseError::TrailingBytes { need, have: bytes.len() });
        }
        let text =
            |field, from, to| str::from_utf8(&bytes[from..to]).map_err(|_| ParseError::NotText { field });
        Ok(Self {
            key_arn: text("key ARN", HEADER_BYTES, context_at)?,
            context_arn: text("context ARN", context_at, wrapped_key_at)?,
            bytes,
            header,
            mode,
            wrapped_key_at,
            clear_at,
            ciphertext_at,
        })
    }

    /// Who holds its key.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The id under which it was sent. A moved message carries a newer one outside the sealed body.
    pub fn message_id(&self) -> &'a [u8; MESSAGE_ID_BYTES] {
        &self.header.message_id
    }

    /// When it was sent, ms since 1970.
    pub fn sent_at_ms(&self) -> u64 {
        self.header.sent_at_ms.get()
    }

    /// Stream number of the queue that it was sent to.
    pub fn origin_stream(&self) -> u32 {
        self.header.origin_stream.get()
    }

    /// ARN of the key that wrapped its data key; empty unless the mode is [`Mode::Kms`].
    pub fn key_arn(&self) -> &'a str {
        self.key_arn
    }

    /// ARN of the queue that it was sent to, which is its encryption context; empty in a plain message.
    pub fn context_arn(&self) -> &'a str {
        self.context_arn
    }

    /// The wrapped data key; empty in a plain message.
    pub fn wrapped_key(&self) -> &'a [u8] {
        &self.bytes[self.wrapped_key_at..self.clear_at]
    }

    /// The id of its data key as the header claims it.
    pub fn data_key_id(&self) -> &'a DataKeyId {
        &self.header.data_key_id
    }

    /// The nonce.
    pub fn nonce(&self) -> Nonce {
        Nonce::from_bytes(self.header.nonce)
    }

    /// The section that needs no key.
    pub fn clear(&self) -> &'a [u8] {
        &self.bytes[self.clear_at..self.ciphertext_at]
    }

    /// Length of the body, bytes, without its MD5.
    pub fn plaintext_len(&self) -> usize {
        self.header.plaintext_len.get() as usize
    }

    /// Every byte before the ciphertext.
    pub fn aad(&self) -> &'a [u8] {
        &self.bytes[..self.ciphertext_at]
    }

    /// Ciphertext and tag of a sealed message; the body and its MD5 of a plain one.
    pub fn ciphertext(&self) -> &'a [u8] {
        &self.bytes[self.ciphertext_at..]
    }
}

impl std::fmt::Debug for SealedMessage<'_> {
    // A plain message's bytes are its body, which never goes to a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedMessage")
            .field("mode", &self.mode)
            .field("origin_stream", &self.origin_stream())
            .field("key_arn", &self.key_arn)
            .field("context_arn", &self.context_arn)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The mode, if algorithm, mode and flags agree, so that no single changed byte turns a sealed message into a
/// plain one or back.
fn mode_of(header: &Header) -> Result<Mode, ParseError> {
    match (header.algorithm, header.mode, header.flags) {
        (ALGORITHM_PLAIN, 0, 0) => Ok(Mode::None),
        (ALGORITHM_AES_256_GCM, 1, FLAG_SEALED) => Ok(Mode::Managed),
        (ALGORITHM_AES_256_GCM, 2, FLAG_SEALED) => Ok(Mode::Kms),
        (algorithm, mode, flags) => Err(ParseError::Algorithm { algorithm, mode, flags }),
    }
}

/// The lengths of the parts, within their limits.
struct Lens {
    key_arn: usize,
    context_arn: usize,
    wrapped_key: usize,
    clear: usize,
    plaintext: usize,
}

impl Lens {
    fn of(header: &Header) -> Result<Self, ParseError> {
        let mode = header.mode;
        let sealed = usize::from(header.algorithm != ALGORITHM_PLAIN);
        let kms = usize::from(mode == Mode::Kms as u8);
        let within = |field, len: usize, min: usize, max: usize| {
            if (min..=max).contains(&len) {
                Ok(len)
            } else {
                Err(ParseError::Length { field, len, min, max })
            }
        };
        if sealed == 0 && (header.nonce != [0; NONCE_BYTES] || header.data_key_id != [0; DATA_KEY_ID_BYTES]) {
            return Err(ParseError::NotZero { field: "nonce and data key id of a plain message" });
        }
        if header.zero.get() != 0 {
            return Err(ParseError::NotZero { field: "reserved bytes" });
        }
        Ok(Self {
            key_arn: within("key ARN", header.key_arn_len.get().into(), kms, kms * KEY_ARN_BYTES_MAX)?,
            context_arn: within(
                "context ARN",
                header.context_arn_len.get().into(),
                sealed,
                sealed * CONTEXT_ARN_BYTES_MAX,
            )?,
            wrapped_key: within(
                "wrapped key",
                header.wrapped_key_len.get().into(),
                sealed,
                sealed * WRAPPED_KEY_BYTES_MAX,
            )?,
            clear: within("clear section", header.clear_len.get() as usize, 0, CLEAR_BYTES_MAX)?,
            plaintext: within("plaintext", header.plaintext_len.get() as usize, 0, PLAINTEXT_BYTES_MAX)?,
        })
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Fewer bytes than the layout needs.
    #[error("the message needs {need} bytes and has {have}")]
    Truncated {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// More bytes than the layout accounts for.
    #[error("the message ends after {need} bytes and has {have}")]
    TrailingBytes {
        /// Bytes needed.
        need: usize,
        /// Bytes there.
        have: usize,
    },
    /// Other first bytes.
    #[error("the message starts with {found:02x?}")]
    Magic {
        /// The bytes found.
        found: [u8; 4],
    },
    /// A layout that this build does not know.
    #[error("the message has layout version {found}; this build reads version {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Algorithm, mode and flags that do not go together.
    #[error("algorithm {algorithm}, mode {mode} and flags {flags:#04x} do not go together")]
    Algorithm {
        /// The algorithm found.
        algorithm: u8,
        /// The mode found.
        mode: u8,
        /// The flags found.
        flags: u8,
    },
    /// A part outside its limits.
    #[error("the {field} has {len} bytes; {min} to {max} are possible")]
    Length {
        /// Which part.
        field: &'static str,
        /// The length found, bytes.
        len: usize,
        /// Least length, bytes.
        min: usize,
        /// Greatest length, bytes.
        max: usize,
    },
    /// Bytes that must be zero are not.
    #[error("the {field} must be zero")]
    NotZero {
        /// Which bytes.
        field: &'static str,
    },
    /// An ARN that is not UTF-8.
    #[error("the {field} is not UTF-8")]
    NotText {
        /// Which field.
        field: &'static str,
    },
}

#[cfg(test)]
mod tests;
