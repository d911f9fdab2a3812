use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

const BODY: &str =
    r#"{"QueueUrl":"https://sqs.us-east-2.example.net/123456789012/q1","MessageBody":"message"}"#;
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW_MS: u64 = 1_767_323_045_000;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn key() -> SigningKey {
    SigningKey::derive(SECRET, "20260102", "us-east-2", "sqs")
}

fn signed(parts: &RequestParts<'_>) -> Box<Signed> {
    match Presented::from_request(parts) {
        Ok(Presented::Signed(signed)) => signed,
        other => panic!("{other:?}"),
    }
}

fn vector_a() -> HeaderMap {
    headers(&[
        ("host", "sqs.us-east-2.example.net"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "AmazonSQS.SendMessage"),
        ("x-amz-date", "20260102T030405Z"),
        ("x-amzn-query-mode", "true"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-2/sqs/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode, \
             Signature=53dbaffd2bfa4dba11d5aa443a7c33155f9b797e950a095251e9ca8d21d70152",
        ),
    ])
}

fn post(headers: &HeaderMap) -> RequestParts<'_> {
    RequestParts { method: "POST", path: "/", query: "", headers, authority: None }
}

#[test]
fn auth_1_signing_keys_match_the_vectors() {
    assert_eq!(
        hex::encode(key().bytes()),
        "d4b9e06b4a79a204fbe2d2e6699fde55eb6fab572cb1a1f5137d5bc714e9ce1f"
    );
    let iam = SigningKey::derive("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "iam");
    assert_eq!(hex::encode(iam.bytes()), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

#[test]
fn auth_9_a_signature_is_64_lower_case_digits() {
    let mut headers = vector_a();
    let written = headers["authorization"].to_str().unwrap().to_owned();
    let (before, digits) = written.rsplit_once('=').unwrap();
    for altered in [digits.to_uppercase(), digits[1..].to_owned(), format!("{digits}0"), "z".repeat(64)] {
        headers.insert("authorization", HeaderValue::from_str(&format!("{before}={altered}")).unwrap());
        let refused = Presented::from_request(&post(&headers)).unwrap_err();
        assert_eq!(refused.code(ServiceFamily::Query), "SignatureDoesNotMatch", "{altered}");
    }
}

#[test]
fn auth_1_vector_a_verifies_and_any_change_fails() {
    let headers = vector_a();
    let parts = post(&headers);
    let signature = signed(&parts);
    assert_eq!(signature.verify(&key(), &parts, BODY.as_bytes()), Ok(()));
    assert!(signature.verify(&key(), &parts, &BODY.as_bytes()[1..]).is_err(), "body");
    assert!(
        signature.verify(&key(), &RequestParts { method: "GET", ..parts }, BODY.as_bytes()).is_err(),
        "method"
    );
    assert!(
        signature.verify(&key(), &RequestParts { path: "/x", ..parts }, BODY.as_bytes()).is_err(),
        "path"
    );
    assert!(
        signature.verify(&key(), &RequestParts { query: "a=b", ..parts }, BODY.as_bytes()).is_err(),
        "query"
    );
    for name in ["x-amz-target", "content-type", "x-amz-date", "host"] {
        let mut changed = headers.clone();
        changed.insert(name, HeaderValue::from_static("20260102T030406Z"));
        let parts = post(&changed);
        let verified = Presented::from_request(&parts).map(|presented| match presented {
            Presented::Signed(signed) => signed.verify(&key(), &parts, BODY.as_bytes()),
            other => panic!("{other:?}"),
        });
        assert!(!matches!(verified, Ok(Ok(()))), "{name}");
    }
}

#[test]
fn auth_1_vector_b_verifies_with_its_session_token() {
    let headers = headers(&[
        ("host", "sqs.us-east-2.example.net"),
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "AmazonSQS.SendMessage"),
        ("x-amz-date", "20260102T030405Z"),
        ("x-amz-security-token", "TOKEN/with+chars=="),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/us-east-2/sqs/aws4_request,\
             SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target,\
             Signature=f6e82f664344037ec8fb5f695816e05ff349ee07311da22efa3c9756966dd374",
        ),
    ]);
    let parts = post(&headers);
    let signature = signed(&parts);
    assert_eq!(signature.session_token.as_deref(), Some("TOKEN/with+chars=="));
    assert_eq!(signature.verify(&key(), &parts, BODY.as_bytes()), Ok(()));
}

#[test]
fn auth_1_vector_c_verifies_as_a_presigned_request() {
    let headers = headers(&[("host", "sqs.us-east-2.example.net")]);
    let query = "Action=SendMessage&MessageBody=a%20b%2Bc%2A~%2F%C3%A9&Version=2012-11-05\
                 &X-Amz-Algorithm=AWS4-HMAC-SHA256\
                 &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-2%2Fsqs%2Faws4_request\
                 &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
                 &X-Amz-Signature=45183d000703b534aea07b70c825d4697a184cb44937f0c05ff49da5efed8189";
    let parts =
        RequestParts { method: "GET", path: "/123456789012/q1", query, headers: &headers, authority: None };
    let signature = signed(&parts);
    assert_eq!(signature.form, SignatureForm::Presigned { expires_s: 900 });
    assert_eq!(signature.verify(&key(), &parts, b""), Ok(()));
    assert_eq!(signature.check_time(NOW_MS + 899_000, 900), Ok(()));
    let late = signature.check_time(NOW_MS + 901_000, 900).unwrap_err();
    assert_eq!(late.kind, SigV4FailureKind::Expired);
}

#[test]
fn auth_4_a_scope_of_another_service_or_region_is_refused() {
    let headers = vector_a();
    let signature = signed(&post(&headers));
    let region = |region: &str| region == "us-east-2";
    assert_eq!(signature.check_scope(&ScopeRules { region: &region, service: "sqs" }), Ok(()));
    let kms = signature.check_scope(&ScopeRules { region: &region, service: "kms" }).unwrap_err();
    assert_eq!(kms.message, "Credential should be scoped to correct service: 'kms'.");
    let none = |_: &str| false;
    let region = signature.check_scope(&ScopeRules { region: &none, service: "sqs" }).unwrap_err();
    assert_eq!(region.message, "Credential should be scoped to a valid region, not 'us-east-2'.");
}

#[test]
fn auth_5_fourteen_minutes_are_accepted_and_sixteen_refused() {
    let headers = vector_a();
    let signature = signed(&post(&headers));
    let minutes = |m: u64| m * 60_000;
    assert_eq!(signature.check_time(NOW_MS + minutes(14), 900), Ok(()));
    assert_eq!(signature.check_time(NOW_MS - minutes(14), 900), Ok(()));
    let old = signature.check_time(NOW_MS + minutes(16), 900).unwrap_err();
    assert_eq!(
        old.message,
        "Signature expired: 20260102T030405Z is now earlier than 20260102T030505Z (20260102T032005Z - 15 min.)"
    );
    assert!(
        signature.check_time(NOW_MS - minutes(16), 900).unwrap_err().message.starts_with("Signature not yet")
    );
}

#[test]
fn auth_6_a_presigned_life_beyond_seven_days_is_refused() {
    let headers = headers(&[("host", "h")]);
    for expires in ["0", "604801", "x", "-1"] {
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20260102/r/sqs/aws4_request&X-Amz-SignedHeaders=host\
             &X-Amz-Date=20260102T030405Z&X-Amz-Expires={expires}&X-Amz-Signature=00"
        );
        let parts =
            RequestParts { method: "GET", path: "/", query: &query, headers: &headers, authority: None };
        let failure = Presented::from_request(&parts).unwrap_err();
        assert_eq!(failure.kind, SigV4FailureKind::Incomplete, "{expires}");
    }
}

