"""Amazon's SDK for Rust: the crate in rust/, whose tests take endpoint, authority and key from the environment."""

import json
import os
import pathlib
import subprocess

MANIFEST = pathlib.Path(__file__).parent / "rust" / "Cargo.toml"


def test_the_rust_sdk_works_on_encrypted_queues(broker):
    access_key, secret_key = broker.root_credentials()
    own = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    environment = {**os.environ, **json.loads(broker.run("env", "--shell", "json").stdout), **own}
    command = ["cargo", "test", "--quiet", "--locked", "--manifest-path", MANIFEST]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
