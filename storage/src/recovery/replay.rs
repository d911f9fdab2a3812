//! Applying frames to memory, in the order in which they were written.

use super::{Recovered, RecoveryReport, is_any_frame, last_group_start, walk};
use crate::checkpoint::Checkpoint;
use crate::error::OpenError;
use crate::footer::{Entry, SegmentIndex, StreamEntries, Tombstone};
use crate::frame::{BLOCK_BYTES, FLAG_COPY, FLAG_QUARANTINED, Frame, Kind, PRELUDE_BYTES, decode_prelude};
use crate::log::{CatalogPlace, Checkpoints};
use crate::mapping::Mapping;
use crate::record::{LeaseState, is_leased};
use crate::segment::{FRAMES_START, Found, Segment, SegmentState, Unreadable, payload_is_intact};
use crate::stream_index::{Run, Stream, sort_entries};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use zerocopy::byteorder::little_endian::{U32, U64};

/// Missing segments that are named; more are only counted.
const MISSING_SEGMENTS_MAX: usize = 64;

/// The state being rebuilt.
pub(super) struct Replay {
    segments: BTreeMap<u64, Segment>,
    streams: HashMap<u32, Stream>,
    catalog: BTreeMap<Arc<[u8]>, Arc<[u8]>>,
    catalog_places: BTreeMap<Arc<[u8]>, CatalogPlace>,
    catalog_deleted: BTreeMap<Arc<[u8]>, u64>,
    /// Frames up to this LSN are in the state already.
    checkpoint_lsn: u64,
    checkpoint_segment: u64,
    checkpoint_offset: u64,
    sequence_floor: u64,
    quarantined: u64,
    last_lsn: u64,
    /// LSNs missing in the middle of frames: each may have given out a sequence.
    lost: u64,
    torn: Vec<(u32, u64)>,
    /// Segment and place of the last group ever written, unless its segment is sealed.
    tail: Option<(u64, Range<u64>)>,
    /// Frames are missing, not only damaged: sequences that nothing mentions are lost messages.
    is_missing: bool,
    /// Highest next sequence proven, by stream: which segment proves it.
    evidence: HashMap<u32, u64>,
}

/// What a walk over one segment collects for its index.
#[derive(Default)]
struct Collected {
    streams: BTreeMap<u32, StreamEntries>,
    tombstones: Vec<Tombstone>,
}

impl Replay {
    pub(super) fn starting_from(checkpoint: Option<Checkpoint>, segments: BTreeMap<u64, Segment>) -> Self {
        let c = checkpoint.unwrap_or_default();
        let streams: HashMap<u32, Stream> = c.streams.into_iter().map(|state| state.restore()).collect();
        let evidence = streams.iter().map(|(id, stream)| (*id, stream.liveness.next())).collect();
        let mut catalog = BTreeMap::new();
        let mut catalog_places = BTreeMap::new();
        for entry in c.catalog {
            catalog_places.insert(Arc::clone(&entry.key), CatalogPlace { segment: entry.segment });
            catalog.insert(entry.key, entry.value);
        }
        Self {
            segments,
            streams,
            catalog,
            catalog_places,
            catalog_deleted: c.catalog_deleted.into_iter().collect(),
            checkpoint_lsn: c.lsn,
            checkpoint_segment: c.segment,
            checkpoint_offset: c.offset,
            sequence_floor: c.sequence_floor.max(1),
            quarantined: c.quarantined,
            last_lsn: c.lsn,
            lost: 0,
            torn: Vec::new(),
            tail: None,
            is_missing: false,
            evidence,
        }
    }

    pub(super) fn run(&mut self, report: &mut RecoveryReport) -> Result<(), OpenError> {
        let ids: Vec<u64> = self.segments.keys().copied().collect();
        let newest = self.newest_written(&ids);
        let mut before = None;
        for (at, id) in ids.iter().copied().enumerate() {
            self.note_missing(before, id, report);
            let next = ids.get(at + 1).and_then(|next| self.segments.get(next));
            let ends_in_open = newest == Some(id) || next.is_some_and(|next| next.after_open);
            self.run_segment(id, newest == Some(id), ends_in_open, report)?;
            before = self.segments.get(&id).map(|segment| (id, segment.last_lsn));
        }
        Ok(())
    }

