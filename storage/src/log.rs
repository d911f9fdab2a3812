//! The log: one thread's view of everything stored.
//!
//! Owns streams, segments, the open group and the engines that write. Changes take effect in memory when they are
//! staged and on disk when [`Log::durable_lsn`] reaches them; callers decide what to show before that. Knows no
//! queue rule, no key and no clock.

mod append;
mod checkpoints;
mod maintenance;
mod reading;

pub(crate) use checkpoints::Checkpoints;

use crate::aligned_buffer::AlignedBuffer;
use crate::checkpoint::{CatalogState, Checkpoint, StreamState, TEMPORARY_NAME};
use crate::commit::{Committed, Committer, GroupWrite, InlineCommitter, ThreadCommitter};
use crate::compaction::Compaction;
use crate::compaction::pace::Pace;
use crate::disk::{Disk, DiskFile, RealDisk};
use crate::error::{AppendError, LogError, OpenError};
use crate::group::Group;
use crate::keeper::{self, Job, Keeper};
use crate::meters::Meters;
use crate::record::Lsn;
use crate::recovery::{self, Recovered, RecoveryReport};
use crate::ring::RingCommitter;
use crate::segment::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Segment, SegmentState};
use crate::stream_index::Stream;
use crate::tail_cache::TailCache;
use crate::waker::LogWaker;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Directory of the log below the data directory.
pub const LOG_DIRECTORY: &str = "log";

/// How soon compaction that waits for its turn looks again.
const COMPACTION_PAUSE: Duration = Duration::from_millis(2);

/// Which engine writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring where the kernel lets us, threads elsewhere.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// pwrite and fdatasync on a thread.
    Threads,
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The data directory; the log lives in `log` below it.
    pub dir: PathBuf,
    /// Size of a segment file, a multiple of 4096.
    pub segment_bytes: u64,
    /// Which engine writes.
    pub io: IoChoice,
    /// Below this, messages are refused.
    pub free_space_min_bytes: u64,
    /// Memory for recent groups.
    pub tail_cache_bytes: usize,
    /// Label of the metrics.
    pub shard: u32,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("."),
            segment_bytes: 64 << 20,
            io: IoChoice::Auto,
            free_space_min_bytes: 1 << 30,
            tail_cache_bytes: 16 << 20,
            shard: 0,
        }
    }
}

/// What the log holds, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Segment files in the log.
    pub segments: u64,
    /// Bytes of live messages in them, frames included, by the mean of each segment.
    pub live_bytes: u64,
    /// Bytes that the segment files take, retired ones included.
    pub disk_bytes: u64,
    /// Live messages in all streams.
    pub live_messages: u64,
    /// Records found damaged since the store was made.
    pub quarantined: u64,
    /// Whether messages are refused for want of space.
    pub disk_full: bool,
}

/// A catalog entry and the segment whose loss would lose it.
pub(crate) struct CatalogPlace {
    pub(crate) segment: u64,
}

/// What is known of a group beside its bytes.
struct GroupFacts {
    segment: u64,
    last_lsn: u64,
    records: u64,
    bytes: usize,
    opened: Instant,
}

struct ClosedGroup {
    write: GroupWrite,
    facts: GroupFacts,
}

/// The next segment's file.
pub(crate) enum Spare {
    None,
    Preparing,
    Ready(u64, Arc<dyn DiskFile>),
    /// The last attempt failed, most likely for want of space.
    Failed,
}

