//! AddPermission and RemovePermission as changes of a policy text (12.1 and 12.2).

use serde_json::{Map, Value, json};

use crate::arn::{QueueArn, is_account_id};
use crate::error::{ErrorCode, ErrorReply};
use crate::json::push_json_string;
use crate::queue_name::is_label;

use super::Action;
use super::request::AddPermission;

/// Most actions of one statement.
pub const ACTIONS_MAX: usize = 7;
/// Most statements of a policy.
pub const STATEMENTS_MAX: usize = 20;
/// Most principals of a policy.
pub const PRINCIPALS_MAX: usize = 50;
/// Most conditions of a policy.
pub const CONDITIONS_MAX: usize = 10;
/// Longest label, characters.
pub const LABEL_CHARS_MAX: usize = 80;

const SHARED_ACTIONS: [&str; 9] = [
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];

/// The policy text after adding the statement.
pub fn add_permission(
    policy: Option<&str>,
    request: &AddPermission<'_>,
    queue: &QueueArn,
) -> Result<String, ErrorReply> {
    let label = request.label.as_ref();
    if label.len() > LABEL_CHARS_MAX || !is_label(label) {
        return Err(ErrorReply::invalid_value(
            label,
            "Label",
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.",
        ));
    }
    check_actions(request)?;
    if !request.aws_account_ids.iter().all(|account| is_account_id(account)) {
        return Err(ErrorReply::invalid_value("[]", "PrincipalId", "Unable to verify."));
    }
    let mut policy = match policy {
        Some(text) => parse_policy(text)?,
        None => new_policy(queue),
    };
    let statements = statements_of(&mut policy);
    if statements.iter().any(|statement| has_sid(statement, label)) {
        return Err(ErrorReply::invalid_value(label, "Label", "Already exists."));
    }
    if statements.len() >= STATEMENTS_MAX {
        return Err(over_limit(format!(
            "{} Statements were found, maximum allowed is {STATEMENTS_MAX}.",
            statements.len() + 1
        )));
    }
    let accounts = request.aws_account_ids.iter().map(|id| format!("arn:{}:iam::{id}:root", queue.partition));
    let actions = request.actions.iter().map(|action| format!("SQS:{action}"));
    statements.push(json!({
        "Sid": label,
        "Effect": "Allow",
        "Principal": {"AWS": one_or_many(accounts)},
        "Action": one_or_many(actions),
        "Resource": queue.to_string(),
    }));
    Ok(render(&policy))
}

/// The policy text after removing the statement; `None` when it was the last one.
pub fn remove_permission(policy: Option<&str>, label: &str) -> Result<Option<String>, ErrorReply> {
    let unknown = || ErrorReply::invalid_value(label, "Label", "can't find label.");
    let mut policy = parse_policy(policy.ok_or_else(unknown)?)?;
    let statements = statements_of(&mut policy);
    let before = statements.len();
    statements.retain(|statement| !has_sid(statement, label));
    match statements.len() {
        after if after == before => Err(unknown()),
        0 => Ok(None),
        _ => Ok(Some(render(&policy))),
    }
}

fn check_actions(request: &AddPermission<'_>) -> Result<(), ErrorReply> {
    for action in &request.actions {
        if SHARED_ACTIONS.contains(&action.as_ref()) {
            continue;
        }
        let owner_only = Action::by_name(action).is_some_and(Action::is_owner_only);
        let reason = if owner_only {
            "Only the queue owner is allowed to invoke this action."
        } else {
            "Please refer to the appropriate WSDL for a list of valid actions."
        };
        return Err(ErrorReply::invalid_value(format_args!("SQS:{action}"), "ActionName", reason));
    }
    match request.actions.len() {
        count if count > ACTIONS_MAX => {
            Err(over_limit(format!("{count} Actions were found, maximum allowed is {ACTIONS_MAX}.")))
        }
        _ => Ok(()),
    }
}

pub(super) fn over_limit(text: String) -> ErrorReply {
    ErrorReply::new(ErrorCode::OverLimit, text)
}

fn new_policy(queue: &QueueArn) -> Map<String, Value> {
    let mut policy = Map::new();
    policy.insert("Version".into(), "2008-10-17".into());
    policy.insert("Id".into(), format!("{queue}/SQSDefaultPolicy").into());
    policy
}

fn parse_policy(text: &str) -> Result<Map<String, Value>, ErrorReply> {
    match serde_json::from_str(text) {
        Ok(Value::Object(policy)) => Ok(policy),
        // Stored policies were checked when they were set.
        _ => Err(ErrorReply::internal()),
    }
}

/// The statements as a list, whatever they were.
fn statements_of(policy: &mut Map<String, Value>) -> &mut Vec<Value> {
    let statement = policy.entry("Statement").or_insert_with(|| Value::Array(Vec::new()));
    if !statement.is_array() {
        *statement = Value::Array(vec![statement.take()]);
    }
    // It is a list now; without the arm below the compiler could not know.
    match statement {
        Value::Array(statements) => statements,
        _ => unreachable!("made a list above"),
    }
}

