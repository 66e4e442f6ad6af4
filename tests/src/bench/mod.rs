//! `cargo bench-cluster`: how quickly queriers follow, measured on a real cluster.
//!
//! `site` makes stores and queriers, `series` changes Services, `observer` writes down what is to be seen and when
//! (`log`), `rows` makes of it what `table` prints.

mod agents;
mod conditions;
mod crowd;
mod log;
mod observer;
mod operator;
mod probe;
mod rest;
mod rows;
mod series;
mod site;
mod stats;
mod table;

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, bail};
use crds::names::pod::AGENT_CONTAINER;
use kube::Client;
use serde::Serialize;
use tokio::{
    signal::ctrl_c,
    time::{Instant, sleep},
};

use self::{
    agents::AgentFigures,
    conditions::{Population, conditions},
    crowd::Crowd,
    log::Form,
    observer::Observers,
    operator::{Installed, process},
    rest::Rest,
    rows::Measured,
    series::Series,
    site::Site,
};
use crate::{
    cluster::{Cluster, Progress},
    fixtures::{OsProcess, agent_processes::Place},
};

pub use self::table::{Row, markdown};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Services that are added and removed, of each form.
    pub changes: u32,
    /// Two changes are at least this far apart.
    pub step: Duration,
    /// How long nothing may happen at rest.
    pub rest: Duration,
    /// Services for the operator to remember.
    pub services: u32,
    /// Agents without queriers that follow one document; 0 leaves them out.
    pub agents: u32,
    /// The agent's program on this machine; needed for those.
    pub agent_program: Option<PathBuf>,
    /// Whether the namespaces stay.
    pub keep: bool,
    /// The namespace to make.
    pub namespace: String,
    /// Where the operator runs.
    pub operator_namespace: String,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The rows with a goal.
    pub rows: Vec<Row>,
    /// Where the time goes.
    pub shares: Vec<Row>,
    /// Under which conditions.
    pub conditions: Vec<String>,
    /// What makes the result doubtful, for people.
    pub doubts: Vec<String>,
}

/// Start and end of the whole.
const AROUND: Duration = Duration::from_secs(90);

/// How long the operator may take for the news of the crowd.
const DIGEST: Duration = Duration::from_secs(10);

// === impl Options ===

impl Options {
    /// How long it will take, about.
    pub fn duration(&self) -> Duration {
        let crowd = Duration::from_millis(20) * self.services;
        let agents = match self.agents {
            0 => Duration::ZERO,
            agents => AgentFigures::duration(agents),
        };
        series::duration(self.changes, self.step) * 2 + self.rest + AROUND + crowd + agents
    }
}

