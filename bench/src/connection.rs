//! One keep-alive HTTP/1.1 connection, plain or TLS, that does nothing but what a signed POST needs.
//!
//! A full HTTP client costs more CPU a request than the broker does; here the request is one write of
//! prepared bytes, and the reply is read into one reused buffer. It understands Content-Length, chunked
//! replies and `Connection: close`, and refuses the rest.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::BenchError;

/// Longest reply head that is waited for, bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest reply body that is read, bytes: ten messages of 1 MiB with every character escaped, and room.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where to connect, and how.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Host and port, as in the Host header.
    pub(crate) authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection and its two buffers.
pub(crate) struct Connection {
    endpoint: Endpoint,
    stream: Option<Stream>,
    /// The next request, whole.
    pub(crate) request: Vec<u8>,
    received: Vec<u8>,
    unchunked: Vec<u8>,
}

/// A reply, borrowed from its connection.
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Endpoint {
    /// `url`: `http(s)://host:port`; `ca_file`: PEM of the only authority to trust, needed for https.
    pub(crate) fn new(url: &str, ca_file: Option<&std::path::Path>) -> Result<Endpoint, BenchError> {
        let bad = || BenchError::Endpoint(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
        let authority = rest.trim_end_matches('/').to_owned();
        if authority.is_empty() || authority.contains('/') {
            return Err(bad());
        }
        let tls = match scheme {
            "http" => None,
            "https" => {
                let host = authority.rsplit_once(':').map_or(authority.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(host).map_err(|error| BenchError::Tls(error.to_string()))?;
                Some((connector(ca_file)?, name))
            }
            _ => return Err(bad()),
        };
        Ok(Endpoint { authority, tls })
    }

    async fn connect(&self) -> Result<Stream, BenchError> {
        let address = match (&self.tls, self.authority.rsplit_once(':')) {
            (_, Some((_, port))) if port.parse::<u16>().is_ok() => self.authority.clone(),
            (Some(_), _) => format!("{}:443", self.authority),
            (None, _) => format!("{}:80", self.authority),
        };
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Stream::Plain(tcp),
            Some((connector, name)) => Stream::Tls(Box::new(connector.connect(name.clone(), tcp).await?)),
        })
    }
}

fn connector(ca_file: Option<&std::path::Path>) -> Result<TlsConnector, BenchError> {
    let Some(path) = ca_file else { return Err(BenchError::Tls("an https endpoint needs --ca-file".into())) };
    let tls_error = |error: &dyn std::fmt::Display| BenchError::Tls(format!("{}: {error}", path.display()));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| tls_error(&error))? {
        let certificate = certificate.map_err(|error| tls_error(&error))?;
        roots.add(certificate).map_err(|error| tls_error(&error))?;
    }
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Connection {
    /// Connects lazily: the first exchange opens it.
    pub(crate) fn new(endpoint: Endpoint) -> Connection {
        Connection {
            endpoint,
            stream: None,
            request: Vec::with_capacity(16 * 1024),
            received: Vec::with_capacity(64 * 1024),
            unchunked: Vec::new(),
        }
    }

    /// Opens the connection now, so that the handshake is outside of what is measured.
    pub(crate) async fn open(&mut self) -> Result<(), BenchError> {
        if self.stream.is_none() {
            self.stream = Some(self.endpoint.connect().await?);
        }
        Ok(())
    }

    /// Drops the connection; the next exchange opens a new one.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Sends `self.request` and reads one reply.
    pub(crate) async fn exchange(&mut self) -> Result<Reply<'_>, BenchError> {
        self.open().await?;
        let Some(stream) = self.stream.as_mut() else {
            return Err(BenchError::Reply("no connection"));
        };
        stream.write(&self.request).await?;
        self.received.clear();
        let head = loop {
            stream.read(&mut self.received).await?;
            match Head::parse(&self.received)? {
                Some(head) => break head,
                None if self.received.len() > HEAD_BYTES_MAX => {
                    return Err(BenchError::Reply("the head is too long"));
                }
                None => {}
            }
        };
        let body = match head.content_length {
            Some(length) if length > BODY_BYTES_MAX => return Err(BenchError::Reply("the body is too long")),
            Some(length) => {
                while self.received.len() < head.len + length {
                    stream.read(&mut self.received).await?;
                }
                &self.received[head.len..head.len + length]
            }
            None if head.chunked => {
                loop {
                    self.unchunked.clear();
                    if unchunk(&self.received[head.len..], &mut self.unchunked)? {
                        break;
                    }
                    if self.received.len() > BODY_BYTES_MAX {
                        return Err(BenchError::Reply("the body is too long"));
                    }
                    stream.read(&mut self.received).await?;
                }
                self.unchunked.as_slice()
            }
            None => return Err(BenchError::Reply("neither Content-Length nor chunked")),
        };
        if head.close {
            self.stream = None;
        }
        Ok(Reply { status: head.status, body })
    }
}

