//! The `kms:` condition keys: of the key, of its name in the request, of the encryption context, of the request itself.

use sealq_api::kms::KmsRequest;
use sealq_crypto::key_store::cryptography::SYMMETRIC_DEFAULT;
use sealq_crypto::key_store::grant::{GrantConstraint, NewGrant};
use sealq_crypto::key_store::lifecycle::PENDING_WINDOW_DAYS_DEFAULT;
use sealq_crypto::key_store::rotation::PERIOD_DAYS_DEFAULT;
use sealq_crypto::key_store::{KeyId, KeyStore, KmsError};

use crate::authorize::{RequestKeys, iso_time};

/// Condition keys, in lower case, and their values.
pub type Conditions = Vec<(String, Vec<String>)>;

/// What the members of a request say.
pub fn of_request(request: &KmsRequest) -> Conditions {
    use KmsRequest as R;
    let mut found = Conditions::new();
    let mut add = |key: &str, value: String| found.push((key.to_owned(), vec![value]));
    match request {
        R::Encrypt(request) => add("kms:encryptionalgorithm", algorithm(request.algorithm.as_deref())),
        R::Decrypt(request) => add("kms:encryptionalgorithm", algorithm(request.algorithm.as_deref())),
        R::GenerateDataKey(_) | R::GenerateDataKeyWithoutPlaintext(_) => {
            add("kms:encryptionalgorithm", algorithm(None));
        }
        R::CreateKey(request) => {
            add("kms:bypasspolicylockoutsafetycheck", request.bypass_lockout_check.to_string());
            add("kms:keyspec", request.key_spec.as_deref().unwrap_or(SYMMETRIC_DEFAULT).into());
            add("kms:keyusage", request.key_usage.as_deref().unwrap_or("ENCRYPT_DECRYPT").into());
            add("kms:keyorigin", request.origin.as_deref().unwrap_or("AWS_KMS").into());
            add("kms:multiregion", "false".into());
            add_tags(&mut found, &request.tags);
        }
        R::PutKeyPolicy(request) => {
            add("kms:bypasspolicylockoutsafetycheck", request.bypass_lockout_check.to_string());
        }
        R::TagResource(request) => add_tags(&mut found, &request.tags),
        R::UntagResource(request) => found.push(("aws:tagkeys".into(), request.tag_keys.clone())),
        R::EnableKeyRotation(request) => {
            let days = request.period_days.unwrap_or(u64::from(PERIOD_DAYS_DEFAULT));
            add("kms:rotationperiodindays", days.to_string());
        }
        R::ScheduleKeyDeletion(request) => {
            let days = request.pending_window_days.unwrap_or(PENDING_WINDOW_DAYS_DEFAULT);
            add("kms:schedulekeydeletionpendingwindowindays", days.to_string());
        }
        R::GetParametersForImport(request) => {
            add("kms:wrappingalgorithm", request.wrapping_algorithm.clone());
            add("kms:wrappingkeyspec", request.wrapping_key_spec.clone());
        }
        R::ImportKeyMaterial(request) => {
            add(
                "kms:expirationmodel",
                request.expiration_model.as_deref().unwrap_or("KEY_MATERIAL_EXPIRES").into(),
            );
            if let Some(at_ms) = request.valid_to_ms {
                add("kms:validto", iso_time(at_ms / 1_000));
            }
        }
        R::ListGrants(_) | R::RevokeGrant(_) => add("kms:grantisforawsresource", "false".into()),
        _ => {}
    }
    found
}

/// What CreateGrant is asked for.
pub fn of_grant(new: &NewGrant) -> Conditions {
    let mut found: Conditions = vec![
        ("kms:granteeprincipal".into(), vec![new.grantee.clone()]),
        ("kms:grantisforawsresource".into(), vec!["false".into()]),
        (
            "kms:grantoperations".into(),
            new.operations.iter().map(|operation| operation.name().to_owned()).collect(),
        ),
    ];
    if let Some(retiring) = &new.retiring {
        found.push(("kms:retiringprincipal".into(), vec![retiring.clone()]));
    }
    let kind = match &new.constraint {
        Some(GrantConstraint::Equals(_)) => "EncryptionContextEquals",
        Some(GrantConstraint::Subset(_)) => "EncryptionContextSubset",
        None => return found,
    };
    found.push(("kms:grantconstrainttype".into(), vec![kind.into()]));
    found
}

/// The algorithm that a request names or means.
pub fn algorithm(named: Option<&str>) -> String {
    named.unwrap_or(SYMMETRIC_DEFAULT).to_owned()
}

fn add_tags(found: &mut Conditions, tags: &[(String, String)]) {
    for (tag, value) in tags {
        found.push((format!("aws:requesttag/{tag}"), vec![value.clone()]));
    }
    if !tags.is_empty() {
        found.push(("aws:tagkeys".into(), tags.iter().map(|(tag, _)| tag.clone()).collect()));
    }
}

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
