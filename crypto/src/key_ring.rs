//! The key ring: data keys cached per principal, and the rules of when the key service is asked.
//!
//! Two caches, both in memory only:
//! * for sealing, per (principal, queue): one data key with the key setting it was made for. A key made for
//!   another setting is not used.
//! * for opening: a table of the data keys that this process has unwrapped or generated, and per (principal,
//!   key ARN, context) an admission, made by one real Decrypt in the principal's name. A key of the table is
//!   handed out only to an admitted principal.
//!
//! Invariants:
//! 1. A data key is sealed with by one principal only, and only after Decrypt has given it back unchanged.
//! 2. The reuse period counts from generation or from the Decrypt, is never prolonged by use, and is evaluated at
//!    each use against the value that the caller gives.
//! 3. An expired entry is used only while the service is unreachable. A refusal takes away the entry that it
//!    answers for.
//! 4. One call at a time per cache entry; those who wait share its outcome, failures included.
//! 5. Never calls ahead of a request: the number of calls is a promise.
//!
//! Never knows what a principal is, which rights it has, or what a queue contains.

mod flight;
mod key_use;
mod outage;

use std::{fmt, sync::Arc};

use parking_lot::RwLock;

use self::{flight::Flights, outage::Outage};
pub use self::{
    key_use::{KeyUse, KeyUseObserver, NoObserver},
    outage::UNPROBED_MS_MAX,
};
use crate::{
    bounded_cache::BoundedCache,
    data_key::DataKey,
    encryption_context::EncryptionContext,
    key_service::{GeneratedDataKey, KeyService, KeyServiceError, Refusal},
    opening_key::OpeningKey,
    sealed_message::{Mode, SealedMessage},
    sealing_key::SealingKey,
    wrapped_key::{DataKeyId, KeyScope, WrappedKey, data_key_id},
};

/// Most data keys kept for sealing, over all queues and principals.
pub const SEALING_KEYS_MAX: usize = 16_384;
/// Most unwrapped data keys kept for opening. A message under an older one costs a Decrypt again.
pub const UNWRAPPED_KEYS_MAX: usize = 16_384;
/// Most admissions kept.
pub const ADMISSIONS_MAX: usize = 65_536;
/// How far behind a key's first moment the clock may stand before the key counts as expired: requests overlap, so the
/// clock of one may be older than a key that another has just made, but a clock set back must not prolong a period.
pub const CLOCK_STEP_MAX_MS: u64 = 10_000;

/// Caches data keys in front of a [`KeyService`].
pub struct KeyRing<S: KeyService> {
    service: S,
    sealing: RwLock<BoundedCache<u32, SealingEntry>>,
    opening: RwLock<OpeningCache>,
    sealing_flights: Flights<SealingFlight, Outcome<SealingKey>>,
    opening_flights: Flights<OpeningFlight, Outcome<OpeningKey>>,
    outage: Outage,
    observer: Arc<dyn KeyUseObserver>,
}

/// The queue that a message is sent to, as its settings stand at this moment.
#[derive(Debug, Clone, Copy)]
pub struct QueueRef<'a> {
    /// Its stream number.
    pub stream: u32,
    /// Its ARN, which becomes the encryption context.
    pub context_arn: &'a str,
    /// Its KmsMasterKeyId exactly as it was set.
    pub key_setting: &'a str,
    /// Its KmsDataKeyReusePeriodSeconds.
    pub reuse_period_s: u32,
}

struct SealingEntry {
    setting: Box<str>,
    key: Arc<SealingKey>,
}

struct OpeningCache {
    /// By key ARN and data key id. Whoever takes one out compares the whole name.
    unwrapped: BoundedCache<DataKeyId, Arc<OpeningKey>>,
    /// By principal: when its last Decrypt was made, ms since 1970.
    admissions: BoundedCache<KeyScope, u64>,
}

