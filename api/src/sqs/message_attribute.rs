//! Message attributes: as sent, as checked, and the filter of a receive.

use std::borrow::Cow;

use crate::error::{ErrorCode, ErrorReply};

use super::message::has_only_valid_characters;

/// User attributes a message may have.
pub const ATTRIBUTES_MAX: usize = 10;
/// Bytes of an attribute name, and of a data type.
pub const NAME_BYTES_MAX: usize = 256;
/// Significant digits of a Number.
pub const NUMBER_DIGITS_MAX: usize = 38;
/// The only system attribute a sender may set.
pub const TRACE_HEADER: &str = "AWSTraceHeader";

const NUMBER_EXPONENT_MIN: i64 = -128;
const NUMBER_EXPONENT_MAX: i64 = 126;

/// The value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeValue<'a> {
    /// String or Number: text, unchanged.
    Text(&'a str),
    /// Binary: decoded bytes.
    Binary(&'a [u8]),
}

/// A valid attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageAttribute<'a> {
    /// Name.
    pub name: &'a str,
    /// Type with any custom suffix.
    pub data_type: &'a str,
    /// Value.
    pub value: AttributeValue<'a>,
}

impl MessageAttribute<'_> {
    /// What it adds to the message size, in bytes.
    pub fn size_bytes(&self) -> usize {
        let value = match self.value {
            AttributeValue::Text(text) => text.len(),
            AttributeValue::Binary(bytes) => bytes.len(),
        };
        self.name.len() + self.data_type.len() + value
    }
}

/// An attribute as it was sent: nothing but its shape is known to be right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentAttribute<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// `DataType`.
    pub data_type: Option<Cow<'a, str>>,
    /// `StringValue`.
    pub string_value: Option<Cow<'a, str>>,
    /// `BinaryValue`, decoded.
    pub binary_value: Option<Vec<u8>>,
    /// `StringListValues` or `BinaryListValues` with something in them.
    pub has_list_values: bool,
}

/// Checks the user attributes of one message; the result is in the order sent.
pub fn check_attributes<'s>(sent: &'s [SentAttribute<'_>]) -> Result<Vec<MessageAttribute<'s>>, ErrorReply> {
    if sent.len() > ATTRIBUTES_MAX {
        return Err(ErrorReply::invalid_parameter(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            sent.len()
        )));
    }
    let mut checked: Vec<MessageAttribute<'s>> = Vec::with_capacity(sent.len());
    for attribute in sent {
        check_name(&attribute.name)?;
        if checked.iter().any(|other| other.name == attribute.name) {
            return Err(ErrorReply::invalid_parameter(format!(
                "Message (user) attribute name '{}' is used more than once.",
                attribute.name
            )));
        }
        checked.push(attribute.check()?);
    }
    Ok(checked)
}

/// Checks the system attributes of one message; gives the trace header.
pub fn check_system_attributes<'s>(sent: &'s [SentAttribute<'_>]) -> Result<Option<&'s str>, ErrorReply> {
    let mut trace_header = None;
    for attribute in sent {
        let name = &attribute.name;
        if name != TRACE_HEADER {
            return Err(ErrorReply::invalid_parameter(format!(
                "Message system attribute name '{name}' is invalid."
            )));
        }
        let checked = attribute.check()?;
        match checked {
            MessageAttribute { data_type: "String", value: AttributeValue::Text(text), .. } => {
                trace_header = Some(text);
            }
            _ => {
                return Err(ErrorReply::invalid_parameter(format!(
                    "The type of message (system) attribute '{name}' is invalid. You must use only the following \
                     supported type prefixes: String."
                )));
            }
        }
    }
    Ok(trace_header)
}

impl SentAttribute<'_> {
    fn check(&self) -> Result<MessageAttribute<'_>, ErrorReply> {
        let name = self.name.as_ref();
        let invalid = |text: String| Err(ErrorReply::invalid_parameter(text));
        if self.has_list_values {
            return Err(ErrorReply::new(
                ErrorCode::UnsupportedOperation,
                "Message attribute list values in SendMessage operation are not supported.",
            ));
        }
        let data_type = match self.data_type.as_deref() {
            None | Some("") => {
                return invalid(format!(
                    "The message (user) attribute '{name}' must contain a non-empty message attribute type."
                ));
            }
            Some(data_type) => data_type,
        };
        let kind = data_type.split('.').next().unwrap_or(data_type);
        if data_type.len() > NAME_BYTES_MAX {
            return invalid("Message (user) attribute type must be shorter than 256 bytes.".into());
        }
        if !matches!(kind, "String" | "Number" | "Binary") || !data_type.chars().all(is_name_character) {
            return invalid(format!(
                "The type of message (user) attribute '{name}' is invalid. You must use only the following supported \
                 type prefixes: Binary, Number, String."
            ));
        }
        let field = if kind == "Binary" { "Binary" } else { "String" };
        let value = match (self.string_value.as_deref(), self.binary_value.as_deref()) {
            (None, None) => {
                return invalid(format!(
                    "The message (user) attribute '{name}' must contain a non-empty message attribute value."
                ));
            }
            (Some(_), Some(_)) => {
                return invalid(format!("Message (user) attribute '{name}' must have a single value."));
            }
            (Some(text), None) if field == "String" => AttributeValue::Text(text),
            (None, Some(bytes)) if field == "Binary" => AttributeValue::Binary(bytes),
            _ => {
                return invalid(format!(
                    "The message (user) attribute '{name}' with type '{kind}' must use field '{field}'."
                ));
            }
        };
        match value {
            AttributeValue::Text("") | AttributeValue::Binary([]) => invalid(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
            )),
            // Recorded: not InvalidMessageContents, which is for bodies.
            AttributeValue::Text(text) if !has_only_valid_characters(text) => {
                invalid(format!("Message (user) attribute '{name}' contains invalid characters."))
            }
            AttributeValue::Text(text) if kind == "Number" && !is_number(text) => {
                invalid(format!("Can't cast the value of message (user) attribute '{name}' to a number."))
            }
            _ => Ok(MessageAttribute { name, data_type, value }),
        }
    }
}

