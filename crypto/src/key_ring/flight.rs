//! Single flight: concurrent requests for one key make one call and share its outcome, good or bad.
//!
//! A failure is shared too, so that requests queued behind a timeout do not each wait for their own. Nothing is
//! kept once the last request has left. Knows no runtime: waiting is an `async-lock` matter.

use std::{collections::HashMap, future::Future, hash::Hash, sync::Arc};

use async_lock::OnceCell;
use parking_lot::Mutex;

/// The calls under way.
#[derive(Debug)]
pub(super) struct Flights<K: Eq + Hash, V> {
    under_way: Mutex<HashMap<K, Arc<OnceCell<V>>>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    pub(super) fn new() -> Self {
        Self { under_way: Mutex::new(HashMap::new()) }
    }

    /// Joins the flight for `key`, or leads one. If its leader is dropped half-way, one of those who wait leads
    /// anew, with its own `lead`.
    pub(super) async fn join<F: Future<Output = V>>(&self, key: K, lead: impl FnOnce() -> F) -> V {
        let seat = self.board(key);
        seat.flight.get_or_init(lead).await.clone()
    }

    fn board(&self, key: K) -> Seat<'_, K, V> {
        let flight = Arc::clone(self.under_way.lock().entry(key.clone()).or_default());
        Seat { flights: self, key, flight }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.under_way.lock().len()
    }
}

/// A request's place in a flight. Leaving it clears the flight away if it has landed or nobody else is in it.
struct Seat<'a, K: Eq + Hash, V> {
    flights: &'a Flights<K, V>,
    key: K,
    flight: Arc<OnceCell<V>>,
}

impl<K: Eq + Hash, V> Drop for Seat<'_, K, V> {
    fn drop(&mut self) {
        let mut under_way = self.flights.under_way.lock();
        // Two references: the map's and this seat's. Boarding takes the lock, so nobody boards meanwhile.
        let over = self.flight.is_initialized() || Arc::strong_count(&self.flight) <= 2;
        if over && under_way.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            under_way.remove(&self.key);
        }
    }
}
