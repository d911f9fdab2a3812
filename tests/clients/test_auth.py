"""Signatures and rights, by requests that no SDK would send."""

import datetime
import html
import json

import pytest

import daemon
import wire
from conftest import USERS, arn_of, attributes, receive, receive_none, refused

json_or_form = pytest.mark.parametrize("protocol", ["json", "form"])
SKEW_TEXT = "Signature "


def minutes(count):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=count)


def send(caller, protocol, url, body="x"):
    return getattr(caller, protocol)("SendMessage", {"QueueUrl": url, "MessageBody": body})


@json_or_form
def test_auth_2_and_auth_10_a_good_signature_passes_and_a_bad_one_has_the_form_of_its_protocol(caller, queue, protocol):
    url = queue()
    assert send(caller(), protocol, url).status == 200
    wrong = wire.Caller(caller().broker, (caller().access_key, "wrong"))
    reply = send(wrong, protocol, url)
    assert (reply.status, reply.code()) == (403, "SignatureDoesNotMatch")
    assert "The request signature we calculated does not match" in reply.text
    if protocol == "json":
        assert reply.json()["__type"] == "com.amazon.coral.service#InvalidSignatureException"


def test_auth_1_and_auth_8_any_changed_part_of_a_request_fails(sqs, caller, queue):
    url = queue()

    def altered(change):
        return caller().json("SendMessage", {"QueueUrl": url, "MessageBody": "as signed"}, alter=change)

    changes = [
        lambda headers, body: (headers, body.replace(b"as signed", b"otherwise")),
        lambda headers, body: ({**headers, "x-amz-target": "AmazonSQS.PurgeQueue"}, body),
        lambda headers, body: ({**headers, "content-type": "application/x-amz-json-1.1"}, body),
        lambda headers, body: ({**headers, "x-amz-date": wire.stamp(minutes(1))}, body),
    ]
    for change in changes:
        reply = altered(change)
        assert (reply.status, reply.code()) == (403, "SignatureDoesNotMatch"), reply.text
    assert receive_none(sqs, url)


def test_auth_3_the_query_mode_header_makes_no_difference(caller):
    replies = [caller().json("ListQueues", {}, extra=extra) for extra in ({}, {"x-amzn-query-mode": "true"})]
    assert [reply.status for reply in replies] == [200, 200]


def test_auth_4_a_scope_of_another_service_or_region_fails(caller, queue):
    url = queue()
    for settings in ({"service": "kms"}, {"region": "eu-west-1"}):
        reply = send(caller(**settings), "json", url)
        assert (reply.status, reply.code()) == (403, "SignatureDoesNotMatch"), reply.text
    for service in ("kms", "sts", "iam"):
        reply = caller(service=service).form("ListQueues", {})
        assert (reply.status, reply.code()) == (403, "SignatureDoesNotMatch"), reply.text
        assert "Credential should be scoped to correct service: 'sqs'." in html.unescape(reply.text)


def test_auth_5_the_clock_may_be_fourteen_minutes_off_and_not_sixteen(caller):
    for skew, status in ((-14, 200), (14, 200), (-16, 403), (16, 403)):
        reply = caller().json("ListQueues", {}, when=minutes(skew))
        assert reply.status == status, (skew, reply.text)
        if status == 403:
            assert reply.code() == "SignatureDoesNotMatch" and SKEW_TEXT in reply.text


def test_auth_6_a_presigned_url_ends_with_its_time(sqs, caller, queue):
    url = queue()
    path = "/" + url.split("/", 3)[3]
    call = {"Action": "SendMessage", "MessageBody": "presigned", "Version": "2012-11-05"}
    assert caller().get(caller().presigned(path, call)).status == 200
    assert receive(sqs, url)[0]["Body"] == "presigned"
    assert caller().get(caller().presigned(path, call, expires=3600, when=minutes(-50))).status == 200
    assert caller().get(caller().presigned(path, call, expires=60, when=minutes(-5))).status in (400, 403)
    assert caller().get(caller().presigned(path, call, expires=604801)).status in (400, 403)
    tampered = caller().presigned(path, call).replace("MessageBody=presigned", "MessageBody=changed")
    assert caller().get(tampered).status == 403


