//! What seals and opens message bodies, and where the keys for that come from.
//!
//! * [`sealed_message`]: the bytes of a stored message, sealed or plain, and their parser.
//! * [`sealing_key`], [`opening_key`]: one data key in the role of sealing or of opening. A data key
//!   seals only in the process that generated it; that is why the two roles are two types.
//! * [`key_service`]: the seam to a key management service.
//! * [`key_ring`]: data keys cached per principal, and the rules of when a key service is asked.
//! * [`managed_keys`]: data keys under the broker's own service key, without a key service.
//! * [`key_store`], [`ciphertext_blob`], [`root_key`]: the state of the embedded key service, what it encrypts to,
//!   and the one secret that everything it stores is sealed under.
//! * [`pool`]: worker threads for large bodies.
//!
//! Architecture invariant: no files, no sockets, no runtime, no queue rules. The time is passed in.

mod bounded_cache;

pub mod ciphertext_blob;
pub mod data_key;
pub mod encryption_context;
pub mod entropy;
pub mod estimate;
pub mod key_ring;
pub mod key_service;
pub mod key_store;
pub mod managed_keys;
pub mod nonce;
pub mod opening_key;
pub mod pool;
pub mod root_key;
pub mod sealed_message;
pub mod sealing_key;
pub mod wrapped_key;

pub use encryption_context::EncryptionContext;
pub use estimate::CallEstimate;
pub use key_ring::{KeyRing, KeyUse, KeyUseObserver, NoObserver, QueueRef};
pub use key_service::{DecryptedDataKey, GeneratedDataKey, KeyService, KeyServiceError, Refusal};
pub use managed_keys::{ManagedKeyError, ManagedKeys, ServiceKey};
pub use opening_key::{OpenError, OpenedBody, OpeningKey, open_plain};
pub use pool::{CryptoPool, OpenJob, OwnedDraft, PoolJob, SealJob};
pub use sealed_message::{Mode, ParseError, SealedMessage};
pub use sealing_key::{DraftMessage, SealError, SealingKey, store_plain};
