"""Stored records as `sealq inspect --json` prints them, and how anybody with kms:Decrypt opens one."""

import base64
import hashlib
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from conftest import name_of

MOVE_SECONDS_MAX = 5
SEALED_FIELDS = ("nonce", "aad", "ciphertext", "wrapped_key", "kms_key_arn", "context_arn", "envelope_id")


def records(broker, url):
    return broker.inspect(name_of(url))


def moved_records(broker, url):
    """The records of `url` once there is one: a move is written when the receive that found it due is answered."""
    deadline = time.monotonic() + MOVE_SECONDS_MAX
    while not (found := records(broker, url)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def field(record, name):
    return base64.b64decode(record[name])


def open_record(kms, record):
    """Opens a stored record with nothing but Decrypt and AES-256-GCM; returns the body."""
    context = {"aws:sqs:arn": record["context_arn"]}
    key = kms.decrypt(CiphertextBlob=field(record, "wrapped_key"), EncryptionContext=context)["Plaintext"]
    return open_with_key(key, record)


def open_with_key(key, record):
    assert len(key) == 32
    plaintext = AESGCM(key).decrypt(field(record, "nonce"), field(record, "ciphertext"), field(record, "aad"))
    body, digest = plaintext[:-16], plaintext[-16:]
    assert hashlib.md5(body).digest() == digest
    return body.decode()


def sealed(record):
    return {name: record[name] for name in SEALED_FIELDS}
