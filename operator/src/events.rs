//! Events: what a person sees in `kubectl describe`. One is sent per change, each with its own text, so there is
//! nothing to aggregate.

use std::sync::Arc;

use crds::{
    ThanosQuery,
    names::{CONTROLLER, reasons},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::Semaphore, time::timeout};

use crate::snapshot::API_TIMEOUT;

/// Events that are under way at once.
const AT_ONCE: usize = 8;
/// Longest note that the API takes, in bytes.
const NOTE_LIMIT: usize = 1024;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A pod template changed.
    Rollout {
        /// `pods` or `frontend pods`.
        pods: &'static str,
        /// Why.
        reason: String,
    },
    /// A condition of status that a person should look at.
    Condition {
        /// Its type.
        type_: String,
        /// What it says.
        message: String,
        /// Whether something is wrong.
        is_warning: bool,
    },
    /// A Service was left out, or counts for something else than it seems.
    ServiceRejected {
        /// Its namespace and name.
        service: String,
        /// One word.
        word: &'static str,
        /// For people.
        message: String,
    },
    /// The object cannot be read.
    Unreadable(String),
    /// The spec asks for something that cannot be done.
    Refused {
        /// One word.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// A write did not succeed.
    ApplyFailed(String),
}

/// Sends Events.
#[derive(Clone)]
pub struct Events {
    client: Client,
    instance: String,
    at_once: Arc<Semaphore>,
}

// === impl Happened ===

impl Happened {
    fn parts(&self) -> (&'static str, &str, String) {
        match self {
            Self::Rollout { pods, reason } => {
                ("Normal", reasons::ROLLOUT, format!("{pods} are replaced one at a time: {reason}"))
            }
            Self::Condition { type_, message, is_warning } => {
                (if *is_warning { "Warning" } else { "Normal" }, type_, message.clone())
            }
            Self::ServiceRejected { service, word, message } => {
                ("Warning", reasons::SERVICE_REJECTED, format!("Service {service}: {word}: {message}"))
            }
            Self::Unreadable(error) => {
                ("Warning", reasons::UNREADABLE, format!("{error}; what runs stays as it is"))
            }
            Self::Refused { reason, message } => ("Warning", reason, message.clone()),
            Self::ApplyFailed(error) => ("Warning", reasons::APPLY_FAILED, error.clone()),
        }
    }
}

// === impl Events ===

impl Events {
    /// Sends through `client`, as this process.
    pub fn new(client: Client, instance: String) -> Self {
        Self { client, instance, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Sends one Event about `query` in the background. One that cannot be sent is only logged: it must not hold
    /// anything up.
    pub fn send(&self, query: &ObjectReference, happened: &Happened) {
        let (type_, reason, note) = happened.parts();
        let namespace = query.namespace.clone().unwrap_or_default();
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!(
                    "{}.{:x}",
                    query.name.as_deref().unwrap_or(CONTROLLER),
                    now.as_nanosecond()
                )),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            type_: Some(type_.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some("Reconcile".to_owned()),
            note: Some(cut(note)),
            regarding: Some(query.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            event_time: Some(MicroTime(now)),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let at_once = Arc::clone(&self.at_once);
        let reason = reason.to_owned();
        tokio::spawn(async move {
            // A thousand bad Services at once are no reason to flood the API.
            let _turn = at_once.acquire().await;
            match timeout(API_TIMEOUT, api.create(&PostParams::default(), &event)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    tracing::warn!(
                        reason,
                        error = &error as &dyn std::error::Error,
                        "failed to send an Event"
                    );
                }
                Err(_) => tracing::warn!(reason, "failed to send an Event: no answer"),
            }
        });
    }
}

/// The reference with which Events name `query`.
pub fn reference(query: &ThanosQuery) -> ObjectReference {
    use kube::Resource;
    query.object_ref(&())
}

fn cut(mut note: String) -> String {
    if note.len() > NOTE_LIMIT {
        let end = (0..=NOTE_LIMIT - 4).rev().find(|&end| note.is_char_boundary(end)).unwrap_or_default();
        note.truncate(end);
        note.push('…');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_never_longer_than_the_api_takes() {
        assert_eq!(cut("short".into()), "short");
        let long = cut("→".repeat(1000));
        assert!(long.len() <= NOTE_LIMIT && long.ends_with('…'));
    }
}
