"""The key service's API to the letter: shapes, names, algorithms, states, aliases, tags, rotation, import."""

import time
import uuid

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

import daemon
from conftest import refused
from key_policy import CONTEXT, NOBODY, ROOT, allow, document, outcome


# Errors of the wire


def test_replies_have_a_request_id_and_actions_without_output_an_empty_body(target, key):
    reply = target("EnableKey", {"KeyId": key["KeyId"]})
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["x-amzn-requestid"]
    assert target("ListKeys", {}).headers["content-type"] == "application/x-amz-json-1.1"


@pytest.mark.parametrize(
    "action",
    """ConnectCustomKeyStore CreateCustomKeyStore DeleteCustomKeyStore DeriveSharedSecret DescribeCustomKeyStores
    DisconnectCustomKeyStore GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext GenerateMac GetKeyLastUsage
    GetPublicKey ReplicateKey Sign UpdateCustomKeyStore UpdatePrimaryRegion Verify VerifyMac""".split(),
)
def test_known_actions_that_are_not_served_say_so(target, action):
    reply = target(action, {"KeyId": "x"})
    assert (reply.status, reply.json()["__type"]) == (400, "UnsupportedOperationException"), reply.text


def test_every_action_of_the_vendors_model_is_served_or_known(kms, target):
    for action in kms.meta.service_model.operation_names:
        assert target(action, {}).json().get("__type") != "UnknownOperationException", action
    assert target("Frobnicate", {}).json()["__type"] == "UnknownOperationException"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"KeyId":7}', b'{"KeyId":"k","Plaintext":"%"}', b"\xff"])
def test_bodies_that_cannot_be_read_are_serialization_errors(target, body):
    reply = target("Encrypt", body)
    assert (reply.status, reply.json()["__type"]) == (400, "SerializationException"), reply.text


def length(member, bound):
    return f"Value at '{member}' failed to satisfy constraint: Member must have length {bound}"


def between(member, value, bound):
    return f"Value '{value}' at '{member}' failed to satisfy constraint: Member must have value {bound}"


SHAPES = [
    ("Encrypt", {"KeyId": "k", "Plaintext": ""}, length("plaintext", "greater than or equal to 1")),
    ("Decrypt", {"CiphertextBlob": "A" * 8196}, length("ciphertextBlob", "less than or equal to 6144")),
    ("Encrypt", {"KeyId": "k", "Plaintext": "YQ==", "GrantTokens": ["t"] * 11}, length("grantTokens", "less than or equal to 10")),
    ("GenerateRandom", {"NumberOfBytes": 0}, between("numberOfBytes", 0, "greater than or equal to 1")),
    ("GenerateRandom", {"NumberOfBytes": 1025}, between("numberOfBytes", 1025, "less than or equal to 1024")),
    ("GenerateDataKey", {"KeyId": "k", "NumberOfBytes": 1025}, between("numberOfBytes", 1025, "less than or equal to 1024")),
    ("GenerateDataKey", {"KeyId": "k", "KeySpec": "AES_192"}, "Value 'AES_192' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]"),
    ("ScheduleKeyDeletion", {"KeyId": "k", "PendingWindowInDays": 6}, between("pendingWindowInDays", 6, "greater than or equal to 7")),
    ("ScheduleKeyDeletion", {"KeyId": "k", "PendingWindowInDays": 31}, between("pendingWindowInDays", 31, "less than or equal to 30")),
    ("EnableKeyRotation", {"KeyId": "k", "RotationPeriodInDays": 89}, between("rotationPeriodInDays", 89, "greater than or equal to 90")),
    ("EnableKeyRotation", {"KeyId": "k", "RotationPeriodInDays": 2561}, between("rotationPeriodInDays", 2561, "less than or equal to 2560")),
    ("ListKeys", {"Limit": 1001}, between("limit", 1001, "less than or equal to 1000")),
    ("ListAliases", {"Limit": 101}, between("limit", 101, "less than or equal to 100")),
    ("ListGrants", {"KeyId": "k", "Limit": 0}, between("limit", 0, "greater than or equal to 1")),
    ("ListResourceTags", {"KeyId": "k", "Limit": 51}, between("limit", 51, "less than or equal to 50")),
    ("CreateKey", {"Description": "x" * 8193}, length("description", "less than or equal to 8192")),
    ("UpdateKeyDescription", {"KeyId": "k", "Description": "x" * 8193}, length("description", "less than or equal to 8192")),
    ("CreateKey", {"Tags": [{"TagKey": "", "TagValue": "v"}]}, length("tags.1.member.tagKey", "greater than or equal to 1")),
    ("CreateKey", {"Tags": [{"TagKey": "k", "TagValue": "v" * 257}]}, length("tags.1.member.tagValue", "less than or equal to 256")),
    ("CreateGrant", {"KeyId": "k", "GranteePrincipal": "a", "Operations": []}, length("operations", "greater than or equal to 1")),
    ("DescribeKey", {}, "Value null at 'keyId' failed to satisfy constraint: Member must not be null"),
]


