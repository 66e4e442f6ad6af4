//! The Deployment of one workload: whether its pods may be replaced now.
//!
//! Everything that replaces pods passes here: endpoints that still settle or replaced the pods a moment ago, defaults of
//! the operator that wait for their turn, another writer who keeps changing the template.

use crds::names::annotations;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    ApplyError, DefaultsGate, NextRollout, Outcome, Reverts, RolloutHeld, RolloutPace, Settling,
    TemplateChange, covers,
    reverts::{self, Decision},
    step::{Step, to_json},
};
use crate::{
    managed_fields::last_foreign_writer,
    rollout::{Rollout, is_stuck},
    seen::Seen,
};

/// What is remembered of one Deployment between two looks.
#[derive(Debug, Default)]
pub struct DeploymentMemory {
    /// Strict and group endpoints that still change.
    pub settling: Settling,
    /// How often they replaced the pods.
    pub pace: RolloutPace,
    /// How often another writer took our template back.
    pub reverts: Reverts,
}

/// What the pods of a ThanosQuery wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The template is not applied yet, and why; Ready is not told for it.
    pub pending: Vec<String>,
    /// Endpoints have replaced the pods too often.
    pub rollout_held: Option<RolloutHeld>,
    /// Defaults of the operator that are not rolled out: the hash that accepts them.
    pub defaults: Vec<DefaultsWait>,
    /// Who keeps changing our template.
    pub foreign_writer: Option<String>,
}

/// Defaults of the operator that one Deployment does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultsWait {
    /// The Deployment.
    pub deployment: String,
    /// Hash of the template that it would get.
    pub hash: String,
    /// Whether a person has to accept them; else its turn comes.
    pub by_hand: bool,
}

/// What a look at a Deployment goes by.
pub struct Looked<'a> {
    /// What the ThanosQuery asks for.
    pub asked: &'a Seen,
    /// Whether defaults of the operator may be rolled out.
    pub gate: &'a dyn DefaultsGate,
    /// Now.
    pub now: Instant,
    /// The same moment, as people tell it.
    pub clock: Timestamp,
}

/// Applies `desired` as far as its pods may be replaced now. True when its template is what is wanted.
///
/// # Errors
/// When the API refuses.
pub async fn apply_deployment(
    step: &Step<'_>,
    desired: &Deployment,
    live: Option<&Deployment>,
    memory: &mut DeploymentMemory,
    looked: &Looked<'_>,
    outcome: &mut Outcome,
) -> Result<(Option<Deployment>, bool), ApplyError> {
    let there = live.cloned();
    if step.is_foreign(desired, live, outcome) {
        outcome.waits.pending.push(format!("Deployment {} belongs to somebody else", desired.name_any()));
        return Ok((None, false));
    }
    let change = TemplateChange::of(desired, live);
    let next = next_rollout(change, live, memory, looked);
    let settles_for = memory.settling.wait(live, desired, looked.now);
    // Nothing starts when a held rollout has settled: it stays told as held, and all else about it goes on.
    if let Some(wait) = settles_for.filter(|_| !matches!(next, NextRollout::Held { .. })) {
        outcome.waits.pending.push("strict or group endpoints still change".to_owned());
        outcome.come_back(wait);
        return Ok((there, false));
    }
    let noted = |object: &Deployment, name: &str| object.annotations().get(name).cloned().unwrap_or_default();
    let hash = noted(desired, annotations::TEMPLATE_HASH);
    if let Some(by) = reverted_by(desired, live, &hash, memory, looked)? {
        outcome.waits.foreign_writer = Some(by);
        outcome.complete = false;
        return Ok((there, false));
    }
    let mut is_held = false;
    if let (TemplateChange::DefaultsOnly, Some(live)) = (change, live)
        && let Some(by_hand) = looked.gate.holds(&hash, is_stuck(live))
    {
        let wait = DefaultsWait { deployment: desired.name_any(), hash: hash.clone(), by_hand };
        outcome.waits.defaults.push(wait);
        is_held = true;
    }
    if next != NextRollout::Starts {
        memory.settling.hold();
        tell_wait(next, outcome);
        is_held = true;
    }
    let held = live.filter(|_| is_held).map(|live| with_template_of(desired, live));
    let applied = step.apply(held.as_ref().unwrap_or(desired), live, outcome).await?;
    if held.is_none() {
        memory.reverts.written(&hash, looked.now);
        if let (TemplateChange::EndpointsOnly, Some(live), Some(_)) = (change, live, &applied) {
            memory.pace.started(Rollout::of(live), looked.now, looked.clock);
        }
    }
    Ok((applied.or(there), held.is_none()))
}

