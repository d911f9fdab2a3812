//! Checks of every header, frame, footer, checkpoint and of the store file.

use super::accounts::{Accounts, MissingMessages};
use super::{SegmentBytes, segment_names};
use crate::checkpoint::{self, CheckpointFound};
use crate::disk::{Disk, RealDisk};
use crate::footer::{Footer, FooterFound};
use crate::frame::{BLOCK_BYTES, FLAG_QUARANTINED, FRAME_HEADER_BYTES, Frame, FrameSeed, Kind};
use crate::log::LOG_DIRECTORY;
use crate::mapping::Mapping;
use crate::recovery::misplaced::{self, Misplaced};
use crate::recovery::{has_frames, store};
use crate::segment::{
    FRAMES_START, Found, FrameWalk, HeaderFound, parse_segment_name, payload_is_intact, segment_name,
};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Ranges of missing messages that are reported.
const MISSING_RANGES_MAX: usize = 1024;
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
    /// A segment file that lies under another's name; the next start gives it its own back.
    Misplaced,
    /// A segment file that is shorter, or longer, than it was made.
    Size,
    /// A segment file that is not there, or messages that were in one.
    Missing,
    /// From here on the disk does not read: what lies there is reported as damaged as well.
    Unreadable,
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
    /// The record's sequence, where known; of several that are missing, the first.
    pub sequence: Option<u64>,
    /// Of several that are missing, the last.
    pub last_sequence: Option<u64>,
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
    if let Some(store_id) = store_id {
        let newest = checkpoints.into_iter().next();
        let mut accounts = Accounts::starting_from(newest.and_then(|(_, found)| match found {
            CheckpointFound::Present(checkpoint) => Some(*checkpoint),
            _ => None,
        }));
        let order = true_order(disk, &names, store_id, accounts.checkpoint_segment(), &mut report)?;
        let newest_used = newest_used(disk, &order, store_id)?;
        for (at, (id, name)) in order.iter().enumerate() {
            progress(Progress { files: at as u64 + 1, files_total });
            let is_last = newest_used == Some(*id);
            if let Some(segment) = SegmentBytes::read(disk, name)? {
                verify_segment(
                    disk,
                    SegmentBytes { id: *id, ..segment },
                    store_id,
                    is_last,
                    &mut accounts,
                    &mut report,
                )?;
            }
        }
        report_missing(disk, &names, &accounts, &mut report)?;
    }
    progress(Progress { files: files_total, files_total });
    Ok(report)
}

/// The segments by the numbers in their headers, which is their true order; files under a wrong name are reported.
fn true_order(
    disk: &dyn Disk,
    names: &[String],
    store_id: [u8; 16],
    checkpoint_segment: Option<u64>,
    report: &mut VerifyReport,
) -> io::Result<Vec<(u64, String)>> {
    let mut headers = Vec::new();
    for name in names {
        if let Some(id) = parse_segment_name(name) {
            let mut number = SegmentBytes::read_header(disk, name)?;
            if number.is_some_and(|number| number != id)
                && let Some(segment) = SegmentBytes::read(disk, name)?
                && has_frames(&segment.bytes, FrameSeed::new(store_id, id))
            {
                // A recycled file whose first group is there without its header.
                number = None;
            }
            headers.push((id, number));
        }
    }
    let mut order: Vec<(u64, String)> = headers.iter().map(|(id, _)| (*id, segment_name(*id))).collect();
    for Misplaced { id, found_as } in misplaced::find(&headers, checkpoint_segment) {
        report.note(segment_name(found_as), 0, DamageKind::Misplaced);
        order.retain(|(number, name)| *number != id || *name != segment_name(id));
        if let Some(entry) = order.iter_mut().find(|(_, name)| *name == segment_name(found_as)) {
            entry.0 = id;
        }
    }
    order.sort();
    Ok(order)
}

