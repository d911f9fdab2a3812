//! From JSON to the compiled form. Everything that the grammar does not allow is refused, with its place.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use thiserror::Error;

use super::condition::Conditions;
use super::distinct_json::distinct_json;
use super::pattern::Pattern;
use super::{POLICY_BYTES_MAX, Patterns, Policy, PolicyKind, PrincipalPattern, Principals, Statement};
use crate::arn::is_account_id;

/// Most principals of a queue policy.
pub const QUEUE_POLICY_PRINCIPALS_MAX: usize = 50;
/// Most conditions of a queue policy.
pub const QUEUE_POLICY_CONDITIONS_MAX: usize = 10;
/// Most actions of one statement of a queue policy.
pub const QUEUE_STATEMENT_ACTIONS_MAX: usize = 7;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Longer than any policy may be.
    #[error("the policy has {bytes} bytes, at most {POLICY_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON.
    #[error("the policy is not valid JSON: {0}")]
    Json(String),
    /// A top-level element is wrong.
    #[error("{0}")]
    Document(String),
    /// A statement is wrong.
    #[error("statement {number}: {reason}")]
    Statement {
        /// From 1.
        number: usize,
        /// What is wrong.
        reason: String,
    },
}

pub(super) fn parse(text: &str, kind: PolicyKind) -> Result<Policy, PolicyError> {
    if text.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::TooLong { bytes: text.len() });
    }
    let document = match distinct_json(text) {
        Ok(Value::Object(document)) => document,
        Ok(_) => return Err(PolicyError::Document("a policy is a JSON object".into())),
        Err(error) => return Err(PolicyError::Json(error.to_string())),
    };
    if let Some(unknown) = document.keys().find(|key| !["Version", "Id", "Statement"].contains(&key.as_str()))
    {
        return Err(PolicyError::Document(format!("unknown element {unknown}")));
    }
    let variables = match document.get("Version") {
        None => false,
        Some(Value::String(version)) if version == "2008-10-17" => false,
        Some(Value::String(version)) if version == "2012-10-17" => true,
        Some(_) => return Err(PolicyError::Document("Version must be 2012-10-17 or 2008-10-17".into())),
    };
    if document.get("Id").is_some_and(|id| !id.is_string()) {
        return Err(PolicyError::Document("Id must be a string".into()));
    }
    let statements = match document.get("Statement") {
        Some(Value::Array(statements)) if statements.is_empty() => {
            return Err(PolicyError::Document("Statement is an empty list".into()));
        }
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        Some(_) => return Err(PolicyError::Document("Statement must be an object or a list of them".into())),
        None => return Err(PolicyError::Document("Statement is missing".into())),
    };
    let compile = |(at, statement): (usize, &Value)| {
        compile_statement(statement, kind, variables)
            .map_err(|reason| PolicyError::Statement { number: at + 1, reason })
    };
    let statements = statements.into_iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()?;
    if kind == PolicyKind::Queue {
        check_queue_limits(&statements)?;
    }
    Ok(Policy { kind, statements })
}

/// What one queue policy may hold (SQS API contract, section 13; its bytes and statements are checked with the
/// attribute).
fn check_queue_limits(statements: &[Statement]) -> Result<(), PolicyError> {
    let principals = |statement: &Statement| match &statement.principals {
        Principals::Implied => 0,
        Principals::Listed(list) | Principals::AllBut(list) => list.len(),
    };
    let all_principals: usize = statements.iter().map(principals).sum();
    let all_conditions: usize = statements.iter().map(|statement| statement.conditions.len()).sum();
    for (what, found, most) in [
        ("principals", all_principals, QUEUE_POLICY_PRINCIPALS_MAX),
        ("conditions", all_conditions, QUEUE_POLICY_CONDITIONS_MAX),
    ] {
        if found > most {
            return Err(PolicyError::Document(format!("{found} {what}, at most {most} are allowed")));
        }
    }
    let many = |statement: &Statement| statement.actions.any_of.len() > QUEUE_STATEMENT_ACTIONS_MAX;
    match statements.iter().position(many) {
        None => Ok(()),
        Some(at) => Err(PolicyError::Statement {
            number: at + 1,
            reason: format!("more than {QUEUE_STATEMENT_ACTIONS_MAX} actions"),
        }),
    }
}

