//! The bounded list of commands that the shard has not taken yet.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sealq_storage::LogWaker;

use super::Reply;
use crate::engine::command::Command;

/// Commands that may wait; more are refused as a retryable 503.
pub const INBOX_COMMANDS_MAX: usize = 65_536;

pub(super) struct Inbox {
    commands: Mutex<Commands>,
    /// The shard is about to wait, or waits: a push must wake it. Without it every command would cost a system call.
    asleep: AtomicBool,
    waker: LogWaker,
}

struct Commands {
    waiting: Vec<Command<Reply>>,
    open: bool,
}

impl Inbox {
    pub(super) fn new(waker: LogWaker) -> Self {
        let commands = Mutex::new(Commands { waiting: Vec::new(), open: true });
        Self { commands, asleep: AtomicBool::new(false), waker }
    }

    /// False when the inbox is full or closed; the command is dropped.
    pub(super) fn push(&self, command: Command<Reply>) -> bool {
        {
            let mut commands = self.commands.lock();
            if !commands.open || commands.waiting.len() >= INBOX_COMMANDS_MAX {
                return false;
            }
            commands.waiting.push(command);
        }
        self.wake();
        true
    }

    /// For commands that free what another holds: they are bounded by what was handed out.
    pub(super) fn push_always(&self, command: Command<Reply>) {
        self.commands.lock().waiting.push(command);
        self.wake();
    }

    /// Swaps the waiting commands into `into`. False once closed.
    pub(super) fn take(&self, into: &mut Vec<Command<Reply>>) -> bool {
        let mut commands = self.commands.lock();
        std::mem::swap(&mut commands.waiting, into);
        commands.open
    }

    pub(super) fn close(&self) {
        self.commands.lock().open = false;
        self.waker.wake();
    }

    /// Announces a wait. False if commands came in meanwhile: do not block.
    pub(super) fn sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.commands.lock().waiting.is_empty()
    }

    pub(super) fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn wake(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }
}
