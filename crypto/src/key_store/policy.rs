//! The policy texts the key service writes itself. Knows no policy language: texts are kept as given.

use std::collections::BTreeMap;

use super::action::Action;
use super::key::{KeyId, Scope};
use super::kms_error::KmsError;
use super::{KeyStore, Mutation};
use crate::entropy::Entropy;

/// Longest policy, bytes.
pub const POLICY_BYTES_MAX: usize = 32_768;
/// The only policy name there is.
pub const POLICY_NAME: &str = "default";

/// The policy of a key made without one: access is delegated to the account's identity policies.
pub fn default_policy(scope: &Scope) -> String {
    format!(
        r#"{{"Version":"2012-10-17","Id":"key-default-1","Statement":[{{"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{{"AWS":"arn:{}:iam::{}:root"}},"Action":"kms:*","Resource":"*"}}]}}"#,
        scope.partition, scope.account
    )
}

/// The fixed policy of an account's managed SQS key: use through SQS only, metadata for the account.
pub fn managed_sqs_policy(scope: &Scope) -> String {
    let Scope { partition, account, region } = scope;
    format!(
        concat!(
            r#"{{"Version":"2012-10-17","Id":"auto-sqs-1","Statement":[{{"#,
            r#""Sid":"Allow access through Simple Queue Service (SQS) for all principals in the account that are authorized to use SQS","#,
            r#""Effect":"Allow","Principal":{{"AWS":"*"}},"#,
            r#""Action":["kms:Encrypt","kms:Decrypt","kms:ReEncrypt*","kms:GenerateDataKey*","kms:CreateGrant","kms:DescribeKey"],"#,
            r#""Resource":"*","#,
            r#""Condition":{{"StringEquals":{{"kms:CallerAccount":"{account}","kms:ViaService":"sqs.{region}.amazonaws.com"}}}}}},"#,
            r#"{{"Sid":"Allow direct access to key metadata to the account","Effect":"Allow","#,
            r#""Principal":{{"AWS":"arn:{partition}:iam::{account}:root"}},"#,
            r#""Action":["kms:Describe*","kms:Get*","kms:List*","kms:RevokeGrant"],"Resource":"*"}}]}}"#
        ),
        account = account,
        region = region,
        partition = partition
    )
}

/// Errors: [`KmsError::LimitExceeded`] for a longer policy than a key can have.
pub fn check_policy_size(policy: &str) -> Result<(), KmsError> {
    match policy.len() <= POLICY_BYTES_MAX {
        true => Ok(()),
        false => Err(KmsError::LimitExceeded {
            what: "Bytes per key policy",
            limit: POLICY_BYTES_MAX,
            of: format!("a policy of {}", policy.len()),
        }),
    }
}

impl KeyStore {
    /// The key's policy text. Errors: no such key; a policy name other than `default`.
    pub fn policy(&self, key: KeyId, name: Option<&str>) -> Result<&str, KmsError> {
        match name {
            None | Some(POLICY_NAME) => Ok(&self.key(key)?.policy),
            Some(_) => Err(KmsError::PolicyNotFound),
        }
    }

    /// The key's policy text and the unique ids, by ARN, that the users and roles in it had when it was written.
    pub fn bound_policy(&self, key: KeyId) -> Result<(&str, &BTreeMap<String, String>), KmsError> {
        let key = self.key(key)?;
        Ok((&key.policy, &key.policy_ids))
    }

    /// Replaces the policy text, which the caller has parsed and held against the lockout rule, and the ids of those
    /// whom it names.
    pub fn prepare_put_policy(
        &self,
        key: KeyId,
        name: Option<&str>,
        policy: &str,
        policy_ids: BTreeMap<String, String>,
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        check_policy_size(policy)?;
        self.policy(key, name)?;
        self.change_key(key, Action::PutKeyPolicy, entropy, |key| {
            policy.clone_into(&mut key.policy);
            key.policy_ids = policy_ids;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_are_json_of_the_account() {
        let scope = Scope { partition: "aws".into(), account: "123456789012".into(), region: "r".into() };
        let default: serde_json::Value = serde_json::from_str(&default_policy(&scope)).unwrap();
        assert_eq!(default["Statement"][0]["Principal"]["AWS"], "arn:aws:iam::123456789012:root");
        let managed: serde_json::Value = serde_json::from_str(&managed_sqs_policy(&scope)).unwrap();
        let condition = &managed["Statement"][0]["Condition"]["StringEquals"];
        assert_eq!(condition["kms:CallerAccount"], "123456789012");
        assert_eq!(condition["kms:ViaService"], "sqs.r.amazonaws.com");
        assert_eq!(managed["Statement"][1]["Action"][3], "kms:RevokeGrant");
    }
}
