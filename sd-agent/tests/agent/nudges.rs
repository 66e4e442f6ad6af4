//! The events that a Thanos below 0.38 needs to show a change at once.

use std::{
    ffi::OsStr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use notify::{EventKind, RecursiveMode, Watcher};
use sd_agent::publish::nudge::NUDGE_FILE;

use crate::{
    fake_api::FakeApi,
    support::{Pod, eventually, payload},
    writer::names,
};

/// Counts the nudges that a watcher of `folder` sees, as long as the first value lives.
fn count(folder: &Path) -> (impl Watcher, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let is_nudge = event.paths.iter().any(|path| path.file_name() == Some(OsStr::new(NUDGE_FILE)));
        if is_nudge && matches!(event.kind, EventKind::Create(_)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    })
    .expect("inotify");
    watcher.watch(folder, RecursiveMode::NonRecursive).expect("watched");
    (watcher, seen)
}

#[tokio::test]
async fn a_change_is_followed_by_two_events_for_thanos_0_37_and_by_none_for_0_42() {
    let (api, old, new) = (FakeApi::start().await, Pod::new(), Pod::new());
    api.put(&payload(1));
    let (old_sd, new_sd) = (old.root().join("sd"), new.root().join("sd"));
    let ((_old_watch, for_old), (_new_watch, for_new)) = (count(&old_sd), count(&new_sd));
    let polling = new.start_for(&api, "v0.42.4", &[]).await;
    let waiting = old.start_for(&api, "v0.37.2", &[]).await;
    for change in 1..=3 {
        polling.applied(change).await;
        waiting.applied(change).await;
        let expected = change as usize * 2;
        eventually("both came", async || (for_old.load(Ordering::Relaxed) >= expected).then_some(())).await;
        assert_eq!(for_old.load(Ordering::Relaxed), expected);
        api.put(&payload(change + 1));
    }
    polling.applied(4).await;
    assert_eq!(for_new.load(Ordering::Relaxed), 0);
    waiting.stop().await;
    polling.stop().await;
    assert!(names(&new_sd).iter().all(|name| name != NUDGE_FILE));
}
