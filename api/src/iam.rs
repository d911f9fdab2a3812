//! The IAM policy language: parsed once into a compiled form, evaluated without allocation in the common case.
//!
//! Holds one document and what it says of one request. How several documents combine is in [`decision`]. Knows no
//! accounts of its own: the request brings the principal and the condition keys.

mod condition;
pub mod decision;
mod distinct_json;
mod document;
mod pattern;

use std::fmt;

pub use condition::{ConditionKeys, ConditionValue};
pub use decision::{Deciding, Decision, DenialReason, PolicySource};
pub use document::{
    PolicyError, QUEUE_POLICY_CONDITIONS_MAX, QUEUE_POLICY_PRINCIPALS_MAX, QUEUE_STATEMENT_ACTIONS_MAX,
};

use condition::Conditions;
use pattern::Pattern;

/// Longest policy text that is parsed, bytes (the limit of key policies; the others' own limits are below it).
pub const POLICY_BYTES_MAX: usize = 32_768;

/// Most characters of an inline policy of a user, white space not counted.
pub const USER_POLICY_CHARS_MAX: usize = 2_048;
/// Most characters of an inline policy of a role, white space not counted.
pub const ROLE_POLICY_CHARS_MAX: usize = 10_240;
/// Most characters of a trust policy, white space not counted.
pub const TRUST_POLICY_CHARS_MAX: usize = 2_048;
/// Most characters of a managed policy, which a permissions boundary is, white space not counted.
pub const MANAGED_POLICY_CHARS_MAX: usize = 6_144;

/// The size of a policy text as the limits of users and roles count it.
pub fn policy_chars(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

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
    /// Keys that its variables stand for, those with a default apart.
    needs: Vec<String>,
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
    /// NotPrincipal, with Deny only: an Allow would admit anonymous callers.
    AllBut(Vec<PrincipalPattern>),
}

/// One entry of a Principal element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrincipalPattern {
    Everyone,
    Account(String),
    Arn(String),
    /// One session, by its ARN, of the role with this unique id.
    SessionOf {
        arn: String,
        role_id: String,
    },
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

/// How a resource policy's statement named the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// Through its account: the account's own policies decide the rest.
    Account,
    /// Through its role.
    Role,
    /// As everybody.
    Everyone,
    /// As the user, service or session that it is.
    Itself,
}

impl Named {
    /// The ways that admit a caller whatever its session policies and its boundary leave out.
    const STANDING: [Self; 2] = [Self::Itself, Self::Everyone];
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
    /// The first statement that allows, by how it names the caller.
    allows: [Option<StatementName<'p>>; Named::Itself as usize + 1],
}

impl<'p> Verdict<'p> {
    /// The first statement that allows it to the caller named so.
    pub fn allows(&self, named: Named) -> Option<StatementName<'p>> {
        self.allows[named as usize]
    }

