"""The failure table of signatures (auth contract, section 2.6): each row at SQS in both protocols, at KMS and at STS."""

import datetime

import pytest

import daemon
import shifted_clock
import wire
from conftest import account_settings

WORKER = f"arn:aws:iam::{daemon.ACCOUNT}:role/worker"
AUTHORIZATION = "authorization"

# The name that JSON services give a failure.
JSON_NAMES = {
    "AccessDenied": "AccessDeniedException",
    "ExpiredToken": "ExpiredTokenException",
    "IncompleteSignature": "IncompleteSignatureException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "SignatureDoesNotMatch": "InvalidSignatureException",
}
STATUS = {"IncompleteSignature": 400}

surfaces = pytest.mark.parametrize("surface", ["json", "form", "kms", "sts"])


def ask(surface, broker, credentials=None, alter=None, when=None, **settings):
    """One harmless request to a surface, signed unless altered."""
    service = {"kms": "kms", "sts": "sts"}.get(surface, "sqs")
    caller = wire.Caller(broker, credentials, **{"service": service, **settings})
    if surface == "json":
        return caller.json("ListQueues", {}, alter=alter, when=when)
    if surface == "kms":
        return caller.json("ListKeys", {}, prefix="TrentService", alter=alter, when=when)
    if surface == "sts":
        return caller.form("GetCallerIdentity", {}, version="2011-06-15", alter=alter, when=when)
    return caller.form("ListQueues", {}, alter=alter, when=when)


def check(surface, reply, code, text=None):
    """The failure `code` in the form of its surface."""
    if surface == "kms":
        assert reply.status == 400, reply.text
        assert reply.json()["__type"] == JSON_NAMES[code], reply.text
    else:
        assert reply.status == STATUS.get(code, 403), reply.text
        assert reply.code() == code, reply.text
    if surface == "json":
        assert reply.json()["__type"] == f"com.amazon.coral.service#{JSON_NAMES[code]}"
        assert reply.headers["x-amzn-query-error"] == f"{code};Sender"
    if surface in ("form", "sts"):
        assert reply.xml().findtext(".//Type") == "Sender"
    if text is not None:
        assert text in reply.text.replace("&apos;", "'").replace("&#39;", "'"), reply.text


def replacing(header, old, new):
    """Changes a header after signing."""
    return lambda headers, body: ({**headers, header: headers[header].replace(old, new)}, body)


def without(*names):
    return lambda headers, body: ({name: value for name, value in headers.items() if name not in names}, body)


def setting(header, value):
    return lambda headers, body: ({**headers, header: value}, body)


@surfaces
def test_auth_9_and_auth_10_without_credentials(broker, surface):
    reply = ask(surface, broker, alter=without(AUTHORIZATION, "x-amz-date"))
    if surface in ("json", "form"):
        check(surface, reply, "AccessDenied")
    else:
        check(surface, reply, "MissingAuthenticationToken", "Request is missing Authentication Token")


