//! Whether the key service can be reached, and who may try it.
//!
//! A breaker that only lets a probe through while the service is silent, so that no request waits for a timeout that
//! another one has just waited for:
//! * *closed*: every request calls.
//! * *open*, after a call that brought no answer: nobody calls. Whoever holds an expired key goes on with it at once,
//!   whoever holds none is turned away at once.
//! * *half open*, once the probe was answered, or after an answer that was no answer (HTTP 5xx): one request at a time
//!   tries in the name of those who hold expired keys, once per probe; whoever holds none may call.
//!
//! Only an answer to a real call closes it. When to probe is up to whoever owns the ring; a request that finds no probe
//! for [`UNPROBED_MS_MAX`] does not rely on it and tries by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Longest time without a probe after which a request still leaves it to the probe, ms. The contract asks for a try every
/// few seconds.
pub const UNPROBED_MS_MAX: u64 = 5_000;

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
    /// The last failure or probe.
    tried_at_ms: u64,
    /// The last failure brought no answer, and no probe has been answered since.
    silent: bool,
    /// The last failure brought no answer, but a probe has been answered since.
    heard_again: bool,
    trial: Trial,
}

/// The call that is made for all who hold expired keys.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// Not before the next probe.
    #[default]
    Later,
    /// The next request makes it.
    Due,
    UnderWay,
}

impl Outage {
    /// Whether an expired key is to be used without trying the service.
    pub(super) fn serves_expired(&self, now_ms: u64) -> bool {
        self.active.load(Ordering::Acquire) && {
            let state = self.state.lock();
            state.since_ms.is_some() && !state.trial_is_due(now_ms)
        }
    }

    /// Leave to call the service, to be held while it is called. `None`: the request does with what it has, which is
    /// an expired key if `holds_expired`.
    pub(super) fn attempt(&self, now_ms: u64, holds_expired: bool) -> Option<Attempt<'_>> {
        let plain = Some(Attempt { outage: self, trial: false });
        if !self.active.load(Ordering::Acquire) {
            return plain;
        }
        let mut state = self.state.lock();
        if state.since_ms.is_none() {
            return plain;
        }
        if state.trial_is_due(now_ms) {
            state.trial = Trial::UnderWay;
            return Some(Attempt { outage: self, trial: true });
        }
        plain.filter(|_| !holds_expired && !state.silent)
    }

    /// The service answered a call, whatever it said. Since when it had not, if this ends an outage.
    pub(super) fn answered(&self) -> Option<u64> {
        if !self.active.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state.lock();
        self.active.store(false, Ordering::Release);
        std::mem::take(&mut *state).since_ms
    }

    /// A call failed. `silent`: no answer came. True if this begins an outage.
    pub(super) fn failed(&self, now_ms: u64, silent: bool) -> bool {
        let mut state = self.state.lock();
        let begins = state.since_ms.is_none();
        let since_ms = Some(state.since_ms.unwrap_or(now_ms));
        *state = State { since_ms, tried_at_ms: now_ms, silent, ..State::default() };
        self.active.store(true, Ordering::Release);
        begins
    }

    /// Whether there is anything to probe.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// A probe was made. If it was answered, the next request tries.
    pub(super) fn probed(&self, now_ms: u64, answered: bool) {
        let mut state = self.state.lock();
        if state.since_ms.is_none() {
            return;
        }
        state.tried_at_ms = now_ms;
        if answered {
            state.heard_again |= state.silent;
            state.silent = false;
            if state.trial == Trial::Later {
                state.trial = Trial::Due;
            }
        }
    }

    /// Since when the service has been unreachable, ms since 1970. `None` too once a silent one has been heard again:
    /// it may be that nobody asks it for a key for hours.
    pub(super) fn since_ms(&self) -> Option<u64> {
        let state = self.state.lock();
        state.since_ms.filter(|_| !state.heard_again)
    }
}

impl State {
    fn trial_is_due(&self, now_ms: u64) -> bool {
        match self.trial {
            Trial::Due => true,
            // Also when the clock was set back.
            Trial::Later => now_ms.abs_diff(self.tried_at_ms) >= UNPROBED_MS_MAX,
            Trial::UnderWay => false,
        }
    }
}

