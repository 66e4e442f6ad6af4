//! What the operator remembers of each ThanosQuery between two reconciles. All of it may be lost: a restart then
//! looks at everything once and writes nothing that is there already.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crds::{ThanosQuery, ThanosQueryStatus, thanos_query_status::Rollout};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    apply::{DeploymentMemory, Waits},
    discovery::Rejected,
    plan::{DocumentId, Remembered, Running},
    seen::Seen,
    status::AgentAnswers,
    watch::{QueryRef, Scope},
};

// More changes than this are not told apart.
const LONGEST_LIST: usize = 100;

/// All ThanosQuery objects that were seen.
#[derive(Default)]
pub struct QueryStates {
    handles: Mutex<HashMap<QueryRef, Arc<QueryHandle>>>,
}

/// One ThanosQuery: what watches note down, and what its reconcile owns.
#[derive(Default)]
pub struct QueryHandle {
    /// Noted by watches at any time.
    pub noted: Mutex<Noted>,
    /// What its pods answered.
    pub agents: Mutex<AgentAnswers>,
    /// Wakes the task that asks its pods.
    pub ask: tokio::sync::Notify,
    /// Owned by the reconcile that runs.
    pub state: tokio::sync::Mutex<QueryState>,
}

/// What watches note down.
#[derive(Default)]
pub struct Noted {
    /// Versions of owned objects that were seen; none for a deletion.
    pub touched: Vec<Option<String>>,
    /// A watch had a gap, or more than endpoints may have changed: everything has to be looked at.
    pub gap: bool,
    /// A task asks this object's pods.
    pub asking: bool,
    /// It was looked at once since the operator started.
    pub looked_at: bool,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure that an Event told.
    pub last_failure: Option<String>,
}

/// What one reconcile leaves for the next.
#[derive(Default)]
pub struct QueryState {
    /// UID of the object this is about; another one of the same name starts anew.
    pub uid: Option<String>,
    /// Generation, labels and annotations as of the last full look.
    pub seen: Option<Seen>,
    /// Versions that our own writes made, by kind and name: their events are no news.
    pub written: BTreeMap<(&'static str, String), String>,
    /// What is there, as of the last write or full look.
    pub applied: Option<Applied>,
    /// What the last plan left for the next; before the first one, what the ConfigMap tells.
    pub remembered: Option<Arc<Remembered>>,
    /// The Deployments as of the last full look, without their templates: for a status that is written later.
    pub deployments: Deployments,
    /// When the ConfigMap was written last.
    pub config_map_written: Option<Instant>,
    /// When the status was written last.
    pub status_written: Option<Instant>,
    /// When another object than these two was written last.
    pub objects_written: Option<Instant>,
    /// The status that was written last; the watched object may be older.
    pub status: Option<WrittenStatus>,
    /// What is remembered of the queriers' Deployment.
    pub queriers: DeploymentMemory,
    /// What is remembered of the frontend's.
    pub frontend: DeploymentMemory,
    /// Whether it is known that there is nothing of a frontend left.
    pub has_no_frontend: bool,
    /// How long the pods of a tree have been as they are.
    pub tree: TreeMemory,
    /// When its shards were read last: each tells whatever happens to it, and all together much.
    pub shards_read: Option<Instant>,
    /// Whether there may be shards.
    pub has_shards: bool,
    /// Whether it was paused when its shards were told.
    pub was_paused: bool,
    /// A rollout that status does not tell yet.
    pub rollout: Option<Rollout>,
    /// What of the spec cannot be done and was told by an Event.
    pub refused: Option<String>,
    /// ThanosQuery objects with which it would query in a circle, as `namespace/name`.
    pub loops: BTreeSet<String>,
    /// Services for which an Event was sent.
    pub told: Option<BTreeSet<Rejected>>,
}

/// Since when the pods of a tree have been as they are. When it is lost, it is waited for once more.
#[derive(Clone, Debug, Default)]
pub struct TreeMemory {
    /// Every pod has this document.
    pub document: Option<(DocumentId, Instant)>,
    /// Every pod is new, and none sends parts of queries.
    pub local: Option<Instant>,
    /// Every pod is new.
    pub rolled_out: Option<Instant>,
}

/// The Deployments of both workloads.
#[derive(Clone, Debug, Default)]
pub struct Deployments {
    /// Of the queriers.
    pub queriers: Option<Deployment>,
    /// Of the frontend.
    pub frontend: Option<Deployment>,
}

/// A status as it was written.
#[derive(Clone, Debug)]
pub struct WrittenStatus {
    /// The status.
    pub status: ThanosQueryStatus,
    /// Version of the ThanosQuery that the write made.
    pub version: Option<String>,
}

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The ConfigMap as the API returned it.
    pub config_map: Option<ConfigMap>,
    /// Those of earlier names.
    pub former_config_maps: Vec<ConfigMap>,
    /// What runs.
    pub running: Running,
    /// The shards of a tree.
    pub shards: Vec<ThanosQuery>,
    /// What its pods wait for, although everything else is there.
    pub waits: Waits,
    /// When everything has to be looked at again for what they wait for.
    pub look_again: Option<Instant>,
    /// Hash of everything else that is wanted and there.
    pub rest: String,
}

