//! `sealq serve`: prepares the process, runs the daemon, says how it ended.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask,
};
use sd_notify::NotifyState;
use sealq_config::Loaded;
use tracing::warn;

use super::{Exit, Sources, env, say, say_error, settings};
use crate::announcement::Announcement;
use crate::logging;

/// Files beside connections: listeners, log, logging, the runtime's own.
const OTHER_FILES: u64 = 100;

/// Runs the daemon until it is told to stop.
pub fn run(sources: &Sources) -> Exit {
    let started = Instant::now();
    let loaded = match settings(sources) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if let Err(error) = logging::start() {
        say_error(&error);
        return Exit::Settings;
    }
    harden();
    warn_of_few_files(loaded.config.limits.connections);
    for variable in &loaded.ignored_variables {
        warn!(variable, "an environment variable names no setting and is ignored");
    }
    let env_command = env_command(sources, &loaded);
    let announce = move |announcement: Announcement| {
        say(&ready_lines(started.elapsed(), announcement, &env_command));
        notify(NotifyState::Ready);
    };
    let ended = crate::daemon::run(loaded, Box::new(announce));
    notify(NotifyState::Stopping);
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            say_error(&error);
            Exit::of(&error)
        }
    }
}

/// Tells systemd, where it wants to know.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "systemd cannot be told");
    }
}

/// How `sealq env` is called to find this broker again: as this process was called.
fn env_command(sources: &Sources, loaded: &Loaded) -> EnvCommand {
    let program = std::env::args_os().next().unwrap_or_else(|| "sealq".into());
    let mut words = vec![program.to_string_lossy().into_owned(), "env".to_owned()];
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if let Some(config) = &sources.config {
        words.extend(["--config".to_owned(), absolute(config).display().to_string()]);
    }
    if let Some(secrets_dir) = &sources.secrets_dir {
        words.extend(["--secrets-dir".to_owned(), absolute(secrets_dir).display().to_string()]);
    }
    EnvCommand {
        words,
        public_url: loaded.config.listen.public_url.clone(),
        fixed: env::endpoint(&loaded.config),
    }
}

struct EnvCommand {
    words: Vec<String>,
    public_url: String,
    /// The endpoint that `sealq env` finds by itself.
    fixed: Option<String>,
}

/// The line `ready in N ms`, and three to paste.
fn ready_lines(took: Duration, announcement: Announcement, command: &EnvCommand) -> String {
    let Announcement { https, http, metrics } = announcement;
    let url = |scheme: &'static str| move |address: SocketAddr| format!("{scheme}://{address}");
    let listeners: Vec<String> = [
        https.map(url("https")),
        http.map(url("http")),
        metrics.map(|address| format!("http://{address}/metrics")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let mut words: Vec<_> = command.words.iter().map(|word| env::word_sh(word)).collect();
    if command.fixed.is_none() && command.public_url.is_empty() {
        let first = https.map(|address| ("https", address)).or(http.map(|address| ("http", address)));
        if let Some((scheme, address)) = first {
            words.extend(["--endpoint".to_owned(), format!("{scheme}://{}", env::reachable(address))]);
        }
    }
    // The first version of the aws CLI takes its SQS endpoint from a table of its own, whatever the environment says,
    // unless it is given on the command line.
    format!(
        "ready in {} ms  {}\n\n  eval \"$({})\"\n  \
         sqs() {{ aws sqs --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"; }}; queue=$(sqs create-queue --queue-name first --query QueueUrl --output text)\n  \
         sqs send-message --queue-url \"$queue\" --message-body hello && sqs receive-message --queue-url \"$queue\"\n",
        took.as_millis(),
        listeners.join("  "),
        words.join(" "),
    )
}

/// Keys are in this process's memory: no core dump, no tracer of the same user, no file that others may read.
fn harden() {
    umask(rustix::fs::Mode::from_raw_mode(0o077));
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        warn!(%error, "core dumps cannot be turned off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        warn!(%error, "the process stays open to tracers of the same user");
    }
    // Each connection is a file; the usual soft limit of 1024 is below the default of limits.connections.
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })
    {
        warn!(%error, "the limit of open files cannot be raised");
    }
}

/// Says so when the system lets the process open fewer files than its connections may need.
fn warn_of_few_files(connections: usize) {
    let needed = connections as u64 + OTHER_FILES;
    if let Some(limit) = getrlimit(Resource::Nofile).current
        && limit < needed
    {
        warn!(
            limit,
            needed,
            "the limit of open files is below limits.connections: raise it (LimitNOFILE= of systemd, ulimit -n)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(fixed: Option<&str>) -> String {
        let words = ["sealq", "env", "--secrets-dir", "/a b"].map(str::to_owned).to_vec();
        let command = EnvCommand { words, public_url: String::new(), fixed: fixed.map(str::to_owned) };
        let announcement = Announcement {
            https: Some("0.0.0.0:41000".parse().unwrap()),
            http: None,
            metrics: Some("127.0.0.1:9325".parse().unwrap()),
        };
        ready_lines(Duration::from_micros(35_900), announcement, &command)
    }

    #[test]
    fn the_first_line_says_how_long_and_where_and_three_lines_follow_to_paste() {
        let text = lines(Some("https://127.0.0.1:41000"));
        let all: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(all[0], "ready in 35 ms  https://0.0.0.0:41000  http://127.0.0.1:9325/metrics");
        assert_eq!(all[1].trim(), "eval \"$(sealq env --secrets-dir '/a b')\"");
        assert_eq!(all.len(), 4);
    }

    #[test]
    fn a_port_that_the_system_chose_is_given_along() {
        assert!(lines(None).contains("--endpoint https://127.0.0.1:41000)"), "{}", lines(None));
    }
}
