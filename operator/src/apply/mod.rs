//! Step 4: brings what is there to what is planned, with as few writes as can be.
//!
//! ConfigMap before Deployment: an agent must find what its Thanos needs. Every write is a server-side apply under
//! a timeout; an object is written only when what we want is not there already.

mod covers;
pub mod default_rollouts;
mod endpoint_flags;
mod error;
mod quantity;
mod reverts;
mod rollout_pace;
mod settle;
mod step;
mod turns;
mod workload;

use std::time::Duration;

use crds::ThanosQuery;
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{Client, ResourceExt};
use tokio::time::Instant;

pub use covers::covers;
pub use default_rollouts::{DefaultsGate, TemplateChange};
pub use endpoint_flags::endpoint_flags;
pub use error::ApplyError;
pub use reverts::Reverts;
pub use rollout_pace::{NextRollout, RolloutHeld, RolloutPace};
pub use settle::Settling;
pub use step::Owned;
pub use turns::Turns;
pub use workload::{DefaultsWait, DeploymentMemory, Waits};

use crate::{
    plan::{ConfigMaps, Delivery, Monitor, Plan, Shards, WorkloadPlan},
    rollout::is_rolled_out,
    seen::Seen,
    snapshot::{Live, LiveWorkload},
};
use step::{Prepared, Step, is_of_our_making};
use workload::{Looked, apply_deployment};

/// Two writes of one ThanosQuery's ConfigMap are at least this far apart.
pub const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// How long until an object that the API refused is tried again as it is: a quota or a webhook may have changed.
const REFUSED_INTERVAL: Duration = Duration::from_secs(300);

/// What was done.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The ConfigMap as it is now.
    pub config_map: Option<ConfigMap>,
    /// Those of earlier names as they are now.
    pub former_config_maps: Vec<ConfigMap>,
    /// The Deployment of the queriers as it is now.
    pub queriers: Option<Deployment>,
    /// That of the frontend.
    pub frontend: Option<Deployment>,
    /// Whether the ConfigMap was written.
    pub config_map_written: bool,
    /// Whether it has to be written, and was a moment ago.
    pub config_map_waits: bool,
    /// Whether everything that is planned is there now.
    pub complete: bool,
    /// What to come back for.
    pub again: Option<Duration>,
    /// When everything has to be looked at again, although all is there that may be there now.
    pub look_again: Option<Instant>,
    /// Versions that our writes made, by kind and name.
    pub versions: Vec<(&'static str, String, String)>,
    /// Objects of somebody else that are in the way.
    pub foreign: Vec<String>,
    /// What the pods wait for.
    pub waits: Waits,
    /// Why the API will not have an object as it is planned.
    pub refusals: Vec<String>,
}

/// When writes were made last, and what is remembered of the Deployments.
pub struct Pace<'a> {
    /// Last write of the ConfigMap.
    pub config_map_written: Option<Instant>,
    /// Of the queriers.
    pub queriers: &'a mut DeploymentMemory,
    /// Of the frontend.
    pub frontend: &'a mut DeploymentMemory,
    /// What the ThanosQuery asks for.
    pub asked: &'a Seen,
    /// Whether defaults of the operator may be rolled out.
    pub gate: &'a dyn DefaultsGate,
    /// Now.
    pub now: Instant,
    /// The same moment, as people tell it.
    pub clock: Timestamp,
}

/// The ConfigMaps as the API has them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveConfigMaps<'a> {
    /// The one that is wanted.
    pub wanted: Option<&'a ConfigMap>,
    /// Those of earlier names.
    pub former: &'a [ConfigMap],
}

/// Fast path: only the endpoints may have changed.
///
/// # Errors
/// When the API refuses; [`ApplyError::is_conflict`] means that somebody else wrote meanwhile.
pub async fn apply_config_maps(
    client: &Client,
    query: &ThanosQuery,
    desired: &ConfigMaps,
    live: LiveConfigMaps<'_>,
    written: Option<Instant>,
    now: Instant,
) -> Result<Outcome, ApplyError> {
    let mut outcome = Outcome { config_map: live.wanted.cloned(), complete: true, ..Outcome::default() };
    let step = Step { client, query };
    let wait = left_of(WRITE_INTERVAL, written, now);
    if let Some(wanted) = &desired.wanted {
        outcome.config_map = config_map(&step, wanted, live.wanted, wait, &mut outcome).await?;
    }
    for former in &desired.former {
        let live = live.former.iter().find(|live| live.metadata.name == former.metadata.name);
        let there = config_map(&step, former, live, wait, &mut outcome).await?;
        outcome.former_config_maps.extend(there);
    }
    Ok(outcome)
}

