//! The control socket: what somebody with the broker's own rights on this machine asks of the running daemon.
//!
//! It is an abstract Unix socket named after the data directory: it leaves no file that a copy or a backup of the
//! directory would trip over, and none that a crash leaves behind. The kernel says who is at the other end: the daemon
//! listens to its own user and to root, a command speaks to the directory's owner and to root. One order a connection,
//! one connection at a time.
//!
//! An order is a line of JSON, then (for a new root key) the passphrase until the end; the answer is a line of JSON.

use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::first_start::root_key_file::Protection;
use crate::signals::StopWatch;

/// Longest order, bytes: a line, and a passphrase.
const ORDER_BYTES_MAX: usize = 16 << 10;
/// Longest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// How long an order may take to arrive.
const ORDER_WAIT: Duration = Duration::from_secs(5);
/// How long an answer may take: argon2id and a full disk are slow.
const ANSWER_WAIT: Duration = Duration::from_secs(120);
/// Pause after a connection that could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is asked.
// No Debug: it may hold a passphrase.
pub enum Order {
    /// `sealq kms rotate-root`
    RotateRoot(Protection),
    /// `sealq queue encrypt`
    EncryptQueue {
        /// Owner; the broker's own account when absent.
        account: Option<String>,
        /// Name.
        queue: String,
        /// Key id, ARN or alias.
        key: String,
    },
}

/// What was done, or why not: text for people.
pub type Answer = Result<String, String>;

/// The line of an order.
#[derive(Serialize, Deserialize)]
enum Line {
    RotateRoot { protection: ProtectionName },
    EncryptQueue { account: Option<String>, queue: String, key: String },
}

#[derive(Serialize, Deserialize)]
enum ProtectionName {
    AsBefore,
    None,
    Passphrase,
}

/// Why nothing was asked, or no answer came.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The directory cannot be looked at.
    #[error("{path}: {source}")]
    Directory {
        /// The data directory.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The socket does not work.
    #[error("the running broker cannot be spoken to: {0}")]
    Io(#[from] io::Error),
    /// Somebody else listens under the name of the directory's broker.
    #[error(
        "a process of user {found} answers for the broker of this directory, which belongs to user {owner}"
    )]
    Impostor {
        /// Whose process.
        found: u32,
        /// Whose directory.
        owner: u32,
    },
    /// The broker hung up.
    #[error("the running broker takes no orders from this user: run this as user {owner} or as root")]
    Refused {
        /// Whose directory it is.
        owner: u32,
    },
    /// It took too long.
    #[error("the running broker did not answer within {} s: see its log", ANSWER_WAIT.as_secs())]
    NoAnswer,
    /// What came is no answer.
    #[error("the running broker gave no answer: see its log")]
    Garbled,
}

/// Serves orders until the daemon stops.
///
/// # Errors
/// There is no socket: another process has its name, or the system has no Unix sockets.
pub fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    let listener = StdListener::bind_addr(&name(&std::fs::metadata(data_dir)?)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Carries out the orders that come in, one after the other. `carry_out` gets the order and the user that gave it.
pub async fn serve<F: Future<Output = Answer>>(
    listener: UnixListener,
    mut stop: StopWatch,
    mut carry_out: impl FnMut(Order, u32) -> F,
) {
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.stopped() => return,
        };
        let served = match stream {
            Ok((stream, _)) => answer(stream, &mut carry_out).await,
            Err(error) => {
                // Out of files, most likely: they come back.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                Err(error)
            }
        };
        if let Err(error) = served {
            tracing::warn!(%error, "an order on the control socket was not carried out");
        }
    }
}

async fn answer<F: Future<Output = Answer>>(
    mut stream: UnixStream,
    carry_out: &mut impl FnMut(Order, u32) -> F,
) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    if uid != own && uid != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {uid} may give no orders"),
        ));
    }
    // Reserved in one piece: a buffer that grew would leave copies of a passphrase behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(ORDER_BYTES_MAX + 1));
    let mut limited = (&mut stream).take(ORDER_BYTES_MAX as u64 + 1);
    timeout(ORDER_WAIT, async {
        while limited.read_buf(&mut *bytes).await? > 0 && bytes.len() <= ORDER_BYTES_MAX {}
        io::Result::Ok(())
    })
    .await??;
    let answer = match Order::decode(&bytes) {
        Some(order) => carry_out(order, uid).await,
        None => Err("this broker does not understand the order: use the command of the same version".into()),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(ORDER_WAIT, stream.write_all(&line)).await?
}

