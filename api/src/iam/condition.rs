//! Condition blocks: operators, set operators, IfExists, Null.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;

use super::pattern::Pattern;

/// Value of a condition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionValue<'a> {
    /// One value.
    One(&'a str),
    /// A multi-valued key. Without any value it is as if it were absent.
    Many(&'a [String]),
}

/// What is known of a request. Key names come in lower case.
pub trait ConditionKeys {
    /// The value of a key; `None` when it is absent.
    fn get(&self, key: &str) -> Option<ConditionValue<'_>>;

    /// The value of a single-valued key.
    fn single(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            ConditionValue::One(value) => Some(value),
            ConditionValue::Many(_) => None,
        }
    }
}

/// Parts of an ARN; the last may hold colons.
const ARN_PARTS: usize = 6;

#[derive(Debug, Clone, Default)]
pub(super) struct Conditions(Vec<Condition>);

#[derive(Debug, Clone)]
struct Condition {
    key: String,
    set: SetOperator,
    if_exists: bool,
    test: Test,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SetOperator {
    None,
    ForAllValues,
    ForAnyValue,
}

#[derive(Debug, Clone)]
enum Test {
    /// Null: whether the key must be absent.
    Absent(bool),
    Texts(Vec<Pattern>),
    TextsIgnoringCase(Vec<Pattern>),
    /// Six parts each.
    Arns(Vec<[Pattern; ARN_PARTS]>),
    Numbers(Compare, Vec<f64>),
    /// Milliseconds since 1970.
    Dates(Compare, Vec<i64>),
    Bools(Vec<bool>),
    Bytes(Vec<Vec<u8>>),
    Networks(Vec<IpNet>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    fn holds<V: PartialOrd>(self, found: V, wanted: V) -> bool {
        match self {
            Self::Equal => found == wanted,
            Self::Less => found < wanted,
            Self::LessOrEqual => found <= wanted,
            Self::Greater => found > wanted,
            Self::GreaterOrEqual => found >= wanted,
        }
    }
}

impl Conditions {
    /// Adds one `operator: {key: values}` entry. The error says what is wrong with it.
    pub(super) fn add(
        &mut self,
        operator: &str,
        key: &str,
        values: &[String],
        variables: bool,
    ) -> Result<(), String> {
        let (set, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (SetOperator::ForAllValues, rest),
            Some(("ForAnyValue", rest)) => (SetOperator::ForAnyValue, rest),
            Some((prefix, _)) => return Err(format!("unknown set operator {prefix}")),
            None => (SetOperator::None, operator),
        };
        let (name, if_exists) = match rest.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (rest, false),
        };
        if key.is_empty() {
            return Err(format!("{operator} names no key"));
        }
        let (test, negated) = test(name, values, variables)?;
        if matches!(test, Test::Absent(_)) && (if_exists || set != SetOperator::None) {
            return Err("Null takes neither IfExists nor a set operator".into());
        }
        self.0.push(Condition { key: key.to_ascii_lowercase(), set, if_exists, test, negated });
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keys that its variables need a value of.
    pub(super) fn needs(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|condition| condition.test.patterns()).flat_map(Pattern::needs)
    }

    pub(super) fn hold(&self, keys: &dyn ConditionKeys) -> bool {
        self.0.iter().all(|condition| condition.holds(keys))
    }
}

impl Condition {
    fn holds(&self, keys: &dyn ConditionKeys) -> bool {
        let found = keys.get(&self.key).filter(|value| !matches!(value, ConditionValue::Many([])));
        if let Test::Absent(wanted) = self.test {
            return found.is_none() == wanted;
        }
        let Some(found) = found else {
            return match self.set {
                SetOperator::ForAllValues => true,
                SetOperator::ForAnyValue => self.if_exists,
                SetOperator::None => self.if_exists || self.negated,
            };
        };
        let one = |value: &str| self.test.matches(value, keys) != self.negated;
        match (self.set, found) {
            (_, ConditionValue::One(value)) => one(value),
            (SetOperator::ForAllValues, ConditionValue::Many(values)) => {
                values.iter().all(|value| one(value))
            }
            (SetOperator::None, ConditionValue::Many(values)) if self.negated => {
                values.iter().all(|value| one(value))
            }
            (_, ConditionValue::Many(values)) => values.iter().any(|value| one(value)),
        }
    }
}

impl Test {
    /// The patterns that may hold variables.
    fn patterns(&self) -> Box<dyn Iterator<Item = &Pattern> + '_> {
        match self {
            Self::Texts(patterns) | Self::TextsIgnoringCase(patterns) => Box::new(patterns.iter()),
            Self::Arns(arns) => Box::new(arns.iter().flatten()),
            _ => Box::new(std::iter::empty()),
        }
    }

    fn matches(&self, value: &str, keys: &dyn ConditionKeys) -> bool {
        match self {
            Self::Absent(_) => false,
            Self::Texts(patterns) => patterns.iter().any(|pattern| pattern.matches(value, keys)),
            Self::TextsIgnoringCase(patterns) => {
                patterns.iter().any(|pattern| pattern.equals_ignoring_case(value, keys))
            }
            Self::Arns(arns) => arns.iter().any(|parts| {
                let found = || value.splitn(ARN_PARTS, ':');
                found().count() == ARN_PARTS
                    && parts.iter().zip(found()).all(|(part, text)| part.matches(text, keys))
            }),
            Self::Numbers(compare, numbers) => {
                number(value).is_some_and(|found| numbers.iter().any(|wanted| compare.holds(found, *wanted)))
            }
            Self::Dates(compare, dates) => {
                date_ms(value).is_some_and(|found| dates.iter().any(|wanted| compare.holds(found, *wanted)))
            }
            Self::Bools(bools) => bool_of(value).is_some_and(|found| bools.contains(&found)),
            Self::Bytes(bytes) => STANDARD.decode(value).is_ok_and(|found| bytes.contains(&found)),
            Self::Networks(networks) => value
                .parse::<IpAddr>()
                .is_ok_and(|found| networks.iter().any(|network| network.contains(&found.to_canonical()))),
        }
    }
}

