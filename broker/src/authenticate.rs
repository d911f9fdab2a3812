//! From a request's signature to its caller.
//!
//! The checks follow the failure table of the signature contract: parts, scope, key, token, time, signature. An unknown
//! key or token is verified against a decoy secret, so that it takes the time of a wrong signature. A caller seen before
//! costs one hash of the payload and one HMAC over the string to sign.

mod known_callers;

use std::sync::Arc;

use arc_swap::ArcSwap;
use sealq_api::sigv4::{
    Presented, RequestParts, ScopeRules, SigV4Failure, SigV4FailureKind, Signed, SigningKey,
};
use sealq_config::Identity;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::identity::{Identities, root_principal};
use crate::inbound::Inbound;
use crate::session::SessionTokens;
use known_callers::KnownCallers;
pub use known_callers::{SESSIONS_MAX, SIGNING_KEYS_MAX};

/// Verifies signatures.
#[derive(Debug)]
pub struct Authenticator {
    known: ArcSwap<KnownCallers>,
    sessions: SessionTokens,
    identity: Identity,
    require_signatures: bool,
    skew_s: u64,
    clock: Clock,
}

/// Why there is no caller.
#[derive(Debug)]
pub enum Unauthenticated {
    /// The signature is refused.
    Failed(SigV4Failure),
    /// Signed by another scheme: the text, should the queue not demand InvalidSecurity.
    OtherScheme(SigV4Failure),
}

impl Authenticator {
    /// `skew_s`: accepted distance of clocks, seconds. With `require_signatures` off, unsigned callers are the root of
    /// the broker's own account.
    pub fn new(
        identities: Identities,
        sessions: SessionTokens,
        identity: Identity,
        require_signatures: bool,
        skew_s: u64,
        clock: Clock,
    ) -> Self {
        let known = ArcSwap::from_pointee(KnownCallers::new(identities));
        Self { known, sessions, identity, require_signatures, skew_s, clock }
    }

    /// Takes a new set of principals; what was derived for the old is forgotten.
    pub fn replace(&self, identities: Identities) {
        self.known.store(Arc::new(KnownCallers::new(identities)));
    }

    /// True when signatures are not required: emulator use.
    pub fn is_emulator(&self) -> bool {
        !self.require_signatures
    }

    /// The principals in force.
    pub fn identities(&self) -> Arc<Identities> {
        self.known.load().identities.clone()
    }

    /// Issues and reads session tokens.
    pub fn sessions(&self) -> &SessionTokens {
        &self.sessions
    }

    /// The caller of a request to `service` (`sqs`, `kms`, `sts`).
    ///
    /// # Errors
    /// See [`Unauthenticated`]. A request with a bad signature never counts as anonymous.
    pub fn authenticate(
        &self,
        inbound: &Inbound,
        service: &str,
        request_id: &Arc<str>,
    ) -> Result<Caller, Unauthenticated> {
        let parts = RequestParts {
            method: inbound.method.as_str(),
            path: inbound.uri.path(),
            query: inbound.uri.query().unwrap_or(""),
            headers: &inbound.headers,
            authority: inbound.uri.authority().map(http::uri::Authority::as_str),
        };
        let mut presented = Presented::from_request(&parts).map_err(Unauthenticated::Failed)?;
        if presented == Presented::Anonymous && is_form(&inbound.headers) {
            presented = Presented::from_form(&inbound.body);
        }
        let header =
            |name| inbound.headers.get(name).and_then(|value| value.to_str().ok()).map(Arc::<str>::from);
        let request = Caller {
            source_ip: inbound.peer,
            secure_transport: inbound.secure,
            user_agent: header(http::header::USER_AGENT).unwrap_or_default(),
            referer: header(http::header::REFERER),
            request_id: request_id.clone(),
            ..Caller::anonymous()
        };
        match presented {
            Presented::Anonymous if self.require_signatures => Ok(request),
            Presented::OtherScheme(failure) if self.require_signatures => {
                Err(Unauthenticated::OtherScheme(failure))
            }
            Presented::Anonymous | Presented::OtherScheme(_) => Ok(self.emulated(request)),
            Presented::Signed(signed) => {
                self.verify(&signed, &parts, &inbound.body, service, request).map_err(Unauthenticated::Failed)
            }
        }
    }

    fn verify(
        &self,
        signed: &Signed,
        parts: &RequestParts<'_>,
        body: &[u8],
        service: &str,
        request: Caller,
    ) -> Result<Caller, SigV4Failure> {
        // STS also answers for its global endpoint, whose scope is always us-east-1.
        let region =
            |region: &str| self.identity.accepts_region(region) || service == "sts" && region == "us-east-1";
        signed.check_scope(&ScopeRules { region: &region, service })?;
        let verified = self.verify_key(signed, parts, body, request);
        if verified.as_ref().is_err_and(|failure| failure.kind == SigV4FailureKind::InvalidToken) {
            let decoy = SigningKey::derive("decoy", &signed.date, &signed.region, &signed.service);
            // The answer is the same whatever this says; it only takes the time.
            let _ = signed.verify(&decoy, parts, body);
        }
        verified
    }

    /// Key, token, time and signature.
    fn verify_key(
        &self,
        signed: &Signed,
        parts: &RequestParts<'_>,
        body: &[u8],
        request: Caller,
    ) -> Result<Caller, SigV4Failure> {
        let known = self.known.load();
        let now_ms = self.clock.now_ms();
        let check = |secret: &str| {
            signed.check_time(now_ms, self.skew_s)?;
            known.with_signing_key(signed, secret, |key| signed.verify(key, parts, body))
        };
        let access_key_id = signed.access_key_id.as_str();
        let Some(token) = &signed.session_token else {
            let access_key = known.identities.access_key(access_key_id).filter(|key| key.active);
            let access_key = access_key.ok_or_else(SigV4Failure::invalid_token)?;
            check(access_key.secret.expose())?;
            return Ok(access_key.principal.caller(&access_key.id, request));
        };
        if let Some(session) = known.session(token).filter(|s| *s.caller.access_key_id == *access_key_id) {
            session.check_end(now_ms)?;
            check(&session.secret)?;
            return Ok(session.caller.of_request(request));
        }
        let session = Arc::new(self.sessions.open(token, access_key_id, now_ms, &known.identities)?);
        check(&session.secret)?;
        let caller = session.caller.of_request(request);
        known.keep_session(token, session);
        Ok(caller)
    }

    /// Emulator use: everybody is the root of the broker's own account.
    fn emulated(&self, request: Caller) -> Caller {
        let root = root_principal(&self.identity.partition, &self.identity.account_id);
        root.caller(&"".into(), request)
    }
}

fn is_form(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    content_type.is_some_and(|value| value.starts_with(b"application/x-www-form-urlencoded"))
}

#[cfg(test)]
mod tests;
