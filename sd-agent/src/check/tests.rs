use super::{problem::MAX_PROBLEMS, *};
use crate::{Document, Endpoint, EndpointType, Payload, payload::META_KEY};

const NEW: ThanosVersion = ThanosVersion::new(0, 42, 4);
const OLD: ThanosVersion = ThanosVersion::new(0, 37, 2);

/// `line:column: message`, one a problem.
fn problems(text: &str, version: Option<ThanosVersion>) -> Vec<String> {
    let answer = judge(text.as_bytes(), version);
    assert_eq!(answer.valid, answer.problems.is_empty());
    let told =
        answer.problems.told.iter().inspect(|problem| assert!(!problem.remedy.is_empty(), "{problem}"));
    told.map(|problem| problem.to_string().lines().next().unwrap_or_default().to_owned()).collect()
}

fn found(text: &str) -> Found {
    let answer = judge(text.as_bytes(), None);
    assert!(answer.valid, "{text:?}: {answer:?}");
    answer.found.expect("read")
}

fn document() -> Document {
    let address = |text: &str| text.parse().expect("an address");
    Document::new(vec![
        Endpoint::regular(address("dnssrv+_grpc._tcp.a.ns.svc")),
        Endpoint::flagged(EndpointType::Strict, address("b.ns.svc:80"), address("b.ns.svc:80")),
        Endpoint::flagged(EndpointType::Group, address("c.ns.svc:80"), address("dns+c.ns.svc:80")),
    ])
    .expect("valid")
}

/// As `kubectl get -o json` prints it.
fn config_map(payload: &Payload) -> serde_json::Value {
    let (data, binary) = crate::configmap::parts(payload);
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "y"}},
        "data": data, "binaryData": binary,
    })
}

#[test]
fn files_of_people_are_read_in_both_formats() {
    let list = found("# ours\n- targets: [\"a.ns.svc:1\", 'dnssrv+_grpc._tcp.b.ns.svc']\n  labels: {x: y}\n");
    assert_eq!((list.format, list.endpoints, list.looked_up), ("store.sd-files", 2, 1));
    let map = found(
        "endpoints:\n- {address: 'a:1', strict: yes}\n- address: dns+b:1\n  group: true\n  service_config: '{}'\n",
    );
    assert_eq!((map.format, map.strict, map.group, map.endpoints), ("endpoint.sd-config-file", 1, 1, 2));
    found("default_client_config: {tls_config: {enabled: true, ca_file: /tls/ca.crt}}\nendpoints: []\n");
    assert_eq!(found("[]").endpoints, 0);
    assert_eq!(found("---\nendpoints: []\n...\n").endpoints, 0);
}

#[test]
fn the_document_and_the_config_map_with_it_are_recognised() {
    let own = found(&document().to_json());
    assert_eq!((own.format, own.endpoints, own.looked_up), ("endpoints.json", 3, 1));
    assert_eq!((own.strict, own.group), (1, 1));
    let many = (0..3000).map(|at| Endpoint::regular(format!("s-{at}.ns.svc:1").parse().expect("an address")));
    for document in [document(), Document::default(), Document::new(many.collect()).expect("valid")] {
        let payload = Payload::pack(&document, "uid", 7, jiff::Timestamp::UNIX_EPOCH).expect("fits");
        let object = config_map(&payload);
        let list =
            serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [{"kind": "ConfigMap"}, object]});
        for text in [
            object.to_string(),
            serde_json::to_string_pretty(&object).expect("JSON"),
            serde_saphyr::to_string(&object).expect("YAML"),
            list.to_string(),
        ] {
            let config_map = found(&text);
            assert_eq!((config_map.format, config_map.endpoints), ("ConfigMap", document.endpoints().len()));
        }
    }
}

