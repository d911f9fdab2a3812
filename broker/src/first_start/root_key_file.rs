//! The root key's file: made at the first start, opened at every start, replaced when the root key changes.
//!
//! While a change is under way the file `<root key file>.previous` lies beside it: the root key before this one, sealed
//! under this one, so that the passphrase of the one before is not needed any more. At every moment the two files
//! together open whatever the log holds:
//!
//! 1. the previous one is kept: the file beside is on disk, and opens with the root key to come;
//! 2. the new root key takes the place of the old one, in one rename;
//! 3. the log is sealed anew ([`crate::root_rotation`]);
//! 4. the file beside is removed.
//!
//! A file beside that does not open was written for a root key that never came into use (a crash between 1 and 2).

use std::path::{Path, PathBuf};

use sealq_config::Config;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::root_key::{PassphraseCost, RootFile, RootFileError, RootKey};
use zeroize::Zeroizing;

use super::secret_file::{self, Readers};
use super::{FirstStartError, holds_log};

/// A passphrase as it is given to argon2id.
pub type Passphrase = Zeroizing<Vec<u8>>;

/// What a new root key is protected by, beside the rights of its file.
#[derive(Clone)]
// No Debug: it may hold a passphrase.
pub enum Protection {
    /// As the present one: with the passphrase of the settings, or without one.
    AsBefore,
    /// Nothing.
    None,
    /// A passphrase.
    Passphrase(Passphrase),
}

/// The root key in use, and the one before it while a change is under way.
#[derive(Debug)]
pub struct RootKeys {
    /// What the file holds.
    pub current: RootKey,
    /// What the log may still be sealed under in part.
    pub previous: Option<RootKey>,
}

/// Where the root key is and what opens it.
// No Debug: it holds a passphrase.
pub struct RootKeyFile {
    path: PathBuf,
    passphrase: Option<Passphrase>,
    readers: Readers,
}

