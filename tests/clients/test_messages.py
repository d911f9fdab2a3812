"""Messages: send, receive, delete, visibility, batches, attributes, limits."""

import hashlib
import threading
import time

import pytest

from conftest import ALL_SYSTEM_ATTRIBUTES, PROTOCOL, attributes, receive, receive_none, refused, values

pytestmark = pytest.mark.both_protocols

KINDS = {
    "plain": {"SqsManagedSseEnabled": "false"},
    "managed": {"SqsManagedSseEnabled": "true"},
    "kms": {"KmsMasterKeyId": "alias/aws/sqs"},
}
encrypted_or_not = pytest.mark.parametrize("kind", KINDS)

# What the character classes of a message body may hold.
TEXTS = [
    "a",
    "\t",
    "\n",
    "\r",
    "line\r\nline\n",
    "  blanks at both ends  ",
    '"quotes" \\ backslash \\n \\u0041 / <tag> &amp; & ]]>',
    '{"ReceiptHandle":"not-a-handle"}',
    "\x7f\x80\x9f\xa0",
    "\ud7ff\ue000\ufffd",
    "\u2028\u2029\ufeff",
    "e\u0301 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u4e2d\u6587 \u0e44\u0e17\u0e22",
    "\U00010000\U0001f469\u200d\U0001f680\U0010ffff",
]
FORBIDDEN = ["\x00", "\x01", "\x08", "\x0b", "\x0c", "\x1f", "\ufffe", "\uffff"]
# A form has no way to write half a pair.
LONE_SURROGATES = ["\ud800", "a\udfffb"] if PROTOCOL == "json" else []


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


@encrypted_or_not
@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_sse_38_every_allowed_character_comes_back(sqs, shared_queue, kind, index):
    url, text = shared_queue(kind), TEXTS[index]
    sent = sqs.send_message(QueueUrl=url, MessageBody=text)
    assert sent["MD5OfMessageBody"] == md5(text)
    (message,) = receive(sqs, url)
    assert message["Body"] == text and message["MD5OfBody"] == md5(text)
    assert message["MessageId"] == sent["MessageId"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


@pytest.fixture(scope="module")
def shared_queue(sqs):
    """shared_queue(kind): one queue of each kind of encryption, for tests that leave it empty."""

    def url(kind):
        return sqs.create_queue(QueueName=f"messages-{kind}", Attributes=KINDS[kind])["QueueUrl"]

    return url


@pytest.mark.parametrize("text", FORBIDDEN + LONE_SURROGATES)
def test_forbidden_characters_are_refused(sqs, shared_queue, text):
    url = shared_queue("plain")
    refused("InvalidMessageContents", sqs.send_message, QueueUrl=url, MessageBody=text, status=400)


def test_an_empty_body_is_a_missing_parameter(sqs, shared_queue):
    text = refused("MissingParameter", sqs.send_message, QueueUrl=shared_queue("plain"), MessageBody="")
    assert text == "The request must contain the parameter MessageBody."


@encrypted_or_not
def test_sse_36_and_sse_37_a_body_of_one_mebibyte_is_taken_and_one_byte_more_is_not(sqs, shared_queue, kind):
    url = shared_queue(kind)
    body = ("0123456789abcdef" * 65536)[:1048576]
    assert sqs.send_message(QueueUrl=url, MessageBody=body)["MD5OfMessageBody"] == md5(body)
    (message,) = receive(sqs, url)
    assert message["Body"] == body and message["MD5OfBody"] == md5(body)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    text = refused("InvalidParameterValue", sqs.send_message, QueueUrl=url, MessageBody=body + "x")
    assert text == "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes."


@encrypted_or_not
def test_a_deleted_message_does_not_come_back(sqs, queue, kind):
    url = queue(VisibilityTimeout="1", **KINDS[kind])
    sqs.send_message(QueueUrl=url, MessageBody="once")
    (message,) = receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    time.sleep(1.2)
    assert receive_none(sqs, url)


@encrypted_or_not
def test_a_message_becomes_visible_again_after_its_timeout(sqs, queue, kind):
    url = queue(VisibilityTimeout="1", **KINDS[kind])
    sqs.send_message(QueueUrl=url, MessageBody="again")
    (first,) = receive(sqs, url, **ALL_SYSTEM_ATTRIBUTES)
    assert receive_none(sqs, url)
    (second,) = receive(sqs, url, **ALL_SYSTEM_ATTRIBUTES)
    assert second["MessageId"] == first["MessageId"] and second["ReceiptHandle"] != first["ReceiptHandle"]
    assert (first["Attributes"]["ApproximateReceiveCount"], second["Attributes"]["ApproximateReceiveCount"]) == ("1", "2")
    assert first["Attributes"]["SentTimestamp"] == second["Attributes"]["SentTimestamp"]


def test_change_message_visibility_releases_and_hides(sqs, queue):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = receive(sqs, url)
    change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    sqs.change_message_visibility(VisibilityTimeout=0, **change)
    (message,) = receive(sqs, url)
    change = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    sqs.change_message_visibility(VisibilityTimeout=1, **change)
    assert receive_none(sqs, url)
    assert len(receive(sqs, url)) == 1
    refused("InvalidParameterValue", sqs.change_message_visibility, VisibilityTimeout=43201, **change)


def test_change_message_visibility_batch_reports_each_entry(sqs, queue):
    url = queue()
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "x"} for i in range(2)])
    handles = [message["ReceiptHandle"] for message in receive(sqs, url, 2)]
    entries = [{"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": 0} for i, handle in enumerate(handles)]
    entries.append({"Id": "bad", "ReceiptHandle": "garbage", "VisibilityTimeout": 0})
    reply = sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    assert {entry["Id"] for entry in reply["Successful"]} == {"0", "1"}
    (failed,) = reply["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", "ReceiptHandleIsInvalid", True)
    assert len(receive(sqs, url, 2)) == 2