@pytest.mark.parametrize("action,members,fault", SHAPES, ids=[f"{action}-{n}" for n, (action, _, _) in enumerate(SHAPES)])
def test_shape_errors_have_their_texts(target, action, members, fault):
    reply = target(action, members)
    assert (reply.status, reply.json()) == (
        400,
        {"__type": "ValidationException", "message": f"1 validation error detected: {fault}"},
    )


def test_several_shape_errors_are_reported_together(target):
    text = target("GenerateDataKey", {"KeyId": "", "NumberOfBytes": 0}).json()["message"]
    assert text.startswith("2 validation errors detected: Value at 'keyId'") and "; Value '0' at 'numberOfBytes'" in text


def test_generate_random_needs_a_size_and_gives_other_bytes_each_time(kms):
    assert refused("ValidationException", kms.generate_random) == "NumberOfBytes is required."
    first, second = (kms.generate_random(NumberOfBytes=1024)["Plaintext"] for _ in range(2))
    assert len(first) == 1024 and first != second
    refused("UnsupportedOperationException", kms.generate_random, NumberOfBytes=1, CustomKeyStoreId="cks-1")


def test_names_of_keys_have_their_errors(kms, key):
    elsewhere = f"arn:aws:kms:us-east-2:{daemon.ACCOUNT}:key/{key['KeyId']}"
    assert refused("NotFoundException", kms.describe_key, KeyId=elsewhere) == "Invalid arn us-east-2"
    alias = f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:alias/none"
    assert refused("NotFoundException", kms.describe_key, KeyId="alias/none") == f"Alias {alias} is not found."
    assert refused("NotFoundException", kms.encrypt, KeyId=alias, Plaintext=b"x") == f"Alias {alias} is not found."
    refused("NotFoundException", kms.enable_key, KeyId="alias/none")
    for malformed in (
        f"arn:aws:sqs:us-east-1:{daemon.ACCOUNT}:key/{key['KeyId']}",
        f"arn:aws:kms:us-east-1:{daemon.ACCOUNT}:grant/{key['KeyId']}",
        "arn:aws:kms",
    ):
        refused("InvalidArnException", kms.describe_key, KeyId=malformed, status=400)


def test_bad_markers_are_refused(kms, key):
    kms.create_key()
    marker = kms.list_keys(Limit=1)["NextMarker"]
    for call, parameters in (
        (kms.list_keys, {"Marker": "dGVzdA"}),
        (kms.list_aliases, {"Marker": marker}),
        (kms.list_grants, {"KeyId": key["KeyId"], "Marker": "x"}),
        (kms.list_resource_tags, {"KeyId": key["KeyId"], "Marker": "x"}),
        (kms.list_key_policies, {"KeyId": key["KeyId"], "Marker": "x"}),
        (kms.list_key_rotations, {"KeyId": key["KeyId"], "Marker": "x"}),
        (kms.list_retirable_grants, {"RetiringPrincipal": NOBODY, "Marker": "x"}),
    ):
        refused("InvalidMarkerException", call, status=400, **parameters)


# Algorithms and sizes


