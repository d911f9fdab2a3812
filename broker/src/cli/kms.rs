//! `sealq kms`: what a queue's encryption costs in key service calls, and a new root key.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};
use sealq_config::Config;
use sealq_crypto::CallEstimate;
use sealq_storage::OpenError;

use super::{Exit, Sources, data, say, say_error, settings, wait_for};
use crate::control::{self, Order};
use crate::daemon::{DaemonError, stopped};
use crate::first_start::FirstStartError;
use crate::first_start::root_key_file::{Protection, read_passphrase};
use crate::first_start::secret_file::Readers;

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
    /// Makes a new root key and seals under it what hangs on it; messages are not touched. Also while the broker runs.
    ///
    /// Backups taken before need the root key of their time: copy it to where they are kept first.
    #[command(
        after_help = "Example:\n  sealq kms rotate-root\n  sealq kms rotate-root --passphrase-file /etc/sealq/passphrase"
    )]
    RotateRoot(RotateRoot),
}

/// What protects the new root key; by default what protects the present one.
#[derive(Args, Debug)]
pub struct RotateRoot {
    /// The new root key opens with the passphrase in this file (0600) only.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// The new root key needs no passphrase.
    #[arg(long, conflicts_with = "passphrase_file")]
    no_passphrase: bool,
}

/// Runs it.
pub fn run(sources: &Sources, action: &Action) -> Exit {
    match action {
        Action::Estimate { .. } => estimate(action),
        Action::RotateRoot(arguments) => match settings(sources) {
            Ok(loaded) => rotate_root(&loaded.config, arguments),
            Err(exit) => exit,
        },
    }
}

fn rotate_root(config: &Config, arguments: &RotateRoot) -> Exit {
    let protection = match protection(arguments) {
        Ok(protection) => protection,
        Err(error) => {
            say_error(&error);
            return Exit::Settings;
        }
    };
    wait_for(async {
        match control::ask(&config.data_dir, &Order::RotateRoot(protection.clone())).await {
            Ok(Some(Ok(done))) => rotated(config, arguments, &done),
            Ok(Some(Err(refused))) => {
                say(&format!("sealq: {refused}"));
                Exit::Failed
            }
            Ok(None) => rotate_stopped(config, arguments, protection).await,
            Err(error) => {
                say_error(&error);
                Exit::Failed
            }
        }
    })
}

async fn rotate_stopped(config: &Config, arguments: &RotateRoot, protection: Protection) -> Exit {
    // What root writes there could not be opened by a broker that is not root.
    let own = rustix::process::geteuid().as_raw();
    if let Ok(directory) = std::fs::metadata(&config.data_dir)
        && directory.uid() != own
    {
        let (data_dir, owner) = (config.data_dir.display(), directory.uid());
        say(&format!("sealq: {data_dir} belongs to user {owner}: run this as that user, as the broker runs"));
        return Exit::Failed;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match stopped::rotate_root(config, protection, "sealq kms rotate-root").await {
        Ok(done) => rotated(config, arguments, &done.to_string()),
        Err(error) => {
            say_error(&error);
            if matches!(error, DaemonError::Log(OpenError::Locked { .. })) {
                say(
                    "A broker that runs on it cannot be reached from here: run this where it runs, in its container",
                );
            }
            Exit::of(&error)
        }
    }
}

fn rotated(config: &Config, arguments: &RotateRoot, done: &str) -> Exit {
    say(&format!(
        "{done}. Backups taken before need the root key before: only copies that you made of {} open them",
        config.root_key_file().display()
    ));
    if let Some(file) = &arguments.passphrase_file
        && !is_set(config, file)
    {
        say(&format!(
            "The broker needs the passphrase at its next start: set kms.embedded.passphrase_file to {}, or give it as \
             SEALQ_KMS__EMBEDDED__PASSPHRASE or as the credential root-key-passphrase",
            std::path::absolute(file).unwrap_or_else(|_| file.clone()).display()
        ));
    }
    Exit::Done
}

fn is_set(config: &Config, file: &Path) -> bool {
    let set = &config.kms.embedded.passphrase_file;
    set.canonicalize().is_ok_and(|set| file.canonicalize().is_ok_and(|file| file == set))
}

fn protection(arguments: &RotateRoot) -> Result<Protection, FirstStartError> {
    match &arguments.passphrase_file {
        Some(file) => read_passphrase(file, Readers::Owner).map(Protection::Passphrase),
        None if arguments.no_passphrase => Ok(Protection::None),
        None => Ok(Protection::AsBefore),
    }
}

fn estimate(action: &Action) -> Exit {
    let Action::Estimate { billing_seconds, reuse_seconds, producers, consumers } = *action else {
        return Exit::Settings;
    };
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
