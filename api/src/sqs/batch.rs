//! Rules of the three batch actions (SQS API contract, section 7).

use std::borrow::Cow;

use crate::error::{ErrorCode, ErrorReply, Fault};
use crate::queue_name::is_label;

use super::attributes::QueueSettings;
use super::message::{CheckedMessage, OutgoingMessage};
use super::receive::check_change_timeout;

/// Most entries of a batch.
pub const ENTRIES_MAX: usize = 10;
/// Most bytes of all messages of a batch together, whatever the queue's own limit.
pub const BATCH_BYTES_MAX: usize = 1_048_576;
/// Longest entry id.
pub const ENTRY_ID_CHARS_MAX: usize = 80;

/// Entry of SendMessageBatch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendEntry<'a> {
    /// `Id`.
    pub id: Option<Cow<'a, str>>,
    /// The message.
    pub message: OutgoingMessage<'a>,
}

/// Entry of DeleteMessageBatch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteEntry<'a> {
    /// `Id`.
    pub id: Option<Cow<'a, str>>,
    /// `ReceiptHandle`.
    pub receipt_handle: Option<Cow<'a, str>>,
}

/// Entry of ChangeMessageVisibilityBatch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeVisibilityEntry<'a> {
    /// `Id`.
    pub id: Option<Cow<'a, str>>,
    /// `ReceiptHandle`.
    pub receipt_handle: Option<Cow<'a, str>>,
    /// `VisibilityTimeout`; 0 when absent.
    pub visibility_timeout: Option<i64>,
}

/// An entry that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSendEntry<'s> {
    /// `Id`.
    pub id: &'s str,
    /// The message.
    pub message: CheckedMessage<'s>,
}

/// An entry that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedHandleEntry<'s> {
    /// `Id`.
    pub id: &'s str,
    /// `ReceiptHandle`, not yet authenticated.
    pub receipt_handle: &'s str,
    /// `VisibilityTimeout`, seconds; 0 for deletes.
    pub visibility_timeout: u32,
}

/// An entry of `Failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFailure<'s> {
    /// `Id`.
    pub id: Cow<'s, str>,
    /// Why; its query code, text and fault are sent.
    pub error: ErrorReply,
}

impl BatchFailure<'_> {
    /// `SenderFault`.
    pub fn is_sender_fault(&self) -> bool {
        self.error.code.fault() == Fault::Sender
    }
}

/// Checks a SendMessageBatch: an error of the whole request, or one result for each entry in request order.
pub fn check_send<'s>(
    entries: &'s [SendEntry<'_>],
    settings: &QueueSettings,
) -> Result<Vec<Result<CheckedSendEntry<'s>, BatchFailure<'s>>>, ErrorReply> {
    let ids = check_ids(entries.iter().map(|entry| entry.id.as_deref()), "SendMessageBatchRequestEntry")?;
    let total_bytes: usize = entries.iter().map(|entry| entry.message.size_bytes()).sum();
    if total_bytes > BATCH_BYTES_MAX {
        return Err(ErrorReply::new(
            ErrorCode::BatchRequestTooLong,
            format!(
                "Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. You have sent {total_bytes} bytes."
            ),
        ));
    }
    for entry in entries {
        entry.message.check_fifo_ids_in_batch(settings)?;
    }
    let check = |((at, entry), id): ((usize, &'s SendEntry<'_>), &'s str)| {
        let message = entry.message.check_in_batch(settings, at + 1);
        message
            .map(|message| CheckedSendEntry { id, message })
            .map_err(|error| BatchFailure { id: Cow::Borrowed(id), error })
    };
    Ok(entries.iter().enumerate().zip(ids).map(check).collect())
}

/// Results of the entries that carry a receipt handle.
pub type HandleEntries<'s> = Vec<Result<CheckedHandleEntry<'s>, BatchFailure<'s>>>;

