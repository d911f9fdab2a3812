//! The embedded key service's state in this process: read in place, changed one mutation at a time, each durable in the
//! log before it counts.

use parking_lot::{RwLock, RwLockReadGuard};
use sealq_api::iam::{Policy, PolicyKind};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::{KeyId, KeyStore, KmsError, Mutation, Prepared};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

use crate::engine::command::{Command, Outcome};
use crate::shard::ShardHandle;

/// Compiled key policies kept; beyond it the cache starts anew.
pub const POLICIES_MAX: usize = 10_000;

/// See the module documentation.
pub struct KeyControl {
    store: RwLock<KeyStore>,
    changes: Mutex<()>,
    shard: ShardHandle,
    /// By policy text, so that a changed policy is never served from here.
    policies: RwLock<HashMap<KeyId, (String, Arc<Policy>)>>,
}

impl KeyControl {
    /// Over a loaded store whose pending mutation is durable.
    pub fn new(store: KeyStore, shard: ShardHandle) -> Self {
        Self { store: RwLock::new(store), changes: Mutex::new(()), shard, policies: RwLock::default() }
    }

    /// The state, for reading. Never held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, KeyStore> {
        self.store.read()
    }

    /// Prepares a change on the current state, makes it durable, then makes it count.
    ///
    /// # Errors
    /// What the preparation says, or that nothing can be stored.
    pub async fn change<T>(
        &self,
        prepare: impl FnOnce(&KeyStore) -> Result<Prepared<T>, KmsError>,
    ) -> Result<T, KmsError> {
        let _one_at_a_time = self.changes.lock().await;
        let Prepared { reply, mutation } = prepare(&self.store.read())?;
        self.store_and_commit(mutation).await?;
        Ok(reply)
    }

    /// Like [`Self::change`] where there is nothing to answer.
    ///
    /// # Errors
    /// As there.
    pub async fn mutate(
        &self,
        prepare: impl FnOnce(&KeyStore) -> Result<Mutation, KmsError>,
    ) -> Result<(), KmsError> {
        self.change(|store| Ok(Prepared { reply: (), mutation: prepare(store)? })).await
    }

    /// Carries out what has come due: rotations, destructions, expiries. Called before every use, so that a key is not
    /// used past its time because nobody looked.
    ///
    /// # Errors
    /// Nothing can be stored.
    pub async fn settle_due(&self, now_ms: u64) -> Result<(), KmsError> {
        while self.store.read().next_due_at_ms().is_some_and(|at_ms| at_ms <= now_ms) {
            let due = self.store.read().due(now_ms, &mut SystemEntropy)?;
            if due.is_empty() {
                break;
            }
            for event in due {
                tracing::info!(key = event.key_arn, event = ?event.event, "a key's time has come");
                self.mutate(|_| Ok(event.mutation)).await?;
            }
        }
        Ok(())
    }

    async fn store_and_commit(&self, mutation: Mutation) -> Result<(), KmsError> {
        if mutation.puts.is_empty() && mutation.deletes.is_empty() {
            self.store.write().commit(mutation);
            return Ok(());
        }
        let (puts, deletes) = (mutation.puts.clone(), mutation.deletes.clone());
        match self.shard.ask(|reply| Command::WriteCatalog { puts, deletes, reply }).await {
            Outcome::Stored => {
                self.store.write().commit(mutation);
                Ok(())
            }
            _ => Err(KmsError::Internal {
                reason: "the key service cannot store anything at the moment".into(),
            }),
        }
    }

    /// The compiled policy of a key.
    ///
    /// # Errors
    /// The key is gone, or its policy is not understood: then nothing is allowed.
    pub fn policy(&self, key: KeyId) -> Result<Arc<Policy>, KmsError> {
        let store = self.store.read();
        let text = store.policy(key, None)?;
        if let Some((known, policy)) = self.policies.read().get(&key)
            && known == text
        {
            return Ok(policy.clone());
        }
        let policy = Policy::parse(text, PolicyKind::Key).map(Arc::new).map_err(|error| {
            KmsError::Internal { reason: format!("the policy of key {key} is damaged: {error}") }
        })?;
        let mut policies = self.policies.write();
        if policies.len() >= POLICIES_MAX {
            policies.clear();
        }
        policies.insert(key, (text.to_owned(), policy.clone()));
        Ok(policy)
    }
}
