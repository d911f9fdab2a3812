//! What must be in the segments: the books that a check keeps while it goes over them.
//!
//! The newest checkpoint says which messages are alive. Every frame seen, in any order, strikes out the message that it
//! holds or ends; what is left at the end is in no file any more. LSNs and sequences have no holes, so that files and
//! messages younger than the checkpoint are missed as well.

use crate::checkpoint::Checkpoint;
use crate::frame::{FLAG_COPY, Frame, Kind, decode_prelude};
use crate::liveness::Liveness;
use crate::segment::SegmentHeader;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Messages of one stream that are in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MissingMessages {
    /// The file that held them, as far as that can be told.
    pub(super) segment: Option<u64>,
    pub(super) stream: u32,
    pub(super) first: u64,
    pub(super) last: u64,
}

#[derive(Default)]
struct Stream {
    /// Alive at the checkpoint, and not ended since.
    alive: Option<Liveness>,
    /// Those of them that were not seen yet.
    unseen: Option<Liveness>,
    /// One more than the highest sequence known of.
    next: u64,
    /// Lowest and highest sequence seen, by segment.
    spans: BTreeMap<u64, (u64, u64)>,
    /// Sequences that nothing mentions, between frames that are younger than the checkpoint.
    gaps: Vec<(u64, u64)>,
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Accounts {
    /// LSN and active segment of the checkpoint.
    checkpoint: Option<(u64, u64)>,
    streams: HashMap<u32, Stream>,
    segment: u64,
    segments: BTreeSet<u64>,
    damaged_segments: BTreeSet<u64>,
    last_lsn: u64,
    missing_segments: Vec<u64>,
    /// Frames are known to be missing: gaps in sequences are lost messages from here on.
    is_missing: bool,
}

/// Missing segment files that are named.
const MISSING_SEGMENTS_MAX: usize = 64;

impl Accounts {
    pub(super) fn starting_from(checkpoint: Option<Checkpoint>) -> Self {
        let Some(checkpoint) = checkpoint else { return Self::default() };
        let mut accounts = Self { checkpoint: Some((checkpoint.lsn, checkpoint.segment)), ..Self::default() };
        for state in checkpoint.streams {
            let (id, stream) = state.restore();
            let next = stream.liveness.next();
            let (alive, unseen) = (Some(stream.liveness.clone()), Some(stream.liveness));
            accounts.streams.insert(id, Stream { alive, unseen, next, ..Stream::default() });
        }
        accounts
    }

    pub(super) fn checkpoint_segment(&self) -> Option<u64> {
        self.checkpoint.map(|(_, segment)| segment)
    }

    /// The next segment, in order; `header` where it can be read.
    pub(super) fn begin_segment(&mut self, id: u64, header: Option<&SegmentHeader>) {
        let (checkpoint_lsn, checkpoint_segment) = self.checkpoint.unwrap_or_default();
        let previous =
            if self.segments.is_empty() { checkpoint_segment.saturating_sub(1) } else { self.segment };
        if let Some(header) = header {
            let follows = previous + 1 == id;
            let is_told = if follows {
                !self.segments.is_empty() && !header.after_open
            } else {
                self.checkpoint.is_some() && id > checkpoint_segment
            };
            if is_told && header.base_lsn > self.last_lsn.max(checkpoint_lsn) + 1 {
                self.is_missing = true;
                if !follows {
                    let first = (previous + 1).max(checkpoint_segment);
                    self.missing_segments.extend((first..id).take(MISSING_SEGMENTS_MAX));
                }
            }
        }
        self.segment = id;
        self.segments.insert(id);
    }

    /// So many frames of the present segment do not verify.
    pub(super) fn note_damage(&mut self, lost: u64) {
        self.damaged_segments.insert(self.segment);
        self.last_lsn = self.last_lsn.saturating_add(lost);
    }

