//! What the key service tells of keys, in the members and units of the wire. Holds no secrets.

use serde::{Serialize, Serializer};

use super::cryptography::SYMMETRIC_DEFAULT;
use super::key::{ExpirationModel, Key, KeyManager, KeySpec, KeyState, KeyUsage, Origin, RotationType};

/// Milliseconds since 1970 as the wire has them: seconds with a fraction.
fn seconds<S: Serializer>(at_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(*at_ms as f64 / 1_000.0)
}

fn optional_seconds<S: Serializer>(at_ms: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match at_ms {
        Some(at_ms) => seconds(at_ms, serializer),
        None => serializer.serialize_none(),
    }
}

macro_rules! serialize_as_name {
    ($($type:ty),+) => { $(
        impl $type {
            pub(crate) fn wire<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    )+ };
}
serialize_as_name!(KeyUsage, KeySpec, Origin, KeyManager, KeyState, RotationType, ExpirationModel);

fn optional_model<S: Serializer>(model: &Option<ExpirationModel>, serializer: S) -> Result<S::Ok, S::Error> {
    match model {
        Some(model) => model.wire(serializer),
        None => serializer.serialize_none(),
    }
}

fn optional_rotation<S: Serializer>(
    rotation: &Option<RotationType>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match rotation {
        Some(rotation) => rotation.wire(serializer),
        None => serializer.serialize_none(),
    }
}

/// `KeyMetadata` of CreateKey and DescribeKey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadata {
    /// Owner.
    #[serde(rename = "AWSAccountId")]
    pub account: String,
    /// Key ARN.
    pub arn: String,
    /// Milliseconds since 1970.
    #[serde(rename = "CreationDate", serialize_with = "seconds")]
    pub created_at_ms: u64,
    /// 64 hexadecimal digits; only of symmetric keys that have material.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_key_material_id: Option<String>,
    /// Deprecated twin of `key_spec`.
    #[serde(serialize_with = "KeySpec::wire")]
    pub customer_master_key_spec: KeySpec,
    /// End of a pending deletion, milliseconds since 1970.
    #[serde(
        rename = "DeletionDate",
        serialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub deletion_at_ms: Option<u64>,
    /// As given.
    pub description: String,
    /// Only in state Enabled.
    pub enabled: bool,
    /// Of keys that encrypt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encryption_algorithms: Vec<&'static str>,
    /// Imported material only.
    #[serde(serialize_with = "optional_model", skip_serializing_if = "Option::is_none")]
    pub expiration_model: Option<ExpirationModel>,
    /// Key id.
    pub key_id: String,
    /// Who decides about it.
    #[serde(serialize_with = "KeyManager::wire")]
    pub key_manager: KeyManager,
    /// What it is.
    #[serde(serialize_with = "KeySpec::wire")]
    pub key_spec: KeySpec,
    /// Where in its life it is.
    #[serde(serialize_with = "KeyState::wire")]
    pub key_state: KeyState,
    /// What it is for.
    #[serde(serialize_with = "KeyUsage::wire")]
    pub key_usage: KeyUsage,
    /// Always false.
    pub multi_region: bool,
    /// Of keys that make message authentication codes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mac_algorithms: Vec<&'static str>,
    /// Where its material comes from.
    #[serde(serialize_with = "Origin::wire")]
    pub origin: Origin,
    /// Of keys that sign.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signing_algorithms: Vec<&'static str>,
    /// End of imported material, milliseconds since 1970.
    #[serde(
        rename = "ValidTo",
        serialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub valid_to_ms: Option<u64>,
}

