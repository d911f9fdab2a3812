"""Who may use a key through a queue: key policies, identity policies, other accounts, services, sessions."""

import json

import pytest

import daemon
from conftest import ALLOW_ALL, USERS, account_settings, arn_of, attributes, name_of, receive, refused
from stored_record import records

ROOT = f"arn:aws:iam::{daemon.ACCOUNT}:root"
SQS_ONLY = f"arn:aws:iam::{daemon.ACCOUNT}:user/sqs-only"
FOREIGNER = f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:user/foreigner"
SERVICE_KEY = ("AKIASERVICEAAAAAAAAA", "service/secret+0123456789abcdefghijklmno")
TOPIC = f"arn:aws:sns:us-east-1:{daemon.ACCOUNT}:topic"
USE = ["kms:GenerateDataKey", "kms:Decrypt"]
ALLOW_QUEUES = {"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(principal, actions, effect="Allow", **condition):
    principal = principal if isinstance(principal, dict) or principal == "*" else {"AWS": principal}
    found = {"Effect": effect, "Principal": principal, "Action": actions, "Resource": "*"}
    return {**found, "Condition": condition} if condition else found


OWNED = statement(ROOT, "kms:*", StringEquals={"aws:PrincipalArn": ROOT})
DELEGATED = statement(ROOT, "kms:*")


@pytest.fixture
def key_with(kms):
    """key_with(statements ...): a key that its root may manage and that the statements open to others."""

    def make(*statements):
        policy = document(OWNED, *statements)
        return kms.create_key(Policy=policy, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]

    return make


def can_send(client, url):
    try:
        client.send_message(QueueUrl=url, MessageBody="x")
        return True
    except client.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "KMS.AccessDeniedException", error
        return False


def test_sse_145_sse_148_sse_150_a_key_policy_alone_suffices(user, queue, key_with):
    url = queue(KmsMasterKeyId=key_with(statement(SQS_ONLY, USE))["KeyId"])
    assert can_send(user("sqs-only"), url)
    assert receive(user("sqs-only"), url)[0]["Body"] == "x"


def test_sse_151_sse_152_an_identity_policy_counts_only_if_the_key_delegates(user, queue, key_with):
    assert can_send(user("admin"), queue(KmsMasterKeyId=key_with(DELEGATED)["KeyId"]))
    assert not can_send(user("admin"), queue(KmsMasterKeyId=key_with()["KeyId"]))
    assert not can_send(user("sqs-only"), queue(KmsMasterKeyId=key_with(DELEGATED)["KeyId"]))


def test_sse_154_kms_rights_without_the_queue_right_do_not_suffice(broker, sqs, user, queue, key_with):
    nobody = f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody"
    url = queue(KmsMasterKeyId=key_with(statement(nobody, USE))["KeyId"])
    refused("AccessDenied", user("nobody").send_message, QueueUrl=url, MessageBody="x", status=403)
    assert broker.kms_calls(name_of(url)) == 0


def test_sse_155_an_explicit_deny_in_the_key_policy_wins(user, queue, key_with):
    denied = statement(SQS_ONLY, "kms:Decrypt", effect="Deny")
    url = queue(KmsMasterKeyId=key_with(statement(SQS_ONLY, USE), denied)["KeyId"])
    assert not can_send(user("sqs-only"), url)


def test_sse_156_via_service_admits_the_queue_and_not_the_user(user, queue, key_with):
    via = {"StringEquals": {"kms:ViaService": "sqs.us-east-1.amazonaws.com"}}
    key = key_with(statement(SQS_ONLY, USE, **via))
    assert can_send(user("sqs-only"), queue(KmsMasterKeyId=key["KeyId"]))
    direct = user("sqs-only", "kms")
    refused("AccessDeniedException", direct.generate_data_key, KeyId=key["Arn"], KeySpec="AES_256", status=400)


def test_sse_157_a_condition_on_the_context_limits_a_key_to_one_queue(sqs, user, queue, key_with):
    url, other = queue(), queue()
    only = {"StringEquals": {"kms:EncryptionContext:aws:sqs:arn": arn_of(url)}}
    key = key_with(statement(SQS_ONLY, USE, **only))["KeyId"]
    for target in (url, other):
        sqs.set_queue_attributes(QueueUrl=target, Attributes={"KmsMasterKeyId": key})
    assert can_send(user("sqs-only"), url)
    assert not can_send(user("sqs-only"), other)


def open_to_foreigner(sqs, url):
    policy = {"Effect": "Allow", "Principal": {"AWS": FOREIGNER}, "Action": "sqs:*", "Resource": arn_of(url)}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(policy)})


