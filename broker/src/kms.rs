//! The key service's API: from a request to its reply.
//!
//! The order is the contract's: the shape, then the key is found, the caller is allowed, then usage and state are looked
//! at. Every call of a known action, refused ones too, leaves an audit record.

mod aliases;
mod cryptography;
mod grants;
mod imports;
mod keys;
mod new_key;
mod policies;
mod rotation;
mod tags;

use std::sync::Arc;

use sealq_api::kms::{
    KmsCall, KmsErrorName, KmsErrorReply, KmsRequest, ListPage, Named, Pairs, ReplyBody, reply_elements,
};
use sealq_crypto::EncryptionContext;
use sealq_crypto::key_store::grant::{GrantOperation, check_grant_token};
use sealq_crypto::key_store::{Action, KeyId, KmsError, Page, PageLimits, Scope};
use serde_json::Value;

use crate::authenticate::Authenticator;
use crate::caller::{Caller, CallerKind};
use crate::clock::Clock;
use crate::key_audit::{Called, KeyAudit};
use crate::key_control::KeyControl;
use crate::key_rights::{Conditions, KeyRights, KeyUse, of_request};
use crate::queues::Queues;

/// Serves KMS.
pub struct KmsApi {
    /// The keys.
    pub control: Arc<KeyControl>,
    /// Who may do what with them.
    pub rights: KeyRights,
    /// Whom policies and grants may name.
    pub principals: Arc<Authenticator>,
    /// Who uses keys.
    pub queues: Arc<Queues>,
    /// Records of calls.
    pub audit: KeyAudit,
    /// Time.
    pub clock: Clock,
    /// Region of this broker.
    pub region: String,
    /// Partition of its ARNs.
    pub partition: String,
}

/// One call under way.
struct Call<'a> {
    caller: &'a Caller,
    /// The action as policies name it.
    right: &'static str,
    /// Where keys without an account are looked for.
    scope: Scope,
    now_ms: u64,
    /// What the request adds to the condition keys.
    conditions: Conditions,
    /// ARNs of the keys it turned out to be about, for its record.
    keys: &'a mut Vec<String>,
}

type Reply = Result<ReplyBody, KmsError>;

impl KmsApi {
    /// Answers a request of a signed caller: the body of the reply.
    ///
    /// # Errors
    /// The error to answer with.
    pub async fn answer(&self, target: &str, body: &[u8], caller: &Caller) -> Result<Vec<u8>, KmsErrorReply> {
        let action = Named::of_target(target);
        let parsed = KmsCall::parse(action, body);
        let Some((name, is_read_only)) = action.name() else {
            return parsed.map(|_| Vec::new());
        };
        let (mut keys, mut parameters) = (Vec::new(), Value::Null);
        let replied = match parsed {
            Ok(call) => {
                parameters = call.parameters;
                let served = self.serve(call.request, &call.grant_tokens, caller, &mut keys).await;
                served.map(ReplyBody::finish).map_err(|error| error_reply(&error))
            }
            Err(refusal) => Err(refusal),
        };
        let response = match &replied {
            Ok(body) if !is_read_only => reply_elements(body),
            _ => Value::Null,
        };
        let error = replied.as_ref().err();
        let call = Called { name, is_read_only, keys: &keys, parameters, response, error };
        match self.audit.called(caller, call).await {
            Ok(()) => replied,
            Err(reason) => Err(error_reply(&KmsError::Internal { reason })),
        }
    }

    async fn serve(
        &self,
        request: KmsRequest,
        grant_tokens: &[String],
        caller: &Caller,
        keys: &mut Vec<String>,
    ) -> Reply {
        let now_ms = self.clock.now_ms();
        self.control.settle_due(now_ms).await?;
        grant_tokens.iter().try_for_each(|token| check_grant_token(token))?;
        let mut call = Call {
            caller,
            right: request.action().iam_action(),
            scope: self.scope(caller),
            now_ms,
            conditions: of_request(&request),
            keys,
        };
        self.carry_out(request, &mut call).await
    }

