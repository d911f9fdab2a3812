//! A decision allocates nothing: policies are compiled once, and what decided is pointed at.

use std::sync::Arc;

use sealq_api::iam::decision::{IdentityPolicies, decide_key, decide_queue, decide_role};
use sealq_api::iam::{ConditionKeys, ConditionValue, Policy, PolicyKind, Principal, Request};

const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:orders";

struct Keys {
    tags: Vec<String>,
}

impl ConditionKeys for Keys {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        Some(match key {
            "aws:securetransport" => ConditionValue::One("true"),
            "aws:sourceip" => ConditionValue::One("10.1.2.3"),
            "aws:username" => ConditionValue::One("orders"),
            "aws:principalarn" => ConditionValue::One("arn:aws:iam::000000000000:user/orders"),
            "aws:currenttime" => ConditionValue::One("2026-01-02T03:04:05Z"),
            "kms:count" => ConditionValue::One("5"),
            "aws:tagkeys" => ConditionValue::Many(&self.tags),
            _ => return None,
        })
    }
}

/// One statement with every kind of condition that requests meet, BinaryEquals apart.
fn policy(kind: PolicyKind, action: &str) -> Policy {
    let principal = if kind.is_resource_policy() { r#""Principal":{"AWS":"*"},"# } else { "" };
    let resource = match kind {
        PolicyKind::Trust => "",
        PolicyKind::Key => r#""Resource":"*","#,
        _ => r#""Resource":"arn:aws:*:*:${aws:username}","#,
    };
    let text = format!(
        r#"{{"Version":"2012-10-17","Statement":[
            {{"Effect":"Deny",{principal}"Action":"{action}",{resource}
              "Condition":{{"Bool":{{"aws:SecureTransport":"false"}}}}}},
            {{"Effect":"Allow",{principal}"Action":"{action}",{resource}"Condition":{{
              "Bool":{{"aws:SecureTransport":"true"}},
              "IpAddress":{{"aws:SourceIp":["192.168.0.0/16","10.0.0.0/8"]}},
              "StringEquals":{{"aws:username":"${{aws:username}}"}},
              "StringEqualsIgnoreCase":{{"aws:username":"ORDERS"}},
              "StringNotLike":{{"aws:username":"x*y"}},
              "ArnLike":{{"aws:PrincipalArn":"arn:aws:iam::*:user/*"}},
              "DateLessThan":{{"aws:CurrentTime":"2030-01-01T00:00:00Z"}},
              "NumericLessThan":{{"kms:Count":"6"}},
              "ForAllValues:StringLike":{{"aws:TagKeys":["a*","b"]}}}}}}]}}"#
    );
    Policy::parse(&text, kind).expect("the policies here are well-formed")
}

#[test]
fn a_decision_allocates_nothing() {
    let keys = Keys { tags: vec!["ab".into(), "b".into()] };
    let principal = Principal {
        arn: "arn:aws:iam::000000000000:user/orders",
        role_arn: None,
        account: "000000000000",
        unique_id: "AIDAORDERS",
        is_service: false,
        is_anonymous: false,
    };
    let identity = [Arc::new(policy(PolicyKind::Identity, "sqs:*"))];
    let boundary = policy(PolicyKind::Boundary, "sqs:*");
    let (queue, key) = (policy(PolicyKind::Queue, "SQS:Send*"), policy(PolicyKind::Key, "kms:Decrypt"));
    let trust = policy(PolicyKind::Trust, "sts:AssumeRole");
    let caller = IdentityPolicies {
        identity: &identity,
        session: &identity,
        boundary: Some(&boundary),
        is_root: false,
    };
    let request = |action, resource| Request { principal, action, resource, keys: &keys };
    let owner = "000000000000";
    let send = request("sqs:SendMessage", QUEUE);
    let decrypt = request("kms:Decrypt", "arn:aws:kms:us-east-1:000000000000:key/k");
    let assume = request("sts:AssumeRole", "arn:aws:iam::000000000000:role/worker");
    let counted = allocation_counter::measure(|| {
        assert!(decide_queue(&send, &caller, None, owner, true).is_allowed());
        assert!(decide_queue(&send, &caller, Some(&queue), owner, true).is_allowed());
        assert!(decide_key(&decrypt, &caller, &key, owner, None).is_allowed());
        assert!(decide_role(&assume, &caller, &trust, owner).is_allowed());
        assert!(
            !decide_queue(&request("sqs:PurgeQueue", "*"), &caller, Some(&queue), owner, true).is_allowed()
        );
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    let compiled = allocation_counter::measure(|| drop(policy(PolicyKind::Queue, "sqs:*")));
    assert!(compiled.count_total > 0, "the counter counts");
}
