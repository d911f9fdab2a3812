//! The log on a simulated disk, against a model of what was staged and what was acknowledged.
//!
//! A script drawn from a seed runs once to count its disk operations, then once for every one of them with the power
//! going off there. After each crash: what was acknowledged is there, what was not is whole or absent, what was
//! deleted is gone.

mod damage;
mod model;
mod space;

use crate::disk::SimDisk;
use crate::{
    AppendError, IoChoice, Log, LogError, LogOptions, NewMessage, OpenError, ReadError, RecoveryReport,
};
use model::{Model, Script};
use std::path::PathBuf;
use std::sync::Arc;

const SEGMENT_BYTES: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions {
        dir: PathBuf::new(),
        segment_bytes: SEGMENT_BYTES,
        io: IoChoice::Auto,
        free_space_min_bytes: 0,
        tail_cache_bytes: 32 << 10,
        shard: 0,
    }
}

fn open(disk: &SimDisk) -> Result<(Log, RecoveryReport), OpenError> {
    Log::open_on(options(), Arc::new(disk.clone()))
}

fn message(stream: u32, body: &[u8]) -> NewMessage<'_> {
    NewMessage { stream, sent_at_ms: 1, visible_at_ms: 1, extension: b"e", body, ..NewMessage::default() }
}

/// Runs the script until the power goes off or it ends.
fn run(disk: &SimDisk, seed: u64, steps: usize) -> Model {
    let mut model = Model::default();
    let Ok((mut log, _)) = open(disk) else { return model };
    Script::new(seed).run(&mut log, &mut model, steps);
    model.acknowledged = log.durable_lsn().0;
    model
}

fn crash_everywhere(seed: u64, steps: usize, without_checkpoints: bool) {
    let whole = SimDisk::new(seed);
    run(&whole, seed, steps);
    let operations = whole.operations();
    assert!(operations > 50, "the script does too little: {operations}");
    for at in 1..=operations {
        let disk = SimDisk::new(seed ^ at);
        disk.crash_at(at);
        let model = run(&disk, seed, steps);
        let mut found = disk.after_crash();
        if without_checkpoints {
            erase_checkpoints(&found);
        } else if at % 3 == 0 {
            // Recovery itself is cut short; the next one must do.
            found.crash_at(1 + at % 7);
            if let Ok((mut log, _)) = open(&found) {
                let _ = log.checkpoint();
            }
            found = found.after_crash();
        }
        let (mut log, report) =
            open(&found).unwrap_or_else(|error| panic!("seed {seed}, crash at {at}: {error}"));
        let context = format!("seed {seed}, crash at {at}, {report:?}");
        assert_eq!(report.quarantined_records, 0, "{context}");
        model.check(&log, !without_checkpoints, &context);
        let after = log.put_message(message(1, b"after")).unwrap();
        log.flush().unwrap();
        // What was recovered stays what it is, even when everything is read again from the segments.
        log.wait(Some(std::time::Duration::ZERO)).unwrap();
        drop(log);
        erase_checkpoints(&found);
        let (mut log, _) = open(&found).unwrap();
        assert_eq!(log.read(1, after.sequence).unwrap().body().unwrap(), b"after", "{context}");
        log.put_delete(1, after.sequence).unwrap();
        model.check(&log, false, &format!("again: {context}"));
    }
}

fn erase_checkpoints(disk: &SimDisk) {
    use crate::disk::Disk;
    for name in disk.list().unwrap() {
        if name.starts_with("checkpoint") {
            disk.erase(&name);
        }
    }
}

#[test]
fn a_crash_at_any_disk_operation_loses_nothing_acknowledged() {
    for seed in [1, 2, 3] {
        crash_everywhere(seed, 160, false);
    }
}

#[test]
fn a_crash_that_also_costs_both_checkpoints_loses_nothing_but_leases() {
    for seed in [4, 5] {
        crash_everywhere(seed, 160, true);
    }
}

