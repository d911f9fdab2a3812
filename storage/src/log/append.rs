//! Staging: frames enter the open group, and their effect enters memory.

use super::{CatalogPlace, ClosedGroup, GroupFacts, Log, Spare};
use crate::aligned_buffer::AlignedBuffer;
use crate::commit::GroupWrite;
use crate::error::AppendError;
use crate::footer::{Entry, SegmentIndex, StreamEntries, Tombstone, footer_bytes};
use crate::frame::{
    EXTENSION_BYTES_MAX, FLAG_LEASED, FLAG_MOVED, FLAG_QUARANTINED, Frame, Kind, PRELUDE_BYTES,
    encode_prelude, frame_span,
};
use crate::group::{Group, PAD_BYTES_MAX, PAYLOAD_BYTES_MAX};
use crate::liveness::SEQUENCE_END;
use crate::record::{Lease, LeaseState, Lsn, NewMessage, Staged};
use crate::segment::{FRAMES_START, Segment, SegmentHeader, SegmentState};
use crate::stream_index::Stream;
use crate::tail_cache::SLACK_FACTOR;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use zerocopy::byteorder::little_endian::{U32, U64};

/// The group that starts a segment: it carries the segment's header, so that a segment and its first frames become
/// durable in one write.
pub(super) fn first_group(segment: &Segment, buffer: AlignedBuffer, store_id: [u8; 16]) -> Group {
    let mut group = Group::new(segment.id, segment.seed, 0, buffer);
    let header = SegmentHeader {
        store_id,
        segment: segment.id,
        base_lsn: segment.base_lsn,
        segment_bytes: segment.size_bytes,
        after_open: segment.after_open,
    };
    group.push_header(&header.encode());
    group
}

impl Log {
    /// Stages a message at the end of its stream.
    ///
    /// # Errors
    /// [`AppendError::DiskFull`] below the free space to keep, [`AppendError::TooLarge`], [`AppendError::Closed`],
    /// [`AppendError::Poisoned`].
    pub fn put_message(&mut self, m: NewMessage<'_>) -> Result<Staged, AppendError> {
        self.check_appendable()?;
        if self.refuses_messages() {
            return Err(AppendError::DiskFull);
        }
        let prelude = m.source.map(encode_prelude);
        let prelude = prelude.as_ref().map_or(&[][..], |bytes| &bytes[..]);
        let payload_len = prelude.len() + m.extension.len() + m.body.len();
        self.check_size(payload_len, m.extension.len())?;
        self.make_room(frame_span(payload_len))?;

        let mut flags = 0;
        if m.source.is_some() {
            flags |= FLAG_MOVED;
        }
        if m.receive_count > 0 {
            flags |= FLAG_LEASED;
        }
        let floor = self.sequence_floor;
        let stream = self.streams.entry(m.stream).or_insert_with(|| Stream::starting_at(floor));
        if stream.liveness.is_closed() {
            return Err(AppendError::Closed);
        }
        let sequence = stream.liveness.push();
        let mut frame = Frame {
            flags,
            lsn: self.next_lsn,
            stream: m.stream,
            sequence,
            sent_at_ms: m.sent_at_ms,
            visible_at_ms: m.visible_at_ms,
            first_received_at_ms: m.first_received_at_ms,
            receive_count: m.receive_count,
            group_hash: m.group_hash,
            extension_len: m.extension.len() as u16,
            ..Frame::bare(Kind::Message)
        };
        self.next_lsn += 1;
        let offset = self.open.push(&mut frame, &[prelude, m.extension, m.body]);
        if !stream.is_in_active() {
            self.active_streams.push(m.stream);
        }
        stream.fresh.push(Entry::of(&frame, offset));
        stream.evidence_segment = self.active;
        if m.receive_count > 0 {
            stream.leases.insert(sequence, LeaseState::of(&frame));
        }
        self.active_entries += 1;
        if let Some(segment) = self.segments.get_mut(&self.active) {
            segment.note_message(&frame);
            segment.live_count += 1;
        }
        if let Some((stream, sequence)) = m.source {
            self.bury(stream, sequence, 0);
        }
        Ok(Staged { lsn: Lsn(frame.lsn), sequence })
    }

