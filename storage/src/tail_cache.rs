//! The most recent groups, kept in memory: direct writes leave nothing in the page cache, and fresh messages are read
//! soon.

use crate::aligned_buffer::AlignedBuffer;
use crate::group::GROUP_BYTES_MAX;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

struct CachedGroup {
    segment: u64,
    start: u64,
    blocks: Arc<AlignedBuffer>,
}

/// Buffers kept for use again.
const POOL_BUFFERS_MAX: usize = 2;
/// A buffer more than this many times larger than needed is not used: it would stay in the cache.
pub(crate) const SLACK_FACTOR: usize = 2;
const CAPACITY_BYTES_MIN: usize = 16 << 10;

/// Groups in the order of the log, bounded by bytes.
pub(crate) struct TailCache {
    groups: VecDeque<CachedGroup>,
    bytes: usize,
    bytes_max: usize,
    /// Memory of dropped groups that nobody reads any more, for the next ones.
    pool: Vec<AlignedBuffer>,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { groups: VecDeque::new(), bytes: 0, bytes_max, pool: Vec::new() }
    }

    /// Adds the newest group; the oldest go when it is too much. The newest always stays.
    pub(crate) fn push(&mut self, segment: u64, start: u64, blocks: Arc<AlignedBuffer>) {
        self.bytes += blocks.capacity_bytes();
        self.groups.push_back(CachedGroup { segment, start, blocks });
        while self.bytes > self.bytes_max && self.groups.len() > 1 {
            if let Some(oldest) = self.groups.pop_front() {
                self.bytes -= oldest.blocks.capacity_bytes();
                if self.pool.len() < POOL_BUFFERS_MAX
                    && let Ok(buffer) = Arc::try_unwrap(oldest.blocks)
                {
                    self.pool.push(buffer);
                }
            }
        }
    }

    /// A buffer for the next group, of about `capacity_hint_bytes`. Large ones go round instead of being allocated and
    /// zeroed anew; small ones are cheap.
    pub(crate) fn buffer(&mut self, capacity_hint_bytes: usize) -> AlignedBuffer {
        let capacity = capacity_hint_bytes.clamp(CAPACITY_BYTES_MIN, GROUP_BYTES_MAX);
        let fitting = self.pool.iter().position(|buffer| {
            (capacity..=capacity.saturating_mul(SLACK_FACTOR)).contains(&buffer.capacity_bytes())
        });
        match fitting {
            Some(at) => self.pool.swap_remove(at),
            None => {
                self.pool.clear();
                AlignedBuffer::with_capacity(capacity)
            }
        }
    }

    /// The group that holds `offset` of `segment`, and where in it.
    pub(crate) fn find(
        &self,
        segment: u64,
        offset: u64,
        len: usize,
    ) -> Option<(Arc<AlignedBuffer>, Range<usize>)> {
        let after = self.groups.partition_point(|g| (g.segment, g.start) <= (segment, offset));
        let group = self.groups.get(after.checked_sub(1)?)?;
        let at = usize::try_from(offset - group.start.min(offset)).ok()?;
        (group.segment == segment && at + len <= group.blocks.len())
            .then(|| (Arc::clone(&group.blocks), at..at + len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_it_holds_and_drops_the_oldest() {
        let mut cache = TailCache::new(3 * 4096);
        for group in 0..4u64 {
            cache.push(1, group * 4096, Arc::new(AlignedBuffer::from_slice(&[group as u8; 4096])));
        }
        assert!(cache.find(1, 0, 8).is_none());
        let (blocks, range) = cache.find(1, 8192 + 8, 8).unwrap();
        assert_eq!(blocks.as_slice()[range], [2; 8]);
        assert!(cache.find(1, 4 * 4096, 8).is_none());
        assert!(cache.find(2, 8192, 8).is_none());
        assert!(cache.find(0, 8192, 8).is_none());
    }
}