    /// LSNs have no holes, so what is missing in front of segment `id` can be counted: the end of the one `before`
    /// (its number and last LSN), or whole files. Without a checkpoint nobody can tell those from retired ones.
    fn note_missing(&mut self, before: Option<(u64, u64)>, id: u64, report: &mut RecoveryReport) {
        let Some(segment) = self.segments.get(&id) else { return };
        let (previous, last_lsn) = before.unwrap_or((self.checkpoint_segment.saturating_sub(1), 0));
        let follows = previous + 1 == id;
        let is_told = if follows {
            // The last group of a process may be torn.
            before.is_some() && !segment.after_open
        } else {
            self.checkpoint_lsn > 0 && id > self.checkpoint_segment
        };
        let lost = segment.base_lsn.saturating_sub(last_lsn.max(self.checkpoint_lsn) + 1);
        if !is_told || lost == 0 {
            return;
        }
        if follows {
            tracing::error!(segment = previous, lost, "the end of a segment is missing");
        } else {
            let first = (previous + 1).max(self.checkpoint_segment);
            tracing::error!(first, last = id - 1, lost, "segments are missing");
            report.missing_segments.extend((first..id).take(MISSING_SEGMENTS_MAX));
        }
        report.quarantined_records += lost;
        self.lost += lost;
        self.is_missing = true;
    }

    /// The segment with the newest frame.
    fn newest_written(&self, ids: &[u64]) -> Option<u64> {
        ids.iter().rev().copied().find(|id| {
            let segment = &self.segments[id];
            segment.mapping.as_ref().is_some_and(|m| is_any_frame(&mut walk(segment, m, FRAMES_START, 0)))
        })
    }

    /// `is_newest`: nothing was written after it. `may_be_torn`: a crash may have cut its last group short.
    fn run_segment(
        &mut self,
        id: u64,
        is_newest: bool,
        may_be_torn: bool,
        report: &mut RecoveryReport,
    ) -> Result<(), OpenError> {
        let Some(mut segment) = self.segments.remove(&id) else { return Ok(()) };
        let Some(mapping) = segment.mapping.clone() else { return Ok(()) };
        let indexed = matches!(segment.index, SegmentIndex::Footer(_));
        let from = if indexed {
            if id < self.checkpoint_segment {
                // Sealed and in the checkpoint: nothing to read.
                self.last_lsn = self.last_lsn.max(segment.last_lsn);
                self.segments.insert(id, segment);
                return Ok(());
            }
            if id == self.checkpoint_segment { self.checkpoint_offset } else { FRAMES_START }
        } else {
            FRAMES_START
        };
        let walk_lsn =
            if from == FRAMES_START { segment.base_lsn.saturating_sub(1) } else { self.checkpoint_lsn };
        let last_group = may_be_torn.then(|| last_group_start(&segment, &mapping, from, walk_lsn));
        let mut collected = Collected::default();
        let mut has_damage = false;
        let mut frames = walk(&segment, &mapping, from, walk_lsn);
        while let Some(found) = frames.next() {
            match found {
                Found::Damage { offset, lost, .. } => {
                    // What the checkpoint knows of is missed there, if it is alive.
                    let replayed = id > self.checkpoint_segment
                        || (id == self.checkpoint_segment && offset >= self.checkpoint_offset);
                    let in_last_group =
                        last_group.is_some_and(|group| frames.group_start() == group && offset >= group);
                    if replayed && (in_last_group || was_torn(&segment, offset)) {
                        report.torn_records += lost;
                        note_torn(&mut segment, offset);
                    } else if replayed {
                        report.quarantined_records += lost;
                        has_damage = true;
                    }
                    if replayed {
                        self.lost += lost;
                    }
                    tracing::error!(segment = id, offset, lost, "frames are damaged");
                }
                Found::Frame { offset, frame, payload } => {
                    if !indexed {
                        segment.frames_end = offset + frame.span_bytes() as u64;
                        segment.last_lsn = frame.lsn;
                    }
                    self.last_lsn = self.last_lsn.max(frame.lsn);
                    let in_last_group =
                        last_group.is_some_and(|group| offset >= group) || was_torn(&segment, offset);
                    let payload = read_payload(&mapping, &frame, payload, in_last_group);
                    if in_last_group && !payload_is_intact(&frame, payload) {
                        if frame.lsn <= self.checkpoint_lsn {
                            // It was durable: the reader will find it damaged and say so.
                        } else {
                            report.torn_records += 1;
                            self.lost += 1;
                            note_torn(&mut segment, offset);
                            // Of a torn copy the original is still there.
                            if is_newest && frame.kind == Kind::Message && frame.flags & FLAG_COPY == 0 {
                                self.torn.push((frame.stream, frame.sequence));
                                // Nor is its number given out again: the tombstone would end whoever has it.
                                self.stream(frame.stream).liveness.skip_to(frame.sequence + 1);
                                self.prove(frame.stream, frame.sequence + 1, id);
                                // Indexed, so that its tombstone is kept as long as the frame is.
                                let torn = Frame { flags: frame.flags | FLAG_QUARANTINED, ..frame };
                                collected.note(&mut segment, &torn, offset, &[]);
                            }
                            continue;
                        }
                    }
                    if !indexed {
                        collected.note(&mut segment, &frame, offset, payload);
                    }
                    if frame.lsn > self.checkpoint_lsn {
                        report.replayed_frames += 1;
                        self.apply(id, &frame, payload, report);
                    }
                }
            }
        }
        if has_damage && let Some(tombstones) = segment.tombstones() {
            // A footer tells of the deletions among what is damaged; without one those are undone.
            for tombstone in tombstones {
                self.kill(tombstone.stream.get(), tombstone.sequence.get());
            }
        }
        let (tail_start, unreadable) = (frames.group_start(), frames.unreadable());
        if frames.ended_torn() {
            tracing::warn!(segment = id, offset = frames.end(), "the last group was cut short");
        }
        if !indexed {
            if is_newest && segment.frames_end > tail_start {
                self.tail = Some((id, tail_start..segment.frames_end));
            }
            for stream in collected.streams.values_mut() {
                sort_entries(&mut stream.entries);
            }
            segment.tombstones = collected.tombstones;
            segment.index = SegmentIndex::Memory(collected.streams);
            segment.mapping = Some(Arc::clone(&mapping));
        }
        self.segments.insert(id, segment);
        report.note_unreadable(id, unreadable)
    }

