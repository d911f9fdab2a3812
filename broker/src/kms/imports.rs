//! Imported key material.

use sealq_api::kms::{GetParametersForImport, ImportKeyMaterial, ReplyBody};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::import::{
    Import, ImportKeyPair, ImportedMaterial, WrappingAlgorithm, WrappingKeySpec,
};
use sealq_crypto::key_store::key::ExpirationModel;
use sealq_crypto::key_store::{KeyId, KmsError};

use crate::key_control::KeyControl;

/// GetParametersForImport.
///
/// # Errors
/// Unsupported algorithm or spec, unsuitable key.
pub(super) async fn parameters_for_import(
    control: &KeyControl,
    key: KeyId,
    asked: &GetParametersForImport,
    now_ms: u64,
) -> Result<ReplyBody, KmsError> {
    let unsupported = |what: &str| KmsError::Unsupported { what: what.into() };
    let algorithm = WrappingAlgorithm::from_name(&asked.wrapping_algorithm)
        .ok_or_else(|| unsupported(&asked.wrapping_algorithm))?;
    let spec = WrappingKeySpec::from_name(&asked.wrapping_key_spec)
        .ok_or_else(|| unsupported(&asked.wrapping_key_spec))?;
    // Up to seconds of arithmetic: not on a thread that serves others.
    let pair = tokio::task::spawn_blocking(move || ImportKeyPair::generate(spec))
        .await
        .map_err(|error| KmsError::Internal { reason: error.to_string() })??;
    let made = control.read().parameters_for_import(key, algorithm, pair, now_ms, &mut SystemEntropy)?;
    Ok(ReplyBody::new()
        .text("KeyId", &made.key_arn)
        .blob("ImportToken", &made.import_token)
        .blob("PublicKey", &made.public_key)
        .date("ParametersValidTo", made.valid_to_ms))
}

/// ImportKeyMaterial.
///
/// # Errors
/// Unsuitable key, token or material.
pub(super) async fn import(
    control: &KeyControl,
    key: KeyId,
    asked: &ImportKeyMaterial,
    now_ms: u64,
) -> Result<ReplyBody, KmsError> {
    let import = Import {
        token: &asked.import_token,
        encrypted_material: &asked.encrypted_material,
        expiration_model: asked.expiration_model.as_deref().and_then(ExpirationModel::from_name),
        valid_to_ms: asked.valid_to_ms,
    };
    let prepared = control.change(|store| store.prepare_import(key, &import, now_ms, &mut SystemEntropy));
    Ok(shown(&prepared.await?))
}

/// DeleteImportedKeyMaterial.
///
/// # Errors
/// Unsuitable key.
pub(super) async fn delete_material(control: &KeyControl, key: KeyId) -> Result<ReplyBody, KmsError> {
    let prepared = control.change(|store| store.prepare_delete_imported_material(key, &mut SystemEntropy));
    Ok(shown(&prepared.await?))
}

fn shown(material: &ImportedMaterial) -> ReplyBody {
    let body = ReplyBody::new().text("KeyId", &material.key_arn);
    match &material.key_material_id {
        Some(id) => body.text("KeyMaterialId", id),
        None => body,
    }
}
