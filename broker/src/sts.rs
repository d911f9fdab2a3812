//! STS: who am I, sessions of roles and of users.

use std::sync::Arc;

use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::sts::{
    AssumeRole, AssumedRole, CallerIdentity, Credentials, GetSessionToken, StsErrorCode, StsErrorReply,
    StsRequest,
};

use crate::authenticate::Authenticator;
use crate::authorize::{Authorizer, RequestKeys};
use crate::caller::{Caller, CallerKind, SessionTag};
use crate::clock::Clock;
use crate::session::Claims;

/// Longest session of an account root, and of a session of a session, seconds.
const SHORT_SESSION_S_MAX: u64 = 3_600;

/// Serves STS.
pub struct StsService {
    authenticator: Arc<Authenticator>,
    authorizer: Authorizer,
    clock: Clock,
}

impl StsService {
    /// Over the broker's principals.
    pub fn new(authenticator: Arc<Authenticator>, authorizer: Authorizer, clock: Clock) -> Self {
        Self { authenticator, authorizer, clock }
    }

    /// Answers a request of a signed caller: the body of the reply.
    ///
    /// # Errors
    /// The error to answer with.
    pub fn answer(
        &self,
        request: &StsRequest,
        caller: &Caller,
        request_id: &str,
    ) -> Result<Vec<u8>, StsErrorReply> {
        match request {
            StsRequest::GetCallerIdentity => {
                let identity =
                    CallerIdentity { user_id: &caller.unique_id, account: &caller.account, arn: &caller.arn };
                Ok(identity.render(request_id))
            }
            StsRequest::AssumeRole(request) => Ok(self.assume_role(request, caller)?.render(request_id)),
            StsRequest::GetSessionToken(request) => {
                Ok(self.session_token(request, caller)?.render(request_id))
            }
        }
    }

    fn assume_role(&self, request: &AssumeRole, caller: &Caller) -> Result<AssumedRole, StsErrorReply> {
        let denied = || StsErrorReply::assume_role_denied(&caller.arn, &request.role_arn);
        let identities = self.authenticator.identities();
        let role = identities.role(&request.role_arn).ok_or_else(denied)?;
        if caller.kind == CallerKind::Root {
            return Err(StsErrorReply::new(
                StsErrorCode::AccessDenied,
                "Roles may not be assumed by root accounts.",
            ));
        }
        let of_service = matches!(caller.kind, CallerKind::Service { .. });
        if of_service
            && !identities.access_key(&caller.access_key_id).is_some_and(|key| key.principal.assumes_roles)
        {
            return Err(denied());
        }
        if !self.authorizer.decide_role(caller, role, &self.keys(caller, request)).is_allowed() {
            return Err(denied());
        }
        if let Some(arn) = request.policy_arns.first() {
            // Passed over, it would leave the session more rights than were asked for.
            return Err(StsErrorReply::new(
                StsErrorCode::MalformedPolicyDocument,
                format!("The policy {arn} does not exist: there are no managed policies here."),
            ));
        }
        let chained = matches!(caller.kind, CallerKind::RoleSession { .. });
        if chained && request.duration_s > SHORT_SESSION_S_MAX {
            return Err(StsErrorReply::new(
                StsErrorCode::ValidationError,
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            ));
        }
        if let Some(policy) = &request.policy {
            Policy::parse(policy, PolicyKind::Session).map_err(|error| {
                StsErrorReply::new(StsErrorCode::MalformedPolicyDocument, error.to_string())
            })?;
        }
        let credentials = self.issue(
            &request.role_arn,
            &role.unique_id,
            &request.session_name,
            SessionTerms {
                policies: request.policy.iter().cloned().collect(),
                tags: session_tags(caller, request),
                of_service,
            },
            request.duration_s,
        )?;
        Ok(AssumedRole {
            credentials,
            assumed_role_id: format!("{}:{}", role.unique_id, request.session_name),
            arn: role.session_arn(&request.session_name),
            packed_policy_percent: request
                .policy
                .as_ref()
                .map(|policy| (policy.len() * 100 / 2_048).min(100) as u8),
            source_identity: request.source_identity.clone(),
        })
    }

    /// What trust policies may ask about the session that is asked for.
    fn keys<'a>(&'a self, caller: &'a Caller, request: &AssumeRole) -> RequestKeys<'a> {
        let mut keys = self.authorizer.keys(caller);
        keys.add("sts:rolesessionname".into(), request.session_name.clone());
        for (name, value) in
            [("sts:externalid", &request.external_id), ("sts:sourceidentity", &request.source_identity)]
        {
            if let Some(value) = value {
                keys.add(name.into(), value.clone());
            }
        }
        keys.add_tags(request.tags.iter().map(|(name, value)| (&**name, Some(&**value))));
        keys.add_many("sts:transitivetagkeys".into(), request.transitive_tag_keys.clone());
        keys
    }

    fn session_token(
        &self,
        request: &GetSessionToken,
        caller: &Caller,
    ) -> Result<Credentials, StsErrorReply> {
        if caller.token_issued_at_s.is_some() || matches!(caller.kind, CallerKind::Service { .. }) {
            return Err(StsErrorReply::new(
                StsErrorCode::AccessDenied,
                "Cannot call GetSessionToken with session credentials",
            ));
        }
        let duration_s = match (&caller.kind, request.duration_given) {
            (CallerKind::Root, false) => SHORT_SESSION_S_MAX,
            (CallerKind::Root, true) => request.duration_s.min(SHORT_SESSION_S_MAX),
            _ => request.duration_s,
        };
        self.issue(&caller.arn, &caller.unique_id, "", SessionTerms::default(), duration_s)
    }

    fn issue(
        &self,
        owner_arn: &str,
        owner_id: &str,
        session_name: &str,
        terms: SessionTerms,
        duration_s: u64,
    ) -> Result<Credentials, StsErrorReply> {
        let issued_at_s = self.clock.now_ms() / 1_000;
        let claims = Claims {
            owner_arn: owner_arn.to_owned(),
            owner_id: owner_id.to_owned(),
            session_name: session_name.to_owned(),
            policies: terms.policies,
            tags: terms.tags,
            of_service: terms.of_service,
            issued_at_s,
            expires_at_s: issued_at_s + duration_s,
        };
        let issued = self.authenticator.sessions().issue(&claims).ok_or_else(|| {
            StsErrorReply::new(
                StsErrorCode::PackedPolicyTooLarge,
                "The session policy is too large to be packed.",
            )
        })?;
        Ok(Credentials {
            access_key_id: issued.access_key_id,
            secret_access_key: issued.secret_access_key,
            session_token: issued.session_token,
            expires_at_s: claims.expires_at_s,
        })
    }
}

/// What a session is given besides its owner's rights.
#[derive(Default)]
struct SessionTerms {
    policies: Vec<String>,
    tags: Vec<SessionTag>,
    of_service: bool,
}

/// The tags asked for, and those that the caller's own session hands on, which nobody may change.
fn session_tags(caller: &Caller, request: &AssumeRole) -> Vec<SessionTag> {
    let mut tags: Vec<SessionTag> =
        caller.session_tags.iter().filter(|tag| tag.transitive).cloned().collect();
    for (name, value) in &request.tags {
        if !tags.iter().any(|tag| tag.name.eq_ignore_ascii_case(name)) {
            let transitive = request.transitive_tag_keys.iter().any(|key| key.eq_ignore_ascii_case(name));
            tags.push(SessionTag { name: name.clone(), value: value.clone(), transitive });
        }
    }
    tags
}
