//! The fuzz targets without a fuzzer: every input of their corpora, random changes of them, and random bytes.

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[expect(unreachable_pub, reason = "it is a library of its own")]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;
#[expect(unreachable_pub, reason = "it is the fuzz crate's")]
#[path = "../../fuzz/src/receipt_handle.rs"]
mod receipt_handle;
#[expect(unreachable_pub, reason = "it is the fuzz crate's")]
#[path = "../../fuzz/src/session_token.rs"]
mod session_token;

const CASES: u32 = 1000;
const CHANGES_MAX: usize = 8;
const RANDOM_BYTES_MAX: usize = 200;

/// A change of one place: bytes put in place of others.
type Change = (prop::sample::Index, usize, Vec<u8>);

fn changed(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut input = seed.to_vec();
    for (place, removed, put) in changes {
        let at = place.index(input.len() + 1);
        let end = (at + removed).min(input.len());
        input.splice(at..end, put.iter().copied());
    }
    input
}

#[test]
fn corpora_and_what_is_near_them_break_nothing() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let here: [fuzz::Target; 2] =
        [("receipt_handle", receipt_handle::receipt_handle), ("session_token", session_token::session_token)];
    for (name, target) in fuzz::TARGETS.iter().chain(&here) {
        let files = std::fs::read_dir(corpora.join(name)).unwrap();
        let mut seeds: Vec<Vec<u8>> =
            files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name} has a corpus");
        seeds.sort();
        for seed in &seeds {
            target(seed);
        }
        let change = (any::<prop::sample::Index>(), 0..4usize, prop::collection::vec(any::<u8>(), 0..5));
        let near = (prop::sample::select(seeds), prop::collection::vec(change, 1..CHANGES_MAX))
            .prop_map(|(seed, changes)| changed(&seed, &changes));
        let input = prop_oneof![3 => near, 1 => prop::collection::vec(any::<u8>(), 0..RANDOM_BYTES_MAX)];
        let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
        let run = TestRunner::new(config).run(&input, |input| {
            target(&input);
            Ok(())
        });
        assert!(run.is_ok(), "{name}: {run:?}");
    }
}
