//! Receive request attempts of FIFO queues: a retry within five minutes gets the same deliveries again.
//!
//! The newest [`ATTEMPTS_KEPT`] of a queue are in the catalog too, each in a slot that is used in turn, so that a retry
//! after a restart is still known. They are written with the leases that they stand for, and like them not awaited.

use std::collections::HashMap;
use std::ops::Bound;

use sealq_storage::{AppendError, Log, Lsn};
use serde::{Deserialize, Serialize};

use super::command::Receipt;
use crate::catalog::{decode, encode};

/// SQS API contract, section 8.5.
pub const ATTEMPT_WINDOW_MS: u64 = 5 * 60 * 1000;

/// Attempts remembered per queue; the oldest are dropped beyond it.
pub const ATTEMPTS_MAX: usize = 10_000;

/// Attempts of a queue that outlive a restart.
pub const ATTEMPTS_KEPT: u32 = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) at_ms: u64,
    /// The deliveries, and the deadline each had then: a change of visibility ends the attempt.
    pub(super) deliveries: Vec<(Receipt, u64)>,
    /// Where it stands in the catalog.
    slot: u32,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_id: HashMap<String, Attempt>,
    next_slot: u32,
}

/// An attempt as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptAttempt {
    id: String,
    at_ms: u64,
    /// Sequence, receive count, deadline in milliseconds.
    deliveries: Vec<(u64, u32, u64)>,
}

impl Attempts {
    pub(super) fn find(&mut self, id: &str, now_ms: u64) -> Option<&mut Attempt> {
        self.by_id.get_mut(id).filter(|attempt| attempt.at_ms + ATTEMPT_WINDOW_MS > now_ms)
    }

    /// Takes a new attempt, in place of an older one of the same id.
    pub(super) fn remember(&mut self, id: String, at_ms: u64, deliveries: Vec<(Receipt, u64)>) {
        if self.by_id.len() >= ATTEMPTS_MAX {
            let horizon = at_ms.saturating_sub(ATTEMPT_WINDOW_MS);
            self.by_id.retain(|_, old| old.at_ms > horizon);
            if self.by_id.len() >= ATTEMPTS_MAX
                && let Some(oldest) =
                    self.by_id.iter().min_by_key(|(_, old)| old.at_ms).map(|(id, _)| id.clone())
            {
                self.by_id.remove(&oldest);
            }
        }
        let slot = match self.by_id.get(&id) {
            Some(before) => before.slot,
            None => {
                self.next_slot = (self.next_slot + 1) % ATTEMPTS_KEPT;
                self.next_slot
            }
        };
        self.by_id.insert(id, Attempt { at_ms, deliveries, slot });
    }

    /// Stages the attempt as it is now.
    pub(super) fn store(&self, stream: u32, id: &str, log: &mut Log) -> Result<Option<Lsn>, AppendError> {
        let Some(attempt) = self.by_id.get(id) else { return Ok(None) };
        let kept = KeptAttempt {
            id: id.to_owned(),
            at_ms: attempt.at_ms,
            deliveries: attempt
                .deliveries
                .iter()
                .map(|(receipt, at_ms)| (receipt.sequence, receipt.receive_count, *at_ms))
                .collect(),
        };
        let key = format!("{}{:03}", prefix(stream), attempt.slot);
        log.put_catalog(key.as_bytes(), &encode(&kept)).map(Some)
    }

    /// Reads what the catalog has of a queue. An entry that cannot be read costs its retry only.
    pub(super) fn restore(stream: u32, now_ms: u64, log: &Log) -> Self {
        let mut attempts = Self::default();
        for key in kept_keys(stream, log) {
            let Some(value) = log.catalog().get(&*key) else { continue };
            let Ok(kept) = decode::<KeptAttempt>(&key, value) else { continue };
            let slot =
                key.rsplit(|byte| *byte == b'/').next().and_then(|text| std::str::from_utf8(text).ok());
            let Some(slot) = slot.and_then(|text| text.parse().ok()) else { continue };
            if kept.at_ms + ATTEMPT_WINDOW_MS <= now_ms {
                continue;
            }
            let delivery = |(sequence, receive_count, at_ms)| (Receipt { sequence, receive_count }, at_ms);
            let deliveries = kept.deliveries.into_iter().map(delivery).collect();
            attempts.by_id.insert(kept.id, Attempt { at_ms: kept.at_ms, deliveries, slot });
        }
        let newest = attempts.by_id.values().max_by_key(|attempt| attempt.at_ms);
        attempts.next_slot = newest.map_or(0, |attempt| attempt.slot);
        attempts
    }

    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}

/// Catalog keys of a queue's attempts.
pub(super) fn kept_keys(stream: u32, log: &Log) -> Vec<Vec<u8>> {
    let prefix = prefix(stream);
    let from = (Bound::Included(prefix.as_bytes()), Bound::Unbounded);
    let keys = log.catalog().range::<[u8], _>(from).map(|(key, _)| key);
    keys.take_while(|key| key.starts_with(prefix.as_bytes())).map(|key| key.to_vec()).collect()
}

fn prefix(stream: u32) -> String {
    format!("attempt/{stream:010}/")
}
