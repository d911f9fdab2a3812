//! What values are allowed, beyond their type. One function per section; the first breach is reported.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use crate::accounts::{Account, SenderService};
use crate::{ByteSize, Config, ConfigError, KmsProvider, Origin, Secret};

const CLOCK_SKEW_SECONDS_MAX: u64 = 86_400;
/// A segment holds the largest frame several times over.
const SEGMENT_BYTES_MIN: ByteSize = ByteSize::mib(4);
const SEGMENT_BYTES_MAX: ByteSize = ByteSize::gib(1);
const SEGMENT_BYTES_STEP: ByteSize = ByteSize::kib(4);
/// One request body may be 8 MiB; below twice that a single client could shut everybody out.
const MEMORY_INFLIGHT_MIN: ByteSize = ByteSize::mib(16);
const CONNECTIONS_MAX: usize = 1_000_000;
const QUEUE_SERIES_MAX: usize = 100_000;
const RECREATE_WAIT_SECONDS_MAX: u64 = 3600;
const KMS_TIMEOUT_MS_MIN: u64 = 10;
const KMS_TIMEOUT_MS_MAX: u64 = 60_000;
const AUDIT_ROTATE_BYTES_MIN: ByteSize = ByteSize::kib(4);
const AUDIT_ROTATE_BYTES_MAX: ByteSize = ByteSize::gib(1);
const NAME_CHARS_MAX: usize = 64;
const ACCESS_KEY_ID_CHARS_MAX: usize = 128;

/// A value that is not allowed.
#[derive(Debug)]
pub(crate) struct Violation {
    key: String,
    problem: String,
    allowed: String,
}

impl Violation {
    fn new(key: impl Into<String>, problem: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), allowed: allowed.into() }
    }

    /// The error, with where the value came from.
    pub(crate) fn at(self, origin_of: impl Fn(&str) -> Origin) -> ConfigError {
        let Self { key, problem, allowed } = self;
        ConfigError::NotAllowed { origin: origin_of(&key), key, problem, allowed }
    }
}

fn require(holds: bool, violation: impl FnOnce() -> Violation) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation()) }
}

/// Checks every rule.
pub(crate) fn check(config: &Config) -> Result<(), Violation> {
    directories(config)?;
    identity(config)?;
    listen(config)?;
    tls(config)?;
    within("auth.clock_skew_seconds", config.auth.clock_skew_seconds, 1, CLOCK_SKEW_SECONDS_MAX)?;
    accounts(config)?;
    kms(config)?;
    storage(config)?;
    within(
        "queues.recreate_wait_seconds",
        config.queues.recreate_wait_seconds,
        0,
        RECREATE_WAIT_SECONDS_MAX,
    )?;
    within("audit.rotate_bytes", config.audit.rotate_bytes, AUDIT_ROTATE_BYTES_MIN, AUDIT_ROTATE_BYTES_MAX)?;
    limits(config)
}

fn within<N: PartialOrd + std::fmt::Display>(key: &str, value: N, min: N, max: N) -> Result<(), Violation> {
    require(value >= min && value <= max, || {
        Violation::new(key, format!("{value} is out of range"), format!("{min} to {max}"))
    })
}

fn directories(config: &Config) -> Result<(), Violation> {
    for (key, directory) in [("data_dir", &config.data_dir), ("secrets_dir", &config.secrets_dir)] {
        require(!directory.as_os_str().is_empty(), || Violation::new(key, "is empty", "a directory"))?;
    }
    let secret_places = [
        ("secrets_dir", config.secrets_dir.clone()),
        ("kms.embedded.root_key_file", config.kms.embedded.root_key_file.clone()),
        ("kms.embedded.passphrase_file", config.kms.embedded.passphrase_file.clone()),
        ("tls.key_file", config.tls.key_file.clone()),
        ("kms.openbao.token_file", config.kms.openbao.token_file.clone()),
    ];
    for (key, place) in secret_places {
        let inside =
            !place.as_os_str().is_empty() && resolved(&place).starts_with(resolved(&config.data_dir));
        require(!inside, || {
            Violation::new(
                key,
                format!("{} lies inside data_dir ({})", place.display(), config.data_dir.display()),
                "a place outside data_dir: who copies the data must not get the keys with it",
            )
        })?;
    }
    Ok(())
}

/// `path` without links and dots as far as it exists, absolute.
fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
        if let Ok(real) = plain.canonicalize() {
            plain = real;
        }
    }
    plain
}

