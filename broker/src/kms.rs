//! The embedded key service as an API: authorizes, acts on the key state, answers, and leaves an audit record of each
//! call.
//!
//! Holds no key material: cryptography and state are the key store's. Knows no HTTP beyond status and body.

mod aliases;
mod authorization;
mod cryptography;
mod grants;
mod imports;
mod keys;
mod listings;
mod policies;
mod sweep;
mod trail;

use std::sync::Arc;

use sealq_api::kms::{KmsErrorName, KmsErrorReply, KmsRequest, ReplyBody};
use sealq_crypto::key_store::{Action, KmsError, Scope};

use crate::audit::AuditLog;
use crate::authorize::Authorizer;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::key_control::KeyControl;
use trail::Trail;

pub use policies::PrincipalCheck;

/// See the module documentation.
pub struct KmsApi {
    control: Arc<KeyControl>,
    authorizer: Authorizer,
    audit: AuditLog,
    clock: Clock,
    partition: String,
    region: String,
    principal_exists: PrincipalCheck,
}

/// What goes back to the client, as `application/x-amz-json-1.1`.
#[derive(Debug)]
pub struct KmsAnswer {
    /// HTTP status.
    pub status: u16,
    /// Body; empty for actions without output.
    pub body: Vec<u8>,
    /// Which error it is, for metrics.
    pub error: Option<KmsErrorName>,
}

impl KmsApi {
    /// Over the broker's key state. `principal_exists` says of an ARN whether that user or role is known.
    pub fn new(
        control: Arc<KeyControl>,
        authorizer: Authorizer,
        audit: AuditLog,
        clock: Clock,
        (partition, region): (&str, &str),
        principal_exists: PrincipalCheck,
    ) -> Self {
        let (partition, region) = (partition.to_owned(), region.to_owned());
        Self { control, authorizer, audit, clock, partition, region, principal_exists }
    }

    /// Answers one request. `target`: the `X-Amz-Target` header. The caller's signature is verified already.
    pub async fn handle(&self, caller: &Caller, target: &str, body: &[u8]) -> KmsAnswer {
        if caller.is_anonymous() {
            let name = KmsErrorName::MissingAuthenticationTokenException;
            return refused(&KmsErrorReply::new(name, "Request is missing Authentication Token"));
        }
        let mut trail = Trail::of_target(target);
        let outcome = match KmsRequest::parse(target, body) {
            Ok(request) => {
                trail.take_request(&request);
                // Boxed: the states of all actions together make a large future.
                Box::pin(self.answer(caller, request, &mut trail)).await.map_err(|error| reply_of(&error))
            }
            Err(refusal) => Err(refusal),
        };
        let outcome = outcome.map(ReplyBody::finish);
        match self.record(caller, &trail, &outcome).await {
            Ok(()) => outcome.map_or_else(|refusal| refused(&refusal), |body| KmsAnswer { status: 200, body, error: None }),
            Err(reason) => {
                tracing::error!(%reason, action = trail.action(), "a key service call has no audit record");
                refused(&internal())
            }
        }
    }

