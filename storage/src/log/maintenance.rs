//! What the log does beside appending: spare segments, sealing, checkpoints, space, and small steps of compaction.

use super::{Log, Spare};
use crate::footer::{SegmentIndex, encode_footer, footer_offset};
use crate::keeper::{Job, Outcome};
use crate::segment::SegmentState;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often free space is looked at while work goes on.
const SPACE_CHECK_PERIOD: Duration = Duration::from_millis(500);
/// Retired files kept for use again; more than this are removed.
const RETIRED_KEPT_MAX: usize = 3;
/// A log of fewer segments keeps fewer: one for so many.
const SEGMENTS_PER_RETIRED: usize = 8;
/// Once no segment was begun for so long, retired files are removed.
const RETIRED_IDLE: Duration = Duration::from_secs(10);
/// A checkpoint at least every so many segments: bounds what a start has to read.
const CHECKPOINT_SEGMENTS: u64 = 4;

impl Log {
    /// Background work, a bounded piece of it.
    pub(crate) fn keep_house(&mut self) {
        while let Some(outcome) = self.keeper.poll() {
            self.note_outcome(outcome);
        }
        if self.poisoned().is_some() {
            return;
        }
        self.write_waiting_checkpoint();
        if self.space_checked.elapsed() >= SPACE_CHECK_PERIOD || self.disk.is_deterministic() {
            self.check_space();
        }
        if !self.draining.is_empty() {
            self.retire_drained();
        }
        if self.maintenance_due || self.compaction.is_some() {
            self.compact_step();
        }
    }

    pub(crate) fn check_space(&mut self) {
        self.space_checked = Instant::now();
        let Ok(free) = self.disk.free_bytes() else { return };
        let low = free < self.options.free_space_min_bytes;
        if low != self.low_space {
            tracing::warn!(free, low, "free disk space crossed the limit");
            self.maintenance_due = true;
        }
        self.low_space = low;
        if matches!(self.spare, Spare::Failed | Spare::None) && (!low || !self.retired.is_empty()) {
            self.prepare_spare();
        }
        // A file that is being prepared may be one of them.
        if matches!(self.spare, Spare::Ready(..)) && self.rolled.elapsed() >= RETIRED_IDLE {
            self.discard_retired(0);
        }
    }

    /// Removes the oldest retired files until `kept` are left.
    fn discard_retired(&mut self, kept: usize) {
        while self.retired.len() > kept {
            let id = self.retired.remove(0);
            self.keeper.submit(Job::Discard { id });
        }
    }

    /// Whether new messages are refused: too little free space, or no segment in reserve for deletes.
    pub(crate) fn refuses_messages(&self) -> bool {
        self.low_space || self.exhausted
    }

    /// Has the next segment's file made, unless it is there.
    pub(crate) fn prepare_spare(&mut self) {
        if !matches!(self.spare, Spare::None | Spare::Failed) || self.poisoned().is_some() {
            return;
        }
        let recycle = self.retired.first().copied();
        self.spare = Spare::Preparing;
        let segment_bytes = self.options.segment_bytes;
        self.keeper.submit(Job::Prepare { id: self.next_segment, recycle, segment_bytes });
    }

