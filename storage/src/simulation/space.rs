//! What the log takes on the disk and in memory, against what is alive in it.

use super::{SEGMENT_BYTES, erase_checkpoints, message, open};
use crate::disk::{Disk, SimDisk};
use crate::offline::verify_on;
use crate::segment::Segment;
use crate::{AppendError, Log, NewMessage};
use std::time::Duration;

fn settle(log: &mut Log) {
    log.flush().unwrap();
    for _ in 0..400 {
        log.wait(Some(Duration::ZERO)).unwrap();
    }
}

/// Bytes of the files that hold, held or will hold frames.
fn files_bytes(disk: &SimDisk) -> u64 {
    let is_segment = |name: &String| name.ends_with(".seg") || name.ends_with(".free");
    disk.list()
        .unwrap()
        .iter()
        .filter(|name| is_segment(name))
        .map(|name| disk.content(name).unwrap().len() as u64)
        .sum()
}

#[test]
fn a_steady_state_takes_at_most_twice_what_is_alive_and_two_segments() {
    const LIVE: usize = 1500;
    const BODY_BYTES: usize = 700;
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let mut live = Vec::new();
    let mut draw = 7u64;
    let mut worst = 0;
    for n in 0..12_000u64 {
        live.push(log.put_message(message(1, &[3; BODY_BYTES])).unwrap().sequence);
        if live.len() > LIVE {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (draw >> 33) as usize % live.len();
            log.put_delete(1, live.swap_remove(at)).unwrap();
        }
        if n % 8 == 0 {
            log.flush().unwrap();
            log.wait(Some(Duration::ZERO)).unwrap();
        }
        if live.len() == LIVE {
            worst = worst.max(files_bytes(&disk));
        }
    }
    let alive = (LIVE * BODY_BYTES) as u64;
    assert!(worst > alive && worst <= 2 * alive + 2 * SEGMENT_BYTES, "{worst} bytes for {alive}");
    for sequence in live {
        assert_eq!(log.read(1, sequence).unwrap().body().unwrap(), [3; BODY_BYTES]);
    }
}

#[test]
fn one_old_message_does_not_pin_what_came_after_it() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    log.put_message(message(2, b"old")).unwrap();
    for _ in 0..5000 {
        let staged = log.put_message(message(1, &[0; 500])).unwrap();
        log.put_delete(1, staged.sequence).unwrap();
        log.flush().unwrap();
        log.wait(Some(Duration::ZERO)).unwrap();
    }
    settle(&mut log);
    assert!(log.stats().segments <= 3, "{:?}", log.stats());
    assert!(log.segments.keys().next() > Some(&20));
    assert_eq!(log.read(2, 1).unwrap().body().unwrap(), b"old");
}

#[test]
fn a_purge_gives_the_space_back() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    let empty = files_bytes(&disk);
    for n in 0..3000 {
        log.put_message(message(1, &[5; 800])).unwrap();
        if n % 10 == 0 {
            log.flush().unwrap();
        }
    }
    assert!(files_bytes(&disk) > 40 * SEGMENT_BYTES);
    let next = log.next_sequence(1);
    log.put_purge(1, next).unwrap();
    settle(&mut log);
    // The one that was active, and one kept for use again.
    assert!(files_bytes(&disk) <= empty + 2 * SEGMENT_BYTES, "{} bytes", files_bytes(&disk));
}

#[test]
fn large_messages_that_no_segment_holds_better_are_not_copied_for_ever() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    for _ in 0..6 {
        log.put_message(message(1, &[9; 26 << 10])).unwrap();
        log.flush().unwrap();
    }
    settle(&mut log);
    let before = log.next_segment;
    settle(&mut log);
    assert_eq!(log.next_segment, before, "segments go on being used up");
}

