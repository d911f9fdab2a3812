//! Why settings were refused, in words an operator can act on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::Origin;

/// Settings that were refused. The text names where the mistake stands and what is allowed there.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file cannot be read.
    #[error("{}: cannot read the settings: {source}", path.display())]
    Unreadable {
        /// The settings file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The settings file is no TOML, or has an unknown key, or a value of the wrong type.
    #[error("{}:{line}:{column}: {}{problem}", path.display(), InKey(key))]
    File {
        /// The settings file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Key it stands under; empty where there is none.
        key: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// An environment variable names no setting, or its value is refused.
    #[error("environment variable {name}: {problem}")]
    Variable {
        /// The variable.
        name: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
    /// A value has the right type but is not allowed.
    #[error("{origin}: {key}: {problem}; allowed: {allowed}")]
    NotAllowed {
        /// Where the value came from.
        origin: Origin,
        /// The key, as `limits.connections` or `account[0].user[1].name`.
        key: String,
        /// What is wrong with it. Never shows a secret.
        problem: String,
        /// What is allowed.
        allowed: String,
    },
    /// A file that a setting points at cannot be read.
    #[error("{origin}: {key}: cannot read {}: {source}", path.display())]
    PointedAt {
        /// Where the setting came from.
        origin: Origin,
        /// The key.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

struct InKey<'a>(&'a str);

impl fmt::Display for InKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}
