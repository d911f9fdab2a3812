//! Latency histograms in microseconds, and the numbers reported from them.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Longest latency that is kept apart, microseconds; anything above counts as this.
const LATENCY_MICROS_MAX: u64 = 120_000_000;

/// Latencies of one kind of call.
#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

/// Percentiles of one kind of call, microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) mean: f64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) max: u64,
}

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies(Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 3).expect("the bounds are constants"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MICROS_MAX));
    }

    pub(crate) fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("every histogram has the same bounds");
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile: f64| self.0.value_at_quantile(quantile);
        let (p50, p90, p99, p99_9) = (at(0.5), at(0.9), at(0.99), at(0.999));
        Percentiles { mean: (self.0.mean() * 10.0).round() / 10.0, p50, p90, p99, p99_9, max: self.0.max() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut latencies = Latencies::new();
        for micros in 1..=1000 {
            latencies.record(Duration::from_micros(micros));
        }
        let mut all = Latencies::new();
        all.merge(&latencies);
        let percentiles = all.percentiles();
        assert_eq!((percentiles.p50, percentiles.p99, percentiles.max), (500, 990, 1000));
        latencies.record(Duration::from_secs(3600));
        assert!(latencies.percentiles().max >= LATENCY_MICROS_MAX);
    }
}
