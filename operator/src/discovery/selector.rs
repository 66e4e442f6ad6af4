//! A label selector as a question to labels.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Which labels are selected. An empty one selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
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
    /// Reads `selector`, which is in `field` of a ThanosQuery. Empty and expression-only selectors are all fine.
    ///
    /// # Errors
    /// When an expression has an unknown operator or the wrong number of values.
    pub fn read(field: &'static str, selector: LabelSelector) -> Result<Self, SelectorError> {
        let labels = selector.match_labels.unwrap_or_default().into_iter();
        let mut requirements: Vec<Requirement> =
            labels.map(|(key, value)| Requirement { key, test: Test::In(vec![value]) }).collect();
        for (index, expression) in selector.match_expressions.unwrap_or_default().into_iter().enumerate() {
            requirements.push(Requirement::of(field, index, expression)?);
        }
        Ok(Self { requirements })
    }

    /// Whether what has `labels` is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| requirement.matches(labels))
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
