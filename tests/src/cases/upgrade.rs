//! Newer Thanos, newer operator: what rolls, how often, and in which order.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{
    ThanosQuery,
    names::{annotations::ACCEPT_DEFAULTS, conditions::DEFAULTS_OUTDATED, pod, reasons},
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::Case;
use crate::{
    cluster::Image,
    fixtures::{
        Always, PodsSnapshot, Queriers, Store, Workload, World, eventually,
        queriers::{FOLLOW, ROLLOUT},
        workload::is_settled,
    },
};

/// How many ThanosQuery objects the operator is upgraded under.
const CROWD: usize = 5;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "upgrade",
            "a change of Thanos from 0.37.2 to 0.42.4 is one rollout with one Event, replaces each pod once and keeps every store listed",
            version,
        )
        .limit(240),
        Case::shared(
            "upgrade",
            "an operator with a newer agent rolls five ThanosQuery objects one after the other and says which ones wait",
            paced,
        )
        .only_where_the_node_is_ours()
        .limit(420),
        Case::shared(
            "upgrade",
            "with --default-rollouts=manual a newer agent rolls only the ThanosQuery that accepts it by its annotation",
            manual,
        )
        .only_where_the_node_is_ours(),
    ]
}

async fn version(world: World) -> Result<()> {
    world.store(Store::new("a")).await?;
    let queriers = world.ready_thanos_query("global", "{replicas: 2, version: v0.37.2}").await?;
    queriers.every_pod_lists(&["a"]).await?;
    let before = queriers.snapshot().await?;
    let workload = Workload::of_queriers(&world, "global");
    let history = workload.history().await?;
    let always = queriers.always_listed("a");

    world.thanos_query("global", "{replicas: 2, version: v0.42.4}").await?;
    queriers.rolled_out(&before).await?;
    queriers.every_pod_lists(&["a"]).await?;
    always.held().await?;
    workload.had_templates(2).await?;
    history.had_pods(4).await?;
    eventually(FOLLOW, "one Event that tells the image", || async {
        let events = queriers.events(reasons::ROLLOUT).await?;
        match &events[..] {
            [event] if event.contains("v0.42.4") => Ok(()),
            _ => bail!("{events:?}"),
        }
    })
    .await
}

async fn paced(world: World) -> Result<()> {
    let next = next_agent(&world).await?;
    let all = crowd(&world, CROWD).await?;
    let one_at_a_time = one_at_a_time(&world);
    with_next_agent(&world, &next, &[]).await?;
    eventually(FOLLOW, "one that waits says so", || async {
        for queriers in &all {
            if queriers.condition(DEFAULTS_OUTDATED).await?.is_some() {
                return Ok(());
            }
        }
        bail!("nobody says {DEFAULTS_OUTDATED}")
    })
    .await?;
    eventually(ROLLOUT * 2, format!("{CROWD} Deployments with the new agent"), || async {
        let mut left = Vec::new();
        for live in deployments(&world).await? {
            if agent_of(&live) != Some(next.clone()) || !is_settled(&live) {
                left.push(live.name_any());
            }
        }
        if left.is_empty() { Ok(()) } else { bail!("not yet: {left:?}") }
    })
    .await?;
    for (index, queriers) in all.iter().enumerate() {
        queriers.says_no_more(DEFAULTS_OUTDATED).await?;
        queriers.ready().await?;
        Workload::of_queriers(&world, &name(index)).had_templates(2).await?;
    }
    one_at_a_time.held().await.map(drop)
}