@surfaces
def test_auth_9_and_auth_10_another_scheme(broker, surface):
    reply = ask(surface, broker, alter=setting(AUTHORIZATION, "AWS4-ECDSA-P256-SHA256 Credential=x"))
    check(surface, reply, "IncompleteSignature", "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("place", ["query", "body", "header"])
def test_auth_9_signature_version_2(broker, queue, place, encrypted):
    url = queue(**({} if encrypted else {"SqsManagedSseEnabled": "false"}))
    path = "/" + url.split("/", 3)[3]
    old = {"AWSAccessKeyId": "AKIAOLD", "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Signature": "x="}
    call = {"MessageBody": "x"}
    if place == "body":
        reply = wire.unsigned_form(broker, "SendMessage", {**call, **old}, path=path)
    elif place == "header":
        header = {"authorization": "AWS AKIAOLD:signature="}
        reply = wire.unsigned_form(broker, "SendMessage", call, path=path, extra=header)
    else:
        pairs = {"Action": "SendMessage", "Version": "2012-11-05", **call, **old}
        query = "&".join(f"{name}={wire.encode(value)}" for name, value in pairs.items())
        reply = wire.exchange(broker, "GET", f"{path}?{query}")
    check("form", reply, *(["InvalidSecurity"] if encrypted else ["IncompleteSignature", "Unsupported AWS 'algorithm'"]))


@pytest.mark.parametrize("protocol", ["json", "form"])
def test_auth_9_another_scheme_on_an_encrypted_queue(broker, caller, queue, protocol):
    call = {"QueueUrl": queue(), "MessageBody": "x"}
    reply = getattr(caller(), protocol)("SendMessage", call, alter=setting(AUTHORIZATION, "AWS4-ECDSA-P256-SHA256 Credential=x"))
    assert (reply.status, reply.code()) == (403, "InvalidSecurity"), reply.text


MISSING = {
    "Credential": "Authorization header requires 'Credential' parameter.",
    "Signature": "Authorization header requires 'Signature' parameter.",
    "SignedHeaders": "Authorization header requires 'SignedHeaders' parameter.",
}


@surfaces
@pytest.mark.parametrize("part", MISSING)
def test_auth_9_and_auth_10_a_missing_part(broker, surface, part):
    reply = ask(surface, broker, alter=replacing(AUTHORIZATION, f"{part}=", "Other="))
    check(surface, reply, "IncompleteSignature", MISSING[part])


@surfaces
@pytest.mark.parametrize(
    "alter, text",
    [
        (without("x-amz-date"), "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."),
        (setting("x-amz-date", "yesterday"), "Date must be in ISO-8601 'basic format'. Got 'yesterday'."),
        (
            replacing(AUTHORIZATION, "/aws4_request", ""),
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '",
        ),
        (
            replacing(AUTHORIZATION, ";host;", ";"),
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
    ],
    ids=["no-date", "date", "credential", "host"],
)
def test_auth_9_and_auth_10_an_unreadable_part(broker, surface, alter, text):
    check(surface, ask(surface, broker, alter=alter), "IncompleteSignature", text)


@surfaces
@pytest.mark.parametrize("part", ["region", "service", "terminator", "date"])
def test_auth_4_and_auth_10_a_wrong_scope(broker, surface, part):
    service = {"kms": "kms", "sts": "sts"}.get(surface, "sqs")
    if part == "region":
        reply = ask(surface, broker, region="mars-north-1")
        text = "Credential should be scoped to a valid region, not 'mars-north-1'."
    elif part == "service":
        reply = ask(surface, broker, service="s3")
        text = f"Credential should be scoped to correct service: '{service}'."
    elif part == "terminator":
        reply = ask(surface, broker, alter=replacing(AUTHORIZATION, "aws4_request", "aws5_request"))
        text = "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
    else:
        today = wire.stamp()[:8]
        reply = ask(surface, broker, alter=replacing(AUTHORIZATION, f"/{today}/", "/20200101/"))
        text = f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20200101' != '{today}', from '"
    check(surface, reply, "SignatureDoesNotMatch", text)


@surfaces
@pytest.mark.parametrize("who", ["unknown", "inactive"])
def test_auth_9_an_unknown_or_inactive_key(broker, surface, who):
    key = ("AKIAUNKNOWNAAAAAAAAA", "x")
    if who == "inactive":
        key = ("AKIARETIREDAAAAAAAAA", "retired/secret+0123456789abcdefghijklmno")
    text = "The security token included in the request is invalid."
    check(surface, ask(surface, broker, key), "InvalidClientTokenId", text)


def assume(sts, name):
    given = sts.assume_role(RoleArn=WORKER, RoleSessionName=name, DurationSeconds=900)["Credentials"]
    return (given["AccessKeyId"], given["SecretAccessKey"]), given["SessionToken"]


@surfaces
@pytest.mark.parametrize("fault", ["missing", "altered", "foreign", "long-term", "unsigned"])
def test_auth_9_a_token_that_does_not_hold(broker, user, surface, fault):
    (key, token), (_, other) = assume(user("admin", "sts"), "one"), assume(user("admin", "sts"), "two")
    assert ask(surface, broker, key, token=token).status == 200
    text = "The security token included in the request is invalid."
    if fault == "missing":
        reply = ask(surface, broker, key)
    elif fault == "altered":
        middle = len(token) // 2
        letter = "A" if token[middle] != "A" else "B"
        reply = ask(surface, broker, key, token=token[:middle] + letter + token[middle + 1 :])
    elif fault == "foreign":
        reply = ask(surface, broker, key, token=other)
    elif fault == "long-term":
        reply = ask(surface, broker, broker.root_credentials(), token=token)
    else:
        reply = ask(surface, broker, key, alter=setting("x-amz-security-token", token))
        check(surface, reply, "SignatureDoesNotMatch")
        return
    check(surface, reply, "InvalidClientTokenId", text)


def test_auth_9_a_token_that_has_expired(tmp_path):
    clock = shifted_clock.Clock(tmp_path)
    settings = shifted_clock.SETTINGS + account_settings()
    broker = daemon.Broker(tmp_path / "broker", settings, clock.environment).start()
    admin = ("AKIAADMINAAAAAAAAAAA", "admin/secret+0123456789abcdefghijklmnopq")
    opened, unopened = (assume(broker.client("sts", admin), name) for name in ("opened", "unopened"))
    for surface in ("json", "form", "kms", "sts"):
        assert ask(surface, broker, opened[0], token=opened[1]).status == 200
    clock.advance(901)
    for surface in ("json", "form", "kms", "sts"):
        for key, token in (opened, unopened):
            reply = ask(surface, broker, key, token=token)
            check(surface, reply, "ExpiredToken", "The security token included in the request is expired")
    assert broker.stop() == 0


@surfaces
@pytest.mark.parametrize(
    "minutes, text", [(-16, "Signature expired: "), (16, "Signature not yet current: ")], ids=["old", "new"]
)
def test_auth_5_and_auth_10_a_time_outside_of_the_window(broker, surface, minutes, text):
    when = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    check(surface, ask(surface, broker, when=when), "SignatureDoesNotMatch", text)


@surfaces
def test_auth_9_and_auth_10_a_wrong_signature(broker, surface):
    reply = ask(surface, broker, (broker.root_credentials()[0], "wrong"))
    text = (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
        "and signing method. Consult the service documentation for details."
    )
    check(surface, reply, "SignatureDoesNotMatch", text)
    assert broker.root_credentials()[1] not in reply.text


@surfaces
@pytest.mark.parametrize("claimed", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_auth_8_payloads_that_are_not_signed_whole_are_refused(broker, surface, claimed):
    service = {"kms": "kms", "sts": "sts"}.get(surface, "sqs")
    caller = wire.Caller(broker, service=service)
    target = {"json": "AmazonSQS.ListQueues", "kms": "TrentService.ListKeys"}.get(surface)
    headers = {"x-amz-content-sha256": claimed, "content-type": "application/x-amz-json-1.0"}
    body = b"{}"
    if target:
        headers["x-amz-target"] = target
    else:
        headers["content-type"] = "application/x-www-form-urlencoded"
        body = b"Action=GetCallerIdentity&Version=2011-06-15" if surface == "sts" else b"Action=ListQueues&Version=2012-11-05"
    headers = caller.signed_headers("POST", "/", [], headers, body)
    check(surface, wire.exchange(broker, "POST", "/", headers, body), "SignatureDoesNotMatch")


def test_auth_6_a_presigned_url_over_its_end(broker, caller, queue):
    path = "/" + queue().split("/", 3)[3]
    call = {"Action": "SendMessage", "MessageBody": "x", "Version": "2012-11-05"}
    when = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5)
    reply = caller().get(caller().presigned(path, call, expires=60, when=when))
    assert (reply.status, reply.code()) == (400, "RequestExpired"), reply.text
    for expires in (0, 604801):
        reply = caller().get(caller().presigned(path, call, expires=expires))
        check("form", reply, "IncompleteSignature", "X-Amz-Expires")
    reply = caller().get(caller().presigned(path, call, expires=604800, when=when))
    assert reply.status == 200, reply.text


def test_auth_7_header_and_query_form_together_are_refused(broker, caller, queue):
    path = "/" + queue().split("/", 3)[3]
    both = caller().presigned(path, {"Action": "GetQueueAttributes", "Version": "2012-11-05"})
    headers = caller().signed_headers("GET", both, [], {}, b"")
    check("form", wire.exchange(broker, "GET", both, headers), "IncompleteSignature")


def test_auth_2_presigned_requests_of_sessions_pass(broker, user, queue):
    (key, token) = assume(user("admin", "sts"), "presigned")
    path = "/" + queue().split("/", 3)[3]
    call = {"Action": "SendMessage", "MessageBody": "a b+c*~/é", "Version": "2012-11-05"}
    session = wire.Caller(broker, key, token=token)
    assert session.get(session.presigned(path, call)).status == 200
    without_token = wire.Caller(broker, key)
    check("form", without_token.get(without_token.presigned(path, call)), "InvalidClientTokenId")
