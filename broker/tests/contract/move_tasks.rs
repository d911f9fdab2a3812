//! Message move tasks (12.21 to 12.23).

use serde_json::{Value, json};

use crate::row::{Step, check, create, ok, pause, refused, row};

const REDRIVE: &str = r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":1}"#;

fn queues() -> Vec<Step> {
    vec![
        create("-dead", json!({})),
        create("", json!({"RedrivePolicy": REDRIVE})),
        create("-other", json!({})),
    ]
}

/// Messages that went from `$N` to `$N-dead`.
fn dead_letters(count: usize) -> Vec<Step> {
    let mut steps = queues();
    for n in 0..count {
        steps.push(ok(
            "SendMessage",
            json!({"QueueUrl": "$U/$N", "MessageBody": n.to_string(), "MessageGroupId": "g"}),
            json!({"MessageId": "=uuid>original", "MD5OfMessageBody": "=text"}),
        ));
        let receive = json!({"QueueUrl": "$U/$N", "VisibilityTimeout": 0});
        steps.push(ok(
            "ReceiveMessage",
            receive.clone(),
            json!({"Messages": [{
                "MessageId": "=uuid", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": n.to_string(),
            }]}),
        ));
        steps.push(ok("ReceiveMessage", receive, json!({})));
    }
    steps
}

fn direct(body: &str) -> Step {
    ok(
        "SendMessage",
        json!({"QueueUrl": "$U/$N-dead", "MessageBody": body}),
        json!({"MessageId": "=uuid>original", "MD5OfMessageBody": "=text"}),
    )
}