#[test]
fn every_problem_is_told_with_its_place() {
    let text = "\
endpoint: []
endpoints:
- address: a
  strict: maybe
- {address: 'dns+b.ns.svc:1', strict: true}
- address: c.ns.svc:1
  adress: d
- address: c.ns.svc:1
- just a word
- strict: true
- address: [x]
";
    assert_eq!(
        problems(text, None),
        [
            "1:1: unknown key \"endpoint\": Thanos skips it in silence",
            "3:12: address \"a\": needs a port from 1 to 65535",
            "4:11: strict is no boolean: Thanos refuses the whole file",
            "5:13: dns+b.ns.svc:1 is strict and has a DNS prefix: Thanos refuses the whole file",
            "7:3: unknown key \"adress\": Thanos skips it in silence",
            "8:12: c.ns.svc:1 is there twice, first in line 6: Thanos uses one of the two",
            "9:3: a single value where an endpoint belongs: Thanos refuses the whole file",
            "10:3: no address: this endpoint never becomes healthy",
            "11:12: address is a list: Thanos refuses the whole file",
        ]
    );
}

/// Case 36: what Thanos would refuse or skip, by its rules.
#[test]
fn what_thanos_refuses_or_skips_is_a_problem() {
    let at_41 = Some(ThanosVersion::new(0, 41, 0));
    for (text, version, part) in [
        ("", None, "drops every endpoint"),
        ("# nothing\n\n", Some(OLD), "drops every endpoint"),
        ("---\n", None, "drops every endpoint"),
        ("null\n", None, "drops every endpoint"),
        ("{}", None, "no key \"endpoints\""),
        ("endpoint:\n- address: a:1\n", None, "no key \"endpoints\""),
        ("endpoints:\n", None, "endpoints says nothing"),
        ("endpoints: ~\n", None, "endpoints says nothing"),
        ("endpoints: a:1\n", None, "endpoints is a single value"),
        ("endpoints: {a: 1}\n", None, "endpoints is a mapping"),
        ("a:1\n", None, "single value"),
        ("- address: a:1\n", Some(NEW), "unknown key \"address\": Thanos refuses"),
        ("- a:1\n", None, "where a mapping with targets belongs"),
        ("- targets: a:1\n", None, "targets is a single value"),
        ("- targets:\n", None, "targets is empty"),
        ("- {targets: [[a]]}\n", None, "where an address belongs"),
        ("- {targets: ['a:1'], labels: {a: [b]}}\n", None, "labels"),
        ("- {targets: ['a:1']}\n- {targets: ['a:1']}\n", None, "twice"),
        ("endpoints: []\n", Some(OLD), "v0.38.0"),
        ("endpoints:\n- {address: 'dns+a:1', strict: true}\n", None, "DNS prefix"),
        ("endpoints:\n- {address: 'dns+a:1', strict: true, group: true}\n", None, "DNS prefix"),
        ("endpoints:\n- {address: 'a:1', service_config: '{}'}\n", None, "is no group"),
        ("endpoints:\n- {address: 'a:1', group: true, service_config: '{'}\n", None, "dialling fails"),
        (
            "endpoints:\n- {address: 'a:1', group: true, service_config: '{}'}\n",
            Some(ThanosVersion::new(0, 39, 2)),
            "v0.40.0",
        ),
        ("endpoints:\n- {address: 'a:1', client_config: {compression: zip}}\n", None, "compression \"zip\""),
        ("endpoints:\n- {address: 'a:1', client_config: {compression: snappy}}\n", None, "ignores"),
        ("endpoints:\n- {address: 'a:1', client_config: {}}\n", at_41, "v0.42.0"),
        ("endpoints:\n- {address: 'dns+a:1', client_config: {server_name: a}}\n", None, "looked up"),
        (
            "endpoints:\n- {address: 'a:1', client_config: {tls_config: {server_name: a}}}\n",
            None,
            "server_name",
        ),
        (
            "endpoints:\n- {address: 'a:1', client_config: {tls_config: {cert_file: /a}}}\n",
            None,
            "without the other",
        ),
        (
            "endpoints:\n- {address: 'a:1', client_config: {tls_config: {min_version: TLS12}}}\n",
            None,
            "min_version",
        ),
        ("default_client_config: {server_name: a}\nendpoints: []\n", None, "turns TLS off"),
        ("default_client_config: {compression: none}\nendpoints: []\n", None, "never used"),
        ("default_client_config: {}\nendpoints: []\n", at_41, "v0.42.0"),
        ("endpoints:\n- {address: 'dnsdualstack+a:1'}\n", at_41, "v0.42.0"),
        ("endpoints:\n- {address: 'a:1'}\n- {address: 'a:1'}\n", None, "twice"),
        ("endpoints:\n- {address: 'a'}\n", None, "port"),
        ("endpoints:\n- {address: 'fd00::1:10901'}\n", None, "host"),
        ("endpoints:\n- {address: 'foo+a:1'}\n", None, "prefix"),
        ("endpoints:\n- {address: ' a:1'}\n", None, "host"),
        ("endpoints:\n- {address: ''}\n", None, "no address"),
        ("endpoints:\n- {address: }\n", None, "no address"),
        ("endpoints:\n- {address: 'a:1', strict: 'true'}\n", None, "strict is no boolean"),
        ("endpoints:\n- {address: 'a:1'\n", None, "neither YAML nor JSON"),
        ("endpoints: []\nendpoints: []\n", None, "there twice"),
        ("endpoints: []\n---\nendpoints: []\n", None, "second document"),
        ("endpoints: []\0\n", None, "control character"),
        ("endpoints: [*a]\n", None, "neither YAML nor JSON"),
        // What YAML 1.2 allows and the reader of Thanos does not.
        ("{\"endpoints\"\r: []}\n", None, "control character"),
        ("#\u{2028}\nendpoints: []\n", None, "control character"),
        ("endpoints:\n- \taddress: a:1\n", None, "a tab"),
        ("\t{\"endpoints\": []}\n", None, "a tab"),
        ("endpoints: []\n\t", None, "a tab"),
        ("{\"endpoints\"\n: []}\n", None, "its colon"),
        ("...\nendpoints: []\n", None, "ends before it began"),
        ("endpoints: [{address: 'a:1', client_config: {server_name: :a}}]\n", None, "between brackets"),
        ("endpoints: [{address: 'a:1', client_config: {server_name: a? }}]\n", None, "between brackets"),
        ("endpoints:\n- &e{address: 'a:1'}\n", None, "anchor"),
    ] {
        let told = problems(text, version);
        assert!(told.iter().any(|problem| problem.contains(part)), "{text:?}: {told:?}");
    }
    assert!(judge(b"endpoints: [\xff]\n", None).problems.told[0].message.contains("UTF-8"));
}

