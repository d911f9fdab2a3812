//! OpenBao's (and Vault's) transit engine, from the client's side: `datakey/plaintext` and `decrypt`, with the broker's
//! token.
//!
//! * Key names: transit key `orders` is `arn:<partition>:kms:<region>:<account of the queue>:key/orders`; a queue may name
//!   it by that ARN, as `orders` or as `alias/orders`. The default key `alias/aws/sqs` is transit key
//!   `aws-sqs-<region>-<account>`, made by its first use.
//! * The encryption context, as JSON, is the `associated_data` of the wrapping, and its derivation `context` where the
//!   transit key is a derived one. Keys of a type without associated data are refused by the engine.
//! * What is stored is the engine's own text, `vault:v1:…`.

mod token_file;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use sealq_config::OpenBaoKms;
use sealq_crypto::data_key::KeyBytes;
use sealq_crypto::key_store::Scope;
use sealq_crypto::key_store::alias::{ALIAS_PREFIX, MANAGED_SQS_ALIAS};
use sealq_crypto::{DecryptedDataKey, EncryptionContext, GeneratedDataKey, KeyServiceError, Refusal};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use self::token_file::TokenError;
use self::token_file::TokenFile;
use crate::key_endpoint::{KeyEndpoint, NoAnswer, Reply};
use crate::key_provider::KeyProviderError;
use crate::remote_keys::NamedKey;

/// Longest name of a transit key that a queue may give, characters.
pub const TRANSIT_KEY_NAME_MAX: usize = 256;
/// How the names of default keys begin. No queue may name them otherwise than as `alias/aws/sqs`.
const MANAGED_PREFIX: &str = "aws-sqs-";
/// Cipher of the keys that are made here.
const MANAGED_KEY_TYPE: &str = "aes256-gcm96";
/// Longest part of a refusal's text that is passed on, characters.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// See the module documentation.
pub struct OpenBaoKeys {
    endpoint: KeyEndpoint,
    /// `/v1/<mount>`, under the path of the address.
    engine: String,
    /// Of the engine; empty: the root namespace.
    namespace: String,
    token: TokenFile,
}

/// A transit key and what it is called in the world of ARNs.
#[derive(Debug, PartialEq, Eq)]
struct TransitKey {
    name: String,
    arn: String,
    managed: bool,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
struct DataKey<'a> {
    // Borrowed from the reply, which is wiped.
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Plaintext<'a> {
    #[serde(borrow)]
    plaintext: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Faults {
    errors: Vec<String>,
}

/// What a KmsMasterKeyId says of a queue of `scope`.
pub(crate) fn named(key_id: &str, scope: &Scope) -> Result<NamedKey, KeyServiceError> {
    transit_key(key_id, scope).map(|key| NamedKey { arn: Some(key.arn), managed: key.managed })
}

fn transit_key(key_id: &str, scope: &Scope) -> Result<TransitKey, KeyServiceError> {
    let not_found = |message: String| KeyServiceError::Refused { kind: Refusal::NotFound, message };
    let resource = if key_id.starts_with("arn:") {
        let parts: Vec<&str> = key_id.splitn(6, ':').collect();
        let &[_, partition, "kms", region, account, resource] = parts.as_slice() else {
            return Err(not_found(format!("Invalid arn {key_id}")));
        };
        if partition != scope.partition {
            return Err(not_found(format!("Invalid arn {key_id}")));
        }
        if region != scope.region {
            return Err(not_found(format!("Invalid arn {region}")));
        }
        // Whose key it is, is known by the queue only: no account can lend one to another.
        if account != scope.account {
            return Err(not_found(format!("Key '{key_id}' does not exist")));
        }
        let named = resource.strip_prefix("key/").filter(|name| !name.starts_with(ALIAS_PREFIX));
        let alias = resource.starts_with(ALIAS_PREFIX).then_some(resource);
        named.or(alias).ok_or_else(|| not_found(format!("Invalid arn {key_id}")))?
    } else {
        key_id
    };
    let Scope { partition, region, account } = scope;
    let managed_name = format!("{MANAGED_PREFIX}{region}-{account}");
    let name = match resource {
        MANAGED_SQS_ALIAS => &managed_name,
        alias => alias.strip_prefix(ALIAS_PREFIX).unwrap_or(alias),
    };
    let managed = *name == managed_name;
    if !is_transit_name(name) || name.starts_with(MANAGED_PREFIX) && !managed {
        return Err(not_found(format!("Invalid keyId '{key_id}'")));
    }
    let arn = format!("arn:{partition}:kms:{region}:{account}:key/{name}");
    Ok(TransitKey { name: name.to_owned(), arn, managed })
}

/// The engine's own rule, which also keeps a name from meaning another path.
fn is_transit_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = name.as_bytes();
    bytes.len() <= TRANSIT_KEY_NAME_MAX
        && bytes.first().is_some_and(|first| word(*first))
        && bytes.last().is_some_and(|last| word(*last))
        && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'-' | b'.'))
}

