//! The actions on a key, and in which key state each is possible (the state table).

use super::key::{Key, KeyManager, KeyState, Origin};
use super::kms_error::KmsError;

macro_rules! actions {
    ($($action:ident),+ $(,)?) => {
        /// An action of the key service that names a key or an alias.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is the action of that name")]
        pub enum Action { $($action),+ }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$action),+];

            /// The action's name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$action => stringify!($action)),+ }
            }
        }
    };
}

actions! {
    Encrypt, Decrypt, ReEncrypt, GenerateDataKey, GenerateDataKeyWithoutPlaintext,
    CreateGrant, ListGrants, RetireGrant, RevokeGrant,
    EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, RotateKeyOnDemand, ListKeyRotations,
    EnableKey, DisableKey, ScheduleKeyDeletion, CancelKeyDeletion,
    CreateAlias, UpdateAlias, DeleteAlias, ListAliases,
    TagResource, UntagResource, ListResourceTags, UpdateKeyDescription,
    DescribeKey, GetKeyPolicy, PutKeyPolicy, ListKeyPolicies,
    GetParametersForImport, ImportKeyMaterial, DeleteImportedKeyMaterial,
}

impl Action {
    /// Encrypt, Decrypt, ReEncrypt, GenerateDataKey and its twin: those that take an encryption context.
    pub const fn is_cryptographic(self) -> bool {
        matches!(
            self,
            Self::Encrypt
                | Self::Decrypt
                | Self::ReEncrypt
                | Self::GenerateDataKey
                | Self::GenerateDataKeyWithoutPlaintext
        )
    }

    /// Whether its KeyId may be an alias.
    pub const fn takes_alias(self) -> bool {
        self.is_cryptographic() || matches!(self, Self::DescribeKey)
    }

    /// Whether its key may be of another account.
    pub const fn takes_foreign_key(self) -> bool {
        self.takes_alias()
            || matches!(
                self,
                Self::CreateGrant
                    | Self::ListGrants
                    | Self::RevokeGrant
                    | Self::RetireGrant
                    | Self::GetKeyRotationStatus
            )
    }

    /// Whether no caller may do it to an AWS managed key.
    const fn refused_on_managed_key(self) -> bool {
        matches!(
            self,
            Self::PutKeyPolicy
                | Self::EnableKey
                | Self::DisableKey
                | Self::ScheduleKeyDeletion
                | Self::CancelKeyDeletion
                | Self::EnableKeyRotation
                | Self::DisableKeyRotation
                | Self::RotateKeyOnDemand
                | Self::CreateAlias
                | Self::UpdateAlias
                | Self::TagResource
                | Self::UntagResource
                | Self::UpdateKeyDescription
                | Self::GetParametersForImport
                | Self::ImportKeyMaterial
                | Self::DeleteImportedKeyMaterial
        )
    }
}

