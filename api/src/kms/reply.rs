//! Reply bodies: one JSON object, written member by member.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::json::push_json_string;

/// A reply in the making. Empty it renders to an empty body: the form of actions without output.
#[derive(Default)]
pub struct ReplyBody {
    out: Vec<u8>,
}

// Replies carry plaintexts: no byte is printed.
impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReplyBody({} bytes)", self.out.len())
    }
}

impl ReplyBody {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A text.
    #[must_use]
    pub fn text(mut self, member: &str, value: &str) -> Self {
        self.name(member);
        push_json_string(value, &mut self.out);
        self
    }

    /// Bytes, in base64.
    #[must_use]
    pub fn blob(mut self, member: &str, value: &[u8]) -> Self {
        self.name(member);
        push_json_string(&zeroize::Zeroizing::new(STANDARD.encode(value)), &mut self.out);
        self
    }

    /// A date, given in milliseconds since 1970; a number of seconds on the wire.
    #[must_use]
    pub fn date(mut self, member: &str, at_ms: u64) -> Self {
        self.name(member);
        self.out.extend_from_slice(format!("{}.{:03}", at_ms / 1_000, at_ms % 1_000).as_bytes());
        self
    }

    /// A number.
    #[must_use]
    pub fn number(mut self, member: &str, value: u64) -> Self {
        self.name(member);
        self.out.extend_from_slice(value.to_string().as_bytes());
        self
    }

    /// A boolean.
    #[must_use]
    pub fn flag(mut self, member: &str, value: bool) -> Self {
        self.name(member);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// A structure or list that says itself how it looks.
    ///
    /// # Errors
    /// Its own; types with text keys have none.
    pub fn nested(mut self, member: &str, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        self.name(member);
        serde_json::to_writer(&mut self.out, value)?;
        Ok(self)
    }

    /// `Truncated`, and `NextMarker` when there is more.
    #[must_use]
    pub fn page(self, next_marker: Option<&str>) -> Self {
        let body = self.flag("Truncated", next_marker.is_some());
        match next_marker {
            Some(marker) => body.text("NextMarker", marker),
            None => body,
        }
    }

    /// The bytes.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.out.is_empty() {
            self.out.push(b'}');
        }
        self.out
    }

    fn name(&mut self, member: &str) {
        self.out.push(if self.out.is_empty() { b'{' } else { b',' });
        push_json_string(member, &mut self.out);
        self.out.push(b':');
    }
}
