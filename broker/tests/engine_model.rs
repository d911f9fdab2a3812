//! The engine against a small reference: random interleavings of sends, receives, deletes, visibility changes, time,
//! purges, clean restarts and crashes, on a queue with a dead-letter queue.
//!
//! Invariants: nothing is lost and nothing comes back; what is delivered was deliverable, in order within a FIFO group;
//! when a receive brings less than was asked for, nothing deliverable is left; a message leaves for the dead-letter queue
//! only when it was received too often, and is there once; no duplicate is stored within the window; counts are exact.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use sealq_broker::engine::Engine;
use sealq_broker::engine::command::{
    Command, Delivery, Effect, Outcome, Receipt, ReceiveRequest, ReplyToken, SendItem, VisibilityChange,
};
use sealq_broker::engine::dedup::DEDUP_WINDOW_MS;
use sealq_broker::engine::gauges::QueueGauges;
use sealq_broker::engine::queue::{DeadLetter, QueueRules};
use sealq_broker::extension::Extension;
use sealq_crypto::{DraftMessage, SealedMessage, store_plain};
use sealq_storage::{IoChoice, Log, LogOptions};

/// The queue that is sent to, and where its messages go that were received too often.
const STREAMS: [u32; 2] = [7, 8];
const RECEIVES_MAX: u32 = 3;
const VISIBILITY_MS: u64 = 30_000;
const RETENTION_MS: u64 = 3_600_000;
/// Commands of nothing after a start, in which the engine reads on.
const ROUNDS_AFTER_START: usize = 5;

#[derive(Debug, Clone, Copy)]
struct Token;

impl ReplyToken for Token {
    fn is_abandoned(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send { delay_ms: u64, group: u8, dedup: Option<u8> },
    Receive { dead: bool, max: usize, visibility_ms: Option<u64> },
    Delete { dead: bool, pick: usize },
    ChangeVisibility { dead: bool, pick: usize, timeout_ms: u64 },
    Advance { ms: u64 },
    Purge { dead: bool },
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // The dead-letter queue is looked at now and then.
    let dead = || prop::bool::weighted(0.25);
    let step = prop_oneof![
        7 => (prop_oneof![3 => Just(0), 1 => 1..20_000u64], 0..4u8, proptest::option::of(0..6u8))
            .prop_map(|(delay_ms, group, dedup)| Step::Send { delay_ms, group, dedup }),
        7 => (dead(), 1..=10usize, proptest::option::of(prop_oneof![Just(0), 1..60_000u64]))
            .prop_map(|(dead, max, visibility_ms)| Step::Receive { dead, max, visibility_ms }),
        4 => (dead(), any::<usize>()).prop_map(|(dead, pick)| Step::Delete { dead, pick }),
        2 => (dead(), any::<usize>(), prop_oneof![Just(0), 1..60_000u64])
            .prop_map(|(dead, pick, timeout_ms)| Step::ChangeVisibility { dead, pick, timeout_ms }),
        4 => prop_oneof![
            2 => 1..2_000u64,
            3 => 10_000..40_000u64,
            1 => Just(DEDUP_WINDOW_MS - 1),
            1 => Just(DEDUP_WINDOW_MS),
            1 => Just(RETENTION_MS),
        ].prop_map(|ms| Step::Advance { ms }),
        1 => dead().prop_map(|dead| Step::Purge { dead }),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..70)
}

/// One message as the reference knows it.
#[derive(Debug, Clone)]
struct Message {
    id: [u8; 16],
    /// When it entered the queue that it is in.
    sent_at_ms: u64,
    visible_at_ms: u64,
    received: u32,
    group: u8,
}

#[derive(Debug, Default)]
struct QueueModel {
    messages: BTreeMap<u64, Message>,
    receipts: Vec<Receipt>,
    /// By deduplication key: when it was accepted, id and sequence.
    accepted: HashMap<u8, (u64, [u8; 16], u64)>,
}

impl QueueModel {
    /// Which messages a receive may take now, in order.
    fn deliverable(&self, now_ms: u64, fifo: bool) -> Vec<u64> {
        let mut blocked = BTreeSet::new();
        let mut list = Vec::new();
        for (sequence, message) in &self.messages {
            if message.visible_at_ms > now_ms {
                blocked.insert(message.group);
            } else if !(fifo && blocked.contains(&message.group)) {
                list.push(*sequence);
            }
        }
        list
    }

