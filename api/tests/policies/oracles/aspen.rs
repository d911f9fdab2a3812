//! `scratchstack-aspen` 0.3 (crates.io, MIT): documents with an answer of three values, and sets of them with session
//! policies and boundaries.

use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use scratchstack_arn::Arn;
use scratchstack_aspen::{Context, Decision, Policy, PolicySet, PolicySource};
use scratchstack_aws_principal::{
    AssumedRole, Principal, PrincipalIdentity, RootUser, Service, SessionData, SessionValue, User,
};

use super::statement::{has_wildcard, is_arn, is_missing};
use super::{ALICE_SENDS, Example, Fault, Oracle, Question, Said};

pub(super) struct Aspen;

impl Oracle for Aspen {
    const NAME: &'static str = "scratchstack-aspen";

    fn says(document: &str, question: &Question) -> Result<Said, String> {
        let policy = Policy::from_str(document).map_err(|error| error.to_string())?;
        match policy.evaluate(&context(question)?).map_err(|error| error.to_string())? {
            Decision::Allow => Ok(Said::Allow),
            Decision::Deny => Ok(Said::Deny),
            Decision::DefaultDeny => Ok(Said::Nothing),
        }
    }

    fn allows(
        identity: &[String],
        session: &[String],
        boundary: Option<&String>,
        question: &Question,
    ) -> Option<Result<bool, String>> {
        Some(set_allows(identity, session, boundary, question))
    }