def test_a_receipt_handle_is_bound_to_its_queue(sqs, queue):
    url, other = queue(), queue()
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (message,) = receive(sqs, url)
    handle = message["ReceiptHandle"]
    for bad_url, bad_handle in ((url, "garbage"), (other, handle), (url, handle[:-4] + "AAAA")):
        call = {"QueueUrl": bad_url, "ReceiptHandle": bad_handle}
        refused("ReceiptHandleIsInvalid", sqs.delete_message, status=404, **call)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    text = refused("InvalidParameterValue", sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=1)
    assert text.endswith("Reason: Message does not exist or is not available for visibility timeout change.")


@encrypted_or_not
def test_a_batch_of_ten_is_sent_received_and_deleted(sqs, queue, kind):
    url = queue(**KINDS[kind])
    bodies = {str(index): f"body {index} \u00e9" for index in range(10)}
    reply = sqs.send_message_batch(
        QueueUrl=url, Entries=[{"Id": key, "MessageBody": body} for key, body in bodies.items()]
    )
    assert "Failed" not in reply
    assert {entry["Id"]: entry["MD5OfMessageBody"] for entry in reply["Successful"]} == {
        key: md5(body) for key, body in bodies.items()
    }
    messages = receive(sqs, url, 10)
    assert sorted(message["Body"] for message in messages) == sorted(bodies.values())
    entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
    reply = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    assert len(reply["Successful"]) == 10 and "Failed" not in reply
    assert attributes(sqs, url, "ApproximateNumberOfMessagesNotVisible") == {"ApproximateNumberOfMessagesNotVisible": "0"}


