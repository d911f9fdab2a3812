//! Takes the members out of a request's JSON object, gathering what is wrong with their shapes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::{KmsErrorName, KmsErrorReply};
use super::shown;
use crate::json::JsonReader;
use crate::shape::{ShapeFaults, Shown};

/// Most bytes of an encryption context as it is authenticated: each name and value with a length before it.
pub(super) const CONTEXT_BYTES_MAX: usize = 8_192;
/// Most pairs of a grant's constraint, and the longest value in it, characters.
const CONSTRAINT_PAIRS_MAX: usize = 8;
const CONSTRAINT_VALUE_CHARS_MAX: usize = 384;
/// Most grant tokens, and the longest, characters.
const GRANT_TOKENS_MAX: usize = 10;
pub(super) const GRANT_TOKEN_CHARS_MAX: usize = 8_192;

/// The members that are left, and what was wrong with those taken.
#[derive(Debug)]
pub(super) struct Members {
    left: Map<String, Value>,
    shown: Map<String, Value>,
    pub(super) faults: ShapeFaults,
}

type Taken<T> = Result<Option<T>, KmsErrorReply>;

fn unreadable() -> KmsErrorReply {
    KmsErrorReply::new(KmsErrorName::SerializationException, "")
}

impl Members {
    pub(super) fn new(body: &[u8]) -> Result<Self, KmsErrorReply> {
        if body.is_empty() {
            return Ok(Self::of(Map::new()));
        }
        // A tree of values takes many times the memory of its text: one that is too deep, or of too many of them, is
        // not built.
        let mut reader = JsonReader::new(body).map_err(|_| unreadable())?;
        reader.skip().and_then(|()| reader.end()).map_err(|_| unreadable())?;
        serde_json::from_slice(body).map(Self::of).map_err(|_| unreadable())
    }

    fn of(left: Map<String, Value>) -> Self {
        Self { left, shown: Map::new(), faults: ShapeFaults::new(Shown::No) }
    }

    /// What an audit record may show of the members taken, unless something is wrong.
    pub(super) fn finish(self) -> Result<Value, KmsErrorReply> {
        match self.faults.report() {
            Some(report) => Err(KmsErrorReply::new(KmsErrorName::ValidationException, report)),
            None => Ok(Value::Object(self.shown)),
        }
    }

    pub(super) fn required<T: Default>(&mut self, member: &str, taken: Option<T>) -> T {
        taken.unwrap_or_else(|| {
            self.faults.missing(&shown::name(member));
            T::default()
        })
    }

