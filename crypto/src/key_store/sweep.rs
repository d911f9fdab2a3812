//! What comes due by itself: the end of a deletion's waiting time, of imported material, of a rotation period.

use super::catalog_entry::Entry;
use super::key::{Key, KeyId, KeyState, RotationType};
use super::kms_error::KmsError;
use super::{Change, KeyStore, Mutation};
use crate::entropy::Entropy;

/// Most keys one sweep changes.
pub const DUE_MAX: usize = 64;

/// Something that came due, for the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueEvent {
    /// The key is gone, with all its materials, aliases and grants.
    Destroyed,
    /// Imported material ended; the key waits for the same bytes again.
    MaterialExpired,
    /// There is a new material.
    Rotated {
        /// Its id, 64 hexadecimal digits.
        key_material_id: String,
    },
}

/// A change that is due.
#[derive(Debug)]
pub struct Due {
    /// The key.
    pub key: KeyId,
    /// Its ARN.
    pub key_arn: String,
    /// What happens to it.
    pub event: DueEvent,
    /// To be made durable and committed; the mutations of one sweep are independent of each other.
    pub mutation: Mutation,
}

impl KeyStore {
    /// What is due at `now_ms`: one change per key and at most [`DUE_MAX`]; call again until there is none.
    pub fn due(&self, now_ms: u64, entropy: &mut dyn Entropy) -> Result<Vec<Due>, KmsError> {
        let due = self.keys.values().filter(|key| due_at_ms(key).is_some_and(|at_ms| at_ms <= now_ms));
        due.take(DUE_MAX).map(|key| self.due_change(key, now_ms, entropy)).collect()
    }

    /// When the next change is due, milliseconds since 1970.
    pub fn next_due_at_ms(&self) -> Option<u64> {
        self.keys.values().filter_map(due_at_ms).min()
    }

    fn due_change(&self, key: &Key, now_ms: u64, entropy: &mut dyn Entropy) -> Result<Due, KmsError> {
        let past = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        let (event, mutation) = if past(key.deletion_at_ms) {
            (DueEvent::Destroyed, self.prepare_destroy(key.id, entropy)?)
        } else {
            let mut after = key.clone();
            let event = if past(expiry_at_ms(key)) {
                for material in after.materials.iter_mut().filter(|material| past(material.expires_at_ms)) {
                    (material.secret, material.expires_at_ms) = (None, None);
                }
                DueEvent::MaterialExpired
            } else {
                let id = after.add_material(Some(RotationType::Automatic), now_ms, entropy)?;
                after.rotation = after.rotation.map(|schedule| schedule.after(now_ms));
                DueEvent::Rotated { key_material_id: hex::encode(id) }
            };
            (event, self.mutation(vec![Change::Put(Entry::Key(Box::new(after)))], entropy)?)
        };
        Ok(Due { key: key.id, key_arn: key.arn(), event, mutation })
    }
}

fn expiry_at_ms(key: &Key) -> Option<u64> {
    key.materials.iter().filter_map(|material| material.expires_at_ms).min()
}

/// Only enabled keys rotate: what a disabled key misses is due when it is enabled again.
fn due_at_ms(key: &Key) -> Option<u64> {
    let rotation = key.rotation.filter(|_| key.state() == KeyState::Enabled);
    let rotation = rotation.map(|schedule| schedule.next_at_ms);
    [key.deletion_at_ms, expiry_at_ms(key), rotation].into_iter().flatten().min()
}
