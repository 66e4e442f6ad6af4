//! Whole outputs: a ThanosQuery and Services in, every object out, compared as text.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tests --test golden` writes the expected files anew; the diff is then the review.

use std::path::Path;

use operator::plan::{Monitor, Plan, Shards, WorkloadPlan};
use serde::Serialize;
use serde_json::Value;
use tests::golden::Input;

#[test]
fn every_case_makes_the_objects_that_it_is_expected_to_make() {
    tests::golden::check("golden", "expected.yaml", "golden", made).expect("as expected");
}

fn made(case: &Path) -> String {
    let (discovery, plan) = Input::read(case).expect("input.yaml").plan().expect("a plan");
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
    } = plan;
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
    let mut told = serde_json::json!({
        "version": summary.version.to_string(),
        "rejected": left_out(&discovery.rejected),
        "unreachable": left_out(&summary.endpoints.rejected),
        "remarks": left_out(&discovery.remarks),
        "single": left_out(&summary.endpoints.single),
        "problems": summary.problems,
        "noted": summary.remarks,
        "queryService": summary.query_service_problem,
    });
    let needs = summary.endpoints.unsupported.iter().map(|own| format!("{}: {:?}", own.who, own.what));
    let needs: Vec<String> = needs.chain(summary.unsupported).collect();
    // What few cases have stands only there.
    if !needs.is_empty() {
        told["unsupported"] = needs.into();
    }
    let said = left_out(&summary.endpoints.remarks);
    if !said.is_empty() {
        told["said"] = said.into();
    }
    if !summary.flaws.is_empty() {
        told["flaws"] = json(summary.flaws);
    }
    add(Some(told));
    text
}

fn json(object: impl Serialize) -> Value {
    serde_json::to_value(object).expect("JSON")
}
