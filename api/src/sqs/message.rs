//! One message to be sent, and everything that can be wrong with it (SQS API contract, sections 5, 6 and 8.1).

use std::borrow::Cow;

use crate::digest;
use crate::error::{ErrorCode, ErrorReply};

use super::attributes::QueueSettings;
use super::message_attribute::{
    AttributeValue, MessageAttribute, SentAttribute, TRACE_HEADER, check_attributes, check_system_attributes,
};

/// Longest `DelaySeconds`.
pub const DELAY_SECONDS_MAX: i64 = 900;
/// Longest group id, deduplication id and attempt id.
pub const ID_BYTES_MAX: usize = 128;

const INVALID_CHARACTERS: &str = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to \
    #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";

/// A message as it was sent: nothing but its shape is known to be right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutgoingMessage<'a> {
    /// `MessageBody`; empty when absent.
    pub body: Cow<'a, str>,
    /// `DelaySeconds`.
    pub delay_seconds: Option<i64>,
    /// `MessageAttributes`.
    pub attributes: Vec<SentAttribute<'a>>,
    /// `MessageSystemAttributes`.
    pub system_attributes: Vec<SentAttribute<'a>>,
    /// `MessageDeduplicationId`.
    pub deduplication_id: Option<Cow<'a, str>>,
    /// `MessageGroupId`.
    pub group_id: Option<Cow<'a, str>>,
}

/// A message that its queue accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedMessage<'s> {
    /// The body; its MD5 is the caller's to compute ([`digest::body_md5`]), several at once if it can.
    pub body: &'s str,
    /// Delay of this message; the queue's when absent, always absent on FIFO queues.
    pub delay_seconds: Option<u32>,
    /// User attributes in the order sent.
    pub attributes: Vec<MessageAttribute<'s>>,
    /// `AWSTraceHeader`.
    pub trace_header: Option<&'s str>,
    /// `MessageGroupId`; always present on FIFO queues.
    pub group_id: Option<&'s str>,
    /// Explicit `MessageDeduplicationId`. Absent on a FIFO queue: take it from the content.
    pub deduplication_id: Option<&'s str>,
    /// Body and user attributes, bytes.
    pub size_bytes: usize,
}

impl CheckedMessage<'_> {
    /// `MD5OfMessageAttributes`.
    pub fn attributes_md5(&self) -> Option<[u8; 16]> {
        digest::attributes_md5(&self.attributes)
    }

    /// `MD5OfMessageSystemAttributes`.
    pub fn system_attributes_md5(&self) -> Option<[u8; 16]> {
        let text = self.trace_header?;
        let value = AttributeValue::Text(text);
        digest::attributes_md5(&[MessageAttribute { name: TRACE_HEADER, data_type: "String", value }])
    }

    /// The deduplication id in force on a FIFO queue.
    pub fn effective_deduplication_id(&self) -> Cow<'_, str> {
        match self.deduplication_id {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(digest::content_deduplication_id(self.body)),
        }
    }
}

const GROUP_ID: &str = "MessageGroupId";

/// Beginning of the text about a message that is too long: single sends and batches word it differently.
const LONG_SINGLE: &str = "One or more parameters are invalid.";
const LONG_IN_BATCH: &str = "One or more parameters cannot be validated.";

