//! What holds of stored messages from sealing to opening.

use std::{collections::HashSet, sync::Arc};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    data_key::{DataKey, KeyBytes},
    nonce::SEALS_PER_KEY_MAX,
    opening_key::{OpenError, OpeningKey, open_plain},
    sealing_key::{DraftMessage, SealError, SealingKey, store_plain},
    wrapped_key::WrappedKey,
};

const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/1";
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

fn key_pair(mode: Mode, key_arn: &str, context_arn: &str, wrapped: &[u8]) -> (SealingKey, OpeningKey) {
    let names = Arc::new(WrappedKey::new(mode, key_arn, context_arn, wrapped).unwrap());
    let data_key = Arc::new(DataKey::new(&KeyBytes::generate().unwrap()));
    let sealing = SealingKey::for_generated_key(data_key, names, 0);
    let opening = sealing.opening_key();
    (sealing, opening)
}

fn kms_pair() -> (SealingKey, OpeningKey) {
    key_pair(Mode::Kms, KEY, QUEUE, b"wrapped data key")
}

fn draft<'a>(clear: &'a [u8], body: &'a [u8]) -> DraftMessage<'a> {
    DraftMessage {
        message_id: [0x11; 16],
        sent_at_ms: 1_700_000_000_123,
        origin_stream: 7,
        context_arn: QUEUE,
        clear,
        body,
        body_md5: [0x5D; 16],
    }
}

fn sealed(key: &SealingKey, draft: &DraftMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    key.seal(draft, &mut out).unwrap();
    out
}

#[test]
fn a_sealed_message_opens_to_what_was_sealed() {
    let (sealing, opening) = kms_pair();
    let mut out = b"before".to_vec();
    sealing.seal(&draft(b"attributes", b"a body"), &mut out).unwrap();
    let message = SealedMessage::parse(&out[6..]).unwrap();
    assert_eq!(message.mode(), Mode::Kms);
    assert_eq!(message.message_id(), &[0x11; 16]);
    assert_eq!(message.sent_at_ms(), 1_700_000_000_123);
    assert_eq!(message.origin_stream(), 7);
    assert_eq!(message.key_arn(), KEY);
    assert_eq!(message.context_arn(), QUEUE);
    assert_eq!(message.wrapped_key(), b"wrapped data key");
    assert_eq!(message.data_key_id(), opening.wrapped_key().id());
    assert_eq!(message.clear(), b"attributes");
    assert_eq!(message.plaintext_len(), 6);
    assert_eq!([message.aad(), message.ciphertext()].concat(), &out[6..]);
    assert!(message.aad().ends_with(b"attributes"), "the associated data ends where the ciphertext starts");

    let mut opened = b"kept".to_vec();
    let place = opening.open(&message, &mut opened).unwrap();
    assert_eq!((&opened[..], place.body, place.md5), (&b"kepta body"[..], 4..10, [0x5D; 16]));
}

#[test]
fn the_header_lies_where_the_layout_says() {
    let (sealing, _) = kms_pair();
    let bytes = sealed(&sealing, &draft(b"cc", b"bbb"));
    assert_eq!(&bytes[..8], b"SQMB\x01\x01\x02\x01");
    assert_eq!(bytes[8..12], 3_u32.to_le_bytes());
    assert_eq!(bytes[12..14], (KEY.len() as u16).to_le_bytes());
    assert_eq!(bytes[14..16], (QUEUE.len() as u16).to_le_bytes());
    assert_eq!(bytes[16..32], [0x11; 16]);
    assert_eq!(bytes[48..56], 1_700_000_000_123_u64.to_le_bytes());
    assert_eq!(bytes[56..60], 7_u32.to_le_bytes());
    assert_eq!(bytes[60..62], 16_u16.to_le_bytes());
    assert_eq!(bytes[64..76], [0; 12]);
    assert_eq!(bytes[76..80], 2_u32.to_le_bytes());
    assert_eq!(bytes.len(), 80 + KEY.len() + QUEUE.len() + 16 + 2 + 3 + 16 + 16);
}

#[test]
fn neither_body_nor_md5_of_a_sealed_message_is_in_its_bytes() {
    let (sealing, _) = kms_pair();
    let bytes = sealed(&sealing, &draft(b"", b"a body that must not lie here"));
    assert!(
        !bytes
            .windows(8)
            .any(|window| b"a body that must not lie here".windows(8).any(|text| text == window))
    );
    assert!(!bytes.windows(4).any(|window| window == [0x5D; 4]));
}

