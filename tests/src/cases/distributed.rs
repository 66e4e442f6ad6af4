//! Trees of queriers: they answer what a single querier answers, also while they change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use crds::{ThanosQuery, names::labels};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use super::Case;
use crate::fixtures::{
    Always, Queriers, Store, World, eventually,
    pod_state::is_ready,
    queriers::{FOLLOW, Listed, ROLLOUT},
    question::{Answer, Question, Sample},
};

/// What the stores have data of, each twice.
const TENANTS: [&str; 4] = ["t1", "t2", "t3", "t4"];

/// A querier sends parts of a query only to shards whose data are older than that: the data here are a minute old.
const LOOKBACK: &str = "--query.lookback-delta=10s";

/// Asked of a tree and of a single querier.
const QUERIES: [&str; 20] = [
    "up",
    "sum(up)",
    "sum by (store) (up)",
    "count by (replica) (up)",
    "avg(process_resident_memory_bytes)",
    "max by (job) (go_goroutines)",
    "min(go_goroutines)",
    "stddev(go_memstats_alloc_bytes)",
    "quantile(0.5, go_memstats_alloc_bytes)",
    "count_values(\"v\", up)",
    "absent(no_such_metric)",
    "topk(2, go_memstats_alloc_bytes)",
    "rate(prometheus_http_requests_total[20s])",
    "sum by (handler) (rate(prometheus_http_requests_total[20s]))",
    "sum(max_over_time(go_goroutines[20s]))",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[20s])))",
    "histogram_quantile(0.5, sum by (le, store) (rate(prometheus_http_request_duration_seconds_bucket[20s])))",
    "go_memstats_alloc_bytes / on (store) go_memstats_sys_bytes",
    "sum by (store) (go_goroutines) / on () group_left () sum(go_goroutines)",
    "label_replace(up, \"tenant\", \"$1\", \"store\", \"t(.)\")",
];

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "distributed",
            "a tree of two shards answers 20 queries as one querier does, takes a new store without a restart, loses no query with a pod, and becomes three shards without a wrong answer",
            a_tree,
        )
        .limit(420),
        Case::shared(
            "distributed",
            "a tree goes from 0.37.2 to 0.42.4, the root first, without a wrong answer",
            an_upgrade,
        )
        .limit(300),
    ]
}

async fn a_tree(world: World) -> Result<()> {
    make_stores(&world).await?;
    let single = world.thanos_query("single", &spec("")).await?;
    let tree = world.thanos_query("tree", &distributed(2, 2, "replicas: 2")).await?;
    single.ready().await?;
    tree.ready().await?;
    single.every_pod_lists(&["t1", "t1", "t2", "t2", "t3", "t3", "t4", "t4"]).await?;

    let shards = shards(&world, "tree").await?;
    split_truly(&shards).await?;
    answers_as(&tree, &single).await?;

    let mut before = vec![tree.snapshot().await?];
    for shard in &shards {
        before.push(shard.snapshot().await?);
    }
    world.store(Store::new("t5")).await?;
    tree.every_pod_answers(&Question::of("count by (store) (up)"), &["t1", "t2", "t3", "t4", "t5"]).await?;
    let all = std::iter::once(&tree).chain(&shards);
    for (queriers, before) in all.zip(&before) {
        queriers.unchanged_since(before).await?;
    }

    let right = always_right(&tree, Strictness::NoQueryFails);
    let victim = shards[0].ready_pods().await?.into_iter().next().context("no pod")?;
    let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    world.api::<Pod>().delete(&victim.name_any(), &at_once).await?;
    shards[0].ready().await?;
    right.held().await?;

    let right = always_right(&tree, Strictness::NoneIsWrong);
    world.thanos_query("tree", &distributed(3, 1, "replicas: 2")).await?;
    eventually(ROLLOUT, "three shards and no more", || async {
        let names = shard_names(&world, "tree").await?;
        if names.len() == 3 { Ok(()) } else { bail!("{names:?}") }
    })
    .await?;
    tree.ready().await?;
    right.held().await?;
    let before_tree = before.first().context("no snapshot")?;
    tree.unchanged_since(before_tree).await?;
    split_truly(&self::shards(&world, "tree").await?).await?;
    answers_as(&tree, &single).await
}

