use super::*;
use crate::error::ErrorReply;
use crate::sqs::message_attribute::AttributeValue;
use crate::sqs::move_task::{MoveTask, MoveTaskStatus};

fn encoded(response: &Response<'_>, protocol: Protocol) -> String {
    let mut out = Vec::new();
    response.encode(protocol, "rid", &mut out);
    String::from_utf8(out).unwrap()
}

fn json(response: &Response<'_>) -> String {
    encoded(response, Protocol::Json)
}

/// What stands between the root element and the metadata.
fn xml(response: &Response<'_>) -> String {
    let action = response.action().name();
    let head = format!(
        "<?xml version=\"1.0\"?><{action}Response xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\">"
    );
    let tail = format!("<ResponseMetadata><RequestId>rid</RequestId></ResponseMetadata></{action}Response>");
    let whole = encoded(response, Protocol::Query);
    whole.strip_prefix(&head).unwrap().strip_suffix(&tail).unwrap().to_owned()
}

const ID: [u8; 16] = [0x11; 16];
const ID_TEXT: &str = "11111111-1111-1111-1111-111111111111";
const MD5: [u8; 16] = [0xAB; 16];
const MD5_TEXT: &str = "abababababababababababababababab";

fn sent() -> SentReply {
    SentReply {
        message_id: ID,
        body_md5: MD5,
        attributes_md5: None,
        system_attributes_md5: None,
        sequence_number: None,
    }
}

#[test]
fn no_output_is_zero_bytes_in_json_and_metadata_in_xml() {
    let response = Response::Empty(Action::PurgeQueue);
    assert_eq!(json(&response), "");
    assert_eq!(xml(&response), "");
}

