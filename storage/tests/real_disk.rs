//! The log on the operating system's files, with each engine.

use sealq_storage::{IoChoice, Lease, Log, LogOptions, NewMessage, OpenError, ReadError, RecoveryReport};
use std::path::Path;
use std::time::Duration;

const SEGMENT_BYTES: u64 = 256 << 10;

fn options(dir: &Path, io: IoChoice) -> LogOptions {
    LogOptions {
        dir: dir.to_owned(),
        segment_bytes: SEGMENT_BYTES,
        io,
        free_space_min_bytes: 0,
        tail_cache_bytes: 64 << 10,
        shard: 0,
    }
}

fn open(dir: &Path, io: IoChoice) -> (Log, RecoveryReport) {
    Log::open(options(dir, io)).expect("opens")
}

fn message(stream: u32, body: &[u8]) -> NewMessage<'_> {
    NewMessage {
        stream,
        sent_at_ms: 1000,
        visible_at_ms: 1000,
        extension: b"ext",
        body,
        ..NewMessage::default()
    }
}

fn body_of(log: &Log, stream: u32, sequence: u64) -> Vec<u8> {
    log.read(stream, sequence).expect("is there").body().expect("is intact").to_vec()
}

fn each_engine(run: impl Fn(IoChoice)) {
    run(IoChoice::Threads);
    // Where the kernel refuses a ring this runs on threads again.
    run(IoChoice::Auto);
}

#[test]
fn messages_leases_deletes_and_catalog_survive_a_restart_without_close() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, report) = open(dir.path(), io);
        assert!(report.created);
        for n in 0..2000u32 {
            let staged = log.put_message(message(n % 3, &n.to_le_bytes().repeat(50))).unwrap();
            assert_eq!(staged.sequence, u64::from(n / 3) + 1);
            if n % 100 == 0 {
                log.wait(Some(Duration::from_secs(5))).unwrap();
            }
        }
        log.put_delete(0, 5).unwrap();
        log.put_purge(2, 100).unwrap();
        log.put_catalog(b"queue", b"one").unwrap();
        log.put_catalog(b"gone", b"x").unwrap();
        log.delete_catalog(b"gone").unwrap();
        let lease =
            Lease { stream: 1, sequence: 7, visible_at_ms: 9000, receive_count: 3, first_received_at_ms: 5 };
        let moved = log
            .put_message(NewMessage { source: Some((1, 8)), receive_count: 2, ..message(9, b"moved") })
            .unwrap();
        let lsn = log.put_lease(lease).unwrap();
        log.flush().unwrap();
        assert!(log.durable_lsn() >= lsn);
        let engine = log.io_engine();
        drop(log);

        let (log, report) = open(dir.path(), io);
        assert_eq!(log.io_engine(), engine);
        assert_eq!((report.quarantined_records, report.torn_records, report.damaged_headers), (0, 0, 0));
        assert!(matches!(log.read(0, 5), Err(ReadError::Absent { .. })));
        assert!(log.facts(1, 8).is_none());
        assert_eq!(body_of(&log, 9, moved.sequence), b"moved");
        assert!(log.facts(9, 1).unwrap().moved);
        assert_eq!(log.next_live(2, 0).unwrap().sequence, 100);
        assert_eq!(log.catalog().len(), 1);
        assert_eq!(&*log.catalog()[&b"queue"[..]], b"one");
        let facts = log.facts(1, 7).unwrap();
        assert_eq!((facts.visible_at_ms, facts.receive_count, facts.first_received_at_ms), (9000, 3, 5));
        assert_eq!(log.touched(1), [facts]);
        assert_eq!(log.next_sequence(0), 668);
        assert_eq!(log.live_count(0), 666);
        for sequence in 1..=667 {
            if sequence != 5 {
                let n = (sequence as u32 - 1) * 3;
                assert_eq!(body_of(&log, 0, sequence), n.to_le_bytes().repeat(50));
                assert_eq!(log.read(0, sequence).unwrap().extension().unwrap(), b"ext");
            }
        }
    });
}

#[test]
fn every_message_is_readable_at_every_age() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path(), io);
        for n in 0..1500u32 {
            log.put_message(message(1, &n.to_le_bytes().repeat(100))).unwrap();
            if n % 10 == 9 {
                log.wait(Some(Duration::from_secs(5))).unwrap();
            }
            for age in [0, 1, 15, 300, 1200] {
                if let Some(old) = n.checked_sub(age) {
                    assert_eq!(body_of(&log, 1, u64::from(old) + 1), old.to_le_bytes().repeat(100));
                }
            }
        }
        assert!(log.stats().segments > 2);
    });
}

#[test]
fn a_clean_close_leaves_nothing_to_replay_and_large_bodies_fit() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        let big = vec![7; 2 << 20];
        let large = |dir: &Path| LogOptions { segment_bytes: 8 << 20, ..options(dir, io) };
        let (mut log, _) = Log::open(large(dir.path())).unwrap();
        for _ in 0..5 {
            log.put_message(message(1, &big)).unwrap();
        }
        log.close().unwrap();
        let (log, report) = Log::open(large(dir.path())).unwrap();
        assert_eq!((report.replayed_frames, report.live_messages), (0, 5));
        assert_eq!(body_of(&log, 1, 5), big);
    });
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_log, _) = open(dir.path(), IoChoice::Auto);
    assert!(matches!(Log::open(options(dir.path(), IoChoice::Auto)), Err(OpenError::Locked { .. })));
}

