//! Whole outputs: a ThanosQuery and Services in, every object out, compared as text.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tests --test golden` writes the expected files anew; the diff is then the review.

use std::{fs, path::Path, sync::Arc};

use crds::{
    ThanosQuery,
    names::labels::{PART_OF, QUERY_API, STORE_API, THANOS, TRUE},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
};
use operator::{
    config::Config,
    discovery::{Watched, discover, query_service},
    plan::{Known, Monitor, Names, Plan, Running, Shards, Standing, WorkloadPlan, plan, tree},
};
use serde::Serialize;
use serde_json::Value;

#[test]
fn every_case_makes_the_objects_that_it_is_expected_to_make() {
    tests::golden::check("golden", "expected.yaml", "golden", made).expect("as expected");
}

fn made(case: &Path) -> String {
    let input = fs::read_to_string(case.join("input.yaml")).expect("input.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&input).expect("YAML");
    let mut watched = Watched::default();
    let mut query_services = Vec::new();
    let mut query: Option<ThanosQuery> = None;
    for document in documents {
        let kind = document["kind"].as_str().expect("a kind").to_owned();
        match kind.as_str() {
            "ThanosQuery" => query = Some(serde_json::from_value(document).expect("a ThanosQuery")),
            "Service" => {
                let mut service: Service = serde_json::from_value(document).expect("a Service");
                let labels = service.metadata.labels.get_or_insert_default();
                match labels.contains_key(QUERY_API) {
                    true => query_services.push(Arc::new(service.into())),
                    false => {
                        // What is watched has these.
                        for (label, value) in [(STORE_API, TRUE), (PART_OF, THANOS)] {
                            labels.insert(label.to_owned(), value.to_owned());
                        }
                        watched.services.push(Arc::new(service.into()));
                    }
                }
            }
            "EndpointSlice" => {
                let slice: EndpointSlice = serde_json::from_value(document).expect("an EndpointSlice");
                watched.slices.push(Arc::new(slice.into()));
            }
            "Namespace" => {
                let namespace: Namespace = serde_json::from_value(document).expect("a Namespace");
                watched.namespaces.push(Arc::new(namespace.into()));
            }
            other => unreachable!("{other} in {}", case.display()),
        }
    }
    let query = query.expect("a ThanosQuery");
    let config = Config {
        agent_image: "sd-agent:test".into(),
        cluster_domain: "cluster.local".into(),
        default_rollouts: Default::default(),
        needs_consent: true,
    };
    let discovery = discover(&query, &watched).expect("a readable selector");
    let query_service = query.spec.query_frontend.is_some().then(|| query_service(&query, &query_services));
    // A tree is shown as it begins.
    let tree = query.spec.distributed.is_some().then(|| {
        let names = Names::of(&query).expect("a name");
        let (running, standing) = (Running::default(), Standing::default());
        tree(&query, &names, &running, &standing, Timestamp::UNIX_EPOCH).expect("a tree")
    });
    let tree = tree.unwrap_or_default();
    let discovery = if tree.is_over_shards() { Default::default() } else { discovery };
    let known = Known { generation: Some(41), query_service, tree, ..Known::default() };
    let Plan {
        names: _,
        config_maps,
        remembered: _,
        role,
        role_binding,
        queriers,
        balanced,
        frontend,
        shards: Shards { wanted, gone: _, hold_pods },
        summary,
    } = plan(&query, &discovery, &known, &config, Timestamp::UNIX_EPOCH).expect("a plan");
    let mut text = String::new();
    let mut add = |object: Option<Value>| {
        if let Some(object) = object {
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(&object).expect("YAML"));
        }
    };
    config_maps.wanted.into_iter().chain(config_maps.former).map(json).for_each(|object| add(Some(object)));
    wanted.into_iter().map(json).for_each(|shard| add(Some(shard)));
    if let Some(why) = hold_pods {
        add(Some(serde_json::json!({"podsWait": why})));
    }
    add(role.map(json));
    add(role_binding.map(json));
    add(balanced.map(json));
    for workload in std::iter::once(queriers).chain(frontend) {
        let WorkloadPlan { service_account, service, disruption_budget, monitor, deployment } = workload;
        add(Some(json(service_account)));
        add(Some(json(service)));
        add(disruption_budget.map(json));
        if let Monitor::Wanted(monitor) = monitor {
            add(Some(json(monitor)));
        }
        add(deployment.map(json));
    }
    let left_out = |reasons: &[operator::discovery::Rejected]| -> Vec<String> {
        reasons
            .iter()
            .map(|own| format!("{}: {}: {}", own.service, own.reason.word(), own.reason.message()))
            .collect()
    };
    add(Some(serde_json::json!({
        "version": summary.version.to_string(),
        "rejected": left_out(&discovery.rejected),
        "unreachable": left_out(&summary.endpoints.rejected),
        "remarks": left_out(&discovery.remarks),
        "single": left_out(&summary.endpoints.single),
        "problems": summary.problems,
        "noted": summary.remarks,
        "queryService": summary.query_service_problem,
    })));
    text
}

fn json(object: impl Serialize) -> Value {
    serde_json::to_value(object).expect("JSON")
}
