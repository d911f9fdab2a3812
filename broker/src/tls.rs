//! TLS of the HTTPS listener: certificate, key, and how they are replaced while the broker runs.

mod authority;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

pub use authority::{AuthorityError, MadeCertificate, make};

/// Certificate and key in use, and where they came from.
pub struct ServerTls {
    cert_file: PathBuf,
    key_file: PathBuf,
    slot: Arc<CertificateSlot>,
    config: Arc<ServerConfig>,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("{}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file holds none.
    #[error("{}: no certificate in it", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not go together, or cannot be used at all.
    #[error("{} and {}: {source}", cert_file.display(), key_file.display())]
    Unusable {
        /// The certificate.
        cert_file: PathBuf,
        /// The key.
        key_file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The TLS library refused its own setup.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

impl ServerTls {
    /// Loads a PEM certificate chain (leaf first) and its PEM key.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(cert_file: &Path, key_file: &Path) -> Result<Self, TlsError> {
        let slot = Arc::new(CertificateSlot(ArcSwap::from_pointee(certified_key(cert_file, key_file)?)));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&slot) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // Tickets keep resumption state with the client: no session table to bound here.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            slot,
            config: Arc::new(config),
        })
    }

    /// For [`Listener::bind`](crate::listener::Listener::bind).
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads both files again. Handshakes from now on use what they hold; connections there are stay.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.slot.0.store(Arc::new(certified_key(&self.cert_file, &self.key_file)?));
        Ok(())
    }
}

fn in_file(path: &Path) -> impl Fn(rustls_pki_types::pem::Error) -> TlsError {
    move |source| TlsError::Pem { path: path.to_owned(), source }
}

/// The certificates of a PEM file.
///
/// # Errors
/// [`TlsError::Pem`], [`TlsError::NoCertificate`]
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(|certificates| certificates.collect())
        .map_err(in_file(file))?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: file.to_owned() });
    }
    Ok(found)
}

fn certified_key(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(in_file(key_file))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| TlsError::Unusable {
        cert_file: cert_file.to_owned(),
        key_file: key_file.to_owned(),
        source,
    })
}

/// The certificate that handshakes use. One for every name: a broker has one.
#[derive(Debug)]
struct CertificateSlot(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for CertificateSlot {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, made: &MadeCertificate) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("c.pem"), folder.join("k.pem"));
        std::fs::write(&cert, &made.server_pem).unwrap();
        std::fs::write(&key, made.server_key_pem.as_bytes()).unwrap();
        (cert, key)
    }

    #[test]
    fn a_reload_takes_the_new_certificate_and_keeps_the_old_on_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = files(folder.path(), &make(&[]).unwrap());
        let tls = ServerTls::load(&cert, &key).unwrap();
        let first = tls.slot.0.load_full();
        let second = make(&[]).unwrap();
        std::fs::write(&cert, &second.server_pem).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Unusable { .. })), "certificate of another key");
        assert!(Arc::ptr_eq(&first, &tls.slot.0.load_full()));
        files(folder.path(), &second);
        tls.reload().unwrap();
        assert_ne!(first.cert, tls.slot.0.load_full().cert);
    }

    #[test]
    fn files_that_hold_nothing_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = files(folder.path(), &make(&[]).unwrap());
        std::fs::write(&cert, "").unwrap();
        let error = ServerTls::load(&cert, &key).err().unwrap().to_string();
        assert!(error.contains("c.pem"), "{error}");
        let error = ServerTls::load(&cert, &folder.path().join("none")).err().unwrap().to_string();
        assert!(error.contains("c.pem") || error.contains("none"), "{error}");
    }
}
