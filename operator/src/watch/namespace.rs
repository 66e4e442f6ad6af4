//! Namespaces: their labels, and whom they let use their Services.

use std::collections::{BTreeMap, BTreeSet};

use crds::names::annotations::{ALLOW_DISCOVERY_FROM, ANY_NAMESPACE};
use k8s_openapi::api::core::v1::Namespace;

use super::index::Row;

/// A namespace as discovery sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedNamespace {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who may use its Services from other namespaces.
    pub consent: Consent,
}

/// Who may use a Service from other namespaces: ThanosQuery objects of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// Of none.
    #[default]
    Nobody,
    /// Of all.
    Anyone,
    /// Of these.
    From(BTreeSet<String>),
}

// === impl WatchedNamespace ===

impl From<Namespace> for WatchedNamespace {
    fn from(namespace: Namespace) -> Self {
        let metadata = namespace.metadata;
        Self {
            name: metadata.name.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
            consent: Consent::of(&metadata.annotations.unwrap_or_default()),
        }
    }
}

impl Row for WatchedNamespace {
    // It lives in none.
    fn namespace(&self) -> &str {
        ""
    }

    fn name(&self) -> &str {
        &self.name
    }
}

// === impl Consent ===

impl Consent {
    /// As the annotation says.
    pub fn of(annotations: &BTreeMap<String, String>) -> Self {
        let Some(value) = annotations.get(ALLOW_DISCOVERY_FROM) else { return Self::Nobody };
        let names: BTreeSet<String> =
            value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.contains(ANY_NAMESPACE) {
            Self::Anyone
        } else if names.is_empty() {
            Self::Nobody
        } else {
            Self::From(names)
        }
    }

    /// Whether ThanosQuery objects of `namespace` may.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Anyone => true,
            Self::From(names) => names.contains(namespace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_a_list_of_namespaces_or_a_star() {
        let consent =
            |value: &str| Consent::of(&BTreeMap::from([(ALLOW_DISCOVERY_FROM.to_owned(), value.to_owned())]));
        assert!(consent("a, b").allows("b") && !consent("a, b").allows("c"));
        assert!(consent("*").allows("c") && consent("a,*").allows("c"));
        assert_eq!((consent(""), consent(" , ")), (Consent::Nobody, Consent::Nobody));
        assert!(!consent("a*").allows("ab"), "no patterns");
        assert_eq!(Consent::of(&BTreeMap::new()), Consent::Nobody);
    }
}
