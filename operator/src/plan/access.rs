//! Who the pods are and what the agent may do: read and watch one ConfigMap, nothing else.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::Workload;

/// The identity of the pods; its token is mounted into the agent only.
pub fn service_account(workload: &Workload<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: workload.object_meta(workload.name()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// The right to read and watch the ConfigMap by its name, and those of earlier names that pods still read.
pub fn role(workload: &Workload<'_>, config_maps: Vec<String>) -> Role {
    Role {
        metadata: workload.object_meta(workload.name()),
        rules: Some(vec![PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["configmaps".to_owned()]),
            resource_names: Some(config_maps),
            verbs: vec!["get".to_owned(), "watch".to_owned()],
            ..PolicyRule::default()
        }]),
    }
}

/// Gives that right to the pods.
pub fn role_binding(workload: &Workload<'_>) -> RoleBinding {
    RoleBinding {
        metadata: workload.object_meta(workload.name()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: workload.name().to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: workload.name().to_owned(),
            namespace: Some(workload.names.namespace.clone()),
            ..Subject::default()
        }]),
    }
}
