//! The key service's API: from a typed request to its reply.
//!
//! The order is the contract's: the key is found, the caller is allowed, then usage and state are looked at. Every call,
//! refused ones too, leaves an audit record.

pub(crate) mod condition_keys;
mod grants;
mod imports;
mod keys;
mod new_key;

use std::sync::Arc;

use sealq_api::kms::{KmsErrorName, KmsErrorReply, KmsRequest, ListPage, Pairs, ReplyBody};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::cryptography::DataKeySize;
use sealq_crypto::key_store::grant::{GrantCaller, GrantOperation};
use sealq_crypto::key_store::{Action, KeyId, KeyStore, KmsError, Page, PageLimits, Scope};
use serde_json::{Value, json};

use crate::authorize::{Authorizer, KeyFacts, RequestKeys};
use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::embedded_keys::grant_arns;
use crate::key_audit::KeyAudit;
use crate::key_control::KeyControl;

/// Serves KMS.
pub struct KmsApi {
    control: Arc<KeyControl>,
    authorizer: Authorizer,
    audit: KeyAudit,
    clock: Clock,
    region: String,
    partition: String,
}

/// What an action found out, for its audit record.
#[derive(Default)]
struct Subject {
    key_arn: Option<String>,
    parameters: Value,
}

type Reply = Result<ReplyBody, KmsError>;

impl KmsApi {
    /// Over the broker's key state.
    pub fn new(
        control: Arc<KeyControl>,
        authorizer: Authorizer,
        audit: KeyAudit,
        clock: Clock,
        region: String,
        partition: String,
    ) -> Self {
        Self { control, authorizer, audit, clock, region, partition }
    }

    /// Answers a request of a signed caller: the body of the reply.
    ///
    /// # Errors
    /// The error to answer with.
    pub async fn answer(&self, request: KmsRequest, caller: &Caller) -> Result<Vec<u8>, KmsErrorReply> {
        let action = request.action();
        if let Err(error) = self.control.settle_due(self.clock.now_ms()).await {
            return Err(error_reply(&error));
        }
        let mut subject = Subject::default();
        let replied = self.carry_out(request, caller, &mut subject).await;
        let written = self
            .audit
            .called(caller, action, subject.key_arn.as_deref(), subject.parameters, replied.as_ref().err())
            .await;
        let replied = match written {
            Ok(()) => replied,
            Err(reason) => Err(KmsError::Internal { reason }),
        };
        replied.map(ReplyBody::finish).map_err(|error| error_reply(&error))
    }

    async fn carry_out(&self, request: KmsRequest, caller: &Caller, subject: &mut Subject) -> Reply {
        match request {
            KmsRequest::Encrypt(request) => {
                let context = context_of(request.context);
                let key = self.key(&request.key_id, Action::Encrypt, caller, &context, subject).await?;
                let store = self.control.read();
                let made =
                    store.encrypt(key, &request.plaintext, &context, request.dry_run, &mut SystemEntropy)?;
                Ok(ReplyBody::new()
                    .blob("CiphertextBlob", &made.ciphertext_blob)
                    .text("KeyId", &made.key_arn)
                    .text("EncryptionAlgorithm", "SYMMETRIC_DEFAULT"))
            }
            KmsRequest::Decrypt(request) => {
                let context = context_of(request.context);
                let expected = self.expected(request.key_id.as_deref(), caller)?;
                let key = self.control.read().key_of_blob(&request.ciphertext_blob)?;
                self.permit(key, Action::Decrypt, caller, &context, subject)?;
                let store = self.control.read();
                let opened = store.decrypt(&request.ciphertext_blob, expected, &context, request.dry_run)?;
                Ok(ReplyBody::new()
                    .blob("Plaintext", &opened.plaintext)
                    .text("KeyId", &opened.key_arn)
                    .text("EncryptionAlgorithm", "SYMMETRIC_DEFAULT")
                    .text("KeyMaterialId", &opened.key_material_id))
            }
            KmsRequest::ReEncrypt(request) => self.re_encrypt(request, caller, subject),
            KmsRequest::GenerateDataKey(request) => {
                self.data_key(request, Action::GenerateDataKey, caller, subject).await
            }
            KmsRequest::GenerateDataKeyWithoutPlaintext(request) => {
                self.data_key(request, Action::GenerateDataKeyWithoutPlaintext, caller, subject).await
            }
            KmsRequest::GenerateRandom(count) => {
                self.permit_service(caller, "kms:GenerateRandom")?;
                let bytes = KeyStore::generate_random(Some(count), &mut SystemEntropy)?;
                Ok(ReplyBody::new().blob("Plaintext", &bytes))
            }
            KmsRequest::CreateGrant(request) => self.create_grant(request, caller, subject).await,
            KmsRequest::ListGrants(request) => self.list_grants(&request, caller, subject),
            KmsRequest::ListRetirableGrants(request) => self.list_retirable_grants(&request, caller),
            KmsRequest::RetireGrant(request) => self.retire_grant(request, caller, subject).await,
            KmsRequest::RevokeGrant(request) => self.revoke_grant(request, caller, subject).await,
            request => self.manage(request, caller, subject).await,
        }
    }