/// The test behind an operator's bare name, and whether it is negated.
fn test(name: &str, values: &[String], variables: bool) -> Result<(Test, bool), String> {
    let patterns = |wildcards: bool| -> Result<Vec<Pattern>, String> {
        values.iter().map(|value| Pattern::compile(value, wildcards, variables)).collect()
    };
    // A value that is no ARN equals none, which SQS accepts when a policy is set; "unlike any ARN" would always hold.
    let arns = |negated: bool| -> Result<Test, String> {
        let mut arns = Vec::new();
        for value in values {
            match arn(value, variables)? {
                Some(parts) => arns.push(parts),
                None if negated => return Err(format!("'{value}' is no ARN")),
                None => {}
            }
        }
        Ok(Test::Arns(arns))
    };
    let numbers = |compare| -> Result<Test, String> {
        let parse = |value: &String| number(value).ok_or_else(|| format!("'{value}' is no number"));
        Ok(Test::Numbers(compare, values.iter().map(parse).collect::<Result<_, _>>()?))
    };
    let dates = |compare| -> Result<Test, String> {
        let parse = |value: &String| date_ms(value).ok_or_else(|| format!("'{value}' is no date"));
        Ok(Test::Dates(compare, values.iter().map(parse).collect::<Result<_, _>>()?))
    };
    let bools = || -> Result<Vec<bool>, String> {
        values
            .iter()
            .map(|value| bool_of(value).ok_or_else(|| format!("'{value}' is neither true nor false")))
            .collect()
    };
    let networks = || -> Result<Test, String> {
        let parse = |value: &String| {
            value
                .parse::<IpNet>()
                .or_else(|_| value.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("'{value}' is no network"))
        };
        Ok(Test::Networks(values.iter().map(parse).collect::<Result<_, _>>()?))
    };
    Ok(match name {
        "StringEquals" => (Test::Texts(patterns(false)?), false),
        "StringNotEquals" => (Test::Texts(patterns(false)?), true),
        "StringEqualsIgnoreCase" => (Test::TextsIgnoringCase(patterns(false)?), false),
        "StringNotEqualsIgnoreCase" => (Test::TextsIgnoringCase(patterns(false)?), true),
        "StringLike" => (Test::Texts(patterns(true)?), false),
        "StringNotLike" => (Test::Texts(patterns(true)?), true),
        "ArnEquals" | "ArnLike" => (arns(false)?, false),
        "ArnNotEquals" | "ArnNotLike" => (arns(true)?, true),
        "NumericEquals" => (numbers(Compare::Equal)?, false),
        "NumericNotEquals" => (numbers(Compare::Equal)?, true),
        "NumericLessThan" => (numbers(Compare::Less)?, false),
        "NumericLessThanEquals" => (numbers(Compare::LessOrEqual)?, false),
        "NumericGreaterThan" => (numbers(Compare::Greater)?, false),
        "NumericGreaterThanEquals" => (numbers(Compare::GreaterOrEqual)?, false),
        "DateEquals" => (dates(Compare::Equal)?, false),
        "DateNotEquals" => (dates(Compare::Equal)?, true),
        "DateLessThan" => (dates(Compare::Less)?, false),
        "DateLessThanEquals" => (dates(Compare::LessOrEqual)?, false),
        "DateGreaterThan" => (dates(Compare::Greater)?, false),
        "DateGreaterThanEquals" => (dates(Compare::GreaterOrEqual)?, false),
        "Bool" => (Test::Bools(bools()?), false),
        "BinaryEquals" => {
            let parse =
                |value: &String| STANDARD.decode(value).map_err(|_| format!("'{value}' is not base64"));
            (Test::Bytes(values.iter().map(parse).collect::<Result<_, _>>()?), false)
        }
        "IpAddress" => (networks()?, false),
        "NotIpAddress" => (networks()?, true),
        "Null" => match bools()?[..] {
            [absent] => (Test::Absent(absent), false),
            _ => return Err("Null takes one value".into()),
        },
        _ => return Err(format!("unknown condition operator {name}")),
    })
}

/// The six parts of an ARN pattern; a lone `*` is six of them. `None`: it is no ARN.
fn arn(text: &str, variables: bool) -> Result<Option<[Pattern; ARN_PARTS]>, String> {
    if text == "*" {
        return Ok(Some(std::array::from_fn(|_| Pattern::anything())));
    }
    let parts = split_arn(text, variables)
        .into_iter()
        .map(|part| Pattern::compile(part, true, variables))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(parts.try_into().ok())
}

/// Six parts at most; a variable's own colon (`${aws:username}`) separates nothing.
fn split_arn(text: &str, variables: bool) -> Vec<&str> {
    let (mut parts, mut start, mut in_variable) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '$' if variables && text[at..].starts_with("${") => in_variable = true,
            '}' => in_variable = false,
            ':' if !in_variable && parts.len() < ARN_PARTS - 1 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn bool_of(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A finite number.
fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// ISO 8601, or seconds since 1970.
fn date_ms(text: &str) -> Option<i64> {
    if let Some(seconds) = number(text) {
        return Some((seconds * 1_000.0) as i64);
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    format!("{text}T00:00:00Z").parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}
