//! What a run staged, with the LSNs, and what may therefore be found after a crash.

use crate::record::Lease;
use crate::{Log, NewMessage};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const STREAMS: u32 = 4;
const NEVER: u64 = u64::MAX;

struct Message {
    put_lsn: u64,
    delete_lsn: u64,
    body: Vec<u8>,
    /// Visibility and receive count by the LSN of the lease.
    leases: Vec<(u64, u64, u32)>,
}

/// LSN, and the value from then on.
type CatalogChange = (u64, Option<Vec<u8>>);

#[derive(Default)]
pub(super) struct Model {
    messages: BTreeMap<(u32, u64), Message>,
    catalog: HashMap<Vec<u8>, Vec<CatalogChange>>,
    pub(super) acknowledged: u64,
}

/// Draws what happens next.
pub(super) struct Script(u64);

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    pub(super) fn run(&mut self, log: &mut Log, model: &mut Model, steps: usize) {
        for _ in 0..steps {
            if self.step(log, model).is_none() {
                return;
            }
        }
    }

    /// `None` once the log refuses.
    fn step(&mut self, log: &mut Log, model: &mut Model) -> Option<()> {
        match self.draw(100) {
            0..40 => self.put(log, model, None)?,
            40..60 => {
                if let Some((stream, sequence)) = self.pick(model) {
                    let lsn = log.put_delete(stream, sequence).ok()?;
                    model.end(stream, sequence, lsn.0);
                }
            }
            60..68 => {
                if let Some((stream, sequence)) = self.pick(model) {
                    let (visible_at_ms, receive_count) = (self.draw(1000), self.draw(5) as u32 + 1);
                    let lease =
                        Lease { stream, sequence, visible_at_ms, receive_count, first_received_at_ms: 1 };
                    let lsn = log.put_lease(lease).ok()?;
                    let message = model.messages.get_mut(&(stream, sequence))?;
                    message.leases.push((lsn.0, visible_at_ms, receive_count));
                }
            }
            68..72 => {
                if let Some(source) = self.pick(model) {
                    self.put(log, model, Some(source))?;
                }
            }
            72..74 => {
                let stream = self.draw(STREAMS.into()) as u32;
                let below = 1 + self.draw(log.next_sequence(stream));
                let lsn = log.put_purge(stream, below).ok()?;
                let doomed: Vec<u64> = model
                    .messages
                    .range((stream, 0)..(stream, below))
                    .map(|((_, sequence), _)| *sequence)
                    .collect();
                for sequence in doomed {
                    model.end(stream, sequence, lsn.0);
                }
            }
            74..78 => {
                let key = vec![b'k', self.draw(6) as u8];
                let value = vec![self.draw(256) as u8; self.draw(300) as usize];
                let lsn = log.put_catalog(&key, &value).ok()?;
                model.catalog.entry(key).or_default().push((lsn.0, Some(value)));
            }
            78..80 => {
                let key = vec![b'k', self.draw(6) as u8];
                let lsn = log.delete_catalog(&key).ok()?;
                model.catalog.entry(key).or_default().push((lsn.0, None));
            }
            80..82 => log.checkpoint().ok()?,
            _ => log.wait(Some(Duration::ZERO)).ok()?,
        }
        Some(())
    }

    fn put(&mut self, log: &mut Log, model: &mut Model, source: Option<(u32, u64)>) -> Option<()> {
        let stream = self.draw(STREAMS.into()) as u32;
        let len = match self.draw(10) {
            0 => 0,
            1 => self.draw(9000) as usize,
            _ => self.draw(900) as usize,
        };
        let body = vec![self.draw(256) as u8; len];
        let new = NewMessage { stream, source, extension: b"ext", body: &body, ..NewMessage::default() };
        let staged = log.put_message(new).ok()?;
        if let Some((stream, sequence)) = source {
            model.end(stream, sequence, staged.lsn.0);
        }
        let message = Message { put_lsn: staged.lsn.0, delete_lsn: NEVER, body, leases: Vec::new() };
        let earlier = model.messages.insert((stream, staged.sequence), message);
        assert!(earlier.is_none(), "sequence {} of stream {stream} given out twice", staged.sequence);
        Some(())
    }

    fn pick(&mut self, model: &Model) -> Option<(u32, u64)> {
        let live: Vec<_> =
            model.messages.iter().filter(|(_, m)| m.delete_lsn == NEVER).map(|(id, _)| *id).collect();
        let at = self.draw(live.len().max(1) as u64) as usize;
        live.get(at).copied()
    }
}

impl Model {
    fn end(&mut self, stream: u32, sequence: u64, lsn: u64) {
        if let Some(message) = self.messages.get_mut(&(stream, sequence)) {
            message.delete_lsn = message.delete_lsn.min(lsn);
        }
    }

    pub(super) fn check(&self, log: &Log, with_leases: bool, context: &str) {
        let mut may_live = HashMap::<u32, u64>::new();
        for ((stream, sequence), message) in &self.messages {
            let context = format!("{context}: stream {stream} sequence {sequence}");
            let put = message.put_lsn <= self.acknowledged;
            let deleted = message.delete_lsn <= self.acknowledged;
            match log.read(*stream, *sequence) {
                Ok(record) => {
                    assert!(!deleted, "{context}: deleted and back");
                    assert_eq!(record.body().unwrap_or_else(|e| panic!("{context}: {e}")), message.body);
                    assert_eq!(record.extension().unwrap(), b"ext");
                    *may_live.entry(*stream).or_default() += 1;
                    if with_leases {
                        self.check_lease(message, &record.facts(), &context);
                    }
                }
                Err(error) => {
                    assert!(!put || message.delete_lsn != NEVER, "{context}: acknowledged and lost: {error}");
                }
            }
            if put {
                assert!(log.next_sequence(*stream) > *sequence, "{context}: would be given out again");
            }
        }
        for stream in 0..STREAMS {
            let live = log.live_count(stream);
            assert_eq!(live, may_live.get(&stream).copied().unwrap_or(0), "{context}: stream {stream}");
        }
        for (key, states) in &self.catalog {
            let found = log.catalog().get(&key[..]).map(|value| value.to_vec());
            let first = states.iter().rposition(|(lsn, _)| *lsn <= self.acknowledged);
            let allowed = &states[first.unwrap_or(0)..];
            let from_nothing = first.is_none() && found.is_none();
            assert!(
                from_nothing || allowed.iter().any(|(_, state)| *state == found),
                "{context}: catalog {key:?} is {found:?}"
            );
        }
    }

    fn check_lease(&self, message: &Message, facts: &crate::MessageFacts, context: &str) {
        let first = message.leases.iter().rposition(|(lsn, ..)| *lsn <= self.acknowledged);
        let allowed = &message.leases[first.unwrap_or(0)..];
        let untouched = first.is_none() && facts.receive_count == 0;
        assert!(
            untouched
                || allowed
                    .iter()
                    .any(|(_, at, count)| (*at, *count) == (facts.visible_at_ms, facts.receive_count)),
            "{context}: lease is {facts:?}"
        );
    }
}
