//! SendMessage and SendMessageBatch.

use std::borrow::Cow;

use hmac::{Hmac, KeyInit, Mac};
use sealq_api::digest;
use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::sqs::batch::BatchFailure;
use sealq_api::sqs::message::CheckedMessage;
use sealq_api::sqs::request::{SendMessage, SendMessageBatch};
use sealq_api::sqs::response::SentReply;
use sealq_api::sqs::{Action, Response};
use sealq_crypto::DraftMessage;
use sha2::Sha256;

use super::errors::{of_seal, of_unavailable};
use super::message_codec::encode_clear_section;
use super::{Context, SqsService};
use crate::caller::CallerKind;
use crate::engine::command::{Command, Outcome, SendItem, SentMessage};
use crate::envelope::Sealer;
use crate::extension::Extension;
use crate::queues::{Queue, is_encrypted};

impl SqsService {
    pub(super) async fn send_message<'r>(
        &self,
        request: &SendMessage<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::SendMessage, context)?;
        let message = request.check(&queue.record.settings)?;
        let sealer = self.sealer(&queue, context).await?;
        let (item, reply) = self.prepare(&queue, &message, &sealer, context).await?;
        let sent = self.store(&queue, vec![item]).await?;
        let sent = sent.first().ok_or_else(ErrorReply::internal)?;
        Ok(Response::Sent(numbered(reply, sent, &queue)))
    }

    pub(super) async fn send_message_batch<'r>(
        &self,
        request: &'r SendMessageBatch<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::SendMessageBatch, context)?;
        let checked = request.check(&queue.record.settings)?;
        let sealer = self.sealer(&queue, context).await?;
        let (mut items, mut replies, mut failed) = (Vec::new(), Vec::new(), Vec::<BatchFailure<'_>>::new());
        for entry in checked {
            match entry {
                Ok(entry) => {
                    let (item, reply) = self.prepare(&queue, &entry.message, &sealer, context).await?;
                    items.push(item);
                    replies.push((Cow::Borrowed(entry.id), reply));
                }
                Err(failure) => failed.push(failure),
            }
        }
        if items.is_empty() {
            return Ok(Response::SentBatch { successful: Vec::new(), failed });
        }
        let sent = self.store(&queue, items).await?;
        let number =
            |((id, reply), sent): ((_, SentReply), &SentMessage)| (id, numbered(reply, sent, &queue));
        Ok(Response::SentBatch { successful: replies.into_iter().zip(&sent).map(number).collect(), failed })
    }

    async fn sealer(&self, queue: &Queue, context: Context<'_>) -> Result<Sealer, ErrorReply> {
        let settings = &queue.record.settings;
        if settings.fifo
            && is_encrypted(settings)
            && matches!(context.caller.kind, CallerKind::RoleSession { of_service: true, .. })
        {
            return Err(ErrorReply::new(
                ErrorCode::UnsupportedOperation,
                "A session obtained by a service cannot send to an encrypted FIFO queue.",
            ));
        }
        let (caller, stream) = (context.caller, queue.record.stream);
        self.envelope
            .sealer(caller, &caller.cache_identity, stream, &queue.arn_text, queue.encryption())
            .await
            .map_err(|failure| of_seal(&failure))
    }

    /// Seals one message and makes its reply, all but the sequence number.
    async fn prepare(
        &self,
        queue: &Queue,
        message: &CheckedMessage<'_>,
        sealer: &Sealer,
        context: Context<'_>,
    ) -> Result<(SendItem, SentReply), ErrorReply> {
        let settings = &queue.record.settings;
        let stream = queue.record.stream;
        let sent_at_ms = self.clock.now_ms();
        let body_md5 = digest::body_md5(message.body);
        let message_id = new_message_id()?;
        let clear = encode_clear_section(message, &context.caller.unique_id, context.trace_header)?;
        let draft = DraftMessage {
            message_id,
            sent_at_ms,
            origin_stream: stream,
            context_arn: &queue.arn_text,
            clear: &clear,
            body: message.body.as_bytes(),
            body_md5,
        };
        let sealed = self.envelope.seal(sealer, draft).await.map_err(|failure| of_seal(&failure))?;
        let dedup_key = settings.fifo.then(|| {
            let id = message.effective_deduplication_id();
            let group = message.group_id.filter(|_| queue.record.dedup_by_group).unwrap_or("");
            self.keyed_hash(&[b"dedup", &stream.to_be_bytes(), group.as_bytes(), b"\0", id.as_bytes()])
        });
        let mut extension = Vec::new();
        Extension { dedup_key, ..Extension::default() }.encode(&mut extension);
        let delay_ms = u64::from(message.delay_seconds.unwrap_or(settings.delay_seconds)) * 1_000;
        let item = SendItem {
            sealed,
            extension,
            message_id,
            sent_at_ms,
            visible_at_ms: sent_at_ms + delay_ms,
            group_hash: message.group_id.map_or(0, |group| self.group_hash(stream, group)),
            dedup_key,
            body_bytes: message.body.len() as u64,
        };
        let reply = SentReply {
            message_id,
            body_md5,
            attributes_md5: message.attributes_md5(),
            system_attributes_md5: message.system_attributes_md5(),
            sequence_number: None,
        };
        Ok((item, reply))
    }

    async fn store(&self, queue: &Queue, items: Vec<SendItem>) -> Result<Vec<SentMessage>, ErrorReply> {
        let stream = queue.record.stream;
        match self.shard.ask(|reply| Command::Send { stream, items, reply }).await {
            Outcome::Sent(sent) => Ok(sent),
            Outcome::QueueGone => Err(ErrorReply::queue_missing()),
            Outcome::Unavailable(unavailable) => Err(of_unavailable(unavailable)),
            _ => Err(ErrorReply::internal()),
        }
    }

    /// Never 0, which means no group. Collisions only make two groups wait for each other.
    fn group_hash(&self, stream: u32, group: &str) -> u64 {
        let hash = self.keyed_hash(&[b"group", &stream.to_be_bytes(), group.as_bytes()]);
        u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]).max(1)
    }

    fn keyed_hash(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.hash_key)
            .expect("HMAC takes keys of any length (RFC 2104)");
        for part in parts {
            mac.update(part);
        }
        let mut cut = [0; 16];
        cut.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        cut
    }
}

fn numbered(mut reply: SentReply, sent: &SentMessage, queue: &Queue) -> SentReply {
    reply.message_id = sent.message_id;
    reply.sequence_number = queue.record.settings.fifo.then_some(sent.sequence);
    reply
}

/// A random UUID.
pub(super) fn new_message_id() -> Result<[u8; 16], ErrorReply> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        ErrorReply::internal()
    })?;
    Ok(*uuid::Builder::from_random_bytes(bytes).into_uuid().as_bytes())
}
