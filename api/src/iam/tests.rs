use std::collections::HashMap;
use std::sync::Arc;

use super::decision::{Decision, DenialReason, IdentityPolicies, decide_key, decide_queue};
use super::*;

const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:q";
const ALICE: &str = "arn:aws:iam::111111111111:user/alice";
const BOB: &str = "arn:aws:iam::222222222222:user/bob";

#[derive(Default)]
struct Keys(HashMap<&'static str, Vec<&'static str>>);

impl ConditionKeys for Keys {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        match self.0.get(key)?.as_slice() {
            [one] => Some(ConditionValue::One(one)),
            many => Some(ConditionValue::Many(many.to_vec())),
        }
    }
}

fn keys(pairs: &[(&'static str, &[&'static str])]) -> Keys {
    Keys(pairs.iter().map(|(key, values)| (*key, values.to_vec())).collect())
}

fn user(arn: &str) -> Principal<'_> {
    let account = arn.split(':').nth(4).unwrap();
    Principal { arn, role_arn: None, account, unique_id: "AIDAX", is_service: false, is_anonymous: false }
}

fn anonymous() -> Principal<'static> {
    Principal {
        arn: "anonymous",
        role_arn: None,
        account: "",
        unique_id: "",
        is_service: false,
        is_anonymous: true,
    }
}

fn queue_policy(statement: &str) -> Policy {
    Policy::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#), PolicyKind::Queue)
        .unwrap()
}

fn identity_policy(statement: &str) -> Arc<Policy> {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#);
    Arc::new(Policy::parse(&text, PolicyKind::Identity).unwrap())
}

fn decide(principal: Principal<'_>, identity: &[Arc<Policy>], queue: Option<&Policy>) -> Decision {
    let keys = Keys::default();
    let request = Request { principal, action: "sqs:SendMessage", resource: QUEUE, keys: &keys };
    let caller = IdentityPolicies {
        identity,
        session: &[],
        boundary: None,
        is_root: principal.arn.ends_with(":root"),
    };
    decide_queue(&request, &caller, queue, "111111111111", true)
}

fn condition_holds(condition: &str, keys: &Keys) -> bool {
    let policy = queue_policy(&format!(
        r#"{{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{condition}}}"#
    ));
    let request = Request { principal: user(ALICE), action: "sqs:SendMessage", resource: QUEUE, keys };
    policy.evaluate(&request).allow.is_some()
}

#[test]
fn auth_11_same_account_needs_either_side() {
    let identity = [identity_policy(r#"{"Effect":"Allow","Action":"SQS:send*","Resource":"*"}"#)];
    let queue = queue_policy(&format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{ALICE}"}},"Action":"sqs:SendMessage","Resource":"{QUEUE}"}}"#
    ));
    assert!(decide(user(ALICE), &identity, None).is_allowed());
    assert!(decide(user(ALICE), &[], Some(&queue)).is_allowed());
    assert_eq!(decide(user(ALICE), &[], None).denial, Some(DenialReason::NoIdentityAllow));
}

#[test]
fn auth_12_another_account_needs_both_sides() {
    let identity = [identity_policy(r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*"}"#)];
    for principal in [format!("{{\"AWS\":\"{BOB}\"}}"), "{\"AWS\":\"222222222222\"}".into(), "\"*\"".into()] {
        let queue = queue_policy(&format!(
            r#"{{"Effect":"Allow","Principal":{principal},"Action":"sqs:SendMessage","Resource":"*"}}"#
        ));
        assert!(decide(user(BOB), &identity, Some(&queue)).is_allowed(), "{principal}");
        assert!(!decide(user(BOB), &[], Some(&queue)).is_allowed(), "{principal}");
    }
    assert!(!decide(user(BOB), &identity, None).is_allowed());
}

#[test]
fn auth_13_and_14_an_explicit_deny_wins_over_everything() {
    let allow = identity_policy(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let deny = identity_policy(r#"{"Effect":"Deny","Action":"sqs:SendMessage","Resource":"*"}"#);
    assert_eq!(decide(user(ALICE), &[allow.clone(), deny], None).denial, Some(DenialReason::IdentityDeny));
    let queue = queue_policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"},
           {"Effect":"Deny","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}"#,
    );
    assert_eq!(decide(user(ALICE), &[allow], Some(&queue)).denial, Some(DenialReason::ResourceDeny));
    let root = "arn:aws:iam::111111111111:root";
    assert!(decide(user(root), &[], None).is_allowed());
    assert_eq!(decide(user(root), &[], Some(&queue)).denial, Some(DenialReason::ResourceDeny));
}

#[test]
fn auth_16_a_session_policy_narrows_but_not_a_statement_that_names_the_session() {
    let session_arn = "arn:aws:sts::111111111111:assumed-role/worker/s1";
    let role_arn = "arn:aws:iam::111111111111:role/worker";
    let principal = Principal { role_arn: Some(role_arn), ..user(session_arn) };
    let text = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:ReceiveMessage","Resource":"*"}}"#;
    let session = [Arc::new(Policy::parse(text, PolicyKind::Session).unwrap())];
    let keys = Keys::default();
    let request = Request { principal, action: "sqs:SendMessage", resource: QUEUE, keys: &keys };
    let caller = IdentityPolicies { identity: &[], session: &session, boundary: None, is_root: false };
    let statement = |arn: &str| {
        queue_policy(&format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"{arn}"}},"Action":"sqs:*","Resource":"*"}}"#
        ))
    };
    let by_role = decide_queue(&request, &caller, Some(&statement(role_arn)), "111111111111", true);
    assert_eq!(by_role.denial, Some(DenialReason::NoSessionAllow));
    let by_session = decide_queue(&request, &caller, Some(&statement(session_arn)), "111111111111", true);
    assert!(by_session.is_allowed());
}

