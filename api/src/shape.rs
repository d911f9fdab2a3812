//! What is wrong with a request's members, gathered and reported together in the vendor's words.

use crate::error::TEXT_BYTES_MAX;

/// Whether a text also stands in the report, as STS has it. KMS shows none: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// `Value 'x' at`.
    Yes,
    /// `Value at`.
    No,
}

/// A report in the making.
#[derive(Debug)]
pub(crate) struct ShapeFaults {
    shown: Shown,
    faults: Vec<String>,
}

impl ShapeFaults {
    pub(crate) fn new(shown: Shown) -> Self {
        Self { shown, faults: Vec::new() }
    }

    /// A member that must be there is not.
    pub(crate) fn missing(&mut self, member: &str) {
        self.push("Value null", member, "Member must not be null");
    }

    /// Characters of `text` must number `min..=max`.
    pub(crate) fn text_length(&mut self, member: &str, text: &str, min: usize, max: usize) {
        if let Some(bound) = outside(text.chars().count(), min, max) {
            let value = match self.shown {
                Shown::Yes => quoted(text),
                Shown::No => "Value".into(),
            };
            self.push(&value, member, &format!("Member must have length {bound}"));
        }
    }

    /// Bytes or entries must number `min..=max`.
    pub(crate) fn length(&mut self, member: &str, found: usize, min: usize, max: usize) {
        if let Some(bound) = outside(found, min, max) {
            self.push("Value", member, &format!("Member must have length {bound}"));
        }
    }

    /// A number must lie in `min..=max`.
    pub(crate) fn range(&mut self, member: &str, found: i64, min: i64, max: i64) {
        if let Some(bound) = outside(found, min, max) {
            self.push(&format!("Value '{found}'"), member, &format!("Member must have value {bound}"));
        }
    }

    /// A text must be one of `allowed`.
    pub(crate) fn one_of(&mut self, member: &str, found: &str, allowed: &[&str]) {
        if !allowed.contains(&found) {
            let set = allowed.join(", ");
            self.push(&quoted(found), member, &format!("Member must satisfy enum value set: [{set}]"));
        }
    }

    /// Every character must be admitted; `pattern` is what the vendor's model says.
    pub(crate) fn characters(
        &mut self,
        member: &str,
        found: &str,
        pattern: &str,
        admits: impl Fn(char) -> bool,
    ) {
        if !found.chars().all(admits) {
            let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
            self.push(&quoted(found), member, &constraint);
        }
    }

    /// The report, if anything is wrong.
    pub(crate) fn report(&self) -> Option<String> {
        let (count, plural) = (self.faults.len(), if self.faults.len() == 1 { "" } else { "s" });
        (count > 0).then(|| format!("{count} validation error{plural} detected: {}", self.faults.join("; ")))
    }

    fn push(&mut self, value: &str, member: &str, constraint: &str) {
        self.faults.push(format!("{value} at '{member}' failed to satisfy constraint: {constraint}"));
    }
}

/// A value as the report shows it; of one that may be megabytes long, so much as an error's text can hold.
fn quoted(value: &str) -> String {
    format!("Value '{}'", &value[..value.floor_char_boundary(TEXT_BYTES_MAX)])
}

fn outside<N: PartialOrd + std::fmt::Display>(found: N, min: N, max: N) -> Option<String> {
    if found < min {
        Some(format!("greater than or equal to {min}"))
    } else if found > max {
        Some(format!("less than or equal to {max}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_and_joined() {
        let mut faults = ShapeFaults::new(Shown::No);
        assert_eq!(faults.report(), None);
        faults.text_length("keyId", "", 1, 2_048);
        assert_eq!(
            faults.report().unwrap(),
            "1 validation error detected: Value at 'keyId' failed to satisfy constraint: Member must have length \
             greater than or equal to 1"
        );
        faults.range("numberOfBytes", 1_025, 1, 1_024);
        faults.range("numberOfBytes", 1_024, 1, 1_024);
        assert_eq!(
            faults.report().unwrap(),
            "2 validation errors detected: Value at 'keyId' failed to satisfy constraint: Member must have length \
             greater than or equal to 1; Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must \
             have value less than or equal to 1024"
        );
    }
}
