//! The real program in a user namespace of its own, where limits and mounts are real and nobody else's.

use std::{
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use super::MOUNT_ONLY;
use crate::{
    fake_api::FakeApi,
    support::{Mount, Pod, eventually, get, payload, report},
};

/// A process that does not outlive its test.
struct Agent {
    child: Child,
    address: SocketAddr,
}

/// Whether this machine lets its users have namespaces. Where it does not, the cases here are covered by a seam only.
fn no_namespaces() -> bool {
    let tried = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).output();
    let missing = !tried.is_ok_and(|output| output.status.success());
    if missing {
        eprintln!("skipped: no user namespaces here");
    }
    missing
}

// === impl Agent ===

impl Agent {
    /// Starts the program after `setup`, a shell command that is given `words` as `$1`, `$2`...
    fn start(pod: &Pod, setup: &str, words: [&str; 2], more: &[&str]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let script = format!("{setup} && shift 2 && exec \"$@\"");
        let child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .args(words)
            .arg(env!("CARGO_BIN_EXE_sd-agent"))
            .args(&pod.arguments(more)[1..])
            .arg(format!("--listen={free}"))
            .env("KUBECONFIG", pod.root().join("kubeconfig"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        Self { child, address: free }
    }

    async fn applied(&self, generation: u64) {
        eventually("it is applied", async || {
            report(self.address).await?.applied.filter(|applied| applied.generation == generation)
        })
        .await;
    }

    async fn counted(&self, line: &str) {
        eventually(line, async || {
            get(self.address, "/metrics").await?.1.lines().any(|found| found == line).then_some(())
        })
        .await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Case 4: EMFILE from the limit of instances, ENOSPC from that of watches.
#[tokio::test]
async fn with_no_inotify_left_the_program_polls() {
    if no_namespaces() {
        return;
    }
    // Side by side, because the polls of the program are seconds apart.
    let mut all = ["max_inotify_instances", "max_inotify_watches"].map(|limit| {
        let mut pod = Pod::new();
        pod.mount.show(&payload(1));
        let agent = Agent::start(&pod, "echo 0 > /proc/sys/user/$1", [limit, ""], MOUNT_ONLY);
        (pod, agent)
    });
    for generation in 1..=3 {
        for (pod, _) in &mut all {
            pod.mount.show(&payload(generation));
        }
        for (_, agent) in &all {
            agent.applied(generation).await;
        }
    }
    for (_, agent) in &mut all {
        agent.counted("sd_agent_inotify_degraded 1").await;
        assert_eq!(agent.child.try_wait().expect("waitable"), None, "it did not exit");
    }
}

/// Case 44, with a real bind mount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bind_mount_of_which_the_source_is_removed_is_told_and_the_api_goes_on() {
    if no_namespaces() {
        return;
    }
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": api.url()}}],
        "users": [{"name": "fake", "user": {}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    });
    fs::write(pod.root().join("kubeconfig"), config.to_string()).expect("written");
    fs::create_dir(&pod.mounted_at).expect("made");
    let mut kubelet = Mount::at(pod.root().join("kubelet"));
    kubelet.show(&payload(1));
    api.put(&payload(1));
    let (source, point) = (kubelet.folder.to_str().expect("plain"), pod.mounted_at.to_str().expect("plain"));
    let mut agent = Agent::start(&pod, "mount --bind \"$1\" \"$2\"", [source, point], &[]);
    agent.applied(1).await;
    agent.counted("sd_agent_source_generation{source=\"mount\"} 1").await;
    agent.counted("sd_agent_mount_wiped 0").await;
    let before = pod.text();

    fs::remove_dir_all(source).expect("removed");
    agent.counted("sd_agent_mount_wiped 1").await;
    assert_eq!(pod.text(), before);
    // A new folder at the old place is not what is mounted.
    kubelet.show(&payload(2));
    api.put(&payload(3));
    agent.applied(3).await;
    agent.counted("sd_agent_mount_wiped 1").await;
    assert_eq!(agent.child.try_wait().expect("waitable"), None, "it did not exit");
}
