//! Replies in JSON: empty lists and maps are left out (SQS API contract, 1.1).
//!
//! The JSON rendering of the Query protocol (1.2) wraps the same members, and shows maps as lists of pairs, as XML does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::json::push_json_string;
use crate::sqs::Action;
use crate::sqs::batch::BatchFailure;
use crate::sqs::message_attribute::{AttributeValue, MessageAttribute};
use crate::sqs::move_task::MoveTask;

use super::{ReceivedMessage, Response, SentReply, push_md5, push_message_id, sequence_number_text};

pub(super) fn encode(response: &Response<'_>, out: &mut Vec<u8>) {
    if !matches!(response, Response::Empty(_)) {
        push_result(response, Members::open(out));
    }
}

/// As the Query protocol answers who accepts JSON.
pub(super) fn encode_for_query(response: &Response<'_>, request_id: &str, out: &mut Vec<u8>) {
    let action = response.action().name();
    let mut reply = Members::open(out).with_pairs();
    reply.object(&format!("{action}Response"), |mut object| {
        if !matches!(response, Response::Empty(_)) {
            object.object(&format!("{action}Result"), |result| push_result(response, result));
        }
        object.object("ResponseMetadata", |mut metadata| {
            metadata.text("RequestId", request_id);
            metadata.close();
        });
        object.close();
    });
    reply.close();
}

fn push_result(response: &Response<'_>, mut object: Members<'_>) {
    let in_query = object.maps_are_pairs;
    match response {
        Response::Empty(_) => {}
        Response::QueueUrl { url, .. } => object.text("QueueUrl", url),
        Response::QueueUrls { action, urls, next_token } => {
            // The one list that the model requires, and in lower case.
            let dead_letter = *action == Action::ListDeadLetterSourceQueues;
            if dead_letter || !urls.is_empty() {
                let key = if dead_letter || in_query { "queueUrls" } else { "QueueUrls" };
                object.list(key, urls, |url, out| push_json_string(url, out));
            }
            if let Some(token) = next_token {
                object.text("NextToken", token);
            }
        }
        Response::Attributes(attributes) => {
            object.map("Attributes", attributes.iter().map(|(name, value)| (*name, value.as_str())));
        }
        Response::Tags(tags) => {
            object.map("Tags", tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref())));
        }
        Response::Sent(sent) => push_sent(sent, &mut object),
        Response::SentBatch { successful, failed } => {
            object.list_unless_empty("Successful", successful, |(id, sent), out| {
                let mut entry = Members::open(out);
                entry.text("Id", id);
                push_sent(sent, &mut entry);
                entry.close();
            });
            object.list_unless_empty("Failed", failed, push_failure);
        }
        Response::HandleBatch { successful, failed, .. } => {
            object.list_unless_empty("Successful", successful, |id, out| {
                let mut entry = Members::open(out);
                entry.text("Id", id);
                entry.close();
            });
            object.list_unless_empty("Failed", failed, push_failure);
        }
        Response::Received(messages) if in_query => {
            object.list("messages", messages, |message, out| {
                push_message(message, Members::open(out).with_pairs())
            });
        }
        Response::Received(messages) => {
            object.list_unless_empty("Messages", messages, |message, out| {
                push_message(message, Members::open(out))
            });
        }
        Response::TaskStarted { task_handle } => object.text("TaskHandle", task_handle),
        Response::TaskCancelled { messages_moved } => {
            object.number("ApproximateNumberOfMessagesMoved", *messages_moved);
        }
        Response::MoveTasks(tasks) => object.list_unless_empty("Results", tasks, push_task),
    }
    object.close();
}

fn push_sent(sent: &SentReply, object: &mut Members<'_>) {
    object.value("MessageId", |out| push_quoted(out, |out| push_message_id(sent.message_id, out)));
    object.md5("MD5OfMessageBody", Some(sent.body_md5));
    object.md5("MD5OfMessageAttributes", sent.attributes_md5);
    object.md5("MD5OfMessageSystemAttributes", sent.system_attributes_md5);
    if let Some(sequence) = sent.sequence_number {
        object.text("SequenceNumber", &sequence_number_text(sequence));
    }
}

fn push_failure(failure: &BatchFailure<'_>, out: &mut Vec<u8>) {
    let mut entry = Members::open(out);
    entry.text("Id", &failure.id);
    entry.text("Code", failure.error.code.query_code());
    entry.text("Message", &failure.error.message);
    let fault: &[u8] = if failure.is_sender_fault() { b"true" } else { b"false" };
    entry.value("SenderFault", |out| out.extend_from_slice(fault));
    entry.close();
}

