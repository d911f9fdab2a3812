//! Encrypt, Decrypt, ReEncrypt, data keys and random bytes. Rights first, then the key's usage and state, the ciphertext
//! last.

use sealq_api::kms::{Decrypt, Encrypt, GenerateDataKey, Pairs, ReEncrypt, ReplyBody};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::cryptography::DataKeySize;
use sealq_crypto::key_store::grant::GrantOperation;
use sealq_crypto::key_store::{Action, KeyId, KeyStore, KmsError};

use super::KmsApi;
use super::authorization::Ask;
use super::trail::Trail;
use crate::caller::Caller;

/// The only encryption algorithm there is.
pub(super) const ALGORITHM: &str = "SYMMETRIC_DEFAULT";

impl KmsApi {
    pub(super) fn encrypt(&self, caller: &Caller, asked: &Encrypt, trail: &mut Trail) -> Result<ReplyBody, KmsError> {
        let context = context_of(&asked.context);
        let ask = Ask {
            operation: Some(GrantOperation::Encrypt),
            context: Some(&context),
            named: Some(&asked.key_id),
            ..Ask::new("kms:Encrypt")
        };
        let key = self.authorized_as(caller, Action::Encrypt, ask, trail)?;
        let store = self.control.read();
        check_algorithm(&store, key, asked.algorithm.as_deref(), Action::Encrypt)?;
        let made = store.encrypt(key, &asked.plaintext, &context, asked.dry_run, &mut SystemEntropy)?;
        Ok(ReplyBody::new()
            .blob("CiphertextBlob", &made.ciphertext_blob)
            .text("KeyId", &made.key_arn)
            .text("EncryptionAlgorithm", ALGORITHM))
    }

    pub(super) fn decrypt(&self, caller: &Caller, asked: &Decrypt, trail: &mut Trail) -> Result<ReplyBody, KmsError> {
        let context = context_of(&asked.context);
        let key = self.control.read().key_of_blob(&asked.ciphertext_blob)?;
        let right = "kms:Decrypt";
        let expected = asked.key_id.as_deref();
        let expected = expected.map(|named| self.resolve(caller, named, Action::Decrypt, right)).transpose()?;
        let ask = Ask {
            operation: Some(GrantOperation::Decrypt),
            context: Some(&context),
            named: asked.key_id.as_deref(),
            ..Ask::new(right)
        };
        self.allow(caller, key, ask, trail)?;
        let store = self.control.read();
        check_algorithm(&store, key, asked.algorithm.as_deref(), Action::Decrypt)?;
        let opened = store.decrypt(&asked.ciphertext_blob, expected, &context, asked.dry_run)?;
        Ok(ReplyBody::new()
            .blob("Plaintext", &opened.plaintext)
            .text("KeyId", &opened.key_arn)
            .text("EncryptionAlgorithm", ALGORITHM)
            .text("KeyMaterialId", &opened.key_material_id))
    }

    pub(super) fn re_encrypt(
        &self,
        caller: &Caller,
        asked: &ReEncrypt,
        trail: &mut Trail,
    ) -> Result<ReplyBody, KmsError> {
        let (source_context, context) = (context_of(&asked.source_context), context_of(&asked.destination_context));
        let (from, to) = ("kms:ReEncryptFrom", "kms:ReEncryptTo");
        let source = self.control.read().key_of_blob(&asked.ciphertext_blob)?;
        let expected = asked.source_key_id.as_deref();
        let expected = expected.map(|named| self.resolve(caller, named, Action::ReEncrypt, from)).transpose()?;
        let destination = self.resolve(caller, &asked.destination_key_id, Action::ReEncrypt, to)?;
        let keys = [("kms:reencryptonsamekey", if source == destination { "true" } else { "false" })];
        let ask_from = Ask {
            operation: Some(GrantOperation::ReEncryptFrom),
            context: Some(&source_context),
            named: asked.source_key_id.as_deref(),
            keys: &keys,
            ..Ask::new(from)
        };
        self.allow(caller, source, ask_from, trail)?;
        let ask_to = Ask {
            operation: Some(GrantOperation::ReEncryptTo),
            context: Some(&context),
            named: Some(&asked.destination_key_id),
            keys: &keys,
            ..Ask::new(to)
        };
        self.allow(caller, destination, ask_to, trail)?;
        let store = self.control.read();
        for (key, algorithm) in [source, destination].into_iter().zip(&asked.algorithms) {
            check_algorithm(&store, key, algorithm.as_deref(), Action::ReEncrypt)?;
        }
        let made = store.re_encrypt(
            (&asked.ciphertext_blob, expected, &source_context),
            (destination, &context),
            asked.dry_run,
            &mut SystemEntropy,
        )?;
        Ok(ReplyBody::new()
            .blob("CiphertextBlob", &made.encrypted.ciphertext_blob)
            .text("SourceKeyId", &made.source_key_arn)
            .text("KeyId", &made.encrypted.key_arn)
            .text("SourceEncryptionAlgorithm", ALGORITHM)
            .text("DestinationEncryptionAlgorithm", ALGORITHM)
            .text("SourceKeyMaterialId", &made.source_key_material_id)
            .text("DestinationKeyMaterialId", &made.encrypted.key_material_id))
    }

    /// With the plaintext or without, as `action` says.
    pub(super) fn generate_data_key(
        &self,
        caller: &Caller,
        asked: &GenerateDataKey,
        action: Action,
        trail: &mut Trail,
    ) -> Result<ReplyBody, KmsError> {
        let size = DataKeySize::new(asked.key_spec.as_deref(), asked.number_of_bytes)?;
        let context = context_of(&asked.context);
        let (right, operation) = match action {
            Action::GenerateDataKey => ("kms:GenerateDataKey", GrantOperation::GenerateDataKey),
            _ => ("kms:GenerateDataKeyWithoutPlaintext", GrantOperation::GenerateDataKeyWithoutPlaintext),
        };
        let ask = Ask {
            operation: Some(operation),
            context: Some(&context),
            named: Some(&asked.key_id),
            ..Ask::new(right)
        };
        let key = self.authorized_as(caller, action, ask, trail)?;
        let store = self.control.read();
        let made = store.generate_data_key(key, action, size, &context, asked.dry_run, &mut SystemEntropy)?;
        let body = ReplyBody::new()
            .blob("CiphertextBlob", &made.encrypted.ciphertext_blob)
            .text("KeyId", &made.encrypted.key_arn)
            .text("KeyMaterialId", &made.encrypted.key_material_id);
        Ok(match action {
            Action::GenerateDataKey => body.blob("Plaintext", &made.plaintext),
            _ => body,
        })
    }

    pub(super) fn generate_random(&self, caller: &Caller, count: u64) -> Result<ReplyBody, KmsError> {
        self.allow_by_identity(caller, "kms:GenerateRandom", "*")?;
        let bytes = KeyStore::generate_random(Some(count), &mut SystemEntropy)?;
        Ok(ReplyBody::new().blob("Plaintext", &bytes))
    }
}

fn context_of(pairs: &Pairs) -> EncryptionContext {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The others are those of asymmetric keys, which encrypt nothing here.
fn check_algorithm(store: &KeyStore, key: KeyId, named: Option<&str>, action: Action) -> Result<(), KmsError> {
    match named {
        None | Some(ALGORITHM) => Ok(()),
        Some(_) => {
            let metadata = store.describe_key(key)?;
            Err(KmsError::KeyUsage { arn: metadata.arn, usage: metadata.key_usage, action })
        }
    }
}
