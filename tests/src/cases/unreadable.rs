//! A ThanosQuery that cannot be read keeps what it has, and disturbs nobody.

use anyhow::{Context as _, Result, bail};
use crds::{ThanosQuery, names::reasons};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![Case::exclusive(
        "bad input",
        "a ThanosQuery with a field that cannot be read is reported by name, keeps its pods, and disturbs no other",
        unreadable,
    )]
}

async fn unreadable(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b").without_service()]).await?;
    let broken = world.ready_thanos_query("broken", "{replicas: 1}").await?;
    let other = world.ready_thanos_query("other", "{replicas: 1}").await?;
    broken.every_pod_lists(&["a"]).await?;
    let before = broken.snapshot().await?;

    // Our own schema would not let it through; an older or foreign one may.
    let strict = version_schema(&world).await?;
    let outcome =
        match set_version_schema(&world, json!({"x-kubernetes-preserve-unknown-fields": true})).await {
            Ok(()) => with_loose_schema(&world, &broken, &other).await,
            Err(error) => Err(error),
        };
    set_version_schema(&world, strict).await?;
    outcome?;
    broken.every_pod_lists(&["a", "b"]).await?;
    broken.unchanged_since(&before).await
}

async fn with_loose_schema(
    world: &World,
    broken: &crate::fixtures::Queriers,
    other: &crate::fixtures::Queriers,
) -> Result<()> {
    let before = broken.snapshot().await?;
    // The schema in force follows the CRD by a moment.
    eventually(FOLLOW, "version: 42 is taken", || version(world, json!(42))).await?;
    eventually(FOLLOW, "an Event that names the field", || async {
        let events = broken.events(reasons::UNREADABLE).await?;
        match &events[..] {
            [event] if event.contains("spec.version") && event.contains("42") => Ok(()),
            _ => bail!("{events:?}"),
        }
    })
    .await?;
    world.service(&StoreService::of("b")).await?;
    other.every_pod_lists(&["a", "b"]).await?;
    broken.every_pod_lists(&["a"]).await?;
    broken.unchanged_since(&before).await?;
    eventually(FOLLOW, "no version is taken", || version(world, Value::Null)).await
}

async fn version(world: &World, value: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"version": value}}));
    // Untyped: the answer could not be read either.
    let kind = kube::api::ApiResource::erase::<ThanosQuery>(&());
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(world.client(), world.namespace(), &kind);
    api.patch("broken", &PatchParams::default(), &patch).await?;
    Ok(())
}

const CRD: &str = "thanosqueries.monitoring.thanos.io";
/// `spec.version` in it: a field of which nothing but our own code has an opinion.
const VERSION: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/version";

async fn version_schema(world: &World) -> Result<Value> {
    let api: Api<CustomResourceDefinition> = Api::all(world.client());
    let crd = serde_json::to_value(api.get(CRD).await?)?;
    crd.pointer(VERSION).cloned().context("the CRD has no spec.version")
}

async fn set_version_schema(world: &World, schema: Value) -> Result<()> {
    let patch = serde_json::from_value(json!([{"op": "replace", "path": VERSION, "value": schema}]))?;
    let api: Api<CustomResourceDefinition> = Api::all(world.client());
    api.patch(CRD, &PatchParams::default(), &Patch::Json::<CustomResourceDefinition>(patch)).await?;
    Ok(())
}
