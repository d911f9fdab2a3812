//! The audit log: who did what, one JSON object a line in CloudTrail's record shape, chained by hash.
//!
//! One thread owns the file. A control-plane record is on disk before its reply leaves ([`AuditLog::write`]); a key use
//! at the latest a second later ([`AuditLog::note`]). No record holds a body, a key or a signature secret: there is no
//! field for one.

mod chain;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

pub use chain::{AuditError, Chain, ChainReport, files as chain_files, verify};

/// Records that may wait for the writer; a caller beyond it waits.
pub const BACKLOG_RECORDS_MAX: usize = 16_384;

/// How long notes gather before they are written together.
const GATHER: Duration = Duration::from_millis(20);

/// How often a disk that took nothing is tried again.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// One event, without its place in the chain.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// `sqs.amazonaws.com`, `kms.amazonaws.com`, `sts.amazonaws.com`.
    pub source: &'static str,
    /// API name.
    pub name: String,
    /// Region of the broker.
    pub region: String,
    /// `userIdentity` as CloudTrail shapes it.
    pub identity: Value,
    /// Address, or `sqs.amazonaws.com` for the broker's own calls.
    pub source_ip: String,
    /// Likewise.
    pub user_agent: String,
    /// Public parameters only.
    pub request_parameters: Value,
    /// Public results only; null for cryptographic actions.
    pub response_elements: Value,
    /// Code and text of a failure.
    pub error: Option<(String, String)>,
    /// The request's id.
    pub request_id: String,
    /// Keys or queues concerned: (ARN, account, type).
    pub resources: Vec<(String, String, &'static str)>,
    /// Nothing was changed.
    pub read_only: bool,
    /// `AwsApiCall` or `AwsServiceEvent`.
    pub event_type: &'static str,
    /// In whose name the record stands.
    pub recipient_account: String,
    /// Shared by the two records of a cross-account use.
    pub shared_event_id: Option<String>,
}

impl AuditEvent {
    fn render(&self) -> Value {
        let mut record = json!({
            "eventVersion": "1.08",
            "userIdentity": self.identity,
            "eventTime": timestamp(self.at_ms),
            "eventSource": self.source,
            "eventName": self.name,
            "awsRegion": self.region,
            "sourceIPAddress": self.source_ip,
            "userAgent": self.user_agent,
            "requestParameters": self.request_parameters,
            "responseElements": self.response_elements,
            "requestID": self.request_id,
            "eventID": uuid::Uuid::new_v4().to_string(),
            "readOnly": self.read_only,
            "resources": self.resources.iter().map(|(arn, account, kind)| {
                json!({"ARN": arn, "accountId": account, "type": kind})
            }).collect::<Vec<_>>(),
            "eventType": self.event_type,
            "recipientAccountId": self.recipient_account,
        });
        if let (Some((code, message)), Some(fields)) = (&self.error, record.as_object_mut()) {
            fields.insert("errorCode".into(), json!(code));
            fields.insert("errorMessage".into(), json!(message));
        }
        if let (Some(id), Some(fields)) = (&self.shared_event_id, record.as_object_mut()) {
            fields.insert("sharedEventID".into(), json!(id));
        }
        record
    }
}

fn timestamp(at_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(i64::MAX)).unwrap_or_default();
    format!("{at:.0}")
}

enum Entry {
    Note(AuditEvent),
    Write(AuditEvent, oneshot::Sender<Result<(), String>>),
    Flush(oneshot::Sender<Result<(), String>>),
}

/// Sends records to the writer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog {
    entries: mpsc::Sender<Entry>,
    path: PathBuf,
}

impl AuditLog {
    /// Opens the file, repairs its end and starts the writer. `mark_file` tells which record is the last. Beyond `rotate_bytes` another file goes on.
    pub fn open(path: &Path, mark_file: &Path, rotate_bytes: u64) -> Result<Self, AuditError> {
        let chain = Chain::open(path, mark_file, rotate_bytes)?;
        let (entries, mut receiver) = mpsc::channel::<Entry>(BACKLOG_RECORDS_MAX);
        std::thread::Builder::new()
            .name("sealq-audit".into())
            .spawn(move || Writer { chain, unwritten: VecDeque::new() }.run(&mut receiver))
            .map_err(|source| AuditError::Io { path: path.to_owned(), source })?;
        Ok(Self { entries, path: path.to_owned() })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records an event; it is on disk within a second. While the disk takes nothing the record waits, and once
    /// [`BACKLOG_RECORDS_MAX`] wait, so does the caller: what cannot be recorded is not done.
    pub async fn note(&self, event: AuditEvent) {
        if self.entries.send(Entry::Note(event)).await.is_err() {
            tracing::error!("an audit record was lost: the audit writer has ended");
        }
    }

    /// Records an event and waits until it is on disk.
    ///
    /// # Errors
    /// It is not; it is written as soon as the disk takes it.
    pub async fn write(&self, event: AuditEvent) -> Result<(), String> {
        self.ask(|reply| Entry::Write(event, reply)).await
    }

    /// Waits until everything recorded so far is on disk.
    ///
    /// # Errors
    /// It is not.
    pub async fn flush(&self) -> Result<(), String> {
        self.ask(Entry::Flush).await
    }

    async fn ask(
        &self,
        entry: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Entry,
    ) -> Result<(), String> {
        let ended = || "the audit writer has ended".to_owned();
        let (sender, receiver) = oneshot::channel();
        self.entries.send(entry(sender)).await.map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())?
    }
}

