//! The AWS KMS API, from the client's side: GenerateDataKey and Decrypt in JSON 1.1, signed with the broker's own
//! credentials, which may be temporary and can be replaced while it runs. The endpoint may be AWS, another SealQ, or anything that speaks the same.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use parking_lot::Mutex;
use sealq_api::kms::CONTENT_TYPE as JSON_1_1;
use sealq_api::sigv4::{JsonPost, Signer};
use sealq_config::AwsKms;
use sealq_crypto::data_key::KeyBytes;
use sealq_crypto::{DecryptedDataKey, EncryptionContext, GeneratedDataKey, KeyServiceError, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key_endpoint::{EndpointError, KeyEndpoint, NoAnswer, Reply};
use crate::remote_keys::NamedKey;

/// Longest part of a refusal's text that is passed on, characters.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// See the module documentation.
pub struct AwsKeys {
    endpoint: KeyEndpoint,
    signer: Mutex<Signer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Generated<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    #[serde(borrow)]
    ciphertext_blob: Cow<'a, str>,
    #[serde(borrow)]
    key_id: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    #[serde(borrow)]
    key_id: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
struct Fault {
    #[serde(rename = "__type", default)]
    name: String,
    #[serde(alias = "Message", default)]
    message: String,
}

/// What a KmsMasterKeyId says by itself: a key ARN names its key, everything else is for the key service to resolve.
pub(crate) fn named(key_id: &str) -> NamedKey {
    let is_key_arn = key_id.starts_with("arn:")
        && key_id.splitn(6, ':').nth(5).is_some_and(|resource| resource.starts_with("key/"));
    NamedKey { arn: is_key_arn.then(|| key_id.to_owned()), managed: false }
}

impl AwsKeys {
    /// From its settings. Does not connect. `region`: of the broker, where the settings name none.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn new(settings: &AwsKms, region: &str) -> Result<Self, EndpointError> {
        let endpoint = KeyEndpoint::new(&settings.endpoint, &settings.ca_file, settings.timeout_ms)?;
        Ok(Self { endpoint, signer: Mutex::new(signer(settings, region)) })
    }

    /// Signs with the access key of these settings from now on.
    pub(crate) fn take_credentials(&self, settings: &AwsKms, region: &str) {
        *self.signer.lock() = signer(settings, region);
    }

    pub(crate) async fn generate(
        &self,
        now_s: u64,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        let request = json!({ "KeyId": key_id, "KeySpec": "AES_256", "EncryptionContext": pairs(context) });
        let reply = self.call(now_s, "GenerateDataKey", &request).await?;
        let made: Generated<'_> = parsed(&reply, "GenerateDataKey")?;
        Ok(GeneratedDataKey {
            plaintext: data_key(&made.plaintext)?,
            wrapped: STANDARD.decode(&*made.ciphertext_blob).map_err(|_| unlike("CiphertextBlob"))?,
            key_arn: key_arn(&made.key_id)?,
        })
    }

    pub(crate) async fn decrypt(
        &self,
        now_s: u64,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        let request = json!({
            "KeyId": key_arn,
            "CiphertextBlob": STANDARD.encode(wrapped),
            "EncryptionContext": pairs(context),
        });
        let reply = self.call(now_s, "Decrypt", &request).await?;
        let opened: Decrypted<'_> = parsed(&reply, "Decrypt")?;
        Ok(DecryptedDataKey {
            plaintext: data_key(&opened.plaintext)?,
            key_arn: self::key_arn(&opened.key_id)?,
        })
    }

    /// Any answer will do: an unsigned request is no call of the API.
    pub(crate) async fn probe(&self) -> Result<(), NoAnswer> {
        let mut request = Request::new(Full::default());
        if let Ok(host) = HeaderValue::from_str(self.endpoint.authority()) {
            request.headers_mut().insert(HOST, host);
        }
        self.endpoint.exchange(request).await.map(drop)
    }

    async fn call(&self, now_s: u64, action: &str, request: &Value) -> Result<Reply, KeyServiceError> {
        let body = request.to_string();
        let payload_hash = hex::encode(Sha256::digest(body.as_bytes()));
        let target = format!("TrentService.{action}");
        let path = format!("{}/", self.endpoint.path());
        let request = {
            let mut signer = self.signer.lock();
            let signature = signer.sign(
                now_s,
                &JsonPost {
                    host: self.endpoint.authority(),
                    path: &path,
                    content_type: JSON_1_1,
                    target: &target,
                    payload_sha256_hex: &payload_hash,
                },
            );
            let mut request = Request::builder()
                .method(Method::POST)
                .uri(&path)
                .header(HOST, self.endpoint.authority())
                .header(CONTENT_TYPE, JSON_1_1)
                .header("x-amz-date", signature.amz_date)
                .header("x-amz-target", &target)
                .header(AUTHORIZATION, signature.authorization);
            if let Some(token) = signature.session_token {
                request = request.header("x-amz-security-token", token);
            }
            request.body(Full::new(Bytes::from(body)))
        };
        let request = request.map_err(|error| KeyServiceError::Inconsistent {
            message: format!("kms.aws cannot be spoken to as it is set: {error}"),
        })?;
        let reply = self.endpoint.exchange(request).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(failure(&reply)) }
    }
}

