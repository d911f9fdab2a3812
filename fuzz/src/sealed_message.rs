//! Any bytes as a stored message: parsed or refused, and never opened unless they are what was sealed.

use sealq_crypto::{Mode, SealedMessage, open_plain};

/// One input.
pub fn sealed_message(bytes: &[u8]) {
    let Ok(message) = SealedMessage::parse(bytes) else { return };
    let outside = message.aad().len() + message.ciphertext().len();
    assert!(outside <= bytes.len(), "the parts reach beyond the bytes");
    assert!(message.clear().len() + message.wrapped_key().len() <= message.aad().len());
    let mut out = Vec::new();
    if message.mode() == Mode::None
        && let Ok(opened) = open_plain(&message, &mut out)
    {
        assert!(opened.body.end <= out.len());
    }
}
