//! The file that names the store: written before anything else, so that a first write torn by a crash is not taken for
//! somebody else's log.

use super::is_refused;
use crate::disk::Disk;
use std::io;

pub(crate) const NAME: &str = "store";
const TEMPORARY_NAME: &str = "store.tmp";
const MAGIC: [u8; 8] = *b"SEALQSTO";
const COPY_BYTES: usize = 32;
/// The content stands twice: one flipped byte leaves a good copy.
const COPIES: usize = 2;

/// The store id, `None` when there is no file or no good copy in it.
pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<[u8; 16]>> {
    Ok(read_copies(disk)?.into_iter().flatten().next())
}

/// Both copies; empty when there is no file.
pub(crate) fn read_copies(disk: &dyn Disk) -> io::Result<Vec<Option<[u8; 16]>>> {
    let file = match disk.open(NAME) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; COPY_BYTES * COPIES];
    match file.read_at(&mut bytes, 0) {
        Ok(()) => Ok(bytes.chunks_exact(COPY_BYTES).map(decode).collect()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || is_refused(&error) => Ok(vec![None]),
        Err(error) => Err(error),
    }
}

pub(crate) fn write(disk: &dyn Disk, store_id: [u8; 16]) -> io::Result<()> {
    let mut copy = [0; COPY_BYTES];
    copy[..8].copy_from_slice(&MAGIC);
    copy[8..24].copy_from_slice(&store_id);
    let crc = crc32fast::hash(&copy[..28]);
    copy[28..].copy_from_slice(&crc.to_le_bytes());
    let file = disk.create(TEMPORARY_NAME, 0)?;
    file.write_at(&copy.repeat(COPIES), 0)?;
    file.sync()?;
    disk.rename(TEMPORARY_NAME, NAME)?;
    disk.sync_directory()
}

fn decode(copy: &[u8]) -> Option<[u8; 16]> {
    let (content, crc) = copy.split_at(28);
    let good = content[..8] == MAGIC && crc32fast::hash(content).to_le_bytes() == *crc;
    content[8..24].try_into().ok().filter(|_| good)
}
