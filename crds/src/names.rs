//! Every name that more than one part of the project must agree on. A label, annotation, reason, port or path
//! is written here and nowhere else.
//!
//! Labels, object names and ports are those of thanos-community/thanos-operator, so that its objects can be
//! taken over in place (reference "Peers and user needs", sections 2.3 to 2.5).

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "thanos-operator";
/// Field managers with which thanos-community/thanos-operator updates its objects: the name of its program, in its
/// image and when it is built by hand. What they own becomes ours when its objects are taken over.
pub const UPSTREAM_MANAGERS: [&str; 2] = ["manager", "thanos-operator"];
/// Name that Events and conditions come from.
pub const CONTROLLER: &str = "thanos-operator";

/// Names and values of labels.
pub mod labels {
    /// Which program.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Which part of Thanos.
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// `thanos` on everything of Thanos; required on discovered Services.
    pub const PART_OF: &str = "app.kubernetes.io/part-of";
    /// Who made it; part of the immutable selector.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The generated object name.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// Name of the ThanosQuery.
    pub const OWNER: &str = "operator.thanos.io/owner";
    /// `true` on what answers queries.
    pub const QUERY_API: &str = "operator.thanos.io/query-api";
    /// `true` on every Service that offers the StoreAPI; required on discovered Services.
    pub const STORE_API: &str = "operator.thanos.io/store-api";
    /// Makes an endpoint strict.
    pub const ENDPOINT_STRICT: &str = "operator.thanos.io/endpoint-strict";
    /// Makes an endpoint a group.
    pub const ENDPOINT_GROUP: &str = "operator.thanos.io/endpoint-group";
    /// Makes an endpoint a strict group.
    pub const ENDPOINT_GROUP_STRICT: &str = "operator.thanos.io/endpoint-group-strict";

    /// On a ThanosQuery that is a shard of another, and on all objects of it: the name of that other.
    pub const SHARD_OF: &str = "operator.thanos.io/shard-of";
    /// On the same: which shard, from 0.
    pub const SHARD: &str = "operator.thanos.io/shard";

    /// Value of [`PART_OF`].
    pub const THANOS: &str = "thanos";
    /// Value of [`MANAGED_BY`].
    pub const OPERATOR: &str = "thanos-operator";
    /// Value of [`NAME`] for a querier.
    pub const QUERY: &str = "thanos-query";
    /// Value of [`COMPONENT`] for a querier.
    pub const QUERY_LAYER: &str = "query-layer";
    /// The value that switches a label on.
    pub const TRUE: &str = "true";
    /// The value of a type label that counts as if the label were absent.
    pub const FALSE: &str = "false";

    /// Value of [`NAME`] for the queriers' second Service.
    pub const QUERY_BALANCED: &str = "thanos-query-balanced";
    /// Value of [`NAME`] for a query frontend.
    pub const QUERY_FRONTEND: &str = "thanos-query-frontend";
    /// Value of [`COMPONENT`] for a query frontend.
    pub const QUERY_FRONTEND_LAYER: &str = "query-frontend";

    /// Labels of a ThanosQuery that make its query Service an endpoint of others; they belong to no other Service.
    pub const ENDPOINT_LABELS: [&str; 5] =
        [STORE_API, "operator.thanos.io/endpoint", ENDPOINT_STRICT, ENDPOINT_GROUP, ENDPOINT_GROUP_STRICT];

    /// Domains of labels and annotations with which tools mark *their* objects; their subdomains count too. What is of
    /// such a domain is never copied from a ThanosQuery to what is made from it: it would mislead the tool, and a
    /// change of it would restart every pod.
    pub const TOOL_DOMAINS: [&str; 15] = [
        "kubectl.kubernetes.io",
        "app.kubernetes.io",
        "argoproj.io",
        "fluxcd.io",
        "helm.sh",
        "cattle.io",
        "k14s.io",
        "config.k8s.io",
        "config.kubernetes.io",
        "gke.io",
        "operatorframework.io",
        "operators.coreos.com",
        "pulumi.com",
        "crossplane.io",
        "kyverno.io",
    ];
}

