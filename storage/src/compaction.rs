//! Giving space back: what a sparse segment still holds is copied to the tail, then the segment is retired.
//!
//! A segment may go when none of this lives only in it: a live message; a tombstone or purge whose target is still in
//! another segment; a live catalog entry, or the end of one that an older segment may hold; the proof of a stream's
//! next sequence. What is needed is staged again verbatim; the file goes only after the copies and a checkpoint
//! beyond it are durable, and nobody maps it any more.

pub(crate) mod pace;

use crate::error::AppendError;
use crate::footer::Entry;
use crate::footer::Tombstone;
use crate::frame::{FLAG_COPY, FLAG_LEASED, FRAME_HEADER_BYTES, Frame, frame_span};
use crate::keeper::Job;
use crate::log::Log;
use crate::segment::{Segment, SegmentState, payload_is_intact};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes copied a step: a commit that carries them takes some tens of microseconds more.
const STEP_BYTES: usize = 32 << 10;
/// Entries or tombstones looked at a step, about 0.1 us each.
const STEP_LOOKUPS: usize = 512;
/// So much is read from the disk at once, before the copies of it: a page fault would make every caller wait.
const LOAD_BYTES: usize = 512 << 10;
/// No copying while more than this waits to be written: callers come first.
const STAGED_BYTES_MAX: usize = 1 << 20;
/// A segment whose needed tombstones would take more than this part of a segment waits for their targets to go.
const TOMBSTONE_PERCENT_MAX: u64 = 25;
/// A log that takes more than this part of what is alive in it is in a hurry to give space back.
const URGENT_PERCENT: u64 = 180;
/// Segments beyond it that every log has: the active one, the next one.
const URGENT_SEGMENTS: u64 = 2;
/// While callers are served, a checkpoint is written for so many emptied segments at once.
const CHECKPOINT_DRAINING_MIN: usize = 4;

/// One segment being emptied.
pub(crate) struct Compaction {
    segment: u64,
    stage: Stage,
    /// What the stage looks at next is being read from the disk.
    is_loading: bool,
}

enum Stage {
    Begin,
    /// Counting tombstones that are still needed.
    Count {
        at: usize,
        needed: u64,
    },
    /// Finding live messages.
    Find(Scan),
    /// Copying them, by offset. The file is in memory from the first of them up to `loaded_to`.
    Copy {
        live: BTreeMap<u32, (u32, Entry)>,
        loaded_to: usize,
    },
    Tombstones {
        at: usize,
    },
    /// Catalog entries and marks.
    Rest,
}

/// Which stream of the segment's is looked at, from which entry on, and what was found alive: stream and entry by offset.
struct Scan {
    streams: Vec<u32>,
    stream: usize,
    entry: usize,
    live: BTreeMap<u32, (u32, Entry)>,
}

/// What is kept of dead messages, beyond what the log itself needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Nobody asked for any.
    Nothing,
    /// It is not known yet what is needed: no segment goes.
    Everything,
    /// What [`Log::keep`] named, until its time. `free_at_ms`: when the next segment that waits for it may go.
    Until { now_ms: u64, free_at_ms: Option<u64> },
}

enum Step {
    Continue(Stage),
    /// Once this part of the file is in memory.
    Load {
        offset: usize,
        len: usize,
        then: Stage,
    },
    Done,
    /// Not now.
    Blocked,
}

impl Log {
    /// Gives no segment back until [`Self::set_time`] is called: what is needed of dead messages is being read.
    pub fn keep_everything(&mut self) {
        self.keeping = Keeping::Everything;
    }

    /// The segment of a message stays until `until_ms`, even if the message dies before.
    pub fn keep(&mut self, stream: u32, sequence: u64, until_ms: u64) {
        let Some((segment, _)) = self.locate(stream, sequence) else { return };
        if let Some(found) = self.segments.get_mut(&segment) {
            let kept = found.kept_until_ms.entry(stream).or_default();
            *kept = until_ms.max(*kept);
        }
    }

