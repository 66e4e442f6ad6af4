//! What comes of a reconcile: one place that counts it, tells it once, and says when it is tried again.

use std::{sync::Arc, time::Duration};

use crds::ThanosQuery;
use kube::{
    Api, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::error_boundary::InvalidObject,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tokio::time::timeout;

use super::{Context, steps};
use crate::{
    apply::ApplyError,
    events::Happened,
    snapshot::{self, ReadError},
    status::StatusError,
    unreadable::unreadable_fields,
    watch::{Guarded, QueryRef},
};

/// A reconcile did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object cannot be read; it keeps what it had.
    #[error("ThanosQuery cannot be read: {0}")]
    Unreadable(Box<InvalidObject>),
    /// See [`ReadError`].
    #[error(transparent)]
    Read(#[from] ReadError),
    /// See [`ApplyError`].
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// See [`StatusError`].
    #[error(transparent)]
    Status(#[from] StatusError),
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// Reconciles one ThanosQuery and reports the outcome.
///
/// # Errors
/// See [`Error`]; `retry` says when it is tried again.
pub async fn reconcile(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let result = match &guarded.0 {
        Ok(query) => steps(query, &context).await,
        Err(invalid) => Err(Error::Unreadable(Box::new(invalid.clone()))),
    };
    let handle = context.states.handle(&ObjectRef::from_obj(&*guarded));
    match &result {
        Ok(_) => {
            let mut noted = handle.noted.lock();
            noted.failures = 0;
            noted.last_failure = None;
        }
        Err(error) => {
            let text = chain(error);
            let is_news = {
                let mut noted = handle.noted.lock();
                noted.failures += 1;
                noted.last_failure.replace(text.clone()) != Some(text.clone())
            };
            context.metrics.failed(error.category());
            // One Event per failure, not one per attempt.
            if is_news {
                let happened = match error {
                    Error::Unreadable(_) => {
                        Happened::Unreadable(fields_of(&guarded, &context).await.unwrap_or(text))
                    }
                    _ => Happened::ApplyFailed(text),
                };
                context.events.send(&guarded.object_ref(&()), &happened);
            }
        }
    }
    result
}

// The watch keeps only the parser's words, which do not name the field.
async fn fields_of(guarded: &Guarded, context: &Context) -> Option<String> {
    let kind = ApiResource::erase::<ThanosQuery>(&());
    let namespace = guarded.namespace()?;
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &kind);
    let object = timeout(snapshot::API_TIMEOUT, api.get(&guarded.name_any())).await.ok()?.ok()?;
    unreadable_fields(&object.data)
}

/// When a failed reconcile is tried again.
pub fn retry(guarded: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    let query: QueryRef = ObjectRef::from_obj(&*guarded);
    if let Error::Unreadable(_) = error {
        tracing::warn!(%query, error = error as &dyn std::error::Error, "what runs stays as it is until this is mended");
        return Action::await_change();
    }
    let failures = context.states.handle(&query).noted.lock().failures;
    let wait = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_RETRY);
    tracing::warn!(%query, failures, ?wait, error = error as &dyn std::error::Error, "reconcile failed");
    Action::requeue(wait)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        // Of a refusal only what the API says to people.
        let refusal = match next.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref) {
            Some(kube::Error::Api(status)) if !status.message.is_empty() => Some(&status.message),
            _ => None,
        };
        if let Some(message) = refusal {
            return format!("{text}: {message}");
        }
        let more = next.to_string();
        if !text.contains(&more) {
            text.push_str(&format!(": {more}"));
        }
        source = next.source();
    }
    text
}

// === impl Error ===

impl Error {
    /// A word for metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Read(_) => "read",
            Self::Apply(_) => "apply",
            Self::Status(_) => "status",
        }
    }
}
