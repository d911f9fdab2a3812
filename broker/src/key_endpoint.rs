//! The HTTP(S) connection to a key service: kept-alive connections, a bounded wait, a bounded reply.
//!
//! Knows no key service's API. Whatever keeps an answer from coming is one thing to the callers, [`NoAnswer`]; an answer
//! of any status is an answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Exchanges at a time. More wait for their turn, within their time: when the keys of thousands of principals end at once,
/// the key service is not to be run over.
pub const EXCHANGES_MAX: usize = 64;
/// Connections kept open while nobody uses them.
pub const IDLE_CONNECTIONS_MAX: usize = 8;
/// An idle connection older than this is not used again: something between may have forgotten it without a word.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest reply body that is read, bytes. A wrapped key has at most 6,144.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Where the body buffer starts: replies with a key in them never grow it, so that no copy of a key is left behind.
const REPLY_BYTES_USUAL: usize = 16 * 1024;

/// Where a key service is reached.
pub struct KeyEndpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    authority: String,
    path: String,
    timeout: Duration,
    turns: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection and the task that drives it, which ends with it: a service that has stopped leaves nothing behind.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer.
// No Debug: its body may hold a key.
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, [`REPLY_BYTES_MAX`] at most. Wiped on drop.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No connection.
    #[error("cannot connect to {authority}: {source}")]
    Connect {
        /// Host and port.
        authority: String,
        /// Why.
        source: std::io::Error,
    },
    /// No TLS on the connection.
    #[error("TLS with {authority} failed: {source}")]
    Tls {
        /// Host and port.
        authority: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke, or what came over it is no HTTP.
    #[error("the connection to {authority} failed: {source}")]
    Http {
        /// Host and port.
        authority: String,
        /// Why.
        source: hyper::Error,
    },
    /// Nothing came in time.
    #[error("no answer from {authority} within {timeout_ms} ms")]
    Timeout {
        /// Host and port.
        authority: String,
        /// How long one exchange may take.
        timeout_ms: u128,
    },
    /// Too much came.
    #[error("the reply of {authority} is longer than {REPLY_BYTES_MAX} bytes")]
    TooLong {
        /// Host and port.
        authority: String,
    },
}

/// Why an endpoint cannot be set up from its settings.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No URL with a host.
    #[error("`{url}` is no http:// or https:// URL with a host")]
    Url {
        /// As given.
        url: String,
    },
    /// The file with the certificates cannot be read.
    #[error("ca_file {}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// No certificate to check the endpoint's against.
    #[error("{place} holds no certificate that the endpoint's could be checked against")]
    NoCertificate {
        /// The file, or the system.
        place: String,
    },
    /// The TLS library refused its setup.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl KeyEndpoint {
    /// The endpoint at `url`. Does not connect. `ca_file`: PEM of the only authorities to trust; empty: the system's.
    ///
    /// # Errors
    /// [`EndpointError`]
    pub fn new(url: &str, ca_file: &Path, timeout_ms: u64) -> Result<Self, EndpointError> {
        let bad = || EndpointError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let bracketed = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        let host = bracketed.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, default_port) = match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| bad())?;
                (Some((TlsConnector::from(client_config(ca_file)?), name)), 443)
            }
            Some("http") => (None, 80),
            _ => return Err(bad()),
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let authority =
            if port == default_port { bracketed.to_owned() } else { format!("{bracketed}:{port}") };
        Ok(Self {
            host,
            port,
            tls,
            authority,
            path: uri.path().trim_end_matches('/').to_owned(),
            timeout: Duration::from_millis(timeout_ms),
            turns: Semaphore::new(EXCHANGES_MAX),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// The Host header: host, and the port where it is not the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path of the URL without a slash at its end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Sends a request and reads its reply, connecting if need be, within the endpoint's time. The request must be one
    /// that may be carried out twice: it is sent again, once, when a connection that was kept turns out to be closed.
    ///
    /// # Errors
    /// [`NoAnswer`]
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoAnswer> {
        match tokio::time::timeout(self.timeout, self.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => {
                // What was open may lead nowhere.
                self.idle.lock().clear();
                let timeout_ms = self.timeout.as_millis();
                Err(NoAnswer::Timeout { authority: self.authority.clone(), timeout_ms })
            }
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoAnswer> {
        // Never closed: waiting for a turn cannot fail.
        let _turn = self.turns.acquire().await;
        if let Some(connection) = self.take_idle() {
            match self.send(connection, request.clone()).await {
                // Closed by the other side while it was idle: that says nothing of the service.
                Err(NoAnswer::Http { .. }) => {}
                answer => return answer,
            }
        }
        self.send(self.connect().await?, request).await
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        while let Some(Idle { connection, since }) = idle.pop() {
            if !connection.sender.is_closed() && since.elapsed() < IDLE_MAX {
                return Some(connection);
            }
        }
        None
    }

    async fn send(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Reply, NoAnswer> {
        let broken = |source| NoAnswer::Http { authority: self.authority.clone(), source };
        connection.sender.ready().await.map_err(broken)?;
        let response = connection.sender.send_request(request).await.map_err(broken)?;
        let (head, mut incoming) = response.into_parts();
        let mut body = Zeroizing::new(Vec::with_capacity(REPLY_BYTES_USUAL));
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else { continue };
            if body.len() + data.len() > REPLY_BYTES_MAX {
                return Err(NoAnswer::TooLong { authority: self.authority.clone() });
            }
            body.extend_from_slice(data);
        }
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(Idle { connection, since: Instant::now() });
        }
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    async fn connect(&self) -> Result<Connection, NoAnswer> {
        let authority = || self.authority.clone();
        let refused = |source| NoAnswer::Connect { authority: authority(), source };
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        match &self.tls {
            None => self.handshake(tcp).await,
            Some((connector, name)) => {
                let tls = connector.connect(name.clone(), tcp).await;
                self.handshake(tls.map_err(|source| NoAnswer::Tls { authority: authority(), source })?).await
            }
        }
    }

    async fn handshake<IO>(&self, io: IO) -> Result<Connection, NoAnswer>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(io))
            .await
            .map_err(|source| NoAnswer::Http { authority: self.authority.clone(), source })?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the key service ended");
            }
        });
        Ok(Connection { sender, driver })
    }
}

fn client_config(ca_file: &Path) -> Result<Arc<ClientConfig>, EndpointError> {
    let mut roots = RootCertStore::empty();
    let place = if ca_file.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        "the system's certificate store".to_owned()
    } else {
        let unreadable = |source| EndpointError::Pem { path: ca_file.to_owned(), source };
        for certificate in CertificateDer::pem_file_iter(ca_file).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?)?;
        }
        format!("ca_file {}", ca_file.display())
    };
    if roots.is_empty() {
        return Err(EndpointError::NoCertificate { place });
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
