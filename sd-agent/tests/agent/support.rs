//! What every case needs: documents, a mount as kubelet makes it, a running agent, and waiting for a condition.

use std::{
    fmt::Debug,
    fs, io,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::Client;
use sd_agent::{
    Document, Endpoint, Payload, Report,
    agent::{Parts, run},
    api::Connect,
    args::{Args, Command, RunArgs},
    dns::{Resolver, verdict::Spans},
    mount::watch::{Events, Inotify, WatchFolder},
    timing::Timing,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};

use crate::fake_api::{FakeApi, NAME, NAMESPACE};

/// Generous: a condition that does not come within it does not come.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The document of a generation: `store-<generation>` and `size - 1` others.
pub fn document(generation: u64, size: usize) -> Document {
    let first = format!("store-{generation}.demo.svc:10901");
    let others = (1..size).map(|index| format!("other-{index}.demo.svc:10901"));
    let endpoints = std::iter::once(first).chain(others);
    let endpoints = endpoints.map(|text| Endpoint::regular(text.parse().expect("an address"))).collect();
    Document::new(endpoints).expect("valid")
}

pub fn payload(generation: u64) -> Payload {
    payload_of(generation, &document(generation, 2))
}

pub fn payload_of(generation: u64, document: &Document) -> Payload {
    Payload::pack(document, "owner", generation, Timestamp::now()).expect("fits")
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// The keys of a ConfigMap, as files.
pub fn keys(payload: &Payload) -> Vec<(&str, &[u8])> {
    let texts = payload.data.iter().map(|(key, text)| (key.as_str(), text.as_bytes()));
    let bytes = payload.binary_data.iter().map(|(key, bytes)| (key.as_str(), bytes.as_slice()));
    texts.chain(bytes).collect()
}

/// A mounted ConfigMap, swapped as kubelet's `AtomicWriter` does it.
pub struct Mount {
    pub folder: PathBuf,
    round: usize,
}

impl Mount {
    pub fn at(folder: PathBuf) -> Self {
        Self { folder, round: 0 }
    }

    pub fn show(&mut self, payload: &Payload) {
        self.swap(&keys(payload));
    }

    /// What an optional ConfigMap that was deleted leaves.
    pub fn empty(&mut self) {
        self.swap(&[]);
    }

    pub fn swap(&mut self, keys: &[(&str, &[u8])]) {
        let name = self.next();
        self.fill(&name, keys);
        let old = self.turn(&name);
        self.link(keys);
        if let Some(old) = old {
            fs::remove_dir_all(self.folder.join(old)).expect("removed");
        }
    }

    /// The name of the next folder.
    pub fn next(&mut self) -> String {
        self.round += 1;
        format!("..2026_11_23_{}", self.round)
    }

    /// Makes the folder `name` with all its files.
    pub fn fill(&self, name: &str, keys: &[(&str, &[u8])]) {
        let inside = self.folder.join(name);
        fs::create_dir_all(&inside).expect("made");
        for (key, bytes) in keys {
            fs::write(inside.join(key), bytes).expect("written");
        }
    }

    /// Moves the link to the folder `name`. Returns where it pointed before.
    pub fn turn(&self, name: &str) -> Option<PathBuf> {
        let link = self.folder.join("..data");
        let old = fs::read_link(&link).ok();
        symlink(name, self.folder.join("..data_tmp")).expect("linked");
        fs::rename(self.folder.join("..data_tmp"), &link).expect("renamed");
        old
    }

    /// The links that users see come after the swap, those of keys that are gone go then.
    pub fn link(&self, keys: &[(&str, &[u8])]) {
        for (key, _) in keys {
            let _ = symlink(Path::new("..data").join(key), self.folder.join(key));
        }
        for entry in fs::read_dir(&self.folder).expect("readable").flatten() {
            let name = entry.file_name().into_string().expect("plain");
            if !name.starts_with("..") && keys.iter().all(|(key, _)| *key != name) {
                fs::remove_file(entry.path()).expect("removed");
            }
        }
    }
}

/// The folders of one pod; they outlive an agent.
pub struct Pod {
    folder: TempDir,
    pub mount: Mount,
    /// Where the agent finds the mount.
    pub mounted_at: PathBuf,
}

impl Pod {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("sd")).expect("made");
        let mount = Mount::at(folder.path().join("mount"));
        let mounted_at = mount.folder.clone();
        Self { folder, mount, mounted_at }
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn output(&self) -> PathBuf {
        self.folder.path().join("sd/endpoints.yaml")
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    pub fn inode(&self) -> u64 {
        fs::metadata(self.output()).expect("in place").ino()
    }

    /// What `sd-agent run` is started with.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        let mut arguments = self.plain_arguments(more);
        arguments.push("--thanos-version=v0.42.4".to_owned());
        arguments
    }

    fn plain_arguments(&self, more: &[&str]) -> Vec<String> {
        let (output, mount) = (self.output(), &self.mounted_at);
        let mut arguments: Vec<String> = ["sd-agent", "run", "--config-map", NAME, "--namespace", NAMESPACE]
            .into_iter()
            .map(ToOwned::to_owned)
            .collect();
        arguments.push(format!("--output={}", output.display()));
        arguments.push(format!("--mount={}", mount.display()));
        arguments.extend(more.iter().map(|more| (*more).to_owned()));
        arguments
    }

    /// Starts an agent in this process, against `api` or a port where nothing listens.
    pub async fn start(&self, api: Option<&FakeApi>, more: &[&str]) -> Running {
        self.start_with(api, more, quick(), true).await
    }

    /// Starts an agent for a pod of another Thanos.
    pub async fn start_for(&self, api: &FakeApi, thanos: &str, more: &[&str]) -> Running {
        let mut arguments = self.plain_arguments(more);
        arguments.push(format!("--thanos-version={thanos}"));
        self.start_args(Some(api), arguments, quick(), true, Resolver::default()).await
    }

    /// Starts an agent that looks names up with `resolver`.
    pub async fn start_resolving(&self, api: &FakeApi, more: &[&str], resolver: Resolver) -> Running {
        self.start_args(Some(api), self.arguments(more), quick(), true, resolver).await
    }

    pub async fn start_with(
        &self,
        api: Option<&FakeApi>,
        more: &[&str],
        timing: Timing,
        inotify: bool,
    ) -> Running {
        self.start_args(api, self.arguments(more), timing, inotify, Resolver::default()).await
    }

    /// Starts an agent that watches its mount in its own way.
    pub async fn start_watching(
        &self,
        api: Option<&FakeApi>,
        more: &[&str],
        timing: Timing,
        watching: Arc<dyn WatchFolder>,
    ) -> Running {
        let client = api.map_or_else(no_api, FakeApi::client);
        start_parts(self.arguments(more), client, timing, watching, Resolver::default()).await
    }

    /// Starts an agent whose API server is reached by `client`.
    pub async fn start_against(&self, client: Client, more: &[&str], timing: Timing) -> Running {
        start_parts(self.arguments(more), client, timing, Arc::new(Inotify), Resolver::default()).await
    }

    async fn start_args(
        &self,
        api: Option<&FakeApi>,
        arguments: Vec<String>,
        timing: Timing,
        inotify: bool,
        resolver: Resolver,
    ) -> Running {
        let client = api.map_or_else(no_api, FakeApi::client);
        let watching: Arc<dyn WatchFolder> = if inotify { Arc::new(Inotify) } else { Arc::new(NoWatch) };
        start_parts(arguments, client, timing, watching, resolver).await
    }
}

async fn start_parts(
    arguments: Vec<String>,
    client: Client,
    timing: Timing,
    watching: Arc<dyn WatchFolder>,
    resolver: Resolver,
) -> Running {
    let args = run_args(arguments);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let reread = Arc::new(Notify::new());
    let parts = Parts {
        listener: Some(listener),
        connect: Connect::Given(client),
        timing,
        watching,
        reread: Arc::clone(&reread),
        resolver,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { drop(stopped.await) };
    let task = tokio::spawn(run(args, parts, shutdown));
    Running { address, reread, stop, task }
}

/// To a port where nothing listens.
fn no_api() -> Client {
    let config = kube::Config::new("http://127.0.0.1:1".parse().expect("a URL"));
    Client::try_from(config).expect("a client")
}

/// A system without inotify.
#[derive(Debug)]
pub struct NoWatch;

impl WatchFolder for NoWatch {
    fn watch(&self, _: &Path) -> io::Result<Box<dyn Events>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

pub fn run_args(arguments: Vec<String>) -> RunArgs {
    match Args::of(arguments).expect("right").command {
        Command::Run(args) => args,
        Command::Check(_) => unreachable!("run was given"),
    }
}

/// The defaults with everything that a case may have to wait for shortened.
pub fn quick() -> Timing {
    let millis = Duration::from_millis;
    Timing {
        boot_budget: millis(300),
        api_grace: millis(200),
        tick: millis(30),
        lock_retry: millis(30),
        write_retry: (millis(30), millis(100)),
        nudges: [millis(30), millis(90)],
        api_retry: (millis(10), millis(50)),
        reconnect: millis(50),
        missing_retry: (millis(30), millis(30)),
        dns_tick: millis(20),
        stores_tick: millis(20),
        dns_spans: Spans { quiet: millis(200), persists: millis(100), others: millis(300) },
        ..Timing::default()
    }
}

/// An agent in this process.
pub struct Running {
    pub address: SocketAddr,
    pub reread: Arc<Notify>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.expect("no panic");
    }

    pub async fn report(&self) -> Report {
        report(self.address).await.expect("the agent answers")
    }

    pub async fn metrics(&self) -> String {
        get(self.address, "/metrics").await.expect("the agent answers").1
    }

    pub async fn startz(&self) -> (u16, String) {
        get(self.address, "/startz").await.expect("the agent answers")
    }

    /// Waits until the file is that of `generation`.
    pub async fn applied(&self, generation: u64) -> Report {
        self.reported(&format!("generation {generation} is applied"), |report| {
            report.applied.as_ref().is_some_and(|applied| applied.generation == generation)
        })
        .await
    }

    pub async fn reported(&self, what: &str, is: impl Fn(&Report) -> bool) -> Report {
        eventually(what, async || Some(self.report().await).filter(&is)).await
    }

    /// Waits until a series has a value.
    pub async fn counted(&self, series: &str, value: impl Debug) {
        let line = format!("sd_agent_{series} {value:?}");
        eventually(&line, async || self.metrics().await.lines().any(|found| found == line).then_some(()))
            .await;
    }
}

pub async fn report(address: SocketAddr) -> Option<Report> {
    let (code, body) = get(address, "/status").await?;
    assert_eq!(code, 200);
    Some(serde_json::from_str(&body).expect("a report"))
}

/// One plain request; none when nobody listens.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some((code, body.to_owned()))
}

/// The generation that the file is of; none when it is torn, empty or missing.
pub fn generation_of(text: &str) -> Option<u64> {
    text.ends_with("]}\n").then_some(())?;
    text.split("store-").nth(1)?.split('.').next()?.parse().ok()
}
