//! Typed settings of the daemon.
//!
//! Holds every key with its type, default and bounds, and where a value came from. `default.toml` is the reference
//! for people; a test proves that it equals [`Config::default`]. Knows nothing of what the settings do: no socket,
//! no log, no policy is touched here.

pub mod accounts;
mod address;
mod byte_size;
mod document;
mod error;
mod rules;
mod secret;
mod settings;
mod source;

pub use address::{ListenAddress, ListenAddressError, ProxyNetwork, ProxyNetworkError};
pub use byte_size::{ByteSize, ByteSizeError};
pub use error::ConfigError;
pub use secret::{REDACTED, Secret};
pub use settings::{
    Audit, Auth, AwsKms, Config, EmbeddedKms, Identity, Io, Kms, KmsProvider, Limits, Listen, OpenBaoKms,
    Queues, Storage, Tls,
};
pub use source::{FILE_VARIABLE, Loaded, Origin, Overrides, SETTINGS_FILE, Setting};

/// The reference file: every key with its default, unit, effect and bound.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");
