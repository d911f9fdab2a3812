//! Choosing an encoding, finding the action and the queue, malformed requests (sections 1.1, 1.2 and 1.4).

use serde_json::json;

use crate::encoding::Element;
use crate::http::{Reply, Request};
use crate::row::{Encoding, check, create, ok, refused, row_in};

const QUEUE_PATH: &str = "/000000000000/protocol-queue";

fn make_queue() {
    let reply = Request::json("CreateQueue", r#"{"QueueName":"protocol-queue"}"#).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn xml_error(reply: &Reply) -> (u16, String, String) {
    let root = Element::parse(&reply.text());
    let error = root.child("Error").expect("an ErrorResponse");
    (reply.status, error.text_of("Code").to_owned(), error.text_of("Message").to_owned())
}

fn assert_xml_error(request: Request, code: &str, text: &str) {
    let reply = request.send();
    assert_eq!(reply.header("content-type"), Some("text/xml"));
    assert_eq!(xml_error(&reply), (400, code.to_owned(), text.to_owned()));
}

#[test]
fn malformed_json_has_its_texts() {
    let refusal = |body: serde_json::Value, text: &str| {
        row_in(
            Encoding::Json,
            "1.4: malformed JSON",
            vec![refused("ReceiveMessage", body, "MalformedInput", text)],
        )
    };
    check(&[
        refusal(json!([]), "Start of list found where not expected"),
        refusal(json!({"QueueUrl": ["x"]}), "Start of list found where not expected"),
        refusal(json!({"QueueUrl": {}}), "Start of structure or map found where not expected."),
        refusal(json!({"MaxNumberOfMessages": "10"}), "STRING_VALUE can not be converted to an Integer"),
        refusal(json!({"QueueUrl": 5}), "NUMBER_VALUE can not be converted to a String"),
        refusal(json!({"QueueUrl": true}), "TRUE_VALUE can not be converted to a String"),
    ]);
    for body in ["{", "{\"QueueUrl\"}", "nonsense", "{} {}", "{\"QueueUrl\":\"\u{1}\"}"] {
        let reply = Request::json("PurgeQueue", body).send();
        assert_eq!(
            (reply.status, reply.header("x-amzn-query-error")),
            (400, Some("MalformedInput;Sender")),
            "{body}"
        );
    }
}

#[test]
fn json_tolerates_what_it_must() {
    check(&[
        row_in(
            Encoding::Json,
            "1.1: unknown members are ignored, null counts as absent",
            vec![
                create("", json!({})),
                ok(
                    "SendMessage",
                    json!({
                        "QueueUrl": "$U/$N", "MessageBody": "message", "DelaySeconds": null, "MessageGroupId": null,
                        "Future": {"a": [1, {"b": null}]},
                    }),
                    json!({"MessageId": "=uuid", "MD5OfMessageBody": "78e731027d8fd50ed642340b7c9a63b3"}),
                ),
            ],
        ),
        row_in(
            Encoding::Query,
            "1.4: in a form every number is text, and must be one",
            vec![
                create("", json!({})),
                refused(
                    "ReceiveMessage",
                    json!({"QueueUrl": "$U/$N", "MaxNumberOfMessages": "ten"}),
                    "InvalidParameterValue",
                    "Value ten for parameter MaxNumberOfMessages is invalid. Reason: Must be an integer.",
                ),
            ],
        ),
    ]);
    make_queue();
    let input = r#"{"QueueUrl":"protocol-queue"}"#;
    for request in [
        Request::json("ListQueueTags", input).with("x-amzn-query-mode", "true"),
        Request { path: QUEUE_PATH.into(), ..Request::json("ListQueueTags", input) },
        Request { path: "/000000000000/another".into(), ..Request::json("ListQueueTags", input) },
    ] {
        let reply = request.send();
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"));
    }
}

#[test]
fn a_surrogate_pair_is_one_character_and_half_a_pair_is_none() {
    make_queue();
    let send = |body: &str| {
        let input = format!(r#"{{"QueueUrl":"protocol-queue","MessageBody":"{body}"}}"#);
        let reply = Request::json("SendMessage", &input).send();
        (reply.status, reply.header("x-amzn-query-error").map(str::to_owned))
    };
    assert_eq!(send("\\uD83D\\uDE00"), (200, None));
    for half in ["\\uD83D", "\\uDE00", "\\uDE00\\uD83D", "a\\uD83Db"] {
        assert_eq!(send(half), (400, Some("InvalidMessageContents;Sender".into())), "{half}");
    }
}

#[test]
fn unknown_actions() {
    for (request, name) in
        [(Request::json("FooBar", "{}"), "FooBar"), (Request::json("sendMessage", "{}"), "sendMessage")]
    {
        let reply = request.send();
        assert_eq!((reply.status, reply.header("x-amzn-query-error")), (400, Some("InvalidAction;Sender")));
        assert_eq!(
            reply.text(),
            format!(
                r#"{{"__type":"com.amazon.coral.service#UnknownOperationException","message":"The action {name} is not valid for this endpoint."}}"#
            )
        );
    }
    let invalid = |name: &str| format!("The action {name} is not valid for this endpoint.");
    assert_xml_error(Request::form("/", "Action=FooBar"), "InvalidAction", &invalid("FooBar"));
    assert_xml_error(
        Request::form(QUEUE_PATH, "Action=CreateQueue&QueueName=x"),
        "InvalidAction",
        &invalid("CreateQueue"),
    );
    assert_xml_error(Request::form(QUEUE_PATH, "Action=ListQueues"), "InvalidAction", &invalid("ListQueues"));
    let reply = Request::form("/", "Version=2012-11-05").send();
    assert_eq!((reply.status, xml_error(&reply).1), (400, "MissingAction".to_owned()));
    for accept in ["*/*", "application/json"] {
        let reply = Request::get(QUEUE_PATH, "").with("accept", accept).send();
        assert_eq!((reply.status, reply.text().as_str()), (404, "<UnknownOperationException/>"));
        assert_eq!(reply.header("content-type"), Some("text/xml"));
    }
}

#[test]
fn a_form_names_its_queue_by_parameter_or_path() {
    make_queue();
    let arn = "<Value>arn:aws:sqs:us-east-1:000000000000:protocol-queue</Value>";
    let query = "Action=GetQueueAttributes&AttributeName.1=QueueArn";
    let by_parameter = format!("{query}&QueueUrl=http%3A%2F%2Flocalhost%2F000000000000%2Fprotocol-queue");
    for request in [
        Request::form(QUEUE_PATH, query),
        Request::form("/000000000000/another", &by_parameter),
        Request::get(QUEUE_PATH, query),
        Request::get("/", &by_parameter),
        Request::form(QUEUE_PATH, "Action=GetQueueAttributes&AttributeName=QueueArn"),
        Request::form(QUEUE_PATH, "Action=GetQueueAttributes&Version=2009-02-01&AttributeName=QueueArn"),
    ] {
        let reply = request.send();
        assert!(reply.status == 200 && reply.text().contains(arn), "{}", reply.text());
    }
    let split = Request {
        query: "Action=GetQueueAttributes".into(),
        ..Request::form(QUEUE_PATH, "AttributeName.1=All")
    };
    assert!(split.send().text().contains(arn), "query string and body are merged");
    let reply = Request::form(QUEUE_PATH, "Action=GetQueueUrl&QueueName=protocol-queue").send();
    assert!(reply.text().contains("/protocol-queue</QueueUrl>"), "{}", reply.text());
    let unnumbered = "Action=SetQueueAttributes&Attribute.Name=DelaySeconds&Attribute.Value=0";
    assert_eq!(Request::form(QUEUE_PATH, unnumbered).send().status, 200, "as old clients send it");
    assert_xml_error(
        Request::form("/", "Action=PurgeQueue"),
        "MissingParameter",
        "The request must contain the parameter QueueUrl.",
    );
    assert_xml_error(
        Request::form(QUEUE_PATH, "Action=SendMessage"),
        "MissingParameter",
        "The request must contain the parameter MessageBody.",
    );
}

#[test]
fn the_trace_header_of_a_send_is_kept() {
    let reply = Request::json("CreateQueue", r#"{"QueueName":"traced"}"#).send();
    assert_eq!(reply.status, 200);
    let send = Request::json("SendMessage", r#"{"QueueUrl":"traced","MessageBody":"x"}"#);
    assert_eq!(send.with("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793").send().status, 200);
    let receive = r#"{"QueueUrl":"traced","AttributeNames":["AWSTraceHeader"]}"#;
    let text = Request::json("ReceiveMessage", receive).send().text();
    assert!(
        text.contains(r#""Attributes":{"AWSTraceHeader":"Root=1-5759e988-bd862e3fe1be46a994272793"}"#),
        "{text}"
    );
}

#[test]
fn a_form_that_accepts_json_is_answered_in_json() {
    make_queue();
    let ask = |path: &str, query: &str| {
        let reply = Request::get(path, query).with("accept", "application/json").send();
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("x-amzn-query-error"), None);
        (reply.status, serde_json::from_str::<serde_json::Value>(&reply.text()).unwrap())
    };
    let (status, reply) = ask(QUEUE_PATH, "Action=GetQueueAttributes&AttributeName.1=QueueArn");
    let arn = "arn:aws:sqs:us-east-1:000000000000:protocol-queue";
    assert_eq!(status, 200);
    assert_eq!(
        reply["GetQueueAttributesResponse"]["GetQueueAttributesResult"],
        json!({"Attributes": [{"Name": "QueueArn", "Value": arn}]})
    );
    assert_eq!(
        reply["GetQueueAttributesResponse"]["ResponseMetadata"]["RequestId"].as_str().map(str::len),
        Some(36)
    );
    let (status, reply) = ask(QUEUE_PATH, "Action=ListQueues");
    assert_eq!(status, 400);
    assert_eq!(
        reply["Error"],
        json!({
            "Type": "Sender", "Code": "InvalidAction", "Detail": null,
            "Message": "The action ListQueues is not valid for this endpoint.",
        })
    );
    assert!(reply["RequestId"].is_string());
}
