//! The one place where it is decided who may do what.
//!
//! Rules are in `sealq_api::iam`; here the request gets its condition keys, and the decision its text.

mod keys;

use std::sync::Arc;

use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::iam::decision::{IdentityPolicies, decide_identity, decide_key, decide_queue, decide_role};
use sealq_api::iam::{Decision, DenialReason, Named, Policy, Principal, Request};
use sealq_api::sqs::Action;
use sealq_crypto::EncryptionContext;
use sealq_crypto::key_store::cryptography::SYMMETRIC_DEFAULT;
use smallvec::SmallVec;

use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::identity::Role;
use crate::queues::{Queue, is_encrypted};
pub use keys::{RequestKeys, iso_time};

/// Decides.
#[derive(Debug, Clone)]
pub struct Authorizer {
    clock: Clock,
    region: Arc<str>,
}

/// A key, as far as a decision about it needs it.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'a> {
    /// ARN.
    pub arn: &'a str,
    /// What a refusal calls it.
    pub shown: &'a str,
    /// Owner.
    pub account: &'a str,
    /// Its policy.
    pub policy: &'a Policy,
    /// A grant covers the operation, and names the caller so.
    pub granted: Option<Named>,
}

impl Authorizer {
    /// `region`: of this broker.
    pub fn new(clock: Clock, region: &str) -> Self {
        Self { clock, region: region.into() }
    }

    /// Condition keys of a request.
    pub fn keys<'a>(&'a self, caller: &'a Caller) -> RequestKeys<'a> {
        RequestKeys::new(caller, &self.region, self.clock.now_ms())
    }

    /// A queue action. Transport comes first: an encrypted queue answers nobody who is not signed and on HTTPS.
    ///
    /// # Errors
    /// InvalidSecurity, AccessDenied.
    pub fn queue(&self, caller: &Caller, action: Action, queue: &Queue) -> Result<(), ErrorReply> {
        self.tags_of_queue(caller, action, queue, std::iter::empty())
    }

    /// Like [`Self::queue`], for an action that gives tags, or takes those without a value.
    ///
    /// # Errors
    /// As there.
    pub fn tags_of_queue<'t>(
        &self,
        caller: &Caller,
        action: Action,
        queue: &Queue,
        tags: impl IntoIterator<Item = (&'t str, Option<&'t str>)>,
    ) -> Result<(), ErrorReply> {
        check_transport(caller, is_encrypted(&queue.record.settings))?;
        let mut keys = self.keys(caller).about(&queue.record);
        keys.add_tags(tags);
        let decision = decide_on_queue(caller, action, queue, &keys);
        denied_as(&decision, caller, action.iam_action(), &queue.arn_text)
    }

    /// The bare decision about a queue action, for `explain`. `keys`: what is known of the request.
    pub fn decide_queue<'p>(
        &self,
        caller: &'p Caller,
        action: Action,
        queue: &'p Queue,
        keys: RequestKeys<'_>,
    ) -> Decision<'p> {
        decide_on_queue(caller, action, queue, &keys.about(&queue.record))
    }

    /// An action on what no resource policy speaks of: a queue that is not there yet, or all of them.
    ///
    /// # Errors
    /// AccessDenied.
    pub fn account<'t>(
        &self,
        caller: &Caller,
        action: Action,
        resource: &str,
        tags: impl IntoIterator<Item = (&'t str, Option<&'t str>)>,
    ) -> Result<(), ErrorReply> {
        let mut keys = self.keys(caller);
        keys.add_tags(tags);
        let decision = self.decide_account(caller, action.iam_action(), resource, &keys);
        denied_as(&decision, caller, action.iam_action(), resource)
    }

    /// The bare decision about an action on what no resource policy speaks of, for `explain`.
    pub fn decide_account<'p>(
        &self,
        caller: &'p Caller,
        action: &str,
        resource: &str,
        keys: &RequestKeys<'_>,
    ) -> Decision<'p> {
        let request = Request { principal: principal(caller), action, resource, keys };
        decide_identity(&request, &identity(caller))
    }

    /// Who may assume a role: what its trust policy and the caller's own policies say. `keys` holds what is asked for.
    pub fn decide_role<'p>(
        &self,
        caller: &'p Caller,
        role: &'p Role,
        keys: &RequestKeys<'_>,
    ) -> Decision<'p> {
        let request =
            Request { principal: principal(caller), action: "sts:AssumeRole", resource: &role.arn, keys };
        match role.trust.as_deref() {
            Some(trust) => decide_role(&request, &identity(caller), trust, &role.account),
            None => Decision { denial: Some(DenialReason::NoResourceAllow), because: SmallVec::new() },
        }
    }

    /// A key action. `Err` carries the text.
    ///
    /// # Errors
    /// The denial text.
    pub fn key(
        &self,
        caller: &Caller,
        action: &str,
        key: KeyFacts<'_>,
        keys: &RequestKeys<'_>,
    ) -> Result<(), String> {
        text_of(&self.decide_key(caller, action, key, keys), caller, action, key.shown)
    }

    /// The bare decision about a key action, for `explain`.
    pub fn decide_key<'p>(
        &self,
        caller: &'p Caller,
        action: &str,
        key: KeyFacts<'p>,
        keys: &RequestKeys<'_>,
    ) -> Decision<'p> {
        let request = Request { principal: principal(caller), action, resource: key.arn, keys };
        decide_key(&request, &identity(caller), key.policy, key.account, key.granted)
    }

    /// A use of a key through a queue. `key_id`: how the queue names the key, where it is not known by its ARN yet.
    ///
    /// # Errors
    /// The denial text.
    pub fn key_through_sqs(
        &self,
        caller: &Caller,
        action: &str,
        key: KeyFacts<'_>,
        context: &EncryptionContext,
        key_id: Option<&str>,
    ) -> Result<(), String> {
        let mut keys = self.keys(caller);
        for (key, value) in self.through_sqs() {
            keys.add(key.to_owned(), value);
        }
        if let Some(alias) = key_id.filter(|key_id| key_id.starts_with("alias/")) {
            keys.add("kms:requestalias".into(), alias.to_owned());
        }
        keys.add_context(context);
        self.key(caller, action, key, &keys)
    }

    /// What a call through the broker in a caller's name adds to the condition keys.
    pub fn through_sqs(&self) -> [(&'static str, String); 2] {
        [
            ("kms:viaservice", format!("sqs.{}.amazonaws.com", self.region)),
            ("kms:encryptionalgorithm", SYMMETRIC_DEFAULT.to_owned()),
        ]
    }

    /// A key service action without a key.
    ///
    /// # Errors
    /// The denial text.
    pub fn key_service(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        keys: &RequestKeys<'_>,
    ) -> Result<(), String> {
        let decision = self.decide_account(caller, action, resource, keys);
        text_of(&decision, caller, action, resource)
    }
}

