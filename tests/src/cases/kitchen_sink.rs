//! Promise 5: everything that a ThanosQuery says is honoured. The sample with every field, on real pods.

use std::fs;

use anyhow::{Context as _, Result, bail};
use crds::names::{
    annotations::{NO_TLS, TLS},
    pod::{CONFIG_MAPS_FOLDER, FRONTEND_CONTAINER, HTTP_PORT, QUERY_CONTAINER, SECRETS_FOLDER},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        scheduling::v1::PriorityClass,
    },
};
use kube::{Api, Resource};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::Case;
use crate::{
    cluster::paths,
    fixtures::{
        Authority, Queriers, Store, StoreService, Workload, World, eventually,
        http::{escape, get},
        queriers::FOLLOW,
        shape::missing,
    },
};

/// The sample, the image of the agent in it, and what it is called.
const SAMPLE: &str = "manifests/samples/thanosquery-everything.yaml";
const AGENT_IMAGE: &str = "sd-agent:dev";
const NAME: &str = "everything";

/// What it makes in the cluster and not in the namespace.
const PRIORITY_CLASS: &str = "thanos-everything";

/// The namespace for which the sample is written.
const NAMESPACES: &str = "matchNames: [everything]";

/// The cases of this file.
pub fn cases() -> Vec<Case> {
    vec![
        Case::shared(
            "kitchen sink",
            "the sample with every field runs as it says, queries through its frontend are answered, and what is switched off goes",
            everything,
        )
        .only_where_the_node_is_ours(),
    ]
}

async fn everything(world: World) -> Result<()> {
    // In the sample TLS is for all that do not say this.
    let plaintext = StoreService::of("a").annotation(TLS, NO_TLS);
    world.store(Store::new("a").behind(plaintext)).await?;
    // The sample says how to make this one.
    let authority = Authority::new("e2e")?;
    authority.keep(&world, "everything-tls", &authority.issue(&["everything.example.org"])?).await?;
    let mut objects = sample(&world)?;
    world.apply_all(&objects).await?;
    let queriers = Queriers::of(&world, NAME);
    queriers.ready().await?;
    queriers.every_pod_lists(&["a"]).await?;

    let spec = objects[0]["spec"].clone();
    let (query, frontend) = (Workload::of_queriers(&world, NAME), Workload::of_frontend(&world, NAME));
    pods_have(&query, &query_pod(&spec)).await?;
    pods_have(&frontend, &pod(&spec["queryFrontend"], FRONTEND_CONTAINER)).await?;
    objects_have(&world, &query, &spec).await?;
    objects_have(&world, &frontend, &spec["queryFrontend"]).await?;
    services_have(&world, &spec).await?;
    frontend_answers(&world, &queriers, &frontend).await?;
    nothing_is_left_to_write(&world).await?;

    let before = queriers.snapshot().await?;
    objects[0]["spec"].as_object_mut().context("no spec")?.remove("queryFrontend");
    world.apply_all(&objects).await?;
    gone::<Deployment>(&world, frontend.name()).await?;
    gone::<Service>(&world, frontend.name()).await?;
    gone::<ServiceAccount>(&world, frontend.name()).await?;
    gone::<PodDisruptionBudget>(&world, frontend.name()).await?;
    eventually(FOLLOW, "no queryFrontendStatus", || async {
        let status = queriers.object().await?.status.context("no status")?;
        status.query_frontend_status.map_or(Ok(()), |left| bail!("{left:?}"))
    })
    .await?;

    objects[0]["spec"]["podDisruptionBudgetConfig"]["enable"] = json!(false);
    world.apply_all(&objects).await?;
    gone::<PodDisruptionBudget>(&world, query.name()).await?;
    queriers.ready().await?;
    queriers.unchanged_since(&before).await?;
    let classes: Api<PriorityClass> = Api::all(world.client());
    classes.delete(PRIORITY_CLASS, &Default::default()).await?;
    Ok(())
}

/// Whatever the API server made of all these fields, an operator that starts finds everything as it wants it.
async fn nothing_is_left_to_write(world: &World) -> Result<()> {
    let mut operator = world.operator()?.lock().await;
    operator.stop().await?;
    operator.start_again().await?;
    operator.reconciled().await?;
    let metrics = operator.metrics().await?;
    let written: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("thanos_operator_writes_total")).collect();
    if written.is_empty() { Ok(()) } else { bail!("written again: {written:?}") }
}

