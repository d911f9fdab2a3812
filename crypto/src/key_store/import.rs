//! Imported key material: a key pair to wrap it with, the import itself, and its deletion.
//!
//! The private half of the pair is in the import token, sealed under the service secret: nothing is stored until the
//! material comes. Making the pair is slow and needs no store; it draws on the cryptography library's own randomness.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    PrivateDecryptingKey,
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::action::{self, Action};
use super::catalog_entry::Entry;
use super::key::{ExpirationModel, Key, KeyId, KeyState, Material, MaterialSecret, wire_names};
use super::kms_error::KmsError;
use super::rotation::DAY_MS;
use super::{Change, KeyStore, Prepared, SubKey};
use crate::entropy::Entropy;
use crate::root_key::RootKey;

/// How long an import token is good for, milliseconds.
pub const IMPORT_TOKEN_VALID_MS: u64 = DAY_MS;
/// Longest validity of imported material, days.
pub const MATERIAL_VALID_DAYS_MAX: u64 = 365;

const MATERIAL_LEN: usize = 32;
const TOKEN_AAD: &[u8] = b"sealq import token v1";

wire_names! {
    /// How the material is wrapped for the way.
    WrappingAlgorithm {
        OaepSha1 = "RSAES_OAEP_SHA_1",
        OaepSha256 = "RSAES_OAEP_SHA_256",
        AesKeyWrapSha1 = "RSA_AES_KEY_WRAP_SHA_1",
        AesKeyWrapSha256 = "RSA_AES_KEY_WRAP_SHA_256",
    }
}

impl WrappingAlgorithm {
    const fn oaep(self) -> &'static OaepAlgorithm {
        match self {
            Self::OaepSha1 | Self::AesKeyWrapSha1 => &OAEP_SHA1_MGF1SHA1,
            Self::OaepSha256 | Self::AesKeyWrapSha256 => &OAEP_SHA256_MGF1SHA256,
        }
    }

    const fn has_aes_key(self) -> bool {
        matches!(self, Self::AesKeyWrapSha1 | Self::AesKeyWrapSha256)
    }
}

wire_names! {
    /// Size of the pair.
    WrappingKeySpec {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
    }
}

/// A key pair for one import.
pub struct ImportKeyPair {
    private_der: Zeroizing<Vec<u8>>,
    public_der: Vec<u8>,
}

impl fmt::Debug for ImportKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportKeyPair")
    }
}

impl ImportKeyPair {
    /// A new pair. Takes from a tenth of a second to several: not for a thread that must answer.
    pub fn generate(spec: WrappingKeySpec) -> Result<Self, KmsError> {
        let size = match spec {
            WrappingKeySpec::Rsa2048 => KeySize::Rsa2048,
            WrappingKeySpec::Rsa3072 => KeySize::Rsa3072,
            WrappingKeySpec::Rsa4096 => KeySize::Rsa4096,
        };
        let failed = |_| KmsError::Internal { reason: "no RSA key pair".into() };
        let private = PrivateDecryptingKey::generate(size).map_err(failed)?;
        let private_der: Pkcs8V1Der<'_> = private.as_der().map_err(failed)?;
        let public_der: PublicKeyX509Der<'_> = private.public_key().as_der().map_err(failed)?;
        Ok(Self {
            private_der: Zeroizing::new(private_der.as_ref().to_vec()),
            public_der: public_der.as_ref().to_vec(),
        })
    }
}

/// The reply of GetParametersForImport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportParameters {
    /// Key ARN.
    pub key_arn: String,
    /// DER, SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// Opaque; of this key only.
    pub import_token: Vec<u8>,
    /// End of the token, milliseconds since 1970.
    pub valid_to_ms: u64,
}

/// What ImportKeyMaterial brings.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// From GetParametersForImport.
    pub token: &'a [u8],
    /// The material, wrapped with the public key.
    pub encrypted_material: &'a [u8],
    /// The material expires if absent.
    pub expiration_model: Option<ExpirationModel>,
    /// When it does, milliseconds since 1970.
    pub valid_to_ms: Option<u64>,
    /// Which material it must be, 64 hexadecimal digits.
    pub material_id: Option<&'a str>,
    /// Whether it is to be another material than before: a key has one only.
    pub is_new: bool,
}