fn check_name(name: &str) -> Result<(), ErrorReply> {
    let lower = name.get(..7).unwrap_or(name).to_ascii_lowercase();
    let text = if name.is_empty() {
        "The request must contain non-empty message (user) attribute names.".to_owned()
    } else if name.len() > NAME_BYTES_MAX {
        "Message (user) attribute name must be shorter than 256 bytes.".to_owned()
    } else if lower.starts_with("aws.") || lower == "amazon." {
        "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved for \
         internal use."
            .to_owned()
    } else if name.starts_with('.') {
        "Message (user) attribute name must not begin with character '.'.".to_owned()
    } else if name.ends_with('.') {
        "Message (user) attribute name must not end with character '.'.".to_owned()
    } else if name.contains("..") {
        "Message (user) attribute name must not have successive '.' characters.".to_owned()
    } else if !name.chars().all(is_name_character) {
        format!("Message (user) attribute name '{name}' contains invalid characters.")
    } else {
        return Ok(());
    };
    Err(ErrorReply::invalid_parameter(text))
}

/// Letters of any script are accepted, as recorded live.
fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A decimal number of at most 38 significant digits between 10^-128 and 10^+126.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => match exponent.parse::<i64>() {
            Ok(exponent) if exponent.abs() < 1_000 => (mantissa, exponent),
            _ => return false,
        },
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let Some(first) = digits().position(|b| b != b'0') else { return true };
    let last = digits().enumerate().filter(|(_, digit)| *digit != b'0').last().map_or(first, |(at, _)| at);
    let magnitude = whole.len() as i64 - 1 - first as i64 + exponent;
    last - first < NUMBER_DIGITS_MAX && (NUMBER_EXPONENT_MIN..=NUMBER_EXPONENT_MAX).contains(&magnitude)
}

/// Which attributes a receive returns (6.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributeFilter {
    all: bool,
    names: Vec<String>,
    prefixes: Vec<String>,
}

impl AttributeFilter {
    /// Reads `MessageAttributeNames`; malformed names match nothing.
    pub fn new(names: &[Cow<'_, str>]) -> Self {
        let mut filter = Self::default();
        for name in names {
            match name.as_ref() {
                "All" | ".*" | "*" => filter.all = true,
                name => match name.strip_suffix(".*") {
                    Some(prefix) => filter.prefixes.push(prefix.to_owned()),
                    None => filter.names.push(name.to_owned()),
                },
            }
        }
        filter
    }

    /// True if an attribute of this name is returned.
    pub fn matches(&self, name: &str) -> bool {
        self.all
            || self.names.iter().any(|wanted| wanted == name)
            || self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(name: &str, data_type: &str, value: &str) -> SentAttribute<'static> {
        SentAttribute {
            name: name.to_owned().into(),
            data_type: Some(data_type.to_owned().into()),
            string_value: Some(value.to_owned().into()),
            ..SentAttribute::default()
        }
    }

    fn refusal(attribute: SentAttribute<'static>) -> String {
        let error = check_attributes(&[attribute]).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidParameterValue);
        error.message.into_owned()
    }

