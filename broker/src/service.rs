//! The one service behind both listeners: tells SQS, KMS and STS apart, establishes the caller, answers.
//!
//! Told apart as AWS does: by the target header, by the action, by the scope of the signature.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use parking_lot::RwLock;
use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::kms::{KmsErrorName, KmsErrorReply, Named, TARGET_PREFIX};
use sealq_api::sigv4::{ServiceFamily, SigV4Failure};
use sealq_api::sqs::queue_url::locate_queue;
use sealq_api::sqs::{Action, Protocol, WireRequest, find_action, parse};
use sealq_api::sts::{StsErrorCode, StsErrorReply, StsRequest};
use sealq_config::Listen;

use crate::authenticate::{Authenticator, Unauthenticated};
use crate::caller::Caller;
use crate::inbound::{Inbound, Service};
use crate::kms::KmsApi;
use crate::metrics_exporter::{REQUEST_DURATION, REQUESTS};
use crate::queues::is_encrypted;
use crate::sqs::{Context, SqsService};
use crate::sts::StsService;

/// Label of what has no name of its own.
const UNKNOWN: &str = "unknown";

const STS_ACTIONS: [&str; 3] = ["GetCallerIdentity", "AssumeRole", "GetSessionToken"];

/// Everything that the listeners serve.
pub struct Broker {
    /// Callers.
    pub authenticator: Arc<Authenticator>,
    /// SQS.
    pub sqs: SqsService,
    /// KMS; `None` where another key service keeps the keys.
    pub kms: Option<KmsApi>,
    /// STS.
    pub sts: StsService,
    /// Addresses, for the queue URLs handed out.
    pub listen: Listen,
    /// What is counted of requests.
    pub metrics: RequestMetrics,
}

/// A reply, and what the metrics call it.
struct Answer {
    response: Response<Full<Bytes>>,
    series: Series,
}

/// (service, action, code): the labels of a request's metrics. All are names known beforehand, so that a caller cannot
/// make new series.
type Series = (&'static str, &'static str, &'static str);

/// The metrics of requests, by series: looking one up costs no allocation.
#[derive(Default)]
pub struct RequestMetrics {
    handles: RwLock<HashMap<Series, (metrics::Counter, metrics::Histogram)>>,
}

impl RequestMetrics {
    fn record(&self, series: Series, took: Duration) {
        if let Some((requests, duration)) = self.handles.read().get(&series) {
            requests.increment(1);
            duration.record(took.as_secs_f64());
            return;
        }
        let (service, action, code) = series;
        let labels = [("service", service), ("action", action), ("code", code)];
        let handles = (metrics::counter!(REQUESTS, &labels), metrics::histogram!(REQUEST_DURATION, &labels));
        handles.0.increment(1);
        handles.1.record(took.as_secs_f64());
        self.handles.write().insert(series, handles);
    }
}

impl Service for Broker {
    async fn handle(&self, inbound: Inbound) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let request_id: Arc<str> = uuid::Uuid::from_bytes(random_id()).to_string().into();
        let mut answer = self.answer(&inbound, &request_id).await;
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            answer.response.headers_mut().insert(HeaderName::from_static("x-amzn-requestid"), value);
        }
        self.metrics.record(answer.series, started.elapsed());
        answer.response
    }
}

impl Broker {
    async fn answer(&self, inbound: &Inbound, request_id: &Arc<str>) -> Answer {
        let target = header(&inbound.headers, "x-amz-target");
        if let Some(target) = target.filter(|target| target.starts_with(TARGET_PREFIX)) {
            return self.answer_kms(target, inbound, request_id).await;
        }
        let named = |name| header(&inbound.headers, name);
        let protocol = Protocol::detect(target, named("content-type"), named("accept"));
        if protocol != Protocol::Json && is_sts(inbound) {
            return self.answer_sts(inbound, request_id);
        }
        self.answer_sqs(protocol, target, inbound, request_id).await
    }

