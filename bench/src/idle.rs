//! Many clients that wait in long polls, or only hold a connection: what does a broker cost while nothing happens?

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::load::Target;
use crate::process::Usage;

/// WaitTimeSeconds of every poll: the longest there is.
const WAIT_SECONDS: u64 = 20;
/// Time between the last connection and the first sample.
const SETTLE: Duration = Duration::from_secs(2);
/// Handshakes under way at once while the pollers connect.
const OPENING_AT_ONCE: usize = 32;

/// What the broker used while the pollers waited.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    pub(crate) pollers: usize,
    /// Queues that they poll, each one of them.
    pub(crate) queues: usize,
    /// They hold their connection and ask nothing.
    pub(crate) silent: bool,
    pub(crate) seconds: f64,
    /// What the broker used before the first of them connected.
    pub(crate) unconnected: Usage,
    /// Processor time of the broker in that time, seconds.
    pub(crate) broker_cpu_seconds: f64,
    /// The same as a share of one core, per cent.
    pub(crate) broker_cpu_percent: f64,
    pub(crate) replies: u64,
    pub(crate) failures: u64,
    pub(crate) before: Usage,
    pub(crate) after: Usage,
}

/// Opens `pollers` connections that poll without pause, or are `silent`, and samples the broker for `seconds`.
pub(crate) fn run(
    target: &Arc<Target>,
    pollers: usize,
    silent: bool,
    seconds: f64,
    pid: u32,
) -> Result<IdleReport, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let unconnected = Usage::of(pid)?;
    runtime.block_on(async {
        let opening = Arc::new(tokio::sync::Semaphore::new(OPENING_AT_ONCE));
        let (opened_sender, mut opened) =
            tokio::sync::mpsc::channel::<Result<(), BenchError>>(pollers.max(1));
        let counts = Arc::new(Counts::default());
        let mut tasks = Vec::new();
        for index in 0..pollers {
            let (target, opening, counts) = (target.clone(), opening.clone(), counts.clone());
            let opened = opened_sender.clone();
            tasks.push(tokio::spawn(async move {
                let mut connection = Connection::new(target.endpoint.clone());
                let permit = opening.acquire().await;
                let result = connection.open().await;
                drop(permit);
                let is_open = result.is_ok();
                if opened.send(result).await.is_err() || !is_open {
                    return;
                }
                if silent {
                    // Its place is kept until the task is ended.
                    std::future::pending::<()>().await;
                }
                poll(&target, index, connection, &counts).await;
            }));
        }
        for _ in 0..pollers {
            opened.recv().await.ok_or(BenchError::Reply("a poller has gone"))??;
        }
        tokio::time::sleep(SETTLE).await;
        let before = Usage::of(pid)?;
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        let after = Usage::of(pid)?;
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let broker_cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        let read = |count: &std::sync::atomic::AtomicU64| count.load(std::sync::atomic::Ordering::Relaxed);
        Ok(IdleReport {
            pollers,
            queues: target.queues.len(),
            silent,
            seconds,
            unconnected,
            broker_cpu_seconds,
            broker_cpu_percent: (broker_cpu_seconds / seconds * 10_000.0).round() / 100.0,
            replies: read(&counts.replies),
            failures: read(&counts.failures),
            before,
            after,
        })
    })
}

#[derive(Default)]
struct Counts {
    replies: std::sync::atomic::AtomicU64,
    failures: std::sync::atomic::AtomicU64,
}

async fn poll(target: &Target, index: usize, mut connection: Connection, counts: &Counts) {
    let mut signer = target.signer(0);
    let receive = target.queues[index % target.queues.len()].receive(1, WAIT_SECONDS);
    loop {
        connection.request.clear();
        signer.write_request("AmazonSQS.ReceiveMessage", &receive, &mut connection.request);
        let ok = matches!(connection.exchange().await, Ok(reply) if reply.status == 200);
        if ok {
            counts.replies.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        } else {
            counts.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            connection.close();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
