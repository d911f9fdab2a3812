//! What a backup consists of, and its files' digests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sealq_storage::LOG_DIRECTORY;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the manifest in the backup's directory.
pub(super) const MANIFEST: &str = "manifest.json";
/// Folder of the audit log's files.
pub(super) const AUDIT: &str = "audit";
/// The only format that this version writes and reads.
pub(super) const FORMAT: u32 = 1;

const COPY_BYTES: usize = 1 << 20;

/// Everything that is in a backup. It is written last.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) files: Vec<Entry>,
    /// Fingerprint of the root key that the keys in it are sealed under. Absent in backups of earlier versions.
    #[serde(default)]
    pub(super) root_key: Option<String>,
}

/// One file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// `log/…` or `audit/…`.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Hex.
    pub(super) sha256: String,
}

impl Manifest {
    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        let manifest: Self = serde_json::from_slice(&fs::read(dir.join(MANIFEST))?)?;
        let refused = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        if manifest.format != FORMAT {
            return refused("a format of another version");
        }
        if !manifest.files.iter().all(|file| is_inside(&file.path)) {
            return refused("a path that leads out of the backup");
        }
        Ok(manifest)
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let unfinished = dir.join("manifest.tmp");
        let mut file = create(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(unfinished, dir.join(MANIFEST))
    }
}

fn is_inside(path: &str) -> bool {
    path.split_once('/').is_some_and(|(folder, name)| {
        [LOG_DIRECTORY, AUDIT].contains(&folder)
            && !["", ".", ".."].contains(&name)
            && !name.contains(['/', '\0'])
    })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// Length and SHA-256 of a file.
pub(super) fn digest(path: &Path) -> io::Result<(u64, String)> {
    pass(File::open(path)?, &mut io::sink())
}

/// Copies a file durably: under another name first, so that a half one never has the right name.
pub(super) fn copy(source: &Path, target: &Path) -> io::Result<(u64, String)> {
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".partial");
    let mut file = create(Path::new(&unfinished))?;
    let copied = pass(File::open(source)?, &mut file)?;
    file.sync_all()?;
    fs::rename(unfinished, target)?;
    Ok(copied)
}

fn pass(mut source: File, target: &mut dyn Write) -> io::Result<(u64, String)> {
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; COPY_BYTES]);
    loop {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("reading at {bytes}: {error}"));
        let read = source.read(&mut buffer).map_err(named)?;
        if read == 0 {
            return Ok((bytes, hex::encode(hash.finalize())));
        }
        hash.update(&buffer[..read]);
        target.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        assert!(is_inside("log/00000001.seg") && is_inside("audit/audit.jsonl"));
        for path in ["/etc/x", "log/../x", "log/..", "log/", "other/x", "log", "../log/x"] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
