//! Which sequences of one stream are alive, in a few bits for what is dead and nothing for what is alive.
//!
//! Everything below the low watermark is dead; above it, chunks of 4,096 sequences hold a bitmap only when some, but
//! not all, of them are dead. Knows no location, no lease and no disk.

use crate::frame::U48_MAX;
use std::collections::BTreeMap;

/// Frames have 48 bits for a sequence. A stream whose next sequence this is takes no more messages: it is closed.
pub(crate) const SEQUENCE_END: u64 = U48_MAX;
/// Sequences a chunk.
pub(crate) const CHUNK_SEQUENCES: u64 = 4096;
const CHUNK_WORDS: usize = (CHUNK_SEQUENCES / 64) as usize;

/// Invariants: `low <= next`; no chunk lies wholly below `low`; `live` counts the sequences of `low..next` that no
/// chunk calls dead; `low` is alive unless `low == next`.
#[derive(Clone, Debug)]
pub(crate) struct Liveness {
    low: u64,
    next: u64,
    live: u64,
    chunks: BTreeMap<u64, Chunk>,
}

#[derive(Clone, Debug)]
enum Chunk {
    /// Every sequence of it is dead.
    Dead,
    /// A set bit is a dead sequence.
    Holes(Box<[u64; CHUNK_WORDS]>),
}

impl Liveness {
    /// An empty stream whose first sequence will be `next`.
    pub(crate) fn starting_at(next: u64) -> Self {
        Self { low: next, next, live: 0, chunks: BTreeMap::new() }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Everything below is dead.
    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    pub(crate) fn is_live(&self, sequence: u64) -> bool {
        sequence >= self.low && sequence < self.next && !self.bit(sequence)
    }

    /// Gives out the next sequence, alive.
    pub(crate) fn push(&mut self) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.live += 1;
        sequence
    }

    /// Whether the stream has given out its last sequence.
    pub(crate) fn is_closed(&self) -> bool {
        self.next >= SEQUENCE_END
    }

    /// Brings `sequence` to life; sequences between the end and it were never seen and are dead. A closed stream stays
    /// as it is.
    pub(crate) fn insert(&mut self, sequence: u64) {
        if self.is_closed() || sequence >= SEQUENCE_END {
            return;
        }
        if sequence >= self.next {
            self.skip_to(sequence);
            self.push();
        } else if sequence < self.low {
            let end = self.low;
            self.low = sequence;
            self.live += 1;
            self.mark_dead(sequence + 1, end);
            // A hole that the watermark had passed keeps its bit.
            self.clear_bit(sequence);
        } else if self.bit(sequence) {
            self.clear_bit(sequence);
            self.live += 1;
        }
    }

    /// Kills everything below `below` and raises the next sequence to `next`, in this order: what a purge of a stream
    /// whose end was lost leaves must not be filled up first.
    pub(crate) fn purge(&mut self, below: u64, next: u64) {
        self.kill_below(below);
        self.skip_to(next);
    }

    /// Raises the next sequence; what lies between is dead.
    pub(crate) fn skip_to(&mut self, next: u64) {
        let next = next.min(SEQUENCE_END);
        if next <= self.next {
            return;
        }
        let from = self.next;
        self.next = next;
        if self.live == 0 {
            self.chunks.clear();
            self.low = next;
        } else {
            self.mark_dead(from, next);
        }
    }

    /// Whether it was alive.
    pub(crate) fn kill(&mut self, sequence: u64) -> bool {
        if !self.is_live(sequence) {
            return false;
        }
        self.live -= 1;
        if sequence == self.low {
            self.low += 1;
            self.settle_low();
        } else {
            self.mark_dead(sequence, sequence + 1);
        }
        true
    }

    /// Kills everything below `below`; how many died.
    pub(crate) fn kill_below(&mut self, below: u64) -> u64 {
        let below = below.min(self.next);
        if below <= self.low {
            return 0;
        }
        let died = self.live_between(self.low, below);
        self.live -= died;
        self.low = below;
        self.settle_low();
        died
    }

    /// The first live sequence at or after `from`.
    pub(crate) fn next_live(&self, from: u64) -> Option<u64> {
        let mut at = from.max(self.low);
        while at < self.next {
            match self.chunks.get(&(at / CHUNK_SEQUENCES)) {
                None => return Some(at),
                Some(Chunk::Dead) => at = (at / CHUNK_SEQUENCES + 1) * CHUNK_SEQUENCES,
                Some(Chunk::Holes(words)) => {
                    let base = at / CHUNK_SEQUENCES * CHUNK_SEQUENCES;
                    let mut word = ((at - base) / 64) as usize;
                    let mut alive = !words[word] & (u64::MAX << (at % 64));
                    while alive == 0 && word + 1 < CHUNK_WORDS {
                        word += 1;
                        alive = !words[word];
                    }
                    if alive != 0 {
                        let found = base + word as u64 * 64 + u64::from(alive.trailing_zeros());
                        return (found < self.next).then_some(found);
                    }
                    at = base + CHUNK_SEQUENCES;
                }
            }
        }
        None
    }

