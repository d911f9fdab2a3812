//! Patterns with `*`, `?` and policy variables. What a variable stands for is compared to the letter: a `*` inside it
//! is no wildcard.

use super::condition::ConditionKeys;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `*`
    Many,
    /// `?`
    One,
    Variable {
        key: String,
        default: Option<String>,
    },
}

/// A text resolved against one request.
enum Piece<'a> {
    Text(&'a str),
    Many,
    One,
}

impl Pattern {
    /// `variables`: version 2012-10-17; in the older one `${` is text.
    pub(super) fn compile(text: &str, wildcards: bool, variables: bool) -> Self {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if variables
                && let Some(inner) = rest.strip_prefix("${")
                && let Some(end) = inner.find('}')
            {
                let name = &inner[..end];
                match name {
                    "*" | "?" | "$" => plain.push_str(name),
                    _ => {
                        flush(&mut plain, &mut parts);
                        let (key, default) = match name.split_once(',') {
                            Some((key, default)) => {
                                let default = default.trim().trim_matches('\'');
                                (key.trim(), Some(default.to_owned()))
                            }
                            None => (name.trim(), None),
                        };
                        parts.push(Part::Variable { key: key.to_ascii_lowercase(), default });
                    }
                }
                rest = &inner[end + 1..];
                continue;
            }
            match c {
                '*' if wildcards => {
                    flush(&mut plain, &mut parts);
                    if parts.last() != Some(&Part::Many) {
                        parts.push(Part::Many);
                    }
                }
                '?' if wildcards => {
                    flush(&mut plain, &mut parts);
                    parts.push(Part::One);
                }
                _ => plain.push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        flush(&mut plain, &mut parts);
        Self { parts }
    }

    /// Whether every variable in it has a value.
    pub(super) fn is_resolved(&self, keys: &dyn ConditionKeys) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Variable { key, default } => default.is_some() || keys.single(key).is_some(),
            Part::Text(_) | Part::Many | Part::One => true,
        })
    }

    /// Case-sensitive. A variable without a value matches nothing.
    pub(super) fn matches(&self, text: &str, keys: &dyn ConditionKeys) -> bool {
        if let [Part::Many] = self.parts[..] {
            return true;
        }
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            pieces.push(match part {
                Part::Text(text) => Piece::Text(text),
                Part::Many => Piece::Many,
                Part::One => Piece::One,
                Part::Variable { key, default } => match keys.single(key).or(default.as_deref()) {
                    Some(value) => Piece::Text(value),
                    None => return false,
                },
            });
        }
        matches(&pieces, text, false)
    }

    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            pieces.push(match part {
                Part::Text(text) => Piece::Text(text),
                Part::Many => Piece::Many,
                Part::One => Piece::One,
                Part::Variable { .. } => return false,
            });
        }
        matches(&pieces, text, true)
    }
}

fn flush(plain: &mut String, parts: &mut Vec<Part>) {
    if !plain.is_empty() {
        parts.push(Part::Text(std::mem::take(plain)));
    }
}

/// Greedy with one point of return: linear in practice, quadratic at worst, never exponential.
fn matches(pieces: &[Piece<'_>], text: &str, ignore_case: bool) -> bool {
    let (mut at_piece, mut at_text) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pieces.get(at_piece) {
            Some(Piece::Many) => {
                retry = Some((at_piece + 1, at_text));
                at_piece += 1;
                continue;
            }
            Some(Piece::One) => text[at_text..].chars().next().map(char::len_utf8),
            Some(Piece::Text(wanted)) => text.get(at_text..at_text + wanted.len()).and_then(|found| {
                let same = if ignore_case { found.eq_ignore_ascii_case(wanted) } else { found == *wanted };
                same.then_some(wanted.len())
            }),
            None if at_text == text.len() => return true,
            None => None,
        };
        match (step, &mut retry) {
            (Some(bytes), _) => {
                at_text += bytes;
                at_piece += 1;
            }
            (None, Some((piece, from))) => match text[*from..].chars().next() {
                Some(c) => {
                    *from += c.len_utf8();
                    (at_piece, at_text) = (*piece, *from);
                }
                None => return false,
            },
            (None, None) => return false,
        }
    }
}
