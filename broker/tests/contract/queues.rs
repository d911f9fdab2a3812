//! Queue names, URLs, creation, lists, deletion, tags (sections 1.3, 2, 11 and 12.3 to 12.7, 12.18 to 12.20).

use serde_json::{Value, json};

use crate::row::{Encoding, check, create, no_such_queue, ok, pause, refused, row, row_in};

const STANDARD_TEXT: &str =
    "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
const FIFO_TEXT: &str = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
    must end with .fifo suffix and be 1 to 80 in length";

fn url(suffix: &str) -> Value {
    json!({"QueueUrl": format!("$U/$N{suffix}")})
}

#[test]
fn queue_names() {
    let bad = |name: &str, attributes: Value, text: &str| {
        let input = json!({"QueueName": name, "Attributes": attributes});
        refused("CreateQueue", input, "InvalidParameterValue", text)
    };
    let fifo = || json!({"FifoQueue": "true"});
    let long = "n".repeat(81);
    let long_fifo = format!("{}.fifo", "n".repeat(76));
    check(&[
        row(
            "2: a name with another character",
            vec![
                bad("a.b", json!({}), STANDARD_TEXT),
                bad("ä", json!({}), STANDARD_TEXT),
                bad("a b", json!({}), STANDARD_TEXT),
            ],
        ),
        row("2: a name of 81 characters", vec![bad(&long, json!({}), STANDARD_TEXT)]),
        row("2: a FIFO queue without its suffix", vec![bad("$N", fifo(), FIFO_TEXT)]),
        row("2: a FIFO name of 81 characters, suffix counted", vec![bad(&long_fifo, fifo(), FIFO_TEXT)]),
        row("2: the suffix alone", vec![bad(".fifo", fifo(), FIFO_TEXT)]),
        row("2: a suffix without FifoQueue", vec![bad("$N.fifo", json!({}), STANDARD_TEXT)]),
        row("2: an empty name", vec![bad("", json!({}), "Queue name cannot be empty")]),
        row(
            "2: no name",
            vec![refused(
                "CreateQueue",
                json!({}),
                "MissingParameter",
                "The request must contain the parameter QueueName.",
            )],
        ),
        row(
            "2: case counts",
            vec![
                create("-x", json!({})),
                create("-X", json!({"DelaySeconds": "1"})),
                ok("GetQueueUrl", json!({"QueueName": "$N-x"}), url("-x")),
            ],
        ),
    ]);
}

#[test]
fn queue_urls() {
    let attributes = |url: &str| json!({"QueueUrl": url, "AttributeNames": ["QueueArn"]});
    let arn = || json!({"Attributes": {"QueueArn": "$A:$N"}});
    let resolves = |url: &str| {
        row(
            "1.3: every style of URL resolves",
            vec![create("", json!({})), ok("GetQueueAttributes", attributes(url), arn())],
        )
    };
    let missing = |url: &str| {
        row("1.3: no queue of that name", vec![no_such_queue("PurgeQueue", json!({"QueueUrl": url}))])
    };
    check(&[
        resolves("$U/$N"),
        resolves("https://us-east-1.queue.amazonaws.com/000000000000/$N"),
        resolves("https://queue.amazonaws.com/000000000000/$N"),
        resolves("http://127.0.0.1:4566/000000000000/$N"),
        resolves("$N"),
        missing("$U/$N"),
        missing("$N"),
        missing(""),
        missing("https://host"),
        missing("not a url"),
        missing("https://sqs.us-east-1.example.com/111111111111/$N"),
        row(
            "12: a malformed account",
            vec![refused(
                "PurgeQueue",
                json!({"QueueUrl": "https://host/1234/$N"}),
                "InvalidAddress",
                "The address https://host/1234/$N is not valid for this endpoint.",
            )],
        ),
        row_in(
            Encoding::Json,
            "1.2: no queue at all",
            vec![refused(
                "PurgeQueue",
                json!({}),
                "MissingParameter",
                "The request must contain the parameter QueueUrl.",
            )],
        ),
    ]);
}

