//! Queue attributes: what a queue is set to, what a call changes, what a call asks to see.
//!
//! Holds the values typed and the rules of sections 4 and (for encryption) sse.md 2. Knows no other queue: what a
//! redrive policy needs to know of its target is passed in.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::arn::QueueArn;
use crate::error::{ErrorCode, ErrorReply};

mod changes;
mod queue_attribute;
mod redrive;
mod sse;

pub use changes::{AttributeChanges, AttributeContext};
pub use queue_attribute::{QueueAttribute, RequestedAttributes};
pub use redrive::{DeadLetterTarget, RedriveAllowPolicy, RedrivePermission, RedrivePolicy};
pub use sse::{KMS_REUSE_PERIOD_DEFAULT_S, SseMode};

/// Largest and default `MaximumMessageSize`, bytes.
pub const MESSAGE_BYTES_MAX: u32 = 1_048_576;

/// Scope in which deduplication ids are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeduplicationScope {
    /// `queue`.
    Queue,
    /// `messageGroup`.
    MessageGroup,
}

/// What the FIFO throughput quota applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FifoThroughputLimit {
    /// `perQueue`.
    PerQueue,
    /// `perMessageGroupId`.
    PerMessageGroupId,
}

/// The current value of every settable attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSettings {
    /// `FifoQueue`.
    pub fifo: bool,
    /// `DelaySeconds`, 0–900.
    pub delay_seconds: u32,
    /// `MaximumMessageSize`, bytes, 1,024–1,048,576.
    pub maximum_message_size: u32,
    /// `MessageRetentionPeriod`, seconds, 60–1,209,600.
    pub message_retention_period: u32,
    /// `ReceiveMessageWaitTimeSeconds`, 0–20.
    pub receive_message_wait_time_seconds: u32,
    /// `VisibilityTimeout`, seconds, 0–43,200.
    pub visibility_timeout: u32,
    /// `Policy`, the text as sent.
    pub policy: Option<String>,
    /// `RedrivePolicy`.
    pub redrive_policy: Option<RedrivePolicy>,
    /// `RedriveAllowPolicy`; `None` behaves as allowAll.
    pub redrive_allow_policy: Option<RedriveAllowPolicy>,
    /// How messages are encrypted.
    pub sse: SseMode,
    /// `KmsMasterKeyId` exactly as given; `Some` only with [`SseMode::Kms`].
    pub kms_master_key_id: Option<String>,
    /// `KmsDataKeyReusePeriodSeconds` if one was given, kept while SSE-KMS is off too.
    pub kms_data_key_reuse_period_seconds: Option<u32>,
    /// `ContentBasedDeduplication` (FIFO).
    pub content_based_deduplication: bool,
    /// `DeduplicationScope` (FIFO).
    pub deduplication_scope: DeduplicationScope,
    /// `FifoThroughputLimit` (FIFO).
    pub fifo_throughput_limit: FifoThroughputLimit,
}

/// Facts of a queue that are shown as attributes but not set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAttributes {
    /// `QueueArn`.
    pub arn: QueueArn,
    /// `ApproximateNumberOfMessages`.
    pub visible: u64,
    /// `ApproximateNumberOfMessagesNotVisible`.
    pub not_visible: u64,
    /// `ApproximateNumberOfMessagesDelayed`.
    pub delayed: u64,
    /// `CreatedTimestamp`, seconds since 1970.
    pub created_at_s: u64,
    /// `LastModifiedTimestamp`, seconds since 1970.
    pub modified_at_s: u64,
}

impl QueueSettings {
    /// Defaults of a new queue. SSE-SQS is the default only for queues created over TLS.
    pub fn new(fifo: bool, over_tls: bool) -> Self {
        Self {
            fifo,
            delay_seconds: 0,
            maximum_message_size: MESSAGE_BYTES_MAX,
            message_retention_period: 345_600,
            receive_message_wait_time_seconds: 0,
            visibility_timeout: 30,
            policy: None,
            redrive_policy: None,
            redrive_allow_policy: None,
            sse: if over_tls { SseMode::Managed } else { SseMode::Off },
            kms_master_key_id: None,
            kms_data_key_reuse_period_seconds: None,
            content_based_deduplication: false,
            deduplication_scope: DeduplicationScope::Queue,
            fifo_throughput_limit: FifoThroughputLimit::PerQueue,
        }
    }

