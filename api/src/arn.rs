//! Amazon resource names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// ARN of a queue: `arn:<partition>:sqs:<region>:<account>:<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueArn {
    /// `aws`, `aws-cn`, …
    pub partition: String,
    /// Region.
    pub region: String,
    /// 12 digits.
    pub account: String,
    /// Queue name, with `.fifo` if it is one.
    pub name: String,
}

/// Why a text is no queue ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueArnError {
    /// Not six parts, or an empty one.
    #[error("not a fully qualified ARN")]
    Malformed,
    /// An ARN of another service.
    #[error("not an ARN of a queue")]
    OtherService,
}

impl QueueArn {
    /// Reads an ARN.
    pub fn parse(text: &str) -> Result<Self, QueueArnError> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [scheme, partition, service, region, account, name] = parts[..] else {
            return Err(QueueArnError::Malformed);
        };
        if scheme != "arn" || partition.is_empty() || service.is_empty() {
            return Err(QueueArnError::Malformed);
        }
        if service != "sqs" {
            return Err(QueueArnError::OtherService);
        }
        if region.is_empty() || !is_account_id(account) || !crate::queue_name::is_queue_name(name) {
            return Err(QueueArnError::Malformed);
        }
        Ok(Self {
            partition: partition.into(),
            region: region.into(),
            account: account.into(),
            name: name.into(),
        })
    }

    /// True if it names a FIFO queue.
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(crate::queue_name::FIFO_SUFFIX)
    }
}

impl fmt::Display for QueueArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:{}:sqs:{}:{}:{}", self.partition, self.region, self.account, self.name)
    }
}

/// True for 12 digits.
pub fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_arn_is_read_and_written_back() {
        let text = "arn:aws:sqs:us-east-1:000000000000:q.fifo";
        let arn = QueueArn::parse(text).unwrap();
        assert!(arn.is_fifo());
        assert_eq!(arn.to_string(), text);
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        for (text, error) in [
            ("", QueueArnError::Malformed),
            ("q", QueueArnError::Malformed),
            ("arn:aws:sqs:us-east-1:000000000000", QueueArnError::Malformed),
            ("arn:aws:sqs:us-east-1:00:q", QueueArnError::Malformed),
            ("arn:aws:sqs:us-east-1:000000000000:a/b", QueueArnError::Malformed),
            ("arn:aws:sns:us-east-1:000000000000:t", QueueArnError::OtherService),
        ] {
            assert_eq!(QueueArn::parse(text), Err(error), "{text}");
        }
    }
}
