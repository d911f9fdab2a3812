//! Lists in pages: the limit asked for, and a marker that says where the next page begins.
//!
//! A marker is the last entry's sort key in base64: entries may come and go between pages, none is shown twice.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::kms_error::KmsError;
use super::shape::Shape;

/// How long the pages of a list are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// Entries when no limit is asked for.
    pub default: usize,
    /// Largest limit.
    pub max: usize,
}

impl PageLimits {
    /// Of ListKeys.
    pub const KEYS: Self = Self { default: 100, max: 1_000 };
    /// Of ListAliases.
    pub const ALIASES: Self = Self { default: 50, max: 100 };
    /// Of ListGrants and ListRetirableGrants.
    pub const GRANTS: Self = Self { default: 50, max: 100 };
    /// Of ListResourceTags.
    pub const TAGS: Self = Self { default: 50, max: 50 };
    /// Of ListKeyRotations.
    pub const ROTATIONS: Self = Self { default: 100, max: 1_000 };
}

/// What part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    after: Option<String>,
}

impl Page {
    /// `limit` and `marker` as asked for. Errors: validation, invalid marker.
    pub fn new(limits: PageLimits, limit: Option<u64>, marker: Option<&str>) -> Result<Self, KmsError> {
        let limit = limit.unwrap_or(limits.default as u64);
        Shape::new().range("limit", limit, 1, limits.max as u64).finish()?;
        let after = marker
            .map(|marker| {
                let bytes = URL_SAFE_NO_PAD.decode(marker).map_err(|_| KmsError::InvalidMarker)?;
                String::from_utf8(bytes).map_err(|_| KmsError::InvalidMarker)
            })
            .transpose()?;
        Ok(Self { limit: limit as usize, after })
    }

    /// Takes the page out of entries that come sorted by their texts.
    pub(crate) fn take<T>(&self, sorted: impl Iterator<Item = (String, T)>) -> Listed<T> {
        let mut rest = sorted.filter(|(at, _)| self.after.as_ref().is_none_or(|after| at > after)).peekable();
        let mut listed = Listed { entries: Vec::new(), next_marker: None };
        while let Some((at, entry)) = rest.next() {
            listed.entries.push(entry);
            if listed.entries.len() == self.limit {
                listed.next_marker = rest.peek().map(|_| URL_SAFE_NO_PAD.encode(at));
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
            let listed = page.take(all.iter().cloned());
            seen.extend(listed.entries);
            marker = listed.next_marker;
            if marker.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d"]);
    }

    #[test]
    fn limits_and_markers_out_of_bounds_are_refused() {
        assert_eq!(Page::new(PageLimits::GRANTS, Some(0), None).unwrap_err().name(), "ValidationException");
        assert_eq!(Page::new(PageLimits::GRANTS, Some(101), None).unwrap_err().name(), "ValidationException");
        assert!(Page::new(PageLimits::GRANTS, Some(100), None).is_ok());
        assert_eq!(Page::new(PageLimits::GRANTS, None, Some("*")), Err(KmsError::InvalidMarker));
    }
}
