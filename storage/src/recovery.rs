//! Getting the log back from what is on the disk.
//!
//! The newest checkpoint that can be used, then every frame header after it; without one, every frame header there
//! is. Changes nothing on disk but the names of files that are not part of the log.

pub(crate) mod misplaced;
mod replay;
pub(crate) mod store;

use crate::checkpoint::{self, CheckpointFound};
use crate::disk::{Disk, DiskFile};
use crate::error::OpenError;
use crate::footer::{Footer, FooterFound, SegmentIndex};
use crate::frame::{BLOCK_BYTES, FrameSeed};
use crate::log::{CatalogPlace, Checkpoints, LogOptions};
use crate::mapping::Mapping;
use crate::segment::{
    FORMAT_VERSION, FRAMES_START, Found, FrameWalk, HeaderFound, Segment, SegmentHeader, SegmentState,
    Unreadable, parse_retired_name, parse_segment_name, segment_name,
};
use crate::stream_index::Stream;
use replay::Replay;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Added to the name of a segment file in which nothing can be read.
const UNREADABLE_SUFFIX: &str = ".unreadable";
/// Blocks that the disk may refuse to read and the log opens all the same. More is a failing disk, not a bad sector: what
/// is on it is better copied than given up.
const UNREADABLE_BLOCKS_MAX: u64 = 64;
/// Ranges of lost messages that are named; more are only counted.
pub const LOST_RANGES_MAX: usize = 1024;

/// Messages of one stream that no file holds any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRange {
    /// The stream.
    pub stream: u32,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// How many of the sequences between were lost: the others were deleted before, or are there.
    pub count: u64,
}

/// The end of a segment, which holds the trailer and mostly the footer's directory before it.
const END_BYTES: u64 = 64 << 10;

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// There was no log before.
    pub created: bool,
    /// Segments in the log.
    pub segments: u64,
    /// The checkpoint that was used, if any.
    pub checkpoint_lsn: Option<u64>,
    /// Checkpoints that could not be read, with the reason.
    pub unreadable_checkpoints: Vec<String>,
    /// Frames read after the checkpoint.
    pub replayed_frames: u64,
    /// Live messages.
    pub live_messages: u64,
    /// Records that were acknowledged and are damaged: found in this recovery.
    pub quarantined_records: u64,
    /// Records of the very last group that are torn or damaged: most likely a write that a crash cut short.
    pub torn_records: u64,
    /// Segment files that must have been there and are not.
    pub missing_segments: Vec<u64>,
    /// Which messages are lost with missing or damaged files, at most [`LOST_RANGES_MAX`]; they are among the
    /// quarantined ones.
    pub lost: Vec<LostRange>,
    /// Segment files that were found under each other's names and got their own back.
    pub misplaced_segments: Vec<u64>,
    /// Segment headers of which one copy, or both, are damaged.
    pub damaged_headers: u64,
    /// Blocks of 4 KiB with headers or entries of frames that the disk did not read: as if they were damaged.
    pub unreadable_blocks: u64,
    /// Which engine the log writes with.
    pub io_engine: &'static str,
    /// How long it took.
    pub elapsed: Duration,
}

/// Everything the log starts from.
pub(crate) struct Recovered {
    pub(crate) store_id: [u8; 16],
    pub(crate) segments: BTreeMap<u64, Segment>,
    pub(crate) retired: Vec<u64>,
    /// Prepared files that hold nothing yet, lowest number first.
    pub(crate) spares: Vec<(u64, Arc<dyn DiskFile>)>,
    pub(crate) next_lsn: u64,
    pub(crate) next_segment: u64,
    pub(crate) streams: HashMap<u32, Stream>,
    pub(crate) catalog: BTreeMap<Arc<[u8]>, Arc<[u8]>>,
    pub(crate) catalog_places: BTreeMap<Arc<[u8]>, CatalogPlace>,
    pub(crate) catalog_deleted: BTreeMap<Arc<[u8]>, u64>,
    pub(crate) sequence_floor: u64,
    pub(crate) quarantined: u64,
    /// Messages of the last group whose header stands and whose payload does not.
    pub(crate) torn: Vec<(u32, u64)>,
    pub(crate) checkpoints: Checkpoints,
}