#[test]
fn a_long_run_with_compaction_is_recovered_with_and_without_checkpoints() {
    for seed in 10..14 {
        let disk = SimDisk::new(seed);
        let model = run(&disk, seed, 3000);
        for erase in [false, true] {
            let found = disk.after_crash();
            if erase {
                erase_checkpoints(&found);
            }
            let (log, report) = open(&found).unwrap();
            assert_eq!(report.quarantined_records, 0);
            model.check(&log, !erase, &format!("seed {seed}, {report:?}"));
        }
    }
}

#[test]
fn a_failed_write_or_sync_poisons_the_log_and_acknowledges_nothing() {
    let mut poisoned = 0;
    for at in 1..60 {
        let disk = SimDisk::new(at);
        let Ok((mut log, _)) = open(&disk) else { continue };
        disk.fail_at(disk.operations() + at);
        let mut last = 0;
        for n in 0..200u64 {
            if log.put_message(message(1, &[7; 500])).is_err() {
                break;
            }
            if n % 5 == 0 && log.wait(Some(std::time::Duration::ZERO)).is_err() {
                break;
            }
            last = log.durable_lsn().0;
        }
        if let Some(reason) = log.poisoned().map(str::to_owned) {
            poisoned += 1;
            // The failure may have been a footer's, found after a group had become durable.
            assert!(log.durable_lsn().0 >= last);
            last = log.durable_lsn().0;
            assert_eq!(log.put_message(message(1, b"x")), Err(AppendError::Poisoned { reason }));
            assert!(matches!(log.wait(Some(std::time::Duration::ZERO)), Err(LogError::Poisoned { .. })));
            assert_eq!(log.durable_lsn().0, last);
            // Reading goes on.
            assert_eq!(log.read(1, 1).unwrap().body().unwrap(), [7; 500]);
        }
    }
    assert!(poisoned > 20, "only {poisoned} of the failures reached the log");
}

