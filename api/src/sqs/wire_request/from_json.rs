//! Members out of a JSON body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{ErrorCode, ErrorReply};
use crate::json::{JsonError, JsonReader};
use crate::sqs::Action;
use crate::sqs::message::OutgoingMessage;
use crate::sqs::message_attribute::SentAttribute;
use crate::sqs::request::Text;

use super::members::{EntryMembers, Members};

impl From<JsonError> for ErrorReply {
    fn from(error: JsonError) -> Self {
        Self::new(ErrorCode::MalformedInput, error.to_string())
    }
}

/// Reads the body; an empty one counts as `{}`.
pub(super) fn read(action: Action, body: &[u8]) -> Result<Members<'_>, ErrorReply> {
    let mut members = Members::default();
    if body.is_empty() {
        return Ok(members);
    }
    let mut reader = JsonReader::new(body)?;
    let known = known_members(action);
    reader.object(|reader, key| {
        if known.contains(&key) { read_member(&mut members, reader, key) } else { Ok(reader.skip()?) }
    })?;
    reader.end()?;
    Ok(members)
}

/// What the action's input has; everything else is skipped unread.
fn known_members(action: Action) -> &'static [&'static str] {
    match action {
        Action::AddPermission => &["QueueUrl", "Label", "AWSAccountIds", "Actions"],
        Action::CancelMessageMoveTask => &["TaskHandle"],
        Action::ChangeMessageVisibility => &["QueueUrl", "ReceiptHandle", "VisibilityTimeout"],
        Action::ChangeMessageVisibilityBatch | Action::DeleteMessageBatch | Action::SendMessageBatch => {
            &["QueueUrl", "Entries"]
        }
        Action::CreateQueue => &["QueueName", "Attributes", "tags"],
        Action::DeleteMessage => &["QueueUrl", "ReceiptHandle"],
        Action::DeleteQueue | Action::ListQueueTags | Action::PurgeQueue => &["QueueUrl"],
        Action::GetQueueAttributes => &["QueueUrl", "AttributeNames"],
        Action::GetQueueUrl => &["QueueName", "QueueOwnerAWSAccountId"],
        Action::ListDeadLetterSourceQueues => &["QueueUrl", "MaxResults", "NextToken"],
        Action::ListMessageMoveTasks => &["SourceArn", "MaxResults"],
        Action::ListQueues => &["QueueNamePrefix", "MaxResults", "NextToken"],
        Action::ReceiveMessage => &[
            "QueueUrl",
            "AttributeNames",
            "MessageSystemAttributeNames",
            "MessageAttributeNames",
            "MaxNumberOfMessages",
            "VisibilityTimeout",
            "WaitTimeSeconds",
            "ReceiveRequestAttemptId",
        ],
        Action::RemovePermission => &["QueueUrl", "Label"],
        Action::SendMessage => &[
            "QueueUrl",
            "MessageBody",
            "DelaySeconds",
            "MessageAttributes",
            "MessageSystemAttributes",
            "MessageDeduplicationId",
            "MessageGroupId",
        ],
        Action::SetQueueAttributes => &["QueueUrl", "Attributes"],
        Action::StartMessageMoveTask => &["SourceArn", "DestinationArn", "MaxNumberOfMessagesPerSecond"],
        Action::TagQueue => &["QueueUrl", "Tags"],
        Action::UntagQueue => &["QueueUrl", "TagKeys"],
    }
}