    /// Settings of a queue created with these attributes.
    pub fn create(changes: &AttributeChanges, over_tls: bool) -> Result<Self, ErrorReply> {
        Self::new(changes.fifo == Some(true), over_tls).apply(changes)
    }

    /// The settings after a call that gives these attributes: all of them or an error.
    pub fn apply(&self, changes: &AttributeChanges) -> Result<Self, ErrorReply> {
        let mut after = self.clone();
        let set = |value: &mut u32, given: Option<u32>| *value = given.unwrap_or(*value);
        set(&mut after.delay_seconds, changes.delay_seconds);
        set(&mut after.maximum_message_size, changes.maximum_message_size);
        set(&mut after.message_retention_period, changes.message_retention_period);
        set(&mut after.receive_message_wait_time_seconds, changes.receive_message_wait_time_seconds);
        set(&mut after.visibility_timeout, changes.visibility_timeout);
        if let Some(policy) = &changes.policy {
            after.policy = policy.clone();
        }
        if let Some(given) = &changes.redrive_policy {
            after.redrive_policy = given.clone();
        }
        if let Some(given) = &changes.redrive_allow_policy {
            after.redrive_allow_policy = given.clone();
        }
        after.content_based_deduplication =
            changes.content_based_deduplication.unwrap_or(after.content_based_deduplication);
        after.deduplication_scope = changes.deduplication_scope.unwrap_or(after.deduplication_scope);
        after.fifo_throughput_limit = changes.fifo_throughput_limit.unwrap_or(after.fifo_throughput_limit);
        if after.fifo_throughput_limit == FifoThroughputLimit::PerMessageGroupId
            && after.deduplication_scope != DeduplicationScope::MessageGroup
        {
            return Err(ErrorReply::new(
                ErrorCode::InvalidAttributeValue,
                "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup",
            ));
        }
        after.apply_sse(changes);
        Ok(after)
    }

    /// The data key reuse period in force, seconds.
    pub fn reuse_period_seconds(&self) -> u32 {
        self.kms_data_key_reuse_period_seconds.unwrap_or(KMS_REUSE_PERIOD_DEFAULT_S)
    }

    /// CreateQueue on an existing queue: every attribute given must equal the current value, normalised.
    pub fn check_same(&self, changes: &AttributeChanges) -> Result<(), ErrorReply> {
        match changes.given.iter().find(|attribute| !self.equals(changes, **attribute)) {
            None => Ok(()),
            Some(attribute) => Err(ErrorReply::new(
                ErrorCode::QueueNameExists,
                format!(
                    "A queue already exists with the same name and a different value for attribute {}",
                    attribute.name()
                ),
            )),
        }
    }

    fn equals(&self, changes: &AttributeChanges, attribute: QueueAttribute) -> bool {
        use QueueAttribute as A;
        match attribute {
            A::DelaySeconds => changes.delay_seconds == Some(self.delay_seconds),
            A::MaximumMessageSize => changes.maximum_message_size == Some(self.maximum_message_size),
            A::MessageRetentionPeriod => {
                changes.message_retention_period == Some(self.message_retention_period)
            }
            A::ReceiveMessageWaitTimeSeconds => {
                changes.receive_message_wait_time_seconds == Some(self.receive_message_wait_time_seconds)
            }
            A::VisibilityTimeout => changes.visibility_timeout == Some(self.visibility_timeout),
            A::Policy => changes
                .policy
                .as_ref()
                .is_some_and(|given| same_json(given.as_deref(), self.policy.as_deref())),
            A::RedrivePolicy => changes.redrive_policy.as_ref() == Some(&self.redrive_policy),
            A::RedriveAllowPolicy => {
                changes.redrive_allow_policy.as_ref() == Some(&self.redrive_allow_policy)
            }
            A::KmsMasterKeyId => changes.kms_master_key_id.as_ref() == Some(&self.kms_master_key_id),
            A::KmsDataKeyReusePeriodSeconds => {
                changes.kms_data_key_reuse_period_seconds == Some(self.reuse_period_seconds())
            }
            A::SqsManagedSseEnabled => changes.sqs_managed_sse_enabled == Some(self.sse == SseMode::Managed),
            A::FifoQueue => changes.fifo == Some(self.fifo),
            A::ContentBasedDeduplication => {
                changes.content_based_deduplication == Some(self.content_based_deduplication)
            }
            A::DeduplicationScope => changes.deduplication_scope == Some(self.deduplication_scope),
            A::FifoThroughputLimit => changes.fifo_throughput_limit == Some(self.fifo_throughput_limit),
            A::ApproximateNumberOfMessages
            | A::ApproximateNumberOfMessagesNotVisible
            | A::ApproximateNumberOfMessagesDelayed
            | A::CreatedTimestamp
            | A::LastModifiedTimestamp
            | A::QueueArn => true,
        }
    }

