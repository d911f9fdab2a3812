"""The audit trail of the key service."""

import base64
import time
import uuid

import daemon
from conftest import refused
from key_policy import CONTEXT, FOREIGNER, NOBODY, ROOT, WORKER, allow
from key_audit import records


GRANT = {"GranteePrincipal": NOBODY, "Operations": ["Decrypt"]}


# The audit trail


def test_kms_15_requests_that_cannot_be_read_leave_a_record_too(broker, target):
    marker = str(uuid.uuid4())
    before = len(records(broker))
    target("Encrypt", b"{")
    target("Encrypt", {"KeyId": "k", "Plaintext": ""})
    target("Sign", {"KeyId": marker})
    target("Frobnicate", {})
    deadline = time.monotonic() + 5
    while len(records(broker)) < before + 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    new = records(broker)[before:]
    assert [(record["eventName"], record["errorCode"]) for record in new] == [
        ("Encrypt", "SerializationException"),
        ("Encrypt", "ValidationException"),
        ("Sign", "UnsupportedOperationException"),
    ]
    assert new[0]["requestParameters"] is None and new[0]["userIdentity"]["arn"] == ROOT


def test_kms_15_records_say_what_was_asked_and_hold_no_secret(broker, kms, key, user):
    secret = f"canary-{uuid.uuid4()}"
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=secret.encode(), EncryptionContext=CONTEXT)["CiphertextBlob"]
    kms.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)
    other = kms.create_key(Description="a record", Tags=[{"TagKey": "Team", "TagValue": "Blue"}])["KeyMetadata"]
    kms.re_encrypt(CiphertextBlob=blob, SourceEncryptionContext=CONTEXT, DestinationKeyId=other["Arn"])
    grant = kms.create_grant(KeyId=key["KeyId"], **GRANT)
    refused("AccessDeniedException", user("nobody", "kms").encrypt, KeyId=key["KeyId"], Plaintext=secret.encode())
    kms.create_key()
    text = (broker.data / "audit" / "audit.jsonl").read_text()
    for hidden in (secret, base64.b64encode(secret.encode()).decode(), base64.b64encode(blob).decode(), grant["GrantToken"]):
        assert hidden not in text
    encrypt = records(broker, "Encrypt", errorCode=None)[-1]
    assert encrypt["requestParameters"] == {"keyId": key["KeyId"], "encryptionContext": CONTEXT}
    assert encrypt["responseElements"] is None and encrypt["readOnly"] is True
    assert encrypt["resources"] == [{"ARN": key["Arn"], "accountId": daemon.ACCOUNT, "type": "AWS::KMS::Key"}]
    assert [entry["ARN"] for entry in records(broker, "ReEncrypt")[-1]["resources"]] == [key["Arn"], other["Arn"]]
    created = [record for record in records(broker, "CreateKey") if (record["requestParameters"] or {}).get("description") == "a record"][-1]
    assert created["requestParameters"]["tags"] == [{"tagKey": "Team", "tagValue": "Blue"}]
    assert created["responseElements"]["keyMetadata"]["keyId"] == other["KeyId"] and created["readOnly"] is False
    granted = records(broker, "CreateGrant")[-1]
    assert granted["responseElements"] == {"grantId": grant["GrantId"]}
    denied = records(broker, "Encrypt", errorCode="AccessDeniedException")[-1]
    assert denied["userIdentity"]["arn"] == NOBODY and denied["resources"][0]["ARN"] == key["Arn"]


def test_kms_15_a_use_across_accounts_is_recorded_for_both(broker, key_with, user):
    made = key_with(allow(FOREIGNER, "kms:Encrypt"))
    stranger = user("foreigner", "kms")
    stranger.encrypt(KeyId=made["Arn"], Plaintext=b"x")
    refused("AccessDeniedException", stranger.describe_key, KeyId=made["Arn"])
    made_by_service = [r for r in records(broker, "Encrypt") if r["resources"] and r["resources"][0]["ARN"] == made["Arn"]]
    assert {record["recipientAccountId"] for record in made_by_service} == {daemon.ACCOUNT, daemon.FOREIGN_ACCOUNT}
    assert len({record["sharedEventID"] for record in made_by_service}) == 1
    refusals = [r for r in records(broker, "DescribeKey", errorCode="AccessDeniedException") if r["requestParameters"]["keyId"] == made["Arn"]]
    assert [record["recipientAccountId"] for record in refusals] == [daemon.FOREIGN_ACCOUNT]


def test_kms_15_a_sessions_records_name_its_role(broker, user, key):
    session = user("admin", "sts").assume_role(RoleArn=WORKER, RoleSessionName="audited")["Credentials"]
    worker = broker.client("kms", (session["AccessKeyId"], session["SecretAccessKey"]), session_token=session["SessionToken"])
    worker.disable_key(KeyId=key["KeyId"])
    identity = records(broker, "DisableKey")[-1]["userIdentity"]
    assert identity["type"] == "AssumedRole" and identity["arn"].endswith("assumed-role/worker/audited")
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == WORKER


def test_sse_104_sse_185_the_brokers_own_calls_say_what_they_asked_for(broker, sqs, kms, queue):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    url = queue(KmsMasterKeyId=key)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    context = {"aws:sqs:arn": sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]}
    deadline = time.monotonic() + 5
    wanted = lambda: [record for record in records(broker) if record["userIdentity"].get("invokedBy") and record["requestParameters"].get("keyId") == key]
    while len(wanted()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(record["eventName"], record["requestParameters"]) for record in wanted()] == [
        ("GenerateDataKey", {"keyId": key, "keySpec": "AES_256", "encryptionContext": context}),
        ("Decrypt", {"keyId": key, "encryptionContext": context}),
    ]