impl KeyMetadata {
    pub(crate) fn of(key: &Key) -> Self {
        let state = key.state();
        let material = key.materials.last().filter(|material| material.secret.is_some());
        let imported = material.filter(|_| key.origin == Origin::External);
        let algorithms = |usage| if key.usage == usage { algorithms(key.spec, usage) } else { Vec::new() };
        Self {
            account: key.scope.account.clone(),
            arn: key.arn(),
            created_at_ms: key.created_at_ms,
            current_key_material_id: material
                .filter(|_| key.is_symmetric())
                .map(|material| material.id_hex()),
            customer_master_key_spec: key.spec,
            deletion_at_ms: key.deletion_at_ms,
            description: key.description.clone(),
            enabled: state == KeyState::Enabled,
            encryption_algorithms: algorithms(KeyUsage::EncryptDecrypt),
            expiration_model: imported.map(|material| match material.expires_at_ms {
                Some(_) => ExpirationModel::Expires,
                None => ExpirationModel::DoesNotExpire,
            }),
            key_id: key.id.to_string(),
            key_manager: key.manager,
            key_spec: key.spec,
            key_state: state,
            key_usage: key.usage,
            mac_algorithms: algorithms(KeyUsage::GenerateVerifyMac),
            multi_region: false,
            origin: key.origin,
            signing_algorithms: algorithms(KeyUsage::SignVerify),
            valid_to_ms: imported.and_then(|material| material.expires_at_ms),
        }
    }
}

/// What a key of this spec and usage could do.
fn algorithms(spec: KeySpec, usage: KeyUsage) -> Vec<&'static str> {
    match (spec, usage) {
        (KeySpec::SymmetricDefault, _) => vec![SYMMETRIC_DEFAULT],
        (KeySpec::Hmac256, _) => vec!["HMAC_SHA_256"],
        (KeySpec::EccNistP256, _) => vec!["ECDSA_SHA_256"],
        (KeySpec::Rsa2048, KeyUsage::SignVerify) => vec![
            "RSASSA_PKCS1_V1_5_SHA_256",
            "RSASSA_PKCS1_V1_5_SHA_384",
            "RSASSA_PKCS1_V1_5_SHA_512",
            "RSASSA_PSS_SHA_256",
            "RSASSA_PSS_SHA_384",
            "RSASSA_PSS_SHA_512",
        ],
        (KeySpec::Rsa2048, _) => vec!["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"],
    }
}

/// An entry of ListKeys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyListEntry {
    /// Key id.
    pub key_id: String,
    /// Key ARN.
    pub key_arn: String,
}

/// An entry of ListAliases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AliasListEntry {
    /// With `alias/`.
    pub alias_name: String,
    /// Alias ARN.
    pub alias_arn: String,
    /// None: a predefined alias whose key does not exist yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_key_id: Option<String>,
    /// Milliseconds since 1970; none of a predefined alias without key.
    #[serde(
        rename = "CreationDate",
        serialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at_ms: Option<u64>,
    /// Milliseconds since 1970; none of a predefined alias without key.
    #[serde(
        rename = "LastUpdatedDate",
        serialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub updated_at_ms: Option<u64>,
}

/// The reply of GetKeyRotationStatus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotationStatus {
    /// Key ARN.
    pub key_id: String,
    /// False while deletion is pending.
    pub key_rotation_enabled: bool,
    /// Only when enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_period_in_days: Option<u32>,
    /// Only when enabled; milliseconds since 1970.
    #[serde(
        rename = "NextRotationDate",
        serialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub next_rotation_at_ms: Option<u64>,
}

/// An entry of ListKeyRotations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotationListEntry {
    /// Key ARN.
    pub key_id: String,
    /// 64 hexadecimal digits.
    pub key_material_id: String,
    /// `CURRENT` or `NON_CURRENT`; only when all material is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_material_state: Option<&'static str>,
    /// Milliseconds since 1970; none of the first material.
    #[serde(
        rename = "RotationDate",
        serialize_with = "optional_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub rotated_at_ms: Option<u64>,
    /// None of the first material.
    #[serde(serialize_with = "optional_rotation", skip_serializing_if = "Option::is_none")]
    pub rotation_type: Option<RotationType>,
}
