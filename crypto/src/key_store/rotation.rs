//! Rotation: new material for new blobs, while every old material goes on opening old ones.

use super::action::{self, Action};
use super::catalog_entry::Entry;
use super::key::{Key, KeyId, KeyState, RotationSchedule, RotationType};
use super::kms_error::KmsError;
use super::metadata::{RotationListEntry, RotationStatus};
use super::page::{Listed, Page};
use super::{Change, KeyStore, Mutation, Prepared};
use crate::entropy::Entropy;

/// A day, milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// Period of automatic rotation when none is named, days.
pub const PERIOD_DAYS_DEFAULT: u32 = 365;
/// Most on-demand rotations of one key.
pub const ON_DEMAND_ROTATIONS_MAX: u32 = 25;

impl RotationSchedule {
    fn starting(now_ms: u64, period_days: u32) -> Self {
        Self { period_days, next_at_ms: now_ms.saturating_add(u64::from(period_days) * DAY_MS) }
    }

    /// The first date of the schedule after `now_ms`: what was missed is made up for once.
    pub(crate) fn after(self, now_ms: u64) -> Self {
        let period_ms = u64::from(self.period_days.max(1)) * DAY_MS;
        let periods = now_ms.saturating_sub(self.next_at_ms) / period_ms + 1;
        Self { next_at_ms: self.next_at_ms.saturating_add(periods.saturating_mul(period_ms)), ..self }
    }
}

impl KeyStore {
    /// EnableKeyRotation; again with another period changes it, from now on.
    pub fn prepare_enable_rotation(
        &self,
        key: KeyId,
        period_days: Option<u64>,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        let days = period_days.unwrap_or(u64::from(PERIOD_DAYS_DEFAULT));
        self.change_key(key, Action::EnableKeyRotation, entropy, |key| {
            check_symmetric(key)?;
            let days = days as u32;
            if key.rotation.is_none_or(|schedule| schedule.period_days != days) {
                key.rotation = Some(RotationSchedule::starting(now_ms, days));
            }
            Ok(())
        })
    }

    /// DisableKeyRotation; idempotent.
    pub fn prepare_disable_rotation(
        &self,
        key: KeyId,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        self.change_key(key, Action::DisableKeyRotation, entropy, |key| {
            check_symmetric(key)?;
            key.rotation = None;
            Ok(())
        })
    }

    /// RotateKeyOnDemand: done when committed, so that there are never two at once. Replies the key ARN.
    pub fn prepare_rotate(
        &self,
        key: KeyId,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<String>, KmsError> {
        let before = self.key(key)?;
        action::check(Action::RotateKeyOnDemand, before)?;
        check_symmetric(before)?;
        let key_arn = before.arn();
        if before.on_demand_rotations >= ON_DEMAND_ROTATIONS_MAX {
            return Err(KmsError::RotationsUsedUp { arn: key_arn });
        }
        let mut after = before.clone();
        after.add_material(Some(RotationType::OnDemand), now_ms, entropy)?;
        after.on_demand_rotations += 1;
        let mutation = self.mutation(vec![Change::Put(Entry::Key(Box::new(after)))], entropy)?;
        Ok(Prepared { reply: key_arn, mutation })
    }

    /// GetKeyRotationStatus. While deletion is pending rotation reads as off; cancelling restores it.
    pub fn rotation_status(&self, key: KeyId) -> Result<RotationStatus, KmsError> {
        let key = self.key(key)?;
        let schedule = key.rotation.filter(|_| key.state() != KeyState::PendingDeletion);
        Ok(RotationStatus {
            key_id: key.arn(),
            key_rotation_enabled: schedule.is_some(),
            rotation_period_in_days: schedule.map(|schedule| schedule.period_days),
            next_rotation_at_ms: schedule.map(|schedule| schedule.next_at_ms),
        })
    }

    /// ListKeyRotations, oldest first. `all_material` adds the first material and each one's state.
    pub fn list_rotations(
        &self,
        key: KeyId,
        all_material: bool,
        page: &Page,
    ) -> Result<Listed<RotationListEntry>, KmsError> {
        let key = self.key(key)?;
        let (arn, current) = (key.arn(), key.materials.len().saturating_sub(1));
        let shown = key.materials.iter().enumerate();
        let shown = shown.filter(|(_, material)| all_material || material.rotation.is_some());
        Ok(page.of(shown.map(|(at, material)| {
            let state = if at == current { "CURRENT" } else { "NON_CURRENT" };
            let entry = RotationListEntry {
                key_id: arn.clone(),
                key_material_id: material.id_hex(),
                key_material_state: all_material.then_some(state),
                rotated_at_ms: material.rotation.map(|_| material.created_at_ms),
                rotation_type: material.rotation,
            };
            (format!("{at:08}"), entry)
        })))
    }
}

fn check_symmetric(key: &Key) -> Result<(), KmsError> {
    match key.is_symmetric() {
        true => Ok(()),
        false => Err(KmsError::NotSymmetric { arn: key.arn() }),
    }
}