    /// How many of `from..to` are alive, chunk by chunk.
    pub(crate) fn live_between(&self, from: u64, to: u64) -> u64 {
        let (from, to) = (from.max(self.low), to.min(self.next));
        if from >= to {
            return 0;
        }
        let mut dead = 0;
        for (index, chunk) in self.chunks.range(from / CHUNK_SEQUENCES..=(to - 1) / CHUNK_SEQUENCES) {
            let base = index * CHUNK_SEQUENCES;
            let (start, end) = (from.max(base), to.min(base + CHUNK_SEQUENCES));
            dead += match chunk {
                Chunk::Dead => end - start,
                Chunk::Holes(words) => count_bits(words, (start - base) as usize, (end - base) as usize),
            };
        }
        to - from - dead
    }

    /// The chunks with holes, for a checkpoint: `None` means wholly dead.
    pub(crate) fn holes(&self) -> impl Iterator<Item = (u64, Option<&[u64]>)> {
        self.chunks.iter().map(|(index, chunk)| match chunk {
            Chunk::Dead => (*index, None),
            Chunk::Holes(words) => (*index, Some(&words[..])),
        })
    }

    /// Rebuilds from a checkpoint. Counts what lives itself, so that no number from disk is believed.
    pub(crate) fn restore(low: u64, next: u64, holes: Vec<(u64, Option<Vec<u64>>)>) -> Self {
        let mut chunks = BTreeMap::new();
        for (index, words) in holes {
            let chunk = match words {
                None => Chunk::Dead,
                Some(words) => match <[u64; CHUNK_WORDS]>::try_from(words) {
                    Ok(words) => Chunk::Holes(Box::new(words)),
                    Err(_) => continue,
                },
            };
            chunks.insert(index, chunk);
        }
        let mut restored = Self { low: low.min(next), next, live: 0, chunks };
        restored.live = restored.live_between(restored.low, next);
        restored.settle_low();
        restored
    }

    fn bit(&self, sequence: u64) -> bool {
        match self.chunks.get(&(sequence / CHUNK_SEQUENCES)) {
            None => false,
            Some(Chunk::Dead) => true,
            Some(Chunk::Holes(words)) => {
                let at = (sequence % CHUNK_SEQUENCES) as usize;
                words[at / 64] >> (at % 64) & 1 == 1
            }
        }
    }

    fn clear_bit(&mut self, sequence: u64) {
        if let Some(chunk) = self.chunks.get_mut(&(sequence / CHUNK_SEQUENCES)) {
            if matches!(chunk, Chunk::Dead) {
                *chunk = Chunk::Holes(Box::new([u64::MAX; CHUNK_WORDS]));
            }
            if let Chunk::Holes(words) = chunk {
                let at = (sequence % CHUNK_SEQUENCES) as usize;
                words[at / 64] &= !(1 << (at % 64));
            }
        }
    }

    /// Sets the bits of `from..to`; does not touch `live`.
    fn mark_dead(&mut self, from: u64, to: u64) {
        let mut at = from;
        while at < to {
            let index = at / CHUNK_SEQUENCES;
            let base = index * CHUNK_SEQUENCES;
            let end = to.min(base + CHUNK_SEQUENCES);
            if at == base && end == base + CHUNK_SEQUENCES {
                self.chunks.insert(index, Chunk::Dead);
            } else {
                let chunk =
                    self.chunks.entry(index).or_insert_with(|| Chunk::Holes(Box::new([0; CHUNK_WORDS])));
                if let Chunk::Holes(words) = chunk {
                    for sequence in at..end {
                        let bit = (sequence % CHUNK_SEQUENCES) as usize;
                        words[bit / 64] |= 1 << (bit % 64);
                    }
                    if words.iter().all(|word| *word == u64::MAX) {
                        *chunk = Chunk::Dead;
                    }
                }
            }
            at = end;
        }
    }