fn identity(config: &Config) -> Result<(), Violation> {
    const REGION: &str = "small letters, digits and hyphens, as in us-east-1";
    let identity = &config.identity;
    require(is_label(&identity.region), || {
        Violation::new("identity.region", quoted(&identity.region), REGION)
    })?;
    for (index, region) in identity.regions.iter().enumerate() {
        require(region == "*" || is_label(region), || {
            Violation::new(format!("identity.regions[{index}]"), quoted(region), format!("{REGION}, or *"))
        })?;
    }
    account_id("identity.account_id", &identity.account_id)?;
    require(is_label(&identity.partition), || {
        Violation::new(
            "identity.partition",
            quoted(&identity.partition),
            "aws, aws-cn, aws-us-gov or the like",
        )
    })
}

fn quoted(text: &str) -> String {
    format!("`{text}` is not allowed")
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.bytes().all(allowed)
}

fn account_id(key: &str, id: &str) -> Result<(), Violation> {
    require(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()), || {
        Violation::new(key, quoted(id), "exactly 12 digits")
    })
}

fn listen(config: &Config) -> Result<(), Violation> {
    let listen = &config.listen;
    require(listen.https.socket().is_some() || listen.http.socket().is_some(), || {
        Violation::new("listen", "both https and http are turned off", "at least one of them with an IP:PORT")
    })?;
    let mut seen = BTreeSet::new();
    for (key, address) in
        [("listen.https", listen.https), ("listen.http", listen.http), ("listen.metrics", listen.metrics)]
    {
        let Some(socket) = address.socket().filter(|socket| socket.port() != 0) else { continue };
        require(seen.insert(socket), || {
            Violation::new(key, format!("{socket} is taken by another listener"), "an IP:PORT of its own")
        })?;
    }
    let url = &listen.public_url;
    require(url.is_empty() || (is_url(url) && !url.ends_with('/')), || {
        Violation::new(
            "listen.public_url",
            quoted(url),
            "http:// or https:// with host and perhaps port and path, no slash at its end",
        )
    })
}

fn is_url(url: &str) -> bool {
    host_of(url).is_some_and(|host| !host.is_empty()) && !url.contains(['?', '#', ' ', '@'])
}

fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split('/').next()?;
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    }
}

fn tls(config: &Config) -> Result<(), Violation> {
    let (cert, key) = (&config.tls.cert_file, &config.tls.key_file);
    require(cert.as_os_str().is_empty() == key.as_os_str().is_empty(), || {
        let (missing, given) = if cert.as_os_str().is_empty() { ("cert", "key") } else { ("key", "cert") };
        Violation::new(
            format!("tls.{missing}_file"),
            format!("is missing beside {given}_file"),
            "both, or neither",
        )
    })
}

fn accounts(config: &Config) -> Result<(), Violation> {
    let mut ids = BTreeSet::new();
    let mut access_keys = BTreeSet::new();
    for (index, account) in config.account.iter().enumerate() {
        let at = format!("account[{index}]");
        account_id(&format!("{at}.id"), &account.id)?;
        require(ids.insert(account.id.as_str()), || {
            Violation::new(format!("{at}.id"), format!("{} stands twice", account.id), "each account once")
        })?;
        members(&at, account, &mut access_keys)?;
    }
    for (index, service) in config.service.iter().enumerate() {
        sender(&format!("service[{index}]"), service, &mut access_keys)?;
    }
    Ok(())
}

fn members<'a>(at: &str, account: &'a Account, access_keys: &mut BTreeSet<&'a str>) -> Result<(), Violation> {
    let mut names = BTreeSet::new();
    for (index, user) in account.user.iter().enumerate() {
        let at = format!("{at}.user[{index}]");
        name(&format!("{at}.name"), &user.name, &mut names)?;
        match &user.access_key_id {
            Some(id) => access_key(&at, id, user.secret_access_key.as_ref(), access_keys)?,
            None => require(user.secret_access_key.is_none(), || {
                Violation::new(
                    format!("{at}.access_key_id"),
                    "is missing beside the secret",
                    "both, or neither",
                )
            })?,
        }
        policy(&format!("{at}.policy"), user.policy.as_deref())?;
        policy(&format!("{at}.permissions_boundary"), Some(user.permissions_boundary.as_str()))?;
    }
    let mut names = BTreeSet::new();
    for (index, role) in account.role.iter().enumerate() {
        let at = format!("{at}.role[{index}]");
        name(&format!("{at}.name"), &role.name, &mut names)?;
        require(role.trust_policy.as_ref().is_some_and(|text| !text.is_empty()), || {
            Violation::new(
                format!("{at}.trust_policy"),
                "is missing",
                "a policy in JSON, or trust_policy_file",
            )
        })?;
        policy(&format!("{at}.trust_policy"), role.trust_policy.as_deref())?;
        policy(&format!("{at}.policy"), role.policy.as_deref())?;
        policy(&format!("{at}.permissions_boundary"), Some(role.permissions_boundary.as_str()))?;
    }
    for (index, root) in account.root.iter().enumerate() {
        let at = format!("{at}.root[{index}]");
        access_key(&at, &root.access_key_id, root.secret_access_key.as_ref(), access_keys)?;
    }
    Ok(())
}

