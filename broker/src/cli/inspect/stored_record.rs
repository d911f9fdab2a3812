//! One stored message as it lies on disk, for people and as JSON.
//!
//! Holds what stands in the record and nothing that a key would give: of a sealed body only the ciphertext.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealq_crypto::{Mode, ParseError, SealedMessage};
use sealq_storage::MessageFacts;
use serde::Serialize;
use uuid::Uuid;

use crate::extension::Extension;

/// A message that can be received, as far as its times say.
const AVAILABLE: &str = "available";
/// Received and not yet visible again.
const IN_FLIGHT: &str = "in_flight";
/// Sent with a delay that has not passed.
const DELAYED: &str = "delayed";

/// Where a record lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// ARN of the queue; empty when the catalog knows none of that stream.
    pub(super) queue_arn: String,
    /// File name of the segment.
    pub(super) segment: String,
    /// Bytes from the segment's start to the record's frame.
    pub(super) offset: u64,
}

/// A record in the form that others rely on. Byte fields are base64; what a record does not have is `null`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct StoredRecord {
    /// The id under which consumers see it.
    pub(super) message_id: String,
    /// The id under which it was sealed; another one after a redrive.
    pub(super) envelope_id: String,
    queue_arn: String,
    state: &'static str,
    mode: &'static str,
    algorithm: &'static str,
    kms_key_arn: Option<String>,
    context_arn: Option<String>,
    wrapped_key: Option<String>,
    nonce: Option<String>,
    aad: String,
    ciphertext: String,
    segment: String,
    offset: u64,
}

impl StoredRecord {
    /// Reads a record's bytes.
    pub(super) fn new(
        place: Place,
        facts: &MessageFacts,
        extension: &Extension,
        body: &[u8],
        now_ms: u64,
    ) -> Result<Self, ParseError> {
        let sealed = SealedMessage::parse(body)?;
        let envelope_id = Uuid::from_bytes(*sealed.message_id()).to_string();
        let is_sealed = sealed.mode() != Mode::None;
        let named = |arn: &str| (!arn.is_empty()).then(|| arn.to_owned());
        let bytes = |bytes: &[u8]| STANDARD.encode(bytes);
        // A plain record's body is followed by its MD5, which no reader of the body wants.
        let ciphertext = sealed.ciphertext();
        let ciphertext = if is_sealed { ciphertext } else { &ciphertext[..sealed.plaintext_len()] };
        Ok(Self {
            message_id: extension
                .message_id
                .map_or_else(|| envelope_id.clone(), |id| Uuid::from_bytes(id).to_string()),
            envelope_id,
            queue_arn: place.queue_arn,
            state: state(facts, now_ms),
            mode: match sealed.mode() {
                Mode::None => "none",
                Mode::Managed => "managed",
                Mode::Kms => "kms",
            },
            algorithm: if is_sealed { "AES-256-GCM" } else { "none" },
            kms_key_arn: named(sealed.key_arn()),
            context_arn: named(sealed.context_arn()),
            wrapped_key: is_sealed.then(|| bytes(sealed.wrapped_key())),
            nonce: is_sealed.then(|| bytes(sealed.nonce().as_bytes())),
            aad: bytes(sealed.aad()),
            ciphertext: bytes(ciphertext),
            segment: place.segment,
            offset: place.offset,
        })
    }

    /// One JSON object on one line.
    pub(super) fn json(&self) -> String {
        // Text and numbers only: there is nothing in it that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A paragraph for people: lengths in place of bytes.
    pub(super) fn paragraph(&self) -> String {
        let length = |field: &str| STANDARD.decode(field).map_or(0, |bytes| bytes.len());
        let mut text = format!("{}  {}  {}\n", self.message_id, self.state, self.queue_arn);
        let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<12}{value}\n"));
        if self.envelope_id != self.message_id {
            line("sealed as", &self.envelope_id);
        }
        line("mode", &format!("{}, {}", self.mode, self.algorithm));
        for (name, value) in [("key", &self.kms_key_arn), ("context", &self.context_arn)] {
            if let Some(value) = value {
                line(name, value);
            }
        }
        if let Some(wrapped_key) = &self.wrapped_key {
            line("wrapped key", &format!("{} bytes", length(wrapped_key)));
        }
        line("ciphertext", &format!("{} bytes", length(&self.ciphertext)));
        line("lies in", &format!("{} at {}", self.segment, self.offset));
        text
    }
}

