"""What encryption at rest means: which form lies on disk, which keys are called for, which transport is asked for."""

import concurrent.futures
import json
import time
import urllib.parse
import uuid

import pytest
from botocore.exceptions import ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import wire
from conftest import ALL_SYSTEM_ATTRIBUTES, USERS, arn_of, attributes, name_of, receive, receive_none, refused
from stored_record import field, open_record, records

# Modes and backlog


def test_sse_101_and_sse_103_a_record_opens_with_kms_and_any_aes_gcm(broker, sqs, kms, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    sent = sqs.send_message(QueueUrl=url, MessageBody="opened by hand \u00e9")
    (record,) = records(broker, url)
    assert (record["mode"], record["kms_key_arn"], record["context_arn"]) == ("kms", key["Arn"], arn_of(url))
    assert record["message_id"] == sent["MessageId"] and record["queue_arn"] == arn_of(url)
    assert open_record(kms, record) == "opened by hand \u00e9"


def test_sse_133_a_changed_byte_anywhere_does_not_open(broker, sqs, kms, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="tamper")
    (record,) = records(broker, url)
    key_bytes = kms.decrypt(
        CiphertextBlob=field(record, "wrapped_key"), EncryptionContext={"aws:sqs:arn": arn_of(url)}
    )["Plaintext"]
    parts = {name: field(record, name) for name in ("nonce", "ciphertext", "aad")}
    for name, part in parts.items():
        changed = {**parts, name: bytes([part[0] ^ 1]) + part[1:]}
        with pytest.raises(InvalidTag):
            AESGCM(key_bytes).decrypt(changed["nonce"], changed["ciphertext"], changed["aad"])


def test_sse_132_a_wrapped_key_is_bound_to_its_queue(broker, sqs, kms, key, queue):
    url, other = queue(KmsMasterKeyId=key["KeyId"]), queue(KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (record,) = records(broker, url)
    call = {"CiphertextBlob": field(record, "wrapped_key"), "EncryptionContext": {"aws:sqs:arn": arn_of(other)}}
    refused("InvalidCiphertextException", kms.decrypt, **call)


def test_sse_43_sse_45_sse_46_sse_48_sse_49_the_form_on_disk_is_that_of_the_moment_of_sending(broker, sqs, kms, key, queue):
    url = queue(SqsManagedSseEnabled="false")
    sqs.send_message(QueueUrl=url, MessageBody="plain")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": key["KeyId"]})
    sqs.send_message(QueueUrl=url, MessageBody="kms")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    sqs.send_message(QueueUrl=url, MessageBody="managed")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "false"})
    sqs.send_message(QueueUrl=url, MessageBody="plain again")
    found = sorted(records(broker, url), key=lambda record: (record["segment"], record["offset"]))
    assert [record["mode"] for record in found] == ["none", "kms", "managed", "none"]
    assert field(found[0], "ciphertext") == b"plain" and field(found[3], "ciphertext") == b"plain again"
    assert open_record(kms, found[1]) == "kms"
    messages = receive(sqs, url, 4)
    assert sorted(message["Body"] for message in messages) == ["kms", "managed", "plain", "plain again"]


def test_sse_50_and_sse_51_a_changed_key_is_used_from_the_next_send_on(broker, sqs, kms, queue):
    first, second = (kms.create_key()["KeyMetadata"] for _ in range(2))
    url = queue(KmsMasterKeyId=first["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="one")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": second["KeyId"]})
    sqs.send_message(QueueUrl=url, MessageBody="two")
    assert {record["kms_key_arn"] for record in records(broker, url)} == {first["Arn"], second["Arn"]}
    assert sorted(message["Body"] for message in receive(sqs, url, 2)) == ["one", "two"]


def test_sse_79_and_sse_80_every_form_of_a_key_id_works(broker, sqs, kms, key, queue):
    alias = f"alias/MyAlias-{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    for given in (key["KeyId"], key["Arn"], alias, key["Arn"].split(":key/")[0] + ":" + alias):
        url = queue(KmsMasterKeyId=given)
        sqs.send_message(QueueUrl=url, MessageBody=given)
        assert records(broker, url)[0]["kms_key_arn"] == key["Arn"]
        assert receive(sqs, url)[0]["Body"] == given


