//! The pull reader.

use std::borrow::Cow;

use thiserror::Error;

use super::plain_prefix;

/// Deepest nesting that is skipped over.
const DEPTH_MAX: usize = 64;

/// Most members and list elements of one text, nested ones counted: ten batch entries with ten attributes each have
/// some 600. Without it, three bytes of input could cost hundreds of memory.
const ELEMENTS_MAX: usize = 4096;

/// Stands for half of a surrogate pair: no valid message character, so the check of contents refuses it.
const LONE_SURROGATE: char = '\u{FFFE}';

/// The body is not the JSON that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("The request body is not valid JSON: unexpected input at byte {at}.")]
    Syntax {
        /// Where.
        at: usize,
    },
    /// Not UTF-8.
    #[error("The request body is not valid UTF-8 at byte {at}.")]
    Encoding {
        /// Where.
        at: usize,
    },
    /// A list where a plain value belongs.
    #[error("Start of list found where not expected")]
    UnexpectedList,
    /// An object where a plain value belongs.
    #[error("Start of structure or map found where not expected.")]
    UnexpectedObject,
    /// A plain value of the wrong kind.
    #[error("{found} can not be converted to {wanted}")]
    Conversion {
        /// Token found, as `STRING_VALUE`.
        found: &'static str,
        /// What belongs there, with its article.
        wanted: &'static str,
    },
    /// A plain value where a list or an object belongs.
    #[error("Expected {wanted} or null")]
    Expected {
        /// `list` or `structure or map`.
        wanted: &'static str,
    },
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("The request body is nested too deeply.")]
    TooDeep,
    /// More than [`ELEMENTS_MAX`].
    #[error("The request body has more than {ELEMENTS_MAX} members and list elements.")]
    TooManyElements,
}

/// Reads one JSON text from front to back. Every value method returns `None` for `null`.
#[derive(Debug)]
pub struct JsonReader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    elements: usize,
}

