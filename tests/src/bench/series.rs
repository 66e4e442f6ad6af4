//! The changes: Services are created and deleted, one at a time, without waiting for what comes of it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::Result;
use jiff::Timestamp;
use tokio::time::{sleep, sleep_until};

use super::{
    Options,
    log::{Change, Form, Kind},
    observer::Observers,
    site::{STORES, Site},
};
use crate::cluster::Progress;

/// Changes come up to this much later, so that they do not keep in step with a tick of Thanos.
const JITTER: Duration = Duration::from_millis(200);

/// Services that exist at the same time.
const ALIVE: usize = 9;

/// How long a change may take before it is given up.
const LONGEST: Duration = Duration::from_secs(45);

/// One series of changes with Services of one form.
pub struct Series<'a> {
    site: &'a Site,
    observers: &'a Observers,
    form: Form,
    step: Duration,
    changes: Vec<Change>,
    alive: VecDeque<Alive>,
    /// Store pods before which there is no Service, each with the deletion of its last one.
    free: VecDeque<(u16, Option<Change>)>,
    last: tokio::time::Instant,
    number: u32,
}

struct Alive {
    service: String,
    store: u16,
    added: Change,
}

/// How long a series of `changes` added and removed Services takes, about.
pub fn duration(changes: u32, step: Duration) -> Duration {
    (step + JITTER / 2) * changes * 2 + Duration::from_secs(15)
}

// === impl Form ===

impl Form {
    /// How rows call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::Headless => "headless",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::ClusterIp => "ip",
            Self::Headless => "headless",
        }
    }
}

// === impl Series ===

impl<'a> Series<'a> {
    /// Adds and removes Services; returns every change.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn run(
        site: &'a Site,
        observers: &'a Observers,
        form: Form,
        options: &Options,
        progress: &Progress,
    ) -> Result<Vec<Change>> {
        let number = options.changes;
        let mut series = Self {
            site,
            step: options.step,
            observers,
            form,
            changes: Vec::new(),
            alive: VecDeque::new(),
            free: (0..STORES).map(|store| (store, None)).collect(),
            last: tokio::time::Instant::now(),
            number: 0,
        };
        let started = Instant::now();
        for done in 1..=number {
            if series.alive.len() == ALIVE {
                series.remove_oldest().await?;
            }
            series.add().await?;
            if done % 20 == 0 && done < number {
                let left = started.elapsed() / done * (number - done);
                let left = left.as_secs().div_ceil(60);
                progress.line(format_args!("  {} {done} of {number}, {left} min left", form.title()));
            }
        }
        while !series.alive.is_empty() {
            series.remove_oldest().await?;
        }
        for change in series.changes.iter().rev().take(ALIVE) {
            series.settled(change).await;
        }
        Ok(series.changes)
    }

    async fn add(&mut self) -> Result<()> {
        let Some((store, removed)) = self.free.pop_front() else { anyhow::bail!("no store pod is free") };
        // A pod that is still listed cannot show that it is listed anew.
        if let Some(removed) = removed {
            self.settled(&removed).await;
        }
        let service = format!("{}-{:04}", self.form.prefix(), self.number);
        self.number += 1;
        self.pause().await;
        let asked = Timestamp::now();
        let address = self.site.create_service(&service, self.form, store).await?;
        let added = self.note(Kind::Added, &service, store, asked);
        if let Some(address) = address {
            self.observers.knock(added.name.clone(), address);
        }
        self.alive.push_back(Alive { service, store, added });
        Ok(())
    }

    async fn remove_oldest(&mut self) -> Result<()> {
        let Some(Alive { service, store, added }) = self.alive.pop_front() else { return Ok(()) };
        // Nobody could see it any more.
        self.settled(&added).await;
        self.pause().await;
        let asked = Timestamp::now();
        self.site.delete_service(&service).await?;
        let removed = self.note(Kind::Removed, &service, store, asked);
        self.free.push_back((store, Some(removed)));
        Ok(())
    }

    fn note(&mut self, kind: Kind, service: &str, store: u16, asked: Timestamp) -> Change {
        let at = Timestamp::now();
        self.last = tokio::time::Instant::now();
        let change = Change {
            kind,
            form: self.form,
            name: format!("{service}.{}.svc", self.site.namespace()),
            listed: self.site.listed(service, self.form, store),
            asked,
            at,
        };
        self.changes.push(change.clone());
        change
    }

    /// Waits until the next change may come.
    async fn pause(&self) {
        // The golden ratio spreads any number of points evenly.
        let share = (f64::from(u32::try_from(self.changes.len()).unwrap_or(0)) * 0.618_034).fract();
        sleep_until(self.last + self.step + JITTER.mul_f64(share)).await;
    }

    /// Waits until every pod follows `change`, but not for ever: then it counts as missing.
    async fn settled(&self, change: &Change) {
        loop {
            let age = Timestamp::now().duration_since(change.at).unsigned_abs();
            if age > LONGEST || self.observers.log().is_settled(change) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
