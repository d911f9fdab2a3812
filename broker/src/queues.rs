//! The queues by name, and every change to them.
//!
//! Reads are lock-free but for a short read lock; changes go one at a time: checked against the current state, made
//! durable through the shard, then published. What the engine needs of a queue ([`QueueRules`]) is derived here.

mod queue;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::RwLock;
use sealq_api::arn::QueueArn;
use sealq_api::error::{ErrorCode, ErrorReply};
use sealq_api::iam::{Policy, PolicyKind};
use sealq_api::sqs::attributes::{
    AttributeChanges, DeadLetterTarget, DeduplicationScope, QueueSettings, SseMode,
};
use sealq_storage::Log;
use tokio::sync::Mutex;

use crate::authenticate::Authenticator;
use crate::catalog::{CatalogError, LAST_STREAM_KEY, QueueRecord, decode, encode};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::command::{CatalogPuts, Command, Outcome};
use crate::engine::gauges::QueueGauges;
use crate::engine::queue::{DeadLetter, QueueRules};
use crate::shard::{Reply, ShardHandle};
pub use queue::Queue;

/// A purge is refused within this time of the one before (SQS API contract, section 11).
const PURGE_INTERVAL_MS: u64 = 60_000;

/// Every queue of this broker.
pub struct Queues {
    names: RwLock<Names>,
    control: Mutex<Control>,
    shard: ShardHandle,
    clock: Clock,
    recreate_wait_ms: u64,
    region: String,
    partition: String,
    principals: Arc<Authenticator>,
}

#[derive(Default)]
struct Names {
    by_account: HashMap<String, BTreeMap<String, Arc<Queue>>>,
    by_stream: HashMap<u32, Arc<Queue>>,
    /// Names of the queues of an account whose redrive policy names a queue of the same account.
    sources: HashMap<QueueArn, BTreeSet<String>>,
}

struct Control {
    last_stream: u32,
    /// When a queue was deleted, milliseconds, by (account, name).
    deleted: HashMap<(String, String), u64>,
}

/// What the catalog says, before the shard runs.
pub struct LoadedQueues {
    names: Names,
    control: Control,
}

/// What a new queue is made of.
#[derive(Debug)]
pub struct NewQueue<'a> {
    /// Owner.
    pub account: &'a str,
    /// Checked name.
    pub name: &'a str,
    /// Attributes given.
    pub changes: &'a AttributeChanges,
    /// Tags given.
    pub tags: BTreeMap<String, String>,
    /// The call came over TLS, signed.
    pub secure: bool,
}

impl LoadedQueues {
    /// Reads the catalog and restores each queue in the engine.
    ///
    /// # Errors
    /// An entry that cannot be read: the broker must not start without a queue that it had.
    pub fn load(
        log: &mut Log,
        engine: &mut Engine<Reply>,
        clock: &Clock,
        partition: &str,
    ) -> Result<Self, CatalogError> {
        let mut names = Names::default();
        let mut control = Control { last_stream: 0, deleted: HashMap::new() };
        for (key, value) in log.catalog() {
            if let Some(record) = QueueRecord::decode(key, value) {
                let record = record?;
                control.last_stream = control.last_stream.max(record.stream);
                let queue = Arc::new(Queue::new(record, partition, Arc::default()));
                names.insert(queue);
            } else if &**key == LAST_STREAM_KEY {
                control.last_stream = control.last_stream.max(decode(key, value)?);
            } else if let Some(rest) = key.strip_prefix(b"deleted/") {
                let text = String::from_utf8_lossy(rest);
                if let Some((account, name)) = text.split_once('/') {
                    control.deleted.insert((account.to_owned(), name.to_owned()), decode(key, value)?);
                }
            }
        }
        let now_ms = clock.now_ms();
        for queue in names.all() {
            let gauges = queue.gauges.clone();
            engine.restore_queue(now_ms, queue.record.stream, names.rules(&queue), gauges, log);
        }
        // Messages of a queue whose deletion was cut short belong to nobody.
        Ok(Self { names, control })
    }

    /// ARN of the queue that a stream belongs to, if any.
    pub fn arn(&self, stream: u32) -> Option<&str> {
        self.names.by_stream.get(&stream).map(|queue| &*queue.arn_text)
    }

    /// Streams that belong to a queue.
    pub fn streams(&self) -> std::collections::HashSet<u32> {
        self.names.all().iter().map(|queue| queue.record.stream).collect()
    }
}

impl Queues {
    /// Over a running shard.
    pub fn new(
        loaded: LoadedQueues,
        shard: ShardHandle,
        clock: Clock,
        recreate_wait_ms: u64,
        region: String,
        partition: String,
        principals: Arc<Authenticator>,
    ) -> Self {
        Self {
            names: RwLock::new(loaded.names),
            control: Mutex::new(loaded.control),
            shard,
            clock,
            recreate_wait_ms,
            region,
            partition,
            principals,
        }
    }

