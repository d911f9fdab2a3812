//! ReceiveMessage: lease, open, answer; what cannot be opened goes back uncounted.

use std::sync::atomic::Ordering;

use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::sqs::clear_section::ClearSection;
use sealq_api::sqs::receive::CheckedReceive;
use sealq_api::sqs::request::ReceiveMessage;
use sealq_api::sqs::response::ReceivedMessage;
use sealq_api::sqs::{Action, Response};
use sealq_crypto::{KeyServiceError, SealedMessage};

use super::errors::{of_open, of_unavailable};
use super::message_codec::system_attributes;
use super::{Context, SqsService, encoded};
use crate::engine::command::{Command, Delivery, Outcome, Receipt, ReceiveRequest};
use crate::envelope::{OpenFailure, OpenedMessage};
use crate::extension::Extension;
use crate::queues::Queue;
use crate::shard::ShardHandle;

/// Candidates that may fail to open in one call before it gives up.
const UNOPENED_MAX: usize = 1_000;

/// Undoes what a caller that goes away leaves behind: the wait, and deliveries that were not handed over.
struct Undo {
    shard: ShardHandle,
    stream: u32,
    waiter_id: u64,
    receipts: Vec<Receipt>,
    waiting: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.waiting {
            self.shard.tell(Command::CancelReceive { stream: self.stream, waiter_id: self.waiter_id });
        }
        if !self.receipts.is_empty() {
            let receipts = std::mem::take(&mut self.receipts);
            self.shard.tell(Command::Unreceive { stream: self.stream, receipts });
        }
    }
}

/// What one receive could not open.
#[derive(Default)]
struct Unopened {
    sequences: Vec<u64>,
    /// Groups of a FIFO queue in which a message stays: nothing behind it is handed out.
    groups: Vec<u64>,
    /// (key ARN, context ARN) that the key service has refused: it is asked once, not for each message.
    refused: Vec<(String, String)>,
    first_failure: Option<OpenFailure>,
}

impl Unopened {
    /// Whether a message before this one in its group stays.
    fn holds_back(&self, queue: &Queue, delivery: &Delivery) -> bool {
        queue.record.settings.fifo && self.groups.contains(&delivery.group_hash)
    }

    /// Whether the key service has refused the delivery's key and context already.
    fn is_refused(&self, delivery: &Delivery) -> bool {
        !self.refused.is_empty() && sealed_under(delivery).is_some_and(|under| self.refused.contains(&under))
    }

    /// The message is there and is not delivered.
    fn stays(&mut self, queue: &Queue, delivery: &Delivery) {
        self.sequences.push(delivery.sequence);
        if queue.record.settings.fifo {
            self.groups.push(delivery.group_hash);
        }
    }

    fn note(&mut self, queue: &Queue, delivery: &Delivery, failure: OpenFailure) {
        match &failure {
            OpenFailure::Unreadable(_) => self.sequences.push(delivery.sequence),
            _ => self.stays(queue, delivery),
        }
        if let OpenFailure::Key(KeyServiceError::Refused { kind, .. }) = &failure
            && kind.revokes()
        {
            self.refused.extend(sealed_under(delivery));
        }
        self.first_failure.get_or_insert(failure);
    }
}

/// The key ARN and the context of a sealed message.
fn sealed_under(delivery: &Delivery) -> Option<(String, String)> {
    let message = SealedMessage::parse(delivery.record.body().ok()?).ok()?;
    Some((message.key_arn().to_owned(), message.context_arn().to_owned()))
}

