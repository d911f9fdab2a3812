//! The ciphertext blob: what Encrypt and GenerateDataKey give out and Decrypt takes.
//!
//! Layout: format 1, key id 16, first 8 bytes of the material id, nonce 12, ciphertext, tag 16: 53 bytes more than the
//! plaintext. AES-256-GCM; authenticated besides: everything before the nonce, the whole material id, key ARN, context.
//! Knows no key states. Nonces are random: by NIST SP 800-38D section 8.3 one material seals at most 2^32 blobs.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::encryption_context::EncryptionContext;
use crate::entropy::{Entropy, EntropyError, random};

/// Longest blob that is looked at, bytes.
pub const BLOB_BYTES_MAX: usize = 6_144;
/// Bytes a blob is longer than its plaintext.
pub const BLOB_OVERHEAD_BYTES: usize = HEAD_LEN + NONCE_LEN + TAG_LEN;
/// Bytes of a material id that a blob carries.
pub const MATERIAL_SHORT_ID_BYTES: usize = 8;

const FORMAT: u8 = 1;
const KEY_ID_LEN: usize = 16;
const HEAD_LEN: usize = 1 + KEY_ID_LEN + MATERIAL_SHORT_ID_BYTES;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;

/// Why bytes are no blob, or one that does not open. Callers show nothing of the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BlobError {
    /// Shorter or longer than any blob.
    #[error("not a ciphertext blob: {len} bytes")]
    Length {
        /// Bytes given.
        len: usize,
    },
    /// Made by another version, or by somebody else.
    #[error("ciphertext blob of unknown format {found}")]
    Format {
        /// The format byte.
        found: u8,
    },
    /// Altered, or another key, material or context.
    #[error("ciphertext blob does not open")]
    Sealed,
}

/// What a blob is sealed with.
pub(crate) struct Material<'a> {
    pub(crate) key_id: [u8; KEY_ID_LEN],
    pub(crate) key_arn: &'a str,
    pub(crate) id: [u8; 32],
    pub(crate) secret: &'a [u8; 32],
}

impl Material<'_> {
    fn short_id(&self) -> &[u8] {
        &self.id[..MATERIAL_SHORT_ID_BYTES]
    }

    fn aad(&self, head: &[u8], context: &EncryptionContext) -> Vec<u8> {
        let arn_len = (self.key_arn.len() as u32).to_be_bytes();
        [head, &self.id, &arn_len, self.key_arn.as_bytes(), &context.canonical_bytes()].concat()
    }
}

/// A blob whose head has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CiphertextBlob<'a> {
    bytes: &'a [u8],
}

impl<'a> CiphertextBlob<'a> {
    /// Reads the head. Nothing of it is proven until the blob is opened.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BlobError> {
        if !(BLOB_OVERHEAD_BYTES..=BLOB_BYTES_MAX).contains(&bytes.len()) {
            return Err(BlobError::Length { len: bytes.len() });
        }
        match bytes[0] {
            FORMAT => Ok(Self { bytes }),
            found => Err(BlobError::Format { found }),
        }
    }

    /// The key the blob says it is of.
    pub(crate) fn key_id(&self) -> [u8; KEY_ID_LEN] {
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&self.bytes[1..=KEY_ID_LEN]);
        id
    }

    /// The beginning of the id of the material it says it is of.
    pub(crate) fn material_short_id(&self) -> &'a [u8] {
        &self.bytes[1 + KEY_ID_LEN..HEAD_LEN]
    }

    /// Opens it. Errors: [`BlobError::Sealed`].
    pub(crate) fn open(
        &self,
        material: &Material<'_>,
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, BlobError> {
        let (head, rest) = self.bytes.split_at(HEAD_LEN);
        let (nonce_bytes, sealed) = rest.split_at(NONCE_LEN);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(nonce_bytes);
        Aes256Gcm::new(material.secret.into())
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad: &material.aad(head, context) })
            .map(Zeroizing::new)
            .map_err(|_| BlobError::Sealed)
    }
}

/// Seals `plaintext`; two calls never give the same blob.
pub(crate) fn seal(
    material: &Material<'_>,
    plaintext: &[u8],
    context: &EncryptionContext,
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, EntropyError> {
    let mut blob = Vec::with_capacity(plaintext.len() + BLOB_OVERHEAD_BYTES);
    blob.push(FORMAT);
    blob.extend_from_slice(&material.key_id);
    blob.extend_from_slice(material.short_id());
    let nonce = random::<NONCE_LEN>(entropy)?;
    let sealed = Aes256Gcm::new(material.secret.into())
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: &material.aad(&blob, context) })
        .map_err(|_| EntropyError { reason: "plaintext too long to seal".into() })?;
    blob.extend_from_slice(&nonce);
    blob.extend_from_slice(&sealed);
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    const MATERIAL: Material<'static> =
        Material { key_id: [1; 16], key_arn: "arn:aws:kms:r:1:key/x", id: [2; 32], secret: &[3; 32] };

    #[test]
    fn every_flipped_bit_is_detected() {
        let context = EncryptionContext::for_queue("arn:aws:sqs:r:1:q");
        let blob = seal(&MATERIAL, b"data key", &context, &mut SystemEntropy).unwrap();
        assert_eq!(blob.len(), 8 + BLOB_OVERHEAD_BYTES);
        for bit in 0..blob.len() * 8 {
            let mut damaged = blob.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let opened = CiphertextBlob::parse(&damaged).and_then(|blob| blob.open(&MATERIAL, &context));
            assert!(opened.is_err(), "bit {bit}");
        }
        let opened = CiphertextBlob::parse(&blob).and_then(|blob| blob.open(&MATERIAL, &context));
        assert_eq!(opened.unwrap().as_slice(), b"data key");
    }

    #[test]
    fn arn_and_whole_material_id_are_authenticated() {
        let context = EncryptionContext::default();
        let blob = seal(&MATERIAL, b"data key", &context, &mut SystemEntropy).unwrap();
        let blob = CiphertextBlob::parse(&blob).unwrap();
        let mut id = MATERIAL.id;
        id[31] ^= 1;
        assert_eq!(blob.open(&Material { id, ..MATERIAL }, &context), Err(BlobError::Sealed));
        let moved = Material { key_arn: "arn:aws:kms:r:2:key/x", ..MATERIAL };
        assert_eq!(blob.open(&moved, &context), Err(BlobError::Sealed));
    }

    #[test]
    fn equal_inputs_give_distinct_blobs() {
        let context = EncryptionContext::default();
        let one = seal(&MATERIAL, b"data key", &context, &mut SystemEntropy).unwrap();
        assert_ne!(one, seal(&MATERIAL, b"data key", &context, &mut SystemEntropy).unwrap());
    }
}
