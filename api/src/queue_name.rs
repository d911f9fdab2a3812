//! Queue names (SQS API contract, section 2).

use crate::error::ErrorReply;

/// Longest name, suffix included.
pub const QUEUE_NAME_CHARS_MAX: usize = 80;
/// Last part of a FIFO queue's name.
pub const FIFO_SUFFIX: &str = ".fifo";

const STANDARD_TEXT: &str =
    "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
const FIFO_TEXT: &str = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, \
    must end with .fifo suffix and be 1 to 80 in length";

/// True for a well-formed standard or FIFO name.
pub fn is_queue_name(name: &str) -> bool {
    let stem = name.strip_suffix(FIFO_SUFFIX).unwrap_or(name);
    name.len() <= QUEUE_NAME_CHARS_MAX && is_label(stem)
}

/// True for one or more of `[A-Za-z0-9_-]`.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Checks the name of a queue about to be created.
pub fn check_new_queue_name(name: &str, fifo: bool) -> Result<(), ErrorReply> {
    if name.is_empty() {
        return Err(ErrorReply::invalid_parameter("Queue name cannot be empty"));
    }
    let has_suffix = name.ends_with(FIFO_SUFFIX);
    match (fifo, has_suffix && is_queue_name(name)) {
        (true, false) => Err(ErrorReply::invalid_parameter(FIFO_TEXT)),
        (false, _) if has_suffix || !is_queue_name(name) => Err(ErrorReply::invalid_parameter(STANDARD_TEXT)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_at_the_limit_pass_and_one_past_it_fails() {
        assert_eq!(check_new_queue_name(&"a".repeat(80), false), Ok(()));
        assert_eq!(check_new_queue_name(&format!("{}.fifo", "a".repeat(75)), true), Ok(()));
        assert_eq!(check_new_queue_name("a-_Z9", false), Ok(()));
        for (name, fifo, text) in [
            ("", false, "Queue name cannot be empty"),
            ("a.b", false, STANDARD_TEXT),
            ("a.fifo", false, STANDARD_TEXT),
            ("ä", false, STANDARD_TEXT),
            (&"a".repeat(81), false, STANDARD_TEXT),
            ("a", true, FIFO_TEXT),
            (".fifo", true, FIFO_TEXT),
            (&format!("{}.fifo", "a".repeat(76)), true, FIFO_TEXT),
        ] {
            assert_eq!(check_new_queue_name(name, fifo), Err(ErrorReply::invalid_parameter(text)), "{name}");
        }
    }
}
