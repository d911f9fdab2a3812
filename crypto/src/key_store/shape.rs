//! Shape errors of a request, gathered and reported together in the vendor's words.
//!
//! Knows no keys: the first check of every action, before any key is looked up.

use super::kms_error::KmsError;

/// Collects what is wrong with a request's members.
#[derive(Debug, Default)]
pub struct Shape {
    faults: Vec<String>,
}

impl Shape {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// A member's length must be in `min..=max`.
    #[must_use]
    pub fn length(mut self, member: &str, found: usize, min: usize, max: usize) -> Self {
        if let Some(bound) = bound(found, min, max) {
            self.faults.push(format!(
                "Value at '{member}' failed to satisfy constraint: Member must have length {bound}"
            ));
        }
        self
    }

    /// A number must be in `min..=max`.
    #[must_use]
    pub fn range(mut self, member: &str, found: u64, min: u64, max: u64) -> Self {
        if let Some(bound) = bound(found, min, max) {
            self.faults.push(format!(
                "Value '{found}' at '{member}' failed to satisfy constraint: Member must have value {bound}"
            ));
        }
        self
    }

    /// A text must be one of `allowed`.
    #[must_use]
    pub fn one_of(mut self, member: &str, found: &str, allowed: &[&str]) -> Self {
        if !allowed.contains(&found) {
            self.faults.push(format!(
                "Value '{found}' at '{member}' failed to satisfy constraint: Member must satisfy enum value set: \
                 [{}]",
                allowed.join(", ")
            ));
        }
        self
    }

    /// All faults in one error.
    pub fn finish(self) -> Result<(), KmsError> {
        let (count, plural) = (self.faults.len(), if self.faults.len() == 1 { "" } else { "s" });
        match count {
            0 => Ok(()),
            _ => Err(KmsError::Validation(format!(
                "{count} validation error{plural} detected: {}",
                self.faults.join("; ")
            ))),
        }
    }
}

fn bound<N: PartialOrd + std::fmt::Display>(found: N, min: N, max: N) -> Option<String> {
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
    fn texts_are_the_recorded_ones() {
        let long = Shape::new().length("plaintext", 4_097, 1, 4_096).finish().unwrap_err();
        assert_eq!(
            long.to_string(),
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length \
             less than or equal to 4096"
        );
        let zero = Shape::new().range("numberOfBytes", 0, 1, 1_024).finish().unwrap_err();
        assert_eq!(
            zero.to_string(),
            "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have \
             value greater than or equal to 1"
        );
        let both = Shape::new().range("a", 0, 1, 2).one_of("keySpec", "X", &["A", "B"]).finish().unwrap_err();
        assert!(both.to_string().starts_with("2 validation errors detected: Value '0' at 'a'"));
        assert!(both.to_string().ends_with("; Value 'X' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [A, B]"));
    }
}
