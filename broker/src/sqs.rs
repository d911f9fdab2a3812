//! The SQS actions: from a typed request to its reply.
//!
//! The order is the contract's: queue, transport, authorization, the request's own checks, keys, state. Every action is
//! one function; what several share stands here.

mod administration;
mod errors;
mod message_codec;
pub mod move_tasks;
mod receipts;
mod receive;
mod send;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sealq_api::error::ErrorReply;
use sealq_api::sqs::queue_url::locate_queue;
use sealq_api::sqs::{Action, Protocol, Request, Response};
use zeroize::Zeroizing;

use crate::audit::AuditLog;
use crate::authorize::Authorizer;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::envelope::Envelope;
use crate::key_provider::KeyProvider;
use crate::queues::{Queue, Queues};
use crate::receipt_handle::ReceiptHandles;
use crate::shard::ShardHandle;
use move_tasks::MoveTasks;

/// Serves SQS.
pub struct SqsService {
    /// The queues.
    pub queues: Arc<Queues>,
    /// The engine's thread.
    pub shard: ShardHandle,
    /// Keys and workers.
    pub envelope: Arc<Envelope<KeyProvider>>,
    /// Receipt handles.
    pub receipts: ReceiptHandles,
    /// The decision point.
    pub authorizer: Authorizer,
    /// Redrive tasks.
    pub move_tasks: Arc<MoveTasks>,
    /// Audit log.
    pub audit: AuditLog,
    /// Time.
    pub clock: Clock,
    /// Keys the hashes of deduplication ids and group ids.
    pub hash_key: Zeroizing<[u8; 32]>,
    /// Region of the broker.
    pub region: String,
    /// Partition of its ARNs.
    pub partition: String,
    /// Ids of waiting receives.
    pub waiter_ids: AtomicU64,
}

/// What a request brings besides its members.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Base of the queue URLs handed out, without a slash at its end.
    pub base_url: &'a str,
    /// Protocol of the reply.
    pub protocol: Protocol,
    /// Id of the request.
    pub request_id: &'a str,
    /// X-Amzn-Trace-Id header.
    pub trace_header: Option<&'a str>,
}

impl SqsService {
    /// Answers a request: the body of the reply.
    ///
    /// # Errors
    /// The error to answer with.
    pub async fn answer(&self, request: &Request<'_>, context: Context<'_>) -> Result<Vec<u8>, ErrorReply> {
        let response = match request {
            // The reply borrows from what was opened: it is encoded there.
            Request::ReceiveMessage(request) => return self.receive_message(request, context).await,
            Request::SendMessage(request) => self.send_message(request, context).await?,
            Request::SendMessageBatch(request) => self.send_message_batch(request, context).await?,
            Request::DeleteMessage(request) => self.delete_message(request, context).await?,
            Request::DeleteMessageBatch(request) => self.delete_message_batch(request, context).await?,
            Request::ChangeMessageVisibility(request) => {
                self.change_message_visibility(request, context).await?
            }
            Request::ChangeMessageVisibilityBatch(request) => {
                self.change_message_visibility_batch(request, context).await?
            }
            Request::CreateQueue(request) => self.create_queue(request, context).await?,
            Request::DeleteQueue(request) => self.delete_queue(request, context).await?,
            Request::PurgeQueue(request) => self.purge_queue(request, context).await?,
            Request::GetQueueUrl(request) => self.get_queue_url(request, context)?,
            Request::ListQueues(request) => self.list_queues(request, context)?,
            Request::ListDeadLetterSourceQueues(request) => {
                self.list_dead_letter_source_queues(request, context)?
            }
            Request::GetQueueAttributes(request) => self.get_queue_attributes(request, context)?,
            Request::SetQueueAttributes(request) => self.set_queue_attributes(request, context).await?,
            Request::ListQueueTags(request) => self.list_queue_tags(request, context)?,
            Request::TagQueue(request) => self.tag_queue(request, context).await?,
            Request::UntagQueue(request) => self.untag_queue(request, context).await?,
            Request::AddPermission(request) => self.add_permission(request, context).await?,
            Request::RemovePermission(request) => self.remove_permission(request, context).await?,
            Request::StartMessageMoveTask(request) => self.start_message_move_task(request, context).await?,
            Request::ListMessageMoveTasks(request) => self.list_message_move_tasks(request, context)?,
            Request::CancelMessageMoveTask(request) => {
                self.cancel_message_move_task(request, context).await?
            }
        };
        Ok(encoded(&response, context))
    }

    /// The queue of a request, found and permitted.
    fn queue(&self, url: &str, action: Action, context: Context<'_>) -> Result<Arc<Queue>, ErrorReply> {
        let queue = self.found(url, context)?;
        self.authorizer.queue(context.caller, action, &queue)?;
        Ok(queue)
    }

    /// The queue of a request, not yet permitted.
    fn found(&self, url: &str, context: Context<'_>) -> Result<Arc<Queue>, ErrorReply> {
        let locator = locate_queue(url)?;
        let account = locator.account.unwrap_or(&context.caller.account);
        self.queues.find(account, locator.name).ok_or_else(ErrorReply::queue_missing)
    }

    fn queue_arn(&self, account: &str, name: &str) -> String {
        format!("arn:{}:sqs:{}:{account}:{name}", self.partition, self.region)
    }
}

fn encoded(response: &Response<'_>, context: Context<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_024);
    response.encode(context.protocol, context.request_id, &mut out);
    out
}

fn queue_url(context: Context<'_>, queue: &Queue) -> String {
    format!("{}/{}/{}", context.base_url, queue.record.account, queue.record.name)
}
