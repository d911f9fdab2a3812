//! `sealq inspect`: stored records as they lie, of a stopped broker's directory or beside a running one.

mod stored_record;

use std::collections::HashMap;

use clap::Args;
use sealq_config::Config;
use sealq_storage::offline::{ScanError, ScannedMessage, Visitor, scan};

use self::stored_record::{Place, StoredRecord};
use super::{Exit, Sources, data, say, say_error, settings};
use crate::catalog::QueueRecord;
use crate::clock::Clock;
use crate::extension::Extension;

/// Queues that are named when another one was asked for.
const LISTED_QUEUES_MAX: usize = 20;

/// Which records, and how.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Only records of this queue: its name or its ARN.
    #[arg(long)]
    queue: Option<String>,
    /// Only the record with this message id, the one it was sealed under or the one it has now.
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// One JSON object a line, with the bytes in base64.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(sources: &Sources, arguments: &Arguments) -> Exit {
    let config = match settings(sources) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    let mut shown = Shown {
        arguments,
        queues: QueueNames::new(&config),
        now_ms: Clock::system().now_ms(),
        records: 0,
        unreadable: 0,
        output_gone: false,
    };
    let scanned = scan(&config.data_dir, &mut shown);
    match scanned {
        Ok(report) => {
            if report.damaged > 0 {
                say(&format!("{} damaged records are not shown: see `sealq verify`", report.damaged));
            }
            for (file, offset) in report.unreadable {
                say(&format!("{file} at {offset}: the disk does not read it; what lies there is not shown"));
            }
        }
        Err(ScanError::Stopped) if !shown.output_gone => {}
        // Whoever read the output has gone (`sealq inspect | head`).
        Err(ScanError::Stopped) => return Exit::Done,
        Err(error) => {
            say_error(&error);
            return Exit::Failed;
        }
    }
    if let Some(wanted) = &arguments.queue
        && !shown.queues.knows(wanted)
    {
        say(&format!("sealq: no queue is named {wanted}; {}", shown.queues.list()));
        return Exit::Failed;
    }
    if shown.unreadable > 0 {
        say(&format!("{} records are no messages of this version and are not shown", shown.unreadable));
    }
    if !arguments.json {
        say(&format!("{} records", shown.records));
    }
    Exit::Done
}

struct Shown<'a> {
    arguments: &'a Arguments,
    queues: QueueNames,
    now_ms: u64,
    records: u64,
    unreadable: u64,
    output_gone: bool,
}

impl Visitor for Shown<'_> {
    fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool {
        self.queues.take(key, value);
        true
    }

    fn message(&mut self, message: ScannedMessage<'_>) -> bool {
        let queue_arn = self.queues.arn(message.stream);
        if !self.arguments.queue.as_deref().is_none_or(|wanted| names(wanted, &queue_arn)) {
            return true;
        }
        let segment = segment_file(message.segment);
        let place = Place { queue_arn, segment, offset: message.offset };
        let extension = Extension::decode(message.extension).unwrap_or_default();
        let Ok(record) = StoredRecord::new(place, &message.facts, &extension, message.body, self.now_ms)
        else {
            self.unreadable += 1;
            return true;
        };
        if let Some(id) = &self.arguments.message
            && ![&record.message_id, &record.envelope_id].contains(&id)
        {
            return true;
        }
        self.records += 1;
        let text = if self.arguments.json { record.json() } else { record.paragraph() };
        self.output_gone = data(&format!("{text}\n")) != Exit::Done;
        !self.output_gone
    }
}

/// The file in the log directory that holds segment `number`.
fn segment_file(number: u64) -> String {
    format!("{number:08}.seg")
}

/// Whether `wanted` (a name or an ARN) names the queue of `arn`.
fn names(wanted: &str, arn: &str) -> bool {
    wanted == arn || arn.rsplit(':').next().is_some_and(|name| name == wanted)
}

/// Which queue a stream of the log belongs to.
pub(super) struct QueueNames {
    partition: String,
    arns: HashMap<u32, String>,
}

impl QueueNames {
    /// None is known.
    pub(super) fn new(config: &Config) -> Self {
        Self { partition: config.identity.partition.clone(), arns: HashMap::new() }
    }

