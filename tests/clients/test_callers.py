"""Callers of every kind: unsigned ones, services, emulator use, and what a reload changes."""

import json

import pytest

import daemon
import wire
from conftest import USERS, account_settings, arn_of, receive, refused

SERVICE_KEY = ("AKIASERVICEAAAAAAAAA", "service/secret+0123456789abcdefghijklmno")
SERVICE = (
    f'[[service]]\nprincipal = "sns.amazonaws.com"\naccess_key_id = "{SERVICE_KEY[0]}"\n'
    f'secret_access_key = "{SERVICE_KEY[1]}"\nsource_arn = "arn:aws:sns:us-east-1:{daemon.ACCOUNT}:topic"\n'
    f'source_account = "{daemon.ACCOUNT}"\n'
)
both = pytest.mark.parametrize("unsigned", [wire.unsigned_json, wire.unsigned_form], ids=["json", "form"])


def admit(sqs, url, principal, actions="sqs:*", **condition):
    statement = {"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": arn_of(url)}
    if condition:
        statement["Condition"] = condition
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


@pytest.fixture
def public(sqs, queue):
    """A queue without encryption that everybody may do everything with."""
    url = queue(SqsManagedSseEnabled="false")
    admit(sqs, url, "*")
    return url


# Unsigned requests


@both
def test_auth_23_conditions_hold_for_unsigned_callers(broker, sqs, public, unsigned):
    call = {"QueueUrl": public, "MessageBody": "x"}
    for network, status in (("127.0.0.0/8", 200), ("10.0.0.0/8", 403)):
        admit(sqs, public, "*", IpAddress={"aws:SourceIp": network})
        assert unsigned(broker, "SendMessage", call).status == status
    admit(sqs, public, "*", StringEquals={"aws:PrincipalAccount": daemon.ACCOUNT})
    reply = unsigned(broker, "SendMessage", call)
    assert (reply.status, reply.code()) == (403, "AccessDenied")
    assert f"Access to the resource {broker.endpoint}/ is denied." in reply.text


@both
def test_unsigned_callers_never_own_a_queue(broker, sqs, public, unsigned):
    calls = {
        "DeleteQueue": {},
        "ListQueueTags": {},
        "RemovePermission": {"Label": "x"},
        "ListQueues": None,
        "CreateQueue": None,
    }
    for action, call in calls.items():
        given = {"QueueName": "made-by-nobody"} if action == "CreateQueue" else {}
        reply = unsigned(broker, action, given if call is None else {"QueueUrl": public, **call})
        assert (reply.status, reply.code()) == (403, "AccessDenied"), (action, reply.text)
    assert sqs.get_queue_attributes(QueueUrl=public, AttributeNames=["QueueArn"])["Attributes"]


@both
def test_an_unsigned_request_to_a_queue_that_does_not_exist_says_so(broker, unsigned):
    url = f"{broker.endpoint}/{daemon.ACCOUNT}/never-made"
    reply = unsigned(broker, "SendMessage", {"QueueUrl": url, "MessageBody": "x"})
    assert (reply.status, reply.code()) == (400, "AWS.SimpleQueueService.NonExistentQueue"), reply.text


@pytest.mark.parametrize("protocol", ["json", "form"])
def test_a_bad_signature_never_falls_back_to_anonymous(broker, public, protocol):
    call = {"QueueUrl": public, "MessageBody": "x"}
    for key, code in ((("AKIAUNKNOWNAAAAAAAAA", "x"), "InvalidClientTokenId"), ((broker.root_credentials()[0], "x"), "SignatureDoesNotMatch")):
        reply = getattr(wire.Caller(broker, key), protocol)("SendMessage", call)
        assert (reply.status, reply.code()) == (403, code), reply.text
    bare = {"authorization": "AWS4-HMAC-SHA256"}
    reply = wire.unsigned_form(broker, "SendMessage", call, extra=bare)
    assert (reply.status, reply.code()) == (400, "IncompleteSignature"), reply.text


# Emulator use


