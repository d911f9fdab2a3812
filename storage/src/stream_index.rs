//! Where the messages of one stream are, which of them are alive, and what their leases say.
//!
//! Holds runs (a stretch of sequences in a segment) for what has left the active segment and entries for what is in
//! it. Knows no file: entries of older segments come through the segment's own index.

use crate::footer::Entry;
use crate::liveness::Liveness;
use crate::record::LeaseState;
use std::collections::{BTreeMap, HashMap};

/// A gap in a segment's sequences longer than this starts a new run, so that runs overlap little.
const RUN_GAP_MAX: u64 = 4096;

/// A stretch of one stream's sequences in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: u64,
    /// Last sequence less the first.
    span: u32,
    /// Segment numbers in runs have 32 bits: 2^32 segments of the smallest size are 128 TiB written.
    segment: u32,
    /// First entry among the stream's entries in the segment.
    pub(crate) start: u32,
    pub(crate) count: u32,
}

impl Run {
    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.span)
    }

    pub(crate) fn segment(&self) -> u64 {
        u64::from(self.segment)
    }

    /// Whether no sequence is missing in it.
    pub(crate) fn is_dense(&self) -> bool {
        u64::from(self.count) == u64::from(self.span) + 1
    }

    /// The run's own, of the stream's entries in its segment; none when those are damaged.
    pub(crate) fn among<'a>(&self, entries: &'a [Entry]) -> &'a [Entry] {
        entries.get(self.start as usize..self.start as usize + self.count as usize).unwrap_or(&[])
    }

    /// The entry of `sequence`, given the stream's entries in the run's segment.
    pub(crate) fn entry<'a>(&self, entries: &'a [Entry], sequence: u64) -> Option<&'a Entry> {
        let mine = self.among(entries);
        if self.is_dense() {
            return mine.get((sequence - self.first) as usize).filter(|e| e.sequence.get() == sequence);
        }
        mine.binary_search_by_key(&sequence, |e| e.sequence.get()).ok().map(|at| &mine[at])
    }
}

/// One stream.
pub(crate) struct Stream {
    pub(crate) liveness: Liveness,
    /// Sorted by first sequence.
    runs: Vec<Run>,
    span_max: u64,
    /// Entries in the active segment, in order of sequence.
    pub(crate) fresh: Vec<Entry>,
    /// What compaction copied into the active segment.
    pub(crate) copies: BTreeMap<u64, Entry>,
    pub(crate) leases: HashMap<u64, LeaseState>,
    /// The segment whose loss would lose the next sequence.
    pub(crate) evidence_segment: u64,
    /// The segment with the newest Purge frame, 0 for none.
    pub(crate) mark_segment: u64,
}

impl Stream {
    pub(crate) fn starting_at(next: u64) -> Self {
        Self::with_liveness(Liveness::starting_at(next))
    }

    pub(crate) fn with_liveness(liveness: Liveness) -> Self {
        Self {
            liveness,
            runs: Vec::new(),
            span_max: 0,
            fresh: Vec::new(),
            copies: BTreeMap::new(),
            leases: HashMap::new(),
            evidence_segment: 0,
            mark_segment: 0,
        }
    }

    /// Whether anything of it is in the active segment.
    pub(crate) fn is_in_active(&self) -> bool {
        !self.fresh.is_empty() || !self.copies.is_empty()
    }

    /// The entry of `sequence` if it is in the active segment.
    pub(crate) fn active_entry(&self, sequence: u64) -> Option<&Entry> {
        let fresh = || {
            let first = self.fresh.first()?.sequence.get();
            let guess = usize::try_from(sequence.checked_sub(first)?).ok()?;
            match self.fresh.get(guess) {
                Some(entry) if entry.sequence.get() == sequence => Some(entry),
                _ => self
                    .fresh
                    .binary_search_by_key(&sequence, |e| e.sequence.get())
                    .ok()
                    .map(|at| &self.fresh[at]),
            }
        };
        self.copies.get(&sequence).or_else(fresh)
    }