/// The reply of ImportKeyMaterial and DeleteImportedKeyMaterial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedMaterial {
    /// Key ARN.
    pub key_arn: String,
    /// 64 hexadecimal digits; none if there was no material to delete.
    pub key_material_id: Option<String>,
}

/// What an import token holds: key id 16, end 8 (big-endian), algorithm 1, private key.
struct Token {
    key: KeyId,
    valid_to_ms: u64,
    algorithm: WrappingAlgorithm,
    private_der: Zeroizing<Vec<u8>>,
}

impl Token {
    const HEAD_LEN: usize = 16 + 8 + 1;

    fn seal(&self, sealing: &RootKey, entropy: &mut dyn Entropy) -> Result<Vec<u8>, KmsError> {
        let mut plain = Zeroizing::new(Vec::with_capacity(Self::HEAD_LEN + self.private_der.len()));
        plain.extend_from_slice(&self.key.bytes());
        plain.extend_from_slice(&self.valid_to_ms.to_be_bytes());
        plain.push(self.algorithm as u8);
        plain.extend_from_slice(&self.private_der);
        Ok(sealing.wrap(TOKEN_AAD, &plain, entropy)?)
    }

    fn open(bytes: &[u8], sealing: &RootKey) -> Option<Self> {
        let plain = sealing.unwrap(TOKEN_AAD, bytes).ok()?;
        let (head, private_der) = plain.split_at_checked(Self::HEAD_LEN)?;
        let key = KeyId::from_bytes(head[..16].try_into().ok()?);
        let valid_to_ms = u64::from_be_bytes(head[16..24].try_into().ok()?);
        let name = WrappingAlgorithm::NAMES.get(usize::from(head[24]))?;
        let algorithm = WrappingAlgorithm::from_name(name)?;
        Some(Self { key, valid_to_ms, algorithm, private_der: Zeroizing::new(private_der.to_vec()) })
    }

    fn unwrap_material(&self, encrypted: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let private = PrivateDecryptingKey::from_pkcs8(&self.private_der).ok()?;
        let private = OaepPrivateDecryptingKey::new(private).ok()?;
        let (wrapped, rest) = match self.algorithm.has_aes_key() {
            true => encrypted.split_at_checked(private.key_size_bytes())?,
            false => (encrypted, &[][..]),
        };
        let mut room = Zeroizing::new(vec![0; private.min_output_size()]);
        let opened = private.decrypt(self.algorithm.oaep(), wrapped, &mut room, None).ok()?;
        if !self.algorithm.has_aes_key() {
            return Some(Zeroizing::new(opened.to_vec()));
        }
        let wrapping = AesKek::new(&AES_256, opened).ok()?;
        let mut room = Zeroizing::new(vec![0; rest.len()]);
        let material = wrapping.unwrap_with_padding(rest, &mut room).ok()?;
        Some(Zeroizing::new(material.to_vec()))
    }
}

impl KeyStore {
    /// Whether a key takes material at all. Errors: origin, state.
    pub fn check_import(&self, key: KeyId) -> Result<(), KmsError> {
        action::check(Action::GetParametersForImport, self.key(key)?)
    }

