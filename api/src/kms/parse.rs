//! From JSON members to requests.

use super::action::ServedAction as A;
use super::error::{KmsErrorName, KmsErrorReply};
use super::members::{GRANT_TOKEN_CHARS_MAX, Members};
use super::request::{
    AliasTo, Blob, CreateGrant, CreateKey, Decrypt, DeleteAlias, DeleteImportedKeyMaterial,
    EnableKeyRotation, Encrypt, GenerateDataKey, GetKeyPolicy, GetParametersForImport, ImportKeyMaterial,
    KmsCall, KmsRequest as R, ListAliases, ListGrants, ListKeyRotations, ListKeys, ListOfKey, ListPage,
    ListRetirableGrants, OnKey, PutKeyPolicy, ReEncrypt, RetireGrant, RevokeGrant, ScheduleKeyDeletion,
    TagResource, UntagResource, UpdateKeyDescription,
};

/// Most bytes Encrypt takes.
pub(super) const PLAINTEXT_BYTES_MAX: usize = 4_096;
/// Most bytes of a ciphertext blob, an import token, wrapped material.
const BLOB_BYTES_MAX: usize = 6_144;
/// Most bytes of a data key and of GenerateRandom.
const RANDOM_BYTES_MAX: i64 = 1_024;
/// Longest policy whose shape is good, characters. How long a key policy may be is less, and another error.
const POLICY_CHARS_MAX: usize = 131_072;
const KEY_ID_CHARS_MAX: usize = 2_048;
const DESCRIPTION_CHARS_MAX: usize = 8_192;
const PRINCIPAL_CHARS_MAX: usize = 256;
const MARKER_CHARS_MAX: usize = 1_024;
const TAG_KEYS_MAX: usize = 1_024;