def test_sse_88_sse_89_sse_92_the_default_key_is_made_by_the_first_send(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    assert receive_none(sqs, url)
    assert kms.list_keys()["Keys"] == []
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (made,) = kms.list_keys()["Keys"]
    targets = {entry["AliasName"]: entry.get("TargetKeyId") for entry in kms.list_aliases()["Aliases"]}
    assert targets["alias/aws/sqs"] == made["KeyId"]


def test_sse_90_the_first_batch_makes_the_default_key_too(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": "x"}])
    assert len(kms.list_keys()["Keys"]) == 1


def test_sse_86_sse_87_the_command_line_selects_and_makes_the_default_key(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    own_broker.run("queue", "encrypt", "--queue", "q")
    assert attributes(sqs, url)["KmsMasterKeyId"] == "alias/aws/sqs"
    assert len(kms.list_keys()["Keys"]) == 1
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert own_broker.inspect("q")[0]["mode"] == "kms"


def test_sse_83_the_default_alias_points_to_the_managed_key_for_good(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    other = kms.create_key()["KeyMetadata"]["KeyId"]

    def target():
        listed = kms.list_aliases()["Aliases"]
        (found,) = [alias["TargetKeyId"] for alias in listed if alias["AliasName"] == "alias/aws/sqs"]
        return found

    managed = target()
    assert kms.describe_key(KeyId=managed)["KeyMetadata"]["KeyManager"] == "AWS"
    for call, parameters in (
        (kms.update_alias, {"AliasName": "alias/aws/sqs", "TargetKeyId": other}),
        (kms.delete_alias, {"AliasName": "alias/aws/sqs"}),
        (kms.create_alias, {"AliasName": "alias/aws/sqs", "TargetKeyId": other}),
        (kms.create_alias, {"AliasName": "alias/mine", "TargetKeyId": managed}),
    ):
        with pytest.raises(ClientError):
            call(**parameters)
    assert target() == managed
    own_broker.crash()
    assert target() == managed and own_broker.inspect("q")[0]["kms_key_arn"].endswith(managed)


def test_sse_85_sse_97_a_default_key_belongs_to_one_region_and_one_account(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    given = {"KmsMasterKeyId": "alias/aws/sqs"}
    url = sqs.create_queue(QueueName="q", Attributes=given)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    here = kms.describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]["Arn"]
    assert own_broker.inspect("q")[0]["kms_key_arn"] == here
    # Not directly, not from another account, and not for a queue of another account.
    refused("AccessDeniedException", kms.generate_data_key, KeyId=here, KeySpec="AES_256")
    foreign = own_broker.client(credentials=USERS["foreigner"][1:3])
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": arn_of(url)}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    refused("KMS.AccessDeniedException", foreign.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.AccessDeniedException", foreign.receive_message, QueueUrl=url, status=400)
    theirs = foreign.create_queue(QueueName="theirs", Attributes={"KmsMasterKeyId": here})["QueueUrl"]
    refused("KMS.AccessDeniedException", foreign.send_message, QueueUrl=theirs, MessageBody="x", status=400)
    # Another region has another one, and its SQS may not use this one.
    assert own_broker.stop() == 0
    own_broker.environment = {"SEALQ_IDENTITY__REGION": "eu-west-1", "SEALQ_IDENTITY__REGIONS": "eu-west-1"}
    own_broker.start()
    sqs, kms = own_broker.client(region="eu-west-1"), own_broker.client("kms", region="eu-west-1")
    url = sqs.create_queue(QueueName="there", Attributes=given)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    there = own_broker.inspect("there")[0]["kms_key_arn"]
    assert there.split(":")[3] == "eu-west-1" and there.split("/")[1] != here.split("/")[1]
    across = sqs.create_queue(QueueName="across", Attributes={"KmsMasterKeyId": here})["QueueUrl"]
    refused("KMS.NotFoundException", sqs.send_message, QueueUrl=across, MessageBody="x", status=400)


def test_sse_182_and_sse_183_sse_sqs_encrypts_without_any_kms_call(broker, sqs, kms, queue):
    url, keys_before = queue(), len(kms.list_keys(Limit=1000)["Keys"])
    sqs.send_message(QueueUrl=url, MessageBody="managed secret")
    (record,) = records(broker, url)
    assert record["mode"] == "managed" and b"managed secret" not in field(record, "ciphertext")
    assert len(field(record, "ciphertext")) == len("managed secret") + 16 + 16
    assert receive(sqs, url)[0]["Body"] == "managed secret"
    assert broker.kms_calls(name_of(url)) == 0
    assert len(kms.list_keys(Limit=1000)["Keys"]) == keys_before


def test_sse_134_equal_bodies_have_different_ciphertexts(broker, sqs, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    entries = [{"Id": str(i), "MessageBody": "same"} for i in range(10)]
    sqs.send_message_batch(QueueUrl=url, Entries=entries)
    found = records(broker, url)
    assert len({record["ciphertext"] for record in found}) == 10
    assert len({record["nonce"] for record in found}) == 10


def test_sse_44_what_was_sent_in_clear_needs_no_key(broker, sqs, user, key, queue):
    url = queue(SqsManagedSseEnabled="false")
    sqs.send_message(QueueUrl=url, MessageBody="plain")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": key["KeyId"]})
    assert receive(user("sqs-only"), url)[0]["Body"] == "plain"
    assert broker.kms_calls(name_of(url)) == 0


def test_sse_47_what_was_sealed_needs_its_key_after_sse_is_off(sqs, user, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="sealed")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": ""})
    refused("KMS.AccessDeniedException", user("sqs-only").receive_message, QueueUrl=url, status=400)
    assert receive(user("admin"), url)[0]["Body"] == "sealed"


def test_sse_52_a_consumer_gets_what_its_keys_open(sqs, user, kms, queue):
    mine, other = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    grantee = "arn:aws:iam::000000000000:user/sqs-only"
    kms.create_grant(KeyId=mine, GranteePrincipal=grantee, Operations=["Decrypt"])
    url = queue(KmsMasterKeyId=other)
    sqs.send_message(QueueUrl=url, MessageBody="other")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": mine})
    sqs.send_message(QueueUrl=url, MessageBody="mine")
    reply = user("sqs-only").receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert [message["Body"] for message in reply["Messages"]] == ["mine"]
    assert [message["Body"] for message in receive(sqs, url)] == ["other"]


def test_sse_52_on_a_fifo_queue_what_cannot_be_opened_holds_back_its_group_and_no_other(sqs, user, kms, queue):
    mine, other = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    kms.create_grant(KeyId=mine, GranteePrincipal="arn:aws:iam::000000000000:user/sqs-only", Operations=["Decrypt"])
    url = queue(KmsMasterKeyId=mine, FifoQueue="true", ContentBasedDeduplication="true")
    for key, body, group in ((mine, "a1", "a"), (other, "a2", "a"), (mine, "a3", "a"), (other, "b1", "b"), (mine, "b2", "b"), (mine, "c1", "c")):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": key})
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group)
    half = user("sqs-only")
    bodies = lambda reply: [message["Body"] for message in reply["Messages"]]
    assert bodies(half.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)) == ["a1", "c1"]
    reply = half.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
    assert bodies(reply) == ["a1", "c1"]
    for message in reply["Messages"]:
        half.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    refused("KMS.AccessDeniedException", half.receive_message, QueueUrl=url, MaxNumberOfMessages=10, status=400)
    rest = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **ALL_SYSTEM_ATTRIBUTES)["Messages"]
    found = [(message["Body"], message["Attributes"]["ApproximateReceiveCount"]) for message in rest]
    assert sorted(found) == [("a2", "1"), ("a3", "1"), ("b1", "1"), ("b2", "1")]
    assert [body for body, _ in found if body[0] == "a"] == ["a2", "a3"]


def test_sse_143_a_refused_receive_asks_once_for_each_key_and_context(broker, sqs, user, kms, key, queue):
    one, two = key["KeyId"], kms.create_key()["KeyMetadata"]["KeyId"]
    url = queue(KmsMasterKeyId=one)
    entries = [{"Id": str(number), "MessageBody": "x"} for number in range(10)]
    for under in (one, two, one):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": under})
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    before = broker.kms_calls(name_of(url), "Decrypt")
    refused("KMS.AccessDeniedException", user("sqs-only").receive_message, QueueUrl=url, MaxNumberOfMessages=10, status=400)
    assert broker.kms_calls(name_of(url), "Decrypt") == before + 2
    assert len(receive(sqs, url, 30)) == 30


def test_sse_149_a_refused_receive_with_a_timeout_of_zero_counts_nothing_and_moves_nothing(sqs, user, key, queue):
    dead = queue()
    target = attributes(sqs, dead, "QueueArn")["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": 2})
    url = queue(KmsMasterKeyId=key["KeyId"], RedrivePolicy=redrive)
    sqs.send_message(QueueUrl=url, MessageBody="stays")
    for _ in range(4):
        refused("KMS.AccessDeniedException", user("sqs-only").receive_message, QueueUrl=url, VisibilityTimeout=0, status=400)
    (message,) = receive(sqs, url, **ALL_SYSTEM_ATTRIBUTES)
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("stays", "1")
    assert attributes(sqs, dead, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}


