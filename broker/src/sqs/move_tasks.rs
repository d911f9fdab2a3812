//! Message move tasks: durable, one a source, paced, resumed at start.
//!
//! A task is a record in the catalog and a loop that asks the engine to move batches. The copies and their tombstones
//! are one frame each, so a crash neither loses nor doubles a message; only the progress figure may lag behind.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sealq_api::arn::QueueArn;
use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::sqs::move_task::{
    ACTIVE_MAX, MoveTask, MoveTaskStatus, TaskHandle, already_running, destination_missing,
    not_a_dead_letter_queue, not_active, source_missing, task_missing,
};
use sealq_api::sqs::request::{CancelMessageMoveTask, ListMessageMoveTasks, StartMessageMoveTask};
use sealq_api::sqs::{Action, Response};
use sealq_storage::Log;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::errors::of_unavailable;
use super::{Context, SqsService};
use crate::catalog::{CatalogError, decode, encode};
use crate::clock::Clock;
use crate::engine::command::{Command, Outcome, RedriveRoute, RedriveStop};
use crate::queues::{Queue, Queues, counts};
use crate::shard::ShardHandle;

/// Longest run of a task (SQS API contract, section 11).
const RUN_MS_MAX: u64 = 36 * 60 * 60 * 1_000;

/// Finished tasks shown per source.
const FINISHED_KEPT: usize = 10;

/// Messages moved at once when no rate is given.
const BATCH_MESSAGES: usize = 100;

/// How often a running task looks for messages that have become visible.
const POLL: Duration = Duration::from_millis(200);

/// A task as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TaskRecord {
    id: [u8; 16],
    source: QueueArn,
    source_stream: u32,
    destination: Option<QueueArn>,
    rate: Option<u32>,
    status: MoveTaskStatus,
    moved: u64,
    to_move: u64,
    failure: Option<String>,
    started_at_ms: u64,
}

impl TaskRecord {
    fn key(&self) -> Vec<u8> {
        format!("move/{}/{}", self.source_stream, Uuid::from_bytes(self.id)).into_bytes()
    }

    fn handle(&self) -> String {
        TaskHandle { task_id: Uuid::from_bytes(self.id), source: self.source.clone() }.encode()
    }

    fn is_active(&self) -> bool {
        matches!(self.status, MoveTaskStatus::Running | MoveTaskStatus::Cancelling)
    }
}

/// Every task, running and finished.
pub struct MoveTasks {
    tasks: Mutex<HashMap<[u8; 16], TaskRecord>>,
    queues: Arc<Queues>,
    shard: ShardHandle,
    clock: Clock,
}