// === impl QueryStates ===

impl QueryStates {
    /// The handle of `query`, made when it is new.
    pub fn handle(&self, query: &QueryRef) -> Arc<QueryHandle> {
        Arc::clone(self.handles.lock().entry(query.clone()).or_default())
    }

    /// Forgets `query`: it was deleted.
    pub fn forget(&self, query: &QueryRef) {
        self.handles.lock().remove(query);
    }

    /// Everything in `scope` has to look at everything.
    pub fn note_gap(&self, scope: &Scope) {
        for (query, handle) in self.handles.lock().iter() {
            if scope.includes(query.namespace.as_deref().unwrap_or_default()) {
                handle.noted.lock().gap = true;
            }
        }
    }

    /// Whether `query` was looked at since the operator started.
    pub fn was_looked_at(&self, query: &QueryRef) -> bool {
        self.handles.lock().get(query).is_some_and(|handle| handle.noted.lock().looked_at)
    }

    /// Whether `query` is known, that is not deleted.
    pub fn knows(&self, query: &QueryRef) -> bool {
        self.handles.lock().contains_key(query)
    }

    /// Whether `handle` is that of `query`: one that was deleted and made again has another.
    pub fn is_current(&self, query: &QueryRef, handle: &Arc<QueryHandle>) -> bool {
        self.handles.lock().get(query).is_some_and(|own| Arc::ptr_eq(own, handle))
    }
}

// === impl Noted ===

impl Noted {
    /// An owned object changed into `version`. While nobody looks (a paused object), this does not grow for ever.
    pub fn touch(&mut self, version: Option<String>) {
        if self.touched.len() < LONGEST_LIST {
            self.touched.push(version);
        } else {
            self.gap = true;
        }
    }
}

// === impl QueryState ===

impl QueryState {
    /// Whether everything has to be looked at, because something else than endpoints may have changed.
    pub fn needs_a_full_look(&mut self, noted: &Mutex<Noted>, seen: &Seen, now: Instant) -> bool {
        let mut noted = noted.lock();
        let gap = std::mem::take(&mut noted.gap);
        let touched = std::mem::take(&mut noted.touched);
        drop(noted);
        let by_others = touched.iter().any(|version| {
            version.as_ref().is_none_or(|version| !self.written.values().any(|own| own == version))
        });
        let is_due =
            self.applied.as_ref().is_none_or(|applied| applied.look_again.is_some_and(|at| at <= now));
        gap || by_others || is_due || self.seen.as_ref() != Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_nobody_looks_at_do_not_pile_up() {
        let noted = Mutex::new(Noted::default());
        let mut state = QueryState {
            written: [(("Role", "r".to_owned()), "1".to_owned())].into(),
            ..QueryState::default()
        };
        state.applied = Some(Applied::default());
        let seen = Seen { generation: None, labels: None, annotations: None };
        state.seen = Some(seen.clone());
        let now = Instant::now();
        (0..1000).for_each(|_| noted.lock().touch(Some("1".to_owned())));
        assert!(noted.lock().touched.len() <= LONGEST_LIST);
        assert!(state.needs_a_full_look(&noted, &seen, now), "what is not told apart may be of others");
        noted.lock().touch(Some("1".to_owned()));
        assert!(!state.needs_a_full_look(&noted, &seen, now));
        noted.lock().touch(Some("2".to_owned()));
        assert!(state.needs_a_full_look(&noted, &seen, now));
    }

    #[test]
    fn what_waits_for_a_time_is_looked_at_when_it_has_come() {
        let now = Instant::now();
        let later = now + std::time::Duration::from_secs(60);
        let seen = Seen { generation: None, labels: None, annotations: None };
        let mut state = QueryState {
            applied: Some(Applied { look_again: Some(later), ..Applied::default() }),
            seen: Some(seen.clone()),
            ..QueryState::default()
        };
        assert!(!state.needs_a_full_look(&Mutex::default(), &seen, now));
        assert!(state.needs_a_full_look(&Mutex::default(), &seen, later));
    }
}
