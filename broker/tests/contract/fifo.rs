//! FIFO queues: sending, order and locks, deduplication, attempts (section 8).

use serde_json::{Value, json};

use crate::row::{Step, check, create, ok, pause, refused, row};

const BY_CONTENT: &str = "ContentBasedDeduplication";

fn fifo(more: Value) -> Step {
    let mut attributes = json!({"FifoQueue": "true"});
    attributes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    create(".fifo", attributes)
}

fn by_content() -> Step {
    fifo(json!({BY_CONTENT: "true"}))
}

fn message(body: &str, more: Value) -> Value {
    let mut input = json!({"QueueUrl": "$U/$N.fifo", "MessageBody": body});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    input
}

fn sent(keep: &str) -> Value {
    json!({
        "MessageId": format!("=uuid>id{keep}"), "MD5OfMessageBody": "=text",
        "SequenceNumber": format!("=sequence>sequence{keep}"),
    })
}

fn send(body: &str, group: &str) -> Step {
    ok("SendMessage", message(body, json!({"MessageGroupId": group})), sent(""))
}

fn receive(more: Value, messages: &[(&str, &str)]) -> Step {
    let mut input = json!({"QueueUrl": "$U/$N.fifo"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let message = |(body, handle): &(&str, &str)| {
        json!({
            "MessageId": "=uuid", "ReceiptHandle": format!("=handle>{handle}"), "MD5OfBody": "=text", "Body": body,
        })
    };
    let messages: Vec<Value> = messages.iter().map(message).collect();
    ok("ReceiveMessage", input, if messages.is_empty() { json!({}) } else { json!({"Messages": messages}) })
}

fn receive_ten(messages: &[(&str, &str)]) -> Step {
    receive(json!({"MaxNumberOfMessages": 10}), messages)
}

fn handle(handle: &str) -> Value {
    json!({"QueueUrl": "$U/$N.fifo", "ReceiptHandle": handle})
}

fn delete(name: &str) -> Step {
    ok("DeleteMessage", handle(name), json!({}))
}

fn visibility(name: &str, seconds: u32) -> Value {
    json!({"QueueUrl": "$U/$N.fifo", "ReceiptHandle": name, "VisibilityTimeout": seconds})
}

#[test]
fn sends() {
    let id_text = |name: &str, value: &str| {
        format!(
            "Value {value} for parameter {name} is invalid. Reason: {name} can only include alphanumeric and \
             punctuation characters. 1 to 128 in length."
        )
    };
    let bad_id = |name: &str, value: &str| {
        let mut ids = json!({"MessageGroupId": "g", "MessageDeduplicationId": "d"});
        ids[name] = json!(value);
        row(
            "8.1: ids",
            vec![
                fifo(json!({})),
                refused("SendMessage", message("x", ids), "InvalidParameterValue", &id_text(name, value)),
            ],
        )
    };
    let no_dedup = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
                    explicitly";
    let long = "i".repeat(129);
    let punctuation = r##"!"#%&'()*+,-./:;<=>?@[\]^_`{|}~"##;
    let both = |more: Value| {
        let mut ids = json!({"MessageGroupId": "g", "MessageDeduplicationId": "d"});
        ids.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message("x", ids)
    };
    let batch = |entries: Value| json!({"QueueUrl": "$U/$N.fifo", "Entries": entries});
    check(&[
        row(
            "8.1: no group",
            vec![
                by_content(),
                refused(
                    "SendMessage",
                    message("x", json!({})),
                    "MissingParameter",
                    "The request must contain the parameter MessageGroupId.",
                ),
            ],
        ),
        row(
            "8.1: nothing to deduplicate by",
            vec![
                fifo(json!({})),
                refused(
                    "SendMessage",
                    message("x", json!({"MessageGroupId": "g"})),
                    "InvalidParameterValue",
                    no_dedup,
                ),
            ],
        ),
        bad_id("MessageGroupId", ""),
        bad_id("MessageGroupId", "a b"),
        bad_id("MessageGroupId", "ü"),
        bad_id("MessageGroupId", &long),
        bad_id("MessageDeduplicationId", ""),
        bad_id("MessageDeduplicationId", "a b"),
        bad_id("MessageDeduplicationId", &long),
        row(
            "8.1: all punctuation, 128 characters",
            vec![
                fifo(json!({})),
                ok(
                    "SendMessage",
                    message(
                        "x",
                        json!({"MessageGroupId": punctuation, "MessageDeduplicationId": "d".repeat(128)}),
                    ),
                    sent(""),
                ),
            ],
        ),
        row(
            "8.1: no delay of a single message, but 0",
            vec![
                fifo(json!({"DelaySeconds": "900"})),
                refused(
                    "SendMessage",
                    both(json!({"DelaySeconds": 2})),
                    "InvalidParameterValue",
                    "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not \
                 valid for this queue type.",
                ),
                ok("SendMessage", both(json!({"DelaySeconds": 0})), sent("")),
                receive(json!({}), &[]),
                ok(
                    "GetQueueAttributes",
                    json!({"QueueUrl": "$U/$N.fifo", "AttributeNames": ["ApproximateNumberOfMessagesDelayed"]}),
                    json!({"Attributes": {"ApproximateNumberOfMessagesDelayed": "1"}}),
                ),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N.fifo", "Attributes": {"DelaySeconds": "0"}}),
                    json!({}),
                ),
                receive(json!({}), &[("x", "h")]),
            ],
        ),
        row(
            "7: in a batch, an entry without a group fails it whole",
            vec![
                by_content(),
                refused(
                    "SendMessageBatch",
                    batch(
                        json!([{"Id": "a", "MessageBody": "x", "MessageGroupId": "g"}, {"Id": "b", "MessageBody": "y"}]),
                    ),
                    "InvalidParameterValue",
                    "The request must contain the parameter MessageGroupId.",
                ),
                receive(json!({}), &[]),
            ],
        ),
        row(
            "7: in a batch, an entry without anything to deduplicate by fails it whole",
            vec![
                fifo(json!({})),
                refused(
                    "SendMessageBatch",
                    batch(json!([{"Id": "a", "MessageBody": "x", "MessageGroupId": "g"}])),
                    "InvalidParameterValue",
                    no_dedup,
                ),
            ],
        ),
        row(
            "7: a batch keeps its order",
            vec![
                by_content(),
                ok(
                    "SendMessageBatch",
                    batch(json!([
                        {"Id": "c", "MessageBody": "1", "MessageGroupId": "g"},
                        {"Id": "a", "MessageBody": "2", "MessageGroupId": "g"},
                        {"Id": "b", "MessageBody": "1", "MessageGroupId": "g"},
                    ])),
                    json!({"Successful": [
                        {"Id": "c", "MessageId": "=uuid>first", "MD5OfMessageBody": "=text", "SequenceNumber": "=sequence>s1"},
                        {"Id": "a", "MessageId": "=uuid", "MD5OfMessageBody": "=text", "SequenceNumber": "=sequence>s2"},
                        {"Id": "b", "MessageId": "$first", "MD5OfMessageBody": "=text", "SequenceNumber": "$s1"},
                    ]}),
                ),
                receive_ten(&[("1", "h"), ("2", "h")]),
            ],
        ),
    ]);
}

#[test]
fn order_and_locks() {
    check(&[
        row(
            "8.2: a group with its first message in flight delivers nothing, others do",
            vec![
                by_content(),
                send("a1", "a"),
                send("a2", "a"),
                send("b1", "b"),
                receive(json!({}), &[("a1", "a1")]),
                receive_ten(&[("b1", "b1")]),
                receive_ten(&[]),
                delete("$a1"),
                receive_ten(&[("a2", "a2")]),
            ],
        ),
        row(
            "8.2: several of one group, then of the next",
            vec![
                by_content(),
                send("a1", "a"),
                send("b1", "b"),
                send("a2", "a"),
                send("b2", "b"),
                receive(json!({"MaxNumberOfMessages": 3}), &[("a1", "h"), ("a2", "h"), ("b1", "h")]),
                receive_ten(&[]),
            ],
        ),
        row(
            "8.2: acknowledged in any order; a message that precedes the rest keeps the lock",
            vec![
                by_content(),
                send("1", "g"),
                send("2", "g"),
                send("3", "g"),
                receive(json!({"MaxNumberOfMessages": 2}), &[("1", "one"), ("2", "two")]),
                delete("$two"),
                receive_ten(&[]),
                delete("$one"),
                receive_ten(&[("3", "three")]),
            ],
        ),
        row(
            "8.2: the first becomes visible while the second is in flight",
            vec![
                by_content(),
                send("1", "g"),
                send("2", "g"),
                send("3", "g"),
                receive(json!({"MaxNumberOfMessages": 2}), &[("1", "one"), ("2", "two")]),
                ok("ChangeMessageVisibility", visibility("$one", 0), json!({})),
                receive_ten(&[("1", "again")]),
            ],
        ),
        row(
            "8.2: a timeout ends the lock",
            vec![
                by_content(),
                send("1", "g"),
                send("2", "g"),
                receive(json!({"VisibilityTimeout": 1}), &[("1", "one")]),
                pause(1_200),
                receive_ten(&[("1", "h"), ("2", "h")]),
            ],
        ),
        row(
            "8.2: a long poll wakes when a timeout ends the lock",
            vec![
                by_content(),
                send("1", "g"),
                send("2", "g"),
                receive(json!({"VisibilityTimeout": 1}), &[("1", "one")]),
                receive(json!({"WaitTimeSeconds": 20, "MaxNumberOfMessages": 10}), &[("1", "h"), ("2", "h")]),
            ],
        ),
        row(
            "8.2: a new send does not unlock",
            vec![
                by_content(),
                send("1", "g"),
                receive(json!({}), &[("1", "one")]),
                send("2", "g"),
                receive_ten(&[]),
            ],
        ),
        row(
            "8.2: only what was received counts as not visible",
            vec![
                by_content(),
                send("a1", "a"),
                send("a2", "a"),
                send("a3", "a"),
                send("b1", "b"),
                send("b2", "b"),
                send("b3", "b"),
                receive(json!({}), &[("a1", "h")]),
                receive(json!({}), &[("b1", "h")]),
                ok(
                    "GetQueueAttributes",
                    json!({"QueueUrl": "$U/$N.fifo", "AttributeNames": ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]}),
                    json!({"Attributes": {"ApproximateNumberOfMessages": "4", "ApproximateNumberOfMessagesNotVisible": "2"}}),
                ),
            ],
        ),
    ]);
}