async fn manual(world: World) -> Result<()> {
    let next = next_agent(&world).await?;
    let all = crowd(&world, 2).await?;
    let [accepts, waits] = &all[..] else { bail!("{} of 2", all.len()) };
    let (first, second) = (accepts.snapshot().await?, waits.snapshot().await?);
    with_next_agent(&world, &next, &["--default-rollouts=manual"]).await?;
    let condition = accepts.says(DEFAULTS_OUTDATED, &[ACCEPT_DEFAULTS]).await?;
    waits.says(DEFAULTS_OUTDATED, &[ACCEPT_DEFAULTS]).await?;
    accepts.unchanged_since(&first).await?;
    waits.unchanged_since(&second).await?;

    let value = value_of(ACCEPT_DEFAULTS, &condition.message)
        .with_context(|| format!("no value of the annotation in: {}", condition.message))?;
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ACCEPT_DEFAULTS: value}}}));
    world.api::<ThanosQuery>().patch(&name(0), &PatchParams::default(), &patch).await?;
    accepts.rolled_out(&first).await?;
    accepts.says_no_more(DEFAULTS_OUTDATED).await?;
    let live = Workload::of_queriers(&world, &name(0)).live().await?;
    if agent_of(&live) != Some(next) {
        bail!("the agent is {:?}", agent_of(&live));
    }
    waits.says(DEFAULTS_OUTDATED, &[ACCEPT_DEFAULTS]).await?;
    let now: PodsSnapshot = waits.snapshot().await?;
    second.unchanged(&now)
}

/// The same agent under another name, as the next release would bring it.
async fn next_agent(world: &World) -> Result<String> {
    let program = world.program()?.with_file_name("sd-agent");
    let cluster = world.cluster().clone();
    let load = tokio::task::spawn_blocking(move || -> Result<String> {
        let mut image = Image::of_program("sd-agent", &program, u32::try_from(pod::AGENT_USER)?)?;
        image.reference = image.reference.replace(':', ":next-");
        cluster.load_image(&image)?;
        Ok(image.reference)
    });
    load.await?
}

async fn with_next_agent(world: &World, image: &str, arguments: &[&str]) -> Result<()> {
    let mut operator = world.operator()?.lock().await;
    operator.stop().await?;
    operator.with_agent_image(image);
    operator.with_arguments(arguments);
    operator.start_again().await
}

fn name(index: usize) -> String {
    format!("crowd-{index}")
}

async fn crowd(world: &World, number: usize) -> Result<Vec<Queriers>> {
    let mut all = Vec::new();
    for index in 0..number {
        all.push(world.thanos_query(&name(index), "{replicas: 1}").await?);
    }
    for queriers in &all {
        queriers.ready().await?;
    }
    Ok(all)
}

async fn deployments(world: &World) -> Result<Vec<Deployment>> {
    let all = world.api::<Deployment>().list(&ListParams::default()).await?.items;
    Ok(all.into_iter().filter(|one| one.name_any().starts_with("thanos-query-crowd-")).collect())
}

fn one_at_a_time(world: &World) -> Always {
    let world = world.clone();
    Always::watch("at most one Deployment rolls out", Duration::from_millis(100), move || {
        let world = world.clone();
        async move {
            let all = deployments(&world).await?;
            let rolling: Vec<String> =
                all.iter().filter(|one| !is_settled(one)).map(|one| one.name_any()).collect();
            if rolling.len() > 1 { bail!("{rolling:?}") } else { Ok(()) }
        }
    })
}

fn agent_of(deployment: &Deployment) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let agent = pod.init_containers.iter().flatten().find(|one| one.name == pod::AGENT_CONTAINER)?;
    agent.image.clone()
}

/// The word after `name` and what separates them, as in `name=word` or `name: "word"`.
fn value_of(name: &str, text: &str) -> Option<String> {
    let after = &text[text.find(name)? + name.len()..];
    let start = after.trim_start_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let word: String = start.chars().take_while(|letter| letter.is_ascii_alphanumeric()).collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_annotation_is_found_in_a_message() {
        for text in ["set a/b=1f2e to roll", "set a/b: \"1f2e\".", "a/b = 1f2e"] {
            assert_eq!(value_of("a/b", text).as_deref(), Some("1f2e"), "{text}");
        }
        assert_eq!(value_of("a/b", "set a/b"), None);
    }
}
