//! The places that documents come from, by the names that `/status` and metrics use.

/// Where a document came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The API.
    Api,
    /// The mount.
    Mount,
    /// What the agent before this one left.
    State,
}

// === impl Origin ===

impl Origin {
    /// As in `/status` and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Mount => "mount",
            Self::State => "state",
        }
    }
}
