//! A walk over every live message and the catalog, read-only.
//!
//! The state is put together from the segments alone, as recovery does without a checkpoint, so that it works on a
//! copy, beside a running broker, and with damaged checkpoints. Sequences only are held in memory, never bodies.

use super::{SegmentBytes, segment_names};
use crate::checkpoint::{self, CheckpointFound};
use crate::disk::{Disk, RealDisk};
use crate::footer::{Footer, FooterFound};
use crate::frame::{Frame, FrameSeed, Kind, decode_prelude};
use crate::liveness::Liveness;
use crate::log::LOG_DIRECTORY;
use crate::record::{LeaseState, MessageFacts};
use crate::recovery::store;
use crate::segment::{FRAMES_START, Found, FrameWalk, HeaderFound, payload_is_intact};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;

/// Why a scan was not done.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The operating system refused.
    #[error("reading the log: {0}")]
    Io(#[from] io::Error),
    /// No store file, header or checkpoint is readable.
    #[error("this is not a log, or nothing says whose it is")]
    Unidentified,
    /// The visitor asked to stop.
    #[error("stopped by the visitor")]
    Stopped,
}

/// A live message.
#[derive(Clone, Copy, Debug)]
pub struct ScannedMessage<'a> {
    /// Its stream.
    pub stream: u32,
    /// Its facts, lease state applied.
    pub facts: MessageFacts,
    /// The extension, as it was put.
    pub extension: &'a [u8],
    /// The body, as it was put.
    pub body: &'a [u8],
    /// Number of the segment it lies in.
    pub segment: u64,
    /// Where its frame starts in the segment.
    pub offset: u64,
}

/// Receives what is alive. `false` from any method ends the scan.
pub trait Visitor {
    /// One catalog entry; all of them come before the first message.
    fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool;
    /// One live message, in the order of the log.
    fn message(&mut self, message: ScannedMessage<'_>) -> bool;
}

/// What a scan went over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Live messages shown.
    pub messages: u64,
    /// Catalog entries shown.
    pub catalog_entries: u64,
    /// Places where a frame is damaged: what it held is not shown.
    pub damaged: u64,
    /// File in the log directory, and offset, of each stretch that the disk does not read: what lies there is not shown.
    pub unreadable: Vec<(String, u64)>,
    /// Messages that were alive when the scan began and were not found again: damaged, or deleted meanwhile.
    pub missed: u64,
}

/// A running broker's compaction moves messages to newer segments; how often to look for those.
const ROUNDS_MAX: usize = 4;

#[derive(Default)]
struct State {
    streams: HashMap<u32, Stream>,
    catalog: BTreeMap<Vec<u8>, Vec<u8>>,
    damaged: u64,
}

struct Stream {
    liveness: Liveness,
    leases: HashMap<u64, LeaseState>,
}

/// Shows every live message and catalog entry of the log below `dir`.
///
/// # Errors
/// See [`ScanError`].
pub fn scan(dir: &Path, visitor: &mut dyn Visitor) -> Result<ScanReport, ScanError> {
    scan_on(&RealDisk::read_only(&dir.join(LOG_DIRECTORY))?, visitor)
}

/// Shows every live message and catalog entry of the log on `disk`.
///
/// # Errors
/// See [`ScanError`].
pub fn scan_on(disk: &dyn Disk, visitor: &mut dyn Visitor) -> Result<ScanReport, ScanError> {
    let names = segment_names(disk)?;
    if names.is_empty() {
        return Ok(ScanReport::default());
    }
    let store_id = identify(disk, &names)?.ok_or(ScanError::Unidentified)?;
    let mut state = State::default();
    let mut unreadable = Vec::new();
    for name in &names {
        let offsets = walk(disk, name, store_id, |frame, _, payload| {
            state.apply(frame, payload);
            true
        })?;
        unreadable.extend(offsets.into_iter().map(|offset| (name.clone(), offset)));
    }
    let mut report = ScanReport { damaged: state.damaged, unreadable, ..ScanReport::default() };
    for (key, value) in &state.catalog {
        report.catalog_entries += 1;
        if !visitor.catalog_entry(key, value) {
            return Err(ScanError::Stopped);
        }
    }
    let mut visited = HashSet::new();
    for _ in 0..ROUNDS_MAX {
        let unseen: Vec<String> =
            segment_names(disk)?.into_iter().filter(|name| visited.insert(name.clone())).collect();
        if unseen.is_empty() || state.live() == 0 {
            break;
        }
        for name in unseen {
            if !show(disk, &name, store_id, &mut state, visitor, &mut report)? {
                return Err(ScanError::Stopped);
            }
        }
    }
    report.missed = state.live();
    Ok(report)
}

