//! Requests of the token service, shapes checked. What depends on the role (its longest session) is not known here.

use std::collections::BTreeSet;

use super::error::{StsErrorCode, StsErrorReply};
use crate::form::Form;
use crate::shape::{ShapeFaults, Shown};

/// Length of a session of a role when none is named, seconds.
pub(super) const ROLE_SESSION_S_DEFAULT: u64 = 3_600;
/// Length of a session of GetSessionToken when none is named, seconds.
pub(super) const SESSION_TOKEN_S_DEFAULT: u64 = 43_200;

const SESSION_S_MIN: i64 = 900;
const ROLE_SESSION_S_MAX: i64 = 43_200;
const SESSION_TOKEN_S_MAX: i64 = 129_600;
const POLICY_CHARS_MAX: usize = 2_048;
const POLICY_ARNS_MAX: usize = 10;
const TAGS_MAX: usize = 50;
const NAME_PATTERN: &str = "[\\w+=,.@-]*";

/// AssumeRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// ARN of a role.
    pub role_arn: String,
    /// 2 to 64 characters.
    pub session_name: String,
    /// 900 to 43,200 seconds.
    pub duration_s: u64,
    /// Whether the request named the duration.
    pub duration_given: bool,
    /// Session policy, up to 2,048 characters.
    pub policy: Option<String>,
    /// Managed session policies, up to ten.
    pub policy_arns: Vec<String>,
    /// Session tags, up to fifty.
    pub tags: Vec<(String, String)>,
    /// Keys of tags that chained sessions keep.
    pub transitive_tag_keys: Vec<String>,
    /// `sts:ExternalId`.
    pub external_id: Option<String>,
    /// `sts:SourceIdentity`.
    pub source_identity: Option<String>,
}

/// GetSessionToken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSessionToken {
    /// 900 to 129,600 seconds.
    pub duration_s: u64,
    /// Whether the request named the duration.
    pub duration_given: bool,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StsRequest {
    /// GetCallerIdentity.
    GetCallerIdentity,
    /// AssumeRole.
    AssumeRole(AssumeRole),
    /// GetSessionToken.
    GetSessionToken(GetSessionToken),
}

impl StsRequest {
    /// Reads a request from query string and body together.
    ///
    /// # Errors
    /// Unknown action, unreadable member, all shape errors in one, a bad role ARN.
    pub fn parse(query: &[u8], body: &[u8]) -> Result<Self, StsErrorReply> {
        let malformed = |message: String| StsErrorReply::new(StsErrorCode::MalformedInput, message);
        let mut form = Form::parse(&[query, body]).map_err(|error| malformed(error.to_string()))?;
        let action = form.take("Action").ok_or_else(|| {
            StsErrorReply::new(StsErrorCode::MissingAction, "The request is missing an action parameter.")
        })?;
        let version = form.take("Version");
        let version_known = version.as_deref().is_none_or(|version| version == super::STS_VERSION);
        let mut faults = ShapeFaults::new(Shown::Yes);
        let request = match &*action {
            "GetCallerIdentity" if version_known => Self::GetCallerIdentity,
            "AssumeRole" if version_known => Self::AssumeRole(assume_role(&mut form, &mut faults)?),
            "GetSessionToken" if version_known => {
                let duration = duration(&mut form, SESSION_TOKEN_S_MAX, &mut faults)?;
                Self::GetSessionToken(GetSessionToken {
                    duration_s: duration.unwrap_or(SESSION_TOKEN_S_DEFAULT),
                    duration_given: duration.is_some(),
                })
            }
            _ => {
                let version = version.as_deref().unwrap_or(super::STS_VERSION);
                return Err(StsErrorReply::new(
                    StsErrorCode::InvalidAction,
                    format!("Could not find operation {action} for version {version}"),
                ));
            }
        };
        if let Some(report) = faults.report() {
            return Err(StsErrorReply::new(StsErrorCode::ValidationError, report));
        }
        if let Self::AssumeRole(AssumeRole { tags, .. }) = &request
            && let Some(fault) = tag_fault(tags)
        {
            return Err(StsErrorReply::new(StsErrorCode::ValidationError, fault));
        }
        match &request {
            Self::AssumeRole(request) if !is_role_arn(&request.role_arn) => Err(StsErrorReply::new(
                StsErrorCode::ValidationError,
                format!("{} is invalid", request.role_arn),
            )),
            _ => Ok(request),
        }
    }
}

