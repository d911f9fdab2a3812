"""Data keys from a key service on the network: another SealQ, moto's server, OpenBao's transit engine."""

import json
import subprocess
import time

import pytest

import daemon
import key_services
from conftest import USERS, account_settings, arn_of, name_of, receive, refused, values
from stored_record import open_with_key, records
from test_key_policies import document, statement

AUDIT_SECONDS_MAX = 5


class Stand:
    """A key service and a broker that asks it."""

    def __init__(self, kind, directory):
        self.service = {"sealq": key_services.Sealq, "moto": key_services.Moto, "openbao": key_services.OpenBao}[kind](directory / kind)
        self.service.start()
        settings = key_services.SMALL_SEGMENTS + self.service.settings() + account_settings()
        self.broker = daemon.Broker(directory / "queues", settings).start()
        self.sqs = self.broker.client()
        self.count = 0

    def queue(self, key, **attributes):
        self.count += 1
        given = {"KmsMasterKeyId": key, **attributes}
        return self.sqs.create_queue(QueueName=f"q{self.count}", Attributes=given)["QueueUrl"]

    def user(self, name):
        return self.broker.client(credentials=USERS[name][1:3])

    def calls(self, url, **labels):
        return self.broker.metric("sealq_kms_calls_total", queue=name_of(url), **labels)

    def audit(self, url, count):
        """(caller, action, error) of the uses of a key for a queue, once there are `count`: a record is on disk within 1 s."""
        deadline = time.monotonic() + AUDIT_SECONDS_MAX
        while len(found := self.audited(url)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def audited(self, url):
        found = []
        for line in (self.broker.data / "audit" / "audit.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["recipientAccountId"] != daemon.ACCOUNT:
                continue  # The copy for the account of the key.
            context = (record.get("requestParameters") or {}).get("encryptionContext", {})
            if context.get("aws:sqs:arn") == arn_of(url):
                found.append((record["userIdentity"]["arn"], record["eventName"], record.get("errorCode")))
        return found


@pytest.fixture(scope="module")
def stands(tmp_path_factory):
    made = {}

    def stand(kind):
        if kind not in made:
            made[kind] = Stand(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    yield stand
    for one in made.values():
        one.broker.kill()
        one.service.kill()


@pytest.fixture(params=["sealq", "moto", "openbao"])
def stand(stands, request):
    return stands(request.param)


@pytest.fixture
def sealq(stands):
    return stands("sealq")


@pytest.fixture
def moto(stands):
    return stands("moto")


@pytest.fixture
def openbao(stands):
    return stands("openbao")


def test_sse_101_sse_103_sse_104_sse_131_a_record_opens_with_the_key_service_alone(stand):
    key = stand.service.new_key()
    url = stand.queue(key)
    assert values(stand.sqs, url, "KmsMasterKeyId") == [key]
    stand.sqs.send_message(QueueUrl=url, MessageBody="small")
    stand.sqs.send_message(QueueUrl=url, MessageBody="large" * 20_000)
    found = records(stand.broker, url)
    assert {record["context_arn"] for record in found} == {arn_of(url)}
    assert sorted(open_with_key(stand.service.data_key(record), record)[:5] for record in found) == ["large", "small"]
    assert sorted(message["Body"][:5] for message in receive(stand.sqs, url, 2)) == ["large", "small"]


def test_sse_105_sse_106_sse_109_sse_111_sse_185_calls_and_their_audit_records(stand):
    url = stand.queue(stand.service.new_key())
    root, admin = (f"arn:aws:iam::{daemon.ACCOUNT}:{name}" for name in ("root", "user/admin"))
    for _ in range(3):
        stand.sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": str(i), "MessageBody": "x"} for i in range(10)])
    assert stand.audit(url, 2) == [(root, "GenerateDataKey", None), (root, "Decrypt", None)]
    for _ in range(2):
        assert len(receive(stand.user("admin"), url, 10)) == 10
    assert stand.audit(url, 3)[2:] == [(admin, "Decrypt", None)]
    assert (stand.calls(url, outcome="ok"), stand.calls(url)) == (3, 3)
    assert stand.broker.metric("sealq_kms_unreachable_seconds") == 0
    assert f'sealq_kms_unreachable_seconds{{provider="{stand.service.provider}"}} 0' in stand.broker.metrics()


def test_sse_146_sse_149_the_broker_decides_for_the_caller(stand):
    url = stand.queue(stand.service.new_key())
    stand.sqs.send_message(QueueUrl=url, MessageBody="x")
    text = refused("KMS.AccessDeniedException", stand.user("sqs-only").send_message, QueueUrl=url, MessageBody="x", status=400)
    assert "user/sqs-only is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:" in text
    assert "because no identity-based policy allows the kms:GenerateDataKey action (Service: AWSKMS;" in text
    refused("KMS.AccessDeniedException", stand.user("sqs-only").receive_message, QueueUrl=url, status=400)
    (message,) = receive(stand.sqs, url, MessageSystemAttributeNames=["All"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert [error for *_, error in stand.audit(url, 4)][-2:] == ["AccessDeniedException"] * 2


def test_sse_162_sse_164_another_accounts_caller_would_need_a_key_policy(stand):
    url = stand.queue(stand.service.new_key())
    principal = f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:user/foreigner"
    policy = document({**statement(principal, "sqs:*"), "Resource": arn_of(url)})
    stand.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    text = refused("KMS.AccessDeniedException", stand.user("foreigner").send_message, QueueUrl=url, MessageBody="x")
    assert "because no resource-based policy allows the kms:GenerateDataKey action" in text


def test_sse_154_a_refusal_of_the_broker_reaches_no_key_service(sealq):
    url = sealq.queue(sealq.service.new_key())
    before = sealq.service.broker.metric("sealq_requests_total", service="kms")
    refused("KMS.AccessDeniedException", sealq.user("sqs-only").send_message, QueueUrl=url, MessageBody="x")
    refused("AccessDenied", sealq.user("no-send").send_message, QueueUrl=url, MessageBody="x", status=403)
    assert sealq.service.broker.metric("sealq_requests_total", service="kms") == before


@pytest.mark.parametrize("kind", ["sealq", "moto"])
def test_sse_79_sse_80_every_form_of_key_identifier_works(stands, kind):
    stand = stands(kind)
    arn = stand.service.new_key()
    stand.service.kms.create_alias(AliasName="alias/MyAlias", TargetKeyId=arn)
    prefix, resource = arn.rsplit(":", 1)
    for form in (arn, resource.removeprefix("key/"), "alias/MyAlias", f"{prefix}:alias/MyAlias"):
        url = stand.queue(form)
        stand.sqs.send_message(QueueUrl=url, MessageBody=form)
        assert receive(stand.user("admin"), url)[0]["Body"] == form
        assert {record["kms_key_arn"] for record in records(stand.broker, url)} == {arn}
        # The answer's ARN decides where the setting names none.
        refused("KMS.AccessDeniedException", stand.user("sqs-only").send_message, QueueUrl=url, MessageBody="x")


def test_sse_80_a_transit_key_goes_by_name_alias_and_arn(openbao):
    name = openbao.service.new_key()
    arn = f"arn:aws:kms:{daemon.REGION}:{daemon.ACCOUNT}:key/{name}"
    for form in (name, f"alias/{name}", arn):
        url = openbao.queue(form)
        openbao.sqs.send_message(QueueUrl=url, MessageBody=form)
        assert receive(openbao.user("admin"), url)[0]["Body"] == form
        assert {record["kms_key_arn"] for record in records(openbao.broker, url)} == {arn}


def test_a_derived_transit_key_is_bound_by_its_context(openbao):
    url = openbao.queue(openbao.service.new_key(derived=True))
    openbao.sqs.send_message(QueueUrl=url, MessageBody="derived")
    assert receive(openbao.sqs, url)[0]["Body"] == "derived"
    (record,) = records(openbao.broker, url)
    assert open_with_key(openbao.service.data_key(record), record) == "derived"


@pytest.mark.parametrize("kind", ["sealq", "moto"])
def test_sse_4_sse_82_sse_175_a_key_that_is_not_there_is_not_found(stands, kind):
    stand = stands(kind)
    missing = "1234abcd-12ab-34cd-56ef-1234567890ab"
    for key in (missing, f"arn:aws:kms:{daemon.REGION}:{daemon.ACCOUNT}:key/{missing}", "alias/missing"):
        url = stand.queue(key)
        refused("KMS.NotFoundException", stand.sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
        assert values(stand.sqs, url, "ApproximateNumberOfMessages") == ["0"]
    assert stand.broker.metric("sealq_kms_unreachable_seconds") == 0


def test_sse_173_sse_174_sse_180_states_of_the_key_are_passed_on(sealq):
    kms, key = sealq.service.kms, sealq.service.new_key()
    url, admin = sealq.queue(key), sealq.user("admin")
    sealq.sqs.send_message(QueueUrl=url, MessageBody="kept")
    kms.disable_key(KeyId=key)
    refused("KMS.DisabledException", admin.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.DisabledException", admin.receive_message, QueueUrl=url, status=400)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    refused("KMS.InvalidStateException", admin.send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.InvalidStateException", admin.receive_message, QueueUrl=url, status=400)
    kms.cancel_key_deletion(KeyId=key)
    kms.enable_key(KeyId=key)
    assert receive(admin, url)[0]["Body"] == "kept"
    assert sealq.broker.metric("sealq_kms_unreachable_seconds") == 0


def test_sse_99_sse_174_sse_175_states_of_a_transit_key_are_passed_on(openbao):
    refused("KMS.NotFoundException", openbao.sqs.send_message, QueueUrl=openbao.queue("no-such-key"), MessageBody="x", status=400)
    asymmetric = openbao.queue(openbao.service.new_key(type="rsa-2048"))
    refused("KMS.InvalidKeyUsageException", openbao.sqs.send_message, QueueUrl=asymmetric, MessageBody="x", status=400)
    key = openbao.service.new_key()
    url = openbao.queue(key)
    openbao.sqs.send_message(QueueUrl=url, MessageBody="kept")
    openbao.service.call("POST", f"transit/keys/{key}/config", {"deletion_allowed": True})
    openbao.service.call("DELETE", f"transit/keys/{key}/soft-delete")
    refused("KMS.InvalidStateException", openbao.user("admin").send_message, QueueUrl=url, MessageBody="x", status=400)
    refused("KMS.InvalidStateException", openbao.user("admin").receive_message, QueueUrl=url, status=400)
    openbao.service.call("POST", f"transit/keys/{key}/soft-delete-restore")
    assert receive(openbao.user("admin"), url)[0]["Body"] == "kept"


def test_sse_135_old_messages_open_after_a_rotation(stand):
    key = stand.service.new_key()
    url = stand.queue(key)
    stand.sqs.send_message(QueueUrl=url, MessageBody="old")
    if isinstance(stand.service, key_services.OpenBao):
        stand.service.call("POST", f"transit/keys/{key}/rotate")
    elif isinstance(stand.service, key_services.Sealq):
        stand.service.kms.rotate_key_on_demand(KeyId=key)
    stand.user("admin").send_message(QueueUrl=url, MessageBody="new")
    assert sorted(message["Body"] for message in receive(stand.user("admin"), url, 2)) == ["new", "old"]


def test_sse_85_sse_88_sse_89_sse_95_sse_96_the_default_transit_key_is_made_by_the_first_send(openbao):
    def made():
        return openbao.service.call("LIST", "transit/keys")["data"]["keys"]

    openbao.service.new_key()
    url = openbao.queue("alias/aws/sqs")
    name = f"aws-sqs-{daemon.REGION}-{daemon.ACCOUNT}"
    assert name not in made()
    openbao.user("sqs-only").send_message(QueueUrl=url, MessageBody="x")
    assert name in made()
    assert receive(openbao.user("sqs-only"), url)[0]["Body"] == "x"
    foreign = openbao.broker.client(credentials=USERS["foreigner"][1:3])
    other = foreign.create_queue(QueueName="default", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
    foreign.send_message(QueueUrl=other, MessageBody="x")
    assert f"aws-sqs-{daemon.REGION}-{daemon.FOREIGN_ACCOUNT}" in made()
    intruding = foreign.create_queue(QueueName="intruding", Attributes={"KmsMasterKeyId": name})["QueueUrl"]
    refused("KMS.NotFoundException", foreign.send_message, QueueUrl=intruding, MessageBody="x")


def test_sse_96_another_sealqs_default_key_is_not_for_this_brokers_credentials(sealq):
    sealq.service.kms.describe_key(KeyId="alias/aws/sqs")
    text = refused("KMS.AccessDeniedException", sealq.sqs.send_message, QueueUrl=sealq.queue("alias/aws/sqs"), MessageBody="x", status=400)
    assert "is not authorized to perform: kms:GenerateDataKey" in text


def test_the_key_service_on_this_port_says_where_the_keys_are(stand):
    text = refused("UnsupportedOperationException", stand.broker.client("kms").create_key, status=400)
    assert "kms.provider" in text


def test_sse_183_sse_sqs_queues_ask_no_key_service(stand):
    url = stand.sqs.create_queue(QueueName="managed", Attributes={"SqsManagedSseEnabled": "true"})["QueueUrl"]
    stand.user("sqs-only").send_message(QueueUrl=url, MessageBody="x")
    assert receive(stand.user("sqs-only"), url)[0]["Body"] == "x"
    assert stand.calls(url) == 0 and records(stand.broker, url)[0]["mode"] == "managed"


def test_wrong_credentials_are_refused_at_once_and_in_clear_words(sealq, tmp_path):
    access_key, secret = sealq.service.broker.root_credentials()
    settings = key_services.aws_settings(sealq.service.broker.endpoint, access_key, secret[::-1], f'ca_file = "{sealq.service.broker.ca_file}"\n')
    broker = daemon.Broker(tmp_path, settings).start()
    try:
        sqs = broker.client()
        url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": sealq.service.new_key()})["QueueUrl"]
        text = refused("KMS.AccessDeniedException", sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
        assert "The key service does not accept the broker's own access key: InvalidSignatureException" in text
        assert secret not in broker.log() and secret[::-1] not in broker.log()
        assert broker.metric("sealq_kms_unreachable_seconds") == 0
    finally:
        broker.kill()


def test_temporary_credentials_are_used_and_replaced_on_sighup(sealq, tmp_path):
    keys = sealq.service.broker

    def settings(given, secret=None):
        extra = f'session_token = "{given["SessionToken"]}"\nca_file = "{keys.ca_file}"\n'
        return key_services.aws_settings(keys.endpoint, given["AccessKeyId"], secret or given["SecretAccessKey"], extra)

    first, second = (keys.client("sts").get_session_token(DurationSeconds=900)["Credentials"] for _ in range(2))
    broker = daemon.Broker(tmp_path, settings(first) + account_settings()).start()
    try:
        whole = broker.config.read_text()
        sqs, admin = broker.client(), broker.client(credentials=USERS["admin"][1:3])
        url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": sealq.service.new_key()})["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="with the first")
        broker.config.write_text(whole.replace(settings(first), settings(second, "wrong")))
        broker.reload()
        sqs.send_message(QueueUrl=url, MessageBody="with the data key that is held")
        text = refused("KMS.AccessDeniedException", admin.send_message, QueueUrl=url, MessageBody="x", status=400)
        assert "The key service does not accept the broker's own access key: InvalidSignatureException" in text
        # Another key service takes a start; what the file says of it does not end what works.
        broker.config.write_text(whole.replace(settings(first), settings(second)).replace(keys.endpoint, "https://127.0.0.1:9"))
        broker.reload()
        admin.send_message(QueueUrl=url, MessageBody="with the second")
        assert len(receive(admin, url, 3)) == 3
        assert all(given[part] not in broker.log() for given in (first, second) for part in ("SecretAccessKey", "SessionToken"))
    finally:
        broker.kill()


def test_a_transit_engine_in_a_namespace(openbao, tmp_path):
    service, namespace = openbao.service, "team/queues"
    service.call("PUT", "sys/namespaces/team")
    service.call("PUT", "sys/namespaces/queues", namespace="team")
    service.call("POST", "sys/mounts/transit", {"type": "transit"}, namespace)
    service.call("POST", "transit/keys/theirs", {"type": "aes256-gcm96"}, namespace)
    broker = daemon.Broker(tmp_path, service.settings(extra=f'namespace = "{namespace}"\n')).start()
    try:
        sqs = broker.client()
        for name, key in (("named", "theirs"), ("default", "alias/aws/sqs")):
            url = sqs.create_queue(QueueName=name, Attributes={"KmsMasterKeyId": key})["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody="x")
            assert receive(sqs, url)[0]["Body"] == "x"
        made = service.call("LIST", "transit/keys", namespace=namespace)["data"]["keys"]
        assert sorted(made) == [f"aws-sqs-{daemon.REGION}-{daemon.ACCOUNT}", "theirs"]
        refused("KMS.NotFoundException", openbao.sqs.send_message, QueueUrl=openbao.queue("theirs"), MessageBody="x", status=400)
    finally:
        broker.kill()


def test_a_certificate_that_does_not_verify_is_an_outage_and_no_way_in(sealq, tmp_path):
    # The authority of another broker.
    ca_file = f'ca_file = "{sealq.broker.ca_file}"\n'
    credentials = sealq.service.broker.root_credentials()
    broker = daemon.Broker(tmp_path, key_services.aws_settings(sealq.service.broker.endpoint, *credentials, ca_file)).start()
    try:
        sqs = broker.client()
        url = sqs.create_queue(QueueName="q", Attributes={"KmsMasterKeyId": sealq.service.new_key()})["QueueUrl"]
        refused("InternalFailure", sqs.send_message, QueueUrl=url, MessageBody="x", status=500)
        assert "TLS with" in broker.log()
        assert broker.metric("sealq_kms_calls_total", action="GenerateDataKey", outcome="Unreachable") == 1
        assert broker.inspect("q") == []
    finally:
        broker.kill()


def test_sse_176_sse_143_a_rate_limit_is_throttling_and_no_outage(openbao):
    url = openbao.queue(openbao.service.new_key())
    openbao.sqs.send_message(QueueUrl=url, MessageBody="x")
    openbao.service.call("POST", "sys/quotas/rate-limit/test", {"path": "transit/", "rate": 1, "interval": "1h"})
    try:
        admin = openbao.user("admin")
        # The first is let through by the quota, its Decrypt or that of the next is not.
        codes = []
        for _ in range(3):
            try:
                admin.send_message(QueueUrl=url, MessageBody="x")
            except admin.exceptions.ClientError as error:
                codes.append((error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]))
        assert codes == [("KMS.ThrottlingException", 400)] * 3
        openbao.sqs.send_message(QueueUrl=url, MessageBody="by the one who holds a key")
        assert openbao.broker.metric("sealq_kms_unreachable_seconds") == 0
    finally:
        openbao.service.call("DELETE", "sys/quotas/rate-limit/test")
    assert len(records(openbao.broker, url)) == 2


def test_a_token_is_read_anew_when_it_is_replaced_and_says_what_it_may_not(openbao):
    service, url = openbao.service, openbao.queue(openbao.service.new_key())
    unmade = openbao.broker.client(credentials=USERS["foreigner"][1:3])
    try:
        service.token_file.write_text("no-such-token")
        text = refused("KMS.AccessDeniedException", openbao.sqs.send_message, QueueUrl=url, MessageBody="x", status=400)
        assert "The broker's token may not use transit key" in text
        rules = ('path "transit/datakey/plaintext/*" { capabilities = ["update"] }', 'path "transit/decrypt/*" { capabilities = ["update"] }')
        service.token_file.write_text(service.token(*rules))
        openbao.sqs.send_message(QueueUrl=url, MessageBody="x")
        assert receive(openbao.user("admin"), url)[0]["Body"] == "x"
        default = unmade.create_queue(QueueName="unmade", Attributes={"KmsMasterKeyId": "alias/aws/sqs"})["QueueUrl"]
        service.call("POST", f"transit/keys/aws-sqs-{daemon.REGION}-{daemon.FOREIGN_ACCOUNT}/config", {"deletion_allowed": True})
        service.call("DELETE", f"transit/keys/aws-sqs-{daemon.REGION}-{daemon.FOREIGN_ACCOUNT}")
        text = refused("KMS.NotFoundException", unmade.send_message, QueueUrl=default, MessageBody="x", status=400)
        assert "cannot be made with the broker's token" in text
    finally:
        service.token_file.write_text(service.root_token)


@pytest.mark.parametrize(
    "settings, words",
    [
        ('[kms]\nprovider = "aws"\n', "kms.aws.endpoint"),
        ('[kms]\nprovider = "aws"\n[kms.aws]\nendpoint = "http://192.0.2.1"\naccess_key_id = "a"\nsecret_access_key = "b"\n', "loopback"),
        ('[kms]\nprovider = "aws"\n[kms.aws]\nendpoint = "https://192.0.2.1"\naccess_key_id = "a"\nsecret_access_key = "b"\nca_file = "/nonexistent.pem"\n', "/nonexistent.pem"),
        ('[kms]\nprovider = "openbao"\n[kms.openbao]\naddress = "http://192.0.2.1:8200"\ntoken_file = "t"\n', "loopback"),
        ('[kms]\nprovider = "openbao"\n[kms.openbao]\naddress = "http://127.0.0.1:8200"\ntoken_file = "/nonexistent"\n', "kms.openbao.token_file"),
        ('[kms]\nprovider = "openbao"\n[kms.openbao]\naddress = "http://127.0.0.1:8200"\nmount = "../sys"\ntoken_file = "t"\n', "kms.openbao.mount"),
        ('[kms]\nprovider = "openbao"\n[kms.openbao]\naddress = "http://127.0.0.1:8200"\nnamespace = "a b"\ntoken_file = "t"\n', "kms.openbao.namespace"),
        ('[kms]\nprovider = "vault"\n', "kms.provider"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_starts(tmp_path, settings, words):
    broker = daemon.Broker(tmp_path, settings)
    for command in ([daemon.BINARY, "config", "check"], [daemon.BINARY, "serve"]):
        result = subprocess.run([*command, "--config", broker.config], capture_output=True, text=True, timeout=20)
        assert result.returncode == 2 and words in result.stderr, result.stderr
    assert not broker.data.exists()
