//! The order of steps, one look after the other.

use crds::thanos_query_status::HeldRemoval;
use serde_json::json;

use super::*;
use crate::plan::Image;

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const LONG: Option<Duration> = Some(Duration::from_secs(60));
const IMAGE: &str = "quay.io/thanos/thanos:v0.42.4";

fn root(spec: &str) -> ThanosQuery {
    let yaml = format!(
        "{{apiVersion: monitoring.thanos.io/v1alpha1, kind: ThanosQuery, metadata: {{name: global, namespace: demo, uid: u-1}}, spec: {{{spec}}}}}"
    );
    serde_saphyr::from_str(&yaml).expect("a ThanosQuery")
}

fn two() -> ThanosQuery {
    root("distributed: {shards: 2, shardingLabels: [tenant]}")
}

fn three() -> ThanosQuery {
    root("distributed: {shards: 3, shardingLabels: [tenant]}")
}

fn by_region() -> ThanosQuery {
    root("distributed: {shards: 2, shardingLabels: [region]}")
}

fn image(version: &str) -> Image {
    Image {
        reference: format!("quay.io/thanos/thanos:{version}"),
        version: version.parse().expect("a version"),
    }
}

fn next(query: &ThanosQuery, standing: &Standing) -> Tree {
    step(query, "v0.42.4", standing)
}

fn step(query: &ThanosQuery, version: &str, standing: &Standing) -> Tree {
    let names = Names::of(query).expect("a name");
    Tree::of(query, &names, &image(version), standing, NOW).expect("can be done")
}

fn over(query: &ThanosQuery) -> Over {
    Over::Shards(ShardSet::of(query.spec.distributed.as_ref().expect("distributed")))
}

fn partition(label: &str) -> Mode {
    Mode::Distributed(vec![label.to_owned()])
}

/// `shard` as the API has it when it has been ready for so long.
fn ready(mut shard: ThanosQuery, for_seconds: i64) -> ThanosQuery {
    shard.metadata.generation = Some(1);
    let since = NOW.checked_sub(jiff::SignedDuration::from_secs(for_seconds)).expect("a time").to_string();
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "R", "message": "", "lastTransitionTime": since});
    let conditions = [condition("Ready"), condition("EndpointsSynced")];
    let status = json!({"observedGeneration": 1, "conditions": conditions, "endpoints":
        {"total": 4, "regular": 4, "strict": 0, "group": 0, "groupStrict": 0, "rejected": 0}});
    shard.status = Some(serde_json::from_value(status).expect("a status"));
    shard
}

/// The shards that `query` asks for, ready for long.
fn shards(query: &ThanosQuery) -> Vec<ThanosQuery> {
    next(query, &Standing::default()).shards.into_iter().map(|shard| ready(shard, 60)).collect()
}

fn pods(is_distributed: bool) -> Pods {
    let local_for = LONG.filter(|_| !is_distributed);
    Pods { is_distributed, is_rolled_out: true, local_for, image: Some(IMAGE.to_owned()) }
}

/// A tree of `query` at rest.
fn at_rest(query: &ThanosQuery) -> Standing {
    Standing {
        document: Some(over(query)),
        document_for: LONG,
        pods: Some(pods(true)),
        shards: shards(query),
    }
}

fn names(shards: &[ThanosQuery]) -> Vec<String> {
    shards.iter().filter_map(|shard| shard.metadata.name.clone()).collect()
}

