//! RedrivePolicy and RedriveAllowPolicy (SQS API contract, 4.1 and 4.2).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::arn::{QueueArn, QueueArnError};
use crate::error::{ErrorCode, ErrorReply};
use crate::json::push_json_string;

/// Highest `maxReceiveCount`.
const RECEIVE_COUNT_MAX: u32 = 1000;
/// Most `sourceQueueArns`.
const SOURCE_ARNS_MAX: usize = 10;

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePolicy {
    /// The dead-letter queue.
    pub dead_letter_target: QueueArn,
    /// Deliveries allowed before the move, 1–1,000.
    pub max_receive_count: u32,
}

/// Which queues may name this one as their dead-letter queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedriveAllowPolicy {
    /// The rule.
    pub permission: RedrivePermission,
    /// With `byQueue`: 1–10 ARNs; else empty.
    pub source_queue_arns: Vec<String>,
}

/// `redrivePermission`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedrivePermission {
    /// `allowAll`.
    AllowAll,
    /// `denyAll`.
    DenyAll,
    /// `byQueue`.
    ByQueue,
}

/// What the check of a redrive policy must know of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterTarget {
    /// The target's own RedriveAllowPolicy.
    pub allow: Option<RedriveAllowPolicy>,
}

impl RedrivePolicy {
    /// Reads the attribute; `""` and `{}` mean none.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ErrorReply> {
        if text.is_empty() {
            return Ok(None);
        }
        let Ok(Value::Object(map)) = serde_json::from_str::<Value>(text) else {
            return Err(ErrorReply::new(
                ErrorCode::InvalidAttributeValue,
                "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map.",
            ));
        };
        if map.is_empty() {
            return Ok(None);
        }
        let member = |name: &str| {
            map.get(name).ok_or_else(|| {
                refusal(text, &format!("Redrive policy does not contain mandatory attribute: {name}."))
            })
        };
        let max_receive_count = member("maxReceiveCount")?;
        let target = member("deadLetterTargetArn")?;
        if map.len() > 2 {
            return Err(refusal(
                text,
                "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
            ));
        }
        let count = match max_receive_count {
            Value::String(digits) => digits.parse().ok(),
            number => number.as_u64().and_then(|count| u32::try_from(count).ok()),
        };
        let max_receive_count = count.filter(|count| (1..=RECEIVE_COUNT_MAX).contains(count)).ok_or_else(|| {
            let shown = match max_receive_count {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            refusal(
                text,
                &format!(
                    "Invalid value for maxReceiveCount: {shown}, valid values are from 1 to {RECEIVE_COUNT_MAX} both \
                     inclusive."
                ),
            )
        })?;
        let target = QueueArn::parse(target.as_str().unwrap_or_default()).map_err(|error| match error {
            QueueArnError::Malformed => {
                refusal(text, "Dead-letter target ARN should be fully qualified ARN.")
            }
            QueueArnError::OtherService => {
                refusal(text, "Only SQS queues are valid resources for deadLetterTargetArn.")
            }
        })?;
        Ok(Some(Self { dead_letter_target: target, max_receive_count }))
    }

    /// The checks that need the target. `text` is the policy as sent, for the error texts.
    pub fn check_target(
        &self,
        text: &str,
        source: &QueueArn,
        lookup: impl FnOnce(&QueueArn) -> Option<DeadLetterTarget>,
    ) -> Result<(), ErrorReply> {
        let target = &self.dead_letter_target;
        if target.account != source.account {
            return Err(refusal(text, "Dead-letter target owner should be same as the source."));
        }
        let found = if target.region == source.region { lookup(target) } else { None };
        let Some(found) = found else {
            return Err(refusal(text, "Dead letter target does not exist."));
        };
        if target.is_fifo() != source.is_fifo() {
            // Two full stops, as the service writes it.
            return Err(refusal(text, "Dead-letter queue must be same type of queue as the source.."));
        }
        if found.allow.is_some_and(|allow| !allow.allows(source)) {
            return Err(refusal(text, "The dead-letter target does not allow this source queue."));
        }
        Ok(())
    }

    /// Compact JSON with a number, whatever was sent.
    pub fn to_json(&self) -> String {
        format!(
            "{{\"deadLetterTargetArn\":{},\"maxReceiveCount\":{}}}",
            quoted(&self.dead_letter_target.to_string()),
            self.max_receive_count
        )
    }
}

impl RedriveAllowPolicy {
    /// Reads the attribute; `""` means none.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ErrorReply> {
        if text.is_empty() {
            return Ok(None);
        }
        let format_refused = || {
            allow_refusal(
                ErrorCode::InvalidAttributeValue,
                "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format.",
            )
        };
        let Ok(Value::Object(map)) = serde_json::from_str::<Value>(text) else {
            return Err(format_refused());
        };
        if map.keys().any(|key| key != "redrivePermission" && key != "sourceQueueArns") {
            return Err(format_refused());
        }
        let permission = match map.get("redrivePermission").and_then(Value::as_str) {
            Some("allowAll") => RedrivePermission::AllowAll,
            Some("denyAll") => RedrivePermission::DenyAll,
            Some("byQueue") => RedrivePermission::ByQueue,
            _ => return Err(format_refused()),
        };
        let source_queue_arns = source_arns(&map).ok_or_else(format_refused)?;
        let refuse = |reason| Err(allow_refusal(ErrorCode::InvalidParameterValue, reason));
        match (permission, source_queue_arns.len()) {
            (RedrivePermission::ByQueue, 0) => refuse(
                "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns \
                 values.",
            ),
            (RedrivePermission::ByQueue, count) if count > SOURCE_ARNS_MAX => {
                refuse("The maximum number of source queue ARNs you can specify is 10.")
            }
            (RedrivePermission::AllowAll | RedrivePermission::DenyAll, count) if count > 0 => {
                refuse("To specify one or more source queue ARNs, you must set redrivePermission to byQueue.")
            }
            _ => Ok(Some(Self { permission, source_queue_arns })),
        }
    }

    /// True if this queue may become a source.
    pub fn allows(&self, source: &QueueArn) -> bool {
        match self.permission {
            RedrivePermission::AllowAll => true,
            RedrivePermission::DenyAll => false,
            RedrivePermission::ByQueue => {
                let source = source.to_string();
                self.source_queue_arns.contains(&source)
            }
        }
    }

    /// Compact JSON.
    pub fn to_json(&self) -> String {
        match self.permission {
            RedrivePermission::AllowAll => r#"{"redrivePermission":"allowAll"}"#.into(),
            RedrivePermission::DenyAll => r#"{"redrivePermission":"denyAll"}"#.into(),
            RedrivePermission::ByQueue => {
                let arns: Vec<String> = self.source_queue_arns.iter().map(|arn| quoted(arn)).collect();
                format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":[{}]}}"#, arns.join(","))
            }
        }
    }
}

/// The list, empty when absent; `None` unless all are queue ARNs.
fn source_arns(map: &Map<String, Value>) -> Option<Vec<String>> {
    let Some(given) = map.get("sourceQueueArns") else { return Some(Vec::new()) };
    let arn = |value: &Value| value.as_str().filter(|text| QueueArn::parse(text).is_ok()).map(str::to_owned);
    given.as_array()?.iter().map(arn).collect()
}

fn refusal(text: &str, reason: &str) -> ErrorReply {
    ErrorReply::invalid_value(text, "RedrivePolicy", reason)
}

fn allow_refusal(code: ErrorCode, reason: &str) -> ErrorReply {
    ErrorReply::new(code, format!("Invalid value for the parameter RedriveAllowPolicy. Reason: {reason}"))
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    push_json_string(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
