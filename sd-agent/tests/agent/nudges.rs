//! The events that a Thanos below 0.38 needs to show a change at once.

use std::{mem::MaybeUninit, path::Path};

use rustix::{
    fd::OwnedFd,
    fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init},
};
use sd_agent::publish::nudge::NUDGE_FILE;

use crate::{
    fake_api::FakeApi,
    support::{Pod, eventually, payload},
    writer::names,
};

/// Counts the nudges in a folder.
struct Watch {
    inotify: OwnedFd,
    seen: usize,
}

impl Watch {
    fn on(folder: &Path) -> Self {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("inotify");
        add_watch(&inotify, folder, WatchFlags::CREATE).expect("watched");
        Self { inotify, seen: 0 }
    }

    /// Since the beginning.
    fn seen(&mut self) -> usize {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        // Ends when there is nothing more to read.
        while let Ok(event) = reader.next() {
            assert!(!event.events().contains(ReadFlags::QUEUE_OVERFLOW));
            let is_nudge = event.file_name().is_some_and(|name| name.to_bytes() == NUDGE_FILE.as_bytes());
            self.seen += usize::from(is_nudge);
        }
        self.seen
    }
}

#[tokio::test]
async fn a_change_is_followed_by_two_events_for_thanos_0_37_and_by_none_for_0_42() {
    let (api, old, new) = (FakeApi::start().await, Pod::new(), Pod::new());
    api.put(&payload(1));
    let (old_sd, new_sd) = (old.root().join("sd"), new.root().join("sd"));
    let (mut for_old, mut for_new) = (Watch::on(&old_sd), Watch::on(&new_sd));
    let polling = new.start_for(&api, "v0.42.4", &[]).await;
    let waiting = old.start_for(&api, "v0.37.2", &[]).await;
    for change in 1..=3 {
        polling.applied(change).await;
        waiting.applied(change).await;
        let expected = change as usize * 2;
        eventually("both came", async || (for_old.seen() >= expected).then_some(())).await;
        assert_eq!(for_old.seen(), expected);
        api.put(&payload(change + 1));
    }
    polling.applied(4).await;
    assert_eq!(for_new.seen(), 0);
    waiting.stop().await;
    polling.stop().await;
    assert!(names(&new_sd).iter().all(|name| name != NUDGE_FILE));
}