struct FoundSegment {
    id: u64,
    header: HeaderFound,
    blank: bool,
    /// The disk read the header, whatever is in it.
    is_read: bool,
}

pub(crate) fn recover(
    disk: &dyn Disk,
    options: &LogOptions,
) -> Result<(Recovered, RecoveryReport), OpenError> {
    let started = Instant::now();
    let mut report = RecoveryReport::default();
    misplaced::finish(disk).map_err(io_error("renaming a misplaced segment"))?;
    let names = disk.list().map_err(io_error("listing the log"))?;
    let mut found = open_segments(disk, &names)?;
    let checkpoints = checkpoint::find(disk).map_err(io_error("reading checkpoints"))?;
    refuse_newer(&found, &checkpoints)?;
    let newest_checkpoint = checkpoints.first().map_or(0, |(number, _)| *number);
    let usable = usable_checkpoints(checkpoints, &mut report);

    let noted = store::read(disk).map_err(io_error("reading the store file"))?;
    let store_id = store_id(noted, &found, &usable)?;
    report.created = store_id.is_none();
    let store_id = match store_id {
        Some(id) => id,
        None => new_store_id()?,
    };
    if noted.is_none() {
        store::write(disk, store_id).map_err(io_error("writing the store file"))?;
    }
    let newest_segment =
        usable.first().filter(|(number, _)| *number == newest_checkpoint).map(|(_, c)| c.segment);
    let misplaced = misplaced::find(&headers(disk, &found, store_id)?, newest_segment);
    report.misplaced_segments = misplaced.iter().map(|segment| segment.id).collect();
    if !misplaced.is_empty() {
        misplaced::put_back(disk, &misplaced).map_err(io_error("renaming a misplaced segment"))?;
        found = open_segments(disk, &disk.list().map_err(io_error("listing the log"))?)?;
    }
    let retired: Vec<u64> = names.iter().filter_map(|name| parse_retired_name(name)).collect();
    let mut next_segment =
        found.iter().map(|s| s.id).chain(retired.iter().copied()).max().map_or(1, |id| id + 1);
    let (segments, spares) = sort_out(disk, found, store_id, options, &mut report)?;
    report.segments = segments.len() as u64;

    let last = segments.last_key_value().map(|(id, _)| *id);
    let mut checkpoint = None;
    for (number, candidate) in usable {
        next_segment = next_segment.max(candidate.next_segment);
        let complete =
            last.is_none_or(|last| (candidate.segment..=last).all(|id| segments.contains_key(&id)));
        // No segment from the newest checkpoint's on is ever retired: one that is not there is lost, and the checkpoint
        // knows what was in it.
        if checkpoint.is_none() && (complete || number == newest_checkpoint) {
            checkpoint = Some(candidate);
        } else if checkpoint.is_none() {
            // Segments after it have been retired since: what it says of the messages in them is out of date.
            report.unreadable_checkpoints.push(format!("checkpoint at LSN {} is too old", candidate.lsn));
        }
    }
    report.checkpoint_lsn = checkpoint.as_ref().map(|c| c.lsn);
    let durable = checkpoint.as_ref().map_or((0, 0), |c| (c.lsn, c.segment));

    let mut replay = Replay::starting_from(checkpoint.map(|c| *c), segments);
    replay.run(&mut report)?;
    replay.register_runs(&mut report)?;
    replay.settle_tail().map_err(io_error("making the last group durable"))?;
    let mut recovered = replay.finish(store_id, &mut report);
    recovered.retired = retired;
    recovered.spares = spares;
    recovered.next_segment = next_segment;
    recovered.checkpoints = Checkpoints { number: newest_checkpoint, durable, ..Checkpoints::default() };
    report.live_messages = recovered.streams.values().map(|s| s.liveness.live()).sum();
    report.elapsed = started.elapsed();
    if report.quarantined_records + report.torn_records + report.damaged_headers + report.unreadable_blocks
        > 0
        || !report.unreadable_checkpoints.is_empty()
        || !report.misplaced_segments.is_empty()
    {
        tracing::warn!(?report, "the log was recovered with losses or damage");
    }
    Ok((recovered, report))
}

