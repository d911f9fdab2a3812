//! The daemon: puts the parts together, runs them, takes them down.
//!
//! Start: settings, secrets, lock and recovery of the log, keys, queues, the shard, the listeners; then ready. Stop:
//! no new connections, what is under way ends, the shard closes the log with a checkpoint.

mod observer;
pub(crate) mod stopped;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sealq_config::{Config, Io, Loaded};
use sealq_crypto::data_key::KeyBytes;
use sealq_crypto::entropy::SystemEntropy;
use sealq_crypto::key_store::{KeyStore, LoadError, Loaded as KeysLoaded, SubKey};
use sealq_crypto::{CryptoPool, KeyRing, ManagedKeys, ServiceKey};
use sealq_storage::{IoChoice, Log, LogOptions, LostRange, OpenError, RecoveryReport};
use thiserror::Error;

use crate::announcement::{Announce, Announcement};
use crate::audit::{AuditError, AuditLog};
use crate::authenticate::Authenticator;
use crate::authorize::Authorizer;
use crate::catalog::{CatalogError, decode, encode};
use crate::clock::Clock;
use crate::control;
use crate::embedded_keys::EmbeddedKeys;
use crate::engine::Engine;
use crate::engine::command::{Command, Outcome};
use crate::envelope::Envelope;
use crate::first_start::root_key_file::{RootKeyFile, RootKeys};
use crate::first_start::{FirstStartError, SecretsDirectory};
use crate::health::Health;
use crate::identity::{Identities, IdentityError, UniqueIds};
use crate::key_audit::KeyAudit;
use crate::key_control::KeyControl;
use crate::key_provider::{KeyProvider, KeyProviderError, RemoteKeyService, provider_name};
use crate::key_rights::KeyRights;
use crate::kms::KmsApi;
use crate::listener::{BindError, Front, FrontLimits, Listener};
use crate::metrics_exporter::{self, BeforeRender, InstallError, MetricsExporter};
use crate::operator::Operator;
use crate::queues::{LoadedQueues, Queues};
use crate::receipt_handle::ReceiptHandles;
use crate::root_rotation::{RootRotation, RotationError};
use crate::service::{Broker, RequestMetrics};
use crate::session::SessionTokens;
use crate::shard::{Shard, ShardHandle, ShardStatus};
use crate::signals::{Asked, Signals, Stop};
use crate::sqs::SqsService;
use crate::sqs::move_tasks::MoveTasks;
use crate::sts::StsService;
use observer::KeyUses;

/// Catalog key of the principals' unique ids.
pub(crate) const UNIQUE_IDS_KEY: &[u8] = b"sealq/unique-ids";

/// Bytes of recent groups kept for fresh messages.
const TAIL_CACHE_BYTES: usize = 16 << 20;

/// How often due rotations and deletions of keys are looked for.
const KEY_SWEEP: Duration = Duration::from_secs(10);

