//! A read-only view of a whole file that no longer changes.
//!
//! Holds one of the crate's two kinds of unsafe code: the memory map. Only sealed segments and, during recovery,
//! segments that nobody writes are mapped.
#![expect(
    unsafe_code,
    reason = "a memory map is sound only while nobody writes the file, which no type can show"
)]

use std::fs::File;
use std::io;

/// The bytes of a file.
pub struct Mapping(Source);

enum Source {
    Mapped(memmap2::Mmap),
    /// A simulated disk hands out a copy.
    Owned(Vec<u8>),
}

impl Mapping {
    /// Maps `file`, which must stay as it is while the mapping lives: the log recycles a segment only when no mapping
    /// of it is left.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn of_file(file: &File) -> io::Result<Self> {
        // SAFETY: only sealed segments are mapped. The log never writes one again before it is retired, retires none
        // while a mapping of it is alive, and holds an exclusive lock on the directory against every other daemon.
        let map = unsafe { memmap2::Mmap::map(file) };
        let map = match map {
            // Filesystems in user space may refuse a shared map; of a file that nobody writes a private one is the same.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                // SAFETY: as above.
                unsafe { memmap2::MmapOptions::new().map_copy_read_only(file) }
            }
            map => map,
        }?;
        Ok(Self(Source::Mapped(map)))
    }

    /// A mapping of bytes that are already in memory.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(Source::Owned(bytes))
    }

    /// Whether no touch of it can wait for a disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.0, Source::Owned(_))
    }

    /// Brings `len` bytes from `offset` on into memory, and waits for the disk. What a disk does not read would end the
    /// process once it is touched (SIGBUS); here it is an error. Systems that do not know the call (Linux before 5.14)
    /// leave it to the touch.
    ///
    /// # Errors
    /// The disk did not read all of it.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        let Source::Mapped(map) = &self.0 else { return Ok(()) };
        let len = len.min(map.len().saturating_sub(offset));
        if len == 0 {
            return Ok(());
        }
        match map.advise_range(memmap2::Advice::PopulateRead, offset, len) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            outcome => outcome,
        }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Mapped(map) => map,
            Source::Owned(bytes) => bytes,
        }
    }
}