    /// What was asked to be kept of a stream is not needed any more.
    pub fn release(&mut self, stream: u32) {
        for segment in self.segments.values_mut() {
            segment.kept_until_ms.remove(&stream);
        }
        self.maintenance_due = true;
    }

    /// The time by which [`Self::keep`] is measured, ms since the Unix epoch.
    pub fn set_time(&mut self, now_ms: u64) {
        let free_at_ms = match self.keeping {
            Keeping::Until { free_at_ms, .. } => free_at_ms,
            Keeping::Nothing | Keeping::Everything => Some(0),
        };
        self.maintenance_due |= free_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.keeping = Keeping::Until { now_ms, free_at_ms: free_at_ms.filter(|at_ms| *at_ms > now_ms) };
    }

    /// Whether a step may be made now, for the callers' sake.
    pub(crate) fn may_compact(&mut self) -> bool {
        if self.compaction.as_ref().is_some_and(|compaction| compaction.is_loading) {
            return false;
        }
        self.disk.is_deterministic()
            || (self.staged_bytes() <= STAGED_BYTES_MAX && self.pace.allows(STEP_BYTES))
    }

    /// One bounded step of maintenance.
    pub(crate) fn compact_step(&mut self) {
        if !self.may_compact() {
            return;
        }
        let Some(compaction) = self.compaction.take().or_else(|| self.choose_segment()) else {
            self.maintenance_due = false;
            return;
        };
        let segment = compaction.segment;
        match self.step(segment, compaction.stage) {
            Ok(Step::Continue(stage)) => {
                self.compaction = Some(Compaction { segment, stage, is_loading: false });
            }
            Ok(Step::Load { offset, len, then }) => {
                let Some(mapping) = self.segments.get(&segment).and_then(|found| found.mapping.clone())
                else {
                    return self.block(segment);
                };
                let is_loading = !mapping.is_in_memory();
                if is_loading {
                    self.keeper.submit(Job::Load { id: segment, mapping, offset, len });
                }
                self.compaction = Some(Compaction { segment, stage: then, is_loading });
            }
            Ok(Step::Done) => {
                let drained_lsn = self.next_lsn - 1;
                if let Some(found) = self.segments.get_mut(&segment) {
                    found.state = SegmentState::Draining;
                    found.drained_lsn = drained_lsn;
                    found.live_count = 0;
                }
                self.draining.push(segment);
                self.maintenance_due = true;
            }
            Ok(Step::Blocked) => self.block(segment),
            // No room for copies: after other segments have gone there will be.
            Err(_) => self.block(segment),
        }
    }

    /// A part of the segment that is being emptied is in memory, or cannot be read: then the segment stays for now.
    pub(crate) fn note_loaded(&mut self, segment: u64, offset: usize, result: std::io::Result<()>) {
        if let Err(error) = result {
            tracing::warn!(%error, segment, offset, "a segment to be emptied cannot be read; it stays");
            self.compaction = None;
            self.block(segment);
        } else if let Some(compaction) = &mut self.compaction {
            compaction.is_loading = false;
        }
    }

    fn block(&mut self, segment: u64) {
        let retired_count = self.retired_count;
        if let Some(found) = self.segments.get_mut(&segment) {
            found.blocked_until_retired = retired_count + 1;
        }
    }

