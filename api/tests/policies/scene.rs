//! A request and every policy that has a say in it, made from bytes: the same bytes make the same scene, so a fuzzer, a
//! property test and a corpus can share them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sealq_api::iam::decision::{IdentityPolicies, decide_key, decide_queue, decide_role};
use sealq_api::iam::{
    ConditionKeys, ConditionValue, Decision, Named, Policy, PolicyKind, Principal, Request,
};
use serde_json::{Value, json};

pub(crate) const OWNER: &str = "111111111111";
const ALICE: &str = "arn:aws:iam::111111111111:user/alice";
const BOB: &str = "arn:aws:iam::222222222222:user/bob";
const WORKER: &str = "arn:aws:iam::111111111111:role/worker";
const WORKER_SESSION: &str = "arn:aws:sts::111111111111:assumed-role/worker/s1";
const VISITOR: &str = "arn:aws:iam::222222222222:role/visitor";
const VISITOR_SESSION: &str = "arn:aws:sts::222222222222:assumed-role/visitor/s1";
const SERVICE: &str = "sns.amazonaws.com";

/// Statements of one document at most.
const STATEMENTS_MAX: u8 = 3;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Queue { crosses: bool },
    Key { granted: bool },
    Role,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) arn: &'static str,
    pub(crate) role_arn: Option<&'static str>,
    pub(crate) account: &'static str,
    pub(crate) unique_id: &'static str,
    pub(crate) is_service: bool,
    pub(crate) is_anonymous: bool,
}

impl Asker {
    pub(crate) fn is_root(&self) -> bool {
        self.arn.ends_with(":root")
    }

    pub(crate) fn principal(&self) -> Principal<'static> {
        Principal {
            arn: self.arn,
            role_arn: self.role_arn,
            account: self.account,
            unique_id: self.unique_id,
            is_service: self.is_service,
            is_anonymous: self.is_anonymous,
        }
    }
}

/// See the module documentation. Policies are texts: each side reads them itself.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    pub(crate) asked: Asked,
    pub(crate) asker: Asker,
    pub(crate) action: &'static str,
    pub(crate) resource: &'static str,
    /// In lower case.
    pub(crate) keys: BTreeMap<&'static str, Vec<String>>,
    pub(crate) identity: Vec<String>,
    pub(crate) session: Vec<String>,
    pub(crate) boundary: Option<String>,
    /// Queue, key or trust policy.
    pub(crate) of_resource: Option<String>,
}

