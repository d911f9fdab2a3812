//! What clients were told, and what may therefore be found.

use std::collections::{BTreeMap, HashMap, HashSet};

use sealq_storage::Log;

/// An id that a client gave its message, by way of the sealed body.
pub(crate) type Id = [u8; 16];

/// How sure a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    No,
    /// Asked for and not answered.
    Maybe,
    Yes,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) stream: u32,
    pub(crate) sealed: Vec<u8>,
    pub(crate) sent: Told,
    pub(crate) deleted: Told,
    pub(crate) dedup: Option<(u64, u64)>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) messages: HashMap<Id, Message>,
    /// Newest message known to be accepted under a deduplication key, and when.
    pub(crate) accepted: HashMap<u64, (Id, u64)>,
    pub(crate) catalog: BTreeMap<u8, CatalogEntry>,
}

/// The value last acknowledged, and those asked for since.
type CatalogEntry = (Option<Vec<u8>>, Vec<Vec<u8>>);

/// The id within a sealed body.
pub(crate) fn id_of(sealed: &[u8]) -> Id {
    *sealq_crypto::SealedMessage::parse(sealed).unwrap().message_id()
}

impl Ledger {
    /// Holds everything that is stored against everything that was answered. `targets`: where messages of a stream may
    /// have been moved to.
    pub(crate) fn check(&self, log: &Log, streams: &[u32], targets: impl Fn(u32) -> Vec<u32>) {
        let mut found = HashSet::new();
        for stream in streams {
            let mut from = 0;
            let mut live = 0;
            while let Some(facts) = log.next_live(*stream, from) {
                from = facts.sequence + 1;
                live += 1;
                let record = log.read(*stream, facts.sequence).unwrap();
                let body = record.body().unwrap();
                let id = id_of(body);
                let message = self.messages.get(&id).unwrap_or_else(|| panic!("nobody sent {id:?}"));
                assert_eq!(body, message.sealed, "the sealed body of {id:?} has changed");
                assert!(found.insert(id), "{id:?} is there twice");
                assert_ne!(message.deleted, Told::Yes, "{id:?} was deleted and is back in stream {stream}");
                assert_ne!(message.sent, Told::No, "{id:?} was refused as a duplicate and is there");
                assert!(
                    message.stream == *stream || targets(message.stream).contains(stream),
                    "{id:?} of stream {} is in stream {stream}",
                    message.stream
                );
            }
            assert_eq!(log.live_count(*stream), live, "count of stream {stream}");
        }
        for (id, message) in &self.messages {
            let must_be_there = message.sent == Told::Yes && message.deleted == Told::No;
            assert!(!must_be_there || found.contains(id), "{id:?} was acknowledged and is lost: {message:?}");
        }
        for (key, (told, asked)) in &self.catalog {
            let value = log.catalog().get(&[b'k', *key][..]).map(|value| value.to_vec());
            assert!(
                value == *told || value.is_some_and(|value| asked.contains(&value)),
                "catalog entry {key} is neither what was acknowledged nor what was asked for since"
            );
        }
    }
}
