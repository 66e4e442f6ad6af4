//! Why there is no plan.

use crds::names::reasons;
use sd_agent::document::DocumentError;

use super::{NameError, TlsError, TooLarge, TreeError, VersionError, endpoints::ShardsError};
use crate::cluster_version::ClusterVersion;

/// Why there is no plan. Nothing is touched then.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The name does not make valid object names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The version is too old or unreadable.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// TLS settings that nothing can be connected with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// `spec.distributed` asks for what cannot be done.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The endpoints make no valid document.
    #[error("the endpoints make no valid document; nothing was changed, and this is a bug of the operator")]
    Document(#[from] DocumentError),
    /// The shards make none.
    #[error("the shards make no valid document; nothing was changed, and this is a bug of the operator")]
    Shards(#[from] ShardsError),
    /// The endpoints do not fit into a ConfigMap.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The cluster does not know native sidecars.
    #[error(
        "the agent is a native sidecar, which Kubernetes has from 1.29 on, and this cluster is {0}: set \
         spec.serviceDiscovery.agent.enabled: false (a change then takes about a minute), or \
         spec.serviceDiscovery.mode: Flags, or upgrade the cluster; nothing was changed"
    )]
    ClusterTooOld(ClusterVersion),
}

// === impl PlanError ===

impl PlanError {
    /// The word for it in conditions and Events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => reasons::TOO_LARGE,
            Self::ClusterTooOld(_) => reasons::CLUSTER_TOO_OLD,
            Self::Name(_)
            | Self::Version(_)
            | Self::Tls(_)
            | Self::Tree(_)
            | Self::Document(_)
            | Self::Shards(_) => reasons::INVALID_FIELD,
        }
    }
}
