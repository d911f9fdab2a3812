//! DeleteMessage, ChangeMessageVisibility and their batches.

use std::borrow::Cow;

use sealq_api::error::ErrorReply;
use sealq_api::sqs::batch::{BatchFailure, CheckedHandleEntry, HandleEntries};
use sealq_api::sqs::request::{
    ChangeMessageVisibility, ChangeMessageVisibilityBatch, DeleteMessage, DeleteMessageBatch,
};
use sealq_api::sqs::{Action, Response};

use super::errors::{of_receipt, of_unavailable};
use super::{Context, SqsService};
use crate::engine::command::{Command, Outcome, Receipt, ReceiptRefusal, VisibilityChange};
use crate::queues::Queue;

/// What a batch of handles is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Delete,
    ChangeVisibility,
}

impl SqsService {
    pub(super) async fn delete_message<'r>(
        &self,
        request: &DeleteMessage<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::DeleteMessage, context)?;
        let receipt = self.receipt(&queue, &request.receipt_handle)?;
        let settled = self.settle(&queue, Purpose::Delete, vec![(receipt, 0)]).await?;
        one(&settled, &request.receipt_handle, 0)?;
        Ok(Response::Empty(Action::DeleteMessage))
    }

    pub(super) async fn change_message_visibility<'r>(
        &self,
        request: &ChangeMessageVisibility<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::ChangeMessageVisibility, context)?;
        let timeout_s = request.check()?;
        let receipt = self.receipt(&queue, &request.receipt_handle)?;
        let settled = self.settle(&queue, Purpose::ChangeVisibility, vec![(receipt, timeout_s)]).await?;
        one(&settled, &request.receipt_handle, timeout_s)?;
        Ok(Response::Empty(Action::ChangeMessageVisibility))
    }

    pub(super) async fn delete_message_batch<'r>(
        &self,
        request: &'r DeleteMessageBatch<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::DeleteMessageBatch, context)?;
        self.batch(&queue, Action::DeleteMessageBatch, Purpose::Delete, request.check()?).await
    }

    pub(super) async fn change_message_visibility_batch<'r>(
        &self,
        request: &'r ChangeMessageVisibilityBatch<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let action = Action::ChangeMessageVisibilityBatch;
        let queue = self.queue(&request.queue_url, action, context)?;
        self.batch(&queue, action, Purpose::ChangeVisibility, request.check()?).await
    }

    async fn batch<'r>(
        &self,
        queue: &Queue,
        action: Action,
        purpose: Purpose,
        entries: HandleEntries<'r>,
    ) -> Result<Response<'r>, ErrorReply> {
        let mut failed: Vec<BatchFailure<'r>> = Vec::new();
        let mut asked: Vec<CheckedHandleEntry<'r>> = Vec::new();
        let mut receipts = Vec::new();
        for entry in entries {
            let checked = entry.and_then(|entry| {
                let receipt = self.receipt(queue, entry.receipt_handle);
                receipt
                    .map(|r| (entry, r))
                    .map_err(|error| BatchFailure { id: Cow::Borrowed(entry.id), error })
            });
            match checked {
                Ok((entry, receipt)) => {
                    asked.push(entry);
                    receipts.push((receipt, entry.visibility_timeout));
                }
                Err(failure) => failed.push(failure),
            }
        }
        let settled =
            if receipts.is_empty() { Vec::new() } else { self.settle(queue, purpose, receipts).await? };
        let mut successful = Vec::new();
        for (entry, result) in asked.iter().zip(settled) {
            let id = Cow::Borrowed(entry.id);
            match result {
                Ok(()) => successful.push(id),
                Err(refusal) => {
                    let error =
                        of_receipt(refusal, entry.receipt_handle, i64::from(entry.visibility_timeout));
                    failed.push(BatchFailure { id, error });
                }
            }
        }
        Ok(Response::HandleBatch { action, successful, failed })
    }

    fn receipt(&self, queue: &Queue, handle: &str) -> Result<Receipt, ErrorReply> {
        self.receipts
            .check(queue.record.stream, handle)
            .ok_or_else(|| ErrorReply::receipt_handle_invalid(handle))
    }

    async fn settle(
        &self,
        queue: &Queue,
        purpose: Purpose,
        receipts: Vec<(Receipt, u32)>,
    ) -> Result<Vec<Result<(), ReceiptRefusal>>, ErrorReply> {
        let stream = queue.record.stream;
        let outcome = match purpose {
            Purpose::Delete => {
                let receipts = receipts.into_iter().map(|(receipt, _)| receipt).collect();
                self.shard.ask(|reply| Command::Delete { stream, receipts, reply }).await
            }
            Purpose::ChangeVisibility => {
                let change =
                    |(receipt, seconds)| VisibilityChange { receipt, timeout_ms: u64::from(seconds) * 1_000 };
                let changes = receipts.into_iter().map(change).collect();
                self.shard.ask(|reply| Command::ChangeVisibility { stream, changes, reply }).await
            }
        };
        match outcome {
            Outcome::Settled(settled) => Ok(settled),
            Outcome::QueueGone => Err(ErrorReply::queue_missing()),
            Outcome::Unavailable(unavailable) => Err(of_unavailable(unavailable)),
            _ => Err(ErrorReply::internal()),
        }
    }
}

fn one(settled: &[Result<(), ReceiptRefusal>], handle: &str, timeout_s: u32) -> Result<(), ErrorReply> {
    match settled.first() {
        Some(Ok(())) => Ok(()),
        Some(Err(refusal)) => Err(of_receipt(*refusal, handle, i64::from(timeout_s))),
        None => Err(ErrorReply::internal()),
    }
}
