//! How many calls a queue makes to its key service: `B / D * (2 * P + C)`.
//!
//! Per reuse period each producing principal costs GenerateDataKey and Decrypt, each consuming one Decrypt.

/// What the formula needs, per queue. Under continuous traffic the key ring makes exactly this many calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallEstimate {
    /// B: the billing period, seconds.
    pub billing_period_s: u64,
    /// D: the queue's KmsDataKeyReusePeriodSeconds.
    pub reuse_period_s: u64,
    /// P: principals that send.
    pub producers: u64,
    /// C: principals that receive and do not send.
    pub consumers: u64,
}

impl CallEstimate {
    /// R, the number of calls. A started period counts in proportion, and the result is rounded up. `None` if the
    /// reuse period is zero or the result does not fit.
    pub fn calls(&self) -> Option<u64> {
        let calls_per_period = u128::from(self.producers) * 2 + u128::from(self.consumers);
        if self.reuse_period_s == 0 {
            return None;
        }
        let calls = calls_per_period
            .checked_mul(u128::from(self.billing_period_s))?
            .div_ceil(u128::from(self.reuse_period_s));
        u64::try_from(calls).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(billing_period_s: u64, reuse_period_s: u64, producers: u64, consumers: u64) -> Option<u64> {
        CallEstimate { billing_period_s, reuse_period_s, producers, consumers }.calls()
    }

    #[test]
    fn sse_126_the_estimator_gives_the_published_examples() {
        assert_eq!(calls(2_678_400, 300, 1, 1), Some(26_784));
        let queue_1 = calls(2_419_200, 86_400, 3, 1);
        let queue_2 = calls(2_419_200, 86_400, 5, 2);
        assert_eq!((queue_1, queue_2), (Some(28 * 7), Some(28 * 12)));
        assert_eq!(queue_1.zip(queue_2).map(|(one, two)| one + two), Some(532));
    }

    #[test]
    fn a_started_period_is_rounded_up_and_a_zero_period_has_no_answer() {
        assert_eq!(calls(301, 300, 1, 1), Some(4));
        assert_eq!(calls(300, 0, 1, 1), None);
        assert_eq!(calls(u64::MAX, 1, u64::MAX, 0), None);
    }
}
