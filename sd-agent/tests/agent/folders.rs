//! Folders that take no file: full, read-only, of another user. On a real file system, mounted for the case.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sd_agent::state::STATE_FILE;

use crate::{
    fake_api::FakeApi,
    process::Agent,
    support::{Pod, document, eventually, get, payload, payload_of},
    writer::names,
};

/// A small file system in memory, mounted as long as this lives.
struct Small(PathBuf);

impl Small {
    /// None, and a reason on standard error, where mounting is not allowed.
    fn mount(folder: &Path) -> Option<Self> {
        let mounted = run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=1777", "small"], folder);
        match mounted {
            Ok(()) => Some(Self(folder.to_owned())),
            Err(why) => {
                eprintln!("skipped, a tmpfs cannot be mounted here: {why}");
                None
            }
        }
    }

    fn remount(&self, how: &str) {
        run("mount", &["-o", &format!("remount,{how}")], &self.0).expect("remounted");
    }

    /// Leaves `free` bytes.
    fn fill(&self, free: u64) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = fs::File::create(&path).expect("made");
        while filler.write_all(&[1; 1024]).is_ok() {}
        let length = filler.metadata().expect("there").len();
        filler.set_len(length.saturating_sub(free)).expect("cut");
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = run("umount", &["-l"], &self.0);
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> Result<(), String> {
    let output = Command::new(program).args(arguments).arg(folder).stdin(Stdio::null()).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

fn no_temp_file_in(folder: &Path) {
    assert!(names(folder).iter().all(|name| !name.ends_with(".tmp")), "{:?}", names(folder));
}

/// Case 37.
#[tokio::test]
async fn a_full_disk_keeps_the_old_file_and_the_new_one_comes_once_there_is_space() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let folder = pod.root().join("sd");
    let Some(disk) = Small::mount(&folder) else { return };
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    // Nothing, and some of what is needed: the write then fails in the middle.
    for (generation, free) in [(2, 0), (3, 8192)] {
        let before = (pod.text(), pod.inode());
        let filler = disk.fill(free);
        api.put(&payload_of(generation, &document(generation, 400)));
        // Seen and tried are one step.
        agent.reported("it is seen", |report| report.api.generation == Some(generation)).await;
        assert_eq!(agent.report().await.applied.expect("applied").generation, generation - 1);
        assert_eq!((pod.text(), pod.inode()), before);
        assert!(agent.metrics().await.contains("apply_errors_total{op=\"write\"}"));
        no_temp_file_in(&folder);
        fs::remove_file(filler).expect("removed");
        agent.applied(generation).await;
        no_temp_file_in(&folder);
    }
    agent.stop().await;
}

/// Case 39.
#[tokio::test]
async fn a_read_only_folder_keeps_the_old_file_and_the_new_one_comes_once_it_can_be_written() {
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let folder = pod.root().join("sd");
    let Some(disk) = Small::mount(&folder) else { return };
    disk.remount("ro");
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    eventually("the reason is known", async || {
        agent.startz().await.1.contains("Read-only file system").then_some(())
    })
    .await;
    disk.remount("rw");
    agent.applied(1).await;
    let (text, inode) = (pod.text(), pod.inode());
    disk.remount("ro");
    api.put(&payload(2));
    eventually("it fails", async || {
        agent.metrics().await.contains("apply_errors_total{op=\"create\"}").then_some(())
    })
    .await;
    assert_eq!((pod.text(), pod.inode()), (text, inode));
    // A restart finds what it needs without writing anything.
    agent.stop().await;
    let agent = pod.start(None, &[]).await;
    agent.applied(1).await;
    agent.stop().await;
    let agent = pod.start(Some(&api), &[]).await;
    disk.remount("rw");
    agent.applied(2).await;
    no_temp_file_in(&folder);
    agent.stop().await;
}

/// Case 39: a memory volume has the sticky bit, where only its owner may replace a file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_another_user_stays_and_is_replaced_once_it_may_be() {
    const OTHER: u32 = 65532;
    let (api, pod) = (FakeApi::start().await, Pod::new());
    let folder = pod.root().join("sd");
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    set_mode(pod.root(), 0o755).expect("set");
    set_mode(&folder, 0o1777).expect("set");
    api.put(&payload(1));
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    agent.stop().await;
    let (text, inode) = (pod.text(), pod.inode());
    let agent = match Agent::start_as(&pod, &api, OTHER) {
        Ok(agent) => agent,
        Err(why) => return eprintln!("skipped, another user cannot be had here: {why}"),
    };
    agent.applied(1).await;
    api.put(&payload(2));
    let metrics = async || get(agent.address(), "/metrics").await.unwrap_or_default().1;
    eventually("it fails", async || {
        metrics().await.contains("apply_errors_total{op=\"rename\"}").then_some(())
    })
    .await;
    assert_eq!((pod.text(), pod.inode()), (text, inode));
    for name in ["endpoints.yaml", STATE_FILE] {
        chown(folder.join(name), Some(OTHER), None).expect("root may");
    }
    agent.applied(2).await;
    no_temp_file_in(&folder);
}
