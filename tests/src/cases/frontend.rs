//! The query frontend in front of its queriers.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use crds::names::pod;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::Case;
use crate::fixtures::{Queriers, Workload, World, eventually, http::escape, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "kitchen sink",
            "queries that come one after the other through the frontend reach every querier",
            spread,
        ),
        Case::shared(
            "kitchen sink",
            "with queriers below a path the frontend is Ready and finds them",
            below_a_path,
        ),
        Case::shared(
            "kitchen sink",
            "queriers and frontends of older releases run beside each other and answer",
            older_releases,
        ),
    ]
}

/// Queries that are asked. That all of them meet the same of two queriers by chance happens once in 2^39.
const QUERIES: usize = 40;

async fn spread(world: World) -> Result<()> {
    let queriers = world.ready_thanos_query("global", "{replicas: 2, queryFrontend: {}}").await?;
    let frontend = Workload::of_frontend(&world, "global").pods().await?;
    let frontend = frontend.first().context("no frontend")?;
    for number in 0..QUERIES {
        ask(&world, frontend, &number.to_string()).await?;
    }
    let mut asked = BTreeMap::new();
    for pod in queriers.ready_pods().await? {
        let metrics = world.reach().text(&pod, pod::HTTP_PORT, "/metrics").await?;
        let count = |line: &str| {
            let is_query = line.starts_with("http_requests_total{") && line.contains("handler=\"query\"");
            is_query.then(|| line.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        asked.insert(pod.name_any(), metrics.lines().filter_map(count).sum::<f64>());
    }
    if asked.len() == 2 && asked.values().all(|number| *number > 0.0) { Ok(()) } else { bail!("{asked:?}") }
}

async fn below_a_path(world: World) -> Result<()> {
    let spec = "{webConfig: {externalPrefix: /thanos}, queryFrontend: {}}";
    world.ready_thanos_query("global", spec).await?;
    let frontend = Workload::of_frontend(&world, "global").pods().await?;
    let answer = ask(&world, frontend.first().context("no frontend")?, "42").await?;
    if answer.contains("\"42\"") { Ok(()) } else { bail!("{answer}") }
}

async fn older_releases(world: World) -> Result<()> {
    let cache = "queryRangeResponseCacheConfig: {inMemoryCacheConfig: {maxSize: 16Mi}}";
    for (name, version) in [("oldest", "v0.35.1"), ("old", "v0.37.2")] {
        world.thanos_query(name, &format!("{{version: {version}, queryFrontend: {{{cache}}}}}")).await?;
    }
    for name in ["oldest", "old"] {
        Queriers::of(&world, name).ready().await?;
        let frontend = Workload::of_frontend(&world, name).pods().await?;
        let frontend = frontend.first().context("no frontend")?;
        // Before 0.39 a frontend is Ready at once; kube-proxy may need a moment more.
        eventually(FOLLOW, format!("an answer of {name}"), || async {
            let answer = ask(&world, frontend, "42").await?;
            if answer.contains("\"42\"") { Ok(()) } else { bail!("{answer}") }
        })
        .await?;
    }
    Ok(())
}

async fn ask(world: &World, pod: &Pod, query: &str) -> Result<String> {
    let path = format!("/api/v1/query?query={}", escape(query));
    world.reach().text(pod, pod::HTTP_PORT, &path).await
}
