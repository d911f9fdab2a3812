//! Every metric of the daemon: its name, unit and meaning in one list, and the text that Prometheus reads.
//!
//! The recorder is installed without its own HTTP server: the daemon's listener serves `/metrics`. Values that are
//! kept elsewhere are fetched right before they are shown. Knows no queue but by its counts.

mod queue_depth;
mod queue_series;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use metrics::Unit;
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

pub use self::queue_depth::QueueDepth;
pub use self::queue_series::QueueSeries;
use crate::inbound::{Inbound, Service};
use crate::signals::StopWatch;

/// Messages that a receive could take.
pub const QUEUE_VISIBLE: &str = "sealq_queue_messages_visible";
/// Messages in flight.
pub const QUEUE_NOT_VISIBLE: &str = "sealq_queue_messages_not_visible";
/// Messages whose delay has not passed.
pub const QUEUE_DELAYED: &str = "sealq_queue_messages_delayed";
/// Age of the oldest message.
pub const QUEUE_OLDEST_AGE: &str = "sealq_queue_oldest_message_age_seconds";
/// Messages that a running move task has moved.
pub const MOVE_TASK_MOVED: &str = "sealq_move_task_moved_messages";
/// Messages that a running move task found at its start.
pub const MOVE_TASK_TO_MOVE: &str = "sealq_move_task_messages";
/// Messages accepted.
pub const MESSAGES_SENT: &str = "sealq_messages_sent_total";
/// Messages handed out.
pub const MESSAGES_RECEIVED: &str = "sealq_messages_received_total";
/// Messages deleted by consumers.
pub const MESSAGES_DELETED: &str = "sealq_messages_deleted_total";
/// Messages moved to another queue.
pub const MESSAGES_REDRIVEN: &str = "sealq_messages_redriven_total";
/// Receives that found nothing.
pub const EMPTY_RECEIVES: &str = "sealq_empty_receives_total";
/// Bytes of the bodies and attributes of accepted messages.
pub const SENT_BYTES: &str = "sealq_sent_bytes_total";
/// Requests answered.
pub const REQUESTS: &str = "sealq_requests_total";
/// Time from a request's last byte to its reply.
pub const REQUEST_DURATION: &str = "sealq_request_duration_seconds";
/// Requests that the edge refused before they were read.
pub const REQUESTS_SHED: &str = "sealq_requests_shed_total";
/// Connections refused because there were too many.
pub const CONNECTIONS_REFUSED: &str = "sealq_connections_refused_total";
/// Bytes of requests being worked on.
pub const INFLIGHT_BYTES: &str = "sealq_inflight_bytes";
/// 1 while anybody may do anything.
pub const SIGNATURES_NOT_REQUIRED: &str = "sealq_signatures_not_required";
/// KMS calls that the broker made.
pub const KMS_CALLS: &str = "sealq_kms_calls_total";
/// How long the KMS has not been reached.
pub const KMS_UNREACHABLE: &str = "sealq_kms_unreachable_seconds";
/// Data keys found in the cache.
pub const DATA_KEY_CACHE_HITS: &str = "sealq_data_key_cache_hits_total";
/// Data keys made.
pub const DATA_KEYS_GENERATED: &str = "sealq_data_keys_generated_total";
/// Uses of a data key past its period while the KMS could not be reached.
pub const DATA_KEY_OUTAGE_USES: &str = "sealq_data_key_outage_uses_total";
/// Age of the oldest such data key.
pub const DATA_KEY_OUTAGE_AGE: &str = "sealq_data_key_outage_age_seconds";
/// Time from staging the first record of a group until the group was durable.
pub const COMMIT_DURATION: &str = "sealq_commit_duration_seconds";
/// Records of one group.
pub const COMMIT_RECORDS: &str = "sealq_commit_records";
/// Time of one write and sync.
pub const FSYNC_DURATION: &str = "sealq_fsync_duration_seconds";
/// Segment files.
pub const LOG_SEGMENTS: &str = "sealq_log_segments";
/// Bytes of records that are still needed.
pub const LOG_LIVE_BYTES: &str = "sealq_log_live_bytes";
/// Bytes of the log on disk.
pub const LOG_DISK_BYTES: &str = "sealq_log_disk_bytes";
/// Records found damaged.
pub const LOG_QUARANTINED: &str = "sealq_log_quarantined_records_total";
/// Records that a start found broken off.
pub const LOG_TORN: &str = "sealq_log_torn_records_total";
/// 1 while checkpoints cannot be written.
pub const LOG_CHECKPOINT_FAILING: &str = "sealq_log_checkpoint_failing";
/// 1 when the log refuses writes for good.
pub const LOG_POISONED: &str = "sealq_log_poisoned";
/// Which engine writes the log.
pub const IO_ENGINE_INFO: &str = "sealq_io_engine_info";
/// Which build runs.
pub const BUILD_INFO: &str = "sealq_build_info";

/// Value of the `queue` label for the queues that have no series of their own.
pub const OTHER_QUEUES: &str = "_other";

