//! The five steps in their order.

mod gate;
mod memory;
mod outcome;
mod report;
mod trees;

use std::{collections::BTreeSet, sync::Arc};

use crds::{
    ThanosQuery,
    names::{
        annotations::ACCEPT_DEFAULTS,
        pod::{FRONTEND_CONTAINER, QUERY_CONTAINER},
        reasons::INVALID_FIELD,
    },
};
use kube::{
    Client,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio::time::Instant;

pub use outcome::{Error, reconcile, retry};

use gate::Gate;
use memory::{config_maps, known_generation};

use crate::{
    apply::{self, ApplyError, Outcome, Pace, Reverts, Turns},
    clock::{self, Clock},
    cluster::Cluster,
    cluster_version::ClusterVersion,
    config::Config,
    discovery::{Discovery, Namespaces, discover, query_service},
    events::Events,
    metrics::Metrics,
    plan::{self, DocumentId, Known, Names, Plan, Running, RunningWorkload},
    query_state::{Deployments, QueryHandle, QueryState, QueryStates},
    seen::Seen,
    snapshot::{self, Live, Reading},
    status::{Asker, Progress},
    watch::{Indices, QueryRef, Scope, Wakes, query_ref},
};

/// What every reconcile uses.
pub struct Context {
    /// The API.
    pub client: Client,
    /// Settings.
    pub config: Config,
    /// The namespaces that it works in.
    pub scopes: Vec<Scope>,
    /// The release of the cluster.
    pub cluster: Arc<Cluster>,
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
    /// What time it is.
    pub clock: Clock,
    /// Whose turn it is to get the operator's new defaults.
    pub turns: Turns<QueryRef>,
}

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
    // It is asked for at the start, and its answer wakes us.
    let Some(cluster) = context.cluster.version() else { return Ok(Action::await_change()) };
    let run = Run { query, context, handle: &handle, cluster };
    let is_paused = |query: &ThanosQuery| query.spec.paused == Some(true) && !query.is_taken_over();
    run.tell_shards(&mut state, is_paused(query));
    if is_paused(query) || context.root(query).is_some_and(|root| is_paused(&root)) {
        context.end_turn(&own);
        context.looked_at(&own);
        return run.finish(&mut state, Progress::Paused, None).await;
    }
    // Before the lists are complete a missing Service means nothing. Their completion wakes us.
    let namespace = own.namespace.as_deref().unwrap_or_default();
    let needs_query_services = query.spec.query_frontend.is_some();
    // Whoever has a bad selector is told so further on.
    let is_complete_beyond =
        |namespaces: Namespaces| context.indices.are_complete_beyond(&namespaces, &context.scopes);
    if !context.indices.are_complete_for(namespace)
        || needs_query_services && !context.indices.query_services_complete_for(namespace)
        || !Namespaces::of(query).map_or(true, is_complete_beyond)
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
    cluster: ClusterVersion,
}

// === impl Run ===