    pub(super) fn see(&mut self, frame: &Frame, payload: &[u8]) {
        self.last_lsn = self.last_lsn.max(frame.lsn);
        match frame.kind {
            Kind::Message => {
                let is_young = self.checkpoint.is_none_or(|(lsn, _)| frame.lsn > lsn);
                let is_missing = self.is_missing;
                let stream = self.streams.entry(frame.stream).or_default();
                if is_missing
                    && is_young
                    && frame.flags & FLAG_COPY == 0
                    && stream.next > 0
                    && frame.sequence > stream.next
                {
                    stream.gaps.push((stream.next, frame.sequence - 1));
                }
                self.see_message(frame.stream, frame.sequence);
                if frame.is_moved()
                    && let Some((source, sequence)) = decode_prelude(payload)
                {
                    self.strike(source, sequence);
                }
            }
            Kind::Delete => self.strike(frame.stream, frame.sequence),
            Kind::Purge => {
                let stream = self.streams.entry(frame.stream).or_default();
                stream.next = stream.next.max(frame.group_hash);
                for books in [&mut stream.alive, &mut stream.unseen].into_iter().flatten() {
                    books.kill_below(frame.sequence);
                }
            }
            _ => {}
        }
    }

    /// The present segment holds this message, whole or not.
    pub(super) fn see_message(&mut self, stream: u32, sequence: u64) {
        let segment = self.segment;
        let found = self.streams.entry(stream).or_default();
        found.next = found.next.max(sequence + 1);
        let span = found.spans.entry(segment).or_insert((sequence, sequence));
        *span = (span.0.min(sequence), span.1.max(sequence));
        if let Some(unseen) = &mut found.unseen {
            unseen.kill(sequence);
        }
    }

    /// The message has ended.
    fn strike(&mut self, stream: u32, sequence: u64) {
        if let Some(Stream { alive, unseen, .. }) = self.streams.get_mut(&stream) {
            for books in [alive, unseen].into_iter().flatten() {
                books.kill(sequence);
            }
        }
    }

    /// Segment files that must have been there.
    pub(super) fn missing_segments(&self) -> Vec<u64> {
        self.missing_segments.clone()
    }

    /// Messages that must have been there, at most `max` ranges of them.
    pub(super) fn missing_messages(&self, max: usize) -> Vec<MissingMessages> {
        let mut ranges = Vec::new();
        let mut ids: Vec<u32> = self.streams.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(stream) = self.streams.get(&id) else { continue };
            let mut missing = stream.gaps.clone();
            if let (Some(alive), Some(unseen)) = (&stream.alive, &stream.unseen) {
                let mut from = 0;
                let mut range: Option<(u64, u64)> = None;
                while let Some(sequence) = unseen.next_live(from).filter(|_| missing.len() < max) {
                    range = match range {
                        // One range as long as only ended messages lie between.
                        Some((first, last)) if alive.live_between(last + 1, sequence) == 0 => {
                            Some((first, sequence))
                        }
                        ended => {
                            missing.extend(ended);
                            Some((sequence, sequence))
                        }
                    };
                    from = sequence + 1;
                }
                missing.extend(range);
            }
            for (first, last) in missing {
                let segment = self.home_of(stream, first);
                ranges.push(MissingMessages { segment, stream: id, first, last });
            }
        }
        ranges.truncate(max);
        ranges
    }

    /// The damaged segment around `sequence`, or the missing one behind the last that holds an earlier message.
    fn home_of(&self, stream: &Stream, sequence: u64) -> Option<u64> {
        let around = stream.spans.iter().find(|(segment, (first, last))| {
            (first..=last).contains(&&sequence) && self.damaged_segments.contains(segment)
        });
        if let Some((segment, _)) = around {
            return Some(*segment);
        }
        let before =
            stream.spans.iter().filter(|(_, (_, last))| *last < sequence).map(|(segment, _)| *segment).max();
        let newest = self.segments.last().copied().max(self.checkpoint_segment())?;
        let before = before.unwrap_or(0);
        let absent = (before + 1..=newest).find(|id| !self.segments.contains(id));
        absent.or_else(|| self.damaged_segments.range(before..).next().copied())
    }
}
