//! Pure: nothing that runs changes because the operator was upgraded.
//!
//! A pod template is made of what users and endpoints say (the inputs) and of the operator's own defaults: probes, the
//! agent's image, the way arguments are written. A Deployment carries the hash of both, so a template that changed
//! while its inputs did not has changed for the defaults, and that can wait.

use crds::names::annotations;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Why a pod template is another than the one that was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateChange {
    /// It is the same.
    None,
    /// Somebody wants it: the object is new, it is taken over, or its inputs changed.
    Wanted,
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
    /// Of a Deployment whose template has the hash `template` and comes from inputs with the hash `inputs`; `live` is
    /// the metadata of what is there.
    pub fn of(template: &str, inputs: &str, live: Option<&ObjectMeta>) -> Self {
        let noted = |name| live.and_then(|live| live.annotations.as_ref()).and_then(|all| all.get(name));
        match (noted(annotations::TEMPLATE_HASH), noted(annotations::TEMPLATE_INPUTS)) {
            (Some(applied), _) if applied == template => Self::None,
            (Some(_), Some(applied)) if applied == inputs => Self::DefaultsOnly,
            _ => Self::Wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(template: &str, inputs: &str) -> ObjectMeta {
        let all = [(annotations::TEMPLATE_HASH, template), (annotations::TEMPLATE_INPUTS, inputs)];
        let all = all.into_iter().filter(|(_, value)| !value.is_empty());
        ObjectMeta {
            annotations: Some(all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_template_that_changed_while_its_inputs_did_not_has_changed_for_the_defaults() {
        let change = |live: Option<&ObjectMeta>| TemplateChange::of("t2", "i1", live);
        assert_eq!(change(Some(&noted("t2", "i1"))), TemplateChange::None);
        assert_eq!(change(Some(&noted("t2", "i0"))), TemplateChange::None);
        assert_eq!(change(Some(&noted("t1", "i1"))), TemplateChange::DefaultsOnly);
        assert_eq!(change(Some(&noted("t1", "i0"))), TemplateChange::Wanted);
    }

    #[test]
    fn new_objects_and_those_of_another_operator_do_not_wait() {
        let change = |live: Option<&ObjectMeta>| TemplateChange::of("t2", "i1", live);
        assert_eq!(change(None), TemplateChange::Wanted);
        assert_eq!(change(Some(&ObjectMeta::default())), TemplateChange::Wanted);
        assert_eq!(change(Some(&noted("t1", ""))), TemplateChange::Wanted);
        assert_eq!(change(Some(&noted("", "i1"))), TemplateChange::Wanted);
    }
}
