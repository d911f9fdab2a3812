//! The cost of a request before anything is done for it: parse and check.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
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

criterion_group!(benches, parse_batch);
criterion_main!(benches);
