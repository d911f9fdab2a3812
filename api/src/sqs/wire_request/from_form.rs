//! Members out of form parameters.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::ErrorReply;
use crate::form::Form;
use crate::sqs::Action;
use crate::sqs::message::OutgoingMessage;
use crate::sqs::message_attribute::SentAttribute;

use super::members::{EntryMembers, Members};

/// Reads the parameters that the action knows.
pub(super) fn read<'a>(action: Action, mut form: Form<'a>) -> Result<Members<'a>, ErrorReply> {
    let form = &mut form;
    let mut members = Members {
        queue_url: form.take("QueueUrl"),
        queue_name: form.take("QueueName"),
        queue_owner_aws_account_id: form.take("QueueOwnerAWSAccountId"),
        queue_name_prefix: form.take("QueueNamePrefix"),
        label: form.take("Label"),
        receipt_handle: form.take("ReceiptHandle"),
        next_token: form.take("NextToken"),
        receive_request_attempt_id: form.take("ReceiveRequestAttemptId"),
        task_handle: form.take("TaskHandle"),
        source_arn: form.take("SourceArn"),
        destination_arn: form.take("DestinationArn"),
        max_results: integer(form, "", "MaxResults")?,
        ..Members::default()
    };
    match action {
        Action::AddPermission => {
            members.aws_account_ids = form.take_list("AWSAccountId");
            members.actions = form.take_list("ActionName");
        }
        Action::ChangeMessageVisibility => {
            members.visibility_timeout = integer(form, "", "VisibilityTimeout")?;
        }
        Action::CreateQueue | Action::SetQueueAttributes => {
            let attributes = form.take_map("Attribute", "Name", "Value");
            let given = form.take("Attribute").is_some() || !attributes.is_empty();
            members.attributes = given.then_some(attributes);
            members.tags = tags(form);
        }
        Action::GetQueueAttributes => members.attribute_names = form.take_list("AttributeName"),
        Action::ReceiveMessage => {
            members.attribute_names = form.take_list("AttributeName");
            members.message_system_attribute_names = form.take_list("MessageSystemAttributeName");
            members.message_attribute_names = form.take_list("MessageAttributeName");
            members.max_number_of_messages = integer(form, "", "MaxNumberOfMessages")?;
            members.visibility_timeout = integer(form, "", "VisibilityTimeout")?;
            members.wait_time_seconds = integer(form, "", "WaitTimeSeconds")?;
        }
        Action::SendMessage => members.message = message(form, "")?,
        Action::SendMessageBatch => {
            members.entries = entries(form, "SendMessageBatchRequestEntry")?;
        }
        Action::DeleteMessageBatch => {
            members.entries = entries(form, "DeleteMessageBatchRequestEntry")?;
        }
        Action::ChangeMessageVisibilityBatch => {
            members.entries = entries(form, "ChangeMessageVisibilityBatchRequestEntry")?;
        }
        Action::StartMessageMoveTask => {
            members.max_number_of_messages_per_second = integer(form, "", "MaxNumberOfMessagesPerSecond")?;
        }
        Action::TagQueue => members.tags = tags(form),
        Action::UntagQueue => members.tag_keys = form.take_list("TagKey"),
        _ => {}
    }
    Ok(members)
}

fn tags<'a>(form: &mut Form<'a>) -> Vec<(std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)> {
    let pairs = form.take_map("Tag", "Key", "Value");
    pairs.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

fn entries<'a>(form: &mut Form<'a>, name: &str) -> Result<Vec<EntryMembers<'a>>, ErrorReply> {
    let mut entries = Vec::new();
    for index in form.indices(name) {
        let prefix = format!("{name}.{index}.");
        entries.push(EntryMembers {
            id: form.take(&format!("{prefix}Id")),
            receipt_handle: form.take(&format!("{prefix}ReceiptHandle")),
            visibility_timeout: integer(form, &prefix, "VisibilityTimeout")?,
            message: message(form, &prefix)?,
        });
    }
    Ok(entries)
}

fn message<'a>(form: &mut Form<'a>, prefix: &str) -> Result<OutgoingMessage<'a>, ErrorReply> {
    Ok(OutgoingMessage {
        body: form.take(&format!("{prefix}MessageBody")).unwrap_or_default(),
        delay_seconds: integer(form, prefix, "DelaySeconds")?,
        attributes: sent_attributes(form, &format!("{prefix}MessageAttribute"))?,
        system_attributes: sent_attributes(form, &format!("{prefix}MessageSystemAttribute"))?,
        deduplication_id: form.take(&format!("{prefix}MessageDeduplicationId")),
        group_id: form.take(&format!("{prefix}MessageGroupId")),
    })
}

fn sent_attributes<'a>(form: &mut Form<'a>, prefix: &str) -> Result<Vec<SentAttribute<'a>>, ErrorReply> {
    let mut attributes = Vec::new();
    for index in form.indices(prefix) {
        let value = format!("{prefix}.{index}.Value");
        let name = form.take(&format!("{prefix}.{index}.Name")).unwrap_or_default();
        let binary_value = match form.take(&format!("{value}.BinaryValue")) {
            None => None,
            Some(text) => Some(STANDARD.decode(text.as_bytes()).map_err(|_| {
                ErrorReply::invalid_parameter(format!(
                    "The binary value of message (user) attribute '{name}' is not valid base64."
                ))
            })?),
        };
        attributes.push(SentAttribute {
            data_type: form.take(&format!("{value}.DataType")),
            string_value: form.take(&format!("{value}.StringValue")),
            binary_value,
            has_list_values: !form.indices(&format!("{value}.StringListValue")).is_empty()
                || !form.indices(&format!("{value}.BinaryListValue")).is_empty(),
            name,
        });
    }
    Ok(attributes)
}

fn integer(form: &mut Form<'_>, prefix: &str, name: &str) -> Result<Option<i64>, ErrorReply> {
    let Some(text) = form.take(&format!("{prefix}{name}")) else { return Ok(None) };
    let parsed = text.trim().parse().map(Some);
    parsed.map_err(|_| ErrorReply::invalid_value(&text, name, "Must be an integer."))
}
