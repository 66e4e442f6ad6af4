//! The node's processes: what each is started with, and how to start, stop and find a single one.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    Binaries,
    command::{find_program, output, poll},
    components,
    config::{NODE, NODE_ADDRESS, SERVICE_NETWORK},
    error::{Error, FileContext as _, Result, Tail},
    paths::{self, STATE},
    proc::{self, MARK, Running},
};

/// The name of the process that holds the namespaces.
pub(super) const NAMESPACES: &str = "namespaces";

/// A log above this is emptied when somebody looks at the cluster.
const MAX_LOG_BYTES: u64 = 32 << 20;

/// A process of the node, in the order in which they start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Where the API server stores everything.
    Etcd,
    /// The container runtime.
    Containerd,
    /// The Kubernetes API.
    ApiServer,
    /// Deployments, EndpointSlices, garbage collection …
    Controllers,
    /// Gives pods their node.
    Scheduler,
    /// Runs the pods.
    Kubelet,
    /// Makes Service addresses work.
    Proxy,
    /// Cluster DNS.
    Dns,
}

// === impl Process ===

impl Process {
    /// Every process.
    pub const ALL: &[Self] = &[
        Self::Etcd,
        Self::Containerd,
        Self::ApiServer,
        Self::Controllers,
        Self::Scheduler,
        Self::Kubelet,
        Self::Proxy,
        Self::Dns,
    ];

    /// The name of its log, also what `status` shows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Containerd => "containerd",
            Self::ApiServer => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Dns => "dns",
        }
    }

    /// The running process.
    pub fn find(self) -> Option<Running> {
        proc::find(self.name())
    }

    /// Its log.
    pub fn log(self) -> PathBuf {
        paths::log(self.name())
    }

    /// Starts it inside the node's namespaces. One that runs already is left alone.
    pub fn start(self, binaries: &Binaries) -> Result<()> {
        if self.find().is_some() {
            return Ok(());
        }
        let program = binaries.path(self.name());
        let mut command = in_node(self.name())?;
        if self == Self::Containerd {
            command.env("PATH", search_path(&binaries.folder(&components::NODE)));
        }
        command.arg(&program).args(self.arguments());
        launch(self.name(), command)?;
        poll(Duration::from_secs(5), || Ok(self.find()), || self.died())?;
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub fn stop(self) -> Result<()> {
        let Some(running) = self.find() else { return Ok(()) };
        proc::kill([running.pid]);
        poll(
            Duration::from_secs(10),
            || Ok(proc::has_ended(running.pid).then_some(())),
            || Error::Timeout {
                what: format!("the end of {}", self.name()),
                limit: Duration::from_secs(10),
                tail: Tail::default(),
            },
        )
    }

    /// The error for a process that should be running.
    pub(super) fn died(self) -> Error {
        Error::ProcessDied { process: self.name(), tail: Tail::of(self.log()) }
    }

    /// The command line without the program.
    pub(super) fn arguments(self) -> Vec<String> {
        let arguments: &[&str] = match self {
            Self::Etcd => &[
                "--data-dir={state}/etcd",
                "--listen-client-urls=http://127.0.0.1:2379",
                "--advertise-client-urls=http://127.0.0.1:2379",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--log-level=warn",
                "--unsafe-no-fsync",
            ],
            Self::Containerd => &["--config={state}/containerd.toml", "--log-level=warn"],
            Self::ApiServer => &[
                "--etcd-servers=http://127.0.0.1:2379",
                "--bind-address=0.0.0.0",
                "--advertise-address={address}",
                "--secure-port=6443",
                "--tls-cert-file={state}/pki/server.crt",
                "--tls-private-key-file={state}/pki/server.key",
                "--client-ca-file={state}/pki/ca.crt",
                "--service-account-key-file={state}/pki/service-accounts.pub",
                "--service-account-signing-key-file={state}/pki/service-accounts.key",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--authorization-mode=Node,RBAC",
                "--service-cluster-ip-range={services}",
                "--allow-privileged",
                "--kubelet-preferred-address-types=InternalIP",
                // Who wrote what; one older file is kept beside the present one.
                "--audit-policy-file={state}/audit-policy.yaml",
                "--audit-log-path={state}/audit/audit.log",
                "--audit-log-maxsize=64",
                "--audit-log-maxbackup=1",
            ],
            Self::Controllers => &[
                "--kubeconfig={state}/admin.kubeconfig",
                "--service-account-private-key-file={state}/pki/service-accounts.key",
                "--root-ca-file={state}/pki/ca.crt",
                "--use-service-account-credentials",
                "--leader-elect=false",
                "--authentication-skip-lookup",
                // A kubelet that a case stopped must not cost the other cases their pods.
                "--node-monitor-grace-period=10m",
                "--kube-api-qps=100",
                "--kube-api-burst=200",
            ],
            Self::Scheduler => &[
                "--kubeconfig={state}/admin.kubeconfig",
                "--leader-elect=false",
                "--authentication-skip-lookup",
            ],
            Self::Kubelet => &[
                "--config={state}/kubelet.yaml",
                "--kubeconfig={state}/node.kubeconfig",
                "--hostname-override={node}",
                "--node-ip={address}",
                "--root-dir={state}/kubelet",
                "--cert-dir={state}/kubelet-pki",
            ],
            Self::Proxy => &[
                "--kubeconfig={state}/admin.kubeconfig",
                "--proxy-mode=nftables",
                "--hostname-override={node}",
                "--cluster-cidr=10.244.0.0/16",
                "--conntrack-max-per-core=0",
            ],
            Self::Dns => &["-conf={state}/Corefile"],
        };
        let fill = |argument: &&str| {
            argument
                .replace("{state}", STATE)
                .replace("{address}", NODE_ADDRESS)
                .replace("{node}", NODE)
                .replace("{services}", SERVICE_NETWORK)
        };
        arguments.iter().map(fill).collect()
    }
}

