//! Enqueue times of messages that were moved into a queue: they are older than those of their neighbours, so the oldest
//! message of the queue need not be its first.
//!
//! Kept by stretches of [`STRETCH_SEQUENCES`], each with the oldest time that a moved message of it may have; a stretch
//! is read again when that message has gone. A moved message costs about two bytes.

use std::collections::{BTreeMap, BTreeSet};

use sealq_storage::{Log, MessageFacts};

const STRETCH_SEQUENCES: u64 = 32;

#[derive(Debug, Default)]
pub(super) struct MovedTimes {
    by_stretch: BTreeMap<u64, u64>,
    by_time: BTreeSet<(u64, u64)>,
}

impl MovedTimes {
    pub(super) fn note(&mut self, facts: &MessageFacts) {
        let stretch = facts.sequence / STRETCH_SEQUENCES;
        let before = self.by_stretch.get(&stretch).copied();
        if before.is_none_or(|oldest| facts.sent_at_ms < oldest) {
            self.set(stretch, Some(facts.sent_at_ms));
        }
    }

    /// Whether no moved message is older than this one, as far as is known.
    pub(super) fn is_oldest(&self, facts: &MessageFacts) -> bool {
        self.by_time.first() == Some(&(facts.sent_at_ms, facts.sequence / STRETCH_SEQUENCES))
    }

    /// A message is gone from the log.
    pub(super) fn forget(&mut self, facts: &MessageFacts, log: &Log, stream: u32) {
        let stretch = facts.sequence / STRETCH_SEQUENCES;
        if facts.moved && self.by_stretch.get(&stretch) == Some(&facts.sent_at_ms) {
            let oldest = oldest_of(stretch, log, stream);
            self.set(stretch, oldest.map(|facts| facts.sent_at_ms));
        }
    }

    /// Enqueue time of the oldest moved message, milliseconds.
    pub(super) fn oldest_sent_at_ms(&self) -> Option<u64> {
        self.by_time.first().map(|(sent_at_ms, _)| *sent_at_ms)
    }

    /// The oldest moved message.
    pub(super) fn oldest(&mut self, log: &Log, stream: u32) -> Option<MessageFacts> {
        loop {
            let (sent_at_ms, stretch) = *self.by_time.first()?;
            let oldest = oldest_of(stretch, log, stream);
            match oldest {
                Some(facts) if facts.sent_at_ms == sent_at_ms => return Some(facts),
                _ => self.set(stretch, oldest.map(|facts| facts.sent_at_ms)),
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_stretch.clear();
        self.by_time.clear();
    }

    fn set(&mut self, stretch: u64, sent_at_ms: Option<u64>) {
        let before = match sent_at_ms {
            Some(sent_at_ms) => self.by_stretch.insert(stretch, sent_at_ms),
            None => self.by_stretch.remove(&stretch),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, stretch));
        }
        if let Some(sent_at_ms) = sent_at_ms {
            self.by_time.insert((sent_at_ms, stretch));
        }
    }
}

fn oldest_of(stretch: u64, log: &Log, stream: u32) -> Option<MessageFacts> {
    let end = (stretch + 1) * STRETCH_SEQUENCES;
    let mut from = stretch * STRETCH_SEQUENCES;
    let mut oldest: Option<MessageFacts> = None;
    while let Some(facts) = log.next_live(stream, from).filter(|facts| facts.sequence < end) {
        if facts.moved && oldest.is_none_or(|oldest| facts.sent_at_ms < oldest.sent_at_ms) {
            oldest = Some(facts);
        }
        from = facts.sequence + 1;
    }
    oldest
}
