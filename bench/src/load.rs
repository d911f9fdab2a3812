//! The load itself: connections with one outstanding request each, closed loop or at a fixed rate.
//!
//! At a fixed rate a latency counts from the moment at which the request was meant to start, so that a slow
//! reply also charges the requests that had to wait behind it (no coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::connection::{Connection, Endpoint};
use crate::credentials::Credentials;
use crate::error::BenchError;
use crate::latency::{Latencies, Percentiles};
use crate::request::{self, Groups, Queue};
use crate::signer::{Payload, Signer};

/// Pause after a failed request, so that a broker that refuses everything is not spun upon.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// Longest part of a refused reply that is kept.
const FAILURE_TEXT_BYTES_MAX: usize = 300;

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Every connection sends.
    Send,
    /// Every connection receives and deletes.
    Receive,
    /// The first half sends, the second half receives and deletes.
    Both,
}

/// The settings of a run, as they go into its result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadSettings {
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// Threads of the generator.
    pub(crate) threads: usize,
    /// Messages a request.
    pub(crate) batch: usize,
    pub(crate) body_bytes: usize,
    /// Longest run, seconds.
    pub(crate) seconds: f64,
    /// Messages after which the run ends, if any.
    pub(crate) messages: Option<u64>,
    /// Messages a second over all connections; none: as fast as replies come.
    pub(crate) rate: Option<f64>,
    /// WaitTimeSeconds of receives.
    pub(crate) wait_seconds: u64,
    /// A receiver ends when every queue in turn was empty.
    pub(crate) until_empty: bool,
    /// Receivers leave what they receive in flight.
    pub(crate) keep: bool,
    /// Groups of FIFO messages; none: the queues are standard ones.
    pub(crate) groups: Option<Groups>,
}

/// Where and as whom to run.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// At least one; connections take them in turn.
    pub(crate) credentials: Vec<Credentials>,
    pub(crate) region: String,
    /// At least one; requests go round them.
    pub(crate) queues: Vec<Queue>,
}

impl Target {
    /// A signer of its own for the connection of that number.
    pub(crate) fn signer(&self, connection: usize) -> Signer {
        let credentials = &self.credentials[connection % self.credentials.len()];
        Signer::new(credentials, &self.region, &self.endpoint.authority)
    }
}

/// One kind of call over the whole run.
#[derive(Debug, Serialize)]
pub(crate) struct CallReport {
    pub(crate) requests: u64,
    pub(crate) messages: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) messages_per_second: f64,
    pub(crate) latency_us: Percentiles,
}

/// What a run did.
#[derive(Debug, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) elapsed_seconds: f64,
    pub(crate) send: Option<CallReport>,
    pub(crate) receive: Option<CallReport>,
    pub(crate) delete: Option<CallReport>,
    pub(crate) empty_receives: u64,
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
}

/// Counters that all connections share.
#[derive(Default)]
pub(crate) struct Progress {
    claimed: AtomicU64,
    /// FIFO messages made so far.
    numbered: AtomicU64,
    pub(crate) done: AtomicU64,
}

#[derive(Clone)]
struct CallTally {
    requests: u64,
    messages: u64,
    latencies: Latencies,
}

struct Tally {
    send: CallTally,
    receive: CallTally,
    delete: CallTally,
    empty_receives: u64,
    failures: u64,
    first_failure: Option<String>,
    last_success: Option<Instant>,
}

