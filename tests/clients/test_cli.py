"""The aws command line against the broker, set up by nothing but `sealq env`."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from conftest import USERS

AWS = shutil.which("aws", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture(scope="module")
def aws(broker):
    """aws(arguments ..., VARIABLE=value ...): the parsed output of one command."""
    exports = json.loads(broker.run("env", "--shell", "json").stdout)
    unset = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {**exports, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}

    def run(*arguments, fails=False, **variables):
        command = [AWS, "--output", "json", "--endpoint-url", exports["AWS_ENDPOINT_URL"], *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**environment, **variables})
        # What a refusal exits with differs between the versions of the command line.
        assert (result.returncode != 0) == fails, f"{arguments}\n{result.stdout}\n{result.stderr}"
        return json.loads(result.stdout) if not fails and result.stdout.strip() else result.stderr

    return run


def test_env_names_endpoint_authority_credentials_and_region(broker):
    exports = json.loads(broker.run("env", "--shell", "json").stdout)
    assert exports["AWS_ENDPOINT_URL"] == broker.endpoint
    assert exports["AWS_CA_BUNDLE"] == str(broker.ca_file)
    assert exports["AWS_SHARED_CREDENTIALS_FILE"] == str(broker.credentials_file)
    assert exports["AWS_REGION"] == "us-east-1"
    command = 'eval "$1"; printf %s "$AWS_ENDPOINT_URL"'
    script = broker.run("env", "--shell", "sh").stdout
    assert subprocess.run(["sh", "-c", command, "sh", script], capture_output=True, text=True).stdout == broker.endpoint


def test_a_message_goes_through_an_encrypted_queue(aws, queue_name):
    name = queue_name()
    attributes = json.dumps({"KmsMasterKeyId": "alias/aws/sqs", "KmsDataKeyReusePeriodSeconds": "300"})
    url = aws("sqs", "create-queue", "--queue-name", name, "--attributes", attributes)["QueueUrl"]
    sent = aws("sqs", "send-message", "--queue-url", url, "--message-body", "from the command line")
    (message,) = aws("sqs", "receive-message", "--queue-url", url, "--wait-time-seconds", "2")["Messages"]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "from the command line")
    aws("sqs", "delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
    assert aws("sqs", "receive-message", "--queue-url", url) == ""
    assert url in aws("sqs", "list-queues", "--queue-name-prefix", name)["QueueUrls"]
    found = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert found["KmsMasterKeyId"] == "alias/aws/sqs"
    aws("sqs", "delete-queue", "--queue-url", url)
    assert "NonExistentQueue" in aws("sqs", "get-queue-url", "--queue-name", name, fails=True)


def test_keys_and_identity_from_the_command_line(aws):
    key = aws("kms", "create-key", "--description", "by the cli")["KeyMetadata"]["KeyId"]
    aws("kms", "create-alias", "--alias-name", f"alias/cli-{key}", "--target-key-id", key)
    assert aws("kms", "describe-key", "--key-id", f"alias/cli-{key}")["KeyMetadata"]["Description"] == "by the cli"
    made = aws("kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256")
    assert made["KeyId"].endswith(key)
    assert aws("sts", "get-caller-identity")["Arn"] == "arn:aws:iam::000000000000:root"


def test_batches_and_message_attributes_in_both_notations(aws, queue_name):
    url = aws("sqs", "create-queue", "--queue-name", queue_name(), "--attributes", "KmsMasterKeyId=alias/aws/sqs")["QueueUrl"]
    entries = [
        {
            "Id": "json",
            "MessageBody": "in JSON",
            "MessageAttributes": {
                "Größe": {"DataType": "Number.int", "StringValue": "7"},
                "raw": {"DataType": "Binary", "BinaryValue": "AAH/"},
            },
        },
        {"Id": "bad", "MessageBody": "x", "DelaySeconds": 901},
    ]
    reply = aws("sqs", "send-message-batch", "--queue-url", url, "--entries", json.dumps(entries))
    assert [entry["Id"] for entry in reply["Successful"]] == ["json"]
    assert [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in reply["Failed"]] == [
        ("bad", "InvalidParameterValue", True)
    ]
    short = "City={DataType=String,StringValue=Any City},Population={DataType=Number,StringValue=1250800}"
    aws("sqs", "send-message", "--queue-url", url, "--message-body", "in short", "--message-attributes", short)
    names = ("--message-attribute-names", "All", "--message-system-attribute-names", "All")
    messages = aws("sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10", *names)["Messages"]
    attributes = {message["Body"]: message["MessageAttributes"] for message in messages}
    assert attributes["in short"]["City"] == {"DataType": "String", "StringValue": "Any City"}
    assert attributes["in JSON"]["Größe"] == entries[0]["MessageAttributes"]["Größe"]
    assert attributes["in JSON"]["raw"]["DataType"] == "Binary"
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in messages} == {"1"}
    handles = [{"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate(messages)]
    hidden = json.dumps([{**entry, "VisibilityTimeout": 60} for entry in handles])
    assert len(aws("sqs", "change-message-visibility-batch", "--queue-url", url, "--entries", hidden)["Successful"]) == 2
    deleted = aws("sqs", "delete-message-batch", "--queue-url", url, "--entries", json.dumps(handles))
    assert len(deleted["Successful"]) == 2


def test_dead_letters_are_collected_and_moved_back_from_the_command_line(aws, queue_name, tmp_path):
    dead = aws("sqs", "create-queue", "--queue-name", queue_name())["QueueUrl"]
    arn = aws("sqs", "get-queue-attributes", "--queue-url", dead, "--attribute-names", "QueueArn")["Attributes"]["QueueArn"]
    given = tmp_path / "attributes.json"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    given.write_text(json.dumps({"KmsMasterKeyId": "alias/aws/sqs", "RedrivePolicy": policy}))
    source = aws("sqs", "create-queue", "--queue-name", queue_name(), "--attributes", f"file://{given}")["QueueUrl"]
    assert aws("sqs", "list-dead-letter-source-queues", "--queue-url", dead)["queueUrls"] == [source]
    aws("sqs", "send-message", "--queue-url", source, "--message-body", "poison")
    assert aws("sqs", "receive-message", "--queue-url", source, "--visibility-timeout", "0")["Messages"]
    assert aws("sqs", "receive-message", "--queue-url", source) == ""
    task = aws("sqs", "start-message-move-task", "--source-arn", arn)["TaskHandle"]
    (message,) = aws("sqs", "receive-message", "--queue-url", source, "--wait-time-seconds", "10")["Messages"]
    assert message["Body"] == "poison"
    (listed,) = aws("sqs", "list-message-move-tasks", "--source-arn", arn)["Results"]
    assert (listed["SourceArn"], listed["ApproximateNumberOfMessagesToMove"]) == (arn, 1)
    cancel = ("sqs", "cancel-message-move-task", "--task-handle", task)
    assert "Only active tasks can be cancelled" in aws(*cancel, fails=True)
    handle = ("--queue-url", source, "--receipt-handle", message["ReceiptHandle"])
    aws("sqs", "change-message-visibility", *handle, "--visibility-timeout", "0")
    assert aws("sqs", "receive-message", "--queue-url", source) == "", "its second delivery makes it a dead letter again"
    aws("sqs", "set-queue-attributes", "--queue-url", source, "--attributes", '{"RedrivePolicy":""}')
    assert aws("sqs", "list-dead-letter-source-queues", "--queue-url", dead)["queueUrls"] == []
    aws("sqs", "purge-queue", "--queue-url", dead)
    assert "PurgeQueueInProgress" in aws("sqs", "purge-queue", "--queue-url", dead, fails=True)


def test_a_fifo_queue_its_tags_and_permissions_from_the_command_line(aws, queue_name):
    attributes = "FifoQueue=true,ContentBasedDeduplication=true,KmsMasterKeyId=alias/aws/sqs"
    tags = ("--tags", "team=blue,stage=test")
    url = aws("sqs", "create-queue", "--queue-name", queue_name(".fifo"), "--attributes", attributes, *tags)["QueueUrl"]
    send = ("sqs", "send-message", "--queue-url", url, "--message-group-id", "g", "--message-body")
    numbers = [aws(*send, body)["SequenceNumber"] for body in ("1", "2", "2")]
    assert numbers[0] < numbers[1] == numbers[2]
    messages = aws("sqs", "receive-message", "--queue-url", url, "--max-number-of-messages", "10")["Messages"]
    assert [message["Body"] for message in messages] == ["1", "2"]
    aws("sqs", "untag-queue", "--queue-url", url, "--tag-keys", "stage")
    aws("sqs", "tag-queue", "--queue-url", url, "--tags", "owner=me")
    assert aws("sqs", "list-queue-tags", "--queue-url", url)["Tags"] == {"team": "blue", "owner": "me"}
    other = ("--label", "other", "--aws-account-ids", "111111111111", "--actions", "SendMessage", "ReceiveMessage")
    aws("sqs", "add-permission", "--queue-url", url, *other)
    found = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "Policy")
    assert json.loads(found["Attributes"]["Policy"])["Statement"][0]["Sid"] == "other"
    aws("sqs", "remove-permission", "--queue-url", url, "--label", "other")
    assert aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "Policy") == ""
    assert "QueueAlreadyExists" in aws(
        "sqs", "create-queue", "--queue-name", url.rsplit("/", 1)[-1], "--attributes", "FifoQueue=true,DelaySeconds=3", fails=True
    )


def test_queues_are_listed_page_by_page_from_the_command_line(aws, queue_name):
    stem = queue_name()
    urls = [aws("sqs", "create-queue", "--queue-name", f"{stem}-{index}")["QueueUrl"] for index in range(3)]
    prefix = ("sqs", "list-queues", "--queue-name-prefix", stem)
    assert aws(*prefix, "--page-size", "2")["QueueUrls"] == urls
    first = aws(*prefix, "--max-items", "2")
    assert first["QueueUrls"] == urls[:2]
    assert aws(*prefix, "--starting-token", first["NextToken"])["QueueUrls"] == urls[2:]


def test_secrets_are_encrypted_and_decrypted_from_files(aws, tmp_path):
    key = aws("kms", "create-key", "--tags", "TagKey=team,TagValue=blue")["KeyMetadata"]["KeyId"]
    secret, sealed = tmp_path / "secret", tmp_path / "sealed"
    secret.write_bytes(bytes(range(256)))
    context = ("--encryption-context", "purpose=test,Case=Sensitive")
    blob = aws("kms", "encrypt", "--key-id", key, "--plaintext", f"fileb://{secret}", *context)["CiphertextBlob"]
    sealed.write_bytes(base64.b64decode(blob))
    opened = aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}", *context)
    assert base64.b64decode(opened["Plaintext"]) == secret.read_bytes() and opened["KeyId"].endswith(key)
    assert "InvalidCiphertextException" in aws("kms", "decrypt", "--ciphertext-blob", f"fileb://{sealed}", fails=True)
    again = aws("kms", "re-encrypt", "--ciphertext-blob", f"fileb://{sealed}", "--source-encryption-context",
                "purpose=test,Case=Sensitive", "--destination-key-id", key)  # fmt: skip
    assert again["SourceKeyId"] == again["KeyId"]
    assert aws("kms", "list-resource-tags", "--key-id", key)["Tags"] == [{"TagKey": "team", "TagValue": "blue"}]


def test_the_life_of_a_key_from_the_command_line(aws):
    key = aws("kms", "create-key")["KeyMetadata"]["KeyId"]
    aws("kms", "enable-key-rotation", "--key-id", key)
    assert aws("kms", "get-key-rotation-status", "--key-id", key)["KeyRotationEnabled"] is True
    aws("kms", "rotate-key-on-demand", "--key-id", key)
    rotations = aws("kms", "list-key-rotations", "--key-id", key)["Rotations"]
    assert [rotation["RotationType"] for rotation in rotations] == ["ON_DEMAND"]
    policy = json.loads(aws("kms", "get-key-policy", "--key-id", key, "--policy-name", "default")["Policy"])
    assert policy["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::000000000000:root"}
    named = ("--policy-name", "default", "--policy", json.dumps({**policy, "Id": "changed"}))
    aws("kms", "put-key-policy", "--key-id", key, *named)
    assert json.loads(aws("kms", "get-key-policy", "--key-id", key)["Policy"])["Id"] == "changed"
    to = ("--grantee-principal", "arn:aws:iam::000000000000:root", "--operations", "Decrypt")
    grant = aws("kms", "create-grant", "--key-id", key, *to)["GrantId"]
    assert [each["GrantId"] for each in aws("kms", "list-grants", "--key-id", key)["Grants"]] == [grant]
    aws("kms", "revoke-grant", "--key-id", key, "--grant-id", grant)
    aws("kms", "disable-key", "--key-id", key)
    assert "DisabledException" in aws("kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256", fails=True)
    aws("kms", "enable-key", "--key-id", key)
    assert aws("kms", "schedule-key-deletion", "--key-id", key, "--pending-window-in-days", "7")["KeyState"] == "PendingDeletion"
    aws("kms", "cancel-key-deletion", "--key-id", key)
    assert aws("kms", "describe-key", "--key-id", key)["KeyMetadata"]["KeyState"] == "Disabled"
    assert key in [each["KeyId"] for each in aws("kms", "list-keys", "--page-size", "2")["Keys"]]


def test_a_role_is_assumed_and_its_session_sends(aws, queue_name):
    url = aws("sqs", "create-queue", "--queue-name", queue_name())["QueueUrl"]
    _, key, secret, _, _ = USERS["admin"]
    admin = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    assert aws("sts", "get-caller-identity", **admin)["Arn"] == "arn:aws:iam::000000000000:user/admin"
    role = ("--role-arn", "arn:aws:iam::000000000000:role/worker", "--role-session-name", "by-hand")
    session = aws("sts", "assume-role", *role, **admin)["Credentials"]
    names = {"AccessKeyId": "AWS_ACCESS_KEY_ID", "SecretAccessKey": "AWS_SECRET_ACCESS_KEY", "SessionToken": "AWS_SESSION_TOKEN"}
    as_role = {names[name]: value for name, value in session.items() if name in names}
    arn = "arn:aws:sts::000000000000:assumed-role/worker/by-hand"
    assert aws("sts", "get-caller-identity", **as_role)["Arn"] == arn
    aws("sqs", "send-message", "--queue-url", url, "--message-body", "by a role", **as_role)
    asked = ("--message-system-attribute-names", "SenderId")
    (message,) = aws("sqs", "receive-message", "--queue-url", url, *asked)["Messages"]
    assert message["Attributes"]["SenderId"].endswith(":by-hand")
    broken = {**as_role, "AWS_SESSION_TOKEN": as_role["AWS_SESSION_TOKEN"][:-8] + "AAAAAAA="}
    assert "InvalidClientTokenId" in aws("sts", "get-caller-identity", fails=True, **broken)
