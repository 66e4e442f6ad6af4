//! Pure: whose is an object of a name that we need? What belongs to somebody else is reported and left alone.

use crds::{ThanosQuery, names::labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Made for this ThanosQuery, or for an earlier one of its name.
    Ours,
    /// Of somebody else, in words.
    Foreign(String),
}

// === impl Ownership ===

impl Ownership {
    /// Looks at an object that exists.
    pub fn of(object: &ObjectMeta, query: &ThanosQuery) -> Self {
        let controller =
            object.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let name = query.metadata.name.as_deref().unwrap_or_default();
        match controller {
            Some(owner) if owner.kind == ThanosQuery::kind(&()) && owner.name == name => Self::Ours,
            Some(owner) => Self::Foreign(format!("it is controlled by {} {}", owner.kind, owner.name)),
            None => {
                let has = |label, value| {
                    object
                        .labels
                        .as_ref()
                        .and_then(|labels| labels.get(label))
                        .is_some_and(|own| own == value)
                };
                if has(labels::MANAGED_BY, labels::OPERATOR) && has(labels::OWNER, name) {
                    Self::Ours
                } else {
                    Self::Foreign("it does not carry the operator's labels".to_owned())
                }
            }
        }
    }

    /// Whether this very ThanosQuery controls the object: only then it may be deleted.
    pub fn is_controlled_by(object: &ObjectMeta, query: &ThanosQuery) -> bool {
        object
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == query.metadata.uid.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> ThanosQuery {
        serde_saphyr::from_str("{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {name: global, uid: u-1}, spec: {}}")
            .expect("a ThanosQuery")
    }

    fn meta(yaml: &str) -> ObjectMeta {
        serde_saphyr::from_str(yaml).expect("metadata")
    }

    #[test]
    fn what_has_our_labels_or_our_controller_is_ours() {
        for yaml in [
            "ownerReferences: [{apiVersion: v1, kind: ThanosQuery, name: global, uid: u-1, controller: true}]",
            "ownerReferences: [{apiVersion: v1, kind: ThanosQuery, name: global, uid: earlier, controller: true}]",
            "labels: {app.kubernetes.io/managed-by: thanos-operator, operator.thanos.io/owner: global}",
        ] {
            assert_eq!(Ownership::of(&meta(yaml), &query()), Ownership::Ours, "{yaml}");
        }
    }

    #[test]
    fn what_somebody_else_made_is_foreign() {
        for yaml in [
            "name: x",
            "labels: {app.kubernetes.io/managed-by: Helm}",
            "ownerReferences: [{apiVersion: v1, kind: Release, name: global, uid: u-1, controller: true}]",
            "ownerReferences: [{apiVersion: v1, kind: ThanosQuery, name: other, uid: u-2, controller: true}]",
        ] {
            assert!(matches!(Ownership::of(&meta(yaml), &query()), Ownership::Foreign(_)), "{yaml}");
        }
        assert!(!Ownership::is_controlled_by(&meta("name: x"), &query()));
    }
}
