//! What the lists of faults look for in a statement.

use serde_json::Value;

use super::{Asked, Question};

/// A value or a list of values, as JSON writes either.
pub(super) fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        Value::Null => Vec::new(),
        value => vec![value.clone()],
    }
}

/// A value as text: numbers and booleans may stand for theirs.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A statement, and what is left of it with any resource, without its conditions, and with neither.
pub(super) fn parts(statement: &Value) -> Vec<Value> {
    let without = |elements: &[&str]| {
        let mut left = statement.clone();
        let members = left.as_object_mut().expect("statements are objects");
        members.retain(|name, _| !elements.contains(&name.as_str()));
        if elements.contains(&"Resource") {
            members.insert("Resource".into(), "*".into());
        }
        left
    };
    let resource = ["Resource", "NotResource"];
    match resource.iter().any(|name| statement.get(name).is_some()) {
        true => vec![
            statement.clone(),
            without(&resource),
            without(&["Condition"]),
            without(&["Resource", "NotResource", "Condition"]),
        ],
        false => vec![statement.clone(), without(&["Condition"])],
    }
}

/// One `operator: {key: values}`.
#[derive(Debug)]
pub(super) struct Condition {
    /// `ForAllValues`, `ForAnyValue`, or nothing.
    pub(super) set: String,
    /// Without set operator and IfExists.
    pub(super) name: String,
    pub(super) if_exists: bool,
    pub(super) key: String,
    pub(super) values: Vec<Value>,
}

impl Condition {
    pub(super) fn is(&self, family: &str) -> bool {
        self.name.contains(family)
    }

    pub(super) fn is_negated(&self) -> bool {
        self.is("Not")
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = String> + '_ {
        self.values.iter().map(text)
    }
}

impl Asked<'_> {
    /// Absent, it is 2008-10-17.
    pub(super) fn has_version(&self) -> bool {
        self.document.get("Version").is_some()
    }

    /// Whether the version has variables.
    pub(super) fn has_variables(&self) -> bool {
        self.document["Version"] == "2012-10-17"
    }

    pub(super) fn effects(&self) -> Vec<String> {
        list(&self.document["Statement"]).iter().map(|statement| text(&statement["Effect"])).collect()
    }

    pub(super) fn conditions(&self) -> Vec<Condition> {
        let operators = self.statement["Condition"].as_object().into_iter().flatten();
        let of_operator = operators.flat_map(|(operator, keys)| {
            let (set, rest) = operator.split_once(':').unwrap_or(("", operator));
            let name = rest.strip_suffix("IfExists").unwrap_or(rest);
            keys.as_object().into_iter().flatten().map(move |(key, values)| Condition {
                set: set.into(),
                name: name.into(),
                if_exists: name != rest,
                key: key.clone(),
                values: list(values),
            })
        });
        of_operator.collect()
    }

    /// Whether a condition is so, given the values that its key has.
    pub(super) fn has_condition(&self, is: impl Fn(&Condition, &[String]) -> bool) -> bool {
        self.conditions().iter().any(|condition| is(condition, self.question.values(&condition.key)))
    }

    fn texts(&self, elements: [&str; 2]) -> Vec<String> {
        elements
            .iter()
            .flat_map(|element| list(&self.statement[*element]))
            .map(|value| text(&value))
            .collect()
    }

    pub(super) fn has_resource(&self, is: impl Fn(&str) -> bool) -> bool {
        self.texts(["Resource", "NotResource"]).iter().any(|text| is(text))
    }

    pub(super) fn names_no_resource(&self) -> bool {
        self.statement.get("Resource").is_none() && self.statement.get("NotResource").is_none()
    }

    pub(super) fn has_action(&self, is: impl Fn(&str) -> bool) -> bool {
        self.texts(["Action", "NotAction"]).iter().any(|text| is(text))
    }

    /// Whether one of the entries under `AWS` is so.
    pub(super) fn has_aws_principal(&self, is: impl Fn(&str) -> bool) -> bool {
        let kinds = ["Principal", "NotPrincipal"].iter().filter_map(|element| self.statement.get(element));
        kinds.flat_map(|kinds| list(&kinds["AWS"])).any(|entry| is(&text(&entry)))
    }

    /// Whether a text with variables, in a resource or in a condition, is so.
    pub(super) fn has_variable(&self, is: impl Fn(&str, &Question) -> bool) -> bool {
        let conditions = self.conditions();
        let written = conditions.iter().flat_map(Condition::texts);
        let written = written.chain(self.texts(["Resource", "NotResource"]));
        written.flat_map(|text| variables(&text)).any(|name| is(&name, self.question))
    }
}

/// What stands between `${` and `}` in a text.
pub(super) fn variables(text: &str) -> Vec<String> {
    let starts = text.split("${").skip(1);
    starts.filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}

/// `${*}`, `${?}` and `${$}`, which stand for themselves.
pub(super) fn is_literal(variable: &str) -> bool {
    ["*", "?", "$"].contains(&variable)
}

/// Without a default, and without the one value that would stand for it.
pub(super) fn is_missing(variable: &str, question: &Question) -> bool {
    !is_literal(variable) && !variable.contains(',') && question.values(variable).len() != 1
}

pub(super) fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Six parts, or more colons in the last.
pub(super) fn is_arn(text: &str) -> bool {
    text.splitn(6, ':').count() == 6 && text.starts_with("arn:")
}
