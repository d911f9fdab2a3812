"""A restart or kill -9 between every change and its check: what is there afterwards is what was there before.

Each change is one entry of CHANGES: it makes its queues, changes something and gives what must hold, asked once before the
broker ends and once after it has come back. Sends and deletions under load are in test_durability.py.
"""

import json
import time

import pytest

import daemon
from conftest import account_settings, arn_of, refused

# Small segments: there are many brokers, and their directories stay for a while.
SETTINGS = '[queues]\nrecreate_wait_seconds = 0\n[storage]\nsegment_bytes = "4 MiB"\n' + account_settings()
CHANGES = []


def change(prepare):
    """Enters a change: prepare(sqs) returns check(sqs, before) or check and a function that compares."""
    CHANGES.append(pytest.param(prepare, id=prepare.__name__.replace("_", "-")))
    return prepare


class State:
    """The client of a broker that comes and goes, and queues by short names."""

    def __init__(self, broker):
        self.broker = broker
        self.sqs = broker.client()

    def queue(self, name, **attributes):
        name += ".fifo" if attributes.get("FifoQueue") else ""
        return self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def fifo(self, name="q", **attributes):
        return self.queue(name, FifoQueue="true", ContentBasedDeduplication="true", **attributes)

    def send(self, url, body="x", **options):
        return self.sqs.send_message(QueueUrl=url, MessageBody=body, **options)

    def receive(self, url, **options):
        options = {"MaxNumberOfMessages": 10, "MessageSystemAttributeNames": ["All"], **options}
        return self.sqs.receive_message(QueueUrl=url, **options).get("Messages", [])

    def counts(self, url):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return [int(found[name]) for name in names]

    def settings(self, url):
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return {name: value for name, value in found.items() if not name.startswith("Approximate")}

    def flush(self):
        """Leases are not awaited: an awaited change behind them takes them to the disk."""
        self.queue("flush")
        self.sqs.tag_queue(QueueUrl=self.queue("flush"), Tags={"at": str(time.time())})


def bodies(messages):
    return [message["Body"] for message in messages]


def redrive(url, count=1):
    return json.dumps({"deadLetterTargetArn": arn_of(url), "maxReceiveCount": count})


# Queues


@change
def create_queue(state):
    url = state.queue("made", DelaySeconds="7", VisibilityTimeout="9")
    state.fifo("made")
    return lambda: (state.settings(url), sorted(state.sqs.list_queues()["QueueUrls"]))


@change
def delete_queue(state):
    url = state.queue("gone")
    state.send(url)
    state.sqs.delete_queue(QueueUrl=url)

    def check():
        refused("AWS.SimpleQueueService.NonExistentQueue", state.sqs.get_queue_url, QueueName="gone")
        return state.sqs.list_queues().get("QueueUrls")

    return check


@change
def delete_and_create_again(state):
    url = state.queue("again")
    state.send(url, "old")
    (old,) = state.receive(url)
    state.sqs.delete_queue(QueueUrl=url)
    state.queue("again", DelaySeconds="0")
    state.send(url, "new")

    def check():
        refused("ReceiptHandleIsInvalid", state.sqs.delete_message, QueueUrl=url, ReceiptHandle=old["ReceiptHandle"])
        return state.counts(url), bodies(state.receive(url, VisibilityTimeout=0))

    return check


