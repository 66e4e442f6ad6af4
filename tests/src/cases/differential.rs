//! Real Thanos as the judge of the agent's writer and of `sd-agent check`: what the agent renders is loaded without a
//! complaint and used to the last endpoint; what Thanos refuses, or reads as no endpoints at all, `check` refuses too.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use sd_agent::{
    Address, Document, Endpoint, EndpointType, Feature, ThanosVersion, check::judge, render::render,
};
use tokio::sync::Mutex;

use super::Case;
use crate::{
    cluster::components::{Component, THANOS_0_35, THANOS_0_37, THANOS_0_40, THANOS_NEW},
    fixtures::{
        World,
        querier_process::{Mirrors, QuerierProcess},
    },
};

/// The releases of the families, and what they are built as.
pub const RELEASES: [(ThanosVersion, &Component); 4] = [
    (ThanosVersion::new(0, 35, 1), &THANOS_0_35),
    (ThanosVersion::new(0, 37, 2), &THANOS_0_37),
    (ThanosVersion::new(0, 40, 1), &THANOS_0_40),
    (ThanosVersion::new(0, 42, 4), &THANOS_NEW),
];

/// How many addresses the largest document has.
const MANY: u16 = 200;

/// A document, the flags of the pod it is rendered for, and the stores that are then listed.
struct Good {
    what: &'static str,
    document: Document,
    flags: Vec<Address>,
    listed: BTreeSet<String>,
}

