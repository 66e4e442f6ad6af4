//! A ThanosQuery that cannot be read keeps what it has, and disturbs nobody.

use anyhow::{Result, bail};
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
    let outcome = match replicas_schema(&world, json!({"x-kubernetes-preserve-unknown-fields": true})).await {
        Ok(()) => with_loose_schema(&world, &broken, &other).await,
        Err(error) => Err(error),
    };
    let strict = json!({
        "type": "integer", "format": "int32", "minimum": 1, "default": 1,
        "description": "Number of querier pods.",
    });
    replicas_schema(&world, strict).await?;
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
    eventually(FOLLOW, "replicas: two is taken", || replicas(world, json!("two"))).await?;
    eventually(FOLLOW, "an Event that names the field", || async {
        let events = broken.events(reasons::UNREADABLE).await?;
        match &events[..] {
            [event] if event.contains("spec.replicas") && event.contains("two") => Ok(()),
            _ => bail!("{events:?}"),
        }
    })
    .await?;
    world.service(&StoreService::of("b")).await?;
    other.every_pod_lists(&["a", "b"]).await?;
    broken.every_pod_lists(&["a"]).await?;
    broken.unchanged_since(&before).await?;
    eventually(FOLLOW, "replicas: 1 is taken", || replicas(world, json!(1))).await
}

async fn replicas(world: &World, value: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": {"replicas": value}}));
    // Untyped: the answer could not be read either.
    let kind = kube::api::ApiResource::erase::<ThanosQuery>(&());
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(world.client(), world.namespace(), &kind);
    api.patch("broken", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn replicas_schema(world: &World, schema: Value) -> Result<()> {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas";
    let patch = serde_json::from_value(json!([{"op": "replace", "path": path, "value": schema}]))?;
    let api: Api<CustomResourceDefinition> = Api::all(world.client());
    let name = "thanosqueries.monitoring.thanos.io";
    api.patch(name, &PatchParams::default(), &Patch::Json::<CustomResourceDefinition>(patch)).await?;
    Ok(())
}