impl Scene {
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices(bytes);
        let asked = match choices.next() % 3 {
            0 => Asked::Queue { crosses: choices.chance(200) },
            1 => Asked::Key { granted: choices.chance(40) },
            _ => Asked::Role,
        };
        let (kind, action, resource) = match asked {
            Asked::Queue { .. } => {
                let action = choices.pick(&["sqs:SendMessage", "sqs:ReceiveMessage"]);
                (PolicyKind::Queue, action, "arn:aws:sqs:us-east-1:111111111111:q")
            }
            Asked::Key { .. } => {
                let action = choices.pick(&["kms:Decrypt", "kms:GenerateDataKey"]);
                (PolicyKind::Key, action, "arn:aws:kms:us-east-1:111111111111:key/k")
            }
            Asked::Role => (PolicyKind::Trust, "sts:AssumeRole", WORKER),
        };
        let asker = choices.pick(&ASKERS);
        let keys = keys(&mut choices);
        let own = |choices: &mut Choices<'_>, kind, most: u8| {
            (0..choices.next() % (most + 1)).map(|_| document(choices, kind, asked)).collect::<Vec<_>>()
        };
        let has_own = !asker.is_service && !asker.is_anonymous && !asker.is_root();
        let (mut identity, mut session, mut boundary) = (Vec::new(), Vec::new(), None);
        if has_own {
            identity = own(&mut choices, PolicyKind::Identity, 2);
            if asker.role_arn.is_some() {
                session = own(&mut choices, PolicyKind::Session, 1);
            }
            if choices.chance(60) {
                boundary = Some(document(&mut choices, PolicyKind::Boundary, asked));
            }
        }
        let always = !matches!(asked, Asked::Queue { .. });
        let of_resource = (always || choices.chance(220)).then(|| document(&mut choices, kind, asked));
        Self { asked, asker, action, resource, keys, identity, session, boundary, of_resource }
    }

    /// What its resource's policy is.
    pub(crate) fn resource_kind(&self) -> PolicyKind {
        match self.asked {
            Asked::Queue { .. } => PolicyKind::Queue,
            Asked::Key { .. } => PolicyKind::Key,
            Asked::Role => PolicyKind::Trust,
        }
    }

    /// What the engine decides: whether the request may go on, and whether an explicit deny forbids it.
    pub(crate) fn decided(&self) -> (bool, bool) {
        let parse = |text: &String, kind| {
            Policy::parse(text, kind).map(Arc::new).unwrap_or_else(|error| panic!("{error}: {text}"))
        };
        let all = |texts: &[String], kind| texts.iter().map(|text| parse(text, kind)).collect::<Vec<_>>();
        let identity = all(&self.identity, PolicyKind::Identity);
        let session = all(&self.session, PolicyKind::Session);
        let boundary = self.boundary.as_ref().map(|text| parse(text, PolicyKind::Boundary));
        let of_resource = self.of_resource.as_ref().map(|text| parse(text, self.resource_kind()));
        let caller = IdentityPolicies {
            identity: &identity,
            session: &session,
            boundary: boundary.as_deref(),
            is_root: self.asker.is_root(),
        };
        let principal = self.asker.principal();
        let request =
            Request { principal, action: self.action, resource: self.resource, keys: &Keys(&self.keys) };
        let decision = match (self.asked, of_resource.as_deref()) {
            (Asked::Queue { crosses }, policy) => decide_queue(&request, &caller, policy, OWNER, crosses),
            (Asked::Key { granted }, Some(policy)) => {
                let named = if principal.role_arn.is_some() { Named::Role } else { Named::Itself };
                decide_key(&request, &caller, policy, OWNER, granted.then_some(named))
            }
            (Asked::Role, Some(policy)) => decide_role(&request, &caller, policy, OWNER),
            (_, None) => panic!("keys and roles always have a policy"),
        };
        (decision.is_allowed(), is_explicit(&decision))
    }
}

fn is_explicit(decision: &Decision<'_>) -> bool {
    use sealq_api::iam::DenialReason::{IdentityDeny, ResourceDeny};
    matches!(decision.denial, Some(IdentityDeny | ResourceDeny))
}

pub(crate) struct Keys<'a>(pub(crate) &'a BTreeMap<&'static str, Vec<String>>);

impl ConditionKeys for Keys<'_> {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        Some(match self.0.get(key)?.as_slice() {
            [one] => ConditionValue::One(one),
            many => ConditionValue::Many(many),
        })
    }
}

/// Bytes as choices; where they end, the first choice is made.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.next()) % from.len()]
    }

    /// True so many times of 256; false where the bytes have ended.
    fn chance(&mut self, of_256: u8) -> bool {
        !self.0.is_empty() && self.next() < of_256
    }

    /// One or two, as JSON writes them.
    fn one_or_two(&mut self, from: &[Value]) -> Value {
        let mut value = || from[usize::from(self.next()) % from.len()].clone();
        let first = value();
        if self.chance(80) {
            let second = from[usize::from(self.next()) % from.len()].clone();
            return json!([first, second]);
        }
        first
    }
}

pub(crate) const ASKERS: [Asker; 8] = [
    Asker { arn: ALICE, role_arn: None, account: OWNER, unique_id: "AIDAALICE", ..SIGNED },
    Asker { arn: BOB, role_arn: None, account: "222222222222", unique_id: "AIDABOB", ..SIGNED },
    Asker { arn: WORKER_SESSION, role_arn: Some(WORKER), account: OWNER, unique_id: "AROAWORKER", ..SIGNED },
    Asker {
        arn: VISITOR_SESSION,
        role_arn: Some(VISITOR),
        account: "222222222222",
        unique_id: "AROAVISITOR",
        ..SIGNED
    },
    Asker { arn: "arn:aws:iam::111111111111:root", account: OWNER, unique_id: OWNER, ..SIGNED },
    Asker {
        arn: "arn:aws:iam::222222222222:root",
        account: "222222222222",
        unique_id: "222222222222",
        ..SIGNED
    },
    Asker { arn: SERVICE, unique_id: SERVICE, is_service: true, ..SIGNED },
    Asker { arn: "anonymous", unique_id: "anonymous", is_anonymous: true, ..SIGNED },
];

