//! The name of a Service, wherever one Service is told from another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Service by namespace and name; written and read as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name in it.
    pub name: String,
}

/// A text is no name of a Service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a Service: it is written as namespace/name, each of a-z, 0-9, - and .")]
pub struct ServiceNameError(String);

/// Longest name of an object.
const LONGEST: usize = 253;

// === impl ServiceName ===

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        let is_name = |name: &str| {
            let is_allowed =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
            !name.is_empty() && name.len() <= LONGEST && name.bytes().all(is_allowed)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(ServiceNameError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ServiceName {
    type Error = ServiceNameError;

    fn try_from(text: String) -> Result<Self, ServiceNameError> {
        text.parse()
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for text in ["demo/a", "kube-system/thanos.store-0"] {
            let name: ServiceName = text.parse().expect("a name");
            assert_eq!(name.to_string(), text);
            let json = serde_json::to_string(&name).expect("JSON");
            assert_eq!(serde_json::from_str::<ServiceName>(&json).expect("a name"), name);
        }
    }

    #[test]
    fn what_no_service_can_be_called_is_refused() {
        for text in ["", "a", "/a", "a/", "a/b/c", "A/b", "a/b\nc", "a b/c", "a/b,c"] {
            assert!(text.parse::<ServiceName>().is_err(), "{text}");
        }
        assert!(format!("a/{}", "b".repeat(254)).parse::<ServiceName>().is_err());
    }
}
