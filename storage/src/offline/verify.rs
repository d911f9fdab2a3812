//! Checks of every header, frame, footer, checkpoint and of the store file.

use super::{SegmentBytes, segment_names};
use crate::checkpoint::{self, CheckpointFound};
use crate::disk::{Disk, RealDisk};
use crate::footer::{Footer, FooterFound};
use crate::frame::{BLOCK_BYTES, FRAME_HEADER_BYTES, Frame, FrameSeed, Kind};
use crate::log::LOG_DIRECTORY;
use crate::recovery::store;
use crate::segment::{FRAMES_START, Found, FrameWalk, HeaderFound, payload_is_intact};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Bytes of a damaged payload that are reported, so that a reader can tell whose it was.
const BODY_HEAD_BYTES: usize = 512;
/// A group that is being written looks torn: how often and how long to look again.
const TORN_RETRIES: u32 = 5;
const TORN_PAUSE: Duration = Duration::from_millis(20);

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The store file, or one of its two copies.
    StoreFile,
    /// A segment's header, or one of its two copies.
    SegmentHeader,
    /// A segment of another store.
    Foreign,
    /// A format that this program does not read.
    NewerFormat,
    /// A frame's header: what it was is not known.
    FrameHeader,
    /// A frame's extension, body or padding.
    Payload,
    /// The end of the newest segment is not a whole group: a write that a crash cut short, or damage.
    TornTail,
    /// A sealed segment's index. It is rebuilt from the frames.
    Footer,
    /// A checkpoint. The other one, or the segments, stand in.
    Checkpoint,
}

/// One place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file's name in the log directory.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// What it is.
    pub kind: DamageKind,
    /// The record's stream, where known.
    pub stream: Option<u32>,
    /// The record's sequence, where known.
    pub sequence: Option<u64>,
    /// The first bytes of the extension and body as they are now, where there is a record.
    pub body_head: Option<Vec<u8>>,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segment files that hold something.
    pub segments: u64,
    /// Frames in them, pads not counted.
    pub frames: u64,
    /// Bytes looked at.
    pub bytes: u64,
    /// Checkpoints, good or not.
    pub checkpoints: u64,
    /// Everything that is not as it was written; empty when all is well.
    pub damage: Vec<Damage>,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// Files in all.
    pub files_total: u64,
}

/// Checks the log below `dir`.
///
/// # Errors
/// The operating system's. Damage is no error.
pub fn verify(dir: &Path, progress: impl FnMut(Progress)) -> io::Result<VerifyReport> {
    verify_on(&RealDisk::read_only(&dir.join(LOG_DIRECTORY))?, progress)
}

/// Checks the log on `disk`.
///
/// # Errors
/// The operating system's. Damage is no error.
pub fn verify_on(disk: &dyn Disk, mut progress: impl FnMut(Progress)) -> io::Result<VerifyReport> {
    let mut report = VerifyReport::default();
    let names = segment_names(disk)?;
    let files_total = names.len() as u64 + 1;
    let checkpoints = checkpoint::find(disk)?;
    let store_id = identify(disk, &names, &checkpoints, &mut report)?;
    for (number, found) in &checkpoints {
        report.checkpoints += 1;
        let kind = match found {
            CheckpointFound::Present(_) => continue,
            CheckpointFound::Unreadable(_) => DamageKind::Checkpoint,
            CheckpointFound::NewerFormat(_) => DamageKind::NewerFormat,
        };
        // A running broker may have replaced it since the listing.
        if disk.open(&checkpoint::name(*number)).is_ok() {
            report.note(checkpoint::name(*number), 0, kind);
        }
    }
    for (at, name) in names.iter().enumerate() {
        progress(Progress { files: at as u64 + 1, files_total });
        let is_last = at + 1 == names.len();
        if let (Some(segment), Some(store_id)) = (SegmentBytes::read(disk, name)?, store_id) {
            verify_segment(disk, segment, store_id, is_last, &mut report)?;
        }
    }
    progress(Progress { files: files_total, files_total });
    Ok(report)
}

/// The store id, from wherever it can be read.
fn identify(
    disk: &dyn Disk,
    names: &[String],
    checkpoints: &[(u64, CheckpointFound)],
    report: &mut VerifyReport,
) -> io::Result<Option<[u8; 16]>> {
    let copies = store::read_copies(disk)?;
    if copies.iter().any(Option::is_none) || (copies.is_empty() && !names.is_empty()) {
        report.note(store::NAME.to_owned(), 0, DamageKind::StoreFile);
    }
    let mut store_id = copies.into_iter().flatten().next();
    for (_, found) in checkpoints {
        if let CheckpointFound::Present(checkpoint) = found {
            store_id = store_id.or(Some(checkpoint.store_id));
        }
    }
    for name in names {
        if store_id.is_none()
            && let Some(SegmentBytes { header: HeaderFound::Valid { header, .. }, .. }) =
                SegmentBytes::read(disk, name)?
        {
            store_id = Some(header.store_id);
        }
    }
    Ok(store_id)
}

