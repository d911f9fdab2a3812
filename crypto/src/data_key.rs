//! Key material: the 32 bytes of a data key, and the cipher made of them.
//!
//! Holds secrets only in memory, wipes them on drop, prints none of them. Never knows where a key came
//! from or what it protects.

use std::fmt;

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, KeyInit},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    entropy::{Entropy, EntropyError, SystemEntropy},
    nonce::Nonce,
};

/// Length of a data key, bytes (AES-256).
pub const DATA_KEY_BYTES: usize = 32;

/// Length of an AES-GCM tag, bytes. NIST SP 800-38D section 5.2.1.2: the full 128 bits.
pub const TAG_BYTES: usize = 16;

/// The plaintext of a data key, 32 bytes, wiped on drop. Its `Debug` shows no byte, and it has no `Clone`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyBytes {
    // Boxed: moving the value moves a pointer and leaves no copy of the key on the stack.
    bytes: Box<[u8; DATA_KEY_BYTES]>,
}

impl KeyBytes {
    /// A fresh key from the operating system's random source.
    ///
    /// # Errors
    /// [`EntropyError`] if the source fails.
    pub fn generate() -> Result<Self, EntropyError> {
        let mut key = Self { bytes: Box::new([0; DATA_KEY_BYTES]) };
        SystemEntropy.fill(key.bytes.as_mut_slice())?;
        Ok(key)
    }

    /// Takes the key over from `bytes` and wipes them.
    pub fn take(bytes: &mut [u8; DATA_KEY_BYTES]) -> Self {
        let key = Self { bytes: Box::new(*bytes) };
        bytes.zeroize();
        key
    }

    /// Copies the key from `bytes`; `None` if there are not exactly [`DATA_KEY_BYTES`] of them. The caller
    /// wipes its own copy.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self { bytes: Box::new([0; DATA_KEY_BYTES]) };
        if bytes.len() != DATA_KEY_BYTES {
            return None;
        }
        key.bytes.copy_from_slice(bytes);
        Some(key)
    }

    /// The secret itself, for wrapping it. Every use of this is a place to review.
    pub fn expose(&self) -> &[u8; DATA_KEY_BYTES] {
        &self.bytes
    }

    /// Equality in constant time.
    pub fn same_as(&self, other: &Self) -> bool {
        self.bytes.as_slice().ct_eq(other.bytes.as_slice()).into()
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(..)")
    }
}

/// AES-256-GCM under one key, with its key schedule kept ready. Wiped on drop.
pub struct DataKey {
    cipher: Box<Aes256Gcm>,
}

impl DataKey {
    /// The cipher of `key`.
    pub fn new(key: &KeyBytes) -> Self {
        Self { cipher: Box::new(Aes256Gcm::new(key.expose().into())) }
    }

