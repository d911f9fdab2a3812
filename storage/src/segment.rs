//! A segment file: its name, its header, and the walk over its frames.
//!
//! Knows nothing of streams; what the frames mean is for recovery and compaction to say.

use crate::disk::DiskFile;
use crate::footer::{ENTRY_BYTES, Entry, Footer, FooterFound, SegmentIndex, Tombstone};
use crate::frame::{BLOCK_BYTES, FRAME_ALIGN_BYTES, FRAME_HEADER_BYTES, Frame, FrameSeed, Kind};
use crate::group::GROUP_BYTES_MAX;
use crate::mapping::Mapping;
use crate::stream_index::sort_entries;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The format that this code writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;
/// Frames start after the header block.
pub(crate) const FRAMES_START: u64 = BLOCK_BYTES as u64;
/// The smallest segment: header, one group, footer, trailer.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 32 << 10;
/// Offsets within a segment have 32 bits.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 4 << 30;

const MAGIC: [u8; 8] = *b"SEALQSEG";
/// A segment of which at most this part is needed is worth copying. Disk use is at most its inverse, 1.7 times what is
/// alive, and 1.5 bytes are copied for each byte that is given back.
const SPARSE_PERCENT: u64 = 60;
/// Messages are large when less than so many fit into a segment.
const LARGE_PART: u64 = 10;
/// The header stands twice in its block, so that one flipped byte leaves a good one.
const HEADER_COPY_BYTES: usize = BLOCK_BYTES / 2;
const FLAG_AFTER_OPEN: u64 = 1;
const SUFFIX: &str = ".seg";
const RETIRED_SUFFIX: &str = ".free";

/// One copy of the header; zeros follow up to its length, then the CRC of all before it.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSegmentHeader {
    magic: [u8; 8],
    version: U32,
    header_len: U32,
    store_id: [u8; 16],
    segment: U64,
    base_lsn: U64,
    segment_bytes: U64,
    flags: U64,
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<RawSegmentHeader>() == 64);
    assert!(offset_of!(RawSegmentHeader, version) == 8);
    assert!(offset_of!(RawSegmentHeader, header_len) == 12);
    assert!(offset_of!(RawSegmentHeader, store_id) == 16);
    assert!(offset_of!(RawSegmentHeader, segment) == 32);
    assert!(offset_of!(RawSegmentHeader, base_lsn) == 40);
    assert!(offset_of!(RawSegmentHeader, segment_bytes) == 48);
    assert!(offset_of!(RawSegmentHeader, flags) == 56);
};

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) segment: u64,
    pub(crate) base_lsn: u64,
    pub(crate) segment_bytes: u64,
    /// The first segment of a process: the last group of the one before may be torn.
    pub(crate) after_open: bool,
}

/// What was found in a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    /// `damaged_copies`: 0 or 1.
    Valid { header: SegmentHeader, damaged_copies: u8 },
    /// A good header of a version that this code does not read.
    NewerFormat(u32),
    /// Never written, or damaged beyond use.
    Unreadable,
}

