//! The index of a segment: which messages lie where, stream by stream.
//!
//! It stands in memory while the segment is young, and after sealing in the file, behind the frames, from where it is
//! read through the segment's mapping. Everything in it can be rebuilt from the frames. Knows nothing of liveness.

use crate::frame::{BLOCK_BYTES, FLAG_MOVED, Frame, FrameSeed, PRELUDE_BYTES};
use crate::mapping::Mapping;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: [u8; 8] = *b"SEALQFTR";
const FOOTER_VERSION: u32 = 1;
const TRAILER_COPY_BYTES: usize = BLOCK_BYTES / 2;

/// One message frame. The same layout in memory and on disk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) sequence: U64,
    pub(crate) sent_at_ms: U64,
    pub(crate) visible_at_ms: U64,
    pub(crate) first_received_at_ms: U64,
    pub(crate) group_hash: U64,
    pub(crate) lsn: U64,
    pub(crate) offset: U32,
    pub(crate) payload_len: U32,
    pub(crate) receive_count: U32,
    pub(crate) extension_len: U16,
    pub(crate) flags: u8,
    reserved: u8,
}

/// Bytes of an [`Entry`].
pub(crate) const ENTRY_BYTES: usize = 64;

/// One delete frame.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Tombstone {
    pub(crate) stream: U32,
    pub(crate) flags: U32,
    pub(crate) sequence: U64,
}

/// Bytes of a [`Tombstone`].
pub(crate) const TOMBSTONE_BYTES: usize = 16;

/// One stream of a segment.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct StreamEntry {
    pub(crate) stream: U32,
    /// Entries of the stream.
    pub(crate) count: U32,
    /// Index of its first entry among the segment's.
    pub(crate) start: U32,
    /// CRC of its entries.
    crc: U32,
    /// One more than the highest sequence that a frame of the segment proves to have been given out.
    pub(crate) next_sequence: U64,
    /// Lowest and highest sequence among its entries, 0 without any.
    pub(crate) first: U64,
    pub(crate) last: U64,
}

/// Bytes of a [`StreamEntry`].
pub(crate) const STREAM_ENTRY_BYTES: usize = 40;

/// The trailer: it stands twice in the last block of a sealed segment. Each copy is zero up to its last four bytes, which
/// are the CRC of what is before them.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTrailer {
    magic: [u8; 8],
    version: U32,
    entry_count: U32,
    frames_end: U64,
    last_lsn: U64,
    message_bytes: U64,
    footer_offset: U64,
    stream_count: U32,
    tombstone_count: U32,
    directory_crc: U32,
    tombstone_crc: U32,
    torn_from: U64,
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<Entry>() == ENTRY_BYTES);
    assert!(size_of::<Tombstone>() == TOMBSTONE_BYTES);
    assert!(size_of::<StreamEntry>() == STREAM_ENTRY_BYTES);
    assert!(size_of::<RawTrailer>() == 72);
    assert!(offset_of!(Entry, lsn) == 40);
    assert!(offset_of!(Entry, offset) == 48);
    assert!(offset_of!(Entry, extension_len) == 60);
    assert!(offset_of!(Entry, flags) == 62);
    assert!(offset_of!(StreamEntry, next_sequence) == 16);
    assert!(offset_of!(RawTrailer, frames_end) == 16);
    assert!(offset_of!(RawTrailer, footer_offset) == 40);
    assert!(offset_of!(RawTrailer, directory_crc) == 56);
    assert!(offset_of!(RawTrailer, torn_from) == 64);
};

impl Entry {
    pub(crate) fn of(frame: &Frame, offset: u64) -> Self {
        Self {
            sequence: U64::new(frame.sequence),
            sent_at_ms: U64::new(frame.sent_at_ms),
            visible_at_ms: U64::new(frame.visible_at_ms),
            first_received_at_ms: U64::new(frame.first_received_at_ms),
            group_hash: U64::new(frame.group_hash),
            lsn: U64::new(frame.lsn),
            offset: U32::new(offset as u32),
            payload_len: U32::new(frame.payload_len),
            receive_count: U32::new(frame.receive_count),
            extension_len: U16::new(frame.extension_len),
            flags: frame.flags,
            reserved: 0,
        }
    }

    pub(crate) fn body_len(&self) -> u32 {
        let prelude = if self.flags & FLAG_MOVED != 0 { PRELUDE_BYTES as u32 } else { 0 };
        self.payload_len.get().saturating_sub(prelude + u32::from(self.extension_len.get()))
    }

    pub(crate) fn span_bytes(&self) -> usize {
        crate::frame::frame_span(self.payload_len.get() as usize)
    }
}