/// The last segment that holds something: prepared files lie behind it.
fn newest_used(disk: &dyn Disk, order: &[(u64, String)], store_id: [u8; 16]) -> io::Result<Option<u64>> {
    for (id, name) in order.iter().rev() {
        let is_used = SegmentBytes::read_header(disk, name)? == Some(*id)
            || SegmentBytes::read(disk, name)?
                .is_some_and(|segment| has_frames(&segment.bytes, FrameSeed::new(store_id, *id)));
        if is_used {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Reports what should be there by the checkpoint and by what follows it.
fn report_missing(
    disk: &dyn Disk,
    names: &[String],
    accounts: &Accounts,
    report: &mut VerifyReport,
) -> io::Result<()> {
    let missing = accounts.missing_segments();
    let ranges = accounts.missing_messages(MISSING_RANGES_MAX);
    if missing.is_empty() && ranges.is_empty() {
        return Ok(());
    }
    let now = segment_names(disk)?;
    if !disk.is_deterministic() && names.iter().any(|name| !now.contains(name)) {
        // A running broker has taken segments out of the log meanwhile, with what was missed here.
        return Ok(());
    }
    for id in missing {
        report.note(segment_name(id), 0, DamageKind::Missing);
    }
    for MissingMessages { segment, stream, first, last } in ranges {
        let mut damage = Damage::at(segment.map_or_else(String::new, segment_name), 0, DamageKind::Missing);
        (damage.stream, damage.sequence, damage.last_sequence) = (Some(stream), Some(first), Some(last));
        report.damage.push(damage);
    }
    Ok(())
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
    accounts: &mut Accounts,
    report: &mut VerifyReport,
) -> io::Result<()> {
    let seed = FrameSeed::new(store_id, segment.id);
    for offset in &segment.unreadable {
        report.note(segment.name.clone(), *offset, DamageKind::Unreadable);
    }
    match segment.header {
        HeaderFound::Valid { header, .. } if header.store_id != store_id => {
            report.note(segment.name, 0, DamageKind::Foreign);
            return Ok(());
        }
        HeaderFound::Valid { header, damaged_copies } if header.segment == segment.id => {
            if damaged_copies > 0 {
                report.note(segment.name.clone(), 0, DamageKind::SegmentHeader);
            }
            let size = segment.bytes.bytes().len() as u64;
            if size != header.segment_bytes {
                report.note(segment.name.clone(), size.min(header.segment_bytes), DamageKind::Size);
            }
            accounts.begin_segment(segment.id, Some(&header));
        }
        HeaderFound::NewerFormat(_) => {
            report.note(segment.name, 0, DamageKind::NewerFormat);
            return Ok(());
        }
        HeaderFound::Valid { .. } | HeaderFound::Unreadable if has_frames(&segment.bytes, seed) => {
            report.note(segment.name.clone(), 0, DamageKind::SegmentHeader);
            accounts.begin_segment(segment.id, None);
        }
        // Prepared, not used yet.
        HeaderFound::Valid { .. } | HeaderFound::Unreadable => return Ok(()),
    }
    report.segments += 1;
    report.bytes += segment.bytes.bytes().len() as u64;
    let footer = verify_footer(&segment, seed, report);
    let torn = verify_frames(&segment, seed, footer.as_ref(), is_last, accounts, report);
    if let Some(offset) = torn
        && is_last
        && !settles(disk, &segment.name, seed, offset)?
    {
        report.note(segment.name, offset, DamageKind::TornTail);
    }
    Ok(())
}

/// Checks the footer, if there is one, and gives it.
fn verify_footer(segment: &SegmentBytes, seed: FrameSeed, report: &mut VerifyReport) -> Option<Footer> {
    let trailer_at = segment.bytes.bytes().len().saturating_sub(BLOCK_BYTES);
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
            Some(footer)
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
    segment: &SegmentBytes,
    seed: FrameSeed,
    footer: Option<&Footer>,
    is_last: bool,
    accounts: &mut Accounts,
    report: &mut VerifyReport,
) -> Option<u64> {
    let bytes = segment.bytes.bytes();
    let whole = footer.map(|footer| WholeRecords::of(footer, &segment.bytes));
    let mut found_damage = Vec::new();
    let sealed_end = footer.map(|footer| footer.frames_end);
    let mut frames = FrameWalk::new(&segment.bytes, seed, FRAMES_START, 0, sealed_end)
        .ending_with(footer.map_or(0, |footer| footer.last_lsn));
    for found in frames.by_ref() {
        match found {
            Found::Damage { offset, lost } => {
                let mut damage = Damage::at(segment.name.clone(), offset, DamageKind::FrameHeader);
                let known = whole.as_ref().and_then(|whole| whole.at(offset));
                if let Some((stream, sequence)) = known {
                    (damage.stream, damage.sequence) = (Some(stream), Some(sequence));
                    accounts.see_message(stream, sequence);
                }
                if known.is_some() || whole.as_ref().is_none_or(|whole| !whole.was_torn(offset)) {
                    accounts.note_damage(lost);
                    found_damage.push(damage);
                }
            }
            Found::Frame { offset, frame, payload } => {
                report.frames += u64::from(frame.kind != Kind::Pad);
                let end = offset as usize + frame.span_bytes();
                let padding = bytes.get(payload.end..end).unwrap_or(&[]);
                let payload = &bytes[payload];
                accounts.see(&frame, payload);
                if !payload_is_intact(&frame, payload) || padding.iter().any(|byte| *byte != 0) {
                    let was_torn = whole
                        .as_ref()
                        .is_some_and(|whole| whole.was_torn(offset) && whole.at(offset).is_none());
                    if !was_torn {
                        found_damage.push(payload_damage(&segment.name, offset, &frame, payload));
                    }
                }
            }
        }
    }
    let ends_torn = footer.is_none() && frames.ended_torn();
    if is_last && footer.is_none() {
        // Nobody has opened the log since: what does not verify in its last group is a write that was cut short, or
        // damage, and nobody can tell.
        for damage in found_damage.iter_mut().filter(|damage| damage.offset >= frames.group_start()) {
            damage.kind = DamageKind::TornTail;
        }
    }
    report.damage.append(&mut found_damage);
    ends_torn.then(|| frames.end())
}

/// Where a footer says that records stand whole, in the part of a segment that was cut short by a crash.
struct WholeRecords {
    torn_from: u64,
    by_offset: BTreeMap<u64, (u32, u64)>,
}

impl WholeRecords {
    fn of(footer: &Footer, file: &Mapping) -> Self {
        let mut by_offset = BTreeMap::new();
        for (at, stream) in footer.directory(file).iter().enumerate() {
            for entry in footer.section(file, at).unwrap_or(&[]) {
                if entry.flags & FLAG_QUARANTINED == 0 {
                    by_offset.insert(entry.offset.get().into(), (stream.stream.get(), entry.sequence.get()));
                }
            }
        }
        Self { torn_from: footer.torn_from, by_offset }
    }

    /// Stream and sequence of the record at `offset`.
    fn at(&self, offset: u64) -> Option<(u32, u64)> {
        self.by_offset.get(&offset).copied()
    }

    /// Whether recovery found a write there that a crash had cut short.
    fn was_torn(&self, offset: u64) -> bool {
        self.torn_from != 0 && offset >= self.torn_from
    }
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
        Self { file, offset, kind, stream: None, sequence: None, last_sequence: None, body_head: None }
    }
}

impl VerifyReport {
    fn note(&mut self, file: String, offset: u64, kind: DamageKind) {
        self.damage.push(Damage::at(file, offset, kind));
    }
}
