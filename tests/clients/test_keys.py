"""The key service and STS over their own APIs, as boto3 speaks them."""

import json
import uuid

import pytest

from conftest import refused
import daemon

CONTEXT = {"purpose": "test", "Case": "Sensitive"}


def test_create_describe_and_list_keys(kms, key):
    described = kms.describe_key(KeyId=key["Arn"])["KeyMetadata"]
    assert described["KeyId"] == key["KeyId"] and described["KeyState"] == "Enabled"
    assert (described["KeyManager"], described["KeySpec"], described["KeyUsage"]) == (
        "CUSTOMER",
        "SYMMETRIC_DEFAULT",
        "ENCRYPT_DECRYPT",
    )
    assert described["Arn"] == f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:key/{key['KeyId']}"
    listed, marker = [], {}
    while True:
        page = kms.list_keys(Limit=2, **marker)
        listed += [entry["KeyId"] for entry in page["Keys"]]
        if not page["Truncated"]:
            break
        marker = {"Marker": page["NextMarker"]}
    assert key["KeyId"] in listed and len(listed) == len(set(listed))


def test_aliases_are_made_moved_listed_and_deleted(kms, key):
    alias = f"alias/{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    assert kms.describe_key(KeyId=alias)["KeyMetadata"]["KeyId"] == key["KeyId"]
    refused("AlreadyExistsException", kms.create_alias, AliasName=alias, TargetKeyId=key["KeyId"], status=400)
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.update_alias(AliasName=alias, TargetKeyId=other)
    assert alias in [entry["AliasName"] for entry in kms.list_aliases(KeyId=other)["Aliases"]]
    kms.delete_alias(AliasName=alias)
    refused("NotFoundException", kms.describe_key, KeyId=alias, status=400)


