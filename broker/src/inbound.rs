//! One request as it came off a listener, and the trait of what answers it.
//!
//! Holds the request whole (head and body) with what the connection knows: peer, TLS. Knows no
//! protocol above HTTP; SQS, KMS, STS and the console are told apart by the service.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri, Version};
use http_body_util::Full;

/// A request, read whole before the service sees it.
#[derive(Debug)]
pub struct Inbound {
    /// HTTP method.
    pub method: Method,
    /// Request target as it was sent: path and query, with HTTP/2 also scheme and authority.
    pub uri: Uri,
    /// Header fields as they were sent.
    pub headers: HeaderMap,
    /// Whole body, at most [`crate::listener::BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// The request came over TLS, or a trusted proxy says (`X-Forwarded-Proto: https`) that it did.
    pub secure: bool,
    /// Address of the client; behind a trusted proxy the one it reports in `X-Forwarded-For`.
    pub peer: IpAddr,
    /// HTTP version of the connection.
    pub version: Version,
}

/// What answers requests. The returned future is dropped when the client goes away, so whatever must
/// outlive the request may not live in it alone.
pub trait Service: Send + Sync + 'static {
    /// Answers one request. Runs on the connection's own task: it must not block.
    fn handle(&self, inbound: Inbound) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}
