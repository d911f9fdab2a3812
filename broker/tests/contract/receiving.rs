//! ReceiveMessage, DeleteMessage and ChangeMessageVisibility on standard queues (sections 6.3 to 6.6, 12.13, 12.14,
//! 12.16).

use serde_json::{Value, json};

use crate::row::{Step, check, create, no_such_queue, ok, pause, refused, row};

fn send(body: &str) -> Step {
    ok(
        "SendMessage",
        json!({"QueueUrl": "$U/$N", "MessageBody": body}),
        json!({"MessageId": "=uuid>id", "MD5OfMessageBody": "=text"}),
    )
}

fn receive(more: Value, bodies: &[(&str, &str)]) -> Step {
    let mut input = json!({"QueueUrl": "$U/$N"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let message = |(body, handle): &(&str, &str)| {
        json!({
            "MessageId": "=uuid", "ReceiptHandle": format!("=handle>{handle}"), "MD5OfBody": "=text", "Body": body,
        })
    };
    let messages: Vec<Value> = bodies.iter().map(message).collect();
    ok("ReceiveMessage", input, if messages.is_empty() { json!({}) } else { json!({"Messages": messages}) })
}

fn delete(handle: &str) -> Step {
    ok("DeleteMessage", json!({"QueueUrl": "$U/$N", "ReceiptHandle": handle}), json!({}))
}

fn change(handle: &str, seconds: i64) -> Value {
    json!({"QueueUrl": "$U/$N", "ReceiptHandle": handle, "VisibilityTimeout": seconds})
}

fn counts(visible: &str, not_visible: &str) -> Step {
    ok(
        "GetQueueAttributes",
        json!({"QueueUrl": "$U/$N", "AttributeNames": ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]}),
        json!({"Attributes": {"ApproximateNumberOfMessages": visible, "ApproximateNumberOfMessagesNotVisible": not_visible}}),
    )
}

#[test]
fn what_may_be_asked() {
    let refusal = |name: &str, value: i64, reason: &str| {
        let text = format!("Value {value} for parameter {name} is invalid. Reason: {reason}");
        row(
            "12.13: ranges",
            vec![
                create("", json!({})),
                refused(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", name: value}),
                    "InvalidParameterValue",
                    &text,
                ),
            ],
        )
    };
    check(&[
        refusal("MaxNumberOfMessages", 0, "Must be between 1 and 10, if provided."),
        refusal("MaxNumberOfMessages", 11, "Must be between 1 and 10, if provided."),
        refusal("VisibilityTimeout", -1, "Must be >= 0 and <= 43200, if provided."),
        refusal("VisibilityTimeout", 43_201, "Must be >= 0 and <= 43200, if provided."),
        refusal("WaitTimeSeconds", -1, "Must be >= 0 and <= 20, if provided."),
        refusal("WaitTimeSeconds", 21, "Must be >= 0 and <= 20, if provided."),
        row(
            "12.13: an unknown system attribute",
            vec![
                create("", json!({})),
                refused(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", "AttributeNames": ["X"]}),
                    "InvalidAttributeName",
                    "Unknown Attribute X.",
                ),
                refused(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", "MessageSystemAttributeNames": ["X"]}),
                    "InvalidAttributeName",
                    "Unknown Attribute X.",
                ),
            ],
        ),
        row(
            "8.5: no attempt id on a standard queue",
            vec![
                create("", json!({})),
                refused(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", "ReceiveRequestAttemptId": "a"}),
                    "InvalidParameterValue",
                    "Value a for parameter ReceiveRequestAttemptId is invalid. Reason: The request include parameter that \
                 is not valid for this queue type",
                ),
            ],
        ),
        row("12.13: no such queue", vec![no_such_queue("ReceiveMessage", json!({"QueueUrl": "$U/$N"}))]),
        row(
            "12.13: one message by default, ten at most, oldest first, never one twice",
            vec![
                create("", json!({})),
                send("0"),
                send("1"),
                send("2"),
                send("3"),
                send("4"),
                send("5"),
                send("6"),
                send("7"),
                send("8"),
                send("9"),
                send("10"),
                send("11"),
                receive(json!({}), &[("0", "h")]),
                receive(
                    json!({"MaxNumberOfMessages": 10}),
                    &[
                        ("1", "h"),
                        ("2", "h"),
                        ("3", "h"),
                        ("4", "h"),
                        ("5", "h"),
                        ("6", "h"),
                        ("7", "h"),
                        ("8", "h"),
                        ("9", "h"),
                        ("10", "h"),
                    ],
                ),
                receive(json!({"MaxNumberOfMessages": 10}), &[("11", "h")]),
                receive(json!({"MaxNumberOfMessages": 10}), &[]),
                counts("0", "12"),
            ],
        ),
    ]);
}

#[test]
fn system_attributes() {
    let with = |more: Value, attributes: Value| {
        let mut input = json!({"QueueUrl": "$U/$N", "VisibilityTimeout": 0});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut message =
            json!({"MessageId": "$id", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": "x"});
        if attributes != json!({}) {
            message["Attributes"] = attributes;
        }
        ok("ReceiveMessage", input, json!({"Messages": [message]}))
    };
    let all = |count: &str| {
        json!({
            "SenderId": "000000000000", "SentTimestamp": "=number>sent", "ApproximateReceiveCount": count,
            "ApproximateFirstReceiveTimestamp": "=number>first",
        })
    };
    let again = json!({
        "SenderId": "000000000000", "SentTimestamp": "$sent", "ApproximateReceiveCount": "3",
        "ApproximateFirstReceiveTimestamp": "$first",
    });
    check(&[row(
        "6.6: what a receive shows of a message",
        vec![
            create("", json!({})),
            send("x"),
            with(json!({}), json!({})),
            with(json!({"MessageSystemAttributeNames": ["All"]}), all("2")),
            with(json!({"AttributeNames": ["All"]}), again),
            with(
                json!({"AttributeNames": ["ApproximateReceiveCount", "SequenceNumber", "DeadLetterQueueSourceArn"]}),
                json!({"ApproximateReceiveCount": "4"}),
            ),
            with(
                json!({"AttributeNames": ["SenderId"], "MessageSystemAttributeNames": ["ApproximateReceiveCount"]}),
                json!({"ApproximateReceiveCount": "5"}),
            ),
            with(json!({"MessageSystemAttributeNames": ["MessageGroupId"]}), json!({})),
        ],
    )]);
}

#[test]
fn visibility() {
    check(&[
        row(
            "6.4: a received message is hidden until its timeout ends",
            vec![
                create("", json!({"VisibilityTimeout": "1"})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                counts("0", "1"),
                receive(json!({}), &[]),
                pause(1_200),
                counts("1", "0"),
                receive(json!({}), &[("x", "h")]),
            ],
        ),
        row(
            "12.13: a long poll wakes when a timeout ends",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({"VisibilityTimeout": 1}), &[("x", "h")]),
                receive(json!({"WaitTimeSeconds": 20}), &[("x", "h")]),
            ],
        ),
        row(
            "12.13: an explicit wait of 0 overrides the queue's",
            vec![
                create("", json!({"ReceiveMessageWaitTimeSeconds": "20"})),
                receive(json!({"WaitTimeSeconds": 0}), &[]),
            ],
        ),
        row(
            "6.4: a timeout of 0 counts a receive and hides nothing",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({"VisibilityTimeout": 0}), &[("x", "h")]),
                counts("1", "0"),
                receive(json!({}), &[("x", "h")]),
            ],
        ),
        row(
            "12.14: released at once, and held longer",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                ok("ChangeMessageVisibility", change("$h", 0), json!({})),
                counts("1", "0"),
                receive(json!({"VisibilityTimeout": 1}), &[("x", "h")]),
                ok("ChangeMessageVisibility", change("$h", 60), json!({})),
                pause(1_200),
                counts("0", "1"),
            ],
        ),
        row(
            "12.14: the next receive takes the queue's timeout again",
            vec![
                create("", json!({"VisibilityTimeout": "1"})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                ok("ChangeMessageVisibility", change("$h", 600), json!({})),
                ok("ChangeMessageVisibility", change("$h", 0), json!({})),
                receive(json!({}), &[("x", "h")]),
                pause(1_200),
                receive(json!({}), &[("x", "h")]),
            ],
        ),
        row(
            "12.14: out of range, and missing",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                refused(
                    "ChangeMessageVisibility",
                    change("$h", 43_201),
                    "InvalidParameterValue",
                    "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.",
                ),
                refused(
                    "ChangeMessageVisibility",
                    change("$h", -1),
                    "InvalidParameterValue",
                    "Value -1 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.",
                ),
                refused(
                    "ChangeMessageVisibility",
                    json!({"QueueUrl": "$U/$N", "ReceiptHandle": "$h"}),
                    "MissingParameter",
                    "The request must contain the parameter VisibilityTimeout.",
                ),
            ],
        ),
        row(
            "12.14: twelve hours in all",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                ok("ChangeMessageVisibility", change("$h", 43_200), json!({})),
                pause(1_000),
                refused(
                    "ChangeMessageVisibility",
                    change("$h", 43_200),
                    "InvalidParameterValue",
                    "Value 43200 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the \
                 message is beyond the limit [43200 seconds]",
                ),
                ok("ChangeMessageVisibility", change("$h", 43_100), json!({})),
            ],
        ),
    ]);
}