    fn choose_segment(&mut self) -> Option<Compaction> {
        let needed: u64 = self.segments.values().map(Segment::needed_bytes).sum();
        let allowed = needed * URGENT_PERCENT / 100 + URGENT_SEGMENTS * self.options.segment_bytes;
        self.pace.set_urgent(self.disk_bytes() > allowed);
        let now_ms = match self.keeping {
            Keeping::Nothing => u64::MAX,
            Keeping::Everything => return None,
            Keeping::Until { now_ms, .. } => now_ms,
        };
        let candidates = self
            .segments
            .values()
            .filter(|s| s.state == SegmentState::Sealed && s.blocked_until_retired <= self.retired_count);
        let mut sparsest: Option<(u64, u64)> = None;
        let mut free_at_ms: Option<u64> = None;
        for segment in candidates {
            let needed = segment.needed_bytes();
            let kept_until_ms = segment.kept_until_ms.values().max().copied().unwrap_or(0);
            if kept_until_ms > now_ms {
                if segment.is_sparse() {
                    free_at_ms = Some(free_at_ms.map_or(kept_until_ms, |at_ms| at_ms.min(kept_until_ms)));
                }
                continue;
            }
            if segment.live_count == 0 {
                sparsest = Some((0, segment.id));
                break;
            }
            if segment.is_sparse() && sparsest.is_none_or(|(least, _)| needed < least) {
                sparsest = Some((needed, segment.id));
            }
        }
        if let Keeping::Until { free_at_ms: next, .. } = &mut self.keeping {
            *next = free_at_ms;
        }
        sparsest.map(|(_, segment)| Compaction { segment, stage: Stage::Begin, is_loading: false })
    }

    fn step(&mut self, segment: u64, stage: Stage) -> Result<Step, AppendError> {
        match stage {
            Stage::Begin => Ok(self.load_footer(segment)),
            Stage::Count { at, needed } => Ok(self.count_tombstones(segment, at, needed)),
            Stage::Find(scan) => Ok(self.find_live(segment, scan)),
            Stage::Copy { live, loaded_to } => self.copy_messages(segment, live, loaded_to),
            Stage::Tombstones { at } => self.copy_tombstones(segment, at),
            Stage::Rest => self.copy_rest(segment),
        }
    }

    fn load_footer(&self, segment: u64) -> Step {
        let Some(found) = self.segments.get(&segment) else { return Step::Blocked };
        let (start, end) = (found.frames_end as usize, found.size_bytes as usize);
        Step::Load { offset: start, len: end - start.min(end), then: Stage::Count { at: 0, needed: 0 } }
    }

    fn count_tombstones(&self, segment: u64, at: usize, mut needed: u64) -> Step {
        let Some(tombstones) = self.tombstones_of(segment) else { return Step::Blocked };
        let end = tombstones.len().min(at + STEP_LOOKUPS);
        for tombstone in &tombstones[at..end] {
            needed += u64::from(self.is_needed(segment, tombstone));
        }
        let limit = self.options.segment_bytes * TOMBSTONE_PERCENT_MAX / 100;
        if needed * FRAME_HEADER_BYTES as u64 > limit {
            return Step::Blocked;
        }
        if end < tombstones.len() {
            return Step::Continue(Stage::Count { at: end, needed });
        }
        let Some(found) = self.segments.get(&segment) else { return Step::Blocked };
        let streams = found.index.streams(found.mapping.as_deref()).into_iter().map(|(id, _)| id).collect();
        Step::Continue(Stage::Find(Scan { streams, stream: 0, entry: 0, live: BTreeMap::new() }))
    }

    /// Finds what is alive in the segment, stream by stream.
    fn find_live(&self, segment: u64, mut scan: Scan) -> Step {
        let mut looked_at = 0;
        while let Some(id) = scan.streams.get(scan.stream).copied() {
            let Some(found) = self.segments.get(&segment) else { return Step::Blocked };
            if found.index_is_damaged(id) {
                return Step::Blocked;
            }
            for next in found.entries(id).get(scan.entry..).unwrap_or(&[]) {
                if looked_at >= STEP_LOOKUPS {
                    return Step::Continue(Stage::Find(scan));
                }
                looked_at += 1;
                scan.entry += 1;
                if self.is_only_here(segment, id, next.sequence.get()) {
                    scan.live.insert(next.offset.get(), (id, *next));
                }
            }
            (scan.stream, scan.entry) = (scan.stream + 1, 0);
        }
        Step::Continue(Stage::Copy { live: scan.live, loaded_to: 0 })
    }