    /// A queue by owner and name.
    pub fn find(&self, account: &str, name: &str) -> Option<Arc<Queue>> {
        self.names.read().find(account, name).cloned()
    }

    /// A queue by ARN.
    pub fn find_arn(&self, arn: &QueueArn) -> Option<Arc<Queue>> {
        if arn.region != self.region {
            return None;
        }
        self.find(&arn.account, &arn.name)
    }

    /// Queues of an account whose names start with `prefix`, sorted, after `after`, at most `max`.
    pub fn list(&self, account: &str, prefix: &str, after: Option<&str>, max: usize) -> Vec<Arc<Queue>> {
        let names = self.names.read();
        let Some(queues) = names.by_account.get(account) else { return Vec::new() };
        let from = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        queues
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(_, queue)| queue.clone())
            .take(max)
            .collect()
    }

    /// A queue by its stream number.
    pub fn by_stream(&self, stream: u32) -> Option<Arc<Queue>> {
        self.names.read().by_stream.get(&stream).cloned()
    }

    /// Every queue.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.names.read().all()
    }

    /// Queues whose redrive policy names this one, sorted by name.
    pub fn sources_of(&self, target: &Queue) -> Vec<Arc<Queue>> {
        self.names.read().sources_of(&target.arn)
    }

    /// Creates a queue, or finds the one there is if its attributes are those given.
    ///
    /// # Errors
    /// A different queue of that name, one deleted just now, a redrive policy that does not hold.
    pub async fn create(&self, new: NewQueue<'_>) -> Result<Arc<Queue>, ErrorReply> {
        let mut control = self.control.lock().await;
        if let Some(queue) = self.find(new.account, new.name) {
            queue.record.settings.check_same(new.changes)?;
            return Ok(queue);
        }
        let now_ms = self.clock.now_ms();
        let id = (new.account.to_owned(), new.name.to_owned());
        if let Some(deleted_at_ms) = control.deleted.get(&id)
            && deleted_at_ms + self.recreate_wait_ms > now_ms
        {
            return Err(ErrorReply::new(
                ErrorCode::QueueDeletedRecently,
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
            ));
        }
        let settings = QueueSettings::create(new.changes, new.secure)?;
        let stream = control.last_stream + 1;
        let record = QueueRecord {
            account: new.account.to_owned(),
            region: self.region.clone(),
            name: new.name.to_owned(),
            stream,
            created_at_ms: now_ms,
            modified_at_ms: now_ms,
            purged_at_ms: 0,
            dedup_by_group: settings.deduplication_scope == DeduplicationScope::MessageGroup,
            policy_ids: self.policy_ids(settings.policy.as_deref())?,
            settings,
            tags: new.tags,
        };
        let queue = Arc::new(Queue::new(record, &self.partition, Arc::default()));
        self.check_redrive(&queue, new.changes)?;
        let puts = vec![
            (LAST_STREAM_KEY.to_vec(), encode(&stream)),
            (QueueRecord::key(new.account, new.name), encode(&queue.record)),
        ];
        self.put(&queue, puts).await?;
        control.last_stream = stream;
        control.deleted.remove(&id);
        self.names.write().insert(queue.clone());
        self.refresh_neighbours(&queue);
        Ok(queue)
    }

    /// Changes attributes: all of them or none.
    ///
    /// # Errors
    /// What the attributes' rules say.
    pub async fn set_attributes(&self, queue: &Queue, changes: &AttributeChanges) -> Result<(), ErrorReply> {
        self.change(
            queue,
            |record| {
                record.settings = record.settings.apply(changes)?;
                Ok(())
            },
            Some(changes),
        )
        .await
    }

    /// Changes tags.
    ///
    /// # Errors
    /// What `change` says.
    pub async fn set_tags(
        &self,
        queue: &Queue,
        change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), ErrorReply>,
    ) -> Result<(), ErrorReply> {
        self.change(queue, |record| change(&mut record.tags), None).await
    }

    /// Changes the policy text.
    ///
    /// # Errors
    /// What `change` says.
    pub async fn set_policy(
        &self,
        queue: &Queue,
        change: impl FnOnce(Option<&str>) -> Result<Option<String>, ErrorReply>,
    ) -> Result<(), ErrorReply> {
        self.change(
            queue,
            |record| {
                record.settings.policy = change(record.settings.policy.as_deref())?;
                Ok(())
            },
            None,
        )
        .await
    }

    async fn change(
        &self,
        queue: &Queue,
        change: impl FnOnce(&mut QueueRecord) -> Result<(), ErrorReply>,
        changes: Option<&AttributeChanges>,
    ) -> Result<(), ErrorReply> {
        let _control = self.control.lock().await;
        let current = self.current(queue)?;
        let mut record = current.record.clone();
        change(&mut record)?;
        if record.settings.policy != current.record.settings.policy {
            record.policy_ids = self.policy_ids(record.settings.policy.as_deref())?;
        }
        record.modified_at_ms = self.clock.now_ms();
        let changed = Arc::new(Queue::new(record, &self.partition, current.gauges.clone()));
        if let Some(changes) = changes {
            self.check_redrive(&changed, changes)?;
        }
        let key = QueueRecord::key(&changed.record.account, &changed.record.name);
        self.put(&changed, vec![(key, encode(&changed.record))]).await?;
        self.names.write().insert(changed.clone());
        self.refresh_neighbours(&changed);
        if let Some(old) = current.dead_letter_target()
            && let Some(old) = self.find_arn(old)
        {
            self.refresh(&old);
        }
        Ok(())
    }

    /// Deletes a queue with all its messages.
    ///
    /// # Errors
    /// It is not there any more, or nothing can be stored.
    pub async fn delete(&self, queue: &Queue) -> Result<(), ErrorReply> {
        let mut control = self.control.lock().await;
        let current = self.current(queue)?;
        let (account, name) = (&current.record.account, &current.record.name);
        let now_ms = self.clock.now_ms();
        let expired: Vec<(String, String)> = control
            .deleted
            .iter()
            .filter(|(_, at_ms)| **at_ms + self.recreate_wait_ms <= now_ms)
            .map(|(id, _)| id.clone())
            .collect();
        let mut deletes = vec![QueueRecord::key(account, name)];
        deletes.extend(expired.iter().map(|(account, name)| QueueRecord::deleted_key(account, name)));
        let noted = self
            .shard
            .ask(|reply| Command::WriteCatalog {
                puts: vec![(QueueRecord::deleted_key(account, name), encode(&now_ms))],
                deletes: Vec::new(),
                reply,
            })
            .await;
        stored(noted)?;
        let stream = current.record.stream;
        let dropped = self.shard.ask(|reply| Command::DropQueue { stream, deletes, reply }).await;
        stored(dropped)?;
        control.deleted.retain(|id, _| !expired.contains(id));
        control.deleted.insert((account.clone(), name.clone()), now_ms);
        self.names.write().remove(account, name);
        self.refresh_neighbours(&current);
        Ok(())
    }

    /// Deletes all messages.
    ///
    /// # Errors
    /// A purge of the last minute, or nothing can be stored.
    pub async fn purge(&self, queue: &Queue) -> Result<(), ErrorReply> {
        let _control = self.control.lock().await;
        let current = self.current(queue)?;
        let mut record = current.record.clone();
        let now_ms = self.clock.now_ms();
        if record.purged_at_ms != 0 && record.purged_at_ms + PURGE_INTERVAL_MS > now_ms {
            return Err(ErrorReply::new(
                ErrorCode::PurgeQueueInProgress,
                format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", record.name),
            ));
        }
        record.purged_at_ms = now_ms;
        let stream = record.stream;
        let puts = vec![(QueueRecord::key(&record.account, &record.name), encode(&record))];
        let changed = Arc::new(Queue::new(record, &self.partition, current.gauges.clone()));
        stored(self.shard.ask(|reply| Command::Purge { stream, puts, reply }).await)?;
        self.names.write().insert(changed);
        Ok(())
    }

    fn current(&self, queue: &Queue) -> Result<Arc<Queue>, ErrorReply> {
        self.find(&queue.record.account, &queue.record.name)
            .filter(|current| current.record.stream == queue.record.stream)
            .ok_or_else(ErrorReply::queue_missing)
    }

    /// Unique ids of whom a policy names. A policy that does not parse, or names users and roles that nobody knows, is
    /// refused when it is set, never at evaluation.
    fn policy_ids(&self, policy: Option<&str>) -> Result<BTreeMap<String, String>, ErrorReply> {
        // The vendor's text has no room for the reason: it stands in the log.
        let refused = |reason: String| {
            tracing::info!(reason, "a queue policy was refused");
            ErrorReply::new(ErrorCode::InvalidAttributeValue, "Invalid value for the parameter Policy.")
        };
        let Some(text) = policy else { return Ok(BTreeMap::new()) };
        let policy = Policy::parse(text, PolicyKind::Queue).map_err(|error| refused(error.to_string()))?;
        self.principals.identities().ids_of(&policy).map_err(|unknown| refused(unknown.to_string()))
    }

    fn check_redrive(&self, queue: &Queue, changes: &AttributeChanges) -> Result<(), ErrorReply> {
        match &changes.redrive_policy {
            Some(Some(policy)) => policy.check_target(&changes.redrive_policy_text, &queue.arn, |target| {
                let allow = |found: &QueueSettings| found.redrive_allow_policy.clone();
                if target == &queue.arn {
                    return Some(DeadLetterTarget { allow: allow(&queue.record.settings) });
                }
                self.find_arn(target).map(|found| DeadLetterTarget { allow: allow(&found.record.settings) })
            }),
            _ => Ok(()),
        }
    }

    async fn put(&self, queue: &Arc<Queue>, puts: CatalogPuts) -> Result<(), ErrorReply> {
        let rules = self.names.read().rules(queue);
        let (stream, gauges) = (queue.record.stream, queue.gauges.clone());
        stored(self.shard.ask(|reply| Command::PutQueue { stream, rules, gauges, puts, reply }).await)
    }

    /// Tells the engine what follows for the queues on both sides of a redrive policy.
    fn refresh_neighbours(&self, queue: &Queue) {
        for source in self.sources_of(queue) {
            self.refresh(&source);
        }
        if let Some(target) = queue.dead_letter_target()
            && let Some(target) = self.find_arn(target)
        {
            self.refresh(&target);
        }
    }

    fn refresh(&self, queue: &Queue) {
        let rules = self.names.read().rules(queue);
        self.shard.tell(Command::SetRules { stream: queue.record.stream, rules });
    }
}

