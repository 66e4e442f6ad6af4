//! Promise 5: objects of thanos-community/thanos-operator are taken over in place.

use anyhow::{Context as _, Result, bail};
use crds::{
    ThanosQuery,
    names::{
        UPSTREAM_MANAGERS,
        annotations::TAKE_OVER,
        conditions::{FOREIGN_WRITER, PAUSED},
        pod,
    },
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{
    Store, StoreService, Workload, World, eventually,
    queriers::FOLLOW,
    shape::missing,
    upstream::{Reverter, Upstream, VERSION},
};

/// A person's change of a Deployment, which is not the operator's to undo.
const PERSON: &str = "kubectl-edit";
const NOTE: &str = "example.org/note";

/// What the user wrote for upstream, and later takes away.
const WITH_EXTRAS: &str = "{
    replicas: 2,
    labels: {team: observability},
    additionalEnv: [{name: FROM_USER, value: x}],
    additionalVolumes: [{name: extra, emptyDir: {}}],
    additionalVolumeMounts: [{name: extra, mountPath: /extra}],
    queryFrontend: {},
}";
const WITHOUT_EXTRAS: &str = "{replicas: 2, queryFrontend: {}}";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "adoption",
            "objects of the upstream operator are taken over in place by one rollout, and what the user takes away later goes",
            taken_over,
        )
        .limit(420),
        Case::shared(
            "adoption",
            "a paused ThanosQuery of the upstream operator is left alone until an annotation hands it over",
            paused,
        ),
        Case::shared(
            "adoption",
            "an upstream operator that still runs and reverts everything meets one attempt, a warning, and silence",
            fought,
        ),
        Case::shared(
            "adoption",
            "the way back that README describes: from mode Flags the upstream operator takes the same objects again",
            given_back,
        ),
    ]
}

async fn taken_over(world: World) -> Result<()> {
    world.operator()?.lock().await.stop().await?;
    world.store(Store::new("a").behind(StoreService::of("a").headless())).await?;
    let queriers = world.thanos_query("global", WITH_EXTRAS).await?;
    Upstream::of(&world, &queriers, &["a"]).await?.reconcile().await?;
    let (query, frontend) =
        (Workload::of_queriers(&world, "global"), Workload::of_frontend(&world, "global"));
    note_of_a_person(&world, &query).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let old = [identities(&world, &query).await?, identities(&world, &frontend).await?];
    let (pods, history) = (queriers.snapshot().await?, query.history().await?);
    let always = queriers.always_listed("a");

    world.operator()?.lock().await.start_again().await?;
    queriers.rolled_out(&pods).await?;
    queriers.every_pod_lists(&["a"]).await?;
    let new = [identities(&world, &query).await?, identities(&world, &frontend).await?];
    if old != new {
        bail!("objects were made anew: {old:?} became {new:?}");
    }
    is_ours(&query.live().await?, &extras())?;
    query.had_templates(2).await?;
    keeps_its_thanos(&frontend.live().await?)?;
    frontend.had_templates(2).await?;
    history.had_pods(4).await?;
    let version = queriers.object().await?.status.and_then(|status| status.version);
    if version.as_deref() != Some(VERSION) {
        bail!("status tells version {version:?}");
    }

    let pods = queriers.snapshot().await?;
    world.thanos_query("global", WITHOUT_EXTRAS).await?;
    queriers.rolled_out(&pods).await?;
    always.held().await?;
    let live = query.live().await?;
    is_ours(&live, &json!({}))?;
    without_extras(&live)?;
    query.had_templates(3).await
}