#[test]
fn a_full_disk_refuses_messages_takes_deletes_and_recovers_by_itself() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    disk.set_capacity(Some(8 * SEGMENT_BYTES));
    let mut stored = 0;
    loop {
        match log.put_message(message(1, &[1; 1000])) {
            Ok(_) => stored += 1,
            Err(error) => {
                assert_eq!(error, AppendError::DiskFull);
                break;
            }
        }
        log.flush().unwrap();
    }
    assert!(stored > 60);
    assert!(log.stats().disk_full);
    log.put_catalog(b"still", b"works").unwrap();
    for sequence in 1..stored {
        log.put_delete(1, sequence).unwrap();
        if sequence % 8 == 0 {
            log.flush().unwrap();
            log.wait(Some(std::time::Duration::ZERO)).unwrap();
        }
    }
    log.flush().unwrap();
    for _ in 0..50 {
        log.wait(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert!(log.put_message(message(1, &[2; 1000])).is_ok());
    assert_eq!(log.read(1, stored).unwrap().body().unwrap(), [1; 1000]);
}

#[test]
fn a_log_on_a_full_disk_opens_and_deletes_make_room() {
    use crate::disk::Disk;
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    disk.set_capacity(Some(8 * SEGMENT_BYTES + (40 << 10)));
    let mut stored = 0;
    while log.put_message(message(1, &[1; 1000])).is_ok() {
        stored += 1;
        log.flush().unwrap();
    }
    drop(log);
    // Less than a segment is left.
    let capacity = 8 * SEGMENT_BYTES + (40 << 10);
    disk.set_capacity(Some(capacity - disk.free_bytes().unwrap() + (40 << 10)));
    let (mut log, report) = open(&disk).unwrap();
    assert_eq!(report.live_messages, stored);
    log.wait(Some(std::time::Duration::ZERO)).unwrap();
    assert!(log.stats().disk_full);
    for sequence in 1..stored {
        log.put_delete(1, sequence).unwrap();
    }
    log.flush().unwrap();
    for _ in 0..50 {
        log.wait(Some(std::time::Duration::ZERO)).unwrap();
    }
    assert!(log.put_message(message(1, &[2; 1000])).is_ok());
    assert_eq!(log.read(1, stored).unwrap().body().unwrap(), [1; 1000]);
}

#[test]
fn a_log_without_room_for_the_smallest_segment_says_how_much_it_needs_and_opens_with_that() {
    use crate::disk::Disk;
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    log.put_message(message(1, b"kept")).unwrap();
    log.put_message(message(1, b"deleted")).unwrap();
    log.flush().unwrap();
    drop(log);
    // The one that was prepared to be next.
    disk.erase(&crate::segment::segment_name(2));
    let needed = crate::segment::SEGMENT_BYTES_MIN;
    disk.set_capacity(Some(1 << 30));
    let used = (1 << 30) - disk.free_bytes().unwrap();
    disk.set_capacity(Some(used + needed - 1));
    let Err(OpenError::NoSpace { free_bytes, needed_bytes }) = open(&disk) else { panic!("it opened") };
    assert_eq!((free_bytes, needed_bytes), (needed - 1, needed));
    // What a killed process left of a checkpoint makes the room.
    disk.set_capacity(Some(used + needed));
    let left = disk.create(crate::checkpoint::TEMPORARY_NAME, 0).unwrap();
    left.write_at(&[7; 4096], 0).unwrap();
    let (mut log, _) = open(&disk).unwrap();
    assert_eq!(log.read(1, 1).unwrap().body().unwrap(), b"kept");
    log.put_delete(1, 2).unwrap();
    log.flush().unwrap();
    assert_eq!(log.put_message(message(1, b"refused")), Err(AppendError::DiskFull));
}

#[test]
fn below_the_free_space_to_keep_messages_are_refused_and_the_rest_goes_on() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(100 * SEGMENT_BYTES));
    let limited = LogOptions { free_space_min_bytes: 90 * SEGMENT_BYTES, ..options() };
    let (mut log, _) = Log::open_on(limited, Arc::new(disk.clone())).unwrap();
    let staged = log.put_message(message(1, b"x")).unwrap();
    disk.set_capacity(Some(80 * SEGMENT_BYTES));
    log.flush().unwrap();
    log.wait(Some(std::time::Duration::ZERO)).unwrap();
    assert_eq!(log.put_message(message(1, b"y")), Err(AppendError::DiskFull));
    log.put_delete(1, staged.sequence).unwrap();
    log.put_catalog(b"k", b"v").unwrap();
    disk.set_capacity(Some(100 * SEGMENT_BYTES));
    log.flush().unwrap();
    log.wait(Some(std::time::Duration::ZERO)).unwrap();
    assert!(log.put_message(message(1, b"y")).is_ok());
}

#[test]
fn compaction_gives_the_space_of_a_sparse_log_back() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    for _ in 0..2000 {
        log.put_message(message(1, &[3; 900])).unwrap();
        log.flush().unwrap();
    }
    let before = log.stats();
    for sequence in (1..=2000).filter(|sequence| sequence % 20 != 0) {
        log.put_delete(1, sequence).unwrap();
        if sequence % 50 == 1 {
            log.flush().unwrap();
        }
    }
    log.flush().unwrap();
    for _ in 0..2000 {
        log.wait(Some(std::time::Duration::ZERO)).unwrap();
    }
    let after = log.stats();
    assert!(after.disk_bytes * 4 < before.disk_bytes, "{before:?} {after:?}");
    assert_eq!(after.live_messages, 100);
    log.close().unwrap();
    for erase in [false, true] {
        let found = disk.fork();
        if erase {
            erase_checkpoints(&found);
        }
        let (log, _) = open(&found).unwrap();
        for sequence in 1..=2000 {
            match log.read(1, sequence) {
                Ok(record) => assert_eq!((sequence % 20, record.body().unwrap()), (0, &[3; 900][..])),
                Err(ReadError::Absent { .. }) => assert_ne!(sequence % 20, 0),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(log.next_sequence(1), 2001);
    }
}

#[test]
fn sequences_are_never_given_out_twice_even_when_every_message_and_checkpoint_is_gone() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    for _ in 0..10 {
        log.put_message(message(7, b"gone soon")).unwrap();
    }
    log.put_catalog(b"key", b"value").unwrap();
    log.put_purge(7, 11).unwrap();
    let mut fill = 0;
    while log.stats().segments < 12 || log.segments.keys().next() == Some(&1) {
        let staged = log.put_message(message(1, &[0; 3000])).unwrap();
        log.put_delete(1, staged.sequence).unwrap();
        log.flush().unwrap();
        log.wait(Some(std::time::Duration::ZERO)).unwrap();
        fill += 1;
        if fill > 2000 {
            break;
        }
    }
    assert!(log.segments.keys().next() > Some(&1), "segment 1 was never retired");
    drop(log);
    erase_checkpoints(&disk);
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.checkpoint_lsn, None);
    assert_eq!(log.next_sequence(7), 11);
    assert_eq!(log.live_count(7), 0);
    assert_eq!(&*log.catalog()[&b"key"[..]], b"value");
}

