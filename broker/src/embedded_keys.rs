//! The embedded provider of data keys: SealQ's own key service, called in the name of the SQS caller.

use std::sync::Arc;

use sealq_crypto::data_key::KeyBytes;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::cryptography::DataKeySize;
use sealq_crypto::key_store::grant::GrantOperation;
use sealq_crypto::key_store::{Action, KeyId, KmsError};
use sealq_crypto::{DecryptedDataKey, EncryptionContext, GeneratedDataKey, KeyService, KeyServiceError};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::key_audit::KeyAudit;
use crate::key_control::KeyControl;
use crate::key_provider::queue_scope;
use crate::key_rights::{Conditions, KeyRights, KeyUse};

/// See the module documentation.
pub struct EmbeddedKeys {
    control: Arc<KeyControl>,
    rights: KeyRights,
    audit: KeyAudit,
    clock: Clock,
    /// What a call through the broker adds to the condition keys.
    conditions: Conditions,
}

impl EmbeddedKeys {
    /// Over the broker's key state.
    pub fn new(control: Arc<KeyControl>, rights: KeyRights, audit: KeyAudit, clock: Clock) -> Self {
        let conditions = rights.through_sqs();
        Self { control, rights, audit, clock, conditions }
    }

    async fn generate(
        &self,
        caller: &Caller,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<(GeneratedDataKey, KeyId), KmsError> {
        self.control.settle_due(self.clock.now_ms()).await?;
        let scope = queue_scope(context)
            .ok_or_else(|| KmsError::Internal { reason: "the context names no queue".into() })?;
        self.control.make_managed_key(key_id, &scope, self.clock.now_ms(), |_| Ok(())).await?;
        let key = self.control.read().resolve(key_id, &scope, Action::GenerateDataKey)?;
        self.allow(caller, GrantOperation::GenerateDataKey, key, context, Some(key_id))?;
        let store = self.control.read();
        let size = DataKeySize::AES_256;
        let made = store.generate_data_key(
            key,
            Action::GenerateDataKey,
            size,
            context,
            false,
            &mut SystemEntropy,
        )?;
        let plaintext = KeyBytes::from_slice(&made.plaintext)
            .ok_or_else(|| KmsError::Internal { reason: "a data key of the wrong length".into() })?;
        Ok((
            GeneratedDataKey {
                plaintext,
                wrapped: made.encrypted.ciphertext_blob,
                key_arn: store.key_arn(key)?,
            },
            key,
        ))
    }

    fn unwrap(
        &self,
        caller: &Caller,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KmsError> {
        let key = self.key_that_wrapped(wrapped, key_arn, context)?;
        self.allow(caller, GrantOperation::Decrypt, key, context, None)?;
        let store = self.control.read();
        let found_arn = store.key_arn(key)?;
        if found_arn != key_arn {
            return Err(KmsError::IncorrectKey);
        }
        let opened = store.decrypt(wrapped, None, context, false)?;
        let plaintext = KeyBytes::from_slice(&opened.plaintext).ok_or(KmsError::InvalidCiphertext)?;
        Ok(DecryptedDataKey { plaintext, key_arn: found_arn })
    }

    /// The key of a wrapped data key. One that has been deleted is not found by the ARN that the message names.
    fn key_that_wrapped(
        &self,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<KeyId, KmsError> {
        let store = self.control.read();
        store.key_of_blob(wrapped).map_err(|error| {
            let named = queue_scope(context).map(|scope| store.resolve(key_arn, &scope, Action::Decrypt));
            named.and_then(Result::err).unwrap_or(error)
        })
    }

    fn allow(
        &self,
        caller: &Caller,
        operation: GrantOperation,
        key: KeyId,
        context: &EncryptionContext,
        named: Option<&str>,
    ) -> Result<(), KmsError> {
        let granted = self.rights.granted(caller, key, operation, context);
        let right = format!("kms:{}", operation.name());
        let asked = KeyUse { key, right: &right, context, granted, named, shown: None };
        self.rights.permit(caller, &asked, &self.conditions)
    }
}

impl KeyService for EmbeddedKeys {
    type Caller = Caller;

    async fn generate_data_key(
        &self,
        caller: &Caller,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        let made = self.generate(caller, key_id, context).await;
        let key_arn = made.as_ref().map_or_else(|_| key_id.to_owned(), |(made, _)| made.key_arn.clone());
        self.audit.used(caller, "GenerateDataKey", &key_arn, context, failure(&made)).await;
        made.map(|(made, _)| made).map_err(KeyServiceError::from)
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        let opened = match self.control.settle_due(self.clock.now_ms()).await {
            Ok(()) => self.unwrap(caller, wrapped, key_arn, context),
            Err(error) => Err(error),
        };
        self.audit.used(caller, "Decrypt", key_arn, context, failure(&opened)).await;
        opened.map_err(KeyServiceError::from)
    }

    /// It is in this process.
    async fn probe(&self) -> bool {
        true
    }
}

fn failure<T>(answer: &Result<T, KmsError>) -> Option<(&'static str, String)> {
    answer.as_ref().err().map(|error| (error.name(), error.to_string()))
}