/// Checks a DeleteMessageBatch.
pub fn check_delete<'s>(entries: &'s [DeleteEntry<'_>]) -> Result<HandleEntries<'s>, ErrorReply> {
    const ENTRY: &str = "DeleteMessageBatchRequestEntry";
    let ids = check_ids(entries.iter().map(|entry| entry.id.as_deref()), ENTRY)?;
    let handles = entries.iter().map(|entry| (entry.receipt_handle.as_deref(), Ok(0)));
    Ok(check_handles(ids, handles, ENTRY))
}

/// Checks a ChangeMessageVisibilityBatch.
pub fn check_change_visibility<'s>(
    entries: &'s [ChangeVisibilityEntry<'_>],
) -> Result<HandleEntries<'s>, ErrorReply> {
    const ENTRY: &str = "ChangeMessageVisibilityBatchRequestEntry";
    let ids = check_ids(entries.iter().map(|entry| entry.id.as_deref()), ENTRY)?;
    let handles = entries.iter().map(|entry| {
        (entry.receipt_handle.as_deref(), check_change_timeout(entry.visibility_timeout.unwrap_or(0)))
    });
    Ok(check_handles(ids, handles, ENTRY))
}

fn check_handles<'s>(
    ids: Vec<&'s str>,
    handles: impl Iterator<Item = (Option<&'s str>, Result<u32, ErrorReply>)>,
    entry: &str,
) -> HandleEntries<'s> {
    let mut checked = Vec::with_capacity(ids.len());
    for ((at, id), (handle, timeout)) in ids.into_iter().enumerate().zip(handles) {
        let receipt_handle = handle
            .filter(|handle| !handle.is_empty())
            .ok_or_else(|| ErrorReply::missing_parameter(format_args!("{entry}.{}.ReceiptHandle", at + 1)));
        checked.push(match (receipt_handle, timeout) {
            (Ok(receipt_handle), Ok(visibility_timeout)) => {
                Ok(CheckedHandleEntry { id, receipt_handle, visibility_timeout })
            }
            (Err(error), _) | (_, Err(error)) => Err(BatchFailure { id: Cow::Borrowed(id), error }),
        });
    }
    checked
}

