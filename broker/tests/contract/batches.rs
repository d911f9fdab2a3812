//! The three batch actions (section 7, 12.12, 12.15, 12.17).

use serde_json::{Value, json};

use crate::row::{Row, check, create, no_such_queue, ok, refused, row};

const ACTIONS: [&str; 3] = ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"];

fn batch(entries: Value) -> Value {
    json!({"QueueUrl": "$U/$N", "Entries": entries})
}

fn entry(id: &str, body: &str) -> Value {
    json!({"Id": id, "MessageBody": body})
}

fn success(id: &str) -> Value {
    json!({"Id": id, "MessageId": "=uuid", "MD5OfMessageBody": "=text"})
}

fn failure(id: &str, code: &str, text: &str) -> Value {
    json!({"Id": id, "Code": code, "Message": text, "SenderFault": true})
}

/// A valid entry of the action.
fn valid(action: &str, id: &str) -> Value {
    match action {
        "SendMessageBatch" => entry(id, "x"),
        _ => json!({"Id": id, "ReceiptHandle": "h", "VisibilityTimeout": 1}),
    }
}

#[test]
fn whole_requests() {
    let mut rows: Vec<Row> = Vec::new();
    for action in ACTIONS {
        let refusal = |entries: Value, code: &'static str, text: &str| {
            row(
                "7: what fails a whole request",
                vec![create("", json!({})), refused(action, batch(entries), code, text)],
            )
        };
        let many: Value = (0..20).map(|n| valid(action, &format!("e{n}"))).collect();
        let long = "i".repeat(81);
        let mut without_id = valid(action, "");
        without_id.as_object_mut().unwrap().remove("Id");
        let bad_id = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at \
                      most 80 letters long.";
        const INVALID_ID: &str = "AWS.SimpleQueueService.InvalidBatchEntryId";
        rows.extend([
            refusal(
                many,
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10. You have sent 20.",
            ),
            refusal(
                json!([]),
                "AWS.SimpleQueueService.EmptyBatchRequest",
                &format!("There should be at least one {action}RequestEntry in the request."),
            ),
            refusal(json!([valid(action, "a b")]), INVALID_ID, bad_id),
            refusal(json!([valid(action, "")]), INVALID_ID, bad_id),
            refusal(json!([valid(action, &long)]), INVALID_ID, bad_id),
            refusal(
                json!([valid(action, "x"), valid(action, "x")]),
                "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
                "Id x repeated.",
            ),
            refusal(
                json!([valid(action, "x"), without_id]),
                "MissingParameter",
                &format!("The request must contain the parameter {action}RequestEntry.2.Id."),
            ),
            row(
                "7: a missing queue fails the request",
                vec![no_such_queue(action, batch(json!([valid(action, "x")])))],
            ),
        ]);
    }
    let half = "x".repeat(524_288);
    rows.push(row(
        "6.1: the sum of a batch, whatever the queue's limit",
        vec![
            create("", json!({"MaximumMessageSize": "1024"})),
            refused(
                "SendMessageBatch",
                batch(json!([entry("a", &half), entry("b", &format!("{half}x"))])),
                "AWS.SimpleQueueService.BatchRequestTooLong",
                "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
            ),
        ],
    ));
    rows.push(row(
        "6.1: exactly the sum",
        vec![
            create("", json!({})),
            ok(
                "SendMessageBatch",
                batch(json!([entry("a", &half), entry("b", &half)])),
                json!({"Successful": [success("a"), success("b")]}),
            ),
        ],
    ));
    check(&rows);
}