    /// True while this delivery holds its message.
    fn holds(&self, receipt: &Receipt, now_ms: u64) -> bool {
        let message = self.messages.get(&receipt.sequence);
        message.is_some_and(|m| m.received == receipt.receive_count && m.visible_at_ms > now_ms)
    }
}

struct Subject {
    dir: tempfile::TempDir,
    log: Option<Log>,
    engine: Engine<Token>,
    gauges: [Arc<QueueGauges>; 2],
    now_ms: u64,
    fifo: bool,
}

impl Subject {
    fn new(fifo: bool) -> Self {
        let mut subject = Self {
            dir: tempfile::tempdir().unwrap(),
            log: None,
            engine: Engine::new(|| [9; 16]),
            gauges: Default::default(),
            now_ms: 1_000_000_000,
            fifo,
        };
        subject.open();
        subject
    }

    fn open(&mut self) {
        let options = LogOptions {
            dir: self.dir.path().to_owned(),
            segment_bytes: 1 << 20,
            io: IoChoice::Threads,
            free_space_min_bytes: 0,
            tail_cache_bytes: 1 << 20,
            shard: 0,
        };
        let (mut log, _) = Log::open(options).unwrap();
        self.engine = Engine::new(|| [9; 16]);
        self.gauges = Default::default();
        for (at, stream) in STREAMS.into_iter().enumerate() {
            let gauges = self.gauges[at].clone();
            self.engine.restore_queue(self.now_ms, stream, self.rules(at), gauges, &mut log);
        }
        self.log = Some(log);
        for _ in 0..ROUNDS_AFTER_START {
            self.round(None);
        }
    }

    fn rules(&self, at: usize) -> QueueRules {
        let dead_letter = DeadLetter { stream: STREAMS[1], max_receive_count: RECEIVES_MAX };
        QueueRules {
            arn: format!("arn:aws:sqs:us-east-1:000000000000:q{at}").into(),
            fifo: self.fifo,
            delay_ms: 0,
            visibility_ms: VISIBILITY_MS,
            retention_ms: RETENTION_MS,
            wait_ms: 0,
            dead_letter: (at == 0).then_some(dead_letter),
            is_dead_letter_target: at == 1,
        }
    }

    /// Carries out one command to its durable end.
    fn round(&mut self, command: Option<Command<Token>>) -> Option<Outcome> {
        let expects_reply = command.is_some();
        let log = self.log.as_mut().unwrap();
        let mut effects = Vec::new();
        self.engine.tick(self.now_ms, log, &mut effects);
        if let Some(command) = command {
            self.engine.handle(self.now_ms, command, log, &mut effects);
        }
        while log.staged_bytes() > 0 || !self.engine.idle() {
            log.wait(Some(std::time::Duration::from_millis(50))).unwrap();
            self.engine.durable(self.now_ms, log.durable_lsn(), log, &mut effects);
        }
        self.engine.durable(self.now_ms, log.durable_lsn(), log, &mut effects);
        self.engine.settle(self.now_ms, log, &mut effects);
        let mut outcomes = effects.into_iter().map(|Effect::Reply(_, outcome)| outcome);
        let outcome = outcomes.next();
        assert_eq!(outcome.is_some(), expects_reply);
        assert!(outcomes.next().is_none());
        outcome
    }

    fn receive(&mut self, stream: u32, max: usize, visibility_ms: Option<u64>) -> Vec<Delivery> {
        let request = ReceiveRequest {
            max,
            visibility_ms,
            wait_ms: Some(0),
            skip: vec![],
            attempt_id: None,
            waiter_id: 1,
        };
        match self.round(Some(Command::Receive { stream, request, reply: Token })) {
            Some(Outcome::Received(deliveries)) => deliveries,
            _ => panic!("receive was not answered with deliveries"),
        }
    }

