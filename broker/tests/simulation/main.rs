//! Engine, log, faulty disk and clock in one deterministic run: everything that happens follows from a seed.
//!
//! Clients send, receive, delete, purge and redrive while the power goes, writes fail, the disk fills up and the clock
//! jumps. After every restart, and at the end, the ledger of what was answered is held against what is there.
//!
//! - `SEALQ_SIMULATION_SEEDS=5000 cargo test -p sealq-broker --test simulation` runs so many seeds.
//! - `SEALQ_SIMULATION_SEED=77 cargo test -p sealq-broker --test simulation` runs one, as the failure of it printed.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod ledger;
mod world;

use world::World;

/// Enough to meet every fault many times; thousands are for the hand.
const SEEDS: u64 = 60;
const STEPS: usize = 400;

/// Prints how to run the seed again when its run panics.
struct Again(u64);

impl Drop for Again {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("again: SEALQ_SIMULATION_SEED={} cargo test -p sealq-broker --test simulation", self.0);
        }
    }
}

#[test]
fn a_message_that_the_disk_does_not_read_now_is_kept_for_later() {
    let mut world = World::new(1);
    assert_eq!(world.kept_over_a_read_error(), (0, 1));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn what_was_answered_holds_whatever_the_disk_and_the_clock_do() {
    if let Some(seed) = number("SEALQ_SIMULATION_SEED") {
        let _again = Again(seed);
        tracing_subscriber::fmt().init();
        println!("{:?}", World::new(seed).run(STEPS));
        return;
    }
    let mut total = world::Happened::default();
    for seed in 0..number("SEALQ_SIMULATION_SEEDS").unwrap_or(SEEDS) {
        let _again = Again(seed);
        total.add(&World::new(seed).run(STEPS));
    }
    println!("{total:?}");
    assert!(
        total.power_cuts > 20 && total.failed_writes > 20 && total.full_disks > 20 && total.clock_jumps > 20,
        "hardly anything happened: {total:?}"
    );
    assert!(
        total.sent > 2000 && total.deleted > 500 && total.moved > 50 && total.duplicates > 20,
        "{total:?}"
    );
}
