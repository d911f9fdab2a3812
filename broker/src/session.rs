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

use crate::caller::{Caller, SessionTag};
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
    /// Session tags.
    #[serde(default)]
    pub tags: Vec<SessionTag>,
    /// The role was assumed by a service principal.
    pub of_service: bool,
    /// Seconds since 1970.
    pub issued_at_s: u64,
    /// Seconds since 1970.
    pub expires_at_s: u64,
}

/// A session as its token describes it.
pub struct Session {
    /// Who signs with it; no request yet.
    pub caller: Caller,
    /// Secret access key of the session.
    pub secret: Zeroizing<String>,
    /// Seconds since 1970.
    expires_at_s: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("arn", &self.caller.arn).finish_non_exhaustive()
    }
}

impl Session {
    /// # Errors
    /// The session has ended.
    pub fn check_end(&self, now_ms: u64) -> Result<(), SigV4Failure> {
        if self.expires_at_s.saturating_mul(1_000) <= now_ms {
            return Err(SigV4Failure::expired_token());
        }
        Ok(())
    }
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
        let nobody = Caller { access_key_id: access_key_id.into(), ..Caller::anonymous() };
        let session = caller(&claims, identities, nobody).map(|caller| Session {
            caller,
            secret: self.secret_of(token),
            expires_at_s: claims.expires_at_s,
        });
        let session = session.ok_or_else(SigV4Failure::invalid_token)?;
        session.check_end(now_ms)?;
        Ok(session)
    }
}

/// `None`: the role or user is gone, or a namesake took its place.
fn caller(claims: &Claims, identities: &Identities, request: Caller) -> Option<Caller> {
    let policies = claims.policies.iter().map(|text| Policy::parse(text, PolicyKind::Session).map(Arc::new));
    let session_policies: Arc<[Arc<Policy>]> = policies.collect::<Result<Vec<_>, _>>().ok()?.into();
    let request = Caller {
        session_policies,
        session_tags: claims.tags.as_slice().into(),
        token_issued_at_s: Some(claims.issued_at_s),
        ..request
    };
    if let Some(role) = identities.role(&claims.owner_arn) {
        if *role.unique_id != *claims.owner_id {
            return None;
        }
        let caller = role.session(&claims.session_name, claims.of_service, request);
        // Sessions of one role share data keys unless their session policies or tags differ.
        let tags = claims.tags.iter().flat_map(|tag| [tag.name.as_str(), tag.value.as_str()]);
        let parts = std::iter::once(&*claims.owner_id).chain(claims.policies.iter().map(String::as_str));
        let cache_identity = parts.chain(tags).collect::<Vec<_>>().join("|");
        return Some(Caller { cache_identity: cache_identity.into(), ..caller });
    }
    let owner =
        identities.principal(&claims.owner_arn).filter(|owner| *owner.unique_id == *claims.owner_id)?;
    let access_key_id = request.access_key_id.clone();
    Some(owner.caller(&access_key_id, request))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_S: u64 = 1_764_000_000;

    fn tokens() -> SessionTokens {
        SessionTokens::new(Zeroizing::new([7; 32]))
    }

    fn claims() -> Claims {
        Claims {
            owner_arn: "arn:aws:iam::000000000000:root".into(),
            owner_id: "000000000000".into(),
            session_name: String::new(),
            policies: Vec::new(),
            tags: Vec::new(),
            of_service: false,
            issued_at_s: NOW_S,
            expires_at_s: NOW_S + 900,
        }
    }

    fn refused(token: &str, access_key_id: &str) -> bool {
        tokens().open(token, access_key_id, NOW_S * 1_000, &Identities::default()).is_err()
    }

    #[test]
    fn auth_9_a_token_changed_in_any_character_or_of_another_key_opens_nothing() {
        let issued = tokens().issue(&claims()).unwrap();
        let sealed = URL_SAFE_NO_PAD.decode(&issued.session_token).unwrap();
        let key = issued.access_key_id.as_bytes();
        assert!(tokens().seal.unwrap(key, &sealed).is_ok());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(tokens().seal.unwrap(key, &altered).is_err(), "byte {at}");
            assert!(refused(&URL_SAFE_NO_PAD.encode(&altered), &issued.access_key_id));
            assert!(refused(&URL_SAFE_NO_PAD.encode(&sealed[..at]), &issued.access_key_id));
        }
        assert!(tokens().seal.unwrap(b"ASIAOTHER", &sealed).is_err());
        assert!(refused(&issued.session_token, "ASIAOTHER"));
    }

    proptest! {
        #[test]
        fn auth_9_any_text_as_a_token_is_refused(token in ".{0,2100}", claims in any::<Vec<u8>>()) {
            prop_assert!(refused(&token, "ASIAAAAAAAAAAAAAAAAA"));
            // Well sealed and not what a token says: refused as well.
            let sealed = tokens().seal.wrap(b"ASIA", &claims, &mut SystemEntropy).unwrap();
            prop_assert!(refused(&URL_SAFE_NO_PAD.encode(sealed), "ASIA"));
        }
    }
}
