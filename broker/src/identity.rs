//! Accounts, users, roles, services and their access keys, as the settings name them.
//!
//! A principal's unique id is made when its name is first seen and kept in the catalog: a user that is removed and added
//! again under the same name is another principal, whom old policies do not know.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sealq_api::iam::{
    MANAGED_POLICY_CHARS_MAX, Policy, PolicyKind, ROLE_POLICY_CHARS_MAX, TRUST_POLICY_CHARS_MAX,
    USER_POLICY_CHARS_MAX, policy_chars,
};
use sealq_config::accounts::{Account, KeyStatus};
use sealq_config::{Config, Secret};
use thiserror::Error;

use crate::caller::{Caller, CallerKind};

/// A principal of the settings cannot be used.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// A policy does not parse.
    #[error("{owner}: its {kind} is refused: {reason}")]
    Policy {
        /// Whose.
        owner: String,
        /// Which policy.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Two principals sign with one access key.
    #[error("access key {0} is given to more than one principal")]
    DuplicateAccessKey(String),
    /// No randomness for a unique id.
    #[error("the system gives no random bytes: {0}")]
    NoEntropy(String),
}

/// A user, a root or a service, without the request it makes.
#[derive(Debug)]
pub struct Principal {
    /// Kind.
    pub kind: CallerKind,
    /// 12 digits; empty for a service.
    pub account: Arc<str>,
    /// ARN.
    pub arn: Arc<str>,
    /// `AIDA…`, or the account id.
    pub unique_id: Arc<str>,
    /// User name.
    pub name: Arc<str>,
    /// Identity policies.
    pub policies: Arc<[Arc<Policy>]>,
    /// Permissions boundary.
    pub boundary: Option<Arc<Policy>>,
    /// A service that may send through AssumeRole sessions.
    pub assumes_roles: bool,
}

/// A role.
#[derive(Debug)]
pub struct Role {
    /// 12 digits.
    pub account: Arc<str>,
    /// ARN.
    pub arn: Arc<str>,
    /// `AROA…`.
    pub unique_id: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Who may assume it.
    pub trust: Option<Arc<Policy>>,
    /// Identity policies.
    pub policies: Arc<[Arc<Policy>]>,
    /// Permissions boundary.
    pub boundary: Option<Arc<Policy>>,
}

impl Principal {
    /// The caller of `request`, which this principal's key signed.
    pub fn caller(&self, access_key_id: &Arc<str>, request: Caller) -> Caller {
        let cache_identity = match &self.kind {
            CallerKind::Service { source_account, .. } => format!("{}/{source_account}", self.name).into(),
            _ => self.unique_id.clone(),
        };
        Caller {
            kind: self.kind.clone(),
            account: self.account.clone(),
            arn: self.arn.clone(),
            unique_id: self.unique_id.clone(),
            cache_identity,
            name: self.name.clone(),
            identity_policies: self.policies.clone(),
            boundary: self.boundary.clone(),
            access_key_id: access_key_id.clone(),
            ..request
        }
    }
}

impl Role {
    /// ARN of a session of it.
    pub fn session_arn(&self, session_name: &str) -> String {
        let partition = self.arn.split(':').nth(1).unwrap_or("aws");
        // The role's path is no part of it.
        let name = self.name.rsplit('/').next().unwrap_or(&self.name);
        format!("arn:{partition}:sts::{}:assumed-role/{name}/{session_name}", self.account)
    }

    /// The caller of `request`, which a session of this role signed. `of_service`: a service principal assumed it.
    pub fn session(&self, session_name: &str, of_service: bool, request: Caller) -> Caller {
        Caller {
            kind: CallerKind::RoleSession { role_arn: self.arn.clone(), of_service },
            account: self.account.clone(),
            arn: self.session_arn(session_name).into(),
            unique_id: format!("{}:{session_name}", self.unique_id).into(),
            cache_identity: self.unique_id.clone(),
            name: session_name.into(),
            identity_policies: self.policies.clone(),
            boundary: self.boundary.clone(),
            ..request
        }
    }
}