@encrypted_or_not
def test_a_batch_takes_the_good_entries_and_reports_the_bad_ones(sqs, queue, kind):
    url = queue(MaximumMessageSize="1024", **KINDS[kind])
    entries = [
        {"Id": "good", "MessageBody": "x" * 1024},
        {"Id": "long", "MessageBody": "x" * 1025},
        {"Id": "control", "MessageBody": "\x01"},
        {"Id": "delay", "MessageBody": "x", "DelaySeconds": 901},
        {"Id": "fine", "MessageBody": "y"},
    ]
    reply = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert [entry["Id"] for entry in reply["Successful"]] == ["good", "fine"]
    failed = {entry["Id"]: (entry["Code"], entry["SenderFault"]) for entry in reply["Failed"]}
    assert failed == {
        "long": ("InvalidParameterValue", True),
        "control": ("InvalidMessageContents", True),
        "delay": ("InvalidParameterValue", True),
    }
    assert len(receive(sqs, url, 2)) == 2 and receive_none(sqs, url)


def test_batches_as_a_whole_are_refused(sqs, queue):
    url = queue()
    entry = {"Id": "a", "MessageBody": "x"}
    cases = [
        ("EmptyBatchRequest", []),
        ("TooManyEntriesInBatchRequest", [{"Id": str(i), "MessageBody": "x"} for i in range(11)]),
        ("BatchEntryIdsNotDistinct", [entry, entry]),
        ("InvalidBatchEntryId", [{"Id": "a b", "MessageBody": "x"}]),
        ("BatchRequestTooLong", [{"Id": str(i), "MessageBody": "x" * 524289} for i in range(2)]),
    ]
    for code, entries in cases:
        refused(f"AWS.SimpleQueueService.{code}", sqs.send_message_batch, QueueUrl=url, Entries=entries, status=400)
    assert receive_none(sqs, url)


@encrypted_or_not
def test_sse_34_message_attributes_come_back_with_the_digest_of_what_is_returned(sqs, queue, kind):
    url = queue(**KINDS[kind])
    given = {
        "Help.Me": {"DataType": "String", "StringValue": "Me"},
        "Hello": {"DataType": "String", "StringValue": "There"},
        "General": {"DataType": "String", "StringValue": "Kenobi"},
    }
    sent = sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=given)
    assert sent["MD5OfMessageAttributes"] == "4c360f3fdafd970e05fae2f149d997f5"
    for names, digest, expected in [
        (["All"], "4c360f3fdafd970e05fae2f149d997f5", set(given)),
        (["Hel.*"], "83fee93c1bcd8b9a5a923ffacdc636c7", {"Hello", "Help.Me"}),
        (["Hello"], "a311262e065454b75da111d535b8dacd", {"Hello"}),
    ]:
        (message,) = receive(sqs, url, MessageAttributeNames=names, VisibilityTimeout=0)
        assert message["MD5OfMessageAttributes"] == digest
        assert message["MessageAttributes"] == {name: given[name] for name in expected}
    (message,) = receive(sqs, url)
    assert "MessageAttributes" not in message and "MD5OfMessageAttributes" not in message


def test_binary_number_and_trace_attributes_come_back(sqs, queue):
    url = queue()
    given = {
        "b": {"DataType": "String", "StringValue": "2"},
        "a": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
        "C": {"DataType": "Number.int", "StringValue": "42"},
    }
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    sent = sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=given, MessageSystemAttributes=system)
    assert sent["MD5OfMessageAttributes"] == "7bc7c8bd65cf98df5791b7c7bdf74e6e"
    assert sent["MD5OfMessageSystemAttributes"] == "5ae4d5d7636402d80f4eb6d213245a88"
    (message,) = receive(sqs, url, MessageAttributeNames=["All"], **ALL_SYSTEM_ATTRIBUTES)
    assert message["MessageAttributes"] == given
    assert message["Attributes"]["AWSTraceHeader"] == trace
    assert message["Attributes"]["SenderId"] == "000000000000"


def test_bad_message_attributes_are_refused(sqs, queue):
    url = queue()
    bad = [
        {"AWS.x": {"DataType": "String", "StringValue": "x"}},
        {".x": {"DataType": "String", "StringValue": "x"}},
        {"x": {"DataType": "Text", "StringValue": "x"}},
        {"x": {"DataType": "String", "StringValue": ""}},
        {"x": {"DataType": "Number", "StringValue": "eleven"}},
        {f"x{i}": {"DataType": "String", "StringValue": "x"} for i in range(11)},
    ]
    for given in bad:
        call = {"QueueUrl": url, "MessageBody": "x", "MessageAttributes": given}
        refused("InvalidParameterValue", sqs.send_message, status=400, **call)


