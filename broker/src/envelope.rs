//! Sealing and opening for the front: which key, and on which thread.
//!
//! Plaintext lives between parse and seal, and between open and reply; here is where it begins and ends. Small bodies are
//! done on the spot, large ones on the crypto pool, so that a megabyte does not hold up the other requests of its thread.

use std::sync::Arc;

use sealq_crypto::key_ring::KeyRing;
use sealq_crypto::pool::{INLINE_BODY_BYTES_MAX, OpenJob, OwnedDraft, PoolJob, PoolOpenError, SealJob};
use sealq_crypto::{
    CryptoPool, DraftMessage, KeyService, KeyServiceError, ManagedKeys, Mode, OpenedBody, OpeningKey,
    QueueRef, SealedMessage, SealingKey, open_plain, store_plain,
};
use sealq_storage::Record;
use tokio::sync::oneshot;

use crate::clock::Clock;

/// How a queue seals what is sent to it.
#[derive(Debug, Clone, Copy)]
pub enum QueueEncryption<'a> {
    /// Off.
    Off,
    /// SSE-SQS.
    Managed,
    /// SSE-KMS.
    Kms {
        /// KmsMasterKeyId as it was set.
        key_setting: &'a str,
        /// Seconds.
        reuse_period_s: u32,
    },
}

/// What a send seals with; one for the whole request.
#[derive(Debug, Clone)]
pub struct Sealer(Option<Arc<SealingKey>>);

/// Why a message is not stored.
#[derive(Debug, thiserror::Error)]
pub enum SealFailure {
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyServiceError),
    /// Something of the broker's own.
    #[error("{0}")]
    Internal(String),
    /// Too much to do: the caller may retry.
    #[error("the crypto pool is full")]
    Busy,
}

/// Why a message is not delivered.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailure {
    /// No key: the message stays as it is.
    #[error(transparent)]
    Key(#[from] KeyServiceError),
    /// The stored bytes are damaged: the record can never be served.
    #[error("{0}")]
    Unreadable(String),
    /// The disk does not give the stored bytes: later it may.
    #[error("{0}")]
    Unread(String),
    /// The bytes are as stored, but they do not open: another key, or somebody changed them.
    #[error("{0}")]
    Damaged(String),
    /// An encrypted message asked for over a plain connection.
    #[error("an encrypted message is given out over HTTPS and Signature Version 4 only")]
    Insecure,
    /// Too much to do: the caller may retry.
    #[error("the crypto pool is full")]
    Busy,
}

/// A message's body in clear, on its way to the reply.
// No Debug: it holds a body in clear.
pub struct OpenedMessage {
    bytes: Vec<u8>,
    opened: OpenedBody,
}

impl OpenedMessage {
    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.opened.body.clone()]
    }

    /// MD5 of the body.
    pub fn md5(&self) -> &[u8; 16] {
        &self.opened.md5
    }
}

/// Keys and workers.
pub struct Envelope<S: KeyService> {
    ring: KeyRing<S>,
    managed: ManagedKeys,
    pool: CryptoPool,
    clock: Clock,
}

impl<S: KeyService> Envelope<S> {
    /// Over a key ring, the service's own keys and a pool.
    pub fn new(ring: KeyRing<S>, managed: ManagedKeys, pool: CryptoPool, clock: Clock) -> Self {
        Self { ring, managed, pool, clock }
    }

    /// The ring, for its figures.
    pub fn ring(&self) -> &KeyRing<S> {
        &self.ring
    }

    /// Drops what is cached for a queue that is gone.
    pub fn forget_queue(&self, stream: u32) {
        self.ring.forget_queue(stream);
        self.managed.forget_queue(stream);
    }

    /// The sealer of one send. Waits for the key service only when no key is cached.
    ///
    /// # Errors
    /// [`SealFailure`]; nothing may be stored then.
    pub async fn sealer(
        &self,
        caller: &S::Caller,
        principal: &str,
        stream: u32,
        queue_arn: &str,
        encryption: QueueEncryption<'_>,
    ) -> Result<Sealer, SealFailure> {
        let now_ms = self.clock.now_ms();
        match encryption {
            QueueEncryption::Off => Ok(Sealer(None)),
            QueueEncryption::Managed => match self.managed.sealing_key(now_ms, stream, queue_arn) {
                Ok(key) => Ok(Sealer(Some(key))),
                Err(error) => Err(SealFailure::Internal(error.to_string())),
            },
            QueueEncryption::Kms { key_setting, reuse_period_s } => {
                let queue = QueueRef { stream, context_arn: queue_arn, key_setting, reuse_period_s };
                if let Some(key) = self.ring.try_sealing_key(now_ms, principal, queue) {
                    return Ok(Sealer(Some(key)));
                }
                Ok(Sealer(Some(self.ring.sealing_key(now_ms, caller, principal, queue).await?)))
            }
        }
    }

