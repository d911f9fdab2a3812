//! Where the log is with its checkpoints: the one on disk, the one on its way, and when to try again after a failure.

use crate::checkpoint::Checkpoint;
use std::io;
use std::time::{Duration, Instant};

/// How long after a checkpoint that could not be written the next one is tried; doubled each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Where the newest checkpoint on disk stands.
#[derive(Default)]
pub(crate) struct Checkpoints {
    /// Of the newest file ever begun.
    pub(crate) number: u64,
    /// Waiting for its LSN to be durable.
    pub(crate) waiting: Option<Box<Checkpoint>>,
    /// LSN and segment of the one being written.
    pub(crate) writing: Option<(u64, u64)>,
    /// LSN and segment of the newest on disk.
    pub(crate) durable: (u64, u64),
    pub(crate) last_error: Option<io::Error>,
    /// After a failure: when it was, and how long to wait.
    pub(crate) pause: Option<(Instant, Duration)>,
}

impl Checkpoints {
    pub(crate) fn is_under_way(&self) -> bool {
        self.waiting.is_some() || self.writing.is_some()
    }

    /// Whether the last one failed too short a time before `now`.
    pub(crate) fn pauses(&self, now: Instant) -> bool {
        self.pause.is_some_and(|(since, pause)| now < since + pause)
    }

    /// One could not be written. Whether it is the first in a row.
    pub(crate) fn note_failure(&mut self, now: Instant, error: io::Error) -> bool {
        let before = self.pause.map(|(_, pause)| pause);
        let pause = before.map_or(PAUSE_FIRST, |pause| (pause * 2).min(PAUSE_MAX));
        self.pause = Some((now, pause));
        self.last_error = Some(error);
        before.is_none()
    }

    /// One was written, with this LSN and segment. Whether the one before had failed.
    pub(crate) fn note_success(&mut self, place: (u64, u64)) -> bool {
        self.durable = place;
        self.last_error = None;
        self.pause.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_that_fail_are_tried_ever_more_rarely_and_told_of_once() {
        let mut checkpoints = Checkpoints::default();
        let mut now = Instant::now();
        assert!(!checkpoints.pauses(now));
        for (number, seconds) in [1, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
            let is_first = checkpoints.note_failure(now, io::ErrorKind::StorageFull.into());
            assert_eq!(is_first, number == 0);
            assert!(checkpoints.pauses(now + Duration::from_millis(seconds * 1_000 - 1)));
            now += Duration::from_secs(seconds);
            assert!(!checkpoints.pauses(now));
        }
        assert!(checkpoints.last_error.is_some());
        assert!(checkpoints.note_success((9, 2)));
        assert!(!checkpoints.pauses(now) && checkpoints.last_error.is_none());
        assert!(!checkpoints.note_success((10, 2)));
        assert!(checkpoints.note_failure(now, io::ErrorKind::StorageFull.into()));
    }
}
