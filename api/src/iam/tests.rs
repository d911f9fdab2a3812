use std::collections::HashMap;
use std::sync::Arc;

use super::decision::{
    Decision, DenialReason, IdentityPolicies, PolicySource, decide_key, decide_queue, decide_role,
};
use super::*;

const QUEUE: &str = "arn:aws:sqs:us-east-1:111111111111:q";
const ALICE: &str = "arn:aws:iam::111111111111:user/alice";
const BOB: &str = "arn:aws:iam::222222222222:user/bob";

#[derive(Default)]
struct Keys(HashMap<&'static str, Vec<String>>);

impl ConditionKeys for Keys {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        match self.0.get(key)?.as_slice() {
            [one] => Some(ConditionValue::One(one)),
            many => Some(ConditionValue::Many(many)),
        }
    }
}

fn keys(pairs: &[(&'static str, &[&'static str])]) -> Keys {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Keys(pairs.iter().map(|(key, values)| (*key, owned(values))).collect())
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

fn decide<'p>(
    principal: Principal<'_>,
    identity: &'p [Arc<Policy>],
    queue: Option<&'p Policy>,
) -> Decision<'p> {
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
    policy.evaluate(&request).allow().is_some()
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
    let both = [allow.clone(), deny];
    assert_eq!(decide(user(ALICE), &both, None).denial, Some(DenialReason::IdentityDeny));
    let queue = queue_policy(
        r#"{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"},
           {"Effect":"Deny","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}"#,
    );
    let allow = [allow];
    assert_eq!(decide(user(ALICE), &allow, Some(&queue)).denial, Some(DenialReason::ResourceDeny));
    let root = "arn:aws:iam::111111111111:root";
    assert!(decide(user(root), &[], None).is_allowed());
    assert_eq!(decide(user(root), &[], Some(&queue)).denial, Some(DenialReason::ResourceDeny));
}

