//! Signature Version 4. The verifying side takes header and presigned requests; the signing side is [`Signer`].
//!
//! Pure: the caller looks up the secret, keeps derived keys and knows the time. The order of checks is that of the
//! failure table: parts, scope, (key and token, by the caller), time, signature.

mod canonical;
mod failure;
mod signer;
mod signing_key;
mod timestamp;

use http::HeaderMap;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

pub use failure::{ServiceFamily, SigV4Failure, SigV4FailureKind};
pub use signer::{JsonPost, Signature, Signer};
pub use signing_key::SigningKey;
pub use timestamp::SignedTime;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// Members that tell Signature Version 2.
const VERSION_2_MEMBERS: [&str; 2] = ["SignatureVersion", "AWSAccessKeyId"];

/// Longest life of a presigned URL, seconds.
pub const PRESIGNED_EXPIRES_S_MAX: u64 = 604_800;

/// Headers a signature may name; more is refused.
pub const SIGNED_HEADERS_MAX: usize = 64;

/// The head of a request, as it was received.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Absolute path, still percent-encoded.
    pub path: &'a str,
    /// Raw query string without `?`.
    pub query: &'a str,
    /// Header fields.
    pub headers: &'a HeaderMap,
    /// `:authority` of HTTP/2, where there is no Host header.
    pub authority: Option<&'a str>,
}

/// What a request says about who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// Nothing.
    Anonymous,
    /// A signature of this scheme.
    Signed(Box<Signed>),
    /// Another scheme, such as Signature Version 2: the text to answer with.
    OtherScheme(SigV4Failure),
}

/// Where the signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureForm {
    /// Authorization header.
    Header,
    /// Query string, valid for so many seconds.
    Presigned {
        /// 1 to [`PRESIGNED_EXPIRES_S_MAX`].
        expires_s: u64,
    },
}

/// A signature that is complete but not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Access key.
    pub access_key_id: String,
    /// `yyyymmdd` of the scope.
    pub date: String,
    /// Region of the scope.
    pub region: String,
    /// Service of the scope.
    pub service: String,
    /// Last part of the scope.
    terminator: String,
    /// Time of the signature.
    pub time: SignedTime,
    /// Session token, if the request carries one.
    pub session_token: Option<String>,
    /// Form.
    pub form: SignatureForm,
    /// Lower-case names in order, with `;` between.
    signed_headers: String,
    signature: [u8; 32],
}

/// What scopes are accepted.
#[derive(Clone, Copy)]
pub struct ScopeRules<'a> {
    /// Whether signatures for this region are accepted.
    pub region: &'a dyn Fn(&str) -> bool,
    /// The service that was called.
    pub service: &'a str,
}

impl std::fmt::Debug for ScopeRules<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScopeRules").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Presented {
    /// Reads the signature off a request.
    ///
    /// # Errors
    /// Parts missing or unparsable (row 3 of the failure table).
    pub fn from_request(parts: &RequestParts<'_>) -> Result<Self, SigV4Failure> {
        let query = canonical::QueryPairs::parse(parts.query);
        let authorization = parts.headers.get(http::header::AUTHORIZATION);
        let presigned = query.get("X-Amz-Signature").is_some() || query.get("X-Amz-Algorithm").is_some();
        match authorization {
            None if presigned => presigned_parts(parts, &query),
            None if VERSION_2_MEMBERS.iter().any(|name| query.get(name).is_some()) => Ok(Self::version_2()),
            None => Ok(Self::Anonymous),
            Some(_) if presigned => Err(SigV4Failure::incomplete(
                "A request may be signed by its Authorization header or by its query string, not by both.",
            )),
            Some(value) => header_parts(parts, value.to_str().unwrap_or("")),
        }
    }

    /// What a form says whose request is not signed otherwise: Signature Version 2 puts its members there.
    pub fn from_form(body: &[u8]) -> Self {
        let mut names = body
            .split(|byte| *byte == b'&')
            .map(|pair| pair.split(|byte| *byte == b'=').next().unwrap_or(pair));
        match names.any(|name| VERSION_2_MEMBERS.iter().any(|member| member.as_bytes() == name)) {
            true => Self::version_2(),
            false => Self::Anonymous,
        }
    }

    fn version_2() -> Self {
        Self::OtherScheme(SigV4Failure::incomplete("Unsupported AWS 'algorithm': 'SignatureVersion 2'"))
    }
}

