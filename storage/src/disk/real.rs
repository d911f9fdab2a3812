//! A directory of the operating system, locked against a second daemon.
//!
//! Writes of whole blocks go around the page cache where the filesystem allows it; everything else goes through it.

use super::{Disk, DiskFile};
use crate::aligned_buffer::AlignedBuffer;
use crate::durable_directory;
use crate::frame::BLOCK_BYTES;
use crate::mapping::Mapping;
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK_FILE: &str = "lock";
const PROBE_FILE: &str = "probe.tmp";
/// A new segment is filled with zeros in writes of this size.
const FILL_BYTES: usize = 1 << 20;

/// The real disk.
pub struct RealDisk {
    path: PathBuf,
    direct: bool,
    writable: bool,
    /// Holds the lock while the disk lives.
    _lock: Option<OwnedFd>,
}

impl RealDisk {
    /// Opens `path`, making it if need be, and locks it.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the lock; otherwise the operating system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        durable_directory::make(path)?;
        let mode = Mode::from_raw_mode(0o600);
        let lock =
            rustix::fs::open(path.join(LOCK_FILE), OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        let mut disk = Self { path: path.to_owned(), direct: false, writable: true, _lock: Some(lock) };
        disk.direct = disk.probe_direct();
        disk.sync_directory()?;
        Ok(disk)
    }

    /// Opens `path` for reading only and without the lock, beside a running daemon if there is one.
    ///
    /// # Errors
    /// The operating system's.
    pub fn read_only(path: &Path) -> io::Result<Self> {
        std::fs::read_dir(path)?;
        Ok(Self { path: path.to_owned(), direct: false, writable: false, _lock: None })
    }

    /// Whether one direct write of a block succeeds here: some filesystems accept the flag and refuse the write.
    fn probe_direct(&self) -> bool {
        let path = self.path.join(PROBE_FILE);
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::DIRECT;
        let works = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600)).is_ok_and(|fd| {
            let block = AlignedBuffer::from_slice(&[0; BLOCK_BYTES]);
            File::from(fd).write_all_at(block.as_slice(), 0).is_ok()
        });
        let _ = std::fs::remove_file(path);
        works
    }

    fn open_with(&self, name: &str, extra: OFlags) -> io::Result<RealFile> {
        let path = self.path.join(name);
        let access = if self.writable { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::CLOEXEC;
        let buffered = rustix::fs::open(&path, flags | extra, Mode::from_raw_mode(0o600))?;
        let direct = if self.direct {
            Some(File::from(rustix::fs::open(&path, flags | OFlags::DIRECT, Mode::empty())?))
        } else {
            None
        };
        Ok(RealFile { buffered: File::from(buffered), direct })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_with(name, OFlags::empty())?))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.open_with(name, OFlags::CREATE | OFlags::TRUNC)?;
        match file.fill(bytes) {
            Ok(()) => Ok(Arc::new(file)),
            Err(error) => {
                let _ = self.remove(name);
                Err(error)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn shrink(&self, name: &str, bytes: u64) -> io::Result<u64> {
        let file = File::options().write(true).open(self.path.join(name))?;
        let left_bytes = file.metadata()?.len().saturating_sub(bytes);
        file.set_len(left_bytes)?;
        file.sync_all()?;
        Ok(left_bytes)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

struct RealFile {
    buffered: File,
    direct: Option<File>,
}

impl RealFile {
    /// Allocates `bytes` and writes them once. Allocation alone would leave every later sync a journal commit to
    /// wait for (125 us against 35 us here); this runs ahead of need, on a thread that nobody waits for.
    fn fill(&self, bytes: u64) -> io::Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(self.buffered.as_fd(), FallocateFlags::empty(), 0, bytes) {
            Err(error) if error != rustix::io::Errno::OPNOTSUPP => return Err(error.into()),
            _ => {}
        }
        let mut zeros = AlignedBuffer::default();
        zeros.grow_to(FILL_BYTES.min(bytes as usize));
        let mut offset = 0;
        while offset < bytes {
            let len = zeros.len().min((bytes - offset) as usize);
            let file = self.direct.as_ref().filter(|_| len % BLOCK_BYTES == 0).unwrap_or(&self.buffered);
            file.write_all_at(&zeros.as_slice()[..len], offset)?;
            offset += len as u64;
        }
        self.buffered.sync_all()
    }
}

impl DiskFile for RealFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.buffered.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.buffered.write_all_at(bytes, offset)
    }

    fn write_blocks(&self, blocks: &AlignedBuffer, offset: u64) -> io::Result<()> {
        self.direct.as_ref().unwrap_or(&self.buffered).write_all_at(blocks.as_slice(), offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.buffered.sync_data()
    }

    fn map(&self) -> io::Result<Mapping> {
        Mapping::of_file(&self.buffered)
    }

    fn will_need(&self, offset: u64, len: u64) {
        // What goes wrong is left to the read.
        let len = std::num::NonZeroU64::new(len);
        let _ = rustix::fs::fadvise(&self.buffered, offset, len, rustix::fs::Advice::WillNeed);
    }

    fn ring_fd(&self) -> Option<RawFd> {
        Some(self.direct.as_ref().unwrap_or(&self.buffered).as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = RealDisk::open(dir.path()).unwrap();
        assert_eq!(RealDisk::open(dir.path()).err().unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        assert!(RealDisk::open(dir.path()).is_ok());
    }

    #[test]
    fn a_file_is_given_back_part_by_part_from_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let file = disk.create("a", 10_000).unwrap();
        assert_eq!(disk.shrink("a", 6_000).unwrap(), 4_000);
        assert_eq!(file.len_bytes().unwrap(), 4_000);
        assert_eq!(disk.shrink("a", 6_000).unwrap(), 0);
        assert_eq!(file.len_bytes().unwrap(), 0);
        assert_eq!(disk.shrink("b", 1).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn blocks_written_are_read_and_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(dir.path()).unwrap();
        let file = disk.create("a", 16384).unwrap();
        file.write_blocks(&AlignedBuffer::from_slice(&[9; BLOCK_BYTES]), 4096).unwrap();
        file.sync().unwrap();
        let mut read = [0; 8];
        file.read_at(&mut read, 4096).unwrap();
        assert_eq!(read, [9; 8]);
        assert_eq!(&file.map().unwrap().bytes()[4090..4098], &[0, 0, 0, 0, 0, 0, 9, 9]);
        assert_eq!(disk.open("b").err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