/// One call at a time for each of these.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SealingFlight {
    principal: Box<str>,
    stream: u32,
    setting: Box<str>,
}

/// A known data key needs only the admission, which all keys of the scope share; an unknown one its own Decrypt.
#[derive(Clone, PartialEq, Eq, Hash)]
struct OpeningFlight {
    principal: Box<str>,
    scope: KeyScope,
    unknown: Option<DataKeyId>,
}

type Outcome<K> = Result<Served<K>, KeyServiceError>;

struct Served<K> {
    key: Arc<K>,
    /// Past its period, and used all the same: its age, ms.
    expired: Option<u64>,
}

impl<K> Clone for Served<K> {
    fn clone(&self) -> Self {
        Self { key: Arc::clone(&self.key), expired: self.expired }
    }
}

impl<S: KeyService> KeyRing<S> {
    /// An empty ring in front of `service`.
    pub fn new(service: S, observer: Arc<dyn KeyUseObserver>) -> Self {
        Self {
            service,
            sealing: RwLock::new(BoundedCache::new(SEALING_KEYS_MAX)),
            opening: RwLock::new(OpeningCache {
                unwrapped: BoundedCache::new(UNWRAPPED_KEYS_MAX),
                admissions: BoundedCache::new(ADMISSIONS_MAX),
            }),
            sealing_flights: Flights::new(),
            opening_flights: Flights::new(),
            outage: Outage::default(),
            observer,
        }
    }

    /// The service behind the ring.
    pub fn service(&self) -> &S {
        &self.service
    }

    /// The sealing key if no call is needed for it. One read lock, no allocation.
    pub fn try_sealing_key(
        &self,
        now_ms: u64,
        principal: &str,
        queue: QueueRef<'_>,
    ) -> Option<Arc<SealingKey>> {
        let served = self.cached_sealing_key(now_ms, principal, queue)?;
        self.observe_served(queue.stream, principal, KeyUse::SealingHit, served.expired);
        Some(served.key)
    }

    /// The data key to seal with: the cached one, or a new one by GenerateDataKey and Decrypt in `caller`'s name.
    ///
    /// `principal` is the identity that shares a data key; `caller` must be one that it stands for.
    /// If sealing then finds the key retired, ask again.
    ///
    /// # Errors
    /// [`KeyServiceError`]; nothing may be stored then.
    pub async fn sealing_key(
        &self,
        now_ms: u64,
        caller: &S::Caller,
        principal: &str,
        queue: QueueRef<'_>,
    ) -> Result<Arc<SealingKey>, KeyServiceError> {
        if let Some(key) = self.try_sealing_key(now_ms, principal, queue) {
            return Ok(key);
        }
        let flight = SealingFlight {
            principal: principal.into(),
            stream: queue.stream,
            setting: queue.key_setting.into(),
        };
        let mut led = false;
        let served = self
            .sealing_flights
            .join(flight, || {
                led = true;
                self.renew_sealing_key(now_ms, caller, principal, queue)
            })
            .await?;
        if !led {
            self.observe_served(queue.stream, principal, KeyUse::SealingHit, served.expired);
        }
        Ok(served.key)
    }

    /// The opening key if no call is needed for it. One read lock, no allocation.
    pub fn try_opening_key(
        &self,
        now_ms: u64,
        principal: &str,
        reuse_period_s: u32,
        message: &SealedMessage<'_>,
    ) -> Option<Arc<OpeningKey>> {
        let served = self.cached_opening_key(now_ms, principal, reuse_period_s, message)?;
        self.observe_served(message.origin_stream(), principal, KeyUse::OpeningHit, served.expired);
        Some(served.key)
    }

