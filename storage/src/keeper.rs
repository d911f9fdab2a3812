//! Work that the shard thread must not wait for: preparing, sealing, reading and retiring segment files, writing
//! checkpoints.
//!
//! One thread a log, jobs in order. On a deterministic disk every job runs at once on the calling thread. Knows file
//! names and nothing of what the bytes mean.

use crate::checkpoint::{self, Checkpoint, TEMPORARY_NAME};
use crate::disk::{Disk, DiskFile};
use crate::footer::EncodedFooter;
use crate::frame::BLOCK_BYTES;
use crate::mapping::Mapping;
use crate::segment::{retired_name, segment_name};
use crate::waker::LogWaker;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Jobs that may wait; far more than the log ever has outstanding.
const JOBS_MAX: usize = 1024;
/// A file is removed in parts of this size: where the filesystem tells the disk what is free, every write waits for that.
const REMOVAL_STEP_BYTES: u64 = 1 << 20;
/// Between two parts.
const REMOVAL_PAUSE: Duration = Duration::from_millis(2);

pub(crate) enum Job {
    /// Makes the file of segment `id`, from a retired one if there is any.
    Prepare { id: u64, recycle: Option<u64>, segment_bytes: u64 },
    /// Writes footer and trailer behind the frames, which are durable already.
    Seal { id: u64, file: Arc<dyn DiskFile>, footer: EncodedFooter, footer_offset: u64, segment_bytes: u64 },
    /// Brings `len` bytes of a sealed segment into memory.
    Load { id: u64, mapping: Arc<Mapping>, offset: usize, len: usize },
    /// Takes a segment out of the log; the file is kept for use again or removed.
    Retire { id: u64, keep: bool },
    /// Removes a retired file.
    Discard { id: u64 },
    /// Encodes and writes checkpoint `number`, and removes older ones than are kept.
    Checkpoint { number: u64, state: Box<Checkpoint> },
}

pub(crate) enum Outcome {
    Prepared { id: u64, recycled: Option<u64>, result: io::Result<Arc<dyn DiskFile>> },
    Sealed { id: u64, result: io::Result<Mapping> },
    Loaded { id: u64, offset: usize, result: io::Result<()> },
    Retired { id: u64, kept: bool, result: io::Result<()> },
    Discarded { id: u64, result: io::Result<()> },
    CheckpointWritten { number: u64, result: io::Result<()> },
}

pub(crate) struct Keeper {
    mode: Mode,
}

enum Mode {
    Inline {
        disk: Arc<dyn Disk>,
        outcomes: VecDeque<Outcome>,
    },
    Thread {
        jobs: Option<SyncSender<Job>>,
        outcomes: Receiver<Outcome>,
        thread: Option<std::thread::JoinHandle<()>>,
    },
}

impl Keeper {
    pub(crate) fn start(disk: Arc<dyn Disk>, shard: u32, waker: LogWaker) -> io::Result<Self> {
        if disk.is_deterministic() {
            return Ok(Self { mode: Mode::Inline { disk, outcomes: VecDeque::new() } });
        }
        let (jobs, todo) = sync_channel::<Job>(JOBS_MAX);
        let (done, outcomes) = sync_channel(JOBS_MAX);
        let thread = std::thread::Builder::new().name(format!("sealq-keeper-{shard}")).spawn(move || {
            let mut removals = VecDeque::new();
            while let Some(job) = next_job(&todo, &removals) {
                let outcome = match job {
                    Next::Job(Job::Discard { id }) => {
                        removals.push_back(id);
                        continue;
                    }
                    Next::Job(job) => run(&*disk, job),
                    Next::Removal(id) => {
                        if disk
                            .shrink(&retired_name(id), REMOVAL_STEP_BYTES)
                            .is_ok_and(|left_bytes| left_bytes > 0)
                        {
                            continue;
                        }
                        removals.pop_front();
                        run(&*disk, Job::Discard { id })
                    }
                };
                if done.send(outcome).is_err() {
                    return;
                }
                waker.wake();
            }
        })?;
        Ok(Self { mode: Mode::Thread { jobs: Some(jobs), outcomes, thread: Some(thread) } })
    }

