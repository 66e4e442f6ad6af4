//! Hundreds of changes in a row: an agent does not grow.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{MissedTickBehavior, interval};

use super::Case;
use crate::fixtures::{
    AgentProcesses, World,
    agent_processes::{Way, document},
};

/// The changes of one soak.
const CHANGES: u64 = 600;

/// After these the agent has done everything once, and what it takes is noted.
const WARM: u64 = 100;

/// Between two looks at what the agent takes.
const LOOKS: u64 = 20;

/// How much larger the largest size after the warming up may be, in MiB: a few pages come and go.
const GROWTH: f64 = 1.0;

/// How many more files may be open at one look: connections of who asks for the status and is still answered.
const ASKING: usize = 3;

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    let soak = |name, pace| {
        Case::shared("agent process", name, move |world| soak(world, pace)).only_on_own_cluster()
    };
    vec![
        soak(
            "after 600 changes as quickly as they are taken an agent has no more memory, files or left-overs than before",
            Duration::from_millis(1),
        ),
        soak(
            "after ten minutes with a change each second an agent has no more memory, files or left-overs than before",
            Duration::from_secs(1),
        )
        .only_full()
        .limit(900),
    ]
}

/// Case 50: of ten minutes, not of a day. The slow one also sees its watch end and begin again three times.
async fn soak(world: World, pace: Duration) -> Result<()> {
    let mut agents = AgentProcesses::start(&world.agents_place()?, 1, Way::Direct).await?;
    let mut beat = interval(pace);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warm = Vec::new();
    let mut later = Vec::new();
    for change in 1..=CHANGES {
        beat.tick().await;
        // Small ones and large ones in turn, plain and packed.
        let bytes = if change % 2 == 0 { 2_000 } else { 100_000 };
        agents.write(&document(change, bytes)).await?;
        agents.applied().await?;
        if change % LOOKS == 0 {
            let looks = if change <= WARM { &mut warm } else { &mut later };
            looks.push(Taken::by(&agents)?);
        }
    }
    let (first, last) = (largest(&warm)?, largest(&later)?);
    println!(
        "soak of {CHANGES} changes: {:.1} MiB after {WARM}, later {:.1} MiB at most",
        first.memory, last.memory
    );
    if last.memory > first.memory + GROWTH || last.open_files > first.open_files + ASKING {
        bail!("{first:?} became {last:?}");
    }
    // Also in between: no temporary file was left by any change.
    match warm.iter().chain(&later).find(|taken| taken.files != first.files) {
        Some(taken) => bail!("{:?} became {:?}", first.files, taken.files),
        None => Ok(()),
    }
}

/// What an agent takes at one moment.
#[derive(Clone, Debug)]
struct Taken {
    memory: f64,
    open_files: usize,
    files: Vec<String>,
}

// === impl Taken ===

impl Taken {
    fn by(agents: &AgentProcesses) -> Result<Self> {
        let agent = agents.agents().first().context("no agent")?;
        let process = agent.process();
        Ok(Self {
            memory: process.memory().context("the agent is gone")?,
            open_files: process.open_files().context("the agent is gone")?,
            files: agent.files()?,
        })
    }
}

/// The largest of everything.
fn largest(taken: &[Taken]) -> Result<Taken> {
    let mut largest = taken.first().cloned().context("nothing was looked at")?;
    for taken in taken {
        largest.memory = largest.memory.max(taken.memory);
        largest.open_files = largest.open_files.max(taken.open_files);
    }
    Ok(largest)
}