def test_an_algorithm_that_the_key_does_not_have_is_refused(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionAlgorithm="SYMMETRIC_DEFAULT")["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionAlgorithm="SYMMETRIC_DEFAULT")["Plaintext"] == b"x"
    other = {"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
    refused("InvalidKeyUsageException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", status=400, **other)
    refused("InvalidKeyUsageException", kms.decrypt, CiphertextBlob=blob, **other)
    for member in ("SourceEncryptionAlgorithm", "DestinationEncryptionAlgorithm"):
        call = {"CiphertextBlob": blob, "DestinationKeyId": key["KeyId"], member: "RSAES_OAEP_SHA_1"}
        refused("InvalidKeyUsageException", kms.re_encrypt, **call)
    refused("ValidationException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", EncryptionAlgorithm="ROT13")


def test_a_key_of_another_usage_is_refused_by_name(kms):
    mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
    assert mac["MacAlgorithms"] == ["HMAC_SHA_256"] and "EncryptionAlgorithms" not in mac
    assert "CurrentKeyMaterialId" not in mac
    text = refused("InvalidKeyUsageException", kms.encrypt, KeyId=mac["Arn"], Plaintext=b"x", status=400)
    assert text == f"{mac['Arn']} key usage is GENERATE_VERIFY_MAC which is not valid for Encrypt."
    refused("InvalidKeyUsageException", kms.generate_data_key, KeyId=mac["Arn"], KeySpec="AES_256")
    refused("UnsupportedOperationException", kms.enable_key_rotation, KeyId=mac["Arn"])
    refused("UnsupportedOperationException", kms.rotate_key_on_demand, KeyId=mac["Arn"])
    text = refused("ValidationException", kms.create_key, KeySpec="HMAC_256")
    assert text == "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."


def test_parts_of_create_key_that_are_not_served_are_refused(kms):
    for members in ({"MultiRegion": True}, {"Origin": "AWS_CLOUDHSM"}, {"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}, {"XksKeyId": "x"}):
        refused("UnsupportedOperationException", kms.create_key, status=400, **members)
    refused("ValidationException", kms.create_key, KeySpec="SYMMETRIC_DEFAULT", CustomerMasterKeySpec="RSA_2048")
    assert kms.create_key(CustomerMasterKeySpec="SYMMETRIC_DEFAULT")["KeyMetadata"]["KeySpec"] == "SYMMETRIC_DEFAULT"


def test_a_data_key_without_plaintext_opens_to_its_size(kms, key):
    for size, expected in (({"KeySpec": "AES_128"}, 16), ({"KeySpec": "AES_256"}, 32), ({"NumberOfBytes": 1024}, 1024)):
        made = kms.generate_data_key_without_plaintext(KeyId=key["KeyId"], EncryptionContext=CONTEXT, **size)
        assert "Plaintext" not in made and made["KeyId"] == key["Arn"] and len(made["KeyMaterialId"]) == 64
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT)
        assert len(opened["Plaintext"]) == expected


def test_re_encrypt_moves_to_another_key_and_context(kms, key):
    other = kms.create_key()["KeyMetadata"]
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    call = {"CiphertextBlob": blob, "DestinationKeyId": other["Arn"], "DestinationEncryptionContext": {"a": "b"}}
    moved = kms.re_encrypt(SourceEncryptionContext=CONTEXT, SourceKeyId=key["KeyId"], **call)
    assert (moved["SourceKeyId"], moved["KeyId"]) == (key["Arn"], other["Arn"])
    assert moved["SourceKeyMaterialId"] == key["CurrentKeyMaterialId"]
    assert moved["DestinationKeyMaterialId"] == other["CurrentKeyMaterialId"]
    assert kms.decrypt(CiphertextBlob=moved["CiphertextBlob"], EncryptionContext={"a": "b"})["Plaintext"] == b"x"
    refused("InvalidCiphertextException", kms.re_encrypt, **call)
    refused("IncorrectKeyException", kms.re_encrypt, SourceEncryptionContext=CONTEXT, SourceKeyId=other["KeyId"], **call)


def test_a_context_has_at_most_8192_bytes(kms, key):
    fits = {"a": "x" * (8192 - 17)}
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext=fits)["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext=fits)["Plaintext"] == b"x"
    refused("ValidationException", kms.encrypt, KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"a": "x" * 8176})


# The state table


@pytest.fixture
def key_in(kms):
    """key_in(state): a fresh key in a state, by way of the API."""

    def make(state):
        origin = "EXTERNAL" if state == "PendingImport" else "AWS_KMS"
        made = kms.create_key(Origin=origin)["KeyMetadata"]["KeyId"]
        if state == "Disabled":
            kms.disable_key(KeyId=made)
        if state == "PendingDeletion":
            kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=7)
        assert kms.describe_key(KeyId=made)["KeyMetadata"]["KeyState"] == state
        return made

    return make


STATES = ("Enabled", "Disabled", "PendingDeletion", "PendingImport")
OK, DISABLED, STATE, UNSUPPORTED = None, "DisabledException", "KMSInvalidStateException", "UnsupportedOperationException"
WRAPPING = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_2048"}
GRANT = {"GranteePrincipal": NOBODY, "Operations": ["Decrypt"]}
TABLE = [
    ("encrypt", {"Plaintext": b"x"}, (OK, DISABLED, STATE, STATE)),
    ("generate_data_key", {"KeySpec": "AES_256"}, (OK, DISABLED, STATE, STATE)),
    ("generate_data_key_without_plaintext", {"KeySpec": "AES_256"}, (OK, DISABLED, STATE, STATE)),
    ("create_grant", GRANT, (OK, DISABLED, STATE, STATE)),
    ("enable_key_rotation", {}, (OK, DISABLED, STATE, UNSUPPORTED)),
    ("disable_key_rotation", {}, (OK, DISABLED, STATE, UNSUPPORTED)),
    ("rotate_key_on_demand", {}, (OK, DISABLED, STATE, UNSUPPORTED)),
    ("enable_key", {}, (OK, OK, STATE, STATE)),
    ("disable_key", {}, (OK, OK, STATE, STATE)),
    ("schedule_key_deletion", {}, (OK, OK, STATE, OK)),
    ("cancel_key_deletion", {}, (STATE, STATE, OK, STATE)),
    ("tag_resource", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}, (OK, OK, STATE, OK)),
    ("untag_resource", {"TagKeys": ["a"]}, (OK, OK, STATE, OK)),
    ("update_key_description", {"Description": "d"}, (OK, OK, STATE, OK)),
    ("describe_key", {}, (OK, OK, OK, OK)),
    ("get_key_policy", {}, (OK, OK, OK, OK)),
    ("put_key_policy", {"Policy": document(allow(ROOT, "kms:*"))}, (OK, OK, OK, OK)),
    ("list_key_policies", {}, (OK, OK, OK, OK)),
    ("list_resource_tags", {}, (OK, OK, OK, OK)),
    ("list_grants", {}, (OK, OK, OK, OK)),
    ("list_key_rotations", {}, (OK, OK, OK, OK)),
    ("get_key_rotation_status", {}, (OK, OK, OK, OK)),
    ("get_parameters_for_import", WRAPPING, (UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, OK)),
    ("delete_imported_key_material", {}, (UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, OK)),
]


