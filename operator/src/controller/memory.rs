//! What one run leaves for the next, and what it finds of the one before.

use crds::{ThanosQuery, names::conditions::FOREIGN_WRITER};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::ConfigMap,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::time::Instant;

use super::Run;
use crate::{
    apply::{LiveConfigMaps, Outcome},
    plan::{DocumentId, Remembered, Running},
    query_state::{Applied, Deployments, QueryState},
    rollout::{is_rolled_out, is_stuck},
    seen::Seen,
    snapshot::Live,
    watch::query_ref,
};

// === impl Run ===

impl Run<'_> {
    pub(super) fn remember(
        &self,
        state: &mut QueryState,
        outcome: &Outcome,
        rest: String,
        running: Running,
        looked: Option<Seen>,
        shards: Option<Vec<ThanosQuery>>,
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
                let look_again = outcome.look_again;
                let shards = shards.unwrap_or_default();
                let applied =
                    Applied { config_map, former_config_maps, running, shards, waits, look_again, rest };
                state.applied = Some(applied);
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
    pub(super) fn take_turns(&self, state: &QueryState, outcome: &Outcome, is_first: bool) {
        let Self { query, context, .. } = self;
        let own = query_ref(query);
        let Deployments { queriers, frontend } = &state.deployments;
        let all = [queriers, frontend];
        let mut deployments = all.into_iter().flatten();
        if deployments.clone().all(is_rolled_out) {
            if outcome.waits.defaults.is_empty() {
                context.end_turn(&own);
            }
        } else if is_first && !deployments.any(is_stuck) {
            // Found in the middle of a rollout, perhaps one that an earlier process began: the others wait.
            context.turns.occupy(&own);
        }
        context.looked_at(&own);
    }
}

/// The ConfigMaps as they were read now, or left by the last write.
pub(super) fn config_maps<'a>(applied: Option<&'a Applied>, live: Option<&'a Live>) -> LiveConfigMaps<'a> {
    match (live, applied) {
        (Some(live), _) => {
            LiveConfigMaps { wanted: live.config_map.as_ref(), former: &live.former_config_maps }
        }
        (None, Some(applied)) => {
            LiveConfigMaps { wanted: applied.config_map.as_ref(), former: &applied.former_config_maps }
        }
        (None, None) => LiveConfigMaps::default(),
    }
}

/// What the last plan of an earlier process left in a ConfigMap.
pub(super) fn remembered(query: &ThanosQuery, there: LiveConfigMaps<'_>) -> Option<Remembered> {
    let owner = query.metadata.uid.as_deref().unwrap_or_default();
    // The wanted one last: of two that are equally new it counts.
    Remembered::in_newest(there.former.iter().chain(there.wanted), owner).unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "nothing is known of Services that were there before"
        );
        None
    })
}

/// Whether an earlier process left the pods of this very spec to another writer, as status remembers.
pub(super) fn has_given_way(query: &ThanosQuery) -> bool {
    let conditions = query.status.iter().flat_map(|status| &status.conditions);
    let mut told = conditions.filter(|own| own.type_ == FOREIGN_WRITER && own.status == "True");
    told.any(|own| own.observed_generation == query.metadata.generation)
}

// The generation in status outlives the ConfigMap, and with it the order of documents.
pub(super) fn known_generation(state: &QueryState, query: &ThanosQuery) -> Option<u64> {
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
