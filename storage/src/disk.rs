//! The seam between the log and what it is written on.
//!
//! A [`Disk`] is a flat directory of files. The real one is [`RealDisk`]; simulations put a faulty one in its place.
//! Knows no segment and no frame.

mod real;
#[cfg(any(test, feature = "sim"))]
mod sim;

pub use real::RealDisk;
#[cfg(any(test, feature = "sim"))]
pub use sim::SimDisk;

use crate::aligned_buffer::AlignedBuffer;
use crate::mapping::Mapping;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

/// A flat directory of files.
pub trait Disk: Send + Sync {
    /// Names of all files.
    ///
    /// # Errors
    /// The operating system's, as everywhere in this trait.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a file of `bytes` bytes whose blocks are really allocated; an existing one of that name is replaced.
    /// Leaves no file behind when it fails.
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file, replacing the target.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The operating system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Cuts up to `bytes` bytes off the end of a file and gives them back; the bytes that are left. A disk that need not go
    /// step by step cuts none and says 0.
    ///
    /// # Errors
    /// The operating system's.
    fn shrink(&self, _name: &str, _bytes: u64) -> io::Result<u64> {
        Ok(0)
    }

    /// Makes creates, renames and removes durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_directory(&self) -> io::Result<()>;

    /// Bytes that can still be allocated.
    ///
    /// # Errors
    /// The operating system's.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Whether every operation must run on the calling thread, in order, so that a run can be repeated exactly.
    fn is_deterministic(&self) -> bool {
        false
    }
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// The file's length.
    ///
    /// # Errors
    /// The operating system's.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, through the page cache.
    ///
    /// # Errors
    /// The operating system's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes whole blocks at a block's offset, directly where the filesystem can.
    ///
    /// # Errors
    /// The operating system's.
    fn write_blocks(&self, blocks: &AlignedBuffer, offset: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The operating system's. After one, what is on the disk is not known.
    fn sync(&self) -> io::Result<()>;

    /// A read-only view of the whole file; nobody may write it any more.
    ///
    /// # Errors
    /// The operating system's.
    fn map(&self) -> io::Result<Mapping>;

    /// Asks for `len` bytes from `offset` to be in memory soon. Only a hint.
    fn will_need(&self, _offset: u64, _len: u64) {}

    /// The descriptor that `write_blocks` uses, for submitting writes through a ring; `None` where there is none.
    fn ring_fd(&self) -> Option<RawFd>;
}
