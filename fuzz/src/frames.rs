//! A log whose segments were changed on disk: it opens or refuses to, and what it reads is whole or named damaged.

use std::sync::{Arc, OnceLock};

use sealq_storage::disk::SimDisk;
use sealq_storage::{Disk, IoChoice, Lease, Log, LogOptions, NewMessage};

const STREAMS: u32 = 2;
const MESSAGES: u64 = 40;

/// One input: changes, each `file: u8, offset: u16, length: u8, bytes`.
pub fn frames(input: &[u8]) {
    let disk = image().fork();
    let segments: Vec<String> =
        disk.list().expect("simulated").into_iter().filter(|name| name.ends_with(".seg")).collect();
    let mut rest = input;
    while let [file, low, high, length, more @ ..] = rest {
        let (bytes, after) = more.split_at(usize::from(*length).min(more.len()));
        rest = after;
        let offset = u64::from(u16::from_le_bytes([*low, *high]));
        let name = &segments[usize::from(*file) % segments.len()];
        let file = disk.open(name).expect("listed");
        let room = file.len_bytes().expect("simulated").saturating_sub(offset);
        let len = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        file.write_at(&bytes[..len], offset).expect("simulated");
    }
    let Ok((log, _)) = Log::open_on(options(), Arc::new(disk)) else { return };
    for stream in 1..=STREAMS {
        let mut from = 1;
        while let Some(facts) = log.next_live(stream, from) {
            from = facts.sequence + 1;
            let Ok(record) = log.read(stream, facts.sequence) else { continue };
            if let Ok(body) = record.body() {
                assert_eq!(body, self::body(stream, facts.sequence), "a changed body passed as whole");
            }
        }
    }
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 32 << 10,
        io: IoChoice::Threads,
        free_space_min_bytes: 0,
        tail_cache_bytes: 1 << 16,
        ..LogOptions::default()
    }
}

fn body(stream: u32, sequence: u64) -> Vec<u8> {
    format!("stream {stream} message {sequence} ").repeat(20).into_bytes()
}

/// A log with messages, leases, deletions and a catalog, made once.
fn image() -> &'static SimDisk {
    static IMAGE: OnceLock<SimDisk> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = SimDisk::new(1);
        let (mut log, _) = Log::open_on(options(), Arc::new(disk.clone())).expect("an empty disk");
        for sequence in 1..=MESSAGES {
            for stream in 1..=STREAMS {
                let body = body(stream, sequence);
                let message = NewMessage {
                    stream,
                    sent_at_ms: sequence,
                    visible_at_ms: sequence,
                    group_hash: sequence % 3,
                    receive_count: 0,
                    first_received_at_ms: 0,
                    source: None,
                    extension: b"extension",
                    body: &body,
                };
                let staged = log.put_message(message).expect("there is room");
                assert_eq!(staged.sequence, sequence);
            }
        }
        let lease =
            Lease { stream: 1, sequence: 3, visible_at_ms: 9, receive_count: 1, first_received_at_ms: 8 };
        log.put_lease(lease).expect("alive");
        log.put_delete(1, 5).expect("alive");
        log.put_catalog(b"key", b"value").expect("there is room");
        log.flush().expect("simulated");
        drop(log);
        disk
    })
}