fn compile_statement(statement: &Value, kind: PolicyKind, variables: bool) -> Result<Statement, String> {
    const ELEMENTS: [&str; 9] = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let Value::Object(elements) = statement else { return Err("a statement is a JSON object".into()) };
    if let Some(unknown) = elements.keys().find(|key| !ELEMENTS.contains(&key.as_str())) {
        return Err(format!("unknown element {unknown}"));
    }
    let sid = match elements.get("Sid") {
        None => None,
        Some(Value::String(sid)) => Some(sid.clone()),
        Some(_) => return Err("Sid must be a string".into()),
    };
    let allow = match elements.get("Effect").and_then(Value::as_str) {
        Some("Allow") => true,
        Some("Deny") => false,
        _ => return Err("Effect must be Allow or Deny".into()),
    };
    let actions =
        patterns(elements, "Action", "NotAction", false)?.ok_or("Action or NotAction is missing")?;
    for action in texts(elements, if actions.negated { "NotAction" } else { "Action" })? {
        check_action(&action, kind)?;
    }
    let resources = patterns(elements, "Resource", "NotResource", variables)?;
    let resources = match (resources, kind) {
        (Some(_), PolicyKind::Trust) => return Err("a trust policy names no resource".into()),
        (Some(resources), _) => {
            for resource in texts(elements, if resources.negated { "NotResource" } else { "Resource" })? {
                check_resource(&resource, kind)?;
            }
            resources
        }
        // The policy's own resource is meant.
        (None, PolicyKind::Trust) => Patterns { negated: false, any_of: vec![Pattern::anything()] },
        (None, _) => return Err("Resource or NotResource is missing".into()),
    };
    let conditions = conditions(elements, variables)?;
    let needs = resources.any_of.iter().flat_map(Pattern::needs).chain(conditions.needs());
    let needs: BTreeSet<&str> = needs.collect();
    Ok(Statement {
        sid,
        allow,
        principals: principals(elements, kind, allow)?,
        actions,
        needs: needs.into_iter().map(str::to_owned).collect(),
        resources,
        conditions,
    })
}

fn check_action(action: &str, kind: PolicyKind) -> Result<(), String> {
    if action == "*" {
        return Ok(());
    }
    let Some((service, name)) = action.split_once(':') else {
        return Err(format!("'{action}' is no action"));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '*' | '?');
    if name.is_empty() || service.is_empty() || !service.chars().all(plain) || !name.chars().all(plain) {
        return Err(format!("'{action}' is no action"));
    }
    let expected = match kind {
        PolicyKind::Queue => "sqs",
        PolicyKind::Key => "kms",
        PolicyKind::Trust => "sts",
        PolicyKind::Identity | PolicyKind::Session | PolicyKind::Boundary => return Ok(()),
    };
    if service.eq_ignore_ascii_case(expected) || service == "*" {
        Ok(())
    } else {
        Err(format!("'{action}' is no action of {expected}"))
    }
}

/// Identity policies speak of ARNs; what a queue's or key's policy speaks of is that queue or key.
fn check_resource(resource: &str, kind: PolicyKind) -> Result<(), String> {
    match kind {
        _ if resource.is_empty() => Err("a resource is empty".into()),
        PolicyKind::Identity | PolicyKind::Session | PolicyKind::Boundary
            if resource != "*" && !resource.starts_with("arn:") =>
        {
            Err(format!("'{resource}' is neither an ARN nor \"*\""))
        }
        _ => Ok(()),
    }
}

fn patterns(
    elements: &Map<String, Value>,
    name: &str,
    negated_name: &str,
    variables: bool,
) -> Result<Option<Patterns>, String> {
    let (name, negated) = match (elements.contains_key(name), elements.contains_key(negated_name)) {
        (true, true) => return Err(format!("{name} and {negated_name} exclude each other")),
        (true, false) => (name, false),
        (false, true) => (negated_name, true),
        (false, false) => return Ok(None),
    };
    let compile = |text: &String| Pattern::compile(text, true, variables);
    let any_of = texts(elements, name)?.iter().map(compile).collect::<Result<Vec<_>, _>>()?;
    if any_of.is_empty() {
        return Err(format!("{name} is empty"));
    }
    Ok(Some(Patterns { negated, any_of }))
}

