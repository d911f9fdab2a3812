//! `sealq env`: what makes the aws CLI and SDKs use this broker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use clap::{Args, ValueEnum};
use sealq_config::Config;

use super::{Exit, Sources, data, say, settings};
use crate::first_start::{CertificateFiles, credentials_file};

/// How to print it.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Language of the exports.
    #[arg(long, value_enum, default_value_t = Shell::Sh)]
    shell: Shell,
    /// Address of the broker, where the settings do not say it (port 0).
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// Language of the exports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shell {
    /// sh, bash, zsh.
    Sh,
    /// fish.
    Fish,
    /// One JSON object.
    Json,
}

/// Variables that would win over what is set here.
const CLEARED: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Runs it.
pub fn run(sources: &Sources, arguments: &Arguments) -> Exit {
    let config = match settings(sources) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    let credentials = credentials_file(&config.secrets_dir);
    if !credentials.exists() {
        let start = "start it once with `sealq serve`";
        say(&format!(
            "sealq: {} is not there: the broker was never started here; {start}",
            credentials.display()
        ));
        return Exit::Failed;
    }
    let Some(endpoint) = arguments.endpoint.clone().or_else(|| endpoint(&config)) else {
        say("sealq: the listener's port is 0, so only the running broker knows it: give --endpoint URL");
        return Exit::Failed;
    };
    data(&rendered(arguments.shell, &variables(&config, endpoint)))
}

fn variables(config: &Config, endpoint: String) -> Vec<(&'static str, String)> {
    let region = config.identity.region.clone();
    let mut variables = vec![
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_SHARED_CREDENTIALS_FILE", absolute(&credentials_file(&config.secrets_dir))),
        ("AWS_PROFILE", "default".to_owned()),
        ("AWS_REGION", region.clone()),
        // Versions of the CLI before 2.32 read only this one.
        ("AWS_DEFAULT_REGION", region),
    ];
    let ca = CertificateFiles::of(&config.secrets_dir).ca;
    if config.given_certificate().is_none() && ca.exists() {
        variables.push(("AWS_CA_BUNDLE", absolute(&ca)));
        // JavaScript's SDK does not read AWS_CA_BUNDLE.
        variables.push(("NODE_EXTRA_CA_CERTS", absolute(&ca)));
    }
    variables
}

fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// Base URL under which this machine reaches the broker; `None` when the port is chosen at start.
pub(crate) fn endpoint(config: &Config) -> Option<String> {
    if !config.listen.public_url.is_empty() {
        return Some(config.listen.public_url.clone());
    }
    let https = config.listen.https.socket().map(|address| ("https", address));
    let (scheme, address) = https.or_else(|| config.listen.http.socket().map(|address| ("http", address)))?;
    (address.port() != 0).then(|| format!("{scheme}://{}", reachable(address)))
}

/// Where a client on this machine reaches a listener on `address`: no client can connect to "any address".
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => address,
    }
}

fn rendered(shell: Shell, variables: &[(&'static str, String)]) -> String {
    match shell {
        Shell::Sh => {
            let exports =
                variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted_sh(value)));
            exports.chain([format!("unset {}\n", CLEARED.join(" "))]).collect()
        }
        Shell::Fish => {
            let exports =
                variables.iter().map(|(name, value)| format!("set -gx {name} {}\n", quoted_fish(value)));
            exports.chain(CLEARED.map(|name| format!("set -e {name}\n"))).collect()
        }
        Shell::Json => {
            let object: serde_json::Map<_, _> =
                variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
            format!("{}\n", serde_json::Value::Object(object))
        }
    }
}

/// `text` as one word of a sh command line, bare where it can be.
pub(crate) fn word_sh(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { quoted_sh(text) }
}

fn quoted_sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn quoted_fish(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_stays_one_word_in_every_shell() {
        let variables = [("X", "it's a \\ \"dir\"".to_owned())];
        let out = std::process::Command::new("sh")
            .args(["-c", &format!("{}printf %s \"$X\"", rendered(Shell::Sh, &variables))])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), variables[0].1);
        assert!(rendered(Shell::Fish, &variables).starts_with(r#"set -gx X 'it\'s a \\ "dir"'"#));
        let json: serde_json::Value = serde_json::from_str(&rendered(Shell::Json, &variables)).unwrap();
        assert_eq!(json["X"], variables[0].1);
    }

    #[test]
    fn any_address_is_reached_over_loopback() {
        let mut config = Config::default();
        assert_eq!(endpoint(&config).unwrap(), "https://127.0.0.1:9324");
        config.listen.https = "[::]:1".parse().unwrap();
        assert_eq!(endpoint(&config).unwrap(), "https://[::1]:1");
        config.listen.https = "".parse().unwrap();
        config.listen.http = "0.0.0.0:80".parse().unwrap();
        assert_eq!(endpoint(&config).unwrap(), "http://127.0.0.1:80");
        config.listen.http = "0.0.0.0:0".parse().unwrap();
        assert_eq!(endpoint(&config), None);
        config.listen.public_url = "https://sqs.example.com".to_owned();
        assert_eq!(endpoint(&config).unwrap(), "https://sqs.example.com");
    }

    #[test]
    fn keys_in_the_environment_do_not_win_over_the_credentials_file() {
        let text = rendered(Shell::Sh, &[]);
        assert_eq!(text, "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\n");
    }
}
