//! The audit log: who did what, one JSON object a line in CloudTrail's record shape, chained by hash.
//!
//! One thread owns the file. A control-plane record is on disk before its reply leaves ([`AuditLog::write`]); a key use
//! at the latest a second later ([`AuditLog::note`]). No record holds a body, a key or a signature secret: there is no
//! field for one.

mod chain;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

pub use chain::{AuditError, Chain, ChainReport, files as chain_files, verify};

/// Records that may wait for the writer; a caller beyond it waits.
pub const BACKLOG_RECORDS_MAX: usize = 16_384;

/// Longest time a noted record stays unsynced.
const SYNC_EVERY: Duration = Duration::from_millis(500);

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
}

/// Sends records to the writer. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditLog {
    entries: mpsc::Sender<Entry>,
    path: PathBuf,
}

impl AuditLog {
    /// Opens the file, checks its end and starts the writer.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let mut chain = Chain::open(path)?;
        let (entries, mut receiver) = mpsc::channel::<Entry>(BACKLOG_RECORDS_MAX);
        std::thread::Builder::new()
            .name("sealq-audit".into())
            .spawn(move || write_all(&mut chain, &mut receiver))
            .map_err(|source| AuditError::Io { path: path.to_owned(), source })?;
        Ok(Self { entries, path: path.to_owned() })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records an event; it is on disk within a second.
    pub async fn note(&self, event: AuditEvent) {
        if self.entries.send(Entry::Note(event)).await.is_err() {
            tracing::error!("an audit record was lost: the audit writer has ended");
        }
    }

    /// Records an event and waits until it is on disk.
    pub async fn write(&self, event: AuditEvent) -> Result<(), String> {
        let (sender, receiver) = oneshot::channel();
        let ended = |_| "the audit writer has ended".to_owned();
        self.entries
            .send(Entry::Write(event, sender))
            .await
            .map_err(|_| "the audit writer has ended".to_owned())?;
        receiver.await.map_err(ended)?
    }
}

fn write_all(chain: &mut Chain, entries: &mut mpsc::Receiver<Entry>) {
    let mut batch = Vec::new();
    let mut waiting = Vec::new();
    while let Some(first) = entries.blocking_recv() {
        batch.push(first);
        // Notes alone may gather; somebody who waits ends the gathering.
        if matches!(batch[0], Entry::Note(_)) {
            std::thread::sleep(Duration::from_millis(20).min(SYNC_EVERY));
        }
        while batch.len() < BACKLOG_RECORDS_MAX
            && let Ok(entry) = entries.try_recv()
        {
            batch.push(entry);
        }
        let mut failed = None;
        for entry in batch.drain(..) {
            let (event, reply) = match entry {
                Entry::Note(event) => (event, None),
                Entry::Write(event, reply) => (event, Some(reply)),
            };
            if let Err(error) = chain.append(event.render()) {
                failed = Some(error.to_string());
            }
            waiting.extend(reply);
        }
        if failed.is_none() {
            failed = chain.sync().err().map(|error| error.to_string());
        }
        if let Some(error) = &failed {
            tracing::error!(%error, "audit records could not be written");
        }
        for reply in waiting.drain(..) {
            // A caller that has gone needs no answer.
            let _ = reply.send(failed.clone().map_or(Ok(()), Err));
        }
    }
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
        let log = AuditLog::open(&path).unwrap();
        log.write(event("CreateQueue")).await.unwrap();
        log.write(event("DeleteQueue")).await.unwrap();
        drop(log);
        let log = AuditLog::open(&path).unwrap();
        log.write(event("PurgeQueue")).await.unwrap();
        assert_eq!(verify(&path).unwrap(), ChainReport { records: 3, broken: vec![] });
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"eventTime\":\"2025-11-24T16:00:00Z\""), "{text}");
        std::fs::write(&path, text.replacen("DeleteQueue", "DeleteQueuf", 1)).unwrap();
        assert_eq!(verify(&path).unwrap().broken.len(), 1);
    }
}
