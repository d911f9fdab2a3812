//! Receiving: which messages a consumer gets, and the lease that hides them from the others.

use sealq_storage::{Lease, Log, Lsn, MessageFacts};

use super::command::{Delivery, Effect, Outcome, Receipt, ReceiveRequest, ReplyToken};
use super::gauges::QueueGauges;
use super::queue::{IN_FLIGHT_MAX, InFlight, Queue, Schedule, Waiter};
use super::timers::Alarm;
use super::{Core, Engine};

/// Messages that may be expired or moved away in one receive, so that it does not stall the shard.
const DEPARTURES_MAX: usize = 1_000;

/// What became of a message that was offered.
pub(super) enum Served {
    /// It counts against what was asked for.
    Leased,
    /// It has left the queue.
    Gone,
    /// It is there and cannot be delivered now: what follows it in its group cannot either.
    Stays,
}

impl<T: ReplyToken> Engine<T> {
    pub(super) fn receive(
        &mut self,
        now_ms: u64,
        stream: u32,
        request: ReceiveRequest,
        reply: T,
        log: &mut Log,
        out: &mut Vec<Effect<T>>,
    ) {
        let Some(queue) = self.queues.get_mut(&stream) else {
            out.push(Effect::Reply(reply, Outcome::QueueGone));
            return;
        };
        if let Some(again) = self.core.repeat_attempt(now_ms, queue, &request, log) {
            out.push(Effect::Reply(reply, Outcome::Received(again)));
            return;
        }
        let moved_lsn = self.core.moved_lsn;
        let deliveries = self.core.pick(now_ms, queue, &request, log);
        let wait_ms = request.wait_ms.unwrap_or(queue.rules.wait_ms);
        self.core.dirty.push(stream);
        if !deliveries.is_empty() {
            self.core.deliver(moved_lsn, reply, deliveries, out);
        } else if wait_ms > 0 && request.skip.is_empty() && !self.core.waits_ended {
            let id = request.waiter_id;
            self.core.timers.set(now_ms + wait_ms, Alarm::Waiter { stream, waiter_id: id });
            queue.waiters.push_back(Waiter { id, request, reply });
        } else if queue.in_flight.len() >= IN_FLIGHT_MAX && !queue.rules.fifo {
            out.push(Effect::Reply(reply, Outcome::OverLimit));
        } else {
            QueueGauges::add(&queue.gauges.empty_receives_total, 1);
            self.core.deliver(moved_lsn, reply, Vec::new(), out);
        }
    }

    pub(super) fn unreceive(&mut self, now_ms: u64, stream: u32, receipts: &[Receipt], log: &mut Log) {
        let Some(queue) = self.queues.get_mut(&stream) else { return };
        for receipt in receipts {
            let Some(facts) = log.facts(stream, receipt.sequence) else { continue };
            // With a timeout of 0 it was visible all the time, and has only been counted.
            let hold = queue.in_flight.get(&receipt.sequence);
            let was_held = hold.is_some();
            if hold.map_or(facts.receive_count, |hold| hold.receive_count) != receipt.receive_count {
                continue;
            }
            let receive_count = receipt.receive_count - 1;
            let first_received_at_ms = if receive_count == 0 { 0 } else { facts.first_received_at_ms };
            let lease = Lease {
                stream,
                sequence: receipt.sequence,
                visible_at_ms: now_ms,
                receive_count,
                first_received_at_ms,
            };
            // A poisoned log loses the undo with everything else that is not durable.
            if self.core.note(log.put_lease(lease)).is_ok() && was_held {
                queue.release(receipt.sequence);
                queue.visible += 1;
                queue.offer(receipt.sequence, facts.group_hash);
            }
        }
        self.core.dirty.push(stream);
    }
}

impl<T: ReplyToken> Core<T> {
    /// Answers a receive: at once, or, if it has moved messages since `moved_lsn`, when they are on disk.
    pub(super) fn deliver(
        &mut self,
        moved_lsn: Lsn,
        reply: T,
        deliveries: Vec<Delivery>,
        out: &mut Vec<Effect<T>>,
    ) {
        if self.moved_lsn == moved_lsn {
            out.push(Effect::Reply(reply, Outcome::Received(deliveries)));
        } else {
            self.await_durable(reply, Outcome::Received(deliveries));
        }
    }