#[test]
fn problems_within_a_config_map_have_both_places() {
    let payload = Payload::pack(&document(), "uid", 7, jiff::Timestamp::UNIX_EPOCH).expect("fits");
    let object = serde_saphyr::to_string(&config_map(&payload)).expect("YAML");
    let edited = object.replace("c.ns.svc:80", "c.ns.svc").replace("Strict", "strict");
    let told = problems(&edited, None);
    let line = edited.lines().position(|line| line.contains("endpoints.json")).expect("there") + 1;
    assert!(told.iter().any(|problem| problem.contains("endpoints.json: its length")), "{told:?}");
    assert!(told.iter().any(|problem| problem.contains("endpoints.json: its SHA-256")), "{told:?}");
    let address = told.iter().find(|problem| problem.contains("needs a port")).expect("told");
    assert!(address.starts_with(&format!("{line}:3: endpoints.json:")), "{address}");
    assert!(told.iter().any(|problem| problem.contains("type \"strict\" is unknown")), "{told:?}");
}

#[test]
fn config_maps_that_agents_refuse_are_not_valid() {
    let payload = Payload::pack(&document(), "uid", 7, jiff::Timestamp::UNIX_EPOCH).expect("fits");
    let whole = config_map(&payload);
    let with = |key: &str, value: serde_json::Value| {
        let mut object = whole.clone();
        object["data"][key] = value;
        problems(&object.to_string(), None).join("\n")
    };
    let meta = |from: &str, to: &str| with(META_KEY, payload.data[META_KEY].replace(from, to).into());
    for (told, part) in [
        (with("endpoints.json", "".into()), "endpoints.json: key endpoints.json is empty"),
        (with("endpoints.json", serde_json::json!({})), "not a text"),
        (with("endpoints.json", "endpoints: []".into()), "cannot be read"),
        (with(META_KEY, "{}".into()), "meta.json cannot be read"),
        (meta("\"format\":1", "\"format\":2"), "format 2"),
        (meta("\"count\":3", "\"count\":2"), "count"),
        (with("endpoints.yaml", "".into()), "endpoints.yaml: says nothing"),
        (with("endpoints.yaml", "endpoints:\n- address: a\n".into()), "endpoints.yaml:2:12: address"),
        (problems("kind: ConfigMap\n", None).join("\n"), "meta.json is missing"),
        (problems("kind: List\nitems: []\n", None).join("\n"), "without a ConfigMap"),
        (problems("kind: ConfigMap\nbinaryData: {endpoints.json.gz: '%'}\n", None).join("\n"), "Base64"),
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_document_that_agents_refuse_is_not_valid() {
    for (text, part) in [
        (r#"{"endpoints":[{"file":"a:1","type":"Regular"},{"file":"a:1","type":"Regular"}]}"#, "twice"),
        (r#"{"endpoints":[{"file":"a:1","type":"Strict","flag":"dns+a:1"}]}"#, "DNS prefix"),
        (r#"{"endpoints":[{"file":"a:1","type":"Strict"}]}"#, "no key \"flag\""),
        (r#"{"endpoints":[{"file":"a:1","type":"Regular","flag":"a:1"}]}"#, "flag form"),
        (r#"{"endpoints":[{"file":"a:1"}]}"#, "no key \"type\""),
        (r#"{"endpoints":[{"file":"a:1","type":"Regular","x":1}]}"#, "unknown key \"x\""),
        (r#"{"endpoints":[{"file":"a:1","type":"Regular"},1]}"#, "where an endpoint belongs"),
        (r#"{"endpoints":[{"file":"a:1","type":"Regular"}],"x":1}"#, "unknown key \"x\""),
        ("endpoints:\n- {file: 'a:1', type: Regular}\n", "cannot be read"),
    ] {
        let told = problems(text, None);
        assert!(told.iter().any(|problem| problem.contains(part)), "{text:?}: {told:?}");
    }
    let told = problems(r#"{"endpoints":[{"file":"dnsdualstack+a:1","type":"Regular"}]}"#, Some(OLD));
    assert!(told[0].contains("v0.42.0"), "{told:?}");
}

#[test]
fn a_thousand_problems_are_counted_and_twenty_told() {
    let text = format!("endpoints:\n{}", "- {}\n".repeat(1000));
    let answer = judge(text.as_bytes(), None);
    assert_eq!((answer.problems.told.len(), answer.problems.count()), (MAX_PROBLEMS, 1000));
}

#[test]
fn a_list_is_judged_by_the_name_of_its_file_too() {
    let judged = |name: &str, text: &str| {
        let mut answer = judge(text.as_bytes(), None);
        answer.judge_name(Path::new(name), text.as_bytes());
        answer.problems.told.first().map(|problem| problem.message.clone()).unwrap_or_default()
    };
    let list = "- targets: ['a:1']\n";
    assert_eq!(judged("a.yaml", list), "");
    assert_eq!(judged("a.YML", list), "");
    assert!(judged("a.txt", list).contains("panics"));
    assert!(judged("a.json", list).contains("not JSON"));
    assert_eq!(judged("a.json", "[{\"targets\":[\"a:1\"]}]"), "");
    assert_eq!(judged("a.txt", "endpoints: []\n"), "");
}
