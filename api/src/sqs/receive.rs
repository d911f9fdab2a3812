//! What a receive and a change of visibility may ask for (SQS API contract, 6.6, 8.5, 12.13 and 12.14).

use std::borrow::Cow;

use crate::error::ErrorReply;

use super::attributes::QueueSettings;
use super::message::check_id;
use super::message_attribute::AttributeFilter;
use super::request::ReceiveMessage;
use super::system_attribute::SystemAttributeSet;

/// Most messages of a reply.
pub const MESSAGES_MAX: i64 = 10;
/// Longest visibility timeout, seconds.
pub const VISIBILITY_TIMEOUT_MAX_S: i64 = 43_200;
/// Longest wait, seconds.
pub const WAIT_TIME_MAX_S: i64 = 20;

/// A receive that its queue accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedReceive<'s> {
    /// 1 to 10.
    pub max_messages: usize,
    /// Seconds; the queue's when not given.
    pub visibility_timeout: u32,
    /// Seconds; the queue's when not given.
    pub wait_time_seconds: u32,
    /// `ReceiveRequestAttemptId`.
    pub attempt_id: Option<&'s str>,
    /// What to return of each message.
    pub system_attributes: SystemAttributeSet,
    /// What to return of each message.
    pub attributes: AttributeFilter,
}

impl ReceiveMessage<'_> {
    /// Checks against the queue's settings and fills in its defaults.
    pub fn check(&self, settings: &QueueSettings) -> Result<CheckedReceive<'_>, ErrorReply> {
        let max_messages = optional(self.max_number_of_messages, 1..=MESSAGES_MAX, |value| {
            ErrorReply::invalid_value(value, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
        })?;
        let visibility_timeout = optional(self.visibility_timeout, 0..=VISIBILITY_TIMEOUT_MAX_S, |value| {
            ErrorReply::invalid_value(value, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")
        })?;
        let wait_time = optional(self.wait_time_seconds, 0..=WAIT_TIME_MAX_S, |value| {
            ErrorReply::invalid_value(value, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
        })?;
        let attempt_id = self.receive_request_attempt_id.as_deref();
        if let Some(id) = attempt_id {
            if !settings.fifo {
                return Err(ErrorReply::invalid_value(
                    id,
                    "ReceiveRequestAttemptId",
                    "The request include parameter that is not valid for this queue type",
                ));
            }
            check_id(id, "ReceiveRequestAttemptId")?;
        }
        // The current name wins if both are present.
        let names: &[Cow<'_, str>] = match self.message_system_attribute_names.is_empty() {
            true => &self.attribute_names,
            false => &self.message_system_attribute_names,
        };
        Ok(CheckedReceive {
            max_messages: max_messages.map_or(1, |count| count as usize),
            visibility_timeout: visibility_timeout.unwrap_or(settings.visibility_timeout),
            wait_time_seconds: wait_time.unwrap_or(settings.receive_message_wait_time_seconds),
            attempt_id,
            system_attributes: SystemAttributeSet::parse(names)?,
            attributes: AttributeFilter::new(&self.message_attribute_names),
        })
    }
}

/// Checks the timeout of ChangeMessageVisibility.
pub fn check_change_timeout(seconds: i64) -> Result<u32, ErrorReply> {
    optional(Some(seconds), 0..=VISIBILITY_TIMEOUT_MAX_S, |value| {
        ErrorReply::invalid_value(value, "VisibilityTimeout", "Must be between 0 and 43200.")
    })
    .map(Option::unwrap_or_default)
}

fn optional(
    given: Option<i64>,
    range: std::ops::RangeInclusive<i64>,
    refusal: impl FnOnce(i64) -> ErrorReply,
) -> Result<Option<u32>, ErrorReply> {
    match given {
        None => Ok(None),
        Some(value) if range.contains(&value) => Ok(u32::try_from(value).ok()),
        Some(value) => Err(refusal(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> QueueSettings {
        QueueSettings {
            visibility_timeout: 7,
            receive_message_wait_time_seconds: 9,
            ..QueueSettings::new(false, true)
        }
    }

    #[test]
    fn defaults_are_the_queues_and_an_explicit_zero_overrides_them() {
        let asked = ReceiveMessage::default();
        let checked = asked.check(&settings()).unwrap();
        assert_eq!((checked.max_messages, checked.visibility_timeout, checked.wait_time_seconds), (1, 7, 9));
        assert!(checked.system_attributes.is_empty());
        let asked = ReceiveMessage {
            wait_time_seconds: Some(0),
            visibility_timeout: Some(0),
            ..ReceiveMessage::default()
        };
        let checked = asked.check(&settings()).unwrap();
        assert_eq!((checked.visibility_timeout, checked.wait_time_seconds), (0, 0));
    }

    #[test]
    fn ranges_have_their_texts() {
        let text = |asked: ReceiveMessage<'_>| asked.check(&settings()).unwrap_err().message.into_owned();
        for bad in [0, 11] {
            assert_eq!(
                text(ReceiveMessage { max_number_of_messages: Some(bad), ..ReceiveMessage::default() }),
                format!(
                    "Value {bad} for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if \
                     provided."
                )
            );
        }
        assert_eq!(
            text(ReceiveMessage { visibility_timeout: Some(43_201), ..ReceiveMessage::default() }),
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided."
        );
        assert_eq!(
            text(ReceiveMessage { wait_time_seconds: Some(21), ..ReceiveMessage::default() }),
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
        );
        assert_eq!(
            text(ReceiveMessage { attribute_names: vec!["X".into()], ..ReceiveMessage::default() }),
            "Unknown Attribute X."
        );
        assert!(
            text(ReceiveMessage {
                receive_request_attempt_id: Some("a".into()),
                ..ReceiveMessage::default()
            })
            .ends_with("The request include parameter that is not valid for this queue type")
        );
    }

    #[test]
    fn the_current_name_list_wins() {
        let asked = ReceiveMessage {
            attribute_names: vec!["All".into()],
            message_system_attribute_names: vec!["SenderId".into()],
            ..ReceiveMessage::default()
        };
        let set = asked.check(&settings()).unwrap().system_attributes;
        assert_eq!(set, SystemAttributeSet::parse(&["SenderId".into()]).unwrap());
    }
}
