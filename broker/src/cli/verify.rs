//! `sealq verify`: checks everything on disk and changes nothing.

use std::io;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sealq_crypto::sealed_message::MAGIC;
use sealq_storage::offline::{
    Damage, DamageKind, Progress, ScannedMessage, VerifyReport, Visitor, scan, verify,
};
use serde::Serialize;
use uuid::Uuid;

use super::inspect::QueueNames;
use super::{Exit, Sources, data, say, settings};

/// Where the message id stands in a sealed body.
const MESSAGE_ID_AT: std::ops::Range<usize> = 16..32;

/// How to print it.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was looked at and what was found.
#[derive(Serialize)]
struct Report {
    segments: u64,
    frames: u64,
    bytes: u64,
    checkpoints: u64,
    damage: Vec<Found>,
}

/// One damaged place.
#[derive(Serialize)]
struct Found {
    file: String,
    offset: u64,
    kind: &'static str,
    stream: Option<u32>,
    sequence: Option<u64>,
    /// Of several messages that are missing, the last.
    last_sequence: Option<u64>,
    /// ARN of the queue, where the catalog knows the stream.
    queue_arn: Option<String>,
    /// The id as it stands in the damaged record: it may be what is damaged.
    message_id: Option<String>,
}

/// Runs it.
pub fn run(sources: &Sources, arguments: &Arguments) -> Exit {
    let config = match settings(sources) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    // Hidden by indicatif itself where stderr is no terminal.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} files  {eta}") {
        bar.set_style(style);
    }
    let checked = verify(&config.data_dir, |Progress { files, files_total }| {
        bar.set_length(files_total);
        bar.set_position(files);
    });
    bar.finish_and_clear();
    let report = match checked {
        Ok(report) => report,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            say(&format!("sealq: {} holds no log", config.data_dir.display()));
            return Exit::Failed;
        }
        Err(error) => {
            say(&format!("sealq: {}: {error}", config.data_dir.display()));
            return Exit::Failed;
        }
    };
    let mut queues = Catalog(QueueNames::new(&config));
    if !report.damage.is_empty() {
        // Only to name queues: what cannot be read here has been reported already.
        let _ = scan(&config.data_dir, &mut queues);
    }
    print(&Report::new(report, &queues.0), arguments.json)
}

fn print(report: &Report, json: bool) -> Exit {
    let printed = if json {
        // Text and numbers only: there is nothing in it that could fail.
        data(&format!("{}\n", serde_json::to_string(report).unwrap_or_default()))
    } else {
        data(&report.damage.iter().map(Found::line).collect::<String>())
    };
    say(&format!(
        "{} segments, {} frames, {} checkpoints, {} bytes: {}",
        report.segments,
        report.frames,
        report.checkpoints,
        report.bytes,
        match report.damage.len() {
            0 => "clean".to_owned(),
            1 => "1 damaged place".to_owned(),
            places => format!("{places} damaged places"),
        }
    ));
    if report.damage.is_empty() { printed } else { Exit::Damage }
}

impl Report {
    fn new(report: VerifyReport, queues: &QueueNames) -> Self {
        let VerifyReport { segments, frames, bytes, checkpoints, damage } = report;
        let damage = damage.into_iter().map(|damage| Found::new(damage, queues)).collect();
        Self { segments, frames, bytes, checkpoints, damage }
    }
}

impl Found {
    fn new(damage: Damage, queues: &QueueNames) -> Self {
        let Damage { file, offset, kind, stream, sequence, last_sequence, body_head } = damage;
        let queue_arn = stream.map(|stream| queues.arn(stream)).filter(|arn| !arn.is_empty());
        let message_id = body_head.as_deref().and_then(message_id);
        Self { file, offset, kind: kind_name(kind), stream, sequence, last_sequence, queue_arn, message_id }
    }