fn has_sid(statement: &Value, label: &str) -> bool {
    statement.get("Sid").and_then(Value::as_str) == Some(label)
}

fn one_or_many(texts: impl Iterator<Item = String>) -> Value {
    let mut values: Vec<Value> = texts.map(Value::String).collect();
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

/// Compact JSON, the elements in the order in which the service writes them.
fn render(policy: &Map<String, Value>) -> String {
    let mut out = Vec::new();
    push_object(policy, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn push_object(members: &Map<String, Value>, out: &mut Vec<u8>) {
    const ORDER: [&str; 12] = [
        "Version",
        "Id",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    let mut members: Vec<(&String, &Value)> = members.iter().collect();
    members.sort_by_key(|(name, _)| rank(name));
    out.push(b'{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_json_string(name, out);
        out.push(b':');
        push_value(value, out);
    }
    out.push(b'}');
}

fn push_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => push_object(members, out),
        Value::Array(values) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_value(value, out);
            }
            out.push(b']');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> QueueArn {
        QueueArn::parse("arn:aws:sqs:us-east-1:000000000000:q").unwrap()
    }

    fn add(
        policy: Option<&str>,
        label: &str,
        accounts: &[&str],
        actions: &[&str],
    ) -> Result<Value, ErrorReply> {
        let texts = |given: &[&str]| given.iter().map(|text| (*text).to_owned().into()).collect();
        let request = AddPermission {
            queue_url: "q".into(),
            label: label.to_owned().into(),
            aws_account_ids: texts(accounts),
            actions: texts(actions),
        };
        add_permission(policy, &request, &queue()).map(|text| serde_json::from_str(&text).unwrap())
    }

    const ACCOUNT: &str = "111111111111";

    #[test]
    fn a_first_statement_makes_the_recorded_policy() {
        // The members stand in this order on the live service.
        assert_eq!(
            add(None, "l", &[ACCOUNT], &["ReceiveMessage"]).unwrap().to_string(),
            concat!(
                r#"{"Version":"2008-10-17","Id":"arn:aws:sqs:us-east-1:000000000000:q/SQSDefaultPolicy","#,
                r#""Statement":[{"Sid":"l","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"#,
                r#""Action":"SQS:ReceiveMessage","Resource":"arn:aws:sqs:us-east-1:000000000000:q"}]}"#,
            )
        );
    }

    #[test]
    fn several_accounts_and_actions_are_lists_and_statements_accumulate() {
        let first = add(None, "a", &[ACCOUNT], &["*"]).unwrap().to_string();
        let both =
            add(Some(&first), "b", &[ACCOUNT, "222222222222"], &["SendMessage", "PurgeQueue"]).unwrap();
        assert_eq!(both["Statement"][0]["Sid"], "a");
        assert_eq!(both["Statement"][1]["Action"], json!(["SQS:SendMessage", "SQS:PurgeQueue"]));
        assert_eq!(both["Statement"][1]["Principal"]["AWS"].as_array().unwrap().len(), 2);
        let left = remove_permission(Some(&both.to_string()), "a").unwrap().unwrap();
        assert_eq!(remove_permission(Some(&left), "b"), Ok(None));
    }

    #[test]
    fn refusals_have_their_texts() {
        let first = add(None, "l", &[ACCOUNT], &["*"]).unwrap().to_string();
        let text = |result: Result<Value, ErrorReply>| result.unwrap_err().message.into_owned();
        assert_eq!(
            text(add(Some(&first), "l", &[ACCOUNT], &["*"])),
            "Value l for parameter Label is invalid. Reason: Already exists."
        );
        assert_eq!(
            text(add(None, "l", &[ACCOUNT], &["CreateQueue"])),
            "Value SQS:CreateQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to \
             invoke this action."
        );
        for unknown in ["Foo", "SendMessageBatch"] {
            assert_eq!(
                text(add(None, "l", &[ACCOUNT], &[unknown])),
                format!(
                    "Value SQS:{unknown} for parameter ActionName is invalid. Reason: Please refer to the appropriate \
                     WSDL for a list of valid actions."
                )
            );
        }
        assert_eq!(
            text(add(None, "l", &["x"], &["*"])),
            "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify."
        );
        assert_eq!(
            text(add(None, "l", &[ACCOUNT], &["*"; 8])),
            "8 Actions were found, maximum allowed is 7."
        );
        assert!(add(None, "l", &[ACCOUNT], &["*"; 7]).is_ok());
        let full = json!({"Statement": vec![json!({}); 20]}).to_string();
        assert_eq!(
            text(add(Some(&full), "l", &[ACCOUNT], &["*"])),
            "21 Statements were found, maximum allowed is 20."
        );
        for policy in [None, Some(first.as_str())] {
            assert_eq!(
                remove_permission(policy, "x").unwrap_err().message,
                "Value x for parameter Label is invalid. Reason: can't find label."
            );
        }
        assert!(add(None, &"l".repeat(81), &[ACCOUNT], &["*"]).is_err());
        assert!(add(None, &"l".repeat(80), &[ACCOUNT], &["*"]).is_ok());
    }
}
