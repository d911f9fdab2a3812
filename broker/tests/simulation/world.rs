//! One run: a broker's shard on a simulated disk, its clients, and the faults.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sealq_broker::engine::Engine;
use sealq_broker::engine::command::{
    Command, Delivery, Effect, Outcome, Receipt, ReceiveRequest, RedriveRoute, ReplyToken, SendItem,
    VisibilityChange,
};
use sealq_broker::engine::dedup::DEDUP_WINDOW_MS;
use sealq_broker::engine::gauges::QueueGauges;
use sealq_broker::engine::queue::{DeadLetter, QueueRules};
use sealq_broker::extension::Extension;
use sealq_crypto::{DraftMessage, store_plain};
use sealq_storage::disk::SimDisk;
use sealq_storage::{IoChoice, Log, LogOptions, NewMessage, OpenError};

use crate::ledger::{Id, Ledger, Message, Told, id_of};

const STANDARD: u32 = 1;
const FIFO: u32 = 2;
const DEAD: u32 = 3;
const STREAMS: [u32; 3] = [STANDARD, FIFO, DEAD];
const MAX_RECEIVE_COUNT: u32 = 2;
const SEGMENT_BYTES: u64 = 64 << 10;
const RETENTION_MS: u64 = 14 * 24 * 3_600_000;
/// What the simulated disk fails with.
const EIO: i32 = 5;
const HOUR_MS: u64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Token(u64);

impl ReplyToken for Token {
    fn is_abandoned(&self) -> bool {
        false
    }
}

/// What was asked for and is not answered yet.
enum Asked {
    Send(Vec<(Id, Option<u64>)>),
    Receive(u32),
    /// Whether the message was there when its deletion was asked for.
    Delete(Vec<Option<Id>>),
    Purge(Vec<Id>),
    Catalog(u8, Vec<u8>),
    Other,
}

/// How often what happened.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    pub(crate) sent: u64,
    pub(crate) deleted: u64,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) moved: u64,
    pub(crate) restarts: u64,
    pub(crate) power_cuts: u64,
    pub(crate) failed_writes: u64,
    pub(crate) full_disks: u64,
    pub(crate) clock_jumps: u64,
}

impl Happened {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.deleted += other.deleted;
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.moved += other.moved;
        self.restarts += other.restarts;
        self.power_cuts += other.power_cuts;
        self.failed_writes += other.failed_writes;
        self.full_disks += other.full_disks;
        self.clock_jumps += other.clock_jumps;
    }
}

