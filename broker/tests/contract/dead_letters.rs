//! Redrive policies and the automatic move (sections 4.1, 4.2 and 10).

use serde_json::{Value, json};

use crate::row::{Step, check, create, ok, refused, row};

fn set(attribute: &str, value: &str) -> Value {
    json!({"QueueUrl": "$U/$N", "Attributes": {attribute: value}})
}

fn shown(suffix: &str, attribute: &str, value: Option<&str>) -> Step {
    let golden = value.map_or(json!({}), |value| json!({"Attributes": {attribute: value}}));
    ok(
        "GetQueueAttributes",
        json!({"QueueUrl": format!("$U/$N{suffix}"), "AttributeNames": [attribute]}),
        golden,
    )
}

#[test]
fn redrive_policies() {
    let refusal = |policy: &str, reason: &str| {
        let text = format!("Value {policy} for parameter RedrivePolicy is invalid. Reason: {reason}");
        row(
            "4.1: redrive policies that are refused",
            vec![
                create("-dead", json!({})),
                create("-dead.fifo", json!({"FifoQueue": "true"})),
                create("", json!({})),
                refused("SetQueueAttributes", set("RedrivePolicy", policy), "InvalidParameterValue", &text),
                shown("", "RedrivePolicy", None),
            ],
        )
    };
    let no_map = |policy: &str| {
        row(
            "4.1: no JSON object",
            vec![
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    set("RedrivePolicy", policy),
                    "InvalidAttributeValue",
                    "Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map.",
                ),
            ],
        )
    };
    let count = |count: &str| format!(r#"{{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":{count}}}"#);
    let target = |arn: &str| format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":1}}"#);
    let range = |count: &str| {
        format!("Invalid value for maxReceiveCount: {count}, valid values are from 1 to 1000 both inclusive.")
    };
    let normal = r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":5}"#;
    check(&[
        row(
            "4.1: compact, the count a number",
            vec![
                create("-dead", json!({})),
                create(
                    "",
                    json!({"RedrivePolicy": r#"{ "maxReceiveCount": "5", "deadLetterTargetArn": "$A:$N-dead" }"#}),
                ),
                shown("", "RedrivePolicy", Some(normal)),
                ok("SetQueueAttributes", set("RedrivePolicy", &count("1000")), json!({})),
                shown("", "RedrivePolicy", Some(&count("1000"))),
            ],
        ),
        row(
            "4.1: \"\" and {} remove it",
            vec![
                create("-dead", json!({})),
                create("", json!({"RedrivePolicy": normal})),
                ok("SetQueueAttributes", set("RedrivePolicy", ""), json!({})),
                shown("", "RedrivePolicy", None),
                ok("SetQueueAttributes", set("RedrivePolicy", normal), json!({})),
                ok("SetQueueAttributes", set("RedrivePolicy", "{}"), json!({})),
                shown("", "RedrivePolicy", None),
            ],
        ),
        no_map("x"),
        no_map("[]"),
        no_map("\"x\""),
        refusal(
            r#"{"deadLetterTargetArn":"$A:$N-dead"}"#,
            "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
        ),
        refusal(
            r#"{"maxReceiveCount":1}"#,
            "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.",
        ),
        refusal(
            r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":1,"more":1}"#,
            "Only following attributes are supported: [maxReceiveCount, deadLetterTargetArn].",
        ),
        refusal(&count("0"), &range("0")),
        refusal(&count("1001"), &range("1001")),
        refusal(&count("\"many\""), &range("many")),
        refusal(&target("dead"), "Dead-letter target ARN should be fully qualified ARN."),
        refusal(
            &target("arn:aws:sns:us-east-1:000000000000:t"),
            "Only SQS queues are valid resources for deadLetterTargetArn.",
        ),
        refusal(
            &target("arn:aws:sqs:us-east-1:111111111111:$N-dead"),
            "Dead-letter target owner should be same as the source.",
        ),
        refusal(&target("$A:$N-none"), "Dead letter target does not exist."),
        refusal(&target("arn:aws:sqs:eu-west-1:000000000000:$N-dead"), "Dead letter target does not exist."),
        refusal(&target("$A:$N-dead.fifo"), "Dead-letter queue must be same type of queue as the source.."),
        row(
            "4.1: at creation too",
            vec![refused(
                "CreateQueue",
                json!({"QueueName": "$N", "Attributes": {"RedrivePolicy": target("$A:$N-none")}}),
                "InvalidParameterValue",
                &format!(
                    "Value {} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.",
                    target("$A:$N-none")
                ),
            )],
        ),
    ]);
}

#[test]
fn redrive_allow_policies() {
    const PREFIX: &str = "Invalid value for the parameter RedriveAllowPolicy. Reason: ";
    const FORMAT: &str =
        "Amazon SQS can't create the redrive allow policy, as it’s in an unsupported format.";
    let refusal = |policy: &str, code: &'static str, reason: &str| {
        row(
            "4.2: allow policies that are refused",
            vec![
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    set("RedriveAllowPolicy", policy),
                    code,
                    &format!("{PREFIX}{reason}"),
                ),
            ],
        )
    };
    let eleven: Vec<String> = (0..11).map(|n| format!("\"$A:q{n}\"")).collect();
    let eleven = format!(r#"{{"redrivePermission":"byQueue","sourceQueueArns":[{}]}}"#, eleven.join(","));
    let redrive = r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":1}"#;
    let denied = format!(
        "Value {redrive} for parameter RedrivePolicy is invalid. Reason: The dead-letter target does not allow this \
         source queue."
    );
    let source =
        |suffix: &str| json!({"QueueName": format!("$N{suffix}"), "Attributes": {"RedrivePolicy": redrive}});
    let by_queue = r#"{"redrivePermission":"byQueue","sourceQueueArns":["$A:$N-a"]}"#;
    check(&[
        refusal("x", "InvalidAttributeValue", FORMAT),
        refusal("{}", "InvalidAttributeValue", FORMAT),
        refusal(r#"{"redrivePermission":"some"}"#, "InvalidAttributeValue", FORMAT),
        refusal(
            r#"{"redrivePermission":"denyAll","sourceQueueArns":["$A:$N-a"]}"#,
            "InvalidParameterValue",
            "To specify one or more source queue ARNs, you must set redrivePermission to byQueue.",
        ),
        refusal(
            r#"{"redrivePermission":"byQueue"}"#,
            "InvalidParameterValue",
            "When you specify the byQueue permission type, you must also specify one or more sourceQueueArns values.",
        ),
        refusal(
            &eleven,
            "InvalidParameterValue",
            "The maximum number of source queue ARNs you can specify is 10.",
        ),
        row(
            "4.2: by queue",
            vec![
                create("-dead", json!({"RedriveAllowPolicy": by_queue})),
                shown("-dead", "RedriveAllowPolicy", Some(by_queue)),
                refused("CreateQueue", source("-b"), "InvalidParameterValue", &denied),
                ok("CreateQueue", source("-a"), json!({"QueueUrl": "$U/$N-a"})),
            ],
        ),
        row(
            "4.2: denied to new sources, existing links stay",
            vec![
                create("-dead", json!({})),
                ok("CreateQueue", source("-a"), json!({"QueueUrl": "$U/$N-a"})),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N-dead", "Attributes": {"RedriveAllowPolicy": r#"{"redrivePermission":"denyAll"}"#}}),
                    json!({}),
                ),
                refused("CreateQueue", source("-b"), "InvalidParameterValue", &denied),
                ok(
                    "ListDeadLetterSourceQueues",
                    json!({"QueueUrl": "$U/$N-dead"}),
                    json!({"queueUrls": ["$U/$N-a"]}),
                ),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N-dead", "Attributes": {"RedriveAllowPolicy": ""}}),
                    json!({}),
                ),
                shown("-dead", "RedriveAllowPolicy", None),
                ok("CreateQueue", source("-b"), json!({"QueueUrl": "$U/$N-b"})),
            ],
        ),
    ]);
}

