//! Damage at rest: bytes flipped, files gone, cut short or under each other's names.

use super::{erase_checkpoints, message, open};
use crate::disk::{Disk, SimDisk};
use crate::offline::{DamageKind, verify_on};
use crate::segment::{HeaderFound, SegmentHeader, segment_name};
use crate::{BLOCK_BYTES, LostRange, Mapping, OpenError, ReadError};

/// A disk with a bit of everything, closed cleanly or not.
pub(super) fn populated(clean: bool) -> (SimDisk, u64) {
    let disk = SimDisk::new(9);
    let (mut log, _) = open(&disk).unwrap();
    for n in 0..120u32 {
        log.put_message(message(1, &n.to_le_bytes().repeat(100))).unwrap();
        if n % 4 == 3 {
            log.flush().unwrap();
        }
    }
    log.put_catalog(b"queue", b"settings").unwrap();
    log.put_delete(1, 3).unwrap();
    log.flush().unwrap();
    if clean {
        log.close().unwrap();
    }
    (disk, 120)
}

#[test]
fn a_flipped_byte_anywhere_costs_at_most_that_record() {
    for clean in [true, false] {
        let (disk, count) = populated(clean);
        for name in disk.list().unwrap() {
            let len = disk.content(&name).unwrap().len();
            // Every byte would take minutes in debug builds; this prime step reaches every field over time.
            for at in (0..len).step_by(173) {
                let flipped = disk.fork();
                flipped.flip(&name, at, 0x20);
                let context = format!("{name} at {at}, clean: {clean}");
                let (mut log, report) = open(&flipped).unwrap_or_else(|e| panic!("{context}: {e}"));
                let mut lost = 0;
                for sequence in 1..=count {
                    let n = sequence as u32 - 1;
                    let intact = match log.read(1, sequence) {
                        Ok(record) => record.body().is_ok_and(|body| body == n.to_le_bytes().repeat(100)),
                        Err(_) => false,
                    };
                    if !intact {
                        log.quarantine(1, sequence);
                        lost += 1;
                    }
                }
                assert!(lost <= 2, "{context}: {lost} lost, {report:?}");
                if lost == 2 {
                    let told = log.stats().quarantined + report.torn_records;
                    assert!(told > 0, "{context}: nothing said, {report:?}");
                }
                assert_eq!(&*log.catalog()[&b"queue"[..]], b"settings", "{context}");
                assert!(log.next_sequence(1) > count, "{context}");
            }
        }
    }
}

/// Six segments of messages, so that none is worth compacting; the third message is deleted.
fn several_segments(clean: bool) -> (SimDisk, u64) {
    let disk = SimDisk::new(9);
    let (mut log, _) = open(&disk).unwrap();
    for n in 0..600u32 {
        log.put_message(message(1, &n.to_le_bytes().repeat(100))).unwrap();
        if n % 25 == 24 {
            log.flush().unwrap();
        }
    }
    log.put_delete(1, 3).unwrap();
    log.flush().unwrap();
    if clean {
        log.close().unwrap();
    }
    (disk, 600)
}

