//! The condition keys of one request (auth contract, section 7).

use std::cell::OnceCell;

use sealq_api::iam::{ConditionKeys, ConditionValue};
use sealq_crypto::EncryptionContext;

use crate::caller::{Caller, CallerKind};
use crate::catalog::QueueRecord;

/// Set where the broker calls the key service for a request: a call of its own, made in the caller's name.
const VIA_SERVICE: &str = "kms:viaservice";
/// What `aws:CalledVia` names then.
const SQS_SERVICE: &str = "sqs.amazonaws.com";

/// What policies may ask about a request. Keys that every request has are computed only when a policy asks.
#[derive(Debug)]
pub struct RequestKeys<'a> {
    caller: &'a Caller,
    region: &'a str,
    now_ms: u64,
    now_s: OnceCell<String>,
    now_iso: OnceCell<String>,
    token_issued: OnceCell<String>,
    source_ip: OnceCell<String>,
    queue: Option<&'a QueueRecord>,
    added: Vec<(String, Vec<String>)>,
}

impl<'a> RequestKeys<'a> {
    pub(super) fn new(caller: &'a Caller, region: &'a str, now_ms: u64) -> Self {
        Self {
            caller,
            region,
            now_ms,
            now_s: OnceCell::new(),
            now_iso: OnceCell::new(),
            token_issued: OnceCell::new(),
            source_ip: OnceCell::new(),
            queue: None,
            added: Vec::new(),
        }
    }

    /// The same with what is known of the queue that is asked for.
    pub(super) fn about(self, queue: &'a QueueRecord) -> Self {
        Self { queue: Some(queue), ..self }
    }

    /// Adds a key of this request alone.
    pub fn add(&mut self, key: String, value: String) {
        self.add_many(key, vec![value]);
    }

    /// Adds a multi-valued key.
    pub fn add_many(&mut self, mut key: String, values: Vec<String>) {
        key.make_ascii_lowercase();
        self.added.push((key, values));
    }

    /// Adds the keys of an encryption context.
    pub fn add_context(&mut self, context: &EncryptionContext) {
        for (name, value) in context.iter() {
            self.add(format!("kms:encryptioncontext:{name}"), value.to_owned());
        }
        if !context.is_empty() {
            let names = context.iter().map(|(name, _)| name.to_owned()).collect();
            self.add_many("kms:encryptioncontextkeys".into(), names);
        }
    }

    /// Adds the tags that a request gives or takes: `aws:RequestTag/…` and `aws:TagKeys`.
    pub fn add_tags<'t>(&mut self, tags: impl IntoIterator<Item = (&'t str, Option<&'t str>)>) {
        let mut names = Vec::new();
        for (name, value) in tags {
            if let Some(value) = value {
                self.add(format!("aws:requesttag/{name}"), value.to_owned());
            }
            names.push(name.to_owned());
        }
        if !names.is_empty() {
            self.add_many("aws:tagkeys".into(), names);
        }
    }

    fn added(&self, key: &str) -> Option<&[String]> {
        let found = self.added.iter().find(|(name, _)| name == key);
        found.map(|(_, values)| values.as_slice())
    }

    fn of_queue(&self, key: &str) -> Option<&str> {
        let queue = self.queue?;
        match key.strip_prefix("aws:resourcetag/") {
            // Key names are compared without regard to case.
            Some(tag) => {
                let found = queue.tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag));
                found.map(|(_, value)| value.as_str())
            }
            None => (key == "aws:resourceaccount").then_some(&queue.account),
        }
    }
}

impl ConditionKeys for RequestKeys<'_> {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        if let Some(values) = self.added(key) {
            return Some(match values {
                [one] => ConditionValue::One(one),
                many => ConditionValue::Many(many),
            });
        }
        if let Some(value) = self.of_queue(key) {
            return Some(ConditionValue::One(value));
        }
        let caller = self.caller;
        let flag = |set: bool| if set { "true" } else { "false" };
        let service = matches!(caller.kind, CallerKind::Service { .. });
        let signed = !caller.is_anonymous();
        let via_service = self.added(VIA_SERVICE).is_some();
        let value = match key {
            "aws:securetransport" => flag(caller.secure_transport),
            "aws:sourceip" if !service && !via_service => {
                self.source_ip.get_or_init(|| caller.source_ip.to_canonical().to_string())
            }
            "aws:currenttime" => self.now_iso.get_or_init(|| iso_time(self.now_ms / 1_000)),
            "aws:epochtime" => self.now_s.get_or_init(|| (self.now_ms / 1_000).to_string()),
            "aws:tokenissuetime" => {
                let issued_at_s = caller.token_issued_at_s?;
                self.token_issued.get_or_init(|| iso_time(issued_at_s))
            }
            "aws:referer" => caller.referer.as_deref()?,
            "aws:useragent" if !caller.user_agent.is_empty() => &caller.user_agent,
            "aws:requestedregion" => self.region,
            "aws:principalarn" if signed => match &caller.kind {
                CallerKind::RoleSession { role_arn, .. } => role_arn,
                _ => &caller.arn,
            },
            "aws:principalaccount" | "kms:calleraccount" if !caller.account.is_empty() => &caller.account,
            "aws:principaltype" => match caller.kind {
                CallerKind::Root => "Account",
                CallerKind::User => "User",
                CallerKind::RoleSession { .. } => "AssumedRole",
                CallerKind::Service { .. } => "Service",
                CallerKind::Anonymous => "Anonymous",
            },
            "aws:userid" if signed => &caller.unique_id,
            "aws:username" if caller.kind == CallerKind::User => &caller.name,
            "aws:principalisawsservice" => flag(service),
            "aws:principalservicename" if service => &caller.arn,
            "aws:sourcearn" | "aws:sourceaccount" => match &caller.kind {
                CallerKind::Service { source_arn, .. } if key == "aws:sourcearn" => source_arn,
                CallerKind::Service { source_account, .. } => source_account,
                _ => return None,
            },
            "aws:viaawsservice" => flag(via_service),
            "aws:calledvia" | "aws:calledviafirst" | "aws:calledvialast" if via_service => SQS_SERVICE,
            // Sessions only, and none of them was made with a second factor.
            "aws:multifactorauthpresent" if caller.token_issued_at_s.is_some() => flag(false),
            _ => {
                let name = key.strip_prefix("aws:principaltag/")?;
                let tag = caller.session_tags.iter().find(|tag| tag.name.eq_ignore_ascii_case(name))?;
                &tag.value
            }
        };
        Some(ConditionValue::One(value))
    }
}

/// Seconds since 1970 as policies write dates.
pub fn iso_time(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or_default().to_string()
}
