//! AddPermission and RemovePermission (12.1 and 12.2).

use serde_json::{Value, json};

use crate::row::{Step, check, create, ok, refused, row};

fn add(label: &str, accounts: &[&str], actions: &[&str]) -> Value {
    json!({"QueueUrl": "$U/$N", "Label": label, "AWSAccountIds": accounts, "Actions": actions})
}

fn policy(statements: &[String]) -> Step {
    let golden = match statements {
        [] => json!({}),
        _ => {
            let policy = format!(
                r#"{{"Version":"2008-10-17","Id":"$A:$N/SQSDefaultPolicy","Statement":[{}]}}"#,
                statements.join(",")
            );
            json!({"Attributes": {"Policy": policy}})
        }
    };
    ok("GetQueueAttributes", json!({"QueueUrl": "$U/$N", "AttributeNames": ["Policy"]}), golden)
}

fn statement(label: &str, principal: Value, action: Value) -> String {
    format!(
        r#"{{"Sid":"{label}","Effect":"Allow","Principal":{{"AWS":{principal}}},"Action":{action},"Resource":"$A:$N"}}"#
    )
}

#[test]
fn permissions() {
    let root = |account: &str| format!("arn:aws:iam::{account}:root");
    let refusal = |input: Value, code: &'static str, text: &str| {
        row(
            "12.1: permissions that are refused",
            vec![create("", json!({})), refused("AddPermission", input, code, text), policy(&[])],
        )
    };
    let missing = |name: &str, input: Value| {
        refusal(input, "MissingParameter", &format!("The request must contain the parameter {name}."))
    };
    const ONE: &str = "111111111111";
    let first = statement("l", json!(root(ONE)), json!("SQS:ReceiveMessage"));
    let second =
        statement("m", json!([root(ONE), root("222222222222")]), json!(["SQS:SendMessage", "SQS:*"]));
    let twenty_one =
        (0..20).map(|n| ok("AddPermission", add(&format!("l{n}"), &[ONE], &["SendMessage"]), json!({})));
    let twenty_one = std::iter::once(create("", json!({}))).chain(twenty_one).chain([refused(
        "AddPermission",
        add("one-more", &[ONE], &["SendMessage"]),
        "OverLimit",
        "21 Statements were found, maximum allowed is 20.",
    )]);
    check(&[
        row(
            "12.1: a statement is appended, one value a string, several a list",
            vec![
                create("", json!({})),
                ok("AddPermission", add("l", &[ONE], &["ReceiveMessage"]), json!({})),
                policy(std::slice::from_ref(&first)),
                ok("AddPermission", add("m", &[ONE, "222222222222"], &["SendMessage", "*"]), json!({})),
                policy(&[first, second.clone()]),
                refused(
                    "AddPermission",
                    add("l", &[ONE], &["ReceiveMessage"]),
                    "InvalidParameterValue",
                    "Value l for parameter Label is invalid. Reason: Already exists.",
                ),
                ok("RemovePermission", json!({"QueueUrl": "$U/$N", "Label": "l"}), json!({})),
                policy(&[second]),
                ok("RemovePermission", json!({"QueueUrl": "$U/$N", "Label": "m"}), json!({})),
                policy(&[]),
            ],
        ),
        row(
            "12.2: an unknown label",
            vec![
                create("", json!({})),
                refused(
                    "RemovePermission",
                    json!({"QueueUrl": "$U/$N", "Label": "l"}),
                    "InvalidParameterValue",
                    "Value l for parameter Label is invalid. Reason: can't find label.",
                ),
            ],
        ),
        missing("Label", json!({"QueueUrl": "$U/$N", "AWSAccountIds": [ONE], "Actions": ["*"]})),
        missing(
            "ActionName",
            json!({"QueueUrl": "$U/$N", "Label": "l", "AWSAccountIds": [ONE], "Actions": []}),
        ),
        missing(
            "AWSAccountIds",
            json!({"QueueUrl": "$U/$N", "Label": "l", "AWSAccountIds": [], "Actions": ["*"]}),
        ),
        refusal(
            add("l", &[ONE], &["CreateQueue"]),
            "InvalidParameterValue",
            "Value SQS:CreateQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to \
             invoke this action.",
        ),
        refusal(
            add("l", &[ONE], &["Foo"]),
            "InvalidParameterValue",
            "Value SQS:Foo for parameter ActionName is invalid. Reason: Please refer to the appropriate WSDL for a \
             list of valid actions.",
        ),
        refusal(
            add("l", &[ONE], &["SendMessageBatch"]),
            "InvalidParameterValue",
            "Value SQS:SendMessageBatch for parameter ActionName is invalid. Reason: Please refer to the appropriate \
             WSDL for a list of valid actions.",
        ),
        refusal(
            add("l", &["1"], &["*"]),
            "InvalidParameterValue",
            "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.",
        ),
        refusal(add("l", &[ONE], &["*"; 8]), "OverLimit", "8 Actions were found, maximum allowed is 7."),
        refusal(
            add("not a label", &[ONE], &["*"]),
            "InvalidParameterValue",
            "Value not a label for parameter Label is invalid. Reason: Can only include alphanumeric characters, \
             hyphens, or underscores. 1 to 80 in length.",
        ),
        row("12.1: twenty statements and no more", twenty_one.collect()),
    ]);
}
