//! The embedded provider of data keys: SealQ's own key service, called in the name of the SQS caller.

use std::sync::Arc;

use sealq_crypto::data_key::KeyBytes;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::cryptography::DataKeySize;
use sealq_crypto::key_store::grant::{GrantCaller, GrantOperation};
use sealq_crypto::key_store::{Action, KeyId, KmsError, Scope};
use sealq_crypto::{DecryptedDataKey, EncryptionContext, GeneratedDataKey, KeyService, KeyServiceError};

use crate::authorize::{Authorizer, KeyFacts};
use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::key_audit::KeyAudit;
use crate::key_control::KeyControl;
use crate::key_provider::queue_scope;

/// See the module documentation.
pub struct EmbeddedKeys {
    control: Arc<KeyControl>,
    authorizer: Authorizer,
    audit: KeyAudit,
    clock: Clock,
}

impl EmbeddedKeys {
    /// Over the broker's key state.
    pub fn new(control: Arc<KeyControl>, authorizer: Authorizer, audit: KeyAudit, clock: Clock) -> Self {
        Self { control, authorizer, audit, clock }
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
        make_managed_key(&self.control, &self.audit, key_id, &scope, self.clock.now_ms()).await?;
        let key = self.control.read().resolve(key_id, &scope, Action::GenerateDataKey)?;
        self.allow(
            caller,
            "kms:GenerateDataKey",
            key,
            GrantOperation::GenerateDataKey,
            context,
            Some(key_id),
        )?;
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
        let key = self.control.read().key_of_blob(wrapped)?;
        self.allow(caller, "kms:Decrypt", key, GrantOperation::Decrypt, context, None)?;
        let store = self.control.read();
        let found_arn = store.key_arn(key)?;
        if found_arn != key_arn {
            return Err(KmsError::IncorrectKey);
        }
        let opened = store.decrypt(wrapped, None, context, false)?;
        let plaintext = KeyBytes::from_slice(&opened.plaintext).ok_or(KmsError::InvalidCiphertext)?;
        Ok(DecryptedDataKey { plaintext, key_arn: found_arn })
    }

    fn allow(
        &self,
        caller: &Caller,
        action: &str,
        key: KeyId,
        operation: GrantOperation,
        context: &EncryptionContext,
        key_id: Option<&str>,
    ) -> Result<(), KmsError> {
        let policy = self.control.policy(key)?;
        let (arn, account, granted) = {
            let store = self.control.read();
            let arns = grant_arns(caller);
            let grantee = GrantCaller {
                arns: &arns,
                account: &caller.account,
                is_account_root: caller.kind == CallerKind::Root,
            };
            let granted = store.grant_allows(key, &grantee, operation, context);
            (store.key_arn(key)?, store.owner(key)?.account.clone(), granted)
        };
        let facts = KeyFacts { arn: &arn, account: &account, policy: &policy, granted };
        self.authorizer
            .key_through_sqs(caller, action, facts, context, key_id)
            .map_err(|reason| KmsError::AccessDenied { reason })
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

/// Makes the managed key of an account and region if `key_id` names it and it is not there yet.
///
/// # Errors
/// It cannot be stored.
pub async fn make_managed_key(
    control: &KeyControl,
    audit: &KeyAudit,
    key_id: &str,
    scope: &Scope,
    now_ms: u64,
) -> Result<(), KmsError> {
    if control.read().is_unmade_managed_alias(key_id, scope) {
        control.change(|store| store.ensure_managed_key(scope, now_ms, &mut SystemEntropy)).await?;
        audit.managed_key_made(scope, now_ms).await;
    }
    Ok(())
}

/// The ARNs under which a grant may name a caller.
pub fn grant_arns(caller: &Caller) -> Vec<&str> {
    let mut arns = vec![&*caller.arn];
    if let CallerKind::RoleSession { role_arn, .. } = &caller.kind {
        arns.push(role_arn);
    }
    arns
}
