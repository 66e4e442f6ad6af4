//! Watches what the operator made, by metadata only: it wakes the owner, it is no source of truth.

use std::fmt::Debug;

use crds::{ThanosQuery, names::labels};
use futures::{StreamExt, pin_mut};
use kube::{
    Api, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt, reflector::ObjectRef, watcher},
};
use serde::de::DeserializeOwned;

use super::{Complaints, QueryRef, Scope, WatchBackoff, failure::is_unknown_kind};

/// Something that was made for a ThanosQuery changed.
pub enum OwnedChange {
    /// This one, into this version; none when it was deleted.
    One {
        /// The owner.
        owner: QueryRef,
        /// The new resourceVersion.
        version: Option<String>,
    },
    /// The watch had a gap: anything may have happened.
    Any,
    /// The watch does not work; it is tried again, and `Any` is told when it is back.
    Failed,
}

/// Tells every change of an owned object of kind `K` for ever.
pub async fn watch_owned<K>(api: Api<PartialObjectMeta<K>>, scope: Scope, tell: impl Fn(OwnedChange))
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    // A 404 for a kind that every cluster has comes from something between us and the API, and goes away.
    watch(api, scope, tell, |_| false).await;
}

/// As [`watch_owned`], until the API does not know the kind.
pub async fn watch_owned_while_installed<K>(
    api: Api<PartialObjectMeta<K>>,
    scope: Scope,
    tell: impl Fn(OwnedChange),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watch(api, scope, tell, is_unknown_kind).await;
}

async fn watch<K>(
    api: Api<PartialObjectMeta<K>>,
    scope: Scope,
    tell: impl Fn(OwnedChange),
    is_end: impl Fn(&watcher::Error) -> bool,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut complaints = Complaints::default();
    let config = watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::OPERATOR));
    let events = watcher(api, config).backoff(WatchBackoff::default());
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let (object, deleted) = match event {
            Ok(watcher::Event::Apply(object)) => (object, false),
            Ok(watcher::Event::Delete(object)) => (object, true),
            Ok(watcher::Event::InitDone) => {
                complaints.forget();
                // The first list, too: who was looked at before it may have lost something since.
                tell(OwnedChange::Any);
                continue;
            }
            Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => continue,
            Err(error) if is_end(&error) => return,
            Err(error) => {
                complaints.tell(&K::kind(&()), &scope, &error);
                tell(OwnedChange::Failed);
                continue;
            }
        };
        if let Some(owner) = owner(&object) {
            tell(OwnedChange::One { owner, version: object.resource_version().filter(|_| !deleted) });
        }
    }
}

// Who lost the reference to its owner still carries the owner's name.
fn owner(object: &impl ResourceExt) -> Option<QueryRef> {
    let references = object.owner_references();
    let controller = references.iter().find(|reference| reference.controller == Some(true));
    let name = match controller {
        Some(owner) => Some(&owner.name).filter(|_| owner.kind == ThanosQuery::kind(&())),
        None => object.labels().get(labels::OWNER),
    };
    Some(ObjectRef::new(name?).within(&object.namespace()?))
}
