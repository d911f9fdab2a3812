//! The life of keys: made, described, listed, enabled, disabled, deleted.

use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::kms::{CreateKey, ListKeys, ReplyBody, ScheduleKeyDeletion, UpdateKeyDescription};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::policy::managed_sqs_policy;
use sealq_crypto::key_store::{Action, KeyId, KmsError, PageLimits, Scope};

use super::new_key::new_key;
use super::{Call, KmsApi, Reply, nested, page_of};

impl KmsApi {
    pub(super) async fn create_key(&self, request: CreateKey, call: &mut Call<'_>) -> Reply {
        self.permit_service(call.right, call)?;
        if !request.tags.is_empty() {
            self.permit_service("kms:TagResource", call)?;
        }
        let mut new = new_key(&request)?;
        if let Some(policy) = &request.policy {
            let arn = call.scope.key_arn("new");
            new.policy_ids = self.checked_policy(policy, &arn, request.bypass_lockout_check, call)?;
        }
        let metadata = self
            .control
            .change(|store| store.prepare_create_key(&call.scope, new, call.now_ms, &mut SystemEntropy))
            .await?;
        call.keys.push(metadata.arn.clone());
        nested(ReplyBody::new(), "KeyMetadata", &metadata)
    }

    pub(super) async fn describe_key(&self, named: &str, call: &mut Call<'_>) -> Reply {
        self.make_managed_key(named, call).await?;
        let key = self.key(named, Action::DescribeKey, call)?;
        let metadata = self.control.read().describe_key(key)?;
        nested(ReplyBody::new(), "KeyMetadata", &metadata)
    }

    /// Makes the account's managed key, if it is named and not there yet, for a caller who may describe it under the
    /// policy it will have.
    async fn make_managed_key(&self, named: &str, call: &Call<'_>) -> Result<(), KmsError> {
        let scope = &call.scope;
        let permit = |arn: &str| {
            let policy = Policy::parse(&managed_sqs_policy(scope), PolicyKind::Key)
                .map_err(|error| KmsError::Internal { reason: error.to_string() })?;
            self.rights.permit_unmade(call.caller, call.right, (arn, scope), &policy, &call.conditions)
        };
        self.control.make_managed_key(named, scope, call.now_ms, permit).await
    }

    pub(super) fn list_keys(&self, request: &ListKeys, call: &Call<'_>) -> Reply {
        self.permit_service(call.right, call)?;
        let page = page_of(PageLimits::KEYS, &request.page)?;
        let listed = self.control.read().list_keys(&call.scope, &page);
        Ok(nested(ReplyBody::new(), "Keys", &listed.entries)?.page(listed.next_marker.as_deref()))
    }

    pub(super) async fn update_key_description(
        &self,
        request: &UpdateKeyDescription,
        call: &mut Call<'_>,
    ) -> Reply {
        let key = self.key(&request.key_id, Action::UpdateKeyDescription, call)?;
        let text = &request.description;
        self.control.mutate(|store| store.prepare_update_description(key, text, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn enable_key(&self, named: &str, call: &mut Call<'_>) -> Reply {
        let key = self.key(named, Action::EnableKey, call)?;
        self.control.mutate(|store| store.prepare_enable(key, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn disable_key(&self, named: &str, call: &mut Call<'_>) -> Reply {
        let key = self.key(named, Action::DisableKey, call)?;
        self.control.mutate(|store| store.prepare_disable(key, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn schedule_key_deletion(
        &self,
        request: &ScheduleKeyDeletion,
        call: &mut Call<'_>,
    ) -> Reply {
        let key = self.key(&request.key_id, Action::ScheduleKeyDeletion, call)?;
        let (days, now_ms) = (request.pending_window_days, call.now_ms);
        let scheduled = self
            .control
            .change(|store| store.prepare_schedule_deletion(key, days, now_ms, &mut SystemEntropy))
            .await?;
        tracing::warn!(
            key = scheduled.key_arn,
            queues = self.queues_under(key).join(" "),
            "a key will be destroyed: what it sealed cannot be read then"
        );
        Ok(ReplyBody::new()
            .text("KeyId", &scheduled.key_arn)
            .date("DeletionDate", scheduled.deletion_at_ms)
            .text("KeyState", "PendingDeletion")
            .number("PendingWindowInDays", scheduled.pending_window_days))
    }

    pub(super) async fn cancel_key_deletion(&self, named: &str, call: &mut Call<'_>) -> Reply {
        let key = self.key(named, Action::CancelKeyDeletion, call)?;
        let arn = self.control.change(|store| store.prepare_cancel_deletion(key, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new().text("KeyId", &arn))
    }

    /// ARNs of the queues that send under a key.
    fn queues_under(&self, key: KeyId) -> Vec<String> {
        let store = self.control.read();
        let is_under = |queue: &crate::queues::Queue| {
            let scope = Scope {
                partition: self.partition.clone(),
                account: queue.record.account.clone(),
                region: queue.record.region.clone(),
            };
            let named = queue.record.settings.kms_master_key_id.as_deref();
            named.is_some_and(|named| store.resolve(named, &scope, Action::GenerateDataKey) == Ok(key))
        };
        self.queues
            .all()
            .iter()
            .filter(|queue| is_under(queue))
            .map(|queue| queue.arn_text.to_string())
            .collect()
    }
}
