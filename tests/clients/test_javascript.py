"""JavaScript's clients, set up by nothing but `sealq env`: the AWS SDK, sqs-consumer, sqs-producer."""

import json
import os
import pathlib
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).parent / "js"


@pytest.mark.parametrize("script", ["client", "consumer", "producer"])
def test_javascript_clients_work_on_encrypted_queues(broker, script):
    environment = {**os.environ, **json.loads(broker.run("env", "--shell", "json").stdout)}
    command = ["node", "--test", "--test-timeout=60000", "--test-reporter=tap", f"{script}.test.mjs"]
    result = subprocess.run(command, cwd=SCRIPTS, env=environment, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stdout + result.stderr