    pub(crate) fn note_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Prepared { id, recycled, result } => {
                self.retired.retain(|old| Some(*old) != recycled);
                match result {
                    Ok(file) => {
                        self.next_segment = self.next_segment.max(id + 1);
                        self.spare = Spare::Ready(id, file);
                        self.exhausted = false;
                    }
                    Err(error) => {
                        if !self.exhausted {
                            tracing::warn!(%error, "no file for the next segment; messages are refused");
                        }
                        self.exhausted = true;
                        self.spare = Spare::Failed;
                    }
                }
            }
            Outcome::Sealed { id, result } => match result {
                Ok(mapping) => self.note_sealed(id, mapping),
                Err(error) => self.poison(&error),
            },
            Outcome::Loaded { id, offset, result } => self.note_loaded(id, offset, result),
            Outcome::Retired { id, kept, result } => self.note_retired(id, kept, result.as_ref().err()),
            Outcome::Discarded { id, result } => {
                if let Err(error) = result {
                    tracing::warn!(%error, id, "a retired segment could not be removed");
                }
            }
            Outcome::CheckpointWritten { number, result } => {
                let written = self.checkpoints.writing.take();
                match (result, written) {
                    (Ok(()), Some(place)) => {
                        if self.checkpoints.note_success(place) {
                            tracing::info!(number, "checkpoints are written again");
                            self.meters.checkpoint_failing.set(0.0);
                        }
                        self.maintenance_due = true;
                    }
                    (Err(error), _) => {
                        let reason = error.to_string();
                        if self.checkpoints.note_failure(Instant::now(), error) {
                            tracing::warn!(
                                reason,
                                number,
                                "a checkpoint could not be written; it is tried again"
                            );
                            self.meters.checkpoint_failing.set(1.0);
                        }
                    }
                    (Ok(()), None) => {}
                }
                self.write_waiting_checkpoint();
            }
        }
    }

    /// Hands every full segment whose groups are all durable to the keeper.
    pub(crate) fn seal_full_segments(&mut self) {
        let durable = self.durable;
        for segment in self.segments.values_mut() {
            if segment.state != SegmentState::Sealing || segment.last_lsn > durable || segment.is_being_sealed
            {
                continue;
            }
            let (SegmentIndex::Memory(index), Some(file)) = (&segment.index, &segment.file) else { continue };
            let footer = encode_footer(
                segment.seed,
                index,
                &segment.tombstones,
                (segment.frames_end, segment.torn_from),
                segment.last_lsn,
                segment.message_bytes,
            );
            let footer_offset = footer_offset(segment.frames_end);
            let end = footer_offset + footer.content.len() as u64 + crate::frame::BLOCK_BYTES as u64;
            segment.is_being_sealed = true;
            if end > segment.size_bytes {
                // Only a segment of another size setting can be this full: it is served from memory.
                tracing::warn!(segment = segment.id, "no room for the footer");
                continue;
            }
            self.keeper.submit(Job::Seal {
                id: segment.id,
                file: Arc::clone(file),
                footer,
                footer_offset,
                segment_bytes: segment.size_bytes,
            });
        }
    }

    fn note_sealed(&mut self, id: u64, mapping: crate::mapping::Mapping) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.become_sealed(mapping);
        }
        self.maintenance_due = true;
        self.report_gauges();
    }

    pub(super) fn note_roll(&mut self) {
        self.seal_full_segments();
        self.report_gauges();
        if self.active >= self.checkpoints.durable.1 + CHECKPOINT_SEGMENTS {
            self.request_checkpoint();
        }
    }

    fn note_retired(&mut self, id: u64, kept: bool, error: Option<&std::io::Error>) {
        if let Some(error) = error {
            tracing::warn!(%error, id, "a segment could not be retired");
            if let Some(segment) = self.segments.get_mut(&id) {
                segment.state = SegmentState::Draining;
                self.draining.push(id);
            }
            return;
        }
        if let Some(segment) = self.segments.remove(&id) {
            for (stream, _) in segment.index.streams(segment.mapping.as_deref()) {
                if let Some(found) = self.streams.get_mut(&stream) {
                    found.drop_runs(id);
                    self.forget_closed(stream);
                }
            }
        }
        self.retired_count += 1;
        self.maintenance_due = true;
        if kept {
            self.retired.push(id);
            let kept = (self.segments.len() / SEGMENTS_PER_RETIRED).clamp(1, RETIRED_KEPT_MAX);
            self.discard_retired(if self.low_space { 1 } else { kept });
        }
        self.check_space();
        self.report_gauges();
    }
}
