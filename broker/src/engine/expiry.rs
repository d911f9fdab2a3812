//! Retention: messages that are too old go, in every state, by the clock and without scanning.

use sealq_storage::{Log, MessageFacts};

use super::Core;
use super::command::ReplyToken;
use super::queue::Queue;
use super::timers::Alarm;

/// Messages expired in one step, so that a mass expiry does not stall the shard.
const EXPIRE_STEP_MESSAGES: usize = 1_000;

impl<T: ReplyToken> Core<T> {
    /// Removes what has reached its retention, oldest first, and sets the next alarm.
    pub(super) fn expire(&mut self, now_ms: u64, queue: &mut Queue<T>, log: &mut Log) {
        let mut left = EXPIRE_STEP_MESSAGES;
        loop {
            let head = log.next_live(queue.stream, 0);
            let moved = queue.moved_times.oldest(log, queue.stream);
            let Some(oldest) = head.into_iter().chain(moved).min_by_key(|facts| facts.sent_at_ms) else {
                break;
            };
            let due_ms = oldest.sent_at_ms + queue.rules.retention_ms;
            if due_ms > now_ms || left == 0 {
                // Not in this round: callers come between two steps.
                self.timers.set(due_ms.max(now_ms + 1), Alarm::Expire { stream: queue.stream });
                break;
            }
            self.expire_one(queue, &oldest, log);
            left -= 1;
        }
        self.dirty.push(queue.stream);
    }

    pub(super) fn expire_one(&mut self, queue: &mut Queue<T>, facts: &MessageFacts, log: &mut Log) {
        // Not awaited: an expiry that is lost in a crash is found again by the clock.
        if self.note(log.put_delete(queue.stream, facts.sequence)).is_ok() {
            queue.moved_times.forget(facts, log, queue.stream);
            queue.forget(facts.sequence, facts.group_hash);
        }
    }
}
