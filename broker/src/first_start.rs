//! The secrets directory: what the first start makes in it, later starts find.
//!
//! Root key, TLS certificate, root access key: all 0600 in a 0700 directory outside the data directory. A root key is
//! never made for data that exists already: it could not open them, and would hide that the right one is missing.

pub mod root_key_file;
pub mod secret_file;

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sealq_config::{Config, Secret};
use sealq_crypto::root_key::RootFileError;
use sealq_storage::durable_directory;
use zeroize::Zeroizing;

use crate::tls;
use secret_file::SecretFileError;

const SECRETS_DIR_MODE: u32 = 0o700;
const ACCESS_KEY_ID_CHARS: usize = 20;
const SECRET_ACCESS_KEY_CHARS: usize = 40;

/// Why the secrets are not there.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// The secrets directory lies inside the data directory.
    #[error("secrets_dir {} lies inside data_dir {}: who copies the data must not get the keys with it", secrets_dir.display(), data_dir.display())]
    InsideData {
        /// The secrets directory.
        secrets_dir: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
    },
    /// Others than the owner have rights on the secrets directory.
    #[error("secrets_dir {} is open to others (mode {mode:04o}): run chmod 700 on it", path.display())]
    OpenToOthers {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The secrets directory cannot be made or looked at.
    #[error("secrets_dir {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The data directory holds a log, but its root key is gone.
    #[error(
        "{} is missing, but {} holds a log that was written under it. A new root key could open nothing of it. \
         Put the root key back from where it is kept (or start with an empty data directory)",
        root_key_file.display(), data_dir.display()
    )]
    RootKeyGone {
        /// Where the root key should be.
        root_key_file: PathBuf,
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The credentials file is no AWS shared-credentials file with a `default` profile.
    #[error("{}: no aws_access_key_id and aws_secret_access_key in the profile [default]", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
    },
    /// The root key file is damaged, or needs a passphrase.
    #[error("{}: {source}", path.display())]
    RootKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: RootFileError,
    },
    /// There is nothing to work on.
    #[error("{} holds no log: start the broker once, or name its directory with --data-dir", data_dir.display())]
    NeverStarted {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The root key is a credential of the service manager, which nobody but it can replace.
    #[error(
        "{} is a credential of the service manager and cannot be replaced here: stop the broker and rotate the file that \
         the credential is made from, with SEALQ_KMS__EMBEDDED__ROOT_KEY_FILE naming it",
        path.display()
    )]
    RootKeyReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file that the passphrase should be in is not there.
    #[error("the passphrase file {} is missing: put it back, or change kms.embedded.passphrase_file", path.display())]
    PassphraseGone {
        /// The file.
        path: PathBuf,
    },
    /// Only a part of the certificate's files is there.
    #[error("{} is missing beside the other files of {}: put it back, or remove them all to have new ones made", missing.display(), folder.display())]
    CertificateIncomplete {
        /// The missing file.
        missing: PathBuf,
        /// `secrets_dir/tls`
        folder: PathBuf,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Certificate(#[from] tls::AuthorityError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl FirstStartError {
    /// Whether the data cannot be opened safely (exit 3), as opposed to a setting that must change (exit 2).
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::RootKey { source, .. } => !matches!(source, RootFileError::PassphraseShort { .. }),
            other => matches!(other, Self::RootKeyGone { .. }),
        }
    }
}

/// The secrets directory, checked.
#[derive(Debug)]
pub struct SecretsDirectory {
    path: PathBuf,
}

/// The root access key that the first start made.
#[derive(Clone, Debug)]
pub struct RootCredentials {
    /// 20 characters, `AKIA…`.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: Secret,
}

/// Files of the certificate that the first start made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// What clients trust.
    pub ca: PathBuf,
    /// The server's chain.
    pub server: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

