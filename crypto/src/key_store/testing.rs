//! A store beside the catalog it writes, so that tests can start it anew from there.

use std::collections::BTreeMap;

use super::key::{KeyId, Scope};
use super::lifecycle::NewKey;
use super::{KeyStore, LoadError, Mutation};
use crate::entropy::SystemEntropy;
use crate::root_key::RootKey;

pub(crate) const OTHER_ACCOUNT: &str = "999988887777";
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) fn scope() -> Scope {
    Scope { partition: "aws".into(), account: "111122223333".into(), region: "eu-central-1".into() }
}

pub(crate) fn root() -> RootKey {
    RootKey::from_bytes(&[1; 32])
}

pub(crate) struct Bench {
    pub(crate) store: KeyStore,
    pub(crate) catalog: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::start(root(), None, BTreeMap::new()).unwrap()
    }

    pub(crate) fn start(
        root: RootKey,
        previous: Option<&RootKey>,
        catalog: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<Self, LoadError> {
        let entries = catalog.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        let loaded = KeyStore::load(root, previous, entries, &mut SystemEntropy)?;
        let mut bench = Self { store: loaded.store, catalog };
        bench.commit(loaded.pending);
        Ok(bench)
    }

    /// The store as the next start finds it.
    pub(crate) fn restart(&mut self) {
        let next = Self::start(root(), None, self.catalog.clone()).unwrap();
        assert_eq!(next.catalog, self.catalog, "nothing is left to do");
        assert_eq!(next.store.keys, self.store.keys);
        assert_eq!(next.store.aliases, self.store.aliases);
        assert_eq!(next.store.grants, self.store.grants);
        assert_eq!(next.store.secret, self.store.secret);
        *self = next;
    }

    pub(crate) fn commit(&mut self, mutation: Mutation) {
        self.catalog.extend(mutation.puts.iter().cloned());
        for key in &mutation.deletes {
            assert!(self.catalog.remove(key).is_some(), "deletes what is there");
        }
        self.store.commit(mutation);
    }

    pub(crate) fn create(&mut self, new: NewKey) -> KeyId {
        let prepared = self.store.prepare_create_key(&scope(), new, NOW_MS, &mut SystemEntropy).unwrap();
        self.commit(prepared.mutation);
        KeyId::parse(&prepared.reply.key_id).unwrap()
    }

    pub(crate) fn create_key(&mut self) -> KeyId {
        self.create(NewKey::default())
    }

    pub(crate) fn create_alias(&mut self, name: &str, key: KeyId) {
        let made = self.store.prepare_create_alias(&scope(), name, key, NOW_MS, &mut SystemEntropy);
        self.commit(made.unwrap());
    }
}