    /// Learns from a catalog entry, if it is a queue's.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        if let Some(Ok(queue)) = QueueRecord::decode(key, value) {
            let QueueRecord { region, account, name, stream, .. } = queue;
            self.arns.insert(stream, format!("arn:{}:sqs:{region}:{account}:{name}", self.partition));
        }
    }

    /// Whether there is a queue of this name or ARN.
    fn knows(&self, wanted: &str) -> bool {
        self.arns.values().any(|arn| names(wanted, arn))
    }

    /// Which queues there are, in words.
    fn list(&self) -> String {
        let mut arns: Vec<&str> = self.arns.values().map(String::as_str).collect();
        arns.sort_unstable();
        match arns.len() {
            0 => "there is none".to_owned(),
            1..=LISTED_QUEUES_MAX => format!("there are {}", arns.join(", ")),
            count => format!("there are {count} others: `sealq inspect` shows where records lie"),
        }
    }

    /// ARN of the queue of `stream`; empty when none is known.
    pub(super) fn arn(&self, stream: u32) -> String {
        self.arns.get(&stream).cloned().unwrap_or_default()
    }
}

/// Makes a log below `data_dir` with plain messages 1, 2, … of stream 1, for tests.
#[cfg(test)]
pub(super) fn log_with_messages(data_dir: &std::path::Path, bodies: &[&[u8]]) {
    use sealq_crypto::{DraftMessage, store_plain};
    use sealq_storage::{IoChoice, Log, LogOptions, NewMessage};

    let options = LogOptions {
        dir: data_dir.to_owned(),
        segment_bytes: 4 << 20,
        io: IoChoice::Threads,
        free_space_min_bytes: 0,
        tail_cache_bytes: 1 << 20,
        shard: 0,
    };
    let (mut log, _) = Log::open(options).unwrap();
    for (number, body) in (1..).zip(bodies) {
        let mut stored = Vec::new();
        let draft = DraftMessage {
            message_id: [number; 16],
            sent_at_ms: 1,
            origin_stream: 1,
            context_arn: "",
            clear: b"",
            body,
            body_md5: [0; 16],
        };
        store_plain(&draft, &mut stored).unwrap();
        log.put_message(NewMessage {
            stream: 1,
            sent_at_ms: 1,
            visible_at_ms: 1,
            group_hash: 0,
            receive_count: 0,
            first_received_at_ms: 0,
            source: None,
            extension: &[],
            body: &stored,
        })
        .unwrap();
    }
    log.close().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(data_dir: &std::path::Path, message: Option<String>, queue: Option<String>) -> u64 {
        let arguments = Arguments { queue, message, json: true };
        let queues = QueueNames::new(&Config::default());
        let mut shown =
            Shown { arguments: &arguments, queues, now_ms: 5, records: 0, unreadable: 0, output_gone: false };
        scan(data_dir, &mut shown).unwrap();
        assert_eq!(shown.unreadable, 0);
        shown.records
    }

    #[test]
    fn records_are_shown_all_or_by_message_or_by_queue() {
        let folder = tempfile::tempdir().unwrap();
        log_with_messages(folder.path(), &[b"one", b"two", b"three"]);
        assert_eq!(count(folder.path(), None, None), 3);
        assert_eq!(count(folder.path(), Some("02020202-0202-0202-0202-020202020202".to_owned()), None), 1);
        assert_eq!(count(folder.path(), None, Some("orders".to_owned())), 0);
    }

    #[test]
    fn a_queue_that_is_not_there_is_an_error_that_names_those_that_are() {
        let mut queues = QueueNames::new(&Config::default());
        assert!(!queues.knows("orders"));
        assert_eq!(queues.list(), "there is none");
        queues.arns.insert(1, "arn:aws:sqs:us-east-1:000000000000:orders".to_owned());
        assert!(queues.knows("orders") && !queues.knows("order"));
        assert_eq!(queues.list(), "there are arn:aws:sqs:us-east-1:000000000000:orders");
        let folder = tempfile::tempdir().unwrap();
        log_with_messages(folder.path(), &[b"one"]);
        let sources = Sources { data_dir: Some(folder.path().to_owned()), ..Sources::default() };
        let arguments = Arguments { queue: Some("orders".to_owned()), message: None, json: true };
        assert_eq!(run(&sources, &arguments), Exit::Failed);
    }

    #[test]
    fn a_queue_is_named_by_its_name_or_its_arn_and_not_by_a_part_of_it() {
        let arn = "arn:aws:sqs:us-east-1:000000000000:orders";
        assert!(names("orders", arn) && names(arn, arn));
        assert!(!names("order", arn) && !names("000000000000:orders", arn) && !names("", arn));
    }
}