    /// Takes the entries out, sorted, when the active segment is full.
    pub(crate) fn take_active(&mut self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.fresh);
        if !self.copies.is_empty() {
            entries.extend(std::mem::take(&mut self.copies).into_values());
            sort_entries(&mut entries);
        }
        entries
    }

    /// Registers a segment's entries, which must be sorted.
    pub(crate) fn add_runs(&mut self, segment: u64, entries: &[Entry]) {
        let mut start = 0;
        while start < entries.len() {
            let first = entries[start].sequence.get();
            let mut end = start + 1;
            while end < entries.len() {
                let (previous, next) = (entries[end - 1].sequence.get(), entries[end].sequence.get());
                if next - previous > RUN_GAP_MAX || next - first > u64::from(u32::MAX) {
                    break;
                }
                end += 1;
            }
            let span = entries[end - 1].sequence.get() - first;
            self.add_run(Run {
                first,
                span: span as u32,
                segment: segment as u32,
                start: start as u32,
                count: (end - start) as u32,
            });
            start = end;
        }
    }

    /// Registers `first..=last`, all of them in `segment`, in this order. `false`: too many for one run.
    pub(crate) fn add_dense_run(&mut self, segment: u64, first: u64, last: u64) -> bool {
        let Ok(span) = u32::try_from(last - first) else { return false };
        let Some(count) = span.checked_add(1) else { return false };
        self.add_run(Run { first, span, segment: segment as u32, start: 0, count });
        true
    }

    fn add_run(&mut self, run: Run) {
        self.span_max = self.span_max.max(run.span.into());
        let at = self.runs.partition_point(|r| (r.first, r.segment) <= (run.first, run.segment));
        self.runs.insert(at, run);
    }

    pub(crate) fn drop_runs(&mut self, segment: u64) {
        self.runs.retain(|run| run.segment() != segment);
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Runs that may hold `sequence`, in no order of age.
    pub(crate) fn runs_around(&self, sequence: u64) -> impl Iterator<Item = &Run> {
        let after = self.runs.partition_point(|run| run.first <= sequence);
        self.runs[..after]
            .iter()
            .rev()
            .take_while(move |run| run.first + self.span_max >= sequence)
            .filter(move |run| run.last() >= sequence)
    }

    /// Ranges outside of which no entry is known, in order and without overlap.
    pub(crate) fn known_ranges(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = self.runs.iter().map(|run| (run.first, run.last())).collect();
        if let (Some(first), Some(last)) = (self.fresh.first(), self.fresh.last()) {
            ranges.push((first.sequence.get(), last.sequence.get()));
        }
        ranges.extend(self.copies.keys().map(|sequence| (*sequence, *sequence)));
        ranges.sort_unstable();
        ranges.dedup_by(|next, previous| {
            let touches = next.0 <= previous.1.saturating_add(1);
            if touches {
                previous.1 = previous.1.max(next.1);
            }
            touches
        });
        ranges
    }

    pub(crate) fn forget_leases_below(&mut self, below: u64) {
        self.leases.retain(|sequence, _| *sequence >= below);
    }
}

/// Sorts by sequence and keeps the newest of equal ones.
pub(crate) fn sort_entries(entries: &mut Vec<Entry>) {
    entries.sort_unstable_by_key(|e| (e.sequence.get(), std::cmp::Reverse(e.lsn.get())));
    entries.dedup_by_key(|e| e.sequence.get());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Kind};

    fn entries(sequences: impl IntoIterator<Item = u64>) -> Vec<Entry> {
        sequences
            .into_iter()
            .map(|sequence| Entry::of(&Frame { sequence, ..Frame::bare(Kind::Message) }, sequence * 8))
            .collect()
    }

    #[test]
    fn runs_find_a_sequence_across_overlapping_segments() {
        let mut stream = Stream::starting_at(1);
        let old = entries(1..=100);
        let copied = entries([5, 9, 50, 100_000]);
        stream.add_runs(1, &old);
        stream.add_runs(2, &copied);
        assert_eq!(stream.runs().len(), 3);
        let segments: Vec<u64> = stream.runs_around(50).map(Run::segment).collect();
        assert_eq!(segments, [2, 1]);
        let run = stream.runs_around(100_000).next().unwrap();
        assert_eq!(run.entry(&copied, 100_000).unwrap().offset.get(), 800_000);
        assert!(stream.runs_around(101).next().is_none());
        stream.drop_runs(1);
        let sparse = stream.runs_around(50).next().unwrap();
        assert!(sparse.entry(&copied, 49).is_none());
        assert!(sparse.entry(&copied, 50).is_some());
    }

    #[test]
    fn known_ranges_merge_what_touches_and_leave_holes_out() {
        let mut stream = Stream::starting_at(1);
        stream.add_runs(1, &entries(1..=10));
        stream.add_runs(2, &entries(5..=20));
        stream.add_runs(3, &entries([9000]));
        stream.fresh = entries(21..=22);
        assert_eq!(stream.known_ranges(), [(1, 22), (9000, 9000)]);
    }

    #[test]
    fn a_run_costs_at_most_24_bytes() {
        assert!(size_of::<Run>() <= 24);
    }
}