    async fn answer(
        &self,
        caller: &Caller,
        request: KmsRequest,
        trail: &mut Trail,
    ) -> Result<ReplyBody, KmsError> {
        use KmsRequest as R;
        match request {
            R::Encrypt(request) => self.encrypt(caller, &request, trail),
            R::Decrypt(request) => self.decrypt(caller, &request, trail),
            R::ReEncrypt(request) => self.re_encrypt(caller, &request, trail),
            R::GenerateDataKey(request) => {
                self.generate_data_key(caller, &request, Action::GenerateDataKey, trail)
            }
            R::GenerateDataKeyWithoutPlaintext(request) => {
                self.generate_data_key(caller, &request, Action::GenerateDataKeyWithoutPlaintext, trail)
            }
            R::GenerateRandom(count) => self.generate_random(caller, count),
            R::CreateKey(request) => self.create_key(caller, request, trail).await,
            R::DescribeKey(request) => self.describe_key(caller, &request.key_id, trail).await,
            R::EnableKey(request) => self.enable_key(caller, &request.key_id, trail).await,
            R::DisableKey(request) => self.disable_key(caller, &request.key_id, trail).await,
            R::UpdateKeyDescription(request) => self.update_description(caller, &request, trail).await,
            R::ScheduleKeyDeletion(request) => self.schedule_deletion(caller, &request, trail).await,
            R::CancelKeyDeletion(request) => self.cancel_deletion(caller, &request.key_id, trail).await,
            R::EnableKeyRotation(request) => self.enable_rotation(caller, &request, trail).await,
            R::DisableKeyRotation(request) => self.disable_rotation(caller, &request.key_id, trail).await,
            R::RotateKeyOnDemand(request) => self.rotate(caller, &request.key_id, trail).await,
            R::TagResource(request) => self.tag(caller, &request, trail).await,
            R::UntagResource(request) => self.untag(caller, &request, trail).await,
            R::GetKeyPolicy(request) => self.get_policy(caller, &request, trail),
            R::PutKeyPolicy(request) => self.put_policy(caller, &request, trail).await,
            R::CreateAlias(request) => self.create_alias(caller, &request, trail).await,
            R::UpdateAlias(request) => self.update_alias(caller, &request, trail).await,
            R::DeleteAlias(request) => self.delete_alias(caller, &request.alias_name, trail).await,
            R::GetKeyRotationStatus(request) => self.rotation_status(caller, &request.key_id, trail),
            R::ListKeys(request) => self.list_keys(caller, &request.page),
            R::ListAliases(request) => self.list_aliases(caller, &request, trail),
            R::ListKeyPolicies(request) => self.list_policies(caller, &request.key_id, trail),
            R::ListResourceTags(request) => self.list_tags(caller, &request, trail),
            R::ListKeyRotations(request) => self.list_rotations(caller, &request, trail),
            R::CreateGrant(request) => self.create_grant(caller, request, trail).await,
            R::ListGrants(request) => self.list_grants(caller, &request, trail),
            R::ListRetirableGrants(request) => self.list_retirable_grants(caller, &request),
            R::RetireGrant(request) => self.retire_grant(caller, &request, trail).await,
            R::RevokeGrant(request) => self.revoke_grant(caller, &request, trail).await,
            R::GetParametersForImport(request) => self.parameters_for_import(caller, &request, trail).await,
            R::ImportKeyMaterial(request) => self.import(caller, &request, trail).await,
            R::DeleteImportedKeyMaterial(request) => self.delete_material(caller, &request.key_id, trail).await,
        }
    }

    /// Where a caller's unqualified names are looked up.
    fn scope(&self, caller: &Caller) -> Scope {
        Scope {
            partition: self.partition.clone(),
            account: caller.account.to_string(),
            region: self.region.clone(),
        }
    }
}

fn refused(refusal: &KmsErrorReply) -> KmsAnswer {
    KmsAnswer { status: refusal.status(), body: refusal.render(), error: Some(refusal.name) }
}

fn internal() -> KmsErrorReply {
    KmsErrorReply::new(KmsErrorName::KMSInternalException, "The request failed because of an internal error.")
}

fn reply_of(error: &KmsError) -> KmsErrorReply {
    match (error, KmsErrorName::from_name(error.name())) {
        (KmsError::Internal { reason }, _) => {
            tracing::error!(%reason, "the key service failed");
            internal()
        }
        (_, Some(name)) => KmsErrorReply::new(name, error.to_string()),
        (_, None) => internal(),
    }
}

/// A reply's nested part that could not be written: only a fault of ours can cause it.
fn unwritable(error: serde_json::Error) -> KmsError {
    KmsError::Internal { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_error_has_a_name_on_the_wire_and_internal_reasons_stay_inside() {
        let arn = || String::from("arn:aws:kms:eu-central-1:111122223333:key/k");
        for error in [
            KmsError::KeyNotFound { arn: arn() },
            KmsError::Disabled { arn: arn() },
            KmsError::PendingDeletion { arn: arn() },
            KmsError::InvalidCiphertext,
            KmsError::IncorrectKey,
            KmsError::AliasReserved { name: "alias/aws/x".into() },
            KmsError::DryRun,
            KmsError::PolicyLockout,
            KmsError::Validation("v".into()),
        ] {
            let reply = reply_of(&error);
            assert_eq!(reply.name.as_str(), error.name());
            assert_eq!((reply.message.as_ref(), reply.status()), (error.to_string().as_str(), 400));
        }
        let reply = reply_of(&KmsError::Internal { reason: "secret path".into() });
        assert_eq!(reply.status(), 500);
        assert!(!reply.message.contains("secret path"));
    }
}
