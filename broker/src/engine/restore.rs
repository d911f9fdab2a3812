//! Rebuilds the order of service from the log at start.
//!
//! Only what was touched lately is looked at before the broker is ready: deliveries, delays, deduplication keys. What
//! needs a look at every message follows in small steps while the broker runs.

use std::sync::Arc;

use sealq_storage::Log;

use super::attempt::Attempts;
use super::command::{Effect, ReplyToken, SendItem};
use super::dedup::{DEDUP_WINDOW_MS, Original, from_key};
use super::fifo::FifoSchedule;
use super::gauges::QueueGauges;
use super::queue::{InFlight, Queue, QueueRules, Schedule};
use super::timers::Alarm;
use super::{Core, Engine};
use crate::catalog::decode;
use crate::extension::Extension;

/// The longest delay a message can have (SQS API contract, section 13).
const DELAY_MS_MAX: u64 = 900 * 1000;

/// Senders stamp messages before the log orders them: neighbours may be this far out of time order.
const STAMP_SKEW_MS: u64 = 120 * 1000;

/// Messages read in one step after the start, so that it does not stall the shard.
pub(super) const READ_STEP_MESSAGES: usize = 2_000;

/// Recent messages looked at before the broker is ready, over all queues: for a delay that still runs. What is more is
/// looked at while the broker runs; until then the counts take it for visible.
pub(super) const READ_AT_START_MESSAGES_MAX: u64 = 100_000;

/// Deduplication keys read in one step: they stand beside the bodies, which may have to come from the disk.
const READ_STEP_KEYS: usize = 500;

/// Sends that may wait for a queue's keys to be read; more are refused for the time being.
const HELD_SENDS_MAX: usize = 10_000;

impl<T: ReplyToken> Engine<T> {
    /// Adds a queue whose messages are in the log already.
    pub fn restore_queue(
        &mut self,
        now_ms: u64,
        stream: u32,
        rules: QueueRules,
        gauges: Arc<QueueGauges>,
        log: &mut Log,
    ) {
        let mut queue = Queue::new(stream, rules, gauges);
        if log.live_count(stream) > 0 {
            let read_from = self.core.restore_held(now_ms, &mut queue, log);
            if queue.rules.fifo {
                queue.schedule = Schedule::Fifo(FifoSchedule::unread_up_to(log.next_sequence(stream)));
            } else {
                let from = if queue.rules.is_dead_letter_target { Some(0) } else { read_from };
                queue.unread = from.map(|from| from..log.next_sequence(stream));
            }
        }
        if queue.rules.fifo {
            queue.unread_keys = Some(log.next_sequence(stream));
            log.keep_everything();
            queue.attempts = Attempts::restore(stream, now_ms, log);
        }
        let held = (queue.in_flight.len() + queue.delayed.len()) as u64;
        queue.visible = log.live_count(stream).saturating_sub(held);
        if queue.is_unread() {
            self.core.unread.push_back(stream);
        }
        self.core.timers.set(now_ms, Alarm::Expire { stream });
        queue.publish(log);
        self.queues.insert(stream, queue);
    }

    /// One step of what [`Self::restore_queue`] left for later, for one queue.
    pub(super) fn read_on(&mut self, now_ms: u64, log: &mut Log, out: &mut Vec<Effect<T>>) {
        let Some(stream) = self.core.unread.pop_front() else { return };
        let Some(queue) = self.queues.get_mut(&stream) else { return };
        queue.read_keys(now_ms, log);
        queue.read_on(log, READ_STEP_MESSAGES);
        self.core.read_unread(now_ms, queue, log);
        if queue.is_unread() {
            self.core.unread.push_back(stream);
        }
        self.core.dirty.push(stream);
        if queue.unread_keys.is_none() {
            for (items, reply) in std::mem::take(&mut queue.held_sends) {
                self.send(now_ms, stream, items, reply, log, out);
            }
        }
    }

    /// Keeps a send that may be a duplicate of a message whose key is not read yet. Gives its reply back when too many
    /// wait already.
    pub(super) fn hold_send(queue: &mut Queue<T>, items: Vec<SendItem>, reply: T) -> Result<(), T> {
        if queue.held_sends.len() >= HELD_SENDS_MAX {
            return Err(reply);
        }
        queue.held_sends.push_back((items, reply));
        Ok(())
    }
}

impl<T> Queue<T> {
    /// Reads what was accepted in the last five minutes, newest first.
    fn read_keys(&mut self, now_ms: u64, log: &mut Log) {
        let Some(mut below) = self.unread_keys else { return };
        let (mut read, mut keyed) = (0, Vec::new());
        let since_ms = now_ms.saturating_sub(DEDUP_WINDOW_MS);
        let from_key = from_key(self.stream);
        let counts_from: u64 =
            log.catalog().get(&*from_key).and_then(|value| decode(&from_key, value).ok()).unwrap_or(0);
        let recent = log.recent(self.stream, below, since_ms).take(READ_STEP_KEYS);
        for recent in recent.take_while(|record| record.facts().sequence >= counts_from) {
            let facts = recent.facts();
            (below, read) = (facts.sequence, read + 1);
            let Ok(Some(key)) =
                recent.extension().map(|bytes| Extension::decode(bytes).ok().and_then(|e| e.dedup_key))
            else {
                continue;
            };
            let Ok(Ok(sealed)) = recent.body().map(sealq_crypto::SealedMessage::parse) else { continue };
            let message_id = *sealed.message_id();
            let original = Original { message_id, sequence: facts.sequence, lsn: log.durable_lsn() };
            self.dedup.recall(key, facts.sent_at_ms, original);
            keyed.push((facts.sequence, facts.sent_at_ms + DEDUP_WINDOW_MS));
        }
        for (sequence, until_ms) in keyed {
            log.keep(self.stream, sequence, until_ms);
        }
        self.unread_keys = (read == READ_STEP_KEYS).then_some(below);
    }

