//! Order of service of a FIFO queue: within each group, the prefix before its first held message.
//!
//! "Held" is in flight or delayed; the caller says which are. A group that has just been served goes to the back.
//! After a start, messages are read from the log in order and a few at a time: what is not read yet is not offered, and
//! a group's read messages are always its first ones.

mod sequences;

use std::collections::{HashMap, VecDeque};

use sealq_storage::Log;
use sequences::Sequences;

#[derive(Debug, Default)]
pub(super) struct FifoSchedule {
    groups: HashMap<u64, Group>,
    ready: VecDeque<u64>,
    /// Messages from here up to `end` are in the log and in no group yet.
    unread: u64,
    end: u64,
}

#[derive(Debug, Default)]
struct Group {
    messages: Sequences,
    /// Stands in `ready`.
    queued: bool,
}

impl FifoSchedule {
    /// A schedule of the messages below `end`, none of them read yet.
    pub(super) fn unread_up_to(end: u64) -> Self {
        Self { end, ..Self::default() }
    }

    /// Whether messages are left to be read.
    pub(super) fn is_unread(&self) -> bool {
        self.unread < self.end
    }

    /// Reads up to `max` messages on.
    pub(super) fn read_on(&mut self, log: &Log, stream: u32, max: usize, held: impl Fn(u64) -> bool) {
        for _ in 0..max {
            let Some(facts) = log.next_live(stream, self.unread).filter(|facts| facts.sequence < self.end)
            else {
                self.unread = self.end;
                break;
            };
            self.unread = facts.sequence + 1;
            self.groups.entry(facts.group_hash).or_default().messages.push(facts.sequence);
            self.reconsider(facts.group_hash, &held);
        }
    }

    pub(super) fn admit(&mut self, sequence: u64, group_hash: u64) {
        if !self.is_unread() {
            self.groups.entry(group_hash).or_default().messages.push(sequence);
            self.unread = sequence + 1;
        }
        self.end = sequence + 1;
    }

    pub(super) fn remove(&mut self, sequence: u64, group_hash: u64) {
        if sequence < self.unread
            && let Some(group) = self.groups.get_mut(&group_hash)
        {
            group.messages.remove(sequence);
        }
    }

    /// Puts the group in line if its first message may be delivered; forgets an empty group.
    pub(super) fn reconsider(&mut self, group_hash: u64, held: impl Fn(u64) -> bool) {
        let Some(group) = self.groups.get_mut(&group_hash) else { return };
        match group.messages.first() {
            None if !group.queued => {
                self.groups.remove(&group_hash);
            }
            Some(first) if !group.queued && !held(first) => {
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
            group.messages.iter().take_while(|sequence| !held(*sequence)).take(max).collect()
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

    #[test]
    fn a_new_message_waits_until_the_ones_before_it_are_read() {
        let mut fifo = FifoSchedule::unread_up_to(4);
        fifo.admit(7, 9);
        fifo.reconsider(9, |_| false);
        assert!(fifo.is_unread());
        assert_eq!((fifo.take_group(), fifo.end), (None, 8));
    }
}
