//! A disk in memory that fails on purpose.
//!
//! Writes and name changes are volatile until synced. A crash keeps any of the unsynced writes, torn at sectors, and
//! the first few of the unsynced name changes; what it keeps is drawn from a seed. Everything runs on the calling
//! thread, so a run with the same seed is the same run.

use super::{Disk, DiskFile};
use crate::aligned_buffer::AlignedBuffer;
use crate::mapping::Mapping;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a torn write is torn into.
const SECTOR_BYTES: usize = 512;

/// A fault-injecting disk. Clones share the disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<FileState>,
    /// What a listing shows now.
    names: BTreeMap<String, usize>,
    /// What a crash leaves for certain.
    durable_names: BTreeMap<String, usize>,
    /// Name changes since the directory was synced, in order.
    name_changes: Vec<BTreeMap<String, usize>>,
    /// Operations that change something, so far.
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    fail_at: Option<u64>,
    /// What cannot be read, by file.
    refused: Vec<(usize, Range<usize>)>,
    capacity_bytes: Option<u64>,
    random: u64,
}

#[derive(Default, Clone)]
struct FileState {
    content: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self(Arc::new(Mutex::new(State { random, ..State::default() })))
    }

    /// Operations so far that change the disk: writes, syncs, creates, renames, removes.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// The power goes at the `operation`-th operation: it and everything after it fails.
    pub fn crash_at(&self, operation: u64) {
        self.state().crash_at = Some(operation);
    }

    /// The `operation`-th operation fails with an I/O error; later ones succeed.
    pub fn fail_at(&self, operation: u64) {
        self.state().fail_at = Some(operation);
    }

    /// Room for files; `None` is no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// Whether the power has gone.
    pub fn has_crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk as it is found after the power comes back. The old handles stay dead.
    pub fn after_crash(&self) -> Self {
        let mut state = self.state();
        state.crashed = true;
        let mut next =
            State { random: state.random, capacity_bytes: state.capacity_bytes, ..State::default() };
        let changes = state.name_changes.len() as u64;
        let kept = (next.draw() % (changes + 1)) as usize;
        let names = match kept {
            0 => state.durable_names.clone(),
            kept => state.name_changes[kept - 1].clone(),
        };
        for file in &state.files {
            let mut content = file.durable.clone();
            for (offset, bytes) in &file.unsynced {
                for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    // Writes are whole sectors or small; each lands or not, whatever the others do.
                    if next.draw() & 1 == 1 {
                        put(&mut content, offset + index * SECTOR_BYTES, sector);
                    }
                }
            }
            next.files.push(FileState { durable: content.clone(), content, unsynced: Vec::new() });
        }
        next.durable_names = names.clone();
        next.names = names;
        Self(Arc::new(Mutex::new(next)))
    }

    /// A copy that shares nothing.
    pub fn fork(&self) -> Self {
        let state = self.state();
        Self(Arc::new(Mutex::new(State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            name_changes: state.name_changes.clone(),
            random: state.random,
            refused: state.refused.clone(),
            capacity_bytes: state.capacity_bytes,
            ..State::default()
        })))
    }

    /// Flips bits of a byte, behind everybody's back.
    pub fn flip(&self, name: &str, offset: usize, mask: u8) {
        let mut state = self.state();
        if let Some(index) = state.names.get(name).copied() {
            let file = &mut state.files[index];
            for content in [&mut file.content, &mut file.durable] {
                if let Some(byte) = content.get_mut(offset) {
                    *byte ^= mask;
                }
            }
        }
    }

    /// Reads of any byte of `range` fail with an I/O error until [`Self::heal`]; of a file mapped before, they do not.
    pub fn refuse(&self, name: &str, range: Range<usize>) {
        let mut state = self.state();
        if let Some(index) = state.names.get(name).copied() {
            state.refused.push((index, range));
        }
    }

    /// Everything can be read again.
    pub fn heal(&self) {
        self.state().refused.clear();
    }

    /// The bytes of a file as they would be read now.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.names.get(name).map(|index| state.files[*index].content.clone())
    }

    /// Cuts a file short, durably.
    pub fn truncate(&self, name: &str, len: usize) {
        let mut state = self.state();
        if let Some(index) = state.names.get(name).copied() {
            let file = &mut state.files[index];
            file.content.truncate(len);
            file.durable.truncate(len);
            file.unsynced.clear();
        }
    }

    /// Two files take each other's names, durably.
    pub fn swap(&self, one: &str, other: &str) {
        let mut state = self.state();
        let State { names, durable_names, .. } = &mut *state;
        for names in [names, durable_names] {
            if let (Some(a), Some(b)) = (names.get(one).copied(), names.get(other).copied()) {
                names.insert(one.to_owned(), b);
                names.insert(other.to_owned(), a);
            }
        }
    }

    /// Removes a file, durably.
    pub fn erase(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl State {
    /// xorshift64*.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts an operation and lets it fail if it is to. `true` in the error: it may still have had part of its
    /// effect.
    fn begin(&mut self) -> io::Result<()> {
        self.check_alive()?;
        self.operations += 1;
        if self.fail_at == Some(self.operations) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        Ok(())
    }

    fn refuses(&self, index: usize, range: &Range<usize>) -> bool {
        self.refused.iter().any(|(of, bad)| *of == index && bad.start < range.end && range.start < bad.end)
    }

    fn crashes_now(&mut self) -> bool {
        if self.crash_at.is_some_and(|at| self.operations >= at) {
            self.crashed = true;
        }
        self.crashed
    }

    fn used_bytes(&self) -> u64 {
        self.names.values().map(|index| self.files[*index].content.len() as u64).sum()
    }

    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>)) {
        change(&mut self.names);
        self.name_changes.push(self.names.clone());
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state();
        state.check_alive()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        state.check_alive()?;
        let index = state.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile { disk: self.clone(), index }))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.begin()?;
        let replaced = state.names.get(name).map_or(0, |index| state.files[*index].content.len() as u64);
        if state.capacity_bytes.is_some_and(|capacity| state.used_bytes() - replaced + bytes > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let index = state.files.len();
        let content = vec![0; bytes as usize];
        state.files.push(FileState { durable: content.clone(), content, unsynced: Vec::new() });
        state.change_names(|names| {
            names.insert(name.to_owned(), index);
        });
        if state.crashes_now() {
            return Err(io::Error::other("the power went off"));
        }
        Ok(Arc::new(SimFile { disk: self.clone(), index }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        let index = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        state.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), index);
        });
        if state.crashes_now() { Err(io::Error::other("the power went off")) } else { Ok(()) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_names(|names| {
            names.remove(name);
        });
        if state.crashes_now() { Err(io::Error::other("the power went off")) } else { Ok(()) }
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.begin()?;
        if state.crashes_now() {
            return Err(io::Error::other("the power went off"));
        }
        state.durable_names = state.names.clone();
        state.name_changes.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        state.check_alive()?;
        Ok(state.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used_bytes())))
    }

    fn is_deterministic(&self) -> bool {
        true
    }
}

