//! The real program as a process: signals, kills, exit codes.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    fake_api::FakeApi,
    support::{Pod, document, eventually, generation_of, get, payload, payload_of, report},
    writer::names,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sd-agent");

/// The program under test; `SD_AGENT_PROGRAM` names another build of it, to be measured.
fn program() -> String {
    std::env::var("SD_AGENT_PROGRAM").unwrap_or_else(|_| PROGRAM.to_owned())
}

/// A process that does not outlive its test.
pub struct Agent {
    child: Child,
    address: SocketAddr,
}

impl Agent {
    pub fn start(pod: &Pod, api: &FakeApi) -> Self {
        Self::spawn(pod, api, &serde_json::json!({}), &mut Command::new(program()))
            .expect("the program starts")
    }

    /// With the credentials of a kubeconfig's user.
    pub fn start_with(pod: &Pod, api: &FakeApi, credentials: &serde_json::Value) -> Self {
        Self::spawn(pod, api, credentials, &mut Command::new(program())).expect("the program starts")
    }

    /// As another user of this machine, which only root can.
    pub fn start_as(pod: &Pod, api: &FakeApi, user: u32) -> io::Result<Self> {
        // The target folder may be one that other users cannot enter.
        let copy = pod.root().join("sd-agent");
        fs::copy(program(), &copy)?;
        Self::spawn(pod, api, &serde_json::json!({}), Command::new(copy).uid(user).gid(user))
    }

    fn spawn(
        pod: &Pod,
        api: &FakeApi,
        credentials: &serde_json::Value,
        command: &mut Command,
    ) -> io::Result<Self> {
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": api.url()}}],
            "users": [{"name": "fake", "user": credentials}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        let kubeconfig = pod.root().join("kubeconfig");
        fs::write(&kubeconfig, config.to_string()).expect("written");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let child = command
            .args(&pod.arguments(&[&format!("--listen={free}")])[1..])
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, address: free })
    }

    pub async fn applied(&self, generation: u64) -> String {
        let applied = eventually("it is applied", async || {
            report(self.address).await?.applied.filter(|applied| applied.generation == generation)
        });
        applied.await.source
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the document of `generation` from the API is refused for `reason`.
    pub async fn refused(&self, generation: u64, reason: &str) {
        eventually("it is refused", async || {
            let report = report(self.address).await?;
            let refused = report.refused.filter(|refused| refused.reason == reason)?;
            (report.api.generation == Some(generation)).then_some(refused)
        })
        .await;
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(kill.expect("sh is there").success());
    }

    async fn exit_code(&mut self) -> Option<i32> {
        eventually("it exits", async || self.child.try_wait().expect("waitable")).await.code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Case 46.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_resumes_from_its_state_and_the_file_does_not_change() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(5));
    let mut agent = Agent::start(&pod, &api);
    assert_eq!(agent.applied(5).await, "api");
    let (text, inode) = (pod.text(), pod.inode());
    // From here on the agent is alone with what it remembers.
    api.refuse_reads(Some(503));
    api.refuse_watches(Some(503));
    for _ in 0..3 {
        agent.child.kill().expect("killed");
        agent.child.wait().expect("dead");
        assert_eq!(pod.text(), text);
        agent = Agent::start(&pod, &api);
        assert_eq!(agent.applied(5).await, "state");
        assert_eq!(get(agent.address, "/startz").await.expect("it answers").0, 200);
        assert_eq!((pod.text(), pod.inode()), (text.clone(), inode));
    }
    api.put(&payload(6));
    api.refuse_reads(None);
    api.refuse_watches(None);
    assert_eq!(agent.applied(6).await, "api");
}

