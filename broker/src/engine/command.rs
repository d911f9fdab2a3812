//! What the engine is asked and what it answers.
//!
//! Knows no HTTP, no keys and no accounts: bodies are sealed bytes, queues are stream numbers. The reply token `T`
//! travels with the command and comes back in the effect, so the engine needs no table of callers.

use std::sync::Arc;

use sealq_storage::Record;

use super::gauges::QueueGauges;
use super::queue::QueueRules;

/// A caller waiting for an answer.
pub trait ReplyToken {
    /// True once nobody listens any more; a message must not be handed to such a token.
    fn is_abandoned(&self) -> bool;
}

/// One message ready to be stored: already sealed, already numbered with its id.
#[derive(Debug)]
pub struct SendItem {
    /// The sealed body, verbatim for life.
    pub sealed: Vec<u8>,
    /// The frame extension (see [`crate::extension`]).
    pub extension: Vec<u8>,
    /// The id handed to the client.
    pub message_id: [u8; 16],
    /// Wall clock at acceptance, milliseconds.
    pub sent_at_ms: u64,
    /// When it may be delivered first, milliseconds.
    pub visible_at_ms: u64,
    /// Hash of the message group; 0 without one.
    pub group_hash: u64,
    /// Keyed hash of the deduplication id (FIFO only).
    pub dedup_key: Option<[u8; 16]>,
    /// Plaintext length, for the byte counter only.
    pub body_bytes: u64,
}

/// A receipt handle that has been authenticated and names this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The message.
    pub sequence: u64,
    /// The receive that the handle was given out for.
    pub receive_count: u32,
}

/// What a receive asks for.
#[derive(Debug, Clone)]
pub struct ReceiveRequest {
    /// 1 to 10.
    pub max: usize,
    /// Visibility timeout of this receive, milliseconds; the queue's when absent.
    pub visibility_ms: Option<u64>,
    /// How long to wait for a message, milliseconds; the queue's when absent.
    pub wait_ms: Option<u64>,
    /// Messages that this caller could not open: not to be offered again in this call.
    pub skip: Vec<u64>,
    /// FIFO retry token.
    pub attempt_id: Option<String>,
    /// Caller-chosen id, so that a hang-up can cancel the wait.
    pub waiter_id: u64,
}

/// A change of visibility of one message.
#[derive(Debug, Clone, Copy)]
pub struct VisibilityChange {
    /// Which delivery.
    pub receipt: Receipt,
    /// From now, milliseconds; 0 releases at once.
    pub timeout_ms: u64,
}

/// Everything the engine can be asked.
#[derive(Debug)]
pub enum Command<T> {
    /// Store messages in order.
    Send {
        /// Target queue.
        stream: u32,
        /// 1 to 10 messages.
        items: Vec<SendItem>,
        /// Answered with [`Outcome::Sent`] once durable.
        reply: T,
    },
    /// Deliver messages, waiting if asked to.
    Receive {
        /// Source queue.
        stream: u32,
        /// What is asked for.
        request: ReceiveRequest,
        /// Answered with [`Outcome::Received`].
        reply: T,
    },
    /// The caller of a waiting receive went away.
    CancelReceive {
        /// Its queue.
        stream: u32,
        /// Its id.
        waiter_id: u64,
    },
    /// The broker stops: receives that wait are answered without messages, and none waits any more.
    EndWaits,
    /// Deliveries that could not be opened: undo the receive.
    Unreceive {
        /// Their queue.
        stream: u32,
        /// The deliveries.
        receipts: Vec<Receipt>,
    },
    /// A record found damaged by its reader.
    Quarantine {
        /// Its queue.
        stream: u32,
        /// The message.
        sequence: u64,
    },
    /// Delete messages.
    Delete {
        /// Their queue.
        stream: u32,
        /// 1 to 10 handles.
        receipts: Vec<Receipt>,
        /// Answered with [`Outcome::Settled`] once durable.
        reply: T,
    },
    /// Change visibility.
    ChangeVisibility {
        /// Their queue.
        stream: u32,
        /// 1 to 10 changes.
        changes: Vec<VisibilityChange>,
        /// Answered with [`Outcome::Settled`] once durable.
        reply: T,
    },
    /// Create a queue or change its rules, with the catalog entries that say so.
    PutQueue {
        /// The queue.
        stream: u32,
        /// Its rules from now on.
        rules: QueueRules,
        /// Where the engine publishes counts.
        gauges: Arc<QueueGauges>,
        /// Catalog entries of the same commit.
        puts: CatalogPuts,
        /// Answered with [`Outcome::Stored`] once durable.
        reply: T,
    },
    /// Change only the rules that follow from another queue (a dead-letter target came or went).
    SetRules {
        /// The queue.
        stream: u32,
        /// Its rules from now on.
        rules: QueueRules,
    },
    /// Delete a queue and all its messages.
    DropQueue {
        /// The queue.
        stream: u32,
        /// Catalog keys to delete in the same commit.
        deletes: Vec<Vec<u8>>,
        /// Answered with [`Outcome::Stored`] once durable.
        reply: T,
    },
    /// Delete all messages of a queue.
    Purge {
        /// The queue.
        stream: u32,
        /// Catalog entries of the same commit.
        puts: CatalogPuts,
        /// Answered with [`Outcome::Stored`] once durable.
        reply: T,
    },
    /// Write catalog entries that are not queues.
    WriteCatalog {
        /// Entries to write.
        puts: CatalogPuts,
        /// Keys to delete.
        deletes: Vec<Vec<u8>>,
        /// Answered with [`Outcome::Stored`] once durable.
        reply: T,
    },
    /// Move messages of a dead-letter queue as a redrive task does.
    Redrive {
        /// The dead-letter queue.
        source: u32,
        /// Where each message goes.
        route: RedriveRoute,
        /// At most this many.
        max: usize,
        /// Answered with [`Outcome::Redriven`] once durable.
        reply: T,
    },
}