    pub(super) fn text(&mut self, member: &str, length: RangeInclusive<usize>) -> Taken<String> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let Value::String(text) = value else { return Err(unreadable()) };
        self.faults.text_length(&shown::name(member), &text, *length.start(), *length.end());
        Ok(Some(text))
    }

    pub(super) fn characters(
        &mut self,
        member: &str,
        length: RangeInclusive<usize>,
        pattern: &str,
        admits: fn(char) -> bool,
    ) -> Taken<String> {
        let text = self.text(member, length)?;
        if let Some(text) = &text {
            self.faults.characters(&shown::name(member), text, pattern, admits);
        }
        Ok(text)
    }

    pub(super) fn one_of(&mut self, member: &str, allowed: &[&str]) -> Taken<String> {
        let text = self.text(member, 0..=usize::MAX)?;
        if let Some(text) = &text {
            self.faults.one_of(&shown::name(member), text, allowed);
        }
        Ok(text)
    }

    pub(super) fn blob(&mut self, member: &str, length: RangeInclusive<usize>) -> Taken<Zeroizing<Vec<u8>>> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let Value::String(text) = value else { return Err(unreadable()) };
        let bytes = Zeroizing::new(STANDARD.decode(&*Zeroizing::new(text)).map_err(|_| unreadable())?);
        self.faults.length(&shown::name(member), bytes.len(), *length.start(), *length.end());
        Ok(Some(bytes))
    }

    pub(super) fn number(&mut self, member: &str, range: RangeInclusive<i64>) -> Taken<u64> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(unreadable)?;
        self.faults.range(&shown::name(member), number, *range.start(), *range.end());
        // A negative one is a fault already.
        Ok(Some(u64::try_from(number).unwrap_or(0)))
    }

    pub(super) fn flag(&mut self, member: &str) -> Result<bool, KmsErrorReply> {
        match self.take(member) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(unreadable()),
        }
    }

    /// Seconds since 1970 with a fraction, as milliseconds.
    pub(super) fn date_ms(&mut self, member: &str) -> Taken<u64> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| seconds.is_finite()).ok_or_else(unreadable)?;
        // Saturates: what lies before 1970 is 0, which no rule accepts.
        Ok(Some((seconds * 1_000.0) as u64))
    }

    pub(super) fn texts(
        &mut self,
        member: &str,
        count: RangeInclusive<usize>,
        length: RangeInclusive<usize>,
    ) -> Taken<Vec<String>> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let Value::Array(entries) = value else { return Err(unreadable()) };
        self.faults.length(&shown::name(member), entries.len(), *count.start(), *count.end());
        let texts = entries.into_iter().map(|entry| match entry {
            Value::String(text) => Ok(text),
            _ => Err(unreadable()),
        });
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        for (at, text) in texts.iter().enumerate().take(*count.end()) {
            let name = format!("{}.{}.member", shown::name(member), at + 1);
            self.faults.text_length(&name, text, *length.start(), *length.end());
        }
        Ok(Some(texts))
    }

    pub(super) fn context(&mut self, member: &str) -> Result<BTreeMap<String, String>, KmsErrorReply> {
        match self.take(member) {
            None => Ok(BTreeMap::new()),
            Some(value) => {
                let pairs = text_map(value)?;
                let bytes: usize =
                    pairs.iter().map(|(name, value)| 2 * size_of::<u64>() + name.len() + value.len()).sum();
                self.faults.length(&shown::name(member), bytes, 0, CONTEXT_BYTES_MAX);
                Ok(pairs)
            }
        }
    }

    pub(super) fn tags(&mut self, member: &str) -> Taken<Vec<(String, String)>> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let Value::Array(entries) = value else { return Err(unreadable()) };
        let mut tags = Vec::with_capacity(entries.len());
        for (at, entry) in entries.into_iter().enumerate() {
            let Value::Object(left) = entry else { return Err(unreadable()) };
            let mut tag = Members::of(left);
            let key = tag.text("TagKey", 0..=usize::MAX)?;
            let value = tag.text("TagValue", 0..=usize::MAX)?;
            for (name, text, min, max) in [("tagKey", &key, 1, 128), ("tagValue", &value, 0, 256)] {
                let name = format!("{}.{}.member.{name}", shown::name(member), at + 1);
                match text {
                    Some(text) => self.faults.text_length(&name, text, min, max),
                    None => self.faults.missing(&name),
                }
            }
            tags.push((key.unwrap_or_default(), value.unwrap_or_default()));
        }
        Ok(Some(tags))
    }

    /// Members of a structure that are maps of texts, by their names.
    fn maps<const N: usize>(
        &mut self,
        member: &str,
        names: [&str; N],
    ) -> Result<[Option<BTreeMap<String, String>>; N], KmsErrorReply> {
        let mut found = [const { None }; N];
        let Some(value) = self.take(member) else { return Ok(found) };
        let Value::Object(mut left) = value else { return Err(unreadable()) };
        for (name, slot) in names.iter().zip(&mut found) {
            *slot = left.remove(*name).filter(|value| !value.is_null()).map(text_map).transpose()?;
        }
        Ok(found)
    }

    /// The constraint of a grant: encryption context subset, encryption context equals.
    pub(super) fn constraints(&mut self) -> Result<[Option<BTreeMap<String, String>>; 2], KmsErrorReply> {
        let found = self.maps("Constraints", ["EncryptionContextSubset", "EncryptionContextEquals"])?;
        for (pairs, member) in found.iter().zip(["encryptionContextSubset", "encryptionContextEquals"]) {
            let Some(pairs) = pairs else { continue };
            let member = format!("constraints.{member}");
            self.faults.length(&member, pairs.len(), 1, CONSTRAINT_PAIRS_MAX);
            for value in pairs.values() {
                self.faults.text_length(&member, value, 0, CONSTRAINT_VALUE_CHARS_MAX);
            }
        }
        Ok(found)
    }

    pub(super) fn grant_tokens(&mut self) -> Result<Vec<String>, KmsErrorReply> {
        Ok(self.texts("GrantTokens", 0..=GRANT_TOKENS_MAX, 1..=GRANT_TOKEN_CHARS_MAX)?.unwrap_or_default())
    }

    /// Whether a member is there at all.
    pub(super) fn is_present(&self, member: &str) -> bool {
        self.left.get(member).is_some_and(|value| !value.is_null())
    }

    fn take(&mut self, member: &str) -> Option<Value> {
        let value = self.left.remove(member).filter(|value| !value.is_null())?;
        shown::add(&mut self.shown, member, &value);
        Some(value)
    }
}

fn text_map(value: Value) -> Result<BTreeMap<String, String>, KmsErrorReply> {
    let Value::Object(pairs) = value else { return Err(unreadable()) };
    let pairs = pairs.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        _ => Err(unreadable()),
    });
    pairs.collect()
}
