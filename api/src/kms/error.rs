//! Errors of the key service and how they are rendered.

use std::borrow::Cow;

use crate::error::bounded_text;
use crate::json::push_json_string;

macro_rules! error_names {
    ($($name:ident),+ $(,)?) => {
        /// Name of an error, as `__type` has it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the vendor's error of that name")]
        pub enum KmsErrorName { $($name),+ }

        impl KmsErrorName {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

error_names! {
    AccessDeniedException, AlreadyExistsException, ConflictException, DependencyTimeoutException, DisabledException,
    DryRunOperationException, ExpiredImportTokenException, ExpiredTokenException, IncompleteSignatureException,
    IncorrectKeyException, IncorrectKeyMaterialException, InvalidAliasNameException, InvalidArnException,
    InvalidCiphertextException, InvalidGrantIdException, InvalidGrantTokenException, InvalidImportTokenException,
    InvalidKeyUsageException, InvalidMarkerException, InvalidSignatureException, KMSInternalException,
    KMSInvalidStateException, KeyUnavailableException, LimitExceededException, MalformedPolicyDocumentException,
    MissingAuthenticationTokenException, NotAuthorizedException, NotFoundException, RequestExpiredException,
    SerializationException, TagException,
    ThrottlingException, UnknownOperationException, UnrecognizedClientException, UnsupportedOperationException,
    ValidationException,
}

impl KmsErrorName {
    /// By name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.as_str() == name)
    }

    /// HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::KMSInternalException | Self::DependencyTimeoutException | Self::KeyUnavailableException => {
                500
            }
            _ => 400,
        }
    }
}

/// An error as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsErrorReply {
    /// Which.
    pub name: KmsErrorName,
    /// Its text; may be empty.
    pub message: Cow<'static, str>,
}

impl KmsErrorReply {
    /// An error with a text.
    pub fn new(name: KmsErrorName, message: impl Into<Cow<'static, str>>) -> Self {
        Self { name, message: bounded_text(message) }
    }

    /// A known part of the service that is not served.
    pub fn unsupported(what: &str) -> Self {
        Self::new(KmsErrorName::UnsupportedOperationException, format!("{what} is not supported."))
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.name.status()
    }

    /// The body.
    pub fn render(&self) -> Vec<u8> {
        let mut out = b"{\"__type\":\"".to_vec();
        out.extend_from_slice(self.name.as_str().as_bytes());
        // Recorded from the live service: only this one is capitalised.
        out.extend_from_slice(match self.name {
            KmsErrorName::AccessDeniedException => b"\",\"Message\":",
            _ => b"\",\"message\":",
        });
        push_json_string(&self.message, &mut out);
        out.push(b'}');
        out
    }
}