fn state(facts: &MessageFacts, now_ms: u64) -> &'static str {
    match (facts.visible_at_ms > now_ms, facts.receive_count > 0) {
        (false, _) => AVAILABLE,
        (true, true) => IN_FLIGHT,
        (true, false) => DELAYED,
    }
}

#[cfg(test)]
mod tests {
    use sealq_crypto::data_key::KeyBytes;
    use sealq_crypto::{DraftMessage, ManagedKeys, ServiceKey, store_plain};

    use super::*;

    const CONTEXT: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn facts(visible_at_ms: u64, receive_count: u32) -> MessageFacts {
        MessageFacts {
            sequence: 1,
            sent_at_ms: 5,
            visible_at_ms,
            group_hash: 0,
            receive_count,
            first_received_at_ms: 0,
            body_len: 0,
            moved: false,
        }
    }

    fn draft(body: &[u8]) -> DraftMessage<'_> {
        DraftMessage {
            message_id: [1; 16],
            sent_at_ms: 5,
            origin_stream: 1,
            context_arn: CONTEXT,
            clear: b"clear",
            body,
            body_md5: [9; 16],
        }
    }

    fn record(body: &[u8], extension: &Extension) -> serde_json::Value {
        let place = Place { queue_arn: CONTEXT.to_owned(), segment: "1.seg".to_owned(), offset: 4096 };
        let record = StoredRecord::new(place, &facts(0, 0), extension, body, 10).unwrap();
        serde_json::from_str(&record.json()).unwrap()
    }

    #[test]
    fn a_plain_record_shows_its_body_without_the_digest() {
        let mut stored = Vec::new();
        store_plain(&draft(b"hello"), &mut stored).unwrap();
        let record = record(&stored, &Extension::default());
        assert_eq!(record["mode"], "none");
        assert_eq!(record["ciphertext"], STANDARD.encode("hello"));
        assert!(record["wrapped_key"].is_null() && record["kms_key_arn"].is_null());
        assert_eq!((&record["segment"], &record["offset"]), (&"1.seg".into(), &4096.into()));
    }

    #[test]
    fn a_sealed_record_shows_ciphertext_with_its_tag_and_never_the_body() {
        let keys = ManagedKeys::new(ServiceKey::new(1, &KeyBytes::take(&mut [3; 32])), []);
        let mut stored = Vec::new();
        keys.sealing_key(0, 1, CONTEXT).unwrap().seal(&draft(b"secret body"), &mut stored).unwrap();
        let extension = Extension { message_id: Some([2; 16]), ..Extension::default() };
        let record = record(&stored, &extension);
        assert_eq!(record["mode"], "managed");
        assert_eq!(record["algorithm"], "AES-256-GCM");
        assert_eq!(record["context_arn"], CONTEXT);
        let bytes = |name: &str| STANDARD.decode(record[name].as_str().unwrap()).unwrap();
        assert_eq!(bytes("ciphertext").len(), b"secret body".len() + 16 + 16);
        assert_eq!(bytes("nonce").len(), 12);
        assert_eq!([bytes("aad"), bytes("ciphertext")].concat(), stored);
        assert_eq!(record["message_id"], Uuid::from_bytes([2; 16]).to_string());
        assert_eq!(record["envelope_id"], Uuid::from_bytes([1; 16]).to_string());
        assert!(!record.to_string().contains("secret body"));
    }

    #[test]
    fn the_state_follows_from_times_and_receives() {
        assert_eq!(state(&facts(10, 0), 10), "available");
        assert_eq!(state(&facts(10, 3), 10), "available");
        assert_eq!(state(&facts(11, 1), 10), "in_flight");
        assert_eq!(state(&facts(11, 0), 10), "delayed");
    }
}