    /// Stages a change of visibility. Of a message that is not alive: nothing to do, durable with what is staged.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`]; [`AppendError::DiskFull`] when even the reserve is used up.
    pub fn put_lease(&mut self, l: Lease) -> Result<Lsn, AppendError> {
        self.check_appendable()?;
        if !self.is_live(l.stream, l.sequence) {
            return Ok(Lsn(self.next_lsn - 1));
        }
        let mut frame = Frame {
            flags: FLAG_LEASED,
            stream: l.stream,
            sequence: l.sequence,
            visible_at_ms: l.visible_at_ms,
            first_received_at_ms: l.first_received_at_ms,
            receive_count: l.receive_count,
            ..Frame::bare(Kind::Lease)
        };
        let lsn = self.stage(&mut frame, &[])?;
        if let Some(stream) = self.streams.get_mut(&l.stream) {
            stream.leases.insert(l.sequence, LeaseState::of(&frame));
        }
        Ok(lsn)
    }

    /// Stages the end of a message. Of one that is not alive: nothing to do, durable with what is staged.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`]; [`AppendError::DiskFull`] when even the reserve is used up.
    pub fn put_delete(&mut self, stream: u32, sequence: u64) -> Result<Lsn, AppendError> {
        self.put_end(stream, sequence, 0)
    }

    fn put_end(&mut self, stream: u32, sequence: u64, flags: u8) -> Result<Lsn, AppendError> {
        self.check_appendable()?;
        if !self.is_live(stream, sequence) {
            return Ok(Lsn(self.next_lsn - 1));
        }
        let mut frame = Frame { stream, sequence, flags, ..Frame::bare(Kind::Delete) };
        let lsn = self.stage(&mut frame, &[])?;
        self.bury(stream, sequence, flags);
        Ok(lsn)
    }

    /// Stages the end of everything below `below_sequence`.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`]; [`AppendError::DiskFull`] when even the reserve is used up.
    pub fn put_purge(&mut self, stream: u32, below_sequence: u64) -> Result<Lsn, AppendError> {
        self.check_appendable()?;
        let Some(found) = self.streams.get(&stream) else { return Ok(Lsn(self.next_lsn - 1)) };
        let below = below_sequence.min(found.liveness.next());
        if below <= found.liveness.low() {
            return Ok(Lsn(self.next_lsn - 1));
        }
        let next = found.liveness.next();
        let lsn = self.stage_mark(stream, below, next)?;
        self.forget_below(stream, below);
        self.maintenance_due = true;
        Ok(lsn)
    }

    /// Stages the end of a stream: of all its messages, and of its number, which must never be given out again. The
    /// log forgets it when no segment holds anything of it.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`]; [`AppendError::DiskFull`] when even the reserve is used up.
    pub fn put_close(&mut self, stream: u32) -> Result<Lsn, AppendError> {
        self.check_appendable()?;
        if self.streams.get(&stream).is_none_or(|found| found.liveness.is_closed()) {
            return Ok(Lsn(self.next_lsn - 1));
        }
        let lsn = self.stage_mark(stream, SEQUENCE_END, SEQUENCE_END)?;
        self.forget_below(stream, SEQUENCE_END);
        if let Some(found) = self.streams.get_mut(&stream) {
            found.liveness.skip_to(SEQUENCE_END);
        }
        self.forget_closed(stream);
        self.release(stream);
        Ok(lsn)
    }

    /// A closed stream of which no segment holds a message any more needs no place in memory.
    pub(crate) fn forget_closed(&mut self, stream: u32) {
        let is_over = |s: &Stream| s.liveness.is_closed() && s.runs().is_empty() && !s.is_in_active();
        if self.streams.get(&stream).is_some_and(is_over) {
            self.streams.remove(&stream);
        }
    }

    /// Stages a catalog entry.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`] for the key or the whole; [`AppendError::Poisoned`]; [`AppendError::DiskFull`] when
    /// even the reserve is used up.
    pub fn put_catalog(&mut self, key: &[u8], value: &[u8]) -> Result<Lsn, AppendError> {
        self.check_appendable()?;
        self.check_size(key.len() + value.len(), key.len())?;
        let lsn = self.stage_catalog(key, value)?;
        self.catalog.insert(key.into(), value.into());
        Ok(lsn)
    }

