//! The one seam through which the daemon reads the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall clock in milliseconds since 1970, or a hand-set one for tests.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    by_hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The system's wall clock.
    pub fn system() -> Self {
        Self { by_hand: None }
    }

    /// A clock that stands until it is set through the returned cell.
    pub fn by_hand(now_ms: u64) -> (Self, Arc<AtomicU64>) {
        let cell = Arc::new(AtomicU64::new(now_ms));
        (Self { by_hand: Some(cell.clone()) }, cell)
    }

    /// Now, milliseconds since 1970. A clock before 1970 reads as 0.
    pub fn now_ms(&self) -> u64 {
        match &self.by_hand {
            Some(cell) => cell.load(Ordering::SeqCst),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}
