//! Pure: who decides how many pods a Deployment has.
//!
//! `spec.replicas` is left out of what we apply only when another manager owns it. A field that its last owner leaves
//! out is deleted, and the API server makes 1 of it; so until somebody else owns it, the live value is applied.

use crds::names::annotations;
use k8s_openapi::api::apps::v1::Deployment;

use crate::{managed_fields::other_owner, watch::Autoscaled};

/// How the horizontal autoscaler of Kubernetes writes.
const AUTOSCALER_MANAGER: &str = "kube-controller-manager";
const AUTOSCALER_SUBRESOURCE: &str = "scale";

/// The number of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    /// `spec.replicas` to apply; none: it is left out.
    pub apply: Option<i32>,
    /// How many there will be.
    pub effective: i32,
    /// Who decides, in words, when it is not the ThanosQuery.
    pub handed_over_to: Option<String>,
    /// Value of the annotation [`annotations::REPLICAS`].
    pub note: String,
}

// === impl Replicas ===

impl Replicas {
    /// For `wanted`, which is `spec.replicas` of the ThanosQuery, and what is there.
    pub fn of(wanted: i32, live: Option<&Deployment>, autoscaler: &Autoscaled) -> Self {
        let note = wanted.to_string();
        let own = Self { apply: Some(wanted), effective: wanted, handed_over_to: None, note };
        let Some(live) = live else { return own };
        // The API server's own default.
        let there = live.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let noted = live.metadata.annotations.as_ref().and_then(|all| all.get(annotations::REPLICAS));
        let managed = live.metadata.managed_fields.as_deref().unwrap_or_default();
        let owner = other_owner(managed, &["spec", "replicas"]);
        let is_autoscaler = owner.is_some_and(|owner| {
            owner.manager.as_deref() == Some(AUTOSCALER_MANAGER)
                && owner.subresource.as_deref() == Some(AUTOSCALER_SUBRESOURCE)
        });
        let manager = owner.map(|owner| owner.manager.clone().unwrap_or_else(|| "somebody else".to_owned()));
        // Without a note, the Deployment was made by another operator: whoever scaled it keeps what they did.
        let is_changed = noted.is_some_and(|noted| *noted != own.note);
        let kept = |apply, by| Self { apply, effective: there, handed_over_to: by, ..own.clone() };

        match (autoscaler, manager) {
            (Autoscaled::Targets(name), Some(_)) => kept(None, Some(autoscaler_named(name))),
            // It does not wake a Deployment that has no pods; nobody else did this either.
            (Autoscaled::Targets(_), None) if there == 0 => own,
            // It writes only when it has something to change: at rest it owns nothing.
            (Autoscaled::Targets(name), None) => kept(Some(there), Some(autoscaler_named(name))),

            // It is gone, and took its number with it.
            (Autoscaled::None, Some(_)) if is_autoscaler => own,
            (Autoscaled::Unknown, Some(_)) if is_autoscaler => {
                kept(None, Some("a HorizontalPodAutoscaler".to_owned()))
            }
            (Autoscaled::None | Autoscaled::Unknown, Some(_)) if is_changed => own,
            (Autoscaled::None | Autoscaled::Unknown, Some(manager)) => kept(None, Some(manager)),

            // Our own number, which is not that of the spec: it was an autoscaler's when we could see it, and it is
            // not to lose its pods because we cannot see it now.
            (Autoscaled::Unknown, None) if noted.is_some() && !is_changed && there != 0 => {
                let by = (there != wanted).then(|| "a HorizontalPodAutoscaler".to_owned());
                kept(Some(there), by)
            }
            (Autoscaled::None | Autoscaled::Unknown, None) => own,
        }
    }
}

