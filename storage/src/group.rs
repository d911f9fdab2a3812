//! The group being filled: frames in a buffer for a known place in a known segment.
//!
//! Knows how frames are laid down, not what they mean.

use crate::aligned_buffer::AlignedBuffer;
use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES, Frame, FrameSeed, Kind};
use std::time::Instant;

/// A group never grows beyond this; recovery looks no further for a valid frame after damage.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// The longest payload (extension and body) of one frame.
pub const PAYLOAD_BYTES_MAX: usize = 3 << 20;
/// The most that closing a group adds.
pub(crate) const PAD_BYTES_MAX: usize = BLOCK_BYTES + FRAME_HEADER_BYTES;

/// Frames that become durable together.
pub(crate) struct Group {
    pub(crate) segment: u64,
    seed: FrameSeed,
    /// Offset in the segment at which the buffer starts; whole blocks.
    pub(crate) start: u64,
    pub(crate) buffer: AlignedBuffer,
    pub(crate) last_lsn: u64,
    pub(crate) records: u64,
    /// Records that are no marks: what a mark may build upon.
    others: u64,
    pub(crate) opened: Instant,
}

impl Group {
    /// `buffer`: emptied, for its memory.
    pub(crate) fn new(segment: u64, seed: FrameSeed, start: u64, mut buffer: AlignedBuffer) -> Self {
        buffer.clear();
        Self { segment, seed, start, buffer, last_lsn: 0, records: 0, others: 0, opened: Instant::now() }
    }

    /// Offset in the segment at which the next frame will start.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    pub(crate) fn has_frames(&self) -> bool {
        self.records > 0
    }

    pub(crate) fn has_other_than_marks(&self) -> bool {
        self.others > 0
    }

    pub(crate) fn fits(&self, span_bytes: usize) -> bool {
        self.buffer.len() + span_bytes + PAD_BYTES_MAX <= GROUP_BYTES_MAX
    }

    /// Lays down the segment's header block. Only at the start of a segment.
    pub(crate) fn push_header(&mut self, block: &[u8; BLOCK_BYTES]) {
        self.buffer.extend_from_slice(block);
    }

    /// Lays down one frame, filling in lengths and CRCs; its offset in the segment.
    pub(crate) fn push(&mut self, frame: &mut Frame, parts: &[&[u8]]) -> u64 {
        let offset = self.end();
        let at = self.buffer.len();
        let payload_len: usize = parts.iter().map(|part| part.len()).sum();
        frame.payload_len = payload_len as u32;
        frame.group_block = ((offset - self.start) / BLOCK_BYTES as u64) as u16;
        self.buffer.grow_to(at + frame.span_bytes());
        let (payload, padding) =
            self.buffer.as_mut_slice()[at + FRAME_HEADER_BYTES..].split_at_mut(payload_len);
        padding.fill(0);
        let mut filled = 0;
        for part in parts {
            payload[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        frame.payload_crc = if payload_len == 0 { 0 } else { crc32fast::hash(payload) };
        let header = frame.encode(self.seed, offset);
        self.buffer.as_mut_slice()[at..at + FRAME_HEADER_BYTES].copy_from_slice(&header);
        self.last_lsn = frame.lsn;
        if frame.kind != Kind::Pad {
            self.records += 1;
            self.others += u64::from(frame.kind != Kind::Purge);
        }
        offset
    }

    /// Fills up to a block boundary with a pad frame of LSN `lsn`: its presence says that the group was written whole.
    pub(crate) fn close(&mut self, lsn: u64) {
        let end = self.buffer.len() + FRAME_HEADER_BYTES;
        let zeros = [0; BLOCK_BYTES];
        let payload_len = end.next_multiple_of(BLOCK_BYTES) - end;
        let mut pad = Frame { lsn, ..Frame::bare(Kind::Pad) };
        self.push(&mut pad, &[&zeros[..payload_len]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;
    use crate::segment::{Found, FrameWalk};

    fn message(lsn: u64) -> Frame {
        Frame { lsn, stream: 1, sequence: lsn, ..Frame::bare(Kind::Message) }
    }

    #[test]
    fn frames_of_a_group_are_walked_in_order_and_fill_whole_blocks() {
        let seed = FrameSeed::new([0; 16], 1);
        let mut group = Group::new(1, seed, 0, AlignedBuffer::default());
        for (lsn, len) in [(1, 0usize), (2, 1), (3, 5000), (4, 3900)] {
            group.push(&mut message(lsn), &[&vec![1; len]]);
        }
        group.close(5);
        assert_eq!(group.buffer.len() % BLOCK_BYTES, 0);
        let file = Mapping::of_bytes(group.buffer.as_slice().to_vec());
        let mut walk = FrameWalk::new(&file, seed, 0, 0, None);
        let lsns: Vec<u64> = walk
            .by_ref()
            .map(|found| match found {
                Found::Frame { frame, .. } => frame.lsn,
                Found::Damage { .. } => 0,
            })
            .collect();
        assert_eq!(lsns, [1, 2, 3, 4, 5]);
        assert!(!walk.ended_torn());
    }

    #[test]
    fn a_group_without_its_pad_is_torn() {
        let seed = FrameSeed::new([0; 16], 1);
        let mut group = Group::new(1, seed, 0, AlignedBuffer::default());
        group.push(&mut message(1), &[b"x"]);
        let mut bytes = group.buffer.as_slice().to_vec();
        bytes.resize(8192, 0);
        let file = Mapping::of_bytes(bytes);
        let mut walk = FrameWalk::new(&file, seed, 0, 0, None);
        assert_eq!(walk.by_ref().count(), 1);
        assert!(walk.ended_torn());
    }

    #[test]
    fn damage_costs_one_frame_and_the_walk_goes_on() {
        let seed = FrameSeed::new([0; 16], 1);
        let mut group = Group::new(1, seed, 0, AlignedBuffer::default());
        for lsn in 1..=3 {
            group.push(&mut message(lsn), &[&[7; 100]]);
        }
        group.close(4);
        let mut bytes = group.buffer.as_slice().to_vec();
        bytes[168 + 20] ^= 1;
        let found: Vec<Found> = FrameWalk::new(&Mapping::of_bytes(bytes), seed, 0, 0, None).collect();
        assert_eq!(found.len(), 4);
        assert!(matches!(found[1], Found::Damage { offset: 168, lost: 1 }));
    }
}
