use proptest::prelude::*;

use super::*;
use crate::sqs::request::{CreateQueue, ReceiveMessage};

const URL: &str = "http://localhost/000000000000/q";

fn json<'a>(action: &'a str, body: &'a str) -> WireRequest<'a> {
    WireRequest {
        protocol: Protocol::Json,
        method: "POST",
        path: "/",
        query: "",
        target: Some(action),
        body: body.as_bytes(),
    }
}

fn form<'a>(path: &'a str, query: &'a str, body: &'a str) -> WireRequest<'a> {
    WireRequest {
        protocol: Protocol::Query,
        method: "POST",
        path,
        query,
        target: None,
        body: body.as_bytes(),
    }
}

fn text_of(wire: WireRequest<'_>) -> (ErrorCode, String) {
    let error = parse(&wire).unwrap_err();
    (error.code, error.message.into_owned())
}

#[test]
fn both_protocols_give_the_same_send() {
    let from_json = parse(&json(
        "AmazonSQS.SendMessage",
        r#"{"QueueUrl":"http://localhost/000000000000/q","MessageBody":"a b","DelaySeconds":5,"Future":[{}],
            "MessageAttributes":{"n":{"DataType":"Binary","BinaryValue":"AAE="}},"MessageGroupId":null,
            "MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"Root"}}}"#,
    ))
    .unwrap();
    let from_form = parse(&form(
        "/000000000000/other",
        "Action=SendMessage&Version=2012-11-05",
        "QueueUrl=http%3A%2F%2Flocalhost%2F000000000000%2Fq&MessageBody=a+b&DelaySeconds=5\
         &MessageAttribute.1.Name=n&MessageAttribute.1.Value.DataType=Binary\
         &MessageAttribute.1.Value.BinaryValue=AAE%3D&MessageSystemAttribute.1.Name=AWSTraceHeader\
         &MessageSystemAttribute.1.Value.DataType=String&MessageSystemAttribute.1.Value.StringValue=Root",
    ))
    .unwrap();
    assert_eq!(from_json, from_form);
    assert_eq!((from_json.queue_url(), from_json.action()), (Some(URL), Action::SendMessage));
    let Request::SendMessage(send) = from_json else { panic!("another action") };
    assert_eq!(send.message.attributes[0].binary_value.as_deref(), Some([0u8, 1].as_slice()));
    assert!(matches!(send.message.body, std::borrow::Cow::Borrowed("a b")));
}

#[test]
fn both_protocols_give_the_same_batches() {
    for (action, body, fields) in [
        (
            "SendMessageBatch",
            r#"{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"x"},{"Id":"b","MessageBody":"y","DelaySeconds":1}]}"#,
            "QueueUrl=q&SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.2.MessageBody=y\
             &SendMessageBatchRequestEntry.2.DelaySeconds=1&SendMessageBatchRequestEntry.1.Id=a\
             &SendMessageBatchRequestEntry.1.MessageBody=x",
        ),
        (
            "DeleteMessageBatch",
            r#"{"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"h"}]}"#,
            "QueueUrl=q&DeleteMessageBatchRequestEntry.1.Id=a&DeleteMessageBatchRequestEntry.1.ReceiptHandle=h",
        ),
        (
            "ChangeMessageVisibilityBatch",
            r#"{"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"h","VisibilityTimeout":3}]}"#,
            "QueueUrl=q&ChangeMessageVisibilityBatchRequestEntry.1.Id=a\
             &ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle=h\
             &ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout=3",
        ),
    ] {
        let target = format!("AmazonSQS.{action}");
        let query = format!("Action={action}");
        let parsed = parse(&json(&target, body)).unwrap();
        assert_eq!(parsed, parse(&form("/", &query, fields)).unwrap());
    }
}

