//! The access key, read from an AWS shared-credentials file. Never printed.

use std::path::Path;

use crate::error::BenchError;

/// One access key.
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
}

impl Credentials {
    /// Reads `profiles` of the shared-credentials file at `path`.
    pub(crate) fn load(path: &Path, profiles: &[String]) -> Result<Vec<Credentials>, BenchError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| BenchError::File { path: path.to_owned(), source })?;
        let one = |profile: &String| {
            parse(&text, profile)
                .ok_or_else(|| BenchError::NoProfile { path: path.to_owned(), profile: profile.clone() })
        };
        profiles.iter().map(one).collect()
    }
}

fn parse(text: &str, profile: &str) -> Option<Credentials> {
    let (mut key, mut secret, mut token) = (None, None, None);
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
            continue;
        }
        if !inside || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim().to_owned();
        match name.trim() {
            "aws_access_key_id" => key = Some(value),
            "aws_secret_access_key" => secret = Some(value),
            "aws_session_token" => token = Some(value),
            _ => {}
        }
    }
    Some(Credentials { access_key_id: key?, secret_access_key: secret?, session_token: token })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "[other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = no\n\
        [default]\n# comment\naws_access_key_id=AKIADEFAULT\naws_secret_access_key = a/b+c=\n";

    #[test]
    fn the_named_profile_is_read_and_no_other() {
        let found = parse(FILE, "default").unwrap();
        assert_eq!(found.access_key_id, "AKIADEFAULT");
        assert_eq!(found.secret_access_key, "a/b+c=");
        assert!(found.session_token.is_none());
        assert!(parse(FILE, "absent").is_none());
    }
}
