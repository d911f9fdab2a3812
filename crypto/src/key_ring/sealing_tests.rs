//! Statements about data keys for sending.

use std::{collections::HashSet, task::Poll, thread};

use super::scripted_service::{
    Call::{Decrypt, Generate},
    KEY_A, KEY_B, Queue, Rig, block_on, poll_once, same_data_key,
};
use crate::{
    data_key::DATA_KEY_BYTES,
    encryption_context::EncryptionContext,
    key_ring::KeyUse,
    key_service::{KeyService, KeyServiceError, Refusal},
    nonce::SEALS_PER_KEY_MAX,
    sealed_message::SealedMessage,
};

fn queue(reuse_period_s: u32) -> Queue {
    Queue::new(1, KEY_A, reuse_period_s)
}

#[test]
fn sse_103_decrypt_of_the_stored_wrapped_key_with_the_context_gives_32_bytes() {
    let rig = Rig::new();
    let stored = rig.send(0, "alice", &queue(300)).unwrap();
    let message = SealedMessage::parse(&stored).unwrap();
    let (caller, context) = ("alice".to_owned(), EncryptionContext::for_queue(message.context_arn()));
    let answer = rig.service().decrypt(&caller, message.wrapped_key(), message.key_arn(), &context);
    assert_eq!(block_on(answer).unwrap().plaintext.expose().len(), DATA_KEY_BYTES);
}

#[test]
fn sse_105_the_first_send_of_a_period_is_one_generate_and_then_one_decrypt() {
    let rig = Rig::new();
    rig.send(0, "alice", &queue(300)).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
}

#[test]
fn sse_106_later_sends_in_the_period_make_no_call_and_carry_the_same_wrapped_key() {
    let (rig, queue) = (Rig::new(), queue(300));
    let first = rig.send(0, "alice", &queue).unwrap();
    rig.calls();
    for now_s in 1..300 {
        assert!(same_data_key(&first, &rig.send(now_s, "alice", &queue).unwrap()));
    }
    assert_eq!(rig.calls(), []);
    assert_eq!(rig.uses.count(1, "alice", KeyUse::SealingHit), 299);
    assert_eq!(rig.uses.count(1, "alice", KeyUse::DataKeyGenerated), 1);
}

#[test]
fn sse_107_a_send_just_after_the_period_makes_a_new_data_key() {
    let (rig, queue) = (Rig::new(), queue(300));
    let first = rig.send(0, "alice", &queue).unwrap();
    rig.calls();
    let second = rig.send(300, "alice", &queue).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert!(!same_data_key(&first, &second));
}

#[test]
fn sse_108_use_does_not_prolong_the_period() {
    let (rig, queue) = (Rig::new(), queue(300));
    for now_s in (0..=299).step_by(13) {
        rig.send(now_s, "alice", &queue).unwrap();
    }
    rig.send(299, "alice", &queue).unwrap();
    rig.calls();
    rig.send(300, "alice", &queue).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
}

#[test]
fn a_clock_set_back_ends_the_period_instead_of_prolonging_it() {
    let (rig, queue) = (Rig::new(), queue(300));
    let first = rig.send(10_000, "alice", &queue).unwrap();
    rig.calls();
    assert!(same_data_key(&first, &rig.send(9_990, "alice", &queue).unwrap()));
    assert!(!same_data_key(&first, &rig.send(9_989, "alice", &queue).unwrap()));
    assert_eq!(rig.calls(), [Generate, Decrypt]);
}

#[test]
fn sse_110_a_data_key_whose_verifying_decrypt_differs_is_not_used() {
    let (rig, queue) = (Rig::new(), queue(300));
    rig.service().corrupt_decrypt();
    for now_s in 0..2 {
        assert!(matches!(rig.send(now_s, "alice", &queue), Err(KeyServiceError::Inconsistent { .. })));
        assert_eq!(rig.calls(), [Generate, Decrypt]);
    }
    assert_eq!(rig.ring.data_keys_held(), (0, 0));
}