@change
def set_queue_attributes(state):
    url, dead = state.queue("q"), state.queue("dead")
    policy = '{"Statement": {"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"} }'
    for given in (
        {"DelaySeconds": "3", "MaximumMessageSize": "2048", "MessageRetentionPeriod": "61"},
        {"ReceiveMessageWaitTimeSeconds": "1", "VisibilityTimeout": "2", "Policy": policy},
        {"RedrivePolicy": redrive(dead, 4), "RedriveAllowPolicy": '{"redrivePermission":"denyAll"}'},
        {"KmsMasterKeyId": "alias/aws/sqs", "KmsDataKeyReusePeriodSeconds": "77"},
    ):
        state.sqs.set_queue_attributes(QueueUrl=url, Attributes=given)
    return lambda: (state.settings(url), state.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"])


@change
def set_fifo_attributes(state):
    url = state.fifo()
    given = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId", "ContentBasedDeduplication": "false"}
    state.sqs.set_queue_attributes(QueueUrl=url, Attributes=given)
    return lambda: state.settings(url)


@change
def remove_attributes(state):
    dead = state.queue("dead")
    url = state.queue("q", RedrivePolicy=redrive(dead), KmsMasterKeyId="alias/aws/sqs")
    state.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": "", "KmsMasterKeyId": ""})
    return lambda: state.settings(url)


@change
def tag_and_untag_queue(state):
    url = state.queue("q")
    state.sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2", "c": ""})
    state.sqs.untag_queue(QueueUrl=url, TagKeys=["b"])
    return lambda: state.sqs.list_queue_tags(QueueUrl=url)["Tags"]


@change
def add_and_remove_permission(state):
    url = state.queue("q")
    for label in ("a", "b"):
        state.sqs.add_permission(QueueUrl=url, Label=label, AWSAccountIds=[daemon.FOREIGN_ACCOUNT], Actions=["SendMessage"])
    state.sqs.remove_permission(QueueUrl=url, Label="a")
    return lambda: state.settings(url)["Policy"]


# Messages


@change
def send_message(state):
    url = state.queue("q", DelaySeconds="900")
    state.send(url, DelaySeconds=0, MessageAttributes={"k": {"DataType": "String", "StringValue": "v"}}, MessageGroupId="g")
    state.send(url, "later")
    seen = ("MessageId", "Body", "MessageAttributes")

    def check():
        messages = state.receive(url, VisibilityTimeout=0, MessageAttributeNames=["All"])
        return [[message[name] for name in seen] for message in messages], state.counts(url)

    return check


@change
def delete_message(state):
    url = state.queue("q")
    for body in ("stays", "goes"):
        state.send(url, body)
    (goes,) = [message for message in state.receive(url) if message["Body"] == "goes"]
    state.sqs.delete_message(QueueUrl=url, ReceiptHandle=goes["ReceiptHandle"])
    return lambda: state.counts(url)


@change
def purge_queue(state):
    url = state.queue("q")
    for _ in range(3):
        state.send(url)
    state.receive(url, MaxNumberOfMessages=1)
    state.send(url, DelaySeconds=900)
    state.sqs.purge_queue(QueueUrl=url)
    state.send(url, "after")

    def check():
        refused("AWS.SimpleQueueService.PurgeQueueInProgress", state.sqs.purge_queue, QueueUrl=url)
        return state.counts(url), bodies(state.receive(url, VisibilityTimeout=0))

    return check


@change
def receive_message(state):
    """What is in flight stays in flight, with its count and its handle."""
    url = state.queue("q", VisibilityTimeout="600")
    state.send(url)
    state.receive(url, VisibilityTimeout=0)
    (held,) = state.receive(url)
    state.flush()

    def check():
        assert state.receive(url) == []
        state.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=held["ReceiptHandle"], VisibilityTimeout=600)
        return state.counts(url)

    return check


@change
def receipt_handle(state):
    """A handle from before deletes afterwards."""
    url = state.queue("q", VisibilityTimeout="600")
    handles = []
    for _ in range(2):
        state.send(url)
        handles += [message["ReceiptHandle"] for message in state.receive(url)]
    state.flush()

    def check():
        state.sqs.delete_message(QueueUrl=url, ReceiptHandle=handles.pop())
        return state.counts(url)[:1]

    return check


@change
def change_message_visibility(state):
    url = state.queue("q", VisibilityTimeout="600")
    for body in ("released", "held"):
        state.send(url, body)
    for message in state.receive(url):
        seconds = 0 if message["Body"] == "released" else 500
        state.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)
    return lambda: (state.counts(url), bodies(state.receive(url, VisibilityTimeout=0)))


@change
def move_to_dead_letters(state):
    dead = state.queue("dead")
    url = state.queue("q", RedrivePolicy=redrive(dead))
    state.send(url)
    state.receive(url, VisibilityTimeout=0)
    assert state.receive(url) == []
    seen = ("SentTimestamp", "DeadLetterQueueSourceArn", "ApproximateFirstReceiveTimestamp")

    def check():
        (message,) = state.receive(dead, VisibilityTimeout=0)
        return message["MessageId"], [message["Attributes"][name] for name in seen], state.counts(url), state.counts(dead)

    return check


# FIFO


@change
def fifo_order(state):
    url = state.fifo()
    sequences = [state.send(url, str(n), MessageGroupId="g")["SequenceNumber"] for n in range(12)]

    def check():
        found = state.receive(url, VisibilityTimeout=0)
        assert bodies(found) == [str(n) for n in range(10)]
        sequences.append(state.send(url, f"more {len(sequences)}", MessageGroupId="h")["SequenceNumber"])
        assert sequences == sorted(set(sequences)), "sequence numbers never go back"
        return [message["Attributes"]["SequenceNumber"] for message in found]

    return check


@change
def fifo_sequence_of_an_emptied_queue(state):
    url = state.fifo()
    sequences = [state.send(url, str(n), MessageGroupId="g")["SequenceNumber"] for n in range(3)]
    for message in state.receive(url):
        state.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def check():
        sequences.append(state.send(url, f"more {len(sequences)}", MessageGroupId="h")["SequenceNumber"])
        assert sequences == sorted(set(sequences))

    return check


@change
def fifo_group_lock(state):
    url = state.fifo(VisibilityTimeout="600")
    for group in "ab":
        for n in range(2):
            state.send(url, f"{group}{n}", MessageGroupId=group)
    state.receive(url, MaxNumberOfMessages=1)
    state.flush()
    return lambda: (state.counts(url), bodies(state.receive(url, VisibilityTimeout=0)))


