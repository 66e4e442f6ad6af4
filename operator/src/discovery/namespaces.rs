//! Which namespaces a ThanosQuery looks at, and which of them the operator may not read.

use std::collections::{BTreeMap, BTreeSet};

use crds::{ThanosQuery, service_discovery::NamespaceSelector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Selector, SelectorError};
use crate::watch::Scope;

/// Which namespaces a ThanosQuery looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    own: String,
    chosen: Option<Chosen>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chosen {
    any: bool,
    names: BTreeSet<String>,
    labels: Option<Selector>,
}

/// What the operator may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The namespaces that it works in; none when it works in all.
    pub only: Option<BTreeSet<String>>,
    /// Those of them whose Services or EndpointSlices may not be listed.
    pub refused: BTreeSet<String>,
    /// Whether the labels and annotations of namespaces are known.
    pub reads_namespaces: bool,
    /// Whether a Service of another namespace needs consent.
    pub needs_consent: bool,
}

/// Namespaces of which it cannot be said what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown(Option<(Namespaces, Rights)>);

const FIELD: &str = "spec.serviceDiscovery.namespaceSelector";

// === impl Namespaces ===

impl Namespaces {
    /// Those of `query`.
    ///
    /// # Errors
    /// When an expression cannot be understood.
    pub fn of(query: &ThanosQuery) -> Result<Self, SelectorError> {
        let own = query.metadata.namespace.clone().unwrap_or_default();
        // An empty selector is as good as none.
        let selector = query.spec.service_discovery.namespace_selector.clone();
        let chosen = selector.filter(|selector| *selector != NamespaceSelector::default());
        Ok(Self { own, chosen: chosen.map(Chosen::of).transpose()? })
    }

    /// The namespace of the ThanosQuery itself.
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Whether only the namespace of the ThanosQuery itself is looked at.
    pub fn is_own_only(&self) -> bool {
        self.chosen.is_none()
    }

    /// Whether `namespace` is looked at; none for labels that are not known.
    pub fn include(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let Some(Chosen { any, names, labels: wanted }) = &self.chosen else { return namespace == self.own };
        let is_labelled =
            || wanted.as_ref().zip(labels).is_some_and(|(wanted, labels)| wanted.matches(labels));
        *any || names.contains(namespace) || is_labelled()
    }

    /// Whether something in `scope` may be looked at, as far as that can be said without any labels.
    pub fn may_reach(&self, scope: &Scope) -> bool {
        match (&self.chosen, scope) {
            (_, Scope::All) => true,
            (None, Scope::Namespace(name)) => *name == self.own,
            (Some(chosen), Scope::Namespace(name)) => {
                chosen.any || chosen.labels.is_some() || chosen.names.contains(name)
            }
        }
    }

    /// Those of which it cannot be said what is in them, while the operator may read no more than `rights` say.
    pub fn unknown(&self, rights: &Rights) -> Unknown {
        let is_complete = rights.refused.is_empty() && rights.reads_namespaces;
        Unknown((!is_complete).then(|| (self.clone(), rights.clone())))
    }

    /// Whether it cannot be said of `namespace` what is in it: it is or may be looked at, and may not be read.
    fn are_unknown_in(&self, namespace: &str, rights: &Rights) -> bool {
        let may_be_labelled = self.chosen.as_ref().is_some_and(|chosen| chosen.labels.is_some());
        let is_watched = rights.only.as_ref().is_none_or(|only| only.contains(namespace));
        is_watched
            && (rights.refused.contains(namespace) && (may_be_labelled || self.include(namespace, None))
                || !rights.reads_namespaces && may_be_labelled && !self.include(namespace, None))
    }

    /// What is asked for and may not be read, each with the remedy.
    pub fn out_of_reach(&self, rights: &Rights) -> Vec<String> {
        let Some(Chosen { any, names, labels }) = &self.chosen else { return vec![] };
        let mut told = Vec::new();
        if let Some(only) = &rights.only {
            let list =
                |names: &mut dyn Iterator<Item = &String>| names.cloned().collect::<Vec<_>>().join(", ");
            let beyond = list(&mut names.difference(only));
            let works = list(&mut only.iter());
            if *any {
                told.push(format!(
                    "{FIELD}.any: the operator works in {works} only; start it without --watch-namespaces to reach all"
                ));
            }
            if !beyond.is_empty() {
                told.push(format!(
                    "{FIELD}.matchNames: {beyond}: the operator works in {works} only; add them to --watch-namespaces"
                ));
            }
        }
        if labels.is_some() && !rights.reads_namespaces {
            told.push(format!(
                "{FIELD}.matchLabels and matchExpressions choose nothing: the operator needs the right to list and watch Namespaces, and has to work in more than one"
            ));
        }
        let refused: Vec<&str> = rights
            .refused
            .iter()
            .filter(|name| self.include(name, None) || labels.is_some())
            .map(String::as_str)
            .collect();
        if !refused.is_empty() {
            told.push(format!(
                "{FIELD}: {}: the operator may not list Services and EndpointSlices there; give it a Role. What was known of them stays",
                refused.join(", ")
            ));
        }
        told
    }
}