def test_sse_53_attribute_changes_rewrite_nothing(broker, sqs, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="x")
    before = records(broker, url)
    for change in ({"KmsMasterKeyId": "alias/aws/sqs"}, {"SqsManagedSseEnabled": "true"}, {"SqsManagedSseEnabled": "false"}):
        sqs.set_queue_attributes(QueueUrl=url, Attributes=change)
    assert records(broker, url) == before


def test_sse_31_sse_32_sse_33_metadata_is_readable_without_the_key(user, sqs, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"], KmsDataKeyReusePeriodSeconds="60")
    sqs.send_message(QueueUrl=url, MessageBody="x")
    found = attributes(user("sqs-only"), url)
    assert (found["KmsMasterKeyId"], found["KmsDataKeyReusePeriodSeconds"]) == (key["KeyId"], "60")
    assert found["ApproximateNumberOfMessages"] == "1"


def test_sse_98_sse_135_old_messages_open_after_rotation_and_a_moved_alias(broker, sqs, kms, queue):
    first, second = (kms.create_key()["KeyMetadata"] for _ in range(2))
    alias = f"alias/{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=first["KeyId"])
    url = queue(KmsMasterKeyId=alias)
    sqs.send_message(QueueUrl=url, MessageBody="before")
    kms.rotate_key_on_demand(KeyId=first["KeyId"])
    kms.update_alias(AliasName=alias, TargetKeyId=second["KeyId"])
    # Another principal asks for a data key of its own: it comes from the new target at once.
    kms.create_grant(
        KeyId=second["KeyId"],
        GranteePrincipal="arn:aws:iam::000000000000:user/admin",
        Operations=["GenerateDataKey", "Decrypt"],
    )
    admin = broker.client(credentials=USERS["admin"][1:3])
    admin.send_message(QueueUrl=url, MessageBody="after")
    assert [record["kms_key_arn"] for record in records(broker, url)] == [first["Arn"], second["Arn"]]
    assert sorted(message["Body"] for message in receive(sqs, url, 2)) == ["after", "before"]


def test_sse_91_sse_129_concurrent_first_sends_make_one_key(own_broker):
    own_broker.start()
    clients = [own_broker.client() for _ in range(10)]
    url = clients[0].create_queue(QueueName="q", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        sends = [pool.submit(clients[i % 10].send_message, QueueUrl=url, MessageBody=str(i)) for i in range(50)]
        assert all(send.result()["MessageId"] for send in sends)
    assert len(own_broker.client("kms").list_keys()["Keys"]) == 1
    assert (own_broker.kms_calls("q", "GenerateDataKey"), own_broker.kms_calls("q", "Decrypt")) == (1, 1)


def test_sse_84_every_account_has_a_default_key_of_its_own(broker, sqs, user, queue, queue_name):
    sqs.send_message(QueueUrl=queue(KmsMasterKeyId="alias/aws/sqs"), MessageBody="x")
    given = {"KmsMasterKeyId": "alias/aws/sqs"}
    url = user("foreigner").create_queue(QueueName=queue_name(), Attributes=given)["QueueUrl"]
    user("foreigner").send_message(QueueUrl=url, MessageBody="x")
    arns = {
        broker.client("kms").describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]["Arn"],
        user("foreigner", "kms").describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]["Arn"],
    }
    assert len(arns) == 2 and {arn.split(":")[4] for arn in arns} == {"000000000000", "111111111111"}


