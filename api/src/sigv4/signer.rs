//! The signing side, for the one shape of request that SealQ itself sends: a JSON `POST`.
//!
//! The signing key is derived once a day and the timestamp formatted once a second, so that signing costs two short
//! hashes and one HMAC a request.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::canonical;
use super::{ALGORITHM, SignedTime, SigningKey, TERMINATOR};

/// Signs requests of one access key for one region and service.
// No Debug: it holds a secret.
pub struct Signer {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    session_token: Option<Zeroizing<String>>,
    region: String,
    service: &'static str,
    time: SignedTime,
    /// For the day of `time`.
    key: SigningKey,
    text: String,
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct JsonPost<'a> {
    /// Host header, with the port where it is not the scheme's own.
    pub host: &'a str,
    /// Absolute path, percent-encoded.
    pub path: &'a str,
    /// Content-Type header.
    pub content_type: &'a str,
    /// X-Amz-Target header.
    pub target: &'a str,
    /// SHA-256 of the body, 64 lower-case hexadecimal digits.
    pub payload_sha256_hex: &'a str,
}

/// The headers that the request needs besides those of [`JsonPost`].
// No Debug: the token is a secret.
#[derive(Clone, Copy)]
pub struct Signature<'a> {
    /// X-Amz-Date.
    pub amz_date: &'a str,
    /// Authorization.
    pub authorization: &'a str,
    /// X-Amz-Security-Token, of temporary credentials.
    pub session_token: Option<&'a str>,
}

impl Signer {
    /// `service`: of the scope.
    pub fn new(
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<&str>,
        region: &str,
        service: &'static str,
    ) -> Self {
        let time = SignedTime::from_epoch_s(0);
        Self {
            access_key_id: access_key_id.to_owned(),
            secret_access_key: Zeroizing::new(secret_access_key.to_owned()),
            session_token: session_token.map(|token| Zeroizing::new(token.to_owned())),
            region: region.to_owned(),
            service,
            key: SigningKey::derive(secret_access_key, day(&time), region, service),
            time,
            text: String::with_capacity(512),
        }
    }

    /// Signs a request sent at `epoch_s` (seconds since 1970).
    pub fn sign(&mut self, epoch_s: u64, post: &JsonPost<'_>) -> Signature<'_> {
        self.turn_to(epoch_s);
        let names = match self.session_token {
            Some(_) => "content-type;host;x-amz-date;x-amz-security-token;x-amz-target",
            None => "content-type;host;x-amz-date;x-amz-target",
        };
        let text = &mut self.text;
        text.clear();
        text.push_str("POST\n");
        canonical::push_path(post.path, text);
        push(text, &["\n\ncontent-type:", post.content_type, "\nhost:", post.host]);
        push(text, &["\nx-amz-date:", self.time.basic()]);
        if let Some(token) = &self.session_token {
            push(text, &["\nx-amz-security-token:", token]);
        }
        push(text, &["\nx-amz-target:", post.target, "\n\n", names, "\n", post.payload_sha256_hex]);
        let request_hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        text.clear();
        canonical::push_string_to_sign(
            &self.time,
            day(&self.time),
            &self.region,
            self.service,
            &request_hash,
            text,
        );
        let signature = self.key.sign(text.as_bytes());
        text.clear();
        push(
            text,
            &[ALGORITHM, " Credential=", &self.access_key_id, "/", day(&self.time), "/", &self.region],
        );
        push(text, &["/", self.service, "/", TERMINATOR, ", SignedHeaders=", names, ", Signature="]);
        canonical::push_hex(&signature, text);
        Signature {
            amz_date: self.time.basic(),
            authorization: text,
            session_token: self.session_token.as_ref().map(|token| token.as_str()),
        }
    }

    fn turn_to(&mut self, epoch_s: u64) {
        if self.time.epoch_s() == epoch_s {
            return;
        }
        let time = SignedTime::from_epoch_s(epoch_s);
        if day(&self.time) != day(&time) {
            self.key = SigningKey::derive(&self.secret_access_key, day(&time), &self.region, self.service);
        }
        self.time = time;
    }
}

fn day(time: &SignedTime) -> &str {
    &time.basic()[..8]
}

fn push(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}