    #[test]
    fn each_broken_rule_has_its_text() {
        let no_type = SentAttribute { data_type: None, ..string("X", "", "v") };
        let no_value = SentAttribute { string_value: None, ..string("X", "String", "") };
        let both = SentAttribute { binary_value: Some(vec![1]), ..string("X", "String", "v") };
        for (attribute, text) in [
            (
                string("X", "String", ""),
                "Message (user) attribute 'X' must contain a non-empty value of type 'String'.",
            ),
            (string("", "String", "v"), "The request must contain non-empty message (user) attribute names."),
            (
                string(&"n".repeat(257), "String", "v"),
                "Message (user) attribute name must be shorter than 256 bytes.",
            ),
            (
                string("aWs.x", "String", "v"),
                "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved \
                 for internal use.",
            ),
            (
                string("AMAZON.x", "String", "v"),
                "You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved \
                 for internal use.",
            ),
            (string(".x", "String", "v"), "Message (user) attribute name must not begin with character '.'."),
            (string("x.", "String", "v"), "Message (user) attribute name must not end with character '.'."),
            (
                string("x..y", "String", "v"),
                "Message (user) attribute name must not have successive '.' characters.",
            ),
            (no_type, "The message (user) attribute 'X' must contain a non-empty message attribute type."),
            (no_value, "The message (user) attribute 'X' must contain a non-empty message attribute value."),
            (
                string("X", "Text", "v"),
                "The type of message (user) attribute 'X' is invalid. You must use only the following supported type \
                 prefixes: Binary, Number, String.",
            ),
            (
                string("X", &format!("String.{}", "t".repeat(250)), "v"),
                "Message (user) attribute type must be shorter than 256 bytes.",
            ),
            (both, "Message (user) attribute 'X' must have a single value."),
            (
                string("X", "Binary", "v"),
                "The message (user) attribute 'X' with type 'Binary' must use field 'Binary'.",
            ),
            (
                string("Age", "Number", "old"),
                "Can't cast the value of message (user) attribute 'Age' to a number.",
            ),
            (string("X", "String", "\u{1}"), "Message (user) attribute 'X' contains invalid characters."),
        ] {
            assert_eq!(refusal(attribute), text);
        }
    }

    #[test]
    fn ten_attributes_pass_and_eleven_do_not() {
        let many = |count: usize| -> Vec<_> {
            (0..count).map(|n| string(&format!("n{n}"), "String", "v")).collect()
        };
        assert_eq!(check_attributes(&many(10)).unwrap().len(), 10);
        assert_eq!(
            check_attributes(&many(11)).unwrap_err().message,
            "Number of message attributes [11] exceeds the allowed maximum [10]."
        );
        let name = "n".repeat(256);
        let data_type = format!("String.{}", "t".repeat(249));
        assert!(
            check_attributes(&[string(&name, &data_type, "v"), string("Ünï-_.x", "Number.int", "1")]).is_ok()
        );
    }

    #[test]
    fn list_values_are_unsupported() {
        let sent = SentAttribute { has_list_values: true, ..string("X", "String", "v") };
        assert_eq!(check_attributes(&[sent]).unwrap_err().code, ErrorCode::UnsupportedOperation);
    }

    #[test]
    fn only_the_trace_header_is_a_system_attribute() {
        assert_eq!(check_system_attributes(&[string(TRACE_HEADER, "String", "r")]), Ok(Some("r")));
        assert_eq!(
            check_system_attributes(&[string("X", "String", "r")]).unwrap_err().message,
            "Message system attribute name 'X' is invalid."
        );
        assert!(check_system_attributes(&[string(TRACE_HEADER, "Number", "1")]).is_err());
    }

    #[test]
    fn numbers_are_bounded_in_digits_and_magnitude() {
        let digits = |count: usize| "9".repeat(count);
        for good in ["0", "-1", "+1.50", ".5", "5.", "1e126", "1E-128", "0.0001", &digits(38), "000000"] {
            assert!(is_number(good), "{good}");
        }
        let long = digits(39);
        for bad in ["", "-", ".", "e5", "1e", "1e127", "1e-129", "abc", "1 ", "0x1", "NaN", &long] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn filters_match_as_recorded() {
        let filter = |names: &[&'static str]| {
            AttributeFilter::new(&names.iter().map(|n| Cow::Borrowed(*n)).collect::<Vec<_>>())
        };
        assert!(!filter(&[]).matches("Hello"));
        for all in ["All", ".*", "*"] {
            assert!(filter(&[all]).matches("Hello"));
        }
        let prefix = filter(&["Hel.*", "AWS.", "General"]);
        assert!(prefix.matches("Hello") && prefix.matches("Help.Me") && prefix.matches("General"));
        assert!(!prefix.matches("Genera") && !prefix.matches("hello"));
    }
}
