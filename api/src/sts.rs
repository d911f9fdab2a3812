//! The security token service on the wire: Query protocol in, XML out.
//!
//! Knows no role and no session: only what requests look like and how answers are written.

mod error;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use error::{StsErrorCode, StsErrorReply};
pub use reply::{AssumedRole, CallerIdentity, Credentials};
pub use request::{AssumeRole, GetSessionToken, StsRequest};

/// XML namespace of replies and errors.
pub const STS_XMLNS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// API version.
pub const STS_VERSION: &str = "2011-06-15";
/// `Content-Type` of replies and errors.
pub const CONTENT_TYPE: &str = "text/xml";