#[test]
fn auth_7_an_unsigned_amz_header_or_host_is_refused() {
    let mut unsigned = vector_a();
    unsigned.insert("x-amz-extra", HeaderValue::from_static("1"));
    assert!(Presented::from_request(&post(&unsigned)).is_err());
    let mut no_host = vector_a();
    let value = "AWS4-HMAC-SHA256 Credential=a/20260102/r/sqs/aws4_request, SignedHeaders=x-amz-date;x-amz-target, \
                 Signature=00";
    no_host.insert("authorization", HeaderValue::from_static(value));
    let failure = Presented::from_request(&post(&no_host)).unwrap_err();
    assert_eq!(failure.message, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
}

#[test]
fn other_schemes_and_missing_parts_are_told_apart() {
    let basic = headers(&[("host", "h"), ("authorization", "Basic dXNlcg==")]);
    assert!(matches!(Presented::from_request(&post(&basic)), Ok(Presented::OtherScheme(_))));
    let none = headers(&[("host", "h")]);
    assert_eq!(Presented::from_request(&post(&none)), Ok(Presented::Anonymous));
    let v2 = RequestParts { query: "AWSAccessKeyId=x&SignatureVersion=2&Signature=y", ..post(&none) };
    assert!(matches!(Presented::from_request(&v2), Ok(Presented::OtherScheme(_))));
    let empty = headers(&[("host", "h"), ("authorization", "AWS4-HMAC-SHA256 x")]);
    let failure = Presented::from_request(&post(&empty)).unwrap_err();
    assert_eq!(
        failure.message,
        "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
         Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a \
         'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256 x"
    );
}

/// Requests signed by botocore 1.x, kept as it sent them.
#[derive(serde::Deserialize)]
struct BotocoreVector {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
    service: String,
    region: String,
}

#[test]
fn auth_2_requests_signed_by_botocore_verify_and_a_changed_body_does_not() {
    let vectors: Vec<BotocoreVector> = serde_json::from_str(include_str!("vectors/botocore.json")).unwrap();
    assert_eq!(vectors.len(), 33);
    for vector in &vectors {
        let pairs: Vec<(&str, &str)> = vector.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let headers = headers(&pairs);
        let parts = RequestParts {
            method: &vector.method,
            path: &vector.path,
            query: &vector.query,
            headers: &headers,
            authority: None,
        };
        let signature = signed(&parts);
        let key = SigningKey::derive(SECRET, "20260102", &vector.region, &vector.service);
        let region = |region: &str| region == vector.region;
        let rules = ScopeRules { region: &region, service: &vector.service };
        assert_eq!(signature.check_scope(&rules), Ok(()), "{}", vector.name);
        assert_eq!(signature.check_time(NOW_MS, 900), Ok(()), "{}", vector.name);
        assert_eq!(signature.verify(&key, &parts, vector.body.as_bytes()), Ok(()), "{}", vector.name);
        assert!(signature.verify(&key, &parts, b"another body").is_err(), "{}", vector.name);
    }
}

#[test]
fn auth_1_the_http2_authority_plays_the_host() {
    let mut headers = vector_a();
    headers.remove("host");
    let parts = RequestParts { authority: Some("sqs.us-east-2.example.net"), ..post(&headers) };
    assert_eq!(signed(&parts).verify(&key(), &parts, BODY.as_bytes()), Ok(()));
    let parts = RequestParts { authority: Some("other.example.net"), ..parts };
    assert!(signed(&parts).verify(&key(), &parts, BODY.as_bytes()).is_err());
}

#[test]
fn auth_8_a_content_hash_that_is_not_of_the_body_is_refused() {
    for claimed in ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "00"] {
        let mut headers = vector_a();
        headers.insert("x-amz-content-sha256", HeaderValue::from_static(claimed));
        let value = "AWS4-HMAC-SHA256 Credential=a/20260102/us-east-2/sqs/aws4_request, SignedHeaders=host;\
                     x-amz-content-sha256;x-amz-date;x-amz-target;x-amzn-query-mode, Signature=\
                     53dbaffd2bfa4dba11d5aa443a7c33155f9b797e950a095251e9ca8d21d70152";
        headers.insert("authorization", HeaderValue::from_static(value));
        let parts = post(&headers);
        let failure = signed(&parts).verify(&key(), &parts, BODY.as_bytes()).unwrap_err();
        assert!(failure.message.contains("x-amz-content-sha256"), "{claimed}: {failure}");
    }
}

