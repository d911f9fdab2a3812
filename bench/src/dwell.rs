//! How long messages of quiet tenants wait on a standard queue that one tenant may have filled: fair queues measured from
//! outside.
//!
//! Consumers hold each message for a while as work would, so that what is in flight is what the tenants compete for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::connection::Connection;
use crate::error::BenchError;
use crate::latency::{Latencies, Percentiles};
use crate::load::Target;
use crate::request;
use crate::signer::{Payload, Signer};

/// First letter of a quiet tenant's body; the time of its sending follows, microseconds since the start.
const QUIET: u8 = b'q';
/// WaitTimeSeconds of a receive.
const WAIT_SECONDS: u64 = 1;
/// Messages of one request.
const BATCH: usize = 10;

/// The settings of a run, as they go into its result.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DwellSettings {
    /// Messages of the noisy tenant that are there before the others send.
    pub(crate) noisy: u64,
    /// Tenants that send now and then.
    pub(crate) quiet_groups: u64,
    /// Messages a second of all of them together.
    pub(crate) quiet_rate: f64,
    pub(crate) consumers: usize,
    /// How long a consumer works on one message, milliseconds.
    pub(crate) work_ms: u64,
    pub(crate) seconds: f64,
}

/// What a run saw.
#[derive(Debug, Serialize)]
pub(crate) struct DwellReport {
    pub(crate) quiet_received: u64,
    pub(crate) noisy_received: u64,
    /// From the start of the send to the reply that brings the message.
    pub(crate) quiet_dwell_us: Percentiles,
}

struct Tally {
    quiet: Latencies,
    quiet_received: u64,
    noisy_received: u64,
}

/// Fills the queue, then sends and consumes for the time of the settings.
pub(crate) fn run(target: &Arc<Target>, settings: &DwellSettings) -> Result<DwellReport, BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        fill(target, settings.noisy).await?;
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(settings.seconds);
        let consumers: Vec<_> = (0..settings.consumers)
            .map(|_| tokio::spawn(consume(target.clone(), settings.work_ms, start, end)))
            .collect();
        send_quietly(target, settings, start, end).await?;
        let (mut quiet, mut quiet_received, mut noisy_received) = (Latencies::new(), 0, 0);
        for consumer in consumers {
            let tally = consumer.await.map_err(std::io::Error::other)??;
            quiet.merge(&tally.quiet);
            quiet_received += tally.quiet_received;
            noisy_received += tally.noisy_received;
        }
        Ok(DwellReport { quiet_received, noisy_received, quiet_dwell_us: quiet.percentiles() })
    })
}

async fn fill(target: &Target, messages: u64) -> Result<(), BenchError> {
    let (mut signer, mut connection) = (target.signer(0), Connection::new(target.endpoint.clone()));
    let url = &target.queues[0].url;
    for _ in 0..messages.div_ceil(BATCH as u64) {
        let entries: Vec<_> = (0..BATCH)
            .map(|index| json!({ "Id": index.to_string(), "MessageBody": "n", "MessageGroupId": "noisy" }))
            .collect();
        let body = json!({ "QueueUrl": url, "Entries": entries });
        ask(&mut connection, &mut signer, "SendMessageBatch", &body).await?;
    }
    Ok(())
}

async fn send_quietly(
    target: &Target,
    settings: &DwellSettings,
    start: Instant,
    end: Instant,
) -> Result<(), BenchError> {
    let (mut signer, mut connection) = (target.signer(0), Connection::new(target.endpoint.clone()));
    let url = &target.queues[0].url;
    let interval = Duration::from_secs_f64(1.0 / settings.quiet_rate.max(0.001));
    let (mut due, mut number) = (start, 0);
    while due < end {
        tokio::time::sleep_until(due.into()).await;
        let body = json!({
            "QueueUrl": url,
            "MessageBody": format!("{}{}", char::from(QUIET), start.elapsed().as_micros()),
            "MessageGroupId": format!("quiet-{}", number % settings.quiet_groups.max(1)),
        });
        ask(&mut connection, &mut signer, "SendMessage", &body).await?;
        (due, number) = (due + interval, number + 1);
    }
    Ok(())
}

async fn consume(
    target: Arc<Target>,
    work_ms: u64,
    start: Instant,
    end: Instant,
) -> Result<Tally, BenchError> {
    let (mut signer, mut connection) = (target.signer(0), Connection::new(target.endpoint.clone()));
    let queue = &target.queues[0];
    let receive = queue.receive(1, WAIT_SECONDS);
    let mut tally = Tally { quiet: Latencies::new(), quiet_received: 0, noisy_received: 0 };
    while Instant::now() < end {
        connection.request.clear();
        signer.write_request("AmazonSQS.ReceiveMessage", &receive, &mut connection.request);
        let reply = connection.exchange().await?;
        let sent_us = request::bodies(reply.body)
            .next()
            .and_then(|body| body.strip_prefix(&[QUIET]))
            .and_then(|time| std::str::from_utf8(time).ok()?.parse().ok());
        let handles = request::receipt_handles(reply.body);
        match sent_us {
            Some(sent_us) => {
                tally.quiet_received += 1;
                tally.quiet.record(start.elapsed().saturating_sub(Duration::from_micros(sent_us)));
            }
            None => tally.noisy_received += handles.len() as u64,
        }
        if handles.is_empty() {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(work_ms)).await;
        let (action, payload) = queue.delete(&handles);
        connection.request.clear();
        signer.write_request(action, &payload, &mut connection.request);
        connection.exchange().await?;
    }
    Ok(tally)
}

async fn ask(
    connection: &mut Connection,
    signer: &mut Signer,
    action: &'static str,
    body: &serde_json::Value,
) -> Result<(), BenchError> {
    let payload = Payload::new(body.to_string().into_bytes());
    connection.request.clear();
    signer.write_request(&format!("AmazonSQS.{action}"), &payload, &mut connection.request);
    let reply = connection.exchange().await?;
    if reply.status == 200 {
        return Ok(());
    }
    let body = String::from_utf8_lossy(reply.body).into_owned();
    Err(BenchError::Refused { action, status: reply.status, body })
}
