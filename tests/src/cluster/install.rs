//! Builds the product, loads its images and applies the manifests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    Cluster,
    command::{logged, output, output_with_input},
    error::{Error, FileContext as _, Result, Tail},
    images::{self, Image},
    lock::Lock,
    paths::{self, LOCK},
    progress::Progress,
};

/// The namespace of the installed operator.
pub const NAMESPACE: &str = "thanos-query-operator";

/// The Deployment of the installed operator.
pub const DEPLOYMENT: &str = "thanos-operator";

/// The images as the manifests name them; `install` puts the built ones in their place.
const OPERATOR_IN_MANIFEST: &str = "thanos-operator:dev";
const AGENT_IN_MANIFEST: &str = "sd-agent:dev";

/// The user of the product's images.
const USER: u32 = 65532;

/// How long the rollout of the operator may take.
const ROLLOUT: &str = "120s";

/// The product's images, as pods name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The operator.
    pub operator: String,
    /// The agent beside each querier.
    pub agent: String,
}

/// The product's release binaries, linked statically.
#[derive(Clone, Debug)]
pub struct Product {
    /// The operator.
    pub operator: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

/// Loads every image that cases use, installs the operator and waits until it runs.
///
/// An existing cluster cannot see images built here, so `given` has to name some that it can pull.
pub fn install(cluster: &Cluster, given: Option<Images>, progress: &Progress) -> Result<Images> {
    let images = match given {
        Some(images) => images,
        None if cluster.is_own() => load_images(cluster, progress)?,
        None => {
            build_product(progress)?;
            return Err(Error::ImagesNotGiven);
        }
    };
    let step = progress.step("installing the operator");
    apply(cluster, "crd.yaml", None)?;
    apply(cluster, "install.yaml", Some(&images))?;
    wait_for_rollout(cluster)?;
    step.done_with(format_args!("{}, {}", images.operator, images.agent));
    Ok(images)
}

/// Builds the product and loads its images and those of Thanos and Prometheus; for cases that start an
/// operator of their own.
pub fn load_images(cluster: &Cluster, progress: &Progress) -> Result<Images> {
    if !cluster.is_own() {
        return Err(Error::OnlyOwn("loading images"));
    }
    load_release_images(cluster, progress)?;
    let product = build_product(progress)?;
    let _lock = Lock::acquire(Path::new(LOCK), progress)?;
    let load = |name: &str, program: &Path| -> Result<String> {
        let image = Image::of_program(name, program, USER)?;
        images::load(cluster, &image, &image.reference)?;
        Ok(image.reference)
    };
    Ok(Images {
        operator: load("thanos-operator", &product.operator)?,
        agent: load("sd-agent", &product.agent)?,
    })
}

/// Loads the images of Thanos and Prometheus.
pub fn load_release_images(cluster: &Cluster, progress: &Progress) -> Result<()> {
    if !cluster.is_own() {
        return Err(Error::OnlyOwn("loading images"));
    }
    let _lock = Lock::acquire(Path::new(LOCK), progress)?;
    let step = progress.step("loading the images of Thanos and Prometheus");
    let loaded = images::load_releases(cluster)?;
    step.done_with(format_args!("{loaded} new"));
    Ok(())
}

/// Builds the release binaries. Static, so that their images need nothing else.
pub fn build_product(progress: &Progress) -> Result<Product> {
    let step = progress.step("building the operator and the agent");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let host = host_target()?;
    let log = paths::cache().join("log/cargo");
    let mut command = Command::new(cargo);
    command
        .current_dir(paths::repository())
        // With --target the flag reaches no build script, and shares no folder with other builds.
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // Shared by all clones: the dependencies are the larger part, and they are the same.
        .env("CARGO_TARGET_DIR", paths::cache().join("target"))
        .args([
            "build",
            "--release",
            "--locked",
            "--message-format=json-render-diagnostics",
            "--target",
            &host,
        ])
        .args(["--package=operator", "--package=sd-agent", "--bin=thanos-operator", "--bin=sd-agent"]);
    let messages = logged("building the operator and the agent", &mut command, &log)?;
    let executable = |name: &str| {
        let mut found = messages.lines().filter_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let path = PathBuf::from(message.get("executable")?.as_str()?);
            (path.file_name()?.to_str()? == name).then_some(path)
        });
        found.next_back().ok_or_else(|| Error::Answer {
            step: "building the operator and the agent".to_owned(),
            problem: format!("cargo named no executable `{name}`, see {}", log.display()),
        })
    };
    let product = Product { operator: executable("thanos-operator")?, agent: executable("sd-agent")? };
    step.done();
    Ok(product)
}

/// The target that Rust itself was built for.
fn host_target() -> Result<String> {
    let text = output("asking for the version of Rust", Command::new("rustc").arg("-vV"))?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or_else(|| {
        Error::Answer {
            step: "asking for the version of Rust".to_owned(),
            problem: "`rustc -vV` names no host".to_owned(),
        }
    })
}

fn apply(cluster: &Cluster, manifest: &str, images: Option<&Images>) -> Result<()> {
    let path = paths::repository().join("manifests").join(manifest);
    let mut text = fs::read_to_string(&path).at("read", &path)?;
    if let Some(images) = images {
        for (from, to) in [(OPERATOR_IN_MANIFEST, &images.operator), (AGENT_IN_MANIFEST, &images.agent)] {
            if !text.contains(from) {
                return Err(Error::ImageNotInManifest { manifest: path, image: from });
            }
            text = text.replace(from, to);
        }
    }
    let mut kubectl = cluster.kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--filename=-"]);
    output_with_input(&format!("applying manifests/{manifest}"), &mut kubectl, text.as_bytes()).map(drop)
}

fn wait_for_rollout(cluster: &Cluster) -> Result<()> {
    let mut kubectl = cluster.kubectl();
    kubectl.args(["--namespace", NAMESPACE, "rollout", "status", "--timeout", ROLLOUT]);
    let rolled_out = output("rolling out the operator", kubectl.arg(format!("deployment/{DEPLOYMENT}")));
    rolled_out.map(drop).map_err(|error| match error {
        Error::Command { .. } => Error::Timeout {
            what: "the rollout of the operator".to_owned(),
            limit: Duration::from_secs(120),
            tail: Tail::of_text(&why_not(cluster)),
        },
        other => other,
    })
}

/// What a person would look at when the operator does not start.
fn why_not(cluster: &Cluster) -> String {
    let selector = format!("deployment/{DEPLOYMENT}");
    [
        vec!["get", "pods", "--output=wide"],
        vec!["get", "events", "--sort-by=.lastTimestamp", "--no-headers"],
        vec!["logs", &selector, "--tail=8"],
    ]
    .into_iter()
    .filter_map(|arguments| cluster.kubectl().args(["--namespace", NAMESPACE]).args(arguments).output().ok())
    .map(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    })
    .collect::<Vec<_>>()
    .join("\n")
}