/// Shows what is alive in one segment and was not shown yet. Whether to go on.
fn show(
    disk: &dyn Disk,
    name: &str,
    store_id: [u8; 16],
    state: &mut State,
    visitor: &mut dyn Visitor,
    report: &mut ScanReport,
) -> io::Result<bool> {
    let mut go_on = true;
    walk(disk, name, store_id, |frame, (segment, offset), payload| {
        if frame.kind != Kind::Message || !state.is_live(frame) {
            return true;
        }
        if !payload_is_intact(frame, payload) {
            report.damaged += 1;
            return true;
        }
        report.messages += 1;
        go_on = visitor.message(ScannedMessage {
            stream: frame.stream,
            facts: state.facts(frame),
            extension: &payload[frame.prelude_len()..frame.body_start()],
            body: &payload[frame.body_start()..],
            segment,
            offset,
        });
        // Compaction may have left a second copy in another segment.
        state.kill(frame.stream, frame.sequence);
        go_on
    })?;
    Ok(go_on)
}

fn identify(disk: &dyn Disk, names: &[String]) -> io::Result<Option<[u8; 16]>> {
    if let Some(id) = store::read(disk)? {
        return Ok(Some(id));
    }
    for (_, found) in checkpoint::find(disk)? {
        if let CheckpointFound::Present(checkpoint) = found {
            return Ok(Some(checkpoint.store_id));
        }
    }
    for name in names {
        if let Some(SegmentBytes { header: HeaderFound::Valid { header, .. }, .. }) =
            SegmentBytes::read(disk, name)?
        {
            return Ok(Some(header.store_id));
        }
    }
    Ok(None)
}

/// Walks a segment's frames until `each` says `false`. A segment that has gone meanwhile has none. Where in the file
/// something begins that the disk does not read.
fn walk(
    disk: &dyn Disk,
    name: &str,
    store_id: [u8; 16],
    mut each: impl FnMut(&Frame, (u64, u64), &[u8]) -> bool,
) -> io::Result<Vec<u64>> {
    let Some(segment) = SegmentBytes::read(disk, name)? else { return Ok(Vec::new()) };
    let seed = FrameSeed::new(store_id, segment.id);
    let end = match Footer::find(&segment.bytes, seed) {
        FooterFound::Valid(footer) => Some(footer.frames_end),
        FooterFound::Absent | FooterFound::Damaged => None,
    };
    for found in FrameWalk::new(&segment.bytes, seed, FRAMES_START, 0, end) {
        if let Found::Frame { offset, frame, payload } = found
            && !each(&frame, (segment.id, offset), &segment.bytes.bytes()[payload])
        {
            break;
        }
    }
    Ok(segment.unreadable)
}

impl State {
    fn stream(&mut self, id: u32) -> &mut Stream {
        self.streams
            .entry(id)
            .or_insert_with(|| Stream { liveness: Liveness::starting_at(1), leases: HashMap::new() })
    }

    fn apply(&mut self, frame: &Frame, payload: &[u8]) {
        match frame.kind {
            Kind::Message => {
                let stream = self.stream(frame.stream);
                stream.liveness.insert(frame.sequence);
                if crate::record::is_leased(frame) {
                    stream.leases.insert(frame.sequence, LeaseState::of(frame));
                }
                if frame.is_moved()
                    && let Some((source, sequence)) = decode_prelude(payload)
                {
                    self.kill(source, sequence);
                }
            }
            Kind::Lease => {
                let stream = self.stream(frame.stream);
                if stream.liveness.is_live(frame.sequence) {
                    stream.leases.insert(frame.sequence, LeaseState::of(frame));
                }
            }
            Kind::Delete => self.kill(frame.stream, frame.sequence),
            Kind::Purge => {
                let stream = self.stream(frame.stream);
                stream.liveness.purge(frame.sequence, frame.group_hash);
                stream.leases.retain(|sequence, _| *sequence >= frame.sequence);
            }
            Kind::CatalogPut | Kind::CatalogDelete if payload_is_intact(frame, payload) => {
                let (key, value) = payload.split_at(frame.body_start());
                if frame.kind == Kind::CatalogPut {
                    self.catalog.insert(key.to_vec(), value.to_vec());
                } else {
                    self.catalog.remove(key);
                }
            }
            Kind::CatalogPut | Kind::CatalogDelete => self.damaged += 1,
            Kind::Pad => {}
        }
    }

    fn kill(&mut self, stream: u32, sequence: u64) {
        let stream = self.stream(stream);
        stream.liveness.kill(sequence);
        stream.leases.remove(&sequence);
    }

    fn live(&self) -> u64 {
        self.streams.values().map(|stream| stream.liveness.live()).sum()
    }

