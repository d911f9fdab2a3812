"""The root key's life: a new one at any moment, a passphrase, a credential of the service manager, backups."""

import json
import os
import re
import shutil
import subprocess
import threading
import time

import pytest

import daemon
from conftest import arn_of, attributes, receive

SETTINGS = '[storage]\nsegment_bytes = "4 MiB"\n[queues]\nrecreate_wait_seconds = 0\n'
PASSPHRASE = "correct horse battery staple"
# What a change of the root key does to files; killing it at each of them is killing it at each step.
CALLS = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,io_uring_enter,ftruncate"


@pytest.fixture
def home(tmp_path):
    broker = daemon.Broker(tmp_path / "b", SETTINGS)
    yield broker
    broker.kill()


def fill(broker):
    """One message in a queue of each kind, and a key of the account's own with a blob."""
    sqs, kms = broker.client(), broker.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/own", TargetKeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"blob")["CiphertextBlob"]
    for name, given in (("own", {"KmsMasterKeyId": "alias/own"}), ("default", {"KmsMasterKeyId": "alias/aws/sqs"}), ("managed", {})):
        url = sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=f"body of {name}")
    return blob


def opens(broker, blob):
    """Everything that `fill` made is there and opens; nothing is taken."""
    sqs = broker.client()
    for name in ("own", "default", "managed"):
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        (message,) = receive(sqs, url, 1, VisibilityTimeout=0)
        assert message["Body"] == f"body of {name}"
    assert broker.client("kms").decrypt(CiphertextBlob=blob)["Plaintext"] == b"blob"


def root_key(broker):
    return broker.secrets / "root.key"


def previous(broker):
    return broker.secrets / "root.key.previous"


def rotations(broker):
    lines = (broker.data / "audit" / "audit.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["eventName"] == "RotateRootKey"]


def test_sse_184_kms_16_a_new_root_key_may_be_cut_short_at_any_step(home, tmp_path):
    assert shutil.which("strace"), "strace is in Debian's package strace"
    blob = fill(home.start())
    assert home.stop() == 0
    kept = tmp_path / "kept"
    shutil.copytree(home.home, kept)
    old = root_key(home).read_bytes()

    def again():
        shutil.rmtree(home.home)
        shutil.copytree(kept, home.home)

    command = [daemon.BINARY, "kms", "rotate-root", "--config", home.config]
    trace = tmp_path / "trace"
    # The steps are those between the first look at the root key and the end.
    subprocess.run(["strace", "-f", "-qq", "-o", trace, "-e", f"trace={CALLS}", *command], check=True, capture_output=True)
    assert root_key(home).read_bytes() != old and not previous(home).exists()
    names = re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.M)
    steps = {name: names.count(name) for name in ("rename", "unlink", "fsync", "fdatasync", "io_uring_enter", "pwrite64") if name in names}
    assert steps["rename"] >= 2 and steps["unlink"] >= 1
    cut, found = 0, set()
    for name, count in steps.items():
        for number in range(1, count + 1):
            again()
            inject = f"inject={name}:signal=SIGKILL:when={number}"
            ended = subprocess.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject, *command], capture_output=True)
            if ended.returncode == 0:
                continue  # The number of flushes differs from run to run.
            cut += 1
            found.add((root_key(home).read_bytes() != old, previous(home).exists()))
            home.start()
            left = {path.name for path in home.secrets.iterdir()}
            assert left == {"root.key", "credentials", "tls"}, (name, number, left)
            opens(home, blob)
            home.kill()
    assert cut >= 8, steps
    # Before the new key came to its place, between that and the end, and after the end.
    assert {(False, False), (True, True)} <= found, found


