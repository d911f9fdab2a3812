//! Grants.

use sealq_api::kms::{CreateGrant, ListGrants, ListRetirableGrants, ReplyBody, RetireGrant, RevokeGrant};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::grant::{Grant, GrantConstraint, GrantName, GrantOperation, NewGrant};
use sealq_crypto::key_store::{Action, KmsError, PageLimits};
use serde_json::{Map, Value, json};

use super::condition_keys::add_grant;
use super::{KmsApi, Reply, Subject, grantee, nested, page_of};
use crate::caller::Caller;
use crate::embedded_keys::grant_arns;

impl KmsApi {
    pub(super) async fn create_grant(
        &self,
        request: CreateGrant,
        caller: &Caller,
        subject: &mut Subject,
    ) -> Reply {
        subject.parameters = json!({ "keyId": request.key_id, "granteePrincipal": request.grantee });
        let operations = request.operations.iter().map(|name| {
            GrantOperation::from_name(name)
                .ok_or_else(|| KmsError::Validation(format!("'{name}' is no operation of a grant")))
        });
        let constraint = match (request.context_equals, request.context_subset) {
            (Some(_), Some(_)) => {
                let text = "EncryptionContextEquals and EncryptionContextSubset exclude each other.";
                return Err(KmsError::Validation(text.into()));
            }
            (Some(pairs), _) => Some(GrantConstraint::Equals(pairs)),
            (None, Some(pairs)) => Some(GrantConstraint::Subset(pairs)),
            (None, None) => None,
        };
        let new = NewGrant {
            grantee: request.grantee,
            retiring: request.retiring,
            operations: operations.collect::<Result<_, _>>()?,
            constraint,
            name: request.name,
            issuing_account: caller.account.to_string(),
        };
        let key = self.control.read().resolve(&request.key_id, &self.scope(caller), Action::CreateGrant)?;
        let arns = grant_arns(caller);
        // A grant that lets its grantee make grants covers no more than it allows itself.
        let granted = self.control.read().grant_allows_grant(key, &grantee(caller, &arns), &new);
        let mut keys = self.authorizer.keys(caller);
        add_grant(&mut keys, &new);
        self.decide(key, "kms:CreateGrant", caller, &EncryptionContext::new(), granted, &mut keys, subject)?;
        drop(keys);
        let now_ms = self.clock.now_ms();
        let created = self
            .control
            .change(|store| {
                store.prepare_create_grant(key, &new, request.dry_run, now_ms, &mut SystemEntropy)
            })
            .await?;
        Ok(ReplyBody::new().text("GrantId", &created.grant_id).text("GrantToken", &created.grant_token))
    }

    pub(super) fn list_grants(&self, request: &ListGrants, caller: &Caller, subject: &mut Subject) -> Reply {
        let key = self.control.read().resolve(&request.key_id, &self.scope(caller), Action::ListGrants)?;
        self.permit(key, Action::ListGrants, caller, &EncryptionContext::new(), subject)?;
        let page = page_of(PageLimits::GRANTS, &request.page)?;
        let store = self.control.read();
        let listed =
            store.list_grants(key, request.grant_id.as_deref(), request.grantee.as_deref(), &page)?;
        let arn = store.key_arn(key)?;
        let grants: Vec<Value> = listed.entries.iter().map(|grant| shown(grant, &arn)).collect();
        Ok(nested(ReplyBody::new(), "Grants", &grants)?.page(listed.next_marker.as_deref()))
    }

    pub(super) fn list_retirable_grants(&self, request: &ListRetirableGrants, caller: &Caller) -> Reply {
        self.permit_service(caller, "kms:ListRetirableGrants")?;
        if request.retiring.split(':').nth(4) != Some(&*caller.account) {
            let reason =
                format!("User: {} may list the retirable grants of its own account only", caller.arn);
            return Err(KmsError::AccessDenied { reason });
        }
        let page = page_of(PageLimits::GRANTS, &request.page)?;
        let store = self.control.read();
        let listed = store.list_retirable_grants(&self.region, &request.retiring, &page);
        let grants: Result<Vec<Value>, KmsError> =
            listed.entries.iter().map(|grant| Ok(shown(grant, &store.key_arn(grant.key)?))).collect();
        Ok(nested(ReplyBody::new(), "Grants", &grants?)?.page(listed.next_marker.as_deref()))
    }

    pub(super) async fn retire_grant(
        &self,
        request: RetireGrant,
        caller: &Caller,
        subject: &mut Subject,
    ) -> Reply {
        let id = match (&request.key_id, &request.grant_id) {
            (Some(key), Some(id)) => {
                Some((self.control.read().resolve(key, &self.scope(caller), Action::RetireGrant)?, id))
            }
            _ => None,
        };
        subject.parameters = json!({ "grantId": request.grant_id });
        let name = match (&request.grant_token, id) {
            (Some(token), _) => GrantName::Token(token),
            (None, Some((key, id))) => GrantName::Id(key, id),
            (None, None) => {
                return Err(KmsError::Validation("GrantToken, or KeyId and GrantId, must be given.".into()));
            }
        };
        let arns = grant_arns(caller);
        let by = grantee(caller, &arns);
        self.control
            .mutate(|store| store.prepare_retire_grant(name, &by, request.dry_run, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn revoke_grant(
        &self,
        request: RevokeGrant,
        caller: &Caller,
        subject: &mut Subject,
    ) -> Reply {
        let none = EncryptionContext::new();
        let key = self.key(&request.key_id, Action::RevokeGrant, caller, &none, subject).await?;
        let id = &request.grant_id;
        self.control
            .mutate(|store| store.prepare_revoke_grant(key, id, request.dry_run, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }
}

/// A grant as lists show it.
fn shown(grant: &Grant, key_arn: &str) -> Value {
    let operations: Vec<&str> = grant.operations.iter().map(|operation| operation.name()).collect();
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| entry.insert(name.to_owned(), value);
    put("KeyId", json!(key_arn));
    put("GrantId", json!(grant.id.to_string()));
    put("Name", json!(grant.name.as_deref().unwrap_or("")));
    put("CreationDate", json!(grant.created_at_ms as f64 / 1_000.0));
    put("GranteePrincipal", json!(grant.grantee));
    put("IssuingAccount", json!(grant.issuing_account));
    put("Operations", json!(operations));
    if let Some(retiring) = &grant.retiring {
        put("RetiringPrincipal", json!(retiring));
    }
    match &grant.constraint {
        Some(GrantConstraint::Equals(pairs)) => {
            put("Constraints", json!({ "EncryptionContextEquals": pairs }));
        }
        Some(GrantConstraint::Subset(pairs)) => {
            put("Constraints", json!({ "EncryptionContextSubset": pairs }));
        }
        None => {}
    }
    Value::Object(entry)
}