/// Names of annotations.
pub mod annotations {
    /// On a Service: name of the TCP port that serves the StoreAPI, when it is not `grpc`.
    pub const PORT: &str = "operator.thanos.io/port";
    /// On a Service or its namespace: the namespaces of ThanosQuery objects that may use it from outside, separated by
    /// commas, or [`ANY_NAMESPACE`].
    pub const ALLOW_DISCOVERY_FROM: &str = "operator.thanos.io/allow-discovery-from";
    /// The value of [`ALLOW_DISCOVERY_FROM`] that stands for every namespace.
    pub const ANY_NAMESPACE: &str = "*";
    /// On a Service: how Thanos connects to it, by the name of a TLS profile, or [`NO_TLS`].
    pub const TLS: &str = "operator.thanos.io/tls";
    /// The value of [`TLS`] that stands for no TLS at all.
    pub const NO_TLS: &str = "off";
    /// On a Service of a group: how gRPC balances it and tries again, as JSON.
    pub const SERVICE_CONFIG: &str = "operator.thanos.io/service-config";
    /// On a ThanosQuery: the number in `status.heldRemoval.generation`; that removal is applied at once.
    pub const ACCEPT_REMOVAL: &str = "operator.thanos.io/accept-removal";
    /// On a ThanosQuery that is paused for thanos-community/thanos-operator: `true` lets this operator work on it.
    pub const TAKE_OVER: &str = "operator.thanos.io/take-over";
    /// On a ThanosQuery: the hashes in its condition `DefaultsOutdated`; the new defaults of the operator are rolled out.
    pub const ACCEPT_DEFAULTS: &str = "operator.thanos.io/accept-defaults";
    /// On a Deployment of ours: hash of the pod template that was applied last.
    pub const TEMPLATE_HASH: &str = "operator.thanos.io/template-hash";
    /// On a Deployment of ours: hash of what users say about the pod template. While it stays, a template that changes
    /// does so for endpoints, when their flags changed, or for the operator's own defaults.
    pub const TEMPLATE_INPUTS: &str = "operator.thanos.io/template-inputs";
    /// On a Deployment of ours: `spec.replicas` of the ThanosQuery as it was applied last, so that a later change of it
    /// is told from one that another writer made.
    pub const REPLICAS: &str = "operator.thanos.io/replicas";
    /// On pods of ours: the web configuration of Thanos' HTTP server, which a volume makes a file of. It names files and
    /// holds nothing secret.
    pub const WEB_CONFIG: &str = "operator.thanos.io/web-config";
    /// On a ConfigMap of ours: the set of shards that its endpoints are; absent when they are stores.
    pub const SHARD_SET: &str = "operator.thanos.io/shard-set";
    /// Domain of the annotations above; they are about the object that carries them, and are not copied.
    pub const OWN_DOMAIN: &str = "operator.thanos.io";
    /// On an object of ours: hash of what was applied last, so that a field that is no longer wanted is noticed.
    pub const APPLIED_HASH: &str = "operator.thanos.io/applied-hash";
}

/// Names of the objects that are made for a ThanosQuery.
pub mod objects {
    /// Before the name of the ThanosQuery: its queriers' Deployment, Service and so on.
    pub const QUERIER_PREFIX: &str = "thanos-query-";
    /// Before the name of the ThanosQuery: its query frontend's Deployment, Service and so on.
    pub const FRONTEND_PREFIX: &str = "thanos-query-frontend-";
}