    async fn carry_out(&self, request: KmsRequest, call: &mut Call<'_>) -> Reply {
        use KmsRequest as R;
        match request {
            R::CancelKeyDeletion(on) => self.cancel_key_deletion(&on.key_id, call).await,
            R::CreateAlias(request) => self.create_alias(&request, call).await,
            R::CreateGrant(request) => self.create_grant(request, call).await,
            R::CreateKey(request) => self.create_key(request, call).await,
            R::Decrypt(request) => self.decrypt(&request, call),
            R::DeleteAlias(request) => self.delete_alias(&request.alias_name, call).await,
            R::DeleteImportedKeyMaterial(request) => self.delete_imported_key_material(&request, call).await,
            R::DescribeKey(on) => self.describe_key(&on.key_id, call).await,
            R::DisableKey(on) => self.disable_key(&on.key_id, call).await,
            R::DisableKeyRotation(on) => self.disable_key_rotation(&on.key_id, call).await,
            R::EnableKey(on) => self.enable_key(&on.key_id, call).await,
            R::EnableKeyRotation(request) => self.enable_key_rotation(&request, call).await,
            R::Encrypt(request) => self.encrypt(&request, call),
            R::GenerateDataKey(request) => self.data_key(&request, Action::GenerateDataKey, call),
            R::GenerateDataKeyWithoutPlaintext(request) => {
                self.data_key(&request, Action::GenerateDataKeyWithoutPlaintext, call)
            }
            R::GenerateRandom(count) => self.generate_random(count, call),
            R::GetKeyPolicy(request) => self.get_key_policy(&request, call),
            R::GetKeyRotationStatus(on) => self.get_key_rotation_status(&on.key_id, call),
            R::GetParametersForImport(request) => self.get_parameters_for_import(&request, call).await,
            R::ImportKeyMaterial(request) => self.import_key_material(&request, call).await,
            R::ListAliases(request) => self.list_aliases(&request, call),
            R::ListGrants(request) => self.list_grants(&request, call),
            R::ListKeyPolicies(request) => self.list_key_policies(&request, call),
            R::ListKeyRotations(request) => self.list_key_rotations(&request, call),
            R::ListKeys(request) => self.list_keys(&request, call),
            R::ListResourceTags(request) => self.list_resource_tags(&request, call),
            R::ListRetirableGrants(request) => self.list_retirable_grants(&request, call),
            R::PutKeyPolicy(request) => self.put_key_policy(&request, call).await,
            R::ReEncrypt(request) => self.re_encrypt(&request, call),
            R::RetireGrant(request) => self.retire_grant(&request, call).await,
            R::RevokeGrant(request) => self.revoke_grant(&request, call).await,
            R::RotateKeyOnDemand(on) => self.rotate_key_on_demand(&on.key_id, call).await,
            R::ScheduleKeyDeletion(request) => self.schedule_key_deletion(&request, call).await,
            R::TagResource(request) => self.tag_resource(&request, call).await,
            R::UntagResource(request) => self.untag_resource(&request, call).await,
            R::UpdateAlias(request) => self.update_alias(&request, call).await,
            R::UpdateKeyDescription(request) => self.update_key_description(&request, call).await,
        }
    }

    /// The key that a request names, if the caller may do the action on it.
    fn key(&self, named: &str, action: Action, call: &mut Call<'_>) -> Result<KeyId, KmsError> {
        let key = self.find(named, action, call.right, call)?;
        self.permit(key, Some(named), call.right, &EncryptionContext::new(), call)?;
        Ok(key)
    }

    /// The key that a request names. Of another account's the caller learns nothing without a right on it.
    fn find(&self, named: &str, action: Action, right: &str, call: &Call<'_>) -> Result<KeyId, KmsError> {
        match self.control.read().resolve(named, &call.scope, action) {
            Err(KmsError::KeyNotFound { .. } | KmsError::AliasNotFound { .. })
                if is_foreign(named, call.caller) =>
            {
                Err(self.rights.refusal_of_unknown(call.caller, right, named, &call.conditions))
            }
            found => found,
        }
    }

    /// Whether the caller has a right on a key, by policies or by a grant.
    fn permit(
        &self,
        key: KeyId,
        named: Option<&str>,
        right: &str,
        context: &EncryptionContext,
        call: &mut Call<'_>,
    ) -> Result<(), KmsError> {
        let operation = right.strip_prefix("kms:").and_then(GrantOperation::from_name);
        let granted =
            operation.and_then(|operation| self.rights.granted(call.caller, key, operation, context));
        // The key behind another account's alias is not told to those who may not use it.
        let shown = named.filter(|named| is_foreign(named, call.caller));
        self.decide(&KeyUse { key, right, context, granted, named, shown }, call)
    }

    fn decide(&self, asked: &KeyUse<'_>, call: &mut Call<'_>) -> Result<(), KmsError> {
        let arn = self.control.read().key_arn(asked.key)?;
        if !call.keys.contains(&arn) {
            call.keys.push(arn);
        }
        self.rights.permit(call.caller, asked, &call.conditions)
    }

    /// A right that no key policy speaks of.
    fn permit_service(&self, right: &str, call: &Call<'_>) -> Result<(), KmsError> {
        self.rights.permit_service(call.caller, right, "*", &call.conditions)
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

/// Whether a name of a key says that it is another account's.
fn is_foreign(named: &str, caller: &Caller) -> bool {
    named.split(':').nth(4).is_some_and(|account| *account != *caller.account)
}

fn page_of(limits: PageLimits, page: &ListPage) -> Result<Page, KmsError> {
    Page::new(limits, page.limit, page.marker.as_deref())
}

fn context_of(pairs: &Pairs) -> EncryptionContext {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
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
