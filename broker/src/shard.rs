//! The shard: one thread that owns the log and the queue engine.
//!
//! It waits in one place, the log's ring, which a new command also ends. A round is: take all commands, let the engine
//! act, submit what was staged, answer what is durable. Group commit follows from it without a timer: while one group
//! is being written, the next fills.

mod inbox;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sealq_storage::{Log, LogStats};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::engine::command::{Command, Delivery, Effect, Outcome, Receipt, ReplyToken, Unavailable};
pub use inbox::INBOX_COMMANDS_MAX;
use inbox::Inbox;

/// Longest sleep, so that a clock that jumps is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Stop taking commands while this much waits for the disk.
const STAGED_BYTES_MAX: usize = 8 << 20;

/// Answers a caller on the front.
pub struct Reply(oneshot::Sender<Outcome>);

impl ReplyToken for Reply {
    fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }
}

/// Sends commands to the shard. Cheap to clone.
#[derive(Clone)]
pub struct ShardHandle {
    inbox: Arc<Inbox>,
}

/// What the shard shares with whoever asks how it is.
#[derive(Default)]
pub struct ShardStatus {
    /// The log takes nothing more until the operator acts.
    pub poisoned: AtomicBool,
    /// Latest figures of the log.
    pub stats: parking_lot::Mutex<LogStats>,
}

/// The running thread.
pub struct Shard {
    handle: ShardHandle,
    status: Arc<ShardStatus>,
    thread: JoinHandle<()>,
}

impl ShardHandle {
    /// Asks the engine and waits for its answer.
    pub async fn ask(&self, command: impl FnOnce(Reply) -> Command<Reply>) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        if !self.inbox.push(command(Reply(sender))) {
            return Outcome::Unavailable(Unavailable::DiskFull);
        }
        let mut answer = Answer { receiver, inbox: &self.inbox };
        // The sender is dropped unanswered only when the shard has ended.
        (&mut answer.receiver).await.unwrap_or(Outcome::Unavailable(Unavailable::Poisoned))
    }

    /// Tells the engine something that has no answer. Never refused: such commands undo or cancel.
    pub fn tell(&self, command: Command<Reply>) {
        self.inbox.push_always(command);
    }
}

/// An answer on its way. A caller that goes away at the moment it arrives leaves it here unread; messages in it go back
/// at once.
struct Answer<'a> {
    receiver: oneshot::Receiver<Outcome>,
    inbox: &'a Inbox,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        if let Ok(Outcome::Received(deliveries)) = self.receiver.try_recv() {
            give_back(self.inbox, &deliveries);
        }
    }
}

impl Shard {
    /// Starts the thread over an open log and a restored engine.
    pub fn start(mut log: Log, mut engine: Engine<Reply>, clock: Clock) -> std::io::Result<Self> {
        let inbox = Arc::new(Inbox::new(log.waker()));
        let status = Arc::new(ShardStatus::default());
        *status.stats.lock() = log.stats();
        let (thread_inbox, thread_status) = (inbox.clone(), status.clone());
        let thread = std::thread::Builder::new().name("sealq-shard".into()).spawn(move || {
            run(&mut log, &mut engine, &thread_inbox, &thread_status, &clock);
            if let Err(error) = log.close() {
                tracing::error!(%error, "the log could not be closed cleanly; the next start will recover it");
            }
        })?;
        Ok(Self { handle: ShardHandle { inbox }, status, thread })
    }

    /// A sender of commands.
    pub fn handle(&self) -> ShardHandle {
        self.handle.clone()
    }

    /// Status for health and metrics.
    pub fn status(&self) -> Arc<ShardStatus> {
        self.status.clone()
    }

    /// Finishes what is under way, writes a checkpoint and ends the thread.
    pub fn stop(self) {
        self.handle.inbox.close();
        if self.thread.join().is_err() {
            tracing::error!("the shard thread panicked");
        }
    }
}

fn run(log: &mut Log, engine: &mut Engine<Reply>, inbox: &Inbox, status: &ShardStatus, clock: &Clock) {
    let mut commands = Vec::new();
    let mut effects = Vec::new();
    let mut stats_due_ms = 0;
    loop {
        let now_ms = clock.now_ms();
        let full = log.staged_bytes() >= STAGED_BYTES_MAX;
        let open = full || inbox.take(&mut commands);
        engine.tick(now_ms, log, &mut effects);
        for command in commands.drain(..) {
            engine.handle(now_ms, command, log, &mut effects);
        }
        engine.durable(now_ms, log.durable_lsn(), log, &mut effects);
        engine.settle(now_ms, log, &mut effects);
        for Effect::Reply(reply, outcome) in effects.drain(..) {
            deliver(inbox, reply, outcome);
        }
        if log.poisoned().is_some() && !status.poisoned.swap(true, Ordering::SeqCst) {
            tracing::error!(
                reason = log.poisoned(),
                "the log is poisoned: nothing more is stored or acknowledged"
            );
        }
        if status.poisoned.load(Ordering::Relaxed) {
            engine.fail_pending(&mut effects);
            for Effect::Reply(reply, outcome) in effects.drain(..) {
                deliver(inbox, reply, outcome);
            }
        }
        if now_ms >= stats_due_ms {
            *status.stats.lock() = log.stats();
            stats_due_ms = now_ms + 1_000;
        }
        if !open && log.staged_bytes() == 0 && engine.idle() {
            return;
        }
        let timeout = engine
            .next_alarm_at_ms()
            .map_or(SLEEP_MAX, |at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)).min(SLEEP_MAX));
        // With the group buffer full only the disk can help; otherwise do not block while commands wait.
        let timeout = if full || inbox.sleep() { timeout } else { Duration::ZERO };
        let waited = log.wait(Some(timeout));
        inbox.awake();
        if let Err(error) = waited
            && log.poisoned().is_none()
        {
            tracing::error!(%error, "the log cannot be waited for");
        }
    }
}

/// Hands an answer over. Messages meant for a caller that has hung up go back at once.
fn deliver(inbox: &Inbox, reply: Reply, outcome: Outcome) {
    if let Err(Outcome::Received(deliveries)) = reply.0.send(outcome) {
        give_back(inbox, &deliveries);
    }
}

fn give_back(inbox: &Inbox, deliveries: &[Delivery]) {
    let Some(first) = deliveries.first() else { return };
    let stream = first.record.stream();
    let receipts =
        deliveries.iter().map(|d| Receipt { sequence: d.sequence, receive_count: d.receive_count }).collect();
    inbox.push_always(Command::Unreceive { stream, receipts });
}