    async fn answer_sqs(
        &self,
        protocol: Protocol,
        target: Option<&str>,
        inbound: &Inbound,
        request_id: &Arc<str>,
    ) -> Answer {
        let wire = WireRequest {
            protocol,
            method: inbound.method.as_str(),
            path: inbound.uri.path(),
            query: inbound.uri.query().unwrap_or(""),
            target,
            body: &inbound.body,
        };
        let action = find_action(&wire);
        let name = action.as_ref().map_or(UNKNOWN, |action| action.name());
        let replied = match action {
            Ok(_) => self.sqs_reply(&wire, inbound, request_id).await,
            Err(error) => Err(error),
        };
        let (response, code) = match replied {
            Ok(body) => (reply(StatusCode::OK, protocol.content_type(), body), "200"),
            Err(error) => {
                let mut body = Vec::with_capacity(256);
                error.render(protocol, request_id, &mut body);
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut response = reply(status, error.content_type(protocol), body);
                if protocol == Protocol::Json
                    && let Ok(value) = HeaderValue::from_str(&error.query_error_header())
                {
                    response.headers_mut().insert(HeaderName::from_static("x-amzn-query-error"), value);
                }
                (response, error.code.query_code())
            }
        };
        Answer { response, series: ("sqs", name, code) }
    }

    async fn sqs_reply(
        &self,
        wire: &WireRequest<'_>,
        inbound: &Inbound,
        request_id: &Arc<str>,
    ) -> Result<Vec<u8>, ErrorReply> {
        let caller = match self.authenticator.authenticate(inbound, "sqs", request_id) {
            Ok(caller) => caller,
            Err(Unauthenticated::Failed(failure)) => return Err(sqs_failure(&failure)),
            Err(Unauthenticated::OtherScheme(failure)) => return Err(self.other_scheme(wire, &failure)),
        };
        let request = parse(wire)?;
        let base_url = self.base_url(inbound);
        // Who does not say who it is, is not told about what it asked for either.
        let denied = || {
            let text = format!("Access to the resource {base_url}/ is denied.");
            ErrorReply::new(ErrorCode::AccessDenied, text)
        };
        if caller.is_anonymous() && request.queue_url().is_none() {
            return Err(denied());
        }
        let context = Context {
            caller: &caller,
            base_url: &base_url,
            protocol: wire.protocol,
            request_id,
            trace_header: header(&inbound.headers, "x-amzn-trace-id").filter(|header| !header.is_empty()),
        };
        let replied = self.sqs.answer(&request, context).await;
        match replied {
            Err(error) if caller.is_anonymous() && error.code == ErrorCode::AccessDenied => Err(denied()),
            replied => replied,
        }
    }

    /// Another signature scheme: on an encrypted queue that is a matter of its security rule.
    fn other_scheme(&self, wire: &WireRequest<'_>, failure: &SigV4Failure) -> ErrorReply {
        let encrypted = parse(wire).ok().and_then(|request| {
            let locator = locate_queue(request.queue_url()?).ok()?;
            let queue = self.sqs.queues.find(locator.account?, locator.name)?;
            Some(is_encrypted(&queue.record.settings))
        });
        if encrypted == Some(true) {
            return ErrorReply::new(
                ErrorCode::InvalidSecurity,
                "All requests to this queue must use HTTPS and SigV4.",
            );
        }
        sqs_failure(failure)
    }

    async fn answer_kms(&self, target: &str, inbound: &Inbound, request_id: &Arc<str>) -> Answer {
        let name = Named::of_target(target).name().map_or(UNKNOWN, |(name, _)| name);
        let replied = self.kms_reply(target, inbound, request_id).await;
        let (response, code) = match replied {
            Ok(body) => (reply(StatusCode::OK, sealq_api::kms::CONTENT_TYPE, body), "200"),
            Err(error) => {
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (reply(status, sealq_api::kms::CONTENT_TYPE, error.render()), error.name.as_str())
            }
        };
        Answer { response, series: ("kms", name, code) }
    }

    async fn kms_reply(
        &self,
        target: &str,
        inbound: &Inbound,
        request_id: &Arc<str>,
    ) -> Result<Vec<u8>, KmsErrorReply> {
        let failed = |failure: &SigV4Failure| {
            let code = failure.code(ServiceFamily::Kms);
            let name = KmsErrorName::from_name(code).unwrap_or(KmsErrorName::InvalidSignatureException);
            KmsErrorReply::new(name, failure.message().to_owned())
        };
        let caller = match self.authenticator.authenticate(inbound, "kms", request_id) {
            Ok(caller) => caller,
            Err(Unauthenticated::Failed(failure) | Unauthenticated::OtherScheme(failure)) => {
                return Err(failed(&failure));
            }
        };
        if caller.is_anonymous() {
            return Err(failed(&SigV4Failure::missing_token()));
        }
        // A plain request that has not left the machine shows its data keys to nobody who could not read them anyway.
        let exposed = !caller.secure_transport && !caller.source_ip.to_canonical().is_loopback();
        if exposed && !self.authenticator.is_emulator() {
            return Err(KmsErrorReply::new(
                KmsErrorName::AccessDeniedException,
                "The key service is served over HTTPS only, but for requests from this machine.",
            ));
        }
        let Some(kms) = &self.kms else {
            return Err(KmsErrorReply::new(
                KmsErrorName::UnsupportedOperationException,
                "The keys of this broker are kept by another key service (kms.provider): ask that one.",
            ));
        };
        kms.answer(target, &inbound.body, &caller).await
    }