/// What kind of series a metric is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A gauge that is written at each scrape from [`QueueDepth`], not through the recorder.
    QueueGauge,
    /// Distribution, with buckets.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Name as Prometheus sees it.
    pub name: &'static str,
    /// Kind of series.
    pub kind: Kind,
    /// Unit of its values.
    pub unit: Unit,
    /// Labels of its series.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// From a cached fast path to the longest long poll.
const REQUEST_SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    21.0,
];
/// From a recycled segment on a fast disk (35 us) to a disk in trouble.
const DISK_SECONDS: &[f64] = &[
    0.000_02, 0.000_05, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    5.0,
];
const GROUP_RECORDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0];

const QUEUE: &[&str] = &["account", "queue"];
const SHARD: &[&str] = &["shard"];

macro_rules! metric {
    ($name:expr, $kind:expr, $unit:ident, $labels:expr, $help:expr) => {
        Metric { name: $name, kind: $kind, unit: Unit::$unit, labels: $labels, help: $help }
    };
}

/// Every metric there is.
pub const METRICS: &[Metric] = &[
    metric!(QUEUE_VISIBLE, Kind::QueueGauge, Count, QUEUE, "Messages that a receive could take."),
    metric!(QUEUE_NOT_VISIBLE, Kind::QueueGauge, Count, QUEUE, "Messages in flight."),
    metric!(QUEUE_DELAYED, Kind::QueueGauge, Count, QUEUE, "Messages whose delay has not passed."),
    metric!(QUEUE_OLDEST_AGE, Kind::QueueGauge, Seconds, QUEUE, "Age of the oldest message, in seconds."),
    metric!(
        MOVE_TASK_MOVED,
        Kind::QueueGauge,
        Count,
        QUEUE,
        "Messages that the queue's running move task has moved."
    ),
    metric!(
        MOVE_TASK_TO_MOVE,
        Kind::QueueGauge,
        Count,
        QUEUE,
        "Messages that the queue's running move task found at its start."
    ),
    metric!(MESSAGES_SENT, Kind::Counter, Count, QUEUE, "Messages accepted."),
    metric!(MESSAGES_RECEIVED, Kind::Counter, Count, QUEUE, "Messages handed out."),
    metric!(MESSAGES_DELETED, Kind::Counter, Count, QUEUE, "Messages deleted by consumers."),
    metric!(MESSAGES_REDRIVEN, Kind::Counter, Count, QUEUE, "Messages moved from this queue to another."),
    metric!(EMPTY_RECEIVES, Kind::Counter, Count, QUEUE, "Receives that found nothing."),
    metric!(SENT_BYTES, Kind::Counter, Bytes, QUEUE, "Bytes of accepted messages: bodies and attributes."),
    metric!(
        REQUESTS,
        Kind::Counter,
        Count,
        &["service", "action", "code"],
        "Requests answered, by error code or OK."
    ),
    metric!(
        REQUEST_DURATION,
        Kind::Histogram(REQUEST_SECONDS),
        Seconds,
        &["service", "action", "code"],
        "Time from a request's last byte to its reply, in seconds."
    ),
    metric!(
        REQUESTS_SHED,
        Kind::Counter,
        Count,
        &["reason"],
        "Requests that the edge refused before reading them."
    ),
    metric!(
        CONNECTIONS_REFUSED,
        Kind::Counter,
        Count,
        &[],
        "Connections refused because there were too many."
    ),
    metric!(INFLIGHT_BYTES, Kind::Gauge, Bytes, &[], "Bytes of requests being worked on."),
    metric!(SIGNATURES_NOT_REQUIRED, Kind::Gauge, Count, &[], "1 while auth.require_signatures is false."),
    metric!(
        KMS_CALLS,
        Kind::Counter,
        Count,
        &["action", "outcome", "account", "queue"],
        "KMS calls that the broker made for encrypted queues."
    ),
    metric!(
        KMS_UNREACHABLE,
        Kind::Gauge,
        Seconds,
        &["provider"],
        "How long the KMS has not been reached, in seconds; 0 while it is."
    ),
    metric!(DATA_KEY_CACHE_HITS, Kind::Counter, Count, QUEUE, "Data keys found in the cache."),
    metric!(DATA_KEYS_GENERATED, Kind::Counter, Count, QUEUE, "Data keys made."),
    metric!(
        DATA_KEY_OUTAGE_USES,
        Kind::Counter,
        Count,
        QUEUE,
        "Uses of a data key past its period while the KMS could not be reached."
    ),
    metric!(
        DATA_KEY_OUTAGE_AGE,
        Kind::Gauge,
        Seconds,
        QUEUE,
        "Age of the oldest data key that is used past its period because the KMS cannot be reached, in seconds."
    ),
    metric!(
        COMMIT_DURATION,
        Kind::Histogram(DISK_SECONDS),
        Seconds,
        SHARD,
        "Time from the first record of a group until the group was durable, in seconds."
    ),
    metric!(COMMIT_RECORDS, Kind::Histogram(GROUP_RECORDS), Count, SHARD, "Records of one group."),
    metric!(
        FSYNC_DURATION,
        Kind::Histogram(DISK_SECONDS),
        Seconds,
        SHARD,
        "Time of one write and sync of the log, in seconds."
    ),
    metric!(LOG_SEGMENTS, Kind::Gauge, Count, SHARD, "Segment files of the log."),
    metric!(LOG_LIVE_BYTES, Kind::Gauge, Bytes, SHARD, "Bytes of records that are still needed."),
    metric!(LOG_DISK_BYTES, Kind::Gauge, Bytes, SHARD, "Bytes of the log on disk."),
    metric!(LOG_QUARANTINED, Kind::Counter, Count, SHARD, "Records found damaged and no longer served."),
    metric!(LOG_TORN, Kind::Counter, Count, SHARD, "Records that a start found broken off by a crash."),
    metric!(LOG_CHECKPOINT_FAILING, Kind::Gauge, Count, SHARD, "1 while checkpoints cannot be written."),
    metric!(LOG_POISONED, Kind::Gauge, Count, SHARD, "1 when the log refuses writes for good."),
    metric!(IO_ENGINE_INFO, Kind::Gauge, Count, &["engine"], "Which engine writes the log."),
    metric!(BUILD_INFO, Kind::Gauge, Count, &["version", "commit"], "Which build runs."),
];

