"""Who may do what with a key: aliases, the managed key, policies and their conditions, other accounts, grants."""

import json
import uuid

import pytest

import daemon
from conftest import ALLOW_ALL, USERS, account_settings, arn_of, refused
from key_policy import CONTEXT, FOREIGNER, NOBODY, OWNED, ROOT, SQS_ONLY, WORKER, allow, document, outcome
from key_audit import records


OK, UNSUPPORTED = None, "UnsupportedOperationException"
GRANT = {"GranteePrincipal": NOBODY, "Operations": ["Decrypt"]}


# Aliases and the managed key


def test_kms_11_names_of_the_service_are_refused_before_rights_are_looked_at(kms, key, user):
    nobody = user("nobody", "kms")
    for client in (kms, nobody):
        for name in ("alias/aws/sqs", "alias/aws/mine"):
            refused("NotAuthorizedException", client.create_alias, AliasName=name, TargetKeyId=key["KeyId"], status=400)
            refused("NotAuthorizedException", client.update_alias, AliasName=name, TargetKeyId=key["KeyId"])
            refused("NotAuthorizedException", client.delete_alias, AliasName=name)


def test_alias_names_have_a_form(kms, key):
    text = refused("ValidationException", kms.create_alias, AliasName="plain", TargetKeyId=key["KeyId"])
    assert text.startswith('Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/')
    refused("InvalidAliasNameException", kms.create_alias, AliasName="alias/", TargetKeyId=key["KeyId"])
    refused("InvalidAliasNameException", kms.create_alias, AliasName="alias/a:b", TargetKeyId=key["KeyId"])
    refused("ValidationException", kms.create_alias, AliasName="alias/a b", TargetKeyId=key["KeyId"])
    refused("ValidationException", kms.create_alias, AliasName="alias/" + "x" * 251, TargetKeyId=key["KeyId"])
    longest = "alias/" + uuid.uuid4().hex.ljust(250, "x")
    kms.create_alias(AliasName=longest, TargetKeyId=key["KeyId"])
    arn = f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:{longest}"
    text = refused("AlreadyExistsException", kms.create_alias, AliasName=longest, TargetKeyId=key["KeyId"])
    assert text == f"An alias with the name {arn} already exists"
    refused("NotFoundException", kms.create_alias, AliasName="alias/of-none", TargetKeyId=longest)
    for call in (kms.delete_alias, kms.update_alias):
        target = {} if call == kms.delete_alias else {"TargetKeyId": key["KeyId"]}
        text = refused("NotFoundException", call, AliasName="alias/never-made", **target)
        assert text == f"Alias arn:aws:kms:us-east-1:{daemon.ACCOUNT}:alias/never-made is not found."


def test_a_key_has_at_most_fifty_aliases(kms, key):
    stem = uuid.uuid4()
    for n in range(50):
        kms.create_alias(AliasName=f"alias/{stem}/{n:02}", TargetKeyId=key["KeyId"])
    refused("LimitExceededException", kms.create_alias, AliasName=f"alias/{stem}/50", TargetKeyId=key["KeyId"], status=400)
    pages = kms.get_paginator("list_aliases").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 20})
    names = [alias["AliasName"] for page in pages for alias in page["Aliases"]]
    assert names == [f"alias/{stem}/{n:02}" for n in range(50)]


def test_an_alias_needs_the_right_on_it_and_on_the_key(kms, user, key_with):
    stem = uuid.uuid4()
    keys = ("kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias")
    one, two = (key_with(allow(NOBODY, *keys)) for _ in range(2))
    # The key's policy lets nobody, but nobody has no right on any alias.
    refused("AccessDeniedException", user("nobody", "kms").create_alias, AliasName=f"alias/{stem}", TargetKeyId=one["KeyId"])
    kms.create_alias(AliasName=f"alias/{stem}", TargetKeyId=one["KeyId"])
    closed = key_with()
    admin = user("admin", "kms")
    refused("AccessDeniedException", admin.update_alias, AliasName=f"alias/{stem}", TargetKeyId=closed["KeyId"])
    refused("AccessDeniedException", admin.update_alias, AliasName=f"alias/{stem}", TargetKeyId=two["KeyId"])
    refused("AccessDeniedException", admin.delete_alias, AliasName=f"alias/{stem}")