#[test]
fn receipt_handles() {
    let gone = "Value $h for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for \
                visibility timeout change.";
    let missing = "The request must contain the parameter ReceiptHandle.";
    let bad =
        |queue: &str, handle: &str| json!({"QueueUrl": format!("$U/$N{queue}"), "ReceiptHandle": handle});
    let invalid =
        |handle: &str| format!("The input receipt handle \"{handle}\" is not a valid receipt handle.");
    check(&[
        row(
            "6.5: deleted while in flight, and again",
            vec![
                create("", json!({"VisibilityTimeout": "1"})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                delete("$h"),
                delete("$h"),
                counts("0", "0"),
                pause(1_200),
                receive(json!({}), &[]),
            ],
        ),
        row(
            "6.5: deleted after the timeout, not received again",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({"VisibilityTimeout": 0}), &[("x", "h")]),
                delete("$h"),
                counts("0", "0"),
            ],
        ),
        row(
            "6.5: an older handle deletes",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({"VisibilityTimeout": 0}), &[("x", "h")]),
                receive(json!({}), &[("x", "later")]),
                delete("$h"),
                counts("0", "0"),
            ],
        ),
        row(
            "6.5: an older handle, or one whose timeout is over, changes visibility",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({"VisibilityTimeout": 0}), &[("x", "h")]),
                ok("ChangeMessageVisibility", change("$h", 60), json!({})),
                counts("0", "1"),
                ok("ChangeMessageVisibility", change("$h", 0), json!({})),
                receive(json!({}), &[("x", "later")]),
                ok("ChangeMessageVisibility", change("$h", 0), json!({})),
                counts("1", "0"),
            ],
        ),
        row(
            "6.5: the visibility of a deleted message",
            vec![
                create("", json!({})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                delete("$h"),
                refused("ChangeMessageVisibility", change("$h", 5), "InvalidParameterValue", gone),
            ],
        ),
        row(
            "6.5: garbage",
            vec![
                create("", json!({})),
                refused("DeleteMessage", bad("", "garbage"), "ReceiptHandleIsInvalid", &invalid("garbage")),
                refused(
                    "ChangeMessageVisibility",
                    change("garbage", 5),
                    "ReceiptHandleIsInvalid",
                    &invalid("garbage"),
                ),
            ],
        ),
        row(
            "6.5: the handle of another queue",
            vec![
                create("", json!({})),
                create("-other", json!({})),
                send("x"),
                receive(json!({}), &[("x", "h")]),
                refused("DeleteMessage", bad("-other", "$h"), "ReceiptHandleIsInvalid", &invalid("$h")),
                delete("$h"),
            ],
        ),
        row(
            "6.5: missing, and empty",
            vec![
                create("", json!({})),
                refused("DeleteMessage", json!({"QueueUrl": "$U/$N"}), "MissingParameter", missing),
                refused("DeleteMessage", bad("", ""), "MissingParameter", missing),
                refused(
                    "ChangeMessageVisibility",
                    json!({"QueueUrl": "$U/$N", "VisibilityTimeout": 1}),
                    "MissingParameter",
                    missing,
                ),
            ],
        ),
    ]);
}
