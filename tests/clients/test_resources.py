"""boto3's own layer above the client: resources, collections and paginators."""

import hashlib

import pytest

from conftest import ALL_SYSTEM_ATTRIBUTES, arn_of, name_of, redrive

pytestmark = pytest.mark.both_protocols


@pytest.fixture
def sqs_resource(broker):
    return broker.resource()


def test_a_queue_is_made_found_changed_and_deleted(sqs_resource, queue_name):
    name = queue_name()
    made = sqs_resource.create_queue(
        QueueName=name, Attributes={"KmsMasterKeyId": "alias/aws/sqs"}, tags={"team": "blue"}
    )
    found = sqs_resource.get_queue_by_name(QueueName=name)
    assert found.url == made.url
    assert found.attributes["KmsMasterKeyId"] == "alias/aws/sqs"
    assert found.attributes["QueueArn"] == arn_of(found.url)
    found.set_attributes(Attributes={"DelaySeconds": "3"})
    found.reload()
    assert found.attributes["DelaySeconds"] == "3"
    assert [each.url for each in sqs_resource.queues.filter(QueueNamePrefix=name)] == [made.url]
    assert found.meta.client.list_queue_tags(QueueUrl=found.url)["Tags"] == {"team": "blue"}
    found.delete()
    with pytest.raises(sqs_resource.meta.client.exceptions.QueueDoesNotExist):
        sqs_resource.get_queue_by_name(QueueName=name)


def test_messages_are_objects_that_delete_themselves(sqs_resource, queue):
    own = sqs_resource.Queue(queue(KmsMasterKeyId="alias/aws/sqs"))
    given = {"Author": {"StringValue": "Daniel", "DataType": "String"}}
    sent = own.send_message(MessageBody="boto3", MessageAttributes=given)
    assert sent["MD5OfMessageBody"] == hashlib.md5(b"boto3").hexdigest()
    own.send_messages(Entries=[{"Id": str(index), "MessageBody": str(index)} for index in range(4)])
    messages = own.receive_messages(
        MaxNumberOfMessages=10, WaitTimeSeconds=2, MessageAttributeNames=["Author"], **ALL_SYSTEM_ATTRIBUTES
    )
    assert sorted(message.body for message in messages) == ["0", "1", "2", "3", "boto3"]
    (first,) = [message for message in messages if message.body == "boto3"]
    assert (first.message_attributes, first.message_id) == (given, sent["MessageId"])
    assert first.md5_of_message_attributes == sent["MD5OfMessageAttributes"]
    assert first.attributes["ApproximateReceiveCount"] == "1"
    first.change_visibility(VisibilityTimeout=0)
    (again,) = own.receive_messages(WaitTimeSeconds=2)
    assert again.message_id == first.message_id and again.message_attributes is None
    again.delete()
    rest = [{"Id": message.body, "ReceiptHandle": message.receipt_handle} for message in messages if message is not first]
    assert len(own.delete_messages(Entries=rest)["Successful"]) == 4
    own.reload()
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    assert [own.attributes[name] for name in counts] == ["0", "0"]


def test_a_queue_lists_the_queues_it_holds_dead_letters_of(sqs_resource, queue):
    dead = sqs_resource.Queue(queue())
    sources = sorted(queue(RedrivePolicy=redrive(dead.url)) for _ in range(3))
    assert sorted(each.url for each in dead.dead_letter_source_queues.all()) == sources


def test_permissions_are_given_and_taken_back(sqs_resource, queue):
    own = sqs_resource.Queue(queue())
    own.add_permission(Label="pair", AWSAccountIds=["111111111111"], Actions=["SendMessage", "ReceiveMessage"])
    own.reload()
    assert '"SQS:SendMessage"' in own.attributes["Policy"]
    own.remove_permission(Label="pair")
    own.reload()
    assert "Policy" not in own.attributes


def test_paginators_go_through_all_queues(sqs, queue, queue_name):
    prefix = queue_name()
    names = sorted(f"{prefix}-{index}" for index in range(7))
    dead = queue()
    for name in names:
        sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": redrive(dead)})
    size = {"PaginationConfig": {"PageSize": 3}}
    pages = list(sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, **size))
    assert [len(page["QueueUrls"]) for page in pages] == [3, 3, 1]
    assert [name_of(url) for page in pages for url in page["QueueUrls"]] == names
    pages = list(sqs.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=dead, **size))
    assert sorted(name_of(url) for page in pages for url in page["queueUrls"]) == names
