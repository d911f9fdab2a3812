"""What a key service on the network answers, and what the queue's client is told: no real one can be made to say all of it."""

import base64
import http.server
import json
import re
import threading

import pytest

import daemon
import wire
from conftest import USERS, account_settings, receive

# Name of the answer: its status, then code and status of what SQS makes of it.
ANSWERS = {
    "AccessDeniedException": (400, "KMS.AccessDeniedException", 400),
    "DisabledException": (400, "KMS.DisabledException", 400),
    "InvalidKeyUsageException": (400, "KMS.InvalidKeyUsageException", 400),
    "KMSInvalidStateException": (400, "KMS.InvalidStateException", 400),
    "NotFoundException": (400, "KMS.NotFoundException", 400),
    "InvalidArnException": (400, "KMS.NotFoundException", 400),
    "SubscriptionRequiredException": (400, "KMS.OptInRequired", 403),
    "OptInRequired": (403, "KMS.OptInRequired", 403),
    "ThrottlingException": (400, "KMS.ThrottlingException", 400),
    "LimitExceededException": (400, "KMS.ThrottlingException", 400),
    "InvalidCiphertextException": (400, "InternalFailure", 500),
    "InternalFailure": (500, "InternalFailure", 500),
}
SHAPES = {
    "KMS.AccessDeniedException": "KmsAccessDenied",
    "KMS.DisabledException": "KmsDisabled",
    "KMS.InvalidKeyUsageException": "KmsInvalidKeyUsage",
    "KMS.InvalidStateException": "KmsInvalidState",
    "KMS.NotFoundException": "KmsNotFound",
    "KMS.OptInRequired": "KmsOptInRequired",
    "KMS.ThrottlingException": "KmsThrottled",
}


class KeyService(http.server.BaseHTTPRequestHandler):
    """Refuses each call with the answer that its key is named after, or serves it with one and the same data key."""

    serves = False

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = asked["KeyId"].rsplit("/", 1)[-1]
        if KeyService.serves:
            plaintext = base64.b64encode(bytes(range(32))).decode()
            status, answer = 200, {"KeyId": asked["KeyId"], "Plaintext": plaintext, "CiphertextBlob": "d3JhcHBlZA=="}
        else:
            status, answer = ANSWERS[name][0], {"__type": name, "message": f"said {name}"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def refused_broker(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), KeyService)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = (
        f'[kms]\nprovider = "aws"\n[kms.aws]\nendpoint = "http://127.0.0.1:{server.server_port}"\n'
        'access_key_id = "AKIAX"\nsecret_access_key = "x"\ntimeout_ms = 500\n'
    )
    broker = daemon.Broker(tmp_path / "b", settings + account_settings())
    yield broker.start()
    broker.kill()
    server.shutdown()


def new_queue(broker, name):
    key = f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:key/{name}"
    return broker.client().create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]


def check(reply, name):
    _, code, status = ANSWERS[name]
    assert (reply.status, reply.code()) == (status, code), (name, reply.text)
    if code not in SHAPES:
        assert f"said {name}" not in reply.text, "a failure of the service tells nothing of its inside"
        return
    text = rf"said {name} \(Service: AWSKMS; Status Code: 40[03]; Error Code: \w+; Request ID: [0-9a-f-]{{36}}; Proxy: null\)"
    assert re.search(text, reply.text), reply.text
    if "json" in reply.headers["content-type"]:
        assert reply.json()["__type"] == f"com.amazonaws.sqs#{SHAPES[code]}"
        assert reply.headers["x-amzn-query-error"] == f"{code};Sender"
    else:
        assert reply.xml().findtext(".//Type") == "Sender"


def test_sse_176_sse_177_each_answer_of_a_key_service_has_its_code_when_sending(refused_broker):
    root = wire.Caller(refused_broker)
    for name in ANSWERS:
        url = new_queue(refused_broker, name)
        one = {"QueueUrl": url, "MessageBody": "x"}
        entry = {f"SendMessageBatchRequestEntry.1.{member}": "x" for member in ("Id", "MessageBody")}
        check(root.json("SendMessage", one), name)
        check(root.form("SendMessage", one), name)
        check(root.json("SendMessageBatch", {"QueueUrl": url, "Entries": [{"Id": "x", "MessageBody": "x"}]}), name)
        check(root.form("SendMessageBatch", {"QueueUrl": url, **entry}), name)
        assert refused_broker.inspect(name) == []


def test_sse_176_sse_177_each_answer_of_a_key_service_has_its_code_when_receiving(refused_broker, monkeypatch):
    admin = USERS["admin"][1:3]
    consumer, sqs = wire.Caller(refused_broker, admin), refused_broker.client(credentials=admin)
    for name in ANSWERS:
        url = new_queue(refused_broker, name)
        monkeypatch.setattr(KeyService, "serves", True)
        refused_broker.client().send_message(QueueUrl=url, MessageBody=name)
        monkeypatch.setattr(KeyService, "serves", False)
        check(consumer.json("ReceiveMessage", {"QueueUrl": url}), name)
        check(consumer.form("ReceiveMessage", {"QueueUrl": url}), name)
        if ANSWERS[name][0] == 500:
            continue  # An outage, which ends when its probe is answered.
        monkeypatch.setattr(KeyService, "serves", True)
        (message,) = receive(sqs, url, MessageSystemAttributeNames=["All"])
        assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == (name, "1")