impl<'a> JsonReader<'a> {
    /// Starts at the front. The bytes must be UTF-8.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text =
            std::str::from_utf8(bytes).map_err(|error| JsonError::Encoding { at: error.valid_up_to() })?;
        Ok(Self { text, at: 0, depth: 0, elements: 0 })
    }

    /// Reads an object, calling `member` for each key; `member` must consume the value. False for `null`.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<bool, E> {
        match self.peek()? {
            b'{' => {}
            b'[' => return Err(JsonError::UnexpectedList.into()),
            _ => return self.null_or(JsonError::Expected { wanted: "structure or map" }).map_err(E::from),
        }
        self.enter()?;
        if self.peek()? == b'}' {
            self.leave();
            return Ok(true);
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.syntax().into());
            }
            let key = self.quoted()?;
            self.expect(b':')?;
            self.count()?;
            member(self, &key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.syntax().into()),
            }
        }
        self.leave();
        Ok(true)
    }

    /// Reads a list, calling `element` for each; `element` must consume the value. False for `null`.
    pub fn list<E: From<JsonError>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<bool, E> {
        match self.peek()? {
            b'[' => {}
            b'{' => return Err(JsonError::UnexpectedObject.into()),
            _ => return self.null_or(JsonError::Expected { wanted: "list" }).map_err(E::from),
        }
        self.enter()?;
        if self.peek()? == b']' {
            self.leave();
            return Ok(true);
        }
        loop {
            self.count()?;
            element(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.syntax().into()),
            }
        }
        self.leave();
        Ok(true)
    }

    /// Reads a string; borrowed when nothing in it is escaped.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        match self.peek()? {
            b'"' => self.quoted().map(Some),
            _ => self.plain_mismatch("a String"),
        }
    }

    /// Reads a whole number.
    pub fn integer(&mut self) -> Result<Option<i64>, JsonError> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => {
                let token = self.number()?;
                let parsed = token.parse().or_else(|_| integral(token).ok_or(()));
                let not_whole = JsonError::Conversion { found: "NUMBER_VALUE", wanted: "an Integer" };
                parsed.map(Some).map_err(|()| not_whole)
            }
            _ => self.plain_mismatch("an Integer"),
        }
    }

    /// Reads `true` or `false`.
    pub fn boolean(&mut self) -> Result<Option<bool>, JsonError> {
        match self.peek()? {
            b't' => self.literal("true").map(|()| Some(true)),
            b'f' => self.literal("false").map(|()| Some(false)),
            _ => self.plain_mismatch("a Boolean"),
        }
    }

    /// Reads a number with or without a fraction.
    pub fn float(&mut self) -> Result<Option<f64>, JsonError> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => {
                let token = self.number()?;
                token.parse().map(Some).map_err(|_| self.syntax())
            }
            _ => self.plain_mismatch("a Double"),
        }
    }

    /// Reads any value and drops it.
    pub fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek()? {
            b'"' => self.quoted().map(drop),
            b'{' => self.object(|reader, _| reader.skip()).map(drop),
            b'[' => self.list(Self::skip).map(drop),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => self.number().map(drop),
        }
    }

    /// Reads any value and gives its text.
    pub fn raw(&mut self) -> Result<&'a str, JsonError> {
        self.peek()?;
        let from = self.at;
        self.skip()?;
        Ok(&self.text[from..self.at])
    }

    /// First byte of the next value, which is not consumed.
    pub fn peek(&mut self) -> Result<u8, JsonError> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => return Ok(*byte),
            }
        }
        Err(self.syntax())
    }

    /// Nothing but blanks may follow.
    pub fn end(mut self) -> Result<(), JsonError> {
        match self.peek() {
            Ok(_) => Err(self.syntax()),
            Err(_) => Ok(()),
        }
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax { at: self.at }
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX { Err(JsonError::TooDeep) } else { Ok(()) }
    }

    fn count(&mut self) -> Result<(), JsonError> {
        self.elements += 1;
        if self.elements > ELEMENTS_MAX { Err(JsonError::TooManyElements) } else { Ok(()) }
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek()? != byte {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }

    fn null_or(&mut self, error: JsonError) -> Result<bool, JsonError> {
        if self.peek()? == b'n' { self.literal("null").map(|()| false) } else { Err(error) }
    }

    /// `null`, or the error that names what was found instead of `wanted`.
    fn plain_mismatch<T>(&mut self, wanted: &'static str) -> Result<Option<T>, JsonError> {
        let found = match self.peek()? {
            b'n' => return self.literal("null").map(|()| None),
            b'[' => return Err(JsonError::UnexpectedList),
            b'{' => return Err(JsonError::UnexpectedObject),
            b'"' => "STRING_VALUE",
            b't' => "TRUE_VALUE",
            b'f' => "FALSE_VALUE",
            b'-' | b'0'..=b'9' => "NUMBER_VALUE",
            _ => return Err(self.syntax()),
        };
        Err(JsonError::Conversion { found, wanted })
    }

    /// The number token at the cursor; its grammar is RFC 8259's.
    fn number(&mut self) -> Result<&'a str, JsonError> {
        let bytes = self.text.as_bytes();
        let from = self.at;
        let mut at = from;
        let digits = |at: &mut usize| {
            let start = *at;
            while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
                *at += 1;
            }
            *at - start
        };
        if bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        let leading_zero = bytes.get(at) == Some(&b'0');
        let whole = digits(&mut at);
        let mut valid = whole == 1 || (whole > 1 && !leading_zero);
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            valid &= digits(&mut at) > 0;
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            valid &= digits(&mut at) > 0;
        }
        if !valid {
            return Err(self.syntax());
        }
        self.at = at;
        Ok(&self.text[from..at])
    }

    /// The string at the cursor, which stands on the opening quote.
    fn quoted(&mut self) -> Result<Cow<'a, str>, JsonError> {
        let from = self.at + 1;
        let bytes = self.text.as_bytes();
        self.at = from + plain_prefix(&bytes[from..]);
        if bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[from..self.at - 1]));
        }
        let mut owned = String::with_capacity(self.at - from + 64);
        owned.push_str(&self.text[from..self.at]);
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(owned));
                }
                Some(b'\\') => owned.push(self.escape()?),
                _ => return Err(self.syntax()),
            }
            let plain_from = self.at;
            self.at += plain_prefix(&bytes[plain_from..]);
            owned.push_str(&self.text[plain_from..self.at]);
        }
    }

    /// The character behind the backslash at the cursor.
    fn escape(&mut self) -> Result<char, JsonError> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match code {
            Some(code @ (b'"' | b'\\' | b'/')) => char::from(code),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{C}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.syntax()),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.code_unit().ok_or_else(|| self.syntax())?;
        self.at += 6;
        if (0xD800..0xDC00).contains(&high)
            && let Some(low @ 0xDC00..=0xDFFF) = self.code_unit()
        {
            self.at += 6;
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            return Ok(char::from_u32(code).unwrap_or(LONE_SURROGATE));
        }
        Ok(char::from_u32(high).unwrap_or(LONE_SURROGATE))
    }

    /// The `\uXXXX` at the cursor, not consumed.
    fn code_unit(&self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    }
}

