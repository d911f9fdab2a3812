//! Processor time and memory of a process, from /proc.

use crate::error::BenchError;
use serde::Serialize;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Usage {
    /// User and system time of all threads, seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory, mapped files included, bytes.
    pub(crate) rss_bytes: u64,
    /// Resident memory that no file backs, bytes: what the process costs with the page cache set aside.
    pub(crate) anonymous_bytes: u64,
    /// Highest resident memory so far, bytes.
    pub(crate) peak_rss_bytes: u64,
    /// Threads right now.
    pub(crate) threads: u64,
}

impl Usage {
    /// Reads `/proc/<pid>`.
    pub(crate) fn of(pid: u32) -> Result<Usage, BenchError> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .map_err(|source| BenchError::Process { pid, source })
        };
        let status = read("status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
        };
        Ok(Usage {
            cpu_seconds: ticks(&read("stat")?) as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: field("VmRSS") * 1024,
            anonymous_bytes: field("RssAnon") * 1024,
            peak_rss_bytes: field("VmHWM") * 1024,
            threads: field("Threads"),
        })
    }
}

/// Fields 14 and 15 of `/proc/<pid>/stat`, counted after the command name, which may hold anything.
fn ticks(stat: &str) -> u64 {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    field(11) + field(12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194304 100 0 0 0 70 30 0 0 20 0 4 0 1 2 3";
        assert_eq!(ticks(stat), 100);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 100_000 && usage.threads >= 1, "{usage:?}");
        assert!(Usage::of(u32::MAX).is_err());
    }
}
