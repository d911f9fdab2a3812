//! The engine with many messages: order and counts over a restart, what a locked group holds up, how a mass expiry and
//! a dead-letter queue that has to be read again behave.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use sealq_broker::engine::Engine;
use sealq_broker::engine::command::{
    Command, Delivery, Effect, Outcome, Receipt, ReceiveRequest, ReplyToken, SendItem,
};
use sealq_broker::engine::gauges::QueueGauges;
use sealq_broker::engine::queue::{DeadLetter, QueueRules};
use sealq_storage::{IoChoice, Log, LogOptions};

const VISIBILITY_MS: u64 = 30_000;
const RETENTION_MS: u64 = 3_600_000;

#[derive(Debug, Clone, Copy)]
struct Token;

impl ReplyToken for Token {
    fn is_abandoned(&self) -> bool {
        false
    }
}

fn fifo() -> QueueRules {
    QueueRules { fifo: true, ..standard() }
}

fn standard() -> QueueRules {
    QueueRules {
        arn: "arn:aws:sqs:us-east-1:000000000000:q".into(),
        fifo: false,
        delay_ms: 0,
        visibility_ms: VISIBILITY_MS,
        retention_ms: RETENTION_MS,
        wait_ms: 0,
        dead_letter: None,
        is_dead_letter_target: false,
    }
}

/// Queues numbered from 1 over a log of small segments.
struct Broker {
    dir: tempfile::TempDir,
    log: Option<Log>,
    engine: Engine<Token>,
    rules: Vec<QueueRules>,
    gauges: Vec<Arc<QueueGauges>>,
    now_ms: u64,
}

impl Broker {
    fn new(rules: Vec<QueueRules>) -> Self {
        let mut broker = Self {
            dir: tempfile::tempdir().unwrap(),
            log: None,
            engine: Engine::new(|| [9; 16]),
            gauges: Vec::new(),
            rules,
            now_ms: 1_000_000_000,
        };
        broker.restart();
        broker
    }

    /// The messages stay, what the engine knew is lost.
    fn restart(&mut self) {
        self.log = None;
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
        self.gauges = self.rules.iter().map(|_| Arc::default()).collect();
        for (at, rules) in self.rules.iter().enumerate() {
            let gauges = self.gauges[at].clone();
            self.engine.restore_queue(self.now_ms, at as u32 + 1, rules.clone(), gauges, &mut log);
        }
        self.log = Some(log);
    }

    fn ask(&mut self, command: Option<Command<Token>>) -> Option<Outcome> {
        let log = self.log.as_mut().unwrap();
        let mut effects = Vec::new();
        self.engine.tick(self.now_ms, log, &mut effects);
        if let Some(command) = command {
            self.engine.handle(self.now_ms, command, log, &mut effects);
        }
        while log.staged_bytes() > 0 || !self.engine.idle() {
            log.wait(Some(Duration::from_millis(50))).unwrap();
            self.engine.durable(self.now_ms, log.durable_lsn(), log, &mut effects);
        }
        self.engine.settle(self.now_ms, log, &mut effects);
        effects.pop().map(|Effect::Reply(_, outcome)| outcome)
    }

    fn send(&mut self, stream: u32, group: u64, delay_ms: u64) -> u64 {
        let item = SendItem {
            sealed: stored_body(),
            extension: no_extension(),
            message_id: [1; 16],
            sent_at_ms: self.now_ms,
            visible_at_ms: self.now_ms + delay_ms,
            group_hash: group,
            dedup_key: None,
            body_bytes: 9,
        };
        match self.ask(Some(Command::Send { stream, items: vec![item], reply: Token })) {
            Some(Outcome::Sent(sent)) => sent[0].sequence,
            _ => panic!("the send was refused"),
        }
    }

    /// Many at once, one group each.
    fn send_all(&mut self, stream: u32, groups: impl Iterator<Item = u64>) {
        let items = groups
            .map(|group_hash| SendItem {
                sealed: vec![7; 40],
                extension: vec![],
                message_id: [1; 16],
                sent_at_ms: self.now_ms,
                visible_at_ms: self.now_ms,
                group_hash,
                dedup_key: None,
                body_bytes: 9,
            })
            .collect();
        let sent = self.ask(Some(Command::Send { stream, items, reply: Token }));
        assert!(matches!(sent, Some(Outcome::Sent(_))));
    }

    fn receive(&mut self, stream: u32, max: usize) -> Vec<Delivery> {
        let request = ReceiveRequest {
            max,
            visibility_ms: None,
            wait_ms: Some(0),
            skip: vec![],
            attempt_id: None,
            waiter_id: 1,
        };
        match self.ask(Some(Command::Receive { stream, request, reply: Token })) {
            Some(Outcome::Received(deliveries)) => deliveries,
            _ => panic!("the receive was not answered with deliveries"),
        }
    }

