//! The Deployment of one workload: whether its pods may be replaced now.
//!
//! Everything that replaces pods passes here: endpoints that still settle, defaults of the operator that wait for their
//! turn, another writer who keeps changing the template.

use crds::names::annotations;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    ApplyError, DefaultsGate, Outcome, Reverts, Settling, TemplateChange, covers,
    reverts::{self, Decision},
    step::{Step, to_json},
};
use crate::{managed_fields::last_foreign_writer, seen::Seen};

/// What is remembered of one Deployment between two looks.
#[derive(Debug, Default)]
pub struct DeploymentMemory {
    /// Strict and group endpoints that still change.
    pub settling: Settling,
    /// How often another writer took our template back.
    pub reverts: Reverts,
}

/// What the pods of a ThanosQuery wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The template is not applied yet, and why; Ready is not told for it.
    pub pending: Vec<String>,
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
    if let Some(wait) = memory.settling.wait(live, desired, looked.now) {
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
    let change = TemplateChange::of(desired, live);
    let mut held = None;
    if let (TemplateChange::DefaultsOnly, Some(live)) = (change, live)
        && let Some(by_hand) = looked.gate.holds(&hash, is_stuck(live))
    {
        let wait = DefaultsWait { deployment: desired.name_any(), hash: hash.clone(), by_hand };
        outcome.waits.defaults.push(wait);
        held = Some(with_template_of(desired, live));
    }
    let applied = step.apply(held.as_ref().unwrap_or(desired), live, outcome).await?;
    if held.is_none() {
        memory.reverts.written(&hash, looked.now);
    }
    Ok((applied.or(there), held.is_none()))
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

/// Whether every pod is of the current template and available.
pub fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let Some(status) = &deployment.status else { return false };
    let is_all = |pods: Option<i32>| pods.unwrap_or_default() == wanted;
    status.observed_generation >= deployment.metadata.generation
        && is_all(status.updated_replicas)
        && is_all(status.available_replicas)
        && is_all(status.replicas)
}

/// Whether its rollout has taken longer than it may.
pub fn is_stuck(deployment: &Deployment) -> bool {
    stuck(deployment).is_some()
}

/// What Kubernetes says about a rollout that has taken longer than it may.
pub fn stuck(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let stuck = conditions.iter().find(|own| own.type_ == "Progressing" && own.status == "False")?;
    Some(stuck.message.clone().unwrap_or_default())
}