#[test]
fn sse_110_a_data_key_whose_verifying_decrypt_fails_is_not_used() {
    let (rig, queue) = (Rig::new(), queue(300));
    rig.service().deny(Decrypt, "alice");
    let error = rig.send(0, "alice", &queue).unwrap_err();
    assert!(matches!(error, KeyServiceError::Refused { kind: Refusal::AccessDenied, .. }));
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert_eq!(rig.ring.data_keys_held(), (0, 0));
}

#[test]
fn sse_114_the_reuse_period_in_force_is_the_queues_value_at_the_moment_of_use() {
    let rig = Rig::new();
    rig.send(0, "alice", &queue(300)).unwrap();
    rig.calls();
    rig.send(100, "alice", &queue(101)).unwrap();
    assert_eq!(rig.calls(), []);
    rig.send(100, "alice", &queue(100)).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
}

#[test]
fn sse_115_with_60_s_sends_at_0_and_59_share_a_data_key_and_61_does_not() {
    let (rig, queue) = (Rig::new(), queue(60));
    let [at_0, at_59, at_61] = [0, 59, 61].map(|now_s| rig.send(now_s, "alice", &queue).unwrap());
    assert!(same_data_key(&at_0, &at_59));
    assert!(!same_data_key(&at_0, &at_61));
}

#[test]
fn sse_116_with_86400_s_sends_23_h_59_min_apart_share_a_data_key() {
    let (rig, queue) = (Rig::new(), queue(86_400));
    let [first, second] = [0, 23 * 3_600 + 59 * 60].map(|now_s| rig.send(now_s, "alice", &queue).unwrap());
    assert!(same_data_key(&first, &second));
}

#[test]
fn sse_117_sse_118_different_principals_never_share_a_data_key() {
    let (rig, queue) = (Rig::new(), queue(300));
    let [alice, bob, other_account] = ["000000000000/alice", "000000000000/bob", "111111111111/alice"]
        .map(|principal| rig.send(0, principal, &queue).unwrap());
    assert!(!same_data_key(&alice, &bob) && !same_data_key(&alice, &other_account));
    assert!(!same_data_key(&bob, &other_account));
}

#[test]
fn sse_119_two_callers_that_stand_for_one_principal_share_a_data_key() {
    let (rig, queue) = (Rig::new(), queue(300));
    let one = rig.send_as(0, "role/session-1", "role", &queue).unwrap();
    let other = rig.send_as(1, "role/session-2", "role", &queue).unwrap();
    assert!(same_data_key(&one, &other));
}

#[test]
fn sse_121_two_queues_with_one_key_never_share_a_data_key() {
    let rig = Rig::new();
    let one = rig.send(0, "alice", &Queue::new(1, KEY_A, 300)).unwrap();
    let other = rig.send(0, "alice", &Queue::new(2, KEY_A, 300)).unwrap();
    assert!(!same_data_key(&one, &other));
}

#[test]
fn sse_123_n_producers_make_n_generate_calls_a_period() {
    let (rig, queue) = (Rig::new(), queue(300));
    for now_s in [0, 1, 150, 299] {
        for number in 0..7 {
            rig.send(now_s, &format!("producer-{number}"), &queue).unwrap();
        }
    }
    assert_eq!(rig.calls().into_iter().filter(|call| *call == Generate).count(), 7);
}

#[test]
fn sse_128_a_restart_empties_the_caches_and_never_seals_under_an_opened_key() {
    let (rig, queue) = (Rig::new(), queue(300));
    let before = rig.send(0, "alice", &queue).unwrap();
    let rig = rig.restarted();
    rig.receive(1, "alice", &queue, &before).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
    let after = rig.send(2, "alice", &queue).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert!(!same_data_key(&before, &after));
}

