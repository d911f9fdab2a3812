//! What the key ring reports, so that its owner can count per queue and per principal.

/// One thing that happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// GenerateDataKey was called, whatever came of it.
    GenerateCall,
    /// Decrypt was called, whatever came of it.
    DecryptCall,
    /// A new data key passed its check and is in use.
    DataKeyGenerated,
    /// A send was served from the cache or by the call of another request.
    SealingHit,
    /// A receive was served from the cache or by the call of another request.
    OpeningHit,
    /// An expired key was used because the service is unreachable.
    OutageUse,
}

/// Told of every [`KeyUse`]. Called on the path of the request and outside every lock: it must be quick.
pub trait KeyUseObserver: Send + Sync {
    /// `stream`: the queue in the key's encryption context (for a moved message the queue that first received
    /// it). `principal`: whose key it is.
    fn key_used(&self, stream: u32, principal: &str, key_use: KeyUse);

    /// Beside every [`KeyUse::OutageUse`]: how long ago the service last vouched for the key, ms (its generation, or the
    /// Decrypt that admitted the principal).
    fn expired_key_used(&self, stream: u32, age_ms: u64) {
        let _ = (stream, age_ms);
    }
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl KeyUseObserver for NoObserver {
    fn key_used(&self, _stream: u32, _principal: &str, _key_use: KeyUse) {}
}
