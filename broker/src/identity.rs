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
use sha2::{Digest, Sha256};
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

/// A policy names a user, role or session of a role that nobody knows.
#[derive(Debug, Error)]
#[error("{0} is no principal")]
pub struct UnknownPrincipal(pub String);

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

/// What is kept of principals: unique ids, by `user/<account>/<name>` or `role/<account>/<name>`; digests of trust
/// policies, by `trust/<account>/<role>`; and, by that and the ARN after another `/`, the ids of those whom a trust policy
/// named when it was written.
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
        for account in &config.account {
            for role in &account.role {
                identities.trust(partition, &account.id, role, ids, &mut known)?;
            }
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

    /// The unique id behind a user's or role's ARN; behind a session's, that of its role.
    pub fn unique_id(&self, arn: &str) -> Option<&str> {
        if let Some(principal) = self.principals.get(arn) {
            return Some(&principal.unique_id);
        }
        let role = match role_of_session(arn) {
            Some(role_arn) => self.roles.get(&role_arn),
            None => self.roles.get(arn),
        };
        role.map(|role| &*role.unique_id)
    }

    /// Whether a user or role has this unique id now.
    pub fn has_id(&self, id: &str) -> bool {
        self.principals.values().any(|principal| *principal.unique_id == *id)
            || self.roles.values().any(|role| *role.unique_id == *id)
    }

    /// The unique ids, by ARN, of the users, roles and sessions that a policy names.
    ///
    /// # Errors
    /// It names somebody whom nobody knows.
    pub fn ids_of(&self, policy: &Policy) -> Result<BTreeMap<String, String>, UnknownPrincipal> {
        let mut ids = BTreeMap::new();
        for named in policy.named_principals() {
            match self.unique_id(named) {
                Some(id) => {
                    ids.insert(named.to_owned(), id.to_owned());
                }
                None if self.has_id(named) => {}
                None => return Err(UnknownPrincipal(named.to_owned())),
            }
        }
        Ok(ids)
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
            let role = Role {
                account: account.id.as_str().into(),
                unique_id,
                name: role.name.as_str().into(),
                trust: None,
                policies: policies(&arn, role.policy.as_deref(), ROLE_POLICY_CHARS_MAX)?,
                boundary: boundary(&arn, &role.permissions_boundary)?,
                arn: arn.as_str().into(),
            };
            self.roles.insert(arn, Arc::new(role));
        }
        Ok(())
    }

    /// Gives a role its trust policy, tied to those who had its names when its text was first seen. Who has one of them
    /// later is somebody else.
    fn trust(
        &mut self,
        partition: &str,
        account: &str,
        role: &sealq_config::accounts::Role,
        ids: &UniqueIds,
        known: &mut UniqueIds,
    ) -> Result<(), IdentityError> {
        let arn = format!("arn:{partition}:iam::{account}:role/{}", role.name);
        let Some(text) = role.trust_policy.as_deref() else { return Ok(()) };
        let mut policy = parse(&arn, PolicyKind::Trust, text, TRUST_POLICY_CHARS_MAX)?;
        let kept = format!("trust/{account}/{}", role.name);
        let digest = hex::encode(Sha256::digest(text));
        let id_key = format!("role/{account}/{}", role.name);
        let is_as_before = ids.get(&kept) == Some(&digest) && ids.get(&id_key) == known.get(&id_key);
        let mut bound = UniqueIds::new();
        for named in policy.named_principals() {
            let before = ids.get(&format!("{kept}/{named}")).filter(|_| is_as_before);
            match before.map(String::as_str).or_else(|| self.unique_id(named)) {
                Some(id) => {
                    bound.insert(named.to_owned(), id.to_owned());
                }
                None if self.has_id(named) => {}
                None => tracing::warn!(role = arn, principal = named, "a trust policy names nobody"),
            }
        }
        policy.resolve(|arn| bound.get(arn).cloned());
        known.insert(kept.clone(), digest);
        known.extend(bound.into_iter().map(|(named, id)| (format!("{kept}/{named}"), id)));
        if let Some(role) = self.roles.get_mut(&arn).and_then(Arc::get_mut) {
            role.trust = Some(Arc::new(policy));
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

/// ARN of the role that the session of an ARN belongs to; `None` for the ARN of something else.
pub fn role_of_session(arn: &str) -> Option<String> {
    let (head, session) = arn.split_once(":assumed-role/")?;
    let (role, _) = session.split_once('/')?;
    Some(format!("{}:role/{role}", head.replacen(":sts:", ":iam:", 1)))
}

fn policies(owner: &str, text: Option<&str>, chars_max: usize) -> Result<Arc<[Arc<Policy>]>, IdentityError> {
    let policy = text.map(|text| parse(owner, PolicyKind::Identity, text, chars_max)).transpose()?;
    Ok(policy.into_iter().map(Arc::new).collect())
}

fn boundary(owner: &str, text: &str) -> Result<Option<Arc<Policy>>, IdentityError> {
    let given = Some(text).filter(|text| !text.is_empty());
    let policy = given.map(|text| parse(owner, PolicyKind::Boundary, text, MANAGED_POLICY_CHARS_MAX));
    Ok(policy.transpose()?.map(Arc::new))
}

/// `chars_max`: white space not counted.
fn parse(owner: &str, kind: PolicyKind, text: &str, chars_max: usize) -> Result<Policy, IdentityError> {
    let refused = |reason| IdentityError::Policy { owner: owner.to_owned(), kind: policy_name(kind), reason };
    let chars = policy_chars(text);
    if chars > chars_max {
        return Err(refused(format!("it has {chars} characters, at most {chars_max} are allowed")));
    }
    Policy::parse(text, kind).map_err(|error| refused(error.to_string()))
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

#[cfg(test)]
mod tests {
    use sealq_api::iam::{ConditionKeys, ConditionValue, Principal as Asking, Request};

    use super::*;

    const ANN: &str = "arn:aws:iam::000000000000:user/ann";
    const WORKER: &str = "arn:aws:iam::000000000000:role/worker";

    struct NoKeys;

    impl ConditionKeys for NoKeys {
        fn get(&self, _: &str) -> Option<ConditionValue<'_>> {
            None
        }
    }

    fn build(users: &[&str], roles: &[&str], trusted: &str, ids: &mut UniqueIds) -> Identities {
        let mut text = String::from("[[account]]\nid = \"000000000000\"\n");
        for user in users {
            text += &format!("[[account.user]]\nname = \"{user}\"\n");
        }
        for role in roles {
            text += &format!(
                r#"
                [[account.role]]
                name = "{role}"
                trust_policy = '{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":{trusted}}},"Action":"sts:AssumeRole"}}}}'
                "#
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sealq.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = Config::load(Some(&file), std::iter::empty(), sealq_config::Overrides::default());
        Identities::build(&loaded.unwrap().config, ("AKIA", Secret::default()), ids).unwrap()
    }

    fn trusts(identities: &Identities, arn: &str) -> bool {
        let principal = Asking {
            arn,
            role_arn: None,
            account: "000000000000",
            unique_id: identities.unique_id(arn).unwrap(),
            is_service: false,
            is_anonymous: false,
        };
        let request = Request { principal, action: "sts:AssumeRole", resource: WORKER, keys: &NoKeys };
        identities.role(WORKER).unwrap().trust.as_ref().unwrap().evaluate(&request).allow().is_some()
    }

    #[test]
    fn auth_22_a_trust_policy_keeps_to_whom_it_named_when_it_was_written() {
        let mut ids = UniqueIds::new();
        let trusted = format!("\"{ANN}\"");
        assert!(trusts(&build(&["ann"], &["worker"], &trusted, &mut ids), ANN));
        assert!(trusts(&build(&["ann", "bob"], &["worker"], &trusted, &mut ids), ANN));
        build(&["bob"], &["worker"], &trusted, &mut ids);
        assert!(!trusts(&build(&["ann"], &["worker"], &trusted, &mut ids), ANN), "a namesake");
        let written_anew = format!("[\"{ANN}\"]");
        assert!(trusts(&build(&["ann"], &["worker"], &written_anew, &mut ids), ANN));
    }

    #[test]
    fn auth_22_a_role_made_anew_trusts_whom_its_policy_names_now() {
        let mut ids = UniqueIds::new();
        let trusted = format!("\"{ANN}\"");
        build(&["ann"], &["worker"], &trusted, &mut ids);
        build(&[], &[], &trusted, &mut ids);
        assert!(trusts(&build(&["ann"], &["worker"], &trusted, &mut ids), ANN));
    }

    #[test]
    fn a_trust_policy_may_name_somebody_who_comes_later() {
        let mut ids = UniqueIds::new();
        let trusted = format!("\"{ANN}\"");
        build(&[], &["worker"], &trusted, &mut ids);
        assert!(trusts(&build(&["ann"], &["worker"], &trusted, &mut ids), ANN));
        build(&[], &["worker"], &trusted, &mut ids);
        assert!(!trusts(&build(&["ann"], &["worker"], &trusted, &mut ids), ANN));
    }

    #[test]
    fn policies_name_users_roles_and_sessions_that_there_are() {
        let identities = build(&["ann"], &["worker"], "\"000000000000\"", &mut UniqueIds::new());
        let worker = identities.unique_id(WORKER).unwrap().to_owned();
        let ids = |named: &str| {
            let text = format!(
                r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"{named}"}},"Action":"kms:*","Resource":"*"}}}}"#
            );
            identities.ids_of(&Policy::parse(&text, PolicyKind::Key).unwrap()).map_err(|unknown| unknown.0)
        };
        let session = "arn:aws:sts::000000000000:assumed-role/worker/s";
        assert_eq!(ids(session).unwrap()[session], worker);
        assert_eq!(ids(WORKER).unwrap()[WORKER], worker);
        assert_eq!(ids(&worker), Ok(BTreeMap::new()));
        for account in ["000000000000", "arn:aws:iam::999999999999:root", "*"] {
            assert_eq!(ids(account), Ok(BTreeMap::new()), "{account}");
        }
        for unknown in
            ["arn:aws:iam::000000000000:user/eve", "AIDAGONE", "arn:aws:sts::000000000000:assumed-role/x/s"]
        {
            assert_eq!(ids(unknown), Err(unknown.to_owned()));
        }
    }
}
