//! TLS towards stores: several authorities and plaintext in one querier, certificates that are replaced under way, and an
//! authority that is the wrong one.

use std::time::Duration;

use anyhow::{Result, ensure};
use crds::names::{
    annotations::{NO_TLS, TLS},
    conditions::ENDPOINTS_UNREACHABLE,
};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use super::Case;
use crate::fixtures::{
    Queriers, Store, StoreService, World,
    certificates::{Authority, Pair},
    eventually,
};

/// How long it may take until the kubelet brings another Secret, and Thanos connects with it.
const ROTATION: Duration = Duration::from_secs(180);

/// How long it may take until it is told that something is not reached: agents wait for some looks, and the operator asks
/// them less and less often, each minute in the end.
const TOLD: Duration = Duration::from_secs(150);

const SPEC: &str = "{replicas: 2, serviceDiscovery: {tls: {ca: {name: ca-one}}, tlsProfiles: [\
     {name: two, ca: {name: ca-two}}, {name: wrong, ca: {name: ca-one}}]}}";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let name = "plaintext and two authorities in one querier: certificates are replaced without a restart, and a store \
                with a wrong authority is named while the others go on";
    vec![Case::shared("tls", name, authorities).limit(720)]
}

async fn authorities(world: World) -> Result<()> {
    let (one, two) = (Authority::new("one")?, Authority::new("two")?);
    world.secret("ca-one", &[("ca.crt", one.pem())]).await?;
    world.secret("ca-two", &[("ca.crt", two.pem())]).await?;
    for (store, authority) in [("a", &one), ("b", &two), ("d", &two)] {
        world.serving(store, &certificate(&world, authority, store)?).await?;
    }
    let tls = |store: &str| Store::new(store).serving_tls(&format!("serving-{store}"));
    world
        .stores([
            tls("a"),
            tls("b").behind(StoreService::of("b").headless().annotation(TLS, "two")),
            Store::new("c").behind(StoreService::of("c").annotation(TLS, NO_TLS)),
            tls("d").behind(StoreService::of("d").annotation(TLS, "wrong")),
        ])
        .await?;
    let queriers = world.ready_thanos_query("global", SPEC).await?;
    queriers.every_pod_lists(&["a", "b", "c"]).await?;
    let before = queriers.snapshot().await?;
    unreachable_is_named(&world, &queriers).await?;
    queriers.every_pod_lists(&["a", "b", "c"]).await?;

    // The right one: no pod is replaced for that.
    world.service(&StoreService::of("d").annotation(TLS, "two")).await?;
    queriers.every_pod_lists(&["a", "b", "c", "d"]).await?;
    eventually(TOLD, "nothing is unreachable any more", || async {
        let status = queriers.object().await?.status.unwrap_or_default();
        ensure!(status.unreachable.is_empty(), "{:?}", status.unreachable);
        ensure!(queriers.condition(ENDPOINTS_UNREACHABLE).await?.is_none());
        Ok(())
    })
    .await?;

    // Another authority and another certificate in the same Secrets; the stores come back with nothing else.
    let three = Authority::new("three")?;
    world.secret("ca-two", &[("ca.crt", three.pem())]).await?;
    for store in ["b", "d"] {
        world.serving(store, &certificate(&world, &three, store)?).await?;
        let pods = ListParams::default().labels(&format!("app={store}"));
        world.api::<Pod>().delete_collection(&DeleteParams::default(), &pods).await?;
    }
    eventually(ROTATION, "every pod lists all stores again", || async {
        queriers.every_pod_lists(&["a", "b", "c", "d"]).await
    })
    .await?;
    queriers.unchanged_since(&before).await
}

async fn unreachable_is_named(world: &World, queriers: &Queriers) -> Result<()> {
    eventually(TOLD, "store d is told as not reached", || async {
        let status = queriers.object().await?.status.unwrap_or_default();
        let [own] = status.unreachable.as_slice() else { anyhow::bail!("{:?}", status.unreachable) };
        let from = format!("{}/d", world.namespace());
        ensure!(own.from.as_deref() == Some(&from) && own.tls.as_deref() == Some("wrong"), "{own:?}");
        ensure!(own.pods == 2 && own.message.contains("TLS profile wrong"), "{own:?}");
        let condition = queriers.condition(ENDPOINTS_UNREACHABLE).await?;
        ensure!(condition.as_ref().is_some_and(|own| own.message.contains(&from)), "{condition:?}");
        Ok(())
    })
    .await
}

/// A certificate for the names of a store, as a Service with an address of its own and as one without.
fn certificate(world: &World, authority: &Authority, store: &str) -> Result<Pair> {
    let short = format!("{store}.{}.svc", world.namespace());
    authority.issue(&[&short, &format!("{short}.cluster.local")])
}

// === impl World ===

impl World {
    async fn secret(&self, name: &str, data: &[(&str, &str)]) -> Result<()> {
        let data: serde_json::Map<String, Value> =
            data.iter().map(|&(key, text)| (key.to_owned(), json!(text))).collect();
        self.apply::<Secret>(json!({"metadata": {"name": name}, "stringData": data})).await.map(drop)
    }

    async fn serving(&self, store: &str, pair: &Pair) -> Result<()> {
        let Pair { certificate, key } = pair;
        self.secret(&format!("serving-{store}"), &[("tls.crt", certificate), ("tls.key", key)]).await
    }
}