/// What Thanos makes of a bad file.
enum Fate {
    /// It says this and keeps what it had.
    Refused(&'static str),
    /// It takes it, and has no endpoints.
    Dropped,
    /// It takes it and does without what it does not know: that came with a later release.
    Taken,
    /// As [`Self::Dropped`], and after that a good file may end it: 0.42.4 panics while it makes the first connection,
    /// for it has no dial options left. So it gets a process of its own.
    DroppedForGood,
}

/// The cases of this area.
pub fn cases() -> Vec<Case> {
    let name = "every Thanos loads what the agent renders, and check refuses what Thanos refuses or drops";
    vec![Case::shared("differential", name, in_cluster).limit(900).only_where_the_node_is_ours()]
}

/// Case 36, second half.
async fn in_cluster(world: World) -> Result<()> {
    let binaries = world.cluster().binaries();
    let _alone = ON_THIS_MACHINE.lock().await;
    agree(|component| Some(binaries.folder(component).join("thanos"))).await
}

/// Cases that run many Thanos side by side on this machine do so one after the other: each has its own clock to keep.
pub static ON_THIS_MACHINE: Mutex<()> = Mutex::const_new(());

/// Asks every release. `program` finds the binary of one.
///
/// # Errors
/// When Thanos and we disagree, or a program is missing.
pub async fn agree(program: impl Fn(&Component) -> Option<PathBuf>) -> Result<()> {
    let find = |component: &Component| released(&program, component);
    let store =
        QuerierProcess::start(&find(&THANOS_NEW)?, ThanosVersion::new(0, 42, 4), "endpoints: []\n").await?;
    let mirrors = Mirrors::start(MANY + 1, store.grpc()).await?;
    let mut rounds = Vec::new();
    for (version, component) in RELEASES {
        let program = find(component)?;
        let mirrors = &mirrors;
        rounds.push(async move {
            let first = render(&Document::default(), version, &[]).text;
            let querier = QuerierProcess::start(&program, version, &first).await?;
            takes_what_is_rendered(&querier, version, mirrors)
                .await
                .with_context(|| format!("Thanos {version}"))?;
            check_refuses_what_it_does(&querier, &program, version, mirrors)
                .await
                .with_context(|| format!("Thanos {version}"))
        });
    }
    futures::future::try_join_all(rounds).await.map(drop)
}

/// The program of a release.
///
/// # Errors
/// When it is not there.
pub fn released(program: impl Fn(&Component) -> Option<PathBuf>, component: &Component) -> Result<PathBuf> {
    program(component)
        .filter(|program| program.is_file())
        .with_context(|| format!("{} is not built; run `cargo cluster build`", component.title))
}

async fn takes_what_is_rendered(
    querier: &QuerierProcess,
    version: ThanosVersion,
    mirrors: &Mirrors,
) -> Result<()> {
    for Good { what, document, flags, listed } in documents(mirrors)? {
        let before = querier.log().len();
        let rendered = render(&document, version, &flags);
        let answer = judge(rendered.text.as_bytes(), Some(version));
        ensure!(answer.valid, "check refuses {what}: {answer:?}");
        querier.write(rendered.text.as_bytes())?;
        querier.lists(&listed).await.with_context(|| format!("{what}: {}", rendered.text))?;
        let log = querier.log();
        let complaints: Vec<&str> =
            log.get(before..).unwrap_or_default().lines().filter(|line| is_complaint(line)).collect();
        ensure!(complaints.is_empty(), "{what}: {complaints:#?}");
    }
    Ok(())
}

async fn check_refuses_what_it_does(
    querier: &QuerierProcess,
    program: &Path,
    version: ThanosVersion,
    mirrors: &Mirrors,
) -> Result<()> {
    let good = Document::new(vec![regular(&mirrors.address(1))?])?;
    let good = render(&good, version, &[]).text;
    let kept = BTreeSet::from([mirrors.address(1)]);
    let files =
        if version.supports(Feature::EndpointSdConfigFile) { bad_configs(version) } else { bad_targets() };
    let mut is_kept = false;
    for (text, fate) in files {
        // Of what is taken the store is another one, so that it can be seen.
        let store = mirrors.address(if matches!(fate, Fate::Taken) { 2 } else { 1 });
        let text = text.replace("STORE", &store);
        let answer = judge(text.as_bytes(), Some(version));
        ensure!(!answer.valid, "check takes {text:?}");
        if matches!(fate, Fate::DroppedForGood) {
            let own = QuerierProcess::start(program, version, &good).await?;
            own.lists(&kept).await?;
            own.write(text.as_bytes())?;
            own.lists(&BTreeSet::new()).await.with_context(|| format!("{text:?}"))?;
            continue;
        }
        if !is_kept {
            querier.write(good.as_bytes())?;
            querier.lists(&kept).await?;
        }
        let before = querier.log().len();
        querier.write(text.as_bytes())?;
        match fate {
            Fate::Refused(words) => {
                querier.says(words, before).await.with_context(|| format!("{text:?}"))?;
                // One look could meet an answer of the store that came too late.
                querier.lists(&kept).await.with_context(|| format!("{text:?} was refused"))?;
                is_kept = true;
            }
            Fate::Taken => {
                querier.lists(&BTreeSet::from([store])).await.with_context(|| format!("{text:?}"))?;
                is_kept = false;
            }
            Fate::Dropped | Fate::DroppedForGood => {
                querier.lists(&BTreeSet::new()).await.with_context(|| format!("{text:?}"))?;
                is_kept = false;
            }
        }
    }
    Ok(())
}

/// Failed look-ups are the names' fault, and an answer that comes too late is that of a busy machine: 200 stores are asked
/// within a second. Everything else that is worse than information is the file's.
fn is_complaint(line: &str) -> bool {
    let is_bad =
        ["level=error", "level=warn", "uplicate", "failed to"].iter().any(|word| line.contains(word));
    let is_about_a_name = ["dns resolution", "lookup", "no such host"].iter().any(|word| line.contains(word));
    let is_late = line.contains("update of endpoint failed") && line.to_lowercase().contains("deadline");
    is_bad && !is_about_a_name && !is_late
}

fn regular(address: &str) -> Result<Endpoint> {
    Ok(Endpoint::regular(address.parse()?))
}

/// Every kind of endpoint and of address, from none to many. Each is followed by one with other stores.
fn documents(mirrors: &Mirrors) -> Result<Vec<Good>> {
    let at = |index| mirrors.address(index);
    let port = mirrors.port();
    let flagged = |endpoint_type, file: String, flag: String| -> Result<Endpoint> {
        Ok(Endpoint::flagged(endpoint_type, file.parse()?, flag.parse()?))
    };
    let kinds = vec![
        regular(&at(1))?,
        flagged(EndpointType::Strict, at(2), at(2))?,
        flagged(EndpointType::Group, at(3), format!("dns+{}", at(3)))?,
        flagged(EndpointType::GroupStrict, at(4), at(4))?,
    ];
    let flags: Vec<Address> = kinds.iter().filter_map(|endpoint| endpoint.flag.clone()).collect();
    // Of no other document: for one tick Thanos has what it looked up before beside the new file.
    let behind_a_name = at(MANY);
    // Not with a dot at the end: the resolver finds no such name in /etc/hosts, and the operator writes none.
    let names = [format!("localhost:{port}"), format!("LocalHost:{port}"), format!("dns+{behind_a_name}")];
    let looked_up =
        ["dnssrv+_grpc._tcp.none.invalid".to_owned(), "dnssrvnoa+_a-b._tcp.x.invalid:1".to_owned()];
    let many: Vec<String> = (0..MANY).map(at).collect();
    let good = |what, endpoints, flags, listed: &[String]| -> Result<Good> {
        let listed = listed.iter().cloned().collect();
        Ok(Good { what, document: Document::new(endpoints)?, flags, listed })
    };
    let regulars =
        |addresses: &[String]| addresses.iter().map(|address| regular(address)).collect::<Result<Vec<_>>>();
    let mut with_lookups = looked_up.to_vec();
    with_lookups.push(at(8));
    Ok(vec![
        good("one endpoint", regulars(&[at(0)])?, vec![], &[at(0)])?,
        good("none", vec![], vec![], &[])?,
        good("every kind", kinds.clone(), vec![], &[at(1), at(2), at(3), at(4)])?,
        good("every kind, in a pod with flags", kinds, flags, &[at(1)])?,
        good("names", regulars(&names)?, vec![], &[names[0].clone(), names[1].clone(), behind_a_name])?,
        good("many endpoints", regulars(&many)?, vec![], &many)?,
        good("names that cannot be looked up", regulars(&with_lookups)?, vec![], &[at(8)])?,
    ])
}

/// For `--endpoint.sd-config-file`, with what Thanos says. `STORE` is an address that works. A list of targets is not
/// among them: `check` takes it, for the other flag.
fn bad_configs(version: ThanosVersion) -> Vec<(&'static str, Fate)> {
    use Fate::{Dropped, DroppedForGood, Refused, Taken};
    const PARSE: &str = "failed to reload endpoint config";
    const RULES: &str = "failed to validate endpoint config";
    let of_clients = |fate| if version.supports(Feature::EndpointTls) { fate } else { Taken };
    vec![
        ("endpoints: [\n", Refused(PARSE)),
        ("endpoints: STORE\n", Refused(PARSE)),
        ("endpoints: [STORE]\n", Refused(PARSE)),
        ("endpoints: {a: b}\n", Refused(PARSE)),
        ("endpoints:\n\t- address: STORE\n", Refused(PARSE)),
        ("endpoints:\n- address: [STORE]\n", Refused(PARSE)),
        ("endpoints:\n- address: STORE\n  strict: maybe\n", Refused(PARSE)),
        ("endpoints:\n- address: STORE\n  group: 'true'\n", Refused(PARSE)),
        ("endpoints: []\nendpoints:\n- address: STORE\n", Refused(PARSE)),
        ("endpoints:\n- {address: STORE, address: STORE}\n", Refused(PARSE)),
        ("endpoints: [*none]\n", Refused(PARSE)),
        ("endpoints: []\u{1}\n", Refused(PARSE)),
        ("just words\n", Refused(PARSE)),
        ("endpoints:\n- {address: 'dns+STORE', strict: true}\n", Refused(RULES)),
        ("endpoints:\n- {address: 'dns+STORE', strict: true, group: true}\n", Refused(RULES)),
        ("endpoints:\n- {address: 'STORE', service_config: '{}'}\n", Refused(RULES)),
        ("endpoints:\n- {address: 'STORE', client_config: {compression: zip}}\n", of_clients(Refused(RULES))),
        ("", Dropped),
        ("# nothing\n\n", Dropped),
        ("{}\n", Dropped),
        ("~\n", Dropped),
        ("endpoints:\n", Dropped),
        ("endpoint:\n- address: STORE\n", Dropped),
        ("endpoints:\n- adress: STORE\n", Dropped),
        ("endpoints: []\n---\nendpoints:\n- address: STORE\n", Dropped),
        (
            "default_client_config: {tls_config: {cert_file: /none}}\nendpoints:\n- address: STORE\n",
            of_clients(DroppedForGood),
        ),
        (
            "default_client_config: {tls_config: {enabled: true, min_version: TLS12}}\nendpoints:\n- address: STORE\n",
            of_clients(DroppedForGood),
        ),
    ]
}

/// For `--store.sd-files`.
fn bad_targets() -> Vec<(&'static str, Fate)> {
    use Fate::{Dropped, Refused};
    const READ: &str = "Error reading file";
    vec![
        ("- targets: [\n", Refused(READ)),
        ("- targets: STORE\n", Refused(READ)),
        ("- STORE\n", Refused(READ)),
        ("- target: [\"STORE\"]\n", Refused(READ)),
        ("- {targets: [\"STORE\"], strict: true}\n", Refused(READ)),
        ("- {targets: [\"STORE\"], targets: [\"STORE\"]}\n", Refused(READ)),
        ("- {targets: [\"STORE\"], labels: {a: [b]}}\n", Refused(READ)),
        ("targets: [\"STORE\"]\n", Refused(READ)),
        ("endpoints:\n- address: STORE\n", Refused(READ)),
        ("-\ttargets: [\"STORE\"]\n-  x\n", Refused(READ)),
        ("[*none]\n", Refused(READ)),
        ("just words\n", Refused(READ)),
        ("", Dropped),
        ("# nothing\n", Dropped),
        ("- targets:\n", Dropped),
        ("- {}\n", Dropped),
        ("[]\n---\n- targets: [\"STORE\"]\n", Dropped),
    ]
}

/// The newest build of a component in the user's cache, for a run without a cluster.
///
/// # Errors
/// When the cache cannot be read.
pub fn cached(component: &Component) -> Result<Option<PathBuf>> {
    let cache = crate::cluster::paths::cache();
    let Ok(entries) = std::fs::read_dir(&cache) else { return Ok(None) };
    let mut found = None;
    for entry in entries {
        let entry = entry.with_context(|| format!("failed to read {}", cache.display()))?;
        let program = entry.path().join("thanos");
        let is_it = entry.file_name().to_string_lossy().starts_with(&format!("{}-", component.name));
        if is_it && program.is_file() {
            let made = program.metadata()?.modified()?;
            if found.as_ref().is_none_or(|(newest, _)| made > *newest) {
                found = Some((made, program));
            }
        }
    }
    Ok(found.map(|(_, program)| program))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without Thanos: the documents can be made, and `check` judges all files as the case expects.
    #[tokio::test]
    async fn check_takes_what_is_rendered_and_refuses_every_bad_file() {
        let mirrors = Mirrors::start(1, 1).await.expect("loopback addresses");
        for (version, _) in RELEASES {
            for good in documents(&mirrors).expect("valid") {
                let rendered = render(&good.document, version, &good.flags);
                let answer = judge(rendered.text.as_bytes(), Some(version));
                assert!(answer.valid, "{}: {answer:?}", good.what);
                assert!(good.listed.len() <= rendered.count, "{}", good.what);
            }
            let is_new = version.supports(Feature::EndpointSdConfigFile);
            for (text, _) in if is_new { bad_configs(version) } else { bad_targets() } {
                let text = text.replace("STORE", &mirrors.address(1));
                assert!(!judge(text.as_bytes(), Some(version)).valid, "{version}: {text:?}");
            }
        }
    }
}
