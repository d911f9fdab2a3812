//! Data keys for SSE-SQS: wrapped under the broker's own service key, without a key service.
//!
//! Holds the service keys and the data keys of each queue in memory. Never knows where a service key is stored;
//! its owner keeps it apart from the messages. Rotation adds a service key: what older ones wrapped still opens.
//!
//! A wrapped key has 65 bytes:
//!
//! ```text
//! offset  size  field
//!      0     1  version, 1
//!      1     4  service key id, little-endian
//!      5    12  nonce, random
//!     17    32  data key, AES-256-GCM under the service key
//!     49    16  tag over bytes 0..5, the canonical encryption context, and the ciphertext
//! ```

use std::{collections::HashMap, fmt, sync::Arc};

use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::{
    bounded_cache::BoundedCache,
    data_key::{DATA_KEY_BYTES, DataKey, KeyBytes, TAG_BYTES},
    encryption_context::EncryptionContext,
    entropy::EntropyError,
    nonce::{NONCE_BYTES, Nonce},
    opening_key::OpeningKey,
    sealed_message::{Mode, SealedMessage},
    sealing_key::SealingKey,
    wrapped_key::{DataKeyId, WrappedKey, WrappedKeyError, data_key_id},
};

/// How long one data key seals for a queue, ms: an hour. Renewal costs no call, only a new wrapped key.
pub const MANAGED_REUSE_PERIOD_MS: u64 = 3_600_000;
/// Most data keys kept for sealing, one a queue.
pub const MANAGED_SEALING_KEYS_MAX: usize = 16_384;
/// Most data keys kept for opening. An older one is unwrapped anew, which is cheap.
pub const MANAGED_OPENING_KEYS_MAX: usize = 16_384;
/// Length of a wrapped key, bytes.
pub const MANAGED_WRAPPED_BYTES: usize = CIPHERTEXT_AT + DATA_KEY_BYTES + TAG_BYTES;

const WRAPPED_VERSION: u8 = 1;
const NONCE_AT: usize = 1 + size_of::<u32>();
const CIPHERTEXT_AT: usize = NONCE_AT + NONCE_BYTES;

const _: () = assert!(MANAGED_WRAPPED_BYTES == 65);

/// A key that wraps data keys, with the number that wrapped keys name it by.
pub struct ServiceKey {
    id: u32,
    key: DataKey,
}