    /// The data key to open `message` with: a known one if `principal` is admitted, or by Decrypt in `caller`'s
    /// name. `reuse_period_s` is that of the queue that the message is received from.
    ///
    /// # Errors
    /// [`KeyServiceError`]; [`Refusal::InvalidCiphertext`] also, without a call, for a record whose fields
    /// cannot be right.
    pub async fn opening_key(
        &self,
        now_ms: u64,
        caller: &S::Caller,
        principal: &str,
        reuse_period_s: u32,
        message: &SealedMessage<'_>,
    ) -> Result<Arc<OpeningKey>, KeyServiceError> {
        if let Some(key) = self.try_opening_key(now_ms, principal, reuse_period_s, message) {
            return Ok(key);
        }
        if message.mode() != Mode::Kms || data_key_id(message.wrapped_key()) != *message.data_key_id() {
            let message = "the record does not carry a wrapped data key of the key service".to_owned();
            return Err(KeyServiceError::Refused { kind: Refusal::InvalidCiphertext, message });
        }
        let scope = KeyScope::of(message.key_arn(), message.context_arn());
        loop {
            let known = self.unwrapped(now_ms, message).is_some();
            let flight = OpeningFlight {
                principal: principal.into(),
                scope,
                unknown: (!known).then_some(*message.data_key_id()),
            };
            let mut led = false;
            let served = self
                .opening_flights
                .join(flight, || {
                    led = true;
                    self.renew_opening_key(now_ms, caller, principal, scope, reuse_period_s, message)
                })
                .await?;
            if led {
                return Ok(served.key);
            }
            // Whoever waited was admitted by the Decrypt of another data key: its own is in the table, unless
            // it was evicted just now.
            let key =
                if served.key.opens(message) { Some(served.key) } else { self.unwrapped(now_ms, message) };
            if let Some(key) = key {
                self.observe_served(message.origin_stream(), principal, KeyUse::OpeningHit, served.expired);
                return Ok(key);
            }
        }
    }

    /// Drops the sealing keys of a queue that is gone.
    pub fn forget_queue(&self, stream: u32) {
        self.sealing.write().retain(|key, _| *key != stream);
    }

    /// Since when the service has been unreachable, ms since 1970; `None` while it answers.
    pub fn outage_since_ms(&self) -> Option<u64> {
        self.outage.since_ms()
    }

    /// One probe, if there is an outage: until it is answered no request calls the service. To be repeated with some
    /// wait between; true while there is an outage.
    pub async fn probe(&self, now_ms: u64) -> bool {
        if self.outage.is_active() {
            let answered = self.service.probe().await;
            self.outage.probed(now_ms, answered);
        }
        self.outage.is_active()
    }

    /// How many data keys are held for sealing and for opening.
    pub fn data_keys_held(&self) -> (usize, usize) {
        (self.sealing.read().len(), self.opening.read().unwrapped.len())
    }

    /// A ring that keeps few unwrapped keys.
    #[cfg(test)]
    fn with_unwrapped_keys_max(self, unwrapped_keys_max: usize) -> Self {
        self.opening.write().unwrapped = BoundedCache::new(unwrapped_keys_max);
        self
    }

    /// Makes a cached key behave as if it had sealed `used` messages.
    #[cfg(test)]
    fn spend_sealing_key(&self, principal: &str, stream: u32, used: u64) {
        let mut sealing = self.sealing.write();
        let entry = sealing.get(principal, &stream, 0).unwrap();
        let (setting, key) = (entry.setting.clone(), entry.key.nearly_spent_copy(used));
        sealing.insert(principal, stream, SealingEntry { setting, key: Arc::new(key) }, 0);
    }

    fn cached_sealing_key(
        &self,
        now_ms: u64,
        principal: &str,
        queue: QueueRef<'_>,
    ) -> Option<Served<SealingKey>> {
        let sealing = self.sealing.read();
        let key = &sealing.get(principal, &queue.stream, now_ms).filter(|entry| entry.serves(queue))?.key;
        let expired = self.expiry(now_ms, key.generated_at_ms(), queue.reuse_period_s)?;
        Some(Served { key: Arc::clone(key), expired })
    }

