//! At rest nothing is written: what the API server's audit log says about the operator.

use anyhow::{Context as _, Result, bail};
use crds::ThanosQuery;
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, audit::writes_of, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "writes",
            "a ThanosQuery applied again unchanged, a label of Helm on it and a new start of the operator cause no write",
            at_rest,
        )
        .only_where_the_node_is_ours(),
    ]
}

async fn at_rest(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let spec = json!({"replicas": 1, "queryFrontend": {}});
    apply(&world, &spec, "chart-1").await?;
    let queriers = Queriers::of(&world, "global");
    queriers.ready().await?;
    queriers.every_pod_lists(&["a"]).await?;
    let user = world.operator()?.lock().await.user();
    let before = queriers.snapshot().await?;
    quiet(&queriers).await?;

    let unchanged = Timestamp::now();
    apply(&world, &spec, "chart-1").await?;
    only_the_sentinel(&world, &queriers, &user, unchanged, "b").await?;

    let label = Timestamp::now();
    apply(&world, &spec, "chart-2").await?;
    only_the_sentinel(&world, &queriers, &user, label, "c").await?;

    let restart = Timestamp::now();
    let mut operator = world.operator()?.lock().await;
    operator.stop().await?;
    operator.start_again().await?;
    operator.reconciled().await?;
    drop(operator);
    only_the_sentinel(&world, &queriers, &user, restart, "d").await?;
    queriers.unchanged_since(&before).await
}

async fn apply(world: &World, spec: &Value, chart: &str) -> Result<()> {
    let labels = json!({"helm.sh/chart": chart, "app.kubernetes.io/managed-by": "Helm"});
    let object = json!({"metadata": {"name": "global", "labels": labels}, "spec": spec});
    world.apply::<ThanosQuery>(object).await.map(drop)
}

/// Adds a Service, which has to be written, and nothing else has been. It comes after what must cause no write, so
/// that nobody has to wait for something that does not happen; and it proves that the log tells writes.
async fn only_the_sentinel(
    world: &World,
    queriers: &Queriers,
    user: &str,
    since: Timestamp,
    name: &str,
) -> Result<()> {
    // Whichever verb.
    let document = format!(" configmaps/{} 200", queriers.config_map().await?.name_any());
    let status = format!(" thanosqueries/status/{} 200", queriers.object().await?.name_any());
    let sentinel = Timestamp::now();
    world.service(&StoreService::of("b").named(name)).await?;
    eventually(FOLLOW, format!("the audit log has:{document}"), || async {
        let writes = writes_of(user, world.namespace(), sentinel)?;
        if writes.iter().any(|write| write.ends_with(&document)) { Ok(()) } else { bail!("{writes:?}") }
    })
    .await?;
    quiet(queriers).await?;
    let all = writes_of(user, world.namespace(), since)?;
    let after = writes_of(user, world.namespace(), sentinel)?;
    let number = |end: &str| after.iter().filter(|write| write.ends_with(end)).count();
    // A new endpoint changes the document and what status says: that it is there, and that all pods have it.
    let (documents, told) = (number(&document), number(&status));
    if all.len() != after.len() || documents != 1 || told > 2 || documents + told != after.len() {
        bail!("more than the new endpoint was written: {all:?}, of these after it: {after:?}");
    }
    Ok(())
}

/// Waits until status tells the present document, from every pod: then the operator has no reason to write.
async fn quiet(queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "status tells the present document, from every pod", || async {
        let document = queriers.config_map().await?;
        let meta = document.data.as_ref().and_then(|data| data.get("meta.json")).context("no meta.json")?;
        let status = queriers.object().await?.status.context("no status")?;
        let told = status.document.context("no document in status")?;
        let synced = status.synced.unwrap_or_default();
        let in_step = synced.split_once('/').is_some_and(|(has, all)| has == all && all != "0");
        if in_step && meta.contains(&told.sha256) { Ok(()) } else { bail!("synced {synced}, told {told:?}") }
    })
    .await
}
