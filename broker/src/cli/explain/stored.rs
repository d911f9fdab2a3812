//! What the data directory holds of the matter: the queue, the key service's entries, the principals' unique ids.

use std::collections::BTreeMap;
use std::io;

use sealq_api::arn::QueueArn;
use sealq_api::iam::{Policy, PolicyKind};
use sealq_config::Config;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::{CATALOG_PREFIX, KeyId, KeyStore};
use sealq_storage::offline::{ScanError, ScannedMessage, Visitor, scan};

use super::ExplainError;
use crate::catalog::{CatalogError, QueueRecord, decode};
use crate::daemon::UNIQUE_IDS_KEY;
use crate::first_start::root_key_file::{RootKeyFile, RootKeys};
use crate::identity::UniqueIds;

/// See the module documentation.
#[derive(Default)]
pub(super) struct Stored {
    /// The queue that is asked of.
    pub(super) queue: Option<QueueRecord>,
    /// Unique ids of users and roles.
    pub(super) ids: UniqueIds,
    /// Sealed entries of the key service.
    key_entries: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Stored {
    /// Reads what there is; nothing where no broker was ever started.
    pub(super) fn read(config: &Config, resource: &str) -> Result<Self, ExplainError> {
        let arn = QueueArn::parse(resource).ok();
        let mut reading = Reading { arn, stored: Self::default(), failed: None };
        match scan(&config.data_dir, &mut reading) {
            Ok(_) | Err(ScanError::Stopped) => {}
            Err(ScanError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let data_dir = config.data_dir.display().to_string();
                return Err(ExplainError::Scan { data_dir, source });
            }
        }
        match reading.failed {
            Some(error) => Err(error.into()),
            None => Ok(reading.stored),
        }
    }

    /// The key service's state. Opening it takes the root key; what has come due since is not carried out.
    pub(super) fn open_keys(&self, config: &Config) -> Result<KeyStore, ExplainError> {
        let file = RootKeyFile::of(config)?;
        if !file.path().exists() {
            return Err(ExplainError::NoRootKey(file.path().display().to_string()));
        }
        let RootKeys { current, previous } = file.open()?;
        let entries = self.key_entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        Ok(KeyStore::load(current, previous.as_ref(), entries, &mut SystemEntropy)?.store)
    }
}

/// The compiled policy of a key.
pub(super) fn key_policy(store: &KeyStore, key: KeyId, arn: &str) -> Result<Policy, ExplainError> {
    let (text, ids) = store.bound_policy(key).map_err(ExplainError::NoKey)?;
    let damaged = |error: sealq_api::iam::PolicyError| ExplainError::KeyPolicy {
        arn: arn.to_owned(),
        reason: error.to_string(),
    };
    let mut policy = Policy::parse(text, PolicyKind::Key).map_err(damaged)?;
    policy.resolve(|arn| ids.get(arn).cloned());
    Ok(policy)
}

struct Reading {
    arn: Option<QueueArn>,
    stored: Stored,
    failed: Option<CatalogError>,
}

impl Reading {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), CatalogError> {
        if key == UNIQUE_IDS_KEY {
            self.stored.ids = decode::<BTreeMap<_, _>>(key, value)?;
        }
        if key.starts_with(CATALOG_PREFIX) {
            self.stored.key_entries.push((key.to_vec(), value.to_vec()));
        }
        let Some(arn) = self.arn.as_ref().filter(|arn| key == QueueRecord::key(&arn.account, &arn.name))
        else {
            return Ok(());
        };
        if let Some(record) = QueueRecord::decode(key, value).transpose()?
            && record.region == arn.region
        {
            self.stored.queue = Some(record);
        }
        Ok(())
    }
}

impl Visitor for Reading {
    fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.failed = self.take(key, value).err();
        self.failed.is_none()
    }

    fn message(&mut self, _: ScannedMessage<'_>) -> bool {
        false
    }
}