    fn delete(&mut self, stream: u32, deliveries: &[Delivery]) {
        let receipts = deliveries
            .iter()
            .map(|d| Receipt { sequence: d.sequence, receive_count: d.receive_count })
            .collect();
        let deleted = self.ask(Some(Command::Delete { stream, receipts, reply: Token }));
        assert!(matches!(deleted, Some(Outcome::Settled(all)) if all.iter().all(Result::is_ok)));
    }

    fn visible(&self, stream: u32) -> u64 {
        QueueGauges::get(&self.gauges[stream as usize - 1].visible)
    }

    /// Lets the reading that follows a start come to its end.
    fn rest(&mut self) {
        for _ in 0..100 {
            self.ask(None);
        }
    }
}

/// A body that can be moved: a stored message.
fn stored_body() -> Vec<u8> {
    let draft = sealq_crypto::DraftMessage {
        message_id: [1; 16],
        sent_at_ms: 1,
        origin_stream: 1,
        context_arn: "",
        clear: b"",
        body: b"body",
        body_md5: [0; 16],
    };
    let mut stored = Vec::new();
    sealq_crypto::store_plain(&draft, &mut stored).unwrap();
    stored
}

/// What stands beside it in the record.
fn no_extension() -> Vec<u8> {
    let mut encoded = Vec::new();
    sealq_broker::extension::Extension::default().encode(&mut encoded);
    encoded
}

#[test]
fn a_fifo_queue_of_many_groups_is_delivered_once_and_in_order_across_restarts() {
    const GROUPS: u64 = 3_000;
    const MESSAGES: u64 = 12_000;
    let mut broker = Broker::new(vec![fifo()]);
    for from in (0..MESSAGES).step_by(1_000) {
        broker.send_all(1, (from..from + 1_000).map(|n| 1 + n % GROUPS));
    }
    let mut last = HashMap::<u64, u64>::new();
    let mut seen = 0;
    while seen < MESSAGES {
        if seen == 0 || seen == 5_000 {
            broker.restart();
            assert_eq!(broker.visible(1), MESSAGES - seen);
        }
        // The answer may be short while messages are still being read after the start, but never empty.
        let deliveries = broker.receive(1, 1_000);
        assert!(!deliveries.is_empty());
        for delivery in &deliveries {
            let group = 1 + (delivery.sequence - 1) % GROUPS;
            let before = last.insert(group, delivery.sequence).unwrap_or(0);
            assert!(before < delivery.sequence && delivery.receive_count == 1);
            assert!(
                before == 0 || before + GROUPS == delivery.sequence,
                "{before} then {}",
                delivery.sequence
            );
        }
        seen += deliveries.len() as u64;
        broker.delete(1, &deliveries);
    }
    assert_eq!(broker.visible(1), 0);
    assert!(broker.receive(1, 10).is_empty());
}

#[test]
fn a_group_behind_a_deep_locked_one_is_served_also_right_after_a_start() {
    let mut broker = Broker::new(vec![fifo()]);
    for _ in 0..30 {
        broker.send_all(1, std::iter::repeat_n(5, 1_000));
    }
    let other = broker.send(1, 6, 0);
    let head = broker.receive(1, 1);
    assert_eq!(head[0].sequence, 1);
    for _ in 0..2 {
        let found = broker.receive(1, 10);
        assert_eq!(found.iter().map(|d| d.sequence).collect::<Vec<_>>(), [other]);
        assert!(broker.receive(1, 10).is_empty());
        broker.now_ms += VISIBILITY_MS / 4;
        broker.restart();
        // Only the other group's message comes back in time for the next look: the head is received again first.
        broker.now_ms += VISIBILITY_MS;
        assert_eq!(broker.receive(1, 1)[0].sequence, 1);
    }
}

#[test]
fn a_send_right_after_a_start_waits_until_it_is_known_whether_it_is_a_duplicate() {
    const MESSAGES: u64 = 2_600;
    let mut broker = Broker::new(vec![fifo()]);
    let item = |number: u64, now_ms: u64| {
        let dedup_key = Some(u128::from(number).to_le_bytes());
        let mut extension = Vec::new();
        sealq_broker::extension::Extension { dedup_key, ..Default::default() }.encode(&mut extension);
        SendItem {
            sealed: stored_body(),
            extension,
            message_id: [2; 16],
            sent_at_ms: now_ms,
            visible_at_ms: now_ms,
            group_hash: 4,
            dedup_key,
            body_bytes: 4,
        }
    };
    let items = (1..=MESSAGES).map(|number| item(number, broker.now_ms)).collect();
    broker.ask(Some(Command::Send { stream: 1, items, reply: Token }));
    broker.restart();
    broker.now_ms += 1_000;
    let mut sent = Vec::new();
    for number in [1, MESSAGES + 1] {
        let items = vec![item(number, broker.now_ms)];
        let answer = broker.ask(Some(Command::Send { stream: 1, items, reply: Token }));
        assert!(answer.is_none(), "its key may stand in a message that was not read yet");
    }
    for _ in 0..10 {
        let log = broker.log.as_mut().unwrap();
        let mut effects = Vec::new();
        broker.engine.tick(broker.now_ms, log, &mut effects);
        log.flush().unwrap();
        broker.engine.durable(broker.now_ms, log.durable_lsn(), log, &mut effects);
        for Effect::Reply(_, outcome) in effects {
            let Outcome::Sent(answer) = outcome else { panic!("a send was refused") };
            sent.push((answer[0].message_id, answer[0].sequence));
        }
    }
    assert_eq!(sent, [([1; 16], 1), ([2; 16], MESSAGES + 1)]);
    broker.rest();
    assert_eq!(broker.visible(1), MESSAGES + 1);
}

