//! What is asked: an action of one of the three services, by its IAM name in any case.

use sealq_api::sqs::Action;
use sealq_crypto::key_store::Action as KmsAction;

use super::ExplainError;

/// Actions of the key service that name no key.
const KEY_SERVICE_ACTIONS: [&str; 4] = ["CreateKey", "ListKeys", "GenerateRandom", "ListRetirableGrants"];

/// See the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Of a queue, or of all.
    Queue(Action),
    /// Of a key.
    Key(KeyAction),
    /// Of the key service: its own policies decide.
    KeyService(&'static str),
    /// Of the token service.
    Token(TokenAction),
}

/// An action on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAction {
    /// By its own name.
    Named(KmsAction),
    /// The right that ReEncrypt needs on the key it opens with.
    ReEncryptFrom,
    /// The right that ReEncrypt needs on the key it seals with.
    ReEncryptTo,
}

impl KeyAction {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Named(action) => action.name(),
            Self::ReEncryptFrom => "ReEncryptFrom",
            Self::ReEncryptTo => "ReEncryptTo",
        }
    }

    /// How a key may be named for it.
    pub(super) fn resolved_as(self) -> KmsAction {
        match self {
            Self::Named(action) => action,
            Self::ReEncryptFrom | Self::ReEncryptTo => KmsAction::ReEncrypt,
        }
    }
}

/// An action of the token service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenAction {
    AssumeRole,
    GetCallerIdentity,
    GetSessionToken,
}

impl Asked {
    /// `sqs:SendMessage`, `kms:Decrypt`, `sts:AssumeRole`; an API name alone is one of SQS.
    pub(super) fn parse(text: &str) -> Result<Self, ExplainError> {
        let (service, name) = text.split_once(':').unwrap_or(("sqs", text));
        let is = |candidate: &str| candidate.eq_ignore_ascii_case(name);
        let found = match service.to_ascii_lowercase().as_str() {
            "sqs" => Action::ALL.into_iter().find(|action| is(action.name())).map(Self::Queue),
            "kms" => key_action(is),
            "sts" => [
                ("AssumeRole", TokenAction::AssumeRole),
                ("GetCallerIdentity", TokenAction::GetCallerIdentity),
                ("GetSessionToken", TokenAction::GetSessionToken),
            ]
            .into_iter()
            .find(|(known, _)| is(known))
            .map(|(_, action)| Self::Token(action)),
            _ => None,
        };
        found.ok_or_else(|| ExplainError::Action(text.to_owned()))
    }
}

fn key_action(is: impl Fn(&str) -> bool) -> Option<Asked> {
    if let Some(name) = KEY_SERVICE_ACTIONS.into_iter().find(|known| is(known)) {
        return Some(Asked::KeyService(name));
    }
    // ListAliases shows those of an account; ReEncrypt is two rights.
    if is(KmsAction::ListAliases.name()) {
        return Some(Asked::KeyService(KmsAction::ListAliases.name()));
    }
    let parts = [KeyAction::ReEncryptFrom, KeyAction::ReEncryptTo].into_iter();
    let named = KmsAction::ALL.iter().filter(|action| **action != KmsAction::ReEncrypt);
    parts
        .chain(named.map(|action| KeyAction::Named(*action)))
        .find(|action| is(action.name()))
        .map(Asked::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_of_the_three_services_are_found_in_any_case() {
        for (text, asked) in [
            ("SendMessage", Asked::Queue(Action::SendMessage)),
            ("SQS:sendmessage", Asked::Queue(Action::SendMessage)),
            ("kms:decrypt", Asked::Key(KeyAction::Named(KmsAction::Decrypt))),
            ("kms:ReEncryptTo", Asked::Key(KeyAction::ReEncryptTo)),
            ("kms:ListKeys", Asked::KeyService("ListKeys")),
            ("kms:ListAliases", Asked::KeyService("ListAliases")),
            ("sts:AssumeRole", Asked::Token(TokenAction::AssumeRole)),
        ] {
            assert_eq!(Asked::parse(text).ok(), Some(asked), "{text}");
        }
        for text in ["", "sqs:", "sqs:Fly", "kms:ReEncrypt", "s3:GetObject", "Decrypt"] {
            assert!(Asked::parse(text).is_err(), "{text}");
        }
    }
}
