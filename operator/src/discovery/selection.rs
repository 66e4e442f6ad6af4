//! What a ThanosQuery selects, parsed once: namespaces, labels, owners.

use crds::{ThanosQuery, service_discovery::OwnerSelector};

use super::{Namespaces, Selector, SelectorError};
use crate::watch::{StoreApiService, WatchedNamespace};

/// What a ThanosQuery selects of the Services with the StoreAPI labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// In which namespaces.
    pub namespaces: Namespaces,
    /// With which labels.
    pub labels: Selector,
    /// Of which objects.
    pub owners: OwnerSelector,
}

// === impl Selection ===

impl Selection {
    /// Of `query`.
    ///
    /// # Errors
    /// When a selector cannot be understood; the error names field and expression.
    pub fn of(query: &ThanosQuery) -> Result<Self, SelectorError> {
        let labels = query.spec.custom_store_label_selector.clone().unwrap_or_default();
        Ok(Self {
            namespaces: Namespaces::of(query)?,
            labels: Selector::read("spec.customStoreLabelSelector", labels)?,
            owners: query.spec.service_discovery.owner_selector.clone().unwrap_or_default(),
        })
    }

    /// Whether it is about `service`, which is in `namespace`, so that a change of it may matter.
    pub fn is_about(&self, service: &StoreApiService, namespace: Option<&WatchedNamespace>) -> bool {
        self.namespaces.include(&service.namespace, namespace.map(|namespace| &namespace.labels))
            && self.labels.matches(&service.labels)
            && self.owns(service)
    }

    /// Whether `service` belongs to one of the objects that are asked for.
    pub fn owns(&self, service: &StoreApiService) -> bool {
        let OwnerSelector { kinds, names } = &self.owners;
        let has = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        (kinds.is_empty() && names.is_empty())
            || service.owners.iter().any(|owner| has(kinds, &owner.kind) && has(names, &owner.name))
    }
}
