use proptest::prelude::*;

use super::*;

fn parse(action: &str, body: &str) -> Result<KmsRequest, KmsErrorReply> {
    KmsRequest::parse(&format!("TrentService.{action}"), body.as_bytes())
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
    assert_eq!(
        KmsRequest::parse("Encrypt", b"{}").unwrap_err().name,
        KmsErrorName::UnknownOperationException
    );
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
    for action in ServedAction::ALL {
        assert_eq!(parse(action.name(), body).unwrap().action(), *action);
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_not_fatal(at in 0..ServedAction::ALL.len(), body in any::<Vec<u8>>()) {
        let _ = KmsRequest::parse(&format!("TrentService.{}", ServedAction::ALL[at].name()), &body);
    }
}
