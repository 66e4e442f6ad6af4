//! Container images made by hand: a docker-archive with one layer, given to containerd through its `ctr`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    Cluster,
    command::output_with_input,
    components::{self, Component, hex, short_hash},
    config::PAUSE_IMAGE,
    error::{FileContext as _, Result},
    paths,
};

/// What an image holds.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its full name with tag.
    pub reference: String,
    /// Each file: where it is on the host, and where in the image. All are executable.
    pub files: Vec<(PathBuf, String)>,
    /// What runs.
    pub entrypoint: String,
    /// The user it runs as; `runAsNonRoot` needs a number.
    pub user: u32,
}

/// The images of Thanos and Prometheus, under the names that a manifest would use.
const RELEASES: &[(&str, Component, &[&str], u32)] = &[
    ("quay.io/thanos/thanos:v0.42.4", components::THANOS_NEW, &["thanos"], 1001),
    ("quay.io/thanos/thanos:v0.37.2", components::THANOS_0_37, &["thanos"], 1001),
    ("quay.io/thanos/thanos:v0.35.1", components::THANOS_0_35, &["thanos"], 1001),
    ("quay.io/prometheus/prometheus:v3", components::PROMETHEUS, &["prometheus", "promtool"], 65534),
];

// === impl Image ===

impl Image {
    /// An image with one static program at `/<name>`, tagged by the program's content.
    pub fn of_program(name: &str, program: &Path, user: u32) -> Result<Self> {
        let content = fs::read(program).at("read", program)?;
        let mut hash = Sha256::new();
        hash.update(&content);
        Ok(Self {
            reference: format!("{name}:{}", short_hash(hash)),
            files: vec![(program.to_owned(), format!("/{name}"))],
            entrypoint: format!("/{name}"),
            user,
        })
    }

    /// The docker-archive. Equal content gives equal bytes.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = self.layer()?;
        let layer_digest = hex(&Sha256::digest(&layer));
        let architecture = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": [self.entrypoint], "Env": ["PATH=/bin"], "User": self.user.to_string()},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        })
        .to_string();
        let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
        let layer_name = format!("{layer_digest}/layer.tar");
        let manifest = json!([{"Config": config_name, "RepoTags": [self.reference], "Layers": [layer_name]}])
            .to_string();

        let mut archive = tar::Builder::new(Vec::with_capacity(layer.len() + (64 << 10)));
        for (name, content) in [
            (config_name.as_str(), config.as_bytes()),
            (layer_name.as_str(), layer.as_slice()),
            ("manifest.json", manifest.as_bytes()),
        ] {
            append(&mut archive, name, 0o644, content).at("pack image", &self.reference)?;
        }
        archive.into_inner().at("pack image", &self.reference)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for (name, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777)] {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(mode);
            header.set_size(0);
            layer.append_data(&mut header, name, std::io::empty()).at("pack image", &self.reference)?;
        }
        for (source, target) in &self.files {
            let content = fs::read(source).at("read", source)?;
            append(&mut layer, target.trim_start_matches('/'), 0o755, &content)
                .at("pack image", &self.reference)?;
        }
        layer.into_inner().at("pack image", &self.reference)
    }
}

/// Loads the image of the pods' sandboxes.
pub(super) fn load_pause(cluster: &Cluster) -> Result<()> {
    let folder = cluster.binaries.folder(&components::PAUSE);
    let pause = Image {
        reference: PAUSE_IMAGE.to_owned(),
        files: vec![(folder.join("pause"), "/pause".to_owned())],
        entrypoint: "/pause".to_owned(),
        user: 65535,
    };
    load(cluster, &pause, cluster.binaries.key(&components::PAUSE)).map(drop)
}

/// Loads Thanos and Prometheus; returns how many were not there yet.
pub(super) fn load_releases(cluster: &Cluster) -> Result<usize> {
    let mut loaded = 0;
    for (reference, component, programs, user) in RELEASES {
        let folder = cluster.binaries.folder(component);
        let file = |program: &&str| (folder.join(program), format!("/bin/{program}"));
        let image = Image {
            reference: (*reference).to_owned(),
            files: programs.iter().map(file).collect(),
            entrypoint: programs.first().map_or_else(String::new, |program| format!("/bin/{program}")),
            user: *user,
        };
        loaded += usize::from(load(cluster, &image, cluster.binaries.key(component))?);
    }
    Ok(loaded)
}

/// Loads `image` unless one of this name and `key` is there. Says whether it did.
pub(super) fn load(cluster: &Cluster, image: &Image, key: &str) -> Result<bool> {
    // containerd keeps nothing that says where an image came from.
    let path = paths::state("images.json");
    let mut known: BTreeMap<String, String> =
        fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    if known.get(&image.reference).is_some_and(|known| known == key) {
        return Ok(false);
    }
    let mut ctr = cluster.ctr();
    ctr.args(["images", "import", "-"]);
    output_with_input(&format!("loading the image {}", image.reference), &mut ctr, &image.archive()?)?;
    known.insert(image.reference.clone(), key.to_owned());
    fs::write(&path, json!(known).to_string()).at("write", &path)?;
    Ok(true)
}

/// Adds a file without owner or time, so that equal content gives equal bytes.
fn append(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content)
}