impl OpenBaoKeys {
    /// From its settings. Reads the token; does not connect.
    ///
    /// # Errors
    /// [`KeyProviderError`]
    pub fn new(settings: &OpenBaoKms) -> Result<Self, KeyProviderError> {
        let endpoint = KeyEndpoint::new(&settings.address, &settings.ca_file, settings.timeout_ms)
            .map_err(|source| KeyProviderError::Endpoint { provider: "openbao", source })?;
        let engine = format!("{}/v1/{}", endpoint.path(), settings.mount.trim_matches('/'));
        let namespace = settings.namespace.trim_matches('/').to_owned();
        Ok(Self { endpoint, engine, namespace, token: TokenFile::open(&settings.token_file)? })
    }

    /// The data key, and whether the account's default key had to be made for it.
    pub(crate) async fn generate(
        &self,
        key_id: &str,
        scope: &Scope,
        context: &EncryptionContext,
    ) -> Result<(GeneratedDataKey, bool), KeyServiceError> {
        let key = transit_key(key_id, scope)?;
        let path = format!("datakey/plaintext/{}", key.name);
        let mut request = bound_to(context);
        request["bits"] = json!(256);
        let mut key_made = false;
        let reply = match self.call(&path, &request).await {
            Err(KeyServiceError::Refused { kind: Refusal::NotFound, .. }) if key.managed => {
                self.make_managed(&key.name).await?;
                key_made = true;
                self.call(&path, &request).await?
            }
            reply => reply?,
        };
        let DataKey { plaintext, ciphertext } = parsed(&reply)?;
        let made = GeneratedDataKey {
            plaintext: data_key(&plaintext)?,
            wrapped: ciphertext.into_bytes(),
            key_arn: key.arn,
        };
        Ok((made, key_made))
    }

    pub(crate) async fn decrypt(
        &self,
        wrapped: &[u8],
        key_arn: &str,
        scope: &Scope,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        let key = transit_key(key_arn, scope)?;
        let ciphertext = std::str::from_utf8(wrapped).map_err(|_| KeyServiceError::Refused {
            kind: Refusal::InvalidCiphertext,
            message: "the wrapped key is none of a transit engine".into(),
        })?;
        let mut request = bound_to(context);
        request["ciphertext"] = json!(ciphertext);
        let reply = self.call(&format!("decrypt/{}", key.name), &request).await?;
        let Plaintext { plaintext } = parsed(&reply)?;
        Ok(DecryptedDataKey { plaintext: data_key(&plaintext)?, key_arn: key.arn })
    }