/// Catalog entries to write.
pub type CatalogPuts = Vec<(Vec<u8>, Vec<u8>)>;

/// Where redriven messages go.
#[derive(Debug, Clone)]
pub enum RedriveRoute {
    /// All to one queue.
    Fixed(u32),
    /// Each to the queue it was dead-lettered from, by ARN.
    Origin(Arc<std::collections::HashMap<String, u32>>),
}

/// One message handed to a consumer.
#[derive(Clone)]
pub struct Delivery {
    /// The stored bytes; opened by the front.
    pub record: Record,
    /// Position in its queue.
    pub sequence: u64,
    /// Deliveries so far, this one included.
    pub receive_count: u32,
    /// First delivery, milliseconds.
    pub first_received_at_ms: u64,
    /// Enqueue time in this queue, milliseconds.
    pub sent_at_ms: u64,
    /// Hash of the message group; 0 without one.
    pub group_hash: u64,
}

/// What was stored, or what it was a duplicate of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentMessage {
    /// The id of the stored message (of the original for a duplicate).
    pub message_id: [u8; 16],
    /// Its sequence.
    pub sequence: u64,
}

/// Why one entry was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceiptRefusal {
    /// The delivery ended (FIFO), or the message was received again since.
    Expired,
    /// The message is not there any more.
    MessageGone,
    /// The total would pass twelve hours.
    BeyondLimit,
}

/// Why nothing can be stored now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Too little free space: retry later.
    DiskFull,
    /// The log is poisoned: the daemon must be restarted by its operator.
    Poisoned,
    /// A record larger than a segment takes.
    TooLarge,
}

/// Why a redrive batch stopped early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveStop {
    /// More may follow.
    Batch,
    /// Nothing movable is left.
    Empty,
    /// A message does not say where it came from.
    UnknownOrigin,
    /// The destination does not exist.
    DestinationGone,
}

/// The engine's answers.
pub enum Outcome {
    /// Stored and durable, in request order.
    Sent(Vec<SentMessage>),
    /// Zero to ten deliveries.
    Received(Vec<Delivery>),
    /// Too many messages in flight for a short poll.
    OverLimit,
    /// Deletes or visibility changes, in request order.
    Settled(Vec<Result<(), ReceiptRefusal>>),
    /// Catalog and queue changes are durable.
    Stored,
    /// How many moved, and why it stopped.
    Redriven(usize, RedriveStop),
    /// The queue does not exist (any more).
    QueueGone,
    /// Nothing can be stored now.
    Unavailable(Unavailable),
}

/// What the shard must do for the engine.
pub enum Effect<T> {
    /// Answer a caller.
    Reply(T, Outcome),
}
