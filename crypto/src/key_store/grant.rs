//! Grants: rights on a key given to a principal, optionally only for certain encryption contexts.
//!
//! Knows no policies: says whether a grant allows; the caller says whether something else denies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::action::{self, Action};
use super::catalog_entry::{Entry, EntryName};
use super::key::{KeyId, wire_names};
use super::kms_error::KmsError;
use super::page::{Listed, Page};
use super::{Change, KeyStore, Mutation, Prepared};
use crate::EncryptionContext;
use crate::entropy::{Entropy, random};

/// Most grants of one key.
pub const GRANTS_PER_KEY_MAX: usize = 50_000;

const TOKEN_LEN: usize = 16 + 32;

/// Id of a grant, written as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GrantId([u8; 32]);

impl GrantId {
    /// Errors: [`KmsError::InvalidGrantId`].
    pub fn parse(text: &str) -> Result<Self, KmsError> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(KmsError::InvalidGrantId { given: text.into() }),
        }
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

wire_names! {
    /// What a grant can allow.
    GrantOperation {
        Decrypt = "Decrypt",
        Encrypt = "Encrypt",
        GenerateDataKey = "GenerateDataKey",
        GenerateDataKeyWithoutPlaintext = "GenerateDataKeyWithoutPlaintext",
        ReEncryptFrom = "ReEncryptFrom",
        ReEncryptTo = "ReEncryptTo",
        CreateGrant = "CreateGrant",
        RetireGrant = "RetireGrant",
        DescribeKey = "DescribeKey",
    }
}

impl GrantOperation {
    /// Whether the operation carries an encryption context, and so is subject to constraints.
    const fn has_context(self) -> bool {
        !matches!(self, Self::CreateGrant | Self::RetireGrant | Self::DescribeKey)
    }
}

/// On which encryption contexts a grant holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GrantConstraint {
    /// `EncryptionContextEquals`: exactly these pairs.
    Equals(BTreeMap<String, String>),
    /// `EncryptionContextSubset`: at least these pairs.
    Subset(BTreeMap<String, String>),
}

impl GrantConstraint {
    const fn pairs(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Equals(pairs) | Self::Subset(pairs) => pairs,
        }
    }

    /// Whether the constraint is met. Names and values are case-sensitive.
    pub fn matches(&self, context: &EncryptionContext) -> bool {
        let has_all = self.pairs().iter().all(|(name, value)| context.get(name) == Some(value));
        match self {
            Self::Equals(pairs) => has_all && context.len() == pairs.len(),
            Self::Subset(_) => has_all,
        }
    }

    /// Whether every context that meets `other` meets this one too.
    fn covers(&self, other: Option<&Self>) -> bool {
        match (self, other) {
            (_, None) => false,
            (Self::Equals(mine), Some(Self::Equals(others))) => mine == others,
            (Self::Equals(_), Some(Self::Subset(_))) => false,
            (Self::Subset(mine), Some(other)) => {
                mine.iter().all(|(name, value)| other.pairs().get(name) == Some(value))
            }
        }
    }
}

/// What CreateGrant asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// ARN of a user, role, assumed role or account.
    pub grantee: String,
    /// Unique id of the grantee; none of an account.
    pub grantee_id: Option<String>,
    /// Who may retire it besides.
    pub retiring: Option<String>,
    /// Unique id of the retiring principal.
    pub retiring_id: Option<String>,
    /// Not empty.
    pub operations: BTreeSet<GrantOperation>,
    /// None: every context.
    pub constraint: Option<GrantConstraint>,
    /// Makes the creation repeatable.
    pub name: Option<String>,
    /// Account of the caller.
    pub issuing_account: String,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The key it is of.
    pub key: KeyId,
    /// Its id.
    pub id: GrantId,
    /// Who has it.
    pub grantee: String,
    /// Who may retire it besides.
    pub retiring: Option<String>,
    /// What it allows.
    pub operations: BTreeSet<GrantOperation>,
    /// None: every context.
    pub constraint: Option<GrantConstraint>,
    /// As given.
    pub name: Option<String>,
    /// Account that made it.
    pub issuing_account: String,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// Unique id that the grantee had then.
    pub grantee_id: Option<String>,
    /// Unique id that the retiring principal had then.
    pub retiring_id: Option<String>,
}

