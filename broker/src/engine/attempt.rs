//! Receive request attempts of FIFO queues: a retry within five minutes gets the same deliveries again.
//!
//! In memory only: after a restart a retry is a new receive, which the contract permits (section 8.5).

use std::collections::HashMap;

use super::command::Receipt;

/// SQS API contract, section 8.5.
pub const ATTEMPT_WINDOW_MS: u64 = 5 * 60 * 1000;

/// Attempts remembered per queue; the oldest are dropped beyond it.
pub const ATTEMPTS_MAX: usize = 10_000;

#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) at_ms: u64,
    /// The deliveries, and the deadline each had then: a change of visibility ends the attempt.
    pub(super) deliveries: Vec<(Receipt, u64)>,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    by_id: HashMap<String, Attempt>,
}

impl Attempts {
    pub(super) fn find(&mut self, id: &str, now_ms: u64) -> Option<&mut Attempt> {
        self.by_id.get_mut(id).filter(|attempt| attempt.at_ms + ATTEMPT_WINDOW_MS > now_ms)
    }

    pub(super) fn remember(&mut self, id: String, attempt: Attempt) {
        if self.by_id.len() >= ATTEMPTS_MAX {
            let horizon = attempt.at_ms.saturating_sub(ATTEMPT_WINDOW_MS);
            self.by_id.retain(|_, old| old.at_ms > horizon);
            if self.by_id.len() >= ATTEMPTS_MAX
                && let Some(oldest) =
                    self.by_id.iter().min_by_key(|(_, old)| old.at_ms).map(|(id, _)| id.clone())
            {
                self.by_id.remove(&oldest);
            }
        }
        self.by_id.insert(id, attempt);
    }

    pub(super) fn clear(&mut self) {
        self.by_id.clear();
    }
}
