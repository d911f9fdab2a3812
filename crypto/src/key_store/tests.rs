//! Statements of the key service contract, held against the whole store.

mod grants;

use std::collections::BTreeMap;

use super::cryptography::DataKeySize;
use super::lifecycle::NewKey;
use super::rotation::DAY_MS;
use super::sweep::DueEvent;
use super::testing::{Bench, NOW_MS, OTHER_ACCOUNT, root, scope};
use super::*;
use crate::EncryptionContext;
use crate::entropy::SystemEntropy;
use grants::{create_grant, new_grant};

const GRANTEE: &str = "arn:aws:iam::111122223333:user/ann";
const RITA: &str = "arn:aws:iam::111122223333:user/rita";

fn queue_context() -> EncryptionContext {
    EncryptionContext::for_queue("arn:aws:sqs:eu-central-1:111122223333:orders")
}

fn page() -> Page {
    Page::new(PageLimits::KEYS, None, None).unwrap()
}

fn encrypt(bench: &Bench, key: KeyId, context: &EncryptionContext) -> Vec<u8> {
    bench.store.encrypt(key, b"plain", context, false, &mut SystemEntropy).unwrap().ciphertext_blob
}

fn rotate(bench: &mut Bench, key: KeyId) {
    let prepared = bench.store.prepare_rotate(key, NOW_MS, &mut SystemEntropy).unwrap();
    bench.commit(prepared.mutation);
}

fn schedule_deletion(bench: &mut Bench, key: KeyId) {
    let prepared = bench.store.prepare_schedule_deletion(key, Some(7), NOW_MS, &mut SystemEntropy).unwrap();
    assert_eq!(prepared.reply.deletion_at_ms, NOW_MS + 7 * DAY_MS);
    bench.commit(prepared.mutation);
}

fn sweep(bench: &mut Bench, now_ms: u64) -> Vec<DueEvent> {
    let due = bench.store.due(now_ms, &mut SystemEntropy).unwrap();
    let mut events = Vec::new();
    for due in due {
        bench.commit(due.mutation);
        events.push(due.event);
    }
    events
}

fn managed_key(bench: &mut Bench) -> KeyId {
    let prepared = bench.store.ensure_managed_key(&scope(), NOW_MS, &mut SystemEntropy).unwrap();
    bench.commit(prepared.mutation);
    prepared.reply
}

#[test]
fn kms_1_one_to_4096_bytes_round_trip() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let store = &bench.store;
    for len in [1, 4_096] {
        let plaintext = vec![7; len];
        let encrypted = store.encrypt(key, &plaintext, &queue_context(), false, &mut SystemEntropy).unwrap();
        let decrypted = store.decrypt(&encrypted.ciphertext_blob, None, &queue_context(), false).unwrap();
        assert_eq!(*decrypted.plaintext, plaintext);
    }
}

#[test]
fn kms_2_any_other_context_is_invalid_ciphertext_without_a_message() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let right: EncryptionContext = [("Name", "Value"), ("b", "c")].into_iter().collect();
    let blob = encrypt(&bench, key, &right);
    let wrong: [&[(&str, &str)]; 5] = [
        &[],
        &[("Name", "Value")],
        &[("Name", "Value"), ("b", "c"), ("d", "e")],
        &[("name", "Value"), ("b", "c")],
        &[("Name", "value"), ("b", "c")],
    ];
    for pairs in wrong {
        let context = pairs.iter().copied().collect();
        let error = bench.store.decrypt(&blob, None, &context, false).unwrap_err();
        assert_eq!((error.name(), error.to_string().as_str()), ("InvalidCiphertextException", ""));
    }
    assert!(bench.store.decrypt(&blob, None, &right, false).is_ok());
    let no_context = encrypt(&bench, key, &EncryptionContext::new());
    assert!(bench.store.decrypt(&no_context, None, &EncryptionContext::default(), false).is_ok());
}

