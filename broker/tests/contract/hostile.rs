//! Requests made to cost more than they are: each is refused, in its own encoding, with a reply that is no longer than a
//! constant, and the daemon goes on serving. What each may take of memory is measured by the client tests.

use std::fmt::Write;

use crate::daemon::ACCOUNT;
use crate::http::{Reply, Request};

/// Replies quote what was sent, but not megabytes of it; a quoted character may take six bytes in JSON.
const REPLY_BYTES_MAX: usize = 128 << 10;
const MEGABYTES: usize = 6 << 20;

fn still_serves() {
    let reply = Request::json("ListQueues", "{}").send();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn assert_refused(reply: &Reply, status: u16, code: &str) {
    let text = reply.text();
    let shown = &text[..text.len().min(300)];
    assert_eq!(reply.status, status, "{shown}");
    assert!(
        text.contains(code) || reply.header("x-amzn-query-error").is_some_and(|e| e.starts_with(code)),
        "{shown}"
    );
    assert!(reply.body.len() <= REPLY_BYTES_MAX, "{} bytes", reply.body.len());
}

fn create(name: &str) {
    let reply = Request::json("CreateQueue", &format!(r#"{{"QueueName":"{name}"}}"#)).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn deep_and_wide_json_is_refused() {
    create("wide");
    let deep = "[".repeat(MEGABYTES);
    let entries = format!("[{}{{}}]", "{},".repeat(MEGABYTES / 3));
    let texts = format!("[{}\"\"]", "\"\",".repeat(MEGABYTES / 3));
    let map = format!("{{{}\"\":{{}}}}", "\"\":{},".repeat(MEGABYTES / 6));
    for (action, member, value) in [
        ("SendMessage", "Unknown", &deep),
        ("SendMessageBatch", "Entries", &entries),
        ("DeleteMessageBatch", "Entries", &entries),
        ("ReceiveMessage", "MessageAttributeNames", &texts),
        ("UntagQueue", "TagKeys", &texts),
        ("SendMessage", "MessageAttributes", &map),
    ] {
        let reply = Request::json(action, &format!(r#"{{"QueueUrl":"wide","{member}":{value}}}"#)).send();
        assert_refused(&reply, 400, "MalformedInput");
    }
    let twenty: String = (0..1000).map(|n| format!(r#"{{"Id":"{n}"}},"#)).collect();
    let body = format!(r#"{{"QueueUrl":"wide","Entries":[{}]}}"#, twenty.trim_end_matches(','));
    assert_refused(
        &Request::json("SendMessageBatch", &body).send(),
        400,
        "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    );
    still_serves();
}

#[test]
fn deep_and_wide_attribute_values_are_refused() {
    create("values");
    let wide = format!("[{}0]", "0,".repeat(MEGABYTES / 2));
    for (name, code) in [
        ("Policy", "InvalidAttributeValue"),
        ("RedrivePolicy", "InvalidAttributeValue"),
        ("RedriveAllowPolicy", "InvalidAttributeValue"),
        ("KmsMasterKeyId", "InvalidAttributeValue"),
        ("DelaySeconds", "InvalidAttributeValue"),
    ] {
        for value in [&wide, &"[".repeat(8000)] {
            let is_key = name == "KmsMasterKeyId";
            let body = format!(r#"{{"QueueUrl":"values","Attributes":{{"{name}":"{value}"}}}}"#);
            let reply = Request::json("SetQueueAttributes", &body).send();
            assert!(!is_key || reply.status == 400);
            assert_refused(&reply, 400, code);
        }
    }
    still_serves();
}

#[test]
fn huge_forms_are_refused() {
    create("forms");
    let many = "a=&".repeat(MEGABYTES / 3);
    let distinct = (0..500_000).fold(String::new(), |mut form, n| {
        write!(form, "&p{n}=").unwrap();
        form
    });
    let path = format!("/{ACCOUNT}/forms");
    let reply = Request::form(&path, &format!("Action=ListQueueTags&{many}")).send();
    assert_eq!(reply.status, 200, "one parameter, however often: {}", reply.text());
    assert_refused(
        &Request::form(&path, &format!("Action=ListQueueTags{distinct}")).send(),
        400,
        "MalformedInput",
    );
    assert_refused(&Request::form(&path, "Action=ListQueueTags&x=%FF").send(), 400, "MalformedInput");
    still_serves();
}

#[test]
fn long_names_are_not_quoted_whole() {
    create("long");
    let long = "\\\"".repeat(MEGABYTES / 2);
    for (action, body, status, code) in [
        (
            "DeleteMessage",
            format!(r#"{{"QueueUrl":"long","ReceiptHandle":"{long}"}}"#),
            404,
            "ReceiptHandleIsInvalid",
        ),
        ("PurgeQueue", format!(r#"{{"QueueUrl":"{long}"}}"#), 400, "AWS.SimpleQueueService.NonExistentQueue"),
        ("CreateQueue", format!(r#"{{"QueueName":"{long}"}}"#), 400, "InvalidParameterValue"),
        (
            "SendMessage",
            format!(r#"{{"QueueUrl":"long","MessageBody":"x","MessageGroupId":"{long}"}}"#),
            400,
            "InvalidParameterValue",
        ),
        (
            "GetQueueAttributes",
            format!(r#"{{"QueueUrl":"long","AttributeNames":["{long}"]}}"#),
            400,
            "InvalidAttributeName",
        ),
        ("CancelMessageMoveTask", format!(r#"{{"TaskHandle":"{long}"}}"#), 400, "InvalidParameterValue"),
        ("ListQueues", format!(r#"{{"NextToken":"{long}"}}"#), 400, "InvalidParameterValue"),
    ] {
        assert_refused(&Request::json(action, &body).send(), status, code);
    }
    still_serves();
}

#[test]
fn bodies_and_heads_have_their_limits() {
    let reply = Request::json("ListQueues", &" ".repeat((8 << 20) + 1)).send();
    assert_refused(&reply, 413, "RequestEntityTooLarge");
    let reply = Request::json("ListQueues", "{}").with("x-filler", &"h".repeat(1 << 20)).exchange();
    assert_eq!(reply.status, 431);
    still_serves();
}