    /// A statement that allows it, however it names the caller.
    pub fn allow(&self) -> Option<StatementName<'p>> {
        self.allows.iter().rev().find_map(|allow| *allow)
    }

    /// A statement that names the caller in a way that no session policy and no boundary narrows.
    fn stands(&self) -> Option<StatementName<'p>> {
        Named::STANDING.into_iter().find_map(|named| self.allows(named))
    }
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

    /// A document without a statement: it allows and denies nothing.
    pub fn silent(kind: PolicyKind) -> Self {
        Self { kind, statements: Vec::new() }
    }

    /// What it is attached to.
    pub fn kind(&self) -> PolicyKind {
        self.kind
    }

    /// How many statements it has.
    pub fn statement_count(&self) -> usize {
        self.statements.len()
    }

    /// ARNs and unique ids of users, roles and sessions that its statements name, for checks when it is written.
    pub fn named_principals(&self) -> impl Iterator<Item = &str> {
        self.statements.iter().flat_map(|statement| {
            match &statement.principals {
                Principals::Implied => [].iter(),
                Principals::Listed(list) | Principals::AllBut(list) => list.iter(),
            }
            .filter_map(|pattern| match pattern {
                PrincipalPattern::Arn(arn) => Some(arn.as_str()),
                PrincipalPattern::UniqueId(id) => Some(id.as_str()),
                _ => None,
            })
        })
    }

    /// Puts unique ids in place of the ARNs of users and roles that `id_of` knows, so that a namesake made later does
    /// not inherit what the document says. A session's ARN is tied to the id of its role.
    pub fn resolve(&mut self, id_of: impl Fn(&str) -> Option<String>) {
        for statement in &mut self.statements {
            if let Principals::Listed(list) | Principals::AllBut(list) = &mut statement.principals {
                for pattern in list {
                    if let PrincipalPattern::Arn(arn) = pattern
                        && let Some(id) = id_of(arn)
                    {
                        *pattern = match is_session_arn(arn) {
                            true => PrincipalPattern::SessionOf { arn: std::mem::take(arn), role_id: id },
                            false => PrincipalPattern::UniqueId(id),
                        };
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
            let allows = &mut verdict.allows[named as usize];
            *allows = allows.or(Some(name));
        }
        verdict
    }
}

impl Statement {
    fn applies(&self, request: &Request<'_>) -> Option<Named> {
        if !self.actions.admit_ignoring_case(request.action) {
            return None;
        }
        let named = self.principals.name(&request.principal)?;
        // A variable without a value makes the statement not apply, also where absence or negation would let it.
        if self.needs.iter().any(|key| request.keys.single(key).is_none()) {
            return None;
        }
        (self.resources.admit(request.resource, request.keys) && self.conditions.hold(request.keys))
            .then_some(named)
    }
}

impl Patterns {
    fn admit(&self, text: &str, keys: &dyn ConditionKeys) -> bool {
        self.any_of.iter().any(|pattern| pattern.matches(text, keys)) != self.negated
    }

    fn admit_ignoring_case(&self, text: &str) -> bool {
        self.any_of.iter().any(|pattern| pattern.matches_ignoring_case(text)) != self.negated
    }
}

impl Principals {
    /// How the caller is named; of several ways, the one that is narrowed least. A deny through the account reaches
    /// everybody in it.
    fn name(&self, principal: &Principal<'_>) -> Option<Named> {
        match self {
            Self::Implied => Some(Named::Itself),
            Self::Listed(list) => list.iter().filter_map(|pattern| pattern.name(principal)).max(),
            Self::AllBut(list) => {
                let excepted = list.iter().any(|pattern| pattern.excepts(principal));
                (!excepted).then_some(Named::Everyone)
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
            Self::Arn(arn) if !principal.is_service && arn == principal.arn => Some(Named::Itself),
            Self::Arn(arn) => (principal.role_arn == Some(arn)).then_some(Named::Role),
            Self::SessionOf { arn, role_id } => {
                (arn == principal.arn && role_id == principal.unique_id).then_some(Named::Itself)
            }
            Self::UniqueId(id)
                if principal.is_anonymous || principal.is_service || id != principal.unique_id =>
            {
                None
            }
            Self::UniqueId(_) if principal.role_arn.is_some() => Some(Named::Role),
            Self::UniqueId(_) => Some(Named::Itself),
            Self::Service(service) => {
                (principal.is_service && service == principal.arn).then_some(Named::Itself)
            }
            Self::Never => None,
        }
    }
}

impl PrincipalPattern {
    /// Whether a NotPrincipal list with this entry leaves the caller out. An account there is its root, and not
    /// everybody in it: the vendor's own examples name user and account to except the user.
    fn excepts(&self, principal: &Principal<'_>) -> bool {
        match self.name(principal) {
            Some(Named::Account) => principal.arn.ends_with(":root"),
            named => named.is_some(),
        }
    }
}

fn is_session_arn(arn: &str) -> bool {
    arn.split(':').nth(5).is_some_and(|resource| resource.starts_with("assumed-role/"))
}

#[cfg(test)]
mod tests;
