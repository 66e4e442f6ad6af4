//! What an agent may do at the API server, and that this is enough.

use anyhow::{Context as _, Result, bail};
use crds::names::objects;
use http::Request;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Client, ResourceExt as _,
    api::{Patch, PatchParams},
    client::Body,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Case;
use crate::fixtures::{World, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![Case::shared(
        "agent",
        "an agent's account may get and watch its own ConfigMap, which is enough, and nothing else at all",
        only_its_own_config_map,
    )]
}

/// Case 28.
async fn only_its_own_config_map(world: World) -> Result<()> {
    let queriers = world.ready_thanos_query("global", "{replicas: 1}").await?;
    let config_map = queriers.config_map().await?;
    let name = config_map.name_any();
    // They exist, so an answer 404 would be told from a refusal.
    world.apply::<ConfigMap>(json!({"metadata": {"name": "other"}})).await?;
    world.apply::<Secret>(json!({"metadata": {"name": name}})).await?;
    let agent = world.client_of(&format!("{}global", objects::QUERIER_PREFIX)).await?;
    let all = format!("/api/v1/namespaces/{}/configmaps", world.namespace());
    let one = format!("{all}/{name}");
    let selected = format!("fieldSelector=metadata.name%3D{name}");

    for allowed in [one.clone(), format!("{one}?resourceVersion=0")] {
        let code = code(&agent, "GET", &allowed).await?;
        if code != 200 {
            bail!("GET {allowed}: {code}");
        }
    }
    let version = config_map.resource_version().context("no resourceVersion")?;
    let watch = format!("{all}?watch=true&{selected}&allowWatchBookmarks=true&resourceVersion={version}");
    watch_shows_a_change(&world, &agent, &watch, &name).await?;

    let secrets = all.replace("configmaps", "secrets");
    let pods = all.replace("configmaps", "pods");
    let refused = [
        ("GET", all.clone()),
        ("GET", format!("{all}?{selected}")),
        ("GET", format!("{all}/other")),
        ("GET", format!("{all}?watch=true")),
        ("GET", format!("{all}?watch=true&fieldSelector=metadata.name%3Dother")),
        ("GET", format!("{all}?watch=true&fieldSelector=metadata.name%21%3Dother")),
        ("GET", format!("{all}?watch=true&labelSelector=app.kubernetes.io%2Fname")),
        ("GET", "/api/v1/configmaps?watch=true".to_owned()),
        ("GET", format!("/api/v1/namespaces/kube-system/configmaps/{name}")),
        ("DELETE", one.clone()),
        ("PUT", one.clone()),
        ("POST", all.clone()),
        ("GET", secrets.clone()),
        ("GET", format!("{secrets}/{name}")),
        ("GET", format!("{secrets}?watch=true&{selected}")),
        ("GET", pods),
    ];
    for (method, path) in refused {
        let code = code(&agent, method, &path).await?;
        if code != 403 {
            bail!("{method} {path} was answered with {code}, not refused");
        }
    }
    Ok(())
}

/// Opens the watch, changes the ConfigMap, and waits until the watch tells it.
async fn watch_shows_a_change(world: &World, agent: &Client, path: &str, name: &str) -> Result<()> {
    let answer = agent.send(request("GET", path)?).await?;
    if answer.status() != 200 {
        bail!("GET {path}: {}", answer.status());
    }
    let mark: Value = json!({"metadata": {"annotations": {"e2e.thanos.io/seen": "by-a-watch"}}});
    world.api::<ConfigMap>().patch(name, &PatchParams::default(), &Patch::Merge(mark)).await?;
    let mut body = answer.into_body();
    let told = async {
        let mut text = String::new();
        while let Some(frame) = body.frame().await {
            text.push_str(&String::from_utf8_lossy(frame?.data_ref().map_or(&[][..], |data| &data[..])));
            if text.contains("MODIFIED") && text.contains("by-a-watch") {
                return Ok(());
            }
        }
        bail!("the watch ended with {text}")
    };
    timeout(FOLLOW, told).await.context("the watch did not tell the change")?
}

async fn code(client: &Client, method: &str, path: &str) -> Result<u16> {
    let answer = client.send(request(method, path)?).await;
    Ok(answer.with_context(|| format!("{method} {path}"))?.status().as_u16())
}

fn request(method: &str, path: &str) -> Result<Request<Body>> {
    // What is refused is refused before anybody reads it.
    let body = if method == "GET" { Body::empty() } else { Body::from(b"{}".to_vec()) };
    Ok(Request::builder().method(method).uri(path).header("content-type", "application/json").body(body)?)
}
