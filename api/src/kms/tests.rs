use proptest::prelude::*;

use super::*;

fn call(action: &str, body: &str) -> Result<KmsCall, KmsErrorReply> {
    KmsCall::parse(Named::of_target(&format!("TrentService.{action}")), body.as_bytes())
}

fn parse(action: &str, body: &str) -> Result<KmsRequest, KmsErrorReply> {
    call(action, body).map(|call| call.request)
}

fn refusal(action: &str, body: &str) -> (KmsErrorName, String) {
    let refusal = parse(action, body).unwrap_err();
    (refusal.name, refusal.message.into_owned())
}

fn base64_of(bytes: usize) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(vec![7; bytes])
}

#[test]
fn actions_are_served_known_or_unknown() {
    assert_eq!(refusal("Sign", "{}").0, KmsErrorName::UnsupportedOperationException);
    assert_eq!(refusal("Frobnicate", "{}").0, KmsErrorName::UnknownOperationException);
    assert_eq!(Named::of_target("Encrypt"), Named::Unknown);
    assert_eq!(Named::of_target("TrentService.ReplicateKey").name(), Some(("ReplicateKey", false)));
}

#[test]
fn kms_1_plaintext_lengths_have_the_recorded_texts() {
    let body = |bytes| format!(r#"{{"KeyId":"k","Plaintext":"{}"}}"#, base64_of(bytes));
    for bytes in [1, 4_096] {
        let Ok(KmsRequest::Encrypt(request)) = parse("Encrypt", &body(bytes)) else { panic!("{bytes}") };
        assert_eq!(request.plaintext.len(), bytes);
    }
    let at = "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length";
    assert_eq!(refusal("Encrypt", &body(0)).1, format!("{at} greater than or equal to 1"));
    assert_eq!(refusal("Encrypt", &body(4_097)).1, format!("{at} less than or equal to 4096"));
}

#[test]
fn kms_15_records_show_parameters_without_secrets() {
    let body =
        r#"{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":{"A":"b"},"GrantTokens":["t"],"DryRun":true}"#;
    let call = call("Encrypt", body).unwrap();
    assert_eq!(call.grant_tokens, ["t"]);
    let expected = serde_json::json!({ "keyId": "k", "encryptionContext": { "A": "b" }, "dryRun": true });
    assert_eq!(call.parameters, expected);
}

#[test]
fn contexts_constraints_and_operations_have_limits() {
    let context = |bytes: usize| {
        let value = "x".repeat(bytes - 17);
        format!(r#"{{"KeyId":"k","Plaintext":"YQ==","EncryptionContext":{{"a":"{value}"}}}}"#)
    };
    assert!(parse("Encrypt", &context(8_192)).is_ok());
    let text = refusal("Encrypt", &context(8_193)).1;
    assert!(text.ends_with("at 'encryptionContext' failed to satisfy constraint: Member must have length less than or equal to 8192"), "{text}");
    let grant = |operations: &str, pairs: usize, value: usize| {
        let pairs: Vec<String> = (0..pairs).map(|n| format!(r#""{n}":"{}""#, "x".repeat(value))).collect();
        let constraint = format!(r#"{{"EncryptionContextEquals":{{{}}}}}"#, pairs.join(","));
        format!(
            r#"{{"KeyId":"k","GranteePrincipal":"a","Operations":[{operations}],"Constraints":{constraint}}}"#
        )
    };
    assert!(parse("CreateGrant", &grant("\"Decrypt\"", 8, 384)).is_ok());
    for bad in [
        grant("", 1, 1),
        grant("\"Decrypt\"", 9, 1),
        grant("\"Decrypt\"", 0, 1),
        grant("\"Decrypt\"", 1, 385),
    ] {
        assert_eq!(refusal("CreateGrant", &bad).0, KmsErrorName::ValidationException, "{bad}");
    }
}

#[test]
fn numbers_end_at_their_limits() {
    for (action, member, min, max) in [
        ("ScheduleKeyDeletion", "PendingWindowInDays", 7, 30),
        ("EnableKeyRotation", "RotationPeriodInDays", 90, 2_560),
        ("GenerateDataKey", "NumberOfBytes", 1, 1_024),
        ("GenerateRandom", "NumberOfBytes", 1, 1_024),
        ("ListKeys", "Limit", 1, 1_000),
        ("ListAliases", "Limit", 1, 100),
        ("ListGrants", "Limit", 1, 100),
        ("ListResourceTags", "Limit", 1, 50),
        ("ListKeyRotations", "Limit", 1, 1_000),
    ] {
        let body = |number: i64| format!(r#"{{"KeyId":"k","{member}":{number}}}"#);
        for number in [min, max] {
            assert!(parse(action, &body(number)).is_ok(), "{action} {number}");
        }
        let shown = shown::name(member);
        for (number, bound) in [
            (min - 1, format!("greater than or equal to {min}")),
            (max + 1, format!("less than or equal to {max}")),
        ] {
            let expected = format!(
                "1 validation error detected: Value '{number}' at '{shown}' failed to satisfy constraint: Member must \
                 have value {bound}"
            );
            assert_eq!(refusal(action, &body(number)), (KmsErrorName::ValidationException, expected));
        }
    }
}

#[test]
fn several_shape_errors_are_reported_together() {
    assert_eq!(
        refusal("GenerateDataKey", r#"{"KeySpec":"X","NumberOfBytes":0}"#),
        (
            KmsErrorName::ValidationException,
            "3 validation errors detected: Value null at 'keyId' failed to satisfy constraint: Member must not be \
             null; Value 'X' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: \
             [AES_256, AES_128]; Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value \
             greater than or equal to 1"
                .into()
        )
    );
    assert_eq!(refusal("GenerateRandom", "{}").1, "NumberOfBytes is required.");
}

#[test]
fn wrong_types_and_broken_json_are_serialization_errors() {
    for body in
        ["{", "[]", r#"{"KeyId":1}"#, r#"{"KeyId":"k","Plaintext":"%%"}"#, r#"{"KeyId":"k","DryRun":"x"}"#]
    {
        assert_eq!(refusal("Encrypt", body).0, KmsErrorName::SerializationException, "{body}");
    }
}

#[test]
fn a_body_of_too_many_values_or_too_deep_is_never_made_a_tree() {
    let keys = |count: usize| format!(r#"{{"KeyId":"k","TagKeys":[{}]}}"#, vec![r#""x""#; count].join(","));
    assert!(parse("UntagResource", &keys(1_000)).is_ok());
    assert_eq!(refusal("UntagResource", &keys(1_025)).0, KmsErrorName::ValidationException);
    let deep = format!(r#"{{"KeyId":{}"#, "[".repeat(100));
    let members = vec![r#""KeyId":"k""#; 5_000].join(",");
    for body in [keys(5_000), deep, format!("{{{members}}}")] {
        assert_eq!(refusal("UntagResource", &body), (KmsErrorName::SerializationException, String::new()));
    }
}

#[test]
fn an_error_quotes_no_megabytes() {
    let body = format!(r#"{{"KeyId":"k","KeySpec":"{}"}}"#, "é".repeat(1 << 20));
    let (name, text) = refusal("GenerateDataKey", &body);
    assert_eq!(name, KmsErrorName::ValidationException);
    assert!(
        text.len() <= crate::error::TEXT_BYTES_MAX
            && text.starts_with("1 validation error detected: Value 'é")
    );
}

#[test]
fn null_members_are_absent() {
    let Ok(KmsRequest::CreateKey(request)) = parse("CreateKey", r#"{"Description":null,"Tags":null}"#) else {
        panic!("refused")
    };
    assert_eq!(request, CreateKey::default());
}

#[test]
fn grants_keep_constraints_and_check_operations() {
    let body = r#"{"KeyId":"k","GranteePrincipal":"arn:aws:iam::111122223333:role/r","Operations":["Decrypt"],
        "Constraints":{"EncryptionContextSubset":{"a":"b"}}}"#;
    let Ok(KmsRequest::CreateGrant(request)) = parse("CreateGrant", body) else { panic!("refused") };
    assert_eq!(request.context_subset, Some(Pairs::from([("a".into(), "b".into())])));
    assert_eq!(request.context_equals, None);
    let text = refusal("CreateGrant", &body.replace("\"Decrypt\"", "\"Fly\"")).1;
    assert!(text.contains("Value 'Fly' at 'operations.1.member' failed"), "{text}");
}

#[test]
fn unserved_members_are_refused_by_name() {
    assert_eq!(refusal("CreateKey", r#"{"MultiRegion":true}"#).1, "MultiRegion is not supported.");
    assert_eq!(refusal("Decrypt", r#"{"Recipient":{}}"#).0, KmsErrorName::UnsupportedOperationException);
}

#[test]
fn errors_and_replies_render() {
    let denied = KmsErrorReply::new(KmsErrorName::AccessDeniedException, "no \"x\"");
    assert_eq!(denied.render(), br#"{"__type":"AccessDeniedException","Message":"no \"x\""}"#);
    let empty = KmsErrorReply::new(KmsErrorName::InvalidCiphertextException, "");
    assert_eq!(empty.render(), br#"{"__type":"InvalidCiphertextException","message":""}"#);
    assert_eq!(KmsErrorName::KMSInternalException.status(), 500);
    let body =
        ReplyBody::new().text("KeyId", "k").blob("Plaintext", b"abc").date("DeletionDate", 1_500).page(None);
    assert_eq!(body.finish(), br#"{"KeyId":"k","Plaintext":"YWJj","DeletionDate":1.500,"Truncated":false}"#);
    assert_eq!(ReplyBody::new().finish(), b"");
}

#[test]
fn every_action_parses_to_its_own_request() {
    let body = r#"{"KeyId":"k","Plaintext":"YQ==","CiphertextBlob":"YQ==","DestinationKeyId":"d","NumberOfBytes":1,
        "AliasName":"alias/a","TargetKeyId":"k","Description":"d","Policy":"{}","Tags":[],"TagKeys":[],
        "GranteePrincipal":"a","RetiringPrincipal":"a","Operations":["Decrypt"],"GrantId":"g","ImportToken":"YQ==",
        "WrappingAlgorithm":"RSAES_OAEP_SHA_256","WrappingKeySpec":"RSA_2048","EncryptedKeyMaterial":"YQ=="}"#;
    assert_eq!(ServedAction::ALL.len(), 37);
    for action in ServedAction::ALL {
        assert_eq!(parse(action.name(), body).unwrap().action(), *action);
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_not_fatal(at in 0..ServedAction::ALL.len(), body in any::<Vec<u8>>()) {
        let _ = KmsCall::parse(Named::Served(ServedAction::ALL[at]), &body);
    }
}
