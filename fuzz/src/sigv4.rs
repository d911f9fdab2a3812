//! `METHOD, path, query, header: value …`, one a line: no such text is a valid signature under a secret it was not
//! made with.

use http::{HeaderMap, HeaderName, HeaderValue};
use sealq_api::sigv4::{Presented, RequestParts, ScopeRules, SigningKey};

const SECRET: &str = "a secret that no corpus holds";

/// One input.
pub fn sigv4(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (method, path, query) = (next(), next(), next());
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.append(name, value);
        }
    }
    let parts = RequestParts { method, path, query, headers: &headers, authority: None };
    let Ok(Presented::Signed(signed)) = Presented::from_request(&parts) else { return };
    let _ = signed.check_scope(&ScopeRules { region: &|region| region == "us-east-1", service: "sqs" });
    let _ = signed.check_time(1_767_323_045_000, 900);
    let key = SigningKey::derive(SECRET, &signed.date, &signed.region, &signed.service);
    assert!(signed.verify(&key, &parts, b"body").is_err(), "a forged signature was accepted");
}
