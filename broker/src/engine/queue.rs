//! One queue as the engine sees it: which live messages are deliverable, held or delayed, and who waits for them.
//!
//! What is known of each message (delivery count, times) stands in the log; here is only the order of service.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sealq_storage::Log;

use super::attempt::Attempts;
use super::command::{ReceiveRequest, SendItem};
use super::dedup::DedupWindow;
use super::fifo::FifoSchedule;
use super::gauges::QueueGauges;
use super::moved_times::MovedTimes;
use super::restore::READ_STEP_MESSAGES;
use super::standard::{LOOK_AHEAD_MESSAGES, StandardSchedule};

/// In-flight messages a queue may have (SQS API contract, section 13).
pub const IN_FLIGHT_MAX: usize = 120_000;

/// What a queue's attributes mean to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueRules {
    /// The queue's ARN, for the dead-letter source attribute.
    pub arn: Arc<str>,
    /// Ordered by group, with deduplication.
    pub fifo: bool,
    /// Delay of the queue, milliseconds (FIFO: also of messages already waiting).
    pub delay_ms: u64,
    /// Default visibility timeout, milliseconds.
    pub visibility_ms: u64,
    /// Retention, milliseconds.
    pub retention_ms: u64,
    /// Default long-poll wait, milliseconds.
    pub wait_ms: u64,
    /// Where messages go that were received too often.
    pub dead_letter: Option<DeadLetter>,
    /// Some queue names this one as its dead-letter target: messages may be out of time order.
    pub is_dead_letter_target: bool,
}

/// A redrive policy whose target exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetter {
    /// The dead-letter queue.
    pub stream: u32,
    /// Deliveries allowed in the source.
    pub max_receive_count: u32,
}

/// The delivery that currently holds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) visible_at_ms: u64,
    pub(super) receive_count: u32,
    pub(super) received_at_ms: u64,
    pub(super) group_hash: u64,
}

#[derive(Debug)]
pub(super) struct Waiter<T> {
    pub(super) id: u64,
    pub(super) request: ReceiveRequest,
    pub(super) reply: T,
}

#[derive(Debug)]
pub(super) enum Schedule {
    Standard(StandardSchedule),
    Fifo(FifoSchedule),
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) stream: u32,
    pub(super) rules: QueueRules,
    pub(super) gauges: Arc<QueueGauges>,
    pub(super) schedule: Schedule,
    pub(super) in_flight: HashMap<u64, InFlight>,
    pub(super) delayed: HashSet<u64>,
    pub(super) visible: u64,
    pub(super) waiters: VecDeque<Waiter<T>>,
    pub(super) dedup: DedupWindow,
    /// Deduplication keys of messages before this sequence were not read since the start.
    pub(super) unread_keys: Option<u64>,
    /// Sends that came meanwhile, in order.
    pub(super) held_sends: VecDeque<(Vec<SendItem>, T)>,
    pub(super) attempts: Attempts,
    pub(super) moved_times: MovedTimes,
    /// Messages that may be moved or delayed ones and were not looked at since the start.
    pub(super) unread: Option<Range<u64>>,
    /// Holds that ended before their time, (deadline, sequence): their alarms are to be taken back.
    pub(super) ended_holds: Vec<(u64, u64)>,
}

impl<T> Queue<T> {
    pub(super) fn new(stream: u32, rules: QueueRules, gauges: Arc<QueueGauges>) -> Self {
        let schedule = if rules.fifo {
            Schedule::Fifo(FifoSchedule::default())
        } else {
            Schedule::Standard(StandardSchedule::default())
        };
        Self {
            stream,
            rules,
            gauges,
            schedule,
            in_flight: HashMap::new(),
            delayed: HashSet::new(),
            visible: 0,
            waiters: VecDeque::new(),
            dedup: DedupWindow::default(),
            unread_keys: None,
            held_sends: VecDeque::new(),
            attempts: Attempts::default(),
            moved_times: MovedTimes::default(),
            unread: None,
            ended_holds: Vec::new(),
        }
    }

    /// A delivery takes hold of a message.
    pub(super) fn hold(&mut self, sequence: u64, hold: InFlight) {
        match self.in_flight.insert(sequence, hold) {
            Some(before) => self.ended_holds.push((before.visible_at_ms, sequence)),
            None => {
                if let Schedule::Standard(standard) = &mut self.schedule {
                    standard.hold_group(hold.group_hash);
                }
            }
        }
    }

