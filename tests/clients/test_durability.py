"""A 200 means it is on disk: clients at work while the broker is killed, over and over."""

import base64
import hashlib
import itertools
import os
import random
import threading
import time

from conftest import needs_command, receive, receive_none, values

ROUNDS = int(os.environ.get("SEALQ_CRASH_ROUNDS", "50"))
ROUND_SECONDS = (0.05, 0.4)
QUEUES = {
    "plain": {"SqsManagedSseEnabled": "false"},
    "managed": {"SqsManagedSseEnabled": "true"},
    "kms": {"KmsMasterKeyId": "alias/aws/sqs"},
}


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


class Client(threading.Thread):
    """Sends or consumes in a loop until told to stop; a broken connection is no error, a wrong answer is."""

    def __init__(self, broker, url, ledger, name, stop):
        super().__init__(name=name, daemon=True)
        settings = {"connect_timeout": 2, "read_timeout": 10, "parameter_validation": False}
        self.sqs, self.url, self.ledger, self.stop = broker.client(**settings), url, ledger, stop
        self.random = random.Random(name)

    def run(self):
        while not self.stop.is_set():
            try:
                self.step()
            except Exception as error:  # noqa: BLE001: a killed broker breaks calls in many ways
                if getattr(error, "response", None) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    with self.ledger.lock:
                        self.ledger.wrong.append(f"{self.name}: {error}")
                time.sleep(0.02)


class Producer(Client):
    counter = itertools.count()

    def step(self):
        batch = {}
        for _ in range(self.random.choice((1, 3, 10))):
            label = f"{self.name}-{next(self.counter)}"
            size = self.random.choice((1, 200, 5000, 70000))
            batch[label] = f"{label} " + "x" * size + self.random.choice(("", "\u00e9", "\U0001f512"))
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


class Consumer(Client):
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


def drain(sqs, url, ledger):
    """Receives and deletes until nothing comes; returns the labels."""
    labels, empty = [], 0
    while empty < 2:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get("Messages", [])
        empty = 0 if messages else empty + 1
        for message in messages:
            labels.append(ledger.seen(message, ledger.deleted))
        if messages:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
            assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return labels


def test_no_acknowledged_message_is_lost_and_no_deletion_undone_by_kill_9(own_broker):
    broker, ledger, stop = own_broker.start(), Ledger(), threading.Event()
    sqs = broker.client()
    urls = {
        name: sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1", **given})["QueueUrl"]
        for name, given in QUEUES.items()
    }
    clients = [Producer(broker, url, ledger, f"send-{name}", stop) for name, url in urls.items()]
    clients += [Consumer(broker, url, ledger, f"take-{name}", stop) for name, url in urls.items()]
    [client.start() for client in clients]
    chance = random.Random(1)
    for _ in range(ROUNDS):
        time.sleep(chance.uniform(*ROUND_SECONDS))
        broker.kill()
        broker.start()
        assert not ledger.wrong, ledger.wrong[:5]
    stop.set()
    [client.join(15) for client in clients]
    assert not any(client.is_alive() for client in clients)
    time.sleep(1.1)
    found = [label for url in urls.values() for label in drain(sqs, url, ledger)]
    assert not ledger.wrong, ledger.wrong[:5]
    missing = set(ledger.sent.values()) - ledger.delete_asked - set(found)
    assert not missing, f"{len(missing)} acknowledged messages are lost: {sorted(missing)[:5]}"
    undone = ledger.deleted & set(found)
    assert not undone, f"{len(undone)} deletions are undone: {sorted(undone)[:5]}"
    assert len(ledger.sent) > 5 * ROUNDS and len(ledger.deleted) > ROUNDS, "the clients hardly did anything"


def test_a_graceful_restart_keeps_everything(own_broker):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"}, tags={"a": "b"})["QueueUrl"]
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    fifo_url = sqs.create_queue(QueueName="q.fifo", Attributes=fifo)["QueueUrl"]
    for index in range(20):
        sqs.send_message(QueueUrl=url, MessageBody=f"message {index}")
    first = sqs.send_message(QueueUrl=fifo_url, MessageBody="one", MessageGroupId="g")
    sqs.send_message(QueueUrl=fifo_url, MessageBody="two", MessageGroupId="g")
    sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=600)
    kept, deleted = receive(sqs, url, 2, VisibilityTimeout=600)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=deleted["ReceiptHandle"])
    own_broker.restart()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
    assert values(sqs, url, *names) == ["18", "1", "1"]
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "b"}
    assert len({message["Body"] for message in receive(sqs, url, 18)}) == 18
    assert receive_none(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=kept["ReceiptHandle"])
    assert values(sqs, url, *names) == ["0", "18", "1"]
    again = sqs.send_message(QueueUrl=fifo_url, MessageBody="one", MessageGroupId="g")
    assert again["MessageId"] == first["MessageId"], "the deduplication window survives"
    assert [message["Body"] for message in receive(sqs, fifo_url, 2)] == ["one", "two"]


def test_a_second_daemon_on_the_same_directory_is_refused(own_broker):
    own_broker.start()
    result = own_broker.run("serve", check=False)
    assert result.returncode != 0
    assert own_broker.http_status("/readyz") == 200


@needs_command("backup")
def test_a_backup_of_a_running_broker_is_restored_elsewhere(own_broker, tmp_path):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="saved")
    backup = tmp_path / "backup"
    own_broker.run("backup", str(backup))
    sqs.send_message(QueueUrl=url, MessageBody="after the backup")
    assert own_broker.stop() == 0
    own_broker.data.rename(tmp_path / "lost")
    own_broker.run("restore", str(backup))
    own_broker.start()
    assert [message["Body"] for message in receive(sqs, url)] == ["saved"]
    assert receive_none(sqs, url)


def test_verify_finds_a_flipped_byte_and_the_rest_is_served(own_broker):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    for index in range(10):
        sqs.send_message(QueueUrl=url, MessageBody=f"message {index}")
    assert own_broker.stop() == 0
    assert own_broker.run("verify").returncode == 0
    record = own_broker.inspect("q")[4]
    ciphertext = base64.b64decode(record["ciphertext"])
    (segment,) = [path for path in (own_broker.data / "log").glob("*.seg") if ciphertext in path.read_bytes()]
    raw = bytearray(segment.read_bytes())
    raw[raw.index(ciphertext)] ^= 1
    segment.write_bytes(raw)
    assert own_broker.run("verify", check=False).returncode == 4
    own_broker.start()
    bodies = {message["Body"] for message in receive(sqs, url, 9)}
    assert len(bodies) == 9
    assert receive_none_or_error(sqs, url)


def receive_none_or_error(sqs, url):
    """A damaged record is never given out: an empty reply or an error, both are right."""
    try:
        return receive_none(sqs, url)
    except sqs.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
