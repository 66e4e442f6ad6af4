//! The table of what the cluster is built from: one Go module a row, with its tags and linker flags.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use super::{
    error::{FileContext as _, Result},
    paths,
};

/// One Go module of `tests/cluster/` and what is built from it.
#[derive(Clone, Copy, Debug)]
pub struct Component {
    /// Its folder below `tests/cluster/` and its name in the cache.
    pub name: &'static str,
    /// What a person knows it as.
    pub title: &'static str,
    /// How long a build without any cache took on two cores.
    pub cold: &'static str,
    /// Go build tags.
    pub tags: &'static str,
    /// Linker flags besides `-s -w`.
    pub ldflags: &'static str,
    /// What is built.
    pub builds: &'static [Build],
}

/// One call of `go build`.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// The file it makes; `None` names each one after its package.
    pub output: Option<&'static str>,
    /// The packages.
    pub packages: &'static [&'static str],
}

/// Kubernetes itself.
pub const KUBERNETES: Component = Component {
    name: "kubernetes",
    title: "Kubernetes v1.36.3",
    cold: "5 min",
    tags: "providerless,netgo,osusergo",
    // Without these the version reads v0.0.0-master.
    ldflags: "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
              -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3",
    builds: &[Build {
        output: None,
        packages: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kube-proxy",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kubectl",
            "k8s.io/kubernetes/cmd/kubelet",
        ],
    }],
};

/// What a node has besides Kubernetes, and etcd.
pub const NODE: Component = Component {
    name: "node",
    title: "containerd 2.4.2, CNI plugins 1.9.1, etcd 3.7.3",
    cold: "1 min",
    tags: "no_btrfs,no_devmapper,no_zfs,no_aufs",
    ldflags: "",
    builds: &[
        Build {
            output: None,
            packages: &[
                "github.com/containerd/containerd/v2/cmd/containerd",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/ctr",
                "github.com/containernetworking/plugins/plugins/ipam/host-local",
                "github.com/containernetworking/plugins/plugins/main/bridge",
                "github.com/containernetworking/plugins/plugins/main/loopback",
                "github.com/containernetworking/plugins/plugins/meta/portmap",
            ],
        },
        Build { output: Some("etcd"), packages: &["go.etcd.io/etcd/server/v3"] },
    ],
};

/// The cluster's DNS server.
pub const DNS: Component = Component {
    name: "dns",
    title: "CoreDNS 1.15.0",
    cold: "1.5 min",
    tags: "",
    ldflags: "",
    builds: &[Build { output: Some("dns"), packages: &["."] }],
};

/// The first process of every pod's sandbox.
pub const PAUSE: Component = Component {
    name: "pause",
    title: "pause",
    cold: "1 s",
    tags: "",
    ldflags: "",
    builds: &[Build { output: Some("pause"), packages: &["."] }],
};

/// The newest Thanos. `slicelabels` as in its own release build; without it sidecar and store panic.
pub const THANOS_NEW: Component = Component {
    name: "thanos-v0.42.4",
    title: "Thanos v0.42.4",
    cold: "2 min",
    tags: "netgo,slicelabels",
    ldflags: "-X github.com/prometheus/common/version.Version=0.42.4",
    builds: THANOS_BUILD,
};

/// A Thanos between the families that have images: it runs on this machine only, for the differential cases.
pub const THANOS_0_40: Component = Component {
    name: "thanos-v0.40.1",
    title: "Thanos v0.40.1",
    cold: "2 min",
    tags: "netgo,slicelabels",
    ldflags: "-X github.com/prometheus/common/version.Version=0.40.1",
    builds: THANOS_BUILD,
};

/// A Thanos of the family that still reads `--store.sd-files` but takes `dns+` in group addresses.
pub const THANOS_0_37: Component = Component {
    name: "thanos-v0.37.2",
    title: "Thanos v0.37.2",
    cold: "1.5 min",
    tags: "netgo",
    ldflags: "-X github.com/prometheus/common/version.Version=0.37.2",
    builds: THANOS_BUILD,
};

/// The oldest Thanos that the operator takes.
pub const THANOS_0_35: Component = Component {
    name: "thanos-v0.35.1",
    title: "Thanos v0.35.1",
    cold: "1.5 min",
    tags: "netgo",
    ldflags: "-X github.com/prometheus/common/version.Version=0.35.1",
    builds: THANOS_BUILD,
};

/// Prometheus, which the demo puts behind Thanos sidecars.
pub const PROMETHEUS: Component = Component {
    name: "prometheus",
    title: "Prometheus v3",
    cold: "2 min",
    // Leaves out the cloud service discoveries and with them most of the code.
    tags: "remove_all_sd,netgo",
    ldflags: "",
    builds: &[Build {
        output: None,
        packages: &[
            "github.com/prometheus/prometheus/cmd/prometheus",
            "github.com/prometheus/prometheus/cmd/promtool",
        ],
    }],
};

const THANOS_BUILD: &[Build] =
    &[Build { output: Some("thanos"), packages: &["github.com/thanos-io/thanos/cmd/thanos"] }];

/// Everything, in the order in which it is built: the quick ones first.
pub const ALL: &[Component] =
    &[PAUSE, NODE, DNS, KUBERNETES, THANOS_NEW, THANOS_0_37, THANOS_0_35, THANOS_0_40, PROMETHEUS];

/// What a running node depends on; the rest reaches it as images.
pub const OF_NODE: &[Component] = &[PAUSE, NODE, DNS, KUBERNETES];

// === impl Component ===

impl Component {
    /// The folder of its Go module.
    pub fn folder(&self) -> PathBuf {
        paths::modules().join(self.name)
    }

    /// The linker flags as `go build` takes them.
    pub fn linker_flags(&self) -> String {
        format!("-s -w {}", self.ldflags).trim_end().to_owned()
    }

    /// Names what a build with `go` (its version) gives: equal keys, equal binaries.
    pub fn key(&self, go: &str) -> Result<String> {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(go.as_bytes());
        add(self.tags.as_bytes());
        add(self.linker_flags().as_bytes());
        for build in self.builds {
            add(build.output.unwrap_or_default().as_bytes());
            build.packages.iter().for_each(|package| add(package.as_bytes()));
        }
        for file in ["go.mod", "go.sum", "main.go"] {
            let path = self.folder().join(file);
            // Only some have a main.go, and without dependencies there is no go.sum.
            let optional = file != "go.mod" && !path.exists();
            add(&if optional { Vec::new() } else { std::fs::read(&path).at("read", &path)? });
        }
        Ok(short_hash(hash))
    }

    /// Where the binaries of `key` are.
    pub fn output(&self, key: &str) -> PathBuf {
        paths::cache().join(format!("{}-{key}", self.name))
    }
}

/// The first 12 hexadecimal digits: enough to tell versions apart, short enough for a tag.
pub(super) fn short_hash(hash: Sha256) -> String {
    hex(&hash.finalize()[..6])
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}
