//! `sealq config check` and `sealq config show`.

use clap::Subcommand;
use sealq_config::{Config, Secret};

use super::{Exit, Sources, data, say, say_error, settings};
use crate::identity::{Identities, UniqueIds};
use crate::key_provider::RemoteKeyService;
use crate::tls::ServerTls;

/// What to do with the settings.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Says whether the settings are in order, and if not, where the mistake stands and what is allowed.
    #[command(after_help = "Example:\n  sealq config check --config sealq.toml")]
    Check,
    /// Prints the settings in force and where each came from. Secrets are not shown.
    #[command(after_help = "Example:\n  SEALQ_LIMITS__CONNECTIONS=500 sealq config show")]
    Show,
}

/// Runs it.
pub fn run(sources: &Sources, action: &Action) -> Exit {
    let loaded = match settings(sources) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    for variable in &loaded.ignored_variables {
        say(&format!("sealq: environment variable {variable} names no setting and is ignored"));
    }
    match action {
        Action::Check => {
            if let Err(error) = usable(&loaded.config) {
                say_error(&*error);
                return Exit::Settings;
            }
            let file = loaded.file.map_or("no file".to_owned(), |file| file.display().to_string());
            say(&format!("settings are in order ({file})"));
            Exit::Done
        }
        Action::Show => {
            let lines: Vec<_> = loaded
                .settings()
                .into_iter()
                .map(|setting| (format!("{} = {}", setting.key, setting.value), setting.origin.to_string()))
                .collect();
            // Long lists would push every comment off the screen.
            let width =
                lines.iter().map(|(line, _)| line.len()).filter(|width| *width < 60).max().unwrap_or(0);
            data(
                &lines
                    .iter()
                    .map(|(line, origin)| format!("{line:width$}  # {origin}\n"))
                    .collect::<String>(),
            )
        }
    }
}

/// Looks at what `serve` takes from the settings before it listens: key service, certificate, policies, access keys.
fn usable(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    RemoteKeyService::from_settings(config)?;
    if let Some((cert_file, key_file)) = config.given_certificate() {
        ServerTls::load(cert_file, key_file)?;
    }
    // As at a first start: nobody has an id yet.
    Identities::build(config, ("", Secret::default()), &mut UniqueIds::new())?;
    Ok(())
}