async fn an_upgrade(world: World) -> Result<()> {
    make_stores(&world).await?;
    let with = |version: &str| distributed(2, 1, &format!("replicas: 2, version: {version}"));
    let tree = world.thanos_query("tree", &with("v0.37.2")).await?;
    tree.ready().await?;
    tree.every_pod_answers(&Question::of("count by (store) (up)"), &TENANTS).await?;
    let names = shard_names(&world, "tree").await?;
    let right = always_right(&tree, Strictness::NoneIsWrong);
    world.thanos_query("tree", &with("v0.42.4")).await?;
    let root_first = eventually(ROLLOUT, "shards of 0.42.4, and only after the root", || async {
        let root = versions(&tree.pods().await?);
        let mut of_shards = BTreeSet::new();
        for shard in shards(&world, "tree").await? {
            of_shards.extend(versions(&shard.pods().await?));
        }
        let is_new = |versions: &BTreeSet<String>| versions.iter().all(|version| version == "v0.42.4");
        if of_shards.contains("v0.42.4") && !is_new(&root) {
            return Ok(Err(anyhow!("shards are new while the root is {root:?}")));
        }
        if is_new(&root) && is_new(&of_shards) { Ok(Ok(())) } else { bail!("{root:?}, {of_shards:?}") }
    })
    .await?;
    root_first?;
    tree.ready().await?;
    right.held().await?;
    let now = shard_names(&world, "tree").await?;
    if now != names {
        bail!("the shards were {names:?} and are {now:?}");
    }
    split_truly(&shards(&world, "tree").await?).await
}

/// Two of each, with the same data but for the label `replica`.
async fn make_stores(world: &World) -> Result<()> {
    let stores = TENANTS.iter().flat_map(|tenant| {
        ["a", "b"].map(|replica| Store::new(&format!("{tenant}-{replica}")).data_of(tenant).replica(replica))
    });
    world.stores(stores).await
}

fn spec(more: &str) -> String {
    format!("{{additionalArgs: [{LOOKBACK}], serviceDiscovery: {{refreshInterval: 2s}}, {more}}}")
}

fn distributed(shards: usize, replicas: usize, more: &str) -> String {
    let tree = format!("{{shards: {shards}, replicasPerShard: {replicas}, shardingLabels: [store]}}");
    spec(&format!("distributed: {tree}, {more}"))
}

async fn shard_names(world: &World, tree: &str) -> Result<Vec<String>> {
    let params = ListParams::default().labels(&format!("{}={tree}", labels::SHARD_OF));
    let list = world.api::<ThanosQuery>().list(&params).await?;
    Ok(list.items.iter().map(ThanosQuery::name_any).collect())
}

async fn shards(world: &World, tree: &str) -> Result<Vec<Queriers>> {
    let names = shard_names(world, tree).await?;
    Ok(names.iter().map(|name| Queriers::of(world, name)).collect())
}

fn versions(pods: &[Pod]) -> BTreeSet<String> {
    let image = |pod: &Pod| pod.spec.as_ref()?.containers.first()?.image.clone();
    let tag = |image: String| image.rsplit(':').next().unwrap_or_default().to_owned();
    pods.iter().filter(|pod| is_ready(pod)).filter_map(image).map(tag).collect()
}

