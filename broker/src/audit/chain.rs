//! The files behind the audit log: lines that each carry the hash of the line before.
//!
//! A file that has grown large is renamed to `<name>.<its first sequence>` and a new one goes on with the chain. What a
//! crash or a full disk left half written is cut off: it was never acknowledged. Which record is the last one stands in a
//! file beside them, so that lines taken off the end are missed too.

mod head;
mod verification;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sealq_storage::durable_directory;
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use head::{Head, Mark};

pub use verification::{ChainReport, verify};

/// Part of a file in which its last record is looked for. The longest record is far shorter: a request's public
/// parameters.
const END_BYTES: u64 = 16 << 20;

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
    /// There are lines, and no record among the last of them.
    #[error("audit log {path}: its end holds no record; move the file away to start a new chain")]
    NoRecord {
        /// The file.
        path: PathBuf,
    },
}

/// The open end of the chain.
#[derive(Debug)]
pub struct Chain {
    path: PathBuf,
    rotate_bytes: u64,
    file: File,
    /// Length of the whole lines in the file.
    bytes: u64,
    /// A line that was not written whole lies behind them.
    torn: bool,
    /// Sequence of the file's first record.
    first_sequence: u64,
    next_sequence: u64,
    previous_hash: String,
    head: Head,
    /// Sequence of the last record that the head tells of.
    marked_sequence: u64,
}

impl Chain {
    /// Opens or starts the file, whose end `mark_file` tells of; beyond `rotate_bytes` it is closed and another one goes on. A half-written last line is
    /// cut off. A damaged one stays, for [`verify`] to name, and the chain goes on after it. Where records are missing
    /// that were there, it goes on as if they were, so that they stay missed.
    pub fn open(path: &Path, mark_file: &Path, rotate_bytes: u64) -> Result<Self, AuditError> {
        let io = |source| AuditError::Io { path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            durable_directory::make(dir).map_err(io)?;
        }
        let mut last = None;
        for file in files(path).map_err(io)?.iter().rev() {
            let end = FileEnd::read(file).map_err(io)?;
            if file == path && end.file_bytes > end.whole_bytes {
                tracing::warn!(path = %file.display(), "a half-written record is cut off the audit log");
                let handle = OpenOptions::new().write(true).open(file).map_err(io)?;
                handle.set_len(end.whole_bytes).map_err(io)?;
            }
            if let Some(line_hash) = end.last_line_hash {
                let sequence =
                    end.last_sequence.ok_or_else(|| AuditError::NoRecord { path: file.clone() })?;
                if end.is_damaged {
                    tracing::error!(path = %file.display(), "the end of the audit log is damaged: see `sealq audit verify`");
                }
                last = Some((sequence, line_hash));
                break;
            }
        }
        let mark = Mark::read(mark_file, path).unwrap_or_else(|error| {
            tracing::error!(path = %mark_file.display(), %error, "the mark of the audit log's end cannot be used");
            None
        });
        let found = last.as_ref().map_or(0, |(sequence, _)| *sequence);
        let marked_sequence = mark.as_ref().map_or(0, |mark| mark.sequence);
        let (last_sequence, previous_hash) = match (mark, last) {
            (Some(mark), last)
                if mark.sequence > found
                    || last
                        .as_ref()
                        .is_some_and(|(at, hash)| *at == mark.sequence && *hash != mark.line_hash) =>
            {
                tracing::error!(
                    path = %path.display(),
                    last = mark.sequence,
                    found,
                    "the end of the audit log was changed or taken off: see `sealq audit verify`"
                );
                (mark.sequence, mark.line_hash)
            }
            (_, Some((sequence, line_hash))) => (sequence, line_hash),
            (_, None) => (0, String::new()),
        };
        let next_sequence = last_sequence.saturating_add(1);
        let mut file = create(path).map_err(io)?;
        let bytes = file.seek(SeekFrom::End(0)).map_err(io)?;
        let first_sequence = first_sequence(path).map_err(io)?.unwrap_or(next_sequence);
        let head = Head::open(mark_file, path)
            .map_err(|source| AuditError::Io { path: mark_file.to_owned(), source })?;
        let path = path.to_owned();
        Ok(Self {
            path,
            rotate_bytes,
            file,
            bytes,
            torn: false,
            first_sequence,
            next_sequence,
            previous_hash,
            head,
            marked_sequence,
        })
    }