def test_describe_key_makes_the_managed_key_for_those_who_may_describe_it(own_broker):
    own_broker.start()
    kms = own_broker.client("kms")
    as_user = lambda name: own_broker.client("kms", credentials=USERS[name][1:3])
    refused("AccessDeniedException", as_user("nobody").describe_key, KeyId="alias/aws/sqs")
    assert kms.list_keys()["Keys"] == [] and kms.list_aliases()["Aliases"] == []
    made = as_user("admin").describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]
    assert (made["KeyManager"], made["KeyState"]) == ("AWS", "Enabled")
    assert kms.describe_key(KeyId="alias/aws/sqs")["KeyMetadata"]["Arn"] == made["Arn"]
    assert [alias["TargetKeyId"] for alias in kms.list_aliases()["Aliases"]] == [made["KeyId"]]
    status = kms.get_key_rotation_status(KeyId=made["KeyId"])
    assert status["KeyRotationEnabled"] and status["RotationPeriodInDays"] == 365
    assert abs((status["NextRotationDate"] - made["CreationDate"]).days - 365) <= 1
    policy = json.loads(kms.get_key_policy(KeyId=made["KeyId"])["Policy"])
    assert policy["Id"] == "auto-sqs-1" and kms.list_resource_tags(KeyId=made["KeyId"])["Tags"] == []
    refusing = [
        (kms.put_key_policy, {"Policy": document(allow(ROOT, "kms:*"))}),
        (kms.enable_key, {}),
        (kms.disable_key, {}),
        (kms.schedule_key_deletion, {}),
        (kms.enable_key_rotation, {}),
        (kms.disable_key_rotation, {}),
        (kms.rotate_key_on_demand, {}),
        (kms.tag_resource, {"Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        (kms.untag_resource, {"TagKeys": ["a"]}),
        (kms.update_key_description, {"Description": "mine"}),
        (kms.create_grant, GRANT),
        (kms.encrypt, {"Plaintext": b"x"}),
    ]
    for call, parameters in refusing:
        assert outcome(call, KeyId=made["KeyId"], **parameters) in (UNSUPPORTED, "AccessDeniedException"), call
    events = records(own_broker, "CreateKey", eventType="AwsServiceEvent")
    assert [event["resources"][0]["ARN"] for event in events] == [made["Arn"]]


# Policies


def test_auth_22_a_key_policy_names_users_and_roles_that_there_are(kms, key):
    for unknown in (
        f"arn:aws:iam::{daemon.ACCOUNT}:user/never-was",
        f"arn:aws:iam::{daemon.ACCOUNT}:role/never-was",
        f"arn:aws:sts::{daemon.ACCOUNT}:assumed-role/never-was/s",
        "AIDANEVERWASNEVERWAS",
    ):
        policy = document(allow(ROOT, "kms:*"), allow(unknown, "kms:Decrypt"))
        refused("MalformedPolicyDocumentException", kms.put_key_policy, KeyId=key["KeyId"], Policy=policy, status=400)
        refused("MalformedPolicyDocumentException", kms.create_key, Policy=policy)
    known = document(allow(ROOT, "kms:*"), allow([NOBODY, WORKER, FOREIGNER, daemon.FOREIGN_ACCOUNT], "kms:Decrypt"))
    kms.put_key_policy(KeyId=key["KeyId"], Policy=known)
    assert kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == known


def without_user(text, name):
    parts = text.split("[[account.user]]\n")
    return "[[account.user]]\n".join(part for part in parts if f'name = "{name}"' not in part)


def test_auth_22_keys_grants_and_roles_know_a_user_made_anew_as_another(tmp_path):
    trust = {"Effect": "Allow", "Principal": {"AWS": NOBODY}, "Action": "sts:AssumeRole"}
    role = f"[[account.role]]\nname = \"narrow\"\ntrust_policy = '''{document(trust)}'''\npolicy = '''{ALLOW_ALL}'''\n"
    settings = account_settings().replace(f'[[account]]\nid = "{daemon.FOREIGN_ACCOUNT}"', role + f'[[account]]\nid = "{daemon.FOREIGN_ACCOUNT}"')
    broker = daemon.Broker(tmp_path / "broker", settings).start()
    try:
        kms = broker.client("kms")
        named = kms.create_key(Policy=document(allow(ROOT, "kms:*"), allow(NOBODY, "kms:Encrypt")))["KeyMetadata"]["KeyId"]
        granted = kms.create_key()["KeyMetadata"]["KeyId"]
        kms.create_grant(KeyId=granted, GranteePrincipal=NOBODY, Operations=["Encrypt"])
        nobody = broker.client("kms", credentials=USERS["nobody"][1:3])
        sts = broker.client("sts", credentials=USERS["nobody"][1:3])
        assume = {"RoleArn": f"arn:aws:iam::{daemon.ACCOUNT}:role/narrow", "RoleSessionName": "s1"}

        def may():
            return [
                outcome(nobody.encrypt, KeyId=named, Plaintext=b"x"),
                outcome(nobody.encrypt, KeyId=granted, Plaintext=b"x"),
                outcome(sts.assume_role, **assume),
            ]

        assert may() == [OK, OK, OK]
        broker.restart()
        assert may() == [OK, OK, OK]
        whole = broker.config.read_text()
        broker.config.write_text(without_user(whole, "nobody"))
        broker.reload()
        shown = json.loads(kms.get_key_policy(KeyId=named)["Policy"])
        assert shown["Statement"][1]["Principal"]["AWS"].startswith("AIDA")
        broker.config.write_text(whole)
        broker.reload()
        denied = ["AccessDeniedException", "AccessDeniedException", "AccessDenied"]
        assert may() == denied
        broker.restart()
        assert may() == denied
        # Written anew, a policy means the one who has the name now.
        kms.put_key_policy(KeyId=named, Policy=document(allow(ROOT, "kms:*"), allow(NOBODY, "kms:Encrypt")))
        assert may() == [OK, *denied[1:]]
    finally:
        broker.kill()


def test_key_policies_have_one_name_and_a_size(kms, key):
    assert kms.list_key_policies(KeyId=key["KeyId"])["PolicyNames"] == ["default"]
    assert kms.get_key_policy(KeyId=key["KeyId"])["PolicyName"] == "default"
    assert json.loads(kms.get_key_policy(KeyId=key["KeyId"])["Policy"])["Statement"][0]["Principal"]["AWS"] == ROOT
    good = document(allow(ROOT, "kms:*"))
    refused("NotFoundException", kms.get_key_policy, KeyId=key["KeyId"], PolicyName="other")
    refused("NotFoundException", kms.put_key_policy, KeyId=key["KeyId"], PolicyName="other", Policy=good)
    longest = good + " " * (32768 - len(good))
    kms.put_key_policy(KeyId=key["KeyId"], Policy=longest)
    refused("LimitExceededException", kms.put_key_policy, KeyId=key["KeyId"], Policy=longest + " ", status=400)
    assert kms.get_key_policy(KeyId=key["KeyId"])["Policy"] == longest
    no_resource = {"Effect": "Allow", "Principal": "*", "Action": "kms:*"}
    for bad in ("{", "[]", "{}", document(no_resource), document({**no_resource, "Resource": "*", "Effect": "Maybe"})):
        refused("MalformedPolicyDocumentException", kms.put_key_policy, KeyId=key["KeyId"], Policy=bad, BypassPolicyLockoutSafetyCheck=True)
    refused("ValidationException", kms.put_key_policy, KeyId=key["KeyId"], Policy="\u20ac")


def test_kms_10_create_key_looks_for_lockout_too(kms):
    locked = document(allow(NOBODY, "kms:*"))
    text = refused("MalformedPolicyDocumentException", kms.create_key, Policy=locked, status=400)
    assert text == "The new key policy will not allow you to update the key policy in the future."
    assert kms.create_key(Policy=locked, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["KeyId"]


CONDITIONS = [
    ("EncryptionAlgorithm", {"StringEquals": {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}}, OK),
    ("EncryptionAlgorithm-other", {"StringEquals": {"kms:EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}}, "AccessDeniedException"),
    ("EncryptionContext-name-in-any-case", {"StringEquals": {"kms:EncryptionContext:TEAM": "Blue"}}, OK),
    ("EncryptionContext-value-exact", {"StringEquals": {"kms:EncryptionContext:Team": "blue"}}, "AccessDeniedException"),
    ("EncryptionContextKeys", {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["Team", "purpose"]}}, OK),
    ("EncryptionContextKeys-too-many", {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["Team"]}}, "AccessDeniedException"),
    ("CallerAccount", {"StringEquals": {"kms:CallerAccount": daemon.ACCOUNT}}, OK),
    ("CallerAccount-other", {"StringEquals": {"kms:CallerAccount": daemon.FOREIGN_ACCOUNT}}, "AccessDeniedException"),
    ("ViaService", {"StringLike": {"kms:ViaService": "sqs.*"}}, "AccessDeniedException"),
    ("ViaService-absent", {"Null": {"kms:ViaService": "true"}}, OK),
    ("KeySpec", {"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS"}}, OK),
    ("KeyOrigin", {"StringEquals": {"kms:KeyOrigin": "EXTERNAL"}}, "AccessDeniedException"),
    ("RequestAlias", {"StringLike": {"kms:RequestAlias": "alias/*"}}, "AccessDeniedException"),
    ("ResourceTag", {"StringEquals": {"aws:ResourceTag/stage": "test"}}, OK),
    ("ResourceAccount", {"StringEquals": {"aws:ResourceAccount": daemon.ACCOUNT}}, OK),
]


@pytest.mark.parametrize("condition,expected", [c[1:] for c in CONDITIONS], ids=[c[0] for c in CONDITIONS])
def test_condition_keys_of_encrypt(user, key_with, condition, expected):
    made = key_with(allow(NOBODY, "kms:Encrypt", **condition), Tags=[{"TagKey": "stage", "TagValue": "test"}])
    call = {"KeyId": made["KeyId"], "Plaintext": b"x", "EncryptionContext": CONTEXT}
    assert outcome(user("nobody", "kms").encrypt, **call) == expected


def test_condition_keys_on_aliases(kms, user, key_with):
    name = f"alias/{uuid.uuid4()}"
    by_request = key_with(allow(NOBODY, "kms:Encrypt", StringEquals={"kms:RequestAlias": name}))
    by_resource = key_with(allow(NOBODY, "kms:Encrypt", **{"ForAnyValue:StringEquals": {"kms:ResourceAliases": name}}))
    nobody = user("nobody", "kms")
    refused("AccessDeniedException", nobody.encrypt, KeyId=by_resource["KeyId"], Plaintext=b"x")
    kms.create_alias(AliasName=name, TargetKeyId=by_resource["KeyId"])
    nobody.encrypt(KeyId=by_resource["KeyId"], Plaintext=b"x")
    kms.update_alias(AliasName=name, TargetKeyId=by_request["KeyId"])
    refused("AccessDeniedException", nobody.encrypt, KeyId=by_request["KeyId"], Plaintext=b"x")
    nobody.encrypt(KeyId=name, Plaintext=b"x")
    nobody.encrypt(KeyId=f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:{name}", Plaintext=b"x")


def test_condition_keys_of_re_encryption(user, key_with):
    same = {"Bool": {"kms:ReEncryptOnSameKey": "true"}}
    source = key_with(allow(NOBODY, "kms:Encrypt"), allow(NOBODY, "kms:ReEncryptFrom", "kms:ReEncryptTo", **same))
    open_key = key_with(allow(NOBODY, "kms:ReEncryptFrom", "kms:ReEncryptTo"))
    nobody = user("nobody", "kms")
    blob = nobody.encrypt(KeyId=source["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    nobody.re_encrypt(CiphertextBlob=blob, DestinationKeyId=source["KeyId"])
    refused("AccessDeniedException", nobody.re_encrypt, CiphertextBlob=blob, DestinationKeyId=open_key["KeyId"])


def test_condition_keys_of_management(kms, user, key_with):
    bypass = {"Bool": {"kms:BypassPolicyLockoutSafetyCheck": "true"}}
    made = key_with(
        allow(NOBODY, "kms:PutKeyPolicy", "kms:GetKeyPolicy"),
        allow(NOBODY, "kms:PutKeyPolicy", effect="Deny", **bypass),
        allow(NOBODY, "kms:ScheduleKeyDeletion", NumericGreaterThanEquals={"kms:ScheduleKeyDeletionPendingWindowInDays": "14"}),
        allow(NOBODY, "kms:TagResource", **{"ForAllValues:StringEquals": {"aws:TagKeys": ["Team"]}, "StringEquals": {"aws:RequestTag/Team": "Blue"}}),
        allow(NOBODY, "kms:EnableKeyRotation", NumericLessThan={"kms:RotationPeriodInDays": "200"}),
    )
    nobody, key = user("nobody", "kms"), {"KeyId": made["KeyId"]}
    policy = nobody.get_key_policy(**key)["Policy"]
    nobody.put_key_policy(Policy=policy, **key)
    refused("AccessDeniedException", nobody.put_key_policy, Policy=policy, BypassPolicyLockoutSafetyCheck=True, **key)
    nobody.tag_resource(Tags=[{"TagKey": "Team", "TagValue": "Blue"}], **key)
    refused("AccessDeniedException", nobody.tag_resource, Tags=[{"TagKey": "Team", "TagValue": "Red"}], **key)
    refused("AccessDeniedException", nobody.enable_key_rotation, **key)
    nobody.enable_key_rotation(RotationPeriodInDays=180, **key)
    refused("AccessDeniedException", nobody.schedule_key_deletion, PendingWindowInDays=7, **key)
    nobody.schedule_key_deletion(**key)


# Other accounts


def test_auth_24_of_another_accounts_keys_a_stranger_learns_nothing(kms, key, user):
    stranger = user("foreigner", "kms")
    alias = f"alias/{uuid.uuid4()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key["KeyId"])
    own = stranger.create_key()["KeyMetadata"]["KeyId"]
    blob = stranger.encrypt(KeyId=own, Plaintext=b"x")["CiphertextBlob"]
    grant = kms.create_grant(KeyId=key["KeyId"], **GRANT)["GrantId"]
    prefix = f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:"
    pairs = [(key["Arn"], f"{prefix}key/{uuid.uuid4()}"), (prefix + alias, prefix + "alias/none")]
    calls = [
        lambda name: stranger.encrypt(KeyId=name, Plaintext=b"x"),
        lambda name: stranger.generate_data_key(KeyId=name, KeySpec="AES_256"),
        lambda name: stranger.describe_key(KeyId=name),
        lambda name: stranger.re_encrypt(CiphertextBlob=blob, DestinationKeyId=name),
    ]
    on_keys = [
        lambda name: stranger.create_grant(KeyId=name, GranteePrincipal=FOREIGNER, Operations=["Decrypt"]),
        lambda name: stranger.list_grants(KeyId=name),
        lambda name: stranger.get_key_rotation_status(KeyId=name),
        lambda name: stranger.revoke_grant(KeyId=name, GrantId=grant),
        lambda name: stranger.retire_grant(KeyId=name, GrantId=grant),
        lambda name: stranger.retire_grant(KeyId=name, GrantId="0" * 64),
        lambda name: stranger.disable_key(KeyId=name),
        lambda name: stranger.get_key_policy(KeyId=name),
    ]
    for there, absent in pairs:
        for call in calls + (on_keys if ":key/" in there else []):
            texts = []
            for name in (there, absent):
                with pytest.raises(stranger.exceptions.ClientError) as caught:
                    call(name)
                error = caught.value.response["Error"]
                texts.append((error["Code"], error["Message"].replace(name, "NAME")))
            assert texts[0] == texts[1] and key["KeyId"] not in texts[0][1], texts
        for expected in (there, absent):
            refused("IncorrectKeyException", stranger.decrypt, CiphertextBlob=blob, KeyId=expected)
            refused("IncorrectKeyException", stranger.re_encrypt, CiphertextBlob=blob, SourceKeyId=expected, DestinationKeyId=own)
    assert kms.list_grants(KeyId=key["KeyId"])["Grants"]


def test_auth_24_a_blob_that_names_another_accounts_key_does_not_tell_whose_it_is(kms, key, user):
    stranger = user("foreigner", "kms")
    own = stranger.create_key()["KeyMetadata"]["KeyId"]
    own_blob = stranger.encrypt(KeyId=own, Plaintext=b"x")["CiphertextBlob"]

    def naming(key_id):
        return own_blob[:1] + uuid.UUID(key_id).bytes + own_blob[17:]

    genuine = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    for blob in (genuine, naming(key["KeyId"])):
        for call, parameters in (
            (stranger.decrypt, {}),
            (stranger.decrypt, {"KeyId": own}),
            (stranger.decrypt, {"EncryptionContext": {"a": "b"}}),
            (stranger.re_encrypt, {"DestinationKeyId": own}),
        ):
            text = refused("AccessDeniedException", call, CiphertextBlob=blob, status=400, **parameters)
            assert text == (
                "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are "
                "not allowed to access."
            )
    # Whoever may use the key, or names one that nobody has, is told that this is no ciphertext of it.
    refused("InvalidCiphertextException", kms.decrypt, CiphertextBlob=naming(key["KeyId"]))
    refused("InvalidCiphertextException", stranger.decrypt, CiphertextBlob=naming(str(uuid.uuid4())))


def test_auth_24_a_foreign_caller_needs_the_key_and_its_own_policy(kms, user, key_with):
    made = key_with(allow(FOREIGNER, "kms:Encrypt", "kms:DescribeKey"))
    stranger = user("foreigner", "kms")
    assert stranger.encrypt(KeyId=made["Arn"], Plaintext=b"x")["KeyId"] == made["Arn"]
    assert stranger.describe_key(KeyId=made["Arn"])["KeyMetadata"]["AWSAccountId"] == daemon.ACCOUNT
    refused("NotFoundException", stranger.encrypt, KeyId=made["KeyId"], Plaintext=b"x")
    # Never across accounts, whatever the policy says.
    kms.put_key_policy(KeyId=made["KeyId"], Policy=document(OWNED, allow(FOREIGNER, "kms:*")))
    for call, parameters in ((stranger.disable_key, {}), (stranger.put_key_policy, {"Policy": "{}"}), (stranger.schedule_key_deletion, {})):
        assert outcome(call, KeyId=made["Arn"], **parameters) in ("AccessDeniedException", "NotFoundException")


# Grants


def test_kms_13_a_grant_crosses_accounts_and_is_retired_by_those_it_names(kms, key, user):
    stranger = user("foreigner", "kms")
    grant = kms.create_grant(
        KeyId=key["KeyId"], GranteePrincipal=FOREIGNER, Operations=["Encrypt", "DescribeKey"], RetiringPrincipal=SQS_ONLY, Name="cross",
        Constraints={"EncryptionContextSubset": {"Team": "Blue"}},
    )
    refused("AccessDeniedException", stranger.encrypt, KeyId=key["Arn"], Plaintext=b"x")
    call = {"KeyId": key["Arn"], "Plaintext": b"x", "EncryptionContext": CONTEXT}
    stranger.encrypt(**call, GrantTokens=[grant["GrantToken"]])
    stranger.describe_key(KeyId=key["Arn"], GrantTokens=[grant["GrantToken"]])
    listed = kms.list_grants(KeyId=key["KeyId"])["Grants"][0]
    assert (listed["KeyId"], listed["GrantId"], listed["Name"]) == (key["Arn"], grant["GrantId"], "cross")
    assert (listed["GranteePrincipal"], listed["RetiringPrincipal"]) == (FOREIGNER, SQS_ONLY)
    assert listed["IssuingAccount"] == ROOT
    assert listed["Constraints"] == {"EncryptionContextSubset": {"Team": "Blue"}}
    assert sorted(listed["Operations"]) == ["DescribeKey", "Encrypt"]
    retirable = kms.list_retirable_grants(RetiringPrincipal=SQS_ONLY)["Grants"]
    assert grant["GrantId"] in [entry["GrantId"] for entry in retirable]
    # The grantee may not retire it: RetireGrant is not among its operations.
    refused("AccessDeniedException", stranger.retire_grant, GrantToken=grant["GrantToken"])
    refused("AccessDeniedException", user("nobody", "kms").retire_grant, GrantToken=grant["GrantToken"])
    refused("DryRunOperationException", user("sqs-only", "kms").retire_grant, GrantToken=grant["GrantToken"], DryRun=True)
    user("sqs-only", "kms").retire_grant(GrantToken=grant["GrantToken"])
    refused("AccessDeniedException", stranger.encrypt, **call)
    refused("InvalidGrantTokenException", kms.retire_grant, GrantToken=grant["GrantToken"], status=400)


def test_kms_13_retiring_needs_the_grant_and_no_denial(broker, kms, user, key_with):
    nobody = user("nobody", "kms")
    made = key_with(allow(NOBODY, "kms:RetireGrant", effect="Deny"))
    grant = kms.create_grant(KeyId=made["KeyId"], GranteePrincipal=NOBODY, Operations=["Encrypt", "RetireGrant"])
    refused("AccessDeniedException", nobody.retire_grant, GrantToken=grant["GrantToken"])
    kms.put_key_policy(KeyId=made["KeyId"], Policy=document(OWNED))
    nobody.retire_grant(KeyId=made["Arn"], GrantId=grant["GrantId"])
    assert records(broker, "RetireGrant")[-1]["resources"][0]["ARN"] == made["Arn"]
    # A key policy alone makes nobody a retiring principal of another account's grant; the issuing account is one.
    grant = kms.create_grant(KeyId=made["KeyId"], GranteePrincipal=SQS_ONLY, Operations=["Encrypt"])
    refused("AccessDeniedException", nobody.retire_grant, GrantToken=grant["GrantToken"])
    user("admin", "kms").retire_grant(GrantToken=grant["GrantToken"])
    assert records(broker, "RetireGrant")[-1]["resources"][0]["ARN"] == made["Arn"]
    for call in ({}, {"KeyId": made["Arn"]}, {"GrantId": "0" * 64}):
        refused("ValidationException", kms.retire_grant, **call)


def test_kms_13_a_grant_to_an_account_leaves_it_to_the_accounts_policies(kms, key, user):
    kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=f"arn:aws:iam::{daemon.FOREIGN_ACCOUNT}:root", Operations=["Encrypt"])
    user("foreigner", "kms").encrypt(KeyId=key["Arn"], Plaintext=b"x")
    kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=ROOT, Operations=["Encrypt"])
    refused("AccessDeniedException", user("nobody", "kms").encrypt, KeyId=key["KeyId"], Plaintext=b"x")


def test_grants_name_principals_that_there_are(kms, key):
    for bad in (
        f"arn:aws:iam::{daemon.ACCOUNT}:user/never-was",
        f"arn:aws:iam::{daemon.ACCOUNT}:group/admins",
        "sns.amazonaws.com",
        "nobody",
    ):
        refused("InvalidArnException", kms.create_grant, KeyId=key["KeyId"], GranteePrincipal=bad, Operations=["Decrypt"], status=400)
        refused("InvalidArnException", kms.create_grant, KeyId=key["KeyId"], GranteePrincipal=NOBODY, RetiringPrincipal=bad, Operations=["Decrypt"])
    session = f"arn:aws:sts::{daemon.ACCOUNT}:assumed-role/worker/s1"
    kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=session, Operations=["Decrypt"])
    assert len(kms.list_grants(KeyId=key["KeyId"])["Grants"]) == 1


def test_grants_have_operations_constraints_and_ids(kms, key):
    call = {"KeyId": key["KeyId"], "GranteePrincipal": NOBODY}
    refused("ValidationException", kms.create_grant, Operations=["Fly"], **call)
    refused("ValidationException", kms.create_grant, Operations=["Sign"], **call)
    both = {"EncryptionContextSubset": {"a": "b"}, "EncryptionContextEquals": {"a": "b"}}
    refused("ValidationException", kms.create_grant, Operations=["Decrypt"], Constraints=both, **call)
    nine = {"EncryptionContextSubset": {str(n): "x" for n in range(9)}}
    refused("ValidationException", kms.create_grant, Operations=["Decrypt"], Constraints=nine, **call)
    refused("InvalidGrantIdException", kms.revoke_grant, KeyId=key["KeyId"], GrantId="zz", status=400)
    refused("NotFoundException", kms.revoke_grant, KeyId=key["KeyId"], GrantId="0" * 64, status=400)
    refused("InvalidGrantTokenException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", GrantTokens=["bogus"], status=400)
    grant = kms.create_grant(Operations=["Decrypt"], **call)
    assert len(grant["GrantId"]) == 64
    refused("DryRunOperationException", kms.revoke_grant, KeyId=key["KeyId"], GrantId=grant["GrantId"], DryRun=True)
    kms.revoke_grant(KeyId=key["KeyId"], GrantId=grant["GrantId"])
    # A token of a grant that is gone is a token still; it gives nothing.
    kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", GrantTokens=[grant["GrantToken"]])


def test_grants_are_listed_in_pages_and_filtered(kms, key):
    made = {kms.create_grant(KeyId=key["KeyId"], GranteePrincipal=who, Operations=["Decrypt"])["GrantId"] for who in (NOBODY, NOBODY, SQS_ONLY)}
    pages = kms.get_paginator("list_grants").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 2})
    assert {grant["GrantId"] for page in pages for grant in page["Grants"]} == made
    assert len(kms.list_grants(KeyId=key["KeyId"], GranteePrincipal=NOBODY)["Grants"]) == 2
    one = next(iter(made))
    assert [grant["GrantId"] for grant in kms.list_grants(KeyId=key["KeyId"], GrantId=one)["Grants"]] == [one]


def test_kms_13_conditions_on_grants(kms, user, key_with):
    made = key_with(
        allow(NOBODY, "kms:CreateGrant", **{
            "ForAllValues:StringEquals": {"kms:GrantOperations": ["Decrypt", "Encrypt"]},
            "StringEquals": {"kms:GranteePrincipal": SQS_ONLY, "kms:GrantConstraintType": "EncryptionContextEquals"},
            "Bool": {"kms:GrantIsForAWSResource": "false"},
        }),
    )
    nobody = user("nobody", "kms")
    good = {"KeyId": made["KeyId"], "GranteePrincipal": SQS_ONLY, "Operations": ["Decrypt"], "Constraints": {"EncryptionContextEquals": {"a": "b"}}}
    nobody.create_grant(**good)
    for change in ({"GranteePrincipal": WORKER}, {"Operations": ["Decrypt", "DescribeKey"]}, {"Constraints": {"EncryptionContextSubset": {"a": "b"}}}):
        refused("AccessDeniedException", nobody.create_grant, **{**good, **change})


# Use through queues


def test_kms_12_queue_calls_carry_the_condition_keys_of_the_key(kms, sqs, user, queue, key_with):
    use = ("kms:GenerateDataKey", "kms:Decrypt")
    tagged = {"StringEquals": {"aws:ResourceTag/stage": "test", "kms:KeySpec": "SYMMETRIC_DEFAULT"}, "Bool": {"aws:ViaAWSService": "true"}}
    made = key_with(allow(SQS_ONLY, *use, **tagged), Tags=[{"TagKey": "stage", "TagValue": "test"}])
    url = queue(KmsMasterKeyId=made["KeyId"])
    user("sqs-only").send_message(QueueUrl=url, MessageBody="x")
    refused("AccessDeniedException", user("sqs-only", "kms").generate_data_key, KeyId=made["KeyId"], KeySpec="AES_256")


def test_scheduling_a_deletion_warns_of_the_queues_that_use_the_key(broker, kms, queue, key):
    url = queue(KmsMasterKeyId=key["KeyId"])
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    lines = [line for line in broker.log().splitlines() if key["Arn"] in line and "will be destroyed" in line]
    assert arn_of(url) in lines[-1]
