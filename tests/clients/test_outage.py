"""A key service on the network that goes away, by every fault there is, and comes back."""

import threading
import time

import pytest

import daemon
import key_services
import shifted_clock
from conftest import USERS, account_settings, receive, receive_none, refused, values
from stored_record import open_with_key
from test_secrecy import files, forms, where

CANARY = "canary-outage-4b1d"
PERIOD_SECONDS = 60
RECOVERY_SECONDS_MAX = 20


class Stand:
    """A key service, a proxy before it, and a broker whose clock can be moved that asks the key service by the proxy."""

    def __init__(self, kind, directory):
        self.service = {"sealq": key_services.Sealq, "openbao": key_services.OpenBao}[kind](directory / kind).start()
        self.proxy = key_services.Proxy(self.service.port)
        self.clock = shifted_clock.Clock(directory)
        asked = self.service.settings(self.proxy.port, key_services.SHORT_TIMEOUT_MS)
        settings = key_services.SMALL_SEGMENTS + shifted_clock.SETTINGS + asked + account_settings()
        self.broker = daemon.Broker(directory / "queues", settings, self.clock.environment)
        self.key = self.service.new_key()

    def end(self):
        self.broker.kill()
        self.service.kill()
        self.proxy.close()

    def client(self, name=None):
        return self.broker.client(credentials=USERS[name][1:3] if name else None)

    def queue(self, name="q"):
        given = {"KmsMasterKeyId": self.key, "KmsDataKeyReusePeriodSeconds": str(PERIOD_SECONDS)}
        return self.client().create_queue(QueueName=name, Attributes=given)["QueueUrl"]

    def expire(self):
        self.clock.advance(PERIOD_SECONDS + 1)

    def calls(self, action, outcome="ok"):
        return self.broker.metric("sealq_kms_calls_total", action=action, outcome=outcome)

    def unreachable_seconds(self):
        return self.broker.metric("sealq_kms_unreachable_seconds", provider=self.service.provider)

    # The faults. Each can be ended, by the second of its two.

    def kill(self):
        self.service.kill()

    def start(self):
        self.service.start()

    def freeze(self):
        self.service.freeze()

    def thaw(self):
        self.service.thaw()

    def seal(self):
        self.service.seal()

    def unseal(self):
        self.service.unseal()

    def blackhole(self):
        self.proxy.mode = "swallow"

    def cut(self):
        self.proxy.mode = "cut"

    def heal(self):
        self.proxy.mode = "pass"


FAULTS = {
    "killed": ("kill", "start"),
    "stopped": ("freeze", "thaw"),
    "blackholed": ("blackhole", "heal"),
    "cut-off": ("cut", "heal"),
    "sealed": ("seal", "unseal"),  # HTTP 503
}
SEALQ_FAULTS = ["killed", "stopped", "blackholed", "cut-off"]
# The development server of OpenBao keeps its keys in memory: it is not killed.
OPENBAO_FAULTS = ["stopped", "blackholed", "cut-off", "sealed"]
CASES = [("sealq", fault) for fault in SEALQ_FAULTS] + [("openbao", fault) for fault in OPENBAO_FAULTS]


def eventually(holds):
    deadline = time.monotonic() + RECOVERY_SECONDS_MAX
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def stand(request, tmp_path):
    stand = Stand(getattr(request, "param", "sealq"), tmp_path)
    try:
        stand.broker.start()
        yield stand
    finally:
        stand.end()


class Load:
    """Producers that never pause: what was acknowledged, what failed."""

    def __init__(self, stand, url, names):
        self.acknowledged, self.failed, self.stopping = [], [], False
        self.threads = [threading.Thread(target=self.produce, args=(stand.client(name), url, name)) for name in names]
        for thread in self.threads:
            thread.start()

    def produce(self, sqs, url, name):
        number = 0
        while not self.stopping:
            body, number = f"{CANARY} {name} {number}", number + 1
            try:
                sqs.send_message(QueueUrl=url, MessageBody=body)
                self.acknowledged.append(body)
            except Exception as error:
                self.failed.append(error)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def more(self, count=20):
        """Waits for `count` more acknowledged messages."""
        wanted = len(self.acknowledged) + count
        eventually(lambda: len(self.acknowledged) >= wanted or self.failed)


@pytest.mark.parametrize("stand, fault", CASES, indirect=["stand"])
def test_sse_137_to_sse_140_under_load_nothing_fails_and_nothing_is_lost(stand, fault):
    begin, end = (getattr(stand, name) for name in FAULTS[fault])
    url = stand.queue()
    consumer = stand.client("admin")
    first = [f"{CANARY} first {number}" for number in range(10)]
    for body in first:
        stand.client().send_message(QueueUrl=url, MessageBody=body)
    assert receive(consumer, url, 5, VisibilityTimeout=0)
    load = Load(stand, url, [None, "admin"])
    try:
        load.more()
        begin()
        load.more()
        stand.expire()
        load.more(60)
        assert receive(consumer, url, 1, VisibilityTimeout=0)
        assert not load.failed, load.failed
        assert stand.broker.metric("sealq_data_key_outage_uses_total", queue="q") > 0
        assert stand.broker.metric("sealq_data_key_outage_age_seconds", queue="q") > PERIOD_SECONDS
        eventually(lambda: stand.unreachable_seconds() > 0)
        generated, decrypted = stand.calls("GenerateDataKey"), stand.calls("Decrypt")
        assert len({record["wrapped_key"] for record in stand.broker.inspect("q")}) == 2
        end()
        # Both producers get new keys, each checked; the consumer's next receive asks too.
        eventually(lambda: stand.calls("GenerateDataKey") == generated + 2)
        load.more()
    finally:
        load.stop()
    assert not load.failed, load.failed
    assert receive(consumer, url, 1, VisibilityTimeout=0)
    assert stand.calls("Decrypt") >= decrypted + 2
    assert stand.unreachable_seconds() == 0
    assert stand.broker.metric("sealq_data_key_outage_age_seconds") == 0
    stored = stand.broker.inspect("q")
    assert {record["mode"] for record in stored} == {"kms"}
    keys = {wrapped: stand.service.data_key(record) for wrapped, record in {r["wrapped_key"]: r for r in stored}.items()}
    assert len(keys) == 4
    opened = [open_with_key(keys[record["wrapped_key"]], record) for record in stored]
    assert sorted(opened) == sorted(first + load.acknowledged)
    assert stand.broker.stop() == 0
    assert not where(forms(CANARY), files(stand.broker.data))
    assert not where(keys.values(), files(stand.broker.data))
    assert CANARY not in stand.broker.log()


