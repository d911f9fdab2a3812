//! Where data keys come from: SealQ's own key service, or one on the network (`kms.provider`).

use sealq_config::{Config, KmsProvider};
use sealq_crypto::encryption_context::QUEUE_ARN_NAME;
use sealq_crypto::key_store::Scope;
use sealq_crypto::{DecryptedDataKey, EncryptionContext, GeneratedDataKey, KeyService, KeyServiceError};

#[cfg(feature = "kms-aws")]
use crate::aws_keys::AwsKeys;
use crate::caller::Caller;
use crate::embedded_keys::EmbeddedKeys;
#[cfg(feature = "kms-openbao")]
use crate::openbao_keys::OpenBaoKeys;
#[cfg(feature = "kms-network")]
use crate::remote_keys::RemoteKeys;

/// The provider in force.
pub enum KeyProvider {
    /// In this process.
    Embedded(Box<EmbeddedKeys>),
    /// Over the network.
    #[cfg(feature = "kms-network")]
    Remote(Box<RemoteKeys>),
}

/// A key service on the network: how it is spoken to, and nothing of who may use it.
// An empty enum where no such provider is built in.
pub enum RemoteKeyService {
    /// The AWS KMS API.
    #[cfg(feature = "kms-aws")]
    Aws(AwsKeys),
    /// OpenBao's or Vault's transit engine.
    #[cfg(feature = "kms-openbao")]
    OpenBao(OpenBaoKeys),
}

/// Why the configured provider cannot be set up. Says nothing of whether it answers: that is not asked at start.
#[derive(Debug, thiserror::Error)]
pub enum KeyProviderError {
    /// Left out of this build.
    #[error("kms.provider: this build was made without \"{provider}\" (cargo feature {feature})")]
    NotBuiltIn {
        /// As in the settings.
        provider: &'static str,
        /// What to build with.
        feature: &'static str,
    },
    /// The endpoint's settings.
    #[cfg(feature = "kms-network")]
    #[error("[kms.{provider}]: {source}")]
    Endpoint {
        /// As in the settings.
        provider: &'static str,
        /// What is wrong.
        source: crate::key_endpoint::EndpointError,
    },
    /// The token.
    #[cfg(feature = "kms-openbao")]
    #[error("kms.openbao.token_file: {0}")]
    Token(#[from] crate::openbao_keys::TokenError),
}

impl RemoteKeyService {
    /// The key service that the settings name; `None` for the embedded one. Does not connect.
    ///
    /// # Errors
    /// [`KeyProviderError`]
    pub fn from_settings(config: &Config) -> Result<Option<Self>, KeyProviderError> {
        match config.kms.provider {
            KmsProvider::Embedded => Ok(None),
            #[cfg(feature = "kms-aws")]
            KmsProvider::Aws => AwsKeys::new(&config.kms.aws, &config.identity.region)
                .map(|keys| Some(Self::Aws(keys)))
                .map_err(|source| KeyProviderError::Endpoint { provider: "aws", source }),
            #[cfg(not(feature = "kms-aws"))]
            KmsProvider::Aws => Err(KeyProviderError::NotBuiltIn { provider: "aws", feature: "kms-aws" }),
            #[cfg(feature = "kms-openbao")]
            KmsProvider::OpenBao => {
                OpenBaoKeys::new(&config.kms.openbao).map(|keys| Some(Self::OpenBao(keys)))
            }
            #[cfg(not(feature = "kms-openbao"))]
            KmsProvider::OpenBao => {
                Err(KeyProviderError::NotBuiltIn { provider: "openbao", feature: "kms-openbao" })
            }
        }
    }
}

impl KeyProvider {
    /// Takes the credentials of settings that were read anew. The rest of them counts from the next start on.
    pub fn take_credentials(&self, config: &Config) {
        match self {
            #[cfg(feature = "kms-aws")]
            Self::Remote(keys) => keys.take_credentials(config),
            _ => {}
        }
    }
}

/// The provider's name, as in the settings.
pub fn provider_name(provider: KmsProvider) -> &'static str {
    match provider {
        KmsProvider::Embedded => "embedded",
        KmsProvider::Aws => "aws",
        KmsProvider::OpenBao => "openbao",
    }
}

/// Partition, region and account of the queue in an encryption context: keys named without an account are its owner's.
pub fn queue_scope(context: &EncryptionContext) -> Option<Scope> {
    let parts: Vec<&str> = context.get(QUEUE_ARN_NAME)?.split(':').collect();
    let &[_, partition, _, region, account, _] = parts.as_slice() else { return None };
    Some(Scope { partition: partition.into(), account: account.into(), region: region.into() })
}

impl KeyService for KeyProvider {
    type Caller = Caller;

    async fn generate_data_key(
        &self,
        caller: &Caller,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        match self {
            Self::Embedded(keys) => keys.generate_data_key(caller, key_id, context).await,
            #[cfg(feature = "kms-network")]
            Self::Remote(keys) => keys.generate_data_key(caller, key_id, context).await,
        }
    }

    async fn decrypt(
        &self,
        caller: &Caller,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        match self {
            Self::Embedded(keys) => keys.decrypt(caller, wrapped, key_arn, context).await,
            #[cfg(feature = "kms-network")]
            Self::Remote(keys) => keys.decrypt(caller, wrapped, key_arn, context).await,
        }
    }

    async fn probe(&self) -> bool {
        match self {
            Self::Embedded(keys) => keys.probe().await,
            #[cfg(feature = "kms-network")]
            Self::Remote(keys) => keys.probe().await,
        }
    }
}
