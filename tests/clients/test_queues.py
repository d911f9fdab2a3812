"""Queues: making, finding, listing, attributes, tags, deletion."""

import pytest

import wire
from conftest import arn_of, attributes, name_of, refused

pytestmark = pytest.mark.both_protocols

SSE_CLASH = (
    "You can use one type of server-side encryption (SSE) at one time. "
    "You can either enable KMS SSE or SQS SSE."
)


def test_a_new_queue_shows_exactly_the_default_attributes(sqs, queue):
    url = queue()
    found = attributes(sqs, url)
    assert set(found) == {
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesDelayed",
        "ApproximateNumberOfMessagesNotVisible",
        "CreatedTimestamp",
        "DelaySeconds",
        "LastModifiedTimestamp",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "QueueArn",
        "ReceiveMessageWaitTimeSeconds",
        "SqsManagedSseEnabled",
        "VisibilityTimeout",
    }
    assert found["QueueArn"] == arn_of(url)
    assert (found["MaximumMessageSize"], found["VisibilityTimeout"]) == ("1048576", "30")
    assert (found["MessageRetentionPeriod"], found["DelaySeconds"]) == ("345600", "0")


def test_get_queue_url_finds_what_create_queue_made(sqs, queue):
    url = queue()
    assert sqs.get_queue_url(QueueName=name_of(url))["QueueUrl"] == url
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName="absent", status=400)


def test_create_queue_again_with_equal_attributes_returns_the_same_url(sqs, queue_name):
    name = queue_name()
    first = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "30"})["QueueUrl"]
    assert sqs.create_queue(QueueName=name)["QueueUrl"] == first
    assert sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "030"})["QueueUrl"] == first
    text = refused("QueueAlreadyExists", sqs.create_queue, QueueName=name, Attributes={"DelaySeconds": "31"})
    assert text == "A queue already exists with the same name and a different value for attribute DelaySeconds"


@pytest.mark.parametrize("name", ["", "a" * 81, "bad name", "bad/name", "bad.name", "ends.fifo"])
def test_a_bad_queue_name_is_refused(sqs, name):
    refused("InvalidParameterValue", sqs.create_queue, QueueName=name, status=400)


def test_a_fifo_queue_needs_its_suffix(sqs):
    text = refused("InvalidParameterValue", sqs.create_queue, QueueName="no-suffix", Attributes={"FifoQueue": "true"})
    assert "must end with .fifo suffix" in text


def test_list_queues_pages_by_name(sqs, queue_name):
    prefix = queue_name()
    names = sorted(f"{prefix}-{index}" for index in range(7))
    for name in names:
        sqs.create_queue(QueueName=name)
    found, token, pages = [], None, 0
    while True:
        page = {"NextToken": token} if token else {}
        reply = sqs.list_queues(QueueNamePrefix=prefix, MaxResults=3, **page)
        found += [name_of(url) for url in reply["QueueUrls"]]
        pages += 1
        token = reply.get("NextToken")
        if not token:
            break
    assert (found, pages) == (names, 3)
    whole = sqs.list_queues(QueueNamePrefix=prefix)
    assert len(whole["QueueUrls"]) == 7 and "NextToken" not in whole
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=prefix + "-none")
    refused("InvalidParameterValue", sqs.list_queues, MaxResults=1001)


def test_set_queue_attributes_is_all_or_nothing(sqs, queue):
    url = queue()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "7", "DelaySeconds": "3"})
    assert attributes(sqs, url, "VisibilityTimeout", "DelaySeconds") == {"VisibilityTimeout": "7", "DelaySeconds": "3"}
    wrong = {"VisibilityTimeout": "8", "DelaySeconds": "901"}
    refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=wrong)
    assert attributes(sqs, url, "VisibilityTimeout") == {"VisibilityTimeout": "7"}
    text = refused("InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=url, Attributes={"Foobar": "1"})
    assert text == "Unknown Attribute Foobar."
    text = refused("InvalidAttributeName", sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["Foobar"])
    assert text == "Unknown Attribute Foobar."


@pytest.mark.parametrize(
    "name, low, high",
    [
        ("DelaySeconds", 0, 900),
        ("MaximumMessageSize", 1024, 1048576),
        ("MessageRetentionPeriod", 60, 1209600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20),
        ("VisibilityTimeout", 0, 43200),
    ],
)
def test_numeric_attributes_are_taken_at_their_limits_and_not_beyond(sqs, queue, name, low, high):
    url = queue()
    for value in (low, high):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={name: str(value)})
        assert attributes(sqs, url, name) == {name: str(value)}
    for value in (low - 1, high + 1, "x"):
        refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes={name: str(value)})