#[test]
fn a_mass_expiry_goes_in_steps_and_is_counted() {
    let mut broker = Broker::new(vec![standard()]);
    for _ in 0..5 {
        broker.send_all(1, std::iter::repeat_n(0, 1_000));
    }
    broker.now_ms += RETENTION_MS;
    broker.ask(None);
    assert_eq!(broker.visible(1), 4_000);
    for _ in 0..5 {
        broker.now_ms += 1;
        broker.ask(None);
    }
    assert_eq!(broker.visible(1), 0);
}

fn with_dead_letters() -> Broker {
    let dead_letter = Some(DeadLetter { stream: 2, max_receive_count: 1 });
    let source = QueueRules { dead_letter, ..standard() };
    Broker::new(vec![source, QueueRules { is_dead_letter_target: true, ..standard() }])
}

/// Messages of queue 1 that were received once go to queue 2.
fn bury(broker: &mut Broker) {
    while !broker.receive(1, 10).is_empty() {}
    broker.now_ms += VISIBILITY_MS;
    assert!(broker.receive(1, 10).is_empty());
    broker.ask(None);
}

#[test]
fn moved_messages_expire_by_their_own_age_after_a_restart_too() {
    for restarts in [false, true] {
        let mut broker = with_dead_letters();
        let begun_ms = broker.now_ms;
        for _ in 0..70 {
            broker.send(1, 0, 0);
        }
        broker.now_ms += RETENTION_MS / 2;
        broker.send(2, 0, 0);
        bury(&mut broker);
        assert_eq!((broker.visible(1), broker.visible(2)), (0, 71));
        if restarts {
            broker.restart();
            broker.rest();
        }
        assert_eq!(QueueGauges::get(&broker.gauges[1].oldest_sent_at_ms), begun_ms);
        broker.now_ms = begun_ms + RETENTION_MS;
        broker.rest();
        assert_eq!(broker.visible(2), 1, "restarts: {restarts}");
        let left = broker.receive(2, 10);
        assert_eq!(left.iter().map(|d| d.sequence).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn a_delayed_message_among_moved_ones_comes_after_a_restart() {
    let mut broker = with_dead_letters();
    for _ in 0..40 {
        broker.send(1, 0, 0);
    }
    broker.now_ms += RETENTION_MS / 2;
    let delayed = broker.send(2, 0, 200_000);
    bury(&mut broker);
    broker.restart();
    broker.rest();
    assert_eq!(broker.visible(2), 40);
    let mut found = BTreeMap::new();
    for delivery in broker.receive(2, 100) {
        found.insert(delivery.sequence, ());
    }
    assert!(found.len() == 40 && !found.contains_key(&delayed));
    broker.now_ms += 200_000;
    assert!(broker.receive(2, 100).iter().any(|d| d.sequence == delayed));
}

#[test]
fn a_delay_among_more_messages_than_are_read_at_the_start_is_kept() {
    const BEFORE: u64 = 52_000;
    let mut broker = Broker::new(vec![standard()]);
    broker.send_all(1, 0..BEFORE);
    let delayed = broker.send(1, 0, 200_000);
    broker.send_all(1, 0..BEFORE);
    broker.restart();
    assert_eq!(broker.receive(1, 10).len(), 10);
    broker.rest();
    assert_eq!(QueueGauges::get(&broker.gauges[0].delayed), 1);
    assert_eq!(broker.visible(1), 2 * BEFORE - 10);
    let mut early = broker.receive(1, 2 * BEFORE as usize);
    assert!(early.len() == 2 * BEFORE as usize - 10 && early.iter().all(|found| found.sequence != delayed));
    early.clear();
    broker.now_ms += 200_000;
    assert!(broker.receive(1, 3 * BEFORE as usize).iter().any(|found| found.sequence == delayed));
}

#[test]
fn nothing_is_moved_into_a_queue_that_was_deleted_a_moment_ago() {
    let mut broker = with_dead_letters();
    broker.send(1, 0, 0);
    assert_eq!(broker.receive(1, 1).len(), 1);
    let dropped = broker.ask(Some(Command::DropQueue { stream: 2, deletes: vec![], reply: Token }));
    assert!(matches!(dropped, Some(Outcome::Stored)));
    broker.now_ms += VISIBILITY_MS;
    let again = broker.receive(1, 1);
    assert_eq!((again.len(), again[0].receive_count), (1, 2));
}
