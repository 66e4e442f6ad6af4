//! What the API server takes and refuses: upstream's shapes as upstream has them, ours with a reason that helps.

use std::fs;

use anyhow::{Context as _, Result, bail};
use crds::{ThanosQuery, names::conditions::INVALID};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};

use super::Case;
use crate::{
    cluster::paths,
    fixtures::{Queriers, World},
};

/// Shapes of upstream's API, each with every value that it has.
const ACCEPTED: &[&str] = &[
    "{}",
    "{replicas: 1}",
    "{replicas: 3, version: v0.39.0, baseImage: 'quay.io/thanos/thanos'}",
    "{baseImage: 'registry.example:5000/thanos@sha256:abc', version: v0.39.0}",
    "{imagePullPolicy: Always, imagePullSecrets: [{name: a}, {}]}",
    "{imagePullPolicy: Never}",
    "{imagePullPolicy: IfNotPresent}",
    "{logLevel: debug, logFormat: logfmt}",
    "{logLevel: info, logFormat: json}",
    "{logLevel: warn}",
    "{logLevel: error}",
    "{grpcProxyStrategy: eager}",
    "{grpcProxyStrategy: lazy}",
    "{replicaLabels: [replica, prometheus_replica]}",
    "{replicaLabels: []}",
    "{labels: {a: b}, annotations: {c: d}}",
    "{customStoreLabelSelector: {}}",
    "{customStoreLabelSelector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}}",
    "{telemetryQuantiles: {duration: ['0.1'], samples: ['100'], series: ['10']}}",
    "{webConfig: {routePrefix: /a, externalPrefix: /b, prefixHeader: X-C, disableCORS: true}}",
    "{paused: true}",
    "{podDisruptionBudgetConfig: {enable: false}}",
    "{podDisruptionBudgetConfig: {}}",
    "{additionalArgs: ['--query.timeout=1m', '--no-query.auto-downsampling']}",
    "{additionalContainers: [{name: a, image: b}]}",
    "{additionalVolumes: [{name: a, emptyDir: {}}], additionalVolumeMounts: [{name: a, mountPath: /a}]}",
    "{additionalPorts: [{containerPort: 1}], additionalServicePorts: [{port: 1}]}",
    "{additionalServicePorts: [{name: a, port: 1, targetPort: b}, {name: c, port: 2, targetPort: 3}]}",
    "{additionalEnv: [{name: A, value: b}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}",
    "{configMaps: [a], secrets: [b]}",
    "{resourceRequirements: {requests: {cpu: 10m, memory: 1Gi}, limits: {cpu: 1}, claims: [{name: a}]}}",
    "{securityContext: {runAsUser: 1001, fsGroup: 1001}, nodeSelector: {a: b}, tolerations: [{operator: Exists}]}",
    "{topologySpreadConstraints: [{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]}",
    "{affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]}}}",
    "{queryFrontend: {}}",
    "{queryFrontend: {replicas: 2, compressResponses: false, logLevel: debug, logFormat: json, version: v0.39.0}}",
    "{queryFrontend: {queryLabelSelector: {matchLabels: {a: b}}}}",
    "{queryFrontend: {logQueriesLongerThan: 5s, queryRangeSplitInterval: 1h30m, labelsSplitInterval: 1d}}",
    "{queryFrontend: {logQueriesLongerThan: '-5s', labelsDefaultTimeRange: 1y2w3d4h5m6s7ms}}",
    "{queryFrontend: {logQueriesLongerThan: '0', labelsDefaultTimeRange: '2026-01-02T03:04:05Z'}}",
    "{queryFrontend: {queryRangeMaxRetries: 0, labelsMaxRetries: 0}}",
    "{queryFrontend: {queryRangeResponseCacheConfig: {inMemoryCacheConfig: {maxSize: 512Mi, maxItemSize: '1e6'}}}}",
    "{queryFrontend: {queryRangeResponseCacheConfig: {externalCacheConfig: {name: a, key: b, optional: true}}}}",
    "{queryFrontend: {queryRangeResponseCacheConfig: {externalCacheConfig: {key: b}}}}",
];

