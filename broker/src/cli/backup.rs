//! `sealq backup` and `sealq restore`: the log and the audit log as they lie, without any key.
//!
//! Beside a running broker the copy is a state the log was in: checkpoints are copied first, then segments from the
//! newest to the oldest, so that a segment is never there without all of the one before it, and everything once more
//! if a segment was removed meanwhile. What was being written at that moment is a torn tail, as after a crash.

mod manifest;
mod root_key;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sealq_config::Config;
use sealq_storage::LOG_DIRECTORY;
use sealq_storage::offline::{DamageKind, ScanError, VerifyReport, verify};
use thiserror::Error;

use self::manifest::{AUDIT, Entry, MANIFEST, Manifest, copy, digest};
use super::{Exit, Sources, data, say, say_error, settings};
use crate::audit::chain_files;
use crate::first_start::FirstStartError;

/// How often a backup is begun again because the broker removed a file meanwhile.
const ROUNDS_MAX: usize = 16;
/// Rounds after which damage in the copy (or two root keys in it) is taken for the state of the log, not for a write
/// that was under way.
const DAMAGE_ROUNDS: usize = 3;
/// Where restored files lie until all of them are there.
const UNFINISHED: &str = "restoring";

/// Where the backup is.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Directory of the backup.
    dir: PathBuf,
}

#[derive(Debug, Error)]
enum BackupError {
    #[error("{}: {source}: see that the directory is there, has room, and that you are the broker's user", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} holds no log: name the broker's directory with --data-dir", .0.display())]
    NoLog(PathBuf),
    #[error("{} lies inside the data directory: choose a directory outside it, best on another disk", .0.display())]
    InsideData(PathBuf),
    #[error("{} holds something else than a backup: choose a new or empty directory", .0.display())]
    NotABackup(PathBuf),
    #[error(
        "the broker removes segments faster than they are copied: run the backup again, it goes on where it was"
    )]
    NeverStill,
    #[error("{} holds no finished backup ({reason}): run `sealq backup` to its end, then restore", dir.display())]
    NoManifest { dir: PathBuf, reason: String },
    #[error("{} is not what was backed up: take another backup", .0.display())]
    Changed(PathBuf),
    #[error("{}: {source}", dir.display())]
    Scan { dir: PathBuf, source: ScanError },
    #[error(
        "the root key is being changed, or that was cut short: start the broker once, which ends it, then run the backup \
         again"
    )]
    RootKeyChanging,
    #[error(transparent)]
    RootKey(#[from] FirstStartError),
    #[error(
        "the backup was taken under the root key {needed}, and {} holds {found}: put the root key of that time there (a \
         copy from before `sealq kms rotate-root`), then restore. Nothing was restored",
        path.display()
    )]
    OtherRootKey { path: PathBuf, found: String, needed: String },
    #[error("{} is not empty: restore with --data-dir into a new or empty directory", .0.display())]
    NotEmpty(PathBuf),
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |source| BackupError::Io { path: path.to_owned(), source }
}

/// Runs `backup`.
pub fn run(sources: &Sources, arguments: &Arguments) -> Exit {
    let config = match settings(sources) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    match back_up(&config, &arguments.dir) {
        Ok((manifest, report)) => {
            say(&format!(
                "{} files, {} bytes in {}. The root key {} is not among them: keep a copy of {} elsewhere",
                manifest.files.len(),
                manifest.files.iter().map(|file| file.bytes).sum::<u64>(),
                arguments.dir.display(),
                manifest.root_key.as_deref().unwrap_or_default(),
                config.root_key_file().display()
            ));
            if damaged(&report) {
                let places = report.damage.iter().filter(|damage| damage.kind != DamageKind::TornTail);
                let lines =
                    places.map(|place| format!("{} at {}: {:?}\n", place.file, place.offset, place.kind));
                data(&lines.collect::<String>());
                say("The log is damaged and was backed up as it is: see `sealq verify`");
                return Exit::Damage;
            }
            Exit::Done
        }
        Err(error) => {
            say_error(&error);
            Exit::Failed
        }
    }
}

