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
//! Only an answer to a real call closes it. Knows no clock: when to probe is up to whoever owns the ring.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

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
    pub(super) fn serves_expired(&self) -> bool {
        self.active.load(Ordering::Acquire) && {
            let state = self.state.lock();
            state.since_ms.is_some() && state.trial != Trial::Due
        }
    }

    /// Leave to call the service, to be held while it is called. `None`: the request does with what it has, which is
    /// an expired key if `holds_expired`.
    pub(super) fn attempt(&self, holds_expired: bool) -> Option<Attempt<'_>> {
        let plain = Some(Attempt { outage: self, trial: false });
        if !self.active.load(Ordering::Acquire) {
            return plain;
        }
        let mut state = self.state.lock();
        if state.since_ms.is_none() {
            return plain;
        }
        if state.trial == Trial::Due {
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
        *state = State { since_ms, silent, heard_again: false, trial: Trial::Later };
        self.active.store(true, Ordering::Release);
        begins
    }

    /// Whether there is anything to probe.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// The probe was answered: the next request tries.
    pub(super) fn probe_answered(&self) {
        let mut state = self.state.lock();
        if state.since_ms.is_none() {
            return;
        }
        state.heard_again |= state.silent;
        state.silent = false;
        if state.trial == Trial::Later {
            state.trial = Trial::Due;
        }
    }

    /// Since when the service has been unreachable, ms since 1970. `None` too once a silent one has been heard again:
    /// it may be that nobody asks it for a key for hours.
    pub(super) fn since_ms(&self) -> Option<u64> {
        let state = self.state.lock();
        state.since_ms.filter(|_| !state.heard_again)
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

    #[test]
    fn a_silent_service_is_left_alone_until_the_probe_is_answered() {
        let outage = Outage::default();
        assert!(!outage.serves_expired());
        drop(outage.attempt(true).unwrap());
        assert!(outage.failed(1_000, true));
        assert!(!outage.failed(2_000, true), "it goes on, it does not begin anew");
        assert!(outage.serves_expired());
        assert!(outage.attempt(true).is_none());
        assert!(outage.attempt(false).is_none(), "nobody waits for a second timeout");
        assert_eq!(outage.since_ms(), Some(1_000));
        outage.probe_answered();
        assert_eq!(outage.since_ms(), None);
        assert!(!outage.serves_expired());
        let trial = outage.attempt(true).unwrap();
        assert!(outage.serves_expired(), "one at a time");
        assert!(outage.attempt(true).is_none());
        assert!(outage.attempt(false).is_some(), "who holds no key may call a service that is heard");
        assert!(!outage.failed(3_000, true));
        drop(trial);
        assert_eq!(outage.since_ms(), Some(1_000), "since the last real answer");
        outage.probe_answered();
        drop(outage.attempt(true).unwrap());
        assert_eq!((outage.answered(), outage.answered()), (Some(1_000), None));
        assert!(!outage.serves_expired() && !outage.is_active());
    }

    #[test]
    fn a_service_that_answers_with_faults_is_tried_once_per_probe_for_expired_keys() {
        let outage = Outage::default();
        outage.failed(1_000, false);
        assert!(outage.attempt(true).is_none());
        assert!(outage.attempt(false).is_some(), "another key's user is not turned away");
        outage.probe_answered();
        assert_eq!(outage.since_ms(), Some(1_000), "an answered probe says nothing of its faults");
        assert!(outage.attempt(true).is_some());
    }

    #[test]
    fn a_trial_given_up_leaves_the_next_request_to_try() {
        let outage = Outage::default();
        outage.failed(0, true);
        outage.probe_answered();
        drop(outage.attempt(true));
        assert!(!outage.serves_expired());
        let trial = outage.attempt(false);
        assert!(trial.is_some());
        drop(outage.attempt(false));
        assert!(outage.serves_expired(), "only the trial itself ends the trial");
    }
}
