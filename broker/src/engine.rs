//! The queue engine: a state machine `(now, command) -> effects` over the log.
//!
//! It runs on the shard's thread and does no I/O of its own: it stages frames in the log, and answers callers when the
//! log says that their frames are on disk. Time comes in as an argument. The log holds the facts of every message;
//! the engine holds only the order of service, so there is one state to recover.
//!
//! Invariants:
//! 1. A send, delete, purge, visibility change or queue change is answered only when its LSN is durable.
//! 2. A message is offered only after its frame is durable.
//! 3. A receive that moved messages away is answered when they are where they went: who finds nothing here finds them
//!    there.
//! 4. Every live message is in exactly one of: visible, in flight, delayed, not yet durable.

pub mod attempt;
pub mod command;
pub mod dedup;
mod expiry;
mod fifo;
pub mod gauges;
mod move_message;
mod moved_times;
pub mod queue;
mod receipt;
mod receive;
mod restore;
mod standard;
mod timers;

use std::collections::{HashMap, VecDeque};

use sealq_storage::{AppendError, Log, Lsn, MessageFacts, NewMessage};

use self::command::{Command, Effect, Outcome, ReplyToken, SendItem, SentMessage, Unavailable};
use self::dedup::{DEDUP_WINDOW_MS, Original};
use self::gauges::QueueGauges;
use self::queue::{Queue, QueueRules};
use self::timers::{Alarm, Timers};

/// See the module documentation.
pub struct Engine<T> {
    queues: HashMap<u32, Queue<T>>,
    core: Core<T>,
}

/// What is shared by all queues.
struct Core<T> {
    /// Message ids of redriven messages.
    new_id: fn() -> [u8; 16],
    timers: Timers,
    pending: VecDeque<(Lsn, Pending<T>)>,
    last_lsn: Lsn,
    /// Of the last message that was moved to another queue.
    moved_lsn: Lsn,
    dirty: Vec<u32>,
    /// Queues whose messages are still being read after the start.
    unread: VecDeque<u32>,
    /// Recent messages that may still be looked at before the broker is ready.
    read_at_start_left: u64,
    /// No receive waits for a message any more.
    waits_ended: bool,
}

enum Pending<T> {
    Reply(T, Outcome),
    Admit { stream: u32, sequence: u64, moved: bool },
}

impl From<AppendError> for Unavailable {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::DiskFull => Self::DiskFull,
            AppendError::TooLarge { .. } => Self::TooLarge,
            _ => Self::Poisoned,
        }
    }
}

impl<T: ReplyToken> Engine<T> {
    /// An engine without queues. `new_id` makes message ids for redriven messages.
    pub fn new(new_id: fn() -> [u8; 16]) -> Self {
        let core = Core {
            new_id,
            timers: Timers::default(),
            pending: VecDeque::new(),
            last_lsn: Lsn(0),
            moved_lsn: Lsn(0),
            dirty: Vec::new(),
            unread: VecDeque::new(),
            read_at_start_left: restore::READ_AT_START_MESSAGES_MAX,
            waits_ended: false,
        };
        Self { queues: HashMap::new(), core }
    }