/// What upstream refuses, and a word of the reason.
const REFUSED: &[(&str, &str)] = &[
    ("{replicas: 0}", "spec.replicas"),
    ("{replicas: -1}", "greater than or equal to 1"),
    ("{replicas: two}", "spec.replicas"),
    ("{logLevel: trace}", "spec.logLevel"),
    ("{logFormat: text}", "spec.logFormat"),
    ("{imagePullPolicy: Sometimes}", "spec.imagePullPolicy"),
    ("{grpcProxyStrategy: fast}", "spec.grpcProxyStrategy"),
    ("{replicaLabels: replica}", "spec.replicaLabels"),
    ("{paused: 'true'}", "spec.paused"),
    ("{additionalContainers: [{image: a}]}", "additionalContainers[0].name"),
    ("{additionalVolumes: [{emptyDir: {}}]}", "additionalVolumes[0].name"),
    ("{additionalVolumeMounts: [{name: a}]}", "additionalVolumeMounts[0].mountPath"),
    ("{additionalPorts: [{name: a}]}", "additionalPorts[0].containerPort"),
    ("{additionalServicePorts: [{name: a}]}", "additionalServicePorts[0].port"),
    ("{additionalEnv: [{value: a}]}", "additionalEnv[0].name"),
    ("{topologySpreadConstraints: [{maxSkew: 1}]}", "topologySpreadConstraints[0].topologyKey"),
    ("{queryFrontend: {replicas: 0}}", "queryFrontend.replicas"),
    ("{queryFrontend: {logLevel: trace}}", "queryFrontend.logLevel"),
    ("{queryFrontend: {queryRangeMaxRetries: -1}}", "queryFrontend.queryRangeMaxRetries"),
    ("{queryFrontend: {labelsMaxRetries: -1}}", "queryFrontend.labelsMaxRetries"),
    ("{queryFrontend: {logQueriesLongerThan: soon}}", "queryFrontend.logQueriesLongerThan"),
    ("{queryFrontend: {queryRangeSplitInterval: 1.5h}}", "queryFrontend.queryRangeSplitInterval"),
    ("{queryFrontend: {labelsSplitInterval: 5}}", "queryFrontend.labelsSplitInterval"),
    (
        "{queryFrontend: {queryRangeResponseCacheConfig: {inMemoryCacheConfig: {maxSize: large}}}}",
        "inMemoryCacheConfig.maxSize",
    ),
    (
        "{queryFrontend: {queryRangeResponseCacheConfig: {externalCacheConfig: {name: a}}}}",
        "externalCacheConfig.key",
    ),
];

/// What our own fields refuse, in words that say how it is written.
const EXPLAINED: &[(&str, &str)] = &[
    ("{serviceDiscovery: {refreshInterval: 0s}}", "write it like 5s or 1m"),
    ("{serviceDiscovery: {refreshInterval: 1.5s}}", "write it like 5s or 1m"),
    ("{serviceDiscovery: {configMap: {name: Upper}}}", "begins and ends with a letter or digit"),
    ("{serviceMonitor: {interval: often}}", "write it like 30s or 1m30s"),
    ("{serviceMonitor: {scrapeTimeout: '10'}}", "write it like 10s"),
    ("{queryFrontend: {serviceMonitor: {interval: often}}}", "write it like 30s or 1m30s"),
    ("{serviceDiscovery: {mode: Files}}", "supported values"),
    ("{serviceDiscovery: {agent: {source: Disk}}}", "supported values"),
    ("{service: {type: ExternalName}}", "supported values"),
    ("{terminationGracePeriodSeconds: -1}", "greater than or equal to 0"),
];

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared("schema", "the API server takes and refuses what upstream's does", as_upstream).limit(120),
        Case::shared("schema", "what our own fields refuse is said in words that help", explained).limit(120),
        Case::shared(
            "schema",
            "a name that cannot become a Service is stored, and its status says why nothing comes of it",
            long_names,
        )
        .limit(120),
        Case::shared(
            "schema",
            "the CRD suits a client-side kubectl apply, and kubectl explain has a text for each of our fields",
            with_kubectl,
        )
        .limit(120),
    ]
}

