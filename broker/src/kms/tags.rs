//! Tags of keys.

use sealq_api::kms::{ListOfKey, ReplyBody, TagResource, UntagResource};
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::{Action, PageLimits};

use super::{Call, KmsApi, Reply, nested, page_of};

impl KmsApi {
    pub(super) async fn tag_resource(&self, request: &TagResource, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::TagResource, call)?;
        self.control.mutate(|store| store.prepare_tag(key, &request.tags, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) async fn untag_resource(&self, request: &UntagResource, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::UntagResource, call)?;
        let names = &request.tag_keys;
        self.control.mutate(|store| store.prepare_untag(key, names, &mut SystemEntropy)).await?;
        Ok(ReplyBody::new())
    }

    pub(super) fn list_resource_tags(&self, request: &ListOfKey, call: &mut Call<'_>) -> Reply {
        let key = self.key(&request.key_id, Action::ListResourceTags, call)?;
        let listed = self.control.read().list_tags(key, &page_of(PageLimits::TAGS, &request.page)?)?;
        Ok(nested(ReplyBody::new(), "Tags", &listed.entries)?.page(listed.next_marker.as_deref()))
    }
}
