//! The live sequences of one message group, ascending: the first as it is, each other one as its distance from the one
//! before, in a byte for every seven bits. A million messages of one group take a megabyte.

use std::collections::VecDeque;

/// Sequences start at 1: this first one stands for none.
const NONE: u64 = 0;

#[derive(Debug, Default)]
pub(super) struct Sequences {
    first: u64,
    /// Most groups hold one message: the others stand apart.
    rest: Option<Box<Rest>>,
}

#[derive(Debug)]
struct Rest {
    last: u64,
    distances: VecDeque<u8>,
}

impl Sequences {
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub(super) fn first(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.first)
    }

    fn last(&self) -> u64 {
        self.rest.as_ref().map_or(self.first, |rest| rest.last)
    }

    /// Adds a sequence above all others.
    pub(super) fn push(&mut self, sequence: u64) {
        debug_assert!(sequence > self.last(), "sequences ascend");
        if self.is_empty() {
            self.first = sequence;
            return;
        }
        let first = self.first;
        let rest =
            self.rest.get_or_insert_with(|| Box::new(Rest { last: first, distances: VecDeque::new() }));
        rest.distances.extend(bytes_of(sequence - rest.last));
        rest.last = sequence;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let mut bytes = self.rest.iter().flat_map(|rest| rest.distances.iter().copied());
        let mut sequence = self.first;
        self.first().into_iter().chain(std::iter::from_fn(move || {
            sequence += read(&mut bytes)?;
            Some(sequence)
        }))
    }

    /// Takes a sequence out, wherever it stands; the nearer to the front, the faster.
    pub(super) fn remove(&mut self, sequence: u64) {
        if self.is_empty() || sequence < self.first || sequence > self.last() {
            return;
        }
        let Some(rest) = &mut self.rest else {
            self.first = NONE;
            return;
        };
        let distances = &mut rest.distances;
        let mut pop = || read(&mut std::iter::from_fn(|| distances.pop_front()));
        if sequence == self.first {
            self.first += pop().unwrap_or(0);
        } else {
            let mut before = Vec::new();
            let mut at = self.first;
            while at < sequence
                && let Some(distance) = pop()
            {
                before.push(distance);
                at += distance;
            }
            if at == sequence {
                let own = before.pop().unwrap_or(0);
                match pop() {
                    Some(next) => before.push(own + next),
                    None => rest.last = sequence - own,
                }
            }
            for distance in before.into_iter().rev() {
                for byte in bytes_of(distance).collect::<Vec<_>>().into_iter().rev() {
                    rest.distances.push_front(byte);
                }
            }
        }
        if rest.distances.is_empty() {
            self.rest = None;
        }
    }
}

/// Seven bits a byte, low ones first; the high bit says that more follow.
fn bytes_of(mut distance: u64) -> impl Iterator<Item = u8> {
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let low = (distance & 0x7f) as u8;
        distance >>= 7;
        is_over = distance == 0;
        Some(if is_over { low } else { low | 0x80 })
    })
}

fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let (mut distance, mut shift) = (0, 0);
    loop {
        let byte = bytes.next()?;
        distance |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(distance);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_an_ordered_set_holds(
            steps in proptest::collection::vec((1..100_000u64, any::<bool>(), any::<proptest::sample::Index>()), 1..200)
        ) {
            let (mut sequences, mut model, mut last) = (Sequences::default(), BTreeSet::new(), 0);
            for (gap, push, pick) in steps {
                if push || model.is_empty() {
                    last += gap;
                    sequences.push(last);
                    model.insert(last);
                } else {
                    let one = *pick.get(&model.iter().copied().collect::<Vec<_>>());
                    // One that is not there changes nothing.
                    let doomed = if gap % 5 == 0 { one + 1 } else { one };
                    sequences.remove(doomed);
                    model.remove(&doomed);
                }
                prop_assert_eq!(sequences.first(), model.first().copied());
                prop_assert!(sequences.iter().eq(model.iter().copied()));
            }
        }
    }

    #[test]
    fn a_million_neighbours_take_a_byte_each() {
        let mut sequences = Sequences::default();
        for sequence in 1..=1_000_000 {
            sequences.push(sequence);
        }
        assert_eq!(sequences.rest.as_ref().unwrap().distances.len(), 999_999);
        assert_eq!(size_of::<Sequences>(), 16);
    }
}