/// Segments in use, oldest first: their numbers.
fn used_segments(disk: &SimDisk) -> Vec<u64> {
    let mut ids = Vec::new();
    for name in disk.list().unwrap() {
        let Some(id) = crate::segment::parse_segment_name(&name) else { continue };
        let content = disk.content(&name).unwrap();
        if matches!(SegmentHeader::decode(&content[..4096]), HeaderFound::Valid { header, .. } if header.segment == id)
        {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids
}

/// Which of 1..=count are readable and right.
fn readable(disk: &SimDisk, count: u64) -> (Vec<u64>, crate::RecoveryReport) {
    let (log, report) = open(disk).unwrap();
    let mut good = Vec::new();
    for sequence in 1..=count {
        match log.read(1, sequence) {
            Ok(record) => {
                assert_eq!(record.body().unwrap(), (sequence as u32 - 1).to_le_bytes().repeat(100));
                good.push(sequence);
            }
            Err(error) => assert!(matches!(error, ReadError::Absent { .. }), "{error}"),
        }
    }
    assert!(log.next_sequence(1) > count);
    (good, report)
}

#[test]
fn a_missing_segment_is_reported_by_the_range_of_its_messages() {
    for clean in [true, false] {
        let (whole, count) = several_segments(clean);
        let ids = used_segments(&whole);
        assert!(ids.len() > 3, "{ids:?}");
        for id in &ids {
            // The last segment of a run that did not end cleanly may never have been there, for all one can tell.
            if !clean && ids.last() == Some(id) {
                continue;
            }
            for truncated in [false, true] {
                let disk = whole.fork();
                if truncated {
                    disk.truncate(&segment_name(*id), 0);
                } else {
                    disk.erase(&segment_name(*id));
                }
                let context = format!("segment {id}, truncated: {truncated}, clean: {clean}");
                let verified = verify_on(&disk, |_| {}).unwrap().damage;
                let (good, report) = readable(&disk.fork(), count);
                let lost: Vec<u64> = (1..=count).filter(|s| *s != 3 && !good.contains(s)).collect();
                assert!(!lost.is_empty(), "{context}");
                let (first, last) = (lost[0], lost[lost.len() - 1]);
                assert_eq!(
                    report.lost,
                    [LostRange { stream: 1, first, last, count: lost.len() as u64 }],
                    "{context}: {report:?}"
                );
                assert!(report.quarantined_records >= lost.len() as u64, "{context}");
                let missing = verified.iter().find(|damage| damage.stream == Some(1));
                let missing = missing.unwrap_or_else(|| panic!("{context}: verify says {verified:?}"));
                assert_eq!(missing.kind, DamageKind::Missing, "{context}");
                assert_eq!(missing.file, segment_name(*id), "{context}");
                assert_eq!((missing.sequence, missing.last_sequence), (Some(first), Some(last)), "{context}");
            }
        }
    }
}

#[test]
fn a_segment_that_was_cut_short_costs_what_was_behind_the_cut() {
    let (whole, count) = several_segments(true);
    for id in used_segments(&whole) {
        let disk = whole.fork();
        disk.truncate(&segment_name(id), 20 << 10);
        let damage = verify_on(&disk, |_| {}).unwrap().damage;
        assert!(
            damage.iter().any(|d| d.kind == DamageKind::Size && d.file == segment_name(id)),
            "{damage:?}"
        );
        let (good, report) = readable(&disk, count);
        let lost: u64 = report.lost.iter().map(|range| range.count).sum();
        assert_eq!(good.len() as u64 + lost, count - 1, "segment {id}: {report:?}");
    }
}

#[test]
fn segments_under_each_others_names_get_their_own_back_and_lose_nothing() {
    for clean in [true, false] {
        let (whole, count) = several_segments(clean);
        let mut ids = used_segments(&whole);
        // The prepared one behind them as well.
        ids.push(ids[ids.len() - 1] + 1);
        for pair in ids.windows(2).map(|pair| (pair[0], pair[1])).chain([(ids[0], ids[2])]) {
            let disk = whole.fork();
            disk.swap(&segment_name(pair.0), &segment_name(pair.1));
            let damage = verify_on(&disk, |_| {}).unwrap().damage;
            assert!(
                damage.iter().any(|d| d.kind == DamageKind::Misplaced),
                "{pair:?}, clean: {clean}: {damage:?}"
            );
            let (good, report) = readable(&disk, count);
            assert_eq!(good.len() as u64, count - 1, "{pair:?}, clean: {clean}: {report:?}");
            assert!(!report.misplaced_segments.is_empty());
        }
    }
}

#[test]
fn a_whole_lost_checkpoint_or_store_file_costs_nothing() {
    let (whole, count) = several_segments(true);
    let names = whole.list().unwrap();
    for name in names.iter().filter(|name| !name.ends_with(".seg")) {
        for len in [None, Some(0), Some(10)] {
            let disk = whole.fork();
            match len {
                None => disk.erase(name),
                Some(len) => disk.truncate(name, len),
            }
            let (good, report) = readable(&disk, count);
            assert_eq!(good.len() as u64, count - 1, "{name} {len:?}: {report:?}");
        }
    }
    erase_checkpoints(&whole);
    assert_eq!(readable(&whole, count).0.len() as u64, count - 1);
}

#[test]
fn what_a_crash_cut_short_is_no_damage_once_the_log_was_opened() {
    let mut torn = 0;
    for seed in 0..60 {
        let disk = SimDisk::new(seed);
        let (mut log, _) = open(&disk).unwrap();
        for n in 0..20u32 {
            log.put_message(message(1, &n.to_le_bytes().repeat(300))).unwrap();
            log.put_catalog(b"key", &[1; 700]).unwrap();
            if n % 5 == 0 {
                log.flush().unwrap();
            }
        }
        disk.crash_at(disk.operations() + 2);
        let _ = log.flush();
        let found = disk.after_crash();
        let (mut log, report) = open(&found).unwrap();
        torn += report.torn_records;
        log.put_message(message(1, b"after")).unwrap();
        log.close().unwrap();
        assert_eq!(verify_on(&found, |_| {}).unwrap().damage, [], "seed {seed}: {report:?}");
    }
    assert!(torn > 20, "only {torn} records were torn");
}

#[test]
fn a_damaged_index_is_rebuilt_and_serves_every_message() {
    let (disk, count) = several_segments(true);
    let id = used_segments(&disk)[1];
    let name = segment_name(id);
    let content = disk.content(&name).unwrap();
    let crate::footer::FooterFound::Valid(footer) = crate::footer::Footer::find(
        &Mapping::of_bytes(content),
        open(&disk.fork()).unwrap().0.segments[&id].seed,
    ) else {
        panic!("not sealed")
    };
    disk.flip(&name, crate::footer::footer_offset(footer.frames_end) as usize + 8, 1);
    assert_eq!(readable(&disk, count).0.len() as u64, count - 1);
}

/// Which of 1..=count are not served for now, and which are gone; all others are right.
fn unread(log: &crate::Log, count: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for sequence in 1..=count {
        let n = sequence as u32 - 1;
        let right = |body: &[u8]| assert_eq!(body, n.to_le_bytes().repeat(100));
        match log.read(1, sequence).and_then(|record| record.body().map(right)) {
            Ok(()) => {}
            Err(error) if error.may_pass() => kept.push(sequence),
            Err(error) => {
                assert!(matches!(error, ReadError::Absent { .. }), "{sequence}: {error}");
                gone.push(sequence);
            }
        }
    }
    (kept, gone)
}

#[test]
fn a_block_that_the_disk_does_not_read_costs_what_lies_in_it_and_after_a_clean_stop_nothing_for_good() {
    // Of some 470 bytes each; the first and the last may lie in it in part.
    let in_a_block = 11;
    for clean in [true, false] {
        let (whole, count) = several_segments(clean);
        let mut kept_in_all = 0;
        for name in whole.list().unwrap() {
            let len = whole.content(&name).unwrap().len();
            for at in (0..len).step_by(BLOCK_BYTES) {
                let disk = whole.fork();
                disk.refuse(&name, at..at + BLOCK_BYTES);
                let context = format!("{name} at {at}, clean: {clean}");
                let (log, report) = open(&disk).unwrap_or_else(|e| panic!("{context}: {e}"));
                let (kept, gone) = unread(&log, count);
                assert!(kept.len() <= in_a_block, "{context}: {kept:?}, {report:?}");
                let lost = gone.iter().filter(|sequence| **sequence != 3).count() as u64;
                assert!(lost <= in_a_block as u64, "{context}: {gone:?}, {report:?}");
                assert!(lost == 0 || !clean, "{context}: {gone:?}, {report:?}");
                assert!(report.quarantined_records + report.torn_records >= lost, "{context}: {report:?}");
                assert!(log.next_sequence(1) > count, "{context}");
                disk.heal();
                assert_eq!(unread(&log, count), (Vec::new(), gone), "{context}");
                kept_in_all += kept.len();
            }
        }
        assert!(kept_in_all > 100, "only {kept_in_all} records were met that could not be read");
    }
}

#[test]
fn verify_names_file_and_offset_of_what_the_disk_does_not_read() {
    let (disk, _) = several_segments(true);
    let name = segment_name(used_segments(&disk)[1]);
    disk.refuse(&name, 2 * BLOCK_BYTES..4 * BLOCK_BYTES);
    disk.refuse(&name, 6 * BLOCK_BYTES..6 * BLOCK_BYTES + 1);
    let damage = verify_on(&disk, |_| {}).unwrap().damage;
    let unreadable = damage.iter().filter(|damage| damage.kind == DamageKind::Unreadable);
    let places: Vec<_> = unreadable.map(|damage| (damage.file.as_str(), damage.offset)).collect();
    assert_eq!(places, [(name.as_str(), 2 * BLOCK_BYTES as u64), (name.as_str(), 6 * BLOCK_BYTES as u64)]);
    // What lies there is named as well.
    assert!(damage.iter().any(|damage| damage.kind == DamageKind::FrameHeader));
    disk.heal();
    assert_eq!(verify_on(&disk, |_| {}).unwrap().damage, []);
}

#[test]
fn a_disk_that_reads_nothing_of_a_segment_is_refused_and_nothing_is_changed() {
    for clean in [true, false] {
        let (disk, count) = several_segments(clean);
        let last = segment_name(*used_segments(&disk).last().unwrap());
        disk.refuse(&last, 0..usize::MAX);
        let before = disk.operations();
        let Err(OpenError::Unreadable { file, .. }) = open(&disk) else { panic!("opened, clean: {clean}") };
        assert_eq!((file, disk.operations()), (last, before));
        disk.heal();
        assert_eq!(readable(&disk, count).0.len() as u64, count - 1);
    }
}
