//! An append-only message log: segments, group commit, recovery, compaction.
//!
//! The log owns messages as (stream, sequence): it gives out sequences, keeps who is alive, lease state, a catalog of
//! small entries, and gets all of it back after a crash. It knows no queue rule, no key, no HTTP: extensions and
//! bodies are opaque bytes, queues are stream numbers. `docs/src/format.md` describes what lies on disk.
//!
//! Invariants:
//! - What [`Log::durable_lsn`] has reached survives a crash; a failed write or sync ends acknowledging for good.
//! - Blocks that were synced are never written again until their segment is retired.
//! - A sequence is never given out twice.
//! - One damaged byte costs at most the record it lies in.

mod aligned_buffer;
mod checkpoint;
mod commit;
mod compaction;
pub mod disk;
pub mod durable_directory;
mod error;
mod footer;
mod frame;
mod group;
mod keeper;
mod liveness;
mod log;
mod mapping;
mod meters;
pub mod offline;
mod record;
mod recovery;
mod ring;
mod segment;
#[cfg(test)]
mod simulation;
mod stream_index;
mod tail_cache;
mod waker;

pub use aligned_buffer::AlignedBuffer;
pub use disk::{Disk, DiskFile};
pub use error::{AppendError, LogError, OpenError, ReadError};
pub use frame::{BLOCK_BYTES, EXTENSION_BYTES_MAX, FRAME_HEADER_BYTES};
pub use group::{GROUP_BYTES_MAX, PAYLOAD_BYTES_MAX};
pub use log::{IoChoice, LOG_DIRECTORY, Log, LogOptions, LogStats};
pub use mapping::Mapping;
pub use record::{Damaged, Lease, Lsn, MessageFacts, NewMessage, Record, Staged};
pub use recovery::{LOST_RANGES_MAX, LostRange, RecoveryReport};
pub use segment::FORMAT_VERSION;
pub use waker::LogWaker;
