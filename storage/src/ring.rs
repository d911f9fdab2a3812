//! Commits through an io_uring of the shard's own: write and fdatasync as one linked chain, the waker's bell polled in
//! the same ring, so that the shard thread waits in one place.
//!
//! Holds the other of the crate's two kinds of unsafe code: handing buffers to the kernel.
#![expect(
    unsafe_code,
    reason = "submission queue entries carry raw pointers whose lifetime no type can show"
)]

use crate::commit::{Committed, Committer, GroupWrite};
use crate::waker::LogWaker;
use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode, squeue};
use std::io;
use std::time::{Duration, Instant};

/// Poll, write, sync, and room to spare.
const ENTRIES: u32 = 8;
const TAG_WRITE: u64 = 1;
const TAG_SYNC: u64 = 2;
const TAG_BELL: u64 = 3;

pub(crate) struct RingCommitter {
    ring: IoUring,
    waker: LogWaker,
    /// The kernel reads from its blocks until its completion has been seen.
    in_flight: Option<(GroupWrite, Instant)>,
    outcome: Option<io::Result<Committed>>,
    /// The ring was made disabled, so that whoever uses it first becomes its only issuer.
    enabled: bool,
    bell_polled: bool,
    /// The kernel shows in shared memory whether completions wait to be run.
    flags_task_work: bool,
}

impl RingCommitter {
    /// Makes a ring and proves that it does what is needed.
    ///
    /// # Errors
    /// The kernel's: it is too old, or a policy (sysctl, seccomp) forbids it.
    pub(crate) fn new(waker: LogWaker) -> io::Result<Self> {
        probe()?;
        let deferred = IoUring::builder()
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .dontfork()
            .build(ENTRIES);
        let flags_task_work = deferred.is_ok();
        let ring = deferred.or_else(|_| IoUring::builder().setup_r_disabled().dontfork().build(ENTRIES))?;
        Ok(Self {
            flags_task_work,
            ring,
            waker,
            in_flight: None,
            outcome: None,
            enabled: false,
            bell_polled: false,
        })
    }

