//! From what a request names a key by (id, ARN, alias, alias ARN) to the key, with the recorded errors.

use super::KeyStore;
use super::action::Action;
use super::alias::{ALIAS_PREFIX, MANAGED_SQS_ALIAS};
use super::key::{KeyId, Scope};
use super::kms_error::KmsError;

/// An identifier taken apart.
enum Named<'a> {
    Key { id: &'a str, scope: Scope },
    Alias { name: &'a str, scope: Scope },
}

impl KeyStore {
    /// The key that `identifier` names for a caller of `scope` who wants to do `action`.
    ///
    /// Errors: not found (texts of the contract), invalid ARN. A key of another account is found by ARN only, and only
    /// for the actions that take one; whether the caller may use it is not asked here.
    pub fn resolve(&self, identifier: &str, scope: &Scope, action: Action) -> Result<KeyId, KmsError> {
        match parse(identifier, scope)? {
            Named::Key { id, scope: owner } => self.resolve_key_id(identifier, id, &owner, scope, action),
            Named::Alias { name, scope: owner } => {
                if !action.takes_alias() {
                    return Err(KmsError::InvalidKeyId { given: identifier.into() });
                }
                self.alias_target(&owner, name)
            }
        }
    }

    /// Whether `identifier` is the predefined alias of the caller's managed SQS key and that key does not exist yet:
    /// DescribeKey and SQS then make it with [`KeyStore::ensure_managed_key`].
    pub fn is_unmade_managed_alias(&self, identifier: &str, scope: &Scope) -> bool {
        match parse(identifier, scope) {
            Ok(Named::Alias { name, scope: owner }) => {
                name == MANAGED_SQS_ALIAS && owner == *scope && self.alias_target(&owner, name).is_err()
            }
            _ => false,
        }
    }

    fn resolve_key_id(
        &self,
        identifier: &str,
        id: &str,
        owner: &Scope,
        caller: &Scope,
        action: Action,
    ) -> Result<KeyId, KmsError> {
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(KmsError::InvalidKeyId { given: identifier.into() });
        }
        let foreign_refused = owner.account != caller.account && !action.takes_foreign_key();
        KeyId::parse(id)
            .filter(|_| !foreign_refused)
            .filter(|id| self.keys.get(id).is_some_and(|key| key.scope == *owner))
            .ok_or_else(|| KmsError::KeyNotFound { arn: owner.key_arn(id) })
    }
}

fn parse<'a>(identifier: &'a str, caller: &Scope) -> Result<Named<'a>, KmsError> {
    if !identifier.starts_with("arn:") {
        return Ok(match identifier.starts_with(ALIAS_PREFIX) {
            true => Named::Alias { name: identifier, scope: caller.clone() },
            false => Named::Key { id: identifier, scope: caller.clone() },
        });
    }
    let malformed = || KmsError::InvalidArn { given: identifier.into() };
    let parts: Vec<&str> = identifier.splitn(6, ':').collect();
    let &[_, partition, "kms", region, account, resource] = parts.as_slice() else {
        return Err(malformed());
    };
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) || partition != caller.partition {
        return Err(malformed());
    }
    if region != caller.region {
        return Err(KmsError::OtherRegion { region: region.into() });
    }
    let scope = Scope { account: account.into(), ..caller.clone() };
    if resource.strip_prefix(ALIAS_PREFIX).is_some_and(|name| !name.is_empty()) {
        return Ok(Named::Alias { name: resource, scope });
    }
    match resource.strip_prefix("key/") {
        Some(id) if !id.is_empty() => Ok(Named::Key { id, scope }),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, OTHER_ACCOUNT, scope};
    use super::*;

    const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

    #[test]
    fn all_four_forms_name_the_same_key() {
        let mut bench = Bench::new();
        let id = bench.create_key();
        bench.create_alias("alias/a", id);
        let arn = scope().key_arn(&id.to_string());
        for form in [&id.to_string(), &arn, "alias/a", &scope().alias_arn("alias/a")] {
            assert_eq!(bench.store.resolve(form, &scope(), Action::Encrypt), Ok(id), "{form}");
        }
    }

    #[test]
    fn errors_have_the_recorded_texts() {
        let bench = Bench::new();
        let text = |given: &str, action| {
            let error = bench.store.resolve(given, &scope(), action).unwrap_err();
            format!("{}: {error}", error.name())
        };
        let cases = [
            (UNKNOWN, format!("NotFoundException: Key '{}' does not exist", scope().key_arn(UNKNOWN))),
            ("fake-key-id", "NotFoundException: Invalid keyId 'fake-key-id'".into()),
            (
                "alias/x",
                "NotFoundException: Alias arn:aws:kms:eu-central-1:111122223333:alias/x is not found.".into(),
            ),
            (
                "arn:aws:kms:us-east-2:111122223333:key/11111111-2222-4333-8444-555555555555",
                "NotFoundException: Invalid arn us-east-2".into(),
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(text(given, Action::DescribeKey), expected);
        }
        assert_eq!(text("alias/x", Action::EnableKey), "NotFoundException: Invalid keyId 'alias/x'");
        for malformed in [
            "arn:aws:sqs:eu-central-1:111122223333:key/x",
            "arn:aws:kms:eu-central-1:111122223333:grant/x",
            "arn:aws:kms:eu-central-1:1:key/x",
            "arn:aws:kms",
            "arn:aws:kms:eu-central-1:111122223333:alias/",
        ] {
            let error = bench.store.resolve(malformed, &scope(), Action::Encrypt).unwrap_err();
            assert_eq!(error.name(), "InvalidArnException", "{malformed}");
        }
    }

    #[test]
    fn foreign_keys_are_found_by_arn_for_the_actions_that_take_them() {
        let mut bench = Bench::new();
        let id = bench.create_key();
        let (arn, stranger) =
            (scope().key_arn(&id.to_string()), Scope { account: OTHER_ACCOUNT.into(), ..scope() });
        assert_eq!(bench.store.resolve(&arn, &stranger, Action::Encrypt), Ok(id));
        assert!(bench.store.resolve(&id.to_string(), &stranger, Action::Encrypt).is_err());
        assert!(bench.store.resolve(&arn, &stranger, Action::DisableKey).is_err());
    }

    #[test]
    fn other_spellings_of_a_key_id_are_not_the_key() {
        let mut bench = Bench::new();
        let id = bench.create_key().to_string();
        for spelling in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}")] {
            assert_eq!(
                bench.store.resolve(&spelling, &scope(), Action::Encrypt).map_err(|error| error.name()),
                if spelling == id { Ok(KeyId::parse(&id).unwrap()) } else { Err("NotFoundException") }
            );
        }
    }
}
