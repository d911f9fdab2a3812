//! A key's life: creation, description, enabling and disabling, deletion.

use std::collections::BTreeMap;

use super::action::Action;
use super::alias::{Alias, AliasKey, MANAGED_SQS_ALIAS};
use super::catalog_entry::{Entry, EntryName};
use super::key::{Key, KeyId, KeyManager, KeySpec, KeyUsage, Origin, RotationSchedule, Scope};
use super::kms_error::KmsError;
use super::metadata::{KeyListEntry, KeyMetadata};
use super::page::{Listed, Page};
use super::policy::{check_policy_size, default_policy, managed_sqs_policy};
use super::rotation::{DAY_MS, PERIOD_DAYS_DEFAULT};
use super::tag;
use super::{Change, KeyStore, Mutation, Prepared};
use crate::entropy::Entropy;

/// Most customer keys of one account and region.
pub const KEYS_PER_ACCOUNT_MAX: usize = 100_000;
/// Wait before a key is destroyed when none is named, days.
pub const PENDING_WINDOW_DAYS_DEFAULT: u64 = 30;
/// Description of the managed SQS key.
const MANAGED_SQS_DESCRIPTION: &str =
    "Default key that protects my SQS messages when no other key is defined";

/// What CreateKey asks for.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// Policy text, parsed and checked by the caller; the default policy if absent.
    pub policy: Option<String>,
    /// Unique ids of the users and roles that the policy names, by ARN.
    pub policy_ids: BTreeMap<String, String>,
    /// Empty if absent.
    pub description: String,
    /// Required of keys that are not symmetric.
    pub usage: Option<KeyUsage>,
    /// Symmetric if absent.
    pub spec: Option<KeySpec>,
    /// The service makes the material if absent.
    pub origin: Option<Origin>,
    /// In the order given.
    pub tags: Vec<(String, String)>,
}

/// The reply of ScheduleKeyDeletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledDeletion {
    /// Key ARN.
    pub key_arn: String,
    /// When the material is destroyed, milliseconds since 1970.
    pub deletion_at_ms: u64,
    /// As asked for or by default.
    pub pending_window_days: u64,
}