#[test]
fn a_new_tree_gets_its_shards_first_and_pods_when_they_have_been_ready_for_two_ticks() {
    let query = two();
    let tree = next(&query, &Standing::default());
    let set = ShardSet::of(query.spec.distributed.as_ref().expect("distributed"));
    assert_eq!(names(&tree.shards), set.names("global"));
    assert_eq!((&tree.over, &tree.mode), (&over(&query), &partition("tenant")));
    assert!(tree.holds_pods && tree.unready.expect("a reason").contains("-0 does not exist yet"));

    let mut standing = Standing { shards: shards(&query), ..Standing::default() };
    standing.shards[1] = ready(standing.shards[1].clone(), 5);
    let tree = next(&query, &standing);
    assert!(tree.holds_pods);
    assert_eq!(tree.look_again, Some(Duration::from_secs(7)), "two ticks of 5 s and the file");

    standing.shards[1] = ready(standing.shards[1].clone(), 12);
    let tree = next(&query, &standing);
    assert!(!tree.holds_pods && tree.unready.is_none());
}

#[test]
fn at_rest_nothing_is_to_do() {
    let query = two();
    let tree = next(&query, &at_rest(&query));
    assert_eq!((&tree.over, &tree.mode), (&over(&query), &partition("tenant")));
    assert!(!tree.is_other && tree.gone.is_empty() && tree.unready.is_none() && tree.look_again.is_none());
    assert!(
        tree.told.iter().all(|shard| shard.ready && shard.synced && shard.endpoints == 4),
        "{:?}",
        tree.told
    );
    assert_eq!(tree.told.iter().map(|shard| shard.index).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn switched_on_shards_come_first_then_the_document_and_the_pods_last() {
    let query = two();
    let mut standing = Standing {
        document: Some(Over::Stores),
        document_for: LONG,
        pods: Some(pods(false)),
        shards: vec![],
    };
    let tree = next(&query, &standing);
    assert_eq!((&tree.over, &tree.mode, tree.is_other), (&Over::Stores, &Mode::Local, false));
    assert!(!tree.holds_pods, "pods that run go on");

    standing.shards = shards(&query);
    let tree = next(&query, &standing);
    assert_eq!((&tree.over, &tree.mode, tree.is_other), (&over(&query), &Mode::Local, true));

    standing.document = Some(over(&query));
    for document_for in [None, Some(Duration::from_secs(11))] {
        standing.document_for = document_for;
        let tree = next(&query, &standing);
        assert_eq!((&tree.over, &tree.mode), (&over(&query), &Mode::Local), "{document_for:?}");
        assert!(tree.unready.is_some(), "it is not Ready before");
    }
    standing.document_for = Some(Duration::from_secs(12));
    assert_eq!(next(&query, &standing).mode, partition("tenant"));
}

#[test]
fn switched_off_the_pods_come_first_then_the_document_and_the_shards_go_last() {
    let (on, off) = (two(), root(""));
    let mut standing = at_rest(&on);
    let tree = next(&off, &standing);
    assert_eq!((&tree.over, &tree.mode), (&over(&on), &Mode::Local));
    assert!(tree.gone.is_empty() && tree.unready.is_some());

    let stopped = |seconds| Pods { local_for: Some(Duration::from_secs(seconds)), ..pods(false) };
    standing.pods = Some(stopped(14));
    assert_eq!(next(&off, &standing).over, over(&on), "a pod that ends may still answer");
    standing.pods = Some(stopped(15));
    let tree = next(&off, &standing);
    assert_eq!((&tree.over, tree.is_other), (&Over::Stores, true));
    assert!(tree.gone.is_empty(), "no pod has the stores yet");

    standing.document = Some(Over::Stores);
    for document_for in [None, Some(Duration::from_secs(11))] {
        standing.document_for = document_for;
        assert!(next(&off, &standing).gone.is_empty(), "{document_for:?}");
    }
    standing.document_for = LONG;
    assert_eq!(next(&off, &standing).gone, names(&standing.shards));
}

#[test]
fn another_number_of_shards_is_one_switch_of_the_document_when_all_new_ones_are_ready() {
    let (old, new) = (two(), three());
    let mut standing = at_rest(&old);
    let tree = next(&new, &standing);
    assert_eq!((&tree.over, &tree.mode, tree.is_other), (&over(&old), &partition("tenant"), false));
    assert_eq!((tree.shards.len(), tree.gone.len()), (3, 0));
    assert!(tree.unready.is_some());

    standing.shards.extend(shards(&new));
    let tree = next(&new, &standing);
    assert_eq!((&tree.over, &tree.mode, tree.is_other), (&over(&new), &partition("tenant"), true));
    assert!(tree.gone.is_empty());

    (standing.document, standing.document_for) = (Some(over(&new)), None);
    assert!(next(&new, &standing).gone.is_empty(), "a pod may have the old document");
    standing.document_for = LONG;
    assert_eq!(next(&new, &standing).gone, names(&shards(&old)));
}

#[test]
fn a_set_that_was_given_up_before_it_was_ready_goes_and_the_one_that_is_asked_stays() {
    let (old, given_up) = (two(), three());
    let mut standing = at_rest(&old);
    let half_built = next(&given_up, &standing).shards;
    standing.shards.extend(half_built.clone());
    assert_eq!(next(&old, &standing).gone, names(&half_built));
}

#[test]
fn between_sets_that_are_split_by_other_labels_no_pod_sends_parts_of_queries() {
    let (old, new) = (two(), by_region());
    let mut standing = at_rest(&old);
    standing.shards.extend(shards(&new));
    let tree = next(&new, &standing);
    assert_eq!((&tree.over, &tree.mode), (&over(&old), &Mode::Local));
    standing.pods = Some(pods(false));
    let tree = next(&new, &standing);
    assert_eq!((&tree.over, &tree.mode), (&over(&new), &Mode::Local));
    (standing.document, standing.document_for) = (Some(over(&new)), LONG);
    assert_eq!(next(&new, &standing).mode, partition("region"));
}

#[test]
fn the_root_is_upgraded_before_its_shards() {
    let query = root("version: v0.42.4, distributed: {shards: 2, shardingLabels: [tenant]}");
    let old = root("version: v0.37.2, distributed: {shards: 2, shardingLabels: [tenant]}");
    let live = step(&old, "v0.37.2", &Standing::default()).shards;
    let mut standing = at_rest(&query);
    standing.shards = live.into_iter().map(|shard| ready(shard, 60)).collect();
    let images = |tree: &Tree| -> Vec<String> {
        tree.shards.iter().filter_map(|shard| shard.spec.common.base_image.clone()).collect()
    };
    let is_old = |image: &String| image.ends_with(":v0.37.2");
    for (image, is_rolled_out) in [("quay.io/thanos/thanos:v0.37.2", true), (IMAGE, false)] {
        let image = Some(image.to_owned());
        standing.pods = Some(Pods { image, is_rolled_out, ..pods(true) });
        let tree = next(&query, &standing);
        assert!(images(&tree).iter().all(is_old), "{:?}", images(&tree));
        assert!(tree.unready.is_none(), "the old shards are as they have to be now");
    }
    standing.pods = Some(pods(true));
    let tree = next(&query, &standing);
    assert!(!images(&tree).iter().any(is_old));
    assert!(tree.unready.expect("until they are").contains("is not looked at yet"));
}

#[test]
fn before_0_38_parts_of_queries_are_not_sent_and_an_upgrade_brings_that_with_the_release() {
    let query = two();
    for version in ["v0.35.1", "v0.37.2", "unknown"] {
        let tree = step(&query, version, &Standing::default());
        assert_eq!((&tree.over, &tree.mode), (&over(&query), &Mode::Local), "{version}");
    }
    let image = Some("quay.io/thanos/thanos:v0.37.2".to_owned());
    let old = step(&query, "v0.37.2", &Standing::default()).shards;
    let shards = old.into_iter().map(|shard| ready(shard, 60)).collect();
    let pods = Some(Pods { image, ..pods(false) });
    let standing = Standing { pods, shards, ..at_rest(&query) };
    assert_eq!(step(&query, "v0.37.2", &standing).unready, None, "there is nothing to wait for");
    assert_eq!(step(&query, "v0.38.0", &standing).mode, partition("tenant"));
}

#[test]
fn while_the_pods_are_replaced_no_other_set_is_taken() {
    let (old, new) = (two(), three());
    let mut standing = at_rest(&old);
    standing.shards.extend(shards(&new));
    standing.pods = Some(Pods { is_rolled_out: false, ..pods(true) });
    let tree = next(&new, &standing);
    assert_eq!(tree.over, over(&old));
    assert!(tree.unready.is_some());
}

#[test]
fn a_document_whose_note_is_lost_is_not_taken_for_stores_while_parts_of_queries_are_sent() {
    let query = two();
    for document in [None, Some(Over::Stores)] {
        let standing = Standing { document, ..at_rest(&query) };
        assert_eq!(next(&query, &standing).over, over(&query));
        assert_eq!(next(&root(""), &standing).over, over(&query));
    }
}

#[test]
fn a_document_that_somebody_deletes_is_one_over_stores_where_it_was() {
    let query = two();
    let standing = Standing { document: None, pods: Some(pods(false)), ..Standing::default() };
    let tree = next(&query, &standing);
    assert_eq!((&tree.over, &tree.mode), (&Over::Stores, &Mode::Local));
}

#[test]
fn a_shard_that_is_not_ready_is_named_with_what_it_says_and_takes_nothing_away() {
    let query = two();
    let mut standing = at_rest(&query);
    let conditions = &mut standing.shards[1].status.as_mut().expect("a status").conditions;
    (conditions[0].status, conditions[0].message) = ("False".into(), "no node has room".into());
    let tree = next(&query, &standing);
    assert_eq!((&tree.over, &tree.mode), (&over(&query), &partition("tenant")));
    let unready = tree.unready.expect("told");
    assert!(unready.contains("-1 is not ready: no node has room"), "{unready}");
    assert!(!tree.told[1].ready && tree.told[0].ready);
}

#[test]
fn a_shard_says_what_its_root_says_but_for_what_only_a_root_does() {
    let query = root(
        "replicas: 3, distributed: {shards: 2, replicasPerShard: 2, shardingLabels: [tenant]}, queryFrontend: {}, \
         webConfig: {externalPrefix: /x}, service: {type: NodePort}, logLevel: warn, \
         labels: {team: a, operator.thanos.io/store-api: 'true'}, serviceDiscovery: {configMap: {name: mine}, refreshInterval: 2s}, \
         additionalArgs: [--query.timeout=1m, '--selector-label=a=\"b\"']",
    );
    let mut query = query;
    query.metadata.labels = Some(
        [("operator.thanos.io/store-api", "true"), ("helm.sh/chart", "x"), ("env", "p")]
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .into(),
    );
    let shard = next(&query, &Standing::default()).shards.remove(1);
    let spec = json!(shard.spec);
    assert_eq!((&spec["replicas"], &spec["logLevel"]), (&json!(2), &json!("warn")));
    for field in ["distributed", "queryFrontend", "webConfig", "service", "paused"] {
        assert!(spec.get(field).is_none(), "{field}: {spec}");
    }
    assert_eq!(spec["labels"], json!({"team": "a"}));
    assert_eq!(spec["serviceDiscovery"]["configMap"], json!({}));
    assert_eq!(spec["serviceDiscovery"]["refreshInterval"], "2s");
    let args: Vec<&str> =
        spec["additionalArgs"].as_array().expect("args").iter().filter_map(|arg| arg.as_str()).collect();
    assert!(
        args.len() == 2 && args[0] == "--query.timeout=1m" && args[1].contains("\"regex\":\"1\""),
        "{args:?}"
    );
    let labels = json!(shard.metadata.labels);
    assert_eq!(
        labels,
        json!({"env": "p", "app.kubernetes.io/managed-by": "thanos-operator", "operator.thanos.io/owner": "global",
            "operator.thanos.io/shard-of": "global", "operator.thanos.io/shard": "1"})
    );
    assert_eq!(root_of(&shard), Some("global"));
}

#[test]
fn a_removal_that_is_accepted_at_the_root_is_accepted_by_each_shard_under_its_own_number() {
    let mut query = two();
    let mut standing = at_rest(&query);
    for (shard, number) in standing.shards.iter_mut().zip([7, 9]) {
        shard.status.as_mut().expect("a status").held_removal = Some(HeldRemoval {
            generation: number,
            count: 1,
            services: vec!["demo/a".into()],
            until: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW),
        });
    }
    let accepted = |tree: &Tree| -> Vec<Option<String>> {
        let note = |shard: &ThanosQuery| {
            shard.metadata.annotations.as_ref()?.get("operator.thanos.io/accept-removal").cloned()
        };
        tree.shards.iter().map(note).collect()
    };
    assert_eq!(accepted(&next(&query, &standing)), [None, None]);
    let note = |number: &str| Some([("operator.thanos.io/accept-removal".into(), number.into())].into());
    query.metadata.annotations = note("8");
    assert_eq!(accepted(&next(&query, &standing)), [None, None], "that is no removal that is held now");
    query.metadata.annotations = note("9");
    assert_eq!(accepted(&next(&query, &standing)), [Some("7".into()), Some("9".into())]);
}

#[test]
fn what_several_shards_warn_of_is_told_once() {
    let query = two();
    let mut standing = at_rest(&query);
    for shard in &mut standing.shards {
        let conditions = &mut shard.status.as_mut().expect("a status").conditions;
        let mut warning = conditions[0].clone();
        (warning.type_, warning.message) = ("DnsFailing".into(), "no answer".into());
        conditions.push(warning.clone());
        warning.type_ = "Remarks".into();
        conditions.push(warning);
    }
    let complaints = next(&query, &standing).complaints;
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].ends_with("-0: DnsFailing: no answer (and 1 more with such a warning)"),
        "{complaints:?}"
    );
}