    /// Encrypts `text` in place and returns the tag over `aad` and the ciphertext. `None` only beyond the
    /// cipher's own limit of 2^36 - 32 bytes. NIST SP 800-38D section 7.1.
    pub(crate) fn seal_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let tag = self.cipher.encrypt_inout_detached(nonce.as_bytes().into(), aad, text.into()).ok()?;
        Some(tag.into())
    }

    /// Decrypts `text` in place if `tag` is right for `aad` and `text`. On `false` nothing was decrypted:
    /// `text` still holds the ciphertext. NIST SP 800-38D section 7.2.
    #[must_use]
    pub(crate) fn open_in_place(
        &self,
        nonce: &Nonce,
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        self.cipher.decrypt_inout_detached(nonce.as_bytes().into(), aad, text.into(), tag.into()).is_ok()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Vector {
        key: &'static str,
        nonce: &'static str,
        plaintext: &'static str,
        aad: &'static str,
        ciphertext: &'static str,
        tag: &'static str,
    }

    /// AES-256 with 96-bit nonces. The first four are test cases 13 to 16 of "The Galois/Counter Mode of Operation"
    /// (McGrew, Viega), the others the first of their group in NIST CAVS `gcmEncryptExtIV256.rsp`.
    const KNOWN_ANSWERS: [Vector; 9] = [
        Vector {
            key: "0000000000000000000000000000000000000000000000000000000000000000",
            nonce: "000000000000000000000000",
            plaintext: "",
            aad: "",
            ciphertext: "",
            tag: "530f8afbc74536b9a963b4f1c4cb738b",
        },
        Vector {
            key: "0000000000000000000000000000000000000000000000000000000000000000",
            nonce: "000000000000000000000000",
            plaintext: "00000000000000000000000000000000",
            aad: "",
            ciphertext: "cea7403d4d606b6e074ec5d3baf39d18",
            tag: "d0d1c8a799996bf0265b98b5d48ab919",
        },
        Vector {
            key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888",
            plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                        b16aedf5aa0de657ba637b391aafd255",
            aad: "",
            ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
                         c5f61e6393ba7a0abcc9f662898015ad",
            tag: "b094dac5d93471bdec1a502270e3cc6c",
        },
        Vector {
            key: "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
            nonce: "cafebabefacedbaddecaf888",
            plaintext: "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
                        b16aedf5aa0de657ba637b39",
            aad: "feedfacedeadbeeffeedfacedeadbeefabaddad2",
            ciphertext: "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
                         c5f61e6393ba7a0abcc9f662",
            tag: "76fc6ece0f4e1768cddf8853bb2d551b",
        },
        Vector {
            key: "b52c505a37d78eda5dd34f20c22540ea1b58963cf8e5bf8ffa85f9f2492505b4",
            nonce: "516c33929df5a3284ff463d7",
            plaintext: "",
            aad: "",
            ciphertext: "",
            tag: "bdc1ac884d332457a1d2664f168c76f0",
        },
        Vector {
            key: "78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223",
            nonce: "d79cf22d504cc793c3fb6c8a",
            plaintext: "",
            aad: "b96baa8c1c75a671bfb2d08d06be5f36",
            ciphertext: "",
            tag: "3e5d486aa2e30b22e040b85723a06e76",
        },
        Vector {
            key: "31bdadd96698c204aa9ce1448ea94ae1fb4a9a0b3c9d773b51bb1822666b8f22",
            nonce: "0d18e06c7c725ac9e362e1ce",
            plaintext: "2db5168e932556f8089a0622981d017d",
            aad: "",
            ciphertext: "fa4362189661d163fcd6a56d8bf0405a",
            tag: "d636ac1bbedd5cc3ee727dc2ab4a9489",
        },
        Vector {
            key: "5853c020946b35f2c58ec427152b840420c40029636adcbb027471378cfdde0f",
            nonce: "eec313dd07cc1b3e6b068a47",
            plaintext: "ce7458e56aef9061cb0c42ec2315565e6168f5a6249ffd31610b6d17ab64935e",
            aad: "1389b522c24a774181700553f0246bbabdd38d6f",
            ciphertext: "eadc3b8766a77ded1a58cb727eca2a9790496c298654cda78febf0da16b6903b",
            tag: "3d49a5b32fde7eafcce90079217ffb57",
        },
        Vector {
            key: "463b412911767d57a0b33969e674ffe7845d313b88c6fe312f3d724be68e1fca",
            nonce: "611ce6f9a6880750de7da6cb",
            plaintext: "e7d1dcf668e2876861940e012fe52a98dacbd78ab63c08842cc9801ea581682ad54af0c34d0d7f6f59e8ee0bf4900e0f\
                        d85042",
            aad: "0a682fbc6192e1b47a5e0868787ffdafe5a50cead3575849990cdd2ea9b3597749403efb4a56684f0c6bde352d4aeec5",
            ciphertext: "8886e196010cb3849d9c1a182abe1eeab0a5f3ca423c3669a4a8703c0f146e8e956fb122e0d721b869d2b6fcd4216d7d\
                         4d3758",
            tag: "2469cecd70fd98fec9264f71df1aee9a",
        },
    ];

    #[test]
    fn the_cipher_gives_the_known_answers_both_ways() {
        for vector in &KNOWN_ANSWERS {
            let bytes = |text: &str| hex::decode(text).unwrap();
            let key = DataKey::new(&KeyBytes::from_slice(&bytes(vector.key)).unwrap());
            let nonce = Nonce::from_bytes(bytes(vector.nonce).try_into().unwrap());
            let mut text = bytes(vector.plaintext);
            let tag = key.seal_in_place(&nonce, &bytes(vector.aad), &mut text).unwrap();
            assert_eq!((hex::encode(&text), hex::encode(tag)), (vector.ciphertext.into(), vector.tag.into()));
            assert!(key.open_in_place(&nonce, &bytes(vector.aad), &mut text, &tag));
            assert_eq!(hex::encode(&text), vector.plaintext);
        }
    }

    #[test]
    fn a_wrong_tag_leaves_the_ciphertext_undecrypted() {
        let key = DataKey::new(&KeyBytes::generate().unwrap());
        let nonce = Nonce::from_bytes([3; 12]);
        let mut text = *b"a body";
        let mut tag = key.seal_in_place(&nonce, b"", &mut text).unwrap();
        tag[0] ^= 1;
        let ciphertext = text;
        assert!(!key.open_in_place(&nonce, b"", &mut text, &tag));
        assert_eq!(text, ciphertext);
    }

    #[test]
    fn sse_104_a_data_key_has_256_bits_and_no_other_length() {
        assert_eq!(DATA_KEY_BYTES * 8, 256);
        assert!(KeyBytes::from_slice(&[1; 32]).is_some());
        assert!(KeyBytes::from_slice(&[1; 31]).is_none());
        assert!(KeyBytes::from_slice(&[1; 33]).is_none());
    }

    #[test]
    fn debug_shows_no_key_byte() {
        let bytes = KeyBytes::from_slice(&[0xA7; 32]).unwrap();
        assert_eq!(format!("{bytes:?} {:?}", DataKey::new(&bytes)), "KeyBytes(..) DataKey(..)");
    }

    #[test]
    fn taking_a_key_wipes_where_it_came_from() {
        let mut source = [9; 32];
        let key = KeyBytes::take(&mut source);
        assert_eq!((source, key.expose()), ([0; 32], &[9; 32]));
        assert!(key.same_as(&KeyBytes::from_slice(&[9; 32]).unwrap()));
        assert!(!key.same_as(&KeyBytes::from_slice(&[8; 32]).unwrap()));
    }
}