impl CertificateFiles {
    /// In `secrets_dir`, whether they are there or not.
    pub fn of(secrets_dir: &Path) -> Self {
        let folder = secrets_dir.join("tls");
        Self { ca: folder.join("ca.pem"), server: folder.join("server.pem"), key: folder.join("server.key") }
    }
}

/// The AWS shared-credentials file in `secrets_dir`, whether it is there or not.
pub fn credentials_file(secrets_dir: &Path) -> PathBuf {
    secrets_dir.join("credentials")
}

/// Whether `data_dir` holds a log: any segment of any shard.
pub fn holds_log(data_dir: &Path) -> bool {
    fn any_segment(folder: &Path, depth: usize) -> bool {
        let Ok(entries) = std::fs::read_dir(folder) else { return false };
        entries.flatten().any(|entry| {
            let path = entry.path();
            path.extension().is_some_and(|extension| extension == "seg")
                || (depth > 0 && path.is_dir() && any_segment(&path, depth - 1))
        })
    }
    any_segment(&data_dir.join("log"), 1)
}

impl SecretsDirectory {
    /// Makes the directory (0700) or checks the one that is there.
    ///
    /// # Errors
    /// [`FirstStartError::InsideData`], [`FirstStartError::OpenToOthers`], [`FirstStartError::Directory`]
    pub fn open(config: &Config) -> Result<Self, FirstStartError> {
        let path = config.secrets_dir.clone();
        let failed = |source| FirstStartError::Directory { path: config.secrets_dir.clone(), source };
        make_directory(&path).map_err(failed)?;
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FirstStartError::OpenToOthers { path, mode });
        }
        // The settings were checked by name; links that were made since are seen only now.
        let real = path.canonicalize().map_err(failed)?;
        if config.data_dir.canonicalize().is_ok_and(|data_dir| real.starts_with(data_dir)) {
            return Err(FirstStartError::InsideData { secrets_dir: path, data_dir: config.data_dir.clone() });
        }
        Ok(Self { path })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root access key, made when there is none yet.
    ///
    /// # Errors
    /// [`FirstStartError::Credentials`], [`FirstStartError::File`], [`FirstStartError::Randomness`]
    pub fn root_credentials(&self) -> Result<RootCredentials, FirstStartError> {
        let path = credentials_file(&self.path);
        if let Some(found) = read_credentials(&path)? {
            return Ok(found);
        }
        let made = RootCredentials {
            access_key_id: format!(
                "AKIA{}",
                random_text(ACCESS_KEY_ID_CHARS - 4, ACCESS_KEY_ALPHABET)?.as_str()
            ),
            secret_access_key: Secret::new(random_text(SECRET_ACCESS_KEY_CHARS, SECRET_ALPHABET)?.as_str()),
        };
        let text = Zeroizing::new(format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            made.access_key_id,
            made.secret_access_key.expose()
        ));
        secret_file::write(&path, text.as_bytes())?;
        Ok(made)
    }

    /// TLS of the HTTPS listener: with the certificate that the settings give, or the one that the first start makes for
    /// the loopback addresses, this host's name, the address listened on and the host of the public URL.
    ///
    /// # Errors
    /// Those of [`SecretsDirectory::certificate`], [`FirstStartError::Tls`]
    pub fn server_tls(&self, config: &Config) -> Result<tls::ServerTls, FirstStartError> {
        if let Some((cert_file, key_file)) = config.given_certificate() {
            return Ok(tls::ServerTls::load(cert_file, key_file)?);
        }
        let files = self.certificate(&certificate_names(config))?;
        // No use of the broker's own, but clients are told to trust it: a damaged one would show there only.
        tls::certificates(&files.ca)?;
        Ok(tls::ServerTls::load(&files.server, &files.key)?)
    }

    /// The certificate's files, made when there are none yet: for the loopback addresses and `names`.
    ///
    /// # Errors
    /// [`FirstStartError::CertificateIncomplete`], [`FirstStartError::Certificate`], [`FirstStartError::File`]
    pub fn certificate(&self, names: &[String]) -> Result<CertificateFiles, FirstStartError> {
        let files = CertificateFiles::of(&self.path);
        let all = [&files.ca, &files.server, &files.key];
        let folder = self.path.join("tls");
        // The server's certificate is written last: without it, an attempt before was cut short and nothing is in use.
        if files.server.exists() {
            if let Some(missing) = all.into_iter().find(|file| !file.exists()) {
                return Err(FirstStartError::CertificateIncomplete { missing: missing.clone(), folder });
            }
            secret_file::read(&files.key)?;
            return Ok(files);
        }
        make_directory(&folder).map_err(|source| FirstStartError::Directory { path: folder, source })?;
        let made = tls::make(names)?;
        secret_file::write(&files.key, made.server_key_pem.as_bytes())?;
        secret_file::write(&files.ca, made.ca_pem.as_bytes())?;
        secret_file::write(&files.server, made.server_pem.as_bytes())?;
        Ok(files)
    }
}

