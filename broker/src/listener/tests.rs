//! The listeners over real sockets: limits, disconnects, shutdown, TLS.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use sealq_config::ByteSize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;
use crate::health::Health;
use crate::inbound::Inbound;
use crate::signals::Stop;
use crate::tls::{ServerTls, make};

/// Answers at once with what it was asked, or holds `/wait` until its future is dropped.
#[derive(Default)]
struct Echo {
    waiting: AtomicUsize,
    secure: AtomicBool,
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for Echo {
    async fn handle(&self, inbound: Inbound) -> Response<Full<Bytes>> {
        self.secure.store(inbound.secure, Ordering::SeqCst);
        if inbound.uri.path() == "/wait" {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let _waiting = Waiting(&self.waiting);
            std::future::pending::<()>().await;
        }
        if inbound.uri.path() == "/slow" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let mut response = Response::new(Full::new(inbound.body));
        response
            .headers_mut()
            .insert("x-http2", http::HeaderValue::from(u16::from(inbound.version == Version::HTTP_2)));
        response
    }
}

struct Running {
    address: SocketAddr,
    service: Arc<Echo>,
    front: Arc<Front<Echo>>,
    health: Arc<Health>,
    stop: Stop,
    ended: tokio::task::JoinHandle<()>,
}

async fn start(limits: FrontLimits, tls: Option<TlsAcceptor>) -> Running {
    let (service, health, stop) = (Arc::new(Echo::default()), Arc::new(Health::new()), Stop::new());
    let front = Front::new(Arc::clone(&service), Arc::clone(&health), limits);
    let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), tls).await.unwrap();
    let address = listener.local_addr().unwrap();
    let ended = tokio::spawn(Arc::clone(&front).serve(listener, stop.watch()));
    Running { address, service, front, health, stop, ended }
}

fn limits() -> FrontLimits {
    FrontLimits { connections: 100, memory_inflight: ByteSize::mib(32), trusted_proxies: Vec::new() }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came: {what}");
}

/// Sends `request` whole and reads until the other side closes.
async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[tokio::test]
async fn a_request_reaches_the_service_whole_and_plain_http_is_not_secure() {
    let running = start(limits(), None).await;
    let body = "x".repeat(300_000);
    let reply = exchange(running.address, &post("/", &body)).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{}", &reply[..200]);
    assert!(reply.ends_with(&body));
    assert!(!running.service.secure.load(Ordering::SeqCst));
    until("bytes given back", || running.front.inflight_bytes() == 0).await;
}

#[tokio::test]
async fn a_body_at_the_limit_is_read_and_one_byte_more_is_413() {
    let running = start(limits(), None).await;
    let whole = exchange(running.address, &post("/", &"x".repeat(BODY_BYTES_MAX))).await;
    assert!(whole.starts_with("HTTP/1.1 200"), "{}", &whole[..100]);
    let more = exchange(running.address, &post("/", &"x".repeat(BODY_BYTES_MAX + 1))).await;
    assert!(more.starts_with("HTTP/1.1 413"), "{}", &more[..100]);
    let mut chunked =
        b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..9 {
        chunked.extend_from_slice(format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20)).as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let more = exchange(running.address, &chunked).await;
    assert!(more.starts_with("HTTP/1.1 413"), "{}", &more[..100]);
}

#[tokio::test]
async fn a_body_over_the_limit_that_waits_for_leave_gets_none() {
    let running = start(limits(), None).await;
    let head = |bytes: usize| {
        format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: {bytes}\r\n\r\n"
        )
    };
    for bytes in [BODY_BYTES_MAX + 1, 100_000_000_000] {
        let refused = exchange(running.address, head(bytes).as_bytes()).await;
        assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    }
    let taken = exchange(running.address, format!("{}xyz", head(3)).as_bytes()).await;
    assert!(taken.starts_with("HTTP/1.1 100") && taken.contains("HTTP/1.1 200"), "{taken}");
}

