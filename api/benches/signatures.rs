//! What one signature costs: cold (the signing key is derived), and warm (it is cached), by the size of the payload.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use sealq_api::sigv4::{Presented, RequestParts, SigningKey};

const PAYLOAD_BYTES: [usize; 3] = [256, 1_024, 262_144];

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "127.0.0.1:9324"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "AmazonSQS.SendMessage"),
        ("x-amz-date", "20260102T030405Z"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-1/sqs/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature=53dbaffd2bfa4dba11d5aa443a7c33155f9b797e950a095251e9ca8d21d70152",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn verify(parts: &RequestParts<'_>, key: Option<&SigningKey>, payload: &[u8]) -> bool {
    let Ok(Presented::Signed(signed)) = Presented::from_request(parts) else { panic!("not signed") };
    // The work is the same whether the signature fits.
    match key {
        Some(key) => signed.verify(key, parts, payload).is_ok(),
        None => {
            let key = SigningKey::derive("secret", &signed.date, &signed.region, &signed.service);
            signed.verify(&key, parts, payload).is_ok()
        }
    }
}

fn signatures(c: &mut Criterion) {
    let headers = headers();
    let parts = RequestParts { method: "POST", path: "/", query: "", headers: &headers, authority: None };
    let key = SigningKey::derive("secret", "20260102", "us-east-1", "sqs");
    let mut group = c.benchmark_group("signature");
    for bytes in PAYLOAD_BYTES {
        let payload = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_function(BenchmarkId::new("cold", bytes), |b| {
            b.iter(|| verify(black_box(&parts), None, &payload));
        });
        group.bench_function(BenchmarkId::new("warm", bytes), |b| {
            b.iter(|| verify(black_box(&parts), Some(&key), &payload));
        });
    }
    group.finish();
}

criterion_group!(benches, signatures);
criterion_main!(benches);
