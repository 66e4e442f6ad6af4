//! Runs cases: who may run at once, what becomes of their namespaces, what a failure tells, where the minutes went.

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use libtest_mimic::{Completion, Failed, Trial};
use serde_json::json;
use tokio::{runtime::Handle, time::timeout};

use super::{Case, Kind};
use crate::{
    cluster::{DEPLOYMENT, NAMESPACE, Progress},
    fixtures::{Environment, World, diagnosis, eventually},
};

/// How many cases may run at once.
pub const AT_ONCE: usize = 3;

/// How long the cases of one area may take, one after the other, before some of them should be marked
/// [`Case::only_full`].
const BUDGET: Duration = Duration::from_secs(8 * 60);

/// How long the installed operator may take to start or to end.
const SCALED: Duration = Duration::from_secs(60);

/// What one run of cases shares.
#[derive(Clone)]
pub struct Runner {
    environment: Environment,
    runtime: Handle,
    keep: bool,
    minutes: Arc<Mutex<BTreeMap<&'static str, (usize, Duration)>>>,
}

// === impl Runner ===

impl Runner {
    /// Runs cases on `environment`; with `keep`, namespaces of failed cases stay.
    pub fn new(environment: Environment, runtime: Handle, keep: bool) -> Self {
        Self { environment, runtime, keep, minutes: Arc::default() }
    }

    /// The case as libtest-mimic runs it.
    pub fn trial(&self, case: Case) -> Trial {
        let runner = self.clone();
        Trial::ignorable_test(case.name.clone(), move || {
            if let Some(reason) = case.skip.and_then(|skip| skip(&runner.environment)) {
                return Ok(Completion::ignored_with(reason));
            }
            runner.run(case).map(|()| Completion::Completed)
        })
    }

    fn run(&self, case: Case) -> Result<(), Failed> {
        let (area, kind) = (case.area, case.kind);
        let fail = |error: anyhow::Error| Failed::from(format!("{error:#}"));
        // Held until the case is over; other runs on this machine respect it too.
        let _turn = turn(kind, &Progress::silent()).map_err(fail)?;
        self.runtime.block_on(self.scale(kind == Kind::Exclusive)).map_err(fail)?;
        let started = Instant::now();
        let outcome = self.runtime.block_on(self.run_in_namespace(case));
        if let Ok(mut minutes) = self.minutes.lock() {
            let (number, time) = minutes.entry(area).or_default();
            *number += 1;
            *time += started.elapsed();
        }
        outcome
    }

    async fn run_in_namespace(&self, case: Case) -> Result<(), Failed> {
        let namespace = namespace_of(&case.name);
        let world = match case.kind {
            Kind::Shared => World::with_own_operator(&self.environment, &namespace).await,
            Kind::Exclusive => World::with_installed_operator(&self.environment, &namespace).await,
        };
        let limit = case.limit;
        let outcome = match &world {
            // In a task of its own, so that a panic is a failure like any other.
            Ok(world) => match timeout(limit, tokio::spawn((case.body)(world.clone()))).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => Err(anyhow::anyhow!("the case panicked: {error}")),
                Err(_) => {
                    Err(anyhow::anyhow!("the case took longer than its limit of {} s", limit.as_secs()))
                }
            },
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        let message = match outcome {
            Ok(()) => None,
            Err(error) => {
                let cluster = self.environment.cluster.clone();
                let of = namespace.clone();
                let seen = tokio::task::spawn_blocking(move || diagnosis::of_namespace(&cluster, &of)).await;
                Some(format!("{error:#}\n\nnamespace {namespace}\n{}", seen.unwrap_or_default()))
            }
        };
        match (&world, message.is_some() && self.keep) {
            (_, true) => eprintln!("kept until the next run: namespace {namespace}"),
            (Ok(world), false) => {
                if let Err(error) = world.delete().await {
                    eprintln!("failed to delete namespace {namespace}: {error:#}");
                }
            }
            (Err(_), false) => {}
        }
        message.map_or(Ok(()), |message| Err(message.into()))
    }

