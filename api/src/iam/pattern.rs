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
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    /// In lower case.
    key: String,
    default: Option<String>,
}

impl Variable {
    /// A multi-valued key has no one value to stand for.
    fn value<'a>(&'a self, keys: &'a dyn ConditionKeys) -> Option<&'a str> {
        keys.single(&self.key).or(self.default.as_deref())
    }
}

impl Pattern {
    /// `wildcards`: whether `*` and `?` are any. `variables`: version 2012-10-17; in the older one `${` is text.
    ///
    /// # Errors
    /// A variable that is not written to its end.
    pub(super) fn compile(text: &str, wildcards: bool, variables: bool) -> Result<Self, String> {
        let mut pattern = Self { parts: Vec::new() };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if variables && let Some(inner) = rest.strip_prefix("${") {
                rest = match inner.as_bytes() {
                    [literal @ (b'*' | b'?' | b'$'), b'}', ..] => {
                        pattern.push(char::from(*literal));
                        &inner[2..]
                    }
                    _ => {
                        let (variable, after) = variable(inner).map_err(|why| format!("'{text}': {why}"))?;
                        pattern.parts.push(Part::Variable(variable));
                        after
                    }
                };
                continue;
            }
            match c {
                '*' if wildcards && pattern.parts.last() == Some(&Part::Many) => {}
                '*' if wildcards => pattern.parts.push(Part::Many),
                '?' if wildcards => pattern.parts.push(Part::One),
                _ => pattern.push(c),
            }
            rest = &rest[c.len_utf8()..];
        }
        Ok(pattern)
    }

    /// What everything matches.
    pub(super) fn anything() -> Self {
        Self { parts: vec![Part::Many] }
    }

    fn push(&mut self, c: char) {
        match self.parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => self.parts.push(Part::Text(c.into())),
        }
    }

    /// Keys that it needs a value of.
    pub(super) fn needs(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(Variable { key, default: None }) => Some(key.as_str()),
            _ => None,
        })
    }

    /// Case-sensitive. A variable without a value matches nothing.
    pub(super) fn matches(&self, text: &str, keys: &dyn ConditionKeys) -> bool {
        if let [Part::Many] = self.parts[..] {
            return true;
        }
        self.matches_with(text, |variable| variable.value(keys), |a, b| a == b)
    }

    /// For action names: ASCII, without variables.
    pub(super) fn matches_ignoring_case(&self, text: &str) -> bool {
        self.matches_with(text, |_| None, str::eq_ignore_ascii_case)
    }

    /// Equality without regard to case, for patterns compiled without wildcards whose variables have values.
    pub(super) fn equals_ignoring_case(&self, text: &str, keys: &dyn ConditionKeys) -> bool {
        let wanted = self.parts.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Variable(variable) => variable.value(keys).unwrap_or(""),
            Part::Many | Part::One => "",
        });
        let lower = |text: char| text.to_lowercase();
        wanted.flat_map(str::chars).flat_map(lower).eq(text.chars().flat_map(lower))
    }

    /// Greedy with one point of return: linear in practice, quadratic at worst, never exponential.
    fn matches_with<'a>(
        &'a self,
        text: &str,
        value: impl Fn(&'a Variable) -> Option<&'a str>,
        same: impl Fn(&str, &str) -> bool,
    ) -> bool {
        let follows = |at: usize, wanted: &str| {
            let found = text.get(at..at + wanted.len())?;
            same(found, wanted).then_some(wanted.len())
        };
        let (mut at_part, mut at_text) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match self.parts.get(at_part) {
                Some(Part::Many) => {
                    at_part += 1;
                    retry = Some((at_part, at_text));
                    continue;
                }
                Some(Part::One) => text[at_text..].chars().next().map(char::len_utf8),
                Some(Part::Text(wanted)) => follows(at_text, wanted),
                Some(Part::Variable(variable)) => value(variable).and_then(|wanted| follows(at_text, wanted)),
                None if at_text == text.len() => return true,
                None => None,
            };
            match (step, &mut retry) {
                (Some(bytes), _) => {
                    at_text += bytes;
                    at_part += 1;
                }
                (None, Some((part, from))) => match text[*from..].chars().next() {
                    Some(c) => {
                        *from += c.len_utf8();
                        (at_part, at_text) = (*part, *from);
                    }
                    None => return false,
                },
                (None, None) => return false,
            }
        }
    }
}

/// Reads `key}` or `key, 'default'}`; also what follows it.
fn variable(inner: &str) -> Result<(Variable, &str), &'static str> {
    const OPEN: &str = "a variable is not closed";
    let end = inner.find(['}', ',', '{', '$']).ok_or(OPEN)?;
    let key = inner[..end].trim();
    if key.is_empty() {
        return Err("a variable has no name");
    }
    let key = key.to_ascii_lowercase();
    if let Some(after) = inner[end..].strip_prefix('}') {
        return Ok((Variable { key, default: None }, after));
    }
    let quoted = inner[end..].strip_prefix(',').ok_or(OPEN)?.trim_start();
    let quoted = quoted.strip_prefix('\'').ok_or("the default of a variable stands in single quotes")?;
    let (default, after) = quoted.split_once('\'').ok_or(OPEN)?;
    let after = after.trim_start().strip_prefix('}').ok_or(OPEN)?;
    Ok((Variable { key, default: Some(default.to_owned()) }, after))
}

#[cfg(test)]
mod tests {
    use super::super::ConditionValue;
    use super::*;

    struct NoKeys;

    impl ConditionKeys for NoKeys {
        fn get(&self, _: &str) -> Option<ConditionValue<'_>> {
            None
        }
    }

    #[test]
    fn a_variable_is_closed_has_a_name_and_quotes_its_default() {
        for text in
            ["a${", "${aws:username", "${}", "${ }", "${a,b}", "${a,'b}", "${a,'b'", "${a${b}", "${a{b}}"]
        {
            assert!(Pattern::compile(text, true, true).is_err(), "{text}");
            assert!(
                Pattern::compile(text, true, false).is_ok(),
                "the older version has no variables: {text}"
            );
        }
        let literals = Pattern::compile("${*}${?}${$}{", true, true).unwrap();
        assert!(literals.matches("*?${", &NoKeys) && !literals.matches("ab${", &NoKeys));
        let default = Pattern::compile("x-${a , 'y}z' }-w", true, true).unwrap();
        assert!(default.matches("x-y}z-w", &NoKeys));
    }

    proptest::proptest! {
        #[test]
        fn patterns_agree_with_a_naive_matcher(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn naive(pattern: &[u8], text: &[u8]) -> bool {
                match pattern.first() {
                    None => text.is_empty(),
                    Some(b'*') => (0..=text.len()).any(|at| naive(&pattern[1..], &text[at..])),
                    Some(b'?') => !text.is_empty() && naive(&pattern[1..], &text[1..]),
                    Some(c) => text.first() == Some(c) && naive(&pattern[1..], &text[1..]),
                }
            }
            let compiled = Pattern::compile(&pattern, true, true).unwrap();
            proptest::prop_assert_eq!(
                compiled.matches(&text, &NoKeys),
                naive(pattern.as_bytes(), text.as_bytes())
            );
        }
    }
}
