//! A row of the contract: what is asked, what must be answered, and the comparison.
//!
//! In inputs and goldens `$U` stands for the queue URL up to the name, `$A` for the ARN up to the name, `$N` for a name
//! that no other row uses, `$x` for what an earlier step has kept as `x`. In goldens `=uuid`, `=handle`, `=number`,
//! `=sequence`, `=text` stand for any such text, and `=handle>x` keeps it as `x`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use serde_json::{Value, json};

use crate::daemon::{ACCOUNT, PUBLIC_URL};
use crate::encoding::{Element, form_of, json_of};
use crate::http::{Reply, Request};

/// How a row is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    Query,
}

/// What a step must be answered with.
#[derive(Debug, Clone)]
enum Expected {
    Reply(Value),
    Refusal { code: &'static str, text: String },
    Pause(Duration),
}

/// One exchange.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    action: &'static str,
    input: Value,
    expected: Expected,
}

/// Steps that show one rule.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    rule: &'static str,
    only: Option<Encoding>,
    steps: Vec<Step>,
}

/// An exchange that succeeds.
pub(crate) fn ok(action: &'static str, input: Value, golden: Value) -> Step {
    Step { action, input, expected: Expected::Reply(golden) }
}

/// An exchange that is refused.
pub(crate) fn refused(action: &'static str, input: Value, code: &'static str, text: &str) -> Step {
    Step { action, input, expected: Expected::Refusal { code, text: text.to_owned() } }
}

