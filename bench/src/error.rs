//! What can go wrong in the generator itself. A refusal by the broker is a result, not an error: it is counted.

use std::io;
use std::path::PathBuf;

/// A run that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A file named on the command line could not be used.
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// The credentials file has no usable profile.
    #[error("{path}: no profile `{profile}` with aws_access_key_id and aws_secret_access_key")]
    NoProfile { path: PathBuf, profile: String },
    /// The endpoint is not `http(s)://host:port`.
    #[error("`{0}` is not an http:// or https:// endpoint")]
    Endpoint(String),
    /// The CA file holds no certificate, or TLS could not be set up.
    #[error("TLS: {0}")]
    Tls(String),
    /// A connection broke.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The peer's answer is not the HTTP/1.1 that this client reads.
    #[error("cannot read the reply: {0}")]
    Reply(&'static str),
    /// A set-up call (CreateQueue, GetQueueUrl) was refused.
    #[error("{action} answered {status}: {body}")]
    Refused { action: &'static str, status: u16, body: String },
    /// The answer to a set-up call does not name a queue.
    #[error("{0} answered 200 without a queue URL")]
    NoQueueUrl(&'static str),
    /// The result could not be written down.
    #[error("result: {0}")]
    Json(#[from] serde_json::Error),
    /// A process that is to be measured is not there.
    #[error("process {pid}: {source}")]
    Process { pid: u32, source: io::Error },
    /// Some replies were not a 200, or did not hold what they should.
    #[error("{count} failed requests; the first: {first}")]
    Failures { count: u64, first: String },
}