#[test]
fn sse_133_any_changed_bit_of_a_sealed_message_is_an_error() {
    let (sealing, opening) = kms_pair();
    let bytes = sealed(&sealing, &draft(b"clear", b"some body"));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let Ok(message) = SealedMessage::parse(&changed) else { continue };
        let mut out = Vec::new();
        assert!(opening.open(&message, &mut out).is_err(), "bit {bit} was changed unnoticed");
        assert!(
            open_plain(&message, &mut out).is_err(),
            "bit {bit} turned a sealed message into a plain one"
        );
        assert!(out.is_empty(), "bit {bit}");

        // Also a key that does not look at the names, as one unwrapped from the changed record itself, opens nothing.
        let names =
            WrappedKey::new(Mode::Kms, message.key_arn(), message.context_arn(), message.wrapped_key());
        if let Ok(names) = names.map(Arc::new) {
            let same_key = opening.with_names(names);
            assert!(same_key.open(&message, &mut out).is_err(), "bit {bit} was changed unnoticed by the tag");
        }
    }
}

#[test]
fn any_missing_or_added_byte_is_an_error() {
    let (sealing, opening) = kms_pair();
    let bytes = sealed(&sealing, &draft(b"clear", b"some body"));
    for len in 0..bytes.len() {
        assert!(
            matches!(SealedMessage::parse(&bytes[..len]), Err(ParseError::Truncated { .. })),
            "{len} bytes"
        );
    }
    let longer = [&bytes[..], b"\0"].concat();
    assert_eq!(
        SealedMessage::parse(&longer).unwrap_err(),
        ParseError::TrailingBytes { need: bytes.len(), have: bytes.len() + 1 }
    );
    assert!(opening.open(&SealedMessage::parse(&bytes).unwrap(), &mut Vec::new()).is_ok());
}

#[test]
fn sse_134_equal_bodies_under_one_data_key_have_different_ciphertexts() {
    let (sealing, _) = kms_pair();
    let messages: Vec<_> = (0..50).map(|_| sealed(&sealing, &draft(b"", b"same"))).collect();
    let parsed = messages.iter().map(|bytes| SealedMessage::parse(bytes).unwrap());
    let (nonces, ciphertexts): (HashSet<_>, HashSet<_>) = parsed.map(|m| (m.nonce(), m.ciphertext())).unzip();
    assert_eq!((nonces.len(), ciphertexts.len()), (50, 50));
}

#[test]
fn sse_132_what_one_queue_sealed_opens_under_no_name_of_another() {
    let other_queue = "arn:aws:sqs:us-east-1:000000000000:p";
    let (sealing, opening) = kms_pair();
    let bytes = sealed(&sealing, &draft(b"", b"text"));
    let mut copied = bytes.clone();
    copied[80 + KEY.len() + QUEUE.len() - 1] = b'p';
    let message = SealedMessage::parse(&copied).unwrap();
    assert_eq!(message.context_arn(), other_queue);
    assert_eq!(opening.open(&message, &mut Vec::new()), Err(OpenError::OtherKey));

    let other_draft = DraftMessage { context_arn: other_queue, ..draft(b"", b"text") };
    assert!(matches!(sealing.seal(&other_draft, &mut Vec::new()), Err(SealError::OtherContext { .. })));
}

#[test]
fn parts_of_two_messages_under_one_key_do_not_mix() {
    let (sealing, opening) = kms_pair();
    let one = sealed(&sealing, &draft(b"one", b"body one"));
    let other = sealed(&sealing, &draft(b"two", b"body two"));
    let cut = SealedMessage::parse(&one).unwrap().aad().len();
    for mixed in [[&one[..cut], &other[cut..]].concat(), [&other[..cut], &one[cut..]].concat()] {
        let message = SealedMessage::parse(&mixed).unwrap();
        assert_eq!(opening.open(&message, &mut Vec::new()), Err(OpenError::TagMismatch));
    }
}

#[test]
fn a_plain_message_keeps_its_body_and_takes_no_key() {
    let (sealing, opening) = kms_pair();
    let mut plain = Vec::new();
    store_plain(&draft(b"clear", b"body"), &mut plain).unwrap();
    let message = SealedMessage::parse(&plain).unwrap();
    assert_eq!((message.mode(), message.context_arn(), message.wrapped_key()), (Mode::None, "", &b""[..]));
    assert_eq!(message.clear(), b"clear");
    let mut out = Vec::new();
    let opened = open_plain(&message, &mut out).unwrap();
    assert_eq!((&out[opened.body], opened.md5), (&b"body"[..], [0x5D; 16]));
    assert_eq!(opening.open(&message, &mut Vec::new()), Err(OpenError::NotSealed));

    let bytes = sealed(&sealing, &draft(b"", b"body"));
    assert_eq!(open_plain(&SealedMessage::parse(&bytes).unwrap(), &mut Vec::new()), Err(OpenError::Sealed));
}

