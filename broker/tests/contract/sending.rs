//! SendMessage to standard queues: sizes, characters, delays, groups (sections 6.1, 6.2, 9 and 12.11).

use serde_json::{Value, json};

use crate::row::{check, create, ok, pause, refused, row};

fn send(body: &str) -> Value {
    json!({"QueueUrl": "$U/$N", "MessageBody": body})
}

fn sent() -> Value {
    json!({"MessageId": "=uuid", "MD5OfMessageBody": "=text"})
}

fn with(input: Value, name: &str, value: Value) -> Value {
    let mut input = input;
    input[name] = value;
    input
}

#[test]
fn sizes() {
    let attribute = json!({"n": {"DataType": "String", "StringValue": "v"}});
    let long = |limit: u32| {
        format!("One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.")
    };
    let largest = "x".repeat(1_048_576);
    check(&[
        row(
            "6.1: exactly the limit, and one byte more",
            vec![
                create("", json!({"MaximumMessageSize": "1024"})),
                ok("SendMessage", send(&"x".repeat(1024)), sent()),
                refused("SendMessage", send(&"x".repeat(1025)), "InvalidParameterValue", &long(1024)),
                refused("SendMessage", send(&"ä".repeat(513)), "InvalidParameterValue", &long(1024)),
            ],
        ),
        row(
            "6.1: attributes count",
            vec![
                create("", json!({"MaximumMessageSize": "1024"})),
                ok(
                    "SendMessage",
                    with(send(&"x".repeat(1024 - 8)), "MessageAttributes", attribute.clone()),
                    json!({"MessageId": "=uuid", "MD5OfMessageBody": "=text", "MD5OfMessageAttributes": "=text"}),
                ),
                refused(
                    "SendMessage",
                    with(send(&"x".repeat(1024 - 7)), "MessageAttributes", attribute),
                    "InvalidParameterValue",
                    &long(1024),
                ),
            ],
        ),
        row(
            "6.1: one mebibyte",
            vec![
                create("", json!({})),
                ok("SendMessage", send(&largest), sent()),
                refused(
                    "SendMessage",
                    send(&format!("{largest}x")),
                    "InvalidParameterValue",
                    &long(1_048_576),
                ),
            ],
        ),
        row(
            "6.1: an empty body, and none",
            vec![
                create("", json!({})),
                refused(
                    "SendMessage",
                    send(""),
                    "MissingParameter",
                    "The request must contain the parameter MessageBody.",
                ),
                refused(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N"}),
                    "MissingParameter",
                    "The request must contain the parameter MessageBody.",
                ),
            ],
        ),
    ]);
}

