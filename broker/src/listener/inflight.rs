//! The byte budget of requests being worked on. Load beyond it is shed before memory grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes taken and bytes there are.
#[derive(Debug)]
pub(super) struct InflightBytes {
    taken: AtomicU64,
    max: u64,
}

impl InflightBytes {
    /// A budget of `max` bytes.
    pub(super) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), max })
    }

    /// Takes `bytes`, given back when the reservation is dropped. `None`: the budget does not hold them.
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64) -> Option<Reservation> {
        self.take(bytes).then(|| Reservation { budget: Arc::clone(self), bytes })
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Bytes taken now.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Bytes that one request holds of the budget.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<InflightBytes>,
    bytes: u64,
}

impl Reservation {
    /// Grows to `bytes` in all; whether the budget holds them.
    pub(super) fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let grown = self.budget.take(more);
        if grown {
            self.bytes += more;
        }
        grown
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_its_limit_and_not_one_byte_more() {
        let budget = InflightBytes::new(100);
        let whole = budget.reserve(100).unwrap();
        assert!(budget.reserve(1).is_none());
        drop(whole);
        assert!(budget.reserve(101).is_none());
        assert!(budget.reserve(u64::MAX).is_none());
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn a_growing_request_takes_only_the_difference() {
        let budget = InflightBytes::new(100);
        let mut growing = budget.reserve(10).unwrap();
        assert!(growing.grow_to(60));
        assert!(growing.grow_to(30));
        assert_eq!(budget.taken(), 60);
        assert!(!growing.grow_to(101));
        assert_eq!(budget.taken(), 60);
        drop(growing);
        assert_eq!(budget.taken(), 0);
    }
}