#[test]
fn a_closed_stream_takes_nothing_more_and_is_forgotten_when_its_last_segment_is_gone() {
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    for stream in 10..40 {
        log.put_message(message(stream, b"gone soon")).unwrap();
        log.put_close(stream).unwrap();
        assert_eq!(log.put_message(message(stream, b"x")), Err(AppendError::Closed));
        assert_eq!((log.live_count(stream), log.facts(stream, 1)), (0, None));
    }
    log.flush().unwrap();
    assert!(log.streams().is_empty());
    assert_eq!(log.streams.len(), 30);
    for erase in [false, true] {
        let crashed = disk.fork();
        if erase {
            erase_checkpoints(&crashed);
        }
        let (mut log, _) = open(&crashed).unwrap();
        assert_eq!(log.put_message(message(10, b"x")), Err(AppendError::Closed));
    }
    for _ in 0..1000 {
        let staged = log.put_message(message(1, &[0; 900])).unwrap();
        log.put_delete(1, staged.sequence).unwrap();
        log.flush().unwrap();
        log.wait(Some(Duration::ZERO)).unwrap();
    }
    settle(&mut log);
    assert_eq!(log.streams.keys().copied().collect::<Vec<_>>(), [1]);
    log.close().unwrap();
    let (log, report) = open(&disk).unwrap();
    assert_eq!((log.streams.len(), report.quarantined_records), (1, 0));
}

#[test]
fn what_was_moved_away_stays_away_when_its_tombstone_is_copied_after_a_restart() {
    const KEPT: u64 = 80;
    const MOVED: u64 = 10;
    let disk = SimDisk::new(1);
    let (mut log, _) = open(&disk).unwrap();
    // The sources lie among messages that stay, so their tombstones are needed for good.
    for n in 0..KEPT {
        log.put_message(message(3, &[3; 500])).unwrap();
        if n < MOVED {
            log.put_message(message(1, &[1; 500])).unwrap();
        }
    }
    for _ in 0..KEPT {
        let staged = log.put_message(message(4, &[4; 500])).unwrap();
        log.put_delete(4, staged.sequence).unwrap();
    }
    for n in 1..=MOVED {
        let source = Some((1, n));
        let moved =
            log.put_message(NewMessage { source, receive_count: 2, ..message(2, &[2; 500]) }).unwrap();
        log.put_delete(2, moved.sequence).unwrap();
    }
    log.flush().unwrap();
    let disk = disk.after_crash();
    let (mut log, _) = open(&disk).unwrap();
    let with_tombstones = |segment: &Segment| segment.tombstones().is_some_and(|found| !found.is_empty());
    let tombstones_lie_in = *log.segments.iter().find(|(_, segment)| with_tombstones(segment)).unwrap().0;
    for _ in 0..2000 {
        let staged = log.put_message(message(4, &[0; 900])).unwrap();
        log.put_delete(4, staged.sequence).unwrap();
        log.flush().unwrap();
        log.wait(Some(Duration::ZERO)).unwrap();
    }
    settle(&mut log);
    assert!(!log.segments.contains_key(&tombstones_lie_in), "not compacted: nothing is shown");
    log.close().unwrap();
    assert_eq!(verify_on(&disk, |_| {}).unwrap().damage, []);
    erase_checkpoints(&disk);
    let (log, report) = open(&disk).unwrap();
    assert_eq!(report.quarantined_records, 0);
    assert_eq!((log.live_count(1), log.live_count(2), log.live_count(3)), (0, 0, KEPT));
}

#[test]
fn a_clean_close_leaves_no_segment_without_its_footer() {
    let disk = SimDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    log.close().unwrap();
    for round in 1..4 {
        let (mut log, report) = open(&disk).unwrap();
        assert_eq!(report.replayed_frames, 0);
        let unsealed = |s: &&crate::segment::Segment| s.state != crate::segment::SegmentState::Sealed;
        // The new active one only.
        assert_eq!(log.segments.values().filter(unsealed).count(), 1);
        assert_eq!(log.live_count(1), (round - 1) * 50);
        for _ in 0..50 {
            log.put_message(message(1, &[1; 300])).unwrap();
        }
        log.close().unwrap();
    }
    assert_eq!(crate::offline::verify_on(&disk, |_| {}).unwrap().damage, []);
}
