//! The IAM policy language: parsed once into a compiled form, evaluated without allocation in the common case.
//!
//! Holds one document and what it says of one request. How several documents combine is in [`decision`]. Knows no
//! accounts of its own: the request brings the principal and the condition keys.

mod condition;
pub mod decision;
mod document;
mod pattern;

use std::fmt;

pub use condition::{ConditionKeys, ConditionValue};
pub use decision::{Decision, DenialReason};
pub use document::PolicyError;

use condition::Conditions;
use pattern::Pattern;

/// Longest policy text that is parsed, bytes (the limit of key policies; the others' own limits are below it).
pub const POLICY_BYTES_MAX: usize = 32_768;

/// What a document is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyKind {
    /// A user or role.
    Identity,
    /// A queue.
    Queue,
    /// A key.
    Key,
    /// A role: who may assume it.
    Trust,
    /// A session.
    Session,
    /// A user or role: the most it may do.
    Boundary,
}

impl PolicyKind {
    /// Whether statements name principals.
    pub fn is_resource_policy(self) -> bool {
        matches!(self, Self::Queue | Self::Key | Self::Trust)
    }
}

/// A compiled policy.
#[derive(Debug, Clone)]
pub struct Policy {
    kind: PolicyKind,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    sid: Option<String>,
    allow: bool,
    principals: Principals,
    actions: Patterns,
    resources: Patterns,
    conditions: Conditions,
}

/// A list of patterns that must match, or must not.
#[derive(Debug, Clone)]
struct Patterns {
    negated: bool,
    any_of: Vec<Pattern>,
}

#[derive(Debug, Clone)]
enum Principals {
    /// Identity policies name none.
    Implied,
    Listed(Vec<PrincipalPattern>),
    /// NotPrincipal.
    AllBut(Vec<PrincipalPattern>),
}

/// One entry of a Principal element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalPattern {
    Everyone,
    Account(String),
    Arn(String),
    /// A unique id that a deleted principal left behind, or that the document was resolved to.
    UniqueId(String),
    Service(String),
    /// Federated and canonical users: kept, never matched.
    Never,
}

/// Who asks, as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    /// ARN: user, root, or the session's own for role sessions. The service name for services.
    pub arn: &'a str,
    /// ARN of the role, for role sessions.
    pub role_arn: Option<&'a str>,
    /// 12 digits; empty for services and anonymous callers.
    pub account: &'a str,
    /// Unique id (without the session name).
    pub unique_id: &'a str,
    /// A service principal.
    pub is_service: bool,
    /// Not signed.
    pub is_anonymous: bool,
}

/// How a resource policy's statement named the caller; later ones are more specific.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// Through its account: the account's own policies decide the rest.
    Account,
    /// As everybody.
    Everyone,
    /// Itself, or its role.
    Itself,
    /// The session's own ARN.
    Session,
}

/// One request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Who.
    pub principal: Principal<'a>,
    /// `sqs:SendMessage`.
    pub action: &'a str,
    /// ARN, or `*`.
    pub resource: &'a str,
    /// Condition keys.
    pub keys: &'a dyn ConditionKeys,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} on {}", self.action, self.principal.arn, self.resource)
    }
}

/// What one document says of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verdict<'p> {
    /// The first statement that denies.
    pub deny: Option<StatementName<'p>>,
    /// The statement that allows and names the caller most specifically.
    pub allow: Option<(Named, StatementName<'p>)>,
    /// A statement allows it to the caller's account.
    pub delegates: bool,
}

/// Sid of a statement, or its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementName<'p> {
    /// Sid, if it has one.
    pub sid: Option<&'p str>,
    /// Position, from 0.
    pub index: usize,
}

impl fmt::Display for StatementName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sid {
            Some(sid) => write!(f, "statement \"{sid}\""),
            None => write!(f, "statement {}", self.index + 1),
        }
    }
}

impl Policy {
    /// Parses and compiles a document.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong and where.
    pub fn parse(text: &str, kind: PolicyKind) -> Result<Self, PolicyError> {
        document::parse(text, kind)
    }