#[test]
fn algorithm_mode_and_flags_must_agree() {
    let mut plain = Vec::new();
    store_plain(&draft(b"", b"body"), &mut plain).unwrap();
    for (at, value) in [(5, 1), (5, 2), (6, 1), (6, 2), (6, 3), (7, 1), (7, 2), (7, 0x80)] {
        let mut changed = plain.clone();
        changed[at] = value;
        assert!(
            matches!(SealedMessage::parse(&changed), Err(ParseError::Algorithm { .. })),
            "{value} at {at}"
        );
    }
    for at in [32, 47, 62, 63, 64, 75] {
        let mut changed = plain.clone();
        changed[at] = 1;
        assert!(matches!(SealedMessage::parse(&changed), Err(ParseError::NotZero { .. })), "byte {at}");
    }
    plain[4] = 2;
    assert_eq!(SealedMessage::parse(&plain).unwrap_err(), ParseError::Version { found: 2 });
}

#[test]
fn the_greatest_body_fits_and_one_byte_more_does_not() {
    let (sealing, opening) = kms_pair();
    let body = vec![0x42; PLAINTEXT_BYTES_MAX + 1];
    let bytes = sealed(&sealing, &draft(b"", &body[1..]));
    let mut out = Vec::new();
    opening.open(&SealedMessage::parse(&bytes).unwrap(), &mut out).unwrap();
    assert!(out == body[1..]);

    let mut out = b"kept".to_vec();
    let too_long =
        SealError::TooLong { part: "body", len: PLAINTEXT_BYTES_MAX + 1, max: PLAINTEXT_BYTES_MAX };
    assert_eq!(sealing.seal(&draft(b"", &body), &mut out), Err(too_long.clone()));
    assert_eq!(store_plain(&draft(b"", &body), &mut out), Err(too_long));
    let clear = vec![0; CLEAR_BYTES_MAX + 1];
    assert!(sealing.seal(&draft(&clear, b""), &mut out).is_err());
    assert!(store_plain(&draft(&clear[1..], b""), &mut Vec::new()).is_ok());
    assert_eq!(out, b"kept");
}

#[test]
fn a_data_key_seals_its_last_message_and_then_no_more() {
    let (sealing, opening) = kms_pair();
    let sealing = sealing.nearly_spent_copy(SEALS_PER_KEY_MAX - 1);
    assert!(!sealing.retired());
    let bytes = sealed(&sealing, &draft(b"", b"last"));
    assert!(sealing.retired());
    let mut out = Vec::new();
    assert_eq!(sealing.seal(&draft(b"", b"one more"), &mut out), Err(SealError::KeyRetired));
    assert!(out.is_empty());
    assert!(opening.open(&SealedMessage::parse(&bytes).unwrap(), &mut out).is_ok());
}

#[test]
fn debug_of_a_message_shows_no_body() {
    let mut plain = Vec::new();
    store_plain(&draft(b"clear", b"SECRET"), &mut plain).unwrap();
    let shown = format!("{:?}", SealedMessage::parse(&plain).unwrap());
    assert!(!shown.contains("SECRET") && !shown.contains("83, 69"), "{shown}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = SealedMessage::parse(&bytes);
    }

    #[test]
    fn no_header_makes_the_parser_panic(
        algorithm in 0_u8..3, mode in 0_u8..4, flags in 0_u8..3,
        lens in (any::<u32>(), any::<u16>(), any::<u16>(), any::<u16>(), any::<u32>()),
        small in any::<bool>(),
        rest in vec(any::<u8>(), 0..400),
    ) {
        let mask = if small { 0x3F } else { u32::MAX };
        let mut bytes = [&b"SQMB\x01"[..], &[algorithm, mode, flags], &[0; 72], &rest].concat();
        bytes[8..12].copy_from_slice(&(lens.0 & mask).to_le_bytes());
        bytes[12..14].copy_from_slice(&(lens.1 & mask as u16).to_le_bytes());
        bytes[14..16].copy_from_slice(&(lens.2 & mask as u16).to_le_bytes());
        bytes[60..62].copy_from_slice(&(lens.3 & mask as u16).to_le_bytes());
        bytes[76..80].copy_from_slice(&(lens.4 & mask).to_le_bytes());
        if let Ok(message) = SealedMessage::parse(&bytes) {
            prop_assert_eq!(message.aad().len() + message.ciphertext().len(), bytes.len());
            let _ = open_plain(&message, &mut Vec::new());
        }
    }

    #[test]
    fn every_message_opens_to_itself(
        clear in vec(any::<u8>(), 0..64), body in vec(any::<u8>(), 0..512), md5 in any::<[u8; 16]>(),
        managed in any::<bool>(),
    ) {
        let (sealing, opening) = if managed {
            key_pair(Mode::Managed, "", QUEUE, b"w")
        } else {
            kms_pair()
        };
        let draft = DraftMessage { body_md5: md5, ..draft(&clear, &body) };
        let bytes = sealed(&sealing, &draft);
        let message = SealedMessage::parse(&bytes).unwrap();
        let mut out = Vec::new();
        let opened = opening.open(&message, &mut out).unwrap();
        prop_assert_eq!(&out[opened.body], &body[..]);
        prop_assert_eq!(opened.md5, md5);
        prop_assert_eq!(message.clear(), &clear[..]);
    }
}