@pytest.mark.parametrize("size", [1, 4096])
def test_kms_1_encrypt_and_decrypt_round_trip(kms, key, size):
    plaintext = b"x" * size
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=plaintext, EncryptionContext=CONTEXT)
    assert blob["KeyId"] == key["Arn"]
    opened = kms.decrypt(CiphertextBlob=blob["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert (opened["Plaintext"], opened["KeyId"]) == (plaintext, key["Arn"])


@pytest.mark.parametrize("size, limit", [(0, "greater than or equal to 1"), (4097, "less than or equal to 4096")])
def test_kms_1_sizes_outside_of_the_limits_are_refused(kms, key, size, limit):
    text = refused("ValidationException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x" * size, status=400)
    assert text == (
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: "
        f"Member must have length {limit}"
    )


def test_kms_2_another_context_does_not_decrypt(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    wrong = [{}, {"purpose": "test"}, {**CONTEXT, "more": "x"}, {"purpose": "Test", "Case": "Sensitive"}, {"purpose": "test", "case": "Sensitive"}]
    for context in wrong:
        call = {"CiphertextBlob": blob, "EncryptionContext": context}
        assert refused("InvalidCiphertextException", kms.decrypt, status=400, **call) == ""
    damaged = blob[:-1] + bytes([blob[-1] ^ 1])
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=damaged, EncryptionContext=CONTEXT)


def test_kms_3_decrypt_finds_the_key_and_refuses_another(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    assert kms.decrypt(CiphertextBlob=blob, KeyId=key["Arn"])["Plaintext"] == b"x"
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    refused("IncorrectKeyException", kms.decrypt, CiphertextBlob=blob, KeyId=other, status=400)


def test_kms_4_replies_name_the_key_arn_for_an_alias(kms, key):
    alias = f"alias/{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    assert kms.encrypt(KeyId=alias, Plaintext=b"x")["KeyId"] == key["Arn"]
    assert kms.generate_data_key(KeyId=alias, KeySpec="AES_256")["KeyId"] == key["Arn"]


def test_kms_5_old_blobs_decrypt_after_rotations(kms, key):
    blobs = []
    for _ in range(3):
        blobs.append(kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"])
        kms.rotate_key_on_demand(KeyId=key["KeyId"])
    opened = [kms.decrypt(CiphertextBlob=blob) for blob in blobs]
    assert all(reply["Plaintext"] == b"x" and reply["KeyId"] == key["Arn"] for reply in opened)
    assert len({reply["KeyMaterialId"] for reply in opened}) == 3


def test_kms_6_a_data_key_has_one_way_of_saying_its_size(kms, key):
    made = kms.generate_data_key(KeyId=key["KeyId"], KeySpec="AES_256", EncryptionContext=CONTEXT)
    assert len(made["Plaintext"]) == 32
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
    assert opened["Plaintext"] == made["Plaintext"]
    assert len(kms.generate_data_key(KeyId=key["KeyId"], NumberOfBytes=17)["Plaintext"]) == 17
    refused("ValidationException", kms.generate_data_key, KeyId=key["KeyId"])
    refused("ValidationException", kms.generate_data_key, KeyId=key["KeyId"], KeySpec="AES_256", NumberOfBytes=32)


def test_kms_7_a_disabled_key_does_nothing_until_it_is_enabled(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key["KeyId"])
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"
    text = refused("DisabledException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", status=400)
    assert text == f"{key['Arn']} is disabled."
    refused("DisabledException", kms.decrypt, CiphertextBlob=blob)
    refused("DisabledException", kms.generate_data_key, KeyId=key["KeyId"], KeySpec="AES_256")
    kms.enable_key(KeyId=key["KeyId"])
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_kms_8_a_cancelled_deletion_leaves_the_key_disabled(kms, key):
    reply = kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert (reply["KeyId"], reply["KeyState"]) == (key["Arn"], "PendingDeletion")
    refused("KMSInvalidStateException", kms.enable_key, KeyId=key["KeyId"], status=400)
    assert kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Disabled"


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(principal, *actions):
    return {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*"}


def test_kms_9_a_key_that_does_not_delegate_ignores_identity_policies(kms, user):
    root = f"arn:aws:iam::{daemon.ACCOUNT}:root"
    admin = f"arn:aws:iam::{daemon.ACCOUNT}:user/admin"
    manage = {**allow(root, "kms:PutKeyPolicy", "kms:DescribeKey"), "Condition": {"StringEquals": {"aws:PrincipalArn": root}}}
    made = kms.create_key(Policy=policy(manage), BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["KeyId"]
    refused("AccessDeniedException", user("admin", "kms").encrypt, KeyId=made, Plaintext=b"x", status=400)
    kms.put_key_policy(KeyId=made, Policy=policy(manage, allow(admin, "kms:Encrypt")), BypassPolicyLockoutSafetyCheck=True)
    assert user("admin", "kms").encrypt(KeyId=made, Plaintext=b"x")["CiphertextBlob"]


def test_kms_10_a_policy_that_locks_its_author_out_is_refused(kms, key):
    foreign = policy(allow(f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:root", "kms:*"))
    refused("MalformedPolicyDocumentException", kms.put_key_policy, KeyId=key["KeyId"], Policy=foreign)
    assert "key-default-1" in kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"]


def test_kms_11_kms_12_sse_93_sse_94_sse_96_sse_100_the_managed_key_is_out_of_reach(kms, sqs, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    sqs.send_message(QueueUrl=url, MessageBody="makes the key")
    managed = kms.describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]
    assert managed["KeyManager"] == "AWS"
    assert kms.get_key_rotation_status(KeyId=managed["KeyId"])["KeyRotationEnabled"]
    calls = [
        (kms.disable_key, {"KeyId": managed["KeyId"]}),
        (kms.schedule_key_deletion, {"KeyId": managed["KeyId"]}),
        (kms.put_key_policy, {"KeyId": managed["KeyId"], "Policy": "{}"}),
        (kms.create_alias, {"AliasName": "alias/aws/other", "TargetKeyId": managed["KeyId"]}),
        (kms.delete_alias, {"AliasName": "alias/aws/sqs"}),
        (kms.encrypt, {"KeyId": managed["KeyId"], "Plaintext": b"x"}),
        (kms.generate_data_key, {"KeyId": managed["KeyId"], "KeySpec": "AES_256"}),
    ]
    for call, parameters in calls:
        with pytest.raises(kms.exceptions.ClientError) as caught:
            call(**parameters)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert kms.describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]["KeyState"] == "Enabled"


def test_kms_13_a_grant_admits_until_it_is_revoked(kms, key, user):
    sqs_only = user("sqs-only", "kms")
    refused("AccessDeniedException", sqs_only.encrypt, KeyId=key["Arn"], Plaintext=b"x")
    grantee = f"arn:aws:iam::{daemon.ACCOUNT}:user/sqs-only"
    grant = kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=grantee, Operations=["Encrypt"], Name="n")
    again = kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=grantee, Operations=["Encrypt"], Name="n")
    assert grant["GrantId"] == again["GrantId"]
    assert sqs_only.encrypt(KeyId=key["Arn"], Plaintext=b"x")["KeyId"] == key["Arn"]
    refused("AccessDeniedException", sqs_only.generate_data_key, KeyId=key["Arn"], KeySpec="AES_256")
    kms.revoke_grant(KeyId=key["KeyId"], GrantId=grant["GrantId"])
    refused("AccessDeniedException", sqs_only.encrypt, KeyId=key["Arn"], Plaintext=b"x")


def test_kms_14_a_dry_run_changes_nothing(kms, key):
    refused("DryRunOperationException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", DryRun=True)
    grantee = f"arn:aws:iam::{daemon.ACCOUNT}:user/sqs-only"
    call = {"KeyId": key["KeyId"], "GranteePrincipal": grantee, "Operations": ["Encrypt"]}
    refused("DryRunOperationException", kms.create_grant, DryRun=True, **call)
    assert kms.list_grants(KeyId=key["KeyId"])["Grants"] == []


def test_unknown_keys_are_not_found(kms):
    absent = str(uuid.uuid4())
    text = refused("NotFoundException", kms.describe_key, KeyId=absent, status=400)
    assert text == f"Key 'arn:aws:kms:us-east-1:{daemon.ACCOUNT}:key/{absent}' does not exist"
    assert refused("NotFoundException", kms.describe_key, KeyId="fake-key-id") == "Invalid keyId 'fake-key-id'"


def test_keys_survive_a_restart(own_broker):
    kms = own_broker.start().client("kms")
    key = kms.create_key(Description="kept")["KeyMetadata"]
    kms.create_alias(AliasName="alias/kept", TargetKeyId=key["KeyId"])
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    own_broker.crash()
    assert kms.describe_key(KeyId="alias/kept")["KeyMetadata"]["Description"] == "kept"
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_auth_18_get_caller_identity_names_every_kind_of_caller(broker, user):
    root = broker.client("sts").get_caller_identity()
    assert (root["Account"], root["Arn"]) == (daemon.ACCOUNT, f"arn:aws:iam::{daemon.ACCOUNT}:root")
    assert user("nobody", "sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{daemon.ACCOUNT}:user/nobody"
    role = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
    session = user("admin", "sts").assume_role(RoleArn=role, RoleSessionName="s1")["Credentials"]
    as_role = broker.client(
        "sts", (session["AccessKeyId"], session["SecretAccessKey"]), session_token=session["SessionToken"]
    )
    assert as_role.get_caller_identity()["Arn"] == f"arn:aws:sts::{daemon.ACCOUNT}:assumed-role/worker/s1"
