//! Errors of the token service.

use std::borrow::Cow;

use super::STS_XMLNS;
use crate::error::bounded_text;
use crate::xml::{push_xml_element, push_xml_text};

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $status:literal),+ $(,)?) => {
        /// Code of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum StsErrorCode { $($(#[$doc])* $code),+ }

        impl StsErrorCode {
            /// The code on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),+ }
            }

            /// HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status),+ }
            }

            /// By the code on the wire.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $(stringify!($code) => Some(Self::$code),)+ _ => None }
            }
        }
    };
}

codes! {
    /// No right to it, or nothing there to have a right to.
    AccessDenied = 403,
    /// The shape of the request.
    ValidationError = 400,
    /// A member that cannot be read.
    MalformedInput = 400,
    /// A session policy that does not parse.
    MalformedPolicyDocument = 400,
    /// Session policies and tags too large together.
    PackedPolicyTooLarge = 400,
    /// The region is switched off.
    RegionDisabledException = 403,
    /// No such action.
    InvalidAction = 400,
    /// No Action parameter.
    MissingAction = 400,
    /// The session is over.
    ExpiredToken = 403,
    /// Parts of the signature are missing.
    IncompleteSignature = 400,
    /// Unknown key, bad token.
    InvalidClientTokenId = 403,
    /// Not signed.
    MissingAuthenticationToken = 403,
    /// A presigned URL past its end.
    RequestExpired = 400,
    /// Scope, time or signature.
    SignatureDoesNotMatch = 403,
    /// The service's own fault.
    InternalFailure = 500,
}

/// An error as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsErrorReply {
    /// Which.
    pub code: StsErrorCode,
    /// Its text.
    pub message: Cow<'static, str>,
}

impl StsErrorReply {
    /// An error with a text.
    pub fn new(code: StsErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: bounded_text(message) }
    }

    /// The caller may not assume this role; also said of a role that does not exist.
    pub fn assume_role_denied(caller_arn: &str, role_arn: &str) -> Self {
        Self::new(
            StsErrorCode::AccessDenied,
            format!(
                "User: {caller_arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
            ),
        )
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.code.status()
    }

    /// The body.
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        let fault = if self.status() >= 500 { "Receiver" } else { "Sender" };
        let mut out = format!("<ErrorResponse xmlns=\"{STS_XMLNS}\"><Error>").into_bytes();
        push_xml_element("Type", fault, &mut out);
        push_xml_element("Code", self.code.as_str(), &mut out);
        push_xml_element("Message", &self.message, &mut out);
        out.extend_from_slice(b"</Error><RequestId>");
        push_xml_text(request_id, &mut out);
        out.extend_from_slice(b"</RequestId></ErrorResponse>");
        out
    }
}
