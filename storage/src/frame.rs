//! The 64-byte frame header and the rules by which it is found valid.
//!
//! Holds layout and checks only. Knows no file, no stream state and never looks into a payload, except for the
//! 16-byte prelude that names the source of a moved message.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: usize = 64;
/// Every frame starts at a multiple of this.
pub(crate) const FRAME_ALIGN_BYTES: usize = 8;
/// Writes are whole blocks of this size, so that direct I/O takes them and no acknowledged block is ever rewritten.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes in front of the extension of a moved message: its source.
pub(crate) const PRELUDE_BYTES: usize = 16;
/// The longest extension (and the longest catalog key): its length has 16 bits.
pub const EXTENSION_BYTES_MAX: usize = u16::MAX as usize;
/// Times and sequences have 48 bits in a header.
pub(crate) const U48_MAX: u64 = (1 << 48) - 1;

/// The frame inserts here and deletes its source.
pub(crate) const FLAG_MOVED: u8 = 1;
/// Receive count, visibility and first receive are lease state, not what the message was sent with.
pub(crate) const FLAG_LEASED: u8 = 2;
/// A delete that stands for a damaged record.
pub(crate) const FLAG_QUARANTINED: u8 = 4;
/// Written by compaction: the sequence may be older than others before it.
pub(crate) const FLAG_COPY: u8 = 8;
const FLAGS_KNOWN: u8 = FLAG_MOVED | FLAG_LEASED | FLAG_QUARANTINED | FLAG_COPY;

/// What a frame does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A message enters its stream.
    Message = 1,
    /// Visibility, receive count and first receive of a message change.
    Lease = 2,
    /// A message leaves its stream.
    Delete = 3,
    /// Every message below a sequence leaves the stream; also carries the stream's next sequence.
    Purge = 4,
    /// A catalog entry is set.
    CatalogPut = 5,
    /// A catalog entry is removed.
    CatalogDelete = 6,
    /// Fills a group up to the next block.
    Pad = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Message,
            2 => Self::Lease,
            3 => Self::Delete,
            4 => Self::Purge,
            5 => Self::CatalogPut,
            6 => Self::CatalogDelete,
            7 => Self::Pad,
            _ => return None,
        })
    }
}

/// The header as it lies on disk, little-endian. `docs/src/format.md` describes each field.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct RawFrameHeader {
    header_crc: U32,
    payload_crc: U32,
    payload_len: U32,
    extension_len: U16,
    group_block: U16,
    kind: u8,
    flags: u8,
    lsn: [u8; 6],
    stream: U32,
    receive_count: U32,
    sequence: [u8; 6],
    sent_at_ms: [u8; 6],
    visible_at_ms: [u8; 6],
    first_received_at_ms: [u8; 6],
    group_hash: U64,
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<RawFrameHeader>() == FRAME_HEADER_BYTES);
    assert!(offset_of!(RawFrameHeader, header_crc) == 0);
    assert!(offset_of!(RawFrameHeader, payload_crc) == 4);
    assert!(offset_of!(RawFrameHeader, payload_len) == 8);
    assert!(offset_of!(RawFrameHeader, extension_len) == 12);
    assert!(offset_of!(RawFrameHeader, group_block) == 14);
    assert!(offset_of!(RawFrameHeader, kind) == 16);
    assert!(offset_of!(RawFrameHeader, flags) == 17);
    assert!(offset_of!(RawFrameHeader, lsn) == 18);
    assert!(offset_of!(RawFrameHeader, stream) == 24);
    assert!(offset_of!(RawFrameHeader, receive_count) == 28);
    assert!(offset_of!(RawFrameHeader, sequence) == 32);
    assert!(offset_of!(RawFrameHeader, sent_at_ms) == 38);
    assert!(offset_of!(RawFrameHeader, visible_at_ms) == 44);
    assert!(offset_of!(RawFrameHeader, first_received_at_ms) == 50);
    assert!(offset_of!(RawFrameHeader, group_hash) == 56);
};

/// A decoded header: what the bytes mean, in native integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) lsn: u64,
    pub(crate) stream: u32,
    pub(crate) sequence: u64,
    pub(crate) sent_at_ms: u64,
    pub(crate) visible_at_ms: u64,
    pub(crate) first_received_at_ms: u64,
    pub(crate) receive_count: u32,
    pub(crate) group_hash: u64,
    /// Blocks from the start of the group to the block this frame starts in.
    pub(crate) group_block: u16,
    pub(crate) extension_len: u16,
    pub(crate) payload_len: u32,
    pub(crate) payload_crc: u32,
}

