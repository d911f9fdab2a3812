//! The key store's entries of the catalog: under which key each lies and how its value is sealed.
//!
//! Values: version, then the bincode of the entry wrapped under the root key, bound to version and catalog key. So
//! nothing in an entry can be read, altered or moved without the root key. Knows no rules of the key service.
//!
//! Version 1 is read too: it ended before the unique ids of those whom a key policy or a grant names.

use bincode::config::{Configuration, Limit};
use bincode::enc::write::SizeWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::alias::{Alias, AliasKey};
use super::grant::{Grant, GrantId};
use super::key::{Key, KeyId};
use super::kms_error::KmsError;
use super::service_secret::ServiceSecret;
use crate::entropy::Entropy;
use crate::root_key::{RootKey, UnwrapError, sealed_under};

/// Every catalog key of the key store begins so.
pub const CATALOG_PREFIX: &[u8] = b"kms/";
/// Largest entry that is read, bytes before wrapping: policy, description, tags and some thousand materials fit.
pub(crate) const ENTRY_BYTES_MAX: usize = 1 << 20;

const VERSION: u8 = 2;
const VERSION_WITHOUT_IDS: u8 = 1;
const SECRET_KEY: &str = "kms/secret";
const KEY_PREFIX: &str = "kms/key/";
const ALIAS_PREFIX: &str = "kms/alias/";
const GRANT_PREFIX: &str = "kms/grant/";

/// Why the stored key service cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LoadError {
    /// Written by a later version.
    #[error("key store entry {entry} has format {found}, this version reads up to {VERSION}")]
    Version {
        /// Catalog key.
        entry: String,
        /// The version byte found.
        found: u8,
    },
    /// The root key is another one than the entry was sealed under.
    #[error(
        "the root key is {root}, but {entry} is sealed under the root key {sealed_under}. Put the root key of that \
         time there: data restored from a backup needs the one that was in use when the backup was taken"
    )]
    OtherRoot {
        /// Catalog key.
        entry: String,
        /// Fingerprint of the root key given.
        root: String,
        /// Fingerprint of the root key needed.
        sealed_under: String,
    },
    /// Altered, moved or cut.
    #[error("key store entry {entry} is damaged: {reason}")]
    Damaged {
        /// Catalog key.
        entry: String,
        /// What does not fit.
        reason: String,
    },
    /// There are entries, but not the one the broker's own keys come from.
    #[error("the key store has entries but no service secret")]
    SecretMissing,
    /// Something refers to a key that is not there.
    #[error("key store entry {entry} refers to a key that does not exist")]
    Dangling {
        /// Catalog key.
        entry: String,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] crate::entropy::EntropyError),
}

/// Fingerprint of the root key that a catalog entry is sealed under. `None`: it is no entry of the key store, or no
/// whole one. Needs no key.
pub fn root_of_entry(catalog_key: &[u8], value: &[u8]) -> Option<String> {
    let wrapped = value.get(1..).filter(|_| catalog_key.starts_with(CATALOG_PREFIX))?;
    sealed_under(wrapped)
}

/// One thing the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Secret(ServiceSecret),
    Key(Box<Key>),
    Alias(Alias),
    Grant(Box<Grant>),
}

/// The name of one thing the store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryName {
    Key(KeyId),
    Alias(AliasKey),
    Grant(KeyId, GrantId),
}

impl EntryName {
    pub(crate) fn catalog_key(&self) -> Vec<u8> {
        match self {
            Self::Key(id) => format!("{KEY_PREFIX}{id}"),
            Self::Alias(alias) => {
                format!("{ALIAS_PREFIX}{}/{}/{}", alias.account, alias.region, alias.name)
            }
            Self::Grant(key, grant) => format!("{GRANT_PREFIX}{key}/{grant}"),
        }
        .into_bytes()
    }
}

impl Entry {
    pub(crate) fn catalog_key(&self) -> Vec<u8> {
        match self {
            Self::Secret(_) => SECRET_KEY.as_bytes().to_vec(),
            Self::Key(key) => EntryName::Key(key.id).catalog_key(),
            Self::Alias(alias) => EntryName::Alias(alias.key.clone()).catalog_key(),
            Self::Grant(grant) => EntryName::Grant(grant.key, grant.id).catalog_key(),
        }
    }

    /// Catalog key and sealed value.
    pub(crate) fn seal(
        &self,
        root: &RootKey,
        entropy: &mut dyn Entropy,
    ) -> Result<(Vec<u8>, Vec<u8>), KmsError> {
        let catalog_key = self.catalog_key();
        let plain = match self {
            Self::Secret(secret) => Zeroizing::new(secret.bytes().to_vec()),
            Self::Key(key) => encode(key)?,
            Self::Alias(alias) => encode(alias)?,
            Self::Grant(grant) => encode(grant)?,
        };
        let mut value = vec![VERSION];
        value.extend(root.wrap(&aad(VERSION, &catalog_key), &plain, entropy)?);
        Ok((catalog_key, value))
    }

