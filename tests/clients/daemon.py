"""A sealq process in a directory of its own, started from the release binary as an operator would.

Knows the daemon's commands, settings and files; nothing of how it works inside.
"""

import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import boto3
import botocore.config

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("SEALQ_BIN", ROOT / "target" / "release" / "sealq"))
REGION = "us-east-1"
ACCOUNT = "000000000000"
FOREIGN_ACCOUNT = "111111111111"
READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 15


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    """One data directory, one secrets directory, three ports, and the process that serves them."""

    def __init__(self, home, extra_settings="", environment=None):
        self.home = pathlib.Path(home)
        self.data = self.home / "data"
        self.secrets = self.home / "secrets"
        self.config = self.home / "sealq.toml"
        self.log_file = self.home / "broker.log"
        self.environment = environment or {}
        self.process = None
        self.https_port, self.http_port, self.metrics_port = free_port(), free_port(), free_port()
        self.endpoint = f"https://127.0.0.1:{self.https_port}"
        self.http_endpoint = f"http://127.0.0.1:{self.http_port}"
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f'data_dir = "{self.data}"\n'
            f'secrets_dir = "{self.secrets}"\n'
            "[listen]\n"
            f'https = "127.0.0.1:{self.https_port}"\n'
            f'http = "127.0.0.1:{self.http_port}"\n'
            f'metrics = "127.0.0.1:{self.metrics_port}"\n' + extra_settings
        )

    # The process

    def start(self):
        assert self.process is None, "it runs already"
        environment = {**os.environ, **self.environment}
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--config", self.config], stdout=log, stderr=log, env=environment
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            if self.http_status("/readyz") == 200:
                return self
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"not ready after {READY_SECONDS_MAX} s:\n{self.log()[-4000:]}")

    def stop(self):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS_MAX)
        self.process = None
        return status

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        assert self.stop() == 0, self.log()[-4000:]
        return self.start()

    def crash(self):
        self.kill()
        return self.start()

    def reload(self):
        """SIGHUP, and the moment it takes."""
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def run(self, *arguments, check=True):
        """A sealq command on these directories."""
        command = [BINARY, *arguments, "--config", self.config]
        environment = {**os.environ, **self.environment}
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
        if check:
            assert result.returncode == 0, f"{arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def inspect(self, queue=None):
        """The stored records, as `sealq inspect --json` prints them."""
        arguments = ["inspect", "--json"] + (["--queue", queue] if queue else [])
        return [json.loads(line) for line in self.run(*arguments).stdout.splitlines() if line.strip()]

    # The listeners

    def http_status(self, path):
        try:
            with urllib.request.urlopen(self.http_endpoint + path, timeout=2) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as reply:
            return reply.read().decode()

    def metric(self, name, **labels):
        """Sum of the samples of `name` that carry all of `labels`."""
        total = 0.0
        for line in self.metrics().splitlines():
            if line.startswith("#") or not line.strip():
                continue
            series, value = line.rsplit(" ", 1)
            if series.split("{", 1)[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
                total += float(value)
        return total

    def kms_calls(self, queue, action=None):
        labels = {"queue": queue, **({"action": action} if action else {})}
        return self.metric("sealq_kms_calls_total", **labels)

    # Clients

    @property
    def ca_file(self):
        return self.secrets / "tls" / "ca.pem"

    @property
    def credentials_file(self):
        return self.secrets / "credentials"

    def root_credentials(self):
        values = {}
        for line in self.credentials_file.read_text().splitlines():
            if "=" in line:
                name, value = line.split("=", 1)
                values[name.strip()] = value.strip()
        return values["aws_access_key_id"], values["aws_secret_access_key"]

    def tls(self):
        return ssl.create_default_context(cafile=str(self.ca_file))

    def client(self, service="sqs", *options, **settings):
        return boto3.session.Session().client(service, **self.connection(*options, **settings))

    def resource(self, service="sqs", *options, **settings):
        """boto3's object layer."""
        return boto3.session.Session().resource(service, **self.connection(*options, **settings))

    def connection(self, credentials=None, secure=True, region=REGION, session_token=None, **settings):
        access_key, secret_key = credentials or self.root_credentials()
        settings = {"retries": {"total_max_attempts": 1}, "read_timeout": 40, "parameter_validation": False, **settings}
        return {
            "region_name": region,
            "endpoint_url": self.endpoint if secure else self.http_endpoint,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "aws_session_token": session_token,
            "verify": str(self.ca_file) if secure else None,
            "config": botocore.config.Config(**settings),
        }
