//! Message system attributes that a receive may ask for (SQS API contract, 6.6).

use std::borrow::Cow;

use crate::error::{ErrorCode, ErrorReply};

macro_rules! system_attributes {
    ($($variant:ident)*) => {
        /// One system attribute.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the variants are the vendor's own names")]
        pub enum SystemAttribute { $($variant),* }

        impl SystemAttribute {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it stands on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }
        }
    };
}

system_attributes! {
    SenderId
    SentTimestamp
    ApproximateReceiveCount
    ApproximateFirstReceiveTimestamp
    AWSTraceHeader
    MessageGroupId
    MessageDeduplicationId
    SequenceNumber
    DeadLetterQueueSourceArn
}

/// Which system attributes a receive returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SystemAttributeSet(u16);

impl SystemAttributeSet {
    /// Nothing asked for.
    pub const NONE: Self = Self(0);
    /// `All`.
    pub const ALL: Self = Self((1 << SystemAttribute::ALL.len()) - 1);

    /// Reads the names of `MessageSystemAttributeNames` or `AttributeNames`.
    pub fn parse(names: &[Cow<'_, str>]) -> Result<Self, ErrorReply> {
        let mut set = Self::NONE;
        for name in names {
            if name == "All" {
                set = Self::ALL;
                continue;
            }
            let known = SystemAttribute::ALL.iter().find(|attribute| attribute.name() == name);
            let known = known.ok_or_else(|| {
                ErrorReply::new(ErrorCode::InvalidAttributeName, format!("Unknown Attribute {name}."))
            })?;
            set.0 |= 1 << *known as u16;
        }
        Ok(set)
    }

    /// True if this one is returned.
    pub fn contains(self, attribute: SystemAttribute) -> bool {
        self.0 & (1 << attribute as u16) != 0
    }

    /// True if nothing is returned.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_unknown_ones_refused() {
        let set = SystemAttributeSet::parse(&["SenderId".into(), "DeadLetterQueueSourceArn".into()]).unwrap();
        assert!(set.contains(SystemAttribute::SenderId));
        assert!(set.contains(SystemAttribute::DeadLetterQueueSourceArn));
        assert!(!set.contains(SystemAttribute::SentTimestamp));
        let all = SystemAttributeSet::parse(&["All".into()]).unwrap();
        assert!(SystemAttribute::ALL.iter().all(|attribute| all.contains(*attribute)));
        let error = SystemAttributeSet::parse(&["X".into()]).unwrap_err();
        assert_eq!((error.code, &*error.message), (ErrorCode::InvalidAttributeName, "Unknown Attribute X."));
        assert!(SystemAttributeSet::parse(&[]).unwrap().is_empty());
    }
}
