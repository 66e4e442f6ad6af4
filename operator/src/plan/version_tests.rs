//! Promise 3 between any two releases and modes: at every moment each pod's own flags and file together name every
//! endpoint exactly once. The document is the new one, the pods are old and new.

use std::{collections::BTreeMap, sync::Arc};

use crds::names::pod::AGENT_CONTAINER;
use k8s_openapi::api::{
    core::v1::{PodSpec, Service as KubeService},
    discovery::v1::EndpointSlice,
};
use kube::CustomResourceExt as _;
use proptest::prelude::*;
use sd_agent::{Address, ThanosVersion, render::render};

use super::*;
use crate::{
    discovery::{Watched, discover},
    watch::StoreApiService,
};

/// Of every family, and one that nobody can read.
const VERSIONS: [&str; 9] =
    ["v0.35.1", "v0.36.1", "v0.37.2", "v0.38.0", "v0.39.2", "v0.40.1", "v0.41.0", "v0.42.4", "mine"];

const MODES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/serviceDiscovery/properties/mode/enum";

/// What a pod runs.
#[derive(Clone, Debug)]
struct Runs {
    version: &'static str,
    mode: String,
}

/// A Service, of which the pods of a headless one are all there are.
#[derive(Clone, Debug)]
struct Store {
    name: String,
    endpoint_type: &'static str,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    ClusterIp,
    Headless,
    /// Two pods with names of their own.
    Stateful,
    External,
}

fn modes() -> Vec<String> {
    let crd = json!(ThanosQuery::crd());
    let modes = crd.pointer(MODES).and_then(|modes| modes.as_array()).expect("modes");
    modes.iter().map(|mode| mode.as_str().expect("a text").to_owned()).collect()
}

fn runs() -> impl Strategy<Value = Runs> {
    let (version, mode) = (prop::sample::select(VERSIONS.to_vec()), prop::sample::select(modes()));
    (version, mode).prop_map(|(version, mode)| Runs { version, mode })
}

fn stores() -> impl Strategy<Value = Vec<Store>> {
    let types = vec!["", "endpoint-strict", "endpoint-group", "endpoint-group-strict"];
    let forms = vec![Form::ClusterIp, Form::Headless, Form::Stateful, Form::External];
    let one = (prop::sample::select(types), prop::sample::select(forms));
    proptest::collection::vec(one, 0..8).prop_map(|stores| {
        let named = |(index, (endpoint_type, form))| Store { name: format!("s{index}"), endpoint_type, form };
        stores.into_iter().enumerate().map(named).collect()
    })
}

// === impl Store ===

impl Store {
    fn service(&self) -> Arc<StoreApiService> {
        let Self { name, endpoint_type, form } = self;
        let mut labels =
            json!({"operator.thanos.io/store-api": "true", "app.kubernetes.io/part-of": "thanos"});
        if !endpoint_type.is_empty() {
            labels[format!("operator.thanos.io/{endpoint_type}")] = json!("true");
        }
        let ports = json!([{"name": "grpc", "port": 80, "targetPort": 10901}]);
        let spec = match form {
            Form::ClusterIp => json!({"clusterIP": "10.0.0.9", "ports": ports}),
            Form::Headless | Form::Stateful => json!({"clusterIP": "None", "ports": ports}),
            Form::External => {
                json!({"type": "ExternalName", "externalName": format!("{name}.example"), "ports": ports})
            }
        };
        let service =
            json!({"metadata": {"name": name, "namespace": "demo", "labels": labels}, "spec": spec});
        Arc::new(serde_json::from_value::<KubeService>(service).expect("a Service").into())
    }

    fn slice(&self) -> Option<EndpointSlice> {
        let name = &self.name;
        let endpoints = match self.form {
            Form::Stateful => json!([{"addresses": ["10.1.0.1"], "hostname": format!("{name}-0")},
                {"addresses": ["10.1.0.2"], "hostname": format!("{name}-1")}]),
            Form::Headless => json!([{"addresses": ["10.1.0.3"]}]),
            Form::ClusterIp | Form::External => return None,
        };
        let slice = json!({"metadata": {"name": name, "namespace": "demo", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": [{"name": "grpc", "port": 10901}], "endpoints": endpoints});
        Some(serde_json::from_value(slice).expect("a slice"))
    }

    /// Everything behind it that Thanos shall have.
    fn backends(&self) -> Vec<String> {
        let Self { name, form, .. } = self;
        match form {
            Form::ClusterIp | Form::Headless | Form::External => vec![name.clone()],
            Form::Stateful => vec![format!("{name}-0"), format!("{name}-1")],
        }
    }

    /// What of it an address that Thanos is given leads to. A name of a headless Service leads to all its pods; that
    /// some releases then take only one of them is what `SingleAddress` tells.
    fn reached_by(&self, address: &Address) -> Vec<String> {
        // Another spelling is the same host.
        let host = &address.target().to_ascii_lowercase();
        let whole = [format!("{}.demo.svc.cluster.local", self.name), format!("{}.example", self.name)];
        if whole.iter().any(|whole| whole == host) {
            return self.backends();
        }
        let of_pod = |backend: &String| *host == format!("{backend}.{}", whole[0]);
        self.backends().into_iter().filter(of_pod).collect()
    }
}

/// A ConfigMap and the pods that are planned with it.
struct Planned {
    config_map: Option<ConfigMap>,
    pod: PodSpec,
}

/// What is planned of `stores` when there is this ConfigMap.
fn planned(stores: &[Store], runs: &Runs, config_map: Option<&ConfigMap>) -> Planned {
    let Runs { version, mode } = runs;
    let query: ThanosQuery = serde_saphyr::from_str(&format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo, uid: u-1}}, spec: {{version: {version}, serviceDiscovery: {{mode: {mode}}}}}}}"
    ))
    .expect("a ThanosQuery");
    let slices = stores.iter().filter_map(Store::slice).map(|slice| Arc::new(slice.into())).collect();
    let services = stores.iter().map(Store::service).collect();
    let watched = Watched { services, slices, ..Watched::default() };
    let discovery = discover(&query, &watched).expect("readable");
    let known = Known { config_map, ..Known::default() };
    let plan = plan(&query, &discovery, &known, &Config::of_tests(), Timestamp::UNIX_EPOCH);
    let plan = plan.expect("a plan");
    assert!(plan.summary.endpoints.rejected.is_empty(), "{:?}", plan.summary.endpoints.rejected);
    let pods = plan.queriers.deployment.and_then(|deployment| deployment.spec?.template.spec);
    Planned { config_map: plan.config_maps.wanted, pod: pods.expect("pods") }
}

