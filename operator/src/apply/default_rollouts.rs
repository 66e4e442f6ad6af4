//! Pure: nothing that runs changes because the operator was upgraded.
//!
//! A pod template is made of what users say (the inputs), of endpoints (their flags) and of the operator's own defaults:
//! probes, the agent's image, the way arguments are written. A Deployment carries the hashes of template and inputs, so
//! a template that changed while its inputs and flags did not has changed for the defaults, and that can wait.

use crds::names::annotations;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use super::endpoint_flags;

/// Why a pod template is another than the one that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateChange {
    /// It is the same.
    None,
    /// A user wants it: the object is new, it is taken over, or its inputs changed.
    Wanted,
    /// Only endpoints want it: its flags changed. New defaults may come along.
    EndpointsOnly,
    /// Only the operator has other defaults now.
    DefaultsOnly,
}

/// What new defaults have to pass before they replace pods.
pub trait DefaultsGate: Send + Sync {
    /// Whether the template with this hash has to wait, and if so, whether for a person; else it is for a turn. Who is
    /// stuck for a reason of his own does not take the turn from the others.
    fn holds(&self, hash: &str, is_stuck: bool) -> Option<bool>;
}

// === impl TemplateChange ===

impl TemplateChange {
    /// Of `desired`, when `live` is what is there.
    pub fn of(desired: &Deployment, live: Option<&Deployment>) -> Self {
        let Some(live) = live else { return Self::Wanted };
        let is_noted = |name| Some((live.annotations().get(name)?, desired.annotations().get(name)?));
        let is_same = |name| is_noted(name).map(|(applied, wanted)| applied == wanted);
        match (is_same(annotations::TEMPLATE_HASH), is_same(annotations::TEMPLATE_INPUTS)) {
            (Some(true), _) => Self::None,
            (Some(false), Some(true)) if endpoint_flags(live) != endpoint_flags(desired) => {
                Self::EndpointsOnly
            }
            (Some(false), Some(true)) => Self::DefaultsOnly,
            _ => Self::Wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(template: &str, inputs: &str) -> Deployment {
        with_flag(template, inputs, "--endpoint-strict=a:1")
    }

    fn with_flag(template: &str, inputs: &str, flag: &str) -> Deployment {
        let all = [(annotations::TEMPLATE_HASH, template), (annotations::TEMPLATE_INPUTS, inputs)];
        let all = all.into_iter().filter(|(_, value)| !value.is_empty());
        let all: std::collections::BTreeMap<_, _> = all.collect();
        let pod = serde_json::json!({"containers": [{"name": "t", "args": [flag]}]});
        serde_json::from_value(serde_json::json!({"metadata": {"annotations": all}, "spec": {"selector": {},
            "template": {"spec": pod}}}))
        .expect("a Deployment")
    }

    fn change(live: Option<&Deployment>) -> TemplateChange {
        TemplateChange::of(&noted("t2", "i1"), live)
    }

    #[test]
    fn a_template_that_changed_while_its_inputs_did_not_has_changed_for_the_defaults() {
        assert_eq!(change(Some(&noted("t2", "i1"))), TemplateChange::None);
        assert_eq!(change(Some(&noted("t2", "i0"))), TemplateChange::None);
        assert_eq!(change(Some(&noted("t1", "i1"))), TemplateChange::DefaultsOnly);
        assert_eq!(change(Some(&noted("t1", "i0"))), TemplateChange::Wanted);
    }

    #[test]
    fn endpoints_are_the_reason_when_their_flags_changed_and_no_user_said_anything_else() {
        let other = |template, inputs| with_flag(template, inputs, "--endpoint-group=a:1");
        assert_eq!(change(Some(&other("t1", "i1"))), TemplateChange::EndpointsOnly);
        assert_eq!(change(Some(&other("t1", "i0"))), TemplateChange::Wanted);
        assert_eq!(change(Some(&other("t2", "i1"))), TemplateChange::None, "somebody else changed them");
    }

    #[test]
    fn new_objects_and_those_of_another_operator_do_not_wait() {
        assert_eq!(change(None), TemplateChange::Wanted);
        assert_eq!(change(Some(&Deployment::default())), TemplateChange::Wanted);
        assert_eq!(change(Some(&noted("t1", ""))), TemplateChange::Wanted);
        assert_eq!(change(Some(&noted("", "i1"))), TemplateChange::Wanted);
    }
}
