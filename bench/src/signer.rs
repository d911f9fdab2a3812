//! The one request shape that the generator sends: a signed JSON 1.0 POST with a known body hash.

use std::time::{SystemTime, UNIX_EPOCH};

use sealq_api::sigv4::JsonPost;
use sha2::{Digest, Sha256};

use crate::credentials::Credentials;

const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Writes requests of one access key for one region.
pub(crate) struct Signer {
    signer: sealq_api::sigv4::Signer,
    session_token: Option<String>,
    host: String,
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
    pub(crate) fn new(credentials: &Credentials, region: &str, host: &str) -> Signer {
        let Credentials { access_key_id, secret_access_key, session_token } = credentials;
        let token = session_token.as_deref();
        Signer {
            signer: sealq_api::sigv4::Signer::new(access_key_id, secret_access_key, token, region, "sqs"),
            session_token: session_token.clone(),
            host: host.to_owned(),
        }
    }

    /// Appends head and body of a signed `POST /` to `out`.
    pub(crate) fn write_request(&mut self, target: &str, payload: &Payload, out: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        self.write_request_at(now, target, payload, out);
    }

    fn write_request_at(&mut self, second: u64, target: &str, payload: &Payload, out: &mut Vec<u8>) {
        let post = JsonPost {
            host: &self.host,
            path: "/",
            content_type: CONTENT_TYPE,
            target,
            payload_sha256_hex: &payload.sha256_hex,
        };
        let signature = self.signer.sign(second, &post);
        push(out, &["POST / HTTP/1.1\r\nHost: ", &self.host, "\r\nContent-Type: ", CONTENT_TYPE]);
        push(out, &["\r\nX-Amz-Date: ", signature.amz_date]);
        if let Some(token) = &self.session_token {
            push(out, &["\r\nX-Amz-Security-Token: ", token]);
        }
        push(out, &["\r\nX-Amz-Target: ", target, "\r\nAuthorization: ", signature.authorization]);
        push(out, &["\r\nContent-Length: ", &payload.bytes.len().to_string(), "\r\n\r\n"]);
        out.extend_from_slice(&payload.bytes);
    }
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of an independent signer: 2026-01-02T03:04:05Z, us-east-2, with a session token.
    #[test]
    fn a_request_carries_the_signature_of_the_published_vector() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session_token: Some("TOKEN/with+chars==".into()),
        };
        let mut signer = Signer::new(&credentials, "us-east-2", "sqs.us-east-2.example.net");
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
