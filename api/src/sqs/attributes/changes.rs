//! The attributes given in one CreateQueue or SetQueueAttributes call.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::error::{ErrorCode, ErrorReply};

use super::redrive::{RedriveAllowPolicy, RedrivePolicy};
use super::{
    DeduplicationScope, FifoThroughputLimit, GivenAttributes, MESSAGE_BYTES_MAX, QueueAttribute,
    invalid_attribute_value, unknown_attribute,
};
use crate::sqs::permission::{ACTIONS_MAX, CONDITIONS_MAX, PRINCIPALS_MAX, STATEMENTS_MAX, over_limit};

/// Longest queue policy, bytes; no redrive policy needs more either.
const POLICY_BYTES_MAX: usize = 8192;
/// Longest key id, alias or ARN, bytes.
const KEY_ID_BYTES_MAX: usize = 2048;

/// Which call gives the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeContext {
    /// CreateQueue: `FifoQueue` decides the type; read-only attributes are ignored.
    Create,
    /// SetQueueAttributes on a queue of this type.
    Set {
        /// The queue is FIFO.
        fifo: bool,
    },
}

/// What a call gives: `None` for an attribute that it does not name, `Some(None)` for one that it removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of QueueSettings")]
pub struct AttributeChanges {
    pub fifo: Option<bool>,
    pub delay_seconds: Option<u32>,
    pub maximum_message_size: Option<u32>,
    pub message_retention_period: Option<u32>,
    pub receive_message_wait_time_seconds: Option<u32>,
    pub visibility_timeout: Option<u32>,
    pub policy: Option<Option<String>>,
    pub redrive_policy: Option<Option<RedrivePolicy>>,
    /// The text of the redrive policy as sent, for error texts.
    pub redrive_policy_text: String,
    pub redrive_allow_policy: Option<Option<RedriveAllowPolicy>>,
    pub kms_master_key_id: Option<Option<String>>,
    pub kms_data_key_reuse_period_seconds: Option<u32>,
    pub sqs_managed_sse_enabled: Option<bool>,
    pub content_based_deduplication: Option<bool>,
    pub deduplication_scope: Option<DeduplicationScope>,
    pub fifo_throughput_limit: Option<FifoThroughputLimit>,
    /// What was given, in the order given.
    pub given: Vec<QueueAttribute>,
}

impl AttributeChanges {
    /// Reads and checks the attributes, as far as no other queue and no current value is needed.
    pub fn parse(given: &GivenAttributes<'_>, context: AttributeContext) -> Result<Self, ErrorReply> {
        let fifo = match context {
            AttributeContext::Set { fifo } => fifo,
            AttributeContext::Create => given.iter().any(|(name, value)| {
                name == QueueAttribute::FifoQueue.name()
                    && value.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("true"))
            }),
        };
        let mut changes = Self::default();
        for (name, value) in given {
            let attribute = QueueAttribute::by_name(name).ok_or_else(|| unknown_attribute(name))?;
            if attribute.is_read_only() {
                if context == AttributeContext::Create {
                    continue;
                }
                return Err(unknown_attribute(name));
            }
            match value {
                Some(value) => {
                    // Untrimmed: keys and policies are returned exactly as given.
                    changes.read(attribute, value, fifo)?;
                    changes.given.push(attribute);
                }
                // null is no removal of a key: that would turn encryption off by accident.
                None if attribute == QueueAttribute::KmsMasterKeyId => {
                    return Err(invalid_attribute_value(attribute));
                }
                None => {}
            }
        }
        if changes.sqs_managed_sse_enabled == Some(true) && matches!(changes.kms_master_key_id, Some(Some(_)))
        {
            return Err(ErrorReply::new(
                ErrorCode::InvalidAttributeName,
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or \
                 SQS SSE.",
            ));
        }
        Ok(changes)
    }

    fn read(&mut self, attribute: QueueAttribute, value: &str, fifo: bool) -> Result<(), ErrorReply> {
        use QueueAttribute as A;
        let number = |range| ranged(attribute, value, range).map(Some);
        match attribute {
            A::DelaySeconds => self.delay_seconds = number(0..=900)?,
            A::MaximumMessageSize => self.maximum_message_size = number(1024..=MESSAGE_BYTES_MAX)?,
            A::MessageRetentionPeriod => self.message_retention_period = number(60..=1_209_600)?,
            A::ReceiveMessageWaitTimeSeconds => self.receive_message_wait_time_seconds = number(0..=20)?,
            A::VisibilityTimeout => self.visibility_timeout = number(0..=43_200)?,
            A::KmsDataKeyReusePeriodSeconds => {
                self.kms_data_key_reuse_period_seconds = number(60..=86_400)?;
            }
            A::SqsManagedSseEnabled => self.sqs_managed_sse_enabled = Some(boolean(attribute, value)?),
            A::KmsMasterKeyId if value.len() > KEY_ID_BYTES_MAX => {
                return Err(invalid_attribute_value(attribute));
            }
            A::KmsMasterKeyId => {
                self.kms_master_key_id = Some((!value.is_empty()).then(|| value.to_owned()));
            }
            A::Policy | A::RedrivePolicy | A::RedriveAllowPolicy if value.len() > POLICY_BYTES_MAX => {
                return Err(invalid_attribute_value(attribute));
            }
            A::Policy => {
                check_policy(value)?;
                self.policy = Some((!value.is_empty()).then(|| value.to_owned()));
            }
            A::RedrivePolicy => {
                self.redrive_policy = Some(RedrivePolicy::parse(value)?);
                value.clone_into(&mut self.redrive_policy_text);
            }
            A::RedriveAllowPolicy => self.redrive_allow_policy = Some(RedriveAllowPolicy::parse(value)?),
            A::FifoQueue if !fifo => return Err(unknown_attribute(attribute.name())),
            A::FifoQueue => {
                if !boolean(attribute, value)? {
                    return Err(ErrorReply::new(
                        ErrorCode::InvalidAttributeValue,
                        "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
                    ));
                }
                self.fifo = Some(true);
            }
            A::ContentBasedDeduplication if !fifo => return Err(unknown_attribute(attribute.name())),
            A::ContentBasedDeduplication => {
                self.content_based_deduplication = Some(boolean(attribute, value)?);
            }
            A::DeduplicationScope | A::FifoThroughputLimit if !fifo => {
                let text =
                    format!("You can specify the {} only when FifoQueue is set to true.", attribute.name());
                return Err(ErrorReply::new(ErrorCode::InvalidAttributeName, text));
            }
            A::DeduplicationScope => {
                self.deduplication_scope = Some(match value {
                    "queue" => DeduplicationScope::Queue,
                    "messageGroup" => DeduplicationScope::MessageGroup,
                    _ => return Err(invalid_attribute_value(attribute)),
                });
            }
            A::FifoThroughputLimit => {
                self.fifo_throughput_limit = Some(match value {
                    "perQueue" => FifoThroughputLimit::PerQueue,
                    "perMessageGroupId" => FifoThroughputLimit::PerMessageGroupId,
                    _ => return Err(invalid_attribute_value(attribute)),
                });
            }
            A::ApproximateNumberOfMessages
            | A::ApproximateNumberOfMessagesDelayed
            | A::ApproximateNumberOfMessagesNotVisible
            | A::CreatedTimestamp
            | A::LastModifiedTimestamp
            | A::QueueArn => return Err(unknown_attribute(attribute.name())),
        }
        Ok(())
    }
}

