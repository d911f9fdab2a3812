"""What policies decide, asked by wire: denial texts, limits of sessions and boundaries, keys, tags, malformed policies."""

import json

import pytest

import daemon
import wire
from conftest import ALLOW_ALL, USERS, account_settings, arn_of, attributes, name_of, refused

ACCOUNT, FOREIGN = daemon.ACCOUNT, daemon.FOREIGN_ACCOUNT
ROLE = f"arn:aws:iam::{ACCOUNT}:role/worker"
KEYS = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/*"
ALIASES = f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/*"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions, resource="*", effect="Allow", principal=None, **condition):
    found = {"Effect": effect, "Action": actions, "Resource": resource}
    if principal is not None:
        found["Principal"] = principal if principal == "*" else {"AWS": principal}
    return {**found, "Condition": condition} if condition else found


def user_arn(name, account=ACCOUNT):
    return f"arn:aws:iam::{account}:user/{name}"


# Name: identity policy, permissions boundary.
LIMITED = {
    "bounded": (ALLOW_ALL, document(allow("sqs:ReceiveMessage"))),
    "key-user": (document(allow(["kms:Encrypt", "kms:Decrypt"], KEYS)), ""),
    "alias-user": (document(allow("kms:*", ALIASES)), ""),
    "key-denied": (document(allow("*"), allow("kms:Encrypt", effect="Deny")), ""),
    "tagger": (
        document(
            allow(["sqs:TagQueue", "sqs:CreateQueue"], StringEquals={"aws:RequestTag/team": "blue"}),
            allow("sqs:UntagQueue", **{"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}),
            allow("sqs:SendMessage", StringEquals={"aws:ResourceTag/Team": "blue"}),
        ),
        "",
    ),
}


def key_of(name):
    return (f"AKIA{name.upper().replace('-', ''):X<16}", f"{name}/secret+{'x' * 28}"[:40])


def limited_users():
    text = ""
    for name, (policy, boundary) in LIMITED.items():
        key, secret = key_of(name)
        text += f'[[account.user]]\nname = "{name}"\naccess_key_id = "{key}"\nsecret_access_key = "{secret}"\n'
        text += f"policy = '''{policy}'''\n" + (f"permissions_boundary = '''{boundary}'''\n" if boundary else "")
    return text


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    settings = account_settings().replace(f'id = "{ACCOUNT}"\n', f'id = "{ACCOUNT}"\n{limited_users()}', 1)
    broker = daemon.Broker(tmp_path_factory.mktemp("rights"), settings).start()
    yield broker
    assert broker.stop() == 0, broker.log()[-4000:]


@pytest.fixture(scope="module")
def sqs(broker):
    return broker.client()


@pytest.fixture(scope="module")
def kms(broker):
    return broker.client("kms")


@pytest.fixture(scope="module")
def user(broker):
    def client(name, service="sqs"):
        credentials = key_of(name) if name in LIMITED else USERS[name][1:3]
        return broker.client(service, credentials=credentials)

    return client


def set_policy(sqs, url, *statements):
    statements = [{**statement, "Resource": arn_of(url)} for statement in statements]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(*statements)})


def session(broker, user, policy=None, name="s1"):
    more = {"Policy": policy} if policy else {}
    given = user("admin", "sts").assume_role(RoleArn=ROLE, RoleSessionName=name, **more)["Credentials"]
    return broker.client(
        credentials=(given["AccessKeyId"], given["SecretAccessKey"]), session_token=given["SessionToken"]
    )


# Denial texts


@pytest.mark.parametrize("protocol", ["json", "form"])
@pytest.mark.parametrize(
    "who, tail",
    [
        ("nobody", "because no identity-based policy allows the sqs:sendmessage action"),
        ("foreigner", "because no resource-based policy allows the sqs:sendmessage action"),
        ("no-send", "with an explicit deny in an identity-based policy"),
        ("denied-by-queue", "with an explicit deny in a resource-based policy"),
        ("bounded", "because no permissions boundary allows the sqs:sendmessage action"),
    ],
)
def test_auth_25_a_denial_names_caller_action_queue_and_reason(broker, sqs, queue, protocol, who, tail):
    url = queue()
    account = FOREIGN if who == "foreigner" else ACCOUNT
    name = "admin" if who == "denied-by-queue" else who
    if who == "denied-by-queue":
        set_policy(sqs, url, allow("sqs:SendMessage", effect="Deny", principal="*"))
    caller = wire.Caller(broker, key_of(name) if name in LIMITED else USERS[name][1:3])
    reply = getattr(caller, protocol)("SendMessage", {"QueueUrl": url, "MessageBody": "x"})
    assert (reply.status, reply.code()) == (403, "AccessDenied"), reply.text
    arn = user_arn(name, account)
    expected = f"User: {arn} is not authorized to perform: sqs:sendmessage on resource: {arn_of(url)} {tail}"
    if protocol == "json":
        assert reply.json() == {"__type": "com.amazon.coral.service#AccessDeniedException", "message": expected} or (
            reply.json()["Message"] == expected
        ), reply.text
        assert reply.headers["x-amzn-query-error"] == "AccessDenied;Sender"
    else:
        assert reply.xml().findtext(".//Message") == expected


def test_auth_25_a_denial_by_a_session_policy_says_so(broker, user, queue):
    url = queue()
    narrow = session(broker, user, document(allow("sqs:ReceiveMessage")))
    text = refused("AccessDenied", narrow.send_message, QueueUrl=url, MessageBody="x", status=403)
    assert text == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/worker/s1 is not authorized to perform: sqs:sendmessage on resource: "
        f"{arn_of(url)} because no session policy allows the sqs:sendmessage action"
    )


def test_auth_25_key_denials_name_caller_action_key_and_reason(kms, user):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    text = refused("AccessDeniedException", user("nobody", "kms").describe_key, KeyId=key, status=400)
    assert text == (
        f"User: {user_arn('nobody')} is not authorized to perform: kms:DescribeKey on resource: {key} because no "
        "identity-based policy allows the kms:DescribeKey action"
    )


# Limits and denies


def test_auth_16_a_session_policy_narrows_the_role_and_no_statement_for_the_session(broker, sqs, user, queue):
    url = queue()
    narrow = session(broker, user, document(allow("sqs:ReceiveMessage")))

    def can_send():
        try:
            narrow.send_message(QueueUrl=url, MessageBody="x")
            return True
        except narrow.exceptions.ClientError:
            return False

    assert not can_send()
    for principal, expected in (
        (ROLE, False),
        (ACCOUNT, False),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s1", True),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s2", False),
        ("*", True),
    ):
        set_policy(sqs, url, allow("sqs:SendMessage", principal=principal))
        assert can_send() == expected, principal


def test_auth_16_a_boundary_limits_identity_policies_and_no_statement_for_the_user(sqs, user, queue):
    url = queue()
    refused("AccessDenied", user("bounded").send_message, QueueUrl=url, MessageBody="x", status=403)
    set_policy(sqs, url, allow("sqs:SendMessage", principal=user_arn("bounded")))
    user("bounded").send_message(QueueUrl=url, MessageBody="x")


def test_auth_13_a_deny_in_any_policy_is_final(broker, sqs, user, queue):
    url = queue()
    allowing = [allow("sqs:*", principal=name) for name in ("*", ROLE, user_arn("no-send"), ACCOUNT)]
    set_policy(sqs, url, *allowing)
    refused("AccessDenied", user("no-send").send_message, QueueUrl=url, MessageBody="x", status=403)
    denying = session(broker, user, document(allow("*"), allow("sqs:SendMessage", effect="Deny")))
    refused("AccessDenied", denying.send_message, QueueUrl=url, MessageBody="x", status=403)
    set_policy(sqs, url, *allowing, allow("sqs:SendMessage", effect="Deny", principal=user_arn("admin")))
    refused("AccessDenied", user("admin").send_message, QueueUrl=url, MessageBody="x", status=403)
    sqs.send_message(QueueUrl=url, MessageBody="the deny names another user")


def test_auth_13_a_deny_to_all_but_one_user_denies_the_others_of_its_account(sqs, user, queue):
    url = queue()
    but = [user_arn("admin"), f"arn:aws:iam::{ACCOUNT}:root"]
    deny = allow("sqs:SendMessage", effect="Deny")
    set_policy(sqs, url, allow("sqs:*", principal="*"), {**deny, "NotPrincipal": {"AWS": but}})
    user("admin").send_message(QueueUrl=url, MessageBody="x")
    sqs.send_message(QueueUrl=url, MessageBody="root is named too")
    refused("AccessDenied", user("sqs-only").send_message, QueueUrl=url, MessageBody="x", status=403)
    user("sqs-only").receive_message(QueueUrl=url)


# Keys: one test a rule of section 5.2


OWNED = allow("kms:*", principal=f"arn:aws:iam::{ACCOUNT}:root", StringEquals={"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:root"})
DELEGATED = allow("kms:*", principal=ACCOUNT)


def key_with(kms, *statements):
    made = kms.create_key(Policy=document(*statements), BypassPolicyLockoutSafetyCheck=True)
    return made["KeyMetadata"]["Arn"]


def can_encrypt(client, key):
    try:
        client.encrypt(KeyId=key, Plaintext=b"x")
        return True
    except client.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDeniedException", error
        return False


def test_auth_24_rule_1_a_deny_in_key_or_identity_policy_is_final(kms, user):
    named = [allow("kms:Encrypt", principal=user_arn(name)) for name in ("key-denied", "admin")]
    key = key_with(kms, OWNED, *named)
    assert can_encrypt(user("admin", "kms"), key)
    assert not can_encrypt(user("key-denied", "kms"), key)
    key = key_with(kms, OWNED, *named, allow("kms:Encrypt", effect="Deny", principal="*"))
    assert not can_encrypt(user("admin", "kms"), key)


def test_auth_24_rule_2_a_key_policy_that_names_the_caller_suffices(kms, user):
    assert can_encrypt(user("nobody", "kms"), key_with(kms, OWNED, allow("kms:Encrypt", principal=user_arn("nobody"))))
    everybody = allow("kms:Encrypt", principal="*", StringEquals={"kms:CallerAccount": ACCOUNT})
    assert can_encrypt(user("nobody", "kms"), key_with(kms, OWNED, everybody))


def test_auth_24_rule_3_an_identity_policy_decides_on_the_key_arn_where_the_key_delegates(kms, user):
    key = key_with(kms, DELEGATED)
    assert can_encrypt(user("key-user", "kms"), key)
    assert not can_encrypt(user("nobody", "kms"), key)
    kms.create_alias(AliasName="alias/rule-3", TargetKeyId=key)
    for name in (key, "alias/rule-3"):
        assert can_encrypt(user("key-user", "kms"), name)
        assert not can_encrypt(user("alias-user", "kms"), name), "a right on the alias is none on the key"


def test_auth_24_rule_4_a_grant_covers_its_operations_and_no_deny(kms, user):
    key = key_with(kms, OWNED)
    assert not can_encrypt(user("nobody", "kms"), key)
    for name in ("nobody", "key-denied"):
        kms.create_grant(KeyId=key, GranteePrincipal=user_arn(name), Operations=["Encrypt"])
    assert can_encrypt(user("nobody", "kms"), key)
    assert not can_encrypt(user("key-denied", "kms"), key)
    refused("AccessDeniedException", user("nobody", "kms").generate_data_key, KeyId=key, KeySpec="AES_256", status=400)


def test_auth_24_rule_5_a_foreign_caller_needs_the_key_and_its_own_policies(kms, user):
    foreigner = user("foreigner", "kms")
    assert not can_encrypt(foreigner, key_with(kms, OWNED))
    for principal in (FOREIGN, user_arn("foreigner", FOREIGN)):
        assert can_encrypt(foreigner, key_with(kms, OWNED, allow("kms:Encrypt", principal=principal)))
    granted = key_with(kms, OWNED)
    kms.create_grant(KeyId=granted, GranteePrincipal=user_arn("foreigner", FOREIGN), Operations=["Encrypt"])
    assert can_encrypt(foreigner, granted)


def test_auth_24_rule_6_neither_identity_policies_nor_root_suffice_alone(kms, user):
    key = key_with(kms, allow("kms:DescribeKey", principal=f"arn:aws:iam::{ACCOUNT}:root"))
    assert not can_encrypt(user("admin", "kms"), key)
    assert not can_encrypt(kms, key)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key


def test_auth_24_rule_7_the_broker_asks_in_the_name_of_its_caller(broker, sqs, kms, user, queue):
    via = {"kms:ViaService": "sqs.us-east-1.amazonaws.com", "kms:CallerAccount": ACCOUNT, "aws:ViaAWSService": "true"}
    key = key_with(kms, OWNED, allow(["kms:GenerateDataKey", "kms:Decrypt"], principal=user_arn("sqs-only"), StringEquals=via))
    url = queue(KmsMasterKeyId=key)
    user("sqs-only").send_message(QueueUrl=url, MessageBody="x")
    refused("KMS.AccessDeniedException", user("admin").send_message, QueueUrl=url, MessageBody="x")
    refused("AccessDeniedException", user("sqs-only", "kms").generate_data_key, KeyId=key, KeySpec="AES_256", status=400)


# Tags


def test_tags_of_requests_and_queues_decide(sqs, user, queue, queue_name):
    url, tagger = queue(), user("tagger")
    refused("AccessDenied", tagger.tag_queue, QueueUrl=url, Tags={"team": "red"}, status=403)
    refused("AccessDenied", tagger.send_message, QueueUrl=url, MessageBody="x", status=403)
    tagger.tag_queue(QueueUrl=url, Tags={"Team": "blue"})
    tagger.send_message(QueueUrl=url, MessageBody="x")
    refused("AccessDenied", tagger.untag_queue, QueueUrl=url, TagKeys=["team", "other"], status=403)
    tagger.untag_queue(QueueUrl=url, TagKeys=["team"])
    refused("AccessDenied", tagger.create_queue, QueueName=queue_name(), status=403)
    tagger.create_queue(QueueName=queue_name(), tags={"team": "blue"})


def test_session_tags_are_keys_of_their_session_and_of_those_it_hands_them_on_to(broker, sqs, user, queue):
    url = queue()
    tag = "aws:PrincipalTag/Team"
    other_team = {"StringNotEquals": {tag: "blue"}, "Null": {tag: "false"}}
    set_policy(sqs, url, allow("sqs:SendMessage", effect="Deny", principal="*", **other_team))

    def sends(sts, **more):
        given = sts.assume_role(RoleArn=ROLE, RoleSessionName="s1", **more)["Credentials"]
        session = {"credentials": (given["AccessKeyId"], given["SecretAccessKey"]), "session_token": given["SessionToken"]}
        try:
            broker.client(**session).send_message(QueueUrl=url, MessageBody="x")
            return True, broker.client("sts", **session)
        except sqs.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied", error
            return False, broker.client("sts", **session)

    sts = user("admin", "sts")
    assert sends(sts)[0]
    assert not sends(sts, Tags=[{"Key": "team", "Value": "red"}])[0]
    kept, chained = sends(sts, Tags=[{"Key": "team", "Value": "blue"}], TransitiveTagKeys=["team"])
    assert kept and sends(chained, Tags=[{"Key": "team", "Value": "red"}])[0], "nobody changes a tag that is handed on"
    assert not sends(sts, Tags=[{"Key": "team", "Value": "red"}], TransitiveTagKeys=["team"])[0]


# Malformed policies


STATEMENT = allow("sqs:SendMessage", principal="*")
MALFORMED = {
    "no statements": {"Statement": []},
    "unclosed variable": {"Version": "2012-10-17", "Statement": [{**STATEMENT, "Resource": "arn:aws:sqs:*:*:${aws:username"}]},
    "any service": {"Statement": [{**STATEMENT, "Principal": {"Service": "*"}}]},
    "no session": {"Statement": [{**STATEMENT, "Principal": {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/worker"}}]},
    "unknown operator": {"Statement": [{**STATEMENT, "Condition": {"StringIs": {"aws:username": "x"}}}]},
    "everybody but": {"Statement": [{**{k: v for k, v in STATEMENT.items() if k != "Principal"}, "NotPrincipal": {"AWS": ACCOUNT}}]},
    "unknown user": {"Statement": [{**STATEMENT, "Principal": {"AWS": user_arn("never-made")}}]},
    "another service's action": {"Statement": [{**STATEMENT, "Action": "kms:Decrypt"}]},
}


@pytest.mark.parametrize("fault", MALFORMED)
@pytest.mark.parametrize("protocol", ["json", "form"])
def test_a_malformed_queue_policy_is_refused_when_it_is_set(broker, sqs, queue, protocol, fault):
    url, policy = queue(), json.dumps(MALFORMED[fault])
    caller = wire.Caller(broker)
    if protocol == "json":
        reply = caller.json("SetQueueAttributes", {"QueueUrl": url, "Attributes": {"Policy": policy}})
    else:
        given = {"QueueUrl": url, "Attribute.1.Name": "Policy", "Attribute.1.Value": policy}
        reply = caller.form("SetQueueAttributes", given)
    assert (reply.status, reply.code()) == (400, "InvalidAttributeValue"), reply.text
    assert "Invalid value for the parameter Policy." in reply.text
    assert "Policy" not in attributes(sqs, url)


# What every kind of policy is refused for, with words of the reason.
FAULTS = {
    "no JSON": ("{", "not valid JSON"),
    "a list": ("[]", "a policy is a JSON object"),
    "twice": ('{"Version":"2012-10-17","Version":"2008-10-17","Statement":[]}', "Version is given twice"),
    "no statements": ('{"Version":"2012-10-17","Statement":[]}', "Statement is an empty list"),
    "version": ('{"Version":"2020-01-01","Statement":{STATEMENT}}', "Version must be 2012-10-17 or 2008-10-17"),
    "unknown element": ('{"Statement":{"Bogus":1,STATEMENT}}', "unknown element Bogus"),
    "effect": ('{"Statement":{STATEMENT,"Effect":"allow"}}', "Effect must be Allow or Deny"),
    "operator": ('{"Statement":{"Condition":{"StringIs":{"aws:username":"x"}},STATEMENT}}', "unknown condition operator StringIs"),
    "number": ('{"Statement":{"Condition":{"NumericEquals":{"n":"x"}},STATEMENT}}', "'x' is no number"),
    "variable": ('{"Version":"2012-10-17","Statement":{"Condition":{"StringEquals":{"k":"${x"}},STATEMENT}}', "a variable is not closed"),
}
# What is seen before anybody asks what it means.
SHAPES = ("no JSON", "a list")
# A statement of each kind, without its effect.
KINDS = {
    "queue": '"Principal":"*","Action":"sqs:SendMessage","Resource":"*"',
    "key": '"Principal":"*","Action":"kms:*","Resource":"*"',
    "trust": f'"Principal":{{"AWS":"{ACCOUNT}"}},"Action":"sts:AssumeRole"',
    "identity": '"Action":"sqs:*","Resource":"*"',
}


def faulty(kind, fault):
    text, reason = FAULTS[fault]
    effect = "" if fault == "effect" else ',"Effect":"Allow"'
    return text.replace("STATEMENT", KINDS[kind] + effect), reason


@pytest.mark.parametrize("fault", FAULTS)
def test_every_kind_of_policy_is_refused_when_it_is_given_with_the_reason(broker, sqs, kms, user, key, queue_name, fault):
    policy, reason = faulty("queue", fault)
    given = {"QueueName": queue_name(), "Attributes": {"Policy": policy}}
    assert refused("InvalidAttributeValue", sqs.create_queue, status=400, **given) == "Invalid value for the parameter Policy."
    if fault not in SHAPES:
        assert reason in broker.log(), "the vendor's text has no room for it, so it stands in the log"
    policy, reason = faulty("key", fault)
    before = kms.get_key_policy(KeyId=key["KeyId"])["Policy"]
    for call, parameters in ((kms.create_key, {}), (kms.put_key_policy, {"KeyId": key["KeyId"]})):
        assert reason in refused("MalformedPolicyDocumentException", call, Policy=policy, status=400, **parameters)
    assert kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == before
    policy, reason = faulty("identity", fault)
    session = {"RoleArn": ROLE, "RoleSessionName": "s1", "Policy": policy}
    assert reason in refused("MalformedPolicyDocument", user("admin", "sts").assume_role, status=400, **session)


def test_malformed_key_and_session_policies_are_refused_when_they_are_given(kms, user):
    policy = document({**DELEGATED, "Principal": {"Service": "*"}})
    refused("MalformedPolicyDocumentException", kms.create_key, Policy=policy, status=400)
    sts = user("admin", "sts")
    for given in (
        {"Policy": document(allow("sqs:*", "orders"))},
        {"Policy": document(allow("sqs:*", principal="*"))},
        {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess"}]},
    ):
        refused("MalformedPolicyDocument", sts.assume_role, RoleArn=ROLE, RoleSessionName="s1", status=400, **given)


# Each policy that the settings can hold: the table, its key, what it is.
PLACES = {
    "user/u: its identity policy": ("user", "policy", "identity"),
    "user/u: its permissions boundary": ("user", "permissions_boundary", "identity"),
    "role/u: its identity policy": ("role", "policy", "identity"),
    "role/u: its permissions boundary": ("role", "permissions_boundary", "identity"),
    "role/u: its trust policy": ("role", "trust_policy", "trust"),
}


def start_with(directory, table, name, policy):
    given = {"name": "u", name: policy}
    if table == "role":
        given.setdefault("trust_policy", document({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}))
    lines = "".join(f"{key} = '''{text}'''\n" for key, text in given.items())
    return daemon.Broker(directory, f'[[account]]\nid = "{ACCOUNT}"\n[[account.{table}]]\n{lines}').run("serve", check=False)


@pytest.mark.parametrize("place", PLACES)
def test_every_malformed_policy_in_the_settings_stops_the_start(tmp_path, place):
    table, name, kind = PLACES[place]
    for number, fault in enumerate(FAULTS):
        policy, reason = faulty(kind, fault)
        words = [f"account[0].{table}[0].{name}: is no JSON object"] if fault in SHAPES else [place, reason]
        started = start_with(tmp_path / str(number), table, name, policy)
        assert started.returncode == 2 and all(word in started.stderr for word in words), started.stderr


@pytest.mark.parametrize(
    "table, name, policy, reason",
    [
        ("user", "policy", document(allow("sqs:*", "orders")), "neither an ARN nor"),
        ("user", "policy", document(allow("sqs:*", principal="*")), "an identity policy names no principal"),
        ("user", "policy", document(allow(["sqs:SendMessage"] * 150)), "at most 2048 are allowed"),
        ("role", "policy", document(allow(["sqs:SendMessage"] * 700)), "at most 10240 are allowed"),
        ("role", "permissions_boundary", document(allow(["sqs:SendMessage"] * 400)), "at most 6144 are allowed"),
        ("role", "trust_policy", document(allow("sts:AssumeRole", principal="*")), "a trust policy names no resource"),
        ("role", "trust_policy", document({"Effect": "Allow", "Principal": "*", "Action": "sqs:*"}), "is no action of sts"),
        ("role", "trust_policy", document({"Effect": "Allow", "Principal": {"AWS": "nobody"}, "Action": "sts:*"}), "'nobody' is no principal"),
    ],
    ids=["resource", "principal", "long", "long role", "long boundary", "trust resource", "trust action", "trust principal"],
)
def test_a_policy_of_the_wrong_kind_or_size_in_the_settings_stops_the_start(tmp_path, table, name, policy, reason):
    started = start_with(tmp_path / "broker", table, name, policy)
    assert started.returncode == 2 and reason in started.stderr and f"{table}/u" in started.stderr, started.stderr
