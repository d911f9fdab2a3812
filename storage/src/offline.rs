//! Reading a log that this process does not own: checking every byte that means something, and walking over what is
//! alive. Changes nothing, takes no lock, and works beside a running broker.

mod accounts;
mod scan;
mod verify;

pub use scan::{ScanError, ScanReport, ScannedMessage, Visitor, scan, scan_on};
pub use verify::{Damage, DamageKind, Progress, VerifyReport, verify, verify_on};

use crate::disk::{Disk, DiskFile};
use crate::frame::BLOCK_BYTES;
use crate::mapping::Mapping;
use crate::recovery::is_refused;
use crate::segment::{HeaderFound, SegmentHeader, parse_segment_name};
use std::io;

/// One segment file's bytes, copied: a running broker may recycle the file at any time.
struct SegmentBytes {
    id: u64,
    name: String,
    /// Zero where the disk does not read.
    bytes: Mapping,
    /// Offsets at which a stretch begins that the disk does not read.
    unreadable: Vec<u64>,
    header: HeaderFound,
}

impl SegmentBytes {
    /// `None` when the file has gone meanwhile.
    fn read(disk: &dyn Disk, name: &str) -> io::Result<Option<Self>> {
        let Some(id) = parse_segment_name(name) else { return Ok(None) };
        let file = match disk.open(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; file.len_bytes()? as usize];
        let unreadable = match file.read_at(&mut bytes, 0) {
            Ok(()) => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) if is_refused(&error) => read_by_blocks(&*file, &mut bytes)?,
            Err(error) => return Err(error),
        };
        let header = SegmentHeader::decode(bytes.get(..BLOCK_BYTES).unwrap_or(&[]));
        let bytes = Mapping::of_bytes(bytes);
        Ok(Some(Self { id, name: name.to_owned(), bytes, unreadable, header }))
    }

    /// The number in a file's header, where there is one that can be read.
    fn read_header(disk: &dyn Disk, name: &str) -> io::Result<Option<u64>> {
        let mut block = [0; BLOCK_BYTES];
        let read = disk.open(name).and_then(|file| file.read_at(&mut block, 0));
        match (read, SegmentHeader::decode(&block)) {
            (Ok(()), HeaderFound::Valid { header, .. }) => Ok(Some(header.segment)),
            (Ok(()), _) => Ok(None),
            (Err(error), _) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Ok(None),
                _ if is_refused(&error) => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// Reads what the disk reads, and gives the offsets at which it begins not to.
fn read_by_blocks(file: &dyn DiskFile, bytes: &mut [u8]) -> io::Result<Vec<u64>> {
    let mut unreadable = Vec::new();
    let mut was_read = true;
    for (at, block) in bytes.chunks_mut(BLOCK_BYTES).enumerate() {
        let offset = (at * BLOCK_BYTES) as u64;
        let is_read = match file.read_at(block, offset) {
            Err(error) if is_refused(&error) => false,
            read => read.map(|()| true)?,
        };
        if !is_read {
            block.fill(0);
            unreadable.extend(was_read.then_some(offset));
        }
        was_read = is_read;
    }
    Ok(unreadable)
}

/// Names of all segment files, oldest first.
fn segment_names(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let mut names: Vec<String> =
        disk.list()?.into_iter().filter(|name| parse_segment_name(name).is_some()).collect();
    names.sort_by_key(|name| parse_segment_name(name));
    Ok(names)
}
