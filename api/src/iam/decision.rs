//! How documents combine: the rules for queues and for keys (auth contract, sections 5.1 and 5.2).

use std::fmt;

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

/// The outcome, with what decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Denied when set.
    pub denial: Option<DenialReason>,
    /// The statements that decided, for `explain` and the audit log.
    pub because: Vec<String>,
}

impl Decision {
    /// True when the request may go on.
    pub fn is_allowed(&self) -> bool {
        self.denial.is_none()
    }

    fn allow(because: Vec<String>) -> Self {
        Self { denial: None, because }
    }

    fn deny(reason: DenialReason, because: Vec<String>) -> Self {
        Self { denial: Some(reason), because }
    }
}

/// What the caller brings along.
#[derive(Debug, Clone, Copy)]
pub struct IdentityPolicies<'a> {
    /// Policies of the user or role.
    pub identity: &'a [std::sync::Arc<Policy>],
    /// Session policies: all must allow what the role allows.
    pub session: &'a [std::sync::Arc<Policy>],
    /// Permissions boundary.
    pub boundary: Option<&'a Policy>,
    /// An account root, which has all rights of its account by itself.
    pub is_root: bool,
}

struct Identity<'p> {
    deny: Option<(&'static str, StatementName<'p>)>,
    allow: Option<StatementName<'p>>,
    session_limits: bool,
    boundary_limits: bool,
}

impl IdentityPolicies<'_> {
    fn evaluate<'p>(&'p self, request: &Request<'_>) -> Identity<'p> {
        let mut found = Identity { deny: None, allow: None, session_limits: false, boundary_limits: false };
        for policy in self.identity {
            let verdict = policy.evaluate(request);
            found.deny = found.deny.or(verdict.deny.map(|name| ("identity policy", name)));
            found.allow = found.allow.or(verdict.allow.map(|(_, name)| name));
        }
        let mut session_allows = self.session.is_empty();
        for policy in self.session {
            let verdict = policy.evaluate(request);
            found.deny = found.deny.or(verdict.deny.map(|name| ("session policy", name)));
            session_allows |= verdict.allow.is_some();
        }
        found.session_limits = !session_allows;
        if let Some(boundary) = self.boundary {
            let verdict = boundary.evaluate(request);
            found.deny = found.deny.or(verdict.deny.map(|name| ("permissions boundary", name)));
            found.boundary_limits = verdict.allow.is_none();
        }
        found
    }
}

impl Identity<'_> {
    /// What narrows rights that come from identity policies, or from statements that name the role or account.
    fn limit(&self) -> Option<DenialReason> {
        if self.session_limits {
            Some(DenialReason::NoSessionAllow)
        } else if self.boundary_limits {
            Some(DenialReason::NoBoundaryAllow)
        } else {
            None
        }
    }
}

fn named(kind: &str, name: impl fmt::Display) -> String {
    format!("{kind}, {name}")
}

/// Rules 5.1: a queue of `owner_account`. `crosses`: the action can be granted to another account.
pub fn decide_queue(
    request: &Request<'_>,
    caller: &IdentityPolicies<'_>,
    queue_policy: Option<&Policy>,
    owner_account: &str,
    crosses: bool,
) -> Decision {
    let identity = caller.evaluate(request);
    let queue = queue_policy.map_or_else(Verdict::default, |policy| policy.evaluate(request));
    if let Some((kind, name)) = identity.deny {
        return Decision::deny(DenialReason::IdentityDeny, vec![named(kind, name)]);
    }
    if let Some(name) = queue.deny {
        return Decision::deny(DenialReason::ResourceDeny, vec![named("queue policy", name)]);
    }
    let principal = &request.principal;
    let by_queue = queue.allow.map(|(how, name)| (how, named("queue policy", name)));
    if principal.is_anonymous {
        return match by_queue {
            Some((Named::Everyone, name)) if crosses => Decision::allow(vec![name]),
            _ => Decision::deny(DenialReason::NoResourceAllow, Vec::new()),
        };
    }
    if principal.is_service {
        return match by_queue {
            Some((_, name)) if crosses => Decision::allow(vec![name]),
            _ => Decision::deny(DenialReason::NoResourceAllow, Vec::new()),
        };
    }
    let own_account = principal.account == owner_account;
    if own_account && caller.is_root {
        return Decision::allow(vec!["root of the owner's account".into()]);
    }
    let by_identity = identity.allow.map(|name| named("identity policy", name));
    if own_account {
        // Naming the account delegates to its identity policies.
        return match (by_queue, by_identity) {
            (Some((Named::Session, name)), _) => Decision::allow(vec![name]),
            (Some((Named::Itself | Named::Everyone, name)), _) | (_, Some(name)) => match identity.limit() {
                None => Decision::allow(vec![name]),
                Some(reason) => Decision::deny(reason, vec![name]),
            },
            _ => Decision::deny(DenialReason::NoIdentityAllow, Vec::new()),
        };
    }
    if !crosses {
        return Decision::deny(DenialReason::NoResourceAllow, vec!["owner-only action".into()]);
    }
    let Some((_, by_queue)) = by_queue else {
        return Decision::deny(DenialReason::NoResourceAllow, Vec::new());
    };
    let by_identity = if caller.is_root { Some("root of its account".into()) } else { by_identity };
    match (by_identity, identity.limit()) {
        (None, _) => Decision::deny(DenialReason::NoIdentityAllow, vec![by_queue]),
        (Some(by_identity), None) => Decision::allow(vec![by_queue, by_identity]),
        (Some(by_identity), Some(reason)) => Decision::deny(reason, vec![by_queue, by_identity]),
    }
}

