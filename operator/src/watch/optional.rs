//! A kind that a cluster may lack, and may get or lose while the operator runs.
//!
//! ```text
//!  ask (one task)             OptionalKind              watch_optional (a task per scope)
//!  discovery API, every 30 s ──► Installed ──────────────► watch_owned: all look at everything
//!  asks again            ◄────── Absent ◄──────────────── the watch is told 404
//! ```

use std::{
    fmt::Debug,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use kube::{Api, Client, Resource, core::PartialObjectMeta};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{HEAD_START, HeadStart, Look, OwnedChange, Scope, watch_owned_while_installed};

/// Whether a cluster has a kind. Clones share what is known.
#[derive(Clone, Debug)]
pub struct OptionalKind {
    presence: Arc<watch::Sender<Presence>>,
    head_start: HeadStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Unknown,
    Absent,
    Installed,
}

// Shorter than people wait before they look for what is wrong.
const INTERVAL: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

// === impl OptionalKind ===

impl Default for OptionalKind {
    fn default() -> Self {
        Self { presence: Arc::new(watch::Sender::new(Presence::Unknown)), head_start: HeadStart::default() }
    }
}

impl OptionalKind {
    /// Whether the kind is there. A change of this makes every ThanosQuery look at everything.
    pub fn is_installed(&self) -> bool {
        *self.presence.borrow() == Presence::Installed
    }

    /// Whether a ThanosQuery of `namespace` need not wait any more to hear of the kind.
    pub fn is_settled_for(&self, namespace: &str) -> bool {
        self.head_start.is_over_for(namespace)
    }

    fn set(&self, new: Presence) {
        self.presence.send_if_modified(|presence| std::mem::replace(presence, new) != new);
    }

    async fn until(&self, meant: impl Fn(Presence) -> bool) -> Presence {
        let mut presence = self.presence.subscribe();
        let found = presence.wait_for(|presence| meant(*presence)).await.map(|presence| *presence);
        match found {
            Ok(presence) => presence,
            // Never: the sender lives as long as `self`.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Finds out for ever whether the cluster has `K`.
pub async fn ask<K: Resource<DynamicType = ()>>(client: Client, kind: OptionalKind) {
    let (version, name) = (K::api_version(&()), K::kind(&()));
    loop {
        match timeout(LONGEST_ANSWER, is_there::<K>(&client)).await {
            Ok(Ok(true)) => {
                tracing::info!(kind = %name, %version, "the cluster has this optional kind");
                kind.set(Presence::Installed);
                kind.until(|presence| presence == Presence::Absent).await;
                tracing::info!(kind = %name, %version, "the cluster has this optional kind no more");
            }
            Ok(Ok(false)) => kind.set(Presence::Absent),
            failed => {
                if let Ok(Err(error)) = failed {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(kind = %name, %version, error, "the API does not say what it has");
                }
                // Who waits for the answer does without.
                kind.set(Presence::Absent);
            }
        }
        sleep(with_jitter(INTERVAL)).await;
    }
}

async fn is_there<K: Resource<DynamicType = ()>>(client: &Client) -> kube::Result<bool> {
    match client.list_api_group_resources(&K::api_version(&())).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == K::plural(&()))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

// Up to a fifth more or less, so that many operators do not ask in step.
fn with_jitter(wait: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().hash_one(0_u8) % 401).unwrap_or_default();
    wait * (800 + random) / 1000
}

/// Watches for ever what the operator made of kind `K`, while the cluster has it. When it comes or goes, every
/// ThanosQuery of `scope` looks at everything.
pub async fn watch_optional<K>(api: Api<PartialObjectMeta<K>>, kind: OptionalKind, scope: Scope, look: Look)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let may_begin = || {
        if kind.head_start.end(&scope) {
            look.wakes().all(&scope);
        }
    };
    let follow = async {
        if kind.until(|presence| presence != Presence::Unknown).await == Presence::Absent {
            may_begin();
        }
        loop {
            kind.until(|presence| presence == Presence::Installed).await;
            let looked = AtomicBool::new(false);
            let tell = |change: OwnedChange| match change {
                OwnedChange::One { owner, version } => look.at_owned(&owner, version),
                // A kind that is there and cannot be watched can be asked for all the same.
                OwnedChange::Failed if looked.load(Ordering::Relaxed) => {}
                OwnedChange::Any | OwnedChange::Failed => {
                    looked.store(true, Ordering::Relaxed);
                    kind.head_start.end(&scope);
                    look.at_all(&scope);
                }
            };
            tokio::select! {
                () = watch_owned_while_installed(api.clone(), scope.clone(), tell) => kind.set(Presence::Absent),
                // Another scope was told.
                _ = kind.until(|presence| presence == Presence::Absent) => {}
            }
            kind.head_start.end(&scope);
            look.at_all(&scope);
        }
    };
    let impatient = async {
        sleep(HEAD_START).await;
        may_begin();
    };
    tokio::join!(follow, impatient);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_installed_before_somebody_says_so() {
        let kind = OptionalKind::default();
        assert!(!kind.is_installed() && !kind.is_settled_for("demo"));
        let shared = kind.clone();
        kind.set(Presence::Installed);
        assert!(shared.is_installed());
    }

    #[test]
    fn operators_do_not_ask_in_step() {
        let waits: Vec<Duration> = (0..20).map(|_| with_jitter(INTERVAL)).collect();
        assert!(waits.iter().all(|wait| (24..=36).contains(&wait.as_secs())), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