/// One shard's log. Owned by one thread at a time: with io_uring, the first call to [`Log::submit`] or [`Log::wait`]
/// binds it to the calling thread.
pub struct Log {
    pub(crate) options: LogOptions,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) store_id: [u8; 16],
    pub(crate) meters: Meters,
    waker: LogWaker,
    committer: Box<dyn Committer>,
    pub(crate) keeper: Keeper,
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) active: u64,
    pub(crate) spare: Spare,
    pub(crate) next_segment: u64,
    /// Numbers of retired files that can be used again.
    pub(crate) retired: Vec<u64>,
    /// The group being filled.
    pub(crate) open: Group,
    closed: VecDeque<ClosedGroup>,
    /// The group being written; when that failed, for good: it can still be read from here.
    in_flight: Option<ClosedGroup>,
    closed_bytes: usize,
    pub(crate) next_lsn: u64,
    durable: u64,
    pub(crate) streams: HashMap<u32, Stream>,
    /// Streams with entries in the active segment.
    pub(crate) active_streams: Vec<u32>,
    pub(crate) active_entries: usize,
    /// Next sequences that Purge frames in the active segment prove.
    pub(crate) active_marks: BTreeMap<u32, u64>,
    pub(crate) sequence_floor: u64,
    pub(crate) catalog: BTreeMap<Arc<[u8]>, Arc<[u8]>>,
    pub(crate) catalog_places: BTreeMap<Arc<[u8]>, CatalogPlace>,
    pub(crate) catalog_deleted: BTreeMap<Arc<[u8]>, u64>,
    tail: TailCache,
    poisoned: Option<String>,
    pub(crate) low_space: bool,
    /// The last segment file could not be made; stays until one can.
    pub(crate) exhausted: bool,
    space_checked: Instant,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) compaction: Option<Compaction>,
    pub(crate) pace: Pace,
    /// Bytes of the open group that compaction put there.
    pub(crate) copied_in_group: usize,
    /// When the log last went on to a new segment.
    pub(crate) rolled: Instant,
    /// Emptied segments that wait for durability, a checkpoint or the last reader.
    pub(crate) draining: Vec<u64>,
    /// Something changed that may give maintenance work.
    pub(crate) maintenance_due: bool,
    pub(crate) keeping: crate::compaction::Keeping,
    /// Segments retired so far: what was not worth compacting may be, after others are gone.
    pub(crate) retired_count: u64,
    pub(crate) quarantined: u64,
}

