//! Any text as a receipt handle: no text is one that was not issued.

use sealq_broker::engine::command::Receipt;
use sealq_broker::receipt_handle::ReceiptHandles;
use zeroize::Zeroizing;

const STREAM: u32 = 7;

/// One input.
pub fn receipt_handle(input: &[u8]) {
    let handles = ReceiptHandles::new(Zeroizing::new([3; 32]));
    let issued = handles.issue(STREAM, Receipt { sequence: 11, receive_count: 2 });
    let Ok(text) = std::str::from_utf8(input) else { return };
    assert_eq!(handles.check(STREAM, text).is_some(), text == issued, "a forged handle was accepted");
    // The input laid over a true handle.
    let mut changed = issued.clone().into_bytes();
    for (byte, change) in changed.iter_mut().zip(input) {
        *byte ^= change;
    }
    if let Ok(changed) = std::str::from_utf8(&changed) {
        assert_eq!(
            handles.check(STREAM, changed).is_some(),
            changed == issued,
            "a changed handle was accepted"
        );
    }
}
