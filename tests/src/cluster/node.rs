//! The namespaces of the node, its cgroups and its cable to the host.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    Binaries,
    command::{output, poll},
    components,
    config::{HOST_ADDRESS, NODE_ADDRESS, SERVICE_NETWORK},
    error::{Error, FileContext as _, Result, Tail},
    paths::{self, CGROUP, HOST_INTERFACE, STATE},
    proc::{self, MARK},
    processes::{NAMESPACES, launch, run_in_node},
};

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// The host's route to the pods.
const PODS_ROUTE: &str = "10.244.0.0/16";

/// Makes the namespaces, with a process that holds them.
pub(super) fn create(binaries: &Binaries) -> Result<()> {
    // A folder to mount over; `down` takes it away when nobody else uses it.
    let cni = Path::new("/var/lib/cni");
    fs::create_dir_all(cni).at("create folder", cni)?;
    make_cgroups()?;
    let mut command = Command::new("setsid");
    command
        .args([
            "--fork",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child=SIGKILL",
        ])
        .args(["sh", &format!("{STATE}/init.sh")])
        .arg(binaries.folder(&components::PAUSE).join("pause"))
        .env(MARK, NAMESPACES);
    launch(NAMESPACES, command)?;
    let ready = paths::state("run/namespaces-ready");
    let limit = Duration::from_secs(20);
    poll(
        limit,
        || Ok(ready.exists().then_some(())),
        || Error::Timeout {
            what: "the start of the node's namespaces".to_owned(),
            limit,
            tail: Tail::of(paths::log(NAMESPACES)),
        },
    )
}

/// Connects the host with the node: a pair of interfaces, and routes to pods and Services.
pub(super) fn connect() -> Result<()> {
    let init = proc::find(NAMESPACES).ok_or(Error::NotRunning)?.pid.to_string();
    let ip = |arguments: &str| {
        output("connecting the host with the node", Command::new("ip").args(arguments.split(' '))).map(drop)
    };
    let node_ip = |arguments: &str| {
        let all: Vec<&str> = std::iter::once("ip").chain(arguments.split(' ')).collect();
        run_in_node("connecting the node with the host", &all).map(drop)
    };
    ip(&format!("link add {HOST_INTERFACE} type veth peer name eth0 netns {init}"))?;
    ip(&format!("addr add {HOST_ADDRESS}/30 dev {HOST_INTERFACE}"))?;
    ip(&format!("link set {HOST_INTERFACE} up"))?;
    node_ip(&format!("addr add {NODE_ADDRESS}/30 dev eth0"))?;
    node_ip("link set eth0 up")?;
    node_ip(&format!("route add default via {HOST_ADDRESS}"))?;
    ip(&format!("route replace {PODS_ROUTE} via {NODE_ADDRESS} dev {HOST_INTERFACE}"))?;
    ip(&format!("route replace {SERVICE_NETWORK} via {NODE_ADDRESS} dev {HOST_INTERFACE}"))
}

/// Whether a folder below the state can be the upper layer of an overlay.
pub(super) fn overlay_works() -> Result<bool> {
    let root = paths::state("overlay-try");
    for name in ["lower", "upper", "work", "merged"] {
        let path = root.join(name);
        fs::create_dir_all(&path).at("create folder", &path)?;
    }
    let at = root.display();
    // In a namespace of its own: the mount goes with the program.
    let works = Command::new("unshare")
        .args(["--mount", "mount", "-t", "overlay", "overlay", "-o"])
        .arg(format!("lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work"))
        .arg(root.join("merged"))
        .output()
        .is_ok_and(|output| output.status.success());
    fs::remove_dir_all(&root).at("remove", &root)?;
    Ok(works)
}

/// Every cgroup folder of ours: one a hierarchy with cgroup v1, a single one with v2.
pub(super) fn cgroups() -> Vec<PathBuf> {
    hierarchies().into_iter().map(|folder| folder.join(CGROUP)).filter(|path| path.is_dir()).collect()
}

/// Removes our cgroups, deepest first. What still has processes stays and is found by the check of `down`.
pub(super) fn remove_cgroups() {
    fn remove(folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        fs::remove_dir(folder).ok();
    }
    cgroups().iter().for_each(|folder| remove(folder));
}

fn make_cgroups() -> Result<()> {
    for hierarchy in hierarchies() {
        // cgroup v2: a controller reaches our folder only when the root hands it down.
        let handed_down = hierarchy.join("cgroup.subtree_control");
        let names = fs::read_to_string(hierarchy.join("cgroup.controllers")).unwrap_or_default();
        for name in names.split_whitespace() {
            fs::write(&handed_down, format!("+{name}")).ok();
        }
        let folder = hierarchy.join(CGROUP);
        fs::create_dir_all(&folder).at("create cgroup", &folder)?;
        for name in ["cpuset.cpus", "cpuset.mems"] {
            // cgroup v1: a new folder has none, and no process can enter it.
            let path = folder.join(name);
            if path.exists() && !folder.join("cgroup.controllers").exists() {
                let all = fs::read_to_string(hierarchy.join(name)).unwrap_or_default();
                fs::write(&path, all.trim()).at("write cgroup", &path)?;
            }
        }
    }
    Ok(())
}

/// Where the hierarchies are mounted, as `/proc/self/mountinfo` says.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        let is_cgroup = matches!(after.split(' ').next(), Some("cgroup" | "cgroup2"));
        (is_cgroup && point.starts_with(CGROUPS)).then(|| PathBuf::from(point))
    };
    mounts.lines().filter_map(folder).collect()
}
