//! Statements about a key service that cannot be reached.

use std::{collections::HashSet, thread};

use super::scripted_service::{
    Call::{Decrypt, Generate},
    KEY_A, Queue, Rig, poll_once, same_data_key,
};
use crate::{
    key_ring::KeyUse,
    key_service::{KeyServiceError, Refusal},
    sealed_message::SealedMessage,
};

fn queue() -> Queue {
    Queue::new(1, KEY_A, 300)
}

fn unreachable<T>(result: Result<T, KeyServiceError>) -> bool {
    matches!(result, Err(KeyServiceError::Unreachable { .. }))
}

/// A warm cache for alice (sends) and bob (receives), filled at 0 s.
fn warm() -> (Rig, Queue, Vec<u8>) {
    let (rig, queue) = (Rig::new(), queue());
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &queue, &stored).unwrap();
    rig.calls();
    (rig, queue, stored)
}

#[test]
fn sse_137_within_the_period_an_outage_is_not_even_noticed() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    rig.send(299, "alice", &queue).unwrap();
    rig.receive(299, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), []);
    assert_eq!(rig.ring.outage_since_ms(), None);
}

#[test]
fn sse_138_an_expired_data_key_goes_on_sealing() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    for now_s in 300..400 {
        assert!(same_data_key(&stored, &rig.send(now_s, "alice", &queue).unwrap()));
        assert!(rig.probe(now_s));
    }
    assert_eq!(rig.ring.outage_since_ms(), Some(300_000));
    assert_eq!(rig.uses.count(1, "alice", KeyUse::OutageUse), 100);
    assert_eq!(rig.uses.age_ms(1), 399_000);
    assert_eq!(rig.calls(), [Generate], "one request has waited for the service, the others for nothing");
    assert_eq!(rig.service().probes(), 100);
}

#[test]
fn sse_139_an_expired_admission_goes_on_opening() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    for now_s in 300..400 {
        rig.receive(now_s, "bob", &queue, &stored).unwrap();
        assert!(rig.probe(now_s));
    }
    assert_eq!(rig.uses.count(1, "bob", KeyUse::OutageUse), 100);
    assert_eq!(rig.uses.age_ms(1), 399_000);
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn sse_140_when_the_connection_is_back_the_next_send_and_the_next_receive_call_again() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    rig.send(300, "alice", &queue).unwrap();
    rig.receive(300, "bob", &queue, &stored).unwrap();
    rig.service().recover();
    assert!(
        same_data_key(&stored, &rig.send(301, "alice", &queue).unwrap()),
        "the probe has not seen it yet"
    );
    assert_eq!(rig.calls(), [Generate]);
    assert!(rig.probe(301), "an answered probe is no answer to a call");
    assert_eq!(rig.ring.outage_since_ms(), None);
    let renewed = rig.send(302, "alice", &queue).unwrap();
    assert!(!same_data_key(&stored, &renewed));
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert!(!rig.probe(302));
    rig.receive(302, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn an_answer_to_anyone_ends_the_outage_for_everyone() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    rig.send(300, "alice", &queue).unwrap();
    rig.receive(300, "bob", &queue, &stored).unwrap();
    rig.service().recover();
    rig.probe(300);
    rig.send(300, "carol", &queue).unwrap();
    rig.calls();
    rig.receive(300, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
    rig.send(300, "alice", &queue).unwrap();
    assert_eq!(rig.calls(), [Generate, Decrypt]);
}

#[test]
fn sse_141_sse_142_with_nothing_cached_an_outage_is_an_error() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    assert!(unreachable(rig.send(0, "carol", &queue)));
    assert_eq!(rig.calls(), [Generate]);
    assert!(unreachable(rig.receive(0, "carol", &queue, &stored)));
    assert!(unreachable(rig.send(0, "alice", &Queue::new(2, KEY_A, 300))));
    assert_eq!(rig.calls(), [], "nobody waits for a service that has just not answered");
    let rig = rig.restarted();
    rig.service().disconnect();
    assert!(unreachable(rig.send(0, "alice", &queue)));
    assert!(unreachable(rig.receive(0, "bob", &queue, &stored)));
    rig.service().recover();
    rig.probe(0);
    rig.receive(0, "bob", &queue, &stored).unwrap();
}

#[test]
fn faults_of_the_service_are_an_outage_that_turns_nobody_away_untried() {
    let (rig, queue, stored) = warm();
    rig.service().break_down();
    for _ in 0..10 {
        assert!(same_data_key(&stored, &rig.send(300, "alice", &queue).unwrap()));
        rig.receive(300, "bob", &queue, &stored).unwrap();
    }
    assert_eq!(rig.calls(), [Generate], "those who hold an expired key wait for the next probe");
    assert!(unreachable(rig.send(310, "carol", &queue)));
    assert!(unreachable(rig.send(310, "carol", &queue)));
    assert_eq!(rig.calls(), [Generate, Generate], "its fault may have been another key's");
    assert!(rig.probe(310));
    assert_eq!(rig.ring.outage_since_ms(), Some(300_000));
    rig.send(311, "alice", &queue).unwrap();
    assert_eq!(rig.calls(), [Generate]);
    rig.service().recover();
    rig.probe(311);
    assert!(!same_data_key(&stored, &rig.send(312, "alice", &queue).unwrap()));
    assert_eq!(rig.ring.outage_since_ms(), None);
}

