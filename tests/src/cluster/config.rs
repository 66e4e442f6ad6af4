//! The texts that the node's processes read. What each setting is there for was learnt from a failure.

use std::{fs, path::Path};

use super::{
    error::{FileContext as _, Result},
    paths::{self, CGROUP, STATE},
};

/// The node's name.
pub const NODE: &str = "node-1";
/// The host's end of the cable.
pub const HOST_ADDRESS: &str = "10.213.0.1";
/// The node's end; the API server, the kubelet and the DNS server listen here.
pub const NODE_ADDRESS: &str = "10.213.0.2";
/// The pods' network: room for more pods than the kubelet takes.
pub const POD_NETWORK: &str = "10.244.0.0/20";
/// The Services' network.
pub const SERVICE_NETWORK: &str = "10.96.0.0/16";
/// The first address of the Services' network.
pub const API_CLUSTER_ADDRESS: &str = "10.96.0.1";
/// The API server as host, pods and node reach it.
pub const API_SERVER: &str = "https://10.213.0.2:6443";
/// The image of a pod's sandbox.
pub const PAUSE_IMAGE: &str = "thanos-operator-tests/pause:1";
/// How many pods the node takes.
const MAX_PODS: u16 = 250;
/// The size of the kubelet's own file system. The file is sparse.
pub const KUBELET_DISK: &str = "2G";

/// Every file below the state folder, with its content.
pub(super) fn files(overlay: bool, runc: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("admin.kubeconfig", kubeconfig("admin")),
        ("node.kubeconfig", kubeconfig("node")),
        ("containerd.toml", containerd(overlay, runc)),
        ("cni/conf/10-tests.conflist", cni()),
        ("kubelet.yaml", kubelet()),
        ("resolv.conf", format!("nameserver {NODE_ADDRESS}\n")),
        ("Corefile", corefile()),
        ("audit-policy.yaml", audit_policy()),
        ("init.sh", init()),
    ]
}

/// Writes [`files`] and makes the folders that the processes expect.
pub(super) fn write(overlay: bool, runc: &Path) -> Result<()> {
    for folder in
        ["audit", "etcd", "log/pods", "run", "cni/conf", "cni/data", "containerd", "kubelet", "sysctl"]
    {
        let path = paths::state(folder);
        fs::create_dir_all(&path).at("create folder", &path)?;
    }
    for (name, text) in files(overlay, runc) {
        let path = paths::state(name);
        fs::write(&path, text).at("write", &path)?;
    }
    Ok(())
}

fn kubeconfig(user: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: tests, cluster: {{server: \"{API_SERVER}\", certificate-authority: {STATE}/pki/ca.crt}}}}]
users: [{{name: {user}, user: {{client-certificate: {STATE}/pki/{user}.crt, client-key: {STATE}/pki/{user}.key}}}}]
contexts: [{{name: tests, context: {{cluster: tests, user: {user}}}}}]
current-context: tests
"
    )
}

fn containerd(overlay: bool, runc: &Path) -> String {
    // Overlay cannot be used where the state folder is itself on one, as inside a container.
    let snapshotter = if overlay { "overlayfs" } else { "native" };
    let runc = runc.display();
    format!(
        r#"version = 3
root = "{STATE}/containerd/root"
state = "{STATE}/containerd/state"
[grpc]
  address = "{STATE}/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{STATE}/containerd/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  # A negative oom_score_adj is refused in some sandboxes.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{STATE}/cni/bin"]
    conf_dir = "{STATE}/cni/conf"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "{runc}"
      SystemdCgroup = false
[plugins."io.containerd.transfer.v1.local"]
  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux"
    snapshotter = "{snapshotter}"
"#
    )
}

fn cni() -> String {
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "tests", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {{"type": "host-local", "dataDir": "{STATE}/cni/data",
            "ranges": [[{{"subnet": "{POD_NETWORK}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}, "backend": "nftables"}}
]}}
"#
    )
}

fn kubelet() -> String {
    format!(
        r#"apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupRoot: /{CGROUP}
containerRuntimeEndpoint: unix://{STATE}/run/containerd.sock
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
clusterDNS: ["{NODE_ADDRESS}"]
clusterDomain: cluster.local
maxPods: {MAX_PODS}
registryPullQPS: 0
serializeImagePulls: false
# Nothing is evicted for a full disk: the case that fills it wants to see what the pods do.
evictionHard: {{memory.available: "50Mi", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}}
imageGCHighThresholdPercent: 100
resolvConf: {STATE}/resolv.conf
podLogsDir: {STATE}/log/pods
volumePluginDir: {STATE}/kubelet-plugins
"#
    )
}

fn corefile() -> String {
    // A short TTL, so that changes of headless Services are seen quickly.
    format!(
        ".:53 {{
  bind {NODE_ADDRESS}
  errors
  ready {NODE_ADDRESS}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {STATE}/admin.kubeconfig
    ttl 1
  }}
}}
"
    )
}

/// Writes of service accounts, one line each when the answer is complete. Accounts cannot be chosen by a part of their
/// name, so those of Kubernetes' own controllers are left out instead, and so is what everybody writes all the time.
fn audit_policy() -> String {
    "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  userGroups: [\"system:serviceaccounts:kube-system\"]
- level: None
  resources:
  - {group: \"\", resources: [events]}
  - {group: events.k8s.io, resources: [events]}
  - {group: coordination.k8s.io, resources: [leases]}
- level: Metadata
  userGroups: [\"system:serviceaccounts\"]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
"
    .to_owned()
}

/// What runs first inside the new namespaces: it hides the host's folders that Kubernetes would write to,
/// and becomes the process that reaps the others.
fn init() -> String {
    format!(
        r#"set -e
# $1: the program that reaps. Volumes that the kubelet mounts must reach the containers.
mount --make-rshared /
mount -t proc proc /proc
hostname {NODE}
ip link set lo up

# Kubernetes and containerd have fixed folders here.
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib/cni
# Images come from nowhere: a wrong name fails at once instead of being asked for outside.
if [ -e /etc/resolv.conf ]; then mount --bind {STATE}/resolv.conf /etc/resolv.conf; fi

# The kubelet sets these for the whole machine; it gets copies instead.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  name=${{setting%%=*}}
  copy={STATE}/sysctl/$(echo "$name" | tr / .)
  echo "${{setting#*=}}" > "$copy"
  if [ -e "/proc/sys/$name" ]; then mount --bind "$copy" "/proc/sys/$name"; fi
done

# A small file system of its own: a full one must not fill the host. Without loop devices, a folder.
if truncate -s {KUBELET_DISK} {STATE}/kubelet.ext4 &&
    mkfs.ext4 -q -F -m 0 -O ^has_journal -E lazy_itable_init=1 {STATE}/kubelet.ext4 &&
    mount -o loop {STATE}/kubelet.ext4 {STATE}/kubelet; then
  echo loop > {STATE}/run/kubelet-disk
else
  echo folder > {STATE}/run/kubelet-disk
fi
mount --make-rshared /

echo 1 > /proc/sys/net/ipv4/ip_forward
modprobe br_netfilter 2>/dev/null || true
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
  echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
else
  echo "no br_netfilter: a pod cannot reach itself through a Service"
fi
touch {STATE}/run/namespaces-ready
exec "$1"
"#
    )
}
