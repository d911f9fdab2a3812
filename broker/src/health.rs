//! What `/healthz` and `/readyz` answer.
//!
//! Two flags, set by the daemon and by the shard, read by every listener. Neither path needs a signature, and neither
//! tells anything but its one word.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

/// Whether the process serves, and whether it should be sent requests.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
    poisoned: AtomicBool,
}

impl Health {
    /// Not ready, not poisoned: as it is until recovery is done.
    pub const fn new() -> Self {
        Self { ready: AtomicBool::new(false), poisoned: AtomicBool::new(false) }
    }

    /// `true` after recovery, `false` again when shutdown begins.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// The log refuses writes for good: a write or sync failed and nothing is known of the disk any more.
    pub fn set_poisoned(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// Between recovery and shutdown, with a log that takes writes.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.is_poisoned()
    }

    /// Whether the log refuses writes.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// The answer, if `path` is one of the two.
    pub fn answer(&self, method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
        let (good, word, otherwise) = match path {
            "/healthz" => (!self.is_poisoned(), "ok\n", "poisoned\n"),
            "/readyz" => (self.is_ready(), "ready\n", "not ready\n"),
            _ => return None,
        };
        if method != Method::GET && method != Method::HEAD {
            return Some(plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"));
        }
        Some(if good {
            plain(StatusCode::OK, word)
        } else {
            plain(StatusCode::SERVICE_UNAVAILABLE, otherwise)
        })
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(health: &Health, path: &str) -> u16 {
        health.answer(&Method::GET, path).unwrap().status().as_u16()
    }

    #[test]
    fn ready_only_between_recovery_and_shutdown() {
        let health = Health::new();
        assert_eq!((status(&health, "/healthz"), status(&health, "/readyz")), (200, 503));
        health.set_ready(true);
        assert_eq!((status(&health, "/healthz"), status(&health, "/readyz")), (200, 200));
        health.set_ready(false);
        assert_eq!((status(&health, "/healthz"), status(&health, "/readyz")), (200, 503));
    }

    #[test]
    fn a_poisoned_log_is_neither_healthy_nor_ready() {
        let health = Health::new();
        health.set_ready(true);
        health.set_poisoned();
        assert_eq!((status(&health, "/healthz"), status(&health, "/readyz")), (503, 503));
    }

    #[test]
    fn other_paths_are_left_to_the_service_and_writes_are_refused() {
        let health = Health::new();
        assert!(health.answer(&Method::GET, "/healthz/x").is_none());
        assert_eq!(health.answer(&Method::POST, "/readyz").unwrap().status().as_u16(), 405);
    }
}