@change
def deduplication(state):
    """Of a message that was deleted, and of one that is still there."""
    url = state.fifo()
    first = state.send(url, "deleted", MessageGroupId="g")
    (message,) = state.receive(url)
    state.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    second = state.send(url, "kept", MessageGroupId="g", MessageDeduplicationId="d")

    def check():
        again = state.send(url, "deleted", MessageGroupId="g"), state.send(url, "x", MessageGroupId="h", MessageDeduplicationId="d")
        seen = ("MessageId", "SequenceNumber")
        assert [[reply[name] for name in seen] for reply in again] == [[reply[name] for name in seen] for reply in (first, second)]
        return state.counts(url)

    return check


@change
def deduplication_after_a_purge(state):
    url = state.fifo()
    state.send(url, "forgotten", MessageGroupId="g")
    state.sqs.purge_queue(QueueUrl=url)
    first = []

    def check():
        reply = state.send(url, "forgotten", MessageGroupId="g")
        first.append(reply["MessageId"])
        assert reply["MessageId"] == first[0]
        return state.counts(url)

    return check


@change
def a_purge_forgets_before_the_first_send(state):
    """Nothing is sent between the purge and the end of the broker."""
    url = state.fifo()
    original = state.send(url, "forgotten", MessageGroupId="g")["MessageId"]
    state.sqs.purge_queue(QueueUrl=url)

    def check(after=[]):
        if after:
            assert state.send(url, "forgotten", MessageGroupId="g")["MessageId"] != original
            assert state.counts(url) == [1, 0, 0]
        after.append(True)

    return check


@change
def receive_request_attempt_id(state):
    url = state.fifo(VisibilityTimeout="600")
    for n in range(3):
        state.send(url, str(n), MessageGroupId="g")
    attempt = {"MaxNumberOfMessages": 2, "ReceiveRequestAttemptId": "attempt"}
    state.receive(url, **attempt)
    state.flush()

    def check():
        found = [(message["Body"], message["ReceiptHandle"]) for message in state.receive(url, **attempt)]
        state.flush()
        return found

    return check


# Move tasks


def dead_letters(state, count):
    dead = state.queue("dead")
    url = state.queue("q", RedrivePolicy=redrive(dead))
    for n in range(count):
        state.send(dead, str(n))
    return dead, url, state.queue("to")


def tasks(state, dead, *names):
    found = state.sqs.list_message_move_tasks(SourceArn=arn_of(dead), MaxResults=10).get("Results", [])
    return [[task.get(name) for name in names] for task in found]


@change
def start_message_move_task(state):
    """A running task goes on and moves everything once."""
    dead, _, to = dead_letters(state, 6)
    state.sqs.start_message_move_task(SourceArn=arn_of(dead), DestinationArn=arn_of(to), MaxNumberOfMessagesPerSecond=5)

    def check(asked=[]):
        asked.append(True)
        if len(asked) > 1:
            deadline = time.monotonic() + 20
            while state.counts(to)[0] < 6 and time.monotonic() < deadline:
                time.sleep(0.1)
            assert (state.counts(dead), state.counts(to)) == ([0, 0, 0], [6, 0, 0])
        return tasks(state, dead, "SourceArn", "DestinationArn", "MaxNumberOfMessagesPerSecond", "StartedTimestamp", "ApproximateNumberOfMessagesToMove")

    return check


@change
def cancel_message_move_task(state):
    dead, _, to = dead_letters(state, 3)
    arns = {"SourceArn": arn_of(dead), "DestinationArn": arn_of(to)}
    handle = state.sqs.start_message_move_task(MaxNumberOfMessagesPerSecond=1, **arns)["TaskHandle"]
    time.sleep(0.3)
    state.sqs.cancel_message_move_task(TaskHandle=handle)
    deadline = time.monotonic() + 10
    while tasks(state, dead, "Status") != [["CANCELLED"]] and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)
    return lambda: (tasks(state, dead, "Status", "StartedTimestamp", "ApproximateNumberOfMessagesMoved"), state.counts(dead), state.counts(to))


@change
def finished_message_move_task(state):
    dead, _, to = dead_letters(state, 3)
    state.sqs.start_message_move_task(SourceArn=arn_of(dead), DestinationArn=arn_of(to))
    deadline = time.monotonic() + 10
    while tasks(state, dead, "Status") != [["COMPLETED"]] and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    return lambda: (tasks(state, dead, "Status", "ApproximateNumberOfMessagesMoved"), state.counts(dead), state.counts(to))


@change
def a_deleted_queue_takes_its_tasks_along(state):
    dead, url, _ = dead_letters(state, 1)
    state.sqs.start_message_move_task(SourceArn=arn_of(dead))
    time.sleep(0.3)
    state.sqs.delete_queue(QueueUrl=dead)
    state.queue("dead")
    return lambda: (tasks(state, dead, "Status"), state.sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url])


@pytest.mark.parametrize("end", ["restart", "crash"])
@pytest.mark.parametrize("prepare", CHANGES)
def test_what_was_there_before_is_there_after(tmp_path, prepare, end):
    broker = daemon.Broker(tmp_path, SETTINGS)
    broker.start()
    try:
        check = prepare(State(broker))
        before = check()
        getattr(broker, end)()
        assert check() == before
    finally:
        broker.kill()
