//! Counts of one queue, published by the engine and read by anybody without asking it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Exact counts: the engine stores them before the reply that depends on them leaves.
#[derive(Debug, Default)]
pub struct QueueGauges {
    /// Deliverable now.
    pub visible: AtomicU64,
    /// Received, timeout running.
    pub not_visible: AtomicU64,
    /// Waiting for their delay.
    pub delayed: AtomicU64,
    /// Enqueue time of the oldest live message, milliseconds; 0 when the queue is empty.
    pub oldest_sent_at_ms: AtomicU64,
    /// Messages accepted since start.
    pub sent_total: AtomicU64,
    /// Plaintext bytes accepted since start.
    pub sent_bytes_total: AtomicU64,
    /// Deliveries since start.
    pub received_total: AtomicU64,
    /// Deletes since start.
    pub deleted_total: AtomicU64,
    /// Dead-letter and redrive moves out of this queue since start.
    pub redriven_total: AtomicU64,
    /// Receives that returned nothing, since start.
    pub empty_receives_total: AtomicU64,
}

impl QueueGauges {
    /// Adds to one of the counters.
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    /// Reads one of the values.
    pub fn get(value: &AtomicU64) -> u64 {
        value.load(Relaxed)
    }
}