    fn is_live(&self, frame: &Frame) -> bool {
        self.streams.get(&frame.stream).is_some_and(|s| s.liveness.is_live(frame.sequence))
    }

    fn facts(&self, frame: &Frame) -> MessageFacts {
        let lease = self.streams.get(&frame.stream).and_then(|s| s.leases.get(&frame.sequence));
        MessageFacts::of(&crate::footer::Entry::of(frame, 0), lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;
    use crate::offline::{DamageKind, verify_on};
    use crate::{Lease, Log, LogOptions, NewMessage};
    use std::sync::Arc;

    #[derive(Default)]
    struct Collect {
        catalog: Vec<(Vec<u8>, Vec<u8>)>,
        messages: Vec<(u32, MessageFacts, Vec<u8>)>,
    }

    impl Visitor for Collect {
        fn catalog_entry(&mut self, key: &[u8], value: &[u8]) -> bool {
            self.catalog.push((key.to_vec(), value.to_vec()));
            true
        }
        fn message(&mut self, message: ScannedMessage<'_>) -> bool {
            assert_eq!(message.extension, b"x");
            self.messages.push((message.stream, message.facts, message.body.to_vec()));
            true
        }
    }

    fn log_on(disk: &SimDisk) -> Log {
        let options =
            LogOptions { segment_bytes: 32 << 10, free_space_min_bytes: 0, ..LogOptions::default() };
        Log::open_on(options, Arc::new(disk.clone())).unwrap().0
    }

    fn populated() -> (SimDisk, Log) {
        let disk = SimDisk::new(3);
        let mut log = log_on(&disk);
        for n in 0..200u32 {
            let body = n.to_le_bytes().repeat(60);
            let new = NewMessage { stream: n % 2, extension: b"x", body: &body, ..NewMessage::default() };
            log.put_message(new).unwrap();
            if n % 16 == 0 {
                log.flush().unwrap();
            }
        }
        for sequence in 1..90 {
            log.put_delete(0, sequence).unwrap();
        }
        log.put_lease(Lease {
            stream: 1,
            sequence: 4,
            visible_at_ms: 77,
            receive_count: 2,
            first_received_at_ms: 5,
        })
        .unwrap();
        log.put_catalog(b"a", b"1").unwrap();
        log.flush().unwrap();
        for _ in 0..50 {
            log.wait(Some(std::time::Duration::ZERO)).unwrap();
        }
        (disk, log)
    }

    #[test]
    fn a_scan_beside_the_log_shows_exactly_what_is_alive() {
        let (disk, log) = populated();
        let mut found = Collect::default();
        let report = scan_on(&disk, &mut found).unwrap();
        assert_eq!((report.messages, report.catalog_entries, report.damaged, report.missed), (111, 1, 0, 0));
        assert_eq!(found.catalog, [(b"a".to_vec(), b"1".to_vec())]);
        for (stream, facts, body) in &found.messages {
            assert_eq!(Some(*facts), log.facts(*stream, facts.sequence));
            let record = log.read(*stream, facts.sequence).unwrap();
            assert_eq!(record.body().unwrap(), body);
        }
        assert!(found.messages.iter().any(|(stream, facts, _)| *stream == 1 && facts.receive_count == 2));
    }

    #[test]
    fn verify_finds_nothing_in_a_good_log_and_any_flip_in_what_is_used() {
        let (disk, log) = populated();
        log.close().unwrap();
        assert_eq!(verify_on(&disk, |_| {}).unwrap().damage, []);
        let names = disk.list().unwrap();
        let mut kinds = std::collections::HashSet::new();
        for name in &names {
            let content = disk.content(name).unwrap();
            for at in (0..content.len()).step_by(61) {
                let flipped = disk.fork();
                flipped.flip(name, at, 4);
                let damage = verify_on(&flipped, |_| {}).unwrap().damage;
                for damage in &damage {
                    assert_eq!(damage.file, *name);
                    kinds.insert(damage.kind as u8);
                }
                let is_used = content[at] != 0 && !name.ends_with(".free") && is_current(name, &content);
                assert!(!is_used || !damage.is_empty(), "{name} at {at}");
            }
        }
        for kind in [DamageKind::FrameHeader, DamageKind::Payload, DamageKind::Footer, DamageKind::Checkpoint]
        {
            assert!(kinds.contains(&(kind as u8)), "{kind:?}");
        }
    }

    /// Not a prepared file with the bytes of an earlier use.
    fn is_current(name: &str, content: &[u8]) -> bool {
        let Some(id) = crate::segment::parse_segment_name(name) else { return true };
        match crate::segment::SegmentHeader::decode(&content[..4096]) {
            // Recycled ones have old bytes behind the new.
            HeaderFound::Valid { header, .. } => header.segment == id && id <= 6,
            _ => false,
        }
    }
}
