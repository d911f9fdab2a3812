//! One connection: handshake, HTTP/1.1 or HTTP/2, and its end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response};
use http_body_util::Full;
use hyper::Request;
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::{Front, HANDSHAKE_TIMEOUT, HEADER_READ_TIMEOUT, SHUTDOWN_GRACE};
use crate::inbound::Service;
use crate::signals::StopWatch;

/// Requests of one HTTP/2 connection that may be under way: long polls hold one each.
const STREAMS_MAX: u32 = 1024;
/// Bytes that one HTTP/2 stream may send ahead. Below the body cap: the byte budget decides before more is taken.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that one HTTP/2 connection may send ahead, all streams together.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// A silent HTTP/2 client is asked whether it is there, and closed when it does not answer.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// What becomes of a connection's requests.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Serve,
    /// There are too many connections.
    Refuse,
}

/// Serves one connection until it ends.
pub(super) async fn run<S: Service>(
    front: Arc<Front<S>>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    stop: StopWatch,
    role: Role,
) {
    // Replies are written whole: waiting for more to send would only add the client's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY refused");
    }
    let Some(tls) = tls else { return http(front, stream, (peer, false), stop, role).await };
    let mut stopping = stop.clone();
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream));
    let handshake = tokio::select! {
        handshake = handshake => handshake,
        () = stopping.stopped() => return,
    };
    match handshake {
        Ok(Ok(stream)) => http(front, stream, (peer, true), stop, role).await,
        Ok(Err(error)) => debug!(%error, %peer, "TLS handshake failed"),
        Err(_) => debug!(%peer, "TLS handshake took too long"),
    }
}

/// The reply to HEAD: it says how long the body would be (RFC 9110, section 9.3.2) and HTTP/2 lets none follow.
fn without_body(reply: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut head, body) = reply.into_parts();
    if let Some(bytes) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, bytes.into());
    }
    Response::from_parts(head, Full::default())
}

async fn http<S: Service, I>(
    front: Arc<Front<S>>,
    stream: I,
    (peer, tls): (SocketAddr, bool),
    mut stop: StopWatch,
    role: Role,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let service = {
        let (front, asked) = (Arc::clone(&front), Arc::clone(&asked));
        service_fn(move |request: Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let front = Arc::clone(&front);
            async move {
                let head_only = request.method() == Method::HEAD;
                let reply = match role {
                    Role::Serve => front.answer(request, peer.ip(), tls).await,
                    Role::Refuse => front.refuse_connection(request).await,
                };
                Ok::<_, Infallible>(if head_only { without_body(reply) } else { reply })
            }
        })
    };
    let builder = builder();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));

    // hyper times heads, but not the wait for the first byte, by which it tells the two versions apart.
    let mut first = pin!(tokio::time::sleep(HEADER_READ_TIMEOUT));
    let mut waiting_for_first = true;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = &mut first, if waiting_for_first => {
                waiting_for_first = false;
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = stop.stopped() => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(SHUTDOWN_GRACE, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    Err(_) => return,
                }
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, %peer, "connection ended");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        // A client that closes its sending half has gone: the answer to its long poll must not take messages.
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