/// One access key.
#[derive(Debug)]
pub struct AccessKey {
    /// `AKIA…`.
    pub id: Arc<str>,
    /// Its secret.
    pub secret: Secret,
    /// False: refused.
    pub active: bool,
    /// Who signs with it.
    pub principal: Arc<Principal>,
}

/// Everybody who may call.
#[derive(Debug, Default)]
pub struct Identities {
    keys: HashMap<String, Arc<AccessKey>>,
    roles: HashMap<String, Arc<Role>>,
    /// Users and roots by ARN.
    principals: HashMap<String, Arc<Principal>>,
}

/// Unique ids as they are kept, by `user/<account>/<name>` or `role/<account>/<name>`.
pub type UniqueIds = BTreeMap<String, String>;

impl Identities {
    /// Builds the set from the settings. `ids` is updated: names that are new get an id, names that are gone lose
    /// theirs; the caller makes the change durable before it uses the set.
    ///
    /// # Errors
    /// A policy that does not parse, an access key given twice.
    pub fn build(config: &Config, root: (&str, Secret), ids: &mut UniqueIds) -> Result<Self, IdentityError> {
        let mut identities = Self::default();
        let mut known = UniqueIds::new();
        let partition = &config.identity.partition;
        let own = &config.identity.account_id;
        let own_root = Arc::new(root_principal(partition, own));
        identities.principals.insert(own_root.arn.to_string(), own_root.clone());
        identities.add_key(root.0, root.1, true, own_root)?;
        for account in &config.account {
            identities.add_account(partition, account, ids, &mut known)?;
        }
        for service in &config.service {
            let principal = Principal {
                kind: CallerKind::Service {
                    source_arn: service.source_arn.as_str().into(),
                    source_account: service.source_account.as_str().into(),
                },
                account: "".into(),
                arn: service.principal.as_str().into(),
                unique_id: service.principal.as_str().into(),
                name: service.principal.as_str().into(),
                policies: Arc::new([]),
                boundary: None,
                assumes_roles: service.assume_roles,
            };
            let secret = service.secret_access_key.clone().unwrap_or_default();
            identities.add_key(&service.access_key_id, secret, true, Arc::new(principal))?;
        }
        *ids = known;
        Ok(identities)
    }

    /// The access key of a signature.
    pub fn access_key(&self, id: &str) -> Option<&Arc<AccessKey>> {
        self.keys.get(id)
    }

    /// A role by its ARN.
    pub fn role(&self, arn: &str) -> Option<&Arc<Role>> {
        self.roles.get(arn)
    }

    /// A user or root by its ARN.
    pub fn principal(&self, arn: &str) -> Option<&Arc<Principal>> {
        self.principals.get(arn)
    }

    /// The unique id behind a user's or role's ARN.
    pub fn unique_id(&self, arn: &str) -> Option<&str> {
        let role = || self.roles.get(arn).map(|role| &*role.unique_id);
        self.principals.get(arn).map(|principal| &*principal.unique_id).or_else(role)
    }

