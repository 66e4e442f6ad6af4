//! What people use the operator for, each story told by the results of queries.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};
use kube::ResourceExt as _;

use super::Case;
use crate::fixtures::{
    Always, HandMade, Queriers, Question, Store, StoreService, World, eventually, queriers::FOLLOW,
    store_pod::THANOS_HTTP_PORT,
};

/// Has one series for each store that scrapes.
const SERIES: &str = "count by (store) (up)";

/// How many queries of one querier show how a group shares them.
const QUERIES: u64 = 40;

/// How long queries may suffer from the loss of a member of a group, on a slow machine. Measured: of some hundred, those
/// that are under way at that moment, which is one or none for each querier.
const DISTURBED: Duration = Duration::from_secs(10);

/// A label of the stores' Services that says whose they are.
const TENANT: &str = "example.org/tenant";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::shared(
            "stories",
            "a store outside the pod network is queried with the others through hand-made Endpoints and EndpointSlices",
            outside,
        )
        .only_where_pods_reach_this_machine(),
        Case::shared("stories", "one query has series of a sidecar, a receive and a store gateway", mixed),
        Case::shared(
            "stories",
            "without a strict store a query fails, and without another one it only lacks series",
            strict,
        ),
        Case::shared("stories", "ThanosQuerys with selectors of tenants answer with their own series", tenants),
    ];
    for version in ["v0.42.4", "v0.37.2"] {
        let name = format!(
            "a group of two shares the queries, and when one is lost the other answers them all ({version})"
        );
        cases.push(Case::shared("stories", name, move |world| group(world, version)));
    }
    cases
}

async fn outside(world: World) -> Result<()> {
    world.store(Store::new("inside")).await?;
    let outside = world.outside_store("outside").await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    let series = Question::of(SERIES).whole();
    queriers.every_pod_lists(&["inside"]).await?;
    let before = queriers.snapshot().await?;

    let by_address = StoreService::of("outside");
    let by_name = StoreService::of("outside").headless();
    let ways = [
        ("endpoints", &by_address, HandMade::Endpoints),
        ("slice", &by_address, HandMade::EndpointSlice),
        ("endpoints-by-name", &by_name, HandMade::Endpoints),
        ("slice-by-name", &by_name, HandMade::EndpointSlice),
    ];
    for (name, service, made) in ways {
        world.leads_outside(&service.clone().named(name), &outside, made).await?;
        queriers.every_pod_lists(&["inside", "outside"]).await.with_context(|| format!("{name} is there"))?;
        queriers.every_pod_answers(&series, &["inside", "outside"]).await?;
        world.delete_service(name).await?;
        queriers.every_pod_lists(&["inside"]).await.with_context(|| format!("{name} is gone"))?;
        queriers.every_pod_answers(&series, &["inside"]).await?;
    }
    queriers.unchanged_since(&before).await
}

async fn mixed(world: World) -> Result<()> {
    let past = Timestamp::now().as_second() - 10 * 24 * 60 * 60;
    let stores =
        [Store::new("sidecar"), Store::new("receive").receiving(), Store::new("gateway").of_the_past(past)];
    world.stores(stores).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["gateway", "receive", "sidecar"]).await?;

    // Who has what, and then all of it in one answer.
    let now = Question::of(SERIES).whole();
    queriers.every_pod_answers(&now, &["receive", "sidecar"]).await?;
    queriers.every_pod_answers(&now.clone().at(past), &["gateway"]).await?;
    let ever = Question::of("count by (store) (count_over_time(up[11d]))").whole();
    queriers.every_pod_answers(&ever, &["gateway", "receive", "sidecar"]).await
}

