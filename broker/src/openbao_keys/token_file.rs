//! The file that holds the token: read at start, whenever it changes, and when the token is refused.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use http::HeaderValue;
use parking_lot::Mutex;
use zeroize::Zeroizing;

/// A longer file is no token, bytes.
const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Empty, too long, or with characters that no header can carry.
    #[error("{} holds no token", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

/// See the module documentation.
pub(super) struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    token: HeaderValue,
    /// When the file was changed and how long it was, as of the last look.
    seen: Option<(SystemTime, u64)>,
}

impl TokenFile {
    /// # Errors
    /// [`TokenError`]
    pub(super) fn open(path: &Path) -> Result<Self, TokenError> {
        let state = State { seen: look(path), token: read(path)? };
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The token, read anew if the file has changed. A file that has gone or is half written leaves the old one.
    pub(super) fn current(&self) -> HeaderValue {
        let mut state = self.state.lock();
        let seen = look(&self.path);
        if seen.is_some() && seen != state.seen {
            match read(&self.path) {
                Ok(token) => *state = State { token, seen },
                Err(error) => tracing::warn!(%error, "the token was not read anew: the old one stays"),
            }
        }
        state.token.clone()
    }

    /// What the file holds now, if that is not `refused`.
    pub(super) fn replaced(&self, refused: &HeaderValue) -> Option<HeaderValue> {
        let token = read(&self.path).ok().filter(|token| token != refused)?;
        self.state.lock().token = token.clone();
        Some(token)
    }
}

fn look(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata: Metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<HeaderValue, TokenError> {
    let failed = |source| TokenError::Io { path: path.to_owned(), source };
    let no_token = || TokenError::NoToken { path: path.to_owned() };
    if std::fs::metadata(path).map_err(failed)?.len() > TOKEN_BYTES_MAX {
        return Err(no_token());
    }
    let text = Zeroizing::new(std::fs::read(path).map_err(failed)?);
    let mut token = HeaderValue::from_bytes(text.trim_ascii()).map_err(|_| no_token())?;
    if token.is_empty() {
        return Err(no_token());
    }
    token.set_sensitive(true);
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_anew_and_a_broken_one_leaves_the_old_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(TokenFile::open(file.path()), Err(TokenError::NoToken { .. })));
        std::fs::write(file.path(), "first\n").unwrap();
        let token = TokenFile::open(file.path()).unwrap();
        assert_eq!(token.current(), "first");
        assert_eq!(format!("{:?}", token.current()), "Sensitive");
        std::fs::write(file.path(), "the second").unwrap();
        assert_eq!(token.current(), "the second");
        std::fs::write(file.path(), "").unwrap();
        assert_eq!(token.current(), "the second");
        std::fs::remove_file(file.path()).unwrap();
        assert_eq!(token.current(), "the second");
    }

    #[test]
    fn a_refused_token_is_replaced_by_what_the_file_holds_now() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let token = TokenFile::open(file.path()).unwrap();
        let refused = token.current();
        assert_eq!(token.replaced(&refused), None);
        std::fs::write(file.path(), "other").unwrap();
        assert_eq!(token.replaced(&refused).unwrap(), "other");
        assert_eq!(token.current(), "other");
    }

    #[test]
    fn what_no_header_can_carry_is_no_token() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["two\nlines", "nul\0", &"x".repeat(TOKEN_BYTES_MAX as usize + 1)] {
            std::fs::write(file.path(), text).unwrap();
            assert!(matches!(TokenFile::open(file.path()), Err(TokenError::NoToken { .. })));
        }
        let missing = TokenFile::open(Path::new("/nonexistent/token"));
        assert!(matches!(missing, Err(TokenError::Io { .. })));
    }
}