    pub(crate) fn submit(&mut self, job: Job) {
        match &mut self.mode {
            Mode::Inline { disk, outcomes } => outcomes.push_back(run(&**disk, job)),
            // The thread ends only with the log, so the send cannot fail before.
            Mode::Thread { jobs, .. } => drop(jobs.as_ref().map(|jobs| jobs.send(job))),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Outcome> {
        match &mut self.mode {
            Mode::Inline { outcomes, .. } => outcomes.pop_front(),
            Mode::Thread { outcomes, .. } => outcomes.try_recv().ok(),
        }
    }

    /// Blocks for the next outcome; `None` when nothing can come any more.
    pub(crate) fn next(&mut self) -> Option<Outcome> {
        match &mut self.mode {
            Mode::Inline { outcomes, .. } => outcomes.pop_front(),
            Mode::Thread { outcomes, .. } => outcomes.recv().ok(),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Mode::Thread { jobs, thread, .. } = &mut self.mode {
            *jobs = None;
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// What the thread does next.
enum Next {
    Job(Job),
    /// A part of the first of the removals.
    Removal(u64),
}

/// Jobs come first; a part of a removal is due when none came for a while, or when none can come any more.
fn next_job(todo: &Receiver<Job>, removals: &VecDeque<u64>) -> Option<Next> {
    let Some(first) = removals.front().copied() else { return todo.recv().ok().map(Next::Job) };
    Some(todo.recv_timeout(REMOVAL_PAUSE).map_or(Next::Removal(first), Next::Job))
}

fn run(disk: &dyn Disk, job: Job) -> Outcome {
    match job {
        Job::Prepare { id, recycle, segment_bytes } => {
            let (recycled, result) = prepare(disk, id, recycle, segment_bytes);
            Outcome::Prepared { id, recycled, result }
        }
        Job::Seal { id, file, footer, footer_offset, segment_bytes } => {
            Outcome::Sealed { id, result: seal(&*file, &footer, footer_offset, segment_bytes) }
        }
        Job::Load { id, mapping, offset, len } => {
            Outcome::Loaded { id, offset, result: mapping.populate(offset, len) }
        }
        Job::Retire { id, keep } => {
            let name = segment_name(id);
            let moved = if keep { disk.rename(&name, &retired_name(id)) } else { disk.remove(&name) };
            Outcome::Retired { id, kept: keep, result: moved.and_then(|()| disk.sync_directory()) }
        }
        Job::Discard { id } => {
            let result = disk.remove(&retired_name(id)).and_then(|()| disk.sync_directory());
            Outcome::Discarded { id, result }
        }
        Job::Checkpoint { number, state } => {
            let result = write_checkpoint(disk, number, &state);
            if result.is_err() {
                // On a full disk what was written of it takes the room that the next one needs.
                let _ = disk.remove(TEMPORARY_NAME);
            }
            Outcome::CheckpointWritten { number, result }
        }
    }
}

/// Makes the file of segment `id`; also used by recovery. Which retired file it used up, and the file.
pub(crate) fn prepare(
    disk: &dyn Disk,
    id: u64,
    recycle: Option<u64>,
    segment_bytes: u64,
) -> (Option<u64>, io::Result<Arc<dyn DiskFile>>) {
    let name = segment_name(id);
    if let Some(old) = recycle {
        let reused = disk.open(&retired_name(old)).and_then(|file| {
            if file.len_bytes()? != segment_bytes {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            disk.rename(&retired_name(old), &name)?;
            disk.sync_directory()?;
            disk.open(&name)
        });
        if reused.is_ok() {
            return (recycle, reused);
        }
        // Of another size, or gone: not worth keeping.
        let _ = disk.remove(&retired_name(old));
    }
    let made = disk.create(&name, segment_bytes).and_then(|file| disk.sync_directory().map(|()| file));
    (None, made)
}

fn seal(
    file: &dyn DiskFile,
    footer: &EncodedFooter,
    footer_offset: u64,
    segment_bytes: u64,
) -> io::Result<Mapping> {
    file.write_at(&footer.content, footer_offset)?;
    // The trailer vouches for frames and footer, so it follows once they are durable.
    file.sync()?;
    file.write_at(&footer.trailer, segment_bytes - BLOCK_BYTES as u64)?;
    file.sync()?;
    file.map()
}

fn write_checkpoint(disk: &dyn Disk, number: u64, state: &Checkpoint) -> io::Result<()> {
    let bytes = state.encode().ok_or(io::ErrorKind::FileTooLarge)?;
    let file = disk.create(TEMPORARY_NAME, 0)?;
    file.write_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(TEMPORARY_NAME, &checkpoint::name(number))?;
    disk.sync_directory()?;
    for name in disk.list()? {
        if checkpoint::parse_name(&name).is_some_and(|old| old + checkpoint::KEPT <= number) {
            disk.remove(&name)?;
        }
    }
    disk.sync_directory()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_file_is_removed_in_parts_between_other_jobs_and_at_the_end_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
        for id in [1, 2] {
            disk.create(&retired_name(id), 3 * REMOVAL_STEP_BYTES).unwrap();
        }
        let mut keeper = Keeper::start(disk.clone(), 0, LogWaker::new().unwrap()).unwrap();
        keeper.submit(Job::Discard { id: 1 });
        keeper.submit(Job::Prepare { id: 3, recycle: None, segment_bytes: 4096 });
        assert!(
            matches!(keeper.next(), Some(Outcome::Prepared { id: 3, .. })),
            "a removal waits for other jobs"
        );
        assert!(matches!(keeper.next(), Some(Outcome::Discarded { id: 1, result: Ok(()) })));
        keeper.submit(Job::Discard { id: 2 });
        drop(keeper);
        assert!(disk.list().unwrap().iter().all(|name| *name != retired_name(1) && *name != retired_name(2)));
    }
}