    /// Appends a record; durable after [`Self::sync`]. After an error the chain is as it was before.
    pub fn append(&mut self, mut record: Value) -> Result<(), AuditError> {
        if self.torn {
            self.file.set_len(self.bytes).map_err(|source| self.failed(source))?;
            self.torn = false;
        }
        if self.bytes > self.rotate_bytes {
            self.rotate()?;
        }
        if let Some(fields) = record.as_object_mut() {
            fields.insert("sequence".into(), self.next_sequence.into());
            fields.insert("previousHash".into(), self.previous_hash.clone().into());
        }
        let mut line = record.to_string();
        let next_hash = hash(&line);
        line.push('\n');
        if let Err(source) = self.file.write_all(line.as_bytes()) {
            // A part of it may be there; if it cannot be cut off now, it is before the next one.
            self.torn = self.file.set_len(self.bytes).is_err();
            return Err(self.failed(source));
        }
        self.bytes += line.len() as u64;
        self.previous_hash = next_hash;
        self.next_sequence += 1;
        Ok(())
    }

    /// Waits until everything appended is on disk.
    pub fn sync(&mut self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(|source| self.failed(source))?;
        let mark = Mark { sequence: self.next_sequence - 1, line_hash: self.previous_hash.clone() };
        if mark.sequence > self.marked_sequence {
            match self.head.write(&mark) {
                Ok(()) => self.marked_sequence = mark.sequence,
                // The records are there; a mark that is behind says less, and nothing wrong.
                Err(error) => tracing::warn!(%error, "the mark of the audit log's end was not written"),
            }
        }
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> AuditError {
        AuditError::Io { path: self.path.clone(), source }
    }

    fn rotate(&mut self) -> Result<(), AuditError> {
        self.file.sync_data().map_err(|source| self.failed(source))?;
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{:020}", self.first_sequence));
        // A damaged first line may claim any number: no file is ever written over.
        while Path::new(&name).exists() {
            name.push("+");
        }
        match std::fs::rename(&self.path, &name) {
            // Somebody moved the file away: it is turned over already.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            renamed => renamed.map_err(|source| self.failed(source))?,
        }
        match create(&self.path) {
            Ok(file) => self.file = file,
            Err(source) => {
                // The file goes on under its old name, as if it had not grown too large yet.
                std::fs::rename(&name, &self.path).map_err(|source| self.failed(source))?;
                return Err(self.failed(source));
            }
        }
        self.bytes = 0;
        self.first_sequence = self.next_sequence;
        Ok(())
    }
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

/// What the next record has to know of the records before it.
struct FileEnd {
    file_bytes: u64,
    /// Up to the end of the last whole line.
    whole_bytes: u64,
    last_line_hash: Option<String>,
    /// Of the last line that is a record.
    last_sequence: Option<u64>,
    /// The last line is none.
    is_damaged: bool,
}

impl FileEnd {
    fn read(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let from = file_bytes.saturating_sub(END_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut end = Vec::new();
        file.take(END_BYTES).read_to_end(&mut end)?;
        let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut lines =
            end[..whole].split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]).rev();
        let last = lines.next();
        let own = last.and_then(sequence_of);
        Ok(Self {
            file_bytes,
            whole_bytes: if whole == 0 && from > 0 { file_bytes } else { from + whole as u64 },
            last_line_hash: last.map(hash),
            last_sequence: own.or_else(|| lines.find_map(sequence_of)),
            is_damaged: last.is_some() && own.is_none(),
        })
    }
}

fn sequence_of(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Value>(line).ok()?["sequence"].as_u64()
}

fn first_sequence(path: &Path) -> std::io::Result<Option<u64>> {
    let mut line = Vec::new();
    BufReader::new(File::open(path)?.take(END_BYTES)).read_until(b'\n', &mut line)?;
    line.pop();
    Ok(sequence_of(&line))
}

/// Opens the file for appending, made if it is not there: its name is on disk before a record in it is.
fn create(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    durable_directory::sync_name(path)?;
    Ok(file)
}

fn hash(line: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(line.as_ref()))
}

#[cfg(test)]
impl Chain {
    /// Writes to `file` from now on; returns what was written to.
    pub(super) fn swap_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}

#[cfg(test)]
mod tests;
