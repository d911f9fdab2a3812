//! One request: limits, body, health, then the service.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderValue, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Body, Incoming};
use sealq_config::{ByteSize, Limits, ProxyNetwork};
use tokio::sync::Semaphore;

use super::forwarded;
use super::inflight::{InflightBytes, Reservation};
use super::refusal::Refusal;
use super::{BODY_BYTES_MAX, BODY_READ_TIMEOUT};
use crate::health::Health;
use crate::inbound::{Inbound, Service};

/// What a request holds beside its body: head, parsed form, reply.
const REQUEST_OVERHEAD_BYTES: u64 = 4 << 10;
/// Of a body that is refused so much is read and thrown away, so that a client that writes before it reads
/// learns the reason. It takes no memory.
const DRAIN_BYTES_MAX: u64 = 4 * BODY_BYTES_MAX as u64;
/// Connections over the limit that are told so at one time; more are closed without a word.
const REFUSED_CONNECTIONS_MAX: usize = 64;
/// Scrapers are few.
const METRICS_CONNECTIONS_MAX: usize = 64;
/// Scrapes have no bodies.
const METRICS_INFLIGHT_MAX: ByteSize = ByteSize::mib(1);

/// Limits of the HTTPS and HTTP listeners together.
#[derive(Clone, Debug)]
pub struct FrontLimits {
    /// Open connections.
    pub connections: usize,
    /// Bytes of requests being worked on.
    pub memory_inflight: ByteSize,
    /// Proxies whose `X-Forwarded-*` counts.
    pub trusted_proxies: Vec<ProxyNetwork>,
}

impl FrontLimits {
    /// From the settings.
    pub fn new(limits: &Limits, trusted_proxies: &[ProxyNetwork]) -> Self {
        Self {
            connections: limits.connections,
            memory_inflight: limits.memory_inflight,
            trusted_proxies: trusted_proxies.to_vec(),
        }
    }

    /// For the metrics listener: it has limits of its own, so that a broker under load can still be looked at.
    pub const fn for_metrics() -> Self {
        Self {
            connections: METRICS_CONNECTIONS_MAX,
            memory_inflight: METRICS_INFLIGHT_MAX,
            trusted_proxies: Vec::new(),
        }
    }
}

/// What all listeners of a service share: the service, health, limits.
pub struct Front<S> {
    service: Arc<S>,
    health: Arc<Health>,
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    inflight: Arc<InflightBytes>,
    trusted_proxies: Vec<ProxyNetwork>,
}

impl<S: Service> Front<S> {
    /// A front for `service`. One serves any number of listeners, which then share its limits.
    pub fn new(service: Arc<S>, health: Arc<Health>, limits: FrontLimits) -> Arc<Self> {
        Arc::new(Self {
            service,
            health,
            connections: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(REFUSED_CONNECTIONS_MAX)),
            inflight: InflightBytes::new(limits.memory_inflight.bytes()),
            trusted_proxies: limits.trusted_proxies,
        })
    }

    /// Bytes of requests being worked on now.
    pub fn inflight_bytes(&self) -> u64 {
        self.inflight.taken()
    }

    pub(super) fn connections(&self) -> &Arc<Semaphore> {
        &self.connections
    }

    /// Places for connections over the limit, which only learn why they are refused.
    pub(super) fn refusals(&self) -> &Arc<Semaphore> {
        &self.refusals
    }

    /// Answers a request on a connection over the limit. Health is told all the same: a broker with many clients is not
    /// a broken one.
    pub(super) async fn refuse_connection(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if let Some(mut answer) = self.health.answer(&head.method, head.uri.path()) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return answer;
        }
        refuse(Refusal::TooManyConnections, &head.headers, head.version, Some(body)).await
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        tls: bool,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        if let Some(answer) = self.health.answer(&head.method, head.uri.path()) {
            return answer;
        }
        // Held until the reply is built: it is what bounds the memory of requests under way.
        let (body, _reservation) = match self.read(body).await {
            Ok(read) => read,
            Err(Unread { refusal, rest }) => return refuse(refusal, &head.headers, head.version, rest).await,
        };
        let client = forwarded::client(&head.headers, peer, tls, &self.trusted_proxies);
        self.service
            .handle(Inbound {
                method: head.method,
                uri: head.uri,
                headers: head.headers,
                body,
                secure: client.secure,
                peer: client.peer,
                version: head.version,
            })
            .await
    }

    async fn read(&self, mut body: Incoming) -> Result<(Bytes, Reservation), Unread> {
        let said = body.size_hint().exact();
        if said.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(Unread { refusal: Refusal::BodyTooLarge, rest: Some(body) });
        }
        let Some(mut reservation) = self.inflight.reserve(REQUEST_OVERHEAD_BYTES + said.unwrap_or(0)) else {
            return Err(Unread { refusal: Refusal::Overloaded, rest: Some(body) });
        };
        if body.is_end_stream() {
            return Ok((Bytes::new(), reservation));
        }
        match tokio::time::timeout(BODY_READ_TIMEOUT, collect(&mut body, said, &mut reservation)).await {
            Ok(Ok(whole)) => Ok((whole, reservation)),
            Ok(Err(refusal)) => Err(Unread { refusal, rest: Some(body) }),
            Err(_) => Err(Unread { refusal: Refusal::BodyTooSlow, rest: None }),
        }
    }
}

/// A request that was refused before its body was read to the end.
struct Unread {
    refusal: Refusal,
    rest: Option<Incoming>,
}

async fn collect(
    body: &mut Incoming,
    said: Option<u64>,
    reservation: &mut Reservation,
) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // The connection is broken: whatever is answered here, nobody reads it.
        let Ok(data) = frame.map_err(|_| Refusal::BodyTooSlow)?.into_data() else { continue };
        let have = if whole.is_empty() { first.len() } else { whole.len() };
        let will_have = have + data.len();
        if will_have > BODY_BYTES_MAX {
            return Err(Refusal::BodyTooLarge);
        }
        // A body of unknown length is paid for as it comes.
        if said.is_none() && !reservation.grow_to(REQUEST_OVERHEAD_BYTES + will_have as u64) {
            return Err(Refusal::Overloaded);
        }
        if have == 0 {
            // Most bodies are one frame: it is handed on without a copy.
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(said.map_or(will_have, |bytes| bytes as usize));
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

async fn refuse(
    refusal: Refusal,
    headers: &HeaderMap,
    version: Version,
    rest: Option<Incoming>,
) -> Response<Full<Bytes>> {
    metrics::counter!(crate::metrics_exporter::REQUESTS_SHED, "reason" => refusal.reason()).increment(1);
    // What is too long to be thrown away, or waits for leave to be sent, is answered at once.
    let rest = rest.filter(|rest| {
        rest.size_hint().lower() <= DRAIN_BYTES_MAX && !headers.contains_key(http::header::EXPECT)
    });
    let drained = match rest {
        Some(rest) => tokio::time::timeout(BODY_READ_TIMEOUT, drain(rest)).await.unwrap_or(false),
        None => false,
    };
    refusal.reply(headers, version, drained)
}

/// Reads the rest and throws it away; whether its end came.
async fn drain(mut rest: Incoming) -> bool {
    let mut drained = 0;
    while let Some(frame) = rest.frame().await {
        let Ok(frame) = frame else { return false };
        drained += frame.data_ref().map_or(0, |data| data.len() as u64);
        if drained > DRAIN_BYTES_MAX {
            return false;
        }
    }
    true
}