    /// A delivery has ended.
    pub(super) fn release(&mut self, sequence: u64) -> Option<InFlight> {
        let hold = self.in_flight.remove(&sequence)?;
        self.ended_holds.push((hold.visible_at_ms, sequence));
        if let Schedule::Standard(standard) = &mut self.schedule {
            standard.release_group(hold.group_hash);
        }
        Some(hold)
    }

    /// A message has become deliverable (again): a standard one by itself, a FIFO one with its group.
    pub(super) fn offer(&mut self, sequence: u64, group_hash: u64) {
        let Self { schedule, in_flight, delayed, .. } = self;
        match schedule {
            Schedule::Standard(standard) => standard.offer(sequence),
            Schedule::Fifo(fifo) => {
                fifo.reconsider(group_hash, |s| in_flight.contains_key(&s) || delayed.contains(&s));
            }
        }
    }

    /// A FIFO queue reads up to `max` messages on from the log, if some are left since the start.
    pub(super) fn read_on(&mut self, log: &Log, max: usize) {
        let Self { schedule, in_flight, delayed, .. } = self;
        if let Schedule::Fifo(fifo) = schedule {
            fifo.read_on(log, self.stream, max, |s| in_flight.contains_key(&s) || delayed.contains(&s));
        }
    }

    /// The next group in line of a FIFO queue. While messages are left unread, up to [`LOOK_AHEAD_MESSAGES`] are read to
    /// find one.
    pub(super) fn next_group(&mut self, log: &Log) -> Option<u64> {
        for _ in 0..LOOK_AHEAD_MESSAGES / READ_STEP_MESSAGES {
            let Schedule::Fifo(fifo) = &mut self.schedule else { return None };
            let found = fifo.take_group();
            if found.is_some() || !fifo.is_unread() {
                return found;
            }
            self.read_on(log, READ_STEP_MESSAGES);
        }
        None
    }

    /// A message has reached the disk.
    pub(super) fn admit(&mut self, sequence: u64, group_hash: u64) {
        match &mut self.schedule {
            Schedule::Standard(standard) => standard.admit(sequence),
            Schedule::Fifo(fifo) => fifo.admit(sequence, group_hash),
        }
    }

    /// A message is gone: deleted, expired or moved. Keeps the counts; call it exactly once per message.
    pub(super) fn forget(&mut self, sequence: u64, group_hash: u64) {
        if self.release(sequence).is_none() && !self.delayed.remove(&sequence) {
            self.visible = self.visible.saturating_sub(1);
        }
        let Self { schedule, in_flight, delayed, .. } = self;
        match schedule {
            Schedule::Standard(standard) => standard.remove(sequence),
            Schedule::Fifo(fifo) => {
                fifo.remove(sequence, group_hash);
                fifo.reconsider(group_hash, |s| in_flight.contains_key(&s) || delayed.contains(&s));
            }
        }
    }

    /// Drops all message state (purge); waiters stay.
    pub(super) fn clear(&mut self, next_sequence: u64) {
        self.in_flight.clear();
        self.delayed.clear();
        self.moved_times.clear();
        self.unread = None;
        self.dedup.clear();
        self.unread_keys = None;
        self.attempts.clear();
        self.visible = 0;
        // In-flight counts by group go with the schedule.
        self.schedule = if self.rules.fifo {
            Schedule::Fifo(FifoSchedule::default())
        } else {
            Schedule::Standard(StandardSchedule::starting_at(next_sequence))
        };
    }

    /// Publishes counts and the oldest age.
    pub(super) fn publish(&self, log: &Log) {
        self.gauges.visible.store(self.visible, Relaxed);
        self.gauges.not_visible.store(self.in_flight.len() as u64, Relaxed);
        self.gauges.delayed.store(self.delayed.len() as u64, Relaxed);
        self.gauges.oldest_sent_at_ms.store(self.oldest_sent_at_ms(log).unwrap_or(0), Relaxed);
    }

    /// Enqueue time of the oldest live message.
    pub(super) fn oldest_sent_at_ms(&self, log: &Log) -> Option<u64> {
        let head = log.next_live(self.stream, 0).map(|facts| facts.sent_at_ms);
        head.into_iter().chain(self.moved_times.oldest_sent_at_ms()).min()
    }
}