def test_auth_7_unsigned_amz_headers_are_refused(caller):
    reply = caller().json("ListQueues", {}, alter=lambda headers, body: ({**headers, "x-amz-extra": "1"}, body))
    assert reply.status in (400, 403), reply.text


@json_or_form
def test_auth_9_unknown_and_inactive_keys_are_refused(broker, caller, queue, protocol):
    url = queue()
    for who in (wire.Caller(broker, ("AKIAUNKNOWNAAAAAAAAA", "x")), caller("retired")):
        reply = send(who, protocol, url)
        assert (reply.status, reply.code()) == (403, "InvalidClientTokenId"), reply.text
    with_token = caller("admin", token="not-a-token")
    assert send(with_token, protocol, url).code() == "InvalidClientTokenId"


def test_auth_9_kms_and_sts_answer_in_their_own_form(broker):
    wrong = (broker.root_credentials()[0], "wrong")
    refused("InvalidSignatureException", broker.client("kms", wrong).list_keys, status=400)
    refused("SignatureDoesNotMatch", broker.client("sts", wrong).get_caller_identity, status=403)
    unknown = ("AKIAUNKNOWNAAAAAAAAA", "x")
    refused("UnrecognizedClientException", broker.client("kms", unknown).list_keys, status=400)
    refused("InvalidClientTokenId", broker.client("sts", unknown).get_caller_identity, status=403)