impl Grant {
    /// The grant token of CreateGrant: names the grant and proves nothing.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.key.bytes()[..], &self.id.0].concat())
    }

    fn is_made_of(&self, new: &NewGrant) -> bool {
        self.grantee == new.grantee
            && self.grantee_id == new.grantee_id
            && self.retiring == new.retiring
            && self.retiring_id == new.retiring_id
            && self.operations == new.operations
            && self.constraint == new.constraint
            && self.name == new.name
            && self.issuing_account == new.issuing_account
    }

    fn allows(
        &self,
        caller: &GrantCaller<'_>,
        operation: GrantOperation,
        context: &EncryptionContext,
    ) -> Option<Held> {
        let covers = self.operations.contains(&operation)
            && (!operation.has_context()
                || self.constraint.as_ref().is_none_or(|constraint| constraint.matches(context)));
        caller.held(&self.grantee, self.grantee_id.as_deref()).filter(|_| covers)
    }

    /// Whether the caller is one of those who may retire it: the retiring principal, the grantee if the grant says so,
    /// the account that made it.
    pub fn may_be_retired_by(&self, caller: &GrantCaller<'_>) -> Option<Held> {
        let retiring = self.retiring.as_deref();
        let retiring = retiring.and_then(|retiring| caller.held(retiring, self.retiring_id.as_deref()));
        let grantee = caller.held(&self.grantee, self.grantee_id.as_deref());
        let grantee = grantee.filter(|_| self.operations.contains(&GrantOperation::RetireGrant));
        [retiring, grantee, caller.held(&self.issuing_account, None)].into_iter().flatten().max()
    }
}

/// Who asks, as grants name principals.
#[derive(Debug, Clone, Copy)]
pub struct GrantCaller<'a> {
    /// The caller's own ARN: the user's, the session's.
    pub arn: &'a str,
    /// ARN of the role, for sessions.
    pub role_arn: Option<&'a str>,
    /// Unique id of the user or role.
    pub unique_id: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// Whether the caller is the account itself.
    pub is_account_root: bool,
}

/// How a grant names a caller; the later is the closer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Through its account, whose own policies decide the rest.
    ByAccount,
    /// Itself, its role or its session.
    ByItself,
}

impl GrantCaller<'_> {
    /// Whether a grant's `principal`, which had the unique id `id` when the grant was made, is this caller. A namesake
    /// made later has another id.
    fn held(&self, principal: &str, id: Option<&str>) -> Option<Held> {
        let account = principal.split(':').nth(4).unwrap_or(principal);
        let names_account = principal == account || principal.ends_with(":root");
        if names_account {
            return (account == self.account).then_some(if self.is_account_root {
                Held::ByItself
            } else {
                Held::ByAccount
            });
        }
        let is_named = principal == self.arn || Some(principal) == self.role_arn;
        (is_named && id.is_none_or(|id| id == self.unique_id)).then_some(Held::ByItself)
    }
}

/// The reply of CreateGrant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedGrant {
    /// 64 hexadecimal digits.
    pub grant_id: String,
    /// May be given along with later requests; the grant holds without it.
    pub grant_token: String,
}

impl CreatedGrant {
    fn of(grant: &Grant) -> Self {
        Self { grant_id: grant.id.to_string(), grant_token: grant.token() }
    }
}