    fn cached_opening_key(
        &self,
        now_ms: u64,
        principal: &str,
        reuse_period_s: u32,
        message: &SealedMessage<'_>,
    ) -> Option<Served<OpeningKey>> {
        let opening = self.opening.read();
        let key = opening.unwrapped(now_ms, message)?;
        let admitted_at_ms = *opening.admissions.get(principal, key.wrapped_key().scope(), now_ms)?;
        let expired = self.expiry(now_ms, admitted_at_ms, reuse_period_s)?;
        Some(Served { key: Arc::clone(key), expired })
    }

    fn unwrapped(&self, now_ms: u64, message: &SealedMessage<'_>) -> Option<Arc<OpeningKey>> {
        self.opening.read().unwrapped(now_ms, message).map(Arc::clone)
    }

    /// `Some(None)`: within its period. `Some(age)`: expired, and to be used all the same. `None`: expired.
    fn expiry(&self, now_ms: u64, since_ms: u64, reuse_period_s: u32) -> Option<Option<u64>> {
        let within = match now_ms.checked_sub(since_ms) {
            Some(age_ms) => age_ms < u64::from(reuse_period_s) * 1_000,
            None => since_ms - now_ms <= CLOCK_STEP_MAX_MS,
        };
        let age_ms = now_ms.saturating_sub(since_ms);
        if within {
            return Some(None);
        }
        self.outage.serves_expired(now_ms).then_some(Some(age_ms))
    }

    /// The sealing key past its period, if there is one.
    fn expired_sealing_key(
        &self,
        now_ms: u64,
        principal: &str,
        queue: QueueRef<'_>,
    ) -> Option<Served<SealingKey>> {
        let sealing = self.sealing.read();
        let entry = sealing.get(principal, &queue.stream, now_ms).filter(|entry| entry.serves(queue))?;
        let age_ms = now_ms.saturating_sub(entry.key.generated_at_ms());
        Some(Served { key: Arc::clone(&entry.key), expired: Some(age_ms) })
    }

    /// The opening key of an admission past its period, if there is one.
    fn expired_opening_key(
        &self,
        now_ms: u64,
        principal: &str,
        scope: &KeyScope,
        message: &SealedMessage<'_>,
    ) -> Option<Served<OpeningKey>> {
        let opening = self.opening.read();
        let admitted_at_ms = *opening.admissions.get(principal, scope, now_ms)?;
        let key = Arc::clone(opening.unwrapped(now_ms, message)?);
        Some(Served { key, expired: Some(now_ms.saturating_sub(admitted_at_ms)) })
    }

    async fn renew_sealing_key(
        &self,
        now_ms: u64,
        caller: &S::Caller,
        principal: &str,
        queue: QueueRef<'_>,
    ) -> Outcome<SealingKey> {
        // Another flight may have landed since this request looked.
        if let Some(served) = self.cached_sealing_key(now_ms, principal, queue) {
            self.observe_served(queue.stream, principal, KeyUse::SealingHit, served.expired);
            return Ok(served);
        }
        // The data key of an earlier setting is not to come back with it.
        self.forget_other_setting(principal, queue);
        let held = self.expired_sealing_key(now_ms, principal, queue);
        let answer = match self.outage.attempt(now_ms, held.is_some()) {
            Some(_attempt) => self.generate_verified(now_ms, caller, principal, queue).await,
            None => Err(left_alone()),
        };
        match answer {
            Ok(key) => {
                self.observer.key_used(queue.stream, principal, KeyUse::DataKeyGenerated);
                Ok(Served { key, expired: None })
            }
            Err(error @ KeyServiceError::Unreachable { .. }) => {
                // Looked up again: another request's refusal may have taken it away meanwhile.
                let served = self.expired_sealing_key(now_ms, principal, queue).ok_or(error)?;
                self.observe_served(queue.stream, principal, KeyUse::SealingHit, served.expired);
                Ok(served)
            }
            Err(error) => {
                if revokes(&error) {
                    self.sealing.write().remove(principal, &queue.stream);
                }
                Err(error)
            }
        }
    }