    fn add_account(
        &mut self,
        partition: &str,
        account: &Account,
        ids: &UniqueIds,
        known: &mut UniqueIds,
    ) -> Result<(), IdentityError> {
        let mut id_of = |kind: &str, prefix: &str, name: &str| -> Result<Arc<str>, IdentityError> {
            let key = format!("{kind}/{}/{name}", account.id);
            let id = match ids.get(&key) {
                Some(id) => id.clone(),
                None => new_unique_id(prefix)?,
            };
            known.insert(key, id.clone());
            Ok(id.into())
        };
        for root in &account.root {
            let secret = root.secret_access_key.clone().unwrap_or_default();
            let principal = Arc::new(root_principal(partition, &account.id));
            self.principals.insert(principal.arn.to_string(), principal.clone());
            self.add_key(&root.access_key_id, secret, true, principal)?;
        }
        for user in &account.user {
            let arn = format!("arn:{partition}:iam::{}:user/{}", account.id, user.name);
            let unique_id = id_of("user", "AIDA", &user.name)?;
            let principal = Arc::new(Principal {
                kind: CallerKind::User,
                account: account.id.as_str().into(),
                unique_id,
                name: user.name.as_str().into(),
                policies: policies(&arn, user.policy.as_deref(), USER_POLICY_CHARS_MAX)?,
                boundary: boundary(&arn, &user.permissions_boundary)?,
                arn: arn.as_str().into(),
                assumes_roles: false,
            });
            self.principals.insert(arn, principal.clone());
            if let Some(key_id) = &user.access_key_id {
                let secret = user.secret_access_key.clone().unwrap_or_default();
                self.add_key(key_id, secret, user.status == KeyStatus::Active, principal)?;
            }
        }
        for role in &account.role {
            let arn = format!("arn:{partition}:iam::{}:role/{}", account.id, role.name);
            let unique_id = id_of("role", "AROA", &role.name)?;
            let trust = role.trust_policy.as_deref();
            let trust = trust.map(|text| parse(&arn, PolicyKind::Trust, text, TRUST_POLICY_CHARS_MAX));
            let role = Role {
                account: account.id.as_str().into(),
                unique_id,
                name: role.name.as_str().into(),
                trust: trust.transpose()?,
                policies: policies(&arn, role.policy.as_deref(), ROLE_POLICY_CHARS_MAX)?,
                boundary: boundary(&arn, &role.permissions_boundary)?,
                arn: arn.as_str().into(),
            };
            self.roles.insert(arn, Arc::new(role));
        }
        Ok(())
    }

    fn add_key(
        &mut self,
        id: &str,
        secret: Secret,
        active: bool,
        principal: Arc<Principal>,
    ) -> Result<(), IdentityError> {
        let key = AccessKey { id: id.into(), secret, active, principal };
        match self.keys.insert(id.to_owned(), Arc::new(key)) {
            None => Ok(()),
            Some(_) => Err(IdentityError::DuplicateAccessKey(id.to_owned())),
        }
    }
}

/// The root of an account.
pub(crate) fn root_principal(partition: &str, account: &str) -> Principal {
    Principal {
        kind: CallerKind::Root,
        account: account.into(),
        arn: format!("arn:{partition}:iam::{account}:root").into(),
        unique_id: account.into(),
        name: "root".into(),
        policies: Arc::new([]),
        boundary: None,
        assumes_roles: false,
    }
}

fn policies(owner: &str, text: Option<&str>, chars_max: usize) -> Result<Arc<[Arc<Policy>]>, IdentityError> {
    let policy = text.map(|text| parse(owner, PolicyKind::Identity, text, chars_max)).transpose()?;
    Ok(policy.into_iter().collect())
}

fn boundary(owner: &str, text: &str) -> Result<Option<Arc<Policy>>, IdentityError> {
    let given = Some(text).filter(|text| !text.is_empty());
    given.map(|text| parse(owner, PolicyKind::Boundary, text, MANAGED_POLICY_CHARS_MAX)).transpose()
}

/// `chars_max`: white space not counted.
fn parse(owner: &str, kind: PolicyKind, text: &str, chars_max: usize) -> Result<Arc<Policy>, IdentityError> {
    let refused = |reason| IdentityError::Policy { owner: owner.to_owned(), kind: policy_name(kind), reason };
    let chars = policy_chars(text);
    if chars > chars_max {
        return Err(refused(format!("it has {chars} characters, at most {chars_max} are allowed")));
    }
    Policy::parse(text, kind).map(Arc::new).map_err(|error| refused(error.to_string()))
}

fn policy_name(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::Trust => "trust policy",
        PolicyKind::Boundary => "permissions boundary",
        _ => "identity policy",
    }
}

/// A new id in IAM's form: a four-letter prefix and 17 letters and digits.
fn new_unique_id(prefix: &str) -> Result<String, IdentityError> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = [0; 17];
    getrandom::fill(&mut bytes).map_err(|error| IdentityError::NoEntropy(error.to_string()))?;
    let letters = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    Ok(prefix.chars().chain(letters).collect())
}
