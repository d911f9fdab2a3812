//! What the operating system tells the process, and how the word to stop reaches every part.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What an operator asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// SIGTERM or SIGINT: finish what is under way and end.
    Stop(&'static str),
    /// SIGHUP: read users, roles, policies, certificates and the credentials for a key service anew.
    Reload,
}

/// The three signals that the daemon knows.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over from their default action. Needs a tokio runtime.
    ///
    /// # Errors
    /// The system refused a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}

/// The word to stop, given once.
#[derive(Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Nobody has said stop.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Tells every watch.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// For a part that wants to know.
    pub fn watch(&self) -> StopWatch {
        StopWatch(self.0.subscribe())
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

/// Learns of the word to stop.
#[derive(Clone, Debug)]
pub struct StopWatch(watch::Receiver<bool>);

impl StopWatch {
    /// Whether it has been given.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is given (or [`Stop`] is gone). Cancel-safe.
    pub async fn stopped(&mut self) {
        // An error means that the sender is gone, and with it the daemon.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watch_made_after_the_word_learns_of_it_too() {
        let stop = Stop::new();
        let mut early = stop.watch();
        assert!(!early.is_stopping());
        stop.stop();
        early.stopped().await;
        let mut late = stop.watch();
        late.stopped().await;
        assert!(late.is_stopping());
    }
}
