//! Any bytes as a ciphertext blob: refused, unless they are what the key service sealed, in the context it was sealed in.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::lifecycle::NewKey;
use sealq_crypto::key_store::{KeyId, KeyStore, Scope};
use sealq_crypto::root_key::RootKey;

/// A store with one key, and a blob of it.
fn store() -> &'static (KeyStore, Vec<u8>) {
    static STORE: OnceLock<(KeyStore, Vec<u8>)> = OnceLock::new();
    STORE.get_or_init(|| {
        let loaded = KeyStore::load(RootKey::from_bytes(&[1; 32]), None, [], &mut SystemEntropy).unwrap();
        let mut store = loaded.store;
        store.commit(loaded.pending);
        let scope = Scope { partition: "aws".into(), account: "000000000000".into(), region: "r".into() };
        let made = store.prepare_create_key(&scope, NewKey::default(), 1, &mut SystemEntropy).unwrap();
        store.commit(made.mutation);
        let key = KeyId::parse(&made.reply.key_id).unwrap();
        let blob = store.encrypt(key, b"plain", &EncryptionContext::new(), false, &mut SystemEntropy).unwrap();
        (store, blob.ciphertext_blob)
    })
}

fuzz_target!(|bytes: &[u8]| {
    let (store, sealed) = store();
    let context = EncryptionContext::new();
    assert!(store.decrypt(bytes, None, &context, false).is_err(), "opened what was not sealed");
    // The head is good from here on: what is behind it is not.
    let mut altered = sealed.clone();
    for (byte, change) in altered.iter_mut().zip(bytes) {
        *byte ^= change;
    }
    let opened = store.decrypt(&altered, None, &context, false);
    assert_eq!(opened.is_ok(), altered == *sealed);
});
