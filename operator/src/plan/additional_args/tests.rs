use proptest::prelude::*;

use super::*;

const FIELD: &str = "spec.additionalArgs";

fn merged_for(program: Program, version: &str, ours: Vec<Arg>, given: &[&str]) -> Merged {
    let given: Vec<String> = given.iter().map(|&arg| arg.to_owned()).collect();
    merge(program, version.parse().expect("a version"), ours, FIELD, &given)
}

fn merged(ours: Vec<Arg>, given: &[&str]) -> Merged {
    merged_for(Program::Query, "v0.42.4", ours, given)
}

fn text(merged: &Merged) -> String {
    merged.args.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What is said of the one argument that is refused.
fn refused(version: &str, given: &[&str]) -> String {
    let Merged { args, mut refused, .. } = merged_for(Program::Query, version, vec![], given);
    assert!(args.is_empty() && refused.len() == 1, "{given:?}: {args:?} {refused:?}");
    refused.remove(0)
}

fn used(version: &str, given: &[&str]) -> String {
    let merged = merged_for(Program::Query, version, vec![], given);
    assert_eq!(merged.refused, [""; 0], "{given:?}");
    text(&merged)
}

#[test]
fn a_flag_that_is_given_replaces_ours_in_its_place_with_a_remark() {
    let ours = vec![
        Arg::value("--query.timeout", "15m"),
        Arg::switch("--query.auto-downsampling"),
        Arg::value("--query.max-concurrent", "20"),
    ];
    let merged =
        merged(ours, &["--query.max-concurrent=4", "--query.timeout", "2m", "--no-query.auto-downsampling"]);
    assert_eq!(text(&merged), "--query.timeout=2m --no-query.auto-downsampling --query.max-concurrent=4");
    assert_eq!(
        merged.remarks[0],
        "spec.additionalArgs: --query.max-concurrent=4: replaces --query.max-concurrent=20 of the operator"
    );
    assert_eq!(merged.remarks.len(), 3);
}

#[test]
fn the_same_as_ours_is_no_remark() {
    let merged = merged(vec![Arg::value("--query.timeout", "15m")], &["--query.timeout=15m"]);
    assert_eq!(text(&merged), "--query.timeout=15m");
    assert!(merged.remarks.is_empty());
}

#[test]
fn upstream_bug_31_values_may_end_in_an_equals_sign_or_hold_one() {
    assert_eq!(
        used(
            "v0.42.4",
            &["--query.tenant-header=YWJj=", "--query.default-tenant-id=a=b", "--web.prefix-header="]
        ),
        "--query.tenant-header=YWJj= --query.default-tenant-id=a=b --web.prefix-header="
    );
}

#[test]
fn upstream_bug_32_a_flag_and_its_value_may_be_two_items() {
    assert_eq!(
        used("v0.42.4", &["--query.timeout", "5m", "--endpoint", "a:1"]),
        "--query.timeout=5m --endpoint=a:1"
    );
    assert_eq!(used("v0.42.4", &["--query.tenant-header", ""]), "--query.tenant-header=");
}

#[test]
fn upstream_bug_33_every_flag_that_can_be_repeated_is_added() {
    for name in
        ["--enable-feature", "--query.replica-label", "--query.partition-label", "--grpc-server-tls-curves"]
    {
        let ours = vec![Arg::value(name, "a")];
        let merged = merged(ours, &[&format!("{name}=b"), &format!("{name}=a"), &format!("{name}=b")]);
        assert_eq!(text(&merged), format!("{name}=a {name}=b"));
    }
    let labels = ["--query.conn-metric.label=store_type", "--query.conn-metric.label=ip_port"];
    assert_eq!(used("v0.42.4", &labels), labels.join(" "));
    let given = ["--query-frontend.org-id-header=a", "--query-frontend.org-id-header=b"];
    assert_eq!(text(&merged_for(Program::QueryFrontend, "v0.42.4", vec![], &given)), given.join(" "));
}

#[test]
fn an_address_that_is_there_is_not_added_again_since_below_0_38_that_ends_thanos() {
    let ours = vec![Arg::value("--endpoint", "a:1")];
    assert_eq!(text(&merged_for(Program::Query, "v0.37.2", ours, &["--endpoint=a:1"])), "--endpoint=a:1");
}

#[test]
fn of_a_flag_that_is_given_twice_the_last_is_used_with_a_remark() {
    let merged = merged(vec![], &["--query.timeout=1m", "--query.timeout=2m"]);
    assert_eq!(text(&merged), "--query.timeout=2m");
    assert!(
        merged.remarks[0].contains("replaces --query.timeout=1m, given before it"),
        "{:?}",
        merged.remarks
    );
    assert_eq!(used("v0.42.4", &["--web.disable-cors", "--no-web.disable-cors"]), "--no-web.disable-cors");
}

#[test]
fn one_half_of_a_file_and_its_content_replaces_the_other() {
    let ours = vec![Arg::value("--tracing.config", "type: OTLP"), Arg::switch("--web.disable-cors")];
    let merged = merged(ours, &["--tracing.config-file=/a"]);
    assert_eq!(text(&merged), "--tracing.config-file=/a --web.disable-cors");
    assert_eq!(merged.remarks.len(), 1);
    assert_eq!(
        used("v0.42.4", &["--selector.relabel-config-file=/a", "--selector.relabel-config=[]"]),
        "--selector.relabel-config=[]"
    );
}

#[test]
fn a_switch_takes_no_value_and_the_message_says_what_to_write() {
    assert!(refused("v0.42.4", &["--web.disable-cors=false"]).ends_with("write --no-web.disable-cors"));
    assert!(refused("v0.42.4", &["--web.disable-cors=true"]).ends_with("write --web.disable-cors"));
    assert!(refused("v0.42.4", &["--no-web.disable-cors=false"]).ends_with("write --web.disable-cors"));
    assert!(refused("v0.42.4", &["--no-web.disable-cors=true"]).ends_with("write --no-web.disable-cors"));
}

#[test]
fn an_item_after_a_switch_is_stray() {
    let merged = merged(vec![], &["--web.disable-cors", "5m"]);
    assert_eq!(text(&merged), "--web.disable-cors");
    assert!(merged.refused[0].starts_with("spec.additionalArgs: \"5m\": is no flag"), "{:?}", merged.refused);
}

#[test]
fn a_flag_without_its_value_is_refused_and_the_next_flag_is_not_eaten() {
    let merged = merged(vec![], &["--query.timeout", "--web.disable-cors", "--query.lookback-delta", "-5m"]);
    assert_eq!(text(&merged), "--web.disable-cors");
    assert!(merged.refused[0].ends_with("--query.timeout: needs a value; write --query.timeout=VALUE"));
    assert!(merged.refused[1].ends_with("write --query.lookback-delta=-5m"), "{:?}", merged.refused);
}

#[test]
fn what_is_no_flag_is_refused_with_what_to_write() {
    for (item, hint) in [
        ("query", "--flag=value"),
        ("--", "remove it"),
        ("@/args", "write them here"),
        ("-query.timeout=1m", "write --query.timeout=1m"),
        ("query.timeout=1m", "write --query.timeout=1m"),
        ("--query.timeout 1m", "write --query.timeout=1m"),
        ("--query.timeout = 1m", "write --query.timeout=1m"),
        ("--=1m", "remove it"),
    ] {
        assert!(refused("v0.42.4", &[item]).contains(hint), "{item}: {}", refused("v0.42.4", &[item]));
    }
}

#[test]
fn an_unknown_flag_is_refused_together_with_its_value() {
    assert!(refused("v0.42.4", &["--query.timout", "1m"]).contains("has no such flag"));
    assert!(refused("v0.42.4", &["--no-query.timeout"]).contains("only a switch"));
    assert!(refused("v0.42.4", &["--endpoint.sd-files=/a"]).contains("has no such flag"));
}

#[test]
fn a_flag_of_the_other_program_is_told_as_such() {
    let text = refused("v0.42.4", &["--query-range.split-interval=1h"]);
    assert!(text.contains("flag of thanos query-frontend, not of thanos query;"), "{text}");
}

#[test]
fn a_flag_that_this_release_does_not_have_is_refused_with_the_releases_that_do() {
    let text = refused("v0.36.1", &["--query.partition-label=a"]);
    assert!(text.contains("from v0.37, and this is v0.36"), "{text}");
    assert!(
        refused("v0.38.0", &["--store=a:1"]).contains("removed in v0.38 of Thanos; write --endpoint instead")
    );
    assert_eq!(
        used("v0.37.2", &["--store=a:1", "--query.partition-label=a"]),
        "--store=a:1 --query.partition-label=a"
    );
}

#[test]
fn flags_that_hold_the_endpoints_and_those_that_end_thanos_are_refused_in_every_release() {
    let flags = [
        "--endpoint.sd-config-file=/a",
        "--endpoint.sd-config=a",
        "--store.sd-files=/a",
        "--help",
        "--no-version",
    ];
    for flag in flags {
        for version in ["v0.35.1", "v0.42.4", "v0.99.0", "unknown"] {
            assert!(refused(version, &[flag]).contains("remove it"), "{flag}");
        }
    }
}

#[test]
fn a_value_that_thanos_would_refuse_is_refused() {
    for (arg, hint) in [
        ("--query.timeout=soon", "is no duration"),
        ("--query.max-concurrent=many", "is no number"),
        ("--query.mode=both", "must be one of local, distributed"),
        ("--store.sd-dns-interval=0s", "write 1s or more"),
        ("--endpoint-strict=dns+a:1", "DNS prefix"),
        ("--endpoint=a", "write it as a:10901"),
        ("--http-address=9090", "write it like 0.0.0.0:9090"),
        ("--selector-label=a=b", "write a=\"b\""),
    ] {
        assert!(refused("v0.42.4", &[arg]).contains(hint), "{arg}: {}", refused("v0.42.4", &[arg]));
    }
}

#[test]
fn a_release_that_was_never_looked_at_may_have_any_flag() {
    for version in ["unknown", "v0.43.0"] {
        let given = ["--new.flag", "1m", "--new.switch", "--no-newer", "--store=a:1", "--query.mode=new"];
        assert_eq!(
            used(version, &given),
            "--new.flag=1m --new.switch --no-newer --store=a:1 --query.mode=new"
        );
        assert!(refused(version, &["--web.disable-cors=false"]).contains("takes no value"));
        assert!(refused(version, &["@/args"]).contains("that file"));
    }
}

#[test]
fn what_a_field_gives_is_checked_too_and_told_with_its_field() {
    let ours = vec![Arg::value("--query.mode", "both").of("spec.mode"), Arg::value("--query.timeout", "1m")];
    let merged = merged(ours, &[]);
    assert_eq!(text(&merged), "--query.timeout=1m");
    assert!(
        merged.refused[0].starts_with("spec.mode: --query.mode=both: must be one of"),
        "{:?}",
        merged.refused
    );
}

#[test]
fn an_option_that_needs_another_is_refused_without_it() {
    assert!(refused("v0.42.4", &["--grpc-server-tls-key=/k"]).contains("add --grpc-server-tls-cert"));
    assert!(refused("v0.42.4", &["--grpc-server-tls-client-ca=/k"]).contains("certificate of its own"));
    assert!(refused("v0.42.4", &["--web.route-prefix=/a*b"]).contains("cannot serve"));
    assert_eq!(used("v0.42.4", &["--grpc-client-tls-cert=/c"]), "--grpc-client-tls-cert=/c");
}

fn frontend(given: &[&str]) -> Merged {
    merged_for(Program::QueryFrontend, "v0.42.4", vec![], given)
}

#[test]
fn the_dynamic_split_needs_all_three_flags_and_switches_the_other_split_off() {
    let [shards, min, max] = [
        "--query-range.horizontal-shards=4",
        "--query-range.min-split-interval=1h",
        "--query-range.max-split-interval=1d",
    ];
    let all = frontend(&[shards, min, max]);
    assert!(text(&all).ends_with("--query-range.split-interval=0s"), "{all:?}");
    assert_eq!((all.refused.len(), all.remarks.len()), (0, 1));
    let two = frontend(&[shards, min]);
    assert_eq!((two.args.len(), two.refused.len()), (0, 2));
    assert_eq!(frontend(&[shards, min, max, "--query-range.split-interval=0"]).remarks.len(), 0);
}

#[test]
fn a_frontend_has_one_header_for_the_tenant() {
    let merged = frontend(&["--query-frontend.org-id-header=a", "--query-frontend.tenant-header=b"]);
    assert_eq!(text(&merged), "--query-frontend.tenant-header=b");
    assert_eq!(merged.refused.len(), 1);
}

/// Items as users write them, right and wrong: flags of both programs, values, and what belongs to nothing.
fn item() -> impl Strategy<Value = String> {
    let names: Vec<&str> =
        Program::Query.flags().chain(Program::QueryFrontend.flags()).map(|flag| flag.name).collect();
    const VALUES: [&str; 13] =
        ["", "1", "0s", "5m", "1d", "a:1", "dns+a:1", "a=\"b\"", "false", "chain", "/a", ":9090", "/:"];
    let name = prop::sample::select(names);
    let value = prop::sample::select(&VALUES[..]);
    prop_oneof![
        6 => (name.clone(), value.clone()).prop_map(|(name, value)| format!("{name}={value}")),
        2 => name.clone().prop_map(ToOwned::to_owned),
        1 => name.prop_map(|name| name.replacen("--", "--no-", 1)),
        2 => value.prop_map(ToOwned::to_owned),
        1 => prop::sample::select(&["--", "@a", "-h", "--new", "query"][..]).prop_map(ToOwned::to_owned),
    ]
}

fn program_and_version() -> impl Strategy<Value = (Program, ThanosVersion)> {
    let programs = prop::sample::select(&[Program::Query, Program::QueryFrontend][..]);
    let minor = prop::option::of(35_u32..44);
    (programs, minor).prop_map(|(program, minor)| {
        (program, minor.map_or(ThanosVersion::Unknown, |minor| ThanosVersion::new(0, minor, 0)))
    })
}

proptest! {
    #[test]
    fn what_is_left_is_what_thanos_takes(
        (program, version) in program_and_version(),
        given in prop::collection::vec(item(), 0..12),
    ) {
        let merged = merge(program, version, vec![], FIELD, &given);
        for (at, arg) in merged.args.iter().enumerate() {
            let Some(flag) = program.flag(&arg.key()) else { continue };
            prop_assert!(flag.reserved.is_none(), "{arg}");
            let excludes = |other: &Arg| other.key() == arg.key() || Some(other.key()) == flag.other_half();
            let is_alone = !merged.args[at + 1..].iter().any(excludes);
            prop_assert!(flag.repeatable || is_alone, "{given:?}: {arg}");
        }
        // Read again, nothing is refused, replaced or told.
        let again: Vec<String> = merged.args.iter().map(ToString::to_string).collect();
        let again = merge(program, version, vec![], FIELD, &again);
        prop_assert_eq!(&again.args, &merged.args);
        prop_assert!(again.refused.is_empty() && again.remarks.is_empty(), "{:?}", again);
    }
}