#[test]
fn expired_handles() {
    let expired = |name: &str| {
        format!(
            "Value {name} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
        )
    };
    check(&[
        row(
            "6.5: after the timeout a handle is expired",
            vec![
                by_content(),
                send("1", "g"),
                receive(json!({"VisibilityTimeout": 1}), &[("1", "h")]),
                pause(1_200),
                refused("DeleteMessage", handle("$h"), "InvalidParameterValue", &expired("$h")),
                refused(
                    "ChangeMessageVisibility",
                    visibility("$h", 5),
                    "InvalidParameterValue",
                    &expired("$h"),
                ),
                receive(json!({}), &[("1", "later")]),
                refused("DeleteMessage", handle("$h"), "InvalidParameterValue", &expired("$h")),
                delete("$later"),
                delete("$later"),
                delete("$h"),
            ],
        ),
        row(
            "6.5: in a batch too",
            vec![
                by_content(),
                send("1", "g"),
                receive(json!({"VisibilityTimeout": 0}), &[("1", "h")]),
                ok(
                    "DeleteMessageBatch",
                    json!({"QueueUrl": "$U/$N.fifo", "Entries": [{"Id": "a", "ReceiptHandle": "$h"}]}),
                    json!({"Failed": [{
                        "Id": "a", "Code": "InvalidParameterValue", "Message": expired("$h"), "SenderFault": true,
                    }]}),
                ),
            ],
        ),
        row(
            "6.5: an extended handle is valid until the new deadline",
            vec![
                by_content(),
                send("1", "g"),
                receive(json!({"VisibilityTimeout": 1}), &[("1", "h")]),
                ok("ChangeMessageVisibility", visibility("$h", 60), json!({})),
                pause(1_200),
                delete("$h"),
            ],
        ),
    ]);
}