def test_without_required_signatures_the_unsigned_are_root_and_encrypted_queues_stay_shut(tmp_path):
    settings = "[auth]\nrequire_signatures = false\n" + account_settings()
    broker = daemon.Broker(tmp_path / "emulator", settings).start()
    try:
        for unsigned, name in ((wire.unsigned_json, "a"), (wire.unsigned_form, "b")):
            call = {"QueueName": name, "Attributes": {"SqsManagedSseEnabled": "false"}}
            if unsigned is wire.unsigned_form:
                call = {"QueueName": name, "Attribute.1.Name": "SqsManagedSseEnabled", "Attribute.1.Value": "false"}
            assert unsigned(broker, "CreateQueue", call).status == 200
            url = f"{broker.endpoint}/{daemon.ACCOUNT}/{name}"
            assert unsigned(broker, "SendMessage", {"QueueUrl": url, "MessageBody": "x"}).status == 200
        sqs = broker.client()
        encrypted = sqs.create_queue(QueueName="encrypted")["QueueUrl"]
        reply = wire.unsigned_json(broker, "SendMessage", {"QueueUrl": encrypted, "MessageBody": "x"})
        assert (reply.status, reply.code()) == (403, "InvalidSecurity"), reply.text
        sqs.send_message(QueueUrl=encrypted, MessageBody="x")
        wrong = wire.Caller(broker, (broker.root_credentials()[0], "wrong"))
        assert wrong.json("ListQueues", {}).code() == "SignatureDoesNotMatch"
        nobody = broker.client(credentials=USERS["nobody"][1:3])
        refused("AccessDenied", nobody.send_message, QueueUrl=encrypted, MessageBody="x", status=403)
        assert "signatures are not required" in broker.log()
    finally:
        broker.kill()


# Services


def test_a_service_has_what_queue_policies_give_it_and_owns_nothing(tmp_path):
    broker = daemon.Broker(tmp_path / "service", account_settings() + SERVICE).start()
    try:
        sqs, service = broker.client(), broker.client(credentials=SERVICE_KEY)
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        refused("AccessDenied", service.send_message, QueueUrl=url, MessageBody="x", status=403)
        for principal in ({"AWS": daemon.ACCOUNT}, {"Service": "events.amazonaws.com"}):
            admit(sqs, url, principal)
            refused("AccessDenied", service.send_message, QueueUrl=url, MessageBody="x", status=403)
        admit(sqs, url, {"Service": "sns.amazonaws.com"}, ArnLike={"aws:SourceArn": "arn:aws:sns:*:*:topic"})
        service.send_message(QueueUrl=url, MessageBody="from the topic")
        assert receive(sqs, url)[0]["Body"] == "from the topic"
        refused("AccessDenied", service.delete_queue, QueueUrl=url, status=403)
        refused("AccessDenied", service.list_queues, status=403)
        worker = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
        sts = broker.client("sts", SERVICE_KEY)
        refused("AccessDenied", sts.assume_role, RoleArn=worker, RoleSessionName="s1", status=403)
    finally:
        broker.kill()


# Reload


def test_a_bad_file_is_refused_whole_and_the_old_principals_stay(own_broker):
    broker = own_broker.start()
    whole = broker.config.read_text()
    sqs_only = USERS["sqs-only"]
    client = broker.client(credentials=sqs_only[1:3])
    client.list_queues()
    new_secret = "another/secret+0123456789abcdefghijklmno"
    changed = whole.replace(sqs_only[2], new_secret)
    for bad in (
        changed.replace('"Effect":"Allow"', '"Effect":"allow"', 1),
        changed + '\n[[account]]\nid = "12"\n',
        changed + "\nnot toml",
        changed.replace(USERS["nobody"][1], sqs_only[1]),
    ):
        broker.config.write_text(bad)
        broker.reload()
        client.list_queues()
    assert "the old ones stay" in broker.log()
    broker.config.write_text(changed)
    broker.reload()
    refused("SignatureDoesNotMatch", client.list_queues, status=403)
    broker.client(credentials=(sqs_only[1], new_secret)).list_queues()


def test_auth_22_sessions_end_with_their_user_and_a_namesake_does_not_inherit_them(own_broker):
    broker = own_broker.start()
    whole = broker.config.read_text()
    given = broker.client("sts", USERS["admin"][1:3]).get_session_token()["Credentials"]
    key = (given["AccessKeyId"], given["SecretAccessKey"])
    client = broker.client(credentials=key, session_token=given["SessionToken"])
    client.list_queues()
    broker.reload()
    client.list_queues()
    parts = whole.split("[[account.user]]\n")
    broker.config.write_text("[[account.user]]\n".join(part for part in parts if 'name = "admin"' not in part))
    broker.reload()
    refused("InvalidClientTokenId", client.list_queues, status=403)
    broker.config.write_text(whole)
    broker.reload()
    refused("InvalidClientTokenId", client.list_queues, status=403)
    broker.client(credentials=USERS["admin"][1:3]).list_queues()
