//! What `thanos-operator explain` prints: objects and answers of pods in, the table out, compared as text.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tests --test golden_explain` writes the expected files anew; the diff is then the review.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use crds::ThanosQuery;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::ResourceExt as _;
use operator::{
    cluster_version::ClusterVersion,
    config::Config,
    discovery::Watched,
    explain::{Answer, Explanation, Found, Listed, PodFound, explained, json, table},
    plan::set_payload,
};
use sd_agent::{Document, Endpoint, Payload, Report};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden-explain");

/// The ConfigMap, by what is in it.
#[derive(Deserialize)]
struct DocumentInput {
    generation: u64,
    written: Timestamp,
    endpoints: Vec<Endpoint>,
}

/// What a pod answers.
#[derive(Deserialize)]
struct AnswersInput {
    pod: String,
    agent: Option<Report>,
    stores: Option<BTreeMap<String, Vec<Listed>>>,
}

#[test]
fn every_case_is_told_as_it_is_expected_to_be() {
    tests::golden::check("golden-explain", "expected.txt", "golden_explain", |case| {
        table(&explanation(case), now())
    })
    .expect("as expected");
}

#[test]
fn json_has_the_same_in_full_and_nothing_that_a_terminal_obeys() {
    let text = json(&explanation(&Path::new(FOLDER).join("night")));
    assert!(text.chars().all(|character| character == '\n' || !character.is_control()));
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let fields: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected = [
        "namespace",
        "query",
        "look",
        "version",
        "refused",
        "document",
        "services",
        "additionalEndpoints",
        "stillThere",
        "heldRemoval",
        "pods",
        "conditions",
        "problems",
        "remarks",
        "unread",
    ];
    let mut fields = fields;
    fields.sort_unstable();
    expected.sort_unstable();
    assert_eq!(fields, expected);
    let services = value["services"].as_array().expect("a list");
    let of = |verdict: &str| services.iter().filter(|own| own["verdict"] == verdict).count();
    assert_eq!((of("In"), of("LeftOut"), of("Unlabelled")), (6, 2, 2));
    let strict = services.iter().find(|own| own["type"] == "Strict").expect("a strict one");
    assert_eq!(strict["endpoints"][0]["carrier"], "FileUntilFlag");
}

#[test]
fn readme_shows_what_is_printed() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("README.md");
    let told = table(&explanation(&Path::new(FOLDER).join("readme")), now());
    assert!(readme.contains(&format!("```\n{told}```")), "README.md lacks this:\n{told}");
}

fn now() -> Timestamp {
    "2026-03-01T03:00:00Z".parse().expect("a time")
}

fn explanation(case: &Path) -> Explanation {
    let config = Config {
        agent_image: String::new(),
        cluster_domain: "cluster.local".into(),
        default_rollouts: Default::default(),
        needs_consent: true,
    };
    explained(&found(case), &config, now())
}

fn found(case: &Path) -> Found {
    let input = fs::read_to_string(case.join("input.yaml")).expect("input.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&input).expect("YAML");
    let mut query: Option<ThanosQuery> = None;
    let mut watched = Watched::default();
    let (mut config_map, mut deployment) = (None, None);
    let (mut pods, mut answers): (Vec<Pod>, Vec<AnswersInput>) = (vec![], vec![]);
    for document in documents {
        match document["kind"].as_str().expect("a kind") {
            "ThanosQuery" => query = Some(typed(document)),
            "Service" => watched.services.push(Arc::new(typed::<Service>(document).into())),
            "EndpointSlice" => watched.slices.push(Arc::new(typed::<EndpointSlice>(document).into())),
            "Namespace" => watched.namespaces.push(Arc::new(typed::<Namespace>(document).into())),
            "Deployment" => deployment = Some(typed::<Deployment>(document)),
            "Pod" => pods.push(typed(document)),
            "Document" => config_map = Some(packed(typed(document))),
            "Answers" => answers.push(typed(document)),
            other => unreachable!("{other} in {}", case.display()),
        }
    }
    let pods = pods.into_iter().map(|pod| {
        let own = answers.iter().find(|own| own.pod == pod.name_any());
        let why = "the pod does not run";
        let Some(AnswersInput { pod: _, agent, stores }) = own else {
            return PodFound { pod, agent: Answer::NotAsked(why), stores: Answer::NotAsked(why) };
        };
        let silent = || "no answer within 5 s".to_owned();
        let agent = agent.clone().map_or_else(|| Answer::Failed(silent()), Answer::Given);
        let stores = stores.clone().map_or_else(|| Answer::Failed(silent()), Answer::Given);
        PodFound { pod, agent, stores }
    });
    Found {
        pods: pods.collect(),
        query: query.expect("a ThanosQuery"),
        watched,
        elsewhere: vec![],
        missing_namespaces: vec![],
        config_map,
        deployment,
        cluster: ClusterVersion::default(),
        unread: vec![],
    }
}

fn packed(input: DocumentInput) -> ConfigMap {
    let DocumentInput { generation, written, endpoints } = input;
    let document = Document::new(endpoints).expect("a document");
    let payload = Payload::pack(&document, "uid-1", generation, written).expect("small");
    let mut config_map = ConfigMap::default();
    set_payload(&mut config_map, payload);
    config_map
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a readable object")
}
