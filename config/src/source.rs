//! Where settings come from and which source wins: command line, environment, file, default.
//!
//! Every value keeps its origin, so that a refusal and `sealq config show` can name it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::document::{Document, join, position};
use crate::{Config, ConfigError, rules};

/// Settings file that is taken when none is named and it exists.
pub const SETTINGS_FILE: &str = "./sealq.toml";
/// Variable that names the settings file.
pub const FILE_VARIABLE: &str = "SEALQ_CONFIG";
/// Variable in which systemd names the directory of a service's credentials.
const CREDENTIALS_VARIABLE: &str = "CREDENTIALS_DIRECTORY";
/// Credential with the root key's file.
const ROOT_KEY_CREDENTIAL: &str = "root.key";
/// Credential with the root key's passphrase.
const PASSPHRASE_CREDENTIAL: &str = "root-key-passphrase";
const VARIABLE_PREFIX: &str = "SEALQ_";

/// Settings given on the command line.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Overrides {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--secrets-dir`
    pub secrets_dir: Option<PathBuf>,
}

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The settings file.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag.
    CommandLine(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::CommandLine(flag) => f.write_str(flag),
        }
    }
}

/// Settings in force and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Origin of every key that somebody set; the others have their default.
    pub origins: BTreeMap<String, Origin>,
    /// The settings file that was read, if any.
    pub file: Option<PathBuf>,
    /// `SEALQ_…` variables that are no settings: worth a warning, for one may be a slip.
    pub ignored_variables: Vec<String>,
    overrides: Overrides,
}

/// One line of `sealq config show`.
#[derive(Clone, PartialEq, Debug)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value as TOML, secrets redacted.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Loaded {
    /// Reads the same sources again (for SIGHUP). The settings in force stay as they are when this fails.
    pub fn reload(&self, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        // A file that was read at start and has gone since is an error, not a return to defaults.
        let env = env.filter(|(name, _)| self.file.is_some() || name != FILE_VARIABLE);
        Config::load(self.file.as_deref(), env, self.overrides.clone())
    }

    /// Every setting, in the order of its key.
    pub fn settings(&self) -> Vec<Setting> {
        let mut values = BTreeMap::new();
        leaves(&shown(&self.config), "", &mut values);
        values
            .into_iter()
            .map(|(key, value)| {
                let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
                Setting { value: value.to_string(), key, origin }
            })
            .collect()
    }
}

impl Config {
    /// Reads the settings: `file` (or what `SEALQ_CONFIG` names, or `./sealq.toml` if it exists), `env`, `overrides`.
    ///
    /// # Errors
    /// [`ConfigError`], naming where the mistake stands and what is allowed there.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        overrides: Overrides,
    ) -> Result<Loaded, ConfigError> {
        let known = |name: &str| name.starts_with(VARIABLE_PREFIX) || name == CREDENTIALS_VARIABLE;
        let mut variables: Vec<_> = env.filter(|(name, _)| known(name)).collect();
        variables.sort();
        let named = variables.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let file = match (file, named) {
            (Some(file), _) => Some(file.to_owned()),
            (None, Some((_, value))) => Some(PathBuf::from(value)),
            (None, None) => Some(PathBuf::from(SETTINGS_FILE)).filter(|file| file.exists()),
        };
        let text = match &file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?,
            None => String::new(),
        };
        load_text(file, &text, variables, overrides)
    }
}

