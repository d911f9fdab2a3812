//! Key material: the 32 bytes of a data key, and the cipher made of them.
//!
//! Holds secrets only in memory, wipes them on drop, prints none of them. Never knows where a key came
//! from or what it protects.

use std::fmt;

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::nonce::Nonce;

/// Length of a data key, bytes (AES-256).
pub const DATA_KEY_BYTES: usize = 32;

/// Length of an AES-GCM tag, bytes. NIST SP 800-38D section 5.2.1.2: the full 128 bits.
pub const TAG_BYTES: usize = 16;

/// The plaintext of a data key, 32 bytes, wiped on drop. Its `Debug` shows no byte, and it has no `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes {
    // Boxed: moving the value moves a pointer and leaves no copy of the key on the stack.
    bytes: Box<[u8; DATA_KEY_BYTES]>,
}

impl KeyBytes {
    /// A fresh key from the operating system's random source.
    ///
    /// # Errors
    /// [`NoEntropy`] if the source fails.
    pub fn generate() -> Result<Self, NoEntropy> {
        let mut key = Self { bytes: Box::new([0; DATA_KEY_BYTES]) };
        fill_random(key.bytes.as_mut_slice())?;
        Ok(key)
    }

    /// Takes the key over from `bytes` and wipes them.
    pub fn take(bytes: &mut [u8; DATA_KEY_BYTES]) -> Self {
        let key = Self { bytes: Box::new(*bytes) };
        bytes.zeroize();
        key
    }

    /// Copies the key from `bytes`; `None` if there are not exactly [`DATA_KEY_BYTES`] of them. The caller
    /// wipes its own copy.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self { bytes: Box::new([0; DATA_KEY_BYTES]) };
        if bytes.len() != DATA_KEY_BYTES {
            return None;
        }
        key.bytes.copy_from_slice(bytes);
        Some(key)
    }

    /// The secret itself, for wrapping it. Every use of this is a place to review.
    pub fn expose(&self) -> &[u8; DATA_KEY_BYTES] {
        &self.bytes
    }

    /// Equality in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        self.bytes.as_slice().ct_eq(other.bytes.as_slice()).into()
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(..)")
    }
}

/// The operating system's random source gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random source failed: {reason}")]
pub struct NoEntropy {
    /// What the source said.
    pub reason: String,
}

/// Fills `bytes` from the operating system's random source.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), NoEntropy> {
    getrandom::fill(bytes).map_err(|error| NoEntropy { reason: error.to_string() })
}

/// AES-256-GCM under one key, with its key schedule kept ready. Wiped on drop.
pub struct DataKey {
    cipher: Box<Aes256Gcm>,
}

impl DataKey {
    /// The cipher of `key`.
    pub fn new(key: &KeyBytes) -> Self {
        Self { cipher: Box::new(Aes256Gcm::new(key.expose().into())) }
    }

    /// Encrypts `text` in place and returns the tag over `aad` and the ciphertext. `None` only beyond the
    /// cipher's own limit of 2^36 - 32 bytes. NIST SP 800-38D section 7.1.
    pub(crate) fn seal_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let tag = self.cipher.encrypt_inout_detached(nonce.as_bytes().into(), aad, text.into()).ok()?;
        Some(tag.into())
    }

    /// Decrypts `text` in place if `tag` is right for `aad` and `text`. On `false` nothing was decrypted:
    /// `text` still holds the ciphertext. NIST SP 800-38D section 7.2.
    #[must_use]
    pub(crate) fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        self.cipher.decrypt_inout_detached(nonce.as_bytes().into(), aad, text.into(), tag.into()).is_ok()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}
