"""What requests that are made to be expensive cost in memory: their own size a few times over, whatever is in them."""

import pathlib
import re
import time

import pytest

import daemon
import wire
from conftest import account_settings

MEGABYTES = 6 << 20
# A body as it was read, and its members once more.
TIMES_ITS_SIZE_MAX = 5
# Threads, buffers and what the allocator keeps in reserve.
SLACK_BYTES = 16 << 20

DEEP = b"[" * MEGABYTES
OBJECTS = b"[" + b"{}," * (MEGABYTES // 3) + b"{}]"
TEXTS = b"[" + b'"",' * (MEGABYTES // 3) + b'""]'
MAP = b"{" + b'"":{},' * (MEGABYTES // 6) + b'"":{}}'
ESCAPED = b'"' + b"\\u0041" * (MEGABYTES // 6) + b'"'
NUMBERS = b'"[' + b"0," * (MEGABYTES // 2) + b'0]"'
REQUESTS = {
    "deep": ("SendMessage", b"Unknown", DEEP),
    "entries": ("SendMessageBatch", b"Entries", OBJECTS),
    "handles": ("DeleteMessageBatch", b"Entries", OBJECTS),
    "names": ("ReceiveMessage", b"MessageAttributeNames", TEXTS),
    "tag keys": ("UntagQueue", b"TagKeys", TEXTS),
    "message attributes": ("SendMessage", b"MessageAttributes", MAP),
    "attributes": ("SetQueueAttributes", b"Attributes", MAP.replace(b"{}", b'""')),
    "tags": ("TagQueue", b"Tags", MAP.replace(b"{}", b'""')),
    "escapes": ("SendMessage", b"MessageBody", ESCAPED),
    "handle": ("DeleteMessage", b"ReceiptHandle", ESCAPED),
    "policy": ("SetQueueAttributes", b"Attributes", b'{"Policy":' + NUMBERS + b"}"),
    "redrive policy": ("SetQueueAttributes", b"Attributes", b'{"RedrivePolicy":' + NUMBERS + b"}"),
    "label": ("RemovePermission", b"Label", ESCAPED),
    "task handle": ("CancelMessageMoveTask", b"TaskHandle", ESCAPED),
}
FORMS = {
    "parameters": "&".join(f"p{n}=" for n in range(MEGABYTES // 10)).encode(),
    "one parameter": b"a=&" * (MEGABYTES // 3),
    "percents": b"MessageBody=" + b"%41" * (MEGABYTES // 3),
    "entries": b"&".join(b"SendMessageBatchRequestEntry.%d.Id=a" % n for n in range(MEGABYTES // 40)),
}


TEXT = b'"' + b"k" * MEGABYTES + b'"'
# Action, what its body holds, the error.
KEY_REQUESTS = {
    "deep": ("Encrypt", b'{"KeyId":"k","Unknown":%s}' % DEEP, "SerializationException"),
    "objects": ("TagResource", b'{"KeyId":"k","Tags":%s}' % OBJECTS, "SerializationException"),
    "texts": ("UntagResource", b'{"KeyId":"k","TagKeys":%s}' % TEXTS, "SerializationException"),
    "context": ("Encrypt", b'{"KeyId":"k","EncryptionContext":%s}' % MAP.replace(b"{}", b'""'), "SerializationException"),
    "one name": ("DescribeKey", b"{" + b'"KeyId":"k",' * (MEGABYTES // 12) + b'"KeyId":"k"}', "SerializationException"),
    "key id": ("DescribeKey", b'{"KeyId":%s}' % TEXT, "ValidationException"),
    "key spec": ("GenerateDataKey", b'{"KeyId":"k","KeySpec":%s}' % TEXT, "ValidationException"),
    "alias": ("CreateAlias", b'{"TargetKeyId":"k","AliasName":%s}' % ESCAPED, "ValidationException"),
    "blob": ("Decrypt", b'{"CiphertextBlob":"%s"}' % (b"QUFB" * (MEGABYTES // 4)), "ValidationException"),
    "policy": ("CreateKey", b'{"Policy":%s}' % ESCAPED, "ValidationException"),
    "policy numbers": ("CreateKey", b'{"Policy":%s}' % NUMBERS, "ValidationException"),
}
SESSION_REQUESTS = {
    "parameters": (FORMS["parameters"], "MalformedInput"),
    "role": (b"RoleSessionName=s1&RoleArn=" + b"%26" * (MEGABYTES // 3), "ValidationError"),
    "policy": (b"RoleSessionName=s1&RoleArn=arn:aws:iam::000000000000:role/worker&Policy=" + b"[" * MEGABYTES, "ValidationError"),
    "tags": (b"&".join(b"Tags.member.%d.Key=" % n for n in range(MEGABYTES // 24)), "MalformedInput"),
}


@pytest.fixture(scope="module")
def lone(tmp_path_factory):
    broker = daemon.Broker(tmp_path_factory.mktemp("hostile"), account_settings())
    yield broker.start()
    broker.kill()


@pytest.fixture(scope="module")
def url(lone):
    return lone.client().create_queue(QueueName="q")["QueueUrl"]


def memory(broker, name):
    status = pathlib.Path(f"/proc/{broker.process.pid}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB", status, re.M).group(1)) << 10


def cost(broker, send):
    """Growth of the resident memory at its highest while `send` runs."""
    pathlib.Path(f"/proc/{broker.process.pid}/clear_refs").write_text("5")
    before = memory(broker, "VmRSS")
    send()
    return memory(broker, "VmHWM") - before


def post(broker, headers, body, path="/", service="sqs"):
    caller = wire.Caller(broker, service=service)
    headers = caller.signed_headers("POST", path, [], headers, body)
    reply = wire.exchange(broker, "POST", path, headers, body)
    assert reply.status in (200, 400, 404), reply.text[:300]
    assert len(reply.body) < 128 << 10, "a refusal does not quote megabytes"
    return reply


def assert_bounded(broker, size, send):
    send()  # What the first request of a kind allocates for good is not its cost.
    grown = cost(broker, send)
    assert grown <= TIMES_ITS_SIZE_MAX * size + SLACK_BYTES, f"{grown >> 20} MiB for {size >> 20} MiB"


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_json_request_costs_its_size_a_few_times(lone, url, name):
    action, member, value = REQUESTS[name]
    body = b'{"QueueUrl":"%s","%s":%s}' % (url.encode(), member, value)
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{action}"}
    assert_bounded(lone, len(body), lambda: post(lone, headers, body))


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_costs_its_size_a_few_times(lone, url, name):
    action = b"SendMessageBatch" if name == "entries" else b"SendMessage"
    body = b"Action=" + action + b"&" + FORMS[name]
    headers = {"content-type": "application/x-www-form-urlencoded"}
    path = "/" + url.split("/", 3)[3]
    assert_bounded(lone, len(body), lambda: post(lone, headers, body, path))


@pytest.mark.parametrize("name", KEY_REQUESTS)
def test_a_hostile_request_to_the_key_service_costs_its_size_a_few_times(lone, name):
    action, body, code = KEY_REQUESTS[name]
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{action}"}

    def send():
        reply = post(lone, headers, body, service="kms")
        assert (reply.status, reply.json()["__type"]) == (400, code), reply.text[:300]

    assert_bounded(lone, len(body), send)


@pytest.mark.parametrize("name", SESSION_REQUESTS)
def test_a_hostile_request_to_the_token_service_costs_its_size_a_few_times(lone, name):
    form, code = SESSION_REQUESTS[name]
    body = b"Action=AssumeRole&Version=2011-06-15&" + form
    headers = {"content-type": "application/x-www-form-urlencoded"}

    def send():
        reply = post(lone, headers, body, service="sts")
        assert (reply.status, reply.code()) == (400, code), reply.text[:300]

    assert_bounded(lone, len(body), send)


def test_the_broker_serves_on_afterwards(lone, url):
    sqs = lone.client()
    sqs.send_message(QueueUrl=url, MessageBody="alive")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"):
            return
    raise AssertionError("nothing was received")