    fn apply(&mut self, id: u64, frame: &Frame, payload: &[u8], report: &mut RecoveryReport) {
        match frame.kind {
            Kind::Message => {
                let is_missing = self.is_missing;
                let stream = self.stream(frame.stream);
                let next = stream.liveness.next();
                if is_missing && frame.sequence > next && frame.flags & FLAG_COPY == 0 {
                    report.note_lost(frame.stream, next, frame.sequence - 1, frame.sequence - next);
                }
                stream.liveness.insert(frame.sequence);
                if is_leased(frame) {
                    stream.leases.insert(frame.sequence, LeaseState::of(frame));
                }
                if frame.flags & FLAG_COPY == 0 {
                    self.prove(frame.stream, frame.sequence + 1, id);
                }
                if frame.is_moved()
                    && let Some((stream, sequence)) = decode_prelude(payload)
                {
                    self.kill(stream, sequence);
                }
            }
            Kind::Lease => {
                let stream = self.stream(frame.stream);
                if stream.liveness.is_live(frame.sequence) {
                    stream.leases.insert(frame.sequence, LeaseState::of(frame));
                }
            }
            Kind::Delete => self.kill(frame.stream, frame.sequence),
            Kind::Purge => {
                let stream = self.stream(frame.stream);
                stream.liveness.purge(frame.sequence, frame.group_hash);
                stream.forget_leases_below(frame.sequence);
                stream.mark_segment = id;
                self.prove(frame.stream, frame.group_hash, id);
            }
            Kind::CatalogPut | Kind::CatalogDelete => {
                if payload_is_intact(frame, payload) {
                    self.apply_catalog(id, frame, payload);
                } else {
                    report.quarantined_records += 1;
                }
            }
            Kind::Pad => {}
        }
    }

    fn apply_catalog(&mut self, id: u64, frame: &Frame, payload: &[u8]) {
        let (key, value) = payload.split_at(frame.body_start());
        if frame.kind == Kind::CatalogPut {
            let key: Arc<[u8]> = key.into();
            self.catalog_deleted.remove(&key);
            self.catalog_places.insert(Arc::clone(&key), CatalogPlace { segment: id });
            self.catalog.insert(key, value.into());
        } else {
            self.catalog.remove(key);
            self.catalog_places.remove(key);
            self.catalog_deleted.insert(key.into(), id);
        }
    }