impl SqsService {
    pub(super) async fn receive_message(
        &self,
        request: &ReceiveMessage<'_>,
        context: Context<'_>,
    ) -> Result<Vec<u8>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::ReceiveMessage, context)?;
        let checked = request.check(&queue.record.settings)?;
        let mut undo = Undo {
            shard: self.shard.clone(),
            stream: queue.record.stream,
            waiter_id: self.waiter_ids.fetch_add(1, Ordering::Relaxed),
            receipts: Vec::new(),
            waiting: false,
        };
        let mut opened: Vec<(Delivery, OpenedMessage)> = Vec::new();
        let mut unopened = Unopened::default();
        loop {
            // With a timeout of 0 what was opened is deliverable again, and must not come twice in one reply.
            let had = opened.iter().map(|(delivery, _)| delivery.sequence);
            let skip: Vec<u64> = unopened.sequences.iter().copied().chain(had).collect();
            let deliveries = self.lease(&queue, &checked, &mut undo, opened.len(), skip).await?;
            let enough = opened.len() + deliveries.len() >= checked.max_messages;
            let (mut failed, none) = (false, deliveries.is_empty());
            for delivery in deliveries {
                if unopened.holds_back(&queue, &delivery) {
                    self.put_back(&queue, &delivery, &mut undo);
                    continue;
                }
                if unopened.is_refused(&delivery) {
                    failed = true;
                    unopened.stays(&queue, &delivery);
                    self.put_back(&queue, &delivery, &mut undo);
                    continue;
                }
                match self.open(&queue, &delivery, context).await {
                    Ok(message) => opened.push((delivery, message)),
                    Err(failure) => {
                        failed = true;
                        self.give_back(&queue, &delivery, &failure, &mut undo);
                        unopened.note(&queue, &delivery, failure);
                    }
                }
            }
            // Others may be deliverable behind what could not be opened.
            if none
                || !failed
                || (enough && opened.len() >= checked.max_messages)
                || unopened.sequences.len() >= UNOPENED_MAX
            {
                break;
            }
        }
        match unopened.first_failure {
            Some(failure) if opened.is_empty() && !matches!(failure, OpenFailure::Unreadable(_)) => {
                Err(of_open(&failure))
            }
            _ => {
                let reply = self.reply(&queue, &checked, &opened, context)?;
                undo.receipts.clear();
                Ok(reply)
            }
        }
    }

    async fn lease(
        &self,
        queue: &Queue,
        checked: &CheckedReceive<'_>,
        undo: &mut Undo,
        have: usize,
        skip: Vec<u64>,
    ) -> Result<Vec<Delivery>, ErrorReply> {
        let stream = queue.record.stream;
        let first = have == 0 && skip.is_empty();
        let request = ReceiveRequest {
            max: checked.max_messages - have,
            visibility_ms: Some(u64::from(checked.visibility_timeout) * 1_000),
            wait_ms: Some(if first { u64::from(checked.wait_time_seconds) * 1_000 } else { 0 }),
            skip,
            attempt_id: checked.attempt_id.filter(|_| first).map(str::to_owned),
            waiter_id: undo.waiter_id,
        };
        undo.waiting = checked.wait_time_seconds > 0 && first;
        let outcome = self.shard.ask(|reply| Command::Receive { stream, request, reply }).await;
        undo.waiting = false;
        match outcome {
            Outcome::Received(deliveries) => {
                let receipt = |d: &Delivery| Receipt { sequence: d.sequence, receive_count: d.receive_count };
                undo.receipts.extend(deliveries.iter().map(receipt));
                Ok(deliveries)
            }
            Outcome::OverLimit => Err(ErrorReply::new(
                ErrorCode::OverLimit,
                "Too many messages are in flight for this queue: at most 120000 are allowed.",
            )),
            Outcome::QueueGone => Err(ErrorReply::queue_missing()),
            Outcome::Unavailable(unavailable) => Err(of_unavailable(unavailable)),
            _ => Err(ErrorReply::internal()),
        }
    }

    async fn open(
        &self,
        queue: &Queue,
        delivery: &Delivery,
        context: Context<'_>,
    ) -> Result<OpenedMessage, OpenFailure> {
        let caller = context.caller;
        let secure = caller.secure_transport && !caller.access_key_id.is_empty();
        let reuse_period_s = queue.record.settings.reuse_period_seconds();
        self.envelope.open(caller, &caller.cache_identity, reuse_period_s, secure, &delivery.record).await
    }

    /// A delivery that is not handed over: it was never received, or it can never be.
    fn give_back(&self, queue: &Queue, delivery: &Delivery, failure: &OpenFailure, undo: &mut Undo) {
        let (stream, sequence) = (queue.record.stream, delivery.sequence);
        match failure {
            OpenFailure::Unreadable(reason) => {
                undo.receipts.retain(|receipt| receipt.sequence != sequence);
                tracing::error!(queue = %queue.arn, sequence, reason, "message quarantined: its record is damaged");
                self.shard.tell(Command::Quarantine { stream, sequence });
            }
            other => {
                if let OpenFailure::Damaged(reason) | OpenFailure::Unread(reason) = other {
                    tracing::error!(queue = %queue.arn, sequence, reason, "message cannot be opened; it stays");
                }
                self.put_back(queue, delivery, undo);
            }
        }
    }

    /// A delivery that never was.
    fn put_back(&self, queue: &Queue, delivery: &Delivery, undo: &mut Undo) {
        let (stream, sequence) = (queue.record.stream, delivery.sequence);
        undo.receipts.retain(|receipt| receipt.sequence != sequence);
        let receipts = vec![Receipt { sequence, receive_count: delivery.receive_count }];
        self.shard.tell(Command::Unreceive { stream, receipts });
    }

    fn reply(
        &self,
        queue: &Queue,
        checked: &CheckedReceive<'_>,
        opened: &[(Delivery, OpenedMessage)],
        context: Context<'_>,
    ) -> Result<Vec<u8>, ErrorReply> {
        let internal = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a message that was opened cannot be shown");
            ErrorReply::internal()
        };
        let mut messages = Vec::with_capacity(opened.len());
        for (delivery, message) in opened {
            let stored = delivery.record.body().map_err(|error| internal(&error))?;
            let sealed = SealedMessage::parse(stored).map_err(|error| internal(&error))?;
            let extension = delivery.record.extension().map_err(|error| internal(&error))?;
            let extension = Extension::decode(extension).map_err(|error| internal(&error))?;
            let clear = ClearSection::decode(sealed.clear()).map_err(|error| internal(&error))?;
            let body = std::str::from_utf8(message.body()).map_err(|error| internal(&error))?;
            let receipt = Receipt { sequence: delivery.sequence, receive_count: delivery.receive_count };
            messages.push(ReceivedMessage {
                message_id: extension.message_id.unwrap_or(*sealed.message_id()),
                receipt_handle: self.receipts.issue(queue.record.stream, receipt).into(),
                body_md5: *message.md5(),
                body,
                system_attributes: system_attributes(
                    checked.system_attributes,
                    queue.record.settings.fifo,
                    delivery,
                    &sealed,
                    &clear,
                    &extension,
                    body,
                ),
                attributes: clear
                    .attributes
                    .into_iter()
                    .filter(|a| checked.attributes.matches(a.name))
                    .collect(),
            });
        }
        Ok(encoded(&Response::Received(messages), context))
    }
}
