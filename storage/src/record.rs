//! What callers put in and get out: messages, leases, facts and records.

use crate::aligned_buffer::AlignedBuffer;
use crate::error::ReadError;
use crate::footer::Entry;
use crate::frame::{FLAG_LEASED, FRAME_HEADER_BYTES, Frame, FrameSeed, Kind};
use crate::mapping::Mapping;
use crate::segment::payload_is_intact;
use std::io;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A place in the order of everything ever written. Durable once [`Log::durable_lsn`](crate::Log::durable_lsn) has
/// reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// A message to append. Times are milliseconds since the Unix epoch, below 2^48.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewMessage<'a> {
    /// Where it goes.
    pub stream: u32,
    /// When it entered this stream.
    pub sent_at_ms: u64,
    /// From when on it can be received.
    pub visible_at_ms: u64,
    /// Hash of the message group, 0 without one.
    pub group_hash: u64,
    /// Receives so far: not zero only when moved with its history.
    pub receive_count: u32,
    /// When it was first received, 0 for never.
    pub first_received_at_ms: u64,
    /// The message this one replaces: one frame inserts here and deletes there.
    pub source: Option<(u32, u64)>,
    /// Opaque, at most [`EXTENSION_BYTES_MAX`](crate::EXTENSION_BYTES_MAX) bytes.
    pub extension: &'a [u8],
    /// Opaque; with the extension at most [`PAYLOAD_BYTES_MAX`](crate::PAYLOAD_BYTES_MAX) bytes.
    pub body: &'a [u8],
}

/// A staged message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Durable with this.
    pub lsn: Lsn,
    /// Its number in the stream, from 1, never given twice.
    pub sequence: u64,
}

/// A change of a message's visibility. Absolute values: the newest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The message's stream.
    pub stream: u32,
    /// The message's sequence.
    pub sequence: u64,
    /// From when on it can be received, milliseconds since the Unix epoch.
    pub visible_at_ms: u64,
    /// Receives so far.
    pub receive_count: u32,
    /// When it was first received, 0 for never.
    pub first_received_at_ms: u64,
}

/// What is known of a live message without its body; lease state applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageFacts {
    /// Its number in the stream.
    pub sequence: u64,
    /// When it entered this stream, milliseconds since the Unix epoch.
    pub sent_at_ms: u64,
    /// From when on it can be received, milliseconds since the Unix epoch.
    pub visible_at_ms: u64,
    /// Hash of the message group, 0 without one.
    pub group_hash: u64,
    /// Receives so far.
    pub receive_count: u32,
    /// When it was first received, 0 for never.
    pub first_received_at_ms: u64,
    /// Bytes of the body, extension not counted.
    pub body_len: u32,
    /// Whether it came from another stream.
    pub moved: bool,
}

/// Lease state of a message that has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeaseState {
    pub(crate) visible_at_ms: u64,
    pub(crate) first_received_at_ms: u64,
    pub(crate) receive_count: u32,
}

impl LeaseState {
    pub(crate) fn of(frame: &Frame) -> Self {
        Self {
            visible_at_ms: frame.visible_at_ms,
            first_received_at_ms: frame.first_received_at_ms,
            receive_count: frame.receive_count,
        }
    }
}

impl MessageFacts {
    pub(crate) fn of(entry: &Entry, lease: Option<&LeaseState>) -> Self {
        let mut facts = Self {
            sequence: entry.sequence.get(),
            sent_at_ms: entry.sent_at_ms.get(),
            visible_at_ms: entry.visible_at_ms.get(),
            group_hash: entry.group_hash.get(),
            receive_count: entry.receive_count.get(),
            first_received_at_ms: entry.first_received_at_ms.get(),
            body_len: entry.body_len(),
            moved: entry.flags & crate::frame::FLAG_MOVED != 0,
        };
        if let Some(lease) = lease {
            facts.visible_at_ms = lease.visible_at_ms;
            facts.receive_count = lease.receive_count;
            facts.first_received_at_ms = lease.first_received_at_ms;
        }
        facts
    }
}

/// The record's bytes are not those that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence} of stream {stream} is damaged (segment {segment}, offset {offset})")]
pub struct Damaged {
    /// The record's stream.
    pub stream: u32,
    /// The record's sequence.
    pub sequence: u64,
    /// The segment it lies in.
    pub segment: u64,
    /// Where its frame starts in the segment.
    pub offset: u64,
}

