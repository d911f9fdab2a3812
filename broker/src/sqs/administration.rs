//! Queues themselves: creating, finding, listing, changing, deleting them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sealq_api::arn::is_account_id;
use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::queue_name::check_new_queue_name;
use sealq_api::sqs::attributes::{AttributeChanges, AttributeContext, LiveAttributes, RequestedAttributes};
use sealq_api::sqs::page::Page;
use sealq_api::sqs::permission::{add_permission, remove_permission};
use sealq_api::sqs::request::{
    AddPermission, CreateQueue, DeleteQueue, GetQueueAttributes, GetQueueUrl, ListDeadLetterSourceQueues,
    ListQueueTags, ListQueues, PurgeQueue, RemovePermission, SetQueueAttributes, TagQueue, UntagQueue,
};
use sealq_api::sqs::tags::add_tags;
use sealq_api::sqs::{Action, Response};
use serde_json::{Value, json};

use super::{Context, SqsService, queue_url};
use crate::audit::AuditEvent;
use crate::authorize::check_transport;
use crate::key_audit::user_identity;
use crate::queues::{NewQueue, Queue, counts};

impl SqsService {
    pub(super) async fn create_queue<'r>(
        &self,
        request: &CreateQueue<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let caller = context.caller;
        let arn = self.queue_arn(&caller.account, &request.queue_name);
        let tags = || request.tags.iter().map(|(name, value)| (&**name, Some(&**value)));
        self.authorizer.account(caller, Action::CreateQueue, &arn, tags())?;
        if !request.tags.is_empty() {
            self.authorizer.account(caller, Action::TagQueue, &arn, tags())?;
        }
        let changes = AttributeChanges::parse(&request.attributes, AttributeContext::Create)?;
        check_new_queue_name(&request.queue_name, changes.fifo == Some(true))?;
        check_transport(caller, turns_encryption_on(&changes))?;
        let secure = caller.secure_transport && !caller.access_key_id.is_empty();
        let new = NewQueue {
            account: &caller.account,
            name: &request.queue_name,
            changes: &changes,
            tags: add_tags(&BTreeMap::new(), &request.tags, &request.queue_name)?,
            secure,
        };
        let created = self.queues.create(new).await;
        let parameters = json!({
            "queueName": request.queue_name,
            "attributes": pairs(&request.attributes),
        });
        self.record("CreateQueue", &arn, parameters, created.as_ref().err(), context).await?;
        let queue = created?;
        Ok(Response::QueueUrl { action: Action::CreateQueue, url: queue_url(context, &queue).into() })
    }

    pub(super) async fn delete_queue<'r>(
        &self,
        request: &DeleteQueue<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::DeleteQueue, context)?;
        let deleted = self.queues.delete(&queue).await;
        self.record("DeleteQueue", &queue.arn_text, Value::Null, deleted.as_ref().err(), context).await?;
        deleted?;
        self.move_tasks.forget_source(queue.record.stream).await;
        self.envelope.forget_queue(queue.record.stream);
        Ok(Response::Empty(Action::DeleteQueue))
    }

    pub(super) async fn purge_queue<'r>(
        &self,
        request: &PurgeQueue<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::PurgeQueue, context)?;
        let purged = self.queues.purge(&queue).await;
        self.record("PurgeQueue", &queue.arn_text, Value::Null, purged.as_ref().err(), context).await?;
        purged?;
        Ok(Response::Empty(Action::PurgeQueue))
    }

    pub(super) fn get_queue_url<'r>(
        &self,
        request: &GetQueueUrl<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let account = request.queue_owner_aws_account_id.as_deref().unwrap_or(&context.caller.account);
        if !account.is_empty() && !is_account_id(account) {
            return Err(ErrorReply::new(
                ErrorCode::InvalidAddress,
                format!("The address {account} is not valid for this endpoint."),
            ));
        }
        let queue = self.queues.find(account, &request.queue_name).ok_or_else(ErrorReply::queue_missing)?;
        self.authorizer.queue(context.caller, Action::GetQueueUrl, &queue)?;
        Ok(Response::QueueUrl { action: Action::GetQueueUrl, url: queue_url(context, &queue).into() })
    }

    pub(super) fn list_queues<'r>(
        &self,
        request: &ListQueues<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        self.authorizer.account(context.caller, Action::ListQueues, "*", [])?;
        let prefix = request.queue_name_prefix.as_deref().unwrap_or("");
        let page = Page::parse(request.max_results, request.next_token.as_deref(), prefix)?;
        let found = self.queues.list(
            &context.caller.account,
            prefix,
            page.after.as_deref(),
            page.limit.saturating_add(1),
        );
        let (urls, next_token) = one_page(&page, &found, context);
        Ok(Response::QueueUrls { action: Action::ListQueues, urls, next_token })
    }

    pub(super) fn list_dead_letter_source_queues<'r>(
        &self,
        request: &ListDeadLetterSourceQueues<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let action = Action::ListDeadLetterSourceQueues;
        let queue = self.queue(&request.queue_url, action, context)?;
        let page = Page::parse(request.max_results, request.next_token.as_deref(), &queue.record.name)?;
        let sources = self.queues.sources_of(&queue);
        let (urls, next_token) = one_page(&page, &sources, context);
        Ok(Response::QueueUrls { action, urls, next_token })
    }

    pub(super) fn get_queue_attributes<'r>(
        &self,
        request: &GetQueueAttributes<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::GetQueueAttributes, context)?;
        let wanted = RequestedAttributes::parse(&request.attribute_names)?;
        let (visible, not_visible, delayed) = counts(&queue.gauges);
        let live = LiveAttributes {
            arn: queue.arn.clone(),
            visible,
            not_visible,
            delayed,
            created_at_s: queue.record.created_at_ms / 1_000,
            modified_at_s: queue.record.modified_at_ms / 1_000,
        };
        Ok(Response::Attributes(queue.record.settings.render(wanted, &live)))
    }

    pub(super) async fn set_queue_attributes<'r>(
        &self,
        request: &SetQueueAttributes<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::SetQueueAttributes, context)?;
        let fifo = queue.record.settings.fifo;
        let changes = AttributeChanges::parse(&request.attributes, AttributeContext::Set { fifo })?;
        check_transport(context.caller, turns_encryption_on(&changes))?;
        let set = self.queues.set_attributes(&queue, &changes).await;
        let parameters = json!({ "attributes": pairs(&request.attributes) });
        self.record("SetQueueAttributes", &queue.arn_text, parameters, set.as_ref().err(), context).await?;
        set?;
        Ok(Response::Empty(Action::SetQueueAttributes))
    }

    pub(super) fn list_queue_tags<'r>(
        &self,
        request: &ListQueueTags<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::ListQueueTags, context)?;
        let tag = |(key, value): (&String, &String)| (Cow::Owned(key.clone()), Cow::Owned(value.clone()));
        Ok(Response::Tags(queue.record.tags.iter().map(tag).collect()))
    }

    pub(super) async fn tag_queue<'r>(
        &self,
        request: &TagQueue<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.found(&request.queue_url, context)?;
        let given = request.tags.iter().map(|(name, value)| (&**name, Some(&**value)));
        self.authorizer.tags_of_queue(context.caller, Action::TagQueue, &queue, given)?;
        let tagged = self
            .queues
            .set_tags(&queue, |tags| {
                *tags = add_tags(tags, &request.tags, &queue.record.name)?;
                Ok(())
            })
            .await;
        let tags: BTreeMap<&str, &str> = request.tags.iter().map(|(key, value)| (&**key, &**value)).collect();
        self.record("TagQueue", &queue.arn_text, json!({ "tags": tags }), tagged.as_ref().err(), context)
            .await?;
        tagged?;
        Ok(Response::Empty(Action::TagQueue))
    }

    pub(super) async fn untag_queue<'r>(
        &self,
        request: &UntagQueue<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.found(&request.queue_url, context)?;
        let taken = request.tag_keys.iter().map(|name| (&**name, None));
        self.authorizer.tags_of_queue(context.caller, Action::UntagQueue, &queue, taken)?;
        let untagged = self
            .queues
            .set_tags(&queue, |tags| {
                for key in &request.tag_keys {
                    tags.remove(&**key);
                }
                Ok(())
            })
            .await;
        let parameters = json!({ "tagKeys": request.tag_keys });
        self.record("UntagQueue", &queue.arn_text, parameters, untagged.as_ref().err(), context).await?;
        untagged?;
        Ok(Response::Empty(Action::UntagQueue))
    }

    pub(super) async fn add_permission<'r>(
        &self,
        request: &AddPermission<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::AddPermission, context)?;
        let added = self
            .queues
            .set_policy(&queue, |policy| add_permission(policy, request, &queue.arn).map(Some))
            .await;
        let parameters = json!({
            "label": request.label, "aWSAccountIds": request.aws_account_ids, "actions": request.actions,
        });
        self.record("AddPermission", &queue.arn_text, parameters, added.as_ref().err(), context).await?;
        added?;
        Ok(Response::Empty(Action::AddPermission))
    }

    pub(super) async fn remove_permission<'r>(
        &self,
        request: &RemovePermission<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let queue = self.queue(&request.queue_url, Action::RemovePermission, context)?;
        let removed =
            self.queues.set_policy(&queue, |policy| remove_permission(policy, &request.label)).await;
        let parameters = json!({ "label": request.label });
        self.record("RemovePermission", &queue.arn_text, parameters, removed.as_ref().err(), context).await?;
        removed?;
        Ok(Response::Empty(Action::RemovePermission))
    }

    /// The audit record of a change, on disk before its reply.
    pub(super) async fn record(
        &self,
        name: &str,
        queue_arn: &str,
        parameters: Value,
        error: Option<&ErrorReply>,
        context: Context<'_>,
    ) -> Result<(), ErrorReply> {
        let caller = context.caller;
        let owner = queue_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let event = AuditEvent {
            at_ms: self.clock.now_ms(),
            source: "sqs.amazonaws.com",
            name: name.to_owned(),
            region: self.region.clone(),
            identity: user_identity(caller),
            source_ip: caller.source_ip.to_string(),
            user_agent: caller.user_agent.to_string(),
            request_parameters: parameters,
            response_elements: Value::Null,
            error: error.map(|error| (error.code.query_code().to_owned(), error.message.to_string())),
            request_id: context.request_id.to_owned(),
            resources: vec![(queue_arn.to_owned(), owner.clone(), "AWS::SQS::Queue")],
            read_only: false,
            event_type: "AwsApiCall",
            recipient_account: owner,
            shared_event_id: None,
        };
        self.audit.write(event).await.map_err(|error| {
            tracing::error!(%error, "a change was made but could not be audited");
            ErrorReply::internal()
        })
    }
}

/// Whether a call turns either kind of encryption on.
fn turns_encryption_on(changes: &AttributeChanges) -> bool {
    matches!(changes.kms_master_key_id, Some(Some(_))) || changes.sqs_managed_sse_enabled == Some(true)
}

fn pairs<'a>(given: &'a [(Cow<'a, str>, Option<Cow<'a, str>>)]) -> BTreeMap<&'a str, Option<&'a str>> {
    given.iter().map(|(name, value)| (&**name, value.as_deref())).collect()
}

/// A page of URLs and the token of the next.
fn one_page(
    page: &Page,
    queues: &[std::sync::Arc<Queue>],
    context: Context<'_>,
) -> (Vec<String>, Option<String>) {
    let (names, next_token) = page.take(queues.iter().map(|queue| queue.record.name.as_str()));
    // Both are sorted by name.
    let mut rest = queues.iter();
    let url = |name: &&str| Some(queue_url(context, rest.find(|queue| queue.record.name == **name)?));
    (names.iter().filter_map(url).collect(), next_token)
}
