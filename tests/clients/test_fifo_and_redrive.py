"""FIFO order and deduplication, dead-letter queues, move tasks."""

import hashlib
import json
import time

import pytest

from conftest import ALL_SYSTEM_ATTRIBUTES, arn_of, attributes, receive, receive_none, redrive, refused, values

pytestmark = pytest.mark.both_protocols

KINDS = {"plain": {"SqsManagedSseEnabled": "false"}, "managed": {}, "kms": {"KmsMasterKeyId": "alias/aws/sqs"}}
encrypted_or_not = pytest.mark.parametrize("kind", KINDS)


def send(sqs, url, body, group, **options):
    return sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, **options)


def delete(sqs, url, *messages):
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def bodies(messages):
    return [message["Body"] for message in messages]


@encrypted_or_not
def test_a_group_keeps_its_order_and_is_locked_while_in_flight(sqs, queue, kind):
    url = queue(FifoQueue="true", ContentBasedDeduplication="true", **KINDS[kind])
    sequence = [send(sqs, url, f"a{index}", "a")["SequenceNumber"] for index in range(4)]
    send(sqs, url, "b0", "b")
    assert sequence == sorted(sequence) and all(len(number) == 20 for number in sequence)
    first = receive(sqs, url)
    assert bodies(first) == ["a0"]
    other = receive(sqs, url, 1)
    assert bodies(other) == ["b0"]
    assert receive_none(sqs, url)
    delete(sqs, url, *first)
    rest = receive(sqs, url, 3)
    assert bodies(rest) == ["a1", "a2", "a3"]


@encrypted_or_not
def test_sse_39_a_duplicate_is_answered_with_the_first_message(sqs, queue, kind):
    url = queue(FifoQueue="true", ContentBasedDeduplication="true", **KINDS[kind])
    first = send(sqs, url, "same", "g")
    again = send(sqs, url, "same", "g")
    by_hash = send(sqs, url, "other body", "g", MessageDeduplicationId=hashlib.sha256(b"same").hexdigest())
    assert first["MessageId"] == again["MessageId"] == by_hash["MessageId"]
    assert first["SequenceNumber"] == again["SequenceNumber"]
    assert by_hash["MD5OfMessageBody"] == hashlib.md5(b"other body").hexdigest()
    messages = receive(sqs, url)
    assert bodies(messages) == ["same"]
    delete(sqs, url, *messages)
    assert send(sqs, url, "same", "g")["MessageId"] == first["MessageId"]
    assert receive_none(sqs, url)