impl OutgoingMessage<'_> {
    /// Body and user attributes, bytes.
    pub fn size_bytes(&self) -> usize {
        let attribute = |sent: &SentAttribute<'_>| {
            sent.name.len()
                + sent.data_type.as_ref().map_or(0, |t| t.len())
                + sent.string_value.as_ref().map_or(0, |v| v.len())
                + sent.binary_value.as_ref().map_or(0, Vec::len)
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// Checks a single send.
    pub fn check(&self, settings: &QueueSettings) -> Result<CheckedMessage<'_>, ErrorReply> {
        self.check_fifo_ids(settings)?;
        if self.body.is_empty() {
            return Err(ErrorReply::missing_parameter("MessageBody"));
        }
        self.check_alone(settings, LONG_SINGLE)
    }

    /// What fails a whole FIFO request: no group id, or nothing to deduplicate by.
    pub(super) fn check_fifo_ids(&self, settings: &QueueSettings) -> Result<(), ErrorReply> {
        if !settings.fifo {
            return Ok(());
        }
        if self.group_id.is_none() {
            return Err(ErrorReply::missing_parameter(GROUP_ID));
        }
        if self.deduplication_id.is_none() && !settings.content_based_deduplication {
            return Err(ErrorReply::invalid_parameter(
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly",
            ));
        }
        Ok(())
    }

    /// The same for a batch, where a missing group id has another code (recorded).
    pub(super) fn check_fifo_ids_in_batch(&self, settings: &QueueSettings) -> Result<(), ErrorReply> {
        self.check_fifo_ids(settings).map_err(|error| match error.code {
            ErrorCode::MissingParameter => ErrorReply::invalid_parameter(error.message),
            _ => error,
        })
    }

    /// Checks a batch entry whose number is `position` (from 1).
    pub(super) fn check_in_batch(
        &self,
        settings: &QueueSettings,
        position: usize,
    ) -> Result<CheckedMessage<'_>, ErrorReply> {
        if self.body.is_empty() {
            return Err(ErrorReply::missing_parameter(format_args!(
                "SendMessageBatchRequestEntry.{position}.MessageBody"
            )));
        }
        self.check_alone(settings, LONG_IN_BATCH)
    }

    fn check_alone(&self, settings: &QueueSettings, long: &str) -> Result<CheckedMessage<'_>, ErrorReply> {
        let size_bytes = self.size_bytes();
        let limit = settings.maximum_message_size;
        if size_bytes > limit as usize {
            return Err(ErrorReply::invalid_parameter(format!(
                "{long} Reason: Message must be shorter than {limit} bytes."
            )));
        }
        if !has_only_valid_characters(&self.body) {
            return Err(ErrorReply::new(ErrorCode::InvalidMessageContents, INVALID_CHARACTERS));
        }
        if let Some(id) = &self.group_id {
            check_id(id, "MessageGroupId")?;
        }
        if let Some(id) = &self.deduplication_id {
            if !settings.fifo {
                return Err(ErrorReply::invalid_value(
                    id,
                    "MessageDeduplicationId",
                    "The request include parameter MessageDeduplicationId which is not valid for this queue type",
                ));
            }
            check_id(id, "MessageDeduplicationId")?;
        }
        Ok(CheckedMessage {
            body: &self.body,
            delay_seconds: self.check_delay(settings)?,
            attributes: check_attributes(&self.attributes)?,
            trace_header: check_system_attributes(&self.system_attributes)?,
            group_id: self.group_id.as_deref(),
            deduplication_id: self.deduplication_id.as_deref(),
            size_bytes,
        })
    }

    fn check_delay(&self, settings: &QueueSettings) -> Result<Option<u32>, ErrorReply> {
        let Some(delay) = self.delay_seconds else { return Ok(None) };
        if !(0..=DELAY_SECONDS_MAX).contains(&delay) {
            return Err(ErrorReply::invalid_value(
                delay,
                "DelaySeconds",
                "DelaySeconds must be >= 0 and <= 900.",
            ));
        }
        match (settings.fifo, delay) {
            // An explicit 0 is accepted there, and the queue's own delay still applies.
            (true, 0) => Ok(None),
            (true, _) => Err(ErrorReply::invalid_value(
                delay,
                "DelaySeconds",
                "The request include parameter that is not valid for this queue type.",
            )),
            (false, _) => Ok(u32::try_from(delay).ok()),
        }
    }
}

/// Group, deduplication and attempt ids: 1 to 128 alphanumerics and punctuation.
pub(super) fn check_id(id: &str, parameter: &str) -> Result<(), ErrorReply> {
    if !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(ErrorReply::invalid_value(
        id,
        parameter,
        &format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."),
    ))
}