struct SimFile {
    disk: SimDisk,
    index: usize,
}

impl DiskFile for SimFile {
    fn len_bytes(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_alive()?;
        Ok(state.files[self.index].content.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.state();
        state.check_alive()?;
        let content = &state.files[self.index].content;
        let at = offset as usize;
        if state.refuses(self.index, &(at..at + buffer.len())) {
            return Err(rustix::io::Errno::IO.into());
        }
        let found = content.get(at..at + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin()?;
        let file = &mut state.files[self.index];
        put(&mut file.content, offset as usize, bytes);
        file.unsynced.push((offset as usize, bytes.to_vec()));
        if state.crashes_now() { Err(io::Error::other("the power went off")) } else { Ok(()) }
    }

    fn write_blocks(&self, blocks: &AlignedBuffer, offset: u64) -> io::Result<()> {
        self.write_at(blocks.as_slice(), offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin()?;
        if state.crashes_now() {
            return Err(io::Error::other("the power went off"));
        }
        let file = &mut state.files[self.index];
        for (offset, bytes) in std::mem::take(&mut file.unsynced) {
            put(&mut file.durable, offset, &bytes);
        }
        Ok(())
    }

    fn map(&self) -> io::Result<Mapping> {
        let state = self.disk.state();
        state.check_alive()?;
        let content = state.files[self.index].content.clone();
        if state.refused.is_empty() {
            return Ok(Mapping::of_bytes(content));
        }
        let (disk, index) = (self.disk.clone(), self.index);
        Ok(Mapping::refusing(content, Box::new(move |range| disk.state().refuses(index, &range))))
    }

    fn ring_fd(&self) -> Option<RawFd> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsynced_writes_may_be_lost_or_torn_and_synced_ones_stay() {
        let (mut lost, mut torn, mut whole) = (0, 0, 0);
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let file = disk.create("a", 4096).unwrap();
            file.write_at(&[1; 1024], 0).unwrap();
            file.sync().unwrap();
            disk.sync_directory().unwrap();
            file.write_at(&[2; 1024], 1024).unwrap();
            let after = disk.after_crash().content("a").unwrap();
            assert!(after[..1024].iter().all(|b| *b == 1));
            match after[1024..2048].iter().filter(|b| **b == 2).count() {
                0 => lost += 1,
                1024 => whole += 1,
                count => {
                    assert_eq!(count % SECTOR_BYTES, 0);
                    torn += 1;
                }
            }
        }
        assert!(lost > 0 && torn > 0 && whole > 0);
    }

    #[test]
    fn a_file_whose_directory_was_not_synced_may_be_gone() {
        let gone = (0..100)
            .filter(|seed| {
                let disk = SimDisk::new(*seed);
                disk.create("a", 10).unwrap();
                disk.after_crash().content("a").is_none()
            })
            .count();
        assert!(gone > 0 && gone < 100);
    }

    #[test]
    fn the_nth_operation_fails_and_a_crash_ends_all() {
        let disk = SimDisk::new(1);
        disk.fail_at(2);
        let file = disk.create("a", 0).unwrap();
        assert!(file.write_at(&[1], 0).is_err());
        assert!(file.write_at(&[1], 0).is_ok());
        disk.crash_at(4);
        assert!(file.sync().is_err());
        assert!(disk.list().is_err());
    }

    #[test]
    fn a_full_disk_refuses_to_allocate() {
        let disk = SimDisk::new(1);
        disk.set_capacity(Some(100));
        disk.create("a", 60).unwrap();
        assert_eq!(disk.create("b", 60).err().unwrap().kind(), io::ErrorKind::StorageFull);
        assert_eq!(disk.free_bytes().unwrap(), 40);
    }
}
