//! A key as it is stored: what it is for, its materials, its state, its schedules.
//!
//! Knows neither aliases nor grants. Material bytes are wiped when dropped and never printed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::kms_error::KmsError;
use crate::ciphertext_blob::{self, MATERIAL_SHORT_ID_BYTES};
use crate::entropy::{Entropy, EntropyError, random};

/// Id of a key: a random (version 4) UUID. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId([u8; 16]);

impl KeyId {
    pub(crate) fn generate(entropy: &mut dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self(uuid::Builder::from_random_bytes(random(entropy)?).into_uuid().into_bytes()))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the usual form only: 36 characters, lower case, with hyphens.
    pub fn parse(text: &str) -> Option<Self> {
        let id = Self(Uuid::try_parse(text).ok()?.into_bytes());
        (id.to_string() == text).then_some(id)
    }

    pub(crate) const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).fmt(f)
    }
}

/// Whose keys are meant: the caller's partition, account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// For instance `aws`.
    pub partition: String,
    /// Twelve digits.
    pub account: String,
    /// For instance `eu-central-1`.
    pub region: String,
}

impl Scope {
    /// ARN of a key of this scope, existing or not.
    pub fn key_arn(&self, id: &str) -> String {
        format!("arn:{}:kms:{}:{}:key/{id}", self.partition, self.region, self.account)
    }

    /// ARN of an alias of this scope; `name` begins with `alias/`.
    pub fn alias_arn(&self, name: &str) -> String {
        format!("arn:{}:kms:{}:{}:{name}", self.partition, self.region, self.account)
    }
}