#[test]
fn auth_22_a_namesake_with_another_id_is_not_the_principal() {
    let mut queue = queue_policy(&format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{ALICE}"}},"Action":"sqs:*","Resource":"*"}}"#
    ));
    queue.resolve(|arn| (arn == ALICE).then(|| "AIDAOLD".to_owned()));
    assert!(!decide(user(ALICE), &[], Some(&queue)).is_allowed());
    let old = Principal { unique_id: "AIDAOLD", ..user(ALICE) };
    assert!(decide(old, &[], Some(&queue)).is_allowed());
}

#[test]
fn auth_23_anonymous_callers_need_a_statement_for_everybody() {
    let all = queue_policy(r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sqs:*","Resource":"*"}"#);
    let some = queue_policy(
        r#"{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"sqs:*","Resource":"*"}"#,
    );
    assert!(decide(anonymous(), &[], Some(&all)).is_allowed());
    assert!(!decide(anonymous(), &[], Some(&some)).is_allowed());
    assert!(!decide(anonymous(), &[], None).is_allowed());
}

#[test]
fn auth_24_iam_alone_never_opens_a_key_unless_its_policy_delegates() {
    let key_arn = "arn:aws:kms:us-east-1:111111111111:key/k";
    let keys = Keys::default();
    let request = Request { principal: user(ALICE), action: "kms:Decrypt", resource: key_arn, keys: &keys };
    let identity =
        [identity_policy(&format!(r#"{{"Effect":"Allow","Action":"kms:*","Resource":"{key_arn}"}}"#))];
    let alias = [identity_policy(
        r#"{"Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:us-east-1:111111111111:alias/a"}"#,
    )];
    let parse = |principal: &str| {
        let text = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},
                "Action":"kms:*","Resource":"*"}}]}}"#
        );
        Policy::parse(&text, PolicyKind::Key).unwrap()
    };
    let caller = |identity| IdentityPolicies { identity, session: &[], boundary: None, is_root: false };
    let delegating = parse("arn:aws:iam::111111111111:root");
    let other = parse("arn:aws:iam::111111111111:user/carol");
    let own = "111111111111";
    assert!(decide_key(&request, &caller(&identity), &delegating, own, false).is_allowed());
    assert!(!decide_key(&request, &caller(&alias), &delegating, own, false).is_allowed());
    assert!(!decide_key(&request, &caller(&[]), &delegating, own, false).is_allowed());
    assert!(!decide_key(&request, &caller(&identity), &other, own, false).is_allowed());
    assert!(decide_key(&request, &caller(&[]), &parse(ALICE), own, false).is_allowed());
    assert!(decide_key(&request, &caller(&[]), &other, own, true).is_allowed(), "a grant needs no statement");
}