/// Afterwards its name is on disk, and so are those above it: a power cut that took the directory would take the root
/// key, and with it every message.
fn make_directory(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(SECRETS_DIR_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What lies above is no secret: it gets the usual mode.
            if let Some(above) = path.parent() {
                durable_directory::make(above)?;
            }
            std::fs::DirBuilder::new().mode(SECRETS_DIR_MODE).create(path)?;
        }
        made => made?,
    }
    durable_directory::sync_name(path)
}

/// The names under which clients may reach this broker, beside loopback.
fn certificate_names(config: &Config) -> Vec<String> {
    let address = config.listen.https.socket().map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
    let public: Option<http::Uri> = config.listen.public_url.parse().ok();
    let public =
        public.as_ref().and_then(http::Uri::host).map(|host| host.trim_matches(['[', ']']).to_owned());
    host_name().into_iter().chain(address.map(|ip| ip.to_string())).chain(public).collect()
}

fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned())
}

/// Characters of Amazon's own access keys: base 32.
const ACCESS_KEY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Base 64 without `+` and `/`, of which some tools forget the quoting; two letters stand twice instead.
const SECRET_ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789xz";

fn random_text<const N: usize>(
    chars: usize,
    alphabet: &[u8; N],
) -> Result<Zeroizing<String>, FirstStartError> {
    // Both alphabets are powers of two, so that no character is likelier by the modulus.
    const { assert!(N.is_power_of_two() && N <= 256) };
    let mut random = Zeroizing::new(vec![0_u8; chars]);
    getrandom::fill(&mut random).map_err(FirstStartError::Randomness)?;
    Ok(Zeroizing::new(random.iter().map(|byte| char::from(alphabet[usize::from(*byte) % N])).collect()))
}

/// Reads the `default` profile of an AWS shared-credentials file. `Ok(None)`: there is no file.
///
/// # Errors
/// [`FirstStartError::Credentials`], [`FirstStartError::File`]
pub fn read_credentials(path: &Path) -> Result<Option<RootCredentials>, FirstStartError> {
    let Some(bytes) = secret_file::read(path)? else { return Ok(None) };
    let refuse = || FirstStartError::Credentials { path: path.to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|_| refuse())?;
    let mut in_default = false;
    let (mut id, mut secret) = (None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(profile) = line.strip_prefix('[') {
            in_default = profile.trim_end_matches(']').trim() == "default";
        } else if let (true, Some((name, value))) = (in_default, line.split_once('=')) {
            match name.trim() {
                "aws_access_key_id" => id = Some(value.trim().to_owned()),
                "aws_secret_access_key" => secret = Some(Secret::new(value.trim())),
                _ => {}
            }
        }
    }
    match (id, secret) {
        (Some(access_key_id), Some(secret_access_key))
            if !access_key_id.is_empty() && !secret_access_key.is_empty() =>
        {
            Ok(Some(RootCredentials { access_key_id, secret_access_key }))
        }
        _ => Err(refuse()),
    }
}

#[cfg(test)]
mod tests;
