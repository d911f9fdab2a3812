//! Checking a chain: that every record follows the one before, from the first on to the one that was written last.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::head::Mark;
use super::{AuditError, files, hash};

/// What [`verify`] found.
#[derive(Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Records read.
    pub records: u64,
    /// Where the chain does not hold: (file, line, what).
    pub broken: Vec<(PathBuf, u64, String)>,
}

/// Reads every file of the chain, oldest first; the oldest record must have the number `first`. The current file's last
/// line counts only once it is whole: a running broker may be writing it, and after a crash it was never acknowledged.
pub fn verify(path: &Path, mark_file: &Path, first: u64) -> Result<ChainReport, AuditError> {
    let mut report = ChainReport { records: 0, broken: Vec::new() };
    // Read before the records: a running broker writes it after them.
    let mark = Mark::read(mark_file, path).unwrap_or_else(|error| {
        report.broken.push((mark_file.to_owned(), 1, error.to_string()));
        None
    });
    let mut last_line = (path.to_owned(), 0);
    let (mut previous, mut expected) = ((first == 1).then(String::new), first);
    for file in files(path).map_err(|source| AuditError::Io { path: path.to_owned(), source })? {
        let io = |source| AuditError::Io { path: file.clone(), source };
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
            let mut broken = |what: String| report.broken.push((file.clone(), number, what));
            match serde_json::from_slice::<Value>(&line) {
                Err(_) => broken("not a JSON record".to_owned()),
                Ok(record) => {
                    let sequence = record["sequence"].as_u64();
                    if sequence != Some(expected) {
                        let found = sequence.map_or("none".to_owned(), |found| found.to_string());
                        broken(format!("record {expected} should stand here, and {found} does"));
                    } else if previous
                        .as_deref()
                        .is_some_and(|hash| record["previousHash"].as_str() != Some(hash))
                    {
                        broken("hash of the line before does not match".to_owned());
                    } else if mark
                        .as_ref()
                        .is_some_and(|mark| mark.sequence == expected && mark.line_hash != hash(&line))
                    {
                        broken(format!("record {expected} is not as it was written"));
                    }
                    expected = sequence.unwrap_or(expected).saturating_add(1);
                }
            }
            previous = Some(hash(&line));
            last_line = (file.clone(), number);
            report.records += 1;
        }
    }
    if let Some(mark) = mark.filter(|mark| mark.sequence >= expected) {
        let (file, line) = last_line;
        let what = format!("records {expected} to {} were written and are missing", mark.sequence);
        report.broken.push((file, line + 1, what));
    }
    Ok(report)
}
