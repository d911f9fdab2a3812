//! The `kms:` condition keys that describe the key, the request's name for it, and a grant to be made.

use sealq_crypto::key_store::grant::{GrantConstraint, NewGrant};
use sealq_crypto::key_store::{KeyId, KeyStore, KmsError};

use crate::authorize::RequestKeys;

/// Origin, spec, usage, aliases and tags of the key.
///
/// # Errors
/// The key is gone.
pub(crate) fn add_key(keys: &mut RequestKeys<'_>, store: &KeyStore, key: KeyId) -> Result<(), KmsError> {
    let metadata = store.describe_key(key)?;
    keys.add("kms:keyorigin".into(), metadata.origin.name().into());
    keys.add("kms:keyspec".into(), metadata.key_spec.name().into());
    keys.add("kms:keyusage".into(), metadata.key_usage.name().into());
    keys.add("aws:resourceaccount".into(), metadata.account);
    let aliases: Vec<String> = store.aliases_of(key).map(str::to_owned).collect();
    if !aliases.is_empty() {
        keys.add_many("kms:resourcealiases".into(), aliases);
    }
    for (tag, value) in store.tags(key)? {
        keys.add(format!("aws:resourcetag/{tag}"), value.clone());
    }
    Ok(())
}

/// `kms:RequestAlias`, if the request names the key by an alias or alias ARN.
pub(crate) fn add_request_alias(keys: &mut RequestKeys<'_>, named: &str) {
    if let Some(alias) = alias_in(named) {
        keys.add("kms:requestalias".into(), alias.to_owned());
    }
}

/// What CreateGrant is asked for.
pub(super) fn add_grant(keys: &mut RequestKeys<'_>, new: &NewGrant) {
    let operations = new.operations.iter().map(|operation| operation.name().to_owned()).collect();
    keys.add_many("kms:grantoperations".into(), operations);
    keys.add("kms:granteeprincipal".into(), new.grantee.clone());
    keys.add("kms:grantisforawsresource".into(), "false".into());
    if let Some(retiring) = &new.retiring {
        keys.add("kms:retiringprincipal".into(), retiring.clone());
    }
    let kind = match &new.constraint {
        Some(GrantConstraint::Equals(_)) => "EncryptionContextEquals",
        Some(GrantConstraint::Subset(_)) => "EncryptionContextSubset",
        None => return,
    };
    keys.add("kms:grantconstrainttype".into(), kind.into());
}

fn alias_in(named: &str) -> Option<&str> {
    let resource = if named.starts_with("arn:") { named.splitn(6, ':').nth(5)? } else { named };
    resource.starts_with("alias/").then_some(resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_found_in_names_and_arns() {
        assert_eq!(alias_in("alias/a"), Some("alias/a"));
        assert_eq!(alias_in("arn:aws:kms:eu-central-1:111122223333:alias/a"), Some("alias/a"));
        assert_eq!(alias_in("arn:aws:kms:eu-central-1:111122223333:key/k"), None);
        assert_eq!(alias_in("arn:aws"), None);
    }
}
