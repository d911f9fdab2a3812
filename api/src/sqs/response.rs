//! The typed replies, and their encoding in each protocol.
//!
//! Written straight into the output: no tree is built, bodies are appended where they stand.

use std::borrow::Cow;

use super::batch::BatchFailure;
use super::message_attribute::MessageAttribute;
use super::move_task::MoveTask;
use super::{Action, Protocol};

mod json_reply;
mod xml_reply;

/// A reply of any action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response<'a> {
    /// Any action without output.
    Empty(Action),
    /// CreateQueue and GetQueueUrl.
    QueueUrl {
        /// Which of the two.
        action: Action,
        /// Canonical URL.
        url: Cow<'a, str>,
    },
    /// ListQueues and ListDeadLetterSourceQueues.
    QueueUrls {
        /// Which of the two.
        action: Action,
        /// Canonical URLs.
        urls: Vec<String>,
        /// Where to go on.
        next_token: Option<String>,
    },
    /// GetQueueAttributes.
    Attributes(Vec<(&'static str, String)>),
    /// ListQueueTags.
    Tags(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    /// SendMessage.
    Sent(SentReply),
    /// SendMessageBatch.
    SentBatch {
        /// Entry ids and what became of them.
        successful: Vec<(Cow<'a, str>, SentReply)>,
        /// Refused entries.
        failed: Vec<BatchFailure<'a>>,
    },
    /// DeleteMessageBatch and ChangeMessageVisibilityBatch.
    HandleBatch {
        /// Which of the two.
        action: Action,
        /// Entry ids.
        successful: Vec<Cow<'a, str>>,
        /// Refused entries.
        failed: Vec<BatchFailure<'a>>,
    },
    /// ReceiveMessage.
    Received(Vec<ReceivedMessage<'a>>),
    /// StartMessageMoveTask.
    TaskStarted {
        /// [`super::move_task::TaskHandle`], encoded.
        task_handle: String,
    },
    /// CancelMessageMoveTask.
    TaskCancelled {
        /// Moved so far.
        messages_moved: u64,
    },
    /// ListMessageMoveTasks.
    MoveTasks(Vec<MoveTask<'a>>),
}

/// What a send answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentReply {
    /// The message id; of the original for a duplicate.
    pub message_id: [u8; 16],
    /// MD5 of the body of this request, also for a duplicate.
    pub body_md5: [u8; 16],
    /// If user attributes were sent.
    pub attributes_md5: Option<[u8; 16]>,
    /// If system attributes were sent.
    pub system_attributes_md5: Option<[u8; 16]>,
    /// FIFO only.
    pub sequence_number: Option<u64>,
}

/// A delivered message, borrowed from where it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMessage<'a> {
    /// Message id.
    pub message_id: [u8; 16],
    /// New for every receive.
    pub receipt_handle: Cow<'a, str>,
    /// As stored with the message; never computed on receive.
    pub body_md5: [u8; 16],
    /// The body.
    pub body: &'a str,
    /// The system attributes asked for.
    pub system_attributes: Vec<(&'static str, Cow<'a, str>)>,
    /// The user attributes asked for; their digest is computed while encoding.
    pub attributes: Vec<MessageAttribute<'a>>,
}

impl Response<'_> {
    /// Appends the body of the reply. In JSON an action without output has none; in Query all carry the request id.
    pub fn encode(&self, protocol: Protocol, request_id: &str, out: &mut Vec<u8>) {
        match protocol {
            Protocol::Json => json_reply::encode(self, out),
            Protocol::Query => xml_reply::encode(self, request_id, out),
            Protocol::QueryJson => json_reply::encode_for_query(self, request_id, out),
        }
    }

    /// The action answered.
    pub fn action(&self) -> Action {
        match self {
            Self::Empty(action)
            | Self::QueueUrl { action, .. }
            | Self::QueueUrls { action, .. }
            | Self::HandleBatch { action, .. } => *action,
            Self::Attributes(_) => Action::GetQueueAttributes,
            Self::Tags(_) => Action::ListQueueTags,
            Self::Sent(_) => Action::SendMessage,
            Self::SentBatch { .. } => Action::SendMessageBatch,
            Self::Received(_) => Action::ReceiveMessage,
            Self::TaskStarted { .. } => Action::StartMessageMoveTask,
            Self::TaskCancelled { .. } => Action::CancelMessageMoveTask,
            Self::MoveTasks(_) => Action::ListMessageMoveTasks,
        }
    }
}

/// Text of a sequence number: 20 digits.
pub fn sequence_number_text(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// Text of a message id.
pub fn message_id_text(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).to_string()
}

/// Appends a message id without a detour over a `String`.
fn push_message_id(id: [u8; 16], out: &mut Vec<u8>) {
    let mut text = uuid::Uuid::encode_buffer();
    out.extend_from_slice(uuid::Uuid::from_bytes(id).hyphenated().encode_lower(&mut text).as_bytes());
}

/// Appends lower-case hex.
fn push_md5(md5: [u8; 16], out: &mut Vec<u8>) {
    let mut text = [0; 32];
    // Sixteen bytes always fill thirty-two digits.
    if hex::encode_to_slice(md5, &mut text).is_ok() {
        out.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests;
