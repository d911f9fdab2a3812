//! Which queues have counters of their own. A recorder never forgets a series, so their number is bounded.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::OTHER_QUEUES;

/// Gives out labels: the first queues that count something get their own, later ones share [`OTHER_QUEUES`].
#[derive(Debug)]
pub struct QueueSeries {
    max: usize,
    known: Mutex<HashSet<(String, String)>>,
}

impl QueueSeries {
    /// At most `max` queues have series of their own (`limits.queue_series_max`).
    pub fn new(max: usize) -> Self {
        Self { max, known: Mutex::new(HashSet::new()) }
    }

    /// The value of the `queue` label for a queue. Ask once and keep the counters, not once a message.
    pub fn label<'a>(&self, account: &str, queue: &'a str) -> &'a str {
        let mut known = self.known.lock();
        let key = (account.to_owned(), queue.to_owned());
        if known.contains(&key) || (known.len() < self.max && known.insert(key)) {
            queue
        } else {
            OTHER_QUEUES
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_past_the_limit_share_a_label_and_known_ones_keep_theirs() {
        let series = QueueSeries::new(2);
        assert_eq!(series.label("1", "a"), "a");
        assert_eq!(series.label("2", "a"), "a");
        assert_eq!(series.label("1", "b"), "_other");
        assert_eq!(series.label("1", "a"), "a");
        assert_eq!(QueueSeries::new(0).label("1", "a"), "_other");
    }
}
