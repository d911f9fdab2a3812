//! The five-minute memory of a FIFO queue: which deduplication keys were accepted, and as what.
//!
//! Rebuilt at start from the frames of the last five minutes, whose extension carries the key: so it is in the same
//! commit as the message. Where a purge has forgotten them, the catalog says from which sequence on they count. Keys
//! are keyed hashes; no body digest is held.

use std::collections::{HashMap, VecDeque};

use sealq_storage::Lsn;

/// SQS API contract, section 8.3.
pub const DEDUP_WINDOW_MS: u64 = 5 * 60 * 1000;

/// Memory of a past peak is given back once less than this part of it is used.
const SHRINK_PART: usize = 4;

/// Catalog key of the first sequence that counts: a purge forgets what came before.
pub(super) fn from_key(stream: u32) -> Vec<u8> {
    format!("dedup-from/{stream:010}").into_bytes()
}

/// The first message accepted under a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Original {
    pub(super) message_id: [u8; 16],
    pub(super) sequence: u64,
    /// A duplicate may be answered only once this is durable.
    pub(super) lsn: Lsn,
}

#[derive(Debug, Default)]
pub(super) struct DedupWindow {
    by_key: HashMap<[u8; 16], (u64, Original)>,
    by_age: VecDeque<(u64, [u8; 16])>,
}

impl DedupWindow {
    pub(super) fn find(&mut self, key: &[u8; 16], now_ms: u64) -> Option<Original> {
        self.forget_before(now_ms);
        match self.by_key.get(key) {
            Some((accepted_at_ms, original)) if accepted_at_ms + DEDUP_WINDOW_MS > now_ms => Some(*original),
            _ => None,
        }
    }

    pub(super) fn remember(&mut self, key: [u8; 16], accepted_at_ms: u64, original: Original) {
        self.by_key.insert(key, (accepted_at_ms, original));
        self.by_age.push_back((accepted_at_ms, key));
    }

    /// Takes a key that was accepted before all that are known.
    pub(super) fn recall(&mut self, key: [u8; 16], accepted_at_ms: u64, original: Original) {
        self.by_key.entry(key).or_insert((accepted_at_ms, original));
        self.by_age.push_front((accepted_at_ms, key));
    }

    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.by_age.clear();
    }

    fn forget_before(&mut self, now_ms: u64) {
        while let Some((accepted_at_ms, key)) = self.by_age.front().copied() {
            if accepted_at_ms + DEDUP_WINDOW_MS > now_ms {
                break;
            }
            self.by_age.pop_front();
            if self.by_key.get(&key).is_some_and(|(at, _)| *at == accepted_at_ms) {
                self.by_key.remove(&key);
            }
        }
        if self.by_age.len() < self.by_age.capacity() / SHRINK_PART {
            self.by_age.shrink_to_fit();
            self.by_key.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_for_five_minutes_from_its_first_acceptance() {
        let mut window = DedupWindow::default();
        let original = Original { message_id: [1; 16], sequence: 4, lsn: Lsn(9) };
        window.remember([7; 16], 1_000, original);
        assert_eq!(window.find(&[7; 16], 1_000 + DEDUP_WINDOW_MS - 1).map(|o| o.sequence), Some(4));
        assert!(window.find(&[7; 16], 1_000 + DEDUP_WINDOW_MS).is_none());
        assert!(window.by_key.is_empty() && window.by_age.is_empty());
    }
}
