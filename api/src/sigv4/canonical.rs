//! The canonical request: what both sides hash.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::{ALGORITHM, RequestParts, SigV4Failure, SignedTime, TERMINATOR};

/// RFC 3986 unreserved characters stay.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A canonical request of an SDK with a session token fits; longer ones grow.
const CANONICAL_BYTES_USUAL: usize = 2_048;

type QueryText<'a> = Cow<'a, [u8]>;

/// The query string, decoded.
pub(super) struct QueryPairs<'a> {
    pairs: Vec<(QueryText<'a>, QueryText<'a>)>,
}

impl<'a> QueryPairs<'a> {
    pub(super) fn parse(query: &'a str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self { pairs: pairs.collect() }
    }

    /// True if a parameter of the signature stands there twice: which one counts must not be a matter of taste.
    pub(super) fn repeats_amz(&self) -> bool {
        let amz = |name: &[u8]| name.get(..6).is_some_and(|head| head.eq_ignore_ascii_case(b"X-Amz-"));
        let mut names: Vec<&[u8]> =
            self.pairs.iter().map(|(name, _)| name.as_ref()).filter(|n| amz(n)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(n, _)| n.as_ref() == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    fn canonical(&self, out: &mut String, without_signature: bool) {
        let mut encoded: Vec<(String, String)> = self
            .pairs
            .iter()
            .filter(|(name, _)| !(without_signature && name.as_ref() == b"X-Amz-Signature"))
            .map(|(name, value)| (encode(name), encode(value)))
            .collect();
        encoded.sort_unstable();
        for (at, (name, value)) in encoded.iter().enumerate() {
            if at > 0 {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        }
    }
}

/// A plus sign means a blank, as form encoders write it.
fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        Cow::Owned(percent_decode(text.replace('+', " ").as_bytes()).collect())
    } else {
        percent_decode(text.as_bytes()).into()
    }
}

fn encode(bytes: &[u8]) -> String {
    percent_encoding::percent_encode(bytes, ENCODED).to_string()
}

/// Appends 64 lower-case digits.
pub(super) fn push_hex(hash: &[u8; 32], out: &mut String) {
    let mut digits = [0; 64];
    // The lengths fit, and hex digits are ASCII: neither can fail.
    if hex::encode_to_slice(hash, &mut digits).is_ok() {
        out.push_str(std::str::from_utf8(&digits).unwrap_or(""));
    }
}

/// SHA-256 of the canonical request.
pub(super) fn request_hash(
    parts: &RequestParts<'_>,
    signed_headers: &str,
    presigned: bool,
    payload_hash: &[u8; 32],
) -> Result<[u8; 32], SigV4Failure> {
    let mut text = String::with_capacity(CANONICAL_BYTES_USUAL);
    text.push_str(parts.method);
    text.push('\n');
    push_path(parts.path, &mut text);
    text.push('\n');
    if !parts.query.is_empty() {
        QueryPairs::parse(parts.query).canonical(&mut text, presigned);
    }
    text.push('\n');
    for name in signed_headers.split(';') {
        text.push_str(name);
        text.push(':');
        canonical_values(parts, name, &mut text)?;
        text.push('\n');
    }
    text.push('\n');
    text.push_str(signed_headers);
    text.push('\n');
    push_hex(payload_hash, &mut text);
    Ok(Sha256::digest(text.as_bytes()).into())
}

/// What the signing key signs. `date`: `yyyymmdd` of the scope.
pub(super) fn push_string_to_sign(
    time: &SignedTime,
    date: &str,
    region: &str,
    service: &str,
    request_hash: &[u8; 32],
    out: &mut String,
) {
    for part in [ALGORITHM, "\n", time.basic(), "\n", date, "/", region, "/", service, "/", TERMINATOR, "\n"]
    {
        out.push_str(part);
    }
    push_hex(request_hash, out);
}

/// Dot segments and double slashes removed, each segment encoded again as it was received.
pub(super) fn push_path(path: &str, out: &mut String) {
    if path.is_empty() || path == "/" {
        out.push('/');
        return;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    for segment in &segments {
        out.push('/');
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", utf8_percent_encode(segment, ENCODED));
    }
    if segments.is_empty() || path.ends_with('/') {
        out.push('/');
    }
}

/// Trimmed, inner runs of blanks collapsed, repeated headers joined.
fn canonical_values(parts: &RequestParts<'_>, name: &str, out: &mut String) -> Result<(), SigV4Failure> {
    let mut any = false;
    for value in parts.headers.get_all(name) {
        let value = std::str::from_utf8(value.as_bytes())
            .map_err(|_| SigV4Failure::mismatch(super::failure::MISMATCH))?;
        if any {
            out.push(',');
        }
        for (at, word) in value.split([' ', '\t']).filter(|word| !word.is_empty()).enumerate() {
            if at > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
        any = true;
    }
    if !any
        && let Some(authority) = parts.authority
        && (name == "host" || name == ":authority")
    {
        out.push_str(authority);
        any = true;
    }
    if any {
        Ok(())
    } else {
        Err(SigV4Failure::mismatch(format!("The signed header '{name}' is not in the request.")))
    }
}