#[test]
fn characters() {
    const TEXT: &str = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 \
        to #xFFFD | #x10000 to #x10FFFF";
    let refusal = |body: &str| {
        row(
            "6.2: characters that are refused",
            vec![create("", json!({})), refused("SendMessage", send(body), "InvalidMessageContents", TEXT)],
        )
    };
    let returned = |body: &str| {
        row(
            "6.2: bodies come back as they were",
            vec![
                create("", json!({})),
                ok("SendMessage", send(body), sent()),
                ok(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N"}),
                    json!({"Messages": [{"MessageId": "=uuid", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": body}]}),
                ),
            ],
        )
    };
    check(&[
        refusal("\u{0}"),
        refusal("a\u{8}b"),
        refusal("\u{1F}"),
        refusal("\u{FFFE}"),
        refusal("x\u{FFFF}"),
        returned(" \t\r\n leading and trailing \r\n "),
        returned("<a href=\"x\">&amp; 'quoted' ]]></a>"),
        returned("ü \u{7F} \u{D7FF} \u{E000} \u{FFFD} \u{10000} \u{1F600} \u{10FFFF}"),
        returned("{\"json\": [\"\\u0000\", \"\\\\\"]}"),
        returned("100 % + a&b=c"),
    ]);
}

#[test]
fn delays() {
    let range = |value: i64| {
        format!(
            "Value {value} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
        )
    };
    let counts = |visible: &str, delayed: &str| {
        ok(
            "GetQueueAttributes",
            json!({"QueueUrl": "$U/$N", "AttributeNames": ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]}),
            json!({"Attributes": {"ApproximateNumberOfMessages": visible, "ApproximateNumberOfMessagesDelayed": delayed}}),
        )
    };
    let received = json!({"Messages": [{"MessageId": "=uuid", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": "x"}]});
    check(&[
        row(
            "12.11: out of range",
            vec![
                create("", json!({})),
                refused(
                    "SendMessage",
                    with(send("x"), "DelaySeconds", json!(901)),
                    "InvalidParameterValue",
                    &range(901),
                ),
                refused(
                    "SendMessage",
                    with(send("x"), "DelaySeconds", json!(1000)),
                    "InvalidParameterValue",
                    &range(1000),
                ),
                refused(
                    "SendMessage",
                    with(send("x"), "DelaySeconds", json!(-1)),
                    "InvalidParameterValue",
                    &range(-1),
                ),
            ],
        ),
        row(
            "12.11: a delay is counted, hides, and ends",
            vec![
                create("", json!({})),
                ok("SendMessage", with(send("x"), "DelaySeconds", json!(1)), sent()),
                counts("0", "1"),
                ok("ReceiveMessage", json!({"QueueUrl": "$U/$N"}), json!({})),
                pause(1_200),
                counts("1", "0"),
                ok("ReceiveMessage", json!({"QueueUrl": "$U/$N"}), received.clone()),
            ],
        ),
        row(
            "12.11: a long poll wakes when a delay ends",
            vec![
                create("", json!({})),
                ok("SendMessage", with(send("x"), "DelaySeconds", json!(1)), sent()),
                ok("ReceiveMessage", json!({"QueueUrl": "$U/$N", "WaitTimeSeconds": 20}), received.clone()),
            ],
        ),
        row(
            "12.11: an explicit 0 overrides the queue's delay",
            vec![
                create("", json!({"DelaySeconds": "900"})),
                ok("SendMessage", with(send("x"), "DelaySeconds", json!(0)), sent()),
                counts("1", "0"),
                ok("SendMessage", send("y"), sent()),
                counts("1", "1"),
                ok("SendMessage", with(send("z"), "DelaySeconds", json!(900)), sent()),
                counts("1", "2"),
            ],
        ),
        row(
            "4: a changed delay is for later sends only",
            vec![
                create("", json!({"DelaySeconds": "900"})),
                ok("SendMessage", send("x"), sent()),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N", "Attributes": {"DelaySeconds": "0"}}),
                    json!({}),
                ),
                counts("0", "1"),
                ok("SendMessage", send("y"), sent()),
                counts("1", "1"),
            ],
        ),
    ]);
}

#[test]
fn groups_on_standard_queues() {
    let text = |id: &str| {
        format!(
            "Value {id} for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric \
             and punctuation characters. 1 to 128 in length."
        )
    };
    let long = "g".repeat(129);
    check(&[
        row(
            "9: a group is returned and neither orders nor locks",
            vec![
                create("", json!({})),
                ok("SendMessage", with(send("x"), "MessageGroupId", json!("tenant")), sent()),
                ok("SendMessage", with(send("y"), "MessageGroupId", json!("tenant")), sent()),
                ok(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", "MessageSystemAttributeNames": ["MessageGroupId", "SequenceNumber", "MessageDeduplicationId"]}),
                    json!({"Messages": [{
                        "MessageId": "=uuid", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": "x",
                        "Attributes": {"MessageGroupId": "tenant"},
                    }]}),
                ),
                ok(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N"}),
                    json!({"Messages": [{"MessageId": "=uuid", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": "y"}]}),
                ),
            ],
        ),
        row(
            "9: the same syntax as on FIFO queues",
            vec![
                create("", json!({})),
                refused(
                    "SendMessage",
                    with(send("x"), "MessageGroupId", json!("")),
                    "InvalidParameterValue",
                    &text(""),
                ),
                refused(
                    "SendMessage",
                    with(send("x"), "MessageGroupId", json!("a b")),
                    "InvalidParameterValue",
                    &text("a b"),
                ),
                refused(
                    "SendMessage",
                    with(send("x"), "MessageGroupId", json!(long)),
                    "InvalidParameterValue",
                    &text(&long),
                ),
            ],
        ),
        row(
            "8.1: no deduplication id on a standard queue",
            vec![
                create("", json!({})),
                refused(
                    "SendMessage",
                    with(send("x"), "MessageDeduplicationId", json!("d")),
                    "InvalidParameterValue",
                    "Value d for parameter MessageDeduplicationId is invalid. Reason: The request include parameter \
                 MessageDeduplicationId which is not valid for this queue type",
                ),
            ],
        ),
    ]);
}