#[tokio::test]
async fn a_spent_byte_budget_is_a_503_that_asks_to_be_tried_again() {
    let running = start(FrontLimits { memory_inflight: ByteSize::kib(64), ..limits() }, None).await;
    let reply = exchange(running.address, &post("/", &"x".repeat(100_000))).await;
    assert!(reply.starts_with("HTTP/1.1 503"), "{reply}");
    assert!(reply.to_lowercase().contains("retry-after: 1"), "{reply}");
    assert!(reply.contains("ServiceUnavailable"), "{reply}");
    let reply = exchange(running.address, &post("/", "small")).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[tokio::test]
async fn a_long_poll_is_dropped_when_its_client_goes() {
    let running = start(limits(), None).await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(&post("/wait", "body")).await.unwrap();
    until("the poll", || running.service.waiting.load(Ordering::SeqCst) == 1).await;
    assert!(running.front.inflight_bytes() > 0);
    drop(stream);
    until("its end", || running.service.waiting.load(Ordering::SeqCst) == 0).await;
    until("bytes given back", || running.front.inflight_bytes() == 0).await;
}

#[tokio::test]
async fn a_connection_over_the_limit_is_told_so_and_let_go() {
    let running = start(FrontLimits { connections: 1, ..limits() }, None).await;
    let mut first = TcpStream::connect(running.address).await.unwrap();
    first.write_all(&post("/wait", "")).await.unwrap();
    until("the poll", || running.service.waiting.load(Ordering::SeqCst) == 1).await;
    let mut keep_alive = post("/", "body");
    let close = b"connection: close\r\n";
    let at = keep_alive.windows(close.len()).position(|window| window == close).unwrap();
    keep_alive.drain(at..at + close.len());
    let reply = exchange(running.address, &keep_alive).await;
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("limits.connections"), "{reply}");
    assert!(reply.to_lowercase().contains("retry-after: 1"), "{reply}");
    running.health.set_ready(true);
    let ask = b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n";
    assert!(exchange(running.address, ask).await.starts_with("HTTP/1.1 200"));
    drop(first);
    until("its end", || running.service.waiting.load(Ordering::SeqCst) == 0).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let reply = exchange(running.address, &post("/", "again")).await;
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}

#[tokio::test]
async fn health_is_answered_without_the_service() {
    let running = start(limits(), None).await;
    let ask = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert!(exchange(running.address, ask).await.starts_with("HTTP/1.1 503"));
    running.health.set_ready(true);
    assert!(exchange(running.address, ask).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_under_way_finishes_after_the_word_to_stop_and_new_connections_are_refused() {
    let running = start(limits(), None).await;
    let slow = tokio::spawn({
        let address = running.address;
        async move { exchange(address, &post("/slow", "kept")).await }
    });
    until("the request", || running.front.inflight_bytes() > 0).await;
    // An idle connection must not hold the end up.
    let _idle = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    running.stop.stop();
    let reply = slow.await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("kept"), "{reply}");
    tokio::time::timeout(Duration::from_secs(2), running.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

async fn tls_running(folder: &std::path::Path) -> (Running, rustls::ClientConfig) {
    let made = make(&[]).unwrap();
    let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
    std::fs::write(&cert, &made.server_pem).unwrap();
    std::fs::write(&key, made.server_key_pem.as_bytes()).unwrap();
    let running = start(limits(), Some(ServerTls::load(&cert, &key).unwrap().acceptor())).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (running, client)
}

#[tokio::test]
async fn the_made_certificate_is_trusted_for_loopback_over_http1_and_http2() {
    let folder = tempfile::tempdir().unwrap();
    let (running, client) = tls_running(folder.path()).await;
    for name in ["127.0.0.1", "localhost"] {
        let mut client = client.clone();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(running.address).await.unwrap();
        let server = ServerName::try_from(name).unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(server, stream).await.unwrap();
        stream.write_all(&post("/", "hello")).await.unwrap();
        let mut reply = Vec::new();
        // A close without close_notify is an error of TLS, not of this test.
        let _ = stream.read_to_end(&mut reply).await;
        assert!(String::from_utf8_lossy(&reply).ends_with("hello"), "{name}");
        assert!(running.service.secure.load(Ordering::SeqCst));
    }
    let mut client = client;
    client.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(running.address).await.unwrap();
    let server = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    let stream = TlsConnector::from(Arc::new(client)).connect(server, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::post("https://localhost/").body(Full::new(Bytes::from_static(b"two"))).unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.headers()["x-http2"], "1");
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "two");

    let request =
        http::Request::head("https://localhost/").body(Full::new(Bytes::from_static(b"two"))).unwrap();
    let reply = sender.send_request(request).await.unwrap();
    assert_eq!(reply.headers()["content-length"], "3");
    assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "");

    // A stream that its client gives up drops the service's future, while the connection lives on.
    let wait = http::Request::post("https://localhost/wait").body(Full::new(Bytes::new())).unwrap();
    let poll = tokio::spawn(sender.send_request(wait));
    until("the poll", || running.service.waiting.load(Ordering::SeqCst) == 1).await;
    poll.abort();
    until("its end", || running.service.waiting.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn plain_text_at_the_tls_listener_is_refused_and_does_not_hold_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let (running, _) = tls_running(folder.path()).await;
    let reply = exchange(running.address, &post("/", "x")).await;
    assert!(!reply.contains("200 OK"), "{reply}");
    running.stop.stop();
    tokio::time::timeout(Duration::from_secs(2), running.ended).await.unwrap().unwrap();
}