@pytest.mark.parametrize("action,parameters,row", TABLE, ids=[action for action, _, _ in TABLE])
def test_kms_7_each_action_in_each_state(kms, key_in, action, parameters, row):
    for state, expected in zip(STATES, row):
        assert outcome(getattr(kms, action), KeyId=key_in(state), **parameters) == expected, state


def test_kms_7_decrypt_and_re_encrypt_follow_the_state(kms, key):
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key["KeyId"])
    for call in ({"DestinationKeyId": other}, {"DestinationKeyId": key["KeyId"]}):
        assert refused("DisabledException", kms.re_encrypt, CiphertextBlob=blob, **call) == f"{key['Arn']} is disabled."
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    text = refused("KMSInvalidStateException", kms.decrypt, CiphertextBlob=blob, status=400)
    assert text == f"{key['Arn']} is pending deletion."
    kms.cancel_key_deletion(KeyId=key["KeyId"])
    text = refused("KMSInvalidStateException", kms.cancel_key_deletion, KeyId=key["KeyId"])
    assert text == f"{key['Arn']} is not pending deletion."


def test_kms_7_aliases_in_each_state(kms, key_in):
    for state, expected in zip(STATES, (OK, OK, STATE, OK)):
        made, name = key_in(state), f"alias/{uuid.uuid4()}"
        assert outcome(kms.create_alias, AliasName=name, TargetKeyId=made) == expected, state
        moving = f"alias/{uuid.uuid4()}"
        kms.create_alias(AliasName=moving, TargetKeyId=key_in("Enabled"))
        assert outcome(kms.update_alias, AliasName=moving, TargetKeyId=made) == expected, state
    leaving, name = key_in("Enabled"), f"alias/{uuid.uuid4()}"
    kms.create_alias(AliasName=name, TargetKeyId=leaving)
    kms.schedule_key_deletion(KeyId=leaving, PendingWindowInDays=7)
    kms.update_alias(AliasName=name, TargetKeyId=key_in("Enabled"))
    kms.delete_alias(AliasName=name)


