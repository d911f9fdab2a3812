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
use super::shape::Shape;
use super::{Change, KeyStore, Mutation, Prepared};
use crate::EncryptionContext;
use crate::entropy::{Entropy, random};

/// Most grants of one key.
pub const GRANTS_PER_KEY_MAX: usize = 50_000;
/// Most pairs of a constraint.
pub const CONSTRAINT_PAIRS_MAX: usize = 8;
/// Longest value in a constraint, characters.
pub const CONSTRAINT_VALUE_LEN_MAX: usize = 384;
/// Longest principal or name, characters.
pub const GRANT_TEXT_LEN_MAX: usize = 256;

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
    /// Who may retire it besides.
    pub retiring: Option<String>,
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
}

impl Grant {
    /// The grant token of CreateGrant: names the grant and proves nothing.
    pub fn token(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.key.bytes()[..], &self.id.0].concat())
    }

    fn is_made_of(&self, new: &NewGrant) -> bool {
        self.grantee == new.grantee
            && self.retiring == new.retiring
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
    ) -> bool {
        self.operations.contains(&operation)
            && caller.is(&self.grantee)
            && (!operation.has_context()
                || self.constraint.as_ref().is_none_or(|constraint| constraint.matches(context)))
    }

    fn may_be_retired_by(&self, caller: &GrantCaller<'_>) -> bool {
        self.retiring.as_deref().is_some_and(|retiring| caller.is(retiring))
            || (self.operations.contains(&GrantOperation::RetireGrant) && caller.is(&self.grantee))
            || (caller.is_account_root && caller.account == self.issuing_account)
    }
}

/// Who asks, as grants name principals.
#[derive(Debug, Clone, Copy)]
pub struct GrantCaller<'a> {
    /// The caller's own ARNs: the user's, or the session's and its role's.
    pub arns: &'a [&'a str],
    /// Twelve digits.
    pub account: &'a str,
    /// Whether the caller is the account itself.
    pub is_account_root: bool,
}

impl GrantCaller<'_> {
    fn is(&self, principal: &str) -> bool {
        let is_own_account = principal == self.account
            || principal
                .strip_prefix("arn:")
                .and_then(|rest| rest.split_once(":iam::"))
                .and_then(|(_, rest)| rest.strip_suffix(":root"))
                .is_some_and(|account| account == self.account);
        is_own_account || self.arns.contains(&principal)
    }
}

