//! The mark of the chain's end: number and hash of the last record that is on disk, in a file of its own.
//!
//! A chain by itself does not show that its last lines were changed or taken off. The mark is written after the records
//! are durable, so it is never ahead of them; a crash leaves it behind, which is no fault. Like the chain it shows
//! mistakes and damage, and not somebody who rewrites every file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Length of a mark: number, blank, hash, end of line. One write within a sector.
const MARK_LEN: usize = SEQUENCE_DIGITS + 1 + HASH_DIGITS + 1;
const SEQUENCE_DIGITS: usize = 20;
const HASH_DIGITS: usize = 64;

/// The last record known to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its number.
    pub(super) sequence: u64,
    /// Hex SHA-256 of its line.
    pub(super) line_hash: String,
}

impl Mark {
    /// Reads the mark beside the audit file. None: there is none yet, as before the first record.
    pub(super) fn read(audit_file: &Path) -> io::Result<Option<Self>> {
        let path = head_file(audit_file);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        Self::parse(&bytes).map(Some).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "it is damaged; the broker writes it anew at its next record",
            )
        })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (sequence, line_hash) = text.strip_suffix('\n')?.split_once(' ')?;
        let is_hash =
            line_hash.len() == HASH_DIGITS && line_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hash && sequence.len() == SEQUENCE_DIGITS)
            .then_some(Self { sequence: sequence.parse().ok()?, line_hash: line_hash.to_owned() })
    }

    fn render(&self) -> String {
        format!("{:0width$} {}\n", self.sequence, self.line_hash, width = SEQUENCE_DIGITS)
    }
}

/// Where the mark is: `audit.jsonl-head` beside `audit.jsonl`. No file that was turned over has such a name.
pub(super) fn head_file(audit_file: &Path) -> PathBuf {
    let mut name = audit_file.to_owned().into_os_string();
    name.push("-head");
    name.into()
}

/// The file of the mark, open for writing.
#[derive(Debug)]
pub(super) struct Head(File);

impl Head {
    /// Opens or makes it.
    pub(super) fn open(audit_file: &Path) -> io::Result<Self> {
        let options = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).to_owned();
        options.open(head_file(audit_file)).map(Self)
    }

    /// Writes the mark over the one before.
    pub(super) fn write(&self, mark: &Mark) -> io::Result<()> {
        self.0.write_all_at(mark.render().as_bytes(), 0)?;
        self.0.set_len(MARK_LEN as u64)
    }
}
