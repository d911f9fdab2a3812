//! Which actions there are, and which are served.

macro_rules! served {
    ($($action:ident),+ $(,)?) => {
        /// An action that is served.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is the action of that name")]
        pub enum ServedAction { $($action),+ }

        impl ServedAction {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$action),+];

            /// Name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$action => stringify!($action)),+ }
            }

            /// Name in policies.
            pub const fn iam_action(self) -> &'static str {
                match self { $(Self::$action => concat!("kms:", stringify!($action))),+ }
            }
        }
    };
}

served! {
    CancelKeyDeletion, CreateAlias, CreateGrant, CreateKey, Decrypt, DeleteAlias, DeleteImportedKeyMaterial, DescribeKey,
    DisableKey, DisableKeyRotation, EnableKey, EnableKeyRotation, Encrypt, GenerateDataKey,
    GenerateDataKeyWithoutPlaintext, GenerateRandom, GetKeyPolicy, GetKeyRotationStatus, GetParametersForImport,
    ImportKeyMaterial, ListAliases, ListGrants, ListKeyPolicies, ListKeyRotations, ListKeys, ListResourceTags,
    ListRetirableGrants, PutKeyPolicy, ReEncrypt, RetireGrant, RevokeGrant, RotateKeyOnDemand, ScheduleKeyDeletion,
    TagResource, UntagResource, UpdateAlias, UpdateKeyDescription,
}

impl ServedAction {
    /// Whether it changes nothing, for the audit trail.
    pub fn is_read_only(self) -> bool {
        use ServedAction as A;
        matches!(
            self,
            A::Decrypt
                | A::DescribeKey
                | A::Encrypt
                | A::GenerateDataKey
                | A::GenerateDataKeyWithoutPlaintext
                | A::GenerateRandom
                | A::GetKeyPolicy
                | A::GetKeyRotationStatus
                | A::GetParametersForImport
                | A::ListAliases
                | A::ListGrants
                | A::ListKeyPolicies
                | A::ListKeyRotations
                | A::ListKeys
                | A::ListResourceTags
                | A::ListRetirableGrants
                | A::ReEncrypt
        )
    }
}

/// The vendor's other actions.
const UNSERVED: &[&str] = &[
    "ConnectCustomKeyStore",
    "CreateCustomKeyStore",
    "DeleteCustomKeyStore",
    "DeriveSharedSecret",
    "DescribeCustomKeyStores",
    "DisconnectCustomKeyStore",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateMac",
    "GetKeyLastUsage",
    "GetPublicKey",
    "ReplicateKey",
    "Sign",
    "UpdateCustomKeyStore",
    "UpdatePrimaryRegion",
    "Verify",
    "VerifyMac",
];

/// What an action name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Served.
    Served(ServedAction),
    /// An action of the vendor's that is not served.
    Unserved(&'static str),
    /// None.
    Unknown,
}

impl Named {
    /// By name.
    pub fn of(name: &str) -> Self {
        if let Some(action) = ServedAction::ALL.iter().find(|action| action.name() == name) {
            return Self::Served(*action);
        }
        UNSERVED.iter().find(|unserved| **unserved == name).map_or(Self::Unknown, |name| Self::Unserved(name))
    }
}