impl RecoveryReport {
    fn note_unreadable(&mut self, segment: u64, unreadable: Unreadable) -> Result<(), OpenError> {
        let Unreadable { blocks, first } = unreadable;
        if blocks == 0 {
            return Ok(());
        }
        let file = segment_name(segment);
        tracing::error!(file, offset = first, blocks, "the disk does not read all of a segment");
        self.unreadable_blocks += blocks;
        if self.unreadable_blocks > UNREADABLE_BLOCKS_MAX {
            return Err(OpenError::Unreadable { file, offset: first, blocks: self.unreadable_blocks });
        }
        Ok(())
    }

    fn note_lost(&mut self, stream: u32, first: u64, last: u64, count: u64) {
        if self.lost.len() < LOST_RANGES_MAX {
            self.lost.push(LostRange { stream, first, last, count });
        }
    }
}

/// Number in the name, and the number in the header where that says what the file is.
fn headers(
    disk: &dyn Disk,
    found: &[FoundSegment],
    store_id: [u8; 16],
) -> Result<Vec<(u64, Option<u64>)>, OpenError> {
    let mut headers = Vec::new();
    for FoundSegment { id, header, .. } in found {
        let number = match header {
            HeaderFound::Valid { header, .. } if header.segment == *id => Some(*id),
            HeaderFound::Valid { header, .. } => {
                let file = disk.open(&segment_name(*id)).map_err(io_error("opening a segment"))?;
                let mapping = file.map().map_err(io_error("mapping a segment"))?;
                // The first group of a recycled file may be there without its header.
                let is_used = has_frames(&mapping, FrameSeed::new(store_id, *id));
                Some(header.segment).filter(|_| !is_used)
            }
            _ => None,
        };
        headers.push((*id, number));
    }
    Ok(headers)
}

/// Whether a segment holds frames although its header is not its own: as far as its first group can reach.
pub(crate) fn has_frames(file: &Mapping, seed: FrameSeed) -> bool {
    is_any_frame(&mut FrameWalk::new(file, seed, FRAMES_START, 0, None))
}

fn is_any_frame(frames: &mut FrameWalk<'_>) -> bool {
    frames.any(|found| matches!(found, Found::Frame { .. }))
}

/// Whether it is the disk that does not give the bytes: a bad sector, most likely.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { what: what.to_owned(), source }
}

fn open_segments(disk: &dyn Disk, names: &[String]) -> Result<Vec<FoundSegment>, OpenError> {
    let mut found = Vec::new();
    read_ahead(disk, names);
    for name in names {
        let Some(id) = parse_segment_name(name) else { continue };
        let failed = |source| OpenError::Io { what: format!("opening {name}"), source };
        let file = disk.open(name).map_err(failed)?;
        let mut block = [0; BLOCK_BYTES];
        let has_header = file.len_bytes().map_err(failed)? >= BLOCK_BYTES as u64;
        let is_read = match file.read_at(&mut block, 0) {
            Err(error) if has_header && is_refused(&error) => {
                tracing::error!(file = name, offset = 0, "the disk does not read a segment's header");
                false
            }
            Err(error) if has_header => return Err(failed(error)),
            _ => true,
        };
        let blank = is_read && block.iter().all(|byte| *byte == 0);
        found.push(FoundSegment { id, header: SegmentHeader::decode(&block), blank, is_read });
    }
    found.sort_by_key(|segment| segment.id);
    Ok(found)
}

