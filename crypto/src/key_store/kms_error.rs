//! Every way the key service says no: the vendor's error names and, where recorded, its exact texts.
//!
//! Knows no HTTP: a status is only "client" or "service" fault here.

use thiserror::Error;

use super::action::Action;
use super::key::{KeySpec, KeyUsage, Origin};
use crate::entropy::EntropyError;
use crate::key_service::{KeyServiceError, Refusal};

const ALIAS_PREFIX_TEXT: &str = "Alias must start with the prefix \"alias/\". Please see \
     https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";

/// What is wrong with a set of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TagFault {
    /// One key twice.
    #[error("Duplicate tag keys")]
    Duplicate,
    /// More than [`super::TAGS_MAX`].
    #[error("Too many tags")]
    TooMany,
    /// A key beginning with `aws:`.
    #[error("Tags beginning with aws: are reserved")]
    Reserved,
}

/// An error of the key service. `Display` is the message on the wire, [`KmsError::name`] the error's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KmsError {
    /// A well-formed key id that is nobody's.
    #[error("Key '{arn}' does not exist")]
    KeyNotFound {
        /// Key ARN.
        arn: String,
    },
    /// Not a key id, or an alias where only keys are taken.
    #[error("Invalid keyId '{given}'")]
    InvalidKeyId {
        /// As given.
        given: String,
    },
    /// An ARN of another region.
    #[error("Invalid arn {region}")]
    OtherRegion {
        /// Region of the ARN.
        region: String,
    },
    /// No such alias.
    #[error("Alias {arn} is not found.")]
    AliasNotFound {
        /// Alias ARN.
        arn: String,
    },
    /// A policy name other than `default`.
    #[error("No such policy exists")]
    PolicyNotFound,
    /// No such grant, where a grant id was given.
    #[error("Grant ID {grant_id} not found")]
    GrantNotFound {
        /// As given.
        grant_id: String,
    },
    /// No such material of the key.
    #[error("Key material {id} not found")]
    MaterialNotFound {
        /// As given.
        id: String,
    },
    /// Malformed ARN.
    #[error("Invalid arn {given}")]
    InvalidArn {
        /// As given.
        given: String,
    },
    /// An ARN that is nobody's, or of a kind that cannot have a grant.
    #[error("ARN does not refer to a valid principal: {given}")]
    NoPrincipal {
        /// As given.
        given: String,
    },
    /// Key state Disabled.
    #[error("{arn} is disabled.")]
    Disabled {
        /// Key ARN.
        arn: String,
    },
    /// Key state PendingDeletion.
    #[error("{arn} is pending deletion.")]
    PendingDeletion {
        /// Key ARN.
        arn: String,
    },
    /// Key state PendingImport.
    #[error("{arn} is pending import.")]
    PendingImport {
        /// Key ARN.
        arn: String,
    },
    /// CancelKeyDeletion without a schedule.
    #[error("{arn} is not pending deletion.")]
    NotPendingDeletion {
        /// Key ARN.
        arn: String,
    },
    /// The key is not for this.
    #[error("{arn} key usage is {usage} which is not valid for {action}.", usage = .usage.name(), action = .action.name())]
    KeyUsage {
        /// Key ARN.
        arn: String,
        /// What it is for.
        usage: KeyUsage,
        /// What was asked.
        action: Action,
    },
    /// The key has no such algorithm.
    #[error("Algorithm {algorithm} is incompatible with key spec {spec}.", spec = .spec.name())]
    Algorithm {
        /// As named.
        algorithm: String,
        /// What the key is.
        spec: KeySpec,
    },
    /// Altered, cut, foreign, or another encryption context: deliberately says no more.
    #[error("")]
    InvalidCiphertext,
    /// The named key is not the blob's.
    #[error("The key ID in the request does not identify a CMK that can perform this operation.")]
    IncorrectKey,
    /// Not a grant token.
    #[error("Invalid grant token")]
    InvalidGrantToken,
    /// Not 64 hexadecimal digits.
    #[error("Invalid grant ID {given}")]
    InvalidGrantId {
        /// As given.
        given: String,
    },
    /// Not a marker of this list.
    #[error("Invalid marker")]
    InvalidMarker,
    /// Characters an alias cannot have.
    #[error("Invalid alias name {given}")]
    InvalidAliasName {
        /// As given.
        given: String,
    },
    /// An alias name without `alias/`.
    #[error("{ALIAS_PREFIX_TEXT}")]
    AliasPrefix,
    /// A name under `alias/aws/`.
    #[error("{name} is reserved: aliases under alias/aws/ belong to services")]
    AliasReserved {
        /// As given.
        name: String,
    },
    /// The alias is taken.
    #[error("An alias with the name {arn} already exists")]
    AliasExists {
        /// Alias ARN.
        arn: String,
    },
    /// A number of things per key or account is used up.
    #[error("{what} limit of {limit} has been reached for {of}")]
    LimitExceeded {
        /// Things counted.
        what: &'static str,
        /// How many there may be.
        limit: usize,
        /// Key ARN or account.
        of: String,
    },
    /// On-demand rotations used up.
    #[error(
        "The on-demand rotations limit has been reached for the given keyId. No more on-demand rotations can be \
         performed for this key: {arn}"
    )]
    RotationsUsedUp {
        /// Key ARN.
        arn: String,
    },
    /// Bad tags.
    #[error("{0}")]
    Tag(#[from] TagFault),
    /// A policy that cannot be.
    #[error("{reason}")]
    MalformedPolicy {
        /// What is wrong.
        reason: String,
    },
    /// The caller would lock itself out.
    #[error("The new key policy will not allow you to update the key policy in the future.")]
    PolicyLockout,
    /// The key's origin does not allow this.
    #[error("{arn} origin is {origin} which is not valid for this operation.", origin = .origin.name())]
    WrongOrigin {
        /// Key ARN.
        arn: String,
        /// Where its material comes from.
        origin: Origin,
    },
    /// Something only symmetric keys can.
    #[error("{arn} key spec is not valid for this operation.")]
    NotSymmetric {
        /// Key ARN.
        arn: String,
    },
    /// Something a caller cannot do to an AWS managed key.
    #[error("{arn} is an AWS managed key which is not valid for {action}.", action = .action.name())]
    ManagedKey {
        /// Key ARN.
        arn: String,
        /// What was asked.
        action: Action,
    },
    /// A known part of the service that this product does not have.
    #[error("{what} is not supported.")]
    Unsupported {
        /// What was asked.
        what: String,
    },
    /// All checks passed and `DryRun` was set.
    #[error("The request would have succeeded, but the DryRun option is set.")]
    DryRun,
    /// Other bytes than the material's.
    #[error("The key material in the request is not the key material of this KMS key.")]
    IncorrectKeyMaterial,
    /// The import token is old.
    #[error("The import token has expired.")]
    ExpiredImportToken,
    /// The import token is of another key or service.
    #[error("The import token is not valid for this KMS key.")]
    InvalidImportToken,
    /// A caller without the right to this.
    #[error("{reason}")]
    AccessDenied {
        /// What is missing.
        reason: String,
    },
    /// The shape of the request.
    #[error("{0}")]
    Validation(String),
    /// The service's own fault; nothing was done.
    #[error("{reason}")]
    Internal {
        /// For the log.
        reason: String,
    },
}

