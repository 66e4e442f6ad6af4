//! The five steps in their order.

mod gate;
mod outcome;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crds::{
    ThanosQuery, ThanosQueryStatus,
    names::{
        annotations::ACCEPT_DEFAULTS,
        pod::{FRONTEND_CONTAINER, QUERY_CONTAINER},
    },
    thanos_query_status::Rollout,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::ConfigMap,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{Client, ResourceExt, runtime::controller::Action};
use tokio::time::Instant;

pub use outcome::{Error, reconcile, retry};

use gate::Gate;

use crate::{
    apply::{self, ApplyError, LiveConfigMaps, Outcome, Pace, Turns},
    config::Config,
    discovery::{Discovery, Rejected, discover, query_service},
    events::{Events, Happened, reference},
    metrics::Metrics,
    plan::{self, DocumentId, Known, Names, Plan, Running, RunningWorkload},
    query_state::{Applied, Deployments, QueryHandle, QueryState, QueryStates, Seen, WrittenStatus},
    snapshot::{self, Live, Reading},
    status::{self, Asker, Findings, Progress},
    watch::{Indices, QueryRef, Wakes, query_ref},
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
    /// Whose turn it is to get the operator's new defaults.
    pub turns: Turns<QueryRef>,
}

/// A status that somebody else takes away is given back this often.
const LOST_STATUS_INTERVAL: Duration = Duration::from_secs(30);

/// What status says of a release that is not known.
const UNKNOWN_VERSION: &str = "unknown";

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
        context.end_turn(&own);
        return Ok(Action::await_change());
    }
    let run = Run { query, context, handle: &handle };
    if query.spec.paused == Some(true) && !query.is_taken_over() {
        context.end_turn(&own);
        context.looked_at(&own);
        return run.finish(&mut state, Progress::Paused, None).await;
    }
    // Before the lists are complete a missing Service means nothing. Their completion wakes us.
    let namespace = own.namespace.as_deref().unwrap_or_default();
    let needs_query_services = query.spec.query_frontend.is_some();
    if !context.indices.are_complete_for(namespace)
        || needs_query_services && !context.indices.query_services_complete_for(namespace)
    {
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
                let reading = self.reading(state);
                Some(snapshot::live(&context.client, query, &names, reading).await?)
            } else {
                None
            };

            // 2. discovery (pure)
            let discovery = match discover(query, &watched) {
                Ok(discovery) => discovery,
                Err(error) => return self.refuse(state, error.to_string()).await,
            };
            let query_services = snapshot::query_services(&context.indices, &names.namespace);
            let has_frontend = query.spec.query_frontend.is_some();
            let query_service = has_frontend.then(|| query_service(query, &query_services));

            // 3. plan (pure)
            let there = There::of(state, live.as_ref());
            let running = match &live {
                Some(live) => self.running(live, &names),
                None => state.applied.as_ref().map(|applied| applied.running.clone()).unwrap_or_default(),
            };
            let known = Known {
                config_map: there.config_map.as_ref(),
                former_config_maps: &there.former_config_maps,
                generation: known_generation(state, query),
                running,
                query_service,
            };
            let plan = match plan::plan(query, &discovery, &known, &context.config, Timestamp::now()) {
                Ok(plan) => plan,
                Err(error) => return self.refuse(state, error.to_string()).await,
            };
            let running = known.running;
            let rest = plan.rest();
            if live.is_none() && state.applied.as_ref().is_none_or(|applied| applied.rest != rest) {
                full = true;
                continue;
            }

            // 4. apply (client)
            let before = live.as_ref().map(|live| Deployments {
                queriers: live.queriers.deployment.clone(),
                frontend: live.frontend.deployment.clone(),
            });
            let is_fast = live.is_none();
            let outcome = match self.apply(state, &plan, live, &there, &seen).await {
                Ok(mut outcome) => {
                    if let (true, Some(applied)) = (is_fast, &state.applied) {
                        // Nobody looked at the pods.
                        outcome.waits = applied.waits.clone();
                    }
                    outcome
                }
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
            self.remember(state, &outcome, rest, running, full.then_some(seen));
            self.tell(state, &discovery, &plan, before.as_ref(), &outcome);

            // 5. status (pure, then one write)
            let wants_service_monitor = plan.wants_service_monitor();
            let mut summary = plan.summary;
            summary.document = outcome.config_map.as_ref().and_then(DocumentId::of);
            if outcome.config_map_written || full {
                let document = summary.document.as_ref().filter(|_| summary.has_agents());
                context.asker.ask(&query_ref(query), handle, &names.querier, document);
            }
            context.metrics.endpoints_of(query, &discovery, &summary.endpoints);
            if full {
                self.take_turns(state, &outcome);
            }
            let deployments = state.deployments.clone();
            let progress = Progress::Done {
                discovery: &discovery,
                summary: &summary,
                deployments: &deployments,
                foreign: &outcome.foreign,
                waits: &outcome.waits,
                refusals: &outcome.refusals,
                lacks_service_monitors: wants_service_monitor
                    && !context.indices.service_monitors.is_installed(),
            };
            return self.finish(state, progress, outcome.again).await;
        }
    }

    fn reading(&self, state: &QueryState) -> Reading {
        Reading {
            frontend: self.query.spec.query_frontend.is_some() || !state.has_no_frontend,
            service_monitors: self.context.indices.service_monitors.is_installed(),
        }
    }

    fn running(&self, live: &Live, names: &Names) -> Running {
        let Self { query, context, .. } = self;
        let autoscaled = |deployment: &str| context.indices.autoscaler_of(&names.namespace, deployment);
        let status = query.status.as_ref();
        let last =
            status.and_then(|status| status.version.as_deref()).filter(|version| *version != UNKNOWN_VERSION);
        let frontend = query.spec.query_frontend.as_ref().map_or(1, |frontend| frontend.replicas);
        Running {
            querier: RunningWorkload::of(
                live.queriers.deployment.as_ref(),
                QUERY_CONTAINER,
                query.spec.replicas,
                &autoscaled(&names.querier),
                last,
            ),
            frontend: RunningWorkload::of(
                live.frontend.deployment.as_ref(),
                FRONTEND_CONTAINER,
                frontend,
                &autoscaled(&names.frontend),
                None,
            ),
        }
    }

    async fn apply(
        &self,
        state: &mut QueryState,
        plan: &Plan,
        live: Option<Live>,
        there: &There,
        asked: &Seen,
    ) -> Result<Outcome, ApplyError> {
        let Self { query, context, .. } = self;
        let now = Instant::now();
        let Some(live) = live else {
            let live =
                LiveConfigMaps { wanted: there.config_map.as_ref(), former: &there.former_config_maps };
            let written = state.config_map_written;
            return apply::apply_config_maps(&context.client, query, &plan.config_maps, live, written, now)
                .await;
        };
        let own = query_ref(query);
        let accepted = query.metadata.annotations.as_ref().and_then(|all| all.get(ACCEPT_DEFAULTS));
        let gate = Gate { mode: context.config.default_rollouts, turns: &context.turns, own: &own, accepted };
        let QueryState { config_map_written, queriers, frontend, .. } = state;
        let pace =
            Pace { config_map_written: *config_map_written, queriers, frontend, asked, gate: &gate, now };
        apply::apply(&context.client, query, plan, live, pace).await
    }

    fn remember(
        &self,
        state: &mut QueryState,
        outcome: &Outcome,
        rest: String,
        running: Running,
        looked: Option<Seen>,
    ) {
        if outcome.config_map_written {
            state.config_map_written = Some(Instant::now());
            if let Some(id) = outcome.config_map.as_ref().and_then(DocumentId::of) {
                tracing::info!(generation = id.generation, "endpoints written");
            }
        }
        if outcome.versions.iter().any(|(kind, _, _)| *kind != "ConfigMap") {
            state.objects_written = Some(Instant::now());
        }
        for (kind, name, version) in &outcome.versions {
            state.written.insert((*kind, name.clone()), version.clone());
            self.context.metrics.wrote(kind);
        }
        let config_map = outcome.config_map.clone().map(without_managed_fields);
        let former_config_maps: Vec<ConfigMap> =
            outcome.former_config_maps.iter().cloned().map(without_managed_fields).collect();
        let is_full = looked.is_some();
        if is_full {
            state.deployments = Deployments {
                queriers: outcome.queriers.as_ref().map(without_template),
                frontend: outcome.frontend.as_ref().map(without_template),
            };
            state.has_no_frontend = self.query.spec.query_frontend.is_none() && outcome.complete;
        }
        match (looked, &mut state.applied) {
            (Some(seen), _) if outcome.complete => {
                state.seen = Some(seen);
                let waits = outcome.waits.clone();
                state.applied = Some(Applied { config_map, former_config_maps, running, waits, rest });
            }
            // Something is left to do: look at everything when it is done.
            (Some(seen), _) => {
                state.seen = Some(seen);
                state.applied = None;
            }
            (None, Some(applied)) => {
                applied.config_map = config_map;
                applied.former_config_maps = former_config_maps;
            }
            (None, None) => {}
        }
    }

    /// Whoever has the turn for the operator's defaults gives it on when his pods have them.
    fn take_turns(&self, state: &QueryState, outcome: &Outcome) {
        let Self { query, context, .. } = self;
        let own = query_ref(query);
        let Deployments { queriers, frontend } = &state.deployments;
        let is_done = [queriers, frontend].into_iter().flatten().all(status::is_rolled_out);
        match is_done && outcome.waits.defaults.is_empty() {
            true => context.end_turn(&own),
            // Found in the middle of a rollout, perhaps one that an earlier process began: the others wait.
            false if !is_done => context.turns.occupy(&own),
            false => {}
        }
        context.looked_at(&own);
    }

    fn tell(
        &self,
        state: &mut QueryState,
        discovery: &Discovery,
        plan: &Plan,
        before: Option<&Deployments>,
        outcome: &Outcome,
    ) {
        let Self { query, context, .. } = self;
        let wrote = |deployment: &Deployment| {
            let (name, version) = (deployment.name_any(), deployment.resource_version());
            outcome.versions.iter().any(|(kind, own, written)| {
                *kind == "Deployment" && *own == name && version.as_ref() == Some(written)
            })
        };
        let workloads = [
            (before.and_then(|before| before.queriers.as_ref()), outcome.queriers.as_ref(), "pods"),
            (before.and_then(|before| before.frontend.as_ref()), outcome.frontend.as_ref(), "frontend pods"),
        ];
        for (before, after, pods) in workloads {
            let Some(after) = after.filter(|after| wrote(after)) else { continue };
            let changes = status::restart_reasons(before, after);
            if changes.is_empty() {
                continue;
            }
            let reason = status::sentence(&changes);
            tracing::info!(%reason, pods, "rollout");
            context.metrics.rolled_out();
            context.events.send(&reference(query), &Happened::Rollout { pods, reason: reason.clone() });
            state.rollout = Some(Rollout { time: Time(Timestamp::now()), reason, changes });
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
        self.context.end_turn(&query_ref(self.query));
        self.context.looked_at(&query_ref(self.query));
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
        let is_done = matches!(progress, Progress::Done { .. });
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
            // A status that somebody else took away is no news: giving it back must not become a race.
            let is_lost = state.status.as_ref().is_some_and(|written| written.status == new);
            let interval = if is_lost { LOST_STATUS_INTERVAL } else { apply::WRITE_INTERVAL };
            let wait = state
                .status_written
                .map_or(Duration::ZERO, |last| (last + interval).saturating_duration_since(Instant::now()));
            if wait.is_zero() {
                let version = status::write(&context.client, query, &old, &new).await?;
                context.metrics.wrote("status");
                if is_done {
                    let news = status::news(&old, &new);
                    news.into_iter().for_each(|happened| context.events.send(&reference(query), &happened));
                }
                state.status_written = Some(Instant::now());
                state.status = Some(WrittenStatus { status: new, version });
                state.rollout = None;
            } else {
                again = Some(again.map_or(wait, |again| again.min(wait)));
            }
        }
        Ok(again.map_or_else(Action::await_change, Action::requeue))
    }

    // The watched object may be older than our last write, or newer than what somebody else made of it.
    fn old_status(&self, state: &QueryState) -> ThanosQueryStatus {
        let watched = self.query.status.clone().unwrap_or_default();
        let number = |version: Option<&String>| version.and_then(|version| version.parse::<u64>().ok());
        match &state.status {
            None => watched,
            Some(written) => match (
                number(self.query.metadata.resource_version.as_ref()),
                number(written.version.as_ref()),
            ) {
                (Some(seen), Some(own)) if seen > own => watched,
                _ => written.status.clone(),
            },
        }
    }
}

/// The ConfigMaps as they were read now, or left by the last write.
#[derive(Default)]
struct There {
    config_map: Option<ConfigMap>,
    former_config_maps: Vec<ConfigMap>,
}

// === impl There ===

impl There {
    fn of(state: &QueryState, live: Option<&Live>) -> Self {
        match (live, &state.applied) {
            (Some(live), _) => Self {
                config_map: live.config_map.clone(),
                former_config_maps: live.former_config_maps.clone(),
            },
            (None, Some(applied)) => Self {
                config_map: applied.config_map.clone(),
                former_config_maps: applied.former_config_maps.clone(),
            },
            (None, None) => Self::default(),
        }
    }
}

// The generation in status outlives the ConfigMap, and with it the order of documents.
fn known_generation(state: &QueryState, query: &ThanosQuery) -> Option<u64> {
    let status = state.status.as_ref().map(|written| &written.status).or(query.status.as_ref())?;
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

// Of no use to us, and larger than the rest.
fn without_managed_fields(mut config_map: ConfigMap) -> ConfigMap {
    config_map.metadata.managed_fields = None;
    config_map
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