#[test]
fn kms_2_no_bytes_open_but_those_that_were_sealed() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let blob = encrypt(&bench, key, &queue_context());
    let open = |bytes: &[u8]| bench.store.decrypt(bytes, None, &queue_context(), false);
    for bit in 0..blob.len() * 8 {
        let mut altered = blob.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(open(&altered), Err(KmsError::InvalidCiphertext), "bit {bit}");
    }
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/ciphertext_blob");
    for seed in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(seed.unwrap().path()).unwrap();
        assert_eq!(open(&bytes), Err(KmsError::InvalidCiphertext));
        let altered: Vec<u8> = blob
            .iter()
            .zip(bytes.iter().chain(std::iter::repeat(&0)))
            .map(|(byte, change)| byte ^ change)
            .collect();
        assert_eq!(open(&altered).is_ok(), altered == blob);
    }
}

#[test]
fn kms_3_decrypt_finds_the_key_and_refuses_another() {
    let mut bench = Bench::new();
    let (key, other) = (bench.create_key(), bench.create_key());
    let blob = encrypt(&bench, key, &queue_context());
    assert_eq!(bench.store.key_of_blob(&blob), Ok(key));
    assert!(bench.store.decrypt(&blob, Some(key), &queue_context(), false).is_ok());
    let error = bench.store.decrypt(&blob, Some(other), &queue_context(), false).unwrap_err();
    assert_eq!(error.name(), "IncorrectKeyException");
    for foreign in [&b"x"[..], &[0; 60], &[1; 60]] {
        assert_eq!(bench.store.key_of_blob(foreign), Err(KmsError::InvalidCiphertext));
    }
}

#[test]
fn kms_4_replies_carry_the_key_arn_when_an_alias_was_used() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    bench.create_alias("alias/orders", key);
    let found = bench.store.resolve("alias/orders", &scope(), Action::Encrypt).unwrap();
    let encrypted = bench.store.encrypt(found, b"x", &queue_context(), false, &mut SystemEntropy).unwrap();
    assert_eq!(encrypted.key_arn, scope().key_arn(&key.to_string()));
    let decrypted =
        bench.store.decrypt(&encrypted.ciphertext_blob, Some(found), &queue_context(), false).unwrap();
    assert_eq!(decrypted.key_arn, encrypted.key_arn);
}

#[test]
fn kms_5_every_old_blob_decrypts_after_any_number_of_rotations() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let arn = bench.store.key_arn(key).unwrap();
    let mut blobs = Vec::new();
    for _ in 0..=rotation::ON_DEMAND_ROTATIONS_MAX {
        let encrypted =
            bench.store.encrypt(key, b"plain", &queue_context(), false, &mut SystemEntropy).unwrap();
        blobs.push((encrypted.key_material_id, encrypted.ciphertext_blob));
        if blobs.len() <= rotation::ON_DEMAND_ROTATIONS_MAX as usize {
            rotate(&mut bench, key);
        }
    }
    let used_up = bench.store.prepare_rotate(key, NOW_MS, &mut SystemEntropy).unwrap_err();
    assert_eq!(used_up, KmsError::RotationsUsedUp { arn: arn.clone() });
    bench.restart();
    for (material_id, blob) in &blobs {
        let decrypted = bench.store.decrypt(blob, None, &queue_context(), false).unwrap();
        assert_eq!(decrypted.plaintext.as_slice(), b"plain");
        assert_eq!((&decrypted.key_material_id, &decrypted.key_arn), (material_id, &arn));
    }
    let distinct: std::collections::BTreeSet<_> = blobs.iter().map(|(id, _)| id).collect();
    assert_eq!(distinct.len(), blobs.len());
    let listed = bench.store.list_rotations(key, true, &page()).unwrap().entries;
    assert_eq!(listed.len(), blobs.len());
    assert_eq!((listed[0].rotated_at_ms, listed[0].key_material_state), (None, Some("NON_CURRENT")));
    assert_eq!(listed.last().unwrap().key_material_state, Some("CURRENT"));
    assert_eq!(bench.store.list_rotations(key, false, &page()).unwrap().entries.len(), blobs.len() - 1);
}

