"""A key service on another machine that goes away: one broker serves the keys of another."""

import pytest

import daemon
import shifted_clock
from conftest import USERS, account_settings, attributes, receive, receive_none, refused


class Pair:
    """`keys` is a broker used for its key service, `queues` one that asks it."""

    def __init__(self, directory):
        self.clock = shifted_clock.Clock(directory)
        self.keys = daemon.Broker(directory / "keys", shifted_clock.SETTINGS + account_settings()).start()
        access_key, secret = self.keys.root_credentials()
        settings = (
            f'[kms]\nprovider = "aws"\n[kms.aws]\nendpoint = "{self.keys.endpoint}"\nca_file = "{self.keys.ca_file}"\nregion = "us-east-1"\n'
            f'access_key_id = "{access_key}"\nsecret_access_key = "{secret}"\ntimeout_ms = 500\n'
        )
        settings = shifted_clock.SETTINGS + settings + account_settings()
        self.queues = daemon.Broker(directory / "queues", settings, self.clock.environment)
        self.key = self.keys.client("kms").create_key()["KeyMetadata"]["Arn"]

    def start(self):
        """False when this build knows no other key service than its own."""
        try:
            self.queues.start()
            return True
        except AssertionError:
            if "kms.provider" in self.queues.log():
                return False
            raise

    def queue(self, name="q"):
        given = {"KmsMasterKeyId": self.key, "KmsDataKeyReusePeriodSeconds": "60"}
        return self.queues.client().create_queue(QueueName=name, Attributes=given)["QueueUrl"]

    def generated(self):
        return self.queues.metric("sealq_kms_calls_total", action="GenerateDataKey", outcome="ok")


@pytest.fixture
def pair(tmp_path):
    pair = Pair(tmp_path)
    try:
        if not pair.start():
            pytest.skip('this build has no `kms.provider = "aws"`')
        yield pair
    finally:
        pair.queues.kill()
        pair.keys.kill()


def test_sse_137_to_sse_140_a_cached_key_goes_on_through_an_outage(pair):
    sqs, url = pair.queues.client(), pair.queue()
    sqs.send_message(QueueUrl=url, MessageBody="before")
    assert pair.generated() == 1
    pair.keys.kill()
    sqs.send_message(QueueUrl=url, MessageBody="key still valid")
    pair.clock.advance(120)
    sqs.send_message(QueueUrl=url, MessageBody="key expired")
    assert sorted(message["Body"] for message in receive(sqs, url, 3)) == ["before", "key expired", "key still valid"]
    assert pair.queues.metric("sealq_kms_unreachable_seconds") > 0
    assert pair.queues.metric("sealq_data_key_outage_uses_total", queue="q") > 0
    assert len({record["wrapped_key"] for record in pair.queues.inspect("q")}) == 1
    pair.keys.start()
    # The next probe is seconds away at most.
    for index in range(100):
        sqs.send_message(QueueUrl=url, MessageBody=f"after {index}")
        if pair.generated() == 2:
            break
        pair.clock.advance(1)
    assert pair.generated() == 2
    assert pair.queues.metric("sealq_kms_unreachable_seconds") == 0


def test_sse_141_sse_142_sse_144_without_a_cached_key_nothing_is_stored_or_lost(pair):
    sqs, url = pair.queues.client(), pair.queue()
    other = pair.queues.client(credentials=USERS["admin"][1:3])
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    pair.keys.kill()
    refused("InternalFailure", other.send_message, QueueUrl=url, MessageBody="x", status=500)
    refused("InternalFailure", other.receive_message, QueueUrl=url, status=500)
    pair.queues.restart()
    refused("InternalFailure", sqs.send_message, QueueUrl=url, MessageBody="x", status=500)
    refused("InternalFailure", sqs.receive_message, QueueUrl=url, status=500)
    assert attributes(sqs, url, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "1"}
    pair.keys.start()
    pair.clock.advance(30)
    for _ in range(50):
        try:
            (message,) = receive(sqs, url, MessageSystemAttributeNames=["All"])
            break
        except sqs.exceptions.ClientError:
            pair.clock.advance(1)
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("kept", "1")
    assert receive_none(sqs, url)


def test_sse_143_a_refusal_is_an_answer_and_no_outage(pair):
    sqs, url = pair.queues.client(), pair.queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    pair.keys.client("kms").disable_key(KeyId=pair.key)
    pair.clock.advance(61)
    refused("KMS.DisabledException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.DisabledException", sqs.receive_message, QueueUrl=url, status=400)
    assert pair.queues.metric("sealq_kms_unreachable_seconds") == 0
