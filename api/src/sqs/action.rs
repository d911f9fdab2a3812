//! The actions of the API.

macro_rules! actions {
    ($($variant:ident),* $(,)?) => {
        /// One of the 23 actions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the variants are the vendor's own names")]
        pub enum Action { $($variant),* }

        impl Action {
            /// All of them, by name.
            pub const ALL: [Self; 23] = [$(Self::$variant),*];

            /// As it stands in `X-Amz-Target` and `Action=`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),* }
            }

            /// The action of this exact name.
            pub fn by_name(name: &str) -> Option<Self> {
                match name { $(stringify!($variant) => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

actions! {
    AddPermission,
    CancelMessageMoveTask,
    ChangeMessageVisibility,
    ChangeMessageVisibilityBatch,
    CreateQueue,
    DeleteMessage,
    DeleteMessageBatch,
    DeleteQueue,
    GetQueueAttributes,
    GetQueueUrl,
    ListDeadLetterSourceQueues,
    ListMessageMoveTasks,
    ListQueueTags,
    ListQueues,
    PurgeQueue,
    ReceiveMessage,
    RemovePermission,
    SendMessage,
    SendMessageBatch,
    SetQueueAttributes,
    StartMessageMoveTask,
    TagQueue,
    UntagQueue,
}

impl Action {
    /// The action that policies name: a batch is authorised as its singular.
    pub fn iam_action(self) -> &'static str {
        match self {
            Self::AddPermission => "sqs:AddPermission",
            Self::CancelMessageMoveTask => "sqs:CancelMessageMoveTask",
            Self::ChangeMessageVisibility | Self::ChangeMessageVisibilityBatch => {
                "sqs:ChangeMessageVisibility"
            }
            Self::CreateQueue => "sqs:CreateQueue",
            Self::DeleteMessage | Self::DeleteMessageBatch => "sqs:DeleteMessage",
            Self::DeleteQueue => "sqs:DeleteQueue",
            Self::GetQueueAttributes => "sqs:GetQueueAttributes",
            Self::GetQueueUrl => "sqs:GetQueueUrl",
            Self::ListDeadLetterSourceQueues => "sqs:ListDeadLetterSourceQueues",
            Self::ListMessageMoveTasks => "sqs:ListMessageMoveTasks",
            Self::ListQueueTags => "sqs:ListQueueTags",
            Self::ListQueues => "sqs:ListQueues",
            Self::PurgeQueue => "sqs:PurgeQueue",
            Self::ReceiveMessage => "sqs:ReceiveMessage",
            Self::RemovePermission => "sqs:RemovePermission",
            Self::SendMessage | Self::SendMessageBatch => "sqs:SendMessage",
            Self::SetQueueAttributes => "sqs:SetQueueAttributes",
            Self::StartMessageMoveTask => "sqs:StartMessageMoveTask",
            Self::TagQueue => "sqs:TagQueue",
            Self::UntagQueue => "sqs:UntagQueue",
        }
    }

    /// True if a queue policy can never grant it to another account (section 12).
    pub fn is_owner_only(self) -> bool {
        matches!(
            self,
            Self::AddPermission
                | Self::CancelMessageMoveTask
                | Self::CreateQueue
                | Self::DeleteQueue
                | Self::ListMessageMoveTasks
                | Self::ListQueueTags
                | Self::ListQueues
                | Self::RemovePermission
                | Self::SetQueueAttributes
                | Self::StartMessageMoveTask
                | Self::TagQueue
                | Self::UntagQueue
        )
    }

    /// True for replies without a body: zero bytes in JSON, no result element in XML.
    pub fn has_no_output(self) -> bool {
        matches!(
            self,
            Self::AddPermission
                | Self::ChangeMessageVisibility
                | Self::DeleteMessage
                | Self::DeleteQueue
                | Self::PurgeQueue
                | Self::RemovePermission
                | Self::SetQueueAttributes
                | Self::TagQueue
                | Self::UntagQueue
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_and_are_case_sensitive() {
        for action in Action::ALL {
            assert_eq!(Action::by_name(action.name()), Some(action));
        }
        assert_eq!(Action::by_name("sendMessage"), None);
    }

    #[test]
    fn a_batch_is_authorised_as_its_singular() {
        assert_eq!(Action::SendMessageBatch.iam_action(), "sqs:SendMessage");
        for action in Action::ALL {
            let name = action.name();
            assert_eq!(action.iam_action(), format!("sqs:{}", name.strip_suffix("Batch").unwrap_or(name)));
        }
    }
}