def test_auth_11_either_policy_admits_a_caller_of_the_same_account(sqs, user, queue):
    url = queue()
    user("sqs-only").send_message(QueueUrl=url, MessageBody="by identity policy")
    text = refused("AccessDenied", user("nobody").send_message, QueueUrl=url, MessageBody="x", status=403)
    assert text == (
        "User: arn:aws:iam::000000000000:user/nobody is not authorized to perform: sqs:sendmessage on resource: "
        f"{arn_of(url)} because no identity-based policy allows the sqs:sendmessage action"
    )
    allow(sqs, url, f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody", "sqs:SendMessage")
    user("nobody").send_message(QueueUrl=url, MessageBody="by queue policy")
    refused("AccessDenied", user("nobody").receive_message, QueueUrl=url)


def allow(sqs, url, principal, action, effect="Allow"):
    statement = {"Effect": effect, "Principal": {"AWS": principal}, "Action": action, "Resource": arn_of(url)}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def test_auth_12_a_foreign_caller_needs_both_policies_and_never_owns(sqs, user, queue):
    url, foreigner = queue(), user("foreigner")
    refused("AccessDenied", foreigner.send_message, QueueUrl=url, MessageBody="x", status=403)
    allow(sqs, url, f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:user/foreigner", "sqs:*")
    foreigner.send_message(QueueUrl=url, MessageBody="from abroad")
    assert receive(foreigner, url)[0]["Body"] == "from abroad"
    for call, parameters in [
        (foreigner.set_queue_attributes, {"Attributes": {"DelaySeconds": "1"}}),
        (foreigner.delete_queue, {}),
        (foreigner.tag_queue, {"Tags": {"a": "b"}}),
    ]:
        refused("AccessDenied", call, QueueUrl=url, status=403, **parameters)


def test_auth_13_and_auth_14_an_explicit_deny_wins_even_over_root(sqs, user, queue):
    url = queue()
    refused("AccessDenied", user("no-send").send_message, QueueUrl=url, MessageBody="x")
    allow(sqs, url, "*", "sqs:SendMessage")
    refused("AccessDenied", user("no-send").send_message, QueueUrl=url, MessageBody="x")
    allow(sqs, url, "*", "sqs:SendMessage", effect="Deny")
    refused("AccessDenied", sqs.send_message, QueueUrl=url, MessageBody="x", status=403)
    assert attributes(sqs, url, "QueueArn")


def test_auth_15_a_batch_needs_the_right_of_its_single_action(sqs, user, queue):
    url = queue()
    entries = [{"Id": "a", "MessageBody": "x"}]
    text = refused("AccessDenied", user("no-send").send_message_batch, QueueUrl=url, Entries=entries)
    assert "sqs:sendmessage on" in text
    allow(sqs, url, f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody", "sqs:SendMessage")
    assert user("nobody").send_message_batch(QueueUrl=url, Entries=entries)["Successful"]


def test_auth_17_a_role_is_assumed_through_its_trust_policy(broker, user, queue):
    role = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
    session = user("admin", "sts").assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"]
    key = (session["AccessKeyId"], session["SecretAccessKey"])
    worker = broker.client("sqs", key, session_token=session["SessionToken"])
    worker.send_message(QueueUrl=queue(), MessageBody="x")
    refused("InvalidClientTokenId", broker.client("sqs", key).list_queues, status=403)
    refused("AccessDenied", user("foreigner", "sts").assume_role, RoleArn=role, RoleSessionName="s1", status=403)
    refused("ValidationError", user("admin", "sts").assume_role, RoleArn=role, RoleSessionName="Session1:2")


def test_auth_23_anonymous_sends_work_on_a_public_queue_without_sse_only(broker, sqs, queue):
    public, private = queue(SqsManagedSseEnabled="false"), queue(SqsManagedSseEnabled="false")
    allow(sqs, public, "*", "sqs:SendMessage")
    for reply in (
        wire.unsigned_json(broker, "SendMessage", {"QueueUrl": public, "MessageBody": "a"}),
        wire.unsigned_form(broker, "SendMessage", {"QueueUrl": public, "MessageBody": "b"}, secure=False),
    ):
        assert reply.status == 200, reply.text
    assert sorted(message["Body"] for message in receive(sqs, public, 2)) == ["a", "b"]
    reply = wire.unsigned_json(broker, "SendMessage", {"QueueUrl": private, "MessageBody": "x"})
    assert (reply.status, reply.code()) == (403, "AccessDenied")
    reply = wire.unsigned_json(broker, "ListQueues", {})
    assert reply.status == 403
    encrypted = queue()
    allow(sqs, encrypted, "*", "sqs:SendMessage")
    reply = wire.unsigned_json(broker, "SendMessage", {"QueueUrl": encrypted, "MessageBody": "x"})
    assert (reply.status, reply.code()) == (403, "InvalidSecurity")


def test_auth_26_no_secret_stands_in_the_log(broker):
    log = broker.log()
    assert log
    for secret in [broker.root_credentials()[1], *(user[2] for user in USERS.values())]:
        assert secret not in log


def test_auth_25_a_denial_says_who_may_not_do_what_to_which_queue_and_why(sqs, user, broker, queue):
    account = daemon.ACCOUNT
    url = queue()

    def denial(client, name, **parameters):
        return refused("AccessDenied", getattr(client, name), QueueUrl=url, status=403, **parameters)

    def expected(arn, action, because):
        return f"User: {arn} is not authorized to perform: sqs:{action} on resource: {arn_of(url)} {because}"

    nobody, no_send = (f"arn:aws:iam::{account}:user/{name}" for name in ("nobody", "no-send"))
    foreigner = f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:user/foreigner"
    none = "because no identity-based policy allows the sqs:{} action"
    assert denial(user("nobody"), "send_message", MessageBody="x") == expected(nobody, "sendmessage", none.format("sendmessage"))
    assert denial(user("nobody"), "purge_queue") == expected(nobody, "purgequeue", none.format("purgequeue"))
    assert denial(user("no-send"), "send_message", MessageBody="x") == expected(
        no_send, "sendmessage", "with an explicit deny in an identity-based policy"
    )
    assert denial(user("foreigner"), "send_message", MessageBody="x") == expected(
        foreigner, "sendmessage", "because no resource-based policy allows the sqs:sendmessage action"
    )
    role = f"arn:aws:iam::{account}:role/worker"
    only = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": "*"}})
    made = user("admin", "sts").assume_role(RoleArn=role, RoleSessionName="told", Policy=only)["Credentials"]
    keys = (made["AccessKeyId"], made["SecretAccessKey"])
    session = broker.client(credentials=keys, session_token=made["SessionToken"])
    assert denial(session, "send_message", MessageBody="x") == expected(
        f"arn:aws:sts::{account}:assumed-role/worker/told",
        "sendmessage",
        "because no session policy allows the sqs:sendmessage action",
    )
    deny = {"Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn_of(url)}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": deny})})
    admin = f"arn:aws:iam::{account}:user/admin"
    assert denial(user("admin"), "send_message", MessageBody="x") == expected(
        admin, "sendmessage", "with an explicit deny in a resource-based policy"
    )
