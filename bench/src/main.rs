//! `sealq-bench`: load over HTTP(S) against any endpoint that speaks the SQS API, and the numbers of it.
//!
//! It knows the wire and /proc, nothing of the broker's insides: peers are measured by the same code.

mod connection;
mod credentials;
mod dwell;
mod error;
mod fsync_probe;
mod idle;
mod latency;
mod load;
mod machine;
mod process;
mod request;
mod signer;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

use crate::connection::{Connection, Endpoint};
use crate::credentials::Credentials;
use crate::dwell::DwellSettings;
use crate::error::BenchError;
use crate::load::{LoadReport, LoadSettings, Mode, Progress, Target};
use crate::machine::{Machine, Source};
use crate::process::Usage;
use crate::request::{Groups, Queue};

/// How often the progress bar is drawn.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Load generator for endpoints that speak the SQS API.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  sealq-bench load --endpoint https://127.0.0.1:9324 \
    --ca-file sealq-secrets/tls/ca.pem --credentials-file sealq-secrets/credentials \
    --queue bench --create --connections 16 --batch 10 --seconds 10"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends, or receives and deletes, and reports throughput and latency.
    Load(LoadArgs),
    /// Measures how long messages of quiet tenants wait beside a noisy one.
    Dwell(DwellArgs),
    /// Holds many long polls open and reports what the broker uses meanwhile.
    Idle(IdleArgs),
    /// Purges the queues.
    Purge(TargetArgs),
    /// Measures how long a durable write takes on a directory's disk.
    FsyncProbe(ProbeArgs),
}

#[derive(Args)]
struct TargetArgs {
    /// http(s)://host:port
    #[arg(long)]
    endpoint: String,
    /// PEM of the authority that signed the endpoint's certificate.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// AWS shared-credentials file.
    #[arg(long)]
    credentials_file: PathBuf,
    /// Profile of that file; may be repeated: connections take them in turn, the first one finds or makes the queues.
    #[arg(long = "profile", value_name = "PROFILE", default_value = "default")]
    profiles: Vec<String>,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    #[arg(long)]
    queue: String,
    /// Go round so many queues, called QUEUE-0, QUEUE-1 and so on.
    #[arg(long)]
    queues: Option<usize>,
    /// Make the queue; without it, it must be there.
    #[arg(long)]
    create: bool,
    /// Attribute of the queue that is made, NAME=VALUE; may be repeated.
    #[arg(long = "attributes", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

#[derive(Args)]
struct ResultArgs {
    /// Name of the run in its result.
    #[arg(long, default_value = "run")]
    name: String,
    /// File for the result; without it, the result goes to standard output.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Process whose processor time and memory are reported.
    #[arg(long)]
    broker_pid: Option<u32>,
    /// A directory on the disk that the broker writes to, to name that disk in the result.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    result: ResultArgs,
    #[arg(long, value_enum, default_value = "send")]
    mode: Mode,
    /// Connections, each with one outstanding request.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Messages a request, 1 to 10.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=10))]
    batch: u8,
    #[arg(long, default_value_t = 1024)]
    body_bytes: usize,
    /// Longest time to run.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// End after this many messages.
    #[arg(long)]
    messages: Option<u64>,
    /// Messages a second over all connections (open loop); without it, as fast as replies come.
    #[arg(long)]
    rate: Option<f64>,
    /// WaitTimeSeconds of receives.
    #[arg(long, default_value_t = 1)]
    wait_seconds: u64,
    /// A receiver ends when every queue in turn was empty.
    #[arg(long)]
    until_empty: bool,
    /// Receivers delete nothing.
    #[arg(long)]
    keep: bool,
    /// Send to FIFO queues, in so many message groups.
    #[arg(long)]
    groups: Option<u64>,
    /// What the names of the groups start with.
    #[arg(long, default_value = "group")]
    group_prefix: String,
}

#[derive(Args)]
struct DwellArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    result: ResultArgs,
    /// Messages of the noisy tenant that are there before the others send.
    #[arg(long, default_value_t = 10_000)]
    noisy: u64,
    /// Tenants that send now and then.
    #[arg(long, default_value_t = 10)]
    quiet_groups: u64,
    /// Messages a second of all of them together.
    #[arg(long, default_value_t = 50.0)]
    quiet_rate: f64,
    #[arg(long, default_value_t = 40)]
    consumers: usize,
    /// How long a consumer works on one message.
    #[arg(long, default_value_t = 50)]
    work_ms: u64,
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
}

#[derive(Args)]
struct IdleArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    result: ResultArgs,
    #[arg(long, default_value_t = 1000)]
    pollers: usize,
    /// Only hold the connections: ask nothing.
    #[arg(long)]
    silent: bool,
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
}