    /// Stages the end of a catalog entry.
    ///
    /// # Errors
    /// As [`Log::put_catalog`].
    pub fn delete_catalog(&mut self, key: &[u8]) -> Result<Lsn, AppendError> {
        self.check_appendable()?;
        self.check_size(key.len(), key.len())?;
        if self.catalog.remove(key).is_none() {
            return Ok(Lsn(self.next_lsn - 1));
        }
        self.catalog_places.remove(key);
        self.stage_catalog_delete(key)
    }

    /// A message of the last group whose payload a crash cut short is not in the state, but its header stands in the
    /// segment: a tombstone keeps it from coming back should the checkpoints be lost.
    pub(super) fn bury_torn(&mut self, stream: u32, sequence: u64) {
        let mut frame = Frame { stream, sequence, flags: FLAG_QUARANTINED, ..Frame::bare(Kind::Delete) };
        if self.stage(&mut frame, &[]).is_ok() {
            self.note_tombstone(stream, sequence, FLAG_QUARANTINED);
        }
    }

    /// Takes a record that its reader found damaged out of service, for good.
    pub fn quarantine(&mut self, stream: u32, sequence: u64) {
        if !self.is_live(stream, sequence) {
            return;
        }
        tracing::error!(stream, sequence, "a record is damaged and is not served any more");
        self.quarantined += 1;
        self.meters.quarantined.increment(1);
        if self.put_end(stream, sequence, FLAG_QUARANTINED).is_err() {
            self.bury(stream, sequence, FLAG_QUARANTINED);
        }
    }

    /// Twice, because one damaged frame must not cost a queue or a key.
    pub(crate) fn stage_catalog(&mut self, key: &[u8], value: &[u8]) -> Result<Lsn, AppendError> {
        let mut frame = Frame { extension_len: key.len() as u16, ..Frame::bare(Kind::CatalogPut) };
        self.stage(&mut frame, &[key, value])?;
        let lsn = self.stage(&mut frame, &[key, value])?;
        self.catalog_places.insert(key.into(), CatalogPlace { segment: self.active });
        self.catalog_deleted.remove(key);
        Ok(lsn)
    }

    pub(crate) fn stage_catalog_delete(&mut self, key: &[u8]) -> Result<Lsn, AppendError> {
        let mut frame = Frame { extension_len: key.len() as u16, ..Frame::bare(Kind::CatalogDelete) };
        self.stage(&mut frame, &[key])?;
        let lsn = self.stage(&mut frame, &[key])?;
        self.catalog_deleted.insert(key.into(), self.active);
        Ok(lsn)
    }

    /// A Purge frame: everything below `below` is dead, and the stream's next sequence is `next`. Twice, because one
    /// damaged frame must not bring a whole queue back.
    pub(crate) fn stage_mark(&mut self, stream: u32, below: u64, next: u64) -> Result<Lsn, AppendError> {
        // In a group behind all that it builds upon: of a torn group it could survive alone, and end a message whose
        // move to another stream was lost.
        if self.open.has_other_than_marks() {
            self.close_group();
        }
        let mut frame = Frame { stream, sequence: below, group_hash: next, ..Frame::bare(Kind::Purge) };
        self.stage(&mut frame, &[])?;
        let lsn = self.stage(&mut frame, &[])?;
        self.active_marks.insert(stream, next);
        if let Some(found) = self.streams.get_mut(&stream) {
            found.evidence_segment = self.active;
            found.mark_segment = self.active;
        }
        Ok(lsn)
    }

    pub(crate) fn stage_tombstone(&mut self, tombstone: &Tombstone) -> Result<Lsn, AppendError> {
        let mut frame = Frame {
            stream: tombstone.stream.get(),
            sequence: tombstone.sequence.get(),
            flags: tombstone.flags.get() as u8 & FLAG_QUARANTINED,
            ..Frame::bare(Kind::Delete)
        };
        let lsn = self.stage(&mut frame, &[])?;
        self.note_tombstone(frame.stream, frame.sequence, frame.flags);
        Ok(lsn)
    }