def test_a_new_root_key_beside_a_running_broker_may_be_killed_with_it(home):
    blob = fill(home.start())
    seen = set()
    for delay_ms in (0, 2, 4, 6, 8, 10, 14, 18, 24, 30, 40, 60):
        before = root_key(home).read_bytes()
        command = subprocess.Popen([daemon.BINARY, "kms", "rotate-root", "--config", home.config], stderr=subprocess.DEVNULL)
        time.sleep(0.01 + delay_ms / 1000)
        home.kill()
        command.wait(30)
        seen.add(root_key(home).read_bytes() != before)
        home.start()
        assert not previous(home).exists()
        opens(home, blob)
    assert True in seen, "no kill came after the new root key was in its place"
    assert home.run("audit", "verify").returncode == 0


def test_handles_sessions_and_keys_outlive_the_root_key(home):
    blob = fill(home.start())
    sqs = home.client()
    url = sqs.get_queue_url(QueueName="own")["QueueUrl"]
    (message,) = receive(sqs, url)
    session = home.client("sts").get_session_token()["Credentials"]
    assert home.run("kms", "rotate-root").stderr.startswith("the root key is ")
    for restart in (False, True):
        if restart:
            home.restart()
        mine = home.client(
            credentials=(session["AccessKeyId"], session["SecretAccessKey"]), session_token=session["SessionToken"]
        )
        mine.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=60)
    mine.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    opens(home, blob)
    (record,) = rotations(home)
    assert record["responseElements"]["rootKey"] != record["responseElements"]["previousRootKey"]
    assert oct(root_key(home).stat().st_mode & 0o7777) == "0o600"
    assert home.run("kms", "rotate-root").returncode == 0
    first, second = rotations(home)
    assert second["responseElements"]["previousRootKey"] == first["responseElements"]["rootKey"]
    # Nothing of the root keys lies in the data directory, and nothing but files does.
    home.kill()
    shutil.copytree(home.data, home.home / "copy")
    for path in home.data.rglob("*"):
        if path.is_file():
            assert root_key(home).read_bytes()[10:42] not in path.read_bytes(), path


def test_sends_go_on_while_root_keys_change(home):
    fill(home.start())
    sqs = home.client()
    url = sqs.get_queue_url(QueueName="own")["QueueUrl"]
    failed, stop = [], threading.Event()

    def send():
        sent = 0
        while not stop.is_set():
            try:
                sqs.send_message(QueueUrl=url, MessageBody=f"number {sent}")
                sent += 1
            except Exception as error:  # noqa: BLE001
                failed.append(error)
        counts.append(sent)

    counts = []
    sender = threading.Thread(target=send)
    sender.start()
    for _ in range(5):
        home.run("kms", "rotate-root")
    stop.set()
    sender.join()
    assert not failed, failed[0]
    home.crash()
    bodies = {message["Body"] for message in receive(home.client(), url, counts[0] + 1)}
    assert bodies == {f"number {number}" for number in range(counts[0])} | {"body of own"}


def test_a_passphrase_comes_and_goes_with_a_new_root_key(home):
    blob = fill(home.start())
    passphrase = home.home / "passphrase"
    passphrase.write_text(PASSPHRASE + "\n")
    passphrase.chmod(0o644)
    result = home.run("kms", "rotate-root", "--passphrase-file", passphrase, check=False)
    assert result.returncode == 2 and "chmod 600" in result.stderr, result.stderr
    passphrase.chmod(0o600)
    result = home.run("kms", "rotate-root", "--passphrase-file", passphrase)
    assert "kms.embedded.passphrase_file" in result.stderr and PASSPHRASE not in result.stderr
    # The running broker knows it now: another new root key keeps the protection.
    home.run("kms", "rotate-root")
    assert home.stop() == 0
    ended = subprocess.run([daemon.BINARY, "serve", "--config", home.config], capture_output=True, text=True)
    assert ended.returncode == 3 and "passphrase" in ended.stderr, ended.stderr
    home.environment["SEALQ_KMS__EMBEDDED__PASSPHRASE"] = "battery staple"
    ended = home.run("kms", "rotate-root", check=False)
    assert ended.returncode == 3 and "wrong passphrase" in ended.stderr, ended.stderr
    home.environment = {"SEALQ_KMS__EMBEDDED__PASSPHRASE_FILE": str(passphrase)}
    opens(home.start(), blob)
    assert home.stop() == 0
    home.run("kms", "rotate-root", "--no-passphrase")
    home.environment = {}
    opens(home.start(), blob)
    assert [record["requestParameters"]["passphrase"] for record in rotations(home)] == [True, True, False]


