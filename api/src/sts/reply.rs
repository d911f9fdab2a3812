//! Replies of the token service.

use zeroize::Zeroizing;

use super::STS_XMLNS;
use crate::xml::{close_xml, open_xml, push_xml_element, push_xml_text};

/// Temporary credentials.
#[derive(Clone)]
pub struct Credentials {
    /// `ASIA…`.
    pub access_key_id: String,
    /// 40 characters.
    pub secret_access_key: Zeroizing<String>,
    /// Opaque.
    pub session_token: String,
    /// Their end, seconds since 1970.
    pub expires_at_s: u64,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.access_key_id)
    }
}

impl Credentials {
    /// The reply of GetSessionToken.
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        response("GetSessionToken", request_id, |out| self.push(out))
    }

    fn push(&self, out: &mut Vec<u8>) {
        let end = jiff::Timestamp::from_second(i64::try_from(self.expires_at_s).unwrap_or(i64::MAX));
        open_xml("Credentials", out);
        push_xml_element("AccessKeyId", &self.access_key_id, out);
        push_xml_element("SecretAccessKey", &self.secret_access_key, out);
        push_xml_element("SessionToken", &self.session_token, out);
        push_xml_element("Expiration", &end.unwrap_or(jiff::Timestamp::MAX).to_string(), out);
        close_xml("Credentials", out);
    }
}

/// What AssumeRole answers.
#[derive(Debug, Clone)]
pub struct AssumedRole {
    /// Of the session.
    pub credentials: Credentials,
    /// `AROA…:<session>`.
    pub assumed_role_id: String,
    /// ARN of the session.
    pub arn: String,
    /// How much of the room for session policies and tags is used, percent; none without any.
    pub packed_policy_percent: Option<u8>,
    /// As given.
    pub source_identity: Option<String>,
}

impl AssumedRole {
    /// The reply.
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        response("AssumeRole", request_id, |out| {
            self.credentials.push(out);
            open_xml("AssumedRoleUser", out);
            push_xml_element("AssumedRoleId", &self.assumed_role_id, out);
            push_xml_element("Arn", &self.arn, out);
            close_xml("AssumedRoleUser", out);
            if let Some(percent) = self.packed_policy_percent {
                push_xml_element("PackedPolicySize", &percent.to_string(), out);
            }
            if let Some(identity) = &self.source_identity {
                push_xml_element("SourceIdentity", identity, out);
            }
        })
    }
}

/// What GetCallerIdentity answers.
#[derive(Debug, Clone, Copy)]
pub struct CallerIdentity<'a> {
    /// Unique id.
    pub user_id: &'a str,
    /// Twelve digits.
    pub account: &'a str,
    /// ARN.
    pub arn: &'a str,
}

impl CallerIdentity<'_> {
    /// The reply.
    pub fn render(&self, request_id: &str) -> Vec<u8> {
        response("GetCallerIdentity", request_id, |out| {
            push_xml_element("Arn", self.arn, out);
            push_xml_element("UserId", self.user_id, out);
            push_xml_element("Account", self.account, out);
        })
    }
}

fn response(action: &str, request_id: &str, result: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = format!("<{action}Response xmlns=\"{STS_XMLNS}\"><{action}Result>").into_bytes();
    result(&mut out);
    out.extend_from_slice(format!("</{action}Result><ResponseMetadata><RequestId>").as_bytes());
    push_xml_text(request_id, &mut out);
    out.extend_from_slice(format!("</RequestId></ResponseMetadata></{action}Response>").as_bytes());
    out
}
