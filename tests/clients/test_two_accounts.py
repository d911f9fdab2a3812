"""Two accounts, three users and two roles at work: the aws command line and boto3 with sqs, kms and sts together."""

import base64
import json
import os
import shutil
import subprocess
import sys

import pytest

import daemon
from conftest import arn_of, receive, refused
from key_policy import allow, document, outcome

SHOP, BANK = daemon.ACCOUNT, daemon.FOREIGN_ACCOUNT
# Name: account, access key id, secret, actions.
PEOPLE = {
    "operator": (SHOP, "AKIAOPERATORAAAAAAAA", "operator/secret+0123456789abcdefghijklmn", ["sqs:*", "kms:*", "sts:*"]),
    "producer": (SHOP, "AKIAPRODUCERAAAAAAAA", "producer/secret+0123456789abcdefghijklmn", ["sqs:SendMessage", "sqs:GetQueueUrl"]),
    "auditor": (BANK, "AKIAAUDITORAAAAAAAAA", "auditor/secret+0123456789abcdefghijklmno", ["sts:AssumeRole"]),
}
CONSUMER = f"arn:aws:iam::{SHOP}:role/consumer"
READER = f"arn:aws:iam::{BANK}:role/reader"
PRODUCER = f"arn:aws:iam::{SHOP}:user/producer"


def identity_policy(*actions):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]})


def trust(principal, **condition):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return document({**statement, "Condition": condition} if condition else statement)


def settings():
    text = ""
    roles = {
        SHOP: ("consumer", trust(f"arn:aws:iam::{SHOP}:user/operator"), identity_policy("sqs:ReceiveMessage", "sqs:DeleteMessage", "kms:Decrypt")),
        BANK: ("reader", trust(f"arn:aws:iam::{BANK}:user/auditor", StringEquals={"sts:ExternalId": "shop-7"}), identity_policy("sqs:*", "kms:*")),
    }
    for account, (role, trusted, rights) in roles.items():
        text += f'[[account]]\nid = "{account}"\n'
        for name, (owner, key, secret, actions) in PEOPLE.items():
            if owner == account:
                text += f'[[account.user]]\nname = "{name}"\naccess_key_id = "{key}"\nsecret_access_key = "{secret}"\n'
                text += f"policy = '''{identity_policy(*actions)}'''\n"
        text += f"[[account.role]]\nname = \"{role}\"\ntrust_policy = '''{trusted}'''\npolicy = '''{rights}'''\n"
    return text


@pytest.fixture(scope="module")
def company(tmp_path_factory):
    broker = daemon.Broker(tmp_path_factory.mktemp("company"), settings())
    yield broker.start()
    broker.kill()


def as_user(broker, name, service):
    return broker.client(service, credentials=PEOPLE[name][1:3])


def as_role(broker, name, role, service, session="s1", **options):
    made = as_user(broker, name, "sts").assume_role(RoleArn=role, RoleSessionName=session, **options)["Credentials"]
    credentials = (made["AccessKeyId"], made["SecretAccessKey"])
    return broker.client(service, credentials=credentials, session_token=made["SessionToken"])


def aws(broker, credentials, *arguments, token=None):
    """The aws command line's answer to a command."""
    binary = os.path.join(os.path.dirname(sys.executable), "aws")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(broker.home),
        "AWS_ACCESS_KEY_ID": credentials[0],
        "AWS_SECRET_ACCESS_KEY": credentials[1],
        "AWS_DEFAULT_REGION": daemon.REGION,
        "AWS_CA_BUNDLE": str(broker.ca_file),
        **({"AWS_SESSION_TOKEN": token} if token else {}),
    }
    command = [binary if os.path.exists(binary) else shutil.which("aws"), "--endpoint-url", broker.endpoint, "--output", "json", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert result.returncode == 0, f"{arguments}\n{result.stderr}"
    return json.loads(result.stdout) if result.stdout.strip() else None


@pytest.fixture(scope="module")
def orders(company):
    """A queue under a key that the producer may seal with and both roles may open."""
    sqs, kms = as_user(company, "operator", "sqs"), as_user(company, "operator", "kms")
    policy = document(
        allow(f"arn:aws:iam::{SHOP}:root", "kms:*"),
        allow(PRODUCER, "kms:GenerateDataKey", "kms:Decrypt"),
        allow(READER, "kms:Decrypt"),
    )
    key = kms.create_key(Policy=policy, Description="orders")["KeyMetadata"]
    kms.create_alias(AliasName="alias/orders", TargetKeyId=key["KeyId"])
    url = sqs.create_queue(QueueName="orders", Attributes={"KmsMasterKeyId": "alias/orders"})["QueueUrl"]
    shared = {**allow(READER, "sqs:ReceiveMessage"), "Resource": arn_of(url)}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(shared)})
    return url, key


