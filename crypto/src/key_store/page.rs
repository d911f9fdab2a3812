//! Lists in pages: the limit asked for, and a marker that says where the next page begins.
//!
//! A marker is the name of the list and the last entry's sort key, in base64: entries may come and go between pages,
//! none is shown twice, and a marker is good for its own list only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::kms_error::KmsError;

/// How long the pages of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// What is listed.
    pub list: &'static str,
    /// Entries when no limit is asked for.
    pub default: usize,
    /// Largest limit.
    pub max: usize,
}

impl PageLimits {
    /// Of ListKeys.
    pub const KEYS: Self = Self { list: "keys", default: 100, max: 1_000 };
    /// Of ListAliases.
    pub const ALIASES: Self = Self { list: "aliases", default: 50, max: 100 };
    /// Of ListGrants and ListRetirableGrants.
    pub const GRANTS: Self = Self { list: "grants", default: 50, max: 100 };
    /// Of ListResourceTags.
    pub const TAGS: Self = Self { list: "tags", default: 50, max: 50 };
    /// Of ListKeyPolicies.
    pub const POLICIES: Self = Self { list: "policies", default: 100, max: 1_000 };
    /// Of ListKeyRotations.
    pub const ROTATIONS: Self = Self { list: "rotations", default: 100, max: 1_000 };
}

/// What part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    list: &'static str,
    limit: usize,
    after: Option<String>,
}

impl Page {
    /// `limit` and `marker` as asked for. Errors: invalid marker.
    pub fn new(limits: PageLimits, limit: Option<u64>, marker: Option<&str>) -> Result<Self, KmsError> {
        let limit = limit.map_or(limits.default, |limit| (limit as usize).clamp(1, limits.max));
        let read = |marker| {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(marker).ok()?).ok()?;
            text.strip_prefix(limits.list)?.strip_prefix('\n').map(str::to_owned)
        };
        let after = marker.map(|marker| read(marker).ok_or(KmsError::InvalidMarker)).transpose()?;
        Ok(Self { list: limits.list, limit, after })
    }

    /// Takes the page out of entries that come sorted by their texts.
    pub fn of<T>(&self, sorted: impl IntoIterator<Item = (String, T)>) -> Listed<T> {
        let mut rest = sorted
            .into_iter()
            .filter(|(at, _)| self.after.as_ref().is_none_or(|after| at > after))
            .peekable();
        let mut listed = Listed { entries: Vec::new(), next_marker: None };
        while let Some((at, entry)) = rest.next() {
            listed.entries.push(entry);
            if listed.entries.len() == self.limit {
                let marker = || URL_SAFE_NO_PAD.encode(format!("{}\n{at}", self.list));
                listed.next_marker = rest.peek().map(|_| marker());
                break;
            }
        }
        listed
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// At most as many as asked for.
    pub entries: Vec<T>,
    /// There are more exactly if there is one.
    pub next_marker: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_the_whole_list() {
        let all: Vec<_> = ["a", "b", "c", "d"].map(|text| (text.to_owned(), text)).into();
        let (mut seen, mut marker) = (Vec::new(), None::<String>);
        loop {
            let page = Page::new(PageLimits::GRANTS, Some(2), marker.as_deref()).unwrap();
            let listed = page.of(all.iter().cloned());
            seen.extend(listed.entries);
            marker = listed.next_marker;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_marker_is_good_for_its_own_list_only() {
        let page = Page::new(PageLimits::GRANTS, Some(1), None).unwrap();
        let marker = page.of([("a".to_owned(), 1), ("b".to_owned(), 2)]).next_marker.unwrap();
        assert!(Page::new(PageLimits::GRANTS, None, Some(&marker)).is_ok());
        for (list, marker) in [
            (PageLimits::KEYS, &*marker),
            (PageLimits::GRANTS, "*"),
            (PageLimits::GRANTS, "dGVzdA"),
            (PageLimits::GRANTS, ""),
        ] {
            assert_eq!(Page::new(list, None, Some(marker)), Err(KmsError::InvalidMarker));
        }
    }
}