fn header_parts(parts: &RequestParts<'_>, value: &str) -> Result<Presented, SigV4Failure> {
    let (algorithm, rest) = value.split_once(' ').unwrap_or((value, ""));
    if algorithm != ALGORITHM {
        let text = format!("Unsupported AWS 'algorithm': '{algorithm}'");
        return Ok(Presented::OtherScheme(SigV4Failure::incomplete(text)));
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for part in rest.split(',') {
        match part.trim().split_once('=') {
            Some(("Credential", v)) => credential = Some(v),
            Some(("SignedHeaders", v)) => signed_headers = Some(v),
            Some(("Signature", v)) => signature = Some(v),
            _ => {}
        }
    }
    let date = header(parts.headers, "x-amz-date").or_else(|| header(parts.headers, "date"));
    let (Some(credential), Some(signed_headers), Some(signature), Some(date)) =
        (credential, signed_headers, signature, date)
    else {
        let mut text = String::new();
        for (name, missing) in [
            ("Credential", credential.is_none()),
            ("Signature", signature.is_none()),
            ("SignedHeaders", signed_headers.is_none()),
        ] {
            if missing {
                text.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if date.is_none() {
            text.push_str(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            );
        }
        text.push_str(&format!("Authorization={value}"));
        return Err(SigV4Failure::incomplete(text));
    };
    let session_token = header(parts.headers, "x-amz-security-token").map(str::to_owned);
    build(parts, credential, signed_headers, signature, date, session_token, SignatureForm::Header)
}

fn presigned_parts(
    parts: &RequestParts<'_>,
    query: &canonical::QueryPairs,
) -> Result<Presented, SigV4Failure> {
    if query.repeats_amz() {
        return Err(SigV4Failure::incomplete("A parameter of the signature is given more than once."));
    }
    let algorithm = query.get("X-Amz-Algorithm").unwrap_or("");
    if algorithm != ALGORITHM {
        let text = format!("Unsupported AWS 'algorithm': '{algorithm}'");
        return Ok(Presented::OtherScheme(SigV4Failure::incomplete(text)));
    }
    let need = |name: &str| {
        query.get(name).ok_or_else(|| {
            SigV4Failure::incomplete(format!("AWS query-string parameters must include '{name}'."))
        })
    };
    let credential = need("X-Amz-Credential")?;
    let signed_headers = need("X-Amz-SignedHeaders")?;
    let signature = need("X-Amz-Signature")?;
    let date = need("X-Amz-Date")?;
    let expires = need("X-Amz-Expires")?;
    let expires_s = expires.parse().ok().filter(|s| (1..=PRESIGNED_EXPIRES_S_MAX).contains(s)).ok_or_else(|| {
        SigV4Failure::incomplete(format!(
            "X-Amz-Expires must be a number of seconds from 1 to {PRESIGNED_EXPIRES_S_MAX}, got '{expires}'."
        ))
    })?;
    let token = query.get("X-Amz-Security-Token").map(str::to_owned);
    build(parts, credential, signed_headers, signature, date, token, SignatureForm::Presigned { expires_s })
}

fn build(
    parts: &RequestParts<'_>,
    credential: &str,
    signed_headers: &str,
    signature: &str,
    date: &str,
    session_token: Option<String>,
    form: SignatureForm,
) -> Result<Presented, SigV4Failure> {
    let scope: SmallVec<[&str; 8]> = credential.split('/').collect();
    let [access_key_id, scope_date, region, service, terminator] = scope[..] else {
        return Err(SigV4Failure::incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
             '{credential}'"
        )));
    };
    let time = SignedTime::parse(date).ok_or_else(|| {
        SigV4Failure::incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ))
    })?;
    let mut names: SmallVec<[&str; 16]> = signed_headers.split(';').collect();
    names.sort_unstable();
    if names.len() > SIGNED_HEADERS_MAX
        || names[0].is_empty()
        || names.windows(2).any(|pair| pair[0] == pair[1])
    {
        return Err(SigV4Failure::incomplete("SignedHeaders is not a list of different header names."));
    }
    let is_signed = |name: &str| names.binary_search(&name).is_ok();
    if !is_signed("host") && !is_signed(":authority") {
        return Err(SigV4Failure::incomplete(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    for name in parts.headers.keys() {
        let name = name.as_str();
        let amz = name.starts_with("x-amz-");
        if amz && !is_signed(name) {
            return Err(SigV4Failure::mismatch(format!("The header '{name}' is sent but not signed.")));
        }
        // The broker reads the first of them, the signature covers them all: a second one is never honest.
        let single = amz || matches!(name, "host" | "authorization" | "content-type" | "date");
        if single && parts.headers.get_all(name).iter().nth(1).is_some() {
            return Err(SigV4Failure::incomplete(format!("The header '{name}' is sent more than once.")));
        }
    }
    let mut bytes = [0; 32];
    let is_upper = signature.bytes().any(|digit| digit.is_ascii_uppercase());
    if is_upper || hex::decode_to_slice(signature, &mut bytes).is_err() {
        return Err(SigV4Failure::mismatch(failure::MISMATCH));
    }
    Ok(Presented::Signed(Box::new(Signed {
        access_key_id: access_key_id.to_owned(),
        date: scope_date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        terminator: terminator.to_owned(),
        time,
        session_token,
        form,
        signed_headers: if signed_headers.split(';').is_sorted() {
            signed_headers.to_owned()
        } else {
            names.join(";")
        },
        signature: bytes,
    })))
}

impl Signed {
    /// Row 4: region, service, terminator and date of the scope.
    ///
    /// # Errors
    /// All that is wrong, in one text.
    pub fn check_scope(&self, rules: &ScopeRules<'_>) -> Result<(), SigV4Failure> {
        let mut faults = Vec::new();
        if !(rules.region)(&self.region) {
            faults.push(format!("Credential should be scoped to a valid region, not '{}'.", self.region));
        }
        if self.service != rules.service {
            faults.push(format!("Credential should be scoped to correct service: '{}'.", rules.service));
        }
        if self.terminator != TERMINATOR {
            faults.push(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                self.terminator
            ));
        }
        let day = &self.time.basic()[..8];
        if self.date != day {
            faults.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
                 '{day}', from '{}'.",
                self.date,
                self.time.basic()
            ));
        }
        if faults.is_empty() { Ok(()) } else { Err(SigV4Failure::scope(faults.join(" "))) }
    }

    /// Row 8: the time window. `now_ms` is wall clock, `skew_s` the window to both sides.
    ///
    /// # Errors
    /// Too old, too new, or a presigned URL past its end.
    pub fn check_time(&self, now_ms: u64, skew_s: u64) -> Result<(), SigV4Failure> {
        let now_s = now_ms / 1_000;
        let signed_s = self.time.epoch_s();
        let minutes = skew_s / 60;
        let now = || SignedTime::from_epoch_s(now_s);
        if signed_s > now_s + skew_s {
            let limit = SignedTime::from_epoch_s(now_s + skew_s);
            return Err(SigV4Failure::time(format!(
                "Signature not yet current: {} is still later than {} ({} + {minutes} min.)",
                self.time.basic(),
                limit.basic(),
                now().basic()
            )));
        }
        match self.form {
            SignatureForm::Header if signed_s + skew_s < now_s => {
                let limit = SignedTime::from_epoch_s(now_s - skew_s);
                Err(SigV4Failure::time(format!(
                    "Signature expired: {} is now earlier than {} ({} - {minutes} min.)",
                    self.time.basic(),
                    limit.basic(),
                    now().basic()
                )))
            }
            SignatureForm::Presigned { expires_s } if signed_s + expires_s < now_s => {
                let end = SignedTime::from_epoch_s(signed_s + expires_s);
                Err(SigV4Failure::expired(format!(
                    "Request has expired: it was valid until {}.",
                    end.basic()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Row 9: computes the signature over what was received and compares in constant time.
    ///
    /// # Errors
    /// A mismatch, or a header that is signed but not sent, or a payload hash that does not fit.
    pub fn verify(
        &self,
        key: &SigningKey,
        parts: &RequestParts<'_>,
        payload: &[u8],
    ) -> Result<(), SigV4Failure> {
        let payload_hash: [u8; 32] = Sha256::digest(payload).into();
        if let Some(claimed) = parts.headers.get("x-amz-content-sha256")
            && claimed.as_bytes() != hex::encode(payload_hash).as_bytes()
        {
            return Err(SigV4Failure::mismatch(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            ));
        }
        let presigned = matches!(self.form, SignatureForm::Presigned { .. });
        let request_hash = canonical::request_hash(parts, &self.signed_headers, presigned, &payload_hash)?;
        let mut to_sign = String::with_capacity(160);
        canonical::push_string_to_sign(
            &self.time,
            &self.date,
            &self.region,
            &self.service,
            &request_hash,
            &mut to_sign,
        );
        if key.signs(to_sign.as_bytes(), &self.signature) {
            Ok(())
        } else {
            Err(SigV4Failure::mismatch(failure::MISMATCH))
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests;
