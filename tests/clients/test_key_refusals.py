"""What a key service on the network answers, and what the queue's client is told: no real one can be made to say all of it."""

import http.server
import json
import threading

import pytest

import daemon
import wire
from conftest import account_settings

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
    "InternalFailure": (500, "InternalFailure", 500),
}


class KeyService(http.server.BaseHTTPRequestHandler):
    """Refuses each call with the answer that its key is named after."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = asked["KeyId"].rsplit("/", 1)[-1]
        body = json.dumps({"__type": name, "message": f"said {name}"}).encode()
        self.send_response(ANSWERS[name][0])
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


def test_sse_176_sse_177_each_answer_of_a_key_service_has_its_code(refused_broker):
    sqs = refused_broker.client()
    for name, (_, code, status) in ANSWERS.items():
        key = f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:key/{name}"
        url = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
        root = wire.Caller(refused_broker)
        for reply in (
            root.json("SendMessage", {"QueueUrl": url, "MessageBody": "x"}),
            root.form("SendMessage", {"QueueUrl": url, "MessageBody": "x"}),
        ):
            assert (reply.status, reply.code()) == (status, code), (name, reply.text)
            assert (f"said {name}" in reply.text) == (status < 500), reply.text
        entries = [{"Id": "a", "MessageBody": "x"}]
        reply = root.json("SendMessageBatch", {"QueueUrl": url, "Entries": entries})
        assert (reply.status, reply.code()) == (status, code), (name, reply.text)
        assert refused_broker.inspect(name) == []
