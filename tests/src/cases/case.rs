//! One case: what it is called, where it runs, how long it may take.

use std::{pin::Pin, time::Duration};

use anyhow::Result;

use crate::fixtures::{Environment, World};

/// How long a case may take where it says nothing else.
const LIMIT: Duration = Duration::from_secs(300);

type Outcome = Pin<Box<dyn Future<Output = Result<()>> + Send>>;
type Body = Box<dyn FnOnce(World) -> Outcome + Send>;

/// What a case needs to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A namespace with an operator process of its own; some run at once.
    Shared,
    /// The installed operator, or processes of the node: alone, after the others.
    Exclusive,
}

/// One case.
pub struct Case {
    /// A sentence.
    pub name: String,
    /// Whose minutes it counts to.
    pub area: &'static str,
    /// What it needs to itself.
    pub kind: Kind,
    /// When it is longer under way than this, it has failed.
    pub limit: Duration,
    /// Runs only with `--full`.
    pub full: bool,
    /// Says why it cannot run here.
    pub skip: Option<fn(&Environment) -> Option<String>>,
    /// What it does.
    pub body: Body,
}

// === impl Case ===

impl Case {
    /// With a namespace and an operator process of its own.
    pub fn shared<F>(
        area: &'static str,
        name: impl Into<String>,
        body: impl FnOnce(World) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(Kind::Shared, area, name.into(), Box::new(|world| Box::pin(body(world))))
    }

    /// Alone, with the installed operator and a namespace of its own.
    pub fn exclusive<F>(
        area: &'static str,
        name: impl Into<String>,
        body: impl FnOnce(World) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Self::new(Kind::Exclusive, area, name.into(), Box::new(|world| Box::pin(body(world))))
    }

    fn new(kind: Kind, area: &'static str, name: String, body: Body) -> Self {
        Self { name, area, kind, limit: LIMIT, full: false, skip: None, body }
    }

    /// How many seconds it may take.
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Only with `--full`: it takes more than its area may.
    pub fn only_full(mut self) -> Self {
        self.full = true;
        self
    }

    /// Asks before it runs; an answer is the reason why it cannot.
    pub fn skip_if(mut self, reason: fn(&Environment) -> Option<String>) -> Self {
        self.skip = Some(reason);
        self
    }

    /// Needs what only our own cluster has: the API server's audit log, images that are loaded by hand.
    pub fn only_where_the_node_is_ours(self) -> Self {
        self.skip_if(|environment| {
            let own = environment.cluster.is_own();
            (!own).then(|| "reads files of the node or gives it images, so not with --context".to_owned())
        })
    }

    /// Needs a cluster whose pods reach the address of this machine.
    pub fn only_where_pods_reach_this_machine(self) -> Self {
        self.skip_if(|environment| {
            let own = environment.cluster.is_own();
            (!own).then(|| {
                "runs a store on this machine, which other clusters' pods may not reach, so not with --context"
                    .to_owned()
            })
        })
    }

    /// Needs the processes of our own cluster.
    pub fn only_on_own_cluster(self) -> Self {
        self.skip_if(|environment| {
            let own = environment.cluster.is_own();
            (!own).then(|| "stops processes of the node, so not with --context".to_owned())
        })
    }
}