    fn stream(&mut self, id: u32) -> &mut Stream {
        let floor = self.sequence_floor;
        self.streams.entry(id).or_insert_with(|| Stream::starting_at(floor))
    }

    fn kill(&mut self, stream: u32, sequence: u64) {
        let stream = self.stream(stream);
        stream.liveness.kill(sequence);
        stream.leases.remove(&sequence);
    }

    /// Segment `id` proves that everything below `next` was given out.
    fn prove(&mut self, stream: u32, next: u64, id: u64) {
        let proven = self.evidence.entry(stream).or_default();
        if next >= *proven {
            *proven = next;
            self.stream(stream).evidence_segment = id;
        }
    }

    /// Makes the last group durable: its sync may never have been asked for, or have failed. What was read of it is
    /// relied upon from now on, so a later power cut must not take it back. It is written anew, because after a failed
    /// sync the kernel may call bytes clean that are on no disk.
    pub(super) fn settle_tail(&self) -> io::Result<()> {
        let Some((id, place)) = &self.tail else { return Ok(()) };
        let Some(segment) = self.segments.get(id) else { return Ok(()) };
        let (Some(file), Some(mapping)) = (&segment.file, &segment.mapping) else { return Ok(()) };
        let (start, end) = (place.start as usize, place.end as usize);
        let mut bytes = Vec::with_capacity(end - start);
        for at in (start..end).step_by(BLOCK_BYTES) {
            let block = at..end.min(at + BLOCK_BYTES);
            // What the disk does not read was not relied upon; written anew it may be read again.
            bytes.extend_from_slice(mapping.read(block.clone()).unwrap_or(&[0; BLOCK_BYTES][..block.len()]));
        }
        file.write_at(&bytes, place.start)?;
        file.sync()
    }

    pub(super) fn finish(mut self, store_id: [u8; 16], report: &mut RecoveryReport) -> Recovered {
        if self.lost > 0 {
            // A lost frame may have given out a sequence of any stream: none of them is given out again.
            self.sequence_floor += self.lost;
            for stream in self.streams.values_mut() {
                let next = stream.liveness.next() + self.lost;
                stream.liveness.skip_to(next);
            }
        }
        report.quarantined_records += self.give_up_unreachable(report);
        self.count_live();
        for segment in self.segments.values_mut() {
            // Unsealed ones get their footer, and a new mapping, from the log.
            if segment.state == SegmentState::Sealing {
                segment.mapping = None;
            }
        }
        Recovered {
            store_id,
            segments: self.segments,
            retired: Vec::new(),
            spares: Vec::new(),
            next_lsn: self.last_lsn + self.lost + 1,
            next_segment: 0,
            streams: self.streams,
            catalog: self.catalog,
            catalog_places: self.catalog_places,
            catalog_deleted: self.catalog_deleted,
            sequence_floor: self.sequence_floor,
            quarantined: self.quarantined + report.quarantined_records,
            torn: self.torn,
            checkpoints: Checkpoints::default(),
        }
    }

    /// Tells the streams where their messages lie.
    pub(super) fn register_runs(&mut self, report: &mut RecoveryReport) -> Result<(), OpenError> {
        for (id, segment) in &mut self.segments {
            if !register_footer(*id, segment, &mut self.streams) {
                report.note_unreadable(*id, rebuild_index(segment))?;
                for stream in self.streams.values_mut() {
                    stream.drop_runs(*id);
                }
            }
            if let SegmentIndex::Memory(index) = &segment.index {
                for (stream, found) in index {
                    if let Some(stream) = self.streams.get_mut(stream) {
                        stream.add_runs(*id, &found.entries);
                    }
                }
            }
        }
        Ok(())
    }

    /// Live messages that no segment holds any more are lost; how many.
    fn give_up_unreachable(&mut self, report: &mut RecoveryReport) -> u64 {
        let mut lost = 0;
        for (id, stream) in &mut self.streams {
            let missing = unreachable(*id, stream, &self.segments);
            lost += missing.len() as u64;
            // One range as long as only dead messages lie between.
            for range in missing.chunk_by(|one, next| stream.liveness.live_between(one + 1, *next) == 0) {
                report.note_lost(*id, range[0], range[range.len() - 1], range.len() as u64);
            }
            for sequence in missing {
                stream.liveness.kill(sequence);
                stream.leases.remove(&sequence);
            }
        }
        lost
    }

