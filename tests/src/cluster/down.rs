//! Takes the cluster away, also after a crash: everything is found by its name, not by a state file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    command::poll,
    error::{Error, FileContext as _, Result},
    lock::Lock,
    node, packages,
    paths::{HOST_INTERFACE, LOCK, STATE},
    proc,
    progress::Progress,
};

/// How long the kernel may take to clear what belonged to ended processes.
const LIMIT: Duration = Duration::from_secs(20);

/// Stops the cluster and removes every trace of it from the machine.
pub fn down(progress: &Progress) -> Result<()> {
    if !packages::is_root() {
        return Err(Error::NeedsRoot("taking the test cluster down"));
    }
    let _lock = Lock::acquire(Path::new(LOCK), progress)?;
    remove(progress)
}

/// As [`down`], for those who hold the lock.
pub(super) fn remove(progress: &Progress) -> Result<()> {
    if !Path::new(STATE).exists() && left_over().is_empty() {
        return Ok(());
    }
    let step = progress.step("taking the test cluster down");
    // Ending the first process of the namespaces ends everything inside, and with it mounts and interfaces.
    // The interface goes first: a crashed kernel end of it is found by its name alone.
    let cleared = poll(
        LIMIT,
        || {
            proc::kill(proc::scan().into_iter().map(|running| running.pid));
            remove_interface();
            remove_mounts();
            remove_loops();
            node::remove_cgroups();
            Ok(left_over().is_empty().then_some(()))
        },
        || Error::LeftOver(left_over()),
    );
    cleared?;
    if Path::new(STATE).exists() {
        fs::remove_dir_all(STATE).at("remove", STATE)?;
    }
    // Only when empty, so never somebody else's.
    fs::remove_dir("/var/lib/cni").ok();
    step.done();
    Ok(())
}

/// What of the cluster is still on the machine, each as a person would look for it.
pub(super) fn left_over() -> Vec<String> {
    let processes = proc::scan();
    let processes = processes
        .iter()
        .map(|running| format!("process {} ({}, {})", running.pid, running.name, running.program));
    let interface = interface_exists().then(|| format!("interface {HOST_INTERFACE}"));
    let mounts = mounts().into_iter().map(|path| format!("mount {}", path.display()));
    let loops = loops().into_iter().map(|device| format!("loop device {}", device.display()));
    let cgroups = node::cgroups().into_iter().map(|folder| format!("cgroup {}", folder.display()));
    processes.chain(interface).chain(mounts).chain(loops).chain(cgroups).collect()
}

fn interface_exists() -> bool {
    Path::new("/sys/class/net").join(HOST_INTERFACE).exists()
}

/// Its routes go with it.
fn remove_interface() {
    if interface_exists() {
        Command::new("ip").args(["link", "del", HOST_INTERFACE]).output().ok();
    }
}

/// Mounts below the state folder, the newest first.
fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let point = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    text.lines().rev().filter_map(point).filter(|point| point.starts_with(STATE)).collect()
}

fn remove_mounts() {
    for point in mounts() {
        Command::new("umount").arg("--lazy").arg(point).output().ok();
    }
}

/// Loop devices whose file is below the state folder, also one that was deleted.
fn loops() -> Vec<PathBuf> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let ours = |folder: &PathBuf| {
        fs::read_to_string(folder.join("loop/backing_file"))
            .is_ok_and(|file| Path::new(file.trim()).starts_with(STATE))
    };
    let device = |folder: PathBuf| folder.file_name().map(|name| Path::new("/dev").join(name));
    entries.map(|entry| entry.path()).filter(ours).filter_map(device).collect()
}

fn remove_loops() {
    for device in loops() {
        Command::new("losetup").arg("--detach").arg(device).output().ok();
    }
}