    /// Carries out one command. Effects that need the disk follow from [`Self::durable`].
    pub fn handle(&mut self, now_ms: u64, command: Command<T>, log: &mut Log, out: &mut Vec<Effect<T>>) {
        match command {
            Command::Send { stream, items, reply } => self.send(now_ms, stream, items, reply, log, out),
            Command::Receive { stream, request, reply } => {
                self.receive(now_ms, stream, request, reply, log, out)
            }
            Command::CancelReceive { stream, waiter_id } => {
                if let Some(queue) = self.queues.get_mut(&stream) {
                    queue.waiters.retain(|waiter| waiter.id != waiter_id);
                }
            }
            Command::EndWaits => {
                self.core.waits_ended = true;
                for queue in self.queues.values_mut() {
                    let ended = queue.waiters.drain(..);
                    out.extend(
                        ended.map(|waiter| Effect::Reply(waiter.reply, Outcome::Received(Vec::new()))),
                    );
                }
            }
            Command::Unreceive { stream, receipts } => self.unreceive(now_ms, stream, &receipts, log),
            Command::Quarantine { stream, sequence } => {
                if let (Some(queue), Some(facts)) =
                    (self.queues.get_mut(&stream), log.facts(stream, sequence))
                {
                    log.quarantine(stream, sequence);
                    queue.forget(sequence, facts.group_hash);
                    self.core.dirty.push(stream);
                }
            }
            Command::Delete { stream, receipts, reply } => {
                self.delete(now_ms, stream, &receipts, reply, log, out)
            }
            Command::ChangeVisibility { stream, changes, reply } => {
                self.change_visibility(now_ms, stream, &changes, reply, log, out);
            }
            Command::PutQueue { stream, rules, gauges, puts, reply } => {
                match self.core.write_catalog(log, &puts, &[]) {
                    Ok(()) => {
                        self.put_rules(now_ms, stream, rules, Some(gauges));
                        self.core.await_durable(reply, Outcome::Stored);
                    }
                    Err(unavailable) => out.push(Effect::Reply(reply, Outcome::Unavailable(unavailable))),
                }
            }
            Command::SetRules { stream, rules } => self.put_rules(now_ms, stream, rules, None),
            Command::DropQueue { stream, deletes, reply } => {
                let written = self
                    .core
                    .write_catalog(log, &[], &deletes)
                    .and_then(|()| self.core.forget_kept(stream, true, log))
                    .and_then(|()| self.core.note(log.put_close(stream)));
                match written {
                    Ok(()) => {
                        if let Some(queue) = self.queues.remove(&stream) {
                            let waiting = queue.waiters.into_iter().map(|waiter| waiter.reply);
                            for reply in waiting.chain(queue.held_sends.into_iter().map(|(_, reply)| reply)) {
                                out.push(Effect::Reply(reply, Outcome::QueueGone));
                            }
                        }
                        for queue in self.queues.values_mut() {
                            queue.rules.dead_letter.take_if(|dead_letter| dead_letter.stream == stream);
                        }
                        self.core.await_durable(reply, Outcome::Stored);
                    }
                    Err(unavailable) => out.push(Effect::Reply(reply, Outcome::Unavailable(unavailable))),
                }
            }
            Command::Purge { stream, puts, reply } => {
                let Some(queue) = self.queues.get_mut(&stream) else {
                    out.push(Effect::Reply(reply, Outcome::QueueGone));
                    return;
                };
                let below = log.next_sequence(stream);
                let written = self
                    .core
                    .write_catalog(log, &puts, &[])
                    .and_then(|()| self.core.forget_kept(stream, false, log))
                    .and_then(|()| self.core.purged_below(queue, below, log))
                    .and_then(|()| self.core.note(log.put_purge(stream, below)));
                match written {
                    Ok(()) => {
                        queue.clear(below);
                        self.core.dirty.push(stream);
                        self.core.await_durable(reply, Outcome::Stored);
                    }
                    Err(unavailable) => out.push(Effect::Reply(reply, Outcome::Unavailable(unavailable))),
                }
            }
            Command::WriteCatalog { puts, deletes, reply } => {
                match self.core.write_catalog(log, &puts, &deletes) {
                    Ok(()) => self.core.await_durable(reply, Outcome::Stored),
                    Err(unavailable) => out.push(Effect::Reply(reply, Outcome::Unavailable(unavailable))),
                }
            }
            Command::Redrive { source, route, max, reply } => {
                self.redrive(now_ms, (source, max), &route, reply, log, out);
            }
        }
    }

