//! The digests that clients check (SQS API contract, 5.2) and the content hash of deduplication.

use md5::{Digest, Md5};
use sha2::Sha256;

use crate::sqs::message_attribute::{AttributeValue, MessageAttribute};

/// MD5 of a message body.
pub fn body_md5(body: &str) -> [u8; 16] {
    Md5::digest(body.as_bytes()).into()
}

/// MD5 over message attributes in any order; `None` without any.
pub fn attributes_md5(attributes: &[MessageAttribute<'_>]) -> Option<[u8; 16]> {
    if attributes.is_empty() {
        return None;
    }
    let mut sorted: Vec<&MessageAttribute<'_>> = attributes.iter().collect();
    sorted.sort_unstable_by_key(|attribute| attribute.name.as_bytes());
    let mut md5 = Md5::new();
    for attribute in sorted {
        let (transport_type, value) = match attribute.value {
            AttributeValue::Text(text) => (1u8, text.as_bytes()),
            AttributeValue::Binary(bytes) => (2, bytes),
        };
        for field in [attribute.name.as_bytes(), attribute.data_type.as_bytes()] {
            md5.update((field.len() as u32).to_be_bytes());
            md5.update(field);
        }
        md5.update([transport_type]);
        md5.update((value.len() as u32).to_be_bytes());
        md5.update(value);
    }
    Some(md5.finalize().into())
}

/// Lower-case hex SHA-256 of a body: the deduplication id of content-based deduplication.
pub fn content_deduplication_id(body: &str) -> String {
    hex::encode(Sha256::digest(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<'a>(name: &'a str, data_type: &'a str, value: &'a str) -> MessageAttribute<'a> {
        MessageAttribute { name, data_type, value: AttributeValue::Text(value) }
    }

    fn hex_of(attributes: &[MessageAttribute<'_>]) -> String {
        hex::encode(attributes_md5(attributes).unwrap())
    }

    #[test]
    fn body_digests_match_the_vectors() {
        assert_eq!(hex::encode(body_md5("message")), "78e731027d8fd50ed642340b7c9a63b3");
        assert_eq!(
            content_deduplication_id("message"),
            "ab530a13e45914982b79f9b7e3fba994cfd1f3fb22f71cea1afbf02b460c6d1d"
        );
    }

    #[test]
    fn attribute_digests_match_the_vectors() {
        assert_eq!(attributes_md5(&[]), None);
        assert_eq!(hex_of(&[text("k", "String", "x")]), "a45daa70926828a2f0a1db3418e6feb4");
        assert_eq!(
            hex_of(&[text("timestamp", "Number", "1493147359900")]),
            "235c5c510d26fb653d073faed50ae77c"
        );
        assert_eq!(hex_of(&[text("MyAttribute", "String", "foobar")]), "adb59cd4678ea5a855436b949cd07ab6");
        let (help, hello, general) = (
            text("Help.Me", "String", "Me"),
            text("Hello", "String", "There"),
            text("General", "String", "Kenobi"),
        );
        assert_eq!(hex_of(&[help, hello, general]), "4c360f3fdafd970e05fae2f149d997f5");
        assert_eq!(hex_of(&[hello, general]), "fca026605781cb4126a1e9044df24232");
        assert_eq!(hex_of(&[hello]), "a311262e065454b75da111d535b8dacd");
        assert_eq!(hex_of(&[help, hello]), "83fee93c1bcd8b9a5a923ffacdc636c7");
        let binary =
            MessageAttribute { name: "a", data_type: "Binary", value: AttributeValue::Binary(&[0, 1]) };
        assert_eq!(
            hex_of(&[text("b", "String", "2"), binary, text("C", "Number.int", "42")]),
            "7bc7c8bd65cf98df5791b7c7bdf74e6e"
        );
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(hex_of(&[text("AWSTraceHeader", "String", trace)]), "5ae4d5d7636402d80f4eb6d213245a88");
    }
}
