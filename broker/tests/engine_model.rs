//! The engine against a small reference queue: random interleavings of sends, receives, deletes, visibility changes,
//! time and restarts. What the reference says must be delivered is delivered, and nothing else; counts are exact.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use sealq_broker::engine::Engine;
use sealq_broker::engine::command::{
    Command, Delivery, Effect, Outcome, Receipt, ReceiveRequest, ReplyToken, SendItem, VisibilityChange,
};
use sealq_broker::engine::gauges::QueueGauges;
use sealq_broker::engine::queue::QueueRules;
use sealq_storage::{IoChoice, Log, LogOptions};

const STREAM: u32 = 7;
const VISIBILITY_MS: u64 = 30_000;
const RETENTION_MS: u64 = 3_600_000;

#[derive(Debug, Clone, Copy)]
struct Token;

impl ReplyToken for Token {
    fn is_abandoned(&self) -> bool {
        false
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send { delay_ms: u64, group: u8 },
    Receive { max: usize, visibility_ms: Option<u64> },
    Delete { pick: usize },
    ChangeVisibility { pick: usize, timeout_ms: u64 },
    Advance { ms: u64 },
    Purge,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop_oneof![3 => Just(0), 1 => 1..20_000u64], 0..4u8)
            .prop_map(|(delay_ms, group)| Step::Send { delay_ms, group }),
        5 => (1..=10usize, proptest::option::of(0..60_000u64))
            .prop_map(|(max, visibility_ms)| Step::Receive { max, visibility_ms }),
        4 => any::<usize>().prop_map(|pick| Step::Delete { pick }),
        2 => (any::<usize>(), prop_oneof![Just(0), 1..60_000u64])
            .prop_map(|(pick, timeout_ms)| Step::ChangeVisibility { pick, timeout_ms }),
        3 => prop_oneof![1..2_000u64, 10_000..40_000u64, Just(RETENTION_MS)].prop_map(|ms| Step::Advance { ms }),
        1 => Just(Step::Purge),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Debug, Clone)]
struct Reference {
    sent_at_ms: u64,
    visible_at_ms: u64,
    received: u32,
    group: u8,
}

struct Subject {
    dir: tempfile::TempDir,
    log: Option<Log>,
    engine: Engine<Token>,
    gauges: Arc<QueueGauges>,
    now_ms: u64,
    fifo: bool,
}

