//! The key service on the wire: JSON 1.1, `X-Amz-Target: TrentService.<Action>`.
//!
//! Bytes in, typed requests out; replies and errors in, bytes out. Shapes are checked here; knows no keys, states or
//! rights.

mod action;
mod error;
mod members;
mod parse;
mod reply;
mod request;
mod shown;
#[cfg(test)]
mod tests;

pub use action::{Named, ServedAction, UnservedAction};
pub use error::{KmsErrorName, KmsErrorReply};
pub use reply::ReplyBody;
pub use request::*;
pub use shown::reply_elements;

/// `Content-Type` of requests, replies and errors.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// What `X-Amz-Target` begins with.
pub const TARGET_PREFIX: &str = "TrentService.";

impl KmsCall {
    /// Reads a request for the action named.
    ///
    /// # Errors
    /// Unknown or unserved action, unreadable body, all shape errors in one.
    pub fn parse(action: Named, body: &[u8]) -> Result<Self, KmsErrorReply> {
        match action {
            Named::Served(action) => parse::parse(action, body),
            Named::Unserved(action) => Err(KmsErrorReply::unsupported(action.name)),
            Named::Unknown => Err(KmsErrorReply::new(KmsErrorName::UnknownOperationException, "")),
        }
    }
}