    /// The installed operator watches every namespace, so it rests while cases run that have their own.
    async fn scale(&self, installed: bool) -> Result<()> {
        let replicas = i32::from(installed);
        let api: Api<Deployment> = Api::namespaced(self.environment.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.environment.client.clone(), NAMESPACE);
        let live = api.get(DEPLOYMENT).await.context("the operator is not installed")?;
        if live.spec.and_then(|spec| spec.replicas) != Some(replicas) {
            let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
            api.patch(DEPLOYMENT, &PatchParams::default(), &patch).await?;
        }
        eventually(SCALED, format!("{replicas} installed operators"), || async {
            let live = api.get(DEPLOYMENT).await?;
            let available = live.status.and_then(|status| status.available_replicas).unwrap_or_default();
            let pods = pods.list(&ListParams::default()).await?.items.len();
            if available != replicas || i32::try_from(pods)? != replicas {
                bail!("{pods} pods, {available} available");
            }
            Ok(())
        })
        .await
    }

    /// Starts the installed operator again, unless another run on this machine needs it to rest.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restore(&self) -> Result<()> {
        match lock_file()?.try_lock() {
            Ok(()) => self.runtime.block_on(self.scale(true)),
            Err(_) => Ok(()),
        }
    }

    /// Where the time went, by area.
    pub fn minutes(&self) -> String {
        let Ok(minutes) = self.minutes.lock() else { return String::new() };
        let mut text = String::from("\narea                  cases   minutes\n");
        for (area, (number, time)) in minutes.iter() {
            let over = if *time > BUDGET { "  over its budget: move cases to --full" } else { "" };
            text.push_str(&format!("{area:<20}  {number:>5}  {:>8.1}{over}\n", time.as_secs_f64() / 60.0));
        }
        text
    }
}

/// Waits until what is of this kind may run, beside other runs on this machine too. The turn ends when the file is
/// closed.
///
/// # Errors
/// When the lock file cannot be used.
pub fn turn(kind: Kind, progress: &Progress) -> Result<File> {
    let file = lock_file()?;
    let free = match kind {
        Kind::Shared => file.try_lock_shared(),
        Kind::Exclusive => file.try_lock(),
    };
    if free.is_err() {
        progress.line("waiting for cluster cases that run on this machine");
        match kind {
            Kind::Shared => file.lock_shared()?,
            Kind::Exclusive => file.lock()?,
        }
    }
    Ok(file)
}

fn lock_file() -> Result<File> {
    let path = std::env::temp_dir().join("thanos-operator-e2e.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    file.with_context(|| format!("failed to open {}", path.display()))
}

/// A namespace that a person recognises, and that no two cases share: not in this run, nor in another one.
fn namespace_of(name: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let letters = name
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
    let mut slug = String::from("e2e-");
    for letter in letters {
        if slug.len() < 44 && !(letter == '-' && slug.ends_with('-')) {
            slug.push(letter);
        }
    }
    let now = jiff::Timestamp::now().as_millisecond();
    // Cases start in the same millisecond, so the time alone tells only runs apart.
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{:06x}-{number}", slug.trim_end_matches('-'), now & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_namespace_is_recognised_and_valid() {
        let name = namespace_of("An ordinary Service, added: no pod (with 0.42.4) is ever replaced");
        assert!(name.starts_with("e2e-an-ordinary-service-added-no-pod"), "{name}");
        assert!(name.len() <= 63 && !name.contains("--"), "{name}");
    }

    #[test]
    fn cases_that_start_in_the_same_moment_and_are_called_alike_do_not_share_a_namespace() {
        let names: BTreeSet<String> = (0..100).map(|_| namespace_of("an ordinary Service")).collect();
        assert_eq!(names.len(), 100);
    }
}