#[test]
fn sse_129_concurrent_misses_of_one_principal_make_one_generate_call() {
    let (rig, queue) = (Rig::new(), queue(300));
    rig.service().hold();
    let stored: Vec<_> = thread::scope(|scope| {
        let sends: Vec<_> = (0..16).map(|_| scope.spawn(|| rig.send(0, "alice", &queue).unwrap())).collect();
        while rig.service().calls().is_empty() {
            thread::yield_now();
        }
        rig.service().release();
        sends.into_iter().map(|send| send.join().unwrap()).collect()
    });
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert!(stored.iter().all(|bytes| same_data_key(bytes, &stored[0])));
    let nonces: HashSet<_> =
        stored.iter().map(|bytes| SealedMessage::parse(bytes).unwrap().nonce()).collect();
    assert_eq!(nonces.len(), 16, "sixteen threads sealed under one key with sixteen nonces");
    assert_eq!(rig.uses.count(1, "alice", KeyUse::SealingHit), 15);
    assert_eq!(rig.ring.sealing_flights.len(), 0);
}

#[test]
fn those_who_wait_share_a_failure_instead_of_failing_one_after_the_other() {
    let (rig, queue) = (Rig::new(), queue(300));
    rig.service().hold();
    rig.service().refuse_all(Refusal::Throttled);
    let caller = "alice".to_owned();
    let mut sends: Vec<_> =
        (0..5).map(|_| Box::pin(rig.ring.sealing_key(0, &caller, "alice", queue.as_ref()))).collect();
    assert!(sends.iter_mut().all(|send| poll_once(send).is_pending()));
    rig.service().release();
    for send in &mut sends {
        assert!(matches!(poll_once(send), Poll::Ready(Err(KeyServiceError::Refused { .. }))));
    }
    assert_eq!(rig.calls(), [Generate]);
    assert_eq!(rig.ring.sealing_flights.len(), 0);
}

#[test]
fn a_request_given_up_half_way_leaves_the_call_to_one_that_waits() {
    let (rig, queue) = (Rig::new(), queue(300));
    let caller = "alice".to_owned();
    rig.service().hold();
    let mut leader = Box::pin(rig.ring.sealing_key(0, &caller, "alice", queue.as_ref()));
    let mut waiter = Box::pin(rig.ring.sealing_key(0, &caller, "alice", queue.as_ref()));
    assert!(poll_once(&mut leader).is_pending() && poll_once(&mut waiter).is_pending());
    drop(leader);
    rig.service().release();
    assert!(matches!(poll_once(&mut waiter), Poll::Ready(Ok(_))));
    assert_eq!(rig.calls(), [Generate, Generate, Decrypt]);

    rig.service().hold();
    let other = Queue::new(2, KEY_A, 300);
    let mut alone = Box::pin(rig.ring.sealing_key(0, &caller, "alice", other.as_ref()));
    assert!(poll_once(&mut alone).is_pending());
    drop(alone);
    assert_eq!(rig.ring.sealing_flights.len(), 0);
}

#[test]
fn sse_130_a_shorter_reuse_period_makes_more_calls() {
    let calls = |reuse_period_s| {
        let (rig, queue) = (Rig::new(), queue(reuse_period_s));
        (0..3_600).step_by(10).for_each(|now_s| drop(rig.send(now_s, "alice", &queue).unwrap()));
        rig.calls().len()
    };
    assert_eq!([60, 300, 3_600].map(calls), [120, 24, 2]);
}

#[test]
fn sse_131_every_call_carries_the_arn_of_the_receiving_queue_as_context() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &Queue::new(2, KEY_B, 300), &stored).unwrap();
    let contexts = rig.service().contexts();
    assert_eq!(contexts, vec![EncryptionContext::for_queue(&queue.arn); 3]);
}

#[test]
fn sse_135_after_a_rotation_old_messages_open_and_new_data_keys_use_the_new_material() {
    let (rig, queue) = (Rig::new(), queue(300));
    let old = rig.send(0, "alice", &queue).unwrap();
    rig.service().rotate(KEY_A);
    let new = rig.send(300, "alice", &queue).unwrap();
    let material = |stored: &[u8]| SealedMessage::parse(stored).unwrap().wrapped_key()[0];
    assert_eq!((material(&old), material(&new)), (0, 1));
    let rig = rig.restarted();
    for stored in [&old, &new] {
        rig.receive(301, "bob", &queue, stored).unwrap();
    }
}

