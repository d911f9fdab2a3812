//! Why a signature was refused, with the text to answer. Codes differ by service family; the edge maps them.

use std::borrow::Cow;

pub(super) const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
     Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// Rows of the failure table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigV4FailureKind {
    /// IncompleteSignature.
    Incomplete,
    /// SignatureDoesNotMatch: scope, time or signature.
    DoesNotMatch,
    /// RequestExpired: a presigned URL past its end.
    Expired,
    /// InvalidClientTokenId: unknown or inactive key, bad token.
    InvalidToken,
    /// ExpiredToken.
    ExpiredToken,
    /// MissingAuthenticationToken.
    MissingToken,
}

/// Services that name the same failure differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceFamily {
    /// SQS in the Query protocol, and STS.
    Query,
    /// SQS in JSON.
    SqsJson,
    /// KMS.
    Kms,
}

impl SigV4FailureKind {
    /// The code of this family; in JSON without a namespace.
    pub fn code(self, family: ServiceFamily) -> &'static str {
        let query = family == ServiceFamily::Query;
        match self {
            Self::Incomplete if query => "IncompleteSignature",
            Self::Incomplete => "IncompleteSignatureException",
            Self::DoesNotMatch if query => "SignatureDoesNotMatch",
            Self::DoesNotMatch => "InvalidSignatureException",
            Self::Expired if query => "RequestExpired",
            Self::Expired => "RequestExpiredException",
            Self::InvalidToken if query => "InvalidClientTokenId",
            Self::InvalidToken => "UnrecognizedClientException",
            Self::ExpiredToken if query => "ExpiredToken",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::MissingToken if query => "MissingAuthenticationToken",
            Self::MissingToken => "MissingAuthenticationTokenException",
        }
    }

    /// HTTP status: KMS answers every failure with 400.
    pub fn status(self, family: ServiceFamily) -> u16 {
        match (self, family) {
            (_, ServiceFamily::Kms) | (Self::Incomplete | Self::Expired, _) => 400,
            _ => 403,
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SigV4Failure {
    /// Its row.
    pub kind: SigV4FailureKind,
    /// Its text.
    pub message: Cow<'static, str>,
}

impl SigV4Failure {
    pub(super) fn incomplete(message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: SigV4FailureKind::Incomplete, message: message.into() }
    }

    pub(super) fn scope(message: String) -> Self {
        Self { kind: SigV4FailureKind::DoesNotMatch, message: message.into() }
    }

    pub(super) fn time(message: String) -> Self {
        Self { kind: SigV4FailureKind::DoesNotMatch, message: message.into() }
    }

    pub(super) fn expired(message: String) -> Self {
        Self { kind: SigV4FailureKind::Expired, message: message.into() }
    }

    pub(super) fn mismatch(message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: SigV4FailureKind::DoesNotMatch, message: message.into() }
    }

    /// Access key unknown or inactive, token missing, altered or of another key: one text for all.
    pub fn invalid_token() -> Self {
        let message = "The security token included in the request is invalid.".into();
        Self { kind: SigV4FailureKind::InvalidToken, message }
    }

    /// The session has ended.
    pub fn expired_token() -> Self {
        let message = "The security token included in the request is expired".into();
        Self { kind: SigV4FailureKind::ExpiredToken, message }
    }

    /// No credentials where some are needed.
    pub fn missing_token() -> Self {
        Self {
            kind: SigV4FailureKind::MissingToken,
            message: "Request is missing Authentication Token".into(),
        }
    }
}

impl SigV4Failure {
    /// See [`SigV4FailureKind::code`].
    pub fn code(&self, family: ServiceFamily) -> &'static str {
        self.kind.code(family)
    }

    /// See [`SigV4FailureKind::status`].
    pub fn status(&self, family: ServiceFamily) -> u16 {
        self.kind.status(family)
    }

    /// Text for the client.
    pub fn message(&self) -> &str {
        &self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_9_each_family_has_its_own_codes() {
        let unknown = SigV4Failure::invalid_token();
        assert_eq!(unknown.code(ServiceFamily::Query), "InvalidClientTokenId");
        assert_eq!(unknown.code(ServiceFamily::SqsJson), "UnrecognizedClientException");
        assert_eq!((unknown.status(ServiceFamily::SqsJson), unknown.status(ServiceFamily::Kms)), (403, 400));
        let wrong = SigV4Failure::mismatch(MISMATCH);
        assert_eq!(wrong.code(ServiceFamily::Query), "SignatureDoesNotMatch");
        assert_eq!(wrong.code(ServiceFamily::Kms), "InvalidSignatureException");
        assert_eq!(SigV4Failure::expired_token().code(ServiceFamily::Query), "ExpiredToken");
        assert_eq!(
            SigV4Failure::missing_token().code(ServiceFamily::Kms),
            "MissingAuthenticationTokenException"
        );
        let incomplete = SigV4Failure::incomplete("x");
        assert_eq!((incomplete.status(ServiceFamily::Query), incomplete.message()), (400, "x"));
    }
}