pub(crate) struct World {
    random: u64,
    disk: SimDisk,
    log: Option<Log>,
    engine: Engine<Token>,
    gauges: HashMap<u32, Arc<QueueGauges>>,
    now_ms: u64,
    next_id: u64,
    next_token: u64,
    asked: HashMap<Token, Asked>,
    receipts: Vec<(u32, Receipt)>,
    ledger: Ledger,
    happened: Happened,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            disk: SimDisk::new(seed),
            log: None,
            engine: Engine::new(|| [9; 16]),
            gauges: HashMap::new(),
            now_ms: 1_700_000_000_000,
            next_id: 1,
            next_token: 1,
            asked: HashMap::new(),
            receipts: Vec::new(),
            ledger: Ledger::default(),
            happened: Happened::default(),
        };
        world.open();
        world
    }

    pub(crate) fn run(mut self, steps: usize) -> Happened {
        for _ in 0..steps {
            self.step();
            if self.disk.has_crashed() {
                self.happened.power_cuts += 1;
                self.restart(true);
            } else if self.log().poisoned().is_some() {
                self.happened.failed_writes += 1;
                let power = self.draw(2) == 0;
                self.restart(power);
            }
        }
        self.disk.set_capacity(None);
        self.disk.crash_at(u64::MAX);
        self.disk.fail_at(u64::MAX);
        self.settle_down();
        if self.log().poisoned().is_some() {
            self.restart(false);
            self.settle_down();
        }
        self.check_counts();
        self.restart(true);
        self.happened
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn open(&mut self) {
        let options = LogOptions {
            dir: std::path::PathBuf::new(),
            segment_bytes: SEGMENT_BYTES,
            io: IoChoice::Auto,
            free_space_min_bytes: 0,
            tail_cache_bytes: 32 << 10,
            shard: 0,
        };
        let (mut log, report) = loop {
            match Log::open_on(options.clone(), Arc::new(self.disk.clone())) {
                // The power went while it was opening.
                _ if self.disk.has_crashed() => self.disk = self.disk.after_crash(),
                // Full to the last byte: somebody has to make room.
                Err(OpenError::NoSpace { .. }) => self.disk.set_capacity(None),
                // An operation of the start itself failed: the start is refused, and tried again.
                Err(OpenError::Io { source, .. }) if source.raw_os_error() == Some(EIO) => {}
                opened => break opened.unwrap(),
            }
        };
        assert_eq!(report.quarantined_records, 0, "{report:?}");
        assert!(report.lost.is_empty() && report.misplaced_segments.is_empty(), "{report:?}");
        self.engine = Engine::new(|| [9; 16]);
        for stream in STREAMS {
            let gauges = Arc::<QueueGauges>::default();
            self.engine.restore_queue(self.now_ms, stream, rules(stream), gauges.clone(), &mut log);
            self.gauges.insert(stream, gauges);
        }
        self.ledger.check(
            &log,
            &STREAMS,
            |stream| if stream == STANDARD { vec![DEAD] } else { vec![STANDARD] },
        );
        self.log = Some(log);
    }

    /// Sends one message and receives while nothing can be read: what was delivered, and what is left.
    pub(crate) fn kept_over_a_read_error(&mut self) -> (usize, u64) {
        let log = self.log.as_mut().unwrap();
        let message = NewMessage {
            stream: STANDARD,
            sent_at_ms: self.now_ms,
            visible_at_ms: self.now_ms,
            body: b"there",
            ..NewMessage::default()
        };
        log.put_message(message).unwrap();
        log.flush().unwrap();
        // More than the cache of recent groups holds lies behind it, in the same segment. Each entry is written twice.
        for _ in 0..2 {
            log.put_catalog(b"much", &[0; 9 << 10]).unwrap();
            log.flush().unwrap();
        }
        log.put_catalog(b"the last", b"write").unwrap();
        self.disk.crash_at(self.disk.operations() + 1);
        assert!(log.flush().is_err());
        let request = ReceiveRequest {
            max: 10,
            visibility_ms: None,
            wait_ms: Some(0),
            skip: Vec::new(),
            attempt_id: None,
            waiter_id: 1,
        };
        let mut effects = Vec::new();
        let command = Command::Receive { stream: STANDARD, request, reply: Token(0) };
        // What it knows of the message it learned after a start, like any other.
        self.engine = Engine::new(|| [9; 16]);
        self.engine.restore_queue(self.now_ms, STANDARD, rules(STANDARD), Arc::default(), log);
        self.engine.handle(self.now_ms, command, log, &mut effects);
        let delivered = effects.into_iter().map(|Effect::Reply(_, outcome)| match outcome {
            Outcome::Received(deliveries) => deliveries.len(),
            _ => 0,
        });
        (delivered.sum(), log.live_count(STANDARD))
    }

    /// What was not answered is never answered; the disk keeps what it keeps.
    fn restart(&mut self, power_cut: bool) {
        self.happened.restarts += 1;
        self.log = None;
        self.asked.clear();
        self.receipts.clear();
        self.disk = if power_cut { self.disk.after_crash() } else { self.disk.fork() };
        self.disk.set_capacity(None);
        self.open();
    }

    fn step(&mut self) {
        match self.draw(200) {
            0 => {
                self.settle_down();
                if self.log().poisoned().is_none() && !self.disk.has_crashed() {
                    self.happened.restarts += 1;
                    let closed = self.log.take().unwrap().close();
                    if closed.is_err() || self.disk.has_crashed() {
                        self.disk = self.disk.after_crash();
                    }
                    self.asked.clear();
                    self.receipts.clear();
                    self.open();
                }
            }
            1..5 => {
                let at = self.disk.operations() + 1 + self.draw(30);
                self.disk.crash_at(at);
            }
            5..8 => {
                let at = self.disk.operations() + 1 + self.draw(30);
                self.disk.fail_at(at);
            }
            8..12 => {
                let room = self.draw(4) * SEGMENT_BYTES;
                self.happened.full_disks += 1;
                let used: u64 = self.log().stats().disk_bytes;
                self.disk.set_capacity(Some(used + room));
            }
            12..16 => self.disk.set_capacity(None),
            16..20 => {
                self.happened.clock_jumps += 1;
                let by = self.draw(2 * HOUR_MS);
                self.now_ms = if self.draw(2) == 0 { self.now_ms + by } else { self.now_ms - by };
            }
            _ => {}
        }
        let now_ms = self.now_ms;
        // A key that the clock has passed may be forgotten for good, even if the clock is set back.
        self.ledger.accepted.retain(|_, (_, accepted_at)| *accepted_at + DEDUP_WINDOW_MS > now_ms);
        self.now_ms += self.draw(4_000);
        self.round();
    }

    /// One round of the shard: commands, as far as the disk got, answers.
    fn round(&mut self) {
        let mut effects = Vec::new();
        let Self { engine, log, now_ms, .. } = self;
        engine.tick(*now_ms, log.as_mut().unwrap(), &mut effects);
        for _ in 0..self.draw(4) {
            if self.disk.has_crashed() {
                break;
            }
            let command = self.command();
            let Self { engine, log, now_ms, .. } = self;
            engine.handle(*now_ms, command, log.as_mut().unwrap(), &mut effects);
        }
        if self.draw(3) > 0 {
            // An error has poisoned the log: the caller sees that, as the shard does.
            let _ = self.log().wait(Some(Duration::ZERO));
        }
        self.answer(effects);
    }

    fn answer(&mut self, mut effects: Vec<Effect<Token>>) {
        let Self { engine, log, now_ms, .. } = self;
        let log = log.as_mut().unwrap();
        engine.durable(*now_ms, log.durable_lsn(), log, &mut effects);
        engine.settle(*now_ms, log, &mut effects);
        if log.poisoned().is_some() {
            engine.fail_pending(&mut effects);
        }
        for Effect::Reply(token, outcome) in effects {
            let asked = self.asked.remove(&token).unwrap();
            self.told(asked, outcome);
        }
    }

    /// Until everything is answered or the log takes nothing.
    fn settle_down(&mut self) {
        for _ in 0..1000 {
            if self.engine.idle() && self.log().staged_bytes() == 0 {
                break;
            }
            let failed = self.log().wait(Some(Duration::ZERO)).is_err();
            self.answer(Vec::new());
            if failed {
                break;
            }
        }
    }

    fn token(&mut self, asked: Asked) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.asked.insert(token, asked);
        token
    }

    fn command(&mut self) -> Command<Token> {
        match self.draw(100) {
            0..35 => self.send(),
            35..65 => {
                let stream = STREAMS[self.draw(3) as usize];
                let visibility_ms = [None, Some(0), Some(1_000), Some(30_000)][self.draw(4) as usize];
                let request = ReceiveRequest {
                    max: 1 + self.draw(10) as usize,
                    visibility_ms,
                    wait_ms: Some(self.draw(2) * 3_000),
                    skip: vec![],
                    attempt_id: None,
                    waiter_id: self.next_token,
                };
                let reply = self.token(Asked::Receive(stream));
                Command::Receive { stream, request, reply }
            }
            65..88 => self.delete(),
            88..92 => match self.pick_receipts() {
                Some((stream, receipts)) => {
                    let timeout_ms = self.draw(20_000);
                    let changes = receipts
                        .into_iter()
                        .map(|receipt| VisibilityChange { receipt, timeout_ms })
                        .collect();
                    let reply = self.token(Asked::Other);
                    Command::ChangeVisibility { stream, changes, reply }
                }
                None => self.send(),
            },
            92..94 => {
                let reply = self.token(Asked::Other);
                Command::Redrive { source: DEAD, route: RedriveRoute::Fixed(STANDARD), max: 5, reply }
            }
            94 if self.draw(6) == 0 => {
                let stream = [STANDARD, DEAD][self.draw(2) as usize];
                let doomed = self.stored_ids(stream);
                for id in &doomed {
                    let message = self.ledger.messages.get_mut(id).unwrap();
                    if message.deleted == Told::No {
                        message.deleted = Told::Maybe;
                    }
                }
                let reply = self.token(Asked::Purge(doomed));
                Command::Purge { stream, puts: vec![], reply }
            }
            _ => {
                let key = self.draw(4) as u8;
                let value = self.next_token.to_le_bytes().repeat(1 + self.draw(60) as usize);
                self.ledger.catalog.entry(key).or_default().1.push(value.clone());
                let reply = self.token(Asked::Catalog(key, value.clone()));
                Command::WriteCatalog { puts: vec![(vec![b'k', key], value)], deletes: vec![], reply }
            }
        }
    }

    fn send(&mut self) -> Command<Token> {
        let stream = [STANDARD, FIFO][self.draw(2) as usize];
        let mut items = Vec::new();
        let mut sent = Vec::new();
        for _ in 0..1 + self.draw(3) {
            let id = u128::from(self.next_id).to_le_bytes();
            self.next_id += 1;
            let len = [0, 40, 900, 6000][self.draw(4) as usize];
            let body = vec![id[0]; len];
            let mut sealed = Vec::new();
            let draft = DraftMessage {
                message_id: id,
                sent_at_ms: self.now_ms,
                origin_stream: stream,
                context_arn: "",
                clear: b"",
                body: &body,
                body_md5: [0; 16],
            };
            store_plain(&draft, &mut sealed).unwrap();
            // Some are repetitions.
            let key = (stream == FIFO).then(|| self.next_id / 4 - self.draw(3).min(self.next_id / 4));
            let dedup_key = key.map(|key| u128::from(key).to_le_bytes());
            let mut extension = Vec::new();
            Extension { dedup_key, ..Extension::default() }.encode(&mut extension);
            let delay_ms = if stream == FIFO { 0 } else { self.draw(2) * self.draw(5_000) };
            let dedup = key.map(|key| (key, self.now_ms));
            let message =
                Message { stream, sealed: sealed.clone(), sent: Told::Maybe, deleted: Told::No, dedup };
            self.ledger.messages.insert(id, message);
            items.push(SendItem {
                sealed,
                extension,
                message_id: id,
                sent_at_ms: self.now_ms,
                visible_at_ms: self.now_ms + delay_ms,
                group_hash: if stream == FIFO { 1 + self.draw(3) } else { 0 },
                dedup_key,
                body_bytes: len as u64,
            });
            sent.push((id, key));
        }
        let reply = self.token(Asked::Send(sent));
        Command::Send { stream, items, reply }
    }

    fn pick_receipts(&mut self) -> Option<(u32, Vec<Receipt>)> {
        let count = self.receipts.len().max(1) as u64;
        let at = self.draw(count) as usize;
        let (stream, first) = self.receipts.get(at).copied()?;
        let others = self.receipts.iter().rev().filter(|(s, r)| *s == stream && r.sequence != first.sequence);
        Some((stream, std::iter::once(first).chain(others.map(|(_, r)| *r).take(2)).collect()))
    }

    fn delete(&mut self) -> Command<Token> {
        let Some((stream, receipts)) = self.pick_receipts() else { return self.send() };
        let mut doomed = Vec::new();
        for receipt in &receipts {
            let id =
                self.log().read(stream, receipt.sequence).ok().map(|record| id_of(record.body().unwrap()));
            if let Some(id) = id {
                let message = self.ledger.messages.get_mut(&id).unwrap();
                if message.deleted == Told::No {
                    message.deleted = Told::Maybe;
                }
            }
            doomed.push(id);
        }
        let reply = self.token(Asked::Delete(doomed));
        Command::Delete { stream, receipts, reply }
    }

    fn stored_ids(&mut self, stream: u32) -> Vec<Id> {
        let log = self.log();
        let mut ids = Vec::new();
        let mut from = 0;
        while let Some(facts) = log.next_live(stream, from) {
            from = facts.sequence + 1;
            ids.push(id_of(log.read(stream, facts.sequence).unwrap().body().unwrap()));
        }
        ids
    }

    fn told(&mut self, asked: Asked, outcome: Outcome) {
        match (asked, outcome) {
            (Asked::Send(sent), Outcome::Sent(answers)) => {
                for ((id, key), answer) in sent.into_iter().zip(answers) {
                    self.told_sent(id, key, answer.message_id);
                }
            }
            (Asked::Receive(stream), Outcome::Received(deliveries)) => {
                self.told_received(stream, &deliveries)
            }
            (Asked::Delete(doomed), Outcome::Settled(settled)) => {
                for (id, result) in doomed.into_iter().zip(settled) {
                    let Some(message) = id.and_then(|id| self.ledger.messages.get_mut(&id)) else { continue };
                    if result.is_ok() {
                        message.deleted = Told::Yes;
                        self.happened.deleted += 1;
                    }
                }
            }
            (Asked::Purge(doomed), Outcome::Stored) => {
                for id in doomed {
                    self.ledger.messages.get_mut(&id).unwrap().deleted = Told::Yes;
                }
            }
            (Asked::Catalog(key, value), Outcome::Stored) => {
                let (told, asked) = self.ledger.catalog.entry(key).or_default();
                if let Some(at) = asked.iter().position(|other| *other == value) {
                    asked.drain(..=at);
                }
                *told = Some(value);
            }
            // Refused for want of space, or never to be known.
            _ => {}
        }
    }

    fn told_sent(&mut self, id: Id, key: Option<u64>, answered: Id) {
        self.happened.sent += 1;
        if let Some(key) = key {
            let asked_at = self.ledger.messages[&id].dedup.unwrap().1;
            if let Some((original, accepted_at)) = self.ledger.accepted.get(&key).copied()
                && (accepted_at..accepted_at + DEDUP_WINDOW_MS).contains(&asked_at)
            {
                assert_eq!(answered, original, "a repetition of key {key} was accepted");
            }
            if answered != id {
                self.happened.duplicates += 1;
                self.ledger.messages.get_mut(&id).unwrap().sent = Told::No;
                let original = self.ledger.messages.get_mut(&answered).unwrap();
                assert_eq!(original.dedup.map(|(key, _)| key), Some(key));
                original.sent = Told::Yes;
                let accepted_at = original.dedup.unwrap().1;
                self.ledger.accepted.insert(key, (answered, accepted_at));
                return;
            }
            self.ledger.accepted.insert(key, (id, asked_at));
        }
        assert_eq!(answered, id);
        self.ledger.messages.get_mut(&id).unwrap().sent = Told::Yes;
    }

    fn told_received(&mut self, stream: u32, deliveries: &[Delivery]) {
        for (at, delivery) in deliveries.iter().enumerate() {
            self.happened.received += 1;
            let body = delivery.record.body().unwrap();
            let message = &self.ledger.messages[&id_of(body)];
            assert_eq!(body, message.sealed);
            assert_ne!(message.deleted, Told::Yes, "a deleted message was delivered");
            assert_ne!(message.sent, Told::No, "a refused duplicate was delivered");
            self.happened.moved += u64::from(stream == DEAD);
            if stream == FIFO {
                self.check_order(&deliveries[..at], delivery);
            }
            let receipt = Receipt { sequence: delivery.sequence, receive_count: delivery.receive_count };
            self.receipts.push((stream, receipt));
        }
        let excess = self.receipts.len().saturating_sub(200);
        self.receipts.drain(..excess);
    }

    /// Everything before `delivery` in its group is gone or came with it.
    fn check_order(&mut self, before: &[Delivery], delivery: &Delivery) {
        let log = self.log();
        let group = delivery.record.facts().group_hash;
        let mut from = 0;
        while let Some(facts) = log.next_live(FIFO, from).filter(|facts| facts.sequence < delivery.sequence) {
            from = facts.sequence + 1;
            assert!(
                facts.group_hash != group || before.iter().any(|other| other.sequence == facts.sequence),
                "{} of group {group} was delivered before {}",
                delivery.sequence,
                facts.sequence
            );
        }
    }

    fn check_counts(&mut self) {
        self.answer(Vec::new());
        for stream in STREAMS {
            let gauges = &self.gauges[&stream];
            let counted: u64 =
                [&gauges.visible, &gauges.not_visible, &gauges.delayed].map(QueueGauges::get).iter().sum();
            let live = self.log.as_ref().unwrap().live_count(stream);
            assert_eq!(counted, live, "counts of stream {stream}");
        }
    }
}

fn rules(stream: u32) -> QueueRules {
    QueueRules {
        arn: format!("arn:aws:sqs:us-east-1:000000000000:q{stream}").into(),
        fifo: stream == FIFO,
        delay_ms: 0,
        visibility_ms: 5_000,
        retention_ms: RETENTION_MS,
        wait_ms: 0,
        dead_letter: (stream == STANDARD)
            .then_some(DeadLetter { stream: DEAD, max_receive_count: MAX_RECEIVE_COUNT }),
        is_dead_letter_target: stream == DEAD,
    }
}
