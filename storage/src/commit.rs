//! Writing one group and making it durable, without blocking the shard thread.
//!
//! One group at a time. Knows nothing of frames: a group is blocks for a place in a file.

mod inline;
mod thread;

pub(crate) use inline::InlineCommitter;
pub(crate) use thread::ThreadCommitter;

use crate::aligned_buffer::AlignedBuffer;
use crate::disk::DiskFile;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Blocks on their way to a file.
#[derive(Clone)]
pub(crate) struct GroupWrite {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) blocks: Arc<AlignedBuffer>,
    pub(crate) offset: u64,
}

/// A group that has reached the disk.
pub(crate) struct Committed {
    /// The sync alone where it can be told from the write, else both.
    pub(crate) fsync: Duration,
}

/// Writes groups, one at a time.
pub(crate) trait Committer: Send {
    /// Begins to write and sync. The one before must have completed.
    ///
    /// # Errors
    /// The group could not be handed over; what is on disk is not known.
    fn start(&mut self, write: GroupWrite) -> io::Result<()>;

    /// The outcome of the group under way, once, if it is known.
    fn poll(&mut self) -> Option<io::Result<Committed>>;

    /// Blocks until an outcome is known, a wake, or the time is over.
    ///
    /// # Errors
    /// Waiting itself failed.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// "io_uring" or "threads".
    fn name(&self) -> &'static str;
}
