//! Tags of keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::action::Action;
use super::key::KeyId;
use super::kms_error::{KmsError, TagFault};
use super::page::{Listed, Page};
use super::{KeyStore, Mutation};
use crate::entropy::Entropy;

/// Most tags of one key.
pub const TAGS_MAX: usize = 50;

/// An entry of ListResourceTags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// 1 to 128 characters.
    pub tag_key: String,
    /// Up to 256 characters.
    pub tag_value: String,
}

/// Adds `new` to `tags`, overwriting equal keys. Errors leave `tags` half changed: they are thrown away then.
pub(crate) fn merge(tags: &mut BTreeMap<String, String>, new: &[(String, String)]) -> Result<(), KmsError> {
    let is_reserved = |key: &str| key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"));
    if new.iter().any(|(key, _)| is_reserved(key)) {
        return Err(TagFault::Reserved.into());
    }
    let distinct: BTreeSet<&String> = new.iter().map(|(key, _)| key).collect();
    if distinct.len() != new.len() {
        return Err(TagFault::Duplicate.into());
    }
    tags.extend(new.iter().cloned());
    match tags.len() <= TAGS_MAX {
        true => Ok(()),
        false => Err(TagFault::TooMany.into()),
    }
}

impl KeyStore {
    /// The tags of a key, for policy conditions.
    pub fn tags(&self, key: KeyId) -> Result<&BTreeMap<String, String>, KmsError> {
        Ok(&self.key(key)?.tags)
    }

    /// ListResourceTags, by tag key.
    pub fn list_tags(&self, key: KeyId, page: &Page) -> Result<Listed<Tag>, KmsError> {
        let tags = self.tags(key)?.iter();
        Ok(page
            .of(tags
                .map(|(key, value)| (key.clone(), Tag { tag_key: key.clone(), tag_value: value.clone() }))))
    }

    /// TagResource.
    pub fn prepare_tag(
        &self,
        key: KeyId,
        new: &[(String, String)],
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        self.change_key(key, Action::TagResource, entropy, |key| merge(&mut key.tags, new))
    }

    /// UntagResource; unknown tag keys are passed over.
    pub fn prepare_untag(
        &self,
        key: KeyId,
        tag_keys: &[String],
        entropy: &mut dyn Entropy,
    ) -> Result<Mutation, KmsError> {
        self.change_key(key, Action::UntagResource, entropy, |key| {
            key.tags.retain(|tag_key, _| !tag_keys.contains(tag_key));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::PageLimits;
    use super::super::testing::Bench;
    use super::*;
    use crate::entropy::SystemEntropy;

    fn pairs(keys: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
        keys.into_iter().map(|key| (key, "v".to_owned())).collect()
    }

    #[test]
    fn tag_faults_have_the_recorded_texts() {
        let mut tags = BTreeMap::new();
        let mut text = |new: Vec<_>| merge(&mut tags, &new).unwrap_err().to_string();
        assert_eq!(text(pairs(["a".into(), "a".into()])), "Duplicate tag keys");
        assert_eq!(text(pairs(["aws:a".into()])), "Tags beginning with aws: are reserved");
        assert_eq!(text(pairs((0..51).map(|n| n.to_string()))), "Too many tags");
        assert!(merge(&mut BTreeMap::new(), &pairs((0..50).map(|n| n.to_string()))).is_ok());
    }

    #[test]
    fn tagging_overwrites_and_untagging_passes_over_unknown_keys() {
        let mut bench = Bench::new();
        let key = bench.create_key();
        for value in ["1", "2"] {
            let mutation =
                bench.store.prepare_tag(key, &[("a".into(), value.into())], &mut SystemEntropy).unwrap();
            bench.commit(mutation);
        }
        let page = Page::new(PageLimits::TAGS, None, None).unwrap();
        let listed = bench.store.list_tags(key, &page).unwrap().entries;
        assert_eq!(listed, [Tag { tag_key: "a".into(), tag_value: "2".into() }]);
        let mutation = bench.store.prepare_untag(key, &["a".into(), "z".into()], &mut SystemEntropy).unwrap();
        bench.commit(mutation);
        assert!(bench.store.tags(key).unwrap().is_empty());
    }
}
