//! Receipt handles: opaque, unforgeable, bound to queue incarnation, message and delivery.
//!
//! `base64url(version ‖ stream ‖ sequence ‖ receive count ‖ HMAC-SHA-256 over them, cut to 16 bytes)`. A stream number
//! is never used again, so a handle of a deleted queue never fits a queue of the same name. The key comes from the root
//! key, so handles live through restarts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::engine::command::Receipt;

const VERSION: u8 = 1;
const FIELDS_BYTES: usize = 1 + 4 + 8 + 4;
const MAC_BYTES: usize = 16;

/// Makes and checks handles.
pub struct ReceiptHandles {
    key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for ReceiptHandles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptHandles")
    }
}

impl ReceiptHandles {
    /// `key`: 32 bytes derived from the root key for this purpose alone.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { key }
    }

    /// The handle of one delivery.
    pub fn issue(&self, stream: u32, receipt: Receipt) -> String {
        let mut bytes = [0; FIELDS_BYTES + MAC_BYTES];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&stream.to_be_bytes());
        bytes[5..13].copy_from_slice(&receipt.sequence.to_be_bytes());
        bytes[13..17].copy_from_slice(&receipt.receive_count.to_be_bytes());
        let mac = self.mac(&bytes[..FIELDS_BYTES]);
        bytes[FIELDS_BYTES..].copy_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The delivery that a handle of this queue names; `None` for garbage and for handles of other queues.
    pub fn check(&self, stream: u32, handle: &str) -> Option<Receipt> {
        let mut bytes = [0; FIELDS_BYTES + MAC_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(handle, &mut bytes).ok()?;
        let authentic = self.mac(&bytes[..FIELDS_BYTES]).ct_eq(&bytes[FIELDS_BYTES..]);
        if length != bytes.len() || !bool::from(authentic) || bytes[0] != VERSION {
            return None;
        }
        let field = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).map(u32::from_be_bytes).ok();
        if field(1)? != stream {
            return None;
        }
        let sequence = u64::from(field(5)?) << 32 | u64::from(field(9)?);
        Some(Receipt { sequence, receive_count: field(13)? })
    }

    fn mac(&self, fields: &[u8]) -> [u8; MAC_BYTES] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes keys of any length (RFC 2104)");
        mac.update(fields);
        let mut cut = [0; MAC_BYTES];
        cut.copy_from_slice(&mac.finalize().into_bytes()[..MAC_BYTES]);
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_fits_its_queue_and_delivery_only() {
        let handles = ReceiptHandles::new(Zeroizing::new([5; 32]));
        let receipt = Receipt { sequence: 0x1_0000_0002, receive_count: 3 };
        let handle = handles.issue(8, receipt);
        assert_eq!(handles.check(8, &handle), Some(receipt));
        assert_eq!(handles.check(9, &handle), None);
        let other = ReceiptHandles::new(Zeroizing::new([6; 32]));
        assert_eq!(other.check(8, &handle), None);
        for garbage in ["", "garbage", "%%%", &handle[1..], &format!("{handle}A")] {
            assert_eq!(handles.check(8, garbage), None, "{garbage}");
        }
    }

    #[test]
    fn any_changed_character_is_refused() {
        let handles = ReceiptHandles::new(Zeroizing::new([5; 32]));
        let handle = handles.issue(8, Receipt { sequence: 77, receive_count: 1 });
        for at in 0..handle.len() {
            let mut changed = handle.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(handles.check(8, &changed), None, "at {at}");
        }
    }
}