@encrypted_or_not
def test_a_long_poll_ends_when_a_message_comes(broker, sqs, queue, kind):
    url, sender = queue(**KINDS[kind]), broker.client()
    sqs.send_message(QueueUrl=url, MessageBody="warm")
    (warm,) = receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=warm["ReceiptHandle"])
    timer = threading.Timer(1.0, lambda: sender.send_message(QueueUrl=url, MessageBody="late"))
    timer.start()
    begun = time.monotonic()
    reply = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
    waited = time.monotonic() - begun
    timer.join()
    assert [message["Body"] for message in reply["Messages"]] == ["late"]
    assert 0.9 < waited < 3, waited


def test_a_long_poll_without_messages_ends_at_its_time(sqs, queue):
    url = queue(ReceiveMessageWaitTimeSeconds="2")
    begun = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert 1.8 < time.monotonic() - begun < 3.5
    begun = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=0)
    assert time.monotonic() - begun < 1
    refused("InvalidParameterValue", sqs.receive_message, QueueUrl=url, WaitTimeSeconds=21)
    text = refused("InvalidParameterValue", sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=11)
    assert text == "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."


@encrypted_or_not
def test_a_delayed_message_is_counted_and_comes_when_it_is_due(sqs, queue, kind):
    url = queue(DelaySeconds="2", **KINDS[kind])
    sqs.send_message(QueueUrl=url, MessageBody="queue delay")
    sqs.send_message(QueueUrl=url, MessageBody="no delay", DelaySeconds=0)
    assert attributes(sqs, url, "ApproximateNumberOfMessagesDelayed") == {"ApproximateNumberOfMessagesDelayed": "1"}
    assert [message["Body"] for message in receive(sqs, url)] == ["no delay"]
    begun = time.monotonic()
    reply = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)
    assert [message["Body"] for message in reply["Messages"]] == ["queue delay"]
    assert time.monotonic() - begun < 4


def test_counters_are_exact(sqs, queue):
    url = queue()
    names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "x"} for i in range(5)])
    received = receive(sqs, url, 2)
    assert values(sqs, url, *names) == ["3", "2"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
    assert values(sqs, url, *names) == ["3", "1"]
    sqs.purge_queue(QueueUrl=url)
    assert values(sqs, url, *names) == ["0", "0"]
    refused("AWS.SimpleQueueService.PurgeQueueInProgress", sqs.purge_queue, QueueUrl=url, status=403)
    sqs.send_message(QueueUrl=url, MessageBody="after the purge")
    assert [message["Body"] for message in receive(sqs, url)] == ["after the purge"]


def test_sse_40_concurrent_receivers_never_share_a_message(broker, sqs, queue):
    url = queue(KmsMasterKeyId="alias/aws/sqs")
    for start in range(0, 100, 10):
        sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": str(i)} for i in range(start, start + 10)])
    seen, lock = [], threading.Lock()

    def drain():
        client = broker.client()
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            with lock:
                seen.extend(message["Body"] for message in messages)

    threads = [threading.Thread(target=drain) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(seen, key=int) == [str(i) for i in range(100)]


def test_empty_lists_count_as_absent(sqs, queue):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes={})
    asked = {"AttributeNames": [], "MessageAttributeNames": []}
    (message,) = receive(sqs, url, **asked)
    assert not {"Attributes", "MessageAttributes"} & set(message)
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[])
    refused("MissingParameter", sqs.tag_queue, QueueUrl=url, Tags={})
    refused("MissingParameter", sqs.untag_queue, QueueUrl=url, TagKeys=[])
    refused("MissingParameter", sqs.add_permission, QueueUrl=url, Label="l", AWSAccountIds=[], Actions=["SendMessage"])
