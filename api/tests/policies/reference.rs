//! The policy language read off the contract's tables, as simply as it can be written: no compilation, every statement
//! looked at anew, patterns matched by trying everything. Slow, and easy to check by eye.

use std::collections::BTreeSet;
use std::net::IpAddr;

use base64::Engine as _;
use serde_json::Value;

use crate::scene::{Asked, OWNER, Scene};

/// How a statement names the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Account,
    Role,
    Everyone,
    Itself,
}

/// Whether the request may go on, and whether an explicit deny forbids it.
pub(crate) fn decide(scene: &Scene) -> (bool, bool) {
    let read = |text: &String| serde_json::from_str::<Value>(text).expect("scenes hold JSON");
    let identity: Vec<Value> = scene.identity.iter().map(read).collect();
    let session: Vec<Value> = scene.session.iter().map(read).collect();
    let boundary: Vec<Value> = scene.boundary.iter().map(read).collect();
    let of_resource: Vec<Value> = scene.of_resource.iter().map(read).collect();

    // Explicit deny, in any policy, is final.
    let own = [&identity, &session, &boundary];
    let denied = own.into_iter().flatten().any(|document| says(document, "Deny", scene))
        || of_resource.iter().any(|document| !ways(document, "Deny", scene).is_empty());
    if denied {
        return (false, true);
    }

    let asker = &scene.asker;
    let identity_allows = asker.is_root() || identity.iter().any(|document| says(document, "Allow", scene));
    let within_session = session.is_empty() || session.iter().any(|document| says(document, "Allow", scene));
    let within_boundary = boundary.iter().all(|document| says(document, "Allow", scene));
    let within = within_session && within_boundary;
    let named: BTreeSet<Way> =
        of_resource.iter().flat_map(|document| ways(document, "Allow", scene)).collect();
    let stands = named.contains(&Way::Everyone) || named.contains(&Way::Itself);
    let is_own = asker.account == OWNER;

    let allowed = match scene.asked {
        Asked::Queue { crosses } => {
            if !is_own && !crosses {
                false
            } else if asker.is_anonymous || asker.is_service {
                stands
            } else if is_own {
                stands || (identity_allows || named.contains(&Way::Role)) && within
            } else {
                !named.is_empty() && identity_allows && within
            }
        }
        Asked::Key { .. } | Asked::Role => {
            let granted = scene.asked == Asked::Key { granted: true };
            if asker.is_anonymous {
                false
            } else if asker.is_service {
                stands || granted
            } else if is_own {
                let by_role = named.contains(&Way::Role) || granted && asker.role_arn.is_some();
                let by_account = named.contains(&Way::Account) && identity_allows;
                stands || granted && asker.role_arn.is_none() || (by_role || by_account) && within
            } else {
                (!named.is_empty() || granted) && identity_allows && within
            }
        }
    };
    (allowed, false)
}

/// Whether a document without principals has a statement of this effect for the request.
fn says(document: &Value, effect: &str, scene: &Scene) -> bool {
    statements(document)
        .iter()
        .any(|statement| statement["Effect"] == effect && applies(statement, document, scene))
}

/// How the statements of this effect name the caller.
fn ways(document: &Value, effect: &str, scene: &Scene) -> BTreeSet<Way> {
    let applying = |statement: &&Value| statement["Effect"] == effect && applies(statement, document, scene);
    statements(document).iter().filter(applying).flat_map(|statement| naming(statement, scene)).collect()
}

