//! What belongs to somebody else is reported and left.

use anyhow::{Context as _, Result, bail};
use crds::names::conditions::{FOREIGN_OBJECT, READY};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{Store, StoreService, Workload, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "foreign",
            "a foreign Deployment of our name stays byte for byte as it is, is reported, and ours follows when it is gone",
            foreign_deployment,
        )
        .limit(240),
    ]
}

async fn foreign_deployment(world: World) -> Result<()> {
    world.store(Store::new("a").without_service()).await?;
    let labels = json!({"app": "somebody-else"});
    world
        .apply::<Deployment>(json!({
            "metadata": {"name": "thanos-query-global", "labels": labels},
            "spec": {
                // Nothing of it runs, so nobody else changes it either.
                "replicas": 0,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "thanos-query", "image": "somebody/else:1"}]},
                },
            },
        }))
        .await?;
    let workload = Workload::of_queriers(&world, "global");
    workload.settled_at(0).await?;
    let before = without_status(&workload).await?;

    let queriers = world.thanos_query("global", "{replicas: 1}").await?;
    queriers.says(FOREIGN_OBJECT, &["Deployment", "thanos-query-global"]).await?;
    // More to do: a full reconcile and one for an endpoint.
    world.thanos_query("global", "{replicas: 1, logLevel: debug}").await?;
    world.service(&StoreService::of("a")).await?;
    eventually(FOLLOW, "the endpoint is told in status", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let total = status.endpoints.map(|counts| counts.total);
        if total == Some(1) { Ok(()) } else { bail!("{total:?}") }
    })
    .await?;
    queriers.says(FOREIGN_OBJECT, &["thanos-query-global"]).await?;
    if queriers.condition(READY).await?.is_some() {
        bail!("Ready, although there are no queriers");
    }
    let after = without_status(&workload).await?;
    if before != after {
        bail!("it was touched: {before} became {after}");
    }

    world.api::<Deployment>().delete(workload.name(), &Default::default()).await?;
    queriers.ready().await?;
    queriers.every_pod_lists(&["a"]).await?;
    queriers.says_no_more(FOREIGN_OBJECT).await
}

async fn without_status(workload: &Workload) -> Result<Value> {
    let mut live = serde_json::to_value(workload.live().await?)?;
    live["status"] = Value::Null;
    Ok(live)
}
