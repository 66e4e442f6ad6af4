//! `thanos-operator explain`, as a person runs it, while no operator runs.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use crds::names::labels;
use serde_json::Value;
use tokio::process::Command;

use super::Case;
use crate::fixtures::{Queriers, Store, StoreService, World, eventually, queriers::FOLLOW};

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![Case::shared(
        "explain",
        "explain says of every Service, pod and store how it stands, without the operator and with few rights",
        explain,
    )]
}

/// What the program said.
struct Said {
    code: Option<i32>,
    text: String,
}

async fn explain(world: World) -> Result<()> {
    world.stores([Store::new("a"), Store::new("b")]).await?;
    world.service(&StoreService::of("no-port").port_name("web")).await?;
    let plain = StoreService::of("plain").unlabelled(labels::STORE_API).unlabelled(labels::PART_OF);
    world.service(&plain).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2}").await?;
    queriers.every_pod_lists(&["a", "b"]).await?;
    synced(&queriers).await?;
    let operator = world.operator()?;
    operator.lock().await.stop().await?;

    let said = run(&world, None, "json").await?;
    ensure!(said.code == Some(2), "code {:?}: {}", said.code, said.text);
    let explanation: Value = serde_json::from_str(&said.text)?;
    for (service, verdict, reason) in [
        ("a", "In", None),
        ("b", "In", None),
        ("no-port", "LeftOut", Some("NoPort")),
        ("plain", "Unlabelled", Some("MissingLabels")),
        ("thanos-query-global", "NotSelected", Some("Own")),
    ] {
        let own = service_of(&world, &explanation, service)?;
        let is_told = own["verdict"] == verdict && own["reason"]["reason"].as_str() == reason;
        ensure!(is_told, "{service}: {own}");
        ensure!(verdict != "In" || own["endpoints"][0]["carrier"] == "File", "{service}: {own}");
    }
    pods_have_everything(&explanation)?;

    let table = run(&world, None, "table").await?;
    for expected in ["NEEDS A LOOK", "NoPort", "2 healthy", "IN ALL 2 PODS", "store=\"a\""] {
        ensure!(table.text.contains(expected), "no {expected:?} in {}", table.text);
    }

    // The operator's own Role lets nobody ask pods.
    let kubeconfig = operator.lock().await.kubeconfig().to_owned();
    let said = run(&world, Some(&kubeconfig), "json").await?;
    let explanation: Value = serde_json::from_str(&said.text)?;
    let pods = &explanation["pods"];
    let right = format!("get pods/proxy in namespace {}", world.namespace());
    ensure!(pods["source"] == "Status" && pods["missingRight"] == right && pods["synced"] == "2/2", "{pods}");
    ensure!(explanation["unread"] == serde_json::json!([]), "{}", explanation["unread"]);

    world.delete_service("no-port").await?;
    operator.lock().await.start_again().await?;
    eventually(FOLLOW, "all is well", || async {
        let said = run(&world, None, "table").await?;
        if said.code == Some(0) { Ok(()) } else { bail!("code {:?}: {}", said.code, said.text) }
    })
    .await
}

async fn synced(queriers: &Queriers) -> Result<()> {
    eventually(FOLLOW, "status synced 2/2", || async {
        let status = queriers.object().await?.status.context("no status")?;
        let is_told = status.rejected.len() == 1;
        if is_told && status.synced.as_deref() == Some("2/2") { Ok(()) } else { bail!("{status:?}") }
    })
    .await
}

/// The administrator's cluster, or that of `kubeconfig`.
async fn run(world: &World, kubeconfig: Option<&Path>, output: &str) -> Result<Said> {
    let mut command = Command::new(world.program()?);
    command.args(["explain", "global", "--namespace", world.namespace(), "--output", output]);
    let administrators = world.cluster().kubeconfig();
    if let Some(path) = kubeconfig.or(administrators.as_deref()) {
        command.env("KUBECONFIG", path);
    }
    if let (None, Some(context)) = (kubeconfig, world.cluster().context()) {
        command.args(["--context", context]);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.context("failed to run the operator's program")?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(errors.is_empty(), "on stderr: {errors}");
    Ok(Said { code: output.status.code(), text: String::from_utf8(output.stdout)? })
}

fn service_of<'a>(world: &World, explanation: &'a Value, name: &str) -> Result<&'a Value> {
    let services = explanation["services"].as_array().context("no list of Services")?;
    let own = services.iter().find(|own| own["namespace"] == world.namespace() && own["name"] == name);
    own.with_context(|| format!("no Service {name} in {services:?}"))
}

fn pods_have_everything(explanation: &Value) -> Result<()> {
    ensure!(explanation["pods"]["source"] == "Pods", "{}", explanation["pods"]);
    let pods = explanation["pods"]["pods"].as_array().context("no list of pods")?;
    ensure!(pods.len() == 2, "{pods:?}");
    for pod in pods {
        let has_document = pod["hasDocument"] == true;
        ensure!(has_document && pod["generation"] == explanation["document"]["generation"], "{pod}");
        let stores = pod["stores"].as_array().context("no list of stores")?;
        let mut names: Vec<&str> = stores
            .iter()
            .filter(|store| store["lastError"].is_null())
            .filter_map(|store| store["labelSets"][0]["store"].as_str())
            .collect();
        names.sort_unstable();
        ensure!(names == ["a", "b"] && stores.len() == 2, "{stores:?}");
        ensure!(pod["notListed"] == serde_json::json!([]), "{pod}");
    }
    Ok(())
}
