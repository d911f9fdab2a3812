//! The client and the queues that the tests use, set up by what `sealq env` prints and an access key.

use std::env;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// A client that trusts the broker's authority only.
pub fn client() -> Client {
    let authority = fs::read(variable("AWS_CA_BUNDLE")).expect("the authority's certificate");
    let trusted = TrustStore::empty().with_pem_certificate(authority);
    let context = TlsContext::builder().with_trust_store(trusted).build().expect("a TLS context");
    let http =
        Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https();
    let (key, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(variable("AWS_ENDPOINT_URL"))
        .region(Region::new(variable("AWS_REGION")))
        .credentials_provider(Credentials::new(key, secret, None, None, "tests"))
        .retry_config(RetryConfig::disabled())
        .http_client(http)
        .build();
    Client::from_conf(config)
}

/// A name that no other queue has.
pub fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    format!("rust-{}-{}", now.as_nanos(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// URL of a new queue under SSE-KMS with these attributes.
pub async fn queue(sqs: &Client, attributes: &[(QueueAttributeName, &str)]) -> String {
    let fifo = attributes.iter().any(|(name, _)| *name == QueueAttributeName::FifoQueue);
    let mut request = sqs
        .create_queue()
        .queue_name(name() + if fifo { ".fifo" } else { "" })
        .attributes(QueueAttributeName::KmsMasterKeyId, "alias/aws/sqs");
    for (name, value) in attributes {
        request = request.attributes(name.clone(), *value);
    }
    request.send().await.expect("a queue").queue_url.expect("its URL")
}

/// The value of one attribute.
pub async fn attribute(sqs: &Client, url: &str, name: QueueAttributeName) -> Option<String> {
    let reply =
        sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All).send().await;
    reply.expect("attributes").attributes.and_then(|mut found| found.remove(&name))
}

/// Up to `count` messages with all their attributes, waiting for them.
pub async fn receive(sqs: &Client, url: &str, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for _ in 0..20 {
        let asked = i32::try_from(count - messages.len()).expect("a small number").min(10);
        let request = sqs.receive_message().queue_url(url).max_number_of_messages(asked).wait_time_seconds(1);
        let request = request
            .message_attribute_names("All")
            .message_system_attribute_names(aws_sdk_sqs::types::MessageSystemAttributeName::All);
        messages.extend(request.send().await.expect("a reply").messages.unwrap_or_default());
        if messages.len() >= count {
            break;
        }
    }
    messages
}
