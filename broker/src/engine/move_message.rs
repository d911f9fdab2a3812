//! Moves between queues: the automatic dead-letter move and the redrive task.
//!
//! Both copy the stored bytes verbatim into a frame that is insert and tombstone in one, so that after a crash a message
//! is in exactly one queue. No key is needed: the envelope is never opened.

use sealq_crypto::SealedMessage;
use sealq_storage::{Log, MessageFacts, NewMessage};

use super::command::{Effect, Outcome, RedriveRoute, RedriveStop, ReplyToken};
use super::gauges::QueueGauges;
use super::queue::Queue;
use super::receive::Served;
use super::{Core, Engine, Pending};
use crate::extension::Extension;

impl<T: ReplyToken> Engine<T> {
    pub(super) fn redrive(
        &mut self,
        now_ms: u64,
        (source, max): (u32, usize),
        route: &RedriveRoute,
        reply: T,
        log: &mut Log,
        out: &mut Vec<Effect<T>>,
    ) {
        let Some(mut queue) = self.queues.remove(&source) else {
            out.push(Effect::Reply(reply, Outcome::QueueGone));
            return;
        };
        let queues = &self.queues;
        let (mut moved, mut stop) = (0, RedriveStop::Empty);
        let mut kept = Vec::new();
        self.core.serve(now_ms, &mut queue, log, max, &[], |core, queue, facts, log| {
            if stop != RedriveStop::Empty {
                kept.push((facts.sequence, facts.group_hash));
                return Served::Leased;
            }
            match core.redrive_one(now_ms, queue, &facts, route, |stream| queues.contains_key(&stream), log) {
                Ok(true) => moved += 1,
                Ok(false) => return Served::Gone,
                Err(reason) => {
                    stop = reason;
                    kept.push((facts.sequence, facts.group_hash));
                }
            }
            Served::Leased
        });
        for (sequence, group_hash) in kept {
            queue.offer(sequence, group_hash);
        }
        if stop == RedriveStop::Empty && moved >= max {
            stop = RedriveStop::Batch;
        }
        QueueGauges::add(&queue.gauges.redriven_total, moved as u64);
        self.queues.insert(source, queue);
        self.core.dirty.push(source);
        self.core.await_durable(reply, Outcome::Redriven(moved, stop));
    }
}

impl<T: ReplyToken> Core<T> {
    /// The automatic move. True when the message has left the queue (moved, or found damaged).
    pub(super) fn move_to_dead_letter(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        facts: &MessageFacts,
        target: u32,
        log: &mut Log,
    ) -> bool {
        let fifo = queue.rules.fifo;
        let arn = queue.rules.arn.to_string();
        let moved = self.copy(queue, facts, target, log, |extension, sealed| {
            extension.dead_letter_source = Some(arn);
            extension.dedup_key = None;
            if fifo {
                let id = extension.message_id.unwrap_or(*sealed.message_id());
                extension.dedup_id = Some(uuid::Uuid::from_bytes(id).to_string());
            }
            // A FIFO move resets the enqueue time (contract, section 10).
            Moved { sent_at_ms: if fifo { now_ms } else { facts.sent_at_ms }, keep_counts: true }
        });
        if moved == Copied::Moved {
            QueueGauges::add(&queue.gauges.redriven_total, 1);
        }
        moved != Copied::Refused
    }

