//! How other threads make the shard thread come back from its one waiting place.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

const RUNNING: u8 = 0;
const NOTIFIED: u8 = 1;
const SLEEPING: u8 = 2;

/// Makes a blocked [`Log::wait`](crate::Log::wait) return. Cheap to call when the shard is awake: only a sleeping one
/// costs a system call.
#[derive(Clone)]
pub struct LogWaker(Arc<WakeState>);

struct WakeState {
    state: AtomicU8,
    event: OwnedFd,
}

impl LogWaker {
    pub(crate) fn new() -> io::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(WakeState { state: AtomicU8::new(RUNNING), event })))
    }

    /// Makes the current wait, or the next one, return.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING {
            self.ring_bell();
        }
    }

    fn ring_bell(&self) {
        // The counter cannot overflow: one write a sleep. Any other failure means the descriptor is gone with the log.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
    }

    /// Owner only, before it blocks. `false`: a wake came first, do not block.
    pub(crate) fn begin_sleep(&self) -> bool {
        let state = &self.0.state;
        if state.compare_exchange(RUNNING, SLEEPING, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return true;
        }
        state.swap(RUNNING, Ordering::AcqRel);
        false
    }

    /// Owner only, after it blocked. Whether a wake ended the sleep.
    pub(crate) fn end_sleep(&self) -> bool {
        self.0.state.swap(RUNNING, Ordering::AcqRel) == NOTIFIED
    }

    /// Owner only: takes the bell's count, so that it can ring again.
    pub(crate) fn drain(&self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&self.0.event, &mut count);
    }

    /// Owner only: blocks until the bell rings or the time is over. Used where no ring polls the bell.
    pub(crate) fn block(&self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: t.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: t.subsec_nanos().into(),
        });
        let mut fds = [PollFd::from_borrowed_fd(self.0.event.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                self.drain();
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_before_the_sleep_is_not_lost() {
        let waker = LogWaker::new().unwrap();
        waker.wake();
        assert!(!waker.begin_sleep());
        assert!(waker.begin_sleep());
    }

    #[test]
    fn a_wake_during_the_sleep_ends_it() {
        let waker = LogWaker::new().unwrap();
        assert!(waker.begin_sleep());
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        waker.block(Some(Duration::from_secs(20))).unwrap();
        thread.join().unwrap();
        assert!(waker.end_sleep());
    }
}
