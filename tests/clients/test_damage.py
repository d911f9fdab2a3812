"""Bytes flipped at rest under the real binary, in every class of byte: what it costs, and what `sealq verify` says."""

import os
import random
import shutil
import struct

import pytest

import daemon
from conftest import account_settings

SEED = int(os.environ.get("SEALQ_FLIP_SEED", "1"))
# Positions that verify alone looks at, and positions that a broker is started over.
VERIFIED = int(os.environ.get("SEALQ_FLIPS", "120"))
STARTED = max(6, VERIFIED // 10)
MESSAGES = 120
BLOCK, HEADER = 4096, 64
SETTINGS = '[storage]\nsegment_bytes = "4 MiB"\nfree_space_min = "1 MiB"\n'


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A stopped broker's directories: several segments, some deletions, a lease."""
    broker = daemon.Broker(tmp_path_factory.mktemp("whole"), SETTINGS + account_settings()).start()
    try:
        sqs = broker.client()
        attributes = {"KmsMasterKeyId": "alias/aws/sqs", "VisibilityTimeout": "0"}
        url = sqs.create_queue(QueueName="q", Attributes=attributes)["QueueUrl"]
        for number in range(MESSAGES):
            sqs.send_message(QueueUrl=url, MessageBody=f"{number} " + "z" * 80_000)
        (doomed,) = sqs.receive_message(QueueUrl=url)["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=doomed["ReceiptHandle"])
        assert broker.stop() == 0
        assert broker.run("verify").returncode == 0
        yield broker, doomed["Body"]
    finally:
        broker.kill()


def classes(log):
    """(file, offset) of used bytes, by class, from the format's description alone."""
    found = {}

    def add(name, path, *ranges):
        found.setdefault(name, []).extend((path, at) for part in ranges for at in part)

    for path in sorted(log.iterdir()):
        raw = path.read_bytes()
        if path.name == "store":
            add("store", path, range(len(raw)))
        elif path.name.startswith("checkpoint"):
            add("checkpoint", path, range(len(raw)))
        elif path.suffix == ".seg" and raw[:8] == b"SEALQSEG" and int(path.stem) == struct.unpack_from("<Q", raw, 32)[0]:
            add("segment header", path, range(64), range(2044, 2112), range(4092, 4096))
            trailer = len(raw) - BLOCK
            is_sealed = raw[trailer : trailer + 8] == b"SEALQFTR"
            at, end = BLOCK, struct.unpack_from("<Q", raw, trailer + 16)[0] if is_sealed else len(raw)
            while at + HEADER <= end and 1 <= raw[at + 16] <= 7:
                (payload,) = struct.unpack_from("<I", raw, at + 8)
                kind = "pad" if raw[at + 16] == 7 else "frame"
                add(f"{kind} header", path, range(at, at + HEADER))
                add(f"{kind} payload", path, range(at + HEADER, at + HEADER + payload, 97))
                at += (HEADER + payload + 7) // 8 * 8
            if is_sealed:
                entries, streams, tombstones = (struct.unpack_from("<I", raw, trailer + o)[0] for o in (12, 48, 52))
                (footer,) = struct.unpack_from("<Q", raw, trailer + 40)
                add("footer", path, range(footer, footer + entries * 64 + tombstones * 16 + streams * 40))
                add("trailer", path, range(trailer, trailer + 72), range(len(raw) - 4, len(raw)))
    return found


def flip(place, bit):
    path, at = place
    with open(path, "r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def test_verify_tells_of_any_flipped_byte_that_is_used(whole):
    broker, _ = whole
    found, chance = classes(broker.data / "log"), random.Random(SEED)
    assert set(found) >= {"store", "checkpoint", "segment header", "frame header", "frame payload", "pad header", "footer", "trailer"}
    for number in range(VERIFIED):
        kind = sorted(found)[number % len(found)]
        place, bit = chance.choice(found[kind]), 1 << chance.randrange(8)
        flip(place, bit)
        checked = broker.run("verify", check=False)
        flip(place, bit)
        assert checked.returncode == 4, f"{kind}: {place}"
        assert place[0].name in checked.stdout, f"{kind}: {place}: {checked.stdout}"
    assert broker.run("verify").returncode == 0


def test_a_flipped_byte_costs_one_message_at_most_and_never_the_start(whole, tmp_path):
    origin, doomed = whole
    chance = random.Random(SEED)
    kinds = sorted(classes(origin.data / "log"))
    for number in range(STARTED):
        kind = kinds[number % len(kinds)]
        broker = daemon.Broker(tmp_path / str(number), SETTINGS + account_settings())
        shutil.copytree(origin.data, broker.data)
        shutil.copytree(origin.secrets, broker.secrets)
        place, bit = chance.choice(classes(broker.data / "log")[kind]), 1 << chance.randrange(8)
        flip(place, bit)
        context = f"{kind}: {place[0].name} at {place[1]}, bit {bit}"
        try:
            broker.start()
            sqs = broker.client()
            url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
            bodies = []
            while messages := receive_some(sqs, url):
                bodies += [message["Body"] for message in messages]
                entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
                sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            wanted = {f"{n} " + "z" * 80_000 for n in range(MESSAGES)} - {doomed}
            assert len(bodies) == len(set(bodies)), f"{context}: delivered twice"
            assert set(bodies) <= wanted, f"{context}: something was delivered that is not there"
            lost = len(wanted) - len(bodies)
            assert lost <= 1, f"{context}: {lost} lost"
            assert broker.metric("sealq_log_quarantined_records_total") >= lost, f"{context}: nothing counts the loss"
        finally:
            broker.kill()
            shutil.rmtree(broker.home)


def receive_some(sqs, url):
    """Up to ten messages; a damaged one among them may make the first replies empty or an error."""
    for _ in range(3):
        try:
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages")
        except sqs.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 500
            continue
        if messages:
            return messages
    return []


def test_a_missing_segment_is_named_with_the_messages_that_it_held(whole, tmp_path):
    origin, _ = whole
    broker = daemon.Broker(tmp_path / "broker", SETTINGS + account_settings())
    shutil.copytree(origin.data, broker.data)
    shutil.copytree(origin.secrets, broker.secrets)
    gone = sorted((broker.data / "log").glob("*.seg"))[0]
    gone.unlink()
    checked = broker.run("verify", check=False)
    assert checked.returncode == 4
    assert gone.name in checked.stdout and ", stream 1 sequence 2 to " in checked.stdout, checked.stdout
    try:
        broker.start()
        assert broker.metric("sealq_log_quarantined_records_total") > 1
        url = broker.client().get_queue_url(QueueName="q")["QueueUrl"]
        assert receive_some(broker.client(), url)
    finally:
        broker.kill()


def test_swapped_segments_get_their_names_back_and_lose_nothing(whole, tmp_path):
    origin, _ = whole
    broker = daemon.Broker(tmp_path / "broker", SETTINGS + account_settings())
    shutil.copytree(origin.data, broker.data)
    shutil.copytree(origin.secrets, broker.secrets)
    one, other = sorted((broker.data / "log").glob("*.seg"))[:2]
    aside = one.with_suffix(".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    assert broker.run("verify", check=False).returncode == 4
    try:
        broker.start()
        sqs = broker.client()
        url = sqs.get_queue_url(QueueName="q")["QueueUrl"]
        names = ["ApproximateNumberOfMessages"]
        count = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]]
        assert count == str(MESSAGES - 1)
        assert broker.metric("sealq_log_quarantined_records_total") == 0
        assert broker.stop() == 0
        assert broker.run("verify").returncode == 0
    finally:
        broker.kill()