    /// Everything up to `lsn` is on disk: offer what was stored, answer who waited.
    pub fn durable(&mut self, now_ms: u64, lsn: Lsn, log: &Log, out: &mut Vec<Effect<T>>) {
        while self.core.pending.front().is_some_and(|(at, _)| *at <= lsn) {
            match self.core.pending.pop_front() {
                Some((_, Pending::Reply(reply, outcome))) => out.push(Effect::Reply(reply, outcome)),
                Some((_, Pending::Admit { stream, sequence, moved })) => {
                    if let (Some(queue), Some(facts)) =
                        (self.queues.get_mut(&stream), log.facts(stream, sequence))
                    {
                        self.core.admit(now_ms, queue, &facts, moved);
                    }
                }
                None => break,
            }
        }
    }

    /// Lets the clock act: timeouts, delays, retention, long polls. Also goes a step on with what is left of the start.
    pub fn tick(&mut self, now_ms: u64, log: &mut Log, out: &mut Vec<Effect<T>>) {
        self.read_on(now_ms, log, out);
        if self.core.unread.is_empty() {
            log.set_time(now_ms);
        }
        while let Some((at_ms, alarm)) = self.core.timers.pop_due(now_ms) {
            match alarm {
                Alarm::Visible { stream, sequence } => {
                    let Some(queue) = self.queues.get_mut(&stream) else { continue };
                    if queue.in_flight.get(&sequence).is_some_and(|hold| hold.visible_at_ms == at_ms) {
                        let group_hash = queue.release(sequence).map_or(0, |hold| hold.group_hash);
                        queue.visible += 1;
                        queue.offer(sequence, group_hash);
                        self.core.dirty.push(stream);
                    } else if queue.delayed.contains(&sequence)
                        && let Some(facts) = log.facts(stream, sequence)
                    {
                        let visible_at_ms = self.core.visible_at(queue, &facts);
                        if visible_at_ms > now_ms {
                            self.core.timers.set(visible_at_ms, alarm);
                            continue;
                        }
                        queue.delayed.remove(&sequence);
                        queue.visible += 1;
                        queue.offer(sequence, facts.group_hash);
                        self.core.dirty.push(stream);
                    }
                }
                Alarm::Expire { stream } => {
                    if let Some(queue) = self.queues.get_mut(&stream) {
                        self.core.expire(now_ms, queue, log);
                    }
                }
                Alarm::Waiter { stream, waiter_id } => {
                    let Some(queue) = self.queues.get_mut(&stream) else { continue };
                    if let Some(at) = queue.waiters.iter().position(|waiter| waiter.id == waiter_id)
                        && let Some(waiter) = queue.waiters.remove(at)
                    {
                        QueueGauges::add(&queue.gauges.empty_receives_total, 1);
                        out.push(Effect::Reply(waiter.reply, Outcome::Received(Vec::new())));
                    }
                }
            }
        }
    }

