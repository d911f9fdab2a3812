//! The encryption context: names and values that a key service binds to a wrapped key.
//!
//! It is not secret; it appears in audit records and policies. Equal contexts have equal canonical bytes,
//! whatever order they were written in.

use std::collections::BTreeMap;

/// Name under which every data key of a queue carries the ARN of the queue that received the message.
pub const QUEUE_ARN_NAME: &str = "aws:sqs:arn";

/// A map from name to value, in the order of the names.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncryptionContext {
    entries: BTreeMap<String, String>,
}

impl EncryptionContext {
    /// The empty context, which is a context of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// `{"aws:sqs:arn": context_arn}`: the context of every data key of a queue.
    pub fn for_queue(context_arn: &str) -> Self {
        Self { entries: BTreeMap::from([(QUEUE_ARN_NAME.to_owned(), context_arn.to_owned())]) }
    }

    /// Sets `name`; returns the value that it had.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.entries.insert(name.into(), value.into())
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.entries.get(name).map(String::as_str)
    }

    /// All pairs in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes that stand for this context as associated data: per pair, in the order of the names, the
    /// length (u64 little-endian) and the bytes of the name, then of the value. No two contexts share them.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in self.iter() {
            for text in [name, value] {
                bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        bytes
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self { entries: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;

    #[test]
    fn order_of_insertion_does_not_show() {
        let one: EncryptionContext = [("b", "2"), ("a", "1")].into_iter().collect();
        let other: EncryptionContext = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(one.canonical_bytes(), other.canonical_bytes());
    }

    #[test]
    fn moving_a_byte_between_name_and_value_changes_the_bytes() {
        let one: EncryptionContext = [("ab", "c")].into_iter().collect();
        let other: EncryptionContext = [("a", "bc")].into_iter().collect();
        assert_ne!(one.canonical_bytes(), other.canonical_bytes());
    }

    #[test]
    fn sse_131_the_context_of_a_queue_is_its_arn_under_aws_sqs_arn() {
        let context = EncryptionContext::for_queue("arn:aws:sqs:us-east-1:000000000000:q");
        assert_eq!(
            context.iter().collect::<Vec<_>>(),
            [("aws:sqs:arn", "arn:aws:sqs:us-east-1:000000000000:q")]
        );
    }

    proptest! {
        #[test]
        fn different_contexts_have_different_bytes(
            one in btree_map(".{0,3}", ".{0,3}", 0..4),
            other in btree_map(".{0,3}", ".{0,3}", 0..4),
        ) {
            let same = one == other;
            let one: EncryptionContext = one.into_iter().collect();
            let other: EncryptionContext = other.into_iter().collect();
            prop_assert_eq!(same, one.canonical_bytes() == other.canonical_bytes());
        }
    }
}