async fn paused(world: World) -> Result<()> {
    world.operator()?.lock().await.stop().await?;
    world.store(Store::new("a").behind(StoreService::of("a").headless())).await?;
    let queriers = world.thanos_query("global", "{replicas: 1, paused: true}").await?;
    Upstream::of(&world, &queriers, &["a"]).await?.reconcile().await?;
    let query = Workload::of_queriers(&world, "global");
    let before = written(&query.live().await?);
    let pods = queriers.snapshot().await?;

    world.operator()?.lock().await.start_again().await?;
    queriers.says(PAUSED, &[]).await?;
    let after = written(&query.live().await?);
    let document = world.api::<ConfigMap>().get_opt("thanos-query-global-endpoints").await?;
    if before != after || document.is_some() {
        bail!("paused, and yet {before:?} became {after:?}, ConfigMap: {}", document.is_some());
    }
    queriers.unchanged_since(&pods).await?;

    let patch = Patch::Merge(json!({"metadata": {"annotations": {TAKE_OVER: "true"}}}));
    world.api::<ThanosQuery>().patch("global", &PatchParams::default(), &patch).await?;
    queriers.rolled_out(&pods).await?;
    queriers.every_pod_lists(&["a"]).await?;
    is_ours(&query.live().await?, &json!({}))?;
    query.had_templates(2).await
}

async fn fought(world: World) -> Result<()> {
    world.operator()?.lock().await.stop().await?;
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let queriers = world.thanos_query("global", "{replicas: 1}").await?;
    Upstream::of(&world, &queriers, &["a"]).await?.reconcile().await?;
    let query = Workload::of_queriers(&world, "global");
    let reverter = Reverter::start(&query, &world).await?;

    world.operator()?.lock().await.start_again().await?;
    queriers.says(FOREIGN_WRITER, &[UPSTREAM_MANAGERS[0]]).await?;
    let writes = reverter.writes()?;
    if writes > 2 {
        bail!("{writes} reverts before the operator gave in");
    }
    // A reason to look again, and none to try again.
    let generation = query.settled_where("upstream's template", has_no_agent).await?.metadata.generation;
    world.service(&StoreService::of("b")).await?;
    eventually(FOLLOW, "two endpoints in status", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let total = status.endpoints.map(|counts| counts.total);
        if total == Some(2) { Ok(()) } else { bail!("{total:?}") }
    })
    .await?;
    queriers.says(FOREIGN_WRITER, &[UPSTREAM_MANAGERS[0]]).await?;
    let now = query.live().await?.metadata.generation;
    if reverter.writes()? != writes || now != generation {
        bail!("not silent: {writes} reverts became {}, {generation:?} became {now:?}", reverter.writes()?);
    }

    // The other one has stopped, and a person says so.
    drop(reverter);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"example.org/try": "again"}}}));
    world.api::<ThanosQuery>().patch("global", &PatchParams::default(), &patch).await?;
    // The very template that was reverted: pods of it may still be about, so nothing is told by theirs.
    query.settled_where("our template", |live| !has_no_agent(live)).await?;
    queriers.says_no_more(FOREIGN_WRITER).await?;
    queriers.ready().await?;
    query.had_templates(2).await
}

async fn given_back(world: World) -> Result<()> {
    world.store(Store::new("a").behind(StoreService::of("a").headless())).await?;
    let flags = "{replicas: 1, serviceDiscovery: {mode: Flags}}";
    let queriers = world.ready_thanos_query("global", flags).await?;
    queriers.every_pod_lists(&["a"]).await?;
    world.operator()?.lock().await.stop().await?;
    let query = Workload::of_queriers(&world, "global");
    let before = query.live().await?;
    if !has_no_agent(&before) {
        bail!("in mode Flags there is an agent");
    }

    Upstream::of(&world, &queriers, &["a"]).await?.reconcile().await?;
    let after = query.live().await?;
    if before.uid() != after.uid() {
        bail!("the Deployment was made anew");
    }
    keeps_its_thanos(&after)?;
    queriers.every_pod_lists(&["a"]).await
}

/// What changes only when somebody writes a Deployment, and not when its controller tells how it is.
fn written(live: &Deployment) -> Value {
    let metadata = &live.metadata;
    let managers = metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    json!({
        "generation": metadata.generation,
        "labels": metadata.labels,
        "annotations": metadata.annotations,
        "owners": metadata.owner_references,
        "managers": managers.map(|entry| entry.manager.clone()).collect::<Vec<_>>(),
    })
}