/// Names of containers, ports and volumes, and where things are mounted.
pub mod pod {
    /// Container of the querier.
    pub const QUERY_CONTAINER: &str = "thanos-query";
    /// Container of the query frontend.
    pub const FRONTEND_CONTAINER: &str = "thanos-query-frontend";
    /// Container of the agent.
    pub const AGENT_CONTAINER: &str = "sd-agent";
    /// Name of the StoreAPI port: of the querier, and of discovered Services without a port annotation.
    pub const GRPC_PORT_NAME: &str = "grpc";
    /// StoreAPI of the querier.
    pub const GRPC_PORT: u16 = 10901;
    /// Name of the HTTP port.
    pub const HTTP_PORT_NAME: &str = "http";
    /// HTTP of the querier.
    pub const HTTP_PORT: u16 = 9090;
    /// Name of the agent's port.
    pub const AGENT_PORT_NAME: &str = "agent";
    /// HTTP of the agent.
    pub const AGENT_PORT: u16 = 10911;
    /// Volume that holds the file.
    pub const FILE_VOLUME: &str = "sd";
    /// Where the folder of the file is mounted.
    pub const FILE_FOLDER: &str = "/sd";
    /// The file that Thanos reads.
    pub const FILE: &str = "/sd/endpoints.yaml";
    /// Name of the file in its folder.
    pub const FILE_NAME: &str = "endpoints.yaml";
    /// Volume with the mounted ConfigMap.
    pub const SOURCE_VOLUME: &str = "sd-source";
    /// Where the ConfigMap is mounted for the agent.
    pub const SOURCE_FOLDER: &str = "/sd-source";
    /// Volume with the API token of the agent.
    pub const TOKEN_VOLUME: &str = "sd-agent-token";
    /// Where API clients look for their token.
    pub const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    /// Volume with the cache configuration of the frontend.
    pub const CACHE_VOLUME: &str = "cache-config";
    /// Where it is mounted.
    pub const CACHE_FOLDER: &str = "/etc/thanos/cache";
    /// Name of the file in it.
    pub const CACHE_FILE: &str = "config.yaml";
    /// Volume with the certificate of the gRPC server.
    pub const GRPC_TLS_VOLUME: &str = "grpc-tls";
    /// Where it is mounted.
    pub const GRPC_TLS_FOLDER: &str = "/etc/thanos/grpc-tls";
    /// Volume with the certificate of the HTTP server, and the web configuration that names it.
    pub const HTTP_TLS_VOLUME: &str = "http-tls";
    /// Where it is mounted.
    pub const HTTP_TLS_FOLDER: &str = "/etc/thanos/http-tls";
    /// Name of the web configuration in it, when clients need no certificate.
    pub const HTTP_TLS_FILE: &str = "tls.yaml";
    /// Name of the web configuration in it, when clients need a certificate. Another name, so that the arguments alone
    /// tell whether the kubelet can ask.
    pub const HTTP_CLIENT_TLS_FILE: &str = "client-tls.yaml";
    /// Volume with the user's own web configuration.
    pub const HTTP_CONFIG_VOLUME: &str = "http-config";
    /// Where it is mounted.
    pub const HTTP_CONFIG_FOLDER: &str = "/etc/thanos/http-config";
    /// Volume with what the frontend needs to ask queriers that serve TLS.
    pub const DOWNSTREAM_TLS_VOLUME: &str = "downstream-tls";
    /// Where it is mounted.
    pub const DOWNSTREAM_TLS_FOLDER: &str = "/etc/thanos/downstream-tls";
    /// Name of the certificate in any of these folders.
    pub const CERTIFICATE_FILE: &str = "tls.crt";
    /// Name of its key.
    pub const PRIVATE_KEY_FILE: &str = "tls.key";
    /// Name of the authorities of clients.
    pub const CLIENT_CA_FILE: &str = "client-ca.crt";
    /// Name of the authorities of the server.
    pub const CA_FILE: &str = "ca.crt";
    /// Folder below which each of `configMaps` is mounted.
    pub const CONFIG_MAPS_FOLDER: &str = "/etc/thanos/configmaps";
    /// Folder below which each of `secrets` is mounted.
    pub const SECRETS_FOLDER: &str = "/etc/thanos/secrets";
    /// Folder below which the certificates are that Thanos connects to endpoints with: in folders by what they are for,
    /// so that a path stays when it is another Secret that is mounted there.
    pub const TLS_FOLDER: &str = "/tls";
    /// User and group of the agent; fixed, because the file's folder is sticky.
    pub const AGENT_USER: i64 = 65532;
}

