//! Message move tasks: their handles, the checks of their requests, and how they are shown (12.21–12.23).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::arn::QueueArn;
use crate::error::{ErrorCode, ErrorReply};
use crate::json::JsonReader;

use super::request::{CancelMessageMoveTask, ListMessageMoveTasks, StartMessageMoveTask};

/// Highest `MaxNumberOfMessagesPerSecond`.
pub const RATE_MAX: i64 = 500;
/// Most tasks that are listed.
pub const LISTED_MAX: i64 = 10;
/// Most active tasks of an account.
pub const ACTIVE_MAX: usize = 100;

/// State of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MoveTaskStatus {
    /// Moving.
    Running,
    /// Nothing is left.
    Completed,
    /// Told to stop.
    Cancelling,
    /// Stopped.
    Cancelled,
    /// Ended by an error.
    Failed,
}

impl MoveTaskStatus {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Failed => "FAILED",
        }
    }
}

/// A task as ListMessageMoveTasks shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveTask<'a> {
    /// Encoded handle; shown only while running.
    pub task_handle: Cow<'a, str>,
    /// State.
    pub status: MoveTaskStatus,
    /// The dead-letter queue.
    pub source_arn: Cow<'a, str>,
    /// If one was given.
    pub destination_arn: Option<Cow<'a, str>>,
    /// If one was given.
    pub max_messages_per_second: Option<u32>,
    /// So far.
    pub messages_moved: u64,
    /// Count at the start, not the remainder.
    pub messages_to_move: Option<u64>,
    /// Of a failed task.
    pub failure_reason: Option<Cow<'a, str>>,
    /// Milliseconds since 1970.
    pub started_at_ms: u64,
}

impl MoveTask<'_> {
    pub(super) fn shown_handle(&self) -> Option<&str> {
        (self.status == MoveTaskStatus::Running).then_some(self.task_handle.as_ref())
    }
}

/// Names a task: base64 of `{"taskId":"<uuid>","sourceArn":"<arn>"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskHandle {
    /// The task.
    pub task_id: Uuid,
    /// The dead-letter queue.
    pub source: QueueArn,
}

impl TaskHandle {
    /// The text handed out.
    pub fn encode(&self) -> String {
        STANDARD.encode(format!(r#"{{"taskId":"{}","sourceArn":"{}"}}"#, self.task_id, self.source))
    }

    /// Reads a handle.
    pub fn decode(text: &str) -> Result<Self, ErrorReply> {
        Self::read(text)
            .ok_or_else(|| ErrorReply::invalid_parameter("Value for parameter TaskHandle is invalid."))
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let (mut task_id, mut source) = (None, None);
        let mut reader = JsonReader::new(&bytes).ok()?;
        reader
            .object(|reader, key| {
                match key {
                    "taskId" => task_id = reader.string()?,
                    "sourceArn" => source = reader.string()?,
                    _ => reader.skip()?,
                }
                Ok::<_, crate::json::JsonError>(())
            })
            .ok()?;
        Some(Self { task_id: Uuid::parse_str(&task_id?).ok()?, source: QueueArn::parse(&source?).ok()? })
    }
}

/// A start request with its ARNs read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedStart {
    /// The dead-letter queue.
    pub source: QueueArn,
    /// One queue for all messages; each one's origin when absent.
    pub destination: Option<QueueArn>,
    /// 1–500.
    pub max_messages_per_second: Option<u32>,
}

impl StartMessageMoveTask<'_> {
    /// The checks that need no queue. Whether the source is a dead-letter queue, and the queues exist, is the
    /// caller's to find out ([`not_a_dead_letter_queue`], [`source_missing`], [`destination_missing`]).
    pub fn check(&self) -> Result<CheckedStart, ErrorReply> {
        let source = arn(&self.source_arn, "SourceArn")?;
        let destination =
            self.destination_arn.as_deref().map(|text| arn(text, "DestinationArn")).transpose()?;
        let rate = match self.max_number_of_messages_per_second {
            None => None,
            Some(rate) if (1..=RATE_MAX).contains(&rate) => u32::try_from(rate).ok(),
            Some(_) => {
                return Err(ErrorReply::invalid_parameter(
                    "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number \
                     that's between 1 and 500.",
                ));
            }
        };
        if let Some(destination) = &destination {
            if *destination == source {
                return Err(ErrorReply::invalid_parameter(
                    "Source queue arn and destination queue arn cannot be the same.",
                ));
            }
            if destination.is_fifo() != source.is_fifo() {
                return Err(ErrorReply::invalid_parameter(
                    "The source queue and destination queue must be of the same queue type.",
                ));
            }
        }
        Ok(CheckedStart { source, destination, max_messages_per_second: rate })
    }
}