    fn settled(&mut self, command: Command<Token>) -> bool {
        match self.round(Some(command)) {
            Some(Outcome::Settled(settled)) => settled[0].is_ok(),
            _ => panic!("a change of a delivery was not answered"),
        }
    }
}

/// A message as the front stores it, in clear.
fn stored(id: [u8; 16], sent_at_ms: u64) -> Vec<u8> {
    let draft = DraftMessage {
        message_id: id,
        sent_at_ms,
        origin_stream: STREAMS[0],
        context_arn: "",
        clear: b"",
        body: &id,
        body_md5: [0; 16],
    };
    let mut stored = Vec::new();
    store_plain(&draft, &mut stored).unwrap();
    stored
}

fn id_of(record: &sealq_storage::Record) -> [u8; 16] {
    *SealedMessage::parse(record.body().unwrap()).unwrap().message_id()
}

struct Run {
    subject: Subject,
    queues: [QueueModel; 2],
    sent: u64,
}

impl Run {
    fn send(&mut self, delay_ms: u64, group: u8, dedup: Option<u8>) {
        let (now_ms, fifo) = (self.subject.now_ms, self.subject.fifo);
        self.sent += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.sent.to_be_bytes());
        let dedup = dedup.filter(|_| fifo);
        let key = dedup.map(|key| [key; 16]);
        let visible_at_ms = now_ms + if fifo { 0 } else { delay_ms };
        let mut extension = Vec::new();
        Extension { dedup_key: key, ..Extension::default() }.encode(&mut extension);
        let item = SendItem {
            sealed: stored(id, now_ms),
            extension,
            message_id: id,
            sent_at_ms: now_ms,
            visible_at_ms,
            group_hash: u64::from(group),
            dedup_key: key,
            body_bytes: 16,
        };
        let command = Command::Send { stream: STREAMS[0], items: vec![item], reply: Token };
        let Some(Outcome::Sent(sent)) = self.subject.round(Some(command)) else { panic!("send was refused") };
        let queue = &mut self.queues[0];
        let original = dedup.and_then(|key| queue.accepted.get(&key)).copied();
        if let Some((accepted_at_ms, original_id, sequence)) = original
            && accepted_at_ms + DEDUP_WINDOW_MS > now_ms
        {
            assert_eq!((sent[0].message_id, sent[0].sequence), (original_id, sequence), "a duplicate");
            return;
        }
        assert_eq!(sent[0].message_id, id);
        if let Some(key) = dedup {
            queue.accepted.insert(key, (now_ms, id, sent[0].sequence));
        }
        let message = Message { id, sent_at_ms: now_ms, visible_at_ms, received: 0, group };
        let before = queue.messages.insert(sent[0].sequence, message);
        assert!(before.is_none(), "sequences are never used again");
    }

