//! Aliases. Each action needs the right on the alias and on every key it concerns.

use sealq_api::kms::{AliasTo, ReplyBody};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::alias::{ALIAS_PREFIX, SERVICE_ALIAS_PREFIX};
use sealq_crypto::key_store::{Action, KmsError};

use super::KmsApi;
use super::authorization::Ask;
use super::trail::Trail;
use crate::caller::Caller;

impl KmsApi {
    pub(super) async fn create_alias(
        &self,
        caller: &Caller,
        asked: &AliasTo,
        trail: &mut Trail,
    ) -> Result<ReplyBody, KmsError> {
        let scope = self.scope(caller);
        check_name(&asked.alias_name)?;
        let key = self.authorized(caller, &asked.target_key_id, Action::CreateAlias, trail)?;
        self.allow_by_identity(caller, "kms:CreateAlias", &scope.alias_arn(&asked.alias_name))?;
        let now_ms = self.clock.now_ms();
        let name = &asked.alias_name;
        self.control
            .mutate(|store| store.prepare_create_alias(&scope, name, key, now_ms, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn update_alias(
        &self,
        caller: &Caller,
        asked: &AliasTo,
        trail: &mut Trail,
    ) -> Result<ReplyBody, KmsError> {
        let scope = self.scope(caller);
        let name = &asked.alias_name;
        check_name(name)?;
        let key = self.authorized(caller, &asked.target_key_id, Action::UpdateAlias, trail)?;
        let old = self.control.read().alias_target(&scope, name)?;
        self.allow(caller, old, Ask::new("kms:UpdateAlias"), trail)?;
        self.allow_by_identity(caller, "kms:UpdateAlias", &scope.alias_arn(name))?;
        let now_ms = self.clock.now_ms();
        self.control
            .mutate(|store| store.prepare_update_alias(&scope, name, key, now_ms, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn delete_alias(
        &self,
        caller: &Caller,
        name: &str,
        trail: &mut Trail,
    ) -> Result<ReplyBody, KmsError> {
        let scope = self.scope(caller);
        check_name(name)?;
        let key = self.control.read().alias_target(&scope, name)?;
        self.allow(caller, key, Ask::new("kms:DeleteAlias"), trail)?;
        self.allow_by_identity(caller, "kms:DeleteAlias", &scope.alias_arn(name))?;
        self.control.mutate(|store| store.prepare_delete_alias(&scope, name, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }
}

/// What is said about the name itself comes before rights: it is the same for everybody.
fn check_name(name: &str) -> Result<(), KmsError> {
    if !name.starts_with(ALIAS_PREFIX) {
        return Err(KmsError::AliasPrefix);
    }
    match name.starts_with(SERVICE_ALIAS_PREFIX) {
        true => Err(KmsError::AliasReserved { name: name.into() }),
        false => Ok(()),
    }
}