def test_sse_30_a_body_is_opened_for_its_consumer_and_for_nothing_else(own_broker, tmp_path):
    sqs = own_broker.start().client()
    dead = sqs.create_queue(QueueName="dead", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": 1})
    given = {"KmsMasterKeyId": "alias/aws/sqs", "RedrivePolicy": redrive}
    url = sqs.create_queue(QueueName="q", Attributes=given)["QueueUrl"]
    for number in range(3):
        sqs.send_message(QueueUrl=url, MessageBody=f"number {number}")
    (moved,) = receive(sqs, url)
    # After a restart nothing is cached: whatever opened a body would have to ask for its key.
    own_broker.crash()
    sqs = own_broker.client()
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=moved["ReceiptHandle"], VisibilityTimeout=0)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    sqs.tag_queue(QueueUrl=url, Tags={"a": "b"})
    attributes(sqs, url)
    own_broker.inspect()
    own_broker.run("verify")
    own_broker.run("backup", tmp_path / "backup")
    sqs.start_message_move_task(SourceArn=arn_of(dead), DestinationArn=arn_of(url))
    assert own_broker.metric("sealq_kms_calls_total") == 0
    assert len(receive(sqs, url, 2)) == 2
    assert own_broker.metric("sealq_kms_calls_total") == own_broker.kms_calls("q", "Decrypt") == 1


