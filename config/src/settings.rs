//! Every setting of the daemon, typed, with its default.
//!
//! What a key means, its unit and its bounds are written in `default.toml`; a test holds the two together.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::accounts::{Account, SenderService};
use crate::{ByteSize, ListenAddress, ProxyNetwork, Secret};

/// The settings of one daemon.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the log, the checkpoints and the audit file lie.
    pub data_dir: PathBuf,
    /// Where the root key, the TLS key and the first credentials lie. Never inside `data_dir`.
    pub secrets_dir: PathBuf,
    /// Region, account and partition of this broker.
    pub identity: Identity,
    /// Where it listens.
    pub listen: Listen,
    /// Certificate of the HTTPS listener.
    pub tls: Tls,
    /// How callers are authenticated.
    pub auth: Auth,
    /// Accounts, users and roles known from the file.
    pub account: Vec<Account>,
    /// Trusted senders that act as service principals.
    pub service: Vec<SenderService>,
    /// Where data keys come from.
    pub kms: Kms,
    /// The log on disk.
    pub storage: Storage,
    /// Rules for queues that Amazon SQS fixes.
    pub queues: Queues,
    /// What protects the process from its load.
    pub limits: Limits,
    /// The audit log.
    pub audit: Audit,
    /// Where the service manager puts credentials (`$CREDENTIALS_DIRECTORY`); no setting.
    #[serde(skip)]
    pub credentials_dir: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./sealq-data"),
            secrets_dir: PathBuf::from("./sealq-secrets"),
            identity: Identity::default(),
            listen: Listen::default(),
            tls: Tls::default(),
            auth: Auth::default(),
            account: Vec::new(),
            service: Vec::new(),
            kms: Kms::default(),
            storage: Storage::default(),
            queues: Queues::default(),
            limits: Limits::default(),
            audit: Audit::default(),
            credentials_dir: None,
        }
    }
}

impl Config {
    /// Whether `path` is a credential of the service manager: read-only, and its access rights are the manager's.
    pub fn is_credential(&self, path: &Path) -> bool {
        self.credentials_dir.as_ref().is_some_and(|directory| path.starts_with(directory))
    }

    /// File of the embedded KMS's root key.
    pub fn root_key_file(&self) -> PathBuf {
        self.set_or(&self.kms.embedded.root_key_file, || self.secrets_dir.join("root.key"))
    }

    /// The audit log.
    pub fn audit_file(&self) -> PathBuf {
        self.set_or(&self.audit.file, || self.data_dir.join("audit").join("audit.jsonl"))
    }

    /// The file that says which record of the audit log is the last. In `data_dir`, wherever the log itself is: what
    /// lies beside that one is records.
    pub fn audit_mark_file(&self) -> PathBuf {
        self.data_dir.join("audit.mark")
    }

    /// Certificate and key of the HTTPS listener when both are given; otherwise they are made at first start.
    pub fn given_certificate(&self) -> Option<(&Path, &Path)> {
        let given = !self.tls.cert_file.as_os_str().is_empty();
        given.then_some((&self.tls.cert_file, &self.tls.key_file))
    }

    fn set_or(&self, set: &Path, default: impl FnOnce() -> PathBuf) -> PathBuf {
        if set.as_os_str().is_empty() { default() } else { set.to_owned() }
    }
}

/// `[identity]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Region in ARNs.
    pub region: String,
    /// Regions accepted in the scope of a signature, beside `region`; `*` accepts any.
    pub regions: Vec<String>,
    /// Account of the root key made at first start. 12 digits.
    pub account_id: String,
    /// Partition in ARNs.
    pub partition: String,
}

impl Identity {
    /// Whether a signature scoped to `region` is accepted.
    pub fn accepts_region(&self, region: &str) -> bool {
        region == self.region || self.regions.iter().any(|accepted| accepted == "*" || accepted == region)
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            regions: vec!["us-east-1".to_owned()],
            account_id: "000000000000".to_owned(),
            partition: "aws".to_owned(),
        }
    }
}

/// `[listen]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// TLS listener.
    pub https: ListenAddress,
    /// Plain listener; queues with encryption on refuse it.
    pub http: ListenAddress,
    /// Prometheus listener.
    pub metrics: ListenAddress,
    /// Base of the queue URLs handed out, without a slash at its end; empty: as the caller addressed the broker.
    pub public_url: String,
    /// Proxies whose `X-Forwarded-Proto` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<ProxyNetwork>,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| ListenAddress::at(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            https: loopback(9324),
            http: loopback(9323),
            metrics: loopback(9325),
            public_url: String::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// `[tls]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM certificate chain, leaf first; empty: made in `secrets_dir/tls`.
    pub cert_file: PathBuf,
    /// PEM private key; empty: made in `secrets_dir/tls`.
    pub key_file: PathBuf,
}