/// What one stream has in a segment whose index is in memory.
#[derive(Default)]
pub(crate) struct StreamEntries {
    /// Sorted by sequence.
    pub(crate) entries: Vec<Entry>,
    pub(crate) next_sequence: u64,
}

/// A segment's index, wherever it stands.
pub(crate) enum SegmentIndex {
    Memory(BTreeMap<u32, StreamEntries>),
    Footer(Footer),
}

impl SegmentIndex {
    pub(crate) fn empty() -> Self {
        Self::Memory(BTreeMap::new())
    }

    /// Entries of `stream`, sorted by sequence; empty when there are none or they are damaged.
    pub(crate) fn entries<'a>(&'a self, stream: u32, mapping: Option<&'a Mapping>) -> &'a [Entry] {
        match self {
            Self::Memory(streams) => streams.get(&stream).map_or(&[], |s| &s.entries),
            Self::Footer(footer) => mapping.map_or(&[], |m| footer.entries(m, stream)),
        }
    }

    /// Every stream with how many entries it has and the next sequence that the segment proves.
    pub(crate) fn streams(&self, mapping: Option<&Mapping>) -> Vec<(u32, u64)> {
        match self {
            Self::Memory(streams) => streams.iter().map(|(id, s)| (*id, s.next_sequence)).collect(),
            Self::Footer(footer) => mapping.map_or_else(Vec::new, |m| {
                footer.directory(m).iter().map(|d| (d.stream.get(), d.next_sequence.get())).collect()
            }),
        }
    }
}

/// Where the parts of a footer are within the segment.
pub(crate) struct Footer {
    seed: FrameSeed,
    pub(crate) frames_end: u64,
    pub(crate) last_lsn: u64,
    pub(crate) message_bytes: u64,
    pub(crate) entry_count: u32,
    /// From here on recovery found a write that a crash had cut short, 0 for nowhere. Records that do not verify there,
    /// and that no entry calls whole, were never acknowledged.
    pub(crate) torn_from: u64,
    entries_at: usize,
    tombstones_at: usize,
    tombstone_count: usize,
    tombstone_crc: u32,
    directory_at: usize,
    stream_count: usize,
    /// Of the trailer: 0 or 1.
    pub(crate) damaged_copies: u8,
    /// Two bits a stream: not looked at, good, bad. A section's CRC is checked when it is first used: checking all at
    /// open would read every footer whole.
    checked: Vec<Cell<u8>>,
    /// The same of the tombstones: they are read a few at a time, by many steps.
    tombstones_checked: Cell<u8>,
}

/// What a trailer block held.
pub(crate) enum FooterFound {
    Valid(Footer),
    /// No trailer of this segment: never sealed.
    Absent,
    /// A good trailer whose directory is damaged.
    Damaged,
}

const UNSEEN: u8 = 0;
const GOOD: u8 = 1;
const BAD: u8 = 2;

/// Bytes that sealing a segment with so much in it takes, the trailer block included.
pub(crate) fn footer_bytes(entries: usize, streams: usize, tombstones: usize) -> usize {
    let content = entries * ENTRY_BYTES + tombstones * TOMBSTONE_BYTES + streams * STREAM_ENTRY_BYTES;
    content.next_multiple_of(BLOCK_BYTES) + BLOCK_BYTES
}

/// Where the footer starts: the next block, should a crash have cut the last group short.
pub(crate) fn footer_offset(frames_end: u64) -> u64 {
    frames_end.next_multiple_of(BLOCK_BYTES as u64)
}

/// The footer of a segment and its trailer block.
pub(crate) struct EncodedFooter {
    pub(crate) content: Vec<u8>,
    pub(crate) trailer: Vec<u8>,
}