async fn strict(world: World) -> Result<()> {
    let strict = StoreService::of("strict").strict();
    world.stores([Store::new("always"), Store::new("regular"), Store::new("strict").behind(strict)]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    let [whole, part] = [Question::of(SERIES).whole(), Question::of(SERIES).partial()];
    queriers.every_pod_answers(&whole, &["always", "regular", "strict"]).await?;
    let before = queriers.snapshot().await?;

    // Thanos goes on without a regular store once it has noticed that it is down, so nobody is told.
    world.scale::<Deployment>("regular", 0).await?;
    every_pod_notices_the_loss_of(&world, &queriers, "regular").await?;
    queriers.every_pod_answers(&whole, &["always", "strict"]).await?;

    world.scale::<Deployment>("strict", 0).await?;
    every_pod_notices_the_loss_of(&world, &queriers, "strict").await?;
    every_pod_refuses(&queriers, &whole, &address(&world, "strict")).await?;
    every_pod_warns(&queriers, &part, &address(&world, "strict")).await?;

    world.scale::<Deployment>("strict", 1).await?;
    queriers.every_pod_answers(&whole, &["always", "strict"]).await?;
    queriers.unchanged_since(&before).await
}

async fn group(world: World, version: &str) -> Result<()> {
    let service = StoreService::of("member").headless().group();
    world.store(Store::new("member").stateful(2).behind(service)).await?;
    let queriers =
        world.ready_thanos_query("global", &format!("{{replicas: 2, version: {version}}}")).await?;
    queriers.every_pod_lists(&["member"]).await?;
    let before = queriers.snapshot().await?;
    is_shared(&world, &queriers).await?;

    let mut asked = Vec::new();
    for pod in queriers.pods().await? {
        asked.push(asked_all_along(&queriers, pod));
    }
    world.scale::<StatefulSet>("member", 1).await?;
    let all_fine = format!("{QUERIES} queries in a row without the lost member");
    for pod in queriers.pods().await? {
        eventually(DISTURBED, &all_fine, || ask_many(&queriers, &pod)).await?;
    }
    for always in asked {
        let sampled = always.ended().await?;
        if sampled.disturbed > DISTURBED {
            bail!("queries suffered too long from the loss of a member: {sampled}");
        }
    }

    world.scale::<StatefulSet>("member", 2).await?;
    is_shared(&world, &queriers).await?;
    queriers.unchanged_since(&before).await
}

async fn tenants(world: World) -> Result<()> {
    let of = |store: &str, tenant: &str| StoreService::of(store).label(TENANT, tenant);
    let stores = [
        Store::new("red").behind(of("red", "red")),
        Store::new("blue").behind(of("blue", "blue")),
        Store::new("free"),
    ];
    world.stores(stores).await?;
    let mut queries = Vec::new();
    for (name, selector) in [
        ("red", format!("{{matchLabels: {{{TENANT}: red}}}}")),
        ("blue", format!("{{matchLabels: {{{TENANT}: blue}}}}")),
        ("not-red", format!("{{matchExpressions: [{{key: {TENANT}, operator: NotIn, values: [red]}}]}}")),
        ("any", format!("{{matchExpressions: [{{key: {TENANT}, operator: Exists}}]}}")),
    ] {
        queries.push(world.thanos_query(name, &format!("{{customStoreLabelSelector: {selector}}}")).await?);
    }
    for queriers in &queries {
        queriers.ready().await?;
    }
    let have = async |wanted: [&[&str]; 4]| -> Result<()> {
        for (queriers, stores) in queries.iter().zip(wanted) {
            queriers.every_pod_lists(stores).await?;
            queriers.every_pod_answers(&Question::of(SERIES).whole(), stores).await?;
        }
        Ok(())
    };
    have([&["red"], &["blue"], &["blue", "free"], &["blue", "red"]]).await?;

    // A store is given to a tenant: who may not see that one loses it, and nobody else is let in.
    world.service(&of("free", "red")).await?;
    have([&["free", "red"], &["blue"], &["blue"], &["blue", "free", "red"]]).await
}

/// Waits until each querier shares its queries among both members of the group, and asks one of them for each query.
async fn is_shared(world: &World, queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "queries of each querier shared by both members of the group", || async {
        for querier in queriers.pods().await? {
            let members = world.pods_of_store("member").await?;
            let mut before = Vec::new();
            for member in &members {
                before.push(series_calls(world, member).await?);
            }
            ask_many(queriers, &querier).await?;
            let mut shares = Vec::new();
            for (member, before) in members.iter().zip(before) {
                shares.push(series_calls(world, member).await? - before);
            }
            let is_fair = shares.iter().all(|&share| share >= QUERIES / 3);
            if shares.iter().sum::<u64>() != QUERIES || !is_fair {
                bail!("{}: {shares:?} of {QUERIES}", querier.name_any());
            }
        }
        Ok(())
    })
    .await
}