fn name<'a>(key: &str, name: &'a str, seen: &mut BTreeSet<&'a str>) -> Result<(), Violation> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    require(!name.is_empty() && name.len() <= NAME_CHARS_MAX && name.bytes().all(allowed), || {
        Violation::new(key, quoted(name), format!("1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 + = , . @ _ -"))
    })?;
    require(seen.insert(name), || {
        Violation::new(key, format!("`{name}` stands twice in its account"), "each name once")
    })
}

fn access_key<'a>(
    at: &str,
    id: &'a str,
    secret: Option<&Secret>,
    seen: &mut BTreeSet<&'a str>,
) -> Result<(), Violation> {
    let key = format!("{at}.access_key_id");
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    require(!id.is_empty() && id.len() <= ACCESS_KEY_ID_CHARS_MAX && id.bytes().all(allowed), || {
        Violation::new(&key, quoted(id), format!("1 to {ACCESS_KEY_ID_CHARS_MAX} letters, digits and _"))
    })?;
    require(seen.insert(id), || {
        Violation::new(&key, format!("`{id}` stands twice"), "each access key once")
    })?;
    require(secret.is_some_and(|secret| !secret.is_empty()), || {
        Violation::new(format!("{at}.secret_access_key"), "is missing", "a text, or secret_access_key_file")
    })
}

/// Only its form: what it means is decided where policies are evaluated.
fn policy(key: &str, text: Option<&str>) -> Result<(), Violation> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(()) };
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Violation::new(key, format!("is no JSON object: {error}"), "a policy document in JSON"))
        }
    }
}

fn sender<'a>(
    at: &str,
    service: &'a SenderService,
    access_keys: &mut BTreeSet<&'a str>,
) -> Result<(), Violation> {
    let principal = &service.principal;
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    require(principal.contains('.') && principal.bytes().all(allowed), || {
        Violation::new(format!("{at}.principal"), quoted(principal), "a service name, as sns.amazonaws.com")
    })?;
    access_key(at, &service.access_key_id, service.secret_access_key.as_ref(), access_keys)?;
    require(service.source_arn.starts_with("arn:"), || {
        Violation::new(format!("{at}.source_arn"), quoted(&service.source_arn), "an ARN")
    })?;
    account_id(&format!("{at}.source_account"), &service.source_account)
}

fn kms(config: &Config) -> Result<(), Violation> {
    let (embedded, aws, openbao) = (&config.kms.embedded, &config.kms.aws, &config.kms.openbao);
    require(embedded.passphrase.is_empty() || embedded.passphrase_file.as_os_str().is_empty(), || {
        Violation::new("kms.embedded.passphrase_file", "stands beside passphrase", "one of the two")
    })?;
    within("kms.aws.timeout_ms", aws.timeout_ms, KMS_TIMEOUT_MS_MIN, KMS_TIMEOUT_MS_MAX)?;
    within("kms.openbao.timeout_ms", openbao.timeout_ms, KMS_TIMEOUT_MS_MIN, KMS_TIMEOUT_MS_MAX)?;
    let needed = |key: &str, missing: bool| {
        let provider = if config.kms.provider == KmsProvider::Aws { "aws" } else { "openbao" };
        let problem = format!("is empty, but kms.provider = \"{provider}\" needs it");
        require(!missing, || Violation::new(key, problem, "a value"))
    };
    match config.kms.provider {
        KmsProvider::Embedded => Ok(()),
        KmsProvider::Aws => {
            needed("kms.aws.endpoint", aws.endpoint.is_empty())?;
            needed("kms.aws.access_key_id", aws.access_key_id.is_empty())?;
            needed("kms.aws.secret_access_key", aws.secret_access_key.is_empty())?;
            key_service_url("kms.aws.endpoint", &aws.endpoint)
        }
        KmsProvider::OpenBao => {
            needed("kms.openbao.address", openbao.address.is_empty())?;
            needed("kms.openbao.mount", openbao.mount.is_empty())?;
            require(is_mount_path(&openbao.mount), || {
                Violation::new(
                    "kms.openbao.mount",
                    quoted(&openbao.mount),
                    "a path of letters, digits and - . _, as in transit or team/transit",
                )
            })?;
            require(openbao.namespace.is_empty() || is_mount_path(&openbao.namespace), || {
                Violation::new(
                    "kms.openbao.namespace",
                    quoted(&openbao.namespace),
                    "\"\" or a path of letters, digits and - . _, as in team/queues",
                )
            })?;
            needed("kms.openbao.token_file", openbao.token_file.as_os_str().is_empty())?;
            key_service_url("kms.openbao.address", &openbao.address)
        }
    }
}

