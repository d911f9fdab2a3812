//! A growable byte buffer whose memory is aligned to a block, as direct I/O wants it.
//!
//! Alignment comes from the element type, so no unsafe code is needed. Knows nothing about frames.

use crate::frame::BLOCK_BYTES;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// One block of memory at a block's alignment.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_BYTES]);

/// Bytes at block alignment. Length is in bytes; capacity is whole blocks.
#[derive(Default)]
pub struct AlignedBuffer {
    blocks: Vec<Block>,
    len: usize,
}

impl AlignedBuffer {
    /// An empty buffer with room for `bytes` before it grows.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { blocks: Vec::with_capacity(bytes.div_ceil(BLOCK_BYTES)), len: 0 }
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Bytes written so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity_bytes(&self) -> usize {
        self.blocks.capacity() * BLOCK_BYTES
    }

    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        let start = self.len;
        self.grow_to(start + bytes.len());
        self.as_mut_slice()[start..].copy_from_slice(bytes);
    }

    /// Empties it and keeps its memory, old bytes included.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Raises the length. New bytes are zero, or what was there before `clear`: the caller writes all of them.
    pub(crate) fn grow_to(&mut self, len: usize) {
        let blocks = len.div_ceil(BLOCK_BYTES);
        if blocks > self.blocks.len() {
            self.blocks.resize(blocks, Block::new_zeroed());
        }
        self.len = self.len.max(len);
    }

    /// The bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.blocks.as_slice().as_bytes()[..self.len]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.blocks.as_mut_slice().as_mut_bytes()[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_bytes_after_the_end_are_zero() {
        let mut buffer = AlignedBuffer::with_capacity(1);
        buffer.extend_from_slice(&[7; 5000]);
        buffer.grow_to(8192);
        assert_eq!(buffer.as_slice().as_ptr() as usize % BLOCK_BYTES, 0);
        assert_eq!(buffer.len(), 8192);
        assert!(buffer.as_slice()[..5000].iter().all(|b| *b == 7));
        assert!(buffer.as_slice()[5000..].iter().all(|b| *b == 0));
    }
}
