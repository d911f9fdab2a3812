//! A stopped broker's keys, taken for the time of one command: its log, locked as the daemon locks it, and no listener.

use std::sync::Arc;

use sealq_config::Config;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::KeyStore;
use sealq_storage::Log;

use super::{DaemonError, log_options, store_pending, system};
use crate::audit::AuditLog;
use crate::clock::Clock;
use crate::engine::Engine;
use crate::first_start::root_key_file::{Protection, RootKeyFile};
use crate::first_start::{FirstStartError, holds_log};
use crate::key_audit::KeyAudit;
use crate::key_control::KeyControl;
use crate::root_rotation::{RootRotation, Rotated};
use crate::shard::Shard;

/// Makes a new root key for a broker that does not run.
///
/// # Errors
/// [`DaemonError`]; among them that it does run.
pub(crate) async fn rotate_root(
    config: &Config,
    protection: Protection,
    asked_by: &str,
) -> Result<Rotated, DaemonError> {
    let file = RootKeyFile::of(config)?;
    if !holds_log(&config.data_dir) {
        return Err(FirstStartError::NeverStarted { data_dir: config.data_dir.clone() }.into());
    }
    let root_keys = file.open_or_make(&config.data_dir)?;
    let previous = root_keys.previous.clone();
    let (log, _) = Log::open(log_options(config))?;
    // Not before the lock is held: opening the audit log repairs its end.
    let audit =
        AuditLog::open(&config.audit_file(), &config.audit_mark_file(), config.audit.rotate_bytes.bytes())?;
    let keys = {
        let entries = log.catalog().iter().map(|(key, value)| (&**key, &**value));
        KeyStore::load(root_keys.current, previous.as_ref(), entries, &mut SystemEntropy)?
    };
    let clock = Clock::system();
    // No queue is loaded: nothing of theirs is touched, and nothing comes due.
    let engine = Engine::new(|| *uuid::Uuid::new_v4().as_bytes());
    let shard =
        Shard::start(log, engine, clock.clone()).map_err(system("the log's thread cannot be started"))?;
    let rotated = async {
        let region = config.identity.region.clone();
        let records = KeyAudit::new(audit.clone(), clock.clone(), region, config.limits.queue_series_max);
        let store = store_pending(&shard.handle(), keys).await?;
        let keys = Arc::new(KeyControl::new(store, shard.handle(), records));
        let rotation = RootRotation::new(config, keys, file, audit, clock);
        rotation.settle(previous.as_ref()).await?;
        Ok(rotation.rotate(protection, asked_by).await?)
    }
    .await;
    let stopped = tokio::task::spawn_blocking(move || shard.stop()).await;
    stopped.map_err(|error| DaemonError::System {
        what: "the log cannot be closed",
        source: std::io::Error::other(error),
    })?;
    rotated
}