    /// Copies what is still alive, in the order of the file, so that one read brings many.
    fn copy_messages(
        &mut self,
        segment: u64,
        mut live: BTreeMap<u32, (u32, Entry)>,
        loaded_to: usize,
    ) -> Result<Step, AppendError> {
        let (mut looked_at, mut copied) = (0, 0);
        while let Some(first) = live.first_entry() {
            let (offset, (id, entry)) = (*first.key() as usize, *first.get());
            if offset + entry.span_bytes() > loaded_to {
                let len = LOAD_BYTES.max(entry.span_bytes());
                return Ok(Step::Load { offset, len, then: Stage::Copy { live, loaded_to: offset + len } });
            }
            first.remove();
            if self.is_only_here(segment, id, entry.sequence.get()) {
                copied += self.copy_message(segment, id, &entry)?;
            }
            looked_at += 1;
            if looked_at >= STEP_LOOKUPS || copied >= STEP_BYTES {
                return Ok(Step::Continue(Stage::Copy { live, loaded_to }));
            }
        }
        Ok(Step::Continue(Stage::Tombstones { at: 0 }))
    }

    /// Whether the message is alive and this segment is where it is read from.
    fn is_only_here(&self, segment: u64, stream: u32, sequence: u64) -> bool {
        self.is_live(stream, sequence)
            && self.locate(stream, sequence).is_some_and(|(place, _)| place == segment)
    }

