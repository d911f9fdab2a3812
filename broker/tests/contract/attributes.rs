//! Queue attributes (section 4, 12.8 and 12.9).

use serde_json::{Value, json};

use crate::row::{Row, Step, check, create, ok, refused, row};

fn set(attributes: Value) -> Value {
    json!({"QueueUrl": "$U/$N", "Attributes": attributes})
}

fn get(suffix: &str, names: &[&str], golden: Value) -> Step {
    let golden = if golden == json!({}) { golden } else { json!({"Attributes": golden}) };
    ok("GetQueueAttributes", json!({"QueueUrl": format!("$U/$N{suffix}"), "AttributeNames": names}), golden)
}

fn create_refused(attributes: Value, code: &'static str, text: &str) -> Step {
    refused("CreateQueue", json!({"QueueName": "$N", "Attributes": attributes}), code, text)
}

#[test]
fn what_a_new_queue_has() {
    let standard = json!({
        "ApproximateNumberOfMessages": "0",
        "ApproximateNumberOfMessagesDelayed": "0",
        "ApproximateNumberOfMessagesNotVisible": "0",
        "CreatedTimestamp": "=number",
        "DelaySeconds": "0",
        "LastModifiedTimestamp": "=number",
        "MaximumMessageSize": "1048576",
        "MessageRetentionPeriod": "345600",
        "QueueArn": "$A:$N",
        "ReceiveMessageWaitTimeSeconds": "0",
        "SqsManagedSseEnabled": "true",
        "VisibilityTimeout": "30",
    });
    let mut fifo = standard.clone();
    fifo["QueueArn"] = json!("$A:$N.fifo");
    fifo["ContentBasedDeduplication"] = json!("false");
    fifo["DeduplicationScope"] = json!("queue");
    fifo["FifoQueue"] = json!("true");
    fifo["FifoThroughputLimit"] = json!("perQueue");
    check(&[
        row("4: All of a standard queue", vec![create("", json!({})), get("", &["All"], standard)]),
        row(
            "4: All of a FIFO queue",
            vec![create(".fifo", json!({"FifoQueue": "true"})), get(".fifo", &["All"], fifo)],
        ),
        row("4: no names, no attributes", vec![create("", json!({})), get("", &[], json!({}))]),
        row(
            "4: valid and unset is left out",
            vec![
                create("", json!({})),
                get(
                    "",
                    &[
                        "Policy",
                        "RedrivePolicy",
                        "KmsMasterKeyId",
                        "FifoQueue",
                        "KmsDataKeyReusePeriodSeconds",
                    ],
                    json!({}),
                ),
                get("", &["Policy", "DelaySeconds"], json!({"DelaySeconds": "0"})),
            ],
        ),
        row(
            "12.8: an unknown name",
            vec![
                create("", json!({})),
                refused(
                    "GetQueueAttributes",
                    json!({"QueueUrl": "$U/$N", "AttributeNames": ["All", "Foobar"]}),
                    "InvalidAttributeName",
                    "Unknown Attribute Foobar.",
                ),
            ],
        ),
        row(
            "12.9: Attributes is required",
            vec![
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    json!({"QueueUrl": "$U/$N"}),
                    "MissingParameter",
                    "The request must contain the parameter Attributes.",
                ),
            ],
        ),
    ]);
}

/// Both ends are taken and returned in canonical form; one beyond either, and what is no number, is refused, at
/// creation and later.
#[test]
fn ranges() {
    let rows: Vec<Row> = [
        ("DelaySeconds", 0, 900),
        ("MaximumMessageSize", 1024, 1_048_576),
        ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("VisibilityTimeout", 0, 43_200),
    ]
    .into_iter()
    .map(|(name, low, high)| {
        let text = format!("Invalid value for the parameter {name}.");
        let mut steps = vec![create("", json!({}))];
        for good in [low, high] {
            steps.push(ok("SetQueueAttributes", set(json!({name: format!("0{good}")})), json!({})));
            steps.push(get("", &[name], json!({name: good.to_string()})));
        }
        for bad in [(low - 1).to_string(), (high + 1).to_string(), "x".into(), "1.5".into(), String::new()] {
            steps.push(refused(
                "SetQueueAttributes",
                set(json!({name: bad})),
                "InvalidAttributeValue",
                &text,
            ));
            let input = json!({"QueueName": "$N-new", "Attributes": {name: bad}});
            steps.push(refused("CreateQueue", input, "InvalidAttributeValue", &text));
        }
        steps.push(get("", &[name], json!({name: high.to_string()})));
        row("4: ranges", steps)
    })
    .collect();
    check(&rows);
}

