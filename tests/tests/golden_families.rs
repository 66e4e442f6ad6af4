//! What every family of Thanos releases gets, side by side: endpoint flags, the agent's file, and when a pod counts as
//! ready. To be read beside reference "How `thanos query` discovers endpoints", sections 1, 2 and 4.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tests --test golden_families` writes the expected files anew; the diff is then the review.

use std::path::Path;

use operator::plan::Plan;
use sd_agent::ThanosVersion;
use tests::{
    fixtures::invocation::Invocation,
    golden::{Input, modes},
};

/// Releases that get the same. The last one is what nobody can read.
const FAMILIES: [&[&str]; 6] = [
    &["v0.35.0", "v0.35.1", "v0.36.1"],
    &["v0.37.0", "v0.37.2"],
    &["v0.38.0", "v0.39.2"],
    &["v0.40.1", "v0.41.0"],
    &["v0.42.0", "v0.42.4", "v0.43.0"],
    &["main-2026-01-01"],
];

/// What says where endpoints are and how often they are looked at.
const PREFIXES: [&str; 3] = ["--endpoint", "--store.", "--grpc-client"];

#[test]
fn every_family_gets_what_it_is_expected_to_get() {
    tests::golden::check("golden-families", "expected.txt", "golden_families", made).expect("as expected");
}

fn made(case: &Path) -> String {
    let input = Input::read(case).expect("input.yaml");
    let mut text = String::new();
    for mode in modes() {
        for family in FAMILIES {
            let all: Vec<String> = family.iter().map(|version| of(&input, version, &mode)).collect();
            for (version, one) in family.iter().zip(&all) {
                assert_eq!(one, &all[0], "{version} differs from {} in mode {mode}", family[0]);
            }
            text.push_str(&format!("== mode {mode}, {}\n{}\n", family.join(" "), all[0]));
        }
    }
    text
}

fn of(input: &Input, version: &str, mode: &str) -> String {
    let (_, plan) = input.with(version, mode).expect("a mode").plan().expect("a plan");
    let read = version.parse().unwrap_or(ThanosVersion::Unknown);
    let queriers = Invocation::of(&plan, read).expect("queriers").remove(0);
    let mut lines = vec![format!("ready at the earliest after {} s", ready_after(&plan))];
    lines.extend(
        queriers.args.into_iter().filter(|arg| PREFIXES.iter().any(|prefix| arg.starts_with(prefix))),
    );
    lines.extend(queriers.file.iter().flat_map(|file| ["file:", file.trim_end()]).map(str::to_owned));
    let unsupported = plan.summary.unsupported.iter().map(|told| told.replace(&read.to_string(), "RELEASE"));
    lines.extend(unsupported.map(|told| format!("told: {told}")));
    // The domain is in every line.
    lines.join("\n").replace(".demo.svc.cluster.local", "") + "\n"
}

fn ready_after(plan: &Plan) -> i32 {
    let pods = plan.queriers.deployment.as_ref().and_then(|own| own.spec.as_ref()?.template.spec.as_ref());
    let thanos = &pods.expect("pods").containers[0];
    thanos.readiness_probe.as_ref().and_then(|probe| probe.initial_delay_seconds).unwrap_or_default()
}