/// How often the recorder folds histogram samples together when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Sets gauges whose values are kept elsewhere and fetches how full the queues are. Called at each scrape.
pub type BeforeRender = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<QueueDepth>> + Send>> + Send + Sync>;

/// The installed recorder and what shows it. A [`Service`] for the metrics listener.
pub struct MetricsExporter {
    handle: PrometheusHandle,
    before_render: BeforeRender,
    queue_series_max: usize,
}

/// The recorder could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install the metrics recorder: {0}")]
pub struct InstallError(#[from] BuildError);

impl MetricsExporter {
    /// Installs the process's recorder and describes every metric. Once a process. Above `queue_series_max` queues the
    /// fullest have gauges of their own (`limits.queue_series_max`).
    ///
    /// # Errors
    /// A recorder is installed already.
    pub fn install(before_render: BeforeRender, queue_series_max: usize) -> Result<Self, InstallError> {
        let recorder = recorder()?;
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(BuildError::from)?;
        describe();
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "commit" => COMMIT).set(1.0);
        Ok(Self { handle, before_render, queue_series_max })
    }

    /// The text that Prometheus reads.
    pub async fn render(&self) -> String {
        let depths = (self.before_render)().await;
        self.handle.render() + &queue_depth::text(depths, self.queue_series_max)
    }

    /// Keeps histograms from growing while nobody scrapes, until `stop`.
    pub async fn upkeep(self: Arc<Self>, mut stop: StopWatch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(UPKEEP_INTERVAL) => self.handle.run_upkeep(),
                () = stop.stopped() => return,
            }
        }
    }
}

/// Commit of the build, where the build names it.
pub const COMMIT: &str = match option_env!("SEALQ_BUILD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    Ok(builder.build_recorder())
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::QueueGauge => {}
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram(_) => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

impl Service for MetricsExporter {
    async fn handle(&self, inbound: Inbound) -> Response<Full<Bytes>> {
        let (status, kind, body) = match (inbound.uri.path(), inbound.method) {
            ("/metrics", Method::GET | Method::HEAD) => {
                (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Bytes::from(self.render().await))
            }
            ("/metrics", _) => {
                (StatusCode::METHOD_NOT_ALLOWED, "text/plain", Bytes::from_static(b"only GET and HEAD\n"))
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"only /metrics is here\n")),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            assert!(metric.name.starts_with("sealq_"), "{}", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert_eq!(metric.unit == Unit::Seconds, metric.name.ends_with("_seconds"), "{}", metric.name);
        }
    }

    #[test]
    fn buckets_rise() {
        for metric in METRICS {
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted_by(|a, b| a < b), "{}", metric.name);
            }
        }
    }

    #[tokio::test]
    async fn the_recorders_text_and_the_queues_are_shown_together() {
        let recorder = recorder().unwrap();
        let handle = recorder.handle();
        let depth = QueueDepth { account: "1".to_owned(), queue: "q".to_owned(), ..QueueDepth::default() };
        let exporter = MetricsExporter {
            handle,
            before_render: Box::new(move || {
                let depth = depth.clone();
                Box::pin(async move { vec![depth] })
            }),
            queue_series_max: 1,
        };
        metrics::with_local_recorder(&recorder, || {
            describe();
            metrics::histogram!(FSYNC_DURATION, "shard" => "0").record(0.000_04);
            metrics::gauge!(LOG_SEGMENTS, "shard" => "0").set(7.0);
        });
        let text = exporter.render().await;
        assert!(text.contains("sealq_log_segments{shard=\"0\"} 7"), "{text}");
        assert!(text.contains("sealq_fsync_duration_seconds_bucket{shard=\"0\",le=\"0.00005\"} 1"), "{text}");
        assert!(text.contains("# HELP sealq_log_segments Segment files of the log."), "{text}");
        assert!(text.contains("sealq_queue_messages_visible{account=\"1\",queue=\"q\"} 0"), "{text}");
    }
}