/// Measures everything.
///
/// # Errors
/// When it cannot be measured. A goal that is missed is no error.
pub async fn run(cluster: &Cluster, options: &Options, progress: &Progress) -> Result<Outcome> {
    let client = cluster.client().await?;
    let operator = Installed::find(cluster, &client, &options.operator_namespace).await?;
    let mut site = Site::create(cluster, &client, &options.namespace).await?;
    let crowd_name = format!("{}-crowd", options.namespace);
    let crowd = Crowd::create(&client, &crowd_name).await;
    let measured = async {
        let crowd = crowd.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        measure(cluster, &client, &operator, &mut site, crowd, options, progress).await
    };
    let result = tokio::select! {
        result = measured => result,
        _ = ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    if options.keep {
        progress.line(format_args!("kept: the namespaces {} and {crowd_name}", site.namespace()));
        return result;
    }
    let mut problems = vec![site.delete().await];
    if let Ok(crowd) = &crowd {
        problems.push(crowd.delete().await);
    }
    for problem in problems.into_iter().filter_map(Result::err) {
        progress.line(format_args!("left behind: {problem:#}"));
    }
    result
}

async fn measure(
    cluster: &Cluster,
    client: &Client,
    operator: &Installed,
    site: &mut Site,
    crowd: &Crowd,
    options: &Options,
    progress: &Progress,
) -> Result<Outcome> {
    let step = progress.step("starting stores and queriers");
    site.fill().await?;
    step.done();
    let site = &*site;
    let observers = Observers::start(site).await?;
    let (before, restarts) = (site.snapshot().await?, site.restarts().await?);
    let writes = operator.writes_when_calm().await?;

    let mut changes = Vec::new();
    for form in [Form::ClusterIp, Form::Headless] {
        // No step: its seconds and the lines of the series would share a line of the terminal.
        let minutes = series::duration(options.changes, options.step).as_secs().div_ceil(60);
        let (title, number) = (form.title(), options.changes);
        progress.line(format_args!("{title} Services: {number} added and removed, about {minutes} min"));
        changes.extend(Series::run(site, &observers, form, options, progress).await?);
    }
    let log = observers.stop().await;

    let step = progress.step(format!("{} s without changes", options.rest.as_secs()));
    let mut agents = Vec::new();
    for query in site.queries() {
        let pods = site.pods_of(&query).await?;
        agents.extend(pods.iter().filter_map(|pod| process(cluster, pod, AGENT_CONTAINER)));
    }
    let (resting, before_rest) = (Instant::now(), agents.iter().map(OsProcess::cpu).collect::<Vec<_>>());
    let rest = Rest::measure(site, operator, options.rest).await?;
    let seconds = resting.elapsed().as_secs_f64();
    let spent =
        agents.iter().zip(before_rest).filter_map(|(agent, before)| agent.cpu()?.checked_sub(before?));
    let agent_cpu = spent.map(|spent| spent.as_secs_f64() * 1000.0 / seconds).collect();
    step.done();
    let after = site.snapshot().await?;

    let population = Population::count(client).await?;
    let operator_memory = operator.memory();
    let agent_memory = agents.iter().filter_map(OsProcess::memory).collect();
    let crowded = if options.services > 0 {
        let step = progress.step(format!("{} more Services", options.services));
        crowd.fill(options.services).await?;
        sleep(DIGEST).await;
        step.done();
        Some((options.services, operator.memory()))
    } else {
        None
    };
    let agents_alone = match &options.agent_program {
        Some(program) if options.agents > 0 => {
            let place = Place {
                cluster: cluster.clone(),
                client: client.clone(),
                namespace: site.namespace().to_owned(),
                program: program.clone(),
            };
            Some(AgentFigures::measure(&place, options.agents, progress).await?)
        }
        _ => None,
    };
    let now = Installed::find(cluster, client, &options.operator_namespace).await?;
    if now.name() != operator.name() {
        bail!("the operator was replaced meanwhile: {} became {}", operator.name(), now.name());
    }

    let measured = Measured {
        log,
        changes,
        replaced: before.replaced(&after),
        restarts: site.restarts().await? - restarts,
        writes: rest.before.since(&writes),
        rest,
        rest_seconds: options.rest.as_secs(),
        operator_memory,
        population: population.text(),
        crowded,
        agent_memory,
        agent_cpu,
        agents_alone,
    };
    let mut doubts = measured.missing();
    doubts.extend(before.unchanged(&after).err().map(|error| error.to_string()));
    doubts.extend(measured.rest.changed.iter().map(|name| format!("changed at rest: {name}")));
    doubts
        .extend(measured.rest.writes.kinds().map(|(kind, count)| format!("written at rest: {count} {kind}")));
    doubts.extend(population.doubt());
    doubts.extend(measured.other_writer());
    if measured.log.failed_polls > 0 {
        let why = measured.log.last_failure.as_deref().unwrap_or_default();
        doubts.push(format!("{} polls had no answer, the last one: {why}", measured.log.failed_polls));
    }
    Ok(Outcome {
        rows: measured.rows(),
        shares: measured.shares(),
        conditions: conditions(cluster, options),
        doubts,
    })
}