    /// GenerateDataKey, then the Decrypt that must give the same key back; then both caches of the producer.
    async fn generate_verified(
        &self,
        now_ms: u64,
        caller: &S::Caller,
        principal: &str,
        queue: QueueRef<'_>,
    ) -> Result<Arc<SealingKey>, KeyServiceError> {
        let context = EncryptionContext::for_queue(queue.context_arn);
        self.observer.key_used(queue.stream, principal, KeyUse::GenerateCall);
        let generated =
            self.noted(now_ms, self.service.generate_data_key(caller, queue.key_setting, &context).await)?;
        let GeneratedDataKey { plaintext, wrapped, key_arn } = generated;
        let names = WrappedKey::new(Mode::Kms, &key_arn, queue.context_arn, &wrapped)
            .map_err(|error| KeyServiceError::Inconsistent { message: error.to_string() })?;

        self.observer.key_used(queue.stream, principal, KeyUse::DecryptCall);
        let decrypted = self.noted(now_ms, self.service.decrypt(caller, &wrapped, &key_arn, &context).await);
        let decrypted =
            decrypted.inspect_err(|error| self.revoke_admission(principal, names.scope(), error))?;
        if !decrypted.plaintext.same_as(&plaintext) || decrypted.key_arn != key_arn {
            let message = "a new data key does not unwrap to itself".to_owned();
            return Err(KeyServiceError::Inconsistent { message });
        }

        let data_key = Arc::new(DataKey::new(&plaintext));
        let key = Arc::new(SealingKey::for_generated_key(data_key, Arc::new(names), now_ms));
        self.admit(now_ms, principal, Arc::new(key.opening_key()));
        let entry = SealingEntry { setting: queue.key_setting.into(), key: Arc::clone(&key) };
        self.sealing.write().insert(principal, queue.stream, entry, now_ms);
        Ok(key)
    }

    async fn renew_opening_key(
        &self,
        now_ms: u64,
        caller: &S::Caller,
        principal: &str,
        scope: KeyScope,
        reuse_period_s: u32,
        message: &SealedMessage<'_>,
    ) -> Outcome<OpeningKey> {
        if let Some(served) = self.cached_opening_key(now_ms, principal, reuse_period_s, message) {
            self.observe_served(message.origin_stream(), principal, KeyUse::OpeningHit, served.expired);
            return Ok(served);
        }
        let context = EncryptionContext::for_queue(message.context_arn());
        let held = self.expired_opening_key(now_ms, principal, &scope, message);
        let answer = match self.outage.attempt(now_ms, held.is_some()) {
            Some(_attempt) => {
                self.observer.key_used(message.origin_stream(), principal, KeyUse::DecryptCall);
                let (wrapped, key_arn) = (message.wrapped_key(), message.key_arn());
                self.noted(now_ms, self.service.decrypt(caller, wrapped, key_arn, &context).await)
            }
            None => Err(left_alone()),
        };
        match answer {
            Ok(decrypted) if decrypted.key_arn == message.key_arn() => {
                let key = match self.unwrapped(now_ms, message) {
                    Some(known) => known,
                    None => {
                        let names = WrappedKey::new(
                            Mode::Kms,
                            message.key_arn(),
                            message.context_arn(),
                            message.wrapped_key(),
                        )
                        .map_err(|error| KeyServiceError::Inconsistent { message: error.to_string() })?;
                        Arc::new(OpeningKey::new(
                            Arc::new(DataKey::new(&decrypted.plaintext)),
                            Arc::new(names),
                        ))
                    }
                };
                self.admit(now_ms, principal, Arc::clone(&key));
                Ok(Served { key, expired: None })
            }
            Ok(decrypted) => Err(KeyServiceError::Inconsistent {
                message: format!("asked for {}, unwrapped under {}", message.key_arn(), decrypted.key_arn),
            }),
            Err(error @ KeyServiceError::Unreachable { .. }) => {
                let served = self.expired_opening_key(now_ms, principal, &scope, message).ok_or(error)?;
                self.observe_served(message.origin_stream(), principal, KeyUse::OpeningHit, served.expired);
                Ok(served)
            }
            Err(error) => {
                self.revoke_admission(principal, &scope, &error);
                Err(error)
            }
        }
    }

