//! Directories that a power cut does not take away.
//!
//! A new directory is a name in the one above it, and durable only once that one is synced, whatever was synced below.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes `path` and what is missing above it. Each name is durable before anything is put below it.
///
/// # Errors
/// The operating system's.
pub fn make(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && above(path) != path => {
            make(above(path))?;
            std::fs::create_dir(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    // Also of one that was there: who made it may have been cut off before.
    sync_name(path)
}

/// Makes the name of `path`, a file or a directory, durable.
///
/// # Errors
/// The operating system's.
pub fn sync_name(path: &Path) -> io::Result<()> {
    match File::open(above(path)) {
        Ok(directory) => directory.sync_all(),
        // A directory of somebody else's that may be passed through and not read was not made just now.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_with_what_is_missing_above_it_and_may_be_there_already() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        make(&path).unwrap();
        make(&path).unwrap();
        assert!(path.is_dir());
        std::fs::write(path.join("file"), b"x").unwrap();
        assert_eq!(make(&path.join("file")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(above(Path::new("data")), Path::new("."));
    }
}
