//! A checkpoint with any payload behind a good checksum: the log opens from it, or from its segments, or refuses.

use std::sync::{Arc, OnceLock};

use sealq_storage::disk::SimDisk;
use sealq_storage::{Disk, IoChoice, Log, LogOptions, NewMessage};

const HEADER_BYTES: usize = 24;

/// One input.
pub fn checkpoint(payload: &[u8]) {
    let disk = image().fork();
    let name = disk.list().expect("simulated").into_iter().find(|name| name.starts_with("checkpoint-"));
    let name = name.expect("the image has a checkpoint");
    let mut bytes = disk.content(&name).expect("listed")[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(payload);
    bytes[16..24].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..]);
    bytes[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    let file = disk.create(&name, bytes.len() as u64).expect("simulated");
    file.write_at(&bytes, 0).expect("simulated");
    let Ok((log, _)) = Log::open_on(options(), Arc::new(disk)) else { return };
    for stream in log.streams().into_iter().take(16) {
        let mut from = 1;
        for _ in 0..64 {
            let Some(facts) = log.next_live(stream, from) else { break };
            let Some(next) = facts.sequence.checked_add(1) else { break };
            from = next;
            let _ = log.read(stream, facts.sequence).map(|record| record.body().map(<[u8]>::len));
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

/// A log of a few messages with a checkpoint, made once.
fn image() -> &'static SimDisk {
    static IMAGE: OnceLock<SimDisk> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let disk = SimDisk::new(1);
        let (mut log, _) = Log::open_on(options(), Arc::new(disk.clone())).expect("an empty disk");
        for _ in 0..10 {
            let message = NewMessage {
                stream: 1,
                sent_at_ms: 1,
                visible_at_ms: 1,
                group_hash: 0,
                receive_count: 0,
                first_received_at_ms: 0,
                source: None,
                extension: b"",
                body: b"body",
            };
            log.put_message(message).expect("there is room");
        }
        log.put_catalog(b"key", b"value").expect("there is room");
        log.flush().expect("simulated");
        log.close().expect("simulated");
        disk
    })
}