impl ServiceKey {
    /// `id` must not have stood for another key before.
    pub fn new(id: u32, key: &KeyBytes) -> Self {
        Self { id, key: DataKey::new(key) }
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// See the module.
pub struct ManagedKeys {
    service_keys: RwLock<ServiceKeys>,
    sealing: RwLock<BoundedCache<u32, Arc<SealingKey>>>,
    opening: RwLock<BoundedCache<DataKeyId, Arc<OpeningKey>>>,
}

struct ServiceKeys {
    current_id: u32,
    by_id: HashMap<u32, DataKey>,
}

impl ManagedKeys {
    /// Wraps under `current`; opens what it or any of `older` wrapped.
    pub fn new(current: ServiceKey, older: impl IntoIterator<Item = ServiceKey>) -> Self {
        let current_id = current.id;
        let by_id = older.into_iter().chain([current]).map(|key| (key.id, key.key)).collect();
        Self {
            service_keys: RwLock::new(ServiceKeys { current_id, by_id }),
            sealing: RwLock::new(BoundedCache::new(MANAGED_SEALING_KEYS_MAX)),
            opening: RwLock::new(BoundedCache::new(MANAGED_OPENING_KEYS_MAX)),
        }
    }

    /// Wraps under `next` from the next send on. The keys before it still open. `next` must be stored safely
    /// before it is given here.
    pub fn rotate(&self, next: ServiceKey) {
        let mut service_keys = self.service_keys.write();
        service_keys.current_id = next.id;
        service_keys.by_id.insert(next.id, next.key);
        // Under the lock of the service keys: no data key wrapped under the old one is cached after this.
        self.sealing.write().retain(|_, _| false);
    }

    /// The data key to seal with in the queue `stream`, whose ARN is `context_arn`. One read lock and no
    /// allocation while it is within [`MANAGED_REUSE_PERIOD_MS`].
    ///
    /// # Errors
    /// [`ManagedKeyError::NoEntropy`], [`ManagedKeyError::Unfit`] for an ARN beyond the layout's limits.
    pub fn sealing_key(
        &self,
        now_ms: u64,
        stream: u32,
        context_arn: &str,
    ) -> Result<Arc<SealingKey>, ManagedKeyError> {
        let usable = |key: &&Arc<SealingKey>| {
            !key.retired() && now_ms.saturating_sub(key.generated_at_ms()) < MANAGED_REUSE_PERIOD_MS
        };
        if let Some(key) = self.sealing.read().get(context_arn, &stream, now_ms).filter(usable) {
            return Ok(Arc::clone(key));
        }
        let service_keys = self.service_keys.read();
        let mut sealing = self.sealing.write();
        if let Some(key) = sealing.get(context_arn, &stream, now_ms).filter(usable) {
            return Ok(Arc::clone(key));
        }
        let plaintext = KeyBytes::generate()?;
        let wrapped = service_keys.wrap(&plaintext, context_arn)?;
        let names = WrappedKey::new(Mode::Managed, "", context_arn, &wrapped)?;
        let data_key = Arc::new(DataKey::new(&plaintext));
        let key = Arc::new(SealingKey::for_generated_key(data_key, Arc::new(names), now_ms));
        sealing.insert(context_arn, stream, Arc::clone(&key), now_ms);
        Ok(key)
    }

    /// The data key to open `message` with.
    ///
    /// # Errors
    /// [`ManagedKeyError`]: the record is damaged, was wrapped for another queue, or under a service key that is
    /// not here.
    pub fn opening_key(
        &self,
        now_ms: u64,
        message: &SealedMessage<'_>,
    ) -> Result<Arc<OpeningKey>, ManagedKeyError> {
        let (context_arn, id) = (message.context_arn(), message.data_key_id());
        if let Some(key) = self.opening.read().get(context_arn, id, now_ms).filter(|key| key.opens(message)) {
            return Ok(Arc::clone(key));
        }
        if message.mode() != Mode::Managed || data_key_id(message.wrapped_key()) != *id {
            return Err(ManagedKeyError::NotWrapped);
        }
        let plaintext = self.service_keys.read().unwrap(message.wrapped_key(), context_arn)?;
        let names = WrappedKey::new(Mode::Managed, "", context_arn, message.wrapped_key())?;
        let key = Arc::new(OpeningKey::new(Arc::new(DataKey::new(&plaintext)), Arc::new(names)));
        self.opening.write().insert(context_arn, *id, Arc::clone(&key), now_ms);
        Ok(key)
    }

    /// Drops the sealing key of a queue that is gone.
    pub fn forget_queue(&self, stream: u32) {
        self.sealing.write().retain(|key, _| *key != stream);
    }
}

impl fmt::Debug for ManagedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedKeys")
            .field("current_service_key", &self.service_keys.read().current_id)
            .finish_non_exhaustive()
    }
}

impl ServiceKeys {
    fn wrap(&self, plaintext: &KeyBytes, context_arn: &str) -> Result<Vec<u8>, ManagedKeyError> {
        let id = self.current_id;
        let key = self.by_id.get(&id).ok_or(ManagedKeyError::NoServiceKey { id })?;
        let nonce = Nonce::random()?;
        let mut wrapped = Vec::with_capacity(MANAGED_WRAPPED_BYTES);
        wrapped.push(WRAPPED_VERSION);
        wrapped.extend_from_slice(&id.to_le_bytes());
        let aad = associated_data(&wrapped, context_arn);
        wrapped.extend_from_slice(nonce.as_bytes());
        wrapped.extend_from_slice(plaintext.expose());
        let tag = key
            .seal_in_place(&nonce, &aad, &mut wrapped[CIPHERTEXT_AT..])
            .ok_or(ManagedKeyError::NotWrapped)?;
        wrapped.extend_from_slice(&tag);
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8], context_arn: &str) -> Result<KeyBytes, ManagedKeyError> {
        if wrapped.len() != MANAGED_WRAPPED_BYTES || wrapped[0] != WRAPPED_VERSION {
            return Err(ManagedKeyError::NotWrapped);
        }
        let (head, rest) = wrapped.split_at(NONCE_AT);
        let parts = (head[1..].first_chunk(), rest.split_first_chunk::<NONCE_BYTES>());
        let (Some(id), Some((nonce, rest))) = parts else { return Err(ManagedKeyError::NotWrapped) };
        let Some((ciphertext, tag)) = rest.split_last_chunk::<TAG_BYTES>() else {
            return Err(ManagedKeyError::NotWrapped);
        };
        let id = u32::from_le_bytes(*id);
        let key = self.by_id.get(&id).ok_or(ManagedKeyError::NoServiceKey { id })?;
        let mut plaintext = Zeroizing::new([0; DATA_KEY_BYTES]);
        plaintext.copy_from_slice(ciphertext);
        let aad = associated_data(head, context_arn);
        if !key.open_in_place(&Nonce::from_bytes(*nonce), &aad, plaintext.as_mut_slice(), tag) {
            return Err(ManagedKeyError::NotWrapped);
        }
        Ok(KeyBytes::take(&mut plaintext))
    }
}

