//! The one decision about a key: for the key service's own API, and for the broker's calls in a caller's name.
//!
//! Policies and grants are asked for here and the request gets the condition keys of the key; the rules are in
//! `sealq_api::iam`. Finds no keys and changes nothing.

pub(crate) mod condition_keys;

use std::sync::Arc;

use sealq_api::iam::{Named, Policy};
use sealq_crypto::EncryptionContext;
use sealq_crypto::key_store::grant::{GrantCaller, GrantOperation, Held, NewGrant};
use sealq_crypto::key_store::{KeyId, KmsError, Scope};

use crate::authorize::{Authorizer, KeyFacts, RequestKeys};
use crate::caller::{Caller, CallerKind};
use crate::key_control::KeyControl;
pub use condition_keys::{Conditions, algorithm, of_grant, of_request};

/// Decides about keys.
#[derive(Clone)]
pub struct KeyRights {
    control: Arc<KeyControl>,
    authorizer: Authorizer,
}

/// What a caller wants to do with a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyUse<'a> {
    /// The key.
    pub key: KeyId,
    /// `kms:Decrypt`.
    pub right: &'a str,
    /// Encryption context; empty where the action has none.
    pub context: &'a EncryptionContext,
    /// How a grant covers it.
    pub granted: Option<Held>,
    /// What the request calls the key.
    pub named: Option<&'a str>,
    /// What a refusal calls it: its ARN if absent.
    pub shown: Option<&'a str>,
}

impl KeyRights {
    /// Over the broker's keys.
    pub fn new(control: Arc<KeyControl>, authorizer: Authorizer) -> Self {
        Self { control, authorizer }
    }

    /// What a call through the broker adds to the condition keys.
    pub fn through_sqs(&self) -> Conditions {
        self.authorizer.through_sqs().into_iter().map(|(key, value)| (key.to_owned(), vec![value])).collect()
    }

    /// How a grant allows the caller an operation, if one does.
    pub fn granted(
        &self,
        caller: &Caller,
        key: KeyId,
        operation: GrantOperation,
        context: &EncryptionContext,
    ) -> Option<Held> {
        self.control.read().grant_allows(key, &grant_caller(caller), operation, context)
    }

    /// How a grant allows the caller to make another, if one does.
    pub fn granted_grant(&self, caller: &Caller, key: KeyId, new: &NewGrant) -> Option<Held> {
        self.control.read().grant_allows_grant(key, &grant_caller(caller), new)
    }

    /// The decision. `conditions`: what the request itself adds to the condition keys.
    ///
    /// # Errors
    /// AccessDenied; the key is gone.
    pub fn permit(
        &self,
        caller: &Caller,
        asked: &KeyUse<'_>,
        conditions: &Conditions,
    ) -> Result<(), KmsError> {
        let policy = self.control.policy(asked.key)?;
        let mut keys = self.keys(caller, conditions);
        let (arn, account) = {
            let store = self.control.read();
            condition_keys::add_key(&mut keys, &store, asked.key)?;
            (store.key_arn(asked.key)?, store.owner(asked.key)?.account.clone())
        };
        if let Some(named) = asked.named {
            condition_keys::add_request_alias(&mut keys, named);
        }
        keys.add_context(asked.context);
        let facts = KeyFacts {
            arn: &arn,
            shown: asked.shown.unwrap_or(&arn),
            account: &account,
            policy: &policy,
            granted: asked.granted.map(|held| named_by(held, caller)),
        };
        self.authorizer.key(caller, asked.right, facts, &keys).map_err(denied)
    }

    /// The decision about a key that is not there yet, under the policy it would have.
    ///
    /// # Errors
    /// AccessDenied.
    pub fn permit_unmade(
        &self,
        caller: &Caller,
        right: &str,
        (arn, owner): (&str, &Scope),
        policy: &Policy,
        conditions: &Conditions,
    ) -> Result<(), KmsError> {
        let facts = KeyFacts { arn, shown: arn, account: &owner.account, policy, granted: None };
        self.authorizer.key(caller, right, facts, &self.keys(caller, conditions)).map_err(denied)
    }

    /// The refusal for a key of another account that is not there, or that the caller shall not learn about: the same
    /// as for one that does not let the caller in.
    pub fn refusal_of_unknown(
        &self,
        caller: &Caller,
        right: &str,
        named: &str,
        conditions: &Conditions,
    ) -> KmsError {
        let owner = named.split(':').nth(4).unwrap_or_default();
        let silent = Policy::silent(sealq_api::iam::PolicyKind::Key);
        let facts = KeyFacts { arn: named, shown: named, account: owner, policy: &silent, granted: None };
        let decided = self.authorizer.key(caller, right, facts, &self.keys(caller, conditions));
        denied(decided.err().unwrap_or_default())
    }

    /// A right that no key policy speaks of.
    ///
    /// # Errors
    /// AccessDenied.
    pub fn permit_service(
        &self,
        caller: &Caller,
        right: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> Result<(), KmsError> {
        let keys = self.keys(caller, conditions);
        self.authorizer.key_service(caller, right, resource, &keys).map_err(denied)
    }

    fn keys<'a>(&'a self, caller: &'a Caller, conditions: &Conditions) -> RequestKeys<'a> {
        let mut keys = self.authorizer.keys(caller);
        for (key, values) in conditions {
            keys.add_many((*key).to_owned(), values.clone());
        }
        keys
    }
}

/// The caller as grants name principals.
pub fn grant_caller(caller: &Caller) -> GrantCaller<'_> {
    GrantCaller {
        arn: &caller.arn,
        role_arn: match &caller.kind {
            CallerKind::RoleSession { role_arn, .. } => Some(role_arn),
            _ => None,
        },
        unique_id: caller.principal_id(),
        account: &caller.account,
        is_account_root: caller.kind == CallerKind::Root,
    }
}

/// How a policy would have named a caller whom a grant names so.
pub fn named_by(held: Held, caller: &Caller) -> Named {
    match (held, &caller.kind) {
        (Held::ByAccount, _) => Named::Account,
        (Held::ByItself, CallerKind::RoleSession { .. }) => Named::Role,
        (Held::ByItself, _) => Named::Itself,
    }
}

fn denied(reason: String) -> KmsError {
    KmsError::AccessDenied { reason }
}
