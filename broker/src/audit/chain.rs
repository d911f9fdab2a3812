//! The file behind the audit log: lines that each carry the hash of the line before.
//!
//! A file that has grown large is renamed to `<name>.<first sequence>` and a new one goes on with the chain.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// A file is closed and renamed beyond this size.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;

/// The audit log cannot be used.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The file cannot be read or written.
    #[error("audit log {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The last line is whole but no record.
    #[error("audit log {path}: its last line is not a record; move the file away to start a new chain")]
    LastLine {
        /// The file.
        path: PathBuf,
    },
}

/// What [`verify`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Records read.
    pub records: u64,
    /// Where the chain does not hold: (file, line, what).
    pub broken: Vec<(PathBuf, u64, String)>,
}

/// The open end of the chain.
#[derive(Debug)]
pub struct Chain {
    path: PathBuf,
    file: File,
    bytes: u64,
    first_sequence: u64,
    next_sequence: u64,
    previous_hash: String,
}

impl Chain {
    /// Opens or starts the file. A half-written last line (a crash) is cut off: it was never acknowledged.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let io = |source| AuditError::Io { path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(io)?;
        }
        let mut last = None;
        for file in files(path).map_err(io)? {
            let (line, whole_bytes) = last_line(&file).map_err(io)?;
            if file == path {
                let handle = OpenOptions::new().write(true).open(&file).map_err(io)?;
                if handle.metadata().map_err(io)?.len() > whole_bytes {
                    tracing::warn!(path = %file.display(), "cut a half-written record off the audit log");
                    handle.set_len(whole_bytes).map_err(io)?;
                }
            }
            last = line.or(last);
        }
        let (next_sequence, previous_hash) = match last {
            None => (1, String::new()),
            Some(line) => {
                let record: Value = serde_json::from_str(&line)
                    .map_err(|_| AuditError::LastLine { path: path.to_owned() })?;
                let sequence = record["sequence"]
                    .as_u64()
                    .ok_or_else(|| AuditError::LastLine { path: path.to_owned() })?;
                (sequence + 1, hash(&line))
            }
        };
        let mut file = open_append(path).map_err(io)?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
            first_sequence: next_sequence,
            next_sequence,
            previous_hash,
        })
    }

    /// Appends a record; durable after [`Self::sync`].
    pub fn append(&mut self, mut record: Value) -> Result<(), AuditError> {
        if self.bytes > FILE_BYTES_MAX {
            self.rotate()?;
        }
        if let Some(fields) = record.as_object_mut() {
            fields.insert("sequence".into(), self.next_sequence.into());
            fields.insert("previousHash".into(), self.previous_hash.clone().into());
        }
        let mut line = record.to_string();
        let next_hash = hash(&line);
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .map_err(|source| AuditError::Io { path: self.path.clone(), source })?;
        self.bytes += line.len() as u64;
        self.previous_hash = next_hash;
        self.next_sequence += 1;
        Ok(())
    }

    /// Waits until everything appended is on disk.
    pub fn sync(&self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(|source| AuditError::Io { path: self.path.clone(), source })
    }

    fn rotate(&mut self) -> Result<(), AuditError> {
        let io = |source| AuditError::Io { path: self.path.clone(), source };
        self.file.sync_data().map_err(io)?;
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{:020}", self.first_sequence));
        std::fs::rename(&self.path, &name).map_err(io)?;
        self.file = open_append(&self.path).map_err(io)?;
        self.bytes = 0;
        self.first_sequence = self.next_sequence;
        Ok(())
    }
}

/// Reads every file of the chain, oldest first. The current file's last line counts only once it is whole: a running
/// broker may be writing it, and after a crash it was never acknowledged.
pub fn verify(path: &Path) -> Result<ChainReport, AuditError> {
    let io = |source| AuditError::Io { path: path.to_owned(), source };
    let mut report = ChainReport { records: 0, broken: Vec::new() };
    let (mut previous, mut expected) = (None::<String>, None::<u64>);
    for file in files(path).map_err(io)? {
        let mut reader = BufReader::new(File::open(&file).map_err(io)?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(io)? == 0 {
                break;
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if file == path {
                break;
            }
            let mut broken = |what: &str| report.broken.push((file.clone(), number, what.to_owned()));
            match serde_json::from_slice::<Value>(&line) {
                Err(_) => broken("not a JSON record"),
                Ok(record) => {
                    let sequence = record["sequence"].as_u64();
                    if expected.is_some() && sequence != expected {
                        broken("sequence does not follow the line before");
                    } else if previous.is_some() && record["previousHash"].as_str() != previous.as_deref() {
                        broken("hash of the line before does not match");
                    }
                    expected = sequence.map(|sequence| sequence + 1);
                }
            }
            previous = Some(hash(&line));
            report.records += 1;
        }
    }
    Ok(report)
}

/// The files of a chain, oldest first; the current one last.
pub fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let prefix = path.file_name().map(|name| format!("{}.", name.to_string_lossy())).unwrap_or_default();
    if let Some(dir) = path.parent()
        && dir.exists()
    {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    if path.exists() {
        files.push(path.to_owned());
    }
    Ok(files)
}

/// The last whole line and the length up to its end.
fn last_line(path: &Path) -> std::io::Result<(Option<String>, u64)> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut last, mut whole_bytes) = (None, 0);
    loop {
        let mut line = String::new();
        let read = reader.read_line(&mut line)?;
        if read == 0 || !line.ends_with('\n') {
            return Ok((last, whole_bytes));
        }
        whole_bytes += read as u64;
        line.pop();
        last = Some(line);
    }
}

fn open_append(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn hash(line: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(line.as_ref()))
}