#[test]
fn kms_5_automatic_rotation_follows_its_schedule_only_while_enabled() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let old = encrypt(&bench, key, &queue_context());
    let enabled = bench.store.prepare_enable_rotation(key, Some(90), NOW_MS, &mut SystemEntropy);
    bench.commit(enabled.unwrap());
    let due = NOW_MS + 90 * DAY_MS;
    assert_eq!(bench.store.next_due_at_ms(), Some(due));
    assert!(sweep(&mut bench, due - 1).is_empty());
    let disable = bench.store.prepare_disable(key, &mut SystemEntropy).unwrap();
    bench.commit(disable);
    assert!(sweep(&mut bench, due).is_empty());
    let enable = bench.store.prepare_enable(key, &mut SystemEntropy).unwrap();
    bench.commit(enable);
    assert!(matches!(sweep(&mut bench, due + DAY_MS)[..], [DueEvent::Rotated { .. }]));
    assert!(sweep(&mut bench, due + DAY_MS).is_empty());
    let status = bench.store.rotation_status(key).unwrap();
    assert_eq!(status.next_rotation_at_ms, Some(due + 90 * DAY_MS));
    assert!(bench.store.decrypt(&old, None, &queue_context(), false).is_ok());
    schedule_deletion(&mut bench, key);
    assert!(!bench.store.rotation_status(key).unwrap().key_rotation_enabled);
    let cancelled = bench.store.prepare_cancel_deletion(key, &mut SystemEntropy).unwrap();
    bench.commit(cancelled.mutation);
    assert!(bench.store.rotation_status(key).unwrap().key_rotation_enabled);
}

#[test]
fn kms_6_a_data_key_has_exactly_one_size() {
    for (spec, count) in [(Some("AES_256"), Some(32)), (None, None)] {
        assert_eq!(DataKeySize::new(spec, count).unwrap_err().name(), "ValidationException");
    }
    let mut bench = Bench::new();
    let key = bench.create_key();
    for (spec, count, len) in
        [(Some("AES_256"), None, 32), (Some("AES_128"), None, 16), (None, Some(1_024), 1_024)]
    {
        let size = DataKeySize::new(spec, count).unwrap();
        let made = bench.store.generate_data_key(
            key,
            Action::GenerateDataKey,
            size,
            &queue_context(),
            false,
            &mut SystemEntropy,
        );
        let made = made.unwrap();
        let opened = bench.store.decrypt(&made.encrypted.ciphertext_blob, None, &queue_context(), false);
        assert_eq!(opened.unwrap().plaintext, made.plaintext);
        assert_eq!(made.plaintext.len(), len);
    }
    assert_eq!(KeyStore::generate_random(1_024, &mut SystemEntropy).unwrap().len(), 1_024);
}

#[test]
fn kms_7_states_take_effect_at_once_and_survive_a_restart() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let blob = encrypt(&bench, key, &queue_context());
    let disable = bench.store.prepare_disable(key, &mut SystemEntropy).unwrap();
    bench.commit(disable);
    assert!(bench.store.prepare_disable(key, &mut SystemEntropy).unwrap().is_empty());
    bench.restart();
    let refused = bench.store.decrypt(&blob, None, &queue_context(), false).unwrap_err();
    assert_eq!(refused.name(), "DisabledException");
    let metadata = bench.store.describe_key(key).unwrap();
    assert_eq!((metadata.enabled, metadata.key_state), (false, KeyState::Disabled));
    let enable = bench.store.prepare_enable(key, &mut SystemEntropy).unwrap();
    bench.commit(enable);
    assert!(bench.store.decrypt(&blob, None, &queue_context(), false).is_ok());
}

#[test]
fn an_algorithm_that_a_symmetric_key_does_not_have_is_refused() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    assert!(bench.store.check_algorithm(key, None).is_ok());
    assert!(bench.store.check_algorithm(key, Some("SYMMETRIC_DEFAULT")).is_ok());
    let other = bench.store.check_algorithm(key, Some("RSAES_OAEP_SHA_256")).unwrap_err();
    assert_eq!(other.name(), "InvalidKeyUsageException");
}

#[test]
fn a_policy_has_at_most_32_kib_and_keeps_the_ids_it_was_written_with() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let ids = BTreeMap::from([(GRANTEE.to_owned(), "AIDAANN".to_owned())]);
    let put = |bench: &Bench, bytes: usize| {
        bench.store.prepare_put_policy(key, None, &"x".repeat(bytes), ids.clone(), &mut SystemEntropy)
    };
    assert_eq!(put(&bench, 32_769).unwrap_err().name(), "LimitExceededException");
    let longest = put(&bench, 32_768).unwrap();
    bench.commit(longest);
    bench.restart();
    assert_eq!(bench.store.bound_policy(key).unwrap().1, &ids);
}