impl Frame {
    /// A frame of `kind` with every other field zero.
    pub(crate) fn bare(kind: Kind) -> Self {
        Self {
            kind,
            flags: 0,
            lsn: 0,
            stream: 0,
            sequence: 0,
            sent_at_ms: 0,
            visible_at_ms: 0,
            first_received_at_ms: 0,
            receive_count: 0,
            group_hash: 0,
            group_block: 0,
            extension_len: 0,
            payload_len: 0,
            payload_crc: 0,
        }
    }

    /// Bytes from this frame's start to the next one's.
    pub(crate) fn span_bytes(&self) -> usize {
        frame_span(self.payload_len as usize)
    }

    /// Where the body starts within the payload.
    pub(crate) fn body_start(&self) -> usize {
        self.prelude_len() + self.extension_len as usize
    }

    pub(crate) fn prelude_len(&self) -> usize {
        if self.is_moved() { PRELUDE_BYTES } else { 0 }
    }

    /// Of messages only: a Delete may carry the flags of the frame that it repeats.
    pub(crate) fn is_moved(&self) -> bool {
        self.kind == Kind::Message && self.flags & FLAG_MOVED != 0
    }

    pub(crate) fn encode(&self, seed: FrameSeed, offset: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut raw = RawFrameHeader {
            header_crc: U32::new(0),
            payload_crc: U32::new(self.payload_crc),
            payload_len: U32::new(self.payload_len),
            extension_len: U16::new(self.extension_len),
            group_block: U16::new(self.group_block),
            kind: self.kind as u8,
            flags: self.flags,
            lsn: u48(self.lsn),
            stream: U32::new(self.stream),
            receive_count: U32::new(self.receive_count),
            sequence: u48(self.sequence),
            sent_at_ms: u48(self.sent_at_ms),
            visible_at_ms: u48(self.visible_at_ms),
            first_received_at_ms: u48(self.first_received_at_ms),
            group_hash: U64::new(self.group_hash),
        };
        let crc = seed.header_crc(offset, raw.as_bytes());
        raw.header_crc = U32::new(crc);
        zerocopy::transmute!(raw)
    }

    /// The frame at `offset` of a segment, if the 64 bytes there are a header written for exactly that place.
    /// Says nothing about the payload.
    pub(crate) fn decode(seed: FrameSeed, offset: u64, bytes: &[u8]) -> Option<Self> {
        let raw = RawFrameHeader::ref_from_bytes(bytes.get(..FRAME_HEADER_BYTES)?).ok()?;
        // Kind and flags first: they turn zeros and most of old bytes away before the CRC is computed.
        let kind = Kind::from_byte(raw.kind)?;
        if raw.flags & !FLAGS_KNOWN != 0 || raw.header_crc.get() != seed.header_crc(offset, raw.as_bytes()) {
            return None;
        }
        let frame = Self {
            kind,
            flags: raw.flags,
            lsn: from_u48(raw.lsn),
            stream: raw.stream.get(),
            sequence: from_u48(raw.sequence),
            sent_at_ms: from_u48(raw.sent_at_ms),
            visible_at_ms: from_u48(raw.visible_at_ms),
            first_received_at_ms: from_u48(raw.first_received_at_ms),
            receive_count: raw.receive_count.get(),
            group_hash: raw.group_hash.get(),
            group_block: raw.group_block.get(),
            extension_len: raw.extension_len.get(),
            payload_len: raw.payload_len.get(),
            payload_crc: raw.payload_crc.get(),
        };
        (frame.body_start() <= frame.payload_len as usize).then_some(frame)
    }
}

/// Seed of a segment's header CRCs: bytes left behind by an earlier use of the file, by another store or at another
/// offset never verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSeed(u32);

