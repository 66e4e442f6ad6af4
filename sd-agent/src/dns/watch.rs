//! The task: looks at Thanos' counters from time to time, looks names up when they grew, and tells what fails.
//!
//! Nothing here can end the agent or hold it up: every step has a limit, and what fails is tried again at the next look.

use std::{sync::Arc, time::Duration};

use http::Uri;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    Resolver, thanos,
    verdict::{Due, Verdict},
};
use crate::{
    Address,
    board::Board,
    log::{Grumble, chain},
    report::DnsFailing,
    timing::Timing,
};

/// Look-ups at the same time.
const AT_ONCE: usize = 8;

/// Looks in a row that fail before it is said: Thanos starts after the agent.
const PATIENCE: u32 = 6;

/// Watches the look-ups of one Thanos.
#[derive(Debug)]
pub struct DnsWatch {
    /// Where Thanos tells its counters.
    pub url: Uri,
    /// What it looks up, sorted.
    pub names: watch::Receiver<Arc<[Address]>>,
    /// Where names are looked up.
    pub resolver: Resolver,
    /// The spans.
    pub timing: Timing,
    /// Where it is told.
    pub board: Arc<Board>,
}

// === impl DnsWatch ===

impl DnsWatch {
    /// Runs for ever.
    pub async fn run(mut self) {
        let mut tick = interval(self.timing.dns_tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (start, mut verdict) = (Instant::now(), Verdict::new(self.timing.dns_spans));
        let (mut told, mut unread) = (Vec::new(), Unread::default());
        self.board.metrics.dns_failing.set(0);
        loop {
            let names = Arc::clone(&self.names.borrow_and_update());
            verdict.names(&names);
            tell(&self.board, &mut told, verdict.report(start.elapsed()));
            tokio::select! {
                _ = tick.tick(), if !names.is_empty() => {}
                changed = self.names.changed() => {
                    if changed.is_err() {
                        // The keeper is gone, and so is the agent in a moment.
                        std::future::pending::<()>().await;
                    }
                    continue;
                }
            }
            let due = match thanos::read(&self.url).await {
                Ok(counts) => {
                    unread.ended();
                    verdict.counted(counts, start.elapsed())
                }
                Err(error) => {
                    unread.again(&self.url, &chain(&error));
                    verdict.not_counted()
                }
            };
            let ordered = verdict.order(&due, &names);
            if due == Due::Nothing || ordered.is_empty() {
                continue;
            }
            let looked_up = failing_of(&self.resolver, ordered, self.timing.dns_round);
            tokio::select! {
                failed = looked_up => verdict.looked_up(&due, failed, start.elapsed()),
                // Other names: these may be of no interest any more.
                _ = self.names.changed() => {}
            }
        }
    }
}

/// The names that cannot be looked up, and why; what is not known within `limit` is left out.
async fn failing_of(resolver: &Resolver, names: Vec<Address>, limit: Duration) -> Vec<(Address, String)> {
    let (mut names, mut running, mut failed) = (names.into_iter(), JoinSet::new(), Vec::new());
    let all = async {
        loop {
            while running.len() < AT_ONCE
                && let Some(name) = names.next()
            {
                let resolver = resolver.clone();
                running.spawn(async move {
                    let failure = resolver.look_up(&name).await.err()?;
                    Some((name, chain(&failure)))
                });
            }
            match running.join_next().await {
                None => break,
                Some(Ok(Some(one))) => failed.push(one),
                Some(_) => {}
            }
            if Verdict::is_enough(failed.len()) {
                break;
            }
        }
    };
    // Late is no verdict, but what was found counts.
    let _ = timeout(limit, all).await;
    failed
}

fn tell(board: &Board, told: &mut Vec<DnsFailing>, now: Vec<DnsFailing>) {
    if *told == now {
        return;
    }
    for DnsFailing { address, error } in now.iter().filter(|failing| !told.contains(failing)) {
        let address = address.as_deref().unwrap_or("unknown");
        tracing::warn!(address, error, "look-ups fail; until they succeed Thanos may keep what was removed");
    }
    if now.is_empty() {
        tracing::info!("look-ups succeed again");
    }
    let count = i64::try_from(now.len()).unwrap_or(i64::MAX);
    board.metrics.dns_failing.set(count);
    board.update(|report| report.dns_failing.clone_from(&now));
    *told = now;
}

/// Says once that Thanos' counters cannot be read.
#[derive(Debug, Default)]
struct Unread {
    looks: u32,
    grumble: Grumble,
}

// === impl Unread ===

impl Unread {
    fn again(&mut self, url: &Uri, why: &str) {
        self.looks = self.looks.saturating_add(1);
        if self.looks >= PATIENCE && self.grumble.is_news(why) {
            tracing::warn!(%url, why, "cannot read Thanos' metrics: DNS names that fail are not told");
        }
    }

    fn ended(&mut self) {
        self.looks = 0;
        if self.grumble.clear() {
            tracing::info!("Thanos' metrics can be read");
        }
    }
}
