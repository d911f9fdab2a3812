//! The frame extension: what may change about a message when it moves between queues.
//!
//! The sealed body never changes; its own id and times stay what they were sealed with. A move writes the new facts
//! here. Fields are `tag: u8, length: u16 little-endian, bytes`; an unknown tag is skipped, so that an older reader
//! survives a newer writer.

use thiserror::Error;

const TAG_DEDUP_KEY: u8 = 1;
const TAG_DEAD_LETTER_SOURCE: u8 = 2;
const TAG_MESSAGE_ID: u8 = 3;
const TAG_SENT_AT: u8 = 4;
const TAG_DEDUP_ID: u8 = 5;

/// Facts of a stored message that are not sealed with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extension {
    /// Keyed hash of the deduplication id, so that the window survives a restart.
    pub dedup_key: Option<[u8; 16]>,
    /// ARN of the queue that an automatic move took it from.
    pub dead_letter_source: Option<String>,
    /// Message id given by a redrive task.
    pub message_id: Option<[u8; 16]>,
    /// Enqueue time given by a redrive task, milliseconds.
    pub sent_at_ms: Option<u64>,
    /// Deduplication id given by a FIFO move.
    pub dedup_id: Option<String>,
}

/// The bytes are not an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("frame extension is malformed at byte {at}")]
pub struct ExtensionError {
    /// Where reading stopped.
    pub at: usize,
}

impl Extension {
    /// Appends the encoded form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut field = |tag: u8, bytes: &[u8]| {
            debug_assert!(bytes.len() <= usize::from(u16::MAX), "fields are short by construction");
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        if let Some(key) = &self.dedup_key {
            field(TAG_DEDUP_KEY, key);
        }
        if let Some(arn) = &self.dead_letter_source {
            field(TAG_DEAD_LETTER_SOURCE, arn.as_bytes());
        }
        if let Some(id) = &self.message_id {
            field(TAG_MESSAGE_ID, id);
        }
        if let Some(sent_at_ms) = self.sent_at_ms {
            field(TAG_SENT_AT, &sent_at_ms.to_le_bytes());
        }
        if let Some(id) = &self.dedup_id {
            field(TAG_DEDUP_ID, id.as_bytes());
        }
    }

    /// Reads the encoded form.
    pub fn decode(bytes: &[u8]) -> Result<Self, ExtensionError> {
        let mut extension = Self::default();
        let mut at = 0;
        while at < bytes.len() {
            let malformed = ExtensionError { at };
            let head: &[u8; 3] = bytes.get(at..at + 3).and_then(|h| h.try_into().ok()).ok_or(malformed)?;
            let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
            let field = bytes.get(at + 3..at + 3 + length).ok_or(malformed)?;
            let text = || String::from_utf8(field.to_vec()).map_err(|_| malformed);
            match head[0] {
                TAG_DEDUP_KEY => extension.dedup_key = Some(field.try_into().map_err(|_| malformed)?),
                TAG_DEAD_LETTER_SOURCE => extension.dead_letter_source = Some(text()?),
                TAG_MESSAGE_ID => extension.message_id = Some(field.try_into().map_err(|_| malformed)?),
                TAG_SENT_AT => {
                    extension.sent_at_ms = Some(u64::from_le_bytes(field.try_into().map_err(|_| malformed)?));
                }
                TAG_DEDUP_ID => extension.dedup_id = Some(text()?),
                _ => {}
            }
            at += 3 + length;
        }
        Ok(extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_a_cut_is_an_error() {
        let extension = Extension {
            dedup_key: Some([3; 16]),
            dead_letter_source: Some("arn:aws:sqs:us-east-1:000000000000:q".into()),
            message_id: Some([9; 16]),
            sent_at_ms: Some(77),
            dedup_id: Some("d".into()),
        };
        let mut bytes = Vec::new();
        extension.encode(&mut bytes);
        assert_eq!(Extension::decode(&bytes), Ok(extension));
        for cut in [1, 2, bytes.len() - 1] {
            assert!(Extension::decode(&bytes[..cut]).is_err());
        }
        assert_eq!(Extension::decode(&[]), Ok(Extension::default()));
    }
}