    /// Hands what has become visible to who waits for it, and publishes counts. Call it once after a round of
    /// commands, before their effects are carried out.
    pub fn settle(&mut self, now_ms: u64, log: &mut Log, out: &mut Vec<Effect<T>>) {
        let mut dirty = std::mem::take(&mut self.core.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        for stream in dirty.drain(..) {
            let Some(queue) = self.queues.get_mut(&stream) else { continue };
            while let Some(waiter) = queue.waiters.front() {
                if waiter.reply.is_abandoned() {
                    queue.waiters.pop_front();
                    continue;
                }
                let request = waiter.request.clone();
                let moved_lsn = self.core.moved_lsn;
                // Of two that wait with one attempt id, the second sees what the first was given.
                let deliveries = match self.core.repeat_attempt(now_ms, queue, &request, log) {
                    Some(again) => again,
                    None => self.core.pick(now_ms, queue, &request, log),
                };
                if deliveries.is_empty() {
                    break;
                }
                if let Some(waiter) = queue.waiters.pop_front() {
                    self.core.deliver(moved_lsn, waiter.reply, deliveries, out);
                }
            }
            for (at_ms, sequence) in queue.ended_holds.drain(..) {
                if queue.in_flight.get(&sequence).is_none_or(|hold| hold.visible_at_ms != at_ms) {
                    self.core.timers.cancel(at_ms, Alarm::Visible { stream, sequence });
                }
            }
            queue.publish(log);
        }
        // Serving may have moved messages to other queues; those become dirty again when durable.
        dirty.append(&mut self.core.dirty);
        self.core.dirty = dirty;
    }

    /// The log is poisoned: nobody who waits for the disk will be answered otherwise.
    pub fn fail_pending(&mut self, out: &mut Vec<Effect<T>>) {
        for (_, pending) in self.core.pending.drain(..) {
            if let Pending::Reply(reply, _) = pending {
                out.push(Effect::Reply(reply, Outcome::Unavailable(Unavailable::Poisoned)));
            }
        }
    }

    /// True when nobody waits for the disk.
    pub fn idle(&self) -> bool {
        self.core.pending.is_empty()
    }

    /// When [`Self::tick`] has something to do next, wall clock milliseconds.
    pub fn next_alarm_at_ms(&self) -> Option<u64> {
        if self.core.unread.is_empty() { self.core.timers.next_at_ms() } else { Some(0) }
    }

    fn send(
        &mut self,
        now_ms: u64,
        stream: u32,
        items: Vec<SendItem>,
        reply: T,
        log: &mut Log,
        out: &mut Vec<Effect<T>>,
    ) {
        let Some(queue) = self.queues.get_mut(&stream) else {
            out.push(Effect::Reply(reply, Outcome::QueueGone));
            return;
        };
        if queue.unread_keys.is_some() {
            if let Err(reply) = Self::hold_send(queue, items, reply) {
                out.push(Effect::Reply(reply, Outcome::Unavailable(Unavailable::DiskFull)));
            }
            return;
        }
        let mut sent = Vec::with_capacity(items.len());
        for item in &items {
            if let Some(original) = item.dedup_key.and_then(|key| queue.dedup.find(&key, now_ms)) {
                self.core.last_lsn = self.core.last_lsn.max(original.lsn);
                sent.push(SentMessage { message_id: original.message_id, sequence: original.sequence });
                continue;
            }
            let staged = log.put_message(NewMessage {
                stream,
                sent_at_ms: item.sent_at_ms,
                visible_at_ms: item.visible_at_ms,
                group_hash: item.group_hash,
                receive_count: 0,
                first_received_at_ms: 0,
                source: None,
                extension: &item.extension,
                body: &item.sealed,
            });
            let staged = match staged {
                Ok(staged) => staged,
                Err(error) => {
                    // Entries before this one are stored and will be delivered; the caller is told to retry, which
                    // the protocol allows (at least once).
                    out.push(Effect::Reply(reply, Outcome::Unavailable(error.into())));
                    return;
                }
            };
            self.core.last_lsn = staged.lsn;
            let admit = Pending::Admit { stream, sequence: staged.sequence, moved: false };
            self.core.pending.push_back((staged.lsn, admit));
            if let Some(key) = item.dedup_key {
                let original =
                    Original { message_id: item.message_id, sequence: staged.sequence, lsn: staged.lsn };
                queue.dedup.remember(key, now_ms, original);
                log.keep(stream, staged.sequence, now_ms + DEDUP_WINDOW_MS);
            }
            QueueGauges::add(&queue.gauges.sent_total, 1);
            QueueGauges::add(&queue.gauges.sent_bytes_total, item.body_bytes);
            sent.push(SentMessage { message_id: item.message_id, sequence: staged.sequence });
        }
        self.core.await_durable(reply, Outcome::Sent(sent));
    }

    fn put_rules(
        &mut self,
        now_ms: u64,
        stream: u32,
        rules: QueueRules,
        gauges: Option<std::sync::Arc<QueueGauges>>,
    ) {
        if let Some(queue) = self.queues.get_mut(&stream) {
            let delay_changed = queue.rules.fifo && queue.rules.delay_ms != rules.delay_ms;
            queue.rules = rules;
            self.core.timers.set(now_ms, Alarm::Expire { stream });
            if delay_changed {
                // A FIFO queue's delay holds for messages already waiting: look at each of them at once.
                for sequence in &queue.delayed {
                    self.core.timers.set(now_ms, Alarm::Visible { stream, sequence: *sequence });
                }
            }
        } else if let Some(gauges) = gauges {
            self.queues.insert(stream, Queue::new(stream, rules, gauges));
        }
        self.core.dirty.push(stream);
    }
}

impl<T: ReplyToken> Core<T> {
    /// Remembers the LSN of a staged frame.
    fn note(&mut self, staged: Result<Lsn, AppendError>) -> Result<(), Unavailable> {
        self.last_lsn = staged?;
        Ok(())
    }