/// Actions without a resource of their own (ListQueues, CreateKey): the identity decides.
pub fn decide_identity(request: &Request<'_>, caller: &IdentityPolicies<'_>) -> Decision {
    let identity = caller.evaluate(request);
    if let Some((kind, name)) = identity.deny {
        return Decision::deny(DenialReason::IdentityDeny, vec![named(kind, name)]);
    }
    if request.principal.is_anonymous || request.principal.is_service {
        return Decision::deny(DenialReason::NoIdentityAllow, Vec::new());
    }
    if caller.is_root {
        return Decision::allow(vec!["root of its account".into()]);
    }
    match (identity.allow, identity.limit()) {
        (None, _) => Decision::deny(DenialReason::NoIdentityAllow, Vec::new()),
        (Some(name), None) => Decision::allow(vec![named("identity policy", name)]),
        (Some(name), Some(reason)) => Decision::deny(reason, vec![named("identity policy", name)]),
    }
}

/// Rules 5.2: a key of `owner_account`. `granted`: a grant for the principal covers the operation.
pub fn decide_key(
    request: &Request<'_>,
    caller: &IdentityPolicies<'_>,
    key_policy: &Policy,
    owner_account: &str,
    granted: bool,
) -> Decision {
    let identity = caller.evaluate(request);
    let key = key_policy.evaluate(request);
    if let Some((kind, name)) = identity.deny {
        return Decision::deny(DenialReason::IdentityDeny, vec![named(kind, name)]);
    }
    if let Some(name) = key.deny {
        return Decision::deny(DenialReason::ResourceDeny, vec![named("key policy", name)]);
    }
    let principal = &request.principal;
    let by_key = key.allow.map(|(how, name)| (how, named("key policy", name)));
    if principal.is_anonymous {
        return Decision::deny(DenialReason::NoResourceAllow, Vec::new());
    }
    let by_grant = granted.then(|| (Named::Itself, "grant".to_owned()));
    if principal.is_service {
        return match by_key.or(by_grant) {
            Some((_, name)) => Decision::allow(vec![name]),
            None => Decision::deny(DenialReason::NoResourceAllow, Vec::new()),
        };
    }
    let by_identity = identity.allow.map(|name| named("identity policy", name));
    let own_account = principal.account == owner_account;
    if own_account {
        return match (by_key, by_grant) {
            (Some((Named::Session, name)), _) => Decision::allow(vec![name]),
            (Some((Named::Itself | Named::Everyone, name)), _) | (_, Some((_, name))) => {
                match identity.limit() {
                    None => Decision::allow(vec![name]),
                    Some(reason) => Decision::deny(reason, vec![name]),
                }
            }
            // The account root is the account: the policy allows it by naming it.
            (Some((Named::Account, name)), _) if caller.is_root => Decision::allow(vec![name]),
            (Some((Named::Account, by_key)), _) => match (by_identity, identity.limit()) {
                (None, _) => Decision::deny(DenialReason::NoIdentityAllow, vec![by_key]),
                (Some(name), None) => Decision::allow(vec![by_key, name]),
                (Some(name), Some(reason)) => Decision::deny(reason, vec![by_key, name]),
            },
            (None, None) => Decision::deny(DenialReason::NoResourceAllow, Vec::new()),
        };
    }
    let Some((_, by_resource)) = by_key.or(by_grant) else {
        return Decision::deny(DenialReason::NoResourceAllow, Vec::new());
    };
    let by_identity = if caller.is_root { Some("root of its account".into()) } else { by_identity };
    match (by_identity, identity.limit()) {
        (None, _) => Decision::deny(DenialReason::NoIdentityAllow, vec![by_resource]),
        (Some(name), None) => Decision::allow(vec![by_resource, name]),
        (Some(name), Some(reason)) => Decision::deny(reason, vec![by_resource, name]),
    }
}
