//! Form parameters of the Query protocols: decoded once, found by name, lists in numeric order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use percent_encoding::percent_decode;
use thiserror::Error;

/// Most parameters of one request: ten batch entries with ten attributes each need some 600.
pub const PARAMETERS_MAX: usize = 4096;

/// The form cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FormError {
    /// More than [`PARAMETERS_MAX`].
    #[error("The request has more than {PARAMETERS_MAX} parameters.")]
    TooManyParameters,
    /// A name or value is not UTF-8 once decoded.
    #[error("A parameter of the request is not valid UTF-8.")]
    Encoding,
}

/// Query string and body together.
#[derive(Debug, Default)]
pub struct Form<'a> {
    parameters: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl<'a> Form<'a> {
    /// Decodes the parts; of two parameters with one name the first wins.
    pub fn parse(parts: &[&'a [u8]]) -> Result<Self, FormError> {
        let mut form = Self::default();
        for part in parts {
            for pair in part.split(|b| *b == b'&').filter(|pair| !pair.is_empty()) {
                if form.parameters.len() == PARAMETERS_MAX {
                    return Err(FormError::TooManyParameters);
                }
                let cut = pair.iter().position(|b| *b == b'=');
                let (name, value) = cut.map_or((pair, &pair[..0]), |cut| (&pair[..cut], &pair[cut + 1..]));
                form.parameters.entry(decode(name)?).or_insert(decode(value)?);
            }
        }
        Ok(form)
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(AsRef::as_ref)
    }

    /// Takes the value of a parameter out.
    pub fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.parameters.remove(name)
    }

    /// The `N` of all `prefix.N` and `prefix.N.…`, in numeric order, as written.
    pub fn indices(&self, prefix: &str) -> Vec<String> {
        let start = format!("{prefix}.");
        let mut found: Vec<(u32, &str)> = Vec::new();
        let from = (Bound::Included(start.as_str()), Bound::Unbounded);
        for name in self.parameters.range::<str, _>(from).map(|(name, _)| name.as_ref()) {
            let Some(rest) = name.strip_prefix(start.as_str()) else { break };
            let index = rest.split('.').next().unwrap_or(rest);
            if let Ok(number) = index.parse() {
                found.push((number, index));
            }
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().map(|(_, index)| index.to_owned()).collect()
    }

    /// Takes the values `prefix.1`, `prefix.2`, …; a bare `prefix` counts too, in front, unless it is empty: that is
    /// how SDKs write a list without elements.
    pub fn take_list(&mut self, prefix: &str) -> Vec<Cow<'a, str>> {
        let mut values: Vec<_> = self.take(prefix).into_iter().filter(|value| !value.is_empty()).collect();
        for index in self.indices(prefix) {
            values.extend(self.take(&format!("{prefix}.{index}")));
        }
        values
    }

    /// Takes the pairs `prefix.N.<key>`, `prefix.N.<value>`; a pair without a key is left out. One pair may go without
    /// its number, as old clients send it.
    pub fn take_map(
        &mut self,
        prefix: &str,
        key: &str,
        value: &str,
    ) -> Vec<(Cow<'a, str>, Option<Cow<'a, str>>)> {
        let mut pairs = Vec::new();
        let numbered = self.indices(prefix).into_iter().map(|index| format!("{prefix}.{index}"));
        for pair in std::iter::once(prefix.to_owned()).chain(numbered) {
            let taken_value = self.take(&format!("{pair}.{value}"));
            if let Some(taken_key) = self.take(&format!("{pair}.{key}")) {
                pairs.push((taken_key, taken_value));
            }
        }
        pairs
    }
}

fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, FormError> {
    if !bytes.iter().any(|b| matches!(b, b'+' | b'%')) {
        return std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| FormError::Encoding);
    }
    let spaced: Vec<u8> = bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let decoded = percent_decode(&spaced).collect::<Vec<u8>>();
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| FormError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_merge_and_lists_are_in_numeric_order() {
        let mut form = Form::parse(&[
            b"Action=X&A.10=ten&A.2=t%20w+o",
            b"A.1=one&A.x=no&T.1.Key=k&T.1.Value=v&T.2.Value=w",
        ])
        .unwrap();
        assert_eq!(form.get("Action"), Some("X"));
        assert_eq!(form.take_list("A"), ["one", "t w o", "ten"]);
        assert_eq!(form.take_map("T", "Key", "Value"), [("k".into(), Some("v".into()))]);
        let mut form = Form::parse(&[b"Attribute.Name=a&Attribute.Value=1"]).unwrap();
        assert_eq!(form.take_map("Attribute", "Name", "Value"), [("a".into(), Some("1".into()))]);
    }

    #[test]
    fn an_empty_bare_name_is_a_list_without_elements() {
        let mut form = Form::parse(&[b"A=&B=one&C="]).unwrap();
        assert!(form.take_list("A").is_empty());
        assert_eq!(form.take_list("B"), ["one"]);
        assert!(form.take_map("C", "Key", "Value").is_empty());
    }

    #[test]
    fn invalid_utf8_is_an_error_not_a_replacement() {
        assert_eq!(Form::parse(&[b"a=%FF"]).unwrap_err(), FormError::Encoding);
        assert_eq!(Form::parse(&[b"a=\xFF"]).unwrap_err(), FormError::Encoding);
    }

    #[test]
    fn parameters_at_the_limit_pass_and_one_more_fails() {
        let body = |count: usize| (0..count).map(|n| format!("p{n}=")).collect::<Vec<_>>().join("&");
        assert!(Form::parse(&[body(PARAMETERS_MAX).as_bytes()]).is_ok());
        assert_eq!(
            Form::parse(&[body(PARAMETERS_MAX + 1).as_bytes()]).unwrap_err(),
            FormError::TooManyParameters
        );
    }
}
