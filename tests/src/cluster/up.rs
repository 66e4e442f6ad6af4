//! Starts the one-node cluster and waits until it can be used.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use sha2::{Digest as _, Sha256};

use super::{
    Binaries, Cluster,
    build::build,
    command::output,
    components::{NODE as NODE_COMPONENT, OF_NODE, short_hash},
    config::{self, NODE, NODE_ADDRESS},
    dns, down,
    error::{Error, FileContext as _, Result},
    images,
    lock::Lock,
    node, packages,
    paths::{self, LOCK, STATE},
    pki,
    processes::{self, Process, wait_until},
    progress::Progress,
};

/// How long one stage of the start may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The name that a working cluster DNS knows.
const KNOWN_NAME: &str = "kubernetes.default.svc.cluster.local";

/// The CNI plugins, which containerd looks for in one folder.
const CNI_PLUGINS: &[&str] = &["bridge", "host-local", "loopback", "portmap"];

/// Builds what is missing and starts the cluster. A healthy one of the same hash is used as it is.
pub fn up(progress: &Progress) -> Result<Cluster> {
    if !packages::is_root() {
        return Err(Error::NeedsRoot("starting the test cluster"));
    }
    let binaries = build(progress)?;
    let _lock = Lock::acquire(Path::new(LOCK), progress)?;
    let hash = hash(&binaries);
    if running_hash().is_some_and(|running| running == hash) {
        let cluster = Cluster::own(binaries.clone());
        if unhealthy(&cluster).is_empty() {
            processes::cap_logs();
            progress.line("the test cluster is already running");
            return Ok(cluster);
        }
    }
    down::remove(progress)?;
    let step = progress.step("starting the test cluster");
    let cluster = start(binaries)?;
    // Written last: a start that was interrupted is never taken for a cluster.
    let path = paths::state("hash");
    fs::write(&path, hash).at("write", &path)?;
    step.done();
    if fs::read_to_string(paths::state("run/kubelet-disk")).is_ok_and(|kind| kind.trim() != "loop") {
        progress.line(
            "no loop device here: the kubelet shares the host's disk, the full-disk case will be skipped",
        );
    }
    Ok(cluster)
}

/// What is wrong with the running cluster, one line each.
pub fn unhealthy(cluster: &Cluster) -> Vec<String> {
    let mut problems = Vec::new();
    if cluster.is_own() {
        let all = super::proc::scan();
        let dead = Process::ALL.iter().filter(|process| super::proc::find_in(&all, process.name()).is_none());
        problems.extend(dead.map(|process| format!("{} is not running", process.name())));
        if !problems.is_empty() {
            return problems;
        }
        if !dns_answers() {
            problems.push("cluster DNS does not answer".to_owned());
        }
    }
    match api_problem(cluster) {
        Some(problem) => problems.push(format!("the API server is not ready: {problem}")),
        None if !node_ready(cluster) => problems.push("no node is Ready".to_owned()),
        None => {}
    }
    problems
}

/// Whether the API server says that it is ready.
pub(super) fn api_ready(cluster: &Cluster) -> bool {
    api_problem(cluster).is_none()
}

fn api_problem(cluster: &Cluster) -> Option<String> {
    let mut command = cluster.kubectl();
    command.args(["get", "--raw=/readyz", "--request-timeout=5s"]);
    match output("asking the API server", &mut command) {
        Ok(_) => None,
        Err(Error::Command { mut tail, outcome, .. }) => {
            Some(tail.lines.pop().unwrap_or_else(|| format!("`kubectl` {outcome}")))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// Whether some node is Ready.
pub(super) fn node_ready(cluster: &Cluster) -> bool {
    let path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
    let mut command = cluster.kubectl();
    command.args(["get", "nodes", "--request-timeout=5s", "-o", path]);
    command.output().is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).split_whitespace().any(|status| status == "True")
    })
}

/// Whether cluster DNS knows the API server's Service.
pub(super) fn dns_answers() -> bool {
    let Ok(address) = NODE_ADDRESS.parse() else { return false };
    dns::lookup(SocketAddr::new(address, 53), KNOWN_NAME).is_some()
}

fn start(binaries: Binaries) -> Result<Cluster> {
    fs::create_dir_all(STATE).at("create folder", STATE)?;
    pki::write(&paths::state("pki"))?;
    let overlay = node::overlay_works()?;
    config::write(overlay, &processes::runc())?;
    copy_plugins(&binaries)?;
    node::create(&binaries)?;
    node::connect()?;

    let cluster = Cluster::own(binaries);
    let start = |process: Process| process.start(&cluster.binaries);
    start(Process::Etcd)?;
    start(Process::ApiServer)?;
    start(Process::Containerd)?;
    let socket = paths::state("run/containerd.sock");
    wait_until("the start of containerd", LIMIT, &[Process::Containerd], Process::Containerd, || {
        socket.exists()
    })?;
    images::load_pause(&cluster)?;
    wait_until(
        "a ready API server",
        LIMIT,
        &[Process::Etcd, Process::ApiServer],
        Process::ApiServer,
        || api_ready(&cluster),
    )?;
    for process in [Process::Controllers, Process::Scheduler, Process::Kubelet, Process::Proxy, Process::Dns]
    {
        start(process)?;
    }
    wait_until(&format!("{NODE} Ready"), LIMIT, Process::ALL, Process::Kubelet, || node_ready(&cluster))?;
    wait_until("an answer of cluster DNS", LIMIT, Process::ALL, Process::Dns, dns_answers)?;
    wait_for_default_account(&cluster)?;
    Ok(cluster)
}

/// Without it no pod can be created in `default`.
fn wait_for_default_account(cluster: &Cluster) -> Result<()> {
    wait_until("the ServiceAccount default/default", LIMIT, Process::ALL, Process::Controllers, || {
        let mut command = cluster.kubectl();
        command.args(["-n", "default", "get", "serviceaccount", "default"]);
        command.output().is_ok_and(|output| output.status.success())
    })
}

fn copy_plugins(binaries: &Binaries) -> Result<()> {
    let folder = paths::state("cni/bin");
    fs::create_dir_all(&folder).at("create folder", &folder)?;
    for name in CNI_PLUGINS {
        let source = binaries.folder(&NODE_COMPONENT).join(name);
        fs::copy(&source, folder.join(name)).at("copy", &source)?;
    }
    Ok(())
}

/// Names everything that a running node was made from.
fn hash(binaries: &Binaries) -> String {
    let mut hash = Sha256::new();
    for component in OF_NODE {
        hash.update(binaries.key(component));
    }
    for (name, text) in config::files(true, &processes::runc()) {
        hash.update(name);
        hash.update(text);
    }
    for process in Process::ALL {
        hash.update(process.arguments().join(" "));
    }
    short_hash(hash)
}

fn running_hash() -> Option<String> {
    fs::read_to_string(paths::state("hash")).ok()
}
