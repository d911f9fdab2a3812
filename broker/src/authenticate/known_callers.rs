//! One set of principals, and what was derived while it was in force.
//!
//! The three are replaced together: a signing key of an old secret, or a session of a user who is gone, cannot outlive
//! the set it came from, whatever requests are under way. Only what a good signature proved is kept, so that nobody
//! without credentials fills it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::RwLock;
use sealq_api::sigv4::{Signed, SigningKey};

use crate::identity::Identities;
use crate::session::Session;

/// Derived keys kept; a day's worth of callers. Beyond it the cache starts anew.
pub const SIGNING_KEYS_MAX: usize = 10_000;
/// Opened sessions kept. Beyond it the cache starts anew.
pub const SESSIONS_MAX: usize = 4_096;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct KnownCallers {
    pub(super) identities: Arc<Identities>,
    /// By scope.
    signing_keys: Bounded<String, SigningKey>,
    /// By token.
    sessions: Bounded<String, Arc<Session>>,
}

impl KnownCallers {
    pub(super) fn new(identities: Identities) -> Self {
        Self {
            identities: Arc::new(identities),
            signing_keys: Bounded::new(SIGNING_KEYS_MAX),
            sessions: Bounded::new(SESSIONS_MAX),
        }
    }

    /// Derives the key unless it is known, and keeps it if it `verifies`.
    pub(super) fn with_signing_key<E>(
        &self,
        signed: &Signed,
        secret: &str,
        verifies: impl FnOnce(&SigningKey) -> Result<(), E>,
    ) -> Result<(), E> {
        let scope =
            [&*signed.access_key_id, "/", &signed.date, "/", &signed.region, "/", &signed.service].concat();
        if let Some(key) = self.signing_keys.get(&scope) {
            return verifies(&key);
        }
        let key = SigningKey::derive(secret, &signed.date, &signed.region, &signed.service);
        verifies(&key)?;
        self.signing_keys.put(scope, key);
        Ok(())
    }

    /// A session that proved itself before.
    pub(super) fn session(&self, token: &str) -> Option<Arc<Session>> {
        self.sessions.get(token)
    }

    /// Keeps a session that proved itself.
    pub(super) fn keep_session(&self, token: &str, session: Arc<Session>) {
        self.sessions.put(token.to_owned(), session);
    }
}

#[derive(Debug)]
struct Bounded<K, V> {
    entries: RwLock<HashMap<K, V>>,
    entries_max: usize,
}

impl<K: Eq + Hash, V: Clone> Bounded<K, V> {
    fn new(entries_max: usize) -> Self {
        Self { entries: RwLock::default(), entries_max }
    }

    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.entries.read().get(key).cloned()
    }

    fn put(&self, key: K, value: V) {
        let mut entries = self.entries.write();
        if entries.len() >= self.entries_max {
            entries.clear();
        }
        entries.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_cache_starts_anew() {
        let cache = Bounded::new(2);
        for key in 0..3 {
            cache.put(key, key);
        }
        assert_eq!((cache.get(&0), cache.get(&1), cache.get(&2)), (None, None, Some(2)));
    }
}
