//! The root key: the one secret kept outside the data directory, which seals everything the key service stores.
//!
//! Knows no files: it reads and makes the *bytes* of a root key file. Never leaves this type: the key has no accessor.
//! It does not derive the broker's working keys: those come from [`crate::key_store::ServiceSecret`], which survives a
//! change of root.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::{Entropy, EntropyError, random};

const MAGIC: &[u8; 8] = b"SEALQRK\0";
const VERSION: u8 = 1;
const KIND_BARE: u8 = 0;
const KIND_PASSPHRASE: u8 = 1;
const HEAD_LEN: usize = MAGIC.len() + 2;
const CRC_LEN: usize = 4;
const SALT_LEN: usize = 16;
const CHECK_LEN: usize = 16;
const BARE_LEN: usize = HEAD_LEN + 32 + CRC_LEN;
const PASSPHRASE_LEN: usize = HEAD_LEN + SALT_LEN + 12 + CHECK_LEN + CRC_LEN;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const ID_LEN: usize = 8;
/// What [`RootKey::keep_previous`] seals: wrapping key, check, id.
const KEPT_LEN: usize = 32 + CHECK_LEN + ID_LEN;
const PREVIOUS_AAD: &[u8] = b"sealq previous root key v1";
/// What wrapping adds to the length of a secret, bytes: root key id, nonce, tag.
pub const WRAP_OVERHEAD_BYTES: usize = ID_LEN + NONCE_LEN + TAG_LEN;
/// Shortest passphrase, bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 8;

/// Work of argon2id (RFC 9106) for a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl PassphraseCost {
    /// RFC 9106 section 4, second recommendation: 64 MiB, 3 passes, 4 lanes.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 };
    /// Above this a file is refused: it could otherwise make the broker take all memory.
    pub const MAX: Self = Self { memory_kib: 1024 * 1024, passes: 64, lanes: 16 };
    /// Least memory, KiB.
    pub const MEMORY_KIB_MIN: u32 = 8 * Self::MAX.lanes;

    fn params(self) -> Result<Params, RootFileError> {
        let sane = (Self::MEMORY_KIB_MIN..=Self::MAX.memory_kib).contains(&self.memory_kib)
            && (1..=Self::MAX.passes).contains(&self.passes)
            && (1..=Self::MAX.lanes).contains(&self.lanes);
        if !sane {
            return Err(RootFileError::Cost { cost: self });
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|_| RootFileError::Cost { cost: self })
    }
}