#[test]
fn auth_19_text_operators() {
    let found = keys(&[("aws:username", &["Alice"])]);
    let absent = Keys::default();
    for (condition, with, without) in [
        (r#"{"StringEquals":{"aws:UserName":["Bob","Alice"]}}"#, true, false),
        (r#"{"StringEquals":{"aws:username":"alice"}}"#, false, false),
        (r#"{"StringNotEquals":{"aws:username":"Alice"}}"#, false, true),
        (r#"{"StringNotEquals":{"aws:username":["Alice","Bob"]}}"#, false, true),
        (r#"{"StringEqualsIgnoreCase":{"aws:username":"aLICE"}}"#, true, false),
        (r#"{"StringNotEqualsIgnoreCase":{"aws:username":"aLICE"}}"#, false, true),
        (r#"{"StringLike":{"aws:username":"A?i*"}}"#, true, false),
        (r#"{"StringEquals":{"aws:username":"A*"}}"#, false, false),
        (r#"{"StringNotLike":{"aws:username":"A*"}}"#, false, true),
        (r#"{"StringEqualsIfExists":{"aws:username":"Bob"}}"#, false, true),
        (r#"{"Null":{"aws:username":"true"}}"#, false, true),
        (r#"{"Null":{"aws:username":"false"}}"#, true, false),
    ] {
        assert_eq!(condition_holds(condition, &found), with, "{condition} with");
        assert_eq!(condition_holds(condition, &absent), without, "{condition} without");
    }
}

#[test]
fn auth_19_other_operators() {
    let found = keys(&[
        ("n", &["5"]),
        ("d", &["2026-01-02T03:04:05Z"]),
        ("b", &["true"]),
        ("ip", &["10.1.2.3"]),
        ("ip6", &["2001:db8::1"]),
        ("arn", &["arn:aws:sns:us-east-1:111111111111:topic"]),
    ]);
    for (condition, holds) in [
        (r#"{"NumericEquals":{"n":5}}"#, true),
        (r#"{"NumericLessThan":{"n":"5"}}"#, false),
        (r#"{"NumericLessThanEquals":{"n":"5"}}"#, true),
        (r#"{"NumericGreaterThan":{"n":"4.5"}}"#, true),
        (r#"{"NumericNotEquals":{"n":"5"}}"#, false),
        (r#"{"DateLessThan":{"d":"2026-01-03"}}"#, true),
        (r#"{"DateGreaterThan":{"d":"1767323046"}}"#, false),
        (r#"{"DateEquals":{"d":"1767323045"}}"#, true),
        (r#"{"Bool":{"b":true}}"#, true),
        (r#"{"Bool":{"b":"False"}}"#, false),
        (r#"{"IpAddress":{"ip":"10.0.0.0/8"}}"#, true),
        (r#"{"NotIpAddress":{"ip":["10.0.0.0/8","192.168.0.0/16"]}}"#, false),
        (r#"{"IpAddress":{"ip6":"2001:db8::/32"}}"#, true),
        (r#"{"ArnLike":{"arn":"arn:aws:sns:*:111111111111:t*"}}"#, true),
        (r#"{"ArnEquals":{"arn":"arn:aws:sns:*:*:other"}}"#, false),
        (r#"{"ArnNotLike":{"arn":"arn:aws:s3:::*"}}"#, true),
        (r#"{"ArnLike":{"arn":"arn:aws:*:topic"}}"#, false),
    ] {
        assert_eq!(condition_holds(condition, &found), holds, "{condition}");
    }
}

#[test]
fn auth_19_set_operators() {
    let many = keys(&[("k", &["a", "b"])]);
    let absent = Keys::default();
    for (condition, with, without) in [
        (r#"{"ForAllValues:StringEquals":{"k":["a","b","c"]}}"#, true, true),
        (r#"{"ForAllValues:StringEquals":{"k":["a"]}}"#, false, true),
        (r#"{"ForAnyValue:StringEquals":{"k":["b","x"]}}"#, true, false),
        (r#"{"ForAnyValue:StringEquals":{"k":"x"}}"#, false, false),
    ] {
        assert_eq!(condition_holds(condition, &many), with, "{condition} with");
        assert_eq!(condition_holds(condition, &absent), without, "{condition} without");
    }
}

#[test]
fn what_a_variable_stands_for_is_no_wildcard() {
    let policy = identity_policy(
        r#"{"Effect":"Allow","Action":"sqs:*","Resource":"arn:aws:sqs:us-east-1:111111111111:${aws:username}"}"#,
    );
    let allows = |keys: &Keys| {
        let request = Request { principal: user(ALICE), action: "sqs:SendMessage", resource: QUEUE, keys };
        policy.evaluate(&request).allow.is_some()
    };
    assert!(allows(&keys(&[("aws:username", &["q"])])));
    assert!(!allows(&keys(&[("aws:username", &["*"])])));
    assert!(!allows(&Keys::default()), "a variable without a value matches nothing");
}

#[test]
fn a_variable_without_a_value_ends_the_statement_under_negation_and_absence_too() {
    let absent = Keys::default();
    let named = keys(&[("aws:username", &["alice"]), ("k", &["other"])]);
    for condition in [
        r#"{"StringNotEquals":{"k":"${aws:username}"}}"#,
        r#"{"StringEqualsIfExists":{"k":"${aws:username}"}}"#,
        r#"{"StringNotLike":{"k":"${aws:username}*"}}"#,
    ] {
        assert!(!condition_holds(condition, &absent), "{condition}");
    }
    assert!(condition_holds(r#"{"StringNotEquals":{"k":"${aws:username}"}}"#, &named));
    let policy = identity_policy(r#"{"Effect":"Allow","Action":"sqs:*","NotResource":"${aws:username}"}"#);
    let request =
        Request { principal: user(ALICE), action: "sqs:SendMessage", resource: QUEUE, keys: &absent };
    assert!(policy.evaluate(&request).allow.is_none());
}

#[test]
fn an_arn_condition_on_something_else_holds_for_no_arn() {
    let source = keys(&[("aws:sourcearn", &["arn:aws:sns:us-east-1:111111111111:topic"])]);
    assert!(!condition_holds(r#"{"ArnEquals":{"aws:SourceArn":"'$topic'"}}"#, &source));
    let always = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*",
        "Condition":{"ArnNotEquals":{"aws:SourceArn":"'$topic'"}}}}"#;
    assert!(Policy::parse(always, PolicyKind::Queue).is_err());
}

#[test]
fn malformed_documents_are_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"Statement":[{}]}"#,
        r#"{"Statement":[{"Effect":"allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"x","Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:user/a*"},"Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","NotPrincipal":{"AWS":"111111111111"},"Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*","Bogus":1}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"StringIs":{"a":"b"}}}]}"#,
        r#"{"Version":"2020-01-01","Statement":[]}"#,
        r#"{"Statement":[{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*","Condition":{"NumericNotEquals":{"a":"NaN"}}}]}"#,
    ] {
        assert!(Policy::parse(text, PolicyKind::Queue).is_err(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn the_parser_never_panics(text in ".{0,300}") {
        let _ = Policy::parse(&text, PolicyKind::Queue);
    }

    #[test]
    fn patterns_agree_with_a_naive_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
        fn naive(pattern: &[u8], text: &[u8]) -> bool {
            match pattern.first() {
                None => text.is_empty(),
                Some(b'*') => (0..=text.len()).any(|at| naive(&pattern[1..], &text[at..])),
                Some(b'?') => !text.is_empty() && naive(&pattern[1..], &text[1..]),
                Some(c) => text.first() == Some(c) && naive(&pattern[1..], &text[1..]),
            }
        }
        let compiled = pattern::Pattern::compile(&pattern, true, true);
        proptest::prop_assert_eq!(
            compiled.matches(&text, &Keys::default()),
            naive(pattern.as_bytes(), text.as_bytes())
        );
    }
}
