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
    /// The queue policy, compiled. Of a stored text that does not compile (another version took it) nobody knows whom it
    /// denies: everybody is denied but the root of the account, who can set another.
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
                tracing::error!(queue = %arn, %error, "the stored queue policy is not understood: it denies everything");
                Policy::parse(&denying_all_but_root(&arn), PolicyKind::Queue).ok().map(Arc::new)
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

fn denying_all_but_root(queue: &QueueArn) -> String {
    let root = format!("arn:{}:iam::{}:root", queue.partition, queue.account);
    format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{{"ArnNotEquals":{{"aws:PrincipalArn":"{root}"}}}}}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sealq_api::iam::{ConditionKeys, ConditionValue, Principal, Request};
    use sealq_api::sqs::attributes::QueueSettings;

    use super::*;

    #[test]
    fn a_stored_policy_that_is_not_understood_denies_instead_of_forgetting_its_denials() {
        let record = QueueRecord {
            account: "111111111111".into(),
            region: "us-east-1".into(),
            name: "q".into(),
            stream: 1,
            created_at_ms: 1,
            modified_at_ms: 1,
            purged_at_ms: 0,
            dedup_by_group: false,
            settings: QueueSettings {
                policy: Some("{\"Version\":\"2040\"}".into()),
                ..QueueSettings::new(false, true)
            },
            policy_ids: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        let queue = Queue::new(record, "aws", Arc::default());
        let policy = queue.policy.unwrap();
        for (principal, denied) in [("root", false), ("user/alice", true)] {
            let arn = format!("arn:aws:iam::111111111111:{principal}");
            let keys = Named(&arn);
            let caller = Principal {
                arn: &arn,
                role_arn: None,
                account: "111111111111",
                unique_id: "AIDA",
                is_service: false,
                is_anonymous: false,
            };
            let request = Request {
                principal: caller,
                action: "sqs:SendMessage",
                resource: &queue.arn_text,
                keys: &keys,
            };
            assert_eq!(policy.evaluate(&request).deny.is_some(), denied, "{principal}");
        }
    }

    struct Named<'a>(&'a str);

    impl ConditionKeys for Named<'_> {
        fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
            (key == "aws:principalarn").then_some(ConditionValue::One(self.0))
        }
    }
}