    fn receive(&mut self, at: usize, max: usize, visibility_ms: Option<u64>) {
        let (now_ms, fifo) = (self.subject.now_ms, self.subject.fifo);
        let expected = self.queues[at].deliverable(now_ms, fifo);
        let deliveries = self.subject.receive(STREAMS[at], max, visibility_ms);
        assert!(deliveries.len() <= max);
        self.take_moves(at, &expected);
        let queue = &mut self.queues[at];
        let delivered: BTreeSet<u64> = deliveries.iter().map(|delivery| delivery.sequence).collect();
        assert_eq!(delivered.len(), deliveries.len(), "a message twice in one reply");
        let mut last_of_group = HashMap::new();
        for delivery in &deliveries {
            let sequence = delivery.sequence;
            // Behind a message that left for the dead-letter queue others became deliverable.
            let message = queue.messages.get(&sequence).expect("what is delivered is there");
            assert!(message.visible_at_ms <= now_ms, "{sequence} is held");
            assert_eq!(id_of(&delivery.record), message.id);
            assert_eq!(delivery.receive_count, message.received + 1);
            assert!(at == 1 || message.received < RECEIVES_MAX, "received more often than allowed");
            if fifo {
                let group = message.group;
                let last = last_of_group.insert(group, sequence);
                assert!(last.is_none_or(|last| last < sequence), "order within a group");
                let mut earlier = queue.messages.range(..sequence).filter(|(_, m)| m.group == group);
                assert!(
                    earlier.all(|(earlier, _)| delivered.contains(earlier)),
                    "{sequence} overtook another"
                );
            }
        }
        if deliveries.len() < max {
            let mut left = queue.deliverable(now_ms, fifo).into_iter().filter(|s| !delivered.contains(s));
            if fifo {
                let groups: BTreeSet<u8> = delivered.iter().map(|s| queue.messages[s].group).collect();
                left.by_ref().for_each(|s| {
                    assert!(groups.contains(&queue.messages[&s].group), "{s} was not delivered");
                });
            }
            assert_eq!(left.next(), None, "was not delivered");
        }
        for delivery in &deliveries {
            let message = queue.messages.get_mut(&delivery.sequence).unwrap();
            message.received += 1;
            message.visible_at_ms = now_ms + visibility_ms.unwrap_or(VISIBILITY_MS);
            let receipt = Receipt { sequence: delivery.sequence, receive_count: delivery.receive_count };
            queue.receipts.push(receipt);
        }
    }

    /// Follows the messages that a receive has moved away: each was received too often, and is in the other queue now.
    fn take_moves(&mut self, at: usize, deliverable: &[u64]) {
        let log = self.subject.log.as_ref().unwrap();
        let gone: Vec<u64> = self.queues[at]
            .messages
            .keys()
            .copied()
            .filter(|sequence| log.facts(STREAMS[at], *sequence).is_none())
            .collect();
        for sequence in gone {
            let message = self.queues[at].messages.remove(&sequence).unwrap();
            assert!(at == 0 && message.received >= RECEIVES_MAX, "{sequence} has vanished");
            let was_next = deliverable.contains(&sequence);
            assert!(was_next || self.subject.fifo, "{sequence} was moved while it was held");
            let (mut from, mut found) = (0, Vec::new());
            while let Some(facts) = log.next_live(STREAMS[1], from) {
                if id_of(&log.read(STREAMS[1], facts.sequence).unwrap()) == message.id {
                    found.push(facts);
                }
                from = facts.sequence + 1;
            }
            assert_eq!(found.len(), 1, "a moved message is in the dead-letter queue once");
            assert_eq!(found[0].receive_count, message.received, "the count goes on");
            let now_ms = self.subject.now_ms;
            let sent_at_ms = if self.subject.fifo { now_ms } else { message.sent_at_ms };
            let moved = Message { sent_at_ms, visible_at_ms: now_ms, ..message };
            self.queues[1].messages.insert(found[0].sequence, moved);
        }
    }

    fn delete(&mut self, at: usize, pick: usize) {
        let (queue, now_ms) = (&mut self.queues[at], self.subject.now_ms);
        let Some(receipt) = queue.receipts.get(pick % queue.receipts.len().max(1)).copied() else { return };
        let command = Command::Delete { stream: STREAMS[at], receipts: vec![receipt], reply: Token };
        let deleted = self.subject.settled(command);
        let is_there = queue.messages.contains_key(&receipt.sequence);
        if self.subject.fifo && is_there && !queue.holds(&receipt, now_ms) {
            assert!(!deleted, "an ended delivery of a FIFO queue deletes nothing");
        } else {
            assert!(deleted);
            queue.messages.remove(&receipt.sequence);
        }
    }

    fn change_visibility(&mut self, at: usize, pick: usize, timeout_ms: u64) {
        let (queue, now_ms) = (&mut self.queues[at], self.subject.now_ms);
        let Some(receipt) = queue.receipts.get(pick % queue.receipts.len().max(1)).copied() else { return };
        let changes = vec![VisibilityChange { receipt, timeout_ms }];
        let changed =
            self.subject.settled(Command::ChangeVisibility { stream: STREAMS[at], changes, reply: Token });
        let holds = queue.holds(&receipt, now_ms);
        match queue.messages.get_mut(&receipt.sequence) {
            Some(message) if holds || !self.subject.fifo => {
                assert!(changed);
                message.visible_at_ms = now_ms + timeout_ms;
            }
            _ => assert!(!changed),
        }
    }