    /// The stored form of one message.
    ///
    /// # Errors
    /// [`SealFailure`].
    pub async fn seal(&self, sealer: &Sealer, draft: DraftMessage<'_>) -> Result<Vec<u8>, SealFailure> {
        let mut sealed = Vec::with_capacity(draft.body.len() + draft.clear.len() + 512);
        let done = match &sealer.0 {
            None => store_plain(&draft, &mut sealed),
            Some(key) if draft.body.len() <= INLINE_BODY_BYTES_MAX => key.seal(&draft, &mut sealed),
            Some(key) => return self.seal_on_pool(key.clone(), draft, sealed).await,
        };
        done.map(|()| sealed).map_err(|error| SealFailure::Internal(error.to_string()))
    }

    async fn seal_on_pool(
        &self,
        key: Arc<SealingKey>,
        draft: DraftMessage<'_>,
        out: Vec<u8>,
    ) -> Result<Vec<u8>, SealFailure> {
        let draft = OwnedDraft {
            message_id: draft.message_id,
            sent_at_ms: draft.sent_at_ms,
            origin_stream: draft.origin_stream,
            context_arn: draft.context_arn.into(),
            clear: draft.clear.to_vec(),
            body: draft.body.to_vec(),
            body_md5: draft.body_md5,
        };
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |_draft, sealed, result: Result<(), sealq_crypto::SealError>| {
            // A sender that has hung up needs no result; nothing was stored.
            let _ = sender.send(result.map(|()| sealed));
        });
        self.pool.submit(PoolJob::Seal(SealJob { key, draft, out, done })).map_err(|_| SealFailure::Busy)?;
        match receiver.await {
            Ok(Ok(sealed)) => Ok(sealed),
            Ok(Err(error)) => Err(SealFailure::Internal(error.to_string())),
            Err(_) => Err(SealFailure::Internal("a crypto worker failed".into())),
        }
    }

    /// The body of a stored message. `secure`: the request came signed and over TLS. `reuse_period_s`: of the queue it
    /// is received from.
    ///
    /// # Errors
    /// [`OpenFailure`]: the delivery must be undone.
    pub async fn open(
        &self,
        caller: &S::Caller,
        principal: &str,
        reuse_period_s: u32,
        secure: bool,
        record: &Record,
    ) -> Result<OpenedMessage, OpenFailure> {
        let damaged = |error: &dyn std::fmt::Display| OpenFailure::Damaged(error.to_string());
        let stored = record.body().map_err(|error| {
            let failure = if error.may_pass() { OpenFailure::Unread } else { OpenFailure::Unreadable };
            failure(error.to_string())
        })?;
        let message = SealedMessage::parse(stored).map_err(|error| damaged(&error))?;
        let mut bytes = Vec::with_capacity(message.plaintext_len() + 64);
        if message.mode() == Mode::None {
            let opened = open_plain(&message, &mut bytes).map_err(|error| damaged(&error))?;
            return Ok(OpenedMessage { bytes, opened });
        }
        if !secure {
            return Err(OpenFailure::Insecure);
        }
        let now_ms = self.clock.now_ms();
        let key = if message.mode() == Mode::Managed {
            self.managed.opening_key(now_ms, &message).map_err(|error| damaged(&error))?
        } else {
            match self.ring.try_opening_key(now_ms, principal, reuse_period_s, &message) {
                Some(key) => key,
                None => self.ring.opening_key(now_ms, caller, principal, reuse_period_s, &message).await?,
            }
        };
        if message.plaintext_len() > INLINE_BODY_BYTES_MAX {
            return self.open_on_pool(key, record, bytes).await;
        }
        let opened = key.open(&message, &mut bytes).map_err(|error| damaged(&error))?;
        Ok(OpenedMessage { bytes, opened })
    }

    async fn open_on_pool(
        &self,
        key: Arc<OpeningKey>,
        record: &Record,
        out: Vec<u8>,
    ) -> Result<OpenedMessage, OpenFailure> {
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |bytes, result: Result<OpenedBody, PoolOpenError>| {
            // A receiver that has hung up needs no body; its deliveries are undone elsewhere.
            let _ = sender.send(result.map(|opened| OpenedMessage { bytes, opened }));
        });
        let record = Box::new(StoredBody(record.clone()));
        self.pool.submit(PoolJob::Open(OpenJob { key, record, out, done })).map_err(|_| OpenFailure::Busy)?;
        match receiver.await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => Err(OpenFailure::Damaged(error.to_string())),
            Err(_) => Err(OpenFailure::Busy),
        }
    }
}

/// A record as the pool takes it. It was verified before it was handed over.
struct StoredBody(Record);

impl AsRef<[u8]> for StoredBody {
    fn as_ref(&self) -> &[u8] {
        self.0.body().unwrap_or(&[])
    }
}