def test_no_names_asked_no_attributes_returned(sqs, queue):
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue())


def test_a_deleted_queue_is_gone_and_its_name_waits_a_minute(sqs, queue):
    url = queue()
    sqs.delete_queue(QueueUrl=url)
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"])
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.send_message, QueueUrl=url, MessageBody="x")
    refused("AWS.SimpleQueueService.QueueDeletedRecently", sqs.create_queue, QueueName=name_of(url))


def test_tags_are_set_listed_and_removed(sqs, queue):
    url = queue()
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)
    sqs.tag_queue(QueueUrl=url, Tags={"team": "blue", "Team": "red", "cost:centre": ""})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "blue", "Team": "red", "cost:centre": ""}
    sqs.untag_queue(QueueUrl=url, TagKeys=["team", "absent"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"Team": "red", "cost:centre": ""}


def test_a_queue_is_found_by_bare_name_and_by_path(sqs, caller, queue):
    url = queue()
    for given in (name_of(url), f"https://sqs.us-east-1.amazonaws.com/{url.split('/', 3)[3]}"):
        assert attributes(sqs, given, "QueueArn") == {"QueueArn": arn_of(url)}
    path = "/" + url.split("/", 3)[3]
    reply = caller().json("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["QueueArn"]}, path=path)
    assert reply.json()["Attributes"] == {"QueueArn": arn_of(url)}


def test_permissions_are_added_to_and_removed_from_the_policy(sqs, queue):
    url = queue()
    sqs.add_permission(QueueUrl=url, Label="l1", AWSAccountIds=["111111111111"], Actions=["ReceiveMessage"])
    assert '"Sid":"l1"' in attributes(sqs, url, "Policy")["Policy"]
    sqs.remove_permission(QueueUrl=url, Label="l1")
    assert attributes(sqs, url, "Policy") == {}
    text = refused("InvalidParameterValue", sqs.remove_permission, QueueUrl=url, Label="l1")
    assert text == "Value l1 for parameter Label is invalid. Reason: can't find label."


def test_an_unknown_action_and_a_malformed_body_are_refused(broker, caller):
    assert caller().json("FooBar", {}).code() in ("InvalidAction", "com.amazon.coral.service#UnknownOperationException")
    malformed = caller().json("ListQueues", {}, alter=lambda headers, body: (headers, b"{}{"))
    assert malformed.status in (400, 403)
    assert wire.exchange(broker, "GET", "/healthz").status == 200


def test_sse_1_and_sse_2_a_key_id_turns_sse_kms_on_and_is_returned_as_given(sqs, queue):
    for given in ("alias/some-key", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:us-east-1:000000000000:alias/x"):
        created = queue(KmsMasterKeyId=given)
        changed = queue()
        sqs.set_queue_attributes(QueueUrl=changed, Attributes={"KmsMasterKeyId": given})
        for url in (created, changed):
            found = attributes(sqs, url)
            assert (found["KmsMasterKeyId"], found["SqsManagedSseEnabled"]) == (given, "false")


def test_sse_5_the_reuse_period_is_300_seconds_by_default(sqs, queue):
    assert attributes(sqs, queue(KmsMasterKeyId="alias/x"))["KmsDataKeyReusePeriodSeconds"] == "300"


def test_sse_6_and_sse_7_the_reuse_period_has_its_limits(sqs, queue):
    url = queue(KmsMasterKeyId="alias/x")
    for value in ("60", "86400"):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsDataKeyReusePeriodSeconds": value})
        assert attributes(sqs, url)["KmsDataKeyReusePeriodSeconds"] == value
    for value in ("59", "86401", "-1", "abc", ""):
        change = {"KmsDataKeyReusePeriodSeconds": value}
        refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=change, status=400)
        assert attributes(sqs, url)["KmsDataKeyReusePeriodSeconds"] == "86400"


def test_sse_8_and_sse_9_kms_attributes_are_absent_while_sse_kms_is_off(sqs, queue):
    for url in (queue(), queue(SqsManagedSseEnabled="false")):
        assert not {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"} & set(attributes(sqs, url))


def test_sse_10_and_sse_11_an_empty_key_id_turns_sse_off_for_good(sqs, queue):
    url = queue(KmsMasterKeyId="alias/x", KmsDataKeyReusePeriodSeconds="60")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": ""})
    found = attributes(sqs, url)
    assert not {"KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"} & set(found)
    assert found["SqsManagedSseEnabled"] == "false"


def test_sse_12_a_null_key_id_does_not_turn_sse_off(sqs, caller, queue):
    url = queue(KmsMasterKeyId="alias/x")
    caller().json("SetQueueAttributes", {"QueueUrl": url, "Attributes": {"KmsMasterKeyId": None}})
    assert attributes(sqs, url)["KmsMasterKeyId"] == "alias/x"


def test_sse_13_a_queue_created_over_https_has_sse_sqs(sqs, queue):
    assert attributes(sqs, queue())["SqsManagedSseEnabled"] == "true"


def test_sse_14_a_queue_created_over_plain_http_has_no_sse(sqs, plain_sqs, queue_name):
    url = plain_sqs.create_queue(QueueName=queue_name())["QueueUrl"]
    assert attributes(sqs, url)["SqsManagedSseEnabled"] == "false"
    plain_sqs.send_message(QueueUrl=url, MessageBody="over http")
    assert plain_sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "over http"


def test_sse_15_a_key_id_flips_sse_sqs_off(sqs, queue):
    url = queue()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "alias/x"})
    assert attributes(sqs, url)["SqsManagedSseEnabled"] == "false"


def test_sse_16_and_sse_17_both_kinds_at_once_are_refused(sqs, queue, queue_name):
    url, both = queue(SqsManagedSseEnabled="false"), {"KmsMasterKeyId": "alias/x", "SqsManagedSseEnabled": "true"}
    assert refused("InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=url, Attributes=both) == SSE_CLASH
    assert attributes(sqs, url)["SqsManagedSseEnabled"] == "false"
    name = queue_name()
    assert refused("InvalidAttributeName", sqs.create_queue, QueueName=name, Attributes=both) == SSE_CLASH
    refused("AWS.SimpleQueueService.NonExistentQueue", sqs.get_queue_url, QueueName=name)


def test_sse_18_to_sse_21_the_other_switches_of_sse(sqs, queue):
    url = queue(KmsMasterKeyId="alias/x", SqsManagedSseEnabled="false")
    assert attributes(sqs, url)["KmsMasterKeyId"] == "alias/x"
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "True"})
    found = attributes(sqs, url)
    assert found["SqsManagedSseEnabled"] == "true" and "KmsMasterKeyId" not in found
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "FALSE"})
    assert attributes(sqs, url)["SqsManagedSseEnabled"] == "false"
    change = {"SqsManagedSseEnabled": "maybe"}
    refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=change)


def test_sse_22_create_queue_compares_the_sse_attributes(sqs, queue_name):
    name, given = queue_name(), {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "60"}
    url = sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"]
    assert sqs.create_queue(QueueName=name, Attributes=given)["QueueUrl"] == url
    different = [
        {"KmsMasterKeyId": "alias/y"},
        {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "61"},
        {"SqsManagedSseEnabled": "true"},
    ]
    for other in different:
        refused("QueueAlreadyExists", sqs.create_queue, QueueName=name, Attributes=other)


def test_sse_23_fifo_queues_take_the_same_attributes(sqs, queue):
    url = queue(FifoQueue="true", KmsMasterKeyId="alias/x")
    found = attributes(sqs, url)
    assert (found["FifoQueue"], found["KmsMasterKeyId"]) == ("true", "alias/x")


def test_sse_3_a_key_that_does_not_exist_is_accepted(sqs, queue):
    assert attributes(sqs, queue(KmsMasterKeyId="testKeyId"))["KmsMasterKeyId"] == "testKeyId"