    /// Moves `low` to the first live sequence and drops the chunks below it.
    fn settle_low(&mut self) {
        self.low = self.next_live(self.low).unwrap_or(self.next);
        let keep = self.low / CHUNK_SEQUENCES;
        while let Some(entry) = self.chunks.first_entry() {
            if *entry.key() >= keep && self.live != 0 {
                break;
            }
            entry.remove();
        }
    }
}

fn count_bits(words: &[u64; CHUNK_WORDS], start: usize, end: usize) -> u64 {
    let mut count = 0;
    for (index, word) in words.iter().enumerate().take(end.div_ceil(64)).skip(start / 64) {
        let base = index * 64;
        let low = start.saturating_sub(base).min(64);
        let high = (end - base).min(64);
        let mask = if high == 64 { u64::MAX } else { (1 << high) - 1 }
            & u64::MAX.checked_shl(low as u32).unwrap_or(0);
        count += u64::from((word & mask).count_ones());
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn deletes_in_order_leave_no_chunk_behind() {
        let mut liveness = Liveness::starting_at(1);
        for _ in 0..20_000 {
            liveness.push();
        }
        for sequence in 1..=20_000 {
            assert!(liveness.kill(sequence));
            assert!(liveness.chunks.len() <= 1);
        }
        assert_eq!((liveness.live(), liveness.low(), liveness.next()), (0, 20_001, 20_001));
        assert!(liveness.chunks.is_empty());
    }

    #[test]
    fn dead_chunks_above_a_stuck_message_cost_no_bitmap_and_are_skipped() {
        let mut liveness = Liveness::starting_at(1);
        for _ in 0..100_000 {
            liveness.push();
        }
        for sequence in 2..100_000 {
            liveness.kill(sequence);
        }
        assert!(liveness.chunks.values().filter(|chunk| matches!(chunk, Chunk::Holes(_))).count() <= 2);
        assert_eq!(liveness.next_live(2), Some(100_000));
    }

    #[test]
    fn a_closed_stream_holds_nothing_and_takes_nothing() {
        let mut liveness = Liveness::starting_at(1);
        for _ in 0..10_000 {
            liveness.push();
        }
        liveness.kill(5000);
        liveness.purge(SEQUENCE_END, SEQUENCE_END);
        assert!(liveness.is_closed());
        liveness.insert(7);
        liveness.insert(SEQUENCE_END);
        liveness.skip_to(u64::MAX);
        assert_eq!((liveness.live(), liveness.low(), liveness.next()), (0, SEQUENCE_END, SEQUENCE_END));
        assert!(liveness.chunks.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u16),
        Kill(u32),
        KillBelow(u32),
        Insert(u32),
        SkipTo(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1u16..3000).prop_map(Step::Push),
            (0u32..30_000).prop_map(Step::Kill),
            (0u32..30_000).prop_map(Step::KillBelow),
            (1u32..30_000).prop_map(Step::Insert),
            (1u32..30_000).prop_map(Step::SkipTo),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec(step(), 1..60)) {
            let mut liveness = Liveness::starting_at(1);
            let (mut model, mut next) = (BTreeSet::new(), 1u64);
            for step in steps {
                match step {
                    Step::Push(count) => for _ in 0..count {
                        prop_assert_eq!(liveness.push(), next);
                        model.insert(next);
                        next += 1;
                    },
                    Step::Kill(at) => prop_assert_eq!(liveness.kill(at.into()), model.remove(&at.into())),
                    Step::KillBelow(at) => {
                        let kept = model.split_off(&u64::from(at).min(next));
                        prop_assert_eq!(liveness.kill_below(at.into()), model.len() as u64);
                        model = kept;
                    }
                    Step::Insert(at) => {
                        liveness.insert(at.into());
                        model.insert(at.into());
                        next = next.max(u64::from(at) + 1);
                    }
                    Step::SkipTo(at) => {
                        liveness.skip_to(at.into());
                        next = next.max(at.into());
                    }
                }
                prop_assert_eq!(liveness.live(), model.len() as u64);
                prop_assert_eq!(liveness.next(), next);
                let low = model.first().copied().unwrap_or(next);
                prop_assert_eq!(liveness.low(), low);
                for from in [0, low, next / 2, next] {
                    prop_assert_eq!(liveness.next_live(from), model.range(from..).next().copied());
                }
                prop_assert_eq!(liveness.live_between(next / 3, next / 2), model.range(next / 3..next / 2).count() as u64);
            }
            let holes = liveness.holes().map(|(i, w)| (i, w.map(<[u64]>::to_vec))).collect();
            let restored = Liveness::restore(liveness.low(), liveness.next(), holes);
            prop_assert_eq!(restored.live(), liveness.live());
        }
    }
}
