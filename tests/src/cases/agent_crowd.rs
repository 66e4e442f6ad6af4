//! A thousand agents at one API server: a change reaches them all, and its restart does not bring them all at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::task::spawn_blocking;

use super::Case;
use crate::fixtures::{
    AgentProcesses, World,
    agent_processes::{Way, document},
    eventually,
    relay::{Relay, allow_open_files},
};

/// How many.
const AGENTS: usize = 1000;

/// The size of the document that changes.
const BYTES: usize = 100_000;

/// Over how long the first tries after the restart have to be spread, at least.
const SPREAD: Duration = Duration::from_secs(10);

/// How long the slowest may take until its first try.
const FIRST_TRY: Duration = Duration::from_secs(60);

/// Which part of the agents may try for the first time within the same second: 1 of so many.
const SHARE: usize = 4;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::exclusive(
            "node",
            "a change reaches a thousand agents, and a restart of the API server does not bring them all at once",
            thousand_agents,
        )
        .only_on_own_cluster()
        .limit(600),
    ]
}

/// Case 29.
async fn thousand_agents(world: World) -> Result<()> {
    allow_open_files(AGENTS as u64 * Relay::FILES + 500)?;
    let mut agents = AgentProcesses::start(&world.agents_place()?, AGENTS, Way::Relayed).await?;
    let asked = agents.write(&document(1, BYTES)).await?;
    tell_fan_out(asked, &agents.applied().await?);

    let files = agents.stamps();
    let broken = Instant::now();
    let cluster = world.cluster().clone();
    spawn_blocking(move || cluster.stop_api_server().and_then(|()| cluster.start_api_server())).await??;
    let away = broken.elapsed();
    let tries =
        eventually(FIRST_TRY, "every agent has tried to connect again", || async { tries(&agents, broken) })
            .await?;
    tell_tries(away, &tries);
    if agents.stamps() != files {
        bail!("a file changed while the API server was away");
    }

    let asked = agents.write(&document(2, BYTES)).await?;
    tell_fan_out(asked, &agents.applied().await?);

    let firsts: Vec<Duration> = tries.iter().filter_map(|of_one| of_one.first().copied()).collect();
    let (first, last) = (firsts.iter().min().context("no tries")?, firsts.iter().max().context("no tries")?);
    let busiest = busiest_second(firsts.iter().copied());
    if *last - *first < SPREAD || busiest > AGENTS / SHARE {
        bail!(
            "after {away:?} without an API server the first tries came {first:?} to {last:?} after its end, \
             {busiest} of {AGENTS} within one second"
        );
    }
    Ok(())
}

/// When each agent has tried since `broken`.
fn tries(agents: &AgentProcesses, broken: Instant) -> Result<Vec<Vec<Duration>>> {
    let of_one = |relay: &Relay| relay.connects(broken).iter().map(|moment| *moment - broken).collect();
    let tries: Vec<Vec<Duration>> =
        agents.agents().iter().filter_map(|agent| agent.relay()).map(of_one).collect();
    match tries.iter().filter(|of_one| of_one.is_empty()).count() {
        0 => Ok(tries),
        none => bail!("{none} of {} have not", tries.len()),
    }
}

/// The most of them that fall into one whole second.
fn busiest_second(moments: impl Iterator<Item = Duration>) -> usize {
    let mut counts = std::collections::BTreeMap::<u64, usize>::new();
    moments.for_each(|moment| *counts.entry(moment.as_secs()).or_default() += 1);
    counts.into_values().max().unwrap_or_default()
}

fn tell_fan_out(asked: Timestamp, applied: &[Timestamp]) {
    let mut took: Vec<f64> = applied.iter().map(|at| at.duration_since(asked).as_secs_f64()).collect();
    took.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        took.get((took.len() * percent).div_ceil(100).max(1) - 1).copied().unwrap_or_default()
    };
    println!(
        "a document of {} KB at {} agents: p50 {:.2} s, p99 {:.2} s, max {:.2} s",
        BYTES / 1000,
        took.len(),
        at(50),
        at(99),
        at(100)
    );
}

fn tell_tries(away: Duration, tries: &[Vec<Duration>]) {
    let firsts = || tries.iter().filter_map(|of_one| of_one.first().copied());
    let all = || tries.iter().flatten().copied();
    println!(
        "API server away for {:.1} s: first tries {:.1} to {:.1} s after its end, at most {} in one second; with all \
         further tries {} in all, at most {} in one second, the last {:.1} s after its end",
        away.as_secs_f64(),
        firsts().min().unwrap_or_default().as_secs_f64(),
        firsts().max().unwrap_or_default().as_secs_f64(),
        busiest_second(firsts()),
        all().count(),
        busiest_second(all()),
        all().max().unwrap_or_default().as_secs_f64(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_found() {
        let moments = [100, 900, 1_100, 1_200, 1_900, 3_000].map(Duration::from_millis);
        assert_eq!(busiest_second(moments.into_iter()), 3);
        assert_eq!(busiest_second(std::iter::empty()), 0);
    }
}