fn push_message(message: &ReceivedMessage<'_>, mut object: Members<'_>) {
    object.value("MessageId", |out| push_quoted(out, |out| push_message_id(message.message_id, out)));
    object.text("ReceiptHandle", &message.receipt_handle);
    object.md5("MD5OfBody", Some(message.body_md5));
    object.text("Body", message.body);
    object.map("Attributes", message.system_attributes.iter().map(|(name, value)| (*name, value.as_ref())));
    object.md5("MD5OfMessageAttributes", crate::digest::attributes_md5(&message.attributes));
    let attributes = message.attributes.iter().map(|attribute| (attribute.name, attribute));
    object.map_with("MessageAttributes", attributes, |attribute, out| push_attribute(attribute, out));
    object.close();
}

fn push_attribute(attribute: &MessageAttribute<'_>, out: &mut Vec<u8>) {
    let mut object = Members::open(out);
    match attribute.value {
        AttributeValue::Text(text) => object.text("StringValue", text),
        AttributeValue::Binary(bytes) => object.text("BinaryValue", &STANDARD.encode(bytes)),
    }
    object.text("DataType", attribute.data_type);
    object.close();
}

fn push_task(task: &MoveTask<'_>, out: &mut Vec<u8>) {
    let mut object = Members::open(out);
    if let Some(handle) = task.shown_handle() {
        object.text("TaskHandle", handle);
    }
    object.text("Status", task.status.as_str());
    object.text("SourceArn", &task.source_arn);
    if let Some(arn) = &task.destination_arn {
        object.text("DestinationArn", arn);
    }
    if let Some(rate) = task.max_messages_per_second {
        object.number("MaxNumberOfMessagesPerSecond", rate.into());
    }
    object.number("ApproximateNumberOfMessagesMoved", task.messages_moved);
    if let Some(count) = task.messages_to_move {
        object.number("ApproximateNumberOfMessagesToMove", count);
    }
    if let Some(reason) = &task.failure_reason {
        object.text("FailureReason", reason);
    }
    object.number("StartedTimestamp", task.started_at_ms);
    object.close();
}

fn push_quoted(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    content(out);
    out.push(b'"');
}

/// An object being written: knows whether a comma is due, and how maps are shown.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
    maps_are_pairs: bool,
}

impl<'o> Members<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, any: false, maps_are_pairs: false }
    }

    /// Maps in it become lists of `{"Name", "Value"}`.
    fn with_pairs(self) -> Self {
        Self { maps_are_pairs: true, ..self }
    }

    /// A member that is an object of the same kind; `content` closes it.
    fn object(&mut self, key: &str, content: impl FnOnce(Members<'_>)) {
        let maps_are_pairs = self.maps_are_pairs;
        self.value(key, |out| content(Members { maps_are_pairs, ..Members::open(out) }));
    }

    fn close(self) {
        self.out.push(b'}');
    }

    fn value(&mut self, key: &str, content: impl FnOnce(&mut Vec<u8>)) {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        push_json_string(key, self.out);
        self.out.push(b':');
        content(self.out);
    }

    fn text(&mut self, key: &str, text: &str) {
        self.value(key, |out| push_json_string(text, out));
    }

    fn number(&mut self, key: &str, number: u64) {
        self.value(key, |out| out.extend_from_slice(number.to_string().as_bytes()));
    }

    fn md5(&mut self, key: &str, md5: Option<[u8; 16]>) {
        if let Some(md5) = md5 {
            self.value(key, |out| push_quoted(out, |out| push_md5(md5, out)));
        }
    }

    fn map<'t>(&mut self, key: &str, entries: impl ExactSizeIterator<Item = (&'t str, &'t str)>) {
        self.map_with(key, entries, push_json_string);
    }

    fn map_with<'t, V>(
        &mut self,
        key: &str,
        entries: impl ExactSizeIterator<Item = (&'t str, V)>,
        push: impl Fn(V, &mut Vec<u8>),
    ) {
        if entries.len() == 0 {
            return;
        }
        let pairs = self.maps_are_pairs;
        // A tag has a key where an attribute has a name.
        let name_key = if key == "Tags" { "Key" } else { "Name" };
        self.value(key, |out| {
            if !pairs {
                let mut map = Members::open(out);
                for (name, value) in entries {
                    map.value(name, |out| push(value, out));
                }
                return map.close();
            }
            out.push(b'[');
            for (at, (name, value)) in entries.enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                let mut pair = Members::open(out);
                pair.text(name_key, name);
                pair.value("Value", |out| push(value, out));
                pair.close();
            }
            out.push(b']');
        });
    }

    fn list<T>(&mut self, key: &str, elements: &[T], mut push: impl FnMut(&T, &mut Vec<u8>)) {
        self.value(key, |out| {
            out.push(b'[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push(element, out);
            }
            out.push(b']');
        });
    }

    fn list_unless_empty<T>(&mut self, key: &str, elements: &[T], push: impl FnMut(&T, &mut Vec<u8>)) {
        if !elements.is_empty() {
            self.list(key, elements, push);
        }
    }
}