def test_sse_161_sse_162_sse_163_a_foreign_caller_needs_the_key_policy_too(sqs, user, queue, key_with):
    caller_account = {"StringEquals": {"kms:CallerAccount": daemon.FOREIGN_ACCOUNT}}
    for key, expected in (
        (key_with(statement(FOREIGNER, USE, **caller_account)), True),
        (key_with(statement(FOREIGNER, USE, StringEquals={"kms:CallerAccount": daemon.ACCOUNT})), False),
        (key_with(), False),
    ):
        url = queue(KmsMasterKeyId=key["Arn"])
        open_to_foreigner(sqs, url)
        assert can_send(user("foreigner"), url) == expected
        if expected:
            assert receive(user("foreigner"), url)[0]["Body"] == "x"


def test_sse_164_the_default_key_serves_no_other_account(sqs, user, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    open_to_foreigner(sqs, url)
    assert not can_send(user("foreigner"), url)


def test_sse_81_a_key_of_another_account_works_by_arn(user, sqs, queue):
    foreign = user("foreigner", "kms")
    policy = document(
        statement(f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:root", "kms:*"),
        statement(f"arn:aws:iam::{daemon.ACCOUNT}:user/admin", USE),
    )
    key = foreign.create_key(Policy=policy)["KeyMetadata"]
    foreign.create_alias(AliasName="alias/shared", TargetKeyId=key["KeyId"])
    alias_arn = key["Arn"].split(":key/")[0] + ":alias/shared"
    for given in (key["Arn"], alias_arn):
        url = queue(KmsMasterKeyId=given)
        assert can_send(user("admin"), url)
        assert receive(user("admin"), url)[0]["Body"] == "x"


def test_sse_119_sessions_of_one_role_share_a_data_key(broker, user, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    for name in ("first", "second"):
        role = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
        session = user("admin", "sts").assume_role(RoleArn=role, RoleSessionName=name)["Credentials"]
        credentials = (session["AccessKeyId"], session["SecretAccessKey"])
        worker = broker.client(credentials=credentials, session_token=session["SessionToken"])
        worker.send_message(QueueUrl=url, MessageBody=name)
    assert len({record["wrapped_key"] for record in records(broker, url)}) == 1
    assert broker.kms_calls(name_of(url), "GenerateDataKey") == 1


def test_sse_120_sessions_with_different_policies_do_not(broker, user, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    allow_all = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for policy in ({}, {"Policy": document(allow_all)}):
        role = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
        session = user("admin", "sts").assume_role(RoleArn=role, RoleSessionName="s1", **policy)["Credentials"]
        credentials = (session["AccessKeyId"], session["SecretAccessKey"])
        worker = broker.client(credentials=credentials, session_token=session["SessionToken"])
        worker.send_message(QueueUrl=url, MessageBody="x")
    assert len({record["wrapped_key"] for record in records(broker, url)}) == 2


def test_sse_153_a_right_on_the_alias_is_no_right_on_the_key(tmp_path):
    arn = f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}"
    users = "".join(
        f'[[account.user]]\nname = "{name}"\naccess_key_id = "AKIA{name.upper()}"\nsecret_access_key = "{name}"\npolicy = \'\'\'{policy}\'\'\'\n'
        for name, policy in (
            ("alias", document(ALLOW_QUEUES, {"Effect": "Allow", "Action": "kms:*", "Resource": f"{arn}:alias/mine"})),
            ("key", document(ALLOW_QUEUES, {"Effect": "Allow", "Action": "kms:*", "Resource": f"{arn}:key/*"})),
        )
    )
    broker = daemon.Broker(tmp_path / "b", f'[[account]]\nid = "{daemon.ACCOUNT}"\n{users}').start()
    try:
        sqs, kms = broker.client(), broker.client("kms")
        key = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/mine", TargetKeyId=key)
        for given in ("alias/mine", f"{arn}:alias/mine", key):
            url = sqs.create_queue(QueueName=given.rsplit("/")[-1][:8] + str(len(given)), Attributes={"KmsMasterKeyId": given})["QueueUrl"]
            for name, expected in (("alias", False), ("key", True)):
                assert can_send(broker.client(credentials=(f"AKIA{name.upper()}", name)), url) == expected, (given, name)
    finally:
        broker.kill()


def test_sse_160_an_administrator_restricts_a_key_and_finds_its_uses(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    policy = document(OWNED, statement(SQS_ONLY, USE))
    key = kms.create_key(Policy=policy, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": key["KeyId"]})["QueueUrl"]
    assert can_send(own_broker.client(credentials=USERS["sqs-only"][1:3]), url)
    assert not can_send(own_broker.client(credentials=USERS["admin"][1:3]), url)
    assert own_broker.stop() == 0
    lines = own_broker.run("audit", "tail").stdout.splitlines()
    uses = [
        (record["userIdentity"]["userName"], record["eventName"], record.get("errorCode"))
        for record in map(json.loads, lines)
        if record["userIdentity"].get("invokedBy") == "sqs.amazonaws.com" and record["resources"][0]["ARN"] in (key["Arn"], key["KeyId"])
    ]
    assert uses == [
        ("sqs-only", "GenerateDataKey", None),
        ("sqs-only", "Decrypt", None),
        ("admin", "GenerateDataKey", "AccessDeniedException"),
    ]


# The services whose conditions the key policy must understand, by principal.
EVENT_SOURCES = ["sns", "s3", "events", "lambda", "codebuild", "profile", "autoscaling", "chime"]


@pytest.fixture
def event_sources(tmp_path):
    """A broker that knows each of the services, and lets Auto Scaling and Lambda assume a role."""
    trust = document({"Effect": "Allow", "Principal": {"Service": ["autoscaling.amazonaws.com", "lambda.amazonaws.com"]}, "Action": "sts:AssumeRole"})
    first, rest = account_settings().split('[[account.role]]\n', 1)
    hook = f"[[account.role]]\nname = \"hook\"\ntrust_policy = \'\'\'{trust}\'\'\'\npolicy = \'\'\'{ALLOW_ALL}\'\'\'\n"
    services = "".join(
        f'[[service]]\nprincipal = "{name}.amazonaws.com"\naccess_key_id = "AKIASERVICE{name.upper()}"\nsecret_access_key = "{name}/secret"\n'
        f'source_arn = "arn:aws:{name}:us-east-1:{daemon.ACCOUNT}:source"\nsource_account = "{daemon.ACCOUNT}"\n'
        f'assume_roles = {"true" if name in ("autoscaling", "lambda") else "false"}\n'
        for name in EVENT_SOURCES
    )
    broker = daemon.Broker(tmp_path / "sources", first + hook + "[[account.role]]\n" + rest + services)
    yield broker.start()
    broker.kill()


def credentials_of(service):
    return f"AKIASERVICE{service.upper()}", f"{service}/secret"


def test_sse_169_each_event_source_sends_under_a_key_that_names_its_source(event_sources):
    sqs, kms = event_sources.client(), event_sources.client("kms")
    for name in EVENT_SOURCES:
        service = {"Service": f"{name}.amazonaws.com"}
        client = event_sources.client(credentials=credentials_of(name))
        for number, (condition, expected) in enumerate(
            [
                ({"ArnEquals": {"aws:SourceArn": f"arn:aws:{name}:us-east-1:{daemon.ACCOUNT}:source"}}, True),
                ({"ArnLike": {"aws:SourceArn": f"arn:aws:{name}:*:*:other*"}}, False),
                ({"StringEquals": {"aws:SourceAccount": daemon.ACCOUNT}}, True),
                ({"StringEquals": {"aws:SourceAccount": daemon.FOREIGN_ACCOUNT}}, False),
            ]
        ):
            policy = document(DELEGATED, statement(service, USE, **condition))
            key = kms.create_key(Policy=policy)["KeyMetadata"]["Arn"]
            url = sqs.create_queue(QueueName=f"{name}-{number}", Attributes={"KmsMasterKeyId": key})["QueueUrl"]
            allowed = {**statement(service, "sqs:SendMessage"), "Resource": arn_of(url)}
            sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(allowed)})
            assert can_send(client, url) == expected, (name, condition)


def test_sse_170_sse_171_sse_172_a_service_session_sends_to_standard_queues_only(event_sources):
    sqs, kms = event_sources.client(), event_sources.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    standard = sqs.create_queue(QueueName="s", Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    fifo = sqs.create_queue(QueueName="f.fifo", Attributes={"KmsMasterKeyId": key, "FifoQueue": "true"})["QueueUrl"]
    managed = sqs.create_queue(QueueName="m.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    into_group = {"MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "d"}

    def session(credentials, role):
        arn = f"arn:aws:iam::{daemon.ACCOUNT}:role/{role}"
        made = event_sources.client("sts", credentials=credentials).assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]
        keys = (made["AccessKeyId"], made["SecretAccessKey"])
        return event_sources.client(credentials=keys, session_token=made["SessionToken"])

    for name in ("autoscaling", "lambda"):
        client = session(credentials_of(name), "hook")
        client.send_message(QueueUrl=standard, MessageBody="x")
        for url in (fifo, managed):
            refused("AWS.SimpleQueueService.UnsupportedOperation", client.send_message, QueueUrl=url, status=400, **into_group)
            entries = [{"Id": "a", **into_group}]
            refused("AWS.SimpleQueueService.UnsupportedOperation", client.send_message_batch, QueueUrl=url, Entries=entries, status=400)
    assert attributes(sqs, fifo, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}
    worker = session(USERS["admin"][1:3], "worker")
    worker.send_message(QueueUrl=fifo, **into_group)
    assert receive(worker, fifo)[0]["Body"] == "x"
    refused("AccessDenied", session, credentials_of("sns"), "hook")


@pytest.fixture
def service_broker(tmp_path):
    """A broker that knows a topic's service as a sender."""
    service = (
        f'[[service]]\nprincipal = "sns.amazonaws.com"\naccess_key_id = "{SERVICE_KEY[0]}"\n'
        f'secret_access_key = "{SERVICE_KEY[1]}"\nsource_arn = "{TOPIC}"\nsource_account = "{daemon.ACCOUNT}"\n'
    )
    broker = daemon.Broker(tmp_path / "service", account_settings() + service)
    yield broker.start()
    broker.kill()


def test_sse_165_sse_166_sse_167_sse_168_a_service_sends_under_a_key_that_names_its_source(service_broker):
    sqs, kms = service_broker.client(), service_broker.client("kms")
    service = service_broker.client(credentials=SERVICE_KEY)
    sns = {"Service": "sns.amazonaws.com"}

    def queue_under(name, key):
        url = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
        allowed = {**statement(sns, "sqs:SendMessage"), "Resource": arn_of(url)}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(allowed)})
        return url

    cases = {
        "matching-arn": ({"ArnLike": {"aws:SourceArn": TOPIC[:-3] + "*"}}, True),
        "other-arn": ({"ArnEquals": {"aws:SourceArn": TOPIC + "2"}}, False),
        "matching-account": ({"StringEquals": {"aws:SourceAccount": daemon.ACCOUNT}}, True),
        "other-account": ({"StringEquals": {"aws:SourceAccount": daemon.FOREIGN_ACCOUNT}}, False),
    }
    for name, (condition, expected) in cases.items():
        policy = document(DELEGATED, statement(sns, USE, **condition))
        key = kms.create_key(Policy=policy)["KeyMetadata"]["Arn"]
        assert can_send(service, queue_under(name, key)) == expected, name
    assert not can_send(service, queue_under("default-key", "alias/aws/sqs"))


def test_auth_21_a_source_arn_header_is_not_believed(sqs, caller, queue):
    url = queue()
    only = {"ArnEquals": {"aws:SourceArn": TOPIC}}
    nobody = f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody"
    allowed = {**statement(nobody, "sqs:SendMessage", **only), "Resource": arn_of(url)}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(allowed)})
    for header in ("x-amz-source-arn", "aws-source-arn"):
        reply = caller("nobody").json("SendMessage", {"QueueUrl": url, "MessageBody": "x"}, extra={header: TOPIC})
        assert reply.status == 403, reply.text
    assert attributes(sqs, url, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}