#[derive(Args)]
struct ProbeArgs {
    /// Directory to write in.
    #[arg(long)]
    dir: PathBuf,
    /// Time a row; there are sixteen.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    #[arg(long, default_value = "fsync-probe")]
    name: String,
    #[arg(long)]
    json: Option<PathBuf>,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is needed")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Load(args) => run_load(args),
        Command::Dwell(args) => run_dwell(args),
        Command::Idle(args) => run_idle(args),
        Command::Purge(args) => run_purge(&args),
        Command::FsyncProbe(args) => run_probe(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("sealq-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run_load(args: LoadArgs) -> Result<(), BenchError> {
    let settings = LoadSettings {
        mode: args.mode,
        connections: args.connections.max(1),
        threads: args.threads,
        batch: usize::from(args.batch),
        body_bytes: args.body_bytes.max(1),
        seconds: args.seconds,
        messages: args.messages,
        rate: args.rate,
        wait_seconds: args.wait_seconds,
        until_empty: args.until_empty,
        keep: args.keep,
        groups: args.groups.map(|count| Groups {
            count,
            prefix: args.group_prefix.clone(),
            run: jiff::Timestamp::now().as_nanosecond().to_string(),
        }),
    };
    let target = target(&args.target)?;
    let broker_before = args.result.broker_pid.map(Usage::of).transpose()?;
    let own_before = Usage::of(std::process::id())?;
    let progress = Arc::new(Progress::default());
    let drawing = draw_progress(&progress, &settings);
    let report = load::run(&target, &settings, &progress);
    drawing.finish();
    let report = report?;
    let own = Usage::of(std::process::id())?.cpu_seconds - own_before.cpu_seconds;
    let broker_after = args.result.broker_pid.map(Usage::of).transpose()?;
    say(&summary(&args.result.name, &report));
    let requests: u64 =
        [&report.send, &report.receive, &report.delete].into_iter().flatten().map(|call| call.requests).sum();
    let messages = report.send.as_ref().map_or(0, |call| call.messages)
        + report.delete.as_ref().map_or(0, |call| call.messages);
    let micros_each = |seconds: f64, count: u64| (seconds * 1e7 / count.max(1) as f64).round() / 10.0;
    let broker = broker_before.zip(broker_after).map(|(before, after)| {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        json!({
            "cpu_seconds": cpu_seconds,
            "cpu_us_per_request": micros_each(cpu_seconds, requests),
            "cpu_us_per_message": micros_each(cpu_seconds, messages),
            "before": before,
            "after": after,
        })
    });
    let result = json!({
        "settings": settings,
        "endpoint": args.target.endpoint,
        "attributes": args.target.attributes.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "report": report,
        "client": { "cpu_seconds": own, "cpu_us_per_request": micros_each(own, requests) },
        "broker": broker,
    });
    write_result(
        &args.result.name,
        "load",
        args.result.data_dir.as_deref(),
        result,
        args.result.json.as_deref(),
    )?;
    match report.first_failure {
        Some(first) => Err(BenchError::Failures { count: report.failures, first }),
        None => Ok(()),
    }
}

fn run_dwell(args: DwellArgs) -> Result<(), BenchError> {
    let settings = DwellSettings {
        noisy: args.noisy,
        quiet_groups: args.quiet_groups,
        quiet_rate: args.quiet_rate,
        consumers: args.consumers.max(1),
        work_ms: args.work_ms,
        seconds: args.seconds,
    };
    let report = dwell::run(&target(&args.target)?, &settings)?;
    let wait = &report.quiet_dwell_us;
    say(&format!(
        "{}: {} messages of quiet tenants waited {:.1} ms (median), {:.1} ms (p99); {} of the noisy one were received",
        args.result.name,
        report.quiet_received,
        wait.p50 as f64 / 1e3,
        wait.p99 as f64 / 1e3,
        report.noisy_received
    ));
    let result = json!({ "settings": settings, "endpoint": args.target.endpoint, "report": report });
    write_result(
        &args.result.name,
        "dwell",
        args.result.data_dir.as_deref(),
        result,
        args.result.json.as_deref(),
    )
}

fn run_idle(args: IdleArgs) -> Result<(), BenchError> {
    let Some(pid) = args.result.broker_pid else {
        return Err(BenchError::Reply("idle measures a process: give --broker-pid"));
    };
    raise_file_limit();
    let target = target(&args.target)?;
    let report = idle::run(&target, args.pollers, args.silent, args.seconds, pid)?;
    say(&format!(
        "{}: {} pollers for {} s: {:.2} % of a core, {} MiB resident, {} replies, {} failures",
        args.result.name,
        report.pollers,
        report.seconds,
        report.broker_cpu_percent,
        report.after.rss_bytes >> 20,
        report.replies,
        report.failures
    ));
    let failures = report.failures;
    let result = json!({ "endpoint": args.target.endpoint, "report": report });
    write_result(
        &args.result.name,
        "idle",
        args.result.data_dir.as_deref(),
        result,
        args.result.json.as_deref(),
    )?;
    if failures > 0 {
        return Err(BenchError::Failures { count: failures, first: "a poll did not answer 200".into() });
    }
    Ok(())
}

fn run_purge(args: &TargetArgs) -> Result<(), BenchError> {
    let target = target(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut signer, mut connection) = (target.signer(0), Connection::new(target.endpoint.clone()));
        for queue in &target.queues {
            connection.request.clear();
            signer.write_request("AmazonSQS.PurgeQueue", &queue.purge(), &mut connection.request);
            let reply = connection.exchange().await?;
            if reply.status != 200 {
                let body = String::from_utf8_lossy(reply.body).into_owned();
                return Err(BenchError::Refused { action: "PurgeQueue", status: reply.status, body });
            }
        }
        Ok(())
    })
}

