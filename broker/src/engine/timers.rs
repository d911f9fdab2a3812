//! The engine's alarm list, ordered by time.
//!
//! An entry may outlive its reason for a while: whoever is called checks whether it still applies.

use std::collections::BTreeSet;

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A delay or a visibility timeout ends.
    Visible { stream: u32, sequence: u64 },
    /// The oldest message of a queue reaches its retention.
    Expire { stream: u32 },
    /// A long poll ends empty.
    Waiter { stream: u32, waiter_id: u64 },
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    alarms: BTreeSet<(u64, Alarm)>,
}

impl Timers {
    pub(super) fn set(&mut self, at_ms: u64, alarm: Alarm) {
        self.alarms.insert((at_ms, alarm));
    }

    /// Takes an alarm back: without it, messages that are deleted long before their timeout would leave theirs behind.
    pub(super) fn cancel(&mut self, at_ms: u64, alarm: Alarm) {
        self.alarms.remove(&(at_ms, alarm));
    }

    /// The next alarm that is due, removed.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<(u64, Alarm)> {
        let first = *self.alarms.first()?;
        if first.0 > now_ms {
            return None;
        }
        self.alarms.pop_first()
    }

    pub(super) fn next_at_ms(&self) -> Option<u64> {
        self.alarms.first().map(|(at_ms, _)| *at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_time_order_and_only_when_due() {
        let mut timers = Timers::default();
        timers.set(30, Alarm::Expire { stream: 1 });
        timers.set(10, Alarm::Visible { stream: 2, sequence: 7 });
        timers.set(5, Alarm::Expire { stream: 9 });
        timers.cancel(5, Alarm::Expire { stream: 9 });
        assert_eq!(timers.next_at_ms(), Some(10));
        assert_eq!(timers.pop_due(9), None);
        assert_eq!(timers.pop_due(10), Some((10, Alarm::Visible { stream: 2, sequence: 7 })));
        assert_eq!(timers.pop_due(29), None);
        assert_eq!(timers.pop_due(31), Some((30, Alarm::Expire { stream: 1 })));
    }
}
