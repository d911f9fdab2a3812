//! The one place where it is decided who may do what.
//!
//! Rules are in `sealq_api::iam`; here the request gets its condition keys, and the decision its text.

mod keys;

use std::sync::Arc;

use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::iam::decision::{IdentityPolicies, decide_identity, decide_key, decide_queue};
use sealq_api::iam::{Decision, Policy, Principal, Request};
use sealq_api::sqs::Action;
use sealq_crypto::EncryptionContext;

use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::queues::{Queue, is_encrypted};
pub use keys::RequestKeys;

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
    /// Owner.
    pub account: &'a str,
    /// Its policy.
    pub policy: &'a Policy,
    /// A grant covers the operation.
    pub granted: bool,
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
        check_transport(caller, is_encrypted(&queue.record.settings))?;
        let decision = self.decide_queue(caller, action, queue);
        denied_as(&decision, caller, action.iam_action(), &queue.arn_text)
    }

    /// The bare decision about a queue action, for `explain`.
    pub fn decide_queue(&self, caller: &Caller, action: Action, queue: &Queue) -> Decision {
        let mut keys = self.keys(caller);
        for (tag, value) in &queue.record.tags {
            keys.add(format!("aws:resourcetag/{}", tag.to_lowercase()), value.clone());
        }
        keys.add("aws:resourceaccount".into(), queue.record.account.clone());
        let request = Request {
            principal: principal(caller),
            action: action.iam_action(),
            resource: &queue.arn_text,
            keys: &keys,
        };
        let (policy, owner) = (queue.policy.as_deref(), &*queue.record.account);
        decide_queue(&request, &identity(caller), policy, owner, !action.is_owner_only())
    }

    /// An action on what no resource policy speaks of: a queue that is not there yet, or all of them.
    ///
    /// # Errors
    /// AccessDenied.
    pub fn account(&self, caller: &Caller, action: Action, resource: &str) -> Result<(), ErrorReply> {
        denied_as(&self.decide_account(caller, action, resource), caller, action.iam_action(), resource)
    }

    /// The bare decision of [`Self::account`], for `explain`.
    pub fn decide_account(&self, caller: &Caller, action: Action, resource: &str) -> Decision {
        let keys = self.keys(caller);
        let request =
            Request { principal: principal(caller), action: action.iam_action(), resource, keys: &keys };
        decide_identity(&request, &identity(caller))
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
        let request = Request { principal: principal(caller), action, resource: key.arn, keys };
        let decision = decide_key(&request, &identity(caller), key.policy, key.account, key.granted);
        text_of(&decision, caller, action, key.arn)
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
        keys.add("kms:viaservice".into(), format!("sqs.{}.amazonaws.com", self.region));
        if let Some(alias) = key_id.filter(|key_id| key_id.starts_with("alias/")) {
            keys.add("kms:requestalias".into(), alias.to_owned());
        }
        keys.add_context(context);
        self.key(caller, action, key, &keys)
    }

    /// A key service action without a key.
    ///
    /// # Errors
    /// The denial text.
    pub fn key_service(&self, caller: &Caller, action: &str, resource: &str) -> Result<(), String> {
        let keys = self.keys(caller);
        let request = Request { principal: principal(caller), action, resource, keys: &keys };
        text_of(&decide_identity(&request, &identity(caller)), caller, action, resource)
    }
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

pub(crate) fn principal(caller: &Caller) -> Principal<'_> {
    let role_arn = match &caller.kind {
        CallerKind::RoleSession { role_arn, .. } => Some(&**role_arn),
        _ => None,
    };
    let unique_id = caller.unique_id.split(':').next().unwrap_or(&caller.unique_id);
    Principal {
        arn: &caller.arn,
        role_arn,
        account: &caller.account,
        unique_id,
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

fn denied_as(decision: &Decision, caller: &Caller, action: &str, resource: &str) -> Result<(), ErrorReply> {
    let shown = action.to_lowercase();
    text_of(decision, caller, &shown, resource).map_err(|text| ErrorReply::new(ErrorCode::AccessDenied, text))
}

fn text_of(decision: &Decision, caller: &Caller, action: &str, resource: &str) -> Result<(), String> {
    let Some(reason) = decision.denial else { return Ok(()) };
    if caller.is_anonymous() {
        return Err(format!("Access to the resource {resource} is denied."));
    }
    Err(format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {}",
        caller.arn,
        reason.tail(action)
    ))
}
