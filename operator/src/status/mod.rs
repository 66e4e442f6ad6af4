//! Step 5: what the user is told. Computed purely, then written once, and only when it changed.

mod agents;
mod asking;
mod compute;
mod conditions;
mod dns;
mod news;
mod readiness;
mod restart_reason;
mod unreachable;

use crds::{ThanosQuery, ThanosQueryStatus, names::FIELD_MANAGER};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::timeout;

pub use agents::AgentAnswers;
pub use asking::Asker;
pub use compute::{Findings, Progress, compute, rejected};
pub use news::news;
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

/// Writes `new` in the place of `old`; returns the version that this makes.
///
/// A merge patch: it also takes away the conditions of an operator before us, which server-side apply would leave.
///
/// # Errors
/// When the API refuses or does not answer. That the object is gone is no error.
pub async fn write(
    client: &Client,
    query: &ThanosQuery,
    old: &ThanosQueryStatus,
    new: &ThanosQueryStatus,
) -> Result<Option<String>, StatusError> {
    let (namespace, name) = (query.namespace().unwrap_or_default(), query.name_any());
    let watched = query.status.as_ref().map(|status| json!(status)).unwrap_or_default();
    let status = replacing(&watched, &replacing(&json!(old), &json!(new)));
    let patch = Patch::Merge(json!({"metadata": {"uid": query.metadata.uid}, "status": status}));
    let api: Api<ThanosQuery> = Api::namespaced(client.clone(), &namespace);
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match timeout(API_TIMEOUT, api.patch_status(&name, &params, &patch)).await {
        Ok(Ok(written)) => Ok(written.metadata.resource_version),
        Ok(Err(kube::Error::Api(answer))) if answer.is_not_found() => Ok(None),
        Ok(Err(source)) => Err(StatusError::Api { namespace, name, source: Box::new(source) }),
        Err(_) => Err(StatusError::Timeout { namespace, name }),
    }
}

/// `new` as a merge patch that also takes away what only `old` has.
fn replacing(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut patch = new.clone();
    for (key, old) in old {
        let value = new.get(key).map_or(Value::Null, |new| replacing(old, new));
        patch.insert(key.clone(), value);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_old_status_has_is_taken_away_at_every_depth() {
        let old = json!({"a": 1, "deep": {"b": 2, "c": 3}, "list": [1, 2]});
        let new = json!({"deep": {"b": 4}, "list": [3]});
        assert_eq!(replacing(&old, &new), json!({"a": null, "deep": {"b": 4, "c": null}, "list": [3]}));
    }
}