/// The documents of the sample, the ThanosQuery first, with the agent that was built here and for this namespace.
fn sample(world: &World) -> Result<Vec<Value>> {
    let path = paths::repository().join(SAMPLE);
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let own = format!("matchNames: [{}]", world.namespace());
    let text = text.replace(AGENT_IMAGE, &world.images().agent).replace(NAMESPACES, &own);
    let mut documents: Vec<Value> = serde_saphyr::from_multiple(&text)
        .with_context(|| format!("failed to understand {}", path.display()))?;
    if documents.first().is_none_or(|first| first["kind"] != "ThanosQuery") {
        bail!("{} does not begin with the ThanosQuery", path.display());
    }
    // The queriers of a tree have shards and no stores: there are cases of their own for it.
    if let Some(spec) = documents.first_mut().and_then(|query| query["spec"].as_object_mut()) {
        spec.remove("distributed");
    }
    Ok(documents)
}

/// What a pod has to have, as `section` of the sample says.
fn pod(section: &Value, container: &str) -> Value {
    let texts = |field: &str| section[field].as_array().cloned().unwrap_or_default();
    let mut mounts = texts("additionalVolumeMounts");
    for (field, folder) in [("configMaps", CONFIG_MAPS_FOLDER), ("secrets", SECRETS_FOLDER)] {
        let paths = texts(field).into_iter().filter_map(|name| Some(format!("{folder}/{}", name.as_str()?)));
        mounts.extend(paths.map(|path| json!({"mountPath": path, "readOnly": true})));
    }
    let mut args = texts("additionalArgs");
    args.push(json!(format!("--log.level={}", section["logLevel"].as_str().unwrap_or_default())));
    args.push(json!(format!("--log.format={}", section["logFormat"].as_str().unwrap_or_default())));
    let [base, version] =
        ["baseImage", "version"].map(|field| section[field].as_str().unwrap_or_default().to_owned());
    let mut containers = texts("additionalContainers");
    containers.push(json!({
        "name": container,
        "image": format!("{base}:{version}"),
        "imagePullPolicy": section["imagePullPolicy"],
        "args": args,
        "env": section["additionalEnv"],
        "ports": section["additionalPorts"],
        "resources": section["resourceRequirements"],
        "volumeMounts": mounts,
    }));
    let mut labels = section["labels"].as_object().cloned().unwrap_or_default();
    labels.extend(section["podLabels"].as_object().cloned().unwrap_or_default());
    json!({
        "metadata": {"labels": labels, "annotations": section["podAnnotations"]},
        "spec": {
            "affinity": section["affinity"],
            "containers": containers,
            "dnsConfig": section["dnsConfig"],
            "hostAliases": section["hostAliases"],
            "imagePullSecrets": section["imagePullSecrets"],
            "initContainers": section["initContainers"],
            "nodeSelector": section["nodeSelector"],
            "priorityClassName": section["priorityClassName"],
            "securityContext": section["securityContext"],
            "terminationGracePeriodSeconds": section["terminationGracePeriodSeconds"],
            "tolerations": section["tolerations"],
            "topologySpreadConstraints": section["topologySpreadConstraints"],
            "volumes": section["additionalVolumes"],
        },
    })
}

/// [`pod`] for a querier, with its agent and what is in `spec` only.
fn query_pod(spec: &Value) -> Value {
    let agent = &spec["serviceDiscovery"]["agent"];
    let mut pod = pod(spec, QUERY_CONTAINER);
    let more = [
        "--grpc.proxy-strategy=lazy",
        "--query.replica-label=prometheus_replica",
        "--query.replica-label=replica",
        "--query.telemetry.request-duration-seconds-quantiles=0.1",
        "--query.telemetry.request-samples-quantiles=100",
        "--query.telemetry.request-series-seconds-quantiles=1000",
        "--web.disable-cors",
        "--web.external-prefix=/thanos",
        "--web.prefix-header=X-Forwarded-Prefix",
        "--web.route-prefix=/",
    ];
    let querier = json!({"name": QUERY_CONTAINER, "args": more});
    if let Some(containers) = pod["spec"]["containers"].as_array_mut() {
        containers.push(querier);
    }
    if let Some(before) = pod["spec"]["initContainers"].as_array_mut() {
        before.push(json!({"image": agent["image"], "resources": agent["resources"]}));
    }
    pod
}

async fn pods_have(workload: &Workload, wanted: &Value) -> Result<()> {
    let pods = workload.pods().await?;
    if pods.len() != 2 {
        bail!("{} has {} pods", workload.name(), pods.len());
    }
    for pod in pods {
        let live = serde_json::to_value(&pod)?;
        let lacks = missing(wanted, &live);
        if !lacks.is_empty() {
            bail!("a pod of {} is not as the sample says:\n{}", workload.name(), lacks.join("\n"));
        }
        if live["metadata"]["annotations"].get("example.org/contact").is_some() {
            bail!("annotations are for objects, not for pods: {}", live["metadata"]["annotations"]);
        }
        if live["spec"]["automountServiceAccountToken"] != json!(false) {
            bail!("a pod of {} has a token that it does not need", workload.name());
        }
    }
    Ok(())
}

