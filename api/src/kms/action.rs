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

/// An action of the vendor's that is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnservedAction {
    /// Name on the wire.
    pub name: &'static str,
    /// Whether it changes nothing where it is served, for the audit trail.
    pub is_read_only: bool,
}

const fn reading(name: &'static str) -> UnservedAction {
    UnservedAction { name, is_read_only: true }
}

const fn changing(name: &'static str) -> UnservedAction {
    UnservedAction { name, is_read_only: false }
}

const UNSERVED: &[UnservedAction] = &[
    changing("ConnectCustomKeyStore"),
    changing("CreateCustomKeyStore"),
    changing("DeleteCustomKeyStore"),
    reading("DeriveSharedSecret"),
    reading("DescribeCustomKeyStores"),
    changing("DisconnectCustomKeyStore"),
    reading("GenerateDataKeyPair"),
    reading("GenerateDataKeyPairWithoutPlaintext"),
    reading("GenerateMac"),
    reading("GetKeyLastUsage"),
    reading("GetPublicKey"),
    changing("ReplicateKey"),
    reading("Sign"),
    changing("UpdateCustomKeyStore"),
    changing("UpdatePrimaryRegion"),
    reading("Verify"),
    reading("VerifyMac"),
];

/// What an action name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Served.
    Served(ServedAction),
    /// An action of the vendor's that is not served.
    Unserved(UnservedAction),
    /// None.
    Unknown,
}

impl Named {
    /// By the `X-Amz-Target` header.
    pub fn of_target(target: &str) -> Self {
        let Some(name) = target.strip_prefix(super::TARGET_PREFIX) else { return Self::Unknown };
        if let Some(action) = ServedAction::ALL.iter().find(|action| action.name() == name) {
            return Self::Served(*action);
        }
        let unserved = UNSERVED.iter().find(|unserved| unserved.name == name);
        unserved.map_or(Self::Unknown, |action| Self::Unserved(*action))
    }

    /// Name on the wire and whether it changes nothing. `None`: no action.
    pub fn name(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Served(action) => Some((action.name(), action.is_read_only())),
            Self::Unserved(action) => Some((action.name, action.is_read_only)),
            Self::Unknown => None,
        }
    }
}
