//! Message attributes (section 5) and which of them a receive returns (6.6).

use serde_json::{Value, json};

use crate::row::{Row, Step, check, create, ok, refused, row};

fn send(attributes: Value) -> Value {
    json!({"QueueUrl": "$U/$N", "MessageBody": "message", "MessageAttributes": attributes})
}

fn sent(digest: &str) -> Value {
    json!({
        "MessageId": "=uuid", "MD5OfMessageBody": "78e731027d8fd50ed642340b7c9a63b3", "MD5OfMessageAttributes": digest,
    })
}

fn text(value: &str) -> Value {
    json!({"DataType": "String", "StringValue": value})
}

#[test]
fn refusals() {
    let refusal = |attributes: Value, text: &str| {
        row(
            "5.1: message attributes that are refused",
            vec![
                create("", json!({})),
                refused("SendMessage", send(attributes), "InvalidParameterValue", text),
            ],
        )
    };
    let one = |value: Value| json!({"X": value});
    let named = |name: &str| json!({name: text("v")});
    let many: Value =
        (0..11).map(|n| (format!("k{n:02}"), text("v"))).collect::<serde_json::Map<_, _>>().into();
    let number = |value: &str| json!({"Age": {"DataType": "Number", "StringValue": value}});
    let reserved = "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved \
                    for internal use.";
    let prefixes = "The type of message (user) attribute 'X' is invalid. You must use only the following supported type \
                    prefixes: Binary, Number, String.";
    let no_number = "Can't cast the value of message (user) attribute 'Age' to a number.";
    let mut rows: Vec<Row> = vec![
        refusal(
            one(text("")),
            "Message (user) attribute 'X' must contain a non-empty value of type 'String'.",
        ),
        refusal(many, "Number of message attributes [11] exceeds the allowed maximum [10]."),
        refusal(named(""), "The request must contain non-empty message (user) attribute names."),
        refusal(named(&"n".repeat(257)), "Message (user) attribute name must be shorter than 256 bytes."),
        refusal(named(".a"), "Message (user) attribute name must not begin with character '.'."),
        refusal(named("a."), "Message (user) attribute name must not end with character '.'."),
        refusal(named("a..b"), "Message (user) attribute name must not have successive '.' characters."),
        refusal(
            one(json!({"StringValue": "v"})),
            "The message (user) attribute 'X' must contain a non-empty message attribute type.",
        ),
        refusal(
            one(json!({"DataType": "String"})),
            "The message (user) attribute 'X' must contain a non-empty message attribute value.",
        ),
        refusal(one(json!({"DataType": "Float", "StringValue": "1"})), prefixes),
        refusal(one(json!({"DataType": "string", "StringValue": "1"})), prefixes),
        refusal(
            one(json!({"DataType": format!("String.{}", "x".repeat(250)), "StringValue": "v"})),
            "Message (user) attribute type must be shorter than 256 bytes.",
        ),
        refusal(
            one(json!({"DataType": "String", "StringValue": "v", "BinaryValue": "AA=="})),
            "Message (user) attribute 'X' must have a single value.",
        ),
        refusal(
            one(json!({"DataType": "Binary", "StringValue": "v"})),
            "The message (user) attribute 'X' with type 'Binary' must use field 'Binary'.",
        ),
        refusal(
            one(json!({"DataType": "String", "BinaryValue": "AA=="})),
            "The message (user) attribute 'X' with type 'String' must use field 'String'.",
        ),
        refusal(one(text("a\u{1}b")), "Message (user) attribute 'X' contains invalid characters."),
        row(
            "5.1: system attributes have one name",
            vec![
                create("", json!({})),
                refused(
                    "SendMessage",
                    json!({"QueueUrl": "$U/$N", "MessageBody": "b", "MessageSystemAttributes": {"X": text("v")}}),
                    "InvalidParameterValue",
                    "Message system attribute name 'X' is invalid.",
                ),
            ],
        ),
        row(
            "5.1: list values",
            vec![
                create("", json!({})),
                refused(
                    "SendMessage",
                    send(one(json!({"DataType": "String", "StringListValues": ["v"]}))),
                    "AWS.SimpleQueueService.UnsupportedOperation",
                    "Message attribute list values in SendMessage operation are not supported.",
                ),
            ],
        ),
    ];
    rows.extend(["AWS.x", "aws.x", "Amazon.x", "AMAZON.x"].map(|name| refusal(named(name), reserved)));
    let too_long = "1".repeat(39);
    rows.extend(["old", "", "1e127", "1e-129", &too_long].map(|value| {
        if value.is_empty() {
            refusal(
                number(""),
                "Message (user) attribute 'Age' must contain a non-empty value of type 'Number'.",
            )
        } else {
            refusal(number(value), no_number)
        }
    }));
    check(&rows);
}

