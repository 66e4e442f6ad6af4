//! What a watch can do wrong: not begin, lose events, tell odd ones, tell none, tell too many.

use std::{
    collections::VecDeque,
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use rustix::io::Errno;
use sd_agent::{
    mount::watch::{Events, Inotify, ReadFlags, WatchFolder},
    timing::Timing,
};
use tokio::{
    sync::mpsc,
    time::{Interval, interval},
};

use super::MOUNT_ONLY;
use crate::support::{Pod, eventually, keys, payload, quick};

/// No poll comes while a test runs.
fn by_event_alone() -> Timing {
    Timing { tick: Duration::from_secs(3600), ..quick() }
}

/// Tells what the test says, and nothing else.
#[derive(Debug, Default)]
struct Scripted {
    events: Mutex<Option<mpsc::UnboundedSender<ReadFlags>>>,
    /// With what the next watches are refused.
    refusals: Mutex<VecDeque<Errno>>,
    refused: AtomicUsize,
}

#[derive(Debug)]
struct ScriptedEvents(mpsc::UnboundedReceiver<ReadFlags>);

/// Tells of something every millisecond, and never falls behind.
#[derive(Debug)]
struct Steady;

#[derive(Debug)]
struct SteadyEvents(Interval);

/// Inotify of which only some events arrive.
#[derive(Debug)]
struct Only(ReadFlags);

#[derive(Debug)]
struct OnlyEvents(ReadFlags, Box<dyn Events>);

// === impl Scripted ===

impl Scripted {
    fn tell(&self, flags: ReadFlags) {
        let events = self.events.lock().expect("not poisoned");
        events.as_ref().expect("a watch was made").send(flags).expect("it is on");
    }
}

impl WatchFolder for Scripted {
    fn watch(&self, _: &Path) -> io::Result<Box<dyn Events>> {
        if let Some(errno) = self.refusals.lock().expect("not poisoned").pop_front() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(errno.into());
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.events.lock().expect("not poisoned") = Some(sender);
        Ok(Box::new(ScriptedEvents(receiver)))
    }
}

impl Events for ScriptedEvents {
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<ReadFlags>> {
        self.0.poll_recv(context).map(|flags| flags.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }
}

// === impl Steady ===

impl WatchFolder for Steady {
    fn watch(&self, _: &Path) -> io::Result<Box<dyn Events>> {
        Ok(Box::new(SteadyEvents(interval(Duration::from_millis(1)))))
    }
}

impl Events for SteadyEvents {
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<ReadFlags>> {
        self.0.poll_tick(context).map(|_| Ok(ReadFlags::ATTRIB))
    }
}

// === impl Only ===

impl WatchFolder for Only {
    fn watch(&self, folder: &Path) -> io::Result<Box<dyn Events>> {
        Ok(Box::new(OnlyEvents(self.0, Inotify.watch(folder)?)))
    }
}

impl Events for OnlyEvents {
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<ReadFlags>> {
        loop {
            match self.1.poll_events(context) {
                Poll::Ready(Ok(flags)) if !flags.intersects(self.0) => {}
                other => return other,
            }
        }
    }
}

/// As kubelet never does it: the link does not move, so that only who reads everything again sees it.
fn write_in_place(pod: &Pod, generation: u64) {
    for (key, bytes) in keys(&payload(generation)) {
        fs::write(pod.mount.folder.join("..data").join(key), bytes).expect("written");
    }
}

/// Case 4, by the seam: as on a node whose limits are used up, and then raised.
#[tokio::test]
async fn without_a_watch_the_mount_is_polled_and_the_watch_is_tried_again() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let watching = Arc::new(Scripted::default());
    watching.refusals.lock().expect("not poisoned").extend([Errno::MFILE, Errno::NOSPC]);
    let agent = pod.start_watching(None, MOUNT_ONLY, quick(), watching.clone()).await;
    agent.counted("inotify_degraded", 1).await;
    for generation in 1..=3 {
        pod.mount.show(&payload(generation));
        agent.applied(generation).await;
    }
    // 15 polls apart.
    agent.counted("inotify_degraded", 0).await;
    assert_eq!(watching.refused.load(Ordering::Relaxed), 2);
    pod.mount.show(&payload(4));
    agent.applied(4).await;
    agent.stop().await;
}

/// Case 5: even what did not move is read again, for nobody knows what was missed.
#[tokio::test]
async fn an_overflow_of_the_queue_is_a_reason_to_read_everything_again() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let watching = Arc::new(Scripted::default());
    let agent = pod.start_watching(None, MOUNT_ONLY, by_event_alone(), watching.clone()).await;
    agent.applied(1).await;
    pod.mount.show(&payload(2));
    watching.tell(ReadFlags::QUEUE_OVERFLOW);
    agent.applied(2).await;
    write_in_place(&pod, 3);
    watching.tell(ReadFlags::QUEUE_OVERFLOW);
    agent.applied(3).await;
    agent.stop().await;
}

