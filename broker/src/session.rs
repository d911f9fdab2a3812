//! Session credentials: sealed into their own token, not stored.
//!
//! A token is `base64url(nonce ‖ AES-256-GCM(claims))` under a key derived from the root key, with the access key id as
//! associated data: it survives a restart, fits one access key only, and cannot be made or altered by anybody else. A
//! session ends with its time, and with the user or role it belongs to.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::sigv4::SigV4Failure;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::root_key::RootKey;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::caller::CallerKind;
use crate::identity::Identities;

/// Longest token (auth contract, section 3).
pub const TOKEN_CHARS_MAX: usize = 2_048;

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// ARN of the role, user or root that the session belongs to.
    pub owner_arn: String,
    /// Its unique id when the session was made: a namesake made later does not inherit it.
    pub owner_id: String,
    /// Role session name; empty for GetSessionToken.
    pub session_name: String,
    /// Session policy texts.
    pub policies: Vec<String>,
    /// The role was assumed by a service principal.
    pub of_service: bool,
    /// Seconds since 1970.
    pub issued_at_s: u64,
    /// Seconds since 1970.
    pub expires_at_s: u64,
}

/// A session as its token describes it.
#[derive(Debug)]
pub struct Session {
    /// Kind of caller.
    pub kind: CallerKind,
    /// Account of the role or user.
    pub account: Arc<str>,
    /// ARN of the session (of the user for GetSessionToken).
    pub arn: Arc<str>,
    /// SenderId.
    pub unique_id: Arc<str>,
    /// Sessions of one role share data keys unless their session policies differ.
    pub cache_identity: Arc<str>,
    /// Session or user name.
    pub name: Arc<str>,
    /// Policies of the role or user.
    pub identity_policies: Arc<[Arc<Policy>]>,
    /// Session policies.
    pub session_policies: Arc<[Arc<Policy>]>,
    /// Permissions boundary.
    pub boundary: Option<Arc<Policy>>,
    /// Secret access key of the session.
    pub secret: Zeroizing<String>,
    /// Seconds since 1970.
    pub issued_at_s: u64,
}

/// Credentials as AssumeRole hands them out.
// No Debug: it holds a secret.
pub struct Issued {
    /// `ASIA…`.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: Zeroizing<String>,
    /// The token.
    pub session_token: String,
}

/// Makes and opens tokens.
#[derive(Debug)]
pub struct SessionTokens {
    seal: RootKey,
    key: Zeroizing<[u8; 32]>,
}

impl SessionTokens {
    /// `key`: derived for this purpose alone. What is sealed and what the secrets are made of derive from it further.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { seal: RootKey::from_bytes(&key), key }
    }

    /// The secret access key of a session: 40 characters that only this broker can compute from the token.
    fn secret_of(&self, token: &str) -> Zeroizing<String> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes keys of any length (RFC 2104)");
        mac.update(b"session secret");
        mac.update(token.as_bytes());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..30]))
    }

    /// New credentials for these claims. `None`: the token would be too long, or the system gives no randomness.
    pub fn issue(&self, claims: &Claims) -> Option<Issued> {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let letters = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        let access_key_id: String = "ASIA".chars().chain(letters).collect();
        let claims = serde_json::to_vec(claims).ok()?;
        let session_token = URL_SAFE_NO_PAD
            .encode(self.seal.wrap(access_key_id.as_bytes(), &claims, &mut SystemEntropy).ok()?);
        if session_token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let secret_access_key = self.secret_of(&session_token);
        Some(Issued { access_key_id, secret_access_key, session_token })
    }

    /// The session of a token, presented with an access key.
    ///
    /// # Errors
    /// Altered, foreign, ended, or its owner is gone: one text for all but the ended one.
    pub fn open(
        &self,
        token: &str,
        access_key_id: &str,
        now_ms: u64,
        identities: &Identities,
    ) -> Result<Session, SigV4Failure> {
        let sealed = Some(token).filter(|token| token.len() <= TOKEN_CHARS_MAX);
        let claims: Claims = sealed
            .and_then(|token| URL_SAFE_NO_PAD.decode(token).ok())
            .and_then(|sealed| self.seal.unwrap(access_key_id.as_bytes(), &sealed).ok())
            .and_then(|claims| serde_json::from_slice(&claims).ok())
            .ok_or_else(SigV4Failure::invalid_token)?;
        if claims.expires_at_s * 1_000 <= now_ms {
            return Err(SigV4Failure::expired_token());
        }
        let secret = self.secret_of(token);
        session(claims, secret, identities).ok_or_else(SigV4Failure::invalid_token)
    }
}

fn session(claims: Claims, secret: Zeroizing<String>, identities: &Identities) -> Option<Session> {
    let policies = claims.policies.iter().map(|text| Policy::parse(text, PolicyKind::Session).map(Arc::new));
    let session_policies: Arc<[Arc<Policy>]> = policies.collect::<Result<Vec<_>, _>>().ok()?.into();
    if let Some(role) = identities.role(&claims.owner_arn) {
        if *role.unique_id != *claims.owner_id {
            return None;
        }
        let partition = claims.owner_arn.split(':').nth(1)?;
        let arn = format!(
            "arn:{partition}:sts::{}:assumed-role/{}/{}",
            role.account, role.name, claims.session_name
        );
        let cache_identity =
            std::iter::once(&*claims.owner_id).chain(claims.policies.iter().map(String::as_str));
        return Some(Session {
            kind: CallerKind::RoleSession { role_arn: role.arn.clone(), of_service: claims.of_service },
            account: role.account.clone(),
            arn: arn.into(),
            unique_id: format!("{}:{}", role.unique_id, claims.session_name).into(),
            cache_identity: cache_identity.collect::<Vec<_>>().join("|").into(),
            name: claims.session_name.into(),
            identity_policies: role.policies.clone(),
            session_policies,
            boundary: role.boundary.clone(),
            secret,
            issued_at_s: claims.issued_at_s,
        });
    }
    let owner =
        identities.principal(&claims.owner_arn).filter(|owner| *owner.unique_id == *claims.owner_id)?;
    Some(Session {
        kind: owner.kind.clone(),
        account: owner.account.clone(),
        arn: owner.arn.clone(),
        unique_id: owner.unique_id.clone(),
        cache_identity: owner.unique_id.clone(),
        name: owner.name.clone(),
        identity_policies: owner.policies.clone(),
        session_policies,
        boundary: owner.boundary.clone(),
        secret,
        issued_at_s: claims.issued_at_s,
    })
}