impl SegmentHeader {
    /// The header block.
    pub(crate) fn encode(&self) -> [u8; BLOCK_BYTES] {
        let raw = RawSegmentHeader {
            magic: MAGIC,
            version: U32::new(FORMAT_VERSION),
            header_len: U32::new(BLOCK_BYTES as u32),
            store_id: self.store_id,
            segment: U64::new(self.segment),
            base_lsn: U64::new(self.base_lsn),
            segment_bytes: U64::new(self.segment_bytes),
            flags: U64::new(if self.after_open { FLAG_AFTER_OPEN } else { 0 }),
        };
        let mut block = [0; BLOCK_BYTES];
        for copy in block.chunks_exact_mut(HEADER_COPY_BYTES) {
            copy[..raw.as_bytes().len()].copy_from_slice(raw.as_bytes());
            let crc = crc32fast::hash(&copy[..HEADER_COPY_BYTES - 4]);
            copy[HEADER_COPY_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        }
        block
    }

    pub(crate) fn decode(block: &[u8]) -> HeaderFound {
        let mut found = HeaderFound::Unreadable;
        let mut damaged_copies = 0;
        for copy in block.chunks_exact(HEADER_COPY_BYTES).take(2) {
            match Self::decode_copy(copy) {
                HeaderFound::Unreadable => damaged_copies += 1,
                good => found = good,
            }
        }
        match found {
            HeaderFound::Valid { header, .. } => HeaderFound::Valid { header, damaged_copies },
            other => other,
        }
    }

    fn decode_copy(copy: &[u8]) -> HeaderFound {
        let (content, crc) = copy.split_at(HEADER_COPY_BYTES - 4);
        let Ok((raw, _)) = RawSegmentHeader::ref_from_prefix(content) else { return HeaderFound::Unreadable };
        if raw.magic != MAGIC || crc32fast::hash(content).to_le_bytes() != crc {
            return HeaderFound::Unreadable;
        }
        if raw.version.get() != FORMAT_VERSION {
            return HeaderFound::NewerFormat(raw.version.get());
        }
        HeaderFound::Valid {
            header: Self {
                store_id: raw.store_id,
                segment: raw.segment.get(),
                base_lsn: raw.base_lsn.get(),
                segment_bytes: raw.segment_bytes.get(),
                after_open: raw.flags.get() & FLAG_AFTER_OPEN != 0,
            },
            damaged_copies: 0,
        }
    }
}

pub(crate) fn segment_name(id: u64) -> String {
    format!("{id:08}{SUFFIX}")
}

pub(crate) fn retired_name(id: u64) -> String {
    format!("{id:08}{RETIRED_SUFFIX}")
}

pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

pub(crate) fn parse_retired_name(name: &str) -> Option<u64> {
    name.strip_suffix(RETIRED_SUFFIX)?.parse().ok()
}

/// Where a segment is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentState {
    /// Groups are appended.
    Active,
    /// Full; its footer waits for its last group, or is being written.
    Sealing,
    /// Never changes again.
    Sealed,
    /// Nothing in it is needed; it goes once copies and a checkpoint are durable.
    Draining,
    /// Being renamed away.
    Retiring,
}

/// A segment as the log knows it.
pub(crate) struct Segment {
    pub(crate) id: u64,
    /// Gone once sealed: the mapping needs no descriptor, and there may be thousands of segments.
    pub(crate) file: Option<Arc<dyn DiskFile>>,
    /// Size of the file; an older one may have another than the setting says.
    pub(crate) size_bytes: u64,
    pub(crate) seed: FrameSeed,
    pub(crate) state: SegmentState,
    pub(crate) base_lsn: u64,
    /// See [`SegmentHeader`].
    pub(crate) after_open: bool,
    pub(crate) last_lsn: u64,
    /// End of the last frame, at a block boundary.
    pub(crate) frames_end: u64,
    /// Where recovery found a write that a crash had cut short, 0 for nowhere.
    pub(crate) torn_from: u64,
    /// Every message frame in it, dead ones too. Filled when the segment stops being active.
    pub(crate) index: SegmentIndex,
    /// Set once sealed.
    pub(crate) mapping: Option<Arc<Mapping>>,
    /// Delete frames; empty once the footer has them.
    pub(crate) tombstones: Vec<Tombstone>,
    pub(crate) message_count: u64,
    pub(crate) message_bytes: u64,
    pub(crate) live_count: u64,
    /// Draining only: the last LSN that compaction copied out of it.
    pub(crate) drained_lsn: u64,
    /// Its footer is on its way.
    pub(crate) is_being_sealed: bool,
    /// Compaction leaves it alone until so many segments have been retired.
    pub(crate) blocked_until_retired: u64,
    /// Streams of which it must be there until then, dead messages included. In memory only.
    pub(crate) kept_until_ms: BTreeMap<u32, u64>,
    /// Entries read from the frames, by stream and in order of sequence, once the footer's turn out to be damaged.
    rebuilt: OnceCell<BTreeMap<u32, Vec<Entry>>>,
}