@pytest.mark.parametrize("stand, fault", CASES[: len(SEALQ_FAULTS)] + CASES[-1:], indirect=["stand"])
def test_sse_141_sse_142_sse_144_without_a_cached_key_nothing_is_stored_or_lost(stand, fault):
    begin, end = (getattr(stand, name) for name in FAULTS[fault])
    sqs, url = stand.client(), stand.queue()
    other = stand.client("admin")
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    begin()
    stand.expire()
    sqs.send_message(QueueUrl=url, MessageBody="by the one who holds a key")
    refused("InternalFailure", other.send_message, QueueUrl=url, MessageBody="x", status=500)
    refused("InternalFailure", other.receive_message, QueueUrl=url, status=500)
    entries = [{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "x"}]
    refused("InternalFailure", other.send_message_batch, QueueUrl=url, Entries=entries, status=500)
    stand.broker.restart()
    refused("InternalFailure", sqs.send_message, QueueUrl=url, MessageBody="x", status=500)
    refused("InternalFailure", sqs.receive_message, QueueUrl=url, status=500)
    assert values(sqs, url, "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible") == ["2", "0"]
    # What needs no key goes on.
    plain = sqs.create_queue(QueueName="managed", Attributes={"SqsManagedSseEnabled": "true"})["QueueUrl"]
    sqs.send_message(QueueUrl=plain, MessageBody="x")
    assert receive(sqs, plain)[0]["Body"] == "x"
    end()
    received = []

    def all_received():
        try:
            reply = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])
        except sqs.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "InternalFailure", error
            return False
        received.extend(reply.get("Messages", []))
        return len(received) >= 2

    eventually(all_received)
    assert sorted(message["Body"] for message in received) == ["by the one who holds a key", "kept"]
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in received} == {"1"}
    assert receive_none(sqs, url)


def test_sse_142_messages_that_need_no_key_are_received_during_an_outage(stand):
    sqs, url = stand.client(), stand.queue()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": ""})
    sqs.send_message(QueueUrl=url, MessageBody="plain")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": stand.key})
    sqs.send_message(QueueUrl=url, MessageBody="sealed")
    stand.kill()
    other = stand.client("admin")
    assert [message["Body"] for message in receive(other, url)] == ["plain"]
    refused("InternalFailure", other.receive_message, QueueUrl=url, status=500)


def test_sse_143_a_refusal_is_an_answer_and_no_outage(stand):
    sqs, url = stand.client(), stand.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    stand.service.kms.disable_key(KeyId=stand.key)
    stand.expire()
    refused("KMS.DisabledException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.DisabledException", sqs.receive_message, QueueUrl=url, status=400)
    assert stand.unreachable_seconds() == 0
    # Nor does an outage bring back what was refused.
    stand.kill()
    refused("InternalFailure", sqs.send_message, QueueUrl=url, MessageBody="x", status=500)
    refused("InternalFailure", sqs.receive_message, QueueUrl=url, status=500)


@pytest.mark.parametrize("mode", ["swallow", "cut"])
def test_sse_110_a_data_key_that_could_not_be_checked_is_never_used(stand, mode):
    sqs, url = stand.client(), stand.queue()
    sqs.send_message(QueueUrl=url, MessageBody="old key")
    (record,) = stand.broker.inspect("q")
    stand.proxy.mode = (b"TrentService.Decrypt", mode)
    stand.expire()
    for _ in range(5):
        sqs.send_message(QueueUrl=url, MessageBody="old key")
    refused("InternalFailure", stand.client("admin").send_message, QueueUrl=url, MessageBody="x", status=500)
    assert {stored["wrapped_key"] for stored in stand.broker.inspect("q")} == {record["wrapped_key"]}
    assert stand.calls("GenerateDataKey") >= 2 and stand.calls("Decrypt", "Unreachable") >= 1
    stand.heal()

    def renewed():
        sqs.send_message(QueueUrl=url, MessageBody="new key")
        return len({stored["wrapped_key"] for stored in stand.broker.inspect("q")}) == 2

    eventually(renewed)
    assert len(receive(stand.client("admin"), url, 7)) >= 7


@pytest.mark.parametrize("fault", ["killed", "blackholed"])
def test_a_broker_starts_and_stops_while_the_key_service_is_away(stand, fault):
    begin, end = (getattr(stand, name) for name in FAULTS[fault])
    sqs, url = stand.client(), stand.queue()
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    assert stand.broker.stop() == 0
    begin()
    stand.broker.start()
    assert stand.broker.http_status("/readyz") == 200
    refused("InternalFailure", sqs.receive_message, QueueUrl=url, status=500)
    stand.broker.restart()
    end()
    assert receive(sqs, url)[0]["Body"] == "kept"
