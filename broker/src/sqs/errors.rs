//! What failures inside the broker are called on the wire.

use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_crypto::{KeyServiceError, Refusal};

use crate::engine::command::{ReceiptRefusal, Unavailable};
use crate::envelope::{OpenFailure, SealFailure};

/// A key service's answer, in the form that SQS clients know (sse.md, section 12).
pub(super) fn of_key_service(error: &KeyServiceError) -> ErrorReply {
    let (kind, message) = match error {
        KeyServiceError::Refused { kind, message } => (*kind, message),
        // Said once, by the key ring, when it begins: in an outage every request without a key comes here.
        KeyServiceError::Unreachable { .. } => {
            tracing::debug!(%error, "no data key");
            return ErrorReply::internal();
        }
        KeyServiceError::Inconsistent { .. } => {
            tracing::error!(%error, "no data key");
            return ErrorReply::internal();
        }
    };
    let (code, status) = match kind {
        Refusal::AccessDenied => (ErrorCode::KmsAccessDenied, 400),
        Refusal::Disabled => (ErrorCode::KmsDisabled, 400),
        Refusal::InvalidKeyUsage => (ErrorCode::KmsInvalidKeyUsage, 400),
        Refusal::InvalidState => (ErrorCode::KmsInvalidState, 400),
        Refusal::NotFound => (ErrorCode::KmsNotFound, 400),
        Refusal::OptInRequired => (ErrorCode::KmsOptInRequired, 403),
        Refusal::Throttled => (ErrorCode::KmsThrottled, 400),
        Refusal::InvalidCiphertext => {
            tracing::error!(%error, "a stored data key does not unwrap");
            return ErrorReply::internal();
        }
    };
    let (name, request_id) = (kind.name(), uuid::Uuid::from_bytes(random_bytes()));
    ErrorReply::new(
        code,
        format!(
            "{message} (Service: AWSKMS; Status Code: {status}; Error Code: {name}; Request ID: {request_id}; Proxy: \
             null)"
        ),
    )
}

pub(super) fn of_seal(failure: &SealFailure) -> ErrorReply {
    match failure {
        SealFailure::Key(error) => of_key_service(error),
        SealFailure::Busy => busy(),
        SealFailure::Internal(reason) => {
            tracing::error!(reason, "a message could not be sealed");
            ErrorReply::internal()
        }
    }
}

pub(super) fn of_open(failure: &OpenFailure) -> ErrorReply {
    match failure {
        OpenFailure::Key(error) => of_key_service(error),
        OpenFailure::Insecure => ErrorReply::new(
            ErrorCode::InvalidSecurity,
            "An encrypted message is given out over HTTPS and Signature Version 4 only.",
        ),
        OpenFailure::Busy => busy(),
        OpenFailure::Unread(_) => ErrorReply::new(
            ErrorCode::ServiceUnavailable,
            "The broker's disk does not read the message. Try again later.",
        ),
        OpenFailure::Damaged(_) | OpenFailure::Unreadable(_) => ErrorReply::internal(),
    }
}

pub(super) fn of_unavailable(unavailable: Unavailable) -> ErrorReply {
    let text = match unavailable {
        Unavailable::DiskFull => "The broker is short of disk space or overloaded. Try again later.",
        Unavailable::Poisoned => "The broker's log has failed and takes nothing more. Its operator must act.",
        Unavailable::TooLarge => {
            return ErrorReply::invalid_parameter(
                "The message with its attributes is too large to be stored.",
            );
        }
    };
    ErrorReply::new(ErrorCode::ServiceUnavailable, text)
}

pub(super) fn busy() -> ErrorReply {
    ErrorReply::new(ErrorCode::ServiceUnavailable, "The broker is overloaded. Try again later.")
}

pub(super) fn of_receipt(refusal: ReceiptRefusal, handle: &str, timeout_s: i64) -> ErrorReply {
    match refusal {
        ReceiptRefusal::Expired => ErrorReply::receipt_handle_expired(handle),
        ReceiptRefusal::MessageGone => ErrorReply::message_unavailable(handle),
        ReceiptRefusal::BeyondLimit => ErrorReply::visibility_beyond_limit(timeout_s),
    }
}

/// Random bytes for an id that need not be secret. The system's source does not fail once it has started.
fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "the system gives no random bytes");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sse_176_sse_177_every_refusal_of_a_key_service_has_its_code_and_status() {
        let table = [
            (Refusal::AccessDenied, "KMS.AccessDeniedException", 400),
            (Refusal::Disabled, "KMS.DisabledException", 400),
            (Refusal::InvalidKeyUsage, "KMS.InvalidKeyUsageException", 400),
            (Refusal::InvalidState, "KMS.InvalidStateException", 400),
            (Refusal::NotFound, "KMS.NotFoundException", 400),
            (Refusal::OptInRequired, "KMS.OptInRequired", 403),
            (Refusal::Throttled, "KMS.ThrottlingException", 400),
            (Refusal::InvalidCiphertext, "InternalFailure", 500),
        ];
        for (kind, code, status) in table {
            let reply = of_key_service(&KeyServiceError::Refused { kind, message: "its own words".into() });
            assert_eq!((reply.code.query_code(), reply.status()), (code, status), "{kind:?}");
            let says_so = reply.message.starts_with("its own words (Service: AWSKMS; Status Code: ");
            assert_eq!(says_so, status < 500, "{}", reply.message);
        }
        let unreachable =
            KeyServiceError::Unreachable { message: "an address of the inside".into(), silent: false };
        let reply = of_key_service(&unreachable);
        assert_eq!(reply.status(), 500);
        assert!(!reply.message.contains("inside"));
    }
}