/// `[auth]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Whether requests must be signed. Off only for emulator use.
    pub require_signatures: bool,
    /// How far the time of a signature may lie from the broker's clock, in seconds.
    pub clock_skew_seconds: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self { require_signatures: true, clock_skew_seconds: 900 }
    }
}

/// `[kms]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kms {
    /// Which of the three below serves.
    pub provider: KmsProvider,
    /// SealQ's own KMS.
    pub embedded: EmbeddedKms,
    /// An endpoint with the AWS KMS API.
    pub aws: AwsKms,
    /// OpenBao or Vault transit.
    pub openbao: OpenBaoKms,
}

/// Where data keys come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KmsProvider {
    /// SealQ's own KMS, in this process.
    #[default]
    Embedded,
    /// An endpoint with the AWS KMS API.
    Aws,
    /// OpenBao or Vault transit.
    OpenBao,
}

/// `[kms.embedded]`
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedKms {
    /// Root key; empty: `secrets_dir/root.key`. Read it through [`Config::root_key_file`].
    pub root_key_file: PathBuf,
    /// Passphrase of the root key; empty: none, or what `passphrase_file` holds.
    pub passphrase: Secret,
    /// File that holds the passphrase; empty: none.
    pub passphrase_file: PathBuf,
}

/// `[kms.aws]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AwsKms {
    /// URL of the endpoint; plain `http://` on a loopback address only.
    pub endpoint: String,
    /// Region of the signatures; empty: `identity.region`.
    pub region: String,
    /// Access key the broker signs with.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: Secret,
    /// Session token of temporary credentials; empty: they are not.
    pub session_token: Secret,
    /// PEM certificates that the endpoint's is checked against; empty: the system's.
    pub ca_file: PathBuf,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for AwsKms {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            region: String::new(),
            access_key_id: String::new(),
            secret_access_key: Secret::default(),
            session_token: Secret::default(),
            ca_file: PathBuf::new(),
            timeout_ms: 2000,
        }
    }
}

/// `[kms.openbao]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenBaoKms {
    /// URL of the server; plain `http://` on a loopback address only.
    pub address: String,
    /// Namespace of the transit engine; empty: the root namespace.
    pub namespace: String,
    /// Mount path of the transit engine.
    pub mount: String,
    /// File with the token.
    pub token_file: PathBuf,
    /// PEM certificates that the server's is checked against; empty: the system's.
    pub ca_file: PathBuf,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for OpenBaoKms {
    fn default() -> Self {
        Self {
            address: String::new(),
            namespace: String::new(),
            mount: "transit".to_owned(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            timeout_ms: 2000,
        }
    }
}

/// `[storage]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Size of one segment file.
    pub segment_bytes: ByteSize,
    /// How the log is written.
    pub io: Io,
    /// Number of shards.
    pub shards: u32,
    /// Below so much free space sends are refused.
    pub free_space_min: ByteSize,
}

impl Default for Storage {
    fn default() -> Self {
        Self { segment_bytes: ByteSize::mib(64), io: Io::Auto, shards: 1, free_space_min: ByteSize::gib(1) }
    }
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Io {
    /// io_uring where the kernel allows it, threads elsewhere.
    #[default]
    Auto,
    /// io_uring or no start.
    IoUring,
    /// A thread with pwrite and fdatasync.
    Threads,
}

/// `[queues]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Queues {
    /// How long a deleted queue's name stays refused, in seconds.
    pub recreate_wait_seconds: u64,
}

impl Default for Queues {
    fn default() -> Self {
        Self { recreate_wait_seconds: 60 }
    }
}

/// `[limits]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of requests being worked on before load is shed.
    pub memory_inflight: ByteSize,
    /// Open connections of the HTTPS and HTTP listeners together.
    pub connections: usize,
    /// Queues with metric series of their own; the rest are summed under `queue="_other"`.
    pub queue_series_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_inflight: ByteSize::mib(256), connections: 10_000, queue_series_max: 1000 }
    }
}

/// `[audit]`
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// The file; empty: `data_dir/audit/audit.jsonl`. Read it through [`Config::audit_file`].
    pub file: PathBuf,
    /// Beyond this size a file is renamed and another one goes on.
    pub rotate_bytes: ByteSize,
}

impl Default for Audit {
    fn default() -> Self {
        Self { file: PathBuf::new(), rotate_bytes: ByteSize::mib(64) }
    }
}
