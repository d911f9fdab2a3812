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
/// Measured (`benches/seal_open.rs`, 2 cores with VAES): a handover 10 to 17 us, sealing 4.6 us for 16 KiB and 70 us
/// for 256 KiB, so they meet near 48 KiB; the threshold lies below, as a request must not hold its thread long.
pub const INLINE_BODY_BYTES_MAX: usize = 32 * 1_024;

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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        data_key::KeyBytes,
        managed_keys::{ManagedKeys, ServiceKey},
    };

    const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

    fn keys() -> ManagedKeys {
        ManagedKeys::new(ServiceKey::new(1, &KeyBytes::generate().unwrap()), [])
    }

    fn seal_job(keys: &ManagedKeys, body: Vec<u8>, done: SealDone) -> PoolJob {
        let draft = OwnedDraft {
            message_id: [1; 16],
            sent_at_ms: 0,
            origin_stream: 1,
            context_arn: QUEUE.into(),
            clear: b"clear".to_vec(),
            body,
            body_md5: [2; 16],
        };
        PoolJob::Seal(SealJob { key: keys.sealing_key(0, 1, QUEUE).unwrap(), draft, out: Vec::new(), done })
    }

    #[test]
    fn what_the_pool_seals_it_opens() {
        let (keys, pool) = (keys(), CryptoPool::start(2).unwrap());
        let (sealed_to, sealed) = mpsc::channel();
        let (opened_to, opened) = mpsc::channel();
        for number in 0..50_u8 {
            let sealed_to = sealed_to.clone();
            let done: SealDone = Box::new(move |draft, out, result| {
                result.unwrap();
                sealed_to.send((draft.body, out)).unwrap();
            });
            let job = seal_job(&keys, vec![number; 20_000], done);
            pool.submit(job).unwrap();
        }
        for _ in 0..50 {
            let (body, record) = sealed.recv().unwrap();
            let key = keys.opening_key(0, &SealedMessage::parse(&record).unwrap()).unwrap();
            let opened_to = opened_to.clone();
            let done: OpenDone = Box::new(move |out, result| {
                opened_to.send(out[result.unwrap().body] == body).unwrap();
            });
            let job = OpenJob { key, record: Box::new(record), out: b"kept".to_vec(), done };
            pool.submit(PoolJob::Open(job)).unwrap();
        }
        assert!((0..50).all(|_| opened.recv().unwrap()));
    }

    #[test]
    fn a_full_pool_gives_the_job_back_and_dropping_it_finishes_what_waits() {
        let (keys, pool) = (keys(), CryptoPool::start(1).unwrap());
        let (entered_to, entered) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        let blocking: SealDone = Box::new(move |_, _, _| {
            entered_to.send(()).unwrap();
            left.recv().unwrap();
        });
        pool.submit(seal_job(&keys, vec![0], blocking)).unwrap();
        entered.recv().unwrap();

        let (done_to, done) = mpsc::channel();
        let job = || {
            let done_to = done_to.clone();
            seal_job(
                &keys,
                vec![7; 100],
                Box::new(move |draft, _, _| done_to.send(draft.body.len()).unwrap()),
            )
        };
        for waiting in 0..WAITING_JOBS_PER_WORKER_MAX {
            assert_eq!(pool.waiting(), waiting);
            pool.submit(job()).unwrap();
        }
        let full = pool.submit(job()).unwrap_err();
        assert_eq!(full.waiting, WAITING_JOBS_PER_WORKER_MAX);
        full.job.run();
        assert_eq!(done.recv().unwrap(), 100);

        leave.send(()).unwrap();
        drop(pool);
        assert_eq!(done.try_iter().count(), WAITING_JOBS_PER_WORKER_MAX);
    }

    #[test]
    fn a_panic_in_a_callback_costs_that_job_only() {
        let (keys, pool) = (keys(), CryptoPool::start(1).unwrap());
        pool.submit(seal_job(&keys, vec![0], Box::new(|_, _, _| panic!("told to")))).unwrap();
        let (done_to, done) = mpsc::channel();
        pool.submit(seal_job(&keys, vec![0], Box::new(move |_, _, _| done_to.send(()).unwrap()))).unwrap();
        done.recv().unwrap();
    }

    #[test]
    fn bytes_that_are_no_message_and_messages_that_do_not_open_are_errors_of_the_job() {
        let keys = keys();
        let (result_to, result) = mpsc::channel();
        let mut record = Vec::new();
        let draft = DraftMessage {
            message_id: [1; 16],
            sent_at_ms: 0,
            origin_stream: 1,
            context_arn: QUEUE,
            clear: b"",
            body: b"body",
            body_md5: [2; 16],
        };
        keys.sealing_key(0, 1, QUEUE).unwrap().seal(&draft, &mut record).unwrap();
        let key = keys.opening_key(0, &SealedMessage::parse(&record).unwrap()).unwrap();
        let mut damaged = record.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for bytes in [damaged, record[..30].to_vec()] {
            let result_to = result_to.clone();
            let done: OpenDone = Box::new(move |out, opened| result_to.send((out, opened)).unwrap());
            PoolJob::Open(OpenJob { key: Arc::clone(&key), record: Box::new(bytes), out: vec![9], done })
                .run();
        }
        assert_eq!(result.recv().unwrap(), (vec![9], Err(PoolOpenError::Open(OpenError::TagMismatch))));
        assert!(matches!(result.recv().unwrap(), (out, Err(PoolOpenError::Parse(_))) if out == [9]));
    }
}