    /// Makes room, gives the frame its LSN and lays it into the open group.
    pub(crate) fn stage(&mut self, frame: &mut Frame, parts: &[&[u8]]) -> Result<Lsn, AppendError> {
        self.make_room(frame_span(parts.iter().map(|part| part.len()).sum()))?;
        frame.lsn = self.next_lsn;
        self.next_lsn += 1;
        self.open.push(frame, parts);
        Ok(Lsn(frame.lsn))
    }

    /// The message is dead in memory; its tombstone is in the active segment.
    fn bury(&mut self, stream: u32, sequence: u64, flags: u8) {
        let Some(segment) = self.locate(stream, sequence).map(|(segment, _)| segment) else {
            if let Some(found) = self.streams.get_mut(&stream) {
                found.liveness.kill(sequence);
                found.leases.remove(&sequence);
            }
            self.note_tombstone(stream, sequence, flags);
            return;
        };
        let Some(found) = self.streams.get_mut(&stream) else { return };
        if !found.liveness.kill(sequence) {
            return;
        }
        found.leases.remove(&sequence);
        self.note_dead(segment, 1);
        self.note_tombstone(stream, sequence, flags);
    }

    pub(crate) fn note_tombstone(&mut self, stream: u32, sequence: u64, flags: u8) {
        if let Some(active) = self.segments.get_mut(&self.active) {
            active.tombstones.push(Tombstone {
                stream: U32::new(stream),
                flags: U32::new(flags.into()),
                sequence: U64::new(sequence),
            });
        }
    }

