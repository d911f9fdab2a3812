"""What time does: data key reuse periods and their calls, retention, deduplication, key deletion."""

import base64
import datetime

import pytest

import daemon
import shifted_clock
import wire
from conftest import USERS, account_settings, attributes, name_of, receive, receive_none, refused
from key_audit import records


@pytest.fixture
def clock(tmp_path):
    return shifted_clock.Clock(tmp_path)


@pytest.fixture
def shifted(tmp_path, clock):
    """A broker whose clock the test moves."""
    settings = shifted_clock.SETTINGS + account_settings()
    broker = daemon.Broker(tmp_path / "shifted", settings, clock.environment)
    yield broker.start()
    broker.kill()


def as_user(broker, name):
    return broker.client(credentials=USERS[name][1:3])


def new_queue(broker, name="q", **attributes_given):
    kms, sqs = broker.client("kms"), broker.client()
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    given = {"KmsMasterKeyId": key, **attributes_given}
    return sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"]


def calls(broker, url):
    name = name_of(url)
    return int(broker.kms_calls(name, "GenerateDataKey")), int(broker.kms_calls(name, "Decrypt"))


def wrapped_keys(broker, url):
    return {record["wrapped_key"] for record in broker.inspect(name_of(url))}


def test_sse_107_sse_108_sse_115_a_data_key_lives_from_its_making_and_no_longer(shifted, clock):
    sqs, url = shifted.client(), new_queue(shifted, KmsDataKeyReusePeriodSeconds="60")
    sqs.send_message(QueueUrl=url, MessageBody="0 s")
    for _ in range(5):
        clock.advance(11)
        sqs.send_message(QueueUrl=url, MessageBody="within")
    assert calls(shifted, url) == (1, 1) and len(wrapped_keys(shifted, url)) == 1
    clock.advance(6)
    sqs.send_message(QueueUrl=url, MessageBody="61 s")
    assert calls(shifted, url) == (2, 2) and len(wrapped_keys(shifted, url)) == 2


def test_sse_112_sse_113_sse_114_the_consumer_has_a_period_of_its_own(shifted, clock):
    sqs, consumer = shifted.client(), as_user(shifted, "admin")
    url = new_queue(shifted, KmsDataKeyReusePeriodSeconds="60")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "x"} for i in range(5)])
    assert calls(shifted, url) == (1, 1)
    receive(consumer, url)
    assert calls(shifted, url) == (1, 2), "the producer's warm caches do not serve another principal"
    clock.advance(58)
    receive(consumer, url)
    assert calls(shifted, url) == (1, 2)
    clock.advance(4)
    receive(consumer, url)
    assert calls(shifted, url) == (1, 3)


def test_sse_116_a_day_long_period_holds_for_a_day(shifted, clock):
    sqs, url = shifted.client(), new_queue(shifted, KmsDataKeyReusePeriodSeconds="86400")
    sqs.send_message(QueueUrl=url, MessageBody="morning")
    clock.advance(86400 - 120)
    sqs.send_message(QueueUrl=url, MessageBody="next morning")
    assert calls(shifted, url) == (1, 1) and len(wrapped_keys(shifted, url)) == 1


@pytest.mark.parametrize("producers, consumers", [(1, 1), (2, 1), (1, 2)])
def test_sse_123_sse_124_sse_127_calls_per_period_are_2p_plus_c(shifted, clock, producers, consumers):
    url = new_queue(shifted, KmsDataKeyReusePeriodSeconds="60")
    grant = {"Operations": ["GenerateDataKey", "Decrypt"], "KeyId": attributes(shifted.client(), url)["KmsMasterKeyId"]}
    names = ["admin", "sqs-only", "no-send"]
    for name in names:
        arn = f"arn:aws:iam::{daemon.ACCOUNT}:user/{name}"
        shifted.client("kms").create_grant(GranteePrincipal=arn, **grant)
    senders = [shifted.client(), as_user(shifted, "admin")][:producers]
    takers = [as_user(shifted, name) for name in ("sqs-only", "no-send")][:consumers]
    periods = 3
    for _ in range(periods):
        for _ in range(3):
            for sender in senders:
                entries = [{"Id": str(i), "MessageBody": "x"} for i in range(3)]
                sender.send_message_batch(QueueUrl=url, Entries=entries)
            for taker in takers:
                assert receive(taker, url)
            clock.advance(15)
        clock.advance(20)
    assert sum(calls(shifted, url)) == periods * (2 * producers + consumers)


def test_sse_125_one_principal_in_both_roles_costs_two_calls_a_period(shifted, clock):
    sqs, url = shifted.client(), new_queue(shifted, KmsDataKeyReusePeriodSeconds="60")
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="x")
        (message,) = receive(sqs, url)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        clock.advance(61)
    assert sum(calls(shifted, url)) == 6


def test_sse_130_sse_136_shorter_periods_and_more_queues_cost_more(shifted, clock):
    sqs = shifted.client()
    short = new_queue(shifted, "short", KmsDataKeyReusePeriodSeconds="60")
    key = attributes(sqs, short)["KmsMasterKeyId"]
    long = sqs.create_queue(QueueName="long", Attributes={"KmsMasterKeyId": key, "KmsDataKeyReusePeriodSeconds": "600"})
    for _ in range(4):
        for url in (short, long["QueueUrl"]):
            sqs.send_message(QueueUrl=url, MessageBody="x")
        clock.advance(61)
    assert (sum(calls(shifted, short)), sum(calls(shifted, long["QueueUrl"]))) == (8, 2)