/// The thread that owns the files.
struct Writer {
    chain: Chain,
    /// Records that the disk did not take, oldest first. Bounded: beyond it nothing more is taken in.
    unwritten: VecDeque<AuditEvent>,
}

impl Writer {
    fn run(mut self, entries: &mut mpsc::Receiver<Entry>) {
        loop {
            if !self.unwritten.is_empty() {
                std::thread::sleep(RETRY_EVERY);
                let room = BACKLOG_RECORDS_MAX.saturating_sub(self.unwritten.len());
                self.write(taken(entries, room));
                if entries.is_closed() && entries.is_empty() {
                    break;
                }
                continue;
            }
            let Some(first) = entries.blocking_recv() else { return };
            // Notes alone may gather; somebody who waits ends the gathering.
            if matches!(first, Entry::Note(_)) {
                std::thread::sleep(GATHER);
            }
            let mut batch = vec![first];
            batch.append(&mut taken(entries, BACKLOG_RECORDS_MAX));
            self.write(batch);
        }
        if !self.unwritten.is_empty() {
            tracing::error!(
                records = self.unwritten.len(),
                "audit records were lost: the disk took nothing to the end"
            );
        }
    }

    /// Writes what waited, then the batch, and answers who waits for it.
    fn write(&mut self, batch: Vec<Entry>) {
        let mut waiting = Vec::new();
        for entry in batch {
            match entry {
                Entry::Note(event) => self.unwritten.push_back(event),
                Entry::Write(event, reply) => {
                    self.unwritten.push_back(event);
                    waiting.push(reply);
                }
                Entry::Flush(reply) => waiting.push(reply),
            }
        }
        let mut written = Ok(());
        while let Some(event) = self.unwritten.front() {
            written = self.chain.append(event.render());
            if written.is_err() {
                break;
            }
            self.unwritten.pop_front();
        }
        let synced = self.chain.sync();
        let outcome = written.and(synced).map_err(|error| error.to_string());
        if let Err(error) = &outcome {
            tracing::error!(error, waiting = self.unwritten.len(), "audit records could not be written");
        }
        for reply in waiting {
            // A caller that has gone needs no answer.
            let _ = reply.send(outcome.clone());
        }
    }
}

fn taken(entries: &mut mpsc::Receiver<Entry>, most: usize) -> Vec<Entry> {
    std::iter::from_fn(|| entries.try_recv().ok()).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> AuditEvent {
        AuditEvent {
            at_ms: 1_764_000_000_123,
            source: "sqs.amazonaws.com",
            name: name.into(),
            region: "us-east-1".into(),
            identity: json!({"type": "Root", "accountId": "000000000000"}),
            source_ip: "127.0.0.1".into(),
            user_agent: "test".into(),
            request_parameters: json!({"queueName": "q"}),
            response_elements: Value::Null,
            error: None,
            request_id: "r".into(),
            resources: vec![],
            read_only: false,
            event_type: "AwsApiCall",
            recipient_account: "000000000000".into(),
            shared_event_id: None,
        }
    }

    #[tokio::test]
    async fn records_are_chained_across_a_reopening_and_a_change_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = AuditLog::open(&path, &dir.path().join("mark"), 1 << 20).unwrap();
        log.write(event("CreateQueue")).await.unwrap();
        log.write(event("DeleteQueue")).await.unwrap();
        drop(log);
        let log = AuditLog::open(&path, &dir.path().join("mark"), 1 << 20).unwrap();
        log.write(event("PurgeQueue")).await.unwrap();
        assert_eq!(
            verify(&path, &dir.path().join("mark"), 1).unwrap(),
            ChainReport { records: 3, broken: vec![] }
        );
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"eventTime\":\"2025-11-24T16:00:00Z\""), "{text}");
        std::fs::write(&path, text.replacen("DeleteQueue", "DeleteQueuf", 1)).unwrap();
        assert_eq!(verify(&path, &dir.path().join("mark"), 1).unwrap().broken.len(), 1);
    }

    #[tokio::test]
    async fn what_is_noted_last_is_there_after_a_flush() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let log = AuditLog::open(&path, &dir.path().join("mark"), 1 << 20).unwrap();
        for number in 0..100 {
            log.note(event(&format!("Use{number}"))).await;
        }
        log.flush().await.unwrap();
        assert_eq!(
            verify(&path, &dir.path().join("mark"), 1).unwrap(),
            ChainReport { records: 100, broken: vec![] }
        );
    }

    #[test]
    fn on_a_full_disk_changes_fail_and_every_record_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut writer = Writer {
            chain: Chain::open(&path, &dir.path().join("mark"), 1 << 20).unwrap(),
            unwritten: VecDeque::new(),
        };
        let ask = |name: &str| {
            let (sender, receiver) = oneshot::channel();
            (Entry::Write(event(name), sender), receiver)
        };
        let real = writer.chain.swap_file(full);
        let (entry, mut answer) = ask("Refused");
        writer.write(vec![Entry::Note(event("Use")), entry]);
        assert!(answer.try_recv().unwrap().unwrap_err().contains("No space left"));
        writer.chain.swap_file(real);
        let (entry, mut answer) = ask("Accepted");
        writer.write(vec![entry]);
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
        assert_eq!(
            verify(&path, &dir.path().join("mark"), 1).unwrap(),
            ChainReport { records: 3, broken: vec![] }
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("Use") < at("Refused") && at("Refused") < at("Accepted"), "{text}");
    }
}
