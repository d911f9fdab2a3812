//! Key policies: written, checked, shown.

use std::collections::BTreeMap;

use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::kms::{GetKeyPolicy, ListOfKey, PutKeyPolicy, ReplyBody};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::policy::{POLICY_NAME, check_policy_size};
use sealq_crypto::key_store::{Action, KmsError, Listed, PageLimits};
use serde_json::Value;

use super::{Call, KmsApi, Reply, nested, page_of};

impl KmsApi {
    pub(super) fn get_key_policy(&self, request: &GetKeyPolicy, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::GetKeyPolicy, call)?;
        let store = self.control.read();
        store.policy(key, request.policy_name.as_deref())?;
        let (text, ids) = store.bound_policy(key)?;
        let identities = self.principals.identities();
        let gone: BTreeMap<&str, &str> = ids
            .iter()
            .filter(|(arn, id)| identities.unique_id(arn) != Some(id))
            .map(|(arn, id)| (arn.as_str(), id.as_str()))
            .collect();
        let text = if gone.is_empty() { text.to_owned() } else { with_ids(text, &gone) };
        Ok(ReplyBody::new().text("Policy", &text).text("PolicyName", POLICY_NAME))
    }

    pub(super) async fn put_key_policy(&self, request: &PutKeyPolicy, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::PutKeyPolicy, call)?;
        let name = request.policy_name.as_deref();
        let arn = {
            let store = self.control.read();
            store.policy(key, name)?;
            store.key_arn(key)?
        };
        let ids = self.checked_policy(&request.policy, &arn, request.bypass_lockout_check, call)?;
        self.control
            .mutate(|store| store.prepare_put_policy(key, name, &request.policy, ids, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) fn list_key_policies(&self, request: &ListOfKey, call: &mut Call<'_>) -> Reply {
        self.key(&request.key_id, Action::ListKeyPolicies, call)?;
        let page = page_of(PageLimits::POLICIES, &request.page)?;
        let Listed { entries, next_marker } = page.of([(POLICY_NAME.to_owned(), POLICY_NAME)]);
        Ok(nested(ReplyBody::new(), "PolicyNames", &entries)?.page(next_marker.as_deref()))
    }

    /// The unique ids of those whom a policy names, if it is well-formed, names nobody unknown and does not lock its
    /// author out.
    pub(super) fn checked_policy(
        &self,
        text: &str,
        arn: &str,
        bypass: bool,
        call: &Call<'_>,
    ) -> Result<BTreeMap<String, String>, KmsError> {
        check_policy_size(text)?;
        let mut policy = Policy::parse(text, PolicyKind::Key)
            .map_err(|error| KmsError::MalformedPolicy { reason: error.to_string() })?;
        let ids = self.principals.identities().ids_of(&policy).map_err(|unknown| {
            let reason =
                format!("Policy contains a statement with one or more invalid principals: {unknown}.");
            KmsError::MalformedPolicy { reason }
        })?;
        policy.resolve(|arn| ids.get(arn).cloned());
        if !bypass {
            let key = (arn, &call.scope);
            let conditions = &call.conditions;
            self.rights
                .permit_unmade(call.caller, "kms:PutKeyPolicy", key, &policy, conditions)
                .map_err(|_| KmsError::PolicyLockout)?;
        }
        Ok(ids)
    }
}

/// A policy with the unique ids of principals that are gone in place of their ARNs.
fn with_ids(text: &str, gone: &BTreeMap<&str, &str>) -> String {
    let Ok(mut document) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    let statements = match document.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.iter_mut().collect(),
        Some(statement) => vec![statement],
        None => Vec::new(),
    };
    for statement in statements {
        for element in ["Principal", "NotPrincipal"] {
            let named = statement.get_mut(element).and_then(|principal| principal.get_mut("AWS"));
            let named = match named {
                Some(Value::Array(named)) => named.iter_mut().collect(),
                Some(named) => vec![named],
                None => Vec::new(),
            };
            for named in named {
                if let Some(id) = named.as_str().and_then(|arn| gone.get(arn)) {
                    *named = Value::from(*id);
                }
            }
        }
    }
    document.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_22_a_policy_shows_the_id_of_a_principal_that_is_gone() {
        const ANN: &str = "arn:aws:iam::111111111111:user/ann";
        let gone = BTreeMap::from([(ANN, "AIDAANN")]);
        let text = format!(
            r#"{{"Statement":[{{"Principal":{{"AWS":["{ANN}","*"]}},"Condition":{{"ArnEquals":{{"aws:PrincipalArn":"{ANN}"}}}}}}]}}"#
        );
        let shown: Value = serde_json::from_str(&with_ids(&text, &gone)).unwrap();
        assert_eq!(shown["Statement"][0]["Principal"]["AWS"][0], "AIDAANN");
        assert_eq!(shown["Statement"][0]["Condition"]["ArnEquals"]["aws:PrincipalArn"], ANN);
    }
}
