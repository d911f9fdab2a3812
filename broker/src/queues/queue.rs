//! One queue as the front sees it: immutable; a change makes a new one.

use std::sync::Arc;

use sealq_api::arn::QueueArn;
use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::sqs::attributes::SseMode;

use crate::catalog::QueueRecord;
use crate::engine::gauges::QueueGauges;
use crate::envelope::QueueEncryption;

/// See the module documentation.
#[derive(Debug)]
pub struct Queue {
    /// What is kept of it.
    pub record: QueueRecord,
    /// Its ARN.
    pub arn: QueueArn,
    /// The same as text.
    pub arn_text: Arc<str>,
    /// Counts, published by the engine.
    pub gauges: Arc<QueueGauges>,
    /// The queue policy, compiled. A stored text that does not compile (a later version wrote it) denies everything
    /// that it would have to allow.
    pub policy: Option<Arc<Policy>>,
}

impl Queue {
    pub(crate) fn new(record: QueueRecord, partition: &str, gauges: Arc<QueueGauges>) -> Self {
        let arn = QueueArn {
            partition: partition.to_owned(),
            region: record.region.clone(),
            account: record.account.clone(),
            name: record.name.clone(),
        };
        let policy = record.settings.policy.as_deref().and_then(|text| match Policy::parse(text, PolicyKind::Queue) {
            Ok(mut policy) => {
                policy.resolve(|arn| record.policy_ids.get(arn).cloned());
                Some(Arc::new(policy))
            }
            Err(error) => {
                tracing::error!(queue = %arn, %error, "the stored queue policy is not understood: it allows nothing");
                None
            }
        });
        Self { arn_text: arn.to_string().into(), arn, policy, gauges, record }
    }

    /// How it seals what is sent to it.
    pub fn encryption(&self) -> QueueEncryption<'_> {
        let settings = &self.record.settings;
        match (settings.sse, &settings.kms_master_key_id) {
            (SseMode::Off, _) => QueueEncryption::Off,
            (SseMode::Kms, Some(key_setting)) => {
                QueueEncryption::Kms { key_setting, reuse_period_s: settings.reuse_period_seconds() }
            }
            // SSE-KMS always has its key: the settings keep the two together.
            (SseMode::Managed | SseMode::Kms, _) => QueueEncryption::Managed,
        }
    }

    /// ARN of the dead-letter queue, if its redrive policy names one.
    pub fn dead_letter_target(&self) -> Option<&QueueArn> {
        self.record.settings.redrive_policy.as_ref().map(|policy| &policy.dead_letter_target)
    }
}
