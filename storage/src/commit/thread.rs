//! Commits by pwrite and fdatasync on a thread of their own: where io_uring is refused.

use super::{Committed, Committer, GroupWrite};
use crate::waker::LogWaker;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

pub(crate) struct ThreadCommitter {
    /// `None` only while dropping.
    groups: Option<SyncSender<GroupWrite>>,
    outcomes: Receiver<io::Result<Committed>>,
    waker: LogWaker,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ThreadCommitter {
    pub(crate) fn spawn(shard: u32, waker: LogWaker) -> io::Result<Self> {
        // One slot each: only one group is ever under way.
        let (groups, todo) = sync_channel::<GroupWrite>(1);
        let (done, outcomes) = sync_channel(1);
        let bell = waker.clone();
        let thread = std::thread::Builder::new().name(format!("sealq-disk-{shard}")).spawn(move || {
            for group in todo {
                if done.send(write(&group)).is_err() {
                    return;
                }
                drop(group);
                bell.wake();
            }
        })?;
        Ok(Self { groups: Some(groups), outcomes, waker, thread: Some(thread) })
    }
}

fn write(group: &GroupWrite) -> io::Result<Committed> {
    group.file.write_blocks(&group.blocks, group.offset)?;
    let started = Instant::now();
    group.file.sync()?;
    Ok(Committed { fsync: started.elapsed() })
}

impl Committer for ThreadCommitter {
    fn start(&mut self, write: GroupWrite) -> io::Result<()> {
        let gone = || io::Error::other("the disk thread has ended");
        self.groups.as_ref().ok_or_else(gone)?.send(write).map_err(|_| gone())
    }

    fn poll(&mut self) -> Option<io::Result<Committed>> {
        self.outcomes.try_recv().ok()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.waker.begin_sleep() {
            let slept = self.waker.block(timeout);
            self.waker.end_sleep();
            slept?;
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}

impl Drop for ThreadCommitter {
    fn drop(&mut self) {
        self.groups = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