# Transport


@pytest.mark.parametrize("kind", [{"KmsMasterKeyId": "alias/aws/sqs"}, {"SqsManagedSseEnabled": "true"}], ids=["kms", "managed"])
def test_sse_68_sse_69_sse_74_plain_http_is_refused_by_an_sse_queue(sqs, plain_sqs, caller, queue, kind):
    url = queue(**kind)
    calls = [
        (plain_sqs.send_message, {"MessageBody": "x"}),
        (plain_sqs.receive_message, {}),
        (plain_sqs.get_queue_attributes, {"AttributeNames": ["All"]}),
        (plain_sqs.delete_message, {"ReceiptHandle": "x"}),
        (plain_sqs.purge_queue, {}),
    ]
    for call, parameters in calls:
        refused("InvalidSecurity", call, QueueUrl=url, status=403, **parameters)
    reply = caller().form("SendMessage", {"QueueUrl": url, "MessageBody": "x"}, secure=False)
    assert (reply.status, reply.code()) == (403, "InvalidSecurity")
    assert receive_none(sqs, url)


def test_sse_70_and_sse_71_unsigned_requests_get_nothing_from_an_sse_queue(broker, sqs, queue):
    url = queue()
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": arn_of(url)}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sqs.send_message(QueueUrl=url, MessageBody="for nobody")
    for secure in (True, False):
        for action, parameters in [("ReceiveMessage", {}), ("SendMessage", {"MessageBody": "x"}), ("GetQueueAttributes", {})]:
            for reply in (
                wire.unsigned_json(broker, action, {"QueueUrl": url, **parameters}, secure),
                wire.unsigned_form(broker, action, {"QueueUrl": url, **parameters}, secure),
            ):
                assert (reply.status, reply.code()) == (403, "InvalidSecurity"), reply.text
                assert "for nobody" not in reply.text


