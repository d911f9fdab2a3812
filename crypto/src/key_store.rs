//! The state of the embedded key service: keys, aliases, grants, and the cryptography done with them.
//!
//! Pure and synchronous: no files, no sockets, no queues, no authorization; time and randomness are passed in. Shapes of
//! requests (lengths, ranges, names) are checked where they are read, not here. Every
//! change is made in two steps. `prepare_…` checks it and gives a [`Mutation`]; the caller makes its catalog entries
//! durable, then calls [`KeyStore::commit`]. Between the two no other mutation may be prepared: the caller serializes.
//!
//! Invariants: a catalog value is readable only with the root key; a key id, once removed, is never given out again; a
//! material stays as long as its key.

pub mod action;
pub mod alias;
mod catalog_entry;
pub mod cryptography;
pub mod grant;
pub mod identifier;
pub mod import;
pub mod key;
pub mod kms_error;
pub mod lifecycle;
pub mod metadata;
pub mod page;
pub mod policy;
pub mod rotation;
pub mod service_secret;
pub mod sweep;
pub mod tag;

use std::collections::BTreeMap;

use zeroize::Zeroizing;

pub use action::Action;
pub use catalog_entry::{CATALOG_PREFIX, LoadError, root_of_entry};
pub use key::{KeyId, KeyManager, KeySpec, KeyState, KeyUsage, Origin, RotationType, Scope};
pub use kms_error::{KmsError, TagFault};
pub use metadata::KeyMetadata;
pub use page::{Listed, Page, PageLimits};
pub use service_secret::{ServiceSecret, SubKey};
pub use tag::TAGS_MAX;

use crate::entropy::Entropy;
use crate::root_key::RootKey;
use alias::{Alias, AliasKey};
use catalog_entry::{Entry, EntryName};
use grant::{Grant, GrantId};
use key::Key;

/// What the catalog must hold before [`KeyStore::commit`] makes the change visible.
///
/// Write the puts, then the deletes, each in its order: a crash may then keep any beginning of them, and the store
/// still loads and finishes the rest by itself.
#[derive(Debug, Default)]
#[must_use = "a mutation has no effect until it is durable and committed"]
pub struct Mutation {
    /// Catalog entries to write.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Catalog keys to delete.
    pub deletes: Vec<Vec<u8>>,
    changes: Vec<Change>,
}

impl Mutation {
    /// Whether there is nothing to do: the state asked for is the state there is.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

#[derive(Debug)]
enum Change {
    Put(Entry),
    Remove(EntryName),
    Root(RootKey),
}

/// A change and what the action replies once it is durable.
#[derive(Debug)]
#[must_use = "a mutation has no effect until it is durable and committed"]
pub struct Prepared<T> {
    /// The reply.
    pub reply: T,
    /// The change; may be empty.
    pub mutation: Mutation,
}

/// A store as found in the catalog.
#[derive(Debug)]
pub struct Loaded {
    /// The store.
    pub store: KeyStore,
    /// To be made durable and committed before the store is used: the service secret at the very first start, entries
    /// still under the previous root key after an interrupted change of root. Usually empty.
    pub pending: Mutation,
}

/// The key service's state.
#[derive(Debug)]
pub struct KeyStore {
    root: RootKey,
    secret: ServiceSecret,
    keys: BTreeMap<KeyId, Key>,
    aliases: BTreeMap<AliasKey, Alias>,
    grants: BTreeMap<KeyId, BTreeMap<GrantId, Grant>>,
}

impl KeyStore {
    /// Rebuilds the store from catalog entries (key, value); those of others are passed over. `previous` opens what is
    /// still sealed under the root key before this one.
    pub fn load<'a>(
        root: RootKey,
        previous: Option<&RootKey>,
        entries: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        entropy: &mut dyn Entropy,
    ) -> Result<Loaded, LoadError> {
        let (mut found, mut stale_entries) = (Vec::new(), Vec::new());
        for (catalog_key, value) in entries.into_iter().filter(|(key, _)| key.starts_with(CATALOG_PREFIX)) {
            let (entry, stale) = Entry::open(catalog_key, value, &root, previous)?;
            if stale {
                stale_entries.push(entry.clone());
            }
            found.push(entry);
        }
        let secret = found.iter().find_map(|entry| match entry {
            Entry::Secret(secret) => Some(secret.clone()),
            _ => None,
        });
        let secret = match (secret, found.is_empty()) {
            (Some(secret), _) => secret,
            // A new secret here would silently lose every message sealed under the old one.
            (None, false) => return Err(LoadError::SecretMissing),
            (None, true) => {
                let secret = ServiceSecret::generate(entropy)?;
                stale_entries.push(Entry::Secret(secret.clone()));
                secret
            }
        };
        let mut store =
            Self { root, secret, keys: BTreeMap::new(), aliases: BTreeMap::new(), grants: BTreeMap::new() };
        for entry in found {
            store.put(entry);
        }
        store.check_references()?;
        let pending = store
            .mutation(stale_entries.into_iter().map(Change::Put).collect(), entropy)
            .map_err(|error| LoadError::Damaged { entry: "kms/".into(), reason: error.to_string() })?;
        Ok(Loaded { store, pending })
    }

