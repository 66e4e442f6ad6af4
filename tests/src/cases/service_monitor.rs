//! An optional kind: used when the cluster knows it, also when it learns it later.

use anyhow::{Result, bail};
use crds::names::conditions::SERVICE_MONITOR_MISSING;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{Queriers, World, eventually, queriers::FOLLOW, shape::missing};

const CRD: &str = "servicemonitors.monitoring.coreos.com";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![Case::exclusive(
        "service monitor",
        "without the kind ServiceMonitor there is a warning, and once the cluster knows it both monitors come by themselves",
        arrives_later,
    )
    .skip_if(|environment| {
        let own = environment.cluster.is_own();
        (!own).then(|| "makes and deletes the CRD of another project, so not with --context".to_owned())
    })]
}

async fn arrives_later(world: World) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(world.client());
    if crds.get_opt(CRD).await?.is_some() {
        bail!("the cluster has {CRD} already");
    }
    let spec = "{
        replicas: 1,
        serviceMonitor: {labels: {release: prometheus}, interval: 30s},
        queryFrontend: {serviceMonitor: {}},
    }";
    let queriers = world.ready_thanos_query("global", spec).await?;
    queriers.says(SERVICE_MONITOR_MISSING, &["ServiceMonitor"]).await?;
    let before = queriers.snapshot().await?;

    let outcome = match make_kind(&crds).await {
        Ok(()) => with_kind(&world, &queriers).await,
        Err(error) => Err(error),
    };
    crds.delete(CRD, &Default::default()).await?;
    outcome?;
    queriers.ready().await?;
    queriers.unchanged_since(&before).await
}

async fn with_kind(world: &World, queriers: &Queriers) -> Result<()> {
    let kind = GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(world.client(), world.namespace(), &resource);
    let of_queriers = json!({
        "metadata": {"labels": {"release": "prometheus"}},
        "spec": {"endpoints": [{"port": "http", "interval": "30s"}]},
    });
    let of_frontend = json!({"spec": {"endpoints": [{"port": "http"}]}});
    let wanted = [("thanos-query-global", &of_queriers), ("thanos-query-frontend-global", &of_frontend)];
    for (name, wanted) in wanted {
        eventually(FOLLOW * 2, format!("ServiceMonitor {name}"), || has(&api, name, wanted)).await?;
    }
    queriers.says_no_more(SERVICE_MONITOR_MISSING).await
}

async fn has(api: &Api<DynamicObject>, name: &str, wanted: &Value) -> Result<()> {
    let live = serde_json::to_value(api.get(name).await?)?;
    let lacks = missing(wanted, &live);
    let owner = &live["metadata"]["ownerReferences"][0]["kind"];
    if lacks.is_empty() && owner == "ThanosQuery" { Ok(()) } else { bail!("{lacks:?}, owner {owner}") }
}

async fn make_kind(api: &Api<CustomResourceDefinition>) -> Result<()> {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {
                "kind": "ServiceMonitor", "listKind": "ServiceMonitorList",
                "plural": "servicemonitors", "singular": "servicemonitor",
            },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    });
    api.patch(CRD, &PatchParams::apply("e2e").force(), &Patch::Apply(&crd)).await?;
    Ok(())
}