const SIGNED: Asker =
    Asker { arn: "", role_arn: None, account: "", unique_id: "", is_service: false, is_anonymous: false };

fn keys(choices: &mut Choices<'_>) -> BTreeMap<&'static str, Vec<String>> {
    let pools: [(&'static str, &[&str]); 8] = [
        ("aws:username", &["alice", "ALICE", "a*", "q", "bob"]),
        ("k", &["alice", "b", "c", ""]),
        ("n", &["5", "4.5", "-1", "x"]),
        ("d", &["2026-01-01T00:00:00Z", "2026-01-02T03:04:05Z", "x"]),
        ("b", &["true", "false", "x"]),
        ("bytes", &["AAEC", "/w==", "?"]),
        ("ip", &["10.1.2.3", "192.168.0.1", "2001:db8::1", "x"]),
        ("arn", &["arn:aws:sns:us-east-1:111111111111:topic", "arn:aws:iam::111111111111:user/alice", "x"]),
    ];
    let mut keys = BTreeMap::new();
    for (name, values) in pools {
        if choices.chance(190) {
            // Two keys may have several values, or none.
            let count = if matches!(name, "k" | "arn") { choices.pick(&[1, 2, 0]) } else { 1 };
            keys.insert(name, (0..count).map(|_| choices.pick(values).to_owned()).collect());
        }
    }
    keys
}

fn document(choices: &mut Choices<'_>, kind: PolicyKind, asked: Asked) -> String {
    let count = 1 + choices.next() % STATEMENTS_MAX;
    let mut statements: Vec<Value> = (0..count).map(|_| statement(choices, kind, asked)).collect();
    let mut document = json!({});
    match choices.next() % 8 {
        0 => {}
        1 => document["Version"] = json!("2008-10-17"),
        _ => document["Version"] = json!("2012-10-17"),
    }
    document["Statement"] = match statements.len() {
        1 if choices.chance(128) => statements.remove(0),
        _ => Value::Array(statements),
    };
    document.to_string()
}

fn statement(choices: &mut Choices<'_>, kind: PolicyKind, asked: Asked) -> Value {
    let allow = !choices.chance(50);
    let mut statement = json!({ "Effect": if allow { "Allow" } else { "Deny" } });
    let actions = match asked {
        Asked::Queue { .. } => ["sqs:*", "sqs:SendMessage", "SQS:send*", "sqs:?eceiveMessage", "*"],
        Asked::Key { .. } => ["kms:*", "kms:Decrypt", "KMS:generate*", "kms:?ecrypt", "*"],
        Asked::Role => ["sts:*", "sts:AssumeRole", "STS:assume*", "sts:TagSession", "*"],
    };
    let name = if choices.chance(20) { "NotAction" } else { "Action" };
    statement[name] = choices.one_or_two(&actions.map(|action| json!(action)));
    if kind != PolicyKind::Trust {
        let name = if choices.chance(20) { "NotResource" } else { "Resource" };
        statement[name] = choices.one_or_two(&[
            json!("*"),
            json!("arn:aws:*"),
            json!("arn:aws:*:us-east-1:111111111111:*"),
            json!("arn:aws:sqs:us-east-1:111111111111:${aws:username}"),
            json!("arn:aws:sqs:us-east-1:111111111111:${aws:missing, 'q'}"),
            json!("arn:aws:kms:us-east-1:111111111111:key/?"),
            json!("arn:aws:iam::111111111111:role/*"),
            json!("arn:aws:sqs:us-east-1:111111111111:${*}"),
        ]);
    }
    if kind.is_resource_policy() {
        let name = if !allow && choices.chance(60) { "NotPrincipal" } else { "Principal" };
        statement[name] = principal(choices);
    }
    if choices.chance(100) {
        let mut operators = json!({});
        for _ in 0..1 + choices.next() % 2 {
            let (operator, key, values) = condition(choices);
            operators[operator][key] = values;
        }
        statement["Condition"] = operators;
    }
    statement
}

fn principal(choices: &mut Choices<'_>) -> Value {
    let names = [
        ALICE,
        BOB,
        WORKER,
        WORKER_SESSION,
        VISITOR,
        VISITOR_SESSION,
        OWNER,
        "222222222222",
        "*",
        "arn:aws:iam::111111111111:root",
        "arn:aws:iam::222222222222:root",
        "AIDAALICE",
        "AROAWORKER",
        "AIDAGONE",
    ];
    match choices.next() % 10 {
        0 => json!("*"),
        1 => json!({ "Service": SERVICE }),
        2 => json!({ "Federated": "accounts.example.com", "AWS": choices.pick(&names) }),
        _ => json!({ "AWS": choices.one_or_two(&names.map(|name| json!(name))) }),
    }
}

fn condition(choices: &mut Choices<'_>) -> (String, &'static str, Value) {
    let texts = [
        json!("alice"),
        json!("Alice"),
        json!("a*"),
        json!("?lice"),
        json!("${aws:username}"),
        json!("${aws:missing}"),
        json!("${aws:missing, 'alice'}"),
        json!("x${*}"),
        json!("b"),
        json!(""),
    ];
    let numbers = [json!("5"), json!(5), json!("4.5"), json!(-1), json!("1e1")];
    let dates = [json!("2026-01-01T00:00:00Z"), json!("2026-01-02"), json!("1767323045"), json!(0)];
    let networks = [json!("10.0.0.0/8"), json!("10.1.2.3"), json!("2001:db8::/32"), json!("0.0.0.0/0")];
    let arns = [
        json!("arn:aws:sns:us-east-1:111111111111:topic"),
        json!("arn:aws:sns:*:*:t*"),
        json!("*"),
        json!("arn:aws:iam::111111111111:user/${aws:username}"),
        json!("arn:*:sns:*:*:*:*"),
    ];
    let (names, key, values): (&[&str], &'static str, &[Value]) = match choices.next() % 8 {
        0 | 1 => (
            &[
                "StringEquals",
                "StringNotEquals",
                "StringEqualsIgnoreCase",
                "StringNotEqualsIgnoreCase",
                "StringLike",
                "StringNotLike",
            ],
            choices.pick(&["k", "AWS:UserName", "absent"]),
            &texts,
        ),
        2 => (
            &[
                "NumericEquals",
                "NumericNotEquals",
                "NumericLessThan",
                "NumericLessThanEquals",
                "NumericGreaterThan",
                "NumericGreaterThanEquals",
            ],
            "n",
            &numbers,
        ),
        3 => (
            &[
                "DateEquals",
                "DateNotEquals",
                "DateLessThan",
                "DateLessThanEquals",
                "DateGreaterThan",
                "DateGreaterThanEquals",
            ],
            "d",
            &dates,
        ),
        4 => (&["Bool"], "b", &[json!("true"), json!("False"), json!(true)]),
        5 => (&["BinaryEquals"], "bytes", &[json!("AAEC"), json!("/w==")]),
        6 => (&["IpAddress", "NotIpAddress"], "ip", &networks),
        _ => (&["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"], "arn", &arns),
    };
    if choices.chance(40) {
        let key = choices.pick(&["k", "n", "arn", "absent", "aws:username"]);
        return ("Null".into(), key, json!(choices.pick(&["true", "false"])));
    }
    let set = choices.pick(&["", "", "", "ForAllValues:", "ForAnyValue:"]);
    let if_exists = choices.pick(&["", "", "IfExists"]);
    (format!("{set}{}{if_exists}", choices.pick(names)), key, choices.one_or_two(values))
}
