//! A new root key: what the key service keeps is sealed anew, messages are not touched.
//!
//! Everything that lives longer than a process (managed keys of SSE-SQS, receipt handles, session tokens, page tokens)
//! hangs on the service secret, and that is one of the entries sealed anew: it stays what it is. The steps stand in
//! [`crate::first_start::root_key_file`]; after a crash between any two of them, the next start opens everything and
//! [`RootRotation::settle`]s the rest. Knows no socket and no command: it works over a running broker's keys, or over
//! those that a command took from a stopped one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use sealq_config::Config;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::KmsError;
use sealq_crypto::root_key::RootKey;
use serde_json::json;
use thiserror::Error;

use crate::audit::{AuditEvent, AuditLog};
use crate::clock::Clock;
use crate::first_start::FirstStartError;
use crate::first_start::root_key_file::{Protection, RootKeyFile};
use crate::key_control::KeyControl;

/// Why there is no new root key, or not yet everywhere.
#[derive(Debug, Error)]
pub enum RotationError {
    /// The file could not be read or replaced.
    #[error(transparent)]
    File(#[from] FirstStartError),
    /// The file holds another root key than the one in use.
    #[error(
        "{} holds the root key {found}, but {in_use} is in use: put the file of {in_use} back first",
        path.display()
    )]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// Fingerprint of what it holds.
        found: String,
        /// Fingerprint of the root key in use.
        in_use: String,
    },
    /// The log does not take the entries that were sealed anew.
    #[error("the new root key is in its place, but not everything could be sealed under it ({0}): try again")]
    NotStored(#[from] KmsError),
    /// The audit record could not be written.
    #[error("everything is sealed under the new root key, but that could not be audited ({0}): try again")]
    NotAudited(String),
    /// A thread could not be used.
    #[error("the root key could not be changed: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// What was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// Fingerprint of the root key before.
    pub previous: String,
    /// Fingerprint of the root key now.
    pub current: String,
    /// The new one needs a passphrase.
    pub needs_passphrase: bool,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the root key is {} now, before it was {}", self.current, self.previous)
    }
}

/// See the module documentation.
pub struct RootRotation {
    keys: Arc<KeyControl>,
    file: Arc<Mutex<RootKeyFile>>,
    audit: AuditLog,
    clock: Clock,
    region: String,
    account: String,
}

impl RootRotation {
    /// Over keys that are open, and the file of the root key that they are sealed under.
    pub fn new(
        config: &Config,
        keys: Arc<KeyControl>,
        file: RootKeyFile,
        audit: AuditLog,
        clock: Clock,
    ) -> Self {
        let (region, account) = (config.identity.region.clone(), config.identity.account_id.clone());
        Self { keys, file: Arc::new(Mutex::new(file)), audit, clock, region, account }
    }

    /// Ends what a crash may have cut short: everything is sealed under the root key in use, durably, and `previous` is
    /// the one before it if it was kept.
    ///
    /// # Errors
    /// [`RotationError::NotAudited`], [`RotationError::File`]
    pub async fn settle(&self, previous: Option<&RootKey>) -> Result<(), RotationError> {
        if let Some(previous) = previous {
            let current = self.keys.read().root_fingerprint();
            self.record(&self.rotated(previous.fingerprint(), current)?, "the start after an interruption")
                .await?;
        }
        Ok(self.file.lock().forget_previous()?)
    }

    /// Makes a new root key and seals everything under it. `asked_by`: for the audit record. One at a time: the caller
    /// sees to it.
    ///
    /// # Errors
    /// [`RotationError`]: whatever it is, everything still opens, now and after a restart, and trying again is safe.
    pub async fn rotate(&self, protection: Protection, asked_by: &str) -> Result<Rotated, RotationError> {
        let file = self.file.clone();
        let found = tokio::task::spawn_blocking(move || file.lock().open()).await??;
        let in_use = self.keys.read().root_fingerprint();
        if found.current.fingerprint() != in_use {
            // Unless an attempt before this one came as far as the file and no further.
            if found.previous.as_ref().is_none_or(|previous| previous.fingerprint() != in_use) {
                let path = self.file.lock().path().to_owned();
                return Err(RotationError::OtherFile { path, found: found.current.fingerprint(), in_use });
            }
            self.seal_anew(found.current.clone()).await?;
        }
        self.settle(found.previous.as_ref()).await?;
        let file = self.file.clone();
        let previous = found.current.fingerprint();
        let new =
            tokio::task::spawn_blocking(move || file.lock().replace(&found.current, protection)).await??;
        let rotated = self.rotated(previous, new.fingerprint())?;
        self.seal_anew(new).await?;
        self.record(&rotated, asked_by).await?;
        self.file.lock().forget_previous()?;
        tracing::info!(root_key = rotated.current, before = rotated.previous, "there is a new root key");
        Ok(rotated)
    }

    async fn seal_anew(&self, root: RootKey) -> Result<(), KmsError> {
        self.keys.mutate(|store| store.rewrap(root, &mut SystemEntropy)).await
    }

    fn rotated(&self, previous: String, current: String) -> Result<Rotated, FirstStartError> {
        Ok(Rotated { previous, current, needs_passphrase: self.file.lock().needs_passphrase()? })
    }