fn start(more: Value) -> Step {
    let mut input = json!({"SourceArn": "$A:$N-dead"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ok("StartMessageMoveTask", input, json!({"TaskHandle": "=text>task"}))
}

fn start_refused(input: Value, code: &'static str, text: &str) -> Step {
    refused("StartMessageMoveTask", input, code, text)
}

fn list(more: Value, tasks: Vec<Value>) -> Step {
    let mut input = json!({"SourceArn": "$A:$N-dead"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let golden = if tasks.is_empty() { json!({}) } else { json!({"Results": tasks}) };
    ok("ListMessageMoveTasks", input, golden)
}

fn task(status: &str, moved: u64, to_move: u64, more: Value) -> Value {
    let mut task = json!({
        "Status": status, "SourceArn": "$A:$N-dead", "ApproximateNumberOfMessagesMoved": moved,
        "ApproximateNumberOfMessagesToMove": to_move, "StartedTimestamp": "=number",
    });
    task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    task
}

fn then(first: Vec<Step>, steps: Vec<Step>) -> Vec<Step> {
    first.into_iter().chain(steps).collect()
}

#[test]
fn starting_is_refused() {
    const SOURCE_MISSING: &str = "The resource that you specified for the SourceArn parameter doesn't exist.";
    let format = |name: &str| {
        format!(
            "You must use this format to specify the {name}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
    };
    let rate = "Value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: You must enter a number that's \
                between 1 and 500.";
    let invalid = |input: Value, text: &str| {
        row(
            "12.21: what cannot be started",
            then(queues(), vec![start_refused(input, "InvalidParameterValue", text)]),
        )
    };
    check(&[
        row(
            "12.21: SourceArn is required",
            vec![start_refused(
                json!({}),
                "MissingParameter",
                "The request must contain the parameter SourceArn.",
            )],
        ),
        row(
            "12.21: a source that does not exist",
            vec![start_refused(
                json!({"SourceArn": "$A:$N-none"}),
                "ResourceNotFoundException",
                SOURCE_MISSING,
            )],
        ),
        row(
            "12.21: a destination that does not exist",
            then(
                queues(),
                vec![start_refused(
                    json!({"SourceArn": "$A:$N-dead", "DestinationArn": "$A:$N-none"}),
                    "ResourceNotFoundException",
                    "The resource that you specified for the DestinationArn parameter doesn't exist.",
                )],
            ),
        ),
        invalid(json!({"SourceArn": "$A:$N"}), "Source queue must be configured as a Dead Letter Queue."),
        invalid(json!({"SourceArn": "x"}), &format("SourceArn")),
        invalid(json!({"SourceArn": "$A:$N-dead", "DestinationArn": "x"}), &format("DestinationArn")),
        invalid(json!({"SourceArn": "$A:$N-dead", "MaxNumberOfMessagesPerSecond": 0}), rate),
        invalid(json!({"SourceArn": "$A:$N-dead", "MaxNumberOfMessagesPerSecond": 501}), rate),
        invalid(
            json!({"SourceArn": "$A:$N-dead", "DestinationArn": "$A:$N-dead"}),
            "Source queue arn and destination queue arn cannot be the same.",
        ),
        invalid(
            json!({"SourceArn": "$A:$N-dead", "DestinationArn": "$A:$N.fifo"}),
            "The source queue and destination queue must be of the same queue type.",
        ),
        row(
            "12.22: lists",
            then(
                queues(),
                vec![
                    list(json!({}), vec![]),
                    refused(
                        "ListMessageMoveTasks",
                        json!({"SourceArn": "$A:$N-none"}),
                        "ResourceNotFoundException",
                        SOURCE_MISSING,
                    ),
                    refused(
                        "ListMessageMoveTasks",
                        json!({"SourceArn": "$A:$N-dead", "MaxResults": 11}),
                        "InvalidParameterValue",
                        "Value for parameter MaxResults is invalid. Reason: You must enter a number that's between 1 and 10.",
                    ),
                ],
            ),
        ),
    ]);
}

#[test]
fn cancelling_is_refused() {
    use base64::Engine as _;
    // A handle with an id that no task has; the row cannot encode what it does not know, so the queue is fixed.
    let handle = |arn: &str| {
        let text = format!(r#"{{"taskId":"6a8b3b3c-0d0f-4b6f-9a39-0e0c7d3a5f11","sourceArn":"{arn}"}}"#);
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let unique = format!("cancelled-{}", std::process::id());
    check(&[
        row(
            "12.23: a malformed handle",
            vec![refused(
                "CancelMessageMoveTask",
                json!({"TaskHandle": "garbage"}),
                "InvalidParameterValue",
                "Value for parameter TaskHandle is invalid.",
            )],
        ),
        row(
            "12.23: no handle",
            vec![refused(
                "CancelMessageMoveTask",
                json!({}),
                "MissingParameter",
                "The request must contain the parameter TaskHandle.",
            )],
        ),
        row(
            "12.23: the handle of a queue that does not exist",
            vec![refused(
                "CancelMessageMoveTask",
                json!({"TaskHandle": handle("arn:aws:sqs:us-east-1:000000000000:never-there")}),
                "ResourceNotFoundException",
                "The resource that you specified for the SourceArn parameter doesn't exist.",
            )],
        ),
        row(
            "12.23: a task that does not exist",
            vec![
                ok("CreateQueue", json!({"QueueName": unique}), json!({"QueueUrl": format!("$U/{unique}")})),
                refused(
                    "CancelMessageMoveTask",
                    json!({"TaskHandle": handle(&format!("arn:aws:sqs:us-east-1:000000000000:{unique}"))}),
                    "ResourceNotFoundException",
                    "Task does not exist.",
                ),
            ],
        ),
        row(
            "12.23: a task that has ended",
            then(
                dead_letters(1),
                vec![
                    start(json!({})),
                    pause(600),
                    refused(
                        "CancelMessageMoveTask",
                        json!({"TaskHandle": "$task"}),
                        "AWS.SimpleQueueService.UnsupportedOperation",
                        "Only active tasks can be cancelled.",
                    ),
                ],
            ),
        ),
    ]);
}

#[test]
fn tasks() {
    let redriven = |queue: &str, body: &str| {
        ok(
            "ReceiveMessage",
            json!({"QueueUrl": format!("$U/$N{queue}"), "AttributeNames": ["All"]}),
            json!({"Messages": [{
                "MessageId": "=uuid", "ReceiptHandle": "=handle", "MD5OfBody": "=text", "Body": body,
                "Attributes": {
                    "SenderId": "000000000000", "SentTimestamp": "=number", "ApproximateReceiveCount": "1",
                    "ApproximateFirstReceiveTimestamp": "=number", "MessageGroupId": "g",
                },
            }]}),
        )
    };
    let already = "There is already a task running. Only one active task is allowed for a source queue arn at a given time.";
    check(&[
        row(
            "12.21: back to where they came from, as new messages",
            then(
                dead_letters(1),
                vec![
                    start(json!({})),
                    pause(600),
                    list(json!({"MaxResults": 10}), vec![task("COMPLETED", 1, 1, json!({}))]),
                    redriven("", "0"),
                ],
            ),
        ),
        row(
            "12.21: to a destination, at a rate",
            then(
                dead_letters(1),
                vec![
                    start(json!({"DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 500})),
                    pause(600),
                    list(
                        json!({}),
                        vec![task(
                            "COMPLETED",
                            1,
                            1,
                            json!({
                                "DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 500,
                            }),
                        )],
                    ),
                    redriven("-other", "0"),
                ],
            ),
        ),
        row(
            "12.21: a message that was sent straight to the dead-letter queue has no way back",
            then(
                queues(),
                vec![
                    direct("x"),
                    start(json!({})),
                    pause(600),
                    list(
                        json!({}),
                        vec![task(
                            "FAILED",
                            0,
                            1,
                            json!({"FailureReason": "CouldNotDetermineMessageSource"}),
                        )],
                    ),
                    ok(
                        "GetQueueAttributes",
                        json!({"QueueUrl": "$U/$N-dead", "AttributeNames": ["ApproximateNumberOfMessages"]}),
                        json!({"Attributes": {"ApproximateNumberOfMessages": "1"}}),
                    ),
                ],
            ),
        ),
        row(
            "12.21: a destination deleted while the task runs",
            then(
                queues(),
                vec![
                    direct("x"),
                    direct("y"),
                    direct("z"),
                    start(json!({"DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 1})),
                    pause(300),
                    ok("DeleteQueue", json!({"QueueUrl": "$U/$N-other"}), json!({})),
                    pause(1_300),
                    list(
                        json!({}),
                        vec![task(
                            "FAILED",
                            1,
                            3,
                            json!({
                                "DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 1,
                                "FailureReason": "AWS.SimpleQueueService.NonExistentQueue",
                            }),
                        )],
                    ),
                ],
            ),
        ),
        row(
            "12.21 to 12.23: running, one at a time, cancelled; moved messages stay moved",
            then(
                queues(),
                vec![
                    direct("1"),
                    direct("2"),
                    direct("3"),
                    start(json!({"DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 1})),
                    pause(300),
                    list(
                        json!({}),
                        vec![task(
                            "RUNNING",
                            1,
                            3,
                            json!({
                                "TaskHandle": "$task", "DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 1,
                            }),
                        )],
                    ),
                    start_refused(json!({"SourceArn": "$A:$N-dead"}), "InvalidParameterValue", already),
                    ok(
                        "CancelMessageMoveTask",
                        json!({"TaskHandle": "$task"}),
                        json!({"ApproximateNumberOfMessagesMoved": 1}),
                    ),
                    pause(1_500),
                    list(
                        json!({"MaxResults": 1}),
                        vec![task(
                            "CANCELLED",
                            1,
                            3,
                            json!({
                                "DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 1,
                            }),
                        )],
                    ),
                    start(json!({"DestinationArn": "$A:$N-other"})),
                    pause(600),
                    list(
                        json!({"MaxResults": 2}),
                        vec![
                            task("COMPLETED", 2, 2, json!({"DestinationArn": "$A:$N-other"})),
                            task(
                                "CANCELLED",
                                1,
                                3,
                                json!({"DestinationArn": "$A:$N-other", "MaxNumberOfMessagesPerSecond": 1}),
                            ),
                        ],
                    ),
                    list(json!({}), vec![task("COMPLETED", 2, 2, json!({"DestinationArn": "$A:$N-other"}))]),
                ],
            ),
        ),
    ]);
}