/// Why a root key cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RootFileError {
    /// Not a root key file.
    #[error("not a root key file")]
    Magic,
    /// Written by a later version.
    #[error("root key file has format {found}, this version reads {VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Neither bare nor by passphrase.
    #[error("root key file of unknown kind {found}")]
    Kind {
        /// The kind found.
        found: u8,
    },
    /// Too short or too long.
    #[error("root key file is {found} bytes long, {expected} are expected")]
    Length {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// Damaged.
    #[error("root key file is damaged: its checksum does not match")]
    Checksum,
    /// Work factors out of bounds.
    #[error("argon2id cost {cost:?} is out of bounds")]
    Cost {
        /// The cost asked for.
        cost: PassphraseCost,
    },
    /// The file needs a passphrase and none was given.
    #[error("the root key is protected by a passphrase and none was given")]
    PassphraseMissing,
    /// Not the passphrase the file was made with.
    #[error("wrong passphrase for the root key")]
    PassphraseWrong,
    /// Under [`PASSPHRASE_BYTES_MIN`].
    #[error("a passphrase needs at least {PASSPHRASE_BYTES_MIN} bytes, this one has {found}")]
    PassphraseShort {
        /// Bytes given.
        found: usize,
    },
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Why a sealed value does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnwrapError {
    /// Too short to be one.
    #[error("sealed value is too short")]
    Truncated,
    /// Sealed under another root key.
    #[error("sealed under another root key")]
    OtherRoot,
    /// Changed since it was sealed, or put in another place.
    #[error("sealed value is damaged")]
    Damaged,
}

/// The bytes of a root key file, checked.
///
/// Layout: magic 8, version 1, kind 1; kind 0: key 32; kind 1: salt 16, memory KiB u32, passes u32, lanes u32, check 16;
/// CRC-32 (IEEE) of all before. Little-endian.
pub struct RootFile {
    content: Content,
}

enum Content {
    Bare(Zeroizing<[u8; 32]>),
    Passphrase { salt: [u8; SALT_LEN], cost: PassphraseCost, check: [u8; CHECK_LEN] },
}

impl RootFile {
    /// Reads the bytes of a file. Errors: everything but the passphrase ones.
    pub fn parse(bytes: &[u8]) -> Result<Self, RootFileError> {
        let (head, rest) = bytes.split_at_checked(HEAD_LEN).ok_or(RootFileError::Magic)?;
        if !head.starts_with(MAGIC) {
            return Err(RootFileError::Magic);
        }
        let (version, kind) = (head[MAGIC.len()], head[MAGIC.len() + 1]);
        if version != VERSION {
            return Err(RootFileError::Version { found: version });
        }
        let expected = match kind {
            KIND_BARE => BARE_LEN,
            KIND_PASSPHRASE => PASSPHRASE_LEN,
            found => return Err(RootFileError::Kind { found }),
        };
        if bytes.len() != expected {
            return Err(RootFileError::Length { found: bytes.len(), expected });
        }
        let (covered, crc) = bytes.split_at(expected - CRC_LEN);
        if crc32fast::hash(covered).to_le_bytes() != crc {
            return Err(RootFileError::Checksum);
        }
        let field = |at: usize| {
            let mut four = [0; 4];
            four.copy_from_slice(&rest[at..at + 4]);
            u32::from_le_bytes(four)
        };
        let content = if kind == KIND_BARE {
            let mut key = Zeroizing::new([0; 32]);
            key.copy_from_slice(&rest[..32]);
            Content::Bare(key)
        } else {
            let (mut salt, mut check) = ([0; SALT_LEN], [0; CHECK_LEN]);
            salt.copy_from_slice(&rest[..SALT_LEN]);
            check.copy_from_slice(&rest[SALT_LEN + 12..SALT_LEN + 12 + CHECK_LEN]);
            let cost = PassphraseCost {
                memory_kib: field(SALT_LEN),
                passes: field(SALT_LEN + 4),
                lanes: field(SALT_LEN + 8),
            };
            cost.params()?;
            Content::Passphrase { salt, cost, check }
        };
        Ok(Self { content })
    }

    /// Bytes of a file with a new random key. Write it readable by its owner only.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Zeroizing<Vec<u8>>, RootFileError> {
        let key = Zeroizing::new(random::<32>(entropy)?);
        let mut bytes = Zeroizing::new(Vec::with_capacity(BARE_LEN));
        head(&mut bytes, KIND_BARE);
        bytes.extend_from_slice(key.as_slice());
        finish(&mut bytes);
        Ok(bytes)
    }

    /// Bytes of a file whose key is derived from `passphrase` with argon2id. Holds no secret.
    pub fn generate_with_passphrase(
        passphrase: &[u8],
        cost: PassphraseCost,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, RootFileError> {
        if passphrase.len() < PASSPHRASE_BYTES_MIN {
            return Err(RootFileError::PassphraseShort { found: passphrase.len() });
        }
        let salt = random::<SALT_LEN>(entropy)?;
        let root = from_passphrase(passphrase, &salt, cost)?;
        let mut bytes = Vec::with_capacity(PASSPHRASE_LEN);
        head(&mut bytes, KIND_PASSPHRASE);
        bytes.extend_from_slice(&salt);
        for number in [cost.memory_kib, cost.passes, cost.lanes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(root.check().as_slice());
        finish(&mut bytes);
        Ok(bytes)
    }

    /// Whether [`RootFile::unlock`] needs a passphrase.
    pub fn needs_passphrase(&self) -> bool {
        matches!(self.content, Content::Passphrase { .. })
    }

    /// The root key. A passphrase given for a file without one is ignored. Takes as long as the file's argon2id cost.
    pub fn unlock(&self, passphrase: Option<&[u8]>) -> Result<RootKey, RootFileError> {
        match &self.content {
            Content::Bare(key) => Ok(RootKey::from_bytes(key)),
            Content::Passphrase { salt, cost, check } => {
                let passphrase = passphrase.ok_or(RootFileError::PassphraseMissing)?;
                let root = from_passphrase(passphrase, salt, *cost)?;
                match bool::from(root.check().ct_eq(check)) {
                    true => Ok(root),
                    false => Err(RootFileError::PassphraseWrong),
                }
            }
        }
    }
}

fn head(bytes: &mut Vec<u8>, kind: u8) {
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[VERSION, kind]);
}

fn finish(bytes: &mut Vec<u8>) {
    let crc = crc32fast::hash(bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

fn from_passphrase(
    passphrase: &[u8],
    salt: &[u8; SALT_LEN],
    cost: PassphraseCost,
) -> Result<RootKey, RootFileError> {
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?)
        .hash_password_into(passphrase, salt, key.as_mut_slice())
        .map_err(|_| RootFileError::Cost { cost })?;
    Ok(RootKey::from_bytes(&key))
}

/// Fingerprint of the root key that a value was sealed under ([`RootKey::wrap`]). `None`: too short to be one.
pub fn sealed_under(wrapped: &[u8]) -> Option<String> {
    (wrapped.len() >= WRAP_OVERHEAD_BYTES).then(|| hex::encode(&wrapped[..ID_LEN]))
}

/// Seals and opens the key service's stored values (AES-256-GCM, NIST SP 800-38D). Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RootKey {
    wrapping: [u8; 32],
    check: [u8; CHECK_LEN],
    #[zeroize(skip)]
    id: [u8; ID_LEN],
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootKey({})", self.fingerprint())
    }
}

