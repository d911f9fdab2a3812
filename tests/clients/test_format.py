"""A directory that the first format version wrote is opened by every later one; a newer format is refused.

`tests/clients/fixtures/format-1.tar.gz` was made by `python test_format.py` below, once, and never changes.
"""

import pathlib
import struct
import sys
import tarfile
import tempfile
import zlib

import pytest

import daemon
from conftest import attributes, receive

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "format-1.tar.gz"
SETTINGS = '[storage]\nsegment_bytes = "4 MiB"\nfree_space_min = "1 MiB"\n'
KMS_BODIES = [f"sealed by the first version {number}" for number in range(4)]


def make():
    with tempfile.TemporaryDirectory() as home:
        broker = daemon.Broker(home, SETTINGS).start()
        sqs = broker.client()
        kms = {"KmsMasterKeyId": "alias/aws/sqs", "VisibilityTimeout": "0"}
        url = sqs.create_queue(QueueName="kms", Attributes=kms, tags={"made": "once"})["QueueUrl"]
        for body in [*KMS_BODIES, "deleted"]:
            sqs.send_message(QueueUrl=url, MessageBody=body)
        for message in receive(sqs, url, 5):
            if message["Body"] == "deleted":
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        plain = {"SqsManagedSseEnabled": "false"}
        url = sqs.create_queue(QueueName="plain", Attributes=plain)["QueueUrl"]
        attribute = {"n": {"DataType": "Number", "StringValue": "7"}}
        sqs.send_message(QueueUrl=url, MessageBody="in clear", MessageAttributes=attribute)
        fifo = {"FifoQueue": "true", "SqsManagedSseEnabled": "true"}
        url = sqs.create_queue(QueueName="managed.fifo", Attributes=fifo)["QueueUrl"]
        for number in range(3):
            sqs.send_message(QueueUrl=url, MessageBody=f"{number}", MessageGroupId="g", MessageDeduplicationId=f"{number}")
        assert broker.stop() == 0
        with tarfile.open(FIXTURE, "w:gz") as archive:
            for name in ("data", "secrets"):
                archive.add(broker.home / name, name)


@pytest.fixture
def broker(tmp_path):
    broker = daemon.Broker(tmp_path / "broker", SETTINGS)
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(broker.home, filter="fully_trusted")
    yield broker
    broker.kill()


def test_what_the_first_version_wrote_is_read_whole(broker):
    assert broker.run("verify").returncode == 0
    sqs = broker.start().client()
    url = sqs.get_queue_url(QueueName="kms")["QueueUrl"]
    assert sorted(message["Body"] for message in receive(sqs, url, 4, VisibilityTimeout=60)) == KMS_BODIES
    assert attributes(sqs, url, "KmsMasterKeyId")["KmsMasterKeyId"] == "alias/aws/sqs"
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"made": "once"}
    url = sqs.get_queue_url(QueueName="plain")["QueueUrl"]
    (message,) = receive(sqs, url, 1, MessageAttributeNames=["All"])
    assert message["Body"] == "in clear" and message["MessageAttributes"]["n"]["StringValue"] == "7"
    url = sqs.get_queue_url(QueueName="managed.fifo")["QueueUrl"]
    assert [message["Body"] for message in receive(sqs, url, 3)] == ["0", "1", "2"]
    assert broker.stop() == 0
    assert broker.run("verify").returncode == 0
    assert broker.run("audit", "verify").returncode == 0


def test_a_newer_format_is_refused_with_the_reason_and_nothing_is_changed(broker):
    (segment,) = [path for path in (broker.data / "log").glob("*.seg") if path.read_bytes()[:8] == b"SEALQSEG"][:1]
    raw = bytearray(segment.read_bytes())
    for copy in (0, 2048):
        struct.pack_into("<I", raw, copy + 8, 2)
        struct.pack_into("<I", raw, copy + 2044, zlib.crc32(raw[copy : copy + 2044]))
    segment.write_bytes(raw)
    before = {path.name: path.read_bytes() for path in (broker.data / "log").iterdir()}
    refused = broker.run("serve", check=False)
    assert refused.returncode == 3
    assert f"{segment.name} has format version 2; this program reads up to 1" in refused.stderr
    assert {path.name: path.read_bytes() for path in (broker.data / "log").iterdir()} == before


if __name__ == "__main__":
    sys.exit(make())
