//! Rebuilds the order of service from the log at start.

use std::sync::Arc;

use sealq_storage::Log;

use super::command::ReplyToken;
use super::dedup::{DEDUP_WINDOW_MS, Original};
use super::gauges::QueueGauges;
use super::queue::{InFlight, Queue, QueueRules, Schedule};
use super::timers::Alarm;
use super::{Core, Engine};
use crate::extension::Extension;

/// The longest delay a message can have (SQS API contract, section 13).
const DELAY_MS_MAX: u64 = 900 * 1000;

/// Senders stamp messages before the log orders them: neighbours may be this far out of time order.
const STAMP_SKEW_MS: u64 = 120 * 1000;

impl<T: ReplyToken> Engine<T> {
    /// Adds a queue whose messages are in the log already.
    pub fn restore_queue(
        &mut self,
        now_ms: u64,
        stream: u32,
        rules: QueueRules,
        gauges: Arc<QueueGauges>,
        log: &Log,
    ) {
        let mut queue = Queue::new(stream, rules, gauges);
        if queue.rules.fifo {
            self.core.restore_fifo(now_ms, &mut queue, log);
        } else {
            self.core.restore_standard(now_ms, &mut queue, log);
        }
        if queue.rules.is_dead_letter_target {
            let mut from = 0;
            while let Some(facts) = log.next_live(stream, from) {
                if facts.moved {
                    queue.out_of_order.insert((facts.sent_at_ms, facts.sequence));
                }
                from = facts.sequence + 1;
            }
        }
        let held = (queue.in_flight.len() + queue.delayed.len()) as u64;
        queue.visible = log.live_count(stream).saturating_sub(held);
        self.core.timers.set(now_ms, Alarm::Expire { stream });
        queue.publish(log);
        self.queues.insert(stream, queue);
    }
}

impl<T: ReplyToken> Core<T> {
    fn restore_standard(&mut self, now_ms: u64, queue: &mut Queue<T>, log: &Log) {
        let stream = queue.stream;
        let end = log.next_sequence(stream);
        for facts in log.touched(stream) {
            if facts.visible_at_ms > now_ms && facts.receive_count > 0 {
                self.restore_hold(queue, &facts);
            } else if facts.receive_count > 0
                && let Schedule::Standard(standard) = &mut queue.schedule
            {
                standard.offer_known(facts.sequence);
            }
        }
        let mut from = first_sent_after(log, stream, now_ms.saturating_sub(DELAY_MS_MAX + STAMP_SKEW_MS));
        while let Some(facts) = log.next_live(stream, from) {
            if facts.receive_count == 0 && facts.visible_at_ms > now_ms {
                queue.delayed.insert(facts.sequence);
                self.timers.set(facts.visible_at_ms, Alarm::Visible { stream, sequence: facts.sequence });
            }
            from = facts.sequence + 1;
        }
        if let Schedule::Standard(standard) = &mut queue.schedule {
            standard.admit(end.saturating_sub(1));
        }
    }

    fn restore_fifo(&mut self, now_ms: u64, queue: &mut Queue<T>, log: &Log) {
        let stream = queue.stream;
        let mut groups = Vec::new();
        let mut from = 0;
        while let Some(facts) = log.next_live(stream, from) {
            if facts.receive_count > 0 && facts.visible_at_ms > now_ms {
                self.restore_hold(queue, &facts);
            } else if facts.receive_count == 0 && self.visible_at(queue, &facts) > now_ms {
                queue.delayed.insert(facts.sequence);
                let at_ms = self.visible_at(queue, &facts);
                self.timers.set(at_ms, Alarm::Visible { stream, sequence: facts.sequence });
            }
            queue.admit(facts.sequence, facts.group_hash);
            groups.push(facts.group_hash);
            from = facts.sequence + 1;
        }
        groups.dedup();
        for group_hash in groups {
            queue.offer(0, group_hash);
        }
        for recent in log.recent(stream, now_ms.saturating_sub(DEDUP_WINDOW_MS)) {
            let Ok(Some(key)) =
                recent.extension().map(|bytes| Extension::decode(bytes).ok().and_then(|e| e.dedup_key))
            else {
                continue;
            };
            let Ok(Ok(sealed)) = recent.body().map(sealq_crypto::SealedMessage::parse) else { continue };
            let facts = recent.facts();
            let original = Original {
                message_id: *sealed.message_id(),
                sequence: facts.sequence,
                lsn: log.durable_lsn(),
            };
            queue.dedup.remember(key, facts.sent_at_ms, original);
        }
    }

    fn restore_hold(&mut self, queue: &mut Queue<T>, facts: &sealq_storage::MessageFacts) {
        let hold = InFlight {
            visible_at_ms: facts.visible_at_ms,
            receive_count: facts.receive_count,
            received_at_ms: facts.first_received_at_ms,
            group_hash: facts.group_hash,
        };
        queue.hold(facts.sequence, hold);
        let alarm = Alarm::Visible { stream: queue.stream, sequence: facts.sequence };
        self.timers.set(facts.visible_at_ms, alarm);
    }
}

/// First live sequence whose message was sent at or after `at_ms`, by bisection: enqueue times ascend but for
/// [`STAMP_SKEW_MS`].
fn first_sent_after(log: &Log, stream: u32, at_ms: u64) -> u64 {
    let (mut low, mut high) = (0, log.next_sequence(stream));
    while low < high {
        let middle = low + (high - low) / 2;
        match log.next_live(stream, middle) {
            Some(facts) if facts.sent_at_ms < at_ms => low = facts.sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    low
}