#[test]
fn a_header_or_query_parameter_of_the_signature_given_twice_is_refused() {
    for name in ["host", "x-amz-date", "x-amz-target", "authorization", "content-type"] {
        let mut twice = vector_a();
        twice.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("x"));
        let failure = Presented::from_request(&post(&twice)).unwrap_err();
        assert_eq!(failure.kind, SigV4FailureKind::Incomplete, "{name}");
    }
    let headers = headers(&[("host", "h")]);
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=1&X-Amz-Date=2";
    assert!(Presented::from_request(&RequestParts { query, ..post(&headers) }).is_err());
    let both = vector_a();
    assert!(Presented::from_request(&RequestParts { query: "X-Amz-Signature=1", ..post(&both) }).is_err());
}

/// Vector B: 2026-01-02T03:04:05Z, us-east-2, with a session token.
#[test]
fn auth_1_a_signed_request_carries_the_signature_of_vector_b() {
    let mut signer = Signer::new("AKIDEXAMPLE", SECRET, Some("TOKEN/with+chars=="), "us-east-2", "sqs");
    let hash = hex::encode(Sha256::digest(BODY));
    let post = JsonPost {
        host: "sqs.us-east-2.example.net",
        path: "/",
        content_type: "application/x-amz-json-1.0",
        target: "AmazonSQS.SendMessage",
        payload_sha256_hex: &hash,
    };
    let expected = "f6e82f664344037ec8fb5f695816e05ff349ee07311da22efa3c9756966dd374";
    for epoch_s in [NOW_MS / 1_000, NOW_MS / 1_000 + 86_400, NOW_MS / 1_000] {
        let signature = signer.sign(epoch_s, &post);
        assert_eq!(signature.authorization.ends_with(expected), epoch_s == NOW_MS / 1_000);
    }
}

#[test]
fn what_is_signed_here_verifies_here() {
    let mut signer = Signer::new("AKIDEXAMPLE", SECRET, None, "us-east-2", "kms");
    let hash = hex::encode(Sha256::digest(BODY));
    let post = JsonPost {
        host: "127.0.0.1:9324",
        path: "/a%20b/",
        content_type: "application/x-amz-json-1.1",
        target: "TrentService.Decrypt",
        payload_sha256_hex: &hash,
    };
    let signature = signer.sign(NOW_MS / 1_000, &post);
    let headers = headers(&[
        ("host", post.host),
        ("content-type", post.content_type),
        ("x-amz-target", post.target),
        ("x-amz-date", signature.amz_date),
        ("authorization", signature.authorization),
    ]);
    let parts = RequestParts { path: post.path, ..self::post(&headers) };
    let key = SigningKey::derive(SECRET, "20260102", "us-east-2", "kms");
    assert_eq!(signed(&parts).verify(&key, &parts, BODY.as_bytes()), Ok(()));
}