impl Segment {
    pub(crate) fn new(
        id: u64,
        file: Arc<dyn DiskFile>,
        size_bytes: u64,
        store_id: [u8; 16],
        base_lsn: u64,
    ) -> Self {
        Self {
            id,
            file: Some(file),
            size_bytes,
            seed: FrameSeed::new(store_id, id),
            state: SegmentState::Active,
            base_lsn,
            after_open: false,
            last_lsn: base_lsn.saturating_sub(1),
            frames_end: FRAMES_START,
            torn_from: 0,
            rebuilt: OnceCell::new(),
            index: SegmentIndex::empty(),
            mapping: None,
            tombstones: Vec::new(),
            message_count: 0,
            message_bytes: 0,
            live_count: 0,
            drained_lsn: 0,
            is_being_sealed: false,
            blocked_until_retired: 0,
            kept_until_ms: BTreeMap::new(),
        }
    }

    /// The footer is on disk: from now on the index is read from there. One that cannot be read back stays in memory.
    pub(crate) fn become_sealed(&mut self, mapping: Mapping) {
        if let FooterFound::Valid(footer) = Footer::find(&mapping, self.seed) {
            self.index = SegmentIndex::Footer(footer);
            self.tombstones = Vec::new();
        } else {
            tracing::error!(segment = self.id, "the footer just written cannot be read back");
        }
        self.mapping = Some(Arc::new(mapping));
        self.file = None;
        self.state = SegmentState::Sealed;
    }

    /// Whether the stream's part of the footer does not verify.
    pub(crate) fn index_is_damaged(&self, stream: u32) -> bool {
        match (&self.index, &self.mapping) {
            (SegmentIndex::Footer(footer), Some(mapping)) => footer.is_damaged(mapping, stream),
            _ => false,
        }
    }

    /// The slow way to a message, for when the footer is damaged: the frames are walked once.
    pub(crate) fn find_by_walking(&self, stream: u32, sequence: u64) -> Option<Entry> {
        let entries = self.rebuilt.get_or_init(|| self.walk_entries()).get(&stream)?;
        entries.binary_search_by_key(&sequence, |entry| entry.sequence.get()).ok().map(|at| entries[at])
    }

    fn walk_entries(&self) -> BTreeMap<u32, Vec<Entry>> {
        let mut streams = BTreeMap::<u32, Vec<Entry>>::new();
        let Some(mapping) = &self.mapping else { return streams };
        for found in FrameWalk::new(mapping, self.seed, FRAMES_START, 0, Some(self.frames_end)) {
            if let Found::Frame { offset, frame, .. } = found
                && frame.kind == Kind::Message
            {
                streams.entry(frame.stream).or_default().push(Entry::of(&frame, offset));
            }
        }
        streams.values_mut().for_each(sort_entries);
        streams
    }

    /// Delete frames in it; `None` when that part of the footer is damaged.
    pub(crate) fn tombstones(&self) -> Option<&[Tombstone]> {
        match (&self.index, &self.mapping) {
            (SegmentIndex::Footer(footer), Some(mapping)) => footer.tombstones(mapping),
            _ => Some(&self.tombstones),
        }
    }

    /// Bytes of live messages, by the segment's mean: exact sums would have to be kept per message.
    pub(crate) fn live_bytes(&self) -> u64 {
        match self.message_count {
            0 => 0,
            count => {
                (u128::from(self.message_bytes) * u128::from(self.live_count) / u128::from(count)) as u64
            }
        }
    }

    /// What its live messages would take elsewhere, index included.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.live_bytes() + self.live_count * ENTRY_BYTES as u64
    }

    /// Whether copying what is alive gives enough space back. Of a file that was closed before it was full the unused
    /// end counts as well, unless its messages are so large that no other file would hold them better.
    pub(crate) fn is_sparse(&self) -> bool {
        let mean = self.message_bytes / self.message_count.max(1);
        let held = if mean.saturating_mul(LARGE_PART) <= self.size_bytes {
            self.size_bytes
        } else {
            self.frames_end - FRAMES_START + self.message_count * ENTRY_BYTES as u64
        };
        self.live_count == 0 || self.needed_bytes() * 100 <= held * SPARSE_PERCENT
    }

    pub(crate) fn note_message(&mut self, frame: &Frame) {
        self.message_count += 1;
        self.message_bytes += frame.span_bytes() as u64;
    }

    pub(crate) fn entries(&self, stream: u32) -> &[Entry] {
        self.index.entries(stream, self.mapping.as_deref())
    }
}

