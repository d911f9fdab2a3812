//! How documents combine: the rules for queues, for keys and for roles (auth contract, sections 3, 5.1 and 5.2).
//!
//! Deciding allocates nothing: a decision points at the statements that made it, and becomes text only where somebody
//! reads it.

use std::fmt;
use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use super::{Named, Policy, Request, StatementName, Verdict};

/// Why a request is denied; the wording is the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialReason {
    /// No identity policy allows it.
    NoIdentityAllow,
    /// No resource policy allows it.
    NoResourceAllow,
    /// An identity policy (or session policy, or boundary) denies it.
    IdentityDeny,
    /// The resource policy denies it.
    ResourceDeny,
    /// The session policy does not allow it.
    NoSessionAllow,
    /// The boundary does not allow it.
    NoBoundaryAllow,
}

impl DenialReason {
    /// The tail of the denial text. `action` as the service shows it.
    pub fn tail(self, action: &str) -> String {
        match self {
            Self::NoIdentityAllow => format!("because no identity-based policy allows the {action} action"),
            Self::NoResourceAllow => format!("because no resource-based policy allows the {action} action"),
            Self::IdentityDeny => "with an explicit deny in an identity-based policy".into(),
            Self::ResourceDeny => "with an explicit deny in a resource-based policy".into(),
            Self::NoSessionAllow => format!("because no session policy allows the {action} action"),
            Self::NoBoundaryAllow => format!("because no permissions boundary allows the {action} action"),
        }
    }
}

/// Where a deciding statement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySource {
    /// A policy of the user or role.
    Identity,
    /// A session policy.
    Session,
    /// The permissions boundary.
    Boundary,
    /// The queue policy.
    Queue,
    /// The key policy.
    Key,
    /// The role's trust policy.
    Trust,
    /// A grant on the key.
    Grant,
    /// The rights that an account root has by itself.
    Root,
    /// The rule that some actions are the owner's alone.
    OwnerOnly,
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity policy",
            Self::Session => "session policy",
            Self::Boundary => "permissions boundary",
            Self::Queue => "queue policy",
            Self::Key => "key policy",
            Self::Trust => "trust policy",
            Self::Grant => "grant",
            Self::Root => "root of its account",
            Self::OwnerOnly => "owner-only action",
        })
    }
}

/// One of what decided a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deciding<'p> {
    /// Where it stands.
    pub source: PolicySource,
    /// Which statement; a grant, a root's rights and a rule have none.
    pub statement: Option<StatementName<'p>>,
}

impl fmt::Display for Deciding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.statement {
            Some(statement) => write!(f, "{}, {statement}", self.source),
            None => write!(f, "{}", self.source),
        }
    }
}

impl<'p> Deciding<'p> {
    fn statement(source: PolicySource, statement: StatementName<'p>) -> Self {
        Self { source, statement: Some(statement) }
    }

    fn rule(source: PolicySource) -> Self {
        Self { source, statement: None }
    }
}

/// Yes or no, and what decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'p> {
    /// Denied when set.
    pub denial: Option<DenialReason>,
    /// What decided; of a denial for want of a right, what would have given it otherwise.
    pub because: SmallVec<[Deciding<'p>; 2]>,
}

type Because<'p> = SmallVec<[Deciding<'p>; 2]>;

impl<'p> Decision<'p> {
    /// True when the request may go on.
    pub fn is_allowed(&self) -> bool {
        self.denial.is_none()
    }

    fn allow(because: Because<'p>) -> Self {
        Self { denial: None, because }
    }

    fn deny(reason: DenialReason, because: Because<'p>) -> Self {
        Self { denial: Some(reason), because }
    }
}

/// What the caller brings along.
#[derive(Debug, Clone, Copy)]
pub struct IdentityPolicies<'a> {
    /// Policies of the user or role.
    pub identity: &'a [Arc<Policy>],
    /// Session policies: one must allow what the role allows.
    pub session: &'a [Arc<Policy>],
    /// Permissions boundary.
    pub boundary: Option<&'a Policy>,
    /// An account root, which has all rights of its account by itself.
    pub is_root: bool,
}