fn load_text(
    file: Option<PathBuf>,
    text: &str,
    variables: Vec<(String, String)>,
    overrides: Overrides,
) -> Result<Loaded, ConfigError> {
    let path = file.clone().unwrap_or_default();
    let mut config: Config = toml::from_str(text).map_err(|error| in_file(&path, text, &error))?;
    let document = Document::parse(text).map_err(|error| in_file(&path, text, &error))?;
    let mut table: Table = toml::from_str(text).map_err(|error| in_file(&path, text, &error))?;

    let mut origins = BTreeMap::new();
    for key in document.keys() {
        let line = document.line_of(&key).unwrap_or(1);
        origins.insert(key, Origin::File { path: path.clone(), line });
    }
    let mut ignored_variables = Vec::new();
    let reference = shown(&Config::default());
    let mut credentials_dir = None;
    for (name, value) in variables {
        if name == CREDENTIALS_VARIABLE {
            credentials_dir = Some(PathBuf::from(value));
            continue;
        }
        let Some(key) = key_of_variable(&name, &reference)? else {
            ignored_variables.push(name);
            continue;
        };
        let refuse = |problem: String| ConfigError::Variable {
            name: name.clone(),
            problem: format!("{key}: {problem}"),
        };
        set(&mut table, &key, value_of_variable(&value, get(&reference, &key)).map_err(&refuse)?);
        // One at a time, so that a refusal can only mean this variable.
        config =
            table.clone().try_into().map_err(|error: toml::de::Error| refuse(error.message().to_owned()))?;
        origins.insert(key, Origin::Variable(name));
    }
    ignored_variables.retain(|name| !READ_ELSEWHERE.contains(&name.as_str()));
    if let Some(data_dir) = &overrides.data_dir {
        config.data_dir.clone_from(data_dir);
        origins.insert("data_dir".to_owned(), Origin::CommandLine("--data-dir"));
    }
    if let Some(secrets_dir) = &overrides.secrets_dir {
        config.secrets_dir.clone_from(secrets_dir);
        origins.insert("secrets_dir".to_owned(), Origin::CommandLine("--secrets-dir"));
    }

    if let Some(directory) = credentials_dir.filter(|directory| !directory.as_os_str().is_empty()) {
        take_credentials(&mut config, &mut origins, directory);
    }

    let origin_of = |key: &str| {
        let whole = key.split('[').next().unwrap_or(key);
        match origins.get(key).or_else(|| origins.get(whole)) {
            Some(Origin::File { path, line }) => {
                Origin::File { path: path.clone(), line: document.line_of(key).unwrap_or(*line) }
            }
            Some(origin) => origin.clone(),
            None => Origin::Default,
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    rules::read_pointed_at(&mut config, folder).map_err(|missing| match missing {
        rules::PointedAtError::Unreadable { key, path, source } => {
            ConfigError::PointedAt { origin: origin_of(&key), key, path, source }
        }
        rules::PointedAtError::Broken(violation) => violation.at(origin_of),
    })?;
    rules::check(&config).map_err(|violation| violation.at(origin_of))?;
    Ok(Loaded { config, origins, file, ignored_variables, overrides })
}

/// What the service manager holds ready stands in for settings that nobody made.
fn take_credentials(config: &mut Config, origins: &mut BTreeMap<String, Origin>, directory: PathBuf) {
    let embedded = &mut config.kms.embedded;
    let mut take = |setting: &mut PathBuf, key: &str, name: &str| {
        let credential = directory.join(name);
        if setting.as_os_str().is_empty() && credential.is_file() {
            *setting = credential;
            origins.insert(format!("kms.embedded.{key}"), Origin::Variable(CREDENTIALS_VARIABLE.to_owned()));
        }
    };
    take(&mut embedded.root_key_file, "root_key_file", ROOT_KEY_CREDENTIAL);
    if embedded.passphrase.is_empty() {
        take(&mut embedded.passphrase_file, "passphrase_file", PASSPHRASE_CREDENTIAL);
    }
    config.credentials_dir = Some(directory);
}

/// Variables that other parts of the program read.
const READ_ELSEWHERE: [&str; 3] = [FILE_VARIABLE, "SEALQ_LOG", "SEALQ_LOG_FORMAT"];

/// The key that a variable sets. `None`: it has not the form of one (`SEALQ_PORT_9324_TCP`, which Kubernetes makes
/// for a service called sealq, must not stop the start).
fn key_of_variable(name: &str, reference: &Table) -> Result<Option<String>, ConfigError> {
    let key = name.trim_start_matches(VARIABLE_PREFIX).to_ascii_lowercase().replace("__", ".");
    match get(reference, &key) {
        Some(Value::Table(_)) | None if !key.contains('.') => Ok(None),
        Some(Value::Table(section)) => Err(unknown_variable(name, section)),
        Some(_) => Ok(Some(key)),
        None => {
            let above = key.rsplit_once('.').and_then(|(above, _)| get(reference, above));
            let section = above.and_then(Value::as_table).unwrap_or(reference);
            Err(unknown_variable(name, section))
        }
    }
}

fn unknown_variable(name: &str, section: &Table) -> ConfigError {
    let names: Vec<_> = section.keys().map(|key| key.to_ascii_uppercase()).collect();
    ConfigError::Variable {
        name: name.to_owned(),
        problem: format!("names no setting; known at this place: {}", names.join(", ")),
    }
}

fn value_of_variable(text: &str, like: Option<&Value>) -> Result<Value, String> {
    match like {
        Some(Value::Integer(_)) => {
            text.parse().map(Value::Integer).map_err(|_| format!("`{text}` is no whole number"))
        }
        Some(Value::Boolean(_)) => {
            text.parse().map(Value::Boolean).map_err(|_| format!("`{text}` is neither true nor false"))
        }
        Some(Value::Array(_)) if text.trim_start().starts_with('[') => {
            let parsed = toml::from_str::<Table>(&format!("value = {text}"));
            let value = parsed.map_err(|error| error.message().to_owned())?.remove("value");
            value.ok_or_else(|| "is no list".to_owned())
        }
        Some(Value::Array(_)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// The settings as a table for showing: secrets are redacted in it.
fn shown(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => get(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

fn set(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                set(inner, rest, value);
            }
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}

fn leaves(table: &Table, above: &str, values: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = join(above, name);
        match value {
            Value::Table(inner) => leaves(inner, &key, values),
            leaf => {
                values.insert(key, leaf.clone());
            }
        }
    }
}

/// toml's own text shows the line, and with it perhaps a secret: only its message is taken over.
fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let (line, column) = position(text, offset);
    let key = Document::parse(text).map(|document| document.key_at(offset)).unwrap_or_default();
    let problem = error.message().trim_end().replace('\n', "; ");
    ConfigError::File { path: path.to_owned(), line, column, key, problem }
}

#[cfg(test)]
mod tests;