    /// Takes deliverable messages for one receive.
    pub(super) fn pick(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        request: &ReceiveRequest,
        log: &mut Log,
    ) -> Vec<Delivery> {
        let room = IN_FLIGHT_MAX.saturating_sub(queue.in_flight.len());
        let mut deliveries = Vec::new();
        let visibility_ms = request.visibility_ms.unwrap_or(queue.rules.visibility_ms);
        let mut stay_visible = Vec::new();
        self.serve(now_ms, queue, log, request.max.min(room), &request.skip, |core, queue, facts, log| {
            if let Some(dead_letter) = queue.rules.dead_letter
                && facts.receive_count >= dead_letter.max_receive_count
            {
                if core.move_to_dead_letter(now_ms, queue, &facts, dead_letter.stream, log) {
                    return Served::Gone;
                }
                // It could not be moved (no space): it stays where it is and is not delivered.
                stay_visible.push((facts.sequence, facts.group_hash));
                return Served::Stays;
            }
            let leased = core.lease(now_ms, queue, &facts, visibility_ms, log);
            if matches!(leased, Err(Served::Stays)) || (leased.is_ok() && visibility_ms == 0) {
                stay_visible.push((facts.sequence, facts.group_hash));
            }
            match leased {
                Ok(delivery) => {
                    deliveries.push(delivery);
                    Served::Leased
                }
                Err(served) => served,
            }
        });
        for (sequence, group_hash) in stay_visible {
            queue.offer(sequence, group_hash);
        }
        if !deliveries.is_empty() {
            QueueGauges::add(&queue.gauges.received_total, deliveries.len() as u64);
            if let Some(id) = &request.attempt_id {
                let at = deliveries.iter().map(|d| {
                    let receipt = Receipt { sequence: d.sequence, receive_count: d.receive_count };
                    (receipt, now_ms + visibility_ms)
                });
                let at = at.collect();
                queue.attempts.remember(id.clone(), now_ms, at);
                self.store_attempt(queue, id, log);
            }
        }
        deliveries
    }

    /// Visits deliverable messages in order of service until `want` were leased. Expired ones are removed on the way.
    pub(super) fn serve(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        log: &mut Log,
        want: usize,
        skip: &[u64],
        mut visit: impl FnMut(&mut Self, &mut Queue<T>, MessageFacts, &mut Log) -> Served,
    ) {
        let mut left = want;
        let mut served_groups = Vec::new();
        // With a timeout of 0 a message stays deliverable, and must not come twice in one call.
        let mut taken = Vec::new();
        // Messages that are moved away do not count against `want`; this bounds the work of one call.
        let mut gone_left = DEPARTURES_MAX;
        while left > 0 && gone_left > 0 {
            let stream = queue.stream;
            let group = queue.next_group(log);
            let sequences = match (&mut queue.schedule, group) {
                (Schedule::Standard(standard), _) => match standard.take(log, stream, now_ms, skip) {
                    Some(facts) => vec![facts.sequence],
                    None => break,
                },
                (Schedule::Fifo(fifo), Some(group_hash)) => {
                    served_groups.push(group_hash);
                    let held = |s| {
                        taken.contains(&s) || queue.in_flight.contains_key(&s) || queue.delayed.contains(&s)
                    };
                    fifo.prefix(group_hash, left, held)
                }
                (Schedule::Fifo(_), None) => break,
            };
            let mut leased_here = false;
            for sequence in sequences {
                if queue.rules.fifo && skip.contains(&sequence) {
                    leased_here = true;
                    break;
                }
                let Some(facts) = log.facts(stream, sequence) else {
                    // The log has quarantined it: it must not hold its group up.
                    if let Some(group_hash) = group {
                        queue.forget(sequence, group_hash);
                    }
                    continue;
                };
                if facts.sent_at_ms + queue.rules.retention_ms <= now_ms {
                    self.expire_one(queue, &facts, log);
                    gone_left -= 1;
                } else {
                    match visit(self, queue, facts, log) {
                        Served::Leased => {
                            left -= 1;
                            leased_here = true;
                            taken.push(sequence);
                        }
                        Served::Gone => gone_left = gone_left.saturating_sub(1),
                        Served::Stays => {
                            gone_left = gone_left.saturating_sub(1);
                            if queue.rules.fifo {
                                leased_here = true;
                                break;
                            }
                        }
                    }
                }
                if gone_left == 0 {
                    break;
                }
            }
            if let Schedule::Fifo(fifo) = &mut queue.schedule
                && !leased_here
                && let Some(group_hash) = served_groups.pop()
            {
                // Only departures: what follows them in the group may be next.
                fifo.reconsider(group_hash, |s| {
                    taken.contains(&s) || queue.in_flight.contains_key(&s) || queue.delayed.contains(&s)
                });
            }
        }
        if let Schedule::Fifo(fifo) = &mut queue.schedule {
            for group_hash in served_groups {
                fifo.reconsider(group_hash, |s| {
                    queue.in_flight.contains_key(&s) || queue.delayed.contains(&s)
                });
            }
        }
    }