/// How much of `interval` is left since `last`; nothing when there was no last time.
pub fn left_of(interval: Duration, last: Option<Instant>, now: Instant) -> Duration {
    last.map_or(Duration::ZERO, |last| (last + interval).saturating_duration_since(now))
}

/// Brings one ConfigMap to what is wanted; returns it as it is now.
async fn config_map(
    step: &Step<'_>,
    desired: &ConfigMap,
    live: Option<&ConfigMap>,
    wait: Duration,
    outcome: &mut Outcome,
) -> Result<Option<ConfigMap>, ApplyError> {
    if step.is_foreign(desired, live, outcome) {
        return Ok(live.cloned());
    }
    let prepared = Prepared::of(desired)?;
    if prepared.is_there(live)? {
        return Ok(live.cloned());
    }
    if !wait.is_zero() {
        outcome.come_back(wait);
        outcome.config_map_waits = true;
        return Ok(live.cloned());
    }
    // Whoever wrote meanwhile wins, and we look again.
    let version = live.and_then(ResourceExt::resource_version);
    let written: ConfigMap = prepared.apply(step.client, version).await?;
    outcome.note_written(&written);
    outcome.config_map_written = true;
    Ok(Some(written))
}

/// Full path: everything.
///
/// # Errors
/// When the API refuses.
pub async fn apply(
    client: &Client,
    query: &ThanosQuery,
    plan: &Plan,
    live: Live,
    pace: Pace<'_>,
) -> Result<Outcome, ApplyError> {
    // Without `..`: a new object does not compile until it has its place in this order.
    let Plan {
        names: _,
        summary,
        config_maps,
        remembered: _,
        role,
        role_binding,
        queriers,
        balanced,
        frontend,
        shards,
    } = plan;
    let Live {
        config_map: live_config_map,
        former_config_maps,
        role: live_role,
        role_binding: live_binding,
        balanced: live_balanced,
        queriers: live_queriers,
        frontend: live_frontend,
        shards: live_shards,
    } = live;
    let there = LiveConfigMaps { wanted: live_config_map.as_ref(), former: &former_config_maps };
    let written = pace.config_map_written;
    let mut outcome = apply_config_maps(client, query, config_maps, there, written, pace.now).await?;
    let has_endpoints =
        config_maps.wanted.is_none() || (outcome.config_map.is_some() && outcome.foreign.is_empty());

    let step = Step { client, query };
    let look = Looked { asked: pace.asked, gate: pace.gate, now: pace.now, clock: pace.clock };
    let Shards { wanted, gone, hold_pods } = shards;
    for shard in wanted {
        let live = live_shards.iter().find(|live| live.metadata.name == shard.metadata.name);
        let applied = step.apply(shard, live, &mut outcome).await;
        outcome.unless_refused(applied)?;
    }
    if let Some(role) = role {
        step.apply(role, live_role.as_ref(), &mut outcome).await?;
    }
    if let Some(binding) = role_binding {
        step.apply(binding, live_binding.as_ref(), &mut outcome).await?;
    }
    around(&step, queriers, &live_queriers, &mut outcome).await?;
    match balanced {
        Some(service) => {
            let applied = step.apply(service, live_balanced.as_ref(), &mut outcome).await;
            outcome.unless_refused(applied)?;
        }
        None => step.delete(live_balanced.as_ref()).await?,
    }
    match frontend {
        Some(frontend) => {
            around(&step, frontend, &live_frontend, &mut outcome).await?;
            outcome.frontend = live_frontend.deployment.clone();
            // Before the queriers: one that follows their release is known by having the same.
            if let Some(desired) = &frontend.deployment {
                let live = live_frontend.deployment.as_ref();
                let applied = apply_deployment(&step, desired, live, pace.frontend, &look, &mut outcome);
                let applied = applied.await;
                if let Some((deployment, _)) = outcome.unless_refused(applied)? {
                    outcome.frontend = deployment;
                }
            }
        }
        None => remove(&step, &live_frontend).await?,
    }
    outcome.queriers = live_queriers.deployment.clone();
    let mut is_template_there = false;
    match (&queriers.deployment, hold_pods) {
        (Some(_), Some(why)) if has_endpoints && outcome.queriers.is_none() => {
            outcome.waits.pending.push(why.clone());
        }
        (Some(desired), _) if has_endpoints => {
            let live = live_queriers.deployment.as_ref();
            let applied = apply_deployment(&step, desired, live, pace.queriers, &look, &mut outcome);
            let applied = applied.await;
            if let Some((deployment, is_there)) = outcome.unless_refused(applied)? {
                outcome.queriers = deployment;
                is_template_there = is_there;
            }
        }
        (Some(_) | None, _) => {
            outcome.waits.pending.push("the ConfigMap of the endpoints is not written yet".to_owned());
            outcome.complete = false;
        }
    }
    // No pod asks them any more.
    for shard in
        live_shards.iter().filter(|live| gone.iter().any(|name| live.metadata.name.as_ref() == Some(name)))
    {
        step.delete(Some(shard)).await?;
    }
    // What the old pods use stays until the last of them is replaced; that rollout's end wakes us.
    if is_template_there && outcome.queriers.as_ref().is_some_and(is_rolled_out) {
        if role.is_none() {
            step.delete(live_role.as_ref()).await?;
        }
        if role_binding.is_none() {
            step.delete(live_binding.as_ref()).await?;
        }
        if summary.delivery == Delivery::Flags {
            step.delete(live_config_map.as_ref()).await?;
            outcome.config_map = None;
        }
        for former in &former_config_maps {
            step.delete(Some(former)).await?;
        }
        outcome.former_config_maps.clear();
    }
    Ok(outcome)
}