/// Every object of a workload carries its labels and annotations, and none for pods only.
async fn objects_have(world: &World, workload: &Workload, section: &Value) -> Result<()> {
    let name = workload.name();
    let wanted = json!({"metadata": {"labels": section["labels"], "annotations": section["annotations"]}});
    let live = [
        object::<Deployment>(world, name).await?,
        object::<Service>(world, name).await?,
        object::<ServiceAccount>(world, name).await?,
        object::<PodDisruptionBudget>(world, name).await?,
    ];
    for live in live {
        let lacks = missing(&wanted, &live);
        let pods_only = live["metadata"]["labels"].get("cost-center").is_some();
        if !lacks.is_empty() || pods_only {
            bail!("metadata of {name} is {}: {lacks:?}", live["metadata"]);
        }
    }
    Ok(())
}

async fn services_have(world: &World, spec: &Value) -> Result<()> {
    let query = object::<Service>(world, &format!("thanos-query-{NAME}")).await?;
    let balanced = object::<Service>(world, &format!("thanos-query-{NAME}-balanced")).await?;
    let frontend = object::<Service>(world, &format!("thanos-query-frontend-{NAME}")).await?;
    let ports = &spec["additionalServicePorts"];
    let grpc = json!({"name": "grpc", "port": 10901});
    let http = json!({"name": "http", "port": 9090});
    let mut lacks = missing(&json!({"spec": {"clusterIP": "None", "ports": [grpc, http]}}), &query);
    lacks.extend(missing(&json!({"spec": {"ports": ports}}), &query));
    let of_clients = |section: &Value| {
        json!({
            "metadata": {"annotations": section["service"]["annotations"]},
            "spec": {"type": section["service"]["type"]},
        })
    };
    lacks.extend(missing(&of_clients(spec), &balanced));
    lacks.extend(missing(&json!({"spec": {"ports": [grpc, http]}}), &balanced));
    let section = &spec["queryFrontend"];
    lacks.extend(missing(&of_clients(section), &frontend));
    lacks.extend(missing(&json!({"spec": {"ports": section["additionalServicePorts"]}}), &frontend));
    if balanced["spec"]["clusterIP"] == "None" {
        lacks.push("the second Service has no address of its own".to_owned());
    }
    if query["metadata"]["annotations"].get("example.org/exposed-to").is_some() {
        lacks.push("annotations for clients are on the headless Service".to_owned());
    }
    if lacks.is_empty() {
        Ok(())
    } else {
        bail!("Services are not as the sample says:\n{}", lacks.join("\n"))
    }
}

/// Each frontend pod, and the frontend's Service, answer as the queriers do.
async fn frontend_answers(world: &World, queriers: &Queriers, frontend: &Workload) -> Result<()> {
    let service = world.api::<Service>().get(frontend.name()).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("no address")?;
    eventually(FOLLOW, "querier, frontend pods and frontend Service answer the same", || async {
        // The same moment for all, and one of which everybody has the samples.
        let time = jiff::Timestamp::now().as_second() - 5;
        let path = format!("/api/v1/query?query={}&time={time}", escape("count by (store) (up)"));
        let mut answers = Vec::new();
        for pod in queriers.pods().await?.iter().chain(&frontend.pods().await?) {
            answers.push(world.reach().text(pod, HTTP_PORT, &path).await?);
        }
        answers.push(get(&address, HTTP_PORT, &path).await?);
        let mut results = Vec::new();
        for answer in &answers {
            let body: Value = serde_json::from_str(answer).with_context(|| answer.clone())?;
            results.push(body["data"]["result"].clone());
        }
        let wanted = results.first().context("nobody was asked")?;
        let has_store =
            wanted.as_array().is_some_and(|all| all.iter().any(|one| one["metric"]["store"] == "a"));
        if results.len() == 5 && has_store && results.iter().all(|one| one == wanted) {
            Ok(())
        } else {
            bail!("{answers:?}")
        }
    })
    .await
}

async fn object<K>(world: &World, name: &str) -> Result<Value>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Serialize,
{
    let live = world.api::<K>().get(name).await.with_context(|| format!("{} {name}", K::kind(&())))?;
    let mut live = serde_json::to_value(live)?;
    // Absent is as good as empty.
    for field in ["labels", "annotations"] {
        if live["metadata"][field].is_null() {
            live["metadata"][field] = Value::Object(Map::new());
        }
    }
    Ok(live)
}

async fn gone<K>(world: &World, name: &str) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    eventually(FOLLOW, format!("{} {name} gone", K::kind(&())), || async {
        if world.api::<K>().get_opt(name).await?.is_some() { bail!("still there") } else { Ok(()) }
    })
    .await
}
