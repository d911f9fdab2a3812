//! Any text as a policy of each kind: parsed or refused, and evaluated without a fault. An explicit deny is final.

use sealq_api::iam::{ConditionKeys, ConditionValue, Policy, PolicyKind, Principal, Request};

const KINDS: [PolicyKind; 4] = [PolicyKind::Identity, PolicyKind::Queue, PolicyKind::Key, PolicyKind::Trust];

/// Half of the keys are there.
struct SomeKeys;

impl ConditionKeys for SomeKeys {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        match key.len() % 2 {
            0 => Some(ConditionValue::One("2026-01-01T00:00:00Z")),
            _ => None,
        }
    }
}

/// One input.
pub fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let principal = Principal {
        arn: "arn:aws:iam::000000000000:user/alice",
        role_arn: None,
        account: "000000000000",
        unique_id: "AIDAALICE",
        is_service: false,
        is_anonymous: false,
    };
    for kind in KINDS {
        let Ok(policy) = Policy::parse(text, kind) else { continue };
        let request = Request {
            principal,
            action: "sqs:SendMessage",
            resource: "arn:aws:sqs:us-east-1:000000000000:q",
            keys: &SomeKeys,
        };
        let verdict = policy.evaluate(&request);
        for name in verdict.deny.iter().chain(verdict.allow().iter()) {
            assert!(name.index < policy.statement_count());
        }
        let nobody = Request { action: "no-service:NoAction", ..request };
        let _ = policy.evaluate(&nobody);
    }
}
