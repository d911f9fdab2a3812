//! Order of service of a standard queue: oldest first, best effort, and fair between message groups.
//!
//! Messages that were never offered cost nothing here: they are those from `cursor` up to `end`, found through the log.
//! Only what came back (timeout, delay, release) stands in `ready`.
//!
//! A group is noisy when it holds more than a tenth of the queue's in-flight messages and at least thirty. Its messages
//! are stepped over while quieter ones are found within [`LOOK_AHEAD_MESSAGES`], and served when there are none, the
//! group with the fewest in flight first. Messages without a group are always quiet.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use sealq_storage::{Log, MessageFacts};

/// In-flight messages from which a group can be noisy (SQS API contract, section 9).
const NOISY_IN_FLIGHT_MIN: u32 = 30;

/// A group is noisy beyond one part in this many of the queue's in-flight messages.
const NOISY_SHARE: u32 = 10;

/// Messages of noisy groups that may be stepped over at a time; 16 bytes of memory each.
pub(super) const LOOK_AHEAD_MESSAGES: usize = 120_000;

#[derive(Debug, Default)]
pub(super) struct StandardSchedule {
    ready: BTreeSet<u64>,
    /// First sequence never looked at.
    cursor: u64,
    /// All sequences below are on disk.
    end: u64,
    /// Stepped over, by group, ascending.
    parked: BTreeMap<u64, VecDeque<u64>>,
    parked_count: usize,
    in_flight_by_group: HashMap<u64, u32>,
    in_flight: u32,
}

impl StandardSchedule {
    pub(super) fn starting_at(next_sequence: u64) -> Self {
        Self { cursor: next_sequence, end: next_sequence, ..Self::default() }
    }

    pub(super) fn admit(&mut self, sequence: u64) {
        self.end = self.end.max(sequence + 1);
    }

    /// Back in service. A message that the cursor has not reached is found by it.
    pub(super) fn offer(&mut self, sequence: u64) {
        if sequence < self.cursor {
            self.ready.insert(sequence);
        }
    }

    /// Back in service although the cursor may not have passed it (found with delivery state at start).
    pub(super) fn offer_known(&mut self, sequence: u64) {
        self.ready.insert(sequence);
    }

    /// In service, unless it stands there already: the cursor may have stepped over it while it was delayed.
    pub(super) fn offer_stepped_over(&mut self, sequence: u64, group_hash: u64) {
        if self.parked.get(&group_hash).is_none_or(|parked| !parked.contains(&sequence)) {
            self.offer(sequence);
        }
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        self.ready.remove(&sequence);
    }

    pub(super) fn hold_group(&mut self, group_hash: u64) {
        self.in_flight += 1;
        if group_hash != 0 {
            *self.in_flight_by_group.entry(group_hash).or_default() += 1;
        }
    }

    pub(super) fn release_group(&mut self, group_hash: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(count) = self.in_flight_by_group.get_mut(&group_hash) {
            *count -= 1;
            if *count == 0 {
                self.in_flight_by_group.remove(&group_hash);
            }
        }
    }

    /// The next deliverable message that `skip` does not name, taken out of service.
    pub(super) fn take(&mut self, log: &Log, stream: u32, now_ms: u64, skip: &[u64]) -> Option<MessageFacts> {
        if let Some(facts) = self.take_parked(log, stream, skip, |schedule, group| !schedule.is_noisy(group))
        {
            return Some(facts);
        }
        let found = loop {
            let Some(facts) = self.take_in_order(log, stream, now_ms, skip) else { break None };
            if facts.group_hash == 0
                || self.parked_count >= LOOK_AHEAD_MESSAGES
                || !self.is_noisy(facts.group_hash)
            {
                break Some(facts);
            }
            self.parked.entry(facts.group_hash).or_default().push_back(facts.sequence);
            self.parked_count += 1;
        };
        found.or_else(|| {
            let quietest = self
                .parked
                .keys()
                .copied()
                .min_by_key(|group| self.in_flight_by_group.get(group).copied().unwrap_or(0))?;
            self.take_parked(log, stream, skip, |_, group| group == quietest)
                .or_else(|| self.take_parked(log, stream, skip, |_, _| true))
        })
    }

    fn is_noisy(&self, group_hash: u64) -> bool {
        let held = self.in_flight_by_group.get(&group_hash).copied().unwrap_or(0);
        held >= NOISY_IN_FLIGHT_MIN && held.saturating_mul(NOISY_SHARE) > self.in_flight
    }

    /// The first live message of the first parked group that `wanted` picks.
    fn take_parked(
        &mut self,
        log: &Log,
        stream: u32,
        skip: &[u64],
        wanted: impl Fn(&Self, u64) -> bool,
    ) -> Option<MessageFacts> {
        let groups: Vec<u64> = self.parked.keys().copied().filter(|group| wanted(self, *group)).collect();
        for group in groups {
            let Some(messages) = self.parked.get_mut(&group) else { continue };
            let mut at = 0;
            let mut found = None;
            while at < messages.len() {
                if skip.contains(&messages[at]) {
                    at += 1;
                    continue;
                }
                let sequence = messages.remove(at)?;
                self.parked_count -= 1;
                found = log.facts(stream, sequence);
                if found.is_some() {
                    break;
                }
            }
            if messages.is_empty() {
                self.parked.remove(&group);
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn take_in_order(&mut self, log: &Log, stream: u32, now_ms: u64, skip: &[u64]) -> Option<MessageFacts> {
        loop {
            let fresh = self.fresh(log, stream, now_ms);
            let returned = self.ready.iter().copied().find(|sequence| !skip.contains(sequence));
            let sequence = match (returned, fresh) {
                (Some(returned), Some(fresh)) => returned.min(fresh),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => return None,
            };
            if Some(sequence) == fresh {
                self.cursor = sequence + 1;
                if skip.contains(&sequence) {
                    self.ready.insert(sequence);
                    continue;
                }
            } else {
                self.ready.remove(&sequence);
            }
            if let Some(facts) = log.facts(stream, sequence) {
                return Some(facts);
            }
        }
    }

    /// The first message at or past the cursor that is nobody's yet. Steps over delayed ones and those with delivery
    /// state: their alarms bring them back.
    fn fresh(&mut self, log: &Log, stream: u32, now_ms: u64) -> Option<u64> {
        loop {
            if self.cursor >= self.end {
                return None;
            }
            let Some(facts) = log.next_live(stream, self.cursor) else {
                self.cursor = self.end;
                return None;
            };
            if facts.sequence >= self.end {
                self.cursor = self.end;
                return None;
            }
            self.cursor = facts.sequence;
            let known = self.ready.contains(&facts.sequence);
            if facts.visible_at_ms > now_ms || facts.receive_count > 0 && known {
                self.cursor += 1;
                continue;
            }
            return Some(facts.sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cursor_stepped_over_is_offered_once() {
        let mut schedule = StandardSchedule { cursor: 10, end: 20, ..StandardSchedule::default() };
        schedule.parked.insert(7, VecDeque::from([5]));
        schedule.offer_stepped_over(5, 7);
        schedule.offer_stepped_over(15, 7);
        assert!(schedule.ready.is_empty(), "one is parked, the other still before the cursor");
        schedule.offer_stepped_over(6, 7);
        assert_eq!(schedule.ready, BTreeSet::from([6]));
    }
}
