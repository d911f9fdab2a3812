//! Requests of the key service, shapes checked. Absent encryption contexts are empty ones: the two are the same.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::action::ServedAction;

/// Pairs of an encryption context, or of a constraint on one.
pub type Pairs = BTreeMap<String, String>;

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident: $type:ty),* $(,)? })+) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name { $($(#[$member_doc])* pub $member: $type),* })+
    };
}

/// Bytes that may be secret: wiped when dropped and not printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

impl std::ops::Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListPage {
    /// Entries at most.
    pub limit: Option<u64>,
    /// Where to go on.
    pub marker: Option<String>,
}

requests! {
    /// Encrypt.
    Encrypt {
        /// Any form of name.
        key_id: String,
        /// 1 to 4,096 bytes.
        plaintext: Blob,
        /// Encryption context.
        context: Pairs,
        /// Algorithm named, if any.
        algorithm: Option<String>,
        /// Only check.
        dry_run: bool,
    }
    /// Decrypt.
    Decrypt {
        /// 1 to 6,144 bytes.
        ciphertext_blob: Blob,
        /// The blob's key, if the caller wants to be sure.
        key_id: Option<String>,
        /// Encryption context.
        context: Pairs,
        /// Algorithm named, if any.
        algorithm: Option<String>,
        /// Only check.
        dry_run: bool,
    }
    /// ReEncrypt.
    ReEncrypt {
        /// 1 to 6,144 bytes.
        ciphertext_blob: Blob,
        /// The blob's key, if the caller wants to be sure.
        source_key_id: Option<String>,
        /// Encryption context it was made with.
        source_context: Pairs,
        /// Any form of name.
        destination_key_id: String,
        /// Encryption context from now on.
        destination_context: Pairs,
        /// Algorithms named, source and destination.
        algorithms: [Option<String>; 2],
        /// Only check.
        dry_run: bool,
    }
    /// GenerateDataKey and GenerateDataKeyWithoutPlaintext.
    GenerateDataKey {
        /// Any form of name.
        key_id: String,
        /// `AES_256` or `AES_128`.
        key_spec: Option<String>,
        /// 1 to 1,024.
        number_of_bytes: Option<u64>,
        /// Encryption context.
        context: Pairs,
        /// Only check.
        dry_run: bool,
    }
    /// CreateKey.
    CreateKey {
        /// Policy text.
        policy: Option<String>,
        /// Up to 8,192 characters.
        description: Option<String>,
        /// Name of a usage.
        key_usage: Option<String>,
        /// Name of a spec.
        key_spec: Option<String>,
        /// Name of an origin.
        origin: Option<String>,
        /// In the order given.
        tags: Vec<(String, String)>,
        /// Skip the lockout check.
        bypass_lockout_check: bool,
    }
    /// An action that names a key and nothing else.
    OnKey {
        /// As the action takes it.
        key_id: String,
    }
    /// UpdateKeyDescription.
    UpdateKeyDescription {
        /// Id or ARN.
        key_id: String,
        /// Up to 8,192 characters.
        description: String,
    }
    /// ScheduleKeyDeletion.
    ScheduleKeyDeletion {
        /// Id or ARN.
        key_id: String,
        /// 7 to 30 days.
        pending_window_days: Option<u64>,
    }
    /// CreateAlias and UpdateAlias.
    AliasTo {
        /// With `alias/`.
        alias_name: String,
        /// Id or ARN.
        target_key_id: String,
    }
    /// DeleteAlias.
    DeleteAlias {
        /// With `alias/`.
        alias_name: String,
    }
    /// ListKeys.
    ListKeys {
        /// Part wanted.
        page: ListPage,
    }
    /// ListAliases.
    ListAliases {
        /// Only this key's.
        key_id: Option<String>,
        /// Part wanted.
        page: ListPage,
    }
    /// ListKeyPolicies and ListResourceTags.
    ListOfKey {
        /// Id or ARN.
        key_id: String,
        /// Part wanted.
        page: ListPage,
    }
    /// GetKeyPolicy.
    GetKeyPolicy {
        /// Id or ARN.
        key_id: String,
        /// `default`.
        policy_name: Option<String>,
    }
    /// PutKeyPolicy.
    PutKeyPolicy {
        /// Id or ARN.
        key_id: String,
        /// `default`.
        policy_name: Option<String>,
        /// Policy text.
        policy: String,
        /// Skip the lockout check.
        bypass_lockout_check: bool,
    }
    /// TagResource.
    TagResource {
        /// Id or ARN.
        key_id: String,
        /// In the order given.
        tags: Vec<(String, String)>,
    }
    /// UntagResource.
    UntagResource {
        /// Id or ARN.
        key_id: String,
        /// Tag keys.
        tag_keys: Vec<String>,
    }
    /// EnableKeyRotation.
    EnableKeyRotation {
        /// Id or ARN.
        key_id: String,
        /// 90 to 2,560 days.
        period_days: Option<u64>,
    }
    /// ListKeyRotations.
    ListKeyRotations {
        /// Id or ARN.
        key_id: String,
        /// The first material and the states too.
        all_material: bool,
        /// Part wanted.
        page: ListPage,
    }
    /// CreateGrant.
    CreateGrant {
        /// Id or ARN.
        key_id: String,
        /// ARN of the grantee.
        grantee: String,
        /// Who may retire it.
        retiring: Option<String>,
        /// Names of operations.
        operations: Vec<String>,
        /// `EncryptionContextSubset`.
        context_subset: Option<Pairs>,
        /// `EncryptionContextEquals`.
        context_equals: Option<Pairs>,
        /// Makes the creation repeatable.
        name: Option<String>,
        /// Only check.
        dry_run: bool,
    }
    /// ListGrants.
    ListGrants {
        /// Id or ARN.
        key_id: String,
        /// Only this one.
        grant_id: Option<String>,
        /// Only this grantee's.
        grantee: Option<String>,
        /// Part wanted.
        page: ListPage,
    }
    /// ListRetirableGrants.
    ListRetirableGrants {
        /// Retiring principal.
        retiring: String,
        /// Part wanted.
        page: ListPage,
    }
    /// RetireGrant.
    RetireGrant {
        /// Names the grant alone.
        grant_token: Option<String>,
        /// Key ARN, with the grant id.
        key_id: Option<String>,
        /// Grant id, with the key ARN.
        grant_id: Option<String>,
        /// Only check.
        dry_run: bool,
    }
    /// RevokeGrant.
    RevokeGrant {
        /// Id or ARN.
        key_id: String,
        /// 64 hexadecimal digits.
        grant_id: String,
        /// Only check.
        dry_run: bool,
    }
    /// GetParametersForImport.
    GetParametersForImport {
        /// Id or ARN.
        key_id: String,
        /// Name of a wrapping algorithm.
        wrapping_algorithm: String,
        /// Name of a wrapping key spec.
        wrapping_key_spec: String,
    }
    /// DeleteImportedKeyMaterial.
    DeleteImportedKeyMaterial {
        /// Id or ARN.
        key_id: String,
        /// 64 hexadecimal digits; the current material if absent.
        material_id: Option<String>,
    }
    /// ImportKeyMaterial.
    ImportKeyMaterial {
        /// Id or ARN.
        key_id: String,
        /// From GetParametersForImport.
        import_token: Blob,
        /// Wrapped material.
        encrypted_material: Blob,
        /// Which material it must turn out to be.
        material_id: Option<String>,
        /// Whether it may be another than before.
        import_type: Option<String>,
        /// Milliseconds since 1970.
        valid_to_ms: Option<u64>,
        /// Name of an expiration model.
        expiration_model: Option<String>,
    }
}

/// A request, and what comes along with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsCall {
    /// What is asked.
    pub request: KmsRequest,
    /// Every grant holds at once: the tokens need only be tokens.
    pub grant_tokens: Vec<String>,
    /// What an audit record may show of it, an object.
    pub parameters: serde_json::Value,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the request of that action")]
pub enum KmsRequest {
    CancelKeyDeletion(OnKey),
    CreateAlias(AliasTo),
    CreateGrant(CreateGrant),
    CreateKey(CreateKey),
    Decrypt(Decrypt),
    DeleteAlias(DeleteAlias),
    DeleteImportedKeyMaterial(DeleteImportedKeyMaterial),
    DescribeKey(OnKey),
    DisableKey(OnKey),
    DisableKeyRotation(OnKey),
    EnableKey(OnKey),
    EnableKeyRotation(EnableKeyRotation),
    Encrypt(Encrypt),
    GenerateDataKey(GenerateDataKey),
    GenerateDataKeyWithoutPlaintext(GenerateDataKey),
    /// Number of bytes, 1 to 1,024.
    GenerateRandom(u64),
    GetKeyPolicy(GetKeyPolicy),
    GetKeyRotationStatus(OnKey),
    GetParametersForImport(GetParametersForImport),
    ImportKeyMaterial(ImportKeyMaterial),
    ListAliases(ListAliases),
    ListGrants(ListGrants),
    ListKeyPolicies(ListOfKey),
    ListKeyRotations(ListKeyRotations),
    ListKeys(ListKeys),
    ListResourceTags(ListOfKey),
    ListRetirableGrants(ListRetirableGrants),
    PutKeyPolicy(PutKeyPolicy),
    ReEncrypt(ReEncrypt),
    RetireGrant(RetireGrant),
    RevokeGrant(RevokeGrant),
    RotateKeyOnDemand(OnKey),
    ScheduleKeyDeletion(ScheduleKeyDeletion),
    TagResource(TagResource),
    UntagResource(UntagResource),
    UpdateAlias(AliasTo),
    UpdateKeyDescription(UpdateKeyDescription),
}

macro_rules! action_of {
    ($request:expr, $($name:ident),+ $(,)?) => {
        match $request { $(KmsRequest::$name(..) => ServedAction::$name),+ }
    };
}

impl KmsRequest {
    /// The action it is a request of.
    pub fn action(&self) -> ServedAction {
        action_of!(
            self,
            CancelKeyDeletion,
            CreateAlias,
            CreateGrant,
            CreateKey,
            Decrypt,
            DeleteAlias,
            DeleteImportedKeyMaterial,
            DescribeKey,
            DisableKey,
            DisableKeyRotation,
            EnableKey,
            EnableKeyRotation,
            Encrypt,
            GenerateDataKey,
            GenerateDataKeyWithoutPlaintext,
            GenerateRandom,
            GetKeyPolicy,
            GetKeyRotationStatus,
            GetParametersForImport,
            ImportKeyMaterial,
            ListAliases,
            ListGrants,
            ListKeyPolicies,
            ListKeyRotations,
            ListKeys,
            ListResourceTags,
            ListRetirableGrants,
            PutKeyPolicy,
            ReEncrypt,
            RetireGrant,
            RevokeGrant,
            RotateKeyOnDemand,
            ScheduleKeyDeletion,
            TagResource,
            UntagResource,
            UpdateAlias,
            UpdateKeyDescription,
        )
    }
}
