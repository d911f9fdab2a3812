//! `sealq audit`: checks the chain of the audit log, or prints its records. Reads only; also beside a running broker.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::{Exit, Sources, data, say, say_error, settings};
use crate::audit::{ChainReport, chain_files, verify};

/// How often a followed file is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// What to do with the audit log.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Checks that every record follows the one before. Ends with 4 where one does not, and names file and line.
    #[command(after_help = "Example:\n  sealq audit verify --data-dir /var/lib/sealq")]
    Verify {
        /// Number of the oldest record, where older files were moved away on purpose.
        #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
        first: u64,
    },
    /// Prints the records, oldest first, one JSON object a line.
    #[command(after_help = "Example:\n  sealq audit tail --lines 20 --follow | jq .eventName")]
    Tail {
        /// Go on with records as they are written, until interrupted.
        #[arg(long, short)]
        follow: bool,
        /// Only the last N of the records that are there (default: all).
        #[arg(long, short = 'n', value_name = "N")]
        lines: Option<usize>,
    },
}

/// Runs it.
pub fn run(sources: &Sources, action: &Action) -> Exit {
    let (path, mark_file) = match settings(sources) {
        Ok(loaded) => (loaded.config.audit_file(), loaded.config.audit_mark_file()),
        Err(exit) => return exit,
    };
    match chain_files(&path) {
        Ok(files) if files.is_empty() => {
            say(&format!(
                "sealq: there is no audit log {}: name the broker's directory with --data-dir, or start it once",
                path.display()
            ));
            return Exit::Failed;
        }
        Ok(_) => {}
        Err(error) => return unreadable(&path, &error),
    }
    match *action {
        Action::Verify { first } => match verify(&path, &mark_file, first) {
            Ok(report) => print(&report),
            Err(error) => {
                say_error(&error);
                Exit::Failed
            }
        },
        Action::Tail { follow, lines } => {
            let mut out = io::stdout().lock();
            match tail(&path, lines, follow.then_some(FOLLOW_EVERY), &mut out) {
                Ok(()) => Exit::Done,
                // Whoever read the output has gone (`sealq audit tail | head`).
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
                Err(error) => unreadable(&path, &error),
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Exit {
    say(&format!("sealq: audit log {}: {error}: run this as the broker's user", path.display()));
    Exit::Failed
}

fn print(report: &ChainReport) -> Exit {
    let places =
        report.broken.iter().map(|(file, line, what)| format!("{}:{line}: {what}\n", file.display()));
    let printed = data(&places.collect::<String>());
    let records = report.records;
    if report.broken.is_empty() {
        say(&format!("{records} records: the chain holds"));
        return printed;
    }
    say(&format!(
        "{records} records: the chain is broken at {} places. A line that does not match is the one after what was \
         changed; compare with a copy kept elsewhere",
        report.broken.len()
    ));
    Exit::Damage
}

/// Prints whole lines of every file of the chain, then, with `follow`, what is added to the current one.
fn tail(path: &Path, last: Option<usize>, follow: Option<Duration>, out: &mut dyn Write) -> io::Result<()> {
    let mut kept = VecDeque::new();
    let mut current = None;
    for file in chain_files(path)? {
        let mut lines = Lines::open(&file)?;
        while let Some(line) = lines.next()? {
            match last {
                None => out.write_all(&line)?,
                Some(most) => {
                    kept.push_back(line);
                    if kept.len() > most {
                        kept.pop_front();
                    }
                }
            }
        }
        current = Some(lines);
    }
    for line in kept {
        out.write_all(&line)?;
    }
    out.flush()?;
    let (Some(mut lines), Some(every)) = (current, follow) else { return Ok(()) };
    loop {
        std::thread::sleep(every);
        // Asked before reading: what was written before the file was replaced is read from the old one.
        let replaced = std::fs::metadata(path).is_ok_and(|now| now.ino() != lines.inode);
        while let Some(line) = lines.next()? {
            out.write_all(&line)?;
        }
        if replaced {
            lines = follow_on(path, lines, out)?;
        }
        out.flush()?;
    }
}

/// The current file; what lies between it and the one that was current is printed.
fn follow_on(path: &Path, from: Lines, out: &mut dyn Write) -> io::Result<Lines> {
    let mut files = chain_files(path)?;
    let is_from = |file: &PathBuf| std::fs::metadata(file).is_ok_and(|found| found.ino() == from.inode);
    if let Some(at) = files.iter().position(is_from) {
        files.drain(..=at);
    }
    let mut lines = from;
    for file in files {
        lines = Lines::open(&file)?;
        while let Some(line) = lines.next()? {
            out.write_all(&line)?;
        }
    }
    Ok(lines)
}

/// Whole lines of a file that may grow.
struct Lines {
    reader: BufReader<File>,
    inode: u64,
    unfinished: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self { reader: BufReader::new(file), inode, unfinished: Vec::new() })
    }

    /// The next whole line with its newline; `None` when there is none yet.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.reader.read_until(b'\n', &mut self.unfinished)?;
        Ok(self.unfinished.ends_with(b"\n").then(|| std::mem::take(&mut self.unfinished)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Chain;

    fn chain(data_dir: &Path, records: u64) -> Chain {
        let mut chain =
            Chain::open(&data_dir.join("audit/audit.jsonl"), &data_dir.join("audit.mark"), 1 << 20).unwrap();
        for number in 0..records {
            chain.append(serde_json::json!({"eventName": format!("Event{number}")})).unwrap();
        }
        chain
    }

    fn sources(data_dir: &Path) -> Sources {
        Sources { data_dir: Some(data_dir.to_owned()), ..Sources::default() }
    }

    #[test]
    fn a_sound_chain_is_done_and_a_changed_line_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run(&sources(folder.path()), &Action::Verify { first: 1 }), Exit::Failed);
        chain(folder.path(), 3);
        assert_eq!(run(&sources(folder.path()), &Action::Verify { first: 1 }), Exit::Done);
        let path = folder.path().join("audit/audit.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("Event1", "Event8")).unwrap();
        assert_eq!(run(&sources(folder.path()), &Action::Verify { first: 1 }), Exit::Damage);
        assert_eq!(verify(&path, &folder.path().join("audit.mark"), 1).unwrap().broken[0].1, 3);
    }

    #[test]
    fn a_record_that_is_being_written_is_not_damage_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        chain(folder.path(), 2);
        let path = folder.path().join("audit/audit.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"eventNa")).unwrap();
        assert_eq!(run(&sources(folder.path()), &Action::Verify { first: 1 }), Exit::Done);
        let mut out = Vec::new();
        tail(&path, None, None, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn bytes_that_are_no_text_are_damage() {
        let folder = tempfile::tempdir().unwrap();
        chain(folder.path(), 2);
        let path = folder.path().join("audit/audit.jsonl");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2] = 0xff;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(run(&sources(folder.path()), &Action::Verify { first: 1 }), Exit::Damage);
    }

    #[test]
    fn tail_keeps_the_last_lines_and_follows_into_a_new_file() {
        struct Until(Vec<u8>, std::path::PathBuf);
        impl Write for Until {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                match self.0.iter().filter(|&&byte| byte == b'\n').count() {
                    // Twice between two looks.
                    1 => std::fs::rename(&self.1, self.1.with_extension("jsonl.1"))
                        .and_then(|()| std::fs::write(self.1.with_extension("jsonl.2"), "between\n"))
                        .and_then(|()| std::fs::write(&self.1, "after\n")),
                    _ => Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        chain(folder.path(), 3);
        let path = folder.path().join("audit/audit.jsonl");
        let mut out = Until(Vec::new(), path.clone());
        let error = tail(&path, Some(1), Some(Duration::from_millis(1)), &mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let text = String::from_utf8(out.0).unwrap();
        assert!(
            text.contains("Event2") && !text.contains("Event1") && text.ends_with("between\nafter\n"),
            "{text}"
        );
    }
}
