//! Statements about data keys for receiving, and about both sides together.

use super::scripted_service::{
    Call::{Decrypt, Generate},
    KEY_A, KEY_B, Queue, Rig, poll_once,
};
use crate::{
    key_ring::KeyUse,
    key_service::{KeyServiceError, Refusal},
    sealed_message::SealedMessage,
};

fn queue(reuse_period_s: u32) -> Queue {
    Queue::new(1, KEY_A, reuse_period_s)
}

fn refusal(result: Result<(), KeyServiceError>) -> Refusal {
    match result {
        Err(KeyServiceError::Refused { kind, .. }) => kind,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn sse_101_a_stored_message_alone_opens_with_the_key_service_alone() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    let elsewhere = rig.restarted();
    elsewhere.receive(0, "bob", &queue, &stored).unwrap();
    assert_eq!(elsewhere.calls(), [Decrypt]);
}

#[test]
fn sse_111_the_first_receive_is_one_decrypt_and_the_second_none() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.calls();
    rig.receive(10, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
    rig.receive(309, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), []);
    assert_eq!(rig.uses.count(1, "bob", KeyUse::OpeningHit), 1);
}

#[test]
fn sse_112_a_receive_after_the_period_is_one_decrypt_again() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(10, "bob", &queue, &stored).unwrap();
    rig.calls();
    rig.receive(200, "bob", &queue, &stored).unwrap();
    rig.receive(310, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt], "use at 200 s did not prolong the period");
}

#[test]
fn sse_113_a_consumer_pays_its_own_decrypt_while_the_producers_caches_are_warm() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.calls();
    rig.receive(1, "alice", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [], "the verifying Decrypt filled the producer's own entry");
    rig.receive(1, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn sse_114_a_lowered_reuse_period_shortens_a_live_admission() {
    let rig = Rig::new();
    let stored = rig.send(0, "alice", &queue(300)).unwrap();
    rig.receive(0, "bob", &queue(300), &stored).unwrap();
    rig.calls();
    rig.receive(100, "bob", &queue(100), &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn sse_122_a_consumer_without_the_right_gets_nothing_while_anothers_cache_is_warm() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &queue, &stored).unwrap();
    rig.service().deny(Decrypt, "mallory");
    let message = SealedMessage::parse(&stored).unwrap();
    for now_s in 0..3 {
        assert!(rig.ring.try_opening_key(now_s * 1_000, "mallory", 300, &message).is_none());
        assert_eq!(refusal(rig.receive(now_s, "mallory", &queue, &stored)), Refusal::AccessDenied);
    }
    rig.receive(3, "bob", &queue, &stored).unwrap();
}

#[test]
fn sse_124_two_principals_under_continuous_traffic_cost_3_calls_a_period() {
    assert_eq!(calls_in_steady_traffic(&queue(300), &["alice"], &["bob"], 10), 30);
}

#[test]
fn sse_125_one_principal_as_producer_and_consumer_costs_less() {
    assert_eq!(calls_in_steady_traffic(&queue(300), &["alice"], &["alice"], 10), 20);
}

#[test]
fn sse_127_p_producers_and_c_consumers_cost_2p_plus_c_calls_a_period() {
    for (producers, consumers) in [(1, 1), (3, 1), (5, 2), (1, 4), (4, 4)] {
        let [producers, consumers] = [("p", producers), ("c", consumers)]
            .map(|(letter, count)| (0..count).map(|number| format!("{letter}{number}")).collect::<Vec<_>>());
        let [p, c] =
            [&producers, &consumers].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        let calls = calls_in_steady_traffic(&queue(60), &p, &c, 12);
        assert_eq!(calls, 12 * (2 * p.len() + c.len()), "{} producers, {} consumers", p.len(), c.len());
    }
}

#[test]
fn sse_136_a_second_queue_with_the_same_key_and_principals_doubles_the_calls() {
    let rig = Rig::new();
    for queue in [Queue::new(1, KEY_A, 300), Queue::new(2, KEY_A, 300)] {
        steady_traffic(&rig, &queue, &["alice"], &["bob"], 4);
    }
    assert_eq!(rig.calls().len(), 2 * 4 * 3);
}

#[test]
fn a_data_key_never_unwrapped_in_this_process_costs_its_own_decrypt() {
    let (rig, queue) = (Rig::new(), queue(60));
    let backlog: Vec<_> = (0..3).map(|period| rig.send(period * 60, "alice", &queue).unwrap()).collect();
    let rig = rig.restarted();
    for stored in &backlog {
        rig.receive(200, "bob", &queue, stored).unwrap();
        assert_eq!(rig.calls(), [Decrypt]);
    }
    for stored in &backlog {
        rig.receive(201, "bob", &queue, stored).unwrap();
    }
    assert_eq!(rig.calls(), []);
    for stored in &backlog {
        rig.receive(270, "bob", &queue, stored).unwrap();
    }
    assert_eq!(rig.calls(), [Decrypt], "one admission for all data keys that are known");
}

#[test]
fn a_data_key_pushed_out_of_the_full_table_costs_a_decrypt_and_opens_again() {
    let queue = queue(300);
    let Rig { ring, uses } = Rig::new();
    let rig = Rig { ring: ring.with_unwrapped_keys_max(8), uses };
    let stored: Vec<_> = (0..9).map(|n| rig.send(n, &format!("producer-{n}"), &queue).unwrap()).collect();
    assert_eq!(rig.ring.data_keys_held(), (9, 8));
    rig.calls();
    rig.receive(9, "producer-8", &queue, &stored[8]).unwrap();
    assert_eq!(rig.calls(), []);
    rig.receive(9, "producer-8", &queue, &stored[0]).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn an_admission_holds_neither_for_another_key_nor_for_another_queue() {
    let rig = Rig::new();
    let under_a = rig.send(0, "alice", &Queue::new(1, KEY_A, 300)).unwrap();
    let under_b = rig.send(0, "alice", &Queue::new(1, KEY_B, 300)).unwrap();
    let elsewhere = rig.send(0, "alice", &Queue::new(2, KEY_A, 300)).unwrap();
    rig.calls();
    for stored in [&under_a, &under_b, &elsewhere] {
        rig.receive(0, "bob", &queue(300), stored).unwrap();
        assert_eq!(rig.calls(), [Decrypt]);
    }
}

#[test]
fn sse_132_a_wrapped_key_copied_into_a_record_of_another_queue_is_refused() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &queue, &stored).unwrap();
    let mut copied = stored.clone();
    let end_of_context = 80 + KEY_A.len() + queue.arn.len();
    assert_eq!(copied[end_of_context - 1], b'1');
    copied[end_of_context - 1] = b'2';
    rig.send(0, "alice", &Queue::new(2, KEY_A, 300)).unwrap();
    for principal in ["bob", "alice"] {
        assert_eq!(refusal(rig.receive(0, principal, &queue, &copied)), Refusal::InvalidCiphertext);
    }
}

