//! What the agents say is in the status of the ThanosQuery, and what Thanos says of the file is in that of the agents.

use anyhow::{Context as _, Result, bail};
use crds::names::{conditions::ENDPOINTS_SYNCED, reasons};
use k8s_openapi::{api::rbac::v1::RoleBinding, apimachinery::pkg::apis::meta::v1::Condition};
use kube::ResourceExt as _;
use serde_json::json;

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "agents",
            "a pod whose agent may not read the ConfigMap is named in EndpointsSynced with what the API server says, until it may",
            forbidden,
        )
        .limit(360),
        Case::shared(
            "agents",
            "an agent tells which endpoints of its file Thanos serves, and which it does not list",
            served,
        ),
    ]
}

async fn forbidden(world: World) -> Result<()> {
    world.store(Store::new("a")).await?;
    // The name that the agents' right has is taken, by somebody who gives them none; it is left alone.
    let name = "thanos-query-global";
    world
        .apply::<RoleBinding>(json!({
            "metadata": {"name": name, "labels": {"app": "somebody-else"}},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "nobody"},
            "subjects": [],
        }))
        .await?;
    let queriers =
        world.thanos_query("global", "{replicas: 1, serviceDiscovery: {agent: {source: API}}}").await?;
    let pod = eventually(FOLLOW, "a pod", || async {
        queriers.pods().await?.into_iter().next().context("there is none")
    })
    .await?;
    let pod = pod.name_any();
    synced_says(&queriers, "False", reasons::CANNOT_READ, &[&pod, "cannot read the API", "forbidden"])
        .await?;

    world.api::<RoleBinding>().delete(name, &Default::default()).await?;
    // It is nobody's any more, and a change of the spec is a reason to look.
    world.thanos_query("global", "{replicas: 2, serviceDiscovery: {agent: {source: API}}}").await?;
    queriers.ready().await?;
    queriers.every_pod_lists(&["a"]).await?;
    synced_says(&queriers, "True", reasons::SYNCED, &["2 of 2 pods"]).await.map(drop)
}

async fn served(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    serves(&queriers, 1, 0).await?;
    // Behind the second one is nobody: it is in the file, and Thanos never reaches it.
    world.service(&StoreService::of("b")).await?;
    world.service(&StoreService::of("b").named("nobody").without_selector()).await?;
    serves(&queriers, 2, 1).await
}

/// Waits until every agent says that Thanos serves so many addresses of its file, and does not list so many.
async fn serves(queriers: &Queriers, served: usize, missing: usize) -> Result<()> {
    eventually(FOLLOW, format!("{served} served and {missing} missing"), || async {
        let pods = queriers.pods().await?;
        if pods.is_empty() {
            bail!("there are no pods");
        }
        for pod in &pods {
            let thanos = queriers.agent_of(pod).await?.thanos.context("Thanos was not asked")?;
            if (thanos.served, thanos.missing, &thanos.error) != (served, missing, &None) {
                bail!("{}: {thanos:?}", pod.name_any());
            }
        }
        Ok(())
    })
    .await
}

/// Waits until EndpointsSynced has this status and reason, and all these words in its message.
async fn synced_says(queriers: &Queriers, status: &str, reason: &str, words: &[&str]) -> Result<Condition> {
    eventually(FOLLOW, format!("{ENDPOINTS_SYNCED} is {status} for {reason} with {words:?}"), || async {
        let conditions = queriers.object().await?.status.map(|status| status.conditions).unwrap_or_default();
        let own = conditions.into_iter().find(|own| own.type_ == ENDPOINTS_SYNCED).context("not yet")?;
        let is_it = own.status == status && own.reason == reason;
        if is_it && words.iter().all(|word| own.message.contains(word)) { Ok(own) } else { bail!("{own:?}") }
    })
    .await
}