fn statements(document: &Value) -> Vec<Value> {
    list(&document["Statement"])
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        Value::Null => Vec::new(),
        value => vec![value.clone()],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn naming(statement: &Value, scene: &Scene) -> BTreeSet<Way> {
    let found: BTreeSet<Way> = ["Principal", "NotPrincipal"]
        .iter()
        .flat_map(|element| match &statement[*element] {
            Value::String(_) => vec![Way::Everyone],
            Value::Object(kinds) => kinds
                .iter()
                .flat_map(|(kind, names)| {
                    list(names).iter().filter_map(|name| way(kind, &text(name), scene)).collect::<Vec<_>>()
                })
                .collect(),
            _ => Vec::new(),
        })
        .collect();
    // In a NotPrincipal the account stands for its root, and for nobody else in it.
    let excepts = found.iter().any(|way| *way != Way::Account || scene.asker.is_root());
    match (statement.get("NotPrincipal").is_some(), excepts) {
        (true, false) => BTreeSet::from([Way::Everyone]),
        (true, true) => BTreeSet::new(),
        (false, _) => found,
    }
}

fn way(kind: &str, name: &str, scene: &Scene) -> Option<Way> {
    let asker = &scene.asker;
    let signed = !asker.is_anonymous && !asker.is_service;
    let role = asker.role_arn.is_some();
    match kind {
        "Service" => (asker.is_service && name == asker.arn).then_some(Way::Itself),
        "AWS" if name == "*" => Some(Way::Everyone),
        "AWS" if !signed => None,
        "AWS" if name == asker.account || name == format!("arn:aws:iam::{}:root", asker.account) => {
            Some(Way::Account)
        }
        "AWS" if name == asker.arn => Some(Way::Itself),
        "AWS" if asker.role_arn == Some(name) => Some(Way::Role),
        "AWS" if name == asker.unique_id => Some(if role { Way::Role } else { Way::Itself }),
        _ => None,
    }
}

fn applies(statement: &Value, document: &Value, scene: &Scene) -> bool {
    let variables = document["Version"] == "2012-10-17";
    // A variable without a value makes the statement not match, wherever it stands.
    let mut written = list(&statement["Resource"]);
    written.extend(list(&statement["NotResource"]));
    if let Value::Object(operators) = &statement["Condition"] {
        for keys in operators.values().filter_map(Value::as_object) {
            written.extend(keys.values().flat_map(list));
        }
    }
    if written.iter().any(|value| expand(&text(value), true, variables, scene).is_none()) {
        return false;
    }
    let admits = |element: &str, asked: &str, ignore_case: bool| {
        list(&statement[element]).iter().any(|value| {
            let pattern =
                expand(&text(value), true, variables && !ignore_case, scene).expect("all have values");
            let (mut pattern, mut asked) = (pattern, asked.to_owned());
            if ignore_case {
                asked = asked.to_lowercase();
                pattern.iter_mut().for_each(|token| *token = token.lower());
            }
            matches(&pattern, &asked.chars().collect::<Vec<_>>())
        })
    };
    let action = match statement.get("Action") {
        Some(_) => admits("Action", scene.action, true),
        None => !admits("NotAction", scene.action, true),
    };
    let resource = match (statement.get("Resource"), statement.get("NotResource")) {
        (Some(_), _) => admits("Resource", scene.resource, false),
        (None, Some(_)) => !admits("NotResource", scene.resource, false),
        // Trust policies name none: their own role is meant.
        (None, None) => true,
    };
    let conditions = match &statement["Condition"] {
        Value::Object(operators) => operators.iter().all(|(operator, keys)| {
            let keys = keys.as_object().expect("scenes hold operators with keys");
            keys.iter().all(|(key, values)| holds(operator, key, &list(values), variables, scene))
        }),
        _ => true,
    };
    action && resource && conditions
}

fn holds(operator: &str, key: &str, values: &[Value], variables: bool, scene: &Scene) -> bool {
    let wanted: Vec<String> = values.iter().map(text).collect();
    let found = scene.keys.get(key.to_lowercase().as_str()).cloned().unwrap_or_default();
    if operator == "Null" {
        return found.is_empty() == (wanted[0] == "true");
    }
    let (set, rest) = operator.split_once(':').unwrap_or(("", operator));
    let (name, if_exists) = match rest.strip_suffix("IfExists") {
        Some(name) => (name, true),
        None => (rest, false),
    };
    let negated = name.contains("Not");
    if found.is_empty() {
        return match set {
            "ForAllValues" => true,
            "ForAnyValue" => if_exists,
            _ => if_exists || negated,
        };
    }
    let one = |value: &String| {
        wanted.iter().any(|wanted| test(&name.replace("Not", ""), value, wanted, variables, scene)) != negated
    };
    match (set, negated) {
        ("ForAllValues", _) | ("", true) => found.iter().all(one),
        _ => found.iter().any(one),
    }
}

fn test(name: &str, found: &str, wanted: &str, variables: bool, scene: &Scene) -> bool {
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    let pattern = |wildcards| expand(wanted, wildcards, variables, scene).expect("all have values");
    let numbers = || -> Option<(f64, f64)> { Some((number(found)?, number(wanted)?)) };
    let times = || -> Option<(f64, f64)> { Some((seconds(found)?, seconds(wanted)?)) };
    let compared = |pair: Option<(f64, f64)>, how: &str| {
        pair.is_some_and(|(found, wanted)| match how {
            "Equals" => found == wanted,
            "LessThan" => found < wanted,
            "LessThanEquals" => found <= wanted,
            "GreaterThan" => found > wanted,
            "GreaterThanEquals" => found >= wanted,
            other => panic!("unknown comparison {other}"),
        })
    };
    match name {
        "StringEquals" => matches(&pattern(false), &characters(found)),
        "StringEqualsIgnoreCase" => {
            let pattern: Vec<Token> = pattern(false).iter().map(Token::lower).collect();
            matches(&pattern, &characters(&found.to_lowercase()))
        }
        "StringLike" => matches(&pattern(true), &characters(found)),
        "ArnEquals" | "ArnLike" => {
            let parts: Vec<&str> = found.splitn(6, ':').collect();
            let mut wanted = split(&pattern(true));
            if wanted == [vec![Token::Many]] {
                wanted = vec![vec![Token::Many]; 6];
            }
            parts.len() == 6
                && wanted.len() == 6
                && wanted.iter().zip(parts).all(|(wanted, part)| matches(wanted, &characters(part)))
        }
        "Bool" => found.eq_ignore_ascii_case(wanted) && ["true", "false"].contains(&found),
        "BinaryEquals" => {
            let decode = |text| base64::engine::general_purpose::STANDARD.decode(text).ok();
            decode(found).is_some() && decode(found) == decode(wanted)
        }
        "IpAddress" => within(found, wanted),
        _ if name.starts_with("Numeric") => compared(numbers(), &name["Numeric".len()..]),
        _ if name.starts_with("Date") => compared(times(), &name["Date".len()..]),
        other => panic!("unknown operator {other}"),
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Seconds since 1970 of a number, a date, or a date and time in UTC.
fn seconds(text: &str) -> Option<f64> {
    if let Some(number) = number(text) {
        return Some(number);
    }
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let of =
        |text: &str, by: char| -> Option<Vec<i64>> { text.split(by).map(|part| part.parse().ok()).collect() };
    let (date, time) = (of(date, '-')?, of(time.strip_suffix('Z')?, ':')?);
    let ([year, month, day], [hour, minute, second]) = (&date[..], &time[..]) else { return None };
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of = [31, if leap(*year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: i64 = (1970..*year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let months: i64 = days_of.iter().take(usize::try_from(month - 1).ok()?).sum();
    Some(((((before + months + day - 1) * 24 + hour) * 60 + minute) * 60 + second) as f64)
}

fn within(found: &str, network: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let (base, length) = network.split_once('/').unwrap_or((network, ""));
    let (Ok(found), Ok(base)) = (found.parse::<IpAddr>(), base.parse::<IpAddr>()) else { return false };
    let ((found, width), (base, base_width)) = (bits(found), bits(base));
    let length: u32 = length.parse().unwrap_or(base_width);
    width == base_width && (0..length).all(|bit| (found ^ base) >> (width - 1 - bit) & 1 == 0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Written(char),
    /// Out of a variable: never a wildcard, never a colon that separates.
    Value(char),
    Many,
    One,
}

impl Token {
    fn lower(&self) -> Self {
        let one = |c: char| c.to_lowercase().next().unwrap_or(c);
        match *self {
            Self::Written(c) => Self::Written(one(c)),
            Self::Value(c) => Self::Value(one(c)),
            other => other,
        }
    }
}

/// `None`: a variable has no value.
fn expand(text: &str, wildcards: bool, variables: bool, scene: &Scene) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if variables && rest.starts_with("${") {
            let end = rest.find('}').expect("scenes close their variables");
            let name = &rest[2..end];
            rest = &rest[end + 1..];
            if ["*", "?", "$"].contains(&name) {
                tokens.extend(name.chars().map(Token::Value));
                continue;
            }
            let (key, default) = match name.split_once(',') {
                Some((key, default)) => (key.trim(), Some(default.trim().trim_matches('\'').to_owned())),
                None => (name, None),
            };
            let value = match scene.keys.get(key).map(Vec::as_slice) {
                Some([one]) => Some(one.clone()),
                _ => default,
            };
            tokens.extend(value?.chars().map(Token::Value));
            continue;
        }
        rest = &rest[c.len_utf8()..];
        tokens.push(match c {
            '*' if wildcards => Token::Many,
            '?' if wildcards => Token::One,
            c => Token::Written(c),
        });
    }
    Some(tokens)
}

fn split(tokens: &[Token]) -> Vec<Vec<Token>> {
    let mut parts = vec![Vec::new()];
    for token in tokens {
        if *token == Token::Written(':') && parts.len() < 6 {
            parts.push(Vec::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(*token);
        }
    }
    parts
}

fn matches(pattern: &[Token], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((Token::Many, rest)) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        Some((Token::One, rest)) => !text.is_empty() && matches(rest, &text[1..]),
        Some((Token::Written(c) | Token::Value(c), rest)) => {
            text.first() == Some(c) && matches(rest, &text[1..])
        }
    }
}