/// Types of conditions in the status of a ThanosQuery.
pub mod conditions {
    /// The Deployments are rolled out and available; what kstatus, Flux and Argo CD wait for.
    pub const READY: &str = "Ready";
    /// Every pod has the current endpoints.
    pub const ENDPOINTS_SYNCED: &str = "EndpointsSynced";
    /// `spec.paused` is set: nothing is changed.
    pub const PAUSED: &str = "Paused";
    /// Warning: `spec` asks for something that cannot be done.
    pub const INVALID: &str = "Invalid";
    /// Warning: an object of a name that is needed belongs to somebody else.
    pub const FOREIGN_OBJECT: &str = "ForeignObject";
    /// The operator cannot go on before somebody changes something; what kstatus and Flux take for failed.
    pub const STALLED: &str = "Stalled";
    /// Warning: a write was refused.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// Warning: somebody else keeps changing the pod template; this operator has stopped answering.
    pub const FOREIGN_WRITER: &str = "ForeignWriter";
    /// The operator has newer defaults for the pods, which are not rolled out yet.
    pub const DEFAULTS_OUTDATED: &str = "DefaultsOutdated";
    /// Warning: a ServiceMonitor is asked for, and the cluster has no such kind.
    pub const SERVICE_MONITOR_MISSING: &str = "ServiceMonitorMissing";
    /// Warning: no single query Service for the frontend.
    pub const QUERY_SERVICE_MISSING: &str = "QueryServiceMissing";
    /// Something that works, but not as it seems: an argument that replaces one of the operator's, a field without effect.
    pub const REMARKS: &str = "Remarks";
    /// Warning: nothing tells which Thanos release runs.
    pub const VERSION_UNKNOWN: &str = "VersionUnknown";
    /// Warning: `spec` asks for something that the release of Thanos cannot do.
    pub const UNSUPPORTED_BY_VERSION: &str = "UnsupportedByVersion";
    /// Warning: the Thanos release that runs has a fault that a newer one has not.
    pub const VERSION_FLAWED: &str = "VersionFlawed";
    /// Warning: an endpoint can reach only one of the several addresses behind its name.
    pub const SINGLE_ADDRESS: &str = "SingleAddress";
    /// Warning: `namespaceSelector` asks for namespaces that the operator may not read.
    pub const NAMESPACES_OUT_OF_REACH: &str = "NamespacesOutOfReach";
    /// Warning: many Services are gone at once, and their endpoints stay for a while.
    pub const REMOVAL_HELD: &str = "RemovalHeld";
    /// Warning: strict or group endpoints have changed so often that the pods are not replaced again for a while.
    pub const ROLLOUT_HELD: &str = "RolloutHeld";
    /// Warning: a DNS server refuses to say what is behind a name; until it does, Thanos may keep removed addresses.
    pub const DNS_FAILING: &str = "DnsFailing";
    /// Warning: no querier pod reaches some endpoints.
    pub const ENDPOINTS_UNREACHABLE: &str = "EndpointsUnreachable";
    /// Warning: shards of a distributed ThanosQuery have warnings of their own.
    pub const SHARD_WARNINGS: &str = "ShardWarnings";
    /// Warning: Services that carry the StoreAPI labels are left out.
    pub const SERVICES_REJECTED: &str = "ServicesRejected";
}

