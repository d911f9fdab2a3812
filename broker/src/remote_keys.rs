//! Data keys from a key service on the network, which knows the broker's credentials and not the SQS caller.
//!
//! So the broker decides for the caller, before each call: the key's policy is taken to delegate to the account of the
//! queue, and the caller's identity policies decide the rest. Whoever is not of that account, and every service, would
//! need a key policy or a grant that only the key service knows: they are refused.

use sealq_api::iam::{Policy, PolicyKind};
#[cfg(feature = "kms-aws")]
use sealq_config::{Config, KmsProvider};
use sealq_crypto::key_store::Scope;
use sealq_crypto::key_store::policy::{default_policy, managed_sqs_policy};
use sealq_crypto::{
    DecryptedDataKey, EncryptionContext, GeneratedDataKey, KeyService, KeyServiceError, Refusal,
};

use crate::authorize::{Authorizer, KeyFacts};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::key_audit::KeyAudit;
use crate::key_endpoint::NoAnswer;
use crate::key_provider::{RemoteKeyService, queue_scope};

/// See the module documentation.
pub struct RemoteKeys {
    service: RemoteKeyService,
    authorizer: Authorizer,
    audit: KeyAudit,
    clock: Clock,
}

/// A key, as far as it is known before the key service is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedKey {
    /// Its ARN; `None` where only the key service can tell: the answer's is taken.
    pub(crate) arn: Option<String>,
    /// The account's default key, open to whoever of the account may use SQS.
    pub(crate) managed: bool,
}

impl RemoteKeys {
    /// Over a key service and the broker's decision point.
    pub fn new(service: RemoteKeyService, authorizer: Authorizer, audit: KeyAudit, clock: Clock) -> Self {
        Self { service, authorizer, audit, clock }
    }

    /// Takes the credentials of settings that were read anew. A token file is read anew by itself.
    #[cfg(feature = "kms-aws")]
    pub(crate) fn take_credentials(&self, config: &Config) {
        if let RemoteKeyService::Aws(keys) = &self.service
            && config.kms.provider == KmsProvider::Aws
        {
            keys.take_credentials(&config.kms.aws, &config.identity.region);
        }
    }

    async fn generate(
        &self,
        caller: &Caller,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        let scope = scope_of(context)?;
        let named = self.named(key_id, &scope)?;
        let permit = |arn: &str| {
            self.permit(caller, "kms:GenerateDataKey", arn, named.managed, &scope, context, Some(key_id))
        };
        if let Some(arn) = &named.arn {
            permit(arn)?;
        }
        let made = match &self.service {
            #[cfg(feature = "kms-aws")]
            RemoteKeyService::Aws(keys) => keys.generate(self.now_s(), key_id, context).await?,
            #[cfg(feature = "kms-openbao")]
            RemoteKeyService::OpenBao(keys) => {
                let (made, key_made) = keys.generate(key_id, &scope, context).await?;
                if key_made {
                    self.audit.managed_key_made(&scope, &made.key_arn, self.clock.now_ms()).await;
                }
                made
            }
        };
        if named.arn.as_ref() != Some(&made.key_arn) {
            permit(&made.key_arn)?;
        }
        Ok(made)
    }

    async fn unwrap(
        &self,
        caller: &Caller,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        let scope = scope_of(context)?;
        let managed = self.named(key_arn, &scope)?.managed;
        self.permit(caller, "kms:Decrypt", key_arn, managed, &scope, context, None)?;
        match &self.service {
            #[cfg(feature = "kms-aws")]
            RemoteKeyService::Aws(keys) => keys.decrypt(self.now_s(), wrapped, key_arn, context).await,
            #[cfg(feature = "kms-openbao")]
            RemoteKeyService::OpenBao(keys) => keys.decrypt(wrapped, key_arn, &scope, context).await,
        }
    }

    fn named(&self, key_id: &str, scope: &Scope) -> Result<NamedKey, KeyServiceError> {
        match &self.service {
            #[cfg(feature = "kms-aws")]
            RemoteKeyService::Aws(_) => Ok(crate::aws_keys::named(key_id)),
            #[cfg(feature = "kms-openbao")]
            RemoteKeyService::OpenBao(_) => crate::openbao_keys::named(key_id, scope),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is one thing that the decision depends on")]
    fn permit(
        &self,
        caller: &Caller,
        action: &str,
        arn: &str,
        managed: bool,
        scope: &Scope,
        context: &EncryptionContext,
        key_id: Option<&str>,
    ) -> Result<(), KeyServiceError> {
        let text = if managed { managed_sqs_policy(scope) } else { default_policy(scope) };
        let policy = Policy::parse(&text, PolicyKind::Key).map_err(|error| {
            let message = format!("the policy that stands for the key service's is damaged: {error}");
            KeyServiceError::Inconsistent { message }
        })?;
        let facts = KeyFacts { arn, shown: arn, account: &scope.account, policy: &policy, granted: None };
        self.authorizer
            .key_through_sqs(caller, action, facts, context, key_id)
            .map_err(|message| KeyServiceError::Refused { kind: Refusal::AccessDenied, message })
    }

    #[cfg(feature = "kms-aws")]
    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1_000
    }
}

impl KeyService for RemoteKeys {
    type Caller = Caller;

    async fn generate_data_key(
        &self,
        caller: &Caller,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        let made = self.generate(caller, key_id, context).await;
        let key_arn = made.as_ref().map_or(key_id, |made| &made.key_arn);
        self.audit.used(caller, "GenerateDataKey", key_arn, context, failure(&made)).await;
        made
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        let opened = self.unwrap(caller, wrapped, key_arn, context).await;
        self.audit.used(caller, "Decrypt", key_arn, context, failure(&opened)).await;
        opened
    }

    async fn probe(&self) -> bool {
        let answer = match &self.service {
            #[cfg(feature = "kms-aws")]
            RemoteKeyService::Aws(keys) => keys.probe().await,
            #[cfg(feature = "kms-openbao")]
            RemoteKeyService::OpenBao(keys) => keys.probe().await,
        };
        if let Err(error) = &answer {
            tracing::debug!(%error, "the key service does not answer the probe");
        }
        answer.is_ok()
    }
}

fn scope_of(context: &EncryptionContext) -> Result<Scope, KeyServiceError> {
    queue_scope(context)
        .ok_or_else(|| KeyServiceError::Inconsistent { message: "the context names no queue".into() })
}

fn failure<T>(answer: &Result<T, KeyServiceError>) -> Option<(&'static str, String)> {
    answer.as_ref().err().map(|error| (error.name(), error.to_string()))
}

impl From<NoAnswer> for KeyServiceError {
    fn from(error: NoAnswer) -> Self {
        let message = error.to_string();
        match error {
            NoAnswer::TooLong { .. } => Self::Inconsistent { message },
            _ => Self::Unreachable { message, silent: true },
        }
    }
}
