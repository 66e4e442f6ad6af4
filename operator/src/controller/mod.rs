//! The five steps in their order.

mod outcome;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crds::{ThanosQuery, ThanosQueryStatus, thanos_query_status::Rollout};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::ConfigMap,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Client, runtime::controller::Action};
use tokio::time::Instant;

pub use outcome::{Error, reconcile, retry};

use crate::{
    apply::{self, ApplyError, Outcome, Pace},
    config::Config,
    discovery::{Discovery, Rejected, discover},
    events::{Events, Happened, reference},
    metrics::Metrics,
    plan::{self, DocumentId, Known, Names, Plan, payload_of},
    query_state::{Applied, QueryHandle, QueryState, QueryStates, Seen},
    snapshot::{self, Live},
    status::{self, Asker, Findings, Progress},
    watch::{Indices, Wakes, query_ref},
};

/// What every reconcile uses.
pub struct Context {
    /// The API.
    pub client: Client,
    /// Settings.
    pub config: Config,
    /// What is watched.
    pub indices: Indices,
    /// Wakes ThanosQuery objects.
    pub wakes: Arc<Wakes>,
    /// What is remembered.
    pub states: Arc<QueryStates>,
    /// Asks the agents.
    pub asker: Asker,
    /// Tells people.
    pub events: Events,
    /// Tells machines.
    pub metrics: Metrics,
}

// A conflict means that somebody else wrote between our read and our write.
const CONFLICTS: u32 = 3;

async fn steps(query: &ThanosQuery, context: &Context) -> Result<Action, Error> {
    let own = query_ref(query);
    let handle = context.states.handle(&own);
    let mut state = handle.state.lock().await;
    if state.uid != query.metadata.uid {
        *state = QueryState { uid: query.metadata.uid.clone(), ..QueryState::default() };
    }
    if query.metadata.deletion_timestamp.is_some() {
        // What it owns goes with it.
        return Ok(Action::await_change());
    }
    let run = Run { query, context, handle: &handle };
    if query.spec.paused == Some(true) {
        return run.finish(&mut state, Progress::Paused, None).await;
    }
    // Before the lists are complete a missing Service means nothing. Their completion wakes us.
    if !context.indices.are_complete_for(own.namespace.as_deref().unwrap_or_default()) {
        return Ok(Action::await_change());
    }
    run.endpoints_and_objects(&mut state).await
}

/// One run of the steps for one ThanosQuery.
struct Run<'a> {
    query: &'a ThanosQuery,
    context: &'a Context,
    handle: &'a Arc<QueryHandle>,
}

// === impl Run ===

