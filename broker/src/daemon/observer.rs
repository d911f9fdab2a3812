//! What the daemon shows of itself: figures gathered at each scrape, and key uses as they happen.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use sealq_crypto::{KeyUse, KeyUseObserver};

use crate::clock::Clock;
use crate::engine::gauges::QueueGauges;
use crate::envelope::Envelope;
use crate::key_provider::KeyProvider;
use crate::metrics_exporter::{
    DATA_KEY_CACHE_HITS, DATA_KEY_OUTAGE_AGE, DATA_KEY_OUTAGE_USES, DATA_KEYS_GENERATED, EMPTY_RECEIVES,
    IO_ENGINE_INFO, KMS_UNREACHABLE, MESSAGES_DELETED, MESSAGES_RECEIVED, MESSAGES_REDRIVEN, MESSAGES_SENT,
    QueueDepth, QueueSeries, SENT_BYTES, SIGNATURES_NOT_REQUIRED,
};
use crate::queues::{Queues, is_encrypted};
use crate::shard::ShardStatus;
use crate::sqs::move_tasks::MoveTasks;

/// What a scrape reads.
pub(super) struct Scrape {
    pub(super) queues: Arc<Queues>,
    pub(super) move_tasks: Arc<MoveTasks>,
    pub(super) status: Arc<ShardStatus>,
    pub(super) envelope: Arc<Envelope<KeyProvider>>,
    pub(super) key_provider: &'static str,
    pub(super) key_uses: Arc<KeyUses>,
    pub(super) clock: Clock,
    pub(super) io_engine: &'static str,
    pub(super) signatures_required: bool,
    pub(super) counted: Counted,
}

impl Scrape {
    /// Sets counters and gauges; the depth of each queue is returned.
    pub(super) fn publish(&self) -> Vec<QueueDepth> {
        let now_ms = self.clock.now_ms();
        metrics::gauge!(IO_ENGINE_INFO, "engine" => self.io_engine).set(1.0);
        metrics::gauge!(SIGNATURES_NOT_REQUIRED).set(if self.signatures_required { 0.0 } else { 1.0 });
        let since_ms = self.envelope.ring().outage_since_ms();
        let seconds = since_ms.map_or(0.0, |since_ms| now_ms.saturating_sub(since_ms) as f64 / 1_000.0);
        metrics::gauge!(KMS_UNREACHABLE, "provider" => self.key_provider).set(seconds);
        self.key_uses.publish_ages(since_ms.is_some());
        metrics::gauge!(crate::metrics_exporter::LOG_POISONED, "shard" => "0")
            .set(f64::from(u8::from(self.status.poisoned.load(std::sync::atomic::Ordering::Relaxed))));
        let moves: HashMap<u32, (u64, u64)> = self.move_tasks.progress().collect();
        let mut depths = Vec::new();
        for queue in self.queues.all() {
            let (account, name, gauges) = (&queue.record.account, &queue.record.name, &queue.gauges);
            self.counted.publish(queue.record.stream, account, name, gauges);
            if is_encrypted(&queue.record.settings) {
                self.key_uses.show(queue.record.stream);
            }
            let oldest_ms = QueueGauges::get(&gauges.oldest_sent_at_ms);
            let age_ms = if oldest_ms == 0 { 0 } else { now_ms.saturating_sub(oldest_ms) };
            depths.push(QueueDepth {
                account: account.clone(),
                queue: name.clone(),
                visible: QueueGauges::get(&gauges.visible),
                not_visible: QueueGauges::get(&gauges.not_visible),
                delayed: QueueGauges::get(&gauges.delayed),
                oldest_age_seconds: age_ms as f64 / 1_000.0,
                move_task: moves.get(&queue.record.stream).copied(),
            });
        }
        self.counted.forget_deleted(&self.queues);
        depths
    }
}

/// Counters of queues as they were last shown. Queues without series of their own share one, so growth is added to it;
/// what a deleted queue had counted stays in it.
pub(super) struct Counted {
    series: QueueSeries,
    shown: Mutex<HashMap<u32, [u64; COUNTERS]>>,
}

const COUNTERS: usize = 6;

impl Counted {
    pub(super) fn new(series_max: usize) -> Self {
        Self { series: QueueSeries::new(series_max), shown: Mutex::default() }
    }