/// What the caller's own policies say of one request.
struct Identity<'p> {
    deny: Option<Deciding<'p>>,
    allow: Option<Deciding<'p>>,
    /// What narrows rights that come from identity policies, or from statements that name the role or account.
    limit: Option<DenialReason>,
}

impl<'p> IdentityPolicies<'p> {
    fn evaluate(&self, request: &Request<'_>) -> Identity<'p> {
        let (mut deny, mut allow, mut limit) = (None, None, None);
        let mut note_deny = |source, verdict: &Verdict<'p>| {
            deny = deny.or(verdict.deny.map(|name| Deciding::statement(source, name)));
        };
        for policy in self.identity {
            let verdict = policy.evaluate(request);
            note_deny(PolicySource::Identity, &verdict);
            allow = allow.or(verdict.allow().map(|name| Deciding::statement(PolicySource::Identity, name)));
        }
        if let Some(boundary) = self.boundary {
            let verdict = boundary.evaluate(request);
            note_deny(PolicySource::Boundary, &verdict);
            if verdict.allow().is_none() {
                limit = Some(DenialReason::NoBoundaryAllow);
            }
        }
        let mut session_allows = self.session.is_empty();
        for policy in self.session {
            let verdict = policy.evaluate(request);
            note_deny(PolicySource::Session, &verdict);
            session_allows |= verdict.allow().is_some();
        }
        if !session_allows {
            limit = Some(DenialReason::NoSessionAllow);
        }
        if self.is_root {
            allow = allow.or(Some(Deciding::rule(PolicySource::Root)));
        }
        Identity { deny, allow, limit }
    }
}

/// An explicit deny, wherever it stands.
fn denied<'p>(identity: &Identity<'p>, resource: &Verdict<'p>, source: PolicySource) -> Option<Decision<'p>> {
    if let Some(deny) = identity.deny {
        return Some(Decision::deny(DenialReason::IdentityDeny, smallvec![deny]));
    }
    let deny = Deciding::statement(source, resource.deny?);
    Some(Decision::deny(DenialReason::ResourceDeny, smallvec![deny]))
}

/// Allowed, unless a session policy or the boundary leaves it out.
fn narrowed<'p>(because: Because<'p>, limit: Option<DenialReason>) -> Decision<'p> {
    Decision { denial: limit, because }
}

/// Another account's caller: its own policies must allow what the resource allows.
fn crossing<'p>(identity: &Identity<'p>, by_resource: Option<Deciding<'p>>) -> Decision<'p> {
    match (by_resource, identity.allow) {
        (None, _) => Decision::deny(DenialReason::NoResourceAllow, smallvec![]),
        (Some(resource), None) => Decision::deny(DenialReason::NoIdentityAllow, smallvec![resource]),
        (Some(resource), Some(own)) => narrowed(smallvec![resource, own], identity.limit),
    }
}

/// Rules 5.1: a queue of `owner_account`. `crosses`: the action can be granted to another account.
pub fn decide_queue<'p>(
    request: &Request<'_>,
    caller: &IdentityPolicies<'p>,
    queue_policy: Option<&'p Policy>,
    owner_account: &str,
    crosses: bool,
) -> Decision<'p> {
    let identity = caller.evaluate(request);
    let queue = queue_policy.map_or_else(Verdict::default, |policy| policy.evaluate(request));
    if let Some(denied) = denied(&identity, &queue, PolicySource::Queue) {
        return denied;
    }
    let named = |name| Deciding::statement(PolicySource::Queue, name);
    let principal = &request.principal;
    let own_account = principal.account == owner_account;
    if !own_account && !crosses {
        let rule = Deciding::rule(PolicySource::OwnerOnly);
        return Decision::deny(DenialReason::NoResourceAllow, smallvec![rule]);
    }
    if principal.is_anonymous || principal.is_service {
        return match queue.stands() {
            Some(name) => Decision::allow(smallvec![named(name)]),
            None => Decision::deny(DenialReason::NoResourceAllow, smallvec![]),
        };
    }
    if !own_account {
        return crossing(&identity, queue.allow().map(named));
    }
    // Naming the account delegates to its identity policies: it adds nothing to them here.
    let limited = queue.allows(Named::Role).map(named).or(identity.allow);
    match (queue.stands(), limited) {
        (Some(name), _) => Decision::allow(smallvec![named(name)]),
        (None, Some(found)) => narrowed(smallvec![found], identity.limit),
        (None, None) => Decision::deny(DenialReason::NoIdentityAllow, smallvec![]),
    }
}