    /// What it is attached to.
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// How many statements it has.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// ARNs of users, roles and roots that its statements name, for checks when it is written.
    pub fn named_arns(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| {
            match &statement.principals {
                Principals::Implied => [].iter(),
                Principals::Listed(list) | Principals::AllBut(list) => list.iter(),
            }
            .filter_map(|pattern| match pattern {
                PrincipalPattern::Arn(arn) => Some(arn.as_str()),
                _ => None,
            })
        })
    }

    /// Puts unique ids in place of the ARNs of users and roles that `id_of` knows, so that a namesake made later does
    /// not inherit what the document says.
    pub fn resolve(&mut self, id_of: impl Fn(&str) -> Option<String>) {
        for statement in &mut self.statements {
            if let Principals::Listed(list) | Principals::AllBut(list) = &mut statement.principals {
                for pattern in list {
                    if let PrincipalPattern::Arn(arn) = pattern
                        && let Some(id) = id_of(arn)
                    {
                        *pattern = PrincipalPattern::UniqueId(id);
                    }
                }
            }
        }
    }

    /// What the document says of a request.
    pub fn evaluate(&self, request: &Request<'_>) -> Verdict<'_> {
        let mut verdict = Verdict::default();
        for (index, statement) in self.statements.iter().enumerate() {
            let Some(named) = statement.applies(request) else { continue };
            let name = StatementName { sid: statement.sid.as_deref(), index };
            if !statement.allow {
                verdict.deny = verdict.deny.or(Some(name));
                continue;
            }
            if named == Named::Account {
                verdict.delegates = true;
            }
            if verdict.allow.is_none_or(|(before, _)| before < named) {
                verdict.allow = Some((named, name));
            }
        }
        verdict
    }
}

impl Statement {
    fn applies(&self, request: &Request<'_>) -> Option<Named> {
        if !self.actions.admit_ignoring_case(request.action) {
            return None;
        }
        let named = self.principals.name(&request.principal, self.allow)?;
        (self.resources.admit(request.resource, request.keys) && self.conditions.hold(request.keys))
            .then_some(named)
    }
}

impl Patterns {
    /// A variable without a value makes a negated list match nothing too: the statement does not apply.
    fn admit(&self, text: &str, keys: &dyn ConditionKeys) -> bool {
        if self.negated && !self.any_of.iter().all(|pattern| pattern.is_resolved(keys)) {
            return false;
        }
        self.any_of.iter().any(|pattern| pattern.matches(text, keys)) != self.negated
    }

    fn admit_ignoring_case(&self, text: &str) -> bool {
        self.any_of.iter().any(|pattern| pattern.matches_ignoring_case(text)) != self.negated
    }
}

impl Principals {
    /// How the caller is named. A deny through the account reaches everybody in it.
    fn name(&self, principal: &Principal<'_>, allow: bool) -> Option<Named> {
        match self {
            Self::Implied => Some(Named::Itself),
            Self::Listed(list) => list.iter().filter_map(|pattern| pattern.name(principal)).max(),
            Self::AllBut(list) => {
                let excepted = list.iter().any(|pattern| pattern.name(principal).is_some());
                (!(excepted || allow && principal.is_anonymous)).then_some(Named::Everyone)
            }
        }
    }
}

impl PrincipalPattern {
    fn name(&self, principal: &Principal<'_>) -> Option<Named> {
        match self {
            Self::Everyone => Some(Named::Everyone),
            Self::Account(account)
                if principal.is_anonymous || principal.is_service || account != principal.account =>
            {
                None
            }
            Self::Account(_) => Some(Named::Account),
            Self::Arn(arn) if !principal.is_service && arn == principal.arn => {
                Some(if principal.role_arn.is_some() { Named::Session } else { Named::Itself })
            }
            Self::Arn(arn) => (principal.role_arn == Some(arn)).then_some(Named::Itself),
            Self::UniqueId(id) => {
                (!principal.is_anonymous && !principal.is_service && id == principal.unique_id)
                    .then_some(Named::Itself)
            }
            Self::Service(service) => {
                (principal.is_service && service == principal.arn).then_some(Named::Itself)
            }
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests;