/// Whether pods may be replaced for the sake of endpoints. What users change is left to Kubernetes, which replaces the
/// pods of a rollout that is under way as well, and brings the endpoints along.
fn next_rollout(
    change: TemplateChange,
    live: Option<&Deployment>,
    memory: &mut DeploymentMemory,
    looked: &Looked<'_>,
) -> NextRollout {
    match live {
        Some(live) if change == TemplateChange::EndpointsOnly => {
            memory.pace.next(Rollout::of(live), looked.now)
        }
        _ => {
            memory.pace.nothing_waits();
            NextRollout::Starts
        }
    }
}

/// Until then everything else is as it should be, and a change of an ordinary endpoint takes the fast path.
fn tell_wait(next: NextRollout, outcome: &mut Outcome) {
    let (pending, look_again) = match next {
        NextRollout::Starts => return,
        NextRollout::Waits { look_again } => {
            ("the pods get other endpoint flags when their rollout is complete".to_owned(), look_again)
        }
        NextRollout::Held { held, look_again } => {
            outcome.waits.rollout_held = Some(held);
            (format!("the pods get other endpoint flags at {}, see RolloutHeld", held.until), look_again)
        }
    };
    outcome.waits.pending.push(pending);
    outcome.look_again = Some(look_again);
}

/// Who keeps taking our template back, when it is time to leave it to him.
fn reverted_by(
    desired: &Deployment,
    live: Option<&Deployment>,
    hash: &str,
    memory: &mut DeploymentMemory,
    looked: &Looked<'_>,
) -> Result<Option<String>, ApplyError> {
    let Some(live) = live else { return Ok(None) };
    let managed = live.metadata.managed_fields.as_deref().unwrap_or_default();
    let look = reverts::Look {
        template: hash,
        is_noted: live.annotations().get(annotations::TEMPLATE_HASH).is_some_and(|own| own == hash),
        is_there: is_template_there(live, desired)?,
        by: last_foreign_writer(managed, &["spec", "template"]),
        asked: looked.asked,
    };
    Ok(match memory.reverts.decide(look, looked.now) {
        Decision::Apply => None,
        Decision::Stop { by } => Some(by),
    })
}

/// `desired` with the pods that run: all else about it is brought up to date.
fn with_template_of(desired: &Deployment, live: &Deployment) -> Deployment {
    let mut held = desired.clone();
    if let (Some(spec), Some(live)) = (&mut held.spec, &live.spec) {
        spec.template = live.template.clone();
    }
    let own = held.metadata.annotations.get_or_insert_default();
    for name in [annotations::TEMPLATE_HASH, annotations::TEMPLATE_INPUTS] {
        own.remove(name);
        own.extend(live.annotations().get(name).map(|value| (name.to_owned(), value.clone())));
    }
    held
}

fn is_template_there(live: &Deployment, desired: &Deployment) -> Result<bool, ApplyError> {
    let template = |deployment: &Deployment| -> Result<Value, ApplyError> {
        Ok(to_json(deployment)?.pointer("/spec/template").cloned().unwrap_or_default())
    };
    Ok(covers(&template(live)?, &template(desired)?))
}