const ALGORITHMS: &[&str] = &["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"];
const DATA_KEY_SPECS: &[&str] = &["AES_256", "AES_128"];
const USAGES: &[&str] = &["SIGN_VERIFY", "ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"];
const KEY_SPECS: &[&str] = &[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
];
const ORIGINS: &[&str] = &["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
const OPERATIONS: &[&str] = &[
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
    "Sign",
    "Verify",
    "GetPublicKey",
    "CreateGrant",
    "RetireGrant",
    "DescribeKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "VerifyMac",
    "DeriveSharedSecret",
];
const WRAPPING_ALGORITHMS: &[&str] = &[
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_256",
    "SM2PKE",
];
const WRAPPING_KEY_SPECS: &[&str] = &["RSA_2048", "RSA_3072", "RSA_4096", "SM2"];
const IMPORT_TYPES: &[&str] = &["NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL"];
const EXPIRATION_MODELS: &[&str] = &["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE"];

type Parsed<T> = Result<T, KmsErrorReply>;

/// Parts of the API that are known and not served, whatever else the request says: enclaves, checks without a
/// ciphertext, material with a description, key stores outside of the service.
const UNSERVED_MEMBERS: [&str; 5] =
    ["Recipient", "DryRunModifiers", "KeyMaterialDescription", "CustomKeyStoreId", "XksKeyId"];

pub(super) fn parse(action: A, body: &[u8]) -> Parsed<KmsCall> {
    let mut members = Members::new(body)?;
    if let Some(unserved) = UNSERVED_MEMBERS.into_iter().find(|member| members.is_present(member)) {
        return Err(KmsErrorReply::unsupported(unserved));
    }
    let grant_tokens = members.grant_tokens()?;
    let request = request(action, &mut members)?;
    Ok(KmsCall { request, grant_tokens, parameters: members.finish()? })
}

fn request(action: A, m: &mut Members) -> Parsed<R> {
    Ok(match action {
        A::Encrypt | A::Decrypt | A::ReEncrypt | A::GenerateDataKey | A::GenerateDataKeyWithoutPlaintext => {
            cryptographic(action, m)?
        }
        A::CreateGrant | A::ListGrants | A::ListRetirableGrants | A::RetireGrant | A::RevokeGrant => {
            on_grants(action, m)?
        }
        A::GenerateRandom => {
            let count = m.number("NumberOfBytes", 1..=RANDOM_BYTES_MAX)?;
            let missing =
                || KmsErrorReply::new(KmsErrorName::ValidationException, "NumberOfBytes is required.");
            R::GenerateRandom(count.ok_or_else(missing)?)
        }
        A::CreateKey => R::CreateKey(create_key(m)?),
        A::CreateAlias => R::CreateAlias(alias_to(m)?),
        A::UpdateAlias => R::UpdateAlias(alias_to(m)?),
        A::DeleteAlias => R::DeleteAlias(DeleteAlias { alias_name: alias_name(m)? }),
        A::CancelKeyDeletion => R::CancelKeyDeletion(on_key(m)?),
        A::DeleteImportedKeyMaterial => R::DeleteImportedKeyMaterial(DeleteImportedKeyMaterial {
            key_id: key_id(m)?,
            material_id: material_id(m)?,
        }),
        A::DescribeKey => R::DescribeKey(on_key(m)?),
        A::DisableKey => R::DisableKey(on_key(m)?),
        A::DisableKeyRotation => R::DisableKeyRotation(on_key(m)?),
        A::EnableKey => R::EnableKey(on_key(m)?),
        A::GetKeyRotationStatus => R::GetKeyRotationStatus(on_key(m)?),
        A::RotateKeyOnDemand => R::RotateKeyOnDemand(on_key(m)?),
        A::EnableKeyRotation => R::EnableKeyRotation(EnableKeyRotation {
            key_id: key_id(m)?,
            period_days: m.number("RotationPeriodInDays", 90..=2_560)?,
        }),
        A::ScheduleKeyDeletion => R::ScheduleKeyDeletion(ScheduleKeyDeletion {
            key_id: key_id(m)?,
            pending_window_days: m.number("PendingWindowInDays", 7..=30)?,
        }),
        A::UpdateKeyDescription => {
            let key_id = key_id(m)?;
            let description = m.text("Description", 0..=DESCRIPTION_CHARS_MAX)?;
            R::UpdateKeyDescription(UpdateKeyDescription {
                key_id,
                description: m.required("Description", description),
            })
        }
        A::ListKeys => R::ListKeys(ListKeys { page: page(m, 1_000)? }),
        A::ListAliases => R::ListAliases(ListAliases {
            key_id: m.text("KeyId", 1..=KEY_ID_CHARS_MAX)?,
            page: page(m, 100)?,
        }),
        A::ListKeyPolicies => R::ListKeyPolicies(ListOfKey { key_id: key_id(m)?, page: page(m, 1_000)? }),
        A::ListResourceTags => R::ListResourceTags(ListOfKey { key_id: key_id(m)?, page: page(m, 50)? }),
        A::ListKeyRotations => {
            let include = m.one_of("IncludeKeyMaterial", &["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"])?;
            R::ListKeyRotations(ListKeyRotations {
                key_id: key_id(m)?,
                all_material: include.as_deref() == Some("ALL_KEY_MATERIAL"),
                page: page(m, 1_000)?,
            })
        }
        A::GetKeyPolicy => {
            R::GetKeyPolicy(GetKeyPolicy { key_id: key_id(m)?, policy_name: m.text("PolicyName", 1..=128)? })
        }
        A::PutKeyPolicy => {
            let key_id = key_id(m)?;
            let policy = policy(m)?;
            R::PutKeyPolicy(PutKeyPolicy {
                key_id,
                policy_name: m.text("PolicyName", 1..=128)?,
                policy: m.required("Policy", policy),
                bypass_lockout_check: m.flag("BypassPolicyLockoutSafetyCheck")?,
            })
        }
        A::TagResource => {
            let key_id = key_id(m)?;
            let tags = m.tags("Tags")?;
            R::TagResource(TagResource { key_id, tags: m.required("Tags", tags) })
        }
        A::UntagResource => {
            let key_id = key_id(m)?;
            let tag_keys = m.texts("TagKeys", 0..=TAG_KEYS_MAX, 1..=128)?;
            R::UntagResource(UntagResource { key_id, tag_keys: m.required("TagKeys", tag_keys) })
        }
        A::GetParametersForImport => {
            let key_id = key_id(m)?;
            let algorithm = m.one_of("WrappingAlgorithm", WRAPPING_ALGORITHMS)?;
            let spec = m.one_of("WrappingKeySpec", WRAPPING_KEY_SPECS)?;
            R::GetParametersForImport(GetParametersForImport {
                key_id,
                wrapping_algorithm: m.required("WrappingAlgorithm", algorithm),
                wrapping_key_spec: m.required("WrappingKeySpec", spec),
            })
        }
        A::ImportKeyMaterial => R::ImportKeyMaterial(ImportKeyMaterial {
            key_id: key_id(m)?,
            import_token: blob(m, "ImportToken", BLOB_BYTES_MAX)?,
            encrypted_material: blob(m, "EncryptedKeyMaterial", BLOB_BYTES_MAX)?,
            material_id: material_id(m)?,
            import_type: m.one_of("ImportType", IMPORT_TYPES)?,
            valid_to_ms: m.date_ms("ValidTo")?,
            expiration_model: m.one_of("ExpirationModel", EXPIRATION_MODELS)?,
        }),
    })
}

fn cryptographic(action: A, m: &mut Members) -> Parsed<R> {
    let dry_run = m.flag("DryRun")?;
    Ok(match action {
        A::Encrypt => R::Encrypt(Encrypt {
            key_id: key_id(m)?,
            plaintext: blob(m, "Plaintext", PLAINTEXT_BYTES_MAX)?,
            context: m.context("EncryptionContext")?,
            algorithm: m.one_of("EncryptionAlgorithm", ALGORITHMS)?,
            dry_run,
        }),
        A::Decrypt => R::Decrypt(Decrypt {
            ciphertext_blob: blob(m, "CiphertextBlob", BLOB_BYTES_MAX)?,
            key_id: m.text("KeyId", 1..=KEY_ID_CHARS_MAX)?,
            context: m.context("EncryptionContext")?,
            algorithm: m.one_of("EncryptionAlgorithm", ALGORITHMS)?,
            dry_run,
        }),
        A::ReEncrypt => {
            let destination = m.text("DestinationKeyId", 1..=KEY_ID_CHARS_MAX)?;
            R::ReEncrypt(ReEncrypt {
                ciphertext_blob: blob(m, "CiphertextBlob", BLOB_BYTES_MAX)?,
                source_key_id: m.text("SourceKeyId", 1..=KEY_ID_CHARS_MAX)?,
                source_context: m.context("SourceEncryptionContext")?,
                destination_key_id: m.required("DestinationKeyId", destination),
                destination_context: m.context("DestinationEncryptionContext")?,
                algorithms: [
                    m.one_of("SourceEncryptionAlgorithm", ALGORITHMS)?,
                    m.one_of("DestinationEncryptionAlgorithm", ALGORITHMS)?,
                ],
                dry_run,
            })
        }
        _ => {
            let request = GenerateDataKey {
                key_id: key_id(m)?,
                key_spec: m.one_of("KeySpec", DATA_KEY_SPECS)?,
                number_of_bytes: m.number("NumberOfBytes", 1..=RANDOM_BYTES_MAX)?,
                context: m.context("EncryptionContext")?,
                dry_run,
            };
            match action {
                A::GenerateDataKey => R::GenerateDataKey(request),
                _ => R::GenerateDataKeyWithoutPlaintext(request),
            }
        }
    })
}

fn on_grants(action: A, m: &mut Members) -> Parsed<R> {
    Ok(match action {
        A::CreateGrant => {
            let key_id = key_id(m)?;
            let grantee = principal(m, "GranteePrincipal")?;
            let operations = m.texts("Operations", 1..=OPERATIONS.len(), 0..=usize::MAX)?;
            for (at, operation) in operations.iter().flatten().enumerate() {
                m.faults.one_of(&format!("operations.{}.member", at + 1), operation, OPERATIONS);
            }
            let [context_subset, context_equals] = m.constraints()?;
            R::CreateGrant(CreateGrant {
                key_id,
                grantee: m.required("GranteePrincipal", grantee),
                retiring: principal(m, "RetiringPrincipal")?,
                operations: m.required("Operations", operations),
                context_subset,
                context_equals,
                name: m.characters("Name", 1..=256, "^[a-zA-Z0-9:/_-]+$", is_name)?,
                dry_run: m.flag("DryRun")?,
            })
        }
        A::ListGrants => R::ListGrants(ListGrants {
            key_id: key_id(m)?,
            grant_id: m.text("GrantId", 1..=128)?,
            grantee: principal(m, "GranteePrincipal")?,
            page: page(m, 100)?,
        }),
        A::ListRetirableGrants => {
            let retiring = principal(m, "RetiringPrincipal")?;
            R::ListRetirableGrants(ListRetirableGrants {
                retiring: m.required("RetiringPrincipal", retiring),
                page: page(m, 100)?,
            })
        }
        A::RetireGrant => R::RetireGrant(RetireGrant {
            grant_token: m.text("GrantToken", 1..=GRANT_TOKEN_CHARS_MAX)?,
            key_id: m.text("KeyId", 1..=KEY_ID_CHARS_MAX)?,
            grant_id: m.text("GrantId", 1..=128)?,
            dry_run: m.flag("DryRun")?,
        }),
        _ => {
            let key_id = key_id(m)?;
            let grant_id = m.text("GrantId", 1..=128)?;
            R::RevokeGrant(RevokeGrant {
                key_id,
                grant_id: m.required("GrantId", grant_id),
                dry_run: m.flag("DryRun")?,
            })
        }
    })
}

fn create_key(m: &mut Members) -> Parsed<CreateKey> {
    let policy = policy(m)?;
    let key_spec = m.one_of("KeySpec", KEY_SPECS)?;
    let twin = m.one_of("CustomerMasterKeySpec", KEY_SPECS)?;
    if let (Some(spec), Some(twin)) = (&key_spec, &twin)
        && spec != twin
    {
        return Err(KmsErrorReply::new(
            KmsErrorName::ValidationException,
            "You cannot specify KeySpec and CustomerMasterKeySpec with different values.",
        ));
    }
    if m.flag("MultiRegion")? {
        return Err(KmsErrorReply::unsupported("MultiRegion"));
    }
    Ok(CreateKey {
        policy,
        description: m.text("Description", 0..=DESCRIPTION_CHARS_MAX)?,
        key_usage: m.one_of("KeyUsage", USAGES)?,
        key_spec: key_spec.or(twin),
        origin: m.one_of("Origin", ORIGINS)?,
        tags: m.tags("Tags")?.unwrap_or_default(),
        bypass_lockout_check: m.flag("BypassPolicyLockoutSafetyCheck")?,
    })
}

fn on_key(m: &mut Members) -> Parsed<OnKey> {
    Ok(OnKey { key_id: key_id(m)? })
}

fn key_id(m: &mut Members) -> Parsed<String> {
    let key_id = m.text("KeyId", 1..=KEY_ID_CHARS_MAX)?;
    Ok(m.required("KeyId", key_id))
}

/// 64 hexadecimal digits.
fn material_id(m: &mut Members) -> Parsed<Option<String>> {
    m.characters("KeyMaterialId", 64..=64, "^[a-f0-9]+$", |c| matches!(c, 'a'..='f' | '0'..='9'))
}

fn alias_to(m: &mut Members) -> Parsed<AliasTo> {
    let alias_name = alias_name(m)?;
    let target = m.text("TargetKeyId", 1..=KEY_ID_CHARS_MAX)?;
    Ok(AliasTo { alias_name, target_key_id: m.required("TargetKeyId", target) })
}

fn alias_name(m: &mut Members) -> Parsed<String> {
    let name = m.characters("AliasName", 1..=256, "^[a-zA-Z0-9:/_-]+$", is_name)?;
    Ok(m.required("AliasName", name))
}

fn principal(m: &mut Members, member: &str) -> Parsed<Option<String>> {
    m.characters(member, 1..=PRINCIPAL_CHARS_MAX, "^[\\w+=,.@:/-]+$", |c| {
        c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c)
    })
}

fn policy(m: &mut Members) -> Parsed<Option<String>> {
    m.characters("Policy", 1..=POLICY_CHARS_MAX, "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+", |c| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FF}')
    })
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || ":/_-".contains(c)
}

fn blob(m: &mut Members, member: &str, bytes_max: usize) -> Parsed<Blob> {
    let bytes = m.blob(member, 1..=bytes_max)?;
    Ok(Blob(m.required(member, bytes)))
}

fn page(m: &mut Members, limit_max: i64) -> Parsed<ListPage> {
    let limit = m.number("Limit", 1..=limit_max)?;
    Ok(ListPage { limit, marker: m.text("Marker", 1..=MARKER_CHARS_MAX)? })
}
