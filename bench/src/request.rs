//! The SQS requests that the generator sends, and the little it reads of the replies.
//!
//! Bodies are made before the run. Replies are searched for the members that matter instead of being parsed:
//! a receipt handle or an id never holds a quote or a backslash, and a member name inside of a body is escaped.

use serde_json::json;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::signer::{Payload, Signer};

/// Different bodies made for one run; requests go round them.
const BODY_VARIANTS: u64 = 16;

/// The message groups of a run against a FIFO queue.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Groups {
    pub(crate) count: u64,
    /// In front of each group's number.
    pub(crate) prefix: String,
    /// Tells the deduplication ids of runs apart.
    #[serde(skip)]
    pub(crate) run: String,
}

/// What the send and receive loops of one queue need.
pub(crate) struct Queue {
    pub(crate) url: String,
}

impl Queue {
    /// Finds the queue, or makes it with `attributes` when `create` is set.
    pub(crate) async fn find(
        connection: &mut Connection,
        signer: &mut Signer,
        name: &str,
        create: bool,
        attributes: &[(String, String)],
    ) -> Result<Queue, BenchError> {
        let (action, target, body) = if create {
            let attributes: serde_json::Map<String, serde_json::Value> =
                attributes.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
            let body = json!({ "QueueName": name, "Attributes": attributes });
            ("CreateQueue", "AmazonSQS.CreateQueue", body)
        } else {
            ("GetQueueUrl", "AmazonSQS.GetQueueUrl", json!({ "QueueName": name }))
        };
        connection.request.clear();
        let payload = Payload::new(body.to_string().into_bytes());
        signer.write_request(target, &payload, &mut connection.request);
        let reply = connection.exchange().await?;
        if reply.status != 200 {
            let body = String::from_utf8_lossy(reply.body).into_owned();
            return Err(BenchError::Refused { action, status: reply.status, body });
        }
        let parsed: serde_json::Value = serde_json::from_slice(reply.body)?;
        let url = parsed["QueueUrl"].as_str().ok_or(BenchError::NoQueueUrl(action))?;
        Ok(Queue { url: url.to_owned() })
    }

    /// Bodies of SendMessage (`batch` 1) or SendMessageBatch requests, each message `body_bytes` long.
    /// Fewer of them when there are many queues.
    pub(crate) fn sends(&self, batch: usize, body_bytes: usize, queues: usize) -> Vec<Payload> {
        (0..BODY_VARIANTS.div_ceil(queues as u64))
            .map(|variant| Payload::new(self.send(variant, batch, body_bytes)))
            .collect()
    }

    fn send(&self, variant: u64, batch: usize, body_bytes: usize) -> Vec<u8> {
        let body = |index: usize| message_body(variant * 16 + index as u64 + 1, body_bytes);
        let request = if batch == 1 {
            json!({ "QueueUrl": self.url, "MessageBody": body(0) })
        } else {
            let entries: Vec<_> = (0..batch)
                .map(|index| json!({ "Id": index.to_string(), "MessageBody": body(index) }))
                .collect();
            json!({ "QueueUrl": self.url, "Entries": entries })
        };
        request.to_string().into_bytes()
    }

    /// Body of a SendMessageBatch to a FIFO queue: messages `first` and on, dealt to the groups in turn. No two numbers of
    /// one run are duplicates of each other.
    pub(crate) fn fifo_send(&self, first: u64, batch: usize, body: &str, groups: &Groups) -> Payload {
        let entries: Vec<_> = (first..first + batch as u64)
            .map(|number| {
                json!({
                    "Id": (number - first).to_string(),
                    "MessageBody": body,
                    "MessageGroupId": format!("{}-{}", groups.prefix, number % groups.count.max(1)),
                    "MessageDeduplicationId": format!("{}-{number}", groups.run),
                })
            })
            .collect();
        Payload::new(json!({ "QueueUrl": self.url, "Entries": entries }).to_string().into_bytes())
    }

    /// Body of a PurgeQueue.
    pub(crate) fn purge(&self) -> Payload {
        Payload::new(json!({ "QueueUrl": self.url }).to_string().into_bytes())
    }

    /// Body of a ReceiveMessage for up to `batch` messages that waits up to `wait_seconds`.
    pub(crate) fn receive(&self, batch: usize, wait_seconds: u64) -> Payload {
        let request = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": batch,
            "WaitTimeSeconds": wait_seconds,
        });
        Payload::new(request.to_string().into_bytes())
    }

    /// Body of the DeleteMessage (one handle) or DeleteMessageBatch for `handles`, as they stood in the reply.
    pub(crate) fn delete(&self, handles: &[String]) -> (&'static str, Payload) {
        let (target, request) = match handles {
            [handle] => ("AmazonSQS.DeleteMessage", json!({ "QueueUrl": self.url, "ReceiptHandle": handle })),
            handles => {
                let entries: Vec<_> = handles
                    .iter()
                    .enumerate()
                    .map(|(index, handle)| json!({ "Id": index.to_string(), "ReceiptHandle": handle }))
                    .collect();
                ("AmazonSQS.DeleteMessageBatch", json!({ "QueueUrl": self.url, "Entries": entries }))
            }
        };
        (target, Payload::new(request.to_string().into_bytes()))
    }
}