/// The last segment with a header of its own.
fn newest_segment(disk: &SimDisk) -> String {
    use crate::disk::Disk;
    let mut names = disk.list().unwrap();
    names.retain(|name| name.ends_with(".seg") && disk.content(name).unwrap()[0] != 0);
    names.pop().unwrap()
}

#[test]
fn segments_of_two_stores_are_refused() {
    use crate::disk::Disk;
    let (mine, _) = damage::populated(true);
    let (other, _) = damage::populated(true);
    let file = mine.create("00000090.seg", SEGMENT_BYTES).unwrap();
    file.write_at(&other.content(&newest_segment(&other)).unwrap(), 0).unwrap();
    let header = crate::segment::SegmentHeader {
        store_id: [8; 16],
        segment: 90,
        base_lsn: 1,
        segment_bytes: 1,
        after_open: false,
    };
    file.write_at(&header.encode(), 0).unwrap();
    assert!(matches!(open(&mine), Err(OpenError::Foreign { .. })));
}

#[test]
fn a_newer_format_is_refused_and_nothing_is_touched() {
    let (disk, _) = damage::populated(true);
    let name = newest_segment(&disk);
    let mut block = disk.content(&name).unwrap()[..4096].to_vec();
    for copy in block.chunks_exact_mut(2048) {
        copy[8] = 9;
        let crc = crc32fast::hash(&copy[..2044]);
        copy[2044..].copy_from_slice(&crc.to_le_bytes());
    }
    use crate::disk::Disk;
    disk.open(&name).unwrap().write_at(&block, 0).unwrap();
    let before = disk.operations();
    assert!(matches!(open(&disk), Err(OpenError::NewerFormat { version: 9, .. })));
    assert_eq!(disk.operations(), before);
}

#[test]
fn recent_messages_are_found_beyond_skipped_sequences_dead_ones_included() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let at = |sent_at_ms| NewMessage { sent_at_ms, ..message(1, b"x") };
    for sent_at_ms in 1..=4 {
        log.put_message(at(sent_at_ms)).unwrap();
    }
    log.put_delete(1, 3).unwrap();
    // As recovery does for records that a crash cut short.
    log.streams.get_mut(&1).unwrap().liveness.skip_to(8);
    let sequences =
        |log: &Log| log.recent(1, u64::MAX, 2).map(|record| record.facts().sequence).collect::<Vec<_>>();
    assert_eq!(sequences(&log), [4, 3, 2]);
    assert_eq!(log.put_message(at(5)).unwrap().sequence, 8);
    assert_eq!(sequences(&log), [8, 4, 3, 2]);
    assert_eq!(log.recent(1, 4, 2).map(|record| record.facts().sequence).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn too_large_is_told_at_the_limit() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let Err(AppendError::TooLarge { max_bytes, .. }) = log.put_message(message(1, &[0; 1 << 20])) else {
        panic!("accepted")
    };
    let body = vec![5; max_bytes - 1];
    let staged = log.put_message(message(1, &body)).unwrap();
    assert!(log.put_message(message(1, &vec![5; max_bytes])).is_err());
    log.flush().unwrap();
    log.put_message(message(1, &body)).unwrap();
    log.flush().unwrap();
    drop(log);
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.read(1, staged.sequence).unwrap().body().unwrap(), body);
    assert_eq!(log.live_count(1), 2);
}