    fn line(&self) -> String {
        let mut line = format!("{} at {}: {}", self.file, self.offset, self.kind);
        if let (Some(stream), Some(sequence)) = (self.stream, self.sequence) {
            line += &format!(", stream {stream} sequence {sequence}");
        }
        if let Some(last) = self.last_sequence {
            line += &format!(" to {last}");
        }
        for (name, value) in [("message", &self.message_id), ("queue", &self.queue_arn)] {
            if let Some(value) = value {
                line += &format!(", {name} {value}");
            }
        }
        line + "\n"
    }
}

fn kind_name(kind: DamageKind) -> &'static str {
    match kind {
        DamageKind::StoreFile => "store_file",
        DamageKind::SegmentHeader => "segment_header",
        DamageKind::Foreign => "segment_of_another_store",
        DamageKind::NewerFormat => "newer_format",
        DamageKind::FrameHeader => "frame_header",
        DamageKind::Payload => "payload",
        DamageKind::TornTail => "torn_tail",
        DamageKind::Footer => "footer",
        DamageKind::Checkpoint => "checkpoint",
        DamageKind::Misplaced => "misplaced_segment",
        DamageKind::Size => "segment_size",
        DamageKind::Missing => "missing",
        DamageKind::Unreadable => "unreadable",
    }
}

/// The message id in what is left of a record; the extension before the sealed body has any length.
fn message_id(head: &[u8]) -> Option<String> {
    let at = head.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let id: [u8; 16] = head.get(at..)?.get(MESSAGE_ID_AT)?.try_into().ok()?;
    Some(Uuid::from_bytes(id).to_string())
}

/// Takes the catalog and stops at the first message.
struct Catalog(QueueNames);

impl Visitor for Catalog {
    fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.0.take(key, value);
        true
    }

    fn message(&mut self, _: ScannedMessage<'_>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use sealq_crypto::{DraftMessage, store_plain};

    use super::*;

    #[test]
    fn the_message_id_is_found_behind_any_extension() {
        let draft = DraftMessage {
            message_id: [7; 16],
            sent_at_ms: 1,
            origin_stream: 1,
            context_arn: "",
            clear: b"",
            body: b"x",
            body_md5: [0; 16],
        };
        let mut record = b"ext".to_vec();
        store_plain(&draft, &mut record).unwrap();
        assert_eq!(message_id(&record), Some(Uuid::from_bytes([7; 16]).to_string()));
        assert_eq!(message_id(&record[..30]), None);
        assert_eq!(message_id(b""), None);
    }

    #[test]
    fn a_sound_log_is_clean_and_a_flipped_byte_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        crate::cli::inspect::log_with_messages(folder.path(), &[b"one".as_slice(), b"two"]);
        let sources = Sources { data_dir: Some(folder.path().to_owned()), ..Sources::default() };
        for json in [false, true] {
            assert_eq!(run(&sources, &Arguments { json }), Exit::Done);
        }
        let segment = std::fs::read_dir(folder.path().join("log"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                path.extension().is_some_and(|extension| extension == "seg")
                    && std::fs::read(path).unwrap().windows(3).any(|window| window == b"two")
            })
            .unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes.windows(3).position(|window| window == b"two").unwrap();
        bytes[at] ^= 1;
        std::fs::write(&segment, &bytes).unwrap();
        assert_eq!(run(&sources, &Arguments { json: true }), Exit::Damage);
        let report = verify(folder.path(), |_| {}).unwrap();
        let found = Found::new(report.damage[0].clone(), &QueueNames::new(&sealq_config::Config::default()));
        assert_eq!(found.kind, "payload");
        assert_eq!(found.message_id, Some(Uuid::from_bytes([2; 16]).to_string()));
    }

    #[test]
    fn a_directory_without_a_log_is_not_clean() {
        let folder = tempfile::tempdir().unwrap();
        let sources = Sources { data_dir: Some(folder.path().to_owned()), ..Sources::default() };
        assert_eq!(run(&sources, &Arguments { json: false }), Exit::Failed);
    }
}
