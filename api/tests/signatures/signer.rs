//! A signer by the book (auth contract, section 2.3; "Create a signed AWS API request" of the IAM User Guide), as simple
//! as it can be written. Owes nothing to the verifying side.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::exchange::Exchange;

pub(crate) const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const DATE: &str = "20260102";
pub(crate) const TIME: &str = "20260102T030405Z";
pub(crate) const NOW_MS: u64 = 1_767_323_045_000;
const SCOPE: &str = "20260102/us-east-2/sqs/aws4_request";

/// A request as it goes out.
#[derive(Debug, Clone)]
pub(crate) struct SignedRequest {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn sign(exchange: &Exchange) -> SignedRequest {
    let mut headers = exchange.headers.clone();
    let mut query = exchange.query.clone();
    let signed_names = |headers: &[(&'static str, String)]| {
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        names.join(";")
    };
    if exchange.presigned {
        for (name, value) in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("{ACCESS_KEY_ID}/{SCOPE}")),
            ("X-Amz-Date", TIME.to_owned()),
            ("X-Amz-Expires", "900".to_owned()),
            ("X-Amz-SignedHeaders", signed_names(&headers)),
        ] {
            query.push((name.to_owned(), value));
        }
        query.extend(exchange.token.iter().map(|token| ("X-Amz-Security-Token".to_owned(), token.clone())));
    } else {
        headers.push(("x-amz-date", TIME.to_owned()));
        headers.extend(exchange.token.iter().map(|token| ("x-amz-security-token", token.clone())));
    }
    let names = signed_names(&headers);
    let canonical = [
        exchange.method.to_owned(),
        canonical_path(&exchange.path),
        canonical_query(&query),
        canonical_headers(&headers, &names),
        names.clone(),
        hex(&Sha256::digest(&exchange.body)),
    ]
    .join("\n");
    let text = format!("AWS4-HMAC-SHA256\n{TIME}\n{SCOPE}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
    let key = SCOPE.split('/').fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &text));
    if exchange.presigned {
        query.push(("X-Amz-Signature".to_owned(), signature));
    } else {
        headers.push((
            "authorization",
            format!(
                "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{SCOPE}, SignedHeaders={names}, Signature={signature}"
            ),
        ));
    }
    let mut map = HeaderMap::new();
    for (name, value) in &headers {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_bytes(value.as_bytes()).expect("a header"),
        );
    }
    let sent = |text: &str| match exchange.plus {
        true => encode(text).replace("%20", "+"),
        false => encode(text),
    };
    let pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", sent(name), sent(value))).collect();
    SignedRequest {
        method: exchange.method,
        path: exchange.path.clone(),
        query: pairs.join("&"),
        headers: map,
        body: exchange.body.clone(),
    }
}

/// RFC 3986 without its dot-segment corner cases: segments are taken away one at a time.
fn canonical_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        if segment == ".." {
            kept.pop();
        } else if !segment.is_empty() && segment != "." {
            kept.push(segment);
        }
    }
    let mut out: String = kept.iter().map(|segment| format!("/{}", encode(segment))).collect();
    if out.is_empty() || path.ends_with('/') {
        out.push('/');
    }
    out
}

fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<(String, String)> =
        query.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn canonical_headers(headers: &[(&str, String)], names: &str) -> String {
    let mut out = String::new();
    for name in names.split(';') {
        let values: Vec<String> = headers
            .iter()
            .filter(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        out.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    out
}

fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