    pub(crate) fn note_dead(&mut self, segment: u64, count: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            let was_sparse = segment.is_sparse();
            segment.live_count = segment.live_count.saturating_sub(count);
            let becomes = segment.live_count == 0 || (!was_sparse && segment.is_sparse());
            self.maintenance_due |= becomes && segment.state == SegmentState::Sealed;
        }
    }

    /// Kills everything of `stream` below `below`, by runs and chunks.
    fn forget_below(&mut self, stream: u32, below: u64) {
        let Some(found) = self.streams.get_mut(&stream) else { return };
        let mut died = Vec::new();
        for run in found.runs().iter().take_while(|run| run.first < below) {
            died.push((run.segment(), found.liveness.live_between(run.first, below.min(run.last() + 1))));
        }
        let in_active = found.fresh.partition_point(|e| e.sequence.get() < below);
        let mut active =
            found.fresh[..in_active].iter().filter(|e| found.liveness.is_live(e.sequence.get())).count();
        active +=
            found.copies.range(..below).filter(|(sequence, _)| found.liveness.is_live(**sequence)).count();
        died.push((self.active, active as u64));
        found.liveness.kill_below(below);
        found.forget_leases_below(below);
        for (segment, count) in died {
            self.note_dead(segment, count);
        }
    }

    fn check_size(&self, payload_len: usize, extension_len: usize) -> Result<(), AppendError> {
        // Header block, pad, a footer of one entry: what is left of an otherwise empty segment.
        let overhead = FRAMES_START as usize + PAD_BYTES_MAX + footer_bytes(2, 2, 2) + 2 * frame_span(0);
        let fits = (self.options.segment_bytes as usize).saturating_sub(overhead + PRELUDE_BYTES);
        let max_bytes = fits.min(PAYLOAD_BYTES_MAX);
        if payload_len > max_bytes {
            return Err(AppendError::TooLarge { bytes: payload_len, max_bytes });
        }
        if extension_len > EXTENSION_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: extension_len, max_bytes: EXTENSION_BYTES_MAX });
        }
        Ok(())
    }

    /// Afterwards a frame of `span` bytes fits into the open group and its segment, footer included.
    pub(crate) fn make_room(&mut self, span: usize) -> Result<(), AppendError> {
        let (tombstones, size_bytes) = self
            .segments
            .get(&self.active)
            .map_or((0, 0), |active| (active.tombstones.len(), active.size_bytes));
        let streams = self.active_streams.len() + self.active_marks.len() + 1;
        // A moved message adds an entry and a tombstone.
        let footer = footer_bytes(self.active_entries + 1, streams, tombstones + 1);
        let end = self.open.end() as usize + span + PAD_BYTES_MAX + footer;
        if end as u64 > size_bytes {
            return self.roll();
        }
        if !self.open.fits(span) {
            self.close_group();
        }
        Ok(())
    }

    /// Closes the open group: it will be written as it is, and a new one follows behind it.
    pub(super) fn close_group(&mut self) {
        let lsn = self.next_lsn;
        self.next_lsn += 1;
        self.open.close(lsn);
        let Some(active) = self.segments.get_mut(&self.active) else { return };
        // The active segment has its file.
        let Some(file) = active.file.clone() else { return };
        active.frames_end = self.open.end();
        active.last_lsn = lsn;
        let len = self.open.buffer.len();
        self.pace
            .note_callers((len - FRAMES_START.min(len as u64) as usize).saturating_sub(self.copied_in_group));
        self.copied_in_group = 0;
        let next = Group::new(active.id, active.seed, active.frames_end, self.tail.buffer(len + len / 4));
        let group = std::mem::replace(&mut self.open, next);
        // A buffer that is mostly empty would fill the cache with nothing.
        let blocks = if group.buffer.capacity_bytes() > SLACK_FACTOR * len {
            AlignedBuffer::from_slice(group.buffer.as_slice())
        } else {
            group.buffer
        };
        let blocks = Arc::new(blocks);
        self.tail.push(group.segment, group.start, Arc::clone(&blocks));
        let write = GroupWrite { file, blocks, offset: group.start };
        let facts = GroupFacts {
            segment: group.segment,
            last_lsn: group.last_lsn,
            records: group.records,
            bytes: len,
            opened: group.opened,
        };
        self.closed_bytes += len;
        self.closed.push_back(ClosedGroup { write, facts });
    }

    /// Goes on in the next segment.
    fn roll(&mut self) -> Result<(), AppendError> {
        while matches!(self.spare, Spare::Preparing) {
            match self.keeper.next() {
                Some(outcome) => self.note_outcome(outcome),
                None => return Err(AppendError::DiskFull),
            }
        }
        self.check_appendable()?;
        let Spare::Ready(id, file) = std::mem::replace(&mut self.spare, Spare::None) else {
            self.prepare_spare();
            return Err(AppendError::DiskFull);
        };
        if self.open.has_frames() {
            self.close_group();
        }
        self.end_active();
        let segment = Segment::new(id, file, self.options.segment_bytes, self.store_id, self.next_lsn);
        let buffer = std::mem::take(&mut self.open.buffer);
        self.open = first_group(&segment, buffer, self.store_id);
        self.segments.insert(id, segment);
        self.active = id;
        self.active_entries = 0;
        self.rolled = Instant::now();
        self.prepare_spare();
        self.note_roll();
        Ok(())
    }

    /// Nothing more goes into the active segment.
    fn end_active(&mut self) {
        let index = self.take_active_index();
        if let Some(full) = self.segments.get_mut(&self.active) {
            full.index = SegmentIndex::Memory(index);
            full.state = SegmentState::Sealing;
        }
    }

    /// Writes the active segment's footer before the log is closed, if there is anything in it.
    pub(super) fn seal_active(&mut self) {
        let is_empty = |segment: &Segment| segment.frames_end == FRAMES_START;
        if self.segments.get(&self.active).is_some_and(|active| !is_empty(active)) {
            self.end_active();
            self.seal_full_segments();
        }
    }

    /// Moves what streams have in the active segment into that segment's index.
    fn take_active_index(&mut self) -> BTreeMap<u32, StreamEntries> {
        let mut index = BTreeMap::<u32, StreamEntries>::new();
        for id in std::mem::take(&mut self.active_streams) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let entries = stream.take_active();
            stream.add_runs(self.active, &entries);
            let next_sequence = entries.last().map_or(0, |e| e.sequence.get() + 1);
            index.insert(id, StreamEntries { entries, next_sequence });
        }
        for (id, next) in std::mem::take(&mut self.active_marks) {
            let found = index.entry(id).or_default();
            found.next_sequence = found.next_sequence.max(next);
        }
        index
    }
}