#[test]
fn creating_again() {
    let again =
        |attributes: Value| ok("CreateQueue", json!({"QueueName": "$N", "Attributes": attributes}), url(""));
    let differs = |attributes: Value, name: &str| {
        let text =
            format!("A queue already exists with the same name and a different value for attribute {name}");
        refused(
            "CreateQueue",
            json!({"QueueName": "$N", "Attributes": attributes}),
            "QueueAlreadyExists",
            &text,
        )
    };
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"$A:$N"}]}"#;
    let same_policy = r#"{ "Statement": [{"Resource":"$A:$N","Action":"sqs:SendMessage","Principal":"*","Effect":"Allow"}], "Version":"2012-10-17" }"#;
    check(&[
        row(
            "12.3: no attributes is always fine",
            vec![create("", json!({"DelaySeconds": "5"})), again(json!({}))],
        ),
        row(
            "12.3: equal values, normalised",
            vec![
                create("", json!({"DelaySeconds": "30", "SqsManagedSseEnabled": "true"})),
                again(json!({"DelaySeconds": "030", "SqsManagedSseEnabled": "True"})),
            ],
        ),
        row(
            "12.3: the default counts as the value",
            vec![
                create("", json!({})),
                again(json!({"VisibilityTimeout": "30", "MaximumMessageSize": "1048576"})),
                differs(json!({"MaximumMessageSize": "262144"}), "MaximumMessageSize"),
            ],
        ),
        row(
            "12.3: a value set later counts",
            vec![
                create("", json!({"DelaySeconds": "5"})),
                ok(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N", "Attributes": {"DelaySeconds": "6"}}),
                    json!({}),
                ),
                again(json!({"DelaySeconds": "6"})),
                differs(json!({"DelaySeconds": "5"}), "DelaySeconds"),
            ],
        ),
        row(
            "12.3: policies are compared as JSON",
            vec![
                create("", json!({"Policy": policy})),
                again(json!({"Policy": same_policy})),
                differs(json!({"Policy": policy.replace("Send", "Receive")}), "Policy"),
            ],
        ),
        row(
            "12.3: redrive policies too",
            vec![
                create("-dead", json!({})),
                create(
                    "",
                    json!({"RedrivePolicy": r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":"3"}"#}),
                ),
                again(
                    json!({"RedrivePolicy": r#"{ "maxReceiveCount":3, "deadLetterTargetArn":"$A:$N-dead"}"#}),
                ),
                differs(
                    json!({"RedrivePolicy": r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":4}"#}),
                    "RedrivePolicy",
                ),
            ],
        ),
        row(
            "12.3: tags are not compared",
            vec![
                ok("CreateQueue", json!({"QueueName": "$N", "tags": {"a": "1"}}), url("")),
                ok("CreateQueue", json!({"QueueName": "$N", "tags": {"a": "2"}}), url("")),
                ok("ListQueueTags", url(""), json!({"Tags": {"a": "1"}})),
            ],
        ),
        row(
            "4: read-only attributes are ignored at creation",
            vec![create(
                "",
                json!({"QueueArn": "x", "CreatedTimestamp": "1", "ApproximateNumberOfMessages": "9"}),
            )],
        ),
        row(
            "12.3: a new queue is usable at once",
            vec![
                create("", json!({})),
                ok(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N", "MessageBody": "message"}),
                    json!({"MessageId": "=uuid", "MD5OfMessageBody": "78e731027d8fd50ed642340b7c9a63b3"}),
                ),
            ],
        ),
    ]);
}

#[test]
fn finding_and_listing() {
    let three = || vec![create("-c", json!({})), create("-a", json!({})), create("-b", json!({}))];
    let list = |input: Value, golden: Value| ok("ListQueues", input, golden);
    let with = |steps: Vec<crate::row::Step>| three().into_iter().chain(steps).collect::<Vec<_>>();
    let bad_max = "Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000.";
    let source = |suffix: &str| {
        create(
            suffix,
            json!({"RedrivePolicy": r#"{"deadLetterTargetArn":"$A:$N-dead","maxReceiveCount":3}"#}),
        )
    };
    check(&[
        row(
            "12.5: GetQueueUrl",
            vec![
                create("", json!({})),
                ok("GetQueueUrl", json!({"QueueName": "$N"}), url("")),
                ok(
                    "GetQueueUrl",
                    json!({"QueueName": "$N", "QueueOwnerAWSAccountId": "000000000000"}),
                    url(""),
                ),
            ],
        ),
        row(
            "12.5: of a queue that is not there",
            vec![
                no_such_queue("GetQueueUrl", json!({"QueueName": "$N"})),
                no_such_queue("GetQueueUrl", json!({"QueueName": "not a name"})),
                no_such_queue(
                    "GetQueueUrl",
                    json!({"QueueName": "$N", "QueueOwnerAWSAccountId": "222222222222"}),
                ),
                refused(
                    "GetQueueUrl",
                    json!({"QueueName": "$N", "QueueOwnerAWSAccountId": "12"}),
                    "InvalidAddress",
                    "The address 12 is not valid for this endpoint.",
                ),
            ],
        ),
        row(
            "12.6: sorted, by prefix, no token without MaxResults",
            with(vec![
                list(
                    json!({"QueueNamePrefix": "$N"}),
                    json!({"QueueUrls": ["$U/$N-a", "$U/$N-b", "$U/$N-c"]}),
                ),
                list(json!({"QueueNamePrefix": "$N-b"}), json!({"QueueUrls": ["$U/$N-b"]})),
            ]),
        ),
        row("12.6: nothing found, no key", vec![list(json!({"QueueNamePrefix": "$N-none"}), json!({}))]),
        row(
            "12.6: pages",
            with(vec![
                list(
                    json!({"QueueNamePrefix": "$N", "MaxResults": 2}),
                    json!({"QueueUrls": ["$U/$N-a", "$U/$N-b"], "NextToken": "=text>token"}),
                ),
                list(
                    json!({"QueueNamePrefix": "$N", "MaxResults": 2, "NextToken": "$token"}),
                    json!({"QueueUrls": ["$U/$N-c"]}),
                ),
                refused(
                    "ListQueues",
                    json!({"QueueNamePrefix": "$N-other", "MaxResults": 2, "NextToken": "$token"}),
                    "InvalidParameterValue",
                    "Invalid NextToken value. If you are passing in NextToken, you must not change the other request \
                 parameters.",
                ),
            ]),
        ),
        row(
            "12.6: a page that ends with the list has no token",
            with(vec![list(
                json!({"QueueNamePrefix": "$N", "MaxResults": 3}),
                json!({"QueueUrls": ["$U/$N-a", "$U/$N-b", "$U/$N-c"]}),
            )]),
        ),
        row(
            "12.6: MaxResults out of range",
            vec![
                refused("ListQueues", json!({"MaxResults": 0}), "InvalidParameterValue", bad_max),
                refused("ListQueues", json!({"MaxResults": 1001}), "InvalidParameterValue", bad_max),
                refused("ListQueues", json!({"MaxResults": -1}), "InvalidParameterValue", bad_max),
            ],
        ),
        row(
            "12.6: a bad token",
            vec![refused(
                "ListQueues",
                json!({"MaxResults": 1, "NextToken": "?"}),
                "InvalidParameterValue",
                "Invalid or expired next token.",
            )],
        ),
        row(
            "12.7: sources of a dead-letter queue",
            vec![
                create("-dead", json!({})),
                ok("ListDeadLetterSourceQueues", url("-dead"), json!({"queueUrls": []})),
                source("-b"),
                source("-a"),
                ok("ListDeadLetterSourceQueues", url("-dead"), json!({"queueUrls": ["$U/$N-a", "$U/$N-b"]})),
                ok(
                    "ListDeadLetterSourceQueues",
                    json!({"QueueUrl": "$U/$N-dead", "MaxResults": 1}),
                    json!({"queueUrls": ["$U/$N-a"], "NextToken": "=text>token"}),
                ),
                ok(
                    "ListDeadLetterSourceQueues",
                    json!({"QueueUrl": "$U/$N-dead", "MaxResults": 1, "NextToken": "$token"}),
                    json!({"queueUrls": ["$U/$N-b"]}),
                ),
                refused(
                    "ListDeadLetterSourceQueues",
                    json!({"QueueUrl": "$U/$N-dead", "MaxResults": 1001}),
                    "InvalidParameterValue",
                    bad_max,
                ),
            ],
        ),
    ]);
}

#[test]
fn deleting_and_purging() {
    let send = |body: &str| {
        ok(
            "SendMessage",
            json!({"QueueUrl": "$U/$N", "MessageBody": body}),
            json!({"MessageId": "=uuid", "MD5OfMessageBody": "=text"}),
        )
    };
    let count = |number: &str| {
        ok(
            "GetQueueAttributes",
            json!({"QueueUrl": "$U/$N", "AttributeNames": ["ApproximateNumberOfMessages"]}),
            json!({"Attributes": {"ApproximateNumberOfMessages": number}}),
        )
    };
    check(&[
        row(
            "12.4 and 11: a name waits a minute",
            vec![
                create("", json!({})),
                send("x"),
                ok("DeleteQueue", url(""), json!({})),
                no_such_queue("DeleteQueue", url("")),
                no_such_queue("GetQueueUrl", json!({"QueueName": "$N"})),
                refused(
                    "CreateQueue",
                    json!({"QueueName": "$N"}),
                    "AWS.SimpleQueueService.QueueDeletedRecently",
                    "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
                ),
            ],
        ),
        row(
            "12.10 and 11: a purge, and another within the minute",
            vec![
                create("", json!({})),
                send("x"),
                send("y"),
                count("2"),
                ok("PurgeQueue", url(""), json!({})),
                count("0"),
                refused(
                    "PurgeQueue",
                    url(""),
                    "AWS.SimpleQueueService.PurgeQueueInProgress",
                    "Only one PurgeQueue operation on $N is allowed every 60 seconds.",
                ),
                send("z"),
                count("1"),
            ],
        ),
        row(
            "12.10: handles of purged messages are those of deleted ones",
            vec![
                create("", json!({})),
                send("x"),
                ok(
                    "ReceiveMessage",
                    url(""),
                    json!({"Messages": [
                        {"MessageId": "=uuid", "ReceiptHandle": "=handle>h", "MD5OfBody": "=text", "Body": "x"}
                    ]}),
                ),
                ok("PurgeQueue", url(""), json!({})),
                ok("DeleteMessage", json!({"QueueUrl": "$U/$N", "ReceiptHandle": "$h"}), json!({})),
                refused(
                    "ChangeMessageVisibility",
                    json!({"QueueUrl": "$U/$N", "ReceiptHandle": "$h", "VisibilityTimeout": 1}),
                    "InvalidParameterValue",
                    "Value $h for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available \
                 for visibility timeout change.",
                ),
            ],
        ),
        row(
            "12.10: delayed and in-flight messages go too",
            vec![
                create("", json!({})),
                ok(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N", "MessageBody": "x", "DelaySeconds": 1}),
                    json!({"MessageId": "=uuid", "MD5OfMessageBody": "=text"}),
                ),
                ok("PurgeQueue", url(""), json!({})),
                pause(1_200),
                count("0"),
                ok("ReceiveMessage", url(""), json!({})),
            ],
        ),
    ]);
}

#[test]
fn tags() {
    let tag = |tags: Value| json!({"QueueUrl": "$U/$N", "Tags": tags});
    let refusal = |tags: Value, text: &str| {
        row(
            "12.19: tags have their limits",
            vec![
                create("", json!({})),
                refused("TagQueue", tag(tags), "InvalidParameterValue", text),
                ok("ListQueueTags", url(""), json!({})),
            ],
        )
    };
    let many: Value =
        (0..51).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    check(&[
        row("12.18: none, no key", vec![create("", json!({})), ok("ListQueueTags", url(""), json!({}))]),
        row(
            "12.19: added, overwritten, case-sensitive",
            vec![
                create("", json!({})),
                ok("TagQueue", tag(json!({"a": "1", "A": "2", "empty": ""})), json!({})),
                ok("TagQueue", tag(json!({"a": "3 _.:/=+-@é"})), json!({})),
                ok("ListQueueTags", url(""), json!({"Tags": {"a": "3 _.:/=+-@é", "A": "2", "empty": ""}})),
            ],
        ),
        row(
            "12.20: removed, an absent key too",
            vec![
                ok("CreateQueue", json!({"QueueName": "$N", "tags": {"a": "1", "b": "2"}}), url("")),
                ok("UntagQueue", json!({"QueueUrl": "$U/$N", "TagKeys": ["a", "none"]}), json!({})),
                ok("ListQueueTags", url(""), json!({"Tags": {"b": "2"}})),
            ],
        ),
        row(
            "12.19: no tags",
            vec![
                create("", json!({})),
                refused(
                    "TagQueue",
                    tag(json!({})),
                    "MissingParameter",
                    "The request must contain the parameter Tags.",
                ),
            ],
        ),
        row(
            "12.20: no keys",
            vec![
                create("", json!({})),
                refused(
                    "UntagQueue",
                    json!({"QueueUrl": "$U/$N", "TagKeys": []}),
                    "MissingParameter",
                    "The request must contain the parameter TagKeys.",
                ),
            ],
        ),
        refusal(json!({"k".repeat(129): "v"}), "Tag keys must be between 1 and 128 characters in length."),
        refusal(
            json!({"a!": "v"}),
            "Tag keys may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @",
        ),
        refusal(json!({"k": "v".repeat(257)}), "Tag values must be between 0 and 256 characters in length."),
        refusal(json!({"aws:x": "v"}), "Tag keys beginning with aws: are reserved for internal use."),
        refusal(many, "Too many tags added for queue $N."),
        row(
            "12.19: at the limits",
            vec![
                create("", json!({})),
                ok("TagQueue", tag(json!({"k".repeat(128): "v".repeat(256)})), json!({})),
            ],
        ),
    ]);
}