/// Runs `restore`.
pub fn run_restore(sources: &Sources, arguments: &Arguments) -> Exit {
    let config = match settings(sources) {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    match restore(&config, &arguments.dir) {
        Ok(files) => {
            say(&format!("{files} files restored to {}", config.data_dir.display()));
            Exit::Done
        }
        Err(error) => {
            say_error(&error);
            Exit::Failed
        }
    }
}

fn damaged(report: &VerifyReport) -> bool {
    report.damage.iter().any(|damage| damage.kind != DamageKind::TornTail)
}

/// Names of the log's files in the order in which they are copied.
fn log_files(log: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(log).map_err(at(log))? {
        names.push(entry.map_err(at(log))?.file_name().to_string_lossy().into_owned());
    }
    let rank = |name: &str| match name {
        "store" => Some(0),
        _ if name.starts_with("checkpoint-") => Some(1),
        _ if name.ends_with(".seg") => Some(2),
        _ => None,
    };
    names.retain(|name| rank(name).is_some());
    // Numbers have leading zeros; a longer one is a newer one.
    names.sort_by_key(|name| (rank(name), std::cmp::Reverse((name.len(), name.clone()))));
    Ok(names)
}

fn segments(names: &[String]) -> BTreeSet<&String> {
    names.iter().filter(|name| name.ends_with(".seg")).collect()
}

fn back_up(config: &Config, dir: &Path) -> Result<(Manifest, VerifyReport), BackupError> {
    let log = config.data_dir.join(LOG_DIRECTORY);
    if !log.is_dir() {
        return Err(BackupError::NoLog(config.data_dir.clone()));
    }
    prepare(config, dir)?;
    // Until there is a new one, this is no finished backup.
    remove(&dir.join(MANIFEST))?;
    for round in 1..=ROUNDS_MAX {
        let names = log_files(&log)?;
        let audits = chain_files(&config.audit_file()).map_err(at(&config.audit_file()))?;
        let bar = bar(names.len() + audits.len());
        let mut files = Vec::new();
        let sources = names.iter().map(|name| (LOG_DIRECTORY, log.join(name)));
        for (folder, source) in sources.chain(audits.iter().map(|path| (AUDIT, path.clone()))) {
            files.extend(back_up_file(&source, folder, dir)?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let now = log_files(&log)?;
        let still = segments(&names).is_subset(&segments(&now));
        if !still || chain_files(&config.audit_file()).map_err(at(&config.audit_file()))? != audits {
            continue;
        }
        let mut manifest = Manifest { format: manifest::FORMAT, files, root_key: None };
        remove_others(dir, &manifest)?;
        let report = verify(dir, |_| {}).map_err(at(dir))?;
        if damaged(&report) && round < DAMAGE_ROUNDS {
            continue;
        }
        let mut root_keys = root_key::sealed_under(dir)?;
        manifest.root_key = root_keys.pop_first();
        if !root_keys.is_empty() {
            if round < DAMAGE_ROUNDS {
                continue;
            }
            return Err(BackupError::RootKeyChanging);
        }
        sync_dirs(&[dir.join(LOG_DIRECTORY), dir.join(AUDIT)])?;
        manifest.write(dir).map_err(at(dir))?;
        sync_dirs(&[dir.to_owned()])?;
        return Ok((manifest, report));
    }
    Err(BackupError::NeverStill)
}

fn prepare(config: &Config, dir: &Path) -> Result<(), BackupError> {
    let filled = dir.is_dir() && fs::read_dir(dir).map_err(at(dir))?.next().is_some();
    if filled && !dir.join(LOG_DIRECTORY).is_dir() && !dir.join(MANIFEST).is_file() {
        return Err(BackupError::NotABackup(dir.to_owned()));
    }
    make_dir(dir)?;
    let (inner, outer) = (dir.canonicalize().map_err(at(dir))?, &config.data_dir);
    if inner.starts_with(outer.canonicalize().map_err(at(outer))?) {
        return Err(BackupError::InsideData(dir.to_owned()));
    }
    make_dir(&dir.join(LOG_DIRECTORY))?;
    make_dir(&dir.join(AUDIT))
}

/// `None` when the file has gone meanwhile. What is in the backup already is not written again.
fn back_up_file(source: &Path, folder: &str, dir: &Path) -> Result<Option<Entry>, BackupError> {
    let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = format!("{folder}/{name}");
    let target = dir.join(&path);
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    if target.is_file() {
        let there = digest(&target).map_err(at(&target))?;
        match digest(source) {
            Ok(found) if found == there => {
                return Ok(Some(Entry { path, bytes: found.0, sha256: found.1 }));
            }
            Ok(_) => {}
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(at(source)(error)),
        }
    }
    if let Err(error) = fs::metadata(source)
        && gone(&error)
    {
        return Ok(None);
    }
    let (bytes, sha256) = copy(source, &target).map_err(at(source))?;
    Ok(Some(Entry { path, bytes, sha256 }))
}

/// Removes what an earlier backup left in the two folders.
fn remove_others(dir: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for folder in [LOG_DIRECTORY, AUDIT] {
        let inside = dir.join(folder);
        for entry in fs::read_dir(&inside).map_err(at(&inside))? {
            let name = entry.map_err(at(&inside))?.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}/{name}");
            if !manifest.files.iter().any(|file| file.path == path) {
                remove(&inside.join(name))?;
            }
        }
    }
    Ok(())
}

fn restore(config: &Config, dir: &Path) -> Result<usize, BackupError> {
    let manifest = Manifest::read(dir)
        .map_err(|error| BackupError::NoManifest { dir: dir.to_owned(), reason: error.to_string() })?;
    if let Some(needed) = &manifest.root_key {
        root_key::check(config, needed)?;
    }
    let data_dir = &config.data_dir;
    make_dir(data_dir)?;
    let unfinished = data_dir.join(UNFINISHED);
    for entry in fs::read_dir(data_dir).map_err(at(data_dir))? {
        if entry.map_err(at(data_dir))?.file_name() != UNFINISHED {
            return Err(BackupError::NotEmpty(data_dir.clone()));
        }
    }
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
    }
    let (log, audit) = (unfinished.join(LOG_DIRECTORY), unfinished.join(AUDIT));
    make_dir(&log)?;
    make_dir(&audit)?;
    let bar = bar(manifest.files.len());
    for file in &manifest.files {
        let source = dir.join(&file.path);
        let copied = copy(&source, &unfinished.join(&file.path)).map_err(at(&source))?;
        if copied != (file.bytes, file.sha256.clone()) {
            return Err(BackupError::Changed(source));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    sync_dirs(&[log.clone(), audit.clone()])?;
    // The log comes last: with it the directory is a broker's.
    for (folder, from) in [(AUDIT, audit), (LOG_DIRECTORY, log)] {
        fs::rename(&from, data_dir.join(folder)).map_err(at(data_dir))?;
        sync_dirs(std::slice::from_ref(data_dir))?;
    }
    fs::remove_dir(&unfinished).map_err(at(&unfinished))?;
    if config.audit_file().parent() != Some(&data_dir.join(AUDIT)) {
        say(&format!(
            "The audit log is in {}; the settings want it at {}: move it there before the start",
            data_dir.join(AUDIT).display(),
            config.audit_file().display()
        ));
    }
    Ok(manifest.files.len())
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn sync_dirs(paths: &[PathBuf]) -> Result<(), BackupError> {
    paths.iter().try_for_each(|path| File::open(path).and_then(|dir| dir.sync_all()).map_err(at(path)))
}

fn bar(files: usize) -> ProgressBar {
    // Hidden by indicatif itself where stderr is no terminal.
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} files  {eta}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data_dir: &Path) -> Config {
        Config { data_dir: data_dir.to_owned(), ..Config::default() }
    }

    #[test]
    fn what_is_restored_is_what_was_backed_up() {
        let folder = tempfile::tempdir().unwrap();
        let (from, backup, to) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        crate::cli::inspect::log_with_messages(&from, &[b"one".as_slice(), b"two"]);
        let (manifest, report) = back_up(&config(&from), &backup).unwrap();
        assert!(report.damage.is_empty());
        assert_eq!(restore(&config(&to), &backup).unwrap(), manifest.files.len());
        for file in &manifest.files {
            assert_eq!(fs::read(from.join(&file.path)).unwrap(), fs::read(to.join(&file.path)).unwrap());
        }
        assert!(matches!(restore(&config(&to), &backup), Err(BackupError::NotEmpty(_))));
    }

    #[test]
    fn a_second_backup_writes_only_what_differs() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let (from, backup) = (folder.path().join("a"), folder.path().join("b"));
        crate::cli::inspect::log_with_messages(&from, &[b"one".as_slice()]);
        let (manifest, _) = back_up(&config(&from), &backup).unwrap();
        let inode = |file: &Entry| fs::metadata(backup.join(&file.path)).unwrap().ino();
        let before: Vec<u64> = manifest.files.iter().map(inode).collect();
        fs::write(backup.join(&manifest.files[0].path), b"other").unwrap();
        let (again, _) = back_up(&config(&from), &backup).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(manifest.files.iter().map(inode).skip(1).collect::<Vec<_>>(), before[1..]);
    }

    #[test]
    fn a_changed_or_unfinished_backup_is_not_restored() {
        let folder = tempfile::tempdir().unwrap();
        let (from, backup, to) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        crate::cli::inspect::log_with_messages(&from, &[b"one".as_slice()]);
        let (manifest, _) = back_up(&config(&from), &backup).unwrap();
        let file = backup.join(&manifest.files[0].path);
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(matches!(restore(&config(&to), &backup), Err(BackupError::Changed(_))));
        assert!(!to.join(LOG_DIRECTORY).exists());
        fs::remove_file(backup.join(MANIFEST)).unwrap();
        assert!(matches!(restore(&config(&to), &backup), Err(BackupError::NoManifest { .. })));
    }

    #[test]
    fn a_backup_names_the_root_key_that_opens_it_and_is_not_taken_amid_a_change() {
        use sealq_storage::{IoChoice, Log, LogOptions};
        let folder = tempfile::tempdir().unwrap();
        let (from, backup, to) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("c"));
        let sealed = |id: u8| [&[1][..], &[id; 64]].concat();
        let put = |entries: &[(&[u8], u8)]| {
            let options = LogOptions {
                dir: from.clone(),
                segment_bytes: 4 << 20,
                io: IoChoice::Threads,
                ..LogOptions::default()
            };
            let (mut log, _) = Log::open(LogOptions { free_space_min_bytes: 0, ..options }).unwrap();
            for (key, id) in entries {
                log.put_catalog(key, &sealed(*id)).unwrap();
            }
            log.close().unwrap();
        };
        put(&[(b"kms/secret", 7), (b"kms/key/x", 7), (b"queue/0/q", 9)]);
        let (manifest, _) = back_up(&config(&from), &backup).unwrap();
        assert_eq!(manifest.root_key.as_deref(), Some("0707070707070707"));
        let to = Config { secrets_dir: folder.path().join("s"), ..config(&to) };
        fs::create_dir(&to.secrets_dir).unwrap();
        let other =
            sealq_crypto::root_key::RootFile::generate(&mut sealq_crypto::entropy::SystemEntropy).unwrap();
        crate::first_start::secret_file::write(&to.root_key_file(), &other).unwrap();
        assert!(matches!(restore(&to, &backup), Err(BackupError::OtherRootKey { .. })));
        assert!(!to.data_dir.exists());
        fs::remove_file(to.root_key_file()).unwrap();
        restore(&to, &backup).unwrap();
        put(&[(b"kms/secret", 8)]);
        assert!(matches!(back_up(&config(&from), &backup), Err(BackupError::RootKeyChanging)));
        put(&[(b"kms/key/x", 8)]);
        assert_eq!(back_up(&config(&from), &backup).unwrap().0.root_key.as_deref(), Some("0808080808080808"));
    }

    #[test]
    fn a_directory_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, other) = (folder.path().join("a"), folder.path().join("b"));
        assert!(matches!(back_up(&config(&from), &other), Err(BackupError::NoLog(_))));
        crate::cli::inspect::log_with_messages(&from, &[b"one".as_slice()]);
        fs::create_dir(&other).unwrap();
        fs::write(other.join("letter"), b"x").unwrap();
        assert!(matches!(back_up(&config(&from), &other), Err(BackupError::NotABackup(_))));
        assert!(matches!(back_up(&config(&from), &from.join("in")), Err(BackupError::InsideData(_))));
    }
}
