//! Minimal YAML.

/// A ThanosQuery in `demo` with the fields of `spec`, such as `replicas: 2`.
pub fn query(name: &str, spec: &str) -> String {
    query_in("demo", name, spec)
}

/// A ThanosQuery.
pub fn query_in(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, \
         metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}"
    )
}

/// A namespace with labels and annotations.
pub fn namespace(name: &str, labels: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{labels}}}, \
         annotations: {{{annotations}}}}}}}"
    )
}

/// A StoreAPI Service in `demo`.
pub fn store(name: &str) -> String {
    store_in("demo", name)
}

/// A StoreAPI Service.
pub fn store_in(namespace: &str, name: &str) -> String {
    service(namespace, name, "", "ports: [{name: grpc, port: 10901}]")
}

/// A strict StoreAPI Service in `demo`.
pub fn strict(name: &str) -> String {
    let label = ", operator.thanos.io/endpoint-strict: 'true'";
    service("demo", name, label, "ports: [{name: grpc, port: 10901}]")
}

/// A StoreAPI Service in `demo` without a port that can be used.
pub fn bad_store(name: &str) -> String {
    service("demo", name, "", "ports: [{name: http, port: 80}]")
}

fn service(namespace: &str, name: &str, more_labels: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}, \
         labels: {{operator.thanos.io/store-api: 'true', app.kubernetes.io/part-of: thanos{more_labels}}}}}, \
         spec: {{{spec}}}}}"
    )
}

/// The EndpointSlice of a Service in `demo`, with endpoints such as `{addresses: [10.0.0.1], hostname: a-0}`.
pub fn slice(service: &str, endpoints: impl IntoIterator<Item = String>) -> String {
    let endpoints: Vec<String> = endpoints.into_iter().collect();
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: {service}-1, \
         namespace: demo, labels: {{kubernetes.io/service-name: {service}}}}}, ports: [{{name: grpc, port: 10901}}], \
         endpoints: [{}]}}",
        endpoints.join(", ")
    )
}

/// The same with pods that have host names.
pub fn pods_of(service: &str, pods: &[&str]) -> String {
    let pod = |(number, pod): (usize, &&str)| format!("{{addresses: [10.0.0.{number}], hostname: {pod}}}");
    slice(service, pods.iter().enumerate().map(pod))
}
