//! HorizontalPodAutoscalers: who decides how many pods a Deployment has.
//!
//! Only what they scale is kept. They may be unreadable (a Role from before this was watched): nobody waits for them
//! longer than a head start.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api,
    runtime::{reflector::ObjectRef, watcher},
};
use tokio::time::sleep;

use super::{Change, HEAD_START, Indices, Look, QueryRef, Row, Scope, Told, feed};
use crds::names::objects;

/// A HorizontalPodAutoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// Where it lives.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it scales.
    pub target: Target,
}

/// What is scaled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its API group, without the version; empty for the core group.
    pub api_group: String,
}

/// Whether a Deployment has an autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Autoscaled {
    /// By this one.
    Targets(String),
    /// By none.
    None,
    /// The list is not complete; perhaps it never will be.
    Unknown,
}

// === impl Autoscaler ===

impl From<HorizontalPodAutoscaler> for Autoscaler {
    fn from(autoscaler: HorizontalPodAutoscaler) -> Self {
        let metadata = autoscaler.metadata;
        let target = autoscaler.spec.map(|spec| {
            let target = spec.scale_target_ref;
            let version = target.api_version.unwrap_or_default();
            let group = version.split_once('/').map(|(group, _)| group.to_owned());
            Target { kind: target.kind, name: target.name, api_group: group.unwrap_or_default() }
        });
        Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            target: target.unwrap_or_default(),
        }
    }
}

impl Row for Autoscaler {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }
}

// === impl Target ===

impl Target {
    /// The Deployment that is scaled, if it is one.
    pub fn deployment(&self) -> Option<&str> {
        (self.kind == "Deployment" && self.api_group == "apps").then_some(self.name.as_str())
    }
}

// === impl Indices ===

impl Indices {
    /// Who scales a Deployment.
    pub fn autoscaler_of(&self, namespace: &str, deployment: &str) -> Autoscaled {
        let autoscalers = self.autoscalers.read();
        // What is known counts also while the list is not complete.
        let mut all = autoscalers.in_namespace(namespace);
        match all.find(|autoscaler| autoscaler.target.deployment() == Some(deployment)) {
            Some(autoscaler) => Autoscaled::Targets(autoscaler.name.clone()),
            None if autoscalers.is_complete_for(namespace) => Autoscaled::None,
            None => Autoscaled::Unknown,
        }
    }
}

/// Keeps `Indices::autoscalers` for ever. A change makes the ThanosQuery objects look that it may concern.
pub async fn watch_autoscalers(
    api: Api<HorizontalPodAutoscaler>,
    scope: Scope,
    indices: Indices,
    look: Look,
) {
    let start = &indices.autoscaler_head_start;
    let may_begin = || {
        let ended = start.end(&scope);
        if ended {
            look.wakes().all(&scope);
        }
        ended
    };
    let tell = |news: Told<Autoscaler>| match news {
        Told::Changes(changes) => look_at_targets(&look, &changes),
        Told::Listed { first: true, .. } => {
            // Whoever did not wait has been planned without knowing.
            if !may_begin() {
                look.at_all(&scope);
            }
        }
        Told::Listed { changes, first: false } => look_at_targets(&look, &changes),
        Told::Failed | Told::Refused => {
            may_begin();
        }
    };
    let rows = indices.autoscalers.clone();
    let fed = feed(api, watcher::Config::default(), scope.clone(), rows, tell);
    let impatient = async {
        sleep(HEAD_START).await;
        may_begin();
    };
    tokio::join!(fed, impatient);
}

fn look_at_targets(look: &Look, changes: &[Change<Autoscaler>]) {
    for row in changes.iter().flat_map(|change| [&change.old, &change.new]).flatten() {
        for name in row.target.deployment().into_iter().flat_map(owners) {
            let query: QueryRef = ObjectRef::new(name).within(&row.namespace);
            look.at(&query);
        }
    }
}

/// The ThanosQuery objects that a Deployment of this name can belong to. `thanos-query-frontend-a` is the frontend
/// of `a` or the querier of `frontend-a`.
fn owners(deployment: &str) -> impl Iterator<Item = &str> {
    [objects::QUERIER_PREFIX, objects::FRONTEND_PREFIX]
        .into_iter()
        .filter_map(|prefix| deployment.strip_prefix(prefix))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(name: &str, target: &str) -> Autoscaler {
        let yaml = format!(
            "{{metadata: {{name: {name}, namespace: demo}}, spec: {{maxReplicas: 3, scaleTargetRef: {{{target}}}}}}}"
        );
        serde_saphyr::from_str::<HorizontalPodAutoscaler>(&yaml).expect("an autoscaler").into()
    }

    #[test]
    fn only_a_deployment_of_the_apps_group_counts() {
        let target = |target| autoscaler("a", target).target;
        assert_eq!(target("apiVersion: apps/v1, kind: Deployment, name: d").deployment(), Some("d"));
        for other in [
            "apiVersion: apps/v1, kind: StatefulSet, name: d",
            "apiVersion: example.org/v1, kind: Deployment, name: d",
            "kind: Deployment, name: d",
        ] {
            assert_eq!(target(other).deployment(), None, "{other}");
        }
    }

    #[test]
    fn a_name_that_can_be_a_querier_and_a_frontend_belongs_to_both() {
        let all = |name| owners(name).collect::<Vec<_>>();
        assert_eq!(all("thanos-query-a"), ["a"]);
        assert_eq!(all("thanos-query-frontend-a"), ["frontend-a", "a"]);
        assert_eq!(all("thanos-query-"), [""; 0]);
        assert_eq!(all("grafana"), [""; 0]);
    }

    #[test]
    fn without_a_complete_list_a_missing_autoscaler_means_nothing() {
        let indices = Indices::default();
        assert_eq!(indices.autoscaler_of("demo", "d"), Autoscaled::Unknown);
        let row = autoscaler("a", "apiVersion: apps/v1, kind: Deployment, name: d");
        indices.autoscalers.write().replace(&Scope::Namespace("demo".into()), vec![row]);
        assert_eq!(indices.autoscaler_of("demo", "d"), Autoscaled::Targets("a".into()));
        assert_eq!(indices.autoscaler_of("demo", "e"), Autoscaled::None);
        assert_eq!(indices.autoscaler_of("other", "d"), Autoscaled::Unknown);
    }
}