#[test]
fn sse_133_a_changed_wrapped_key_or_id_gives_no_key_and_costs_no_right() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &queue, &stored).unwrap();
    rig.calls();
    let wrapped_at = 80 + KEY_A.len() + queue.arn.len();
    for at in (32..48).chain(wrapped_at..wrapped_at + 61) {
        let mut changed = stored.clone();
        changed[at] ^= 0x40;
        assert_eq!(refusal(rig.receive(1, "bob", &queue, &changed)), Refusal::InvalidCiphertext, "byte {at}");
    }
    rig.receive(2, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [], "the damage was seen without asking, and bob's admission stands");
}

#[test]
fn a_forged_wrapped_key_with_a_matching_id_is_refused_by_the_service_and_takes_no_admission_away() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &queue, &stored).unwrap();
    rig.calls();
    let mut forged = stored.clone();
    let wrapped_at = 80 + KEY_A.len() + queue.arn.len();
    forged[wrapped_at + 20] ^= 1;
    let id = crate::wrapped_key::data_key_id(&forged[wrapped_at..wrapped_at + 61]);
    forged[32..48].copy_from_slice(&id);
    assert_eq!(refusal(rig.receive(1, "bob", &queue, &forged)), Refusal::InvalidCiphertext);
    rig.receive(1, "bob", &queue, &stored).unwrap();
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn sse_58_a_moved_message_is_unwrapped_with_the_source_queues_arn_and_the_receiving_queues_period() {
    let (rig, source) = (Rig::new(), queue(300));
    let dead_letter_queue = Queue::new(9, KEY_B, 60);
    let stored = rig.send(0, "alice", &source).unwrap();
    rig.receive(0, "bob", &dead_letter_queue, &stored).unwrap();
    rig.calls();
    rig.receive(59, "bob", &dead_letter_queue, &stored).unwrap();
    assert_eq!(rig.calls(), []);
    rig.receive(60, "bob", &dead_letter_queue, &stored).unwrap();
    assert_eq!(rig.service().contexts()[0].get("aws:sqs:arn"), Some(source.arn.as_str()));
    assert_eq!(rig.calls(), [Decrypt]);
}

