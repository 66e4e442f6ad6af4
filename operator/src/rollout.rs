//! Pure: how far a rollout is, as the status of its Deployment tells.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

/// Where the last change of a pod template has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// A change of the template replaces nothing now: there are no pods, or a person has paused the Deployment.
    Idle,
    /// Every pod is of the last template.
    Complete,
    /// It has taken longer than it may.
    Stuck,
    /// Kubernetes has not looked at the last change yet.
    Unobserved,
    /// Pods are being replaced.
    UnderWay {
        /// Whether Kubernetes will say so when this takes too long.
        has_deadline: bool,
    },
}

/// `progressDeadlineSeconds` that stands for no deadline.
const NO_DEADLINE: i32 = i32::MAX;

/// Whether every pod is of the current template and available.
pub fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = wanted(deployment);
    let Some(status) = &deployment.status else { return false };
    let is_all = |pods: Option<i32>| pods.unwrap_or_default() == wanted;
    is_observed(deployment)
        && is_all(status.updated_replicas)
        && is_all(status.available_replicas)
        && is_all(status.replicas)
}

/// Whether its rollout has taken longer than it may.
pub fn is_stuck(deployment: &Deployment) -> bool {
    stuck(deployment).is_some()
}

/// What Kubernetes says about a rollout that has taken longer than it may.
pub fn stuck(deployment: &Deployment) -> Option<String> {
    let stuck = progressing(deployment).filter(|own| own.status == "False")?;
    Some(stuck.message.clone().unwrap_or_default())
}

fn wanted(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn is_observed(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    status.is_some_and(|status| status.observed_generation >= deployment.metadata.generation)
}

fn progressing(deployment: &Deployment) -> Option<&DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|own| own.type_ == "Progressing")
}

/// Whether Kubernetes has said that the rollout is complete, and has not begun another. It does not take that back when
/// a pod fails later, and gives that no deadline either.
fn was_complete(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    progressing(deployment).is_some_and(|own| own.reason.as_deref() == Some("NewReplicaSetAvailable"))
        && status.is_some_and(|status| status.replicas == status.updated_replicas)
}

// === impl Rollout ===

impl Rollout {
    /// Of `deployment`.
    pub fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let is_paused = spec.is_some_and(|spec| spec.paused == Some(true));
        if is_paused || wanted(deployment) == 0 {
            Self::Idle
        } else if !is_observed(deployment) {
            // What the conditions say is of the change before.
            Self::Unobserved
        } else if is_rolled_out(deployment) || was_complete(deployment) {
            Self::Complete
        } else if is_stuck(deployment) {
            Self::Stuck
        } else {
            let deadline = spec.and_then(|spec| spec.progress_deadline_seconds);
            Self::UnderWay { has_deadline: deadline != Some(NO_DEADLINE) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(spec: &str, status: &str) -> Rollout {
        let yaml = format!(
            "{{metadata: {{generation: 5}}, spec: {{{spec} selector: {{}}, template: {{}}}}, status: {{{status}}}}}"
        );
        Rollout::of(&serde_saphyr::from_str(&yaml).expect("a Deployment"))
    }

    const ALL: &str = "observedGeneration: 5, replicas: 2, updatedReplicas: 2, availableReplicas: 2";
    const HALF: &str = "observedGeneration: 5, replicas: 3, updatedReplicas: 1, availableReplicas: 2";

    fn half_with(progressing: &str) -> String {
        format!("{HALF}, conditions: [{{type: Progressing, {progressing}}}]")
    }

    #[test]
    fn it_is_complete_when_every_pod_is_new_and_available() {
        assert_eq!(rollout("replicas: 2,", ALL), Rollout::Complete);
        assert_eq!(rollout("replicas: 2,", HALF), Rollout::UnderWay { has_deadline: true });
        let progressing = half_with("status: 'True', reason: ReplicaSetUpdated");
        assert_eq!(rollout("replicas: 2,", &progressing), Rollout::UnderWay { has_deadline: true });
    }

    #[test]
    fn what_kubernetes_has_not_seen_is_neither_complete_nor_stuck() {
        assert_eq!(rollout("replicas: 2,", ""), Rollout::Unobserved);
        assert_eq!(rollout("replicas: 2,", &ALL.replace('5', "4")), Rollout::Unobserved);
        let stuck = half_with("status: 'False'").replace('5', "4");
        assert_eq!(rollout("replicas: 2,", &stuck), Rollout::Unobserved);
    }

    #[test]
    fn past_its_deadline_it_is_stuck() {
        let stuck = half_with("status: 'False', reason: ProgressDeadlineExceeded");
        assert_eq!(rollout("replicas: 2,", &stuck), Rollout::Stuck);
    }

    #[test]
    fn pods_that_fail_or_are_added_after_it_was_complete_do_not_begin_it_anew() {
        let complete = "conditions: [{type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]";
        let failing = ALL.replace("availableReplicas: 2", "availableReplicas: 0");
        assert_eq!(rollout("replicas: 2,", &format!("{failing}, {complete}")), Rollout::Complete);
        assert_eq!(rollout("replicas: 9,", &format!("{ALL}, {complete}")), Rollout::Complete, "more pods");
        let back = half_with("status: 'True', reason: NewReplicaSetAvailable");
        let back = rollout("replicas: 2,", &back);
        assert_eq!(
            back,
            Rollout::UnderWay { has_deadline: true },
            "back to a template that was there before"
        );
    }

    #[test]
    fn without_pods_and_while_a_person_has_paused_it_nothing_is_replaced() {
        assert_eq!(rollout("replicas: 0,", ""), Rollout::Idle);
        assert_eq!(rollout("replicas: 2, paused: true,", HALF), Rollout::Idle);
        assert_eq!(rollout("replicas: 2, paused: true,", ""), Rollout::Idle);
    }

    #[test]
    fn a_deadline_that_never_comes_is_none() {
        let spec = "replicas: 2, progressDeadlineSeconds: 2147483647,";
        assert_eq!(rollout(spec, HALF), Rollout::UnderWay { has_deadline: false });
    }
}