pub(crate) fn encode_footer(
    seed: FrameSeed,
    streams: &BTreeMap<u32, StreamEntries>,
    tombstones: &[Tombstone],
    (frames_end, torn_from): (u64, u64),
    last_lsn: u64,
    message_bytes: u64,
) -> EncodedFooter {
    let entries: usize = streams.values().map(|stream| stream.entries.len()).sum();
    let mut content = Vec::with_capacity(footer_bytes(entries, streams.len(), tombstones.len()));
    let mut directory = Vec::with_capacity(streams.len());
    let mut start = 0u32;
    for (stream, entries) in streams {
        let bytes = entries.entries.as_bytes();
        content.extend_from_slice(bytes);
        directory.push(StreamEntry {
            stream: U32::new(*stream),
            count: U32::new(entries.entries.len() as u32),
            start: U32::new(start),
            crc: U32::new(seed.crc(bytes)),
            next_sequence: U64::new(entries.next_sequence),
            first: entries.entries.first().map_or(U64::new(0), |e| e.sequence),
            last: entries.entries.last().map_or(U64::new(0), |e| e.sequence),
        });
        start += entries.entries.len() as u32;
    }
    content.extend_from_slice(tombstones.as_bytes());
    content.extend_from_slice(directory.as_bytes());
    let raw = RawTrailer {
        magic: MAGIC,
        version: U32::new(FOOTER_VERSION),
        entry_count: U32::new(start),
        frames_end: U64::new(frames_end),
        last_lsn: U64::new(last_lsn),
        message_bytes: U64::new(message_bytes),
        footer_offset: U64::new(footer_offset(frames_end)),
        stream_count: U32::new(directory.len() as u32),
        tombstone_count: U32::new(tombstones.len() as u32),
        directory_crc: U32::new(seed.crc(directory.as_bytes())),
        tombstone_crc: U32::new(seed.crc(tombstones.as_bytes())),
        torn_from: U64::new(torn_from),
    };
    let mut trailer = vec![0; BLOCK_BYTES];
    for copy in trailer.chunks_exact_mut(TRAILER_COPY_BYTES) {
        copy[..raw.as_bytes().len()].copy_from_slice(raw.as_bytes());
        let crc = seed.crc(&copy[..TRAILER_COPY_BYTES - 4]);
        copy[TRAILER_COPY_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    }
    EncodedFooter { content, trailer }
}

impl Footer {
    /// Reads the trailer and checks the directory of a segment. What the disk does not read is as if it were damaged.
    pub(crate) fn find(file: &Mapping, seed: FrameSeed) -> FooterFound {
        let len = file.bytes().len();
        let block = len.checked_sub(BLOCK_BYTES).and_then(|at| file.read(at..len).ok());
        let Some(block) = block else { return FooterFound::Absent };
        let good = |copy: &&[u8]| {
            let (content, crc) = copy.split_at(TRAILER_COPY_BYTES - 4);
            seed.crc(content).to_le_bytes() == crc
        };
        let copies: Vec<&[u8]> = block.chunks_exact(TRAILER_COPY_BYTES).filter(good).collect();
        // An earlier use of the file leaves a trailer that does not verify either.
        let Some(Ok((raw, _))) = copies.first().map(|copy| RawTrailer::ref_from_prefix(copy)) else {
            return FooterFound::Absent;
        };
        if raw.magic != MAGIC || raw.version.get() != FOOTER_VERSION {
            return FooterFound::Damaged;
        }
        let entries_at = raw.footer_offset.get() as usize;
        let entry_count = raw.entry_count.get() as usize;
        let tombstone_count = raw.tombstone_count.get() as usize;
        let stream_count = raw.stream_count.get() as usize;
        let tombstones_at = entries_at.saturating_add(entry_count * ENTRY_BYTES);
        let directory_at = tombstones_at.saturating_add(tombstone_count * TOMBSTONE_BYTES);
        let footer = Self {
            seed,
            frames_end: raw.frames_end.get(),
            last_lsn: raw.last_lsn.get(),
            message_bytes: raw.message_bytes.get(),
            entry_count: raw.entry_count.get(),
            torn_from: raw.torn_from.get(),
            entries_at,
            tombstones_at,
            tombstone_count,
            tombstone_crc: raw.tombstone_crc.get(),
            directory_at,
            stream_count,
            damaged_copies: 2 - copies.len() as u8,
            tombstones_checked: Cell::new(UNSEEN),
            checked: vec![Cell::new(UNSEEN); stream_count.min(len / STREAM_ENTRY_BYTES)],
        };
        if file.read(extent::<StreamEntry>(directory_at, stream_count)).is_err() {
            return FooterFound::Damaged;
        }
        let directory = footer.directory(file);
        let within = directory
            .iter()
            .all(|d| u64::from(d.start.get()) + u64::from(d.count.get()) <= u64::from(footer.entry_count));
        if directory.len() != stream_count
            || !within
            || seed.crc(directory.as_bytes()) != raw.directory_crc.get()
            || footer.frames_end > len as u64
        {
            return FooterFound::Damaged;
        }
        FooterFound::Valid(footer)
    }

    pub(crate) fn directory<'a>(&self, file: &'a Mapping) -> &'a [StreamEntry] {
        slice_of(file, self.directory_at, self.stream_count)
    }

    /// Delete frames of the segment; `None` when that part is damaged.
    pub(crate) fn tombstones<'a>(&self, file: &'a Mapping) -> Option<&'a [Tombstone]> {
        let found: &[Tombstone] = slice_of(file, self.tombstones_at, self.tombstone_count);
        if self.tombstones_checked.get() == UNSEEN {
            let intact = found.len() == self.tombstone_count
                && file.read(extent::<Tombstone>(self.tombstones_at, self.tombstone_count)).is_ok()
                && self.seed.crc(found.as_bytes()) == self.tombstone_crc;
            self.tombstones_checked.set(if intact { GOOD } else { BAD });
        }
        (self.tombstones_checked.get() == GOOD).then_some(found)
    }

    fn entries<'a>(&self, file: &'a Mapping, stream: u32) -> &'a [Entry] {
        let directory = self.directory(file);
        let Ok(at) = directory.binary_search_by_key(&stream, |d| d.stream.get()) else { return &[] };
        self.section(file, at).unwrap_or(&[])
    }

    /// Whether the stream is in the footer, and its entries do not verify.
    pub(crate) fn is_damaged(&self, file: &Mapping, stream: u32) -> bool {
        let found = self.directory(file).binary_search_by_key(&stream, |d| d.stream.get());
        found.is_ok_and(|at| self.section(file, at).is_none())
    }

    /// The entries of the `at`-th stream; `None` when they are damaged.
    pub(crate) fn section<'a>(&self, file: &'a Mapping, at: usize) -> Option<&'a [Entry]> {
        let directory = self.directory(file).get(at)?;
        let start = self.entries_at + directory.start.get() as usize * ENTRY_BYTES;
        let count = directory.count.get() as usize;
        let entries: &[Entry] = slice_of(file, start, count);
        let checked = self.checked.get(at)?;
        if checked.get() == UNSEEN {
            let intact = entries.len() == count
                && file.read(extent::<Entry>(start, count)).is_ok()
                && self.seed.crc(entries.as_bytes()) == directory.crc.get();
            checked.set(if intact { GOOD } else { BAD });
        }
        (checked.get() == GOOD).then_some(entries)
    }
}