def test_auth_20_secure_transport_cannot_be_forged(sqs, caller, queue):
    url = queue(SqsManagedSseEnabled="false")
    deny = {**statement("*", "sqs:*", effect="Deny", Bool={"aws:SecureTransport": "false"}), "Resource": arn_of(url)}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(deny)})
    assert caller().json("SendMessage", {"QueueUrl": url, "MessageBody": "x"}).status == 200
    for extra in ({}, {"x-forwarded-proto": "https"}):
        reply = caller().json("SendMessage", {"QueueUrl": url, "MessageBody": "x"}, secure=False, extra=extra)
        assert (reply.status, reply.code()) == (403, "AccessDenied"), reply.text


def test_auth_22_a_user_made_anew_is_another_principal(tmp_path):
    broker = daemon.Broker(tmp_path / "broker", account_settings()).start()
    try:
        sqs = broker.client()
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        nobody = f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody"
        allowed = {**statement(nobody, "sqs:SendMessage"), "Resource": arn_of(url)}
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(allowed)})
        user = broker.client(credentials=USERS["nobody"][1:3])
        user.send_message(QueueUrl=url, MessageBody="x")
        whole = broker.config.read_text()
        parts = whole.split("[[account.user]]\n")
        broker.config.write_text("[[account.user]]\n".join(part for part in parts if 'name = "nobody"' not in part))
        broker.reload()
        refused("InvalidClientTokenId", user.send_message, QueueUrl=url, MessageBody="x")
        broker.config.write_text(whole)
        broker.reload()
        refused("AccessDenied", user.send_message, QueueUrl=url, MessageBody="x")
    finally:
        broker.kill()