fn verify_segment(
    disk: &dyn Disk,
    segment: SegmentBytes,
    store_id: [u8; 16],
    is_last: bool,
    report: &mut VerifyReport,
) -> io::Result<()> {
    let seed = FrameSeed::new(store_id, segment.id);
    let reach = segment.bytes.len().min(FRAMES_START as usize + crate::group::GROUP_BYTES_MAX);
    let is_used = || {
        FrameWalk::new(segment.bytes.get(..reach).unwrap_or(&[]), seed, FRAMES_START, 0, None)
            .next()
            .is_some()
    };
    match segment.header {
        HeaderFound::Valid { header, .. } if header.store_id != store_id => {
            report.note(segment.name, 0, DamageKind::Foreign);
            return Ok(());
        }
        HeaderFound::Valid { header, damaged_copies } if header.segment == segment.id => {
            if damaged_copies > 0 {
                report.note(segment.name.clone(), 0, DamageKind::SegmentHeader);
            }
        }
        HeaderFound::NewerFormat(_) => {
            report.note(segment.name, 0, DamageKind::NewerFormat);
            return Ok(());
        }
        HeaderFound::Valid { .. } | HeaderFound::Unreadable if is_used() => {
            report.note(segment.name.clone(), 0, DamageKind::SegmentHeader);
        }
        // Prepared, not used yet.
        HeaderFound::Valid { .. } | HeaderFound::Unreadable => return Ok(()),
    }
    report.segments += 1;
    report.bytes += segment.bytes.len() as u64;
    let sealed_end = verify_footer(&segment, seed, report);
    let torn = verify_frames(&segment.name, &segment.bytes, seed, sealed_end, report);
    if let Some(offset) = torn
        && is_last
        && !settles(disk, &segment.name, seed, offset)?
    {
        report.note(segment.name, offset, DamageKind::TornTail);
    }
    Ok(())
}

/// Where the frames end, if the footer says so.
fn verify_footer(segment: &SegmentBytes, seed: FrameSeed, report: &mut VerifyReport) -> Option<u64> {
    let trailer_at = segment.bytes.len().saturating_sub(BLOCK_BYTES);
    match Footer::find(&segment.bytes, seed) {
        FooterFound::Valid(footer) => {
            for (at, stream) in footer.directory(&segment.bytes).iter().enumerate() {
                if footer.section(&segment.bytes, at).is_none() {
                    let mut damage = Damage::at(segment.name.clone(), footer.frames_end, DamageKind::Footer);
                    damage.stream = Some(stream.stream.get());
                    report.damage.push(damage);
                }
            }
            if footer.damaged_copies > 0 {
                report.note(segment.name.clone(), trailer_at as u64, DamageKind::Footer);
            }
            if footer.tombstones(&segment.bytes).is_none() {
                report.note(segment.name.clone(), footer.frames_end, DamageKind::Footer);
            }
            Some(footer.frames_end)
        }
        FooterFound::Damaged => {
            report.note(segment.name.clone(), trailer_at as u64, DamageKind::Footer);
            None
        }
        // Not sealed yet. A sealed segment has two copies of its trailer, and one survives.
        FooterFound::Absent => None,
    }
}

/// Checks every frame; where the segment ends within a group, if it does.
fn verify_frames(
    name: &str,
    bytes: &[u8],
    seed: FrameSeed,
    sealed_end: Option<u64>,
    report: &mut VerifyReport,
) -> Option<u64> {
    let mut frames = FrameWalk::new(bytes, seed, FRAMES_START, 0, sealed_end);
    for found in frames.by_ref() {
        match found {
            Found::Damage { offset, .. } => report.note(name.to_owned(), offset, DamageKind::FrameHeader),
            Found::Frame { offset, frame, payload } => {
                report.frames += u64::from(frame.kind != Kind::Pad);
                let end = offset as usize + frame.span_bytes();
                let padding = bytes.get(payload.end..end).unwrap_or(&[]);
                let payload = &bytes[payload];
                if !payload_is_intact(&frame, payload) || padding.iter().any(|byte| *byte != 0) {
                    report.damage.push(payload_damage(name, offset, &frame, payload));
                }
            }
        }
    }
    (sealed_end.is_none() && frames.ended_torn()).then(|| frames.end())
}

/// Whether the torn end is only a group that a running broker is writing.
fn settles(disk: &dyn Disk, name: &str, seed: FrameSeed, offset: u64) -> io::Result<bool> {
    for _ in 0..TORN_RETRIES {
        if disk.is_deterministic() {
            return Ok(false);
        }
        std::thread::sleep(TORN_PAUSE);
        let Some(segment) = SegmentBytes::read(disk, name)? else { return Ok(true) };
        let mut frames = FrameWalk::new(&segment.bytes, seed, FRAMES_START, 0, None);
        frames.by_ref().for_each(drop);
        if !frames.ended_torn() || frames.end() > offset {
            return Ok(true);
        }
    }
    Ok(false)
}

fn payload_damage(name: &str, offset: u64, frame: &Frame, payload: &[u8]) -> Damage {
    let mut damage = Damage::at(name.to_owned(), offset + FRAME_HEADER_BYTES as u64, DamageKind::Payload);
    if matches!(frame.kind, Kind::Message | Kind::Lease | Kind::Delete | Kind::Purge) {
        damage.stream = Some(frame.stream);
        damage.sequence = Some(frame.sequence);
    }
    if frame.kind == Kind::Message {
        damage.body_head =
            Some(payload[frame.prelude_len()..].iter().copied().take(BODY_HEAD_BYTES).collect());
    }
    damage
}

impl Damage {
    fn at(file: String, offset: u64, kind: DamageKind) -> Self {
        Self { file, offset, kind, stream: None, sequence: None, body_head: None }
    }
}

impl VerifyReport {
    fn note(&mut self, file: String, offset: u64, kind: DamageKind) {
        self.damage.push(Damage::at(file, offset, kind));
    }
}