#[test]
fn digests_and_what_is_kept() {
    let vector = |attributes: Value, digest: &str| {
        let stored = json!({"Messages": [{
            "MessageId": "=uuid", "ReceiptHandle": "=handle", "Body": "message",
            "MD5OfBody": "78e731027d8fd50ed642340b7c9a63b3", "MD5OfMessageAttributes": digest,
            "MessageAttributes": attributes,
        }]});
        row(
            "5.2: digests",
            vec![
                create("", json!({})),
                ok("SendMessage", send(attributes), sent(digest)),
                ok("ReceiveMessage", json!({"QueueUrl": "$U/$N", "MessageAttributeNames": ["All"]}), stored),
            ],
        )
    };
    let accepted = |attributes: Value| {
        row(
            "5.1: at the limits",
            vec![create("", json!({})), ok("SendMessage", send(attributes), sent("=text"))],
        )
    };
    let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    let ten: Value = (0..10).map(|n| (format!("k{n}"), text("v"))).collect::<serde_json::Map<_, _>>().into();
    check(&[
        vector(json!({"k": text("x")}), "a45daa70926828a2f0a1db3418e6feb4"),
        vector(
            json!({"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}}),
            "235c5c510d26fb653d073faed50ae77c",
        ),
        vector(json!({"MyAttribute": text("foobar")}), "adb59cd4678ea5a855436b949cd07ab6"),
        vector(
            json!({"Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi")}),
            "4c360f3fdafd970e05fae2f149d997f5",
        ),
        vector(
            json!({
                "b": text("2"), "a": {"DataType": "Binary", "BinaryValue": "AAE="},
                "C": {"DataType": "Number.int", "StringValue": "42"},
            }),
            "7bc7c8bd65cf98df5791b7c7bdf74e6e",
        ),
        accepted(ten),
        accepted(json!({"n".repeat(256): text("v")})),
        accepted(
            json!({"naïve_Ж-1.x": {"DataType": "String.custom-type_1", "StringValue": "\u{1F600}\r\n"}}),
        ),
        accepted(
            json!({"n": {"DataType": "Number", "StringValue": "-0.0012345678901234567890123456789012345678e10"}}),
        ),
        accepted(
            json!({"n": {"DataType": "Number", "StringValue": "9.9e126"}, "m": {"DataType": "Number", "StringValue": "1e-128"}}),
        ),
        row(
            "5.2: the system digest is apart",
            vec![
                create("", json!({})),
                ok(
                    "SendMessage",
                    json!({
                        "QueueUrl": "$U/$N", "MessageBody": "message",
                        "MessageSystemAttributes": {"AWSTraceHeader": text(trace)},
                    }),
                    json!({
                        "MessageId": "=uuid", "MD5OfMessageBody": "78e731027d8fd50ed642340b7c9a63b3",
                        "MD5OfMessageSystemAttributes": "5ae4d5d7636402d80f4eb6d213245a88",
                    }),
                ),
                ok(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", "AttributeNames": ["AWSTraceHeader"]}),
                    json!({"Messages": [{
                        "MessageId": "=uuid", "ReceiptHandle": "=handle", "Body": "message",
                        "MD5OfBody": "78e731027d8fd50ed642340b7c9a63b3", "Attributes": {"AWSTraceHeader": trace},
                    }]}),
                ),
            ],
        ),
        row(
            "5.1: system attributes count towards no size",
            vec![
                create("", json!({"MaximumMessageSize": "1024"})),
                ok(
                    "SendMessage",
                    json!({
                        "QueueUrl": "$U/$N", "MessageBody": "x".repeat(1024),
                        "MessageSystemAttributes": {"AWSTraceHeader": text(trace)},
                    }),
                    json!({
                        "MessageId": "=uuid", "MD5OfMessageBody": "=text",
                        "MD5OfMessageSystemAttributes": "5ae4d5d7636402d80f4eb6d213245a88",
                    }),
                ),
            ],
        ),
    ]);
}

#[test]
fn filters() {
    let all = json!({"Help.Me": text("Me"), "Hello": text("There"), "General": text("Kenobi")});
    let only = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| ((*name).to_owned(), all[*name].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let asked = |filter: &[&str], returned: &[&str], digest: Option<&str>| -> Step {
        let mut message = json!({
            "MessageId": "=uuid", "ReceiptHandle": "=handle", "Body": "message",
            "MD5OfBody": "78e731027d8fd50ed642340b7c9a63b3",
        });
        if let Some(digest) = digest {
            message["MD5OfMessageAttributes"] = json!(digest);
            message["MessageAttributes"] = only(returned);
        }
        let input = json!({"QueueUrl": "$U/$N", "VisibilityTimeout": 0, "MessageAttributeNames": filter});
        ok("ReceiveMessage", input, json!({"Messages": [message]}))
    };
    const ALL: &[&str] = &["Help.Me", "Hello", "General"];
    const ALL_DIGEST: Option<&str> = Some("4c360f3fdafd970e05fae2f149d997f5");
    check(&[row(
        "6.6: the attribute filter, and the digest of what is returned",
        vec![
            create("", json!({})),
            ok("SendMessage", send(all.clone()), sent("4c360f3fdafd970e05fae2f149d997f5")),
            asked(&[], &[], None),
            asked(&["All"], ALL, ALL_DIGEST),
            asked(&[".*"], ALL, ALL_DIGEST),
            asked(&["*"], ALL, ALL_DIGEST),
            asked(&["Hello", "General"], &["Hello", "General"], Some("fca026605781cb4126a1e9044df24232")),
            asked(&["Hello"], &["Hello"], Some("a311262e065454b75da111d535b8dacd")),
            asked(&["Hel.*"], &["Hello", "Help.Me"], Some("83fee93c1bcd8b9a5a923ffacdc636c7")),
            asked(&["hello"], &[], None),
            asked(&["AWS.x", "..", "not a name"], &[], None),
        ],
    )]);
}