/// Opens every connection, then runs until time or messages are used up. Blocks; `progress` may be read meanwhile.
pub(crate) fn run(
    target: &Arc<Target>,
    settings: &LoadSettings,
    progress: &Arc<Progress>,
) -> Result<LoadReport, BenchError> {
    let sends = |queue: &Queue| queue.sends(settings.batch, settings.body_bytes, target.queues.len());
    let sends = Arc::new(target.queues.iter().map(sends).collect::<Vec<_>>());
    let threads = settings.threads.clamp(1, settings.connections.max(1));
    let (ready_sender, ready) = mpsc::channel();
    let mut handles = Vec::new();
    for thread in 0..threads {
        let (go_sender, go) = mpsc::channel::<Instant>();
        let (target, settings, progress) = (target.clone(), settings.clone(), progress.clone());
        let (sends, ready_sender) = (sends.clone(), ready_sender.clone());
        let worker = std::thread::spawn(move || -> Result<Tally, BenchError> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut workers = Vec::new();
                for index in (thread..settings.connections).step_by(threads) {
                    let mut connection = Connection::new(target.endpoint.clone());
                    if let Err(error) = connection.open().await {
                        // The other side may have gone on its own error; this one is returned all the same.
                        let _ = ready_sender.send(false);
                        return Err(error);
                    }
                    let signer = target.signer(index);
                    let (target, settings, progress) = (target.clone(), settings.clone(), progress.clone());
                    let sends = sends.clone();
                    workers.push(Worker { index, connection, signer, target, settings, progress, sends });
                }
                let _ = ready_sender.send(true);
                let Ok(start) = go.recv() else { return Ok(Tally::new()) };
                let tasks: Vec<_> =
                    workers.into_iter().map(|worker| tokio::spawn(worker.run(start))).collect();
                let mut tally = Tally::new();
                for task in tasks {
                    tally.merge(task.await.map_err(std::io::Error::other)?);
                }
                Ok(tally)
            })
        });
        handles.push((worker, go_sender));
    }
    let all_ready = (0..threads).all(|_| ready.recv().unwrap_or(false));
    let start = Instant::now();
    let mut tally = Tally::new();
    let mut waiting = Vec::new();
    for (worker, go) in handles {
        if all_ready {
            // A worker that has gone reports its own error below.
            let _ = go.send(start);
        }
        waiting.push(worker);
    }
    for worker in waiting {
        let part = worker.join().map_err(|_| std::io::Error::other("a generator thread panicked"))?;
        tally.merge(part?);
    }
    Ok(tally.report(start))
}

struct Worker {
    index: usize,
    connection: Connection,
    signer: Signer,
    target: Arc<Target>,
    settings: LoadSettings,
    progress: Arc<Progress>,
    /// By queue.
    sends: Arc<Vec<Vec<Payload>>>,
}

impl Worker {
    async fn run(mut self, start: Instant) -> Tally {
        let sends = match self.settings.mode {
            Mode::Send => true,
            Mode::Receive => false,
            Mode::Both => self.index < self.settings.connections / 2,
        };
        let mut tally = Tally::new();
        if sends {
            self.send(start, &mut tally).await;
        } else {
            self.receive(start, &mut tally).await;
        }
        tally
    }

    fn is_over(&self, start: Instant) -> bool {
        start.elapsed().as_secs_f64() >= self.settings.seconds
    }

