//! `sealq kms estimate`: what a queue's encryption costs in key service calls.

use clap::Subcommand;
use clap::builder::RangedU64ValueParser;
use sealq_crypto::CallEstimate;

use super::{Exit, data, say};

/// What to do about keys.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// KMS calls of one queue: billing-seconds / reuse-seconds * (2 * producers + consumers).
    #[command(
        after_help = "Example:\n  sealq kms estimate --billing-seconds 2678400 --reuse-seconds 300 --producers 1 --consumers 1"
    )]
    Estimate {
        /// Billing period, in seconds.
        #[arg(long, value_name = "B")]
        billing_seconds: u64,
        /// The queue's KmsDataKeyReusePeriodSeconds, 60 to 86400.
        #[arg(long, value_name = "D", value_parser = RangedU64ValueParser::<u64>::new().range(60..=86_400))]
        reuse_seconds: u64,
        /// Principals that send.
        #[arg(long, value_name = "P")]
        producers: u64,
        /// Principals that receive and do not send.
        #[arg(long, value_name = "C")]
        consumers: u64,
    },
}

/// Runs it.
pub fn run(action: &Action) -> Exit {
    let Action::Estimate { billing_seconds, reuse_seconds, producers, consumers } = *action;
    let estimate = CallEstimate {
        billing_period_s: billing_seconds,
        reuse_period_s: reuse_seconds,
        producers,
        consumers,
    };
    match estimate.calls() {
        Some(calls) => data(&format!("{calls}\n")),
        None => {
            say("sealq: the number of calls does not fit in 64 bits");
            Exit::Settings
        }
    }
}
