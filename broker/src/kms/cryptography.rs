//! What keys do for callers: encrypt, decrypt, re-encrypt, make data keys and random bytes.

use sealq_api::kms::{Decrypt, Encrypt, GenerateDataKey, ReEncrypt, ReplyBody};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::cryptography::{DataKeySize, SYMMETRIC_DEFAULT};
use sealq_crypto::key_store::{Action, KeyId, KeyStore, KmsError};

use super::{Call, KmsApi, Reply, context_of, is_foreign};
use crate::key_rights::algorithm;

/// Why the blob of another account's key is not opened (sse contract, section 12).
const FOREIGN_CIPHERTEXT: &str = "The ciphertext refers to a customer master key that does not exist, does not exist in \
                                  this region, or you are not allowed to access.";

impl KmsApi {
    pub(super) fn encrypt(&self, request: &Encrypt, call: &mut Call<'_>) -> Reply {
        let context = context_of(&request.context);
        let key = self.key_in(&request.key_id, Action::Encrypt, call.right, &context, call)?;
        let store = self.control.read();
        store.check_algorithm(key, request.algorithm.as_deref())?;
        let made = store.encrypt(key, &request.plaintext, &context, request.dry_run, &mut SystemEntropy)?;
        Ok(ReplyBody::new()
            .blob("CiphertextBlob", &made.ciphertext_blob)
            .text("KeyId", &made.key_arn)
            .text("EncryptionAlgorithm", SYMMETRIC_DEFAULT))
    }

    pub(super) fn decrypt(&self, request: &Decrypt, call: &mut Call<'_>) -> Reply {
        let context = context_of(&request.context);
        let key = self.control.read().key_of_blob(&request.ciphertext_blob)?;
        self.permit_blob(key, request.key_id.as_deref(), call.right, &context, call)?;
        self.expect(key, request.key_id.as_deref(), call)?;
        let store = self.control.read();
        store.check_algorithm(key, request.algorithm.as_deref())?;
        let opened = store.decrypt(&request.ciphertext_blob, None, &context, request.dry_run)?;
        Ok(ReplyBody::new()
            .blob("Plaintext", &opened.plaintext)
            .text("KeyId", &opened.key_arn)
            .text("EncryptionAlgorithm", SYMMETRIC_DEFAULT)
            .text("KeyMaterialId", &opened.key_material_id))
    }

    pub(super) fn re_encrypt(&self, request: &ReEncrypt, call: &mut Call<'_>) -> Reply {
        const TO: &str = "kms:ReEncryptTo";
        let from = context_of(&request.source_context);
        let to = context_of(&request.destination_context);
        let source = self.control.read().key_of_blob(&request.ciphertext_blob)?;
        let target = self.find(&request.destination_key_id, Action::ReEncrypt, TO, call);
        let same = target.as_ref().is_ok_and(|target| *target == source);
        let [source_algorithm, target_algorithm] = request.algorithms.each_ref().map(Option::as_deref);
        let conditions = |named| {
            vec![
                ("kms:reencryptonsamekey".to_owned(), vec![same.to_string()]),
                ("kms:encryptionalgorithm".to_owned(), vec![algorithm(named)]),
            ]
        };
        call.conditions = conditions(source_algorithm);
        self.permit_blob(source, request.source_key_id.as_deref(), "kms:ReEncryptFrom", &from, call)?;
        let target = target?;
        call.conditions = conditions(target_algorithm);
        self.permit(target, Some(&request.destination_key_id), TO, &to, call)?;
        self.expect(source, request.source_key_id.as_deref(), call)?;
        let store = self.control.read();
        store.check_algorithm(source, source_algorithm)?;
        store.check_algorithm(target, target_algorithm)?;
        let made = store.re_encrypt(
            (&request.ciphertext_blob, None, &from),
            (target, &to),
            request.dry_run,
            &mut SystemEntropy,
        )?;
        Ok(ReplyBody::new()
            .blob("CiphertextBlob", &made.encrypted.ciphertext_blob)
            .text("KeyId", &made.encrypted.key_arn)
            .text("SourceKeyId", &made.source_key_arn)
            .text("SourceEncryptionAlgorithm", SYMMETRIC_DEFAULT)
            .text("DestinationEncryptionAlgorithm", SYMMETRIC_DEFAULT)
            .text("SourceKeyMaterialId", &made.source_key_material_id)
            .text("DestinationKeyMaterialId", &made.encrypted.key_material_id))
    }

    /// GenerateDataKey and GenerateDataKeyWithoutPlaintext, as `action` says.
    pub(super) fn data_key(&self, request: &GenerateDataKey, action: Action, call: &mut Call<'_>) -> Reply {
        let size = DataKeySize::new(request.key_spec.as_deref(), request.number_of_bytes)?;
        let context = context_of(&request.context);
        let key = self.key_in(&request.key_id, action, call.right, &context, call)?;
        let store = self.control.read();
        let made =
            store.generate_data_key(key, action, size, &context, request.dry_run, &mut SystemEntropy)?;
        let body = match action {
            Action::GenerateDataKey => ReplyBody::new().blob("Plaintext", &made.plaintext),
            _ => ReplyBody::new(),
        };
        Ok(body
            .blob("CiphertextBlob", &made.encrypted.ciphertext_blob)
            .text("KeyId", &made.encrypted.key_arn)
            .text("KeyMaterialId", &made.encrypted.key_material_id))
    }

    pub(super) fn generate_random(&self, count: u64, call: &Call<'_>) -> Reply {
        self.permit_service(call.right, call)?;
        let bytes = KeyStore::generate_random(count, &mut SystemEntropy)?;
        Ok(ReplyBody::new().blob("Plaintext", &bytes))
    }

    /// The key that a request names, if the caller has a right on it in this context.
    fn key_in(
        &self,
        named: &str,
        action: Action,
        right: &str,
        context: &EncryptionContext,
        call: &mut Call<'_>,
    ) -> Result<KeyId, KmsError> {
        let key = self.find(named, action, right, call)?;
        self.permit(key, Some(named), right, context, call)?;
        Ok(key)
    }

    /// The right on the key that a blob says it is of. Anybody can write a key's id into a blob: whose it is, is not told
    /// to those who may not use it.
    fn permit_blob(
        &self,
        key: KeyId,
        named: Option<&str>,
        right: &str,
        context: &EncryptionContext,
        call: &mut Call<'_>,
    ) -> Result<(), KmsError> {
        let is_own = self.control.read().owner(key)?.account == *call.caller.account;
        match self.permit(key, named, right, context, call) {
            Err(KmsError::AccessDenied { .. })
                if !is_own && !named.is_some_and(|named| is_foreign(named, call.caller)) =>
            {
                Err(KmsError::AccessDenied { reason: FOREIGN_CIPHERTEXT.into() })
            }
            permitted => permitted,
        }
    }

    /// Whether the key that a request expects is the blob's, on which the caller has the right. That another account has
    /// or has not the key expected is not told.
    fn expect(&self, found: KeyId, expected: Option<&str>, call: &Call<'_>) -> Result<(), KmsError> {
        let Some(expected) = expected else { return Ok(()) };
        match self.control.read().resolve(expected, &call.scope, Action::Decrypt) {
            Ok(key) if key == found => Ok(()),
            Ok(_) => Err(KmsError::IncorrectKey),
            Err(KmsError::KeyNotFound { .. } | KmsError::AliasNotFound { .. })
                if is_foreign(expected, call.caller) =>
            {
                Err(KmsError::IncorrectKey)
            }
            Err(error) => Err(error),
        }
    }
}