#[test]
fn kms_7_a_key_of_another_usage_is_refused_before_its_state() {
    let mut bench = Bench::new();
    let hmac = NewKey {
        spec: Some(KeySpec::Hmac256),
        usage: Some(KeyUsage::GenerateVerifyMac),
        ..NewKey::default()
    };
    let key = bench.create(hmac);
    let error = bench.store.encrypt(key, b"x", &queue_context(), false, &mut SystemEntropy).unwrap_err();
    assert_eq!(error.name(), "InvalidKeyUsageException");
    let arn = bench.store.key_arn(key).unwrap();
    assert_eq!(
        error.to_string(),
        format!("{arn} key usage is GENERATE_VERIFY_MAC which is not valid for Encrypt.")
    );
    assert_eq!(bench.store.describe_key(key).unwrap().current_key_material_id, None);
    let missing = NewKey { spec: Some(KeySpec::Hmac256), ..NewKey::default() };
    let missing = bench.store.prepare_create_key(&scope(), missing, NOW_MS, &mut SystemEntropy).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
    );
}

#[test]
fn kms_8_cancelling_a_deletion_leaves_the_key_disabled() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    schedule_deletion(&mut bench, key);
    assert_eq!(bench.store.describe_key(key).unwrap().key_state, KeyState::PendingDeletion);
    let cancelled = bench.store.prepare_cancel_deletion(key, &mut SystemEntropy).unwrap();
    bench.commit(cancelled.mutation);
    let metadata = bench.store.describe_key(key).unwrap();
    assert_eq!((metadata.key_state, metadata.deletion_at_ms), (KeyState::Disabled, None));
}

#[test]
fn kms_11_the_managed_key_is_one_and_its_alias_belongs_to_the_service() {
    let mut bench = Bench::new();
    assert!(bench.store.is_unmade_managed_alias("alias/aws/sqs", &scope()));
    let key = managed_key(&mut bench);
    assert_eq!(managed_key(&mut bench), key);
    assert!(!bench.store.is_unmade_managed_alias("alias/aws/sqs", &scope()));
    bench.restart();
    assert_eq!(bench.store.resolve("alias/aws/sqs", &scope(), Action::Encrypt), Ok(key));
    let other = Scope { account: OTHER_ACCOUNT.into(), ..scope() };
    assert!(bench.store.resolve("alias/aws/sqs", &other, Action::Encrypt).is_err());
    assert_eq!(bench.store.list_keys(&scope(), &page()).entries.len(), 1);

    let customer = bench.create_key();
    let (store, entropy) = (&bench.store, &mut SystemEntropy);
    let alias_errors = [
        store.prepare_create_alias(&scope(), "alias/aws/x", customer, NOW_MS, entropy).unwrap_err(),
        store.prepare_update_alias(&scope(), "alias/aws/sqs", customer, NOW_MS, entropy).unwrap_err(),
        store.prepare_delete_alias(&scope(), "alias/aws/sqs", entropy).unwrap_err(),
    ];
    assert!(alias_errors.iter().all(|error| error.name() == "NotAuthorizedException"), "{alias_errors:?}");
    let key_errors = [
        store.prepare_disable(key, entropy).unwrap_err(),
        store.prepare_schedule_deletion(key, None, NOW_MS, entropy).unwrap_err(),
        store.prepare_put_policy(key, None, "{}", BTreeMap::new(), entropy).unwrap_err(),
        store.prepare_rotate(key, NOW_MS, entropy).unwrap_err(),
    ];
    assert!(key_errors.iter().all(|error| error.name() == "UnsupportedOperationException"), "{key_errors:?}");
    assert!(store.rotation_status(key).unwrap().key_rotation_enabled);
    assert_eq!(store.describe_key(key).unwrap().key_manager, KeyManager::Aws);
    assert!(matches!(sweep(&mut bench, NOW_MS + 365 * DAY_MS)[..], [DueEvent::Rotated { .. }]));
}

