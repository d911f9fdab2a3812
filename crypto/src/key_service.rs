//! The seam to a key management service: two calls, made in the name of a caller.
//!
//! A service behind this seam may be embedded, a remote endpoint or a double in a test. It never sees a
//! message.

use std::future::Future;

use crate::{data_key::KeyBytes, encryption_context::EncryptionContext};

/// GenerateDataKey and Decrypt.
pub trait KeyService: Send + Sync {
    /// In whose name a call is made: whatever the service needs to authorize and audit it. The key ring hands
    /// it through and looks at nothing in it; who shares a data key is decided by the principal string given
    /// beside it.
    type Caller: Send + Sync;

    /// A new 256-bit data key (KeySpec AES_256) under the key that `key_id` names: an id, ARN, alias name or
    /// alias ARN, as the queue's setting has it.
    fn generate_data_key(
        &self,
        caller: &Self::Caller,
        key_id: &str,
        context: &EncryptionContext,
    ) -> impl Future<Output = Result<GeneratedDataKey, KeyServiceError>> + Send;

    /// Unwraps `wrapped`, which must be under the key `key_arn` and must have been made with `context`.
    fn decrypt(
        &self,
        caller: &Self::Caller,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> impl Future<Output = Result<DecryptedDataKey, KeyServiceError>> + Send;

    /// Whether the service answers at all; asked during an outage only. Uses no key and is no call of the key service's
    /// API.
    fn probe(&self) -> impl Future<Output = bool> + Send;
}

/// What GenerateDataKey answers.
#[derive(Debug)]
pub struct GeneratedDataKey {
    /// The data key itself.
    pub plaintext: KeyBytes,
    /// The same key under the service's key; this is what is stored.
    pub wrapped: Vec<u8>,
    /// ARN of the key that wrapped it, resolved from whatever `key_id` was.
    pub key_arn: String,
}

/// What Decrypt answers.
#[derive(Debug)]
pub struct DecryptedDataKey {
    /// The data key itself.
    pub plaintext: KeyBytes,
    /// ARN of the key that unwrapped it.
    pub key_arn: String,
}

/// Why there is no data key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyServiceError {
    /// The service was reached and said no. The answer stands: no cached key takes its place.
    #[error("{message}")]
    Refused {
        /// The class of the refusal.
        kind: Refusal,
        /// The service's own text, fit to be shown to the caller.
        message: String,
    },
    /// The service could not be reached: connect failure, timeout, TLS failure or HTTP 5xx. Only this lets an
    /// expired cached key go on.
    #[error("the key service is unreachable: {message}")]
    Unreachable {
        /// What failed, for the operator.
        message: String,
        /// No answer came, so that the next call may wait as long as this one did; otherwise HTTP 5xx.
        silent: bool,
    },
    /// The service answered something that cannot be: a data key that does not unwrap to itself, another key
    /// than the one asked for, a wrapped form too long to store. Nothing is sealed or opened with it.
    #[error("the key service contradicts itself: {message}")]
    Inconsistent {
        /// What did not fit, for the operator.
        message: String,
    },
}

impl KeyServiceError {
    /// A short name, for metrics and audit records: the vendor's for refusals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused { kind, .. } => kind.name(),
            Self::Unreachable { .. } => "Unreachable",
            Self::Inconsistent { .. } => "Inconsistent",
        }
    }
}

/// Classes of refusal, each with its own code in the queue API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The caller may not use the key (or may not know whether it exists).
    AccessDenied,
    /// The key is disabled.
    Disabled,
    /// The key is not a symmetric encryption key.
    InvalidKeyUsage,
    /// The key is pending deletion or import, or in another state that admits no use.
    InvalidState,
    /// No such key or alias, or one of another region.
    NotFound,
    /// The account has not subscribed to the service.
    OptInRequired,
    /// Too many calls.
    Throttled,
    /// The wrapped key is damaged or was made with another context or under another key.
    InvalidCiphertext,
}

impl Refusal {
    /// The vendor's name of the error.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::Disabled => "DisabledException",
            Self::InvalidKeyUsage => "InvalidKeyUsageException",
            Self::InvalidState => "KMSInvalidStateException",
            Self::NotFound => "NotFoundException",
            Self::OptInRequired => "SubscriptionRequiredException",
            Self::Throttled => "ThrottlingException",
            Self::InvalidCiphertext => "InvalidCiphertextException",
        }
    }

    /// Whether the answer is about the caller's rights or the key's state, so that it also ends what earlier
    /// answers allowed. Throttling says "later", and a damaged wrapped key says nothing about other ones.
    pub fn revokes(self) -> bool {
        match self {
            Self::AccessDenied
            | Self::Disabled
            | Self::InvalidKeyUsage
            | Self::InvalidState
            | Self::NotFound
            | Self::OptInRequired => true,
            Self::Throttled | Self::InvalidCiphertext => false,
        }
    }
}
