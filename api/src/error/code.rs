//! The table of error codes (SQS API contract, 3.1 and 3.2).

/// Who is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client.
    Sender,
    /// The service.
    Receiver,
}

impl Fault {
    /// As it stands in replies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "Sender",
            Self::Receiver => "Receiver",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $json:literal $query:literal $status:literal $fault:ident;)*) => {
        /// What kind of error; the variant is named after its JSON shape.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the variants are the vendor's own names")]
        pub enum ErrorCode { $($variant),* }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// `__type` of the JSON reply, namespace included.
            pub fn json_type(self) -> &'static str {
                match self { $(Self::$variant => $json),* }
            }

            /// `Code` of the XML reply; also in the `x-amzn-query-error` header and in batch failures.
            pub fn query_code(self) -> &'static str {
                match self { $(Self::$variant => $query),* }
            }

            /// HTTP status.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status),* }
            }

            /// Who is to blame.
            pub fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault),* }
            }
        }
    };
}

codes! {
    BatchEntryIdsNotDistinct "com.amazonaws.sqs#BatchEntryIdsNotDistinct" "AWS.SimpleQueueService.BatchEntryIdsNotDistinct" 400 Sender;
    BatchRequestTooLong "com.amazonaws.sqs#BatchRequestTooLong" "AWS.SimpleQueueService.BatchRequestTooLong" 400 Sender;
    EmptyBatchRequest "com.amazonaws.sqs#EmptyBatchRequest" "AWS.SimpleQueueService.EmptyBatchRequest" 400 Sender;
    InvalidBatchEntryId "com.amazonaws.sqs#InvalidBatchEntryId" "AWS.SimpleQueueService.InvalidBatchEntryId" 400 Sender;
    TooManyEntriesInBatchRequest "com.amazonaws.sqs#TooManyEntriesInBatchRequest" "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" 400 Sender;
    UnsupportedOperation "com.amazonaws.sqs#UnsupportedOperation" "AWS.SimpleQueueService.UnsupportedOperation" 400 Sender;
    MessageNotInflight "com.amazonaws.sqs#MessageNotInflight" "AWS.SimpleQueueService.MessageNotInflight" 400 Sender;
    QueueDeletedRecently "com.amazonaws.sqs#QueueDeletedRecently" "AWS.SimpleQueueService.QueueDeletedRecently" 400 Sender;
    QueueDoesNotExist "com.amazonaws.sqs#QueueDoesNotExist" "AWS.SimpleQueueService.NonExistentQueue" 400 Sender;
    QueueNameExists "com.amazonaws.sqs#QueueNameExists" "QueueAlreadyExists" 400 Sender;
    PurgeQueueInProgress "com.amazonaws.sqs#PurgeQueueInProgress" "AWS.SimpleQueueService.PurgeQueueInProgress" 403 Sender;
    OverLimit "com.amazonaws.sqs#OverLimit" "OverLimit" 403 Sender;
    RequestThrottled "com.amazonaws.sqs#RequestThrottled" "RequestThrottled" 403 Sender;
    InvalidSecurity "com.amazonaws.sqs#InvalidSecurity" "InvalidSecurity" 403 Sender;
    InvalidAddress "com.amazonaws.sqs#InvalidAddress" "InvalidAddress" 404 Sender;
    ReceiptHandleIsInvalid "com.amazonaws.sqs#ReceiptHandleIsInvalid" "ReceiptHandleIsInvalid" 404 Sender;
    ResourceNotFound "com.amazonaws.sqs#ResourceNotFoundException" "ResourceNotFoundException" 404 Sender;
    InvalidAttributeName "com.amazonaws.sqs#InvalidAttributeName" "InvalidAttributeName" 400 Sender;
    InvalidAttributeValue "com.amazonaws.sqs#InvalidAttributeValue" "InvalidAttributeValue" 400 Sender;
    InvalidMessageContents "com.amazonaws.sqs#InvalidMessageContents" "InvalidMessageContents" 400 Sender;
    InvalidIdFormat "com.amazonaws.sqs#InvalidIdFormat" "InvalidIdFormat" 400 Sender;
    KmsAccessDenied "com.amazonaws.sqs#KmsAccessDenied" "KMS.AccessDeniedException" 400 Sender;
    KmsDisabled "com.amazonaws.sqs#KmsDisabled" "KMS.DisabledException" 400 Sender;
    KmsInvalidKeyUsage "com.amazonaws.sqs#KmsInvalidKeyUsage" "KMS.InvalidKeyUsageException" 400 Sender;
    KmsInvalidState "com.amazonaws.sqs#KmsInvalidState" "KMS.InvalidStateException" 400 Sender;
    KmsNotFound "com.amazonaws.sqs#KmsNotFound" "KMS.NotFoundException" 400 Sender;
    KmsOptInRequired "com.amazonaws.sqs#KmsOptInRequired" "KMS.OptInRequired" 403 Sender;
    KmsThrottled "com.amazonaws.sqs#KmsThrottled" "KMS.ThrottlingException" 400 Sender;
    InvalidParameterValue "com.amazon.coral.service#InvalidParameterValueException" "InvalidParameterValue" 400 Sender;
    MissingParameter "com.amazon.coral.service#MissingRequiredParameterException" "MissingParameter" 400 Sender;
    MissingAction "com.amazon.coral.service#UnknownOperationException" "MissingAction" 400 Sender;
    InvalidAction "com.amazon.coral.service#UnknownOperationException" "InvalidAction" 400 Sender;
    UnknownOperation "com.amazon.coral.service#UnknownOperationException" "UnknownOperationException" 404 Sender;
    MalformedInput "com.amazon.coral.service#SerializationException" "MalformedInput" 400 Sender;
    RequestTooLarge "com.amazon.coral.service#RequestEntityTooLargeException" "RequestEntityTooLarge" 413 Sender;
    AccessDenied "com.amazon.coral.service#AccessDeniedException" "AccessDenied" 403 Sender;
    SignatureDoesNotMatch "com.amazon.coral.service#InvalidSignatureException" "SignatureDoesNotMatch" 403 Sender;
    InvalidClientTokenId "com.amazon.coral.service#UnrecognizedClientException" "InvalidClientTokenId" 403 Sender;
    IncompleteSignature "com.amazon.coral.service#IncompleteSignatureException" "IncompleteSignature" 400 Sender;
    ExpiredToken "com.amazon.coral.service#ExpiredTokenException" "ExpiredToken" 403 Sender;
    MissingAuthenticationToken "com.amazon.coral.service#MissingAuthenticationTokenException" "MissingAuthenticationToken" 403 Sender;
    RequestExpired "com.amazon.coral.service#RequestExpired" "RequestExpired" 400 Sender;
    InvalidParameterCombination "com.amazon.coral.service#ValidationException" "InvalidParameterCombination" 400 Sender;
    ValidationError "com.amazon.coral.service#ValidationException" "ValidationError" 400 Sender;
    InternalFailure "com.amazon.coral.service#InternalFailure" "InternalFailure" 500 Receiver;
    ServiceUnavailable "com.amazon.coral.service#ServiceUnavailableException" "ServiceUnavailable" 503 Receiver;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_contract_has_its_status() {
        let with_status = |status| -> Vec<&str> {
            ErrorCode::ALL.iter().filter(|c| c.status() == status).map(|c| c.query_code()).collect()
        };
        assert_eq!(
            with_status(404),
            [
                "InvalidAddress",
                "ReceiptHandleIsInvalid",
                "ResourceNotFoundException",
                "UnknownOperationException"
            ]
        );
        assert_eq!(
            with_status(403),
            [
                "AWS.SimpleQueueService.PurgeQueueInProgress",
                "OverLimit",
                "RequestThrottled",
                "InvalidSecurity",
                "KMS.OptInRequired",
                "AccessDenied",
                "SignatureDoesNotMatch",
                "InvalidClientTokenId",
                "ExpiredToken",
                "MissingAuthenticationToken",
            ]
        );
        assert_eq!(
            (with_status(500), with_status(503)),
            (vec!["InternalFailure"], vec!["ServiceUnavailable"])
        );
        assert_eq!((with_status(413).len(), ErrorCode::ALL.len()), (1, 46));
    }

    #[test]
    fn only_the_services_own_failures_blame_the_receiver() {
        for code in ErrorCode::ALL {
            assert_eq!(code.fault() == Fault::Receiver, code.status() >= 500, "{code:?}");
        }
    }
}
