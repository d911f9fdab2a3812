//! The typed requests. Members are named after the vendor's; texts borrow from the request where they can.

use std::borrow::Cow;

use crate::error::ErrorReply;

use super::Action;
use super::attributes::GivenAttributes;
use super::attributes::QueueSettings;
use super::batch::{
    BatchFailure, ChangeVisibilityEntry, CheckedSendEntry, DeleteEntry, HandleEntries, SendEntry,
};
use super::message::{CheckedMessage, OutgoingMessage};
use super::receive::check_change_timeout;

/// Text of a request.
pub type Text<'a> = Cow<'a, str>;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, Eq)]
            #[expect(missing_docs, reason = "the members are the vendor's own")]
            pub struct $name<'a> { $(pub $field: $type),* }
        )*

        /// A request of any action, with its required parameters present.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the variants are the vendor's own names")]
        pub enum Request<'a> { $($name($name<'a>)),* }

        impl Request<'_> {
            /// Which action it is.
            pub fn action(&self) -> Action {
                match self { $(Self::$name(_) => Action::$name),* }
            }
        }
    };
}

requests! {
    /// Section 12.1.
    AddPermission { queue_url: Text<'a>, label: Text<'a>, aws_account_ids: Vec<Text<'a>>, actions: Vec<Text<'a>> }
    /// Section 12.23.
    CancelMessageMoveTask { task_handle: Text<'a> }
    /// Section 12.14.
    ChangeMessageVisibility { queue_url: Text<'a>, receipt_handle: Text<'a>, visibility_timeout: i64 }
    /// Section 12.15.
    ChangeMessageVisibilityBatch { queue_url: Text<'a>, entries: Vec<ChangeVisibilityEntry<'a>> }
    /// Section 12.3.
    CreateQueue { queue_name: Text<'a>, attributes: GivenAttributes<'a>, tags: Vec<(Text<'a>, Text<'a>)> }
    /// Section 12.16.
    DeleteMessage { queue_url: Text<'a>, receipt_handle: Text<'a> }
    /// Section 12.17.
    DeleteMessageBatch { queue_url: Text<'a>, entries: Vec<DeleteEntry<'a>> }
    /// Section 12.4.
    DeleteQueue { queue_url: Text<'a> }
    /// Section 12.8.
    GetQueueAttributes { queue_url: Text<'a>, attribute_names: Vec<Text<'a>> }
    /// Section 12.5.
    GetQueueUrl { queue_name: Text<'a>, queue_owner_aws_account_id: Option<Text<'a>> }
    /// Section 12.7.
    ListDeadLetterSourceQueues {
        queue_url: Text<'a>, max_results: Option<i64>, next_token: Option<Text<'a>>,
    }
    /// Section 12.22.
    ListMessageMoveTasks { source_arn: Text<'a>, max_results: Option<i64> }
    /// Section 12.18.
    ListQueueTags { queue_url: Text<'a> }
    /// Section 12.6.
    ListQueues {
        queue_name_prefix: Option<Text<'a>>, max_results: Option<i64>, next_token: Option<Text<'a>>,
    }
    /// Section 12.10.
    PurgeQueue { queue_url: Text<'a> }
    /// Section 12.13.
    ReceiveMessage {
        queue_url: Text<'a>,
        attribute_names: Vec<Text<'a>>,
        message_system_attribute_names: Vec<Text<'a>>,
        message_attribute_names: Vec<Text<'a>>,
        max_number_of_messages: Option<i64>,
        visibility_timeout: Option<i64>,
        wait_time_seconds: Option<i64>,
        receive_request_attempt_id: Option<Text<'a>>,
    }
    /// Section 12.2.
    RemovePermission { queue_url: Text<'a>, label: Text<'a> }
    /// Section 12.11.
    SendMessage { queue_url: Text<'a>, message: OutgoingMessage<'a> }
    /// Section 12.12.
    SendMessageBatch { queue_url: Text<'a>, entries: Vec<SendEntry<'a>> }
    /// Section 12.9.
    SetQueueAttributes { queue_url: Text<'a>, attributes: GivenAttributes<'a> }
    /// Section 12.21.
    StartMessageMoveTask {
        source_arn: Text<'a>,
        destination_arn: Option<Text<'a>>,
        max_number_of_messages_per_second: Option<i64>,
    }
    /// Section 12.19.
    TagQueue { queue_url: Text<'a>, tags: Vec<(Text<'a>, Text<'a>)> }
    /// Section 12.20.
    UntagQueue { queue_url: Text<'a>, tag_keys: Vec<Text<'a>> }
}

impl Request<'_> {
    /// The queue URL, for the actions that have one.
    pub fn queue_url(&self) -> Option<&str> {
        Some(match self {
            Self::AddPermission(request) => &request.queue_url,
            Self::ChangeMessageVisibility(request) => &request.queue_url,
            Self::ChangeMessageVisibilityBatch(request) => &request.queue_url,
            Self::DeleteMessage(request) => &request.queue_url,
            Self::DeleteMessageBatch(request) => &request.queue_url,
            Self::DeleteQueue(request) => &request.queue_url,
            Self::GetQueueAttributes(request) => &request.queue_url,
            Self::ListDeadLetterSourceQueues(request) => &request.queue_url,
            Self::ListQueueTags(request) => &request.queue_url,
            Self::PurgeQueue(request) => &request.queue_url,
            Self::ReceiveMessage(request) => &request.queue_url,
            Self::RemovePermission(request) => &request.queue_url,
            Self::SendMessage(request) => &request.queue_url,
            Self::SendMessageBatch(request) => &request.queue_url,
            Self::SetQueueAttributes(request) => &request.queue_url,
            Self::TagQueue(request) => &request.queue_url,
            Self::UntagQueue(request) => &request.queue_url,
            Self::CancelMessageMoveTask(_)
            | Self::CreateQueue(_)
            | Self::GetQueueUrl(_)
            | Self::ListMessageMoveTasks(_)
            | Self::ListQueues(_)
            | Self::StartMessageMoveTask(_) => return None,
        })
    }
}

impl SendMessage<'_> {
    /// Checks against the queue's settings.
    pub fn check(&self, settings: &QueueSettings) -> Result<CheckedMessage<'_>, ErrorReply> {
        self.message.check(settings)
    }
}

impl SendMessageBatch<'_> {
    /// Checks against the queue's settings: see [`super::batch::check_send`].
    pub fn check(
        &self,
        settings: &QueueSettings,
    ) -> Result<Vec<Result<CheckedSendEntry<'_>, BatchFailure<'_>>>, ErrorReply> {
        super::batch::check_send(&self.entries, settings)
    }
}

impl DeleteMessageBatch<'_> {
    /// Checks the entries.
    pub fn check(&self) -> Result<HandleEntries<'_>, ErrorReply> {
        super::batch::check_delete(&self.entries)
    }
}

impl ChangeMessageVisibilityBatch<'_> {
    /// Checks the entries.
    pub fn check(&self) -> Result<HandleEntries<'_>, ErrorReply> {
        super::batch::check_change_visibility(&self.entries)
    }
}

impl ChangeMessageVisibility<'_> {
    /// The timeout in seconds.
    pub fn check(&self) -> Result<u32, ErrorReply> {
        check_change_timeout(self.visibility_timeout)
    }
}