/// A stored message. Cheap to clone; keeps what it reads from alive. Nothing is read or checked until the first access
/// to extension or body.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    facts: MessageFacts,
    stream: u32,
    segment: u64,
    offset: u64,
    seed: FrameSeed,
    bytes: RecordBytes,
    /// Body start within the frame, or `None` when damaged.
    verified: OnceLock<Option<Verified>>,
}

#[derive(Clone)]
struct Verified {
    extension: Range<usize>,
    body: Range<usize>,
}

/// Where a frame's bytes are.
pub(crate) enum RecordBytes {
    Cached(Arc<AlignedBuffer>, Range<usize>),
    Mapped(Arc<Mapping>, Range<usize>),
    Owned(Vec<u8>),
}

impl RecordBytes {
    fn frame(&self) -> &[u8] {
        match self {
            Self::Cached(buffer, range) => buffer.as_slice().get(range.clone()).unwrap_or(&[]),
            Self::Mapped(mapping, range) => mapping.bytes().get(range.clone()).unwrap_or(&[]),
            Self::Owned(bytes) => bytes,
        }
    }

    /// The same, from the disk if need be.
    fn read(&self) -> io::Result<&[u8]> {
        match self {
            Self::Mapped(mapping, range) => mapping.read(range.clone()),
            Self::Cached(..) | Self::Owned(_) => Ok(self.frame()),
        }
    }
}

impl Record {
    pub(crate) fn new(
        facts: MessageFacts,
        stream: u32,
        location: (u64, u64),
        seed: FrameSeed,
        bytes: RecordBytes,
    ) -> Self {
        let (segment, offset) = location;
        Self(Arc::new(Inner { facts, stream, segment, offset, seed, bytes, verified: OnceLock::new() }))
    }

    /// The facts at the time of the read.
    pub fn facts(&self) -> MessageFacts {
        self.0.facts
    }

    /// The stream it lies in.
    pub fn stream(&self) -> u32 {
        self.0.stream
    }

    /// Segment number and offset of the frame within it.
    pub fn location(&self) -> (u64, u64) {
        (self.0.segment, self.0.offset)
    }

    /// The extension, as it was put.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when header, extension or body are not as written, [`ReadError::Io`] when the disk does not
    /// read them: later it may.
    pub fn extension(&self) -> Result<&[u8], ReadError> {
        self.verified().map(|v| &self.0.bytes.frame()[v.extension.clone()])
    }

    /// The body, as it was put.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when header, extension or body are not as written, [`ReadError::Io`] when the disk does not
    /// read them: later it may.
    pub fn body(&self) -> Result<&[u8], ReadError> {
        self.verified().map(|v| &self.0.bytes.frame()[v.body.clone()])
    }

    fn verified(&self) -> Result<&Verified, ReadError> {
        let Inner { stream, segment, offset, .. } = *self.0;
        let inner = &*self.0;
        let verified = match inner.verified.get() {
            Some(verified) => verified,
            None => {
                let bytes = inner.bytes.read().map_err(|source| ReadError::Io { segment, offset, source })?;
                inner.verified.get_or_init(|| inner.verify(bytes))
            }
        };
        let damaged = Damaged { stream, sequence: inner.facts.sequence, segment, offset };
        verified.as_ref().ok_or(ReadError::Damaged(damaged))
    }
}

impl Inner {
    fn verify(&self, bytes: &[u8]) -> Option<Verified> {
        let frame = Frame::decode(self.seed, self.offset, bytes)?;
        let end = FRAME_HEADER_BYTES + frame.payload_len as usize;
        let payload = bytes.get(FRAME_HEADER_BYTES..end)?;
        let named = frame.kind == Kind::Message
            && frame.stream == self.stream
            && frame.sequence == self.facts.sequence
            && payload_is_intact(&frame, payload);
        let extension_start = FRAME_HEADER_BYTES + frame.prelude_len();
        let body_start = FRAME_HEADER_BYTES + frame.body_start();
        named.then_some(Verified { extension: extension_start..body_start, body: body_start..end })
    }
}

pub(crate) fn is_leased(frame: &Frame) -> bool {
    frame.flags & FLAG_LEASED != 0 || frame.receive_count > 0
}
