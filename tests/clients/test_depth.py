"""Many messages, many queues, many connections: what is promised of a few holds for all, and space comes back."""

import concurrent.futures
import contextlib
import json
import socket
import time

import pytest

import daemon
import wire
from conftest import account_settings, receive

SEGMENT_BYTES = 4 << 20


@pytest.fixture
def small_segments(tmp_path):
    settings = '[storage]\nsegment_bytes = "4 MiB"\n[limits]\nqueue_series_max = 100\nconnections = 40\n'
    broker = daemon.Broker(tmp_path / "broker", settings + account_settings())
    yield broker.start()
    broker.kill()


def log_bytes(broker):
    """What the log takes on the disk, by the system's account."""
    used = 0
    for path in (broker.data / "log").iterdir():
        # A file may go while they are looked at.
        with contextlib.suppress(FileNotFoundError):
            used += path.stat().st_blocks * 512
    return used


def within(seconds, holds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def at_once(calls, threads=8):
    """Makes every call; the results in order."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def fill(sqs, url, megabytes):
    body = "x" * 100_000
    entries = [{"Id": str(number), "MessageBody": body} for number in range(10)]
    at_once([lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries)] * megabytes, threads=2)


@pytest.mark.parametrize("end", ["purge", "delete"])
def test_space_comes_back_when_a_queue_is_emptied_at_once(small_segments, end):
    broker, sqs = small_segments, small_segments.client()
    kept, doomed = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("kept", "doomed"))
    for _ in range(6):
        # Both lie in every segment: what is kept has to be copied for the rest to go.
        fill(sqs, doomed, 6)
        fill(sqs, kept, 2)
    before = log_bytes(broker)
    assert before > 44 << 20
    if end == "purge":
        sqs.purge_queue(QueueUrl=doomed)
    else:
        sqs.delete_queue(QueueUrl=doomed)
    within(20, lambda: log_bytes(broker) <= 2 * (12 << 20) + 2 * SEGMENT_BYTES)
    assert broker.metric("sealq_log_disk_bytes") <= log_bytes(broker)
    broker.crash()
    sqs = broker.client()
    found = at_once([lambda: sqs.receive_message(QueueUrl=kept, MaxNumberOfMessages=10)] * 15, threads=2)
    assert sum(len(reply.get("Messages", [])) for reply in found) == 120


def test_a_deep_fifo_queue_keeps_the_order_of_its_groups_over_a_crash(own_broker):
    groups, messages = 300, 3000
    sqs = own_broker.start().client()
    queue = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "300"}
    url = sqs.create_queue(QueueName="deep.fifo", Attributes=queue)["QueueUrl"]

    def send(first):
        entries = [
            {"Id": str(number), "MessageBody": str(number), "MessageGroupId": str(number % groups)}
            for number in range(first, first + 10)
        ]
        assert len(sqs.send_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10

    for first in range(0, messages, 10):
        send(first)
    own_broker.crash()
    sqs = own_broker.client()
    # What was sent a moment ago is known after the crash: the same bodies again are duplicates.
    send(messages - 10)
    seen = {}
    for _ in range(messages // 10):
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        for message in found:
            seen.setdefault(int(message["Body"]) % groups, []).append(int(message["Body"]))
        deletes = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(found)]
        sqs.delete_message_batch(QueueUrl=url, Entries=deletes)
        if len(seen) == groups and sum(map(len, seen.values())) == messages:
            break
    assert sorted(seen) == list(range(groups))
    for group, bodies in seen.items():
        assert bodies == list(range(group, messages, groups))
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


def test_two_thousand_queues_start_again_and_share_series_beyond_the_limit(small_segments):
    broker, sqs = small_segments, small_segments.client(max_pool_connections=8)

    def make(number):
        url = sqs.create_queue(QueueName=f"q{number:04}")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
        return url

    urls = at_once([lambda number=number: make(number) for number in range(2000)])
    listed = [url for page in sqs.get_paginator("list_queues").paginate(PaginationConfig={"PageSize": 900}) for url in page["QueueUrls"]]
    assert sorted(listed) == sorted(urls)
    for name in ("sealq_messages_sent_total", "sealq_queue_messages_visible"):
        series = [line for line in broker.metrics().splitlines() if line.startswith(name + "{")]
        assert len(series) == 101 and broker.metric(name) == 2000
        assert broker.metric(name, queue="_other") == 1900
    # Counters never fall when a queue goes that had no series of its own.
    for url in urls[-20:]:
        sqs.delete_queue(QueueUrl=url)
    assert broker.metric("sealq_messages_sent_total") == 2000
    broker.restart()
    sqs = broker.client()
    for number in range(0, 1980, 180):
        assert [message["Body"] for message in receive(sqs, urls[number])] == [str(number)]
    assert broker.metric("sealq_queue_messages_visible") == 1980 - 11


def test_a_connection_over_the_limit_is_refused_in_words(small_segments):
    broker = small_segments
    held = [socket.create_connection(("127.0.0.1", broker.https_port)) for _ in range(40)]
    try:
        within(5, lambda: wire.exchange(broker, "GET", "/nothing").status == 503)
        reply = wire.exchange(broker, "POST", "/", {"x-amz-target": "AmazonSQS.ListQueues"}, b"{}")
        assert reply.status == 503 and reply.headers["retry-after"] == "1"
        assert "limits.connections" in json.loads(reply.body)["message"]
        assert broker.http_status("/healthz") == 200
        assert broker.metric("sealq_connections_refused_total") >= 2
    finally:
        for connection in held:
            connection.close()
    within(5, lambda: wire.exchange(broker, "GET", "/nothing").status != 503)
