//! What can go wrong: one enum an operation.

use crate::record::Damaged;
use std::io;
use std::path::PathBuf;

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The log's directory.
        path: PathBuf,
    },
    /// A file belongs to another store: directories were mixed up.
    #[error("{file} belongs to store {found}, the log to store {expected}")]
    Foreign {
        /// The file.
        file: String,
        /// Store id in the file, hex.
        found: String,
        /// Store id of the log, hex.
        expected: String,
    },
    /// A newer version wrote it.
    #[error("{file} has format version {version}; this program reads up to {supported}")]
    NewerFormat {
        /// The file.
        file: String,
        /// Version found.
        version: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// There are segments, but no header and no checkpoint says to which store they belong.
    #[error("{file} has no readable header and there is no checkpoint: not touching it")]
    Unidentified {
        /// The file.
        file: String,
    },
    /// The disk refuses to read so much that it is failing, not a sector of it.
    #[error(
        "the disk does not read {blocks} blocks of 4 KiB, the first of {file} at {offset}: copy what can be read to \
         another disk and start there; nothing was changed"
    )]
    Unreadable {
        /// The file.
        file: String,
        /// The first block, bytes from the start of the file.
        offset: u64,
        /// How many, in all files looked at.
        blocks: u64,
    },
    /// Not even deletes could be taken.
    #[error(
        "the disk is full: {free_bytes} bytes are free, and the smallest segment file, for deletes, takes \
         {needed_bytes}: free some space and start again; nothing was lost"
    )]
    NoSpace {
        /// Free now.
        free_bytes: u64,
        /// At least needed.
        needed_bytes: u64,
    },
    /// A setting that cannot work.
    #[error("segment size {bytes} is not a multiple of 4096 between {min} and {max}")]
    SegmentSize {
        /// The setting.
        bytes: u64,
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// The io_uring engine was asked for and cannot be had.
    #[error("io_uring is not available: {0}")]
    NoRing(io::Error),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// An earlier write or sync failed: what is on disk is not known, nothing is acknowledged any more.
    #[error("the log is read-only since a write failed: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// No room, or less than the free space to keep. Deletes, leases and catalog changes may still go.
    #[error("the disk is full")]
    DiskFull,
    /// The stream was closed.
    #[error("the stream is closed")]
    Closed,
    /// It could not be read back.
    #[error("{bytes} bytes, at most {max_bytes} fit")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Deleted, purged, quarantined or never there.
    #[error("no message {sequence} in stream {stream}")]
    Absent {
        /// The stream.
        stream: u32,
        /// The sequence.
        sequence: u64,
    },
    /// Alive, but its place cannot be found: the segment is damaged.
    #[error("message {sequence} of stream {stream} is lost: its segment is damaged")]
    Lost {
        /// The stream.
        stream: u32,
        /// The sequence.
        sequence: u64,
    },
    /// Its bytes are not those that were written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// The operating system refused.
    #[error("reading segment {segment} at {offset}: {source}")]
    Io {
        /// The segment.
        segment: u64,
        /// Offset of the frame.
        offset: u64,
        /// The operating system's error.
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the same read may succeed later: the operating system refused it, and not because the file is cut short.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() != io::ErrorKind::UnexpectedEof)
    }
}

/// What the log itself ran into.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed, now or earlier. It is not tried again.
    #[error("the log is read-only since a write failed: {reason}")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// A checkpoint could not be written. The log goes on without.
    #[error("writing a checkpoint: {0}")]
    Checkpoint(io::Error),
    /// Waiting failed.
    #[error("waiting: {0}")]
    Wait(io::Error),
}
