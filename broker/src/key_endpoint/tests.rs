//! A real socket on the other side, driven byte by byte.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const TIMEOUT_MS: u64 = 400;

async fn listener() -> (TcpListener, KeyEndpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/base/", listener.local_addr().unwrap());
    (listener, KeyEndpoint::new(&url, Path::new(""), TIMEOUT_MS).unwrap())
}

fn request(endpoint: &KeyEndpoint) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri(format!("{}/x", endpoint.path()))
        .header("host", endpoint.authority())
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap()
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let mut len = 0;
    while !bytes[..len].ends_with(b"body") {
        let more = socket.read(&mut bytes[len..]).await.unwrap();
        assert!(more > 0, "closed");
        len += more;
    }
    String::from_utf8(bytes[..len].to_vec()).unwrap()
}

async fn answer(socket: &mut TcpStream, body: &str) {
    let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_used_again_and_replaced_when_the_other_side_has_closed_it() {
    let (listener, endpoint) = listener().await;
    let service = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        let head = read_request(&mut first).await;
        assert!(head.starts_with("POST /base/x HTTP/1.1\r\n"), "{head}");
        answer(&mut first, "one").await;
        read_request(&mut first).await;
        answer(&mut first, "two").await;
        // Read and thrown away, as by a service that is restarted at this moment.
        read_request(&mut first).await;
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        read_request(&mut second).await;
        answer(&mut second, "three").await;
    });
    for expected in ["one", "two", "three"] {
        let reply = endpoint.exchange(request(&endpoint)).await.unwrap();
        assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, expected.as_bytes()));
    }
    service.await.unwrap();
}

#[tokio::test]
async fn what_keeps_an_answer_from_coming_is_told_apart_and_never_waited_for_longer_than_the_limit() {
    let (listener, endpoint) = listener().await;
    let address = listener.local_addr().unwrap();
    // Accepted by the kernel, read by nobody.
    let silent = endpoint.exchange(request(&endpoint)).await;
    assert!(
        matches!(silent, Err(NoAnswer::Timeout { timeout_ms, .. }) if timeout_ms == u128::from(TIMEOUT_MS))
    );

    let service = tokio::spawn(async move {
        // The connection that was given up is closed from the other side.
        let (mut given_up, _) = listener.accept().await.unwrap();
        let mut rest = Vec::new();
        given_up.read_to_end(&mut rest).await.unwrap();
        let (mut torn, _) = listener.accept().await.unwrap();
        read_request(&mut torn).await;
        torn.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
        drop(torn);
        let (mut flood, _) = listener.accept().await.unwrap();
        read_request(&mut flood).await;
        answer(&mut flood, &"x".repeat(REPLY_BYTES_MAX + 1)).await;
        let (mut full, _) = listener.accept().await.unwrap();
        read_request(&mut full).await;
        answer(&mut full, &"x".repeat(REPLY_BYTES_MAX)).await;
    });
    assert!(matches!(endpoint.exchange(request(&endpoint)).await, Err(NoAnswer::Http { .. })));
    assert!(matches!(endpoint.exchange(request(&endpoint)).await, Err(NoAnswer::TooLong { .. })));
    assert_eq!(endpoint.exchange(request(&endpoint)).await.unwrap().body.len(), REPLY_BYTES_MAX);
    service.await.unwrap();

    let closed = KeyEndpoint::new(&format!("http://{address}"), Path::new(""), TIMEOUT_MS).unwrap();
    assert!(matches!(closed.exchange(request(&closed)).await, Err(NoAnswer::Connect { .. })));
}

#[tokio::test]
async fn one_exchange_past_the_limit_waits_for_its_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let endpoint = Arc::new(KeyEndpoint::new(&url, Path::new(""), 60_000).unwrap());
    let exchanges: Vec<_> = (0..=EXCHANGES_MAX)
        .map(|_| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move { endpoint.exchange(request(&endpoint)).await.unwrap().status })
        })
        .collect();
    let mut sockets = Vec::new();
    for _ in 0..EXCHANGES_MAX {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        sockets.push(socket);
    }
    let early = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(early.is_err(), "a connection more than there are turns");
    for socket in &mut sockets {
        answer(socket, "ok").await;
    }
    // The last one comes over a connection that has become free.
    let last = tokio::spawn(async move {
        for at in (0..EXCHANGES_MAX).cycle() {
            let looked = tokio::time::timeout(Duration::from_millis(5), sockets[at].peek(&mut [0])).await;
            if matches!(looked, Ok(Ok(1))) {
                read_request(&mut sockets[at]).await;
                answer(&mut sockets[at], "ok").await;
                return sockets;
            }
        }
        sockets
    });
    for exchange in exchanges {
        assert_eq!(exchange.await.unwrap(), StatusCode::OK);
    }
    last.await.unwrap();
}

#[test]
fn the_host_header_names_the_port_where_it_is_not_the_schemes_own() {
    for (url, authority, path) in [
        ("http://127.0.0.1:9323", "127.0.0.1:9323", ""),
        ("http://[::1]:80/", "[::1]", ""),
        ("http://localhost/kms/", "localhost", "/kms"),
    ] {
        let endpoint = KeyEndpoint::new(url, Path::new(""), TIMEOUT_MS).unwrap();
        assert_eq!((endpoint.authority(), endpoint.path()), (authority, path));
    }
    for url in ["", "kms.example.net", "ftp://kms.example.net", "http://"] {
        assert!(matches!(KeyEndpoint::new(url, Path::new(""), 1), Err(EndpointError::Url { .. })), "{url}");
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let missing = KeyEndpoint::new("https://kms.example.net", Path::new("/nonexistent.pem"), 1);
    assert!(matches!(missing, Err(EndpointError::Pem { .. })));
    let empty = KeyEndpoint::new("https://kms.example.net", file.path(), 1);
    assert!(matches!(empty, Err(EndpointError::NoCertificate { .. } | EndpointError::Pem { .. })));
}