/// A call to the service under way.
pub(super) struct Attempt<'a> {
    outage: &'a Outage,
    trial: bool,
}

impl Drop for Attempt<'_> {
    // Still under way: the request was given up half-way. The next one may then try.
    fn drop(&mut self) {
        if self.trial {
            let mut state = self.outage.state.lock();
            if state.trial == Trial::UnderWay {
                state.trial = Trial::Due;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_000_000;

    #[test]
    fn a_silent_service_is_left_alone_until_the_probe_is_answered() {
        let outage = Outage::default();
        assert!(!outage.serves_expired(NOW_MS));
        drop(outage.attempt(NOW_MS, true).unwrap());
        assert!(outage.failed(NOW_MS - 2_000, true));
        assert!(!outage.failed(NOW_MS - 1_000, true), "it goes on, it does not begin anew");
        assert!(outage.serves_expired(NOW_MS));
        assert!(outage.attempt(NOW_MS, true).is_none());
        assert!(outage.attempt(NOW_MS, false).is_none(), "nobody waits for a second timeout");
        assert_eq!(outage.since_ms(), Some(NOW_MS - 2_000));
        outage.probed(NOW_MS, true);
        assert_eq!(outage.since_ms(), None);
        assert!(!outage.serves_expired(NOW_MS));
        let trial = outage.attempt(NOW_MS, true).unwrap();
        assert!(outage.serves_expired(NOW_MS), "one at a time");
        assert!(outage.attempt(NOW_MS, true).is_none());
        assert!(outage.attempt(NOW_MS, false).is_some(), "who holds no key may call a service that is heard");
        assert!(!outage.failed(NOW_MS, true));
        drop(trial);
        assert_eq!(outage.since_ms(), Some(NOW_MS - 2_000), "since the last real answer");
        outage.probed(NOW_MS, true);
        drop(outage.attempt(NOW_MS, true).unwrap());
        assert_eq!((outage.answered(), outage.answered()), (Some(NOW_MS - 2_000), None));
        assert!(!outage.serves_expired(NOW_MS) && !outage.is_active());
    }

    #[test]
    fn a_service_that_answers_with_faults_is_tried_once_per_probe_for_expired_keys() {
        let outage = Outage::default();
        outage.failed(NOW_MS - 2_000, false);
        assert!(outage.attempt(NOW_MS, true).is_none());
        assert!(outage.attempt(NOW_MS, false).is_some(), "another key's user is not turned away");
        outage.probed(NOW_MS, true);
        assert_eq!(outage.since_ms(), Some(NOW_MS - 2_000), "an answered probe says nothing of its faults");
        assert!(outage.attempt(NOW_MS, true).is_some());
    }

    #[test]
    fn a_trial_given_up_leaves_the_next_request_to_try() {
        let outage = Outage::default();
        outage.failed(NOW_MS, true);
        outage.probed(NOW_MS, true);
        drop(outage.attempt(NOW_MS, true));
        assert!(!outage.serves_expired(NOW_MS));
        let trial = outage.attempt(NOW_MS, false);
        assert!(trial.is_some());
        drop(outage.attempt(NOW_MS, false));
        assert!(outage.serves_expired(NOW_MS), "only the trial itself ends the trial");
    }

    #[test]
    fn a_request_that_finds_no_probe_for_long_tries_by_itself() {
        for elsewhere_ms in [NOW_MS + UNPROBED_MS_MAX, NOW_MS - UNPROBED_MS_MAX] {
            let outage = Outage::default();
            outage.failed(NOW_MS, true);
            assert!(!outage.serves_expired(elsewhere_ms));
            outage.probed(elsewhere_ms, false);
            assert!(outage.serves_expired(elsewhere_ms), "a failed probe puts it off");
            assert!(outage.attempt(elsewhere_ms, false).is_none());
            assert!(outage.attempt(NOW_MS, true).is_some());
        }
        let outage = Outage::default();
        outage.failed(NOW_MS, true);
        assert!(outage.serves_expired(NOW_MS + UNPROBED_MS_MAX - 1));
        assert!(outage.attempt(NOW_MS + UNPROBED_MS_MAX - 1, false).is_none());
    }
}
