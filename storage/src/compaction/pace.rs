//! How fast copies may be made while callers are served: in proportion to what they write, and a little by the clock.
//!
//! Without it a commit would carry as many copied bytes as fit, and every caller would wait for them.

use std::time::{Duration, Instant};

/// Callers that wrote nothing for so long are not kept waiting by anything.
const QUIET: Duration = Duration::from_millis(5);
/// Bytes copied for each byte that callers write. Together with the clock's part it is more than a steady state needs
/// unless every segment is just below the limit at which it is worth copying.
const SHARE: u64 = 1;
/// The same when the log takes more space than it should.
const SHARE_URGENT: u64 = 2;
/// Bytes copied a millisecond whatever callers do.
const BYTES_PER_MS: u64 = 2 << 10;
/// The same when the log takes more space than it should.
const BYTES_PER_MS_URGENT: u64 = 16 << 10;
/// Allowance that can be saved up.
const ALLOWANCE_BYTES_MAX: u64 = 256 << 10;

/// The allowance of one log.
pub(crate) struct Pace {
    allowance_bytes: u64,
    refilled: Instant,
    callers_wrote: Instant,
    urgent: bool,
}

impl Pace {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { allowance_bytes: ALLOWANCE_BYTES_MAX, refilled: now, callers_wrote: now, urgent: false }
    }

    /// Callers wrote so much; copies are not counted.
    pub(crate) fn note_callers(&mut self, bytes: usize) {
        if bytes > 0 {
            self.callers_wrote = Instant::now();
            self.earn(bytes as u64 * if self.urgent { SHARE_URGENT } else { SHARE });
        }
    }

    /// Whether the log takes more space than it should.
    pub(crate) fn set_urgent(&mut self, urgent: bool) {
        self.urgent = urgent;
    }

    /// Whether a step of `bytes` may be made now.
    pub(crate) fn allows(&mut self, bytes: usize) -> bool {
        let elapsed = u64::try_from(self.refilled.elapsed().as_millis()).unwrap_or(u64::MAX);
        if elapsed > 0 {
            self.refilled = Instant::now();
            let rate = if self.urgent { BYTES_PER_MS_URGENT } else { BYTES_PER_MS };
            self.earn(elapsed.saturating_mul(rate));
        }
        self.is_quiet() || self.allowance_bytes >= bytes as u64
    }

    /// Copies of so many bytes were made.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.allowance_bytes = self.allowance_bytes.saturating_sub(bytes as u64);
    }

    /// Whether no caller has written lately.
    pub(crate) fn is_quiet(&self) -> bool {
        self.callers_wrote.elapsed() >= QUIET
    }

    fn earn(&mut self, bytes: u64) {
        self.allowance_bytes = self.allowance_bytes.saturating_add(bytes).min(ALLOWANCE_BYTES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_log_copies_no_more_than_callers_earn() {
        let mut pace = Pace::new();
        pace.spend(ALLOWANCE_BYTES_MAX as usize);
        pace.refilled = Instant::now() + Duration::from_secs(3600);
        pace.callers_wrote = Instant::now() + Duration::from_secs(3600);
        assert!(!pace.allows(1000));
        pace.earn(999);
        assert!(!pace.allows(1000));
        pace.earn(1);
        assert!(pace.allows(1000));
        pace.earn(u64::MAX);
        assert_eq!(pace.allowance_bytes, ALLOWANCE_BYTES_MAX);
    }

    #[test]
    fn nobody_waits_in_a_quiet_log() {
        let mut pace = Pace::new();
        pace.spend(ALLOWANCE_BYTES_MAX as usize);
        if let Some(before) = Instant::now().checked_sub(QUIET) {
            pace.callers_wrote = before;
            assert!(pace.allows(usize::MAX));
        }
    }
}
