"""The audit log as files: turned over by size, chained across files, restarts and kills, on disk before a reply."""

import json
import re
import shutil
import subprocess
import threading
import time

import pytest

import daemon
from conftest import account_settings, refused

SMALL_FILES = '[audit]\nrotate_bytes = "4 KiB"\n[queues]\nrecreate_wait_seconds = 0\n'
FOLLOW_SECONDS_MAX = 10


@pytest.fixture
def turning(tmp_path):
    """A broker whose audit files hold a few records each."""
    broker = daemon.Broker(tmp_path / "b", SMALL_FILES + account_settings())
    yield broker
    broker.kill()


def chain_files(broker):
    folder = broker.data / "audit"
    return [*sorted(folder.glob("audit.jsonl.*")), folder / "audit.jsonl"]


def told(broker):
    return [json.loads(line) for line in broker.run("audit", "tail").stdout.splitlines()]


def test_the_chain_goes_on_over_files_restarts_and_kills(turning):
    made = []
    for end in (turning.restart, turning.crash, turning.restart):
        sqs = (turning if turning.process else turning.start()).client()
        for _ in range(12):
            made.append(f"queue-{len(made)}")
            sqs.create_queue(QueueName=made[-1])
        end()
    files = chain_files(turning)
    assert len(files) > 4
    assert turning.run("audit", "verify").returncode == 0
    records = told(turning)
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert [record["requestParameters"]["queueName"] for record in records] == made
    for file in files[:-1]:
        first = json.loads(file.read_text().splitlines()[0])["sequence"]
        assert file.name == f"audit.jsonl.{first:020}" and file.stat().st_mode & 0o077 == 0
    # One byte changed in a file that was turned over: the file and the line are named.
    lines = files[1].read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"CreateQueue", b"CreateQueuf")
    files[1].write_bytes(b"".join(lines))
    result = turning.run("audit", "verify", check=False)
    after = f"{files[1]}:3: " if len(lines) > 2 else f"{files[2]}:1: "
    assert result.returncode == 4 and result.stdout.startswith(after), result.stdout
    # A file moved away is missed, unless that is said.
    files[1].write_bytes(b"".join(lines).replace(b"CreateQueuf", b"CreateQueue"))
    files[0].rename(turning.home / "elsewhere")
    assert turning.run("audit", "verify", check=False).returncode == 4
    first = int(files[1].name.rsplit(".", 1)[1])
    assert turning.run("audit", "verify", "--first", str(first)).returncode == 0
    files[2].unlink()
    assert turning.run("audit", "verify", "--first", str(first), check=False).returncode == 4


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_is_changed_or_taken_off_the_end_is_missed_for_good(turning, end):
    sqs = turning.start().client()
    for name in ("one", "two", "three"):
        sqs.create_queue(QueueName=name)
    getattr(turning, end)()
    file = chain_files(turning)[-1]
    written = file.read_bytes()
    lines = written.splitlines(keepends=True)
    cut = {
        "last line": b"".join(lines[:-1]),
        "every line": b"",
        "half a line": written[:-40],
        "another name": b"".join([*lines[:-1], lines[-1].replace(b"three", b"threr")]),
    }
    for what, content in cut.items():
        file.write_bytes(content)
        result = turning.run("audit", "verify", check=False)
        assert result.returncode == 4 and f"{file}:" in result.stdout, (what, result.stdout)
    file.write_bytes(written)
    assert turning.run("audit", "verify").returncode == 0
    file.write_bytes(b"".join(lines[:-1]))
    turning.start().client().create_queue(QueueName="four")
    result = turning.run("audit", "verify", check=False)
    assert result.returncode == 4 and f"{file}:{len(lines)}: " in result.stdout, result.stdout


def test_every_acknowledged_change_has_its_record_after_kill_9(turning):
    acknowledged, number = [], 0
    for _ in range(6):
        turning.start()
        clients = [turning.client() for _ in range(4)]

        def change(sqs, first):
            for each in range(first, first + 1000):
                try:
                    sqs.create_queue(QueueName=f"queue-{each}")
                except Exception:  # noqa: BLE001
                    return
                acknowledged.append(f"queue-{each}")

        threads = [threading.Thread(target=change, args=(sqs, number + 1000 * at)) for at, sqs in enumerate(clients)]
        number += 4000
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        turning.kill()
        for thread in threads:
            thread.join()
    turning.start()
    assert turning.run("audit", "verify").returncode == 0
    recorded = [record["requestParameters"]["queueName"] for record in told(turning)]
    assert len(acknowledged) > 50 and set(acknowledged) <= set(recorded)


def test_a_change_is_on_disk_before_its_reply(own_broker, tmp_path):
    assert shutil.which("strace"), "strace is in Debian's package strace"
    sqs = own_broker.start().client(secure=False)
    trace = tmp_path / "trace"
    # File names beside descriptors, so that the audit file's syncs can be told from the log's.
    command = ["strace", "-f", "-y", "-s", "40", "-o", trace, "-e", "trace=fdatasync,writev,sendto,write", "-p", str(own_broker.process.pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    for name in ("one", "two"):
        sqs.create_queue(QueueName=name)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName="one")["QueueUrl"])
    tracer.terminate()
    tracer.wait(10)
    steps, syncing = "", set()
    for line in trace.read_text().splitlines():
        thread, call = line.split(None, 1)
        if re.match(r"write\(\d+<[^>]*audit\.jsonl>", call):
            steps += "w"
        elif re.match(r"fdatasync\(\d+<[^>]*audit\.jsonl> <unfinished", call):
            syncing.add(thread)
        elif re.match(r"fdatasync\(\d+<[^>]*audit\.jsonl>\) += 0", call):
            steps += "s"
        elif "fdatasync resumed" in call and "= 0" in call and thread in syncing:
            steps += "s"
            syncing.remove(thread)
        elif "HTTP/1.1 200" in call:
            steps += "r"
    # GetQueueUrl replies without a record.
    assert steps == "wsr" * 2 + "r" + "wsr", steps


def test_tail_follows_over_files(turning):
    sqs = turning.start().client()
    sqs.create_queue(QueueName="first")
    follower = subprocess.Popen(
        [daemon.BINARY, "audit", "tail", "--follow", "--config", turning.config], stdout=subprocess.PIPE, text=True
    )
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(json.loads(line)["sequence"] for line in follower.stdout))
    reader.start()
    for number in range(40):
        sqs.create_queue(QueueName=f"queue-{number}")
        time.sleep(0.02)
    deadline = time.monotonic() + FOLLOW_SECONDS_MAX
    while len(seen) < 41 and time.monotonic() < deadline:
        time.sleep(0.05)
    follower.terminate()
    reader.join()
    assert seen == list(range(1, 42)) and len(chain_files(turning)) > 4


def test_uses_of_the_last_moment_are_recorded_before_the_end(own_broker):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/none"})
    refused("KMS.NotFoundException", sqs.send_message, QueueUrl=url, MessageBody="x")
    assert own_broker.stop() == 0
    last = told(own_broker)[-1]
    assert (last["eventName"], last["errorCode"]) == ("GenerateDataKey", "NotFoundException")