impl KeyStore {
    /// CreateKey in `scope`. Origin EXTERNAL: the key waits for its material.
    pub fn prepare_create_key(
        &self,
        scope: &Scope,
        new: NewKey,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<KeyMetadata>, KmsError> {
        let policy = match new.policy {
            Some(policy) => check_policy_size(&policy).map(|()| policy)?,
            None => default_policy(scope),
        };
        let spec = new.spec.unwrap_or(KeySpec::SymmetricDefault);
        let usage = usage_of(spec, new.usage)?;
        let mut tags = BTreeMap::new();
        tag::merge(&mut tags, &new.tags)?;
        let origin = new.origin.unwrap_or(Origin::AwsKms);
        if origin == Origin::External && spec != KeySpec::SymmetricDefault {
            return Err(KmsError::Unsupported {
                what: format!("Origin EXTERNAL with KeySpec {}", spec.name()),
            });
        }
        let own = |key: &&Key| key.scope == *scope && key.manager == KeyManager::Customer;
        if self.keys.values().filter(own).count() >= KEYS_PER_ACCOUNT_MAX {
            return Err(KmsError::LimitExceeded {
                what: "Keys per account",
                limit: KEYS_PER_ACCOUNT_MAX,
                of: scope.account.clone(),
            });
        }
        let mut key = Key {
            id: self.new_key_id(entropy)?,
            scope: scope.clone(),
            description: new.description,
            usage,
            spec,
            origin,
            manager: KeyManager::Customer,
            enabled: true,
            created_at_ms: now_ms,
            deletion_at_ms: None,
            materials: Vec::new(),
            rotation: None,
            on_demand_rotations: 0,
            tags,
            policy,
            policy_ids: new.policy_ids,
        };
        if origin == Origin::AwsKms {
            key.add_material(None, now_ms, entropy)?;
        }
        let reply = KeyMetadata::of(&key);
        Ok(Prepared {
            reply,
            mutation: self.mutation(vec![Change::Put(Entry::Key(Box::new(key)))], entropy)?,
        })
    }

    /// The managed SQS key of an account and region, made with its alias if it does not exist: there is never a second.
    pub fn ensure_managed_key(
        &self,
        scope: &Scope,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<KeyId>, KmsError> {
        if let Ok(existing) = self.alias_target(scope, MANAGED_SQS_ALIAS) {
            return Ok(Prepared { reply: existing, mutation: Mutation::default() });
        }
        let mut changes = Vec::new();
        let orphan = self.keys.values().find(|key| key.manager == KeyManager::Aws && key.scope == *scope);
        let target = match orphan {
            // A crash came between the key and its alias.
            Some(key) => key.id,
            None => {
                let key = self.new_managed_key(scope, now_ms, entropy)?;
                let id = key.id;
                changes.push(Change::Put(Entry::Key(Box::new(key))));
                id
            }
        };
        changes.push(Change::Put(Entry::Alias(Alias {
            key: AliasKey::new(scope, MANAGED_SQS_ALIAS),
            target,
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
        })));
        Ok(Prepared { reply: target, mutation: self.mutation(changes, entropy)? })
    }

    /// DescribeKey.
    pub fn describe_key(&self, key: KeyId) -> Result<KeyMetadata, KmsError> {
        Ok(KeyMetadata::of(self.key(key)?))
    }

    /// Whose key it is: the account that pays and whose key policy counts.
    pub fn owner(&self, key: KeyId) -> Result<&Scope, KmsError> {
        Ok(&self.key(key)?.scope)
    }

    /// ARN of a key.
    pub fn key_arn(&self, key: KeyId) -> Result<String, KmsError> {
        Ok(self.key(key)?.arn())
    }

    /// ListKeys of an account and region, all states, by key id.
    pub fn list_keys(&self, scope: &Scope, page: &Page) -> Listed<KeyListEntry> {
        page.of(self.keys.values().filter(|key| key.scope == *scope).map(|key| {
            let key_id = key.id.to_string();
            (key_id.clone(), KeyListEntry { key_arn: key.arn(), key_id })
        }))
    }

    /// UpdateKeyDescription.
    pub fn prepare_update_description(
        &self,
        key: KeyId,
        description: &str,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        self.change_key(key, Action::UpdateKeyDescription, entropy, |key| {
            description.clone_into(&mut key.description);
            Ok(())
        })
    }

    /// EnableKey; idempotent.
    pub fn prepare_enable(&self, key: KeyId, entropy: &mut dyn Entropy) -> Result<Mutation, KmsError> {
        self.change_key(key, Action::EnableKey, entropy, |key| {
            key.enabled = true;
            Ok(())
        })
    }

    /// DisableKey; idempotent.
    pub fn prepare_disable(&self, key: KeyId, entropy: &mut dyn Entropy) -> Result<Mutation, KmsError> {
        self.change_key(key, Action::DisableKey, entropy, |key| {
            key.enabled = false;
            Ok(())
        })
    }

    /// ScheduleKeyDeletion. From the deletion date on the sweep destroys the key.
    pub fn prepare_schedule_deletion(
        &self,
        key: KeyId,
        pending_window_days: Option<u64>,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<ScheduledDeletion>, KmsError> {
        let days = pending_window_days.unwrap_or(PENDING_WINDOW_DAYS_DEFAULT);
        let deletion_at_ms = now_ms.saturating_add(days * DAY_MS);
        let mutation = self.change_key(key, Action::ScheduleKeyDeletion, entropy, |key| {
            key.deletion_at_ms = Some(deletion_at_ms);
            Ok(())
        })?;
        let key_arn = self.key_arn(key)?;
        Ok(Prepared {
            reply: ScheduledDeletion { key_arn, deletion_at_ms, pending_window_days: days },
            mutation,
        })
    }

    /// CancelKeyDeletion: the key is then Disabled (or waits for import, if it has no material). Replies the key ARN.
    pub fn prepare_cancel_deletion(
        &self,
        key: KeyId,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<String>, KmsError> {
        let mutation = self.change_key(key, Action::CancelKeyDeletion, entropy, |key| {
            key.deletion_at_ms = None;
            key.enabled = false;
            Ok(())
        })?;
        Ok(Prepared { reply: self.key_arn(key)?, mutation })
    }

    /// Removes a key with all its materials, aliases and grants.
    pub(crate) fn prepare_destroy(
        &self,
        key: KeyId,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        let aliases = self.aliases.values().filter(|alias| alias.target == key);
        let aliases = aliases.map(|alias| EntryName::Alias(alias.key.clone()));
        let grants = self.grants.get(&key).into_iter().flat_map(BTreeMap::keys);
        let grants = grants.map(|grant| EntryName::Grant(key, *grant));
        // The key last: a crash in between leaves no alias or grant without its key.
        let names = aliases.chain(grants).chain([EntryName::Key(key)]);
        self.mutation(names.map(Change::Remove).collect(), entropy)
    }

    fn new_managed_key(
        &self,
        scope: &Scope,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Key, KmsError> {
        let mut key = Key {
            id: self.new_key_id(entropy)?,
            scope: scope.clone(),
            description: MANAGED_SQS_DESCRIPTION.into(),
            usage: KeyUsage::EncryptDecrypt,
            spec: KeySpec::SymmetricDefault,
            origin: Origin::AwsKms,
            manager: KeyManager::Aws,
            enabled: true,
            created_at_ms: now_ms,
            deletion_at_ms: None,
            materials: Vec::new(),
            rotation: Some(RotationSchedule {
                period_days: PERIOD_DAYS_DEFAULT,
                next_at_ms: now_ms.saturating_add(u64::from(PERIOD_DAYS_DEFAULT) * DAY_MS),
            }),
            on_demand_rotations: 0,
            tags: BTreeMap::new(),
            policy: managed_sqs_policy(scope),
            policy_ids: BTreeMap::new(),
        };
        key.add_material(None, now_ms, entropy)?;
        Ok(key)
    }

    fn new_key_id(&self, entropy: &mut dyn Entropy) -> Result<KeyId, KmsError> {
        let id = KeyId::generate(entropy)?;
        match self.keys.contains_key(&id) {
            true => Err(KmsError::Internal { reason: "the same random key id twice".into() }),
            false => Ok(id),
        }
    }
}

fn usage_of(spec: KeySpec, usage: Option<KeyUsage>) -> Result<KeyUsage, KmsError> {
    let fitting: &[KeyUsage] = match spec {
        KeySpec::SymmetricDefault => &[KeyUsage::EncryptDecrypt],
        KeySpec::Hmac256 => &[KeyUsage::GenerateVerifyMac],
        KeySpec::Rsa2048 => &[KeyUsage::EncryptDecrypt, KeyUsage::SignVerify],
        KeySpec::EccNistP256 => &[KeyUsage::SignVerify],
    };
    match usage {
        None if spec == KeySpec::SymmetricDefault => Ok(KeyUsage::EncryptDecrypt),
        None => Err(KmsError::Validation(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.".into(),
        )),
        Some(usage) if fitting.contains(&usage) => Ok(usage),
        Some(usage) => Err(KmsError::Validation(format!(
            "KeyUsage {} is not compatible with KeySpec {}",
            usage.name(),
            spec.name()
        ))),
    }
}