/// True if every character may stand in a body (6.2).
pub fn has_only_valid_characters(text: &str) -> bool {
    /// Examined at once; the loop over them compiles to vector instructions.
    const LANE_BYTES: usize = 32;
    let bytes = text.as_bytes();
    let suspicious = |b: u8| (b < 0x20) | (b == 0xEF);
    bytes.chunks(LANE_BYTES).enumerate().all(|(lane, chunk)| {
        if !chunk.iter().fold(false, |found, &b| found | suspicious(b)) {
            return true;
        }
        chunk.iter().enumerate().all(|(offset, byte)| match byte {
            b'\t' | b'\n' | b'\r' => true,
            0..=0x1F => false,
            // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
            0xEF => {
                let at = lane * LANE_BYTES + offset;
                !matches!(bytes.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF]))
            }
            _ => true,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn standard() -> QueueSettings {
        QueueSettings::new(false, true)
    }

    fn fifo() -> QueueSettings {
        QueueSettings::new(true, true)
    }

    fn message(body: &str) -> OutgoingMessage<'static> {
        OutgoingMessage { body: body.to_owned().into(), ..OutgoingMessage::default() }
    }

    fn grouped(group: &str, deduplication: Option<&'static str>) -> OutgoingMessage<'static> {
        OutgoingMessage {
            group_id: Some(group.to_owned().into()),
            deduplication_id: deduplication.map(Cow::Borrowed),
            ..message("b")
        }
    }

    fn refusal(message: &OutgoingMessage<'_>, settings: &QueueSettings) -> (ErrorCode, String) {
        let error = message.check(settings).unwrap_err();
        (error.code, error.message.into_owned())
    }

    #[test]
    fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let settings = QueueSettings { maximum_message_size: 1024, ..standard() };
        assert_eq!(message(&"x".repeat(1024)).check(&settings).unwrap().size_bytes, 1024);
        assert_eq!(
            refusal(&message(&"x".repeat(1025)), &settings),
            (
                ErrorCode::InvalidParameterValue,
                "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.".into()
            )
        );
        let attribute = SentAttribute {
            name: "n".into(),
            data_type: Some("String".into()),
            string_value: Some("v".into()),
            ..SentAttribute::default()
        };
        let with =
            |length| OutgoingMessage { attributes: vec![attribute.clone()], ..message(&"x".repeat(length)) };
        assert!(with(1024 - 8).check(&settings).is_ok());
        assert!(with(1024 - 7).check(&settings).is_err());
    }

    #[test]
    fn contents_and_presence_are_checked() {
        assert_eq!(
            refusal(&message(""), &standard()).1,
            "The request must contain the parameter MessageBody."
        );
        for bad in ["\u{0}", "a\u{1F}", "\u{FFFE}", &format!("{}\u{FFFF}", "x".repeat(30))] {
            assert_eq!(
                refusal(&message(bad), &standard()),
                (ErrorCode::InvalidMessageContents, INVALID_CHARACTERS.into())
            );
        }
        assert!(message(" \t\r\n\u{FFFD}\u{1F600}\u{7F}").check(&standard()).is_ok());
    }

    #[test]
    fn delays_are_ranged_and_differ_by_queue_type() {
        let delayed = |delay| OutgoingMessage { delay_seconds: Some(delay), ..grouped("g", None) };
        assert_eq!(delayed(900).check(&standard()).unwrap().delay_seconds, Some(900));
        assert_eq!(delayed(0).check(&standard()).unwrap().delay_seconds, Some(0));
        for delay in [-1, 901, 1000] {
            assert_eq!(
                refusal(&delayed(delay), &standard()).1,
                format!(
                    "Value {delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
                )
            );
        }
        let by_content = QueueSettings { content_based_deduplication: true, ..fifo() };
        assert_eq!(delayed(0).check(&by_content).unwrap().delay_seconds, None);
        assert_eq!(
            refusal(&delayed(2), &by_content).1,
            "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid \
             for this queue type."
        );
    }

    #[test]
    fn fifo_ids_are_mandatory_and_ranged() {
        assert_eq!(
            refusal(&message("b"), &fifo()),
            (ErrorCode::MissingParameter, "The request must contain the parameter MessageGroupId.".into())
        );
        assert_eq!(
            refusal(&grouped("g", None), &fifo()),
            (
                ErrorCode::InvalidParameterValue,
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                 explicitly"
                    .into()
            )
        );
        assert!(grouped(&"g".repeat(128), Some("!~")).check(&fifo()).is_ok());
        for group in ["", "a b", "ü", &"g".repeat(129)] {
            assert_eq!(
                refusal(&grouped(group, Some("d")), &fifo()).1,
                format!(
                    "Value {group} for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include \
                     alphanumeric and punctuation characters. 1 to 128 in length."
                )
            );
        }
        assert!(grouped("g", Some("a b")).check(&fifo()).is_err());
        assert!(grouped("g", None).check(&standard()).is_ok());
        assert!(grouped("g", Some("d")).check(&standard()).is_err());
    }

    #[test]
    fn the_content_hash_stands_in_for_a_missing_deduplication_id() {
        let by_content = QueueSettings { content_based_deduplication: true, ..fifo() };
        let sent = OutgoingMessage { body: "message".into(), ..grouped("g", None) };
        assert_eq!(
            sent.check(&by_content).unwrap().effective_deduplication_id(),
            "ab530a13e45914982b79f9b7e3fba994cfd1f3fb22f71cea1afbf02b460c6d1d"
        );
    }

    proptest! {
        #[test]
        fn valid_characters_are_those_of_the_contract(text in any::<String>()) {
            let valid = text.chars().all(|c| matches!(
                u32::from(c),
                0x9 | 0xA | 0xD | 0x20..=0xD7FF | 0xE000..=0xFFFD | 0x1_0000..=0x10_FFFF
            ));
            prop_assert_eq!(has_only_valid_characters(&text), valid);
        }
    }
}