/// What lies at one place of a segment.
#[derive(Debug)]
pub(crate) enum Found {
    /// A valid header whose payload lies within the segment. The payload is not checked.
    Frame { offset: u64, frame: Frame, payload: Range<usize> },
    /// No valid header at `offset`, but one farther on: `lost` LSNs are missing between. Or the disk does not read what is
    /// there, and nothing follows: at most so many are lost.
    Damage { offset: u64, lost: u64 },
}

/// Walks the frames of a segment in order.
///
/// Where no valid header stands, looks for the next one as far as one group can reach: one there means damage, none
/// means that the segment ends.
pub(crate) struct FrameWalk<'a> {
    file: &'a Mapping,
    seed: FrameSeed,
    offset: u64,
    last_lsn: u64,
    /// Start of the group that the last frame belongs to.
    group_start: u64,
    /// Set for sealed segments: where the frames end for certain.
    known_end: Option<u64>,
    /// The LSN of the last frame, 0 when not known.
    known_last_lsn: u64,
    pending: Option<Found>,
    unreadable: Unreadable,
    /// The walk stopped in front of something other than a finished group.
    torn: bool,
    last_was_pad: bool,
}

/// What a disk did not read of a segment's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) blocks: u64,
    /// Offset of the first of them.
    pub(crate) first: u64,
}

impl Unreadable {
    fn note(&mut self, block: u64) {
        if self.blocks == 0 {
            self.first = block;
        }
        self.blocks += 1;
    }
}

impl<'a> FrameWalk<'a> {
    /// `last_lsn`: the LSN of the frame before `offset`, 0 when not known.
    pub(crate) fn new(
        file: &'a Mapping,
        seed: FrameSeed,
        offset: u64,
        last_lsn: u64,
        known_end: Option<u64>,
    ) -> Self {
        Self {
            file,
            seed,
            offset,
            last_lsn,
            group_start: offset,
            known_end,
            known_last_lsn: 0,
            pending: None,
            unreadable: Unreadable::default(),
            torn: false,
            last_was_pad: true,
        }
    }

    /// Of a sealed segment, whose footer says which LSN its last frame has.
    pub(crate) fn ending_with(mut self, last_lsn: u64) -> Self {
        self.known_last_lsn = last_lsn;
        self
    }

    /// End of the last frame found.
    pub(crate) fn end(&self) -> u64 {
        self.offset
    }

    /// Whether the walk ended within a group: its pad is missing.
    pub(crate) fn ended_torn(&self) -> bool {
        self.torn || !self.last_was_pad
    }

    pub(crate) fn group_start(&self) -> u64 {
        self.group_start
    }

    /// What the disk did not read so far.
    pub(crate) fn unreadable(&self) -> Unreadable {
        self.unreadable
    }

    /// Where frames cannot reach beyond.
    fn limit(&self) -> u64 {
        self.known_end.unwrap_or(self.file.bytes().len() as u64)
    }