impl RootKey {
    /// From 32 secret bytes, which serve only to derive (HKDF-SHA-256, RFC 5869) what is used.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        let mut root = Self { wrapping: [0; 32], check: [0; CHECK_LEN], id: [0; ID_LEN] };
        let kdf = Hkdf::<Sha256>::new(Some(b"sealq root v1"), secret);
        for (label, out) in [
            (&b"wrap"[..], &mut root.wrapping[..]),
            (b"passphrase check", &mut root.check),
            (b"id", &mut root.id),
        ] {
            // Only outputs over 8,160 bytes fail.
            kdf.expand(label, out).expect("short output");
        }
        root
    }

    /// Public name of this root key, 16 hex digits: tells roots apart, says nothing of the key.
    pub fn fingerprint(&self) -> String {
        hex::encode(self.id)
    }

    /// Seals `secret`, bound to `aad`: root key id 8, nonce 12 (random), ciphertext, tag 16.
    pub fn wrap(
        &self,
        aad: &[u8],
        secret: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, EntropyError> {
        let nonce = random::<NONCE_LEN>(entropy)?;
        let sealed = self
            .cipher()
            .encrypt(&Nonce::from(nonce), Payload { msg: secret, aad })
            .map_err(|_| EntropyError { reason: "value too long to seal".into() })?;
        Ok([&self.id[..], &nonce, &sealed].concat())
    }

    /// Opens what [`RootKey::wrap`] made with the same `aad`.
    pub fn unwrap(&self, aad: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        if wrapped.len() < WRAP_OVERHEAD_BYTES {
            return Err(UnwrapError::Truncated);
        }
        let (id, rest) = wrapped.split_at(ID_LEN);
        if id != self.id {
            return Err(UnwrapError::OtherRoot);
        }
        let (nonce_bytes, sealed) = rest.split_at(NONCE_LEN);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(nonce_bytes);
        self.cipher()
            .decrypt(&Nonce::from(nonce), Payload { msg: sealed, aad })
            .map(Zeroizing::new)
            .map_err(|_| UnwrapError::Damaged)
    }

    /// Seals `previous`, the root key before this one, so that it can lie beside this one's file until everything is
    /// sealed anew. Opens with this root key alone, whatever passphrase the one before had.
    pub fn keep_previous(&self, previous: &Self, entropy: &mut dyn Entropy) -> Result<Vec<u8>, EntropyError> {
        let mut secret = Zeroizing::new([0; KEPT_LEN]);
        secret[..32].copy_from_slice(&previous.wrapping);
        secret[32..32 + CHECK_LEN].copy_from_slice(&previous.check);
        secret[32 + CHECK_LEN..].copy_from_slice(&previous.id);
        self.wrap(PREVIOUS_AAD, secret.as_slice(), entropy)
    }

    /// The root key that [`RootKey::keep_previous`] sealed. [`UnwrapError::OtherRoot`]: it was kept for a root key that
    /// never came into use, or is not in use any more.
    pub fn open_previous(&self, kept: &[u8]) -> Result<Self, UnwrapError> {
        let secret = self.unwrap(PREVIOUS_AAD, kept)?;
        if secret.len() != KEPT_LEN {
            return Err(UnwrapError::Damaged);
        }
        let mut previous = Self { wrapping: [0; 32], check: [0; CHECK_LEN], id: [0; ID_LEN] };
        previous.wrapping.copy_from_slice(&secret[..32]);
        previous.check.copy_from_slice(&secret[32..32 + CHECK_LEN]);
        previous.id.copy_from_slice(&secret[32 + CHECK_LEN..]);
        Ok(previous)
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new((&self.wrapping).into())
    }

    fn check(&self) -> &[u8; CHECK_LEN] {
        &self.check
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    const CHEAP: PassphraseCost =
        PassphraseCost { memory_kib: PassphraseCost::MEMORY_KIB_MIN, passes: 1, lanes: 1 };

    #[test]
    fn a_generated_file_gives_the_same_root_each_time() {
        let bytes = RootFile::generate(&mut SystemEntropy).unwrap();
        let (one, two) = (RootFile::parse(&bytes).unwrap(), RootFile::parse(&bytes).unwrap());
        assert!(!one.needs_passphrase());
        let wrapped = one.unlock(None).unwrap().wrap(b"place", b"secret", &mut SystemEntropy).unwrap();
        assert_eq!(two.unlock(None).unwrap().unwrap(b"place", &wrapped).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn every_flipped_bit_of_a_root_file_is_refused() {
        let bytes = RootFile::generate(&mut SystemEntropy).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(RootFile::parse(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(RootFile::parse(&bytes[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn only_the_right_passphrase_unlocks() {
        let bytes = RootFile::generate_with_passphrase(b"correct horse", CHEAP, &mut SystemEntropy).unwrap();
        let file = RootFile::parse(&bytes).unwrap();
        assert!(file.needs_passphrase());
        assert_eq!(file.unlock(None).unwrap_err(), RootFileError::PassphraseMissing);
        assert_eq!(file.unlock(Some(b"battery staple")).unwrap_err(), RootFileError::PassphraseWrong);
        let (one, two) = (file.unlock(Some(b"correct horse")), file.unlock(Some(b"correct horse")));
        assert_eq!(one.unwrap().fingerprint(), two.unwrap().fingerprint());
    }

    #[test]
    fn costs_out_of_bounds_are_refused() {
        let over = PassphraseCost { memory_kib: PassphraseCost::MAX.memory_kib + 1, ..CHEAP };
        let under = PassphraseCost { passes: 0, ..CHEAP };
        for cost in [over, under] {
            let made = RootFile::generate_with_passphrase(b"correct horse", cost, &mut SystemEntropy);
            assert_eq!(made.unwrap_err(), RootFileError::Cost { cost });
        }
    }

    #[test]
    fn kms_16_a_wrapped_secret_opens_only_whole_in_its_place_and_under_its_root() {
        let root = RootKey::from_bytes(&[7; 32]);
        let wrapped = root.wrap(b"place", b"secret", &mut SystemEntropy).unwrap();
        assert!(!wrapped.windows(6).any(|window| window == b"secret"));
        assert_eq!(root.unwrap(b"other", &wrapped), Err(UnwrapError::Damaged));
        let other = RootKey::from_bytes(&[8; 32]);
        assert_eq!(other.unwrap(b"place", &wrapped), Err(UnwrapError::OtherRoot));
        for bit in 0..wrapped.len() * 8 {
            let mut damaged = wrapped.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(root.unwrap(b"place", &damaged).is_err(), "bit {bit}");
        }
        assert_eq!(root.unwrap(b"place", &wrapped[..20]), Err(UnwrapError::Truncated));
    }

    #[test]
    fn the_previous_root_key_opens_with_the_new_one_only() {
        let (old, new) = (RootKey::from_bytes(&[7; 32]), RootKey::from_bytes(&[8; 32]));
        let kept = new.keep_previous(&old, &mut SystemEntropy).unwrap();
        let wrapped = old.wrap(b"place", b"secret", &mut SystemEntropy).unwrap();
        assert_eq!(sealed_under(&wrapped), Some(old.fingerprint()));
        let opened = new.open_previous(&kept).unwrap();
        assert_eq!(opened.unwrap(b"place", &wrapped).unwrap().as_slice(), b"secret");
        assert_eq!(old.open_previous(&kept).unwrap_err(), UnwrapError::OtherRoot);
        let other = new.wrap(PREVIOUS_AAD, b"short", &mut SystemEntropy).unwrap();
        assert_eq!(new.open_previous(&other).unwrap_err(), UnwrapError::Damaged);
    }

    #[test]
    fn printing_a_root_key_shows_only_its_fingerprint() {
        let root = RootKey::from_bytes(&[7; 32]);
        assert_eq!(format!("{root:?}"), format!("RootKey({})", root.fingerprint()));
    }
}
