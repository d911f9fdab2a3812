//! The embedded key service's state in this process: read in place, changed one mutation at a time, each durable in the
//! log before it counts.

use parking_lot::{RwLock, RwLockReadGuard};
use sealq_api::iam::{Policy, PolicyKind};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::sweep::Due;
use sealq_crypto::key_store::{KeyId, KeyStore, KmsError, Mutation, Prepared, Scope};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::Mutex;

use crate::engine::command::{Command, Outcome};
use crate::key_audit::KeyAudit;
use crate::shard::ShardHandle;

/// Compiled key policies kept; beyond it the cache starts anew.
pub const POLICIES_MAX: usize = 10_000;

/// See the module documentation.
pub struct KeyControl {
    store: RwLock<KeyStore>,
    changes: Mutex<()>,
    shard: ShardHandle,
    audit: KeyAudit,
    policies: RwLock<HashMap<KeyId, Compiled>>,
}

/// A compiled policy and what it was compiled from, so that a changed one is never served from here.
struct Compiled {
    text: String,
    ids: BTreeMap<String, String>,
    policy: Arc<Policy>,
}

impl KeyControl {
    /// Over a loaded store whose pending mutation is durable.
    pub fn new(store: KeyStore, shard: ShardHandle, audit: KeyAudit) -> Self {
        Self { store: RwLock::new(store), changes: Mutex::new(()), shard, audit, policies: RwLock::default() }
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

    /// Makes the managed key of an account and region if `key_id` names it, it is not there yet, and `permit` lets a key
    /// of this ARN be made.
    ///
    /// # Errors
    /// What `permit` says; it cannot be stored.
    pub async fn make_managed_key(
        &self,
        key_id: &str,
        scope: &Scope,
        now_ms: u64,
        permit: impl FnOnce(&str) -> Result<(), KmsError>,
    ) -> Result<(), KmsError> {
        if !self.store.read().is_unmade_managed_alias(key_id, scope) {
            return Ok(());
        }
        let arn = self
            .change(|store| {
                let Prepared { reply, mutation } =
                    store.ensure_managed_key(scope, now_ms, &mut SystemEntropy)?;
                let arn = scope.key_arn(&reply.to_string());
                permit(&arn)?;
                Ok(Prepared { reply: arn, mutation })
            })
            .await?;
        self.audit.managed_key_made(scope, &arn, now_ms).await;
        Ok(())
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
            for due in due {
                let Due { key_arn, event, mutation, .. } = due;
                tracing::info!(key = key_arn, ?event, "a key's time has come");
                self.mutate(|_| Ok(mutation)).await?;
                self.audit.came_due(&key_arn, &event, now_ms).await;
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

    /// The compiled policy of a key, tied to those whom its author meant by their names.
    ///
    /// # Errors
    /// The key is gone, or its policy is not understood: then nothing is allowed.
    pub fn policy(&self, key: KeyId) -> Result<Arc<Policy>, KmsError> {
        let store = self.store.read();
        let (text, ids) = store.bound_policy(key)?;
        if let Some(known) = self.policies.read().get(&key)
            && (known.text == text && known.ids == *ids)
        {
            return Ok(known.policy.clone());
        }
        let mut policy = Policy::parse(text, PolicyKind::Key).map_err(|error| KmsError::Internal {
            reason: format!("the policy of key {key} is damaged: {error}"),
        })?;
        policy.resolve(|arn| ids.get(arn).cloned());
        let policy = Arc::new(policy);
        let mut policies = self.policies.write();
        if policies.len() >= POLICIES_MAX {
            policies.clear();
        }
        let compiled = Compiled { text: text.to_owned(), ids: ids.clone(), policy: policy.clone() };
        policies.insert(key, compiled);
        Ok(policy)
    }
}