def test_fifo_sends_need_a_group_and_a_deduplication_id(sqs, queue):
    url = queue(FifoQueue="true")
    refused("MissingParameter", sqs.send_message, QueueUrl=url, MessageBody="x")
    text = refused("InvalidParameterValue", sqs.send_message, QueueUrl=url, MessageBody="x", MessageGroupId="g")
    assert text.startswith("The queue should either have ContentBasedDeduplication enabled or")
    call = {"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    refused("InvalidParameterValue", sqs.send_message, DelaySeconds=2, **call)
    refused("InvalidParameterValue", sqs.send_message, **{**call, "MessageGroupId": "has blank"})


def test_an_expired_fifo_handle_does_not_delete(sqs, queue):
    url = queue(FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="1")
    send(sqs, url, "x", "g")
    (message,) = receive(sqs, url)
    time.sleep(1.2)
    text = refused("InvalidParameterValue", sqs.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert text.endswith("Reason: The receipt handle has expired.")
    assert bodies(receive(sqs, url)) == ["x"]


def test_purge_clears_the_deduplication_window(sqs, queue):
    url = queue(FifoQueue="true", ContentBasedDeduplication="true")
    first = send(sqs, url, "x", "g")
    sqs.purge_queue(QueueUrl=url)
    assert send(sqs, url, "x", "g")["MessageId"] != first["MessageId"]


def test_a_receive_attempt_id_repeats_the_same_messages(sqs, queue):
    url = queue(FifoQueue="true", ContentBasedDeduplication="true")
    for index in range(3):
        send(sqs, url, str(index), "g")
    attempt = {"QueueUrl": url, "MaxNumberOfMessages": 2, "ReceiveRequestAttemptId": "try-1"}
    first = sqs.receive_message(**attempt)["Messages"]
    again = sqs.receive_message(**attempt)["Messages"]
    assert bodies(first) == ["0", "1"]
    assert [m["ReceiptHandle"] for m in first] == [m["ReceiptHandle"] for m in again]


def move_to_dead_letters(sqs, source):
    """Receives what `source` holds once and lets the next receive move it."""
    received = receive(sqs, source, 1, VisibilityTimeout=0)
    assert len(received) == 1
    assert receive_none(sqs, source)
    return received[0]


@encrypted_or_not
@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_a_message_received_too_often_goes_to_the_dead_letter_queue(sqs, queue, kind, fifo):
    shape = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    dead = queue(**shape)
    source = queue(RedrivePolicy=redrive(dead), **shape, **KINDS[kind])
    group = {"MessageGroupId": "g"} if fifo else {}
    trace = {"n": {"DataType": "String", "StringValue": "v"}}
    sent = sqs.send_message(QueueUrl=source, MessageBody="poison", MessageAttributes=trace, **group)
    move_to_dead_letters(sqs, source)
    counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    assert (values(sqs, source, *counts), values(sqs, dead, *counts)) == (["0", "0"], ["1", "0"])
    names = {**ALL_SYSTEM_ATTRIBUTES, "MessageAttributeNames": ["All"]}
    (moved,) = receive(sqs, dead, **names)
    assert (moved["Body"], moved["MessageId"], moved["MessageAttributes"]) == ("poison", sent["MessageId"], trace)
    assert moved["Attributes"]["ApproximateReceiveCount"] == "2"
    assert moved["Attributes"]["DeadLetterQueueSourceArn"] == arn_of(source)
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [source]


def test_a_move_task_brings_messages_back_as_new_ones(sqs, queue):
    dead = queue()
    source = queue(RedrivePolicy=redrive(dead), KmsMasterKeyId="alias/aws/sqs")
    sent = sqs.send_message(QueueUrl=source, MessageBody="try again")
    move_to_dead_letters(sqs, source)
    sqs.start_message_move_task(SourceArn=arn_of(dead))
    (message,) = receive(sqs, source, **ALL_SYSTEM_ATTRIBUTES)
    assert message["Body"] == "try again" and message["MessageId"] != sent["MessageId"]
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "DeadLetterQueueSourceArn" not in message["Attributes"]
    deadline = time.monotonic() + 10
    while (task := sqs.list_message_move_tasks(SourceArn=arn_of(dead))["Results"][0])["Status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert "TaskHandle" not in task


def test_a_move_task_needs_a_dead_letter_queue_and_can_be_cancelled(sqs, queue):
    dead, other = queue(), queue()
    text = refused("InvalidParameterValue", sqs.start_message_move_task, SourceArn=arn_of(other))
    assert text == "Source queue must be configured as a Dead Letter Queue."
    source = queue(RedrivePolicy=redrive(dead))
    for start in range(0, 20, 10):
        sqs.send_message_batch(QueueUrl=source, Entries=[{"Id": str(i), "MessageBody": "x"} for i in range(start, start + 10)])
    deadline = time.monotonic() + 10
    while attributes(sqs, dead, "ApproximateNumberOfMessages") != {"ApproximateNumberOfMessages": "20"}:
        assert time.monotonic() < deadline
        sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10, VisibilityTimeout=0)
    handle = sqs.start_message_move_task(SourceArn=arn_of(dead), MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    refused("InvalidParameterValue", sqs.start_message_move_task, SourceArn=arn_of(dead))
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert moved < 20
    refused("InvalidParameterValue", sqs.cancel_message_move_task, TaskHandle="garbage")


def test_a_redrive_policy_is_checked(sqs, queue):
    url, fifo = queue(), queue(FifoQueue="true")
    wrong = [
        "not json",
        json.dumps({"deadLetterTargetArn": arn_of(url)}),
        redrive(url, 0),
        redrive(url, 1001),
        redrive(fifo),
        json.dumps({"deadLetterTargetArn": arn_of(url) + "-absent", "maxReceiveCount": 1}),
    ]
    for policy in wrong:
        with pytest.raises(sqs.exceptions.ClientError) as caught:
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
        assert caught.value.response["Error"]["Code"] in ("InvalidParameterValue", "InvalidAttributeValue"), policy
    target = queue()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive(target, "5")})
    assert json.loads(attributes(sqs, url, "RedrivePolicy")["RedrivePolicy"])["maxReceiveCount"] == 5