    /// Makes a mutation visible. Call it once its entries are durable, and before preparing the next.
    pub fn commit(&mut self, mutation: Mutation) {
        for change in mutation.changes {
            match change {
                Change::Put(entry) => self.put(entry),
                Change::Remove(EntryName::Key(id)) => {
                    self.keys.remove(&id);
                }
                Change::Remove(EntryName::Alias(alias)) => {
                    self.aliases.remove(&alias);
                }
                Change::Remove(EntryName::Grant(key, grant)) => {
                    if let Some(grants) = self.grants.get_mut(&key) {
                        grants.remove(&grant);
                        if grants.is_empty() {
                            self.grants.remove(&key);
                        }
                    }
                }
                Change::Root(root) => self.root = root,
            }
        }
    }

    /// Seals every entry anew under another root key. Messages and blobs are not touched. Until all entries are
    /// durable keep both root keys: [`KeyStore::load`] takes a mixture.
    pub fn rewrap(&self, new_root: RootKey, entropy: &mut dyn Entropy) -> Result<Mutation, KmsError> {
        let mut mutation = Mutation::default();
        let secret = std::iter::once(Entry::Secret(self.secret.clone()));
        let keys = self.keys.values().map(|key| Entry::Key(Box::new(key.clone())));
        let aliases = self.aliases.values().map(|alias| Entry::Alias(alias.clone()));
        let grants = self
            .grants
            .values()
            .flat_map(|of| of.values().map(|grant| Entry::Grant(Box::new(grant.clone()))));
        for entry in secret.chain(keys).chain(aliases).chain(grants) {
            mutation.puts.push(entry.seal(&new_root, entropy)?);
        }
        mutation.changes.push(Change::Root(new_root));
        Ok(mutation)
    }

    /// The broker's own key for one purpose.
    pub fn sub_key(&self, purpose: SubKey) -> Zeroizing<[u8; 32]> {
        self.secret.derive(purpose)
    }

    /// Fingerprint of the root key in use.
    pub fn root_fingerprint(&self) -> String {
        self.root.fingerprint()
    }

    fn put(&mut self, entry: Entry) {
        match entry {
            Entry::Secret(secret) => self.secret = secret,
            Entry::Key(key) => {
                self.keys.insert(key.id, *key);
            }
            Entry::Alias(alias) => {
                self.aliases.insert(alias.key.clone(), alias);
            }
            Entry::Grant(grant) => {
                self.grants.entry(grant.key).or_default().insert(grant.id, *grant);
            }
        }
    }

    fn check_references(&self) -> Result<(), LoadError> {
        let dangling = |name: EntryName| LoadError::Dangling {
            entry: String::from_utf8_lossy(&name.catalog_key()).into_owned(),
        };
        if let Some(alias) = self.aliases.values().find(|alias| !self.keys.contains_key(&alias.target)) {
            return Err(dangling(EntryName::Alias(alias.key.clone())));
        }
        match self.grants.iter().find(|(key, _)| !self.keys.contains_key(key)) {
            Some((key, _)) => Err(dangling(EntryName::Key(*key))),
            None => Ok(()),
        }
    }

    fn mutation(&self, changes: Vec<Change>, entropy: &mut dyn Entropy) -> Result<Mutation, KmsError> {
        let mut mutation = Mutation::default();
        for change in &changes {
            match change {
                Change::Put(entry) => mutation.puts.push(entry.seal(&self.root, entropy)?),
                Change::Remove(name) => mutation.deletes.push(name.catalog_key()),
                Change::Root(_) => {}
            }
        }
        mutation.changes = changes;
        Ok(mutation)
    }

    /// A mutation of one key, empty when `change` leaves it as it is.
    fn change_key(
        &self,
        id: KeyId,
        action: Action,
        entropy: &mut dyn Entropy,
        change: impl FnOnce(&mut Key) -> Result<(), KmsError>,
    ) -> Result<Mutation, KmsError> {
        let before = self.key(id)?;
        action::check(action, before)?;
        let mut after = before.clone();
        change(&mut after)?;
        match after == *before {
            true => Ok(Mutation::default()),
            false => self.mutation(vec![Change::Put(Entry::Key(Box::new(after)))], entropy),
        }
    }

    /// Errors: [`KmsError::KeyNotFound`] for a key that went away since it was resolved.
    fn key(&self, id: KeyId) -> Result<&Key, KmsError> {
        self.keys.get(&id).ok_or_else(|| KmsError::KeyNotFound { arn: format!("arn:aws:kms:::key/{id}") })
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