    /// Stages a live message again, extension and body verbatim, lease state applied; the bytes it took.
    fn copy_message(&mut self, segment: u64, stream_id: u32, entry: &Entry) -> Result<usize, AppendError> {
        let Some(found) = self.segments.get(&segment) else { return Ok(0) };
        let (Some(mapping), seed) = (found.mapping.clone(), found.seed) else { return Ok(0) };
        let offset = entry.offset.get() as usize;
        let bytes = mapping.bytes().get(offset..offset + entry.span_bytes()).unwrap_or(&[]);
        let sequence = entry.sequence.get();
        let payload = Frame::decode(seed, offset as u64, bytes)
            .filter(|frame| frame.stream == stream_id && frame.sequence == sequence)
            .and_then(|frame| {
                let payload =
                    bytes.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + frame.payload_len as usize)?;
                payload_is_intact(&frame, payload).then_some((frame, payload))
            });
        let Some((mut frame, payload)) = payload else {
            self.quarantine(stream_id, sequence);
            return Ok(0);
        };
        let span = frame_span(payload.len());
        self.make_room(span)?;
        let Some(stream) = self.streams.get_mut(&stream_id) else { return Ok(0) };
        frame.flags |= FLAG_COPY;
        if let Some(lease) = stream.leases.get(&sequence) {
            frame.flags |= FLAG_LEASED;
            frame.visible_at_ms = lease.visible_at_ms;
            frame.receive_count = lease.receive_count;
            frame.first_received_at_ms = lease.first_received_at_ms;
        }
        frame.lsn = self.next_lsn;
        self.next_lsn += 1;
        let offset = self.open.push(&mut frame, &[payload]);
        self.copied_in_group += span;
        self.pace.spend(span);
        if !stream.is_in_active() {
            self.active_streams.push(stream_id);
        }
        stream.copies.insert(sequence, Entry::of(&frame, offset));
        self.active_entries += 1;
        if let Some(active) = self.segments.get_mut(&self.active) {
            active.note_message(&frame);
            active.live_count += 1;
        }
        if frame.is_moved()
            && let Some((source, sequence)) = crate::frame::decode_prelude(payload)
        {
            // The copy is its source's tombstone as well.
            self.note_tombstone(source, sequence, 0);
        }
        if let Some(found) = self.segments.get_mut(&segment) {
            found.live_count = found.live_count.saturating_sub(1);
        }
        Ok(span)
    }

    fn copy_tombstones(&mut self, segment: u64, mut at: usize) -> Result<Step, AppendError> {
        for _ in 0..STEP_LOOKUPS {
            let Some(tombstones) = self.tombstones_of(segment) else { return Ok(Step::Blocked) };
            let Some(tombstone) = tombstones.get(at).copied() else { return Ok(Step::Continue(Stage::Rest)) };
            if self.is_needed(segment, &tombstone) {
                self.stage_tombstone(&tombstone)?;
            }
            at += 1;
        }
        Ok(Step::Continue(Stage::Tombstones { at }))
    }

    fn copy_rest(&mut self, segment: u64) -> Result<Step, AppendError> {
        let live: Vec<Arc<[u8]>> = self
            .catalog_places
            .iter()
            .filter(|(_, place)| place.segment == segment)
            .map(|(k, _)| k.clone())
            .collect();
        for key in live {
            if let Some(value) = self.catalog.get(&key).cloned() {
                self.stage_catalog(&key, &value)?;
            }
        }
        let oldest = self.segments.keys().next().copied();
        let ends: Vec<Arc<[u8]>> = self
            .catalog_deleted
            .iter()
            .filter(|(_, place)| **place == segment)
            .map(|(k, _)| k.clone())
            .collect();
        for key in ends {
            if oldest.is_some_and(|oldest| oldest < segment) {
                self.stage_catalog_delete(&key)?;
            } else {
                self.catalog_deleted.remove(&key);
            }
        }
        let Some(found) = self.segments.get(&segment) else { return Ok(Step::Blocked) };
        for (id, _) in found.index.streams(found.mapping.as_deref()) {
            let Some(stream) = self.streams.get(&id) else { continue };
            // The end of a closed stream need not be known once nothing of it lies anywhere else.
            let is_over = stream.liveness.is_closed()
                && !stream.is_in_active()
                && stream.runs().iter().all(|run| run.segment() == segment);
            if !is_over && (stream.evidence_segment == segment || stream.mark_segment == segment) {
                let (low, next) = (stream.liveness.low(), stream.liveness.next());
                self.stage_mark(id, low, next)?;
            }
        }
        Ok(Step::Done)
    }

    fn tombstones_of(&self, segment: u64) -> Option<&[Tombstone]> {
        self.segments.get(&segment)?.tombstones()
    }

    /// Whether another segment still holds what the tombstone of `segment` ended.
    fn is_needed(&self, segment: u64, tombstone: &Tombstone) -> bool {
        let (stream_id, sequence) = (tombstone.stream.get(), tombstone.sequence.get());
        let Some(stream) = self.streams.get(&stream_id) else { return false };
        if stream.active_entry(sequence).is_some() {
            return true;
        }
        stream.runs_around(sequence).filter(|run| run.segment() != segment).any(|run| {
            self.segments.get(&run.segment()).is_some_and(|found| {
                run.entry(found.entries(stream_id), sequence).is_some() || found.index_is_damaged(stream_id)
            })
        })
    }

    /// Hands to the keeper what nothing needs any more.
    pub(crate) fn retire_drained(&mut self) {
        let durable = self.durable_lsn().0;
        let (checkpoint_lsn, checkpoint_segment) = self.checkpoints.durable;
        let mut waits_for_checkpoint = false;
        let mut still_draining = Vec::new();
        for id in std::mem::take(&mut self.draining) {
            let Some(segment) = self.segments.get_mut(&id) else { continue };
            let in_checkpoint = id < checkpoint_segment && segment.drained_lsn <= checkpoint_lsn;
            let is_read = segment.mapping.as_ref().is_some_and(|mapping| Arc::strong_count(mapping) > 1);
            if segment.drained_lsn <= durable && in_checkpoint && !is_read {
                segment.state = SegmentState::Retiring;
                self.keeper.submit(Job::Retire { id, keep: true });
            } else {
                waits_for_checkpoint |= segment.drained_lsn <= durable && !in_checkpoint;
                still_draining.push(id);
            }
        }
        self.draining = still_draining;
        // One checkpoint for several, unless nobody would notice another.
        let is_worth_it = self.draining.len() >= CHECKPOINT_DRAINING_MIN
            || self.low_space
            || self.disk.is_deterministic()
            || self.pace.is_quiet();
        if waits_for_checkpoint && is_worth_it {
            self.request_checkpoint();
        }
    }
}
