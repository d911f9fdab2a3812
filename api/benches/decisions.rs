//! What one decision costs: by how many statements are looked at, and with conditions.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use sealq_api::iam::decision::{IdentityPolicies, decide_key, decide_queue};
use sealq_api::iam::{ConditionKeys, ConditionValue, Policy, PolicyKind, Principal, Request};

const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:orders";
const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-4333-8444-555555555555";
const STATEMENTS: [usize; 3] = [1, 10, 100];

struct Keys;

impl ConditionKeys for Keys {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        Some(ConditionValue::One(match key {
            "aws:securetransport" => "true",
            "aws:sourceip" => "10.1.2.3",
            "aws:username" => "alice",
            "aws:currenttime" => "2026-01-02T03:04:05Z",
            "kms:viaservice" => "sqs.us-east-1.amazonaws.com",
            _ => return None,
        }))
    }
}

fn alice() -> Principal<'static> {
    Principal {
        arn: "arn:aws:iam::000000000000:user/alice",
        role_arn: None,
        account: "000000000000",
        unique_id: "AIDAALICE",
        is_service: false,
        is_anonymous: false,
    }
}

fn policy(kind: PolicyKind, statements: &[String]) -> Policy {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    Policy::parse(&text, kind).expect("the policies here are well-formed")
}

/// Of so many statements only the last allows.
fn statements(count: usize, condition: &str) -> Vec<String> {
    let of = |n: usize| {
        let name = if n + 1 == count { "orders".to_owned() } else { format!("other-{n}-*") };
        format!(
            r#"{{"Effect":"Allow","Action":["sqs:Send*","sqs:ReceiveMessage"],
                "Resource":"arn:aws:sqs:*:000000000000:{name}"{condition}}}"#
        )
    };
    (0..count).map(of).collect()
}

fn decisions(c: &mut Criterion) {
    let condition = r#","Condition":{"Bool":{"aws:SecureTransport":"true"},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},
        "StringLike":{"aws:username":"a*"},"DateLessThan":{"aws:CurrentTime":"2030-01-01T00:00:00Z"}}"#;
    let mut group = c.benchmark_group("decision");
    for (name, condition) in [("identity", ""), ("identity_conditions", condition)] {
        for count in STATEMENTS {
            let identity = [Arc::new(policy(PolicyKind::Identity, &statements(count, condition)))];
            let caller =
                IdentityPolicies { identity: &identity, session: &[], boundary: None, is_root: false };
            let request =
                Request { principal: alice(), action: "sqs:SendMessage", resource: QUEUE, keys: &Keys };
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| {
                    let decision = decide_queue(black_box(&request), &caller, None, "000000000000", true);
                    assert!(decision.is_allowed());
                });
            });
        }
    }
    let key_policy = policy(
        PolicyKind::Key,
        &[r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Decrypt","kms:GenerateDataKey*"],"Resource":"*",
            "Condition":{"StringEquals":{"kms:ViaService":"sqs.us-east-1.amazonaws.com"}}}"#
            .to_owned()],
    );
    let caller = IdentityPolicies { identity: &[], session: &[], boundary: None, is_root: false };
    let request = Request { principal: alice(), action: "kms:Decrypt", resource: KEY, keys: &Keys };
    group.bench_function("key_via_service", |b| {
        b.iter(|| {
            let decision = decide_key(black_box(&request), &caller, &key_policy, "000000000000", None);
            assert!(decision.is_allowed());
        });
    });
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