def test_sse_72_another_signature_scheme_is_no_security(broker, sqs, queue):
    old = {
        "AWSAccessKeyId": broker.root_credentials()[0],
        "SignatureVersion": "2",
        "SignatureMethod": "HmacSHA256",
        "Timestamp": "2026-01-02T03:04:05Z",
        "Version": "2012-11-05",
        "Signature": "c2lnbmF0dXJl",
    }
    for given, code in (
        ({"KmsMasterKeyId": "alias/aws/sqs"}, "InvalidSecurity"),
        ({"SqsManagedSseEnabled": "true"}, "InvalidSecurity"),
        ({"SqsManagedSseEnabled": "false"}, None),
    ):
        url = queue(**given)
        for action, parameters in (("SendMessage", {"MessageBody": "x"}), ("ReceiveMessage", {})):
            asked = urllib.parse.urlencode({"Action": action, "QueueUrl": url, **parameters, **old})
            form = {"content-type": "application/x-www-form-urlencoded"}
            for reply in (
                wire.exchange(broker, "GET", f"/?{asked}"),
                wire.exchange(broker, "POST", "/", form, asked.encode()),
            ):
                assert reply.status >= 400 and (code is None or (reply.status, reply.code()) == (403, code)), reply.text
        assert receive_none(sqs, url)


def test_sse_73_header_and_presigned_signatures_are_both_taken(sqs, caller, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    path = "/" + url.split("/", 3)[3]
    parameters = {"Action": "SendMessage", "MessageBody": "by url a b+c*~/\u00e9", "Version": "2012-11-05"}
    reply = caller().get(caller().presigned(path, parameters))
    assert reply.status == 200, reply.text
    assert caller().json("SendMessage", {"QueueUrl": url, "MessageBody": "by header"}).status == 200
    assert sorted(message["Body"] for message in receive(sqs, url, 2)) == ["by header", "by url a b+c*~/\u00e9"]


def test_sse_75_and_sse_77_plain_http_comes_back_with_sse_off_but_not_for_what_is_sealed(sqs, plain_sqs, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    sqs.send_message(QueueUrl=url, MessageBody="sealed")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": ""})
    refused("InvalidSecurity", plain_sqs.receive_message, QueueUrl=url, status=403)
    plain_sqs.send_message(QueueUrl=url, MessageBody="plain")
    (message,) = plain_sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert message["Body"] == "plain"
    assert [message["Body"] for message in receive(sqs, url)] == ["sealed"]


def test_sse_76_a_forged_forwarded_header_is_not_https(broker, caller, queue):
    url = queue()
    for extra in ({"x-forwarded-proto": "https"}, {"forwarded": "proto=https"}):
        reply = caller().json("ReceiveMessage", {"QueueUrl": url}, secure=False, extra=extra)
        assert (reply.status, reply.code()) == (403, "InvalidSecurity")


def test_sse_78_sse_cannot_be_turned_on_over_plain_http(sqs, plain_sqs, queue, queue_name):
    url, name = queue(SqsManagedSseEnabled="false"), queue_name()
    for change in ({"KmsMasterKeyId": "alias/aws/sqs"}, {"SqsManagedSseEnabled": "true"}):
        refused("InvalidSecurity", plain_sqs.set_queue_attributes, QueueUrl=url, Attributes=change, status=403)
        refused("InvalidSecurity", plain_sqs.create_queue, QueueName=name, Attributes=change, status=403)
    assert attributes(sqs, url)["SqsManagedSseEnabled"] == "false"
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName=name)


# KMS calls


def test_sse_105_sse_106_sse_109_sse_111_sse_41_the_calls_of_one_period(broker, sqs, user, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    name = name_of(url)

    def calls():
        return int(broker.kms_calls(name, "GenerateDataKey")), int(broker.kms_calls(name, "Decrypt"))

    sqs.send_message(QueueUrl=url, MessageBody="first")
    assert calls() == (1, 1)
    sqs.send_message(QueueUrl=url, MessageBody="second")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "x"} for i in range(10)])
    assert calls() == (1, 1)
    assert len({record["wrapped_key"] for record in records(broker, url)}) == 1
    own = receive(sqs, url)
    assert calls() == (1, 1), "the verifying Decrypt admits the producer as a consumer"
    other = user("admin")
    theirs = receive(other, url)
    assert calls() == (1, 2)
    receive(other, url)
    assert calls() == (1, 2)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=own[0]["ReceiptHandle"], VisibilityTimeout=0)
    other.delete_message(QueueUrl=url, ReceiptHandle=theirs[0]["ReceiptHandle"])
    sqs.purge_queue(QueueUrl=url)
    assert calls() == (1, 2)


