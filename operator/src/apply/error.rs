//! A write that did not succeed.

use crate::snapshot::API_TIMEOUT;

/// A write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API refused.
    #[error("failed to {verb} {kind} {namespace}/{name}")]
    Api {
        /// `apply`, `take over` or `delete`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API did not answer.
    #[error("failed to {verb} {kind} {namespace}/{name}: no answer within {API_TIMEOUT:?}")]
    Timeout {
        /// `apply`, `take over` or `delete`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object cannot be written as JSON.
    #[error("failed to write {kind} {name} as JSON")]
    Json {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

// === impl ApplyError ===

impl ApplyError {
    /// Somebody else wrote the object meanwhile.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_conflict()))
    }

    /// The object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
    }

    /// The API understood the object and will not have it: it has to be changed first.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Api { kind, name, source, .. } => match &**source {
                kube::Error::Api(status) if status.code == 422 || status.code == 400 => {
                    Some(format!("{kind} {name}: {}", status.message))
                }
                _ => None,
            },
            Self::Timeout { .. } | Self::Json { .. } => None,
        }
    }
}
