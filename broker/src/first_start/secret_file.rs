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
/// The same for a credential: systemd admits the service's user by an access list, which shows as a right of the group.
const OTHERS_OF_A_CREDENTIAL: u32 = 0o037;
/// Ends the name of a file that is being written.
const FRESH_SUFFIX: &str = ".new";
/// Larger files are no secrets of ours.
const SECRET_FILE_BYTES_MAX: u64 = 1 << 20;

/// Who sees to it that nobody else reads a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readers {
    /// Its owner: nobody else may have any right on the file.
    Owner,
    /// The service manager, which made the file for this service alone.
    ServiceManager,
}

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
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}{FRESH_SUFFIX}", std::process::id()));
    let fresh = folder_of(path).join(name);
    let written = write_fresh(&fresh, bytes).and_then(|()| std::fs::rename(&fresh, path));
    if let Err(source) = written {
        // What is left of it holds a secret nobody uses; that it could not be removed changes nothing.
        let _ = std::fs::remove_file(&fresh);
        return Err(failed("write", path)(source));
    }
    sync_folder(path)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> Result<(), SecretFileError> {
    let folder = folder_of(path);
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

/// Removes a secret for good: durable when this returns. None there is as good.
///
/// # Errors
/// [`SecretFileError::Io`]
pub fn remove(path: &Path) -> Result<(), SecretFileError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

/// Removes what crashed processes left of writes of `path`, and of files named after it, for good.
///
/// # Errors
/// [`SecretFileError::Io`]
pub fn remove_leftovers(path: &Path) -> Result<(), SecretFileError> {
    let folder = folder_of(path);
    let prefix = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
    for entry in std::fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(FRESH_SUFFIX) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// The error of a secret that has to be there and is not.
pub fn missing(path: &Path) -> SecretFileError {
    failed("open", path)(io::ErrorKind::NotFound.into())
}

/// Reads a secret that its owner keeps. `Ok(None)`: there is none.
///
/// # Errors
/// [`SecretFileError`]; in particular when others may read it.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretFileError> {
    read_as(path, Readers::Owner)
}

/// Reads a secret. `Ok(None)`: there is none.
///
/// # Errors
/// [`SecretFileError`]; in particular when others than `readers` admits may read it.
pub fn read_as(path: &Path, readers: Readers) -> Result<Option<Zeroizing<Vec<u8>>>, SecretFileError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    let metadata = file.metadata().map_err(failed("look at", path))?;
    let mode = metadata.mode() & 0o7777;
    let others = match readers {
        Readers::Owner => OTHERS,
        Readers::ServiceManager => OTHERS_OF_A_CREDENTIAL,
    };
    if mode & others != 0 {
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
    fn a_credential_of_the_service_manager_may_show_a_right_of_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        write(&path, b"one").unwrap();
        for (mode, taken) in [(0o440, true), (0o400, true), (0o444, false), (0o460, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_as(&path, Readers::ServiceManager).is_ok(), taken, "{mode:o}");
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_crashed_writes_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["s", "s.1.new", "s.previous.2.new", "s.previous", "other.3.new"];
        for name in names {
            write(&folder.path().join(name), b"one").unwrap();
        }
        remove_leftovers(&folder.path().join("s")).unwrap();
        let left = names.map(|name| folder.path().join(name).exists());
        assert_eq!(left, [true, false, false, true, true]);
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