/// Wait before the first probe of an outage, at most; it doubles from probe to probe.
const PROBE_WAIT_FIRST: Duration = Duration::from_millis(250);
/// Longest wait between two probes. The contract asks for one every few seconds; a probe itself may take the provider's
/// timeout.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Why the daemon does not run.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// Secrets or certificates.
    #[error(transparent)]
    FirstStart(#[from] FirstStartError),
    /// The log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The key service's state.
    #[error("the stored keys cannot be opened: {0}")]
    Keys(#[from] LoadError),
    /// Principals.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A change of the root key.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Metrics.
    #[error(transparent)]
    Metrics(#[from] InstallError),
    /// The key provider.
    #[error(transparent)]
    KeyProvider(#[from] KeyProviderError),
    /// A setting that this build does not serve.
    #[error("{0}")]
    Setting(String),
    /// Threads, signals, sockets.
    #[error("{what}: {source}")]
    System {
        /// What failed.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something needed at start could not be stored.
    #[error("the log takes nothing at start: free some space and start again")]
    NotStored,
}

impl DaemonError {
    /// The settings are at fault.
    pub fn is_settings(&self) -> bool {
        match self {
            Self::FirstStart(error) | Self::Rotation(RotationError::File(error)) => !error.is_about_data(),
            Self::Identity(_) | Self::KeyProvider(_) | Self::Setting(_) => true,
            _ => false,
        }
    }

    /// The data cannot be opened safely.
    pub fn is_data(&self) -> bool {
        match self {
            Self::FirstStart(error) | Self::Rotation(RotationError::File(error)) => error.is_about_data(),
            Self::Log(_) | Self::Catalog(_) | Self::Keys(_) => true,
            _ => false,
        }
    }
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> DaemonError {
    move |source| DaemonError::System { what, source }
}

/// Runs until it is told to stop.
///
/// # Errors
/// [`DaemonError`]
pub fn run(loaded: Loaded, announce: Announce) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sealq-front")
        .build()
        .map_err(system("the runtime cannot be started"))?;
    runtime.block_on(serve(loaded, announce))
}

async fn serve(loaded: Loaded, announce: Announce) -> Result<(), DaemonError> {
    let config = &loaded.config;
    let remote_keys = RemoteKeyService::from_settings(config)?;
    if remote_keys.is_some() {
        let provider = provider_name(config.kms.provider);
        tracing::info!(provider, "data keys are asked of a key service on the network");
    }
    let clock = Clock::system();
    let secrets = SecretsDirectory::open(config)?;
    let root_key_file = RootKeyFile::of(config)?;
    let RootKeys { current: root_key, previous: previous_root_key } =
        root_key_file.open_or_make(&config.data_dir)?;
    let root = secrets.root_credentials()?;
    let tls = config.listen.https.socket().map(|_| secrets.server_tls(config)).transpose()?;
    let mut signals = Signals::install().map_err(system("signals cannot be taken over"))?;
    let health = Arc::new(Health::new());
    let scrape: Arc<parking_lot::Mutex<Option<observer::Scrape>>> = Arc::default();
    let exporter =
        Arc::new(MetricsExporter::install(before_render(scrape.clone()), config.limits.queue_series_max)?);

    let (mut log, report) = Log::open(log_options(config))?;
    tracing::info!(?report, io = log.io_engine(), "log opened");
    metrics::gauge!(metrics_exporter::IO_ENGINE_INFO, "engine" => log.io_engine()).set(1.0);
    let io_engine = log.io_engine();
    let keys = {
        let entries = log.catalog().iter().map(|(key, value)| (&**key, &**value));
        KeyStore::load(root_key, previous_root_key.as_ref(), entries, &mut SystemEntropy)?
    };
    let mut engine = Engine::new(|| *uuid::Uuid::new_v4().as_bytes());
    let queues = LoadedQueues::load(&mut log, &mut engine, &clock, &config.identity.partition)?;
    report_lost(&report, &queues);
    let orphans = orphans(&log, &queues);
    let move_entries = MoveTasks::entries(&log);
    let mut ids: UniqueIds = match log.catalog().get(UNIQUE_IDS_KEY) {
        Some(value) => decode(UNIQUE_IDS_KEY, value)?,
        None => BTreeMap::new(),
    };
    let shard = Shard::start(log, engine, clock.clone()).map_err(system("the shard cannot be started"))?;
    let handle = shard.handle();
    let store = store_pending(&handle, keys).await?;
    drop_orphans(&handle, orphans).await;

    let identities =
        Identities::build(config, (&root.access_key_id, root.secret_access_key.clone()), &mut ids)?;
    keep_ids(&handle, &ids).await?;
    let sub_key = |purpose| store.sub_key(purpose);
    let sessions = SessionTokens::new(sub_key(SubKey::SessionToken));
    let receipts = ReceiptHandles::new(sub_key(SubKey::ReceiptHandle));
    let hash_key = sub_key(SubKey::Deduplication);
    let service_key = KeyBytes::take(&mut sub_key(SubKey::Service));
    let managed = ManagedKeys::new(ServiceKey::new(1, &service_key), []);

    let (region, partition) = (config.identity.region.clone(), config.identity.partition.clone());
    let audit =
        AuditLog::open(&config.audit_file(), &config.audit_mark_file(), config.audit.rotate_bytes.bytes())?;
    let key_audit =
        KeyAudit::new(audit.clone(), clock.clone(), region.clone(), config.limits.queue_series_max);
    let authorizer = Authorizer::new(clock.clone(), &region);
    let control = Arc::new(KeyControl::new(store, handle.clone(), key_audit.clone()));
    let rights = KeyRights::new(control.clone(), authorizer.clone());
    let rotation = RootRotation::new(config, control.clone(), root_key_file, audit.clone(), clock.clone());
    rotation.settle(previous_root_key.as_ref()).await?;
    let keys_are_embedded = remote_keys.is_none();
    let embedded = EmbeddedKeys::new(control.clone(), rights.clone(), key_audit.clone(), clock.clone());
    let provider = key_provider(remote_keys, embedded, authorizer.clone(), key_audit.clone(), clock.clone());
    let auth = &config.auth;
    if !auth.require_signatures {
        tracing::warn!(
            "signatures are not required: everybody who reaches this broker acts as its root account"
        );
    }
    let authenticator = Arc::new(Authenticator::new(
        identities,
        sessions,
        config.identity.clone(),
        auth.require_signatures,
        auth.clock_skew_seconds,
        clock.clone(),
    ));
    let queues = Arc::new(Queues::new(
        queues,
        handle.clone(),
        clock.clone(),
        config.queues.recreate_wait_seconds * 1_000,
        region.clone(),
        partition.clone(),
        authenticator.clone(),
    ));
    let key_uses = Arc::new(KeyUses::new(queues.clone(), config.limits.queue_series_max));
    let ring = KeyRing::new(provider, key_uses.clone());
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let pool = CryptoPool::start(workers).map_err(system("the crypto pool cannot be started"))?;
    let envelope = Arc::new(Envelope::new(ring, managed, pool, clock.clone()));
    let move_tasks = Arc::new(MoveTasks::load(&move_entries, queues.clone(), handle.clone(), clock.clone())?);
    move_tasks.resume();
    let broker = Arc::new(Broker {
        authenticator: authenticator.clone(),
        sqs: SqsService {
            queues: queues.clone(),
            shard: handle.clone(),
            envelope: envelope.clone(),
            receipts,
            authorizer: authorizer.clone(),
            move_tasks: move_tasks.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            hash_key,
            region: region.clone(),
            partition: partition.clone(),
            waiter_ids: AtomicU64::new(1),
        },
        kms: keys_are_embedded.then(|| KmsApi {
            control: control.clone(),
            rights,
            principals: authenticator.clone(),
            queues: queues.clone(),
            audit: key_audit,
            clock: clock.clone(),
            region,
            partition,
        }),
        sts: StsService::new(authenticator.clone(), authorizer, clock.clone()),
        listen: config.listen.clone(),
        metrics: RequestMetrics::default(),
    });

    let operator = Arc::new(Operator {
        rotation,
        broker: broker.clone(),
        keys: control.clone(),
        clock: clock.clone(),
        identity: config.identity.clone(),
        keys_are_embedded,
    });
    let front =
        Front::new(broker, health.clone(), FrontLimits::new(&config.limits, &config.listen.trusted_proxies));
    *scrape.lock() = Some(observer::Scrape {
        queues,
        move_tasks,
        status: shard.status(),
        envelope: envelope.clone(),
        key_provider: provider_name(config.kms.provider),
        key_uses,
        clock: clock.clone(),
        io_engine,
        signatures_required: auth.require_signatures,
        counted: observer::Counted::new(config.limits.queue_series_max),
    });
    let stop = Stop::new();
    let mut announcement = Announcement::default();
    let mut serving = Vec::new();
    if let (Some(address), Some(tls)) = (config.listen.https.socket(), &tls) {
        let listener = Listener::bind(address, Some(tls.acceptor())).await?;
        announcement.https = listener.local_addr().ok();
        serving.push(tokio::spawn(front.clone().serve(listener, stop.watch())));
    }
    if let Some(address) = config.listen.http.socket() {
        let listener = Listener::bind(address, None).await?;
        announcement.http = listener.local_addr().ok();
        serving.push(tokio::spawn(front.clone().serve(listener, stop.watch())));
    }
    if let Some(address) = config.listen.metrics.socket() {
        let listener = Listener::bind(address, None).await?;
        announcement.metrics = listener.local_addr().ok();
        let metrics_front = Front::new(exporter.clone(), health.clone(), FrontLimits::for_metrics());
        serving.push(tokio::spawn(metrics_front.serve(listener, stop.watch())));
    }
    serve_orders(&config.data_dir, operator, &stop);
    tokio::spawn(exporter.upkeep(stop.watch()));
    tokio::spawn(watch_health(shard.status(), health.clone()));
    tokio::spawn(sweep_keys(control, clock.clone()));
    tokio::spawn(probe_key_service(envelope.clone(), clock));
    health.set_ready(true);
    announce(announcement);

    loop {
        match signals.next().await {
            Asked::Stop(signal) => {
                tracing::info!(signal, "stopping");
                break;
            }
            Asked::Reload => {
                let given = (root.access_key_id.as_str(), root.secret_access_key.clone());
                match reload(&loaded, given, &mut ids, &handle, &authenticator).await {
                    Ok(fresh) => {
                        envelope.ring().service().take_credentials(&fresh);
                        tracing::info!(
                            "users, roles, policies and the key service's credentials were read anew"
                        );
                    }
                    Err(error) => {
                        tracing::error!(%error, "the settings were not reloaded: the old ones stay")
                    }
                }
                if let Some(tls) = &tls
                    && let Err(error) = tls.reload()
                {
                    tracing::error!(%error, "the certificate was not reloaded: the old one stays");
                }
            }
        }
    }
    health.set_ready(false);
    // Long polls would be cut off at the end of the grace period: their clients ask again, of the next process.
    handle.tell(Command::EndWaits);
    stop.stop();
    for listener in serving {
        if let Err(error) = listener.await {
            tracing::error!(%error, "a listener failed");
        }
    }
    // What was recorded last is on disk when the process ends.
    if let Err(error) = audit.flush().await {
        tracing::error!(%error, "audit records could not be written");
    }
    let stopped = tokio::task::spawn_blocking(move || shard.stop());
    stopped.await.map_err(|error| DaemonError::System {
        what: "the shard cannot be stopped",
        source: std::io::Error::other(error),
    })
}

/// Who makes and unwraps data keys.
fn key_provider(
    remote: Option<RemoteKeyService>,
    embedded: EmbeddedKeys,
    authorizer: Authorizer,
    audit: KeyAudit,
    clock: Clock,
) -> KeyProvider {
    match remote {
        None => KeyProvider::Embedded(Box::new(embedded)),
        #[cfg(feature = "kms-network")]
        Some(service) => {
            let keys = crate::remote_keys::RemoteKeys::new(service, authorizer, audit, clock);
            KeyProvider::Remote(Box::new(keys))
        }
        #[cfg(not(feature = "kms-network"))]
        Some(service) => match service {},
    }
}

fn log_options(config: &Config) -> LogOptions {
    LogOptions {
        dir: config.data_dir.clone(),
        segment_bytes: config.storage.segment_bytes.bytes(),
        io: match config.storage.io {
            Io::Auto => IoChoice::Auto,
            Io::IoUring => IoChoice::IoUring,
            Io::Threads => IoChoice::Threads,
        },
        free_space_min_bytes: config.storage.free_space_min.bytes(),
        tail_cache_bytes: TAIL_CACHE_BYTES,
        shard: 0,
    }
}

/// What the key service needs to be stored is durable before it is used.
async fn store_pending(shard: &ShardHandle, loaded: KeysLoaded) -> Result<KeyStore, DaemonError> {
    let KeysLoaded { mut store, pending } = loaded;
    if !pending.puts.is_empty() || !pending.deletes.is_empty() {
        let (puts, deletes) = (pending.puts.clone(), pending.deletes.clone());
        match shard.ask(|reply| Command::WriteCatalog { puts, deletes, reply }).await {
            Outcome::Stored => {}
            _ => return Err(DaemonError::NotStored),
        }
    }
    store.commit(pending);
    Ok(store)
}

/// The log knows streams; now their queues are known.
fn report_lost(report: &RecoveryReport, queues: &LoadedQueues) {
    for LostRange { stream, first, last, count } in &report.lost {
        let queue = queues.arn(*stream);
        tracing::error!(queue, stream, first, last, count, "messages are lost: no file holds them");
    }
}

/// Streams whose queue's deletion was cut short by a crash.
fn orphans(log: &Log, queues: &LoadedQueues) -> Vec<u32> {
    let known = queues.streams();
    log.streams().into_iter().filter(|stream| !known.contains(stream)).collect()
}

async fn drop_orphans(shard: &ShardHandle, streams: Vec<u32>) {
    for stream in streams {
        let dropped = shard.ask(|reply| Command::DropQueue { stream, deletes: Vec::new(), reply }).await;
        if !matches!(dropped, Outcome::Stored) {
            tracing::warn!(stream, "messages of a deleted queue stay until the next start");
        }
    }
}

async fn keep_ids(shard: &ShardHandle, ids: &UniqueIds) -> Result<(), DaemonError> {
    let puts = vec![(UNIQUE_IDS_KEY.to_vec(), encode(ids))];
    match shard.ask(|reply| Command::WriteCatalog { puts, deletes: Vec::new(), reply }).await {
        Outcome::Stored => Ok(()),
        _ => Err(DaemonError::NotStored),
    }
}

async fn reload(
    loaded: &Loaded,
    root: (&str, sealq_config::Secret),
    ids: &mut UniqueIds,
    shard: &ShardHandle,
    authenticator: &Authenticator,
) -> Result<Config, DaemonError> {
    let fresh =
        loaded.reload(crate::cli::environment()).map_err(|error| DaemonError::Setting(error.to_string()))?;
    let mut new_ids = ids.clone();
    let identities = Identities::build(&fresh.config, root, &mut new_ids)?;
    keep_ids(shard, &new_ids).await?;
    *ids = new_ids;
    authenticator.replace(identities);
    Ok(fresh.config)
}

/// Without the control socket the broker serves all the same.
fn serve_orders(data_dir: &Path, operator: Arc<Operator>, stop: &Stop) {
    match control::listen(data_dir) {
        Ok(listener) => {
            let carry_out = move |order, uid| {
                let operator = operator.clone();
                async move { operator.carry_out(order, uid).await }
            };
            tokio::spawn(control::serve(listener, stop.watch(), carry_out));
        }
        Err(error) => {
            tracing::warn!(%error, "no control socket: `sealq kms rotate-root` and `sealq queue encrypt` cannot reach this broker");
        }
    }
}

async fn watch_health(status: Arc<ShardStatus>, health: Arc<Health>) {
    while !status.poisoned.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    health.set_poisoned();
}

/// Rotations, deletions and expiries of keys that have come due.
async fn sweep_keys(control: Arc<KeyControl>, clock: Clock) {
    loop {
        if let Err(error) = control.settle_due(clock.now_ms()).await {
            tracing::warn!(%error, "a due change of a key could not be stored; it is tried again");
        }
        tokio::time::sleep(KEY_SWEEP).await;
    }
}

/// Looks during an outage whether the key service answers again, so that no request has to wait to find out.
async fn probe_key_service(envelope: Arc<Envelope<KeyProvider>>, clock: Clock) {
    let mut wait = PROBE_WAIT_FIRST;
    loop {
        tokio::time::sleep(wait).await;
        let unreachable = envelope.ring().probe(clock.now_ms()).await;
        wait = if unreachable { (wait * 2).min(PROBE_WAIT_MAX) } else { PROBE_WAIT_FIRST };
    }
}

fn before_render(scrape: Arc<parking_lot::Mutex<Option<observer::Scrape>>>) -> BeforeRender {
    Box::new(move || {
        let depths = scrape.lock().as_ref().map(observer::Scrape::publish).unwrap_or_default();
        Box::pin(async move { depths })
    })
}
