//! Where random bytes come from: passed in, so that tests and the simulator repeat.

use thiserror::Error;

/// The system would not give random bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the system's random source failed: {reason}")]
pub struct EntropyError {
    /// What the system said.
    pub reason: String,
}

/// A cryptographically strong source of random bytes.
pub trait Entropy {
    /// Fills `bytes` wholly or fails.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The kernel's random source (`getrandom(2)`).
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|error| EntropyError { reason: error.to_string() })
    }
}

/// `N` random bytes.
pub fn random<const N: usize>(entropy: &mut dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}