def test_producer_consumer_and_reader_each_do_their_part(company, orders):
    url, _ = orders
    as_user(company, "producer", "sqs").send_message(QueueUrl=url, MessageBody="first")
    consumer = as_role(company, "operator", CONSUMER, "sqs")
    message = receive(consumer, url)[0]
    assert message["Body"] == "first"
    consumer.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    as_user(company, "producer", "sqs").send_message(QueueUrl=url, MessageBody="second")
    reader = as_role(company, "auditor", READER, "sqs", ExternalId="shop-7")
    assert receive(reader, url)[0]["Body"] == "second"


def test_nobody_does_anothers_part(company, orders):
    url, key = orders
    refused("AccessDenied", as_user(company, "producer", "sqs").receive_message, QueueUrl=url)
    refused("AccessDenied", as_role(company, "operator", CONSUMER, "sqs").send_message, QueueUrl=url, MessageBody="x")
    reader = as_role(company, "auditor", READER, "sqs", ExternalId="shop-7")
    refused("AccessDenied", reader.send_message, QueueUrl=url, MessageBody="x")
    refused("AccessDenied", reader.delete_queue, QueueUrl=url)
    sts = as_user(company, "auditor", "sts")
    assume = {"RoleArn": READER, "RoleSessionName": "s1"}
    assert outcome(sts.assume_role, **assume) == "AccessDenied"
    assert outcome(sts.assume_role, ExternalId="shop-8", **assume) == "AccessDenied"
    assert outcome(sts.assume_role, RoleArn=CONSUMER, RoleSessionName="s1") == "AccessDenied"
    kms = as_role(company, "auditor", READER, "kms", ExternalId="shop-7")
    assert outcome(kms.generate_data_key, KeyId=key["Arn"], KeySpec="AES_256") == "AccessDeniedException"
    assert outcome(kms.disable_key, KeyId=key["Arn"]) in ("AccessDeniedException", "NotFoundException")


def test_a_grant_opens_a_key_to_the_other_account_until_it_is_revoked(company, orders):
    _, key = orders
    operator = as_user(company, "operator", "kms")
    reader = as_role(company, "auditor", READER, "kms", ExternalId="shop-7")
    call = {"KeyId": key["Arn"], "Plaintext": b"x", "EncryptionContext": {"for": "bank"}}
    assert outcome(reader.encrypt, **call) == "AccessDeniedException"
    constraint = {"EncryptionContextEquals": {"for": "bank"}}
    grant = operator.create_grant(KeyId=key["KeyId"], GranteePrincipal=READER, Operations=["Encrypt"], Constraints=constraint)
    assert reader.encrypt(**call)["KeyId"] == key["Arn"]
    assert outcome(reader.encrypt, **{**call, "EncryptionContext": {"for": "shop"}}) == "AccessDeniedException"
    operator.revoke_grant(KeyId=key["KeyId"], GrantId=grant["GrantId"])
    assert outcome(reader.encrypt, **call) == "AccessDeniedException"


def test_the_command_line_does_the_same(company, orders, tmp_path):
    url, key = orders
    operator, producer, auditor = (PEOPLE[name][1:3] for name in ("operator", "producer", "auditor"))
    assert aws(company, producer, "sts", "get-caller-identity")["Arn"] == PRODUCER
    described = aws(company, operator, "kms", "describe-key", "--key-id", "alias/orders")["KeyMetadata"]
    assert described["Arn"] == key["Arn"]
    plain = tmp_path / "plain"
    plain.write_bytes(b"from a file")
    sealed = aws(company, operator, "kms", "encrypt", "--key-id", "alias/orders", "--plaintext", f"fileb://{plain}", "--encryption-context", "a=b")
    blob = tmp_path / "blob"
    blob.write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = aws(company, operator, "kms", "decrypt", "--ciphertext-blob", f"fileb://{blob}", "--encryption-context", "a=b")
    assert base64.b64decode(opened["Plaintext"]) == b"from a file"
    aws(company, producer, "sqs", "send-message", "--queue-url", url, "--message-body", "by hand")
    session = aws(company, auditor, "sts", "assume-role", "--role-arn", READER, "--role-session-name", "cli", "--external-id", "shop-7")["Credentials"]
    credentials = (session["AccessKeyId"], session["SecretAccessKey"])
    received = aws(company, credentials, "sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "5", token=session["SessionToken"])
    assert received["Messages"][0]["Body"] == "by hand"
    names = [alias["AliasName"] for alias in aws(company, operator, "kms", "list-aliases")["Aliases"]]
    assert "alias/orders" in names