    /// The frame whose header stands at `offset`, if one does.
    fn frame_at(&self, offset: u64) -> io::Result<Option<(Frame, Range<usize>)>> {
        let at = offset as usize;
        let header = match self.file.read(at..at + FRAME_HEADER_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        Ok(Frame::decode(self.seed, offset, header).and_then(|frame| {
            let payload = at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + frame.payload_len as usize;
            let end = at + frame.span_bytes();
            (end as u64 <= self.limit()).then_some((frame, payload))
        }))
    }

    /// The end of the block that the disk does not read, of the one or two that a header at `offset` lies in.
    fn skip_unreadable(&mut self, offset: u64) -> u64 {
        let mut end = (offset + 1).next_multiple_of(BLOCK_BYTES as u64);
        if self.file.read(offset as usize..end as usize).is_ok() {
            end += BLOCK_BYTES as u64;
        }
        self.unreadable.note(end - BLOCK_BYTES as u64);
        end
    }

    fn accept(&mut self, offset: u64, frame: Frame, payload: Range<usize>) -> Found {
        self.offset = offset + frame.span_bytes() as u64;
        self.last_lsn = frame.lsn;
        self.group_start = group_start_of(offset, &frame);
        self.last_was_pad = frame.kind == Kind::Pad;
        Found::Frame { offset, frame, payload }
    }
}

/// Where the group of the frame at `offset` starts. Blocks are counted from the segment's start.
fn group_start_of(offset: u64, frame: &Frame) -> u64 {
    (offset / BLOCK_BYTES as u64).saturating_sub(frame.group_block.into()) * BLOCK_BYTES as u64
}

impl Iterator for FrameWalk<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some(found) = self.pending.take() {
            return Some(found);
        }
        let limit = self.limit();
        if self.offset >= limit {
            return None;
        }
        let from = self.offset;
        let reach = if self.known_end.is_some() { limit } else { limit.min(from + GROUP_BYTES_MAX as u64) };
        let mut at = from;
        let mut unread_to = from;
        while at + FRAME_HEADER_BYTES as u64 <= reach {
            match self.frame_at(at) {
                Ok(Some((frame, payload))) if frame.lsn > self.last_lsn => {
                    let lost = if self.last_lsn == 0 { 1 } else { (frame.lsn - self.last_lsn - 1).max(1) };
                    let accepted = self.accept(at, frame, payload);
                    if at == from {
                        return Some(accepted);
                    }
                    self.pending = Some(accepted);
                    return Some(Found::Damage { offset: from, lost });
                }
                Ok(_) => at += FRAME_ALIGN_BYTES as u64,
                Err(_) => {
                    let end = self.skip_unreadable(at);
                    if at == unread_to {
                        unread_to = end;
                    }
                    at = end;
                }
            }
        }
        if self.known_end.is_some() {
            // A sealed segment ends where its footer says: what is missing before is damage.
            self.offset = limit;
            let lost = if self.last_lsn == 0 { 1 } else { self.known_last_lsn.saturating_sub(self.last_lsn) };
            return Some(Found::Damage { offset: from, lost: lost.max(1) });
        }
        self.torn = !self.last_was_pad;
        // Nothing valid beyond: never look again.
        self.known_end = Some(self.offset);
        // Where the next frame would start the disk does not read: so many may have been there.
        let lost = (unread_to - from).div_ceil(FRAME_HEADER_BYTES as u64);
        (lost > 0).then_some(Found::Damage { offset: from, lost })
    }
}

/// Whether the payload is the one that the header was written for.
pub(crate) fn payload_is_intact(frame: &Frame, payload: &[u8]) -> bool {
    payload.len() == frame.payload_len as usize && crc32fast::hash(payload) == frame.payload_crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            store_id: [3; 16],
            segment: 12,
            base_lsn: 99,
            segment_bytes: 64 << 20,
            after_open: true,
        }
    }

    #[test]
    fn header_survives_any_one_flipped_byte_and_says_so() {
        let block = header().encode();
        assert_eq!(SegmentHeader::decode(&block), HeaderFound::Valid { header: header(), damaged_copies: 0 });
        for at in 0..BLOCK_BYTES {
            let mut flipped = block;
            flipped[at] ^= 0x40;
            assert_eq!(
                SegmentHeader::decode(&flipped),
                HeaderFound::Valid { header: header(), damaged_copies: 1 },
                "byte {at}"
            );
        }
    }

    #[test]
    fn header_of_a_newer_format_is_told_from_damage() {
        let mut block = header().encode();
        for copy in block.chunks_exact_mut(HEADER_COPY_BYTES) {
            copy[8] = 2;
            let crc = crc32fast::hash(&copy[..HEADER_COPY_BYTES - 4]);
            copy[HEADER_COPY_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        }
        assert_eq!(SegmentHeader::decode(&block), HeaderFound::NewerFormat(2));
        assert_eq!(SegmentHeader::decode(&[0; BLOCK_BYTES]), HeaderFound::Unreadable);
    }

    #[test]
    fn names_round_trip() {
        assert_eq!(segment_name(7), "00000007.seg");
        assert_eq!(parse_segment_name(&segment_name(123_456_789_012)), Some(123_456_789_012));
        assert_eq!(parse_retired_name(&retired_name(5)), Some(5));
        assert_eq!(parse_segment_name("x.seg"), None);
    }
}