#[test]
fn sse_50_after_a_change_of_key_the_next_send_uses_the_new_key_inside_the_old_period() {
    let rig = Rig::new();
    let under_a = rig.send(0, "alice", &Queue::new(1, KEY_A, 300)).unwrap();
    rig.calls();
    let under_b = rig.send(1, "alice", &Queue::new(1, KEY_B, 300)).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert_eq!(SealedMessage::parse(&under_b).unwrap().key_arn(), KEY_B);
    let again_a = rig.send(2, "alice", &Queue::new(1, KEY_A, 300)).unwrap();
    assert!(!same_data_key(&under_a, &again_a), "the data key of the earlier setting was dropped");
}

#[test]
fn the_data_key_of_an_earlier_setting_does_not_come_back_after_a_refused_new_one() {
    let rig = Rig::new();
    let before = rig.send(0, "alice", &queue(300)).unwrap();
    rig.service().refuse_all(Refusal::NotFound);
    rig.send(1, "alice", &Queue::new(1, KEY_B, 300)).unwrap_err();
    rig.service().recover();
    assert!(!same_data_key(&before, &rig.send(2, "alice", &queue(300)).unwrap()));
}

#[test]
fn sse_98_a_moved_alias_takes_effect_when_the_cached_data_key_ends() {
    let (rig, queue) = (Rig::new(), Queue::new(1, "alias/mine", 300));
    rig.service().point_alias("alias/mine", KEY_A);
    let old = rig.send(0, "alice", &queue).unwrap();
    rig.service().point_alias("alias/mine", KEY_B);
    let cached = rig.send(299, "alice", &queue).unwrap();
    let new = rig.send(300, "alice", &queue).unwrap();
    let key_arns = [&old, &cached, &new].map(|stored| SealedMessage::parse(stored).unwrap().key_arn());
    assert_eq!(key_arns, [KEY_A, KEY_A, KEY_B]);
    rig.receive(301, "bob", &queue, &old).unwrap();
}

#[test]
fn a_data_key_that_has_sealed_its_last_message_is_replaced_inside_its_period() {
    let (rig, queue) = (Rig::new(), queue(300));
    let first = rig.send(0, "alice", &queue).unwrap();
    rig.ring.spend_sealing_key("alice", 1, SEALS_PER_KEY_MAX - 1);
    let last = rig.send(1, "alice", &queue).unwrap();
    assert!(same_data_key(&first, &last));
    rig.calls();
    let next = rig.send(1, "alice", &queue).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert!(!same_data_key(&last, &next));
}

#[test]
fn a_refusal_at_expiry_stands_and_is_asked_again_by_the_next_send() {
    let (rig, queue) = (Rig::new(), queue(300));
    rig.send(0, "alice", &queue).unwrap();
    rig.calls();
    rig.service().refuse_all(Refusal::Disabled);
    rig.send(299, "alice", &queue).unwrap();
    for now_s in [300, 301] {
        let error = rig.send(now_s, "alice", &queue).unwrap_err();
        assert!(matches!(error, KeyServiceError::Refused { kind: Refusal::Disabled, .. }));
        assert_eq!(rig.calls(), [Generate]);
    }
    rig.service().recover();
    rig.send(302, "alice", &queue).unwrap();
}

#[test]
fn a_forgotten_queue_has_no_sealing_key() {
    let (rig, queue) = (Rig::new(), queue(300));
    rig.send(0, "alice", &queue).unwrap();
    rig.send(0, "alice", &Queue::new(2, KEY_A, 300)).unwrap();
    rig.ring.forget_queue(1);
    assert_eq!(rig.ring.data_keys_held().0, 1);
    assert!(rig.ring.try_sealing_key(0, "alice", queue.as_ref()).is_none());
}

#[test]
fn the_futures_can_move_between_threads() {
    fn sendable<T: Send>(_: &T) {}
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    let (caller, message) = ("alice".to_owned(), SealedMessage::parse(&stored).unwrap());
    sendable(&rig.ring.sealing_key(0, &caller, "alice", queue.as_ref()));
    sendable(&rig.ring.opening_key(0, &caller, "alice", 300, &message));
}
