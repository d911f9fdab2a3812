//! Aliases. Making, moving and deleting one needs the right on the alias and on the keys behind it.

use sealq_api::kms::{AliasTo, ListAliases, ReplyBody};
use sealq_crypto::EncryptionContext;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::alias::check_alias_name;
use sealq_crypto::key_store::{Action, KmsError, PageLimits};

use super::{Call, KmsApi, Reply, nested, page_of};

impl KmsApi {
    pub(super) async fn create_alias(&self, request: &AliasTo, call: &mut Call<'_>) -> Reply {
        let name = &request.alias_name;
        check_alias_name(name)?;
        let key = self.key(&request.target_key_id, Action::CreateAlias, call)?;
        self.permit_alias(name, call)?;
        let (scope, now_ms) = (&call.scope, call.now_ms);
        self.control
            .mutate(|store| store.prepare_create_alias(scope, name, key, now_ms, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn update_alias(&self, request: &AliasTo, call: &mut Call<'_>) -> Reply {
        let name = &request.alias_name;
        check_alias_name(name)?;
        let before = self.control.read().alias_target(&call.scope, name)?;
        let key = self.key(&request.target_key_id, Action::UpdateAlias, call)?;
        self.permit(before, None, call.right, &EncryptionContext::new(), call)?;
        self.permit_alias(name, call)?;
        let (scope, now_ms) = (&call.scope, call.now_ms);
        self.control
            .mutate(|store| store.prepare_update_alias(scope, name, key, now_ms, &mut SystemEntropy))
            .await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn delete_alias(&self, name: &str, call: &mut Call<'_>) -> Reply {
        check_alias_name(name)?;
        let target = self.control.read().alias_target(&call.scope, name)?;
        self.permit(target, None, call.right, &EncryptionContext::new(), call)?;
        self.permit_alias(name, call)?;
        let scope = &call.scope;
        self.control.mutate(|store| store.prepare_delete_alias(scope, name, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) fn list_aliases(&self, request: &ListAliases, call: &Call<'_>) -> Reply {
        self.permit_service(call.right, call)?;
        let key = request.key_id.as_deref();
        let key = key.map(|named| self.find(named, Action::ListAliases, call.right, call)).transpose()?;
        let page = page_of(PageLimits::ALIASES, &request.page)?;
        let listed = self.control.read().list_aliases(&call.scope, key, &page);
        Ok(nested(ReplyBody::new(), "Aliases", &listed.entries)?.page(listed.next_marker.as_deref()))
    }

    fn permit_alias(&self, name: &str, call: &Call<'_>) -> Result<(), KmsError> {
        let arn = call.scope.alias_arn(name);
        self.rights.permit_service(call.caller, call.right, &arn, &call.conditions)
    }
}
