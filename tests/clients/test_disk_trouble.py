"""A disk that is full, stalls, fails or turns read-only under the running broker."""

import concurrent.futures
import struct
import time

import pytest

import daemon
import lossy_disk
from conftest import account_settings, receive

pytestmark = pytest.mark.skipif(lossy_disk.why_not() is not None, reason=str(lossy_disk.why_not()))
MEBIBYTE = 1 << 20
BLOCK = 4096
SETTINGS = '[storage]\nsegment_bytes = "4 MiB"\nfree_space_min = "8 MiB"\n[limits]\nmemory_inflight = "16 MiB"\n'


@pytest.fixture
def disk(tmp_path):
    disk = lossy_disk.LossyDisk(tmp_path / "disk", 1)
    yield disk
    disk.close()


@pytest.fixture
def broker(disk, tmp_path):
    broker = daemon.Broker(tmp_path / "broker", SETTINGS + account_settings())
    path = disk.mountpoint / "data"
    broker.config.write_text(broker.config.read_text().replace(str(broker.data), str(path)))
    broker.data = path
    yield broker.start()
    broker.kill()


@pytest.fixture
def url(broker):
    attributes = {"KmsMasterKeyId": "alias/aws/sqs", "VisibilityTimeout": "600"}
    return broker.client().create_queue(QueueName="q", Attributes=attributes)["QueueUrl"]


def status_of(call, **parameters):
    try:
        return call(**parameters)["ResponseMetadata"]["HTTPStatusCode"]
    except Exception as error:  # noqa: BLE001
        if hasattr(error, "response"):
            return error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def test_a_full_disk_refuses_sends_serves_the_rest_and_recovers_by_itself(broker, disk, url):
    disk.set_capacity(40 * MEBIBYTE)
    sqs, sent = broker.client(), 0
    while (status := status_of(sqs.send_message, QueueUrl=url, MessageBody="f" * 250_000)) == 200:
        sent += 1
        assert sent < 400, "the disk never filled up"
    assert status == 503
    assert "free disk space crossed the limit" in broker.log() or "no file for the next segment" in broker.log()
    assert broker.http_status("/healthz") == 200
    messages = receive(sqs, url, 10)
    assert len(messages) == 10
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    disk.set_capacity(400 * MEBIBYTE)
    until(lambda: status_of(sqs.send_message, QueueUrl=url, MessageBody="room again") == 200)
    assert broker.stop() == 0
    broker.start()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert sum(int(found[name]) for name in names) == sent - 10 + 1


def test_a_stalled_sync_sheds_load_with_503_and_goes_on_where_it_was(broker, disk, url):
    settings = {"read_timeout": 60, "max_pool_connections": 100}
    sqs = broker.client(**settings)
    assert status_of(sqs.send_message, QueueUrl=url, MessageBody="before") == 200
    disk.stall(True)
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        calls = [pool.submit(status_of, sqs.send_message, QueueUrl=url, MessageBody="s" * 250_000) for _ in range(100)]
        until(lambda: any(call.done() for call in calls))
        time.sleep(1)
        answered = [call.result() for call in calls if call.done()]
        assert set(answered) == {503}, "nothing may be acknowledged while nothing reaches the disk"
        assert len(answered) < 100, "the first ones wait"
        disk.stall(False)
        statuses = [call.result() for call in calls]
    assert set(statuses) == {200, 503}
    names = ["ApproximateNumberOfMessages"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert int(found[names[0]]) == 1 + statuses.count(200)


def counted(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(found[name]) for name in names)


def test_a_message_that_the_disk_does_not_read_is_kept_beside_all_others_and_delivered_once_it_does(broker, disk, url):
    sqs = broker.client()
    bodies = {f"{number} " + "u" * 80_000 for number in range(60)}
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    assert broker.stop() == 0
    record = broker.inspect("q")[25]
    bad = record["offset"] + 40_000
    disk.refuse(broker.data / "log" / record["segment"], bad)
    checked = broker.run("verify", check=False)
    assert checked.returncode == 4
    assert f"{record['segment']} at {bad // BLOCK * BLOCK}: unreadable" in checked.stdout, checked.stdout
    inspected = broker.run("inspect", "--json")
    assert len(inspected.stdout.splitlines()) == 59
    assert record["segment"] in inspected.stderr, "it says what is not shown"
    refused = broker.run("backup", str(broker.home / "backup"), check=False)
    assert refused.returncode == 1
    assert record["segment"] in refused.stderr and f"at {bad // BLOCK * BLOCK}" in refused.stderr, refused.stderr

    broker.start()
    received = []
    while len(received) < 59:
        received += receive(sqs, url, min(10, 59 - len(received)))
    # Nothing is left but what cannot be read: as often as it is asked for.
    for _ in range(3):
        assert status_of(sqs.receive_message, QueueUrl=url) == 503
    assert counted(sqs, url) == (1, 59)
    assert broker.http_status("/healthz") == 200
    assert broker.metric("sealq_log_quarantined_records_total") == 0

    disk.heal()
    (last,) = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert last["MessageId"] == record["message_id"]
    assert last["Attributes"]["ApproximateReceiveCount"] == "1"
    assert {message["Body"] for message in [*received, last]} == bodies


def test_a_fifo_message_that_the_disk_does_not_read_holds_up_its_group_and_no_other(broker, disk):
    sqs = broker.client()
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "600"}
    url = sqs.create_queue(QueueName="q.fifo", Attributes=attributes)["QueueUrl"]
    for number in range(6):
        for group in ("g", "h"):
            sqs.send_message(QueueUrl=url, MessageBody=f"{group}{number} " + "w" * 80_000, MessageGroupId=group)
    assert broker.stop() == 0
    record = broker.inspect("q.fifo")[4]  # g2
    disk.refuse(broker.data / "log" / record["segment"], record["offset"] + 40_000)
    broker.start()

    def take():
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        entries = [{"Id": str(at), "ReceiptHandle": m["ReceiptHandle"]} for at, m in enumerate(messages)]
        if entries:
            assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return [message["Body"].split()[0] for message in messages]

    taken = []
    while len(taken) < 8:
        taken += take()
    assert [label for label in taken if label[0] == "g"] == ["g0", "g1"]
    assert [label for label in taken if label[0] == "h"] == [f"h{number}" for number in range(6)]
    assert status_of(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=10) == 503
    disk.heal()
    assert take() == ["g2", "g3", "g4", "g5"]


