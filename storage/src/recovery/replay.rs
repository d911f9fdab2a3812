//! Applying frames to memory, in the order in which they were written.

use super::{Recovered, RecoveryReport, last_group_start, walk};
use crate::checkpoint::Checkpoint;
use crate::footer::{Entry, SegmentIndex, StreamEntries, Tombstone};
use crate::frame::{FLAG_COPY, Frame, Kind, decode_prelude};
use crate::log::{CatalogPlace, Checkpoints};
use crate::record::{LeaseState, is_leased};
use crate::segment::{FRAMES_START, Found, Segment, SegmentState, payload_is_intact};
use crate::stream_index::{Stream, sort_entries};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use zerocopy::byteorder::little_endian::{U32, U64};

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
            evidence,
        }
    }

    pub(super) fn run(&mut self, report: &mut RecoveryReport) {
        let ids: Vec<u64> = self.segments.keys().copied().collect();
        let newest = self.newest_written(&ids);
        for (at, id) in ids.iter().copied().enumerate() {
            let next = ids.get(at + 1).and_then(|next| self.segments.get(next));
            let ends_in_open = newest == Some(id) || next.is_some_and(|next| next.after_open);
            self.run_segment(id, newest == Some(id), ends_in_open, report);
        }
    }

    /// The segment with the newest frame.
    fn newest_written(&self, ids: &[u64]) -> Option<u64> {
        ids.iter().rev().copied().find(|id| {
            let segment = &self.segments[id];
            segment.mapping.as_ref().is_some_and(|m| {
                walk(segment, m.bytes(), FRAMES_START, 0).any(|found| matches!(found, Found::Frame { .. }))
            })
        })
    }

    /// `is_newest`: nothing was written after it. `may_be_torn`: a crash may have cut its last group short.
    fn run_segment(&mut self, id: u64, is_newest: bool, may_be_torn: bool, report: &mut RecoveryReport) {
        let Some(mut segment) = self.segments.remove(&id) else { return };
        let Some(mapping) = segment.mapping.clone() else { return };
        let indexed = matches!(segment.index, SegmentIndex::Footer(_));
        let from = if indexed {
            if id < self.checkpoint_segment {
                // Sealed and in the checkpoint: nothing to read.
                self.last_lsn = self.last_lsn.max(segment.last_lsn);
                self.segments.insert(id, segment);
                return;
            }
            if id == self.checkpoint_segment { self.checkpoint_offset } else { FRAMES_START }
        } else {
            FRAMES_START
        };
        let walk_lsn =
            if from == FRAMES_START { segment.base_lsn.saturating_sub(1) } else { self.checkpoint_lsn };
        let last_group = may_be_torn.then(|| last_group_start(&segment, mapping.bytes(), from, walk_lsn));
        let mut collected = Collected::default();
        let mut frames = walk(&segment, mapping.bytes(), from, walk_lsn);
        while let Some(found) = frames.next() {
            match found {
                Found::Damage { offset, lost, .. } => {
                    let replayed = id > self.checkpoint_segment || offset >= self.checkpoint_offset;
                    if last_group.is_some_and(|group| frames.group_start() == group && offset >= group) {
                        report.torn_records += lost;
                    } else if replayed {
                        report.quarantined_records += lost;
                    }
                    if replayed {
                        self.lost += lost;
                    }
                    tracing::error!(segment = id, offset, lost, "frames are damaged");
                }
                Found::Frame { offset, frame, payload } => {
                    let payload = &mapping.bytes()[payload];
                    if !indexed {
                        segment.frames_end = offset + frame.span_bytes() as u64;
                        segment.last_lsn = frame.lsn;
                    }
                    self.last_lsn = self.last_lsn.max(frame.lsn);
                    let in_last_group = last_group.is_some_and(|group| offset >= group);
                    if in_last_group && !payload_is_intact(&frame, payload) {
                        if frame.lsn <= self.checkpoint_lsn {
                            // It was durable: the reader will find it damaged and say so.
                        } else {
                            report.torn_records += 1;
                            self.lost += 1;
                            // Of a torn copy the original is still there.
                            if is_newest && frame.kind == Kind::Message && frame.flags & FLAG_COPY == 0 {
                                self.torn.push((frame.stream, frame.sequence));
                                // Indexed, so that its tombstone is kept as long as the frame is.
                                collected.note(&mut segment, &frame, offset, &[]);
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
        if frames.ended_torn() {
            tracing::warn!(segment = id, offset = frames.end(), "the last group was cut short");
        }
        if !indexed {
            for stream in collected.streams.values_mut() {
                sort_entries(&mut stream.entries);
            }
            segment.tombstones = collected.tombstones;
            segment.index = SegmentIndex::Memory(collected.streams);
            segment.mapping = Some(Arc::clone(&mapping));
        }
        self.segments.insert(id, segment);
    }

    fn apply(&mut self, id: u64, frame: &Frame, payload: &[u8], report: &mut RecoveryReport) {
        match frame.kind {
            Kind::Message => {
                let stream = self.stream(frame.stream);
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

    pub(super) fn finish(mut self, store_id: [u8; 16], report: &mut RecoveryReport) -> Recovered {
        self.register_runs();
        if self.lost > 0 {
            // A lost frame may have given out a sequence of any stream: none of them is given out again.
            self.sequence_floor += self.lost;
            for stream in self.streams.values_mut() {
                let next = stream.liveness.next() + self.lost;
                stream.liveness.skip_to(next);
            }
        }
        report.quarantined_records += self.give_up_unreachable();
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

    fn register_runs(&mut self) {
        for (id, segment) in &mut self.segments {
            if !register_footer(*id, segment, &mut self.streams) {
                rebuild_index(segment);
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
    }

    /// Live messages that no segment holds any more are lost; how many.
    fn give_up_unreachable(&mut self) -> u64 {
        let mut lost = 0;
        for (id, stream) in &mut self.streams {
            let mut covered = stream.liveness.low();
            let mut gaps = Vec::new();
            for run in stream.runs() {
                if run.first > covered {
                    gaps.push((covered, run.first));
                }
                covered = covered.max(run.last() + 1);
            }
            gaps.push((covered, stream.liveness.next()));
            for (from, to) in gaps {
                while let Some(sequence) = stream.liveness.next_live(from).filter(|found| *found < to) {
                    stream.liveness.kill(sequence);
                    stream.leases.remove(&sequence);
                    lost += 1;
                }
            }
            if lost > 0 {
                tracing::error!(stream = id, lost, "messages are in no segment any more");
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

/// Registers what the footer's directory lists. The directory was checked; entries are looked at only where sequences
/// are missing among them. `false`: those are damaged.
fn register_footer(id: u64, segment: &Segment, streams: &mut HashMap<u32, Stream>) -> bool {
    let (SegmentIndex::Footer(footer), Some(mapping)) = (&segment.index, &segment.mapping) else {
        return true;
    };
    for (at, found) in footer.directory(mapping.bytes()).iter().enumerate() {
        let Some(stream) = streams.get_mut(&found.stream.get()) else { continue };
        let (first, last, count) = (found.first.get(), found.last.get(), u64::from(found.count.get()));
        if count == 0 {
            continue;
        }
        let dense = last.checked_sub(first).is_some_and(|span| span + 1 == count);
        if dense && stream.add_dense_run(id, first, last) {
            continue;
        }
        match footer.section(mapping.bytes(), at) {
            Some(entries) => stream.add_runs(id, entries),
            None => return false,
        }
    }
    true
}

/// Replaces a damaged footer by an index in memory, from the frames.
fn rebuild_index(segment: &mut Segment) {
    let Some(mapping) = segment.mapping.clone() else { return };
    tracing::error!(segment = segment.id, "the footer is damaged; its index is rebuilt from the frames");
    let mut collected = Collected::default();
    let frames = walk(segment, mapping.bytes(), FRAMES_START, segment.base_lsn.saturating_sub(1));
    segment.message_count = 0;
    segment.message_bytes = 0;
    for found in frames {
        if let Found::Frame { offset, frame, payload } = found {
            collected.note(segment, &frame, offset, &mapping.bytes()[payload]);
        }
    }
    for stream in collected.streams.values_mut() {
        sort_entries(&mut stream.entries);
    }
    segment.tombstones = collected.tombstones;
    segment.index = SegmentIndex::Memory(collected.streams);
}

impl Collected {
    fn note(&mut self, segment: &mut Segment, frame: &Frame, offset: u64, payload: &[u8]) {
        let tombstone = |stream, sequence| Tombstone {
            stream: U32::new(stream),
            flags: U32::new(frame.flags.into()),
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