#[test]
fn sse_143_no_refusal_lets_an_expired_data_key_go_on() {
    for kind in [
        Refusal::AccessDenied,
        Refusal::Disabled,
        Refusal::InvalidKeyUsage,
        Refusal::InvalidState,
        Refusal::NotFound,
        Refusal::OptInRequired,
        Refusal::Throttled,
    ] {
        let (rig, queue, stored) = warm();
        rig.service().refuse_all(kind);
        for now_s in 300..303 {
            let answers =
                [rig.send(now_s, "alice", &queue).map(drop), rig.receive(now_s, "bob", &queue, &stored)];
            for answer in answers {
                assert!(
                    matches!(answer, Err(KeyServiceError::Refused { kind: k, .. }) if k == kind),
                    "{kind:?}"
                );
            }
        }
        assert_eq!(rig.ring.outage_since_ms(), None);
    }
}

#[test]
fn a_refusal_takes_the_expired_key_away_so_that_a_later_outage_does_not_bring_it_back() {
    let (rig, queue, stored) = warm();
    rig.service().refuse_all(Refusal::AccessDenied);
    assert!(rig.send(300, "alice", &queue).is_err());
    assert!(rig.receive(300, "bob", &queue, &stored).is_err());
    rig.service().disconnect();
    assert!(unreachable(rig.send(301, "alice", &queue)));
    assert!(unreachable(rig.receive(301, "bob", &queue, &stored)));
}

#[test]
fn sse_144_an_outage_lets_nobody_use_the_key_of_another() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    rig.send(300, "alice", &queue).unwrap();
    rig.receive(300, "bob", &queue, &stored).unwrap();
    let message = SealedMessage::parse(&stored).unwrap();
    assert!(rig.ring.try_opening_key(300_000, "mallory", 300, &message).is_none());
    assert!(rig.ring.try_sealing_key(300_000, "mallory", queue.as_ref()).is_none());
    assert!(unreachable(rig.receive(300, "mallory", &queue, &stored)));
    assert!(unreachable(rig.send(300, "mallory", &queue)));
}

#[test]
fn an_outage_between_generate_and_decrypt_keeps_the_old_key_and_drops_the_new_one() {
    let (rig, queue, stored) = warm();
    rig.service().fail(Decrypt, KeyServiceError::Unreachable { message: "timeout".into(), silent: true });
    let sent = rig.send(300, "alice", &queue).unwrap();
    assert!(same_data_key(&stored, &sent));
    assert_eq!(rig.calls(), [Generate, Decrypt]);
    assert_eq!(rig.ring.data_keys_held(), (1, 1));
}

#[test]
fn an_outage_admits_no_data_key_that_was_never_unwrapped_here() {
    let (rig, queue) = (Rig::new(), queue());
    let [old, new] = [0, 300].map(|now_s| rig.send(now_s, "alice", &queue).unwrap());
    let rig = rig.restarted();
    rig.receive(300, "bob", &queue, &new).unwrap();
    rig.service().disconnect();
    assert!(unreachable(rig.receive(301, "bob", &queue, &old)));
    rig.receive(301, "bob", &queue, &new).unwrap();
    rig.receive(900, "bob", &queue, &new).unwrap();
}

#[test]
fn while_one_request_tries_the_others_are_served_at_once() {
    let (rig, queue, stored) = warm();
    rig.service().disconnect();
    rig.send(300, "alice", &queue).unwrap();
    rig.calls();
    rig.service().recover();
    rig.probe(300);
    rig.service().hold();
    let caller = "alice".to_owned();
    let mut trial = Box::pin(rig.ring.sealing_key(310_000, &caller, "alice", queue.as_ref()));
    assert!(poll_once(&mut trial).is_pending());
    for _ in 0..20 {
        assert!(same_data_key(&stored, &rig.send(310, "alice", &queue).unwrap()));
        rig.receive(310, "bob", &queue, &stored).unwrap();
    }
    assert_eq!(rig.calls(), [Generate]);
    drop(trial);
    rig.service().release();
    let renewed = rig.send(310, "alice", &queue).unwrap();
    assert!(!same_data_key(&stored, &renewed), "a trial given up leaves the next request to try");
}

#[test]
fn a_service_that_comes_and_goes_fails_no_warm_principal_and_mixes_no_keys() {
    const PRINCIPALS: [&str; 4] = ["alice", "bob", "carol", "dave"];
    let (rig, queue) = (Rig::new(), Queue::new(1, KEY_A, 60));
    let first: Vec<_> = PRINCIPALS.iter().map(|name| rig.send(0, name, &queue).unwrap()).collect();
    let wrapped_keys = thread::scope(|scope| {
        let workers: Vec<_> = PRINCIPALS
            .iter()
            .zip(&first)
            .flat_map(|pair| [pair, pair])
            .map(|(name, stored)| {
                let (rig, queue) = (&rig, &queue);
                scope.spawn(move || {
                    let mut wrapped_keys = HashSet::new();
                    for now_s in 0..600 {
                        let sent = rig.send(now_s, name, queue).unwrap();
                        rig.receive(now_s, name, queue, stored).unwrap();
                        rig.receive(now_s, name, queue, &sent).unwrap();
                        wrapped_keys
                            .insert((*name, SealedMessage::parse(&sent).unwrap().wrapped_key().to_vec()));
                    }
                    wrapped_keys
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            rig.service().disconnect();
            thread::yield_now();
            rig.service().recover();
            rig.probe(0);
            thread::yield_now();
        }
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<HashSet<_>>()
    });
    let distinct: HashSet<_> = wrapped_keys.iter().map(|(_, wrapped)| wrapped).collect();
    assert_eq!(distinct.len(), wrapped_keys.len(), "two principals sealed under one data key");
}