    async fn send(&mut self, start: Instant, tally: &mut Tally) {
        let batch = self.settings.batch;
        let target = if self.settings.groups.is_some() {
            "AmazonSQS.SendMessageBatch"
        } else {
            request::send_target(batch)
        };
        let mut schedule = Schedule::new(start, &self.settings, self.index);
        let body = request::message_body(self.index as u64 + 1, self.settings.body_bytes);
        let mut turn = self.index;
        while !self.is_over(start) {
            if let Some(total) = self.settings.messages
                && self.progress.claimed.fetch_add(batch as u64, Ordering::Relaxed) >= total
            {
                break;
            }
            let intended = schedule.next().await;
            turn += self.settings.connections;
            let queue = turn % self.sends.len();
            self.connection.request.clear();
            if let Some(groups) = &self.settings.groups {
                let first = self.progress.numbered.fetch_add(batch as u64, Ordering::Relaxed);
                let payload = self.target.queues[queue].fifo_send(first, batch, &body, groups);
                self.signer.write_request(target, &payload, &mut self.connection.request);
            } else {
                let variants = &self.sends[queue];
                let variant = turn / self.settings.connections % variants.len();
                self.signer.write_request(target, &variants[variant], &mut self.connection.request);
            }
            match self.connection.exchange().await {
                Ok(reply) if reply.status == 200 && request::sent_count(reply.body) == batch => {
                    tally.send.record(intended, batch as u64);
                    tally.last_success = Some(Instant::now());
                    self.progress.done.fetch_add(batch as u64, Ordering::Relaxed);
                }
                Ok(reply) => {
                    tally.fail(reply.status, reply.body);
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
                Err(error) => self.reconnect(&error, tally).await,
            }
        }
    }

    async fn receive(&mut self, start: Instant, tally: &mut Tally) {
        let (batch, wait_seconds) = (self.settings.batch, self.settings.wait_seconds);
        let receives: Vec<_> =
            self.target.queues.iter().map(|queue| queue.receive(batch, wait_seconds)).collect();
        let (mut turn, mut empty_in_a_row) = (self.index, 0);
        while !self.is_over(start) {
            if let Some(total) = self.settings.messages
                && self.settings.mode == Mode::Receive
                && self.progress.done.load(Ordering::Relaxed) >= total
            {
                break;
            }
            self.connection.request.clear();
            turn += self.settings.connections;
            let queue = turn % receives.len();
            self.signer.write_request(
                "AmazonSQS.ReceiveMessage",
                &receives[queue],
                &mut self.connection.request,
            );
            let asked = Instant::now();
            let handles = match self.connection.exchange().await {
                Ok(reply) if reply.status == 200 => request::receipt_handles(reply.body),
                Ok(reply) => {
                    tally.fail(reply.status, reply.body);
                    tokio::time::sleep(FAILURE_PAUSE).await;
                    continue;
                }
                Err(error) => {
                    self.reconnect(&error, tally).await;
                    continue;
                }
            };
            if handles.is_empty() {
                tally.empty_receives += 1;
                empty_in_a_row += 1;
                if self.settings.until_empty && empty_in_a_row >= receives.len() {
                    break;
                }
                continue;
            }
            empty_in_a_row = 0;
            tally.receive.record(asked, handles.len() as u64);
            if self.settings.keep {
                tally.last_success = Some(Instant::now());
                self.progress.done.fetch_add(handles.len() as u64, Ordering::Relaxed);
            } else {
                self.delete(queue, &handles, tally).await;
            }
        }
    }

    async fn delete(&mut self, queue: usize, handles: &[String], tally: &mut Tally) {
        let (target, payload) = self.target.queues[queue].delete(handles);
        self.connection.request.clear();
        self.signer.write_request(target, &payload, &mut self.connection.request);
        let asked = Instant::now();
        match self.connection.exchange().await {
            Ok(reply)
                if reply.status == 200
                    && !request::has_failed_entries(reply.body)
                    && request::deleted_count(reply.body, handles.len()) == handles.len() =>
            {
                tally.delete.record(asked, handles.len() as u64);
                tally.last_success = Some(Instant::now());
                if self.settings.mode == Mode::Receive {
                    self.progress.done.fetch_add(handles.len() as u64, Ordering::Relaxed);
                }
            }
            Ok(reply) => tally.fail(reply.status, reply.body),
            Err(error) => self.reconnect(&error, tally).await,
        }
    }

    async fn reconnect(&mut self, error: &BenchError, tally: &mut Tally) {
        tally.fail(0, error.to_string().as_bytes());
        self.connection.close();
        tokio::time::sleep(FAILURE_PAUSE).await;
    }
}

/// When the requests of one connection are meant to start.
struct Schedule {
    next: Instant,
    interval: Option<Duration>,
}

impl Schedule {
    fn new(start: Instant, settings: &LoadSettings, index: usize) -> Schedule {
        let senders = match settings.mode {
            Mode::Both => (settings.connections / 2).max(1),
            _ => settings.connections,
        };
        let interval = settings
            .rate
            .map(|rate| Duration::from_secs_f64(settings.batch as f64 * senders as f64 / rate.max(0.001)));
        // Connections start one after the other, so that a rate is a stream and not a burst an interval.
        let offset =
            interval.map_or(Duration::ZERO, |interval| interval.mul_f64(index as f64 / senders as f64));
        Schedule { next: start + offset, interval }
    }

