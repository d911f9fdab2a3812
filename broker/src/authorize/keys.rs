//! The condition keys of one request (auth contract, section 7).

use std::cell::OnceCell;

use sealq_api::iam::{ConditionKeys, ConditionValue};
use sealq_crypto::EncryptionContext;

use crate::caller::{Caller, CallerKind};

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
            added: Vec::new(),
        }
    }

    /// Adds a key of this request alone. `key` in lower case.
    pub fn add(&mut self, key: String, value: String) {
        self.added.push((key, vec![value]));
    }

    /// Adds a multi-valued key. `key` in lower case.
    pub fn add_many(&mut self, key: String, values: Vec<String>) {
        self.added.push((key, values));
    }

    /// Adds the keys of an encryption context.
    pub fn add_context(&mut self, context: &EncryptionContext) {
        for (name, value) in context.iter() {
            self.add(format!("kms:encryptioncontext:{}", name.to_lowercase()), value.to_owned());
        }
        if !context.is_empty() {
            let names = context.iter().map(|(name, _)| name.to_owned()).collect();
            self.add_many("kms:encryptioncontextkeys".into(), names);
        }
    }
}

impl ConditionKeys for RequestKeys<'_> {
    fn get(&self, key: &str) -> Option<ConditionValue<'_>> {
        if let Some((_, values)) = self.added.iter().find(|(name, _)| name == key) {
            return Some(match values.as_slice() {
                [one] => ConditionValue::One(one),
                many => ConditionValue::Many(many.iter().map(String::as_str).collect()),
            });
        }
        let caller = self.caller;
        let flag = |set: bool| if set { "true" } else { "false" };
        let service = matches!(caller.kind, CallerKind::Service { .. });
        let signed = !caller.is_anonymous();
        let value = match key {
            "aws:securetransport" => flag(caller.secure_transport),
            "aws:sourceip" if !service => {
                self.source_ip.get_or_init(|| caller.source_ip.to_canonical().to_string())
            }
            "aws:currenttime" => self.now_iso.get_or_init(|| iso(self.now_ms / 1_000)),
            "aws:epochtime" => self.now_s.get_or_init(|| (self.now_ms / 1_000).to_string()),
            "aws:tokenissuetime" => {
                let issued_at_s = caller.token_issued_at_s?;
                self.token_issued.get_or_init(|| iso(issued_at_s))
            }
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
            "aws:viaawsservice" => "false",
            _ => return None,
        };
        Some(ConditionValue::One(value))
    }
}

fn iso(seconds: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or_default().to_string()
}