impl Run<'_> {
    async fn endpoints_and_objects(&self, state: &mut QueryState) -> Result<Action, Error> {
        let Self { query, context, handle, cluster: _ } = self;
        let seen = Seen::of(query);
        let is_first = state.seen.is_none();
        if is_first && memory::has_given_way(query) {
            state.queriers.reverts = Reverts::stopped(&seen);
            state.frontend.reverts = Reverts::stopped(&seen);
        }
        let mut full = state.needs_a_full_look(&handle.noted, &seen, Instant::now());
        // Somebody who reverts what we write is answered, but not as fast as both can.
        let now = Instant::now();
        let wait = [state.objects_written, state.shards_read]
            .map(|last| apply::left_of(apply::WRITE_INTERVAL, last, now))
            .into_iter()
            .max()
            .unwrap_or_default();
        if full && !wait.is_zero() {
            state.applied = None;
            return Ok(Action::requeue(wait));
        }
        let names = match Names::of(query) {
            Ok(names) => names,
            Err(error) => return self.refuse(state, INVALID_FIELD, error.to_string()).await,
        };
        let namespaces = match Namespaces::of(query) {
            Ok(namespaces) => namespaces,
            Err(error) => return self.refuse(state, INVALID_FIELD, error.to_string()).await,
        };
        let mut conflicts = 0;
        loop {
            // 1. snapshot (client, when more than endpoints may have changed)
            let rights = context.indices.rights(&context.scopes, context.config.needs_consent);
            let mut watched = snapshot::watched(&context.indices, &context.wakes, &namespaces, rights);
            watched.root = context.root(query);
            let live = if full {
                // The marks that led here are spent: whatever fails from now on, the next look is a full one, too.
                state.applied = None;
                let reading = self.reading(state);
                state.shards_read = reading.shards.is_some().then(Instant::now);
                Some(snapshot::live(&context.client, query, &names, &reading).await?)
            } else {
                None
            };

            // 2. discovery (pure)
            let discovery = match discover(query, &watched) {
                Ok(discovery) => discovery,
                Err(error) => return self.refuse(state, INVALID_FIELD, error.to_string()).await,
            };
            self.wake_around(state, &discovery.loops);
            let query_services = snapshot::query_services(&context.indices, &names.namespace);
            let has_frontend = query.spec.query_frontend.is_some();
            let query_service = has_frontend.then(|| query_service(query, &query_services));

            // 3. plan (pure)
            let there = config_maps(state.applied.as_ref(), live.as_ref());
            let running = match &live {
                Some(live) => self.running(live, &names),
                None => state.applied.as_ref().map(|applied| applied.running.clone()).unwrap_or_default(),
            };
            if state.remembered.is_none() {
                state.remembered = memory::remembered(query, there).map(Arc::new);
            }
            let now = context.clock.now();
            let known_now = (live.as_ref(), state.applied.as_ref());
            let standing = self.standing(&mut state.tree, &state.deployments, known_now, &running);
            let tree = standing.map(|own| plan::tree(query, &names, &running, &own, now)).transpose();
            let tree = match tree {
                Ok(tree) => tree.unwrap_or_default(),
                Err(error) => return self.refuse(state, error.reason(), error.to_string()).await,
            };
            // What a root finds are its shards; of the stores they tell.
            let discovery = if tree.is_over_shards() { Discovery::default() } else { discovery };
            let look_again = tree.look_again;
            let known = Known {
                config_map: there.wanted,
                former_config_maps: there.former,
                generation: known_generation(state, query),
                remembered: state.remembered.as_deref(),
                running,
                query_service,
                cluster: self.cluster,
                tree,
            };
            let plan = match plan::plan(query, &discovery, &known, &context.config, now) {
                Ok(plan) => plan,
                Err(error) => return self.refuse(state, error.reason(), error.to_string()).await,
            };
            let running = known.running;
            state.remembered = Some(Arc::clone(&plan.remembered));
            let rest = plan.rest();
            if live.is_none() && state.applied.as_ref().is_none_or(|applied| applied.rest != rest) {
                full = true;
                continue;
            }

            // 4. apply (client)
            state.has_shards = !plan.shards.wanted.is_empty() || !plan.summary.tree.shards.is_empty();
            let shards = live.as_ref().map(|live| live.shards.clone());
            let before = live.as_ref().map(|live| Deployments {
                queriers: live.queriers.deployment.clone(),
                frontend: live.frontend.deployment.clone(),
            });
            let is_fast = live.is_none();
            let outcome = match self.apply(state, &plan, live, &seen).await {
                Ok(mut outcome) => {
                    if let (true, Some(applied)) = (is_fast, &state.applied) {
                        // Nobody looked at the pods.
                        outcome.waits = applied.waits.clone();
                        outcome.look_again = applied.look_again;
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
            self.remember(state, &outcome, rest, running, full.then_some(seen), shards);
            self.tell(state, &discovery, &plan, before.as_ref(), &outcome);

            if outcome.config_map_waits {
                // What people are told must not be lost with this process: a removal that is held has a number.
                let wait = outcome.wait(Instant::now()).unwrap_or(apply::WRITE_INTERVAL);
                return Ok(Action::requeue(wait));
            }

            // 5. status (pure, then one write)
            let wants_service_monitor = plan.wants_service_monitor();
            let mut summary = plan.summary;
            summary.document = outcome.config_map.as_ref().and_then(DocumentId::of);
            if outcome.config_map_written || full {
                let document = summary.document.as_ref().filter(|_| summary.has_agents());
                let endpoints = &summary.endpoints.document;
                let has_tls = endpoints.endpoints().iter().any(|own| own.in_file().tls.is_some());
                let may_change = has_tls || endpoints.looked_up().next().is_some();
                context.asker.ask(&query_ref(query), handle, &names.querier, document, may_change);
            }
            let changed = outcome.config_map.as_ref().and_then(plan::meta_of).map(|meta| meta.written_at);
            context.metrics.endpoints_of(query, &discovery, &summary.endpoints, changed);
            context.metrics.held_of(query, summary.held.as_ref().map_or(0, |held| held.services.len()));
            if full {
                self.take_turns(state, &outcome, is_first);
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
            // That is no reason to look at everything.
            let ends = [summary.held.as_ref().map(|held| held.until), summary.look_again];
            let now = context.clock.now();
            let ends = ends.into_iter().flatten().map(|end| clock::left_until(end, now));
            let again = outcome.wait(Instant::now()).into_iter().chain(ends).chain(look_again).min();
            return self.finish(state, progress, again).await;
        }
    }

    // They see a circle, or its end, only when they look again.
    fn wake_around(&self, state: &mut QueryState, loops: &BTreeSet<String>) {
        for other in state.loops.symmetric_difference(loops) {
            if let Some((namespace, name)) = other.split_once('/') {
                self.context.wakes.one(&ObjectRef::new(name).within(namespace));
            }
        }
        state.loops.clone_from(loops);
    }

    fn reading(&self, state: &QueryState) -> Reading {
        Reading {
            frontend: self.query.spec.query_frontend.is_some() || !state.has_no_frontend,
            service_monitors: self.context.indices.service_monitors.is_installed(),
            shards: self.shards_to_read(state),
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
        asked: &Seen,
    ) -> Result<Outcome, ApplyError> {
        let Self { query, context, .. } = self;
        let now = Instant::now();
        let Some(live) = live else {
            let live = config_maps(state.applied.as_ref(), None);
            let written = state.config_map_written;
            return apply::apply_config_maps(&context.client, query, &plan.config_maps, live, written, now)
                .await;
        };
        let own = query_ref(query);
        let accepted = query.metadata.annotations.as_ref().and_then(|all| all.get(ACCEPT_DEFAULTS));
        let gate = Gate { mode: context.config.default_rollouts, turns: &context.turns, own: &own, accepted };
        let QueryState { config_map_written, queriers, frontend, .. } = state;
        let (config_map_written, clock) = (*config_map_written, context.clock.now());
        let pace = Pace { config_map_written, queriers, frontend, asked, gate: &gate, now, clock };
        apply::apply(&context.client, query, plan, live, pace).await
    }
}
