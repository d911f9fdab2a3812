//! From JSON to the compiled form. Everything that the grammar does not allow is refused, with its place.

use serde_json::{Map, Value};
use thiserror::Error;

use super::condition::Conditions;
use super::pattern::Pattern;
use super::{POLICY_BYTES_MAX, Patterns, Policy, PolicyKind, PrincipalPattern, Principals, Statement};
use crate::arn::is_account_id;

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
    serde_json::from_str::<Distinct>(text).map_err(|error| PolicyError::Json(error.to_string()))?;
    let document = match serde_json::from_str(text) {
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
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => return Err(PolicyError::Document("Statement is missing".into())),
    };
    let compile = |(at, statement): (usize, &Value)| {
        compile_statement(statement, kind, variables)
            .map_err(|reason| PolicyError::Statement { number: at + 1, reason })
    };
    Ok(Policy {
        kind,
        statements: statements.into_iter().enumerate().map(compile).collect::<Result<_, _>>()?,
    })
}

/// Any JSON whose objects name no member twice: of two, readers take different ones.
struct Distinct;

impl<'de> serde::Deserialize<'de> for Distinct {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor)
    }
}

struct DistinctVisitor;

impl<'de> serde::de::Visitor<'de> for DistinctVisitor {
    type Value = Distinct;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_str<E>(self, _: &str) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_unit<E>(self) -> Result<Distinct, E> {
        Ok(Distinct)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Distinct, A::Error> {
        while items.next_element::<Distinct>()?.is_some() {}
        Ok(Distinct)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<Distinct, A::Error> {
        let mut names = std::collections::BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if names.contains(&name) {
                return Err(serde::de::Error::custom(format_args!("{name} is given twice")));
            }
            names.insert(name);
            members.next_value::<Distinct>()?;
        }
        Ok(Distinct)
    }
}

fn compile_statement(statement: &Value, kind: PolicyKind, variables: bool) -> Result<Statement, String> {
    const ELEMENTS: [&str; 10] = [
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "Comment",
    ];
    let Value::Object(elements) = statement else { return Err("a statement is a JSON object".into()) };
    if let Some(unknown) = elements.keys().find(|key| !ELEMENTS[..9].contains(&key.as_str())) {
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
        (Some(resources), _) => resources,
        // The policy's own resource is meant.
        (None, PolicyKind::Trust) => {
            Patterns { negated: false, any_of: vec![Pattern::compile("*", true, false)] }
        }
        (None, _) => return Err("Resource or NotResource is missing".into()),
    };
    Ok(Statement {
        sid,
        allow,
        principals: principals(elements, kind, allow)?,
        actions,
        resources,
        conditions: conditions(elements, variables)?,
    })
}

fn check_action(action: &str, kind: PolicyKind) -> Result<(), String> {
    if action == "*" {
        return Ok(());
    }
    let Some((service, name)) = action.split_once(':') else {
        return Err(format!("'{action}' is no action"));
    };
    if name.is_empty() || service.is_empty() {
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
    let any_of: Vec<Pattern> =
        texts(elements, name)?.iter().map(|text| Pattern::compile(text, true, variables)).collect();
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
                        "Service" => PrincipalPattern::Service(text),
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
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" => Ok(PrincipalPattern::Account(account.to_owned())),
        ("iam", Some(("user" | "role", name))) | ("sts", Some(("assumed-role", name)))
            if !name.is_empty() =>
        {
            Ok(PrincipalPattern::Arn(text.to_owned()))
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