    fn redrive_one(
        &mut self,
        now_ms: u64,
        queue: &mut Queue<T>,
        facts: &MessageFacts,
        route: &RedriveRoute,
        exists: impl Fn(u32) -> bool,
        log: &mut Log,
    ) -> Result<bool, RedriveStop> {
        let target = match route {
            RedriveRoute::Fixed(target) => *target,
            RedriveRoute::Origin(by_arn) => {
                let read = log
                    .read(queue.stream, facts.sequence)
                    .and_then(|record| Ok(Extension::decode(record.extension()?).ok()));
                let extension = match read {
                    Err(error) if error.may_pass() => return Err(RedriveStop::Batch),
                    read => read.ok().flatten(),
                };
                let source = extension.and_then(|extension| extension.dead_letter_source);
                let source = source.ok_or(RedriveStop::UnknownOrigin)?;
                *by_arn.get(&source).ok_or(RedriveStop::DestinationGone)?
            }
        };
        if !exists(target) {
            return Err(RedriveStop::DestinationGone);
        }
        let (fifo, new_id) = (queue.rules.fifo, (self.new_id)());
        let copied = self.copy(queue, facts, target, log, |extension, sealed| {
            let original = extension.message_id.unwrap_or(*sealed.message_id());
            extension.message_id = Some(new_id);
            extension.sent_at_ms = Some(now_ms);
            extension.dead_letter_source = None;
            extension.dedup_key = None;
            if fifo {
                extension.dedup_id = Some(uuid::Uuid::from_bytes(original).to_string());
            }
            Moved { sent_at_ms: now_ms, keep_counts: false }
        });
        match copied {
            Copied::Moved => Ok(true),
            Copied::Damaged => Ok(false),
            Copied::Refused => Err(RedriveStop::Batch),
        }
    }

    fn copy(
        &mut self,
        queue: &mut Queue<T>,
        facts: &MessageFacts,
        target: u32,
        log: &mut Log,
        change: impl FnOnce(&mut Extension, &SealedMessage<'_>) -> Moved,
    ) -> Copied {
        let (stream, sequence) = (queue.stream, facts.sequence);
        let read = log.read(stream, sequence).and_then(|record| {
            record.body()?;
            Ok(record)
        });
        let record = match read {
            Err(error) if error.may_pass() => {
                tracing::error!(queue = %queue.rules.arn, stream, sequence, %error, "message not moved for now");
                return Copied::Refused;
            }
            read => read.map_err(|error| error.to_string()),
        };
        let copied = (|| {
            let record = record?;
            let body = record.body().map_err(|error| error.to_string())?;
            let extension = record.extension().map_err(|error| error.to_string())?;
            let mut extension = Extension::decode(extension).map_err(|error| error.to_string())?;
            let sealed = SealedMessage::parse(body).map_err(|error| error.to_string())?;
            let moved = change(&mut extension, &sealed);
            let mut encoded = Vec::new();
            extension.encode(&mut encoded);
            let staged = log.put_message(NewMessage {
                stream: target,
                sent_at_ms: moved.sent_at_ms,
                visible_at_ms: moved.sent_at_ms,
                group_hash: facts.group_hash,
                receive_count: if moved.keep_counts { facts.receive_count } else { 0 },
                first_received_at_ms: if moved.keep_counts { facts.first_received_at_ms } else { 0 },
                source: Some((stream, sequence)),
                extension: &encoded,
                body,
            });
            Ok::<_, String>(staged)
        })();
        match copied {
            Ok(Ok(staged)) => {
                self.last_lsn = staged.lsn;
                self.moved_lsn = staged.lsn;
                let admit = Pending::Admit { stream: target, sequence: staged.sequence, moved: true };
                self.pending.push_back((staged.lsn, admit));
                queue.moved_times.forget(facts, log, stream);
                queue.forget(sequence, facts.group_hash);
                Copied::Moved
            }
            Ok(Err(error)) => {
                tracing::warn!(stream, sequence, %error, "message could not be moved");
                Copied::Refused
            }
            Err(error) => {
                let arn = &queue.rules.arn;
                tracing::error!(queue = %arn, stream, sequence, %error, "message quarantined: its record cannot be read");
                log.quarantine(stream, sequence);
                queue.forget(sequence, facts.group_hash);
                Copied::Damaged
            }
        }
    }
}

struct Moved {
    sent_at_ms: u64,
    /// Delivery count and first delivery go along.
    keep_counts: bool,
}

#[derive(PartialEq, Eq)]
enum Copied {
    Moved,
    Damaged,
    Refused,
}
