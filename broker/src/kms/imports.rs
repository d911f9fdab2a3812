//! Imported key material.

use sealq_api::kms::{DeleteImportedKeyMaterial, GetParametersForImport, ImportKeyMaterial, ReplyBody};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::import::{
    Import, ImportKeyPair, ImportedMaterial, WrappingAlgorithm, WrappingKeySpec,
};
use sealq_crypto::key_store::key::ExpirationModel;
use sealq_crypto::key_store::{Action, KmsError};

use super::{Call, KmsApi, Reply};

impl KmsApi {
    pub(super) async fn get_parameters_for_import(
        &self,
        asked: &GetParametersForImport,
        call: &mut Call<'_>,
    ) -> Reply {
        let key = self.key(&asked.key_id, Action::GetParametersForImport, call)?;
        let unsupported = |what: &str| KmsError::Unsupported { what: what.into() };
        let algorithm = WrappingAlgorithm::from_name(&asked.wrapping_algorithm)
            .ok_or_else(|| unsupported(&asked.wrapping_algorithm))?;
        let spec = WrappingKeySpec::from_name(&asked.wrapping_key_spec)
            .ok_or_else(|| unsupported(&asked.wrapping_key_spec))?;
        // Before the pair is made: that is work a key that takes no import shall not cause.
        self.control.read().check_import(key)?;
        // Up to seconds of arithmetic: not on a thread that serves others.
        let pair = tokio::task::spawn_blocking(move || ImportKeyPair::generate(spec))
            .await
            .map_err(|error| KmsError::Internal { reason: error.to_string() })??;
        let store = self.control.read();
        let made = store.parameters_for_import(key, algorithm, pair, call.now_ms, &mut SystemEntropy)?;
        Ok(ReplyBody::new()
            .text("KeyId", &made.key_arn)
            .blob("ImportToken", &made.import_token)
            .blob("PublicKey", &made.public_key)
            .date("ParametersValidTo", made.valid_to_ms))
    }

    pub(super) async fn import_key_material(&self, asked: &ImportKeyMaterial, call: &mut Call<'_>) -> Reply {
        let key = self.key(&asked.key_id, Action::ImportKeyMaterial, call)?;
        let import = Import {
            token: &asked.import_token,
            encrypted_material: &asked.encrypted_material,
            expiration_model: asked.expiration_model.as_deref().and_then(ExpirationModel::from_name),
            valid_to_ms: asked.valid_to_ms,
            material_id: asked.material_id.as_deref(),
            is_new: asked.import_type.as_deref() == Some("NEW_KEY_MATERIAL"),
        };
        let now_ms = call.now_ms;
        let imported = self
            .control
            .change(|store| store.prepare_import(key, &import, now_ms, &mut SystemEntropy))
            .await?;
        Ok(shown(&imported))
    }

    pub(super) async fn delete_imported_key_material(
        &self,
        asked: &DeleteImportedKeyMaterial,
        call: &mut Call<'_>,
    ) -> Reply {
        let key = self.key(&asked.key_id, Action::DeleteImportedKeyMaterial, call)?;
        let id = asked.material_id.as_deref();
        let deleted = self
            .control
            .change(|store| store.prepare_delete_imported_material(key, id, &mut SystemEntropy))
            .await?;
        Ok(shown(&deleted))
    }
}

fn shown(material: &ImportedMaterial) -> ReplyBody {
    let body = ReplyBody::new().text("KeyId", &material.key_arn);
    match &material.key_material_id {
        Some(id) => body.text("KeyMaterialId", id),
        None => body,
    }
}
