//! Commits on the calling thread, when it polls or waits: for simulated disks, whose runs must repeat exactly.

use super::{Committed, Committer, GroupWrite};
use crate::waker::LogWaker;
use std::io;
use std::time::Duration;

pub(crate) struct InlineCommitter {
    pending: Option<GroupWrite>,
    waker: LogWaker,
}

impl InlineCommitter {
    pub(crate) fn new(waker: LogWaker) -> Self {
        Self { pending: None, waker }
    }
}

impl Committer for InlineCommitter {
    fn start(&mut self, write: GroupWrite) -> io::Result<()> {
        self.pending = Some(write);
        Ok(())
    }

    fn poll(&mut self) -> Option<io::Result<Committed>> {
        let write = self.pending.take()?;
        let done = write.file.write_blocks(&write.blocks, write.offset).and_then(|()| write.file.sync());
        Some(done.map(|()| Committed { fsync: Duration::ZERO }))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.pending.is_none() && self.waker.begin_sleep() {
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
