"""The form/XML protocol, as an old SDK speaks it."""

import hashlib

import wire
from conftest import name_of, receive


def form(caller, action, **parameters):
    reply = caller.form(action, parameters)
    assert reply.status == 200, reply.text
    tree = reply.xml()
    assert tree.tag == f"{action}Response" and tree.findtext(".//RequestId") == reply.headers["x-amzn-requestid"]
    return tree


def test_a_message_lives_its_life_in_forms(caller, queue_name):
    root, name = caller(), queue_name()
    created = form(root, "CreateQueue", QueueName=name, **{"Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "0"})
    url = created.findtext(".//QueueUrl")
    assert form(root, "GetQueueUrl", QueueName=name).findtext(".//QueueUrl") == url
    sent = form(
        root,
        "SendMessage",
        QueueUrl=url,
        MessageBody="a <b> & \"c\"\r\n\u00e9",
        **{
            "MessageAttribute.1.Name": "k",
            "MessageAttribute.1.Value.DataType": "String",
            "MessageAttribute.1.Value.StringValue": "x",
        },
    )
    assert sent.findtext(".//MD5OfMessageAttributes") == "a45daa70926828a2f0a1db3418e6feb4"
    got = form(root, "ReceiveMessage", QueueUrl=url, WaitTimeSeconds="2", **{"AttributeName.1": "All", "MessageAttributeName.1": "All"})
    (message,) = got.findall(".//Message")
    assert message.findtext("Body") == "a <b> & \"c\"\r\n\u00e9"
    assert message.findtext("MD5OfBody") == hashlib.md5("a <b> & \"c\"\r\n\u00e9".encode()).hexdigest()
    assert message.findtext("MessageAttribute/Name") == "k"
    names = {element.findtext("Name") for element in message.findall("Attribute")}
    assert {"SenderId", "SentTimestamp", "ApproximateReceiveCount"} <= names
    form(root, "DeleteMessage", QueueUrl=url, ReceiptHandle=message.findtext("ReceiptHandle"))
    empty = form(root, "ReceiveMessage", QueueUrl=url)
    assert empty.findall(".//Message") == []
    form(root, "DeleteQueue", QueueUrl=url)


def test_batches_in_forms_report_each_entry(sqs, caller, queue):
    url = queue(MaximumMessageSize="1024")
    entries = {
        "SendMessageBatchRequestEntry.1.Id": "a",
        "SendMessageBatchRequestEntry.1.MessageBody": "one",
        "SendMessageBatchRequestEntry.2.Id": "b",
        "SendMessageBatchRequestEntry.2.MessageBody": "x" * 1025,
    }
    reply = form(caller(), "SendMessageBatch", QueueUrl=url, **entries)
    assert [entry.findtext("Id") for entry in reply.findall(".//SendMessageBatchResultEntry")] == ["a"]
    (failed,) = reply.findall(".//BatchResultErrorEntry")
    assert (failed.findtext("Id"), failed.findtext("Code"), failed.findtext("SenderFault")) == (
        "b",
        "InvalidParameterValue",
        "true",
    )
    assert receive(sqs, url)[0]["Body"] == "one"


def test_errors_in_forms_have_the_code_of_the_other_protocol(caller):
    reply = caller().form("GetQueueUrl", {"QueueName": "absent"})
    assert (reply.status, reply.code()) == (400, "AWS.SimpleQueueService.NonExistentQueue")
    assert reply.xml().findtext(".//Message") == "The specified queue does not exist for this wsdl version."
    reply = caller().form("FooBar", {})
    assert (reply.status, reply.code()) == (400, "InvalidAction")
    assert reply.xml().findtext(".//Message") == "The action FooBar is not valid for this endpoint."


def test_a_missing_parameter_is_named(caller, queue):
    reply = caller().form("SendMessage", {"QueueUrl": queue()})
    assert reply.code() == "MissingParameter"
    assert reply.xml().findtext(".//Message") == "The request must contain the parameter MessageBody."


def test_a_queue_is_named_by_the_path_and_the_parameter_wins(sqs, caller, queue):
    first, second = queue(), queue()
    path = "/" + first.split("/", 3)[3]
    assert caller().form("SendMessage", {"MessageBody": "by path"}, path=path).status == 200
    assert caller().form("SendMessage", {"MessageBody": "by name", "QueueUrl": second}, path=path).status == 200
    assert receive(sqs, first)[0]["Body"] == "by path"
    assert receive(sqs, second)[0]["Body"] == "by name"
    reply = caller().form("ListQueues", {}, path=path)
    assert (reply.status, reply.code()) == (400, "InvalidAction")


def test_a_get_without_an_action_is_unknown(broker, queue):
    reply = wire.exchange(broker, "GET", "/" + queue().split("/", 3)[3])
    assert reply.status == 404 and b"UnknownOperationException" in reply.body


def test_attributes_and_lists_in_forms(caller, queue):
    url = queue()
    found = form(caller(), "GetQueueAttributes", QueueUrl=url, **{"AttributeName.1": "VisibilityTimeout"})
    assert [(e.findtext("Name"), e.findtext("Value")) for e in found.findall(".//Attribute")] == [("VisibilityTimeout", "30")]
    listed = form(caller(), "ListQueues", QueueNamePrefix=name_of(url))
    assert [element.text for element in listed.findall(".//QueueUrl")] == [url]


def test_sts_speaks_its_own_namespace(broker, caller):
    reply = caller(service="sts").form("GetCallerIdentity", {}, version="2011-06-15")
    assert reply.status == 200 and b"https://sts.amazonaws.com/doc/2011-06-15/" in reply.body
    assert reply.xml().findtext(".//Account") == "000000000000"