/// Case 5: a real queue that overflows, because the agent does not read it while the test holds its one thread.
#[tokio::test]
async fn a_real_overflow_leads_to_a_read_of_everything_and_does_not_end_the_watch() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").expect("Linux");
    let limit: usize = limit.trim().parse().expect("a number");
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_with(None, MOUNT_ONLY, by_event_alone(), true).await;
    agent.applied(1).await;
    // Two names in turn, because the same event twice in a row counts once.
    let names = ["..a", "..b"].map(|name| pod.mount.folder.join(name));
    names.iter().for_each(|name| fs::write(name, "x").expect("written"));
    for round in 0..limit + 10 {
        let touched = fs::File::options().write(true).open(&names[round % 2]).expect("there");
        touched.set_modified(std::time::UNIX_EPOCH).expect("ours");
    }
    write_in_place(&pod, 2);
    agent.applied(2).await;
    pod.mount.show(&payload(3));
    agent.applied(3).await;
    agent.stop().await;
}

/// Case 6: as seen where a runtime makes up the events.
#[tokio::test]
async fn a_swap_that_is_seen_as_a_change_of_attributes_or_as_a_write_is_applied() {
    for odd in [ReadFlags::ATTRIB, ReadFlags::CLOSE_WRITE, ReadFlags::MODIFY, ReadFlags::CREATE] {
        let mut pod = Pod::new();
        pod.mount.show(&payload(1));
        let watching = Arc::new(Scripted::default());
        let agent = pod.start_watching(None, MOUNT_ONLY, by_event_alone(), watching.clone()).await;
        agent.applied(1).await;
        pod.mount.show(&payload(2));
        watching.tell(odd);
        agent.applied(2).await;
        agent.stop().await;
    }
}

/// Case 6: attributes change all the time, and of the swap itself nothing is told.
#[tokio::test]
async fn a_swap_of_which_only_odd_events_arrive_is_applied_by_the_poll() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_watching(None, MOUNT_ONLY, quick(), Arc::new(Only(ReadFlags::ATTRIB))).await;
    for generation in 1..=4 {
        pod.mount.show(&payload(generation));
        agent.applied(generation).await;
    }
    agent.counted("inotify_degraded", 0).await;
    agent.stop().await;
}

/// Case 6: as in gVisor, where inotify works and tells nothing.
#[tokio::test]
async fn a_watch_that_tells_nothing_at_all_is_made_up_for_by_the_poll() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_watching(None, MOUNT_ONLY, quick(), Arc::new(Scripted::default())).await;
    for generation in 1..=4 {
        pod.mount.show(&payload(generation));
        agent.applied(generation).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_steady_stream_of_events_does_not_delay_the_read_for_ever() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let agent = pod.start_watching(None, MOUNT_ONLY, by_event_alone(), Arc::new(Steady)).await;
    for generation in 1..=3 {
        pod.mount.show(&payload(generation));
        agent.applied(generation).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_watch_that_breaks_is_made_again() {
    let mut pod = Pod::new();
    pod.mount.show(&payload(1));
    let watching = Arc::new(Scripted::default());
    let agent = pod.start_watching(None, MOUNT_ONLY, quick(), watching.clone()).await;
    agent.applied(1).await;
    // Its sender is dropped, so that it ends with an error.
    let first = watching.events.lock().expect("not poisoned").take();
    drop(first);
    agent.counted("inotify_degraded", 1).await;
    pod.mount.show(&payload(2));
    agent.applied(2).await;
    eventually("it is made again", async || {
        watching.events.lock().expect("not poisoned").is_some().then_some(())
    })
    .await;
    agent.counted("inotify_degraded", 0).await;
    agent.stop().await;
}
