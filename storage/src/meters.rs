//! The log's metrics, through the `metrics` facade: taken out once at open, so that using one costs no look-up.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles of one log.
pub(crate) struct Meters {
    /// From the first frame staged to the group being durable, seconds.
    pub(crate) commit_duration: Histogram,
    /// Frames a group.
    pub(crate) commit_records: Histogram,
    /// The sync alone; with a ring the linked write and sync together, seconds.
    pub(crate) fsync_duration: Histogram,
    pub(crate) segments: Gauge,
    pub(crate) live_bytes: Gauge,
    pub(crate) disk_bytes: Gauge,
    pub(crate) quarantined: Counter,
    /// Found at an open: most likely never acknowledged.
    pub(crate) torn: Counter,
    /// 1 while checkpoints cannot be written.
    pub(crate) checkpoint_failing: Gauge,
    /// 1 once the log is poisoned.
    pub(crate) poisoned: Gauge,
}

impl Meters {
    pub(crate) fn of(shard: u32) -> Self {
        let shard = shard.to_string();
        let meters = Self {
            commit_duration: histogram!("sealq_commit_duration_seconds", "shard" => shard.clone()),
            commit_records: histogram!("sealq_commit_records", "shard" => shard.clone()),
            fsync_duration: histogram!("sealq_fsync_duration_seconds", "shard" => shard.clone()),
            segments: gauge!("sealq_log_segments", "shard" => shard.clone()),
            live_bytes: gauge!("sealq_log_live_bytes", "shard" => shard.clone()),
            disk_bytes: gauge!("sealq_log_disk_bytes", "shard" => shard.clone()),
            quarantined: counter!("sealq_log_quarantined_records_total", "shard" => shard.clone()),
            torn: counter!("sealq_log_torn_records_total", "shard" => shard.clone()),
            checkpoint_failing: gauge!("sealq_log_checkpoint_failing", "shard" => shard.clone()),
            poisoned: gauge!("sealq_log_poisoned", "shard" => shard),
        };
        meters.checkpoint_failing.set(0.0);
        meters.torn.increment(0);
        meters.poisoned.set(0.0);
        meters.quarantined.increment(0);
        meters
    }
}