    const FAULTS: &'static [Fault] = &[
        Fault {
            does: "lets the first statement that applies decide, an Allow before a Deny too",
            concerns: |asked| {
                let effects = asked.effects();
                let allow = effects.iter().position(|effect| effect == "Allow");
                allow.is_some_and(|at| effects[at..].iter().any(|effect| effect == "Deny"))
            },
            example: Example {
                statement: r#"[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"*","Resource":"*"}]"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "lets no negated operator hold where the key is absent",
            concerns: |asked| {
                asked.has_condition(|condition, found| condition.is_negated() && found.is_empty())
            },
            example: Example {
                statement: r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:SourceVpce":"vpce-1"}}}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "lets a negated operator hold where one of its values differs, though another matches",
            concerns: |asked| {
                asked.has_condition(|condition, _| condition.is_negated() && condition.values.len() > 1)
            },
            example: Example {
                keys: &[("k", &["a"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"k":["a","b"]}}}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "has no set operators",
            concerns: |asked| asked.has_condition(|condition, _| !condition.set.is_empty()),
            example: Example {
                keys: &[("aws:tagkeys", &["a"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":"a"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "has no keys of several values",
            concerns: |asked| asked.has_condition(|_, found| found.len() > 1),
            example: Example {
                keys: &[("aws:tagkeys", &["a", "b"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:TagKeys":"a"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "compares actions with regard to case",
            concerns: |asked| asked.has_action(|action| differs_in_case(action, asked.question.action)),
            example: Example {
                statement: r#"{"Effect":"Deny","Action":"SQS:sendmessage","Resource":"*"}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses a wildcard in the service of an action",
            concerns: |asked| {
                asked.has_action(|action| action.split_once(':').is_some_and(|(s, _)| has_wildcard(s)))
            },
            example: Example {
                statement: r#"{"Effect":"Deny","Action":"*:SendMessage","Resource":"*"}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "expands variables of StringEquals in version 2008-10-17, which has none",
            concerns: |asked| {
                !asked.has_variables()
                    && asked.has_condition(|condition, _| {
                        condition.is("String")
                            && !condition.is("Like")
                            && condition.texts().any(|t| t.contains("${"))
                    })
            },
            example: Example {
                version: "2008-10-17",
                keys: &[("aws:username", &["alice"]), ("k", &["alice"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"k":"${aws:username}"}}}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes a missing variable for an empty text, where the statement does not match",
            concerns: |asked| asked.has_variables() && asked.has_variable(is_missing),
            example: Example {
                statement: r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:sqs:us-east-1:111111111111:${aws:username}"}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "knows no default of a variable",
            concerns: |asked| {
                asked.has_variables() && asked.has_variable(|variable, _| variable.contains(','))
            },
            example: Example {
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:sqs:us-east-1:111111111111:${aws:username, 'q'}"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses a $ that begins no variable",
            concerns: |asked| {
                let lone = |text: &str| text.replace("${", "").contains('$');
                asked.has_variables()
                    && (asked.has_resource(lone)
                        || asked.has_condition(|condition, _| condition.texts().any(|t| lone(&t))))
            },
            example: Example {
                keys: &[("k", &["5$"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"k":"5$"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "reads whole numbers only, and takes others for neither equal nor unequal",
            concerns: |asked| {
                asked.has_condition(|condition, found| {
                    let whole = |text: &str| text.parse::<i64>().is_ok();
                    condition.is("Numeric")
                        && !(condition.texts().all(|t| whole(&t)) && found.iter().all(|t| whole(t)))
                })
            },
            example: Example {
                keys: &[("n", &["4.5"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"n":"5"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses values of conditions that JSON writes as numbers or booleans",
            concerns: |asked| {
                asked.has_condition(|condition, _| condition.values.iter().any(|value| !value.is_string()))
            },
            example: Example {
                keys: &[("aws:securetransport", &["false"])],
                statement: r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":false}}}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "reads no date without a time",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    condition.is("Date")
                        && condition.texts().any(|text| !text.contains('T') && text.parse::<i64>().is_err())
                })
            },
            example: Example {
                keys: &[("aws:currenttime", &["2026-01-01T00:00:00Z"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-02"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "knows True and False in small letters only",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    condition.is("Bool") && condition.texts().any(|text| !["true", "false"].contains(&&*text))
                })
            },
            example: Example {
                keys: &[("aws:securetransport", &["false"])],
                statement: r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":"False"}}}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes what is no address for one inside every network",
            concerns: |asked| {
                asked.has_condition(|condition, found| {
                    condition.is("NotIpAddress") && found.iter().any(|text| text.parse::<IpAddr>().is_err())
                })
            },
            example: Example {
                keys: &[("ip", &["unix"])],
                statement: r#"{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"ip":"10.0.0.0/8"}}}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "knows no ARN pattern of one star",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    condition.is("Arn") && condition.texts().any(|text| !is_arn(&text))
                })
            },
            example: Example {
                keys: &[("aws:sourcearn", &["arn:aws:sns:us-east-1:111111111111:topic"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"*"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses a resource of fewer than six parts",
            concerns: |asked| asked.has_resource(|text| text != "*" && !is_arn(text)),
            example: Example {
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses a statement without Resource, as trust policies have them",
            concerns: |asked| asked.names_no_resource(),
            example: Example {
                statement: r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "does not know the sessions of a role by the role",
            concerns: |asked| asked.has_aws_principal(|name| asked.question.asker.role_arn == Some(name)),
            example: Example {
                asker: "assumed-role/worker/s1",
                statement: r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111111111111:role/worker"},"Action":"sqs:*","Resource":"*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "does not count sessions among those whom the root of an account stands for",
            concerns: |asked| {
                let asker = &asked.question.asker;
                asker.role_arn.is_some()
                    && asked.has_aws_principal(|name| name == format!("arn:aws:iam::{}:root", asker.account))
            },
            example: Example {
                asker: "assumed-role/worker/s1",
                statement: r#"{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"sqs:*","Resource":"*"}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses unique ids as principals",
            concerns: |asked| {
                asked.has_aws_principal(|name| name.starts_with("AIDA") || name.starts_with("AROA"))
            },
            example: Example {
                statement: r#"{"Effect":"Allow","Principal":{"AWS":"AIDAALICE"},"Action":"sqs:*","Resource":"*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "lets an account in NotPrincipal stand for everybody of it, and not for its root alone",
            concerns: |asked| {
                asked.statement.get("NotPrincipal").is_some()
                    && asked.has_aws_principal(|name| name.ends_with(":root") || !name.contains([':', '*']))
            },
            example: Example {
                statement: r#"{"Effect":"Deny","NotPrincipal":{"AWS":"arn:aws:iam::111111111111:root"},"Action":"sqs:*","Resource":"*"}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: r#"leaves services and anonymous callers out of {"AWS":"*"}, which is the same as "*""#,
            concerns: |asked| {
                let asker = &asked.question.asker;
                (asker.is_service || asker.is_anonymous) && asked.has_aws_principal(|name| name == "*")
            },
            example: Example {
                asker: "sns.amazonaws.com",
                statement: r#"{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sqs:*","Resource":"*"}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
    ];
}

/// Whether a pattern is made of parts of the action, but only without regard to case.
fn differs_in_case(pattern: &str, action: &str) -> bool {
    let within = |pattern: &str, action: &str| pattern.split(['*', '?']).all(|part| action.contains(part));
    !within(pattern, action) && within(&pattern.to_lowercase(), &action.to_lowercase())
}

fn context(question: &Question) -> Result<Context, String> {
    let (service, api) = question.action.split_once(':').ok_or("no action")?;
    let mut session = SessionData::new();
    for (key, values) in &question.keys {
        if let [value] = values.as_slice() {
            session.insert(key, typed(key, value));
        }
    }
    Context::builder()
        .service(service)
        .api(api)
        .actor(principal(question)?)
        .resources(vec![Arn::from_str(question.resource).map_err(|error| error.to_string())?])
        .session_data(session)
        .build()
        .map_err(|error| error.to_string())
}

/// Its values have types, the wire's have none.
fn typed(key: &str, value: &str) -> SessionValue {
    if value == "true" || value == "false" {
        return SessionValue::Bool(value == "true");
    }
    if let Ok(address) = value.parse::<IpAddr>() {
        return SessionValue::IpAddr(address);
    }
    match STANDARD.decode(value) {
        Ok(bytes) if key == "bytes" => SessionValue::Binary(bytes),
        _ => SessionValue::String(value.to_owned()),
    }
}

fn principal(question: &Question) -> Result<Principal, String> {
    let asker = &question.asker;
    let parts: Vec<&str> = asker.arn.rsplit(':').next().unwrap_or_default().split('/').collect();
    let identity: Result<PrincipalIdentity, _> = match parts[..] {
        _ if asker.is_anonymous => return Ok(Principal::from(Vec::new())),
        _ if asker.is_service => {
            let (name, suffix) = asker.arn.split_once('.').ok_or("no service")?;
            Service::new(name, None, suffix).map(Into::into)
        }
        ["root"] => RootUser::new("aws", asker.account).map(Into::into),
        ["user", name] => User::new("aws", asker.account, "/", name).map(Into::into),
        ["assumed-role", role, session] => {
            AssumedRole::new("aws", asker.account, role, session).map(Into::into)
        }
        _ => return Err(format!("{} is no principal", asker.arn)),
    };
    Ok(Principal::from(vec![identity.map_err(|error| error.to_string())?]))
}

fn set_allows(
    identity: &[String],
    session: &[String],
    boundary: Option<&String>,
    question: &Question,
) -> Result<bool, String> {
    let arn = question.asker.arn;
    let sources = identity
        .iter()
        .map(|text| (PolicySource::new_entity_inline(arn, question.asker.unique_id, "p"), text))
        .chain(session.iter().map(|text| (PolicySource::new_session(), text)))
        .chain(boundary.map(|text| (PolicySource::new_permission_boundary(arn, "ANPAB", "v1"), text)));
    let mut set = PolicySet::new();
    for (source, text) in sources {
        set.add_policy(source, Policy::from_str(text).map_err(|error| error.to_string())?);
    }
    let (decision, _) = set.evaluate(&context(question)?).map_err(|error| error.to_string())?;
    Ok(decision == Decision::Allow)
}
