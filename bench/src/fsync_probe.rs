//! How long the disk takes to make a write durable: the floor under every durable send.
//!
//! Run beside each measurement, so that a slow disk is told apart from a slow broker.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::BenchError;
use crate::latency::{Latencies, Percentiles};

/// Sizes that are written, bytes.
const WRITE_BYTES: [usize; 4] = [4 << 10, 16 << 10, 64 << 10, 256 << 10];
/// Alignment that direct writes ask of buffer, offset and length, bytes.
const DIRECT_ALIGNMENT: usize = 4096;
/// Longest file that is written, bytes; overwriting goes round in it.
const FILE_BYTES: u64 = 64 << 20;

/// Latencies of one size and way of writing, microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct ProbeRow {
    /// `append`: the file grows; `overwrite`: its blocks were written before.
    kind: &'static str,
    direct: bool,
    write_bytes: usize,
    commits_per_second: f64,
    /// The write and its fdatasync together.
    commit_us: Percentiles,
    fdatasync_us: Percentiles,
}

/// Writes in `dir` for `seconds` a row and removes its file.
pub(crate) fn probe(dir: &Path, seconds: f64) -> Result<Vec<ProbeRow>, BenchError> {
    let path = dir.join(format!("fsync-probe-{}", std::process::id()));
    let rows = probe_file(&path, Duration::from_secs_f64(seconds));
    // The measurement stands whether or not the file can be removed.
    let _ = std::fs::remove_file(&path);
    rows
}

fn probe_file(path: &Path, row_time: Duration) -> Result<Vec<ProbeRow>, BenchError> {
    let failed = |source| BenchError::File { path: path.to_owned(), source };
    let mut rows = Vec::new();
    for direct in [false, true] {
        for kind in ["append", "overwrite"] {
            for write_bytes in WRITE_BYTES {
                // A file system without direct writes (tmpfs) has no such rows.
                let Ok(file) = open(path, direct) else { continue };
                rows.push(row(&file, kind, direct, write_bytes, row_time).map_err(failed)?);
            }
        }
    }
    Ok(rows)
}

fn open(path: &Path, direct: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).write(true);
    if direct {
        options.custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
    }
    options.open(path)
}

fn row(
    file: &File,
    kind: &'static str,
    direct: bool,
    write_bytes: usize,
    row_time: Duration,
) -> std::io::Result<ProbeRow> {
    let storage = vec![0x5A_u8; (1 << 20) + DIRECT_ALIGNMENT];
    let start = storage.as_ptr().align_offset(DIRECT_ALIGNMENT);
    let buffer = &storage[start..start + (1 << 20)];
    if kind == "overwrite" {
        for offset in (0..FILE_BYTES).step_by(buffer.len()) {
            file.write_all_at(buffer, offset)?;
        }
        file.sync_data()?;
    }
    let (mut commits, mut syncs) = (Latencies::new(), Latencies::new());
    let (mut offset, mut count) = (0, 0_u64);
    let begun = Instant::now();
    while begun.elapsed() < row_time {
        if offset + write_bytes as u64 > FILE_BYTES {
            offset = 0;
            if kind == "append" {
                file.set_len(0)?;
            }
        }
        let before = Instant::now();
        file.write_all_at(&buffer[..write_bytes], offset)?;
        let written = Instant::now();
        file.sync_data()?;
        syncs.record(written.elapsed());
        commits.record(before.elapsed());
        offset += write_bytes as u64;
        count += 1;
    }
    let commits_per_second = (count as f64 / begun.elapsed().as_secs_f64()).round();
    let (commit_us, fdatasync_us) = (commits.percentiles(), syncs.percentiles());
    Ok(ProbeRow { kind, direct, write_bytes, commits_per_second, commit_us, fdatasync_us })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_measured_and_the_file_is_removed() {
        let dir = std::env::temp_dir().join(format!("sealq-probe-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let rows = probe(&dir, 0.01).unwrap();
        assert!(rows.len() >= 8, "{}", rows.len());
        assert!(rows.iter().all(|row| row.commit_us.p50 >= row.fdatasync_us.p50));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }
}
