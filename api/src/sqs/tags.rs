//! Queue tags (SQS API contract, 12.18–12.20).

use std::collections::BTreeMap;

use crate::error::ErrorReply;

use super::request::Text;

/// Most tags of a queue.
pub const TAGS_MAX: usize = 50;
/// Longest tag key, characters.
pub const KEY_CHARS_MAX: usize = 128;
/// Longest tag value, characters.
pub const VALUE_CHARS_MAX: usize = 256;

/// Checks new tags and adds them to the current ones; `queue_name` is for the error text.
pub fn add_tags(
    current: &BTreeMap<String, String>,
    given: &[(Text<'_>, Text<'_>)],
    queue_name: &str,
) -> Result<BTreeMap<String, String>, ErrorReply> {
    let mut tags = current.clone();
    for (key, value) in given {
        check_tag(key, value)?;
        tags.insert(key.to_string(), value.to_string());
    }
    if tags.len() > TAGS_MAX {
        return Err(ErrorReply::invalid_parameter(format!("Too many tags added for queue {queue_name}.")));
    }
    Ok(tags)
}

fn check_tag(key: &str, value: &str) -> Result<(), ErrorReply> {
    let text = if !(1..=KEY_CHARS_MAX).contains(&key.chars().count()) {
        "Tag keys must be between 1 and 128 characters in length."
    } else if !key.chars().all(is_tag_character) {
        "Tag keys may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @"
    } else if key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("aws:")) {
        "Tag keys beginning with aws: are reserved for internal use."
    } else if value.chars().count() > VALUE_CHARS_MAX {
        "Tag values must be between 0 and 256 characters in length."
    } else if !value.chars().all(is_tag_character) {
        "Tag values may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @"
    } else {
        return Ok(());
    };
    Err(ErrorReply::invalid_parameter(text))
}

fn is_tag_character(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || matches!(c, '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(key: &str, value: &str) -> Result<usize, String> {
        let given = [(Text::Owned(key.into()), Text::Owned(value.into()))];
        add_tags(&BTreeMap::new(), &given, "q").map(|t| t.len()).map_err(|e| e.message.into_owned())
    }

    #[test]
    fn keys_and_values_are_checked() {
        assert_eq!(added(&"ü".repeat(128), &"v".repeat(256)), Ok(1));
        assert_eq!(added("a b_.:/=+-@1", ""), Ok(1));
        let length = "Tag keys must be between 1 and 128 characters in length.";
        for (key, value, text) in [
            ("", "", length),
            (&"k".repeat(129) as &str, "", length),
            (
                "a?",
                "",
                "Tag keys may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @",
            ),
            ("aws:x", "", "Tag keys beginning with aws: are reserved for internal use."),
            ("k", &"v".repeat(257), "Tag values must be between 0 and 256 characters in length."),
        ] {
            assert_eq!(added(key, value), Err(text.into()));
        }
    }

    #[test]
    fn the_same_key_overwrites_and_the_fifty_first_is_refused() {
        let full: BTreeMap<String, String> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
        let tags = add_tags(&full, &[("k1".into(), "new".into())], "q").unwrap();
        assert_eq!((tags.len(), tags["k1"].as_str()), (50, "new"));
        let error = add_tags(&full, &[("more".into(), "".into())], "q").unwrap_err();
        assert_eq!(error.message, "Too many tags added for queue q.");
    }
}
