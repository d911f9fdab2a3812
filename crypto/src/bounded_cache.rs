//! A bounded map keyed by a name and a small key, that is looked up without allocating.
//!
//! Knows no expiry: whether an entry is still good is decided at each use, by whoever asks. When it is full it
//! drops its least recently used eighth at once, so that the cost of choosing is spread over many inserts.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::atomic::{AtomicU64, Ordering},
};

/// One part in this many is dropped when the cache is full.
const EVICTED_PART: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct BoundedCache<K, V> {
    groups: HashMap<Box<str>, HashMap<K, Entry<V>>>,
    len: usize,
    len_max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    used_at_ms: AtomicU64,
}

impl<K: Eq + Hash + Copy, V> BoundedCache<K, V> {
    pub(crate) fn new(len_max: usize) -> Self {
        Self { groups: HashMap::new(), len: 0, len_max: len_max.max(1) }
    }

    /// The entry, marked as used at `now_ms`.
    pub(crate) fn get(&self, name: &str, key: &K, now_ms: u64) -> Option<&V> {
        let entry = self.groups.get(name)?.get(key)?;
        // Most hits of a busy entry fall into one millisecond: reading first keeps its cache line shared.
        if entry.used_at_ms.load(Ordering::Relaxed) < now_ms {
            entry.used_at_ms.store(now_ms, Ordering::Relaxed);
        }
        Some(&entry.value)
    }

    /// Adds or replaces; makes room first if the cache is full.
    pub(crate) fn insert(&mut self, name: &str, key: K, value: V, now_ms: u64) {
        if self.len >= self.len_max && self.groups.get(name).is_none_or(|group| !group.contains_key(&key)) {
            self.evict();
        }
        let entry = Entry { value, used_at_ms: AtomicU64::new(now_ms) };
        if self.groups.entry(name.into()).or_default().insert(key, entry).is_none() {
            self.len += 1;
        }
    }

    /// Removes one entry.
    pub(crate) fn remove(&mut self, name: &str, key: &K) {
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.remove(key).is_some() {
            self.len -= 1;
        }
        if group.is_empty() {
            self.groups.remove(name);
        }
    }

    /// Keeps the entries whose key and value satisfy `keep`.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.retain_entries(|key, entry| keep(key, &entry.value));
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn evict(&mut self) {
        let mut ages: Vec<u64> = self
            .groups
            .values()
            .flat_map(HashMap::values)
            .map(|e| e.used_at_ms.load(Ordering::Relaxed))
            .collect();
        let mut left = (ages.len() / EVICTED_PART).max(1);
        let (_, &mut newest_evicted, _) = ages.select_nth_unstable(left - 1);
        self.retain_entries(|_, entry| {
            let goes = left > 0 && entry.used_at_ms.load(Ordering::Relaxed) <= newest_evicted;
            left -= usize::from(goes);
            !goes
        });
    }

    fn retain_entries(&mut self, mut keep: impl FnMut(&K, &Entry<V>) -> bool) {
        self.groups.retain(|_, group| {
            group.retain(|key, entry| keep(key, entry));
            !group.is_empty()
        });
        self.len = self.groups.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_limit_and_one_more_drops_the_least_recently_used() {
        let mut cache = BoundedCache::new(8);
        for key in 0..8_u32 {
            cache.insert(if key % 2 == 0 { "even" } else { "odd" }, key, key, u64::from(key));
        }
        assert_eq!(cache.len(), 8);
        assert_eq!(cache.get("even", &0, 100), Some(&0));
        cache.insert("even", 8, 8, 101);
        assert_eq!(cache.len(), 8);
        assert_eq!(cache.get("odd", &1, 102), None, "1 was the least recently used");
        assert_eq!(cache.get("even", &0, 102), Some(&0));
        assert_eq!(cache.get("even", &8, 102), Some(&8));
    }

    #[test]
    fn entries_of_equal_age_do_not_all_go_at_once() {
        let mut cache = BoundedCache::new(16);
        for key in 0..16_u32 {
            cache.insert("n", key, (), 5);
        }
        cache.insert("n", 16, (), 5);
        assert_eq!(cache.len(), 15);
    }

    #[test]
    fn replacing_needs_no_room() {
        let mut cache = BoundedCache::new(2);
        cache.insert("a", 1_u32, 'x', 1);
        cache.insert("b", 1, 'y', 2);
        cache.insert("a", 1, 'z', 3);
        assert_eq!((cache.len(), cache.get("a", &1, 3), cache.get("b", &1, 3)), (2, Some(&'z'), Some(&'y')));
        cache.remove("a", &1);
        assert_eq!((cache.len(), cache.get("a", &1, 3)), (1, None));
        cache.retain(|key, _| *key != 1);
        assert_eq!(cache.len(), 0);
    }
}
