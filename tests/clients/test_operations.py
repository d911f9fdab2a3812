"""What an operator sees: metrics, health, commands, settings that are refused."""

import concurrent.futures
import json
import re
import shutil
import subprocess
import time

import pytest

import daemon
import wire
from conftest import name_of, needs_command, receive

EXPECTED = [
    "sealq_queue_messages_visible",
    "sealq_queue_messages_not_visible",
    "sealq_queue_messages_delayed",
    "sealq_queue_oldest_message_age_seconds",
    "sealq_messages_sent_total",
    "sealq_messages_received_total",
    "sealq_messages_deleted_total",
    "sealq_sent_bytes_total",
    "sealq_requests_total",
    "sealq_kms_calls_total",
    "sealq_kms_unreachable_seconds",
    "sealq_data_keys_generated_total",
    "sealq_log_segments",
    "sealq_log_live_bytes",
    "sealq_log_disk_bytes",
    "sealq_log_poisoned",
    "sealq_io_engine_info",
    "sealq_build_info",
]


def test_metrics_pass_promtool_and_hold_what_is_promised(broker, sqs, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    receive(sqs, url)
    text = broker.metrics()
    promtool = shutil.which("promtool")
    assert promtool, "promtool is in Debian's package prometheus"
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert set(EXPECTED) <= names, set(EXPECTED) - names
    for histogram in ("sealq_request_duration_seconds", "sealq_commit_duration_seconds", "sealq_fsync_duration_seconds"):
        assert f"{histogram}_count" in names


def test_sse_35_counters_follow_the_messages(broker, sqs, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    name = name_of(url)
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "1234"} for i in range(3)])
    (message,) = receive(sqs, url)
    assert broker.metric("sealq_queue_messages_visible", queue=name) == 2
    assert broker.metric("sealq_queue_messages_not_visible", queue=name) == 1
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    counters = {"sent": 3, "received": 1, "deleted": 1}
    for kind, count in counters.items():
        assert broker.metric(f"sealq_messages_{kind}_total", queue=name) == count
    assert broker.metric("sealq_sent_bytes_total", queue=name) == 12


def test_key_counters_begin_at_zero(broker, queue):
    name = queue(SqsManagedSseEnabled="true").rsplit("/", 1)[1]
    shown = [line for line in broker.metrics().splitlines() if f'queue="{name}"' in line]
    for counter in ("data_keys_generated", "data_key_cache_hits", "data_key_outage_uses"):
        assert [line[-2:] for line in shown if line.startswith(f"sealq_{counter}_total{{")] == [" 0"], shown


def test_health_needs_no_signature_and_tells_nothing(broker):
    for path in ("/healthz", "/readyz"):
        for secure in (True, False):
            reply = wire.exchange(broker, "GET", path, secure=secure)
            assert reply.status == 200 and len(reply.body) < 64
    assert broker.run("healthcheck").returncode == 0


def test_ready_ends_with_the_process(own_broker):
    own_broker.start()
    assert "ready in" in own_broker.log()
    assert own_broker.stop() == 0
    assert own_broker.run("healthcheck", check=False).returncode == 1


