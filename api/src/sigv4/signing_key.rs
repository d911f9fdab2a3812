//! The key derived from a secret for one day, region and service.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::TERMINATOR;

/// 32 bytes, wiped on drop, never printed.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// Four HMACs: secret, `date` (yyyymmdd), region, service.
    pub fn derive(secret: &str, date: &str, region: &str, service: &str) -> Self {
        let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.as_bytes());
        let mut key = hmac(&first, date.as_bytes());
        for part in [region, service, TERMINATOR] {
            key = hmac(&*key, part.as_bytes());
        }
        Self(key)
    }

    /// This key's signature over `text`.
    pub fn sign(&self, text: &[u8]) -> [u8; 32] {
        *hmac(&*self.0, text)
    }

    /// Whether `signature` is this key's over `text`. Constant time.
    pub fn signs(&self, text: &[u8], signature: &[u8; 32]) -> bool {
        hmac(&*self.0, text).ct_eq(signature).into()
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104)");
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}
