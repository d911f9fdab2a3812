//! Segment files under each other's names.
//!
//! Every header says which segment it is. A prepared file that was recycled still has the header of an earlier use;
//! any other file with another segment's header was renamed behind the log's back, and gets its own name back.

use crate::disk::Disk;
use crate::segment::segment_name;
use std::collections::BTreeSet;
use std::io;

const SUFFIX: &str = ".misplaced";

/// A segment file that lies under the name of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    /// The number that its header says.
    pub(crate) id: u64,
    /// The number in its name.
    pub(crate) found_as: u64,
}

/// `headers`: the number in each file's name, and the one in its header where that can be read. `newest_segment`: the
/// active segment at the newest checkpoint, if there is a good one.
pub(crate) fn find(headers: &[(u64, Option<u64>)], newest_segment: Option<u64>) -> Vec<Misplaced> {
    let own: BTreeSet<u64> =
        headers.iter().filter(|(name, header)| *header == Some(*name)).map(|(name, _)| *name).collect();
    let names: BTreeSet<u64> = headers.iter().map(|(name, _)| *name).collect();
    let last_own = own.last().copied().unwrap_or(0);
    let mut found = Vec::<Misplaced>::new();
    for (name, header) in headers {
        let Some(id) = header.filter(|id| id != name) else { continue };
        // Recycled from one that was retired, which comes only after newer ones were in use and after the newest
        // checkpoint went past it; nothing has its old name.
        let is_recycled =
            id < last_own && !names.contains(&id) && newest_segment.is_none_or(|newest| id < newest);
        if !is_recycled && !own.contains(&id) && found.iter().all(|other| other.id != id) {
            found.push(Misplaced { id, found_as: *name });
        }
    }
    found
}

/// Gives the files their names back, by way of names that belong to nobody: a crash on the way leaves something that
/// [`finish`] brings to an end.
pub(crate) fn put_back(disk: &dyn Disk, misplaced: &[Misplaced]) -> io::Result<()> {
    for Misplaced { id, found_as } in misplaced {
        tracing::error!(
            segment = id,
            found_as,
            "a segment file has the name of another; it gets its own back"
        );
        disk.rename(&segment_name(*found_as), &format!("{id:08}{SUFFIX}"))?;
    }
    disk.sync_directory()?;
    finish(disk)
}

/// Renames what an earlier [`put_back`] was cut off from renaming.
pub(crate) fn finish(disk: &dyn Disk) -> io::Result<()> {
    let mut renamed = false;
    for name in disk.list()? {
        if let Some(id) = name.strip_suffix(SUFFIX).and_then(|id| id.parse().ok()) {
            disk.rename(&name, &segment_name(id))?;
            renamed = true;
        }
    }
    if renamed { disk.sync_directory() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(headers: &[(u64, Option<u64>)], newest_segment: Option<u64>) -> Vec<(u64, u64)> {
        find(headers, newest_segment).iter().map(|m| (m.found_as, m.id)).collect()
    }

    #[test]
    fn swapped_files_are_told_from_recycled_ones() {
        // 9 was made from 2, which is retired.
        assert_eq!(ids(&[(3, Some(3)), (8, Some(8)), (9, Some(2))], Some(8)), []);
        // 5 was made from 2 as well, and a crash left it behind unused.
        assert_eq!(ids(&[(3, Some(3)), (5, Some(2)), (8, Some(8))], Some(8)), []);
        // 3 and 4 are swapped.
        assert_eq!(ids(&[(3, Some(4)), (4, Some(3)), (5, Some(5))], Some(5)), [(3, 4), (4, 3)]);
        // The active segment and a prepared one, blank or recycled, are swapped.
        assert_eq!(ids(&[(4, Some(4)), (5, None), (6, Some(5))], Some(5)), [(6, 5)]);
        // A stray copy of a segment that is there.
        assert_eq!(ids(&[(3, Some(3)), (4, Some(4)), (9, Some(3))], Some(4)), []);
        // All of them turned round.
        assert_eq!(ids(&[(1, Some(2)), (2, Some(3)), (3, Some(1))], Some(3)), [(1, 2), (2, 3), (3, 1)]);
    }
}
