//! Who says how many queriers there are: an autoscaler, a person with `kubectl scale`, the spec.

use anyhow::{Context as _, Result, bail};
use crds::{ThanosQuery, names::conditions::READY};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use serde_json::json;

use super::Case;
use crate::fixtures::{
    Queriers, Store, StoreService, Workload, World, eventually,
    queriers::{FOLLOW, ROLLOUT},
};

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "replicas",
            "an autoscaler scales the queriers without a fight, and without it the number in the spec counts again",
            autoscaled,
        ),
        Case::shared(
            "replicas",
            "an autoscaler that has nothing to scale still keeps the spec from scaling down",
            autoscaler_at_rest,
        ),
        Case::shared(
            "replicas",
            "kubectl scale of the Deployment counts until the spec changes, and works on the ThanosQuery itself",
            scaled_by_hand,
        ),
        Case::shared(
            "replicas",
            "kubectl rollout restart is one rollout, and what it wrote stays",
            restarted_by_hand,
        )
        .limit(180),
    ]
}

async fn autoscaled(world: World) -> Result<()> {
    world.store(Store::new("a").without_service()).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    let workload = Workload::of_queriers(&world, "global");
    autoscaler(&world, 3).await?;
    workload.settled_at(3).await?;
    let before = workload.live().await?;

    world.thanos_query("global", "{replicas: 2}").await?;
    queriers.says(READY, &[]).await?;
    endpoint_arrives(&world, &queriers).await?;
    unchanged(&workload, &before, 3).await?;

    let api = world.api::<HorizontalPodAutoscaler>();
    api.delete("global", &Default::default()).await?;
    workload.settled_at(2).await?;
    queriers.ready().await?;
    workload.had_templates(1).await
}

async fn autoscaler_at_rest(world: World) -> Result<()> {
    world.store(Store::new("a").without_service()).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 3}").await?;
    let workload = Workload::of_queriers(&world, "global");
    autoscaler(&world, 3).await?;
    eventually(ROLLOUT, "the autoscaler has looked and has nothing to do", || async {
        let live = world.api::<HorizontalPodAutoscaler>().get("global").await?;
        let status = live.status.context("no status")?;
        // Without metrics it wishes for nothing; that it has looked is all that can be seen.
        if status.current_replicas == Some(3) { Ok(()) } else { bail!("{status:?}") }
    })
    .await?;
    let before = workload.live().await?;

    world.thanos_query("global", "{replicas: 1}").await?;
    queriers.says(READY, &[]).await?;
    endpoint_arrives(&world, &queriers).await?;
    unchanged(&workload, &before, 3).await
}

async fn scaled_by_hand(world: World) -> Result<()> {
    world.store(Store::new("a").without_service()).await?;
    // The only store goes, as a change that costs no pod.
    let spec = "{replicas: 1, serviceDiscovery: {removalGuard: {holdFor: 0s}}}";
    let queriers = world.ready_thanos_query("global", spec).await?;
    let workload = Workload::of_queriers(&world, "global");
    world.kubectl(&["scale", "deployment/thanos-query-global", "--replicas=2"], "").await?;
    workload.settled_at(2).await?;
    let before = workload.live().await?;
    endpoint_arrives(&world, &queriers).await?;
    unchanged(&workload, &before, 2).await?;

    // The operator may not have seen the person's change in time, or have been away: it asks, it does not remember.
    let mut operator = world.operator()?.lock().await;
    operator.stop().await?;
    operator.start_again().await?;
    operator.reconciled().await?;
    drop(operator);
    world.delete_service("a").await?;
    counts(&queriers, 0).await?;
    unchanged(&workload, &before, 2).await?;

    world.kubectl(&["scale", "thanosquery/global", "--replicas=3"], "").await?;
    workload.settled_at(3).await?;
    queriers.ready().await?;
    eventually(FOLLOW, "the scale of the ThanosQuery tells three pods", || async {
        let scale = world.api::<ThanosQuery>().get_scale("global").await?;
        let wanted = scale.spec.and_then(|spec| spec.replicas);
        let status = scale.status.context("no status of the scale")?;
        let selected = world.pods(&status.selector.clone().unwrap_or_default()).await?.len();
        if (wanted, status.replicas, selected) == (Some(3), 3, 3) {
            Ok(())
        } else {
            bail!("wanted {wanted:?}, {status:?}, {selected} pods selected")
        }
    })
    .await?;
    workload.had_templates(1).await
}

async fn restarted_by_hand(world: World) -> Result<()> {
    world.store(Store::new("a").without_service()).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    let workload = Workload::of_queriers(&world, "global");
    let before = queriers.snapshot().await?;
    let history = workload.history().await?;
    world.kubectl(&["rollout", "restart", "deployment/thanos-query-global"], "").await?;
    queriers.rolled_out(&before).await?;

    // A full reconcile that leaves the pods alone, and an endpoint.
    let spec = "{replicas: 1, annotations: {example.org/note: written}}";
    let queriers = world.ready_thanos_query("global", spec).await?;
    endpoint_arrives(&world, &queriers).await?;
    let live = workload
        .settled_where("the new annotation", |live| {
            live.metadata.annotations.iter().flatten().any(|(name, _)| name == "example.org/note")
        })
        .await?;
    let template = live.spec.context("no spec")?.template.metadata.unwrap_or_default();
    if !template.annotations.iter().flatten().any(|(name, _)| name == RESTARTED_AT) {
        bail!("{RESTARTED_AT} is gone: {:?}", template.annotations);
    }
    workload.had_templates(2).await?;
    history.had_pods(2).await
}

/// It scales up to `least` without any metrics; with them it would have more to say.
async fn autoscaler(world: &World, least: i32) -> Result<()> {
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "thanos-query-global"});
    let spec = json!({"scaleTargetRef": target, "minReplicas": least, "maxReplicas": least + 1});
    let object = json!({"metadata": {"name": "global"}, "spec": spec});
    world.apply::<HorizontalPodAutoscaler>(object).await.map(drop)
}

/// A change that the operator has to follow: when it has, it has also seen what was before.
async fn endpoint_arrives(world: &World, queriers: &Queriers) -> Result<()> {
    world.service(&StoreService::of("a")).await?;
    counts(queriers, 1).await
}

async fn counts(queriers: &Queriers, endpoints: i32) -> Result<()> {
    eventually(FOLLOW, format!("{endpoints} endpoints in status"), || async {
        let status = queriers.object().await?.status.context("no status")?;
        let total = status.endpoints.map(|counts| counts.total);
        if total == Some(endpoints) { Ok(()) } else { bail!("{total:?}") }
    })
    .await
}

/// That the spec of the Deployment is as it was.
async fn unchanged(workload: &Workload, before: &Deployment, replicas: i32) -> Result<()> {
    let now = workload.live().await?;
    let has = workload.replicas().await?;
    // Not the generation: an annotation of a Deployment counts for that, too.
    if now.spec != before.spec || has != replicas {
        bail!("{has} replicas instead of {replicas}, {:?} became {:?}", before.spec, now.spec);
    }
    Ok(())
}
