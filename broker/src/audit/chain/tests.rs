//! The chain across files, restarts, torn ends and full disks.

use serde_json::json;

use super::*;

const LARGE: u64 = 1 << 30;

fn mark_of(path: &Path) -> PathBuf {
    path.with_file_name("mark")
}

fn append(chain: &mut Chain, name: &str) {
    chain.append(json!({ "eventName": name })).unwrap();
}

fn sound(path: &Path) -> u64 {
    let report = verify(path, &mark_of(path), 1).unwrap();
    assert_eq!(report.broken, []);
    report.records
}

#[test]
fn the_chain_goes_on_over_files_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    for round in 0..40 {
        // Every third record of a file is over the size, also where the file was opened anew in between.
        let mut chain = Chain::open(&path, &mark_of(&path), 300).unwrap();
        for number in 0..round % 4 {
            append(&mut chain, &format!("Event {round} {number}"));
        }
    }
    assert_eq!(sound(&path), 60);
    let found = files(&path).unwrap();
    assert!(found.len() > 10, "{found:?}");
    for file in &found[..found.len() - 1] {
        let number = file.extension().unwrap().to_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(first_sequence(file).unwrap(), Some(number), "a file is named for its first record");
    }
}

#[test]
fn a_file_that_was_over_the_size_at_a_restart_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
    for _ in 0..3 {
        append(&mut chain, "Before");
    }
    drop(chain);
    let mut chain = Chain::open(&path, &mark_of(&path), 1).unwrap();
    for _ in 0..3 {
        append(&mut chain, "After");
    }
    assert_eq!((sound(&path), files(&path).unwrap().len()), (6, 4));
}

#[test]
fn a_torn_last_line_is_cut_wherever_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
    append(&mut chain, "One");
    let whole = std::fs::read(&path).unwrap();
    // With a character of several bytes: no half of it may stop the start.
    append(&mut chain, "Gr\u{fc}\u{df}e \u{1f511}");
    let both = std::fs::read(&path).unwrap();
    for end in whole.len()..both.len() {
        std::fs::write(&path, &both[..end]).unwrap();
        assert_eq!(sound(&path), 1);
        let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
        append(&mut chain, "Three");
        assert_eq!(sound(&path), 2, "cut at {end}");
    }
}

#[test]
fn a_first_line_cut_short_is_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    std::fs::write(&path, "{\"eventNa").unwrap();
    append(&mut Chain::open(&path, &mark_of(&path), LARGE).unwrap(), "One");
    assert_eq!(sound(&path), 1);
}

#[test]
fn a_damaged_last_line_is_named_and_does_not_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
    for _ in 0..3 {
        append(&mut chain, "Event");
    }
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 20;
    bytes[last..].fill(0);
    *bytes.last_mut().unwrap() = b'\n';
    std::fs::write(&path, &bytes).unwrap();
    append(&mut Chain::open(&path, &mark_of(&path), LARGE).unwrap(), "Later");
    let report = verify(&path, &mark_of(&path), 1).unwrap();
    assert_eq!(report.broken.iter().map(|(_, line, _)| *line).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_line_taken_out_anywhere_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
    for number in 0..5 {
        append(&mut chain, &format!("Event{number}"));
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for gone in 0..lines.len() - 1 {
        let rest: String =
            lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line).collect();
        std::fs::write(&path, rest).unwrap();
        let report = verify(&path, &mark_of(&path), 1).unwrap();
        assert_eq!(report.broken.len(), 1, "without line {gone}");
        assert_eq!(report.broken[0].1, gone as u64 + 1, "the line that follows the gap is named");
    }
    // Older files were moved away on purpose.
    std::fs::write(&path, lines[2..].concat()).unwrap();
    assert_eq!(verify(&path, &mark_of(&path), 3).unwrap(), ChainReport { records: 3, broken: vec![] });
}

#[test]
fn a_full_disk_leaves_no_half_line_in_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
    append(&mut chain, "One");
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let real = chain.swap_file(full);
    let error = chain.append(json!({ "eventName": "Two" })).unwrap_err();
    assert!(
        matches!(error, AuditError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    );
    // What a disk does that fills up amid a line.
    (&real).write_all(b"{\"eventName\":\"Tw").unwrap();
    chain.swap_file(real);
    append(&mut chain, "Two");
    assert_eq!(sound(&path), 2);
}

#[test]
fn a_file_that_somebody_moved_away_does_not_end_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), 1).unwrap();
    append(&mut chain, "One");
    std::fs::rename(&path, folder.path().join("audit.jsonl.0-moved")).unwrap();
    append(&mut chain, "Two");
    append(&mut chain, "Three");
    assert_eq!((sound(&path), files(&path).unwrap().len()), (3, 3));
}

#[test]
fn what_is_taken_off_the_end_or_changed_there_is_missed_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
    for number in 0..4 {
        append(&mut chain, &format!("Event{number}"));
        chain.sync().unwrap();
    }
    drop(chain);
    let whole = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let places = || {
        verify(&path, &mark_of(&path), 1).unwrap().broken.iter().map(|(_, line, _)| *line).collect::<Vec<_>>()
    };
    for kept in 0..4 {
        std::fs::write(&path, lines[..kept].concat()).unwrap();
        assert_eq!(places(), [kept as u64 + 1], "{kept} lines kept");
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(places(), [4], "a torn line that was whole before");
    std::fs::write(&path, whole.replace("Event3", "Event4")).unwrap();
    assert_eq!(places(), [4], "the last line changed");
    let mark = std::fs::read(mark_of(&path)).unwrap();
    for damaged in [lines[..2].concat(), whole.replace("Event3", "Event4"), String::new()] {
        std::fs::write(&path, &damaged).unwrap();
        std::fs::write(mark_of(&path), &mark).unwrap();
        let mut chain = Chain::open(&path, &mark_of(&path), LARGE).unwrap();
        append(&mut chain, "Later");
        chain.sync().unwrap();
        assert_eq!(places().len(), 1, "{damaged}");
    }
    std::fs::write(&path, &whole).unwrap();
    std::fs::copy(&path, folder.path().join("another.jsonl")).unwrap();
    assert_eq!(verify(&folder.path().join("another.jsonl"), &mark_of(&path), 1).unwrap().broken, []);
    std::fs::write(mark_of(&path), "5 is no mark").unwrap();
    assert_eq!(verify(&path, &mark_of(&path), 1).unwrap().broken[0].0, mark_of(&path));
    append(&mut Chain::open(&path, &mark_of(&path), LARGE).unwrap(), "Later");
}