/// A queue that does not exist; its text differs by encoding.
pub(crate) fn no_such_queue(action: &'static str, input: Value) -> Step {
    refused(action, input, "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
}

/// Creates a queue `$N` + suffix.
pub(crate) fn create(suffix: &str, attributes: Value) -> Step {
    let input = json!({"QueueName": format!("$N{suffix}"), "Attributes": attributes});
    ok("CreateQueue", input, json!({"QueueUrl": format!("$U/$N{suffix}")}))
}

/// Lets time pass.
pub(crate) fn pause(ms: u64) -> Step {
    Step { action: "", input: Value::Null, expected: Expected::Pause(Duration::from_millis(ms)) }
}

/// A rule of the contract, by its section, and the exchanges that show it.
pub(crate) fn row(rule: &'static str, steps: Vec<Step>) -> Row {
    Row { rule, only: None, steps }
}

/// A rule that one encoding alone has.
pub(crate) fn row_in(only: Encoding, rule: &'static str, steps: Vec<Step>) -> Row {
    Row { rule, only: Some(only), steps }
}

/// Query code, JSON type, status of section 3, copied by hand.
const CODES: &[(&str, &str, u16)] = &[
    ("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "com.amazonaws.sqs#BatchEntryIdsNotDistinct", 400),
    ("AWS.SimpleQueueService.BatchRequestTooLong", "com.amazonaws.sqs#BatchRequestTooLong", 400),
    ("AWS.SimpleQueueService.EmptyBatchRequest", "com.amazonaws.sqs#EmptyBatchRequest", 400),
    ("AWS.SimpleQueueService.InvalidBatchEntryId", "com.amazonaws.sqs#InvalidBatchEntryId", 400),
    (
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "com.amazonaws.sqs#TooManyEntriesInBatchRequest",
        400,
    ),
    ("AWS.SimpleQueueService.UnsupportedOperation", "com.amazonaws.sqs#UnsupportedOperation", 400),
    ("AWS.SimpleQueueService.QueueDeletedRecently", "com.amazonaws.sqs#QueueDeletedRecently", 400),
    ("AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist", 400),
    ("QueueAlreadyExists", "com.amazonaws.sqs#QueueNameExists", 400),
    ("AWS.SimpleQueueService.PurgeQueueInProgress", "com.amazonaws.sqs#PurgeQueueInProgress", 403),
    ("OverLimit", "com.amazonaws.sqs#OverLimit", 403),
    ("InvalidAddress", "com.amazonaws.sqs#InvalidAddress", 404),
    ("ReceiptHandleIsInvalid", "com.amazonaws.sqs#ReceiptHandleIsInvalid", 404),
    ("ResourceNotFoundException", "com.amazonaws.sqs#ResourceNotFoundException", 404),
    ("InvalidAttributeName", "com.amazonaws.sqs#InvalidAttributeName", 400),
    ("InvalidAttributeValue", "com.amazonaws.sqs#InvalidAttributeValue", 400),
    ("InvalidMessageContents", "com.amazonaws.sqs#InvalidMessageContents", 400),
    ("InvalidParameterValue", "com.amazon.coral.service#InvalidParameterValueException", 400),
    ("MissingParameter", "com.amazon.coral.service#MissingRequiredParameterException", 400),
    ("InvalidAction", "com.amazon.coral.service#UnknownOperationException", 400),
    ("MalformedInput", "com.amazon.coral.service#SerializationException", 400),
];

/// Rows are mostly waiting; so many of them do it at a time.
const THREADS: usize = 8;

/// Runs every row in every encoding it has, and fails with all that differ.
pub(crate) fn check(rows: &[Row]) {
    let both = [Encoding::Json, Encoding::Query];
    let runs: Vec<(&Row, Encoding)> = rows
        .iter()
        .flat_map(|row| both.map(|encoding| (row, encoding)))
        .filter(|(row, encoding)| row.only.is_none_or(|only| only == *encoding))
        .collect();
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(runs.len()) {
            scope.spawn(|| {
                while let Some((row, encoding)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(difference) = run(row, *encoding) {
                        failures.lock().push(format!("{} ({encoding:?}): {difference}", row.rule));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{} rows differ:\n{}", failures.len(), failures.join("\n"));
}

fn run(row: &Row, encoding: Encoding) -> Result<(), String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("row-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mut kept = BTreeMap::from([
        ("A".to_owned(), format!("arn:aws:sqs:us-east-1:{ACCOUNT}")),
        ("N".to_owned(), name),
        ("U".to_owned(), format!("{PUBLIC_URL}/{ACCOUNT}")),
    ]);
    for (at, step) in row.steps.iter().enumerate() {
        if let Expected::Pause(time) = step.expected {
            std::thread::sleep(time);
            continue;
        }
        let input = filled(&step.input, &kept);
        let reply = match encoding {
            Encoding::Json => Request::json(step.action, &input.to_string()),
            Encoding::Query => Request::form("/", &form_of(step.action, &input)),
        };
        let reply = reply.send();
        compare(step, &reply, encoding, &mut kept).map_err(|difference| {
            format!("step {}, {}: {difference}\n  {}", at + 1, step.action, reply.text())
        })?;
    }
    Ok(())
}

fn compare(
    step: &Step,
    reply: &Reply,
    encoding: Encoding,
    kept: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let request_id = reply.header("x-amzn-requestid").ok_or("no x-amzn-RequestId")?;
    same("x-amzn-RequestId", is_uuid(request_id), true)?;
    same("Date is there", reply.header("date").is_some(), true)?;
    let content_type = match encoding {
        Encoding::Json => "application/x-amz-json-1.0",
        Encoding::Query => "text/xml",
    };
    same("Content-Type", reply.header("content-type"), Some(content_type))?;
    match &step.expected {
        Expected::Reply(golden) => {
            same("status", reply.status, 200)?;
            let golden = filled(golden, kept);
            let answer = match encoding {
                Encoding::Json => json_reply(step.action, &reply.text())?,
                Encoding::Query => xml_reply(step.action, &reply.text(), request_id)?,
            };
            matches(&golden, &answer, encoding, kept).map_err(|at| format!("{at}\n  expected {golden}"))
        }
        Expected::Refusal { code, text } => {
            let (_, json_type, status) =
                CODES.iter().find(|(known, ..)| known == code).expect("a code of section 3");
            let text = fill(text, kept);
            same("status", reply.status, *status)?;
            match encoding {
                Encoding::Json => {
                    same(
                        "x-amzn-query-error",
                        reply.header("x-amzn-query-error"),
                        Some(&*format!("{code};Sender")),
                    )?;
                    same(
                        "body",
                        reply.text(),
                        format!(r#"{{"__type":"{json_type}","message":{}}}"#, json!(text)),
                    )
                }
                Encoding::Query => xml_refusal(&reply.text(), code, &text, request_id),
            }
        }
        Expected::Pause(_) => Ok(()),
    }
}

fn xml_refusal(body: &str, code: &str, text: &str, request_id: &str) -> Result<(), String> {
    let root = Element::parse(body);
    same("root", root.name.as_str(), "ErrorResponse")?;
    same("namespace", root.namespace.as_deref(), Some("http://queue.amazonaws.com/doc/2012-11-05/"))?;
    same("RequestId", root.text_of("RequestId"), request_id)?;
    let error = root.child("Error").ok_or("no Error")?;
    same("Type", error.text_of("Type"), "Sender")?;
    same("Code", error.text_of("Code"), code)?;
    same("Detail is there", error.child("Detail").is_some(), true)?;
    let suffix = if code.ends_with("NonExistentQueue") { " for this wsdl version." } else { "." };
    let text = text.strip_suffix('.').map_or(text.to_owned(), |stem| format!("{stem}{suffix}"));
    same("Message", error.text_of("Message"), &*text)
}

/// Actions whose replies have no output.
const SILENT: &[&str] = &[
    "AddPermission",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "DeleteQueue",
    "PurgeQueue",
    "RemovePermission",
    "SetQueueAttributes",
    "TagQueue",
    "UntagQueue",
];

fn json_reply(action: &str, body: &str) -> Result<Value, String> {
    if SILENT.contains(&action) {
        same("body", body, "")?;
        return Ok(json!({}));
    }
    serde_json::from_str(body).map_err(|error| error.to_string())
}

fn xml_reply(action: &str, body: &str, request_id: &str) -> Result<Value, String> {
    let root = Element::parse(body);
    same("root", root.name.as_str(), format!("{action}Response").as_str())?;
    same("namespace", root.namespace.as_deref(), Some("http://queue.amazonaws.com/doc/2012-11-05/"))?;
    let metadata = root.child("ResponseMetadata").ok_or("no ResponseMetadata")?;
    same("RequestId", metadata.text_of("RequestId"), request_id)?;
    let result = root.child(&format!("{action}Result"));
    same("a result element", result.is_some(), !SILENT.contains(&action))?;
    Ok(result.map_or(json!({}), |result| json_of(action, result)))
}

fn matches(
    golden: &Value,
    answer: &Value,
    encoding: Encoding,
    kept: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    match (golden, answer) {
        (Value::Object(golden), Value::Object(answer)) => {
            // XML has no empty lists.
            let there = |(_, value): &(&String, &Value)| encoding == Encoding::Json || **value != json!([]);
            let keys: BTreeSet<&String> = golden.iter().filter(there).map(|(key, _)| key).collect();
            same("members", answer.keys().collect::<BTreeSet<_>>(), keys)?;
            for (key, value) in answer {
                matches(&golden[key], value, encoding, kept).map_err(|at| format!("{key}: {at}"))?;
            }
            Ok(())
        }
        (Value::Array(golden), Value::Array(answer)) => {
            same("length", answer.len(), golden.len())?;
            for (golden, answer) in golden.iter().zip(answer) {
                matches(golden, answer, encoding, kept)?;
            }
            Ok(())
        }
        (Value::String(pattern), Value::String(text)) if pattern.starts_with('=') => {
            let (class, name) = pattern.split_once('>').unwrap_or((pattern, ""));
            same(class, is_of(class, text), true)?;
            if !name.is_empty() {
                kept.insert(name.to_owned(), text.clone());
            }
            Ok(())
        }
        (Value::String(pattern), number) if pattern == "=number" && number.is_u64() => Ok(()),
        // XML writes everything as text.
        (golden @ (Value::Number(_) | Value::Bool(_)), Value::String(text))
            if encoding == Encoding::Query =>
        {
            same("value", text, &golden.to_string())
        }
        // Kept as lately as in this very reply.
        (Value::String(golden), Value::String(text)) => same("value", text, &fill(golden, kept)),
        _ => same("value", answer, golden),
    }
}

fn is_of(class: &str, text: &str) -> bool {
    match class {
        "=uuid" => is_uuid(text),
        "=number" => !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
        "=sequence" => text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit()),
        "=handle" => (1..=1024).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "=text" => !text.is_empty(),
        other => panic!("{other} is no class of texts"),
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn filled(value: &Value, kept: &BTreeMap<String, String>) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, kept)),
        Value::Array(values) => values.iter().map(|value| filled(value, kept)).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (fill(key, kept), filled(value, kept))).collect()
        }
        other => other.clone(),
    }
}

fn fill(text: &str, kept: &BTreeMap<String, String>) -> String {
    // Longer names first, so that none is taken for the beginning of another.
    let mut names: Vec<&String> = kept.keys().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names.iter().fold(text.to_owned(), |text, name| text.replace(&format!("${name}"), &kept[*name]))
}

fn same<T: PartialEq<U> + Debug, U: Debug>(what: &str, found: T, wanted: U) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, not {wanted:?}")) }
}
