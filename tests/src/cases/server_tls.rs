//! Queriers and frontends that speak TLS or want a password, and tenants.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use crds::names::{conditions, pod, reasons};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;
use serde::Deserialize;
use serde_json::json;

use super::Case;
use crate::fixtures::{
    Asking, Authority, Queriers, Sample, Store, StoreService, Workload, World, eventually, http::escape,
    queriers::FOLLOW,
};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "server",
            "with TLS for gRPC and HTTP everything is Ready, queries through the frontend are answered by every querier, and a renewed certificate is served without a restart",
            tls,
        )
        .only_where_pods_reach_this_machine(),
        Case::shared(
            "server",
            "queriers that want a password are Ready, have every endpoint, and what only they could tell is Unknown",
            password,
        )
        .only_where_pods_reach_this_machine(),
        Case::shared(
            "server",
            "who names a tenant gets the series of that tenant and no other, also through the frontend",
            tenants,
        )
        .only_where_pods_reach_this_machine(),
    ]
}

/// The Secret with the certificate of everything here.
const SECRET: &str = "server-tls";

/// A user and its password in a web configuration, and as a client sends them.
const USERS: &str =
    "basic_auth_users:\n  reader: $2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu\n";
const PASSWORD: [(&str, &str); 1] = [("authorization", "Basic cmVhZGVyOmNhcm9sMTIz")];

/// Queries that are asked. That all of them meet the same of two queriers by chance happens once in 2^39.
const QUERIES: usize = 40;

