//! What the log knows at one LSN, in one file: it saves reading every segment at start.
//!
//! Two are kept. Everything in them can be found again in the segments, at the price of time and of leases.

use crate::disk::Disk;
use crate::liveness::Liveness;
use crate::record::LeaseState;
use crate::stream_index::Stream;
use bincode::config::{Configuration, Fixint, LittleEndian};
use std::io;
use std::sync::Arc;

/// Checkpoints that stay on the disk.
pub(crate) const KEPT: u64 = 2;
pub(crate) const TEMPORARY_NAME: &str = "checkpoint.tmp";

const MAGIC: [u8; 8] = *b"SEALQCKP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
/// A checkpoint that claims more is damaged.
const PAYLOAD_BYTES_MAX: usize = 1 << 30;
const PREFIX: &str = "checkpoint-";

/// The payload.
#[derive(Debug, Default, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct Checkpoint {
    pub(crate) store_id: [u8; 16],
    /// Everything up to and including this LSN is in it.
    pub(crate) lsn: u64,
    /// Where the first frame after it lies.
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    /// No segment number from here on was used.
    pub(crate) next_segment: u64,
    /// Streams not listed start at this sequence.
    pub(crate) sequence_floor: u64,
    pub(crate) quarantined: u64,
    pub(crate) streams: Vec<StreamState>,
    pub(crate) catalog: Vec<CatalogState>,
    /// Deleted keys and the segment whose frame says so.
    pub(crate) catalog_deleted: Vec<(Arc<[u8]>, u64)>,
}

/// One catalog entry.
#[derive(Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct CatalogState {
    pub(crate) key: Arc<[u8]>,
    pub(crate) value: Arc<[u8]>,
    pub(crate) segment: u64,
}

/// One stream.
#[derive(Debug, PartialEq, bincode::Encode, bincode::Decode)]
pub(crate) struct StreamState {
    pub(crate) id: u32,
    low: u64,
    next: u64,
    holes: Vec<(u64, Option<Vec<u64>>)>,
    leases: Vec<(u64, u64, u64, u32)>,
    evidence_segment: u64,
    mark_segment: u64,
}

impl StreamState {
    pub(crate) fn of(id: u32, stream: &Stream) -> Self {
        Self {
            id,
            low: stream.liveness.low(),
            next: stream.liveness.next(),
            holes: stream
                .liveness
                .holes()
                .map(|(index, words)| (index, words.map(<[u64]>::to_vec)))
                .collect(),
            leases: stream
                .leases
                .iter()
                .map(|(sequence, l)| (*sequence, l.visible_at_ms, l.first_received_at_ms, l.receive_count))
                .collect(),
            evidence_segment: stream.evidence_segment,
            mark_segment: stream.mark_segment,
        }
    }

    pub(crate) fn restore(self) -> (u32, Stream) {
        let mut stream = Stream::with_liveness(Liveness::restore(self.low, self.next, self.holes));
        for (sequence, visible_at_ms, first_received_at_ms, receive_count) in self.leases {
            let lease = LeaseState { visible_at_ms, first_received_at_ms, receive_count };
            stream.leases.insert(sequence, lease);
        }
        stream.evidence_segment = self.evidence_segment;
        stream.mark_segment = self.mark_segment;
        (self.id, stream)
    }
}

/// What one checkpoint file held.
#[derive(Debug)]
pub(crate) enum CheckpointFound {
    Present(Box<Checkpoint>),
    /// Why it cannot be used.
    Unreadable(String),
    NewerFormat(u32),
}

pub(crate) fn name(number: u64) -> String {
    format!("{PREFIX}{number:08}")
}

