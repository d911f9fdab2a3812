//! The mark of the chain's end: number and hash of the last record that is on disk, in a file of its own, apart from the
//! records.
//!
//! A chain by itself does not show that its last lines were changed or taken off. The mark is written after the records
//! are durable, so it is never ahead of them; a crash leaves it behind, which is no fault. Like the chain it shows
//! mistakes and damage, and not somebody who rewrites every file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

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
    /// Reads the mark of this audit file. None: there is none yet, as before the first record, or it is another file's.
    pub(super) fn read(mark_file: &Path, audit_file: &Path) -> io::Result<Option<Self>> {
        let bytes = match std::fs::read(mark_file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if bytes.is_empty() {
            return Ok(None);
        }
        let damaged = "it is damaged; the broker writes it anew at its next record";
        let (mark, of) =
            Self::parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, damaged))?;
        Ok((of == name_of(mark_file, audit_file)).then_some(mark))
    }

    fn parse(bytes: &[u8]) -> Option<(Self, &str)> {
        let mut words = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.splitn(3, ' ');
        let (sequence, line_hash, of) = (words.next()?, words.next()?, words.next()?);
        let is_hash =
            line_hash.len() == HASH_DIGITS && line_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mark = Self { sequence: sequence.parse().ok()?, line_hash: line_hash.to_owned() };
        (is_hash && sequence.len() == SEQUENCE_DIGITS).then_some((mark, of))
    }
}

/// How a mark names its audit file: by the way from the mark, so that both may be moved together.
fn name_of(mark_file: &Path, audit_file: &Path) -> String {
    let below = mark_file.parent().and_then(|folder| audit_file.strip_prefix(folder).ok());
    below.unwrap_or(audit_file).to_string_lossy().replace('\n', " ")
}

/// The file of the mark, open for writing.
#[derive(Debug)]
pub(super) struct Head {
    file: File,
    of: String,
}

impl Head {
    /// Opens or makes it.
    pub(super) fn open(mark_file: &Path, audit_file: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(mark_file)?;
        Ok(Self { file, of: name_of(mark_file, audit_file) })
    }

    /// Writes the mark over the one before.
    pub(super) fn write(&self, mark: &Mark) -> io::Result<()> {
        let line =
            format!("{:0width$} {} {}\n", mark.sequence, mark.line_hash, self.of, width = SEQUENCE_DIGITS);
        self.file.write_all_at(line.as_bytes(), 0)?;
        self.file.set_len(line.len() as u64)
    }
}