def test_a_start_over_any_file_that_the_disk_does_not_read_in_part_loses_nothing(broker, disk, url):
    sqs = broker.client()
    bodies = {f"{number} " + "v" * 80_000 for number in range(60)}
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=body)
    assert broker.stop() == 0
    log = broker.data / "log"
    segment = broker.inspect("q")[0]["segment"]
    (footer,) = struct.unpack_from("<Q", (log / segment).read_bytes(), (4 << 20) - BLOCK + 40)
    places = [(segment, 0), (segment, BLOCK), (segment, footer), (segment, (4 << 20) - BLOCK)]
    for name, offset in [*places, ("checkpoint-*", 0), ("store", 0)]:
        # The newest checkpoint is another one after each start.
        name = max(path.name for path in log.glob(name))
        disk.refuse(log / name, offset)
        checked = broker.run("verify", check=False)
        assert checked.returncode == 4 and f"{name} at {offset}" in checked.stdout, checked.stdout
        broker.start()
        assert sum(counted(sqs, url)) == 60, f"{name} at {offset}"
        assert len(receive(sqs, url, 10, VisibilityTimeout=0)) == 10, f"{name} at {offset}"
        assert broker.metric("sealq_log_quarantined_records_total") == 0
        assert broker.stop() == 0
        disk.heal()
    broker.start()
    received = []
    while len(received) < 60:
        received += receive(sqs, url, 10)
    assert {message["Body"] for message in received} == bodies
    assert broker.stop() == 0
    assert broker.run("verify").returncode == 0


@pytest.mark.parametrize("trouble", ["fsync", "write", "read-only"])
def test_a_failed_write_ends_acknowledging_says_so_and_costs_nothing(broker, disk, url, trouble):
    sqs = broker.client()
    for number in range(5):
        sqs.send_message(QueueUrl=url, MessageBody=f"kept {number}")
    if trouble == "read-only":
        disk.make_read_only(True)
    else:
        disk.fail(trouble)
    assert status_of(sqs.send_message, QueueUrl=url, MessageBody="refused") == 503
    assert status_of(sqs.send_message, QueueUrl=url, MessageBody="refused") == 503
    until(lambda: broker.http_status("/healthz") == 503)
    assert broker.http_status("/readyz") == 503
    assert broker.metric("sealq_log_poisoned") == 1
    assert "read-only from now on" in broker.log()
    disk.make_read_only(False)
    assert broker.stop() == 0, "a poisoned broker stops as any other"
    broker.start()
    assert broker.http_status("/healthz") == 200
    bodies = {message["Body"] for message in receive(sqs, url, 5)}
    assert bodies >= {f"kept {number}" for number in range(5)}
