//! What a number was measured on: processor, kernel, disk, commit. Without it a number says nothing.

use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// Facts of this machine.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    /// Device, file system and mount options of the directory that the broker writes to.
    disk: Option<String>,
}

/// The source that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Source {
    commit: Option<String>,
    /// Files that differ from the commit.
    changed: bool,
}

impl Machine {
    /// `data_dir`: a directory on the disk that matters.
    pub(crate) fn read(data_dir: Option<&Path>) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let meminfo = read("/proc/meminfo");
        let memory = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
        let memory_kib: u64 = memory.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        Machine {
            cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: data_dir.and_then(|dir| mount_of(&read("/proc/mounts"), dir)),
        }
    }
}

/// The line of `/proc/mounts` with the longest mount point that `dir` lies under.
fn mount_of(mounts: &str, dir: &Path) -> Option<String> {
    let dir = std::fs::canonicalize(dir).ok()?;
    let under = mounts.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        let point = *fields.get(1)?;
        dir.starts_with(point).then(|| (point.len(), format!("{} {} {}", fields[0], fields[2], fields[3])))
    });
    under.max_by_key(|(len, _)| *len).map(|(_, text)| text)
}

impl Source {
    /// Asks git in the current directory.
    pub(crate) fn read() -> Source {
        let commit = git(&["rev-parse", "HEAD"]).filter(|commit| !commit.is_empty());
        let changed =
            git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|out| !out.is_empty());
        Source { commit, changed }
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_wins() {
        let mounts = "/dev/a / ext4 rw 0 0\n/dev/b /nowhere xfs rw 0 0\ntmpfs /tmp tmpfs rw,noatime 0 0\n";
        let found = mount_of(mounts, Path::new("/tmp")).unwrap();
        assert_eq!(found, "tmpfs tmpfs rw,noatime");
    }
}
