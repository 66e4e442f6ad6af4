//! Kubelet removes the mounted folder under the running container (kubernetes#113242).

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::io::dup2;

use super::MOUNT_ONLY;
use crate::{
    fake_api::FakeApi,
    support::{Mount, Pod, payload},
};

/// A path that leads to a folder itself and not to a name, as a bind mount does: it is still there when the folder
/// is removed, and is a new one when the container is made again.
struct MountPoint(OwnedFd);

impl MountPoint {
    fn of(mount: &Mount) -> Self {
        Self(File::open(&mount.folder).expect("there").into())
    }

    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    fn renew(&mut self, mount: &Mount) {
        dup2(File::open(&mount.folder).expect("there"), &mut self.0).expect("renewed");
    }
}

/// Case 44.
#[tokio::test]
async fn a_folder_that_is_removed_under_the_agent_is_told_and_a_new_one_is_taken_up() {
    let (api, mut pod) = (FakeApi::start().await, Pod::new());
    api.put(&payload(1));
    pod.mount.show(&payload(1));
    let mut point = MountPoint::of(&pod.mount);
    pod.mounted_at = point.path();
    let agent = pod.start(Some(&api), &[]).await;
    agent.applied(1).await;
    agent.reported("the mount is read", |report| report.mount.generation == Some(1)).await;
    agent.counted("mount_wiped", 0).await;
    let before = pod.text();

    fs::remove_dir_all(&pod.mount.folder).expect("removed");
    agent.counted("mount_wiped", 1).await;
    let report = agent.reported("it is told", |report| report.mount.error.is_some()).await;
    let why = report.mount.error.expect("told");
    assert!(why.contains("was deleted by kubelet") && why.contains("restart"), "{why}");
    assert_eq!(pod.text(), before);
    // Kubelet makes a new folder of the same name; this container does not see it.
    pod.mount.show(&payload(2));
    api.put(&payload(3));
    agent.applied(3).await;
    agent.counted("mount_wiped", 1).await;

    point.renew(&pod.mount);
    agent.counted("mount_wiped", 0).await;
    agent.reported("the new mount is read", |report| report.mount.generation == Some(2)).await;
    // By its own watch, which does not need the poll.
    agent.counted("inotify_degraded", 0).await;
    pod.mount.show(&payload(4));
    agent.reported("the new mount is followed", |report| report.mount.generation == Some(4)).await;
    agent.stop().await;
}

/// Case 44, without an API: the last good file stays, the agent too.
#[tokio::test]
async fn a_wipe_leaves_the_last_good_file_and_the_agent_alive_without_an_api() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let mut point = MountPoint::of(&pod.mount);
    pod.mounted_at = point.path();
    let agent = pod.start(None, MOUNT_ONLY).await;
    agent.applied(1).await;
    let (before, inode) = (pod.text(), pod.inode());
    fs::remove_dir_all(&pod.mount.folder).expect("removed");
    agent.counted("mount_wiped", 1).await;
    assert_eq!((pod.text(), pod.inode()), (before, inode));
    assert_eq!(agent.startz().await.0, 200);
    pod.mount.show(&payload(2));
    point.renew(&pod.mount);
    agent.applied(2).await;
    agent.counted("mount_wiped", 0).await;
    agent.stop().await;
}
