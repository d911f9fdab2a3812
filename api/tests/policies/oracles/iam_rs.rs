//! `iam-rs` 0.8 (crates.io, MIT): documents of any kind with an answer of three values.

use std::collections::HashMap;

use iam_rs::{
    Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, Principal, PrincipalId, evaluate_policies,
};

use super::statement::{has_wildcard, is_arn, is_literal, is_missing};
use super::{ALICE_SENDS, Example, Fault, Oracle, Question, Said};

pub(super) struct IamRs;

impl Oracle for IamRs {
    const NAME: &'static str = "iam-rs";

    fn says(document: &str, question: &Question) -> Result<Said, String> {
        decided(&[document], question)
    }

    /// A list of policies is all that it combines: no boundary, no session policy.
    fn allows(
        identity: &[String],
        session: &[String],
        boundary: Option<&String>,
        question: &Question,
    ) -> Option<Result<bool, String>> {
        let texts: Vec<&str> = identity.iter().map(String::as_str).collect();
        (session.is_empty() && boundary.is_none())
            .then(|| decided(&texts, question).map(|said| said == Said::Allow))
    }

    const FAULTS: &'static [Fault] = &[
        Fault {
            does: "refuses a policy without Version, which is one of 2008-10-17",
            concerns: |asked| !asked.has_version(),
            example: Example {
                version: "",
                statement: r#"{"Effect":"Allow","Action":"sqs:*","Resource":"*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "expands variables in resources of version 2008-10-17, which has none",
            concerns: |asked| !asked.has_variables() && asked.has_resource(|text| text.contains("${")),
            example: Example {
                version: "2008-10-17",
                keys: &[("aws:username", &["q"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:sqs:us-east-1:111111111111:${aws:username}"}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes a missing variable for an empty text, where the statement does not match",
            concerns: |asked| asked.has_variable(is_missing),
            example: Example {
                statement: r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:sqs:us-east-1:111111111111:${aws:username}"}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes ${*} for a variable that is missing",
            concerns: |asked| asked.has_variable(|variable, _| is_literal(variable)),
            example: Example {
                statement: r#"{"Effect":"Allow","Action":"*","NotResource":"arn:aws:sqs:us-east-1:111111111111:q${*}"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes a wildcard in the value of a variable for one of the policy",
            concerns: |asked| {
                asked.has_variable(|variable, question| {
                    question.values(variable).iter().any(|v| has_wildcard(v))
                })
            },
            example: Example {
                keys: &[("aws:username", &["*"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:sqs:us-east-1:111111111111:${aws:username}"}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "expands no variable in the values of conditions",
            concerns: |asked| {
                asked.has_condition(|condition, _| condition.texts().any(|text| text.contains("${")))
            },
            example: Example {
                keys: &[("aws:username", &["alice"]), ("k", &["alice"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"k":"${aws:username}"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "wants six parts of a resource, and the service written out",
            concerns: |asked| {
                asked.has_resource(|text| {
                    text != "*" && (!is_arn(text) || text.split(':').nth(2).is_some_and(has_wildcard))
                })
            },
            example: Example {
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"arn:aws:*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "compares ArnEquals to the letter, where it is as ArnLike",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    condition.is("Arn")
                        && condition.is("Equals")
                        && condition.texts().any(|t| has_wildcard(&t))
                })
            },
            example: Example {
                keys: &[("aws:sourcearn", &["arn:aws:sns:us-east-1:111111111111:topic"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:*:*:topic"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "compares ArnLike as one text: what is no ARN can match, and a wildcard spans parts",
            concerns: |asked| {
                asked.has_condition(|condition, found| {
                    condition.is("Arn")
                        && (found.iter().any(|text| !is_arn(text))
                            || condition.texts().any(|text| !is_arn(&text)))
                })
            },
            example: Example {
                keys: &[("aws:sourcearn", &["topic"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnLike":{"aws:SourceArn":"*"}}}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "lets one value of several satisfy a negated operator, where none may match",
            concerns: |asked| {
                asked.has_condition(|condition, found| {
                    condition.set.is_empty() && condition.is_negated() && found.len() > 1
                })
            },
            example: Example {
                keys: &[("aws:tagkeys", &["a", "b"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:TagKeys":"a"}}}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses IfExists behind a set operator",
            concerns: |asked| {
                asked.has_condition(|condition, _| !condition.set.is_empty() && condition.if_exists)
            },
            example: Example {
                keys: &[("aws:tagkeys", &["a"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringEqualsIfExists":{"aws:TagKeys":"a"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses set operators in front of all but texts and ARNs",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    !condition.set.is_empty() && !condition.is("String") && !condition.is("Arn")
                })
            },
            example: Example {
                keys: &[("n", &["1"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:NumericEquals":{"n":"1"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes a key with an empty set of values for one that is there",
            concerns: |asked| {
                asked.has_condition(|condition, found| {
                    found.is_empty()
                        && asked.question.keys.contains_key(condition.key.to_lowercase().as_str())
                })
            },
            example: Example {
                keys: &[("aws:tagkeys", &[])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Null":{"aws:TagKeys":"true"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses True and False in capitals",
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
            does: "refuses a date without a time",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    condition.is("Date")
                        && condition.texts().any(|text| !text.contains('T') && text.parse::<f64>().is_err())
                })
            },
            example: Example {
                keys: &[("aws:currenttime", &["2026-01-01T00:00:00Z"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-02"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses a list of values that are not all strings",
            concerns: |asked| {
                asked.has_condition(|condition, _| {
                    condition.values.len() > 1 && condition.values.iter().any(|value| !value.is_string())
                })
            },
            example: Example {
                keys: &[("n", &["1"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NumericEquals":{"n":[1,"2"]}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "compares base64 without regard to case",
            concerns: |asked| {
                let plain = |text: &str| text.to_lowercase().trim_end_matches('=').to_owned();
                asked.has_condition(|condition, found| {
                    condition.is("Binary")
                        && found.iter().any(|f| condition.texts().any(|t| *f != t && plain(f) == plain(&t)))
                })
            },
            example: Example {
                keys: &[("bytes", &["AAEC"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"BinaryEquals":{"bytes":"aaec"}}}"#,
                says: Said::Nothing,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "ignores case in ASCII only",
            concerns: |asked| {
                asked.has_condition(|condition, found| {
                    condition.is("IgnoreCase")
                        && (!found.iter().all(|text| text.is_ascii())
                            || condition.texts().any(|t| !t.is_ascii()))
                })
            },
            example: Example {
                keys: &[("k", &["ÉTÉ"])],
                statement: r#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEqualsIgnoreCase":{"k":"été"}}}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "names nobody of an account by its id or its root",
            concerns: |asked| {
                let asker = &asked.question.asker;
                asked.has_aws_principal(|name| {
                    !asker.account.is_empty()
                        && (name == asker.account || name == format!("arn:aws:iam::{}:root", asker.account))
                })
            },
            example: Example {
                statement: r#"{"Effect":"Deny","Principal":{"AWS":"111111111111"},"Action":"sqs:*","Resource":"*"}"#,
                says: Said::Deny,
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
            does: "knows nobody by a unique id",
            concerns: |asked| asked.has_aws_principal(|name| name == asked.question.asker.unique_id),
            example: Example {
                statement: r#"{"Effect":"Allow","Principal":{"AWS":"AIDAALICE"},"Action":"sqs:*","Resource":"*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: r#"leaves services out of {"AWS":"*"}, which is the same as "*""#,
            concerns: |asked| asked.question.asker.is_service && asked.has_aws_principal(|name| name == "*"),
            example: Example {
                asker: "sns.amazonaws.com",
                statement: r#"{"Effect":"Deny","Principal":{"AWS":"*"},"Action":"sqs:*","Resource":"*"}"#,
                says: Said::Deny,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "refuses principals of two kinds in one statement",
            concerns: |asked| {
                let kinds =
                    |element: &str| asked.statement[element].as_object().map_or(0, |kinds| kinds.len());
                kinds("Principal") > 1 || kinds("NotPrincipal") > 1
            },
            example: Example {
                statement: r#"{"Effect":"Allow","Principal":{"AWS":"*","Service":"sns.amazonaws.com"},"Action":"sqs:*","Resource":"*"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "never applies a statement without Resource, as trust policies have them",
            concerns: |asked| asked.names_no_resource(),
            example: Example {
                statement: r#"{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}"#,
                ..ALICE_SENDS
            },
        },
        Fault {
            does: "takes no request of an anonymous caller",
            concerns: |asked| asked.question.asker.is_anonymous,
            example: Example {
                asker: "anonymous",
                statement: r#"{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}"#,
                ..ALICE_SENDS
            },
        },
    ];
}

fn decided(documents: &[&str], question: &Question) -> Result<Said, String> {
    let policies: Vec<IAMPolicy> = documents
        .iter()
        .map(|document| serde_json::from_str(document).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    let asker = &question.asker;
    let principal = match (asker.is_anonymous, asker.is_service) {
        (true, _) => Principal::Wildcard,
        (false, true) => Principal::Service(PrincipalId::String(asker.arn.into())),
        (false, false) => Principal::Aws(PrincipalId::String(asker.arn.into())),
    };
    let resource = Arn::parse(question.resource).map_err(|error| error.to_string())?;
    let keys = question.keys.iter().map(|(key, values)| ((*key).to_owned(), value(values)));
    let context = Context::with_data(keys.collect::<HashMap<_, _>>());
    let request = IAMRequest::new_with_context(principal, question.action, resource, context);
    match evaluate_policies(&policies, &request).map_err(|error| error.to_string())? {
        Decision::Allow => Ok(Said::Allow),
        Decision::Deny => Ok(Said::Deny),
        Decision::NotApplicable => Ok(Said::Nothing),
    }
}

/// Its values have types, the wire's have none.
fn value(values: &[String]) -> ContextValue {
    match values {
        [one] if one == "true" || one == "false" => ContextValue::Boolean(one == "true"),
        [one] => ContextValue::String(one.clone()),
        many => ContextValue::StringList(many.to_vec()),
    }
}
