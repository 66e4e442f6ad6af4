//! Real Thanos as the judge of what is planned: every argument list that the golden cases make is given to the program
//! of its release, and every type of endpoint is served by its arguments and its file together. No cluster is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use sd_agent::ThanosVersion;
use tokio::time::{Instant, sleep};

use super::{
    Case,
    differential::{ON_THIS_MACHINE, RELEASES, released},
};
use crate::{
    cluster::components::{Component, THANOS_NEW},
    fixtures::{
        World, eventually,
        invocation::{Invocation, Invoked, endpoint_file},
        querier_process::{LIMIT, Mirrors, QuerierProcess, healthy_stores},
    },
    golden::{Input, cases as golden_cases, modes},
};

/// Processes that run side by side.
const AT_ONCE: usize = 4;

/// Two of the longest ticks at which a release looks at its file or at its stores.
const FOLLOWS: Duration = Duration::from_secs(11);

/// How often it is looked whether a store is missing.
const POLL: Duration = Duration::from_millis(50);

/// The cases of this area.
pub fn cases() -> Vec<Case> {
    let takes = "every Thanos takes every argument list that the golden cases make, in every mode";
    let serves = "every Thanos serves an endpoint of each type once, by its arguments and its file together, in every mode";
    let follows = "an old Thanos misses no endpoint while the document becomes that of another release, or of the other mode with a file";
    vec![
        Case::shared("differential", takes, |world| async move {
            let binaries = world.cluster().binaries();
            let _alone = ON_THIS_MACHINE.lock().await;
            accepted(|component| Some(binaries.folder(component).join("thanos"))).await.map(drop)
        })
        .limit(900)
        .only_where_the_node_is_ours(),
        Case::shared("differential", serves, |world: World| async move {
            let binaries = world.cluster().binaries();
            let _alone = ON_THIS_MACHINE.lock().await;
            served(|component| Some(binaries.folder(component).join("thanos"))).await
        })
        .limit(900)
        .only_where_the_node_is_ours(),
        Case::shared("differential", follows, |world: World| async move {
            let binaries = world.cluster().binaries();
            let _alone = ON_THIS_MACHINE.lock().await;
            followed(|component| Some(binaries.folder(component).join("thanos"))).await
        })
        .limit(900)
        .only_where_the_node_is_ours(),
    ]
}

/// Runs every argument list; returns how many there were. `program` finds the binary of a release.
///
/// # Errors
/// When a program is missing, or does not take its arguments: with the command line and what it said.
pub async fn accepted(program: impl Fn(&Component) -> Option<PathBuf>) -> Result<usize> {
    let all = invocations()?;
    let number = all.len();
    let mut runs = Vec::new();
    for ((component, invocation), whose) in all {
        let component = RELEASES.iter().map(|(_, own)| *own).find(|own| own.name == component);
        let program = released(&program, component.context("no such release")?)?;
        runs.push(async move { invocation.start(&program).await.map(drop).context(whose.join(", ")) });
    }
    stream::iter(runs).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(number)
}

/// What every golden case starts, for every release and in every mode: of what program, and which cases it is of.
fn invocations() -> Result<BTreeMap<(&'static str, Invocation), Vec<String>>> {
    let mut all: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for case in golden_cases("golden")? {
        let input = Input::read(&case)?;
        for (version, component) in RELEASES {
            for mode in modes().into_iter().filter(|mode| input.can_be_in(mode)) {
                let name = case.file_name().unwrap_or_default().to_string_lossy();
                let whose = format!("{name} for {version} in mode {mode}");
                for invocation in planned(&input, version, &mode).with_context(|| whose.clone())? {
                    all.entry((component.name, invocation)).or_default().push(whose.clone());
                }
            }
        }
    }
    Ok(all)
}

fn planned(input: &Input, version: ThanosVersion, mode: &str) -> Result<Vec<Invocation>> {
    let (_, plan) = input.with(&version.to_string(), mode)?.plan()?;
    Invocation::of(&plan, version)
}

/// A store under the address of an endpoint of each type.
struct EachType {
    input: Input,
    expected: BTreeSet<String>,
    _store: QuerierProcess,
    _mirrors: Mirrors,
}

/// Endpoints of each type that are there, given to every release in every mode.
///
/// # Errors
/// When one of them is not served, or more than once.
pub async fn served(program: impl Fn(&Component) -> Option<PathBuf>) -> Result<()> {
    let each_type = &EachType::start(&program).await?;
    let mut runs = Vec::new();
    for (version, component) in RELEASES {
        let program = released(&program, component)?;
        for mode in modes() {
            let queriers =
                planned(&each_type.input, version, &mode)?.into_iter().next().context("no queriers")?;
            let program = program.clone();
            runs.push(async move {
                let running = queriers.start(&program).await?;
                each_type.is_served_by(&running).await.with_context(|| {
                    format!("in mode {mode} {queriers}\nThanos {version} says\n{}", running.last_words())
                })
            });
        }
    }
    stream::iter(runs).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
}