/// `5.0` and `5e1` are whole numbers too.
fn integral(token: &str) -> Option<i64> {
    /// Largest whole number that an `f64` holds exactly.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let value: f64 = token.parse().ok()?;
    (value.fract() == 0.0 && value.abs() <= EXACT_MAX).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string_of(text: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
        JsonReader::new(text.as_bytes())?.string()
    }

    #[test]
    fn unescaped_strings_are_borrowed() {
        assert!(matches!(string_of("\"plain ü\""), Ok(Some(Cow::Borrowed("plain ü")))));
        assert!(matches!(string_of("\"a\\nb\""), Ok(Some(Cow::Owned(text))) if text == "a\nb"));
        assert_eq!(string_of(" null"), Ok(None));
    }

    #[test]
    fn surrogate_pairs_join_and_halves_become_a_forbidden_character() {
        assert_eq!(string_of(r#""\uD83D\uDE00""#).unwrap().unwrap(), "\u{1F600}");
        assert_eq!(string_of(r#""\uD83Dx""#).unwrap().unwrap(), "\u{FFFE}x");
        assert_eq!(string_of(r#""\uDE00""#).unwrap().unwrap(), "\u{FFFE}");
        assert_eq!(string_of(r#""\uD83D\uD83D\uDE00""#).unwrap().unwrap(), "\u{FFFE}\u{1F600}");
    }

    #[test]
    fn wrong_types_have_the_services_texts() {
        for (text, expected) in [
            ("[]", "Start of list found where not expected"),
            ("{}", "Start of structure or map found where not expected."),
            ("1", "NUMBER_VALUE can not be converted to a String"),
            ("true", "TRUE_VALUE can not be converted to a String"),
        ] {
            assert_eq!(string_of(text).unwrap_err().to_string(), expected);
        }
        let integer = |text: &'static str| JsonReader::new(text.as_bytes()).unwrap().integer();
        assert_eq!(
            integer("\"1\"").unwrap_err().to_string(),
            "STRING_VALUE can not be converted to an Integer"
        );
        assert_eq!(
            integer("1.5").unwrap_err().to_string(),
            "NUMBER_VALUE can not be converted to an Integer"
        );
        assert_eq!((integer("5.0"), integer("-7"), integer("null")), (Ok(Some(5)), Ok(Some(-7)), Ok(None)));
    }

    #[test]
    fn nesting_at_the_limit_is_skipped_and_one_deeper_is_refused() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(JsonReader::new(nested(DEPTH_MAX).as_bytes()).unwrap().skip(), Ok(()));
        assert_eq!(
            JsonReader::new(nested(DEPTH_MAX + 1).as_bytes()).unwrap().skip(),
            Err(JsonError::TooDeep)
        );
    }

    #[test]
    fn elements_at_the_limit_are_read_and_one_more_is_refused() {
        let list = |count: usize| format!("[[{}],{{}}]", vec!["0"; count].join(","));
        assert_eq!(JsonReader::new(list(ELEMENTS_MAX - 2).as_bytes()).unwrap().skip(), Ok(()));
        assert_eq!(
            JsonReader::new(list(ELEMENTS_MAX - 1).as_bytes()).unwrap().skip(),
            Err(JsonError::TooManyElements)
        );
    }

    proptest! {
        #[test]
        fn skipping_agrees_with_serde_json(text in "[\\[\\]{}:,\"\\\\a-f0-9.eE+\\-truefalsn u]{0,24}") {
            let mut reader = JsonReader::new(text.as_bytes()).unwrap();
            let ours = reader.skip().and_then(|()| reader.end());
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text);
            // Lone surrogates are read here and refused there; the alphabet cannot spell a pair that differs.
            if !text.contains("\\ud") {
                prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{}", text);
            }
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(mut reader) = JsonReader::new(&bytes) {
                drop(reader.skip());
            }
        }
    }
}
