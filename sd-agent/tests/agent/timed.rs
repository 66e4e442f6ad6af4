//! An agent under a stopped clock, with the documented spans: time passes only while everyone waits, so ten minutes
//! take a moment and what happens when is exact. No sockets, and the mount is polled.

use std::{sync::Arc, time::Duration};

use sd_agent::{
    Report,
    agent::{Parts, new_board, work},
    api::Connect,
    board::Board,
    dns::Resolver,
    timing::Timing,
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    scripted_api::ScriptedApi,
    support::{NoWatch, Pod, payload, run_args},
};

/// How exactly moments are told.
const STEP: Duration = Duration::from_millis(50);

/// At once, as far as it matters.
pub const SOON: Duration = Duration::from_millis(200);

pub fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// An agent that has applied `generation` from an API that is well.
pub async fn started(generation: u64) -> (ScriptedApi, Pod, Timed) {
    let (api, pod) = (ScriptedApi::start(), Pod::new());
    api.put(&payload(generation));
    let agent = Timed::start(&pod, &api, &[]);
    agent.applies(generation, seconds(3)).await;
    agent.within(SOON, "the API is up", |report| report.api.up).await;
    (api, pod, agent)
}

/// An agent; it dies with this.
pub struct Timed {
    pub board: Arc<Board>,
    pub reread: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Timed {
    pub fn start(pod: &Pod, api: &ScriptedApi, more: &[&str]) -> Self {
        let args = run_args(pod.arguments(more));
        let (board, reread) = (new_board(&args), Arc::new(Notify::new()));
        let parts = Parts {
            listener: None,
            connect: Connect::Given(api.client()),
            timing: Timing::default(),
            watching: Arc::new(NoWatch),
            reread: Arc::clone(&reread),
            resolver: Resolver::default(),
        };
        let task = tokio::spawn(work(args, parts, Arc::clone(&board)));
        Self { board, reread, task }
    }

    pub fn report(&self) -> Report {
        assert!(!self.task.is_finished(), "the agent ended");
        self.board.report()
    }

    /// The applied generation; 0 before the first.
    pub fn generation(&self) -> u64 {
        self.report().applied.map_or(0, |applied| applied.generation)
    }

    /// The source of the applied generation.
    pub fn source(&self) -> String {
        self.report().applied.map(|applied| applied.source).unwrap_or_default()
    }

    /// Waits until `is`, at most `limit`; says how long it took.
    pub async fn within(&self, limit: Duration, what: &str, is: impl Fn(&Report) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let report = self.report();
            if is(&report) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() <= limit, "not within {limit:?}: {what}; {report:?}");
            sleep(STEP).await;
        }
    }

    pub async fn applies(&self, generation: u64, limit: Duration) -> Duration {
        self.within(limit, &format!("generation {generation} is applied"), |report| {
            report.applied.as_ref().is_some_and(|applied| applied.generation == generation)
        })
        .await
    }

    /// How often the API source failed for `reason`.
    pub fn restarts(&self, reason: &'static str) -> u64 {
        self.board.metrics.watch_restarts.get_or_create(&[("reason", reason)]).get()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.task.abort();
    }
}