    fn enable(&mut self) -> io::Result<()> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings()?;
            self.enabled = true;
        }
        Ok(())
    }

    fn push(&mut self, entries: &[squeue::Entry]) -> io::Result<()> {
        // SAFETY: the entries point into the blocks and at the descriptors that `in_flight` and `waker` own. Both stay
        // until the completions have been taken; `drop` waits for them, or leaks what the kernel may still read.
        let pushed = unsafe { self.ring.submission().push_multiple(entries) };
        pushed.map_err(|_| io::Error::other("the submission queue is full"))
    }

    fn poll_bell(&mut self) -> io::Result<()> {
        if !self.bell_polled {
            let poll =
                opcode::PollAdd::new(Fd(self.waker.raw_fd()), rustix::event::PollFlags::IN.bits().into());
            self.push(&[poll.build().user_data(TAG_BELL)])?;
            self.bell_polled = true;
        }
        Ok(())
    }

    fn submit_and_wait(&self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        let submitter = self.ring.submitter();
        let result = match timeout {
            None => submitter.submit_and_wait(want),
            Some(timeout) => {
                let time = Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
                submitter.submit_with_args(want, &SubmitArgs::new().timespec(&time))
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.raw_os_error(), Some(libc_errno::ETIME | libc_errno::EINTR)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn reap(&mut self) {
        while let Some(entry) = { self.ring.completion().next() } {
            match entry.user_data() {
                TAG_BELL => {
                    self.bell_polled = false;
                    self.waker.drain();
                }
                TAG_WRITE => self.note_write(entry.result()),
                TAG_SYNC => self.note_sync(entry.result()),
                _ => {}
            }
        }
    }

    /// A successful write posts no completion of its own, so this is a failure or a short write: the sync behind it
    /// was not done.
    fn note_write(&mut self, result: i32) {
        let Some((write, _)) = self.in_flight.as_ref() else { return };
        if result < 0 {
            self.fail(io::Error::from_raw_os_error(-result));
        } else if result as usize != write.blocks.len() {
            let (written, len) = (result, write.blocks.len());
            self.fail(io::Error::new(io::ErrorKind::WriteZero, format!("{written} of {len} bytes written")));
        }
    }

    fn note_sync(&mut self, result: i32) {
        // After a failed write its chain is cancelled: the outcome is known already.
        let Some((_, started)) = self.in_flight.as_ref() else { return };
        if result < 0 {
            self.fail(io::Error::from_raw_os_error(-result));
        } else {
            let fsync = started.elapsed();
            self.in_flight = None;
            self.outcome = Some(Ok(Committed { fsync }));
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.in_flight = None;
        self.outcome = Some(Err(error));
    }
}

/// Errno values that end a wait without being errors.
mod libc_errno {
    pub(super) const EINTR: i32 = rustix::io::Errno::INTR.raw_os_error();
    pub(super) const ETIME: i32 = rustix::io::Errno::TIME.raw_os_error();
}

/// One throw-away ring: are the operations known, and does one run at all?
fn probe() -> io::Result<()> {
    let mut ring = IoUring::new(2)?;
    let mut known = Probe::new();
    ring.submitter().register_probe(&mut known)?;
    let needed = [opcode::Write::CODE, opcode::Fsync::CODE, opcode::PollAdd::CODE, opcode::Nop::CODE];
    if !needed.iter().all(|code| known.is_supported(*code))
        || !ring.params().is_feature_ext_arg()
        || !ring.params().is_feature_skip_cqe_on_success()
    {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: a no-op refers to no memory.
    let pushed = unsafe { ring.submission().push(&opcode::Nop::new().build()) };
    pushed.map_err(|_| io::Error::other("the submission queue is full"))?;
    ring.submit_and_wait(1)?;
    match ring.completion().next().map(|entry| entry.result()) {
        Some(result) if result >= 0 => Ok(()),
        Some(result) => Err(io::Error::from_raw_os_error(-result)),
        None => Err(io::ErrorKind::Unsupported.into()),
    }
}

impl Committer for RingCommitter {
    fn start(&mut self, write: GroupWrite) -> io::Result<()> {
        self.enable()?;
        let unsupported = || io::Error::from(io::ErrorKind::Unsupported);
        let fd = Fd(write.file.ring_fd().ok_or_else(unsupported)?);
        let bytes = write.blocks.as_slice();
        let len = u32::try_from(bytes.len()).map_err(|_| unsupported())?;
        // The sync's completion stands for both: one wake-up of the shard instead of two. A write that fails or falls
        // short breaks the link, posts its own completion and cancels the sync.
        let chain = [
            opcode::Write::new(fd, bytes.as_ptr(), len)
                .offset(write.offset)
                .build()
                .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
                .user_data(TAG_WRITE),
            opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build().user_data(TAG_SYNC),
        ];
        self.in_flight = Some((write, Instant::now()));
        self.push(&chain)?;
        self.submit_and_wait(0, None)
    }

    fn poll(&mut self) -> Option<io::Result<Committed>> {
        if self.outcome.is_none() && self.in_flight.is_some() {
            self.reap();
            // Deferred task work runs only when asked for; the flag spares the system call while there is none.
            if self.outcome.is_none() && (!self.flags_task_work || self.ring.submission().taskrun()) {
                if let Err(error) = self.submit_and_wait(1, Some(Duration::ZERO)) {
                    return Some(Err(error));
                }
                self.reap();
            }
        }
        self.outcome.take()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.enable()?;
        self.reap();
        if self.outcome.is_some() || !self.waker.begin_sleep() {
            return Ok(());
        }
        let waited = self.poll_bell().and_then(|()| self.submit_and_wait(1, timeout));
        self.waker.end_sleep();
        self.reap();
        waited
    }

    fn name(&self) -> &'static str {
        "io_uring"
    }
}

impl Drop for RingCommitter {
    fn drop(&mut self) {
        while self.in_flight.is_some() {
            if self.submit_and_wait(1, None).is_err() {
                // Not the issuer's thread, or the ring is broken: the kernel may still read, so the blocks must stay.
                std::mem::forget(self.in_flight.take());
                return;
            }
            self.reap();
        }
    }
}
