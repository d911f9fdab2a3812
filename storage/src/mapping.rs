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
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};

/// What one look at the disk covers: as much as the system maps at one page fault, so that it costs no more than that.
const CHUNK_BYTES: usize = 64 << 10;

/// The bytes of a file.
pub struct Mapping(Source, Chunks);

enum Source {
    Mapped(memmap2::Mmap),
    /// A simulated disk hands out a copy.
    Owned(Vec<u8>),
    /// A simulated disk that refuses to read some of it.
    #[cfg(any(test, feature = "sim"))]
    Refusing(Vec<u8>, Refuses),
}

/// Whether a range cannot be read now.
#[cfg(any(test, feature = "sim"))]
pub(crate) type Refuses = Box<dyn Fn(Range<usize>) -> bool + Send + Sync>;

/// What is known of each chunk of a mapped file: whether the disk has read it. Relaxed everywhere: a thread that does
/// not see what another found out looks for itself.
struct Chunks(Box<[AtomicU8]>);

const UNSEEN: u8 = 0;
const READ: u8 = 1;
/// Something in it could not be read: its records are looked at one by one, each time.
const REFUSED: u8 = 2;

impl Chunks {
    fn of(bytes: usize) -> Self {
        Self((0..bytes.div_ceil(CHUNK_BYTES)).map(|_| AtomicU8::new(UNSEEN)).collect())
    }
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
        let chunks = Chunks::of(map.len());
        Ok(Self(Source::Mapped(map), chunks))
    }

    /// A mapping of bytes that are already in memory.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(Source::Owned(bytes), Chunks::of(0))
    }

    /// A mapping of bytes of which a simulated disk refuses some.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn refusing(bytes: Vec<u8>, refuses: Refuses) -> Self {
        let chunks = Chunks::of(bytes.len());
        Self(Source::Refusing(bytes, refuses), chunks)
    }

    /// Bytes of a sealed file that may have to come from the disk. What the disk does not read is an error, where touching
    /// it would end the process. The disk is asked once for each chunk: that it reads later what it has read before, when
    /// the system has dropped it from memory meanwhile, is taken for granted.
    ///
    /// # Errors
    /// `UnexpectedEof` beyond the end of the file; otherwise the disk's.
    pub(crate) fn read(&self, range: Range<usize>) -> io::Result<&[u8]> {
        let bytes = self.bytes().get(range.clone()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let chunks = range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES);
        let mut is_read = true;
        for (at, chunk) in chunks.clone().zip(self.1.0.get(chunks).unwrap_or(&[])) {
            if chunk.load(Ordering::Relaxed) == UNSEEN {
                let outcome = self.populate(at * CHUNK_BYTES, CHUNK_BYTES);
                chunk.store(if outcome.is_ok() { READ } else { REFUSED }, Ordering::Relaxed);
            }
            is_read &= chunk.load(Ordering::Relaxed) == READ;
        }
        if !is_read {
            self.populate(range.start, range.len())?;
        }
        Ok(bytes)
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
        let len = len.min(self.bytes().len().saturating_sub(offset));
        let refused = || io::Error::from(rustix::io::Errno::IO);
        match &self.0 {
            Source::Mapped(map) if len > 0 => {
                match map.advise_range(memmap2::Advice::PopulateRead, offset, len) {
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                    // The system's word for a page that a touch would end the process at.
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::FAULT.raw_os_error()) => {
                        Err(refused())
                    }
                    outcome => outcome,
                }
            }
            #[cfg(any(test, feature = "sim"))]
            Source::Refusing(_, refuses) if refuses(offset..offset + len) => Err(refused()),
            _ => Ok(()),
        }
    }

    /// The whole file. See [`Self::read`] for what may not be in memory yet.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Mapped(map) => map,
            Source::Owned(bytes) => bytes,
            #[cfg(any(test, feature = "sim"))]
            Source::Refusing(bytes, _) => bytes,
        }
    }
}
