//! Who the pods are and what the agent may do: read and watch one ConfigMap, nothing else.

use crds::ThanosQuery;
use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::{Names, meta};

/// The identity of the pods; its token is mounted into the agent only.
pub fn service_account(query: &ThanosQuery, names: &Names) -> ServiceAccount {
    ServiceAccount {
        metadata: meta::object_meta(query, names, &names.querier),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The right to read and watch the ConfigMap by its name.
pub fn role(query: &ThanosQuery, names: &Names) -> Role {
    Role {
        metadata: meta::object_meta(query, names, &names.querier),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(vec![names.config_map.clone()]),
            verbs: vec!["get".to_owned(), "watch".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

/// Gives that right to the pods.
pub fn role_binding(query: &ThanosQuery, names: &Names) -> RoleBinding {
    RoleBinding {
        metadata: meta::object_meta(query, names, &names.querier),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: names.querier.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: names.querier.clone(),
            namespace: Some(names.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
