//! A label selector of a ThanosQuery as a question to a Service's labels.

use std::collections::BTreeMap;

use crds::ThanosQuery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Which Services of its own namespace a ThanosQuery selects, besides the labels that every one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    namespace: String,
    requirements: Vec<Requirement>,
}

/// A selector that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}.matchExpressions[{index}]: {problem}")]
pub struct SelectorError {
    field: &'static str,
    index: usize,
    problem: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

// === impl Selector ===

impl Selector {
    /// Reads the selector of the stores of `query`. Absent, empty and expression-only selectors are all fine.
    ///
    /// # Errors
    /// When an expression has an unknown operator or the wrong number of values.
    pub fn of(query: &ThanosQuery) -> Result<Self, SelectorError> {
        let selector = query.spec.custom_store_label_selector.clone().unwrap_or_default();
        Self::read(query, selector, "spec.customStoreLabelSelector")
    }

    /// Reads the selector of the query Service that the frontend of `query` asks; none without a frontend.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_query_service(query: &ThanosQuery) -> Result<Option<Self>, SelectorError> {
        let frontend = query.spec.query_frontend.as_ref();
        let selector = frontend.map(|frontend| frontend.query_label_selector.clone());
        selector
            .map(|selector| Self::read(query, selector, "spec.queryFrontend.queryLabelSelector"))
            .transpose()
    }

    fn read(
        query: &ThanosQuery,
        selector: LabelSelector,
        field: &'static str,
    ) -> Result<Self, SelectorError> {
        let namespace = query.metadata.namespace.clone().unwrap_or_default();
        let labels = selector.match_labels.unwrap_or_default().into_iter();
        let mut requirements: Vec<Requirement> =
            labels.map(|(key, value)| Requirement { key, test: Test::In(vec![value]) }).collect();
        for (index, expression) in selector.match_expressions.unwrap_or_default().into_iter().enumerate() {
            requirements.push(Requirement::of(field, index, expression)?);
        }
        Ok(Self { namespace, requirements })
    }

    /// Whether a Service of `namespace` with `labels` is selected.
    pub fn matches(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.namespace == namespace && self.requirements.iter().all(|requirement| requirement.matches(labels))
    }
}

// === impl Requirement ===

impl Requirement {
    fn of(
        field: &'static str,
        index: usize,
        expression: LabelSelectorRequirement,
    ) -> Result<Self, SelectorError> {
        let LabelSelectorRequirement { key, operator, values } = expression;
        let values = values.unwrap_or_default();
        let problem = |problem: String| Err(SelectorError { field, index, problem });
        let test = match (operator.as_str(), values.is_empty()) {
            ("In", false) => Test::In(values),
            ("NotIn", false) => Test::NotIn(values),
            ("In" | "NotIn", true) => return problem(format!("{operator} needs values")),
            ("Exists", true) => Test::Exists,
            ("DoesNotExist", true) => Test::DoesNotExist,
            ("Exists" | "DoesNotExist", false) => return problem(format!("{operator} takes no values")),
            _ => {
                return problem(format!(
                    "unknown operator {operator:?}; use In, NotIn, Exists or DoesNotExist"
                ));
            }
        };
        Ok(Self { key, test })
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}