/// What a workload has besides its pods.
async fn around(
    step: &Step<'_>,
    plan: &WorkloadPlan,
    live: &LiveWorkload,
    outcome: &mut Outcome,
) -> Result<(), ApplyError> {
    let WorkloadPlan { service_account, service, disruption_budget, monitor, deployment: _ } = plan;
    step.apply(service_account, live.service_account.as_ref(), outcome).await?;
    let applied = step.apply(service, live.service.as_ref(), outcome).await;
    outcome.unless_refused(applied)?;
    match disruption_budget {
        Some(budget) => step.apply(budget, live.disruption_budget.as_ref(), outcome).await.map(drop)?,
        None => step.delete(live.disruption_budget.as_ref()).await?,
    }
    match monitor {
        Monitor::Wanted(monitor) if live.knows_service_monitors => {
            let applied = step.apply(monitor.as_ref(), live.service_monitor.as_ref(), outcome).await;
            outcome.unless_refused(applied).map(drop)
        }
        // It is made when the cluster learns the kind; that wakes us.
        Monitor::Wanted(_) => Ok(()),
        Monitor::Unwanted => step.delete(live.service_monitor.as_ref()).await,
        Monitor::Unsaid => {
            step.delete(live.service_monitor.as_ref().filter(|own| is_of_our_making(*own))).await
        }
    }
}

/// Everything of a workload that is not wanted any more.
async fn remove(step: &Step<'_>, live: &LiveWorkload) -> Result<(), ApplyError> {
    let LiveWorkload {
        service_account,
        service,
        disruption_budget,
        service_monitor,
        knows_service_monitors: _,
        deployment,
    } = live;
    step.delete(deployment.as_ref()).await?;
    step.delete(service_monitor.as_ref()).await?;
    step.delete(disruption_budget.as_ref()).await?;
    step.delete(service.as_ref()).await?;
    step.delete(service_account.as_ref()).await
}

// === impl Outcome ===

impl Outcome {
    /// What came of a write, none if the API will not have the object as it is: the other objects need not suffer.
    fn unless_refused<T>(&mut self, result: Result<T, ApplyError>) -> Result<Option<T>, ApplyError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let Some(refusal) = error.refusal() else { return Err(error) };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the API refuses an object; the others are applied"
        );
        self.refusals.push(refusal);
        self.come_back(REFUSED_INTERVAL);
        Ok(None)
    }

    /// How long until something is left to do.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let look = self.look_again.map(|at| at.saturating_duration_since(now));
        self.again.into_iter().chain(look).min()
    }

    /// Something is left to do after `wait`.
    pub fn come_back(&mut self, wait: Duration) {
        self.again = Some(self.again.map_or(wait, |again| again.min(wait)));
        self.complete = false;
    }
}
