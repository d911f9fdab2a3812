//! What CreateKey asks for, from names to types. A name that is known to the vendor and not served here is refused, never
//! replaced by a default.

use std::collections::BTreeMap;

use sealq_api::kms::CreateKey;
use sealq_crypto::key_store::lifecycle::NewKey;
use sealq_crypto::key_store::{KeySpec, KeyUsage, KmsError, Origin};

/// The key to make.
///
/// # Errors
/// Unsupported usage, spec or origin.
pub(super) fn new_key(request: &CreateKey) -> Result<NewKey, KmsError> {
    Ok(NewKey {
        policy: request.policy.clone(),
        policy_ids: BTreeMap::new(),
        description: request.description.clone().unwrap_or_default(),
        usage: named("KeyUsage", request.key_usage.as_deref(), KeyUsage::from_name)?,
        spec: named("KeySpec", request.key_spec.as_deref(), KeySpec::from_name)?,
        origin: named("Origin", request.origin.as_deref(), Origin::from_name)?,
        tags: request.tags.clone(),
    })
}

fn named<T>(member: &str, name: Option<&str>, of: fn(&str) -> Option<T>) -> Result<Option<T>, KmsError> {
    let unsupported = |name| KmsError::Unsupported { what: format!("{member} {name}") };
    name.map(|name| of(name).ok_or_else(|| unsupported(name))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_served_are_refused_and_not_replaced() {
        let request = |spec: &str| CreateKey { key_spec: Some(spec.into()), ..CreateKey::default() };
        assert_eq!(new_key(&request("HMAC_256")).unwrap().spec, Some(KeySpec::Hmac256));
        assert_eq!(
            new_key(&request("RSA_4096")).unwrap_err(),
            KmsError::Unsupported { what: "KeySpec RSA_4096".into() }
        );
        assert_eq!(new_key(&CreateKey::default()).unwrap().spec, None);
    }
}
