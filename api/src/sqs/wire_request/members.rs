//! The union of all members of all requests, and which of them an action must have.

use crate::error::ErrorReply;
use crate::sqs::Action;
use crate::sqs::attributes::GivenAttributes;
use crate::sqs::batch::{ChangeVisibilityEntry, DeleteEntry, SendEntry};
use crate::sqs::message::OutgoingMessage;
use crate::sqs::request::{self, Request, Text};

/// Members of a batch entry of any kind.
#[derive(Debug, Default)]
pub(super) struct EntryMembers<'a> {
    pub(super) id: Option<Text<'a>>,
    pub(super) receipt_handle: Option<Text<'a>>,
    pub(super) visibility_timeout: Option<i64>,
    pub(super) message: OutgoingMessage<'a>,
}

/// Members of a request of any action; what the action does not know stays absent.
#[derive(Debug, Default)]
pub(super) struct Members<'a> {
    pub(super) queue_url: Option<Text<'a>>,
    pub(super) queue_name: Option<Text<'a>>,
    pub(super) queue_owner_aws_account_id: Option<Text<'a>>,
    pub(super) queue_name_prefix: Option<Text<'a>>,
    pub(super) label: Option<Text<'a>>,
    pub(super) aws_account_ids: Vec<Text<'a>>,
    pub(super) actions: Vec<Text<'a>>,
    pub(super) attribute_names: Vec<Text<'a>>,
    pub(super) message_system_attribute_names: Vec<Text<'a>>,
    pub(super) message_attribute_names: Vec<Text<'a>>,
    pub(super) tag_keys: Vec<Text<'a>>,
    pub(super) attributes: Option<GivenAttributes<'a>>,
    pub(super) tags: Vec<(Text<'a>, Text<'a>)>,
    pub(super) receipt_handle: Option<Text<'a>>,
    pub(super) visibility_timeout: Option<i64>,
    pub(super) wait_time_seconds: Option<i64>,
    pub(super) max_number_of_messages: Option<i64>,
    pub(super) max_results: Option<i64>,
    pub(super) max_number_of_messages_per_second: Option<i64>,
    pub(super) next_token: Option<Text<'a>>,
    pub(super) receive_request_attempt_id: Option<Text<'a>>,
    pub(super) task_handle: Option<Text<'a>>,
    pub(super) source_arn: Option<Text<'a>>,
    pub(super) destination_arn: Option<Text<'a>>,
    pub(super) message: OutgoingMessage<'a>,
    pub(super) entries: Vec<EntryMembers<'a>>,
}

