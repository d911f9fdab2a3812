//! From a request's signature to its caller.
//!
//! The checks follow the failure table of the signature contract: parts, scope, key, token, time, signature. An unknown
//! key is verified against a decoy secret, so that it takes the time of a wrong signature.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use sealq_api::sigv4::{Presented, RequestParts, ScopeRules, SigV4Failure, Signed, SigningKey};
use sealq_config::Identity;

use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::identity::{Identities, Principal};
use crate::inbound::Inbound;
use crate::session::{Session, SessionTokens};

/// Derived keys kept; a day's worth of callers. Beyond it the cache starts anew.
pub const SIGNING_KEYS_MAX: usize = 10_000;

/// Verifies signatures.
#[derive(Debug)]
pub struct Authenticator {
    identities: ArcSwap<Identities>,
    sessions: SessionTokens,
    signing_keys: RwLock<HashMap<String, SigningKey>>,
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
        Self {
            identities: ArcSwap::from_pointee(identities),
            sessions,
            signing_keys: RwLock::default(),
            identity,
            require_signatures,
            skew_s,
            clock,
        }
    }

    /// Takes a new set of principals; derived keys of the old are forgotten.
    pub fn replace(&self, identities: Identities) {
        self.identities.store(Arc::new(identities));
        self.signing_keys.write().clear();
    }

    /// True when signatures are not required: emulator use.
    pub fn is_emulator(&self) -> bool {
        !self.require_signatures
    }

    /// The principals in force.
    pub fn identities(&self) -> Arc<Identities> {
        self.identities.load_full()
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
        let presented = Presented::from_request(&parts).map_err(Unauthenticated::Failed)?;
        match presented {
            Presented::Anonymous if self.require_signatures => Ok(anonymous(inbound, request_id)),
            Presented::OtherScheme(failure) if self.require_signatures => {
                Err(Unauthenticated::OtherScheme(failure))
            }
            Presented::Anonymous | Presented::OtherScheme(_) => Ok(self.emulated(inbound, request_id)),
            Presented::Signed(signed) => {
                self.verify(&signed, &parts, inbound, service, request_id).map_err(Unauthenticated::Failed)
            }
        }
    }

    fn verify(
        &self,
        signed: &Signed,
        parts: &RequestParts<'_>,
        inbound: &Inbound,
        service: &str,
        request_id: &Arc<str>,
    ) -> Result<Caller, SigV4Failure> {
        // STS also answers for its global endpoint, whose scope is always us-east-1.
        let region =
            |region: &str| self.identity.accepts_region(region) || service == "sts" && region == "us-east-1";
        signed.check_scope(&ScopeRules { region: &region, service })?;
        let identities = self.identities.load();
        let now_ms = self.clock.now_ms();
        if let Some(token) = &signed.session_token {
            let session = self.sessions.open(token, &signed.access_key_id, now_ms, &identities)?;
            signed.check_time(now_ms, self.skew_s)?;
            let key = SigningKey::derive(&session.secret, &signed.date, &signed.region, &signed.service);
            signed.verify(&key, parts, &inbound.body)?;
            return Ok(session_caller(&session, signed, inbound, request_id));
        }
        let access_key = identities.access_key(&signed.access_key_id).filter(|key| key.active);
        let Some(access_key) = access_key else {
            let decoy = SigningKey::derive("decoy", &signed.date, &signed.region, &signed.service);
            // The answer is the same whatever this says; it only takes the time.
            let _ = signed.verify(&decoy, parts, &inbound.body);
            return Err(SigV4Failure::invalid_token());
        };
        signed.check_time(now_ms, self.skew_s)?;
        let key = self.signing_key(signed, access_key.secret.expose());
        signed.verify(&key, parts, &inbound.body)?;
        Ok(caller_of(&access_key.principal, &access_key.id, inbound, request_id))
    }

    fn signing_key(&self, signed: &Signed, secret: &str) -> SigningKey {
        let scope =
            [&*signed.access_key_id, "/", &signed.date, "/", &signed.region, "/", &signed.service].concat();
        if let Some(key) = self.signing_keys.read().get(&scope) {
            return key.clone();
        }
        let key = SigningKey::derive(secret, &signed.date, &signed.region, &signed.service);
        let mut keys = self.signing_keys.write();
        if keys.len() >= SIGNING_KEYS_MAX {
            keys.clear();
        }
        keys.insert(scope, key.clone());
        key
    }

    /// Emulator use: everybody is the root of the broker's own account.
    fn emulated(&self, inbound: &Inbound, request_id: &Arc<str>) -> Caller {
        let account: Arc<str> = self.identity.account_id.as_str().into();
        let arn = format!("arn:{}:iam::{account}:root", self.identity.partition);
        Caller {
            kind: CallerKind::Root,
            arn: arn.into(),
            unique_id: account.clone(),
            cache_identity: account.clone(),
            account,
            name: "root".into(),
            ..anonymous(inbound, request_id)
        }
    }
}

fn user_agent(inbound: &Inbound) -> Arc<str> {
    inbound.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("").into()
}

fn anonymous(inbound: &Inbound, request_id: &Arc<str>) -> Caller {
    Caller {
        kind: CallerKind::Anonymous,
        account: "".into(),
        arn: "anonymous".into(),
        unique_id: "anonymous".into(),
        cache_identity: "".into(),
        name: "".into(),
        identity_policies: Arc::new([]),
        session_policies: Arc::new([]),
        boundary: None,
        access_key_id: "".into(),
        token_issued_at_s: None,
        source_ip: inbound.peer,
        secure_transport: inbound.secure,
        user_agent: user_agent(inbound),
        request_id: request_id.clone(),
    }
}

fn caller_of(
    principal: &Principal,
    access_key_id: &Arc<str>,
    inbound: &Inbound,
    request_id: &Arc<str>,
) -> Caller {
    let cache_identity = match &principal.kind {
        CallerKind::Service { source_account, .. } => format!("{}/{source_account}", principal.name).into(),
        _ => principal.unique_id.clone(),
    };
    Caller {
        kind: principal.kind.clone(),
        account: principal.account.clone(),
        arn: principal.arn.clone(),
        unique_id: principal.unique_id.clone(),
        cache_identity,
        name: principal.name.clone(),
        identity_policies: principal.policies.clone(),
        session_policies: Arc::new([]),
        boundary: principal.boundary.clone(),
        access_key_id: access_key_id.clone(),
        ..anonymous(inbound, request_id)
    }
}

fn session_caller(session: &Session, signed: &Signed, inbound: &Inbound, request_id: &Arc<str>) -> Caller {
    Caller {
        kind: session.kind.clone(),
        account: session.account.clone(),
        arn: session.arn.clone(),
        unique_id: session.unique_id.clone(),
        cache_identity: session.cache_identity.clone(),
        name: session.name.clone(),
        identity_policies: session.identity_policies.clone(),
        session_policies: session.session_policies.clone(),
        boundary: session.boundary.clone(),
        access_key_id: signed.access_key_id.as_str().into(),
        token_issued_at_s: Some(session.issued_at_s),
        ..anonymous(inbound, request_id)
    }
}