def test_the_first_start_takes_a_passphrase(home):
    home.environment = {"SEALQ_KMS__EMBEDDED__PASSPHRASE": PASSPHRASE}
    blob = fill(home.start())
    assert home.stop() == 0
    home.environment = {}
    ended = subprocess.run([daemon.BINARY, "serve", "--config", home.config], capture_output=True, text=True)
    assert ended.returncode == 3 and "none was given" in ended.stderr, ended.stderr
    home.environment = {"SEALQ_KMS__EMBEDDED__PASSPHRASE": PASSPHRASE}
    opens(home.start(), blob)
    for path in [*home.data.rglob("*"), *home.secrets.rglob("*"), home.log_file]:
        if path.is_file():
            assert PASSPHRASE.encode() not in path.read_bytes(), path


def test_root_key_and_passphrase_may_be_credentials_of_the_service_manager(home):
    home.environment = {"SEALQ_KMS__EMBEDDED__PASSPHRASE": PASSPHRASE}
    blob = fill(home.start())
    assert home.stop() == 0
    credentials = home.home / "credentials"
    credentials.mkdir(mode=0o500)
    credentials.chmod(0o700)
    shutil.move(root_key(home), credentials / "root.key")
    (credentials / "root-key-passphrase").write_text(PASSPHRASE)
    for path in credentials.iterdir():
        path.chmod(0o440)
    home.environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    opens(home.start(), blob)
    result = home.run("kms", "rotate-root", check=False)
    assert result.returncode != 0 and "credential" in result.stderr, result.stderr
    opens(home, blob)
    assert home.stop() == 0
    # On the stopped broker the file that the credential is made from can be rotated.
    source = home.home / "source.key"
    shutil.copy(credentials / "root.key", source)
    source.chmod(0o600)
    home.environment["SEALQ_KMS__EMBEDDED__ROOT_KEY_FILE"] = str(source)
    home.run("kms", "rotate-root")
    del home.environment["SEALQ_KMS__EMBEDDED__ROOT_KEY_FILE"]
    (credentials / "root.key").chmod(0o600)
    shutil.copy(source, credentials / "root.key")
    opens(home.start(), blob)


def test_a_backup_from_before_needs_the_root_key_from_before(home, tmp_path):
    blob = fill(home.start())
    kept = tmp_path / "kept.key"
    shutil.copy(root_key(home), kept)
    backup = tmp_path / "backup"
    home.run("backup", backup)
    home.run("kms", "rotate-root")
    assert home.stop() == 0
    # Data elsewhere, the root key moved apart from it.
    elsewhere = daemon.Broker(tmp_path / "elsewhere", SETTINGS)
    elsewhere.secrets.mkdir(mode=0o700)
    shutil.copy(root_key(home), root_key(elsewhere))
    result = elsewhere.run("restore", backup, check=False)
    assert result.returncode == 1 and "root key" in result.stderr and "rotate-root" in result.stderr, result.stderr
    assert not elsewhere.data.exists() or not any(elsewhere.data.iterdir())
    root_key(elsewhere).unlink()
    told = elsewhere.run("restore", backup).stderr
    assert str(root_key(elsewhere)) in told and "root key" in told, told
    # A broker that is started with the wrong one refuses, says which it needs, and changes nothing.
    shutil.copy(root_key(home), root_key(elsewhere))
    ended = subprocess.run([daemon.BINARY, "serve", "--config", elsewhere.config], capture_output=True, text=True)
    assert ended.returncode == 3 and "root key of that time" in ended.stderr, ended.stderr
    shutil.copy(kept, root_key(elsewhere))
    try:
        opens(elsewhere.start(), blob)
    finally:
        elsewhere.kill()