    /// Opens a value. Also says whether it was sealed under `previous`, and so needs sealing anew.
    pub(crate) fn open(
        catalog_key: &[u8],
        value: &[u8],
        root: &RootKey,
        previous: Option<&RootKey>,
    ) -> Result<(Self, bool), LoadError> {
        let entry = || String::from_utf8_lossy(catalog_key).into_owned();
        let damaged = |reason: &str| LoadError::Damaged { entry: entry(), reason: reason.into() };
        let (version, wrapped) = match value.split_first() {
            Some((&version @ (VERSION | VERSION_WITHOUT_IDS), wrapped)) => (version, wrapped),
            Some((&found, _)) => return Err(LoadError::Version { entry: entry(), found }),
            None => return Err(damaged("empty")),
        };
        let aad = aad(version, catalog_key);
        let opened = match (root.unwrap(&aad, wrapped), previous) {
            (Err(UnwrapError::OtherRoot), Some(previous)) => {
                previous.unwrap(&aad, wrapped).map(|plain| (plain, true))
            }
            (opened, _) => opened.map(|plain| (plain, false)),
        };
        let (plain, stale) = opened.map_err(|error| match error {
            UnwrapError::OtherRoot => LoadError::OtherRoot {
                entry: entry(),
                root: root.fingerprint(),
                sealed_under: sealed_under(wrapped).unwrap_or_default(),
            },
            other => damaged(&other.to_string()),
        })?;
        let name = entry();
        let plain = if version == VERSION_WITHOUT_IDS { without_ids(&name, &plain) } else { plain };
        let opened = if name == SECRET_KEY {
            let bytes = plain.as_slice().try_into().map_err(|_| damaged("length of the secret"))?;
            Self::Secret(ServiceSecret::from_bytes(bytes))
        } else if name.starts_with(KEY_PREFIX) {
            Self::Key(Box::new(decode(&plain).map_err(|reason| damaged(&reason))?))
        } else if name.starts_with(ALIAS_PREFIX) {
            Self::Alias(decode(&plain).map_err(|reason| damaged(&reason))?)
        } else if name.starts_with(GRANT_PREFIX) {
            Self::Grant(Box::new(decode(&plain).map_err(|reason| damaged(&reason))?))
        } else {
            return Err(damaged("unknown kind of entry"));
        };
        match opened.catalog_key() == catalog_key {
            true => Ok((opened, stale)),
            false => Err(damaged("lies under another entry's key")),
        }
    }
}

fn aad(version: u8, catalog_key: &[u8]) -> Vec<u8> {
    [b"sealq key store entry\0", &[version][..], catalog_key].concat()
}

/// An entry of version 1 with what it left out at the end, as there being none: the ids of a policy; those of grantee
/// and retiring principal.
fn without_ids(name: &str, plain: &[u8]) -> Zeroizing<Vec<u8>> {
    let missing: &[u8] = match name {
        name if name.starts_with(KEY_PREFIX) => &[0],
        name if name.starts_with(GRANT_PREFIX) => &[0, 0],
        _ => &[],
    };
    Zeroizing::new([plain, missing].concat())
}

fn config() -> Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<ENTRY_BYTES_MAX>> {
    bincode::config::standard().with_limit::<ENTRY_BYTES_MAX>()
}

fn encode<E: Serialize>(entry: &E) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let failed = |error: bincode::error::EncodeError| KmsError::Internal { reason: error.to_string() };
    let mut size = SizeWriter::default();
    bincode::serde::encode_into_writer(entry, &mut size, config()).map_err(failed)?;
    // What could not be read again is not written.
    if size.bytes_written > ENTRY_BYTES_MAX {
        let (what, of) = ("Bytes per key store entry", "this key".into());
        return Err(KmsError::LimitExceeded { what, limit: ENTRY_BYTES_MAX, of });
    }
    // The exact size beforehand: a growing vector would leave copies of the secrets behind.
    let mut bytes = Zeroizing::new(vec![0; size.bytes_written]);
    bincode::serde::encode_into_slice(entry, &mut bytes, config()).map_err(failed)?;
    Ok(bytes)
}

fn decode<E: DeserializeOwned + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<E, String> {
    let (entry, read) =
        bincode::serde::decode_from_slice(bytes, config()).map_err(|error| error.to_string())?;
    match read == bytes.len() {
        true => Ok(entry),
        false => Err("bytes are left over".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::key::testing;
    use super::super::testing::root;
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn entries_of_the_first_version_name_no_ids() {
        let key = testing::enabled();
        let grant = Grant {
            key: key.id,
            id: GrantId::parse(&"ab".repeat(32)).unwrap(),
            grantee: "arn:aws:iam::111122223333:user/ann".into(),
            retiring: None,
            operations: BTreeSet::new(),
            constraint: None,
            name: None,
            issuing_account: "111122223333".into(),
            created_at_ms: 1,
            grantee_id: None,
            retiring_id: None,
        };
        let entries = [
            (encode(&key).unwrap(), 1, Entry::Key(Box::new(key))),
            (encode(&grant).unwrap(), 2, Entry::Grant(Box::new(grant))),
        ];
        for (plain, shorter_by, entry) in entries {
            let catalog_key = entry.catalog_key();
            let old = &plain[..plain.len() - shorter_by];
            let mut value = vec![VERSION_WITHOUT_IDS];
            let aad = aad(VERSION_WITHOUT_IDS, &catalog_key);
            value.extend(root().wrap(&aad, old, &mut SystemEntropy).unwrap());
            assert_eq!(Entry::open(&catalog_key, &value, &root(), None).unwrap(), (entry, false));
        }
    }

    #[test]
    fn entries_of_a_later_version_are_refused() {
        let found = Entry::open(b"kms/secret", &[VERSION + 1, 0], &root(), None).unwrap_err();
        assert_eq!(found, LoadError::Version { entry: "kms/secret".into(), found: VERSION + 1 });
    }
}
