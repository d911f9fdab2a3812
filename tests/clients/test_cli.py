"""The aws command line against the broker, set up by nothing but `sealq env`."""

import json
import os
import shutil
import subprocess
import sys
import pathlib

import pytest

AWS = shutil.which("aws", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")


@pytest.fixture(scope="module")
def aws(broker):
    """aws(arguments ...): the parsed output of one command."""
    exports = json.loads(broker.run("env", "--shell", "json").stdout)
    unset = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {**exports, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"}

    def run(*arguments, fails=False):
        command = [AWS, "--output", "json", "--endpoint-url", exports["AWS_ENDPOINT_URL"], *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
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