def test_nobody_else_gives_orders(home, tmp_path):
    home.start()
    before = root_key(home).read_bytes()
    if os.geteuid() == 0:
        # Somebody who may look at the data directory, and no more.
        for folder in (home.data, *home.data.parents):
            if folder.stat().st_mode & 0o001 == 0:
                folder.chmod(folder.stat().st_mode | 0o011)
        elsewhere = ["--data-dir", home.data, "--secrets-dir", "/nonexistent/secrets"]
        binary = shutil.copy(daemon.BINARY, home.data / "sealq")
        result = subprocess.run(
            [binary, "kms", "rotate-root", *elsewhere], capture_output=True, text=True, user=65534, group=65534, extra_groups=[]
        )
        assert result.returncode == 1 and "as root" in result.stderr, result.stderr
    # From where the broker cannot be reached, its lock keeps everybody out.
    apart = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode == 0:
        result = subprocess.run([*apart, daemon.BINARY, "kms", "rotate-root", "--config", home.config], capture_output=True, text=True)
        assert result.returncode == 3 and "where it runs" in result.stderr, result.stderr
    assert root_key(home).read_bytes() == before and rotations(home) == []
    many = [subprocess.Popen([daemon.BINARY, "kms", "rotate-root", "--config", home.config], stderr=subprocess.PIPE) for _ in range(4)]
    assert [command.wait(60) for command in many] == [0] * 4
    assert len(rotations(home)) == 4


def test_a_lost_root_key_is_said_and_nothing_is_made_in_its_place(home):
    fill(home.start())
    assert home.stop() == 0
    root_key(home).unlink()
    for command in (["serve"], ["kms", "rotate-root"]):
        result = home.run(*command, check=False)
        assert result.returncode == 3 and "root.key" in result.stderr, result.stderr
        assert not root_key(home).exists()


def test_without_a_broker_there_is_nothing_to_change(home):
    result = home.run("kms", "rotate-root", check=False)
    assert result.returncode != 0 and "start the broker once" in result.stderr, result.stderr
    result = home.run("queue", "encrypt", "--queue", "q", check=False)
    assert result.returncode == 1 and "no broker runs" in result.stderr, result.stderr
    assert not home.data.exists() and not home.secrets.exists()


def test_sse_86_the_command_line_encrypts_with_a_key_of_choice_and_says_what_is_wrong(home):
    home.start()
    sqs, kms = home.client(), home.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    home.run("queue", "encrypt", "--queue", "q.fifo", "--key", key)
    assert attributes(sqs, url)["KmsMasterKeyId"] == key
    assert len(kms.list_keys()["Keys"]) == 1, "the default key was not asked for"
    home.run("queue", "encrypt", "--queue", "q.fifo", "--account", daemon.ACCOUNT)
    assert attributes(sqs, url)["KmsMasterKeyId"] == "alias/aws/sqs" and len(kms.list_keys()["Keys"]) == 2
    for arguments, said in (
        (["--queue", "none"], "does not exist"),
        (["--queue", "q.fifo", "--account", "111111111111"], "does not exist"),
        (["--queue", "q.fifo", "--account", "me"], "12 digits"),
        (["--queue", "a/b"], "names no queue"),
        (["--queue", "q.fifo", "--key", ""], "no key is given"),
    ):
        result = home.run("queue", "encrypt", *arguments, check=False)
        assert result.returncode == 1 and said in result.stderr, result.stderr
    text = (home.data / "audit" / "audit.jsonl").read_text()
    records = [record for record in map(json.loads, text.splitlines()) if record["userAgent"] == "sealq queue encrypt"]
    assert [record["eventName"] for record in records] == ["SetQueueAttributes"] * 2
    assert records[0]["userIdentity"]["type"] == "Root" and records[0]["resources"][0]["ARN"] == arn_of(url)
