//! Log lines of the process: to stderr, filtered by `SEALQ_LOG`, as text or JSON by `SEALQ_LOG_FORMAT`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Variable with the filter, as `info` or `sealq=trace,warn`.
pub const FILTER_VARIABLE: &str = "SEALQ_LOG";
/// Variable with the form: `text` or `json`.
pub const FORMAT_VARIABLE: &str = "SEALQ_LOG_FORMAT";
const DEFAULT_FILTER: &str = "info";
/// The short name of the daemon's own crates in a filter.
const SHORT_NAME: &str = "sealq";
const OWN_CRATES: [&str; 5] = ["sealq_broker", "sealq_api", "sealq_config", "sealq_crypto", "sealq_storage"];

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter is none.
    #[error(
        "{FILTER_VARIABLE}: {0}; allowed: a level (error, warn, info, debug, trace), or target=level with commas between"
    )]
    Filter(#[from] ParseError),
    /// The form is unknown.
    #[error("{FORMAT_VARIABLE}: `{found}` is unknown; allowed: text, json")]
    Format {
        /// What was given.
        found: String,
    },
}

/// Sends log lines to stderr from now on. A second call changes nothing.
///
/// # Errors
/// [`LoggingError`]
pub fn start() -> Result<(), LoggingError> {
    let given = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.is_empty());
    let filter = EnvFilter::try_new(expanded(given.as_deref().unwrap_or(DEFAULT_FILTER)))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let format = std::env::var(FORMAT_VARIABLE).unwrap_or_default();
    // An error says that somebody else set a subscriber before, who then goes on.
    let _ = match format.as_str() {
        "" | "text" => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        "json" => lines.json().flatten_event(true).try_init(),
        _ => return Err(LoggingError::Format { found: format }),
    };
    Ok(())
}

/// `sealq=LEVEL` stands for all crates of the daemon.
fn expanded(filter: &str) -> String {
    let expand = |directive: &str| match directive.trim().strip_prefix(SHORT_NAME) {
        Some(rest) if rest.is_empty() || rest.starts_with(['=', ':', '[']) => {
            OWN_CRATES.map(|own| format!("{own}{rest}")).join(",")
        }
        _ => directive.trim().to_owned(),
    };
    filter.split(',').map(expand).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_name_stands_for_every_crate() {
        let filter = expanded("sealq=trace, hyper=warn,info");
        assert!(filter.starts_with("sealq_broker=trace,sealq_api=trace,"), "{filter}");
        assert!(filter.ends_with("hyper=warn,info"), "{filter}");
        assert!(EnvFilter::try_new(&filter).is_ok());
    }

    #[test]
    fn other_names_are_left_alone() {
        assert_eq!(expanded("sealq_storage=debug"), "sealq_storage=debug");
        assert_eq!(expanded("debug"), "debug");
    }
}
