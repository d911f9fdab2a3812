"""Clients at work while the broker under them is killed, and the ledger of what they were told.

Every worker checks what it sees as it goes; `Workload.settle` checks the rest when the broker is up for good: what was
acknowledged is there, what was deleted is not, groups kept their order, nothing is there twice that may not be.
"""

import concurrent.futures
import hashlib
import itertools
import pathlib
import random
import threading
import time

from botocore.exceptions import ClientError

CANARY = "canary-of-an-encrypted-body"
STANDARD = {
    "plain": {"SqsManagedSseEnabled": "false"},
    "managed": {"SqsManagedSseEnabled": "true"},
    "kms": {"KmsMasterKeyId": "alias/aws/sqs"},
}
SIZES = (1, 200, 5000, 70000)


def digest(body):
    return hashlib.sha256(body.encode()).hexdigest()


class Ledger:
    """What the clients were told, and what they asked without an answer."""

    def __init__(self):
        self.lock = threading.Lock()
        self.bodies = {}  # label -> digest of every body ever offered
        self.sent = {}  # message id -> label, acknowledged
        self.deleted = set()  # labels whose deletion was acknowledged
        self.delete_asked = set()  # labels whose deletion was asked for
        self.wrong = []

    def offer(self, label, body):
        with self.lock:
            self.bodies[label] = digest(body)

    def blame(self, text):
        with self.lock:
            self.wrong.append(text)

    def seen(self, message, deleted_before):
        """Checks a received message; `deleted_before`: labels acknowledged as deleted before the receive began."""
        label = message["Body"].split(" ", 1)[0]
        with self.lock:
            if self.bodies.get(label) != digest(message["Body"]):
                self.wrong.append(f"{label}: the body is not the one that was sent")
            if self.sent.get(message["MessageId"], label) != label:
                self.wrong.append(f"{label}: has the id of {self.sent[message['MessageId']]}")
            if label in deleted_before:
                self.wrong.append(f"{label}: came back after its deletion was acknowledged")
        return label


class Worker(threading.Thread):
    """Works in a loop until told to stop; a broken connection is no error, a wrong answer is."""

    def __init__(self, name, broker, ledger, stop):
        super().__init__(name=name, daemon=True)
        settings = {"connect_timeout": 2, "read_timeout": 10, "parameter_validation": False}
        self.sqs, self.ledger, self.stop = broker.client(**settings), ledger, stop
        self.random = random.Random(name)

    def run(self):
        while not self.stop.is_set():
            try:
                self.step()
            except Exception as error:  # noqa: BLE001: a killed broker breaks calls in many ways
                if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    self.ledger.blame(f"{self.name}: {error}")
                elif isinstance(error, AssertionError):
                    self.ledger.blame(f"{self.name}: {error}")
                time.sleep(0.02)


class Producer(Worker):
    """Sends single messages and batches to a standard queue."""

    counter = itertools.count()

    def __init__(self, url, *arguments):
        super().__init__(*arguments)
        self.url = url

    def step(self):
        batch = {}
        for _ in range(self.random.choice((1, 3, 10))):
            label = f"{self.name}-{next(self.counter)}"
            filling = self.random.choice(("", "\u00e9", "\U0001f512"))
            batch[label] = f"{label} {CANARY} " + "x" * self.random.choice(SIZES) + filling
            self.ledger.offer(label, batch[label])
        if len(batch) == 1:
            ((label, body),) = batch.items()
            reply = self.sqs.send_message(QueueUrl=self.url, MessageBody=body)
            acknowledged = {reply["MessageId"]: label}
        else:
            entries = [{"Id": label, "MessageBody": body} for label, body in batch.items()]
            reply = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert "Failed" not in reply, reply["Failed"]
            acknowledged = {entry["MessageId"]: entry["Id"] for entry in reply["Successful"]}
        with self.ledger.lock:
            self.ledger.sent.update(acknowledged)


class Consumer(Worker):
    """Receives from a standard queue and deletes half of it."""

    def __init__(self, url, *arguments):
        super().__init__(*arguments)
        self.url = url

    def step(self):
        with self.ledger.lock:
            deleted_before = set(self.ledger.deleted)
        reply = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10)
        labels = {}
        for message in reply.get("Messages", []):
            labels[message["ReceiptHandle"]] = self.ledger.seen(message, deleted_before)
        doomed = [handle for handle in labels if self.random.random() < 0.5]
        if not doomed:
            time.sleep(0.02)
            return
        with self.ledger.lock:
            self.ledger.delete_asked.update(labels[handle] for handle in doomed)
        entries = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(doomed)]
        reply = self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
        with self.ledger.lock:
            self.ledger.deleted.update(labels[doomed[int(entry["Id"])]] for entry in reply.get("Successful", []))