/// A command that runs inside the node's namespaces once its program is added. `name` marks it as the cluster's.
pub(super) fn in_node(name: &str) -> Result<Command> {
    let init = proc::find(NAMESPACES).ok_or(Error::NotRunning)?;
    let mut command = Command::new("setsid");
    command.arg("--fork").arg("nsenter").arg(format!("--target={}", init.pid));
    command.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"]).env(MARK, name);
    Ok(command)
}

/// Runs `program` inside the node's namespaces to its end and returns what it wrote.
pub(super) fn run_in_node(step: &str, program: &[&str]) -> Result<String> {
    let init = proc::find(NAMESPACES).ok_or(Error::NotRunning)?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={}", init.pid));
    command.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--"]).args(program);
    output(step, &mut command)
}

/// Starts a command that detaches itself, with everything it writes at the end of its log.
pub(super) fn launch(name: &str, mut command: Command) -> Result<()> {
    let path = paths::log(name);
    let log = File::options().create(true).append(true).open(&path).at("open log", &path)?;
    let second = log.try_clone().at("open log", &path)?;
    output_to(&mut command, log, second).at("start", name)
}

/// PATH with the folder of containerd's shim first and those of root's programs last.
pub(super) fn search_path(first: &Path) -> String {
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", first.display())
}

/// Debian's runc.
pub(super) fn runc() -> PathBuf {
    find_program("runc").unwrap_or_else(|| PathBuf::from("/usr/sbin/runc"))
}

/// Empties logs that became too long; they are only ever appended to, so nothing else has to know.
pub(super) fn cap_logs() {
    for process in Process::ALL {
        let path = process.log();
        if path.metadata().is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
            File::create(path).ok();
        }
    }
}

/// Waits until `condition` holds, failing at once when one of `needed` died.
pub(super) fn wait_until(
    what: &str,
    limit: Duration,
    needed: &[Process],
    blame: Process,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let mut looked = Instant::now();
    poll(
        limit,
        || {
            if condition() {
                return Ok(Some(()));
            }
            if looked.elapsed() > Duration::from_millis(500) {
                looked = Instant::now();
                let all = proc::scan();
                if let Some(dead) =
                    needed.iter().find(|process| proc::find_in(&all, process.name()).is_none())
                {
                    return Err(dead.died());
                }
            }
            Ok(None)
        },
        || Error::Timeout { what: what.to_owned(), limit, tail: Tail::of(blame.log()) },
    )
}

fn output_to(command: &mut Command, stdout: File, stderr: File) -> std::io::Result<()> {
    // `setsid --fork` ends at once and leaves its child to the system, so nobody has to wait for it later.
    let status = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(status.to_string())),
    }
}
