//! XML text as replies need it.

/// Appends `text` escaped for element content and attribute values.
///
/// CR becomes `&#xD;`, because a parser turns a bare one into LF. Characters that XML 1.0 cannot carry become U+FFFD:
/// bodies never hold them (they are refused at send), error texts that quote a client may.
pub fn push_xml_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let (replacement, skip): (&[u8], usize) = match byte {
            b'&' => (b"&amp;", 1),
            b'<' => (b"&lt;", 1),
            b'>' => (b"&gt;", 1),
            b'"' => (b"&quot;", 1),
            b'\r' => (b"&#xD;", 1),
            b'\t' | b'\n' => continue,
            0..=0x1F => ("\u{FFFD}".as_bytes(), 1),
            0xEF if matches!(bytes.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF])) => {
                ("\u{FFFD}".as_bytes(), 3)
            }
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain_from..at]);
        out.extend_from_slice(replacement);
        plain_from = at + skip;
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

/// Appends `<name>text</name>`.
pub fn push_xml_element(name: &str, text: &str, out: &mut Vec<u8>) {
    open_xml(name, out);
    push_xml_text(text, out);
    close_xml(name, out);
}

/// Appends `<name>`.
pub fn open_xml(name: &str, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

/// Appends `</name>`.
pub fn close_xml(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"</");
    out.extend_from_slice(name.as_bytes());
    out.push(b'>');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_and_carriage_returns_are_escaped() {
        let mut out = Vec::new();
        push_xml_element("B", "a&b<c>\"d\"\r\n\té\u{1}\u{FFFF}z", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "<B>a&amp;b&lt;c&gt;&quot;d&quot;&#xD;\n\té\u{FFFD}\u{FFFD}z</B>"
        );
    }
}