#[test]
fn names_and_kinds() {
    let unknown = |name: &str| format!("Unknown Attribute {name}.");
    let fifo_only = |name: &str| format!("You can specify the {name} only when FifoQueue is set to true.");
    let on_standard = |attributes: Value, text: &str| {
        row(
            "4: FIFO attributes on a standard queue",
            vec![
                create_refused(attributes.clone(), "InvalidAttributeName", text),
                create("", json!({})),
                refused("SetQueueAttributes", set(attributes), "InvalidAttributeName", text),
            ],
        )
    };
    let set_fifo = |attributes: Value| json!({"QueueUrl": "$U/$N.fifo", "Attributes": attributes});
    check(&[
        row(
            "4: an unknown name in Set and Create",
            vec![
                create_refused(json!({"Foobar": "1"}), "InvalidAttributeName", &unknown("Foobar")),
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    set(json!({"Foobar": "1"})),
                    "InvalidAttributeName",
                    &unknown("Foobar"),
                ),
            ],
        ),
        row(
            "4: a read-only name in Set",
            vec![
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    set(json!({"QueueArn": "x"})),
                    "InvalidAttributeName",
                    &unknown("QueueArn"),
                ),
                refused(
                    "SetQueueAttributes",
                    set(json!({"ApproximateNumberOfMessages": "1"})),
                    "InvalidAttributeName",
                    &unknown("ApproximateNumberOfMessages"),
                ),
            ],
        ),
        on_standard(json!({"FifoQueue": "false"}), &unknown("FifoQueue")),
        on_standard(json!({"ContentBasedDeduplication": "true"}), &unknown("ContentBasedDeduplication")),
        on_standard(json!({"DeduplicationScope": "queue"}), &fifo_only("DeduplicationScope")),
        on_standard(json!({"FifoThroughputLimit": "perQueue"}), &fifo_only("FifoThroughputLimit")),
        row(
            "4: a standard queue does not become FIFO",
            vec![
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    set(json!({"FifoQueue": "true"})),
                    "InvalidAttributeName",
                    &unknown("FifoQueue"),
                ),
            ],
        ),
        row(
            "4: a FIFO queue stays FIFO",
            vec![
                create(".fifo", json!({"FifoQueue": "true"})),
                refused(
                    "SetQueueAttributes",
                    set_fifo(json!({"FifoQueue": "false"})),
                    "InvalidAttributeValue",
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.",
                ),
                ok("SetQueueAttributes", set_fifo(json!({"FifoQueue": "true"})), json!({})),
            ],
        ),
        row(
            "4: booleans in any case, lower case out",
            vec![
                create(".fifo", json!({"FifoQueue": "TRUE", "ContentBasedDeduplication": "True"})),
                get(
                    ".fifo",
                    &["FifoQueue", "ContentBasedDeduplication"],
                    json!({
                        "FifoQueue": "true", "ContentBasedDeduplication": "true",
                    }),
                ),
                refused(
                    "SetQueueAttributes",
                    set_fifo(json!({"ContentBasedDeduplication": "yes"})),
                    "InvalidAttributeValue",
                    "Invalid value for the parameter ContentBasedDeduplication.",
                ),
            ],
        ),
        row(
            "4: high throughput needs the group scope",
            vec![
                create(".fifo", json!({"FifoQueue": "true"})),
                refused(
                    "SetQueueAttributes",
                    set_fifo(json!({"FifoThroughputLimit": "perMessageGroupId"})),
                    "InvalidAttributeValue",
                    "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup",
                ),
                ok(
                    "SetQueueAttributes",
                    set_fifo(
                        json!({"FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"}),
                    ),
                    json!({}),
                ),
                get(
                    ".fifo",
                    &["FifoThroughputLimit", "DeduplicationScope"],
                    json!({
                        "FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup",
                    }),
                ),
                refused(
                    "SetQueueAttributes",
                    set_fifo(json!({"DeduplicationScope": "group"})),
                    "InvalidAttributeValue",
                    "Invalid value for the parameter DeduplicationScope.",
                ),
            ],
        ),
        row(
            "4: one kind of encryption at a time",
            vec![create_refused(
                json!({"KmsMasterKeyId": "alias/aws/sqs", "SqsManagedSseEnabled": "true"}),
                "InvalidAttributeName",
                "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.",
            )],
        ),
        row(
            "4: the reuse period is shown while SSE-KMS is on",
            vec![
                create("", json!({"KmsMasterKeyId": "alias/aws/sqs"})),
                get(
                    "",
                    &["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"],
                    json!({
                        "KmsMasterKeyId": "alias/aws/sqs",
                        "KmsDataKeyReusePeriodSeconds": "300",
                        "SqsManagedSseEnabled": "false",
                    }),
                ),
                refused(
                    "SetQueueAttributes",
                    set(json!({"KmsDataKeyReusePeriodSeconds": "59"})),
                    "InvalidAttributeValue",
                    "Invalid value for the parameter KmsDataKeyReusePeriodSeconds.",
                ),
                ok("SetQueueAttributes", set(json!({"KmsMasterKeyId": ""})), json!({})),
                get(
                    "",
                    &["KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled"],
                    json!({
                        "SqsManagedSseEnabled": "false",
                    }),
                ),
            ],
        ),
        row(
            "4: a Set call is all or nothing",
            vec![
                create("", json!({})),
                refused(
                    "SetQueueAttributes",
                    set(json!({"DelaySeconds": "7", "VisibilityTimeout": "43201"})),
                    "InvalidAttributeValue",
                    "Invalid value for the parameter VisibilityTimeout.",
                ),
                get("", &["DelaySeconds"], json!({"DelaySeconds": "0"})),
            ],
        ),
    ]);
}

