//! Whole replies, byte for byte, in both encodings: order of the elements, escaping, what is left out.
//!
//! In goldens `…` stands for any text without markup.

use crate::http::Request;

const XMLNS: &str = "http://queue.amazonaws.com/doc/2012-11-05/";
const QUEUE: &str = "/000000000000/replies";

/// Compares a text with a golden that may have gaps.
fn assert_text(text: &str, golden: &str) {
    let mut rest = text;
    for (at, part) in golden.split('…').enumerate() {
        let found =
            rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing in\n{text}\nfor\n{golden}"));
        let gap = &rest[..found];
        assert!(
            if at == 0 { gap.is_empty() } else { !gap.contains(['<', '>', '"']) },
            "{gap:?} before {part:?} in\n{text}"
        );
        rest = &rest[found + part.len()..];
    }
    assert!(rest.is_empty(), "{rest:?} is too much");
}

fn json(action: &str, body: &str, golden: &str) -> String {
    let reply = Request::json(action, body).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_text(&reply.text(), golden);
    reply.text()
}

fn xml(action: &str, form: &str, result: &str) -> String {
    let path = if matches!(action, "CreateQueue" | "ListQueues") { "/" } else { QUEUE };
    let reply = Request::form(path, &format!("Action={action}&{form}")).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let golden = format!(
        "<?xml version=\"1.0\"?><{action}Response xmlns=\"{XMLNS}\">{result}<ResponseMetadata><RequestId>…</RequestId>\
         </ResponseMetadata></{action}Response>"
    );
    assert_text(&reply.text(), &golden);
    reply.text()
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    text.split(before).nth(1).and_then(|rest| rest.split(after).next()).expect("it is there")
}

#[test]
fn a_message_in_xml() {
    const URL: &str = "https://sqs.us-east-1.example.com/000000000000/replies";
    let md5 = "78e731027d8fd50ed642340b7c9a63b3";
    xml(
        "CreateQueue",
        "QueueName=replies",
        &format!("<CreateQueueResult><QueueUrl>{URL}</QueueUrl></CreateQueueResult>"),
    );
    xml("ListQueueTags", "", "<ListQueueTagsResult/>");
    xml("TagQueue", "Tag.1.Key=k&Tag.1.Value=v", "");
    xml(
        "ListQueueTags",
        "",
        "<ListQueueTagsResult><Tag><Key>k</Key><Value>v</Value></Tag></ListQueueTagsResult>",
    );
    xml("ReceiveMessage", "", "<ReceiveMessageResult/>");
    xml(
        "ListQueues",
        "QueueNamePrefix=replies",
        &format!("<ListQueuesResult><QueueUrl>{URL}</QueueUrl></ListQueuesResult>"),
    );
    xml(
        "SendMessage",
        "MessageBody=message&MessageAttribute.1.Name=k&MessageAttribute.1.Value.DataType=String\
         &MessageAttribute.1.Value.StringValue=x",
        &format!(
            "<SendMessageResult><MessageId>…</MessageId><MD5OfMessageBody>{md5}</MD5OfMessageBody>\
             <MD5OfMessageAttributes>a45daa70926828a2f0a1db3418e6feb4</MD5OfMessageAttributes></SendMessageResult>"
        ),
    );
    let received = xml(
        "ReceiveMessage",
        "AttributeName.1=ApproximateReceiveCount&MessageAttributeName.1=All",
        &format!(
            "<ReceiveMessageResult><Message><MessageId>…</MessageId><ReceiptHandle>…</ReceiptHandle>\
             <MD5OfBody>{md5}</MD5OfBody><Body>message</Body><Attribute><Name>ApproximateReceiveCount</Name>\
             <Value>1</Value></Attribute><MD5OfMessageAttributes>a45daa70926828a2f0a1db3418e6feb4\
             </MD5OfMessageAttributes><MessageAttribute><Name>k</Name><Value><StringValue>x</StringValue>\
             <DataType>String</DataType></Value></MessageAttribute></Message></ReceiveMessageResult>"
        ),
    );
    let handle = between(&received, "<ReceiptHandle>", "</ReceiptHandle>");
    xml(
        "DeleteMessageBatch",
        &format!(
            "DeleteMessageBatchRequestEntry.1.Id=a&DeleteMessageBatchRequestEntry.1.ReceiptHandle={handle}\
             &DeleteMessageBatchRequestEntry.2.Id=b&DeleteMessageBatchRequestEntry.2.ReceiptHandle=%3Cx%3E"
        ),
        "<DeleteMessageBatchResult><DeleteMessageBatchResultEntry><Id>a</Id></DeleteMessageBatchResultEntry>\
         <BatchResultErrorEntry><Id>b</Id><Code>ReceiptHandleIsInvalid</Code><Message>The input receipt handle \
         &quot;&lt;x&gt;&quot; is not a valid receipt handle.</Message><SenderFault>true</SenderFault>\
         </BatchResultErrorEntry></DeleteMessageBatchResult>",
    );
    xml("DeleteMessage", &format!("ReceiptHandle={handle}"), "");
    xml(
        "SendMessageBatch",
        "SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=%3C%26%3E%0D%0A%22%27",
        "<SendMessageBatchResult><SendMessageBatchResultEntry><Id>a</Id><MessageId>…</MessageId><MD5OfMessageBody>…\
         </MD5OfMessageBody></SendMessageBatchResultEntry></SendMessageBatchResult>",
    );
    let received = xml(
        "ReceiveMessage",
        "",
        "<ReceiveMessageResult><Message><MessageId>…</MessageId><ReceiptHandle>…</ReceiptHandle><MD5OfBody>…</MD5OfBody>\
         <Body>&lt;&amp;&gt;&#xD;\n&quot;'</Body></Message></ReceiveMessageResult>",
    );
    let handle = between(&received, "<ReceiptHandle>", "</ReceiptHandle>");
    xml(
        "ChangeMessageVisibilityBatch",
        &format!(
            "ChangeMessageVisibilityBatchRequestEntry.1.Id=a\
             &ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle={handle}"
        ),
        "<ChangeMessageVisibilityBatchResult><ChangeMessageVisibilityBatchResultEntry><Id>a</Id>\
         </ChangeMessageVisibilityBatchResultEntry></ChangeMessageVisibilityBatchResult>",
    );
    xml("PurgeQueue", "", "");
    xml(
        "GetQueueAttributes",
        "AttributeName.1=DelaySeconds&AttributeName.2=QueueArn",
        "<GetQueueAttributesResult><Attribute><Name>DelaySeconds</Name><Value>0</Value></Attribute><Attribute>\
         <Name>QueueArn</Name><Value>arn:aws:sqs:us-east-1:000000000000:replies</Value></Attribute>\
         </GetQueueAttributesResult>",
    );
    let reply = Request::form("/000000000000/none", "Action=PurgeQueue").send();
    assert_eq!(reply.status, 400);
    assert_text(
        &reply.text(),
        &format!(
            "<?xml version=\"1.0\"?><ErrorResponse xmlns=\"{XMLNS}\"><Error><Type>Sender</Type>\
             <Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist for this \
             wsdl version.</Message><Detail/></Error><RequestId>…</RequestId></ErrorResponse>"
        ),
    );
}