# Tags


def test_tags_are_set_overwritten_listed_and_removed(kms):
    made = kms.create_key(Tags=[{"TagKey": "a", "TagValue": "1"}])["KeyMetadata"]["KeyId"]
    kms.tag_resource(KeyId=made, Tags=[{"TagKey": "a", "TagValue": "2"}, {"TagKey": "b", "TagValue": ""}])
    assert kms.list_resource_tags(KeyId=made)["Tags"] == [{"TagKey": "a", "TagValue": "2"}, {"TagKey": "b", "TagValue": ""}]
    page = kms.list_resource_tags(KeyId=made, Limit=1)
    assert page["Truncated"] and kms.list_resource_tags(KeyId=made, Marker=page["NextMarker"])["Tags"][0]["TagKey"] == "b"
    kms.untag_resource(KeyId=made, TagKeys=["a", "unknown"])
    assert [tag["TagKey"] for tag in kms.list_resource_tags(KeyId=made)["Tags"]] == ["b"]


def test_tag_faults_have_their_texts(kms, key):
    tag = lambda name: {"TagKey": name, "TagValue": "v"}
    many = [tag(f"t{n}") for n in range(51)]
    for tags, text in (
        ([tag("a"), tag("a")], "Duplicate tag keys"),
        (many, "Too many tags"),
        ([tag("AWS:a")], "Tags beginning with aws: are reserved"),
        ([tag("aws:a")], "Tags beginning with aws: are reserved"),
    ):
        assert refused("TagException", kms.create_key, Tags=tags, status=400) == text
        assert refused("TagException", kms.tag_resource, KeyId=key["KeyId"], Tags=tags, status=400) == text
    kms.tag_resource(KeyId=key["KeyId"], Tags=many[:50])
    assert refused("TagException", kms.tag_resource, KeyId=key["KeyId"], Tags=[tag("one-more")]) == "Too many tags"


# Rotation


def test_rotation_is_enabled_changed_listed_and_disabled(kms, key):
    named = {"KeyId": key["KeyId"]}
    assert kms.get_key_rotation_status(**named)["KeyRotationEnabled"] is False
    kms.enable_key_rotation(**named)
    assert kms.get_key_rotation_status(**named)["RotationPeriodInDays"] == 365
    kms.enable_key_rotation(RotationPeriodInDays=90, **named)
    status = kms.get_key_rotation_status(**named)
    assert (status["KeyId"], status["RotationPeriodInDays"]) == (key["Arn"], 90)
    assert abs((status["NextRotationDate"] - key["CreationDate"]).days - 90) <= 1
    kms.schedule_key_deletion(PendingWindowInDays=7, **named)
    assert kms.get_key_rotation_status(**named)["KeyRotationEnabled"] is False
    kms.cancel_key_deletion(**named)
    assert kms.get_key_rotation_status(**named)["KeyRotationEnabled"] is True
    kms.enable_key(**named)
    kms.disable_key_rotation(**named)
    kms.disable_key_rotation(**named)
    assert "NextRotationDate" not in kms.get_key_rotation_status(**named)