    fn re_encrypt(
        &self,
        request: sealq_api::kms::ReEncrypt,
        caller: &Caller,
        subject: &mut Subject,
    ) -> Reply {
        let (from, to) = (context_of(request.source_context), context_of(request.destination_context));
        let expected = self.expected(request.source_key_id.as_deref(), caller)?;
        let source = self.control.read().key_of_blob(&request.ciphertext_blob)?;
        let scope = self.scope(caller);
        let target = self.control.read().resolve(&request.destination_key_id, &scope, Action::ReEncrypt)?;
        self.permit_as(
            source,
            "kms:ReEncryptFrom",
            Some(GrantOperation::ReEncryptFrom),
            caller,
            &from,
            subject,
        )?;
        self.permit_as(target, "kms:ReEncryptTo", Some(GrantOperation::ReEncryptTo), caller, &to, subject)?;
        let made = self.control.read().re_encrypt(
            (&request.ciphertext_blob, expected, &from),
            (target, &to),
            request.dry_run,
            &mut SystemEntropy,
        )?;
        Ok(ReplyBody::new()
            .blob("CiphertextBlob", &made.encrypted.ciphertext_blob)
            .text("KeyId", &made.encrypted.key_arn)
            .text("SourceKeyId", &made.source_key_arn)
            .text("SourceEncryptionAlgorithm", "SYMMETRIC_DEFAULT")
            .text("DestinationEncryptionAlgorithm", "SYMMETRIC_DEFAULT")
            .text("SourceKeyMaterialId", &made.source_key_material_id)
            .text("DestinationKeyMaterialId", &made.encrypted.key_material_id))
    }

    async fn data_key(
        &self,
        request: sealq_api::kms::GenerateDataKey,
        action: Action,
        caller: &Caller,
        subject: &mut Subject,
    ) -> Reply {
        let size = DataKeySize::new(request.key_spec.as_deref(), request.number_of_bytes)?;
        let context = context_of(request.context);
        let key = self.key(&request.key_id, action, caller, &context, subject).await?;
        let store = self.control.read();
        let made =
            store.generate_data_key(key, action, size, &context, request.dry_run, &mut SystemEntropy)?;
        let mut body = ReplyBody::new();
        if action == Action::GenerateDataKey {
            body = body.blob("Plaintext", &made.plaintext);
        }
        Ok(body
            .blob("CiphertextBlob", &made.encrypted.ciphertext_blob)
            .text("KeyId", &made.encrypted.key_arn)
            .text("KeyMaterialId", &made.encrypted.key_material_id))
    }

    /// The key that a request names, if the caller may do the action on it.
    async fn key(
        &self,
        identifier: &str,
        action: Action,
        caller: &Caller,
        context: &EncryptionContext,
        subject: &mut Subject,
    ) -> Result<KeyId, KmsError> {
        subject.parameters = json!({ "keyId": identifier });
        let resolved = self.control.read().resolve(identifier, &self.scope(caller), action);
        let key = match resolved {
            // Whether another account has such a key is not told.
            Err(KmsError::KeyNotFound { .. }) if names_other_account(identifier, caller) => {
                return Err(KmsError::AccessDenied {
                    reason: format!(
                        "User: {} is not authorized to perform: kms:{} on resource: {identifier} because no \
                         resource-based policy allows the kms:{} action",
                        caller.arn,
                        action.name(),
                        action.name()
                    ),
                });
            }
            resolved => resolved?,
        };
        self.permit(key, action, caller, context, subject)?;
        Ok(key)
    }