impl MoveTasks {
    /// Reads the tasks from the catalog. Call [`Self::resume`] once the runtime is there.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn load(
        log_catalog: &[(Vec<u8>, Vec<u8>)],
        queues: Arc<Queues>,
        shard: ShardHandle,
        clock: Clock,
    ) -> Result<Self, CatalogError> {
        let mut tasks = HashMap::new();
        for (key, value) in log_catalog {
            let record: TaskRecord = decode(key, value)?;
            tasks.insert(record.id, record);
        }
        Ok(Self { tasks: Mutex::new(tasks), queues, shard, clock })
    }

    /// The catalog entries that belong here.
    pub fn entries(log: &Log) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mine = log.catalog().iter().filter(|(key, _)| key.starts_with(b"move/"));
        mine.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// Goes on with what was running.
    pub fn resume(self: &Arc<Self>) {
        let active: Vec<TaskRecord> =
            self.tasks.lock().values().filter(|task| task.is_active()).cloned().collect();
        for task in active {
            self.spawn(task.id);
        }
    }

    fn spawn(self: &Arc<Self>, id: [u8; 16]) {
        let tasks = self.clone();
        tokio::spawn(async move { tasks.run(id).await });
    }

    async fn run(self: Arc<Self>, id: [u8; 16]) {
        let mut saved_at_ms = 0;
        loop {
            let Some(task) = self.tasks.lock().get(&id).cloned() else { return };
            let now_ms = self.clock.now_ms();
            if task.status == MoveTaskStatus::Cancelling {
                return self.finish(id, MoveTaskStatus::Cancelled, None).await;
            }
            if now_ms.saturating_sub(task.started_at_ms) > RUN_MS_MAX {
                return self.finish(id, MoveTaskStatus::Failed, Some("Timeout".into())).await;
            }
            let Some(source) =
                self.queues.find_arn(&task.source).filter(|queue| queue.record.stream == task.source_stream)
            else {
                let gone = "AWS.SimpleQueueService.NonExistentQueue".to_owned();
                return self.finish(id, MoveTaskStatus::Failed, Some(gone)).await;
            };
            let Some(route) = self.route(&task) else {
                let gone = "AWS.SimpleQueueService.NonExistentQueue".to_owned();
                return self.finish(id, MoveTaskStatus::Failed, Some(gone)).await;
            };
            // A tenth of a second's worth at a time keeps the rate even.
            let max = task.rate.map_or(BATCH_MESSAGES, |rate| (rate as usize).div_ceil(10));
            let stream = source.record.stream;
            let outcome =
                self.shard.ask(|reply| Command::Redrive { source: stream, route, max, reply }).await;
            let (moved, stop) = match outcome {
                Outcome::Redriven(moved, stop) => (moved, stop),
                Outcome::QueueGone => continue,
                _ => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            let total = {
                let mut tasks = self.tasks.lock();
                let Some(task) = tasks.get_mut(&id) else { return };
                task.moved += moved as u64;
                task.moved
            };
            match stop {
                RedriveStop::UnknownOrigin => {
                    let reason = "CouldNotDetermineMessageSource".to_owned();
                    return self.finish(id, MoveTaskStatus::Failed, Some(reason)).await;
                }
                RedriveStop::DestinationGone => {
                    let gone = "AWS.SimpleQueueService.NonExistentQueue".to_owned();
                    return self.finish(id, MoveTaskStatus::Failed, Some(gone)).await;
                }
                RedriveStop::Empty if total >= task.to_move || is_empty(&source) => {
                    return self.finish(id, MoveTaskStatus::Completed, None).await;
                }
                RedriveStop::Empty => tokio::time::sleep(POLL).await,
                // Nothing can be moved at present.
                RedriveStop::Batch if moved == 0 => tokio::time::sleep(POLL).await,
                RedriveStop::Batch => {}
            }
            if now_ms.saturating_sub(saved_at_ms) > 1_000 {
                saved_at_ms = now_ms;
                self.save(id).await;
            }
            if let Some(rate) = task.rate {
                tokio::time::sleep(Duration::from_secs_f64(max as f64 / f64::from(rate))).await;
            }
        }
    }

    fn route(&self, task: &TaskRecord) -> Option<RedriveRoute> {
        match &task.destination {
            Some(arn) => self.queues.find_arn(arn).map(|queue| RedriveRoute::Fixed(queue.record.stream)),
            None => {
                let all = self.queues.all();
                let by_arn = all.iter().map(|queue| (queue.arn_text.to_string(), queue.record.stream));
                Some(RedriveRoute::Origin(Arc::new(by_arn.collect())))
            }
        }
    }

    async fn finish(&self, id: [u8; 16], status: MoveTaskStatus, failure: Option<String>) {
        let dropped: Vec<Vec<u8>> = {
            let mut tasks = self.tasks.lock();
            let Some(task) = tasks.get_mut(&id) else { return };
            task.status = status;
            task.failure = failure;
            let stream = task.source_stream;
            let mut finished: Vec<(u64, [u8; 16])> = tasks
                .values()
                .filter(|task| task.source_stream == stream && !task.is_active())
                .map(|task| (task.started_at_ms, task.id))
                .collect();
            finished.sort_unstable();
            let surplus = finished.len().saturating_sub(FINISHED_KEPT);
            finished[..surplus].iter().filter_map(|(_, id)| tasks.remove(id)).map(|task| task.key()).collect()
        };
        self.save(id).await;
        if !dropped.is_empty() {
            self.write(Vec::new(), dropped).await;
        }
    }

    async fn save(&self, id: [u8; 16]) {
        let Some(task) = self.tasks.lock().get(&id).cloned() else { return };
        self.write(vec![(task.key(), encode(&task))], Vec::new()).await;
    }

    async fn write(&self, puts: Vec<(Vec<u8>, Vec<u8>)>, deletes: Vec<Vec<u8>>) {
        let outcome = self.shard.ask(|reply| Command::WriteCatalog { puts, deletes, reply }).await;
        if !matches!(outcome, Outcome::Stored) {
            tracing::warn!("the progress of a move task could not be stored");
        }
    }

    /// The tasks of a queue, newest first.
    fn of_source(&self, stream: u32) -> Vec<TaskRecord> {
        let mut tasks: Vec<TaskRecord> =
            self.tasks.lock().values().filter(|task| task.source_stream == stream).cloned().collect();
        tasks.sort_by_key(|task| (std::cmp::Reverse(task.started_at_ms), task.id));
        tasks
    }

    /// A queue was deleted: its tasks go with it. A running one finds itself gone and ends.
    pub(super) async fn forget_source(&self, stream: u32) {
        let gone = self.of_source(stream);
        if gone.is_empty() {
            return;
        }
        self.tasks.lock().retain(|_, task| task.source_stream != stream);
        self.write(Vec::new(), gone.iter().map(TaskRecord::key).collect()).await;
    }

    /// How far each active task has come: stream of its source, messages moved, messages found at its start.
    pub fn progress(&self) -> impl Iterator<Item = (u32, (u64, u64))> {
        let tasks = self.tasks.lock();
        let active = tasks.values().filter(|task| task.is_active());
        active.map(|task| (task.source_stream, (task.moved, task.to_move))).collect::<Vec<_>>().into_iter()
    }
}

fn is_empty(queue: &Queue) -> bool {
    counts(&queue.gauges) == (0, 0, 0)
}