#[test]
fn kms_11_a_crash_while_the_managed_key_is_made_leaves_no_second_one() {
    let mut bench = Bench::new();
    let prepared = bench.store.ensure_managed_key(&scope(), NOW_MS, &mut SystemEntropy).unwrap();
    bench.catalog.extend(prepared.mutation.puts.into_iter().take(1));
    let mut bench = Bench::start(root(), None, bench.catalog).unwrap();
    assert!(bench.store.is_unmade_managed_alias("alias/aws/sqs", &scope()));
    assert_eq!(managed_key(&mut bench), prepared.reply);
    assert_eq!(bench.store.list_keys(&scope(), &page()).entries.len(), 1);
}

#[test]
fn kms_15_nothing_that_prints_shows_secret_bytes() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let prepared = bench.store.prepare_rotate(key, NOW_MS, &mut SystemEntropy).unwrap();
    let secrets: Vec<String> = prepared
        .mutation
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Put(Entry::Key(key)) => Some(&key.materials),
            _ => None,
        })
        .flatten()
        .filter_map(|material| material.secret.as_ref())
        .map(|secret| format!("{:?}", secret.bytes()))
        .collect();
    assert_eq!(secrets.len(), 2);
    let printed = format!("{prepared:?} {:?}", bench.store);
    assert!(secrets.iter().all(|secret| !printed.contains(secret.trim_matches(['[', ']']))));
    let data_key = bench
        .store
        .generate_data_key(
            key,
            Action::GenerateDataKey,
            DataKeySize::AES_256,
            &queue_context(),
            false,
            &mut SystemEntropy,
        )
        .unwrap();
    let plaintext = format!("{:?}", data_key.plaintext.as_slice());
    assert!(!format!("{data_key:?}").contains(plaintext.trim_matches(['[', ']'])));
}

#[test]
fn aliases_are_unique_move_between_like_keys_and_leave_the_key() {
    let mut bench = Bench::new();
    let (one, two) = (bench.create_key(), bench.create_key());
    bench.create_alias("alias/a", one);
    let (store, entropy) = (&bench.store, &mut SystemEntropy);
    let taken = store.prepare_create_alias(&scope(), "alias/a", two, NOW_MS, entropy).unwrap_err();
    assert_eq!(taken.name(), "AlreadyExistsException");
    let prefix = store.prepare_create_alias(&scope(), "a", one, NOW_MS, entropy).unwrap_err();
    assert_eq!(
        prefix.to_string(),
        "Alias must start with the prefix \"alias/\". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    );
    for name in ["alias/", "alias/a b", "alias/ä"] {
        let error = store.prepare_create_alias(&scope(), name, one, NOW_MS, entropy).unwrap_err();
        assert_eq!(error.name(), "InvalidAliasNameException", "{name}");
    }
    let moved = store.prepare_update_alias(&scope(), "alias/a", two, NOW_MS + 1, entropy).unwrap();
    bench.commit(moved);
    assert_eq!(bench.store.alias_target(&scope(), "alias/a"), Ok(two));
    let hmac = NewKey {
        spec: Some(KeySpec::Hmac256),
        usage: Some(KeyUsage::GenerateVerifyMac),
        ..NewKey::default()
    };
    let hmac = bench.create(hmac);
    let unlike = bench.store.prepare_update_alias(&scope(), "alias/a", hmac, NOW_MS, &mut SystemEntropy);
    assert_eq!(unlike.unwrap_err().name(), "ValidationException");
    let listed = bench.store.list_aliases(&scope(), Some(two), &page()).entries;
    assert_eq!((listed[0].created_at_ms, listed[0].updated_at_ms), (Some(NOW_MS), Some(NOW_MS + 1)));
    let deleted = bench.store.prepare_delete_alias(&scope(), "alias/a", &mut SystemEntropy).unwrap();
    bench.commit(deleted);
    bench.restart();
    assert!(bench.store.alias_target(&scope(), "alias/a").is_err());
    assert!(bench.store.describe_key(two).is_ok());
}

#[test]
fn a_key_has_at_most_fifty_aliases() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    for n in 0..alias::ALIASES_PER_KEY_MAX {
        bench.create_alias(&format!("alias/{n}"), key);
    }
    let over = bench.store.prepare_create_alias(&scope(), "alias/over", key, NOW_MS, &mut SystemEntropy);
    assert_eq!(over.unwrap_err().name(), "LimitExceededException");
    let same = bench.store.prepare_update_alias(&scope(), "alias/0", key, NOW_MS, &mut SystemEntropy);
    assert!(same.unwrap().is_empty());
}

