//! The clear section of a stored message: everything besides the body that the sender fixed.
//!
//! It is covered by the seal but readable without a key. Layout, integers little-endian: version (1 byte), presence
//! bits (1), sender id, then trace header, group id, deduplication id where their bit is set (each a u16 length and
//! UTF-8), attribute count (1), attributes (name and data type with u16 lengths, kind byte 1 text or 2 binary, value
//! with a u32 length). Nothing may follow.

use thiserror::Error;

use super::message_attribute::{ATTRIBUTES_MAX, AttributeValue, MessageAttribute};

/// First byte of what this version writes.
pub const VERSION: u8 = 1;

const HAS_TRACE_HEADER: u8 = 1;
const HAS_GROUP_ID: u8 = 2;
const HAS_DEDUPLICATION_ID: u8 = 4;
const KIND_TEXT: u8 = 1;
const KIND_BINARY: u8 = 2;

/// What is kept of a message besides its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClearSection<'a> {
    /// SenderId.
    pub sender_id: &'a str,
    /// AWSTraceHeader.
    pub trace_header: Option<&'a str>,
    /// MessageGroupId.
    pub group_id: Option<&'a str>,
    /// Explicit MessageDeduplicationId (one taken from the content is computed again from the body).
    pub deduplication_id: Option<&'a str>,
    /// User attributes in the order sent.
    pub attributes: Vec<MessageAttribute<'a>>,
}

/// The bytes are not a clear section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ClearSectionError {
    /// Written by a later version.
    #[error("clear section has version {found}, this version reads {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Cut short, not UTF-8, an unknown kind or bit, or bytes left over.
    #[error("clear section is malformed at byte {at}")]
    Malformed {
        /// Where reading stopped.
        at: usize,
    },
    /// Something is longer than its length field can say.
    #[error("clear section field of {bytes} bytes is too long")]
    TooLong {
        /// Length of the field.
        bytes: usize,
    },
}

impl<'a> ClearSection<'a> {
    /// Appends the encoded form. Fails only for fields that no checked message has.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClearSectionError> {
        let optional = [
            (HAS_TRACE_HEADER, self.trace_header),
            (HAS_GROUP_ID, self.group_id),
            (HAS_DEDUPLICATION_ID, self.deduplication_id),
        ];
        let present =
            optional.iter().filter(|(_, field)| field.is_some()).fold(0, |bits, (bit, _)| bits | bit);
        out.extend_from_slice(&[VERSION, present]);
        push_short(self.sender_id, out)?;
        for field in optional.iter().filter_map(|(_, field)| *field) {
            push_short(field, out)?;
        }
        let count = self.attributes.len();
        out.push(u8::try_from(count).map_err(|_| ClearSectionError::TooLong { bytes: count })?);
        for attribute in &self.attributes {
            push_short(attribute.name, out)?;
            push_short(attribute.data_type, out)?;
            let (kind, value) = match attribute.value {
                AttributeValue::Text(text) => (KIND_TEXT, text.as_bytes()),
                AttributeValue::Binary(bytes) => (KIND_BINARY, bytes),
            };
            out.push(kind);
            let length =
                u32::try_from(value.len()).map_err(|_| ClearSectionError::TooLong { bytes: value.len() })?;
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(value);
        }
        Ok(())
    }

    /// Reads the encoded form.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ClearSectionError> {
        let mut cursor = Cursor { bytes, at: 0 };
        let version = cursor.byte()?;
        if version != VERSION {
            return Err(ClearSectionError::Version { found: version });
        }
        let present = cursor.byte()?;
        if present & !(HAS_TRACE_HEADER | HAS_GROUP_ID | HAS_DEDUPLICATION_ID) != 0 {
            return Err(cursor.malformed());
        }
        let sender_id = cursor.short_text()?;
        let mut optional =
            |bit: u8| if present & bit != 0 { cursor.short_text().map(Some) } else { Ok(None) };
        let trace_header = optional(HAS_TRACE_HEADER)?;
        let group_id = optional(HAS_GROUP_ID)?;
        let deduplication_id = optional(HAS_DEDUPLICATION_ID)?;
        let count = usize::from(cursor.byte()?);
        if count > ATTRIBUTES_MAX {
            return Err(cursor.malformed());
        }
        let mut attributes = Vec::with_capacity(count);
        for _ in 0..count {
            attributes.push(cursor.attribute()?);
        }
        if cursor.at != bytes.len() {
            return Err(cursor.malformed());
        }
        Ok(Self { sender_id, trace_header, group_id, deduplication_id, attributes })
    }
}

fn push_short(text: &str, out: &mut Vec<u8>) -> Result<(), ClearSectionError> {
    let length = u16::try_from(text.len()).map_err(|_| ClearSectionError::TooLong { bytes: text.len() })?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn malformed(&self) -> ClearSectionError {
        ClearSectionError::Malformed { at: self.at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ClearSectionError> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let taken = rest.get(..count).ok_or(self.malformed())?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ClearSectionError> {
        let malformed = self.malformed();
        self.take(N)?.try_into().map_err(|_| malformed)
    }

    fn byte(&mut self) -> Result<u8, ClearSectionError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn text(&mut self, count: usize) -> Result<&'a str, ClearSectionError> {
        let malformed = self.malformed();
        std::str::from_utf8(self.take(count)?).map_err(|_| malformed)
    }

    fn short_text(&mut self) -> Result<&'a str, ClearSectionError> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        self.text(length)
    }

    fn attribute(&mut self) -> Result<MessageAttribute<'a>, ClearSectionError> {
        let name = self.short_text()?;
        let data_type = self.short_text()?;
        let kind = self.byte()?;
        let length = u32::from_le_bytes(self.array()?) as usize;
        let value = match kind {
            KIND_TEXT => AttributeValue::Text(self.text(length)?),
            KIND_BINARY => AttributeValue::Binary(self.take(length)?),
            _ => return Err(self.malformed()),
        };
        Ok(MessageAttribute { name, data_type, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full() -> ClearSection<'static> {
        ClearSection {
            sender_id: "AIDA",
            trace_header: Some("Root=1"),
            group_id: Some("g"),
            deduplication_id: Some("d"),
            attributes: vec![
                MessageAttribute { name: "n", data_type: "Number", value: AttributeValue::Text("1") },
                MessageAttribute { name: "b", data_type: "Binary", value: AttributeValue::Binary(&[0, 255]) },
            ],
        }
    }

    fn encoded(section: &ClearSection<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        section.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for section in [full(), ClearSection::default()] {
            assert_eq!(ClearSection::decode(&encoded(&section)), Ok(section));
        }
    }

    #[test]
    fn every_cut_and_every_surplus_byte_is_an_error() {
        let bytes = encoded(&full());
        for cut in 0..bytes.len() {
            assert!(ClearSection::decode(&bytes[..cut]).is_err(), "{cut}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(ClearSection::decode(&longer), Err(ClearSectionError::Malformed { at: bytes.len() }));
    }

    #[test]
    fn other_versions_and_unknown_bits_are_refused() {
        let mut bytes = encoded(&full());
        bytes[0] = 2;
        assert_eq!(ClearSection::decode(&bytes), Err(ClearSectionError::Version { found: 2 }));
        bytes[0] = 1;
        bytes[1] |= 8;
        assert!(ClearSection::decode(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let bytes = [[VERSION].as_slice(), &tail].concat();
            if let Ok(section) = ClearSection::decode(&bytes) {
                prop_assert_eq!(encoded(&section), bytes);
            }
        }
    }
}