    fn write_catalog(
        &mut self,
        log: &mut Log,
        puts: &[(Vec<u8>, Vec<u8>)],
        deletes: &[Vec<u8>],
    ) -> Result<(), Unavailable> {
        for (key, value) in puts {
            self.note(log.put_catalog(key, value))?;
        }
        for key in deletes {
            self.note(log.delete_catalog(key))?;
        }
        Ok(())
    }

    /// Takes what is kept of a queue beside its messages out of the catalog: attempts, and with the queue itself
    /// (`all`) where its deduplication begins.
    fn forget_kept(&mut self, stream: u32, all: bool, log: &mut Log) -> Result<(), Unavailable> {
        let dedup_from =
            all.then(|| dedup::from_key(stream)).filter(|key| log.catalog().contains_key(&**key));
        for key in attempt::kept_keys(stream, log).iter().map(|key| &**key).chain(dedup_from.as_deref()) {
            self.note(log.delete_catalog(key))?;
        }
        Ok(())
    }

    /// A purge forgets deduplication ids: at start the window is rebuilt from frames behind it only.
    fn purged_below(&mut self, queue: &Queue<T>, below: u64, log: &mut Log) -> Result<(), Unavailable> {
        if !queue.rules.fifo {
            return Ok(());
        }
        log.release(queue.stream);
        self.note(log.put_catalog(&dedup::from_key(queue.stream), &crate::catalog::encode(&below)))
    }

    /// Answers when everything staged so far is durable.
    fn await_durable(&mut self, reply: T, outcome: Outcome) {
        self.pending.push_back((self.last_lsn, Pending::Reply(reply, outcome)));
    }

    /// When a message that was never received may be delivered.
    fn visible_at(&self, queue: &Queue<T>, facts: &MessageFacts) -> u64 {
        if queue.rules.fifo && !facts.moved {
            facts.sent_at_ms + queue.rules.delay_ms
        } else {
            facts.visible_at_ms
        }
    }

    /// A message has reached the disk: it is delayed or visible from now on.
    fn admit(&mut self, now_ms: u64, queue: &mut Queue<T>, facts: &MessageFacts, moved: bool) {
        let (stream, sequence) = (queue.stream, facts.sequence);
        let visible_at_ms = self.visible_at(queue, facts);
        let first = queue.visible == 0 && queue.in_flight.is_empty() && queue.delayed.is_empty();
        queue.admit(sequence, facts.group_hash);
        if visible_at_ms > now_ms {
            queue.delayed.insert(sequence);
            self.timers.set(visible_at_ms, Alarm::Visible { stream, sequence });
        } else {
            queue.visible += 1;
            if queue.rules.fifo {
                queue.offer(sequence, facts.group_hash);
            }
        }
        // A move into a FIFO queue sets the enqueue time to now: only standard queues get out of order.
        let moved = moved && !queue.rules.fifo;
        if moved {
            queue.moved_times.note(facts);
        }
        let oldest_moved = moved && queue.moved_times.is_oldest(facts);
        if first || oldest_moved {
            self.timers.set(facts.sent_at_ms + queue.rules.retention_ms, Alarm::Expire { stream });
        }
        self.dirty.push(stream);
    }
}
