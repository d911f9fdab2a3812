//! Nonces: a 96-bit counter per data key.
//!
//! A counter cannot repeat within its own life, and it lives exactly as long as the one process that
//! generated its key. It is never stored and never restored: a key that came back by unwrapping has no
//! counter and so cannot seal.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::entropy::{EntropyError, SystemEntropy, random};

/// Length of a nonce, bytes. NIST SP 800-38D section 8.2.1.
pub const NONCE_BYTES: usize = 12;

/// How many messages one data key may seal. The contract retires a key after 2^32 messages even inside its
/// reuse period.
pub const SEALS_PER_KEY_MAX: u64 = 1 << 32;

/// One nonce. Public once used; secret to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; NONCE_BYTES]);

impl Nonce {
    /// The nonce that a stored record or a wrapped key names.
    pub fn from_bytes(bytes: [u8; NONCE_BYTES]) -> Self {
        Self(bytes)
    }

    /// A random nonce, for keys that outlive a process and seal few things (wrapping keys: far below the 2^32
    /// invocations of NIST SP 800-38D section 8.3).
    pub(crate) fn random() -> Result<Self, EntropyError> {
        random(&mut SystemEntropy).map(Self)
    }

    /// The 12 bytes.
    pub fn as_bytes(&self) -> &[u8; NONCE_BYTES] {
        &self.0
    }
}

/// Gives each nonce out once. Shared by threads without a lock.
#[derive(Debug)]
pub struct NonceCounter {
    next: AtomicU64,
    limit: u64,
}

impl NonceCounter {
    /// A counter for a data key that was generated just now.
    pub(crate) fn for_new_key() -> Self {
        Self { next: AtomicU64::new(0), limit: SEALS_PER_KEY_MAX }
    }

    /// A counter that has already given out `used` nonces, so that its end can be reached in a test.
    #[cfg(test)]
    pub(crate) fn nearly_spent(used: u64) -> Self {
        Self { next: AtomicU64::new(used), limit: SEALS_PER_KEY_MAX }
    }

    /// The next nonce, or `None` when the key has sealed [`SEALS_PER_KEY_MAX`] messages.
    pub fn next(&self) -> Option<Nonce> {
        // Counting past the limit is harmless: 2^64 refused calls do not fit into a process's life.
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        if count >= self.limit {
            return None;
        }
        let mut bytes = [0; NONCE_BYTES];
        bytes[NONCE_BYTES - size_of::<u64>()..].copy_from_slice(&count.to_be_bytes());
        Some(Nonce(bytes))
    }

    /// Whether [`next`](Self::next) would refuse.
    pub fn spent(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn no_nonce_repeats_across_threads() {
        const THREADS: usize = 8;
        const EACH: usize = 20_000;
        let counter = NonceCounter::for_new_key();
        let mut seen = HashSet::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|_| scope.spawn(|| (0..EACH).map(|_| counter.next().unwrap()).collect::<Vec<_>>()))
                .collect();
            for worker in workers {
                for nonce in worker.join().unwrap() {
                    assert!(seen.insert(nonce), "{nonce:?} was given out twice");
                }
            }
        });
        assert_eq!(seen.len(), THREADS * EACH);
    }

    #[test]
    fn the_last_allowed_nonce_is_given_and_the_one_after_it_refused() {
        let counter = NonceCounter::nearly_spent(SEALS_PER_KEY_MAX - 1);
        assert!(!counter.spent());
        assert_eq!(counter.next().unwrap().as_bytes(), &[0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
        assert!(counter.spent());
        assert_eq!(counter.next(), None);
        assert_eq!(counter.next(), None);
    }
}
