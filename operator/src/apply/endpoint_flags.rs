//! Pure: the endpoints that Thanos knows by its arguments, which are all that endpoints ever change of a pod template.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;

use crate::plan::names_endpoint;

/// The arguments of the pods that name endpoints, such as `--endpoint-strict=a.demo.svc.cluster.local:10901`.
pub fn endpoint_flags(deployment: &Deployment) -> BTreeSet<&str> {
    let pod = deployment.spec.iter().filter_map(|spec| spec.template.spec.as_ref());
    let args = pod.flat_map(|pod| &pod.containers).filter_map(|container| container.args.as_ref()).flatten();
    args.map(String::as_str).filter(|arg| names_endpoint(arg)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_an_endpoint_is_an_endpoint_flag() {
        let args = [
            "query",
            "--endpoint=a:1",
            "--endpoint-strict=b:1",
            "--endpoint-group=dns+c:1",
            "--endpoint-group-strict=dns+d:1",
            "--endpoint.info-timeout=5s",
            "--endpoint.sd-config-file=/sd/endpoints.yaml",
            "--flagged=b:1",
            "--log.level=info",
        ];
        let deployment: Deployment =
            serde_json::from_value(serde_json::json!({"spec": {"selector": {}, "template":
            {"spec": {"containers": [{"name": "t", "args": args}, {"name": "without"}]}}}}))
            .expect("a Deployment");
        let flags: Vec<&str> = endpoint_flags(&deployment).into_iter().collect();
        assert_eq!(
            flags,
            [
                "--endpoint-group-strict=dns+d:1",
                "--endpoint-group=dns+c:1",
                "--endpoint-strict=b:1",
                "--endpoint=a:1"
            ]
        );
    }
}