impl KeyStore {
    /// CreateGrant; with a name and the same members again it gives the same grant.
    pub fn prepare_create_grant(
        &self,
        key: KeyId,
        new: &NewGrant,
        dry_run: bool,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Prepared<CreatedGrant>, KmsError> {
        let of = self.key(key)?;
        action::check(Action::CreateGrant, of)?;
        let existing = self.grants.get(&key);
        let same = existing.filter(|_| new.name.is_some());
        let same = same.and_then(|grants| grants.values().find(|grant| grant.is_made_of(new)));
        if same.is_none() && existing.map_or(0, BTreeMap::len) >= GRANTS_PER_KEY_MAX {
            return Err(KmsError::LimitExceeded {
                what: "Grants per key",
                limit: GRANTS_PER_KEY_MAX,
                of: of.arn(),
            });
        }
        if dry_run {
            return Err(KmsError::DryRun);
        }
        if let Some(grant) = same {
            return Ok(Prepared { reply: CreatedGrant::of(grant), mutation: Mutation::default() });
        }
        let new = new.clone();
        let grant = Grant {
            key,
            id: GrantId(random(entropy)?),
            grantee: new.grantee,
            retiring: new.retiring,
            operations: new.operations,
            constraint: new.constraint,
            name: new.name,
            issuing_account: new.issuing_account,
            created_at_ms: now_ms,
            grantee_id: new.grantee_id,
            retiring_id: new.retiring_id,
        };
        let reply = CreatedGrant::of(&grant);
        let mutation = self.mutation(vec![Change::Put(Entry::Grant(Box::new(grant)))], entropy)?;
        Ok(Prepared { reply, mutation })
    }

    /// How a grant of the key allows the caller this operation in this context, if one does.
    pub fn grant_allows(
        &self,
        key: KeyId,
        caller: &GrantCaller<'_>,
        operation: GrantOperation,
        context: &EncryptionContext,
    ) -> Option<Held> {
        let grants = self.grants.get(&key).into_iter().flat_map(BTreeMap::values);
        grants.filter_map(|grant| grant.allows(caller, operation, context)).max()
    }

    /// How a grant allows the caller to make `new`: no more operations and no wider constraint than its own.
    pub fn grant_allows_grant(&self, key: KeyId, caller: &GrantCaller<'_>, new: &NewGrant) -> Option<Held> {
        let grants = self.grants.get(&key).into_iter().flat_map(BTreeMap::values);
        let wide_enough = grants.filter(|grant| {
            new.operations.is_subset(&grant.operations)
                && grant.constraint.as_ref().is_none_or(|mine| mine.covers(new.constraint.as_ref()))
        });
        let context = EncryptionContext::default();
        wide_enough.filter_map(|grant| grant.allows(caller, GrantOperation::CreateGrant, &context)).max()
    }

    /// ListGrants of a key, by grant id.
    pub fn list_grants(
        &self,
        key: KeyId,
        grant_id: Option<&str>,
        grantee: Option<&str>,
        page: &Page,
    ) -> Result<Listed<Grant>, KmsError> {
        self.key(key)?;
        let grant_id = grant_id.map(GrantId::parse).transpose()?;
        let grants = self.grants.get(&key).into_iter().flat_map(BTreeMap::values);
        let shown = grants.filter(|grant| grant_id.is_none_or(|id| id == grant.id));
        let shown = shown.filter(|grant| grantee.is_none_or(|grantee| grantee == grant.grantee));
        Ok(page.of(shown.map(|grant| (grant.id.to_string(), grant.clone()))))
    }

    /// ListRetirableGrants: those of an account's region that name `retiring`.
    pub fn list_retirable_grants(&self, region: &str, retiring: &str, page: &Page) -> Listed<Grant> {
        let here = self
            .grants
            .iter()
            .filter(|(key, _)| self.keys.get(key).is_some_and(|key| key.scope.region == region));
        let shown = here.flat_map(|(_, grants)| grants.values());
        let shown = shown.filter(|grant| grant.retiring.as_deref() == Some(retiring));
        page.of(shown.map(|grant| (format!("{}/{}", grant.key, grant.id), grant.clone())))
    }

    /// RetireGrant and RevokeGrant; the caller has checked the right to it.
    pub fn prepare_remove_grant(
        &self,
        key: KeyId,
        id: GrantId,
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        let held = self.grants.get(&key).is_some_and(|grants| grants.contains_key(&id));
        match (held, dry_run) {
            (false, _) => Err(KmsError::GrantNotFound { grant_id: id.to_string() }),
            (true, true) => Err(KmsError::DryRun),
            (true, false) => self.mutation(vec![Change::Remove(EntryName::Grant(key, id))], entropy),
        }
    }

    /// The grant a token names.
    pub fn grant_of_token(&self, token: &str) -> Result<&Grant, KmsError> {
        let (key, id) = read_token(token)?;
        self.grants.get(&key).and_then(|grants| grants.get(&id)).ok_or(KmsError::InvalidGrantToken)
    }

    /// A grant of a key, by its id.
    pub fn grant(&self, key: KeyId, grant_id: &str) -> Result<&Grant, KmsError> {
        self.key(key)?;
        let id = GrantId::parse(grant_id)?;
        let grants = self.grants.get(&key);
        grants
            .and_then(|grants| grants.get(&id))
            .ok_or_else(|| KmsError::GrantNotFound { grant_id: grant_id.into() })
    }
}

/// Whether a text is a grant token, of a grant that is or was.
pub fn check_grant_token(token: &str) -> Result<(), KmsError> {
    read_token(token).map(drop)
}

fn read_token(token: &str) -> Result<(KeyId, GrantId), KmsError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| KmsError::InvalidGrantToken)?;
    let bytes: [u8; TOKEN_LEN] = bytes.try_into().map_err(|_| KmsError::InvalidGrantToken)?;
    let (mut key, mut id) = ([0; 16], [0; 32]);
    key.copy_from_slice(&bytes[..16]);
    id.copy_from_slice(&bytes[16..]);
    Ok((KeyId::from_bytes(key), GrantId(id)))
}
