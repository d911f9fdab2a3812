"""What an SDK makes of each refusal: exception class, code, fault and status."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import SQS_ERRORS, arn_of, name_of

pytestmark = pytest.mark.both_protocols


def long_batch(sqs, queue):
    entries = [{"Id": str(index), "MessageBody": "x" * 524289} for index in range(2)]
    sqs.send_message_batch(QueueUrl=queue(), Entries=entries)


def same_ids(sqs, queue):
    sqs.send_message_batch(QueueUrl=queue(), Entries=[{"Id": "a", "MessageBody": "x"}] * 2)


def bad_id(sqs, queue):
    sqs.send_message_batch(QueueUrl=queue(), Entries=[{"Id": "a.b", "MessageBody": "x"}])


def no_entries(sqs, queue):
    sqs.delete_message_batch(QueueUrl=queue(), Entries=[])


def eleven_entries(sqs, queue):
    entries = [{"Id": str(index), "ReceiptHandle": "x", "VisibilityTimeout": 1} for index in range(11)]
    sqs.change_message_visibility_batch(QueueUrl=queue(), Entries=entries)


def absent_queue(sqs, queue):
    sqs.send_message(QueueUrl=queue() + "-absent", MessageBody="x")


def absent_name(sqs, queue):
    sqs.get_queue_url(QueueName="absent")


def other_attributes(sqs, queue):
    name = name_of(queue(DelaySeconds="1"))
    sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "2"})


def deleted_name(sqs, queue):
    url = queue()
    sqs.delete_queue(QueueUrl=url)
    sqs.create_queue(QueueName=name_of(url))


def second_purge(sqs, queue):
    url = queue()
    for _ in range(2):
        sqs.purge_queue(QueueUrl=url)


def statement_21(sqs, queue):
    url = queue()
    for index in range(21):
        sqs.add_permission(QueueUrl=url, Label=str(index), AWSAccountIds=["111111111111"], Actions=["SendMessage"])


def bad_handle(sqs, queue):
    sqs.delete_message(QueueUrl=queue(), ReceiptHandle="garbage")


def unknown_attribute(sqs, queue):
    queue(Colour="blue")


def bad_attribute(sqs, queue):
    sqs.set_queue_attributes(QueueUrl=queue(), Attributes={"DelaySeconds": "901"})


def control_character(sqs, queue):
    sqs.send_message(QueueUrl=queue(), MessageBody="\x01")


def absent_source(sqs, queue):
    sqs.start_message_move_task(SourceArn=arn_of(queue()) + "-absent")


def absent_task(sqs, queue):
    sqs.list_message_move_tasks(SourceArn=arn_of(queue()) + "-absent")


def attribute_list(sqs, queue):
    given = {"x": {"DataType": "String", "StringListValues": ["a"]}}
    sqs.send_message(QueueUrl=queue(), MessageBody="x", MessageAttributes=given)


def no_body(sqs, queue):
    sqs.send_message(QueueUrl=queue())


def eleven_messages(sqs, queue):
    sqs.receive_message(QueueUrl=queue(), MaxNumberOfMessages=11)


def disabled_key(sqs, queue, kms, key):
    url = queue(KmsMasterKeyId=key["KeyId"])
    kms.disable_key(KeyId=key["KeyId"])
    sqs.send_message(QueueUrl=url, MessageBody="x")


def doomed_key(sqs, queue, kms, key):
    url = queue(KmsMasterKeyId=key["KeyId"])
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    sqs.send_message(QueueUrl=url, MessageBody="x")


def absent_key(sqs, queue):
    sqs.send_message(QueueUrl=queue(KmsMasterKeyId="alias/absent"), MessageBody="x")


PREFIX = "AWS.SimpleQueueService."
# What is done, the exception that the API model has for it, code, status.
REFUSALS = [
    (long_batch, "BatchRequestTooLong", PREFIX + "BatchRequestTooLong", 400),
    (same_ids, "BatchEntryIdsNotDistinct", PREFIX + "BatchEntryIdsNotDistinct", 400),
    (bad_id, "InvalidBatchEntryId", PREFIX + "InvalidBatchEntryId", 400),
    (no_entries, "EmptyBatchRequest", PREFIX + "EmptyBatchRequest", 400),
    (eleven_entries, "TooManyEntriesInBatchRequest", PREFIX + "TooManyEntriesInBatchRequest", 400),
    (absent_queue, "QueueDoesNotExist", PREFIX + "NonExistentQueue", 400),
    (absent_name, "QueueDoesNotExist", PREFIX + "NonExistentQueue", 400),
    (other_attributes, "QueueNameExists", "QueueAlreadyExists", 400),
    (deleted_name, "QueueDeletedRecently", PREFIX + "QueueDeletedRecently", 400),
    (second_purge, "PurgeQueueInProgress", PREFIX + "PurgeQueueInProgress", 403),
    (statement_21, "OverLimit", "OverLimit", 403),
    (bad_handle, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
    (unknown_attribute, "InvalidAttributeName", "InvalidAttributeName", 400),
    (bad_attribute, "InvalidAttributeValue", "InvalidAttributeValue", 400),
    (control_character, "InvalidMessageContents", "InvalidMessageContents", 400),
    (absent_source, "ResourceNotFoundException", "ResourceNotFoundException", 404),
    (absent_task, "ResourceNotFoundException", "ResourceNotFoundException", 404),
    (attribute_list, "UnsupportedOperation", PREFIX + "UnsupportedOperation", 400),
    (no_body, None, "MissingParameter", 400),
    (eleven_messages, None, "InvalidParameterValue", 400),
    (disabled_key, "KmsDisabled", "KMS.DisabledException", 400),
    (doomed_key, "KmsInvalidState", "KMS.InvalidStateException", 400),
    (absent_key, "KmsNotFound", "KMS.NotFoundException", 400),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal[0].__name__)
def test_a_refusal_has_its_exception_class_code_fault_and_status(sqs, queue, request, refusal):
    do, shape, code, status = refusal
    wanted = do.__code__.co_varnames[2 : do.__code__.co_argcount]
    with pytest.raises(ClientError) as caught:
        do(sqs, queue, *(request.getfixturevalue(name) for name in wanted))
    reply = caught.value.response
    assert (reply["Error"]["Code"], reply["ResponseMetadata"]["HTTPStatusCode"]) == (code, status), reply
    assert reply["Error"]["Message"], reply
    assert reply["Error"]["Type"] == "Sender", reply
    assert len(reply["ResponseMetadata"]["RequestId"]) == 36
    # The model of an SDK of 2023 does not have all of them.
    expected = shape if shape in SQS_ERRORS else "ClientError"
    assert type(caught.value).__name__ == expected
    if shape in SQS_ERRORS:
        assert isinstance(caught.value, getattr(sqs.exceptions, shape))


def test_a_receive_of_an_absent_queue_is_caught_by_its_class_while_others_pass(sqs, queue):
    found = []
    for url in (queue(), queue() + "-absent"):
        try:
            found.append(sqs.receive_message(QueueUrl=url).get("Messages"))
        except sqs.exceptions.QueueDoesNotExist as error:
            found.append(error.operation_name)
    assert found == [None, "ReceiveMessage"]


def test_each_entry_of_a_batch_fails_by_itself_with_the_code_of_the_single_call(sqs, queue):
    url = queue(MaximumMessageSize="1024")
    attribute = {"a": {"DataType": "Text", "StringValue": "x"}}
    entries = [
        {"Id": "fine", "MessageBody": "x"},
        {"Id": "long", "MessageBody": "x" * 1025},
        {"Id": "control", "MessageBody": "\x0b"},
        {"Id": "type", "MessageBody": "x", "MessageAttributes": attribute},
        {"Id": "empty", "MessageBody": ""},
    ]
    reply = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in reply["Successful"]] == ["fine"]
    failed = {entry["Id"]: (entry["Code"], entry["SenderFault"], bool(entry["Message"])) for entry in reply["Failed"]}
    assert failed == {
        "long": ("InvalidParameterValue", True, True),
        "control": ("InvalidMessageContents", True, True),
        "type": ("InvalidParameterValue", True, True),
        "empty": ("MissingParameter", True, True),
    }


def test_handles_in_batches_fail_by_themselves(sqs, queue):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    handles = {"good": message["ReceiptHandle"], "bad": "garbage"}
    hidden = [{"Id": name, "ReceiptHandle": handle, "VisibilityTimeout": 60} for name, handle in handles.items()]
    deleted = [{"Id": name, "ReceiptHandle": handle} for name, handle in handles.items()]
    for reply in (
        sqs.change_message_visibility_batch(QueueUrl=url, Entries=hidden),
        sqs.delete_message_batch(QueueUrl=url, Entries=deleted),
    ):
        assert reply["Successful"] == [{"Id": "good"}]
        (failed,) = reply["Failed"]
        assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "ReceiptHandleIsInvalid", True)


def test_a_policy_with_21_statements_is_over_the_limit(sqs, queue):
    url = queue()
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn_of(url)}
    for count in (20, 21):
        numbered = [{**statement, "Sid": str(index)} for index in range(count)]
        policy = json.dumps({"Version": "2012-10-17", "Statement": numbered})
        change = {"QueueUrl": url, "Attributes": {"Policy": policy}}
        if count == 20:
            sqs.set_queue_attributes(**change)
        else:
            with pytest.raises(sqs.exceptions.OverLimit):
                sqs.set_queue_attributes(**change)