    fn forget_other_setting(&self, principal: &str, queue: QueueRef<'_>) {
        let mut sealing = self.sealing.write();
        if sealing.get(principal, &queue.stream, 0).is_some_and(|entry| *entry.setting != *queue.key_setting)
        {
            sealing.remove(principal, &queue.stream);
        }
    }

    /// Puts `key` into the table and admits `principal` to its scope, from now on.
    fn admit(&self, now_ms: u64, principal: &str, key: Arc<OpeningKey>) {
        let mut opening = self.opening.write();
        let names = key.wrapped_key();
        let (id, scope) = (*names.id(), *names.scope());
        opening.admissions.insert(principal, scope, now_ms, now_ms);
        opening.unwrapped.insert(key.wrapped_key().key_arn(), id, Arc::clone(&key), now_ms);
    }

    fn revoke_admission(&self, principal: &str, scope: &KeyScope, error: &KeyServiceError) {
        if revokes(error) {
            self.opening.write().admissions.remove(principal, scope);
        }
    }

    /// Notes from an answer whether the service can be reached.
    fn noted<T>(&self, now_ms: u64, answer: Result<T, KeyServiceError>) -> Result<T, KeyServiceError> {
        match &answer {
            Err(KeyServiceError::Unreachable { message, silent }) => {
                if self.outage.failed(now_ms, *silent) {
                    tracing::warn!(%message, "the key service is unreachable; cached data keys go on serving");
                }
            }
            _ => {
                if let Some(since_ms) = self.outage.answered() {
                    tracing::info!(
                        outage_ms = now_ms.saturating_sub(since_ms),
                        "the key service answers again"
                    );
                }
            }
        }
        answer
    }

    fn observe_served(&self, stream: u32, principal: &str, hit: KeyUse, expired: Option<u64>) {
        match expired {
            None => self.observer.key_used(stream, principal, hit),
            Some(age_ms) => {
                self.observer.key_used(stream, principal, KeyUse::OutageUse);
                self.observer.expired_key_used(stream, age_ms);
            }
        }
    }
}

impl SealingEntry {
    fn serves(&self, queue: QueueRef<'_>) -> bool {
        *self.setting == *queue.key_setting
            && self.key.wrapped_key().context_arn() == queue.context_arn
            && !self.key.retired()
    }
}

impl OpeningCache {
    fn unwrapped(&self, now_ms: u64, message: &SealedMessage<'_>) -> Option<&Arc<OpeningKey>> {
        // The id alone is what the record claims; the whole name decides.
        self.unwrapped.get(message.key_arn(), message.data_key_id(), now_ms).filter(|key| key.opens(message))
    }
}

/// The answer to a request that finds the breaker open and holds no key.
fn left_alone() -> KeyServiceError {
    let message = "it did not answer a moment ago and is being probed".to_owned();
    KeyServiceError::Unreachable { message, silent: true }
}

fn revokes(error: &KeyServiceError) -> bool {
    matches!(error, KeyServiceError::Refused { kind, .. } if kind.revokes())
}

impl<S: KeyService> fmt::Debug for KeyRing<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sealing, opening) = self.data_keys_held();
        f.debug_struct("KeyRing")
            .field("sealing", &sealing)
            .field("opening", &opening)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod opening_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod scripted_service;
#[cfg(test)]
mod sealing_tests;
