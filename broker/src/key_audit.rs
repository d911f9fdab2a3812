//! Audit records of key uses.

use std::sync::Arc;

use sealq_api::kms::ServedAction;
use sealq_crypto::EncryptionContext;
use sealq_crypto::encryption_context::QUEUE_ARN_NAME;
use sealq_crypto::key_store::{KmsError, Scope};
use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditLog};
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
        let owner = key_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let mut identity = user_identity(caller);
        identity["invokedBy"] = json!("sqs.amazonaws.com");
        let shared = (owner != *caller.account && !owner.is_empty() && error.is_none())
            .then(|| uuid::Uuid::new_v4().to_string());
        let mut event = AuditEvent {
            at_ms: self.clock.now_ms(),
            source: "kms.amazonaws.com",
            name: name.to_owned(),
            region: self.region.clone(),
            identity,
            source_ip: "sqs.amazonaws.com".into(),
            user_agent: "sqs.amazonaws.com".into(),
            request_parameters: json!({ "keyId": key_arn, "encryptionContext": pairs }),
            response_elements: Value::Null,
            error: error.map(|(name, text)| (name.to_owned(), text)),
            request_id: uuid::Uuid::new_v4().to_string(),
            resources: vec![(key_arn.to_owned(), owner.clone(), "AWS::KMS::Key")],
            read_only: true,
            event_type: "AwsApiCall",
            recipient_account: caller.account.to_string(),
            shared_event_id: shared.clone(),
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
    pub async fn called(
        &self,
        caller: &Caller,
        action: ServedAction,
        key_arn: Option<&str>,
        parameters: Value,
        error: Option<&KmsError>,
    ) -> Result<(), String> {
        let owner = key_arn.and_then(|arn| arn.split(':').nth(4)).unwrap_or(&caller.account).to_owned();
        let shared = (owner != *caller.account && error.is_none()).then(|| uuid::Uuid::new_v4().to_string());
        let mut event = AuditEvent {
            at_ms: self.clock.now_ms(),
            source: "kms.amazonaws.com",
            name: action.name().to_owned(),
            region: self.region.clone(),
            identity: user_identity(caller),
            source_ip: caller.source_ip.to_string(),
            user_agent: caller.user_agent.to_string(),
            request_parameters: parameters,
            response_elements: Value::Null,
            error: error.map(|error| (error.name().to_owned(), error.to_string())),
            request_id: caller.request_id.to_string(),
            resources: key_arn
                .map(|arn| (arn.to_owned(), owner.clone(), "AWS::KMS::Key"))
                .into_iter()
                .collect(),
            read_only: action.is_read_only(),
            event_type: "AwsApiCall",
            recipient_account: caller.account.to_string(),
            shared_event_id: shared.clone(),
        };
        if shared.is_some() {
            let mut owners = event.clone();
            owners.recipient_account = owner;
            self.log.note(owners).await;
        }
        if action.is_read_only() {
            self.log.note(event).await;
            return Ok(());
        }
        event.read_only = false;
        self.log.write(event).await
    }

    /// The service made an account's managed key.
    pub async fn managed_key_made(&self, scope: &Scope, at_ms: u64) {
        let event = AuditEvent {
            at_ms,
            source: "kms.amazonaws.com",
            name: "CreateKey".into(),
            region: self.region.clone(),
            identity: json!({ "type": "AWSService", "invokedBy": "sqs.amazonaws.com", "accountId": scope.account }),
            source_ip: "sqs.amazonaws.com".into(),
            user_agent: "sqs.amazonaws.com".into(),
            request_parameters: json!({ "aliasName": "alias/aws/sqs" }),
            response_elements: Value::Null,
            error: None,
            request_id: uuid::Uuid::new_v4().to_string(),
            resources: Vec::new(),
            read_only: false,
            event_type: "AwsServiceEvent",
            recipient_account: scope.account.clone(),
            shared_event_id: None,
        };
        self.log.note(event).await;
    }
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
    json!({
        "type": kind,
        "principalId": &*caller.unique_id,
        "arn": &*caller.arn,
        "accountId": &*caller.account,
        "accessKeyId": &*caller.access_key_id,
        "userName": &*caller.name,
    })
}