#[test]
fn entries_of_a_send() {
    let invalid = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to \
                   #xFFFD | #x10000 to #x10FFFF";
    let ten: Value = (0..10).map(|n| entry(&format!("e{n}"), "x")).collect();
    let ten_sent: Value = (0..10).map(|n| success(&format!("e{n}"))).collect();
    check(&[
        row(
            "7: the good entries take effect, the bad ones are listed",
            vec![
                create("", json!({"MaximumMessageSize": "1024"})),
                ok(
                    "SendMessageBatch",
                    batch(json!([
                        entry("good", "x"),
                        entry("long", &"x".repeat(1025)),
                        entry("characters", "\u{1}"),
                        entry("empty", ""),
                        {"Id": "delay", "MessageBody": "x", "DelaySeconds": 901},
                        {"Id": "attribute", "MessageBody": "x", "MessageAttributes": {"X": {"DataType": "String", "StringValue": ""}}},
                        {"Id": "group", "MessageBody": "x", "MessageGroupId": "a b"},
                        entry("last", "y"),
                    ])),
                    json!({
                        "Successful": [success("good"), success("last")],
                        "Failed": [
                            failure(
                                "long",
                                "InvalidParameterValue",
                                "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.",
                            ),
                            failure("characters", "InvalidMessageContents", invalid),
                            failure(
                                "empty",
                                "MissingParameter",
                                "The request must contain the parameter SendMessageBatchRequestEntry.4.MessageBody.",
                            ),
                            failure(
                                "delay",
                                "InvalidParameterValue",
                                "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
                            ),
                            failure(
                                "attribute",
                                "InvalidParameterValue",
                                "Message (user) attribute 'X' must contain a non-empty value of type 'String'.",
                            ),
                            failure(
                                "group",
                                "InvalidParameterValue",
                                "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include \
                                 alphanumeric and punctuation characters. 1 to 128 in length.",
                            ),
                        ],
                    }),
                ),
                ok(
                    "GetQueueAttributes",
                    json!({"QueueUrl": "$U/$N", "AttributeNames": ["ApproximateNumberOfMessages"]}),
                    json!({"Attributes": {"ApproximateNumberOfMessages": "2"}}),
                ),
            ],
        ),
        row(
            "7: nothing good, no Successful",
            vec![
                create("", json!({})),
                ok(
                    "SendMessageBatch",
                    batch(json!([entry("a", "\u{0}")])),
                    json!({
                        "Failed": [failure("a", "InvalidMessageContents", invalid)],
                    }),
                ),
            ],
        ),
        row(
            "7: ten entries, applied in their order",
            vec![create("", json!({})), ok("SendMessageBatch", batch(ten), json!({"Successful": ten_sent}))],
        ),
        row(
            "12.12: digests of each entry",
            vec![
                create("", json!({})),
                ok(
                    "SendMessageBatch",
                    batch(json!([{
                        "Id": "a", "MessageBody": "message", "DelaySeconds": 0,
                        "MessageAttributes": {"k": {"DataType": "String", "StringValue": "x"}},
                        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue":
                            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}},
                    }])),
                    json!({"Successful": [{
                        "Id": "a", "MessageId": "=uuid", "MD5OfMessageBody": "78e731027d8fd50ed642340b7c9a63b3",
                        "MD5OfMessageAttributes": "a45daa70926828a2f0a1db3418e6feb4",
                        "MD5OfMessageSystemAttributes": "5ae4d5d7636402d80f4eb6d213245a88",
                    }]}),
                ),
            ],
        ),
    ]);
}

#[test]
fn entries_with_handles() {
    let send = ok(
        "SendMessage",
        json!({"QueueUrl": "$U/$N", "MessageBody": "x"}),
        json!({"MessageId": "=uuid", "MD5OfMessageBody": "=text"}),
    );
    let receive = ok(
        "ReceiveMessage",
        json!({"QueueUrl": "$U/$N"}),
        json!({"Messages": [
            {"MessageId": "=uuid", "ReceiptHandle": "=handle>h", "MD5OfBody": "=text", "Body": "x"}
        ]}),
    );
    let garbage = failure(
        "garbage",
        "ReceiptHandleIsInvalid",
        "The input receipt handle \"garbage\" is not a valid receipt handle.",
    );
    check(&[
        row(
            "12.17: deletes",
            vec![
                create("", json!({})),
                send.clone(),
                receive.clone(),
                ok(
                    "DeleteMessageBatch",
                    batch(json!([
                        {"Id": "good", "ReceiptHandle": "$h"},
                        {"Id": "garbage", "ReceiptHandle": "garbage"},
                        {"Id": "none"},
                    ])),
                    json!({
                        "Successful": [{"Id": "good"}],
                        "Failed": [
                            garbage,
                            failure(
                                "none",
                                "MissingParameter",
                                "The request must contain the parameter DeleteMessageBatchRequestEntry.3.ReceiptHandle.",
                            ),
                        ],
                    }),
                ),
            ],
        ),
        row(
            "12.15: visibility; an absent timeout is 0",
            vec![
                create("", json!({})),
                send,
                receive,
                ok(
                    "ChangeMessageVisibilityBatch",
                    batch(json!([
                        {"Id": "good", "ReceiptHandle": "$h"},
                        {"Id": "garbage", "ReceiptHandle": "garbage", "VisibilityTimeout": 5},
                        {"Id": "range", "ReceiptHandle": "$h", "VisibilityTimeout": 43201},
                    ])),
                    json!({
                        "Successful": [{"Id": "good"}],
                        "Failed": [
                            failure(
                                "garbage",
                                "ReceiptHandleIsInvalid",
                                "The input receipt handle \"garbage\" is not a valid receipt handle.",
                            ),
                            failure(
                                "range",
                                "InvalidParameterValue",
                                "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.",
                            ),
                        ],
                    }),
                ),
                ok(
                    "GetQueueAttributes",
                    json!({"QueueUrl": "$U/$N", "AttributeNames": ["ApproximateNumberOfMessages"]}),
                    json!({"Attributes": {"ApproximateNumberOfMessages": "1"}}),
                ),
            ],
        ),
    ]);
}
