//! Order of service of a FIFO queue: within each group, the prefix before its first held message.
//!
//! "Held" is in flight or delayed; the caller says which are. A group that has just been served goes to the back.

use std::collections::{HashMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct FifoSchedule {
    groups: HashMap<u64, Group>,
    ready: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Group {
    /// Live sequences, ascending.
    messages: VecDeque<u64>,
    /// Stands in `ready`.
    queued: bool,
}

impl FifoSchedule {
    pub(super) fn admit(&mut self, sequence: u64, group_hash: u64) {
        let messages = &mut self.groups.entry(group_hash).or_default().messages;
        debug_assert!(messages.back().is_none_or(|last| *last < sequence), "sequences ascend");
        messages.push_back(sequence);
    }

    pub(super) fn remove(&mut self, sequence: u64, group_hash: u64) {
        if let Some(group) = self.groups.get_mut(&group_hash)
            && let Ok(at) = group.messages.binary_search(&sequence)
        {
            group.messages.remove(at);
        }
    }

    /// Puts the group in line if its first message may be delivered; forgets an empty group.
    pub(super) fn reconsider(&mut self, group_hash: u64, held: impl Fn(u64) -> bool) {
        let Some(group) = self.groups.get_mut(&group_hash) else { return };
        match group.messages.front() {
            None if !group.queued => {
                self.groups.remove(&group_hash);
            }
            Some(first) if !group.queued && !held(*first) => {
                group.queued = true;
                self.ready.push_back(group_hash);
            }
            _ => {}
        }
    }

    /// The next group in line, taken out of it. Call [`Self::reconsider`] when done with it.
    pub(super) fn take_group(&mut self) -> Option<u64> {
        let group_hash = self.ready.pop_front()?;
        if let Some(group) = self.groups.get_mut(&group_hash) {
            group.queued = false;
        }
        Some(group_hash)
    }

    /// The deliverable prefix of a group, at most `max` long.
    pub(super) fn prefix(&self, group_hash: u64, max: usize, held: impl Fn(u64) -> bool) -> Vec<u64> {
        self.groups.get(&group_hash).map_or_else(Vec::new, |group| {
            group.messages.iter().copied().take_while(|sequence| !held(*sequence)).take(max).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prefix_before_the_first_held_message_is_deliverable() {
        let mut fifo = FifoSchedule::default();
        for sequence in 1..=5 {
            fifo.admit(sequence, 9);
        }
        fifo.reconsider(9, |_| false);
        let group = fifo.take_group().unwrap();
        assert_eq!(fifo.prefix(group, 10, |s| s == 3), vec![1, 2]);
        fifo.reconsider(9, |s| s == 1);
        assert_eq!(fifo.take_group(), None, "its first message is held");
        fifo.remove(1, 9);
        fifo.reconsider(9, |_| false);
        assert_eq!(fifo.take_group(), Some(9));
    }
}