/// What an answer to a change means to its caller.
fn stored(outcome: Outcome) -> Result<(), ErrorReply> {
    match outcome {
        Outcome::Stored => Ok(()),
        Outcome::QueueGone => Err(ErrorReply::queue_missing()),
        _ => Err(ErrorReply::new(
            ErrorCode::ServiceUnavailable,
            "The broker cannot store anything at the moment. Try again later.",
        )),
    }
}

impl Names {
    fn find(&self, account: &str, name: &str) -> Option<&Arc<Queue>> {
        self.by_account.get(account)?.get(name)
    }

    fn insert(&mut self, queue: Arc<Queue>) {
        if let Some(before) = self.by_stream.insert(queue.record.stream, queue.clone()) {
            self.forget_source(&before);
        }
        if let Some(target) = queue.dead_letter_target() {
            self.sources.entry(target.clone()).or_default().insert(queue.record.name.clone());
        }
        let queues = self.by_account.entry(queue.record.account.clone()).or_default();
        queues.insert(queue.record.name.clone(), queue);
    }

    fn remove(&mut self, account: &str, name: &str) {
        if let Some(queues) = self.by_account.get_mut(account) {
            let removed = queues.remove(name);
            if let Some(queue) = removed {
                self.by_stream.remove(&queue.record.stream);
                self.forget_source(&queue);
            }
        }
    }