fn principals(elements: &Map<String, Value>, kind: PolicyKind, allow: bool) -> Result<Principals, String> {
    let given = (elements.get("Principal"), elements.get("NotPrincipal"));
    if !kind.is_resource_policy() {
        return match given {
            (None, None) => Ok(Principals::Implied),
            _ => Err("an identity policy names no principal".into()),
        };
    }
    match given {
        (Some(value), None) => Ok(Principals::Listed(principal_list(value)?)),
        (None, Some(_)) if allow => {
            Err("NotPrincipal with Allow would admit everybody else, anonymous callers too".into())
        }
        (None, Some(value)) => Ok(Principals::AllBut(principal_list(value)?)),
        (Some(_), Some(_)) => Err("Principal and NotPrincipal exclude each other".into()),
        (None, None) => Err("Principal is missing".into()),
    }
}

fn principal_list(value: &Value) -> Result<Vec<PrincipalPattern>, String> {
    match value {
        Value::String(text) if text == "*" => Ok(vec![PrincipalPattern::Everyone]),
        Value::Object(kinds) if !kinds.is_empty() => {
            let mut list = Vec::new();
            for kind in kinds.keys() {
                for text in texts(kinds, kind)? {
                    list.push(match kind.as_str() {
                        "AWS" => aws_principal(&text)?,
                        "Service" => service_principal(text)?,
                        "Federated" | "CanonicalUser" => PrincipalPattern::Never,
                        _ => return Err(format!("unknown kind of principal {kind}")),
                    });
                }
            }
            if list.is_empty() { Err("Principal is empty".into()) } else { Ok(list) }
        }
        _ => Err("Principal must be \"*\" or an object".into()),
    }
}

fn service_principal(text: String) -> Result<PrincipalPattern, String> {
    let named = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    if text.is_empty() || !named {
        return Err(format!("'{text}' is no service: give its whole name, such as sns.amazonaws.com"));
    }
    Ok(PrincipalPattern::Service(text))
}

fn aws_principal(text: &str) -> Result<PrincipalPattern, String> {
    if text == "*" {
        return Ok(PrincipalPattern::Everyone);
    }
    if is_account_id(text) {
        return Ok(PrincipalPattern::Account(text.to_owned()));
    }
    let is_unique_id = |text: &str| {
        (text.starts_with("AIDA") || text.starts_with("AROA"))
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if is_unique_id(text) {
        return Ok(PrincipalPattern::UniqueId(text.to_owned()));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts[..] else {
        return Err(format!("'{text}' is no principal"));
    };
    if partition.is_empty() || !is_account_id(account) || text.contains(['*', '?']) {
        return Err(format!("'{text}' is no principal: wildcards stand alone or not at all"));
    }
    let is_path = |name: &str| name.split('/').all(|part| !part.is_empty());
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" => Ok(PrincipalPattern::Account(account.to_owned())),
        ("iam", Some(("user" | "role", name))) if is_path(name) => Ok(PrincipalPattern::Arn(text.to_owned())),
        ("sts", Some(("assumed-role", session))) if is_path(session) && session.split('/').count() == 2 => {
            Ok(PrincipalPattern::Arn(text.to_owned()))
        }
        ("sts", Some(("assumed-role", _))) => {
            Err(format!("'{text}' is no session: give its role's name and its own, .../<role>/<session>"))
        }
        _ => Err(format!("'{text}' is no principal")),
    }
}

fn conditions(elements: &Map<String, Value>, variables: bool) -> Result<Conditions, String> {
    let mut conditions = Conditions::default();
    match elements.get("Condition") {
        None => {}
        Some(Value::Object(operators)) => {
            for (operator, keys) in operators {
                let Value::Object(keys) = keys else { return Err(format!("{operator} must be an object")) };
                for key in keys.keys() {
                    let values = scalars(keys, key)?;
                    if values.is_empty() {
                        return Err(format!("{operator} {key} has no value"));
                    }
                    conditions.add(operator, key, &values, variables)?;
                }
            }
        }
        Some(_) => return Err("Condition must be an object".into()),
    }
    Ok(conditions)
}

/// A string or a list of strings.
fn texts(elements: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(format!("{name} must be a string or a list of strings")),
    };
    match elements.get(name) {
        Some(Value::Array(values)) => values.iter().map(text).collect(),
        Some(value) => Ok(vec![text(value)?]),
        None => Ok(Vec::new()),
    }
}

/// Condition values may also be numbers and booleans.
fn scalars(elements: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        _ => Err(format!("{name} must be a value or a list of values")),
    };
    match elements.get(name) {
        Some(Value::Array(values)) => values.iter().map(scalar).collect(),
        Some(value) => Ok(vec![scalar(value)?]),
        None => Ok(Vec::new()),
    }
}