/// Name of the send action for a batch of `batch`.
pub(crate) fn send_target(batch: usize) -> &'static str {
    if batch == 1 { "AmazonSQS.SendMessage" } else { "AmazonSQS.SendMessageBatch" }
}

/// Printable text of `bytes` bytes that does not compress: letters and digits from a small generator.
pub(crate) fn message_body(seed: u64, bytes: usize) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        LETTERS[(state >> 32) as usize & 63] as char
    };
    (0..bytes).map(|_| letter()).collect()
}

/// How many messages a reply to a send names.
pub(crate) fn sent_count(body: &[u8]) -> usize {
    values(body, "MessageId").count()
}

/// How many entries a reply to a batch names, a single delete having none.
pub(crate) fn deleted_count(body: &[u8], asked: usize) -> usize {
    if asked == 1 && body.is_empty() { 1 } else { values(body, "Id").count() }
}

/// True when a batch reply has entries that failed.
pub(crate) fn has_failed_entries(body: &[u8]) -> bool {
    values_at(body, "Failed").any(|rest| !rest.starts_with(b"[]"))
}

/// The bodies of a reply to a receive, as they stand there; for bodies that need no escaping.
pub(crate) fn bodies(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    values(body, "Body")
}

/// The receipt handles of a reply to a receive.
pub(crate) fn receipt_handles(body: &[u8]) -> Vec<String> {
    values(body, "ReceiptHandle").map(|value| String::from_utf8_lossy(value).into_owned()).collect()
}

/// The string values of every member called `name`.
fn values<'a>(body: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    values_at(body, name).filter_map(|rest| {
        let rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        Some(&rest[..end])
    })
}

/// What follows the colon of every member called `name`.
fn values_at<'a>(body: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = body;
    std::iter::from_fn(move || {
        while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
            let escaped = quote > 0 && rest[quote - 1] == b'\\';
            rest = &rest[quote + 1..];
            if escaped {
                continue;
            }
            let Some(after) = rest.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"\""))
            else {
                continue;
            };
            let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { continue };
            return Some(value.trim_ascii_start());
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_with_and_without_blanks_and_not_inside_of_a_body() {
        let reply =
            br#"{"Messages": [{"MessageId":"a","ReceiptHandle" : "h1","Body":"\"ReceiptHandle\":\"no\""},
            {"ReceiptHandle":"h2"}]}"#;
        assert_eq!(receipt_handles(reply), ["h1", "h2"]);
        assert_eq!(sent_count(reply), 1);
    }

    #[test]
    fn an_empty_failed_list_is_no_failure() {
        assert!(!has_failed_entries(br#"{"Successful":[],"Failed":[]}"#));
        assert!(has_failed_entries(br#"{"Failed":[{"Id":"1"}]}"#));
        assert_eq!(deleted_count(b"", 1), 1);
        assert_eq!(deleted_count(br#"{"Successful":[{"Id":"0"},{"Id":"1"}]}"#, 2), 2);
    }

    #[test]
    fn messages_of_a_fifo_send_are_dealt_to_the_groups_in_turn() {
        let queue = Queue { url: "http://localhost/000000000000/q.fifo".into() };
        let groups = Groups { count: 3, prefix: "g".into(), run: "r".into() };
        let payload = queue.fifo_send(7, 2, "body", &groups);
        let parsed: serde_json::Value = serde_json::from_slice(&payload.bytes).unwrap();
        assert_eq!(parsed["Entries"][1]["MessageGroupId"], "g-2");
        assert_eq!(parsed["Entries"][1]["MessageDeduplicationId"], "r-8");
    }

    #[test]
    fn bodies_have_the_length_asked_for_and_differ() {
        let queue = Queue { url: "http://localhost/000000000000/q".into() };
        let sends = queue.sends(10, 1024, 1);
        let parsed: serde_json::Value = serde_json::from_slice(&sends[0].bytes).unwrap();
        let entries = parsed["Entries"].as_array().unwrap();
        assert_eq!(entries.len(), 10);
        assert!(entries.iter().all(|entry| entry["MessageBody"].as_str().unwrap().len() == 1024));
        assert_ne!(entries[0]["MessageBody"], entries[1]["MessageBody"]);
        assert_ne!(sends[0].sha256_hex, sends[1].sha256_hex);
    }
}