impl RootKeyFile {
    /// As the settings say; reads the passphrase, not the root key.
    ///
    /// # Errors
    /// [`FirstStartError::File`], [`FirstStartError::PassphraseGone`]
    pub fn of(config: &Config) -> Result<Self, FirstStartError> {
        let embedded = &config.kms.embedded;
        let readers = |path: &Path| match config.is_credential(path) {
            true => Readers::ServiceManager,
            false => Readers::Owner,
        };
        let passphrase = if embedded.passphrase_file.as_os_str().is_empty() {
            let given = embedded.passphrase.expose().as_bytes();
            (!given.is_empty()).then(|| Zeroizing::new(given.to_vec()))
        } else {
            let path = &embedded.passphrase_file;
            Some(read_passphrase(path, readers(path))?)
        };
        let path = config.root_key_file();
        Ok(Self { readers: readers(&path), path, passphrase })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file beside it.
    pub fn previous_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".previous");
        name.into()
    }

    /// Opens the root key, which is made when there is none yet and `data_dir` holds no log: with the passphrase of the
    /// settings if they have one. Takes as long as argon2id takes.
    ///
    /// # Errors
    /// [`FirstStartError::RootKeyGone`], [`FirstStartError::RootKey`], [`FirstStartError::File`]
    pub fn open_or_make(&self, data_dir: &Path) -> Result<RootKeys, FirstStartError> {
        if secret_file::read_as(&self.path, self.readers)?.is_none() {
            if holds_log(data_dir) {
                let data_dir = data_dir.to_owned();
                return Err(FirstStartError::RootKeyGone { root_key_file: self.path.clone(), data_dir });
            }
            secret_file::write(&self.path, &self.generate(self.passphrase.as_ref())?)?;
        }
        self.open()
    }

    /// Opens the root key that is there.
    ///
    /// # Errors
    /// [`FirstStartError::RootKey`], [`FirstStartError::File`]
    pub fn open(&self) -> Result<RootKeys, FirstStartError> {
        let file = self.parse()?;
        if self.passphrase.is_some() && !file.needs_passphrase() {
            tracing::warn!(
                file = %self.path.display(),
                "a passphrase is set, but the root key has none: `sealq kms rotate-root --passphrase-file` gives it one"
            );
        }
        let current = self.unlock(&file)?;
        let kept = secret_file::read_as(&self.previous_path(), self.readers)?;
        let previous = kept.and_then(|kept| current.open_previous(&kept).ok());
        Ok(RootKeys { current, previous })
    }

    /// Puts a new root key in the place of `current`, which is kept beside it (steps 1 and 2 of the module). Whatever is
    /// sealed under `current` has to be sealed anew before [`RootKeyFile::forget_previous`].
    ///
    /// # Errors
    /// [`FirstStartError::RootKeyReadOnly`], [`FirstStartError::RootKey`], [`FirstStartError::File`]: the root key in
    /// use is still `current`.
    pub fn replace(&mut self, current: &RootKey, protection: Protection) -> Result<RootKey, FirstStartError> {
        if self.readers == Readers::ServiceManager {
            return Err(FirstStartError::RootKeyReadOnly { path: self.path.clone() });
        }
        let passphrase = match protection {
            Protection::AsBefore if self.parse()?.needs_passphrase() => self.passphrase.clone(),
            Protection::AsBefore | Protection::None => None,
            Protection::Passphrase(passphrase) => Some(passphrase),
        };
        let bytes = self.generate(passphrase.as_ref())?;
        let new = self.unlock_bytes(&bytes, passphrase.as_ref())?;
        let kept = new.keep_previous(current, &mut SystemEntropy).map_err(|e| self.refuse(e.into()))?;
        secret_file::write(&self.previous_path(), &kept)?;
        secret_file::write(&self.path, &bytes)?;
        if passphrase.is_some() {
            self.passphrase = passphrase;
        }
        Ok(new)
    }

    /// Whether the root key needs a passphrase.
    ///
    /// # Errors
    /// [`FirstStartError::RootKey`], [`FirstStartError::File`]
    pub fn needs_passphrase(&self) -> Result<bool, FirstStartError> {
        Ok(self.parse()?.needs_passphrase())
    }

    /// Removes the root key before this one, and what a crash left of either file: everything is sealed under this one
    /// (step 4 of the module).
    ///
    /// # Errors
    /// [`FirstStartError::File`]
    pub fn forget_previous(&self) -> Result<(), FirstStartError> {
        secret_file::remove(&self.previous_path())?;
        Ok(secret_file::remove_leftovers(&self.path)?)
    }

    fn parse(&self) -> Result<RootFile, FirstStartError> {
        let bytes = secret_file::read_as(&self.path, self.readers)?
            .ok_or_else(|| secret_file::missing(&self.path))?;
        RootFile::parse(&bytes).map_err(|error| self.refuse(error))
    }

    fn generate(&self, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, FirstStartError> {
        match passphrase {
            None => RootFile::generate(&mut SystemEntropy),
            Some(passphrase) => {
                let cost = PassphraseCost::RECOMMENDED;
                RootFile::generate_with_passphrase(passphrase, cost, &mut SystemEntropy).map(Zeroizing::new)
            }
        }
        .map_err(|error| self.refuse(error))
    }

    fn unlock(&self, file: &RootFile) -> Result<RootKey, FirstStartError> {
        let passphrase = self.passphrase.as_ref().map(|passphrase| passphrase.as_slice());
        file.unlock(passphrase).map_err(|error| self.refuse(error))
    }

    fn unlock_bytes(
        &self,
        bytes: &[u8],
        passphrase: Option<&Passphrase>,
    ) -> Result<RootKey, FirstStartError> {
        let passphrase = passphrase.map(|passphrase| passphrase.as_slice());
        RootFile::parse(bytes).and_then(|file| file.unlock(passphrase)).map_err(|error| self.refuse(error))
    }

    fn refuse(&self, source: RootFileError) -> FirstStartError {
        FirstStartError::RootKey { path: self.path.clone(), source }
    }
}

/// Reads a passphrase file: its content up to one line end, if it ends with one.
///
/// # Errors
/// [`FirstStartError::PassphraseGone`], [`FirstStartError::File`]
pub fn read_passphrase(path: &Path, readers: Readers) -> Result<Passphrase, FirstStartError> {
    let mut bytes = secret_file::read_as(path, readers)?
        .ok_or_else(|| FirstStartError::PassphraseGone { path: path.to_owned() })?;
    for end in [b'\n', b'\r'] {
        if bytes.last() == Some(&end) {
            bytes.pop();
        }
    }
    Ok(bytes)
}