/// Each store belongs to exactly one shard.
async fn split_truly(shards: &[Queriers]) -> Result<()> {
    eventually(FOLLOW, "shards that have each store once", || async {
        let mut of_all: BTreeMap<String, usize> = BTreeMap::new();
        for shard in shards {
            let mut of_shard: Option<BTreeSet<String>> = None;
            for pod in shard.ready_pods().await? {
                let listed = shard.listed_by(&pod).await?;
                let own: BTreeSet<String> =
                    listed.iter().filter_map(Listed::store).map(str::to_owned).collect();
                if *of_shard.get_or_insert_with(|| own.clone()) != own {
                    bail!("pods of one shard list {of_shard:?} and {own:?}");
                }
            }
            for store in of_shard.unwrap_or_default() {
                *of_all.entry(store).or_default() += 1;
            }
        }
        let is_complete = TENANTS.iter().all(|tenant| of_all.contains_key(*tenant));
        if is_complete && of_all.values().all(|times| *times == 1) { Ok(()) } else { bail!("{of_all:?}") }
    })
    .await
}

/// Every pod of `tree` gives the answers of `single`.
async fn answers_as(tree: &Queriers, single: &Queriers) -> Result<()> {
    let judge = single.ready_pods().await?.into_iter().next().context("no single querier")?;
    eventually(FOLLOW, "the same answers", || async {
        // Of this moment everybody has the samples.
        let time = jiff::Timestamp::now().as_second() - 4;
        for query in QUERIES {
            let question = Question::of(query).at(time).whole();
            let wanted = single.ask(&judge, &question).await?;
            if wanted.samples.is_empty() {
                bail!("{query}: a single querier has no answer");
            }
            for pod in tree.ready_pods().await? {
                let answer = tree.ask(&pod, &question).await?;
                same(&wanted, &answer).map_err(|what| anyhow!("{query}: {what}"))?;
            }
        }
        Ok(())
    })
    .await
}

fn same(wanted: &Answer, answer: &Answer) -> Result<(), String> {
    let sorted = |answer: &Answer| -> Vec<Sample> {
        let mut samples = answer.samples.clone();
        samples.sort_by(|a, b| a.metric.cmp(&b.metric));
        samples
    };
    let (wanted, answer) = (sorted(wanted), sorted(answer));
    let is_same = |one: &Sample, other: &Sample| {
        let number = |sample: &Sample| sample.value.1.parse::<f64>().unwrap_or(f64::NAN);
        let (a, b) = (number(one), number(other));
        let is_close = one.value.1 == other.value.1 || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0);
        one.metric == other.metric && is_close
    };
    let are_same = wanted.len() == answer.len() && wanted.iter().zip(&answer).all(|(a, b)| is_same(a, b));
    if are_same { Ok(()) } else { Err(format!("{answer:?} instead of {wanted:?}")) }
}

/// What is asked of a tree at every moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Each query is answered, and right.
    NoQueryFails,
    /// What is answered is right; a query may fail with an error, but nearly none does.
    NoneIsWrong,
}

/// Watches that `tree` answers with one `up` of each tenant, as a client that looks its name up anew asks.
fn always_right(tree: &Queriers, strictness: Strictness) -> Always {
    let (tree, failed) = (tree.clone(), Arc::new(AtomicUsize::new(0)));
    Always::watch("a query has each tenant once", Duration::from_millis(50), move || {
        let (tree, failed) = (tree.clone(), Arc::clone(&failed));
        async move {
            let answer = match tree.query_by_name("sum by (store) (up)").await {
                Ok(answer) => answer,
                Err(error) => {
                    let failed = failed.fetch_add(1, Ordering::SeqCst) + 1;
                    let is_allowed = strictness == Strictness::NoneIsWrong && failed <= 10;
                    return if is_allowed { Ok(()) } else { Err(error.context(format!("{failed} failed"))) };
                }
            };
            let once = |tenant: &&str| {
                let mut own = answer
                    .samples
                    .iter()
                    .filter(|one| one.metric.get("store").is_some_and(|own| own == tenant));
                own.next().is_some_and(|one| one.value.1 == "1") && own.next().is_none()
            };
            if !answer.warnings.is_empty() || !TENANTS.iter().all(once) {
                bail!("{answer:?}");
            }
            Ok(())
        }
    })
}
