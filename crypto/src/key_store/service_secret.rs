//! The service secret: made once per store, and the source of the broker's own working keys.
//!
//! It is stored wrapped under the root key rather than derived from it, so that a change of root leaves messages,
//! receipt handles and page tokens as they are. Never leaves this type.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::{Entropy, EntropyError, random};

/// What a derived key is for. Distinct purposes never share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubKey {
    /// Wraps the data keys of SSE-SQS.
    Service,
    /// Authenticates receipt handles.
    ReceiptHandle,
    /// Keys the hashes of deduplication ids and message groups.
    Deduplication,
    /// Authenticates page tokens.
    PageToken,
    /// Seals session tokens.
    SessionToken,
    /// Names imported key material, and checks that the same bytes came back.
    ImportedMaterial,
    /// Authenticates import tokens.
    ImportToken,
}

impl SubKey {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Service => b"sealq service key v1",
            Self::ReceiptHandle => b"sealq receipt handle v1",
            Self::Deduplication => b"sealq deduplication v1",
            Self::PageToken => b"sealq page token v1",
            Self::SessionToken => b"sealq session token v1",
            Self::ImportedMaterial => b"sealq imported material v1",
            Self::ImportToken => b"sealq import token v1",
        }
    }
}

/// 32 random bytes, wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ServiceSecret([u8; 32]);

impl fmt::Debug for ServiceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceSecret")
    }
}

impl ServiceSecret {
    pub(crate) fn generate(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self(random(entropy)?))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for one purpose (HKDF-SHA-256, RFC 5869): the same in each run of the same store.
    pub fn derive(&self, purpose: SubKey) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        // Only outputs over 8,160 bytes fail.
        Hkdf::<Sha256>::new(None, &self.0).expand(purpose.label(), key.as_mut_slice()).expect("short output");
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_have_different_keys_and_the_same_ones_each_time() {
        let secret = ServiceSecret::from_bytes([5; 32]);
        assert_eq!(secret.derive(SubKey::Service), secret.derive(SubKey::Service));
        assert_ne!(secret.derive(SubKey::Service), secret.derive(SubKey::ReceiptHandle));
        assert_ne!(secret.derive(SubKey::Service).as_slice(), secret.bytes());
    }
}