#[test]
fn sse_159_a_revoked_right_acts_when_the_period_ends() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored = rig.send(0, "alice", &queue).unwrap();
    rig.receive(0, "bob", &queue, &stored).unwrap();
    rig.service().deny(Decrypt, "bob");
    rig.receive(299, "bob", &queue, &stored).unwrap();
    assert_eq!(refusal(rig.receive(300, "bob", &queue, &stored)), Refusal::AccessDenied);
    assert_eq!(
        refusal(rig.receive(0, "bob", &queue, &stored)),
        Refusal::AccessDenied,
        "the refusal stands at once"
    );
}

#[test]
fn concurrent_receives_of_known_data_keys_make_one_decrypt_and_unknown_ones_one_each() {
    let (rig, queue) = (Rig::new(), queue(300));
    let stored: Vec<_> = (0..5).map(|n| rig.send(0, &format!("producer-{n}"), &queue).unwrap()).collect();
    rig.calls();
    let caller = "bob".to_owned();
    let receive_all = |rig: &Rig| {
        let messages: Vec<_> = stored.iter().map(|bytes| SealedMessage::parse(bytes).unwrap()).collect();
        rig.service().hold();
        let mut receives: Vec<_> = messages
            .iter()
            .map(|message| Box::pin(rig.ring.opening_key(0, &caller, "bob", 300, message)))
            .collect();
        assert!(receives.iter_mut().all(|receive| poll_once(receive).is_pending()));
        rig.service().release();
        for (receive, message) in receives.iter_mut().zip(&messages) {
            let std::task::Poll::Ready(Ok(key)) = poll_once(receive) else { panic!("not ready") };
            assert!(key.opens(message));
        }
    };
    receive_all(&rig);
    assert_eq!(rig.calls(), [Decrypt]);
    let rig = rig.restarted();
    receive_all(&rig);
    assert_eq!(rig.calls(), [Decrypt; 5]);
    assert_eq!(rig.ring.opening_flights.len(), 0);
}

#[test]
fn a_message_of_another_mode_costs_no_call() {
    let rig = Rig::new();
    let draft = crate::sealing_key::DraftMessage {
        message_id: [1; 16],
        sent_at_ms: 0,
        origin_stream: 1,
        context_arn: "",
        clear: b"",
        body: b"a body",
        body_md5: [2; 16],
    };
    let mut plain = Vec::new();
    crate::sealing_key::store_plain(&draft, &mut plain).unwrap();
    assert_eq!(refusal(rig.receive(0, "bob", &queue(300), &plain)), Refusal::InvalidCiphertext);
    assert_eq!(rig.calls(), []);
}

fn calls_in_steady_traffic(queue: &Queue, producers: &[&str], consumers: &[&str], periods: u64) -> usize {
    let rig = Rig::new();
    steady_traffic(&rig, queue, producers, consumers, periods);
    let calls = rig.calls();
    assert_eq!(
        calls.iter().filter(|call| **call == Generate).count() as u64,
        periods * producers.len() as u64
    );
    calls.len()
}

/// Every second each producer sends a message and each consumer receives them all.
fn steady_traffic(rig: &Rig, queue: &Queue, producers: &[&str], consumers: &[&str], periods: u64) {
    for now_s in 0..periods * u64::from(queue.reuse_period_s) {
        let stored: Vec<_> = producers.iter().map(|name| rig.send(now_s, name, queue).unwrap()).collect();
        for name in consumers {
            stored.iter().for_each(|bytes| rig.receive(now_s, name, queue, bytes).unwrap());
        }
    }
}
