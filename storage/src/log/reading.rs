//! Looking things up: facts from memory and footers, records from cache, mapping or file.

use super::Log;
use crate::error::ReadError;
use crate::footer::Entry;
use crate::record::{MessageFacts, Record, RecordBytes};
use crate::stream_index::Stream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See [`Log::recent`].
const OLDER_IN_A_ROW_MAX: u32 = 1_000;

impl Log {
    /// Catalog entries by key, staged changes included.
    pub fn catalog(&self) -> &BTreeMap<Arc<[u8]>, Arc<[u8]>> {
        &self.catalog
    }

    /// Streams that ever held a message and were not closed.
    pub fn streams(&self) -> Vec<u32> {
        let open = self.streams.iter().filter(|(_, stream)| !stream.liveness.is_closed());
        let mut ids: Vec<u32> = open.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    /// The sequence that the next message of `stream` will get.
    pub fn next_sequence(&self, stream: u32) -> u64 {
        self.streams.get(&stream).map_or(self.sequence_floor, |s| s.liveness.next())
    }

    /// Messages alive in `stream`, staged changes included.
    pub fn live_count(&self, stream: u32) -> u64 {
        self.streams.get(&stream).map_or(0, |s| s.liveness.live())
    }

    /// What is known of a live message; `None` when it is dead or was never there. Never touches the body.
    pub fn facts(&self, stream: u32, sequence: u64) -> Option<MessageFacts> {
        if !self.is_live(stream, sequence) {
            return None;
        }
        let (_, entry) = self.locate(stream, sequence)?;
        Some(MessageFacts::of(&entry, self.streams.get(&stream)?.leases.get(&sequence)))
    }

    /// The first live message at or after `from_sequence`. Dead stretches are skipped chunk by chunk.
    pub fn next_live(&self, stream: u32, from_sequence: u64) -> Option<MessageFacts> {
        let found = self.streams.get(&stream)?;
        let mut from = from_sequence;
        loop {
            let sequence = found.liveness.next_live(from)?;
            if let Some(facts) = self.facts(stream, sequence) {
                return Some(facts);
            }
            from = sequence + 1;
        }
    }

    /// Live messages with lease state, in any order.
    pub fn touched(&self, stream: u32) -> Vec<MessageFacts> {
        let Some(found) = self.streams.get(&stream) else { return Vec::new() };
        found.leases.keys().filter_map(|sequence| self.facts(stream, *sequence)).collect()
    }

    /// Finds a live message's bytes. Cheap: nothing is checked or copied, unless the bytes are neither cached nor
    /// sealed yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, stream: u32, sequence: u64) -> Result<Record, ReadError> {
        if !self.is_live(stream, sequence) {
            return Err(ReadError::Absent { stream, sequence });
        }
        let lost = ReadError::Lost { stream, sequence };
        let (id, entry) = self.locate(stream, sequence).ok_or(lost)?;
        self.read_located(stream, id, &entry)
    }

    /// Messages of `stream` before sequence `below` that were enqueued at or after `since_ms`, newest first, dead ones
    /// included as long as their segment is there. What cannot be read is left out. The clock may have been set between
    /// them: older ones are passed over, up to [`OLDER_IN_A_ROW_MAX`] in a row.
    pub fn recent(&self, stream: u32, below: u64, since_ms: u64) -> impl Iterator<Item = Record> + '_ {
        // By known ranges, not by counting down: recovery skips sequences, and retired stretches may be millions long.
        let ranges = self.streams.get(&stream).map_or_else(Vec::new, Stream::known_ranges);
        ranges
            .into_iter()
            .rev()
            .flat_map(move |(first, last)| (first..below.min(last.saturating_add(1))).rev())
            .filter_map(move |sequence| self.locate(stream, sequence))
            .scan(0, move |older_in_a_row, (id, entry)| {
                let is_older = MessageFacts::of(&entry, None).sent_at_ms < since_ms;
                *older_in_a_row = if is_older { *older_in_a_row + 1 } else { 0 };
                (*older_in_a_row <= OLDER_IN_A_ROW_MAX).then_some((!is_older).then_some((id, entry)))
            })
            .flatten()
            .filter_map(move |(id, entry)| self.read_located(stream, id, &entry).ok())
    }

    fn read_located(&self, stream: u32, id: u64, entry: &Entry) -> Result<Record, ReadError> {
        let sequence = entry.sequence.get();
        let lost = || ReadError::Lost { stream, sequence };
        let segment = self.segments.get(&id).ok_or_else(lost)?;
        let lease = self.streams.get(&stream).and_then(|s| s.leases.get(&sequence));
        let offset = u64::from(entry.offset.get());
        let len = entry.span_bytes();
        let bytes = match (self.tail.find(id, offset, len), &segment.mapping) {
            // Direct writes leave nothing in the page cache: what is mapped may have to come from the disk.
            (Some((blocks, range)), _) => RecordBytes::Cached(blocks, range),
            (None, Some(mapping)) => {
                RecordBytes::Mapped(Arc::clone(mapping), offset as usize..offset as usize + len)
            }
            (None, None) => {
                let file = segment.file.as_deref().ok_or_else(lost)?;
                self.read_unsealed(id, offset, len, file)?
            }
        };
        Ok(Record::new(MessageFacts::of(entry, lease), stream, (id, offset), segment.seed, bytes))
    }

    fn read_unsealed(
        &self,
        segment: u64,
        offset: u64,
        len: usize,
        file: &dyn crate::disk::DiskFile,
    ) -> Result<RecordBytes, ReadError> {
        if segment == self.open.segment && offset >= self.open.start {
            let at = (offset - self.open.start) as usize;
            return Ok(RecordBytes::Owned(self.open.buffer.as_slice()[at..at + len].to_vec()));
        }
        // Groups that wait to be written, or are being written, are not on disk yet, whatever the cache has room for.
        let waiting = self.in_flight.iter().chain(&self.closed).find(|group| {
            let start = group.write.offset;
            group.facts.segment == segment && (start..start + group.facts.bytes as u64).contains(&offset)
        });
        if let Some(group) = waiting {
            let at = (offset - group.write.offset) as usize;
            return Ok(RecordBytes::Cached(Arc::clone(&group.write.blocks), at..at + len));
        }
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, offset).map_err(|source| ReadError::Io { segment, offset, source })?;
        Ok(RecordBytes::Owned(bytes))
    }

    pub(crate) fn is_live(&self, stream: u32, sequence: u64) -> bool {
        self.streams.get(&stream).is_some_and(|s| s.liveness.is_live(sequence))
    }

    /// The newest place of a message, alive or not.
    pub(crate) fn locate(&self, stream: u32, sequence: u64) -> Option<(u64, Entry)> {
        let found = self.streams.get(&stream)?;
        if let Some(entry) = found.active_entry(sequence) {
            return Some((self.active, *entry));
        }
        let mut newest: Option<(u64, Entry)> = None;
        for run in found.runs_around(sequence) {
            if newest.as_ref().is_some_and(|(segment, _)| *segment > run.segment()) {
                continue;
            }
            let Some(segment) = self.segments.get(&run.segment()) else { continue };
            if let Some(entry) = run.entry(segment.entries(stream), sequence) {
                newest = Some((run.segment(), *entry));
            } else if segment.index_is_damaged(stream)
                && let Some(entry) = segment.find_by_walking(stream, sequence)
            {
                newest = Some((run.segment(), entry));
            }
        }
        newest
    }
}
