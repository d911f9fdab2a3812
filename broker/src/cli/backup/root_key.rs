//! Which root key a backup needs: told by the keys that lie sealed in it, and compared before anything is restored.

use std::collections::BTreeSet;
use std::path::Path;

use sealq_config::Config;
use sealq_crypto::key_store::root_of_entry;
use sealq_storage::offline::{ScanError, ScannedMessage, Visitor, scan};

use super::BackupError;
use crate::cli::say;
use crate::first_start::FirstStartError;
use crate::first_start::root_key_file::RootKeyFile;

/// Fingerprints of the root keys that the log below `dir` is sealed under. More than one: the root key was being
/// changed at that moment.
pub(super) fn sealed_under(dir: &Path) -> Result<BTreeSet<String>, BackupError> {
    let mut found = Found(BTreeSet::new());
    match scan(dir, &mut found) {
        // A log damaged beyond telling whose it is: it is backed up as it is.
        Ok(_) | Err(ScanError::Stopped | ScanError::Unidentified) => Ok(found.0),
        Err(source) => Err(BackupError::Scan { dir: dir.to_owned(), source }),
    }
}

struct Found(BTreeSet<String>);

impl Visitor for Found {
    fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.0.extend(root_of_entry(key, value));
        true
    }

    fn message(&mut self, _: ScannedMessage<'_>) -> bool {
        false
    }
}

/// Compares the root key that is in place with the one that the backup needs; says what to do where there is none yet.
pub(super) fn check(config: &Config, needed: &str) -> Result<(), BackupError> {
    let path = config.root_key_file();
    if !path.exists() {
        say(&format!(
            "This backup opens with the root key {needed} only: put it to {} before the start",
            path.display()
        ));
        return Ok(());
    }
    match RootKeyFile::of(config).and_then(|file| file.open()) {
        Ok(keys) if keys.current.fingerprint() == needed => Ok(()),
        Ok(keys) => Err(BackupError::OtherRootKey {
            path,
            found: keys.current.fingerprint(),
            needed: needed.to_owned(),
        }),
        // A passphrase that is not at hand here: the start will tell.
        Err(error @ (FirstStartError::RootKey { .. } | FirstStartError::PassphraseGone { .. })) => {
            say(&format!(
                "This backup opens with the root key {needed} only; which one is in place is not known: {error}"
            ));
            Ok(())
        }
        Err(error) => Err(BackupError::RootKey(error)),
    }
}
