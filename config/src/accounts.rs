//! Accounts, users, roles and sending services as the file gives them.
//!
//! After [`Config::load`](crate::Config::load) the `…_file` forms have been read: `policy`, `trust_policy` and
//! `secret_access_key` hold the text whichever way it was given. What a policy means is not decided here.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Secret;

/// `[[account]]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// 12 digits.
    pub id: String,
    /// Its users.
    #[serde(default)]
    pub user: Vec<User>,
    /// Its roles.
    #[serde(default)]
    pub role: Vec<Role>,
    /// Access keys of the account root.
    #[serde(default)]
    pub root: Vec<RootAccessKey>,
}

/// `[[account.user]]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Name, unique in the account.
    pub name: String,
    /// Access key; none: the user cannot sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Where the secret stands instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_file: Option<PathBuf>,
    /// Whether the access key is accepted.
    #[serde(default)]
    pub status: KeyStatus,
    /// Identity policy (JSON); none: no rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Where the policy stands instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_file: Option<PathBuf>,
    /// Permissions boundary (JSON); empty: none.
    #[serde(default)]
    pub permissions_boundary: String,
}

/// Whether an access key is accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum KeyStatus {
    /// It is.
    #[default]
    Active,
    /// It is refused.
    Inactive,
}

/// `[[account.role]]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Name, unique in the account.
    pub name: String,
    /// Who may assume it (JSON).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_policy: Option<String>,
    /// Where the trust policy stands instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_policy_file: Option<PathBuf>,
    /// Identity policy (JSON); none: no rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Where the policy stands instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_file: Option<PathBuf>,
    /// Permissions boundary (JSON); empty: none.
    #[serde(default)]
    pub permissions_boundary: String,
}

/// `[[account.root]]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootAccessKey {
    /// Access key.
    pub access_key_id: String,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Where the secret stands instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_file: Option<PathBuf>,
}

/// `[[service]]`: a trusted sender that acts as a service principal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderService {
    /// Service principal, as `sns.amazonaws.com`.
    pub principal: String,
    /// Access key it signs with.
    pub access_key_id: String,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Where the secret stands instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key_file: Option<PathBuf>,
    /// Resource it acts for: `aws:SourceArn`.
    pub source_arn: String,
    /// Account it acts for: `aws:SourceAccount`. 12 digits.
    pub source_account: String,
    /// Whether it sends through AssumeRole sessions.
    #[serde(default)]
    pub assume_roles: bool,
}
