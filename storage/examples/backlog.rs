//! Fills a log with messages that nobody receives, opens it again, and says what that cost.
//!
//! `cargo run --release -p sealq-storage --example backlog -- DIR MESSAGES BODY_BYTES`

use sealq_storage::{Log, LogOptions, NewMessage};
use std::time::Instant;

/// The broker's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STAGED_BYTES_MAX: usize = 4 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: backlog DIR MESSAGES BODY_BYTES";
    let dir = arguments.next().ok_or(usage)?;
    let messages: u64 = arguments.next().ok_or(usage)?.parse()?;
    let body = vec![7; arguments.next().ok_or(usage)?.parse()?];
    let options = LogOptions { dir: dir.into(), free_space_min_bytes: 0, ..LogOptions::default() };

    let (mut log, report) = Log::open(options.clone())?;
    eprintln!(
        "opened with {} messages in {:?}, engine {}",
        report.live_messages, report.elapsed, report.io_engine
    );
    let before = resident_anonymous_kib()?;
    let started = Instant::now();
    for n in 0..messages {
        log.put_message(NewMessage {
            stream: 1,
            sent_at_ms: n,
            visible_at_ms: n,
            body: &body,
            ..NewMessage::default()
        })?;
        while log.staged_bytes() > STAGED_BYTES_MAX {
            log.wait(None)?;
        }
    }
    log.flush()?;
    let grown = resident_anonymous_kib()?.saturating_sub(before);
    eprintln!("{messages} messages in {:?}, {grown} KiB of memory more", started.elapsed());
    drop(log);

    let before = resident_anonymous_kib()?;
    let started = Instant::now();
    let (log, report) = Log::open(options)?;
    let ready = started.elapsed();
    eprintln!(
        "open after a kill: {ready:?}, {} frames replayed, {} live, {} KiB of memory",
        report.replayed_frames,
        report.live_messages,
        resident_anonymous_kib()?.saturating_sub(before)
    );
    let first = log.next_live(1, 0).ok_or("no message")?;
    log.read(1, first.sequence)?.body()?;
    log.close()?;
    Ok(())
}

/// Memory of the process without the page cache.
fn resident_anonymous_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse()?)
}