class GroupProducer(Worker):
    """Sends 0, 1, 2, … to one group of a FIFO queue, each again and again until it is acknowledged."""

    def __init__(self, url, group, *arguments):
        super().__init__(*arguments)
        self.url, self.group, self.next = url, group, 0

    def step(self):
        body = f"{self.group}:{self.next} {CANARY} " + "y" * self.random.choice(SIZES[:3])
        # Drawn anew for a repetition: deduplication goes by the id alone, and the first body stays.
        with self.ledger.lock:
            self.ledger.bodies.setdefault(f"{self.group}:{self.next}", set()).add(digest(body))
        self.sqs.send_message(
            QueueUrl=self.url, MessageBody=body, MessageGroupId=self.group, MessageDeduplicationId=f"{self.group}-{self.next}"
        )
        self.next += 1


class GroupConsumer(Worker):
    """Receives and deletes from a FIFO queue and checks that no group skips, repeats or turns around."""

    def __init__(self, url, *arguments):
        super().__init__(*arguments)
        self.url = url
        self.first_seen = {}  # group -> numbers received so far: 0 to this, without a gap
        self.deleted = {}  # group -> numbers whose deletion was acknowledged

    def step(self):
        before = {group: set(numbers) for group, numbers in self.deleted.items()}
        messages = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            self.look_at(message, before)
        for message in messages:
            group, number = self.place(message)
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            self.deleted.setdefault(group, set()).add(number)
        if not messages:
            time.sleep(0.02)

    @staticmethod
    def place(message):
        group, number = message["Body"].split(" ", 1)[0].split(":")
        return group, int(number)

    def look_at(self, message, deleted_before):
        group, number = self.place(message)
        with self.ledger.lock:
            known = self.ledger.bodies.get(f"{group}:{number}", ())
        assert digest(message["Body"]) in known, f"{group}:{number}: the body is not the one that was sent"
        assert number not in deleted_before.get(group, ()), f"{group}:{number}: came back after its deletion"
        seen = self.first_seen.get(group, -1)
        assert number <= seen + 1, f"{group}: {number} came first after {seen}"
        self.first_seen[group] = max(seen, number)


class Failer(Worker):
    """Receives without deleting, so that messages move to the dead-letter queue."""

    def __init__(self, url, *arguments):
        super().__init__(*arguments)
        self.url = url

    def step(self):
        deleted = set()
        for message in self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages", []):
            self.ledger.seen(message, deleted)
        time.sleep(0.05)


