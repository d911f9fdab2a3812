"""A 200 means it is on disk: clients at work while the broker is killed, over and over."""

import base64
import os
import random
import subprocess
import time

import pytest

import daemon
from conftest import account_settings, needs_command, receive, receive_none, values
from workload import Workload, drain

ROUNDS = int(os.environ.get("SEALQ_CRASH_ROUNDS", "50"))
ROUND_SECONDS = (0.05, 0.4)


@pytest.mark.parametrize("io", ["io_uring", "threads"])
def test_no_acknowledged_message_is_lost_and_no_deletion_undone_by_kill_9(tmp_path, io):
    # Small segments, so that the kills meet sealing, recycling and compaction as well.
    settings = f'[storage]\nio = "{io}"\nsegment_bytes = "4 MiB"\n'
    broker = daemon.Broker(tmp_path / "broker", settings + account_settings()).start()
    try:
        assert broker.metric("sealq_io_engine_info", engine=io) == 1
        workload, chance = Workload(broker).start(), random.Random(1)
        for _ in range(ROUNDS // 2):
            time.sleep(chance.uniform(*ROUND_SECONDS))
            broker.crash()
            workload.check_so_far()
        workload.settle()
        assert len(workload.ledger.sent) > 5 * ROUNDS and len(workload.ledger.deleted) > ROUNDS, "the clients did hardly anything"
        assert broker.metric("sealq_log_quarantined_records_total") == 0
        assert broker.stop() == 0
        assert broker.run("verify", check=False).returncode == 0
        workload.check_no_plaintext()
    finally:
        broker.kill()


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


@needs_command("backup")
def test_a_backup_under_load_that_is_killed_and_resumed_holds_what_was_there_when_it_began(tmp_path):
    settings = '[storage]\nsegment_bytes = "4 MiB"\n' + account_settings()
    broker = daemon.Broker(tmp_path / "broker", settings).start()
    try:
        workload = Workload(broker).start()
        time.sleep(3)
        backup = tmp_path / "backup"
        for seconds in (0.02, 0.05, 0.1):
            command = [daemon.BINARY, "backup", backup, "--config", broker.config]
            cut_off = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            time.sleep(seconds)
            cut_off.kill()
            cut_off.wait()
        with workload.ledger.lock:
            there_before = set(workload.ledger.sent.values())
        broker.run("backup", str(backup))
        workload.stop.set()
        [worker.join(30) for worker in workload.workers]
        workload.check_so_far()
        gone = workload.ledger.delete_asked
        assert broker.stop() == 0
        broker.data.rename(tmp_path / "lost")
        broker.run("restore", str(backup))
        assert broker.run("verify", check=False).returncode in (0, 4)  # the end may be a write that was under way
        broker.start()
        # What was deleted after the backup is back, as it must be.
        workload.ledger.deleted = set()
        sqs = broker.client()
        time.sleep(1.1)
        found = [label for url in workload.urls.values() for label in drain(sqs, url, workload.ledger)]
        found += drain(sqs, workload.failing_url, workload.ledger) + drain(sqs, workload.dead_url, workload.ledger)
        workload.check_so_far()
        missing = there_before - gone - set(found)
        assert not missing, f"{len(missing)} messages are not in the backup: {sorted(missing)[:5]}"
        assert broker.metric("sealq_log_quarantined_records_total") == 0
        assert broker.stop() == 0
        assert broker.run("verify", check=False).returncode == 0
    finally:
        broker.kill()


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
