//! Replies in XML: lists are flattened, every reply ends with its request id (SQS API contract, 1.2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::SQS_XMLNS;
use crate::sqs::Action;
use crate::sqs::batch::BatchFailure;
use crate::sqs::message_attribute::{AttributeValue, MessageAttribute};
use crate::sqs::move_task::MoveTask;
use crate::xml::{close_xml, open_xml, push_xml_element, push_xml_text};

use super::{ReceivedMessage, Response, SentReply, message_id_text, sequence_number_text};

pub(super) fn encode(response: &Response<'_>, request_id: &str, out: &mut Vec<u8>) {
    let action = response.action().name();
    out.extend_from_slice(b"<?xml version=\"1.0\"?><");
    out.extend_from_slice(action.as_bytes());
    out.extend_from_slice(b"Response xmlns=\"");
    out.extend_from_slice(SQS_XMLNS.as_bytes());
    out.extend_from_slice(b"\">");
    if !matches!(response, Response::Empty(_)) {
        let result = format!("{action}Result");
        let opened_at = out.len();
        open_xml(&result, out);
        let content_at = out.len();
        push_result(response, out);
        if out.len() == content_at {
            out.truncate(opened_at);
            open_xml(&format!("{result}/"), out);
        } else {
            close_xml(&result, out);
        }
    }
    out.extend_from_slice(b"<ResponseMetadata>");
    push_xml_element("RequestId", request_id, out);
    out.extend_from_slice(b"</ResponseMetadata>");
    close_xml(&format!("{action}Response"), out);
}

fn push_result(response: &Response<'_>, out: &mut Vec<u8>) {
    match response {
        Response::Empty(_) => {}
        Response::QueueUrl { url, .. } => push_xml_element("QueueUrl", url, out),
        Response::QueueUrls { urls, next_token, .. } => {
            for url in urls {
                push_xml_element("QueueUrl", url, out);
            }
            push_optional("NextToken", next_token.as_deref(), out);
        }
        Response::Attributes(attributes) => {
            for (name, value) in attributes {
                push_pair("Attribute", ("Name", name), ("Value", value), out);
            }
        }
        Response::Tags(tags) => {
            for (key, value) in tags {
                push_pair("Tag", ("Key", key), ("Value", value), out);
            }
        }
        Response::Sent(sent) => push_sent(sent, out),
        Response::SentBatch { successful, failed } => {
            for (id, sent) in successful {
                open_xml("SendMessageBatchResultEntry", out);
                push_xml_element("Id", id, out);
                push_sent(sent, out);
                close_xml("SendMessageBatchResultEntry", out);
            }
            push_failures(failed, out);
        }
        Response::HandleBatch { action, successful, failed } => {
            let entry = match action {
                Action::DeleteMessageBatch => "DeleteMessageBatchResultEntry",
                _ => "ChangeMessageVisibilityBatchResultEntry",
            };
            for id in successful {
                open_xml(entry, out);
                push_xml_element("Id", id, out);
                close_xml(entry, out);
            }
            push_failures(failed, out);
        }
        Response::Received(messages) => {
            for message in messages {
                push_message(message, out);
            }
        }
        Response::TaskStarted { task_handle } => push_xml_element("TaskHandle", task_handle, out),
        Response::TaskCancelled { messages_moved } => {
            push_xml_element("ApproximateNumberOfMessagesMoved", &messages_moved.to_string(), out);
        }
        Response::MoveTasks(tasks) => {
            for task in tasks {
                push_task(task, out);
            }
        }
    }
}

fn push_sent(sent: &SentReply, out: &mut Vec<u8>) {
    push_xml_element("MessageId", &message_id_text(sent.message_id), out);
    push_xml_element("MD5OfMessageBody", &hex::encode(sent.body_md5), out);
    push_optional("MD5OfMessageAttributes", sent.attributes_md5.map(hex::encode).as_deref(), out);
    push_optional(
        "MD5OfMessageSystemAttributes",
        sent.system_attributes_md5.map(hex::encode).as_deref(),
        out,
    );
    push_optional("SequenceNumber", sent.sequence_number.map(sequence_number_text).as_deref(), out);
}

fn push_failures(failed: &[BatchFailure<'_>], out: &mut Vec<u8>) {
    for failure in failed {
        open_xml("BatchResultErrorEntry", out);
        push_xml_element("Id", &failure.id, out);
        push_xml_element("Code", failure.error.code.query_code(), out);
        push_xml_element("Message", &failure.error.message, out);
        push_xml_element("SenderFault", if failure.is_sender_fault() { "true" } else { "false" }, out);
        close_xml("BatchResultErrorEntry", out);
    }
}

fn push_message(message: &ReceivedMessage<'_>, out: &mut Vec<u8>) {
    open_xml("Message", out);
    push_xml_element("MessageId", &message_id_text(message.message_id), out);
    push_xml_element("ReceiptHandle", &message.receipt_handle, out);
    push_xml_element("MD5OfBody", &hex::encode(message.body_md5), out);
    open_xml("Body", out);
    push_xml_text(message.body, out);
    close_xml("Body", out);
    for (name, value) in &message.system_attributes {
        push_pair("Attribute", ("Name", name), ("Value", value), out);
    }
    let md5 = crate::digest::attributes_md5(&message.attributes);
    push_optional("MD5OfMessageAttributes", md5.map(hex::encode).as_deref(), out);
    for attribute in &message.attributes {
        push_attribute(attribute, out);
    }
    close_xml("Message", out);
}

fn push_attribute(attribute: &MessageAttribute<'_>, out: &mut Vec<u8>) {
    open_xml("MessageAttribute", out);
    push_xml_element("Name", attribute.name, out);
    open_xml("Value", out);
    match attribute.value {
        AttributeValue::Text(text) => push_xml_element("StringValue", text, out),
        AttributeValue::Binary(bytes) => push_xml_element("BinaryValue", &STANDARD.encode(bytes), out),
    }
    push_xml_element("DataType", attribute.data_type, out);
    close_xml("Value", out);
    close_xml("MessageAttribute", out);
}

fn push_task(task: &MoveTask<'_>, out: &mut Vec<u8>) {
    const ENTRY: &str = "ListMessageMoveTasksResultEntry";
    let number = |value: Option<u64>| value.map(|value| value.to_string());
    open_xml(ENTRY, out);
    push_optional("TaskHandle", task.shown_handle(), out);
    push_xml_element("Status", task.status.as_str(), out);
    push_xml_element("SourceArn", &task.source_arn, out);
    push_optional("DestinationArn", task.destination_arn.as_deref(), out);
    let rate = number(task.max_messages_per_second.map(u64::from));
    push_optional("MaxNumberOfMessagesPerSecond", rate.as_deref(), out);
    push_xml_element("ApproximateNumberOfMessagesMoved", &task.messages_moved.to_string(), out);
    push_optional("ApproximateNumberOfMessagesToMove", number(task.messages_to_move).as_deref(), out);
    push_optional("FailureReason", task.failure_reason.as_deref(), out);
    push_xml_element("StartedTimestamp", &task.started_at_ms.to_string(), out);
    close_xml(ENTRY, out);
}

fn push_pair(element: &str, key: (&str, &str), value: (&str, &str), out: &mut Vec<u8>) {
    open_xml(element, out);
    push_xml_element(key.0, key.1, out);
    push_xml_element(value.0, value.1, out);
    close_xml(element, out);
}

fn push_optional(name: &str, text: Option<&str>, out: &mut Vec<u8>) {
    if let Some(text) = text {
        push_xml_element(name, text, out);
    }
}
