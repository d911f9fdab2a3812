//! What a message costs on the shard thread, and what a durable group costs.
//!
//! The directory is `SEALQ_BENCH_DIR`, or a temporary one.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sealq_storage::{IoChoice, Lease, Log, LogOptions, NewMessage};
use std::path::Path;
use tempfile::TempDir;

const BODY_BYTES: usize = 1100;

fn directory() -> TempDir {
    match std::env::var_os("SEALQ_BENCH_DIR") {
        Some(dir) => TempDir::new_in(dir),
        None => TempDir::new(),
    }
    .expect("a directory")
}

fn open(dir: &Path, io: IoChoice) -> Log {
    let options = LogOptions { dir: dir.to_owned(), io, free_space_min_bytes: 0, ..LogOptions::default() };
    Log::open(options).expect("opens").0
}

fn message(body: &[u8]) -> NewMessage<'_> {
    NewMessage { stream: 1, sent_at_ms: 1_700_000_000_000, body, ..NewMessage::default() }
}

/// Staging alone: frame, CRC, copy, index. Groups are written on the way, outside of the measurement.
fn stage(c: &mut Criterion) {
    let dir = directory();
    let mut log = open(dir.path(), IoChoice::Auto);
    let mut group = c.benchmark_group("stage");
    for len in [0, BODY_BYTES] {
        let body = vec![7; len];
        group.throughput(Throughput::Elements(500));
        group.bench_function(format!("500 messages of {len} bytes"), |b| {
            b.iter_custom(|rounds| {
                let mut spent = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let started = std::time::Instant::now();
                    let mut last = 0;
                    for _ in 0..500 {
                        last = log.put_message(message(&body)).expect("staged").sequence;
                    }
                    let staged = started.elapsed();
                    log.put_purge(1, last + 1).expect("staged");
                    log.flush().expect("durable");
                    spent += staged;
                }
                spent
            });
        });
    }
    group.finish();
}

/// From nothing staged to durable, by group size and engine.
fn commit(c: &mut Criterion) {
    for io in [IoChoice::IoUring, IoChoice::Threads] {
        let dir = directory();
        let mut log = open(dir.path(), io);
        let mut group = c.benchmark_group(format!("commit {}", log.io_engine()));
        let body = vec![7; BODY_BYTES];
        for count in [1u64, 16, 64, 256] {
            group.throughput(Throughput::Elements(count));
            group.bench_function(format!("{count} messages"), |b| {
                b.iter(|| {
                    let mut last = 0;
                    for _ in 0..count {
                        last = log.put_message(message(&body)).expect("staged").sequence;
                    }
                    log.flush().expect("durable");
                    log.put_purge(1, last + 1).expect("staged");
                });
            });
        }
        group.finish();
    }
}

/// The rest of a message's life on the shard thread.
fn live(c: &mut Criterion) {
    let dir = directory();
    let mut log = open(dir.path(), IoChoice::Auto);
    let body = vec![7; BODY_BYTES];
    let mut group = c.benchmark_group("live");
    group.bench_function("put, facts, lease, read, delete", |b| {
        b.iter(|| {
            let sequence = log.put_message(message(&body)).expect("staged").sequence;
            let facts = log.next_live(1, sequence).expect("alive");
            let record = log.read(1, facts.sequence).expect("found");
            log.put_lease(Lease {
                stream: 1,
                sequence,
                visible_at_ms: facts.sent_at_ms + 30_000,
                receive_count: 1,
                first_received_at_ms: facts.sent_at_ms,
            })
            .expect("staged");
            drop(record);
            log.put_delete(1, sequence).expect("staged");
            if log.staged_bytes() > 1 << 20 {
                log.flush().expect("durable");
            }
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = stage, commit, live
}
criterion_main!(benches);