    /// Any answer will do, a sealed server's too: whether it then serves is seen by the next call.
    pub(crate) async fn probe(&self) -> Result<(), NoAnswer> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = http::Uri::from_static("/v1/sys/health");
        if let Ok(host) = HeaderValue::from_str(self.endpoint.authority()) {
            request.headers_mut().insert(HOST, host);
        }
        self.endpoint.exchange(request).await.map(drop)
    }

    /// Idempotent: a key that is there stays as it is.
    async fn make_managed(&self, name: &str) -> Result<(), KeyServiceError> {
        let made = self.call(&format!("keys/{name}"), &json!({ "type": MANAGED_KEY_TYPE })).await;
        made.map(drop).map_err(|error| match error {
            KeyServiceError::Refused { message, .. } => KeyServiceError::Refused {
                kind: Refusal::NotFound,
                message: format!(
                    "The default key, transit key '{name}', is not there and cannot be made with the broker's token \
                     ({message}). Make it, or let the token do so."
                ),
            },
            other => other,
        })
    }

    /// One call. A token that is refused is read anew and tried once more.
    async fn call(&self, path: &str, body: &Value) -> Result<Reply, KeyServiceError> {
        let body = Bytes::from(body.to_string());
        let token = self.token.current();
        let mut reply = self.post(path, body.clone(), &token).await?;
        if reply.status == StatusCode::FORBIDDEN
            && let Some(other) = self.token.replaced(&token)
        {
            reply = self.post(path, body, &other).await?;
        }
        if reply.status.is_success() { Ok(reply) } else { Err(failure(&reply, path)) }
    }

    async fn post(&self, path: &str, body: Bytes, token: &HeaderValue) -> Result<Reply, KeyServiceError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{path}", self.engine))
            .header(HOST, self.endpoint.authority())
            .header("x-vault-request", "true")
            .header("x-vault-token", token)
            .header("content-type", "application/json");
        if !self.namespace.is_empty() {
            request = request.header("x-vault-namespace", &self.namespace);
        }
        let request = request.body(Full::new(body)).map_err(|error| KeyServiceError::Inconsistent {
            message: format!("kms.openbao cannot be spoken to as it is set: {error}"),
        })?;
        Ok(self.endpoint.exchange(request).await?)
    }
}

/// The members that tie a wrapped key to its context. Names stand in order: equal contexts give equal text.
fn bound_to(context: &EncryptionContext) -> Value {
    let pairs: serde_json::Map<String, Value> =
        context.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let context = STANDARD.encode(Value::Object(pairs).to_string());
    json!({ "associated_data": context, "context": context })
}

fn parsed<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T, KeyServiceError> {
    // The parser's own text may quote what it read.
    serde_json::from_slice::<Answer<T>>(&reply.body).map(|answer| answer.data).map_err(|_| unlike())
}

fn unlike() -> KeyServiceError {
    KeyServiceError::Inconsistent { message: "its answer is none of a transit engine".into() }
}

fn data_key(base64: &str) -> Result<KeyBytes, KeyServiceError> {
    let bytes = Zeroizing::new(STANDARD.decode(base64).map_err(|_| unlike())?);
    KeyBytes::from_slice(&bytes).ok_or_else(unlike)
}

/// What an answer that is no success says. The engine has texts, not codes: those that matter are known by a part of
/// them, the rest is a refusal of no particular kind.
fn failure(reply: &Reply, path: &str) -> KeyServiceError {
    let status = reply.status;
    let faults = serde_json::from_slice::<Faults>(&reply.body);
    let text = faults.as_ref().map_or(String::new(), |faults| faults.errors.join("; "));
    let text: String = text.chars().take(MESSAGE_CHARS_MAX).collect();
    if status.is_server_error() {
        return KeyServiceError::Unreachable { message: format!("HTTP {status}: {text}"), silent: false };
    }
    if faults.is_err() || !status.is_client_error() {
        let message = format!("HTTP {status} without an error of the API");
        return KeyServiceError::Inconsistent { message };
    }
    let key = path.rsplit('/').next().unwrap_or(path);
    let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let (kind, message) = match status {
        StatusCode::FORBIDDEN => {
            // The caller of SQS can do nothing about it; the operator has to hear of it.
            tracing::error!(path, text, "the token of [kms.openbao] is refused");
            let message = format!("The broker's token may not use transit key '{key}': {text}");
            (Refusal::AccessDenied, message)
        }
        StatusCode::TOO_MANY_REQUESTS => (Refusal::Throttled, text),
        StatusCode::NOT_FOUND => {
            (Refusal::NotFound, format!("There is no transit engine at kms.openbao.mount: {text}"))
        }
        _ if says(&["encryption key not found"]) => {
            (Refusal::NotFound, format!("Transit key '{key}' does not exist"))
        }
        _ if says(&["non-AEAD", "does not support", "not supported"]) => (Refusal::InvalidKeyUsage, text),
        _ if says(&["disallowed by policy", "soft-deleted"]) => (Refusal::InvalidState, text),
        _ if says(&["message authentication failed", "invalid ciphertext", "unable to decrypt"]) => {
            (Refusal::InvalidCiphertext, text)
        }
        _ => (Refusal::InvalidState, text),
    };
    KeyServiceError::Refused { kind, message }
}

#[cfg(test)]
mod tests;
