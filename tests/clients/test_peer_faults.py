"""Faults that other servers of this API were found to have, each named by its public report where there is one.

What is here needs a process that dies, a client that goes away or a queue that comes back. The table in docs/src/semantics.md
names the tests of the faults that are shown elsewhere.
"""

import http.client
import json
import threading
import time

import pytest

import daemon
import wire
from conftest import account_settings, attributes, receive, refused

SETTINGS = '[queues]\nrecreate_wait_seconds = 0\n[storage]\nsegment_bytes = "4 MiB"\n' + account_settings()


@pytest.fixture
def lone(tmp_path):
    broker = daemon.Broker(tmp_path, SETTINGS)
    yield broker.start()
    broker.kill()


def poll_and_hang_up(broker, url, close):
    """Starts a long poll, lets it wait, and goes away."""
    caller = wire.Caller(broker)
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20, "MaxNumberOfMessages": 10}).encode()
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.ReceiveMessage"}
    headers = caller.signed_headers("POST", "/", [], headers, body)
    connection = http.client.HTTPSConnection("127.0.0.1", broker.https_port, context=broker.tls())
    connection.request("POST", "/", body=body, headers=headers)
    time.sleep(0.3)
    close(connection)


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_a_client_that_hangs_up_in_a_long_poll_takes_no_message(broker, sqs, queue, fifo):
    url = queue(**({"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}))
    group = {"MessageGroupId": "g"} if fifo else {}
    for _ in range(5):
        poll_and_hang_up(broker, url, lambda connection: connection.close())
    time.sleep(0.2)
    for body in ("1", "2"):
        sqs.send_message(QueueUrl=url, MessageBody=body, **group)
    messages = receive(sqs, url, 2, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert [m["Body"] for m in messages] == ["1", "2"]
    assert [m["Attributes"]["ApproximateReceiveCount"] for m in messages] == ["1", "1"]


def test_a_client_that_hangs_up_as_the_message_comes_loses_none(broker, sqs, queue):
    """The poll ends and the message arrives at about the same time, many times."""
    url = queue(VisibilityTimeout="1")
    rounds = 20
    for index in range(rounds):
        sender = threading.Timer(0.3, sqs.send_message, kwargs={"QueueUrl": url, "MessageBody": str(index)})
        sender.start()
        poll_and_hang_up(broker, url, lambda connection: connection.close())
        sender.join()
    bodies, deadline = set(), time.monotonic() + 20
    while len(bodies) < rounds and time.monotonic() < deadline:
        bodies |= {message["Body"] for message in receive(sqs, url, 10, VisibilityTimeout=30)}
    assert bodies == {str(index) for index in range(rounds)}


def test_the_long_poll_of_a_deleted_queue_takes_nothing_of_its_successor(lone):
    """floci-io/floci#1282"""
    sqs, outcome = lone.client(), []
    url = sqs.create_queue(QueueName="q")["QueueUrl"]

    def poll():
        outcome.append(refused("AWS.SimpleQueueService.NonExistentQueue", lone.client().receive_message, QueueUrl=url, WaitTimeSeconds=20))

    waiting = threading.Thread(target=poll)
    waiting.start()
    time.sleep(0.5)
    sqs.delete_queue(QueueUrl=url)
    waiting.join(10)
    assert not waiting.is_alive() and len(outcome) == 1, "the poll ends with its queue"
    assert sqs.create_queue(QueueName="q")["QueueUrl"] == url
    sqs.send_message(QueueUrl=url, MessageBody="of the successor")
    (message,) = receive(sqs, url, 1, MessageSystemAttributeNames=["ApproximateReceiveCount"])
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("of the successor", "1")


@pytest.mark.parametrize("rounds", [4])
def test_a_fifo_send_that_is_tried_again_after_a_crash_is_stored_once(lone, rounds):
    """A deduplication key without its message would make a retry look like a duplicate; a message without its key, a
    second one."""
    url = lone.client().create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sent = []
    for number in range(rounds):
        unanswered = []

        def send():
            sqs = lone.client()
            for index in range(300):
                body = f"{number}-{index}"
                unanswered.append(body)
                try:
                    sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body, MessageDeduplicationId=body)
                except Exception:
                    return
                sent.append(body)
                unanswered.remove(body)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(0.4 + 0.1 * number)
        lone.kill()
        sender.join()
        lone.start()
        sqs = lone.client()
        for body in unanswered + sent[-20:]:
            sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=body, MessageDeduplicationId=body)
        sent += unanswered
    assert int(attributes(sqs, url)["ApproximateNumberOfMessages"]) == len(sent)
    bodies = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600).get("Messages", []):
        bodies += [message["Body"] for message in messages]
    assert sorted(bodies) == sorted(set(sent))


def test_thirty_consumers_share_a_queue_without_errors(sqs, broker, queue):
    """localstack/localstack#5690: latencies and errors with many consumers."""
    url, count, bodies, errors = queue(), 300, [], []
    lock = threading.Lock()

    def consume():
        try:
            consumer = broker.client()
            while len(bodies) < count:
                for message in consumer.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
                    consumer.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                    with lock:
                        bodies.append(message["Body"])
        except Exception as error:
            errors.append(error)

    consumers = [threading.Thread(target=consume) for _ in range(30)]
    for consumer in consumers:
        consumer.start()
    for start in range(0, count, 10):
        entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(start, start + 10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    for consumer in consumers:
        consumer.join(60)
    assert errors == []
    assert sorted(bodies, key=int) == [str(n) for n in range(count)]