    fn answer_sts(&self, inbound: &Inbound, request_id: &Arc<str>) -> Answer {
        let action = action_of(inbound).unwrap_or_default();
        let (response, code) = match self.sts_reply(inbound, request_id) {
            Ok(body) => (reply(StatusCode::OK, "text/xml", body), "200"),
            Err(error) => {
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (reply(status, "text/xml", error.render(request_id)), error.code.as_str())
            }
        };
        let known = STS_ACTIONS.into_iter().find(|known| *known == action);
        Answer { response, series: ("sts", known.unwrap_or(UNKNOWN), code) }
    }

    fn sts_reply(&self, inbound: &Inbound, request_id: &Arc<str>) -> Result<Vec<u8>, StsErrorReply> {
        let failed = |failure: &SigV4Failure| {
            let code = failure.code(ServiceFamily::Query);
            let code = StsErrorCode::from_code(code).unwrap_or(StsErrorCode::SignatureDoesNotMatch);
            StsErrorReply::new(code, failure.message().to_owned())
        };
        let caller: Caller = match self.authenticator.authenticate(inbound, "sts", request_id) {
            Ok(caller) => caller,
            Err(Unauthenticated::Failed(failure) | Unauthenticated::OtherScheme(failure)) => {
                return Err(failed(&failure));
            }
        };
        if caller.is_anonymous() {
            return Err(failed(&SigV4Failure::missing_token()));
        }
        let query = inbound.uri.query().unwrap_or("");
        let request = StsRequest::parse(query.as_bytes(), &inbound.body)?;
        self.sts.answer(&request, &caller, request_id)
    }

    /// The base of queue URLs: as configured, or the address of the listener that was asked. A Host header counts only
    /// where the broker listens on every address and so does not know its own.
    fn base_url(&self, inbound: &Inbound) -> String {
        if !self.listen.public_url.is_empty() {
            return self.listen.public_url.trim_end_matches('/').to_owned();
        }
        let (scheme, listener) =
            if inbound.secure { ("https", &self.listen.https) } else { ("http", &self.listen.http) };
        match listener.socket() {
            Some(address) if !address.ip().is_unspecified() && address.port() != 0 => {
                format!("{scheme}://{address}")
            }
            _ => {
                let host = inbound.uri.authority().map(http::uri::Authority::as_str);
                format!(
                    "{scheme}://{}",
                    host.or_else(|| header(&inbound.headers, "host")).unwrap_or("localhost")
                )
            }
        }
    }
}

fn sqs_failure(failure: &SigV4Failure) -> ErrorReply {
    let code = failure.code(ServiceFamily::Query);
    let code = ErrorCode::ALL.iter().find(|known| known.query_code() == code);
    ErrorReply::new(*code.unwrap_or(&ErrorCode::SignatureDoesNotMatch), failure.message().to_owned())
}

/// STS requests carry an action of STS, or one that nobody knows and a signature scoped to it.
fn is_sts(inbound: &Inbound) -> bool {
    let action = action_of(inbound).unwrap_or_default();
    let authorization = header(&inbound.headers, "authorization").unwrap_or("");
    STS_ACTIONS.contains(&action.as_str())
        || (authorization.contains("/sts/aws4_request") && Action::by_name(&action).is_none())
}

/// The Action parameter of a query or form request.
fn action_of(inbound: &Inbound) -> Option<String> {
    let query = inbound.uri.query().unwrap_or("").as_bytes();
    [query, &inbound.body].iter().find_map(|part| {
        part.split(|byte| *byte == b'&').find_map(|pair| {
            let value = pair.strip_prefix(b"Action=")?;
            std::str::from_utf8(value).ok().filter(|value| value.len() <= 64).map(str::to_owned)
        })
    })
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A request id: unique, not secret. Without randomness all requests would share one, which costs traces only.
fn random_id() -> [u8; 16] {
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        return [0; 16];
    }
    *uuid::Builder::from_random_bytes(bytes).into_uuid().as_bytes()
}