#[test]
fn the_remaining_actions_agree_in_both_protocols() {
    for (action, body, fields) in [
        (
            "AddPermission",
            r#"{"QueueUrl":"q","Label":"l","AWSAccountIds":["1","2"],"Actions":["*"]}"#,
            "QueueUrl=q&Label=l&AWSAccountId.1=1&AWSAccountId.2=2&ActionName.1=*",
        ),
        ("CancelMessageMoveTask", r#"{"TaskHandle":"t"}"#, "TaskHandle=t"),
        (
            "ChangeMessageVisibility",
            r#"{"QueueUrl":"q","ReceiptHandle":"h","VisibilityTimeout":0}"#,
            "QueueUrl=q&ReceiptHandle=h&VisibilityTimeout=0",
        ),
        (
            "CreateQueue",
            r#"{"QueueName":"q","Attributes":{"DelaySeconds":"5"},"tags":{"k":"v"}}"#,
            "QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Tag.1.Key=k&Tag.1.Value=v",
        ),
        ("DeleteMessage", r#"{"QueueUrl":"q","ReceiptHandle":"h"}"#, "QueueUrl=q&ReceiptHandle=h"),
        ("DeleteQueue", r#"{"QueueUrl":"q"}"#, "QueueUrl=q"),
        (
            "GetQueueAttributes",
            r#"{"QueueUrl":"q","AttributeNames":["All"]}"#,
            "QueueUrl=q&AttributeName.1=All",
        ),
        (
            "GetQueueAttributes",
            r#"{"QueueUrl":"q","AttributeNames":["All"]}"#,
            "QueueUrl=q&AttributeName=All",
        ),
        ("GetQueueAttributes", r#"{"QueueUrl":"q","AttributeNames":[]}"#, "QueueUrl=q&AttributeName="),
        (
            "GetQueueUrl",
            r#"{"QueueName":"q","QueueOwnerAWSAccountId":"1"}"#,
            "QueueName=q&QueueOwnerAWSAccountId=1",
        ),
        (
            "ListDeadLetterSourceQueues",
            r#"{"QueueUrl":"q","MaxResults":3,"NextToken":"t"}"#,
            "QueueUrl=q&MaxResults=3&NextToken=t",
        ),
        ("ListMessageMoveTasks", r#"{"SourceArn":"a","MaxResults":3}"#, "SourceArn=a&MaxResults=3"),
        ("ListQueueTags", r#"{"QueueUrl":"q"}"#, "QueueUrl=q"),
        ("ListQueues", r#"{"QueueNamePrefix":"p","MaxResults":3}"#, "QueueNamePrefix=p&MaxResults=3"),
        ("ListQueues", "", ""),
        ("PurgeQueue", r#"{"QueueUrl":"q"}"#, "QueueUrl=q"),
        (
            "ReceiveMessage",
            r#"{"QueueUrl":"q","AttributeNames":["All"],"MessageSystemAttributeNames":["SenderId"],
                "MessageAttributeNames":["a.*"],"MaxNumberOfMessages":10,"VisibilityTimeout":1,"WaitTimeSeconds":2,
                "ReceiveRequestAttemptId":"r"}"#,
            "QueueUrl=q&AttributeName.1=All&MessageSystemAttributeName.1=SenderId&MessageAttributeName.1=a.*\
             &MaxNumberOfMessages=10&VisibilityTimeout=1&WaitTimeSeconds=2&ReceiveRequestAttemptId=r",
        ),
        (
            "ReceiveMessage",
            r#"{"QueueUrl":"q","AttributeNames":[],"MessageSystemAttributeNames":[],"MessageAttributeNames":[]}"#,
            "QueueUrl=q&AttributeName=&MessageSystemAttributeName=&MessageAttributeName=",
        ),
        ("RemovePermission", r#"{"QueueUrl":"q","Label":"l"}"#, "QueueUrl=q&Label=l"),
        (
            "SetQueueAttributes",
            r#"{"QueueUrl":"q","Attributes":{"Policy":""}}"#,
            "QueueUrl=q&Attribute.1.Name=Policy&Attribute.1.Value=",
        ),
        ("SetQueueAttributes", r#"{"QueueUrl":"q","Attributes":{}}"#, "QueueUrl=q&Attribute="),
        (
            "StartMessageMoveTask",
            r#"{"SourceArn":"a","DestinationArn":"b","MaxNumberOfMessagesPerSecond":5}"#,
            "SourceArn=a&DestinationArn=b&MaxNumberOfMessagesPerSecond=5",
        ),
        ("TagQueue", r#"{"QueueUrl":"q","Tags":{"k":""}}"#, "QueueUrl=q&Tag.1.Key=k&Tag.1.Value="),
        ("UntagQueue", r#"{"QueueUrl":"q","TagKeys":["k"]}"#, "QueueUrl=q&TagKey.1=k"),
    ] {
        let target = format!("AmazonSQS.{action}");
        let query = format!("Action={action}");
        let parsed = parse(&json(&target, body)).unwrap();
        assert_eq!(parsed.action().name(), action);
        assert_eq!(parsed, parse(&form("/", &query, fields)).unwrap(), "{action}");
    }
}

#[test]
fn null_counts_as_absent_except_inside_attributes() {
    let parsed = parse(&json(
        "AmazonSQS.ReceiveMessage",
        r#"{"QueueUrl":"q","WaitTimeSeconds":null,"AttributeNames":null}"#,
    ));
    assert_eq!(
        parsed.unwrap(),
        Request::ReceiveMessage(ReceiveMessage { queue_url: "q".into(), ..ReceiveMessage::default() })
    );
    let parsed =
        parse(&json("AmazonSQS.CreateQueue", r#"{"QueueName":"q","Attributes":{"KmsMasterKeyId":null}}"#));
    assert_eq!(
        parsed.unwrap(),
        Request::CreateQueue(CreateQueue {
            queue_name: "q".into(),
            attributes: vec![("KmsMasterKeyId".into(), None)],
            ..CreateQueue::default()
        })
    );
}

#[test]
fn missing_parameters_are_named() {
    for (action, body, parameter) in [
        ("SendMessage", r#"{"MessageBody":"x"}"#, "QueueUrl"),
        ("SendMessage", r#"{"QueueUrl":"q"}"#, "MessageBody"),
        ("SendMessage", r#"{"QueueUrl":"q","MessageBody":""}"#, "MessageBody"),
        ("CreateQueue", "{}", "QueueName"),
        ("DeleteMessage", r#"{"QueueUrl":"q"}"#, "ReceiptHandle"),
        ("DeleteMessage", r#"{"QueueUrl":"q","ReceiptHandle":""}"#, "ReceiptHandle"),
        ("ChangeMessageVisibility", r#"{"QueueUrl":"q","ReceiptHandle":"h"}"#, "VisibilityTimeout"),
        ("SetQueueAttributes", r#"{"QueueUrl":"q"}"#, "Attributes"),
        ("TagQueue", r#"{"QueueUrl":"q","Tags":{}}"#, "Tags"),
        ("AddPermission", r#"{"QueueUrl":"q"}"#, "Label"),
        ("AddPermission", r#"{"QueueUrl":"q","Label":"l","AWSAccountIds":["1"]}"#, "ActionName"),
        ("AddPermission", r#"{"QueueUrl":"q","Label":"l","Actions":["*"]}"#, "AWSAccountIds"),
        ("StartMessageMoveTask", "{}", "SourceArn"),
    ] {
        let target = format!("AmazonSQS.{action}");
        assert_eq!(
            text_of(json(&target, body)),
            (ErrorCode::MissingParameter, format!("The request must contain the parameter {parameter}."))
        );
    }
}

#[test]
fn malformed_json_is_a_serialization_error() {
    for (body, text) in [
        (r#"{"QueueUrl":[]}"#, "Start of list found where not expected"),
        (r#"{"QueueUrl":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"QueueUrl":"q","DelaySeconds":"5"}"#, "STRING_VALUE can not be converted to an Integer"),
        (r#"{"QueueUrl":1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"MessageBody":true}"#, "TRUE_VALUE can not be converted to a String"),
        ("[]", "Start of list found where not expected"),
    ] {
        assert_eq!(text_of(json("AmazonSQS.SendMessage", body)), (ErrorCode::MalformedInput, text.into()));
    }
    for body in ["{", "{}x", "\u{7f}", r#"{"MessageAttributes":{"a":{"BinaryValue":"*"}}}"#] {
        assert_eq!(text_of(json("AmazonSQS.SendMessage", body)).0, ErrorCode::MalformedInput);
    }
}

#[test]
fn unknown_actions_are_refused_in_both_protocols() {
    let text = "The action FooBar is not valid for this endpoint.".to_owned();
    assert_eq!(text_of(json("AmazonSQS.FooBar", "{}")), (ErrorCode::InvalidAction, text.clone()));
    assert_eq!(text_of(form("/", "Action=FooBar", "")), (ErrorCode::InvalidAction, text));
    let no_target = WireRequest { target: None, ..json("", "{}") };
    assert_eq!(find_action(&no_target).unwrap_err().code, ErrorCode::InvalidAction);
}

#[test]
fn query_quirks_on_queue_paths() {
    let path = "/000000000000/q";
    for action in ["CreateQueue", "ListQueues"] {
        let query = format!("Action={action}&QueueName=x");
        assert_eq!(
            text_of(form(path, &query, "")),
            (ErrorCode::InvalidAction, format!("The action {action} is not valid for this endpoint."))
        );
    }
    assert!(parse(&form(path, "Action=GetQueueUrl&QueueName=other", "")).is_ok());
    assert_eq!(parse(&form(path, "Action=PurgeQueue", "")).unwrap().queue_url(), Some(path));
    let get = WireRequest { method: "GET", ..form(path, "", "") };
    assert_eq!(find_action(&get).unwrap_err().code, ErrorCode::UnknownOperation);
    assert_eq!(text_of(form(path, "", "")).0, ErrorCode::MissingAction);
    assert_eq!(
        text_of(form("/", "Action=ReceiveMessage&QueueUrl=q&WaitTimeSeconds=x", "")).0,
        ErrorCode::InvalidParameterValue
    );
}

proptest! {
    #[test]
    fn no_body_panics(
        at in 0..23usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        shaped in "\\{(\"(QueueUrl|Entries|Attributes|MessageBody|Tags)\":(\"x\"|\\[\\{\\}\\]|\\{\"a\":null\\}|1|null),?){0,3}\\}",
    ) {
        let action = Action::ALL[at];
        let target = format!("AmazonSQS.{}", action.name());
        let query = format!("Action={}", action.name());
        for body in [bytes.as_slice(), shaped.as_bytes()] {
            let json = WireRequest { body, ..json(&target, "") };
            drop(parse(&json));
            drop(parse(&WireRequest { body, ..form("/", &query, "") }));
        }
    }
}