pub(crate) fn parse_name(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

fn config() -> Configuration<LittleEndian, Fixint, bincode::config::Limit<PAYLOAD_BYTES_MAX>> {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<PAYLOAD_BYTES_MAX>()
}

impl Checkpoint {
    /// Magic, version, CRC, length, payload. `None` when it would be too large to be read back.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; HEADER_BYTES];
        bincode::encode_into_std_write(self, &mut bytes, config()).ok()?;
        let payload_len = bytes.len() - HEADER_BYTES;
        if payload_len > PAYLOAD_BYTES_MAX {
            return None;
        }
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&(payload_len as u64).to_le_bytes());
        let crc = Self::crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        Some(bytes)
    }

    /// Everything but the CRC field.
    fn crc(bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..12]);
        hasher.update(&bytes[16..]);
        hasher.finalize()
    }

    pub(crate) fn decode(bytes: &[u8]) -> CheckpointFound {
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return CheckpointFound::Unreadable("no checkpoint magic".into());
        }
        if Self::crc(bytes).to_le_bytes() != bytes[12..16] {
            return CheckpointFound::Unreadable("checksum does not match".into());
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != VERSION {
            return CheckpointFound::NewerFormat(version);
        }
        let payload = &bytes[HEADER_BYTES..];
        if bytes[16..24] != (payload.len() as u64).to_le_bytes() {
            return CheckpointFound::Unreadable("length does not match".into());
        }
        match bincode::decode_from_slice::<Self, _>(payload, config()) {
            Ok((checkpoint, used)) if used == payload.len() => CheckpointFound::Present(Box::new(checkpoint)),
            Ok(_) => CheckpointFound::Unreadable("bytes left over".into()),
            Err(error) => CheckpointFound::Unreadable(error.to_string()),
        }
    }
}

/// All checkpoints of a disk, newest first. None at all is an empty list.
pub(crate) fn find(disk: &dyn Disk) -> io::Result<Vec<(u64, CheckpointFound)>> {
    let mut numbers: Vec<u64> = disk.list()?.iter().filter_map(|name| parse_name(name)).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = Vec::new();
    for number in numbers {
        // The other one, or the segments, stand in for any that cannot be read.
        let checkpoint =
            read(disk, number).unwrap_or_else(|error| CheckpointFound::Unreadable(error.to_string()));
        found.push((number, checkpoint));
    }
    Ok(found)
}

fn read(disk: &dyn Disk, number: u64) -> io::Result<CheckpointFound> {
    let file = disk.open(&name(number))?;
    let len = file.len_bytes()?;
    if len > (PAYLOAD_BYTES_MAX + HEADER_BYTES) as u64 {
        return Ok(CheckpointFound::Unreadable(format!("{len} bytes long")));
    }
    let mut bytes = vec![0; len as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(Checkpoint::decode(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        let mut stream = Stream::starting_at(1);
        for _ in 0..5000 {
            stream.liveness.push();
        }
        stream.liveness.kill(7);
        let lease = LeaseState { visible_at_ms: 5, first_received_at_ms: 3, receive_count: 2 };
        stream.leases.insert(9, lease);
        Checkpoint {
            store_id: [1; 16],
            lsn: 77,
            segment: 2,
            offset: 4096,
            streams: vec![StreamState::of(3, &stream)],
            catalog: vec![CatalogState { key: (*b"k").into(), value: (*b"v").into(), segment: 1 }],
            ..Checkpoint::default()
        }
    }

    #[test]
    fn checkpoint_round_trips() {
        let CheckpointFound::Present(read) = Checkpoint::decode(&sample().encode().unwrap()) else {
            panic!("unreadable")
        };
        assert_eq!(*read, sample());
        let (id, stream) = read.streams.into_iter().next().unwrap().restore();
        assert_eq!((id, stream.liveness.live(), stream.liveness.is_live(7)), (3, 4999, false));
        assert_eq!(stream.leases[&9].receive_count, 2);
    }

    #[test]
    fn a_flip_anywhere_or_a_cut_makes_it_unreadable() {
        let bytes = sample().encode().unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(matches!(Checkpoint::decode(&flipped), CheckpointFound::Unreadable(_)), "byte {at}");
            assert!(matches!(Checkpoint::decode(&bytes[..at]), CheckpointFound::Unreadable(_)));
        }
    }
}
