//! The verifying side of Signature Version 4 against a signer written by the book, and published facts about both.

#[path = "signatures/check.rs"]
mod check;
#[path = "signatures/exchange.rs"]
mod exchange;
#[path = "signatures/published.rs"]
mod published;
#[path = "signatures/signer.rs"]
mod signer;

use exchange::Exchange;
use proptest::prelude::*;

/// Bytes of one request, its body apart from some.
const EXCHANGE_BYTES_MAX: usize = 120;
const EXCHANGES: u32 = 2_048;

proptest! {
    #![proptest_config(ProptestConfig { cases: EXCHANGES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn auth_1_what_is_signed_by_the_book_verifies_and_nothing_else(
        bytes in prop::collection::vec(any::<u8>(), 0..EXCHANGE_BYTES_MAX)
    ) {
        check::check(&Exchange::from_bytes(&bytes));
    }
}

#[test]
fn the_corpus_of_the_fuzz_target_verifies() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/canonical_request");
    let mut seeds = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        check::check(&Exchange::from_bytes(&std::fs::read(file.unwrap().path()).unwrap()));
        seeds += 1;
    }
    assert!(seeds > 10);
}