impl Run<'_> {
    async fn endpoints_and_objects(&self, state: &mut QueryState) -> Result<Action, Error> {
        let Self { query, context, handle } = self;
        let seen = Seen::of(query);
        let mut full = state.needs_a_full_look(&handle.noted, &seen);
        // Somebody who reverts what we write is answered, but not as fast as both can.
        let wait = state.objects_written.map_or(Duration::ZERO, |last| {
            (last + apply::WRITE_INTERVAL).saturating_duration_since(Instant::now())
        });
        if full && !wait.is_zero() {
            state.applied = None;
            return Ok(Action::requeue(wait));
        }
        let names = match Names::of(query) {
            Ok(names) => names,
            Err(error) => return self.refuse(state, error.to_string()).await,
        };
        let mut conflicts = 0;
        loop {
            // 1. snapshot (client, when more than endpoints may have changed)
            let watched = snapshot::watched(&context.indices, &names.namespace);
            let live = if full {
                // The marks that led here are spent: whatever fails from now on, the next look is a full one, too.
                state.applied = None;
                Some(snapshot::live(&context.client, &names).await?)
            } else {
                None
            };

            // 2. discovery (pure)
            let discovery = match discover(query, &watched) {
                Ok(discovery) => discovery,
                Err(error) => return self.refuse(state, error.to_string()).await,
            };

            // 3. plan (pure)
            let there = match &live {
                Some(live) => live.config_map.as_ref(),
                None => state.applied.as_ref().and_then(|applied| applied.config_map.as_ref()),
            };
            let known = Known { config_map: there, generation: known_generation(state, query) };
            let plan = match plan::plan(query, &discovery, &known, &context.config, Timestamp::now()) {
                Ok(plan) => plan,
                Err(error) => return self.refuse(state, error.to_string()).await,
            };
            let rest = plan.rest();
            if live.is_none() && state.applied.as_ref().is_none_or(|applied| applied.rest != rest) {
                full = true;
                continue;
            }

            // 4. apply (client)
            let before = live.as_ref().and_then(|live| live.deployment.clone());
            let outcome = match self.apply(state, &plan, live).await {
                Ok(outcome) => outcome,
                Err(error) if error.is_conflict() && conflicts < CONFLICTS => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "somebody else wrote; looking again"
                    );
                    conflicts += 1;
                    full = true;
                    continue;
                }
                Err(error) => {
                    state.applied = None;
                    return Err(error.into());
                }
            };
            state.refused = None;
            self.remember(state, &outcome, rest, full.then_some(seen));
            self.tell(state, &discovery, &plan, before.as_ref(), &outcome);

            // 5. status (pure, then one write)
            let mut summary = plan.summary;
            summary.document = outcome.config_map.as_ref().and_then(document_id);
            if outcome.config_map_written || full {
                let document = summary.document.as_ref().filter(|_| summary.has_agents());
                context.asker.ask(&query_ref(query), handle, &names.querier, document);
            }
            context.metrics.endpoints(query, &discovery, &summary);
            let deployment = state.deployment.clone();
            let progress = Progress::Done {
                discovery: &discovery,
                summary: &summary,
                deployment: deployment.as_ref(),
                foreign: &outcome.foreign,
            };
            return self.finish(state, progress, outcome.again).await;
        }
    }

    async fn apply(
        &self,
        state: &mut QueryState,
        plan: &Plan,
        live: Option<Live>,
    ) -> Result<Outcome, ApplyError> {
        let Self { query, context, .. } = self;
        let QueryState { config_map_written, settling, applied, .. } = state;
        let pace = Pace { config_map_written: *config_map_written, settling, now: Instant::now() };
        match live {
            Some(live) => apply::apply(&context.client, query, plan, live, pace).await,
            None => {
                let there = applied.as_ref().and_then(|applied| applied.config_map.as_ref());
                apply::apply_config_map(&context.client, query, plan.config_map.as_ref(), there, &pace).await
            }
        }
    }

    fn remember(&self, state: &mut QueryState, outcome: &Outcome, rest: String, looked: Option<Seen>) {
        if outcome.config_map_written {
            state.config_map_written = Some(Instant::now());
            if let Some(id) = outcome.config_map.as_ref().and_then(document_id) {
                tracing::info!(generation = id.generation, "endpoints written");
            }
        }
        if outcome.versions.iter().any(|(kind, _)| *kind != "ConfigMap") {
            state.objects_written = Some(Instant::now());
        }
        state.written.extend(outcome.versions.iter().cloned());
        for (kind, _) in &outcome.versions {
            self.context.metrics.wrote(kind);
        }
        if let Some(deployment) = &outcome.deployment {
            state.deployment = Some(without_template(deployment));
        }
        let config_map = outcome.config_map.clone().map(|mut config_map| {
            // Of no use to us, and larger than the rest.
            config_map.metadata.managed_fields = None;
            config_map
        });
        match (looked, &mut state.applied) {
            (Some(seen), _) if outcome.complete => {
                state.seen = Some(seen);
                state.applied = Some(Applied { config_map, rest });
            }
            // Something is left to do: look at everything when it is done.
            (Some(_), _) => state.applied = None,
            (None, Some(applied)) => applied.config_map = config_map,
            (None, None) => {}
        }
    }

    fn tell(
        &self,
        state: &mut QueryState,
        discovery: &Discovery,
        plan: &Plan,
        before: Option<&Deployment>,
        outcome: &Outcome,
    ) {
        let Self { query, context, .. } = self;
        let wrote_pods = outcome.versions.iter().any(|(kind, _)| *kind == "Deployment");
        if let Some(after) = outcome.deployment.as_ref().filter(|_| wrote_pods) {
            let changes = status::restart_reasons(before, after);
            if !changes.is_empty() {
                let reason = status::sentence(&changes);
                tracing::info!(%reason, "rollout");
                context.metrics.rolled_out();
                context.events.send(&reference(query), &Happened::Rollout(reason.clone()));
                state.rollout = Some(Rollout { time: Time(Timestamp::now()), reason, changes });
            }
        }
        let now: BTreeSet<Rejected> = status::rejected(discovery, &plan.summary)
            .into_iter()
            .chain(&discovery.remarks)
            .cloned()
            .collect();
        let told = state.told.get_or_insert_with(|| told_before(query, &now));
        for rejected in now.difference(told) {
            let happened = Happened::ServiceRejected {
                service: format!("{}/{}", rejected.namespace, rejected.service),
                word: rejected.reason.word(),
                message: rejected.reason.message(),
            };
            context.events.send(&reference(query), &happened);
        }
        *told = now;
    }

    /// The spec asks for something that cannot be done: nothing is touched, and the user is told.
    async fn refuse(&self, state: &mut QueryState, message: String) -> Result<Action, Error> {
        // The status that tells it may have to wait, and then this is asked again.
        let is_news = state.refused.replace(message.clone()).as_ref() != Some(&message);
        if is_news && !self.old_status(state).conditions.iter().any(|condition| condition.message == message)
        {
            self.context.events.send(&reference(self.query), &Happened::InvalidField(message.clone()));
        }
        self.finish(state, Progress::Refused(message), None).await
    }

    async fn finish(
        &self,
        state: &mut QueryState,
        progress: Progress<'_>,
        again: Option<Duration>,
    ) -> Result<Action, Error> {
        let Self { query, context, handle } = self;
        let agents = handle.agents.lock().clone();
        let old = self.old_status(state);
        let findings = Findings {
            query,
            old: &old,
            progress,
            rollout: state.rollout.as_ref(),
            agents: &agents,
            now: Timestamp::now(),
        };
        let new = status::compute(&findings);
        let mut again = again;
        if new != old {
            let wait = state.status_written.map_or(Duration::ZERO, |last| {
                (last + apply::WRITE_INTERVAL).saturating_duration_since(Instant::now())
            });
            if wait.is_zero() {
                status::write(&context.client, query, &new).await?;
                context.metrics.wrote("status");
                state.status_written = Some(Instant::now());
                state.status = Some(new);
                state.rollout = None;
            } else {
                again = Some(again.map_or(wait, |again| again.min(wait)));
            }
        }
        Ok(again.map_or_else(Action::await_change, Action::requeue))
    }

    // The watched object may be older than our last write.
    fn old_status(&self, state: &QueryState) -> ThanosQueryStatus {
        state.status.clone().or_else(|| self.query.status.clone()).unwrap_or_default()
    }
}