fn read_member<'a>(
    members: &mut Members<'a>,
    reader: &mut JsonReader<'a>,
    key: &str,
) -> Result<(), ErrorReply> {
    match key {
        "QueueUrl" => members.queue_url = reader.string()?,
        "QueueName" => members.queue_name = reader.string()?,
        "QueueOwnerAWSAccountId" => members.queue_owner_aws_account_id = reader.string()?,
        "QueueNamePrefix" => members.queue_name_prefix = reader.string()?,
        "Label" => members.label = reader.string()?,
        "ReceiptHandle" => members.receipt_handle = reader.string()?,
        "NextToken" => members.next_token = reader.string()?,
        "ReceiveRequestAttemptId" => members.receive_request_attempt_id = reader.string()?,
        "TaskHandle" => members.task_handle = reader.string()?,
        "SourceArn" => members.source_arn = reader.string()?,
        "DestinationArn" => members.destination_arn = reader.string()?,
        "VisibilityTimeout" => members.visibility_timeout = reader.integer()?,
        "WaitTimeSeconds" => members.wait_time_seconds = reader.integer()?,
        "MaxNumberOfMessages" => members.max_number_of_messages = reader.integer()?,
        "MaxResults" => members.max_results = reader.integer()?,
        "MaxNumberOfMessagesPerSecond" => members.max_number_of_messages_per_second = reader.integer()?,
        "AWSAccountIds" => members.aws_account_ids = texts(reader)?,
        "Actions" => members.actions = texts(reader)?,
        "AttributeNames" => members.attribute_names = texts(reader)?,
        "MessageSystemAttributeNames" => members.message_system_attribute_names = texts(reader)?,
        "MessageAttributeNames" => members.message_attribute_names = texts(reader)?,
        "TagKeys" => members.tag_keys = texts(reader)?,
        "Attributes" => {
            let mut attributes = Vec::new();
            let present = reader.object(|reader, name| {
                attributes.push((Text::Owned(name.to_owned()), reader.string()?));
                Ok::<_, ErrorReply>(())
            })?;
            members.attributes = present.then_some(attributes);
        }
        "Tags" | "tags" => {
            members.tags.clear();
            reader.object(|reader, name| {
                let value = reader.string()?.unwrap_or_default();
                members.tags.push((Text::Owned(name.to_owned()), value));
                Ok::<_, ErrorReply>(())
            })?;
        }
        "Entries" => {
            members.entries.clear();
            reader.list(|reader| {
                let mut entry = EntryMembers::default();
                if reader.object(|reader, key| read_entry(&mut entry, reader, key))? {
                    members.entries.push(entry);
                }
                Ok::<_, ErrorReply>(())
            })?;
        }
        _ => return read_message(&mut members.message, reader, key),
    }
    Ok(())
}

fn read_entry<'a>(
    entry: &mut EntryMembers<'a>,
    reader: &mut JsonReader<'a>,
    key: &str,
) -> Result<(), ErrorReply> {
    match key {
        "Id" => entry.id = reader.string()?,
        "ReceiptHandle" => entry.receipt_handle = reader.string()?,
        "VisibilityTimeout" => entry.visibility_timeout = reader.integer()?,
        _ => return read_message(&mut entry.message, reader, key),
    }
    Ok(())
}

fn read_message<'a>(
    message: &mut OutgoingMessage<'a>,
    reader: &mut JsonReader<'a>,
    key: &str,
) -> Result<(), ErrorReply> {
    match key {
        "MessageBody" => message.body = reader.string()?.unwrap_or_default(),
        "DelaySeconds" => message.delay_seconds = reader.integer()?,
        "MessageDeduplicationId" => message.deduplication_id = reader.string()?,
        "MessageGroupId" => message.group_id = reader.string()?,
        "MessageAttributes" => message.attributes = sent_attributes(reader)?,
        "MessageSystemAttributes" => message.system_attributes = sent_attributes(reader)?,
        _ => reader.skip()?,
    }
    Ok(())
}

fn sent_attributes<'a>(reader: &mut JsonReader<'a>) -> Result<Vec<SentAttribute<'a>>, ErrorReply> {
    let mut attributes = Vec::new();
    reader.object(|reader, name| {
        let mut attribute = SentAttribute { name: Text::Owned(name.to_owned()), ..SentAttribute::default() };
        reader.object(|reader, key| {
            match key {
                "DataType" => attribute.data_type = reader.string()?,
                "StringValue" => attribute.string_value = reader.string()?,
                "BinaryValue" => {
                    let encoded = reader.string()?;
                    attribute.binary_value = encoded.map(|text| decode_base64(&text)).transpose()?;
                }
                "StringListValues" | "BinaryListValues" => {
                    reader.list(|reader| {
                        attribute.has_list_values = true;
                        reader.skip()
                    })?;
                }
                _ => reader.skip()?,
            }
            Ok::<_, ErrorReply>(())
        })?;
        attributes.push(attribute);
        Ok::<_, ErrorReply>(())
    })?;
    Ok(attributes)
}

fn decode_base64(text: &str) -> Result<Vec<u8>, ErrorReply> {
    STANDARD
        .decode(text)
        .map_err(|_| ErrorReply::new(ErrorCode::MalformedInput, "A binary value is not valid base64."))
}

fn texts<'a>(reader: &mut JsonReader<'a>) -> Result<Vec<Text<'a>>, ErrorReply> {
    let mut texts = Vec::new();
    reader.list(|reader| {
        texts.extend(reader.string()?);
        Ok::<_, ErrorReply>(())
    })?;
    Ok(texts)
}