def test_sse_117_sse_121_and_sse_123_principals_and_queues_never_share_a_data_key(broker, sqs, user, key, queue):
    urls = [queue(KmsMasterKeyId=key["KeyId"]) for _ in range(2)]
    for url in urls:
        sqs.send_message(QueueUrl=url, MessageBody="x")
        user("admin").send_message(QueueUrl=url, MessageBody="x")
        assert broker.kms_calls(name_of(url), "GenerateDataKey") == 2
    assert len({record["wrapped_key"] for url in urls for record in records(broker, url)}) == 4


def test_sse_128_a_restart_empties_the_caches(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="before")
    own_broker.restart()
    sqs.send_message(QueueUrl=url, MessageBody="after")
    assert (own_broker.kms_calls("q", "GenerateDataKey"), own_broker.kms_calls("q", "Decrypt")) == (1, 1)
    assert len({record["wrapped_key"] for record in own_broker.inspect("q")}) == 2
    assert sorted(message["Body"] for message in receive(sqs, url, 2)) == ["after", "before"]


# Refusals


def test_sse_4_sse_82_sse_175_a_key_that_is_not_there_stores_nothing(sqs, queue):
    absent = str(uuid.uuid4())
    for given in (absent, "alias/absent", "testKeyId", f"arn:aws:kms:eu-west-1:000000000000:key/{absent}"):
        url = queue(KmsMasterKeyId=given)
        refused("KMS.NotFoundException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
        entries = [{"Id": "a", "MessageBody": "x"}]
        refused("KMS.NotFoundException", sqs.send_message_batch, QueueUrl=url, Entries=entries, status=400)
        assert attributes(sqs, url, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}


def test_sse_173_sse_180_a_disabled_key_refuses_and_an_enabled_one_delivers_again(own_broker):
    sqs, kms = own_broker.start().client(), own_broker.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": key})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="kept")
    own_broker.restart()
    kms.disable_key(KeyId=key)
    refused("KMS.DisabledException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.DisabledException", sqs.receive_message, QueueUrl=url, status=400)
    kms.enable_key(KeyId=key)
    (message,) = receive(sqs, url, MessageSystemAttributeNames=["All"])
    assert (message["Body"], message["Attributes"]["ApproximateReceiveCount"]) == ("kept", "1")


def test_sse_174_a_key_that_waits_for_its_deletion_refuses(sqs, kms, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    refused("KMS.InvalidStateException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)


def test_sse_99_a_key_of_another_kind_refuses(sqs, kms, queue):
    hmac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    url = queue(KmsMasterKeyId=hmac)
    refused("KMS.InvalidKeyUsageException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)


def test_sse_178_the_form_of_a_kms_refusal(caller, queue):
    url = queue(KmsMasterKeyId=str(uuid.uuid4()))
    reply = caller().json("SendMessage", {"QueueUrl": url, "MessageBody": "x"})
    assert reply.json()["__type"] == "com.amazonaws.sqs#KmsNotFound"
    assert reply.headers["x-amzn-query-error"] == "KMS.NotFoundException;Sender"
    reply = caller().form("SendMessage", {"QueueUrl": url, "MessageBody": "x"})
    assert (reply.status, reply.code()) == (400, "KMS.NotFoundException")


def test_sse_149_sse_122_a_consumer_without_the_right_gets_nothing(sqs, user, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="secret")
    assert receive(sqs, url, VisibilityTimeout=0)[0]["Body"] == "secret"
    refused("KMS.AccessDeniedException", user("sqs-only").receive_message, QueueUrl=url, status=400)
    (message,) = receive(sqs, url, MessageSystemAttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "2"


def test_sse_146_sse_147_sse_179_a_producer_without_the_rights_stores_nothing(sqs, user, kms, key, queue):
    url, producer = queue(KmsMasterKeyId=key["KeyId"]), user("sqs-only")
    entries = [{"Id": str(i), "MessageBody": "x"} for i in range(3)]
    refused("KMS.AccessDeniedException", producer.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.AccessDeniedException", producer.send_message_batch, QueueUrl=url, Entries=entries, status=400)
    grantee = "arn:aws:iam::000000000000:user/sqs-only"
    kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=grantee, Operations=["GenerateDataKey"])
    refused("KMS.AccessDeniedException", producer.send_message, QueueUrl=url, MessageBody="x", status=400)
    assert attributes(sqs, url, "ApproximateNumberOfMessages") == {"ApproximateNumberOfMessages": "0"}


def test_sse_158_a_grant_admits_a_producer(user, kms, key, queue):
    url = queue(KmsMasterKeyId=key["KeyId"])
    grantee = "arn:aws:iam::000000000000:user/sqs-only"
    kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=grantee, Operations=["GenerateDataKey", "Decrypt"])
    producer = user("sqs-only")
    producer.send_message(QueueUrl=url, MessageBody="granted")
    assert receive(producer, url)[0]["Body"] == "granted"


def test_sse_95_the_default_key_serves_whoever_may_use_sqs(user, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    user("sqs-only").send_message(QueueUrl=url, MessageBody="x")
    assert receive(user("sqs-only"), url)[0]["Body"] == "x"


def test_sse_126_the_estimator_gives_the_published_examples(broker):
    def estimate(billing, reuse, producers, consumers):
        options = {"--billing-seconds": billing, "--reuse-seconds": reuse, "--producers": producers, "--consumers": consumers}
        arguments = [text for name, value in options.items() for text in (name, str(value))]
        return int(broker.run("kms", "estimate", *arguments).stdout.strip().replace(",", ""))

    assert estimate(2678400, 300, 1, 1) == 26784
    assert estimate(2419200, 86400, 3, 1) + estimate(2419200, 86400, 5, 2) == 532


def test_sse_24_and_sse_25_settings_survive_a_restart(own_broker):
    sqs = own_broker.start().client()
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    before = attributes(sqs, url)["LastModifiedTimestamp"]
    time.sleep(1.1)
    given = {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "61"}
    sqs.set_queue_attributes(QueueUrl=url, Attributes=given)
    changed = attributes(sqs, url)
    assert int(changed["LastModifiedTimestamp"]) > int(before)
    own_broker.crash()
    assert attributes(sqs, url) == changed


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_sse_181_no_failure_stores_or_returns_the_wrong_form(broker, sqs, kms, user, caller, queue, fifo):
    shape = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    group = {"MessageGroupId": "g"} if fifo else {}
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    url = queue(KmsMasterKeyId=key, **shape)
    sqs.send_message(QueueUrl=url, MessageBody="the only one", **group)
    (stored,) = records(broker, url)

    def fails(who=None, secure=True):
        """Sends and receives in both protocols: an error each time, without body and without ciphertext."""
        for action, parameters in (
            ("SendMessage", {"MessageBody": "never stored", **group}),
            ("SendMessageBatch", {"Entries": [{"Id": "a", "MessageBody": "never stored", **group}]}),
            ("ReceiveMessage", {"MaxNumberOfMessages": 10}),
        ):
            asked = [caller(who).json(action, {"QueueUrl": url, **parameters}, secure=secure)]
            if action != "SendMessageBatch":
                asked.append(caller(who).form(action, {"QueueUrl": url, **parameters}, secure=secure))
            for reply in asked:
                assert 400 <= reply.status < 500, reply.text
                assert "the only one" not in reply.text and stored["ciphertext"] not in reply.text
        assert [record["ciphertext"] for record in records(broker, url)] == [stored["ciphertext"]]

    fails("sqs-only")
    fails(secure=False)
    # Somebody who has the right, and no data key in a cache.
    kms.disable_key(KeyId=key)
    fails("admin")
    kms.enable_key(KeyId=key)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    fails("admin")
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert [message["Body"] for message in receive(sqs, url)] == ["the only one"]