// The generation in status outlives the ConfigMap, and with it the order of documents.
fn known_generation(state: &QueryState, query: &ThanosQuery) -> Option<u64> {
    let status = state.status.as_ref().or(query.status.as_ref())?;
    u64::try_from(status.document.as_ref()?.generation).ok()
}

// What status needs of it, and not the kilobytes it does not.
fn without_template(deployment: &Deployment) -> Deployment {
    let Deployment { metadata, spec, status } = deployment;
    Deployment {
        metadata: ObjectMeta { generation: metadata.generation, ..ObjectMeta::default() },
        spec: spec
            .as_ref()
            .map(|spec| DeploymentSpec { replicas: spec.replicas, ..DeploymentSpec::default() }),
        status: status.clone(),
    }
}

fn document_id(config_map: &ConfigMap) -> Option<DocumentId> {
    let meta = payload_of(config_map).meta().ok()?;
    Some(DocumentId { generation: meta.generation, sha256: meta.sha256 })
}

// After a restart of the operator, what status tells was told.
fn told_before(query: &ThanosQuery, now: &BTreeSet<Rejected>) -> BTreeSet<Rejected> {
    let status = query.status.as_ref();
    let is_told = |own: &&Rejected| {
        status.is_some_and(|status| {
            status.rejected.iter().any(|told| {
                told.namespace == own.namespace
                    && told.name == own.service
                    && told.message == own.reason.message()
            }) || status.conditions.iter().any(|condition| condition.message.contains(&own.reason.message()))
        })
    };
    now.iter().filter(is_told).cloned().collect()
}