#[test]
fn what_cannot_be_done_is_refused_by_field_with_the_remedy() {
    let refused = |name: &str, spec: &str| {
        let mut query = root(&format!("distributed: {{shards: 2, shardingLabels: [tenant]}}, {spec}"));
        query.metadata.name = Some(name.to_owned());
        let names = Names::of(&query).expect("a name");
        let error = Tree::of(&query, &names, &image("v0.42.4"), &Standing::default(), NOW);
        error.expect_err("refused").to_string()
    };
    for (spec, words) in [
        ("serviceDiscovery: {mode: Flags}", "spec.serviceDiscovery.mode: File"),
        ("serviceDiscovery: {agent: {enabled: false}}", "agent.enabled: true"),
        ("replicaLabels: [replica, tenant]", "spec.distributed.shardingLabels: tenant"),
        (
            "additionalArgs: ['--selector.relabel-config=[]']",
            "spec.additionalArgs: --selector.relabel-config",
        ),
    ] {
        let error = refused("global", spec);
        assert!(error.contains(words), "{error}");
    }
    let error = refused(&"x".repeat(41), "");
    assert!(error.contains("at most 40 characters"), "{error}");
    let fits = "x".repeat(40);
    let mut query = two();
    query.metadata.name = Some(fits);
    let shard = next(&query, &Standing::default()).shards.remove(1);
    Names::of(&shard).expect("a name that its objects can have");
}

#[test]
fn a_release_that_does_not_split_truly_is_remarked_on() {
    let query = two();
    let tree = next(&query, &Standing::default());
    assert_eq!(tree.remark(ThanosVersion::new(0, 40, 0)), None);
    assert!(
        tree.remark(ThanosVersion::new(0, 39, 2)).expect("a remark").contains("announces the labels of all")
    );
    assert!(tree.remark(ThanosVersion::new(0, 37, 2)).expect("a remark").contains("fetch series"));
    assert_eq!(Tree::default().remark(ThanosVersion::new(0, 35, 1)), None, "no tree");
}
