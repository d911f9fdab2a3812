//! What keys do: encrypt, decrypt, re-encrypt, make data keys and random bytes.
//!
//! Callers resolve the key and authorize before; here follow usage, state, and last the ciphertext, so that a stranger
//! learns nothing. Plaintexts come out in wiped memory.

use std::fmt;

use zeroize::Zeroizing;

use super::KeyStore;
use super::action::{self, Action};
use super::key::{Key, KeyId, KeyUsage};
use super::kms_error::KmsError;
use crate::ciphertext_blob::{self, CiphertextBlob};
use crate::encryption_context::EncryptionContext;
use crate::entropy::Entropy;

/// What Encrypt and the second half of ReEncrypt give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// Opaque.
    pub ciphertext_blob: Vec<u8>,
    /// Key ARN.
    pub key_arn: String,
    /// 64 hexadecimal digits.
    pub key_material_id: String,
}

/// What Decrypt gives.
#[derive(Clone, PartialEq, Eq)]
pub struct Decrypted {
    /// Wiped when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Key ARN.
    pub key_arn: String,
    /// The material that opened it, 64 hexadecimal digits.
    pub key_material_id: String,
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decrypted({} by {})", self.key_arn, self.key_material_id)
    }
}

/// What GenerateDataKey gives; its twin drops the plaintext.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey {
    /// Wiped when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The same bytes, encrypted.
    pub encrypted: Encrypted,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({:?})", self.encrypted)
    }
}

/// What ReEncrypt gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReEncrypted {
    /// Under the destination key.
    pub encrypted: Encrypted,
    /// ARN of the key it was under.
    pub source_key_arn: String,
    /// Material it was under.
    pub source_key_material_id: String,
}

/// The one encryption algorithm of symmetric keys.
pub const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

/// Size of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeySize(usize);

impl DataKeySize {
    /// 32 bytes.
    pub const AES_256: Self = Self(32);

    /// From the members of a request, of which exactly one must be there.
    pub fn new(key_spec: Option<&str>, number_of_bytes: Option<u64>) -> Result<Self, KmsError> {
        match (key_spec, number_of_bytes) {
            (Some("AES_128"), None) => Ok(Self(16)),
            (Some(_), None) => Ok(Self::AES_256),
            (None, Some(count)) => Ok(Self(count as usize)),
            (Some(_), Some(_)) | (None, None) => {
                Err(KmsError::Validation("Please specify either number of bytes or key spec.".into()))
            }
        }
    }
}

