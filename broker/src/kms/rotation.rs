//! Rotation of keys.

use sealq_api::kms::{EnableKeyRotation, ListKeyRotations, ReplyBody};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::{Action, PageLimits};

use super::{Call, KmsApi, Reply, nested, page_of};

impl KmsApi {
    pub(super) async fn enable_key_rotation(
        &self,
        request: &EnableKeyRotation,
        call: &mut Call<'_>,
    ) -> Reply {
        let key = self.key(&request.key_id, Action::EnableKeyRotation, call)?;
        let (days, now_ms) = (request.period_days, call.now_ms);
        self.control
            .mutate(|store| store.prepare_enable_rotation(key, days, now_ms, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn disable_key_rotation(&self, named: &str, call: &mut Call<'_>) -> Reply {
        let key = self.key(named, Action::DisableKeyRotation, call)?;
        self.control.mutate(|store| store.prepare_disable_rotation(key, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) fn get_key_rotation_status(&self, named: &str, call: &mut Call<'_>) -> Reply {
        let key = self.key(named, Action::GetKeyRotationStatus, call)?;
        let status = self.control.read().rotation_status(key)?;
        let mut body = ReplyBody::new()
            .text("KeyId", &status.key_id)
            .flag("KeyRotationEnabled", status.key_rotation_enabled);
        if let Some(days) = status.rotation_period_in_days {
            body = body.number("RotationPeriodInDays", u64::from(days));
        }
        if let Some(at_ms) = status.next_rotation_at_ms {
            body = body.date("NextRotationDate", at_ms);
        }
        Ok(body)
    }

    pub(super) async fn rotate_key_on_demand(&self, named: &str, call: &mut Call<'_>) -> Reply {
        let key = self.key(named, Action::RotateKeyOnDemand, call)?;
        let now_ms = call.now_ms;
        let arn = self.control.change(|store| store.prepare_rotate(key, now_ms, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new().text("KeyId", &arn))
    }

    pub(super) fn list_key_rotations(&self, request: &ListKeyRotations, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::ListKeyRotations, call)?;
        let page = page_of(PageLimits::ROTATIONS, &request.page)?;
        let listed = self.control.read().list_rotations(key, request.all_material, &page)?;
        Ok(nested(ReplyBody::new(), "Rotations", &listed.entries)?.page(listed.next_marker.as_deref()))
    }
}