impl FrameSeed {
    pub(crate) fn new(store_id: [u8; 16], segment: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&store_id);
        hasher.update(&segment.to_le_bytes());
        Self(hasher.finalize())
    }

    /// CRC of anything else that belongs to the segment (prelude, footer, directory).
    pub(crate) fn crc(self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(bytes);
        hasher.finalize()
    }

    fn header_crc(self, offset: u64, header: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        // One contiguous 68-byte input: the offset takes the place of the CRC field.
        let mut input = [0; FRAME_HEADER_BYTES + 4];
        input[..8].copy_from_slice(&offset.to_le_bytes());
        input[8..].copy_from_slice(&header[4..FRAME_HEADER_BYTES]);
        hasher.update(&input);
        hasher.finalize()
    }
}

/// Bytes that a frame with `payload_len` bytes of payload takes in a segment.
pub(crate) fn frame_span(payload_len: usize) -> usize {
    (FRAME_HEADER_BYTES + payload_len).next_multiple_of(FRAME_ALIGN_BYTES)
}

/// The prelude of a moved message. It has its own CRC, because recovery reads it without the rest of the payload.
pub(crate) fn encode_prelude(source: (u32, u64)) -> [u8; PRELUDE_BYTES] {
    let mut bytes = [0; PRELUDE_BYTES];
    bytes[..4].copy_from_slice(&source.0.to_le_bytes());
    bytes[8..].copy_from_slice(&source.1.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The source named by a prelude, or `None` when it is damaged.
pub(crate) fn decode_prelude(payload: &[u8]) -> Option<(u32, u64)> {
    let mut bytes: [u8; PRELUDE_BYTES] = payload.get(..PRELUDE_BYTES)?.try_into().ok()?;
    let crc = u32::from_le_bytes(bytes[4..8].try_into().ok()?);
    bytes[4..8].fill(0);
    if crc32fast::hash(&bytes) != crc {
        return None;
    }
    Some((u32::from_le_bytes(bytes[..4].try_into().ok()?), u64::from_le_bytes(bytes[8..].try_into().ok()?)))
}

fn u48(value: u64) -> [u8; 6] {
    let bytes = value.min(U48_MAX).to_le_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]
}

fn from_u48(bytes: [u8; 6]) -> u64 {
    u64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        Frame {
            flags: FLAG_LEASED,
            lsn: 77,
            stream: 9,
            sequence: U48_MAX,
            sent_at_ms: 1_700_000_000_000,
            visible_at_ms: 1_700_000_000_900,
            first_received_at_ms: 3,
            receive_count: 4,
            group_hash: u64::MAX,
            group_block: 2,
            extension_len: 5,
            payload_len: 10,
            payload_crc: 0xdead_beef,
            ..Frame::bare(Kind::Message)
        }
    }

    #[test]
    fn header_round_trips() {
        let seed = FrameSeed::new([1; 16], 7);
        let bytes = sample().encode(seed, 4096);
        assert_eq!(Frame::decode(seed, 4096, &bytes), Some(sample()));
    }

    #[test]
    fn header_of_another_segment_store_or_offset_never_verifies() {
        let bytes = sample().encode(FrameSeed::new([1; 16], 7), 4096);
        assert_eq!(Frame::decode(FrameSeed::new([1; 16], 8), 4096, &bytes), None);
        assert_eq!(Frame::decode(FrameSeed::new([2; 16], 7), 4096, &bytes), None);
        assert_eq!(Frame::decode(FrameSeed::new([1; 16], 7), 4104, &bytes), None);
    }

    #[test]
    fn any_flipped_bit_of_a_header_is_noticed() {
        let seed = FrameSeed::new([1; 16], 7);
        let bytes = sample().encode(seed, 0);
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(seed, 0, &flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_and_short_input_are_no_header() {
        let seed = FrameSeed::new([0; 16], 0);
        assert_eq!(Frame::decode(seed, 0, &[0; 64]), None);
        assert_eq!(Frame::decode(seed, 0, &sample().encode(seed, 0)[..63]), None);
    }

    #[test]
    fn extension_longer_than_payload_is_refused() {
        let seed = FrameSeed::new([0; 16], 0);
        let bytes = Frame { extension_len: 11, ..sample() }.encode(seed, 0);
        assert_eq!(Frame::decode(seed, 0, &bytes), None);
    }

    #[test]
    fn prelude_round_trips_and_notices_any_flip() {
        let bytes = encode_prelude((3, 1 << 40));
        assert_eq!(decode_prelude(&bytes), Some((3, 1 << 40)));
        for bit in 0..PRELUDE_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_prelude(&flipped), None);
        }
    }
}