impl KeyStore {
    /// Encrypt.
    pub fn encrypt(
        &self,
        key: KeyId,
        plaintext: &[u8],
        context: &EncryptionContext,
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Encrypted, KmsError> {
        let key = self.usable_key(key, Action::Encrypt)?;
        if dry_run {
            return Err(KmsError::DryRun);
        }
        seal(key, plaintext, context, entropy)
    }

    /// The key a blob says it is of: the one to authorize. Errors: not a blob of this store.
    pub fn key_of_blob(&self, blob: &[u8]) -> Result<KeyId, KmsError> {
        let blob = CiphertextBlob::parse(blob).map_err(|_| KmsError::InvalidCiphertext)?;
        let id = KeyId::from_bytes(blob.key_id());
        self.keys.contains_key(&id).then_some(id).ok_or(KmsError::InvalidCiphertext)
    }

    /// Decrypt. `expected`: the key the request names, if it does; another than the blob's is refused.
    pub fn decrypt(
        &self,
        blob: &[u8],
        expected: Option<KeyId>,
        context: &EncryptionContext,
        dry_run: bool,
    ) -> Result<Decrypted, KmsError> {
        let opened = self.open(blob, expected, context, Action::Decrypt)?;
        match dry_run {
            true => Err(KmsError::DryRun),
            false => Ok(opened),
        }
    }

    /// ReEncrypt: the plaintext never leaves.
    pub fn re_encrypt(
        &self,
        source: (&[u8], Option<KeyId>, &EncryptionContext),
        destination: (KeyId, &EncryptionContext),
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<ReEncrypted, KmsError> {
        let ((blob, expected, source_context), (key, context)) = (source, destination);
        let key = self.usable_key(key, Action::ReEncrypt)?;
        let opened = self.open(blob, expected, source_context, Action::ReEncrypt)?;
        if dry_run {
            return Err(KmsError::DryRun);
        }
        Ok(ReEncrypted {
            encrypted: seal(key, &opened.plaintext, context, entropy)?,
            source_key_arn: opened.key_arn,
            source_key_material_id: opened.key_material_id,
        })
    }

    /// GenerateDataKey and GenerateDataKeyWithoutPlaintext, as `action` says.
    pub fn generate_data_key(
        &self,
        key: KeyId,
        action: Action,
        size: DataKeySize,
        context: &EncryptionContext,
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<DataKey, KmsError> {
        let key = self.usable_key(key, action)?;
        if dry_run {
            return Err(KmsError::DryRun);
        }
        let mut plaintext = Zeroizing::new(vec![0; size.0]);
        entropy.fill(&mut plaintext)?;
        let encrypted = seal(key, &plaintext, context, entropy)?;
        Ok(DataKey { plaintext, encrypted })
    }

    /// Whether a key can do with the encryption algorithm that a request names, if it names one. Errors: algorithm
    /// unsuitable.
    pub fn check_algorithm(&self, key: KeyId, algorithm: Option<&str>) -> Result<(), KmsError> {
        let key = self.key(key)?;
        match algorithm {
            Some(algorithm) if key.is_symmetric() && algorithm != SYMMETRIC_DEFAULT => {
                Err(KmsError::Algorithm { algorithm: algorithm.into(), spec: key.spec })
            }
            _ => Ok(()),
        }
    }

    /// GenerateRandom; needs no key.
    pub fn generate_random(
        number_of_bytes: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let mut bytes = Zeroizing::new(vec![0; number_of_bytes as usize]);
        entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn open(
        &self,
        blob_bytes: &[u8],
        expected: Option<KeyId>,
        context: &EncryptionContext,
        action: Action,
    ) -> Result<Decrypted, KmsError> {
        let id = self.key_of_blob(blob_bytes)?;
        if expected.is_some_and(|expected| expected != id) {
            return Err(KmsError::IncorrectKey);
        }
        let key = self.usable_key(id, action)?;
        let blob = CiphertextBlob::parse(blob_bytes).map_err(|_| KmsError::InvalidCiphertext)?;
        let material =
            key.material_by_short_id(blob.material_short_id()).ok_or(KmsError::InvalidCiphertext)?;
        let key_arn = key.arn();
        // An old imported material may be gone while the key lives on with another.
        let sealing = key
            .sealing_material(material, &key_arn)
            .ok_or_else(|| KmsError::PendingImport { arn: key_arn.clone() })?;
        let plaintext = blob.open(&sealing, context).map_err(|_| KmsError::InvalidCiphertext)?;
        Ok(Decrypted { plaintext, key_material_id: material.id_hex(), key_arn })
    }

    fn usable_key(&self, id: KeyId, action: Action) -> Result<&Key, KmsError> {
        let key = self.key(id)?;
        if key.usage != KeyUsage::EncryptDecrypt {
            return Err(KmsError::KeyUsage { arn: key.arn(), usage: key.usage, action });
        }
        action::check(action, key)?;
        match key.is_symmetric() {
            true => Ok(key),
            false => Err(KmsError::NotSymmetric { arn: key.arn() }),
        }
    }
}

fn seal(
    key: &Key,
    plaintext: &[u8],
    context: &EncryptionContext,
    entropy: &mut dyn Entropy,
) -> Result<Encrypted, KmsError> {
    let key_arn = key.arn();
    let material = key.current_material(&key_arn)?;
    let ciphertext_blob = ciphertext_blob::seal(&material, plaintext, context, entropy)?;
    let key_material_id = hex::encode(material.id);
    Ok(Encrypted { ciphertext_blob, key_material_id, key_arn })
}