impl SqsService {
    pub(super) async fn start_message_move_task<'r>(
        &self,
        request: &StartMessageMoveTask<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let checked = request.check()?;
        let source = self.queues.find_arn(&checked.source).ok_or_else(source_missing)?;
        for action in [
            Action::StartMessageMoveTask,
            Action::ReceiveMessage,
            Action::DeleteMessage,
            Action::GetQueueAttributes,
        ] {
            self.authorizer.queue(context.caller, action, &source)?;
        }
        // That both are of one type was checked by their names.
        if let Some(arn) = &checked.destination {
            let queue = self.queues.find_arn(arn).ok_or_else(destination_missing)?;
            self.authorizer.queue(context.caller, Action::SendMessage, &queue)?;
        }
        if self.queues.sources_of(&source).is_empty() {
            return Err(not_a_dead_letter_queue());
        }
        let record = TaskRecord {
            id: *Uuid::from_bytes(super::send::new_message_id()?).as_bytes(),
            source: checked.source.clone(),
            source_stream: source.record.stream,
            destination: checked.destination,
            rate: checked.max_messages_per_second,
            status: MoveTaskStatus::Running,
            moved: 0,
            to_move: {
                let (visible, not_visible, delayed) = counts(&source.gauges);
                visible + not_visible + delayed
            },
            failure: None,
            started_at_ms: self.clock.now_ms(),
        };
        let task_handle = record.handle();
        let (id, puts) = (record.id, vec![(record.key(), encode(&record))]);
        {
            let mut tasks = self.move_tasks.tasks.lock();
            let active = |task: &&TaskRecord| task.is_active();
            if tasks.values().filter(active).any(|task| task.source_stream == record.source_stream) {
                return Err(already_running());
            }
            if tasks
                .values()
                .filter(active)
                .filter(|task| task.source.account == record.source.account)
                .count()
                >= ACTIVE_MAX
            {
                return Err(ErrorReply::new(ErrorCode::OverLimit, "Too many active message move tasks."));
            }
            tasks.insert(id, record);
        }
        match self.shard.ask(|reply| Command::WriteCatalog { puts, deletes: Vec::new(), reply }).await {
            Outcome::Stored => {
                self.move_tasks.spawn(id);
                let parameters = json!({
                    "sourceArn": request.source_arn,
                    "destinationArn": request.destination_arn,
                    "maxNumberOfMessagesPerSecond": request.max_number_of_messages_per_second,
                });
                self.record("StartMessageMoveTask", &source.arn_text, parameters, None, context).await?;
                Ok(Response::TaskStarted { task_handle })
            }
            other => {
                self.move_tasks.tasks.lock().remove(&id);
                Err(match other {
                    Outcome::Unavailable(unavailable) => of_unavailable(unavailable),
                    _ => ErrorReply::internal(),
                })
            }
        }
    }

    pub(super) fn list_message_move_tasks<'r>(
        &self,
        request: &ListMessageMoveTasks<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let (source, max) = request.check()?;
        let queue = self.queues.find_arn(&source).ok_or_else(source_missing)?;
        self.authorizer.queue(context.caller, Action::ListMessageMoveTasks, &queue)?;
        let shown = |task: TaskRecord| MoveTask {
            task_handle: Cow::Owned(task.handle()),
            status: task.status,
            source_arn: Cow::Owned(task.source.to_string()),
            destination_arn: task.destination.map(|arn| Cow::Owned(arn.to_string())),
            max_messages_per_second: task.rate,
            messages_moved: task.moved,
            messages_to_move: Some(task.to_move),
            failure_reason: task.failure.map(Cow::Owned),
            started_at_ms: task.started_at_ms,
        };
        Ok(Response::MoveTasks(
            self.move_tasks.of_source(queue.record.stream).into_iter().take(max).map(shown).collect(),
        ))
    }

    pub(super) async fn cancel_message_move_task<'r>(
        &self,
        request: &CancelMessageMoveTask<'_>,
        context: Context<'_>,
    ) -> Result<Response<'r>, ErrorReply> {
        let handle = request.check()?;
        let queue = self.queues.find_arn(&handle.source).ok_or_else(source_missing)?;
        self.authorizer.queue(context.caller, Action::CancelMessageMoveTask, &queue)?;
        let id = *handle.task_id.as_bytes();
        let messages_moved = {
            let mut tasks = self.move_tasks.tasks.lock();
            let task = tasks
                .get_mut(&id)
                .filter(|task| task.source_stream == queue.record.stream)
                .ok_or_else(task_missing)?;
            if task.status != MoveTaskStatus::Running {
                return Err(not_active());
            }
            task.status = MoveTaskStatus::Cancelling;
            task.moved
        };
        self.move_tasks.save(id).await;
        let parameters = json!({ "taskHandle": request.task_handle });
        self.record("CancelMessageMoveTask", &queue.arn_text, parameters, None, context).await?;
        Ok(Response::TaskCancelled { messages_moved })
    }
}