fn receive(suffix: &str, golden: Value) -> Step {
    let input = json!({
        "QueueUrl": format!("$U/$N{suffix}"), "VisibilityTimeout": 0, "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    });
    ok("ReceiveMessage", input, golden)
}

fn message(attributes: Value, more: Value) -> Value {
    let mut message = json!({
        "MessageId": "$id", "ReceiptHandle": "=handle", "Body": "poison",
        "MD5OfBody": "2a646ba0b8df7c4ff0c9d1fa5d6c6e0c", "Attributes": attributes,
    });
    message["MD5OfBody"] = json!("=text");
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"Messages": [message]})
}

#[test]
fn moves() {
    let redrive = r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":1}"#;
    let fifo_redrive = r#"{"deadLetterTargetArn":"$A:$N-dead.fifo","maxReceiveCount":1}"#;
    let attributes = json!({"k": {"DataType": "String", "StringValue": "x"}});
    let of_message = json!({"MD5OfMessageAttributes": "a45daa70926828a2f0a1db3418e6feb4", "MessageAttributes": attributes});
    let first = json!({
        "SenderId": "000000000000", "SentTimestamp": "=number>sent", "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": "=number>first", "MessageGroupId": "g",
    });
    let moved = json!({
        "SenderId": "000000000000", "SentTimestamp": "$sent", "ApproximateReceiveCount": "2",
        "ApproximateFirstReceiveTimestamp": "$first", "MessageGroupId": "g", "DeadLetterQueueSourceArn": "$A:$N",
    });
    let plus = |value: &Value, more: Value| {
        let mut value = value.clone();
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    check(&[
        row(
            "10: the receive that would exceed the count moves, facts are kept, the count goes on",
            vec![
                create("-dead", json!({"DelaySeconds": "900"})),
                create("", json!({"RedrivePolicy": redrive})),
                ok(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N", "MessageBody": "poison", "MessageGroupId": "g", "MessageAttributes": attributes}),
                    json!({
                        "MessageId": "=uuid>id", "MD5OfMessageBody": "=text",
                        "MD5OfMessageAttributes": "a45daa70926828a2f0a1db3418e6feb4",
                    }),
                ),
                receive("", message(first.clone(), of_message.clone())),
                receive("", json!({})),
                receive("-dead", message(moved.clone(), of_message.clone())),
            ],
        ),
        row(
            "10: FIFO: the message id becomes the deduplication id, the group is kept and unblocked",
            vec![
                create("-dead.fifo", json!({"FifoQueue": "true"})),
                create(".fifo", json!({"FifoQueue": "true", "RedrivePolicy": fifo_redrive})),
                ok(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N.fifo", "MessageBody": "poison", "MessageGroupId": "g", "MessageDeduplicationId": "d"}),
                    json!({"MessageId": "=uuid>id", "MD5OfMessageBody": "=text", "SequenceNumber": "=sequence>seq"}),
                ),
                ok(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N.fifo", "MessageBody": "next", "MessageGroupId": "g", "MessageDeduplicationId": "e"}),
                    json!({"MessageId": "=uuid", "MD5OfMessageBody": "=text", "SequenceNumber": "=sequence"}),
                ),
                receive(
                    ".fifo",
                    message(
                        plus(&first, json!({"MessageDeduplicationId": "d", "SequenceNumber": "$seq"})),
                        json!({}),
                    ),
                ),
                ok(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N.fifo"}),
                    json!({"Messages": [{"MessageId": "=uuid", "ReceiptHandle": "=handle", "Body": "next", "MD5OfBody": "=text"}]}),
                ),
                receive(
                    "-dead.fifo",
                    message(
                        plus(
                            &moved,
                            json!({
                                "MessageDeduplicationId": "$id", "SequenceNumber": "=sequence", "DeadLetterQueueSourceArn": "$A:$N.fifo",
                            }),
                        ),
                        json!({}),
                    ),
                ),
            ],
        ),
        row(
            "10: without its dead-letter queue a message stays and goes on being delivered",
            vec![
                create("-dead", json!({})),
                create("", json!({"RedrivePolicy": redrive})),
                ok(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N", "MessageBody": "poison", "MessageGroupId": "g"}),
                    json!({"MessageId": "=uuid>id", "MD5OfMessageBody": "=text"}),
                ),
                receive("", message(first.clone(), json!({}))),
                ok("DeleteQueue", json!({"QueueUrl": "$U/$N-dead"}), json!({})),
                receive(
                    "",
                    message(
                        plus(
                            &first,
                            json!({"ApproximateReceiveCount": "2", "SentTimestamp": "$sent", "ApproximateFirstReceiveTimestamp": "$first"}),
                        ),
                        json!({}),
                    ),
                ),
                shown("", "RedrivePolicy", Some(redrive)),
            ],
        ),
    ]);
}
