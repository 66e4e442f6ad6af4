//! One watch that keeps an index: what the API says goes in, what changed comes out.

use std::{fmt::Debug, sync::Arc};

use futures::{StreamExt, pin_mut};
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;

use super::{Change, Complaints, Index, Row, Scope, WatchBackoff, failure::is_forbidden};

/// What a feed tells.
pub enum Told<R> {
    /// Rows came, went or changed.
    Changes(Vec<Change<R>>),
    /// A list is complete: what is missing now is not there. Told also when nothing changed.
    Listed {
        /// Rows that came, went or changed since the last list.
        changes: Vec<Change<R>>,
        /// Whether it is the first one of its scope.
        first: bool,
    },
    /// The watch does not work; it is tried again.
    Failed,
    /// What was never listed may not be listed: nobody should wait for it. Told once; it is tried again.
    Refused,
}

/// Keeps `index` in step with `api` for ever.
pub async fn feed<K, R>(
    api: Api<K>,
    config: watcher::Config,
    scope: Scope,
    index: Arc<RwLock<Index<R>>>,
    tell: impl Fn(Told<R>),
) where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Row + From<K>,
{
    let mut listed: Vec<R> = Vec::new();
    let mut complaints = Complaints::default();
    let events = watcher(api, config).backoff(WatchBackoff::default());
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => listed.push(object.into()),
            Ok(watcher::Event::InitDone) => {
                complaints.forget();
                let rows = std::mem::take(&mut listed);
                let mut index = index.write();
                let first = !index.has_list_of(&scope);
                let changes = index.replace(&scope, rows);
                drop(index);
                tell(Told::Listed { changes, first });
            }
            Ok(watcher::Event::Apply(object)) => {
                let change = index.write().apply(object.into());
                tell(Told::Changes(change.into_iter().collect()));
            }
            Ok(watcher::Event::Delete(object)) => {
                let row = R::from(object);
                let change = index.write().delete(row.namespace(), row.name());
                tell(Told::Changes(change.into_iter().collect()));
            }
            // The rows stand as they are; the watch is started again with back-off.
            Err(error) => {
                complaints.tell(std::any::type_name::<R>(), &scope, &error);
                let is_refused = is_forbidden(&error) && index.write().refuse(&scope);
                tell(if is_refused { Told::Refused } else { Told::Failed });
            }
        }
    }
}