impl KmsError {
    /// The error's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KeyNotFound { .. }
            | Self::InvalidKeyId { .. }
            | Self::OtherRegion { .. }
            | Self::AliasNotFound { .. }
            | Self::GrantNotFound { .. }
            | Self::MaterialNotFound { .. }
            | Self::PolicyNotFound => "NotFoundException",
            Self::InvalidArn { .. } | Self::NoPrincipal { .. } => "InvalidArnException",
            Self::Disabled { .. } => "DisabledException",
            Self::PendingDeletion { .. } | Self::PendingImport { .. } | Self::NotPendingDeletion { .. } => {
                "KMSInvalidStateException"
            }
            Self::KeyUsage { .. } | Self::Algorithm { .. } => "InvalidKeyUsageException",
            Self::InvalidCiphertext => "InvalidCiphertextException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::InvalidGrantToken => "InvalidGrantTokenException",
            Self::InvalidGrantId { .. } => "InvalidGrantIdException",
            Self::InvalidMarker => "InvalidMarkerException",
            Self::InvalidAliasName { .. } => "InvalidAliasNameException",
            Self::AliasReserved { .. } => "NotAuthorizedException",
            Self::AliasExists { .. } => "AlreadyExistsException",
            Self::LimitExceeded { .. } | Self::RotationsUsedUp { .. } => "LimitExceededException",
            Self::Tag(_) => "TagException",
            Self::MalformedPolicy { .. } | Self::PolicyLockout => "MalformedPolicyDocumentException",
            Self::WrongOrigin { .. }
            | Self::NotSymmetric { .. }
            | Self::ManagedKey { .. }
            | Self::Unsupported { .. } => "UnsupportedOperationException",
            Self::DryRun => "DryRunOperationException",
            Self::IncorrectKeyMaterial => "IncorrectKeyMaterialException",
            Self::ExpiredImportToken => "ExpiredImportTokenException",
            Self::InvalidImportToken => "InvalidImportTokenException",
            Self::AccessDenied { .. } => "AccessDeniedException",
            Self::AliasPrefix | Self::Validation(_) => "ValidationException",
            Self::Internal { .. } => "KMSInternalException",
        }
    }

    /// Whether the service erred (HTTP 500), not the caller (HTTP 400).
    pub fn is_service_fault(&self) -> bool {
        matches!(self, Self::Internal { .. })
    }
}