// === impl Unknown ===

impl Unknown {
    /// Whether `namespace` is one of them.
    pub fn contains(&self, namespace: &str) -> bool {
        let Self(unknown) = self;
        unknown.as_ref().is_some_and(|(namespaces, rights)| namespaces.are_unknown_in(namespace, rights))
    }

    /// Of every namespace.
    #[cfg(test)]
    pub fn of_all() -> Self {
        let chosen = Chosen { any: false, names: BTreeSet::new(), labels: Some(Selector::default()) };
        let rights = Rights { reads_namespaces: false, ..Rights::default() };
        Self(Some((Namespaces { own: String::new(), chosen: Some(chosen) }, rights)))
    }
}

// === impl Chosen ===

impl Chosen {
    fn of(selector: NamespaceSelector) -> Result<Self, SelectorError> {
        let NamespaceSelector { any, match_names, match_labels, match_expressions } = selector;
        let has_labels = match_labels.as_ref().is_some_and(|labels| !labels.is_empty())
            || match_expressions.as_ref().is_some_and(|all| !all.is_empty());
        // An empty map beside a list of names must not choose everything.
        let labels =
            has_labels.then(|| Selector::read(FIELD, LabelSelector { match_labels, match_expressions }));
        Ok(Self { any, names: match_names.into_iter().collect(), labels: labels.transpose()? })
    }
}

// === impl Rights ===

impl Default for Rights {
    fn default() -> Self {
        Self { only: None, refused: BTreeSet::new(), reads_namespaces: true, needs_consent: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(selector: &str) -> Namespaces {
        let yaml = format!(
            "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo}}, \
             spec: {{serviceDiscovery: {{namespaceSelector: {{{selector}}}}}}}}}"
        );
        Namespaces::of(&serde_saphyr::from_str(&yaml).expect("a ThanosQuery")).expect("readable")
    }

    fn labels(text: &str) -> BTreeMap<String, String> {
        text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect()
    }

    #[test]
    fn an_empty_selector_means_the_own_namespace() {
        let own = namespaces("");
        assert!(own.is_own_only() && own.include("demo", None) && !own.include("other", None));
        assert_eq!(own.out_of_reach(&Rights { reads_namespaces: false, ..Rights::default() }), [""; 0]);
    }

    #[test]
    fn any_of_names_and_labels_chooses_a_namespace_and_the_own_one_is_not_added() {
        let chosen = namespaces("matchNames: [a], matchLabels: {team: x}");
        assert!(chosen.include("a", None) && chosen.include("b", Some(&labels("team=x"))));
        assert!(!chosen.include("b", Some(&labels("team=y"))) && !chosen.include("demo", Some(&labels(""))));
        assert!(namespaces("any: true").include("whatever", None));
        assert!(!namespaces("matchNames: [a], matchLabels: {}").include("b", Some(&labels(""))));
    }

    #[test]
    fn what_may_not_be_read_is_told_with_the_remedy() {
        let two = Rights { only: Some(["a".to_owned(), "demo".to_owned()].into()), ..Rights::default() };
        let told = |selector: &str, rights: &Rights| namespaces(selector).out_of_reach(rights).join("; ");
        assert!(told("any: true", &two).contains("works in a, demo only"));
        assert!(told("matchNames: [a, b, c]", &two).contains("matchNames: b, c:"));
        assert_eq!(told("matchNames: [a]", &two), "");
        let blind = Rights { reads_namespaces: false, ..two.clone() };
        assert!(told("matchLabels: {team: x}", &blind).contains("list and watch Namespaces"));
        let refused = Rights { refused: ["a".to_owned()].into(), ..two };
        assert!(told("matchNames: [a]", &refused).contains("give it a Role"));
        assert_eq!(told("matchNames: [demo]", &refused), "");
    }

    #[test]
    fn only_what_may_be_looked_at_and_not_be_read_is_unknown() {
        let refused = Rights { refused: ["a".to_owned()].into(), ..Rights::default() };
        let unknown = |selector: &str, rights: &Rights| namespaces(selector).unknown(rights).contains("a");
        assert!(unknown("matchNames: [a]", &refused) && unknown("matchLabels: {x: z}", &refused));
        assert!(!unknown("matchNames: [b]", &refused) && !unknown("matchNames: [a]", &Rights::default()));
        let blind = Rights { reads_namespaces: false, ..Rights::default() };
        assert!(unknown("matchLabels: {x: z}", &blind) && !unknown("matchNames: [a]", &blind));
    }

    #[test]
    fn before_labels_are_known_every_namespace_may_be_chosen_by_them() {
        let scope = |name: &str| Scope::Namespace(name.to_owned());
        assert!(namespaces("matchLabels: {a: b}").may_reach(&scope("x")));
        assert!(!namespaces("matchNames: [a]").may_reach(&scope("x")));
        assert!(namespaces("").may_reach(&scope("demo")) && !namespaces("").may_reach(&scope("x")));
    }
}
