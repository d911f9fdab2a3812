//! Whether the key service can be reached, and when to try again.
//!
//! While it cannot, requests that hold an expired key go on with it at once, and one of them at a time tries the
//! service: that one alone is delayed. The time comes with the requests, so the wait after a failed try is
//! counted from the first request after it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Wait before the first try after the service became unreachable, ms.
pub const PROBE_BACKOFF_FIRST_MS: u64 = 250;
/// Longest wait between two tries, ms. The contract asks for a try at least every few seconds.
pub const PROBE_BACKOFF_MAX_MS: u64 = 2_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outage {
    // Read on every use of an expired key without taking the lock.
    active: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    since_ms: Option<u64>,
    probing: bool,
    backoff_ms: u64,
    /// `None`: to be counted from the next request.
    probe_at_ms: Option<u64>,
}

impl Outage {
    /// Whether an expired key is to be used without trying the service.
    pub(super) fn serves_expired(&self, now_ms: u64) -> bool {
        if !self.active.load(Ordering::Acquire) {
            return false;
        }
        let mut state = self.state.lock();
        if state.since_ms.is_none() {
            return false;
        }
        if state.probing {
            return true;
        }
        match state.probe_at_ms {
            // A probe further away than any wait means that the clock was set back.
            Some(at_ms) if at_ms.saturating_sub(now_ms) <= PROBE_BACKOFF_MAX_MS => now_ms < at_ms,
            Some(_) | None => {
                state.probe_at_ms = Some(now_ms.saturating_add(state.backoff_ms));
                true
            }
        }
    }

    /// To be held while the service is called. During an outage it makes this call the probe, unless there is one.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        let mut probe = false;
        if self.active.load(Ordering::Acquire) {
            let mut state = self.state.lock();
            probe = state.since_ms.is_some() && !state.probing;
            state.probing |= probe;
        }
        Attempt { outage: self, probe }
    }

    /// The service answered, whatever it said: the connection is there. Since when it was not, if this ends an
    /// outage.
    pub(super) fn answered(&self) -> Option<u64> {
        if !self.active.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state.lock();
        let since_ms = state.since_ms;
        *state = State { probing: state.probing, ..State::default() };
        self.active.store(false, Ordering::Release);
        since_ms
    }

    /// The service could not be reached.
    pub(super) fn failed(&self, now_ms: u64) {
        let mut state = self.state.lock();
        state.backoff_ms = match state.since_ms {
            None => PROBE_BACKOFF_FIRST_MS,
            Some(_) => state.backoff_ms.saturating_mul(2).min(PROBE_BACKOFF_MAX_MS),
        };
        state.since_ms.get_or_insert(now_ms);
        state.probe_at_ms = None;
        self.active.store(true, Ordering::Release);
    }

    /// Since when the service has been unreachable, ms since 1970.
    pub(super) fn since_ms(&self) -> Option<u64> {
        self.state.lock().since_ms
    }
}

/// A call to the service under way.
pub(super) struct Attempt<'a> {
    outage: &'a Outage,
    probe: bool,
}

impl Drop for Attempt<'_> {
    // Also when the request is given up half-way: the next one may then try.
    fn drop(&mut self) {
        if self.probe {
            self.outage.state.lock().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_start_over_after_an_answer() {
        let outage = Outage::default();
        assert!(!outage.serves_expired(0));
        let mut now_ms = 1_000;
        for wait_ms in [250, 500, 1_000, 2_000, 2_000] {
            outage.failed(now_ms);
            now_ms += 5_000; // the timeout itself
            assert!(
                outage.serves_expired(now_ms),
                "the wait starts with the first request after the failure"
            );
            assert!(outage.serves_expired(now_ms + wait_ms - 1));
            assert!(!outage.serves_expired(now_ms + wait_ms));
            now_ms += wait_ms;
        }
        assert_eq!(outage.since_ms(), Some(1_000));
        assert_eq!((outage.answered(), outage.answered()), (Some(1_000), None));
        assert_eq!((outage.since_ms(), outage.serves_expired(now_ms)), (None, false));
        outage.failed(now_ms);
        assert!(outage.serves_expired(now_ms));
        assert!(!outage.serves_expired(now_ms + PROBE_BACKOFF_FIRST_MS));
    }

    #[test]
    fn while_one_request_probes_the_others_go_on() {
        let outage = Outage::default();
        outage.failed(0);
        assert!(outage.serves_expired(0));
        assert!(!outage.serves_expired(1_000));
        let attempt = outage.attempt();
        assert!(outage.serves_expired(1_000));
        let second = outage.attempt();
        drop(second);
        assert!(outage.serves_expired(1_000), "only the probe itself ends the probing");
        drop(attempt);
        assert!(!outage.serves_expired(1_000), "a probe given up leaves the next request to try");
    }

    #[test]
    fn a_clock_set_back_does_not_put_the_probe_off() {
        let outage = Outage::default();
        outage.failed(1_000_000);
        assert!(outage.serves_expired(1_000_000));
        assert!(outage.serves_expired(5));
        assert!(!outage.serves_expired(5 + PROBE_BACKOFF_FIRST_MS));
    }
}