/// Where `count` of them lie from `at` on.
fn extent<T>(at: usize, count: usize) -> Range<usize> {
    at..at.saturating_add(count.saturating_mul(size_of::<T>()))
}

fn slice_of<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    file: &Mapping,
    at: usize,
    count: usize,
) -> &[T] {
    file.bytes()
        .get(at..)
        .and_then(|rest| <[T]>::ref_from_prefix_with_elems(rest, count).ok())
        .map_or(&[], |(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Kind;

    fn sealed() -> (Vec<u8>, FrameSeed) {
        let seed = FrameSeed::new([5; 16], 2);
        let mut streams = BTreeMap::new();
        for stream in [1u32, 7] {
            let entries = (1..=3)
                .map(|sequence| {
                    Entry::of(&Frame { sequence, stream, ..Frame::bare(Kind::Message) }, sequence * 64)
                })
                .collect();
            streams.insert(stream, StreamEntries { entries, next_sequence: 4 });
        }
        let tombstones = [Tombstone { stream: U32::new(1), flags: U32::new(0), sequence: U64::new(2) }];
        let footer = encode_footer(seed, &streams, &tombstones, (8192, 0), 9, 500);
        let mut bytes = vec![0; 32768];
        bytes[8192..8192 + footer.content.len()].copy_from_slice(&footer.content);
        bytes[32768 - BLOCK_BYTES..].copy_from_slice(&footer.trailer);
        (bytes, seed)
    }

    #[test]
    fn footer_round_trips() {
        let (bytes, seed) = sealed();
        let file = Mapping::of_bytes(bytes);
        let FooterFound::Valid(footer) = Footer::find(&file, seed) else { panic!("not found") };
        assert_eq!(footer.entries(&file, 7).len(), 3);
        assert_eq!(footer.entries(&file, 7)[2].offset.get(), 192);
        assert!(footer.entries(&file, 2).is_empty());
        assert_eq!(footer.tombstones(&file).unwrap()[0].sequence.get(), 2);
        assert!(matches!(Footer::find(&file, FrameSeed::new([5; 16], 3)), FooterFound::Absent));
    }

    #[test]
    fn a_flip_anywhere_in_a_footer_is_noticed_and_costs_one_part() {
        let (bytes, seed) = sealed();
        let used = 8192..8192 + 6 * ENTRY_BYTES + TOMBSTONE_BYTES + 2 * STREAM_ENTRY_BYTES;
        for at in used.chain(32768 - BLOCK_BYTES..32768) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let flipped = Mapping::of_bytes(flipped);
            let bad = match Footer::find(&flipped, seed) {
                FooterFound::Valid(footer) => [
                    footer.section(&flipped, 0).is_none(),
                    footer.section(&flipped, 1).is_none(),
                    footer.tombstones(&flipped).is_none(),
                    footer.damaged_copies == 1,
                ]
                .iter()
                .filter(|bad| **bad)
                .count(),
                _ => 1,
            };
            assert_eq!(bad, 1, "byte {at}");
        }
    }
}