impl Log {
    /// Opens the log below `options.dir`, making it if there is none, and locks it.
    ///
    /// # Errors
    /// See [`OpenError`]. A refused log is not changed.
    pub fn open(options: LogOptions) -> Result<(Self, RecoveryReport), OpenError> {
        let path = options.dir.join(LOG_DIRECTORY);
        let disk = RealDisk::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => OpenError::Locked { path: path.clone() },
            _ => OpenError::Io { what: format!("opening {}", path.display()), source },
        })?;
        Self::open_on(options, Arc::new(disk))
    }

    /// Opens the log on `disk`, which the caller has locked if it can be shared.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(options: LogOptions, disk: Arc<dyn Disk>) -> Result<(Self, RecoveryReport), OpenError> {
        let bytes = options.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) || !bytes.is_multiple_of(4096) {
            return Err(OpenError::SegmentSize { bytes, min: SEGMENT_BYTES_MIN, max: SEGMENT_BYTES_MAX });
        }
        let io = |what: &'static str| move |source| OpenError::Io { what: what.to_owned(), source };
        let waker = LogWaker::new().map_err(io("making an eventfd"))?;
        let committer: Box<dyn Committer> = if disk.is_deterministic() {
            Box::new(InlineCommitter::new(waker.clone()))
        } else {
            choose_committer(&options, &waker)?
        };
        let (mut recovered, mut report) = recovery::recover(&*disk, &options)?;
        report.io_engine = committer.name();
        let torn = std::mem::take(&mut recovered.torn);
        let keeper = Keeper::start(Arc::clone(&disk), options.shard, waker.clone())
            .map_err(io("starting a thread"))?;
        let mut log = Self::assemble(options, disk, waker, committer, keeper, recovered)?;
        log.meters.quarantined.increment(report.quarantined_records);
        log.meters.torn.increment(report.torn_records);
        log.check_space();
        log.prepare_spare();
        log.seal_full_segments();
        log.report_gauges();
        for (stream, sequence) in torn {
            log.bury_torn(stream, sequence);
        }
        if report.replayed_frames > 0 {
            log.request_checkpoint();
        }
        Ok((log, report))
    }

    fn assemble(
        options: LogOptions,
        disk: Arc<dyn Disk>,
        waker: LogWaker,
        committer: Box<dyn Committer>,
        keeper: Keeper,
        recovered: Recovered,
    ) -> Result<Self, OpenError> {
        let Recovered { store_id, mut segments, mut retired, spares, next_lsn, mut next_segment, .. } =
            recovered;
        let mut spares = spares.into_iter();
        let (active, file) = match spares.next() {
            Some(spare) => spare,
            None => {
                let id = next_segment;
                next_segment += 1;
                let (used, made) = make_first(&*disk, id, retired.last().copied(), options.segment_bytes);
                retired.retain(|old| Some(*old) != used);
                (id, made.map_err(|source| no_segment(&*disk, source))?)
            }
        };
        let size_bytes = file
            .len_bytes()
            .map_err(|source| OpenError::Io { what: "reading a file's length".to_owned(), source })?;
        let mut segment = Segment::new(active, file, size_bytes, store_id, next_lsn);
        segment.after_open = true;
        let open = append::first_group(&segment, AlignedBuffer::default(), store_id);
        segments.insert(active, segment);
        let spare = spares.next().map_or(Spare::None, |(id, file)| Spare::Ready(id, file));
        Ok(Self {
            meters: Meters::of(options.shard),
            tail: TailCache::new(options.tail_cache_bytes),
            options,
            disk,
            store_id,
            waker,
            committer,
            keeper,
            segments,
            active,
            spare,
            next_segment,
            retired,
            open,
            closed: VecDeque::new(),
            in_flight: None,
            closed_bytes: 0,
            next_lsn,
            durable: next_lsn - 1,
            streams: recovered.streams,
            active_streams: Vec::new(),
            active_entries: 0,
            active_marks: BTreeMap::new(),
            sequence_floor: recovered.sequence_floor,
            catalog: recovered.catalog,
            catalog_places: recovered.catalog_places,
            catalog_deleted: recovered.catalog_deleted,
            poisoned: None,
            low_space: false,
            exhausted: false,
            space_checked: Instant::now(),
            checkpoints: recovered.checkpoints,
            compaction: None,
            pace: Pace::new(),
            copied_in_group: 0,
            rolled: Instant::now(),
            draining: Vec::new(),
            maintenance_due: true,
            keeping: crate::compaction::Keeping::Nothing,
            retired_count: 0,
            quarantined: recovered.quarantined,
        })
    }

    /// "io_uring" or "threads".
    pub fn io_engine(&self) -> &'static str {
        self.committer.name()
    }

    /// Lets other threads end a [`Log::wait`].
    pub fn waker(&self) -> LogWaker {
        self.waker.clone()
    }

    /// Everything up to here survives a crash.
    pub fn durable_lsn(&self) -> Lsn {
        Lsn(self.durable)
    }

    /// Bytes staged that will become durable; none once the log is poisoned.
    pub fn staged_bytes(&self) -> usize {
        if self.poisoned.is_some() {
            return 0;
        }
        let open = if self.open.has_frames() { self.open.buffer.len() } else { 0 };
        open + self.closed_bytes + self.in_flight.as_ref().map_or(0, |group| group.facts.bytes)
    }

    /// Why nothing can be written any more, if so.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    /// Starts writing what is staged if nothing is under way. Never blocks.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub fn submit(&mut self) -> Result<(), LogError> {
        self.check_poisoned()?;
        self.start_next_group();
        self.check_poisoned()
    }

    /// Submits what is staged if nothing is under way, then blocks until a group is durable, a wake, or the time is
    /// over; returns at once if work completed meanwhile. Background work is done on the way, a bounded piece a call.
    /// There is no timer behind a group: it is written as soon as the one before it is durable.
    ///
    /// # Errors
    /// [`LogError::Poisoned`]: at once when the failure is found; later calls block first, so that a read-only
    /// broker can go on serving.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<(), LogError> {
        if self.poisoned.is_some() {
            self.committer.wait(timeout).map_err(LogError::Wait)?;
            self.keep_house();
            return self.check_poisoned();
        }
        if self.turn()? {
            return Ok(());
        }
        // A step of compaction that only looked staged nothing that could end the wait; one that has to wait for its
        // turn comes back soon.
        let timeout = if self.in_flight.is_some() || (self.compaction.is_none() && !self.maintenance_due) {
            timeout
        } else if self.may_compact() {
            Some(Duration::ZERO)
        } else {
            Some(timeout.unwrap_or(COMPACTION_PAUSE).min(COMPACTION_PAUSE))
        };
        self.committer.wait(timeout).map_err(LogError::Wait)?;
        self.turn().map(drop)
    }

    /// Makes everything staged so far durable.
    ///
    /// # Errors
    /// [`LogError::Poisoned`].
    pub fn flush(&mut self) -> Result<(), LogError> {
        let target = self.next_lsn - 1;
        while self.durable < target
            && (self.open.has_frames() || self.in_flight.is_some() || !self.closed.is_empty())
        {
            if !self.turn()? {
                self.committer.wait(None).map_err(LogError::Wait)?;
            }
        }
        Ok(())
    }

    /// Flushes, then writes a checkpoint and waits for it.
    ///
    /// # Errors
    /// [`LogError::Poisoned`], [`LogError::Checkpoint`].
    pub fn checkpoint(&mut self) -> Result<(), LogError> {
        self.flush()?;
        self.settle_checkpoints()?;
        self.checkpoints.pause = None;
        self.request_checkpoint();
        self.settle_checkpoints()?;
        match self.checkpoints.last_error.take() {
            Some(error) => Err(LogError::Checkpoint(error)),
            None => Ok(()),
        }
    }

    /// Flushes, writes a checkpoint and the active segment's footer, so that the next start has nothing to read.
    ///
    /// # Errors
    /// As [`Log::checkpoint`].
    pub fn close(mut self) -> Result<(), LogError> {
        self.checkpoint()?;
        self.seal_active();
        while let Some(active) = self.segments.get(&self.active)
            && active.is_being_sealed
            && active.state == SegmentState::Sealing
            && self.poisoned.is_none()
        {
            match self.keeper.next() {
                Some(outcome) => self.note_outcome(outcome),
                None => break,
            }
        }
        self.check_poisoned()
    }

    /// The log in numbers. Walks streams and segments: for scrapes, not for every request.
    pub fn stats(&self) -> LogStats {
        LogStats {
            segments: self.segments.len() as u64,
            live_bytes: self.segments.values().map(Segment::live_bytes).sum(),
            disk_bytes: self.disk_bytes(),
            live_messages: self.streams.values().map(|s| s.liveness.live()).sum(),
            quarantined: self.quarantined,
            disk_full: self.refuses_messages(),
        }
    }

    /// Bytes that the segment files take, spare and retired ones included.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let spare_files = self.retired.len() + usize::from(matches!(self.spare, Spare::Ready(..)));
        let in_use: u64 = self.segments.values().map(|segment| segment.size_bytes).sum();
        in_use + spare_files as u64 * self.options.segment_bytes
    }

    /// One round of everything that does not block. Whether something completed.
    fn turn(&mut self) -> Result<bool, LogError> {
        let before = self.durable;
        self.start_next_group();
        self.reap();
        self.keep_house();
        self.start_next_group();
        self.check_poisoned()?;
        Ok(self.durable != before)
    }

    fn start_next_group(&mut self) {
        if self.in_flight.is_some() || self.poisoned.is_some() {
            return;
        }
        if self.closed.is_empty() && self.open.has_frames() {
            self.close_group();
        }
        if let Some(group) = self.closed.pop_front() {
            self.closed_bytes -= group.facts.bytes;
            if let Err(error) = self.committer.start(group.write.clone()) {
                self.poison(&error);
            }
            self.in_flight = Some(group);
        }
    }

    fn reap(&mut self) {
        let Some(outcome) = self.committer.poll() else { return };
        let fsync = match outcome {
            Ok(Committed { fsync }) => fsync,
            Err(error) => return self.poison(&error),
        };
        let Some(ClosedGroup { facts, .. }) = self.in_flight.take() else { return };
        self.durable = facts.last_lsn;
        self.meters.commit_duration.record(facts.opened.elapsed().as_secs_f64());
        self.meters.fsync_duration.record(fsync.as_secs_f64());
        self.meters.commit_records.record(facts.records as f64);
        if facts.segment != self.active {
            self.seal_full_segments();
        }
    }

    /// An error leaves open what is on the disk. Writing again could make an older state durable after a newer one
    /// was refused, so nothing is ever written again.
    pub(crate) fn poison(&mut self, error: &io::Error) {
        if self.poisoned.is_none() {
            tracing::error!(%error, "a write to the log failed; it is read-only from now on");
            self.meters.poisoned.set(1.0);
            self.poisoned = Some(error.to_string());
        }
    }

    pub(crate) fn check_poisoned(&self) -> Result<(), LogError> {
        match &self.poisoned {
            Some(reason) => Err(LogError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn check_appendable(&self) -> Result<(), AppendError> {
        match &self.poisoned {
            Some(reason) => Err(AppendError::Poisoned { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    /// Takes a picture of the present state, which shares what is large; it is encoded and written on the keeper's
    /// thread once every frame in it is durable.
    pub(crate) fn request_checkpoint(&mut self) {
        // A disk without a clock of its own has no pauses either.
        let pauses = self.checkpoints.pauses(Instant::now()) && !self.disk.is_deterministic();
        if self.checkpoints.is_under_way() || pauses || self.poisoned.is_some() {
            return;
        }
        let begun = Instant::now();
        let lsn = self.next_lsn - 1;
        let state = Checkpoint {
            store_id: self.store_id,
            lsn,
            segment: self.active,
            offset: self.open.end(),
            next_segment: self.next_segment,
            sequence_floor: self.sequence_floor,
            quarantined: self.quarantined,
            streams: self.streams.iter().map(|(id, stream)| StreamState::of(*id, stream)).collect(),
            catalog: self.catalog_states(),
            catalog_deleted: self
                .catalog_deleted
                .iter()
                .map(|(key, segment)| (Arc::clone(key), *segment))
                .collect(),
        };
        tracing::debug!(
            lsn,
            micros = begun.elapsed().as_micros() as u64,
            "the state for a checkpoint was taken"
        );
        self.checkpoints.waiting = Some(Box::new(state));
        self.write_waiting_checkpoint();
    }

    /// Both maps are walked side by side: with ten thousand queues, looking each key up would take milliseconds.
    fn catalog_states(&self) -> Vec<CatalogState> {
        let mut places = self.catalog_places.iter().peekable();
        let state = |(key, value): (&Arc<[u8]>, &Arc<[u8]>)| {
            while places.next_if(|(before, _)| *before < key).is_some() {}
            let segment = places.next_if(|(same, _)| *same == key).map_or(0, |(_, place)| place.segment);
            CatalogState { key: Arc::clone(key), value: Arc::clone(value), segment }
        };
        self.catalog.iter().map(state).collect()
    }

    pub(crate) fn write_waiting_checkpoint(&mut self) {
        if self.checkpoints.writing.is_some() {
            return;
        }
        if let Some(state) = self.checkpoints.waiting.take_if(|state| state.lsn <= self.durable) {
            self.checkpoints.number += 1;
            self.checkpoints.writing = Some((state.lsn, state.segment));
            self.keeper.submit(Job::Checkpoint { number: self.checkpoints.number, state });
        }
    }

    fn settle_checkpoints(&mut self) -> Result<(), LogError> {
        while self.checkpoints.waiting.is_some() || self.checkpoints.writing.is_some() {
            self.check_poisoned()?;
            if self.checkpoints.writing.is_none() {
                self.flush()?;
                self.write_waiting_checkpoint();
            }
            match self.keeper.next() {
                Some(outcome) => self.note_outcome(outcome),
                None => break,
            }
        }
        Ok(())
    }

    pub(crate) fn report_gauges(&self) {
        let stats = self.stats();
        self.meters.segments.set(stats.segments as f64);
        self.meters.live_bytes.set(stats.live_bytes as f64);
        self.meters.disk_bytes.set(stats.disk_bytes as f64);
    }
}

/// On a full disk a smaller file will do: deletes must go on, and they are what makes room.
fn make_first(
    disk: &dyn Disk,
    id: u64,
    recycle: Option<u64>,
    segment_bytes: u64,
) -> (Option<u64>, io::Result<Arc<dyn DiskFile>>) {
    let (used, mut made) = keeper::prepare(disk, id, recycle, segment_bytes);
    if is_full(&made) {
        // Left by a process that was killed while it wrote a checkpoint.
        let _ = disk.remove(TEMPORARY_NAME);
        made = keeper::prepare(disk, id, None, segment_bytes).1;
    }
    let mut bytes = segment_bytes / 2 / 4096 * 4096;
    while is_full(&made) && bytes >= SEGMENT_BYTES_MIN {
        made = keeper::prepare(disk, id, None, bytes).1;
        bytes = bytes / 2 / 4096 * 4096;
    }
    (used, made)
}

fn is_full(made: &io::Result<Arc<dyn DiskFile>>) -> bool {
    made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

fn no_segment(disk: &dyn Disk, source: io::Error) -> OpenError {
    if source.kind() != io::ErrorKind::StorageFull {
        return OpenError::Io { what: "making the first segment".to_owned(), source };
    }
    OpenError::NoSpace { free_bytes: disk.free_bytes().unwrap_or(0), needed_bytes: SEGMENT_BYTES_MIN }
}

fn choose_committer(options: &LogOptions, waker: &LogWaker) -> Result<Box<dyn Committer>, OpenError> {
    if options.io != IoChoice::Threads {
        match RingCommitter::new(waker.clone()) {
            Ok(ring) => return Ok(Box::new(ring)),
            Err(error) if options.io == IoChoice::IoUring => return Err(OpenError::NoRing(error)),
            Err(error) => tracing::info!(%error, "io_uring is not available; a disk thread writes"),
        }
    }
    let threads = ThreadCommitter::spawn(options.shard, waker.clone());
    let what = "starting a thread".to_owned();
    Ok(Box::new(threads.map_err(|source| OpenError::Io { what, source })?))
}
