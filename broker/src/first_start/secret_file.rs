//! Secrets on disk: written whole or not at all, readable by their owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Owner may read and write.
pub const SECRET_FILE_MODE: u32 = 0o600;
/// What nobody else may.
const OTHERS: u32 = 0o077;
/// Larger files are no secrets of ours.
const SECRET_FILE_BYTES_MAX: u64 = 1 << 20;

/// A secret that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner have rights on it.
    #[error("{} is open to others (mode {mode:04o}): run chmod 600 on it", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than any secret.
    #[error("{} is larger than {SECRET_FILE_BYTES_MAX} bytes: it is no secret of this broker", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SecretFileError {
    move |source| SecretFileError::Io { action, path: path.to_owned(), source }
}

/// Writes `bytes` to `path` with mode 0600. After `Ok` the file is whole and on disk, its name too; on an error
/// or a crash `path` is as it was before. Replaces a file that is there.
///
/// # Errors
/// [`SecretFileError::Io`]
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), SecretFileError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = folder.join(name);
    let written = write_fresh(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, path));
    if let Err(source) = written {
        // What is left of it holds a secret nobody uses; that it could not be removed changes nothing.
        let _ = std::fs::remove_file(&fresh);
        return Err(failed("write", path)(source));
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
}

fn write_fresh(fresh: &Path, bytes: &[u8]) -> io::Result<()> {
    // A leftover of a crashed process with the same id.
    if let Err(error) = std::fs::remove_file(fresh)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    // create_new: never writes through a link that somebody put there. The mode is set at creation, so that there is
    // no moment at which others may read.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(SECRET_FILE_MODE).open(fresh)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a secret. `Ok(None)`: there is none.
///
/// # Errors
/// [`SecretFileError`]; in particular when others may read it.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretFileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let metadata = file.metadata().map_err(failed("look at", path))?;
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(SecretFileError::OpenToOthers { path: path.to_owned(), mode });
    }
    if metadata.len() > SECRET_FILE_BYTES_MAX {
        return Err(SecretFileError::TooLarge { path: path.to_owned() });
    }
    // Reserved in one piece: a buffer that grew would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    file.read_to_end(&mut bytes).map_err(failed("read", path))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_0600_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert!(read(&path).unwrap().is_none());
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, b"one").unwrap();
        for mode in [0o640, 0o604, 0o601, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(SecretFileError::OpenToOthers { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn a_failed_write_keeps_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("x"), b"x").unwrap();
        assert!(write(&path, b"one").is_err());
        assert!(path.join("x").exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
