//! What comes of the steps is told: Events for what is new, status for how it is.

use std::{collections::BTreeSet, time::Duration};

use crds::{ThanosQuery, ThanosQueryStatus, thanos_query_status::Rollout};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time};
use kube::{ResourceExt, runtime::controller::Action};
use tokio::time::Instant;

use super::{Error, Run};
use crate::{
    apply::{self, Outcome},
    discovery::{Discovery, Rejected},
    events::{Happened, reference},
    plan::Plan,
    query_state::{Deployments, QueryState, WrittenStatus},
    status::{self, Findings, Progress},
    watch::query_ref,
};

/// Services of which an Event tells at once; status and `explain` tell the others.
const TOLD_AT_ONCE: usize = 20;

/// A status that somebody else takes away is given back this often.
const LOST_STATUS_INTERVAL: Duration = Duration::from_secs(30);

// === impl Run ===

impl Run<'_> {
    pub(super) fn tell(
        &self,
        state: &mut QueryState,
        discovery: &Discovery,
        plan: &Plan,
        before: Option<&Deployments>,
        outcome: &Outcome,
    ) {
        let Self { query, context, .. } = self;
        let wrote = |deployment: &Deployment| {
            let (name, version) = (deployment.name_any(), deployment.resource_version());
            outcome.versions.iter().any(|(kind, own, written)| {
                *kind == "Deployment" && *own == name && version.as_ref() == Some(written)
            })
        };
        let workloads = [
            (before.and_then(|before| before.queriers.as_ref()), outcome.queriers.as_ref(), "pods"),
            (before.and_then(|before| before.frontend.as_ref()), outcome.frontend.as_ref(), "frontend pods"),
        ];
        for (before, after, pods) in workloads {
            let Some(after) = after.filter(|after| wrote(after)) else { continue };
            let changes = status::restart_reasons(before, after);
            if changes.is_empty() {
                continue;
            }
            let reason = status::sentence(&changes);
            tracing::info!(%reason, pods, "rollout");
            context.metrics.rolled_out();
            context.events.send(&reference(query), &Happened::Rollout { pods, reason: reason.clone() });
            state.rollout = Some(Rollout { time: Time(context.clock.now()), reason, changes });
        }
        let now: BTreeSet<Rejected> = status::rejected(discovery, &plan.summary)
            .into_iter()
            .chain(&discovery.remarks)
            .chain(&plan.summary.endpoints.remarks)
            .cloned()
            .collect();
        let told = state.told.get_or_insert_with(|| told_before(query, &now));
        for rejected in now.difference(told).take(TOLD_AT_ONCE) {
            let happened = Happened::ServiceRejected {
                service: format!("{}/{}", rejected.namespace, rejected.service),
                word: rejected.reason.word(),
                message: rejected.reason.message(),
            };
            context.events.send(&reference(query), &happened);
        }
        *told = now;
    }

    /// The spec asks for something that cannot be done: nothing is touched, and the user is told.
    pub(super) async fn refuse(
        &self,
        state: &mut QueryState,
        reason: &'static str,
        message: String,
    ) -> Result<Action, Error> {
        // The status that tells it may have to wait, and then this is asked again.
        let is_news = state.refused.replace(message.clone()).as_ref() != Some(&message);
        if is_news && !self.old_status(state).conditions.iter().any(|condition| condition.message == message)
        {
            let happened = Happened::Refused { reason, message: message.clone() };
            self.context.events.send(&reference(self.query), &happened);
        }
        self.context.end_turn(&query_ref(self.query));
        self.context.looked_at(&query_ref(self.query));
        self.finish(state, Progress::Refused { reason, message }, None).await
    }

    pub(super) async fn finish(
        &self,
        state: &mut QueryState,
        progress: Progress<'_>,
        again: Option<Duration>,
    ) -> Result<Action, Error> {
        let Self { query, context, handle, cluster: _ } = self;
        let agents = handle.agents.lock().clone();
        let old = self.old_status(state);
        let is_done = matches!(progress, Progress::Done { .. });
        let findings = Findings {
            query,
            old: &old,
            progress,
            rollout: state.rollout.as_ref(),
            agents: &agents,
            now: context.clock.now(),
        };
        let new = status::compute(&findings);
        let mut again = again;
        if new != old {
            // A status that somebody else took away is no news: giving it back must not become a race.
            let is_lost = state.status.as_ref().is_some_and(|written| written.status == new);
            let interval = if is_lost { LOST_STATUS_INTERVAL } else { apply::WRITE_INTERVAL };
            let wait = apply::left_of(interval, state.status_written, Instant::now());
            if wait.is_zero() {
                let version = status::write(&context.client, query, &old, &new).await?;
                context.metrics.wrote("status");
                if is_done {
                    let news = status::news(&old, &new);
                    news.into_iter().for_each(|happened| context.events.send(&reference(query), &happened));
                }
                state.status_written = Some(Instant::now());
                state.status = Some(WrittenStatus { status: new, version });
                state.rollout = None;
            } else {
                again = Some(again.map_or(wait, |again| again.min(wait)));
            }
        }
        Ok(again.map_or_else(Action::await_change, Action::requeue))
    }

    // The watched object may be older than our last write, or newer than what somebody else made of it.
    fn old_status(&self, state: &QueryState) -> ThanosQueryStatus {
        let watched = self.query.status.clone().unwrap_or_default();
        let number = |version: Option<&String>| version.and_then(|version| version.parse::<u64>().ok());
        match &state.status {
            None => watched,
            Some(written) => match (
                number(self.query.metadata.resource_version.as_ref()),
                number(written.version.as_ref()),
            ) {
                (Some(seen), Some(own)) if seen > own => watched,
                _ => written.status.clone(),
            },
        }
    }
}

// After a restart of the operator, what status tells was told.
fn told_before(query: &ThanosQuery, now: &BTreeSet<Rejected>) -> BTreeSet<Rejected> {
    let status = query.status.as_ref();
    let is_told = |own: &&Rejected| {
        status.is_some_and(|status| {
            status.rejected.iter().any(|told| {
                told.namespace == own.namespace
                    && told.name == own.service
                    && told.message == own.reason.message()
            }) || status.conditions.iter().any(|condition| condition.message.contains(&own.reason.message()))
        })
    };
    now.iter().filter(is_told).cloned().collect()
}