fn decide_on_queue<'p>(
    caller: &'p Caller,
    action: Action,
    queue: &'p Queue,
    keys: &RequestKeys<'_>,
) -> Decision<'p> {
    let request = Request {
        principal: principal(caller),
        action: action.iam_action(),
        resource: &queue.arn_text,
        keys,
    };
    let (policy, owner) = (queue.policy.as_deref(), &*queue.record.account);
    decide_queue(&request, &identity(caller), policy, owner, !action.is_owner_only())
}

/// HTTPS and Signature Version 4 for encrypted queues (sse.md, section 6).
///
/// # Errors
/// InvalidSecurity.
pub fn check_transport(caller: &Caller, encrypted: bool) -> Result<(), ErrorReply> {
    if encrypted && (!caller.secure_transport || caller.access_key_id.is_empty()) {
        return Err(ErrorReply::new(
            ErrorCode::InvalidSecurity,
            "All requests to this queue must use HTTPS and SigV4.",
        ));
    }
    Ok(())
}

fn principal(caller: &Caller) -> Principal<'_> {
    let role_arn = match &caller.kind {
        CallerKind::RoleSession { role_arn, .. } => Some(&**role_arn),
        _ => None,
    };
    Principal {
        arn: &caller.arn,
        role_arn,
        account: &caller.account,
        unique_id: caller.principal_id(),
        is_service: matches!(caller.kind, CallerKind::Service { .. }),
        is_anonymous: caller.is_anonymous(),
    }
}

fn identity(caller: &Caller) -> IdentityPolicies<'_> {
    IdentityPolicies {
        identity: &caller.identity_policies,
        session: &caller.session_policies,
        boundary: caller.boundary.as_deref(),
        is_root: caller.kind == CallerKind::Root,
    }
}

fn denied_as(
    decision: &Decision<'_>,
    caller: &Caller,
    action: &str,
    resource: &str,
) -> Result<(), ErrorReply> {
    if decision.is_allowed() {
        return Ok(());
    }
    text_of(decision, caller, &action.to_lowercase(), resource)
        .map_err(|text| ErrorReply::new(ErrorCode::AccessDenied, text))
}

fn text_of(decision: &Decision<'_>, caller: &Caller, action: &str, resource: &str) -> Result<(), String> {
    let Some(reason) = decision.denial else { return Ok(()) };
    Err(format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {}",
        caller.arn,
        reason.tail(action)
    ))
}
