//! Worker threads for large bodies.
//!
//! A job owns its buffers and says through a callback when it is done, so that any runtime can wait for it. The
//! queue is bounded and submitting never blocks: a full pool gives the job back, and its owner runs it where it
//! stands or sheds load. Knows no runtime.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    opening_key::{OpenError, OpenedBody, OpeningKey},
    sealed_message::{MD5_BYTES, MESSAGE_ID_BYTES, ParseError, SealedMessage},
    sealing_key::{DraftMessage, SealError, SealingKey},
};

/// Bodies up to this many bytes are sealed and opened where they are: handing over costs more than that.
pub const INLINE_BODY_BYTES_MAX: usize = 8 * 1_024;

/// Most jobs that wait, for each worker.
pub const WAITING_JOBS_PER_WORKER_MAX: usize = 64;

/// A draft that owns its parts.
pub struct OwnedDraft {
    /// See [`DraftMessage::message_id`].
    pub message_id: [u8; MESSAGE_ID_BYTES],
    /// See [`DraftMessage::sent_at_ms`].
    pub sent_at_ms: u64,
    /// See [`DraftMessage::origin_stream`].
    pub origin_stream: u32,
    /// See [`DraftMessage::context_arn`].
    pub context_arn: Arc<str>,
    /// See [`DraftMessage::clear`].
    pub clear: Vec<u8>,
    /// See [`DraftMessage::body`].
    pub body: Vec<u8>,
    /// See [`DraftMessage::body_md5`].
    pub body_md5: [u8; MD5_BYTES],
}

impl OwnedDraft {
    /// The draft, borrowed.
    pub fn draft(&self) -> DraftMessage<'_> {
        DraftMessage {
            message_id: self.message_id,
            sent_at_ms: self.sent_at_ms,
            origin_stream: self.origin_stream,
            context_arn: &self.context_arn,
            clear: &self.clear,
            body: &self.body,
            body_md5: self.body_md5,
        }
    }
}

/// Called once with what a [`SealJob`] came to.
pub type SealDone = Box<dyn FnOnce(OwnedDraft, Vec<u8>, Result<(), SealError>) + Send>;

/// Called once with what an [`OpenJob`] came to.
pub type OpenDone = Box<dyn FnOnce(Vec<u8>, Result<OpenedBody, PoolOpenError>) + Send>;

/// Seals `draft` behind what is in `out`.
pub struct SealJob {
    /// The key.
    pub key: Arc<SealingKey>,
    /// What to seal.
    pub draft: OwnedDraft,
    /// The buffer to append to.
    pub out: Vec<u8>,
    /// Gets the draft and the buffer back; the buffer is as it was if the result is an error.
    pub done: SealDone,
}

/// Opens `record` behind what is in `out`.
pub struct OpenJob {
    /// The key.
    pub key: Arc<OpeningKey>,
    /// The stored bytes, in whatever holds them.
    pub record: Box<dyn AsRef<[u8]> + Send>,
    /// The buffer to append to.
    pub out: Vec<u8>,
    /// Gets the buffer back; it is as it was if the result is an error.
    pub done: OpenDone,
}

/// One piece of work.
pub enum PoolJob {
    /// Seal a message.
    Seal(SealJob),
    /// Open a message.
    Open(OpenJob),
}

impl PoolJob {
    /// Does it, on this thread.
    pub fn run(self) {
        match self {
            Self::Seal(SealJob { key, draft, mut out, done }) => {
                let sealed = key.seal(&draft.draft(), &mut out);
                done(draft, out, sealed);
            }
            Self::Open(OpenJob { key, record, mut out, done }) => {
                let opened = SealedMessage::parse(record.as_ref().as_ref())
                    .map_err(PoolOpenError::from)
                    .and_then(|message| Ok(key.open(&message, &mut out)?));
                drop(record);
                done(out, opened);
            }
        }
    }
}

impl fmt::Debug for PoolJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seal(_) => "PoolJob::Seal(..)",
            Self::Open(_) => "PoolJob::Open(..)",
        })
    }
}

/// Why a job opened nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolOpenError {
    /// The bytes are not a message.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The message does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The pool has no room; the job comes back untouched.
#[derive(Debug, thiserror::Error)]
#[error("{waiting} crypto jobs are waiting already")]
pub struct PoolFull {
    /// The job.
    pub job: PoolJob,
    /// How many jobs wait.
    pub waiting: usize,
}

/// See the module. Dropping it finishes the waiting jobs and joins the workers.
pub struct CryptoPool {
    shared: Arc<Shared>,
    waiting_max: usize,
    workers: Vec<JoinHandle<()>>,
}

struct Shared {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
}

struct Jobs {
    waiting: VecDeque<PoolJob>,
    closed: bool,
}

impl CryptoPool {
    /// Starts `workers` threads (at least one).
    ///
    /// # Errors
    /// What the operating system says when it starts no thread; those started before end again.
    pub fn start(workers: usize) -> io::Result<Self> {
        let workers = workers.max(1);
        let jobs = Mutex::new(Jobs { waiting: VecDeque::new(), closed: false });
        let mut pool = Self {
            shared: Arc::new(Shared { jobs, arrived: Condvar::new() }),
            waiting_max: workers.saturating_mul(WAITING_JOBS_PER_WORKER_MAX),
            workers: Vec::with_capacity(workers),
        };
        for number in 0..workers {
            let shared = Arc::clone(&pool.shared);
            let worker =
                thread::Builder::new().name(format!("crypto-{number}")).spawn(move || shared.work())?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// Hands `job` over. Its callback runs on a worker and must be quick.
    ///
    /// # Errors
    /// [`PoolFull`].
    // The job comes back by value so that its owner loses no buffer; boxing it would allocate on every refusal.
    #[expect(clippy::result_large_err, reason = "the error is the job itself")]
    pub fn submit(&self, job: PoolJob) -> Result<(), PoolFull> {
        let mut jobs = self.shared.jobs.lock();
        let waiting = jobs.waiting.len();
        if waiting >= self.waiting_max {
            return Err(PoolFull { job, waiting });
        }
        jobs.waiting.push_back(job);
        drop(jobs);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.shared.jobs.lock().waiting.len()
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // A panic costs its own job: the callback is dropped unrun, which whoever waits for it can see.
            if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
                tracing::error!("a crypto job panicked");
            }
        }
    }

    fn next(&self) -> Option<PoolJob> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            self.arrived.wait(&mut jobs);
        }
    }
}

impl Drop for CryptoPool {
    fn drop(&mut self) {
        self.shared.jobs.lock().closed = true;
        self.shared.arrived.notify_all();
        for worker in self.workers.drain(..) {
            // A worker ends by itself and has nothing to say; its panics were caught.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for CryptoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoPool").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}