#[test]
fn a_wake_from_another_thread_ends_a_wait() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path(), io);
        let _ = log.wait(Some(Duration::from_millis(50)));
        let waker = log.waker();
        let thread = std::thread::spawn(move || {
            for _ in 0..100 {
                std::thread::sleep(Duration::from_millis(1));
                waker.wake();
            }
        });
        let started = std::time::Instant::now();
        for _ in 0..20 {
            log.wait(Some(Duration::from_secs(30))).unwrap();
        }
        assert!(started.elapsed() < Duration::from_secs(10));
        thread.join().unwrap();
    });
}

#[test]
fn a_log_moves_to_the_thread_that_uses_it() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = open(dir.path(), io);
        let thread = std::thread::spawn(move || {
            let mut log = log;
            log.put_message(message(1, b"x")).unwrap();
            log.flush().unwrap();
            log.durable_lsn()
        });
        assert!(thread.join().unwrap().0 > 0);
    });
}

#[test]
fn a_record_in_hand_stays_as_it_was_while_its_segment_is_given_up() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        let (mut log, _) = open(dir.path(), io);
        for n in 0..1200u32 {
            log.put_message(message(1, &n.to_le_bytes().repeat(200))).unwrap();
        }
        log.flush().unwrap();
        log.close().unwrap();
        let (mut log, _) = open(dir.path(), io);
        let held = log.read(1, 3).unwrap();
        log.put_purge(1, 1201).unwrap();
        for round in 0..4000u32 {
            let staged = log.put_message(message(2, &round.to_le_bytes().repeat(200))).unwrap();
            log.put_delete(2, staged.sequence).unwrap();
            if round % 20 == 0 {
                log.flush().unwrap();
                log.wait(Some(Duration::ZERO)).unwrap();
            }
        }
        assert!(log.stats().segments < 12, "{:?}", log.stats());
        assert_eq!(held.body().unwrap(), 2u32.to_le_bytes().repeat(200));
    });
}

#[test]
fn another_segment_size_after_a_restart_is_served_and_sealed() {
    each_engine(|io| {
        let dir = tempfile::tempdir().unwrap();
        for (round, segment_bytes) in [256 << 10, 128 << 10, 512 << 10].into_iter().enumerate() {
            let sized = LogOptions { segment_bytes, ..options(dir.path(), io) };
            let (mut log, _) = Log::open(sized).unwrap();
            for sequence in 1..=round as u64 * 300 {
                assert_eq!(body_of(&log, 1, sequence), sequence.to_le_bytes().repeat(100));
            }
            for n in 0..300u64 {
                let sequence = round as u64 * 300 + n + 1;
                log.put_message(message(1, &sequence.to_le_bytes().repeat(100))).unwrap();
            }
            log.flush().unwrap();
        }
    });
}

/// Damage of any size, anywhere: whatever is found, nothing panics and nothing false is served.
#[test]
fn random_damage_never_panics_and_never_serves_a_changed_body() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), IoChoice::Threads);
    for n in 0..600u64 {
        log.put_message(message(1, &(n + 1).to_le_bytes().repeat(100))).unwrap();
        if n % 7 == 0 {
            log.flush().unwrap();
        }
    }
    log.close().unwrap();
    let source = dir.path().join(sealq_storage::LOG_DIRECTORY);
    let mut random = 88_172_645_463_325_252u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for _ in 0..40 {
        let copy = tempfile::tempdir().unwrap();
        let target = copy.path().join(sealq_storage::LOG_DIRECTORY);
        std::fs::create_dir(&target).unwrap();
        for entry in std::fs::read_dir(&source).unwrap() {
            let entry = entry.unwrap();
            let mut bytes = std::fs::read(entry.path()).unwrap();
            for _ in 0..draw(4) {
                if bytes.is_empty() {
                    continue;
                }
                let at = draw(bytes.len() as u64) as usize;
                match draw(3) {
                    0 => bytes[at] ^= 1 << draw(8),
                    1 => {
                        let end = bytes.len().min(at + draw(20_000) as usize);
                        bytes[at..end].fill(draw(256) as u8);
                    }
                    _ => bytes.truncate(at),
                }
            }
            std::fs::write(target.join(entry.file_name()), bytes).unwrap();
        }
        let _ = sealq_storage::offline::verify(copy.path(), |_| {}).unwrap();
        let Ok((log, _)) = Log::open(options(copy.path(), IoChoice::Threads)) else { continue };
        for sequence in 1..=600u64 {
            if let Ok(record) = log.read(1, sequence)
                && let Ok(body) = record.body()
            {
                assert_eq!(body, sequence.to_le_bytes().repeat(100));
            }
        }
    }
}