def test_a_stop_answers_the_long_polls_before_it_closes(own_broker):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="waited-for")["QueueUrl"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [own_broker.client() for _ in range(8)]
        polls = [pool.submit(client.receive_message, QueueUrl=url, WaitTimeSeconds=20) for client in clients]
        time.sleep(1)
        assert not any(poll.done() for poll in polls)
        assert own_broker.stop() == 0
        replies = [poll.result() for poll in polls]
    assert not any("Messages" in reply for reply in replies)
    assert {reply["ResponseMetadata"]["HTTPStatusCode"] for reply in replies} == {200}


@pytest.mark.parametrize(
    "settings, names",
    [
        ("[storage]\nsegment_byte = 1\n", "segment_byte"),
        ('[auth]\nclock_skew_seconds = "many"\n', "clock_skew_seconds"),
        ('[kms]\nprovider = "none"\n', "provider"),
        (
            "[[account]]\nid = '111111111111'\n[[account.user]]\nname = 'ann'\npolicy = '{}'\n"
            "access_key_id = 'AKIAANNAAAAAAAAAAAAA'\nsecret_access_key = 'ann/secret+0123456789abcdefghijklmnopqrst'\n",
            "user/ann: its identity policy",
        ),
        ("[tls]\ncert_file = '/nowhere/c.pem'\nkey_file = '/nowhere/k.pem'\n", "/nowhere/c.pem"),
    ],
)
def test_wrong_settings_stop_the_start_with_status_2(tmp_path, settings, names):
    broken = daemon.Broker(tmp_path / "broken", settings)
    for command in (["serve"], ["config", "check"]):
        result = broken.run(*command, check=False)
        assert result.returncode == 2 and names in result.stderr, result.stderr


def test_config_show_names_where_a_setting_comes_from(broker):
    shown = broker.run("config", "show").stdout
    assert str(broker.data) in shown and "sealq.toml" in shown


def test_every_command_has_help_with_an_example():
    listed = subprocess.run([daemon.BINARY, "--help"], capture_output=True, text=True).stdout
    commands = re.findall(r"^  ([a-z]+) ", listed.split("Commands:")[1].split("Options:")[0], re.M)
    assert {"serve", "env", "healthcheck", "config", "verify", "inspect", "kms"} <= set(commands)
    for command in set(commands) - {"help"}:
        result = subprocess.run([daemon.BINARY, command, "--help"], capture_output=True, text=True)
        assert result.returncode == 0 and "xample" in result.stdout, command


def explained(broker, principal, action, resource, *more):
    """Exit status and text of an explanation."""
    arguments = ["--principal", principal, "--action", action, "--resource", resource, *more]
    result = broker.run("explain", *arguments, check=False)
    assert result.returncode in (0, 5), result.stderr
    return result.returncode, result.stdout


@needs_command("explain")
def test_explain_says_which_statement_decides(broker, queue):
    account, name = queue().rsplit("/", 2)[-2:]
    resource = f"arn:aws:sqs:us-east-1:{account}:{name}"
    for user, status, text in (("sqs-only", 0, "by: identity policy, statement 1"), ("nobody", 5, "because no identity-based policy")):
        found, shown = explained(broker, f"arn:aws:iam::{account}:user/{user}", "sqs:SendMessage", resource)
        assert (found, text in shown) == (status, True), shown


@needs_command("explain")
def test_explain_agrees_with_the_key_service_beside_a_running_broker_and_on_a_stopped_one(own_broker):
    kms = own_broker.start().client("kms")
    user = f"arn:aws:iam::{daemon.ACCOUNT}:user/"
    via = {"StringEquals": {"kms:ViaService": "sqs.us-east-1.amazonaws.com"}}
    statements = [
        {"Sid": "Owner", "Effect": "Allow", "Principal": {"AWS": daemon.ACCOUNT}, "Action": "kms:*", "Resource": "*"},
        {"Sid": "Queues", "Effect": "Allow", "Principal": {"AWS": user + "nobody"}, "Action": "kms:Decrypt", "Resource": "*", "Condition": via},
    ]
    key = kms.create_key(Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/explained", TargetKeyId=key)
    kms.create_grant(KeyId=key, GranteePrincipal=user + "sqs-only", Operations=["Encrypt"])
    through_sqs = ["--condition", "kms:ViaService=sqs.us-east-1.amazonaws.com"]
    for running in (True, False):
        if not running:
            assert own_broker.stop() == 0
        for name, action, more, status, text in (
            ("admin", "kms:Encrypt", [], 0, 'key policy, statement "Owner"'),
            ("nobody", "kms:Decrypt", [], 5, "because no identity-based policy allows the kms:Decrypt action"),
            ("nobody", "kms:Decrypt", through_sqs, 0, 'key policy, statement "Queues"'),
            ("sqs-only", "kms:Encrypt", [], 0, "by: grant"),
        ):
            found, shown = explained(own_broker, user + name, action, "alias/explained", *more)
            assert (found, text in shown) == (status, True), shown


@needs_command("explain")
def test_explain_decides_who_assumes_a_role(broker):
    role = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
    for account, name, status, text in (
        (daemon.ACCOUNT, "admin", 0, "by: trust policy, statement 1"),
        (daemon.ACCOUNT, "nobody", 5, "because no identity-based policy"),
        (daemon.FOREIGN_ACCOUNT, "foreigner", 5, "because no resource-based policy"),
    ):
        found, shown = explained(broker, f"arn:aws:iam::{account}:user/{name}", "sts:AssumeRole", role)
        assert (found, text in shown) == (status, True), shown


def test_inspect_works_beside_a_running_broker_and_on_a_stopped_one(own_broker):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    sent = sqs.send_message(QueueUrl=url, MessageBody="x")["MessageId"]
    assert [record["message_id"] for record in own_broker.inspect("q")] == [sent]
    arguments = ["inspect", "--json", "--message", sent]
    assert json.loads(own_broker.run(*arguments).stdout)["message_id"] == sent
    assert own_broker.stop() == 0
    assert [record["message_id"] for record in own_broker.inspect("q")] == [sent]


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_sse_184_a_new_root_key_loses_no_message(own_broker, running):
    sqs = own_broker.start().client()
    urls = [
        sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"]
        for name, given in (("kms", {"KmsMasterKeyId": "alias/aws/sqs"}), ("managed", {}))
    ]
    for url in urls:
        sqs.send_message(QueueUrl=url, MessageBody="before")
    root_key = (own_broker.secrets / "root.key").read_bytes()
    if not running:
        assert own_broker.stop() == 0
    own_broker.run("kms", "rotate-root")
    assert (own_broker.secrets / "root.key").read_bytes() != root_key
    if running:
        for url in urls:
            sqs.send_message(QueueUrl=url, MessageBody="during")
        own_broker.crash()
    else:
        own_broker.start()
    expected = ["before", "during"] if running else ["before"]
    for url in urls:
        assert sorted(message["Body"] for message in receive(sqs, url, len(expected))) == expected