    fn permit(
        &self,
        key: KeyId,
        action: Action,
        caller: &Caller,
        context: &EncryptionContext,
        subject: &mut Subject,
    ) -> Result<(), KmsError> {
        let operation = GrantOperation::from_name(action.name());
        self.permit_as(key, &format!("kms:{}", action.name()), operation, caller, context, subject)
    }

    fn permit_as(
        &self,
        key: KeyId,
        action: &str,
        operation: Option<GrantOperation>,
        caller: &Caller,
        context: &EncryptionContext,
        subject: &mut Subject,
    ) -> Result<(), KmsError> {
        let arns = grant_arns(caller);
        let granted = operation.is_some_and(|operation| {
            self.control.read().grant_allows(key, &grantee(caller, &arns), operation, context)
        });
        let mut keys = self.authorizer.keys(caller);
        self.decide(key, action, caller, context, granted, &mut keys, subject)
    }

    /// The decision, with the condition keys of the key and the context added to the request's.
    #[expect(clippy::too_many_arguments, reason = "each is one thing that a decision depends on")]
    fn decide(
        &self,
        key: KeyId,
        action: &str,
        caller: &Caller,
        context: &EncryptionContext,
        granted: bool,
        keys: &mut RequestKeys<'_>,
        subject: &mut Subject,
    ) -> Result<(), KmsError> {
        let policy = self.control.policy(key)?;
        let (arn, account) = {
            let store = self.control.read();
            condition_keys::add_key(keys, &store, key)?;
            (store.key_arn(key)?, store.owner(key)?.account.clone())
        };
        subject.key_arn = Some(arn.clone());
        if let Some(named) = subject.parameters.get("keyId").and_then(Value::as_str) {
            condition_keys::add_request_alias(keys, named);
        }
        keys.add_context(context);
        if !context.is_empty()
            && let Value::Object(parameters) = &mut subject.parameters
        {
            let pairs: serde_json::Map<String, Value> =
                context.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
            parameters.insert("encryptionContext".into(), Value::Object(pairs));
        }
        let facts = KeyFacts { arn: &arn, account: &account, policy: &policy, granted };
        self.authorizer.key(caller, action, facts, keys).map_err(|reason| KmsError::AccessDenied { reason })
    }

    fn permit_service(&self, caller: &Caller, action: &str) -> Result<(), KmsError> {
        self.authorizer.key_service(caller, action, "*").map_err(|reason| KmsError::AccessDenied { reason })
    }

    /// The key that a Decrypt or ReEncrypt request expects.
    fn expected(&self, identifier: Option<&str>, caller: &Caller) -> Result<Option<KeyId>, KmsError> {
        let resolve =
            |identifier| self.control.read().resolve(identifier, &self.scope(caller), Action::Decrypt);
        identifier.map(resolve).transpose()
    }

    /// Keys named without an account are the caller's.
    fn scope(&self, caller: &Caller) -> Scope {
        let account = match &caller.kind {
            CallerKind::Service { source_account, .. } => source_account.to_string(),
            _ => caller.account.to_string(),
        };
        Scope { partition: self.partition.clone(), account, region: self.region.clone() }
    }
}

fn grantee<'a>(caller: &'a Caller, arns: &'a [&'a str]) -> GrantCaller<'a> {
    GrantCaller { arns, account: &caller.account, is_account_root: caller.kind == CallerKind::Root }
}

fn names_other_account(identifier: &str, caller: &Caller) -> bool {
    identifier.split(':').nth(4).is_some_and(|account| !account.is_empty() && *account != *caller.account)
}

fn page_of(limits: PageLimits, page: &ListPage) -> Result<Page, KmsError> {
    Page::new(limits, page.limit, page.marker.as_deref())
}

fn context_of(pairs: Pairs) -> EncryptionContext {
    let mut context = EncryptionContext::new();
    for (name, value) in pairs {
        context.insert(name, value);
    }
    context
}

fn nested(body: ReplyBody, member: &str, value: &impl serde::Serialize) -> Reply {
    body.nested(member, value).map_err(|error| KmsError::Internal { reason: error.to_string() })
}

fn error_reply(error: &KmsError) -> KmsErrorReply {
    if error.is_service_fault() {
        tracing::error!(%error, "the key service failed");
    }
    let name = KmsErrorName::from_name(error.name()).unwrap_or(KmsErrorName::KMSInternalException);
    match error.is_service_fault() {
        true => KmsErrorReply::new(name, "The key service failed. Try again later."),
        false => KmsErrorReply::new(name, error.to_string()),
    }
}
