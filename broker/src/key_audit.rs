//! Audit records of key uses.

use std::collections::BTreeSet;
use std::sync::Arc;

use sealq_api::kms::KmsErrorReply;
use sealq_crypto::EncryptionContext;
use sealq_crypto::encryption_context::QUEUE_ARN_NAME;
use sealq_crypto::key_store::Scope;
use sealq_crypto::key_store::sweep::DueEvent;
use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditLog};
use crate::authorize::iso_time;
use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::metrics_exporter::{KMS_CALLS, QueueSeries};

/// Writes key uses to the audit log.
#[derive(Debug, Clone)]
pub struct KeyAudit {
    log: AuditLog,
    clock: Clock,
    region: String,
    series: Arc<QueueSeries>,
}

impl KeyAudit {
    /// Over the broker's audit log.
    /// `series_max`: queues that are counted under their own name.
    pub fn new(log: AuditLog, clock: Clock, region: String, series_max: usize) -> Self {
        Self { log, clock, region, series: Arc::new(QueueSeries::new(series_max)) }
    }

    /// A use of a key by the broker in the caller's name. `error`: its name and text.
    pub async fn used(
        &self,
        caller: &Caller,
        name: &str,
        key_arn: &str,
        context: &EncryptionContext,
        error: Option<(&'static str, String)>,
    ) {
        self.count(name, context, error.as_ref().map_or("ok", |(name, _)| name));
        let pairs: serde_json::Map<String, Value> =
            context.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let mut parameters = json!({ "keyId": key_arn, "encryptionContext": pairs });
        if name == "GenerateDataKey" {
            parameters["keySpec"] = json!("AES_256");
        }
        let owner = key_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let mut identity = user_identity(caller);
        identity["invokedBy"] = json!("sqs.amazonaws.com");
        let shared = (owner != *caller.account && !owner.is_empty() && error.is_none())
            .then(|| uuid::Uuid::new_v4().to_string());
        let mut event = AuditEvent {
            identity,
            source_ip: "sqs.amazonaws.com".into(),
            user_agent: "sqs.amazonaws.com".into(),
            request_parameters: parameters,
            error: error.map(|(name, text)| (name.to_owned(), text)),
            resources: vec![(key_arn.to_owned(), owner.clone(), "AWS::KMS::Key")],
            recipient_account: caller.account.to_string(),
            shared_event_id: shared.clone(),
            ..self.event(name, self.clock.now_ms())
        };
        self.log.note(event.clone()).await;
        if shared.is_some() {
            event.recipient_account = owner;
            self.log.note(event).await;
        }
    }

    /// Counts a call by its queue and outcome.
    fn count(&self, action: &str, context: &EncryptionContext, outcome: &'static str) {
        let arn: Vec<&str> = context.get(QUEUE_ARN_NAME).unwrap_or("").split(':').collect();
        let (account, queue) = match arn[..] {
            [_, _, _, _, account, name] => (account, self.series.label(account, name)),
            _ => ("", "_other"),
        };
        let labels = [
            ("account", account.to_owned()),
            ("queue", queue.to_owned()),
            ("action", action.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        metrics::counter!(KMS_CALLS, &labels).increment(1);
    }

    /// A call of the key service's API. A change is on disk before its reply.
    ///
    /// # Errors
    /// The record of a change could not be written.
    pub async fn called(&self, caller: &Caller, call: Called<'_>) -> Result<(), String> {
        let owner_of = |arn: &str| arn.split(':').nth(4).unwrap_or_default().to_owned();
        let resources: Vec<_> =
            call.keys.iter().map(|arn| (arn.clone(), owner_of(arn), "AWS::KMS::Key")).collect();
        let others: BTreeSet<String> = resources
            .iter()
            .map(|(_, owner, _)| owner.clone())
            .filter(|owner| call.error.is_none() && *owner != *caller.account)
            .collect();
        let event = AuditEvent {
            identity: user_identity(caller),
            source_ip: caller.source_ip.to_string(),
            user_agent: caller.user_agent.to_string(),
            request_parameters: call.parameters,
            response_elements: call.response,
            error: call
                .error
                .map(|error| (error.name.as_str().to_owned(), error.message.clone().into_owned())),
            request_id: caller.request_id.to_string(),
            resources,
            read_only: call.is_read_only,
            event_type: "AwsApiCall",
            recipient_account: caller.account.to_string(),
            shared_event_id: (!others.is_empty()).then(|| uuid::Uuid::new_v4().to_string()),
            ..self.event(call.name, self.clock.now_ms())
        };
        for owner in others {
            self.log.note(AuditEvent { recipient_account: owner, ..event.clone() }).await;
        }
        match call.is_read_only {
            true => self.log.note(event).await,
            false => self.log.write(event).await?,
        }
        Ok(())
    }

    /// The service made an account's managed key.
    pub async fn managed_key_made(&self, scope: &Scope, key_arn: &str, at_ms: u64) {
        let parameters = json!({ "aliasName": "alias/aws/sqs" });
        self.happened("CreateKey", key_arn, &scope.account, parameters, at_ms).await;
    }

    /// Something about a key came due by itself.
    pub async fn came_due(&self, key_arn: &str, event: &DueEvent, at_ms: u64) {
        let owner = key_arn.split(':').nth(4).unwrap_or_default();
        let (name, parameters) = match event {
            DueEvent::Destroyed => ("DeleteKey", json!({ "keyId": key_arn })),
            DueEvent::MaterialExpired => ("DeleteExpiredKeyMaterial", json!({ "keyId": key_arn })),
            DueEvent::Rotated { key_material_id } => {
                ("RotateKey", json!({ "keyId": key_arn, "keyMaterialId": key_material_id }))
            }
        };
        self.happened(name, key_arn, owner, parameters, at_ms).await;
    }

    /// A change that the service made by itself.
    async fn happened(&self, name: &str, key_arn: &str, owner: &str, parameters: Value, at_ms: u64) {
        let event = AuditEvent {
            identity: json!({ "type": "AWSService", "invokedBy": "kms.amazonaws.com", "accountId": owner }),
            source_ip: "kms.amazonaws.com".into(),
            user_agent: "kms.amazonaws.com".into(),
            request_parameters: parameters,
            resources: vec![(key_arn.to_owned(), owner.to_owned(), "AWS::KMS::Key")],
            read_only: false,
            event_type: "AwsServiceEvent",
            recipient_account: owner.to_owned(),
            ..self.event(name, at_ms)
        };
        self.log.note(event).await;
    }

    /// A record of the key service, to be filled.
    fn event(&self, name: &str, at_ms: u64) -> AuditEvent {
        AuditEvent {
            at_ms,
            source: "kms.amazonaws.com",
            name: name.to_owned(),
            region: self.region.clone(),
            identity: Value::Null,
            source_ip: String::new(),
            user_agent: String::new(),
            request_parameters: Value::Null,
            response_elements: Value::Null,
            error: None,
            request_id: uuid::Uuid::new_v4().to_string(),
            resources: Vec::new(),
            read_only: true,
            event_type: "AwsApiCall",
            recipient_account: String::new(),
            shared_event_id: None,
        }
    }
}

/// One call of the key service's API, as its record shows it.
#[derive(Debug)]
pub struct Called<'a> {
    /// Action.
    pub name: &'a str,
    /// It changes nothing.
    pub is_read_only: bool,
    /// ARNs of the keys it was about.
    pub keys: &'a [String],
    /// Parameters without secrets; null if the request could not be read.
    pub parameters: Value,
    /// Results without secrets; null for what changes nothing.
    pub response: Value,
    /// How it failed.
    pub error: Option<&'a KmsErrorReply>,
}

/// `userIdentity` of a caller, as CloudTrail shapes it.
pub fn user_identity(caller: &Caller) -> Value {
    let kind = match caller.kind {
        CallerKind::Root => "Root",
        CallerKind::User => "IAMUser",
        CallerKind::RoleSession { .. } => "AssumedRole",
        CallerKind::Service { .. } => "AWSService",
        CallerKind::Anonymous => "AWSAccount",
    };
    let mut identity = json!({
        "type": kind,
        "principalId": &*caller.unique_id,
        "arn": &*caller.arn,
        "accountId": &*caller.account,
        "accessKeyId": &*caller.access_key_id,
        "userName": &*caller.name,
    });
    if let Some(issued_at_s) = caller.token_issued_at_s {
        let attributes = json!({ "creationDate": iso_time(issued_at_s), "mfaAuthenticated": "false" });
        let mut context = json!({ "attributes": attributes });
        if let CallerKind::RoleSession { role_arn, .. } = &caller.kind {
            context["sessionIssuer"] = json!({
                "type": "Role",
                "principalId": caller.principal_id(),
                "arn": &**role_arn,
                "accountId": &*caller.account,
                "userName": role_arn.rsplit('/').next().unwrap_or_default(),
            });
        }
        identity["sessionContext"] = context;
    }
    identity
}