fn values(args: Option<&Vec<String>>, is: impl Fn(&str) -> bool) -> Vec<Address> {
    let args = args.into_iter().flatten().filter_map(|arg| arg.split_once('='));
    args.filter(|(name, _)| is(name)).map(|(_, value)| value.parse().expect("an address")).collect()
}

/// Every address that the Thanos of this pod is given while there is this ConfigMap.
fn given(pod: &PodSpec, runs: &Runs, config_map: Option<&ConfigMap>) -> Vec<Address> {
    let mut given = values(pod.containers[0].args.as_ref(), |name| names_endpoint(&format!("{name}=")));
    let Some(agent) = pod.init_containers.iter().flatten().find(|own| own.name == AGENT_CONTAINER) else {
        return given;
    };
    let (_, document) = payload_of(config_map.expect("a ConfigMap for the agent")).unpack().expect("valid");
    let flagged = values(agent.args.as_ref(), |name| name == "--flagged");
    let version = runs.version.parse().unwrap_or(ThanosVersion::Unknown);
    let file: serde_json::Value =
        serde_json::from_str(&render(&document, version, &flagged).text).expect("JSON");
    let entries = file["endpoints"].as_array().or_else(|| file[0]["targets"].as_array());
    let address = |entry: &serde_json::Value| {
        let text = entry.as_str().or_else(|| entry["address"].as_str()).expect("an address");
        text.parse().expect("an address")
    };
    given.extend(entries.into_iter().flatten().map(address));
    given
}

/// How often each backend of `stores` is named.
fn named(stores: &[Store], given: &[Address]) -> BTreeMap<String, usize> {
    let mut named: BTreeMap<String, usize> =
        stores.iter().flat_map(Store::backends).map(|backend| (backend, 0)).collect();
    for address in given {
        let reached: Vec<String> = stores.iter().flat_map(|store| store.reached_by(address)).collect();
        assert!(!reached.is_empty(), "{address} leads nowhere");
        for backend in reached {
            *named.entry(backend).or_default() += 1;
        }
    }
    named
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn while_release_and_mode_change_old_and_new_pods_name_every_endpoint_once(
        stores in stores(),
        old in runs(),
        new in runs(),
    ) {
        let before = planned(&stores, &old, None);
        let after = planned(&stores, &new, before.config_map.as_ref());
        for (pod, runs) in [(&before.pod, &old), (&after.pod, &new)] {
            let given = given(pod, runs, after.config_map.as_ref());
            for (backend, times) in named(&stores, &given) {
                prop_assert_eq!(times, 1, "{} in {:?}, from {:?} to {:?}: {:?}", backend, runs, old, new, given);
            }
        }
    }
}

/// As the other, when a label changes the type of a Service in the same moment.
#[test]
fn while_release_and_type_change_together_old_and_new_pods_name_the_endpoint_once() {
    let types = ["", "endpoint-strict", "endpoint-group", "endpoint-group-strict"];
    let runs = ["v0.35.1", "v0.37.2", "v0.40.1", "mine"].map(|version| Runs { version, mode: "File".into() });
    for form in [Form::ClusterIp, Form::Headless, Form::Stateful, Form::External] {
        for (before, after) in types.iter().flat_map(|before| types.map(|after| (*before, after))) {
            for (old, new) in runs.iter().flat_map(|old| runs.each_ref().map(|new| (old, new))) {
                let of = |endpoint_type| vec![Store { name: "s0".into(), endpoint_type, form }];
                let first = planned(&of(before), old, None);
                let second = planned(&of(after), new, first.config_map.as_ref());
                for (pod, runs) in [(&first.pod, old), (&second.pod, new)] {
                    let mut given = given(pod, runs, second.config_map.as_ref());
                    // A plain name may lead to one pod or to all, which nobody sees in it. So where a strict endpoint
                    // is each pod by itself, an old pod has them beside a group's plain name: rather twice than not.
                    let is_pod = |address: &Address| address.target().starts_with("s0-");
                    if given.iter().any(is_pod) {
                        given.retain(|address| is_pod(address) || address.is_looked_up());
                    }
                    let named = named(&of(after), &given);
                    assert!(
                        named.values().all(|times| *times == 1),
                        "{form:?} from {before:?} to {after:?}, {old:?} to {new:?}, in {runs:?}: {given:?}"
                    );
                }
            }
        }
    }
}
