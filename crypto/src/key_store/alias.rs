//! Aliases: names for keys, unique per account and region. Those under `alias/aws/` belong to services.

use serde::{Deserialize, Serialize};

use super::action::{self, Action};
use super::catalog_entry::{Entry, EntryName};
use super::key::{Key, KeyId, Scope};
use super::kms_error::KmsError;
use super::metadata::AliasListEntry;
use super::page::{Listed, Page};
use super::{Change, KeyStore, Mutation};
use crate::entropy::Entropy;

/// What every alias begins with.
pub const ALIAS_PREFIX: &str = "alias/";
/// What the aliases of services begin with.
pub const SERVICE_ALIAS_PREFIX: &str = "alias/aws/";
/// The alias of an account's managed SQS key.
pub const MANAGED_SQS_ALIAS: &str = "alias/aws/sqs";
/// Most aliases of one key.
pub const ALIASES_PER_KEY_MAX: usize = 50;

/// Where an alias is unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct AliasKey {
    pub(crate) account: String,
    pub(crate) region: String,
    /// With `alias/`.
    pub(crate) name: String,
}

impl AliasKey {
    pub(crate) fn new(scope: &Scope, name: &str) -> Self {
        Self { account: scope.account.clone(), region: scope.region.clone(), name: name.into() }
    }
}

/// An alias and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alias {
    pub(crate) key: AliasKey,
    pub(crate) target: KeyId,
    pub(crate) created_at_ms: u64,
    pub(crate) updated_at_ms: u64,
}

/// Whether a caller may give an alias this name. Errors: no prefix, a name of the service's own, characters.
pub fn check_alias_name(name: &str) -> Result<(), KmsError> {
    let rest = name.strip_prefix(ALIAS_PREFIX).ok_or(KmsError::AliasPrefix)?;
    if name.starts_with(SERVICE_ALIAS_PREFIX) {
        return Err(KmsError::AliasReserved { name: name.into() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-');
    match !rest.is_empty() && rest.chars().all(allowed) {
        true => Ok(()),
        false => Err(KmsError::InvalidAliasName { given: name.into() }),
    }
}

impl KeyStore {
    /// The key an alias of `scope` stands for. Errors: [`KmsError::AliasNotFound`].
    pub fn alias_target(&self, scope: &Scope, name: &str) -> Result<KeyId, KmsError> {
        let alias = self.aliases.get(&AliasKey::new(scope, name));
        // Equal account and region of another partition are another alias.
        alias
            .map(|alias| alias.target)
            .filter(|target| self.keys.get(target).is_some_and(|key| key.scope.partition == scope.partition))
            .ok_or_else(|| KmsError::AliasNotFound { arn: scope.alias_arn(name) })
    }

    /// Names of the aliases of a key, sorted.
    pub fn aliases_of(&self, key: KeyId) -> impl Iterator<Item = &str> {
        self.aliases.values().filter(move |alias| alias.target == key).map(|alias| alias.key.name.as_str())
    }

    /// CreateAlias. `target` must be of `scope`.
    pub fn prepare_create_alias(
        &self,
        scope: &Scope,
        name: &str,
        target: KeyId,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        check_alias_name(name)?;
        let alias_key = AliasKey::new(scope, name);
        let of = self.check_target(scope, target, Action::CreateAlias)?;
        if self.aliases.contains_key(&alias_key) {
            return Err(KmsError::AliasExists { arn: scope.alias_arn(name) });
        }
        self.check_room(of)?;
        self.put_alias(
            Alias { key: alias_key, target, created_at_ms: now_ms, updated_at_ms: now_ms },
            entropy,
        )
    }

    /// UpdateAlias: the new key must be of the same type and usage as the old one.
    pub fn prepare_update_alias(
        &self,
        scope: &Scope,
        name: &str,
        target: KeyId,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        check_alias_name(name)?;
        let old = self.key(self.alias_target(scope, name)?)?;
        let new = self.check_target(scope, target, Action::UpdateAlias)?;
        if (old.is_symmetric(), old.usage) != (new.is_symmetric(), new.usage) {
            return Err(KmsError::Validation(format!(
                "Alias {} must be updated to a key of the same type and usage.",
                scope.alias_arn(name)
            )));
        }
        if old.id == target {
            return Ok(Mutation::default());
        }
        self.check_room(new)?;
        let alias_key = AliasKey::new(scope, name);
        let created_at_ms = self.aliases.get(&alias_key).map_or(now_ms, |alias| alias.created_at_ms);
        self.put_alias(Alias { key: alias_key, target, created_at_ms, updated_at_ms: now_ms }, entropy)
    }

    /// DeleteAlias. The key stays.
    pub fn prepare_delete_alias(
        &self,
        scope: &Scope,
        name: &str,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        check_alias_name(name)?;
        self.alias_target(scope, name)?;
        self.mutation(vec![Change::Remove(EntryName::Alias(AliasKey::new(scope, name)))], entropy)
    }

    /// ListAliases of an account and region, by name; only those of `key` if given.
    pub fn list_aliases(&self, scope: &Scope, key: Option<KeyId>, page: &Page) -> Listed<AliasListEntry> {
        let first = AliasKey::new(scope, "");
        let own = self
            .aliases
            .range(first..)
            .map(|(_, alias)| alias)
            .take_while(|alias| alias.key.account == scope.account && alias.key.region == scope.region);
        page.of(own.filter(|alias| key.is_none_or(|key| key == alias.target)).map(|alias| {
            let entry = AliasListEntry {
                alias_name: alias.key.name.clone(),
                alias_arn: scope.alias_arn(&alias.key.name),
                target_key_id: Some(alias.target.to_string()),
                created_at_ms: Some(alias.created_at_ms),
                updated_at_ms: Some(alias.updated_at_ms),
            };
            (alias.key.name.clone(), entry)
        }))
    }

    /// The key, if an alias of `scope` may stand for it.
    fn check_target(&self, scope: &Scope, target: KeyId, action: Action) -> Result<&Key, KmsError> {
        let key = self.key(target)?;
        if key.scope != *scope {
            return Err(KmsError::KeyNotFound { arn: scope.key_arn(&target.to_string()) });
        }
        action::check(action, key)?;
        Ok(key)
    }

    fn check_room(&self, key: &Key) -> Result<(), KmsError> {
        match self.aliases_of(key.id).count() < ALIASES_PER_KEY_MAX {
            true => Ok(()),
            false => Err(KmsError::LimitExceeded {
                what: "Aliases per key",
                limit: ALIASES_PER_KEY_MAX,
                of: key.arn(),
            }),
        }
    }

    fn put_alias(&self, alias: Alias, entropy: &mut dyn Entropy) -> Result<Mutation, KmsError> {
        self.mutation(vec![Change::Put(Entry::Alias(alias))], entropy)
    }
}