/// Case 47.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_agent_exits_with_0_and_leaves_its_files() {
    let mut quickest = Duration::MAX;
    for signal in ["TERM", "INT"] {
        let (api, pod) = (FakeApi::start().await, Pod::new());
        api.put(&payload(5));
        let mut agent = Agent::start(&pod, &api);
        agent.applied(5).await;
        let before = pod.text();
        let begun = Instant::now();
        agent.signal(signal);
        assert_eq!(agent.exit_code().await, Some(0), "SIG{signal}");
        quickest = quickest.min(begun.elapsed());
        assert_eq!(pod.text(), before);
        assert!(pod.root().join("sd/.state.json").exists());
    }
    // The quicker of the two: a machine that is busy for a moment says nothing about the agent.
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}

/// Case 47.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_stopped_in_the_middle_of_changes_leaves_a_whole_file() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    let mut agent = Agent::start(&pod, &api);
    agent.applied(1).await;
    for generation in 2..=20 {
        api.put(&payload_of(generation, &document(generation, 500)));
    }
    agent.signal("TERM");
    assert_eq!(agent.exit_code().await, Some(0));
    assert!(generation_of(&pod.text()).is_some(), "{}", pod.text());
    assert_eq!(names(&pod.root().join("sd")), [".lock", ".state.json", "endpoints.yaml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_reads_again_and_a_taken_port_is_waited_for() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(5));
    let agent = Agent::start(&pod, &api);
    agent.applied(5).await;
    let reads = api.reads();
    agent.signal("HUP");
    eventually("it reads again", async || (api.reads() > reads).then_some(())).await;
    assert!(api.requests().last().is_some_and(|request| !request.contains("resourceVersion=0")));

    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let second = Pod::new();
    let address = taken.local_addr().expect("bound");
    let mut process = Command::new(program())
        .args(&second.arguments(&[&format!("--listen={address}")])[1..])
        .env("KUBECONFIG", pod.root().join("kubeconfig"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    eventually("the file is there without the pages", async || second.output().exists().then_some(())).await;
    assert_eq!(process.try_wait().expect("waitable"), None);
    drop(taken);
    eventually("the pages come", async || get(address, "/livez").await.filter(|(code, _)| *code == 200))
        .await;
    process.kill().expect("killed");
    process.wait().expect("dead");
}

#[test]
fn usage_errors_exit_with_2_and_check_tells_good_files_from_bad_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let run =
        |arguments: &[&str]| Command::new(program()).args(arguments).output().expect("the program starts");
    assert_eq!(run(&["run"]).status.code(), Some(2));
    assert_eq!(run(&["run", "--config-map=a", "--thanos-version=x"]).status.code(), Some(2));
    assert_eq!(run(&["run", "--config-map=a", "--later"]).status.code(), Some(2));

    let file = folder.path().join("endpoints.yaml");
    let path = file.to_str().expect("a path");
    fs::write(&file, "endpoints:\n- address: a.ns.svc:1\n").expect("written");
    let good = run(&["check", path]);
    assert_eq!(good.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&good.stdout).contains("1 endpoint "));
    let stdin = Stdio::from(fs::File::open(&file).expect("there"));
    let piped =
        Command::new(program()).args(["check", "-"]).stdin(stdin).output().expect("the program starts");
    assert!(
        piped.status.success() && String::from_utf8_lossy(&piped.stdout).starts_with("standard input: valid")
    );
    fs::write(&file, "endpoints:\n- address: a.ns.svc:1\n  strict: [\n").expect("written");
    let bad = run(&["check", path, "--output=json"]);
    assert_eq!(bad.status.code(), Some(1));
    let answer: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    assert_eq!(answer["valid"], false);
    assert!(answer["problems"][0]["line"].is_number(), "{answer}");
    let old = run(&["check", path, "--thanos-version=v0.37.2"]);
    assert_eq!(old.status.code(), Some(1));
    let missing = run(&["check", "/does/not/exist", "--output=json"]);
    assert_eq!(missing.status.code(), Some(2));
    let answer: serde_json::Value = serde_json::from_slice(&missing.stdout).expect("JSON");
    assert!(answer["valid"] == false && answer["error"].is_string(), "{answer}");
    assert_eq!(run(&["check", "/does/not/exist"]).status.code(), Some(2));
}