#[test]
fn policies() {
    let statement = r#"{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"$A:$N"}"#;
    let policy = |statement: &str| format!(r#"{{ "Version":"2012-10-17","Statement":[{statement}] }}"#);
    let refusal = |policy: String, code: &'static str, text: &str| {
        row(
            "12.9: policies that are refused",
            vec![
                create("", json!({})),
                refused("SetQueueAttributes", set(json!({"Policy": policy})), code, text),
                get("", &["Policy"], json!({})),
            ],
        )
    };
    let invalid =
        |text: String| refusal(text, "InvalidAttributeValue", "Invalid value for the parameter Policy.");
    let repeated = |count: usize| vec![statement; count].join(",");
    let listed = |what: &str, count: usize| {
        let values: Vec<String> =
            (0..count).map(|n| format!("\"{}\"", what.replace('#', &format!("{n:012}")))).collect();
        format!("[{}]", values.join(","))
    };
    let actions = |count| statement.replace("\"sqs:SendMessage\"", &listed("sqs:Send#", count));
    let principals = |count| statement.replace("\"*\"", &format!(r#"{{"AWS":{}}}"#, listed("#", count)));
    let conditions = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!(r#""aws:PrincipalTag/k{n}":"v""#)).collect();
        statement.replace(
            "\"Resource\"",
            &format!(r#""Condition":{{"StringEquals":{{{}}}}},"Resource""#, keys.join(",")),
        )
    };
    let kept = |text: String| {
        row(
            "12.9: the text is returned as sent, and \"\" removes it",
            vec![
                create("", json!({"Policy": text})),
                get("", &["Policy"], json!({"Policy": text})),
                ok("SetQueueAttributes", set(json!({"Policy": ""})), json!({})),
                get("", &["Policy"], json!({})),
            ],
        )
    };
    check(&[
        kept(policy(statement)),
        kept(policy(&repeated(20))),
        kept(policy(&actions(7))),
        kept(policy(&principals(50))),
        kept(policy(&conditions(10))),
        invalid("{".into()),
        invalid("[]".into()),
        invalid(r#"{"Version":"2012-10-17"}"#.into()),
        invalid(policy(&statement.replace("Allow", "Perhaps"))),
        invalid(policy(
            &statement.replace("\"*\"", r#"{"AWS":"arn:aws:iam::000000000000:user/nobody-knows"}"#),
        )),
        invalid(policy(statement).replace(" }", &format!("{}}}", " ".repeat(8192)))),
        refusal(
            policy(&repeated(22)),
            "OverLimit",
            "22 statements were found in the submitted policy, max allowed is 20",
        ),
        refusal(policy(&actions(8)), "OverLimit", "8 Actions were found, maximum allowed is 7."),
        refusal(policy(&principals(51)), "OverLimit", "51 Principals were found, maximum allowed is 50."),
        refusal(policy(&conditions(11)), "OverLimit", "11 Conditions were found, maximum allowed is 10."),
    ]);
}