fn autoscaler_named(name: &str) -> String {
    format!("HorizontalPodAutoscaler {name}")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn live(replicas: i32, noted: Option<&str>, owners: &[(&str, &str, &str)]) -> Deployment {
        let managed: Vec<Value> = owners
            .iter()
            .map(|(manager, operation, subresource)| {
                json!({"manager": manager, "operation": operation, "subresource": subresource, "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:spec": {"f:replicas": {}}}})
            })
            .collect();
        let annotations = noted.map(|noted| json!({annotations::REPLICAS: noted}));
        serde_json::from_value(json!({
            "metadata": {"annotations": annotations, "managedFields": managed},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
        }))
        .expect("a Deployment")
    }

    const OURS: (&str, &str, &str) = ("thanos-operator", "Apply", "");
    const UPSTREAM: (&str, &str, &str) = ("manager", "Update", "");
    const HPA: (&str, &str, &str) = ("kube-controller-manager", "Update", "scale");
    const KUBECTL: (&str, &str, &str) = ("kubectl", "Update", "scale");

    fn targets() -> Autoscaled {
        Autoscaled::Targets("h".to_owned())
    }

    /// What is applied, and how many there will be.
    fn decided(wanted: i32, live: &Deployment, autoscaler: &Autoscaled) -> (Option<i32>, i32) {
        let replicas = Replicas::of(wanted, Some(live), autoscaler);
        assert_eq!(replicas.note, wanted.to_string());
        (replicas.apply, replicas.effective)
    }

    #[test]
    fn a_new_deployment_begins_as_the_spec_says() {
        for autoscaler in [targets(), Autoscaled::None, Autoscaled::Unknown] {
            let replicas = Replicas::of(3, None, &autoscaler);
            let expected =
                Replicas { apply: Some(3), effective: 3, handed_over_to: None, note: "3".to_owned() };
            assert_eq!(replicas, expected);
        }
    }

    #[test]
    fn an_autoscaler_that_wrote_decides() {
        let replicas = Replicas::of(2, Some(&live(5, Some("2"), &[HPA])), &targets());
        let by = Some("HorizontalPodAutoscaler h".to_owned());
        assert_eq!(
            replicas,
            Replicas { apply: None, effective: 5, handed_over_to: by, note: "2".to_owned() }
        );
        assert_eq!(
            decided(9, &live(5, Some("2"), &[HPA]), &targets()),
            (None, 5),
            "also when the spec changes"
        );
    }

    #[test]
    fn an_autoscaler_that_has_nothing_to_scale_keeps_the_pods_there_are() {
        assert_eq!(decided(2, &live(5, Some("5"), &[OURS]), &targets()), (Some(5), 5));
        assert_eq!(decided(2, &live(5, None, &[UPSTREAM]), &targets()), (Some(5), 5));
    }

    #[test]
    fn an_autoscaler_cannot_wake_a_deployment_without_pods() {
        assert_eq!(decided(2, &live(0, Some("0"), &[OURS]), &targets()), (Some(2), 2));
        assert_eq!(
            decided(2, &live(0, Some("2"), &[KUBECTL]), &targets()),
            (None, 0),
            "put to sleep on purpose"
        );
    }

    #[test]
    fn when_the_autoscaler_is_gone_the_spec_decides_again() {
        assert_eq!(decided(2, &live(5, Some("2"), &[HPA]), &Autoscaled::None), (Some(2), 2));
        assert_eq!(decided(2, &live(5, Some("2"), &[OURS]), &Autoscaled::None), (Some(2), 2));
    }

    #[test]
    fn somebody_who_scaled_decides_until_the_spec_changes() {
        let scaled = live(4, Some("2"), &[OURS, KUBECTL]);
        for autoscaler in [Autoscaled::None, Autoscaled::Unknown] {
            assert_eq!(decided(2, &scaled, &autoscaler), (None, 4));
            assert_eq!(decided(3, &scaled, &autoscaler), (Some(3), 3));
        }
        let by = Replicas::of(2, Some(&scaled), &Autoscaled::None).handed_over_to;
        assert_eq!(by.as_deref(), Some("kubectl"));
    }

    #[test]
    fn who_scaled_an_object_of_another_operator_keeps_the_number() {
        assert_eq!(decided(2, &live(4, None, &[UPSTREAM, KUBECTL]), &Autoscaled::None), (None, 4));
    }

    #[test]
    fn what_upstream_wrote_is_not_somebody_elses() {
        assert_eq!(decided(2, &live(4, None, &[UPSTREAM]), &Autoscaled::None), (Some(2), 2));
        assert_eq!(decided(2, &live(4, None, &[UPSTREAM]), &Autoscaled::Unknown), (Some(2), 2));
    }

    #[test]
    fn while_autoscalers_cannot_be_read_their_number_stays() {
        assert_eq!(decided(2, &live(5, Some("2"), &[HPA]), &Autoscaled::Unknown), (None, 5));
        assert_eq!(decided(3, &live(5, Some("2"), &[HPA]), &Autoscaled::Unknown), (None, 5));
        assert_eq!(decided(2, &live(5, Some("2"), &[OURS]), &Autoscaled::Unknown), (Some(5), 5));
        assert_eq!(decided(3, &live(2, Some("2"), &[OURS]), &Autoscaled::Unknown), (Some(3), 3));
    }
}
