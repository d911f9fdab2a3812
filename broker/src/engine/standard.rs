//! Order of service of a standard queue: oldest first, best effort.
//!
//! Messages that were never offered cost nothing here: they are those from `cursor` up to `end`, found through the log.
//! Only what came back (timeout, delay, release) stands in `ready`.

use std::collections::BTreeSet;

use sealq_storage::{Log, MessageFacts};

#[derive(Debug, Default)]
pub(super) struct StandardSchedule {
    ready: BTreeSet<u64>,
    /// First sequence never looked at.
    cursor: u64,
    /// All sequences below are on disk.
    end: u64,
}

impl StandardSchedule {
    pub(super) fn starting_at(next_sequence: u64) -> Self {
        Self { ready: BTreeSet::new(), cursor: next_sequence, end: next_sequence }
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

    pub(super) fn remove(&mut self, sequence: u64) {
        self.ready.remove(&sequence);
    }

    /// The next deliverable message that `skip` does not name, taken out of service.
    pub(super) fn take(&mut self, log: &Log, stream: u32, now_ms: u64, skip: &[u64]) -> Option<MessageFacts> {
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