/// Has headers and ends of all segments read at the same time: there may be thousands, and one after the other they
/// would make the start wait for the disk each time.
fn read_ahead(disk: &dyn Disk, names: &[String]) {
    for name in names.iter().filter(|name| parse_segment_name(name).is_some()) {
        // What cannot be opened is told when it is needed.
        let Ok(file) = disk.open(name) else { continue };
        let Ok(len) = file.len_bytes() else { continue };
        file.will_need(0, BLOCK_BYTES as u64);
        file.will_need(len.saturating_sub(END_BYTES), END_BYTES);
    }
}

fn refuse_newer(found: &[FoundSegment], checkpoints: &[(u64, CheckpointFound)]) -> Result<(), OpenError> {
    let newer = |file: String, version| OpenError::NewerFormat { file, version, supported: FORMAT_VERSION };
    for segment in found {
        if let HeaderFound::NewerFormat(version) = segment.header {
            return Err(newer(segment_name(segment.id), version));
        }
    }
    for (number, checkpoint) in checkpoints {
        if let CheckpointFound::NewerFormat(version) = checkpoint {
            return Err(newer(checkpoint::name(*number), *version));
        }
    }
    Ok(())
}

fn usable_checkpoints(
    found: Vec<(u64, CheckpointFound)>,
    report: &mut RecoveryReport,
) -> Vec<(u64, Box<checkpoint::Checkpoint>)> {
    let mut usable = Vec::new();
    for (number, checkpoint) in found {
        match checkpoint {
            CheckpointFound::Present(checkpoint) => usable.push((number, checkpoint)),
            CheckpointFound::Unreadable(reason) => {
                report.unreadable_checkpoints.push(format!("{}: {reason}", checkpoint::name(number)));
            }
            CheckpointFound::NewerFormat(_) => {}
        }
    }
    usable
}

/// The one store that everything belongs to; `None` when there is nothing yet.
fn store_id(
    noted: Option<[u8; 16]>,
    found: &[FoundSegment],
    checkpoints: &[(u64, Box<checkpoint::Checkpoint>)],
) -> Result<Option<[u8; 16]>, OpenError> {
    let mut expected = noted;
    for (number, checkpoint) in checkpoints {
        let expected = *expected.get_or_insert(checkpoint.store_id);
        if expected != checkpoint.store_id {
            return Err(OpenError::Foreign {
                file: checkpoint::name(*number),
                found: hex(&checkpoint.store_id),
                expected: hex(&expected),
            });
        }
    }
    for segment in found {
        if let HeaderFound::Valid { header, .. } = segment.header {
            let expected = *expected.get_or_insert(header.store_id);
            if expected != header.store_id {
                return Err(OpenError::Foreign {
                    file: segment_name(segment.id),
                    found: hex(&header.store_id),
                    expected: hex(&expected),
                });
            }
        }
    }
    match (expected, found.iter().find(|segment| !segment.blank)) {
        (None, Some(segment)) => Err(OpenError::Unidentified { file: segment_name(segment.id) }),
        (expected, _) => Ok(expected),
    }
}

fn hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn new_store_id() -> Result<[u8; 16], OpenError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| OpenError::Io {
        what: "making a store id".to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(id)
}

