//! A key service for the tests of the ring: really wraps, counts every call, and can be told to refuse, to be out
//! of reach, to hold its answers back or to answer wrongly.

use std::{
    collections::{HashMap, HashSet},
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use parking_lot::Mutex;

use crate::{
    data_key::{DataKey, KeyBytes},
    encryption_context::EncryptionContext,
    key_ring::{KeyRing, KeyUse, KeyUseObserver, QueueRef},
    key_service::{DecryptedDataKey, GeneratedDataKey, KeyService, KeyServiceError, Refusal},
    nonce::Nonce,
    sealed_message::SealedMessage,
    sealing_key::DraftMessage,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Generate,
    Decrypt,
}

pub(super) const KEY_A: &str = "arn:aws:kms:us-east-1:000000000000:key/a";
pub(super) const KEY_B: &str = "arn:aws:kms:us-east-1:000000000000:key/b";

#[derive(Default)]
pub(super) struct ScriptedService {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: Vec<(Call, String, EncryptionContext)>,
    /// Wrapping keys by number, with the ARN of each; a rotation adds one.
    materials: Vec<(String, DataKey)>,
    aliases: HashMap<String, String>,
    denied: HashSet<(Call, String)>,
    failing: HashMap<Call, KeyServiceError>,
    corrupting: bool,
    probes: u64,
    held: bool,
    waiting: Vec<Waker>,
}

impl ScriptedService {
    pub(super) fn calls(&self) -> Vec<Call> {
        self.state.lock().calls.iter().map(|(call, ..)| *call).collect()
    }

    pub(super) fn contexts(&self) -> Vec<EncryptionContext> {
        self.state.lock().calls.iter().map(|(.., context)| context.clone()).collect()
    }

    /// How many calls there were since the last time.
    pub(super) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state.lock().calls).into_iter().map(|(call, ..)| call).collect()
    }

    pub(super) fn deny(&self, call: Call, caller: &str) {
        self.state.lock().denied.insert((call, caller.to_owned()));
    }

    pub(super) fn fail(&self, call: Call, error: KeyServiceError) {
        self.state.lock().failing.insert(call, error);
    }

    pub(super) fn refuse_all(&self, kind: Refusal) {
        for call in [Call::Generate, Call::Decrypt] {
            self.fail(call, KeyServiceError::Refused { kind, message: format!("{kind:?}") });
        }
    }

    pub(super) fn disconnect(&self) {
        for call in [Call::Generate, Call::Decrypt] {
            self.fail(
                call,
                KeyServiceError::Unreachable { message: "connection refused".into(), silent: true },
            );
        }
    }

    pub(super) fn recover(&self) {
        self.state.lock().failing.clear();
    }

    /// Answers every call with HTTP 500.
    pub(super) fn break_down(&self) {
        for call in [Call::Generate, Call::Decrypt] {
            self.fail(call, KeyServiceError::Unreachable { message: "HTTP 500".into(), silent: false });
        }
    }

    pub(super) fn probes(&self) -> u64 {
        self.state.lock().probes
    }

    pub(super) fn corrupt_decrypt(&self) {
        self.state.lock().corrupting = true;
    }

    pub(super) fn rotate(&self, key_arn: &str) {
        self.state.lock().add_material(key_arn);
    }

    pub(super) fn point_alias(&self, alias: &str, key_arn: &str) {
        self.state.lock().aliases.insert(alias.to_owned(), key_arn.to_owned());
    }

    pub(super) fn hold(&self) {
        self.state.lock().held = true;
    }

    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        state.held = false;
        state.waiting.drain(..).for_each(Waker::wake);
    }

    async fn enter(
        &self,
        call: Call,
        caller: &str,
        context: &EncryptionContext,
    ) -> Result<(), KeyServiceError> {
        self.state.lock().calls.push((call, caller.to_owned(), context.clone()));
        poll_fn(|cx| {
            let mut state = self.state.lock();
            if !state.held {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        let state = self.state.lock();
        if let Some(error) = state.failing.get(&call) {
            return Err(error.clone());
        }
        if state.denied.contains(&(call, caller.to_owned())) {
            let message = format!("User: {caller} is not authorized");
            return Err(KeyServiceError::Refused { kind: Refusal::AccessDenied, message });
        }
        Ok(())
    }
}

impl State {
    fn add_material(&mut self, key_arn: &str) -> usize {
        self.materials.push((key_arn.to_owned(), DataKey::new(&KeyBytes::generate().unwrap())));
        self.materials.len() - 1
    }
}

impl KeyService for ScriptedService {
    type Caller = String;

    async fn generate_data_key(
        &self,
        caller: &String,
        key_id: &str,
        context: &EncryptionContext,
    ) -> Result<GeneratedDataKey, KeyServiceError> {
        self.enter(Call::Generate, caller, context).await?;
        let mut state = self.state.lock();
        let key_arn = state.aliases.get(key_id).cloned().unwrap_or_else(|| key_id.to_owned());
        let newest = state.materials.iter().rposition(|(arn, _)| *arn == key_arn);
        let number = newest.unwrap_or_else(|| state.add_material(&key_arn));
        let plaintext = KeyBytes::generate().unwrap();
        let nonce = Nonce::random().unwrap();
        let mut text = *plaintext.expose();
        let tag =
            state.materials[number].1.seal_in_place(&nonce, &context.canonical_bytes(), &mut text).unwrap();
        let wrapped = [&[number as u8][..], nonce.as_bytes(), &text, &tag].concat();
        Ok(GeneratedDataKey { plaintext, wrapped, key_arn })
    }

    async fn decrypt(
        &self,
        caller: &String,
        wrapped: &[u8],
        key_arn: &str,
        context: &EncryptionContext,
    ) -> Result<DecryptedDataKey, KeyServiceError> {
        self.enter(Call::Decrypt, caller, context).await?;
        let state = self.state.lock();
        let invalid = || KeyServiceError::Refused {
            kind: Refusal::InvalidCiphertext,
            message: "invalid ciphertext".into(),
        };
        if wrapped.len() != 1 + 12 + 32 + 16 {
            return Err(invalid());
        }
        let (arn, material) = state.materials.get(usize::from(wrapped[0])).ok_or_else(invalid)?;
        let nonce = Nonce::from_bytes(wrapped[1..13].try_into().unwrap());
        let mut text: [u8; 32] = wrapped[13..45].try_into().unwrap();
        let tag = wrapped[45..].try_into().unwrap();
        if arn != key_arn || !material.open_in_place(&nonce, &context.canonical_bytes(), &mut text, &tag) {
            return Err(invalid());
        }
        if state.corrupting {
            text[0] ^= 1;
        }
        Ok(DecryptedDataKey { plaintext: KeyBytes::take(&mut text), key_arn: arn.clone() })
    }

    async fn probe(&self) -> bool {
        let silent =
            |error: &KeyServiceError| matches!(error, KeyServiceError::Unreachable { silent: true, .. });
        let mut state = self.state.lock();
        state.probes += 1;
        !state.failing.values().any(silent)
    }
}

/// Counts what the ring reports.
#[derive(Default)]
pub(super) struct UseCounter {
    counts: Mutex<HashMap<(u32, String, KeyUse), u64>>,
    ages_ms: Mutex<HashMap<u32, u64>>,
}

impl UseCounter {
    pub(super) fn count(&self, stream: u32, principal: &str, key_use: KeyUse) -> u64 {
        self.counts.lock().get(&(stream, principal.to_owned(), key_use)).copied().unwrap_or(0)
    }

    /// Of the expired key used last.
    pub(super) fn age_ms(&self, stream: u32) -> u64 {
        self.ages_ms.lock().get(&stream).copied().unwrap_or(0)
    }
}

impl KeyUseObserver for UseCounter {
    fn key_used(&self, stream: u32, principal: &str, key_use: KeyUse) {
        *self.counts.lock().entry((stream, principal.to_owned(), key_use)).or_default() += 1;
    }

    fn expired_key_used(&self, stream: u32, age_ms: u64) {
        self.ages_ms.lock().insert(stream, age_ms);
    }
}

/// Queue number `stream` with the key setting and reuse period given.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) stream: u32,
    pub(super) arn: String,
    pub(super) setting: String,
    pub(super) reuse_period_s: u32,
}

impl Queue {
    pub(super) fn new(stream: u32, setting: &str, reuse_period_s: u32) -> Self {
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:q{stream}");
        Self { stream, arn, setting: setting.to_owned(), reuse_period_s }
    }

    pub(super) fn as_ref(&self) -> QueueRef<'_> {
        QueueRef {
            stream: self.stream,
            context_arn: &self.arn,
            key_setting: &self.setting,
            reuse_period_s: self.reuse_period_s,
        }
    }
}