def test_sse_159_a_revoked_right_ends_with_the_period(shifted, clock):
    sqs, kms = shifted.client(), shifted.client("kms")
    url = new_queue(shifted, KmsDataKeyReusePeriodSeconds="60")
    key = attributes(sqs, url)["KmsMasterKeyId"]
    arn = f"arn:aws:iam::{daemon.ACCOUNT}:user/sqs-only"
    grant = kms.create_grant(KeyId=key, GranteePrincipal=arn, Operations=["GenerateDataKey", "Decrypt"])
    producer = as_user(shifted, "sqs-only")
    producer.send_message(QueueUrl=url, MessageBody="granted")
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    clock.advance(61)
    refused("KMS.AccessDeniedException", producer.send_message, QueueUrl=url, MessageBody="x", status=400)


def test_sse_54_retention_removes_sealed_messages_without_a_key(shifted, clock):
    sqs, url = shifted.client(), new_queue(shifted, MessageRetentionPeriod="3600")
    sqs.send_message(QueueUrl=url, MessageBody="short-lived")
    shifted.client("kms").disable_key(KeyId=attributes(sqs, url)["KmsMasterKeyId"])
    before = calls(shifted, url)
    clock.advance(3601)
    assert receive_none(sqs, url)
    assert attributes(sqs, url, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}
    assert calls(shifted, url) == before


def test_a_deduplication_window_is_five_minutes_long(shifted, clock):
    sqs = shifted.client()
    fifo = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    url = sqs.create_queue(QueueName="q.fifo", Attributes=fifo)["QueueUrl"]

    def send():
        return sqs.send_message(QueueUrl=url, MessageBody="same", MessageGroupId="g")["MessageId"]

    first = send()
    clock.advance(200)
    assert send() == first
    clock.advance(101)
    assert send() != first, "a duplicate does not prolong the window"


def test_kms_17_sse_175_a_deleted_key_is_gone_for_good(shifted, clock):
    sqs, kms, url = shifted.client(), shifted.client("kms"), new_queue(shifted)
    key = attributes(sqs, url)["KmsMasterKeyId"]
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "1209600"})
    sqs.send_message(QueueUrl=url, MessageBody="lost with its key")
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    clock.advance(7 * 86400 + 60)
    # Signatures of the present are a week old for this broker: sign in its time.
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=clock.seconds)
    caller = wire.Caller(shifted, service="kms")
    reply = caller.json("Decrypt", {"CiphertextBlob": base64.b64encode(blob).decode()}, when=when, prefix="TrentService")
    refusals = {"NotFoundException", "InvalidCiphertextException", "AccessDeniedException"}
    assert reply.status == 400 and reply.json()["__type"] in refusals, reply.text
    reply = wire.Caller(shifted).json("SendMessage", {"QueueUrl": url, "MessageBody": "x"}, when=when)
    assert (reply.status, reply.code()) == (400, "KMS.NotFoundException"), reply.text
    reply = wire.Caller(shifted).json("ReceiveMessage", {"QueueUrl": url}, when=when)
    assert (reply.status, reply.code()) == (400, "KMS.NotFoundException"), reply.text


def test_an_import_token_ends_after_a_day(shifted, clock):
    key = shifted.client("kms").create_key(Origin="EXTERNAL")["KeyMetadata"]["KeyId"]
    wrapping = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
    token = shifted.client("kms").get_parameters_for_import(KeyId=key, **wrapping)["ImportToken"]
    given = {"KeyId": key, "ImportToken": base64.b64encode(token).decode(), "EncryptedKeyMaterial": base64.b64encode(bytes(256)).decode()}
    call = {**given, "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    caller = wire.Caller(shifted, service="kms")
    for seconds, error in ((86400 - 60, "InvalidCiphertextException"), (120, "ExpiredImportTokenException")):
        clock.advance(seconds)
        when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=clock.seconds)
        reply = caller.json("ImportKeyMaterial", call, when=when, prefix="TrentService")
        assert (reply.status, reply.json()["__type"]) == (400, error), reply.text


def test_kms_15_what_comes_due_is_recorded_as_an_event_of_the_service(shifted, clock):
    kms = shifted.client("kms")
    rotated, deleted = (kms.create_key()["KeyMetadata"] for _ in range(2))
    kms.enable_key_rotation(KeyId=rotated["KeyId"], RotationPeriodInDays=90)
    kms.schedule_key_deletion(KeyId=deleted["KeyId"], PendingWindowInDays=7)
    clock.advance(90 * 86400 + 60)
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=clock.seconds)
    caller = wire.Caller(shifted, service="kms")
    listed = caller.json("ListKeyRotations", {"KeyId": rotated["KeyId"]}, when=when, prefix="TrentService").json()
    assert [rotation["RotationType"] for rotation in listed["Rotations"]] == ["AUTOMATIC"]
    events = {event: records(shifted, event, eventType="AwsServiceEvent") for event in ("RotateKey", "DeleteKey")}
    found = {event: [record["resources"][0]["ARN"] for record in kept] for event, kept in events.items()}
    assert found == {"RotateKey": [rotated["Arn"]], "DeleteKey": [deleted["Arn"]]}
