//! Management of keys: life, aliases, policies, tags, rotation, import.

use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::kms::{CreateKey, KmsRequest, OnKey, ReplyBody};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::{Action, KmsError, PageLimits};
use serde_json::json;

use super::imports;
use super::new_key::new_key;
use super::{KmsApi, Reply, Subject, nested, page_of};
use crate::authorize::KeyFacts;
use crate::caller::Caller;
use crate::embedded_keys::make_managed_key;

impl KmsApi {
    pub(super) async fn manage(&self, request: KmsRequest, caller: &Caller, subject: &mut Subject) -> Reply {
        let none = EncryptionContext::new();
        let now_ms = self.clock.now_ms();
        let scope = self.scope(caller);
        match request {
            KmsRequest::CreateKey(request) => self.create_key(request, caller, subject).await,
            KmsRequest::DescribeKey(OnKey { key_id }) => {
                make_managed_key(&self.control, &self.audit, &key_id, &scope, now_ms).await?;
                let key = self.key(&key_id, Action::DescribeKey, caller, &none, subject).await?;
                let metadata = self.control.read().describe_key(key)?;
                nested(ReplyBody::new(), "KeyMetadata", &metadata)
            }
            KmsRequest::ListKeys(request) => {
                self.permit_service(caller, "kms:ListKeys")?;
                let listed =
                    self.control.read().list_keys(&scope, &page_of(PageLimits::KEYS, &request.page)?);
                Ok(nested(ReplyBody::new(), "Keys", &listed.entries)?.page(listed.next_marker.as_deref()))
            }
            KmsRequest::ListAliases(request) => {
                self.permit_service(caller, "kms:ListAliases")?;
                let key = match &request.key_id {
                    Some(id) => Some(self.control.read().resolve(id, &scope, Action::ListAliases)?),
                    None => None,
                };
                let page = page_of(PageLimits::ALIASES, &request.page)?;
                let listed = self.control.read().list_aliases(&scope, key, &page);
                Ok(nested(ReplyBody::new(), "Aliases", &listed.entries)?.page(listed.next_marker.as_deref()))
            }
            KmsRequest::CreateAlias(request) => {
                let key =
                    self.key(&request.target_key_id, Action::CreateAlias, caller, &none, subject).await?;
                self.permit_alias(caller, "kms:CreateAlias", &request.alias_name)?;
                let (name, entropy) = (&request.alias_name, &mut SystemEntropy);
                self.control
                    .mutate(|store| store.prepare_create_alias(&scope, name, key, now_ms, entropy))
                    .await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::UpdateAlias(request) => {
                let key =
                    self.key(&request.target_key_id, Action::UpdateAlias, caller, &none, subject).await?;
                self.permit_alias(caller, "kms:UpdateAlias", &request.alias_name)?;
                let before = self.control.read().alias_target(&scope, &request.alias_name);
                if let Ok(before) = before {
                    self.permit(before, Action::UpdateAlias, caller, &none, subject)?;
                }
                let (name, entropy) = (&request.alias_name, &mut SystemEntropy);
                self.control
                    .mutate(|store| store.prepare_update_alias(&scope, name, key, now_ms, entropy))
                    .await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::DeleteAlias(request) => {
                let target = self.control.read().alias_target(&scope, &request.alias_name);
                if let Ok(target) = target {
                    self.permit(target, Action::DeleteAlias, caller, &none, subject)?;
                }
                self.permit_alias(caller, "kms:DeleteAlias", &request.alias_name)?;
                let (name, entropy) = (&request.alias_name, &mut SystemEntropy);
                self.control.mutate(|store| store.prepare_delete_alias(&scope, name, entropy)).await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::EnableKey(OnKey { key_id }) => {
                let key = self.key(&key_id, Action::EnableKey, caller, &none, subject).await?;
                self.control.mutate(|store| store.prepare_enable(key, &mut SystemEntropy)).await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::DisableKey(OnKey { key_id }) => {
                let key = self.key(&key_id, Action::DisableKey, caller, &none, subject).await?;
                self.control.mutate(|store| store.prepare_disable(key, &mut SystemEntropy)).await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::UpdateKeyDescription(request) => {
                let key =
                    self.key(&request.key_id, Action::UpdateKeyDescription, caller, &none, subject).await?;
                let text = &request.description;
                self.control
                    .mutate(|store| store.prepare_update_description(key, text, &mut SystemEntropy))
                    .await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::ScheduleKeyDeletion(request) => {
                let key =
                    self.key(&request.key_id, Action::ScheduleKeyDeletion, caller, &none, subject).await?;
                let days = request.pending_window_days;
                let scheduled = self
                    .control
                    .change(|store| store.prepare_schedule_deletion(key, days, now_ms, &mut SystemEntropy))
                    .await?;
                tracing::warn!(
                    key = scheduled.key_arn,
                    "a key will be destroyed: what it sealed cannot be read then"
                );
                Ok(ReplyBody::new()
                    .text("KeyId", &scheduled.key_arn)
                    .date("DeletionDate", scheduled.deletion_at_ms)
                    .text("KeyState", "PendingDeletion")
                    .number("PendingWindowInDays", scheduled.pending_window_days))
            }
            KmsRequest::CancelKeyDeletion(OnKey { key_id }) => {
                let key = self.key(&key_id, Action::CancelKeyDeletion, caller, &none, subject).await?;
                let arn = self
                    .control
                    .change(|store| store.prepare_cancel_deletion(key, &mut SystemEntropy))
                    .await?;
                Ok(ReplyBody::new().text("KeyId", &arn))
            }
            KmsRequest::GetKeyPolicy(request) => {
                let key = self.key(&request.key_id, Action::GetKeyPolicy, caller, &none, subject).await?;
                let store = self.control.read();
                let text = store.policy(key, request.policy_name.as_deref())?;
                Ok(ReplyBody::new().text("Policy", text).text("PolicyName", "default"))
            }
            KmsRequest::PutKeyPolicy(request) => {
                let key = self.key(&request.key_id, Action::PutKeyPolicy, caller, &none, subject).await?;
                let arn = self.control.read().key_arn(key)?;
                self.check_policy(&request.policy, &arn, request.bypass_lockout_check, caller)?;
                let (name, text) = (request.policy_name.as_deref(), &request.policy);
                self.control
                    .mutate(|store| store.prepare_put_policy(key, name, text, &mut SystemEntropy))
                    .await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::ListKeyPolicies(request) => {
                self.key(&request.key_id, Action::ListKeyPolicies, caller, &none, subject).await?;
                Ok(nested(ReplyBody::new(), "PolicyNames", &["default"])?.page(None))
            }
            KmsRequest::TagResource(request) => {
                let key = self.key(&request.key_id, Action::TagResource, caller, &none, subject).await?;
                let tags = &request.tags;
                self.control.mutate(|store| store.prepare_tag(key, tags, &mut SystemEntropy)).await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::UntagResource(request) => {
                let key = self.key(&request.key_id, Action::UntagResource, caller, &none, subject).await?;
                let names = &request.tag_keys;
                self.control.mutate(|store| store.prepare_untag(key, names, &mut SystemEntropy)).await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::ListResourceTags(request) => {
                let key = self.key(&request.key_id, Action::ListResourceTags, caller, &none, subject).await?;
                let listed =
                    self.control.read().list_tags(key, &page_of(PageLimits::TAGS, &request.page)?)?;
                Ok(nested(ReplyBody::new(), "Tags", &listed.entries)?.page(listed.next_marker.as_deref()))
            }
            request => self.rotate(request, caller, subject).await,
        }
    }

    async fn rotate(&self, request: KmsRequest, caller: &Caller, subject: &mut Subject) -> Reply {
        let none = EncryptionContext::new();
        let now_ms = self.clock.now_ms();
        match request {
            KmsRequest::EnableKeyRotation(request) => {
                let key =
                    self.key(&request.key_id, Action::EnableKeyRotation, caller, &none, subject).await?;
                let days = request.period_days;
                self.control
                    .mutate(|store| store.prepare_enable_rotation(key, days, now_ms, &mut SystemEntropy))
                    .await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::DisableKeyRotation(OnKey { key_id }) => {
                let key = self.key(&key_id, Action::DisableKeyRotation, caller, &none, subject).await?;
                self.control.mutate(|store| store.prepare_disable_rotation(key, &mut SystemEntropy)).await?;
                Ok(ReplyBody::new())
            }
            KmsRequest::GetKeyRotationStatus(OnKey { key_id }) => {
                let key = self.key(&key_id, Action::GetKeyRotationStatus, caller, &none, subject).await?;
                let status = self.control.read().rotation_status(key)?;
                let mut body = ReplyBody::new()
                    .text("KeyId", &status.key_id)
                    .flag("KeyRotationEnabled", status.key_rotation_enabled);
                if let Some(days) = status.rotation_period_in_days {
                    body = body.number("RotationPeriodInDays", u64::from(days));
                }
                if let Some(at_ms) = status.next_rotation_at_ms {
                    body = body.date("NextRotationDate", at_ms);
                }
                Ok(body)
            }
            KmsRequest::RotateKeyOnDemand(OnKey { key_id }) => {
                let key = self.key(&key_id, Action::RotateKeyOnDemand, caller, &none, subject).await?;
                let arn = self
                    .control
                    .change(|store| store.prepare_rotate(key, now_ms, &mut SystemEntropy))
                    .await?;
                Ok(ReplyBody::new().text("KeyId", &arn))
            }
            KmsRequest::ListKeyRotations(request) => {
                let key = self.key(&request.key_id, Action::ListKeyRotations, caller, &none, subject).await?;
                let page = page_of(PageLimits::ROTATIONS, &request.page)?;
                let listed = self.control.read().list_rotations(key, request.all_material, &page)?;
                Ok(nested(ReplyBody::new(), "Rotations", &listed.entries)?
                    .page(listed.next_marker.as_deref()))
            }
            KmsRequest::GetParametersForImport(request) => {
                let key =
                    self.key(&request.key_id, Action::GetParametersForImport, caller, &none, subject).await?;
                imports::parameters_for_import(&self.control, key, &request, now_ms).await
            }
            KmsRequest::ImportKeyMaterial(request) => {
                let key =
                    self.key(&request.key_id, Action::ImportKeyMaterial, caller, &none, subject).await?;
                imports::import(&self.control, key, &request, now_ms).await
            }
            KmsRequest::DeleteImportedKeyMaterial(OnKey { key_id }) => {
                let key =
                    self.key(&key_id, Action::DeleteImportedKeyMaterial, caller, &none, subject).await?;
                imports::delete_material(&self.control, key).await
            }
            other => Err(KmsError::Unsupported { what: other.action().name().into() }),
        }
    }

    async fn create_key(&self, request: CreateKey, caller: &Caller, subject: &mut Subject) -> Reply {
        self.permit_service(caller, "kms:CreateKey")?;
        if !request.tags.is_empty() {
            self.permit_service(caller, "kms:TagResource")?;
        }
        let scope = self.scope(caller);
        if let Some(policy) = &request.policy {
            let any = format!("arn:{}:kms:{}:{}:key/new", scope.partition, scope.region, scope.account);
            self.check_policy(policy, &any, request.bypass_lockout_check, caller)?;
        }
        let new = new_key(request)?;
        subject.parameters = json!({ "description": new.description });
        let now_ms = self.clock.now_ms();
        let metadata = self
            .control
            .change(|store| store.prepare_create_key(&scope, new, now_ms, &mut SystemEntropy))
            .await?;
        subject.key_arn = Some(metadata.arn.clone());
        nested(ReplyBody::new(), "KeyMetadata", &metadata)
    }

    /// A policy is well-formed and does not lock its author out.
    fn check_policy(&self, text: &str, arn: &str, bypass: bool, caller: &Caller) -> Result<(), KmsError> {
        let policy = Policy::parse(text, PolicyKind::Key)
            .map_err(|error| KmsError::MalformedPolicy { reason: error.to_string() })?;
        if bypass {
            return Ok(());
        }
        let keys = self.authorizer.keys(caller);
        let facts = KeyFacts { arn, account: &caller.account, policy: &policy, granted: false };
        let allowed = self.authorizer.key(caller, "kms:PutKeyPolicy", facts, &keys);
        allowed.map_err(|_| KmsError::PolicyLockout)
    }

    fn permit_alias(&self, caller: &Caller, action: &str, name: &str) -> Result<(), KmsError> {
        let arn = self.scope(caller).alias_arn(name);
        self.authorizer.key_service(caller, action, &arn).map_err(|reason| KmsError::AccessDenied { reason })
    }
}