fn signer(settings: &AwsKms, region: &str) -> Signer {
    let region = if settings.region.is_empty() { region } else { &settings.region };
    let token = settings.session_token.expose();
    let token = (!token.is_empty()).then_some(token);
    Signer::new(&settings.access_key_id, settings.secret_access_key.expose(), token, region, "kms")
}

fn pairs(context: &EncryptionContext) -> Value {
    context
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn parsed<'a, T: Deserialize<'a>>(reply: &'a Reply, action: &str) -> Result<T, KeyServiceError> {
    // The parser's own text may quote what it read.
    serde_json::from_slice(&reply.body).map_err(|_| unlike(action))
}

fn unlike(what: &str) -> KeyServiceError {
    KeyServiceError::Inconsistent { message: format!("its {what} is not as the API has it") }
}

fn data_key(base64: &str) -> Result<KeyBytes, KeyServiceError> {
    let bytes = Zeroizing::new(STANDARD.decode(base64).map_err(|_| unlike("Plaintext"))?);
    KeyBytes::from_slice(&bytes).ok_or_else(|| unlike("Plaintext"))
}

fn key_arn(key_id: &str) -> Result<String, KeyServiceError> {
    named(key_id).arn.ok_or_else(|| unlike("KeyId"))
}

/// What an answer that is no success says (sse.md, sections 9 and 12).
fn failure(reply: &Reply) -> KeyServiceError {
    let fault: Fault = serde_json::from_slice(&reply.body).unwrap_or_default();
    let header = reply.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).unwrap_or("");
    let named = if fault.name.is_empty() { header } else { &fault.name };
    // Some prefix a namespace, some append a URL.
    let name = named.rsplit('#').next().unwrap_or("").split(':').next().unwrap_or("");
    let message: String = fault.message.chars().take(MESSAGE_CHARS_MAX).collect();
    let status = reply.status;
    if status.is_server_error() {
        return KeyServiceError::Unreachable {
            message: format!("HTTP {status}: {name} {message}"),
            silent: false,
        };
    }
    if name.is_empty() || !status.is_client_error() {
        return KeyServiceError::Inconsistent {
            message: format!("HTTP {status} without an error of the API"),
        };
    }
    let kind = match name {
        "AccessDeniedException" => Refusal::AccessDenied,
        "DisabledException" => Refusal::Disabled,
        "InvalidKeyUsageException" | "UnsupportedOperationException" => Refusal::InvalidKeyUsage,
        "NotFoundException" | "InvalidArnException" => Refusal::NotFound,
        "OptInRequired" | "SubscriptionRequiredException" => Refusal::OptInRequired,
        "ThrottlingException" | "LimitExceededException" | "TooManyRequestsException" => Refusal::Throttled,
        "InvalidCiphertextException" | "IncorrectKeyException" => Refusal::InvalidCiphertext,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignatureException"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException"
        | "MissingAuthenticationToken"
        | "ExpiredTokenException"
        | "RequestExpiredException"
        | "NotAuthorizedException" => {
            // The caller of SQS can do nothing about it; the operator has to hear of it.
            tracing::error!(
                error = name,
                message,
                "the key service does not accept the access key of [kms.aws]"
            );
            return KeyServiceError::Refused {
                kind: Refusal::AccessDenied,
                message: format!(
                    "The key service does not accept the broker's own access key: {name}: {message}"
                ),
            };
        }
        _ => Refusal::InvalidState,
    };
    KeyServiceError::Refused { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status: http::StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    fn outcome(status: u16, name: &str) -> KeyServiceError {
        failure(&reply(status, &format!(r#"{{"__type":"{name}","message":"because"}}"#)))
    }

    #[test]
    fn sse_143_sse_173_to_sse_177_every_refusal_is_an_answer_of_its_kind() {
        for (name, kind) in [
            ("AccessDeniedException", Refusal::AccessDenied),
            ("DisabledException", Refusal::Disabled),
            ("InvalidKeyUsageException", Refusal::InvalidKeyUsage),
            ("KMSInvalidStateException", Refusal::InvalidState),
            ("NotFoundException", Refusal::NotFound),
            ("InvalidArnException", Refusal::NotFound),
            ("OptInRequired", Refusal::OptInRequired),
            ("SubscriptionRequiredException", Refusal::OptInRequired),
            ("ThrottlingException", Refusal::Throttled),
            ("LimitExceededException", Refusal::Throttled),
            ("InvalidCiphertextException", Refusal::InvalidCiphertext),
            ("IncorrectKeyException", Refusal::InvalidCiphertext),
            ("com.amazonaws.kms#DisabledException", Refusal::Disabled),
            ("ValidationException", Refusal::InvalidState),
        ] {
            let expected = KeyServiceError::Refused { kind, message: "because".into() };
            assert_eq!(outcome(400, name), expected, "{name}");
        }
        let capital = failure(&reply(400, r#"{"__type":"AccessDeniedException","Message":"no"}"#));
        assert_eq!(capital, KeyServiceError::Refused { kind: Refusal::AccessDenied, message: "no".into() });
    }

    #[test]
    fn faults_of_the_service_are_no_refusals_whatever_they_are_called() {
        for name in [
            "KMSInternalException",
            "DependencyTimeoutException",
            "KeyUnavailableException",
            "DisabledException",
        ] {
            for status in [500, 503] {
                let error = outcome(status, name);
                assert!(
                    matches!(error, KeyServiceError::Unreachable { silent: false, .. }),
                    "{name} {status}"
                );
            }
        }
        assert!(matches!(failure(&reply(502, "<html>")), KeyServiceError::Unreachable { .. }));
    }

    #[test]
    fn an_answer_that_is_none_of_the_api_neither_revokes_nor_counts_as_an_outage() {
        for (status, body) in [(404, "<html>"), (403, ""), (307, "{}"), (400, "{}"), (400, "[1]")] {
            let error = failure(&reply(status, body));
            assert!(matches!(error, KeyServiceError::Inconsistent { .. }), "{status} {body}");
        }
    }

    #[test]
    fn wrong_credentials_of_the_broker_are_refused_in_clear_words() {
        let KeyServiceError::Refused { kind, message } = outcome(400, "UnrecognizedClientException") else {
            panic!("no refusal")
        };
        assert_eq!(kind, Refusal::AccessDenied);
        assert!(
            message.contains("the broker's own access key: UnrecognizedClientException: because"),
            "{message}"
        );
    }

    #[test]
    fn only_a_key_arn_names_its_key_before_the_service_is_asked() {
        let arn = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab";
        assert_eq!(named(arn).arn.as_deref(), Some(arn));
        for other in
            ["1234abcd-12ab-34cd-56ef-1234567890ab", "alias/a", "arn:aws:kms:us-east-1:0:alias/a", "arn:"]
        {
            assert_eq!(named(other).arn, None, "{other}");
        }
    }

    #[test]
    fn a_data_key_of_another_length_is_not_taken() {
        assert!(data_key(&STANDARD.encode([7; 32])).is_ok());
        for wrong in [STANDARD.encode([7; 16]), STANDARD.encode([7; 33]), "!".to_owned(), String::new()] {
            assert!(matches!(data_key(&wrong), Err(KeyServiceError::Inconsistent { .. })), "{wrong}");
        }
    }

    #[test]
    fn a_region_of_its_own_is_signed_for() {
        let settings = AwsKms {
            endpoint: "http://127.0.0.1:1".into(),
            region: "eu-central-1".into(),
            ..AwsKms::default()
        };
        let keys = AwsKeys::new(&settings, "us-east-1").unwrap();
        let mut signer = keys.signer.lock();
        let post = JsonPost { host: "h", path: "/", content_type: "c", target: "t", payload_sha256_hex: "" };
        assert!(signer.sign(0, &post).authorization.contains("/19700101/eu-central-1/kms/aws4_request"));
    }

    proptest::proptest! {
        #[test]
        fn no_reply_of_any_kind_is_more_than_an_error(status in 100_u16..600, body: Vec<u8>) {
            let body = [br#"{"__type":""#.as_slice(), &body].concat();
            for body in [&body[..], &body[11..]] {
                let reply = reply(status, &String::from_utf8_lossy(body));
                proptest::prop_assert!(parsed::<Generated<'_>>(&reply, "GenerateDataKey").is_err());
                let silent = matches!(failure(&reply), KeyServiceError::Unreachable { silent: true, .. });
                proptest::prop_assert!(!silent);
            }
        }
    }
}