macro_rules! wire_names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $type { $($(#[$variant_doc])* #[doc = concat!("`", $name, "`")] $variant),+ }

        impl $type {
            /// Every name, in the vendor's order.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// By the name on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use wire_names;

wire_names! {
    /// What a key is for.
    KeyUsage {
        SignVerify = "SIGN_VERIFY",
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
    }
}

wire_names! {
    /// What a key is. Only `SYMMETRIC_DEFAULT` does cryptography here; the others exist as metadata.
    KeySpec {
        Hmac256 = "HMAC_256",
        Rsa2048 = "RSA_2048",
        EccNistP256 = "ECC_NIST_P256",
        SymmetricDefault = "SYMMETRIC_DEFAULT",
    }
}

wire_names! {
    /// Where a key's material comes from.
    Origin {
        AwsKms = "AWS_KMS",
        External = "EXTERNAL",
    }
}

wire_names! {
    /// Who decides about a key.
    KeyManager {
        Aws = "AWS",
        Customer = "CUSTOMER",
    }
}

wire_names! {
    /// Where in its life a key is.
    KeyState {
        Enabled = "Enabled",
        Disabled = "Disabled",
        PendingDeletion = "PendingDeletion",
        PendingImport = "PendingImport",
    }
}

wire_names! {
    /// Why there is a new material.
    RotationType {
        Automatic = "AUTOMATIC",
        OnDemand = "ON_DEMAND",
    }
}

wire_names! {
    /// Whether imported material has an end.
    ExpirationModel {
        Expires = "KEY_MATERIAL_EXPIRES",
        DoesNotExpire = "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

/// 32 bytes that seal blobs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct MaterialSecret([u8; 32]);

impl MaterialSecret {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MaterialSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaterialSecret")
    }
}

/// One material of a key. The last is the current one; older ones open old blobs for the life of the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Material {
    pub(crate) id: [u8; 32],
    /// `None`: imported material that expired or was deleted; the same bytes may come back.
    pub(crate) secret: Option<MaterialSecret>,
    pub(crate) created_at_ms: u64,
    /// `None`: the first material.
    pub(crate) rotation: Option<RotationType>,
    /// Imported material: when it ends; `None` for never.
    pub(crate) expires_at_ms: Option<u64>,
}

impl Material {
    pub(crate) fn id_hex(&self) -> String {
        hex::encode(self.id)
    }
}

/// Automatic rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RotationSchedule {
    pub(crate) period_days: u32,
    pub(crate) next_at_ms: u64,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) id: KeyId,
    pub(crate) scope: Scope,
    pub(crate) description: String,
    pub(crate) usage: KeyUsage,
    pub(crate) spec: KeySpec,
    pub(crate) origin: Origin,
    pub(crate) manager: KeyManager,
    /// As last set; the state follows from this, the material and the deletion date.
    pub(crate) enabled: bool,
    pub(crate) created_at_ms: u64,
    pub(crate) deletion_at_ms: Option<u64>,
    pub(crate) materials: Vec<Material>,
    /// Kept while deletion is pending, so that cancelling restores it.
    pub(crate) rotation: Option<RotationSchedule>,
    pub(crate) on_demand_rotations: u32,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policy: String,
    /// Unique ids, by ARN, of the users and roles that the policy named when it was written.
    pub(crate) policy_ids: BTreeMap<String, String>,
}

impl Key {
    pub(crate) fn arn(&self) -> String {
        self.scope.key_arn(&self.id.to_string())
    }

    pub(crate) fn is_symmetric(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault
    }

    pub(crate) fn state(&self) -> KeyState {
        if self.deletion_at_ms.is_some() {
            KeyState::PendingDeletion
        } else if self.origin == Origin::External && !self.has_material() {
            KeyState::PendingImport
        } else if self.enabled {
            KeyState::Enabled
        } else {
            KeyState::Disabled
        }
    }

    pub(crate) fn has_material(&self) -> bool {
        self.materials.last().is_some_and(|material| material.secret.is_some())
    }

    /// Adds a new random material, which becomes the current one. Returns its id.
    pub(crate) fn add_material(
        &mut self,
        rotation: Option<RotationType>,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<[u8; 32], EntropyError> {
        let secret = MaterialSecret(random(entropy)?);
        // Blobs carry only the beginning of the id: it must tell the materials of a key apart.
        let id: [u8; 32] = random(entropy)?;
        if self.material_by_short_id(&id[..MATERIAL_SHORT_ID_BYTES]).is_some() {
            return Err(EntropyError { reason: "the same random material id twice".into() });
        }
        self.materials.push(Material {
            id,
            secret: Some(secret),
            created_at_ms: now_ms,
            rotation,
            expires_at_ms: None,
        });
        Ok(id)
    }

    pub(crate) fn material_by_short_id(&self, short: &[u8]) -> Option<&Material> {
        self.materials.iter().find(|material| &material.id[..MATERIAL_SHORT_ID_BYTES] == short)
    }

    /// What to seal with now. Errors: [`KmsError::Internal`] when there is no material, which states rule out.
    pub(crate) fn current_material<'a>(
        &'a self,
        arn: &'a str,
    ) -> Result<ciphertext_blob::Material<'a>, KmsError> {
        let current = self.materials.last().and_then(|material| self.sealing_material(material, arn));
        current.ok_or_else(|| KmsError::Internal { reason: format!("{arn} has no key material") })
    }

    /// `material` as blobs want it, if its bytes are there.
    pub(crate) fn sealing_material<'a>(
        &self,
        material: &'a Material,
        arn: &'a str,
    ) -> Option<ciphertext_blob::Material<'a>> {
        let secret = material.secret.as_ref()?.bytes();
        Some(ciphertext_blob::Material { key_id: self.id.bytes(), key_arn: arn, id: material.id, secret })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Keys in each state.

    use super::*;
    use crate::entropy::SystemEntropy;

    pub(crate) fn enabled() -> Key {
        let mut key = pending_import();
        key.origin = Origin::AwsKms;
        give_material(&mut key);
        key
    }

    pub(crate) fn disabled() -> Key {
        Key { enabled: false, ..enabled() }
    }

    pub(crate) fn pending_deletion() -> Key {
        Key { deletion_at_ms: Some(7), ..enabled() }
    }

    pub(crate) fn pending_import() -> Key {
        Key {
            id: KeyId::from_bytes([1; 16]),
            scope: Scope { partition: "aws".into(), account: "1".into(), region: "r".into() },
            description: String::new(),
            usage: KeyUsage::EncryptDecrypt,
            spec: KeySpec::SymmetricDefault,
            origin: Origin::External,
            manager: KeyManager::Customer,
            enabled: true,
            created_at_ms: 1,
            deletion_at_ms: None,
            materials: Vec::new(),
            rotation: None,
            on_demand_rotations: 0,
            tags: BTreeMap::new(),
            policy: String::new(),
            policy_ids: BTreeMap::new(),
        }
    }

    pub(crate) fn give_material(key: &mut Key) {
        key.add_material(None, 1, &mut SystemEntropy).unwrap();
    }
}