def test_kms_5_rotations_on_demand_end_at_twenty_five_and_are_listed(kms, key):
    named = {"KeyId": key["KeyId"]}
    blob = kms.encrypt(Plaintext=b"first", **named)["CiphertextBlob"]
    for _ in range(25):
        assert kms.rotate_key_on_demand(**named)["KeyId"] == key["Arn"]
    text = refused("LimitExceededException", kms.rotate_key_on_demand, status=400, **named)
    assert text == (
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be "
        f"performed for this key: {key['Arn']}"
    )
    opened = kms.decrypt(CiphertextBlob=blob)
    assert (opened["Plaintext"], opened["KeyMaterialId"]) == (b"first", key["CurrentKeyMaterialId"])
    pages = kms.get_paginator("list_key_rotations").paginate(PaginationConfig={"PageSize": 10}, **named)
    rotations = [rotation for page in pages for rotation in page["Rotations"]]
    assert len(rotations) == 25 and {rotation["RotationType"] for rotation in rotations} == {"ON_DEMAND"}
    dates = [rotation["RotationDate"] for rotation in rotations]
    assert dates == sorted(dates) and "KeyMaterialState" not in rotations[0]
    whole = kms.list_key_rotations(IncludeKeyMaterial="ALL_KEY_MATERIAL", **named)["Rotations"]
    assert len(whole) == 26 and "RotationDate" not in whole[0]
    assert [entry["KeyMaterialState"] for entry in whole].count("CURRENT") == 1
    assert whole[-1]["KeyMaterialId"] == kms.describe_key(**named)["KeyMetadata"]["CurrentKeyMaterialId"]


# Import


def wrapped(parameters, material):
    public = serialization.load_der_public_key(parameters["PublicKey"])
    return public.encrypt(material, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))


def test_imported_material_comes_goes_and_comes_back(kms):
    made = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    named = {"KeyId": made["KeyId"]}
    assert (made["KeyState"], made["Enabled"], made["Origin"]) == ("PendingImport", False, "EXTERNAL")
    parameters = kms.get_parameters_for_import(**WRAPPING, **named)
    assert parameters["KeyId"] == made["Arn"]
    material = {"ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": wrapped(parameters, b"m" * 32)}
    text = refused("ValidationException", kms.import_key_material, **material, **named)
    assert text == "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
    forever = {"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    imported = kms.import_key_material(**material, **forever, **named)
    described = kms.describe_key(**named)["KeyMetadata"]
    assert (described["KeyState"], described["ExpirationModel"]) == ("Enabled", "KEY_MATERIAL_DOES_NOT_EXPIRE")
    assert described["CurrentKeyMaterialId"] == imported["KeyMaterialId"]
    blob = kms.encrypt(Plaintext=b"x", **named)["CiphertextBlob"]
    refused("UnsupportedOperationException", kms.enable_key_rotation, **named)
    kms.delete_imported_key_material(**named)
    text = refused("KMSInvalidStateException", kms.decrypt, CiphertextBlob=blob)
    assert text == f"{made['Arn']} is pending import."
    other = {**material, "EncryptedKeyMaterial": wrapped(parameters, b"o" * 32)}
    refused("IncorrectKeyMaterialException", kms.import_key_material, status=400, **other, **forever, **named)
    kms.import_key_material(**material, **forever, **named)
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_import_refuses_foreign_tokens_bad_material_and_other_origins(kms, key):
    one, two = (kms.create_key(Origin="EXTERNAL")["KeyMetadata"]["KeyId"] for _ in range(2))
    parameters = kms.get_parameters_for_import(KeyId=one, **WRAPPING)
    good = {"ImportToken": parameters["ImportToken"], "EncryptedKeyMaterial": wrapped(parameters, b"m" * 32), "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}
    dated = {**good, "ValidTo": time.time() + 3600}
    refused("ValidationException", kms.import_key_material, KeyId=one, status=400, **dated)
    refused("InvalidImportTokenException", kms.import_key_material, KeyId=two, status=400, **good)
    refused("InvalidImportTokenException", kms.import_key_material, KeyId=one, **{**good, "ImportToken": b"x"})
    refused("InvalidCiphertextException", kms.import_key_material, KeyId=one, **{**good, "EncryptedKeyMaterial": b"x" * 256})
    text = refused("UnsupportedOperationException", kms.import_key_material, KeyId=key["KeyId"], **good)
    assert text == f"{key['Arn']} origin is AWS_KMS which is not valid for this operation."
    for change in ({"WrappingAlgorithm": "RSAES_PKCS1_V1_5"}, {"WrappingKeySpec": "SM2"}):
        refused("UnsupportedOperationException", kms.get_parameters_for_import, KeyId=one, **{**WRAPPING, **change})