    async fn record(&self, rotated: &Rotated, asked_by: &str) -> Result<(), RotationError> {
        let event = AuditEvent {
            at_ms: self.clock.now_ms(),
            source: "kms.amazonaws.com",
            name: "RotateRootKey".into(),
            region: self.region.clone(),
            identity: json!({ "type": "AWSService", "accountId": self.account, "invokedBy": asked_by }),
            source_ip: "127.0.0.1".into(),
            user_agent: "sealq kms rotate-root".into(),
            request_parameters: json!({ "passphrase": rotated.needs_passphrase }),
            response_elements: json!({ "rootKey": rotated.current, "previousRootKey": rotated.previous }),
            error: None,
            request_id: uuid::Uuid::new_v4().to_string(),
            resources: Vec::new(),
            read_only: false,
            event_type: "AwsServiceEvent",
            recipient_account: self.account.clone(),
            shared_event_id: None,
        };
        self.audit.write(event).await.map_err(RotationError::NotAudited)
    }
}

#[cfg(test)]
mod tests {
    use sealq_crypto::key_store::KeyStore;
    use sealq_storage::{IoChoice, Log, LogOptions};

    use super::*;
    use crate::engine::Engine;
    use crate::first_start::root_key_file::RootKeys;
    use crate::first_start::secret_file;
    use crate::key_audit::KeyAudit;
    use crate::shard::Shard;

    struct Bench {
        config: Config,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (data_dir, secrets_dir) = (folder.path().join("d"), folder.path().join("s"));
            std::fs::create_dir(&secrets_dir).unwrap();
            Self { config: Config { data_dir, secrets_dir, ..Config::default() }, _folder: folder }
        }

        fn file(&self) -> RootKeyFile {
            RootKeyFile::of(&self.config).unwrap()
        }

        /// As a start does it: everything opens, or this panics.
        async fn start(&self) -> (RootRotation, Shard) {
            let RootKeys { current, previous } = self.file().open_or_make(&self.config.data_dir).unwrap();
            let options = LogOptions {
                dir: self.config.data_dir.clone(),
                segment_bytes: 4 << 20,
                io: IoChoice::Threads,
                free_space_min_bytes: 0,
                ..LogOptions::default()
            };
            let (log, _) = Log::open(options).unwrap();
            let loaded = {
                let entries = log.catalog().iter().map(|(key, value)| (&**key, &**value));
                KeyStore::load(current, previous.as_ref(), entries, &mut SystemEntropy).unwrap()
            };
            let engine = Engine::new(|| *uuid::Uuid::new_v4().as_bytes());
            let shard = Shard::start(log, engine, Clock::system()).unwrap();
            let audit =
                AuditLog::open(&self.config.audit_file(), &self.config.audit_mark_file(), 1 << 20).unwrap();
            let records = KeyAudit::new(audit.clone(), Clock::system(), "us-east-1".into(), 1);
            let keys = Arc::new(KeyControl::new(loaded.store, shard.handle(), records));
            keys.mutate(|_| Ok(loaded.pending)).await.unwrap();
            let rotation = RootRotation::new(&self.config, keys, self.file(), audit, Clock::system());
            rotation.settle(previous.as_ref()).await.unwrap();
            (rotation, shard)
        }

        fn rotations(&self) -> usize {
            std::fs::read_to_string(self.config.audit_file()).unwrap().matches("RotateRootKey").count()
        }
    }

    #[tokio::test]
    async fn an_attempt_that_came_no_further_than_the_file_is_ended_by_the_next() {
        let bench = Bench::new();
        let (rotation, shard) = bench.start().await;
        let in_use = bench.file().open().unwrap().current;
        let first = bench.file().replace(&in_use, Protection::AsBefore).unwrap();
        let rotated = rotation.rotate(Protection::AsBefore, "test").await.unwrap();
        assert_eq!(rotated.previous, first.fingerprint());
        assert_eq!(bench.file().open().unwrap().current.fingerprint(), rotated.current);
        assert!(!bench.file().previous_path().exists());
        assert_eq!(bench.rotations(), 2, "both changes are recorded");
        shard.stop();
        let (again, shard) = bench.start().await;
        assert_eq!(again.keys.read().root_fingerprint(), rotated.current);
        shard.stop();
    }

    #[tokio::test]
    async fn what_cannot_be_stored_is_ended_by_the_next_start() {
        let bench = Bench::new();
        let (rotation, shard) = bench.start().await;
        let before = rotation.keys.read().root_fingerprint();
        shard.stop();
        let error = rotation.rotate(Protection::AsBefore, "test").await.unwrap_err();
        assert!(matches!(error, RotationError::NotStored(_)), "{error}");
        assert!(bench.file().previous_path().exists());
        let (again, shard) = bench.start().await;
        let now = again.keys.read().root_fingerprint();
        assert!(now != before && !bench.file().previous_path().exists());
        assert_eq!(bench.rotations(), 1);
        shard.stop();
    }

    #[tokio::test]
    async fn a_file_that_somebody_changed_is_left_alone() {
        let bench = Bench::new();
        let (rotation, shard) = bench.start().await;
        let path = bench.config.root_key_file();
        let kept = std::fs::read(&path).unwrap();
        let other = sealq_crypto::root_key::RootFile::generate(&mut SystemEntropy).unwrap();
        secret_file::write(&path, &other).unwrap();
        let error = rotation.rotate(Protection::AsBefore, "test").await.unwrap_err();
        assert!(matches!(error, RotationError::OtherFile { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), *other);
        secret_file::write(&path, &kept).unwrap();
        rotation.rotate(Protection::AsBefore, "test").await.unwrap();
        shard.stop();
    }
}
