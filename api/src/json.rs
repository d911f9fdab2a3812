//! JSON as the wire needs it: a pull reader that borrows unescaped strings, and string escaping.
//!
//! No tree is built in either direction. Type errors carry the service's own texts (SQS API contract, 1.4).

mod reader;
pub use reader::{JsonError, JsonReader};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes examined at once; the loop over them compiles to vector instructions.
const LANE_BYTES: usize = 32;

/// Offset of the first byte that a JSON string may not carry as it is (`"`, `\`, control), or the length.
pub(crate) fn plain_prefix(bytes: &[u8]) -> usize {
    let special = |b: u8| (b == b'"') | (b == b'\\') | (b < 0x20);
    let mut at = 0;
    while let Some(lane) = bytes.get(at..at + LANE_BYTES) {
        if lane.iter().fold(false, |found, &b| found | special(b)) {
            break;
        }
        at += LANE_BYTES;
    }
    bytes[at..].iter().position(|&b| special(b)).map_or(bytes.len(), |found| at + found)
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_json_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_prefix(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(&byte) = rest.get(plain) else { break };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            push_json_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            let mut reader = JsonReader::new(&out).unwrap();
            prop_assert_eq!(reader.string().unwrap().unwrap(), text);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn plain_prefix_finds_the_first_special_byte(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let slow = bytes.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\').unwrap_or(bytes.len());
            prop_assert_eq!(plain_prefix(&bytes), slow);
        }
    }
}
