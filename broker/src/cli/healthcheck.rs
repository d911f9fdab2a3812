//! `sealq healthcheck`: asks `/readyz`, for containers without curl.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sealq_config::Config;

use super::{Exit, Sources, say, say_error, settings};

const TIMEOUT: Duration = Duration::from_secs(3);
const STATUS_LINE_BYTES_MAX: u64 = 256;

/// Whom to ask.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Base URL of the broker (default: the listener of the settings).
    #[arg(long)]
    url: Option<String>,
}

/// Why there was no answer, or not the right one.
#[derive(Debug, thiserror::Error)]
enum HealthcheckError {
    #[error("`{url}` is no http:// or https:// URL")]
    Url { url: String },
    #[error("{url}: {source}")]
    Io { url: String, source: io::Error },
    #[error("{url}: TLS: {source}")]
    Tls { url: String, source: rustls::Error },
    #[error("{url} says: {status}")]
    NotReady { url: String, status: String },
}

/// Runs it.
pub fn run(sources: &Sources, arguments: &Arguments) -> Exit {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => match settings(sources).map(|loaded| listener(&loaded.config)) {
            Ok(Some(url)) => url,
            Ok(None) => {
                say("sealq: no listener with a fixed port in the settings: give --url URL");
                return Exit::Failed;
            }
            // This command has only two answers.
            Err(_) => return Exit::Failed,
        },
    };
    match ask(&url) {
        Ok(()) => Exit::Done,
        Err(error) => {
            say_error(&error);
            Exit::Failed
        }
    }
}

/// The listener to ask, not the public URL: what stands between is not asked about.
fn listener(config: &Config) -> Option<String> {
    let http = config.listen.http.socket().map(|address| ("http", address));
    let (scheme, address) =
        http.or_else(|| config.listen.https.socket().map(|address| ("https", address)))?;
    (address.port() != 0).then(|| format!("{scheme}://{}", super::env::reachable(address)))
}

fn ask(url: &str) -> Result<(), HealthcheckError> {
    let no_url = || HealthcheckError::Url { url: url.to_owned() };
    let io = |source| HealthcheckError::Io { url: url.to_owned(), source };
    let uri: Uri = url.parse().map_err(|_| no_url())?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(no_url()),
    };
    let bracketed = uri.host().ok_or_else(no_url)?;
    let host = bracketed.trim_start_matches('[').trim_end_matches(']');
    let stream = connect(host, uri.port_u16().unwrap_or(if tls { 443 } else { 80 })).map_err(io)?;
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {bracketed}\r\nconnection: close\r\n\r\n");
    let status = if tls {
        let failed = |source| HealthcheckError::Tls { url: url.to_owned(), source };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| no_url())?;
        let client =
            ClientConnection::new(Arc::new(client_config().map_err(failed)?), name).map_err(failed)?;
        status_line(StreamOwned::new(client, stream), &request)
    } else {
        status_line(stream, &request)
    };
    let status = status.map_err(io)?;
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(HealthcheckError::NotReady { url: url.to_owned(), status }),
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn status_line(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut line = Vec::new();
    BufReader::new(stream.take(STATUS_LINE_BYTES_MAX)).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn client_config() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

/// Takes any certificate. Nothing secret is sent and one word is learnt, and a check over loopback must not
/// fail for a certificate made for the public name.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(reply: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(reply.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn only_a_200_is_ready() {
        assert!(ask(&answering("HTTP/1.1 200 OK\r\n\r\n")).is_ok());
        let error = ask(&answering("HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap_err();
        assert!(error.to_string().contains("503"), "{error}");
        assert!(ask(&answering("garbage 2000")).is_err());
        assert!(ask(&answering("")).is_err());
    }

    #[test]
    fn what_is_no_url_or_not_there_is_said() {
        assert!(matches!(ask("127.0.0.1:1"), Err(HealthcheckError::Url { .. })));
        assert!(matches!(ask("ftp://127.0.0.1"), Err(HealthcheckError::Url { .. })));
        assert!(matches!(ask("http://127.0.0.1:1"), Err(HealthcheckError::Io { .. })));
    }

    #[tokio::test]
    async fn a_broker_over_tls_is_asked_whatever_its_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let made = crate::tls::make(&[]).unwrap();
        let (cert, key) = (folder.path().join("c"), folder.path().join("k"));
        std::fs::write(&cert, &made.server_pem).unwrap();
        std::fs::write(&key, made.server_key_pem.as_bytes()).unwrap();
        let tls = crate::tls::ServerTls::load(&cert, &key).unwrap().acceptor();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let asked = tokio::task::spawn_blocking(move || ask(&url));
        let mut stream = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        asked.await.unwrap().unwrap();
    }
}