/// Segments with their index where a footer gives it, and files that were prepared and never used.
#[expect(clippy::type_complexity, reason = "two lists, taken apart at once")]
fn sort_out(
    disk: &dyn Disk,
    found: Vec<FoundSegment>,
    store_id: [u8; 16],
    options: &LogOptions,
    report: &mut RecoveryReport,
) -> Result<(BTreeMap<u64, Segment>, Vec<(u64, Arc<dyn DiskFile>)>), OpenError> {
    let mut segments = BTreeMap::new();
    let mut unused = Vec::new();
    for FoundSegment { id, header, blank, is_read } in found {
        let file = disk.open(&segment_name(id)).map_err(io_error("opening a segment"))?;
        let mapping = file.map().map_err(io_error("mapping a segment"))?;
        let own_header = match header {
            HeaderFound::Valid { header, damaged_copies } if header.segment == id => {
                report.damaged_headers += u64::from(damaged_copies);
                Some(header)
            }
            _ => None,
        };
        if own_header.is_none() {
            let mut frames = FrameWalk::new(&mapping, FrameSeed::new(store_id, id), FRAMES_START, 0, None);
            if !is_any_frame(&mut frames) {
                let Unreadable { blocks, first } = frames.unreadable();
                if !is_read && blocks > 0 {
                    return Err(OpenError::Unreadable { file: segment_name(id), offset: first, blocks });
                }
                unused.push((id, file, blank || !is_read || header != HeaderFound::Unreadable));
                continue;
            }
            report.damaged_headers += 2;
        }
        let base_lsn = own_header.map_or(0, |header| header.base_lsn);
        let mut segment = segment_of(id, file, store_id, base_lsn, mapping);
        // A header that was never written whole belongs to the first group after an open, or to a damaged segment.
        segment.after_open = own_header.is_none_or(|header| header.after_open);
        segments.insert(id, segment);
    }
    let last = segments.last_key_value().map_or(0, |(id, _)| *id);
    let mut spares = Vec::new();
    for (id, file, is_prepared) in unused {
        let right_size =
            file.len_bytes().map_err(io_error("reading a file's length"))? == options.segment_bytes;
        if id > last && right_size {
            if !is_prepared {
                tracing::warn!(
                    segment = id,
                    "nothing in the newest segment file is readable, most likely a first write that a crash cut short; \
                     it is used again"
                );
            }
            spares.push((id, file));
        } else if is_prepared {
            drop(file);
            disk.remove(&segment_name(id)).map_err(io_error("removing an unused segment"))?;
        } else {
            // It holds something that nobody can read. Out of the way, and kept for whoever can.
            tracing::error!(segment = id, "nothing in this segment file is readable; it is set aside");
            drop(file);
            let aside = format!("{}{UNREADABLE_SUFFIX}", segment_name(id));
            disk.rename(&segment_name(id), &aside)
                .map_err(io_error("setting an unreadable segment aside"))?;
        }
    }
    Ok((segments, spares))
}

/// A segment as found, with its footer if it has a good one.
fn segment_of(
    id: u64,
    file: Arc<dyn DiskFile>,
    store_id: [u8; 16],
    base_lsn: u64,
    mapping: Mapping,
) -> Segment {
    let mut segment = Segment::new(id, file, mapping.bytes().len() as u64, store_id, base_lsn);
    segment.state = SegmentState::Sealing;
    if let FooterFound::Valid(footer) = Footer::find(&mapping, segment.seed) {
        segment.frames_end = footer.frames_end;
        segment.last_lsn = footer.last_lsn;
        segment.torn_from = footer.torn_from;
        segment.message_bytes = footer.message_bytes;
        segment.message_count = footer.entry_count.into();
        segment.index = SegmentIndex::Footer(footer);
        segment.state = SegmentState::Sealed;
        segment.file = None;
    }
    segment.mapping = Some(Arc::new(mapping));
    segment
}

/// Walks all frames from `offset` on; used by recovery and by offline reading.
pub(crate) fn walk<'a>(segment: &Segment, file: &'a Mapping, offset: u64, last_lsn: u64) -> FrameWalk<'a> {
    let known_end = matches!(segment.index, SegmentIndex::Footer(_)).then_some(segment.frames_end);
    let last_known_lsn = known_end.map_or(0, |_| segment.last_lsn);
    FrameWalk::new(file, segment.seed, offset, last_lsn, known_end).ending_with(last_known_lsn)
}

/// Where the last group of a segment starts, so that its payloads can be told from those that were surely synced.
pub(crate) fn last_group_start(segment: &Segment, file: &Mapping, from: u64, last_lsn: u64) -> u64 {
    let mut frames = walk(segment, file, from, last_lsn);
    frames.by_ref().for_each(drop);
    frames.group_start()
}
