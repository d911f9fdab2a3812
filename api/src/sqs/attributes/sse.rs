//! The encryption attributes and how they change each other (sse.md, section 2).

use serde::{Deserialize, Serialize};

use super::{AttributeChanges, QueueSettings};

/// `KmsDataKeyReusePeriodSeconds` when none was given.
pub const KMS_REUSE_PERIOD_DEFAULT_S: u32 = 300;

/// How the messages of a queue are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SseMode {
    /// Not.
    Off,
    /// SSE-SQS: under the service's own key.
    Managed,
    /// SSE-KMS: under the key in `KmsMasterKeyId`.
    Kms,
}

impl QueueSettings {
    pub(super) fn apply_sse(&mut self, changes: &AttributeChanges) {
        let before = self.sse;
        let managed = changes.sqs_managed_sse_enabled;
        self.sse = match (&changes.kms_master_key_id, managed) {
            // Both enabled was refused while parsing.
            (Some(Some(_)), _) => SseMode::Kms,
            (_, Some(true)) => SseMode::Managed,
            (Some(None), Some(false)) => SseMode::Off,
            (Some(None), None) if before == SseMode::Kms => SseMode::Off,
            (None, Some(false)) if before == SseMode::Managed => SseMode::Off,
            _ => before,
        };
        match (&changes.kms_master_key_id, self.sse) {
            (Some(Some(key)), SseMode::Kms) => self.kms_master_key_id = Some(key.clone()),
            (_, SseMode::Kms) => {}
            _ => self.kms_master_key_id = None,
        }
        if before == SseMode::Kms && self.sse != SseMode::Kms {
            self.kms_data_key_reuse_period_seconds = None;
        }
        if changes.kms_data_key_reuse_period_seconds.is_some() {
            self.kms_data_key_reuse_period_seconds = changes.kms_data_key_reuse_period_seconds;
        }
    }
}
