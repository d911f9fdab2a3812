//! What the daemon tells whoever started it, once it is ready.

use std::net::SocketAddr;

/// Where a ready daemon listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Announcement {
    /// HTTPS.
    pub https: Option<SocketAddr>,
    /// Plain HTTP.
    pub http: Option<SocketAddr>,
    /// Metrics.
    pub metrics: Option<SocketAddr>,
}

/// Called once, after recovery, when every listener answers and `/readyz` is 200.
pub type Announce = Box<dyn FnOnce(Announcement) + Send>;