#[test]
fn auth_16_limits_narrow_statements_that_name_role_or_account_and_no_others() {
    let session_arn = "arn:aws:sts::111111111111:assumed-role/worker/s1";
    let role_arn = "arn:aws:iam::111111111111:role/worker";
    let narrow = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:ReceiveMessage","Resource":"*"}}"#;
    let session = [Arc::new(Policy::parse(narrow, PolicyKind::Session).unwrap())];
    let boundary = Policy::parse(narrow, PolicyKind::Boundary).unwrap();
    let everything = [identity_policy(r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#)];
    let (none, own) = (Keys::default(), "111111111111");
    let of = |principal| Request { principal, action: "sqs:SendMessage", resource: QUEUE, keys: &none };
    let statement = |arn: &str| {
        queue_policy(&format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":"{arn}"}},"Action":"sqs:*","Resource":"*"}}"#
        ))
    };
    let worker = Principal { role_arn: Some(role_arn), ..user(session_arn) };
    let alice = user(ALICE);
    let unbounded = IdentityPolicies { identity: &everything, session: &[], boundary: None, is_root: false };
    let in_session = IdentityPolicies { session: &session, ..unbounded };
    let bounded = IdentityPolicies { boundary: Some(&boundary), ..unbounded };
    for (principal, limits, reason) in [
        (worker, &in_session, DenialReason::NoSessionAllow),
        (worker, &bounded, DenialReason::NoBoundaryAllow),
        (alice, &bounded, DenialReason::NoBoundaryAllow),
    ] {
        let limited = [own, if principal.role_arn.is_some() { role_arn } else { own }];
        let standing = [principal.arn, "*"];
        for (named, denial) in
            limited.iter().map(|name| (name, Some(reason))).chain(standing.iter().map(|name| (name, None)))
        {
            let policy = statement(named);
            let decision = decide_queue(&of(principal), limits, Some(&policy), own, true);
            assert_eq!(decision.denial, denial, "{} by {named}", principal.arn);
        }
        assert_eq!(decide_queue(&of(principal), limits, None, own, true).denial, Some(reason));
        let both = queue_policy(&format!(
            r#"{{"Effect":"Allow","Principal":{{"AWS":["{own}","{role_arn}","*"]}},"Action":"sqs:*","Resource":"*"}}"#
        ));
        assert!(decide_queue(&of(principal), limits, Some(&both), own, true).is_allowed(), "* stands");
    }
}

#[test]
fn auth_17_a_trust_policy_admits_whom_it_names_and_delegates_to_accounts() {
    let role = "arn:aws:iam::111111111111:role/worker";
    let none = Keys::default();
    let request = |principal| Request { principal, action: "sts:AssumeRole", resource: role, keys: &none };
    let trust = |arn: &str| {
        let text = format!(
            r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"{arn}"}},"Action":"sts:AssumeRole"}}}}"#
        );
        Policy::parse(&text, PolicyKind::Trust).unwrap()
    };
    let allow = [identity_policy(r#"{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}"#)];
    let deny = [identity_policy(r#"{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"}"#)];
    let nothing: [Arc<Policy>; 0] = [];
    for (caller, named, identity, allowed) in [
        (ALICE, ALICE, &nothing[..], true),
        (ALICE, "111111111111", &nothing, false),
        (ALICE, "111111111111", &allow, true),
        (ALICE, "222222222222", &allow, false),
        (BOB, BOB, &nothing, false),
        (BOB, BOB, &allow, true),
        (BOB, "222222222222", &allow, true),
        (ALICE, ALICE, &deny, false),
    ] {
        let policies = IdentityPolicies { identity, session: &[], boundary: None, is_root: false };
        let trust = trust(named);
        let decision = decide_role(&request(user(caller)), &policies, &trust, "111111111111");
        assert_eq!(decision.is_allowed(), allowed, "{caller} by {named}: {decision:?}");
    }
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
fn auth_22_a_session_of_a_namesake_role_is_not_the_session() {
    let session_arn = "arn:aws:sts::111111111111:assumed-role/worker/s1";
    let mut queue = queue_policy(&format!(
        r#"{{"Effect":"Allow","Principal":{{"AWS":"{session_arn}"}},"Action":"sqs:*","Resource":"*"}}"#
    ));
    assert_eq!(queue.named_principals().collect::<Vec<_>>(), [session_arn]);
    queue.resolve(|_| Some("AROAOLD".to_owned()));
    let session = |unique_id| Principal {
        arn: session_arn,
        role_arn: Some("arn:aws:iam::111111111111:role/worker"),
        unique_id,
        ..user(ALICE)
    };
    assert!(decide(session("AROAOLD"), &[], Some(&queue)).is_allowed());
    assert!(!decide(session("AROANEW"), &[], Some(&queue)).is_allowed());
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
    assert!(decide_key(&request, &caller(&identity), &delegating, own, None).is_allowed());
    assert!(!decide_key(&request, &caller(&alias), &delegating, own, None).is_allowed());
    assert!(!decide_key(&request, &caller(&[]), &delegating, own, None).is_allowed());
    assert!(!decide_key(&request, &caller(&identity), &other, own, None).is_allowed());
    assert!(decide_key(&request, &caller(&[]), &parse(ALICE), own, None).is_allowed());
    let granted =
        |how, identity| decide_key(&request, &caller(identity), &other, own, Some(how)).is_allowed();
    assert!(granted(Named::Itself, &[]), "a grant needs no statement");
    assert!(!granted(Named::Account, &[]), "a grant to the account leaves it to the account's policies");
    assert!(granted(Named::Account, &identity));
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
        (r#"{"StringEqualsIgnoreCase":{"aws:username":"x${aws:principaltag/x,'ALICE'}"}}"#, false, false),
        (r#"{"StringEqualsIgnoreCase":{"aws:username":"${aws:principaltag/x,'ALICE'}"}}"#, true, false),
        (r#"{"StringEqualsIgnoreCase":{"aws:username":"${aws:username}"}}"#, true, false),
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
        ("bytes", &["AAEC/w=="]),
        ("text", &["not base64"]),
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
        (r#"{"BinaryEquals":{"bytes":"AAEC/w=="}}"#, true),
        (r#"{"BinaryEquals":{"bytes":["AAEC","AAEC/w=="]}}"#, true),
        (r#"{"BinaryEquals":{"bytes":"AAEC"}}"#, false),
        (r#"{"BinaryEquals":{"text":"AAEC"}}"#, false),
        (r#"{"IpAddress":{"ip":"10.0.0.0/8"}}"#, true),
        (r#"{"NotIpAddress":{"ip":["10.0.0.0/8","192.168.0.0/16"]}}"#, false),
        (r#"{"IpAddress":{"ip6":"2001:db8::/32"}}"#, true),
        (r#"{"ArnLike":{"arn":"arn:aws:sns:*:111111111111:t*"}}"#, true),
        (r#"{"ArnEquals":{"arn":"arn:aws:sns:*:*:other"}}"#, false),
        (r#"{"ArnNotLike":{"arn":"arn:aws:s3:::*"}}"#, true),
        (r#"{"ArnLike":{"arn":"*"}}"#, true),
        (r#"{"ArnLike":{"text":"*"}}"#, false),
    ] {
        assert_eq!(condition_holds(condition, &found), holds, "{condition}");
    }
}

#[test]
fn auth_19_set_operators() {
    let many = keys(&[("k", &["a", "b"])]);
    let absent = keys(&[("k", &[])]);
    for (condition, with, without) in [
        (r#"{"Null":{"k":"true"}}"#, false, true),
        (r#"{"StringEqualsIfExists":{"k":"x"}}"#, false, true),
        (r#"{"StringNotEquals":{"k":"x"}}"#, true, true),
        (r#"{"ForAllValues:StringEquals":{"k":["a","b","c"]}}"#, true, true),
        (r#"{"ForAllValues:StringEquals":{"k":["a"]}}"#, false, true),
        (r#"{"ForAnyValue:StringEquals":{"k":["b","x"]}}"#, true, false),
        (r#"{"ForAnyValue:StringEquals":{"k":"x"}}"#, false, false),
    ] {
        assert_eq!(condition_holds(condition, &many), with, "{condition} with");
        assert_eq!(condition_holds(condition, &absent), without, "{condition} with an empty key");
        assert_eq!(condition_holds(condition, &Keys::default()), without, "{condition} without");
    }
}

#[test]
fn what_a_variable_stands_for_is_no_wildcard() {
    let policy = identity_policy(
        r#"{"Effect":"Allow","Action":"sqs:*","Resource":"arn:aws:sqs:us-east-1:111111111111:${aws:username}"}"#,
    );
    let allows = |keys: &Keys| {
        let request = Request { principal: user(ALICE), action: "sqs:SendMessage", resource: QUEUE, keys };
        policy.evaluate(&request).allow().is_some()
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
    let policy = identity_policy(
        r#"{"Effect":"Allow","Action":"sqs:*","NotResource":"arn:aws:sqs:*:*:${aws:username}"}"#,
    );
    let request =
        Request { principal: user(ALICE), action: "sqs:SendMessage", resource: QUEUE, keys: &absent };
    assert!(policy.evaluate(&request).allow().is_none());
}

/// A statement for a queue, with one of its members replaced or added.
fn with_member(member: &str, value: &str) -> String {
    let mut members = vec![
        ("Effect", r#""Allow""#),
        ("Principal", r#""*""#),
        ("Action", r#""sqs:*""#),
        ("Resource", r#""*""#),
    ];
    members.retain(|(name, _)| *name != member && format!("Not{name}") != member);
    members.push((member, value));
    let members: Vec<String> = members.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
    format!("{{{}}}", members.join(","))
}

#[test]
fn malformed_statements_are_refused() {
    for (member, value) in [
        ("Effect", r#""allow""#),
        ("Principal", r#""x""#),
        ("Principal", "{}"),
        ("Principal", r#"{"AWS":[]}"#),
        ("Principal", r#"{"AWS":"arn:aws:iam::111111111111:user/a*"}"#),
        ("Principal", r#"{"AWS":"arn:aws:iam::111111111111:user/"}"#),
        ("Principal", r#"{"AWS":"arn:aws:iam::111111111111:group/g"}"#),
        ("Principal", r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/worker"}"#),
        ("Principal", r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/worker/"}"#),
        ("Principal", r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/path/worker/s1"}"#),
        ("Principal", r#"{"Service":"*"}"#),
        ("Principal", r#"{"Service":""}"#),
        ("Principal", r#"{"Service":"*.amazonaws.com"}"#),
        ("NotPrincipal", r#"{"AWS":"111111111111"}"#),
        ("Action", r#""kms:*""#),
        ("Action", "[]"),
        ("Action", r#""sqs""#),
        ("Action", r#""sqs:""#),
        ("Action", r#""sqs:Send Message""#),
        ("Action", r#""sqs:${aws:username}""#),
        ("Action", r#"["sqs:a","sqs:b","sqs:c","sqs:d","sqs:e","sqs:f","sqs:g","sqs:h"]"#),
        ("Resource", "[]"),
        ("Resource", r#""""#),
        ("Resource", r#""arn:aws:sqs:*:*:${aws:username""#),
        ("Resource", r#""arn:aws:sqs:*:*:${}""#),
        ("Bogus", "1"),
        ("Sid", "1"),
        ("Condition", r#"{"StringIs":{"a":"b"}}"#),
        ("Condition", r#"{"StringEquals":{"":"b"}}"#),
        ("Condition", r#"{"StringEquals":{"a":[]}}"#),
        ("Condition", r#"{"StringEquals":{"a":"${b"}}"#),
        ("Condition", r#"{"StringEquals":{"a":"${b, c}"}}"#),
        ("Condition", r#"{"ForSomeValues:StringEquals":{"a":"b"}}"#),
        ("Condition", r#"{"NullIfExists":{"a":"true"}}"#),
        ("Condition", r#"{"Null":{"a":["true","false"]}}"#),
        ("Condition", r#"{"NumericNotEquals":{"a":"NaN"}}"#),
        ("Condition", r#"{"DateEquals":{"a":"yesterday"}}"#),
        ("Condition", r#"{"Bool":{"a":"maybe"}}"#),
        ("Condition", r#"{"BinaryEquals":{"a":"?"}}"#),
        ("Condition", r#"{"IpAddress":{"a":"10.0.0.0/33"}}"#),
        ("Condition", r#"{"ArnNotLike":{"a":"arn:aws:*:topic"}}"#),
    ] {
        let statement = with_member(member, value);
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        assert!(Policy::parse(&text, PolicyKind::Queue).is_err(), "{text}");
    }
    let text = format!(r#"{{"Statement":{}}}"#, with_member("Resource", r#""${aws:username""#));
    assert!(Policy::parse(&text, PolicyKind::Queue).is_ok(), "the older version has no variables");
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
        r#"{"Statement":[]}"#,
        r#"{"Statement":"x"}"#,
        r#"{"Statement":[{}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*"}]}"#,
        r#"{"Version":"2020-01-01","Statement":[]}"#,
        r#"{"Statement":[{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#,
    ] {
        assert!(Policy::parse(text, PolicyKind::Queue).is_err(), "{text}");
    }
    for resource in ["orders", "${aws:username}"] {
        let text = format!(r#"{{"Statement":{{"Effect":"Deny","Action":"sqs:*","Resource":"{resource}"}}}}"#);
        assert!(Policy::parse(&text, PolicyKind::Identity).is_err(), "{resource}");
    }
}

#[test]
fn a_queue_policy_holds_fifty_principals_and_ten_conditions() {
    let of = |principals: usize, conditions: usize| {
        let principals: Vec<String> = (0..principals).map(|n| format!(r#""{n:012}""#)).collect();
        let conditions: Vec<String> = (0..conditions).map(|n| format!(r#""k{n}":"v""#)).collect();
        let text = format!(
            r#"{{"Statement":[{{"Effect":"Allow","Principal":{{"AWS":[{}]}},"Action":"sqs:*","Resource":"*",
                "Condition":{{"StringEquals":{{{}}}}}}}]}}"#,
            principals.join(","),
            conditions.join(",")
        );
        Policy::parse(&text, PolicyKind::Queue).is_ok()
    };
    assert!(of(QUEUE_POLICY_PRINCIPALS_MAX, QUEUE_POLICY_CONDITIONS_MAX));
    assert!(!of(QUEUE_POLICY_PRINCIPALS_MAX + 1, 0));
    assert!(!of(1, QUEUE_POLICY_CONDITIONS_MAX + 1));
}

#[test]
fn a_decision_names_the_statements_that_made_it() {
    let identity = [identity_policy(r#"{"Sid":"Mine","Effect":"Allow","Action":"*","Resource":"*"}"#)];
    let queue = queue_policy(&format!(
        r#"{{"Effect":"Deny","Principal":"*","Action":"sqs:PurgeQueue","Resource":"*"}},
           {{"Effect":"Allow","Principal":{{"AWS":"{BOB}"}},"Action":"sqs:*","Resource":"*"}}"#
    ));
    let decision = decide(user(BOB), &identity, Some(&queue));
    let shown: Vec<String> = decision.because.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["queue policy, statement 2", "identity policy, statement \"Mine\""]);
    assert_eq!(decision.because[0].source, PolicySource::Queue);
}

proptest::proptest! {
    #[test]
    fn the_parser_never_panics(text in ".{0,300}") {
        let _ = Policy::parse(&text, PolicyKind::Queue);
    }
}
