//! The cost of a request before anything is done for it: parse, check, verify a signature, decide.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use sealq_api::sigv4::{Presented, RequestParts, SigningKey};
use sealq_api::sqs::attributes::QueueSettings;
use sealq_api::sqs::{Protocol, Request, WireRequest, parse};
use std::hint::black_box;

fn batch_body() -> String {
    let entry = |n: usize| format!(r#"{{"Id":"e{n}","MessageBody":"{}"}}"#, "x".repeat(1_024));
    let entries: Vec<String> = (0..10).map(entry).collect();
    format!(r#"{{"QueueUrl":"https://127.0.0.1:9324/000000000000/q","Entries":[{}]}}"#, entries.join(","))
}

fn parse_batch(c: &mut Criterion) {
    let body = batch_body();
    let wire = WireRequest {
        protocol: Protocol::Json,
        method: "POST",
        path: "/",
        query: "",
        target: Some("AmazonSQS.SendMessageBatch"),
        body: body.as_bytes(),
    };
    let settings = QueueSettings::new(false, true);
    let mut group = c.benchmark_group("send_message_batch_10x1KiB");
    group.throughput(Throughput::Elements(10));
    group.bench_function("parse_and_check", |b| {
        b.iter(|| match parse(black_box(&wire)) {
            Ok(Request::SendMessageBatch(request)) => request.check(&settings).map(|entries| entries.len()),
            other => panic!("{other:?}"),
        });
    });
    group.finish();
}

fn verify_signature(c: &mut Criterion) {
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
    let parts = RequestParts { method: "POST", path: "/", query: "", headers: &headers, authority: None };
    let key = SigningKey::derive("secret", "20260102", "us-east-1", "sqs");
    let payload = vec![b'x'; 1_100];
    c.bench_function("sigv4_warm_1KiB", |b| {
        b.iter(|| match Presented::from_request(black_box(&parts)) {
            // The work is the same whether the signature fits.
            Ok(Presented::Signed(signed)) => signed.verify(&key, &parts, &payload).is_ok(),
            other => panic!("{other:?}"),
        });
    });
}

criterion_group!(benches, parse_batch, verify_signature);
criterion_main!(benches);
