#!/usr/bin/env python3
"""Writes the small corpora that the fuzz targets start from: fuzz/seeds.py.

Layouts are those of docs/src/format.md; what a target reaches with a seed it would hardly find by chance.
"""

import hashlib
import json
import pathlib
import random
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def sealed_message(mode, key_arn=b"", context=b"", wrapped=b"", clear=b"", body=b"body"):
    sealed = mode != 0
    header = struct.pack(
        "<4sBBBBIHH16s16sQIHH12sI",
        b"SQMB",
        1,
        1 if sealed else 0,
        mode,
        1 if sealed else 0,
        len(body),
        len(key_arn),
        len(context),
        bytes(range(16)),
        hashlib.sha256(wrapped).digest()[:16] if sealed else bytes(16),
        1_700_000_000_000,
        7,
        len(wrapped),
        0,
        struct.pack("<IQ", 0, 1) if sealed else bytes(12),
        len(clear),
    )
    assert len(header) == 80
    tag = bytes(16) if sealed else b""
    return header + key_arn + context + wrapped + clear + body + hashlib.md5(body).digest() + tag


def checkpoint():
    counters = struct.pack("<16s6Q", bytes(16), 5, 1, 4096, 2, 1, 0)
    streams = struct.pack("<QIQQQQQQ", 1, 1, 1, 3, 0, 0, 1, 1)
    catalog = struct.pack("<QQ3sQ5sQ", 1, 3, b"key", 5, b"value", 1)
    return counters + streams + catalog + struct.pack("<Q", 0)


def choices(name, count, length):
    """Bytes that a target turns into choices: the same at every run."""
    source = random.Random(name)
    return [source.randbytes(source.randint(length // 4, length)) for _ in range(count)]


def claims(**changes):
    """What the token of a session says."""
    said = {
        "owner_arn": "arn:aws:iam::000000000000:root",
        "owner_id": "000000000000",
        "session_name": "",
        "policies": [],
        "tags": [],
        "of_service": False,
        "issued_at_s": 1_764_000_000,
        "expires_at_s": 1_764_000_900,
    }
    return json.dumps({**said, **changes}).encode()


QUEUE = "https://sqs.us-east-1.example.net/000000000000/q"
SEEDS = {
    "attributes": [
        b'FifoQueue=true\nDelaySeconds=030\nContentBasedDeduplication=True\nDeduplicationScope=messageGroup\nFifoThroughputLimit=perMessageGroupId',
        b'RedrivePolicy={"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:d","maxReceiveCount":"5"}\nRedriveAllowPolicy={"redrivePermission":"byQueue","sourceQueueArns":["arn:aws:sqs:us-east-1:000000000000:s"]}',
        b'Policy={"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}\nKmsMasterKeyId=alias/aws/sqs\nKmsDataKeyReusePeriodSeconds=60',
        b"MaximumMessageSize=1024\nMessageRetentionPeriod=60\nVisibilityTimeout=43200\nSqsManagedSseEnabled=false\nQueueArn=x",
    ],
    "receipt_handle": [b"garbage", b"AQAAAAcAAAAAAAAACwAAAAI", bytes(10) + b"\x01"],
    # Texts, and claims: of the root account, ended, of nobody, with policies and tags.
    "session_token": [
        b"AQID",
        claims(),
        claims(expires_at_s=1_763_999_999),
        claims(owner_arn="arn:aws:iam::000000000000:role/gone", owner_id="AROAGONE", session_name="s"),
        claims(policies=['{"Statement":{"Effect":"Allow","Action":"sqs:*","Resource":"*"}}'], tags=[{"name": "a", "value": "b", "transitive": True}]),
        claims(policies=["{}"]),
    ],
    "xml": [b"<a href=\"x\">&amp; ]]> \r\n</a>", "\u00e9 \U0001f600 \ufffd \uffff \x01".encode()],
    "sealed_message": [
        sealed_message(0, clear=b"clear"),
        sealed_message(1, context=b"arn:aws:sqs:us-east-1:000000000000:q", wrapped=bytes(60)),
        sealed_message(2, key_arn=b"arn:aws:kms:us-east-1:000000000000:key/k", context=b"arn:aws:sqs:::q", wrapped=bytes(100)),
    ],
    # Format 1, key id, short material id, nonce, ciphertext, tag; and changes to each part of a good one.
    "ciphertext_blob": [b"\x01" + bytes(16 + 8 + 12 + 5 + 16), bytes(1 + 16 + 8) + b"\x01", bytes(37) + b"\xff", b"\x02"],
    "frames": [bytes([0, 0, 16, 4, 1, 2, 3, 4]), bytes(64), bytes(range(64))],
    "checkpoint": [checkpoint()],
    "json": [
        b'SendMessage\0{"QueueUrl":"%s","MessageBody":"b","MessageAttributes":{"k":{"DataType":"String","StringValue":"x"}}}' % QUEUE.encode(),
        b'SendMessageBatch\0{"QueueUrl":"q","Entries":[{"Id":"a","MessageBody":"\\ud83d\\ude00"},{"Id":"b","MessageBody":"\\u0001"}]}',
        b'ReceiveMessage\0{"QueueUrl":"q","MaxNumberOfMessages":10,"MessageAttributeNames":["All"],"WaitTimeSeconds":20}',
        b'CreateQueue\0{"QueueName":"q.fifo","Attributes":{"FifoQueue":"true","RedrivePolicy":"{\\"maxReceiveCount\\":3}"},"tags":{"a":"b"}}',
        b'SetQueueAttributes\0{"QueueUrl":"q","Attributes":{"KmsMasterKeyId":null,"DelaySeconds":"030"}}',
    ],
    "query": [
        b"Action=SendMessage&Version=2012-11-05&QueueUrl=q&MessageBody=a+b%2Bc&MessageAttribute.1.Name=k&MessageAttribute.1.Value.DataType=String&MessageAttribute.1.Value.StringValue=x",
        b"Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageBody=x&SendMessageBatchRequestEntry.2.Id=b",
        b"Action=SetQueueAttributes&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Attribute.2.Name=Policy&Attribute.2.Value={}",
        b"Action=ReceiveMessage&AttributeName.1=All&MessageAttributeName.1=a.*&MaxNumberOfMessages=10",
    ],
    "sigv4": [
        b"POST\n/\n\nhost: h\nx-amz-date: 20260102T030405Z\nauthorization: AWS4-HMAC-SHA256 Credential=A/20260102/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + b"0" * 64,
        b"GET\n/000000000000/q\nAction=SendMessage&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20260102%2Fus-east-1%2Fsqs%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=" + b"0" * 64 + b"\nhost: h",
    ],
    "canonical_request": choices("canonical_request", 32, 120),
    "decision": choices("decision", 64, 400),
    "policy": [
        b'{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":["*","000000000000"]},"Action":"sqs:*","Resource":"arn:aws:sqs:*:*:q*","Condition":{"StringLike":{"aws:username":"${aws:username}"},"Bool":{"aws:SecureTransport":"true"}}}]}',
        b'{"Statement":{"Effect":"Deny","NotPrincipal":{"Service":"sns.amazonaws.com"},"NotAction":["kms:De*"],"Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"ForAnyValue:StringEqualsIfExists":{"aws:TagKeys":["a"]},"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"}}}}',
    ],
}


def main():
    for target, seeds in SEEDS.items():
        directory = CORPUS / target
        directory.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(seeds):
            (directory / f"seed-{index}").write_bytes(seed)


if __name__ == "__main__":
    main()