impl<'a> Members<'a> {
    pub(super) fn into_request(self, action: Action) -> Result<Request<'a>, ErrorReply> {
        let queue_url = self.queue_url;
        let queue_url = || required(queue_url, "QueueUrl");
        Ok(match action {
            Action::AddPermission => Request::AddPermission(request::AddPermission {
                queue_url: queue_url()?,
                label: non_empty(self.label, "Label")?,
                aws_account_ids: non_empty_list(self.aws_account_ids, "AWSAccountIds")?,
                actions: non_empty_list(self.actions, "ActionName")?,
            }),
            Action::CancelMessageMoveTask => Request::CancelMessageMoveTask(request::CancelMessageMoveTask {
                task_handle: required(self.task_handle, "TaskHandle")?,
            }),
            Action::ChangeMessageVisibility => {
                Request::ChangeMessageVisibility(request::ChangeMessageVisibility {
                    queue_url: queue_url()?,
                    receipt_handle: non_empty(self.receipt_handle, "ReceiptHandle")?,
                    visibility_timeout: required(self.visibility_timeout, "VisibilityTimeout")?,
                })
            }
            Action::ChangeMessageVisibilityBatch => {
                let entry = |entry: EntryMembers<'a>| ChangeVisibilityEntry {
                    id: entry.id,
                    receipt_handle: entry.receipt_handle,
                    visibility_timeout: entry.visibility_timeout,
                };
                Request::ChangeMessageVisibilityBatch(request::ChangeMessageVisibilityBatch {
                    queue_url: queue_url()?,
                    entries: self.entries.into_iter().map(entry).collect(),
                })
            }
            Action::CreateQueue => Request::CreateQueue(request::CreateQueue {
                queue_name: required(self.queue_name, "QueueName")?,
                attributes: self.attributes.unwrap_or_default(),
                tags: self.tags,
            }),
            Action::DeleteMessage => Request::DeleteMessage(request::DeleteMessage {
                queue_url: queue_url()?,
                receipt_handle: non_empty(self.receipt_handle, "ReceiptHandle")?,
            }),
            Action::DeleteMessageBatch => {
                let entry = |entry: EntryMembers<'a>| DeleteEntry {
                    id: entry.id,
                    receipt_handle: entry.receipt_handle,
                };
                Request::DeleteMessageBatch(request::DeleteMessageBatch {
                    queue_url: queue_url()?,
                    entries: self.entries.into_iter().map(entry).collect(),
                })
            }
            Action::DeleteQueue => Request::DeleteQueue(request::DeleteQueue { queue_url: queue_url()? }),
            Action::GetQueueAttributes => Request::GetQueueAttributes(request::GetQueueAttributes {
                queue_url: queue_url()?,
                attribute_names: self.attribute_names,
            }),
            Action::GetQueueUrl => Request::GetQueueUrl(request::GetQueueUrl {
                queue_name: required(self.queue_name, "QueueName")?,
                queue_owner_aws_account_id: self.queue_owner_aws_account_id,
            }),
            Action::ListDeadLetterSourceQueues => {
                Request::ListDeadLetterSourceQueues(request::ListDeadLetterSourceQueues {
                    queue_url: queue_url()?,
                    max_results: self.max_results,
                    next_token: self.next_token,
                })
            }
            Action::ListMessageMoveTasks => Request::ListMessageMoveTasks(request::ListMessageMoveTasks {
                source_arn: required(self.source_arn, "SourceArn")?,
                max_results: self.max_results,
            }),
            Action::ListQueueTags => {
                Request::ListQueueTags(request::ListQueueTags { queue_url: queue_url()? })
            }
            Action::ListQueues => Request::ListQueues(request::ListQueues {
                queue_name_prefix: self.queue_name_prefix,
                max_results: self.max_results,
                next_token: self.next_token,
            }),
            Action::PurgeQueue => Request::PurgeQueue(request::PurgeQueue { queue_url: queue_url()? }),
            Action::ReceiveMessage => Request::ReceiveMessage(request::ReceiveMessage {
                queue_url: queue_url()?,
                attribute_names: self.attribute_names,
                message_system_attribute_names: self.message_system_attribute_names,
                message_attribute_names: self.message_attribute_names,
                max_number_of_messages: self.max_number_of_messages,
                visibility_timeout: self.visibility_timeout,
                wait_time_seconds: self.wait_time_seconds,
                receive_request_attempt_id: self.receive_request_attempt_id,
            }),
            Action::RemovePermission => Request::RemovePermission(request::RemovePermission {
                queue_url: queue_url()?,
                label: non_empty(self.label, "Label")?,
            }),
            Action::SendMessage => {
                let queue_url = queue_url()?;
                if self.message.body.is_empty() {
                    return Err(ErrorReply::missing_parameter("MessageBody"));
                }
                Request::SendMessage(request::SendMessage { queue_url, message: self.message })
            }
            Action::SendMessageBatch => {
                let entry = |entry: EntryMembers<'a>| SendEntry { id: entry.id, message: entry.message };
                Request::SendMessageBatch(request::SendMessageBatch {
                    queue_url: queue_url()?,
                    entries: self.entries.into_iter().map(entry).collect(),
                })
            }
            Action::SetQueueAttributes => Request::SetQueueAttributes(request::SetQueueAttributes {
                queue_url: queue_url()?,
                attributes: required(self.attributes, "Attributes")?,
            }),
            Action::StartMessageMoveTask => Request::StartMessageMoveTask(request::StartMessageMoveTask {
                source_arn: required(self.source_arn, "SourceArn")?,
                destination_arn: self.destination_arn,
                max_number_of_messages_per_second: self.max_number_of_messages_per_second,
            }),
            Action::TagQueue => Request::TagQueue(request::TagQueue {
                queue_url: queue_url()?,
                tags: non_empty_list(self.tags, "Tags")?,
            }),
            Action::UntagQueue => Request::UntagQueue(request::UntagQueue {
                queue_url: queue_url()?,
                tag_keys: non_empty_list(self.tag_keys, "TagKeys")?,
            }),
        })
    }
}

fn required<T>(member: Option<T>, name: &str) -> Result<T, ErrorReply> {
    member.ok_or_else(|| ErrorReply::missing_parameter(name))
}

fn non_empty<'a>(member: Option<Text<'a>>, name: &str) -> Result<Text<'a>, ErrorReply> {
    required(member.filter(|text| !text.is_empty()), name)
}

fn non_empty_list<T>(members: Vec<T>, name: &str) -> Result<Vec<T>, ErrorReply> {
    if members.is_empty() { Err(ErrorReply::missing_parameter(name)) } else { Ok(members) }
}
