//! The command line: what `sealq` understands, and with which code each command ends.
//!
//! Data goes to stdout, everything for people to stderr. One file per command; none of them knows another.

pub mod audit;
pub mod backup;
pub mod config;
pub mod env;
pub mod explain;
pub mod healthcheck;
pub mod inspect;
pub mod kms;
pub mod queue;
pub mod serve;
pub mod verify;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use sealq_config::{Config, ConfigError, Loaded, Overrides};

use crate::daemon::DaemonError;

/// Why a command ended. The numbers are fixed: scripts rely on them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// It did what it says.
    Done = 0,
    /// It did not.
    Failed = 1,
    /// Settings or arguments are wrong.
    Settings = 2,
    /// The data cannot be opened safely.
    Data = 3,
    /// Damage was found.
    Damage = 4,
    /// Access is denied (`explain`).
    Denied = 5,
}

impl Exit {
    /// How a command ends that the daemon's own parts failed.
    pub(crate) fn of(error: &DaemonError) -> Self {
        match error {
            error if error.is_settings() => Self::Settings,
            error if error.is_data() => Self::Data,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A message broker that speaks Amazon SQS and encrypts every message at rest.
#[derive(Parser)]
#[command(
    name = "sealq",
    version,
    after_help = "Example:\n  sealq serve &\n  eval \"$(sealq env)\"\n  aws sqs create-queue --queue-name orders"
)]
struct Cli {
    #[command(flatten)]
    sources: Sources,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where settings come from; every command takes them.
#[derive(Args, Clone, Default, Debug)]
pub struct Sources {
    /// Settings file (default: what SEALQ_CONFIG names, else ./sealq.toml if it exists).
    #[arg(long, global = true, help_heading = "Settings", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the log.
    #[arg(long, global = true, help_heading = "Settings", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Directory of root key, TLS key and credentials.
    #[arg(long, global = true, help_heading = "Settings", value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

impl Sources {
    /// The settings in force.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let overrides = Overrides { data_dir: self.data_dir.clone(), secrets_dir: self.secrets_dir.clone() };
        Config::load(self.config.as_deref(), environment(), overrides)
    }
}

/// The environment, for [`Config::load`] and [`Loaded::reload`]. What is not UTF-8 is no setting's value.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

#[derive(Subcommand)]
enum Command {
    /// Runs the broker in the foreground. Needs no configuration.
    #[command(
        after_help = "Example:\n  sealq serve --data-dir /var/lib/sealq --secrets-dir /etc/sealq/secrets"
    )]
    Serve,
    /// Prints the exports that make the aws CLI and SDKs use this broker.
    #[command(after_help = "Example:\n  eval \"$(sealq env)\"\n  sealq env --shell fish | source")]
    Env(env::Arguments),
    /// Asks whether the broker is ready. For containers without curl.
    #[command(after_help = "Example:\n  sealq healthcheck\n  sealq healthcheck --url https://127.0.0.1:9324")]
    Healthcheck(healthcheck::Arguments),
    /// Checks or shows the settings.
    #[command(subcommand, after_help = "Example:\n  sealq config check --config sealq.toml")]
    Config(config::Action),
    /// Checks every segment, frame and checkpoint on disk. Changes nothing.
    #[command(after_help = "Example:\n  sealq verify --data-dir /var/lib/sealq --json")]
    Verify(verify::Arguments),
    /// Shows stored records as they lie; never the plaintext of a sealed body.
    #[command(after_help = "Example:\n  sealq inspect --queue orders --json")]
    Inspect(inspect::Arguments),
    /// Copies log and audit log, also of a running broker. Goes on where it was interrupted; holds no key.
    #[command(after_help = "Example:\n  sealq backup /mnt/backup/sealq --data-dir /var/lib/sealq")]
    Backup(backup::Arguments),
    /// Puts a backup into an empty data directory, checking every file's digest.
    #[command(after_help = "Example:\n  sealq restore /mnt/backup/sealq --data-dir /var/lib/sealq-new")]
    Restore(backup::Arguments),
    /// Checks or prints the audit log.
    #[command(subcommand, after_help = "Example:\n  sealq audit verify --data-dir /var/lib/sealq")]
    Audit(audit::Action),
    /// Says whether a request would be allowed, and which statements decide. Ends with 5 when it is denied.
    #[command(
        after_help = "Example:\n  sealq explain --principal arn:aws:iam::000000000000:user/alice \\\n    --action sqs:SendMessage --resource arn:aws:sqs:us-east-1:000000000000:orders"
    )]
    Explain(explain::Arguments),
    /// Key service: estimates, a new root key.
    #[command(
        subcommand,
        after_help = "Example:\n  sealq kms estimate --billing-seconds 2678400 --reuse-seconds 300 --producers 1 --consumers 1"
    )]
    Kms(kms::Action),
    /// Changes a queue of the broker that runs here.
    #[command(subcommand, after_help = "Example:\n  sealq queue encrypt --queue orders")]
    Queue(queue::Action),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    // clap ends the process itself for --help (0) and for arguments that it does not understand (2).
    let cli = Cli::parse();
    let Some(command) = cli.command else {
        say(&Cli::command().render_help().to_string());
        return Exit::Done.into();
    };
    let sources = cli.sources;
    let exit = match command {
        Command::Serve => serve::run(&sources),
        Command::Env(arguments) => env::run(&sources, &arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&sources, &arguments),
        Command::Config(action) => config::run(&sources, &action),
        Command::Verify(arguments) => verify::run(&sources, &arguments),
        Command::Inspect(arguments) => inspect::run(&sources, &arguments),
        Command::Backup(arguments) => backup::run(&sources, &arguments),
        Command::Restore(arguments) => backup::run_restore(&sources, &arguments),
        Command::Audit(action) => audit::run(&sources, &action),
        Command::Explain(arguments) => explain::run(&sources, &arguments),
        Command::Kms(action) => kms::run(&sources, &action),
        Command::Queue(action) => queue::run(&sources, &action),
    };
    exit.into()
}

/// The settings, or the exit after saying why not.
pub(crate) fn settings(sources: &Sources) -> Result<Loaded, Exit> {
    sources.load().map_err(|error| {
        say_error(&error);
        Exit::Settings
    })
}

/// Runs a command that waits for the broker's answer.
pub(crate) fn wait_for(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            say_error(&error);
            Exit::Failed
        }
    }
}

/// Prints `line` for people.
pub(crate) fn say(line: &str) {
    // Nobody reads it any more; the exit code still tells.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints an error for people, with what caused it.
pub(crate) fn say_error(error: &dyn std::error::Error) {
    say(&format!("sealq: {error}"));
}

/// Prints `text` as data. `Exit::Failed` when stdout does not take it.
pub(crate) fn data(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(command: &clap::Command, path: &str, visit: &mut impl FnMut(&str, &clap::Command)) {
        visit(path, command);
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            every(inner, &format!("{path} {}", inner.get_name()), visit);
        }
    }

    #[test]
    fn every_command_has_an_example_and_takes_the_sources() {
        let mut command = Cli::command();
        command.build();
        every(&command, "sealq", &mut |path, command| {
            let help = command.clone().render_help().to_string();
            assert!(help.contains("Example:"), "{path}");
            for flag in ["--config", "--data-dir", "--secrets-dir"] {
                assert!(help.contains(flag), "{path} {flag}");
            }
        });
    }

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sources_may_stand_before_and_after_the_command() {
        for line in [["sealq", "--data-dir", "d", "serve"], ["sealq", "serve", "--data-dir", "d"]] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.sources.data_dir, Some(PathBuf::from("d")));
        }
    }
}
