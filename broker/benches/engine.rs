//! One step of the engine over a real log: ten messages sent, received and deleted, commits included.

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sealq_broker::engine::Engine;
use sealq_broker::engine::command::{
    Command, Effect, Outcome, Receipt, ReceiveRequest, ReplyToken, SendItem,
};
use sealq_broker::engine::queue::QueueRules;
use sealq_storage::{IoChoice, Log, LogOptions};

struct Token;

impl ReplyToken for Token {
    fn is_abandoned(&self) -> bool {
        false
    }
}

fn rules() -> QueueRules {
    QueueRules {
        arn: "arn:aws:sqs:us-east-1:000000000000:q".into(),
        fifo: false,
        delay_ms: 0,
        visibility_ms: 30_000,
        retention_ms: 345_600_000,
        wait_ms: 0,
        dead_letter: None,
        is_dead_letter_target: false,
    }
}

fn round(engine: &mut Engine<Token>, log: &mut Log, command: Command<Token>) -> Outcome {
    let mut effects = Vec::new();
    engine.handle(1_000, command, log, &mut effects);
    while effects.is_empty() {
        log.wait(Some(Duration::from_millis(100))).expect("the log works");
        engine.durable(1_000, log.durable_lsn(), log, &mut effects);
    }
    engine.settle(1_000, log, &mut effects);
    let Some(Effect::Reply(_, outcome)) = effects.pop() else { panic!("no answer") };
    outcome
}

fn send_receive_delete(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let options = LogOptions {
        dir: dir.path().to_owned(),
        segment_bytes: 64 << 20,
        io: IoChoice::Auto,
        free_space_min_bytes: 0,
        tail_cache_bytes: 16 << 20,
        shard: 0,
    };
    let (mut log, _) = Log::open(options).expect("a log");
    let mut engine = Engine::new(|| [7; 16]);
    engine.restore_queue(1_000, 1, rules(), Arc::default(), &mut log);
    let item = || SendItem {
        sealed: vec![b'x'; 1_300],
        extension: Vec::new(),
        message_id: [1; 16],
        sent_at_ms: 1_000,
        visible_at_ms: 1_000,
        group_hash: 0,
        dedup_key: None,
        body_bytes: 1_024,
    };
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(10));
    group.bench_function("send_receive_delete_10", |b| {
        b.iter(|| {
            let items = (0..10).map(|_| item()).collect();
            round(&mut engine, &mut log, Command::Send { stream: 1, items, reply: Token });
            let request = ReceiveRequest {
                max: 10,
                visibility_ms: None,
                wait_ms: Some(0),
                skip: Vec::new(),
                attempt_id: None,
                waiter_id: 1,
            };
            let received =
                round(&mut engine, &mut log, Command::Receive { stream: 1, request, reply: Token });
            let Outcome::Received(deliveries) = received else { panic!("no deliveries") };
            let receipt = |d: &sealq_broker::engine::command::Delivery| Receipt {
                sequence: d.sequence,
                receive_count: d.receive_count,
            };
            let receipts = deliveries.iter().map(receipt).collect();
            round(&mut engine, &mut log, Command::Delete { stream: 1, receipts, reply: Token });
        });
    });
    group.finish();
}

criterion_group!(benches, send_receive_delete);
criterion_main!(benches);
