//! Where the test cluster keeps what: built binaries in the user's cache, the node's state in one fixed folder.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The node's state. Fixed, so that `down` finds what a crashed run left behind.
pub const STATE: &str = "/var/lib/thanos-operator-tests";

/// The lock that `up`, `install` and `down` hold while they work.
pub const LOCK: &str = "/var/lib/thanos-operator-tests.lock";

/// The host's end of the cable to the node.
pub const HOST_INTERFACE: &str = "thanos-tests0";

/// The cgroup below which every pod of the node runs.
pub const CGROUP: &str = "thanos-operator-tests";

/// The folder of built components: `$XDG_CACHE_HOME/thanos-operator-tests` or the same below `~/.cache`.
pub fn cache() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("thanos-operator-tests")
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The folder of the Go modules that make up the cluster.
pub fn modules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster")
}

/// A path below [`STATE`].
pub fn state(relative: impl AsRef<Path>) -> PathBuf {
    Path::new(STATE).join(relative)
}

/// The log of one process of the node.
pub fn log(process: &str) -> PathBuf {
    state("log").join(process)
}

/// The folder of the API server's audit log.
pub fn audit() -> PathBuf {
    state("audit")
}

/// The kubeconfig of the cluster's administrator.
pub fn kubeconfig() -> PathBuf {
    state("admin.kubeconfig")
}