async fn as_upstream(world: World) -> Result<()> {
    for spec in ACCEPTED {
        accepts(&world, spec).await?;
    }
    for (spec, word) in REFUSED {
        rejects(&world, spec, word).await?;
    }
    Ok(())
}

async fn explained(world: World) -> Result<()> {
    for (spec, words) in EXPLAINED {
        rejects(&world, spec, words).await?;
    }
    Ok(())
}

async fn long_names(world: World) -> Result<()> {
    for name in ["with.dots.in.it", "sixty-letters-are-too-many-for-the-name-of-a-service-of-ours"] {
        let queriers = world.thanos_query(name, "{}").await?;
        let condition = queriers.says(INVALID, &["name"]).await?;
        if condition.message.len() < 20 {
            bail!("{name}: says too little: {}", condition.message);
        }
    }
    // Neither disturbs one that is called well.
    world.ready_thanos_query("global", "{}").await.map(|_: Queriers| ())
}

async fn with_kubectl(world: World) -> Result<()> {
    let path = paths::repository().join("manifests/crd.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    // Under another group, so that it is new here and nothing of the cluster changes.
    let copy = text.replace("monitoring.thanos.io", "copy.thanos.example");
    let applied = world.kubectl(&["apply", "--dry-run=server", "--filename=-"], &copy).await?;
    quiet("apply", &applied.stderr)?;
    for (what, field) in [
        ("thanosquery.spec", "additionalServicePorts"),
        ("thanosquery.spec.queryFrontend", "labelsDefaultTimeRange"),
        ("thanosquery.spec.serviceDiscovery", "refreshInterval"),
        ("thanosquery.spec.serviceDiscovery.agent", "resources"),
        ("thanosquery.status", "lastRollout"),
    ] {
        let said = world.kubectl(&["explain", what], "").await?;
        quiet(what, &said.stderr)?;
        let without = |line: &&str| line.contains("<no description>") || line.contains("<empty>");
        let bare: Vec<&str> = said.stdout.lines().filter(without).collect();
        if !said.stdout.contains(field) || !bare.is_empty() {
            bail!("kubectl explain {what}: {} fields without a text, in\n{}", bare.len(), said.stdout);
        }
    }
    let all = world.kubectl(&["explain", "thanosquery.spec", "--recursive"], "").await?;
    quiet("thanosquery.spec --recursive", &all.stderr)?;
    for field in ["hostAliases", "externalCacheConfig", "scrapeTimeout", "preferredDuringScheduling"] {
        if !all.stdout.contains(field) {
            bail!("{field} is not in kubectl explain thanosquery.spec --recursive");
        }
    }
    Ok(())
}

fn quiet(what: &str, stderr: &str) -> Result<()> {
    if stderr.trim().is_empty() { Ok(()) } else { bail!("kubectl warns at {what}: {stderr}") }
}

async fn accepts(world: &World, spec: &str) -> Result<()> {
    match create(world, spec).await? {
        None => Ok(()),
        Some(reason) => bail!("{spec} was refused: {reason}"),
    }
}

/// Refused, and the reason has these words.
async fn rejects(world: &World, spec: &str, words: &str) -> Result<()> {
    match create(world, spec).await? {
        Some(reason) if reason.contains(words) => Ok(()),
        Some(reason) => bail!("{spec} was refused without the words {words:?}: {reason}"),
        None => bail!("{spec} was taken"),
    }
}

/// Creates a ThanosQuery as a server-side dry run; the answer is why it was refused.
async fn create(world: &World, spec: &str) -> Result<Option<String>> {
    let spec: Value = serde_saphyr::from_str(spec).with_context(|| format!("no YAML: {spec}"))?;
    // Untyped: our own type could not hold what is wrong.
    let kind = ApiResource::erase::<ThanosQuery>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(world.client(), world.namespace(), &kind);
    let object = DynamicObject::new("tried", &kind).data(json!({"spec": spec}));
    match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &object).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 422 || status.code == 400 => {
            Ok(Some(status.message.clone()))
        }
        Err(error) => Err(error.into()),
    }
}
