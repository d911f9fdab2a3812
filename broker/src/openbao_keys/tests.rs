use super::*;

fn scope() -> Scope {
    Scope { partition: "aws".into(), account: "000000000000".into(), region: "us-east-1".into() }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status: StatusCode::from_u16(status).unwrap(),
        headers: http::HeaderMap::new(),
        body: Zeroizing::new(body.as_bytes().to_vec()),
    }
}

fn refusal(status: u16, text: &str) -> Option<Refusal> {
    let body = json!({ "errors": [text] }).to_string();
    match failure(&reply(status, &body), "decrypt/orders") {
        KeyServiceError::Refused { kind, .. } => Some(kind),
        _ => None,
    }
}

#[test]
fn id_alias_and_arn_name_the_same_transit_key() {
    let arn = "arn:aws:kms:us-east-1:000000000000:key/orders";
    for form in ["orders", "alias/orders", arn, "arn:aws:kms:us-east-1:000000000000:alias/orders"] {
        let key = transit_key(form, &scope()).unwrap();
        assert_eq!((&*key.name, &*key.arn, key.managed), ("orders", arn, false), "{form}");
    }
}

#[test]
fn sse_84_sse_85_the_default_key_is_one_per_account_and_region() {
    let key = transit_key("alias/aws/sqs", &scope()).unwrap();
    let arn = "arn:aws:kms:us-east-1:000000000000:key/aws-sqs-us-east-1-000000000000";
    assert_eq!((&*key.name, &*key.arn, key.managed), ("aws-sqs-us-east-1-000000000000", arn, true));
    assert_eq!(transit_key(arn, &scope()).unwrap(), key, "as a stored record names it");
    let other = Scope { account: "111111111111".into(), ..scope() };
    let others = transit_key("alias/aws/sqs", &other).unwrap();
    assert_ne!(others.name, key.name);
    assert!(transit_key(&key.name, &other).is_err(), "not by its bare name from another account");
    assert!(transit_key("aws-sqs-anything", &scope()).is_err());
}

#[test]
fn sse_82_what_can_be_no_key_is_not_found() {
    let long = "x".repeat(TRANSIT_KEY_NAME_MAX + 1);
    for form in [
        "",
        "a/b",
        "../sys/seal",
        "a%2fb",
        "-a",
        "a.",
        "a b",
        "alias/",
        "alias/a/b",
        "\u{e9}",
        &long,
        "arn:aws:kms:eu-west-1:000000000000:key/orders",
        "arn:aws-cn:kms:us-east-1:000000000000:key/orders",
        "arn:aws:sqs:us-east-1:000000000000:orders",
        "arn:aws:kms:us-east-1:000000000000:orders",
        "arn:aws:kms:us-east-1:000000000000:key/alias/orders",
        "arn:aws:kms:us-east-1::key/orders",
        "arn:aws:kms:us-east-1:111111111111:key/orders",
        "arn:aws:kms:us-east-1:111111111111:alias/aws/sqs",
        "arn:aws:kms:us-east-1:111111111111:key/aws-sqs-us-east-1-111111111111",
    ] {
        let error = transit_key(form, &scope()).unwrap_err();
        assert!(matches!(error, KeyServiceError::Refused { kind: Refusal::NotFound, .. }), "{form}");
    }
    assert!(transit_key(&"x".repeat(TRANSIT_KEY_NAME_MAX), &scope()).is_ok());
}

/// Texts seen from OpenBao 2.
#[test]
fn sse_143_every_refusal_is_an_answer_of_its_kind() {
    for (status, text, kind) in [
        (400, "encryption key not found", Refusal::NotFound),
        (404, "no handler for route \"transit/decrypt/orders\". route entry not found.", Refusal::NotFound),
        (403, "permission denied", Refusal::AccessDenied),
        (429, "request path \"transit/decrypt/orders\": rate limit quota exceeded", Refusal::Throttled),
        (400, "refusing to use soft-deleted key", Refusal::InvalidState),
        (400, "ciphertext or signature version is disallowed by policy (too old)", Refusal::InvalidState),
        (400, "'associated_data' provided for non-AEAD cipher suite rsa-2048", Refusal::InvalidKeyUsage),
        (400, "cipher: message authentication failed", Refusal::InvalidCiphertext),
        (400, "invalid ciphertext: version is too new", Refusal::InvalidCiphertext),
        (400, "invalid ciphertext length", Refusal::InvalidCiphertext),
        (400, "something new", Refusal::InvalidState),
    ] {
        assert_eq!(refusal(status, text), Some(kind), "{text}");
    }
}

#[test]
fn a_sealed_server_is_an_outage_and_a_foreign_answer_is_neither() {
    let sealed = failure(&reply(503, r#"{"errors":["Vault is sealed"]}"#), "decrypt/orders");
    assert!(
        matches!(sealed, KeyServiceError::Unreachable { silent: false, ref message } if message.contains("sealed"))
    );
    for (status, body) in [(404, "<html>"), (307, ""), (403, "{}")] {
        let error = failure(&reply(status, body), "decrypt/orders");
        assert!(matches!(error, KeyServiceError::Inconsistent { .. }), "{status}");
    }
}

#[test]
fn sse_131_the_context_is_bound_as_json_with_its_names_in_order() {
    let context: EncryptionContext = [("b", "2"), ("aws:sqs:arn", "arn:q")].into_iter().collect();
    let request = bound_to(&context);
    let bytes = STANDARD.decode(request["associated_data"].as_str().unwrap()).unwrap();
    assert_eq!(bytes, br#"{"aws:sqs:arn":"arn:q","b":"2"}"#);
    assert_eq!(request["associated_data"], request["context"]);
}