/// Asks one querier [`QUERIES`] times.
async fn ask_many(queriers: &Queriers, pod: &Pod) -> Result<()> {
    for _ in 0..QUERIES {
        has_series(queriers, pod).await?;
    }
    Ok(())
}

/// Asks one querier all the time, so often that a query is under way whenever a member goes.
fn asked_all_along(queriers: &Queriers, pod: Pod) -> Always {
    let queriers = queriers.clone();
    let what = format!("{} has series of the group", pod.name_any());
    Always::watch(what, Duration::from_millis(10), move || {
        let (queriers, pod) = (queriers.clone(), pod.clone());
        async move { has_series(&queriers, &pod).await }
    })
}

async fn has_series(queriers: &Queriers, pod: &Pod) -> Result<()> {
    let answer = queriers.ask(pod, &Question::of(SERIES).whole()).await?;
    if answer.stores().contains("member") { Ok(()) } else { bail!("{}: {answer:?}", pod.name_any()) }
}

/// How often a store was asked for series.
async fn series_calls(world: &World, store: &Pod) -> Result<u64> {
    let metrics = world.reach().text(store, THANOS_HTTP_PORT, "/metrics").await?;
    let mut calls = metrics.lines().filter(|line| {
        line.starts_with("grpc_server_started_total{") && line.contains("grpc_method=\"Series\"")
    });
    let number = calls.next().and_then(|line| line.rsplit(' ').next()).context("no number of calls")?;
    Ok(number.parse()?)
}

/// The beginning of the address of a store.
fn address(world: &World, store: &str) -> String {
    format!("{store}.{}.svc", world.namespace())
}

/// Waits until every pod says why a store does not answer. From then on Thanos leaves it out, unless it is strict.
async fn every_pod_notices_the_loss_of(world: &World, queriers: &Queriers, store: &str) -> Result<()> {
    let address = address(world, store);
    queriers
        .every_pod(&format!("why {store} does not answer"), |listed| {
            let noticed = listed.iter().any(|one| one.name.starts_with(&address) && one.last_error.is_some());
            if noticed { Ok(()) } else { Err(format!("{listed:?}")) }
        })
        .await
}

/// Waits until every pod answers with an error that has this word.
async fn every_pod_refuses(queriers: &Queriers, question: &Question, word: &str) -> Result<()> {
    eventually(FOLLOW, format!("an error with {word} from every pod"), || async {
        for pod in queriers.pods().await? {
            match queriers.ask(&pod, question).await {
                Ok(answer) => bail!("{}: {answer:?}", pod.name_any()),
                Err(error) => {
                    let text = format!("{error:#}");
                    if !(text.contains("\"status\":\"error\"") && text.contains(word)) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    })
    .await
}

/// Waits until every pod answers with what there is, and a warning that has this word.
async fn every_pod_warns(queriers: &Queriers, question: &Question, word: &str) -> Result<()> {
    eventually(FOLLOW, format!("a warning with {word} from every pod"), || async {
        for pod in queriers.pods().await? {
            let answer = queriers.ask(&pod, question).await?;
            let warned = answer.warnings.iter().any(|warning| warning.contains(word));
            let found: Vec<String> = answer.stores().into_iter().collect();
            if !warned || found != ["always"] {
                bail!("{}: {answer:?}", pod.name_any());
            }
        }
        Ok(())
    })
    .await
}