/// Whether `action` is possible on `key` as it is now: manager, origin, then state.
pub(crate) fn check(action: Action, key: &Key) -> Result<(), KmsError> {
    use Action as A;
    let arn = || key.arn();
    if key.manager == KeyManager::Aws && action.refused_on_managed_key() {
        return Err(KmsError::ManagedKey { arn: arn(), action });
    }
    let wrong_origin = match action {
        A::EnableKeyRotation | A::DisableKeyRotation | A::RotateKeyOnDemand => key.origin == Origin::External,
        A::GetParametersForImport | A::ImportKeyMaterial | A::DeleteImportedKeyMaterial => {
            key.origin != Origin::External
        }
        _ => false,
    };
    if wrong_origin {
        return Err(KmsError::WrongOrigin { arn: arn(), origin: key.origin });
    }
    let disabled = || Err(KmsError::Disabled { arn: arn() });
    let pending_deletion = || Err(KmsError::PendingDeletion { arn: arn() });
    let pending_import = || Err(KmsError::PendingImport { arn: arn() });
    match (action, key.state()) {
        (
            A::Encrypt
            | A::Decrypt
            | A::ReEncrypt
            | A::GenerateDataKey
            | A::GenerateDataKeyWithoutPlaintext
            | A::CreateGrant
            | A::EnableKeyRotation
            | A::DisableKeyRotation
            | A::RotateKeyOnDemand,
            state,
        ) => match state {
            KeyState::Enabled => Ok(()),
            KeyState::Disabled => disabled(),
            KeyState::PendingDeletion => pending_deletion(),
            KeyState::PendingImport => pending_import(),
        },
        (A::EnableKey | A::DisableKey, KeyState::PendingImport) => pending_import(),
        (
            A::EnableKey
            | A::DisableKey
            | A::ScheduleKeyDeletion
            | A::CreateAlias
            | A::UpdateAlias
            | A::TagResource
            | A::UntagResource
            | A::UpdateKeyDescription
            | A::GetParametersForImport
            | A::ImportKeyMaterial
            | A::DeleteImportedKeyMaterial,
            KeyState::PendingDeletion,
        ) => pending_deletion(),
        (A::CancelKeyDeletion, KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport) => {
            Err(KmsError::NotPendingDeletion { arn: arn() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::testing;
    use super::*;

    const OK: &str = "ok";
    const DISABLED: &str = "DisabledException";
    const STATE: &str = "KMSInvalidStateException";
    const UNSUPPORTED: &str = "UnsupportedOperationException";

    /// Enabled, Disabled, PendingDeletion, PendingImport, as the table of the contract has them.
    fn row(action: Action) -> [&'static str; 4] {
        use Action as A;
        match action {
            A::Encrypt
            | A::Decrypt
            | A::ReEncrypt
            | A::GenerateDataKey
            | A::GenerateDataKeyWithoutPlaintext
            | A::CreateGrant => [OK, DISABLED, STATE, STATE],
            A::EnableKeyRotation | A::DisableKeyRotation | A::RotateKeyOnDemand => {
                [OK, DISABLED, STATE, UNSUPPORTED]
            }
            A::EnableKey | A::DisableKey => [OK, OK, STATE, STATE],
            A::ScheduleKeyDeletion | A::CreateAlias | A::UpdateAlias => [OK, OK, STATE, OK],
            A::CancelKeyDeletion => [STATE, STATE, OK, STATE],
            A::TagResource | A::UntagResource | A::UpdateKeyDescription => [OK, OK, STATE, OK],
            A::GetParametersForImport | A::ImportKeyMaterial | A::DeleteImportedKeyMaterial => {
                [UNSUPPORTED, UNSUPPORTED, UNSUPPORTED, OK]
            }
            A::DeleteAlias
            | A::ListAliases
            | A::DescribeKey
            | A::GetKeyPolicy
            | A::PutKeyPolicy
            | A::ListKeyPolicies
            | A::ListResourceTags
            | A::ListGrants
            | A::RetireGrant
            | A::RevokeGrant
            | A::GetKeyRotationStatus
            | A::ListKeyRotations => [OK, OK, OK, OK],
        }
    }

    #[test]
    fn kms_7_the_state_table_holds_cell_by_cell() {
        let keys =
            [testing::enabled(), testing::disabled(), testing::pending_deletion(), testing::pending_import()];
        let states =
            [KeyState::Enabled, KeyState::Disabled, KeyState::PendingDeletion, KeyState::PendingImport];
        for &action in Action::ALL {
            for ((key, state), expected) in keys.iter().zip(states).zip(row(action)) {
                assert_eq!(key.state(), state);
                let found = check(action, key).map_or_else(|error| error.name(), |()| OK);
                assert_eq!(found, expected, "{} on {state:?}", action.name());
            }
        }
    }

    #[test]
    fn kms_7_texts_name_the_key() {
        let text = |key: Key| check(Action::Encrypt, &key).unwrap_err().to_string();
        let (disabled, deleted, import) =
            (testing::disabled(), testing::pending_deletion(), testing::pending_import());
        let arn = disabled.arn();
        assert_eq!(text(disabled), format!("{arn} is disabled."));
        assert_eq!(text(deleted), format!("{arn} is pending deletion."));
        assert_eq!(text(import), format!("{arn} is pending import."));
        let origin = check(Action::ImportKeyMaterial, &testing::enabled()).unwrap_err().to_string();
        assert_eq!(origin, format!("{arn} origin is AWS_KMS which is not valid for this operation."));
    }

    #[test]
    fn kms_7_imported_keys_take_material_in_every_state_but_pending_deletion() {
        let mut key = testing::pending_import();
        testing::give_material(&mut key);
        for (enabled, state) in [(true, KeyState::Enabled), (false, KeyState::Disabled)] {
            key.enabled = enabled;
            assert_eq!(key.state(), state);
            assert_eq!(check(Action::ImportKeyMaterial, &key), Ok(()));
            assert_eq!(check(Action::EnableKeyRotation, &key).unwrap_err().name(), UNSUPPORTED);
        }
        key.deletion_at_ms = Some(9);
        assert_eq!(check(Action::ImportKeyMaterial, &key).unwrap_err().name(), STATE);
    }

    #[test]
    fn kms_11_callers_cannot_change_a_managed_key() {
        let key = Key { manager: KeyManager::Aws, ..testing::enabled() };
        for action in [
            Action::DisableKey,
            Action::EnableKey,
            Action::ScheduleKeyDeletion,
            Action::PutKeyPolicy,
            Action::EnableKeyRotation,
            Action::DisableKeyRotation,
            Action::RotateKeyOnDemand,
            Action::TagResource,
            Action::UntagResource,
            Action::UpdateKeyDescription,
        ] {
            assert_eq!(check(action, &key).unwrap_err().name(), UNSUPPORTED, "{}", action.name());
        }
        for action in [Action::Encrypt, Action::Decrypt, Action::GenerateDataKey, Action::DescribeKey] {
            assert_eq!(check(action, &key), Ok(()));
        }
    }
}