    /// The moment from which the latency of the next request counts.
    async fn next(&mut self) -> Instant {
        let Some(interval) = self.interval else { return Instant::now() };
        let intended = self.next;
        self.next += interval;
        if intended > Instant::now() {
            tokio::time::sleep_until(intended.into()).await;
            // Nothing was waiting: a timer that fires late is the generator's own fault.
            return Instant::now();
        }
        intended
    }
}

impl CallTally {
    fn new() -> CallTally {
        CallTally { requests: 0, messages: 0, latencies: Latencies::new() }
    }

    fn record(&mut self, since: Instant, messages: u64) {
        self.requests += 1;
        self.messages += messages;
        self.latencies.record(since.elapsed());
    }

    fn merge(&mut self, other: &CallTally) {
        self.requests += other.requests;
        self.messages += other.messages;
        self.latencies.merge(&other.latencies);
    }

    fn report(&self, elapsed_seconds: f64) -> Option<CallReport> {
        let per_second = |count: u64| (count as f64 / elapsed_seconds).round();
        (self.requests > 0).then(|| CallReport {
            requests: self.requests,
            messages: self.messages,
            requests_per_second: per_second(self.requests),
            messages_per_second: per_second(self.messages),
            latency_us: self.latencies.percentiles(),
        })
    }
}

impl Tally {
    fn new() -> Tally {
        Tally {
            send: CallTally::new(),
            receive: CallTally::new(),
            delete: CallTally::new(),
            empty_receives: 0,
            failures: 0,
            first_failure: None,
            last_success: None,
        }
    }

    /// `status` 0: no reply came.
    fn fail(&mut self, status: u16, body: &[u8]) {
        self.failures += 1;
        let text = String::from_utf8_lossy(&body[..body.len().min(FAILURE_TEXT_BYTES_MAX)]);
        self.first_failure.get_or_insert_with(|| format!("{status}: {text}"));
    }

    fn merge(&mut self, other: Tally) {
        self.send.merge(&other.send);
        self.receive.merge(&other.receive);
        self.delete.merge(&other.delete);
        self.empty_receives += other.empty_receives;
        self.failures += other.failures;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.last_success = self.last_success.max(other.last_success);
    }

    fn report(self, start: Instant) -> LoadReport {
        let end = self.last_success.unwrap_or_else(Instant::now);
        let elapsed_seconds = end.duration_since(start).as_secs_f64().max(1e-6);
        LoadReport {
            elapsed_seconds,
            send: self.send.report(elapsed_seconds),
            receive: self.receive.report(elapsed_seconds),
            delete: self.delete.report(elapsed_seconds),
            empty_receives: self.empty_receives,
            failures: self.failures,
            first_failure: self.first_failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rate: Option<f64>) -> LoadSettings {
        LoadSettings {
            mode: Mode::Send,
            connections: 4,
            threads: 1,
            batch: 10,
            body_bytes: 16,
            seconds: 1.0,
            messages: None,
            rate,
            wait_seconds: 0,
            until_empty: false,
            keep: false,
            groups: None,
        }
    }

    #[tokio::test]
    async fn a_late_request_counts_from_when_it_was_due() {
        let start = Instant::now() - Duration::from_millis(500);
        let mut schedule = Schedule::new(start, &settings(Some(400.0)), 0);
        assert_eq!(schedule.next().await, start);
        assert_eq!(schedule.next().await, start + Duration::from_millis(100));
    }

    #[tokio::test]
    async fn connections_of_a_rate_start_one_after_the_other() {
        let start = Instant::now() - Duration::from_secs(10);
        let mut second = Schedule::new(start, &settings(Some(400.0)), 1);
        assert_eq!(second.next().await, start + Duration::from_millis(25));
    }

    #[test]
    fn the_first_failure_is_kept_and_all_are_counted() {
        let mut tally = Tally::new();
        tally.fail(503, b"busy");
        let mut other = Tally::new();
        other.fail(500, b"no");
        tally.merge(other);
        let report = tally.report(Instant::now());
        assert_eq!((report.failures, report.first_failure.as_deref()), (2, Some("503: busy")));
        assert!(report.send.is_none());
    }
}
