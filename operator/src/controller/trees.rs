//! How a tree of queriers stands: what the API and the agents tell, and since when. Also who is told by whom.

use std::time::Duration;

use crds::{ThanosQuery, names::annotations::SHARD_SET};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use tokio::time::Instant;

use super::{Run, memory::config_maps};
use crate::{
    plan::{Delivery, DocumentId, Over, Pods, Running, ShardSet, Standing, meta_of, root_of},
    query_state::{Applied, Deployments, QueryState, TreeMemory},
    rollout::is_rolled_out,
    snapshot::Live,
    watch::query_ref,
};

/// How long the kubelet may take until a changed ConfigMap is in every pod.
const KUBELET: Duration = Duration::from_secs(180);

/// How long a pod that cannot be asked may take until it has a document: by the kubelet, if nothing else helps.
const SILENT: Duration = Duration::from_secs(600);

// === impl Run ===

impl Run<'_> {
    /// How the tree of this ThanosQuery stands; none when it is no tree, and was none.
    pub(super) fn standing(
        &self,
        memory: &mut TreeMemory,
        deployments: &Deployments,
        (live, applied): (Option<&Live>, Option<&Applied>),
        running: &Running,
    ) -> Option<Standing> {
        let there = config_maps(applied, live);
        let shards = match (live, applied) {
            (Some(live), _) => &live.shards[..],
            (None, Some(applied)) => &applied.shards,
            (None, None) => &[],
        };
        // Under a new name it is what it was under the old one.
        let config_map = there.wanted.or_else(|| newest(there.former));
        let set = config_map.and_then(|own| own.metadata.annotations.as_ref()?.get(SHARD_SET));
        let is_tree = self.query.spec.distributed.is_some()
            || running.querier.is_distributed
            || set.is_some()
            || !shards.is_empty();
        if !is_tree {
            return None;
        }
        let document = config_map.map(|_| {
            let set: Option<ShardSet> = set.and_then(|set| set.parse().ok());
            set.map_or(Over::Stores, Over::Shards)
        });
        let deployment = match live {
            Some(live) => live.queriers.deployment.as_ref(),
            None => deployments.queriers.as_ref(),
        };
        let now = Instant::now();
        let is_new = deployment.is_some_and(is_rolled_out);
        let has_document = self.has_document(config_map, deployment).filter(|_| is_new);
        let is_local = is_new && !running.querier.is_distributed;
        memory.rolled_out = is_new.then(|| memory.rolled_out.unwrap_or(now));
        memory.local = is_local.then(|| memory.local.unwrap_or(now));
        memory.document = has_document.map(|id| match memory.document.take() {
            Some((before, since)) if before == id => (id, since),
            _ => (id, now),
        });
        let pods = deployment.map(|_| Pods {
            is_distributed: running.querier.is_distributed,
            is_rolled_out: is_new,
            local_for: memory.local.map(|since| now - since),
            image: running.querier.image.clone(),
        });
        let document_for = match Delivery::of(self.query) {
            // There is no document; the flags come with the pods.
            Delivery::Flags => memory.rolled_out.map(|since| now - since),
            Delivery::Agent { .. } | Delivery::Kubelet => {
                memory.document.as_ref().map(|(_, since)| now - *since)
            }
        };
        Some(Standing { document, document_for, pods, shards: shards.to_vec() })
    }

    /// The document, if every pod has it.
    fn has_document(
        &self,
        config_map: Option<&ConfigMap>,
        deployment: Option<&Deployment>,
    ) -> Option<DocumentId> {
        let config_map = config_map?;
        let (id, meta) = (DocumentId::of(config_map)?, meta_of(config_map)?);
        let is_older_than = |age: Duration| {
            let written = self.context.clock.now().duration_since(meta.written_at);
            Duration::try_from(written).is_ok_and(|passed| passed >= age)
        };
        let is_there = match Delivery::of(self.query) {
            Delivery::Flags => false,
            Delivery::Kubelet => is_older_than(KUBELET),
            Delivery::Agent { .. } => {
                let wanted = deployment?.spec.as_ref()?.replicas.unwrap_or(1);
                let tally = self.handle.agents.lock().tally(&id);
                let is_nobody = wanted == 0 && tally.pods == 0;
                let have =
                    tally.pods > 0 && tally.behind == 0 && (tally.silent == 0 || is_older_than(SILENT));
                is_nobody || have
            }
        };
        is_there.then_some(id)
    }

    /// The shards that have to be read, those that have to be there by name; none when there cannot be any.
    pub(super) fn shards_to_read(&self, state: &QueryState) -> Option<Vec<String>> {
        let name = self.query.metadata.name.as_deref().unwrap_or_default();
        let wanted = self.query.spec.distributed.as_ref().map(|own| ShardSet::of(own).names(name));
        let may_be_there =
            || state.has_shards || !self.context.wakes.shards_of(&query_ref(self.query)).is_empty();
        wanted.or_else(|| may_be_there().then(Vec::new))
    }

    /// Shards of a ThanosQuery that is paused are, too; so they have to look when that changes.
    pub(super) fn tell_shards(&self, state: &mut QueryState, is_paused: bool) {
        if std::mem::replace(&mut state.was_paused, is_paused) != is_paused {
            let wakes = &self.context.wakes;
            wakes.shards_of(&query_ref(self.query)).iter().for_each(|shard| self.context.look().at(shard));
        }
    }
}

// === impl Context ===

impl super::Context {
    /// The ThanosQuery that `query` is a shard of.
    pub(super) fn root(&self, query: &ThanosQuery) -> Option<std::sync::Arc<ThanosQuery>> {
        let root = root_of(query)?;
        self.wakes.get(query.metadata.namespace.as_deref()?, root)
    }
}

fn newest(config_maps: &[ConfigMap]) -> Option<&ConfigMap> {
    config_maps.iter().max_by_key(|own| meta_of(own).map_or(0, |meta| meta.generation))
}