#[test]
fn kms_14_a_dry_run_passes_all_checks_and_changes_nothing() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let made = create_grant(&mut bench, key, &new_grant(None, None));
    let blob = encrypt(&bench, key, &queue_context());
    let (store, entropy, context) = (&bench.store, &mut SystemEntropy, queue_context());
    let before = bench.catalog.clone();
    let errors = [
        store.encrypt(key, b"x", &context, true, entropy).unwrap_err(),
        store.decrypt(&blob, None, &context, true).unwrap_err(),
        store.re_encrypt((&blob, None, &context), (key, &context), true, entropy).unwrap_err(),
        store
            .generate_data_key(key, Action::GenerateDataKey, DataKeySize::AES_256, &context, true, entropy)
            .unwrap_err(),
        store.prepare_create_grant(key, &new_grant(None, None), true, NOW_MS, entropy).unwrap_err(),
        store
            .prepare_remove_grant(key, store.grant(key, &made.grant_id).unwrap().id, true, entropy)
            .unwrap_err(),
    ];
    assert!(errors.iter().all(|error| *error == KmsError::DryRun), "{errors:?}");
    let wrong = store.decrypt(&blob, None, &EncryptionContext::new(), true).unwrap_err();
    assert_eq!(wrong, KmsError::InvalidCiphertext);
    bench.restart();
    assert_eq!(bench.catalog, before);
    assert_eq!(bench.store.list_grants(key, None, None, &page()).unwrap().entries.len(), 1);
}

#[test]
fn re_encryption_moves_a_blob_to_another_key_and_context() {
    let mut bench = Bench::new();
    let (one, two) = (bench.create_key(), bench.create_key());
    let blob = encrypt(&bench, one, &queue_context());
    let empty = EncryptionContext::new();
    let moved = bench
        .store
        .re_encrypt((&blob, Some(one), &queue_context()), (two, &empty), false, &mut SystemEntropy)
        .unwrap();
    assert_eq!(moved.source_key_arn, bench.store.key_arn(one).unwrap());
    let opened = bench.store.decrypt(&moved.encrypted.ciphertext_blob, Some(two), &empty, false).unwrap();
    assert_eq!(opened.plaintext.as_slice(), b"plain");
}

#[test]
fn kms_16_the_catalog_shows_nothing_and_every_flipped_bit_is_detected() {
    let mut bench = Bench::new();
    let key = bench.create(NewKey { description: "visible words".into(), ..NewKey::default() });
    bench.create_alias("alias/a", key);
    let _ = create_grant(&mut bench, key, &new_grant(None, None));
    let secret = *bench.store.keys[&key].materials[0].secret.as_ref().unwrap().bytes();
    for value in bench.catalog.values() {
        assert!(!value.windows(32).any(|window| window == secret));
        assert!(!value.windows(13).any(|window| window == b"visible words"));
    }
    for (name, value) in bench.catalog.clone() {
        for byte in 0..value.len() {
            let mut damaged = bench.catalog.clone();
            damaged.get_mut(&name).unwrap()[byte] ^= 1 << (byte % 8);
            assert!(Bench::start(root(), None, damaged).is_err(), "byte {byte}");
        }
        let mut cut = bench.catalog.clone();
        cut.get_mut(&name).unwrap().pop();
        assert!(Bench::start(root(), None, cut).is_err());
    }
    let other = Bench::start(RootKey::from_bytes(&[2; 32]), None, bench.catalog.clone());
    assert!(matches!(other.err(), Some(LoadError::OtherRoot { .. })));
}

#[test]
fn kms_16_entries_cannot_change_places_and_the_secret_cannot_get_lost() {
    let mut bench = Bench::new();
    let (one, two) = (bench.create_key(), bench.create_key());
    let [one, two] = [one, two].map(|id| format!("kms/key/{id}").into_bytes());
    let mut swapped = bench.catalog.clone();
    let value = swapped[&one].clone();
    swapped.insert(two, value);
    assert!(matches!(Bench::start(root(), None, swapped).err(), Some(LoadError::Damaged { .. })));
    let mut lost = bench.catalog.clone();
    lost.remove(b"kms/secret".as_slice());
    assert_eq!(Bench::start(root(), None, lost).err(), Some(LoadError::SecretMissing));
}

