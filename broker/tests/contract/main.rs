//! The SQS contract, row by row: each is sent as JSON and as a form to a daemon that runs in this process, and its reply
//! is compared with one written by hand.
//!
//! The readers and writers of both encodings here owe nothing to the daemon's own.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod daemon;
mod encoding;
mod http;
mod row;

mod attributes;
mod batches;
mod dead_letters;
mod fifo;
mod hostile;
mod message_attributes;
mod move_tasks;
mod permissions;
mod protocol;
mod queues;
mod receiving;
mod replies;
mod sending;
