//! Which processes belong to the cluster. Their environment says so, hence nothing is lost when a state file is.

use std::{collections::HashMap, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// The variable that every process of the cluster carries; its value is the process' name.
pub const MARK: &str = "THANOS_OPERATOR_TESTS_PROCESS";

/// A running process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its id on the host.
    pub pid: i32,
    /// The id of its parent.
    pub parent: i32,
    /// The name it was started as; what it starts itself inherits it.
    pub name: String,
    /// The program, as the kernel calls it.
    pub program: String,
}

/// Every process that carries the mark. Zombies have no environment and do not count.
pub fn scan() -> Vec<Running> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(read)
        .collect()
}

/// The process that was started as `name`: the one child of the program that entered the namespaces for it.
pub fn find(name: &str) -> Option<Running> {
    find_in(&scan(), name)
}

/// As [`find`], among `all`.
pub fn find_in(all: &[Running], name: &str) -> Option<Running> {
    let by_pid: HashMap<i32, &Running> = all.iter().map(|running| (running.pid, running)).collect();
    let entered = |running: &&Running| {
        by_pid.get(&running.parent).is_some_and(|parent| is_launcher(parent) && parent.name == name)
    };
    all.iter().filter(|running| running.name == name && !is_launcher(running)).find(entered).cloned()
}

/// Ends processes at once. Those that are gone already are fine.
pub fn kill(pids: impl IntoIterator<Item = i32>) {
    for pid in pids.into_iter().filter_map(Pid::from_raw) {
        kill_process(pid, Signal::KILL).ok();
    }
}

/// Whether a process has given everything back. One that ends loses its environment first and its ports last.
pub fn has_ended(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// `nsenter` and `unshare` fork and wait for the real process; `setsid` goes away.
fn is_launcher(running: &Running) -> bool {
    matches!(running.program.as_str(), "nsenter" | "unshare" | "setsid")
}

fn read(pid: i32) -> Option<Running> {
    let folder = Path::new("/proc").join(pid.to_string());
    let environment = fs::read(folder.join("environ")).ok()?;
    let name = environment.split(|&byte| byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARK.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    })?;
    // "pid (program) state parent …"; the program may hold anything, also a parenthesis.
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let parent = after.split_whitespace().nth(1)?.parse().ok()?;
    let program = before.split_once('(')?.1.to_owned();
    Some(Running { pid, parent, name, program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_when_it_is_gone_or_waits_to_be_asked_how() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat");
        let pid = i32::try_from(child.id()).expect("an id");
        assert!(!has_ended(pid));
        child.kill().expect("killed");
        child.wait().expect("its end");
        assert!(has_ended(pid));
    }

    #[test]
    fn what_a_process_starts_itself_is_not_mistaken_for_it() {
        let running = |pid, parent, name: &str, program: &str| Running {
            pid,
            parent,
            name: name.to_owned(),
            program: program.to_owned(),
        };
        let all = [
            running(12, 11, "containerd", "containerd-shim"),
            running(10, 1, "containerd", "nsenter"),
            running(11, 10, "containerd", "containerd"),
        ];
        assert_eq!(find_in(&all, "containerd").map(|found| found.pid), Some(11));
    }
}
