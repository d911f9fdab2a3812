//! What a receipt handle allows: deleting its message and changing its visibility.

use sealq_storage::{Lease, Log};

use super::command::{Effect, Outcome, Receipt, ReceiptRefusal, ReplyToken, Unavailable, VisibilityChange};
use super::gauges::QueueGauges;
use super::queue::{InFlight, Queue, Schedule};
use super::timers::Alarm;
use super::{Core, Engine};

/// Longest total time a delivery may hold a message (SQS API contract, section 6.4).
pub(super) const HOLD_MS_MAX: u64 = 12 * 60 * 60 * 1000;

impl<T: ReplyToken> Engine<T> {
    pub(super) fn delete(
        &mut self,
        now_ms: u64,
        stream: u32,
        receipts: &[Receipt],
        reply: T,
        log: &mut Log,
        out: &mut Vec<Effect<T>>,
    ) {
        let Some(queue) = self.queues.get_mut(&stream) else {
            out.push(Effect::Reply(reply, Outcome::QueueGone));
            return;
        };
        let mut settled = Vec::with_capacity(receipts.len());
        for receipt in receipts {
            let Some(facts) = log.facts(stream, receipt.sequence) else {
                settled.push(Ok(()));
                continue;
            };
            if queue.rules.fifo && !queue.holds(receipt, now_ms) {
                settled.push(Err(ReceiptRefusal::Expired));
                continue;
            }
            if let Err(unavailable) = self.core.note(log.put_delete(stream, receipt.sequence)) {
                out.push(Effect::Reply(reply, Outcome::Unavailable(unavailable)));
                return;
            }
            queue.moved_times.forget(&facts, log, stream);
            queue.forget(receipt.sequence, facts.group_hash);
            QueueGauges::add(&queue.gauges.deleted_total, 1);
            settled.push(Ok(()));
        }
        self.core.dirty.push(stream);
        self.core.await_durable(reply, Outcome::Settled(settled));
    }

    pub(super) fn change_visibility(
        &mut self,
        now_ms: u64,
        stream: u32,
        changes: &[VisibilityChange],
        reply: T,
        log: &mut Log,
        out: &mut Vec<Effect<T>>,
    ) {
        let Some(queue) = self.queues.get_mut(&stream) else {
            out.push(Effect::Reply(reply, Outcome::QueueGone));
            return;
        };
        let mut settled = Vec::with_capacity(changes.len());
        for change in changes {
            match self.core.change_one(now_ms, queue, change, log) {
                Ok(result) => settled.push(result),
                Err(unavailable) => {
                    out.push(Effect::Reply(reply, Outcome::Unavailable(unavailable)));
                    return;
                }
            }
        }
        self.core.dirty.push(stream);
        self.core.await_durable(reply, Outcome::Settled(settled));
    }
}

impl<T> Queue<T> {
    /// True while this delivery still holds the message.
    fn holds(&self, receipt: &Receipt, now_ms: u64) -> bool {
        self.in_flight
            .get(&receipt.sequence)
            .is_some_and(|hold| hold.receive_count == receipt.receive_count && hold.visible_at_ms > now_ms)
    }
}

impl<T: ReplyToken> Core<T> {
    fn change_one(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        change: &VisibilityChange,
        log: &mut Log,
    ) -> Result<Result<(), ReceiptRefusal>, Unavailable> {
        let (stream, sequence) = (queue.stream, change.receipt.sequence);
        let Some(facts) = log.facts(stream, sequence) else { return Ok(Err(ReceiptRefusal::MessageGone)) };
        if queue.rules.fifo && !queue.holds(&change.receipt, now_ms) {
            return Ok(Err(ReceiptRefusal::Expired));
        }
        let held = queue.in_flight.get(&sequence).copied();
        let received_at_ms = held.map_or(now_ms, |hold| hold.received_at_ms);
        // Whole seconds count, as they do in timeouts: the longest one may be asked for right after the receive. The
        // twelve hours end at the same moment all the same.
        let held_ms = now_ms.saturating_sub(received_at_ms) / 1_000 * 1_000;
        if held_ms + change.timeout_ms > HOLD_MS_MAX {
            return Ok(Err(ReceiptRefusal::BeyondLimit));
        }
        let visible_at_ms = (now_ms + change.timeout_ms).min(received_at_ms + HOLD_MS_MAX);
        let lease = Lease {
            stream,
            sequence,
            visible_at_ms,
            receive_count: facts.receive_count,
            first_received_at_ms: facts.first_received_at_ms,
        };
        self.note(log.put_lease(lease))?;
        match (held.is_some(), change.timeout_ms > 0) {
            (true, false) => {
                queue.release(sequence);
                queue.visible += 1;
                queue.offer(sequence, facts.group_hash);
            }
            (_, true) => {
                if held.is_none() && !queue.delayed.remove(&sequence) {
                    queue.visible = queue.visible.saturating_sub(1);
                    if let Schedule::Standard(standard) = &mut queue.schedule {
                        standard.remove(sequence);
                    }
                }
                let hold = InFlight {
                    visible_at_ms,
                    receive_count: facts.receive_count,
                    received_at_ms,
                    group_hash: facts.group_hash,
                };
                queue.hold(sequence, hold);
                self.timers.set(visible_at_ms, Alarm::Visible { stream, sequence });
            }
            (false, false) => {}
        }
        Ok(Ok(()))
    }
}