/// The rules that fail a whole request; gives the ids.
fn check_ids<'s>(
    ids: impl ExactSizeIterator<Item = Option<&'s str>>,
    entry: &str,
) -> Result<Vec<&'s str>, ErrorReply> {
    match ids.len() {
        0 => {
            return Err(ErrorReply::new(
                ErrorCode::EmptyBatchRequest,
                format!("There should be at least one {entry} in the request."),
            ));
        }
        count if count > ENTRIES_MAX => {
            return Err(ErrorReply::new(
                ErrorCode::TooManyEntriesInBatchRequest,
                format!("Maximum number of entries per request are {ENTRIES_MAX}. You have sent {count}."),
            ));
        }
        _ => {}
    }
    let mut seen: Vec<&str> = Vec::with_capacity(ids.len());
    for (at, id) in ids.enumerate() {
        let id = id.ok_or_else(|| ErrorReply::missing_parameter(format_args!("{entry}.{}.Id", at + 1)))?;
        if id.len() > ENTRY_ID_CHARS_MAX || !is_label(id) {
            return Err(ErrorReply::new(
                ErrorCode::InvalidBatchEntryId,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
                 80 letters long.",
            ));
        }
        if seen.contains(&id) {
            return Err(ErrorReply::new(ErrorCode::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
        seen.push(id);
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, body: &str) -> SendEntry<'static> {
        SendEntry {
            id: Some(id.to_owned().into()),
            message: OutgoingMessage { body: body.to_owned().into(), ..OutgoingMessage::default() },
        }
    }

    fn standard() -> QueueSettings {
        QueueSettings::new(false, true)
    }

    fn refusal(entries: &[SendEntry<'_>]) -> (ErrorCode, String) {
        let error = check_send(entries, &standard()).unwrap_err();
        (error.code, error.message.into_owned())
    }

    #[test]
    fn counts_at_the_limit_pass_and_beyond_fail() {
        let many = |count: usize| -> Vec<_> { (0..count).map(|n| entry(&n.to_string(), "b")).collect() };
        assert_eq!(check_send(&many(10), &standard()).unwrap().len(), 10);
        assert_eq!(
            refusal(&many(20)),
            (
                ErrorCode::TooManyEntriesInBatchRequest,
                "Maximum number of entries per request are 10. You have sent 20.".into()
            )
        );
        assert_eq!(
            refusal(&[]),
            (
                ErrorCode::EmptyBatchRequest,
                "There should be at least one SendMessageBatchRequestEntry in the request.".into()
            )
        );
        assert_eq!(
            check_delete(&[]).unwrap_err().message,
            "There should be at least one DeleteMessageBatchRequestEntry in the request."
        );
        assert_eq!(
            check_change_visibility(&[]).unwrap_err().message,
            "There should be at least one ChangeMessageVisibilityBatchRequestEntry in the request."
        );
    }

    #[test]
    fn ids_are_checked() {
        assert!(check_send(&[entry(&"a".repeat(80), "b")], &standard()).is_ok());
        for bad in ["", "a b", "ü", &"a".repeat(81)] {
            assert_eq!(refusal(&[entry(bad, "b")]).0, ErrorCode::InvalidBatchEntryId);
        }
        assert_eq!(
            refusal(&[entry("x", "b"), entry("x", "b")]),
            (ErrorCode::BatchEntryIdsNotDistinct, "Id x repeated.".into())
        );
        let nameless = SendEntry { id: None, ..entry("", "b") };
        assert_eq!(
            refusal(&[entry("x", "b"), nameless]),
            (
                ErrorCode::MissingParameter,
                "The request must contain the parameter SendMessageBatchRequestEntry.2.Id.".into()
            )
        );
    }

    #[test]
    fn the_total_is_limited_whatever_the_queue_says() {
        let half = "x".repeat(BATCH_BYTES_MAX / 2);
        assert!(check_send(&[entry("a", &half), entry("b", &half)], &standard()).is_ok());
        assert_eq!(
            refusal(&[entry("a", &half), entry("b", &half), entry("c", "x")]),
            (
                ErrorCode::BatchRequestTooLong,
                "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.".into()
            )
        );
    }

    #[test]
    fn a_bad_entry_fails_alone() {
        let settings = QueueSettings { maximum_message_size: 1024, ..standard() };
        let entries = [entry("a", ""), entry("b", &"x".repeat(1025)), entry("c", "\u{1}"), entry("d", "ok")];
        let results = check_send(&entries, &settings).unwrap();
        let failure = |at: usize| {
            let failure = results[at].as_ref().unwrap_err();
            assert!(failure.is_sender_fault());
            (failure.error.code, failure.error.message.as_ref())
        };
        assert_eq!(
            failure(0),
            (
                ErrorCode::MissingParameter,
                "The request must contain the parameter SendMessageBatchRequestEntry.1.MessageBody."
            )
        );
        assert_eq!(
            failure(1),
            (
                ErrorCode::InvalidParameterValue,
                "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."
            )
        );
        assert_eq!(failure(2).0, ErrorCode::InvalidMessageContents);
        assert_eq!(results[3].as_ref().unwrap().message.body, "ok");
    }

    #[test]
    fn a_fifo_entry_without_group_fails_the_request() {
        let settings = QueueSettings::new(true, true);
        let error = check_send(&[entry("a", "b")], &settings).unwrap_err();
        assert_eq!(error.message, "The request must contain the parameter MessageGroupId.");
    }

    #[test]
    fn handles_are_required_and_timeouts_ranged() {
        let change = |handle: Option<&'static str>, timeout| ChangeVisibilityEntry {
            id: Some("a".into()),
            receipt_handle: handle.map(Cow::Borrowed),
            visibility_timeout: timeout,
        };
        assert!(check_change_visibility(&[change(Some("h"), None)]).unwrap()[0].is_ok());
        assert_eq!(
            check_change_visibility(&[change(None, Some(1))]).unwrap()[0].as_ref().unwrap_err().error.message,
            "The request must contain the parameter ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle."
        );
        let late = change(Some("h"), Some(43_201));
        assert_eq!(
            check_change_visibility(&[late]).unwrap()[0].as_ref().unwrap_err().error.message,
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200."
        );
    }
}
