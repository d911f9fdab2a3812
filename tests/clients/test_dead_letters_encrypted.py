"""What a move between queues does to encryption: nothing."""

import json

import pytest

from conftest import arn_of, receive, receive_none, refused
from stored_record import moved_records, open_record, records, sealed


def redrive_to(url):
    return json.dumps({"deadLetterTargetArn": arn_of(url), "maxReceiveCount": 1})


def fail_once(sqs, url):
    """Receives the message of `url` and lets the next receive move it on."""
    receive(sqs, url, VisibilityTimeout=0)
    assert receive_none(sqs, url)



@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
@pytest.mark.parametrize("managed", [False, True], ids=["kms", "managed"])
def test_sse_55_sse_56_sse_62_sse_64_sse_65_a_move_keeps_the_envelope(broker, sqs, queue, fifo, managed):
    shape = {"FifoQueue": "true", "ContentBasedDeduplication": "true"} if fifo else {}
    encryption = {"SqsManagedSseEnabled": "true"} if managed else {"KmsMasterKeyId": "alias/aws/sqs"}
    group = {"MessageGroupId": "g"} if fifo else {}
    off = {"SqsManagedSseEnabled": "false"}
    for source_sse, dead_sse, mode in [(encryption, off, "managed" if managed else "kms"), (off, encryption, "none")]:
        dead = queue(**shape, **dead_sse)
        redrive = json.dumps({"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": 1})
        source = queue(RedrivePolicy=redrive, **shape, **source_sse)
        sqs.send_message(QueueUrl=source, MessageBody="moved", **group)
        (before,) = records(broker, source)
        receive(sqs, source, VisibilityTimeout=0)
        assert receive_none(sqs, source)
        (after,) = moved_records(broker, dead)
        assert before["mode"] == after["mode"] == mode and sealed(before) == sealed(after)
        assert receive(sqs, dead, VisibilityTimeout=0)[0]["Body"] == "moved"
        sqs.start_message_move_task(SourceArn=arn_of(dead))
        assert receive(sqs, source)[0]["Body"] == "moved"
        (back,) = moved_records(broker, source)
        assert sealed(back) == sealed(before) and back["message_id"] != before["message_id"]


def test_sse_58_a_moved_message_is_opened_with_its_first_queue_as_context(broker, sqs, kms, key, queue):
    dead = queue(SqsManagedSseEnabled="false")
    redrive = json.dumps({"deadLetterTargetArn": arn_of(dead), "maxReceiveCount": 1})
    source = queue(RedrivePolicy=redrive, KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=source, MessageBody="moved")
    receive(sqs, source, VisibilityTimeout=0)
    assert receive_none(sqs, source)
    (record,) = moved_records(broker, dead)
    assert record["context_arn"] == arn_of(source) and record["queue_arn"] == arn_of(dead)
    assert open_record(kms, record) == "moved"


def test_sse_63_two_moves_keep_the_first_envelope(broker, sqs, queue):
    last = queue(SqsManagedSseEnabled="false")
    middle = queue(RedrivePolicy=json.dumps({"deadLetterTargetArn": arn_of(last), "maxReceiveCount": 2}))
    first = queue(RedrivePolicy=redrive_to(middle), KmsMasterKeyId="alias/aws/sqs")
    sqs.send_message(QueueUrl=first, MessageBody="twice")
    (before,) = records(broker, first)
    fail_once(sqs, first)
    fail_once(sqs, middle)
    (after,) = moved_records(broker, last)
    assert sealed(after) == sealed(before) and after["context_arn"] == arn_of(first)
    assert receive(sqs, last)[0]["Body"] == "twice"


def test_sse_57_sse_59_sse_60_a_moved_message_needs_the_key_of_its_source(sqs, user, kms, queue):
    source_key, dead_key = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    dead = queue(KmsMasterKeyId=dead_key)
    source = queue(RedrivePolicy=redrive_to(dead), KmsMasterKeyId=source_key)
    sqs.send_message(QueueUrl=source, MessageBody="from the source")
    fail_once(sqs, source)
    consumer = user("sqs-only")
    grant = {"GranteePrincipal": "arn:aws:iam::000000000000:user/sqs-only", "Operations": ["Decrypt"]}
    kms.create_grant(KeyId=dead_key, **grant)
    refused("KMS.AccessDeniedException", consumer.receive_message, QueueUrl=dead, status=400)
    sqs.send_message(QueueUrl=dead, MessageBody="of the dead-letter queue")
    assert [message["Body"] for message in receive(consumer, dead, VisibilityTimeout=0)] == ["of the dead-letter queue"]
    kms.create_grant(KeyId=source_key, **grant)
    assert sorted(message["Body"] for message in receive(consumer, dead, 2)) == [
        "from the source",
        "of the dead-letter queue",
    ]


def test_sse_61_sse_66_moves_need_no_key(broker, sqs, kms, key, queue):
    dead = queue(SqsManagedSseEnabled="false")
    source = queue(RedrivePolicy=redrive_to(dead), KmsMasterKeyId=key["KeyId"])
    sqs.send_message(QueueUrl=source, MessageBody="moved without a key")
    receive(sqs, source, VisibilityTimeout=0)
    kms.disable_key(KeyId=key["KeyId"])
    calls = broker.metric("sealq_kms_calls_total")
    assert receive_none(sqs, source)
    assert len(moved_records(broker, dead)) == 1
    sqs.start_message_move_task(SourceArn=arn_of(dead))
    assert len(moved_records(broker, source)) == 1 and records(broker, dead) == []
    assert broker.metric("sealq_kms_calls_total") == calls
    kms.enable_key(KeyId=key["KeyId"])
    assert receive(sqs, source)[0]["Body"] == "moved without a key"


def test_sse_67_after_a_redrive_the_key_of_the_first_queue_is_needed_in_its_context(broker, sqs, user, kms, queue):
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    dead, target = queue(), queue()
    source = queue(RedrivePolicy=redrive_to(dead), KmsMasterKeyId=key)
    sqs.send_message(QueueUrl=source, MessageBody="redriven")
    fail_once(sqs, source)
    assert len(moved_records(broker, dead)) == 1
    sqs.start_message_move_task(SourceArn=arn_of(dead), DestinationArn=arn_of(target))
    assert len(moved_records(broker, target)) == 1
    consumer = user("sqs-only")
    refused("KMS.AccessDeniedException", consumer.receive_message, QueueUrl=target, status=400)
    grant = {"GranteePrincipal": "arn:aws:iam::000000000000:user/sqs-only", "Operations": ["Decrypt"], "KeyId": key}
    for context, received in ((target, False), (source, True)):
        kms.create_grant(**grant, Constraints={"EncryptionContextEquals": {"aws:sqs:arn": arn_of(context)}})
        if received:
            assert [message["Body"] for message in receive(consumer, target)] == ["redriven"]
        else:
            refused("KMS.AccessDeniedException", consumer.receive_message, QueueUrl=target, status=400)