/// UIDs of everything of a workload: who is deleted and made again has another.
async fn identities(world: &World, workload: &Workload) -> Result<Vec<Option<String>>> {
    let name = workload.name();
    let budget = world.api::<PodDisruptionBudget>().get_opt(name).await?;
    Ok(vec![
        workload.live().await?.uid(),
        world.api::<Service>().get(name).await?.uid(),
        world.api::<ServiceAccount>().get(name).await?.uid(),
        budget.and_then(|budget| budget.uid()),
    ])
}

async fn note_of_a_person(world: &World, workload: &Workload) -> Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {NOTE: "kept"}}}));
    let person = PatchParams { field_manager: Some(PERSON.to_owned()), ..PatchParams::default() };
    world.api::<Deployment>().patch(workload.name(), &person, &patch).await?;
    Ok(())
}

/// Upstream's Thanos with our agent beside it, `more`, and nothing that upstream still owns.
fn is_ours(live: &Deployment, more: &Value) -> Result<()> {
    keeps_its_thanos(live)?;
    let live = serde_json::to_value(live)?;
    let agent = json!({"initContainers": [{"name": pod::AGENT_CONTAINER}]});
    let mut lacks = missing(&json!({"spec": {"template": {"spec": agent}}}), &live);
    lacks.extend(missing(more, &live));
    let args = live["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    if args.contains("--endpoint=") {
        lacks.push(format!("upstream's endpoints are still flags: {args}"));
    }
    let managers = live["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    if managers.iter().any(|entry| entry["manager"] == UPSTREAM_MANAGERS[0]) {
        lacks.push(format!("upstream still owns fields: {managers:?}"));
    }
    let person = &live["metadata"]["annotations"][NOTE];
    if !person.is_null() && !managers.iter().any(|entry| entry["manager"] == PERSON) {
        lacks.push(format!("a person's entry is gone: {managers:?}"));
    }
    if lacks.is_empty() { Ok(()) } else { bail!("not taken over:\n{}", lacks.join("\n")) }
}

fn keeps_its_thanos(live: &Deployment) -> Result<()> {
    let spec = live.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).context("no pod")?;
    let images: Vec<Option<&str>> = spec.containers.iter().map(|one| one.image.as_deref()).collect();
    let wanted = format!("quay.io/thanos/thanos:{VERSION}");
    if images == [Some(wanted.as_str())] { Ok(()) } else { bail!("runs {images:?}, ran {wanted}") }
}

/// What [`WITH_EXTRAS`] says, as a Deployment has it, and what a person wrote.
fn extras() -> Value {
    json!({
        "metadata": {"labels": {"team": "observability"}, "annotations": {NOTE: "kept"}},
        "spec": {"template": {
            "metadata": {"labels": {"team": "observability"}},
            "spec": {
                "containers": [{
                    "env": [{"name": "FROM_USER", "value": "x"}],
                    "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
                }],
                "volumes": [{"name": "extra"}],
            },
        }},
    })
}

fn without_extras(live: &Deployment) -> Result<()> {
    let metadata = live.metadata.clone();
    let note = metadata.annotations.iter().flatten().any(|(name, _)| name == NOTE);
    let spec = live.spec.clone().context("no spec")?;
    let template = serde_json::to_string(&spec.template)?;
    let left: Vec<&str> =
        ["FROM_USER", "\"extra\"", "\"team\""].into_iter().filter(|word| template.contains(word)).collect();
    let labelled = metadata.labels.iter().flatten().any(|(name, _)| name == "team");
    if note && left.is_empty() && !labelled {
        Ok(())
    } else {
        bail!("left in the template: {left:?}, label on the Deployment: {labelled}, a person's note: {note}")
    }
}

fn has_no_agent(live: &Deployment) -> bool {
    let pod = live.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    pod.is_some_and(|pod| pod.init_containers.iter().flatten().count() == 0)
}
