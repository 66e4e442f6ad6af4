//! What holds for every ThanosQuery: read once from the command line, passed down as a value.

/// Settings of the operator that plans depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Image of the agent for every ThanosQuery that names none.
    pub agent_image: String,
    /// DNS domain of the cluster, without dots at the ends, such as `cluster.local`.
    pub cluster_domain: String,
    /// When templates that changed for the operator's defaults are rolled out.
    pub default_rollouts: DefaultRollouts,
    /// Whether Services of other namespaces count only with their consent.
    pub needs_consent: bool,
}

/// Image of Thanos where a ThanosQuery names none.
pub const DEFAULT_IMAGE: &str = "quay.io/thanos/thanos";
/// Version of Thanos where a ThanosQuery names none.
pub const DEFAULT_VERSION: &str = "v0.42.4";

/// When templates that changed for the operator's defaults are rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DefaultRollouts {
    /// By themselves, one ThanosQuery at a time.
    #[default]
    Paced,
    /// Each when a person says so.
    Manual,
}

#[cfg(test)]
impl Config {
    /// Of unit tests.
    pub fn of_tests() -> Self {
        Self {
            agent_image: "sd-agent:test".into(),
            cluster_domain: "cluster.local".into(),
            default_rollouts: DefaultRollouts::default(),
            needs_consent: true,
        }
    }
}