    /// Hands one message out. Not: `Gone` when its record is damaged, `Stays` when the log takes nothing or the disk
    /// does not read.
    fn lease(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        facts: &MessageFacts,
        visibility_ms: u64,
        log: &mut Log,
    ) -> Result<Delivery, Served> {
        let (stream, sequence) = (queue.stream, facts.sequence);
        let record = match log.read(stream, sequence) {
            Ok(record) => record,
            Err(error) if error.may_pass() => {
                tracing::error!(queue = %queue.rules.arn, stream, sequence, %error, "message not delivered for now");
                return Err(Served::Stays);
            }
            Err(error) => {
                let arn = &queue.rules.arn;
                tracing::error!(queue = %arn, stream, sequence, %error, "message quarantined: its record cannot be read");
                log.quarantine(stream, sequence);
                queue.forget(sequence, facts.group_hash);
                return Err(Served::Gone);
            }
        };
        let receive_count = facts.receive_count.saturating_add(1);
        let first_received_at_ms =
            if facts.first_received_at_ms == 0 { now_ms } else { facts.first_received_at_ms };
        let visible_at_ms = now_ms + visibility_ms;
        let lease = Lease { stream, sequence, visible_at_ms, receive_count, first_received_at_ms };
        if self.note(log.put_lease(lease)).is_err() {
            return Err(Served::Stays);
        }
        if visibility_ms > 0 {
            queue.visible = queue.visible.saturating_sub(1);
            let hold = InFlight {
                visible_at_ms,
                receive_count,
                received_at_ms: now_ms,
                group_hash: facts.group_hash,
            };
            queue.hold(sequence, hold);
            self.timers.set(visible_at_ms, Alarm::Visible { stream, sequence });
        }
        Ok(Delivery {
            record,
            sequence,
            receive_count,
            first_received_at_ms,
            sent_at_ms: facts.sent_at_ms,
            group_hash: facts.group_hash,
        })
    }

    /// Keeps an attempt for a retry after a restart. What cannot be stored is known until then.
    fn store_attempt(&mut self, queue: &Queue<T>, id: &str, log: &mut Log) {
        if let Ok(Some(lsn)) = queue.attempts.store(queue.stream, id, log) {
            self.last_lsn = lsn;
        }
    }

    /// A FIFO retry with a known attempt id: the same deliveries with their timeouts restarted, if all still hold.
    pub(super) fn repeat_attempt(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        request: &ReceiveRequest,
        log: &mut Log,
    ) -> Option<Vec<Delivery>> {
        let visibility_ms = request.visibility_ms.unwrap_or(queue.rules.visibility_ms);
        let id = request.attempt_id.as_deref()?;
        let attempt = queue.attempts.find(id, now_ms)?;
        let stream = queue.stream;
        let unchanged = |(receipt, deadline_ms): &(Receipt, u64)| {
            queue.in_flight.get(&receipt.sequence).is_some_and(|hold| {
                hold.receive_count == receipt.receive_count && hold.visible_at_ms == *deadline_ms
            })
        };
        if visibility_ms == 0 || !attempt.deliveries.iter().all(unchanged) {
            return None;
        }
        let mut again = Vec::with_capacity(attempt.deliveries.len());
        for (receipt, deadline_ms) in &mut attempt.deliveries {
            let facts = log.facts(stream, receipt.sequence)?;
            let record = log.read(stream, receipt.sequence).ok()?;
            *deadline_ms = now_ms + visibility_ms;
            let lease = Lease {
                stream,
                sequence: receipt.sequence,
                visible_at_ms: *deadline_ms,
                receive_count: receipt.receive_count,
                first_received_at_ms: facts.first_received_at_ms,
            };
            self.last_lsn = log.put_lease(lease).ok()?;
            if let Some(hold) = queue.in_flight.get_mut(&receipt.sequence) {
                hold.visible_at_ms = *deadline_ms;
            }
            self.timers.set(*deadline_ms, Alarm::Visible { stream, sequence: receipt.sequence });
            again.push(Delivery {
                record,
                sequence: receipt.sequence,
                receive_count: receipt.receive_count,
                first_received_at_ms: facts.first_received_at_ms,
                sent_at_ms: facts.sent_at_ms,
                group_hash: facts.group_hash,
            });
        }
        self.store_attempt(queue, id, log);
        Some(again)
    }
}