async fn tls(world: World) -> Result<()> {
    world.store(Store::new("a")).await?;
    let (authority, name) = (Authority::new("e2e")?, server_name(&world));
    let first = authority.issue(&[&name])?;
    authority.keep(&world, SECRET, &first).await?;
    let certificate = format!("{{certificate: {{secretName: {SECRET}}}}}");
    let spec = format!(
        "{{replicas: 2, server: {{grpcTls: {certificate}, httpTls: {certificate}}}, \
         queryFrontend: {{server: {{httpTls: {certificate}}}, downstreamTls: {{ca: {{secretName: {SECRET}}}}}}}}}"
    );
    let queriers = world.ready_thanos_query("global", &spec).await?;
    let frontend = frontend_of(&world).await?;
    let asking = Asking { tls: Some((&authority, &name)), ..Asking::default() };
    eventually(FOLLOW, "the store's series", || async {
        let stores = stores_in(&asking, &frontend, "up").await?;
        if stores == BTreeSet::from(["a".to_owned()]) { Ok(()) } else { bail!("{stores:?}") }
    })
    .await?;
    for number in 0..QUERIES {
        asking.get(&frontend, pod::HTTP_PORT, &query(&number.to_string())).await?;
    }
    let mut asked = BTreeMap::new();
    for querier in queriers.ready_pods().await? {
        let metrics = asking.get(&querier, pod::HTTP_PORT, "/metrics").await?;
        let count = |line: &str| {
            let is_query = line.starts_with("http_requests_total{") && line.contains("handler=\"query\"");
            is_query.then(|| line.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        asked.insert(querier.name_any(), metrics.lines().filter_map(count).sum::<f64>());
    }
    if asked.len() != 2 || asked.values().any(|number| *number == 0.0) {
        bail!("not every querier is asked: {asked:?}");
    }

    let before = queriers.snapshot().await?;
    let frontend_before = frontend.metadata.uid.clone();
    for pair in [first, authority.issue(&[&name])?] {
        authority.keep(&world, SECRET, &pair).await?;
        let mut pods = queriers.ready_pods().await?;
        pods.push(frontend_of(&world).await?);
        for one in &pods {
            eventually(FOLLOW, format!("{} serves its certificate", one.name_any()), || async {
                let is_querier = !one.name_any().contains("frontend");
                let served = async {
                    authority.serves(one, pod::HTTP_PORT, b"http/1.1", &name, &pair).await?;
                    if is_querier {
                        authority.serves(one, pod::GRPC_PORT, b"h2", &name, &pair).await?;
                    }
                    Ok(())
                };
                let served = served.await;
                if served.is_err() {
                    world.poke(one).await?;
                }
                served
            })
            .await?;
        }
    }
    queriers.unchanged_since(&before).await?;
    let frontend = frontend_of(&world).await?;
    if frontend.metadata.uid != frontend_before {
        bail!("another frontend: {}", frontend.name_any());
    }
    let stores = stores_in(&asking, &frontend, "up").await?;
    if stores == BTreeSet::from(["a".to_owned()]) { Ok(()) } else { bail!("{stores:?}") }
}

async fn password(world: World) -> Result<()> {
    let headless = Store::new("a").behind(StoreService::of("a").headless());
    world.store(headless).await?;
    let (authority, name) = (Authority::new("e2e")?, server_name(&world));
    authority.keep(&world, SECRET, &authority.issue(&[&name])?).await?;
    let web = json!({"metadata": {"name": "web"}, "stringData": {"web-config.yaml": USERS}});
    world.apply::<Secret>(web).await?;
    // Plain gRPC, over which the kubelet can ask; and with TLS, where only an open port is left to it.
    let grpc = format!("grpcTls: {{certificate: {{secretName: {SECRET}}}}}");
    let config = "httpConfig: {secretName: web, scheme: HTTP}";
    for (query, server) in [("plain", config.to_owned()), ("sealed", format!("{config}, {grpc}"))] {
        world.thanos_query(query, &format!("{{server: {{{server}}}}}")).await?;
    }
    for (query, probe) in [("plain", "grpc"), ("sealed", "tcpSocket")] {
        let queriers = Queriers::of(&world, query);
        queriers.ready().await?;
        let one = queriers.ready_pods().await?.into_iter().next().context("no querier")?;
        let probes = json!(one.spec.as_ref().and_then(|spec| spec.containers[0].readiness_probe.clone()));
        if probes.get(probe).is_none() {
            bail!("{query} has no {probe} probe: {probes}");
        }
        let refused = Asking::default().get(&one, pod::HTTP_PORT, "/-/ready").await;
        if !refused.as_ref().is_err_and(|error| error.to_string().starts_with("401 ")) {
            bail!("{query} answers without a password: {refused:?}");
        }
        let asking = Asking { headers: &PASSWORD, ..Asking::default() };
        eventually(FOLLOW, "the store's series", || async {
            let stores = stores_in(&asking, &one, "up").await?;
            if stores == BTreeSet::from(["a".to_owned()]) { Ok(()) } else { bail!("{stores:?}") }
        })
        .await?;
        eventually(FOLLOW, "every endpoint, and DnsFailing that is Unknown", || async {
            let conditions =
                queriers.object().await?.status.map(|status| status.conditions).unwrap_or_default();
            let is = |type_: &str, status: &str, reason: &str| {
                conditions
                    .iter()
                    .any(|own| own.type_ == type_ && own.status == status && own.reason == reason)
            };
            let synced = is(conditions::ENDPOINTS_SYNCED, "True", reasons::SYNCED);
            let unknown = is(conditions::DNS_FAILING, "Unknown", reasons::METRICS_NOT_READ);
            if synced && unknown { Ok(()) } else { bail!("{conditions:?}") }
        })
        .await?;
        let report = queriers.agent_of(&one).await?;
        if report.thanos.is_some() || !report.dns_failing.is_empty() {
            bail!("the agent claims what it cannot know: {report:?}");
        }
    }
    Ok(())
}

async fn tenants(world: World) -> Result<()> {
    for name in ["a", "b"] {
        world.store(Store::new(name)).await?;
    }
    let spec =
        "{tenancy: {enforce: true, labelName: store, header: X-Team}, queryFrontend: {verticalShards: 2}}";
    let queriers = world.ready_thanos_query("global", spec).await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    let querier = queriers.ready_pods().await?.into_iter().next().context("no querier")?;
    let frontend = frontend_of(&world).await?;
    for asked in [&querier, &frontend] {
        for tenant in ["a", "b"] {
            let headers = [("x-team", tenant)];
            let asking = Asking { headers: &headers, ..Asking::default() };
            eventually(FOLLOW, format!("the series of {tenant}"), || async {
                let stores = stores_in(&asking, asked, "up").await?;
                if stores.len() == 1 && stores.contains(tenant) { Ok(()) } else { bail!("{stores:?}") }
            })
            .await?;
            // Thanos puts the tenant in the place of whatever is asked for.
            let other = if tenant == "a" { "b" } else { "a" };
            let stores = stores_in(&asking, asked, &format!("up{{store=\"{other}\"}}")).await?;
            if stores.contains(other) {
                bail!("{tenant} sees {stores:?}");
            }
        }
        let stores = stores_in(&Asking::default(), asked, "up").await?;
        if !stores.is_empty() {
            bail!("nobody sees {stores:?}");
        }
    }
    Ok(())
}

/// The name under which the frontend dials the queriers of `global`.
fn server_name(world: &World) -> String {
    format!("thanos-query-global-balanced.{}.svc.cluster.local", world.namespace())
}

async fn frontend_of(world: &World) -> Result<Pod> {
    let pods = Workload::of_frontend(world, "global").pods().await?;
    pods.into_iter().next().context("no frontend")
}

fn query(expression: &str) -> String {
    format!("/api/v1/query?query={}", escape(expression))
}

/// The stores whose series `asked` answers with.
async fn stores_in(asking: &Asking<'_>, asked: &Pod, expression: &str) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Body {
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        result: Vec<Sample>,
    }
    let text = asking.get(asked, pod::HTTP_PORT, &query(expression)).await?;
    let body: Body = serde_json::from_str(&text).with_context(|| text.clone())?;
    let label = |sample: Sample| sample.metric.get("store").cloned().unwrap_or_default();
    Ok(body.data.result.into_iter().map(label).collect())
}