#[test]
fn empty_lists_are_left_out() {
    let batch = |action| Response::HandleBatch { action, successful: vec![], failed: vec![] };
    for response in [
        Response::Received(vec![]),
        Response::Attributes(vec![]),
        Response::Tags(vec![]),
        Response::MoveTasks(vec![]),
        Response::QueueUrls { action: Action::ListQueues, urls: vec![], next_token: None },
        batch(Action::DeleteMessageBatch),
    ] {
        assert_eq!(json(&response), "{}");
        assert_eq!(xml(&response), format!("<{}Result/>", response.action().name()));
    }
    let action = Action::ListDeadLetterSourceQueues;
    assert_eq!(json(&Response::QueueUrls { action, urls: vec![], next_token: None }), r#"{"queueUrls":[]}"#);
}

#[test]
fn sends_show_digests_only_of_what_was_sent() {
    assert_eq!(
        json(&Response::Sent(sent())),
        format!(r#"{{"MessageId":"{ID_TEXT}","MD5OfMessageBody":"{MD5_TEXT}"}}"#)
    );
    let full = SentReply {
        attributes_md5: Some(MD5),
        system_attributes_md5: Some(MD5),
        sequence_number: Some(7),
        ..sent()
    };
    assert_eq!(
        json(&Response::Sent(full)),
        format!(
            r#"{{"MessageId":"{ID_TEXT}","MD5OfMessageBody":"{MD5_TEXT}","MD5OfMessageAttributes":"{MD5_TEXT}","MD5OfMessageSystemAttributes":"{MD5_TEXT}","SequenceNumber":"00000000000000000007"}}"#
        )
    );
    assert_eq!(
        xml(&Response::Sent(full)),
        format!(
            "<SendMessageResult><MessageId>{ID_TEXT}</MessageId><MD5OfMessageBody>{MD5_TEXT}</MD5OfMessageBody>\
             <MD5OfMessageAttributes>{MD5_TEXT}</MD5OfMessageAttributes><MD5OfMessageSystemAttributes>{MD5_TEXT}\
             </MD5OfMessageSystemAttributes><SequenceNumber>00000000000000000007</SequenceNumber></SendMessageResult>"
        )
    );
}

#[test]
fn batches_list_what_succeeded_and_what_failed() {
    let failed = vec![BatchFailure { id: "b".into(), error: ErrorReply::receipt_handle_invalid("x") }];
    let response = Response::SentBatch { successful: vec![("a".into(), sent())], failed: failed.clone() };
    let failed_json = r#""Failed":[{"Id":"b","Code":"ReceiptHandleIsInvalid","Message":"The input receipt handle \"x\" is not a valid receipt handle.","SenderFault":true}]"#;
    assert_eq!(
        json(&response),
        format!(
            r#"{{"Successful":[{{"Id":"a","MessageId":"{ID_TEXT}","MD5OfMessageBody":"{MD5_TEXT}"}}],{failed_json}}}"#
        )
    );
    let action = Action::ChangeMessageVisibilityBatch;
    let response = Response::HandleBatch { action, successful: vec!["a".into()], failed };
    assert_eq!(json(&response), format!(r#"{{"Successful":[{{"Id":"a"}}],{failed_json}}}"#));
    assert_eq!(
        xml(&response),
        "<ChangeMessageVisibilityBatchResult><ChangeMessageVisibilityBatchResultEntry><Id>a</Id>\
         </ChangeMessageVisibilityBatchResultEntry><BatchResultErrorEntry><Id>b</Id><Code>ReceiptHandleIsInvalid</Code>\
         <Message>The input receipt handle &quot;x&quot; is not a valid receipt handle.</Message>\
         <SenderFault>true</SenderFault></BatchResultErrorEntry></ChangeMessageVisibilityBatchResult>"
    );
}

#[test]
fn received_messages_are_whole_in_both_protocols() {
    let response = Response::Received(vec![ReceivedMessage {
        message_id: ID,
        receipt_handle: "h".into(),
        body_md5: MD5,
        body: "a\r\n<\"&",
        system_attributes: vec![("SenderId", "me".into())],
        attributes: vec![
            MessageAttribute { name: "k", data_type: "String", value: AttributeValue::Text("x") },
            MessageAttribute { name: "z", data_type: "Binary", value: AttributeValue::Binary(&[0, 1]) },
        ],
    }]);
    let digest = |from: &str, to: &str, text: &str| {
        let start = text.find(from).unwrap() + from.len();
        text[start..].split(to).next().unwrap().to_owned()
    };
    let whole = json(&response);
    let md5 = digest("\"MD5OfMessageAttributes\":\"", "\"", &whole);
    assert_eq!(md5.len(), 32);
    assert_eq!(
        whole,
        format!(
            r#"{{"Messages":[{{"MessageId":"{ID_TEXT}","ReceiptHandle":"h","MD5OfBody":"{MD5_TEXT}","Body":"a\r\n<\"&","Attributes":{{"SenderId":"me"}},"MD5OfMessageAttributes":"{md5}","MessageAttributes":{{"k":{{"StringValue":"x","DataType":"String"}},"z":{{"BinaryValue":"AAE=","DataType":"Binary"}}}}}}]}}"#
        )
    );
    assert_eq!(
        xml(&response),
        format!(
            "<ReceiveMessageResult><Message><MessageId>{ID_TEXT}</MessageId><ReceiptHandle>h</ReceiptHandle><MD5OfBody>\
             {MD5_TEXT}</MD5OfBody><Body>a&#xD;\n&lt;&quot;&amp;</Body><Attribute><Name>SenderId</Name><Value>me</Value>\
             </Attribute><MD5OfMessageAttributes>{md5}</MD5OfMessageAttributes><MessageAttribute><Name>k</Name><Value>\
             <StringValue>x</StringValue><DataType>String</DataType></Value></MessageAttribute><MessageAttribute>\
             <Name>z</Name><Value><BinaryValue>AAE=</BinaryValue><DataType>Binary</DataType></Value></MessageAttribute>\
             </Message></ReceiveMessageResult>"
        )
    );
}

#[test]
fn queue_replies_use_the_models_names() {
    let url = Response::QueueUrl { action: Action::CreateQueue, url: "u".into() };
    assert_eq!(json(&url), r#"{"QueueUrl":"u"}"#);
    assert_eq!(xml(&url), "<CreateQueueResult><QueueUrl>u</QueueUrl></CreateQueueResult>");
    let urls = Response::QueueUrls {
        action: Action::ListQueues,
        urls: vec!["u".into(), "v".into()],
        next_token: Some("t".into()),
    };
    assert_eq!(json(&urls), r#"{"QueueUrls":["u","v"],"NextToken":"t"}"#);
    assert_eq!(
        xml(&urls),
        "<ListQueuesResult><QueueUrl>u</QueueUrl><QueueUrl>v</QueueUrl><NextToken>t</NextToken></ListQueuesResult>"
    );
    let attributes = Response::Attributes(vec![("DelaySeconds", "0".into())]);
    assert_eq!(json(&attributes), r#"{"Attributes":{"DelaySeconds":"0"}}"#);
    assert_eq!(
        xml(&attributes),
        "<GetQueueAttributesResult><Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute>\
         </GetQueueAttributesResult>"
    );
    let tags = Response::Tags(vec![("k".into(), "v".into())]);
    assert_eq!(json(&tags), r#"{"Tags":{"k":"v"}}"#);
    assert_eq!(
        xml(&tags),
        "<ListQueueTagsResult><Tag><Key>k</Key><Value>v</Value></Tag></ListQueueTagsResult>"
    );
}

#[test]
fn a_task_handle_is_shown_only_while_running() {
    let task = |status| MoveTask {
        task_handle: "h".into(),
        status,
        source_arn: "s".into(),
        destination_arn: None,
        max_messages_per_second: Some(5),
        messages_moved: 1,
        messages_to_move: Some(2),
        failure_reason: None,
        started_at_ms: 3,
    };
    let rest = r#""SourceArn":"s","MaxNumberOfMessagesPerSecond":5,"ApproximateNumberOfMessagesMoved":1,"ApproximateNumberOfMessagesToMove":2,"StartedTimestamp":3}"#;
    assert_eq!(
        json(&Response::MoveTasks(vec![task(MoveTaskStatus::Running), task(MoveTaskStatus::Completed)])),
        format!(
            r#"{{"Results":[{{"TaskHandle":"h","Status":"RUNNING",{rest},{{"Status":"COMPLETED",{rest}]}}"#
        )
    );
    assert_eq!(
        xml(&Response::MoveTasks(vec![task(MoveTaskStatus::Cancelled)])),
        "<ListMessageMoveTasksResult><ListMessageMoveTasksResultEntry><Status>CANCELLED</Status><SourceArn>s</SourceArn>\
         <MaxNumberOfMessagesPerSecond>5</MaxNumberOfMessagesPerSecond><ApproximateNumberOfMessagesMoved>1\
         </ApproximateNumberOfMessagesMoved><ApproximateNumberOfMessagesToMove>2</ApproximateNumberOfMessagesToMove>\
         <StartedTimestamp>3</StartedTimestamp></ListMessageMoveTasksResultEntry></ListMessageMoveTasksResult>"
    );
    assert_eq!(
        json(&Response::TaskCancelled { messages_moved: 4 }),
        r#"{"ApproximateNumberOfMessagesMoved":4}"#
    );
    assert_eq!(json(&Response::TaskStarted { task_handle: "h".into() }), r#"{"TaskHandle":"h"}"#);
}

#[test]
fn a_form_that_accepts_json_gets_the_members_of_the_xml_tree() {
    let in_query = |response: &Response<'_>| encoded(response, Protocol::QueryJson);
    let metadata = r#""ResponseMetadata":{"RequestId":"rid"}}}"#;
    assert_eq!(
        in_query(&Response::Empty(Action::PurgeQueue)),
        format!(r#"{{"PurgeQueueResponse":{{{metadata}"#)
    );
    let received = |messages: &str| {
        format!(
            r#"{{"ReceiveMessageResponse":{{"ReceiveMessageResult":{{"messages":[{messages}]}},{metadata}"#
        )
    };
    assert_eq!(in_query(&Response::Received(vec![])), received(""));
    let message = ReceivedMessage {
        message_id: ID,
        receipt_handle: "h".into(),
        body_md5: MD5,
        body: "b",
        system_attributes: vec![("SenderId", "me".into())],
        attributes: vec![MessageAttribute {
            name: "k",
            data_type: "String",
            value: AttributeValue::Text("x"),
        }],
    };
    let pair = r#""MessageAttributes":[{"Name":"k","Value":{"StringValue":"x","DataType":"String"}}]"#;
    assert_eq!(
        in_query(&Response::Received(vec![message])),
        received(&format!(
            r#"{{"MessageId":"{ID_TEXT}","ReceiptHandle":"h","MD5OfBody":"{MD5_TEXT}","Body":"b","Attributes":[{{"Name":"SenderId","Value":"me"}}],"MD5OfMessageAttributes":"a45daa70926828a2f0a1db3418e6feb4",{pair}}}"#
        ))
    );
    let attributes = Response::Attributes(vec![("DelaySeconds", "0".into()), ("QueueArn", "a".into())]);
    assert_eq!(
        in_query(&attributes),
        format!(
            r#"{{"GetQueueAttributesResponse":{{"GetQueueAttributesResult":{{"Attributes":[{{"Name":"DelaySeconds","Value":"0"}},{{"Name":"QueueArn","Value":"a"}}]}},{metadata}"#
        )
    );
    assert_eq!(
        in_query(&Response::Tags(vec![("k".into(), "v".into())])),
        format!(
            r#"{{"ListQueueTagsResponse":{{"ListQueueTagsResult":{{"Tags":[{{"Key":"k","Value":"v"}}]}},{metadata}"#
        )
    );
}
