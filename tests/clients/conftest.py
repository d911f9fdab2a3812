"""The broker that most tests share, its principals, and queues with names of their own."""

import itertools
import json
import re
import subprocess

import botocore.session
import pytest
from botocore.exceptions import ClientError

import daemon
import key_policy
import wire

ALLOW_ALL = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
ALLOW_SQS = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}'
DENY_SEND = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},'
    '{"Effect":"Deny","Action":"sqs:SendMessage","Resource":"*"}]}'
)

# What the installed SDK speaks to SQS: "json", or "query" (forms and XML) before botocore 1.31.81.
SQS_MODEL = botocore.session.get_session().get_service_model("sqs")
PROTOCOL = SQS_MODEL.metadata["protocol"]
SQS_ERRORS = {shape.name for shape in SQS_MODEL.error_shapes}
# The same list has another name in the models of the two protocols.
ALL_SYSTEM_ATTRIBUTES = {"MessageSystemAttributeNames" if PROTOCOL == "json" else "AttributeNames": ["All"]}

# Name: account, access key id, secret, policy, status.
USERS = {
    "admin": (daemon.ACCOUNT, "AKIAADMINAAAAAAAAAAA", "admin/secret+0123456789abcdefghijklmnopq", ALLOW_ALL, "Active"),
    "sqs-only": (daemon.ACCOUNT, "AKIASQSONLYAAAAAAAAA", "sqsonly/secret+0123456789abcdefghijklmno", ALLOW_SQS, "Active"),
    "no-send": (daemon.ACCOUNT, "AKIANOSENDAAAAAAAAAA", "nosend/secret+0123456789abcdefghijklmnop", DENY_SEND, "Active"),
    "nobody": (daemon.ACCOUNT, "AKIANOBODYAAAAAAAAAA", "nobody/secret+0123456789abcdefghijklmnop", "", "Active"),
    "retired": (daemon.ACCOUNT, "AKIARETIREDAAAAAAAAA", "retired/secret+0123456789abcdefghijklmno", ALLOW_ALL, "Inactive"),
    "foreigner": (daemon.FOREIGN_ACCOUNT, "AKIAFOREIGNERAAAAAAA", "foreign/secret+0123456789abcdefghijklmno", ALLOW_ALL, "Active"),
}


def account_settings():
    """[[account]] tables for USERS, and a role that everybody of the account may assume."""
    text = ""
    for account in (daemon.ACCOUNT, daemon.FOREIGN_ACCOUNT):
        text += f'[[account]]\nid = "{account}"\n'
        for name, (owner, key, secret, policy, status) in USERS.items():
            if owner == account:
                text += f'[[account.user]]\nname = "{name}"\naccess_key_id = "{key}"\nsecret_access_key = "{secret}"\n'
                text += f'status = "{status}"\n' + (f"policy = '''{policy}'''\n" if policy else "")
        if account == daemon.ACCOUNT:
            trust = {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}],
            }
            text += f"[[account.role]]\nname = \"worker\"\ntrust_policy = '''{json.dumps(trust)}'''\npolicy = '''{ALLOW_ALL}'''\n"
    return text


def needs_command(*command):
    """Skips where this build of sealq does not offer a command yet, and says which."""
    offered = daemon.BINARY.exists() and not subprocess.run(
        [daemon.BINARY, *command, "--help"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ).returncode
    return pytest.mark.skipif(not offered, reason=f"there is no `sealq {' '.join(command)}`")


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    broker = daemon.Broker(tmp_path_factory.mktemp("broker"), account_settings())
    broker.start()
    yield broker
    if broker.process is not None:
        assert broker.stop() == 0, broker.log()[-4000:]


@pytest.fixture
def own_broker(tmp_path):
    """A broker for tests that stop or kill it."""
    broker = daemon.Broker(tmp_path / "broker", account_settings())
    yield broker
    broker.kill()


@pytest.fixture(scope="session")
def sqs(broker):
    return broker.client()


@pytest.fixture(scope="session")
def plain_sqs(broker):
    """The same over HTTP without TLS."""
    return broker.client(secure=False)


@pytest.fixture(scope="session")
def kms(broker):
    return broker.client("kms")


@pytest.fixture(scope="session")
def user(broker):
    """user(name, service): a client of one of USERS."""
    clients = {}

    def client(name, service="sqs"):
        if (name, service) not in clients:
            _, key, secret, _, _ = USERS[name]
            clients[name, service] = broker.client(service, credentials=(key, secret))
        return clients[name, service]

    return client


@pytest.fixture(scope="session")
def caller(broker):
    """caller(name): hand-signed requests as one of USERS, or as root."""

    def make(name=None, **settings):
        credentials = USERS[name][1:3] if name else None
        return wire.Caller(broker, credentials, **settings)

    return make


numbers = itertools.count()


@pytest.fixture
def queue_name(request):
    """queue_name(suffix): a name no other test uses."""
    stem = re.sub(r"[^A-Za-z0-9_-]", "-", request.node.name)[:50]

    def make(suffix=""):
        return f"{stem}-{next(numbers)}{suffix}"

    return make


@pytest.fixture
def queue(sqs, queue_name):
    """queue(NAME=VALUE ...): URL of a new queue with these attributes; SSE-SQS is on unless told otherwise."""

    def make(**attributes):
        suffix = ".fifo" if attributes.get("FifoQueue") == "true" else ""
        return sqs.create_queue(QueueName=queue_name(suffix), Attributes=attributes)["QueueUrl"]

    return make


@pytest.fixture
def key(kms):
    """A customer managed key, its metadata."""
    return kms.create_key(Description="made by a test")["KeyMetadata"]


@pytest.fixture
def key_with(kms):
    """key_with(statements ...): a key that its root may manage and that the statements open to others."""

    def make(*statements, **settings):
        return kms.create_key(Policy=key_policy.document(key_policy.OWNED, *statements), **settings)["KeyMetadata"]

    return make


@pytest.fixture
def target(broker):
    """target(action, body): a signed request of root with this body, whatever it is."""

    def call(action, body):
        caller = wire.Caller(broker, service="kms")
        headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{action}"}
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = caller.signed_headers("POST", "/", [], headers, body)
        return wire.exchange(broker, "POST", "/", headers, body)

    return call


def name_of(url):
    return url.rsplit("/", 1)[-1]


def arn_of(url):
    account, name = url.rsplit("/", 2)[-2:]
    return f"arn:aws:sqs:{daemon.REGION}:{account}:{name}"


def redrive(dead_letters, count=1):
    """A RedrivePolicy."""
    return json.dumps({"deadLetterTargetArn": arn_of(dead_letters), "maxReceiveCount": count})


def receive(sqs, url, count=1, **options):
    """Up to `count` messages, waiting a little for them."""
    messages = []
    for _ in range(20):
        options.setdefault("WaitTimeSeconds", 1)
        asked = min(10, count - len(messages))
        messages += sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=asked, **options).get("Messages", [])
        if len(messages) >= count:
            break
    return messages


def receive_none(sqs, url):
    reply = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
    return "Messages" not in reply


def attributes(sqs, url, *names):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names) or ["All"]).get("Attributes", {})


def values(sqs, url, *names):
    """The values of these attributes, in this order."""
    found = attributes(sqs, url, *names)
    return [found[name] for name in names]


def refused(code, call, *arguments, status=None, **parameters):
    """Calls, expects `code` (and `status`), and returns the error text."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    reply = caught.value.response
    assert reply["Error"]["Code"] == code, reply
    if status is not None:
        assert reply["ResponseMetadata"]["HTTPStatusCode"] == status, reply
    return reply["Error"].get("Message", "")