#[test]
fn deduplication() {
    let with = |body: &str, group: &str, id: &str| {
        message(body, json!({"MessageGroupId": group, "MessageDeduplicationId": id}))
    };
    let duplicate = |keep: &str, body_md5: &str| {
        json!({
            "MessageId": format!("$id{keep}"), "MD5OfMessageBody": body_md5, "SequenceNumber": format!("$sequence{keep}"),
        })
    };
    const MD5: &str = "78e731027d8fd50ed642340b7c9a63b3";
    const SHA256: &str = "ab530a13e45914982b79f9b7e3fba994cfd1f3fb22f71cea1afbf02b460c6d1d";
    check(&[
        row(
            "8.3: a duplicate has the first id and sequence, and digests of its own",
            vec![
                fifo(json!({})),
                ok("SendMessage", with("other", "g", "d"), sent("1")),
                ok("SendMessage", with("message", "h", "d"), duplicate("1", MD5)),
                receive_ten(&[("other", "h")]),
                delete("$h"),
                ok("SendMessage", with("message", "g", "d"), duplicate("1", MD5)),
                receive_ten(&[]),
            ],
        ),
        row(
            "8.3: by content, attributes not counted; an equal explicit id is the same key",
            vec![
                by_content(),
                ok("SendMessage", message("message", json!({"MessageGroupId": "g"})), sent("1")),
                ok(
                    "SendMessage",
                    message(
                        "message",
                        json!({
                            "MessageGroupId": "g", "MessageAttributes": {"k": {"DataType": "String", "StringValue": "x"}},
                        }),
                    ),
                    json!({
                        "MessageId": "$id1", "MD5OfMessageBody": MD5, "SequenceNumber": "$sequence1",
                        "MD5OfMessageAttributes": "a45daa70926828a2f0a1db3418e6feb4",
                    }),
                ),
                ok("SendMessage", with("x", "g", SHA256), duplicate("1", "9dd4e461268c8034f5c8564e155c67a6")),
                ok("SendMessage", with("message", "g", "explicit"), sent("2")),
                ok(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N.fifo", "AttributeNames": ["MessageDeduplicationId", "SequenceNumber", "MessageGroupId"]}),
                    json!({"Messages": [{
                        "MessageId": "$id1", "ReceiptHandle": "=handle", "MD5OfBody": MD5, "Body": "message",
                        "Attributes": {"MessageDeduplicationId": SHA256, "SequenceNumber": "$sequence1", "MessageGroupId": "g"},
                    }]}),
                ),
            ],
        ),
        row(
            "8.3: a purge forgets",
            vec![
                by_content(),
                send("message", "g"),
                ok("PurgeQueue", json!({"QueueUrl": "$U/$N.fifo"}), json!({})),
                ok("SendMessage", message("message", json!({"MessageGroupId": "g"})), sent("2")),
                receive_ten(&[("message", "h")]),
            ],
        ),
        row(
            "8.4: scope by group",
            vec![
                fifo(json!({"DeduplicationScope": "messageGroup"})),
                ok("SendMessage", with("x", "a", "d"), sent("1")),
                ok("SendMessage", with("y", "b", "d"), sent("2")),
                ok("SendMessage", with("message", "a", "d"), duplicate("1", MD5)),
                receive_ten(&[("x", "h"), ("y", "h")]),
            ],
        ),
        row(
            "8.4: the scope at creation decides",
            vec![
                fifo(json!({})),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N.fifo", "Attributes": {"DeduplicationScope": "messageGroup"}}),
                    json!({}),
                ),
                ok("SendMessage", with("x", "a", "d"), sent("1")),
                ok("SendMessage", with("message", "b", "d"), duplicate("1", MD5)),
            ],
        ),
        row(
            "8.3: survives attribute changes",
            vec![
                by_content(),
                ok("SendMessage", message("message", json!({"MessageGroupId": "g"})), sent("1")),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N.fifo", "Attributes": {BY_CONTENT: "false", "VisibilityTimeout": "5"}}),
                    json!({}),
                ),
                ok("SendMessage", with("message", "g", SHA256), duplicate("1", MD5)),
            ],
        ),
    ]);
}

