//! The names of queue attributes, and a set of them.

use std::borrow::Cow;

use crate::error::ErrorReply;

use super::unknown_attribute;

macro_rules! queue_attributes {
    ($($variant:ident)*) => {
        /// One queue attribute.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the variants are the vendor's own names")]
        pub enum QueueAttribute { $($variant),* }

        impl QueueAttribute {
            /// All of them, by name.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it stands on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }
        }
    };
}

queue_attributes! {
    ApproximateNumberOfMessages
    ApproximateNumberOfMessagesDelayed
    ApproximateNumberOfMessagesNotVisible
    ContentBasedDeduplication
    CreatedTimestamp
    DeduplicationScope
    DelaySeconds
    FifoQueue
    FifoThroughputLimit
    KmsDataKeyReusePeriodSeconds
    KmsMasterKeyId
    LastModifiedTimestamp
    MaximumMessageSize
    MessageRetentionPeriod
    Policy
    QueueArn
    ReceiveMessageWaitTimeSeconds
    RedriveAllowPolicy
    RedrivePolicy
    SqsManagedSseEnabled
    VisibilityTimeout
}

impl QueueAttribute {
    /// The attribute of this exact name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|attribute| attribute.name() == name)
    }

    /// True for attributes that no call can set.
    pub fn is_read_only(self) -> bool {
        matches!(
            self,
            Self::ApproximateNumberOfMessages
                | Self::ApproximateNumberOfMessagesDelayed
                | Self::ApproximateNumberOfMessagesNotVisible
                | Self::CreatedTimestamp
                | Self::LastModifiedTimestamp
                | Self::QueueArn
        )
    }
}

/// The attributes that GetQueueAttributes asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestedAttributes(u32);

impl RequestedAttributes {
    /// `All`.
    pub const ALL: Self = Self((1 << QueueAttribute::ALL.len()) - 1);

    /// Reads `AttributeNames`.
    pub fn parse(names: &[Cow<'_, str>]) -> Result<Self, ErrorReply> {
        let mut wanted = Self::default();
        for name in names {
            if name == "All" {
                wanted = Self::ALL;
            } else {
                let attribute = QueueAttribute::by_name(name).ok_or_else(|| unknown_attribute(name))?;
                wanted.0 |= 1 << attribute as u32;
            }
        }
        Ok(wanted)
    }

    /// True if this one is asked for.
    pub fn contains(self, attribute: QueueAttribute) -> bool {
        self.0 & (1 << attribute as u32) != 0
    }
}
