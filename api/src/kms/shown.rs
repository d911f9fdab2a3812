//! Requests and replies as audit records show them: names as CloudTrail writes them, nothing secret.

use serde_json::{Map, Value};

/// What never stands in a record: secrets, what is sealed, and tokens.
const HIDDEN: [&str; 7] = [
    "CiphertextBlob",
    "EncryptedKeyMaterial",
    "GrantToken",
    "GrantTokens",
    "ImportToken",
    "Plaintext",
    "Recipient",
];

/// `KeyId` is `keyId`, in records and in the texts of errors.
pub(super) fn name(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// Adds a member, unless it is never shown.
pub(super) fn add(record: &mut Map<String, Value>, member: &str, value: &Value) {
    if !HIDDEN.contains(&member) {
        record.insert(name(member), form(member, value));
    }
}

/// A reply's body as `responseElements`. Null for an empty one.
pub fn reply_elements(body: &[u8]) -> Value {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return Value::Null };
    let mut record = Map::new();
    for (member, value) in &members {
        add(&mut record, member, value);
    }
    Value::Object(record)
}

fn form(member: &str, value: &Value) -> Value {
    match value {
        // The names in an encryption context are the caller's.
        Value::Object(members) if !member.contains("EncryptionContext") => {
            let mut record = Map::new();
            for (member, value) in members {
                add(&mut record, member, value);
            }
            Value::Object(record)
        }
        Value::Array(values) => values.iter().map(|value| form(member, value)).collect(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kms_15_names_begin_small_and_secrets_are_left_out() {
        let reply =
            br#"{"GrantId":"g","GrantToken":"t","KeyMetadata":{"AWSAccountId":"1"},"Plaintext":"cA==",
            "Constraints":{"EncryptionContextSubset":{"Upper":"U"}},"Tags":[{"TagKey":"K"}]}"#;
        let expected = json!({
            "grantId": "g",
            "keyMetadata": { "aWSAccountId": "1" },
            "constraints": { "encryptionContextSubset": { "Upper": "U" } },
            "tags": [{ "tagKey": "K" }],
        });
        assert_eq!(reply_elements(reply), expected);
        assert_eq!(reply_elements(b""), Value::Null);
    }
}