impl Stream {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        match self {
            Stream::Plain(tcp) => tcp.write_all(bytes).await?,
            Stream::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await?;
            }
        }
        Ok(())
    }

    async fn read(&mut self, into: &mut Vec<u8>) -> Result<(), BenchError> {
        let read = match self {
            Stream::Plain(tcp) => tcp.read_buf(into).await?,
            Stream::Tls(tls) => tls.read_buf(into).await?,
        };
        if read == 0 { Err(BenchError::Reply("the peer closed the connection")) } else { Ok(()) }
    }
}

struct Head {
    len: usize,
    status: u16,
    content_length: Option<usize>,
    chunked: bool,
    close: bool,
}

impl Head {
    /// `None`: the head is not here in full yet.
    fn parse(bytes: &[u8]) -> Result<Option<Head>, BenchError> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let text =
            std::str::from_utf8(&bytes[..end]).map_err(|_| BenchError::Reply("the head is not text"))?;
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or(BenchError::Reply("no HTTP/1 status line"))?;
        let close = line.starts_with("HTTP/1.0");
        let mut head = Head { len: end + 4, status, content_length: None, chunked: false, close };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| BenchError::Reply("bad Content-Length"))?;
                head.content_length = Some(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }
}

/// Appends the decoded chunks to `out`; false while the last one is missing.
fn unchunk(mut bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, BenchError> {
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|line| {
            let digits = line.split(';').next().unwrap_or_default();
            usize::from_str_radix(digits.trim(), 16).ok()
        });
        let size = size.filter(|size| *size <= BODY_BYTES_MAX).ok_or(BenchError::Reply("bad chunk size"))?;
        let Some(data) = bytes[end + 2..].get(..size + 2) else { return Ok(false) };
        if size == 0 {
            return Ok(true);
        }
        out.extend_from_slice(&data[..size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_whole_only_with_its_blank_line() {
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n").unwrap().is_none());
        let head = Head::parse(b"HTTP/1.1 403 Forbidden\r\ncontent-LENGTH: 2\r\n\r\n{}").unwrap().unwrap();
        assert_eq!((head.status, head.content_length, head.close), (403, Some(2), false));
    }

    #[test]
    fn http_1_0_and_connection_close_end_the_connection() {
        assert!(Head::parse(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap().unwrap().close);
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").unwrap().unwrap().close);
    }

    #[test]
    fn chunks_are_joined_and_an_open_end_is_waited_for() {
        let mut out = Vec::new();
        assert!(!unchunk(b"3\r\nabc\r\n", &mut out).unwrap());
        out.clear();
        assert!(unchunk(b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n", &mut out).unwrap());
        assert_eq!(out, b"abcde");
        assert!(unchunk(b"zz\r\n", &mut Vec::new()).is_err());
    }

    #[test]
    fn an_endpoint_is_a_scheme_and_an_authority() {
        assert_eq!(Endpoint::new("http://127.0.0.1:9323/", None).unwrap().authority, "127.0.0.1:9323");
        assert!(Endpoint::new("127.0.0.1:9323", None).is_err());
        assert!(Endpoint::new("ftp://127.0.0.1", None).is_err());
        assert!(Endpoint::new("https://127.0.0.1:9324", None).is_err(), "no authority to trust");
    }
}