    /// Whether a look at every message is not finished.
    fn is_unread(&self) -> bool {
        self.unread_keys.is_some()
            || self.unread.is_some()
            || matches!(&self.schedule, Schedule::Fifo(fifo) if fifo.is_unread())
    }
}

impl<T: ReplyToken> Core<T> {
    /// Deliveries whose time is running, messages that came back, delays. The first sequence that is left for later when
    /// there are too many that may be delayed.
    fn restore_held(&mut self, now_ms: u64, queue: &mut Queue<T>, log: &Log) -> Option<u64> {
        let stream = queue.stream;
        for facts in log.touched(stream) {
            if facts.receive_count > 0 && facts.visible_at_ms > now_ms {
                let hold = InFlight {
                    visible_at_ms: facts.visible_at_ms,
                    receive_count: facts.receive_count,
                    // The time of a later receive is not kept: it may have been as late as now.
                    received_at_ms: if facts.receive_count > 1 { now_ms } else { facts.first_received_at_ms },
                    group_hash: facts.group_hash,
                };
                queue.hold(facts.sequence, hold);
                let alarm = Alarm::Visible { stream, sequence: facts.sequence };
                self.timers.set(facts.visible_at_ms, alarm);
            } else if facts.receive_count > 0
                && let Schedule::Standard(standard) = &mut queue.schedule
            {
                standard.offer_known(facts.sequence);
            }
        }
        let next = log.next_sequence(stream);
        if let Schedule::Standard(standard) = &mut queue.schedule {
            standard.admit(next.saturating_sub(1));
        }
        // Messages of a FIFO queue have no delay of their own.
        let delay_ms_max = if queue.rules.fifo { queue.rules.delay_ms } else { DELAY_MS_MAX };
        if delay_ms_max == 0 {
            return None;
        }
        let mut from = first_sent_after(log, stream, now_ms.saturating_sub(delay_ms_max + STAMP_SKEW_MS));
        let left = self.read_at_start_left.checked_sub(next.saturating_sub(from));
        if left.is_none() && !queue.rules.fifo {
            return Some(from);
        }
        self.read_at_start_left = left.unwrap_or(0);
        while let Some(facts) = log.next_live(stream, from) {
            self.restore_delay(now_ms, queue, &facts);
            from = facts.sequence + 1;
        }
        None
    }

    /// Whether the message is one that waits for its delay and was not known to.
    fn restore_delay(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        facts: &sealq_storage::MessageFacts,
    ) -> bool {
        let (stream, sequence) = (queue.stream, facts.sequence);
        let at_ms = self.visible_at(queue, facts);
        let waits = facts.receive_count == 0 && at_ms > now_ms && queue.delayed.insert(sequence);
        if waits {
            self.timers.set(at_ms, Alarm::Visible { stream, sequence });
        }
        waits
    }

    /// Goes a step on with what was left for later. Among messages that were moved in, enqueue times are in no order: each
    /// has to be looked at.
    fn read_unread(&mut self, now_ms: u64, queue: &mut Queue<T>, log: &Log) {
        let Some(unread) = queue.unread.clone() else { return };
        let mut from = unread.start;
        for _ in 0..READ_STEP_MESSAGES {
            let Some(facts) = log.next_live(queue.stream, from).filter(|facts| facts.sequence < unread.end)
            else {
                queue.unread = None;
                // The oldest may have turned out to be an older one.
                self.timers.set(now_ms, Alarm::Expire { stream: queue.stream });
                return;
            };
            if facts.moved {
                queue.moved_times.note(&facts);
            } else if self.restore_delay(now_ms, queue, &facts) {
                queue.visible = queue.visible.saturating_sub(1);
            } else if facts.receive_count == 0
                && facts.visible_at_ms > facts.sent_at_ms
                && let Schedule::Standard(standard) = &mut queue.schedule
            {
                // Its delay ended before it was looked at.
                standard.offer_stepped_over(facts.sequence, facts.group_hash);
            }
            from = facts.sequence + 1;
        }
        queue.unread = Some(from..unread.end);
    }
}

/// First live sequence whose message was sent at or after `at_ms`: enqueue times ascend but for [`STAMP_SKEW_MS`]. Looks
/// back from the end in growing strides first, because recent messages are what the system has in memory.
fn first_sent_after(log: &Log, stream: u32, at_ms: u64) -> u64 {
    let is_older = |facts: &sealq_storage::MessageFacts| facts.sent_at_ms < at_ms;
    let mut high = log.next_sequence(stream);
    let mut stride = 1;
    let mut low = loop {
        let at = high.saturating_sub(stride);
        match log.next_live(stream, at) {
            Some(facts) if is_older(&facts) => break facts.sequence + 1,
            _ if at == 0 => break 0,
            _ => high = at,
        }
        stride *= 2;
    };
    while low < high {
        let middle = low + (high - low) / 2;
        match log.next_live(stream, middle) {
            Some(facts) if is_older(&facts) => low = facts.sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    low
}