/// What the queue side makes of a refusal of the embedded key service.
impl From<KmsError> for KeyServiceError {
    fn from(error: KmsError) -> Self {
        let kind = match &error {
            KmsError::Internal { .. } => {
                return Self::Unreachable { message: error.to_string(), silent: false };
            }
            KmsError::KeyNotFound { .. }
            | KmsError::InvalidKeyId { .. }
            | KmsError::OtherRegion { .. }
            | KmsError::AliasNotFound { .. }
            | KmsError::InvalidArn { .. } => Refusal::NotFound,
            KmsError::Disabled { .. } => Refusal::Disabled,
            KmsError::KeyUsage { .. } | KmsError::NotSymmetric { .. } => Refusal::InvalidKeyUsage,
            KmsError::InvalidCiphertext | KmsError::IncorrectKey => Refusal::InvalidCiphertext,
            KmsError::AccessDenied { .. } => Refusal::AccessDenied,
            _ => Refusal::InvalidState,
        };
        Self::Refused { kind, message: error.to_string() }
    }
}

impl From<EntropyError> for KmsError {
    fn from(error: EntropyError) -> Self {
        Self::Internal { reason: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_side_tells_a_no_from_an_outage() {
        let kind = |error: KmsError| match KeyServiceError::from(error) {
            KeyServiceError::Refused { kind, .. } => Some(kind),
            _ => None,
        };
        let arn = || String::from("arn");
        assert_eq!(kind(KmsError::Disabled { arn: arn() }), Some(Refusal::Disabled));
        assert_eq!(kind(KmsError::PendingDeletion { arn: arn() }), Some(Refusal::InvalidState));
        assert_eq!(kind(KmsError::KeyNotFound { arn: arn() }), Some(Refusal::NotFound));
        assert_eq!(kind(KmsError::InvalidCiphertext), Some(Refusal::InvalidCiphertext));
        assert_eq!(kind(KmsError::Internal { reason: arn() }), None);
        assert!(KmsError::Internal { reason: arn() }.is_service_fault());
    }
}
