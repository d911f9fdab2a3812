//! Amazon's SDK for Rust on encrypted queues.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::operation::create_queue::CreateQueueError;
use aws_sdk_sqs::operation::delete_message::DeleteMessageError;
use aws_sdk_sqs::operation::send_message::SendMessageError;
use aws_sdk_sqs::operation::send_message_batch::SendMessageBatchError;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageAttributeValue,
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use sealq_rust_clients::{attribute, client, queue, receive};

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().filter_map(Message::body).collect()
}

fn value(kind: &str) -> aws_sdk_sqs::types::builders::MessageAttributeValueBuilder {
    MessageAttributeValue::builder().data_type(kind)
}

fn entry(id: usize, body: &str) -> SendMessageBatchRequestEntry {
    SendMessageBatchRequestEntry::builder().id(format!("m{id}")).message_body(body).build().expect("an entry")
}

fn handle(message: &Message) -> &str {
    message.receipt_handle().expect("a receipt handle")
}

#[tokio::test]
async fn a_message_and_its_attributes_come_back() {
    let sqs = client();
    let url = queue(&sqs, &[]).await;
    let given = HashMap::from([
        ("text".to_owned(), value("String").string_value("wört").build().expect("a value")),
        ("count.int".to_owned(), value("Number.int").string_value("-7").build().expect("a value")),
        ("bytes".to_owned(), value("Binary").binary_value(Blob::new([0, 1, 255])).build().expect("a value")),
    ]);
    let body = "line\r\n<tag> & \u{1F469}\u{200D}\u{1F680} \u{FFFD}";
    let sent =
        sqs.send_message().queue_url(&url).message_body(body).set_message_attributes(Some(given.clone()));
    let sent = sent.send().await.expect("it is sent");
    let messages = receive(&sqs, &url, 1).await;
    assert_eq!(bodies(&messages), [body]);
    assert_eq!(messages[0].message_attributes(), Some(&given));
    assert_eq!(messages[0].message_id(), sent.message_id());
    assert_eq!(messages[0].md5_of_body(), sent.md5_of_message_body());
    assert_eq!(messages[0].md5_of_message_attributes(), sent.md5_of_message_attributes());
    sqs.delete_message()
        .queue_url(&url)
        .receipt_handle(handle(&messages[0]))
        .send()
        .await
        .expect("it is deleted");
    let left = attribute(&sqs, &url, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await;
    assert_eq!(left.as_deref(), Some("0"));
}

#[tokio::test]
async fn batches_report_each_entry() {
    let sqs = client();
    let url = queue(&sqs, &[]).await;
    let entries = (0..9).map(|id| entry(id, "fine")).chain([entry(9, "\u{1}")]);
    let sent = sqs.send_message_batch().queue_url(&url).set_entries(Some(entries.collect())).send().await;
    let sent = sent.expect("a reply");
    assert_eq!(sent.successful().len(), 9);
    let failed: Vec<_> = sent.failed().iter().map(|f| (f.id(), f.code(), f.sender_fault())).collect();
    assert_eq!(failed, [("m9", "InvalidMessageContents", true)]);
    let messages = receive(&sqs, &url, 9).await;
    let mut release = sqs.change_message_visibility_batch().queue_url(&url);
    let mut delete = sqs.delete_message_batch().queue_url(&url);
    for (index, message) in messages.iter().enumerate() {
        let id = index.to_string();
        let released = ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(&id)
            .receipt_handle(handle(message))
            .visibility_timeout(0);
        release = release.entries(released.build().expect("an entry"));
        let deleted = DeleteMessageBatchRequestEntry::builder().id(&id).receipt_handle(handle(message));
        delete = delete.entries(deleted.build().expect("an entry"));
    }
    assert_eq!(release.send().await.expect("a reply").successful().len(), 9);
    assert_eq!(
        attribute(&sqs, &url, QueueAttributeName::ApproximateNumberOfMessages).await.as_deref(),
        Some("9")
    );
    assert_eq!(delete.send().await.expect("a reply").successful().len(), 9);
    assert_eq!(
        attribute(&sqs, &url, QueueAttributeName::ApproximateNumberOfMessages).await.as_deref(),
        Some("0")
    );
}

#[tokio::test]
async fn a_fifo_queue_keeps_order_and_drops_duplicates() {
    let sqs = client();
    let fifo =
        [(QueueAttributeName::FifoQueue, "true"), (QueueAttributeName::ContentBasedDeduplication, "true")];
    let url = queue(&sqs, &fifo).await;
    let mut numbers = Vec::new();
    for body in ["1", "2", "3", "3"] {
        let sent = sqs.send_message().queue_url(&url).message_body(body).message_group_id("g").send().await;
        numbers.push(sent.expect("it is sent").sequence_number.expect("a sequence number"));
    }
    assert!(numbers.is_sorted() && numbers[2] == numbers[3]);
    let messages = receive(&sqs, &url, 3).await;
    assert_eq!(bodies(&messages), ["1", "2", "3"]);
    let system = messages[2].attributes().expect("system attributes");
    assert_eq!(system.get(&MessageSystemAttributeName::SequenceNumber), Some(&numbers[2]));
}

#[tokio::test]
async fn dead_letters_are_collected_and_moved_back() {
    let sqs = client();
    let dead = queue(&sqs, &[]).await;
    let target = attribute(&sqs, &dead, QueueAttributeName::QueueArn).await.expect("an ARN");
    let policy = format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":1}}"#);
    let url = queue(&sqs, &[(QueueAttributeName::RedrivePolicy, &policy)]).await;
    sqs.send_message().queue_url(&url).message_body("poison").send().await.expect("it is sent");
    let once = sqs.receive_message().queue_url(&url).visibility_timeout(0).wait_time_seconds(5).send().await;
    assert_eq!(bodies(once.expect("a reply").messages()), ["poison"]);
    assert!(sqs.receive_message().queue_url(&url).send().await.expect("a reply").messages.is_none());
    assert_eq!(
        attribute(&sqs, &dead, QueueAttributeName::ApproximateNumberOfMessages).await.as_deref(),
        Some("1")
    );
    let sources = sqs.list_dead_letter_source_queues().queue_url(&dead).send().await.expect("a reply");
    assert_eq!(sources.queue_urls(), [url.clone()]);
    let task = sqs.start_message_move_task().source_arn(&target).send().await.expect("a task");
    assert_eq!(bodies(&receive(&sqs, &url, 1).await), ["poison"]);
    for _ in 0..100 {
        let tasks = sqs.list_message_move_tasks().source_arn(&target).send().await.expect("tasks");
        if tasks.results()[0].status() == Some("COMPLETED") {
            assert_eq!(tasks.results()[0].approximate_number_of_messages_moved(), 1);
            let cancel = sqs.cancel_message_move_task().set_task_handle(task.task_handle).send().await;
            assert!(cancel.expect_err("it has ended").into_service_error().is_unsupported_operation());
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the task does not end");
}

#[tokio::test]
async fn queues_are_listed_tagged_and_deleted() {
    let sqs = client();
    let url = queue(&sqs, &[]).await;
    let name = url.rsplit('/').next().expect("a name");
    assert_eq!(
        sqs.get_queue_url().queue_name(name).send().await.expect("a reply").queue_url(),
        Some(url.as_str())
    );
    let mut pages = sqs.list_queues().queue_name_prefix(name).into_paginator().page_size(10).send();
    assert_eq!(pages.next().await.expect("a page").expect("queues").queue_urls(), [url.clone()]);
    assert!(pages.next().await.is_none());
    sqs.tag_queue().queue_url(&url).tags("team", "blue").tags("stage", "test").send().await.expect("tags");
    sqs.untag_queue().queue_url(&url).tag_keys("stage").send().await.expect("no tag");
    let tags = sqs.list_queue_tags().queue_url(&url).send().await.expect("tags").tags;
    assert_eq!(tags, Some(HashMap::from([("team".to_owned(), "blue".to_owned())])));
    let change = sqs.set_queue_attributes().queue_url(&url).attributes(QueueAttributeName::DelaySeconds, "1");
    change.send().await.expect("it is changed");
    assert_eq!(attribute(&sqs, &url, QueueAttributeName::DelaySeconds).await.as_deref(), Some("1"));
    let permission = sqs.add_permission().queue_url(&url).label("other").actions("SendMessage");
    permission.aws_account_ids("111111111111").send().await.expect("a permission");
    assert!(attribute(&sqs, &url, QueueAttributeName::Policy).await.expect("a policy").contains("other"));
    sqs.remove_permission().queue_url(&url).label("other").send().await.expect("no permission");
    assert_eq!(attribute(&sqs, &url, QueueAttributeName::Policy).await, None);
    sqs.purge_queue().queue_url(&url).send().await.expect("it is purged");
    sqs.delete_queue().queue_url(&url).send().await.expect("it is deleted");
    let gone =
        sqs.get_queue_url().queue_name(name).send().await.expect_err("it is gone").into_service_error();
    assert!(gone.is_queue_does_not_exist());
    assert!(gone.message().is_some());
}

#[tokio::test]
async fn a_long_poll_ends_with_a_message_and_a_dropped_one_takes_none() {
    let sqs = client();
    let url = queue(&sqs, &[]).await;
    let poll = || sqs.receive_message().queue_url(&url).wait_time_seconds(20).send();
    let dropped = tokio::time::timeout(Duration::from_millis(300), poll()).await;
    assert!(dropped.is_err());
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        sqs.send_message().queue_url(&url).message_body("late").send().await
    };
    let (received, sent) = tokio::join!(poll(), late);
    sent.expect("it is sent");
    let received = received.expect("a reply");
    assert_eq!(bodies(received.messages()), ["late"]);
}

#[tokio::test]
async fn refusals_are_variants_of_the_operation() {
    let sqs = client();
    let url = queue(&sqs, &[]).await;
    let absent = format!("{url}-absent");
    let error =
        sqs.send_message().queue_url(absent).message_body("x").send().await.expect_err("no such queue");
    assert!(matches!(error.into_service_error(), SendMessageError::QueueDoesNotExist(_)));
    let error = sqs.send_message().queue_url(&url).message_body("\u{1}").send().await.expect_err("a control");
    assert!(matches!(error.into_service_error(), SendMessageError::InvalidMessageContents(_)));
    let keyless = queue(&sqs, &[(QueueAttributeName::KmsMasterKeyId, "alias/absent")]).await;
    let error =
        sqs.send_message().queue_url(keyless).message_body("x").send().await.expect_err("no such key");
    assert!(matches!(error.into_service_error(), SendMessageError::KmsNotFound(_)));
    let error =
        sqs.delete_message().queue_url(&url).receipt_handle("garbage").send().await.expect_err("garbage");
    assert!(matches!(error.into_service_error(), DeleteMessageError::ReceiptHandleIsInvalid(_)));
    let long = "x".repeat(524_289);
    let batch = sqs.send_message_batch().queue_url(&url).entries(entry(0, &long)).entries(entry(1, &long));
    let error = batch.send().await.expect_err("too long");
    assert!(matches!(error.into_service_error(), SendMessageBatchError::BatchRequestTooLong(_)));
    let name = url.rsplit('/').next().expect("a name");
    let other = sqs.create_queue().queue_name(name).attributes(QueueAttributeName::DelaySeconds, "1");
    let error = other.send().await.expect_err("it has another delay").into_service_error();
    assert!(matches!(error, CreateQueueError::QueueNameExists(_)));
    let error =
        sqs.receive_message().queue_url(&url).max_number_of_messages(11).send().await.expect_err("11");
    assert_eq!(error.code(), Some("InvalidParameterValue"));
}