fn assume_role(form: &mut Form<'_>, faults: &mut ShapeFaults) -> Result<AssumeRole, StsErrorReply> {
    let text =
        |form: &mut Form<'_>, faults: &mut ShapeFaults, (name, member, min, max): (&str, &str, _, _)| {
            let text = form.take(name)?.into_owned();
            faults.text_length(member, &text, min, max);
            Some(text)
        };
    let role_arn = text(form, faults, ("RoleArn", "roleArn", 20, 2_048));
    let session_name = text(form, faults, ("RoleSessionName", "roleSessionName", 2, 64));
    let duration_s = duration(form, ROLE_SESSION_S_MAX, faults)?;
    let policy = text(form, faults, ("Policy", "policy", 1, POLICY_CHARS_MAX));
    let external_id = text(form, faults, ("ExternalId", "externalId", 2, 1_224));
    let source_identity = text(form, faults, ("SourceIdentity", "sourceIdentity", 2, 64));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    for (member, name) in [("roleSessionName", &session_name), ("sourceIdentity", &source_identity)] {
        if let Some(name) = name {
            faults.characters(member, name, NAME_PATTERN, is_name);
        }
    }
    if let Some(id) = &external_id {
        let pattern = "[\\w+=,.@:\\/-]*";
        faults.characters("externalId", id, pattern, |c| is_name(c) || matches!(c, ':' | '/'));
    }
    let policy_arns: Vec<String> = form
        .indices("PolicyArns.member")
        .iter()
        .filter_map(|index| form.take(&format!("PolicyArns.member.{index}.arn")))
        .map(Into::into)
        .collect();
    faults.length("policyArns", policy_arns.len(), 0, POLICY_ARNS_MAX);
    for (at, arn) in policy_arns.iter().enumerate().take(POLICY_ARNS_MAX) {
        faults.text_length(&format!("policyArns.{}.member.arn", at + 1), arn, 20, 2_048);
    }
    let tags: Vec<(String, String)> = form
        .take_map("Tags.member", "Key", "Value")
        .into_iter()
        .map(|(key, value)| (key.into_owned(), value.unwrap_or_default().into_owned()))
        .collect();
    faults.length("tags", tags.len(), 0, TAGS_MAX);
    for (at, (key, value)) in tags.iter().enumerate().take(TAGS_MAX) {
        faults.text_length(&format!("tags.{}.member.key", at + 1), key, 1, 128);
        faults.text_length(&format!("tags.{}.member.value", at + 1), value, 0, 256);
    }
    let transitive: Vec<String> =
        form.take_list("TransitiveTagKeys.member").into_iter().map(Into::into).collect();
    faults.length("transitiveTagKeys", transitive.len(), 0, TAGS_MAX);
    for (member, missing) in [("roleArn", role_arn.is_none()), ("roleSessionName", session_name.is_none())] {
        if missing {
            faults.missing(member);
        }
    }
    Ok(AssumeRole {
        role_arn: role_arn.unwrap_or_default(),
        session_name: session_name.unwrap_or_default(),
        duration_s: duration_s.unwrap_or(ROLE_SESSION_S_DEFAULT),
        duration_given: duration_s.is_some(),
        policy,
        policy_arns,
        tags,
        transitive_tag_keys: transitive,
        external_id,
        source_identity,
    })
}

/// What is wrong with session tags together. A key given twice would leave open which value policies see.
fn tag_fault(tags: &[(String, String)]) -> Option<&'static str> {
    let keys: Vec<String> = tags.iter().map(|(key, _)| key.to_lowercase()).collect();
    if keys.iter().any(|key| key.starts_with("aws:")) {
        return Some("Tags beginning with aws: are reserved.");
    }
    let distinct: BTreeSet<&String> = keys.iter().collect();
    (distinct.len() != keys.len())
        .then_some("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
}

fn duration(form: &mut Form<'_>, max_s: i64, faults: &mut ShapeFaults) -> Result<Option<u64>, StsErrorReply> {
    let Some(text) = form.take("DurationSeconds") else { return Ok(None) };
    let seconds: i64 = text.parse().map_err(|_| {
        StsErrorReply::new(StsErrorCode::MalformedInput, "DurationSeconds must be a whole number.")
    })?;
    faults.range("durationSeconds", seconds, SESSION_S_MIN, max_s);
    // A negative one is a fault already.
    Ok(Some(u64::try_from(seconds).unwrap_or(0)))
}

fn is_role_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "iam", "", account, role]
        if !partition.is_empty()
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty() && !name.ends_with('/')))
}