impl Subject {
    fn new(fifo: bool) -> Self {
        let mut subject = Self {
            dir: tempfile::tempdir().unwrap(),
            log: None,
            engine: Engine::new(|| [9; 16]),
            gauges: Arc::default(),
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
        let (log, _) = Log::open(options).unwrap();
        self.engine = Engine::new(|| [9; 16]);
        self.gauges = Arc::default();
        self.engine.restore_queue(self.now_ms, STREAM, self.rules(), self.gauges.clone(), &log);
        self.log = Some(log);
        self.round(None);
    }

    fn rules(&self) -> QueueRules {
        QueueRules {
            arn: "arn:aws:sqs:us-east-1:000000000000:q".into(),
            fifo: self.fifo,
            delay_ms: 0,
            visibility_ms: VISIBILITY_MS,
            retention_ms: RETENTION_MS,
            wait_ms: 0,
            dead_letter: None,
            is_dead_letter_target: false,
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
        let staged = log.staged_bytes() > 0;
        while log.staged_bytes() > 0 || !self.engine.idle() {
            log.wait(Some(std::time::Duration::from_millis(50))).unwrap();
            self.engine.durable(self.now_ms, log.durable_lsn(), log, &mut effects);
        }
        let _ = staged;
        self.engine.durable(self.now_ms, log.durable_lsn(), log, &mut effects);
        self.engine.settle(self.now_ms, log, &mut effects);
        let mut outcomes = effects.into_iter().map(|Effect::Reply(_, outcome)| outcome);
        let outcome = outcomes.next();
        assert_eq!(outcome.is_some(), expects_reply);
        assert!(outcomes.next().is_none());
        outcome
    }

    fn receive(&mut self, max: usize, visibility_ms: Option<u64>) -> Vec<Delivery> {
        let request = ReceiveRequest {
            max,
            visibility_ms,
            wait_ms: Some(0),
            skip: vec![],
            attempt_id: None,
            waiter_id: 1,
        };
        match self.round(Some(Command::Receive { stream: STREAM, request, reply: Token })) {
            Some(Outcome::Received(deliveries)) => deliveries,
            _ => panic!("receive was not answered with deliveries"),
        }
    }
}

/// Which messages a receive may return now, in order.
fn deliverable(reference: &BTreeMap<u64, Reference>, now_ms: u64, fifo: bool) -> Vec<u64> {
    let mut blocked: HashMap<u8, bool> = HashMap::new();
    let mut list = Vec::new();
    for (sequence, message) in reference {
        let group_blocked = blocked.entry(message.group).or_default();
        if message.visible_at_ms > now_ms {
            *group_blocked = true;
        } else if !(fifo && *group_blocked) {
            list.push(*sequence);
        }
    }
    list
}

fn run(fifo: bool, steps: Vec<Step>) {
    let mut subject = Subject::new(fifo);
    let mut reference: BTreeMap<u64, Reference> = BTreeMap::new();
    let mut receipts: Vec<Receipt> = Vec::new();
    for step in steps {
        let now_ms = subject.now_ms;
        match step {
            Step::Send { delay_ms, group } => {
                let delay_ms = if fifo { 0 } else { delay_ms };
                let item = SendItem {
                    sealed: format!("body of {group}").into_bytes(),
                    extension: vec![],
                    message_id: [1; 16],
                    sent_at_ms: now_ms,
                    visible_at_ms: now_ms + delay_ms,
                    group_hash: u64::from(group),
                    dedup_key: None,
                    body_bytes: 9,
                };
                let command = Command::Send { stream: STREAM, items: vec![item], reply: Token };
                let Some(Outcome::Sent(sent)) = subject.round(Some(command)) else {
                    panic!("send was refused")
                };
                let message =
                    Reference { sent_at_ms: now_ms, visible_at_ms: now_ms + delay_ms, received: 0, group };
                assert!(
                    reference.insert(sent[0].sequence, message).is_none(),
                    "sequences are never used again"
                );
            }
            Step::Receive { max, visibility_ms } => {
                let expected = deliverable(&reference, now_ms, fifo);
                let deliveries = subject.receive(max, visibility_ms);
                assert_eq!(deliveries.len(), expected.len().min(max), "{expected:?}");
                let mut last_of_group: HashMap<u8, u64> = HashMap::new();
                for delivery in deliveries {
                    assert!(expected.contains(&delivery.sequence), "{} of {expected:?}", delivery.sequence);
                    let message = reference.get_mut(&delivery.sequence).unwrap();
                    message.received += 1;
                    message.visible_at_ms = now_ms + visibility_ms.unwrap_or(VISIBILITY_MS);
                    assert_eq!(delivery.receive_count, message.received);
                    assert_eq!(
                        delivery.record.body().unwrap(),
                        format!("body of {}", message.group).as_bytes()
                    );
                    if fifo {
                        let last = last_of_group.insert(message.group, delivery.sequence);
                        assert!(last.is_none_or(|last| last < delivery.sequence), "order within a group");
                    }
                    receipts
                        .push(Receipt { sequence: delivery.sequence, receive_count: delivery.receive_count });
                }
            }
            Step::Delete { pick } if !receipts.is_empty() => {
                let receipt = receipts[pick % receipts.len()];
                let command = Command::Delete { stream: STREAM, receipts: vec![receipt], reply: Token };
                let Some(Outcome::Settled(settled)) = subject.round(Some(command)) else {
                    panic!("no answer")
                };
                let live = reference.get(&receipt.sequence);
                let holds =
                    live.is_some_and(|m| m.received == receipt.receive_count && m.visible_at_ms > now_ms);
                if fifo && live.is_some() && !holds {
                    assert!(settled[0].is_err(), "an ended delivery of a FIFO queue deletes nothing");
                } else {
                    assert!(settled[0].is_ok());
                    reference.remove(&receipt.sequence);
                }
            }
            Step::ChangeVisibility { pick, timeout_ms } if !receipts.is_empty() => {
                let receipt = receipts[pick % receipts.len()];
                let change = VisibilityChange { receipt, timeout_ms };
                let command =
                    Command::ChangeVisibility { stream: STREAM, changes: vec![change], reply: Token };
                let Some(Outcome::Settled(settled)) = subject.round(Some(command)) else {
                    panic!("no answer")
                };
                match reference.get_mut(&receipt.sequence) {
                    None => assert!(settled[0].is_err()),
                    Some(m) if fifo && (m.received != receipt.receive_count || m.visible_at_ms <= now_ms) => {
                        assert!(settled[0].is_err());
                    }
                    Some(message) => {
                        assert!(settled[0].is_ok());
                        message.visible_at_ms = now_ms + timeout_ms;
                    }
                }
            }
            Step::Advance { ms } => {
                subject.now_ms += ms;
                subject.round(None);
                let now_ms = subject.now_ms;
                reference.retain(|_, message| message.sent_at_ms + RETENTION_MS > now_ms);
            }
            Step::Purge => {
                let command = Command::Purge { stream: STREAM, puts: vec![], reply: Token };
                assert!(matches!(subject.round(Some(command)), Some(Outcome::Stored)));
                reference.clear();
            }
            Step::Restart => {
                subject.log.take().unwrap().close().unwrap();
                subject.open();
            }
            Step::Delete { .. } | Step::ChangeVisibility { .. } => {}
        }
        check_counts(&subject, &reference);
    }
}

fn check_counts(subject: &Subject, reference: &BTreeMap<u64, Reference>) {
    let held = |m: &&Reference| m.visible_at_ms > subject.now_ms;
    let delayed = reference.values().filter(held).filter(|m| m.received == 0).count() as u64;
    let in_flight = reference.values().filter(held).filter(|m| m.received > 0).count() as u64;
    let visible = reference.len() as u64 - delayed - in_flight;
    let gauges = &subject.gauges;
    let got = [&gauges.visible, &gauges.not_visible, &gauges.delayed].map(QueueGauges::get);
    assert_eq!(got, [visible, in_flight, delayed]);
    let oldest = reference.values().map(|m| m.sent_at_ms).min().unwrap_or(0);
    assert_eq!(QueueGauges::get(&gauges.oldest_sent_at_ms), oldest);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_standard_queue_behaves_as_the_reference(steps in steps()) {
        run(false, steps);
    }

    #[test]
    fn a_fifo_queue_behaves_as_the_reference(steps in steps()) {
        run(true, steps);
    }
}