/// A ring in front of the service. Times are in seconds. A caller's name is its principal unless said otherwise.
pub(super) struct Rig {
    pub(super) ring: KeyRing<ScriptedService>,
    pub(super) uses: Arc<UseCounter>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::around(ScriptedService::default())
    }

    pub(super) fn around(service: ScriptedService) -> Self {
        let uses = Arc::new(UseCounter::default());
        Self { ring: KeyRing::new(service, uses.clone()), uses }
    }

    /// The same key service behind a new process.
    pub(super) fn restarted(self) -> Self {
        self.ring.service.take_calls();
        Self::around(self.ring.service)
    }

    pub(super) fn service(&self) -> &ScriptedService {
        self.ring.service()
    }

    pub(super) fn send(
        &self,
        now_s: u64,
        principal: &str,
        queue: &Queue,
    ) -> Result<Vec<u8>, KeyServiceError> {
        self.send_as(now_s, principal, principal, queue)
    }

    pub(super) fn send_as(
        &self,
        now_s: u64,
        caller: &str,
        principal: &str,
        queue: &Queue,
    ) -> Result<Vec<u8>, KeyServiceError> {
        let key =
            block_on(self.ring.sealing_key(now_s * 1_000, &caller.to_owned(), principal, queue.as_ref()))?;
        let draft = DraftMessage {
            message_id: [1; 16],
            sent_at_ms: now_s * 1_000,
            origin_stream: queue.stream,
            context_arn: &queue.arn,
            clear: b"",
            body: b"a body",
            body_md5: [2; 16],
        };
        let mut stored = Vec::new();
        key.seal(&draft, &mut stored).unwrap();
        Ok(stored)
    }

    /// Receives `stored` from `queue` and checks the body.
    pub(super) fn receive(
        &self,
        now_s: u64,
        principal: &str,
        queue: &Queue,
        stored: &[u8],
    ) -> Result<(), KeyServiceError> {
        let message = SealedMessage::parse(stored).unwrap();
        let period_s = queue.reuse_period_s;
        let key = block_on(self.ring.opening_key(
            now_s * 1_000,
            &principal.to_owned(),
            principal,
            period_s,
            &message,
        ))?;
        let mut out = Vec::new();
        let opened = key.open(&message, &mut out).unwrap();
        assert_eq!(&out[opened.body], b"a body");
        Ok(())
    }

    /// One probe; true while there is an outage.
    pub(super) fn probe(&self, now_s: u64) -> bool {
        block_on(self.ring.probe(now_s * 1_000))
    }

    /// The calls since the last time.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.service().take_calls()
    }
}

/// Whether two stored messages carry the same data key.
pub(super) fn same_data_key(one: &[u8], other: &[u8]) -> bool {
    let [one, other] = [one, other].map(|bytes| SealedMessage::parse(bytes).unwrap());
    one.wrapped_key() == other.wrapped_key()
}

/// Runs a future on this thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Looks whether a future is ready.
pub(super) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
