//! Agents without queriers beside them: one with a large document, and a change that reaches many at once.

use std::time::Duration;

use anyhow::Result;

use crate::{
    cluster::Progress,
    fixtures::{
        AgentProcesses,
        agent_processes::{Place, Way, document},
    },
};

/// The size of the large document.
const LARGE: usize = 1_000_000;

/// How often the large document changes before it is measured what the agent takes: the first is not the worst.
const LARGE_CHANGES: u64 = 10;

/// The size of the document that changes for many.
const SHARED: usize = 100_000;

/// How often that changes.
const SHARED_CHANGES: u64 = 10;

/// What was measured.
#[derive(Clone, Debug)]
pub struct AgentFigures {
    /// MiB, with the large document.
    pub large: Option<f64>,
    /// How many agents followed the other one.
    pub agents: u32,
    /// From the request to the API server to the file, in seconds: one for each agent and change.
    pub followed: Vec<f64>,
}

// === impl AgentFigures ===

impl AgentFigures {
    /// How long that takes with so many agents, about.
    pub fn duration(agents: u32) -> Duration {
        Duration::from_secs(20) + Duration::from_millis(60) * agents
    }

    /// Measures both.
    ///
    /// # Errors
    /// When an agent does not follow.
    pub async fn measure(place: &Place, agents: u32, progress: &Progress) -> Result<Self> {
        let step = progress.step("an agent with a document of 1 MB");
        let mut one = AgentProcesses::start(place, 1, Way::Direct).await?;
        for change in 1..=LARGE_CHANGES {
            one.write(&document(change, LARGE)).await?;
            one.applied().await?;
        }
        let large = one.agents().first().and_then(|agent| agent.process().memory());
        drop(one);
        step.done();

        let step = progress.step(format!("{agents} agents with a document of 100 KB"));
        let mut many = AgentProcesses::start(place, usize::try_from(agents)?, Way::Direct).await?;
        let mut followed = Vec::new();
        for change in 1..=SHARED_CHANGES {
            let asked = many.write(&document(change, SHARED)).await?;
            let applied = many.applied().await?;
            followed.extend(applied.iter().map(|at| at.duration_since(asked).as_secs_f64()));
        }
        step.done();
        Ok(Self { large, agents, followed })
    }
}
