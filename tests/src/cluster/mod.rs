//! A real Kubernetes of one node, built from pinned Go modules and run in namespaces of its own.
//!
//! `build` makes the binaries once, `up` starts the node in seconds, `install` puts the operator on it,
//! `down` leaves nothing behind. One cluster a machine; everything of it is found by its name
//! ([`paths`], [`proc::MARK`]), so a crash needs no repair by hand. An existing cluster can take its place
//! ([`Cluster::existing`]); then only what works through its API is possible.
//!
//! All functions block; an async caller puts them on a blocking thread. Only [`Cluster::client`] is async.

mod arguments;
mod build;
mod command;
pub mod components;
pub mod config;
mod dns;
mod down;
pub mod error;
mod images;
mod install;
mod lock;
mod node;
mod packages;
pub mod paths;
mod pki;
pub mod proc;
mod processes;
mod progress;
mod status;
mod up;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use kube::config::{KubeConfigOptions, Kubeconfig};

use self::lock::Lock;

pub use self::{
    arguments::ClusterArguments,
    build::{Binaries, Built, build},
    dns::lookup,
    down::down,
    error::{Error, Result},
    images::Image,
    install::{
        DEPLOYMENT, Images, NAMESPACE, Product, build_product, install, load_images, load_release_images,
    },
    processes::Process,
    progress::{Progress, Step},
    status::{Status, status},
    up::{unhealthy, up},
};

/// A cluster that cases talk to.
#[derive(Clone, Debug)]
pub struct Cluster {
    target: Target,
    binaries: Binaries,
}

#[derive(Clone, Debug)]
enum Target {
    /// Started by [`up`].
    Own,
    /// A context of the user's kubeconfig.
    Existing(String),
}

/// The environment variable that names an existing cluster's context.
pub const CONTEXT_ENV: &str = "E2E_CONTEXT";

// === impl Cluster ===

impl Cluster {
    /// The running cluster of [`up`].
    pub fn connect(progress: &Progress) -> Result<Self> {
        if !packages::is_root() {
            return Err(Error::NeedsRoot("talking to the test cluster"));
        }
        if proc::find(processes::NAMESPACES).is_none() {
            return Err(Error::NotRunning);
        }
        Ok(Self::own(build(progress)?))
    }

    /// An existing cluster, by its context in the user's kubeconfig.
    pub fn existing(context: impl Into<String>) -> Self {
        Self { target: Target::Existing(context.into()), binaries: Binaries::none() }
    }

    fn own(binaries: Binaries) -> Self {
        Self { target: Target::Own, binaries }
    }

    /// Whether this is the cluster of [`up`], whose processes can be stopped.
    pub fn is_own(&self) -> bool {
        matches!(self.target, Target::Own)
    }

    /// The kubeconfig of our own cluster; `None` with an existing one, which the user's kubeconfig names.
    pub fn kubeconfig(&self) -> Option<PathBuf> {
        self.is_own().then(paths::kubeconfig)
    }

    /// The context in the user's kubeconfig; `None` with our own cluster.
    pub fn context(&self) -> Option<&str> {
        match &self.target {
            Target::Own => None,
            Target::Existing(context) => Some(context),
        }
    }

    /// A client with the rights of an administrator.
    pub async fn client(&self) -> Result<kube::Client> {
        let options = KubeConfigOptions { context: self.context().map(str::to_owned), ..Default::default() };
        let kubeconfig = match self.kubeconfig() {
            Some(path) => Kubeconfig::read_from(path)?,
            None => Kubeconfig::read()?,
        };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        kube::Client::try_from(config).map_err(|error| Error::Client(Box::new(error)))
    }

    /// `kubectl` that talks to this cluster.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.bin("kubectl"));
        match &self.target {
            Target::Own => {
                command.arg("--kubeconfig").arg(paths::kubeconfig());
                command.arg("--cache-dir").arg(paths::state("kubectl"));
            }
            Target::Existing(context) => {
                command.args(["--context", context]);
            }
        }
        command
    }

    /// The path of a built binary (`kubectl`, `thanos`, `promtool` …); with an existing cluster its plain name.
    pub fn bin(&self, name: &str) -> PathBuf {
        self.binaries.path(name)
    }

    /// The built components.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Loads one more image, unless it is there.
    pub fn load_image(&self, image: &Image) -> Result<()> {
        self.only_own("loading an image")?;
        let _lock = Lock::acquire(Path::new(paths::LOCK), &Progress::silent())?;
        images::load(self, image, &image.reference).map(drop)
    }

    /// Ends a process of the node at once, as a crash would.
    pub fn stop(&self, process: Process) -> Result<()> {
        self.only_own("stopping a process of the node")?;
        process.stop()
    }

    /// Starts a process of the node that was stopped.
    pub fn start(&self, process: Process) -> Result<()> {
        self.only_own("starting a process of the node")?;
        process.start(&self.binaries)
    }

    /// Ends the API server at once. etcd, the kubelet and the pods go on.
    pub fn stop_api_server(&self) -> Result<()> {
        self.stop(Process::ApiServer)
    }

    /// Starts the API server and waits until it is ready.
    pub fn start_api_server(&self) -> Result<()> {
        self.start(Process::ApiServer)?;
        let limit = Duration::from_secs(60);
        processes::wait_until("a ready API server", limit, &[Process::ApiServer], Process::ApiServer, || {
            up::api_ready(self)
        })
    }

    /// Runs a program in the node's namespaces, with the node's mounts, and returns what it wrote.
    pub fn run_in_node(&self, program: &[&str]) -> Result<String> {
        self.only_own("running a program on the node")?;
        processes::run_in_node("running a program on the node", program)
    }

    /// The kubelet's folder as the node sees it, for [`Cluster::run_in_node`]; `None` when it has no file
    /// system of its own, so that filling it would fill the host.
    pub fn kubelet_disk(&self) -> Option<PathBuf> {
        let kind = std::fs::read_to_string(paths::state("run/kubelet-disk")).ok()?;
        (self.is_own() && kind.trim() == "loop").then(|| paths::state("kubelet"))
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new(self.bin("ctr"));
        command.arg("--address").arg(paths::state("run/containerd.sock")).args(["--namespace", "k8s.io"]);
        command
    }

    fn only_own(&self, what: &'static str) -> Result<()> {
        if self.is_own() { Ok(()) } else { Err(Error::OnlyOwn(what)) }
    }
}