    fn count_live(&mut self) {
        let mut live = BTreeMap::<u64, u64>::new();
        for stream in self.streams.values() {
            for run in stream.runs() {
                *live.entry(run.segment()).or_default() +=
                    stream.liveness.live_between(run.first, run.last() + 1).min(run.count.into());
            }
        }
        for (id, count) in live {
            if let Some(segment) = self.segments.get_mut(&id) {
                segment.live_count = count;
            }
        }
    }
}

/// Whether an earlier recovery found a write there that a crash had cut short.
fn was_torn(segment: &Segment, offset: u64) -> bool {
    segment.torn_from != 0 && offset >= segment.torn_from
}

fn note_torn(segment: &mut Segment, offset: u64) {
    segment.torn_from = match segment.torn_from {
        0 => offset,
        earlier => earlier.min(offset),
    };
}

/// Live messages of a stream that are in no segment.
fn unreachable(id: u32, stream: &Stream, segments: &BTreeMap<u64, Segment>) -> Vec<u64> {
    let mut missing = Vec::new();
    let (dense, sparse): (Vec<Run>, Vec<Run>) = stream.runs().iter().partition(|run| run.is_dense());
    let mut covered = stream.liveness.low();
    for run in &dense {
        if run.first > covered {
            look_in_sparse(id, stream, &sparse, segments, (covered, run.first), &mut missing);
        }
        covered = covered.max(run.last() + 1);
    }
    look_in_sparse(id, stream, &sparse, segments, (covered, stream.liveness.next()), &mut missing);
    missing
}

/// Collects the live sequences of `from..to` that none of the sparse runs holds.
fn look_in_sparse(
    id: u32,
    stream: &Stream,
    sparse: &[Run],
    segments: &BTreeMap<u64, Segment>,
    (from, to): (u64, u64),
    missing: &mut Vec<u64>,
) {
    let live = stream.liveness.live_between(from, to);
    if live == 0 {
        return;
    }
    let runs: Vec<&Run> = sparse.iter().filter(|run| run.first < to && run.last() >= from).collect();
    if let [run] = runs[..]
        && let Some(segment) = segments.get(&run.segment())
    {
        // Nearly always all are there, and counting them is quick.
        let found = run.among(segment.entries(id)).iter().map(|entry| entry.sequence.get());
        if found.filter(|s| (from..to).contains(s) && stream.liveness.is_live(*s)).count() as u64 == live {
            return;
        }
    }
    let mut at = from;
    while let Some(sequence) = stream.liveness.next_live(at).filter(|found| *found < to) {
        let holds = |run: &&Run| {
            segments.get(&run.segment()).is_some_and(|segment| {
                run.entry(segment.entries(id), sequence).is_some()
                    || (segment.index_is_damaged(id) && segment.find_by_walking(id, sequence).is_some())
            })
        };
        if !runs.iter().filter(|run| run.first <= sequence && run.last() >= sequence).any(holds) {
            missing.push(sequence);
        }
        at = sequence + 1;
    }
}

/// Registers what the footer's directory lists. The directory was checked; entries are looked at only where sequences
/// are missing among them. `false`: those are damaged.
fn register_footer(id: u64, segment: &Segment, streams: &mut HashMap<u32, Stream>) -> bool {
    let (SegmentIndex::Footer(footer), Some(mapping)) = (&segment.index, &segment.mapping) else {
        return true;
    };
    for (at, found) in footer.directory(mapping).iter().enumerate() {
        let Some(stream) = streams.get_mut(&found.stream.get()) else { continue };
        let (first, last, count) = (found.first.get(), found.last.get(), u64::from(found.count.get()));
        if count == 0 {
            continue;
        }
        let dense = last.checked_sub(first).is_some_and(|span| span + 1 == count);
        if dense && stream.add_dense_run(id, first, last) {
            continue;
        }
        match footer.section(mapping, at) {
            Some(entries) => stream.add_runs(id, entries),
            None => return false,
        }
    }
    true
}