impl ListMessageMoveTasks<'_> {
    /// The dead-letter queue and how many tasks to list at most.
    pub fn check(&self) -> Result<(QueueArn, usize), ErrorReply> {
        let max = self.max_results.unwrap_or(1);
        if !(1..=LISTED_MAX).contains(&max) {
            return Err(ErrorReply::invalid_parameter(
                "Value for parameter MaxResults is invalid. Reason: You must enter a number that's between 1 and 10.",
            ));
        }
        Ok((arn(&self.source_arn, "SourceArn")?, max as usize))
    }
}

impl CancelMessageMoveTask<'_> {
    /// The task.
    pub fn check(&self) -> Result<TaskHandle, ErrorReply> {
        TaskHandle::decode(&self.task_handle)
    }
}

/// The source is no dead-letter queue of any queue.
pub fn not_a_dead_letter_queue() -> ErrorReply {
    ErrorReply::invalid_parameter("Source queue must be configured as a Dead Letter Queue.")
}

/// A task is running already.
pub fn already_running() -> ErrorReply {
    ErrorReply::invalid_parameter(
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
    )
}

/// The source does not exist.
pub fn source_missing() -> ErrorReply {
    missing("The resource that you specified for the SourceArn parameter doesn't exist.")
}

/// The destination does not exist.
pub fn destination_missing() -> ErrorReply {
    missing("The resource that you specified for the DestinationArn parameter doesn't exist.")
}

/// The handle names no task.
pub fn task_missing() -> ErrorReply {
    missing("Task does not exist.")
}

/// The task has ended.
pub fn not_active() -> ErrorReply {
    ErrorReply::new(ErrorCode::UnsupportedOperation, "Only active tasks can be cancelled.")
}

fn missing(text: &'static str) -> ErrorReply {
    ErrorReply::new(ErrorCode::ResourceNotFound, text)
}

fn arn(text: &str, parameter: &str) -> Result<QueueArn, ErrorReply> {
    QueueArn::parse(text).map_err(|_| {
        ErrorReply::invalid_parameter(format!(
            "You must use this format to specify the {parameter}: \
             arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DLQ: &str = "arn:aws:sqs:us-east-1:000000000000:dlq";

    fn start(destination: Option<&'static str>, rate: Option<i64>) -> Result<CheckedStart, String> {
        let request = StartMessageMoveTask {
            source_arn: DLQ.into(),
            destination_arn: destination.map(Cow::Borrowed),
            max_number_of_messages_per_second: rate,
        };
        request.check().map_err(|error| error.message.into_owned())
    }

    #[test]
    fn a_handle_is_read_back_and_anything_else_refused() {
        let handle = TaskHandle { task_id: Uuid::from_bytes([7; 16]), source: QueueArn::parse(DLQ).unwrap() };
        assert_eq!(TaskHandle::decode(&handle.encode()), Ok(handle));
        for bad in ["", "x", "e30=", &STANDARD.encode(r#"{"taskId":"x","sourceArn":"y"}"#)] {
            assert_eq!(
                TaskHandle::decode(bad).unwrap_err().message,
                "Value for parameter TaskHandle is invalid."
            );
        }
    }

    #[test]
    fn a_start_is_checked() {
        assert_eq!(start(None, Some(500)).unwrap().max_messages_per_second, Some(500));
        assert_eq!(start(None, Some(1)).unwrap().destination, None);
        for rate in [0, 501] {
            assert!(start(None, Some(rate)).unwrap_err().ends_with("between 1 and 500."));
        }
        assert_eq!(
            start(Some("x"), None).unwrap_err(),
            "You must use this format to specify the DestinationArn: \
             arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        );
        assert!(start(Some(DLQ), None).unwrap_err().contains("cannot be the same"));
        assert!(
            start(Some("arn:aws:sqs:us-east-1:000000000000:q.fifo"), None)
                .unwrap_err()
                .contains("same queue type")
        );
    }

    #[test]
    fn a_list_is_bounded() {
        let list = |max| ListMessageMoveTasks { source_arn: DLQ.into(), max_results: max }.check();
        assert_eq!(list(None).unwrap().1, 1);
        assert_eq!(list(Some(10)).unwrap().1, 10);
        assert!(list(Some(11)).is_err() && list(Some(0)).is_err());
    }
}