/// Endpoints of each type, while the document becomes that of another release or of the other mode with a file: what an
/// old pod does until it is replaced.
///
/// # Errors
/// When one of them is missing at any moment, or is there twice in the end.
pub async fn followed(program: impl Fn(&Component) -> Option<PathBuf>) -> Result<()> {
    let each_type = &EachType::start(&program).await?;
    let mut runs = Vec::new();
    for (old, new) in file_changes() {
        let ((version, component), mode) = old;
        let ((new_version, _), new_mode) = new;
        let program = released(&program, component)?;
        let (_, before) = each_type.input.with(&version.to_string(), mode)?.plan()?;
        let next = each_type.input.with(&new_version.to_string(), new_mode)?;
        let (_, after) = next.plan_after(before.config_maps.wanted.as_ref())?;
        let text = endpoint_file(&before, version, after.config_maps.wanted.as_ref())?.context("no file")?;
        let queriers = Invocation::of(&before, version)?.into_iter().next().context("no queriers")?;
        if queriers.file.as_ref() == Some(&text) {
            continue;
        }
        runs.push(async move {
            let what =
                format!("Thanos {version} in mode {mode}, when it becomes {new_version} in {new_mode}");
            let running = queriers.start(&program).await?;
            each_type.is_served_by(&running).await.with_context(|| what.clone())?;
            running.replace_file(&text)?;
            let end = Instant::now() + FOLLOWS;
            while Instant::now() < end {
                let listed = listed_by(&running).await?;
                let missing: Vec<_> = each_type.expected.iter().filter(|own| !listed.contains(own)).collect();
                ensure!(
                    missing.is_empty(),
                    "{what}: {missing:?} is missing among {listed:?}; the file was\n{}and is\n{text}{}",
                    queriers.file.as_deref().unwrap_or_default(),
                    running.last_words()
                );
                sleep(POLL).await;
            }
            each_type.is_served_by(&running).await.context(what)
        });
    }
    ensure!(!runs.is_empty(), "no change changes a file");
    stream::iter(runs).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
}

/// A release, with its program, in a mode.
type Runs = ((ThanosVersion, &'static Component), &'static str);

/// From each release to each other in the same mode, and from each mode to the other in the same release.
fn file_changes() -> Vec<(Runs, Runs)> {
    let all: Vec<Runs> =
        RELEASES.into_iter().flat_map(|release| ["File", "FileAll"].map(|mode| (release, mode))).collect();
    let pairs = all.iter().flat_map(|old| all.iter().map(|new| (*old, *new)));
    pairs.filter(|(old, new)| (old.0.0 == new.0.0) != (old.1 == new.1)).collect()
}

/// What is listed, sorted, each as often as it is.
async fn listed_by(running: &Invoked) -> Result<Vec<String>> {
    let stores = healthy_stores(&running.address, running.http).await?;
    let mut listed: Vec<String> = stores.iter().map(|name| bare(name)).collect();
    listed.sort();
    Ok(listed)
}

// === impl EachType ===

impl EachType {
    async fn start(program: impl Fn(&Component) -> Option<PathBuf>) -> Result<Self> {
        let new = released(program, &THANOS_NEW)?;
        let store = QuerierProcess::start(&new, ThanosVersion::new(0, 42, 4), "endpoints: []\n").await?;
        let mirrors = Mirrors::start(5, store.grpc()).await?;
        let expected = (1..5).map(|index| mirrors.address(index)).collect();
        Ok(Self { input: Input::parse(&each_type(&mirrors))?, expected, _store: store, _mirrors: mirrors })
    }

    async fn is_served_by(&self, running: &Invoked) -> Result<()> {
        eventually(LIMIT, format!("{:?} are served", self.expected), || async {
            let listed = listed_by(running).await?;
            ensure!(listed.iter().eq(&self.expected), "listed: {listed:?}");
            Ok(())
        })
        .await
    }
}

/// A ThanosQuery with an endpoint of each type.
fn each_type(mirrors: &Mirrors) -> String {
    let types = ["Regular", "Strict", "Group", "GroupStrict"];
    let endpoints: Vec<String> = (1..)
        .zip(types)
        .map(|(index, endpoint_type)| {
            format!("{{address: \"{}\", type: {endpoint_type}}}", mirrors.address(index))
        })
        .collect();
    format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, \
         spec: {{serviceDiscovery: {{refreshInterval: 1s, additionalEndpoints: [{}]}}}}}}",
        endpoints.join(", ")
    )
}

/// Without what a group and another spelling of an IPv4 address may have.
fn bare(name: &str) -> String {
    let address = name.rsplit('/').next().unwrap_or(name).trim_start_matches("dns+").to_ascii_lowercase();
    let as_ipv6 = address.strip_prefix("[::ffff:").and_then(|rest| rest.split_once(']'));
    as_ipv6.map(|(host, port)| format!("{host}{port}")).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_release_has_invocations_with_a_file_with_flags_and_of_a_frontend() {
        let all = invocations().expect("plans");
        for (version, component) in RELEASES {
            let of: Vec<&Invocation> = all
                .keys()
                .filter(|(own, _)| *own == component.name)
                .map(|(_, invocation)| invocation)
                .collect();
            let count = |is: fn(&Invocation) -> bool| of.iter().filter(|own| is(own)).count();
            assert!(count(|own| own.file.is_some()) >= 8, "{version}");
            assert!(count(|own| own.args.iter().any(|arg| arg.starts_with("--endpoint="))) >= 3, "{version}");
            assert!(count(|own| own.args[0] == "query-frontend") >= 3, "{version}");
        }
    }
}