/// Gives an order to the broker that runs on `data_dir`. `None`: none can be reached.
///
/// # Errors
/// [`ControlError`]
pub async fn ask(data_dir: &Path, order: &Order) -> Result<Option<Answer>, ControlError> {
    let directory = |source| ControlError::Directory { path: data_dir.display().to_string(), source };
    let metadata = match std::fs::metadata(data_dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(directory(error)),
    };
    let stream = match StdStream::connect_addr(&name(&metadata)?) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    stream.set_nonblocking(true)?;
    let mut stream = UnixStream::from_std(stream)?;
    let (found, owner) = (stream.peer_cred()?.uid(), metadata.uid());
    if found != owner && found != 0 {
        return Err(ControlError::Impostor { found, owner });
    }
    let order = order.encode()?;
    let exchange = async {
        stream.write_all(&order).await?;
        stream.shutdown().await?;
        let mut line = Vec::new();
        (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut line).await?;
        io::Result::Ok(line)
    };
    let line = match timeout(ANSWER_WAIT, exchange).await {
        Err(_) => return Err(ControlError::NoAnswer),
        Ok(Err(error))
            if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
        {
            return Err(ControlError::Refused { owner });
        }
        Ok(exchanged) => exchanged?,
    };
    serde_json::from_slice(&line).map(Some).map_err(|_| ControlError::Garbled)
}

/// Directories are told apart as the kernel tells them: by device and inode, whatever path leads there.
fn name(directory: &std::fs::Metadata) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("sealq/control/{:x}/{:x}", directory.dev(), directory.ino()))
}

impl Order {
    fn encode(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let (line, passphrase): (_, &[u8]) = match self {
            Self::RotateRoot(Protection::AsBefore) => {
                (Line::RotateRoot { protection: ProtectionName::AsBefore }, b"")
            }
            Self::RotateRoot(Protection::None) => {
                (Line::RotateRoot { protection: ProtectionName::None }, b"")
            }
            Self::RotateRoot(Protection::Passphrase(passphrase)) => {
                (Line::RotateRoot { protection: ProtectionName::Passphrase }, passphrase)
            }
            Self::EncryptQueue { account, queue, key } => {
                let (account, queue, key) = (account.clone(), queue.clone(), key.clone());
                (Line::EncryptQueue { account, queue, key }, b"")
            }
        };
        let line = serde_json::to_vec(&line)?;
        let len = line.len() + 1 + passphrase.len();
        if len > ORDER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the passphrase or a name is too long"));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        bytes.extend_from_slice(&line);
        bytes.push(b'\n');
        bytes.extend_from_slice(passphrase);
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n').filter(|_| bytes.len() <= ORDER_BYTES_MAX)?;
        let (line, rest) = (serde_json::from_slice(&bytes[..end]).ok()?, &bytes[end + 1..]);
        Some(match line {
            Line::RotateRoot { protection } => Self::RotateRoot(match protection {
                ProtectionName::AsBefore => Protection::AsBefore,
                ProtectionName::None => Protection::None,
                ProtectionName::Passphrase => Protection::Passphrase(Zeroizing::new(rest.to_vec())),
            }),
            Line::EncryptQueue { account, queue, key } => Self::EncryptQueue { account, queue, key },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Stop;

    #[tokio::test]
    async fn an_order_reaches_the_broker_of_its_directory_and_no_other() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let order = Order::RotateRoot(Protection::Passphrase(Zeroizing::new(b"two\nlines".to_vec())));
        assert!(ask(one.path(), &order).await.unwrap().is_none());
        assert!(ask(&one.path().join("none"), &order).await.unwrap().is_none());
        let stop = Stop::new();
        let listener = listen(one.path()).unwrap();
        assert!(listen(one.path()).is_err());
        let served = tokio::spawn(serve(listener, stop.watch(), |order, uid| async move {
            match order {
                Order::RotateRoot(Protection::Passphrase(passphrase)) => {
                    Ok(format!("{uid} {}", String::from_utf8_lossy(&passphrase)))
                }
                _ => Err("no".into()),
            }
        }));
        let own = rustix::process::geteuid().as_raw();
        let answer = ask(one.path(), &order).await.unwrap().unwrap();
        assert_eq!(answer, Ok(format!("{own} two\nlines")));
        let encrypt = Order::EncryptQueue { account: None, queue: "q".into(), key: "alias/k".into() };
        assert_eq!(ask(one.path(), &encrypt).await.unwrap(), Some(Err("no".into())));
        assert!(ask(other.path(), &order).await.unwrap().is_none());
        assert_eq!(std::fs::read_dir(one.path()).unwrap().count(), 0, "the socket leaves no file");
        stop.stop();
        served.await.unwrap();
        assert!(ask(one.path(), &order).await.unwrap().is_none());
    }

    #[test]
    fn what_is_no_order_is_none() {
        for bytes in
            [&b""[..], b"\n", b"{}\n", b"{\"Other\":1}\n", b"{\"RotateRoot\":{\"protection\":\"AsBefore\"}}"]
        {
            assert!(Order::decode(bytes).is_none(), "{bytes:?}");
        }
        let long =
            [&b"{\"RotateRoot\":{\"protection\":\"Passphrase\"}}\n"[..], &[b'x'; ORDER_BYTES_MAX]].concat();
        assert!(Order::decode(&long).is_none());
        let fitting = &long[..ORDER_BYTES_MAX];
        assert!(Order::decode(fitting).is_some());
    }
}