    /// The requested attributes that have a value, in alphabetical order of the names.
    pub fn render(&self, wanted: RequestedAttributes, live: &LiveAttributes) -> Vec<(&'static str, String)> {
        QueueAttribute::ALL
            .iter()
            .filter(|attribute| wanted.contains(**attribute))
            .filter_map(|attribute| Some((attribute.name(), self.value(*attribute, live)?)))
            .collect()
    }

    fn value(&self, attribute: QueueAttribute, live: &LiveAttributes) -> Option<String> {
        use QueueAttribute as A;
        let fifo_only = |value: &str| self.fifo.then(|| value.to_owned());
        Some(match attribute {
            A::ApproximateNumberOfMessages => live.visible.to_string(),
            A::ApproximateNumberOfMessagesDelayed => live.delayed.to_string(),
            A::ApproximateNumberOfMessagesNotVisible => live.not_visible.to_string(),
            A::ContentBasedDeduplication => fifo_only(text_of(self.content_based_deduplication))?,
            A::CreatedTimestamp => live.created_at_s.to_string(),
            A::DeduplicationScope => fifo_only(self.deduplication_scope.as_str())?,
            A::DelaySeconds => self.delay_seconds.to_string(),
            A::FifoQueue => fifo_only("true")?,
            A::FifoThroughputLimit => fifo_only(self.fifo_throughput_limit.as_str())?,
            A::KmsDataKeyReusePeriodSeconds if self.sse == SseMode::Kms => {
                self.reuse_period_seconds().to_string()
            }
            A::KmsDataKeyReusePeriodSeconds => return None,
            A::KmsMasterKeyId => self.kms_master_key_id.clone()?,
            A::LastModifiedTimestamp => live.modified_at_s.to_string(),
            A::MaximumMessageSize => self.maximum_message_size.to_string(),
            A::MessageRetentionPeriod => self.message_retention_period.to_string(),
            A::Policy => self.policy.clone()?,
            A::QueueArn => live.arn.to_string(),
            A::ReceiveMessageWaitTimeSeconds => self.receive_message_wait_time_seconds.to_string(),
            A::RedriveAllowPolicy => self.redrive_allow_policy.as_ref()?.to_json(),
            A::RedrivePolicy => self.redrive_policy.as_ref()?.to_json(),
            A::SqsManagedSseEnabled => text_of(self.sse == SseMode::Managed).to_owned(),
            A::VisibilityTimeout => self.visibility_timeout.to_string(),
        })
    }
}

impl DeduplicationScope {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::MessageGroup => "messageGroup",
        }
    }
}

impl FifoThroughputLimit {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PerQueue => "perQueue",
            Self::PerMessageGroupId => "perMessageGroupId",
        }
    }
}

fn text_of(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn same_json(left: Option<&str>, right: Option<&str>) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    match (left, right) {
        (Some(left), Some(right)) => left == right || (value(left).is_some() && value(left) == value(right)),
        (left, right) => left == right,
    }
}

fn invalid_attribute_value(attribute: QueueAttribute) -> ErrorReply {
    ErrorReply::new(
        ErrorCode::InvalidAttributeValue,
        format!("Invalid value for the parameter {}.", attribute.name()),
    )
}

fn unknown_attribute(name: &str) -> ErrorReply {
    ErrorReply::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {name}."))
}

/// Attribute names and values as a request carries them; a value may be `null`.
pub type GivenAttributes<'a> = Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>;

#[cfg(test)]
mod tests;
