//! The options with which every command chooses its cluster and its images.

use super::{CONTEXT_ENV, Cluster, Images, Progress, Result, up};

/// Which cluster, and which images of the product.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ClusterArguments {
    /// Use an existing cluster: a context of your kubeconfig. It must be able to pull the images.
    #[arg(long, env = CONTEXT_ENV)]
    pub context: Option<String>,
    /// An image that the cluster can pull, instead of the one built here.
    #[arg(long, requires = "agent_image")]
    pub operator_image: Option<String>,
    /// An image that the cluster can pull, instead of the one built here.
    #[arg(long, requires = "operator_image")]
    pub agent_image: Option<String>,
}

// === impl ClusterArguments ===

impl ClusterArguments {
    /// The existing cluster, or our own, started when it is not there.
    ///
    /// # Errors
    /// When our own cannot be built or started.
    pub fn cluster(&self, progress: &Progress) -> Result<Cluster> {
        match &self.context {
            Some(context) => Ok(Cluster::existing(context)),
            None => up(progress),
        }
    }

    /// The images, when they are given.
    pub fn images(&self) -> Option<Images> {
        let (operator, agent) = self.operator_image.clone().zip(self.agent_image.clone())?;
        Some(Images { operator, agent })
    }
}
