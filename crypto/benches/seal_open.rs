//! Sealing and opening one message, by body size; the key ring's fast paths; the way to the pool and back.

use std::{
    hint::black_box,
    sync::{Arc, mpsc},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sealq_crypto::{
    CryptoPool, DecryptedDataKey, DraftMessage, EncryptionContext, GeneratedDataKey, KeyRing, KeyService,
    KeyServiceError, ManagedKeys, NoObserver, OwnedDraft, PoolJob, QueueRef, SealJob, SealedMessage,
    ServiceKey,
    data_key::{DATA_KEY_BYTES, KeyBytes},
};

const BODY_BYTES: [usize; 4] = [256, 1 << 10, 16 << 10, 256 << 10];
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:orders";
const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const PRINCIPAL: &str = "arn:aws:iam::000000000000:user/producer";

fn draft(body: &[u8]) -> DraftMessage<'_> {
    DraftMessage {
        message_id: [1; 16],
        sent_at_ms: 0,
        origin_stream: 1,
        context_arn: QUEUE,
        clear: b"",
        body,
        body_md5: [2; 16],
    }
}

fn managed_keys() -> ManagedKeys {
    ManagedKeys::new(ServiceKey::new(1, &KeyBytes::take(&mut [7; DATA_KEY_BYTES])), [])
}

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for len in BODY_BYTES {
        let body = vec![0x61; len];
        let mut out = Vec::new();
        // A fresh key for each size: a long run must not retire it.
        let keys = managed_keys();
        assert!(keys.sealing_key(0, 1, QUEUE).is_ok_and(|key| key.seal(&draft(&body), &mut out).is_ok()));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &body, |bencher, body| {
            bencher.iter(|| {
                out.clear();
                let Ok(key) = keys.sealing_key(0, 1, QUEUE) else { return };
                black_box(key.seal(&draft(black_box(body)), &mut out).is_ok());
            });
        });
    }
    group.finish();
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for len in BODY_BYTES {
        let keys = managed_keys();
        let (mut record, mut out) = (Vec::new(), Vec::new());
        let body = vec![0x61; len];
        assert!(keys.sealing_key(0, 1, QUEUE).is_ok_and(|key| key.seal(&draft(&body), &mut record).is_ok()));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(len), &record, |bencher, record| {
            bencher.iter(|| {
                out.clear();
                let Ok(message) = SealedMessage::parse(black_box(record)) else { return };
                if let Ok(key) = keys.opening_key(0, &message) {
                    black_box(key.open(&message, &mut out).is_ok());
                }
            });
        });
    }
    group.finish();
}

/// Answers at once, with the key itself as the wrapped form: only the ring is measured.
struct InstantService;

impl KeyService for InstantService {
    type Caller = ();

    async fn generate_data_key(
        &self,
        (): &(),
        _key_id: &str,
        _context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        let wrapped = vec![3; DATA_KEY_BYTES];
        Ok(GeneratedDataKey {
            plaintext: KeyBytes::take(&mut [3; DATA_KEY_BYTES]),
            wrapped,
            key_arn: KEY.into(),
        })
    }

    async fn decrypt(
        &self,
        (): &(),
        _wrapped: &[u8],
        key_arn: &str,
        _context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        Ok(DecryptedDataKey { plaintext: KeyBytes::take(&mut [3; DATA_KEY_BYTES]), key_arn: key_arn.into() })
    }

    async fn probe(&self) -> bool {
        true
    }
}

fn ring(criterion: &mut Criterion) {
    let ring = KeyRing::new(InstantService, Arc::new(NoObserver));
    let queue = QueueRef { stream: 1, context_arn: QUEUE, key_setting: "alias/orders", reuse_period_s: 300 };
    let mut record = Vec::new();
    let mut send = Box::pin(ring.sealing_key(0, &(), PRINCIPAL, queue));
    // The service answers at once, so one poll is enough.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    if let std::task::Poll::Ready(Ok(key)) = send.as_mut().poll(&mut context) {
        assert!(key.seal(&draft(b"a body"), &mut record).is_ok());
    }
    drop(send);
    let Ok(message) = SealedMessage::parse(&record) else { return };
    assert!(ring.try_opening_key(1, PRINCIPAL, 300, &message).is_some());

    let mut group = criterion.benchmark_group("key_ring");
    group.bench_function("try_sealing_key", |bencher| {
        bencher.iter(|| ring.try_sealing_key(black_box(1), PRINCIPAL, queue));
    });
    group.bench_function("try_opening_key", |bencher| {
        bencher.iter(|| ring.try_opening_key(black_box(1), PRINCIPAL, 300, &message));
    });
    group.finish();
}

/// From handing a job over to hearing that it is done, sealing one byte: what a body must cost to be worth it.
fn handover(criterion: &mut Criterion) {
    let keys = managed_keys();
    let (Ok(key), Ok(pool)) = (keys.sealing_key(0, 1, QUEUE), CryptoPool::start(1)) else { return };
    let context_arn: Arc<str> = QUEUE.into();
    let mut buffers = Some((Vec::new(), vec![0x61]));
    criterion.bench_function("pool/handover", |bencher| {
        bencher.iter(|| {
            let Some((mut out, body)) = buffers.take() else { return };
            out.clear();
            let draft = OwnedDraft {
                message_id: [1; 16],
                sent_at_ms: 0,
                origin_stream: 1,
                context_arn: Arc::clone(&context_arn),
                clear: Vec::new(),
                body,
                body_md5: [2; 16],
            };
            let (to, from) = mpsc::sync_channel(1);
            let done = Box::new(move |draft: OwnedDraft, out, _| drop(to.send((out, draft.body))));
            if pool.submit(PoolJob::Seal(SealJob { key: Arc::clone(&key), draft, out, done })).is_ok() {
                buffers = from.recv().ok();
            }
        });
    });
    assert!(buffers.is_some(), "the pool refused a job");
}

criterion_group!(benches, seal, open, ring, handover);
criterion_main!(benches);