    /// GetParametersForImport, with a pair made just for it. Changes nothing.
    pub fn parameters_for_import(
        &self,
        key: KeyId,
        algorithm: WrappingAlgorithm,
        pair: ImportKeyPair,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<ImportParameters, KmsError> {
        let of = self.key(key)?;
        action::check(Action::GetParametersForImport, of)?;
        let valid_to_ms = now_ms.saturating_add(IMPORT_TOKEN_VALID_MS);
        let token = Token { key, valid_to_ms, algorithm, private_der: pair.private_der };
        let import_token = token.seal(&self.token_key(), entropy)?;
        Ok(ImportParameters { key_arn: of.arn(), public_key: pair.public_der, import_token, valid_to_ms })
    }

    /// ImportKeyMaterial: the first material of a key, or the same bytes again. A key that waited is then Enabled.
    pub fn prepare_import(
        &self,
        key: KeyId,
        import: &Import<'_>,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<ImportedMaterial>, KmsError> {
        let expires_at_ms = expiry(import, now_ms)?;
        let before = self.key(key)?;
        action::check(Action::ImportKeyMaterial, before)?;
        let token = Token::open(import.token, &self.token_key()).filter(|token| token.key == key);
        let token = token.ok_or(KmsError::InvalidImportToken)?;
        if token.valid_to_ms <= now_ms {
            return Err(KmsError::ExpiredImportToken);
        }
        let bytes = token.unwrap_material(import.encrypted_material).ok_or(KmsError::InvalidCiphertext)?;
        let secret: [u8; MATERIAL_LEN] =
            bytes.as_slice().try_into().map_err(|_| KmsError::IncorrectKeyMaterial)?;
        let id = self.imported_material_id(key, &secret);
        if import.material_id.is_some_and(|expected| expected != hex::encode(id)) {
            return Err(KmsError::IncorrectKeyMaterial);
        }
        if import.is_new && before.materials.iter().any(|material| material.id != id) {
            return Err(KmsError::Unsupported { what: "A second key material of an imported key".into() });
        }
        let mut after = before.clone();
        if before.state() == KeyState::PendingImport {
            after.enabled = true;
        }
        put_material(&mut after, id, MaterialSecret::new(secret), expires_at_ms, now_ms)?;
        let reply = ImportedMaterial { key_arn: before.arn(), key_material_id: Some(hex::encode(id)) };
        let mutation = self.mutation(vec![Change::Put(Entry::Key(Box::new(after)))], entropy)?;
        Ok(Prepared { reply, mutation })
    }

    /// DeleteImportedKeyMaterial: the key waits for the same bytes again. Without material nothing happens.
    pub fn prepare_delete_imported_material(
        &self,
        key: KeyId,
        material_id: Option<&str>,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<ImportedMaterial>, KmsError> {
        let mutation = self.change_key(key, Action::DeleteImportedKeyMaterial, entropy, |key| {
            let has = |id: &str| key.materials.iter().any(|material| material.id_hex() == id);
            if let Some(id) = material_id.filter(|id| !has(id)) {
                return Err(KmsError::MaterialNotFound { id: id.into() });
            }
            for material in &mut key.materials {
                (material.secret, material.expires_at_ms) = (None, None);
            }
            Ok(())
        })?;
        let of = self.key(key)?;
        let key_material_id = of.materials.last().map(Material::id_hex);
        Ok(Prepared { reply: ImportedMaterial { key_arn: of.arn(), key_material_id }, mutation })
    }

    /// The id follows from the bytes, so that the same ones are known again when they are no longer there; keyed, so
    /// that the public id gives no means to try out guesses.
    fn imported_material_id(&self, key: KeyId, secret: &[u8; MATERIAL_LEN]) -> [u8; 32] {
        let naming = self.sub_key(SubKey::ImportedMaterial);
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(naming.as_slice()).expect("any length");
        mac.update(&key.bytes());
        mac.update(secret);
        mac.finalize().into_bytes().into()
    }

    fn token_key(&self) -> RootKey {
        RootKey::from_bytes(&self.sub_key(SubKey::ImportToken))
    }
}

fn put_material(
    key: &mut Key,
    id: [u8; 32],
    secret: MaterialSecret,
    expires_at_ms: Option<u64>,
    now_ms: u64,
) -> Result<(), KmsError> {
    match key.materials.last_mut() {
        Some(material) if material.id == id => {
            material.secret = Some(secret);
            material.expires_at_ms = expires_at_ms;
        }
        Some(_) => return Err(KmsError::IncorrectKeyMaterial),
        None => key.materials.push(Material {
            id,
            secret: Some(secret),
            created_at_ms: now_ms,
            rotation: None,
            expires_at_ms,
        }),
    }
    Ok(())
}

fn expiry(import: &Import<'_>, now_ms: u64) -> Result<Option<u64>, KmsError> {
    let model = import.expiration_model.unwrap_or(ExpirationModel::Expires);
    match (model, import.valid_to_ms) {
        (ExpirationModel::DoesNotExpire, None) => Ok(None),
        (ExpirationModel::DoesNotExpire, Some(_)) => Err(KmsError::Validation(
            "A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE".into(),
        )),
        (ExpirationModel::Expires, None) => Err(KmsError::Validation(
            "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES".into(),
        )),
        (ExpirationModel::Expires, Some(at_ms)) => {
            let latest = now_ms.saturating_add(MATERIAL_VALID_DAYS_MAX * DAY_MS);
            match at_ms > now_ms && at_ms <= latest {
                true => Ok(Some(at_ms)),
                false => Err(KmsError::Validation(format!(
                    "The validTo date must be in the future and at most {MATERIAL_VALID_DAYS_MAX} days away"
                ))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey};

    use super::super::key::Origin;
    use super::super::lifecycle::NewKey;
    use super::super::testing::{Bench, NOW_MS};
    use super::*;
    use crate::EncryptionContext;
    use crate::entropy::SystemEntropy;

    fn external(bench: &mut Bench) -> KeyId {
        bench.create(NewKey { origin: Some(Origin::External), ..NewKey::default() })
    }

    fn parameters(bench: &Bench, key: KeyId, algorithm: WrappingAlgorithm) -> ImportParameters {
        let pair = ImportKeyPair::generate(WrappingKeySpec::Rsa2048).unwrap();
        bench.store.parameters_for_import(key, algorithm, pair, NOW_MS, &mut SystemEntropy).unwrap()
    }

    fn wrap(parameters: &ImportParameters, algorithm: WrappingAlgorithm, material: &[u8]) -> Vec<u8> {
        let public = PublicEncryptingKey::from_der(&parameters.public_key).unwrap();
        let public = OaepPublicEncryptingKey::new(public).unwrap();
        let oaep = |secret: &[u8]| {
            let mut out = vec![0; public.ciphertext_size()];
            public.encrypt(algorithm.oaep(), secret, &mut out, None).unwrap().to_vec()
        };
        if !algorithm.has_aes_key() {
            return oaep(material);
        }
        let mut out = [0; MATERIAL_LEN + 16];
        let wrapped = AesKek::new(&AES_256, &[9; 32]).unwrap().wrap_with_padding(material, &mut out).unwrap();
        [oaep(&[9; 32]), wrapped.to_vec()].concat()
    }

    fn import<'a>(parameters: &'a ImportParameters, encrypted_material: &'a [u8]) -> Import<'a> {
        Import {
            token: &parameters.import_token,
            encrypted_material,
            expiration_model: None,
            valid_to_ms: Some(NOW_MS + DAY_MS),
            material_id: None,
            is_new: false,
        }
    }

    #[test]
    fn kms_7_imported_material_enables_the_key_expires_and_comes_back() {
        let mut bench = Bench::new();
        let key = external(&mut bench);
        assert_eq!(bench.store.describe_key(key).unwrap().key_state, KeyState::PendingImport);
        let parameters = parameters(&bench, key, WrappingAlgorithm::OaepSha256);
        let wrapped = wrap(&parameters, WrappingAlgorithm::OaepSha256, &[3; 32]);
        let bring = |bench: &mut Bench| {
            let import = import(&parameters, &wrapped);
            let prepared = bench.store.prepare_import(key, &import, NOW_MS, &mut SystemEntropy).unwrap();
            bench.commit(prepared.mutation);
            prepared.reply
        };
        let first = bring(&mut bench);
        let metadata = bench.store.describe_key(key).unwrap();
        assert_eq!(metadata.key_state, KeyState::Enabled);
        assert_eq!(metadata.current_key_material_id, first.key_material_id);
        assert_eq!(metadata.valid_to_ms, Some(NOW_MS + DAY_MS));
        let context = EncryptionContext::new();
        let blob =
            bench.store.encrypt(key, b"x", &context, false, &mut SystemEntropy).unwrap().ciphertext_blob;

        let due = bench.store.due(NOW_MS + DAY_MS, &mut SystemEntropy).unwrap().pop().unwrap();
        assert_eq!(due.event, super::super::sweep::DueEvent::MaterialExpired);
        bench.commit(due.mutation);
        bench.restart();
        assert_eq!(bench.store.describe_key(key).unwrap().key_state, KeyState::PendingImport);
        let gone = bench.store.decrypt(&blob, None, &context, false).unwrap_err();
        assert_eq!(gone.name(), "KMSInvalidStateException");

        let other = wrap(&parameters, WrappingAlgorithm::OaepSha256, &[4; 32]);
        let attempt = |import: &Import<'_>| {
            bench.store.prepare_import(key, import, NOW_MS, &mut SystemEntropy).map(|prepared| prepared.reply)
        };
        let other = import(&parameters, &other);
        assert_eq!(attempt(&other), Err(KmsError::IncorrectKeyMaterial));
        let second = attempt(&Import { is_new: true, ..other });
        assert_eq!(second.unwrap_err().name(), "UnsupportedOperationException");
        let named = Import { material_id: Some("00"), ..import(&parameters, &wrapped) };
        assert_eq!(attempt(&named), Err(KmsError::IncorrectKeyMaterial));
        assert_eq!(bring(&mut bench), first);
        assert!(bench.store.decrypt(&blob, None, &context, false).is_ok());
        let deleted = bench.store.prepare_delete_imported_material(key, None, &mut SystemEntropy).unwrap();
        assert_eq!(deleted.reply, first);
        bench.commit(deleted.mutation);
        assert_eq!(bench.store.describe_key(key).unwrap().key_state, KeyState::PendingImport);
    }

    #[test]
    fn every_wrapping_algorithm_brings_the_same_material() {
        let mut bench = Bench::new();
        let key = external(&mut bench);
        let mut ids = Vec::new();
        for algorithm in WrappingAlgorithm::NAMES.iter().copied().filter_map(WrappingAlgorithm::from_name) {
            let parameters = parameters(&bench, key, algorithm);
            let wrapped = wrap(&parameters, algorithm, &[3; 32]);
            let import = import(&parameters, &wrapped);
            let prepared = bench.store.prepare_import(key, &import, NOW_MS, &mut SystemEntropy).unwrap();
            bench.commit(prepared.mutation);
            ids.push(prepared.reply.key_material_id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn tokens_are_of_one_key_and_one_day_and_whole() {
        let mut bench = Bench::new();
        let (key, other) = (external(&mut bench), external(&mut bench));
        let parameters = parameters(&bench, key, WrappingAlgorithm::OaepSha256);
        assert!(parameters.import_token.len() <= 6_144, "the longest that ImportKeyMaterial takes");
        let wrapped = wrap(&parameters, WrappingAlgorithm::OaepSha256, &[3; 32]);
        let attempt = |key, import: &Import<'_>, now_ms| {
            bench.store.prepare_import(key, import, now_ms, &mut SystemEntropy).unwrap_err()
        };
        let good = import(&parameters, &wrapped);
        assert_eq!(attempt(other, &good, NOW_MS), KmsError::InvalidImportToken);
        let forever = ExpirationModel::DoesNotExpire;
        let dated = Import { expiration_model: Some(forever), ..good };
        assert_eq!(attempt(key, &dated, NOW_MS).name(), "ValidationException");
        let forever = Import { expiration_model: Some(forever), valid_to_ms: None, ..good };
        assert_eq!(attempt(key, &forever, parameters.valid_to_ms), KmsError::ExpiredImportToken);
        let mut damaged = parameters.import_token.clone();
        damaged[40] ^= 1;
        assert_eq!(attempt(key, &Import { token: &damaged, ..good }, NOW_MS), KmsError::InvalidImportToken);
        let garbage = Import { encrypted_material: &[1; 256], ..good };
        assert_eq!(attempt(key, &garbage, NOW_MS), KmsError::InvalidCiphertext);
        let short = wrap(&parameters, WrappingAlgorithm::OaepSha256, &[3; 31]);
        let short = Import { encrypted_material: &short, ..good };
        assert_eq!(attempt(key, &short, NOW_MS), KmsError::IncorrectKeyMaterial);
        let undated = attempt(key, &Import { valid_to_ms: None, ..good }, NOW_MS);
        assert_eq!(
            undated.to_string(),
            "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
        );
        let too_late = Some(NOW_MS + (MATERIAL_VALID_DAYS_MAX + 1) * DAY_MS);
        assert_eq!(
            attempt(key, &Import { valid_to_ms: too_late, ..good }, NOW_MS).name(),
            "ValidationException"
        );
    }

    #[test]
    fn keys_with_material_of_their_own_take_none() {
        let mut bench = Bench::new();
        let key = bench.create_key();
        let pair = ImportKeyPair::generate(WrappingKeySpec::Rsa2048).unwrap();
        let algorithm = WrappingAlgorithm::OaepSha256;
        let refused = bench.store.parameters_for_import(key, algorithm, pair, NOW_MS, &mut SystemEntropy);
        let arn = bench.store.key_arn(key).unwrap();
        assert_eq!(
            refused.unwrap_err().to_string(),
            format!("{arn} origin is AWS_KMS which is not valid for this operation.")
        );
    }
}