    fn publish(&self, stream: u32, account: &str, name: &str, gauges: &QueueGauges) {
        let counters: [_; COUNTERS] = [
            (MESSAGES_SENT, &gauges.sent_total),
            (MESSAGES_RECEIVED, &gauges.received_total),
            (MESSAGES_DELETED, &gauges.deleted_total),
            (MESSAGES_REDRIVEN, &gauges.redriven_total),
            (EMPTY_RECEIVES, &gauges.empty_receives_total),
            (SENT_BYTES, &gauges.sent_bytes_total),
        ];
        let labels =
            [("account", account.to_owned()), ("queue", self.series.label(account, name).to_owned())];
        let mut shown = self.shown.lock();
        let shown = shown.entry(stream).or_default();
        for ((counter, value), shown) in counters.into_iter().zip(shown) {
            let value = QueueGauges::get(value);
            metrics::counter!(counter, &labels).increment(value.saturating_sub(*shown));
            *shown = value;
        }
    }

    fn forget_deleted(&self, queues: &Queues) {
        self.shown.lock().retain(|stream, _| queues.by_stream(*stream).is_some());
    }
}

/// Counts key uses by queue.
pub(super) struct KeyUses {
    queues: Arc<Queues>,
    series: QueueSeries,
    /// By account and queue label: age of the oldest expired key in use, ms. Never more than there are series.
    ages_ms: Mutex<HashMap<(String, String), u64>>,
}

impl KeyUses {
    pub(super) fn new(queues: Arc<Queues>, series_max: usize) -> Self {
        Self { queues, series: QueueSeries::new(series_max), ages_ms: Mutex::default() }
    }

    /// Labels of the queue's series: its own, or those of the rest.
    fn labels(&self, stream: u32) -> (String, String) {
        let queue = self.queues.by_stream(stream);
        let (account, name) =
            queue.as_ref().map_or(("", "_other"), |queue| (&*queue.record.account, &*queue.record.name));
        (account.to_owned(), self.series.label(account, name).to_owned())
    }

    /// Shows the counters of a queue that has not counted yet, too: of a series that begins at 1 no rate tells the first.
    fn show(&self, stream: u32) {
        let (account, queue) = self.labels(stream);
        let labels = [("account", account), ("queue", queue)];
        for counter in [DATA_KEY_CACHE_HITS, DATA_KEYS_GENERATED, DATA_KEY_OUTAGE_USES] {
            metrics::counter!(counter, &labels).increment(0);
        }
    }

    /// Shows how old the keys are that an outage keeps in use; 0 once it is over.
    fn publish_ages(&self, outage: bool) {
        let mut ages_ms = self.ages_ms.lock();
        for ((account, queue), age_ms) in ages_ms.iter() {
            let age_s = if outage { *age_ms as f64 / 1_000.0 } else { 0.0 };
            let labels = [("account", account.clone()), ("queue", queue.clone())];
            metrics::gauge!(DATA_KEY_OUTAGE_AGE, &labels).set(age_s);
        }
        if !outage {
            ages_ms.clear();
        }
    }
}

impl KeyUseObserver for KeyUses {
    fn key_used(&self, stream: u32, _principal: &str, key_use: KeyUse) {
        let (account, queue) = self.labels(stream);
        let labels = [("account", account), ("queue", queue)];
        match key_use {
            // Calls are counted with their outcome where they are audited.
            KeyUse::GenerateCall | KeyUse::DecryptCall => {}
            KeyUse::DataKeyGenerated => metrics::counter!(DATA_KEYS_GENERATED, &labels).increment(1),
            KeyUse::SealingHit | KeyUse::OpeningHit => {
                metrics::counter!(DATA_KEY_CACHE_HITS, &labels).increment(1);
            }
            KeyUse::OutageUse => metrics::counter!(DATA_KEY_OUTAGE_USES, &labels).increment(1),
        }
    }

    fn expired_key_used(&self, stream: u32, age_ms: u64) {
        let labels = self.labels(stream);
        let mut ages_ms = self.ages_ms.lock();
        let oldest_ms = ages_ms.entry(labels).or_default();
        *oldest_ms = age_ms.max(*oldest_ms);
    }
}
