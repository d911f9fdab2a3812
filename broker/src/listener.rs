//! The HTTP and HTTPS listeners: sockets in, whole requests out to a [`Service`].
//!
//! Every limit of the edge stands here and below: open connections, time to send a head, size of a body, bytes of
//! requests being worked on. A request is answered on its connection's own task; when the client goes away, the
//! service's future is dropped with it, in the midst of a long poll too. Knows nothing of SQS beyond the form in which a
//! refusal is written.

mod connection;
mod forwarded;
mod front;
mod inflight;
mod refusal;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use connection::Role;
pub use front::{Front, FrontLimits};

use crate::inbound::Service;
use crate::signals::StopWatch;

/// Largest request body that is read; more is answered with 413. Eight times what a batch may hold, for attributes and
/// the encoding around them.
pub const BODY_BYTES_MAX: usize = 8 << 20;
/// How long a connection may take to send a request's head, idle time before it included. Longer than the 60 s for
/// which SDKs keep idle connections, so that it is they who close them.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may take to send a body.
pub const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection over the limit may take to ask and to be refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(3);
/// How long requests under way may take once the word to stop is given.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// After an accept that failed for want of something (files, memory): time for others to give some back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket, with TLS or without.
pub struct Listener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

impl Listener {
    /// Opens `address`. Requests wait in the backlog until [`Front::serve`] takes them. Needs a tokio runtime.
    ///
    /// # Errors
    /// The address is taken or not allowed.
    pub async fn bind(address: SocketAddr, tls: Option<TlsAcceptor>) -> Result<Self, BindError> {
        let refuse = |source| BindError { address, source };
        let socket = TcpListener::bind(address).await.map_err(refuse)?;
        Ok(Self { socket, tls })
    }

    /// Where it listens; with the port that the system chose for port 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl<S: Service> Front<S> {
    /// Takes connections until `stop`, then lets what is under way finish, [`SHUTDOWN_GRACE`] at most.
    pub async fn serve(self: Arc<Self>, listener: Listener, mut stop: StopWatch) {
        // Every connection holds a sender; when the last is gone, so is the last connection.
        let (open, mut closed) = mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                accepted = listener.socket.accept() => accepted,
                () = stop.stopped() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.take(stream, peer, listener.tls.clone(), stop.clone(), open.clone())
                }
                Err(error) => {
                    // A client that went away while in the backlog is no reason to wait.
                    if error.kind() != io::ErrorKind::ConnectionAborted {
                        warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        drop(listener);
        drop(open);
        if tokio::time::timeout(SHUTDOWN_GRACE, closed.recv()).await.is_err() {
            debug!("connections were cut at the end of the grace period");
        }
    }

    /// Starts one connection's task. When there are too many, the client is told so and let go: one that is refused at
    /// once tries again, one that hangs in the backlog does not know.
    fn take(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
        stop: StopWatch,
        open: mpsc::Sender<()>,
    ) {
        let front = Arc::clone(self);
        if let Ok(place) = Arc::clone(self.connections()).try_acquire_owned() {
            tokio::spawn(async move {
                connection::run(front, stream, peer, tls, stop, Role::Serve).await;
                drop((place, open));
            });
            return;
        }
        metrics::counter!(crate::metrics_exporter::CONNECTIONS_REFUSED).increment(1);
        if let Ok(place) = Arc::clone(self.refusals()).try_acquire_owned() {
            tokio::spawn(async move {
                let refused = connection::run(front, stream, peer, tls, stop, Role::Refuse);
                if tokio::time::timeout(REFUSAL_TIMEOUT, refused).await.is_err() {
                    debug!(%peer, "a connection over the limit did not ask anything in time");
                }
                drop((place, open));
            });
        }
    }
}

#[cfg(test)]
mod tests;