/// Reasons in conditions and Events: one word each.
pub mod reasons {
    /// The rollout is complete.
    pub const AVAILABLE: &str = "Available";
    /// The rollout is under way.
    pub const PROGRESSING: &str = "Progressing";
    /// The rollout does not get on.
    pub const DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
    /// The Deployment is not there yet.
    pub const CREATING: &str = "Creating";
    /// All pods answered with the current generation.
    pub const SYNCED: &str = "Synced";
    /// Some pods have an older generation.
    pub const SYNCING: &str = "Syncing";
    /// Some pods have an older generation, and at least one of them cannot write its file.
    pub const CANNOT_WRITE: &str = "CannotWrite";
    /// Some pods have an older generation, and at least one of them does not take the present document.
    pub const DOCUMENT_REFUSED: &str = "DocumentRefused";
    /// Some pods have an older generation, and at least one of them cannot read the ConfigMap.
    pub const CANNOT_READ: &str = "CannotRead";
    /// Every pod has the current generation, and at least one agent is too old for some of its endpoints.
    pub const AGENT_TOO_OLD: &str = "AgentTooOld";
    /// Some pods did not answer, and all others have the current generation.
    pub const UNKNOWN: &str = "Unknown";
    /// There is no agent to ask: the kubelet delivers the file.
    pub const DELIVERED_BY_KUBELET: &str = "DeliveredByKubelet";
    /// Endpoints are flags; there is no file.
    pub const FLAGS: &str = "EndpointsAreFlags";
    /// `spec.paused`.
    pub const PAUSED: &str = "Paused";
    /// Not paused any more.
    pub const RESUMED: &str = "Resumed";
    /// The ThanosQuery cannot be read.
    pub const UNREADABLE: &str = "Unreadable";
    /// A field of `spec` asks for something that cannot be done.
    pub const INVALID_FIELD: &str = "InvalidField";
    /// The endpoints do not fit into a ConfigMap.
    pub const TOO_LARGE: &str = "TooLarge";
    /// Kubernetes is too old for what `spec` asks for.
    pub const CLUSTER_TOO_OLD: &str = "ClusterTooOld";
    /// Everything is all right.
    pub const NONE: &str = "None";
    /// An object belongs to somebody else.
    pub const FOREIGN: &str = "OwnedBySomebodyElse";
    /// A write was refused.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// The pod template changed: every pod is replaced, one at a time.
    pub const ROLLOUT: &str = "Rollout";
    /// The endpoint document changed.
    pub const ENDPOINTS_CHANGED: &str = "EndpointsChanged";
    /// A Service that looks like a StoreAPI is left out.
    pub const SERVICE_REJECTED: &str = "ServiceRejected";
    /// Somebody else keeps changing what was applied.
    pub const REVERTED: &str = "RevertedBySomebodyElse";
    /// Another object has its turn, or a person has to say so.
    pub const WAITING: &str = "Waiting";
    /// The kind is not installed.
    pub const KIND_MISSING: &str = "KindNotInstalled";
    /// No Service, or more than one.
    pub const NOT_ONE_SERVICE: &str = "NotOneService";
    /// One of several.
    pub const ONE_OF_SEVERAL: &str = "OneOfSeveral";
    /// A right is missing.
    pub const FORBIDDEN: &str = "Forbidden";
    /// More at once than the limit.
    pub const OVER_THE_LIMIT: &str = "OverTheLimit";
    /// A DNS look-up fails.
    pub const LOOKUP_FAILED: &str = "LookupFailed";
    /// For information.
    pub const REMARKS: &str = "Remarks";
    /// Not everything that is wanted is applied yet.
    pub const PENDING: &str = "Pending";
    /// Shards are not ready, or not all of what they need is there yet.
    pub const SHARDS_NOT_READY: &str = "ShardsNotReady";
    /// A shard tells what is wrong with it.
    pub const SHARD_WARNINGS: &str = "ShardWarnings";
    /// Paused for another operator, while this one works.
    pub const TAKEN_OVER: &str = "TakenOver";
    /// Needs a newer release of Thanos.
    pub const VERSION_TOO_OLD: &str = "VersionTooOld";
    /// No pod reaches it.
    pub const UNREACHABLE: &str = "Unreachable";
    /// The version cannot be told from the image.
    pub const VERSION_UNKNOWN: &str = "VersionUnknown";
    /// A newer release has not the fault.
    pub const FIXED_IN_NEWER: &str = "FixedInNewerRelease";
    /// The agents cannot read what Thanos tells over HTTP.
    pub const METRICS_NOT_READ: &str = "MetricsNotRead";
}