fn associated_data(head: &[u8], context_arn: &str) -> Vec<u8> {
    [head, &EncryptionContext::for_queue(context_arn).canonical_bytes()].concat()
}

/// Why there is no managed data key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagedKeyError {
    /// The record carries no data key that a service key here wrapped for this queue.
    #[error("the record's data key was not wrapped here for this queue, or is damaged")]
    NotWrapped,
    /// The record was wrapped under a service key that is not here.
    #[error("service key {id} is not loaded")]
    NoServiceKey {
        /// Its number.
        id: u32,
    },
    /// A name is outside the limits of the layout.
    #[error(transparent)]
    Unfit(#[from] WrappedKeyError),
    /// No random bytes.
    #[error(transparent)]
    NoEntropy(#[from] EntropyError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nonce::SEALS_PER_KEY_MAX, sealing_key::DraftMessage};

    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn service_key(id: u32) -> ServiceKey {
        ServiceKey::new(id, &KeyBytes::take(&mut [id as u8; DATA_KEY_BYTES]))
    }

    fn send(keys: &ManagedKeys, now_ms: u64, stream: u32, context_arn: &str) -> Vec<u8> {
        let draft = DraftMessage {
            message_id: [1; 16],
            sent_at_ms: now_ms,
            origin_stream: stream,
            context_arn,
            clear: b"",
            body: b"a body",
            body_md5: [2; 16],
        };
        let mut stored = Vec::new();
        keys.sealing_key(now_ms, stream, context_arn).unwrap().seal(&draft, &mut stored).unwrap();
        stored
    }

    fn receive(keys: &ManagedKeys, stored: &[u8]) -> Result<(), ManagedKeyError> {
        let message = SealedMessage::parse(stored).unwrap();
        let mut out = Vec::new();
        let opened = keys.opening_key(0, &message)?.open(&message, &mut out).unwrap();
        assert_eq!(&out[opened.body], b"a body");
        Ok(())
    }

    fn wrapped(stored: &[u8]) -> &[u8] {
        SealedMessage::parse(stored).unwrap().wrapped_key()
    }

    #[test]
    fn sse_182_a_body_is_sealed_under_a_data_key_that_the_service_key_wraps() {
        let keys = ManagedKeys::new(service_key(1), []);
        let stored = send(&keys, 0, 1, QUEUE);
        let message = SealedMessage::parse(&stored).unwrap();
        assert_eq!((message.mode(), message.key_arn(), message.context_arn()), (Mode::Managed, "", QUEUE));
        assert_eq!(message.wrapped_key().len(), MANAGED_WRAPPED_BYTES);
        assert!(!stored.windows(6).any(|window| window == b"a body"));
        receive(&keys, &stored).unwrap();
    }

    #[test]
    fn after_a_restart_old_messages_open_and_new_ones_have_another_data_key() {
        let before = send(&ManagedKeys::new(service_key(1), []), 0, 1, QUEUE);
        let restarted = ManagedKeys::new(service_key(1), []);
        receive(&restarted, &before).unwrap();
        assert_ne!(wrapped(&before), wrapped(&send(&restarted, 1, 1, QUEUE)));
    }

    #[test]
    fn a_data_key_is_reused_within_its_period_and_replaced_after_it() {
        let keys = ManagedKeys::new(service_key(1), []);
        let [first, last, next] = [0, MANAGED_REUSE_PERIOD_MS - 1, MANAGED_REUSE_PERIOD_MS]
            .map(|now_ms| send(&keys, now_ms, 1, QUEUE));
        assert_eq!(wrapped(&first), wrapped(&last));
        assert_ne!(wrapped(&first), wrapped(&next));
        [first, last, next].iter().for_each(|stored| receive(&keys, stored).unwrap());
    }

    #[test]
    fn a_retired_data_key_is_replaced_inside_its_period() {
        let keys = ManagedKeys::new(service_key(1), []);
        let first = keys.sealing_key(0, 1, QUEUE).unwrap();
        let spent = Arc::new(first.nearly_spent_copy(SEALS_PER_KEY_MAX));
        keys.sealing.write().insert(QUEUE, 1, spent, 0);
        let next = keys.sealing_key(1, 1, QUEUE).unwrap();
        assert_ne!(first.wrapped_key().id(), next.wrapped_key().id());
    }

    #[test]
    fn two_queues_never_share_a_data_key_and_a_forgotten_one_has_none() {
        let keys = ManagedKeys::new(service_key(1), []);
        let first = send(&keys, 0, 1, QUEUE);
        assert_ne!(wrapped(&first), wrapped(&send(&keys, 0, 2, "arn:aws:sqs:us-east-1:000000000000:p")));
        keys.forget_queue(1);
        assert_ne!(wrapped(&first), wrapped(&send(&keys, 0, 1, QUEUE)));
    }

    #[test]
    fn sse_184_a_rotation_loses_no_message() {
        let keys = ManagedKeys::new(service_key(1), []);
        let old = send(&keys, 0, 1, QUEUE);
        keys.rotate(service_key(2));
        let new = send(&keys, 1, 1, QUEUE);
        assert_eq!(
            (wrapped(&old)[1], wrapped(&new)[1]),
            (1, 2),
            "the next send wraps under the new service key"
        );
        for keys in [keys, ManagedKeys::new(service_key(2), [service_key(1)])] {
            receive(&keys, &old).unwrap();
            receive(&keys, &new).unwrap();
        }
        let without_old = ManagedKeys::new(service_key(2), []);
        assert_eq!(receive(&without_old, &old), Err(ManagedKeyError::NoServiceKey { id: 1 }));
        receive(&without_old, &new).unwrap();
    }

    #[test]
    fn without_the_service_key_nothing_opens() {
        let stored = send(&ManagedKeys::new(service_key(1), []), 0, 1, QUEUE);
        let other = ManagedKeys::new(ServiceKey::new(1, &KeyBytes::generate().unwrap()), []);
        assert_eq!(receive(&other, &stored), Err(ManagedKeyError::NotWrapped));
    }

    #[test]
    fn any_changed_bit_of_a_wrapped_key_or_another_context_is_refused() {
        let keys = ManagedKeys::new(service_key(1), []);
        let plaintext = KeyBytes::generate().unwrap();
        let service_keys = keys.service_keys.read();
        let wrapped = service_keys.wrap(&plaintext, QUEUE).unwrap();
        assert!(service_keys.unwrap(&wrapped, QUEUE).unwrap().same_as(&plaintext));
        assert!(service_keys.unwrap(&wrapped, "arn:aws:sqs:us-east-1:000000000000:p").is_err());
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(service_keys.unwrap(&changed, QUEUE).is_err(), "bit {bit}");
        }
        for len in 0..wrapped.len() {
            assert!(service_keys.unwrap(&wrapped[..len], QUEUE).is_err());
        }
    }

    #[test]
    fn threads_that_miss_at_once_get_one_data_key() {
        let keys = ManagedKeys::new(service_key(1), []);
        let ids: Vec<_> = std::thread::scope(|scope| {
            let sends: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| *keys.sealing_key(0, 1, QUEUE).unwrap().wrapped_key().id()))
                .collect();
            sends.into_iter().map(|send| send.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}
