//! Step 5: what the user is told. Computed purely, then written once, and only when it changed.

mod agents;
mod compute;
mod conditions;
mod restart_reason;

use crds::{ThanosQuery, ThanosQueryStatus, names::FIELD_MANAGER};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::timeout;

pub use agents::{AgentAnswers, Asker};
pub use compute::{Findings, Progress, compute, is_rolled_out, rejected};
pub use restart_reason::{restart_reasons, sentence};

use crate::snapshot::API_TIMEOUT;

/// The status could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The API refused.
    #[error("failed to write the status of ThanosQuery {namespace}/{name}")]
    Api {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What the API said.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API did not answer.
    #[error("failed to write the status of ThanosQuery {namespace}/{name}: no answer within {API_TIMEOUT:?}")]
    Timeout {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// Writes `status`; what it leaves out goes.
///
/// # Errors
/// When the API refuses or does not answer. That the object is gone is no error.
pub async fn write(
    client: &Client,
    query: &ThanosQuery,
    status: &ThanosQueryStatus,
) -> Result<(), StatusError> {
    let (namespace, name) = (query.namespace().unwrap_or_default(), query.name_any());
    let patch = Patch::Apply(json!({
        "apiVersion": ThanosQuery::api_version(&()),
        "kind": ThanosQuery::kind(&()),
        "metadata": {"name": name, "uid": query.metadata.uid},
        "status": status,
    }));
    let api: Api<ThanosQuery> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match timeout(API_TIMEOUT, api.patch_status(&name, &params, &patch)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(answer))) if answer.is_not_found() => Ok(()),
        Ok(Err(source)) => Err(StatusError::Api { namespace, name, source: Box::new(source) }),
        Err(_) => Err(StatusError::Timeout { namespace, name }),
    }
}