fn run_probe(args: ProbeArgs) -> Result<(), BenchError> {
    let rows = fsync_probe::probe(&args.dir, args.seconds)?;
    write_result(&args.name, "fsync-probe", Some(&args.dir), json!({ "rows": rows }), args.json.as_deref())
}

/// Reads keys and certificates, and finds or makes the queues.
fn target(args: &TargetArgs) -> Result<Arc<Target>, BenchError> {
    let endpoint = Endpoint::new(&args.endpoint, args.ca_file.as_deref())?;
    let credentials = Credentials::load(&args.credentials_file, &args.profiles)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let names = match args.queues {
        None => vec![args.queue.clone()],
        Some(count) => (0..count.max(1)).map(|number| format!("{}-{number}", args.queue)).collect(),
    };
    let mut target = Target { endpoint, credentials, region: args.region.clone(), queues: Vec::new() };
    target.queues = runtime.block_on(async {
        let (mut signer, mut connection) = (target.signer(0), Connection::new(target.endpoint.clone()));
        let mut queues = Vec::with_capacity(names.len());
        for name in &names {
            queues
                .push(Queue::find(&mut connection, &mut signer, name, args.create, &args.attributes).await?);
        }
        Ok::<_, BenchError>(queues)
    })?;
    Ok(Arc::new(target))
}

/// Thousands of connections need as many descriptors; the soft limit may go up to the hard one.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    // Where it is refused, the connection that does not fit says so.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

/// The progress bar and the thread that draws it; nothing when standard error is no terminal.
struct Drawing {
    thread: Option<(std::thread::JoinHandle<()>, Arc<std::sync::atomic::AtomicBool>)>,
}

fn draw_progress(progress: &Arc<Progress>, settings: &LoadSettings) -> Drawing {
    if !std::io::stderr().is_terminal() {
        return Drawing { thread: None };
    }
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopping, progress, total) = (stop.clone(), progress.clone(), settings.messages);
    let thread = std::thread::spawn(move || {
        let bar = total.map_or_else(indicatif::ProgressBar::no_length, indicatif::ProgressBar::new);
        let template = "{elapsed_precise} {wide_bar} {human_pos} messages, {per_sec}";
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        while !stopping.load(Ordering::Relaxed) {
            bar.set_position(progress.done.load(Ordering::Relaxed));
            std::thread::sleep(PROGRESS_EVERY);
        }
        bar.finish_and_clear();
    });
    Drawing { thread: Some((thread, stop)) }
}

impl Drawing {
    fn finish(self) {
        if let Some((thread, stop)) = self.thread {
            stop.store(true, Ordering::Relaxed);
            // Drawing never decides over a result.
            let _ = thread.join();
        }
    }
}

fn summary(name: &str, report: &LoadReport) -> String {
    let calls = [("send", &report.send), ("receive", &report.receive), ("delete", &report.delete)];
    let mut text = name.to_owned();
    for (kind, call) in calls {
        if let Some(call) = call {
            let latency = &call.latency_us;
            text += &format!(
                "\n  {kind:8} {:>9} msg/s {:>8} req/s   p50 {} us, p99 {} us, p99.9 {} us",
                call.messages_per_second, call.requests_per_second, latency.p50, latency.p99, latency.p99_9
            );
        }
    }
    text
}

/// Adds where and when to a result and writes it.
fn write_result(
    name: &str,
    kind: &str,
    data_dir: Option<&Path>,
    result: Value,
    file: Option<&Path>,
) -> Result<(), BenchError> {
    let mut whole = json!({
        "name": name,
        "kind": kind,
        "finished_at": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "machine": Machine::read(data_dir),
        "source": Source::read(),
    });
    if let (Some(whole), Value::Object(result)) = (whole.as_object_mut(), result) {
        whole.extend(result);
    }
    let mut text = serde_json::to_vec_pretty(&whole)?;
    text.push(b'\n');
    match file {
        Some(path) => {
            std::fs::write(path, text).map_err(|source| BenchError::File { path: path.to_owned(), source })
        }
        None => Ok(std::io::stdout().write_all(&text)?),
    }
}

/// One line for people.
fn say(text: &str) {
    // Standard error may be closed; the result stands all the same.
    let _ = writeln!(std::io::stderr(), "{text}");
}