/// How RetireGrant names a grant.
#[derive(Debug, Clone, Copy)]
pub enum GrantName<'a> {
    /// By token.
    Token(&'a str),
    /// By key and id.
    Id(KeyId, &'a str),
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
        check_shape(new)?;
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
        };
        let reply = CreatedGrant::of(&grant);
        let mutation = self.mutation(vec![Change::Put(Entry::Grant(Box::new(grant)))], entropy)?;
        Ok(Prepared { reply, mutation })
    }

    /// Whether a grant of the key allows the caller this operation in this context.
    pub fn grant_allows(
        &self,
        key: KeyId,
        caller: &GrantCaller<'_>,
        operation: GrantOperation,
        context: &EncryptionContext,
    ) -> bool {
        let mut grants = self.grants.get(&key).into_iter().flat_map(BTreeMap::values);
        grants.any(|grant| grant.allows(caller, operation, context))
    }

    /// Whether a grant allows the caller to make `new`: no more operations and no wider constraint than its own.
    pub fn grant_allows_grant(&self, key: KeyId, caller: &GrantCaller<'_>, new: &NewGrant) -> bool {
        let mut grants = self.grants.get(&key).into_iter().flat_map(BTreeMap::values);
        grants.any(|grant| {
            grant.allows(caller, GrantOperation::CreateGrant, &EncryptionContext::default())
                && new.operations.is_subset(&grant.operations)
                && grant.constraint.as_ref().is_none_or(|mine| mine.covers(new.constraint.as_ref()))
        })
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
        Ok(page.take(shown.map(|grant| (grant.id.to_string(), grant.clone()))))
    }

    /// ListRetirableGrants: those of an account's region that name `retiring`.
    pub fn list_retirable_grants(&self, region: &str, retiring: &str, page: &Page) -> Listed<Grant> {
        let here = self
            .grants
            .iter()
            .filter(|(key, _)| self.keys.get(key).is_some_and(|key| key.scope.region == region));
        let shown = here.flat_map(|(_, grants)| grants.values());
        let shown = shown.filter(|grant| grant.retiring.as_deref() == Some(retiring));
        page.take(shown.map(|grant| (format!("{}/{}", grant.key, grant.id), grant.clone())))
    }

    /// RetireGrant, by those whom the grant itself lets: retiring principal, grantee with that operation, issuing account.
    pub fn prepare_retire_grant(
        &self,
        name: GrantName<'_>,
        caller: &GrantCaller<'_>,
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        let grant = match name {
            GrantName::Token(token) => self.grant_of_token(token)?,
            GrantName::Id(key, grant_id) => self.grant(key, grant_id)?,
        };
        if !grant.may_be_retired_by(caller) {
            return Err(KmsError::AccessDenied {
                reason: format!("not allowed to retire grant {}", grant.id),
            });
        }
        self.remove_grant(grant, dry_run, entropy)
    }

    /// RevokeGrant; the caller has checked the right to it.
    pub fn prepare_revoke_grant(
        &self,
        key: KeyId,
        grant_id: &str,
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        let grant = self.grant(key, grant_id)?;
        self.remove_grant(grant, dry_run, entropy)
    }

    /// The grant a token names.
    pub fn grant_of_token(&self, token: &str) -> Result<&Grant, KmsError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| KmsError::InvalidGrantToken)?;
        if bytes.len() != TOKEN_LEN {
            return Err(KmsError::InvalidGrantToken);
        }
        let (mut key, mut id) = ([0; 16], [0; 32]);
        key.copy_from_slice(&bytes[..16]);
        id.copy_from_slice(&bytes[16..]);
        let grants = self.grants.get(&KeyId::from_bytes(key));
        grants.and_then(|grants| grants.get(&GrantId(id))).ok_or(KmsError::InvalidGrantToken)
    }

    fn grant(&self, key: KeyId, grant_id: &str) -> Result<&Grant, KmsError> {
        self.key(key)?;
        let id = GrantId::parse(grant_id)?;
        let grants = self.grants.get(&key);
        grants
            .and_then(|grants| grants.get(&id))
            .ok_or_else(|| KmsError::GrantNotFound { grant_id: grant_id.into() })
    }

    fn remove_grant(
        &self,
        grant: &Grant,
        dry_run: bool,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        match dry_run {
            true => Err(KmsError::DryRun),
            false => self.mutation(vec![Change::Remove(EntryName::Grant(grant.key, grant.id))], entropy),
        }
    }
}

fn check_shape(new: &NewGrant) -> Result<(), KmsError> {
    let len = |text: &str| text.chars().count();
    let mut shape = Shape::new().length("granteePrincipal", len(&new.grantee), 1, GRANT_TEXT_LEN_MAX).length(
        "operations",
        new.operations.len(),
        1,
        GrantOperation::NAMES.len(),
    );
    for (member, text) in [("retiringPrincipal", &new.retiring), ("name", &new.name)] {
        if let Some(text) = text {
            shape = shape.length(member, len(text), 1, GRANT_TEXT_LEN_MAX);
        }
    }
    if let Some(constraint) = &new.constraint {
        shape = shape.length("constraints", constraint.pairs().len(), 1, CONSTRAINT_PAIRS_MAX);
        for value in constraint.pairs().values() {
            shape = shape.length("constraints", len(value), 0, CONSTRAINT_VALUE_LEN_MAX);
        }
    }
    shape.finish()
}