    fn forget_source(&mut self, queue: &Queue) {
        let Some(target) = queue.dead_letter_target() else { return };
        if let Some(names) = self.sources.get_mut(target) {
            names.remove(&queue.record.name);
            if names.is_empty() {
                self.sources.remove(target);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Queue>> {
        self.by_account.values().flat_map(BTreeMap::values).cloned().collect()
    }

    fn sources_of(&self, target: &QueueArn) -> Vec<Arc<Queue>> {
        let names = self.sources.get(target).into_iter().flatten();
        names.filter_map(|name| self.find(&target.account, name)).cloned().collect()
    }

    fn rules(&self, queue: &Queue) -> QueueRules {
        let settings = &queue.record.settings;
        let dead_letter = settings.redrive_policy.as_ref().and_then(|policy| {
            let target = &policy.dead_letter_target;
            let found = self.find(&target.account, &target.name).filter(|found| found.arn == *target)?;
            Some(DeadLetter { stream: found.record.stream, max_receive_count: policy.max_receive_count })
        });
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        QueueRules {
            arn: queue.arn_text.clone(),
            fifo: settings.fifo,
            delay_ms: ms(settings.delay_seconds),
            visibility_ms: ms(settings.visibility_timeout),
            retention_ms: ms(settings.message_retention_period),
            wait_ms: ms(settings.receive_message_wait_time_seconds),
            dead_letter,
            is_dead_letter_target: self.sources.contains_key(&queue.arn),
        }
    }
}

/// Figures of one queue as the attributes show them: (visible, not visible, delayed).
pub fn counts(gauges: &QueueGauges) -> (u64, u64, u64) {
    (gauges.visible.load(Relaxed), gauges.not_visible.load(Relaxed), gauges.delayed.load(Relaxed))
}

/// True when the queue asks for HTTPS and signatures.
pub fn is_encrypted(settings: &QueueSettings) -> bool {
    settings.sse != SseMode::Off
}