fn ranged(attribute: QueueAttribute, value: &str, range: RangeInclusive<u32>) -> Result<u32, ErrorReply> {
    let parsed = value.parse().ok().filter(|number| range.contains(number));
    parsed.ok_or_else(|| invalid_attribute_value(attribute))
}

fn boolean(attribute: QueueAttribute, value: &str) -> Result<bool, ErrorReply> {
    match value {
        _ if value.eq_ignore_ascii_case("true") => Ok(true),
        _ if value.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid_attribute_value(attribute)),
    }
}

/// Shape and size only; what the statements say is the policy language's matter.
fn check_policy(text: &str) -> Result<(), ErrorReply> {
    if text.is_empty() {
        return Ok(());
    }
    let invalid = || invalid_attribute_value(QueueAttribute::Policy);
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else { return Err(invalid()) };
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.as_slice(),
        Some(statement @ Value::Object(_)) => std::slice::from_ref(statement),
        _ => return Err(invalid()),
    };
    if statements.len() > STATEMENTS_MAX {
        return Err(over_limit(format!(
            "{} statements were found in the submitted policy, max allowed is {STATEMENTS_MAX}",
            statements.len()
        )));
    }
    let of_all = |names: &[&str]| statements.iter().map(|statement| count(statement, names)).sum::<usize>();
    let actions = statements.iter().map(|statement| count(statement, &["Action", "NotAction"])).max();
    for (what, found, allowed) in [
        ("Actions", actions.unwrap_or(0), ACTIONS_MAX),
        ("Principals", of_all(&["Principal", "NotPrincipal"]), PRINCIPALS_MAX),
        ("Conditions", of_all(&["Condition"]), CONDITIONS_MAX),
    ] {
        if found > allowed {
            return Err(over_limit(format!("{found} {what} were found, maximum allowed is {allowed}.")));
        }
    }
    Ok(())
}

/// How many single values these elements of a statement hold. A condition counts once a key, however many values the
/// key may have.
fn count(statement: &Value, elements: &[&str]) -> usize {
    fn values(element: &Value) -> usize {
        match element {
            Value::Array(list) => list.len(),
            Value::Object(kinds) => kinds.values().map(values).sum(),
            _ => 1,
        }
    }
    let keys = |operators: &Value| {
        operators
            .as_object()
            .map_or(0, |map| map.values().filter_map(Value::as_object).map(serde_json::Map::len).sum())
    };
    let found = elements.iter().filter_map(|name| Some((*name, statement.get(name)?)));
    found.map(|(name, element)| if name == "Condition" { keys(element) } else { values(element) }).sum()
}
