//! SigV4 for the one request shape that the generator sends: a JSON 1.0 POST with a known body hash.
//!
//! The signing key is derived once a day and the timestamp formatted once a second, so that signing costs
//! two short hashes and one HMAC a request. The generator shares the machine with what it measures.

use std::time::{SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::credentials::Credentials;

type HmacSha256 = Hmac<Sha256>;

/// Signs requests of one access key for one region.
pub(crate) struct Signer {
    credentials: std::sync::Arc<Credentials>,
    region: String,
    host: String,
    second: u64,
    timestamp: String,
    signing_key: HmacSha256,
    canonical: Vec<u8>,
}

/// A body and what the signature needs of it, made once and sent many times.
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256_hex: String,
}

impl Payload {
    /// Hashes `bytes`.
    pub(crate) fn new(bytes: Vec<u8>) -> Payload {
        let sha256_hex = hex::encode(Sha256::digest(&bytes));
        Payload { bytes, sha256_hex }
    }
}

impl Signer {
    /// `host`: as it goes into the Host header, with the port.
    pub(crate) fn new(credentials: std::sync::Arc<Credentials>, region: &str, host: &str) -> Signer {
        Signer {
            credentials,
            region: region.to_owned(),
            host: host.to_owned(),
            second: u64::MAX,
            timestamp: String::new(),
            signing_key: keyed(b"unused until the first request"),
            canonical: Vec::with_capacity(512),
        }
    }

    /// Appends head and body of a signed `POST /` to `out`.
    pub(crate) fn write_request(&mut self, target: &str, payload: &Payload, out: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        self.write_request_at(now, target, payload, out);
    }

    fn write_request_at(&mut self, second: u64, target: &str, payload: &Payload, out: &mut Vec<u8>) {
        if second != self.second {
            self.turn_to(second);
        }
        let signature = self.signature(target, payload);
        let token = self.credentials.session_token.as_deref();
        let day = &self.timestamp[..8];
        push(out, &["POST / HTTP/1.1\r\nHost: ", &self.host]);
        push(out, &["\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Date: ", &self.timestamp]);
        if let Some(token) = token {
            push(out, &["\r\nX-Amz-Security-Token: ", token]);
        }
        push(out, &["\r\nX-Amz-Target: ", target]);
        push(out, &["\r\nAuthorization: AWS4-HMAC-SHA256 Credential=", &self.credentials.access_key_id]);
        push(out, &["/", day, "/", &self.region, "/sqs/aws4_request, SignedHeaders=", signed_names(token)]);
        push(out, &[", Signature=", &signature]);
        push(out, &["\r\nContent-Length: ", &payload.bytes.len().to_string(), "\r\n\r\n"]);
        out.extend_from_slice(&payload.bytes);
    }

    fn turn_to(&mut self, second: u64) {
        let time = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        let timestamp = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y%m%dT%H%M%SZ").to_string();
        if self.timestamp.get(..8) != timestamp.get(..8) {
            let secret = format!("AWS4{}", self.credentials.secret_access_key);
            let mut key = mac(&keyed(secret.as_bytes()), &timestamp.as_bytes()[..8]);
            for part in [self.region.as_str(), "sqs", "aws4_request"] {
                key = mac(&keyed(&key), part.as_bytes());
            }
            self.signing_key = keyed(&key);
        }
        self.timestamp = timestamp;
        self.second = second;
    }

    fn signature(&mut self, target: &str, payload: &Payload) -> String {
        let token = self.credentials.session_token.as_deref();
        let canonical = &mut self.canonical;
        canonical.clear();
        push(canonical, &["POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:", &self.host]);
        push(canonical, &["\nx-amz-date:", &self.timestamp]);
        if let Some(token) = token {
            push(canonical, &["\nx-amz-security-token:", token]);
        }
        push(canonical, &["\nx-amz-target:", target, "\n\n", signed_names(token), "\n", &payload.sha256_hex]);
        let hash = hex::encode(Sha256::digest(&canonical));
        canonical.clear();
        push(canonical, &["AWS4-HMAC-SHA256\n", &self.timestamp, "\n", &self.timestamp[..8], "/"]);
        push(canonical, &[&self.region, "/sqs/aws4_request\n", &hash]);
        hex::encode(mac(&self.signing_key, canonical))
    }
}

fn signed_names(token: Option<&str>) -> &'static str {
    match token {
        Some(_) => "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
        None => "content-type;host;x-amz-date;x-amz-target",
    }
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn mac(key: &HmacSha256, data: &[u8]) -> [u8; 32] {
    let mut mac = key.clone();
    mac.update(data);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// The vector of an independent signer: 2026-01-02T03:04:05Z, us-east-2, with a session token.
    #[test]
    fn a_request_carries_the_signature_of_the_published_vector() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: Some("TOKEN/with+chars==".into()),
        };
        let mut signer = Signer::new(Arc::new(credentials), "us-east-2", "sqs.us-east-2.example.net");
        let body =
            br#"{"QueueUrl":"https://sqs.us-east-2.example.net/123456789012/q1","MessageBody":"message"}"#;
        let mut out = Vec::new();
        signer.write_request_at(
            1_767_323_045,
            "AmazonSQS.SendMessage",
            &Payload::new(body.to_vec()),
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let expected = "Signature=f6e82f664344037ec8fb5f695816e05ff349ee07311da22efa3c9756966dd374";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("X-Amz-Date: 20260102T030405Z\r\n"), "{text}");
        assert!(text.ends_with("\"MessageBody\":\"message\"}"));
    }
}