#[test]
fn attempts() {
    let attempt = || json!({"MaxNumberOfMessages": 2, "ReceiveRequestAttemptId": "try"});
    let same = |handles: [&str; 2]| {
        let message = |body: &str, handle: &str| json!({"MessageId": "=uuid", "ReceiptHandle": format!("${handle}"), "MD5OfBody": "=text", "Body": body});
        let mut input = json!({"QueueUrl": "$U/$N.fifo"});
        input.as_object_mut().unwrap().extend(attempt().as_object().unwrap().clone());
        ok("ReceiveMessage", input, json!({"Messages": [message("1", handles[0]), message("2", handles[1])]}))
    };
    let started = || {
        vec![
            by_content(),
            send("1", "g"),
            send("2", "g"),
            send("3", "g"),
            receive(attempt(), &[("1", "one"), ("2", "two")]),
        ]
    };
    let then = |steps: Vec<Step>| started().into_iter().chain(steps).collect::<Vec<_>>();
    check(&[
        row(
            "8.5: a repeat has the same messages and handles",
            then(vec![same(["one", "two"]), same(["one", "two"]), receive_ten(&[])]),
        ),
        row("8.5: not once one of them was deleted", then(vec![delete("$one"), receive(attempt(), &[])])),
        row(
            "8.5: not once the visibility of one was changed",
            then(vec![
                ok("ChangeMessageVisibility", visibility("$one", 0), json!({})),
                receive(attempt(), &[("1", "again")]),
            ]),
        ),
        row(
            "8.5: the syntax of ids",
            vec![
                by_content(),
                refused(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N.fifo", "ReceiveRequestAttemptId": "a b"}),
                    "InvalidParameterValue",
                    "Value a b for parameter ReceiveRequestAttemptId is invalid. Reason: ReceiveRequestAttemptId can only \
                 include alphanumeric and punctuation characters. 1 to 128 in length.",
                ),
            ],
        ),
    ]);
}