#[test]
fn a_message_in_json() {
    let queue = r#""QueueUrl":"replies-json""#;
    let md5 = "78e731027d8fd50ed642340b7c9a63b3";
    json(
        "CreateQueue",
        r#"{"QueueName":"replies-json"}"#,
        r#"{"QueueUrl":"https://sqs.us-east-1.example.com/000000000000/replies-json"}"#,
    );
    for (action, more) in
        [("ListQueueTags", ""), ("ReceiveMessage", ""), ("GetQueueAttributes", r#","AttributeNames":[]"#)]
    {
        json(action, &format!("{{{queue}{more}}}"), "{}");
    }
    json("TagQueue", &format!(r#"{{{queue},"Tags":{{"k":"v"}}}}"#), "");
    json("ListQueueTags", &format!("{{{queue}}}"), r#"{"Tags":{"k":"v"}}"#);
    json(
        "SendMessage",
        &format!(
            r#"{{{queue},"MessageBody":"message","MessageAttributes":{{"k":{{"DataType":"Binary","BinaryValue":"AAE="}}}}}}"#
        ),
        &format!(r#"{{"MessageId":"…","MD5OfMessageBody":"{md5}","MD5OfMessageAttributes":"…"}}"#),
    );
    let received = json(
        "ReceiveMessage",
        &format!(
            r#"{{{queue},"AttributeNames":["ApproximateReceiveCount"],"MessageAttributeNames":["All"]}}"#
        ),
        &format!(
            r#"{{"Messages":[{{"MessageId":"…","ReceiptHandle":"…","MD5OfBody":"{md5}","Body":"message","Attributes":{{"ApproximateReceiveCount":"1"}},"MD5OfMessageAttributes":"…","MessageAttributes":{{"k":{{"BinaryValue":"AAE=","DataType":"Binary"}}}}}}]}}"#
        ),
    );
    let handle = between(&received, "\"ReceiptHandle\":\"", "\"");
    json(
        "ChangeMessageVisibility",
        &format!(r#"{{{queue},"ReceiptHandle":"{handle}","VisibilityTimeout":9}}"#),
        "",
    );
    json(
        "DeleteMessageBatch",
        &format!(
            r#"{{{queue},"Entries":[{{"Id":"a","ReceiptHandle":"{handle}"}},{{"Id":"b","ReceiptHandle":"\"x\\"}}]}}"#
        ),
        r#"{"Successful":[{"Id":"a"}],"Failed":[{"Id":"b","Code":"ReceiptHandleIsInvalid","Message":"The input receipt handle \"\"x\\\" is not a valid receipt handle.","SenderFault":true}]}"#,
    );
    json("DeleteQueue", &format!("{{{queue}}}"), "");
}
