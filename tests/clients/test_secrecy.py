"""Nothing of a body in an encrypted queue lies anywhere in clear: not on disk, not in a log, not in an error."""

import base64
import json
import pathlib

import pytest

import wire
from conftest import arn_of, needs_command, receive

CANARY = "canary-7f3a-Zq9-\u00e9-plaintext"
PLAIN_CANARY = "control-51c2-Kw4-plaintext"


def forms(text):
    """The byte sequences by which `text` would be found: raw, escaped, hex, base64 at each alignment."""
    raw = text.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), json.dumps(text)[1:-1].encode()}
    found.add(text.encode("utf-16-le"))
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            coded = encode(b"\0" * shift + raw)
            # Characters that also depend on what lies before or after are cut off.
            found.add(coded[4 if shift else 0 : (shift + len(raw)) // 3 * 4])
    return found


def files(*directories):
    return [path for directory in directories for path in pathlib.Path(directory).rglob("*") if path.is_file()]


def where(needles, paths):
    return [path for path in paths if any(needle in path.read_bytes() for needle in needles)]


@pytest.fixture
def loud_broker(own_broker):
    """A broker that logs all it can."""
    own_broker.environment["SEALQ_LOG"] = "trace"
    return own_broker.start()


def mixed_run(broker):
    """Bodies with the canary through every path there is; returns the texts of all replies to bad requests."""
    sqs = broker.client()
    dead = sqs.create_queue(QueueName="dead", Attributes={"SqsManagedSseEnabled": "false"})["QueueUrl"]
    fifo_dead = sqs.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    kinds = {"kms": {"KmsMasterKeyId": "alias/aws/sqs"}, "managed": {"SqsManagedSseEnabled": "true"}}
    for kind, given in kinds.items():
        for suffix, shape, target in (("", {}, dead), (".fifo", fifo, fifo_dead)):
            redrive = json.dumps({"deadLetterTargetArn": arn_of(target), "maxReceiveCount": 1})
            attributes = {"RedrivePolicy": redrive, **given, **shape}
            url = sqs.create_queue(QueueName=kind + suffix, Attributes=attributes)["QueueUrl"]
            group = {"MessageGroupId": "g"} if suffix else {}
            sqs.send_message(QueueUrl=url, MessageBody=f"first {CANARY}", **group)
            entries = [{"Id": str(i), "MessageBody": f"{i} {CANARY} " + "x" * 3000, **group} for i in range(10)]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)
            receive(sqs, url, 1, VisibilityTimeout=0)
            sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert receive(sqs, dead)[0]["Body"].endswith(CANARY)
    caller, url = wire.Caller(broker), sqs.get_queue_url(QueueName="kms")["QueueUrl"]
    bad = [
        caller.json("SendMessage", {"QueueUrl": url + "-absent", "MessageBody": CANARY}),
        caller.json("SendMessage", {"QueueUrl": url, "MessageBody": CANARY + "\x01"}),
        caller.json("SendMessage", {"QueueUrl": url, "MessageBody": CANARY, "DelaySeconds": 901}),
        caller.json("SendMessage", {"QueueUrl": url, "MessageBody": CANARY}, secure=False),
        caller.json("SendMessage", {"QueueUrl": url, "MessageBody": [CANARY]}),
        caller.json("SendMessage", {}, alter=lambda headers, body: (headers, f'{{"MessageBody":"{CANARY}'.encode())),
        caller.form("SendMessage", {"QueueUrl": url, "MessageBody": CANARY + "\x01"}),
        wire.unsigned_json(broker, "SendMessage", {"QueueUrl": url, "MessageBody": CANARY}),
    ]
    assert all(reply.status >= 400 for reply in bad), [reply.status for reply in bad]
    plain = sqs.create_queue(QueueName="control", Attributes={"SqsManagedSseEnabled": "false"})["QueueUrl"]
    sqs.send_message(QueueUrl=plain, MessageBody=PLAIN_CANARY)
    return bad


def test_sse_26_sse_27_sse_28_sse_29_no_body_lies_in_clear_anywhere(loud_broker, tmp_path):
    broker = loud_broker
    replies = mixed_run(broker)
    backup = tmp_path / "backup"
    # A build without the command has nothing to leak there.
    broker.run("backup", str(backup), check=False)
    for state in ("running", "killed", "restarted"):
        if state == "killed":
            broker.kill()
        if state == "restarted":
            broker.start()
            assert broker.stop() == 0
        paths = files(broker.home, backup)
        assert where(forms(PLAIN_CANARY), paths), "the search finds what is there in clear"
        assert not where(forms(CANARY), paths), state
    needles = forms(CANARY)
    assert not [reply.text for reply in replies if any(needle in reply.body for needle in needles)]


def test_sse_42_sse_102_no_key_lies_in_the_data_directory(loud_broker):
    broker = loud_broker
    sqs, kms = broker.client(), broker.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (record,) = broker.inspect("q")
    opened = kms.decrypt(
        CiphertextBlob=base64.b64decode(record["wrapped_key"]), EncryptionContext={"aws:sqs:arn": arn_of(url)}
    )
    data_key, root_key = opened["Plaintext"], (broker.secrets / "root.key").read_bytes()
    assert len(data_key) == 32
    assert broker.stop() == 0
    paths = files(broker.data) + [broker.log_file]
    secrets = {data_key, data_key.hex().encode(), base64.b64encode(data_key)[:40], root_key, root_key.strip()}
    assert not where(secrets, paths)
    assert not where({broker.root_credentials()[1].encode()}, paths)


def test_a_data_directory_without_its_root_key_gives_nothing(loud_broker):
    broker = loud_broker
    sqs = broker.client()
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert broker.stop() == 0
    (broker.secrets / "root.key").rename(broker.home / "root.key.away")
    result = broker.run("serve", check=False)
    assert result.returncode not in (0, None), "a new root key beside old data would lose every message"


def test_secrets_are_for_their_owner_only(broker):
    assert broker.secrets.stat().st_mode & 0o777 == 0o700
    for path in files(broker.secrets):
        assert path.stat().st_mode & 0o077 == 0, path


def test_sse_185_sse_186_kms_15_every_kms_use_is_audited_and_no_secret_is(loud_broker):
    broker = loud_broker
    sqs, kms = broker.client(), broker.client("kms")
    key = kms.create_key()["KeyMetadata"]
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": key["KeyId"]})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody=CANARY)
    kms.disable_key(KeyId=key["KeyId"])
    sqs.create_queue(QueueName="other")
    assert broker.stop() == 0
    records = [json.loads(line) for line in (broker.data / "audit" / "audit.jsonl").read_text().splitlines()]
    context = {"aws:sqs:arn": arn_of(url)}
    used = [
        record["eventName"]
        for record in records
        if (record.get("requestParameters") or {}).get("encryptionContext") == context
    ]
    assert used == ["GenerateDataKey", "Decrypt"]
    names = [record["eventName"] for record in records]
    assert {"CreateKey", "DisableKey", "CreateQueue"} <= set(names)
    assert [record["sequence"] for record in records] == list(
        range(records[0]["sequence"], records[0]["sequence"] + len(records))
    )
    assert not where(forms(CANARY), files(broker.data / "audit"))


@needs_command("audit", "verify")
def test_a_changed_audit_line_is_found(loud_broker):
    broker = loud_broker
    broker.client().create_queue(QueueName="audited")
    broker.client().create_queue(QueueName="again")
    assert broker.stop() == 0
    assert broker.run("audit", "verify").returncode == 0
    file = broker.data / "audit" / "audit.jsonl"
    file.write_text(file.read_text().replace("audited", "altered"))
    assert broker.run("audit", "verify", check=False).returncode == 4


def test_the_daemon_leaves_no_core_dump(loud_broker):
    limits = pathlib.Path(f"/proc/{loud_broker.process.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4] == "0"