fn is_mount_path(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    path.trim_matches('/')
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed))
}

/// Data keys cross this connection in clear.
fn key_service_url(key: &str, url: &str) -> Result<(), Violation> {
    let loopback = host_of(url).is_some_and(|host| {
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    require(is_url(url) && (url.starts_with("https://") || loopback), || {
        Violation::new(key, quoted(url), "an https:// URL, or http:// on a loopback address")
    })
}

fn storage(config: &Config) -> Result<(), Violation> {
    let storage = &config.storage;
    within("storage.segment_bytes", storage.segment_bytes, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)?;
    require(storage.segment_bytes.bytes().is_multiple_of(SEGMENT_BYTES_STEP.bytes()), || {
        Violation::new(
            "storage.segment_bytes",
            format!("{} is uneven", storage.segment_bytes),
            format!("multiples of {SEGMENT_BYTES_STEP}"),
        )
    })?;
    require(storage.shards == 1, || {
        Violation::new(
            "storage.shards",
            format!("{} shards are not supported yet", storage.shards),
            "only 1 for now",
        )
    })
}

fn limits(config: &Config) -> Result<(), Violation> {
    let limits = &config.limits;
    require(limits.memory_inflight >= MEMORY_INFLIGHT_MIN, || {
        Violation::new(
            "limits.memory_inflight",
            format!("{} is too little", limits.memory_inflight),
            format!("{MEMORY_INFLIGHT_MIN} or more"),
        )
    })?;
    within("limits.connections", limits.connections, 1, CONNECTIONS_MAX)?;
    within("limits.queue_series_max", limits.queue_series_max, 0, QUEUE_SERIES_MAX)
}

/// Why a file that a setting points at could not be taken.
#[derive(Debug)]
pub(crate) enum PointedAtError {
    /// It cannot be read.
    Unreadable { key: String, path: PathBuf, source: io::Error },
    /// The same thing is given twice.
    Broken(Violation),
}

/// Reads `policy_file`, `trust_policy_file` and `secret_access_key_file` into the keys that they stand for.
/// Relative paths start at `folder`, that of the settings file.
pub(crate) fn read_pointed_at(config: &mut Config, folder: &Path) -> Result<(), PointedAtError> {
    for (index, account) in config.account.iter_mut().enumerate() {
        for (user_index, user) in account.user.iter_mut().enumerate() {
            let at = format!("account[{index}].user[{user_index}]");
            secret_of(&at, &mut user.secret_access_key, user.secret_access_key_file.as_deref(), folder)?;
            text_of(&at, "policy", &mut user.policy, user.policy_file.as_deref(), folder)?;
        }
        for (role_index, role) in account.role.iter_mut().enumerate() {
            let at = format!("account[{index}].role[{role_index}]");
            text_of(&at, "trust_policy", &mut role.trust_policy, role.trust_policy_file.as_deref(), folder)?;
            text_of(&at, "policy", &mut role.policy, role.policy_file.as_deref(), folder)?;
        }
        for (root_index, root) in account.root.iter_mut().enumerate() {
            let at = format!("account[{index}].root[{root_index}]");
            secret_of(&at, &mut root.secret_access_key, root.secret_access_key_file.as_deref(), folder)?;
        }
    }
    for (index, service) in config.service.iter_mut().enumerate() {
        let at = format!("service[{index}]");
        secret_of(&at, &mut service.secret_access_key, service.secret_access_key_file.as_deref(), folder)?;
    }
    Ok(())
}

fn secret_of(
    at: &str,
    value: &mut Option<Secret>,
    file: Option<&Path>,
    folder: &Path,
) -> Result<(), PointedAtError> {
    // The placeholder only says that a value is there: the secret itself is never moved through plain text.
    let mut text = value.is_some().then(String::new);
    text_of(at, "secret_access_key", &mut text, file, folder)?;
    if value.is_none() {
        *value = text.map(|text| Secret::new(text.trim()));
    }
    Ok(())
}

fn text_of(
    at: &str,
    name: &str,
    value: &mut Option<String>,
    file: Option<&Path>,
    folder: &Path,
) -> Result<(), PointedAtError> {
    let Some(file) = file.filter(|file| !file.as_os_str().is_empty()) else { return Ok(()) };
    if value.is_some() {
        let key = format!("{at}.{name}_file");
        return Err(PointedAtError::Broken(Violation::new(
            key,
            format!("stands beside {name}"),
            "one of the two",
        )));
    }
    let path = folder.join(file);
    match std::fs::read_to_string(&path) {
        Ok(text) => *value = Some(text),
        Err(source) => {
            return Err(PointedAtError::Unreadable { key: format!("{at}.{name}_file"), path, source });
        }
    }
    Ok(())
}