/// Replaces a damaged footer by an index in memory, from the frames.
fn rebuild_index(segment: &mut Segment) -> Unreadable {
    let Some(mapping) = segment.mapping.clone() else { return Unreadable::default() };
    tracing::error!(segment = segment.id, "the footer is damaged; its index is rebuilt from the frames");
    let mut collected = Collected::default();
    let mut frames = walk(segment, &mapping, FRAMES_START, segment.base_lsn.saturating_sub(1));
    segment.message_count = 0;
    segment.message_bytes = 0;
    for found in frames.by_ref() {
        if let Found::Frame { offset, frame, payload } = found {
            collected.note(segment, &frame, offset, read_payload(&mapping, &frame, payload, false));
        }
    }
    for stream in collected.streams.values_mut() {
        sort_entries(&mut stream.entries);
    }
    segment.tombstones = collected.tombstones;
    segment.index = SegmentIndex::Memory(collected.streams);
    frames.unreadable()
}

/// A frame's payload, from the disk as far as recovery looks at it: at bodies only where they may be torn. Empty when
/// the disk does not read it.
fn read_payload<'a>(mapping: &'a Mapping, frame: &Frame, place: Range<usize>, may_be_torn: bool) -> &'a [u8] {
    let needed_bytes = match frame.kind {
        Kind::CatalogPut | Kind::CatalogDelete => place.len(),
        _ if may_be_torn => place.len(),
        _ if frame.is_moved() => place.len().min(PRELUDE_BYTES),
        _ => 0,
    };
    match mapping.read(place.start..place.start + needed_bytes) {
        Ok(_) => mapping.bytes().get(place).unwrap_or(&[]),
        Err(_) => &[],
    }
}

impl Collected {
    fn note(&mut self, segment: &mut Segment, frame: &Frame, offset: u64, payload: &[u8]) {
        let tombstone = |stream, sequence| Tombstone {
            stream: U32::new(stream),
            flags: U32::new((frame.flags & FLAG_QUARANTINED).into()),
            sequence: U64::new(sequence),
        };
        match frame.kind {
            Kind::Message => {
                let stream = self.streams.entry(frame.stream).or_default();
                stream.entries.push(Entry::of(frame, offset));
                stream.next_sequence = stream.next_sequence.max(frame.sequence + 1);
                segment.note_message(frame);
                if frame.is_moved()
                    && let Some((stream, sequence)) = decode_prelude(payload)
                {
                    self.tombstones.push(tombstone(stream, sequence));
                }
            }
            Kind::Delete => self.tombstones.push(tombstone(frame.stream, frame.sequence)),
            Kind::Purge => {
                let stream = self.streams.entry(frame.stream).or_default();
                stream.next_sequence = stream.next_sequence.max(frame.group_hash);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aligned_buffer::AlignedBuffer;
    use crate::disk::{Disk, SimDisk};
    use crate::frame::{FRAME_HEADER_BYTES, FrameSeed};
    use crate::group::Group;
    use crate::segment::segment_name;

    const STORE_ID: [u8; 16] = [3; 16];

    #[test]
    fn the_sequence_of_a_torn_message_is_proven_and_never_given_out_again() {
        let mut group = Group::new(1, FrameSeed::new(STORE_ID, 1), FRAMES_START, AlignedBuffer::default());
        let message = |lsn, stream, sequence| Frame { lsn, stream, sequence, ..Frame::bare(Kind::Message) };
        // Whatever proved the sequences before it is in no file any more.
        let torn_at = group.push(&mut message(1, 7, 1_000), &[b"torn"]);
        group.push(&mut message(2, 8, 5), &[b"whole"]);
        group.close(3);
        let disk = SimDisk::new(1);
        let file = disk.create(&segment_name(1), 64 << 10).unwrap();
        file.write_at(group.buffer.as_slice(), FRAMES_START).unwrap();
        disk.flip(&segment_name(1), torn_at as usize + FRAME_HEADER_BYTES, 1);
        let mapping = file.map().unwrap();
        let segment = super::super::segment_of(1, file, STORE_ID, 1, mapping);

        let mut report = RecoveryReport::default();
        let mut replay = Replay::starting_from(None, BTreeMap::from([(1, segment)]));
        replay.run(&mut report).unwrap();
        replay.register_runs(&mut report).unwrap();
        let recovered = replay.finish(STORE_ID, &mut report);

        assert_eq!((report.torn_records, report.quarantined_records), (1, 0));
        assert_eq!(recovered.torn, [(7, 1_000)]);
        let torn = &recovered.streams[&7];
        assert!(torn.liveness.next() > 1_000 && torn.liveness.live() == 0);
        // The segment stays until something else proves it.
        assert_eq!(torn.evidence_segment, 1);
        assert!(recovered.streams[&8].liveness.is_live(5));
    }
}
