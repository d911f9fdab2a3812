//! From a key's name in a request to a key that the caller may use so.

use sealq_crypto::EncryptionContext;
use sealq_crypto::key_store::grant::{GrantCaller, GrantOperation, NewGrant};
use sealq_crypto::key_store::{Action, KeyId, KmsError};

use super::KmsApi;
use super::trail::Trail;
use crate::authorize::{KeyFacts, RequestKeys};
use crate::caller::{Caller, CallerKind};
use crate::embedded_keys::{add_context, grant_arns};

/// What is asked about a key, besides who and which.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    /// Right, as policies name it.
    pub(super) right: &'a str,
    /// The operation of a grant that would do too.
    pub(super) operation: Option<GrantOperation>,
    /// The grant to be made, whose maker may have the right from another grant.
    pub(super) new_grant: Option<&'a NewGrant>,
    /// Encryption context of cryptographic actions.
    pub(super) context: Option<&'a EncryptionContext>,
    /// The key as the request names it.
    pub(super) named: Option<&'a str>,
    /// Further condition keys, in lower case.
    pub(super) keys: &'a [(&'a str, &'a str)],
}

impl<'a> Ask<'a> {
    pub(super) fn new(right: &'a str) -> Self {
        Self { right, operation: None, new_grant: None, context: None, named: None, keys: &[] }
    }
}

impl KmsApi {
    /// The key that a request names, if the caller may do this to it.
    pub(super) fn authorized(
        &self,
        caller: &Caller,
        named: &str,
        action: Action,
        trail: &mut Trail,
    ) -> Result<KeyId, KmsError> {
        let right = format!("kms:{}", action.name());
        self.authorized_as(caller, action, Ask { named: Some(named), ..Ask::new(&right) }, trail)
    }

    /// The same with all that may be asked. `ask.named` is the key.
    pub(super) fn authorized_as(
        &self,
        caller: &Caller,
        action: Action,
        ask: Ask<'_>,
        trail: &mut Trail,
    ) -> Result<KeyId, KmsError> {
        let key = self.resolve(caller, ask.named.unwrap_or_default(), action, ask.right)?;
        self.allow(caller, key, ask, trail)?;
        Ok(key)
    }

    /// The key that a request names. Of a key of another account nobody learns whether it exists.
    pub(super) fn resolve(
        &self,
        caller: &Caller,
        named: &str,
        action: Action,
        right: &str,
    ) -> Result<KeyId, KmsError> {
        let found = self.control.read().resolve(named, &self.scope(caller), action);
        match found {
            Err(KmsError::KeyNotFound { arn } | KmsError::AliasNotFound { arn })
                if arn.split(':').nth(4) != Some(&*caller.account) =>
            {
                Err(KmsError::AccessDenied {
                    reason: format!(
                        "User: {} is not authorized to perform: {right} on resource: {arn} because no \
                         resource-based policy allows the {right} action",
                        caller.arn
                    ),
                })
            }
            found => found,
        }
    }

    /// Whether the caller may do this to the key.
    pub(super) fn allow(
        &self,
        caller: &Caller,
        key: KeyId,
        ask: Ask<'_>,
        trail: &mut Trail,
    ) -> Result<(), KmsError> {
        let policy = self.control.policy(key)?;
        let mut keys = self.authorizer.keys(caller);
        let (arn, account, granted) = {
            let store = self.control.read();
            let arns = grant_arns(caller);
            let grantee = grant_caller(caller, &arns);
            let empty = EncryptionContext::new();
            let context = ask.context.unwrap_or(&empty);
            let by_grant = |operation| store.grant_allows(key, &grantee, operation, context);
            let granted = ask.operation.is_some_and(by_grant)
                || ask.new_grant.is_some_and(|new| store.grant_allows_grant(key, &grantee, new));
            let metadata = store.describe_key(key)?;
            keys.add("kms:keyorigin".into(), metadata.origin.name().into());
            keys.add("kms:keyspec".into(), metadata.key_spec.name().into());
            keys.add("kms:keyusage".into(), metadata.key_usage.name().into());
            keys.add("aws:resourceaccount".into(), metadata.account.clone());
            let aliases: Vec<String> = store.aliases_of(key).map(str::to_owned).collect();
            if !aliases.is_empty() {
                keys.add_many("kms:resourcealiases".into(), aliases);
            }
            for (tag, value) in store.tags(key)? {
                keys.add(format!("aws:resourcetag/{}", tag.to_lowercase()), value.clone());
            }
            (metadata.arn, metadata.account, granted)
        };
        trail.touch(&arn);
        add_asked(&mut keys, &ask);
        let facts = KeyFacts { arn: &arn, account: &account, policy: &policy, granted };
        self.authorizer.key(caller, ask.right, facts, &keys).map_err(|reason| KmsError::AccessDenied { reason })
    }

    /// A right on what has no key policy: `*` or an alias.
    pub(super) fn allow_by_identity(&self, caller: &Caller, right: &str, resource: &str) -> Result<(), KmsError> {
        self.authorizer
            .key_service(caller, right, resource)
            .map_err(|reason| KmsError::AccessDenied { reason })
    }
}

/// The caller as grants know it; `arns` from [`grant_arns`].
pub(super) fn grant_caller<'a>(caller: &'a Caller, arns: &'a [&'a str]) -> GrantCaller<'a> {
    GrantCaller { arns, account: &caller.account, is_account_root: caller.kind == CallerKind::Root }
}

fn add_asked(keys: &mut RequestKeys<'_>, ask: &Ask<'_>) {
    if let Some(named) = ask.named {
        let alias = match named.starts_with("arn:") {
            true => named.splitn(6, ':').nth(5).unwrap_or_default(),
            false => named,
        };
        if alias.starts_with("alias/") {
            keys.add("kms:requestalias".into(), alias.to_owned());
        }
    }
    if let Some(context) = ask.context {
        keys.add("kms:encryptionalgorithm".into(), super::cryptography::ALGORITHM.into());
        add_context(keys, context);
    }
    for (name, value) in ask.keys {
        keys.add((*name).to_owned(), (*value).to_owned());
    }
    if let Some(new) = ask.new_grant {
        let operations = new.operations.iter().map(|operation| operation.name().to_owned()).collect();
        keys.add_many("kms:grantoperations".into(), operations);
        keys.add("kms:granteeprincipal".into(), new.grantee.clone());
        keys.add("kms:grantisforawsresource".into(), "false".into());
        if let Some(retiring) = &new.retiring {
            keys.add("kms:retiringprincipal".into(), retiring.clone());
        }
        if let Some(constraint) = &new.constraint {
            keys.add("kms:grantconstrainttype".into(), super::grants::constraint_kind(constraint).into());
        }
    }
}
