//! Takes the members out of a request's JSON object, gathering what is wrong with their shapes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::error::{KmsErrorName, KmsErrorReply};
use crate::shape::{ShapeFaults, Shown};

/// Most pairs of an encryption context that are read; the limit in bytes is the store's.
pub(super) const CONTEXT_PAIRS_MAX: usize = 2_048;

/// The members that are left, and what was wrong with those taken.
#[derive(Debug)]
pub(super) struct Members {
    left: Map<String, Value>,
    pub(super) faults: ShapeFaults,
}

type Taken<T> = Result<Option<T>, KmsErrorReply>;

fn unreadable() -> KmsErrorReply {
    KmsErrorReply::new(KmsErrorName::SerializationException, "")
}

/// `KeyId` is `keyId` in texts.
fn shown(member: &str) -> String {
    let mut letters = member.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl Members {
    pub(super) fn new(body: &[u8]) -> Result<Self, KmsErrorReply> {
        let left = match body.is_empty() {
            true => Map::new(),
            false => serde_json::from_slice(body).map_err(|_| unreadable())?,
        };
        Ok(Self { left, faults: ShapeFaults::new(Shown::No) })
    }

    /// The request, unless something is wrong.
    pub(super) fn finish<T>(self, request: T) -> Result<T, KmsErrorReply> {
        match self.faults.report() {
            Some(report) => Err(KmsErrorReply::new(KmsErrorName::ValidationException, report)),
            None => Ok(request),
        }
    }

    pub(super) fn required<T: Default>(&mut self, member: &str, taken: Option<T>) -> T {
        taken.unwrap_or_else(|| {
            self.faults.missing(&shown(member));
            T::default()
        })
    }

    pub(super) fn text(&mut self, member: &str, length: RangeInclusive<usize>) -> Taken<String> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let Value::String(text) = value else { return Err(unreadable()) };
        self.faults.text_length(&shown(member), &text, *length.start(), *length.end());
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
            self.faults.characters(&shown(member), text, pattern, admits);
        }
        Ok(text)
    }

    pub(super) fn one_of(&mut self, member: &str, allowed: &[&str]) -> Taken<String> {
        let text = self.text(member, 0..=usize::MAX)?;
        if let Some(text) = &text {
            self.faults.one_of(&shown(member), text, allowed);
        }
        Ok(text)
    }

    pub(super) fn blob(&mut self, member: &str, length: RangeInclusive<usize>) -> Taken<Zeroizing<Vec<u8>>> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let Value::String(text) = value else { return Err(unreadable()) };
        let bytes = Zeroizing::new(STANDARD.decode(&*Zeroizing::new(text)).map_err(|_| unreadable())?);
        self.faults.length(&shown(member), bytes.len(), *length.start(), *length.end());
        Ok(Some(bytes))
    }

    pub(super) fn number(&mut self, member: &str, range: RangeInclusive<i64>) -> Taken<u64> {
        let Some(value) = self.take(member) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(unreadable)?;
        self.faults.range(&shown(member), number, *range.start(), *range.end());
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
        self.faults.length(&shown(member), entries.len(), *count.start(), *count.end());
        let texts = entries.into_iter().map(|entry| match entry {
            Value::String(text) => Ok(text),
            _ => Err(unreadable()),
        });
        let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
        for (at, text) in texts.iter().enumerate().take(*count.end()) {
            let name = format!("{}.{}.member", shown(member), at + 1);
            self.faults.text_length(&name, text, *length.start(), *length.end());
        }
        Ok(Some(texts))
    }

    pub(super) fn context(&mut self, member: &str) -> Result<BTreeMap<String, String>, KmsErrorReply> {
        match self.take(member) {
            None => Ok(BTreeMap::new()),
            Some(value) => {
                let pairs = text_map(value)?;
                self.faults.length(&shown(member), pairs.len(), 0, CONTEXT_PAIRS_MAX);
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
            let mut tag = Members { left, faults: ShapeFaults::new(Shown::No) };
            let key = tag.text("TagKey", 0..=usize::MAX)?;
            let value = tag.text("TagValue", 0..=usize::MAX)?;
            for (name, text, min, max) in [("tagKey", &key, 1, 128), ("tagValue", &value, 0, 256)] {
                let name = format!("{}.{}.member.{name}", shown(member), at + 1);
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
    pub(super) fn maps<const N: usize>(
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

    /// Whether a member is there at all.
    pub(super) fn is_present(&self, member: &str) -> bool {
        self.left.get(member).is_some_and(|value| !value.is_null())
    }

    fn take(&mut self, member: &str) -> Option<Value> {
        self.left.remove(member).filter(|value| !value.is_null())
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