    fn advance(&mut self, ms: u64) {
        self.subject.now_ms += ms;
        self.subject.round(None);
        let now_ms = self.subject.now_ms;
        for queue in &mut self.queues {
            queue.messages.retain(|_, message| message.sent_at_ms + RETENTION_MS > now_ms);
        }
    }

    fn purge(&mut self, at: usize) {
        let command = Command::Purge { stream: STREAMS[at], puts: vec![], reply: Token };
        assert!(matches!(self.subject.round(Some(command)), Some(Outcome::Stored)));
        self.queues[at].messages.clear();
        self.queues[at].accepted.clear();
    }

    /// Opens the log anew.
    fn start(&mut self) {
        self.subject.open();
    }

    fn check_counts(&self) {
        let now_ms = self.subject.now_ms;
        for (queue, gauges) in self.queues.iter().zip(&self.subject.gauges) {
            let held = |m: &&Message| m.visible_at_ms > now_ms;
            let delayed = queue.messages.values().filter(held).filter(|m| m.received == 0).count() as u64;
            let in_flight = queue.messages.values().filter(held).filter(|m| m.received > 0).count() as u64;
            let visible = queue.messages.len() as u64 - delayed - in_flight;
            let got = [&gauges.visible, &gauges.not_visible, &gauges.delayed].map(QueueGauges::get);
            assert_eq!(got, [visible, in_flight, delayed]);
        }
        let oldest = self.queues[0].messages.values().map(|m| m.sent_at_ms).min().unwrap_or(0);
        assert_eq!(QueueGauges::get(&self.subject.gauges[0].oldest_sent_at_ms), oldest);
    }
}

fn run(fifo: bool, steps: Vec<Step>) {
    let mut run = Run { subject: Subject::new(fifo), queues: Default::default(), sent: 0 };
    for step in steps {
        match step {
            Step::Send { delay_ms, group, dedup } => run.send(delay_ms, group, dedup),
            Step::Receive { dead, max, visibility_ms } => run.receive(usize::from(dead), max, visibility_ms),
            Step::Delete { dead, pick } => run.delete(usize::from(dead), pick),
            Step::ChangeVisibility { dead, pick, timeout_ms } => {
                run.change_visibility(usize::from(dead), pick, timeout_ms);
            }
            Step::Advance { ms } => run.advance(ms),
            Step::Purge { dead } => run.purge(usize::from(dead)),
            Step::Restart => {
                run.subject.log.take().unwrap().close().unwrap();
                run.start();
            }
            Step::Crash => {
                // No checkpoint: everything is read from the frames.
                drop(run.subject.log.take());
                run.start();
            }
        }
        run.check_counts();
    }
}

/// Found by the test below: a message that left for the dead-letter queue put its group in line again in the midst of a
/// receive.
#[test]
fn a_released_message_comes_once_in_a_reply_beside_one_that_is_moved() {
    let send = |group| Step::Send { delay_ms: 0, group, dedup: None };
    let receive = |max, visibility_ms| Step::Receive { dead: false, max, visibility_ms };
    run(
        true,
        vec![
            send(0),
            send(0),
            send(0),
            send(2),
            receive(4, None),
            Step::Advance { ms: VISIBILITY_MS },
            receive(4, Some(0)),
            send(2),
            receive(4, None),
            Step::Advance { ms: DEDUP_WINDOW_MS - 1 },
            receive(2, Some(0)),
        ],
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_standard_queue_behaves_as_the_reference(steps in steps()) {
        run(false, steps);
    }

    #[test]
    fn a_fifo_queue_behaves_as_the_reference(steps in steps()) {
        run(true, steps);
    }
}
