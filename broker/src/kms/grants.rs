//! Grants.

use sealq_api::kms::{CreateGrant, ListGrants, ListRetirableGrants, ReplyBody, RetireGrant, RevokeGrant};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::grant::{Grant, GrantConstraint, GrantOperation, NewGrant};
use sealq_crypto::key_store::{Action, KmsError, PageLimits};
use serde_json::{Map, Value, json};

use super::{Call, KmsApi, Reply, is_foreign, nested, page_of};
use crate::key_rights::{KeyUse, grant_caller, of_grant};

impl KmsApi {
    pub(super) async fn create_grant(&self, request: CreateGrant, call: &mut Call<'_>) -> Reply {
        let operations = request.operations.iter().map(|name| {
            GrantOperation::from_name(name).ok_or_else(|| {
                KmsError::Validation(format!("'{name}' is no operation of a symmetric key's grant"))
            })
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
        let mut new = NewGrant {
            grantee: request.grantee,
            grantee_id: None,
            retiring: request.retiring,
            retiring_id: None,
            operations: operations.collect::<Result<_, _>>()?,
            constraint,
            name: request.name,
            issuing_account: call.caller.account.to_string(),
        };
        let key = self.find(&request.key_id, Action::CreateGrant, call.right, call)?;
        call.conditions = of_grant(&new);
        let asked = KeyUse {
            key,
            right: call.right,
            context: &EncryptionContext::new(),
            // A grant that lets its grantee make grants covers no more than it allows itself.
            granted: self.rights.granted_grant(call.caller, key, &new),
            named: Some(&request.key_id),
            shown: None,
        };
        self.decide(&asked, call)?;
        new.grantee_id = self.id_of(&new.grantee)?;
        new.retiring_id = new.retiring.as_deref().map(|arn| self.id_of(arn)).transpose()?.flatten();
        let (dry_run, now_ms) = (request.dry_run, call.now_ms);
        let created = self
            .control
            .change(|store| store.prepare_create_grant(key, &new, dry_run, now_ms, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new().text("GrantId", &created.grant_id).text("GrantToken", &created.grant_token))
    }

    /// The unique id of whom a grant is to name: a user, a role or a session of one; none of an account.
    fn id_of(&self, principal: &str) -> Result<Option<String>, KmsError> {
        let account = match principal.split(':').collect::<Vec<_>>()[..] {
            ["arn", _, "iam", "", account, "root"] | [account] => account,
            _ => "",
        };
        if account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        let identities = self.principals.identities();
        let id = identities.unique_id(principal).map(str::to_owned);
        id.map(Some).ok_or_else(|| KmsError::NoPrincipal { given: principal.to_owned() })
    }

    pub(super) fn list_grants(&self, request: &ListGrants, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::ListGrants, call)?;
        let page = page_of(PageLimits::GRANTS, &request.page)?;
        let store = self.control.read();
        let listed =
            store.list_grants(key, request.grant_id.as_deref(), request.grantee.as_deref(), &page)?;
        let arn = store.key_arn(key)?;
        let grants: Vec<Value> = listed.entries.iter().map(|grant| shown(grant, &arn)).collect();
        Ok(nested(ReplyBody::new(), "Grants", &grants)?.page(listed.next_marker.as_deref()))
    }

    pub(super) fn list_retirable_grants(&self, request: &ListRetirableGrants, call: &Call<'_>) -> Reply {
        self.permit_service(call.right, call)?;
        let retiring = &request.retiring;
        if is_foreign(retiring, call.caller) {
            let reason = format!(
                "User: {} is not authorized to perform: {} on resource: {retiring} because it is of another account",
                call.caller.arn, call.right
            );
            return Err(KmsError::AccessDenied { reason });
        }
        let page = page_of(PageLimits::GRANTS, &request.page)?;
        let store = self.control.read();
        let listed = store.list_retirable_grants(&self.region, retiring, &page);
        let grants: Result<Vec<Value>, KmsError> =
            listed.entries.iter().map(|grant| Ok(shown(grant, &store.key_arn(grant.key)?))).collect();
        Ok(nested(ReplyBody::new(), "Grants", &grants?)?.page(listed.next_marker.as_deref()))
    }

    pub(super) async fn retire_grant(&self, request: &RetireGrant, call: &mut Call<'_>) -> Reply {
        let named = request.key_id.as_deref();
        let grant = match (&request.grant_token, named, &request.grant_id) {
            (Some(token), None, None) => self.control.read().grant_of_token(token)?.clone(),
            (None, Some(named), Some(id)) => {
                let key = self.find(named, Action::RetireGrant, call.right, call)?;
                match self.control.read().grant(key, id) {
                    Err(KmsError::GrantNotFound { .. }) if is_foreign(named, call.caller) => {
                        let (right, conditions) = (call.right, &call.conditions);
                        return Err(self.rights.refusal_of_unknown(call.caller, right, named, conditions));
                    }
                    found => found?.clone(),
                }
            }
            _ => {
                let text = "Either GrantToken, or KeyId and GrantId, must be given.";
                return Err(KmsError::Validation(text.into()));
            }
        };
        let granted = grant.may_be_retired_by(&grant_caller(call.caller));
        let asked = KeyUse {
            key: grant.key,
            right: call.right,
            context: &EncryptionContext::new(),
            granted,
            named,
            shown: named,
        };
        let decided = self.decide(&asked, call);
        // A key's policy alone makes nobody one of those whom the grant lets retire it.
        if granted.is_none() {
            let arn = self.control.read().key_arn(grant.key)?;
            let (right, conditions) = (call.right, &call.conditions);
            let shown = named.unwrap_or(&arn);
            return Err(self.rights.refusal_of_unknown(call.caller, right, shown, conditions));
        }
        decided?;
        self.remove_grant(&grant, request.dry_run).await
    }

    pub(super) async fn revoke_grant(&self, request: &RevokeGrant, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::RevokeGrant, call)?;
        let grant = self.control.read().grant(key, &request.grant_id)?.clone();
        self.remove_grant(&grant, request.dry_run).await
    }

    async fn remove_grant(&self, grant: &Grant, dry_run: bool) -> Reply {
        let (key, id) = (grant.key, grant.id);
        self.control.mutate(|store| store.prepare_remove_grant(key, id, dry_run, &mut SystemEntropy)).await?;
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
    let partition = key_arn.split(':').nth(1).unwrap_or_default();
    put("IssuingAccount", json!(format!("arn:{partition}:iam::{}:root", grant.issuing_account)));
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