#[test]
fn a_new_root_seals_everything_anew_and_changes_nothing_else() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    bench.create_alias("alias/a", key);
    let _ = create_grant(&mut bench, key, &new_grant(None, None));
    let blob = encrypt(&bench, key, &queue_context());
    let (before, service) = (bench.catalog.clone(), bench.store.sub_key(SubKey::Service));
    let new_root = RootKey::from_bytes(&[2; 32]);
    let rewrapped = bench.store.rewrap(new_root.clone(), &mut SystemEntropy).unwrap();
    let first_half: Vec<_> = rewrapped.puts.iter().take(2).cloned().collect();
    bench.commit(rewrapped);

    let mut interrupted = before;
    interrupted.extend(first_half);
    let torn = Bench::start(new_root.clone(), Some(&root()), interrupted).unwrap();
    for catalog in [bench.catalog, torn.catalog] {
        assert!(Bench::start(root(), None, catalog.clone()).is_err());
        let bench = Bench::start(new_root.clone(), None, catalog).unwrap();
        assert!(bench.store.decrypt(&blob, None, &queue_context(), false).is_ok());
        assert_eq!(bench.store.resolve("alias/a", &scope(), Action::Encrypt), Ok(key));
        assert_eq!(bench.store.sub_key(SubKey::Service), service);
    }
}

#[test]
fn kms_17_a_destroyed_key_never_decrypts_again() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    bench.create_alias("alias/a", key);
    let _ = create_grant(&mut bench, key, &new_grant(None, None));
    let blob = encrypt(&bench, key, &queue_context());
    schedule_deletion(&mut bench, key);
    let pending = bench.store.decrypt(&blob, None, &queue_context(), false).unwrap_err();
    assert_eq!(pending.name(), "KMSInvalidStateException");
    assert!(sweep(&mut bench, NOW_MS + 7 * DAY_MS - 1).is_empty());
    let interrupted = bench.store.due(NOW_MS + 7 * DAY_MS, &mut SystemEntropy).unwrap().pop().unwrap();
    for name in interrupted.mutation.deletes.iter().take(2) {
        bench.catalog.remove(name);
    }
    let mut bench = Bench::start(root(), None, bench.catalog).unwrap();
    assert_eq!(sweep(&mut bench, NOW_MS + 7 * DAY_MS), [DueEvent::Destroyed]);
    bench.restart();
    assert_eq!(bench.catalog.len(), 1, "only the service secret is left");
    assert_eq!(bench.store.decrypt(&blob, None, &queue_context(), false), Err(KmsError::InvalidCiphertext));
    assert!(bench.store.resolve("alias/a", &scope(), Action::Decrypt).is_err());

    let fresh = bench.create_key();
    bench.create_alias("alias/a", fresh);
    let through_alias = bench.store.resolve("alias/a", &scope(), Action::Decrypt).unwrap();
    let refused = bench.store.decrypt(&blob, Some(through_alias), &queue_context(), false).unwrap_err();
    assert_eq!(refused, KmsError::InvalidCiphertext);
    let arn = scope().key_arn(&key.to_string());
    assert_eq!(
        bench.store.resolve(&arn, &scope(), Action::Decrypt).unwrap_err(),
        KmsError::KeyNotFound { arn }
    );
}

#[test]
fn metadata_has_the_members_of_the_wire() {
    let mut bench = Bench::new();
    let key = bench.create_key();
    let wire = serde_json::to_value(bench.store.describe_key(key).unwrap()).unwrap();
    let names: Vec<_> = wire.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "AWSAccountId",
            "Arn",
            "CreationDate",
            "CurrentKeyMaterialId",
            "CustomerMasterKeySpec",
            "Description",
            "Enabled",
            "EncryptionAlgorithms",
            "KeyId",
            "KeyManager",
            "KeySpec",
            "KeyState",
            "KeyUsage",
            "MultiRegion",
            "Origin"
        ]
    );
    assert_eq!(wire["CreationDate"], NOW_MS as f64 / 1_000.0);
    assert_eq!(wire["KeyState"], "Enabled");
    assert_eq!(wire["CurrentKeyMaterialId"].as_str().unwrap().len(), 64);
}