/// Actions without a resource of their own (ListQueues, CreateKey): the identity decides.
pub fn decide_identity<'p>(request: &Request<'_>, caller: &IdentityPolicies<'p>) -> Decision<'p> {
    let identity = caller.evaluate(request);
    if let Some(deny) = identity.deny {
        return Decision::deny(DenialReason::IdentityDeny, smallvec![deny]);
    }
    match identity.allow.filter(|_| !request.principal.is_anonymous && !request.principal.is_service) {
        None => Decision::deny(DenialReason::NoIdentityAllow, smallvec![]),
        Some(found) => narrowed(smallvec![found], identity.limit),
    }
}

/// Rules 5.2: a key of `owner_account`. `granted`: a grant covers the operation, and names the principal so.
pub fn decide_key<'p>(
    request: &Request<'_>,
    caller: &IdentityPolicies<'p>,
    key_policy: &'p Policy,
    owner_account: &str,
    granted: Option<Named>,
) -> Decision<'p> {
    decide_by_resource(request, caller, (key_policy, PolicySource::Key), owner_account, granted)
}

/// Who may assume a role of `owner_account`: the trust policy decides as a key's does.
pub fn decide_role<'p>(
    request: &Request<'_>,
    caller: &IdentityPolicies<'p>,
    trust: &'p Policy,
    owner_account: &str,
) -> Decision<'p> {
    decide_by_resource(request, caller, (trust, PolicySource::Trust), owner_account, None)
}

/// Where nothing goes without the resource's own policy: identity policies count only if it names the account.
fn decide_by_resource<'p>(
    request: &Request<'_>,
    caller: &IdentityPolicies<'p>,
    (policy, source): (&'p Policy, PolicySource),
    owner_account: &str,
    granted: Option<Named>,
) -> Decision<'p> {
    let identity = caller.evaluate(request);
    let verdict = policy.evaluate(request);
    if let Some(denied) = denied(&identity, &verdict, source) {
        return denied;
    }
    let named = |name| Deciding::statement(source, name);
    let granted_as = |ways: &[Named]| {
        granted.filter(|named| ways.contains(named)).map(|_| Deciding::rule(PolicySource::Grant))
    };
    let grant = granted.map(|_| Deciding::rule(PolicySource::Grant));
    let principal = &request.principal;
    if principal.is_anonymous {
        return Decision::deny(DenialReason::NoResourceAllow, smallvec![]);
    }
    if principal.is_service {
        return match verdict.stands().map(named).or(grant) {
            Some(found) => Decision::allow(smallvec![found]),
            None => Decision::deny(DenialReason::NoResourceAllow, smallvec![]),
        };
    }
    if principal.account != owner_account {
        return crossing(&identity, verdict.allow().map(named).or(grant));
    }
    if let Some(found) = verdict.stands().map(named).or_else(|| granted_as(&Named::STANDING)) {
        return Decision::allow(smallvec![found]);
    }
    if let Some(found) = verdict.allows(Named::Role).map(named).or_else(|| granted_as(&[Named::Role])) {
        return narrowed(smallvec![found], identity.limit);
    }
    let delegated = verdict.allows(Named::Account).map(named).or_else(|| granted_as(&[Named::Account]));
    match (delegated, identity.allow) {
        (None, _) => Decision::deny(DenialReason::NoResourceAllow, smallvec![]),
        (Some(account), None) => Decision::deny(DenialReason::NoIdentityAllow, smallvec![account]),
        (Some(account), Some(own)) => narrowed(smallvec![account, own], identity.limit),
    }
}