class Administrator(Worker):
    """Makes queues, purges some, deletes others, and remembers what was acknowledged."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.numbers = itertools.count()
        self.purged, self.gone, self.made = {}, set(), {}

    def step(self):
        name = f"admin-{next(self.numbers)}"
        url = self.sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "7"}, tags={"t": name})["QueueUrl"]
        if self.random.random() < 0.5:
            self.made[name] = url
            self.sqs.send_message(QueueUrl=url, MessageBody=f"{CANARY} of {name}")
            self.sqs.purge_queue(QueueUrl=url)
            self.purged[name] = url
        else:
            # One that was asked for and not acknowledged may have happened: such a queue is not looked at again.
            self.sqs.delete_queue(QueueUrl=url)
            self.gone.add(name)
        time.sleep(0.1)

    def check(self, sqs):
        for name, url in self.made.items():
            wanted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert wanted["VisibilityTimeout"] == "7", f"{name} lost its attributes"
            assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"t": name}
        for name, url in self.purged.items():
            count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
            assert count["Attributes"]["ApproximateNumberOfMessages"] == "0", f"{name}: its purge is undone"
        there = {url.rsplit("/", 1)[-1] for url in sqs.list_queues(QueueNamePrefix="admin-").get("QueueUrls", [])}
        assert not there & self.gone, f"deleted and back: {sorted(there & self.gone)[:5]}"


def drain(sqs, url, ledger):
    """Receives and deletes until nothing comes; returns the labels."""
    labels, empty = [], 0
    while empty < 2:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
        empty = 0 if messages else empty + 1
        for message in messages:
            labels.append(ledger.seen(message, ledger.deleted))
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
            assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return labels


class Workload:
    """All of the workers against one broker."""

    GROUPS = ("red", "blue")

    def __init__(self, broker):
        self.broker, self.ledger, self.stop = broker, Ledger(), threading.Event()
        sqs = broker.client()

        def make(name, **attributes):
            return sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1", **attributes})["QueueUrl"]

        self.urls = {name: make(name, **given) for name, given in STANDARD.items()}
        self.fifo_url = make("ordered.fifo", FifoQueue="true", KmsMasterKeyId="alias/aws/sqs")
        self.dead_url = make("dead", KmsMasterKeyId="alias/aws/sqs")
        dead_arn = sqs.get_queue_attributes(QueueUrl=self.dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = f'{{"deadLetterTargetArn":"{dead_arn}","maxReceiveCount":1}}'
        self.failing_url = make("failing", KmsMasterKeyId="alias/aws/sqs", RedrivePolicy=policy)
        common = (broker, self.ledger, self.stop)
        self.workers = [Producer(url, f"send-{name}", *common) for name, url in self.urls.items()]
        self.workers += [Consumer(url, f"take-{name}", *common) for name, url in self.urls.items()]
        self.workers += [GroupProducer(self.fifo_url, group, f"send-{group}", *common) for group in self.GROUPS]
        self.group_consumer = GroupConsumer(self.fifo_url, "take-ordered", *common)
        self.administrator = Administrator("administer", *common)
        self.workers += [self.group_consumer, self.administrator]
        self.workers += [Producer(self.failing_url, "send-failing", *common), Failer(self.failing_url, "fail", *common)]

    def start(self):
        for worker in self.workers:
            worker.start()
        return self

    def check_so_far(self):
        with self.ledger.lock:
            assert not self.ledger.wrong, self.ledger.wrong[:5]

    def settle(self):
        """Stops the clients and checks everything; the broker runs, and goes on running."""
        self.stop.set()
        for worker in self.workers:
            worker.join(30)
        assert not any(worker.is_alive() for worker in self.workers)
        time.sleep(1.1)  # the longest lease
        sqs, ledger = self.broker.client(), self.ledger
        with concurrent.futures.ThreadPoolExecutor() as pool:
            drains = [pool.submit(drain, sqs, url, ledger) for url in self.urls.values()]
            dead = drain_pair(sqs, self.failing_url, self.dead_url, ledger)
            found = [label for one in drains for label in one.result()]
        twice = {label for label in dead if dead.count(label) > 1}
        assert not twice, f"in both the queue and its dead-letter queue: {sorted(twice)[:5]}"
        self.check_so_far()
        missing = set(ledger.sent.values()) - ledger.delete_asked - set(found) - set(dead)
        assert not missing, f"{len(missing)} acknowledged messages are lost: {sorted(missing)[:5]}"
        undone = ledger.deleted & set(found)
        assert not undone, f"{len(undone)} deletions are undone: {sorted(undone)[:5]}"
        self.settle_groups()
        self.administrator.check(sqs)

    def settle_groups(self):
        consumer, deadline = self.group_consumer, time.monotonic() + 60
        producers = {worker.group: worker.next for worker in self.workers if isinstance(worker, GroupProducer)}
        while any(consumer.first_seen.get(group, -1) < sent - 1 for group, sent in producers.items()):
            assert time.monotonic() < deadline, f"sent {producers}, received {consumer.first_seen}"
            consumer.step()

    def check_no_plaintext(self):
        """No file of the data directory holds a canary, but for the queue that is not encrypted."""
        plain_allowed = {label.encode() for label in self.ledger.bodies if label.startswith("send-plain")}
        for path in pathlib.Path(self.broker.data).rglob("*"):
            raw = path.read_bytes() if path.is_file() else b""
            at = raw.find(CANARY.encode())
            while at >= 0:
                label = raw[max(0, at - 40) : at].rsplit(b"send-plain-", 1)
                assert len(label) == 2 and b"send-plain-" + label[1].strip() in plain_allowed, f"{path.name} at {at}"
                at = raw.find(CANARY.encode(), at + 1)


def drain_pair(sqs, source, target, ledger):
    """Everything in a queue and in its dead-letter queue; the source's receives may move messages on."""
    labels = []
    for _ in range(2):
        labels += drain(sqs, source, ledger) + drain(sqs, target, ledger)
    return labels
