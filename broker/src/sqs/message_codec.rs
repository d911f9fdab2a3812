//! Between a message on the wire and what is stored of it in clear.

use std::borrow::Cow;

use sealq_api::digest;
use sealq_api::error::ErrorReply;
use sealq_api::sqs::clear_section::ClearSection;
use sealq_api::sqs::message::CheckedMessage;
use sealq_api::sqs::response::sequence_number_text;
use sealq_api::sqs::system_attribute::{SystemAttribute, SystemAttributeSet};
use sealq_crypto::SealedMessage;

use crate::engine::command::Delivery;
use crate::extension::Extension;

/// Everything but the body that a sender fixes.
pub(super) fn encode_clear_section(
    message: &CheckedMessage<'_>,
    sender_id: &str,
    trace_header: Option<&str>,
) -> Result<Vec<u8>, ErrorReply> {
    let clear = ClearSection {
        sender_id,
        trace_header: message.trace_header.or(trace_header),
        group_id: message.group_id,
        deduplication_id: message.deduplication_id,
        attributes: message.attributes.clone(),
    };
    let mut bytes = Vec::with_capacity(64);
    clear.encode(&mut bytes).map_err(|error| ErrorReply::invalid_parameter(error.to_string()))?;
    Ok(bytes)
}

/// The system attributes asked for.
pub(super) fn system_attributes<'m>(
    wanted: SystemAttributeSet,
    fifo: bool,
    delivery: &Delivery,
    sealed: &SealedMessage<'_>,
    clear: &ClearSection<'m>,
    extension: &Extension,
    body: &str,
) -> Vec<(&'static str, Cow<'m, str>)> {
    let value = |attribute: SystemAttribute| -> Option<Cow<'m, str>> {
        Some(match attribute {
            SystemAttribute::SenderId => Cow::Borrowed(clear.sender_id),
            SystemAttribute::SentTimestamp => {
                extension.sent_at_ms.unwrap_or_else(|| sealed.sent_at_ms()).to_string().into()
            }
            SystemAttribute::ApproximateReceiveCount => delivery.receive_count.to_string().into(),
            SystemAttribute::ApproximateFirstReceiveTimestamp => {
                delivery.first_received_at_ms.to_string().into()
            }
            SystemAttribute::AWSTraceHeader => Cow::Borrowed(clear.trace_header?),
            SystemAttribute::MessageGroupId => Cow::Borrowed(clear.group_id?),
            SystemAttribute::MessageDeduplicationId if fifo => {
                match (&extension.dedup_id, clear.deduplication_id) {
                    (Some(id), _) => id.clone().into(),
                    (None, Some(id)) => Cow::Borrowed(id),
                    (None, None) => digest::content_deduplication_id(body).into(),
                }
            }
            SystemAttribute::SequenceNumber if fifo => sequence_number_text(delivery.sequence).into(),
            SystemAttribute::DeadLetterQueueSourceArn => extension.dead_letter_source.clone()?.into(),
            SystemAttribute::MessageDeduplicationId | SystemAttribute::SequenceNumber => return None,
        })
    };
    SystemAttribute::ALL
        .iter()
        .filter(|attribute| wanted.contains(**attribute))
        .filter_map(|attribute| Some((attribute.name(), value(*attribute)?)))
        .collect()
}
