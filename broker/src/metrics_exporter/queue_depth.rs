//! How full each queue is, at the moment of a scrape.
//!
//! Written as text beside the recorder's: a recorder keeps a gauge for as long as the process lives, and a queue that
//! was deleted must not go on showing its last value.

use std::fmt::Write;

use metrics::Unit;

use super::{
    Kind, METRICS, MOVE_TASK_MOVED, MOVE_TASK_TO_MOVE, OTHER_QUEUES, QUEUE_DELAYED, QUEUE_NOT_VISIBLE,
    QUEUE_OLDEST_AGE, QUEUE_VISIBLE,
};

/// Counts of one queue.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct QueueDepth {
    /// Owner of the queue.
    pub account: String,
    /// Name of the queue.
    pub queue: String,
    /// Messages that a receive could take.
    pub visible: u64,
    /// Messages in flight.
    pub not_visible: u64,
    /// Messages whose delay has not passed.
    pub delayed: u64,
    /// Age of the oldest message, in seconds; 0 without one.
    pub oldest_age_seconds: f64,
    /// Messages moved, and found at the start, of the move task that empties it; no series without one.
    pub move_task: Option<(u64, u64)>,
}

impl QueueDepth {
    fn total(&self) -> u64 {
        self.visible.saturating_add(self.not_visible).saturating_add(self.delayed)
    }

    /// Counts add up; of ages the greatest counts.
    fn add(&mut self, other: &Self) {
        self.visible = self.visible.saturating_add(other.visible);
        self.not_visible = self.not_visible.saturating_add(other.not_visible);
        self.delayed = self.delayed.saturating_add(other.delayed);
        self.oldest_age_seconds = self.oldest_age_seconds.max(other.oldest_age_seconds);
        self.move_task = match (self.move_task, other.move_task) {
            (Some((moved, found)), Some((more_moved, more_found))) => {
                Some((moved.saturating_add(more_moved), found.saturating_add(more_found)))
            }
            (one, other) => one.or(other),
        };
    }
}

/// Keeps the `series_max` fullest queues and sums the rest under [`OTHER_QUEUES`], one for each account.
fn limited(mut depths: Vec<QueueDepth>, series_max: usize) -> Vec<QueueDepth> {
    if depths.len() <= series_max {
        return depths;
    }
    depths.sort_by(|a, b| b.total().cmp(&a.total()).then_with(|| a.queue.cmp(&b.queue)));
    let mut rest = std::collections::BTreeMap::<String, QueueDepth>::new();
    for depth in depths.split_off(series_max) {
        let other = rest.entry(depth.account.clone()).or_insert_with(|| QueueDepth {
            account: depth.account.clone(),
            queue: OTHER_QUEUES.to_owned(),
            ..QueueDepth::default()
        });
        other.add(&depth);
    }
    depths.extend(rest.into_values());
    depths
}

/// The gauges of all queues in Prometheus' text form.
pub(super) fn text(depths: Vec<QueueDepth>, series_max: usize) -> String {
    let depths = limited(depths, series_max);
    let mut text = String::new();
    for metric in METRICS.iter().filter(|metric| metric.kind == Kind::QueueGauge) {
        let value = |depth: &QueueDepth| match metric.name {
            QUEUE_VISIBLE => Some(depth.visible as f64),
            QUEUE_NOT_VISIBLE => Some(depth.not_visible as f64),
            QUEUE_DELAYED => Some(depth.delayed as f64),
            QUEUE_OLDEST_AGE => Some(depth.oldest_age_seconds),
            MOVE_TASK_MOVED => depth.move_task.map(|(moved, _)| moved as f64),
            MOVE_TASK_TO_MOVE => depth.move_task.map(|(_, found)| found as f64),
            _ => None,
        };
        let name = metric.name;
        debug_assert!(metric.unit == Unit::Count || metric.unit == Unit::Seconds, "{name} has another unit");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", metric.help);
        for depth in &depths {
            let Some(value) = value(depth) else { continue };
            let (account, queue) = (escaped(&depth.account), escaped(&depth.queue));
            let _ = writeln!(text, "{name}{{account=\"{account}\",queue=\"{queue}\"}} {value}");
        }
        text.push('\n');
    }
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(account: &str, queue: &str, visible: u64, age: f64) -> QueueDepth {
        QueueDepth {
            account: account.to_owned(),
            queue: queue.to_owned(),
            visible,
            oldest_age_seconds: age,
            ..QueueDepth::default()
        }
    }

    #[test]
    fn every_queue_has_four_gauges_and_one_with_a_move_task_six() {
        let moving = QueueDepth { move_task: Some((3, 9)), ..depth("1", "dlq", 6, 1.0) };
        let text = text(vec![depth("1", "q", 7, 1.5), moving], 10);
        assert!(text.contains("sealq_move_task_moved_messages{account=\"1\",queue=\"dlq\"} 3\n"), "{text}");
        assert!(text.contains("sealq_move_task_messages{account=\"1\",queue=\"dlq\"} 9\n"), "{text}");
        assert_eq!(text.matches("queue=\"dlq\"").count(), 6);
        assert!(text.contains("# TYPE sealq_queue_messages_visible gauge\n"), "{text}");
        assert!(text.contains("sealq_queue_messages_visible{account=\"1\",queue=\"q\"} 7\n"), "{text}");
        assert!(
            text.contains("sealq_queue_oldest_message_age_seconds{account=\"1\",queue=\"q\"} 1.5\n"),
            "{text}"
        );
        assert_eq!(text.matches("queue=\"q\"").count(), 4);
    }

    #[test]
    fn above_the_limit_the_fullest_are_kept_and_the_rest_summed() {
        let all = vec![
            depth("1", "a", 1, 9.0),
            depth("1", "b", 5, 1.0),
            depth("1", "c", 2, 3.0),
            depth("2", "d", 1, 1.0),
        ];
        assert_eq!(limited(all.clone(), 4), all);
        let kept = limited(all, 1);
        assert_eq!(
            kept,
            [depth("1", "b", 5, 1.0), depth("1", OTHER_QUEUES, 3, 9.0), depth("2", OTHER_QUEUES, 1, 1.0)]
        );
    }
}
